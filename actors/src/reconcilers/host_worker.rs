//! The worker of one host: connects it, tells it what it should carry, and reports what it finds of attachments, VMs
//! and appliances.

use super::{
    Reconcilers,
    findings::{self, Policy},
    now,
};
use crate::{agents::HostTarget, *};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use switchback_appliance::*;
use switchback_bus::{
    Command, ReportApplianceStatus, ReportHostStatus, ReportL2Attachment, ReportL2VlanChange, ReportVmStatus,
};
use switchback_events::*;
use tokio::{sync::Notify, time::Instant};

/// A host that does not answer is tried again after so long.
const RETRY: Duration = Duration::from_millis(1000);
/// So many hosts realise an L2 network at a time.
const REALISE_AT_A_TIME: usize = 10;

/// A host that is woken all the time is looked through for operations that are late after so long.
const EXPIRE: Duration = Duration::from_secs(1);

/// What the worker remembers between its steps.
#[derive(Default)]
struct Memory {
    /// The last request to connect that was answered.
    connected: Position,
    /// Appliances whose agents have been given their certificates.
    prepared: BTreeSet<RouterId>,
    /// Pings in a row that failed.
    failures: u32,
    /// What the agent was last told, what it answered, and when.
    told: Option<(HostSections, ApplyReport, Instant)>,
}

/// Works until the host is deleted.
pub(super) async fn work(reconcilers: Arc<Reconcilers>, host: HostId, wake: Arc<Notify>) {
    let mut memory = Memory::default();
    if reconcilers.config("host", "reconnectAllOnBoot") == "false" {
        let world = reconcilers.world.lock();
        let settled = world.fold.hosts().get(&host).filter(|record| record.status != HostStatus::Connecting);
        memory.connected = settled.map_or(0, |record| record.connect_requested);
    }
    wake.notify_one();
    let mut pause = None;
    let mut last = None;
    let mut expired = tokio::time::Instant::now();
    loop {
        let pause_now = pause.take().unwrap_or_else(|| reconcilers.seconds_of(host, ("host", "ping.interval")));
        let pinged = tokio::time::timeout(pause_now, wake.notified()).await.is_err();
        let Some(record) = reconcilers.world.lock().fold.hosts().get(&host).cloned() else {
            dismiss(&reconcilers, host, last).await;
            break;
        };
        if record.state == HostState::Maintenance {
            (memory, last) = (Memory::default(), None);
            pass_over(&reconcilers, host).await;
            continue;
        }
        let waits = record.status == HostStatus::Disconnected && record.connect_requested <= memory.connected;
        if waits && reconcilers.config_of(host, ("host", "connection.autoReconnectOnError")) == "false" {
            refuse_realisations(&reconcilers, host, "it is Disconnected and waits for ReconnectHost").await;
            continue;
        }
        let target = reconcilers.host_target(host, &record);
        last = Some(target);
        let well = match pinged && record.status == HostStatus::Connected {
            true => ping(&reconcilers, &target).await,
            false => Ok(()),
        };
        let done = match well {
            Ok(()) => step(&reconcilers, &target, &record, &mut memory, pinged).await,
            Err(problem) => Err(problem),
        };
        match done {
            Ok(()) => memory.failures = 0,
            Err(problem) => {
                tracing::debug!(%host, %problem, "a host did not do as told");
                memory.failures += 1;
                refuse_realisations(&reconcilers, host, &problem.to_string()).await;
                let most: u32 = reconcilers.config_of(host, ("host", "ping.maxFailure")).parse().unwrap_or(3);
                if record.status != HostStatus::Connected || memory.failures >= most {
                    let reason = Some(problem.to_string());
                    let report =
                        ReportHostStatus { uuid: host, status: "Disconnected".to_string(), reason, notes: None };
                    let asked = reconcilers.request(host).filter(|_| record.status == HostStatus::Connecting);
                    reconcilers.report("host-reconciler", asked, report).await;
                    memory.connected = memory.connected.max(record.connect_requested);
                }
                pause = Some(RETRY);
            }
        }
        // A host that is always busy is looked after, too.
        if pinged || expired.elapsed() > EXPIRE {
            expire(&reconcilers, host).await;
            expired = tokio::time::Instant::now();
        }
    }
    let mut world = reconcilers.world.lock();
    world.host_wakes.remove(&host);
    world.converged.remove(&host.0);
}

