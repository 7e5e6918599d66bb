//! Requests that nobody would send, to every route of both interfaces, before a node with a small site: what comes back is an
//! answer that the interface knows, nothing panics, and the node goes on.
//!
//! 2,000 in every run, from the same seed; 100,000 with `SWITCHBACK_FULL=1`, from a new one. `SWITCHBACK_SEED` says which one.

use crate::harness::{Site, World};
use actix_web::{App, body::to_bytes, dev::Service, http::Method, http::header::HeaderValue, test};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use switchback_bus::{Bus, COMMON, Check, Figures, Message, MessageKind, QUERIES, QueryRequest, messages, metric};
use switchback_gateway::{Caller, FixedTokens, Gateway};

/// Texts that have broken programs.
const TEXTS: &[&str] = &[
    "",
    " ",
    "x",
    "-1",
    "0",
    "null",
    "true",
    "ü",
    "\u{0}",
    "\u{202e}abc",
    "\n",
    "a\tb",
    "'; DROP TABLE zone; --",
    "%",
    "_",
    "{}",
    "[]",
    "{\"",
    "../../etc/passwd",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e400",
    "NaN",
    "𝔘𝔫𝔦",
    "é",
    "00000000000000000000000000000000",
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    "10.0.0.1",
    "255.255.255.255",
    "0.0.0.0/0",
    "::",
    "fe80::1%eth0",
    "10.0.0.0/33",
    "2026-11-20T10:00:00Z",
    "2026-99-99",
    "999999-01-01T00:00:00Z",
    "staticIp::x::10.0.0.1",
    "a::b::c::d",
    "name=x",
    "uuid?=a,b",
    "vmNics.vmNics.vmNics.uuid=1",
    "__userTag__=x",
    "name~=%%%%",
    "count",
    "VirtualRouter",
    "Enforcing",
    "*",
    "?",
    "#",
    "&",
    "=",
];

struct Fuzz {
    random: Rng,
    /// Ids of what there is.
    known: Vec<String>,
}

/// One request, as it is printed when it is answered wrongly.
#[derive(Debug)]
struct Request {
    method: Method,
    uri: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Fuzz {
    fn odds(&mut self, of: f64) -> bool {
        self.random.f64() < of
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.random.usize(..from.len())]
    }

    fn text(&mut self) -> String {
        match self.random.u8(..8) {
            0 => "a".repeat(self.random.usize(..5000)),
            1 => (0..self.random.usize(..40)).map(|_| self.random.char(..)).collect(),
            2 if !self.known.is_empty() => self.known[self.random.usize(..self.known.len())].clone(),
            _ => self.pick(TEXTS).to_string(),
        }
    }

    /// Anything that JSON can say.
    fn json(&mut self, depth: usize) -> Value {
        match self.random.u8(..9) {
            0 => Value::Null,
            1 => json!(self.random.bool()),
            2 => json!(self.random.i64(..)),
            3 => json!(self.random.u64(..)),
            4 => json!((self.random.f64() - 0.5) * 1e308),
            5 if depth > 0 => (0..self.random.usize(..4)).map(|_| self.json(depth - 1)).collect(),
            6 if depth > 0 => {
                let fields = (0..self.random.usize(..4)).map(|_| (self.text(), self.json(depth - 1)));
                Value::Object(fields.collect::<Vec<_>>().into_iter().collect())
            }
            _ => json!(self.text()),
        }
    }

