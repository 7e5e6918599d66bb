//! What can be asked of L2 networks.

use crate::{Check::*, messages};
use switchback_events::{ClusterId, L2NetworkId, ZoneId};

messages! {
    /// Creates an L2 network of untagged frames.
    Command CreateL2NoVlanNetwork "POST" "/l2-networks/no-vlan" => "l2" for Administrator {
        /// The zone that it is in.
        zone_uuid: ZoneId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The interface of the hosts that carries it.
        physical_interface: String = Text(15),
        /// Only `L2NoVlanNetwork`.
        r#type: Option<String> = Any,
        /// Only `LinuxBridge`.
        v_switch_type: Option<String> = Any,
        /// Whether its VMs are kept from each other: only `false`.
        isolated: Option<bool> = Bool,
        /// The pair of a private VLAN: not supported yet.
        pvlan: Option<String> = Text(255),
    }
    /// Creates an L2 network of frames with an 802.1Q tag.
    Command CreateL2VlanNetwork "POST" "/l2-networks/vlan" => "l2" for Administrator {
        /// The zone that it is in.
        zone_uuid: ZoneId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The interface of the hosts that carries it.
        physical_interface: String = Text(15),
        /// The tag.
        vlan: u16 = Int(1, 4094),
        /// Only `L2VlanNetwork`.
        r#type: Option<String> = Any,
        /// Only `LinuxBridge`.
        v_switch_type: Option<String> = Any,
        /// Whether its VMs are kept from each other: only `false`.
        isolated: Option<bool> = Bool,
        /// The pair of a private VLAN: not supported yet.
        pvlan: Option<String> = Text(255),
    }
    /// Changes an L2 network's name or description.
    Command UpdateL2Network "PUT" "/l2-networks/{uuid}/actions" => "l2" for Administrator {
        /// The L2 network.
        uuid: L2NetworkId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Changes the tag of an L2 network's frames, or makes untagged frames of tagged ones and the other way round. What is
    /// on the network goes on; every host of its clusters changes over, or none.
    Command ChangeL2NetworkVlanId "PUT" "/l2-networks/{uuid}/actions" => "l2" for Administrator {
        /// The L2 network.
        uuid: L2NetworkId = Uuid,
        /// The tag: needed for `L2VlanNetwork`, not to be given for `L2NoVlanNetwork`.
        vlan: Option<u16> = Int(1, 4094),
        /// `L2VlanNetwork` or `L2NoVlanNetwork`; what it is, unless given.
        r#type: Option<String> = Enum(&["L2NoVlanNetwork", "L2VlanNetwork"]),
    }
    /// Attaches an L2 network to a cluster: it is checked and realised on every connected host, or not attached.
    Command AttachL2NetworkToCluster "POST" "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}" => "l2" for Administrator {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// The cluster.
        cluster_uuid: ClusterId = Uuid,
        /// Only `LinuxBridge`.
        l2_provider_type: Option<String> = Enum(&["LinuxBridge"]),
    }
    /// Detaches an L2 network from a cluster.
    Command DetachL2NetworkFromCluster "DELETE" "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}" => "l2" for Administrator {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// The cluster.
        cluster_uuid: ClusterId = Uuid,
    }
    /// Deletes an L2 network. One that is not there is a success; one that is in use names its blockers.
    Command DeleteL2Network "DELETE" "/l2-networks/{uuid}" => "" for Administrator {
        /// The L2 network.
        uuid: L2NetworkId = Uuid,
    }
    /// Every host has changed over to another VLAN, or one could not.
    Command ReportL2VlanChange "" "" => "" [internal] {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// Why it failed; none: it is realised.
        error: Option<String> = FreeText(2048),
    }
    /// Every host has realised an attachment, or one could not.
    Command ReportL2Attachment "" "" => "" [internal] {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// The cluster.
        cluster_uuid: ClusterId = Uuid,
        /// Why it failed; none: it is realised.
        error: Option<String> = FreeText(2048),
    }
}
