//! Where packets get another destination or another source: metadata, EIPs, forwarded ports, load balancers, source NAT.

use super::{Candidate, End, Packet, PacketProtocol, Place, Record, Step, Verdict, scene::Route, walk::Walk};
use crate::{
    ASKED_PORTS, Access, BackendServer, BalancerAlgorithm, Eip, ListenerConfig, ListenerProtocol, METADATA_IP,
    METADATA_PORT, PortForwardingRule, Protocol, RouterNic,
};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use switchback_events::{NetworkServiceType, Nic};

/// By what a packet got another destination.
#[derive(Clone, Copy, Debug)]
pub(super) enum Translated<'a> {
    Metadata,
    Eip(&'a Eip),
    Rule(&'a PortForwardingRule),
    Listener(&'a ListenerConfig),
}

impl<'a> Walk<'a> {
    /// Translates the destination; answers the listener that has to choose one.
    pub(super) fn prerouting(&mut self, nic: &'a RouterNic) -> Option<&'a ListenerConfig> {
        let scene = self.scene;
        if !self.is_v4() {
            return self.balanced();
        }
        if let Some(own) = nic.ipv4().filter(|_| nic.is(Nic::GUEST) && !scene.sections.metadata.is_empty()) {
            let to = self.packet.destination;
            let asked = to == METADATA_IP || to == own.addr() && !nic.is(Nic::PUBLIC);
            let asked = asked && ASKED_PORTS.contains(&self.packet.destination_port);
            if asked && self.packet.protocol == PacketProtocol::Tcp {
                (self.packet.destination, self.packet.destination_port) = (own.addr().into(), METADATA_PORT);
                self.translated = Some(Translated::Metadata);
                let records = vec![of_service(nic, NetworkServiceType::DHCP)];
                let what = "questions for metadata go to the router's agent".to_string();
                self.chain("prerouting", "metadata", "metadata_in", what, records);
                return None;
            }
        }
        if nic.is_management_only() {
            let has = !scene.sections.eips.is_empty() || !scene.sections.port_forwarding.is_empty();
            if has && matches!(scene.route(self.packet.destination), Route::Local(_, Some(_))) {
                let what =
                    format!("{} is for management only: no EIP and no forwarded port is reached from there", nic.name);
                self.chain("prerouting", "vips", "eip_prerouting", what, vec![of_nic(nic)]);
            }
        } else if self.services("prerouting") {
            return None;
        }
        self.balanced()
    }

    /// EIPs and forwarded ports, as for all that comes and for what the router sends.
    pub(super) fn services(&mut self, hook: &'static str) -> bool {
        let scene = self.scene;
        let to = self.packet.destination;
        if let Some(eip) = scene.sections.eips.eips.iter().find(|eip| eip.vip_address == to) {
            self.packet.destination = eip.guest_address.into();
            self.translated = Some(Translated::Eip(eip));
            let what = format!("the EIP {to} leads to {}", eip.guest_address);
            self.chain(hook, "eips", &format!("eip_{hook}"), what, vec![Record::Eip { uuid: eip.eip }]);
            return true;
        }
        let rules = &scene.sections.port_forwarding.rules;
        let Some(rule) = rules.iter().find(|rule| fits(rule, &self.packet)) else { return false };
        let record = Record::PortForwardingRule { uuid: rule.rule };
        if let (Some(cidr), IpAddr::V4(from)) = (rule.allowed_cidr, self.packet.source)
            && !cidr.contains(&from)
        {
            let what = format!("port forwarding lets only {cidr} in, not {from}: the packet is not translated");
            self.chain(hook, "portForwarding", "pf_translate", what, vec![record]);
            return false;
        }
        self.masquerade = rule.snat_inbound_traffic;
        let port =
            rule.private_port_start.saturating_add(self.packet.destination_port.saturating_sub(rule.vip_port_start));
        (self.packet.destination, self.packet.destination_port) = (rule.guest_address.into(), port);
        self.translated = Some(Translated::Rule(rule));
        let what =
            format!("port {} of {to} is forwarded to {}:{port}", self.original.destination_port, rule.guest_address);
        self.chain(hook, "portForwarding", "pf_translate", what, vec![record]);
        true
    }

    /// The listener for UDP that the packet is for.
    pub(super) fn balanced(&mut self) -> Option<&'a ListenerConfig> {
        if self.packet.protocol != PacketProtocol::Udp {
            return None;
        }
        let listener = self.listener(true)?;
        let record = of_listener(listener);
        let from = self.packet.source;
        let why = match &listener.access {
            Some(access) if !admits(access, from) => keeps_out(access, from),
            _ if servers(listener, self.packet.destination).next().is_none() => {
                "none of its servers takes it".to_string()
            }
            _ => return Some(listener),
        };
        let what = format!("a load balancer listens on UDP port {}, but {why}", listener.port);
        self.chain("prerouting", "loadBalancer", "balanced_in", what, vec![record]);
        None
    }

    pub(super) fn listener(&self, udp: bool) -> Option<&'a ListenerConfig> {
        let Packet { destination, destination_port, .. } = self.packet;
        self.scene.sections.load_balancer.listeners.iter().find(|listener| {
            (listener.protocol == ListenerProtocol::Udp) == udp
                && listener.port == destination_port
                && listener.addresses.contains(&destination)
        })
    }

    /// Goes on to each server that may be next; the first one stands for all.
    pub(super) fn choose(&mut self, listener: &'a ListenerConfig, go_on: fn(&mut Walk<'a>) -> Verdict) -> Verdict {
        let to = self.packet.destination;
        let mut first = None;
        let mut candidates = Vec::new();
        let all: Vec<_> = servers(listener, to).collect();
        let what = format!("a load balancer sends it to one of {} servers", all.len());
        for server in all {
            let mut next = self.clone();
            (next.packet.destination, next.packet.destination_port) = (server.ip, server.port);
            next.translated = Some(Translated::Listener(listener));
            let record = of_listener(listener);
            next.chain("prerouting", "loadBalancer", "balanced_in", what.clone(), vec![record]);
            let before = next.steps.len();
            next.steps.push(next.serves(listener, server, None));
            let verdict = go_on(&mut next);
            candidates.push(Candidate {
                ip: server.ip,
                port: server.port,
                verdict: verdict.clone(),
                packet: next.packet,
                steps: next.steps[before..].to_vec(),
            });
            first.get_or_insert((next, verdict));
        }
        let Some((next, verdict)) = first else { return go_on(self) };
        *self = Walk { candidates, ..next };
        verdict
    }

    /// That a server is one, and who made it so.
    pub(super) fn serves(&self, listener: &ListenerConfig, server: &BackendServer, when: Option<String>) -> Step {
        let end = match self.scene.route(server.ip) {
            Route::Out(nic, _) => self.scene.end_with(nic.l3_network, server.ip),
            _ => None,
        };
        let record = |end: &End| Record::LoadBalancerServer {
            uuid: end.nic,
            vm_instance_uuid: end.vm,
            listener_uuid: listener.listener,
            load_balancer_uuid: listener.load_balancer,
        };
        let at = SocketAddr::new(server.ip, server.port);
        let mut what = match listener.algorithm {
            BalancerAlgorithm::WeightRoundRobin => format!("{at} is a server, with a share of {}", server.weight),
            _ => format!("{at} is a server"),
        };
        if let Some(when) = when {
            what = format!("{what} {when}");
        }
        Step {
            place: Place::Router,
            hook: "server",
            section: "loadBalancer",
            chain: None,
            what,
            records: end.map(record).into_iter().collect(),
            packet: self.packet,
        }
    }

    /// Translates the source.
    pub(super) fn postrouting(&mut self, nic: Option<&RouterNic>, out: &'a RouterNic, next_hop: IpAddr) {
        let sections = self.scene.sections;
        let IpAddr::V4(source) = self.packet.source else { return self.balanced_back(nic, out) };
        let (eips, rules) = (&sections.eips.eips, &sections.port_forwarding.rules);
        let back =
            nic.is_some_and(|nic| nic.name == out.name) && self.translated.is_some() && !out.is_management_only();
        let own_eip = |interface: Option<&str>| {
            eips.iter().find(|eip| {
                eip.guest_address == source && interface.is_none_or(|interface| eip.public_interface == interface)
            })
        };
        if !eips.is_empty() {
            if back {
                if let Some(eip) = first_of_interfaces(eips, source) {
                    let what = format!(
                        "it goes back to where it came from: the sender is known by its EIP {}",
                        eip.vip_address
                    );
                    return self.source(
                        eip.vip_address.into(),
                        "eips",
                        "eip_postrouting",
                        what,
                        Record::Eip { uuid: eip.eip },
                    );
                }
                return self.by_router(out, next_hop, "eips", "eip_postrouting", "it goes back to where it came from");
            }
            if let Some(eip) = own_eip(Some(&out.name)) {
                let what = format!("what {source} sends out carries its EIP {}", eip.vip_address);
                return self.source(
                    eip.vip_address.into(),
                    "eips",
                    "eip_postrouting",
                    what,
                    Record::Eip { uuid: eip.eip },
                );
            }
            let original = self.original.destination;
            let inbound = eips.iter().any(|eip| eip.vip_address == original && eip.snat_inbound_traffic);
            if inbound && self.translated.is_some() {
                return self.by_router(out, next_hop, "eips", "eip_postrouting", "eip.snatInboundTraffic asks for it");
            }
        }
        if !rules.is_empty() {
            if back {
                return self.by_router(
                    out,
                    next_hop,
                    "portForwarding",
                    "pf_postrouting",
                    "it goes back to where it came from",
                );
            }
            if self.masquerade && self.translated.is_some() {
                let why = "portForwarding.snatInboundTraffic asks for it";
                return self.by_router(out, next_hop, "portForwarding", "pf_postrouting", why);
            }
        }
        let before = self.packet.source;
        self.balanced_back(nic, out);
        if self.packet.source != before {
            return;
        }
        let fits = sections.snat.rules.iter().find(|rule| rule.interface == out.name && rule.source.contains(&source));
        if let Some(rule) = fits {
            let what =
                format!("what leaves {} by {} carries the router's address {}", rule.source, out.name, rule.public_ip);
            let guests = self
                .scene
                .interfaces()
                .nics
                .iter()
                .find(|nic| nic.ipv4().is_some_and(|own| own.trunc() == rule.source));
            let record = of_service(guests.unwrap_or(out), NetworkServiceType::SNAT);
            self.source(rule.public_ip.into(), "snat", "postrouting", what, record);
        }
    }

    /// What a load balancer sends back to where it came from.
    pub(super) fn balanced_back(&mut self, nic: Option<&RouterNic>, out: &RouterNic) {
        let Some(Translated::Listener(listener)) = self.translated else { return };
        if out.is(Nic::GUEST)
            && nic.is_some_and(|nic| nic.name == out.name)
            && let Some(own) = out.address(self.is_v4())
        {
            let what = format!("it goes back to where it came from, with the router's address {own}");
            let record = of_listener(listener);
            self.source(own, "loadBalancer", "balanced_back", what, record);
        }
    }

    pub(super) fn source(&mut self, ip: IpAddr, section: &'static str, chain: &str, what: String, record: Record) {
        self.packet.source = ip;
        self.chain("postrouting", section, chain, what, vec![record]);
    }

    /// The router's address on the way out: the one of the subnet that the neighbour is in, else the first.
    pub(super) fn by_router(
        &mut self,
        out: &RouterNic,
        next_hop: IpAddr,
        section: &'static str,
        chain: &str,
        why: &str,
    ) {
        let near = out.addresses.iter().find(|net| net.contains(&next_hop)).map(IpNet::addr);
        let Some(own) = near.or(out.address(self.is_v4())) else { return };
        let what = format!("{why}: it carries the router's address {own}");
        self.source(own, section, chain, what, of_nic(out));
        if let (Some(by), Some(step)) = (self.translated, self.steps.last_mut()) {
            step.records.extend(records_of(by));
        }
    }
}

