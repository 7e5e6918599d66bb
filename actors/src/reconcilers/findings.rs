//! What a ping finds besides that an agent is there: services that do not answer as they should, and what differs from
//! the configuration in force. It comes into the log where it is news, and is mended where the policy says so.
//!
//! ```text
//!   ping ─► unhealthy? asked again, three times in all ─┐
//!        └► policy off: drift is not looked for         ├─► ReportApplianceFindings ─► heal: the document is pushed again,
//!           notify, heal: what differs?  ───────────────┘                              and what is left of it is looked at
//! ```

use super::{Reconcilers, router_worker::PING};
use crate::{
    Host, Router, VmInstance,
    agents::{HostTarget, RouterTarget},
};
use std::{collections::BTreeMap, sync::Arc};
use switchback_appliance::{DriftItem, Health, password_digest};
use switchback_bus::{ReportApplianceFindings, ReportHostFindings, ReportVmStatus};
use switchback_events::{Deviation, HostId};

/// What becomes of drift.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// Nobody looks.
    Off,
    /// It is in the log.
    Notify,
    /// It is in the log, and ends.
    Heal,
}

impl Policy {
    fn of(word: &str) -> Policy {
        match word {
            "off" => Policy::Off,
            "heal" => Policy::Heal,
            _ => Policy::Notify,
        }
    }
}

/// The services that do not answer as they should, with what was found.
fn unhealthy(health: &Health) -> BTreeMap<String, String> {
    let ailing = health.services.iter().filter(|(_, service)| !service.healthy);
    ailing.map(|(name, service)| (name.clone(), service.detail.clone())).collect()
}

fn deviations(items: Vec<DriftItem>) -> Vec<Deviation> {
    let deviation = |item: DriftItem| {
        let DriftItem { section, item, expected, observed } = item;
        Deviation { section, item, expected, observed }
    };
    items.into_iter().map(deviation).collect()
}

/// Looks at a router whose agent answered a ping; whether it is to be told its configuration again.
pub(super) async fn look(reconcilers: &Arc<Reconcilers>, target: &RouterTarget, health: Health) -> bool {
    let Some(known) = reconcilers.state::<Router>(target.id) else { return false };
    let policy = Policy::of(&reconcilers.config_of(target.id, ("virtualRouter", "drift.policy")));
    let mut ailing = unhealthy(&health);
    // A machine may be busy for a moment.
    for _ in 1..PING.0 {
        if ailing.is_empty() || ailing.keys().eq(known.unhealthy.iter()) {
            break;
        }
        tokio::time::sleep(PING.1).await;
        let Ok(again) = reconcilers.agents.router_health(target).await else { return false };
        ailing = unhealthy(&again);
    }
    let drift = match policy {
        Policy::Off => vec![],
        Policy::Notify | Policy::Heal => match reconcilers.agents.router_drift(target).await {
            Ok(drift) => deviations(drift.items),
            // The next ping says what is the matter.
            Err(_) => return false,
        },
    };
    let wrong = !ailing.is_empty() || !drift.is_empty();
    report(reconcilers, target, ailing, drift).await;
    wrong && policy == Policy::Heal
}

/// Says what is left after a router was told its configuration again.
pub(super) async fn after_mending(reconcilers: &Arc<Reconcilers>, target: &RouterTarget) {
    let (health, drift) =
        (reconcilers.agents.router_health(target).await, reconcilers.agents.router_drift(target).await);
    if let (Ok(health), Ok(drift)) = (health, drift) {
        report(reconcilers, target, unhealthy(&health), deviations(drift.items)).await;
    }
}

/// VMs that have taken the password that waited for them, by the word of their router.
pub(super) async fn saved_passwords(reconcilers: &Arc<Reconcilers>, health: &Health) {
    for (uuid, digest) in &health.saved_passwords {
        let waits = reconcilers.state::<VmInstance>(*uuid).and_then(|vm| vm.password.as_ref().map(password_digest));
        if waits.as_ref() == Some(digest) {
            let (uuid, status) = (*uuid, "PasswordSaved".to_string());
            let report = ReportVmStatus { uuid, status, detail: Some(digest.clone()) };
            reconcilers.report("router-reconciler", None, report).await;
        }
    }
}

async fn report(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    unhealthy: BTreeMap<String, String>,
    drift: Vec<Deviation>,
) {
    let Some(known) = reconcilers.state::<Router>(target.id) else { return };
    if unhealthy.is_empty() && known.unhealthy.is_empty() && drift.is_empty() && known.drift.is_empty() {
        return;
    }
    let found = ReportApplianceFindings { uuid: target.id, drift: Some(drift), unhealthy: Some(unhealthy) };
    reconcilers.report("router-reconciler", None, found).await;
}

/// The policy for what filters at the nics of a host's VMs.
pub(super) fn policy_of_host(reconcilers: &Reconcilers, host: HostId) -> Policy {
    Policy::of(&reconcilers.config_of(host, ("host", "drift.policy")))
}

/// Looks what filters at the nics of a host otherwise than it was put in place.
pub(super) async fn look_at_host(reconcilers: &Arc<Reconcilers>, target: &HostTarget, policy: Policy) {
    let Some(known) = reconcilers.state::<Host>(target.id) else { return };
    let drift = match policy {
        Policy::Off => vec![],
        Policy::Notify | Policy::Heal => match reconcilers.agents.host_drift(target).await {
            Ok(drift) => deviations(drift.items),
            Err(problem) => {
                tracing::debug!(host = %target.id, %problem, "a host does not say what differs");
                return;
            }
        },
    };
    if drift.is_empty() && known.drift.is_empty() {
        return;
    }
    let found = ReportHostFindings { uuid: target.id, drift };
    reconcilers.report("host-reconciler", None, found).await;
}