    /// A value that is right by itself, most of the time.
    fn value(&mut self, check: &Check) -> Value {
        if self.odds(0.15) {
            return self.json(3);
        }
        match check {
            Check::Text(max) | Check::FreeText(max) => match self.random.u8(..4) {
                0 => json!("n".repeat(self.random.usize(1..=max + 1))),
                1 => json!(self.text()),
                _ => json!(format!("n{}", self.random.u8(..20))),
            },
            Check::Int(min, max) => match self.random.u8(..4) {
                0 => json!(self.pick(&[min, max, &min.saturating_sub(1), &max.saturating_add(1), &0]).to_owned()),
                _ => json!(self.random.i64(*min..=*max)),
            },
            Check::Enum(words) => json!(self.pick(words)),
            Check::Uuid | Check::Session => match self.known.is_empty() || self.odds(0.1) {
                true => json!(format!("{:032x}", self.random.u128(..))),
                false => json!(self.known[self.random.usize(..self.known.len())]),
            },
            Check::Bool => json!(self.random.bool()),
            Check::Ipv4 | Check::Ip => {
                json!(format!("10.{}.{}.{}", self.random.u8(..3), self.random.u8(..3), self.random.u8(..)))
            }
            Check::List(of) => (0..self.random.usize(..4)).map(|_| self.value(of)).collect(),
            Check::Objects(fields) => (0..self.random.usize(..3))
                .map(|_| {
                    let mut object = Map::new();
                    for field in *fields {
                        if self.odds(if field.required { 0.95 } else { 0.2 }) {
                            object.insert(field.api_name(), self.value(&field.check));
                        }
                    }
                    Value::Object(object)
                })
                .collect(),
            Check::Services => {
                json!({self.pick(&["VirtualRouter", "x", ""]): [self.pick(&["DHCP", "DNS", "SNAT", "Eip", ""])]})
            }
            Check::Statements => {
                let effect = self.pick(&["Allow", "Deny", ""]).to_string();
                let action =
                    self.pick(&["*", "read", "Query*", "CreateZone", "APICreateZoneMsg", ".", "**", ""]).to_string();
                json!([{"effect": effect, "actions": [action]}])
            }
            _ => json!(self.text()),
        }
    }

    fn parameters(&mut self, message: &Message) -> Map<String, Value> {
        let mut map = Map::new();
        let common = COMMON.iter().filter(|_| message.kind == MessageKind::Command);
        for parameter in message.parameters.iter().chain(common) {
            let odds = if parameter.required { 0.95 } else { 0.2 };
            if self.odds(odds) {
                map.insert(parameter.api_name(), self.value(&parameter.check));
            }
        }
        if self.odds(0.05) {
            map.insert(self.text(), self.json(2));
        }
        map
    }

