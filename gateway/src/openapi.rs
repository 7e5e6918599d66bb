//! `/openapi.json`: the interface as OpenAPI 3.1, made from the catalogue and the table of routes.
//!
//! **Invariant:** every answer that the native API gives is in it, with its status, its media type and its form; what is a
//! fault of ours (500) is not.

use crate::{command::REPLACE_ROUTER, routes::ROUTES};
use actix_web::HttpResponse;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use switchback_bus::{Access, Check, Message, MessageKind, asyncapi, messages, schema};

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// What messages are about, by what is in their names; the first that fits. What fits none is among the others.
const CONCEPTS: &[(&str, &[&str])] = &[
    ("Offerings", &["Offering"]),
    ("Virtual routers", &["VirtualRouter", "VRouter"]),
    ("Audit", &["Audit", "Event", "Replay", "AddressHolder"]),
    ("Access", &["Account", "LogIn", "LogOut", "Session", "AccessKey", "ApiToken", "Role", "Policy", "Quota", "Share"]),
    ("IP ranges and addresses", &["IpRange", "Ipv6Range", "FreeIp", "IpAddress", "IpAvailability", "IpStatistic"]),
    ("VM instances", &["Vm"]),
    ("Services of networks", &["NetworkService"]),
    ("L3 networks", &["L3"]),
    ("L2 networks", &["L2", "VSwitch"]),
    ("Clusters", &["Cluster"]),
    ("Hosts", &["Host", "AgentToken"]),
    ("Zones", &["Zone"]),
    ("Images", &["Image"]),
    ("Tags", &["Tag"]),
    ("Configuration", &["Config"]),
];
const OTHERS: &str = "Others";
/// Routes that are no message by their path.
const SYSTEM: &str = "System";

/// The messages that routes with a path of their own ask.
const READS: &[(&str, &str)] = &[
    ("/v1/events", "GetEvents"),
    ("/v1/routers/{uuid}/config", "GetVirtualRouterConfig"),
    ("/v1/routers/{uuid}/diff", "GetVirtualRouterDiff"),
    ("/v1/routers/{uuid}/explain", "GetVirtualRouterExplanation"),
    ("/v1/routers/{uuid}/drift", "GetVirtualRouterDrift"),
    ("/v1/routers/{uuid}/counters", "GetVirtualRouterCounters"),
    ("/v1/audit/head", "GetAuditHead"),
    ("/v1/audit/verify", "VerifyAudit"),
];

/// The commands that routes with a path of their own send, each with the parameter that the path has.
const COMMANDS: &[(&str, &str, &str)] = &[("/v1/routers/{uuid}/replace", REPLACE_ROUTER.0, REPLACE_ROUTER.1)];

/// The statuses of problems, each with what it means.
const PROBLEMS: &[(u16, &str)] = &[
    (400, "The words are not right: a field, its value, and what would be right."),
    (401, "No token, or one that is not known or has expired."),
    (403, "Not allowed."),
    (404, "There is no such thing."),
    (408, "The body did not come in time."),
    (409, "Wrong state, or a conflict; `blockers` names what stands in the way."),
    (412, "The target has another version than `If-Match` says; `currentVersion` has it."),
    (413, "The body is too large."),
    (415, "The body is not JSON by its own word."),
    (422, "The same `Idempotency-Key` with another body."),
    (429, "Too many at a time."),
    (501, "Not supported yet."),
    (502, "An agent or backend failed."),
    (503, "Overloaded, or the log takes no writes."),
    (504, "There was no answer in time; a command goes on."),
];
const OF_COMMANDS: &[u16] = &[400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 501, 502, 503, 504];
const OF_READS: &[u16] = &[400, 401, 403, 404, 409, 429, 501, 502, 503, 504];
const OF_JOBS: &[u16] = &[400, 401, 403, 404, 409, 412, 422, 429, 501, 502, 503, 504];

