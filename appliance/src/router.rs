//! The fold of a router: the events that touch it and its L3 networks, in the order of the log, become its
//! [`RouterConfig`]. The same fold serves the push, the reconnect, `at=` and the audit.
//!
//! **Invariant:** live = replay. [`RouterFold::apply`] sees one event after the other and nothing else, so a fold
//! that followed the log and one that replayed it are equal.

use crate::{
    config::*,
    firewall, interfaces, load_balancer, metadata,
    network_service_provider::{Balance, Dhcp, Dns, Eips, PortForwardings, Snat, VirtualRouter},
    vip::{self, Served},
    vip_qos,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use switchback_events::*;

/// What the fold knows of a router.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RouterFold {
    /// Which router; nothing before its creation.
    pub router: Option<RouterId>,
    /// Whose services count; none for the virtual router's.
    pub provider: Option<NetworkServiceProviderId>,
    /// Its nics, in the order of device ids; none once it is destroyed.
    pub nics: Vec<Nic>,
    /// The network of its default route.
    pub default_route_network: Option<L3NetworkId>,
    /// The L3 networks that were seen, the router's own or not.
    pub networks: BTreeMap<L3NetworkId, Network>,
    /// The VMs that have a nic on any of those, running or not.
    pub clients: BTreeMap<VmInstanceId, Client>,
    /// The EIPs that lead to nics on any of those.
    pub eips: BTreeMap<EipId, Served>,
    /// The port forwarding rules that do, with their ports.
    pub rules: BTreeMap<PortForwardingRuleId, (Served, ForwardedPorts)>,
    /// How fast the traffic of VIPs of those networks may be, in all and by port, whoever serves them.
    pub limits: BTreeMap<VipId, BTreeMap<Option<u16>, QosLimits>>,
    /// Whether what comes in carries the router's own address.
    pub snat_inbound: SnatInbound,
    /// The load balancers on VIPs of those networks.
    pub balancers: BTreeMap<LoadBalancerId, load_balancer::Balancer>,
    /// The position of the last event that bore on the configuration.
    pub revision: Position,
}

/// Whether what comes in by services of VIPs carries the router's own address, by service.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct SnatInbound {
    pub eip: bool,
    pub port_forwarding: bool,
}

/// The name of the entries of the configuration that say so; the categories are the services.
pub const SNAT_INBOUND_TRAFFIC: &str = "snatInboundTraffic";

/// What the fold knows of an L3 network.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Network {
    /// Its domain.
    pub domain: Option<String>,
    /// Its name servers, in order.
    pub dns: Vec<IpAddr>,
    /// Where clients are told the way to, in order.
    pub routes: Vec<HostRoute>,
    /// Bytes, where it was set.
    pub mtu: Option<u16>,
    /// The services that a virtual router gives it.
    pub services: BTreeSet<NetworkServiceType>,
    /// How its hosts come to their IPv6 addresses, if it has any.
    pub address_mode: Option<AddressMode>,
}

/// What the fold knows of a VM.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Client {
    /// Its name in DNS and DHCP.
    pub hostname: String,
    /// Its nics.
    pub nics: Vec<Nic>,
    /// What its programs are told, in base64.
    pub userdata: Option<String>,
    /// Which password waits for them.
    pub password: Option<String>,
    /// It runs, or is about to.
    pub served: bool,
}

impl RouterFold {
    /// Takes the next event of the log. Events that do not bear on a router's configuration change nothing.
    pub fn apply(&mut self, recorded: &Recorded) {
        let id = recorded.stream.id;
        let bears = match &recorded.event {
            Event::Router(event) => self.router_event(RouterId(id), event),
            Event::L3Network(event) => self.network_event(L3NetworkId(id), event),
            Event::VmInstance(event) => self.client_event(VmInstanceId(id), event),
            Event::Eip(event) => self.eip_event(EipId(id), event),
            Event::PortForwarding(event) => self.rule_event(PortForwardingRuleId(id), event),
            Event::Vip(event) => self.vip_event(VipId(id), event),
            Event::GlobalConfig(GlobalConfigEvent::Changed { category, name, value })
                if name == SNAT_INBOUND_TRAFFIC =>
            {
                let said = match category.as_str() {
                    "eip" => &mut self.snat_inbound.eip,
                    _ => &mut self.snat_inbound.port_forwarding,
                };
                *said = value == "true";
                true
            }
            Event::LoadBalancer(event) => load_balancer::apply(self, LoadBalancerId(id), event),
            Event::IpRange(IpRangeEvent::Ipv6Created { l3_network, address_mode, .. }) => {
                self.networks.entry(*l3_network).or_default().address_mode = Some(*address_mode);
                true
            }
            _ => false,
        };
        if bears {
            self.revision = recorded.position;
        }
    }

