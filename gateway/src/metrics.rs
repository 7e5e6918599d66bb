//! `/metrics`: what is measured, in Prometheus' text format.
//!
//! **Invariant:** the labels of requests are of the gateway's own table of routes: a stranger adds no time series.

use crate::{Gateway, routes};
use actix_web::{
    HttpResponse,
    http::{Method, StatusCode},
    web,
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use switchback_bus::{BUCKETS, Figures, Histogram, METRICS, Sample, metric};

/// What was asked and answered.
#[derive(Default)]
pub(crate) struct Requests {
    by_route: Mutex<BTreeMap<(&'static str, &'static str), Answered>>,
}

/// Of one route and method.
#[derive(Default)]
struct Answered {
    by_status: BTreeMap<u16, u64>,
    took: Histogram,
}

impl Requests {
    /// One more was answered.
    pub(crate) fn note(&self, path: &str, method: &Method, status: StatusCode, took: Duration) {
        const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
        let method = METHODS.into_iter().find(|known| method.as_str() == *known).unwrap_or("other");
        let mut routes = self.by_route.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = routes.entry((routes::template(path), method)).or_default();
        *answered.by_status.entry(status.as_u16()).or_default() += 1;
        answered.took.observe(took);
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = vec![];
        for ((route, method), answered) in self.by_route.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (status, count) in &answered.by_status {
                samples.push(Sample::of(metric::HTTP_REQUESTS, &[route, method, &status.to_string()], *count));
            }
            samples.push(Sample::times(metric::HTTP_DURATION, &[route, method], &answered.took));
        }
        samples
    }
}

/// Everything that is measured.
pub(crate) async fn get(gateway: web::Data<Gateway>) -> HttpResponse {
    let mut samples = vec![Sample::of(metric::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1)];
    samples.extend(process());
    samples.extend(gateway.requests.samples());
    samples.push(Sample::number(metric::HTTP_IN_FLIGHT, gateway.in_flight.count() as u64));
    samples.push(Sample::number(metric::JOBS, gateway.jobs.count() as u64));
    samples.extend(gateway.bus.metrics().await);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text(&samples))
}

/// What the kernel says of this process; what it does not say is left out.
fn process() -> Vec<Sample> {
    /// The kernel's unit of processor time towards programs, on all of Linux' platforms.
    const TICKS: f64 = 100.0;
    let mut samples = vec![];
    let mut number = |name, value: Option<f64>| {
        samples.extend(value.map(|value| Sample { name, labels: vec![], figures: Figures::Number(value) }));
    };
    // Behind the name of the program, which may hold anything.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let stat: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let of = |at: usize| stat.get(at).and_then(|text| text.parse::<f64>().ok());
    let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    number(metric::START_TIME, booted.zip(of(19)).map(|(booted, ticks)| booted + ticks / TICKS));
    number(metric::CPU, of(11).zip(of(12)).map(|(user, system)| (user + system) / TICKS));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    number(metric::MEMORY, resident.and_then(|kib| kib.parse::<f64>().ok()).map(|kib| kib * 1024.0));
    number(metric::FILES, fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64));
    samples
}

/// The text format: each metric once with its words, then its samples.
fn text(samples: &[Sample]) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let mut own = samples.iter().filter(|sample| sample.name == metric.name).peekable();
        if own.peek().is_none() {
            continue;
        }
        let (name, kind) = (metric.name, metric.kind.name());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
        for sample in own {
            let labels: Vec<String> = metric
                .labels
                .iter()
                .zip(&sample.labels)
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels = labels.join(",");
            match &sample.figures {
                Figures::Number(number) if labels.is_empty() => drop(writeln!(text, "{name} {number}")),
                Figures::Number(number) => drop(writeln!(text, "{name}{{{labels}}} {number}")),
                Figures::Times { upto, seconds } => {
                    let comma = if labels.is_empty() { "" } else { "," };
                    let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_string()]);
                    for (bound, count) in bounds.zip(upto) {
                        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
                    }
                    let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                    let count = upto.last().copied().unwrap_or_default();
                    let _ = writeln!(text, "{name}_sum{braces} {seconds}\n{name}_count{braces} {count}");
                }
            }
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_strangers_add_none() {
        let requests = Requests::default();
        for path in ["/v1/commands/CreateZone", "/v1/commands/X", "/nowhere/1", "/nowhere/2", "/zstack/v1/zones/1"] {
            requests.note(path, &Method::POST, StatusCode::OK, Duration::from_millis(3));
        }
        requests.note("/", &Method::from_bytes(b"BREW").unwrap(), StatusCode::IM_A_TEAPOT, Duration::ZERO);
        let shown = text(&requests.samples());
        for line in [
            "# TYPE switchback_http_requests_total counter",
            "switchback_http_requests_total{route=\"/v1/commands/{Name}\",method=\"POST\",status=\"200\"} 2",
            "switchback_http_requests_total{route=\"other\",method=\"POST\",status=\"200\"} 2",
            "switchback_http_requests_total{route=\"/zstack/v1/{path}\",method=\"POST\",status=\"200\"} 1",
            "switchback_http_requests_total{route=\"/\",method=\"other\",status=\"418\"} 1",
            "switchback_http_request_duration_seconds_bucket{route=\"other\",method=\"POST\",le=\"0.0025\"} 0",
            "switchback_http_request_duration_seconds_bucket{route=\"other\",method=\"POST\",le=\"0.005\"} 2",
            "switchback_http_request_duration_seconds_bucket{route=\"other\",method=\"POST\",le=\"+Inf\"} 2",
            "switchback_http_request_duration_seconds_sum{route=\"other\",method=\"POST\"} 0.006",
            "switchback_http_request_duration_seconds_count{route=\"other\",method=\"POST\"} 2",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        assert_eq!(shown.matches("# HELP").count(), 2);
    }

    #[test]
    fn a_label_is_one_line_whatever_is_in_it() {
        let sample = Sample::of(metric::BUILD_INFO, &["a\"b\\c\nd"], 1);
        assert!(text(&[sample]).ends_with("switchback_build_info{version=\"a\\\"b\\\\c\\nd\"} 1\n"));
    }

    #[test]
    fn the_kernel_tells_of_this_process() {
        let said = process();
        assert_eq!(said.len(), 4);
        assert!(said.iter().all(|sample| matches!(sample.figures, Figures::Number(number) if number >= 0.0)));
    }
}
