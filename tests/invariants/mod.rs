//! What always holds, as plain functions: each looks at a log, or at what stands on it, and says what is wrong.
//!
//! The simulation asks all of them after every crash; any test that has a log may ask those that it can.

#[allow(dead_code, reason = "the tests of the node ask more of it than the simulation")]
pub mod documents;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::Arc,
};
use switchback_actors::{States, reconcilers::replay_router, state::State};
use switchback_appliance::{Held, HostFold, RouterFold};
use switchback_events::*;
use switchback_journal::{Journal, Proposal};
use switchback_snapshots::Snapshots;

/// What was promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invariant {
    /// What was acknowledged is in the log, as it was acknowledged.
    AcknowledgedIsDurable,
    /// Nothing is in the log that nobody asked for.
    NothingInvented,
    /// A command takes effect once, and is answered the same each time.
    OncePerCommand,
    /// Positions and versions have no gaps, and time does not go back.
    Contiguous,
    /// A commit got its place only if all that its decision had read was still the last.
    DecisionsStand,
    /// The log is as it was written.
    ChainVerifies,
    /// Every commit says who, by which way and by which command.
    Provenance,
    /// Every event is shown as the document of the bus says.
    AsDocumented,
    /// What is folded anew from the log is what was live.
    ReplayIsLive,
    /// Snapshots change nothing.
    SnapshotsChangeNothing,
    /// The index checkpoint changes nothing.
    CheckpointChangesNothing,
    /// An address, a MAC, a VLAN of an interface, the router of a network, a port of a VIP has one holder.
    OneHolder,
    /// An agent never goes back to an earlier revision or epoch.
    RevisionsGoUp,
    /// An agent has in force what the log says for its revision.
    AgentsHoldTheLog,
    /// A dead agent delays nobody else.
    NobodyWaitsForTheDead,
    /// Equal facts, command and context make equal decisions.
    DecisionsRepeat,
}

/// A promise that was not kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.detail)
    }
}

/// Nothing, or what is wrong.
pub type Checked = Result<(), Violation>;

impl Invariant {
    /// Says that the promise was not kept.
    pub fn broken<T>(self, detail: impl Into<String>) -> Result<T, Violation> {
        Err(Violation { invariant: self, detail: detail.into() })
    }

    /// Says so unless `kept`.
    pub fn holds_if(self, kept: bool, detail: impl FnOnce() -> String) -> Checked {
        if kept { Ok(()) } else { self.broken(detail()) }
    }
}

/// The durable commits, in order.
pub type Log = Vec<Arc<Commit>>;

/// All that is durable.
pub fn durable_log(journal: &Journal) -> Result<Log, Violation> {
    match journal.read(0, usize::MAX) {
        Ok(log) => Ok(log),
        Err(error) => Invariant::ChainVerifies.broken(format!("the log cannot be read: {error}")),
    }
}

/// All that can be asked of a log alone.
pub fn log_is_sound(log: &Log) -> Checked {
    contiguous(log)?;
    provenance_is_complete(log)?;
    once_per_command(log)?;
    as_documented(log)?;
    one_holder_each(log)
}

/// Every event is shown as the schema of its kind says.
pub fn as_documented(log: &Log) -> Checked {
    for (envelope, own) in log.iter().flat_map(|commit| commit.envelopes()) {
        let mut event = serde_json::to_value(&envelope).unwrap();
        event["payload"] = own.to_json();
        // As text the API makes it.
        event["time"] = jiff::Timestamp::from_microsecond(envelope.at).unwrap().to_string().into();
        if let Err(fault) = documents::valid_event(&event) {
            return Invariant::AsDocumented.broken(fault);
        }
    }
    Ok(())
}

/// Positions and versions have no gaps, time does not go back, and every version that a decision read was the last one
/// when its commit got its place.
pub fn contiguous(log: &Log) -> Checked {
    let (rule, stands) = (Invariant::Contiguous, Invariant::DecisionsStand);
    let mut versions: HashMap<StreamKey, Version> = HashMap::new();
    let (mut head, mut time) = (0, Micros::MIN);
    for commit in log {
        for (stream, read) in &commit.reads {
            let was = versions.get(stream).copied().unwrap_or(0);
            stands.holds_if(was == *read, || {
                format!("the commit after position {head} read version {read} of {stream}, which was at {was}")
            })?;
        }
        rule.holds_if(commit.at >= time, || format!("time goes back after position {head}"))?;
        time = commit.at;
        for event in &commit.events {
            head += 1;
            rule.holds_if(event.position == head, || format!("position {} instead of {head}", event.position))?;
            let version = versions.entry(event.stream).or_default();
            *version += 1;
            rule.holds_if(event.version == *version, || {
                format!("position {head} has version {} of {}, not {version}", event.version, event.stream)
            })?;
        }
    }
    Ok(())
}

