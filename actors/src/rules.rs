//! Rules that several concepts share: character sets of what reaches agents, domains, blockers of a delete.

use crate::{facts::Facts, state::Aggregate};
use std::sync::Arc;
use switchback_bus::{Blocker, Refusal, RefusalKind, code};
use switchback_events::{Enabled, Id};

/// `enable` or `disable`, as the catalogue has checked.
pub fn state_event(word: &str) -> Enabled {
    if word == "enable" { Enabled::Enabled } else { Enabled::Disabled }
}

/// The name of an interface: it reaches `ip` and file names.
pub fn interface(field: &str, name: &str) -> Result<(), Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=15).contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good)
    {
        return Ok(());
    }
    Err(Refusal::argument(
        field,
        name,
        "an interface name: 1 to 15 letters, digits, `_`, `-` or `.`, the first a letter or digit",
    ))
}

/// Whether `text` is a DNS label: 1 to 63 letters, digits and inner hyphens (RFC 1123).
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name of a host: it reaches dnsmasq.
pub fn hostname(field: &str, name: &str) -> Result<(), Refusal> {
    if is_label(name) {
        return Ok(());
    }
    Err(Refusal::argument(field, name, "a host name: 1 to 63 letters, digits and inner hyphens"))
}

/// The name of a domain: it reaches dnsmasq.
pub fn domain(field: &str, name: &str) -> Result<(), Refusal> {
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(Refusal::argument(
        field,
        name,
        "a domain name such as cloud.example: labels of letters, digits and inner hyphens",
    ))
}

/// The existing aggregate that the parameter `field` names.
pub fn existing<A: Aggregate + Exists>(facts: &Facts, field: &str, id: impl Into<Id>) -> Result<Arc<A>, Refusal> {
    let id = id.into();
    let state = facts.get::<A>(id)?;
    if state.exists() { Ok(state) } else { Err(Refusal::not_found(field, A::WHAT, id)) }
}

/// Whether an aggregate is there.
pub trait Exists {
    /// In words, for users.
    const WHAT: &'static str;
    /// It was made and not deleted.
    fn exists(&self) -> bool;
    /// Its name.
    fn name(&self) -> &str;
}

/// Refuses a delete that something stands in the way of.
pub fn unblocked(what: &str, blockers: Vec<Blocker>) -> Result<(), Refusal> {
    if blockers.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        blockers.iter().take(5).map(|blocker| format!("{} {}", blocker.resource_type, blocker.name)).collect();
    let more = if blockers.len() > 5 { format!(" and {} more", blockers.len() - 5) } else { String::new() };
    let refusal = Refusal::new(
        RefusalKind::Conflict,
        code::OPERATION,
        format!("the {what} is in use by {}{more}", names.join(", ")),
    );
    Err(refusal.hint("delete or detach these first").blockers(blockers))
}

/// What of `ids` stands in the way.
pub fn blockers<A: Aggregate + Exists>(facts: &Facts, ids: Vec<Id>) -> Result<Vec<Blocker>, Refusal> {
    let mut blockers = Vec::new();
    for id in ids {
        let state = facts.peek::<A>(id)?;
        if state.exists() {
            let resource_type = A::KIND.stem().to_string();
            blockers.push(Blocker { resource_type, uuid: id, name: state.name().to_string() });
        }
    }
    Ok(blockers)
}

/// Implements [`Exists`] for states with a `name: String` that is empty before creation and `deleted: bool`.
macro_rules! exists {
    ($type:ty, $what:literal) => {
        impl $crate::rules::Exists for $type {
            const WHAT: &'static str = $what;
            fn exists(&self) -> bool {
                !self.name.is_empty() && !self.deleted
            }
            fn name(&self) -> &str {
                &self.name
            }
        }
    };
}
pub(crate) use exists;
