//! Names where a uuid is wanted: `l2NetworkUuid=lan` is the L2 network that is named so, if there is exactly one.
//!
//! One query for each name and kind. A text that is a uuid is never a name. Not here: whether the resource may be used so; that is
//! the server's to say.

use crate::{
    asking::Asked,
    client::{inventories, parameter},
    failure::{Exit, Failure},
    output::Output,
    table,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use switchback_bus::{Check, ConfigEntry, GLOBAL_CONFIGS, Message, Parameter, QUERIES};
use switchback_events::Id;
use switchback_projections::catalogue::{self, Kind, Link, Relation};

/// The most candidates that are shown where several match.
const SHOWN: usize = 10;

/// The query that answers inventories of `kind`.
pub fn query_of(kind: &str) -> Option<&'static str> {
    QUERIES.iter().find(|query| query.inventory == kind).map(|query| query.name)
}

/// The field by which people call resources of `kind`, if there is one.
pub fn name_of(kind: &str) -> Option<&'static str> {
    match kind {
        "nic" => Some("internalName"),
        "usedIp" => Some("ip"),
        "accessKey" => Some("AccessKeyID"),
        "tag" | "systemTag" | "userTag" | "resourceConfig" | "globalConfig" | "networkServiceL3NetworkRef" => None,
        _ => query_of(kind).map(|_| "name"),
    }
}

/// A kind in words: `virtualRouter` is a virtual router.
fn words(kind: &str) -> String {
    match kind {
        "l2" => "L2 network".to_string(),
        "l3" => "L3 network".to_string(),
        "vm" => "VM".to_string(),
        "vip" => "VIP".to_string(),
        "eip" => "EIP".to_string(),
        "ipRange" => "IP range".to_string(),
        "usedIp" => "address".to_string(),
        other => other
            .chars()
            .flat_map(|c| [c.is_uppercase().then_some(' '), Some(c.to_ascii_lowercase())])
            .flatten()
            .collect(),
    }
}

/// Kinds in words, as what a uuid is of.
pub fn words_of(kinds: &[&str]) -> String {
    let article = |word: &str| if word.starts_with(['a', 'e', 'i', 'o', 'E', 'I', 'L']) { "an" } else { "a" };
    let words = kinds.iter().map(|kind| words(kind)).map(|word| format!("{} {word}", article(&word)));
    words.collect::<Vec<_>>().join(" or ")
}

/// The kinds of what carries a tag or a value of the configuration, by the `resourceType` beside it.
pub fn kinds_of_type(resource_type: &str) -> &'static [&'static str] {
    match resource_type {
        "ZoneVO" => &["zone"],
        "ClusterVO" => &["cluster"],
        "HostVO" => &["host"],
        "ImageVO" => &["image"],
        "L2NetworkVO" => &["l2"],
        "L3NetworkVO" => &["l3"],
        "IpRangeVO" => &["ipRange"],
        "InstanceOfferingVO" | "VirtualRouterOfferingVO" => &["instanceOffering"],
        "SecurityGroupVO" => &["securityGroup"],
        "VmInstanceVO" => &["vm", "virtualRouter"],
        "ApplianceVmVO" | "VirtualRouterVmVO" => &["virtualRouter"],
        _ => &[],
    }
}

/// Of which kinds a parameter of a line may be, given what else the line says.
pub fn kinds<'g>(
    message: &Message,
    known: &Parameter,
    given: &dyn Fn(&str) -> Option<&'g str>,
) -> BTreeSet<&'static str> {
    if known.field != "resource_uuid" {
        return message.kinds_of(known).iter().copied().collect();
    }
    if let Some(resource_type) = given("resourceType") {
        return kinds_of_type(resource_type).iter().copied().collect();
    }
    let is = |entry: &&ConfigEntry| {
        given("category") == Some(entry.category) && given("name").is_none_or(|name| name == entry.name)
    };
    let entries = GLOBAL_CONFIGS.iter().filter(|_| message.parameter("category").is_some()).filter(is);
    entries.flat_map(|entry| entry.bindable).flat_map(|of| kinds_of_type(of)).copied().collect()
}

