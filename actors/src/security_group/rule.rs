//! What a rule of a security group may say. The faults have codes of their own, which ValidateSecurityGroupRule answers.

use super::{CONFLICT, SecurityGroup};
use crate::{rules, *};
use std::fmt::Display;
use switchback_bus::*;
use switchback_events::*;

const MISSING: &str = "SG.1001";
const DUPLICATE: &str = "SG.1002";
const UNSUPPORTED: &str = "SG.1004";
const PORTS: &str = "SG.1005";
const ADDRESSES: &str = "SG.1006";
const GOOD: &str = "SG.2000";

/// The most addresses, ranges and prefixes of a rule.
const MAX_ADDRESSES: usize = 10;
/// The most ports of a rule; a range counts as two.
const MAX_PORTS: usize = 10;

/// Why a rule cannot be.
pub(crate) struct Fault {
    code: &'static str,
    field: &'static str,
    value: String,
    right: String,
}

impl Fault {
    pub fn new(code: &'static str, field: &'static str, value: impl Display, right: impl Into<String>) -> Fault {
        Fault { code, field, value: value.to_string(), right: right.into() }
    }

    /// As the refusal of the command whose parameter `within` holds the rule; empty: it is the command itself.
    pub fn refusal(self, within: &str) -> Refusal {
        let field = if within.is_empty() { self.field.to_string() } else { format!("{within}.{}", self.field) };
        Refusal::argument(&field, self.value, self.right)
    }
}

/// A rule as it is asked for, in whichever words.
#[derive(Clone)]
pub(crate) struct Wish {
    pub direction: Direction,
    pub state: Enabled,
    pub description: Option<String>,
    pub remote: Option<SecurityGroupId>,
    pub ip_version: Option<u8>,
    pub protocol: RuleProtocol,
    pub src: Option<String>,
    pub dst: Option<String>,
    pub ports: Option<String>,
    pub action: RuleAction,
    pub start_port: Option<i64>,
    pub end_port: Option<i64>,
    pub allowed_cidr: Option<String>,
}

pub(super) fn direction_of(word: &str) -> Direction {
    if word == "Ingress" { Direction::Ingress } else { Direction::Egress }
}

fn protocol_of(word: &str) -> RuleProtocol {
    match word {
        "TCP" => RuleProtocol::TCP,
        "UDP" => RuleProtocol::UDP,
        "ICMP" => RuleProtocol::ICMP,
        _ => RuleProtocol::ALL,
    }
}

fn action_of(word: Option<&str>) -> RuleAction {
    if word == Some("DROP") { RuleAction::DROP } else { RuleAction::ACCEPT }
}

fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// Items as they are written.
pub(crate) fn listed<T: Display>(items: &[T]) -> Option<String> {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    Some(texts.join(",")).filter(|text| !text.is_empty())
}

