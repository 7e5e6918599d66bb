//! A small log for tests: a host, a cluster, networks, a router, VMs.

use std::net::Ipv4Addr;
use switchback_events::*;

/// A log under way: events get their positions and versions here.
#[derive(Default)]
pub(crate) struct Log {
    pub events: Vec<Recorded>,
}

pub(crate) fn id<T: From<Id>>(name: &str) -> T {
    T::from(Id::of_name(name))
}

impl Log {
    /// Appends an event on the stream of the resource `name`.
    pub fn add(&mut self, name: &str, event: impl Into<Event>) -> Position {
        let event = event.into();
        let stream = StreamKey::new(event.stream_kind(), Id::of_name(name));
        let version = 1 + self.events.iter().filter(|other| other.stream == stream).count() as u64;
        let position = self.events.len() as u64 + 1;
        let tags = event.tags(stream);
        self.events.push(Recorded { position, stream, version, event, tags });
        position
    }
}

/// A nic of the network `l3` on the L2 network of the same name.
pub(crate) fn nic(l3: &str, ip: [u8; 4], device_id: u8, meta_data: u8) -> Nic {
    let ip = Ipv4Addr::from(ip);
    Nic {
        nic: id(&format!("nic {l3} {ip}")),
        l3_network: id(l3),
        l2_network: id(l3),
        mac: Mac([0xfa, 0, 0, 0, ip.octets()[3], device_id]),
        addresses: vec![NicAddress {
            ip: ip.into(),
            prefix_length: 24,
            gateway: Ipv4Addr::new(ip.octets()[0], ip.octets()[1], ip.octets()[2], 1).into(),
            ip_range: id("range"),
            used_ip: Id::NIL,
        }],
        device_id,
        internal_name: format!("vnic{}.{device_id}", ip.octets()[3]),
        meta_data,
    }
}

/// A network with services of the virtual router.
pub(crate) fn network(log: &mut Log, name: &str, services: &[NetworkServiceType]) {
    let created = L3NetworkEvent::Created {
        zone: id("zone"),
        l2_network: id(name),
        name: name.to_string(),
        description: None,
        category: L3NetworkCategory::Private,
        system: false,
        dns_domain: Some("cloud.example".to_string()),
    };
    log.add(name, created);
    log.add(
        name,
        L3NetworkEvent::ServicesAttached { provider: built_in_provider("VirtualRouter"), services: services.to_vec() },
    );
}

pub(crate) fn router(nics: Vec<Nic>) -> RouterEvent {
    RouterEvent::Created {
        zone: id("zone"),
        cluster: id("cluster"),
        host: id("host"),
        hypervisor_type: HypervisorType::Simulator,
        name: "router".to_string(),
        offering: id("offering"),
        image: id("image"),
        management_network: nics[0].l3_network,
        public_network: nics.iter().find(|nic| nic.is(Nic::PUBLIC)).unwrap_or(&nics[0]).l3_network,
        default_route_network: nics.iter().find(|nic| nic.is(Nic::PUBLIC)).unwrap_or(&nics[0]).l3_network,
        nics,
    }
}

pub(crate) fn vm(hostname: &str, nics: Vec<Nic>) -> VmInstanceEvent {
    VmInstanceEvent::Created {
        zone: id("zone"),
        cluster: id("cluster"),
        host: id("host"),
        hypervisor_type: HypervisorType::Simulator,
        name: hostname.to_string(),
        description: None,
        hostname: hostname.to_string(),
        image: None,
        offering: None,
        default_l3_network: nics[0].l3_network,
        nics,
    }
}

/// The router's agent has the configuration of `revision`.
pub(crate) fn connected(revision: Position) -> RouterEvent {
    RouterEvent::Connected { agent_digest: "agent".to_string(), revision, config_digest: "config".to_string() }
}
