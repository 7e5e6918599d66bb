//! Following a journal, waiting for a position, time limits, damage under way.

use super::DEFAULTS;
use crate::catalogue::{self, ZONE};
use crate::projections::{Limits, Projections};
use crate::query::{Query, QueryError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use switchback_events::*;
use switchback_journal::{Journal, MemoryStore, Options, Proposal};

const LONG: Duration = Duration::from_secs(20);

fn journal() -> Journal {
    Journal::open(Arc::new(MemoryStore::default()), Options::default()).unwrap()
}

async fn create_zone(journal: &Journal, n: u64) -> Position {
    let id = Id::of_name(&n.to_string());
    let event = ZoneEvent::Created { name: format!("zone-{n}"), description: None, is_default: false };
    let provenance = Provenance {
        command_id: CommandId(id),
        command: "CreateZone".to_string(),
        body: id,
        principal: "test".to_string(),
        credential: None,
        origin: Origin::Cli,
        causation: None,
        correlation: id,
        reason: None,
    };
    let events = vec![(StreamKey::new(StreamKind::Zone, id), event.into())];
    let appended =
        journal.append(Proposal { at: n as i64, provenance, reads: vec![], events }, || true, |_| {}).unwrap();
    appended.durable().await.unwrap().last_position()
}

fn open(path: &Path, journal: &Journal) -> Projections {
    Projections::open(path, journal.clone(), DEFAULTS).unwrap()
}

#[tokio::test]
async fn a_writer_reads_its_own_writes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal();
    create_zone(&journal, 1).await;
    let projections = open(&directory.path().join("db"), &journal);
    for n in 2..50 {
        let position = create_zone(&journal, n).await;
        assert_eq!(position, n);
        assert!(projections.wait_for(position, LONG).await >= position);
        let reply = projections.query(&Query::new(&ZONE).with(format!("name=zone-{n}"))).unwrap();
        assert_eq!(reply.rows().len(), 1);
        assert!(reply.position >= position);
    }
    let uuid = Id::of_name("7").to_string();
    assert_eq!(projections.get(&ZONE, &uuid, None).unwrap().unwrap()["name"], "zone-7");
    assert_eq!(projections.get(&ZONE, &uuid, Some(6)).unwrap(), None);
    assert_eq!(projections.failure(), None);
}

#[tokio::test]
async fn waiting_ends_in_time_and_tells_what_was_reached() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal();
    let projections = open(&directory.path().join("db"), &journal);
    create_zone(&journal, 1).await;
    assert_eq!(projections.wait_for(5, Duration::from_millis(50)).await, 1);

    // Waiters of several positions are each woken by theirs.
    let waiting: Vec<_> = (2..6)
        .map(|position| {
            let projections = projections.clone();
            tokio::spawn(async move { projections.wait_for(position, LONG).await })
        })
        .collect();
    for n in 2..6 {
        create_zone(&journal, n).await;
    }
    for (waiter, position) in waiting.into_iter().zip(2..) {
        assert!(waiter.await.unwrap() >= position);
    }

    // A stop wakes those that would wait in vain.
    let waiter = tokio::spawn({
        let projections = projections.clone();
        async move { projections.wait_for(1000, LONG).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    projections.stop();
    assert_eq!(waiter.await.unwrap(), 5);
    assert!(began.elapsed() < LONG);
}

#[tokio::test]
async fn a_restart_goes_on_and_a_lost_journal_starts_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let first = journal();
    let projections = open(&path, &first);
    let position = create_zone(&first, 1).await;
    projections.wait_for(position, LONG).await;
    projections.stop();
    create_zone(&first, 2).await;
    let projections = open(&path, &first);
    assert!(projections.position() >= 1);
    assert_eq!(projections.wait_for(2, LONG).await, 2);
    assert_eq!(projections.query(&Query::new(&ZONE)).unwrap().rows().len(), 2);
    drop(projections);

    let projections = open(&path, &journal());
    assert_eq!(projections.position(), 0);
    assert_eq!(projections.query(&Query::new(&ZONE)).unwrap().rows().len(), 0);
    assert_eq!(projections.query(&Query::new(&catalogue::GLOBAL_CONFIG)).unwrap().rows().len(), DEFAULTS.len());
}

#[tokio::test]
async fn a_closed_journal_ends_the_follower_and_reading_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal();
    let projections = open(&directory.path().join("db"), &journal);
    let position = create_zone(&journal, 1).await;
    journal.close();
    assert_eq!(projections.wait_for(position, LONG).await, position);
    assert_eq!(projections.wait_for(position + 1, LONG).await, position);
    assert_eq!(projections.query(&Query::new(&ZONE)).unwrap().rows().len(), 1);
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let journal = journal();
    let path = directory.path().join("db");
    let limits = Limits { query_time_max: Duration::ZERO, ..Limits::default() };
    let projections = Projections::open_with(&path, journal.clone(), DEFAULTS, limits).unwrap();
    for n in 1..300 {
        create_zone(&journal, n).await;
    }
    projections.wait_for(299, LONG).await;
    let slow = "clusters=null";
    let slow = (0..20).fold(Query::new(&ZONE), |query, _| query.with(slow).with("name~=%z%o%n%e%"));
    assert!(matches!(projections.query(&slow), Err(QueryError::TimedOut(_))));
    // The connection is good for the next, short enough to end before the clock is looked at.
    assert!(projections.query(&Query { limit: Some(1), ..Query::new(&ZONE) }).is_ok());
}