/// Every commit has a principal, an origin and a command id. The origin cannot be left out by its type.
pub fn provenance_is_complete(log: &Log) -> Checked {
    for commit in log {
        let provenance = &commit.provenance;
        let complete = provenance.command_id.0 != Id::NIL
            && !provenance.command.is_empty()
            && !provenance.principal.is_empty()
            && provenance.correlation != Id::NIL;
        let detail = || format!("the commit at position {} has {provenance:?}", commit.last_position());
        Invariant::Provenance.holds_if(complete, detail)?;
    }
    Ok(())
}

/// No command is in the log twice.
pub fn once_per_command(log: &Log) -> Checked {
    let mut seen = BTreeSet::new();
    for commit in log {
        let id = commit.provenance.command_id;
        let detail = || format!("command {id} is in the log again at position {}", commit.last_position());
        Invariant::OncePerCommand.holds_if(seen.insert(id), detail)?;
    }
    Ok(())
}

/// Every commit that was acknowledged is there, unchanged.
pub fn acknowledged_is_durable<'a>(log: &Log, acknowledged: impl Iterator<Item = &'a Arc<Commit>>) -> Checked {
    let found: HashMap<CommandId, &Arc<Commit>> =
        log.iter().map(|commit| (commit.provenance.command_id, commit)).collect();
    for wanted in acknowledged {
        let id = wanted.provenance.command_id;
        let what =
            || format!("{} {id}, acknowledged at position {}", wanted.provenance.command, wanted.last_position());
        match found.get(&id) {
            Some(found) if *found == wanted => {}
            Some(found) => {
                let detail = format!("{} is in the log as another commit: {found:?}", what());
                return Invariant::AcknowledgedIsDurable.broken(detail);
            }
            None => return Invariant::AcknowledgedIsDurable.broken(format!("{} is lost", what())),
        }
    }
    Ok(())
}

/// Every commit was asked for, by whom it says.
pub fn nothing_is_invented(log: &Log, asked_for: impl Fn(&Provenance) -> bool) -> Checked {
    for commit in log {
        let detail = || format!("nobody asked for the commit at position {}: {commit:?}", commit.last_position());
        Invariant::NothingInvented.holds_if(asked_for(&commit.provenance), detail)?;
    }
    Ok(())
}

/// The bytes of the log are those that were written.
pub fn chain_verifies(journal: &Journal) -> Checked {
    match journal.verify(|_| {}) {
        Ok(_) => Ok(()),
        Err(broken) => Invariant::ChainVerifies.broken(broken.to_string()),
    }
}

/// Who holds what, as the log tells it.
#[derive(Default)]
pub struct Holders {
    addresses: BTreeMap<(L3NetworkId, IpAddr), Id>,
    macs: BTreeMap<Mac, Id>,
    nics: HashMap<Id, Vec<Nic>>,
    /// The nics of the owners above, as the ranges have them allocated.
    allocated: BTreeMap<(L3NetworkId, IpAddr), NicId>,
    wires: HashMap<L2NetworkId, (String, Option<u16>)>,
    vlans: BTreeMap<(ClusterId, String, Option<u16>), L2NetworkId>,
    routers: BTreeMap<L3NetworkId, RouterId>,
    /// VIPs that an EIP has alone, and the ports that rules have of the others.
    eips: BTreeMap<VipId, Id>,
    rules: BTreeMap<(VipId, PortProtocol, u16), Id>,
}

/// An address, a MAC, a VLAN of an interface in a cluster, and the router of a guest network have one holder each after
/// every commit.
pub fn one_holder_each(log: &Log) -> Checked {
    let mut holders = Holders::default();
    for commit in log {
        for event in &commit.events {
            let taken = holders.apply(event);
            if let Err(what) = taken {
                return Invariant::OneHolder.broken(format!("position {}: {what}", event.position));
            }
        }
    }
    Ok(())
}

fn take<K: Ord + fmt::Debug, V: PartialEq + fmt::Debug>(
    held: &mut BTreeMap<K, V>,
    key: K,
    by: V,
) -> Result<(), String> {
    match held.get(&key) {
        Some(other) if *other != by => Err(format!("{key:?} is taken by {by:?}, and {other:?} has it")),
        _ => {
            held.insert(key, by);
            Ok(())
        }
    }
}

