//! One run: a clock, a list of what happens when, and everything that it happens to. All of it is one thread and
//! follows from one seed.
//!
//! ```text
//!  clients ══► bus: delayed, doubled, dropped ══► node: prepare … sequence … write ══► disk: torn, lost, full, broken
//!     ▲                                            │    │                    │
//!     ╚═══════════════ replies ════════════════════╝    ╚═ snapshots         ╚══► reconcilers ══► agents: slow, dead, lying
//! ```

use crate::{
    agents::{AgentOf, Agents, Answer, Mood},
    commands,
    disk::{Disk, Fault},
    invariants::*,
    node::{Node, Outcome},
};
use fastrand::Rng;
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use switchback_appliance::Push;
use switchback_events::*;
use switchback_snapshots::Snapshots;

pub const MILLIS: Micros = 1_000;
const SECONDS: Micros = 1_000 * MILLIS;
/// 2026-01-01.
const BEGIN: Micros = 1_767_225_600 * SECONDS;
/// A client that has no answer sends its command again after at least so long.
const CLIENT_PATIENCE: Micros = 60 * MILLIS;
/// The calm after the storm.
const CALM: Micros = 90 * SECONDS;

/// A fault that is built into the node, so that it can be seen that the invariants find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// The reply goes out when the commit is sequenced.
    ReplyBeforeSync,
    /// The disk says that it synced, and did not.
    SyncLies,
    /// The versions that a decision read are compared with the durable heads.
    DurableHead,
    /// Some snapshots are taken when a commit is sequenced.
    SequencedSnapshot,
}

/// What happens at some moment.
pub enum Event {
    /// A client asks for something new.
    Ask,
    /// A client sends its command, for the first time or again.
    Send(usize),
    /// It arrives at the node, as it was sent or with other parameters.
    Arrive(usize, bool),
    /// The actor that decided it comes to sequence it.
    Sequence(u64, u64),
    /// The writer runs.
    Write(u64),
    /// The reply arrives at the client.
    Reply(usize, Outcome),
    /// A reconciler looks at its host or router.
    Look(u64, AgentOf),
    /// A document arrives at an agent.
    Push(u64, u64, AgentOf, Push),
    /// An agent's answer arrives, or the time for it is over.
    Answer(u64, u64, AgentOf, Option<Answer>),
    /// The process dies; with it, perhaps, the power.
    Crash(bool),
    /// It is told to end.
    Stop,
    Restart,
    Disk(Fault),
    Mood(Mood),
    Disturb,
    /// An actor without work stops.
    Idle,
    Check,
}

/// A command, and what its client knows of it.
pub struct Sent {
    pub id: CommandId,
    pub name: &'static str,
    pub parameters: Value,
    pub outcome: Option<Outcome>,
}

/// How rough a run is, by chances in a hundred.
struct Weather {
    drop: u8,
    double: u8,
    late: u8,
}

/// What a run came to: the same for the same seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    pub position: Position,
    pub chain: [u8; 32],
    pub starts: u64,
    pub happened: u64,
    pub acknowledged: usize,
    pub conflicts: u64,
    /// What is in the log, by kind.
    pub kinds: BTreeMap<String, usize>,
}

pub struct World {
    pub seed: u64,
    pub rng: Rng,
    pub now: Micros,
    queue: BTreeMap<(Micros, u64), Event>,
    happened: u64,
    pub node: Option<Node>,
    /// The number of the node's present run, or of its last one.
    pub run: u64,
    pub disk: Arc<Mutex<Disk>>,
    pub snapshots: Arc<Snapshots>,
    pub agents: Agents,
    pub sent: Vec<Sent>,
    /// Whose commands may be in the log.
    pub asked_for: HashMap<CommandId, String>,
    /// What has left the node as done.
    pub acknowledged: BTreeMap<CommandId, Arc<Commit>>,
    pub conflicts: u64,
    pub plant: Option<Plant>,
    weather: Weather,
    calm: bool,
    told: bool,
    /// Where the index checkpoint is, if there is one.
    pub dir: Option<tempfile::TempDir>,
}

/// The number of a message or turn, and no other's.
pub fn ticket(world: &mut World) -> u64 {
    world.happened += 1;
    world.happened
}

