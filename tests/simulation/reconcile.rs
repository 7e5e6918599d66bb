//! The reconcilers of a run: one look after the other at each host and router, by the rules of the server's workers,
//! with one document in flight for each. What they find comes back as commands of the system.

use crate::{
    agents::{AgentOf, Answer},
    invariants::{Checked, Invariant},
    node::{Ask, By, Node},
    world::{Event, MILLIS, World, ticket},
};
use std::{collections::BTreeMap, sync::Arc};
use switchback_actors::{
    entity::Execute,
    reconcilers::{replay_router, routers_touched},
};
use switchback_agent::document::{problem, push_of_host, push_of_router};
use switchback_appliance::{AgentProblem, AgentProblemCode, ApplyReport, HostSections, Push, Realisation};
use switchback_bus::{
    Command, Common, ReportApplianceStatus, ReportHostStatus, ReportL2Attachment, ReportL2VlanChange, ReportVmStatus,
};
use switchback_events::*;

/// An agent that has not answered by then is not waited for.
const PATIENCE: Micros = 150 * MILLIS;
const RETRY: Micros = 1_000 * MILLIS;
/// A router that could not be started so many times has failed.
const TRIES: u32 = 5;

/// What the workers remember; a new run begins with nothing.
#[derive(Default)]
pub struct Reconciler {
    hosts: BTreeMap<HostId, HostMemory>,
    routers: BTreeMap<RouterId, RouterMemory>,
    /// For what hosts are asked to realise: what each answered.
    realisations: BTreeMap<Realisation, BTreeMap<HostId, Result<(), String>>>,
    /// The generation of a router's appliance that its host carries.
    appliances: BTreeMap<RouterId, Position>,
    reports: u64,
    /// The reports of each worker that are not sequenced yet; until then it does nothing else.
    under_way: BTreeMap<AgentOf, usize>,
    /// The position of each router's last report: until the fold has it, what the fold says is out of date.
    reported: BTreeMap<RouterId, Position>,
}

#[derive(Default)]
struct HostMemory {
    flight: Option<(u64, HostSections, Position)>,
    again: bool,
    connected: Position,
    failures: u32,
}

#[derive(Default)]
struct RouterMemory {
    flight: Option<RouterFlight>,
    again: bool,
    connected: Position,
    applied: Option<(String, Position)>,
    failures: u32,
}

struct RouterFlight {
    ticket: u64,
    digest: String,
    revision: Position,
    connecting: bool,
    connect_requested: Position,
}

impl Node {
    /// The routers whose configuration an event may change.
    pub fn routers_touched(&self, event: &Recorded) -> Vec<RouterId> {
        routers_touched(&self.states, event)
    }
}

fn unreachable() -> Answer {
    Err(problem(AgentProblemCode::Unreachable, "no answer in time"))
}

