//! Commands without end, for killing the server under: each carries its sender's id, and what was acknowledged is
//! kept, so that afterwards the log can be held to it.

use super::api::{Api, CallError, Options, Reply};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};
use switchback_bus::Wait;
use switchback_events::Id;

/// A command with the id that its sender chose.
#[derive(Clone, PartialEq, Debug)]
pub struct Sent {
    /// Its id.
    pub key: Id,
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub parameters: Value,
}

/// A command that the server said it had done.
#[derive(Clone, PartialEq, Debug)]
pub struct Acknowledged {
    /// What was sent.
    pub sent: Sent,
    /// What was answered.
    pub reply: Reply,
}

/// Something acknowledged that the server does not stand by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost(pub String);

/// Threads that send commands until they are told to stop, or are not answered.
pub struct Churn {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    record: Arc<Mutex<Record>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads saw.
#[derive(Clone, Default, Debug)]
pub struct Record {
    /// In no order.
    pub acknowledged: Vec<Acknowledged>,
    /// Sent and not answered: done or not done, but never half.
    pub in_flight: Vec<Sent>,
    /// Refused, where nothing should have been.
    pub refused: Vec<String>,
}

/// A sequence of numbers that looks random and is the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

impl Churn {
    /// Starts so many threads. Each builds small networks in zones of its own; `vms` are stopped and started.
    /// `label` must be another one each time: ids of commands and names derive from it.
    pub fn start(api: &Api, label: &str, threads: usize, vms: &[String]) -> Churn {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let record = Arc::new(Mutex::new(Record::default()));
        let mut churn = Churn { stop, count, record, threads: vec![] };
        for thread in 0..threads {
            churn.thread(api, format!("{label}-{thread}"), build_networks);
        }
        for vm in vms {
            let uuid = vm.clone();
            churn.thread(api, format!("{label}-{uuid}"), move |sender| restart(sender, &uuid));
        }
        churn
    }

    fn thread(&mut self, api: &Api, label: String, work: impl Fn(&mut Sender) -> Option<()> + Send + 'static) {
        let mut sender = Sender {
            api: api.clone(),
            label,
            sent: 0,
            count: self.count.clone(),
            stop: self.stop.clone(),
            record: self.record.clone(),
        };
        self.threads.push(std::thread::spawn(move || while work(&mut sender).is_some() {}));
    }

