//! The messages of the catalogue as the outside sees them.

use crate::{Problem, parameters::with_offset};
use serde_json::{Map, Value};
use switchback_bus::{Check, Message, MessageKind, Refusal, outside_of};

/// The message `name` if the outside may send it where `kinds` go. An internal message is as if it were not there.
pub(crate) fn find(name: &str, kinds: &[MessageKind]) -> Result<&'static Message, Problem> {
    Ok(outside_of(name, kinds, "POST /v1/commands/", "GET /v1/queries/")?)
}

/// The parameters of a read from those of a URL, coerced and checked by the catalogue.
pub(crate) fn coerce(message: &Message, pairs: Vec<(String, String)>) -> Result<Map<String, Value>, Problem> {
    let mut map = gather(message, pairs)?;
    message.accept(&mut map)?;
    Ok(map)
}

/// The parameters of a message from those of a URL, coerced and not checked.
pub(crate) fn gather(message: &Message, pairs: Vec<(String, String)>) -> Result<Map<String, Value>, Problem> {
    let mut map = Map::new();
    for (name, text) in pairs {
        let parameter = message.parameter(&name);
        if text.is_empty() && parameter.is_some() {
            continue;
        }
        let value = match parameter {
            Some(parameter) => parameter.check.read(&match name.as_str() {
                "at" | "from" | "to" | "since" | "until" => with_offset(&text),
                _ => text,
            }),
            None => Value::String(text),
        };
        match (map.get_mut(&name), value) {
            (None, value) => {
                map.insert(name, value);
            }
            (Some(Value::Array(list)), Value::Array(more)) if is_list(message, &name) => list.extend(more),
            (Some(_), value) => return Err(Refusal::argument(&name, value, "is given more than once").into()),
        }
    }
    Ok(map)
}

fn is_list(message: &Message, name: &str) -> bool {
    message.parameter(name).is_some_and(|parameter| matches!(parameter.check, Check::List(_)))
}
