//! The section of load balancing: the listeners on VIPs of the router's public networks, and the nics of VMs that run on
//! its guest networks with the service. A listener without one is there all the same, and says that nobody answers.
//!
//! Of redirects that fit a request the first counts: a name goes before all names under one, the longer before the
//! shorter, and a rule that asks for a name before one that does not.

use crate::{config::*, load_balancer_config::*, router::RouterFold};
use ipnet::IpNet;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use switchback_events::*;

/// What the fold knows of a load balancer.
#[derive(Clone, PartialEq, Debug)]
pub struct Balancer {
    at: VipPlace,
    listeners: BTreeMap<LoadBalancerListenerId, Balanced>,
    groups: BTreeMap<ServerGroupId, BTreeMap<NicId, GroupMember>>,
}

#[derive(Clone, PartialEq, Debug)]
struct Balanced {
    options: ListenerOptions,
    groups: BTreeSet<ServerGroupId>,
    /// What it shows, with its digest.
    certificate: Option<(CertificateId, String)>,
    /// What it goes by.
    lists: BTreeMap<AccessControlListId, ListenerAccess>,
}

/// Takes an event of the load balancer `id`; whether it bears on this router's configuration.
pub(crate) fn apply(router: &mut RouterFold, id: LoadBalancerId, event: &LoadBalancerEvent) -> bool {
    let before = served(router, id);
    match event {
        LoadBalancerEvent::Created { at, .. } => {
            router.balancers.insert(id, Balancer { at: *at, listeners: BTreeMap::new(), groups: BTreeMap::new() });
        }
        LoadBalancerEvent::Deleted { .. } => drop(router.balancers.remove(&id)),
        event => {
            if let Some(balancer) = router.balancers.get_mut(&id) {
                balancer.take(event);
            }
        }
    }
    let after = served(router, id);
    // What changes nothing here is not this router's.
    before != after
}

/// The listeners of a load balancer on this router, and whether it holds the VIP.
fn served(router: &RouterFold, id: LoadBalancerId) -> (Vec<ListenerConfig>, bool) {
    let held = router.balancers.get(&id);
    held.map(|balancer| (listeners(router, id, balancer), router.balances(balancer))).unwrap_or_default()
}

impl Balancer {
    fn take(&mut self, event: &LoadBalancerEvent) {
        match event {
            LoadBalancerEvent::ListenerCreated { listener, options, group, .. } => {
                let (options, groups) = (options.clone(), BTreeSet::from([*group]));
                let held = Balanced { options, groups, certificate: None, lists: BTreeMap::new() };
                self.listeners.insert(*listener, held);
            }
            LoadBalancerEvent::ListenerChanged { listener, options, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.options = options.clone();
                }
            }
            LoadBalancerEvent::ListenerDeleted { listener, group, .. } => {
                self.listeners.remove(listener);
                self.groups.remove(group);
            }
            LoadBalancerEvent::CertificateAdded { listener, certificate, digest, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.certificate = Some((*certificate, digest.clone()));
                }
            }
            LoadBalancerEvent::CertificateRemoved { listener, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.certificate = None;
                }
            }
            LoadBalancerEvent::GroupAdded { listener, group, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.groups.insert(*group);
                }
            }
            LoadBalancerEvent::GroupRemoved { listener, group, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.groups.remove(group);
                }
            }
            LoadBalancerEvent::MembersPut { group, members, .. } => {
                let held = self.groups.entry(*group).or_default();
                held.extend(members.iter().map(|member| (member.to.nic, *member)));
            }
            LoadBalancerEvent::MembersRemoved { group, nics, .. } => {
                if let Some(held) = self.groups.get_mut(group) {
                    held.retain(|nic, _| !nics.contains(nic));
                }
            }
            LoadBalancerEvent::AccessListPut { listener, list, access, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.lists.insert(*list, access.clone());
                }
            }
            LoadBalancerEvent::AccessListChanged { list, listeners, sources: now, .. } => {
                for listener in listeners {
                    let held = self.listeners.get_mut(listener);
                    if let Some(ListenerAccess::White { sources } | ListenerAccess::Black { sources }) =
                        held.and_then(|held| held.lists.get_mut(list))
                    {
                        sources.clone_from(now);
                    }
                }
            }
            LoadBalancerEvent::AccessListRemoved { listener, list, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.lists.remove(list);
                }
            }
            _ => {}
        }
    }

    /// The nics that a listener hands on to.
    fn members<'a>(&'a self, held: &'a Balanced) -> impl Iterator<Item = &'a GroupMember> {
        self.members_of(&held.groups)
    }

    fn members_of<'a>(
        &'a self,
        groups: impl IntoIterator<Item = &'a ServerGroupId>,
    ) -> impl Iterator<Item = &'a GroupMember> {
        groups.into_iter().filter_map(|group| self.groups.get(group)).flat_map(BTreeMap::values)
    }
}

