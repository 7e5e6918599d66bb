//! The embedded listener as clients see it: each operation and each word of refusal over a bare socket, and NATS' own client.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use switchback_bus::{
    Asked, Bus, Caller, CommandReply, CommandRequest, Credentials, EventBatch, EventStream, EventsRequest, Figures,
    LogCopy, LogForm, QueryReply, QueryRequest, Rates, Refusal, Sample, ShownEvent, Tokens, metric,
};
use switchback_events::{CommandId, Id, Position};
use switchback_nats::{Limits, ListenerLimits, ListenerOptions, Listening, Service, listen};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(30);
const HELLO: &str = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"auth_token\":\"secret\"}\r\n";

/// A log that grows when the test says so; commands wait for the gate.
struct Log {
    head: watch::Sender<Position>,
    gate: Semaphore,
    begun: watch::Sender<u64>,
}

#[async_trait]
impl Bus for Log {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        if request.name == "LogInByAccount" && request.parameters["password"].as_str().map(str::len) != Some(128) {
            return Err(Caller::unknown());
        }
        self.begun.send_modify(|begun| *begun += 1);
        self.gate.acquire().await.map_err(|_| Caller::unknown())?.forget();
        Ok(CommandReply {
            command_id: request.command_id.unwrap_or(CommandId(Id::of_name("a"))),
            position: 7,
            version: 1,
            applied: true,
            inventory: Some(json!({"name": request.caller.name, "uuid": "secret"})),
            inventories: None,
            events: vec![],
            routers: vec![],
        })
    }

    async fn query(&self, caller: &Caller, _: QueryRequest) -> Result<QueryReply, Refusal> {
        Ok(QueryReply { inventories: json!([{"name": caller.name}]).to_string(), total: None, position: 9 })
    }

    async fn read(&self, caller: &Caller, _: &str, _: Value) -> Result<Value, Refusal> {
        Ok(json!({"name": caller.name}))
    }

    async fn events(&self, caller: &Caller, request: EventsRequest) -> Result<EventStream, Refusal> {
        caller.must_be_admin("the events")?;
        let after = request.filter.after.unwrap_or(0);
        if !request.follow {
            let upto = (*self.head.borrow()).min(after + request.filter.limit.unwrap_or(u64::MAX));
            return Ok(stream::iter((after + 1..=upto).map(|position| Ok(batch(position)))).boxed());
        }
        Ok(stream::unfold((after, self.head.subscribe()), |(after, mut head)| async move {
            head.wait_for(|head| *head > after).await.ok()?;
            Some((Ok(batch(after + 1)), (after + 1, head)))
        })
        .boxed())
    }

    async fn head(&self) -> Position {
        *self.head.borrow()
    }

    async fn log(&self, _: &Caller, _: LogForm, _: Position) -> Result<LogCopy, Refusal> {
        Err(Refusal::not_supported("a copy of the log"))
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        vec![]
    }
}

/// The event at a position.
fn batch(position: Position) -> EventBatch {
    let event = json!({
        "position": position, "kind": "zone.Created", "streamType": "zone", "streamId": "0a", "schema": 1,
        "time": "2026-01-01T00:00:00Z",
    });
    EventBatch { events: ShownEvent::of(&event).into_iter().collect(), examined: position }
}

/// `secret` is an administrator's until it is revoked, `bob` is somebody's.
struct Doors(AtomicBool);

impl Tokens for Doors {
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal> {
        match given {
            Credentials::Token("secret") if !self.0.load(Ordering::SeqCst) => Ok(Caller::administrator("admin")),
            Credentials::Token("bob") => {
                Ok(Caller::new("bob", switchback_events::AccountId(Id::of_name("bob")), false))
            }
            _ => Err(Caller::unknown()),
        }
    }
}

struct Server {
    listening: Listening,
    log: Arc<Log>,
    doors: Arc<Doors>,
}

impl Server {
    fn start(limits: ListenerLimits) -> Server {
        Server::with(ListenerOptions { limits, ..ListenerOptions::default() })
    }

    fn with(options: ListenerOptions) -> Server {
        let (head, _) = watch::channel(3);
        let log = Arc::new(Log { head, gate: Semaphore::new(1_000_000), begun: watch::Sender::new(0) });
        let doors = Arc::new(Doors(AtomicBool::new(false)));
        let rates = Asked::new(Rates { address_per_second: 0, ..Rates::default() });
        let service = Service::new(log.clone(), doors.clone(), Arc::new(rates)).with_limits(Limits::default());
        let listen_at = if options.listen.port() == 4222 { ([127, 0, 0, 1], 0).into() } else { options.listen };
        let ends = log.clone();
        let options = ListenerOptions { listen: listen_at, ..options };
        let listening = listen(options, Arc::new(service), Arc::new(move || *ends.head.borrow())).unwrap();
        Server { listening, log, doors }
    }