/// The most items of a list in a URL: the HTTP library refuses a URL of more than 64 KiB before anyone could say why.
const LIST_IN_URL: usize = 50;

/// Answers the document.
pub(crate) async fn get() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(TEXT.as_str())
}

/// Answers the document of the bus.
pub(crate) async fn get_bus() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(asyncapi::text())
}

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for message in messages().filter(|message| !message.internal) {
        let (path, operation) = match message.kind {
            MessageKind::Command => (format!("/v1/commands/{}", message.name), json!({"post": command(message, &[])})),
            MessageKind::Query => (format!("/v1/queries/{}", message.name), json!({"get": query(message)})),
            MessageKind::Read => (format!("/v1/queries/{}", message.name), json!({"get": read(message)})),
        };
        paths.insert(path, operation);
    }
    // Each message has a route of its own already, and those of ZStack's are no promise of ours.
    let own = ROUTES.iter().filter(|(method, path, _)| *method != "*" && !path.contains("{Name}"));
    for (method, path, doc) in own {
        let commanded = COMMANDS.iter().find(|(own, ..)| own == path);
        let operation = match commanded.and_then(|(_, name, named_by_path)| Some((named(name)?, *named_by_path))) {
            Some((message, named_by_path)) => of_path(path, doc, command(message, &[named_by_path])),
            None => plain(path, doc),
        };
        paths.insert(path.to_string(), json!({method.to_lowercase(): operation}));
    }
    let tags = CONCEPTS.iter().map(|(title, _)| *title).chain([OTHERS, SYSTEM]);
    let tags: Vec<Value> = tags.map(|title| json!({"name": title})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchback",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An event-sourced control plane for virtual networks.",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "The administrator's token, an API token, or the uuid of a session that `LogInByAccount` answered.",
            }},
            "responses": problems(),
            "headers": headers(),
            "schemas": schema::replies(),
        },
    })
}

const DESCRIPTION: &str = "Everything that can be asked is a message: commands change something and are answered when the change is on \
disk, queries and reads answer what is, or with `at` what was. Whatever is not a success is a problem (RFC 9457) with a stable `code`. \
Limits of length are of bytes.";

/// A command, its parameters but for those that its path has.
fn command(message: &Message, but: &[&str]) -> Value {
    let mut parameters = schema::parameters(message);
    parameters.retain(|parameter| !but.contains(&parameter.api_name().as_str()));
    let needed = parameters.iter().any(|parameter| parameter.required);
    let mut responses = refused(OF_COMMANDS);
    responses.insert("200".to_string(), replied());
    responses.insert("202".to_string(), accepted());
    let mut operation = operation(message);
    operation["parameters"] = json!([
        header("Idempotency-Key", "Names the command: the same key again gets the same answer.", schema::text(1, 255)),
        header("X-Reason", "Why; kept with the events.", schema::text(0, 1024)),
        header(
            "If-Match",
            "The version that the target must have.",
            json!({"type": "string", "pattern": "^(W/)?\"?[0-9]{1,18}\"?$"})
        ),
        header(
            "Prefer",
            "`respond-async`: answer 202 at once, with a job to ask for.",
            json!({"type": "string", "maxLength": 255})
        ),
        in_query("dryRun", json!({"type": "boolean"}), false, "Decide and answer the events, append nothing."),
        in_query(
            "wait",
            json!({"type": "string", "enum": ["durable", "applied"], "default": "applied"}),
            false,
            "What the reply waits for."
        ),
    ]);
    operation["requestBody"] =
        json!({"required": needed, "content": {"application/json": {"schema": schema::object(&parameters)}}});
    operation["responses"] = responses.into();
    operation
}