/// Asks the agent for its health, and waits no longer than is configured.
async fn ping(reconcilers: &Arc<Reconcilers>, target: &HostTarget) -> Result<(), AgentProblem> {
    let _permit = reconcilers.host_ping_permit().await;
    let limit = reconcilers.seconds_of(target.id, ("host", "ping.timeout"));
    match tokio::time::timeout(limit, reconcilers.agents.host_health(target)).await {
        Ok(answer) => answer.map(|_| ()),
        Err(_) => {
            let detail = format!("host {}: no answer to a ping within {limit:?}", target.id);
            Err(AgentProblem { code: AgentProblemCode::Unreachable, section: None, detail })
        }
    }
}

async fn step(
    reconcilers: &Arc<Reconcilers>,
    target: &HostTarget,
    record: &HostRecord,
    memory: &mut Memory,
    pinged: bool,
) -> Result<(), AgentProblem> {
    let host = target.id;
    let connect = record.status != HostStatus::Connected || record.connect_requested > memory.connected;
    let mut notes = Vec::new();
    if connect {
        let health = reconcilers.agents.host_health(target).await?;
        notes = notes_of(&health);
        memory.prepared.clear();
    }
    if connect || pinged {
        memory.told = None;
    }
    let policy = findings::policy_of_host(reconcilers, host);
    if pinged && !connect {
        findings::look_at_host(reconcilers, target, policy).await;
    }
    let mut unprepared = Vec::new();
    let (mut config, pending) = {
        let world = reconcilers.world.lock();
        let Some(config) = world.fold.config(host) else { return Ok(()) };
        let pending: BTreeMap<Realisation, InterfaceCheck> = world
            .fold
            .realisations()
            .filter(|(_, hosts)| hosts.contains(&host))
            .filter_map(|(asked, _)| {
                let (interface, vlan) = world.fold.l2(asked.l2_network)?;
                Some((asked, InterfaceCheck { physical_interface: interface.to_string(), vlan }))
            })
            .collect();
        (config, pending)
    };
    config.sections.security.as_found = policy != Policy::Heal;
    // Many events touch a host and leave its document as it is: then its last answer stands, unless that is old.
    let none_goes = reconcilers.world.lock().fold.routers_of(host).all(|(_, router)| router.wanted);
    if pending.is_empty()
        && none_goes
        && let Some((sections, report, at)) = &memory.told
        && *sections == config.sections
        && at.elapsed() < reconcilers.seconds("host", "ping.interval")
    {
        vms(reconcilers, host, &config, report).await;
        reconcilers.converge(host.0, config.revision);
        return idle(reconcilers, record, host).await;
    }
    memory.told = None;
    // Every host takes its places in the same order.
    let mut permits = Vec::new();
    for asked in pending.keys() {
        permits.push(reconcilers.permit(asked.l2_network.0, REALISE_AT_A_TIME).await);
    }
    for (router, appliance) in &config.sections.appliances {
        if memory.prepared.contains(router) {
            continue;
        }
        match reconcilers.agents.prepare_appliance(target, *router, appliance.management.ip).await {
            Ok(()) => drop(memory.prepared.insert(*router)),
            Err(problem) if problem.code == AgentProblemCode::Unreachable => return Err(problem),
            Err(problem) => unprepared.push((*router, problem)),
        }
    }
    memory.prepared.retain(|router| config.sections.appliances.contains_key(router));
    // What cannot be prepared cannot start, and holds up nothing else; what runs goes on as it is.
    for (router, problem) in unprepared {
        let starting = reconcilers.router_record(router).is_some_and(|record| record.applied == 0);
        if starting {
            config.sections.appliances.remove(&router);
            reconcilers.world.lock().appliance_errors.insert(router, problem.to_string());
            reconcilers.clone().wake_router(router);
        }
    }
    let mut answers: BTreeMap<Realisation, Result<(), String>> = BTreeMap::new();
    for (asked, check) in pending {
        let answer = reconcilers.agents.check_interface(target, check).await;
        answers.insert(asked, answer.map_err(|problem| format!("host {host}: {}", problem.detail)));
    }
    if answers.iter().any(|(asked, answer)| asked.cluster.is_none() && answer.is_err()) {
        // What is on the network stays where it is; the failure wakes this worker with the VLAN of before.
        realised(reconcilers, host, answers).await;
        return Ok(());
    }
    let report = reconcilers.agents.put_host(target, push_of(&config, reconcilers.epoch)).await?;
    drop(permits);
    for (asked, answer) in &mut answers {
        if answer.is_ok() {
            *answer = item(&report, asked.l2_network.0).map(|_| ()).map_err(|error| format!("host {host}: {error}"));
        }
    }
    if connect {
        connected(reconcilers, host, &config, &report, notes).await?;
        memory.connected = record.connect_requested;
    }
    realised(reconcilers, host, answers).await;
    appliances(reconcilers, host, &config, &report).await;
    vms(reconcilers, host, &config, &report).await;
    if pinged && !connect && policy == Policy::Heal {
        findings::look_at_host(reconcilers, target, policy).await;
    }
    // A host that does not filter as it should is not up to it.
    if filters(&report) {
        reconcilers.converge(host.0, config.revision);
    }
    // What went wrong, or is not settled, is told again.
    if report.items.values().all(|item| item.ok) && filters(&report) {
        memory.told = Some((config.sections, report, Instant::now()));
    }
    idle(reconcilers, record, host).await
}

