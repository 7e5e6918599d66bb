//! The rules by which an agent, of a router or of a host, admits a document.
//!
//! **Invariant:** neither the epoch nor the revision in force ever goes down, and no section is taken whose
//! bytes are not those that its digest names.

use crate::check::invalid;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use switchback_appliance::{
    AgentProblem, AgentProblemCode, HostConfig, HostSections, LoadBalancerConfig, MetadataConfig, Push, QosConfig,
    RouterConfig, SectionPush, Sections, digest,
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

/// The sections of a router's document: those that came, and those held where none came. A section that travels only
/// where there is something in it is empty where it does not come.
pub fn router_sections(mut push: Push, held: &Sections) -> Result<Sections, AgentProblem> {
    let sections = Sections {
        interfaces: take(&mut push, "interfaces", &held.interfaces)?,
        dhcp: take(&mut push, "dhcp", &held.dhcp)?,
        dns: take(&mut push, "dns", &held.dns)?,
        snat: take(&mut push, "snat", &held.snat)?,
        firewall: take(&mut push, "firewall", &held.firewall)?,
        vips: take_or_empty(&mut push, "vips", &held.vips)?,
        eips: take_or_empty(&mut push, "eips", &held.eips)?,
        port_forwarding: take_or_empty(&mut push, "portForwarding", &held.port_forwarding)?,
        qos: take_or_empty(&mut push, QosConfig::SECTION, &held.qos)?,
        metadata: take_or_empty(&mut push, MetadataConfig::SECTION, &held.metadata)?,
        load_balancer: take_or_empty(&mut push, LoadBalancerConfig::SECTION, &held.load_balancer)?,
    };
    nothing_left(&push)?;
    Ok(sections)
}

/// The same for a host's document.
pub fn host_sections(mut push: Push, held: &HostSections) -> Result<HostSections, AgentProblem> {
    let sections = HostSections {
        bridges: take(&mut push, "bridges", &held.bridges)?,
        appliances: take(&mut push, "appliances", &held.appliances)?,
        vms: take(&mut push, "vms", &held.vms)?,
        security: take(&mut push, "security", &held.security)?,
    };
    nothing_left(&push)?;
    Ok(sections)
}

fn take<T: Serialize + DeserializeOwned + Clone>(push: &mut Push, name: &str, held: &T) -> Result<T, AgentProblem> {
    let Some(sent) = push.sections.remove(name) else { return Ok(held.clone()) };
    let Some(body) = sent.body else {
        if digest(held) == sent.digest {
            return Ok(held.clone());
        }
        let detail = format!("section {name} came without body, and the one held has another digest");
        return Err(AgentProblem { code: AgentProblemCode::MissingSection, section: Some(name.to_string()), detail });
    };
    let section: T = serde_json::from_value(body).map_err(|error| invalid(name, error.to_string()))?;
    if digest(&section) != sent.digest {
        return Err(invalid(name, "the digest is not that of the body"));
    }
    Ok(section)
}

fn take_or_empty<T>(push: &mut Push, name: &str, held: &T) -> Result<T, AgentProblem>
where
    T: Serialize + DeserializeOwned + Clone + Default,
{
    if push.sections.contains_key(name) { take(push, name, held) } else { Ok(T::default()) }
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
    let sections = &config.sections;
    let parts = [
        ("bridges", part(&sections.bridges)),
        ("appliances", part(&sections.appliances)),
        ("vms", part(&sections.vms)),
        ("security", part(&sections.security)),
    ];
    let parts = parts.map(|(name, part)| (name.to_string(), part)).into();
    push(config.host.into(), config.revision, epoch, parts)
}

fn part<T: Serialize>(section: &T) -> SectionPush {
    SectionPush { digest: digest(section), body: serde_json::to_value(section).ok() }
}

fn push(id: Id, revision: Position, epoch: u64, sections: BTreeMap<String, SectionPush>) -> Push {
    Push { id, revision, epoch, sections }
}