impl Wish {
    pub fn of(request: &RuleRequest) -> Wish {
        Wish {
            direction: direction_of(&request.r#type),
            state: if request.state.as_deref() == Some("Disabled") { Enabled::Disabled } else { Enabled::Enabled },
            description: given(&request.description),
            remote: request.remote_security_group_uuid,
            ip_version: request.ip_version,
            protocol: protocol_of(&request.protocol),
            src: given(&request.src_ip_range),
            dst: given(&request.dst_ip_range),
            ports: given(&request.dst_port_range),
            action: action_of(request.action.as_deref()),
            start_port: request.start_port,
            end_port: request.end_port,
            allowed_cidr: given(&request.allowed_cidr),
        }
    }

    /// A rule as a change makes it: what is not given stays as it is.
    pub fn change(old: &SecurityGroupRule, command: &ChangeSecurityGroupRule) -> Wish {
        let ingress = old.direction == Direction::Ingress;
        let protocol = command.protocol.as_deref().map_or(old.protocol, protocol_of);
        let with_ports = matches!(protocol, RuleProtocol::TCP | RuleProtocol::UDP);
        let said = |text: &Option<String>, held: Option<String>| match text {
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            None => held,
        };
        let other_end = command.src_ip_range.is_some() || command.dst_ip_range.is_some();
        let held = listed(&old.addresses).filter(|_| command.remote_security_group_uuid.is_none());
        Wish {
            direction: old.direction,
            state: match command.state.as_deref() {
                Some("Enabled") => Enabled::Enabled,
                Some(_) => Enabled::Disabled,
                None => old.state,
            },
            description: said(&command.description, old.description.clone()),
            remote: command.remote_security_group_uuid.or(old.remote_group.filter(|_| !other_end)),
            ip_version: Some(old.ip_version),
            protocol,
            src: said(&command.src_ip_range, held.clone().filter(|_| ingress)),
            dst: said(&command.dst_ip_range, held.filter(|_| !ingress)),
            ports: said(&command.dst_port_range, listed(&old.ports).filter(|_| with_ports)),
            action: command.action.as_deref().map_or(old.action, |word| action_of(Some(word))),
            start_port: None,
            end_port: None,
            allowed_cidr: None,
        }
    }

    /// The rule, or what is wrong with it.
    pub fn rule(&self, usual_version: u8, rule: SecurityGroupRuleId) -> Result<SecurityGroupRule, Fault> {
        let ip_version = self.ip_version.unwrap_or(usual_version);
        if ip_version == 5 {
            return Err(Fault::new(UNSUPPORTED, "ipVersion", 5, "4 or 6"));
        }
        let foreign = match self.direction {
            Direction::Ingress => self.dst.as_ref().map(|text| ("dstIpRange", text, "srcIpRange")),
            Direction::Egress => self.src.as_ref().map(|text| ("srcIpRange", text, "dstIpRange")),
        };
        if let Some((field, text, right)) = foreign {
            let right = format!("nothing: rules of type {:?} have {right}", self.direction);
            return Err(Fault::new(UNSUPPORTED, field, text, right));
        }
        let (field, range) = match self.direction {
            Direction::Ingress => ("srcIpRange", &self.src),
            Direction::Egress => ("dstIpRange", &self.dst),
        };
        if let (Some(cidr), Some(_)) = (&self.allowed_cidr, range) {
            return Err(Fault::new(CONFLICT, "allowedCidr", cidr, format!("nothing beside {field}")));
        }
        let (field, text) = match (&self.allowed_cidr, range) {
            (Some(cidr), _) => ("allowedCidr", Some(cidr)),
            (None, range) => (field, range.as_ref()),
        };
        if let (Some(text), Some(_)) = (text, self.remote) {
            return Err(Fault::new(CONFLICT, field, text, "nothing beside remoteSecurityGroupUuid"));
        }
        let addresses = match text {
            Some(text) => addresses(field, text, ip_version)?,
            None => vec![],
        };
        let ports = self.ports()?;
        let legacy = self.allowed_cidr.is_some() || self.start_port.is_some();
        Ok(SecurityGroupRule {
            rule,
            direction: self.direction,
            priority: 0,
            state: self.state,
            description: self.description.clone(),
            ip_version,
            protocol: self.protocol,
            remote_group: self.remote,
            addresses,
            ports,
            action: self.action,
            legacy,
        })
    }

    fn ports(&self) -> Result<Vec<PortSpan>, Fault> {
        let start = self.start_port.filter(|port| *port != -1);
        let end = self.end_port.filter(|port| *port != -1).or(start);
        let (field, text) = match (&self.ports, start) {
            (Some(text), Some(_)) => {
                return Err(Fault::new(CONFLICT, "dstPortRange", text, "nothing beside startPort and endPort"));
            }
            (Some(text), None) => ("dstPortRange", Some(text.clone())),
            (None, start) => match (start, end) {
                (None, None) => ("dstPortRange", None),
                (Some(start), Some(end)) if start == end => ("startPort", Some(start.to_string())),
                (Some(start), Some(end)) => ("startPort", Some(format!("{start}-{end}"))),
                (_, end) => {
                    let right = "nothing without startPort";
                    return Err(Fault::new(PORTS, "endPort", end.unwrap_or_default(), right));
                }
            },
        };
        let with_ports = matches!(self.protocol, RuleProtocol::TCP | RuleProtocol::UDP);
        let protocol = self.protocol;
        match text {
            Some(text) if !with_ports => {
                Err(Fault::new(PORTS, field, text, format!("nothing: packets of protocol {protocol:?} have no ports")))
            }
            None if with_ports => Err(Fault::new(
                PORTS,
                "dstPortRange",
                "",
                format!("ports, which a rule of protocol {protocol:?} needs"),
            )),
            Some(text) => ports(field, &text),
            None => Ok(vec![]),
        }
    }
}

fn addresses(field: &'static str, text: &str, ip_version: u8) -> Result<Vec<AddressSpan>, Fault> {
    let bad = |value: &str, right: String| Fault::new(ADDRESSES, field, value, right);
    let items: Vec<&str> = text.split(',').collect();
    if items.len() > MAX_ADDRESSES {
        return Err(bad(text, format!("at most {MAX_ADDRESSES} addresses, prefixes and ranges")));
    }
    let mut addresses = Vec::new();
    for item in items {
        let span: AddressSpan = item.parse().map_err(|why: NotASpan| bad(item, why.1.to_string()))?;
        if field == "allowedCidr" && !matches!(span, AddressSpan::Net(_)) {
            return Err(bad(item, "a prefix such as 10.0.0.0/24".to_string()));
        }
        if span.is_ipv4() != (ip_version == 4) {
            return Err(bad(item, format!("addresses of IPv{ip_version}, as the rule's ipVersion says")));
        }
        addresses.push(span);
    }
    Ok(addresses)
}

fn ports(field: &'static str, text: &str) -> Result<Vec<PortSpan>, Fault> {
    let bad = |value: &str, right: String| Fault::new(PORTS, field, value, right);
    let mut ports = Vec::new();
    for item in text.split(',') {
        let span: PortSpan = item.parse().map_err(|why: NotASpan| bad(item, why.1.to_string()))?;
        ports.push(span);
    }
    let number: usize = ports.iter().map(|span| if span.first == span.last { 1 } else { 2 }).sum();
    if number > MAX_PORTS {
        return Err(bad(text, format!("at most {MAX_PORTS} ports, of which a range is two")));
    }
    Ok(ports)
}

/// Refuses a rule that says what another one says.
pub(super) fn unlike<'a>(
    rule: &SecurityGroupRule,
    others: impl Iterator<Item = &'a SecurityGroupRule>,
) -> Result<(), Fault> {
    for other in others {
        if other.says_the_same(rule) {
            let right = format!("a rule that is not there yet: {} says the same", other.rule);
            let shown = format!("{:?} {:?} {:?}", rule.direction, rule.protocol, rule.action);
            return Err(Fault::new(DUPLICATE, "type", shown, right));
        }
    }
    Ok(())
}

