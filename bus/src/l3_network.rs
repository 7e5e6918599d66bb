//! What can be asked of L3 networks, their name servers, host routes, MTU and services.

#![allow(non_snake_case, reason = "a parameter is spelt as the reference's clients spell it")]

use crate::{Check::*, messages};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};
use switchback_events::{Id, L2NetworkId, L3NetworkId};

messages! {
    /// Creates an L3 network.
    Command CreateL3Network "POST" "/l3-networks" => "l3" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The L2 network that carries it.
        l2_network_uuid: L2NetworkId = Uuid,
        /// Only `L3BasicNetwork`.
        r#type: Option<String> = Any,
        /// Whom it is for.
        category: Option<String> = Enum(&["Public", "Private", "System"]),
        /// For routers only: user VMs may have no nic on it.
        system: Option<bool> = Bool,
        /// The domain of the VMs' names.
        dns_domain: Option<String> = Text(255),
        /// 4 or 6; what the network has follows its ranges, so this is only looked at.
        ip_version: Option<u8> = Int(4, 6),
        /// `false`: no address is given or checked, nics have the addresses that were asked for.
        enable_IPAM: Option<bool> = Bool,
    }
    /// Changes an L3 network's name, description, domain or category.
    Command UpdateL3Network "PUT" "/l3-networks/{uuid}/actions" => "l3" for Account {
        /// The L3 network.
        uuid: L3NetworkId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The domain of the VMs' names.
        dns_domain: Option<String> = Text(255),
        /// Whom it is for; changes together with `system`.
        category: Option<String> = Enum(&["Public", "Private", "System"]),
        /// For routers only; changes together with `category`.
        system: Option<bool> = Bool,
    }
    /// Enables or disables an L3 network: a disabled one takes no new nics.
    Command ChangeL3NetworkState "PUT" "/l3-networks/{uuid}/actions" => "l3" for Account {
        /// The L3 network.
        uuid: L3NetworkId = Uuid,
        /// `enable` or `disable`.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Adds a name server, behind those that there are.
    Command AddDnsToL3Network "POST" "/l3-networks/{l3NetworkUuid}/dns" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The name server.
        dns: IpAddr = Ip,
    }
    /// Removes a name server. One that is not there is a success.
    Command RemoveDnsFromL3Network "DELETE" "/l3-networks/{l3NetworkUuid}/dns/{dns}" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The name server.
        dns: IpAddr = Ip,
    }
    /// Adds a host route: DHCP clients are told that `nexthop` is the way to `prefix`.
    Command AddHostRouteToL3Network "POST" "/l3-networks/{l3NetworkUuid}/hostroute" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// An IPv4 subnet such as 10.1.0.0/16.
        prefix: String = Any,
        /// The IPv4 address of the next router.
        nexthop: String = Any,
    }
    /// Removes a host route. One that is not there is refused.
    Command RemoveHostRouteFromL3Network "DELETE" "/l3-networks/{l3NetworkUuid}/hostroute" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The subnet that it leads to.
        prefix: String = Any,
    }
    /// Sets the MTU: routers and bridges take it at once, clients when they next ask for their lease.
    Command SetL3NetworkMtu "POST" "/l3-networks/{l3NetworkUuid}/mtu" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// Bytes.
        mtu: u16 = Int(68, 9216),
    }
    /// Sets the address that virtual routers take on the network; without one it is the gateway's. A router that is
    /// there keeps the address that it has: the next one that is made takes it.
    Command SetL3NetworkRouterInterfaceIp "POST" "/l3-networks/{l3NetworkUuid}/router-interface-ip" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// An address of the network's CIDR outside of its ranges.
        router_interface_ip: Ipv4Addr = Ipv4,
    }
    /// Changes the address at which the hosts of VMs serve the network with DHCP and DNS (provider `Flat`). VMs that run
    /// ask there when they next ask for their lease.
    Command ChangeL3NetworkDhcpIpAddress "PUT" "/l3-networks/{l3NetworkUuid}/dhcp-ip" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// A free address of the network's IP ranges.
        dhcp_server_ip: Option<Ipv4Addr> = Ipv4,
        /// Not supported: hosts serve IPv4 only.
        dhcpv6_server_ip: Option<IpAddr> = Ip,
    }
    /// Attaches network services: each type from one provider.
    Command AttachNetworkServiceToL3Network "POST" "/l3-networks/{l3NetworkUuid}/network-services" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// Provider uuid or type → service types.
        network_services: BTreeMap<String, Vec<String>> = Services,
    }
    /// Detaches network services.
    Command DetachNetworkServiceFromL3Network "DELETE" "/l3-networks/{l3NetworkUuid}/network-services" => "l3" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// Provider uuid or type → service types.
        network_services: Option<BTreeMap<String, Vec<String>>> = Services,
        /// One service, whoever gives it.
        service: Option<String> = Any,
    }
    /// Reserves addresses: the free ones of its IP ranges now, others when they are given back or a range comes there.
    Command AddReservedIpRange "POST" "/l3-networks/{l3NetworkUuid}/reserved-ip-ranges" => "reservedIpRange" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The first address.
        start_ip: String = Any,
        /// The last address.
        end_ip: String = Any,
    }
    /// Deletes a reserved range: its addresses are free again. One that is not there is a success.
    Command DeleteReservedIpRange "DELETE" "/l3-networks/reserved-ip-ranges/{uuid}" => "" for Account {
        /// The reserved range.
        uuid: Id = Uuid,
    }
    /// Frees reserved addresses one by one. Those that a nic has are refused.
    Command DeleteIpAddress "DELETE" "/l3-networks/{l3NetworkUuid}/ip-address" => "" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The records of the addresses.
        used_ip_uuids: Vec<Id> = List(&Uuid),
    }
    /// Deletes an L3 network and its ranges. One that is not there is a success; one in use names its blockers.
    Command DeleteL3Network "DELETE" "/l3-networks/{uuid}" => "" for Account {
        /// The L3 network.
        uuid: L3NetworkId = Uuid,
    }
}
