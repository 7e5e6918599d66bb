//! The event stream before a bus whose log the test writes: lines, server-sent events, heartbeats, resume, readers
//! that take nothing.

use actix_web::{
    App,
    body::{BodySize, MessageBody},
    test::{self, TestRequest},
};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use switchback_bus::{
    Bus, Caller, CommandReply, CommandRequest, EventBatch, EventStream, EventsRequest, LogCopy, LogForm, QueryReply,
    QueryRequest, Refusal, ShownEvent,
};
use switchback_events::Position;
use switchback_gateway::{FixedTokens, Gateway, Options, StreamTimes, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Every second position up to `head` matches; behind it there is a wait without end.
#[derive(Default)]
struct Log {
    head: u64,
    bytes: usize,
    fails_at: Option<u64>,
    asked: Mutex<Vec<EventsRequest>>,
    read: Arc<AtomicU64>,
}

#[async_trait]
impl Bus for Log {
    async fn command(&self, _: CommandRequest) -> Result<CommandReply, Refusal> {
        Err(Refusal::not_supported("commands"))
    }

    async fn query(&self, _: &Caller, _: QueryRequest) -> Result<QueryReply, Refusal> {
        Err(Refusal::not_supported("queries"))
    }

    async fn read(&self, _: &Caller, _: &str, _: Value) -> Result<Value, Refusal> {
        Ok(json!({"events": [{"position": 1}, {"position": 2}], "position": 11}))
    }

    async fn events(&self, _: &Caller, request: EventsRequest) -> Result<EventStream, Refusal> {
        self.asked.lock().unwrap().push(request.clone());
        let after = request.filter.after.unwrap_or(0);
        if after > self.head {
            return Err(Refusal::argument("after", after, "at most the head of the log"));
        }
        let (head, bytes, fails_at, read) = (self.head, self.bytes, self.fails_at, self.read.clone());
        let batch = move |position: u64| {
            read.fetch_max(position, Ordering::Relaxed);
            let event = json!({"position": position, "kind": "zone.Created", "text": "x".repeat(bytes)});
            let events = ShownEvent::of(&event).into_iter().filter(|_| position.is_multiple_of(2)).collect();
            if fails_at == Some(position) {
                return Err(Refusal::internal("the disk is gone"));
            }
            Ok(EventBatch { events, examined: position })
        };
        let written = stream::iter(after + 1..=head).map(batch);
        Ok(if request.follow { written.chain(stream::pending()).boxed() } else { written.boxed() })
    }

    async fn head(&self) -> Position {
        self.head
    }

    /// A line, and then a wait without end.
    async fn log(&self, _: &Caller, _: LogForm, _: Position) -> Result<LogCopy, Refusal> {
        let chunks = stream::iter([Ok(b"{}\n".to_vec())]).chain(stream::pending()).boxed();
        Ok(LogCopy { upto: self.head, chunks })
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        vec![]
    }
}

fn gateway(bus: &Arc<Log>) -> Gateway {
    let times = StreamTimes { heartbeat: Duration::from_millis(20), cut_off: Duration::from_millis(300) };
    Gateway::new(bus.clone(), Arc::new(FixedTokens::new([("secret", "admin")]))).with_stream_times(times)
}

/// Reads the body until it ends or has `enough`.
async fn ask(bus: &Arc<Log>, uri: &str, headers: &[(&str, &str)], enough: &str) -> (u16, String) {
    let gateway = gateway(bus);
    let app = test::init_service(App::new().configure(|config| gateway.configure(config))).await;
    let mut request = TestRequest::get().uri(uri).insert_header(("Authorization", "Bearer secret"));
    for header in headers {
        request = request.insert_header(*header);
    }
    let response = test::call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut text = String::new();
    if body.size() == BodySize::None {
        return (status, text);
    }
    while let Some(chunk) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
        match chunk {
            Ok(chunk) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Err(_) => text.push_str("<broken>"),
        }
        if !enough.is_empty() && text.contains(enough) {
            break;
        }
    }
    (status, text)
}

const SSE: (&str, &str) = ("Accept", "text/event-stream");
const LINES: (&str, &str) = ("Accept", "application/x-ndjson");

#[actix_web::test]
async fn lines_go_to_the_end_of_the_log_and_a_page_is_a_page() {
    let bus = Arc::new(Log { head: 5, ..Log::default() });
    let (status, text) = ask(&bus, "/v1/events?after=2&principal=eve", &[LINES], "").await;
    assert_eq!((status, text.as_str()), (200, "{\"kind\":\"zone.Created\",\"position\":4,\"text\":\"\"}\n"));
    let asked = bus.asked.lock().unwrap().pop().unwrap();
    assert!(!asked.follow);
    assert_eq!((asked.filter.after, asked.filter.principal.as_deref()), (Some(2), Some("eve")));
    let (_, text) = ask(&bus, "/v1/events", &[("Accept", "*/*")], "").await;
    assert_eq!(text, "{\"events\":[{\"position\":1},{\"position\":2}],\"position\":11}");
}

