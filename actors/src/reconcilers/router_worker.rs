//! The worker of one router: connects its agent, and keeps its configuration what the log implies. Every connect
//! replays the router's full history from the log; between connects the fold is carried on.

use super::{
    Reconcilers, RouterReplay, findings,
    host_worker::appliance_report,
    now, replacement,
    told::{Parts, Told},
};
use crate::{Host, Router, VmState, agents::RouterTarget};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use switchback_appliance::*;
use switchback_bus::{ReportApplianceStatus, ReportVmStatus};
use switchback_events::*;
use tokio::{sync::Notify, time::Instant};

/// Pauses between two looks for an agent that is starting: the first, and the longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// An appliance that its host could not carry so many times has failed.
const APPLIANCE_TRIES: u32 = 3;
/// An appliance that its host does not carry yet is looked at again after so long.
const WAIT: Duration = Duration::from_millis(200);
/// What an agent did not do is tried again after so long, each time after twice as long, and at the longest. Nothing
/// wakes the worker meanwhile: its own reports would.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// After so many refusals in a row what waits for the configuration has failed.
const REFUSALS: u32 = 4;
/// A router that is going is looked at again after so long.
const GOING: Duration = Duration::from_millis(500);
/// Tries of one ping, and the pause between them, as in ZStack.
pub(super) const PING: (usize, Duration) = (3, Duration::from_secs(1));

/// How long a start or a reboot may take.
const CONNECT: (&str, &str) = ("applianceVm", "connect.timeout");
/// How long a router may take to go.
const DELETION: (&str, &str) = ("applianceVm", "deletion.timeout");
/// A router that was told whole sections in each of its last steps rests between them: so many times as long as the
/// telling took, one less than the steps, and never longer than this. Who is told a few differences does not.
const REST_MAX: (u32, Duration) = (4, Duration::from_millis(500));

/// What the worker remembers between its steps.
#[derive(Default)]
pub(super) struct Memory {
    /// The last request to connect that was answered.
    connected: Position,
    /// The digest and revision that the agent has.
    pub(super) applied: Option<(String, Position)>,
    /// The document of before: what the agent holds, as far as is known.
    told: Option<Told>,
    /// The router's history as far as it was read.
    replay: Option<RouterReplay>,
    /// The agent's process, by its own word.
    pub(super) boot_id: Option<String>,
    appliance_failures: u32,
    /// Steps in a row that came to nothing.
    troubles: u32,
    /// Configurations in a row that the agent refused.
    refusals: u32,
    /// The agent answers for another router: it is to be restarted.
    impostor: bool,
    /// It was told again because of what a ping has found: what is left of that is to be looked at.
    mending: bool,
    /// Steps in a row that told the agent something new, and not by differences.
    streak: u32,
    /// The last telling carried whole sections.
    whole: bool,
    /// The position of the worker's last report: until the fold has it, what the fold says is out of date.
    pub(super) reported: Position,
    /// How far the record has been folded: a request after that, as to provision, has not been seen, and wakes the worker.
    folded: Position,
}

