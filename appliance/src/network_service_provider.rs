//! Backends of network services. A **provider** gives services: for each that it gives, a pure fold says what should be
//! served ([`Dhcp`], [`Dns`], [`Snat`]), and its [`Seat`] says who is told. The virtual router is one of them.
//!
//! ```text
//!  events ──► Place ──► Dhcp::dhcp, Dns::dns, Snat::snat ──► Seat::Router   a router's agent, by its RouterConfig
//!             (what the log says)                        ├─► Seat::Hosts    the agents of VMs' hosts, by their HostConfig
//!                                                        └─► Seat::Outside  a Driver, by a ServiceDocument a network
//! ```
//!
//! **Invariant:** what is to be served is a function of the log. A driver is told the whole of it each time, and may be
//! told the same twice.

use crate::{
    config::*, dhcp, dns, eip, load_balancer, load_balancer_config::LoadBalancerConfig, port_forwarding,
    router::RouterFold, snat,
};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use serde::Serialize;
use std::{collections::BTreeMap, fmt, net::Ipv4Addr, sync::Arc};
use switchback_events::*;

/// What the log says of the place where services are given: the nics by which the giver stands on networks, these
/// networks with their settings, and the VMs on them.
pub type Place = RouterFold;

/// Gives [`NetworkServiceType::DHCP`].
pub trait Dhcp: Send + Sync {
    /// What the DHCP of the place says, and to whom.
    fn dhcp(&self, place: &Place) -> DhcpConfig {
        dhcp::fold(place)
    }
}

/// Gives [`NetworkServiceType::DNS`].
pub trait Dns: Send + Sync {
    /// Which names are answered, and whom to ask for all others.
    fn dns(&self, place: &Place) -> DnsConfig {
        dns::fold(place)
    }
}

/// Gives [`NetworkServiceType::SNAT`].
pub trait Snat: Send + Sync {
    /// Which sources carry which address outside.
    fn snat(&self, place: &Place) -> SnatConfig {
        snat::fold(place)
    }
}

/// Gives [`NetworkServiceType::Eip`].
pub trait Eips: Send + Sync {
    /// Which VIP is which nic's.
    fn eips(&self, place: &Place) -> EipsConfig {
        eip::fold(place)
    }
}

/// Gives [`NetworkServiceType::PortForwarding`].
pub trait PortForwardings: Send + Sync {
    /// Which ports of VIPs lead where.
    fn port_forwarding(&self, place: &Place) -> PortForwardingConfig {
        port_forwarding::fold(place)
    }
}

/// Gives [`NetworkServiceType::LoadBalancer`].
pub trait Balance: Send + Sync {
    /// What is listened for, and who gets it.
    fn balance(&self, place: &Place) -> LoadBalancerConfig {
        load_balancer::fold(place)
    }
}

/// Who gives network services. Each type of service has a trait of its own; a type without one, or that a provider
/// does not give, is refused as not supported when it is to be attached.
pub trait Provider: Send + Sync {
    /// By which name services are attached from it; a record of it is made when the server starts.
    fn provider_type(&self) -> &str;

    /// Who is told what to serve.
    fn seat(&self) -> Seat<'_>;

    /// The address from which it serves a network: the gateway, unless it says otherwise. It must be one that no range
    /// holds.
    fn own_address(&self, subnet: Ipv4Net, gateway: Ipv4Addr) -> Ipv4Addr {
        let _ = subnet;
        gateway
    }

    /// How it gives DHCP, if it does.
    fn dhcp(&self) -> Option<&dyn Dhcp> {
        None
    }

    /// How it gives DNS, if it does.
    fn dns(&self) -> Option<&dyn Dns> {
        None
    }

    /// How it gives SNAT, if it does.
    fn snat(&self) -> Option<&dyn Snat> {
        None
    }

    /// How it gives EIPs, if it does. Only a router and hosts can.
    fn eips(&self) -> Option<&dyn Eips> {
        None
    }

    /// How it forwards ports, if it does. Only a router can.
    fn port_forwarding(&self) -> Option<&dyn PortForwardings> {
        None
    }

    /// How it balances load, if it does.
    fn balancer(&self) -> Option<&dyn Balance> {
        None
    }

