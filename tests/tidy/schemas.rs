//! What is made from the types of events and from the document of the bus: the page of events, and the document itself with
//! a line for each thing in it.

use super::{GENERATED, cell};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt::Write};
use switchback_bus::asyncapi;
use switchback_events::{EventSchema, event_schemas};

/// The page of events.
pub fn page() -> String {
    let generated = GENERATED.replace("the catalogue", "the types in events/src");
    let mut page = format!("# Events\n\n{generated}\n");
    page.push_str(
        "Every kind of event with its own fields, as `GET /v1/events` and the message bus show them in `payload`; on the bus each is \
         published on `switchback.evt.<concept>.<uuid>.<Kind>`. The same as JSON Schemas is in [asyncapi.json](asyncapi.json), \
         which a server answers at `/asyncapi.json`: `#/components/schemas/zone.Created` is that event with all that stands around \
         its fields. A field is always there, with `null` for nothing, unless it says that it may be absent. Later versions only add \
         kinds and fields.\n\n",
    );
    let events = event_schemas();
    let mut concepts: BTreeMap<&str, Vec<&EventSchema>> = BTreeMap::new();
    for kind in &events.kinds {
        concepts.entry(kind.stream.stem()).or_default().push(kind);
    }
    page.push_str("## Around every event\n\n");
    members(&mut page, &events.envelope);
    page.push_str("The API shows `time` beside `at`: the same as RFC 3339 text.\n\n");
    for (stem, kinds) in concepts {
        writeln!(page, "## {stem}\n\nVersion {}.\n", kinds[0].version).unwrap();
        for kind in kinds {
            writeln!(page, "### {}\n", kind.kind()).unwrap();
            if let Some(doc) = &kind.doc {
                writeln!(page, "{doc}\n").unwrap();
            }
            members(&mut page, &kind.payload);
        }
    }
    page.push_str("## Types\n\n");
    for (name, schema) in &events.definitions {
        definition(&mut page, name, schema);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The members of an object as a table.
fn members(page: &mut String, schema: &Value) {
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        page.push_str("No fields.\n\n");
        return;
    };
    let needed = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
    page.push_str("| field | value | meaning |\n|---|---|---|\n");
    for (name, member) in properties {
        let absent = if needed(name) { "" } else { "; may be absent" };
        writeln!(page, "| `{name}` | {}{absent} | {} |", value(member), cell(doc(member))).unwrap();
    }
    page.push('\n');
}

fn doc(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// What a value is, in words.
fn value(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(word) = schema["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
        return value(only);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let formats: Vec<&str> = choices.iter().filter_map(|choice| choice["format"].as_str()).collect();
        if !formats.is_empty() {
            return "an IP address".to_string();
        }
        return choices.iter().map(value).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(types) = schema["type"].as_array() {
        let one = |kind: &Value| {
            let mut schema = schema.clone();
            schema["type"] = kind.clone();
            value(&schema)
        };
        return types.iter().map(one).collect::<Vec<_>>().join(" or ");
    }
    match schema["type"].as_str() {
        Some("string") => match schema["format"].as_str() {
            Some("ipv4") => "an IPv4 address".to_string(),
            Some("ipv6") => "an IPv6 address".to_string(),
            _ => "text".to_string(),
        },
        Some("integer") => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("a whole number from {min}"),
            _ => "a whole number".to_string(),
        },
        Some("boolean") => "`true` or `false`".to_string(),
        Some("null") => "`null`".to_string(),
        Some("array") => format!("list of {}", value(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("from text to {}", value(&schema["additionalProperties"]))
        }
        _ => "any".to_string(),
    }
}

/// A type that events are made of.
fn definition(page: &mut String, name: &str, schema: &Value) {
    writeln!(page, "### {name}\n").unwrap();
    if !doc(schema).is_empty() {
        writeln!(page, "{}\n", doc(schema)).unwrap();
    }
    if schema["type"] == "object" {
        return members(page, schema);
    }
    let Some(choices) = schema["oneOf"].as_array() else {
        let pattern = schema["pattern"].as_str().map(|pattern| format!(" that matches `{}`", cell(pattern)));
        writeln!(page, "Value: {}{}.\n", value(schema), pattern.unwrap_or_default()).unwrap();
        return;
    };
    if choices.iter().all(|choice| choice["type"] == "string") {
        for choice in choices {
            let words = doc(choice);
            writeln!(page, "* {}{}{words}", value(choice), if words.is_empty() { "" } else { ": " }).unwrap();
        }
        page.push('\n');
        return;
    }
    page.push_str("One of these:\n\n");
    for choice in choices {
        writeln!(page, "{}\n", doc(choice)).unwrap();
        members(page, choice);
    }
}

/// The document of the bus. Below its sections each thing has a line of its own, so that a change is seen as one.
pub fn document() -> String {
    let mut text = String::new();
    lines(&mut text, &asyncapi::document(), 0, "");
    text.push('\n');
    text
}

/// Objects as lines, down to the fourth level where there is one.
fn lines(text: &mut String, value: &Value, depth: usize, path: &str) {
    let deepest = if path.starts_with("/components") { 3 } else { 2 };
    match value {
        Value::Object(map) if depth < deepest && !map.is_empty() => {
            text.push_str("{\n");
            members_as_lines(text, map, depth, path);
            write!(text, "{}}}", "  ".repeat(depth)).unwrap();
        }
        other => write!(text, "{other}").unwrap(),
    }
}

fn members_as_lines(text: &mut String, map: &Map<String, Value>, depth: usize, path: &str) {
    for (at, (name, member)) in map.iter().enumerate() {
        write!(text, "{}{}: ", "  ".repeat(depth + 1), Value::from(name.as_str())).unwrap();
        lines(text, member, depth + 1, &format!("{path}/{name}"));
        text.push_str(if at + 1 < map.len() { ",\n" } else { "\n" });
    }
}