impl Holders {
    /// Takes the next event of the log, or says who has already what it gives.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), String> {
        let id = recorded.stream.id;
        match &recorded.event {
            Event::VmInstance(VmInstanceEvent::Created { nics, .. }) => self.hold(id, nics),
            Event::Router(RouterEvent::Created { nics, .. }) => {
                for nic in nics.iter().filter(|nic| nic.is(Nic::GUEST)) {
                    take(&mut self.routers, nic.l3_network, RouterId(id))?;
                }
                self.hold(id, nics)
            }
            Event::Router(RouterEvent::DestroyRequested { .. }) => {
                self.routers.retain(|_, router| router.0 != id);
                Ok(())
            }
            Event::Router(RouterEvent::Destroyed { .. }) => {
                self.routers.retain(|_, router| router.0 != id);
                self.release(id);
                Ok(())
            }
            Event::VmInstance(VmInstanceEvent::Destroyed { .. }) => {
                self.release(id);
                Ok(())
            }
            Event::VmInstance(VmInstanceEvent::NicDetached { nic, .. }) => {
                self.release_nics(id, |own| own.nic == *nic);
                Ok(())
            }
            Event::VmInstance(VmInstanceEvent::NicAddressesChanged { nic, addresses, .. }) => {
                self.readdress(id, *nic, addresses)
            }
            Event::Router(RouterEvent::NicChanged { nic }) => self.readdress(id, nic.nic, &nic.addresses),
            Event::IpRange(IpRangeEvent::AddressAllocated { l3_network, ip, nic, owner, .. }) => {
                // A VIP has no nic.
                let holder = if nic.0 == Id::NIL { NicId(*owner) } else { *nic };
                take(&mut self.allocated, (*l3_network, *ip), holder)
            }
            Event::Eip(EipEvent::Created { at, .. }) => {
                if let Some(rule) =
                    self.rules.range((at.vip, PortProtocol::TCP, 0)..=(at.vip, PortProtocol::UDP, u16::MAX)).next()
                {
                    return Err(format!("EIP {id} is made of VIP {}, and rule {} has ports of it", at.vip, rule.1));
                }
                take(&mut self.eips, at.vip, id)
            }
            Event::Eip(EipEvent::Deleted { at, .. }) => {
                self.eips.remove(&at.vip);
                Ok(())
            }
            Event::PortForwarding(PortForwardingEvent::Created { at, ports, .. }) => {
                if let Some(eip) = self.eips.get(&at.vip) {
                    return Err(format!("rule {id} is made of VIP {}, which is EIP {eip}'s", at.vip));
                }
                let all = ports.vip_start..=ports.vip_end;
                all.into_iter().try_for_each(|port| take(&mut self.rules, (at.vip, ports.protocol, port), id))
            }
            Event::PortForwarding(PortForwardingEvent::Deleted { .. }) => {
                self.rules.retain(|_, rule| *rule != id);
                Ok(())
            }
            Event::IpRange(IpRangeEvent::AddressReleased { l3_network, ip, .. }) => {
                self.allocated.remove(&(*l3_network, *ip));
                Ok(())
            }
            Event::L2Network(event) => self.l2(L2NetworkId(id), event),
            _ => Ok(()),
        }
    }

    fn hold(&mut self, owner: Id, nics: &[Nic]) -> Result<(), String> {
        for nic in nics {
            for address in &nic.addresses {
                take(&mut self.addresses, (nic.l3_network, address.ip), owner)?;
            }
            take(&mut self.macs, nic.mac, nic.nic.0)?;
        }
        self.nics.insert(owner, nics.to_vec());
        Ok(())
    }

    fn readdress(&mut self, owner: Id, nic: NicId, addresses: &[NicAddress]) -> Result<(), String> {
        let mut nics = self.nics.get(&owner).cloned().unwrap_or_default();
        self.release(owner);
        nics.iter_mut().filter(|own| own.nic == nic).for_each(|own| own.addresses = addresses.to_vec());
        self.hold(owner, &nics)
    }

    fn release(&mut self, owner: Id) {
        self.release_nics(owner, |_| true);
        self.nics.remove(&owner);
    }

    fn release_nics(&mut self, owner: Id, which: impl Fn(&Nic) -> bool) {
        for nic in self.nics.entry(owner).or_default().extract_if(.., |nic| which(nic)) {
            for address in &nic.addresses {
                self.addresses.remove(&(nic.l3_network, address.ip));
            }
            self.macs.remove(&nic.mac);
        }
    }

    fn l2(&mut self, l2: L2NetworkId, event: &L2NetworkEvent) -> Result<(), String> {
        let wire = |cluster: &ClusterId| {
            let (interface, vlan) = self.wires.get(&l2).cloned().unwrap_or_default();
            (*cluster, interface, vlan)
        };
        match event {
            L2NetworkEvent::Created { physical_interface, vlan, .. } => {
                self.wires.insert(l2, (physical_interface.clone(), *vlan));
            }
            L2NetworkEvent::AttachRequested { cluster, .. } => {
                let wire = wire(cluster);
                take(&mut self.vlans, wire, l2)?;
            }
            L2NetworkEvent::Detached { cluster } | L2NetworkEvent::AttachFailed { cluster, .. } => {
                let wire = wire(cluster);
                self.vlans.remove(&wire);
            }
            // It has the old frames and the new ones until the change is done.
            L2NetworkEvent::VlanChangeRequested { vlan, .. } => {
                let held: Vec<_> =
                    self.vlans.iter().filter(|(_, holder)| **holder == l2).map(|(wire, _)| wire.clone()).collect();
                for (cluster, interface, _) in held {
                    take(&mut self.vlans, (cluster, interface, *vlan), l2)?;
                }
            }
            L2NetworkEvent::VlanChanged { vlan, .. } => {
                self.vlans.retain(|wire, holder| *holder != l2 || wire.2 == *vlan);
                if let Some(wire) = self.wires.get_mut(&l2) {
                    wire.1 = *vlan;
                }
            }
            L2NetworkEvent::VlanChangeFailed { .. } => {
                let before = self.wires.get(&l2).and_then(|wire| wire.1);
                self.vlans.retain(|wire, holder| *holder != l2 || wire.2 == before);
            }
            L2NetworkEvent::Deleted {} => self.vlans.retain(|_, holder| *holder != l2),
            _ => {}
        }
        Ok(())
    }
}

