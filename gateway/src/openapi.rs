//! `/openapi.json`: the interface as OpenAPI 3.1, made from the catalogue.

use crate::routes::ROUTES;
use actix_web::HttpResponse;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use switchback_bus::{COMMON, Check, DELETE_MODE, KEY_SECRET, Message, MessageKind, Parameter, creates, messages};

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// Answers the document.
pub(crate) async fn get() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(TEXT.as_str())
}

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for message in messages().filter(|message| !message.internal) {
        let (path, operation) = match message.kind {
            MessageKind::Command => (format!("/v1/commands/{}", message.name), json!({"post": command(message)})),
            MessageKind::Query => (format!("/v1/queries/{}", message.name), json!({"get": query(message)})),
            MessageKind::Read => (format!("/v1/queries/{}", message.name), json!({"get": read(message)})),
        };
        paths.insert(path, operation);
    }
    // Each message has a route of its own already, and those of ZStack's are no promise of ours.
    let own = ROUTES.iter().filter(|(method, path, _)| *method != "*" && !path.contains("{Name}"));
    for (method, path, doc) in own {
        paths.insert(path.to_string(), json!({method.to_lowercase(): plain(path, doc)}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchback",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An event-sourced control plane for virtual networks.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "Why not.",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }},
            "schemas": schemas(),
        },
    })
}

fn command(message: &Message) -> Value {
    let own = message.parameters.iter();
    let common = COMMON.iter().filter(|common| creates(message) && message.parameter(&common.api_name()).is_none());
    let mode = std::iter::once(&DELETE_MODE).filter(|_| message.method == "DELETE");
    let parameters: Vec<&Parameter> = own.chain(common).chain(mode).collect();
    let required: Vec<String> =
        parameters.iter().filter(|parameter| parameter.required).map(|parameter| parameter.api_name()).collect();
    let properties: Map<String, Value> =
        parameters.iter().map(|parameter| (parameter.api_name(), property(parameter))).collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    json!({
        "operationId": message.name,
        "summary": message.doc.trim(),
        "tags": ["commands"],
        "parameters": [
            header("Idempotency-Key", "Names the command: the same key again gets the same answer."),
            header("X-Reason", "Why; kept with the events."),
            header("If-Match", "The version that the target must have."),
            header("Prefer", "`respond-async`: answer when the decision is on disk."),
            in_query("dryRun", json!({"type": "boolean"}), false, "Decide and answer the events, append nothing."),
            in_query("wait", json!({"enum": ["durable", "applied"]}), false, "What the reply waits for."),
        ],
        "requestBody": {"required": !required.is_empty(), "content": {"application/json": {"schema": schema}}},
        "responses": responses(json!({"$ref": "#/components/schemas/CommandReply"})),
    })
}