impl Balanced {
    /// Who may come, by all of its lists.
    fn access(&self) -> Option<Access> {
        if self.options.lists_off {
            return None;
        }
        let (mut allow, mut all) = (None, BTreeSet::new());
        for listed in self.lists.values() {
            let (white, sources) = match listed {
                ListenerAccess::White { sources } => (true, sources),
                ListenerAccess::Black { sources } => (false, sources),
                ListenerAccess::Redirect { .. } => continue,
            };
            allow = Some(white);
            all.extend(sources);
        }
        // A prefix comes before those that it has in it, and they say nothing more.
        let mut sources: Vec<IpNet> = Vec::new();
        for source in all {
            if !sources.last().is_some_and(|last| last.contains(&source)) {
                sources.push(source);
            }
        }
        allow.map(|allow| Access { allow, sources })
    }

    /// What of its requests goes elsewhere, and to which groups; in the order in which it counts.
    fn redirects(&self) -> Vec<(AccessControlListId, &RedirectRule, &[ServerGroupId])> {
        let mut all = Vec::new();
        for (list, listed) in &self.lists {
            if let ListenerAccess::Redirect { rule, groups } = listed {
                all.push((*list, rule, groups.as_slice()));
            }
        }
        all.sort_by_cached_key(|(list, RedirectRule { domain, url }, _)| {
            let name = domain.as_ref().map(|name| (!name.starts_with('*'), name.len()));
            (Reverse(name), Reverse(url.as_ref().map(String::len)), *list)
        });
        all
    }

    /// The header `Host` of requests for a name.
    fn host(&self, domain: &str) -> String {
        let usual = if self.options.protocol == ListenerProtocol::Https { 443 } else { 80 };
        match self.options.port {
            port if port == usual => domain.to_string(),
            port => format!("{domain}:{port}"),
        }
    }
}

impl RouterFold {
    /// The nic on the network of a load balancer's VIP, where the router is also on that of a member, with the service.
    fn outside(&self, balancer: &Balancer) -> Option<&Nic> {
        let outward = |nic: &&Nic| nic.is(Nic::PUBLIC) || nic.is(Nic::ADDITIONAL_PUBLIC);
        let mut members = balancer.listeners.values().flat_map(|listener| balancer.members(listener));
        let serves = members.any(|member| self.gives_balancing(member.to.l3_network));
        self.nics.iter().filter(outward).find(|nic| nic.l3_network == balancer.at.l3_network).filter(|_| serves)
    }

    fn balances(&self, balancer: &Balancer) -> bool {
        self.outside(balancer).is_some()
    }

    fn gives_balancing(&self, l3: L3NetworkId) -> bool {
        let gives = |network: &crate::router::Network| network.services.contains(&NetworkServiceType::LoadBalancer);
        self.guests().any(|(nic, network)| nic.l3_network == l3 && gives(network))
    }

    /// The VIPs of load balancers, by interface and address, as the router is to hold them.
    pub(crate) fn balanced_vips(&self) -> Vec<VipAddress> {
        let vips = self.balancers.values().filter_map(|balancer| {
            let interface = interface_name(self.outside(balancer)?);
            let address = ipnet::IpNet::new(balancer.at.ip, balancer.at.prefix_length).ok()?;
            Some(VipAddress { vip: balancer.at.vip, interface, address })
        });
        vips.collect()
    }
}

