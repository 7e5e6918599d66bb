//! The bytes of commits, pinned: a log that was ever written is read for ever. When this fails, what is written has
//! changed: give it a format number of its own in `record.rs`, and add the lines that are printed here to the fixture.
//! Lines are never changed or removed.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt::Write, sync::Arc};
use switchback_events::*;
use switchback_journal::*;

const FIXTURE: &str = include_str!("../fixtures/frames.txt");

fn id(byte: u8) -> Id {
    Id([byte; 16])
}

fn provenance(causes: bool) -> Provenance {
    Provenance {
        command_id: CommandId(id(1)),
        command: "CreateZone".to_string(),
        body: id(2),
        principal: "admin".to_string(),
        credential: None,
        origin: if causes { Origin::System } else { Origin::Cli },
        causation: causes.then_some(id(3)),
        correlation: if causes { id(4) } else { id(1) },
        reason: causes.then(|| "größer".to_string()),
    }
}

/// A commit for each thing that a record may hold or leave out.
fn cases() -> BTreeMap<&'static str, Proposal> {
    let stream = |kind, byte| StreamKey::new(kind, id(byte));
    let zone = ZoneEvent::Created { name: "z".to_string(), description: None, is_default: false };
    let cluster = ClusterEvent::Created {
        zone: ZoneId(id(5)),
        name: "c".to_string(),
        description: Some("d".to_string()),
        hypervisor_type: HypervisorType::KVM,
    };
    let (a, b) = (stream(StreamKind::Zone, 5), stream(StreamKind::Cluster, 6));
    let small = Proposal {
        at: 1_795_168_800_000_000,
        provenance: provenance(false),
        reads: vec![(a, 0)],
        events: vec![(a, zone.clone().into())],
    };
    let full = Proposal {
        at: 1_795_168_800_000_001,
        provenance: provenance(true),
        reads: vec![(b, 0), (stream(StreamKind::Host, 7), 0), (a, 0)],
        events: vec![(a, zone.into()), (b, cluster.into()), (a, ZoneEvent::Deleted {}.into())],
    };
    BTreeMap::from([("full", full), ("small", small)])
}

/// The frame that is stored for `proposal`, and the commit.
fn frame(proposal: Proposal) -> (Vec<u8>, Arc<Commit>) {
    let store = Arc::new(MemoryStore::default());
    let journal = Journal::open(store.clone(), Options::default()).unwrap();
    let commit = journal.append(proposal, || true, |_| {}).unwrap().commit;
    journal.close();
    (store.read_from(0, 9).unwrap().remove(0).bytes, commit)
}

/// What format 1 wrote of a commit: the keys in full.
fn long_keys(commit: &Commit) -> Vec<u8> {
    #[derive(Serialize)]
    struct Record<'a> {
        first: Position,
        at: Micros,
        provenance: &'a Provenance,
        reads: &'a [(StreamKey, Version)],
        events: Vec<Event<'a>>,
    }
    #[derive(Serialize)]
    struct Event<'a> {
        stream: StreamKey,
        version: Version,
        schema: u16,
        tags: &'a [Id],
        payload: Bytes,
    }
    struct Bytes(Vec<u8>);
    impl Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    let event = |event: &'_ Recorded| (event.stream, event.version, event.event.encode().unwrap());
    let events = commit.events.iter().map(|recorded| {
        let (stream, version, payload) = event(recorded);
        Event { stream, version, schema: 1, tags: &recorded.tags, payload: Bytes(payload) }
    });
    let record = Record {
        first: 1,
        at: commit.at,
        provenance: &commit.provenance,
        reads: &commit.reads,
        events: events.collect(),
    };
    let body = rmp_serde::to_vec_named(&record).unwrap();
    let chain: [u8; 32] = Sha256::new().chain_update([0; 32]).chain_update(&body).finalize().into();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&chain);
    crc.update(&body);
    let mut frame = vec![1];
    frame.extend((body.len() as u32).to_le_bytes());
    frame.extend(crc.finalize().to_le_bytes());
    frame.extend(chain);
    frame.extend(body);
    frame
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The lines of the fixture: format, case, bytes.
fn lines() -> Vec<(u8, &'static str, Vec<u8>)> {
    let lines = FIXTURE.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    fields.map(|fields| (fields[0].parse().unwrap(), fields[1], bytes(fields[2]))).collect()
}

#[test]
fn what_is_written_has_not_changed_without_a_new_format() {
    for (case, proposal) in cases() {
        let (now, commit) = frame(proposal);
        for written in [now, long_keys(&commit)] {
            let format = written[0];
            let pinned = lines().into_iter().find(|(of, name, _)| (*of, *name) == (format, case));
            assert_eq!(
                pinned.map(|(.., bytes)| hex(&bytes)),
                Some(hex(&written)),
                "\nthe bytes of format {format} are other ones, or new:\n{format} {case} {}\n",
                hex(&written)
            );
        }
    }
}

#[test]
fn every_commit_that_was_ever_written_is_read() {
    let cases = cases();
    let formats: Vec<u8> = lines().iter().map(|(format, ..)| *format).collect();
    assert!(formats.contains(&1) && formats.contains(&2), "{formats:?}");
    for (format, case, bytes) in lines() {
        let (_, expected) = frame(cases[case].clone());
        let store = Arc::new(MemoryStore::default());
        store.append(0, &[Frame { first: 1, last: expected.last_position(), bytes }]).unwrap();
        let journal = Journal::open(store, Options::default()).unwrap();
        journal.verify(|_| {}).unwrap();
        assert_eq!(journal.read(0, 9).unwrap(), [expected], "format {format}, {case}");
    }
}
