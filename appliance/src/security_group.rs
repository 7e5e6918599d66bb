//! What a host filters at the nics of its VMs: the rules of their security groups, with the groups that rules name as
//! sets of addresses, and whose packets a nic may send at all.
//!
//! **Invariant:** a change of who is in a group changes nothing of a document but one set of addresses; and
//! [`SecurityConfig::allows`] says of a packet what the kernel does with it.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};
use switchback_events::*;

/// What a host filters. Nics are named by their end at the host.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityConfig {
    /// The nics.
    pub nics: BTreeMap<String, NicFilter>,
    /// The groups that they are in.
    pub groups: BTreeMap<SecurityGroupId, GroupRules>,
    /// The addresses of the members of groups that their rules name.
    pub members: BTreeMap<SecurityGroupId, BTreeSet<IpAddr>>,
    /// What somebody else has changed of it stays as it is until this changes: the policy for drift is not to heal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_found: bool,
}

/// How one nic is filtered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NicFilter {
    /// The bridge that it is in.
    pub bridge: String,
    /// Its hardware address.
    pub mac: Mac,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// It sends nothing in another's name, and is no DHCP server and no router.
    pub clean: bool,
    /// Its groups, the first decides first; none: every packet may come and go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<SecurityGroupId>,
    /// What becomes of packets to it that no rule fits.
    pub ingress: NicPolicy,
    /// What becomes of packets from it that no rule fits.
    pub egress: NicPolicy,
}

/// The rules of a group that count, in their order.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupRules {
    /// For packets to its members.
    pub ingress: Vec<RuleConfig>,
    /// For packets from its members.
    pub egress: Vec<RuleConfig>,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleConfig {
    /// Which one.
    pub rule: SecurityGroupRuleId,
    /// 4 or 6.
    pub ip_version: u8,
    /// The protocol.
    pub protocol: RuleProtocol,
    /// The other end is a member of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_group: Option<SecurityGroupId>,
    /// The other end has one of these; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressSpan>,
    /// To one of these; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpan>,
    /// What then.
    pub action: RuleAction,
}

/// The first packet of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstPacket {
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// `TCP`, `UDP` or `ICMP`; `ALL` for every other one.
    pub protocol: RuleProtocol,
    /// The port that it is sent from, where its protocol has ports.
    pub from_port: u16,
    /// The port that it is sent to, where its protocol has ports.
    pub port: u16,
}

/// What decided about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided {
    /// The nic is not filtered, or is not one of this host.
    Open,
    /// It asks for an address, or is told one.
    Dhcp,
    /// A rule of a group.
    Rule(SecurityGroupId, SecurityGroupRuleId),
    /// No rule fits.
    Policy,
    /// It claims to be another's.
    Spoofed,
}

/// What becomes of a packet at a nic, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// It goes on.
    pub allowed: bool,
    /// Why.
    pub by: Decided,
}

/// Where DHCP servers and clients listen, by either family.
pub const DHCP_PORTS: [(u16, u16); 2] = [(67, 68), (547, 546)];

impl RuleConfig {
    fn fits(
        &self,
        packet: &FirstPacket,
        other_end: IpAddr,
        members: &BTreeMap<SecurityGroupId, BTreeSet<IpAddr>>,
    ) -> bool {
        let of_protocol = self.protocol == RuleProtocol::ALL || self.protocol == packet.protocol;
        let of_family = (self.ip_version == 4) == other_end.is_ipv4();
        let from = self.addresses.is_empty() || self.addresses.iter().any(|span| span.contains(other_end));
        let of_group = |group| members.get(&group).is_some_and(|set| set.contains(&other_end));
        let to = self.ports.is_empty() || self.ports.iter().any(|span| span.contains(packet.port));
        of_protocol && of_family && from && to && self.remote_group.is_none_or(of_group)
    }
}

/// The link-local address that a nic makes of its hardware address.
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

