//! The rows of VM instances, and of the nics that VMs and routers share.
//!
//! ```text
//! Created ─> Starting ─> Running ─> Stopping ─> Stopped ─> Starting …
//!                          │ └─> Rebooting ─> Running
//!                          │ └─> Paused ─> Running
//!                          └─> Destroying ─> Destroyed ─> Stopped, or (history)
//! ```
//! An operation that failed leaves the state of before it, and its reason in `lastError`. `hostUuid` says where the
//! VM runs: from Started until Stopped.
//!
//! **Invariant:** nics go with the row of their VM, and those that its `Created` did not make are told of by
//! `hasLaterNics`: the others are found by the VM's id.

use crate::catalogue::{Kind, NIC, VM};
use crate::fold::{RowChange, Rows};
use crate::security_group;
use crate::store::StoreError;
use crate::value::Val;
use switchback_events::{Enabled, HypervisorType, Id, Nic, NicAddress, VmInstanceEvent, VmOperation};

pub(crate) fn changes(id: Id, event: &VmInstanceEvent, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let state = |state: &str| RowChange::set(&VM, id).put("state", state);
    Ok(vec![match event {
        VmInstanceEvent::Created {
            zone,
            cluster,
            host: _,
            hypervisor_type,
            name,
            description,
            hostname,
            image,
            offering,
            default_l3_network,
            nics,
        } => {
            if rows.get(&VM, &id.to_string())?.is_some() {
                return Ok(vec![]);
            }
            let vm = RowChange::insert(&VM, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("type", "UserVm")
                .put("zoneUuid", *zone)
                .put("clusterUuid", *cluster)
                .put("imageUuid", *image)
                .put("instanceOfferingUuid", *offering)
                .put("defaultL3NetworkUuid", *default_l3_network)
                .put("hypervisorType", Val::name_of(hypervisor_type))
                .put("state", "Starting")
                .put("hostname", hostname);
            return Ok(std::iter::once(vm).chain(nics.iter().map(|n| nic(id, *hypervisor_type, n, false))).collect());
        }
        VmInstanceEvent::Updated { name, description } => {
            RowChange::set(&VM, id).put_some("name", name.as_ref()).put_some("description", description.as_ref())
        }
        VmInstanceEvent::StartRequested { host: _, cluster, .. } => state("Starting").put("clusterUuid", *cluster),
        VmInstanceEvent::StopRequested { .. } => state("Stopping"),
        VmInstanceEvent::RebootRequested { .. } => state("Rebooting"),
        VmInstanceEvent::DestroyRequested { .. } => state("Destroying"),
        VmInstanceEvent::Started { host } => {
            state("Running").put("hostUuid", *host).put("lastHostUuid", *host).put("lastError", Val::Null)
        }
        VmInstanceEvent::Stopped { .. } => state("Stopped").put("hostUuid", Val::Null).put("lastError", Val::Null),
        VmInstanceEvent::Destroyed { l3_networks: _, recoverable } => {
            let mut changes = delete_nics(id, rows)?;
            changes.extend(security_group::forget("vmInstanceUuid", &id.to_string(), rows)?);
            changes.push(match recoverable {
                true => state("Destroyed").put("hostUuid", Val::Null).put("lastError", Val::Null),
                false => RowChange::delete(&VM, id),
            });
            return Ok(changes);
        }
        VmInstanceEvent::Expunged {} => {
            let mut changes = delete_nics(id, rows)?;
            changes.push(RowChange::delete(&VM, id));
            return Ok(changes);
        }
        VmInstanceEvent::Recovered { host: _, name: _, hostname, image, offering, default_l3_network, nics } => {
            let vm = state("Stopped")
                .put("hostname", hostname)
                .put("imageUuid", *image)
                .put("instanceOfferingUuid", *offering)
                .put("defaultL3NetworkUuid", *default_l3_network)
                .put("hasLaterNics", true);
            let Some(hypervisor) = hypervisor(id, &VM, rows)? else { return Ok(vec![]) };
            let nics = nics.iter().map(|own| nic_row(id, hypervisor.clone(), own, false));
            return Ok(std::iter::once(vm).chain(nics).collect());
        }
        VmInstanceEvent::Paused {} => state("Paused"),
        VmInstanceEvent::Resumed {} => state("Running"),
        VmInstanceEvent::NicAttached { nic, hostname: _, running: _, default_l3_network } => {
            let vm = RowChange::set(&VM, id).put("defaultL3NetworkUuid", *default_l3_network).put("hasLaterNics", true);
            let Some(hypervisor) = hypervisor(id, &VM, rows)? else { return Ok(vec![]) };
            return Ok(vec![vm, nic_row(id, hypervisor, nic, false)]);
        }
        VmInstanceEvent::NicChanged { nic, from: _, hostname: _, running: _, default_l3_network } => {
            let vm = RowChange::set(&VM, id).put("defaultL3NetworkUuid", *default_l3_network);
            return Ok(vec![vm, moved(nic)]);
        }
        VmInstanceEvent::NicStateChanged { nic, state } => {
            RowChange::set(&NIC, *nic).put("state", if *state == Enabled::Enabled { "enable" } else { "disable" })
        }
        // Its tag shows it.
        VmInstanceEvent::UserdataChanged { .. } => return Ok(vec![]),
        // It is shown to nobody but the VM.
        VmInstanceEvent::PasswordChanged { .. } => return Ok(vec![]),
        VmInstanceEvent::NicSecurityChanged { nic, groups, ingress_policy, egress_policy } => {
            return security_group::secured(id, *nic, groups, (*ingress_policy, *egress_policy), rows);
        }
        VmInstanceEvent::HostnameChanged { hostname, l3_networks: _ } => {
            RowChange::set(&VM, id).put("hostname", hostname)
        }
        VmInstanceEvent::NicDetached { nic, l3_network: _, default_l3_network } => {
            let vm = RowChange::set(&VM, id).put("defaultL3NetworkUuid", *default_l3_network);
            let mut changes = vec![RowChange::delete(&NIC, *nic), vm];
            changes.extend(security_group::forget("vmNicUuid", &nic.to_string(), rows)?);
            return Ok(changes);
        }
        VmInstanceEvent::NicAddressesChanged { nic, l3_network: _, addresses } => {
            with_addresses(RowChange::set(&NIC, *nic), addresses)
        }
        VmInstanceEvent::OperationFailed { operation, code: _, detail, l3_networks: _ } => {
            let running = match operation {
                VmOperation::Create | VmOperation::Start => false,
                VmOperation::Stop | VmOperation::Reboot => true,
                VmOperation::Destroy => {
                    rows.get(&VM, &id.to_string())?.is_some_and(|row| *row.value(&VM, "hostUuid") != Val::Null)
                }
            };
            let failed = state(if running { "Running" } else { "Stopped" }).put("lastError", detail);
            if running { failed } else { failed.put("hostUuid", Val::Null) }
        }
    }])
}

/// The row of a nic of `owner`, which is a VM or a router.
pub(crate) fn nic(owner: Id, hypervisor: HypervisorType, nic: &Nic, of_router: bool) -> RowChange {
    nic_row(owner, Val::name_of(&hypervisor), nic, of_router)
}

/// The hypervisor type of a VM or router, as in its row, if that is there.
pub(crate) fn hypervisor(id: Id, kind: &'static Kind, rows: &dyn Rows) -> Result<Option<Val>, StoreError> {
    let row = rows.get(kind, &id.to_string())?;
    Ok(row.map(|row| row.value(kind, "hypervisorType").clone()))
}

pub(crate) fn nic_row(owner: Id, hypervisor: Val, nic: &Nic, of_router: bool) -> RowChange {
    let row = RowChange::insert(&NIC, nic.nic)
        .put("vmInstanceUuid", owner)
        .put("mac", nic.mac)
        .put("deviceId", nic.device_id)
        .put("internalName", &nic.internal_name)
        .put("hypervisorType", hypervisor)
        .put("metaData", of_router.then(|| nic.meta_data.to_string()))
        .put("state", "enable");
    addressed(row, nic)
}

/// The network of a nic, and its addresses there.
fn addressed(row: RowChange, nic: &Nic) -> RowChange {
    with_addresses(row.put("l3NetworkUuid", nic.l3_network), &nic.addresses)
}

/// A nic's first address is in its row; all of them are `usedIps`.
fn with_addresses(row: RowChange, addresses: &[NicAddress]) -> RowChange {
    let address = addresses.first();
    let used_ip = address.map(|address| address.used_ip).filter(|used_ip| *used_ip != Id::NIL);
    row.put("ip", address.map(|address| address.ip))
        .put("netmask", address.map(NicAddress::netmask))
        .put("gateway", address.map(|address| address.gateway))
        .put("usedIpUuid", used_ip.map(|used_ip| used_ip.to_string()))
}

/// The other addresses of a nic.
pub(crate) fn moved(nic: &Nic) -> RowChange {
    addressed(RowChange::set(&NIC, nic.nic), nic)
}

/// The removal of all nics of `owner`.
pub(crate) fn delete_nics(owner: Id, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let nics = rows.find(&NIC, "vmInstanceUuid", &owner.to_string())?;
    Ok(nics.into_iter().map(|nic| RowChange::delete(&NIC, nic)).collect())
}
