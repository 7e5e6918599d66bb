//! From the body and path of ZStack's clients to the flat parameters of a message.
//!
//! The parameters stand under one key, `params` or the message's name in lower camel case, with `systemTags` and `userTags`
//! beside it. The clients write down every field of their structs, so a field without a value counts as not given.

use super::routes::Target;
use crate::Problem;
use serde_json::{Map, Value};
use switchback_bus::{COMMON, Check, Message, Parameter, Refusal, creates, nearest};

/// What stands beside the parameters: a client may say it of itself, nobody asks for it.
const UNASKED: &str = "requestIp";
/// The Go SDK says it beside the parameters too, where the path says it already.
const TWICE: &str = "uuid";
const TAGS: [&str; 2] = ["systemTags", "userTags"];

/// Parameters that existing clients send and that say nothing here: message, parameter, and the value that means what the
/// system does anyway.
const EXTRAS: &[(&str, &str, &str)] = &[
    // The Go SDK demands it of its users.
    ("CreateVirtualRouterOffering", "type", "VirtualRouter"),
    ("CreateInstanceOffering", "type", "UserVm"),
    ("CreateVmInstance", "type", "UserVm"),
    ("CreateVmInstance", "strategy", "InstantStart"),
];

/// The message that a body means, and its parameters. What stands beside them stays in the body.
///
/// # Errors
/// SYS.1007 that names what would be right.
pub(crate) fn section<'a>(
    body: &mut Map<String, Value>,
    targets: &'a [Target],
) -> Result<(&'a Target, Map<String, Value>), Problem> {
    let beside = |key: &str| key == UNASKED || key == TWICE && body[key].is_string() || TAGS.contains(&key);
    let mut keys = body.keys().filter(|key| !beside(key));
    let key = keys.next().cloned();
    if let (Some(key), Some(other)) = (&key, keys.next()) {
        return Err(Refusal::argument(
            other,
            shown(&body[other]),
            format!("there is `{key}` already: one object holds all"),
        )
        .into());
    }
    let named = match &key {
        None if targets.len() == 1 => targets.first(),
        None => None,
        // Only what is done by an action of several needs the message's own name.
        Some(key) if key == "params" && targets.len() == 1 => targets.first(),
        Some(key) => targets.iter().find(|target| target.key() == *key),
    };
    let Some(target) = named else {
        let mut known: Vec<String> = targets.iter().map(Target::key).collect();
        if known.len() == 1 {
            known.push("params".to_string());
        }
        let right = format!("the parameters go into an object called {}", known.join(" or "));
        let Some(key) = key else { return Err(Refusal::missing("body", right).into()) };
        let mut refusal = Refusal::argument(&key, shown(&body[&key]), right);
        refusal.hint = nearest(&key, known.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
        return Err(refusal.into());
    };
    match key.and_then(|key| body.remove_entry(&key)) {
        None | Some((_, Value::Null)) => Ok((target, Map::new())),
        Some((_, Value::Object(parameters))) => Ok((target, parameters)),
        Some((key, other)) => Err(Refusal::argument(&key, shown(&other), "an object with the parameters").into()),
    }
}

/// A value where it should not be, which may be a password.
pub(crate) fn shown(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "{…}",
        Value::Array(_) => "[…]",
        _ => "…",
    }
}

/// Puts the path's parameters and the tags to the given ones, and leaves out what counts as not given.
///
/// # Errors
/// SYS.1007 for what is said twice, and differently.
pub(crate) fn complete<'a>(
    message: &Message,
    given: &mut Map<String, Value>,
    path: impl Iterator<Item = (&'static str, &'a str)>,
    body: &mut Map<String, Value>,
) -> Result<(), Problem> {
    for name in TAGS {
        match (body.remove(name), given.get_mut(name)) {
            (Some(Value::Array(more)), Some(Value::Array(tags))) => tags.extend(more),
            (Some(tags), _) => {
                given.insert(name.to_string(), tags);
            }
            (None, _) => {}
        }
    }
    if let Some(uuid) = body.remove(TWICE) {
        given.entry(TWICE).or_insert(uuid);
    }
    given.retain(|name, value| !counts_as_not_given(message, name, value));
    for (name, value) in given.iter_mut() {
        if let Some(Check::Objects(fields)) = message.parameter(name).map(|known| &known.check) {
            let objects = value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
            objects.for_each(|object| object.retain(|name, value| !unset_in_object(fields, name, value)));
        }
    }
    if let Some(tags) = given.get("tagUuids").filter(|_| creates(message)) {
        return Err(Refusal::not_supported(format!("tagUuids = `{tags}` of {}", message.name)).into());
    }
    for (name, text) in path {
        let value = message.parameter(name).map_or_else(|| Value::from(text), |known| known.check.read(text));
        match given.get(name) {
            Some(other) if *other != value => {
                return Err(Refusal::argument(name, other, format!("the path says `{text}`")).into());
            }
            _ => given.insert(name.to_string(), value),
        };
    }
    Ok(())
}

/// Whether it is what a field holds that nobody set.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(given) => !given,
    }
}

/// Whether an optional parameter counts as not given: an empty description is one, an empty type is none.
fn is_unset(known: &Parameter, name: &str, value: &Value) -> bool {
    is_empty(value)
        && !known.required
        && (matches!(known.check, Check::Any) || known.check.accept(name, value).is_err())
}

/// The same of a field of an object in a list.
fn unset_in_object(fields: &[Parameter], name: &str, value: &Value) -> bool {
    match fields.iter().find(|known| known.api_name() == name) {
        _ if value.is_null() => true,
        Some(known) => is_unset(known, name, value),
        None => is_empty(value),
    }
}

fn counts_as_not_given(message: &Message, name: &str, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    if name == UNASKED {
        return true;
    }
    match message.parameter(name) {
        Some(known) => is_unset(known, name, value),
        None if COMMON.iter().any(|common| common.api_name() == name) => is_empty(value),
        None => {
            is_empty(value)
                || EXTRAS.iter().any(|(of, extra, right)| *of == message.name && *extra == name && value == right)
        }
    }
}