/// Works until the router is gone.
pub(super) async fn work(reconcilers: Arc<Reconcilers>, router: RouterId, wake: Arc<Notify>) {
    let mut memory = Memory::default();
    wake.notify_one();
    let mut pause = None;
    loop {
        let pause_now =
            pause.take().unwrap_or_else(|| reconcilers.seconds_of(router, ("virtualRouter", "ping.interval")));
        let pinging = tokio::time::timeout(pause_now, wake.notified()).await.is_err();
        let (record, folded) = {
            let world = reconcilers.world.lock();
            (world.fold.routers().get(&router).cloned(), world.fold.position())
        };
        let Some(record) = record else { break };
        if folded < memory.reported {
            continue;
        }
        memory.folded = folded;
        let Some(target) = reconcilers.router_target(router).filter(|_| record.wanted) else {
            memory = Memory::default();
            pause = going(&reconcilers, router, &record).await.then_some(GOING);
            continue;
        };
        if pinging && record.connected {
            ping(&reconcilers, &target, &mut memory).await;
        }
        // After a start of this server the host goes first: what it carries still is asked then, and not before.
        let host_first =
            memory.connected == 0 && reconcilers.state::<Host>(record.host).is_some_and(|host| host.connected());
        if (!record.connected || host_first) && !carried(&reconcilers, &target, &record, &mut memory).await {
            pause = Some(WAIT);
            continue;
        }
        if let Some(replacement) = record.replacing
            && replacement::carry_out(&reconcilers, &target, replacement, &mut memory).await
        {
            wake.notify_one();
            continue;
        }
        if !plugged(&reconcilers, &record) {
            pause = Some(WAIT);
            continue;
        }
        let (began, before) = (Instant::now(), memory.applied.as_ref().map(|(_, revision)| *revision));
        if let Err(problem) = step(&reconcilers, &target, &record, &mut memory).await {
            tracing::warn!(%router, %problem, "a router did not do as told");
            let limit = reconcilers.seconds_of(router, CONNECT).as_micros() as Micros;
            if !record.connected && now(&reconcilers) - record.requested_at > limit {
                give_up(&reconcilers, &target, &record, problem.to_string()).await;
            }
            tokio::time::sleep(RETRY.0.saturating_mul(1 << memory.troubles.min(10)).min(RETRY.1)).await;
            memory.troubles += 1;
            wake.notify_one();
        } else {
            memory.troubles = 0;
            if std::mem::take(&mut memory.mending) {
                findings::after_mending(&reconcilers, &target).await;
            }
        }
        // A router that changes all the time is told of many changes at once where each telling carries much.
        let told = memory.applied.as_ref().map(|(_, revision)| *revision) != before;
        memory.streak = if told && memory.whole { (memory.streak + 1).min(REST_MAX.0) } else { 0 };
        let rest = began.elapsed() * memory.streak.saturating_sub(1);
        if !rest.is_zero() {
            tokio::time::sleep(rest.min(REST_MAX.1)).await;
        }
    }
    let mut world = reconcilers.world.lock();
    world.router_wakes.remove(&router);
    world.appliances.remove(&router);
    world.appliance_errors.remove(&router);
    world.converged.remove(&router.0);
}

/// Whether the router is to go and has not gone yet. It does not go on for ever: nobody waits for a host that says
/// nothing.
async fn going(reconcilers: &Arc<Reconcilers>, router: RouterId, record: &RouterRecord) -> bool {
    let state = reconcilers.state::<Router>(router).map(|router| router.state);
    let entry = match state {
        Some(VmState::Stopping) => CONNECT,
        Some(VmState::Destroying) => DELETION,
        _ => return false,
    };
    let limit = reconcilers.seconds_of(router, entry);
    if now(reconcilers) - record.requested_at > limit.as_micros() as Micros {
        let detail = Some(format!("host {} did not stop it within {} seconds", record.host, limit.as_secs()));
        let report = ReportApplianceStatus { detail, ..appliance_report(router, "StopFailed") };
        reconcilers.report("router-reconciler", reconcilers.request(router), report).await;
    }
    true
}

/// Whether the router has all the nics that its configuration will name: its host plugs them in.
fn plugged(reconcilers: &Reconcilers, record: &RouterRecord) -> bool {
    let converged = reconcilers.world.lock().converged.get(&record.host.0).copied().unwrap_or(0);
    record.plugged <= record.applied.max(converged)
}

/// Whether the host carries the router's appliance. Before it does nobody knocks at the agent's door: a connection
/// that finds no link yet costs a second. An appliance that the host cannot carry, or not in time, has failed.
async fn carried(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
    memory: &mut Memory,
) -> bool {
    let error = {
        let mut world = reconcilers.world.lock();
        if world.appliances.get(&target.id) == Some(&record.generation) {
            return true;
        }
        world.appliance_errors.remove(&target.id)
    };
    if let Some(error) = error {
        memory.appliance_failures += 1;
        if memory.appliance_failures >= APPLIANCE_TRIES {
            memory.appliance_failures = 0;
            give_up(reconcilers, target, record, error).await;
        } else {
            reconcilers.clone().wake_host(target.host.id);
        }
        return false;
    }
    let limit = reconcilers.seconds_of(target.id, CONNECT);
    if record.applied == 0 && now(reconcilers) - record.requested_at > limit.as_micros() as Micros {
        let detail = format!("host {} did not carry it within {} seconds", target.host.id, limit.as_secs());
        give_up(reconcilers, target, record, detail).await;
    }
    false
}