    /// Whether events of `kind` with this name can change the fold. The others need not be read.
    pub fn may_bear(kind: StreamKind, name: &str) -> bool {
        match kind {
            StreamKind::Router => {
                matches!(name, "Created" | "NicAttached" | "NicChanged" | "NicDetached" | "Destroyed")
            }
            StreamKind::L3Network => true,
            StreamKind::IpRange => name == "Ipv6Created",
            StreamKind::Eip | StreamKind::PortForwarding => !matches!(name, "Created" | "Updated"),
            StreamKind::Vip => matches!(name, "QosSet" | "QosDeleted"),
            StreamKind::GlobalConfig => true,
            StreamKind::LoadBalancer => {
                !matches!(name, "Updated" | "ListenerUpdated" | "GroupCreated" | "GroupUpdated" | "GroupDeleted")
            }
            StreamKind::VmInstance => !matches!(
                name,
                "StopRequested"
                    | "DestroyRequested"
                    | "Started"
                    | "Updated"
                    | "Paused"
                    | "Resumed"
                    | "NicStateChanged"
                    | "Expunged"
            ),
            _ => false,
        }
    }

    fn router_event(&mut self, router: RouterId, event: &RouterEvent) -> bool {
        match event {
            RouterEvent::Created { nics, default_route_network, .. } => {
                self.router = Some(router);
                self.nics = nics.clone();
                self.default_route_network = Some(*default_route_network);
                true
            }
            RouterEvent::NicChanged { nic } => {
                self.nics.iter_mut().filter(|own| own.nic == nic.nic).for_each(|own| *own = nic.clone());
                true
            }
            RouterEvent::Destroyed { .. } => {
                self.nics.clear();
                true
            }
            RouterEvent::NicAttached { nic } => {
                self.nics.push(nic.clone());
                self.nics.sort_by_key(|nic| nic.device_id);
                true
            }
            RouterEvent::NicDetached { nic, .. } => {
                self.nics.retain(|own| own.nic != *nic);
                true
            }
            _ => false,
        }
    }

    fn network_event(&mut self, l3: L3NetworkId, event: &L3NetworkEvent) -> bool {
        let ours = self.provider.unwrap_or_else(ours);
        let network = self.networks.entry(l3).or_default();
        match event {
            L3NetworkEvent::Created { dns_domain, .. } => network.domain = dns_domain.clone(),
            L3NetworkEvent::Updated { dns_domain: Some(domain), .. } => network.domain = Some(domain.clone()),
            L3NetworkEvent::DnsAdded { dns } => network.dns.push(*dns),
            L3NetworkEvent::DnsRemoved { dns } => network.dns.retain(|server| server != dns),
            L3NetworkEvent::HostRouteAdded { prefix, nexthop } => {
                network.routes.push(HostRoute { prefix: *prefix, nexthop: *nexthop });
            }
            L3NetworkEvent::HostRouteRemoved { prefix } => network.routes.retain(|route| route.prefix != *prefix),
            L3NetworkEvent::MtuChanged { mtu } => network.mtu = Some(*mtu),
            L3NetworkEvent::ServicesAttached { provider, services } if *provider == ours => {
                network.services.extend(services);
            }
            L3NetworkEvent::ServicesDetached { provider, services } if *provider == ours => {
                network.services.retain(|service| !services.contains(service));
            }
            _ => return false,
        }
        true
    }

