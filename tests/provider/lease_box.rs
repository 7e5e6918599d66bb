//! An example of a provider of network services: the **lease box**, a device that gives DHCP and DNS to networks, and
//! takes one text a network by its API. Here the device is a map in memory, and everything else is as a vendor's crate
//! would have it.

use async_trait::async_trait;
use ipnet::Ipv4Net;
use std::{
    collections::BTreeMap,
    fmt::Write,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};
use switchback_appliance::{Dhcp, DhcpConfig, Dns, Driver, Place, Provider, Seat, ServiceDocument, dhcp};
use switchback_events::L3NetworkId;

/// The device: what it serves, by network, and whether it answers.
#[derive(Default)]
pub struct LeaseBox {
    texts: Mutex<BTreeMap<L3NetworkId, String>>,
    broken: Mutex<bool>,
}

impl LeaseBox {
    /// What it serves on a network.
    pub fn text(&self, network: L3NetworkId) -> Option<String> {
        self.texts.lock().unwrap().get(&network).cloned()
    }

    /// It serves this, whoever told it to.
    pub fn serves(&self, network: L3NetworkId, text: &str) {
        self.texts.lock().unwrap().insert(network, text.to_string());
    }

    /// From now on it answers nothing, or does again.
    pub fn breaks(&self, broken: bool) {
        *self.broken.lock().unwrap() = broken;
    }

    fn change(&self, network: L3NetworkId, text: Option<String>) -> Result<(), String> {
        if *self.broken.lock().unwrap() {
            return Err("the lease box does not answer".to_string());
        }
        let mut texts = self.texts.lock().unwrap();
        match text {
            Some(text) => texts.insert(network, text),
            None => texts.remove(&network),
        };
        Ok(())
    }
}

/// The provider `LeaseBox`.
pub struct LeaseBoxProvider(pub Arc<LeaseBox>);

/// What is served follows from the log alone. The usual fold does, but for the lease time.
impl Dhcp for LeaseBoxProvider {
    fn dhcp(&self, place: &Place) -> DhcpConfig {
        let mut config = dhcp::fold(place);
        config.networks.iter_mut().for_each(|network| network.lease_time = 600);
        config
    }
}

/// The usual fold.
impl Dns for LeaseBoxProvider {}

impl Provider for LeaseBoxProvider {
    fn provider_type(&self) -> &str {
        "LeaseBox"
    }

    fn seat(&self) -> Seat<'_> {
        Seat::Outside(self)
    }

    /// The box has the last usable address of every network; ranges must leave it free.
    fn own_address(&self, subnet: Ipv4Net, _gateway: Ipv4Addr) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(subnet.broadcast()) - 1)
    }

    fn dhcp(&self) -> Option<&dyn Dhcp> {
        Some(self)
    }

    fn dns(&self) -> Option<&dyn Dns> {
        Some(self)
    }
}

/// A document becomes the text that the device understands.
fn render(document: &ServiceDocument) -> String {
    let mut text = String::new();
    for network in document.dhcp.iter().flat_map(|dhcp| &dhcp.networks) {
        let _ = writeln!(text, "subnet {} from {} router {}", network.subnet, network.server, network.gateway);
        let _ = writeln!(text, "mtu {} lease {}", network.mtu, network.lease_time);
        for server in &network.dns_servers {
            let _ = writeln!(text, "ask {server}");
        }
        for route in &network.routes {
            let _ = writeln!(text, "route {} {}", route.prefix, route.nexthop);
        }
    }
    for host in document.dhcp.iter().flat_map(|dhcp| &dhcp.hosts) {
        // The device knows IPv4 only.
        if let Some(ip) = host.ip {
            let _ = writeln!(text, "host {} {ip} {}", host.mac, host.hostname);
        }
    }
    if let Some(dns) = &document.dns {
        for name in &dns.names {
            let _ = writeln!(text, "name {} {}", name.hostname, name.ip);
        }
        for upstream in &dns.upstreams {
            let _ = writeln!(text, "upstream {upstream}");
        }
    }
    text
}

#[async_trait]
impl Driver for LeaseBoxProvider {
    async fn apply(&self, document: &ServiceDocument) -> Result<(), String> {
        self.0.change(document.l3_network, Some(render(document)))
    }

    async fn remove(&self, network: L3NetworkId) -> Result<(), String> {
        self.0.change(network, None)
    }

    async fn served(&self) -> Result<Vec<L3NetworkId>, String> {
        Ok(self.0.texts.lock().unwrap().keys().copied().collect())
    }
}
