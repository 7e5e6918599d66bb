//! The way of a packet, in the order of the kernel's hooks. What is looked up where is rendered in the agent's services:
//! firewall, snat, eip, port_forwarding, udp_balancer, metadata and, on hosts, security_group.

use super::{
    Answer, Beginning, Candidate, End, Explanation, Packet, PacketProtocol, Place, Record, Scene, Service, Step,
    Verdict, scene::Route,
};
use crate::{
    Access, BalancerAlgorithm, CLEAN_TRAFFIC, Decided, Eip, FirstPacket, ListenerConfig, ListenerProtocol, METADATA_IP,
    METADATA_PORT, PortForwardingRule, Protocol, RouterNic,
};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use switchback_events::{Direction, NetworkServiceType, Nic, RuleProtocol};

/// Says what becomes of a packet.
pub fn explain(scene: &Scene<'_>, beginning: &Beginning, packet: Packet) -> Explanation {
    let mut walk = Walk {
        scene,
        steps: Vec::new(),
        original: packet,
        packet,
        from: None,
        incoming: None,
        translated: None,
        masquerade: false,
        candidates: Vec::new(),
        straight: false,
    };
    let verdict = match beginning {
        Beginning::Nic(nic) => walk.from_nic(*nic),
        Beginning::Interface(name) => match scene.interface(name) {
            Some(nic) => walk.arrives(nic),
            None => walk.lost(format!("the router has no interface {name}")),
        },
        Beginning::Router => walk.from_router(),
    };
    let answer = walk.answer(&verdict);
    let Walk { steps, packet: ends, candidates, .. } = walk;
    Explanation { packet, verdict, steps, ends, candidates, answer }
}