impl World {
    pub fn new(seed: u64, content: Vec<u8>, plant: Option<Plant>, told: bool) -> World {
        let mut disk = Disk::new(seed, content);
        disk.sync_lies = plant == Some(Plant::SyncLies);
        World {
            seed,
            rng: Rng::with_seed(seed),
            now: BEGIN,
            queue: BTreeMap::new(),
            happened: 0,
            node: None,
            run: 1,
            disk: Arc::new(Mutex::new(disk)),
            snapshots: Arc::new(Snapshots::memory()),
            agents: Agents::new(),
            sent: Vec::new(),
            asked_for: HashMap::new(),
            acknowledged: BTreeMap::new(),
            conflicts: 0,
            plant,
            weather: Weather { drop: 0, double: 0, late: 0 },
            calm: true,
            told,
            dir: None,
        }
    }

    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>9.3} ms  {}", (self.now - BEGIN) as f64 / 1000.0, what());
        }
    }

    pub fn at(&mut self, time: Micros, event: Event) {
        let order = ticket(self);
        self.queue.insert((time, order), event);
    }

    pub fn after(&mut self, delay: Micros, event: Event) {
        self.at(self.now + delay, event);
    }

    fn chance(&mut self, of_hundred: u8) -> bool {
        self.rng.u8(0..100) < of_hundred
    }

    /// How long a message takes.
    fn delay(&mut self) -> Micros {
        let late = self.weather.late;
        if self.chance(late) { self.rng.i64(1..80) * MILLIS } else { self.rng.i64(20..1_500) }
    }

    /// Puts a message on the bus or the network; it may come late, twice or never.
    pub fn carry(&mut self, mut message: impl FnMut() -> Event) {
        let (drop, double) = (self.weather.drop, self.weather.double);
        if self.chance(drop) {
            return;
        }
        if self.chance(double) {
            let delay = self.delay();
            self.after(delay, message());
        }
        let delay = self.delay();
        self.after(delay, message());
    }

    /// The next thing happens, unless it is later than `limit`.
    fn step(&mut self, limit: Micros) -> Result<bool, Violation> {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= limit) else {
            self.now = self.now.max(limit);
            return Ok(false);
        };
        let ((time, _), event) = entry.remove_entry();
        self.now = time;
        self.happen(event)?;
        Ok(true)
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Ask => {
                self.ask();
                Ok(())
            }
            Event::Send(number) => {
                self.send(number);
                Ok(())
            }
            Event::Arrive(number, other) => self.arrive(number, other),
            Event::Sequence(run, ticket) if self.is_run(run) => self.sequence(ticket),
            Event::Write(run) if self.is_run(run) => self.write(),
            Event::Reply(number, outcome) => {
                self.answered(number, outcome);
                Ok(())
            }
            Event::Look(run, of) if self.is_run(run) => {
                self.look(of);
                Ok(())
            }
            Event::Push(run, ticket, of, push) => {
                if let Some(answer) = self.agents.put(of, push, &mut self.rng)? {
                    let slow = if self.agents.mood(of.id()) == Mood::Slow { self.rng.i64(0..400) * MILLIS } else { 0 };
                    let delay = self.delay() + slow;
                    self.after(delay, Event::Answer(run, ticket, of, Some(answer)));
                }
                Ok(())
            }
            Event::Answer(run, ticket, of, answer) if self.is_run(run) => self.agent_answered(ticket, of, answer),
            Event::Crash(power) => self.crash(power),
            Event::Stop => self.stop(),
            Event::Restart if self.node.is_none() => self.restart(),
            Event::Restart if self.node.as_ref().is_some_and(|node| node.journal.read_only().is_some()) => {
                self.crash(false)?;
                self.restart()
            }
            Event::Disk(fault) => {
                self.tell(|| format!("the next write ends with {fault:?}"));
                self.disk.lock().set_fault(Some(fault));
                Ok(())
            }
            Event::Mood(mood) => {
                let all = self.agents.ids();
                if let Some(id) = self.rng.choice(all) {
                    self.tell(|| format!("agent {id} is {mood:?}"));
                    self.agents.set_mood(id, mood);
                }
                Ok(())
            }
            Event::Disturb => self.agents.disturb(&mut self.rng),
            Event::Idle => {
                self.idle();
                Ok(())
            }
            Event::Check => self.check_at_rest(),
            // Of a run that is over.
            _ => Ok(()),
        }
    }

    fn is_run(&self, run: u64) -> bool {
        self.node.is_some() && self.run == run
    }

    fn ask(&mut self) {
        let Some(node) = &self.node else { return };
        let (name, parameters) = commands::random(&node.states, &mut self.rng, self.sent.len());
        let number = self.new_command(name, parameters);
        self.send(number);
    }

    fn new_command(&mut self, name: &'static str, parameters: Value) -> usize {
        let number = self.sent.len();
        let id = CommandId(Id::of_name(&format!("command {number} of {}", self.seed)));
        self.asked_for.insert(id, "client".to_string());
        self.sent.push(Sent { id, name, parameters, outcome: None });
        number
    }

    fn send(&mut self, number: usize) {
        let sent = &self.sent[number];
        if sent.outcome.is_some() {
            return;
        }
        self.tell(|| format!("client sends {number} {} {}", sent.name, sent.parameters));
        self.carry(|| Event::Arrive(number, false));
        let patience = CLIENT_PATIENCE + self.rng.i64(0..100) * MILLIS;
        self.after(patience, Event::Send(number));
    }

    fn answered(&mut self, number: usize, outcome: Outcome) {
        if outcome.is_for_now() || self.sent[number].outcome.is_some() {
            return;
        }
        self.tell(|| format!("client hears of {number}: {outcome}"));
        let done = matches!(outcome, Outcome::Done(_));
        self.sent[number].outcome = Some(outcome);
        if done && self.chance(15) {
            self.carry(|| Event::Arrive(number, false));
        }
        if done && self.chance(10) {
            self.carry(|| Event::Arrive(number, true));
        }
    }

    /// A command of a client, decided and answered before anything else is asked.
    fn done(&mut self, name: &'static str, parameters: Value) -> Checked {
        let number = self.new_command(name, parameters);
        self.send(number);
        let limit = self.now + CALM;
        while self.sent[number].outcome.is_none() && self.step(limit)? {}
        match &self.sent[number].outcome {
            Some(Outcome::Done(_)) => self.run_until(self.now + 50 * MILLIS),
            other => panic!("{name} of the site: {other:?}"),
        }
    }

    pub fn run_until(&mut self, limit: Micros) -> Checked {
        while self.step(limit)? {}
        Ok(())
    }

    /// What is on the disk.
    pub fn content(&self) -> Vec<u8> {
        self.disk.lock().content()
    }

    /// Who asked for what is in the log already.
    pub fn read_site(&mut self) -> Vec<(CommandId, String)> {
        let store = crate::disk::DiskStore::open(self.disk.clone(), None);
        let (journal, _stepper) =
            switchback_journal::Journal::open_stepped(Arc::new(store), Default::default()).expect("the site opens");
        let log = durable_log(&journal).unwrap_or_else(|violation| panic!("the site: {violation}"));
        log.iter().map(|commit| (commit.provenance.command_id, commit.provenance.principal.clone())).collect()
    }

    /// A small data centre in fair weather.
    pub fn build_site(&mut self) -> Checked {
        self.restart()?;
        for (name, parameters) in commands::site() {
            self.done(name, parameters)?;
        }
        self.check_at_rest()
    }

    /// Bad weather, then a calm in which everything must come right.
    pub fn live(&mut self, commands: usize) -> Result<Summary, Violation> {
        self.restart()?;
        self.run_until(self.now + 50 * MILLIS)?;
        self.storm(commands)?;
        self.calm_down()?;
        let node = self.node.as_ref().expect("the node runs in the calm");
        let (position, chain) = node.journal.chain_head();
        let mut kinds = BTreeMap::new();
        for event in durable_log(&node.journal)?.iter().flat_map(|commit| &commit.events) {
            *kinds.entry(event.event.kind().to_string()).or_default() += 1;
        }
        Ok(Summary {
            position,
            chain,
            starts: self.run - 1,
            happened: self.happened,
            acknowledged: self.acknowledged.len(),
            conflicts: self.conflicts,
            kinds,
        })
    }

    fn storm(&mut self, commands: usize) -> Checked {
        let rng = &mut self.rng;
        let of = |rng: &mut Rng, most: u8| if rng.bool() { 0 } else { rng.u8(0..most) };
        self.weather = Weather { drop: of(rng, 30), double: of(rng, 30), late: of(rng, 50) };
        self.calm = false;
        let length = commands as Micros * rng.i64(3..25) * MILLIS;
        let begin = self.now;
        let mut left = commands;
        while left > 0 {
            let time = begin + self.rng.i64(0..length);
            let together = self.rng.usize(1..10).min(left);
            for _ in 0..together {
                let delay = self.rng.i64(0..2 * MILLIS);
                self.at(time + delay, Event::Ask);
            }
            left -= together;
        }
        let events = self.rng.usize(1..14);
        for _ in 0..events {
            let time = begin + self.rng.i64(0..length);
            let event = self.misfortune();
            self.at(time, event);
        }
        self.run_until(begin + length)
    }

    fn misfortune(&mut self) -> Event {
        match self.rng.u8(0..17) {
            0..=2 => Event::Crash(true),
            3 => Event::Crash(false),
            16 => Event::Stop,
            4 => Event::Disk(Fault::PowerInWrite),
            5 => Event::Disk(Fault::PowerInSync),
            6 => Event::Disk(Fault::WriteError),
            7 => Event::Disk(Fault::SyncError),
            8 => Event::Disk(Fault::Full),
            9 => Event::Mood(Mood::Slow),
            10 => Event::Mood(Mood::Dead),
            11 => Event::Mood(Mood::Lying),
            12 => Event::Mood(Mood::Well),
            13 => Event::Disturb,
            14 => Event::Idle,
            _ => Event::Check,
        }
    }

    /// Nothing is lost any more and everybody is well, but for one agent that may be dead: all others come to where
    /// they should be, and every command has an answer.
    fn calm_down(&mut self) -> Checked {
        self.tell(|| "the storm is over".to_string());
        self.weather = Weather { drop: 0, double: 0, late: 0 };
        self.calm = true;
        if self.node.is_some() {
            let power = self.rng.bool();
            self.crash(power)?;
        }
        let all = self.agents.ids();
        let dead = self.rng.choice(all).filter(|_| self.rng.bool());
        self.agents.heal(dead);
        if let Some(dead) = dead {
            self.tell(|| format!("agent {dead} stays dead"));
        }
        self.restart()?;
        self.run_until(self.now + CALM)?;
        self.check_at_rest()?;
        self.everyone_is_served()
    }

    /// The process ends as by kill -9, or as by a power failure.
    pub fn crash(&mut self, power: bool) -> Checked {
        if self.node.take().is_none() {
            return Ok(());
        }
        self.tell(|| format!("the node dies{}", if power { ", and the power with it" } else { "" }));
        let mut disk = self.disk.lock();
        disk.set_fault(None);
        if power {
            disk.lose_power();
        }
        disk.power_lost = false;
        drop(disk);
        if power {
            self.tear_what_is_beside();
        }
        if self.rng.u8(0..4) == 0 {
            self.snapshots.clear();
        }
        let delay = self.rng.i64(1..60) * MILLIS;
        self.after(delay, Event::Restart);
        Ok(())
    }

    /// The index checkpoint and the signed heads are not synced: a power failure takes their ends.
    fn tear_what_is_beside(&mut self) {
        let Some(dir) = &self.dir else { return };
        for name in ["index.checkpoint", "heads.jsonl"] {
            let path = dir.path().join(name);
            let Ok(bytes) = std::fs::read(&path) else { continue };
            let kept = self.rng.usize(bytes.len() / 2..=bytes.len());
            let torn = [&bytes[..kept], &vec![0; self.rng.usize(0..100)]].concat();
            std::fs::write(&path, torn).expect("a file in a directory of our own");
        }
    }

    /// Whether anything may still go wrong.
    pub fn is_calm(&self) -> bool {
        self.calm
    }
}