fn query(message: &Message) -> Value {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
    let flag = || json!({"type": "boolean"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let mut operation = operation(message);
    operation["parameters"] = json!([
        in_query("q", texts(), false, "A condition, such as `name=x`."),
        in_query("fields", text(), false, "Only these fields, separated by commas."),
        in_query("sort", text(), false, "`+field` or `-field`."),
        in_query("sortBy", text(), false, "A field, in place of `sort`."),
        in_query("sortDirection", json!({"enum": ["asc", "desc"]}), false, "With `sortBy`; `asc` when not given."),
        in_query("groupBy", text(), false, "Only the first of those that have the same value in this field."),
        in_query("start", number(), false, "How many to pass over."),
        in_query("limit", number(), false, "How many at most, 1000 when not given."),
        in_query("count", flag(), false, "Only the number of them."),
        in_query("replyWithCount", flag(), false, "The number of all that match, too."),
        in_query("at", text(), false, "A position or an RFC 3339 time."),
        in_query("minPosition", number(), false, "Wait until the inventories stand at this position."),
    ]);
    operation["responses"] = answers(OF_READS, "QueryReply").into();
    operation
}

fn read(message: &Message) -> Value {
    let mut operation = operation(message);
    operation["parameters"] = asked(message, &[]).into();
    operation["responses"] = answers(OF_READS, "ReadReply").into();
    operation
}

/// The parameters of a read in a URL, but for those that its path has.
fn asked(message: &Message, but: &[&str]) -> Vec<Value> {
    let own = message.parameters.iter().filter(|parameter| !but.contains(&parameter.api_name().as_str()));
    let mut parameters: Vec<Value> = own
        .map(|parameter| {
            let mut schema = schema::check(&parameter.check);
            if schema["type"] == "array" {
                schema["maxItems"] = json!(LIST_IN_URL);
            }
            in_query(&parameter.api_name(), schema, parameter.required, parameter.doc.trim())
        })
        .collect();
    if message.parameter("minPosition").is_none() {
        let number = json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
        parameters.push(in_query("minPosition", number, false, "These reads are of the log itself and never behind."));
    }
    parameters
}

/// What all operations of messages have.
fn operation(message: &Message) -> Value {
    let concept = CONCEPTS.iter().find(|(_, words)| words.iter().any(|word| message.name.contains(word)));
    let doc = message.doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut operation = json!({
        "operationId": message.name,
        "summary": spaced(message.name),
        "description": doc,
        "tags": [concept.map_or(OTHERS, |(title, _)| title)],
    });
    if message.access == Access::Anyone {
        operation["security"] = json!([{}, {"token": []}]);
    }
    operation
}

/// `CreateL3Network` → `Create L3 Network`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    let mut before = ' ';
    for c in name.chars() {
        let begins = c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if begins {
            words.push(' ');
        }
        words.push(c);
        before = c;
    }
    words
}

/// A command at a path that names what it is about.
fn of_path(path: &str, doc: &str, mut operation: Value) -> Value {
    if let Some(operation) = operation.as_object_mut() {
        // An id is of one operation, and that is the command's own.
        operation.remove("operationId");
        operation.insert("summary".to_string(), json!(path));
        operation.insert("description".to_string(), json!(doc));
    }
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(of_uuid());
    }
    operation
}

fn of_uuid() -> Value {
    json!({"name": "uuid", "in": "path", "required": true, "schema": schema::check(&Check::Uuid)})
}

