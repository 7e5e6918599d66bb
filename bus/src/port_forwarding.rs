//! What can be asked of port forwarding rules.

use crate::{Check::*, PORT_PROTOCOLS, messages};
use switchback_events::{NicId, PortForwardingRuleId, VipId};

messages! {
    /// Makes a rule by which ports of a VIP lead to ports of a nic, and attaches it where a nic is given.
    Command CreatePortForwardingRule "POST" "/port-forwarding" => "portForwarding" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The VIP, of IPv4.
        vip_uuid: VipId = Uuid,
        /// The first port of the VIP.
        vip_port_start: u16 = Int(1, 65_535),
        /// The last port of the VIP; the first when not given.
        vip_port_end: Option<u16> = Int(1, 65_535),
        /// The first port of the nic; that of the VIP when not given.
        private_port_start: Option<u16> = Int(1, 65_535),
        /// The last port of the nic; as many ports as of the VIP when not given.
        private_port_end: Option<u16> = Int(1, 65_535),
        /// Of which protocol.
        protocol_type: String = Enum(PORT_PROTOCOLS),
        /// The nic of a VM that it shall lead to.
        vm_nic_uuid: Option<NicId> = Uuid,
        /// Who may come: `198.51.100.0/24`; everybody when not given.
        allowed_cidr: Option<String> = Any,
    }
    /// Lets a rule lead to a nic of a VM that is Running, Paused or Stopped.
    Command AttachPortForwardingRule "POST" "/port-forwarding/{ruleUuid}/vm-instances/nics/{vmNicUuid}" => "portForwarding" for Account {
        /// The rule.
        rule_uuid: PortForwardingRuleId = Uuid,
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
    }
    /// Lets a rule lead to no nic.
    Command DetachPortForwardingRule "DELETE" "/port-forwarding/{uuid}/vm-instances/nics" => "portForwarding" for Account {
        /// The rule.
        uuid: PortForwardingRuleId = Uuid,
    }
    /// Changes a rule's name or description.
    Command UpdatePortForwardingRule "PUT" "/port-forwarding/{uuid}/actions" => "portForwarding" for Account {
        /// The rule.
        uuid: PortForwardingRuleId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Lets a rule carry nothing, or carry again. It keeps its nic.
    Command ChangePortForwardingRuleState "PUT" "/port-forwarding/{uuid}/actions" => "portForwarding" for Account {
        /// The rule.
        uuid: PortForwardingRuleId = Uuid,
        /// What shall become of it.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes a rule; its VIP stays. One that is not there is a success.
    Command DeletePortForwardingRule "DELETE" "/port-forwarding/{uuid}" => "" for Account {
        /// The rule.
        uuid: PortForwardingRuleId = Uuid,
    }
    /// The nics that a rule could lead to.
    Read GetPortForwardingAttachableVmNics "GET" "/port-forwarding/{ruleUuid}/vm-instances/candidate-nics" => "nic" for Account {
        /// The rule.
        rule_uuid: PortForwardingRuleId = Uuid,
    }
}
