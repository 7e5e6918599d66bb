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
    let rewrite = ListenerOptions { persistence: Persistence::Rewrite { cookie: text("SRV") }, ..full.clone() };
    for (case, description, options) in [
        ("full", some("d"), full.clone()),
        ("sparse", None, plain.clone()),
        ("udp", None, udp),
        ("rewrite", None, rewrite),
        ("https", None, https),
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