    /// Bytes that were right once.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.random.usize(1..6) {
            let at = self.random.usize(..=bytes.len());
            match self.random.u8(..4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.random.u8(..)),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.random.u8(..8),
                _ => bytes = [&bytes[..at], &bytes[..at.min(200)], &bytes[at..]].concat(),
            }
        }
        bytes
    }

    fn query(&mut self, pairs: impl IntoIterator<Item = (String, String)>) -> String {
        let mut pairs: Vec<String> =
            pairs.into_iter().map(|(name, value)| format!("{}={}", escaped(&name), escaped(&value))).collect();
        if self.odds(0.1) {
            let pair = format!("{}={}", escaped(&self.text()), escaped(&self.text()));
            pairs.push(pair);
        }
        if self.odds(0.05) {
            pairs.push(self.pick(&["%", "%zz", "&&=", "a=%ff%fe", "=", "q", "at=%00"]).to_string());
        }
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    /// What a read takes in a URL.
    fn asked(&mut self, message: &Message) -> String {
        if message.kind == MessageKind::Query {
            const NAMES: &[&str] = &[
                "q",
                "q",
                "fields",
                "sort",
                "start",
                "limit",
                "count",
                "replyWithCount",
                "at",
                "minPosition",
                "groupBy",
            ];
            let fields = ["uuid=", "name~=", "state!=", "vmNics.ip>", "createDate<", "l3Network.name?=", "count>=", ""];
            let pairs: Vec<(String, String)> = (0..self.random.usize(..4))
                .map(|_| {
                    let name = self.pick(NAMES);
                    let text = match (name, self.random.u8(..3)) {
                        ("q", 1) => format!("{}{}", self.pick(&fields), self.text()),
                        ("start" | "limit" | "at", 0 | 1) => self.random.u16(..).to_string(),
                        ("count" | "replyWithCount", 0 | 1) => self.random.bool().to_string(),
                        // A position that will never be is waited for.
                        ("minPosition", _) => self.random.u8(..3).to_string(),
                        _ => self.text(),
                    };
                    (name.to_string(), text)
                })
                .collect();
            return self.query(pairs);
        }
        let parameters = self.parameters(message);
        let pairs = parameters.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        });
        self.query(pairs.collect::<Vec<_>>())
    }

    fn body(&mut self, value: &Value) -> Vec<u8> {
        let bytes = value.to_string().into_bytes();
        match self.random.u8(..20) {
            0 | 1 => self.mutated(bytes),
            2 => (0..self.random.usize(..200)).map(|_| self.random.u8(..)).collect(),
            3 => "[".repeat(self.random.usize(..3000)).into_bytes(),
            _ => bytes,
        }
    }

    /// Each message in its turn, by either interface.
    fn request(&mut self, all: &[&Message], number: usize) -> Request {
        let message = all[number % all.len()];
        let mut headers =
            vec![("authorization", b"Bearer secret".to_vec()), ("content-type", b"application/json".to_vec())];
        const HEADERS: [&str; 8] = [
            "idempotency-key",
            "x-reason",
            "if-match",
            "prefer",
            "accept",
            "content-type",
            "last-event-id",
            "user-agent",
        ];
        if self.odds(0.1) {
            let value = match self.odds(0.5) {
                true => self.text().into_bytes(),
                false => (0..self.random.usize(..30)).map(|_| self.random.u8(..)).collect(),
            };
            headers.push((HEADERS[self.random.usize(..HEADERS.len())], value));
        }
        let zstack = !message.path.is_empty() && self.odds(0.3);
        if self.odds(0.05) {
            const PATHS: [&str; 13] = [
                "/",
                "/readyz",
                "/metrics",
                "/docs",
                "/openapi.json",
                "/asyncapi.json",
                "/v1/events",
                "/v1/audit/head",
                "/v1/audit/export",
                "/v1/jobs/",
                "/v1/routers/",
                "/zstack/v1/",
                "/v1/commands/",
            ];
            let mut uri = PATHS[self.random.usize(..PATHS.len())].to_string();
            if self.odds(0.5) {
                uri.push_str(&escaped(&self.text()));
            }
            uri.push_str(&self.query([]));
            return Request { method: Method::GET, uri, headers, body: vec![] };
        }
        if zstack {
            headers.push(("prefer", b"respond-async".to_vec()));
            let path: Vec<String> = message
                .path
                .split('/')
                .map(|part| {
                    if part.starts_with('{') {
                        self.value(&Check::Uuid).as_str().map_or(String::new(), escaped)
                    } else {
                        part.to_string()
                    }
                })
                .collect();
            let (mut uri, mut body) = (format!("/zstack/v1{}", path.join("/")), vec![]);
            if matches!(message.method, "GET" | "DELETE") {
                uri.push_str(&self.asked(message));
            } else {
                let (parameters, key) = (self.parameters(message), switchback_bus::camel(message.name));
                let mut first = key.chars();
                let key: String = first.next().into_iter().flat_map(char::to_lowercase).chain(first).collect();
                let key = if self.odds(0.5) { "params".to_string() } else { key };
                body = self.body(&json!({key: parameters, "systemTags": []}));
            }
            let method = Method::from_bytes(message.method.as_bytes()).unwrap();
            return Request { method, uri, headers, body };
        }
        match message.kind {
            MessageKind::Command => {
                let parameters = self.parameters(message);
                let body = self.body(&Value::Object(parameters));
                let wait = if self.odds(0.9) { "?wait=durable" } else { "?wait=durable&dryRun=true" };
                Request { method: Method::POST, uri: format!("/v1/commands/{}{wait}", message.name), headers, body }
            }
            _ => {
                let uri = format!("/v1/queries/{}{}", message.name, self.asked(message));
                Request { method: Method::GET, uri, headers, body: vec![] }
            }
        }
    }
}

