//! The benchmarks of `switchback bench`. Each prints one object, and measures its yardstick in the same run on the
//! same machine: a figure alone says little.

pub mod router;

use serde_json::{Value, json};
use std::time::Duration;

/// The spread of some times, in milliseconds.
pub fn spread(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 - 1.0) * share).round() as usize;
        times.get(index).map_or(0.0, |time| millis(*time))
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0), "samples": times.len()})
}

/// Milliseconds with three digits after the point.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
