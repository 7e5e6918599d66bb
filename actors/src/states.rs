//! The table of sequenced states and the directory beside it. A state is loaded by replay (from a snapshot where
//! there is one), evolves under the journal's sequencing lock, and may be dropped at any time: the log has it.

use crate::{
    account,
    directory::{Directory, Relation, SetKey},
    facts::Facts,
    network_service_provider::{self, NetworkServiceProvider},
    state::{Aggregate, State, schema},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};
use switchback_appliance::Providers;
use switchback_bus::Refusal;
use switchback_events::{
    CommandId, Commit, Event, Id, Micros, NetworkServiceProviderEvent, Origin, PasswordHash, Position, Provenance,
    StreamKey, StreamKind, Version,
};
use switchback_journal::{AppendError, Appended, Journal, Proposal};
use switchback_snapshots::{Snapshot, Snapshots};

/// A snapshot is taken each time a stream has grown by so many events.
pub const SNAPSHOT_EVERY: Version = 100;
/// A state that takes more than this many bytes is kept so many times less often as it is larger, so that what an event
/// costs does not grow with what its stream holds.
const SNAPSHOT_BYTES: usize = 8 * 1024;

/// The states of all aggregates at the head of the log.
#[derive(Clone)]
pub struct States {
    journal: Journal,
    snapshots: Arc<Snapshots>,
    snapshot_every: Version,
    providers: Arc<Providers>,
    admin_password: Option<PasswordHash>,
    /// Of the large states: from which version on they are kept again.
    due: Arc<Mutex<HashMap<StreamKey, Version>>>,
    table: Arc<RwLock<HashMap<StreamKey, (Version, State)>>>,
    directory: Arc<RwLock<Directory>>,
    /// What is as if it were absent.
    hidden: Arc<BTreeSet<Id>>,
}

