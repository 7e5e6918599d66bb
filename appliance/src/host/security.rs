//! What the fold of hosts does with security groups: which hosts filter otherwise because of an event, and what each
//! filters. The rules themselves are folded in [`crate::security_group`].

use super::HostFold;
use crate::{SecurityConfig, VmConfig, security_group::CLEAN_TRAFFIC};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use switchback_events::*;

impl HostFold {
    /// The VMs that heed the addresses of a VM.
    pub(super) fn heeded(&self, id: VmInstanceId) -> BTreeSet<VmInstanceId> {
        let nics = self.vms.get(&id).into_iter().flat_map(|vm| vm.nics.iter().map(|own| own.nic.nic));
        self.security.heeded(nics)
    }

    /// The hosts of these VMs filter otherwise.
    pub(super) fn stir(&mut self, vms: BTreeSet<VmInstanceId>) {
        self.stirred.extend(vms.iter().filter_map(|vm| self.vms.get(vm)).map(|vm| vm.host));
    }

    /// What an event of a VM means for those who heed its addresses; `before` did before it.
    pub(super) fn secure(&mut self, id: VmInstanceId, event: &VmInstanceEvent, before: BTreeSet<VmInstanceId>) {
        match event {
            VmInstanceEvent::NicSecurityChanged { nic, groups, ingress_policy, egress_policy } => {
                let touched = self.security.secure(id, *nic, groups, (*ingress_policy, *egress_policy));
                self.stir(touched);
            }
            VmInstanceEvent::Destroyed { .. } => {
                self.stir(before);
                self.security.forget_vm(id);
            }
            VmInstanceEvent::NicDetached { nic, .. } => {
                self.stir(before);
                self.security.forget(*nic);
            }
            VmInstanceEvent::NicChanged { .. } | VmInstanceEvent::NicAddressesChanged { .. } => self.stir(before),
            _ => {}
        }
    }

    pub(super) fn vm_config_event(&mut self, vm: VmInstanceId, event: &ResourceConfigEvent) {
        let (category, name, value) = match event {
            ResourceConfigEvent::Changed { category, name, value, .. } => (category, name, Some(value.as_str())),
            ResourceConfigEvent::Deleted { category, name } => (category, name, None),
        };
        if (category.as_str(), name.as_str()) == CLEAN_TRAFFIC {
            self.security.clean_vm(vm, value);
            self.stir([vm].into());
        }
    }

    pub(super) fn security_config(&self, vms: &BTreeMap<VmInstanceId, VmConfig>) -> SecurityConfig {
        let mut nics = Vec::new();
        for (id, config) in vms {
            let known = self.vms.get(id).into_iter().flat_map(|vm| &vm.nics);
            for own in known {
                if let Some(plug) = config.plugs.iter().find(|plug| plug.internal_name == own.nic.internal_name) {
                    let starting = self.vms.get(id).is_none_or(|vm| config.generation > vm.running);
                    let told = own.told.as_ref().map(|told| &told.nic).filter(|_| !starting).unwrap_or(&own.nic);
                    nics.push((*id, told, plug.bridge.clone()));
                }
            }
        }
        self.security.config(nics.into_iter(), |vm, nic| self.addresses_of(vm, nic))
    }

    fn addresses_of(&self, vm: VmInstanceId, nic: NicId) -> Vec<IpAddr> {
        let own = self.vms.get(&vm).and_then(|vm| vm.nics.iter().find(|own| own.nic.nic == nic));
        own.into_iter().flat_map(|own| &own.nic.addresses).map(|address| address.ip).collect()
    }

    /// What the log asks the hosts of these nics to filter there, whether they know of it yet or not.
    pub fn filters_of(&self, nics: &BTreeSet<NicId>) -> SecurityConfig {
        let all = self.vms.iter().flat_map(|(id, vm)| vm.nics.iter().map(|own| (*id, &own.nic, String::new())));
        let wanted = all.filter(|(_, nic, _)| nics.contains(&nic.nic));
        self.security.config(wanted, |vm, nic| self.addresses_of(vm, nic))
    }

    /// Whether a nic is disabled, or its VM is paused.
    pub fn is_silent(&self, vm: VmInstanceId, nic: NicId) -> bool {
        let vm = self.vms.get(&vm);
        vm.is_some_and(|vm| vm.paused || vm.nics.iter().any(|own| own.nic.nic == nic && own.disabled))
    }
}
