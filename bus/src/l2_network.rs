//! What can be asked of L2 networks.

use crate::{Check::*, messages};
use switchback_events::{ClusterId, L2NetworkId, ZoneId};

messages! {
    /// Creates an L2 network of untagged frames.
    Command CreateL2NoVlanNetwork "POST" "/l2-networks/no-vlan" => "l2" {
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
    }
    /// Creates an L2 network of frames with an 802.1Q tag.
    Command CreateL2VlanNetwork "POST" "/l2-networks/vlan" => "l2" {
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
    }
    /// Changes an L2 network's name or description.
    Command UpdateL2Network "PUT" "/l2-networks/{uuid}/actions" => "l2" {
        /// The L2 network.
        uuid: L2NetworkId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Attaches an L2 network to a cluster: it is checked and realised on every connected host, or not attached.
    Command AttachL2NetworkToCluster "POST" "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}" => "l2" {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// The cluster.
        cluster_uuid: ClusterId = Uuid,
    }
    /// Detaches an L2 network from a cluster.
    Command DetachL2NetworkFromCluster "DELETE" "/l2-networks/{l2NetworkUuid}/clusters/{clusterUuid}" => "l2" {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// The cluster.
        cluster_uuid: ClusterId = Uuid,
    }
    /// Deletes an L2 network. One that is not there is a success; one that is in use names its blockers.
    Command DeleteL2Network "DELETE" "/l2-networks/{uuid}" => "" {
        /// The L2 network.
        uuid: L2NetworkId = Uuid,
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
