//! What can be asked of elastic IPs.

use crate::{Check::*, messages};
use switchback_events::{EipId, Id, NicId, VipId, VmInstanceId};

messages! {
    /// Makes an EIP of a VIP that nothing else uses, and attaches it where a nic is given.
    Command CreateEip "POST" "/eips" => "eip" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The VIP, of IPv4.
        vip_uuid: VipId = Uuid,
        /// The nic of a VM that it shall lead to.
        vm_nic_uuid: Option<NicId> = Uuid,
        /// The address of the nic, where that is to be said.
        used_ip_uuid: Option<Id> = Uuid,
    }
    /// Lets an EIP lead to a nic of a VM that is Running, Paused or Stopped.
    Command AttachEip "POST" "/eips/{eipUuid}/vm-instances/nics/{vmNicUuid}" => "eip" for Account {
        /// The EIP.
        eip_uuid: EipId = Uuid,
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
        /// The address of the nic, where that is to be said.
        used_ip_uuid: Option<Id> = Uuid,
    }
    /// Lets an EIP lead to no nic.
    Command DetachEip "DELETE" "/eips/{uuid}/vm-instances/nics" => "eip" for Account {
        /// The EIP.
        uuid: EipId = Uuid,
    }
    /// Changes an EIP's name or description.
    Command UpdateEip "PUT" "/eips/{uuid}/actions" => "eip" for Account {
        /// The EIP.
        uuid: EipId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Lets an EIP carry nothing, or carry again. It keeps its nic.
    Command ChangeEipState "PUT" "/eips/{uuid}/actions" => "eip" for Account {
        /// The EIP.
        uuid: EipId = Uuid,
        /// What shall become of it.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes an EIP; its VIP stays. One that is not there is a success.
    Command DeleteEip "DELETE" "/eips/{uuid}" => "" for Account {
        /// The EIP.
        uuid: EipId = Uuid,
    }
    /// The nics that an EIP, or an EIP of a VIP, could lead to.
    Read GetEipAttachableVmNics "GET" "/eips/{eipUuid}/vm-instances/candidate-nics" => "nic" for Account {
        /// The EIP.
        eip_uuid: Option<EipId> = Uuid,
        /// The VIP, where there is no EIP yet.
        vip_uuid: Option<VipId> = Uuid,
        /// Only nics of this VM.
        vm_uuid: Option<VmInstanceId> = Uuid,
        /// Only nics of VMs with this name.
        vm_name: Option<String> = Text(255),
        /// Only nics that this type of provider serves.
        network_service_provider: Option<String> = Text(255),
        /// Every nic is one of a VM.
        attached_to_vm: Option<bool> = Bool,
    }
    /// The EIPs that could lead to a nic.
    Read GetVmNicAttachableEips "GET" "/vm-instances/nics/{vmNicUuid}/candidate-eips" => "eip" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
        /// Only EIPs of this family: 4 or 6.
        ip_version: Option<u8> = Int(4, 6),
    }
}