    /// How many commands were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Stops the threads; what they saw.
    pub fn finish(mut self) -> anyhow::Result<Record> {
        self.halt()?;
        Ok(std::mem::take(&mut *self.record.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn halt(&mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread that sends commands panicked"))?;
        }
        Ok(())
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // A thread that panicked has said so already.
        let _ = self.halt();
    }
}

struct Sender {
    api: Api,
    label: String,
    sent: u64,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
}

impl Sender {
    /// Sends one command. `None`: the thread is to end.
    fn send(&mut self, name: &str, parameters: Value, may_be_refused: bool) -> Option<Reply> {
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        self.sent += 1;
        let key = Id::of_name(&format!("{}-{}", self.label, self.sent));
        let sent = Sent { key, name: name.to_string(), parameters };
        let options = Options {
            wait: Wait::Durable,
            key: Some(key.to_string()),
            reason: Some("churn under a crash".to_string()),
        };
        let answer = self.api.command(name, &sent.parameters, &options);
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(reply) => {
                record.acknowledged.push(Acknowledged { sent, reply: reply.clone() });
                self.count.fetch_add(1, Ordering::SeqCst);
                Some(reply)
            }
            Err(CallError::Unanswered(..)) => {
                record.in_flight.push(sent);
                None
            }
            Err(CallError::Refused(_, problem)) if may_be_refused && problem.status < 500 => Some(Reply::nothing()),
            Err(refused) => {
                record.refused.push(format!("{} {}: {refused}", sent.name, sent.parameters));
                None
            }
        }
    }

    /// Sends one command that makes something; its uuid.
    fn create(&mut self, name: &str, parameters: Value) -> Option<String> {
        let reply = self.send(name, parameters, false)?;
        match reply.uuid() {
            Ok(uuid) => Some(uuid),
            Err(error) => {
                let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
                record.refused.push(format!("{name}: {error:#}"));
                None
            }
        }
    }
}

/// The demo's own commands up to the first VM, in a zone without hosts, and some of the way back.
fn build_networks(sender: &mut Sender) -> Option<()> {
    let name = format!("{}-{}", sender.label, sender.sent);
    let zone = sender.create("CreateZone", json!({"name": name}))?;
    sender.create("CreateCluster", json!({"name": name, "zoneUuid": zone, "hypervisorType": "KVM"}))?;
    let l2 = json!({"name": name, "zoneUuid": zone, "physicalInterface": "eth2", "vlan": 100});
    let l2 = sender.create("CreateL2VlanNetwork", l2)?;
    let l3 = sender.create("CreateL3Network", json!({"name": name, "l2NetworkUuid": l2, "category": "Private"}))?;
    let range = json!({"l3NetworkUuid": l3, "name": name, "networkCidr": "10.99.0.0/24"});
    sender.send("AddIpRangeByNetworkCidr", range, false)?;
    sender.send("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "198.51.100.53"}), false)?;
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP", "DNS", "SNAT"]}});
    sender.send("AttachNetworkServiceToL3Network", services, false)?;
    sender.send("UpdateZone", json!({"uuid": zone, "description": "seen under a crash"}), false)?;
    sender.send("DeleteL3Network", json!({"uuid": l3}), false)?;
    sender.send("DeleteL2Network", json!({"uuid": l2}), false)?;
    Some(())
}

/// Stops and starts a VM. It may still be busy with the last command.
fn restart(sender: &mut Sender, vm: &str) -> Option<()> {
    for name in ["StopVmInstance", "StartVmInstance", "RebootVmInstance"] {
        sender.send(name, json!({"uuid": vm}), true)?;
    }
    Some(())
}

impl Record {
    /// Holds the server to what it acknowledged: each event is in the log in its place, each command sent again
    /// gets the same answer, and each command in flight is done once when it is sent again.
    pub fn verify(&self, api: &Api) -> anyhow::Result<Vec<Lost>> {
        let mut lost: Vec<Lost> = self.refused.iter().map(|refused| Lost(format!("refused: {refused}"))).collect();
        let first = self.acknowledged.iter().flat_map(|one| &one.reply.reply.events).map(|event| event.position).min();
        let log = events_after(api, first.unwrap_or(1).saturating_sub(1))?;
        for one in &self.acknowledged {
            if one.reply.reply.events.is_empty() {
                // A command that changed nothing left nothing in the log to hold the server to; sent again now, it
                // might find something to change.
                continue;
            }
            self.verify_events(one, &log, &mut lost);
            let again = self.again(api, &one.sent);
            match again {
                Ok(again) => {
                    let (a, b) = (&one.reply.reply, &again.reply);
                    // Inventory and version are those of now; the rest is what was promised.
                    let same = (a.command_id, a.position, &a.events) == (b.command_id, b.position, &b.events);
                    if !same {
                        lost.push(Lost(told(
                            &one.sent,
                            format!("answered {} and then {}", one.reply.body, again.body),
                        )));
                    }
                }
                Err(error) => lost.push(Lost(told(&one.sent, format!("sent again: {error}")))),
            }
        }
        for sent in &self.in_flight {
            // A refusal is an answer too: the VM may be in a state where the command has no place.
            if let Err(error @ CallError::Unanswered(..)) = self.again(api, sent) {
                lost.push(Lost(told(sent, format!("in flight, sent again: {error}"))));
            }
        }
        let log = events_after(api, first.unwrap_or(1).saturating_sub(1))?;
        for sent in &self.in_flight {
            let mut positions = log.values().filter(|event| command_of(event) == sent.key.to_string()).map(position);
            let contiguous = positions.next().is_none_or(|first| positions.zip(first + 1..).all(|(is, due)| is == due));
            if !contiguous {
                lost.push(Lost(told(sent, "is in the log twice")));
            }
        }
        Ok(lost)
    }

    fn again(&self, api: &Api, sent: &Sent) -> Result<Reply, CallError> {
        let reason = Some("churn under a crash".to_string());
        let options = Options { wait: Wait::Durable, key: Some(sent.key.to_string()), reason };
        api.command(&sent.name, &sent.parameters, &options)
    }

    fn verify_events(&self, one: &Acknowledged, log: &BTreeMap<u64, Value>, lost: &mut Vec<Lost>) {
        for event in &one.reply.reply.events {
            let Some(found) = log.get(&event.position) else {
                lost.push(Lost(told(&one.sent, format!("position {} is not in the log", event.position))));
                continue;
            };
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_string();
            let stream = format!("{}/{}", text("streamType"), text("streamId"));
            let same = stream == event.stream
                && found["version"] == event.version
                && text("kind") == event.kind
                && command_of(found) == one.sent.key.to_string();
            if !same {
                lost.push(Lost(told(
                    &one.sent,
                    format!("position {}: acknowledged {event:?}, found {found}", event.position),
                )));
            }
        }
    }
}

fn told(sent: &Sent, what: impl Display) -> String {
    format!("{} ({}) {what}", sent.name, sent.key)
}

fn position(event: &Value) -> u64 {
    event["position"].as_u64().unwrap_or_default()
}

/// The id of the command that made an event.
pub(super) fn command_of(event: &Value) -> String {
    event["commandId"].as_str().or_else(|| event["command_id"].as_str()).unwrap_or_default().to_string()
}

/// All events after a position, by position.
pub(super) fn events_after(api: &Api, mut after: u64) -> anyhow::Result<BTreeMap<u64, Value>> {
    let mut all = BTreeMap::new();
    loop {
        let page = api.get("/v1/events", &[("after", &after.to_string()), ("limit", "1000")])?;
        let events = page["events"].as_array().with_context(|| format!("expected a page of events, got {page}"))?;
        if events.is_empty() {
            return Ok(all);
        }
        for event in events {
            after = after.max(position(event));
            all.insert(position(event), event.clone());
        }
    }
}
