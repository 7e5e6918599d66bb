//! The message bus as an AsyncAPI 3.0 document: from the catalogue what can be asked, from the types of events what is
//! published.
//!
//! ```text
//!  channels: a command, a query or read, the replay: one each     messages     schemas
//!            events: one a concept                              ──►  one    ──►  one    (components)
//!            replies: one, whose address each request names           each         each
//! ```
//! **Invariant:** what goes over the bus is valid by this document, headers as well, and the document is closed where what
//! goes is. Subjects and headers themselves are in the crate of the bus over NATS, whose tests hold the two together.

use crate::{Access, Message, MessageKind, Parameter, messages, schema};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::LazyLock};
use switchback_events::{EventSchema, EventSchemas, event_schemas};

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The document as JSON text.
pub fn text() -> &'static str {
    &TEXT
}

const DESCRIPTION: &str = "Commands and reads are requests: the reply comes to the subject that the request names. What HTTP \
answers, the bus answers: the same parameters, replies, problems (RFC 9457), permissions and idempotence. Every committed event \
is published once, in the order of the log, after it is durable. Limits of length are of bytes.";
/// Who answers requests on a server of NATS, however many there are.
const QUEUE: &str = "switchback";
/// The one channel of replies.
const REPLIES: &str = "replies";
const REPLAY: &str = "events.replay";

/// What a refusal is answered by, whatever was asked.
const PROBLEM: &str = "Problem";

/// The whole document.
pub fn document() -> Value {
    let mut document = Document::default();
    for message in messages().filter(|message| !message.internal) {
        document.request(message);
    }
    document.replay();
    document.replies();
    document.events(event_schemas());
    let Document { channels, operations, messages, schemas } = document;
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:switchback:bus",
        "info": {
            "title": "Switchback's message bus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "embedded": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "Switchback itself, which takes NATS' clients.",
                "security": refs("securitySchemes", &["bearer", "token", "password", "nkey"]),
            },
            "nats": {
                "host": "{host}:{port}",
                "protocol": "nats",
                "description": "A server of NATS that Switchback is a client of. Who asks is known by the header `Authorization`.",
                "variables": {"host": {"default": "localhost"}, "port": {"default": "4222"}},
                "security": refs("securitySchemes", &["bearer"]),
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "The administrator's token, an API token, or the uuid of a session, in the header `Authorization`.",
                },
                "token": {"type": "apiKey", "in": "password", "description": "The same as `auth_token` of the connection."},
                "password": {"type": "userPassword", "description": "The name and password of an account."},
                "nkey": {"type": "asymmetricEncryption", "description": "An nkey that the configuration gives to an account."},
            },
        },
    })
}

#[derive(Default)]
struct Document {
    channels: BTreeMap<String, Value>,
    operations: BTreeMap<String, Value>,
    messages: BTreeMap<String, Value>,
    schemas: BTreeMap<String, Value>,
}

impl Document {
    /// What can be asked: a channel, a message, an operation.
    fn request(&mut self, message: &Message) {
        let (subject, headers, reply, tag) = match message.kind {
            MessageKind::Command => ("cmd", "CommandHeaders", "CommandReply", "commands"),
            MessageKind::Query => ("query", "RequestHeaders", "QueryReply", "queries"),
            MessageKind::Read => ("query", "RequestHeaders", "ReadReply", "reads"),
        };
        let (name, doc) = (message.name, words(message.doc));
        let parameters = match message.kind {
            MessageKind::Command => schema::parameters(message),
            MessageKind::Query | MessageKind::Read => message.parameters.iter().collect(),
        };
        let payload = match message.kind {
            // All queries are asked in one language.
            MessageKind::Query => "QueryRequest",
            MessageKind::Command | MessageKind::Read => {
                self.schemas.insert(name.to_string(), schema::object(&parameters));
                name
            }
        };
        let who = if message.access == Access::Anyone { "anyone, without a token too" } else { message.access.words() };
        let mut operation = received(name, name, tag, &doc, &[reply]);
        operation["description"] = format!("For {who}.").into();
        self.messages.insert(name.to_string(), said(name, &doc, headers, payload));
        self.channels.insert(name.to_string(), channel(&format!("switchback.{subject}.{name}"), &doc, &[name]));
        self.operations.insert(name.to_string(), operation);
    }

