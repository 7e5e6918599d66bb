//! A server whose bus answers fixed things and remembers what it was asked.

use super::ROUTER;
use crate::client::Environment;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, mpsc};
use switchback_bus::*;
use switchback_events::Position;
use switchback_gateway::{Certificate, FixedTokens, Gateway, Options, serve};

#[derive(Default)]
pub struct FakeBus {
    pub commands: Mutex<Vec<CommandRequest>>,
    pub queries: Mutex<Vec<QueryRequest>>,
    pub reads: Mutex<Vec<(String, Value)>>,
    pub refusal: Mutex<Option<Refusal>>,
    pub broken: Mutex<bool>,
}

#[async_trait]
impl Bus for FakeBus {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        let command_id = request.command_id.unwrap_or_default();
        let plan = RouterPlan {
            uuid: ROUTER.parse().unwrap(),
            name: "edge".to_string(),
            sections: [("eips".to_string(), vec!["eip a: add element eip_guests { 1.2.3.4 }".to_string()])].into(),
            unknown: None,
        };
        let dry_run = request.dry_run;
        self.commands.lock().unwrap().push(request);
        let event = ReplyEvent {
            position: 7,
            stream: format!("zone/{ROUTER}"),
            version: 1,
            kind: "zone.Created".to_string(),
            payload: None,
        };
        let inventory = json!({"uuid": ROUTER, "name": "z", "state": "Enabled"});
        Ok(CommandReply {
            command_id,
            position: 7,
            version: 1,
            applied: true,
            inventory: Some(inventory),
            inventories: None,
            events: vec![event],
            routers: if dry_run { vec![plan] } else { vec![] },
        })
    }

    async fn query(&self, _: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        let router =
            |name: &str| json!({"uuid": ROUTER, "name": name, "state": "Running", "vmNics": [{"ip": "10.0.0.1"}]});
        let inventories = match request.q.first().map(String::as_str) {
            Some("name=twin") => {
                let mut other = router("twin");
                other["uuid"] = json!(ROUTER.replace('0', "f"));
                vec![router("twin"), other]
            }
            Some("name=nobody" | "name=01234") => vec![],
            _ => vec![router("edge")],
        };
        self.queries.lock().unwrap().push(request);
        Ok(QueryReply { inventories: serde_json::Value::Array(inventories).to_string(), total: None, position: 9 })
    }

    async fn read(&self, _: &Caller, name: &str, parameters: Value) -> Result<Value, Refusal> {
        self.reads.lock().unwrap().push((name.to_string(), parameters));
        // 2026-11-20 10:00:00 UTC.
        let event = |position: u64| {
            json!({
                "position": position, "streamType": "zone", "streamId": ROUTER, "version": 1, "kind": "zone.Created",
                "schema": 1, "at": 1_795_168_800_000_000_i64, "command": "CreateZone", "principal": "admin",
                "origin": "cli", "reason": "test", "tags": [ROUTER], "payload": {"name": "z"},
            })
        };
        Ok(match name {
            "GetEvents" => json!({"events": [event(1)], "position": 9}),
            "GetEvent" => json!({
                "event": event(1), "commit": {"at": 1, "reads": [], "events": [event(1), event(2)]},
            }),
            "GetVirtualRouterConfig" => json!({
                "config": {"router": ROUTER, "revision": 5, "sections": {"snat": {}}}, "digest": "d", "position": 9,
            }),
            "GetVirtualRouterDiff" => json!({
                "from": 1, "to": 3, "events": [event(1)],
                "sections": {
                    "dhcp": {"added": [{"ip": "10.0.0.6"}], "removed": [{"ip": "10.0.0.5"}], "changed": []},
                    "dns": {"changed": [{"path": "upstream", "from": "1.1.1.1", "to": "8.8.8.8"}]},
                },
            }),
            "GetVirtualRouterExplanation" => explanation(),
            "GetVirtualRouterDrift" => json!({
                "revision": 5,
                "items": [{"section": "snat", "item": "rule 1", "expected": "masquerade", "observed": null}],
            }),
            "GetVirtualRouterCounters" => json!({
                "uuid": ROUTER, "since": 1_795_168_800_000_000_i64,
                "counters": [{
                    "type": "EIP", "uuid": ROUTER, "name": "web", "inboundPackets": 3, "inboundBytes": 180,
                    "outboundPackets": 2, "outboundBytes": 120,
                }],
            }),
            "GetFreeIp" => json!({
                "inventories": [{"netmask": "255.255.255.0", "gateway": "10.0.0.1", "ip": "10.0.0.10"}],
            }),
            "GetAuditHead" => json!({"position": 9, "hash": "ab"}),
            "VerifyAudit" if *self.broken.lock().unwrap() => {
                json!({"ok": false, "position": 3, "events": 3, "hash": "ab", "brokenAt": 4, "why": "hash"})
            }
            "VerifyAudit" => json!({"ok": true, "position": 9, "events": 9, "hash": "ab"}),
            _ => json!({}),
        })
    }

    async fn events(&self, _: &Caller, _: EventsRequest) -> Result<EventStream, Refusal> {
        Err(Refusal::not_supported("the event stream"))
    }

    async fn head(&self) -> Position {
        0
    }

    async fn log(&self, _: &Caller, _: LogForm, _: Position) -> Result<LogCopy, Refusal> {
        Err(Refusal::not_supported("a copy of the log"))
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        vec![]
    }
}

