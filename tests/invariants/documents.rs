//! The document of the message bus, as a validator: what was sent is held to it.

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::Value;
use std::{collections::HashMap, sync::LazyLock};
use switchback_bus::asyncapi;

/// The document, with its schemas by name.
struct Document {
    json: Value,
    schemas: Schemas,
    names: HashMap<String, SchemaIndex>,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let json = asyncapi::document();
    let names: Vec<String> = json["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    compiler.enable_format_assertions();
    compiler.add_resource("https://asyncapi.json", json.clone()).unwrap();
    let mut schemas = Schemas::new();
    let compile = |name: String| {
        let place = format!("https://asyncapi.json#/components/schemas/{name}");
        let index = compiler.compile(&place, &mut schemas).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        (name, index)
    };
    let names = names.into_iter().map(compile).collect();
    Document { json, schemas, names }
});

/// The document.
pub fn document() -> &'static Value {
    &DOCUMENT.json
}

/// Whether the value is valid by the schema of this name.
///
/// # Errors
/// What of the value is not.
pub fn valid(name: &str, value: &Value) -> Result<(), String> {
    let Some(index) = DOCUMENT.names.get(name) else { return Err(format!("the document has no schema {name}")) };
    DOCUMENT.schemas.validate(value, *index).map_err(|error| format!("{name}: {error:#}\n{value:#}"))
}

/// Whether an event as the API shows it is what the document says of its kind.
///
/// # Errors
/// What of it is not.
pub fn valid_event(event: &Value) -> Result<(), String> {
    valid(event["kind"].as_str().unwrap_or_default(), event)
}