pub(super) fn fits(rule: &PortForwardingRule, packet: &Packet) -> bool {
    let of = match packet.protocol {
        PacketProtocol::Tcp => Protocol::Tcp,
        PacketProtocol::Udp => Protocol::Udp,
        PacketProtocol::Icmp => return false,
    };
    rule.protocol == of
        && rule.vip_address == packet.destination
        && (rule.vip_port_start..=rule.vip_port_end).contains(&packet.destination_port)
}

/// The EIP of a guest by which it is known at home: interfaces in the order of their names.
pub(super) fn first_of_interfaces(eips: &[Eip], guest: Ipv4Addr) -> Option<&Eip> {
    let own = eips.iter().filter(|eip| eip.guest_address == guest);
    own.min_by(|a, b| a.public_interface.cmp(&b.public_interface))
}

pub(super) fn admits(access: &Access, from: IpAddr) -> bool {
    access.sources.iter().any(|source| source.contains(&from)) == access.allow
}

/// Why a source is not admitted.
pub(super) fn keeps_out(access: &Access, from: IpAddr) -> String {
    match access.sources.iter().find(|source| source.contains(&from)) {
        Some(source) => format!("its access list refuses {source}, which {from} is in"),
        None => format!("its access list lets others in only, not {from}"),
    }
}