async fn step(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
    memory: &mut Memory,
) -> Result<(), AgentProblem> {
    let connect = !record.connected || record.connect_requested > memory.connected && memory.connected > 0;
    let first = memory.connected == 0 && record.connected;
    if connect {
        memory.applied = None;
        if !record.provision_only || !record.connected {
            let Some(health) = reach(reconcilers, target, record).await? else { return Ok(()) };
            let health = renew_agent(reconcilers, target, record, health, memory.impostor).await?;
            memory.impostor = false;
            memory.boot_id = Some(health.boot_id.clone());
            return push(reconcilers, target, record, memory, Some(health)).await;
        }
    }
    if first || connect {
        memory.connected = record.connect_requested;
    }
    push(reconcilers, target, record, memory, None).await
}

/// Waits for the agent of a router that is starting. Nothing when the router has failed, or is to be looked at again.
async fn reach(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
) -> Result<Option<Health>, AgentProblem> {
    let limit = reconcilers.seconds_of(target.id, CONNECT);
    let mut look = LOOK.0;
    loop {
        let problem = match reconcilers.agents.router_health(target).await {
            Ok(health) => {
                findings::saved_passwords(reconcilers, &health).await;
                return Ok(Some(health));
            }
            Err(problem) => problem,
        };
        let current = reconcilers.router_record(target.id);
        if current.is_none_or(|current| !current.wanted || current.connect_requested != record.connect_requested) {
            return Ok(None);
        }
        let waited = now(reconcilers) - record.requested_at;
        if waited > limit.as_micros() as Micros {
            let detail = format!("its agent did not answer within {} seconds: {}", limit.as_secs(), problem.detail);
            give_up(reconcilers, target, record, detail).await;
            return Ok(None);
        }
        // Once Connected before, it is the pings that find it again.
        if record.applied > 0 && waited > 5_000_000 {
            look = LOOK.1;
        }
        tokio::time::sleep(look).await;
        look = (look * 2).min(LOOK.1);
    }
}

async fn give_up(reconcilers: &Arc<Reconcilers>, target: &RouterTarget, record: &RouterRecord, detail: String) {
    let starting = record.applied == 0;
    let status = if starting { "StartFailed" } else { "Disconnected" };
    let report = ReportApplianceStatus { detail: Some(detail), ..appliance_report(target.id, status) };
    reconcilers.report("router-reconciler", reconcilers.request(target.id), report).await;
}

/// On an explicit reconnect the agent is restarted, as this server's own where its digest differs; on a start or
/// reboot only where `agent.deployOnStart` says so.
async fn renew_agent(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
    health: Health,
    impostor: bool,
) -> Result<Health, AgentProblem> {
    let wanted = reconcilers.agents.agent_digest(target);
    let differs = health.agent_digest != wanted;
    let on_start = ["virtualRouter", "applianceVm"]
        .iter()
        .any(|category| reconcilers.config(category, "agent.deployOnStart") == "true");
    let upgrade = differs && (record.reconnect || on_start);
    if !record.reconnect && !upgrade && !impostor && health.id == target.id.0 {
        return Ok(health);
    }
    reconcilers.agents.restart_agent(target, upgrade).await?;
    let deadline = Instant::now() + reconcilers.seconds_of(target.id, ("virtualRouter", "vrouter.echoTimeout"));
    let renewed = loop {
        match reconcilers.agents.router_health(target).await {
            Ok(renewed) if renewed.boot_id != health.boot_id => break renewed,
            Err(problem) if Instant::now() > deadline => return Err(problem),
            _ => tokio::time::sleep(LOOK.0).await,
        }
    };
    if upgrade {
        let report = ReportApplianceStatus {
            agent_digest: Some(renewed.agent_digest.clone()),
            agent_digest_before: Some(health.agent_digest),
            ..appliance_report(target.id, "AgentUpgraded")
        };
        reconcilers.report("router-reconciler", reconcilers.request(target.id), report).await;
    }
    Ok(renewed)
}