impl SecurityConfig {
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.nics.is_empty()
    }

    /// What becomes of the first packet of a connection at a nic. What follows it, and what answers it, goes on where it
    /// does.
    pub fn allows(&self, nic: &str, direction: Direction, packet: &FirstPacket) -> Verdict {
        let say = |allowed, by| Verdict { allowed, by };
        let Some(filter) = self.nics.get(nic) else { return say(true, Decided::Open) };
        let ports = (packet.from_port, packet.port);
        let udp = packet.protocol == RuleProtocol::UDP;
        let server = udp && DHCP_PORTS.iter().any(|(server, _)| *server == packet.from_port);
        if direction == Direction::Egress && filter.clean {
            let asks = udp && DHCP_PORTS.iter().any(|(server, client)| ports == (*client, *server));
            let unset = packet.source.is_unspecified() && (asks || packet.source.is_ipv6());
            if server || !unset && !filter.owns(packet.source) {
                return say(false, Decided::Spoofed);
            }
        }
        if filter.groups.is_empty() {
            return say(true, Decided::Open);
        }
        let dhcp = DHCP_PORTS.iter().any(|(server, client)| match direction {
            Direction::Egress => ports == (*client, *server),
            Direction::Ingress => ports == (*server, *client),
        });
        if udp && dhcp {
            return say(true, Decided::Dhcp);
        }
        let (other_end, policy) = match direction {
            Direction::Ingress => (packet.source, filter.ingress),
            Direction::Egress => (packet.destination, filter.egress),
        };
        for group in &filter.groups {
            let Some(rules) = self.groups.get(group) else { continue };
            let rules = if direction == Direction::Ingress { &rules.ingress } else { &rules.egress };
            if let Some(rule) = rules.iter().find(|rule| rule.fits(packet, other_end, &self.members)) {
                return say(rule.action == RuleAction::ACCEPT, Decided::Rule(*group, rule.rule));
            }
        }
        say(policy == NicPolicy::ALLOW, Decided::Policy)
    }
}

impl NicFilter {
    /// Whether packets of a nic that keeps to its own addresses may come from this one. One that was given none by us
    /// has whichever it likes.
    fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.contains(&ip) || ip == IpAddr::V6(link_local(self.mac))
    }
}

/// What the fold of hosts knows of security groups.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SecurityFold {
    groups: BTreeMap<SecurityGroupId, GroupRecord>,
    nics: BTreeMap<NicId, NicRecord>,
    members: BTreeMap<SecurityGroupId, BTreeSet<NicId>>,
    /// Groups with rules that name a group.
    naming: BTreeMap<SecurityGroupId, BTreeSet<SecurityGroupId>>,
    /// Whether nics keep to their own addresses where nothing else was said.
    open: bool,
    /// What was said of one VM.
    of_vm: BTreeMap<VmInstanceId, bool>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct GroupRecord {
    disabled: bool,
    rules: BTreeMap<SecurityGroupRuleId, SecurityGroupRule>,
}

#[derive(Clone, PartialEq, Debug)]
struct NicRecord {
    vm: VmInstanceId,
    groups: Vec<SecurityGroupId>,
    ingress: NicPolicy,
    egress: NicPolicy,
}

/// The entry of the configuration that says whether nics keep to their own addresses.
pub const CLEAN_TRAFFIC: (&str, &str) = ("vm", "cleanTraffic");

impl SecurityFold {
    /// Takes an event of a group. Answers the VMs whose hosts filter otherwise now.
    pub fn group_event(&mut self, id: SecurityGroupId, event: &SecurityGroupEvent) -> BTreeSet<VmInstanceId> {
        let touched = self.vms_in(std::iter::once(id));
        match event {
            SecurityGroupEvent::Created { rules, .. } => self.put(id, rules, &[]),
            SecurityGroupEvent::RulesChanged { rules, deleted, .. } => self.put(id, rules, deleted),
            SecurityGroupEvent::StateChanged { state } => {
                self.groups.entry(id).or_default().disabled = *state == Enabled::Disabled;
            }
            SecurityGroupEvent::Deleted {} => {
                self.groups.remove(&id);
                self.naming.values_mut().for_each(|groups| groups.retain(|other| *other != id));
            }
            _ => return BTreeSet::new(),
        }
        touched
    }

    fn put(&mut self, id: SecurityGroupId, rules: &[SecurityGroupRule], deleted: &[SecurityGroupRuleId]) {
        let group = self.groups.entry(id).or_default();
        group.rules.extend(rules.iter().map(|rule| (rule.rule, rule.clone())));
        group.rules.retain(|rule, _| !deleted.contains(rule));
        let named: BTreeSet<SecurityGroupId> = group.rules.values().filter_map(|rule| rule.remote_group).collect();
        self.naming.values_mut().for_each(|groups| groups.retain(|other| *other != id));
        for remote in named {
            self.naming.entry(remote).or_default().insert(id);
        }
    }

    /// The VMs with nics in any of these groups.
    fn vms_in(&self, groups: impl Iterator<Item = SecurityGroupId>) -> BTreeSet<VmInstanceId> {
        let nics = groups.filter_map(|group| self.members.get(&group)).flatten();
        nics.filter_map(|nic| self.nics.get(nic)).map(|nic| nic.vm).collect()
    }

