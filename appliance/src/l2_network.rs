//! L2 networks as hosts carry them: which bridges each host has, what it is asked to realise, and what stays when an L2
//! network goes.

use crate::host_config::*;
use std::collections::BTreeMap;
use switchback_events::*;

/// What the fold of hosts knows of L2 networks.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct L2Networks {
    records: BTreeMap<L2NetworkId, L2Record>,
    /// A bridge stays on the hosts when its L2 network is detached.
    keep_bridges: bool,
}

#[derive(Clone, PartialEq, Debug)]
struct L2Record {
    physical_interface: String,
    /// While it changes, the one that it changes to.
    vlan: Option<u16>,
    clusters: BTreeMap<ClusterId, Attachment>,
    changing: Option<VlanChange>,
    deleted: bool,
}

/// A change of an L2 network's VLAN that is under way.
#[derive(Clone, PartialEq, Debug)]
struct VlanChange {
    /// What it comes back to when a host cannot realise the new one.
    before: Option<u16>,
    hosts: Vec<HostId>,
}

/// What hosts are asked to realise: an L2 network in a cluster, or without one its new VLAN wherever it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Realisation {
    /// The L2 network.
    pub l2_network: L2NetworkId,
    /// The cluster that it is being attached to; none for a change of its VLAN.
    pub cluster: Option<ClusterId>,
}

/// How far the attachment of an L2 network to a cluster is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Attachment {
    /// To be realised on these hosts.
    Requested(Vec<HostId>),
    /// Realised.
    Attached,
    /// Detached, and the bridge is to stay on the hosts: it had these frames.
    Kept(Option<u16>),
}

impl L2Networks {
    /// From now on bridges stay on the hosts, or go, when their L2 networks are detached.
    pub(crate) fn keep_bridges(&mut self, keep: bool) {
        self.keep_bridges = keep;
    }

    /// What hosts are asked to realise and have not all answered.
    pub(crate) fn realisations(&self) -> impl Iterator<Item = (Realisation, &[HostId])> {
        self.records.iter().flat_map(|(l2, record)| {
            let attached = record.clusters.iter().filter_map(move |(cluster, attachment)| match attachment {
                Attachment::Requested(hosts) => {
                    Some((Realisation { l2_network: *l2, cluster: Some(*cluster) }, hosts.as_slice()))
                }
                Attachment::Attached | Attachment::Kept(_) => None,
            });
            let changed = record
                .changing
                .iter()
                .map(move |change| (Realisation { l2_network: *l2, cluster: None }, change.hosts.as_slice()));
            attached.chain(changed)
        })
    }

    /// Whether a cluster's hosts carry an L2 network.
    pub(crate) fn attached(&self, l2: L2NetworkId, cluster: ClusterId) -> bool {
        self.records.get(&l2).is_some_and(|l2| l2.clusters.get(&cluster) == Some(&Attachment::Attached))
    }