/// Every kind of stream that there is in a log.
pub fn streams(log: &Log) -> BTreeSet<StreamKey> {
    log.iter().flat_map(|commit| commit.events.iter().map(|event| event.stream)).collect()
}

/// The states that a log comes to, without any snapshot.
fn folded(log: &Log) -> BTreeMap<StreamKey, (Version, State)> {
    let mut states = BTreeMap::new();
    for event in log.iter().flat_map(|commit| &commit.events) {
        let (version, state) = states.entry(event.stream).or_insert_with(|| (0, State::absent(event.stream.kind)));
        state.evolve(&event.event, event.version);
        *version = event.version;
    }
    states
}

fn equals_fold(rule: Invariant, log: &Log, states: &States) -> Checked {
    for (stream, folded) in folded(log) {
        match states.load(stream) {
            Ok(found) if found == folded => {}
            Ok(found) => return rule.broken(format!("{stream}:\n  is     {found:?}\n  folded {folded:?}")),
            Err(refusal) => return rule.broken(format!("{stream} cannot be loaded: {refusal}")),
        }
    }
    Ok(())
}

fn reopened(journal: &Journal, snapshots: Arc<Snapshots>) -> Result<States, Violation> {
    let opened = States::open(journal.clone(), snapshots);
    opened.or_else(|error| Invariant::ReplayIsLive.broken(format!("the log cannot be folded: {error}")))
}

/// The live states and directory, all of whose commits are durable, are what the log comes to.
pub fn replay_is_live(log: &Log, states: &States) -> Checked {
    let rule = Invariant::ReplayIsLive;
    equals_fold(rule, log, states)?;
    let replayed = reopened(states.journal(), Arc::new(Snapshots::memory()))?;
    rule.holds_if(replayed.directory() == states.directory(), || "the directories differ".to_string())
}

/// What is loaded from snapshots and the events after them is what all the events come to.
pub fn snapshots_change_nothing(log: &Log, journal: &Journal, snapshots: &Arc<Snapshots>) -> Checked {
    equals_fold(Invariant::SnapshotsChangeNothing, log, &reopened(journal, snapshots.clone())?)
}