    /// The past, by credit.
    fn replay(&mut self) {
        let doc = "Events of the past, from a position, as many as the credit.";
        self.messages.insert("Replay".to_string(), said("Replay", doc, "RequestHeaders", "ReplayRequest"));
        self.schemas.insert("ReplayRequest".to_string(), replay_request());
        self.channels.insert(REPLAY.to_string(), channel("switchback.events.replay", doc, &["Replay"]));
        let mut operation = received(REPLAY, "Replay", "events", doc, &["ReplayedEvent", "ReplayEnd"]);
        operation["description"] =
            "For administrators. First the events, then one message that says how far the log was looked at: \
                                    ask for what comes after that."
                .into();
        self.operations.insert(REPLAY.to_string(), operation);
    }

    /// What is answered.
    fn replies(&mut self) {
        let replies = [
            ("CommandReply", "What came of a command.", "ReplyHeaders", "CommandReply"),
            ("QueryReply", "The inventories that matched.", "ReplyHeaders", "QueryReply"),
            ("ReadReply", "What was read.", "ReadHeaders", "ReadReply"),
            (PROBLEM, "Why it was refused.", "ProblemHeaders", "Problem"),
            ("ReplayedEvent", "An event of the past.", "ReplayedHeaders", "Event"),
            ("ReplayEnd", "The end of a replay.", "ReplayEndHeaders", "ReplayEnd"),
        ];
        for (name, doc, headers, payload) in replies {
            let mut message = said(name, doc, headers, payload);
            if name == PROBLEM {
                message["contentType"] = "application/problem+json".into();
            }
            self.messages.insert(name.to_string(), message);
        }
        let names = replies.map(|(name, ..)| name);
        let mut channel = channel("", "The subject that a request names for its reply.", &names);
        channel["address"] = Value::Null;
        self.channels.insert(REPLIES.to_string(), channel);
        let Value::Object(known) = schema::replies() else { return };
        let asked = ["CommandReply", "ReplyEvent", "RouterPlan", "QueryReply", "ReadReply", "Problem"];
        self.schemas.extend(known.into_iter().filter(|(name, _)| asked.contains(&name.as_str())).map(
            |(name, mut schema)| {
                if name != "ReadReply" {
                    close(&mut schema);
                }
                (name, schema)
            },
        ));
        self.schemas.insert("QueryRequest".to_string(), query_request());
        self.schemas.insert("ReplayEnd".to_string(), replay_end());
        self.schemas.extend(headers().into_iter().map(|(name, schema)| (name.to_string(), schema)));
    }

    /// What is published: a channel for each concept, a message for each kind.
    fn events(&mut self, events: EventSchemas) {
        let EventSchemas { kinds, mut envelope, definitions } = events;
        // The API shows the time as text, too.
        envelope["properties"]["time"] =
            json!({"type": "string", "format": "date-time", "description": "The same as text."});
        if let Some(required) = envelope["required"].as_array_mut() {
            required.push("time".into());
        }
        self.schemas.insert("EventEnvelope".to_string(), envelope);
        self.schemas.extend(definitions);
        let any: Vec<Value> = kinds.iter().map(|kind| reference("schemas", &kind.kind())).collect();
        self.schemas.insert("Event".to_string(), json!({"description": "An event of any kind.", "anyOf": any}));
        let mut concepts: BTreeMap<&str, Vec<&EventSchema>> = BTreeMap::new();
        for kind in &kinds {
            concepts.entry(kind.stream.stem()).or_default().push(kind);
            let (name, headers) = (kind.kind(), format!("{}.headers", kind.kind()));
            self.schemas.insert(name.clone(), event(kind));
            self.schemas.insert(headers.clone(), event_headers(kind));
            let doc = kind
                .doc
                .clone()
                .unwrap_or_else(|| format!("{} of one {}.", kind.name, kind.stream.stem().replace('_', " ")));
            self.messages.insert(name.clone(), said(&name, &doc, &headers, &name));
        }
        for (stem, kinds) in concepts {
            let name = format!("evt.{stem}");
            let of: Vec<String> = kinds.iter().map(|kind| kind.kind()).collect();
            let of: Vec<&str> = of.iter().map(String::as_str).collect();
            let doc = format!("What happens to one {}.", stem.replace('_', " "));
            let mut channel = channel(&format!("switchback.evt.{stem}.{{uuid}}.{{kind}}"), &doc, &of);
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
            channel["parameters"] = json!({
                "uuid": {"description": "The resource: 32 hexadecimal digits; `*` for all."},
                "kind": {"description": "What happened; `*` for whatever does.", "enum": names},
            });
            self.channels.insert(name.clone(), channel);
            let sent = json!({
                "action": "send", "channel": reference_to(&["channels", &name]), "summary": doc,
                "description": "For administrators.", "tags": [{"name": "events"}], "messages": in_channel(&name, &of),
            });
            self.operations.insert(name, sent);
        }
    }
}