/// As it stands in a URL.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

async fn ids(world: &World) -> Vec<String> {
    let mut known = vec![];
    for message in QUERIES {
        let request = QueryRequest { name: message.name.to_string(), limit: Some(50), ..QueryRequest::default() };
        let found = world.node.query(&Caller::administrator("admin"), request).await;
        let found = found.map(|reply| reply.rows()).unwrap_or_default();
        known.extend(found.iter().filter_map(|row| row["uuid"].as_str().map(str::to_string)));
    }
    known
}

#[actix_rt::test]
async fn whatever_is_sent_is_answered_and_the_node_goes_on() {
    let full = std::env::var_os("SWITCHBACK_FULL").is_some();
    let said = std::env::var("SWITCHBACK_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = said.unwrap_or_else(|| if full { fastrand::u64(..) } else { 20 });
    let count = if full { 100_000 } else { 2_000 };
    println!("SWITCHBACK_SEED={seed}");
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP", "DNS", "SNAT"]).await;
    site.vm("first", &l3).await;
    let gateway = Gateway::new(world.node.clone(), Arc::new(FixedTokens::new([("secret", "admin")])));
    let app = test::init_service(App::new().configure(|config| gateway.configure(config))).await;
    let all: Vec<&Message> = messages().filter(|message| !message.internal).collect();
    let mut fuzz = Fuzz { random: Rng::with_seed(seed), known: vec![] };
    let mut statuses = BTreeMap::<u16, usize>::new();
    for number in 0..count {
        if number % 500 == 0 {
            fuzz.known = ids(&world).await;
        }
        let request = fuzz.request(&all, number);
        let Ok(uri) = request.uri.parse::<actix_web::http::Uri>() else { continue };
        let mut asked = test::TestRequest::default().method(request.method.clone()).uri(&uri.to_string());
        for (name, value) in &request.headers {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                asked = asked.insert_header((*name, value));
            }
        }
        let shown = || {
            format!(
                "number {number} of SWITCHBACK_SEED={seed}: {request:?}\n{}",
                String::from_utf8_lossy(&request.body)
            )
        };
        let asked = app.call(asked.set_payload(request.body.clone()).to_request());
        let answer = tokio::time::timeout(Duration::from_secs(180), asked).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {}", shown()));
        let answer = match answer {
            Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
            Err(error) => error.as_response_error().error_response(),
        };
        let status = answer.status().as_u16();
        let form = answer.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_string();
        // A stream has no end, and a copy of the log is long.
        let body = if status < 400 { Default::default() } else { to_bytes(answer.into_body()).await.unwrap() };
        *statuses.entry(status).or_default() += 1;
        let known = [200, 202, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429, 501, 502, 503, 504];
        assert!(known.contains(&status), "{status} {} to {}", String::from_utf8_lossy(&body), shown());
        if status >= 400 && !request.uri.starts_with("/readyz") {
            let said: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", shown()));
            let (expected, code) = match request.uri.starts_with("/zstack/v1") {
                true => ("application/json", &said["error"]["code"]),
                false => ("application/problem+json", &said["code"]),
            };
            assert!(form == expected && code.is_string(), "{form} {said} to {}", shown());
        }
    }
    println!("{statuses:?}");
    assert!(statuses[&200] > count / 20, "some are right: {statuses:?}");
    for (part, found) in world.node.ready().await {
        assert!(found.is_ok(), "{part}: {found:?}");
    }
    let samples = world.node.metrics().await;
    let restarts = samples.iter().find(|sample| sample.name == metric::RESTARTS).unwrap();
    assert_eq!(restarts.figures, Figures::Number(0.0), "an actor panicked, SWITCHBACK_SEED={seed}");
    world.one_holder_each().await;
}
