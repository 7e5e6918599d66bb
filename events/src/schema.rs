//! JSON Schemas (draft 7) of events as they are shown, made from the types themselves.
//!
//! **Invariant:** what [`Event::to_json`](crate::Event::to_json) gives is valid by the schema of its kind, and nothing may be
//! in it that the schema does not name. The form in the log (MessagePack) is pinned elsewhere, by its bytes.

use crate::{AddressSpan, Envelope, Id, Mac, PasswordHash, PortSpan, SealedSecret, StreamKind, event, upcast};
use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema, transform::RecursiveTransform,
};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Where the schemas of what events are made of are in the document that has these schemas.
const DEFINITIONS: &str = "/components/schemas";

/// What one kind of event looks like.
#[derive(Clone, PartialEq, Debug)]
pub struct EventSchema {
    /// The concept.
    pub stream: StreamKind,
    /// The name within the concept: `Created`.
    pub name: String,
    /// The schema version that is written today.
    pub version: u16,
    /// What happened, where its name does not say it all.
    pub doc: Option<String>,
    /// The schema of its own fields.
    pub payload: Value,
}

impl EventSchema {
    /// `zone.Created`.
    pub fn kind(&self) -> String {
        format!("{}.{}", self.stream.stem(), self.name)
    }
}

/// What events look like.
#[derive(Clone, PartialEq, Debug)]
pub struct EventSchemas {
    /// Every kind, those of a concept together and in the order of its enum.
    pub kinds: Vec<EventSchema>,
    /// What stands around the fields of each.
    pub envelope: Value,
    /// What `$ref` leads to from all of these, by its name below `#/components/schemas`.
    pub definitions: Map<String, Value>,
}

/// The schemas of all events at their newest version.
pub fn event_schemas() -> EventSchemas {
    let settings = SchemaSettings::draft07().for_serialize().with(|settings| {
        settings.definitions_path = DEFINITIONS.into();
        settings.meta_schema = None;
    });
    let settings = settings.with_transform(RecursiveTransform(plain as fn(&mut Schema)));
    let mut generator = settings.into_generator();
    let mut kinds = vec![];
    for (stream, concept) in event::schemas(&mut generator) {
        for variant in concept.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            kinds.extend(kind(stream, variant, &mut generator));
        }
    }
    let envelope = Envelope::json_schema(&mut generator);
    let mut envelope = done(envelope, &mut generator);
    // Its own fields are shown with it.
    envelope["description"] = "One event with all that is known of it, as audit and the event stream show it.".into();
    envelope["properties"]["payload"] = json!({"description": "The event's own fields."});
    if let Some(required) = envelope["required"].as_array_mut() {
        required.push("payload".into());
    }
    EventSchemas { kinds, envelope, definitions: generator.take_definitions(true) }
}

/// One variant of a concept's enum: an object from its name to its fields.
fn kind(stream: StreamKind, variant: &Value, generator: &mut SchemaGenerator) -> Option<EventSchema> {
    let (name, payload) = variant.get("properties")?.as_object()?.iter().next()?;
    let doc = variant.get("description").and_then(Value::as_str).map(str::to_string);
    let payload = done(Schema::try_from(payload.clone()).ok()?, generator);
    Some(EventSchema { stream, name: name.clone(), version: upcast::current(stream), doc, payload })
}

/// The schema in the form of draft 7 and ours.
fn done(mut schema: Schema, generator: &mut SchemaGenerator) -> Value {
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    schema.to_value()
}

/// What a type says of itself, in words that every validator knows: objects are closed, numbers have bounds for formats.
fn plain(schema: &mut Schema) {
    let Some(map) = schema.as_object_mut() else { return };
    if map.get("type").is_some_and(|kind| kind == "object") {
        map.entry("additionalProperties").or_insert(json!(false));
    }
    if let Some(text) = map.get_mut("description")
        && let Some(doc) = text.as_str()
    {
        // A drawing in it is for readers of the code.
        let words = doc.split("```").next().unwrap_or_default();
        *text = words.split_whitespace().collect::<Vec<_>>().join(" ").into();
    }
    let format = map.get("format").and_then(Value::as_str).map(str::to_string);
    match format.as_deref() {
        Some("ip") => {
            map.remove("format");
            map.insert("anyOf".to_string(), json!([{"format": "ipv4"}, {"format": "ipv6"}]));
        }
        Some("uint32") => {
            map.remove("format");
            map.insert("maximum".to_string(), u32::MAX.into());
        }
        Some("uint8" | "uint16" | "uint64" | "int64") => {
            map.remove("format");
        }
        _ => {}
    }
}

/// An IPv4 or IPv6 prefix. It stands for the types of `ipnet`, which know nothing of schemas.
pub(crate) struct Prefix;

macro_rules! texts {
    ($($type:ident = $schema:tt, $doc:literal;)*) => {$(impl JsonSchema for $type {
        fn schema_name() -> Cow<'static, str> {
            stringify!($type).into()
        }
        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            let mut schema = json_schema!($schema);
            schema.insert("type".to_string(), "string".into());
            schema.insert("description".to_string(), $doc.into());
            schema
        }
    })*};
}

texts! {
    Id = {"pattern": "^[0-9a-f]{32}$"}, "32 hexadecimal digits.";
    Mac = {"pattern": "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"}, "A hardware address.";
    Prefix = {"pattern": "^[0-9a-f:.]+/[0-9]{1,3}$"}, "An IPv4 or IPv6 prefix.";
    AddressSpan = {"pattern": "^[0-9a-f:.]+(-[0-9.]+|/[0-9]{1,3})?$"}, "One address, from one to another, or a prefix.";
    PortSpan = {"pattern": "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$"}, "One port, or from one to another.";
    PasswordHash = {"const": "(hash)"}, "Stands for the hash of a password.";
    SealedSecret = {"const": "(sealed)"}, "Stands for a secret.";
}
