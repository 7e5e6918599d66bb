//! Through a real `nats-server`: requests and events, before a bus whose log the test writes, while either side dies.

use async_nats::{HeaderMap, jetstream};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use switchback_bus::{
    Asked, Bus, Caller, CommandReply, CommandRequest, EventBatch, EventStream, EventsRequest, FixedTokens, LogCopy,
    LogForm, QueryReply, QueryRequest, Rates, Refusal, ShownEvent,
};
use switchback_events::Position;
use switchback_nats::{Fill, JetStream, Login, Remote, RemoteOptions, Service};
use tokio::{sync::watch, time::timeout};

/// So long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log of as many events as it is told to have; `of` makes its events others.
struct Log {
    head: watch::Sender<u64>,
    of: &'static str,
}

impl Log {
    fn new(of: &'static str, head: u64) -> Arc<Log> {
        Arc::new(Log { head: watch::Sender::new(head), of })
    }
}

#[async_trait]
impl Bus for Log {
    async fn command(&self, _: CommandRequest) -> Result<CommandReply, Refusal> {
        self.head.send_modify(|head| *head += 1);
        Err(Refusal::not_supported("commands"))
    }

    async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        let inventories = json!([{"name": caller.name, "fill": "x".repeat(request.start as usize)}]).to_string();
        Ok(QueryReply { inventories, total: None, position: 9 })
    }

    async fn read(&self, _: &Caller, _: &str, _: Value) -> Result<Value, Refusal> {
        Err(Refusal::not_supported("reads"))
    }

    async fn events(&self, caller: &Caller, request: EventsRequest) -> Result<EventStream, Refusal> {
        caller.must_be_admin("the events")?;
        let (head, of) = (self.head.subscribe(), self.of);
        let follow = request.follow;
        let step = move |(mut head, after): (watch::Receiver<u64>, u64)| async move {
            if follow {
                head.wait_for(|head| *head > after).await.ok()?;
            }
            let upto = (*head.borrow()).min(after + 64);
            if upto == after {
                return None;
            }
            let event = |position: u64| {
                json!({
                    "position": position, "kind": "zone.Created", "streamType": "zone", "schema": 1,
                    "streamId": format!("{of}{position}"), "time": format!("2026-01-01T00:00:00.{position:06}Z"),
                })
            };
            let batch = EventBatch {
                events: (after + 1..=upto).filter_map(|position| ShownEvent::of(&event(position))).collect(),
                examined: upto,
            };
            Some((Ok(batch), (head, upto)))
        };
        Ok(stream::unfold((head, request.filter.after.unwrap_or(0)), step).boxed())
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

/// A server of NATS' own, on a port that stays the same when it is started again.
struct Server {
    folder: tempfile::TempDir,
    port: u16,
    config: String,
    process: Option<Child>,
}

impl Server {
    fn start(config: &str) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server =
            Server { folder: tempfile::tempdir().unwrap(), port, config: config.to_string(), process: None };
        server.begin();
        server
    }

    fn begin(&mut self) {
        let file = self.folder.path().join("nats.conf");
        let store = self.folder.path().join("store");
        let config = self.config.replace("STORE", &format!("jetstream {{ store_dir: \"{}\" }}", store.display()));
        std::fs::write(&file, format!("listen: \"127.0.0.1:{}\"\n{config}\n", self.port)).unwrap();
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("nats-server, which .ci/install.sh brings"));
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn client(&self) -> async_nats::Client {
        within("connect", async {
            loop {
                match async_nats::connect(self.url()).await {
                    Ok(client) => return client,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

fn remote(server: &Server, log: &Arc<Log>, jetstream: JetStream, cursor: &Path) -> Remote {
    let fill = Fill { jetstream, max_bytes: 0, max_age: None, replicas: 1, cursor: cursor.to_path_buf() };
    with(server, log, fill, Login::Nobody)
}

fn with(server: &Server, log: &Arc<Log>, fill: Fill, login: Login) -> Remote {
    let (tokens, asked) = (FixedTokens::new([("secret", "admin")]), Asked::new(Rates::default()));
    let service = Service::new(log.clone(), Arc::new(tokens), Arc::new(asked));
    let options = RemoteOptions { servers: vec![server.url()], login, authority: None, fill };
    Remote::start(options, Arc::new(service)).unwrap()
}

async fn stop(remote: Remote) {
    within("stop", async { tokio::task::spawn_blocking(move || remote.stop()).await.unwrap() }).await;
}

/// Waits until a part says something with `word` in it.
async fn says(remote: &Remote, part: &str, ready: bool, word: &str) {
    let beside = remote.beside();
    let said = async {
        loop {
            let parts = beside.ready();
            let (_, found) = parts.iter().find(|(name, _)| name == part).unwrap();
            let text = found.as_ref().unwrap_or_else(|why| why);
            if found.is_ok() == ready && text.contains(word) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(PATIENCE, said).await.is_err() {
        panic!("{part} does not say {word}: {:?}", beside.ready());
    }
}

/// Waits until the stream has as many messages, and looks that each is the event of its number.
async fn holds(server: &Server, stream: &str, of: &str, events: u64) {
    let client = server.client().await;
    let context = jetstream::new(client);
    within(&format!("{events} events in the stream"), async {
        loop {
            if let Ok(mut stream) = context.get_stream(stream).await
                && stream.info().await.is_ok_and(|info| info.state.messages >= events)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let stream = context.get_stream(stream).await.unwrap();
    assert_eq!(stream.cached_info().state.last_sequence, events, "each once");
    for position in 1..=events {
        let message = stream.get_raw_message(position).await.unwrap();
        assert_eq!(message.subject.as_str(), format!("switchback.evt.zone.{of}{position}.Created"));
        assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), position.to_string());
    }
}

fn cursor() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("published.json");
    (folder, file)
}

async fn ask(client: &async_nats::Client, subject: &str, token: &str, payload: &str) -> Value {
    let mut headers = HeaderMap::new();
    headers.insert("Authorization", format!("Bearer {token}"));
    let begin = std::time::Instant::now();
    loop {
        let request = async_nats::Request::new().headers(headers.clone()).payload(payload.to_string().into());
        match client.send_request(subject.to_string(), request.timeout(Some(PATIENCE))).await {
            Ok(reply) => return serde_json::from_slice(&reply.payload).unwrap(),
            // It is connected a little before it has subscribed.
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders && begin.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_through_a_server_also_after_it_was_killed() {
    let mut server = Server::start("max_payload: 65536");
    let (log, (_folder, cursor)) = (Log::new("a", 0), cursor());
    let remote = remote(&server, &log, JetStream::Off, &cursor);
    says(&remote, "nats requests", true, "connected to").await;
    says(&remote, "nats events", true, "published to").await;
    let client = server.client().await;
    let reply = ask(&client, "switchback.query.QueryZone", "secret", "").await;
    assert_eq!(reply["inventories"][0]["name"], "admin");
    assert_eq!(ask(&client, "switchback.query.QueryZone", "wrong", "").await["status"], 401);
    assert_eq!(ask(&client, "switchback.cmd.CreateZone", "secret", "{}").await["status"], 501);
    let large = ask(&client, "switchback.query.QueryZone", "secret", r#"{"start": 70000}"#).await;
    assert!(large["detail"].as_str().unwrap().contains("max_payload"), "{large}");
    // An answer is none of ours to be taken for an event.
    let mut events = client.subscribe("switchback.evt.>").await.unwrap();
    client.publish_with_reply("switchback.query.QueryZone", "switchback.evt.zone.a.Created", "".into()).await.unwrap();
    assert_eq!(ask(&client, "switchback.query.QueryZone", "wrong", "").await["status"], 401);
    log.head.send_modify(|head| *head += 1);
    let event = within("an event", events.next()).await.unwrap();
    assert_eq!(event.headers.unwrap().get("ce-type").unwrap().as_str(), "switchback.zone.Created.v1");
    let before = *log.head.borrow();
    server.kill();
    says(&remote, "nats requests", true, "trying again").await;
    server.begin();
    says(&remote, "nats requests", true, "connected to").await;
    let client = server.client().await;
    assert_eq!(ask(&client, "switchback.cmd.CreateZone", "secret", "{}").await["status"], 501);
    assert_eq!(*log.head.borrow(), before + 1);
    stop(remote).await;
    // The server hears of it a little later than we do.
    within("nobody answers", async {
        loop {
            let request = async_nats::Request::new().timeout(Some(Duration::from_secs(1)));
            let nobody = client.send_request("switchback.query.QueryZone", request).await.unwrap_err();
            if nobody.kind() == async_nats::RequestErrorKind::NoResponders {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_filled_once_whoever_is_killed_and_however_many_fill_it() {
    let mut server = Server::start("STORE");
    let (log, (_folder, cursor)) = (Log::new("a", 3000), cursor());
    let first = remote(&server, &log, JetStream::Auto, &cursor);
    let second_cursor = cursor.with_extension("second");
    let second = remote(&server, &log, JetStream::Named("SWITCHBACK".to_string()), &second_cursor);
    for round in 0..4 {
        log.head.send_modify(|head| *head += 700);
        // Somewhere on the way, which is another place each time.
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        server.kill();
        log.head.send_modify(|head| *head += 50);
        server.begin();
    }
    let head = *log.head.borrow();
    holds(&server, "SWITCHBACK", "a", head).await;
    stop(first).await;
    stop(second).await;
    log.head.send_modify(|head| *head += 10);
    // Also without the file it is the stream that says where it stands.
    let _ = std::fs::remove_file(&cursor);
    let third = remote(&server, &log, JetStream::Auto, &cursor);
    holds(&server, "SWITCHBACK", "a", head + 10).await;
    says(&third, "nats events", true, "kept in the stream SWITCHBACK").await;
    stop(third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_log_and_one_with_messages_of_others_are_left_alone() {
    let server = Server::start("STORE");
    let (_folder, cursor) = cursor();
    let (ours, other) = (Log::new("a", 20), Log::new("b", 20));
    let filled = remote(&server, &ours, JetStream::Auto, &cursor);
    holds(&server, "SWITCHBACK", "a", 20).await;
    stop(filled).await;
    for log in [Log::new("b", 30), Log::new("a", 10)] {
        let remote = remote(&server, &log, JetStream::Auto, &cursor.with_extension("other"));
        says(&remote, "nats events", false, "is of another log").await;
        stop(remote).await;
    }
    holds(&server, "SWITCHBACK", "a", 20).await;
    // What was taken away from its end is known by the file, and by nothing else.
    let context = jetstream::new(server.client().await);
    let stream = context.get_stream("SWITCHBACK").await.unwrap();
    stream.purge().await.unwrap();
    let without = remote(&server, &ours, JetStream::Auto, &cursor.with_extension("none"));
    says(&without, "nats events", false, "nobody knows where it stands").await;
    stop(without).await;
    ours.head.send_modify(|head| *head += 1);
    let on = remote(&server, &ours, JetStream::Auto, &cursor);
    within("event 21", async {
        while stream.get_raw_message(21).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let message = stream.get_raw_message(21).await.unwrap();
    assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), "21");
    stop(on).await;
    // Somebody else publishes there.
    let client = server.client().await;
    jetstream::new(client).publish("switchback.evt.zone.x.Created", "".into()).await.unwrap().await.unwrap();
    let remote = remote(&server, &ours, JetStream::Auto, &cursor);
    says(&remote, "nats events", false, "is no event of ours").await;
    stop(remote).await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_events_are_passed_on_in_order_and_go_on_where_they_were() {
    let mut server = Server::start("");
    let (log, (_folder, cursor)) = (Log::new("a", 5), cursor());
    let first = remote(&server, &log, JetStream::Auto, &cursor);
    says(&first, "nats events", true, "published to").await;
    let client = server.client().await;
    let mut events = client.subscribe("switchback.evt.>").await.unwrap();
    client.flush().await.unwrap();
    // Behind the server's own word that it has the subscription.
    assert_eq!(ask(&client, "switchback.query.QueryZone", "secret", "").await["position"], 9);
    log.head.send_modify(|head| *head += 500);
    let position = |message: async_nats::Message| -> u64 {
        message.headers.unwrap().get("ce-id").unwrap().as_str().parse().unwrap()
    };
    for expected in 6..=505 {
        assert_eq!(position(within("an event", events.next()).await.unwrap()), expected);
    }
    stop(first).await;
    log.head.send_modify(|head| *head += 5);
    let second = remote(&server, &log, JetStream::Off, &cursor);
    let mut next = position(within("an event", events.next()).await.unwrap());
    assert!(next <= 506, "none is left out");
    while next < 510 {
        let more = position(within("an event", events.next()).await.unwrap());
        assert_eq!(more, next + 1);
        next = more;
    }
    // What is committed while the server is away comes when it is back: from where it was known to stand.
    server.kill();
    says(&second, "nats events", true, "trying again").await;
    log.head.send_modify(|head| *head += 5);
    server.begin();
    within("event 515", async {
        while !std::fs::read_to_string(&cursor).unwrap().contains("515") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stop(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_says_so_and_no_secret() {
    let server = Server::start("authorization { token: s3cret }");
    let log = Log::new("a", 5);
    let folder = tempfile::tempdir().unwrap();
    for (token, word) in [("wrong-s3cret", "authorization violation"), ("s3cret", "connected to")] {
        let path = folder.path().join(word.replace(' ', "-"));
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, format!("token = {token}\n").as_bytes()).unwrap();
        let cursor = folder.path().join("published.json");
        let fill = Fill { jetstream: JetStream::Off, max_bytes: 0, max_age: None, replicas: 1, cursor };
        let remote = with(&server, &log, fill, Login::read(&path).unwrap());
        says(&remote, "nats requests", true, word).await;
        assert!(!format!("{:?}", remote.beside().ready()).contains("s3cret"));
        assert_eq!(remote.beside().metrics().len(), 5);
        stop(remote).await;
    }
}

/// What a user of the guide's configuration is told that he may not do.
async fn refused(server: &Server, user: &str, password: &str, what: &str, subject: &'static str) -> bool {
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_string(), password.to_string())
        .custom_inbox_prefix(format!("_INBOX.{user}"))
        .event_callback(move |event| {
            let say = say.clone();
            async move { drop(say.send(event.to_string())) }
        });
    let client = options.connect(server.url()).await.unwrap();
    match what {
        "publish" => client.publish(subject, "".into()).await.unwrap(),
        _ => drop(client.subscribe(subject).await.unwrap()),
    }
    // Behind it, something that is always refused.
    client.publish("nobody.may", "".into()).await.unwrap();
    loop {
        let event = within("the server's word", said.recv()).await.unwrap();
        let event = event.to_lowercase();
        if event.contains("permissions violation") {
            return !event.contains("nobody.may");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_configuration_lets_nobody_hear_requests_or_make_events() {
    let config = include_str!("../../../docs/guides/nats-server.conf");
    let config: Vec<&str> = config.lines().filter(|line| !line.starts_with("listen:")).collect();
    let config = config.join("\n").replace("\"nats-data\"", "DATA");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&config.replace("DATA", &format!("\"{}\"", folder.path().join("nats").display())));
    let path = folder.path().join("login");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"user = switchback\npassword = change-me-switchback\n").unwrap();
    let cursor = folder.path().join("published.json");
    let fill = Fill { jetstream: JetStream::Auto, max_bytes: 0, max_age: None, replicas: 1, cursor };
    let remote = with(&server, &Log::new("a", 5), fill, Login::read(&path).unwrap());
    says(&remote, "nats events", true, "kept in the stream SWITCHBACK").await;
    let (user, password) = ("orchestrator", "change-me-orchestrator");
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_string(), password.to_string());
    let client = options.custom_inbox_prefix("_INBOX.orchestrator").connect(server.url()).await.unwrap();
    let reply = ask(&client, "switchback.query.QueryZone", "secret", "").await;
    assert_eq!(reply["inventories"][0]["name"], "admin");
    for (what, subject, expected) in [
        ("publish", "switchback.evt.zone.a.Created", true),
        ("publish", "$JS.API.STREAM.PURGE.SWITCHBACK", true),
        ("subscribe", "switchback.cmd.*", true),
        ("subscribe", "switchback.>", true),
        ("subscribe", "_INBOX.>", true),
        ("subscribe", "_INBOX.orchestrator.x", false),
    ] {
        assert_eq!(refused(&server, user, password, what, subject).await, expected, "{what} {subject}");
    }
    let auditor = ("auditor", "change-me-auditor");
    for (what, subject, expected) in [
        ("subscribe", "switchback.evt.>", false),
        ("publish", "switchback.evt.zone.a.Created", true),
        ("publish", "switchback.cmd.CreateZone", true),
        ("subscribe", "switchback.cmd.*", true),
    ] {
        assert_eq!(refused(&server, auditor.0, auditor.1, what, subject).await, expected, "{what} {subject}");
    }
    stop(remote).await;
}