/// A host that is being emptied says so when it has been told to carry nothing more.
async fn idle(reconcilers: &Arc<Reconcilers>, record: &HostRecord, host: HostId) -> Result<(), AgentProblem> {
    if record.state == HostState::PreMaintenance {
        let report = ReportHostStatus { uuid: host, status: "Idle".to_string(), reason: None, notes: None };
        reconcilers.report("host-reconciler", reconcilers.request(host), report).await;
    }
    Ok(())
}

/// A host that was deleted carries nothing any more. Whether its agent hears of it is its own business: nobody waits.
async fn dismiss(reconcilers: &Arc<Reconcilers>, host: HostId, target: Option<HostTarget>) {
    pass_over(reconcilers, host).await;
    let Some(target) = target else { return };
    let revision = reconcilers.world.lock().fold.position();
    let nothing = HostConfig { host: target.id, revision, sections: HostSections::default() };
    if let Err(problem) = reconcilers.agents.put_host(&target, push_of(&nothing, reconcilers.epoch)).await {
        tracing::debug!(host = %target.id, %problem, "a deleted host was not told");
    }
}

fn push_of(config: &HostConfig, epoch: u64) -> Push {
    Push {
        id: config.host.0,
        revision: config.revision,
        epoch,
        sections: config.sections.parts(),
        passwords: BTreeMap::new(),
    }
}

/// Whether what filters at nics is in place.
fn filters(report: &ApplyReport) -> bool {
    let security = report.sections.get("security");
    security.is_none_or(|section| !section.actions.iter().any(|action| action.starts_with("failed")))
}

fn item(report: &ApplyReport, id: Id) -> Result<&ItemReport, String> {
    match report.items.get(&id) {
        Some(item) if item.ok => Ok(item),
        Some(item) => Err(item.error.clone().unwrap_or_else(|| "not realised".to_string())),
        None => Err("the host's agent does not speak of it".to_string()),
    }
}