    /// The VMs at whose nics it counts who is in these groups.
    fn heeding(&self, groups: &BTreeSet<SecurityGroupId>) -> BTreeSet<VmInstanceId> {
        let naming: BTreeSet<SecurityGroupId> =
            groups.iter().filter_map(|group| self.naming.get(group)).flatten().copied().collect();
        self.vms_in(naming.into_iter())
    }

    /// Takes what is said of a nic, and answers the same.
    pub fn secure(
        &mut self,
        vm: VmInstanceId,
        nic: NicId,
        groups: &[SecurityGroupId],
        (ingress, egress): (NicPolicy, NicPolicy),
    ) -> BTreeSet<VmInstanceId> {
        let before = self.nics.get(&nic).map(|held| held.groups.clone()).unwrap_or_default();
        for group in &before {
            self.members.entry(*group).or_default().remove(&nic);
        }
        for group in groups {
            self.members.entry(*group).or_default().insert(nic);
        }
        self.nics.insert(nic, NicRecord { vm, groups: groups.to_vec(), ingress, egress });
        let either: BTreeSet<SecurityGroupId> = before.into_iter().chain(groups.iter().copied()).collect();
        let mut touched = self.heeding(&either);
        touched.insert(vm);
        touched
    }

    /// The VMs that heed the addresses of these nics.
    pub fn heeded(&self, nics: impl Iterator<Item = NicId>) -> BTreeSet<VmInstanceId> {
        let groups = nics.filter_map(|nic| self.nics.get(&nic)).flat_map(|nic| nic.groups.iter().copied());
        self.heeding(&groups.collect())
    }

    /// A nic is no more.
    pub fn forget(&mut self, nic: NicId) {
        if let Some(held) = self.nics.remove(&nic) {
            for group in held.groups {
                self.members.entry(group).or_default().remove(&nic);
            }
        }
    }

    /// A VM is no more.
    pub fn forget_vm(&mut self, vm: VmInstanceId) {
        let nics: Vec<NicId> = self.nics.iter().filter(|(_, held)| held.vm == vm).map(|(nic, _)| *nic).collect();
        nics.into_iter().for_each(|nic| self.forget(nic));
    }

    /// Whether nics keep to their own addresses from now on.
    pub fn clean_all(&mut self, value: &str) {
        self.open = value != "true";
    }

    /// The same of one VM; nothing: as of all.
    pub fn clean_vm(&mut self, vm: VmInstanceId, value: Option<&str>) {
        match value {
            Some(value) => drop(self.of_vm.insert(vm, value == "true")),
            None => drop(self.of_vm.remove(&vm)),
        }
    }

    /// What the host does at these nics: each with its VM, the address of its hardware and those that it has, and the
    /// bridge that it is in. `addresses_of` gives the addresses of any nic.
    pub fn config<'a>(
        &self,
        nics: impl Iterator<Item = (VmInstanceId, &'a Nic, String)>,
        addresses_of: impl Fn(VmInstanceId, NicId) -> Vec<IpAddr>,
    ) -> SecurityConfig {
        let mut config = SecurityConfig::default();
        for (vm, nic, bridge) in nics {
            let record = self.nics.get(&nic.nic);
            let clean = self.of_vm.get(&vm).copied().unwrap_or(!self.open);
            let groups = record.map(|record| record.groups.clone()).unwrap_or_default();
            if !clean && groups.is_empty() {
                continue;
            }
            let filter = NicFilter {
                bridge,
                mac: nic.mac,
                addresses: nic.addresses.iter().map(|address| address.ip).collect(),
                clean,
                groups,
                ingress: record.map_or(NicPolicy::DENY, |record| record.ingress),
                egress: record.map_or(NicPolicy::ALLOW, |record| record.egress),
            };
            config.nics.insert(nic.internal_name.clone(), filter);
        }
        let groups: BTreeSet<SecurityGroupId> = config.nics.values().flat_map(|nic| nic.groups.clone()).collect();
        let mut remotes = BTreeSet::new();
        for group in groups {
            let rules = self.rules(group);
            let all = rules.ingress.iter().chain(&rules.egress);
            remotes.extend(all.filter_map(|rule| rule.remote_group));
            config.groups.insert(group, rules);
        }
        for remote in remotes {
            let nics = self.members.get(&remote).into_iter().flatten();
            let known = nics.filter_map(|nic| Some((self.nics.get(nic)?.vm, *nic)));
            config.members.insert(remote, known.flat_map(|(vm, nic)| addresses_of(vm, nic)).collect());
        }
        config
    }