    fn url(&self) -> String {
        format!("nats://{}", self.listening.address)
    }

    async fn client(&self) -> Client {
        let mut client = Client { stream: TcpStream::connect(self.listening.address).await.unwrap(), heard: vec![] };
        client.until("\r\n").await;
        client
    }

    /// One that has come in.
    async fn known(&self) -> Client {
        let mut client = self.client().await;
        client.say(HELLO).await;
        client.ping().await;
        client
    }
}

struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until `end`, with it.
    async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.heard.windows(end.len()).position(|part| part == end.as_bytes());
            if let Some(at) = found {
                let heard: Vec<u8> = self.heard.drain(..at + end.len()).collect();
                return String::from_utf8(heard).unwrap();
            }
            let read = timeout(LONG, self.stream.read_buf(&mut self.heard)).await;
            let so_far = String::from_utf8_lossy(&self.heard).into_owned();
            assert_ne!(read.unwrap_or_else(|_| panic!("no {end:?} in {so_far:?}")).unwrap(), 0, "{end:?}: {so_far}");
        }
    }

    /// What comes before the answer to a question.
    async fn ping(&mut self) -> String {
        self.say("PING\r\n").await;
        self.until("PONG\r\n").await.trim_end_matches("PONG\r\n").to_string()
    }

    /// What comes until the other side ends.
    async fn rest(mut self) -> String {
        let read = timeout(LONG, self.stream.read_to_end(&mut self.heard)).await.expect("it ends");
        // What was not read by the other side resets the connection behind its last word.
        assert!(read.is_ok() || !self.heard.is_empty());
        String::from_utf8(self.heard).unwrap()
    }
}

#[tokio::test]
async fn each_operation_is_answered() {
    let server = Server::start(ListenerLimits::default());
    let mut client = Client { stream: TcpStream::connect(server.listening.address).await.unwrap(), heard: vec![] };
    let info = client.until("\r\n").await;
    let info: Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!((&info["headers"], &info["proto"], &info["auth_required"]), (&json!(true), &json!(1), &json!(true)));
    assert_eq!((&info["max_payload"], &info["client_ip"]), (&json!(1 << 20), &json!("127.0.0.1")));
    client.say(&HELLO.replace("\"verbose\":false", "\"verbose\":true")).await;
    assert_eq!(client.ping().await, "+OK\r\n");
    client.say("SUB in.* 1\r\nSUB in.> q 2\r\nUNSUB 7\r\n").await;
    assert_eq!(client.ping().await, "+OK\r\n+OK\r\n+OK\r\n");
    client.say("PUB switchback.query.QueryZone in.a 2\r\n{}\r\n").await;
    assert_eq!(client.until("\r\n").await, "+OK\r\n");
    let reply = "[{\"name\":\"admin\"}],\"position\":9}\r\n";
    let first = client.until(reply).await;
    assert!(first.starts_with("HMSG in.a 1 38 85\r\nNATS/1.0\r\nX-Switchback-Position: 9\r\n\r\n{"), "{first}");
    assert!(client.until(reply).await.starts_with("HMSG in.a 2 "));
    client.say("UNSUB 1\r\nUNSUB 2 2\r\nHPUB switchback.query.QueryZone in.b 29 29\r\nNATS/1.0\r\nAuthorization:x\r\n\r\n\r\n").await;
    assert_eq!(client.until("in.b").await, "+OK\r\n".repeat(2) + "+OK\r\nHMSG in.b");
    assert!(client.until("\"status\":401").await.contains("Nats-Service-Error-Code: 401"));
    client.until("\r\n").await;
    client.say("SUB in.c 3\r\nPUB switchback.cmd.CreateZone in.c 12\r\n{\"name\":\"a\"}\r\n").await;
    client.until("\"applied\":true").await;
}

