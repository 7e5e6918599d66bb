//! Folding the log again: a resource's state by the code that the server decides with, and the inventories into a
//! fresh database. Each comes with a digest, and a running server says whether what it lives by is the same.

use super::{
    Scratch,
    changes::own_fields,
    history::{History, blocking, refusal_of, unreadable},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use switchback_actors::state::State;
use switchback_appliance::hex;
use switchback_bus::Refusal;
use switchback_events::{Id, Position, StreamKey, StreamKind, Version};
use switchback_projections::{
    LIMIT_MAX, Projections, Query,
    catalogue::{KINDS, Kind},
};

/// Every kind of stream: an id may have several, such as its tags.
pub(super) const STREAMS: [StreamKind; 26] = [
    StreamKind::Zone,
    StreamKind::Cluster,
    StreamKind::Host,
    StreamKind::Image,
    StreamKind::L2Network,
    StreamKind::L3Network,
    StreamKind::IpRange,
    StreamKind::MacBlock,
    StreamKind::NetworkServiceProvider,
    StreamKind::Offering,
    StreamKind::VmInstance,
    StreamKind::Router,
    StreamKind::LoadBalancer,
    StreamKind::Certificate,
    StreamKind::AccessControlList,
    StreamKind::Vip,
    StreamKind::Eip,
    StreamKind::PortForwarding,
    StreamKind::TagSet,
    StreamKind::GlobalConfig,
    StreamKind::ResourceConfig,
    StreamKind::Account,
    StreamKind::Policy,
    StreamKind::Role,
    StreamKind::Ownership,
    StreamKind::SecurityGroup,
];

/// The digest of a state, by the same form for all.
pub(super) fn digest_of(state: &State) -> Result<String, Refusal> {
    Ok(hex(&Sha256::digest(shown(state)?.to_string())))
}

fn shown(state: &State) -> Result<Value, Refusal> {
    let mut value =
        serde_json::to_value(state).map_err(|error| Refusal::internal(format!("show a state as JSON: {error}")))?;
    // A bitmap says nothing to anybody.
    if let State::IpRange(range) = state {
        let used: Vec<String> = range.used.iter().map(|ip| ip.to_string()).collect();
        value["IpRange"]["used"] = json!(used);
    }
    Ok(value.as_object_mut().and_then(|map| map.values_mut().next().map(Value::take)).unwrap_or(value))
}

impl History {
    /// The states of all streams of an id at a position, each with its stream and version.
    pub(super) fn states_at(&self, id: Id, at: Position) -> Result<Vec<(StreamKey, Version, State)>, Refusal> {
        let mut found = Vec::new();
        for kind in STREAMS {
            let stream = StreamKey::new(kind, id);
            let events = self.journal().read_stream(stream, 0).map_err(unreadable)?;
            let mut version = 0;
            let mut state = State::absent(kind);
            for (_, event) in events.iter().filter(|(_, event)| event.position <= at) {
                version = event.version;
                state.evolve(&event.event, version);
            }
            if version > 0 {
                found.push((stream, version, state));
            }
        }
        Ok(found)
    }

    /// A resource's state folded again. `live` gives what the server has, by stream, where it has it.
    pub(super) fn replay_resource(
        &self,
        id: Id,
        at: Position,
        live: impl Fn(StreamKey) -> Option<(Version, State)>,
    ) -> Result<Value, Refusal> {
        let mut states = Vec::new();
        for (stream, version, state) in self.states_at(id, at)? {
            let digest = digest_of(&state)?;
            let live = match live(stream).filter(|(live, _)| *live == version) {
                Some((_, live)) => Some(digest_of(&live)?),
                None => None,
            };
            let same = live.as_ref().map(|live| *live == digest);
            states.push(json!({
                "stream": stream.to_string(), "version": version, "state": shown(&state)?, "digest": digest,
                "liveDigest": live, "same": same,
            }));
        }
        if states.is_empty() {
            let refusal = Refusal::not_found("uuid", "resource", id);
            return Err(refusal.hint(format!("nothing had this uuid at position {at}")));
        }
        Ok(json!({"uuid": id, "position": at, "states": states}))
    }

    /// The inventories at a position folded again into a database of their own, and compared with those that
    /// follow the log, where there are such.
    pub(super) async fn replay_inventories(&self, at: Position) -> Result<Value, Refusal> {
        let live = match self.live() {
            Some(_) => Some(self.inventories(at).await?),
            None => None,
        };
        let history = self.clone();
        blocking("replay the inventories", move || {
            let failed = |error: &dyn std::error::Error| Refusal::internal(format!("fold the log again: {error}"));
            let scratch = Scratch::new().map_err(|error| failed(&error))?;
            let (path, journal) = (scratch.0.join("inventories.db"), history.journal());
            let of = history.of_commit(at)?;
            let mut progress = |reached: Position| history.progress(reached.min(at), at);
            let fresh = Projections::replay(&path, journal, of, &super::config_defaults(), &mut progress);
            let fresh = fresh.map_err(|error| failed(&error))?;
            let mut kinds = Vec::new();
            for kind in KINDS {
                let (rows, digest) = digest_at(&fresh, kind, at)?;
                let live = live.as_ref().map(|live| digest_at(live, kind, at)).transpose()?.map(|(_, digest)| digest);
                let same = live.as_ref().map(|live| *live == digest);
                kinds.push(json!({
                    "kind": kind.name, "rows": rows, "digest": digest, "liveDigest": live, "same": same,
                }));
            }
            Ok(json!({"position": at, "inventories": kinds}))
        })
        .await
    }

    /// The last position of the commit that holds `at`: a commit is folded whole.
    fn of_commit(&self, at: Position) -> Result<Position, Refusal> {
        Ok(self.journal().commit_at(at).map_err(unreadable)?.map_or(0, |commit| commit.last_position()))
    }
}

/// How many rows of a kind there were, and the digest of all of them in order.
fn digest_at(projections: &Projections, kind: &'static Kind, at: Position) -> Result<(u64, String), Refusal> {
    let mut hash = Sha256::new();
    let mut rows = 0;
    loop {
        let mut query = Query::new(kind).at(at);
        (query.fields, query.start, query.limit) = (own_fields(kind), rows, Some(LIMIT_MAX));
        let page = projections.query(&query).map_err(refusal_of)?.rows();
        for row in &page {
            hash.update(row.to_string());
            hash.update(b"\n");
        }
        rows += page.len() as u64;
        if (page.len() as u64) < LIMIT_MAX {
            return Ok((rows, hex(&hash.finalize())));
        }
    }
}