/// A message of the document.
fn said(name: &str, doc: &str, headers: &str, payload: &str) -> Value {
    json!({
        "name": name, "summary": doc,
        "headers": reference("schemas", headers), "payload": reference("schemas", payload),
    })
}

fn channel(address: &str, doc: &str, messages: &[&str]) -> Value {
    let messages: Map<String, Value> =
        messages.iter().map(|name| (name.to_string(), reference("messages", name))).collect();
    json!({"address": address, "description": doc, "messages": messages})
}

/// An operation that is asked and answers.
fn received(channel: &str, message: &str, tag: &str, doc: &str, replies: &[&str]) -> Value {
    let mut replies = replies.to_vec();
    replies.push(PROBLEM);
    json!({
        "action": "receive", "channel": reference_to(&["channels", channel]), "summary": doc,
        "tags": [{"name": tag}], "messages": in_channel(channel, &[message]),
        "bindings": {"nats": {"queue": QUEUE, "bindingVersion": "0.1.0"}},
        "reply": {"channel": reference_to(&["channels", REPLIES]), "messages": in_channel(REPLIES, &replies)},
    })
}

/// An event as it is published: the envelope, which is closed, with what is this kind's own in it.
fn event(kind: &EventSchema) -> Value {
    let own = json!({
        "streamType": {"const": kind.stream.stem()}, "kind": {"const": kind.kind()}, "schema": {"const": kind.version},
        "payload": kind.payload,
    });
    let mut schema = json!({"allOf": [reference("schemas", "EventEnvelope"), {"properties": own}]});
    if let Some(doc) = &kind.doc {
        schema["description"] = json!(doc);
    }
    schema
}

/// Its headers: the attributes of CloudEvents 1.0.
fn event_headers(kind: &EventSchema) -> Value {
    let own = json!({
        "ce-type": {"const": format!("switchback.{}.v{}", kind.kind(), kind.version)},
        "ce-subject": {"pattern": format!("^{}/[0-9a-f]{{32}}$", kind.stream.stem())},
    });
    json!({"type": "object", "allOf": [reference("schemas", "EventHeaders"), {"properties": own}]})
}

/// What all queries are asked by.
fn query_request() -> Value {
    let number = |doc: &str| json!({"type": "integer", "minimum": 0, "maximum": i64::MAX, "description": doc});
    let text = |doc: &str| json!({"type": "string", "description": doc});
    let texts = |doc: &str| json!({"type": ["string", "array"], "items": {"type": "string"}, "description": doc});
    let flag = |doc: &str| json!({"type": "boolean", "description": doc});
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "q": texts("Conditions, all of which must hold, such as `name=x`."),
            "fields": texts("Only these fields; in one text separated by commas."),
            "sort": text("`+field` or `-field`."),
            "groupBy": text("Only the first of those that have the same value in this field."),
            "start": number("How many to pass over."),
            "limit": number("How many at most, 1000 when not given."),
            "count": flag("Only the number of them."),
            "replyWithCount": flag("The number of all that match, too."),
            "at": {"type": ["string", "integer"], "minimum": 0, "description": "A position or an RFC 3339 time."},
            "minPosition": number("Wait until the inventories stand at this position."),
        },
    })
}