/// The servers of a listener that may be next.
pub(super) fn servers(listener: &ListenerConfig, to: IpAddr) -> impl Iterator<Item = &BackendServer> {
    servers_of(listener, &listener.servers, to)
}

/// Those of a list that it hands on to.
pub(super) fn servers_of<'a>(
    listener: &ListenerConfig,
    list: &'a [BackendServer],
    to: IpAddr,
) -> impl Iterator<Item = &'a BackendServer> {
    let weighs = listener.algorithm == BalancerAlgorithm::WeightRoundRobin;
    let of_udp = listener.protocol == ListenerProtocol::Udp;
    list.iter().filter(move |server| (!weighs || server.weight > 0) && (!of_udp || server.ip.is_ipv4() == to.is_ipv4()))
}

pub(super) fn section_of(by: Translated<'_>) -> &'static str {
    match by {
        Translated::Metadata => "metadata",
        Translated::Eip(_) => "eips",
        Translated::Rule(_) => "portForwarding",
        Translated::Listener(_) => "loadBalancer",
    }
}

pub(super) fn records_of(by: Translated<'_>) -> Vec<Record> {
    match by {
        Translated::Metadata => vec![],
        Translated::Eip(eip) => vec![Record::Eip { uuid: eip.eip }],
        Translated::Rule(rule) => vec![Record::PortForwardingRule { uuid: rule.rule }],
        Translated::Listener(listener) => vec![of_listener(listener)],
    }
}

pub(super) fn of_listener(listener: &ListenerConfig) -> Record {
    Record::LoadBalancerListener { uuid: listener.listener, load_balancer_uuid: listener.load_balancer }
}

pub(super) fn of_nic(nic: &RouterNic) -> Record {
    Record::RouterNic { interface: nic.name.clone(), l3_network_uuid: nic.l3_network }
}

pub(super) fn of_end(end: &End) -> Record {
    Record::VmNic { uuid: end.nic, vm_instance_uuid: end.vm }
}

pub(super) fn of_service(nic: &RouterNic, service: NetworkServiceType) -> Record {
    Record::NetworkService { l3_network_uuid: nic.l3_network, service }
}

/// Why a port of the router is open.
pub(super) fn opened_by(nic: &RouterNic, port: u16) -> Record {
    match port {
        67 | 547 | METADATA_PORT => of_service(nic, NetworkServiceType::DHCP),
        _ => of_nic(nic),
    }
}