/// The way of a packet, with an end of every kind.
fn explanation() -> Value {
    let packet = |protocol: &str, from: &str, to: &str, port: u16| {
        let source_port = if port == 0 { 0 } else { 49152 };
        json!({"protocol": protocol, "source": from, "sourcePort": source_port, "destination": to, "destinationPort": port})
    };
    let since = json!({
        "position": 1, "kind": "eip.Attached", "at": 1_795_168_800_000_000_i64, "principal": "admin", "reason": "test",
    });
    let ping = packet("icmp", "10.0.0.1", "10.0.0.7", 0);
    let server = |ip: &str, packet: &Value, verdict: Value| json!({"ip": ip, "port": 8080, "verdict": verdict, "packet": packet});
    json!({
        "packet": packet("tcp", "198.51.100.7", "203.0.113.50", 80),
        "steps": [
            {"place": "router", "hook": "prerouting", "what": "the EIP leads to the VM",
                "records": [{"type": "Eip", "name": "door", "uuid": "01", "since": since}]},
            {"place": "host", "hook": "nic", "what": "the VM gets it", "records": [
                {"type": "VmNic", "foreign": true}, {"type": "Config", "category": "vm", "name": "cleanTraffic"}]},
        ],
        "verdict": {"kind": "delivered", "vm": "02", "nic": "03"},
        "ends": packet("tcp", "198.51.100.7", "10.0.0.5", 80),
        "candidates": [
            server("10.0.0.6", &ping, json!({"kind": "dropped"})),
            server("fd00::6", &packet("udp", "fd00::7", "fd00::6", 8080),
                json!({"kind": "forwarded", "interface": "eth0", "nextHop": "fd00::1"})),
            server("10.0.0.7", &ping, json!({"kind": "delivered", "vm": null, "nic": null})),
            server("10.0.0.8", &ping, json!({"kind": "forwarded", "interface": null, "nextHop": "10.0.0.8"})),
            server("10.0.0.9", &ping, json!({"kind": "answered", "service": "dns"})),
            server("10.0.0.9", &ping, json!({"kind": "answered", "service": "closed"})),
        ],
        "answer": {"to": "198.51.100.7", "seenFrom": "203.0.113.50", "steps": ["as it was asked"], "lost": "somewhere"},
        "position": 9, "revision": 5,
    })
}

/// The gateway on a thread of its own; the environment leads to it with the right token.
pub struct Server {
    pub bus: Arc<FakeBus>,
    pub environment: Environment,
    handle: actix_web::dev::ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Server {
        Server::start_with(None)
    }

    pub fn start_with(tls: Option<Arc<Certificate>>) -> Server {
        let bus = Arc::new(FakeBus::default());
        let gateway = Gateway::new(bus.clone(), Arc::new(FixedTokens::new([("secret", "admin")])));
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let options = Options { listen: ([127, 0, 0, 1], 0).into(), workers: 1, tls, ..Options::default() };
                let listening = serve(options, gateway).await.unwrap();
                sender.send((listening.addresses[0], listening.server.handle())).unwrap();
                listening.server.await.unwrap();
            });
        });
        let (address, handle) = receiver.recv().unwrap();
        let environment = Environment {
            server: Some(format!("http://{address}")),
            token: Some("secret".to_string()),
            ..Environment::default()
        };
        Server { bus, environment, handle, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The stop is sent when this is called; its future only waits for it.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