#[tokio::test]
async fn what_is_refused_is_named_and_the_connection_goes_on() {
    let server = Server::start(ListenerLimits { subscriptions: 2, ..ListenerLimits::default() });
    let mut client = server.known().await;
    for (said, word) in [
        ("SUB a..b 1\r\n", "'Invalid Subject'"),
        ("SUB switchback.cmd.> 1\r\n", "'Permissions Violation for Subscription to \"switchback.cmd.>\": "),
        ("SUB $SYS.> q 1\r\n", "'Permissions Violation for Subscription to \"$SYS.>\" using queue \"q\": "),
        ("PUB $JS.API.INFO 0\r\n\r\n", "'Permissions Violation for Publish to \"$JS.API.INFO\": requests go to "),
        ("PUB a 0\r\n\r\n", "'Permissions Violation for Publish to \"a\": requests go to "),
        ("SUB a 1\r\nSUB a 2\r\nSUB a 3\r\n", "'maximum subscriptions exceeded'"),
    ] {
        client.say(said).await;
        let heard = client.ping().await;
        assert!(heard.starts_with(&format!("-ERR {word}")) && heard.ends_with("'\r\n"), "{said:?}: {heard}");
    }
    client.say("PUB b a 0\r\n\r\n").await;
    let heard = client.ping().await;
    assert!(heard.contains("NATS/1.0 503\r\nNats-Subject: b\r\n\r\n\r\n"), "{heard}");
    client.say("HPUB switchback.cmd.CreateZone a 5 5\r\nhello\r\n").await;
    assert!(client.until("}\r\n").await.contains("behind NATS/1.0"));
    let mut nobody = server.client().await;
    nobody.say("CONNECT {\"verbose\":false,\"pedantic\":true,\"headers\":true}\r\nSUB switchback.evt.> 1\r\n").await;
    assert!(nobody.ping().await.ends_with(": the events need an account'\r\n"));
    nobody.say("PUB a.* 0\r\n\r\n").await;
    assert!(nobody.ping().await.starts_with("-ERR 'Invalid Publish Subject'\r\n"));
    let mut bob = server.client().await;
    bob.say("CONNECT {\"verbose\":false,\"auth_token\":\"bob\"}\r\nSUB > 1\r\n").await;
    assert!(bob.ping().await.contains("only an account of type SystemAdmin may"));
}

