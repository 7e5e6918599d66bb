//! What is measured of a node.

use crate::harness::{World, request};
use serde_json::json;
use switchback_bus::{Bus, Figures, Sample, metric};

fn number(samples: &[Sample], name: &str, labels: &[&str]) -> Option<f64> {
    let sample = samples.iter().find(|sample| sample.name == name && sample.labels == labels)?;
    Some(match sample.figures {
        Figures::Number(number) => number,
        Figures::Times { upto, .. } => upto[upto.len() - 1] as f64,
    })
}

#[actix_rt::test]
async fn commands_writes_and_agents_are_counted() {
    let world = World::new();
    world.make("CreateZone", json!({"name": "one"})).await;
    world.refused("CreateZone", json!({})).await;
    let unknown = world.node.command(request("CreateNothing", &json!({}))).await;
    assert!(unknown.is_err());
    let samples = world.node.metrics().await;
    let of = |name: &str, labels: &[&str]| number(&samples, name, labels);
    assert_eq!(of(metric::COMMANDS, &["CreateZone", "done"]), Some(1.0));
    assert_eq!(of(metric::COMMANDS, &["CreateZone", "SYS.1007"]), Some(1.0));
    assert_eq!(of(metric::COMMAND_DURATION, &["CreateZone"]), Some(2.0));
    assert!(!samples.iter().any(|sample| sample.labels.iter().any(|label| label == "CreateNothing")));
    assert_eq!(of(metric::JOURNAL_DURABLE, &[]), Some(world.node.journal().durable() as f64));
    assert_eq!(of(metric::JOURNAL_WRITABLE, &[]), Some(1.0));
    assert!(of(metric::JOURNAL_SYNC, &[]) >= Some(1.0) && of(metric::JOURNAL_BYTES, &[]) > Some(100.0));
    for role in ["host", "router"] {
        assert_eq!(of(metric::AGENTS, &[role, "Connected"]), Some(0.0));
    }
    assert_eq!(of(metric::SESSIONS, &[]), Some(0.0));
    assert!(samples.iter().all(|sample| {
        switchback_bus::METRICS
            .iter()
            .any(|metric| metric.name == sample.name && metric.labels.len() == sample.labels.len())
    }));
}