    fn rules(&self, group: SecurityGroupId) -> GroupRules {
        let Some(record) = self.groups.get(&group).filter(|record| !record.disabled) else {
            return GroupRules::default();
        };
        let mut rules: Vec<&SecurityGroupRule> =
            record.rules.values().filter(|rule| rule.state == Enabled::Enabled).collect();
        rules.sort_by_key(|rule| (rule.priority, rule.rule));
        let of = |direction| {
            let rules = rules.iter().filter(move |rule| rule.direction == direction);
            let config = rules.map(|rule| RuleConfig {
                rule: rule.rule,
                ip_version: rule.ip_version,
                protocol: rule.protocol,
                remote_group: rule.remote_group,
                addresses: rule.addresses.clone(),
                ports: rule.ports.clone(),
                action: rule.action,
            });
            config.collect()
        };
        GroupRules { ingress: of(Direction::Ingress), egress: of(Direction::Egress) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<T: From<Id>>(name: &str) -> T {
        T::from(Id::of_name(name))
    }

    fn config() -> SecurityConfig {
        let rule = |name: &str, action| RuleConfig {
            rule: id(name),
            ip_version: 4,
            protocol: RuleProtocol::TCP,
            remote_group: None,
            addresses: vec!["10.0.0.0/24".parse().unwrap()],
            ports: vec!["80-90".parse().unwrap()],
            action,
        };
        let web = GroupRules {
            ingress: vec![
                RuleConfig { ports: vec!["85".parse().unwrap()], ..rule("not 85", RuleAction::DROP) },
                rule("80-90", RuleAction::ACCEPT),
                RuleConfig {
                    remote_group: Some(id("db")),
                    addresses: vec![],
                    ports: vec![],
                    protocol: RuleProtocol::ALL,
                    ..rule("db", RuleAction::ACCEPT)
                },
            ],
            egress: vec![],
        };
        let nic = NicFilter {
            bridge: "br0".to_string(),
            mac: "fa:00:00:00:00:01".parse().unwrap(),
            addresses: ["10.0.0.5".parse().unwrap()].into(),
            clean: true,
            groups: vec![id("web")],
            ingress: NicPolicy::DENY,
            egress: NicPolicy::ALLOW,
        };
        SecurityConfig {
            nics: [("a".to_string(), nic)].into(),
            groups: [(id("web"), web)].into(),
            members: [(id("db"), ["10.9.0.1".parse().unwrap()].into())].into(),
            as_found: false,
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_the_policy_where_none_does() {
        let config = config();
        let packet = |source: &str, protocol, from_port, port| FirstPacket {
            source: source.parse().unwrap(),
            destination: "10.0.0.5".parse().unwrap(),
            protocol,
            from_port,
            port,
        };
        let rule = |name| Decided::Rule(id("web"), id(name));
        use RuleProtocol::{ICMP, TCP, UDP};
        for (packet, allowed, by) in [
            (packet("10.0.0.9", TCP, 1, 80), true, rule("80-90")),
            (packet("10.0.0.9", TCP, 1, 85), false, rule("not 85")),
            (packet("10.0.0.9", UDP, 1, 80), false, Decided::Policy),
            (packet("10.0.1.9", TCP, 1, 80), false, Decided::Policy),
            (packet("10.9.0.1", ICMP, 0, 0), true, rule("db")),
            (packet("10.9.0.1", TCP, 1, 85), true, rule("db")),
            (packet("10.0.0.1", UDP, 67, 68), true, Decided::Dhcp),
            (packet("fd00::1", TCP, 1, 80), false, Decided::Policy),
        ] {
            assert_eq!(config.allows("a", Direction::Ingress, &packet), Verdict { allowed, by }, "{packet:?}");
        }
        assert_eq!(config.allows("b", Direction::Ingress, &packet("::1", TCP, 1, 1)).by, Decided::Open);
    }

    #[test]
    fn a_nic_speaks_for_itself_only() {
        let config = config();
        let from = |source: &str, protocol, from_port, port| {
            let destination = if source.contains(':') { "ff02::1" } else { "255.255.255.255" };
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            config.allows("a", Direction::Egress, &FirstPacket { source, destination, protocol, from_port, port }).by
        };
        use RuleProtocol::{ICMP, UDP};
        assert_eq!(from("10.0.0.5", ICMP, 0, 0), Decided::Policy);
        assert_eq!(from("10.0.0.6", ICMP, 0, 0), Decided::Spoofed);
        assert_eq!(from("0.0.0.0", UDP, 68, 67), Decided::Dhcp);
        assert_eq!(from("0.0.0.0", UDP, 1, 67), Decided::Spoofed);
        assert_eq!(from("10.0.0.5", UDP, 67, 68), Decided::Spoofed);
        assert_eq!(from("fe80::f800:ff:fe00:1", ICMP, 0, 0), Decided::Policy);
        assert_eq!(from("fe80::1", ICMP, 0, 0), Decided::Spoofed);
    }
}
