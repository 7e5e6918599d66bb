//! Who answers for an address on an L2 network: hosts of its clusters ask by ARP.

use super::Reconcilers;
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};
use switchback_appliance::ArpProbe;
use switchback_events::*;
use tokio::task::JoinSet;

/// So many hosts of a cluster are asked: a question reaches the whole network from any of them.
const HOSTS_ASKED: usize = 16;
/// Who has not answered by then says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

impl Reconcilers {
    /// The MAC that somebody on an L2 network answers with for `ip`. Hosts that fail, or that are away, say nothing.
    pub async fn who_answers(&self, l2_network: L2NetworkId, ip: Ipv4Addr) -> Option<Mac> {
        let targets: Vec<_> = {
            let world = self.world.lock();
            let mut asked: BTreeMap<ClusterId, usize> = BTreeMap::new();
            let carriers = world.fold.carriers(l2_network);
            let hosts = carriers.into_iter().filter_map(|id| Some((id, world.fold.hosts().get(&id)?)));
            hosts
                .filter(|(_, host)| {
                    let idle = matches!(host.state, HostState::PreMaintenance | HostState::Maintenance);
                    let asked = asked.entry(host.cluster).or_default();
                    let ask = host.status == HostStatus::Connected && !idle && *asked < HOSTS_ASKED;
                    *asked += usize::from(ask);
                    ask
                })
                .map(|(id, host)| self.host_target(id, host))
                .collect()
        };
        let mut answers = JoinSet::new();
        for target in targets {
            let agents = self.agents.clone();
            answers.spawn(async move { agents.probe_arp(&target, ArpProbe { l2_network, ip }).await });
        }
        let first = async {
            while let Some(answer) = answers.join_next().await {
                match answer {
                    Ok(Ok(Some(mac))) => return Some(mac),
                    Ok(Err(problem)) => tracing::debug!(%ip, %problem, "a host could not ask by ARP"),
                    _ => {}
                }
            }
            None
        };
        tokio::time::timeout(PATIENCE, first).await.ok().flatten()
    }
}
