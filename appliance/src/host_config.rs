//! What a host should carry: bridges for the L2 networks, appliances, and the VMs of the lab.
//! Items stand alone: one that fails does not hold up the others.

use crate::{
    config::{Sections, digest},
    protocol::SectionPush,
    security_group::SecurityConfig,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr};
use switchback_events::{HostId, Id, L2NetworkId, L2NetworkType, Mac, Position, RouterId, VmInstanceId};

/// The whole configuration of a host at `revision`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostConfig {
    /// Which host.
    pub host: HostId,
    /// The position of the last event that was folded into it.
    pub revision: Position,
    /// The items.
    pub sections: HostSections,
}

/// The sections of a [`HostConfig`], each by resource.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSections {
    /// Bridges, one for each L2 network attached to the host's cluster.
    pub bridges: BTreeMap<L2NetworkId, BridgeConfig>,
    /// Routers placed on the host.
    pub appliances: BTreeMap<RouterId, ApplianceConfig>,
    /// VMs that the host runs.
    pub vms: BTreeMap<VmInstanceId, VmConfig>,
    /// What is filtered at the nics of VMs.
    #[serde(default, skip_serializing_if = "SecurityConfig::is_empty")]
    pub security: SecurityConfig,
    /// What the host serves VMs with itself, by what it is for: an L3 network, or an EIP. As long as there is nothing in it this
    /// section does not travel and has no digest: such a document is that of a host which does not know it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<Id, HostServiceConfig>,
}

/// A namespace from which the host serves VMs: in it is what a router would have.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostServiceConfig {
    /// Its interfaces.
    pub plugs: Vec<PlugConfig>,
    /// What is served.
    pub sections: Sections,
    /// What may not leave the host.
    pub guard: Guard,
}

/// What has to do with whom, where addresses are not what everybody else on the network thinks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Guard {
    /// The same addresses are on every host: nothing of them is on the wire between hosts.
    Network {
        /// The host's end of the plug that has them.
        plug: String,
        /// The hardware address.
        mac: Mac,
        /// The address.
        ip: Ipv4Addr,
    },
    /// One nic alone has its gateway here: it hears of no other, and nobody else hears of this one.
    Nic {
        /// The host's end of the plug that has the gateway's address.
        plug: String,
        /// The host's end of the nic.
        nic: String,
        /// The gateway's address.
        gateway: Ipv4Addr,
    },
}

/// A bridge that carries an L2 network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeConfig {
    /// `br_<interface>` or `br_<interface>_<vlan>`, at most 15 bytes.
    pub name: String,
    /// The host's interface under it.
    pub physical_interface: String,
    /// 1 to 4094, or none.
    pub vlan: Option<u16>,
    /// Bytes, at least: nothing that others use is made smaller.
    pub mtu: u16,
    /// Nothing asks for it any more: it is left as it is, and not removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

impl BridgeConfig {
    /// The type of the L2 network that it carries.
    pub fn network_type(&self) -> L2NetworkType {
        network_type(self.vlan)
    }
}

/// The type of an L2 network with such frames.
pub fn network_type(vlan: Option<u16>) -> L2NetworkType {
    if vlan.is_some() { L2NetworkType::L2VlanNetwork } else { L2NetworkType::L2NoVlanNetwork }
}

/// An interface of an appliance or VM, plugged into a bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlugConfig {
    /// Its name inside: `eth0`.
    pub name: String,
    /// The host's end, at most 15 bytes.
    pub internal_name: String,
    /// Its hardware address.
    pub mac: Mac,
    /// The bridge it is plugged into.
    pub bridge: String,
    /// Bytes.
    pub mtu: u16,
    /// Whether it carries anything; one that is down stays where it is.
    pub up: bool,
    /// Another number means: ask for an IPv4 address anew.
    pub lease: Position,
    /// The same of IPv6, where what is behind it has an address of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease6: Option<Position>,
}

