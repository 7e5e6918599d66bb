//! What is measured of a running system: the names, and what carries the figures to whoever shows them.
//!
//! **Invariant:** everything that `/metrics` shows is in [`METRICS`], and the values of a label come from a list that the product
//! knows: no name, id or text of a user is one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What kind of figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// It only goes up while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many took how long.
    Histogram,
}

impl MetricKind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// One thing that is measured.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with the unit.
    pub name: &'static str,
    /// What kind of figure.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($kind:ident $constant:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// Everything that is measured, in the order in which it is shown.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            help: $help,
        },)*];
    };
}

/// The names of [`METRICS`].
pub mod metric {
    use super::{Metric, MetricKind};

    metrics! {
        Gauge BUILD_INFO "switchback_build_info" ["version"] "Always 1; the label says what runs.";
        Gauge START_TIME "process_start_time_seconds" [] "When the process started, in seconds since 1970.";
        Counter CPU "process_cpu_seconds_total" [] "Processor time, of the system for this process too.";
        Gauge MEMORY "process_resident_memory_bytes" [] "Memory that is in use and not swapped out.";
        Gauge FILES "process_open_fds" [] "Open files and connections.";
        Counter HTTP_REQUESTS "switchback_http_requests_total" ["route", "method", "status"] "Requests that were answered.";
        Histogram HTTP_DURATION "switchback_http_request_duration_seconds" ["route", "method"] "Time until an answer began.";
        Gauge HTTP_IN_FLIGHT "switchback_http_requests_in_flight" [] "Requests that are being answered.";
        Gauge JOBS "switchback_jobs" [] "Commands that are polled for, those that ended within the last hour among them.";
        Gauge BUS_CONNECTIONS "switchback_bus_connections" [] "Connections of clients of NATS.";
        Gauge BUS_SUBSCRIPTIONS "switchback_bus_subscriptions" [] "What they have subscribed to.";
        Counter BUS_MESSAGES "switchback_bus_messages_total" ["direction"] "Messages from them (in) and to them (out).";
        Counter BUS_BYTES "switchback_bus_bytes_total" ["direction"] "The same in bytes, with all that is around them.";
        Gauge BUS_PENDING "switchback_bus_pending_bytes" [] "Bytes that wait to be read by them.";
        Counter BUS_SLOW "switchback_bus_slow_consumers_total" [] "Clients that were cut off because they read too slowly.";
        Gauge NATS_UP "switchback_nats_up" ["part"] "1 while requests come from the NATS server, or events go to it.";
        Counter NATS_CONNECTIONS "switchback_nats_connections_total" [] "Connections to the NATS server that were made.";
        Counter NATS_REQUESTS "switchback_nats_requests_total" [] "Requests from the NATS server that were answered.";
        Gauge NATS_POSITION "switchback_nats_events_position" [] "The last event that the NATS server has confirmed.";
        Counter COMMANDS "switchback_commands_total" ["command", "outcome"] "Commands by how they ended: done, or the code of the refusal.";
        Histogram COMMAND_DURATION "switchback_command_duration_seconds" ["command"] "Time from a command to its reply, the wait for hosts and routers among it.";
        Gauge JOURNAL_HEAD "switchback_journal_head_position" [] "The last position that was given.";
        Gauge JOURNAL_DURABLE "switchback_journal_durable_position" [] "The last position that is on disk.";
        Gauge JOURNAL_WRITABLE "switchback_journal_writable" [] "1 while the log takes writes.";
        Histogram JOURNAL_SYNC "switchback_journal_sync_duration_seconds" [] "Time to write one group of commits and sync it to disk.";
        Counter JOURNAL_BYTES "switchback_journal_written_bytes_total" [] "Bytes of frames that were written.";
        Gauge INVENTORIES_POSITION "switchback_inventories_position" [] "The position that the inventories stand at.";
        Gauge INVENTORIES_LAG "switchback_inventories_lag_events" [] "How many events on disk the inventories do not show yet.";
        Gauge AGENTS "switchback_agents" ["role", "status"] "Hosts and routers by how their agents are reached.";
        Gauge SESSIONS "switchback_sessions" [] "Sessions that have not ended.";
        Gauge STATES "switchback_states_loaded" [] "States of resources in memory.";
        Counter SERVICE_PACKETS "switchback_service_packets_total" ["service", "direction"] "Packets through EIPs and forwarded ports, to VMs (in) and from them (out), as the routers count them that are asked: the sums of at most 500, without the ports of load balancers.";
        Counter SERVICE_BYTES "switchback_service_bytes_total" ["service", "direction"] "The same in bytes, of load balancers too.";
        Counter RESTARTS "switchback_actor_restarts_total" [] "Actors that were made again after a panic.";
    }
}

pub use metric::METRICS;

/// The upper bounds of a histogram's buckets, in seconds.
pub const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Counts how long things took. Taking part costs two additions.
#[derive(Default, Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// One more took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// As it is now.
    pub fn figures(&self) -> Figures {
        let mut count = 0;
        let upto = self.buckets.each_ref().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        Figures::Times { upto, seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub enum Figures {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram: how many took at most so long, bucket by bucket, and how long all took together.
    Times {
        /// The last one is all of them.
        upto: [u64; BUCKETS.len() + 1],
        /// The sum.
        seconds: f64,
    },
}

/// One figure with its labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// The name in [`METRICS`].
    pub name: &'static str,
    /// The values of its labels, in the order of the metric.
    pub labels: Vec<String>,
    /// The figure.
    pub figures: Figures,
}

impl Sample {
    /// A number without labels.
    pub fn number(name: &'static str, number: u64) -> Sample {
        Sample::of(name, &[], number)
    }

    /// A number with labels.
    pub fn of(name: &'static str, labels: &[&str], number: u64) -> Sample {
        let labels = labels.iter().map(ToString::to_string).collect();
        Sample { name, labels, figures: Figures::Number(number as f64) }
    }

    /// How long things took.
    pub fn times(name: &'static str, labels: &[&str], histogram: &Histogram) -> Sample {
        let labels = labels.iter().map(ToString::to_string).collect();
        Sample { name, labels, figures: histogram.figures() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_took_at_most_so_long() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 40, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let Figures::Times { upto, seconds } = histogram.figures() else { panic!("a histogram has times") };
        assert_eq!((upto[0], upto[1], upto[2], upto[6], upto[13], upto[14]), (1, 2, 3, 4, 4, 5));
        assert!((seconds - 60.043).abs() < 1e-9);
    }

    #[test]
    fn names_say_their_unit_and_counters_that_they_count() {
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
            assert!(metric.kind != MetricKind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
            let known = |c: u8| c.is_ascii_lowercase() || c == b'_';
            assert!(metric.name.bytes().all(known) && metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
