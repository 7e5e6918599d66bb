//! The way of a packet, in the order of the kernel's hooks. What is looked up where is rendered in the agent's services:
//! firewall, snat, eip, port_forwarding, udp_balancer, metadata and, on hosts, security_group.

use super::{
    Answer, Beginning, Candidate, End, Explanation, Packet, PacketProtocol, Place, Record, Scene, Service, Step,
    Verdict,
    scene::Route,
    translate::{
        Translated, admits, keeps_out, of_end, of_listener, of_nic, of_service, opened_by, records_of, section_of,
        servers, servers_of,
    },
};
use crate::{
    CLEAN_TRAFFIC, Decided, FirstPacket, ListenerConfig, ListenerProtocol, METADATA_PORT, Protocol, RouterNic, ToHttps,
};
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
        Beginning::Nic(nic) => walk.sent_by_nic(*nic),
        Beginning::Interface(name) => match scene.interface(name) {
            Some(nic) => walk.arrives(nic),
            None => walk.lost(format!("the router has no interface {name}")),
        },
        Beginning::Router => walk.sent_by_router(),
    };
    let answer = walk.answer(&verdict);
    let Walk { steps, packet: ends, candidates, .. } = walk;
    Explanation { packet, verdict, steps, ends, candidates, answer }
}

