//! Events of load balancers, and of the certificates that they show.

use crate::{id, some, text};
use switchback_events::*;

/// A sample of every event.
pub fn samples(add: &mut dyn FnMut(&str, Event)) {
    use LoadBalancerEvent as Lb;
    let (listener, group, vip, l3_networks) = (id(0x51), id(0x52), id(0x50), vec![id(0x22), id(0x23)]);
    let at = VipPlace { vip, l3_network: id(0x22), ip: [203, 0, 113, 9].into(), prefix_length: 24 };
    let created = |description| Lb::Created { name: text("lb"), description, at };
    add("full", created(some("d")).into());
    add("sparse", created(None).into());
    add("full", Lb::Updated { name: some("lb"), description: some("d") }.into());
    add("sparse", Lb::Updated { name: None, description: None }.into());
    let plain = ListenerOptions {
        port: 80,
        instance_port: 8080,
        protocol: ListenerProtocol::Tcp,
        algorithm: BalancerAlgorithm::RoundRobin,
        persistence: Persistence::Off,
        max_connections: 200_000,
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
    let target = HealthTarget::Http { method: HttpMethod::HEAD, uri: text("/health"), codes: vec![2, 3] };
    let full = ListenerOptions {
        protocol: ListenerProtocol::Http,
        algorithm: BalancerAlgorithm::LeastConn,
        persistence: Persistence::Insert { cookie: text("SRV"), idle: 300 },
        health: HealthCheck { target, port: Some(8081), ..plain.health.clone() },
        proxy_protocol: Some(ProxyProtocol::V2),
        connections: HttpConnections::ServerClose,
        compression: vec![Compression::Gzip, Compression::RawDeflate],
        to_https: Some(ToHttps { port: 443, status: 302 }),
        ..plain.clone()
    };
    let udp = ListenerOptions {
        protocol: ListenerProtocol::Udp,
        algorithm: BalancerAlgorithm::Source,
        persistence: Persistence::Source { idle: 60 },
        health: HealthCheck { target: HealthTarget::Udp, ..plain.health.clone() },
        ..plain.clone()
    };
    let https =
        ListenerOptions { protocol: ListenerProtocol::Https, tls: TlsPolicy::Strict12And13, h2: true, ..full.clone() };
    let unlisted = ListenerOptions { lists_off: true, ..plain.clone() };
    let rewrite = ListenerOptions { persistence: Persistence::Rewrite { cookie: text("SRV") }, ..full.clone() };
    for (case, description, options) in [
        ("full", some("d"), full.clone()),
        ("sparse", None, plain.clone()),
        ("udp", None, udp),
        ("rewrite", None, rewrite),
        ("https", None, https),
        ("lists-off", None, unlisted),
    ] {
        let l3_networks = l3_networks.clone();
        add(case, Lb::ListenerCreated { listener, name: text("web"), description, options, group, l3_networks }.into());
    }
    add("full", Lb::ListenerUpdated { listener, name: some("web"), description: some("d") }.into());
    add("sparse", Lb::ListenerUpdated { listener, name: None, description: None }.into());
    add("full", Lb::ListenerChanged { listener, options: full, l3_networks: l3_networks.clone() }.into());
    let (certificate, digest) = (id(0x53), text(&"a".repeat(64)));
    add(
        "full",
        Lb::CertificateAdded { listener, certificate, digest: digest.clone(), l3_networks: l3_networks.clone() }.into(),
    );
    add("full", Lb::CertificateRemoved { listener, certificate, l3_networks: l3_networks.clone() }.into());
    let made = |description| CertificateEvent::Created {
        name: text("web"),
        description,
        chain: text("-----BEGIN CERTIFICATE-----\n"),
        digest: digest.clone(),
        key: SealedSecret::new([1, 2, 3]),
    };
    add("full", made(some("d")).into());
    add("sparse", made(None).into());
    add("full", CertificateEvent::Updated { name: some("web"), description: some("d") }.into());
    add("sparse", CertificateEvent::Updated { name: None, description: None }.into());
    add("full", CertificateEvent::Deleted {}.into());
    access_lists(add, listener, group, &l3_networks);
    add("full", Lb::GroupCreated { group, name: text("blue"), description: some("d") }.into());
    add("sparse", Lb::GroupCreated { group, name: text("blue"), description: None }.into());
    add("full", Lb::GroupUpdated { group, name: some("blue"), description: some("d") }.into());
    add("sparse", Lb::GroupUpdated { group, name: None, description: None }.into());
    add("full", Lb::GroupAdded { listener, group, l3_networks: l3_networks.clone() }.into());
    let members = vec![GroupMember { to: ServedNic { nic: id(33), vm: id(34), l3_network: id(0x23) }, weight: 20 }];
    for (case, listener) in [("full", Some(listener)), ("sparse", None)] {
        let (members, l3_networks) = (members.clone(), l3_networks.clone());
        add(case, Lb::MembersPut { group, listener, members, l3_networks: l3_networks.clone() }.into());
        add(case, Lb::MembersRemoved { group, listener, nics: vec![id(33)], l3_networks }.into());
    }
    add("full", Lb::GroupRemoved { listener, group, l3_networks: l3_networks.clone() }.into());
    add("full", Lb::GroupDeleted { group }.into());
    add("full", Lb::ListenerDeleted { listener, group, l3_networks: l3_networks.clone() }.into());
    add("full", Lb::Deleted { vip, l3_networks }.into());
}

fn access_lists(
    add: &mut dyn FnMut(&str, Event),
    listener: LoadBalancerListenerId,
    group: ServerGroupId,
    l3_networks: &[L3NetworkId],
) {
    use AccessControlListEvent as List;
    use LoadBalancerEvent as Lb;
    let (list, entry) = (id(0x54), id(0x55));
    let sources = || vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let both = RedirectRule { domain: some("*.example.com"), url: some("/shop") };
    let rules = [
        ("domain-and-url", both.clone()),
        ("domain", RedirectRule { url: None, ..both.clone() }),
        ("url", RedirectRule { domain: None, ..both.clone() }),
    ];
    add("full", List::Created { name: text("friends"), description: some("d") }.into());
    add("sparse", List::Created { name: text("friends"), description: None }.into());
    add("full", List::Deleted {}.into());
    for (case, description) in [("full", some("d")), ("sparse", None)] {
        let (entries, sources) = (text("192.0.2.0-192.0.2.255,2001:db8::/32"), sources());
        add(case, List::EntryAdded { entry, entries, sources, description }.into());
    }
    for (case, rule) in rules.clone() {
        add(case, List::RuleAdded { entry, name: some("shop"), description: some("d"), rule }.into());
    }
    add("sparse", List::RuleAdded { entry, name: None, description: None, rule: both }.into());
    add("full", List::RuleRenamed { entry, name: text("shop") }.into());
    add("full", List::EntryRemoved { entry }.into());
    let put = |access| Lb::AccessListPut { listener, list, access, l3_networks: l3_networks.to_vec() };
    add("white", put(ListenerAccess::White { sources: sources() }).into());
    add("black", put(ListenerAccess::Black { sources: sources() }).into());
    for (case, rule) in rules {
        add(case, put(ListenerAccess::Redirect { rule, groups: vec![group] }).into());
    }
    let (listeners, l3_networks) = (vec![listener], l3_networks.to_vec());
    let changed = Lb::AccessListChanged { list, listeners, sources: sources(), l3_networks: l3_networks.clone() };
    add("full", changed.into());
    add("full", Lb::AccessListRemoved { listener, list, l3_networks }.into());
}
