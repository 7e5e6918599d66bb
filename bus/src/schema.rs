//! JSON Schemas of what is asked and answered, from the catalogue: OpenAPI and AsyncAPI are made of them.
//!
//! **Invariant:** what a check takes is valid by its schema. Limits of length are of bytes there and of characters here.

use crate::{
    ACTIONS, COMMON, Check, DELETE_MODE, KEY_SECRET, MAX_LIST, MAX_OBJECTS, Message, PASSWORD_WORDS, PEM_MAX,
    Parameter, STATEMENTS, VM_PASSWORD_MAX, creates,
};
use serde_json::{Map, Value, json};

/// All parameters of a command, those that it shares with others last.
pub fn parameters(message: &Message) -> Vec<&Parameter> {
    let own = message.parameters.iter();
    let common = COMMON.iter().filter(|common| creates(message) && message.parameter(&common.api_name()).is_none());
    let mode = std::iter::once(&DELETE_MODE).filter(|_| message.method == "DELETE");
    own.chain(common).chain(mode).collect()
}

/// The parameters as one flat object.
pub fn object(parameters: &[&Parameter]) -> Value {
    let required: Vec<String> =
        parameters.iter().filter(|parameter| parameter.required).map(|parameter| parameter.api_name()).collect();
    let properties: Map<String, Value> =
        parameters.iter().map(|parameter| (parameter.api_name(), self::parameter(parameter))).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A parameter with its words.
pub fn parameter(parameter: &Parameter) -> Value {
    let mut schema = check(&parameter.check);
    schema["description"] = json!(parameter.doc.split_whitespace().collect::<Vec<_>>().join(" "));
    schema
}

/// Text of so many bytes without control characters.
pub fn text(min: usize, max: usize) -> Value {
    json!({"type": "string", "minLength": min, "maxLength": max, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"})
}

/// What is right by a check.
pub fn check(check: &Check) -> Value {
    match check {
        Check::Text(max) => text(1, *max),
        Check::FreeText(max) => json!({
            "type": "string", "maxLength": max, "pattern": "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*$",
        }),
        Check::Int(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Check::Enum(words) => json!({"type": "string", "enum": words}),
        Check::Uuid => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        Check::Password => json!({"type": "string", "format": "password", "pattern": "^[0-9a-f]{128}$"}),
        Check::Session => json!({"type": "string", "format": "password", "pattern": "^[0-9a-f]{32}$"}),
        Check::Key(length) => json!({"type": "string", "pattern": format!("^[0-9A-Za-z]{{{length}}}$")}),
        Check::Pem => json!({"type": "string", "maxLength": PEM_MAX, "format": "password"}),
        Check::VmPassword => json!({
            "type": "string", "format": "password", "minLength": 1, "maxLength": VM_PASSWORD_MAX,
            "pattern": "^[!-~]+$", "not": {"enum": PASSWORD_WORDS},
        }),
        Check::KeySecret => {
            json!({"type": "string", "format": "password", "pattern": format!("^[0-9A-Za-z]{{{KEY_SECRET}}}$")})
        }
        Check::Bool => json!({"type": "boolean"}),
        Check::Ipv4 => json!({"type": "string", "format": "ipv4"}),
        Check::Ip => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        Check::List(of) => json!({"type": "array", "items": self::check(of), "maxItems": MAX_LIST}),
        Check::Objects(fields) => {
            let properties = fields.iter().map(|field| (field.api_name(), self::check(&field.check)));
            let properties: serde_json::Map<String, Value> = properties.collect();
            let required = fields.iter().filter(|field| field.required).map(Parameter::api_name);
            json!({
                "type": "array", "maxItems": MAX_OBJECTS,
                "items": {
                    "type": "object", "properties": properties, "required": required.collect::<Vec<_>>(),
                    "additionalProperties": false,
                },
            })
        }
        Check::Services => json!({
            "type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}},
        }),
        Check::Statements => {
            let action = text(1, 255);
            json!({
                "type": "array", "minItems": 1, "maxItems": STATEMENTS,
                "items": {
                    "type": "object",
                    "required": ["effect", "actions"],
                    "additionalProperties": false,
                    "properties": {
                        "name": text(1, 255),
                        "effect": {"type": "string", "enum": ["Allow", "Deny"]},
                        "actions": {"type": "array", "items": action, "minItems": 1, "maxItems": ACTIONS},
                    },
                },
            })
        }
        Check::Any => json!({"type": "string"}),
    }
}

/// What is answered, by name; `$ref`s lead to `#/components/schemas`.
pub fn replies() -> Value {
    let number = json!({"type": "integer", "minimum": 0});
    let text = json!({"type": "string"});
    let id = check(&Check::Uuid);
    let object = json!({"type": "object"});
    json!({
        "CommandReply": {
            "type": "object",
            "required": ["commandId", "position", "version", "applied", "events"],
            "properties": {
                "commandId": id, "position": number, "version": number, "applied": {"type": "boolean"},
                "inventory": object, "inventories": {"type": "array", "items": object},
                "events": {"type": "array", "items": {"$ref": "#/components/schemas/ReplyEvent"}},
                "routers": {"type": "array", "items": {"$ref": "#/components/schemas/RouterPlan"}},
            },
        },
        "ReplyEvent": {
            "type": "object",
            "required": ["position", "stream", "version", "kind"],
            "properties": {"position": number, "stream": text, "version": number, "kind": text, "payload": object},
        },
        "RouterPlan": {
            "type": "object",
            "required": ["uuid", "name", "sections"],
            "properties": {
                "uuid": id, "name": text, "unknown": text,
                "sections": {"type": "object", "additionalProperties": {"type": "array", "items": text}},
            },
        },
        "Job": {
            "type": "object",
            "required": ["commandId", "location"],
            "properties": {"commandId": id, "location": {"type": "string", "format": "uri-reference"}},
        },
        "QueryReply": {
            "type": "object",
            "required": ["inventories", "position"],
            "properties": {"inventories": {"type": "array", "items": object}, "total": number, "position": number},
        },
        "ReadReply": {"type": "object", "properties": {"position": number}},
        "Health": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "string", "enum": ["ok", "ready", "not ready"]},
                "components": {"type": "object", "additionalProperties": {
                    "type": "object",
                    "required": ["ready", "detail"],
                    "properties": {"ready": {"type": "boolean"}, "detail": text},
                }},
            },
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
