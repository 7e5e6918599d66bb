//! Too much at once, and commands that make their actor fail.

use crate::harness::{World, command_id};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use switchback_actors::{
    States,
    entity::{Clock, Execute, refusal_of},
    registry::Registry,
};
use switchback_bus::{RefusalKind, command};
use switchback_events::{CommandId, Id, Micros, Origin, Provenance};
use switchback_journal::{AppendError, Journal, MemoryStore, Options};
use switchback_snapshots::Snapshots;

fn states() -> States {
    let journal = Journal::open(Arc::new(MemoryStore::default()), Options::default()).unwrap();
    let states = States::open(journal, Snapshots::memory()).unwrap();
    states.found(1).unwrap();
    states
}

fn execute(name: &str, parameters: serde_json::Value, command_id: CommandId) -> Execute {
    let (command, common) = command(name, &parameters).unwrap();
    let provenance = Provenance {
        command_id,
        command: name.to_string(),
        body: Id::NIL,
        principal: "test".to_string(),
        credential: None,
        origin: Origin::Api,
        causation: None,
        correlation: command_id.0,
        reason: None,
    };
    Execute { command: Arc::new(command), common, provenance, if_match: None, dry_run: false }
}

#[actix_rt::test]
async fn more_commands_at_once_than_a_server_takes_are_to_come_again() {
    let world = World::new();
    let update = json!({"uuid": Id::of_name("nobody"), "name": "x"});
    let answers = join_all((0..5000).map(|_| world.send("UpdateZone", update.clone()))).await;
    let refusals = answers.into_iter().map(Result::unwrap_err);
    let (busy, rest): (Vec<_>, Vec<_>) = refusals.partition(|refusal| refusal.kind == RefusalKind::Busy);
    assert!(!busy.is_empty() && rest.len() >= 4096, "{} are busy", busy.len());
    assert!(busy[0].code == "SYS.1100" && busy[0].hint.is_some(), "{}", busy[0]);
    assert!(rest.iter().all(|refusal| refusal.code == "SYS.1003"));
}

/// A clock that is asked in the middle of a decision, and fails.
struct Failing(AtomicBool);

impl Clock for Failing {
    fn now(&self) -> Micros {
        assert!(!self.0.load(Ordering::Relaxed), "asked to");
        7
    }
}

#[actix_rt::test]
async fn a_command_that_makes_its_actor_fail_is_kept_out_and_others_go_on() {
    let clock = Arc::new(Failing(AtomicBool::new(true)));
    let registry = Registry::new(states(), clock.clone(), 1);
    let create = |name: &str| execute("CreateZone", json!({"name": name}), command_id(name));
    let refusal = registry.execute(create("poison")).await.err().unwrap();
    assert!(refusal.kind == RefusalKind::Internal && refusal.detail.contains("failed on this command"), "{refusal}");
    clock.0.store(false, Ordering::Relaxed);
    let refusal = registry.execute(create("poison")).await.err().unwrap();
    assert!(refusal.kind == RefusalKind::Internal && refusal.detail.contains("quarantined"), "{refusal}");
    assert!(registry.execute(create("other")).await.is_ok());
    assert_eq!(registry.restarts(), 2);
}

#[test]
fn a_log_that_takes_nothing_more_is_told_from_one_that_is_broken() {
    let busy = refusal_of(AppendError::Busy);
    assert!(busy.kind == RefusalKind::Busy && busy.code == "SYS.1100" && busy.hint.is_some(), "{busy}");
    let full = refusal_of(AppendError::ReadOnly("no space left".to_string()));
    assert!(full.kind == RefusalKind::ReadOnly && full.detail.contains("no space left"), "{full}");
    let empty = refusal_of(AppendError::Empty);
    assert!(empty.kind == RefusalKind::Internal && empty.detail.contains("at least one event"), "{empty}");
}