/// A packet on its way.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    pub scene: &'a Scene<'a>,
    pub steps: Vec<Step>,
    pub original: Packet,
    pub packet: Packet,
    /// The nic that sent it.
    pub from: Option<&'a End>,
    /// The interface of the router that it came in by.
    pub incoming: Option<&'a RouterNic>,
    pub translated: Option<Translated<'a>>,
    /// A rule asks for the router's address as its source.
    pub masquerade: bool,
    pub candidates: Vec<Candidate>,
    /// It never came to the router.
    pub straight: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn step(
        &mut self,
        place: Place,
        hook: &'static str,
        section: &'static str,
        what: String,
        records: Vec<Record>,
    ) {
        let packet = self.packet;
        self.steps.push(Step { place, hook, section, chain: None, what, records, packet });
    }

    pub(super) fn chain(
        &mut self,
        hook: &'static str,
        section: &'static str,
        chain: &str,
        what: String,
        records: Vec<Record>,
    ) {
        self.step(Place::Router, hook, section, what, records);
        if let Some(step) = self.steps.last_mut() {
            step.chain = Some(chain.to_string());
        }
    }

    fn lost(&mut self, what: String) -> Verdict {
        self.step(Place::Network, "begin", "interfaces", what, vec![]);
        Verdict::Dropped
    }

    pub(super) fn is_v4(&self) -> bool {
        self.packet.destination.is_ipv4()
    }

    // ---- at VMs ----

    fn sent_by_nic(&mut self, nic: switchback_events::NicId) -> Verdict {
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
    pub(super) fn routed(&mut self) -> Verdict {
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

    fn is_for_management(&self) -> bool {
        let to = self.packet.destination;
        let nic = self.scene.interfaces().nics.iter().find(|nic| nic.is(Nic::MANAGEMENT));
        nic.is_some_and(|nic| nic.addresses.iter().any(|net| net.addr() == to))
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
            // From its address for management it answers by that network, wherever to.
            Route::None if self.is_for_management() => None,
            Route::None => Some(format!("there is no way back to {from}")),
            Route::Out(back, _) if back.name != nic.name && nic.is_guests_only() => {
                Some(format!("{from} may not come by {}, the way back to it is by {}", nic.name, back.name))
            }
            Route::Out(..) => None,
        }
    }

    /// What may enter the router. `nic` is none for what comes from the router itself.
    pub(super) fn input(&mut self, nic: Option<&'a RouterNic>) -> Verdict {
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
            let record = of_listener(listener);
            self.chain("input", "loadBalancer", "input", what, vec![record]);
            return self.answers(Some(nic));
        }
        let name = if protocol == PacketProtocol::Tcp { "TCP" } else { "UDP" };
        let mut what = format!("rejected: {name} port {port} is not open on {}", nic.name);
        let told = !self.is_unheard();
        if !told {
            what = format!("{what}; there is no way back to tell {}", self.packet.source);
        }
        self.chain("input", "firewall", "input", what, vec![]);
        if told { Verdict::Rejected } else { Verdict::Dropped }
    }

    /// The router has no way to the sender, and takes its packet all the same: of IPv6 it looks at sources of what it
    /// forwards for guests only.
    fn is_unheard(&self) -> bool {
        !self.is_v4() && !self.straight && self.scene.route(self.packet.source) == Route::None
    }

    /// What listens at the router.
    fn answers(&mut self, nic: Option<&'a RouterNic>) -> Verdict {
        let Packet { protocol, destination_port: port, destination, source, .. } = self.packet;
        let sections = self.scene.sections;
        let on = |interface: &String| nic.is_some_and(|nic| nic.name == *interface);
        let (tcp, udp) = (protocol == PacketProtocol::Tcp, protocol == PacketProtocol::Udp);
        if tcp && let Some(listener) = self.listener(false) {
            return self.balances(listener);
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
        } else if tcp && self.is_v4() && port == METADATA_PORT && !sections.metadata.is_empty() {
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

    /// What haproxy does with a connection. To its servers go connections of its own.
    fn balances(&mut self, listener: &ListenerConfig) -> Verdict {
        let Packet { destination, source, .. } = self.packet;
        let record = || vec![of_listener(listener)];
        let mut says = |what: String| self.step(Place::Router, "haproxy", "loadBalancer", what, record());
        if let Some(access) = listener.access.as_ref().filter(|access| !admits(access, source)) {
            says(format!("the load balancer closes the connection: {}", keeps_out(access, source)));
            return Verdict::Rejected;
        }
        let answered = Verdict::Answered { service: Service::LoadBalancer };
        if let Some(ToHttps { port, status }) = listener.http.to_https {
            says(format!("the load balancer sends whoever asks on to https at port {port}, with status {status}"));
            return answered;
        }
        let own = servers(listener, destination).map(|server| (None, server));
        let redirected = listener.redirects.iter().flat_map(|redirect| {
            let of = servers_of(listener, &redirect.servers, destination);
            of.map(move |server| (Some(redirect), server))
        });
        let all: Vec<_> = own.chain(redirected).collect();
        let http = matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Https);
        says(match all.len() {
            0 if http => "the load balancer has no server to hand on to: it answers with status 503".to_string(),
            0 => "the load balancer has no server to hand on to: it closes the connection".to_string(),
            one => format!("the load balancer takes the connection, and makes one to one of {one} servers"),
        });
        if all.is_empty() && !http {
            return Verdict::Rejected;
        }
        for (redirect, server) in all {
            let (ip, port) = (server.ip, server.port);
            let Some(source) = self.scene.source_for(ip) else { continue };
            let asks = Packet { source, destination: ip, destination_port: port, ..self.packet };
            let Explanation { verdict, ends, steps: after, .. } = explain(self.scene, &Beginning::Router, asks);
            let when = redirect.map(|redirect| {
                let host = redirect.host.as_ref().map(|host| format!(" for {host}")).unwrap_or_default();
                let path = redirect.path.as_ref().map(|path| format!(" below {path}")).unwrap_or_default();
                format!("of requests{host}{path}")
            });
            let mut steps = vec![self.serves(listener, server, when)];
            steps.extend(after);
            self.candidates.push(Candidate { ip, port, verdict, packet: ends, steps });
        }
        answered
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
            let record = of_listener(listener);
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

    fn sent_by_router(&mut self) -> Verdict {
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
            Verdict::Answered { .. } if self.is_for_management() && !self.scene.is_near(ended.source) => {
                steps.push("from its address for management the router answers by that network".to_string());
            }
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
        if self.is_unheard() {
            lost = Some(format!("the router knows no way to {}", ended.source));
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
