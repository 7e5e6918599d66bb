//! What the fold of hosts knows of routers: where each is placed, what it was last asked for, and its appliance in the
//! documents of the host that has it and of the one that it goes to.

use super::HostFold;
use crate::{config::interface_name, firewall::AGENT_PORT, host_config::*};
use std::net::Ipv4Addr;
use switchback_events::*;

/// What the fold knows of a router.
#[derive(Clone, PartialEq, Debug)]
pub struct RouterRecord {
    /// Its name.
    pub name: String,
    /// Where it is placed.
    pub host: HostId,
    /// Its nics.
    pub nics: Vec<Nic>,
    /// The position of the last request to start, reboot or create it.
    pub generation: Position,
    /// The position of the last nic that was attached to it while it runs: its host is to plug it in first.
    pub plugged: Position,
    /// It should run.
    pub wanted: bool,
    /// It is to be removed for good.
    pub destroying: bool,
    /// The position of the last request for a reconnect, provision, start or create.
    pub connect_requested: Position,
    /// When that was.
    pub requested_at: Micros,
    /// The last request was a provision: the agent is not to be touched.
    pub provision_only: bool,
    /// The last request was a reconnect: the agent is upgraded where its digest differs.
    pub reconnect: bool,
    /// The revision that its agent has reported.
    pub applied: Position,
    /// The request to replace it, while that is under way.
    pub replacing: Option<Replacement>,
    /// The other host that had or is to have it, until it is known to serve.
    pub(super) beside: Option<HostId>,
    /// Its agent answers, as far as the log knows.
    pub connected: bool,
}

/// A replacement that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// The position of the event that asked for it.
    pub position: Position,
    /// The host that the router is to be on then, where not its own.
    pub to: Option<HostId>,
}

impl RouterRecord {
    /// Address and port of its agent.
    pub fn agent(&self) -> Option<(Ipv4Addr, u16)> {
        let management = self.nics.iter().find(|nic| nic.is(Nic::MANAGEMENT))?;
        Some((management.ipv4()?.ip, AGENT_PORT))
    }
}