/// A route that is no message by its path.
fn plain(path: &str, doc: &str) -> Value {
    let number = || json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
    let object = |status: &str, schema: Value| json!({status: {"description": "Done.", "content": {"application/json": {"schema": schema}}}});
    let media =
        |media: &str, doc: &str| json!({"description": doc, "content": {media: {"schema": {"type": "string"}}}});
    let mut parameters = vec![];
    let responses: Value = match path {
        "/healthz" => object("200", json!({"$ref": "#/components/schemas/Health"})),
        "/readyz" => {
            parameters.push(in_query(
                "verbose",
                json!({"type": "boolean"}),
                false,
                "By component, with what was found.",
            ));
            let mut responses: Map<String, Value> = refused(&[400]);
            for (status, doc) in [("200", "Ready."), ("503", "Not ready.")] {
                let schema = json!({"$ref": "#/components/schemas/Health"});
                let content =
                    json!({"application/json": {"schema": schema}, "text/plain": {"schema": {"type": "string"}}});
                responses.insert(status.to_string(), json!({"description": doc, "content": content}));
            }
            responses.into()
        }
        "/openapi.json" | "/asyncapi.json" => object("200", json!({"type": "object"})),
        "/" => {
            let mut responses = refused(&[401, 403, 429, 503, 504]);
            responses.insert("200".to_string(), done(json!({"type": "object"})));
            responses.into()
        }
        "/docs" => json!({"200": media("text/html", "The page.")}),
        "/metrics" => {
            let mut responses = refused(&[401, 403, 429]);
            responses.insert("200".to_string(), media("text/plain", "Prometheus' text format."));
            responses.into()
        }
        "/v1/audit/export" | "/v1/audit/backup" => {
            parameters.push(in_query("after", number(), false, "The position that it begins behind."));
            let mut responses = refused(&[400, 401, 403, 429, 501, 503, 504]);
            let form = if path.ends_with("export") { "application/x-ndjson" } else { "application/octet-stream" };
            responses.insert("200".to_string(), media(form, "The log."));
            responses.into()
        }
        "/v1/jobs/{uuid}" => {
            let mut responses = refused(OF_JOBS);
            responses.insert("200".to_string(), replied());
            responses.insert("202".to_string(), accepted());
            responses.into()
        }
        _ => {
            let mut responses = answers(OF_READS, "ReadReply");
            if let Some(message) = READS.iter().find(|(own, _)| *own == path).and_then(|(_, name)| named(name)) {
                parameters = asked(message, if path.contains("{uuid}") { &["uuid"] } else { &[] });
            }
            if path == "/v1/events" {
                let content = &mut responses["200"]["content"];
                for media in ["application/x-ndjson", "text/event-stream"] {
                    content[media] = json!({"schema": {"type": "string"}});
                }
                let schema = json!({"type": "string", "pattern": "^[0-9]{1,18}$"});
                parameters.push(header("Last-Event-ID", "Where a stream that was cut off goes on.", schema));
            }
            responses.into()
        }
    };
    if path.contains("{uuid}") {
        parameters.push(of_uuid());
    }
    let tag = match path {
        path if path.starts_with("/v1/routers/") => "Virtual routers",
        path if path.starts_with("/v1/audit/") || path == "/v1/events" => "Audit",
        _ => SYSTEM,
    };
    let mut operation =
        json!({"summary": path, "description": doc, "tags": [tag], "parameters": parameters, "responses": responses});
    if matches!(path, "/healthz" | "/readyz" | "/openapi.json" | "/asyncapi.json" | "/docs") {
        operation["security"] = json!([]);
    }
    operation
}

fn named(name: &str) -> Option<&'static Message> {
    messages().find(|message| message.name == name)
}

fn refused(statuses: &[u16]) -> Map<String, Value> {
    let refer = |status: &u16| (status.to_string(), json!({"$ref": format!("#/components/responses/Problem{status}")}));
    statuses.iter().map(refer).collect()
}

fn answers(problems: &[u16], schema: &str) -> Map<String, Value> {
    let mut responses = refused(problems);
    let mut answer = done(json!({"$ref": format!("#/components/schemas/{schema}")}));
    answer["headers"] = refer(&["X-Switchback-Position"]);
    responses.insert("200".to_string(), answer);
    responses
}

fn done(schema: Value) -> Value {
    json!({"description": "Done.", "content": {"application/json": {"schema": schema}}})
}

/// The reply of a command.
fn replied() -> Value {
    let mut answer = done(json!({"$ref": "#/components/schemas/CommandReply"}));
    answer["headers"] = refer(&["X-Switchback-Position", "ETag"]);
    answer
}