/// A fold that is shown the whole log, but for other routers, comes to what the replay by the index comes to.
pub fn router_replay_is_live(log: &Log, journal: &Journal) -> Checked {
    for router in journal.streams(StreamKind::Router).into_iter().map(RouterId) {
        let mut live = RouterFold::default();
        for event in log.iter().flat_map(|commit| &commit.events) {
            if !matches!(event.event, Event::Router(_)) || event.stream.id == router.0 {
                live.apply(event);
            }
        }
        let replayed = match replay_router(journal, router, None) {
            Ok(fold) => fold.config(),
            Err(error) => return Invariant::ReplayIsLive.broken(format!("router {router}: {error}")),
        };
        let digest = |config: Option<switchback_appliance::RouterConfig>| config.map(|config| config.digest());
        let detail = || format!("router {router}: its configuration is another one when it is replayed");
        Invariant::ReplayIsLive.holds_if(digest(live.config()) == digest(replayed), detail)?;
    }
    Ok(())
}

/// A fold of hosts that followed the log has come to what a fold of the log comes to.
pub fn host_fold_is_live(log: &Log, live: &HostFold) -> Checked {
    let mut folded = HostFold::default();
    for commit in log {
        commit.events.iter().for_each(|event| folded.apply(commit.at, event));
    }
    Invariant::ReplayIsLive.holds_if(folded == *live, || "the folds of the hosts differ".to_string())
}

/// Two journals over the same frames say the same, whatever they were opened from.
pub fn checkpoint_changes_nothing(log: &Log, with: &Journal, without: &Journal) -> Checked {
    let rule = Invariant::CheckpointChangesNothing;
    let heads = (with.chain_head(), without.chain_head());
    rule.holds_if(heads.0 == heads.1, || format!("the heads differ: {heads:?}"))?;
    for stream in streams(log) {
        let versions = (with.version(stream), without.version(stream));
        rule.holds_if(versions.0 == versions.1, || format!("the versions of {stream} differ: {versions:?}"))?;
        let tagged = (with.tagged_positions(stream.id), without.tagged_positions(stream.id));
        rule.holds_if(tagged.0 == tagged.1, || format!("the positions of {stream} differ: {tagged:?}"))?;
    }
    for commit in log {
        let Provenance { command_id, body, .. } = &commit.provenance;
        for journal in [with, without] {
            let found = journal.lookup(*command_id, *body);
            let known = matches!(&found, Ok(Some(appended)) if appended.commit == *commit);
            rule.holds_if(known, || format!("command {command_id} is not known again: {found:?}"))?;
        }
    }
    Ok(())
}

/// What a router's agent has in force is what the durable log says for its revision.
pub fn agent_holds_the_log(journal: &Journal, router: RouterId, held: &Held) -> Checked {
    let rule = Invariant::AgentsHoldTheLog;
    if held.revision == 0 {
        return Ok(());
    }
    let durable = journal.durable();
    rule.holds_if(held.revision <= durable, || {
        format!("router {router} has revision {} of a log that ends at {durable}", held.revision)
    })?;
    let replayed = match replay_router(journal, router, Some(held.revision)) {
        Ok(fold) => fold.config().map(|config| config.sections.digests()),
        Err(error) => return rule.broken(format!("replay router {router}: {error}")),
    };
    rule.holds_if(replayed.as_ref() == Some(&held.digests), || {
        format!("router {router} has at revision {}\n  {:?}\nthe log says\n  {replayed:?}", held.revision, held.digests)
    })
}

/// A document never replaces a later one.
pub fn revisions_go_up(router: RouterId, before: &Held, after: &Held) -> Checked {
    let kept = before.revision <= after.revision && before.epoch <= after.epoch;
    Invariant::RevisionsGoUp.holds_if(kept, || {
        let (from, to) = ((before.epoch, before.revision), (after.epoch, after.revision));
        format!("router {router} went from epoch and revision {from:?} to {to:?}")
    })
}

/// What a decision read is the last that there is at this moment, before its commit gets its place.
pub fn decision_stands(reads: &[(StreamKey, Version)], journal: &Journal) -> Checked {
    for (stream, read) in reads {
        let last = journal.version(*stream);
        let detail = || format!("a commit was sequenced that stands on version {read} of {stream}, which is at {last}");
        Invariant::DecisionsStand.holds_if(last == *read, detail)?;
    }
    Ok(())
}

/// What is decided twice is decided the same.
pub fn decisions_repeat(first: &Proposal, second: &Proposal) -> Checked {
    let bytes = |proposal: &Proposal| -> Vec<_> {
        proposal.events.iter().map(|(stream, event)| (*stream, event.encode().ok())).collect()
    };
    let same = first.reads == second.reads && bytes(first) == bytes(second);
    Invariant::DecisionsRepeat.holds_if(same, || format!("decided twice:\n  {first:?}\n  {second:?}"))
}