/// Folds the log and tells the agent, where it does not have it yet. With `health` the router counts as Connected
/// after that.
async fn push(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
    memory: &mut Memory,
    health: Option<Health>,
) -> Result<(), AgentProblem> {
    let journal = reconcilers.states().journal().clone();
    let (router, seen) = (target.id, journal.durable());
    // A connect replays the full history; in between the fold is carried on.
    let carried_on = memory.replay.take().filter(|_| health.is_none());
    let mut replay = carried_on.unwrap_or_else(|| RouterReplay::new(router));
    // Where the agent was told before, and nothing has come between, it is told what is different.
    let told = memory.told.take().filter(|_| memory.applied.is_some() && health.is_none());
    let differs = told.is_some();
    let applied = memory.applied.as_ref().map(|(_, revision)| *revision).filter(|_| health.is_none());
    let replayed = tokio::task::spawn_blocking(move || {
        replay.advance(&journal, seen)?;
        // Equal revisions of one fold are equal configurations: nothing is built to be compared.
        let next = match applied == Some(replay.fold.revision) {
            true => Next::Same(told),
            false => Told::next(told, &replay.fold, &std::mem::take(&mut replay.touched))
                .map_or(Next::Nothing, Next::Differs),
        };
        Ok::<_, switchback_journal::ReadError>((replay, next))
    });
    let (replay, next) = match replayed.await {
        Ok(Ok(replayed)) => replayed,
        Ok(Err(error)) => return Err(broken(format!("replay router {router}: {error}"))),
        Err(error) => return Err(broken(format!("replay router {router}: {error}"))),
    };
    let revision = replay.fold.revision;
    memory.replay = Some(replay);
    let (parts, now) = match next {
        Next::Same(told) => {
            memory.told = told;
            reconcilers.converge(target.id.0, seen.min(memory.folded));
            return Ok(());
        }
        Next::Nothing => return Ok(()),
        Next::Differs(next) => next,
    };
    let push =
        |sections| Push { id: router.0, revision, epoch: reconcilers.epoch, sections, passwords: BTreeMap::new() };
    let digest = now.digest();
    let same = memory.applied.as_ref() == Some(&(digest.clone(), revision));
    if !same {
        memory.whole = parts.values().any(|section| section.body.is_some());
        let _permit = reconcilers.router_permit(router).await;
        let mut answer = reconcilers.agents.put_router(target, push(parts)).await;
        if differs && answer.as_ref().is_err_and(|problem| wants_more(problem.code)) {
            answer = reconcilers.agents.put_router(target, push(now.whole())).await;
        }
        if let Err(problem) = answer {
            failed(reconcilers, target, record, revision, &problem, health.is_some()).await;
            if problem.code != AgentProblemCode::Unreachable {
                memory.refusals += 1;
                if memory.refusals >= REFUSALS {
                    fail_waiting(reconcilers, target, record, &problem).await;
                }
            }
            return Err(problem);
        }
        memory.refusals = 0;
        memory.applied = Some((digest.clone(), revision));
        memory.appliance_failures = 0;
    }
    let report = ReportApplianceStatus {
        agent_digest: health.as_ref().map(|health| health.agent_digest.clone()),
        revision: Some(revision),
        config_digest: Some(digest),
        ..appliance_report(target.id, if health.is_some() { "Connected" } else { "Applied" })
    };
    let known = !same || health.is_some();
    if known
        && let Some(reported) =
            reconcilers.report("router-reconciler", cause(reconcilers, router, revision), report).await
    {
        memory.reported = reported;
        memory.connected = record.connect_requested;
    }
    memory.told = Some(now);
    reconcilers.converge(target.id.0, seen.min(memory.folded));
    Ok(())
}

