//! What can be asked of the nics of VMs, and of the public networks of routers.

use crate::{Check::*, messages};
use std::net::{IpAddr, Ipv4Addr};
use switchback_events::{Id, L3NetworkId, NicId, RouterId, VmInstanceId};

messages! {
    /// Gives a VM that is Running or Stopped a nic on another network; a virtual router that is Connected another public network.
    Command AttachL3NetworkToVm "POST" "/vm-instances/{vmInstanceUuid}/l3-networks/{l3NetworkUuid}" => "vm" for Account {
        /// The VM or router.
        vm_instance_uuid: Id = Uuid,
        /// The network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The address that the nic shall have.
        static_ip: Option<IpAddr> = Ip,
        /// The hardware address that the nic shall have.
        custom_mac: Option<String> = Any,
        /// Accepted for the reference's clients, and not kept: the hypervisor chooses.
        driver_type: Option<String> = Text(64),
        /// Not supported yet.
        vm_nic_params: Option<String> = Any,
    }
    /// Takes a nic from a VM that is Running or Stopped, or an additional public network from a virtual router.
    Command DetachL3NetworkFromVm "DELETE" "/vm-instances/nics/{vmNicUuid}" => "vm" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
    }
    /// Moves a nic of a VM that is Running or Stopped to another network. It keeps its hardware address.
    Command ChangeVmNicNetwork "POST" "/vm-instances/nics/{vmNicUuid}/l3-networks/{destL3NetworkUuid}" => "vm" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
        /// The network.
        dest_l3_network_uuid: L3NetworkId = Uuid,
        /// The address that the nic shall have there.
        static_ip: Option<IpAddr> = Ip,
    }
    /// Lets a nic carry nothing, or carry again. It keeps its addresses.
    Command ChangeVmNicState "PUT" "/vm-instances/nics/{vmNicUuid}/actions" => "nic" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
        /// Whether it shall carry.
        state: String = Enum(&["enable", "disable"]),
    }
    /// Gives the nic of a VM on a network this address, now and for ever; of both families, where both are given.
    Command SetVmStaticIp "PUT" "/vm-instances/{vmInstanceUuid}/actions" => "vm" for Account {
        /// The VM.
        vm_instance_uuid: VmInstanceId = Uuid,
        /// The network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The IPv4 address.
        ip: Option<Ipv4Addr> = Ipv4,
        /// The IPv6 address; one of the two must be given.
        ip6: Option<IpAddr> = Ip,
        /// That of the address's range.
        netmask: Option<Ipv4Addr> = Ipv4,
        /// That of the address's range.
        gateway: Option<Ipv4Addr> = Ipv4,
        /// That of the address's range.
        ipv6_gateway: Option<IpAddr> = Ip,
        /// That of the address's range: the length of the prefix.
        ipv6_prefix: Option<String> = Any,
    }
    /// No longer asks for an address; the nic keeps it as long as it has it.
    Command DeleteVmStaticIp "DELETE" "/vm-instances/{vmInstanceUuid}/static-ips" => "vm" for Account {
        /// The VM.
        vm_instance_uuid: VmInstanceId = Uuid,
        /// The network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// Only where it is this address that was asked for.
        static_ip: Option<IpAddr> = Ip,
    }
    /// Gives a VM another name in DNS and DHCP.
    Command SetVmHostname "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
        /// The name: no other VM on its networks has it.
        hostname: String = Any,
    }
    /// Calls a VM in DNS and DHCP after itself again.
    Command DeleteVmHostname "DELETE" "/vm-instances/{uuid}/hostnames" => "" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
    }
    /// The name of a VM in DNS and DHCP.
    Read GetVmHostname "GET" "/vm-instances/{uuid}/hostnames" => "" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
    }
    /// The networks that a VM could have another nic on.
    Read GetVmAttachableL3Network "GET" "/vm-instances/{vmInstanceUuid}/l3-networks-candidates" => "l3" for Account {
        /// The VM.
        vm_instance_uuid: VmInstanceId = Uuid,
    }
    /// The networks that a nic could be moved to.
    Read GetCandidateL3NetworksForChangeVmNicNetwork "GET" "/vm-instances/nics/{vmNicUuid}/l3-networks-candidates" => "l3" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
    }
    /// The public networks that a virtual router could be given.
    Read GetAttachablePublicL3ForVRouter "GET" "/vm-instances/appliances/virtual-routers/{vmInstanceUuid}/attachable-public-l3s" => "l3" for Account {
        /// The router.
        vm_instance_uuid: RouterId = Uuid,
    }
}