/// Where the reply of a command will be.
fn accepted() -> Value {
    json!({
        "description": "Under way.",
        "headers": refer(&["Location", "Retry-After", "Preference-Applied"]),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}},
    })
}

fn refer(names: &[&str]) -> Value {
    let refer = |name: &&str| (name.to_string(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.iter().map(refer).collect::<Map<String, Value>>().into()
}

fn headers() -> Value {
    let number = || json!({"type": "integer", "minimum": 0});
    let words = || json!({"type": "string"});
    let one = |doc: &str, schema: Value| json!({"description": doc, "schema": schema});
    json!({
        "X-Switchback-Position": one("The position of the log that the answer is of.", number()),
        "ETag": one("The version of the target, for `If-Match`.", words()),
        "Location": one("Where the reply will be.", words()),
        "Retry-After": one("Seconds after which to come again.", number()),
        "Preference-Applied": one("What of `Prefer` was done.", words()),
        "WWW-Authenticate": one("What kind of token is asked for.", words()),
    })
}

fn problems() -> Value {
    let one = |(status, doc): &(u16, &str)| {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let mut problem = json!({"description": doc, "content": {"application/problem+json": {"schema": schema}}});
        match status {
            401 => problem["headers"] = refer(&["WWW-Authenticate"]),
            429 | 503 => problem["headers"] = refer(&["Retry-After"]),
            _ => {}
        }
        (format!("Problem{status}"), problem)
    };
    PROBLEMS.iter().map(one).collect::<Map<String, Value>>().into()
}

fn header(name: &str, doc: &str, schema: Value) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": doc, "schema": schema})
}

fn in_query(name: &str, schema: Value, required: bool, doc: &str) -> Value {
    json!({"name": name, "in": "query", "required": required, "description": doc, "schema": schema})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_outside_and_no_other_is_in_the_document() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        for message in messages() {
            let folder = if message.kind == MessageKind::Command { "commands" } else { "queries" };
            assert_eq!(paths.contains_key(&format!("/v1/{folder}/{}", message.name)), !message.internal);
        }
        let create = &paths["/v1/commands/CreateL3Network"]["post"]["requestBody"]["content"]["application/json"];
        assert_eq!(create["schema"]["required"], json!(["name", "l2NetworkUuid"]));
        assert_eq!(create["schema"]["properties"]["systemTags"]["type"], "array");
        assert_eq!(paths["/v1/commands/LogInByAccount"]["post"]["security"], json!([{}, {"token": []}]));
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_parameter_is_named_once() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                    }
                    map.values().for_each(|value| walk(value, document));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
        let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let names = operation["parameters"].as_array().into_iter().flatten().map(|one| &one["name"]);
                let mut names: Vec<String> = names.map(ToString::to_string).collect();
                let all = names.len();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), all, "{path}");
                assert!(tags.contains(&&operation["tags"][0]), "{path}");
                let placed = path.contains("{uuid}");
                assert_eq!(names.contains(&"\"uuid\"".to_string()) && placed, placed, "{path}");
            }
        }
    }

    #[test]
    fn messages_are_grouped_by_what_they_are_about() {
        let of = |name: &str| operation(named(name).unwrap())["tags"][0].clone();
        for (name, concept) in [
            ("CreateVirtualRouterOffering", "Offerings"),
            ("ReconnectVirtualRouter", "Virtual routers"),
            ("ReplaceVirtualRouter", "Virtual routers"),
            ("AddHostRouteToL3Network", "L3 networks"),
            ("GetAgentToken", "Hosts"),
            ("AddIpv6Range", "IP ranges and addresses"),
            ("GetEvents", "Audit"),
        ] {
            assert_eq!(of(name), concept, "{name}");
        }
        assert_eq!(spaced("CreateL3Network"), "Create L3 Network");
    }
}