#[tokio::test]
async fn what_ends_a_connection_says_so_last() {
    let limits = ListenerLimits { payload: 100, ..ListenerLimits::default() };
    let server = Server::start(limits);
    for (said, word) in [
        ("FOO\r\n", "Unknown Protocol Operation"),
        ("PUB a x\r\n", "Parser Error"),
        ("PUB a 101\r\n", "Maximum Payload Violation"),
        (&format!("SUB {}", "a".repeat(5000)), "maximum control line exceeded"),
    ] {
        let mut client = server.known().await;
        client.say(said).await;
        assert_eq!(client.rest().await, format!("-ERR '{word}'\r\n"), "{said:?}");
    }
    for said in [
        "SUB a 1\r\n",
        "CONNECT {\"auth_token\":\"wrong\"}\r\n",
        "CONNECT {\"nkey\":\"U\",\"sig\":\"x\"}\r\n",
        "CONNECT {\"user\":\"eve\",\"auth_token\":\"\"}\r\n",
    ] {
        let mut client = server.client().await;
        client.say(said).await;
        assert_eq!(client.rest().await, "-ERR 'Authorization Violation'\r\n", "{said:?}");
    }
    let mut client = server.client().await;
    client.say("CONNECT {\"jwt\":\"x\"}\r\n").await;
    assert!(client.rest().await.starts_with("-ERR 'JWT is not known here: "));
    let mut client = server.client().await;
    client.say("CONNECT {\"no_responders\":true}\r\n").await;
    assert_eq!(client.rest().await, "-ERR 'no responders requires headers support'\r\n");
    let mut client = server.client().await;
    client.say("CONNECT {\"auth_token\":\"bob\"}\r\nHPUB switchback.cmd.X 12 12\r\nNATS/1.0\r\n\r\n\r\n").await;
    assert_eq!(client.rest().await, "+OK\r\n-ERR 'message headers not supported'\r\n");
    let soon = Duration::from_millis(50);
    let hasty = Server::start(ListenerLimits { connect: soon, ..limits });
    assert_eq!(hasty.client().await.rest().await, "-ERR 'Authentication Timeout'\r\n");
    let curious = Server::start(ListenerLimits { ping: soon, ..limits });
    let mut client = curious.client().await;
    client.say(HELLO).await;
    assert_eq!(client.rest().await, "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
}

#[tokio::test]
async fn who_reads_nothing_is_cut_off_and_who_asks_too_much_is_told() {
    let limits = ListenerLimits { pending: 4000, requests: 2, connections: 2, ..ListenerLimits::default() };
    let server = Server::start(limits);
    server.log.gate.forget_permits(1_000_000);
    let mut client = server.known().await;
    client.say("SUB in 1\r\n").await;
    for _ in 0..3 {
        client.say("PUB switchback.cmd.CreateZone in 12\r\n{\"name\":\"a\"}\r\n").await;
    }
    let busy = client.until("}\r\n").await;
    assert!(busy.contains("Nats-Service-Error-Code: 429") && busy.contains("Retry-After: 1\r\n"), "{busy}");
    assert!(busy.contains("more than 2 requests of one connection are being answered"), "{busy}");
    server.log.gate.add_permits(2);
    client.until("\"applied\":true").await;
    client.until("\"applied\":true").await;
    let second = server.known().await;
    let mut third = Client { stream: TcpStream::connect(server.listening.address).await.unwrap(), heard: vec![] };
    third.until("\r\n").await;
    assert_eq!(third.rest().await, "-ERR 'maximum connections exceeded'\r\n");
    drop(second);
    client.say("SUB switchback.evt.> 2\r\n").await;
    client.ping().await;
    // It reads nothing meanwhile: more events than socket and outbox hold.
    server.log.head.send_replace(100_000);
    assert!(client.rest().await.ends_with("-ERR 'Slow Consumer'\r\n"));
}

#[tokio::test]
async fn who_reads_nothing_keeps_no_server_from_stopping() {
    let limits = ListenerLimits { pending: 1 << 30, stop: Duration::from_secs(3600), ..ListenerLimits::default() };
    let Server { listening, log, .. } = Server::start(limits);
    let mut client = Client { stream: TcpStream::connect(listening.address).await.unwrap(), heard: vec![] };
    client.say(HELLO).await;
    client.say("SUB switchback.evt.> 1\r\n").await;
    client.ping().await;
    // More than the sockets hold.
    log.head.send_replace(100_000);
    let much = |figures: &Figures| matches!(figures, Figures::Number(bytes) if *bytes > 4e6);
    let waits = |sample: &Sample| sample.name == metric::BUS_PENDING && much(&sample.figures);
    let beside = listening.beside();
    timeout(LONG, async {
        while !beside.metrics().iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    timeout(LONG, listening.stop()).await.unwrap();
}

#[tokio::test]
async fn a_replay_waits_for_its_reader() {
    let server = Server::start(ListenerLimits { pending: 4000, ..ListenerLimits::default() });
    server.log.head.send_replace(5000);
    let mut client = server.known().await;
    client.say("SUB in 1\r\nPUB switchback.events.replay in 15\r\n{\"credit\":5000}\r\n").await;
    let replayed = client.until("Switchback-Replay: end").await;
    assert_eq!(replayed.matches("Switchback-Subject: ").count(), 5000);
    client.until("\"events\":5000").await;
}

#[tokio::test]
async fn events_come_in_order_to_each_and_to_one_of_a_group() {
    let server = Server::start(ListenerLimits::default());
    let connect = || async_nats::ConnectOptions::with_token("secret".to_string()).connect(server.url());
    let (one, other) = (connect().await.unwrap(), connect().await.unwrap());
    let mut all = one.subscribe("switchback.evt.*.*.Created").await.unwrap();
    let mut none = one.subscribe("switchback.evt.host.>").await.unwrap();
    let mut first = one.queue_subscribe("switchback.evt.>", "workers".to_string()).await.unwrap();
    let mut second = other.queue_subscribe("switchback.evt.>", "workers".to_string()).await.unwrap();
    for client in [&one, &other] {
        client.flush().await.unwrap();
        // The server answers in order: it has subscribed by then.
        client.request("switchback.query.QueryZone", "".into()).await.unwrap();
    }
    server.log.head.send_replace(13);
    let id =
        |message: async_nats::Message| message.headers.unwrap().get("ce-id").unwrap().as_str().parse::<u64>().unwrap();
    for position in 4..=13 {
        assert_eq!(id(timeout(LONG, all.next()).await.unwrap().unwrap()), position);
    }
    let mut shared = vec![];
    for _ in 0..5 {
        shared.push(id(timeout(LONG, first.next()).await.unwrap().unwrap()));
        shared.push(id(timeout(LONG, second.next()).await.unwrap().unwrap()));
    }
    shared.sort_unstable();
    assert_eq!(shared, (4..=13).collect::<Vec<u64>>());
    // The last subscriber goes, the follower too; who comes then hears what comes then.
    one.drain().await.unwrap();
    assert!(timeout(LONG, none.next()).await.unwrap().is_none());
    other.drain().await.unwrap();
    while timeout(LONG, second.next()).await.unwrap().is_some() {}
    let third = connect().await.unwrap();
    let mut later = third.subscribe("switchback.>").await.unwrap();
    third.request("switchback.query.QueryZone", "".into()).await.unwrap();
    server.log.head.send_replace(14);
    assert_eq!(id(timeout(LONG, later.next()).await.unwrap().unwrap()), 14);
}

#[tokio::test]
async fn nobody_hears_replies_of_another() {
    let server = Server::start(ListenerLimits::default());
    let mut spy = server.known().await;
    spy.say("SUB _INBOX.> 1\r\n").await;
    spy.ping().await;
    let mut client = server.known().await;
    client.say("SUB _INBOX.> 1\r\nPUB switchback.query.QueryZone _INBOX.a 0\r\n\r\n").await;
    client.until("\"position\":9}\r\n").await;
    assert_eq!(spy.ping().await, "");
}

#[tokio::test]
async fn who_may_not_any_more_is_cut_off() {
    let server = Server::start(ListenerLimits::default());
    let mut client = server.known().await;
    client.say("SUB switchback.evt.> 1\r\n").await;
    assert_eq!(client.ping().await, "");
    let mut bob = server.client().await;
    bob.say(&HELLO.replace("secret", "bob")).await;
    bob.ping().await;
    server.doors.0.store(true, Ordering::SeqCst);
    assert_eq!(client.rest().await, "-ERR 'User Authentication Revoked'\r\n");
    assert_eq!(bob.ping().await, "");
}

#[tokio::test]
async fn a_client_comes_again_when_the_server_does_and_what_was_in_flight_is_answered() {
    let server = Server::start(ListenerLimits::default());
    server.log.gate.forget_permits(1_000_000);
    let address = server.listening.address;
    let client = async_nats::ConnectOptions::with_user_and_password("bob".to_string(), "word".to_string());
    server.log.gate.add_permits(1);
    let client = client.connect(server.url()).await.unwrap();
    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.request("switchback.cmd.CreateZone", "{}".into()).await });
    // The log-in, and the command.
    timeout(LONG, server.log.begun.subscribe().wait_for(|begun| *begun == 2)).await.unwrap().unwrap();
    let Server { listening, log, .. } = server;
    let stop = tokio::spawn(listening.stop());
    log.gate.add_permits(2);
    assert!(asked.await.unwrap().unwrap().payload.starts_with(b"{\"commandId\""));
    stop.await.unwrap();
    let again = Server::with(ListenerOptions { listen: address, ..ListenerOptions::default() });
    let reply = timeout(LONG, async {
        loop {
            if let Ok(reply) = client.request("switchback.query.QueryZone", "".into()).await {
                return reply;
            }
        }
    });
    assert!(reply.await.unwrap().payload.starts_with(b"{\"inventories\""));
    assert_eq!(again.listening.beside().ready().len(), 1);
}

#[tokio::test]
async fn a_key_comes_in_as_its_account() {
    // A seed and its public key, as NATS' tools make them.
    let (seed, key) = (
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
        "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
    );
    let keys = BTreeMap::from([(key.to_string(), Arc::from("bob"))]);
    let server = Server::with(ListenerOptions { keys, ..ListenerOptions::default() });
    let client = async_nats::ConnectOptions::with_nkey(seed.to_string()).connect(server.url()).await;
    let reply = client.unwrap().request("switchback.query.QueryZone", "".into()).await.unwrap();
    assert_eq!(reply.payload, "{\"inventories\":[{\"name\":\"bob\"}],\"position\":9}");
    let stranger = Server::start(ListenerLimits::default());
    assert!(async_nats::ConnectOptions::with_nkey(seed.to_string()).connect(stranger.url()).await.is_err());
}

#[tokio::test]
async fn with_a_certificate_everything_is_encrypted() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_string()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let server = Server::with(ListenerOptions { tls: Some(Arc::new(config)), ..ListenerOptions::default() });
    for first in [false, true] {
        let options = async_nats::ConnectOptions::with_token("secret".to_string());
        let options = options.add_root_certificates(authority.clone());
        let options = if first { options.tls_first() } else { options };
        // A handshake that comes late finds a server that has spoken first.
        let client = timeout(LONG, async {
            loop {
                match options.clone().connect(server.url()).await {
                    Ok(client) => return client,
                    Err(error) => assert!(first, "{error}"),
                }
            }
        });
        let reply = client.await.unwrap().request("switchback.query.QueryZone", "".into()).await.unwrap();
        assert!(reply.payload.starts_with(b"{\"inventories\""), "first: {first}");
    }
    let mut plain = server.client().await;
    plain.say(HELLO).await;
    assert_eq!(plain.rest().await, "-ERR 'Secure Connection - TLS Required'\r\n");
}