/// What comes of looking at the log.
enum Next {
    /// Nothing that bears on the router since the agent was told this.
    Same(Option<Told>),
    /// There is no router.
    Nothing,
    /// How the document travels, and what the agent holds then.
    Differs((Parts, Told)),
}

/// What a push of a revision follows from: the last event that changed it, or the request to connect after that.
fn cause(reconcilers: &Reconcilers, router: RouterId, revision: Position) -> Option<Position> {
    reconcilers.request(router).max(Some(revision))
}

fn broken(detail: String) -> AgentProblem {
    AgentProblem { code: AgentProblemCode::Failed, section: None, detail }
}

async fn failed(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
    revision: Position,
    problem: &AgentProblem,
    connecting: bool,
) {
    if problem.code == AgentProblemCode::Unreachable {
        if !connecting {
            let detail = Some(problem.detail.clone());
            let report = ReportApplianceStatus { detail, ..appliance_report(target.id, "Disconnected") };
            reconcilers.report("router-reconciler", cause(reconcilers, target.id, revision), report).await;
        }
        return;
    }
    let report = ReportApplianceStatus {
        revision: Some(revision),
        section: problem.section.clone(),
        detail: Some(problem.detail.clone()),
        ..appliance_report(target.id, "ApplyFailed")
    };
    reconcilers.report("router-reconciler", cause(reconcilers, target.id, revision), report).await;
    if connecting {
        give_up(reconcilers, target, record, problem.to_string()).await;
    }
}

/// VMs that wait for a configuration that the agent does not take are not made, or do not start.
async fn fail_waiting(
    reconcilers: &Arc<Reconcilers>,
    target: &RouterTarget,
    record: &RouterRecord,
    problem: &AgentProblem,
) {
    let guests: Vec<L3NetworkId> =
        record.nics.iter().filter(|nic| nic.is(Nic::GUEST)).map(|nic| nic.l3_network).collect();
    let waiting: Vec<VmInstanceId> = {
        let world = reconcilers.world.lock();
        let pending = world.fold.pending().filter(|(_, vm)| vm.wanted && vm.generation > record.applied);
        pending
            .filter(|(_, vm)| vm.nics.iter().any(|nic| guests.contains(&nic.nic.l3_network)))
            .map(|(id, _)| id)
            .collect()
    };
    for uuid in waiting {
        let detail = Some(format!("virtual router {} refuses its configuration: {problem}", target.id));
        let report = ReportVmStatus { uuid, status: "Failed".to_string(), detail };
        reconcilers.report("router-reconciler", reconcilers.request(uuid), report).await;
    }
}

/// Whether an agent that was told differences is to be told all: it holds another document, or knows no differences.
fn wants_more(code: AgentProblemCode) -> bool {
    matches!(code, AgentProblemCode::MissingSection | AgentProblemCode::Invalid)
}

/// Asks the agent whether it is there: three tries a second apart. One that was restarted, or that belongs to another
/// router, is told everything again.
async fn ping(reconcilers: &Arc<Reconcilers>, target: &RouterTarget, memory: &mut Memory) {
    let _permit = reconcilers.ping_permit().await;
    let mut last = None;
    for attempt in 0..PING.0 {
        if attempt > 0 {
            tokio::time::sleep(PING.1).await;
        }
        match reconcilers.agents.router_health(target).await {
            Ok(health) if health.id == target.id.0 => {
                findings::saved_passwords(reconcilers, &health).await;
                if memory.boot_id.replace(health.boot_id.clone()).is_some_and(|before| before != health.boot_id) {
                    memory.applied = None;
                } else if findings::look(reconcilers, target, health).await {
                    (memory.applied, memory.mending) = (None, true);
                }
                return;
            }
            Ok(health) => {
                memory.impostor = true;
                last = Some(format!("its agent answers for router {}", health.id));
            }
            Err(problem) => last = Some(problem.to_string()),
        }
    }
    let report = ReportApplianceStatus { detail: last, ..appliance_report(target.id, "Disconnected") };
    reconcilers.report("router-reconciler", None, report).await;
}
