//! What can be asked of VM instances. Start, stop, reboot and destroy also take a virtual router.

use crate::{Check::*, Secret, messages};
use switchback_events::{ClusterId, HostId, Id, ImageId, L3NetworkId, OfferingId, VmInstanceId, ZoneId};

/// The longest password of a VM.
pub const VM_PASSWORD_MAX: usize = 128;

/// What a VM that asks for its password may be answered instead of one.
pub const PASSWORD_WORDS: [&str; 2] = ["saved_password", "bad_request"];

messages! {
    /// Creates a VM and starts it, with a router for its networks where they need one.
    Command CreateVmInstance "POST" "/vm-instances" => "vm" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// One nic on each, in this order.
        l3_network_uuids: Vec<L3NetworkId> = List(&Uuid),
        /// The network of the default route and name; the first when not given.
        default_l3_network_uuid: Option<L3NetworkId> = Uuid,
        /// Where to place it.
        zone_uuid: Option<ZoneId> = Uuid,
        /// Where to place it.
        cluster_uuid: Option<ClusterId> = Uuid,
        /// Where to place it.
        host_uuid: Option<HostId> = Uuid,
        /// The image.
        image_uuid: Option<ImageId> = Uuid,
        /// The offering.
        instance_offering_uuid: Option<OfferingId> = Uuid,
    }
    /// Starts a stopped VM or router.
    Command StartVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM or router.
        uuid: Id = Uuid,
    }
    /// Stops a running VM or router.
    Command StopVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM or router.
        uuid: Id = Uuid,
        /// How a hypervisor is to stop it; `grace` when not given.
        r#type: Option<String> = Enum(&["grace", "cold"]),
    }
    /// Reboots a running VM or router.
    Command RebootVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM or router.
        uuid: Id = Uuid,
    }
    /// Destroys a VM or router. One that is not there is a success.
    Command DestroyVmInstance "DELETE" "/vm-instances/{uuid}" => "" for Account {
        /// The VM or router.
        uuid: Id = Uuid,
    }
    /// Lets a running VM stand still: nothing goes through its nics.
    Command PauseVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
    }
    /// Lets a paused VM go on.
    Command ResumeVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
    }
    /// Brings a destroyed VM back, as Stopped, with the addresses that it had: as long as it was not expunged.
    Command RecoverVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
    }
    /// Forgets a destroyed VM. One that is not there is a success.
    Command ExpungeVmInstance "PUT" "/vm-instances/{uuid}/actions" => "" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
    }
    /// Changes a VM's name or description.
    Command UpdateVmInstance "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Sets the password that a VM takes from its router, once, by the protocol of CloudStack.
    Command ChangeVmPassword "PUT" "/vm-instances/{uuid}/actions" => "vm" for Account {
        /// The VM.
        uuid: VmInstanceId = Uuid,
        /// The password. It is sealed, and goes to routers of the VM, and nowhere else.
        password: Secret = VmPassword,
        /// Accepted for the reference's clients and not passed on: whose password it is, is decided in the VM.
        account: Option<String> = Text(255),
    }
    /// A host runs a VM, does not run it any more, or could not.
    Command ReportVmStatus "" "" => "" [internal] {
        /// The VM.
        uuid: VmInstanceId = Uuid,
        /// What was found.
        status: String = Enum(&["Running", "Stopped", "Failed", "PasswordSaved"]),
        /// With `Failed`: why. With `PasswordSaved`: the digest of what the VM has taken.
        detail: Option<String> = FreeText(4096),
    }
}