    /// The clusters whose hosts have a bridge of an L2 network, or are to have one.
    pub(crate) fn clusters(&self, l2: L2NetworkId) -> impl Iterator<Item = ClusterId> + '_ {
        self.records.get(&l2).into_iter().flat_map(|l2| l2.clusters.keys().copied())
    }

    /// Interface and VLAN of an L2 network.
    pub(crate) fn wire(&self, l2: L2NetworkId) -> Option<(&str, Option<u16>)> {
        self.records.get(&l2).map(|record| (record.physical_interface.as_str(), record.vlan))
    }

    /// The bridges of a host in a cluster.
    pub(crate) fn bridges(
        &self,
        host: HostId,
        cluster: ClusterId,
        mtu: impl Fn(L2NetworkId) -> u16,
    ) -> BTreeMap<L2NetworkId, BridgeConfig> {
        self.records
            .iter()
            .filter_map(|(id, l2)| {
                let (vlan, kept) = match l2.clusters.get(&cluster)? {
                    Attachment::Attached => (l2.vlan, false),
                    Attachment::Requested(hosts) if hosts.contains(&host) => (l2.vlan, false),
                    Attachment::Requested(_) => return None,
                    Attachment::Kept(vlan) => (*vlan, true),
                };
                let name = bridge_name(&l2.physical_interface, vlan);
                let physical_interface = l2.physical_interface.clone();
                Some((*id, BridgeConfig { name, physical_interface, vlan, mtu: mtu(*id), kept }))
            })
            .collect()
    }

    /// Takes the next event of an L2 network.
    pub(crate) fn apply(&mut self, id: L2NetworkId, event: &L2NetworkEvent) {
        match event {
            L2NetworkEvent::Created { physical_interface, vlan, .. } => {
                let record = L2Record {
                    physical_interface: physical_interface.clone(),
                    vlan: *vlan,
                    clusters: BTreeMap::new(),
                    changing: None,
                    deleted: false,
                };
                self.records.insert(id, record);
            }
            L2NetworkEvent::AttachRequested { cluster, hosts } => {
                if let Some(l2) = self.records.get_mut(&id) {
                    l2.clusters.insert(*cluster, Attachment::Requested(hosts.clone()));
                    let (interface, vlan) = (l2.physical_interface.clone(), l2.vlan);
                    self.take_over(*cluster, &interface, vlan);
                }
            }
            L2NetworkEvent::Attached { cluster } => {
                if let Some(l2) = self.records.get_mut(&id) {
                    l2.clusters.insert(*cluster, Attachment::Attached);
                }
            }
            L2NetworkEvent::Detached { cluster } if self.keep_bridges => {
                if let Some(l2) = self.records.get_mut(&id) {
                    l2.clusters.insert(*cluster, Attachment::Kept(l2.vlan));
                }
            }
            L2NetworkEvent::AttachFailed { cluster, .. } | L2NetworkEvent::Detached { cluster } => {
                if let Some(l2) = self.records.get_mut(&id) {
                    l2.clusters.remove(cluster);
                }
            }
            L2NetworkEvent::VlanChangeRequested { vlan, hosts, .. } => {
                let Some(l2) = self.records.get_mut(&id) else { return };
                let before = std::mem::replace(&mut l2.vlan, *vlan);
                l2.changing = Some(VlanChange { before, hosts: hosts.clone() });
                let (interface, clusters) = (l2.physical_interface.clone(), l2.clusters.clone());
                for cluster in clusters.keys() {
                    self.take_over(*cluster, &interface, *vlan);
                }
            }
            L2NetworkEvent::VlanChanged { vlan, .. } => {
                if let Some(l2) = self.records.get_mut(&id) {
                    (l2.vlan, l2.changing) = (*vlan, None);
                }
            }
            L2NetworkEvent::VlanChangeFailed { .. } => {
                if let Some(l2) = self.records.get_mut(&id)
                    && let Some(change) = l2.changing.take()
                {
                    l2.vlan = change.before;
                }
            }
            L2NetworkEvent::Deleted {} => {
                if let Some(l2) = self.records.get_mut(&id) {
                    (l2.deleted, l2.changing) = (true, None);
                    l2.clusters.retain(|_, attachment| matches!(attachment, Attachment::Kept(_)));
                    if l2.clusters.is_empty() {
                        self.records.remove(&id);
                    }
                }
            }
            L2NetworkEvent::Updated { .. }
            | L2NetworkEvent::ProviderAttached { .. }
            | L2NetworkEvent::ProviderDetached { .. } => {}
        }
    }

    /// A bridge that was kept in a cluster is some L2 network's again.
    fn take_over(&mut self, cluster: ClusterId, interface: &str, vlan: Option<u16>) {
        for l2 in self.records.values_mut().filter(|l2| l2.physical_interface == interface) {
            if l2.clusters.get(&cluster) == Some(&Attachment::Kept(vlan)) {
                l2.clusters.remove(&cluster);
            }
        }
        self.records.retain(|_, l2| !l2.deleted || !l2.clusters.is_empty());
    }
}
