//! The node: the real journal, states, decisions and snapshots, driven by hand where the server has threads. What the
//! registry and the bus do around them is done here in the same order.

use crate::{
    agents::AgentOf,
    disk::DiskStore,
    invariants::*,
    reconcile::Reconciler,
    world::{Event, MILLIS, Plant, Sent, World, ticket},
};
use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use switchback_actors::{
    States,
    entity::{Clock, Decided, Execute, Prepared, Step, prepare, refusal_of},
};
use switchback_appliance::HostFold;
use switchback_bus::{Refusal, RefusalKind, command};
use switchback_events::*;
use switchback_journal::{AppendError, Appended, FrameStore, Journal, Options, Stepper};

/// Often, so that a short run takes many.
const SNAPSHOT_EVERY: Version = 3;

/// A clock that somebody else moves.
pub struct SimulatedClock(pub AtomicI64);

impl Clock for SimulatedClock {
    fn now(&self) -> Micros {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a client hears.
#[derive(Clone)]
pub enum Outcome {
    Done(Arc<Commit>),
    /// All was so already.
    Unchanged,
    Refused(Refusal),
}

impl Outcome {
    /// Whether the same command may have another outcome if it is only sent again.
    pub fn is_for_now(&self) -> bool {
        let passing = [RefusalKind::Busy, RefusalKind::ReadOnly, RefusalKind::OtherBody];
        matches!(self, Outcome::Refused(refusal) if passing.contains(&refusal.kind))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done(commit) => write!(f, "done at position {}", commit.last_position()),
            Outcome::Unchanged => f.write_str("unchanged"),
            Outcome::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum By {
    /// A client, for its command of this number; with or without other parameters than before.
    Client(usize, bool),
    /// A worker of the reconcilers reports.
    Worker(AgentOf),
}

/// A command on its way through the node.
pub struct Ask {
    pub by: By,
    pub execute: Execute,
}

/// Somebody who waits for the disk.
struct Waiting {
    number: usize,
    other_body: bool,
    /// What it hears then, unless it is of a commit.
    otherwise: Outcome,
    #[allow(clippy::type_complexity, reason = "it is said once")]
    durable: Pin<Box<dyn Future<Output = Result<Option<Arc<Commit>>, String>>>>,
}

/// One run of the server.
pub struct Node {
    pub journal: Journal,
    stepper: Stepper,
    pub states: States,
    clock: Arc<SimulatedClock>,
    /// How far the node's clock is from the time.
    skew: Micros,
    pub fold: HostFold,
    prepared: BTreeMap<u64, (Ask, Prepared)>,
    waiting: Vec<Waiting>,
    pub reconciler: Reconciler,
    write_due: bool,
    restart_due: bool,
}

impl World {
    pub fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("only a node that runs is asked")
    }

    /// Opens the log again, checks what it holds, and begins to work.
    pub fn restart(&mut self) -> Checked {
        self.run += 1;
        let dir = self.dir.as_ref().map(|dir| dir.path().to_path_buf());
        let store = DiskStore::open(self.disk.clone(), dir);
        let (journal, stepper) = open(Arc::new(store))?;
        let states = States::open(journal.clone(), self.snapshots.clone());
        let states = states.or_else(|error| Invariant::ReplayIsLive.broken(error.to_string()))?;
        let skew = if self.is_calm() { 0 } else { self.rng.i64(-2_000..2_000) * 1000 * MILLIS };
        let clock = Arc::new(SimulatedClock(AtomicI64::new(self.now + skew)));
        self.tell(|| format!("the node starts at position {}, its clock {} s off", journal.head(), skew / 1_000_000));
        self.node = Some(Node {
            states: states.snapshot_every(SNAPSHOT_EVERY),
            journal,
            stepper,
            clock,
            skew,
            fold: HostFold::default(),
            prepared: BTreeMap::new(),
            waiting: Vec::new(),
            reconciler: Reconciler::default(),
            write_due: false,
            restart_due: false,
        });
        self.check_log()?;
        let now = self.now + skew;
        self.asked_for.insert(CommandId(Id::of_name("switchback.founding")), "system:founding".to_string());
        self.node().states.found(now).unwrap_or_else(|error| panic!("found: {error}"));
        self.write_soon();
        self.follow();
        self.look_at_all();
        Ok(())
    }

    /// A client's command has come.
    pub fn arrive(&mut self, number: usize, other_body: bool) -> Checked {
        let sent = &self.sent[number];
        if self.node.is_none() {
            return Ok(());
        }
        let (mut parameters, by) = (sent.parameters.clone(), By::Client(number, other_body));
        if other_body {
            parameters["description"] = "another body".into();
        }
        let body = Id::of_name(&format!("{} {parameters}", sent.name));
        // As the bus does: what was done is answered before the words are looked at.
        let found = self.node.as_ref().map(|node| node.journal.lookup(sent.id, body));
        let (command, common) = match found.transpose().map(Option::flatten) {
            Ok(Some(appended)) => return self.appended(by, appended),
            Err(error) => return self.refused(by, refusal_of(error)),
            Ok(None) => match command(sent.name, &parameters) {
                Ok(parsed) => parsed,
                Err(refusal) => return self.refused(by, refusal),
            },
        };
        let execute = Execute {
            command: Arc::new(command),
            common,
            provenance: Provenance {
                command_id: sent.id,
                command: sent.name.to_string(),
                body,
                principal: "client".to_string(),
                credential: None,
                origin: Origin::Bus,
                causation: None,
                correlation: sent.id.0,
                reason: None,
            },
            if_match: None,
            dry_run: false,
        };
        self.decide(Ask { by, execute })
    }

    /// An actor decides, and will come to sequence it: meanwhile others do, too.
    pub fn decide(&mut self, ask: Ask) -> Checked {
        let now = self.now;
        let node = self.node();
        node.clock.0.store(now + node.skew, Ordering::Relaxed);
        let decided = prepare(&node.states, &*node.clock, &ask.execute);
        match decided {
            Ok(Step::Prepared(prepared)) => {
                if let Ok(Step::Prepared(again)) = prepare(&node.states, &*node.clock, &ask.execute) {
                    decisions_repeat(&prepared.proposal, &again.proposal)?;
                }
                let (run, ticket) = (self.run, ticket(self));
                let delay = self.rng.i64(0..3_000);
                self.node().prepared.insert(ticket, (ask, prepared));
                self.after(delay, Event::Sequence(run, ticket));
                Ok(())
            }
            Ok(Step::Done(Decided::Appended(appended))) => self.appended(ask.by, appended),
            Ok(Step::Done(Decided::Unchanged(_) | Decided::Dry(_))) => self.without_commit(ask.by, Outcome::Unchanged),
            Err(refusal) => self.refused(ask.by, refusal),
        }
    }

    fn refused(&mut self, by: By, refusal: Refusal) -> Checked {
        let outcome = Outcome::Refused(refusal);
        if let By::Client(number, false) = by
            && !outcome.is_for_now()
        {
            let Sent { id, name, .. } = &self.sent[number];
            let known = self.node.as_ref().map(|node| node.journal.lookup(*id, Id::NIL));
            let rule = Invariant::OncePerCommand;
            rule.holds_if(matches!(known, Some(Ok(None))), || format!("{name} {id} is {outcome}, and is in the log"))?;
        }
        self.without_commit(by, outcome)
    }

    /// Sequenced; a client hears of it when it is on disk.
    fn appended(&mut self, by: By, appended: Appended) -> Checked {
        match by {
            By::Client(number, other_body) => {
                if self.plant == Some(Plant::ReplyBeforeSync) {
                    return self.reply(number, other_body, Outcome::Done(appended.commit));
                }
                let durable = Box::pin(async move { appended.durable().await.map(Some).map_err(|lost| lost.0) });
                self.node().waiting.push(Waiting { number, other_body, otherwise: Outcome::Unchanged, durable });
            }
            By::Worker(of) => self.reported(of, appended.commit.last_position()),
        }
        // What was durable long ago is answered at the writer's next turn, too.
        self.write_soon();
        Ok(())
    }

    /// What the answer stands on must be on disk, too, before it is given.
    fn without_commit(&mut self, by: By, otherwise: Outcome) -> Checked {
        match by {
            By::Client(number, other_body) => {
                let journal = &self.node().journal;
                let durable = journal.wait_durable(journal.head());
                let durable = Box::pin(async move { durable.await.map(|()| None).map_err(|lost| lost.0) });
                self.node().waiting.push(Waiting { number, other_body, otherwise, durable });
                self.write_soon();
            }
            By::Worker(of) => self.reported(of, 0),
        }
        Ok(())
    }

    /// The actor sequences what it has decided, or decides again.
    pub fn sequence(&mut self, ticket: u64) -> Checked {
        let plant = self.plant;
        let node = self.node();
        let Some((ask, mut prepared)) = node.prepared.remove(&ticket) else { return Ok(()) };
        let reads = prepared.proposal.reads.clone();
        if plant == Some(Plant::DurableHead) {
            compare_with_durable_heads(&node.journal, &mut prepared);
        }
        let stands = decision_stands(&reads, &node.journal);
        match prepared.sequence(&node.states) {
            Ok(appended) => {
                if !appended.repeated {
                    stands?;
                }
                let commit = appended.commit.clone();
                self.tell(|| format!("position {}: {}", commit.last_position(), commit.provenance.command));
                if plant == Some(Plant::SequencedSnapshot) && self.rng.u8(0..3) == 0 {
                    self.node().states.clone().snapshot_every(1).snapshot_after(&commit);
                }
                self.appended(ask.by, appended)
            }
            Err(AppendError::Conflict { .. } | AppendError::Stale) => {
                self.conflicts += 1;
                self.decide(ask)
            }
            Err(error) => self.refused(ask.by, refusal_of(error)),
        }
    }

    fn write_soon(&mut self) {
        if !std::mem::replace(&mut self.node().write_due, true) {
            let (run, delay) = (self.run, self.rng.i64(100..12_000));
            self.after(delay, Event::Write(run));
        }
    }

    /// The node ends as it is told to: what waits is written, and so is what is kept beside the log.
    pub fn stop(&mut self) -> Checked {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        self.tell(|| "the node is told to end".to_string());
        node.prepared.clear();
        let Node { journal, stepper, waiting, .. } = node;
        stepper.finish();
        if self.disk.lock().power_lost {
            self.disk.lock().lose_power();
        }
        drop((waiting, journal));
        let delay = self.rng.i64(1..60) * MILLIS;
        self.after(delay, Event::Restart);
        Ok(())
    }

    /// The writer's turn.
    pub fn write(&mut self) -> Checked {
        let node = self.node();
        node.write_due = false;
        let idle = node.stepper.step();
        if self.disk.lock().power_lost {
            return self.crash(true);
        }
        if !idle {
            self.write_soon();
        }
        if let Some(why) = self.node().journal.read_only() {
            return self.stand_still(&why);
        }
        self.poll()?;
        self.follow();
        Ok(())
    }

    /// Nothing can be written any more. What is durable can be read still; somebody will start the node again.
    fn stand_still(&mut self, why: &str) -> Checked {
        self.poll()?;
        self.follow();
        if !std::mem::replace(&mut self.node().restart_due, true) {
            self.tell(|| format!("the log is read-only: {why}"));
            let delay = self.rng.i64(1..100) * MILLIS;
            self.after(delay, Event::Restart);
        }
        let log = durable_log(&self.node().journal)?;
        log_is_sound(&log)?;
        acknowledged_is_durable(&log, self.acknowledged.values())
    }

    /// Answers those whose commits are on disk.
    fn poll(&mut self) -> Checked {
        let mut ready = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        self.node().waiting.retain_mut(|waiting| match waiting.durable.as_mut().poll(&mut context) {
            Poll::Ready(answer) => {
                ready.push((waiting.number, waiting.other_body, waiting.otherwise.clone(), answer));
                false
            }
            Poll::Pending => true,
        });
        for (number, other_body, otherwise, answer) in ready {
            let outcome = match answer {
                Ok(Some(commit)) => Outcome::Done(commit),
                Ok(None) => otherwise,
                Err(why) => Outcome::Refused(refusal_of(AppendError::ReadOnly(why))),
            };
            self.reply(number, other_body, outcome)?;
        }
        Ok(())
    }

    /// A reply leaves the node: from here on it counts.
    fn reply(&mut self, number: usize, other_body: bool, outcome: Outcome) -> Checked {
        let id = self.sent[number].id;
        let name = self.sent[number].name;
        let rule = Invariant::OncePerCommand;
        let before = self.acknowledged.get(&id);
        if other_body {
            let refused = matches!(&outcome, Outcome::Refused(_)) || before.is_none();
            return rule.holds_if(refused, || format!("{name} {id} with another body is {outcome}"));
        }
        match (&outcome, before) {
            (Outcome::Done(commit), Some(before)) => {
                rule.holds_if(commit == before, || format!("{name} {id} was {before:?}, and now is {commit:?}"))?;
            }
            (Outcome::Done(commit), None) => {
                self.acknowledged.insert(id, commit.clone());
            }
            (_, None) => {}
            (_, Some(_)) if outcome.is_for_now() => {}
            (_, Some(before)) => {
                let detail =
                    format!("{name} {id} was done at position {}, and now is {outcome}", before.last_position());
                return rule.broken(detail);
            }
        }
        self.carry(|| Event::Reply(number, outcome.clone()));
        Ok(())
    }

    /// The follower reads what has become durable.
    fn follow(&mut self) {
        let run = self.run;
        let node = self.node();
        let commits = node.journal.read(node.fold.position(), usize::MAX).unwrap_or_default();
        let mut looks = std::collections::BTreeSet::new();
        for commit in &commits {
            for event in &commit.events {
                node.fold.apply(commit.at, event);
                looks.extend(node.fold.touched(&event.event, event.stream).into_iter().map(AgentOf::Host));
                looks.extend(node.routers_touched(event).into_iter().map(AgentOf::Router));
            }
            node.states.snapshot_after(commit);
        }
        for of in looks {
            let delay = self.rng.i64(50..2_000);
            self.after(delay, Event::Look(run, of));
        }
    }

    fn look_at_all(&mut self) {
        let run = self.run;
        let fold = &self.node().fold;
        let hosts = fold.hosts().keys().copied().map(AgentOf::Host);
        let all: Vec<AgentOf> = hosts.chain(fold.routers().keys().copied().map(AgentOf::Router)).collect();
        for of in all {
            let delay = self.rng.i64(50..2_000);
            self.after(delay, Event::Look(run, of));
        }
    }

    /// An actor without work drops its state.
    pub fn idle(&mut self) {
        let Some(node) = &self.node else { return };
        let Ok(log) = durable_log(&node.journal) else { return };
        for stream in streams(&log) {
            if self.rng.bool() {
                self.node().states.drop_state(stream);
            }
        }
    }

    /// All that can be asked of a log that was just opened, and of the agents.
    fn check_log(&mut self) -> Checked {
        let node = self.node.as_ref().expect("it was just opened");
        let log = durable_log(&node.journal)?;
        log_is_sound(&log)?;
        acknowledged_is_durable(&log, self.acknowledged.values())?;
        nothing_is_invented(&log, |provenance| {
            self.asked_for.get(&provenance.command_id).is_some_and(|principal| *principal == provenance.principal)
        })?;
        chain_verifies(&node.journal)?;
        snapshots_change_nothing(&log, &node.journal, &self.snapshots)?;
        for (router, _, held) in self.agents.held() {
            agent_holds_the_log(&node.journal, router, &held)?;
        }
        if self.dir.is_some() {
            let content = self.disk.lock().content();
            let disk = Arc::new(parking_lot::Mutex::new(crate::disk::Disk::new(0, content)));
            let (without, _stepper) = open(Arc::new(DiskStore::open(disk, None)))?;
            checkpoint_changes_nothing(&log, &node.journal, &without)?;
        }
        Ok(())
    }

    /// Lets the writer write all, and compares everything with what the log says.
    pub fn check_at_rest(&mut self) -> Checked {
        if self.node.is_none() {
            return Ok(());
        }
        self.disk.lock().set_fault(None);
        while !self.node().stepper.step() {}
        if self.node().journal.read_only().is_some() {
            return Ok(());
        }
        self.poll()?;
        self.follow();
        self.check_log()?;
        let node = self.node.as_ref().expect("it was checked just now");
        let log = durable_log(&node.journal)?;
        replay_is_live(&log, &node.states)?;
        host_fold_is_live(&log, &node.fold)?;
        router_replay_is_live(&log, &node.journal)
    }
}

fn open(store: Arc<dyn FrameStore>) -> Result<(Journal, Stepper), Violation> {
    // Few recent commits, so that many are read from the store; and often what is kept beside the log.
    let options = Options { recent: 16, head_commits: 5, checkpoint_events: 40, ..Options::default() };
    let opened = Journal::open_stepped(store, options);
    opened.or_else(|error| Invariant::ChainVerifies.broken(format!("the log cannot be opened: {error}")))
}

/// The planted fault: a version that was read counts as the last one when it is the last one on disk.
fn compare_with_durable_heads(journal: &Journal, prepared: &mut Prepared) {
    let durable = journal.durable();
    for (stream, read) in &mut prepared.proposal.reads {
        let events = journal.read_stream(*stream, 0).unwrap_or_default();
        let on_disk = events.iter().filter(|(_, event)| event.position <= durable).count() as Version;
        if *read >= on_disk {
            *read = journal.version(*stream);
        }
    }
}
