//! The rules by which an agent, of a router or of a host, admits a document.
//!
//! **Invariant:** neither the epoch nor the revision in force ever goes down, and no section is taken whose
//! bytes are not those that its digest names.

use crate::check::invalid;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use switchback_appliance::{
    AgentProblem, AgentProblemCode, HostConfig, HostSections, LoadBalancerConfig, MetadataConfig, Push, QosConfig,
    RouterConfig, SectionPush, Sections, changes::Listed, digest,
};
use switchback_events::{Id, Position};

/// A problem without a section.
pub fn problem(code: AgentProblemCode, detail: impl Into<String>) -> AgentProblem {
    AgentProblem { code, section: None, detail: detail.into() }
}

/// Whether the document may be looked at: it is for this agent, and neither its epoch nor its revision is old.
pub fn admit(push: &Push, own: Id, revision: Position, epoch: u64) -> Result<(), AgentProblem> {
    if push.id != own {
        let detail = format!("this is the agent of {own}, not of {}", push.id);
        return Err(problem(AgentProblemCode::WrongRouter, detail));
    }
    if push.epoch < epoch {
        let detail = format!("epoch {epoch} was seen, {} is old", push.epoch);
        return Err(problem(AgentProblemCode::StaleEpoch, detail));
    }
    if push.revision < revision {
        let detail = format!("revision {revision} is in force, {} is old", push.revision);
        return Err(problem(AgentProblemCode::StaleRevision, detail));
    }
    Ok(())
}

/// The digests of what is held.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// By section.
    pub digests: &'a BTreeMap<String, String>,
    /// What comes of changes is held to the digest that they name; who trusts them looks at the end.
    pub doubted: bool,
}

/// The sections of a router's document: those that came, and those held where none came. A section that travels only
/// where there is something in it is empty where it does not come. `digests` are those of what is held.
pub fn router_sections(mut push: Push, held: &Sections, digests: Known<'_>) -> Result<Sections, AgentProblem> {
    let digests = Some(digests);
    let sections = Sections {
        interfaces: take(&mut push, "interfaces", &held.interfaces, digests)?,
        dhcp: take_items(&mut push, "dhcp", &held.dhcp, digests)?,
        dns: take_items(&mut push, "dns", &held.dns, digests)?,
        snat: take(&mut push, "snat", &held.snat, digests)?,
        firewall: take(&mut push, "firewall", &held.firewall, digests)?,
        vips: or_empty(&mut push, "vips", |push, name| take_items(push, name, &held.vips, digests))?,
        eips: or_empty(&mut push, "eips", |push, name| take_items(push, name, &held.eips, digests))?,
        port_forwarding: or_empty(&mut push, "portForwarding", |push, name| {
            take_items(push, name, &held.port_forwarding, digests)
        })?,
        qos: or_empty(&mut push, QosConfig::SECTION, |push, name| take(push, name, &held.qos, digests))?,
        metadata: or_empty(&mut push, MetadataConfig::SECTION, |push, name| {
            take_items(push, name, &held.metadata, digests)
        })?,
        load_balancer: or_empty(&mut push, LoadBalancerConfig::SECTION, |push, name| {
            take(push, name, &held.load_balancer, digests)
        })?,
    };
    nothing_left(&push)?;
    Ok(sections)
}

/// The same for a host's document.
pub fn host_sections(mut push: Push, held: &HostSections) -> Result<HostSections, AgentProblem> {
    let sections = HostSections {
        bridges: take(&mut push, "bridges", &held.bridges, None)?,
        appliances: take(&mut push, "appliances", &held.appliances, None)?,
        vms: take(&mut push, "vms", &held.vms, None)?,
        security: take(&mut push, "security", &held.security, None)?,
        services: or_empty(&mut push, HostSections::SERVICES, |push, name| take(push, name, &held.services, None))?,
    };
    nothing_left(&push)?;
    Ok(sections)
}

/// One section. Where the digests of what is held are not known, they are made.
fn take<T: Serialize + DeserializeOwned + Clone>(
    push: &mut Push,
    name: &str,
    held: &T,
    digests: Option<Known<'_>>,
) -> Result<T, AgentProblem> {
    let Some(sent) = push.sections.remove(name) else { return Ok(held.clone()) };
    if sent.changes.is_some() {
        return Err(invalid(name, "it has no items that could change"));
    }
    let Some(body) = sent.body else {
        let same = match digests {
            Some(known) => known.digests.get(name) == Some(&sent.digest),
            None => digest(held) == sent.digest,
        };
        return if same { Ok(held.clone()) } else { Err(missing(name, "came without body")) };
    };
    let section: T = serde_json::from_value(body).map_err(|error| invalid(name, error.to_string()))?;
    if digest(&section) != sent.digest {
        return Err(invalid(name, "the digest is not that of the body"));
    }
    Ok(section)
}

/// The same of a section with items, which may come as changes to the one held. All that there is to it is in its digest.
fn take_items<T: Listed + Clone>(
    push: &mut Push,
    name: &str,
    held: &T,
    digests: Option<Known<'_>>,
) -> Result<T, AgentProblem> {
    let known = digests.and_then(|known| known.digests.get(name));
    if push.sections.get(name).is_some_and(|sent| known == Some(&sent.digest) && sent.changes.is_none()) {
        // What is held is what the digest names: a body has nothing to add.
        push.sections.remove(name);
        return Ok(held.clone());
    }
    let sent = push.sections.get_mut(name);
    let Some((changes, wanted)) = sent.and_then(|sent| Some((sent.changes.take()?, sent.digest.clone()))) else {
        return take(push, name, held, digests);
    };
    push.sections.remove(name);
    if known != Some(&changes.from) {
        return Err(missing(name, "came as changes to another one"));
    }
    let section = changes.apply(held).map_err(|detail| invalid(name, detail))?;
    if digests.is_none_or(|known| known.doubted) && digest(&section) != wanted {
        return Err(missing(name, "came as changes that lead elsewhere"));
    }
    Ok(section)
}

fn or_empty<T: Default>(
    push: &mut Push,
    name: &str,
    take: impl FnOnce(&mut Push, &str) -> Result<T, AgentProblem>,
) -> Result<T, AgentProblem> {
    if push.sections.contains_key(name) { take(push, name) } else { Ok(T::default()) }
}

fn missing(name: &str, how: &str) -> AgentProblem {
    let detail = format!("section {name} {how}, and the one held has another digest: it is wanted whole");
    AgentProblem { code: AgentProblemCode::MissingSection, section: Some(name.to_string()), detail }
}

fn nothing_left(push: &Push) -> Result<(), AgentProblem> {
    match push.sections.keys().next() {
        Some(name) => Err(invalid(name, "there is no such section")),
        None => Ok(()),
    }
}

/// The whole document of a router.
pub fn push_of_router(config: &RouterConfig, epoch: u64) -> Push {
    push(config.router.into(), config.revision, epoch, config.sections.parts())
}

/// The whole document of a host.
pub fn push_of_host(config: &HostConfig, epoch: u64) -> Push {
    push(config.host.into(), config.revision, epoch, config.sections.parts())
}

fn push(id: Id, revision: Position, epoch: u64, sections: BTreeMap<String, SectionPush>) -> Push {
    Push { id, revision, epoch, sections, passwords: BTreeMap::new() }
}