/// Whether the rule could be added: the code, and why not.
///
/// # Errors
/// There is no such group.
pub fn validate(
    states: &States,
    request: &ValidateSecurityGroupRule,
) -> Result<(&'static str, Option<String>), Refusal> {
    let facts = states.facts();
    let group = rules::existing::<SecurityGroup>(&facts, "securityGroupUuid", request.security_group_uuid)?;
    let wish = Wish::of(&RuleRequest {
        r#type: request.r#type.clone(),
        protocol: request.protocol.clone(),
        remote_security_group_uuid: request.remote_security_group_uuid,
        ip_version: request.ip_version,
        src_ip_range: request.src_ip_range.clone(),
        dst_ip_range: request.dst_ip_range.clone(),
        dst_port_range: request.dst_port_range.clone(),
        action: request.action.clone(),
        start_port: request.start_port,
        end_port: request.end_port,
        allowed_cidr: request.allowed_cidr.clone(),
        ..RuleRequest::default()
    });
    if let Some(remote) = request.remote_security_group_uuid
        && !rules::Exists::exists(&*facts.get::<SecurityGroup>(remote)?)
    {
        return Ok((MISSING, Some(format!("remoteSecurityGroupUuid = `{remote}`: there is no such security group"))));
    }
    let nothing = SecurityGroupRuleId::default();
    let rule = wish.rule(group.ip_version, nothing);
    Ok(match rule.and_then(|rule| unlike(&rule, group.rules.values())) {
        Ok(()) => (GOOD, None),
        Err(fault) => (fault.code, Some(format!("{} = `{}`: must be {}", fault.field, fault.value, fault.right))),
    })
}