/// What a replay is asked by: the conditions of a page of events, and how much its reader takes.
fn replay_request() -> Value {
    let number =
        |min: u64, max: i64, doc: &str| json!({"type": "integer", "minimum": min, "maximum": max, "description": doc});
    let conditions =
        messages().find(|message| message.name == "GetEvents").map_or(&[][..], |message| message.parameters);
    let meant = |parameter: &&Parameter| !["limit", "newest"].contains(&parameter.field);
    let mut request = schema::object(&conditions.iter().filter(meant).collect::<Vec<_>>());
    request["properties"]["upto"] = number(0, i64::MAX, "Only up to this position.");
    request["properties"]["credit"] = number(1, 10_000, "How many events at most, 1000 when not given.");
    request["properties"]["waitSeconds"] =
        number(0, 30, "How long to wait for the first event where there is none; 0 when not given.");
    request
}

fn replay_end() -> Value {
    let number = |doc: &str| json!({"type": "integer", "minimum": 0, "description": doc});
    json!({
        "type": "object", "additionalProperties": false, "required": ["examined", "head", "events"],
        "properties": {
            "examined": number("The position up to which the log was looked at: go on after it."),
            "head": number("The last position of the log."),
            "events": number("How many events came before."),
        },
    })
}

/// The headers that go beside a payload. A sender may add his own; ours are closed.
fn headers() -> Vec<(&'static str, Value)> {
    let with = |mut schema: Value, doc: &str| {
        schema["description"] = doc.into();
        schema
    };
    let number = |doc: &str| json!({"type": "string", "pattern": "^[0-9]+$", "description": doc});
    let fixed = |text: &str| json!({"const": text});
    let ours = |properties: Value, needed: &[&str]| {
        json!({
            "type": "object", "properties": properties, "required": needed, "additionalProperties": false,
        })
    };
    let bearer = json!({
        "type": "string", "pattern": "^[Bb][Ee][Aa][Rr][Ee][Rr] +.+$",
        "description": "`Bearer` and a token. Without it the connection's own credentials count.",
    });
    let mut command = json!({
        "Nats-Msg-Id": with(schema::text(1, 255), "Names the command: the same again gets the same answer."),
        "Idempotency-Key": with(schema::text(1, 255), "The same, in HTTP's word."),
        "X-Reason": with(schema::text(0, 1024), "Why; kept with the events."),
        "If-Match": {"type": "string", "pattern": "^(W/)?\"?[0-9]{1,18}\"?$", "description": "The version that the target must have."},
        "X-Dry-Run": {"type": "string", "enum": ["true", "false"], "description": "Decide and answer the events, append nothing."},
        "X-Wait": {"type": "string", "enum": ["durable", "applied"], "description": "What the reply waits for; `applied` when not given."},
    });
    command["Authorization"] = bearer.clone();
    let position = number("The position of the log that the answer is of.");
    let event = json!({
        "Nats-Msg-Id": number("The position of the event."),
        "ce-specversion": fixed("1.0"),
        "ce-id": number("The position of the event."),
        "ce-source": fixed("/switchback/journal"),
        "ce-type": {"type": "string", "description": "The kind of event, with its schema version."},
        "ce-subject": {"type": "string", "pattern": "^[a-z0-9_]+/[0-9a-f]{32}$", "description": "The stream."},
        "ce-time": {"type": "string", "format": "date-time", "description": "When it was decided."},
        "ce-datacontenttype": fixed("application/json"),
    });
    let attributes: Vec<&str> = event.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let mut replayed = event.clone();
    replayed["Switchback-Subject"] = json!({
        "type": "string", "pattern": "^switchback\\.evt\\.[a-z0-9_]+\\.[0-9a-f]{32}\\.[A-Za-z0-9]+$",
        "description": "The subject that it was published on.",
    });
    let of_replayed: Vec<&str> = attributes.iter().copied().chain(["Switchback-Subject"]).collect();
    vec![
        ("CommandHeaders", json!({"type": "object", "properties": command})),
        ("RequestHeaders", json!({"type": "object", "properties": {"Authorization": bearer}})),
        ("ReplyHeaders", ours(json!({"X-Switchback-Position": position}), &["X-Switchback-Position"])),
        ("ReadHeaders", ours(json!({"X-Switchback-Position": position}), &[])),
        (
            "ProblemHeaders",
            ours(
                json!({
                    "Nats-Service-Error-Code": {"type": "string", "pattern": "^[45][0-9]{2}$", "description": "Its status."},
                    "Nats-Service-Error": {"type": "string", "description": "Its title."},
                    "Content-Type": fixed("application/problem+json"),
                    "Retry-After": number("Seconds after which to come again."),
                }),
                &["Nats-Service-Error-Code", "Nats-Service-Error", "Content-Type"],
            ),
        ),
        ("EventHeaders", ours(event.clone(), &attributes)),
        ("ReplayedHeaders", ours(replayed, &of_replayed)),
        (
            "ReplayEndHeaders",
            ours(
                json!({"Switchback-Replay": fixed("end"), "X-Switchback-Position": position}),
                &["Switchback-Replay", "X-Switchback-Position"],
            ),
        ),
    ]
}