impl HostFold {
    pub(super) fn router_event(&mut self, id: RouterId, event: &RouterEvent, position: Position, at: Micros) {
        if let RouterEvent::Created { name, host, nics, .. } = event {
            let record = RouterRecord {
                name: name.clone(),
                host: *host,
                nics: nics.clone(),
                generation: position,
                plugged: 0,
                wanted: true,
                destroying: false,
                connect_requested: position,
                requested_at: at,
                provision_only: false,
                reconnect: false,
                replacing: None,
                beside: None,
                applied: 0,
                connected: false,
            };
            for nic in nics.iter().filter(|nic| nic.is(Nic::GUEST)) {
                self.on_guest.entry(nic.l3_network).or_default().insert(id);
            }
            self.routers.insert(id, record);
            self.on_host.entry(*host).or_default().insert(id.0);
            return;
        }
        if let RouterEvent::Destroyed { .. } = event {
            if let Some(router) = self.routers.remove(&id) {
                for nic in router.nics.iter().filter(|nic| nic.is(Nic::GUEST)) {
                    self.on_guest.entry(nic.l3_network).or_default().remove(&id);
                }
                self.on_host.entry(router.host).or_default().remove(&id.0);
            }
            return;
        }
        let Some(router) = self.routers.get_mut(&id) else { return };
        let request = |router: &mut RouterRecord, provision_only, reconnect| {
            router.connect_requested = position;
            router.requested_at = at;
            router.provision_only = provision_only;
            router.reconnect = reconnect;
        };
        match event {
            RouterEvent::StartRequested { host, .. } => {
                request(router, false, false);
                (router.generation, router.plugged, router.replacing) = (position, 0, None);
                router.wanted = true;
                (router.connected, router.applied) = (false, 0);
                let before = std::mem::replace(&mut router.host, *host);
                self.on_host.entry(before).or_default().remove(&id.0);
                self.on_host.entry(*host).or_default().insert(id.0);
            }
            RouterEvent::RebootRequested {} => {
                request(router, false, false);
                (router.generation, router.plugged, router.replacing) = (position, 0, None);
                (router.connected, router.applied) = (false, 0);
            }
            RouterEvent::ReconnectRequested {} => {
                request(router, false, true);
                router.connected = false;
            }
            RouterEvent::ProvisionRequested {} => request(router, true, false),
            RouterEvent::ReplaceRequested {} => {
                (router.replacing, router.requested_at) = (Some(Replacement { position, to: None }), at);
            }
            RouterEvent::MoveRequested { host, .. } => {
                (router.replacing, router.requested_at) = (Some(Replacement { position, to: Some(*host) }), at);
                router.beside = Some(*host);
                self.travelling.insert(id);
            }
            RouterEvent::Moved { host, .. } => {
                request(router, false, false);
                (router.connected, router.replacing) = (false, None);
                let before = std::mem::replace(&mut router.host, *host);
                router.beside = Some(before);
                self.travelling.remove(&id);
                self.on_host.entry(before).or_default().remove(&id.0);
                self.on_host.entry(*host).or_default().insert(id.0);
            }
            RouterEvent::Replaced {} => {
                request(router, false, false);
                (router.connected, router.replacing) = (false, None);
            }
            RouterEvent::ReplaceFailed { .. } => {
                router.replacing = None;
                self.travelling.remove(&id);
            }
            RouterEvent::NicChanged { nic } => {
                router.nics.iter_mut().filter(|own| own.nic == nic.nic).for_each(|own| *own = nic.clone());
            }
            RouterEvent::NicAttached { nic } => {
                router.nics.push(nic.clone());
                router.nics.sort_by_key(|nic| nic.device_id);
                router.plugged = position;
                if nic.is(Nic::GUEST) {
                    self.on_guest.entry(nic.l3_network).or_default().insert(id);
                }
            }
            RouterEvent::NicDetached { nic, l3_network } => {
                router.nics.retain(|own| own.nic != *nic);
                self.on_guest.entry(*l3_network).or_default().remove(&id);
            }
            RouterEvent::StopRequested {} => {
                (router.wanted, router.requested_at, router.replacing) = (false, at, None);
            }
            RouterEvent::DestroyRequested { .. } => {
                (router.wanted, router.destroying, router.requested_at) = (false, true, at);
                router.replacing = None;
            }
            RouterEvent::StopFailed { .. } => {
                (router.wanted, router.connected, router.requested_at) = (true, false, at);
            }
            RouterEvent::Connected { revision, .. } => {
                (router.connected, router.applied) = (true, *revision);
                router.beside = router.beside.filter(|_| router.replacing.is_some());
            }
            RouterEvent::ConfigApplied { revision, .. } => router.applied = *revision,
            RouterEvent::Disconnected { .. } => router.connected = false,
            // What could not start is Stopped.
            RouterEvent::Stopped {} | RouterEvent::StartFailed { .. } => {
                (router.connected, router.applied, router.wanted) = (false, 0, false);
            }
            _ => {}
        }
    }

    /// The appliances that are to come to a host from another one.
    pub(super) fn arriving(&self, host: HostId) -> impl Iterator<Item = (RouterId, ApplianceConfig)> + '_ {
        self.travelling.iter().filter_map(move |id| {
            let router = self.routers.get(id).filter(|router| router.wanted && router.host != host)?;
            let to = router.replacing.and_then(|replacing| replacing.to);
            to.filter(|to| *to == host)?;
            Some((*id, ApplianceConfig { journey: Some(Journey::Here), ..self.appliance(router)? }))
        })
    }

    pub(super) fn appliance(&self, router: &RouterRecord) -> Option<ApplianceConfig> {
        let management = router.nics.iter().find(|nic| nic.is(Nic::MANAGEMENT))?;
        let address = management.ipv4()?;
        let leaves = router.replacing.is_some_and(|replacing| replacing.to.is_some());
        Some(ApplianceConfig {
            journey: leaves.then_some(Journey::Away),
            name: router.name.clone(),
            generation: router.generation,
            plugs: router.nics.iter().map(|nic| self.plug(nic, true, 0)).collect(),
            management: ManagementAddress {
                interface: interface_name(management),
                ip: address.ip,
                prefix_length: address.prefix_length,
                gateway: Some(address.gateway).filter(|gateway| *gateway != address.ip),
                agent_port: AGENT_PORT,
            },
        })
    }
}