    fn client_event(&mut self, vm: VmInstanceId, event: &VmInstanceEvent) -> bool {
        match event {
            VmInstanceEvent::Created { hostname, nics, .. } => {
                let (hostname, nics) = (hostname.clone(), nics.clone());
                self.clients.insert(vm, Client { hostname, nics, served: true, ..Client::default() });
                true
            }
            VmInstanceEvent::StartRequested { .. } | VmInstanceEvent::RebootRequested { .. } => self.serve(vm, true),
            VmInstanceEvent::Stopped { .. } => self.serve(vm, false),
            VmInstanceEvent::OperationFailed { operation: VmOperation::Start, .. } => self.serve(vm, false),
            VmInstanceEvent::Destroyed { .. } => self.clients.remove(&vm).is_some(),
            VmInstanceEvent::Recovered { hostname, nics, .. } => {
                let (hostname, nics) = (hostname.clone(), nics.clone());
                self.clients.insert(vm, Client { hostname, nics, ..Client::default() });
                true
            }
            VmInstanceEvent::NicAttached { nic, hostname, running, .. }
            | VmInstanceEvent::NicChanged { nic, hostname, running, .. } => {
                let client = self.clients.entry(vm).or_default();
                (client.hostname, client.served) = (hostname.clone(), *running);
                client.nics.retain(|own| own.nic != nic.nic);
                client.nics.push(nic.clone());
                client.nics.sort_by_key(|own| own.device_id);
                true
            }
            VmInstanceEvent::HostnameChanged { hostname, .. } => match self.clients.get_mut(&vm) {
                Some(client) => {
                    client.hostname = hostname.clone();
                    true
                }
                None => false,
            },
            VmInstanceEvent::UserdataChanged { userdata, .. } => match self.clients.get_mut(&vm) {
                Some(client) => {
                    client.userdata = userdata.clone();
                    true
                }
                None => false,
            },
            VmInstanceEvent::PasswordChanged { password, .. } => match self.clients.get_mut(&vm) {
                Some(client) => {
                    client.password = password.as_ref().map(metadata::password_digest);
                    true
                }
                None => false,
            },
            VmInstanceEvent::NicDetached { nic, .. } => match self.clients.get_mut(&vm) {
                Some(client) => {
                    client.nics.retain(|own| own.nic != *nic);
                    true
                }
                None => false,
            },
            VmInstanceEvent::NicAddressesChanged { nic, addresses, .. } => {
                self.clients.get_mut(&vm).is_some_and(|client| readdress(&mut client.nics, *nic, addresses))
            }
            _ => false,
        }
    }

    fn eip_event(&mut self, id: EipId, event: &EipEvent) -> bool {
        match event {
            EipEvent::Attached { at, to } => {
                self.eips.insert(id, Served { at: *at, to: *to, disabled: false });
                true
            }
            EipEvent::StateChanged { state, .. } => match self.eips.get_mut(&id) {
                Some(eip) => {
                    eip.disabled = *state == Enabled::Disabled;
                    true
                }
                None => false,
            },
            EipEvent::Detached { .. } | EipEvent::Deleted { .. } => self.eips.remove(&id).is_some(),
            EipEvent::Created { .. } | EipEvent::Updated { .. } => false,
        }
    }

    fn rule_event(&mut self, id: PortForwardingRuleId, event: &PortForwardingEvent) -> bool {
        match event {
            PortForwardingEvent::Attached { at, to, ports } => {
                self.rules.insert(id, (Served { at: *at, to: *to, disabled: false }, *ports));
                true
            }
            PortForwardingEvent::StateChanged { state, .. } => match self.rules.get_mut(&id) {
                Some((rule, _)) => {
                    rule.disabled = *state == Enabled::Disabled;
                    true
                }
                None => false,
            },
            PortForwardingEvent::Detached { .. } | PortForwardingEvent::Deleted { .. } => {
                self.rules.remove(&id).is_some()
            }
            PortForwardingEvent::Created { .. } | PortForwardingEvent::Updated { .. } => false,
        }
    }

