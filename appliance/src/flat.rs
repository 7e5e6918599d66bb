//! The provider `Flat`: the host of a VM gives it DHCP and DNS itself, from a namespace for each network, at an address of
//! that network which is the same on every host; and EIPs, from a namespace for each, which is the VM's gateway to the VIP's
//! network. What is served there is what a router would serve, by the same folds and
//! the same agent's services; only what differs is here.
//!
//! **Invariant:** a host serves the VMs that it carries, and no others.

use crate::{
    config::Sections,
    dhcp, dns, firewall, interfaces,
    network_service_provider::{Dhcp, Dns, Eips, Place, Provider, Seat},
};
use std::net::{IpAddr, Ipv4Addr};
use switchback_events::{
    EipId, Id, L2NetworkId, L3NetworkId, Mac, NetworkServiceProviderId, NetworkServiceType, Nic, NicAddress, NicId,
    built_in_provider,
};

/// The provider `Flat`.
pub struct Flat;

impl Dhcp for Flat {
    /// As a router's. With DNS, clients ask the host first, which knows the VMs' names, and then the network's own name
    /// servers themselves: a host cannot ask those for them, since its address is on every host.
    fn dhcp(&self, place: &Place) -> crate::DhcpConfig {
        let mut config = dhcp::fold(place);
        for told in &mut config.networks {
            let network = place.network(told.l3_network);
            if network.services.contains(&NetworkServiceType::DNS) {
                let own = network.dns.iter().filter_map(|server| match server {
                    IpAddr::V4(server) => Some(*server),
                    IpAddr::V6(_) => None,
                });
                let own: Vec<Ipv4Addr> = own.filter(|server| !told.dns_servers.contains(server)).collect();
                told.dns_servers.extend(own);
            }
        }
        config
    }
}

impl Dns for Flat {
    /// The names of the VMs, and no others.
    fn dns(&self, place: &Place) -> crate::DnsConfig {
        crate::DnsConfig { upstreams: vec![], ..dns::fold(place) }
    }
}

impl Eips for Flat {}

impl Provider for Flat {
    fn provider_type(&self) -> &str {
        "Flat"
    }
    fn seat(&self) -> Seat<'_> {
        Seat::Hosts
    }
    fn dhcp(&self) -> Option<&dyn Dhcp> {
        Some(self)
    }
    fn dns(&self) -> Option<&dyn Dns> {
        Some(self)
    }
    fn eips(&self) -> Option<&dyn Eips> {
        Some(self)
    }
    fn services(&self) -> Vec<NetworkServiceType> {
        // DHCP tells of the network's host routes, whoever asks for it.
        use NetworkServiceType::{DHCP, DNS, Eip, HostRoute};
        vec![DHCP, DNS, Eip, HostRoute]
    }
}

/// Its record.
pub(crate) fn provider() -> NetworkServiceProviderId {
    built_in_provider("Flat")
}

/// The nic by which a host serves a network: the same on each of them.
pub(crate) fn nic(l3_network: L3NetworkId, l2_network: L2NetworkId, address: NicAddress) -> Nic {
    let own = made_up(&format!("flat/{l3_network}"), "flat", (l3_network, l2_network), address);
    Nic { meta_data: Nic::GUEST, ..own }
}

/// The nics of the namespace of an EIP: the gateway of the VM's nic, and the VIP.
pub(crate) fn nics_of_eip(
    eip: EipId,
    (guest, guest_l2, gateway): (L3NetworkId, L2NetworkId, NicAddress),
    (public, public_l2, vip): (L3NetworkId, L2NetworkId, NicAddress),
) -> [Nic; 2] {
    let inside = made_up(&format!("flat/{eip}/inside"), "eipi", (guest, guest_l2), gateway);
    let outside = made_up(&format!("flat/{eip}/outside"), "eipo", (public, public_l2), vip);
    [Nic { meta_data: Nic::GUEST, ..inside }, Nic { meta_data: Nic::PUBLIC, device_id: 1, ..outside }]
}

/// A nic that nobody has a record of: its name and its hardware address are made of what it is for.
fn made_up(name: &str, prefix: &str, (l3_network, l2_network): (L3NetworkId, L2NetworkId), address: NicAddress) -> Nic {
    let id = Id::of_name(name);
    let [_, a, b, c, d, e, ..] = id.0;
    Nic {
        nic: NicId(id),
        l3_network,
        l2_network,
        // No group's, and none that a manufacturer gave.
        mac: Mac([0x06, a, b, c, d, e]),
        addresses: vec![address],
        device_id: 0,
        internal_name: format!("{prefix}{}", id.tail()),
        meta_data: 0,
    }
}

/// What a host serves there.
pub(crate) fn sections(place: &Place) -> Sections {
    Sections {
        interfaces: interfaces::fold(place),
        dhcp: Dhcp::dhcp(&Flat, place),
        dns: Dns::dns(&Flat, place),
        firewall: firewall::fold(place),
        ..Sections::default()
    }
}

/// What the namespace of an EIP does. The VIP is its own address there: it has no other.
pub(crate) fn sections_of_eip(place: &Place) -> Sections {
    Sections { interfaces: interfaces::fold(place), eips: Eips::eips(&Flat, place), ..Sections::default() }
}