/// A report of a router without details.
fn of_router(uuid: RouterId, status: &str) -> ReportApplianceStatus {
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

fn item(report: &ApplyReport, id: Id) -> Result<Position, String> {
    match report.items.get(&id) {
        Some(item) if item.ok => Ok(item.generation),
        Some(item) => Err(item.error.clone().unwrap_or_default()),
        None => Err("the host does not speak of it".to_string()),
    }
}

impl World {
    /// A worker's turn.
    pub fn look(&mut self, of: AgentOf) {
        let node = self.node();
        let reported = match of {
            AgentOf::Host(_) => 0,
            AgentOf::Router(router) => node.reconciler.reported.get(&router).copied().unwrap_or(0),
        };
        if node.reconciler.under_way.contains_key(&of) || node.fold.position() < reported {
            return self.look_again(of, 5 * MILLIS);
        }
        match of {
            AgentOf::Host(host) => self.look_at_host(host),
            AgentOf::Router(router) => self.look_at_router(router),
        }
    }

    fn look_again(&mut self, of: AgentOf, delay: Micros) {
        let run = self.run;
        self.after(delay, Event::Look(run, of));
    }

    /// Sends a document, and gives its answer a time to come.
    fn push(&mut self, ticket: u64, of: AgentOf, push: &Push) {
        let run = self.run;
        self.tell(|| format!("{of:?} is told revision {}", push.revision));
        self.carry(|| Event::Push(run, ticket, of, push.clone()));
        self.after(PATIENCE, Event::Answer(run, ticket, of, None));
    }

    /// An answer, or the end of the time for it.
    pub fn agent_answered(&mut self, ticket: u64, of: AgentOf, answer: Option<Answer>) -> Checked {
        let answer = answer.unwrap_or_else(unreachable);
        self.tell(|| match &answer {
            Ok(report) => format!("{of:?} has revision {}", report.revision),
            Err(problem) => format!("{of:?}: {problem}"),
        });
        match of {
            AgentOf::Host(host) => self.host_answered(ticket, host, answer),
            AgentOf::Router(router) => self.router_answered(ticket, router, answer),
        }
    }

    /// What was found, as a command of the system.
    fn report(&mut self, by: AgentOf, command: impl Into<Command>) -> Checked {
        if self.node.is_none() {
            return Ok(());
        }
        let command = command.into();
        let run = self.run;
        let reports = &mut self.node().reconciler.reports;
        *reports += 1;
        let reports = *reports;
        *self.node().reconciler.under_way.entry(by).or_default() += 1;
        let command_id = CommandId(Id::of_name(&format!("report:{run}:{reports}")));
        let provenance = Provenance {
            command_id,
            command: command.message().name.to_string(),
            body: Id::of_name(&format!("{command:?}")),
            principal: "system:reconciler".to_string(),
            credential: None,
            origin: Origin::System,
            causation: None,
            correlation: command_id.0,
            reason: None,
        };
        self.asked_for.insert(command_id, provenance.principal.clone());
        self.tell(|| format!("reported: {command:?}"));
        let command = Arc::new(command);
        let execute = Execute { command, common: Common::default(), provenance, if_match: None, dry_run: false };
        self.decide(Ask { by: By::Worker(by), execute })
    }

    /// A worker's report has its place in the log, or came to nothing.
    pub fn reported(&mut self, by: AgentOf, position: Position) {
        let reconciler = &mut self.node().reconciler;
        if let Some(left) = reconciler.under_way.get_mut(&by) {
            *left -= 1;
            if *left == 0 {
                reconciler.under_way.remove(&by);
            }
        }
        if let AgentOf::Router(router) = by {
            let last = reconciler.reported.entry(router).or_default();
            *last = position.max(*last);
        }
    }

    fn look_at_host(&mut self, host: HostId) {
        let run = self.run;
        let ticket = ticket(self);
        let node = self.node();
        let Some(record) = node.fold.hosts().get(&host) else {
            node.reconciler.hosts.remove(&host);
            return;
        };
        let memory = node.reconciler.hosts.entry(host).or_default();
        if memory.flight.is_some() {
            memory.again = true;
            return;
        }
        let Some(config) = node.fold.config(host) else { return };
        let push = push_of_host(&config, run);
        memory.flight = Some((ticket, config.sections, record.connect_requested));
        self.push(ticket, AgentOf::Host(host), &push);
    }

    fn host_answered(&mut self, ticket: u64, host: HostId, answer: Answer) -> Checked {
        let node = self.node();
        let Some(memory) = node.reconciler.hosts.get_mut(&host) else { return Ok(()) };
        let Some((_, sections, asked)) = memory.flight.take_if(|flight| flight.0 == ticket) else { return Ok(()) };
        let again = std::mem::take(&mut memory.again);
        let Some(record) = node.fold.hosts().get(&host).cloned() else { return Ok(()) };
        let connect = record.status != HostStatus::Connected || record.connect_requested > memory.connected;
        match answer {
            Ok(report) => {
                memory.failures = 0;
                if connect {
                    memory.connected = asked;
                    let status = "Connected".to_string();
                    self.report(
                        AgentOf::Host(host),
                        ReportHostStatus { uuid: host, status, reason: None, notes: None },
                    )?;
                }
                let answers = self.asked_to_realise(host);
                let answers = answers.into_iter().map(|key| (key, item(&report, key.l2_network.0).map(|_| ())));
                self.realised(host, answers.collect())?;
                self.appliances(host, &sections, &report)?;
                self.vms(host, &sections, &report)?;
            }
            Err(problem) => {
                memory.failures += 1;
                let lost = record.status != HostStatus::Connected || memory.failures >= 3;
                let answers = self.asked_to_realise(host);
                let answers = answers.into_iter().map(|key| (key, Err(problem.to_string())));
                self.realised(host, answers.collect())?;
                if lost {
                    let (status, reason) = ("Disconnected".to_string(), Some(problem.to_string()));
                    self.report(AgentOf::Host(host), ReportHostStatus { uuid: host, status, reason, notes: None })?;
                }
                self.look_again(AgentOf::Host(host), RETRY);
            }
        }
        if again {
            self.look_again(AgentOf::Host(host), 0);
        }
        Ok(())
    }

    fn asked_to_realise(&mut self, host: HostId) -> Vec<Realisation> {
        let asked = self.node().fold.realisations();
        asked.filter(|(_, hosts)| hosts.contains(&host)).map(|(asked, _)| asked).collect()
    }

    /// Records what a host answered; whoever completes the round reports it.
    fn realised(&mut self, host: HostId, answers: Vec<(Realisation, Result<(), String>)>) -> Checked {
        let node = self.node();
        let under_way: BTreeMap<Realisation, Vec<HostId>> =
            node.fold.realisations().map(|(asked, hosts)| (asked, hosts.to_vec())).collect();
        let rounds = &mut node.reconciler.realisations;
        rounds.retain(|key, _| under_way.contains_key(key));
        for (key, answer) in answers {
            rounds.entry(key).or_default().insert(host, answer);
        }
        let mut complete: Vec<Command> = Vec::new();
        for (asked, hosts) in under_way {
            let Some(round) = rounds.get(&asked) else { continue };
            let error = round.values().find_map(|answer| answer.clone().err());
            if error.is_some() || hosts.iter().all(|host| round.contains_key(host)) {
                rounds.remove(&asked);
                let l2_network_uuid = asked.l2_network;
                complete.push(match asked.cluster {
                    Some(cluster_uuid) => ReportL2Attachment { l2_network_uuid, cluster_uuid, error }.into(),
                    None => ReportL2VlanChange { l2_network_uuid, error }.into(),
                });
            }
        }
        complete.into_iter().try_for_each(|report| self.report(AgentOf::Host(host), report))
    }

    fn appliances(&mut self, host: HostId, sections: &HostSections, report: &ApplyReport) -> Checked {
        let node = self.node();
        let routers: Vec<(RouterId, bool)> =
            node.fold.routers_of(host).map(|(id, router)| (id, router.wanted)).collect();
        let (mut gone, mut there) = (Vec::new(), Vec::new());
        for (router, wanted) in routers {
            match (sections.appliances.contains_key(&router), wanted) {
                (true, _) => there.push(router),
                (false, false) => gone.push(router),
                (false, true) => {}
            }
        }
        for router in there {
            if let Ok(generation) = item(report, router.0) {
                self.node().reconciler.appliances.insert(router, generation);
            }
            self.look_again(AgentOf::Router(router), 0);
        }
        gone.into_iter().try_for_each(|router| self.report(AgentOf::Host(host), of_router(router, "Stopped")))
    }

    fn vms(&mut self, host: HostId, sections: &HostSections, report: &ApplyReport) -> Checked {
        let fold = &self.node().fold;
        let pending = fold.vms_of(host).filter(|(_, vm)| vm.pending_since.is_some());
        let found = pending.filter_map(|(uuid, vm)| {
            let say = |status: &str, detail| Some(ReportVmStatus { uuid, status: status.to_string(), detail });
            match (vm.wanted, sections.vms.get(&uuid)) {
                (false, None) => say("Stopped", None),
                (true, Some(told)) if told.generation == vm.generation => match item(report, uuid.0) {
                    Ok(generation) if generation == vm.generation => say("Running", None),
                    Ok(_) => None,
                    Err(error) => say("Failed", Some(error)),
                },
                _ => None,
            }
        });
        let found: Vec<ReportVmStatus> = found.collect();
        found.into_iter().try_for_each(|report| self.report(AgentOf::Host(host), report))
    }

    fn look_at_router(&mut self, router: RouterId) {
        let run = self.run;
        let ticket = ticket(self);
        let node = self.node();
        let record = node.fold.routers().get(&router).filter(|record| record.wanted).cloned();
        let Some(record) = record else {
            node.reconciler.routers.remove(&router);
            node.reconciler.appliances.remove(&router);
            return;
        };
        let memory = node.reconciler.routers.entry(router).or_default();
        if memory.flight.is_some() {
            memory.again = true;
            return;
        }
        if !record.connected && node.reconciler.appliances.get(&router) != Some(&record.generation) {
            // The host's next answer wakes it.
            return;
        }
        let connecting = !record.connected || record.connect_requested > memory.connected && memory.connected > 0;
        let config = replay_router(&node.journal, router, None).ok().and_then(|fold| fold.config());
        let Some(config) = config else { return };
        let (digest, revision) = (config.digest(), config.revision);
        if !connecting && memory.applied.as_ref() == Some(&(digest.clone(), revision)) {
            return;
        }
        let connect_requested = record.connect_requested;
        memory.flight = Some(RouterFlight { ticket, digest, revision, connecting, connect_requested });
        self.push(ticket, AgentOf::Router(router), &push_of_router(&config, run));
    }

    fn router_answered(&mut self, ticket: u64, router: RouterId, answer: Answer) -> Checked {
        let node = self.node();
        let Some(memory) = node.reconciler.routers.get_mut(&router) else { return Ok(()) };
        let Some(flight) = memory.flight.take_if(|flight| flight.ticket == ticket) else { return Ok(()) };
        let again = std::mem::take(&mut memory.again);
        match answer {
            Ok(_) => {
                memory.applied = Some((flight.digest.clone(), flight.revision));
                memory.connected = flight.connect_requested;
                memory.failures = 0;
                let report = ReportApplianceStatus {
                    agent_digest: flight.connecting.then(|| "simulated".to_string()),
                    revision: Some(flight.revision),
                    config_digest: Some(flight.digest),
                    ..of_router(router, if flight.connecting { "Connected" } else { "Applied" })
                };
                self.report(AgentOf::Router(router), report)?;
            }
            Err(problem) => {
                memory.failures += 1;
                let failures = memory.failures;
                self.router_failed(router, &flight, &problem, failures)?;
                self.look_again(AgentOf::Router(router), RETRY);
            }
        }
        if again {
            self.look_again(AgentOf::Router(router), 0);
        }
        Ok(())
    }

    fn router_failed(
        &mut self,
        router: RouterId,
        flight: &RouterFlight,
        problem: &AgentProblem,
        failures: u32,
    ) -> Checked {
        let detail = Some(problem.to_string());
        if problem.code != AgentProblemCode::Unreachable {
            let (revision, section) = (Some(flight.revision), problem.section.clone());
            let detail = detail.clone();
            self.report(
                AgentOf::Router(router),
                ReportApplianceStatus { revision, section, detail, ..of_router(router, "ApplyFailed") },
            )?;
        }
        if !flight.connecting {
            return match problem.code {
                AgentProblemCode::Unreachable => self.report(
                    AgentOf::Router(router),
                    ReportApplianceStatus { detail, ..of_router(router, "Disconnected") },
                ),
                _ => Ok(()),
            };
        }
        let first = self.node().fold.routers().get(&router).is_some_and(|record| record.applied == 0);
        if first && failures >= TRIES {
            return self
                .report(AgentOf::Router(router), ReportApplianceStatus { detail, ..of_router(router, "StartFailed") });
        }
        Ok(())
    }

    /// In the end every command has its answer, and every router that is wanted has what the log says; only those that
    /// depend on the dead agent need not.
    pub fn everyone_is_served(&mut self) -> Checked {
        let rule = Invariant::NobodyWaitsForTheDead;
        for sent in &self.sent {
            rule.holds_if(sent.outcome.is_some(), || format!("{} {} has no answer", sent.name, sent.id))?;
        }
        let node = self.node.as_ref().expect("the node runs in the calm");
        let held: BTreeMap<RouterId, _> = self.agents.held().map(|(router, _, held)| (router, held)).collect();
        let dead = |id: Id| self.agents.mood(id) == crate::agents::Mood::Dead;
        for (router, record) in node.fold.routers() {
            if !record.wanted || dead(router.0) || dead(record.host.0) {
                continue;
            }
            rule.holds_if(record.connected, || format!("router {router} is not connected: {record:?}"))?;
            let config = replay_router(&node.journal, *router, None).ok().and_then(|fold| fold.config());
            let wanted = config.map(|config| (config.revision, config.sections.digests()));
            let found = held.get(router).map(|held| (held.revision, held.digests.clone()));
            rule.holds_if(wanted == found, || {
                format!("router {router} holds\n  {found:?}\nand should hold\n  {wanted:?}")
            })?;
        }
        for (vm, record) in node.fold.pending() {
            let routers = node.fold.routers().iter();
            let mut serving = routers.filter(|(_, router)| {
                router.nics.iter().any(|nic| record.nics.iter().any(|own| own.nic.l3_network == nic.l3_network))
            });
            let waits = dead(record.host.0) || serving.any(|(id, router)| dead(id.0) || dead(router.host.0));
            rule.holds_if(waits, || format!("VM {vm} is still under way: {record:?}"))?;
        }
        Ok(())
    }
}