/// What users should know of a host.
fn notes_of(health: &Health) -> Vec<String> {
    let lacks = |name: &str| health.capabilities.get(name) == Some(&false);
    let mut notes = Vec::new();
    if lacks("vlan") {
        notes.push(
            "its kernel has no 802.1Q: an interface named <interface>.<vlan> stands in for each VLAN".to_string(),
        );
    }
    if lacks("securityGroups") {
        notes.push(
            "its kernel does not track connections of bridged packets: VMs in security groups do not start".to_string(),
        );
    }
    notes
}

async fn connected(
    reconcilers: &Arc<Reconcilers>,
    host: HostId,
    config: &HostConfig,
    report: &ApplyReport,
    notes: Vec<String>,
) -> Result<(), AgentProblem> {
    let failed = config.sections.bridges.iter().filter(|(_, bridge)| !bridge.kept).find_map(|(l2, _)| {
        let attached = reconcilers.state::<L2Network>(*l2)?;
        let cluster = reconcilers.state::<Host>(host)?.cluster;
        let error = item(report, l2.0).err().filter(|_| attached.attached_to(cluster))?;
        Some(format!("L2 network {l2} cannot be realised: {error}"))
    });
    if let Some(detail) = failed {
        return Err(AgentProblem { code: AgentProblemCode::Failed, section: Some("bridges".to_string()), detail });
    }
    let report = ReportHostStatus { uuid: host, status: "Connected".to_string(), reason: None, notes: Some(notes) };
    reconcilers.report("host-reconciler", reconcilers.request(host), report).await;
    Ok(())
}

/// Records what this host answered; whoever completes the round reports it.
async fn realised(reconcilers: &Arc<Reconcilers>, host: HostId, answers: BTreeMap<Realisation, Result<(), String>>) {
    let mut complete: Vec<(L2NetworkId, Command)> = Vec::new();
    {
        let mut world = reconcilers.world.lock();
        let under_way: BTreeMap<Realisation, Vec<HostId>> =
            world.fold.realisations().map(|(asked, hosts)| (asked, hosts.to_vec())).collect();
        // What comes after a round has ended does not count in the next one.
        world.realisations.retain(|asked, _| under_way.contains_key(asked));
        for (asked, answer) in answers.into_iter().filter(|(asked, _)| under_way.contains_key(asked)) {
            world.realisations.entry(asked).or_default().insert(host, answer);
        }
        for (asked, hosts) in under_way {
            let Some(round) = world.realisations.get(&asked) else { continue };
            let error = round.values().find_map(|answer| answer.clone().err());
            if error.is_some() || hosts.iter().all(|host| round.contains_key(host)) {
                world.realisations.remove(&asked);
                let l2_network_uuid = asked.l2_network;
                let report = match asked.cluster {
                    Some(cluster_uuid) => ReportL2Attachment { l2_network_uuid, cluster_uuid, error }.into(),
                    None => ReportL2VlanChange { l2_network_uuid, error }.into(),
                };
                complete.push((l2_network_uuid, report));
            }
        }
    }
    for (l2, report) in complete {
        reconcilers.report("host-reconciler", reconcilers.request(l2), report).await;
    }
}

/// A host that cannot be told cannot realise what it is asked to either: that waits for nobody.
async fn refuse_realisations(reconcilers: &Arc<Reconcilers>, host: HostId, why: &str) {
    answer_realisations(reconcilers, host, &Err(format!("host {host}: {why}"))).await;
}

/// A host in maintenance, or deleted, holds up nothing that asked it before; in maintenance it realises it when it is
/// taken back.
async fn pass_over(reconcilers: &Arc<Reconcilers>, host: HostId) {
    answer_realisations(reconcilers, host, &Ok(())).await;
}

async fn answer_realisations(reconcilers: &Arc<Reconcilers>, host: HostId, answer: &Result<(), String>) {
    let answers: BTreeMap<_, _> = {
        let world = reconcilers.world.lock();
        let asked = world.fold.realisations().filter(|(_, hosts)| hosts.contains(&host));
        asked.map(|(asked, _)| (asked, answer.clone())).collect()
    };
    if !answers.is_empty() {
        realised(reconcilers, host, answers).await;
    }
}