#[actix_web::test]
async fn a_stream_gives_events_and_then_heartbeats_with_the_position_examined() {
    let bus = Arc::new(Log { head: 5, ..Log::default() });
    let (status, text) = ask(&bus, "/v1/events?kind=zone", &[SSE], "heartbeat").await;
    assert_eq!(status, 200);
    let event = |position: u64| {
        format!(
            "id: {position}\nevent: zone.Created\ndata: \
             {{\"kind\":\"zone.Created\",\"position\":{position},\"text\":\"\"}}\n\n"
        )
    };
    let beat = "id: 5\nevent: heartbeat\ndata: {\"position\":5}\n\n";
    assert_eq!(text, format!("retry: 1000\n\n{}{}{beat}", event(2), event(4)));
    assert!(bus.asked.lock().unwrap().pop().unwrap().follow);
}

#[actix_web::test]
async fn a_reader_that_comes_again_goes_on_where_it_was() {
    let bus = Arc::new(Log { head: 5, ..Log::default() });
    let (_, text) = ask(&bus, "/v1/events?after=1", &[SSE, ("Last-Event-ID", "3")], "heartbeat").await;
    assert_eq!(bus.asked.lock().unwrap().pop().unwrap().filter.after, Some(3));
    assert!(!text.contains("id: 2\n") && text.contains("id: 4\nevent: zone.Created\n"), "{text}");
    for (uri, id, pointer) in
        [("/v1/events", "6", "/after"), ("/v1/events", "x", "/Last-Event-ID"), ("/v1/events?kin=zone", "1", "/kin")]
    {
        let (status, text) = ask(&bus, uri, &[SSE, ("Last-Event-ID", id)], "").await;
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, problem["errors"][0]["pointer"].as_str()), (400, Some(pointer)), "{text}");
    }
}

#[actix_web::test]
async fn a_log_that_cannot_be_read_ends_a_stream_with_its_reason_and_breaks_lines_off() {
    let bus = Arc::new(Log { head: 9, fails_at: Some(3), ..Log::default() });
    let (_, text) = ask(&bus, "/v1/events", &[SSE], "").await;
    let said = "event: error\ndata: {\"code\":\"SYS.1000\",\"detail\":\"the disk is gone\"}\n\n";
    assert!(text.contains("id: 2\n") && text.ends_with(said), "{text}");
    let (_, text) = ask(&bus, "/v1/events", &[LINES], "").await;
    assert!(text.starts_with('{') && text.ends_with("<broken>"), "{text}");
}

#[actix_web::test]
async fn a_reader_that_takes_nothing_is_cut_off_and_the_log_is_not_read_ahead() {
    let bus = Arc::new(Log { head: 1_000_000, bytes: 10_000, ..Log::default() });
    let listening =
        serve(Options { listen: ([127, 0, 0, 1], 0).into(), workers: 1, ..Options::default() }, gateway(&bus))
            .await
            .unwrap();
    let handle = listening.server.handle();
    let server = actix_web::rt::spawn(listening.server);
    let mut socket = actix_web::rt::net::TcpStream::connect(listening.addresses[0]).await.unwrap();
    let head =
        "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nAccept: text/event-stream\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    // It takes a little, then nothing until the server gives it up.
    socket.read_exact(&mut [0; 1000]).await.unwrap();
    let mut before = u64::MAX;
    while before != bus.read.load(Ordering::Relaxed) {
        before = bus.read.load(Ordering::Relaxed);
        actix_web::rt::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(before < 100_000, "{before} positions were read for nobody");
    let mut rest = vec![];
    // Whether the rest ends or is reset, it ends.
    let _ = socket.read_to_end(&mut rest).await;
    assert!(rest.len() < 100_000_000);
    handle.stop(true).await;
    server.await.unwrap().unwrap();
}

#[actix_web::test]
async fn streams_end_when_the_server_is_to_stop() {
    let bus = Arc::new(Log { head: 3, ..Log::default() });
    let gateway = gateway(&bus);
    let app = test::init_service(App::new().configure(|config| gateway.configure(config))).await;
    let request = TestRequest::get().uri("/v1/events").insert_header(("Authorization", "Bearer secret"));
    let response = test::call_service(&app, request.insert_header(SSE).to_request()).await;
    gateway.end_streams();
    assert!(String::from_utf8(test::read_body(response).await.to_vec()).unwrap().starts_with("retry: 1000"));
}

#[actix_web::test]
async fn a_copy_of_the_log_breaks_off_when_the_server_stops() {
    let gateway = gateway(&Arc::new(Log::default()));
    let app = test::init_service(App::new().configure(|config| gateway.configure(config))).await;
    let request = TestRequest::get().uri("/v1/audit/export").insert_header(("Authorization", "Bearer secret"));
    let response = test::call_service(&app, request.to_request()).await;
    let mut body = response.into_body();
    let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_next(context)).await.map(Result::ok);
    assert_eq!(next().await.unwrap().unwrap(), "{}\n");
    gateway.end_streams();
    assert_eq!((next().await, next().await), (Some(None), None));
}
