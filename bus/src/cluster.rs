//! What can be asked of clusters.

use crate::{Check::*, messages};
use switchback_events::{ClusterId, ZoneId};

messages! {
    /// Creates a cluster.
    Command CreateCluster "POST" "/clusters" => "cluster" for Administrator {
        /// The zone that it is in.
        zone_uuid: ZoneId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// `KVM` for Linux hosts with our agent, `Simulator` for simulated ones.
        hypervisor_type: String = Enum(&["KVM", "Simulator"]),
        /// Only `zstack`.
        r#type: Option<String> = Enum(&["zstack"]),
    }
    /// Changes a cluster's name or description.
    Command UpdateCluster "PUT" "/clusters/{uuid}/actions" => "cluster" for Administrator {
        /// The cluster.
        uuid: ClusterId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Enables or disables a cluster and, with it, its hosts.
    Command ChangeClusterState "PUT" "/clusters/{uuid}/actions" => "cluster" for Administrator {
        /// The cluster.
        uuid: ClusterId = Uuid,
        /// `enable` or `disable`.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes a cluster. One that is not there is a success; one that is in use names its blockers.
    Command DeleteCluster "DELETE" "/clusters/{uuid}" => "" for Administrator {
        /// The cluster.
        uuid: ClusterId = Uuid,
    }
}