/// The section for what is known of a router.
pub fn fold(router: &RouterFold) -> LoadBalancerConfig {
    let serving = router.balancers.iter().filter(|(_, balancer)| router.balances(balancer));
    let mut all: Vec<ListenerConfig> = serving.flat_map(|(id, balancer)| listeners(router, *id, balancer)).collect();
    all.sort_by_key(|listener| listener.listener);
    let shown = |tls: &Tls| {
        let held = router.balancers.values().flat_map(|balancer| balancer.listeners.values());
        let mut certificates = held.filter_map(|held| held.certificate.as_ref());
        let (_, digest) = certificates.find(|(certificate, _)| *certificate == tls.certificate)?;
        Some((tls.certificate, digest.clone()))
    };
    let shown: BTreeMap<CertificateId, String> =
        all.iter().filter_map(|listener| shown(listener.tls.as_ref()?)).collect();
    let held = |(certificate, digest)| CertificateConfig { certificate, digest, pem: None };
    LoadBalancerConfig { listeners: all, certificates: shown.into_iter().map(held).collect() }
}

fn listeners(router: &RouterFold, id: LoadBalancerId, balancer: &Balancer) -> Vec<ListenerConfig> {
    if !router.balances(balancer) {
        return Vec::new();
    }
    let listener = |(listener, held): (&LoadBalancerListenerId, &Balanced)| {
        let options = &held.options;
        let server = |GroupMember { to: member, weight }: &GroupMember| {
            let client = router.clients.get(&member.vm).filter(|client| client.served)?;
            let nic = client.nics.iter().find(|nic| nic.nic == member.nic)?;
            let there = nic.l3_network == member.l3_network && router.gives_balancing(nic.l3_network);
            let ip = nic.ipv4().filter(|_| there)?.ip;
            Some(BackendServer { ip: ip.into(), port: options.instance_port, weight: *weight })
        };
        let servers = |groups: &[ServerGroupId]| {
            let mut servers: Vec<BackendServer> = balancer.members_of(groups).filter_map(server).collect();
            servers.sort();
            servers
        };
        let rules = held.redirects();
        let apart: BTreeSet<&ServerGroupId> = rules.iter().flat_map(|(_, _, groups)| *groups).collect();
        let others: Vec<ServerGroupId> = held.groups.iter().filter(|group| !apart.contains(group)).copied().collect();
        let redirect = |(list, rule, groups): &(AccessControlListId, &RedirectRule, &[ServerGroupId])| Redirect {
            list: *list,
            host: rule.domain.as_ref().map(|domain| held.host(domain)),
            path: rule.url.clone(),
            servers: servers(groups),
        };
        let https = held.certificate.as_ref().filter(|_| options.protocol == ListenerProtocol::Https);
        let tls = https.map(|(certificate, _)| Tls { certificate: *certificate, policy: options.tls });
        ListenerConfig {
            listener: *listener,
            load_balancer: id,
            addresses: vec![balancer.at.ip],
            port: options.port,
            protocol: options.protocol,
            algorithm: options.algorithm,
            persistence: options.persistence.clone(),
            max_connections: options.max_connections,
            processes: options.processes,
            idle_timeout: options.idle_timeout,
            health: options.health.clone(),
            servers: servers(&others),
            redirects: rules.iter().map(redirect).collect(),
            access: held.access(),
            proxy_protocol: options.proxy_protocol,
            http: HttpOptions {
                connections: options.connections,
                h2: options.h2,
                compression: options.compression.clone(),
                to_https: options.to_https,
            },
            tls,
        }
    };
    // Nobody speaks https without a certificate.
    let speaks = |held: &Balanced| held.options.protocol != ListenerProtocol::Https || held.certificate.is_some();
    balancer.listeners.iter().filter(|(_, held)| speaks(held)).map(listener).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Log, id, network, nic, router, vm};

    fn scene() -> Log {
        let mut log = Log::default();
        network(&mut log, "public", &[]);
        network(&mut log, "guest", &[NetworkServiceType::LoadBalancer]);
        let nics = vec![
            nic("public", [203, 0, 113, 9], 0, Nic::PUBLIC | Nic::MANAGEMENT),
            nic("guest", [10, 0, 0, 1], 1, Nic::GUEST),
        ];
        log.add("router", router(nics));
        log.add("vm", vm("vm", vec![nic("guest", [10, 0, 0, 7], 0, 0)]));
        let created = LoadBalancerEvent::Created {
            name: "lb".to_string(),
            description: None,
            at: VipPlace { vip: id("vip"), l3_network: id("public"), ip: [203, 0, 113, 50].into(), prefix_length: 24 },
        };
        log.add("lb", created);
        let options = ListenerOptions {
            port: 80,
            instance_port: 8080,
            protocol: ListenerProtocol::Tcp,
            algorithm: BalancerAlgorithm::RoundRobin,
            persistence: Persistence::Off,
            max_connections: 10,
            processes: 1,
            idle_timeout: 60,
            health: HealthCheck {
                target: HealthTarget::Tcp,
                port: None,
                interval: 5,
                timeout: 2,
                healthy: 2,
                unhealthy: 6,
            },
            proxy_protocol: None,
            connections: HttpConnections::KeepAlive,
            compression: vec![],
            to_https: None,
            tls: TlsPolicy::Default,
            h2: false,
            lists_off: false,
        };
        let l3_networks = vec![id("public")];
        let (name, description) = ("web".to_string(), None);
        log.add(
            "lb",
            LoadBalancerEvent::ListenerCreated {
                listener: id("web"),
                name,
                description,
                options,
                group: id("own"),
                l3_networks,
            },
        );
        log
    }

    fn fold_of(log: &Log) -> RouterFold {
        let mut fold = RouterFold::default();
        log.events.iter().for_each(|event| fold.apply(event));
        fold
    }

    fn put(group: &str, weight: u8) -> LoadBalancerEvent {
        let to = ServedNic { nic: id("nic guest 10.0.0.7"), vm: id("vm"), l3_network: id("guest") };
        let (group, members) = (id(group), vec![GroupMember { to, weight }]);
        let l3_networks = vec![id("public"), id("guest")];
        LoadBalancerEvent::MembersPut { group, listener: None, members, l3_networks }
    }

    #[test]
    fn a_listener_is_there_with_its_first_nic_and_follows_the_vm() {
        let mut log = scene();
        let before = fold_of(&log);
        assert!(before.config().unwrap().sections.load_balancer.is_empty() && before.balanced_vips().is_empty());
        let position = log.add("lb", put("own", 100));
        let fold = fold_of(&log);
        let sections = fold.config().unwrap().sections;
        assert_eq!(fold.revision, position);
        assert_eq!(sections.load_balancer.listeners[0].servers[0].ip, std::net::IpAddr::from([10, 0, 0, 7]));
        assert_eq!(sections.vips.addresses[0].address, "203.0.113.50/24".parse().unwrap());
        let l3_networks = || vec![id("guest")];
        log.add("vm", VmInstanceEvent::Stopped { l3_networks: l3_networks() });
        let stopped = fold_of(&log).config().unwrap().sections;
        assert!(stopped.load_balancer.listeners[0].servers.is_empty());
        let (listener, group) = (id("web"), id("own"));
        log.add("lb", LoadBalancerEvent::ListenerDeleted { listener, group, l3_networks: l3_networks() });
        assert!(fold_of(&log).config().unwrap().sections.load_balancer.is_empty());
    }

    #[test]
    fn a_listener_hands_on_to_the_groups_that_it_has_and_with_their_weights() {
        let mut log = scene();
        log.add("lb", put("blue", 20));
        assert!(fold_of(&log).config().unwrap().sections.load_balancer.is_empty());
        let (listener, group, l3_networks) = (id("web"), id("blue"), vec![id("guest")]);
        log.add("lb", LoadBalancerEvent::GroupAdded { listener, group, l3_networks: l3_networks.clone() });
        let server = |log: &Log| fold_of(log).config().unwrap().sections.load_balancer.listeners[0].servers.clone();
        assert_eq!(server(&log).iter().map(|server| server.weight).collect::<Vec<u8>>(), [20]);
        log.add("lb", put("blue", 0));
        assert_eq!(server(&log)[0].weight, 0);
        log.add("lb", LoadBalancerEvent::GroupRemoved { listener, group, l3_networks });
        assert!(fold_of(&log).config().unwrap().sections.load_balancer.is_empty());
    }

    #[test]
    fn a_listener_of_https_is_there_as_long_as_it_has_a_certificate() {
        let mut log = scene();
        log.add("lb", put("own", 100));
        let listener = |log: &mut Log, protocol| {
            let section = fold_of(log).config().unwrap().sections.load_balancer;
            assert_eq!(section.listeners.len(), usize::from(protocol));
            section
        };
        let section = listener(&mut log, true);
        assert!(section.listeners[0].tls.is_none() && section.certificates.is_empty());
        let held = fold_of(&log).balancers.values().next().unwrap().listeners.values().next().unwrap().options.clone();
        let options = ListenerOptions { protocol: ListenerProtocol::Https, h2: true, ..held };
        log.add("lb", LoadBalancerEvent::ListenerChanged { listener: id("web"), options, l3_networks: vec![] });
        listener(&mut log, false);
        for name in ["one", "two"] {
            let (certificate, digest) = (id(name), name.to_string());
            let l3_networks = vec![id("guest")];
            log.add(
                "lb",
                LoadBalancerEvent::CertificateAdded { listener: id("web"), certificate, digest, l3_networks },
            );
            let section = listener(&mut log, true);
            assert_eq!(section.listeners[0].tls, Some(Tls { certificate, policy: TlsPolicy::Default }));
            assert!(section.listeners[0].http.h2);
            let digest = name.to_string();
            assert_eq!(section.certificates, [CertificateConfig { certificate, digest, pem: None }]);
        }
        let (certificate, l3_networks) = (id("two"), vec![id("guest")]);
        log.add("lb", LoadBalancerEvent::CertificateRemoved { listener: id("web"), certificate, l3_networks });
        assert!(listener(&mut log, false).certificates.is_empty());
    }

    #[test]
    fn redirected_requests_go_to_their_groups_and_the_most_exact_rule_counts() {
        let mut log = scene();
        let (listener, l3_networks) = (id("web"), vec![id("guest")]);
        let added = |group| LoadBalancerEvent::GroupAdded { listener, group, l3_networks: l3_networks.clone() };
        log.add("lb", added(id("blue")));
        log.add("lb", put("blue", 100));
        let rules = [
            ("any path", None, Some("/")),
            ("path", None, Some("/shop")),
            ("all names", Some("*.example.com"), None),
            ("name", Some("a.example.com"), None),
            ("both", Some("a.example.com"), Some("/shop")),
        ];
        for (name, domain, url) in rules {
            let rule = RedirectRule { domain: domain.map(str::to_string), url: url.map(str::to_string) };
            let access = ListenerAccess::Redirect { rule, groups: vec![id("blue")] };
            let l3_networks = l3_networks.clone();
            log.add("lb", LoadBalancerEvent::AccessListPut { listener, list: id(name), access, l3_networks });
        }
        let told = |log: &Log| fold_of(log).config().unwrap().sections.load_balancer.listeners[0].clone();
        let listed = |log: &Log| told(log).redirects.into_iter().map(|one| (one.host, one.path)).collect::<Vec<_>>();
        let words = |name: &str, path: &str| {
            let word = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
            (word(name), word(path))
        };
        let expected =
            [("a.example.com", "/shop"), ("a.example.com", ""), ("*.example.com", ""), ("", "/shop"), ("", "/")];
        assert_eq!(listed(&log), expected.map(|(name, path)| words(name, path)));
        // What a redirect has, nothing else goes to.
        assert!(told(&log).servers.is_empty());
        assert!(told(&log).redirects.iter().all(|redirect| redirect.servers.len() == 1));
        // The port is in the header where it is not the usual one.
        for (protocol, port, host) in [
            (ListenerProtocol::Http, 8903, "a.example.com:8903"),
            (ListenerProtocol::Http, 443, "a.example.com:443"),
            (ListenerProtocol::Https, 443, "a.example.com"),
            (ListenerProtocol::Https, 80, "a.example.com:80"),
        ] {
            let held = fold_of(&log).balancers.values().next().unwrap().listeners[&listener].options.clone();
            let options = ListenerOptions { protocol, port, ..held };
            let l3_networks = l3_networks.clone();
            log.add("lb", LoadBalancerEvent::ListenerChanged { listener, options, l3_networks });
            let (certificate, digest, l3_networks) = (id("one"), "one".to_string(), vec![id("guest")]);
            log.add("lb", LoadBalancerEvent::CertificateAdded { listener, certificate, digest, l3_networks });
            assert_eq!(listed(&log)[0], words(host, "/shop"));
        }
        for (name, ..) in rules {
            let l3_networks = l3_networks.clone();
            log.add("lb", LoadBalancerEvent::AccessListRemoved { listener, list: id(name), l3_networks });
        }
        assert!(told(&log).redirects.is_empty() && told(&log).servers.len() == 1);
    }

    #[test]
    fn lists_say_who_may_come_and_no_prefix_is_in_another() {
        let mut log = scene();
        log.add("lb", put("own", 100));
        let listener = id("web");
        let access = |log: &Log| {
            let access = fold_of(log).config().unwrap().sections.load_balancer.listeners[0].access.clone();
            access.map(|access| (access.allow, access.sources.iter().map(ToString::to_string).collect::<Vec<_>>()))
        };
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(access(&log), None);
        let mut on = |list, access| {
            let l3_networks = vec![id("guest")];
            log.add("lb", LoadBalancerEvent::AccessListPut { listener, list, access, l3_networks });
        };
        on(id("one"), ListenerAccess::White { sources: nets(&["192.0.2.7/32", "198.51.100.0/24"]) });
        on(id("two"), ListenerAccess::White { sources: nets(&["192.0.2.0/24"]) });
        assert_eq!(access(&log), Some((true, vec!["192.0.2.0/24".to_string(), "198.51.100.0/24".to_string()])));
        let (listeners, l3_networks) = (vec![listener], vec![id("guest")]);
        let sources = nets(&["203.0.113.0/24"]);
        log.add("lb", LoadBalancerEvent::AccessListChanged { list: id("one"), listeners, sources, l3_networks });
        assert_eq!(access(&log), Some((true, vec!["192.0.2.0/24".to_string(), "203.0.113.0/24".to_string()])));
        let held = fold_of(&log).balancers.values().next().unwrap().listeners[&listener].options.clone();
        for (lists_off, counts) in [(true, false), (false, true)] {
            let (options, l3_networks) = (ListenerOptions { lists_off, ..held.clone() }, vec![id("guest")]);
            log.add("lb", LoadBalancerEvent::ListenerChanged { listener, options, l3_networks });
            assert_eq!(access(&log).is_some(), counts);
        }
        for list in [id("one"), id("two")] {
            log.add("lb", LoadBalancerEvent::AccessListRemoved { listener, list, l3_networks: vec![id("guest")] });
        }
        assert_eq!(access(&log), None);
        // Nobody is in it: nobody comes.
        let (access, l3_networks) = (ListenerAccess::White { sources: vec![] }, vec![id("guest")]);
        log.add("lb", LoadBalancerEvent::AccessListPut { listener, list: id("one"), access, l3_networks });
        let listeners = fold_of(&log).config().unwrap().sections.load_balancer.listeners;
        assert_eq!(listeners[0].access, Some(Access { allow: true, sources: vec![] }));
    }

    #[test]
    fn a_router_elsewhere_knows_nothing_of_it() {
        let mut log = Log::default();
        network(&mut log, "other", &[NetworkServiceType::LoadBalancer]);
        network(&mut log, "public", &[]);
        let nics = vec![
            nic("public", [203, 0, 113, 8], 0, Nic::PUBLIC | Nic::MANAGEMENT),
            nic("other", [10, 1, 0, 1], 1, Nic::GUEST),
        ];
        let born = log.add("router", router(nics));
        let mut fold = fold_of(&log);
        let created = LoadBalancerEvent::Created {
            name: "lb".to_string(),
            description: None,
            at: VipPlace { vip: id("vip"), l3_network: id("public"), ip: [203, 0, 113, 50].into(), prefix_length: 24 },
        };
        assert!(!apply(&mut fold, id("lb"), &created));
        assert!(!apply(&mut fold, id("lb"), &put("own", 100)));
        assert_eq!(fold.revision, born);
    }
}