impl States {
    /// Opens the table over `journal`: folds the directory from the whole log.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn open(
        journal: Journal,
        snapshots: impl Into<Arc<Snapshots>>,
    ) -> Result<States, switchback_journal::ReadError> {
        let mut directory = Directory::default();
        journal.replay(None, 0, Position::MAX, &|head| Directory::may_bear(head), &mut |event| {
            directory.apply(&event);
            ControlFlow::Continue(())
        })?;
        Ok(States {
            journal,
            snapshots: snapshots.into(),
            snapshot_every: SNAPSHOT_EVERY,
            providers: Arc::default(),
            admin_password: None,
            due: Arc::default(),
            table: Arc::default(),
            directory: Arc::new(RwLock::new(directory)),
            hidden: Arc::default(),
        })
    }

    /// The same, but a snapshot is taken each time a stream has grown by `events`, at least one.
    pub fn snapshot_every(self, events: Version) -> States {
        States { snapshot_every: events.max(1), ..self }
    }

    /// The same with these backends of network services.
    pub fn with_providers(self, providers: Providers) -> States {
        States { providers: Arc::new(providers), ..self }
    }

    /// The same, but the account that [`States::found`] makes has a password.
    pub fn with_admin_password(self, admin_password: Option<PasswordHash>) -> States {
        States { admin_password, ..self }
    }

    /// The same as seen by one from whom these are hidden: they are absent, and have no members.
    pub fn hiding(&self, hidden: BTreeSet<Id>) -> States {
        States { hidden: Arc::new(hidden), ..self.clone() }
    }

    /// The version of a stream; 0 where it is hidden.
    pub fn version(&self, stream: StreamKey) -> Version {
        if self.hides(stream) { 0 } else { self.journal.version(stream) }
    }

    /// What is found by a name of its own; who belongs to what is absent is not asked for.
    fn hides_set(&self, (relation, id): SetKey) -> bool {
        use Relation::{
            AccessListOfEntry, AccountOfCredential, GroupOfRule, L3OfReservedRange, LoadBalancerOfPart, OwnerOfNic,
            ResourceOfTag, RouterOfSystemVip,
        };
        let found = matches!(
            relation,
            AccessListOfEntry
                | AccountOfCredential
                | GroupOfRule
                | L3OfReservedRange
                | LoadBalancerOfPart
                | OwnerOfNic
                | ResourceOfTag
                | RouterOfSystemVip
        );
        found && self.hidden.contains(&id)
    }

    /// Whose something is stays known, so that a decision can rest on it.
    fn hides(&self, stream: StreamKey) -> bool {
        // What nobody names, such as a block of MACs, is as it is.
        let beside = [StreamKind::Ownership, StreamKind::MacBlock, StreamKind::GlobalConfig];
        !self.hidden.is_empty() && !beside.contains(&stream.kind) && self.hidden.contains(&stream.id)
    }

    /// The backends of network services.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// The log.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// A view for one decision, which remembers what it was shown.
    pub fn facts(&self) -> Facts<'_> {
        Facts::new(self)
    }

    /// The state of a stream and its version, loaded if need be.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn load(&self, stream: StreamKey) -> Result<(Version, State), Refusal> {
        if self.hides(stream) {
            return Ok((self.journal.version(stream), State::absent(stream.kind)));
        }
        loop {
            if let Some((version, state)) = self.table.read().get(&stream) {
                return Ok((*version, state.clone()));
            }
            let (version, state) = self.replay(stream)?;
            let table = self.table.clone();
            let stands = self.journal.sequenced(|heads| {
                let stands = heads.version(stream) == version;
                if stands && version > 0 {
                    table.write().insert(stream, (version, state.clone()));
                }
                stands
            });
            if stands {
                return Ok((version, state));
            }
        }
    }

    fn replay(&self, stream: StreamKey) -> Result<(Version, State), Refusal> {
        let mut version = 0;
        let mut state = State::absent(stream.kind);
        // What was never made has neither snapshot nor events: most new resources are looked for once.
        if self.journal.version(stream) == 0 {
            return Ok((version, state));
        }
        if let Some(snapshot) = self.snapshots.get(stream, schema())
            && snapshot.version <= self.journal.version(stream)
            && let Ok(restored) = rmp_serde::from_slice(&snapshot.bytes)
        {
            (version, state) = (snapshot.version, restored);
        }
        let events = self.journal.read_stream(stream, version);
        let events = events.map_err(|error| Refusal::internal(format!("replay {stream}: {error}")))?;
        for (_, event) in events {
            version = event.version;
            state.evolve(&event.event, version);
        }
        Ok((version, state))
    }

    /// The last sequenced state of `id`: what decisions stand on.
    pub fn get<A: Aggregate>(&self, id: impl Into<Id>) -> Result<(Version, Arc<A>), Refusal> {
        let stream = StreamKey::new(A::KIND, id);
        of_kind(stream, self.load(stream)?)
    }

    /// The members of a set and its generation.
    pub(crate) fn set(&self, key: SetKey) -> (u64, Vec<Id>) {
        let directory = self.directory.read();
        let members = if self.hides_set(key) { Vec::new() } else { directory.members(key).collect() };
        (directory.generation(key), members)
    }

    /// The members of a set.
    pub fn members(&self, key: SetKey) -> Vec<Id> {
        self.set(key).1
    }

    /// The members of a set, also where it is hidden.
    pub(crate) fn known_set(&self, key: SetKey) -> (u64, Vec<Id>) {
        let directory = self.directory.read();
        (directory.generation(key), directory.members(key).collect())
    }

    /// How many members a set has.
    pub fn count(&self, key: SetKey) -> usize {
        if self.hides_set(key) { 0 } else { self.directory.read().count(key) }
    }

    /// Sequences a commit: the journal checks the versions, this table the generations, then all states evolve
    /// before anyone else looks.
    pub(crate) fn append(&self, proposal: Proposal, sets: &[(SetKey, u64)]) -> Result<Appended, AppendError> {
        self.journal.append(
            proposal,
            || {
                let directory = self.directory.read();
                sets.iter().all(|(key, generation)| directory.generation(*key) == *generation)
            },
            |commit| self.evolve(commit),
        )
    }

    /// Writes the events that every installation begins with, unless the log has them.
    ///
    /// # Errors
    /// A log that takes no writes.
    pub fn found(&self, at: Micros) -> Result<(), AppendError> {
        let mut events = network_service_provider::founding(&self.providers);
        events.push(account::founding(self.admin_password.clone()));
        let records = self.members((Relation::All(StreamKind::NetworkServiceProvider), Id::NIL));
        let known = records.into_iter().filter_map(|id| Some(self.get::<NetworkServiceProvider>(id).ok()?.1));
        let known: BTreeSet<String> = known.map(|record| record.provider_type.clone()).collect();
        events.retain(|(stream, event)| match event {
            Event::NetworkServiceProvider(NetworkServiceProviderEvent::Created { provider_type, .. }) => {
                !known.contains(provider_type)
            }
            _ => self.journal.version(*stream) == 0,
        });
        if events.is_empty() {
            return Ok(());
        }
        let first = self.journal.head() == 0;
        let id = if first { String::new() } else { format!(":{}", self.journal.head()) };
        let command_id = CommandId(Id::of_name(&format!("switchback.founding{id}")));
        let provenance = Provenance {
            command_id,
            command: "Found".to_string(),
            body: Id::NIL,
            principal: "system:founding".to_string(),
            credential: None,
            origin: Origin::System,
            causation: None,
            correlation: command_id.0,
            reason: Some(if first { "first start" } else { "new in this version" }.to_string()),
        };
        let reads = events.iter().map(|(stream, _)| (*stream, 0)).collect();
        self.append(Proposal { at, provenance, reads, events }, &[]).map(|_| ())
    }

    fn evolve(&self, commit: &Commit) {
        let mut table = self.table.write();
        let mut directory = self.directory.write();
        for event in &commit.events {
            directory.apply(event);
            if event.version == 1 {
                table.entry(event.stream).or_insert_with(|| (0, State::absent(event.stream.kind)));
            }
            // A state that is not in the table is loaded from the log when it is next asked for.
            if let Some((version, state)) = table.get_mut(&event.stream) {
                state.evolve(&event.event, event.version);
                *version = event.version;
            }
        }
    }

    /// Takes snapshots of the streams that a durable commit has grown past the mark. Only of a durable one: what is
    /// lost with a crash must not come back from here.
    pub fn snapshot_after(&self, commit: &Commit) {
        for event in commit.events.iter().filter(|event| event.version % self.snapshot_every == 0) {
            if self.due.lock().get(&event.stream).is_some_and(|due| event.version < *due) {
                continue;
            }
            let entry = self.table.read().get(&event.stream).cloned();
            let Some((version, state)) = entry else { continue };
            // Later events may be in the state that are not durable yet.
            if version != event.version {
                continue;
            }
            if let Ok(bytes) = rmp_serde::to_vec_named(&state) {
                let times = (bytes.len() / SNAPSHOT_BYTES) as Version;
                if times > 1 {
                    self.due.lock().insert(event.stream, version + times * self.snapshot_every);
                }
                self.snapshots.put(event.stream, schema(), Snapshot { version, position: event.position, bytes });
            }
        }
    }

    /// Drops a state from memory; it is loaded again when it is next asked for.
    pub fn drop_state(&self, stream: StreamKey) {
        self.table.write().remove(&stream);
    }

    /// How many states are in memory.
    pub fn loaded(&self) -> usize {
        self.table.read().len()
    }

    /// The directory, for comparison with a replayed one.
    pub fn directory(&self) -> Directory {
        self.directory.read().clone()
    }
}

fn of_kind<A: Aggregate>(stream: StreamKey, (version, state): (Version, State)) -> Result<(Version, Arc<A>), Refusal> {
    match A::of(&state) {
        Some(state) => Ok((version, state.clone())),
        None => Err(Refusal::internal(format!("{stream} has a state of another kind"))),
    }
}
