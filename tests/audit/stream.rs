//! Following the log while it is written.

use crate::harness::{World, admin, uuid};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use switchback_bus::{Bus, EventStream, EventsRequest, GetEvents, Read, Refusal, read};

fn filter(parameters: Value) -> GetEvents {
    match read("GetEvents", &parameters).unwrap() {
        Read::GetEvents(filter) => filter,
        other => panic!("{other:?}"),
    }
}

async fn open(world: &World, parameters: Value, follow: bool) -> Result<EventStream, Refusal> {
    world.node.events(&admin(), EventsRequest { filter: filter(parameters), follow }).await
}

async fn follow(world: &World, parameters: Value) -> EventStream {
    open(world, parameters, true).await.unwrap()
}

/// The positions that come until `upto` is examined.
async fn positions(stream: &mut EventStream, upto: u64) -> Vec<u64> {
    let mut found = vec![];
    let mut examined = 0;
    while examined < upto {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("it goes on");
        let batch = next.expect("it has no end").unwrap();
        found.extend(batch.events.iter().map(|event| event.position));
        examined = batch.examined;
    }
    found
}

async fn zones(world: &World, name: &str, number: usize) {
    for at in 0..number {
        world.durable("CreateZone", json!({"name": format!("{name}-{at}")})).await;
    }
}

#[actix_rt::test]
async fn readers_miss_nothing_and_get_nothing_twice_while_commits_are_appended() {
    let world = World::new();
    zones(&world, "before", 100).await;
    let writer = actix_rt::spawn({
        let world = world.clone();
        async move { zones(&world, "while", 300).await }
    });
    // Readers that begin at all stages of it, from the first position and from where the log ends just then.
    let mut readers = vec![];
    for at in 0..10 {
        let after = if at % 2 == 0 { 0 } else { world.node.journal().durable() };
        let mut stream = follow(&world, json!({ "after": after })).await;
        let upto = world.head() + 150 - at * 10;
        readers.push((after, actix_rt::spawn(async move { positions(&mut stream, upto).await })));
        zones(&world, &format!("between-{at}"), 5).await;
    }
    writer.await.unwrap();
    for (after, reader) in readers {
        let found = reader.await.unwrap();
        let expected: Vec<u64> = (after + 1..=after + found.len() as u64).collect();
        assert_eq!(found, expected);
        assert!(found.len() > 40);
    }
}

#[actix_rt::test]
async fn a_reader_goes_on_after_the_last_position_it_saw() {
    let world = World::new();
    zones(&world, "zone", 200).await;
    let head = world.head();
    let mut seen = vec![];
    while seen.last() != Some(&head) {
        let mut stream = follow(&world, json!({"after": seen.last().copied().unwrap_or(0), "limit": 30})).await;
        while let Some(batch) = stream.next().await {
            seen.extend(batch.unwrap().events.iter().map(|event| event.position));
            if seen.last() == Some(&head) {
                break;
            }
        }
    }
    assert_eq!(seen, (1..=head).collect::<Vec<_>>());
    let refusal = open(&world, json!({"after": head + 1}), true).await.err().unwrap();
    assert_eq!(refusal.field.as_deref(), Some("after"));
    let refusal = open(&world, json!({"newest": true}), true).await.err().unwrap();
    assert_eq!(refusal.field.as_deref(), Some("newest"));
}

#[actix_rt::test]
async fn a_filter_that_matches_nothing_still_moves_on_and_then_finds() {
    let world = World::new();
    let zone = uuid(&world.make("CreateZone", json!({"name": "mine"})).await);
    let mine = world.head();
    zones(&world, "other", 50).await;
    let parameters = json!({"resource": zone, "after": mine});
    let mut stream = follow(&world, parameters).await;
    let head = world.head();
    assert!(positions(&mut stream, head).await.is_empty());
    let update = world.durable("UpdateZone", json!({"uuid": zone, "name": "still mine"})).await;
    assert_eq!(positions(&mut stream, update.position).await, [update.position]);
    let by = |parameters: Value| {
        let world = world.clone();
        async move { positions(&mut follow(&world, parameters).await, update.position).await }
    };
    assert_eq!(by(json!({"kind": "zone.Updated"})).await, [update.position]);
    assert_eq!(by(json!({"command": "UpdateZone"})).await, [update.position]);
    assert_eq!(by(json!({"command": update.command_id.0.to_string()})).await, [update.position]);
    assert_eq!(by(json!({"correlation": update.command_id.0.to_string()})).await, [update.position]);
    assert!(by(json!({"principal": "eve"})).await.is_empty());
    assert_eq!(by(json!({"principal": "admin", "kind": "zone", "since": head.to_string()})).await.len(), 2);
}

#[actix_rt::test]
async fn a_stream_that_does_not_follow_ends_where_the_log_ended() {
    let world = World::new();
    zones(&world, "zone", 150).await;
    let head = world.head();
    let mut stream = open(&world, json!({}), false).await.unwrap();
    zones(&world, "late", 3).await;
    let mut found = 0;
    while let Some(batch) = stream.next().await {
        found += batch.unwrap().events.len() as u64;
    }
    assert_eq!(found, head);
    let mut stream = open(&world, json!({"after": head, "until": (head + 1).to_string()}), true).await.unwrap();
    assert_eq!(positions(&mut stream, head + 1).await, [head + 1]);
    assert!(stream.next().await.is_none());
}

#[actix_rt::test]
async fn a_slow_reader_slows_no_writer() {
    let world = World::new();
    let mut slow = follow(&world, json!({})).await;
    slow.next().await.unwrap().unwrap();
    let begin = world.head();
    // It has read once and now reads nothing, far beyond what is held for anyone.
    zones(&world, "zone", 2_000).await;
    assert_eq!(world.node.journal().durable(), begin + 2_000);
    let head = world.head();
    assert_eq!(positions(&mut slow, head).await.len() as u64, 2_000);
}

#[actix_rt::test]
async fn a_stream_of_a_closed_node_ends() {
    let world = World::new();
    let mut stream = follow(&world, json!({})).await;
    let head = world.head();
    positions(&mut stream, head).await;
    world.close();
    assert!(stream.next().await.is_none());
}