    /// Limits are known before a service of the VIP comes to this router, and bear on its configuration from then on.
    fn vip_event(&mut self, id: VipId, event: &VipEvent) -> bool {
        match event {
            VipEvent::QosSet { port, limits, .. } => drop(self.limits.entry(id).or_default().insert(*port, *limits)),
            VipEvent::QosDeleted { port, .. } => {
                if let Some(held) = self.limits.get_mut(&id) {
                    held.remove(port);
                    if held.is_empty() {
                        self.limits.remove(&id);
                    }
                }
            }
            _ => return false,
        }
        vip::fold(self).addresses.iter().any(|at| at.vip == id)
    }

    /// A start or reboot always counts, so that whoever waits for the revision of its own event sees it applied.
    fn serve(&mut self, vm: VmInstanceId, served: bool) -> bool {
        match self.clients.get_mut(&vm) {
            Some(client) => {
                let changed = client.served != served;
                client.served = served;
                changed || served
            }
            None => false,
        }
    }

    /// The L3 networks that the router stands on.
    pub fn own_networks(&self) -> BTreeSet<L3NetworkId> {
        self.nics.iter().map(|nic| nic.l3_network).collect()
    }

    /// The configuration, or nothing before the router was created.
    pub fn config(&self) -> Option<RouterConfig> {
        let vips = vip::fold(self);
        Some(RouterConfig {
            router: self.router?,
            revision: self.revision,
            sections: Sections {
                interfaces: interfaces::fold(self),
                dhcp: Dhcp::dhcp(&VirtualRouter, self),
                dns: Dns::dns(&VirtualRouter, self),
                snat: Snat::snat(&VirtualRouter, self),
                firewall: firewall::fold(self),
                qos: vip_qos::fold(self, &vips),
                vips,
                eips: Eips::eips(&VirtualRouter, self),
                port_forwarding: PortForwardings::port_forwarding(&VirtualRouter, self),
                metadata: metadata::fold(self),
                load_balancer: Balance::balance(&VirtualRouter, self),
            },
        })
    }

    /// The guest nics with the networks behind them.
    pub fn guests(&self) -> impl Iterator<Item = (&Nic, &Network)> {
        self.nics.iter().filter(|nic| nic.is(Nic::GUEST)).map(|nic| (nic, self.network(nic.l3_network)))
    }

    /// What is known of a network.
    pub fn network(&self, l3: L3NetworkId) -> &Network {
        self.networks.get(&l3).unwrap_or(&NO_NETWORK)
    }

    /// The nics on `l3` of VMs that run or are about to, with the VMs' names. Of several VMs with one name the first
    /// created keeps it; the others are called by their address.
    pub fn served(&self, l3: L3NetworkId) -> Vec<(String, &Nic)> {
        let mut taken = BTreeSet::new();
        let mut clients = Vec::new();
        for client in self.clients.values().filter(|client| client.served) {
            for nic in client.nics.iter().filter(|nic| nic.l3_network == l3) {
                let name = if taken.insert(&client.hostname) { client.hostname.clone() } else { address_name(nic) };
                clients.push((name, nic));
            }
        }
        clients.sort_by_key(|(_, nic)| nic.addresses.first().map(|address| address.ip));
        clients
    }
}

/// Gives the nic these addresses; whether it is one of `nics`.
fn readdress(nics: &mut [Nic], nic: NicId, addresses: &[NicAddress]) -> bool {
    let own = nics.iter_mut().find(|own| own.nic == nic);
    own.map(|own| own.addresses = addresses.to_vec()).is_some()
}

/// The provider whose services a router gives.
fn ours() -> NetworkServiceProviderId {
    built_in_provider("VirtualRouter")
}

static NO_NETWORK: Network = Network {
    domain: None,
    dns: Vec::new(),
    routes: Vec::new(),
    mtu: None,
    services: BTreeSet::new(),
    address_mode: None,
};

impl Network {
    /// Bytes that its links carry.
    pub fn mtu(&self) -> u16 {
        self.mtu.unwrap_or(DEFAULT_MTU)
    }
}