/// Of which kinds the field at the end of a path is a uuid.
pub fn kinds_of_path(mut of: &'static Kind, path: &str) -> Vec<&'static str> {
    let (relations, name) = path.rsplit_once('.').unwrap_or(("", path));
    for relation in relations.split('.').filter(|name| !name.is_empty()) {
        match of.relation(relation) {
            Some(relation) => of = relation.target(),
            None => return vec![],
        }
    }
    if name == "uuid" {
        return vec![of.name];
    }
    let holds = |relation: &&Relation| matches!(relation.link, Link::One(field) | Link::Each(field) if field == name);
    let kinds: BTreeSet<&str> = of.relations.iter().filter(holds).map(|relation| relation.to).collect();
    kinds.into_iter().collect()
}

/// Puts uuids where the conditions of a query compare a uuid with a name, and says on stderr which.
pub fn resolve_conditions(
    message: &Message,
    parameters: &mut [(String, String)],
    asked: &dyn Asked,
    at: Option<&str>,
    output: &mut Output,
) -> Result<(), Failure> {
    let Some(of) = catalogue::kind(message.inventory) else { return Ok(()) };
    for (_, condition) in parameters.iter_mut().filter(|(name, _)| name == "q") {
        let Some(end) = condition.find(['=', '<', '>', '!', '?', '~']) else { continue };
        let (path, rest) = condition.split_at(end);
        let value = rest.trim_start_matches(['=', '<', '>', '!', '?', '~']);
        let operator = &rest[..rest.len() - value.len()];
        let kinds = kinds_of_path(of, path);
        let given: Vec<&str> = match operator {
            "=" | "!=" if value != "null" => vec![value],
            "?=" | "!?=" => value.split(',').collect(),
            _ => continue,
        };
        if kinds.is_empty() || !given.iter().any(|given| is_name(given)) {
            continue;
        }
        *condition = format!("{path}{operator}{}", all_said(asked, path, &kinds, &given, at, output)?);
    }
    Ok(())
}

/// Puts uuids where the parameters of a message have names, and says on stderr which.
pub fn resolve_all(
    message: &Message,
    parameters: &[&'static Parameter],
    values: &mut Map<String, Value>,
    asked: &dyn Asked,
    at: Option<&str>,
    output: &mut Output,
) -> Result<(), Failure> {
    let given = values.clone();
    for known in parameters {
        let name = known.api_name();
        let kinds = kinds(message, known, &|name| given.get(name).and_then(Value::as_str));
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let (Some(value), false) = (values.get_mut(&name), kinds.is_empty()) else { continue };
        let texts: Vec<&mut Value> = match (known.check, value) {
            (Check::Uuid, value) => vec![value],
            (Check::List(Check::Uuid), Value::Array(items)) => items.iter_mut().collect(),
            _ => continue,
        };
        for text in texts {
            let Some(given) = text.as_str().filter(|given| is_name(given)) else { continue };
            *text = Value::String(said(asked, &name, &kinds, given, at, output)?);
        }
    }
    Ok(())
}

/// The same for the parameters of a read, which are text.
pub fn resolve_texts(
    message: &Message,
    parameters: &mut [(String, String)],
    asked: &dyn Asked,
    at: Option<&str>,
    output: &mut Output,
) -> Result<(), Failure> {
    let all = parameters.to_vec();
    let given = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    for (name, text) in parameters {
        let Some(known) = message.parameter(name) else { continue };
        let kinds: Vec<&str> = kinds(message, known, &given).into_iter().collect();
        let list = matches!(known.check, Check::List(Check::Uuid)) && !text.starts_with('[');
        if kinds.is_empty() || !(list || matches!(known.check, Check::Uuid)) {
            continue;
        }
        let given: Vec<&str> = if list { text.split(',').collect() } else { vec![text] };
        *text = all_said(asked, name, &kinds, &given, at, output)?;
    }
    Ok(())
}

/// The same list with uuids in the place of names, each said on stderr.
fn all_said(
    asked: &dyn Asked,
    field: &str,
    kinds: &[&str],
    given: &[&str],
    at: Option<&str>,
    output: &mut Output,
) -> Result<String, Failure> {
    let mut uuids = vec![];
    for given in given {
        uuids.push(if is_name(given) { said(asked, field, kinds, given, at, output)? } else { given.to_string() });
    }
    Ok(uuids.join(","))
}

/// The uuid of what is called `given`, said on stderr.
fn said(
    asked: &dyn Asked,
    field: &str,
    kinds: &[&str],
    given: &str,
    at: Option<&str>,
    output: &mut Output,
) -> Result<String, Failure> {
    let uuid = resolve(asked, field, kinds, given, at)?;
    output.note(&format!("{field}: `{given}` is {uuid}"));
    Ok(uuid)
}

/// Whether a text can be a name and is no uuid.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.to_ascii_lowercase().parse::<Id>().is_err()
}

/// The uuid of the one resource of these kinds that is called `given`, as it was called at `at`.
pub fn resolve(
    asked: &dyn Asked,
    field: &str,
    kinds: &[&str],
    given: &str,
    at: Option<&str>,
) -> Result<String, Failure> {
    let mut found: Vec<(String, String, String)> = vec![];
    for kind in kinds {
        let (Some(query), Some(name)) = (query_of(kind), name_of(kind)) else { continue };
        found.extend(
            called(asked, query, &format!("{name}={given}"), name, at)?
                .into_iter()
                .map(|(uuid, name)| (words(kind), uuid, name)),
        );
    }
    one(field, kinds, given, found)
}

/// The same for a virtual router; the beginning of its uuid will do too.
pub fn resolve_router(asked: &dyn Asked, given: &str, at: Option<&str>) -> Result<String, Failure> {
    const KIND: &str = "virtualRouter";
    if !is_name(given) {
        return Ok(given.to_string());
    }
    let is_prefix = given.len() < 32 && given.bytes().all(|c| c.is_ascii_hexdigit());
    let resolved = resolve(asked, "router", &[KIND], given, at);
    match (resolved, query_of(KIND)) {
        (Err(failure), Some(query)) if failure.exit == Exit::NotFound && is_prefix => {
            let condition = format!("uuid~={}%", given.to_ascii_lowercase());
            let found = called(asked, query, &condition, "name", at)?;
            one("router", &[KIND], given, found.into_iter().map(|(uuid, name)| (words(KIND), uuid, name)).collect())
        }
        (resolved, _) => resolved,
    }
}

/// Uuids and names of what meets a condition.
fn called(
    asked: &dyn Asked,
    query: &str,
    condition: &str,
    name: &str,
    at: Option<&str>,
) -> Result<Vec<(String, String)>, Failure> {
    let mut parameters =
        vec![parameter("q", condition), parameter("fields", format!("uuid,{name}")), parameter("limit", SHOWN + 1)];
    parameters.extend(at.map(|at| parameter("at", at)));
    let reply = asked.read(query, &parameters)?;
    let text = |row: &Value, member: &str| row[member].as_str().unwrap_or_default().to_string();
    Ok(inventories(&reply).iter().map(|row| (text(row, "uuid"), text(row, name))).collect())
}

fn one(field: &str, kinds: &[&str], given: &str, mut found: Vec<(String, String, String)>) -> Result<String, Failure> {
    // The server looks at names without regard to case.
    if found.iter().filter(|(_, _, name)| name == given).count() == 1 {
        found.retain(|(_, _, name)| name == given);
    }
    // An offering for routers is asked for among all offerings.
    found.dedup_by(|a, b| a.1 == b.1);
    match &found[..] {
        [(_, uuid, _)] => Ok(uuid.clone()),
        [] => {
            let shown = table::clean(given);
            let mut failure = Failure::new(
                Exit::NotFound,
                format!("{field} = `{shown}`: that is not the name of {}", words_of(kinds)),
            );
            if let Some(query) = kinds.first().and_then(|kind| query_of(kind)) {
                failure = failure.hint(format!("switchback {query} lists what there is"));
            }
            Err(failure)
        }
        many => {
            let shown = table::clean(given);
            let mut failure =
                Failure::new(Exit::Refused, format!("{field} = `{shown}` can mean several; give the uuid"));
            failure.fields = vec![field.to_string()];
            if many.len() > SHOWN {
                failure.hint = Some(format!("these are the first {SHOWN}"));
            }
            let rows = many.iter().take(SHOWN).map(|(kind, uuid, name)| [kind.clone(), uuid.clone(), name.clone()]);
            Err(failure.listing("candidates", rows.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_bus::messages;

    /// Parameters that may be of any kind, or of one that nobody calls by a name.
    const OF_ANY_KIND: &[&str] = &[
        "resource_uuid",
        "resource_uuids",
        "resource",
        "correlation",
        "verified",
        "used_ip_uuid",
        "used_ip_uuids",
        "session",
    ];

    #[test]
    fn every_uuid_of_a_message_says_what_it_is_of() {
        for message in messages().filter(|message| !message.internal) {
            for known in message.parameters {
                let kinds = message.kinds_of(known);
                assert!(kinds.iter().all(|kind| query_of(kind).is_some()), "{}.{}", message.name, known.field);
                let is_uuid = matches!(known.check, Check::Uuid | Check::List(Check::Uuid));
                assert!(is_uuid || kinds.is_empty(), "{}.{}", message.name, known.field);
                let any = OF_ANY_KIND.contains(&known.field)
                    || [
                        "DeleteReservedIpRange",
                        "ReplayResource",
                        "RemoveAccessControlListEntry",
                        "ChangeAccessControlListRedirectRule",
                    ]
                    .contains(&message.name);
                assert!(
                    !is_uuid || any || !kinds.is_empty(),
                    "{}.{}: add its type to uuids!",
                    message.name,
                    known.field
                );
            }
        }
    }
}