/// By what a packet got another destination.
#[derive(Clone, Copy, Debug)]
enum Translated<'a> {
    Metadata,
    Eip(&'a Eip),
    Rule(&'a PortForwardingRule),
    Listener(&'a ListenerConfig),
}

/// A packet on its way.
#[derive(Clone)]
struct Walk<'a> {
    scene: &'a Scene<'a>,
    steps: Vec<Step>,
    original: Packet,
    packet: Packet,
    /// The nic that sent it.
    from: Option<&'a End>,
    /// The interface of the router that it came in by.
    incoming: Option<&'a RouterNic>,
    translated: Option<Translated<'a>>,
    /// A rule asks for the router's address as its source.
    masquerade: bool,
    candidates: Vec<Candidate>,
    /// It never came to the router.
    straight: bool,
}

impl<'a> Walk<'a> {
    fn step(&mut self, place: Place, hook: &'static str, section: &'static str, what: String, records: Vec<Record>) {
        let packet = self.packet;
        self.steps.push(Step { place, hook, section, chain: None, what, records, packet });
    }

    fn chain(&mut self, hook: &'static str, section: &'static str, chain: &str, what: String, records: Vec<Record>) {
        self.step(Place::Router, hook, section, what, records);
        if let Some(step) = self.steps.last_mut() {
            step.chain = Some(chain.to_string());
        }
    }

    fn lost(&mut self, what: String) -> Verdict {
        self.step(Place::Network, "begin", "interfaces", what, vec![]);
        Verdict::Dropped
    }

    fn is_v4(&self) -> bool {
        self.packet.destination.is_ipv4()
    }

    // ---- at VMs ----

    fn from_nic(&mut self, nic: switchback_events::NicId) -> Verdict {
        let scene = self.scene;
        let Some(end) = scene.end(nic) else { return self.lost("no VM on the router's networks has this nic".into()) };
        self.from = Some(end);
        let Some(own) = scene.on_network(end.l3_network) else {
            return self.lost("the router is not on the network of this nic".into());
        };
        if let Some(refused) = self.unplugged(end, "sends nothing") {
            return refused;
        }
        if !self.passes(end, Direction::Egress) {
            return Verdict::Dropped;
        }
        let to = self.packet.destination;
        let near = own.addresses.iter().any(|net| net.contains(&to));
        if near && !matches!(scene.route(to), Route::Local(..)) {
            self.straight = true;
            let what = format!("{to} is on the VM's own network: the packet goes there, not to the router");
            self.step(Place::Network, "neighbour", "interfaces", what, vec![of_nic(own)]);
            return self.reaches(own, to);
        }
        if !near && !end.default && to != IpAddr::V4(Ipv4Addr::BROADCAST) {
            let what = "the VM's way out is another of its nics: what is for other networks does not come by this one";
            self.straight = true;
            self.step(Place::Network, "route of the VM", "dhcp", what.into(), vec![of_end(end)]);
            return Verdict::Dropped;
        }
        self.arrives(own)
    }

    /// Nothing goes through a nic that is no VM's that runs, or that is disabled.
    fn unplugged(&mut self, end: &End, does: &str) -> Option<Verdict> {
        let what = match (end.runs, end.carries) {
            (false, _) => format!("the VM does not run: it {does}"),
            (true, false) => format!("the nic is disabled, or its VM is paused: it {does}"),
            (true, true) => return None,
        };
        self.step(Place::Host, "nic", "vms", what, vec![of_end(end)]);
        Some(Verdict::Dropped)
    }

    /// The filter of a nic.
    fn passes(&mut self, end: &End, direction: Direction) -> bool {
        let protocol = match self.packet.protocol {
            PacketProtocol::Tcp => RuleProtocol::TCP,
            PacketProtocol::Udp => RuleProtocol::UDP,
            PacketProtocol::Icmp => RuleProtocol::ICMP,
        };
        let Packet { source, destination, source_port: from_port, destination_port: port, .. } = self.packet;
        let first = FirstPacket { source, destination, protocol, from_port, port };
        let verdict = self.scene.filters.allows(&end.internal_name, direction, &first);
        let (way, hook) = match direction {
            Direction::Egress => ("from", "bridge prerouting and forward"),
            Direction::Ingress => ("to", "bridge forward"),
        };
        let (policies, groups) = match self.scene.filters.nics.get(&end.internal_name) {
            Some(filter) if direction == Direction::Ingress => (format!("{:?}", filter.ingress), filter.groups.len()),
            Some(filter) => (format!("{:?}", filter.egress), filter.groups.len()),
            None => (String::new(), 0),
        };
        let security = || Record::VmNicSecurity { uuid: end.nic, vm_instance_uuid: end.vm };
        let (chain, what, records) = match verdict.by {
            Decided::Open if groups == 0 => (None, format!("packets {way} the nic are not filtered"), vec![]),
            Decided::Open => (None, format!("packets {way} the nic are let through"), vec![security()]),
            Decided::Dhcp => (
                Some(format!("{way}_{}", end.internal_name)),
                format!("DHCP {way} the nic is always let through"),
                vec![security()],
            ),
            Decided::Rule(group, rule) => (
                Some(format!("{way}_{group}")),
                format!("{} by a rule of a security group", if verdict.allowed { "let through" } else { "dropped" }),
                vec![Record::SecurityGroupRule { uuid: rule, security_group_uuid: group }, security()],
            ),
            Decided::Policy => (
                Some(format!("{way}_{}", end.internal_name)),
                format!("no rule of its {groups} security groups fits: what is {way} the nic is left to {policies}"),
                vec![security()],
            ),
            Decided::Spoofed => (
                Some(format!("own_{}", end.internal_name)),
                format!("dropped: {source} is not the nic's own address, or the port is one of a DHCP server"),
                vec![
                    of_end(end),
                    Record::Config {
                        category: CLEAN_TRAFFIC.0.into(),
                        name: CLEAN_TRAFFIC.1.into(),
                        vm_instance_uuid: None,
                    },
                    Record::Config {
                        category: CLEAN_TRAFFIC.0.into(),
                        name: CLEAN_TRAFFIC.1.into(),
                        vm_instance_uuid: Some(end.vm),
                    },
                ],
            ),
        };
        self.step(Place::Host, hook, "security", what, records);
        if let Some(step) = self.steps.last_mut() {
            step.chain = chain;
        }
        verdict.allowed
    }

    /// A neighbour behind an interface gets it.
    fn reaches(&mut self, out: &RouterNic, next_hop: IpAddr) -> Verdict {
        let interface = if self.straight { None } else { Some(out.name.clone()) };
        let to = self.packet.destination;
        let Some(end) = self.scene.end_with(out.l3_network, to).filter(|_| next_hop == to) else {
            let what = match next_hop == to {
                true => format!("whoever has {to} there gets it; no VM on this network has"),
                false => format!("the gateway {next_hop} gets it"),
            };
            self.step(Place::Network, "neighbour", "interfaces", what, vec![of_nic(out)]);
            return Verdict::Forwarded { interface, next_hop };
        };
        if let Some(refused) = self.unplugged(end, "hears nothing") {
            return refused;
        }
        if !self.passes(end, Direction::Ingress) {
            return Verdict::Dropped;
        }
        self.step(Place::Host, "nic", "vms", format!("the VM gets it from {}", self.packet.source), vec![of_end(end)]);
        Verdict::Delivered { vm: end.vm, nic: end.nic }
    }

    // ---- in the router ----

    fn arrives(&mut self, nic: &'a RouterNic) -> Verdict {
        self.incoming = Some(nic);
        let what = format!("the packet comes to the router by {}", nic.name);
        self.step(Place::Router, "ingress", "interfaces", what, vec![of_nic(nic)]);
        if let Some(listener) = self.prerouting(nic) {
            return self.choose(listener, Walk::routed);
        }
        self.routed()
    }

    /// Behind prerouting: where to, and whether the source may come from there.
    fn routed(&mut self) -> Verdict {
        let Some(nic) = self.incoming else { return Verdict::Dropped };
        let to = self.packet.destination;
        let route = match self.scene.route(to) {
            Route::None if to == IpAddr::V4(Ipv4Addr::BROADCAST) => Route::Broadcast(nic),
            Route::Out(..) if to == IpAddr::V4(Ipv4Addr::BROADCAST) => Route::Broadcast(nic),
            // It is looked for before the source is.
            Route::None => return self.no_route(),
            route => route,
        };
        if self.is_v4()
            && let Some(why) = self.bad_source(nic)
        {
            self.step(Place::Router, "route", "interfaces", format!("dropped: {why}"), vec![of_nic(nic)]);
            return Verdict::Dropped;
        }
        match route {
            Route::Local(own, vip) => {
                let mut records = vec![of_nic(own)];
                records.extend(vip.map(|uuid| Record::Vip { uuid }));
                let what = format!("{to} is the router's own address on {}", own.name);
                self.step(Place::Router, "route", "interfaces", what, records);
                self.input(Some(nic))
            }
            Route::Broadcast(own) => {
                let what = format!("{to} stands for everybody behind {}", own.name);
                self.step(Place::Router, "route", "interfaces", what, vec![of_nic(own)]);
                // Nobody is told that it is refused.
                match self.packet.protocol {
                    PacketProtocol::Udp => match self.input(Some(nic)) {
                        Verdict::Rejected => Verdict::Dropped,
                        taken => taken,
                    },
                    _ => Verdict::Dropped,
                }
            }
            Route::Out(out, next_hop) => {
                self.says_route(out, next_hop);
                self.forward(nic, out, next_hop)
            }
            Route::None => self.no_route(),
        }
    }

    fn says_route(&mut self, out: &RouterNic, next_hop: IpAddr) {
        let to = self.packet.destination;
        let what = match next_hop == to {
            true => format!("{to} is in the subnet behind {}", out.name),
            false => format!("{to} goes by the default route, {next_hop} behind {}", out.name),
        };
        self.step(Place::Router, "route", "interfaces", what, vec![of_nic(out)]);
    }

    fn no_route(&mut self) -> Verdict {
        let what = format!("there is no route to {}: the sender is told", self.packet.destination);
        self.step(Place::Router, "route", "interfaces", what, vec![]);
        Verdict::Unreachable
    }

    /// What `rp_filter` has against the source.
    fn bad_source(&self, nic: &RouterNic) -> Option<String> {
        let from = self.packet.source;
        if from.is_unspecified() && self.packet.destination == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return None;
        }
        match self.scene.route(from) {
            Route::Local(own, _) => Some(format!("{from} is the router's own address on {}", own.name)),
            Route::Broadcast(_) => Some(format!("{from} is nobody's address")),
            Route::None => Some(format!("there is no way back to {from}")),
            Route::Out(back, _) if back.name != nic.name && nic.is_guests_only() => {
                Some(format!("{from} may not come by {}, the way back to it is by {}", nic.name, back.name))
            }
            Route::Out(..) => None,
        }
    }

    /// Translates the destination; answers the listener that has to choose one.
    fn prerouting(&mut self, nic: &'a RouterNic) -> Option<&'a ListenerConfig> {
        let scene = self.scene;
        if !self.is_v4() {
            return self.balanced();
        }
        if let Some(own) = nic.ipv4().filter(|_| nic.is(Nic::GUEST) && !scene.sections.metadata.is_empty()) {
            let to = self.packet.destination;
            let asked = to == METADATA_IP || to == own.addr() && !nic.is(Nic::PUBLIC);
            if asked && self.packet.protocol == PacketProtocol::Tcp && self.packet.destination_port == 80 {
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
    fn services(&mut self, hook: &'static str) -> bool {
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
    fn balanced(&mut self) -> Option<&'a ListenerConfig> {
        if self.packet.protocol != PacketProtocol::Udp {
            return None;
        }
        let listener = self.listener(true)?;
        let record = Record::LoadBalancerListener { uuid: listener.listener };
        let from = self.packet.source;
        let why = match &listener.access {
            Some(access) if !admits(access, from) => format!("its access list refuses {from}"),
            _ if servers(listener, self.packet.destination).next().is_none() => {
                "none of its servers takes it".to_string()
            }
            _ => return Some(listener),
        };
        let what = format!("a load balancer listens on UDP port {}, but {why}", listener.port);
        self.chain("prerouting", "loadBalancer", "balanced_in", what, vec![record]);
        None
    }

    fn listener(&self, udp: bool) -> Option<&'a ListenerConfig> {
        let Packet { destination, destination_port, .. } = self.packet;
        self.scene.sections.load_balancer.listeners.iter().find(|listener| {
            (listener.protocol == ListenerProtocol::Udp) == udp
                && listener.port == destination_port
                && listener.addresses.contains(&destination)
        })
    }

    /// Goes on to each server that may be next; the first one stands for all.
    fn choose(&mut self, listener: &'a ListenerConfig, go_on: fn(&mut Walk<'a>) -> Verdict) -> Verdict {
        let to = self.packet.destination;
        let mut first = None;
        let mut candidates = Vec::new();
        let all: Vec<_> = servers(listener, to).collect();
        let what = format!("a load balancer sends it to one of {} servers", all.len());
        for server in all {
            let mut next = self.clone();
            (next.packet.destination, next.packet.destination_port) = (server.ip, server.port);
            next.translated = Some(Translated::Listener(listener));
            let record = Record::LoadBalancerListener { uuid: listener.listener };
            next.chain("prerouting", "loadBalancer", "balanced_in", what.clone(), vec![record]);
            let before = next.steps.len();
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

    /// What may enter the router. `nic` is none for what comes from the router itself.
    fn input(&mut self, nic: Option<&'a RouterNic>) -> Verdict {
        let Some(nic) = nic else {
            self.chain("input", "firewall", "input", "the router may reach itself".into(), vec![]);
            return self.answers(None);
        };
        let Packet { protocol, destination_port: port, .. } = self.packet;
        if protocol == PacketProtocol::Icmp {
            self.chain("input", "firewall", "input", "ICMP is let in".into(), vec![]);
            return self.answers(Some(nic));
        }
        let of = if protocol == PacketProtocol::Tcp { Protocol::Tcp } else { Protocol::Udp };
        let rules = &self.scene.sections.firewall.input;
        if rules.iter().any(|rule| rule.interface == nic.name && rule.protocol == of && rule.port == port) {
            let what = format!("port {port} is open on {}", nic.name);
            self.chain("input", "firewall", "input", what, vec![opened_by(nic, port)]);
            return self.answers(Some(nic));
        }
        if protocol == PacketProtocol::Tcp
            && let Some(listener) = self.listener(false)
        {
            let what = format!("a load balancer listens on TCP port {port}");
            let record = Record::LoadBalancerListener { uuid: listener.listener };
            self.chain("input", "loadBalancer", "input", what, vec![record]);
            return self.answers(Some(nic));
        }
        let name = if protocol == PacketProtocol::Tcp { "TCP" } else { "UDP" };
        let what = format!("rejected: {name} port {port} is not open on {}", nic.name);
        self.chain("input", "firewall", "input", what, vec![]);
        Verdict::Rejected
    }

    /// What listens at the router.
    fn answers(&mut self, nic: Option<&'a RouterNic>) -> Verdict {
        let Packet { protocol, destination_port: port, destination, source, .. } = self.packet;
        let sections = self.scene.sections;
        let on = |interface: &String| nic.is_some_and(|nic| nic.name == *interface);
        let (tcp, udp) = (protocol == PacketProtocol::Tcp, protocol == PacketProtocol::Udp);
        if tcp && let Some(listener) = self.listener(false) {
            let record = vec![Record::LoadBalancerListener { uuid: listener.listener }];
            if let Some(access) = listener.access.as_ref().filter(|access| !admits(access, source)) {
                let only = if access.allow { "lets others in only" } else { "keeps it out" };
                let what = format!("the load balancer closes the connection: its access list {only}, not {source}");
                self.step(Place::Router, "haproxy", "loadBalancer", what, record);
                return Verdict::Rejected;
            }
            let all: Vec<_> = servers(listener, destination).map(|server| (server.ip, server.port)).collect();
            let what = format!("the load balancer takes the connection, and makes one to one of {} servers", all.len());
            self.step(Place::Router, "haproxy", "loadBalancer", what, record);
            for (ip, port) in all {
                let Some(source) = self.scene.source_for(ip) else { continue };
                let asks = Packet { source, destination: ip, destination_port: port, ..self.packet };
                let Explanation { verdict, ends, steps, .. } = explain(self.scene, &Beginning::Router, asks);
                self.candidates.push(Candidate { ip, port, verdict, packet: ends, steps });
            }
            return Verdict::Answered { service: Service::LoadBalancer };
        }
        let guest = nic.filter(|nic| nic.is(Nic::GUEST));
        let (service, section, what, records) = if protocol == PacketProtocol::Icmp {
            (Service::Echo, "interfaces", "the router answers".to_string(), vec![])
        } else if port == 53 && sections.dns.interfaces.iter().any(on) && self.names_are_told_at(destination) {
            let records = guest.map(|nic| of_service(nic, NetworkServiceType::DNS)).into_iter().collect();
            (Service::Dns, "dns", "the name server answers".to_string(), records)
        } else if udp
            && (port == 67 && sections.dhcp.networks.iter().any(|net| on(&net.interface))
                || port == 547 && sections.dhcp.networks6.iter().any(|net| on(&net.interface)))
        {
            let records = guest.map(|nic| of_service(nic, NetworkServiceType::DHCP)).into_iter().collect();
            (Service::Dhcp, "dhcp", "the DHCP server answers".to_string(), records)
        } else if tcp && port == METADATA_PORT && !sections.metadata.is_empty() {
            let known = sections.metadata.clients.iter().any(|client| source == client.ip);
            let what = match known {
                true => format!("the agent tells the VM that has {source} of itself, if it asks from its own MAC"),
                false => format!("the agent tells {source} nothing: no VM that is served has this address"),
            };
            let service = guest.map(|nic| of_service(nic, NetworkServiceType::DHCP));
            let asks = guest.and_then(|nic| self.scene.end_with(nic.l3_network, source)).map(of_end);
            let records = service.into_iter().chain(asks).collect();
            (Service::Metadata, "metadata", what, records)
        } else if tcp && port == crate::firewall::AGENT_PORT && nic.is_none_or(|nic| nic.is(Nic::MANAGEMENT)) {
            (
                Service::Agent,
                "firewall",
                "the router's agent answers those who have its certificate".to_string(),
                vec![],
            )
        } else {
            (
                Service::Closed,
                "interfaces",
                "nothing of the configuration listens there: the port is closed".to_string(),
                vec![],
            )
        };
        self.step(Place::Router, "service", section, what, records);
        Verdict::Answered { service }
    }

    /// The name server listens at the addresses of its interfaces, and at no others.
    fn names_are_told_at(&self, ip: IpAddr) -> bool {
        let interfaces = &self.scene.sections.dns.interfaces;
        matches!(self.scene.route(ip), Route::Local(own, None) if interfaces.contains(&own.name))
    }

    /// What may pass through the router.
    fn forward(&mut self, nic: &'a RouterNic, out: &'a RouterNic, next_hop: IpAddr) -> Verdict {
        let sections = self.scene.sections;
        if !self.is_v4()
            && nic.is(Nic::GUEST)
            && !nic.is(Nic::PUBLIC)
            && nic.ipv6().is_some()
            && !matches!(self.scene.route(self.packet.source), Route::Out(back, _) if back.name == nic.name)
        {
            let what = format!("dropped: {} may not come by {}", self.packet.source, nic.name);
            self.chain("forward", "firewall", "forward", what, vec![of_nic(nic)]);
            return Verdict::Dropped;
        }
        let passage = format!("{} to {}", nic.name, out.name);
        if let Some(Translated::Listener(listener)) = self.translated {
            let record = Record::LoadBalancerListener { uuid: listener.listener };
            let what = "what a load balancer sends on may pass".to_string();
            self.chain("forward", "loadBalancer", "forward", what, vec![record]);
        } else if sections.firewall.forward.iter().any(|rule| rule.from == nic.name && rule.to == out.name) {
            let what = format!("new connections may go from {passage}");
            self.chain("forward", "firewall", "forward", what, vec![of_service(nic, NetworkServiceType::SNAT)]);
        } else if let Some(eip) = sections.eips.eips.iter().find(|eip| {
            eip.guest_interface == nic.name
                && eip.public_interface == out.name
                && eip.guest_address == self.packet.source
        }) {
            let what = format!("{} has an EIP, and may go from {passage}", self.packet.source);
            self.chain("forward", "eips", "forward", what, vec![Record::Eip { uuid: eip.eip }]);
        } else if let Some(by) = self.translated
            && (!sections.eips.is_empty() || !sections.port_forwarding.is_empty())
        {
            let what = "what an EIP or a forwarded port lets in may pass".to_string();
            self.chain("forward", section_of(by), "forward", what, records_of(by));
        } else {
            let what = format!("dropped: nothing lets new connections go from {passage}");
            self.chain("forward", "firewall", "forward", what, vec![]);
            return Verdict::Dropped;
        }
        self.postrouting(Some(nic), out, next_hop);
        self.reaches(out, next_hop)
    }

    /// Translates the source.
    fn postrouting(&mut self, nic: Option<&RouterNic>, out: &'a RouterNic, next_hop: IpAddr) {
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
    fn balanced_back(&mut self, nic: Option<&RouterNic>, out: &RouterNic) {
        let Some(Translated::Listener(listener)) = self.translated else { return };
        if out.is(Nic::GUEST)
            && nic.is_some_and(|nic| nic.name == out.name)
            && let Some(own) = out.address(self.is_v4())
        {
            let what = format!("it goes back to where it came from, with the router's address {own}");
            let record = Record::LoadBalancerListener { uuid: listener.listener };
            self.source(own, "loadBalancer", "balanced_back", what, record);
        }
    }

    fn source(&mut self, ip: IpAddr, section: &'static str, chain: &str, what: String, record: Record) {
        self.packet.source = ip;
        self.chain("postrouting", section, chain, what, vec![record]);
    }

    /// The router's address on the way out: the one of the subnet that the neighbour is in, else the first.
    fn by_router(&mut self, out: &RouterNic, next_hop: IpAddr, section: &'static str, chain: &str, why: &str) {
        let near = out.addresses.iter().find(|net| net.contains(&next_hop)).map(IpNet::addr);
        let Some(own) = near.or(out.address(self.is_v4())) else { return };
        let what = format!("{why}: it carries the router's address {own}");
        self.source(own, section, chain, what, of_nic(out));
        if let (Some(by), Some(step)) = (self.translated, self.steps.last_mut()) {
            step.records.extend(records_of(by));
        }
    }

    fn from_router(&mut self) -> Verdict {
        let first = self.scene.route(self.packet.destination);
        self.step(Place::Router, "egress", "interfaces", "the router sends it".into(), vec![]);
        if first == Route::None {
            return self.no_route();
        }
        if self.is_v4() {
            self.services("output");
        }
        match self.scene.route(self.packet.destination) {
            Route::Local(own, vip) => {
                let mut records = vec![of_nic(own)];
                records.extend(vip.map(|uuid| Record::Vip { uuid }));
                let what = format!("{} is the router's own address on {}", self.packet.destination, own.name);
                self.step(Place::Router, "route", "interfaces", what, records);
                self.input(None)
            }
            Route::Broadcast(own) => {
                let what = format!("everybody behind {} hears it", own.name);
                self.step(Place::Router, "route", "interfaces", what, vec![of_nic(own)]);
                Verdict::Forwarded { interface: Some(own.name.clone()), next_hop: self.packet.destination }
            }
            Route::Out(out, next_hop) => {
                self.says_route(out, next_hop);
                self.postrouting(None, out, next_hop);
                self.reaches(out, next_hop)
            }
            Route::None => self.no_route(),
        }
    }

    // ---- the answer ----

    fn answer(&self, verdict: &Verdict) -> Option<Answer> {
        let (began, ended) = (self.original, self.packet);
        let mut steps = Vec::new();
        let mut lost = None;
        match verdict {
            Verdict::Rejected | Verdict::Dropped | Verdict::Unreachable => return None,
            Verdict::Answered { .. } if self.translated.is_some() => {
                steps.push(format!("the answer goes out from {} again, as it was asked", began.destination));
            }
            Verdict::Answered { .. } => {}
            Verdict::Delivered { nic, .. } => {
                let end = self.scene.end(*nic)?;
                let own = self.scene.on_network(end.l3_network)?;
                let near = own.addresses.iter().any(|net| net.contains(&ended.source));
                let by_router = matches!(self.scene.route(ended.source), Route::Local(..));
                if near && !by_router && !self.straight {
                    lost = Some(format!("the VM answers {} straight, not by the router", ended.source));
                } else if !near && !end.default {
                    lost = Some("the VM's way out is another of its nics: its answer goes there".to_string());
                }
                if !self.scene.filters.nics.get(&end.internal_name).is_none_or(|filter| filter.groups.is_empty()) {
                    steps.push("its security groups let the answer through: it belongs to a connection".to_string());
                }
            }
            Verdict::Forwarded { .. } => {}
        }
        if (ended.destination, ended.destination_port) != (began.destination, began.destination_port)
            && !matches!(verdict, Verdict::Answered { .. })
        {
            steps.push(format!(
                "the router knows the connection: the answer of {} becomes one of {}",
                ended.destination, began.destination
            ));
        }
        if ended.source != began.source {
            steps.push(format!("the answer to {} goes on to {}", ended.source, began.source));
        }
        Some(Answer { to: ended.source, seen_from: began.destination, lost, steps })
    }
}

fn fits(rule: &PortForwardingRule, packet: &Packet) -> bool {
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
fn first_of_interfaces(eips: &[Eip], guest: Ipv4Addr) -> Option<&Eip> {
    let own = eips.iter().filter(|eip| eip.guest_address == guest);
    own.min_by(|a, b| a.public_interface.cmp(&b.public_interface))
}

fn admits(access: &Access, from: IpAddr) -> bool {
    access.sources.iter().any(|source| source.contains(&from)) == access.allow
}

/// The servers that may be next.
fn servers(listener: &ListenerConfig, to: IpAddr) -> impl Iterator<Item = &crate::BackendServer> {
    let weighs = listener.algorithm == BalancerAlgorithm::WeightRoundRobin;
    let of_udp = listener.protocol == ListenerProtocol::Udp;
    listener
        .servers
        .iter()
        .filter(move |server| (!weighs || server.weight > 0) && (!of_udp || server.ip.is_ipv4() == to.is_ipv4()))
}

fn section_of(by: Translated<'_>) -> &'static str {
    match by {
        Translated::Metadata => "metadata",
        Translated::Eip(_) => "eips",
        Translated::Rule(_) => "portForwarding",
        Translated::Listener(_) => "loadBalancer",
    }
}

fn records_of(by: Translated<'_>) -> Vec<Record> {
    match by {
        Translated::Metadata => vec![],
        Translated::Eip(eip) => vec![Record::Eip { uuid: eip.eip }],
        Translated::Rule(rule) => vec![Record::PortForwardingRule { uuid: rule.rule }],
        Translated::Listener(listener) => vec![Record::LoadBalancerListener { uuid: listener.listener }],
    }
}

fn of_nic(nic: &RouterNic) -> Record {
    Record::RouterNic { interface: nic.name.clone(), l3_network_uuid: nic.l3_network }
}

fn of_end(end: &End) -> Record {
    Record::VmNic { uuid: end.nic, vm_instance_uuid: end.vm }
}

fn of_service(nic: &RouterNic, service: NetworkServiceType) -> Record {
    Record::NetworkService { l3_network_uuid: nic.l3_network, service }
}

/// Why a port of the router is open.
fn opened_by(nic: &RouterNic, port: u16) -> Record {
    match port {
        67 | 547 | METADATA_PORT => of_service(nic, NetworkServiceType::DHCP),
        _ => of_nic(nic),
    }
}