/// The name of a VM that has no other: `ip-10-0-0-5`.
pub fn address_name(nic: &Nic) -> String {
    match nic.addresses.first() {
        Some(address) => format!("ip-{}", address.ip.to_string().replace(['.', ':'], "-")),
        None => format!("mac-{}", nic.mac.to_string().replace(':', "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Log, network, nic, router, vm};
    use NetworkServiceType::{DHCP, DNS, SNAT};

    fn fold(log: &Log) -> Sections {
        let mut fold = RouterFold::default();
        log.events.iter().for_each(|event| fold.apply(event));
        fold.config().unwrap().sections
    }

    /// The three networks and a router with a nic on each.
    fn scene(services: &[NetworkServiceType]) -> Log {
        let mut log = Log::default();
        network(&mut log, "management", &[]);
        network(&mut log, "public", &[]);
        network(&mut log, "guest", services);
        let nics = vec![
            nic("management", [172, 20, 0, 5], 0, Nic::MANAGEMENT),
            nic("public", [203, 0, 113, 9], 1, Nic::PUBLIC),
            nic("guest", [10, 0, 0, 1], 2, Nic::GUEST),
        ];
        log.add("router", router(nics));
        log
    }

    fn hostnames(log: &Log) -> Vec<String> {
        fold(log).dhcp.hosts.into_iter().map(|host| host.hostname).collect()
    }

    #[test]
    fn each_service_gives_its_section_and_opens_its_ports() {
        for (services, networks, rules, upstreams, ports) in [
            (&[][..], 0, 0, 0, 3),
            (&[DHCP], 1, 0, 0, 5),
            (&[DNS], 0, 0, 1, 3),
            (&[SNAT], 0, 1, 0, 3),
            (&[DHCP, DNS, SNAT], 1, 1, 1, 5),
        ] {
            let mut log = scene(services);
            log.add("guest", L3NetworkEvent::DnsAdded { dns: [9, 9, 9, 9].into() });
            let sections = fold(&log);
            assert_eq!(sections.dhcp.networks.len(), networks, "{services:?}");
            assert_eq!(sections.snat.rules.len(), rules, "{services:?}");
            assert_eq!(sections.firewall.forward.len(), rules, "{services:?}");
            assert_eq!(sections.dns.upstreams.len(), upstreams, "{services:?}");
            assert_eq!(sections.firewall.input.len(), ports, "{services:?}");
            // Detaching takes all of it away again.
            let detached = L3NetworkEvent::ServicesDetached {
                provider: built_in_provider("VirtualRouter"),
                services: services.to_vec(),
            };
            log.add("guest", detached);
            let mut without = scene(&[]);
            without.add("guest", L3NetworkEvent::DnsAdded { dns: [9, 9, 9, 9].into() });
            assert_eq!(fold(&log), fold(&without), "{services:?}");
        }
    }

    #[test]
    fn a_vm_is_served_from_its_start_to_its_stop() {
        let networks = || vec![crate::samples::id("guest")];
        let failed = |operation| VmInstanceEvent::OperationFailed {
            operation,
            code: String::new(),
            detail: String::new(),
            l3_networks: networks(),
        };
        let start = || VmInstanceEvent::StartRequested {
            host: crate::samples::id("host"),
            cluster: crate::samples::id("cluster"),
            l3_networks: networks(),
        };
        let mut log = scene(&[DHCP]);
        log.add("vm", vm("vm", vec![nic("guest", [10, 0, 0, 7], 0, 0)]));
        for (event, served) in [
            (VmInstanceEvent::StopRequested { l3_networks: networks() }, true),
            (failed(VmOperation::Stop), true),
            (VmInstanceEvent::Stopped { l3_networks: networks() }, false),
            (start(), true),
            (failed(VmOperation::Start), false),
            (start(), true),
            (VmInstanceEvent::RebootRequested { l3_networks: networks() }, true),
            (failed(VmOperation::Reboot), true),
            (VmInstanceEvent::DestroyRequested { l3_networks: networks() }, true),
            (VmInstanceEvent::Destroyed { l3_networks: networks(), recoverable: false }, false),
        ] {
            log.add("vm", event.clone());
            assert_eq!(hostnames(&log).len(), usize::from(served), "after {event:?}");
        }
    }

    #[test]
    fn every_event_of_a_vm_that_bears_on_routers_is_found_by_its_networks() {
        let networks = || vec![crate::samples::id("guest")];
        let mut log = scene(&[DHCP]);
        log.add("vm", vm("vm", vec![nic("guest", [10, 0, 0, 7], 0, 0)]));
        log.add("vm", VmInstanceEvent::Stopped { l3_networks: networks() });
        log.add("vm", VmInstanceEvent::Destroyed { l3_networks: networks(), recoverable: false });
        let mut fold = RouterFold::default();
        for event in &log.events {
            let before = fold.clone();
            fold.apply(event);
            let tagged = event.tags.contains(&Id::of_name("guest"));
            assert!(fold == before || tagged || !matches!(event.event, Event::VmInstance(_)), "{event:?}");
        }
    }

    #[test]
    fn what_may_not_bear_changes_nothing() {
        let networks = || vec![crate::samples::id("guest")];
        let mut log = scene(&[DHCP]);
        log.add("vm", vm("vm", vec![nic("guest", [10, 0, 0, 7], 0, 0)]));
        let applied = || RouterEvent::ConfigApplied { revision: 7, config_digest: String::new() };
        let digest = String::new;
        log.add("router", RouterEvent::Connected { agent_digest: digest(), revision: 7, config_digest: digest() });
        log.add("router", applied());
        log.add("vm", VmInstanceEvent::Started { host: crate::samples::id("host") });
        log.add("vm", VmInstanceEvent::Updated { name: Some("other".to_string()), description: None });
        log.add("vm", VmInstanceEvent::StopRequested { l3_networks: networks() });
        log.add("vm", VmInstanceEvent::Stopped { l3_networks: networks() });
        log.add("vm", VmInstanceEvent::RebootRequested { l3_networks: networks() });
        log.add("vm", VmInstanceEvent::DestroyRequested { l3_networks: networks() });
        log.add("vm", VmInstanceEvent::Destroyed { l3_networks: networks(), recoverable: false });
        log.add("router", applied());
        let mut fold = RouterFold::default();
        let (mut bore, mut did_not) = (0, 0);
        for event in &log.events {
            let before = fold.clone();
            fold.apply(event);
            if RouterFold::may_bear(event.stream.kind, event.event.name()) {
                bore += 1;
            } else {
                did_not += 1;
                assert_eq!(fold, before, "{event:?}");
            }
        }
        assert!(bore > 5 && did_not >= 6, "{bore} and {did_not}");
    }

    #[test]
    fn equal_intent_gives_equal_bytes() {
        let vms = [("a", 9), ("b", 3), ("c", 5)];
        let build = |order: [usize; 3]| {
            let mut log = scene(&[DHCP, DNS]);
            for at in order {
                let (name, last) = vms[at];
                log.add(name, vm(name, vec![nic("guest", [10, 0, 0, last], 0, 0)]));
            }
            fold(&log)
        };
        assert_eq!(build([0, 1, 2]), build([2, 0, 1]));
        assert_eq!(build([0, 1, 2]).digests(), build([1, 2, 0]).digests());
    }

    #[test]
    fn a_destroyed_router_has_nothing() {
        let mut log = scene(&[DHCP, DNS, SNAT]);
        log.add("router", RouterEvent::Destroyed { l3_networks: vec![] });
        assert_eq!(fold(&log).digests(), Sections::default().digests());
    }

    #[test]
    fn the_way_to_an_ipv6_address_is_told_by_the_mode_of_its_range() {
        use AddressMode::{Slaac, Stateful, Stateless};
        for (mode, hosts, gateway) in [(Slaac, 0, true), (Stateless, 1, false), (Stateful, 1, true)] {
            let mut log = Log::default();
            network(&mut log, "public", &[]);
            network(&mut log, "guest", if gateway { &[DHCP, DNS, SNAT] } else { &[DHCP, DNS] });
            log.add(
                "range6",
                IpRangeEvent::Ipv6Created {
                    l3_network: crate::samples::id("guest"),
                    l2_network: crate::samples::id("guest"),
                    name: "r".to_string(),
                    description: None,
                    range_type: IpRangeType::Normal,
                    start: "fd00::2".parse().unwrap(),
                    end: "fd00::9".parse().unwrap(),
                    prefix_length: 64,
                    gateway: "fd00::1".parse().unwrap(),
                    address_mode: mode,
                },
            );
            let with = |mut nic: Nic, ip: &str| {
                nic.addresses.push(NicAddress {
                    ip: ip.parse().unwrap(),
                    prefix_length: 64,
                    gateway: "fd00::1".parse().unwrap(),
                    ip_range: crate::samples::id("range6"),
                    used_ip: Id::NIL,
                });
                nic
            };
            let mut public = nic("public", [203, 0, 113, 9], 0, Nic::PUBLIC | Nic::MANAGEMENT);
            public.addresses.push(NicAddress {
                ip: "2001:db8::9".parse().unwrap(),
                gateway: "2001:db8::1".parse().unwrap(),
                prefix_length: 64,
                ..public.addresses[0]
            });
            log.add("router", router(vec![public, with(nic("guest", [10, 0, 0, 1], 1, Nic::GUEST), "fd00::1")]));
            log.add("vm", vm("vm", vec![with(nic("guest", [10, 0, 0, 7], 0, 0), "fd00::7")]));
            let mut only6 = with(nic("guest", [10, 0, 0, 8], 0, 0), "fd00::8");
            only6.addresses.remove(0);
            log.add("six", vm("six", vec![only6]));
            let sections = fold(&log);
            let told = &sections.dhcp.networks6[0];
            assert_eq!((told.mode, told.gateway, told.subnet.to_string()), (mode, gateway, "fd00::/64".to_string()));
            assert_eq!(told.dns_servers, ["fd00::1".parse::<std::net::Ipv6Addr>().unwrap()]);
            // Two VMs: one of both families, which is one client, and one of IPv6 alone.
            let clients: Vec<_> =
                sections.dhcp.hosts.iter().map(|host| (host.ip.is_some(), host.ip6.is_some())).collect();
            assert_eq!(clients.iter().filter(|(v4, _)| *v4).count(), 1, "{mode:?}");
            assert_eq!(clients.iter().filter(|(_, v6)| *v6).count(), 2 * hosts, "{mode:?}");
            let names: Vec<String> =
                sections.dns.names.iter().map(|name| format!("{} {}", name.ip, name.hostname)).collect();
            assert_eq!(names, ["10.0.0.7 vm", "fd00::7 vm", "fd00::8 six"]);
            let ports: Vec<_> = sections.firewall.input.iter().map(|rule| rule.port).collect();
            assert!(ports.contains(&547) && ports.contains(&67), "{ports:?}");
            assert_eq!(sections.interfaces.default_gateway6, Some("2001:db8::1".parse().unwrap()));
            assert_eq!(sections.snat.rules.len(), usize::from(gateway), "of IPv4 alone");
            // Guests know every router of the network by one address, which is of the network, not of the nic.
            let nics = &sections.interfaces.nics;
            let own = nics[1].link_local().unwrap();
            assert!(nics[0].link_local().is_none() && own.addr().is_unicast_link_local() && own.prefix_len() == 64);
            let mac = "fa:00:00:00:77:01".parse().unwrap();
            assert_eq!(RouterNic { mac, ..nics[1].clone() }.link_local(), Some(own));
            // Without the service clients ask the network's own name servers, and nobody of a family that has none.
            let provider = built_in_provider("VirtualRouter");
            let mut plain = Log { events: log.events.clone() };
            plain.add("guest", L3NetworkEvent::ServicesDetached { provider, services: vec![DNS] });
            plain.add("guest", L3NetworkEvent::DnsAdded { dns: "192.0.2.53".parse().unwrap() });
            let dhcp = fold(&plain).dhcp;
            assert_eq!(dhcp.networks[0].dns_servers, [std::net::Ipv4Addr::new(192, 0, 2, 53)]);
            assert!(dhcp.networks6[0].dns_servers.is_empty());
            // Without its IPv6 address nothing of it is left.
            let changed = nic("guest", [10, 0, 0, 1], 1, Nic::GUEST);
            log.add("router", RouterEvent::NicChanged { nic: changed });
            let sections = fold(&log);
            assert!(sections.dhcp.networks6.is_empty() && sections.dhcp.hosts.len() == 1);
            assert_eq!(sections.interfaces.nics[1].addresses, ["10.0.0.1/24".parse::<ipnet::IpNet>().unwrap()]);
        }
    }
}