async fn appliances(reconcilers: &Arc<Reconcilers>, host: HostId, config: &HostConfig, report: &ApplyReport) {
    let mut stopped = Vec::new();
    let mut wake = Vec::new();
    {
        let mut world = reconcilers.world.lock();
        let routers: Vec<(RouterId, bool)> =
            world.fold.routers_of(host).map(|(id, router)| (id, router.wanted)).collect();
        for (id, wanted) in routers {
            if !config.sections.appliances.contains_key(&id) {
                if !wanted {
                    stopped.push(id);
                }
                continue;
            }
            match item(report, id.0) {
                Ok(item) => {
                    world.appliances.insert(id, item.generation);
                    world.appliance_errors.remove(&id);
                }
                Err(error) => {
                    world.appliance_errors.insert(id, error);
                }
            }
            wake.push(id);
        }
    }
    for router in wake {
        reconcilers.clone().wake_router(router);
    }
    for uuid in stopped {
        let going = reconcilers
            .state::<Router>(uuid)
            .is_some_and(|router| matches!(router.state, VmState::Stopping | VmState::Destroying));
        if going {
            let report = appliance_report(uuid, "Stopped");
            reconcilers.report("host-reconciler", reconcilers.request(uuid), report).await;
        }
    }
}

/// A report of a router without details.
pub(super) fn appliance_report(uuid: RouterId, status: &str) -> ReportApplianceStatus {
    ReportApplianceStatus {
        uuid,
        status: status.to_string(),
        agent_digest: None,
        agent_digest_before: None,
        revision: None,
        config_digest: None,
        connections: None,
        leases: None,
        switch_micros: None,
        section: None,
        detail: None,
    }
}

async fn vms(reconcilers: &Arc<Reconcilers>, host: HostId, config: &HostConfig, report: &ApplyReport) {
    let found: Vec<ReportVmStatus> = {
        let world = reconcilers.world.lock();
        let pending = world.fold.vms_of(host).filter(|(_, vm)| vm.pending_since.is_some());
        pending
            .filter_map(|(uuid, vm)| {
                let say = |status: &str, detail| Some(ReportVmStatus { uuid, status: status.to_string(), detail });
                match (vm.wanted, config.sections.vms.get(&uuid)) {
                    (false, None) => say("Stopped", None),
                    (true, Some(told)) if told.generation == vm.generation => match item(report, uuid.0) {
                        Ok(item) if item.generation == vm.generation => say("Running", None),
                        Ok(_) => None,
                        Err(error) => say("Failed", Some(format!("host {host}: {error}"))),
                    },
                    _ => None,
                }
            })
            .collect()
    };
    for report in found {
        reconcilers.report("host-reconciler", reconcilers.request(report.uuid), report).await;
    }
}

/// No operation is under way forever.
async fn expire(reconcilers: &Arc<Reconcilers>, host: HostId) {
    // A VM may wait for its router as long as that may take, and then take as long itself.
    let limit = reconcilers.seconds("applianceVm", "connect.timeout") * 2;
    let now = now(reconcilers);
    let late: Vec<VmInstanceId> = {
        let world = reconcilers.world.lock();
        let vms = world.fold.vms_of(host);
        vms.filter(|(_, vm)| vm.pending_since.is_some_and(|since| now - since > limit.as_micros() as Micros))
            .map(|(id, _)| id)
            .collect()
    };
    for uuid in late {
        let detail = Some(format!("not done within {} seconds", limit.as_secs()));
        // What is to be destroyed goes without its host, which drops it when it is back.
        let going = reconcilers.state::<VmInstance>(uuid).is_some_and(|vm| vm.state == VmState::Destroying);
        let status = if going { "Stopped" } else { "Failed" }.to_string();
        let report = ReportVmStatus { uuid, status, detail };
        reconcilers.report("host-reconciler", reconcilers.request(uuid), report).await;
    }
}