    /// The types that it gives.
    fn services(&self) -> Vec<NetworkServiceType> {
        let given = [
            (NetworkServiceType::DHCP, self.dhcp().is_some()),
            (NetworkServiceType::DNS, self.dns().is_some()),
            (NetworkServiceType::SNAT, self.snat().is_some()),
            (NetworkServiceType::PortForwarding, self.port_forwarding().is_some()),
            (NetworkServiceType::Eip, self.eips().is_some()),
            (NetworkServiceType::LoadBalancer, self.balancer().is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(service, _)| service).collect()
    }
}

/// Who is told what a provider should serve.
pub enum Seat<'a> {
    /// A virtual router of the network, in its [`RouterConfig`].
    Router,
    /// The hosts of the network's VMs, in their [`crate::HostConfig`].
    Hosts,
    /// Whatever the driver drives, in a [`ServiceDocument`] for each network.
    Outside(&'a dyn Driver),
}

/// Tells a backend outside what to serve. It is called for one network at a time, with the newest state; what fails is
/// tried again.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Makes the backend serve this on the network, and nothing else there.
    ///
    /// # Errors
    /// What went wrong, in a few words.
    async fn apply(&self, document: &ServiceDocument) -> Result<(), String>;

    /// Makes the backend serve nothing on the network. It may never have served there.
    ///
    /// # Errors
    /// What went wrong, in a few words.
    async fn remove(&self, network: L3NetworkId) -> Result<(), String>;

    /// The networks that the backend serves now: asked when the server starts, so that what was detached meanwhile goes.
    ///
    /// # Errors
    /// What went wrong, in a few words.
    async fn served(&self) -> Result<Vec<L3NetworkId>, String>;
}

/// The provider `VirtualRouter`: all its services by the agent of a router.
pub struct VirtualRouter;

impl Dhcp for VirtualRouter {}
impl Dns for VirtualRouter {}
impl Snat for VirtualRouter {}
impl Eips for VirtualRouter {}
impl PortForwardings for VirtualRouter {}
impl Balance for VirtualRouter {}

impl Provider for VirtualRouter {
    fn provider_type(&self) -> &str {
        "VirtualRouter"
    }
    fn seat(&self) -> Seat<'_> {
        Seat::Router
    }
    fn dhcp(&self) -> Option<&dyn Dhcp> {
        Some(self)
    }
    fn dns(&self) -> Option<&dyn Dns> {
        Some(self)
    }
    fn snat(&self) -> Option<&dyn Snat> {
        Some(self)
    }
    fn eips(&self) -> Option<&dyn Eips> {
        Some(self)
    }
    fn port_forwarding(&self) -> Option<&dyn PortForwardings> {
        Some(self)
    }
    fn balancer(&self) -> Option<&dyn Balance> {
        Some(self)
    }
}

/// The providers that a server has a backend for.
#[derive(Clone)]
pub struct Providers(Vec<Arc<dyn Provider>>);

impl Default for Providers {
    fn default() -> Providers {
        Providers(vec![Arc::new(VirtualRouter), Arc::new(crate::flat::Flat)])
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|provider| provider.provider_type())).finish()
    }
}

impl Providers {
    /// The same with one more. One of the same type takes the place of the other.
    pub fn with(mut self, provider: impl Provider + 'static) -> Providers {
        self.0.retain(|other| other.provider_type() != provider.provider_type());
        self.0.push(Arc::new(provider));
        self
    }

    /// The one of this type.
    pub fn find(&self, provider_type: &str) -> Option<&Arc<dyn Provider>> {
        self.0.iter().find(|provider| provider.provider_type() == provider_type)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.0.iter()
    }

    /// Whether the one of this type gives the service.
    pub fn give(&self, provider_type: &str, service: NetworkServiceType) -> bool {
        // Hosts filter at the nics that they carry, whoever gives the network its other services.
        let by_hosts = (provider_type, service) == ("SecurityGroup", NetworkServiceType::SecurityGroup);
        by_hosts || self.find(provider_type).is_some_and(|provider| provider.services().contains(&service))
    }
}

