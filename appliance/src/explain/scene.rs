//! What packets go through: a router's configuration, the nics of VMs around it, and what is filtered there.

use crate::{InterfacesConfig, RouterFold, RouterNic, Sections, SecurityConfig};
use ipnet::IpNet;
use std::net::IpAddr;
use switchback_events::{L3NetworkId, Nic, NicId, VipId, VmInstanceId};

/// What packets go through.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The router.
    pub sections: &'a Sections,
    /// The nics of VMs on its networks.
    pub ends: &'a [End],
    /// What is filtered at those nics, on whichever host they are.
    pub filters: &'a SecurityConfig,
}

/// A nic of a VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// The VM.
    pub vm: VmInstanceId,
    /// The nic.
    pub nic: NicId,
    /// Its network.
    pub l3_network: L3NetworkId,
    /// Its end at the host, by which filters name it.
    pub internal_name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its VM runs, or is about to.
    pub runs: bool,
    /// It carries what it is given: it is not disabled, and its VM is not paused.
    pub carries: bool,
    /// Its VM sends by it what is for no network of its own.
    pub default: bool,
}

impl End {
    /// The nics of VMs that a router's fold knows. All of them carry, and each is its VM's way out.
    pub fn of(fold: &RouterFold) -> Vec<End> {
        let own = fold.own_networks();
        let mut ends = Vec::new();
        for (vm, client) in &fold.clients {
            for nic in client.nics.iter().filter(|nic| own.contains(&nic.l3_network)) {
                ends.push(End {
                    vm: *vm,
                    nic: nic.nic,
                    l3_network: nic.l3_network,
                    internal_name: nic.internal_name.clone(),
                    addresses: nic.addresses.iter().map(|address| address.ip).collect(),
                    runs: client.served,
                    carries: true,
                    default: true,
                });
            }
        }
        ends
    }
}

/// Where a router's kernel sends what is for an address.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Route<'a> {
    /// It is one of its own: of this interface, and perhaps of a VIP.
    Local(&'a RouterNic, Option<VipId>),
    /// It stands for everybody behind this interface.
    Broadcast(&'a RouterNic),
    /// Out by this interface, to this neighbour.
    Out(&'a RouterNic, IpAddr),
    /// Nowhere.
    None,
}

impl RouterNic {
    /// It is for management only: nobody comes from there to the services of VIPs.
    pub fn is_management_only(&self) -> bool {
        self.meta_data == Nic::MANAGEMENT
    }

    /// Only guests are behind it: they are held to addresses of their subnet.
    pub fn is_guests_only(&self) -> bool {
        self.is(Nic::GUEST) && !self.is(Nic::PUBLIC) && !self.is(Nic::MANAGEMENT)
    }

    pub(super) fn address(&self, v4: bool) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|ip| ip.is_ipv4() == v4)
    }
}

impl<'a> Scene<'a> {
    pub(super) fn interfaces(&self) -> &'a InterfacesConfig {
        &self.sections.interfaces
    }

    pub(super) fn interface(&self, name: &str) -> Option<&'a RouterNic> {
        self.interfaces().nics.iter().find(|nic| nic.name == name)
    }

    /// The router's interface on a network.
    pub fn on_network(&self, l3: L3NetworkId) -> Option<&'a RouterNic> {
        self.interfaces().nics.iter().find(|nic| nic.l3_network == l3)
    }

    /// Whether it is in a subnet that the router is on.
    pub(super) fn is_near(&self, ip: IpAddr) -> bool {
        self.interfaces().nics.iter().any(|nic| nic.addresses.iter().any(|net| net.contains(&ip)))
    }

    pub(super) fn end(&self, nic: NicId) -> Option<&'a End> {
        self.ends.iter().find(|end| end.nic == nic)
    }

    /// The nic that has an address on a network.
    pub(super) fn end_with(&self, l3: L3NetworkId, ip: IpAddr) -> Option<&'a End> {
        self.ends.iter().find(|end| end.l3_network == l3 && end.addresses.contains(&ip))
    }

    /// Where a packet with this source begins that nobody says more of: at the nic that has the address, else where the
    /// subnet is, else where all else is.
    pub fn beginning(&self, source: IpAddr) -> Option<super::Beginning> {
        if let Route::Local(..) = self.route(source) {
            return Some(super::Beginning::Router);
        }
        let guests = self.ends.iter().find(|end| end.addresses.contains(&source));
        if let Some(end) = guests {
            return Some(super::Beginning::Nic(end.nic));
        }
        match self.route(source) {
            Route::Out(nic, _) => Some(super::Beginning::Interface(nic.name.clone())),
            _ => None,
        }
    }

    /// The source of what the router sends to an address, where nobody chooses one.
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        match self.route(destination) {
            Route::Local(..) => Some(destination),
            Route::Broadcast(nic) | Route::Out(nic, _) => nic.address(destination.is_ipv4()),
            Route::None => None,
        }
    }

    pub(super) fn route(&self, ip: IpAddr) -> Route<'a> {
        let nics = &self.interfaces().nics;
        if let Some(vip) = self.sections.vips.addresses.iter().find(|vip| vip.address.addr() == ip)
            && let Some(nic) = self.interface(&vip.interface)
        {
            return Route::Local(nic, Some(vip.vip));
        }
        let own = |nic: &&RouterNic| {
            nic.addresses.iter().any(|net| net.addr() == ip)
                || nic.link_local().is_some_and(|own| IpAddr::V6(own.addr()) == ip)
        };
        if let Some(nic) = nics.iter().find(own) {
            return Route::Local(nic, None);
        }
        let nets = || nics.iter().flat_map(|nic| nic.addresses.iter().map(move |net| (nic, net)));
        let broadcast = |net: &IpNet| net.addr().is_ipv4() && net.prefix_len() < 31 && net.broadcast() == ip;
        if let Some((nic, _)) = nets().find(|(_, net)| broadcast(net)) {
            return Route::Broadcast(nic);
        }
        let behind = |ip: IpAddr| {
            nets().filter(|(_, net)| net.contains(&ip)).max_by_key(|(_, net)| net.prefix_len()).map(|(nic, _)| nic)
        };
        if let Some(nic) = behind(ip) {
            return Route::Out(nic, ip);
        }
        let gateway = match ip {
            IpAddr::V4(_) => self.interfaces().default_gateway.map(IpAddr::V4),
            IpAddr::V6(_) => self.interfaces().default_gateway6.map(IpAddr::V6),
        };
        match gateway.and_then(|gateway| Some((behind(gateway)?, gateway))) {
            Some((nic, gateway)) => Route::Out(nic, gateway),
            None => Route::None,
        }
    }
}
