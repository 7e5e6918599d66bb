//! The replacement of a router's appliance: what the worker of the router asks of the host's agent, step by step, and what
//! of that is in the log.
//!
//! ```text
//!  ReplaceRequested ─ Prepare ─► SuccessorPrepared ─ TakeOver ─► SuccessorServes ─ asked where the router is ─ Finish ─► Replaced
//!                        │                              │                                   │
//!                        └──────────────────────────────┴──────────── GoBack ◄──────────────┘ ────────► ReplaceFailed
//! ```
//!
//! To another host a router goes by other steps, which its two hosts are asked for in turn; each answer has what the next
//! step brings along. Between the last two nobody serves.
//!
//! ```text
//!  MoveRequested ─ both know ─ Pack ─ Arrive ─► SuccessorPrepared ─ Pack ─ Arrive ─ Leave ─ Settle ─► SuccessorServes ─ asked ─► Moved
//! ```
//!
//! The host's agent keeps how far it is, and takes every step again. So a server that was restarted asks from the
//! beginning, and a host that does not answer is asked again later: one of both appliances serves meanwhile.

use super::{Reconcilers, findings, host_worker::appliance_report, router_worker::Memory};
use crate::agents::RouterTarget;
use std::{sync::Arc, time::Duration};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, Baggage, Replacement, SuccessionReport, SuccessionStage, SuccessionStep,
};
use switchback_bus::ReportApplianceStatus;
use switchback_events::{HostId, Position};
use tokio::time::Instant;

