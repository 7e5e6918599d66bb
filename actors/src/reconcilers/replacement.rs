//! The replacement of a router's appliance: what the worker of the router asks of the host's agent, step by step, and what
//! of that is in the log.
//!
//! ```text
//!  ReplaceRequested ─ Prepare ─► SuccessorPrepared ─ TakeOver ─► SuccessorServes ─ asked where the router is ─ Finish ─► Replaced
//!                        │                              │                                   │
//!                        └──────────────────────────────┴──────────── GoBack ◄──────────────┘ ────────► ReplaceFailed
//! ```
//!
//! The host's agent keeps how far it is, and takes every step again. So a server that was restarted asks from the
//! beginning, and a host that does not answer is asked again later: one of both appliances serves meanwhile.

use super::{Reconcilers, host_worker::appliance_report, router_worker::Memory};
use crate::agents::RouterTarget;
use std::{sync::Arc, time::Duration};
use switchback_appliance::{AgentProblem, AgentProblemCode, SuccessionStage, SuccessionStep};
use switchback_bus::ReportApplianceStatus;
use switchback_events::Position;
use tokio::time::Instant;

/// How long the successor's agent may take to answer where the router is, before the one before it serves again.
const FOUND: Duration = Duration::from_secs(10);
/// Pauses between two looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// Replaces the appliance. `false` where its host does not answer: then it is as it was, and this is tried again.
pub(super) async fn carry_out(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    replacement: Position,
    memory: &mut Memory,
) -> bool {
    let work = Work { reconcilers, target, replacement };
    let report = match work.steps(memory).await {
        Ok(()) => {
            // Whoever was told and asked before is gone.
            (memory.applied, memory.boot_id) = (None, None);
            appliance_report(target.id, "Replaced")
        }
        Err(problem) if problem.code == AgentProblemCode::Unreachable => {
            tracing::warn!(router = %target.id, %problem, "a replacement waits for the host");
            return false;
        }
        Err(problem) => {
            let back = work.ask(SuccessionStep::GoBack, false).await;
            let back = back.err().map(|error| format!("; going back failed too: {error}")).unwrap_or_default();
            let detail = Some(format!("{}{back}", problem.detail));
            ReportApplianceStatus { detail, ..appliance_report(target.id, "ReplaceFailed") }
        }
    };
    work.tell(memory, report).await;
    true
}

struct Work<'a> {
    reconcilers: &'a Arc<Reconcilers>,
    target: &'a RouterTarget,
    replacement: Position,
}

impl Work<'_> {
    async fn steps(&self, memory: &mut Memory) -> Result<(), AgentProblem> {
        let agents = &self.reconcilers.agents;
        let wanted = agents.agent_digest(self.target);
        // One that does not answer is replaced by one that does, of this server's own.
        let held = agents.router_health(self.target).await.ok().map(|health| health.agent_digest);
        let upgrade = held.as_ref() != Some(&wanted);
        let prepared = self.ask(SuccessionStep::Prepare, upgrade).await?;
        if prepared.stage == SuccessionStage::Prepared {
            self.tell(memory, appliance_report(self.target.id, "SuccessorPrepared")).await;
            let serving = self.ask(SuccessionStep::TakeOver, false).await?;
            let report = ReportApplianceStatus {
                connections: Some(serving.connections),
                leases: Some(serving.leases),
                switch_micros: Some(serving.switch_micros),
                ..appliance_report(self.target.id, "SuccessorServes")
            };
            self.tell(memory, report).await;
        }
        if prepared.stage != SuccessionStage::Finished {
            self.found().await?;
            self.ask(SuccessionStep::Finish, false).await?;
        }
        if upgrade && held.is_some() {
            let report = ReportApplianceStatus {
                agent_digest: Some(wanted),
                agent_digest_before: held,
                ..appliance_report(self.target.id, "AgentUpgraded")
            };
            self.tell(memory, report).await;
        }
        Ok(())
    }

    async fn ask(
        &self,
        step: SuccessionStep,
        upgrade: bool,
    ) -> Result<switchback_appliance::SuccessionReport, AgentProblem> {
        self.reconcilers.agents.succeed(self.target, self.replacement, step, upgrade).await
    }

    async fn tell(&self, memory: &mut Memory, report: ReportApplianceStatus) {
        let cause = Some(self.replacement);
        if let Some(position) = self.reconcilers.report("router-reconciler", cause, report).await {
            memory.reported = memory.reported.max(position);
        }
    }

    /// Waits until the successor answers by the way that the one before it did.
    async fn found(&self) -> Result<(), AgentProblem> {
        let deadline = Instant::now() + FOUND;
        loop {
            let problem = match self.reconcilers.agents.router_health(self.target).await {
                Ok(health) if health.id == self.target.id.0 && health.healthy => return Ok(()),
                Ok(health) => {
                    let unwell = health.services.iter().filter(|(_, service)| !service.healthy);
                    let unwell: Vec<String> = unwell.map(|(name, found)| format!("{name}: {}", found.detail)).collect();
                    format!("it serves, and is not well: {}", unwell.join("; "))
                }
                Err(problem) => format!("it serves, and its agent does not answer: {}", problem.detail),
            };
            if Instant::now() > deadline {
                let detail = format!("the second appliance was plugged in and out again: {problem}");
                return Err(AgentProblem { code: AgentProblemCode::Failed, section: None, detail });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
