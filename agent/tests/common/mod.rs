//! Documents that the tests share.

#![allow(dead_code)]

use ipnet::{IpNet, Ipv4Net};
use std::net::Ipv4Addr;
use switchback_appliance::{
    BackendServer, BalancerAlgorithm, DhcpConfig, DhcpHost, DhcpNetwork, DnsConfig, DnsName, FirewallConfig,
    ForwardRule, HealthCheck, HealthTarget, HttpOptions, InputRule, InterfacesConfig, ListenerConfig, ListenerProtocol,
    Persistence, Protocol, RouterConfig, RouterNic, Sections, SnatConfig, SnatRule,
};
use switchback_events::{Id, L3NetworkId, LoadBalancerId, LoadBalancerListenerId, Mac, Nic, RouterId};

pub const PORT: u16 = 7272;

pub fn mac(last: u16) -> Mac {
    let [high, low] = last.to_be_bytes();
    Mac([0xfa, 0, 0, 0, high, low])
}

pub fn guests() -> L3NetworkId {
    L3NetworkId(Id::of_name("guests"))
}

fn nic(name: &str, last: u16, ip: [u8; 4], prefix_length: u8, meta_data: u8) -> RouterNic {
    RouterNic {
        name: name.to_string(),
        mac: mac(last),
        addresses: vec![IpNet::new(Ipv4Addr::from(ip).into(), prefix_length).unwrap()],
        meta_data,
        l3_network: L3NetworkId(Id::of_name(name)),
        mtu: 1500,
    }
}

/// `clients` VMs from 10.0.0.11 on, on a /16 behind `eth1`; public `eth0`; management `eth2`.
pub fn router(router: RouterId, clients: u16) -> RouterConfig {
    let subnet: Ipv4Net = "10.0.0.0/16".parse().unwrap();
    let gateway = Ipv4Addr::new(10, 0, 0, 1);
    let address = |number: u16| {
        let [high, low] = (number + 10).to_be_bytes();
        Ipv4Addr::new(10, 0, high, low)
    };
    let host = |number: u16| DhcpHost {
        ip: Some(address(number)),
        ip6: None,
        mac: mac(1000 + number),
        hostname: format!("vm{number}"),
        l3_network: guests(),
    };
    let name = |number: u16| DnsName {
        ip: address(number).into(),
        hostname: format!("vm{number}"),
        domain: Some("vpc.local".to_string()),
    };
    let input = |interface: &str, protocol, port| InputRule { interface: interface.to_string(), protocol, port };
    let sections = Sections {
        interfaces: InterfacesConfig {
            nics: vec![
                nic("eth0", 10, [203, 0, 113, 1], 24, Nic::PUBLIC),
                nic("eth1", 11, gateway.octets(), 16, Nic::GUEST),
                nic("eth2", 12, [172, 20, 0, 2], 24, Nic::MANAGEMENT),
            ],
            default_gateway: Some(Ipv4Addr::new(203, 0, 113, 254)),
            default_gateway6: None,
        },
        dhcp: DhcpConfig {
            networks: vec![DhcpNetwork {
                interface: "eth1".to_string(),
                l3_network: guests(),
                subnet,
                gateway,
                server: gateway,
                dns_servers: vec![gateway],
                routes: vec![],
                domain: Some("vpc.local".to_string()),
                mtu: 1450,
                lease_time: 3600,
            }],
            networks6: vec![],
            hosts: (1..=clients).map(host).collect(),
        },
        dns: DnsConfig {
            interfaces: vec!["eth1".to_string()],
            names: (1..=clients).map(name).collect(),
            upstreams: vec![Ipv4Addr::new(203, 0, 113, 254).into()],
        },
        snat: SnatConfig {
            rules: vec![SnatRule {
                source: subnet,
                interface: "eth0".to_string(),
                public_ip: Ipv4Addr::new(203, 0, 113, 1),
            }],
        },
        firewall: FirewallConfig {
            input: vec![
                input("eth1", Protocol::Tcp, 53),
                input("eth1", Protocol::Udp, 53),
                input("eth1", Protocol::Udp, 67),
                input("eth2", Protocol::Tcp, PORT),
            ],
            forward: vec![ForwardRule { from: "eth1".to_string(), to: "eth0".to_string() }],
        },
        ..Sections::default()
    };
    RouterConfig { router, revision: 1, sections }
}

pub fn server(ip: [u8; 4], port: u16) -> BackendServer {
    BackendServer { ip: ip.into(), port, weight: 100 }
}

/// A listener on the router's public address.
pub fn listener(port: u16, protocol: ListenerProtocol, servers: Vec<BackendServer>) -> ListenerConfig {
    let target = if protocol == ListenerProtocol::Udp { HealthTarget::Udp } else { HealthTarget::Tcp };
    ListenerConfig {
        listener: LoadBalancerListenerId(Id::of_name(&format!("listener {port}"))),
        load_balancer: LoadBalancerId(Id::of_name("load balancer")),
        addresses: vec![[203, 0, 113, 1].into()],
        port,
        protocol,
        algorithm: BalancerAlgorithm::RoundRobin,
        persistence: Persistence::Off,
        max_connections: 2000,
        processes: 1,
        idle_timeout: 60,
        health: HealthCheck { target, port: None, interval: 1, timeout: 1, healthy: 1, unhealthy: 1 },
        servers,
        redirects: vec![],
        access: None,
        proxy_protocol: None,
        http: HttpOptions::default(),
        tls: None,
    }
}