/// How long the successor's agent may take to answer where the router is, before the one before it serves again.
const FOUND: Duration = Duration::from_secs(10);
/// How long the two hosts may take to know that a router is to go from one to the other.
const KNOWN: Duration = Duration::from_secs(20);
/// How long either host may take for its part while nobody serves.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Pauses between two looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// Replaces the appliance. `false` where its host does not answer: then it is as it was, and this is tried again.
pub(super) async fn carry_out(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    replacement: Replacement,
    memory: &mut Memory,
) -> bool {
    let work = Work { reconcilers, target, replacement: replacement.position };
    let done = match replacement.to {
        Some(to) => work.journey(to, memory).await,
        None => match work.steps(memory).await {
            Err(problem) if problem.code == AgentProblemCode::Unreachable => {
                tracing::warn!(router = %target.id, %problem, "a replacement waits for the host");
                return false;
            }
            Err(problem) => Err(work.back(problem, None).await),
            Ok(()) => Ok(()),
        },
    };
    let report = match done {
        Ok(()) => {
            // Whoever was told and asked before is gone.
            (memory.applied, memory.boot_id) = (None, None);
            appliance_report(target.id, "Replaced")
        }
        Err(detail) => ReportApplianceStatus { detail: Some(detail), ..appliance_report(target.id, "ReplaceFailed") },
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
        let held = self.held().await;
        let upgrade = held.as_ref() != Some(&wanted);
        let prepared = self.ask(self.target, SuccessionStep::Prepare, upgrade, None).await?;
        if prepared.stage == SuccessionStage::Prepared {
            self.tell(memory, appliance_report(self.target.id, "SuccessorPrepared")).await;
            let serving = self.ask(self.target, SuccessionStep::TakeOver, false, None).await?;
            self.serves(memory, &serving, serving.switch_micros).await;
        }
        if prepared.stage != SuccessionStage::Finished {
            self.found().await?;
            self.ask(self.target, SuccessionStep::Finish, false, None).await?;
        }
        self.upgraded(memory, held, wanted).await;
        Ok(())
    }

    /// Tells that the agent is another one.
    async fn upgraded(&self, memory: &mut Memory, held: Option<String>, wanted: String) {
        if held.as_ref().is_some_and(|held| *held != wanted) {
            let report = ReportApplianceStatus {
                agent_digest: Some(wanted),
                agent_digest_before: held,
                ..appliance_report(self.target.id, "AgentUpgraded")
            };
            self.tell(memory, report).await;
        }
    }

    async fn serves(&self, memory: &mut Memory, serving: &SuccessionReport, switch_micros: u64) {
        let report = ReportApplianceStatus {
            connections: Some(serving.connections),
            leases: Some(serving.leases),
            switch_micros: Some(switch_micros),
            ..appliance_report(self.target.id, "SuccessorServes")
        };
        self.tell(memory, report).await;
    }

    /// The same on another host; why not, where the router is to be on its own host again.
    async fn journey(&self, to: HostId, memory: &mut Memory) -> Result<(), String> {
        let there = self.known(to).await?;
        match self.travel(&there, memory).await {
            Ok(()) => Ok(()),
            Err(problem) => Err(self.back(problem, Some(&there)).await),
        }
    }

    /// Waits until both hosts know of the journey, and answers where the router is to be.
    async fn known(&self, to: HostId) -> Result<RouterTarget, String> {
        let deadline = Instant::now() + KNOWN;
        loop {
            let behind = {
                let world = self.reconcilers.world.lock();
                let Some(host) = world.fold.hosts().get(&to) else {
                    return Err(format!("host {to} was deleted meanwhile"));
                };
                let told = |host: HostId| world.converged.get(&host.0).is_some_and(|at| *at >= self.replacement);
                match [to, self.target.host.id].into_iter().find(|host| !told(*host)) {
                    None => return Ok(RouterTarget { host: self.reconcilers.host_target(to, host), ..*self.target }),
                    Some(behind) => behind,
                }
            };
            let current = self.reconcilers.router_record(self.target.id).and_then(|record| record.replacing);
            if current.is_none_or(|current| current.position != self.replacement) {
                return Err("it was told something else meanwhile".to_string());
            }
            if Instant::now() > deadline {
                return Err(format!("host {behind} was not told of it within {} seconds", KNOWN.as_secs()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The binary of the agent, if it answers; what it has to say of passwords goes into the log before it goes.
    async fn held(&self) -> Option<String> {
        let health = self.reconcilers.agents.router_health(self.target).await.ok()?;
        findings::saved_passwords(self.reconcilers, &health).await;
        Some(health.agent_digest)
    }

    async fn travel(&self, there: &RouterTarget, memory: &mut Memory) -> Result<(), AgentProblem> {
        use SuccessionStep::{Arrive, Leave, Pack, Settle};
        let agents = &self.reconcilers.agents;
        let wanted = agents.agent_digest(there);
        let held = self.held().await;
        // What a host starts by itself is of its own agent's binary.
        let upgrade = agents.host_health(&there.host).await?.agent_digest != wanted;
        let packed = self.ask(self.target, Pack, false, None).await?.baggage;
        let mut stage = self.ask(there, Arrive, upgrade, packed).await?.stage;
        if stage == SuccessionStage::Prepared {
            self.tell(memory, appliance_report(self.target.id, "SuccessorPrepared")).await;
            // Much may have come while it was made.
            let packed = self.ask(self.target, Pack, false, None).await?.baggage;
            stage = self.ask(there, Arrive, upgrade, packed).await?.stage;
        }
        if stage == SuccessionStage::Prepared {
            let began = Instant::now();
            let rest = soon(self.ask(self.target, Leave, false, None)).await?.baggage;
            let serving = soon(self.ask(there, Settle, false, rest)).await?;
            let gap = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.serves(memory, &serving, gap).await;
        }
        self.found().await?;
        self.upgraded(memory, held, wanted).await;
        Ok(())
    }

    /// Has the one before serve again, and says why. The one that is not to serve goes first, where it answers soon.
    async fn back(&self, problem: AgentProblem, there: Option<&RouterTarget>) -> String {
        let mut detail = problem.detail;
        let mut failed = |error: AgentProblem| detail.push_str(&format!("; going back failed too: {error}"));
        if let Some(there) = there {
            soon(self.ask(there, SuccessionStep::GoBack, false, None)).await.map_err(&mut failed).ok();
        }
        self.ask(self.target, SuccessionStep::GoBack, false, None).await.map_err(&mut failed).ok();
        detail
    }

    async fn ask(
        &self,
        at: &RouterTarget,
        step: SuccessionStep,
        upgrade: bool,
        baggage: Option<Baggage>,
    ) -> Result<SuccessionReport, AgentProblem> {
        self.reconcilers.agents.succeed(at, self.replacement, step, upgrade, baggage).await
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

/// What is waited for while nobody serves.
async fn soon<T>(asked: impl Future<Output = Result<T, AgentProblem>>) -> Result<T, AgentProblem> {
    tokio::time::timeout(HAND_OVER, asked).await.unwrap_or_else(|_| {
        let detail = format!("a host did not do its part within {} seconds", HAND_OVER.as_secs());
        Err(AgentProblem { code: AgentProblemCode::Unreachable, section: None, detail })
    })
}