/// A router's appliance: its network namespace and its agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplianceConfig {
    /// The router's name, for people.
    pub name: String,
    /// Another generation means: start it afresh.
    pub generation: Position,
    /// Its interfaces.
    pub plugs: Vec<PlugConfig>,
    /// Where its agent listens: address on the management interface.
    pub management: ManagementAddress,
    /// It goes to another host, or comes from one: as long as this is so, the steps of a [`crate::Succession`] say when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journey: Option<Journey>,
}

impl ApplianceConfig {
    /// The same, on no journey: what an appliance is made of.
    pub fn at_rest(&self) -> ApplianceConfig {
        ApplianceConfig { journey: None, ..self.clone() }
    }
}

/// Which way an appliance goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Journey {
    /// From this host to another one.
    Away,
    /// From another host to this one.
    Here,
}

/// The address that the host gives an appliance before its agent starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagementAddress {
    /// The interface inside the appliance.
    pub interface: String,
    /// The address.
    pub ip: Ipv4Addr,
    /// 1 to 32.
    pub prefix_length: u8,
    /// The way back to servers outside the subnet.
    pub gateway: Option<Ipv4Addr>,
    /// TCP port.
    pub agent_port: u16,
}

/// A VM of the lab: a namespace that runs a DHCP client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmConfig {
    /// The VM's name, for people.
    pub name: String,
    /// The name that it calls itself.
    pub hostname: String,
    /// Another generation means: start it afresh.
    pub generation: Position,
    /// Its interfaces; the one on the default L3 network is first in `default_plug`.
    pub plugs: Vec<PlugConfig>,
    /// The interface whose default route and name servers count.
    pub default_plug: String,
}

impl HostSections {
    /// The name of the section with what the host serves itself.
    pub const SERVICES: &str = "services";

    /// The sections as they travel, with their digests.
    pub fn parts(&self) -> BTreeMap<String, SectionPush> {
        let mut parts = BTreeMap::from([
            ("bridges".to_string(), SectionPush::whole(&self.bridges)),
            ("appliances".to_string(), SectionPush::whole(&self.appliances)),
            ("vms".to_string(), SectionPush::whole(&self.vms)),
            ("security".to_string(), SectionPush::whole(&self.security)),
        ]);
        if !self.services.is_empty() {
            parts.insert(Self::SERVICES.to_string(), SectionPush::whole(&self.services));
        }
        parts
    }

    /// The digest of each section, by name.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let filled = Some(&self.services).filter(|services| !services.is_empty());
        let filled = filled.map(|services| (Self::SERVICES.to_string(), digest(services)));
        let always = BTreeMap::from([
            ("bridges".to_string(), digest(&self.bridges)),
            ("appliances".to_string(), digest(&self.appliances)),
            ("vms".to_string(), digest(&self.vms)),
            ("security".to_string(), digest(&self.security)),
        ]);
        always.into_iter().chain(filled).collect()
    }
}

/// The name of the bridge for an L2 network, at most 15 bytes as Linux allows: the reference's
/// `br_<interface>[_<vlan>]`, or a hash of that where it is longer.
pub fn bridge_name(physical_interface: &str, vlan: Option<u16>) -> String {
    let name = match vlan {
        Some(vlan) => format!("br_{physical_interface}_{vlan}"),
        None => format!("br_{physical_interface}"),
    };
    if name.len() <= 15 { name } else { format!("br_{}", &Id::of_name(&name).to_string()[..12]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_name_fits_into_linux() {
        assert_eq!(bridge_name("eth0", None), "br_eth0");
        assert_eq!(bridge_name("eth0", Some(4094)), "br_eth0_4094");
        assert_eq!(bridge_name("enp129s0f1np1", Some(100)).len(), 15);
        assert_ne!(bridge_name("enp129s0f1np1", Some(100)), bridge_name("enp129s0f1np1", Some(101)));
    }
}