fn query(message: &Message) -> Value {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer", "minimum": 0});
    let flag = || json!({"type": "boolean"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    json!({
        "operationId": message.name,
        "summary": message.doc.trim(),
        "tags": ["queries"],
        "parameters": [
            in_query("q", texts(), false, "A condition, such as `name=x`; all must hold."),
            in_query("fields", text(), false, "Only these fields, separated by commas."),
            in_query("sort", text(), false, "`+field` or `-field`."),
            in_query("start", number(), false, "How many to pass over."),
            in_query("limit", number(), false, "How many at most, 1000 when not given."),
            in_query("count", flag(), false, "Only the number of them."),
            in_query("replyWithCount", flag(), false, "The number of all that match, too."),
            in_query("at", text(), false, "A position or an RFC 3339 time."),
            in_query("minPosition", number(), false, "Wait until the inventories stand at this position."),
        ],
        "responses": responses(json!({"$ref": "#/components/schemas/QueryReply"})),
    })
}

fn read(message: &Message) -> Value {
    let parameters: Vec<Value> = message
        .parameters
        .iter()
        .map(|parameter| {
            in_query(&parameter.api_name(), schema(&parameter.check), parameter.required, parameter.doc.trim())
        })
        .collect();
    json!({
        "operationId": message.name,
        "summary": message.doc.trim(),
        "tags": ["reads"],
        "parameters": parameters,
        "responses": responses(json!({"type": "object"})),
    })
}

/// A route that is no message by its name.
fn plain(path: &str, doc: &str) -> Value {
    let mut operation = json!({"summary": doc, "tags": ["routes"], "responses": responses(json!({"type": "object"}))});
    if path.contains("{uuid}") {
        let schema = schema(&Check::Uuid);
        operation["parameters"] = json!([{"name": "uuid", "in": "path", "required": true, "schema": schema}]);
    }
    if matches!(path, "/healthz" | "/readyz" | "/openapi.json") {
        operation["security"] = json!([]);
    }
    operation
}

fn responses(schema: Value) -> Value {
    json!({
        "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}},
        "default": {"$ref": "#/components/responses/Problem"},
    })
}

fn header(name: &str, doc: &str) -> Value {
    json!({"name": name, "in": "header", "description": doc, "schema": {"type": "string"}})
}

fn in_query(name: &str, schema: Value, required: bool, doc: &str) -> Value {
    json!({"name": name, "in": "query", "required": required, "description": doc, "schema": schema})
}

fn property(parameter: &Parameter) -> Value {
    let mut schema = schema(&parameter.check);
    schema["description"] = json!(parameter.doc.trim());
    schema
}

fn schema(check: &Check) -> Value {
    match check {
        Check::Text(max) => json!({"type": "string", "minLength": 1, "maxLength": max}),
        Check::FreeText(max) => json!({"type": "string", "maxLength": max}),
        Check::Int(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Check::Enum(words) => json!({"enum": words}),
        Check::Uuid => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        Check::Password => json!({"type": "string", "format": "password", "pattern": "^[0-9a-f]{128}$"}),
        Check::Session => json!({"type": "string", "format": "password", "pattern": "^[0-9a-f]{32}$"}),
        Check::Key(length) => json!({"type": "string", "pattern": format!("^[0-9A-Za-z]{{{length}}}$")}),
        Check::KeySecret => {
            json!({"type": "string", "format": "password", "pattern": format!("^[0-9A-Za-z]{{{KEY_SECRET}}}$")})
        }
        Check::Bool => json!({"type": "boolean"}),
        Check::Ipv4 => json!({"type": "string", "format": "ipv4"}),
        Check::Ip => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        Check::List(of) => json!({"type": "array", "items": schema(of), "maxItems": switchback_bus::MAX_LIST}),
        Check::Services => json!({
            "type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}},
        }),
        Check::Any => json!({}),
    }
}

fn schemas() -> Value {
    let number = json!({"type": "integer", "minimum": 0});
    let text = json!({"type": "string"});
    let id = schema(&Check::Uuid);
    let object = json!({"type": "object"});
    json!({
        "CommandReply": {
            "type": "object",
            "required": ["commandId", "position", "version", "applied", "events"],
            "properties": {
                "commandId": id, "position": number, "version": number, "applied": {"type": "boolean"},
                "inventory": object, "inventories": {"type": "array", "items": object},
                "events": {"type": "array", "items": {"$ref": "#/components/schemas/ReplyEvent"}},
            },
        },
        "ReplyEvent": {
            "type": "object",
            "required": ["position", "stream", "version", "kind"],
            "properties": {"position": number, "stream": text, "version": number, "kind": text, "payload": object},
        },
        "QueryReply": {
            "type": "object",
            "required": ["inventories", "position"],
            "properties": {"inventories": {"type": "array", "items": object}, "total": number, "position": number},
        },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": {"type": "string", "format": "uri-reference"}, "title": text, "status": number,
                "detail": text, "code": text, "hint": text, "commandId": id, "currentVersion": number,
                "errors": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"pointer": text, "field": text, "detail": text},
                }},
                "blockers": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"resourceType": text, "uuid": id, "name": text},
                }},
            },
        },
    })
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
    }
}