/// What a provider outside should serve on one L3 network: a section for each of its services there.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDocument {
    /// Which network.
    pub l3_network: L3NetworkId,
    /// The position of the last event that bears on it.
    pub revision: Position,
    /// Who gets which address, and what they are told.
    pub dhcp: Option<DhcpConfig>,
    /// Names and upstream servers.
    pub dns: Option<DnsConfig>,
    /// Source NAT.
    pub snat: Option<SnatConfig>,
}

impl ServiceDocument {
    /// The digest of what is to be served: equal intent, equal digest.
    pub fn digest(&self) -> String {
        digest(&(self.l3_network, &self.dhcp, &self.dns, &self.snat))
    }
}

/// The fold of one L3 network for a provider outside: live = replay, as with a router's.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkFold {
    l3_network: L3NetworkId,
    place: Place,
    /// Subnet and gateway of each Normal range.
    ranges: BTreeMap<IpRangeId, (u8, Ipv4Addr)>,
    revision: Position,
    deleted: bool,
}

impl NetworkFold {
    /// The network before its first event.
    pub fn new(provider: NetworkServiceProviderId, l3_network: L3NetworkId) -> NetworkFold {
        let place = Place { provider: Some(provider), ..Place::default() };
        NetworkFold { l3_network, place, ranges: BTreeMap::new(), revision: 0, deleted: false }
    }

    /// Whether events of `kind` with this name can change the fold. The others need not be read.
    pub fn may_bear(kind: StreamKind, name: &str) -> bool {
        match kind {
            StreamKind::Router => false,
            StreamKind::IpRange => matches!(name, "Created" | "Deleted"),
            kind => Place::may_bear(kind, name),
        }
    }

    /// Takes the next event that touches the network.
    pub fn apply(&mut self, recorded: &Recorded) {
        let id = recorded.stream.id;
        match &recorded.event {
            Event::Router(_) => return,
            Event::IpRange(IpRangeEvent::Created { l3_network, range_type, netmask, gateway, .. }) => {
                if *l3_network == self.l3_network && *range_type == IpRangeType::Normal {
                    self.ranges.insert(IpRangeId(id), (prefix_of(*netmask).unwrap_or(32), *gateway));
                }
            }
            Event::IpRange(IpRangeEvent::Deleted { .. }) => drop(self.ranges.remove(&IpRangeId(id))),
            Event::L3Network(L3NetworkEvent::Deleted {}) if self.l3_network.0 == id => self.deleted = true,
            _ => self.place.apply(recorded),
        }
        self.revision = recorded.position;
    }

    /// What `provider` should serve there; nothing where it has no service on the network.
    pub fn document(&self, provider: &dyn Provider) -> Option<ServiceDocument> {
        let given = &self.place.network(self.l3_network).services;
        if self.deleted || given.is_empty() {
            return None;
        }
        let mut place = self.place.clone();
        place.nics = self.own_nic(provider).into_iter().collect();
        let has = |service| given.contains(&service);
        Some(ServiceDocument {
            l3_network: self.l3_network,
            revision: self.revision,
            dhcp: provider.dhcp().filter(|_| has(NetworkServiceType::DHCP)).map(|dhcp| dhcp.dhcp(&place)),
            dns: provider.dns().filter(|_| has(NetworkServiceType::DNS)).map(|dns| dns.dns(&place)),
            snat: provider.snat().filter(|_| has(NetworkServiceType::SNAT)).map(|snat| snat.snat(&place)),
        })
    }

    /// The provider's place on the network, once that has a range: `eth0` with the address that it serves from.
    fn own_nic(&self, provider: &dyn Provider) -> Option<Nic> {
        let (range, (prefix_length, gateway)) = self.ranges.iter().next()?;
        let subnet = Ipv4Net::new(*gateway, *prefix_length).ok()?.trunc();
        let own = provider.own_address(subnet, *gateway);
        Some(Nic {
            nic: NicId(Id::of_name(&format!("{}/{}", provider.provider_type(), self.l3_network))),
            l3_network: self.l3_network,
            l2_network: L2NetworkId(Id::NIL),
            mac: Mac([0; 6]),
            addresses: vec![NicAddress {
                ip: own.into(),
                prefix_length: *prefix_length,
                gateway: (*gateway).into(),
                ip_range: *range,
                used_ip: Id::NIL,
            }],
            device_id: 0,
            internal_name: String::new(),
            meta_data: Nic::GUEST,
        })
    }
}