/// Says of every object with named members that it has no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && map.get("type").is_some_and(|kind| kind == "object") {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn words(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn refs(kind: &str, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| reference(kind, name)).collect()
}

fn reference(kind: &str, name: &str) -> Value {
    reference_to(&["components", kind, name])
}

fn in_channel(channel: &str, messages: &[&str]) -> Vec<Value> {
    messages.iter().map(|name| reference_to(&["channels", channel, "messages", name])).collect()
}

fn reference_to(path: &[&str]) -> Value {
    json!({"$ref": format!("#/{}", path.join("/"))})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, document: &Value, seen: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                        seen.insert(target.to_string());
                    }
                    map.values().for_each(|value| walk(value, document, seen));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, document, seen)),
                _ => {}
            }
        }
        let document = document();
        let mut seen = BTreeSet::new();
        walk(&document, &document, &mut seen);
        for kind in ["messages", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(seen.contains(&format!("#/components/{kind}/{name}")), "nothing refers to {kind}/{name}");
            }
        }
    }

    #[test]
    fn what_can_be_asked_and_what_happens_is_in_it_under_names_of_its_own() {
        let document = document();
        let (channels, operations) = (&document["channels"], &document["operations"]);
        for message in messages() {
            let subject = if message.kind == MessageKind::Command { "cmd" } else { "query" };
            let address = (!message.internal).then(|| format!("switchback.{subject}.{}", message.name));
            assert_eq!(channels[message.name]["address"].as_str(), address.as_deref(), "{}", message.name);
            assert_eq!(operations[message.name].is_object(), !message.internal, "{}", message.name);
        }
        let events = event_schemas();
        for kind in &events.kinds {
            let channel = &channels[format!("evt.{}", kind.stream.stem())];
            assert!(channel["messages"][kind.kind()].is_object(), "{}", kind.kind());
            assert!(
                channel["parameters"]["kind"]["enum"].as_array().unwrap().contains(&json!(kind.name)),
                "{}",
                kind.kind()
            );
        }
        // Were a name used twice, one schema would have taken the place of another.
        let own = headers().len() + ["QueryRequest", "ReplayRequest", "ReplayEnd", "Event", "EventEnvelope"].len();
        let replies = ["CommandReply", "ReplyEvent", "RouterPlan", "QueryReply", "ReadReply", "Problem"].len();
        let asked = messages().filter(|message| !message.internal && message.kind != MessageKind::Query).count();
        let all = own + replies + asked + events.definitions.len() + 2 * events.kinds.len();
        assert_eq!(document["components"]["schemas"].as_object().unwrap().len(), all);
    }

    #[test]
    fn objects_are_closed_where_the_types_are() {
        let schemas = &document()["components"]["schemas"];
        for name in
            ["CommandReply", "ReplyEvent", "RouterPlan", "QueryReply", "Problem", "EventEnvelope", "CreateZone", "Nic"]
        {
            assert_eq!(schemas[name]["additionalProperties"], json!(false), "{name}");
        }
        assert_eq!(schemas["Problem"]["properties"]["blockers"]["items"]["additionalProperties"], json!(false));
        assert_eq!(schemas["zone.Created"]["allOf"][1]["properties"]["payload"]["additionalProperties"], json!(false));
        let created = &schemas["CreateZone"];
        assert_eq!(
            (&created["required"], &created["properties"]["name"]["maxLength"]),
            (&json!(["name"]), &json!(255))
        );
    }
}
