//! What a lab's data centre is made of: zone, cluster, hosts, networks and services in one of the four topologies
//! of a virtual router, up to the moment when a VM can be created.

use super::{
    Api, Reply, host_address,
    name::{INTERNET_DNS, MANAGEMENT_GATEWAY, PUBLIC_GATEWAY},
    poll::{Deadline, poll},
};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// Which of a router's networks are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// Management, public and guest network apart: DHCP, DNS, SNAT.
    Separate,
    /// Public and management network are one: DHCP, DNS, SNAT.
    PublicManagement,
    /// Public and guest network are one: a flat network with DHCP and DNS.
    PublicGuest,
    /// All three are one: a flat network with DHCP and DNS.
    Combined,
}

/// The network that the VMs are on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its uuid.
    pub l3: String,
    /// The gateway that its VMs are told.
    pub gateway: Ipv4Addr,
    /// The domain of its VMs' names.
    pub domain: String,
    /// Whether the router translates the addresses of the VMs.
    pub snat: bool,
}

/// The uuids of a lab's data centre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The zone.
    pub zone: String,
    /// The cluster.
    pub cluster: String,
    /// The hosts.
    pub hosts: Vec<String>,
    /// The management L3 network.
    pub management: String,
    /// The public L3 network.
    pub public: String,
    /// The guest L3 network.
    pub guest: Guest,
    /// The virtual router offering.
    pub offering: String,
}

/// Sends one command; the caller decides whether to show it.
pub type Ask<'a> = &'a mut dyn FnMut(&str, Value) -> anyhow::Result<Reply>;

impl Site {
    /// Builds the data centre on the hosts of the lab, whose agents run.
    pub fn build(api: &Api, hosts: u8, topology: Topology, ask: Ask) -> anyhow::Result<Site> {
        let zone = ask("CreateZone", json!({"name": "lab", "isDefault": true}))?.uuid()?;
        let cluster =
            ask("CreateCluster", json!({"name": "racks", "zoneUuid": zone, "hypervisorType": "KVM"}))?.uuid()?;
        let mut host_uuids = vec![];
        for host in 1..=hosts {
            let parameters = json!({
                "name": format!("host{host}"), "clusterUuid": cluster, "managementIp": host_address(host),
            });
            host_uuids.push(ask("AddKVMHost", parameters)?.uuid()?);
        }
        for host in &host_uuids {
            poll(&format!("host {host} to be Connected"), Deadline::seconds(30), || {
                let inventory = api.one("QueryHost", host)?;
                Ok(if inventory["status"] == "Connected" { Ok(()) } else { Err(inventory.to_string()) })
            })?;
        }
        let builder = Builder { api, zone: &zone, cluster: &cluster };
        let (management, public, guest) = builder.networks(topology, ask)?;
        let services = if guest.snat { vec!["DHCP", "DNS", "SNAT"] } else { vec!["DHCP", "DNS"] };
        let dns = json!({"l3NetworkUuid": guest.l3, "dns": INTERNET_DNS});
        ask("AddDnsToL3Network", dns)?;
        let attach = json!({"l3NetworkUuid": guest.l3, "networkServices": {"VirtualRouter": services}});
        ask("AttachNetworkServiceToL3Network", attach)?;
        let image = json!({
            "name": "router", "url": "file:///usr/local/bin/switchback", "mediaType": "RootVolumeTemplate",
            "format": "raw", "system": true,
        });
        let image = ask("AddImage", image)?.uuid()?;
        let offering = json!({
            "name": "small-router", "cpuNum": 1, "memorySize": 128 << 20, "zoneUuid": zone, "imageUuid": image,
            "managementNetworkUuid": management, "publicNetworkUuid": public, "isDefault": true,
        });
        let offering = ask("CreateVirtualRouterOffering", offering)?.uuid()?;
        Ok(Site { zone, cluster, hosts: host_uuids, management, public, guest, offering })
    }

    /// The parameters for a VM on the guest network, on one host where one is given.
    pub fn vm(&self, name: &str, host: Option<usize>) -> Value {
        let mut parameters = json!({"name": name, "l3NetworkUuids": [self.guest.l3], "zoneUuid": self.zone});
        if let Some(host) = host {
            parameters["hostUuid"] = self.hosts[host].clone().into();
        }
        parameters
    }
}

struct Builder<'a> {
    api: &'a Api,
    zone: &'a str,
    cluster: &'a str,
}

/// An L3 network to be made, with one range of it.
struct Plan {
    name: &'static str,
    category: &'static str,
    start: &'static str,
    end: &'static str,
    gateway: Ipv4Addr,
    domain: Option<&'static str>,
}

