//! What happens to a user's VM instance.

use crate::{
    ClusterId, Enabled, HostId, HypervisorType, ImageId, L3NetworkId, Nic, NicAddress, NicId, NicPolicy, OfferingId,
    SealedSecret, SecurityGroupId, ZoneId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Work on a VM that takes time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum VmOperation {
    Create,
    Start,
    Stop,
    Reboot,
    Destroy,
}

/// Events of a VM instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
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
        /// It is remembered, and can be recovered until it is expunged.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recoverable: bool,
    },
    /// It is back, as Stopped: with its nics, whose networks are still there, and their addresses.
    Recovered {
        host: HostId,
        name: String,
        hostname: String,
        image: Option<ImageId>,
        offering: Option<OfferingId>,
        default_l3_network: Option<L3NetworkId>,
        nics: Vec<Nic>,
    },
    /// Nothing remembers it but the log.
    Expunged {},
    /// It stands still: nothing goes through its nics.
    Paused {},
    Resumed {},
    /// It has one nic more. Routers that did not know it yet learn its name, and whether they serve it.
    NicAttached {
        nic: Nic,
        hostname: String,
        running: bool,
        default_l3_network: L3NetworkId,
    },
    /// A nic has other addresses, on the network of before or on another one.
    NicChanged {
        nic: Nic,
        from: L3NetworkId,
        hostname: String,
        running: bool,
        default_l3_network: L3NetworkId,
    },
    /// A nic that is disabled carries nothing, and keeps its addresses.
    NicStateChanged {
        nic: NicId,
        state: Enabled,
    },
    /// The security groups of a nic, the first decides first, and what becomes of packets that none of their rules fits.
    NicSecurityChanged {
        nic: NicId,
        groups: Vec<SecurityGroupId>,
        ingress_policy: NicPolicy,
        egress_policy: NicPolicy,
    },
    /// Its name in DNS and DHCP.
    HostnameChanged {
        hostname: String,
        l3_networks: Vec<L3NetworkId>,
    },
    /// What its programs are told when they ask: base64, as it was given.
    UserdataChanged {
        userdata: Option<String>,
        l3_networks: Vec<L3NetworkId>,
    },
    /// The password that it is to take from its router, sealed; nothing: it has taken it.
    PasswordChanged {
        password: Option<SealedSecret>,
        l3_networks: Vec<L3NetworkId>,
    },
    /// It goes on without this nic, whose addresses are free again. `default_l3_network` is the network of its default
    /// route from now on.
    NicDetached {
        nic: NicId,
        l3_network: L3NetworkId,
        default_l3_network: Option<L3NetworkId>,
    },
    /// The nic has these addresses now, and no others.
    NicAddressesChanged {
        nic: NicId,
        l3_network: L3NetworkId,
        addresses: Vec<NicAddress>,
    },
    /// The operation came to nothing; the state is what it was before it.
    OperationFailed {
        operation: VmOperation,
        code: String,
        detail: String,
        l3_networks: Vec<L3NetworkId>,
    },
}
