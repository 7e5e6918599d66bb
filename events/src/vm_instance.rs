//! What happens to a user's VM instance, and the network interface that VMs and routers share.

use crate::{
    ClusterId, HostId, HypervisorType, Id, ImageId, IpRangeId, L2NetworkId, L3NetworkId, Mac, NicId, OfferingId, ZoneId,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A network interface of a VM or of a router.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Nic {
    pub nic: NicId,
    pub l3_network: L3NetworkId,
    pub l2_network: L2NetworkId,
    pub mac: Mac,
    pub ip: Ipv4Addr,
    pub netmask: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// 0 for eth0; the last byte of the MAC.
    pub device_id: u8,
    /// The host's end of the interface.
    pub internal_name: String,
    pub ip_range: IpRangeId,
    pub used_ip: Id,
    /// For routers a bit mask (MODEL 4.3): public 1, management 2, guest 4, additional public 8. 0 for VMs.
    pub meta_data: u8,
}

impl Nic {
    /// The nic is on the public network.
    pub const PUBLIC: u8 = 1;
    /// The nic is on the management network.
    pub const MANAGEMENT: u8 = 2;
    /// The nic is on a guest network.
    pub const GUEST: u8 = 4;

    /// Whether the router nic plays the role `bit`.
    pub fn is(&self, bit: u8) -> bool {
        self.meta_data & bit != 0
    }
}

/// Work on a VM that takes time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum VmOperation {
    Create,
    Start,
    Stop,
    Reboot,
    Destroy,
}

/// Events of a VM instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum VmInstanceEvent {
    /// Wanted, and to be started.
    Created {
        zone: ZoneId,
        cluster: ClusterId,
        host: HostId,
        hypervisor_type: HypervisorType,
        name: String,
        description: Option<String>,
        /// The name in DNS and DHCP.
        hostname: String,
        image: Option<ImageId>,
        offering: Option<OfferingId>,
        default_l3_network: L3NetworkId,
        nics: Vec<Nic>,
    },
    Updated {
        name: Option<String>,
        description: Option<String>,
    },
    /// `l3_networks` are the networks of the VM, whose routers serve it.
    StartRequested {
        host: HostId,
        cluster: ClusterId,
        l3_networks: Vec<L3NetworkId>,
    },
    StopRequested {
        l3_networks: Vec<L3NetworkId>,
    },
    RebootRequested {
        l3_networks: Vec<L3NetworkId>,
    },
    DestroyRequested {
        l3_networks: Vec<L3NetworkId>,
    },
    /// The host runs it.
    Started {
        host: HostId,
    },
    /// The host does not run it any more; its routers need not serve it.
    Stopped {
        l3_networks: Vec<L3NetworkId>,
    },
    /// It is gone; its addresses are free again.
    Destroyed {
        l3_networks: Vec<L3NetworkId>,
    },
    /// It goes on without this nic, whose addresses are free again. `default_l3_network` is the network of its default
    /// route from now on.
    NicDetached {
        nic: NicId,
        l3_network: L3NetworkId,
        default_l3_network: Option<L3NetworkId>,
    },
    /// The operation came to nothing; the state is what it was before it.
    OperationFailed {
        operation: VmOperation,
        code: String,
        detail: String,
        l3_networks: Vec<L3NetworkId>,
    },
}