const MANAGEMENT: Plan = Plan {
    name: "management",
    category: "System",
    start: "172.30.0.100",
    end: "172.30.0.199",
    gateway: MANAGEMENT_GATEWAY,
    domain: None,
};

const PUBLIC: Plan = Plan {
    name: "public",
    category: "Public",
    start: "203.0.113.100",
    end: "203.0.113.199",
    gateway: PUBLIC_GATEWAY,
    domain: None,
};

const GUEST: Plan = Plan {
    name: "guest",
    category: "Private",
    start: "10.10.0.10",
    end: "10.10.0.200",
    gateway: Ipv4Addr::new(10, 10, 0, 1),
    domain: Some(DOMAIN),
};

const DOMAIN: &str = "guest.test";

impl Builder<'_> {
    /// The management, public and guest networks.
    fn networks(&self, topology: Topology, ask: Ask) -> anyhow::Result<(String, String, Guest)> {
        let guest = |l3: &str, plan: &Plan, snat| Guest {
            l3: l3.to_string(),
            gateway: plan.gateway,
            domain: DOMAIN.to_string(),
            snat,
        };
        let flat = |plan: Plan| Plan { name: "flat", category: "Public", domain: Some(DOMAIN), ..plan };
        match topology {
            Topology::Separate => {
                let l2s = (self.l2("management", "eth0", None, ask)?, self.l2("public", "eth1", None, ask)?);
                let guest_l2 = self.l2("guest", "eth2", Some(10), ask)?;
                let management = self.l3(&l2s.0, &MANAGEMENT, ask)?;
                let public = self.l3(&l2s.1, &PUBLIC, ask)?;
                let l3 = self.l3(&guest_l2, &GUEST, ask)?;
                Ok((management, public, guest(&l3, &GUEST, true)))
            }
            Topology::PublicManagement => {
                let shared_l2 = self.l2("management", "eth0", None, ask)?;
                let guest_l2 = self.l2("guest", "eth2", Some(10), ask)?;
                let shared = self.l3(&shared_l2, &Plan { category: "Public", ..MANAGEMENT }, ask)?;
                let l3 = self.l3(&guest_l2, &GUEST, ask)?;
                Ok((shared.clone(), shared, guest(&l3, &GUEST, true)))
            }
            Topology::PublicGuest => {
                let l2s = (self.l2("management", "eth0", None, ask)?, self.l2("public", "eth1", None, ask)?);
                let management = self.l3(&l2s.0, &MANAGEMENT, ask)?;
                let plan = flat(PUBLIC);
                let l3 = self.l3(&l2s.1, &plan, ask)?;
                Ok((management, l3.clone(), guest(&l3, &plan, false)))
            }
            Topology::Combined => {
                let l2 = self.l2("all", "eth0", None, ask)?;
                let plan = flat(MANAGEMENT);
                let l3 = self.l3(&l2, &plan, ask)?;
                Ok((l3.clone(), l3.clone(), guest(&l3, &plan, false)))
            }
        }
    }

    /// An L2 network, attached to the cluster on every host.
    fn l2(&self, name: &str, interface: &str, vlan: Option<u16>, ask: Ask) -> anyhow::Result<String> {
        let mut parameters = json!({"name": name, "zoneUuid": self.zone, "physicalInterface": interface});
        let command = match vlan {
            Some(vlan) => {
                parameters["vlan"] = vlan.into();
                "CreateL2VlanNetwork"
            }
            None => "CreateL2NoVlanNetwork",
        };
        let l2 = ask(command, parameters)?.uuid()?;
        ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": self.cluster}))?;
        poll(&format!("the L2 network `{name}` to be attached"), Deadline::seconds(30), || {
            let inventory = self.api.one("QueryL2Network", &l2)?;
            let attached = inventory["attachedClusterUuids"].as_array();
            let attached = attached.is_some_and(|clusters| clusters.iter().any(|uuid| uuid == self.cluster));
            Ok(if attached { Ok(()) } else { Err(inventory.to_string()) })
        })?;
        Ok(l2)
    }

    fn l3(&self, l2: &str, plan: &Plan, ask: Ask) -> anyhow::Result<String> {
        let mut parameters = json!({
            "name": plan.name, "l2NetworkUuid": l2, "category": plan.category, "system": plan.category == "System",
        });
        if let Some(domain) = plan.domain {
            parameters["dnsDomain"] = domain.into();
        }
        let l3 = ask("CreateL3Network", parameters)?.uuid()?;
        let range = json!({
            "l3NetworkUuid": l3, "name": plan.name, "startIp": plan.start, "endIp": plan.end,
            "netmask": "255.255.255.0", "gateway": plan.gateway,
        });
        ask("AddIpRange", range)?;
        Ok(l3)
    }
}
