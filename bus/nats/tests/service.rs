//! What requests are answered, before a bus whose log the test writes.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use switchback_bus::{
    Asked, Bus, Caller, CommandReply, CommandRequest, EventBatch, EventStream, EventsRequest, FixedTokens, InFlight,
    LogCopy, LogForm, QueryReply, QueryRequest, Rates, Refusal, ShownEvent,
};
use switchback_events::{CommandId, Id, Position};
use switchback_nats::{Headers, Limits, Outgoing, Request, Service};
use tokio::sync::{Notify, Semaphore};

/// Every second position up to `head` matches; who follows waits for [`Log::more`].
#[derive(Default)]
struct Log {
    head: AtomicU64,
    more: Arc<Notify>,
    fails_at: Option<u64>,
    carried_out: AtomicU64,
    /// Commands wait for it, where it is there.
    gate: Option<Arc<Semaphore>>,
}

#[async_trait]
impl Bus for Log {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        assert_ne!(request.parameters["name"], "panic");
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.carried_out.fetch_add(1, Ordering::SeqCst);
        Ok(CommandReply {
            command_id: request.command_id.unwrap_or(CommandId(Id::of_name(&request.caller.name))),
            position: 7,
            version: 1,
            applied: true,
            inventory: Some(json!({"name": request.caller.name})),
            inventories: None,
            events: vec![],
            routers: vec![],
        })
    }

    async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        let inventories = json!([{"name": caller.name, "asked": request.q}]).to_string();
        Ok(QueryReply { inventories, total: None, position: 9 })
    }

    async fn read(&self, caller: &Caller, name: &str, _: Value) -> Result<Value, Refusal> {
        assert_ne!(name, "GetAuditHead", "a panic in a read");
        Ok(json!({"name": caller.name, "position": 11}))
    }

    async fn events(&self, caller: &Caller, request: EventsRequest) -> Result<EventStream, Refusal> {
        caller.must_be_admin("the events")?;
        let (after, head) = (request.filter.after.unwrap_or(0), self.head.load(Ordering::SeqCst));
        if after > head {
            return Err(Refusal::argument("after", after, "at most the head of the log"));
        }
        let fails_at = self.fails_at;
        let batch = move |position: u64| {
            if fails_at == Some(position) {
                return Err(Refusal::internal("the disk is gone"));
            }
            let event = json!({
                "position": position, "kind": "zone.Created", "streamType": "zone", "streamId": "0a", "schema": 1,
                "time": "2026-01-01T00:00:00Z",
            });
            Ok(EventBatch {
                events: ShownEvent::of(&event).into_iter().filter(|_| position.is_multiple_of(2)).collect(),
                examined: position,
            })
        };
        let most = request.filter.limit.unwrap_or(u64::MAX);
        let mut given = 0;
        let take = move |batch: &Result<EventBatch, Refusal>| {
            let go_on = given < most;
            given += batch.as_ref().map_or(0, |batch| batch.events.len() as u64);
            std::future::ready(go_on)
        };
        let written = stream::iter(after + 1..=head).map(batch);
        if !request.follow {
            return Ok(written.take_while(take).boxed());
        }
        let more = self.more.clone();
        let next = stream::once(async move { more.notified().await }).map(move |()| batch(head + 2));
        Ok(written.chain(next).chain(stream::pending()).boxed())
    }

    async fn head(&self) -> Position {
        self.head.load(Ordering::SeqCst)
    }

    async fn log(&self, _: &Caller, _: LogForm, _: Position) -> Result<LogCopy, Refusal> {
        Err(Refusal::not_supported("a copy of the log"))
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        vec![]
    }
}

fn service(log: Log, limits: Limits) -> (Arc<Log>, Arc<Service>) {
    let (log, tokens) = (Arc::new(log), FixedTokens::new([("secret", "admin")]));
    let service = Service::new(log.clone(), Arc::new(tokens), Arc::new(Asked::new(Rates::default())));
    (log, Arc::new(service.with_limits(limits)))
}

fn log(head: u64) -> (Arc<Log>, Arc<Service>) {
    service(Log { head: head.into(), ..Log::default() }, Limits::default())
}

fn request(subject: &str, payload: &str, headers: &[(&str, &str)]) -> Request {
    let mut all = Headers::new();
    headers.iter().for_each(|(name, value)| all.push(name.to_string(), *value));
    Request {
        subject: subject.to_string(),
        reply: Some("_INBOX.a".to_string()),
        headers: all,
        payload: payload.to_string().into(),
        token: Some("secret".into()),
        peer: None,
    }
}

async fn ask(service: &Arc<Service>, request: Request) -> Vec<(Headers, Value)> {
    let replies: Vec<Outgoing> = service.clone().answer(request).collect().await;
    let reply = |reply: Outgoing| {
        assert_eq!(reply.subject, "_INBOX.a");
        (reply.headers, serde_json::from_slice(&reply.payload).unwrap())
    };
    replies.into_iter().map(reply).collect()
}

async fn one(service: &Arc<Service>, request: Request) -> (Headers, Value) {
    let mut replies = ask(service, request).await;
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

fn get<'a>(headers: &'a Headers, name: &'a str) -> &'a str {
    headers.all(name).next().unwrap_or_default()
}

/// A replay: the positions of its events, and what its end says.
async fn replay(service: &Arc<Service>, payload: Value) -> (Vec<u64>, Value) {
    let mut replies = ask(service, request("switchback.events.replay", &payload.to_string(), &[])).await;
    let (headers, end) = replies.pop().unwrap();
    assert_eq!(get(&headers, "Switchback-Replay"), "end", "{end}");
    let position = |(headers, event): &(Headers, Value)| {
        assert_eq!(get(headers, "Switchback-Subject"), "switchback.evt.zone.0a.Created");
        assert_eq!(get(headers, "Nats-Msg-Id"), event["position"].to_string());
        event["position"].as_u64().unwrap()
    };
    (replies.iter().map(position).collect(), end)
}

#[tokio::test]
async fn a_command_a_query_and_a_read_are_answered() {
    let (log, service) = log(0);
    let (headers, reply) =
        one(&service, request("switchback.cmd.CreateZone", r#"{"name":"z"}"#, &[("Nats-Msg-Id", "k")])).await;
    assert_eq!((get(&headers, "X-Switchback-Position"), &reply["inventory"]["name"]), ("7", &json!("admin")));
    assert_eq!(reply["commandId"], json!(Id::of_name("k").to_string()));
    let (_, reply) = one(&service, request("switchback.query.QueryZone", r#"{"q":"name=z"}"#, &[])).await;
    assert_eq!(reply["inventories"][0]["asked"], json!(["name=z"]));
    let (headers, _) = one(&service, request("switchback.query.GetEvents", "", &[])).await;
    assert_eq!(get(&headers, "X-Switchback-Position"), "11");
    assert_eq!((log.carried_out.load(Ordering::SeqCst), service.in_flight()), (1, 0));
}

#[tokio::test]
async fn what_is_wrong_is_answered_with_what_would_be_right() {
    let (log, service) = log(8);
    let both = [("Nats-Msg-Id", "a"), ("Idempotency-Key", "b")];
    let long = "k".repeat(256);
    let replay = "switchback.events.replay";
    for (subject, payload, headers, status, word) in [
        ("switchback.cmd.CreateZon", "", &[][..], 404, "CreateZone"),
        ("switchback.cmd.QueryZone", "", &[], 404, "switchback.query.QueryZone"),
        ("switchback.query.CreateZone", "", &[], 404, "switchback.cmd.CreateZone"),
        ("switchback.other", "", &[], 404, "switchback.events.replay"),
        ("switchback.cmd.CreateZone", "[]", &[], 400, "one flat JSON object"),
        ("switchback.cmd.CreateZone", "{", &[], 400, "not JSON"),
        ("switchback.cmd.CreateZone", "{}", &both, 400, "Idempotency-Key"),
        ("switchback.cmd.CreateZone", "{}", &[("Nats-Msg-Id", &long)], 400, "255"),
        ("switchback.cmd.CreateZone", "{}", &[("X-Wait", "no"), ("x-wait", "no")], 400, "more than once"),
        ("switchback.cmd.CreateZone", "{}", &[("X-Wait", "no")], 400, "durable or applied"),
        ("switchback.cmd.CreateZone", "{}", &[("X-Dry-Run", "1")], 400, "true or false"),
        ("switchback.cmd.CreateZone", "{}", &[("If-Match", "x")], 400, "If-Match"),
        ("switchback.cmd.CreateZone", "{}", &[("Authorization", "Basic x")], 401, "Bearer"),
        ("switchback.cmd.CreateZone", "{}", &[("Authorization", "Bearer wrong")], 401, ""),
        ("switchback.query.QueryZone", r#"{"limits":1}"#, &[], 400, "limits"),
        (replay, r#"{"credit":0}"#, &[], 400, "from 1 to 10000"),
        (replay, r#"{"credit":"5"}"#, &[], 400, "from 1 to 10000"),
        (replay, r#"{"waitSeconds":31}"#, &[], 400, "from 0 to 30"),
        (replay, r#"{"upto":-1}"#, &[], 400, "upto"),
        (replay, r#"{"limit":5}"#, &[], 400, "credit"),
        (replay, r#"{"resource":"x"}"#, &[], 400, "resource"),
        (replay, r#"{"nothing":1}"#, &[], 400, "nothing"),
        (replay, r#"{"after":9}"#, &[], 400, "after"),
    ] {
        let (headers, problem) = one(&service, request(subject, payload, headers)).await;
        assert_eq!(problem["status"], status, "{subject} {payload}: {problem}");
        assert_eq!(get(&headers, "Nats-Service-Error-Code"), status.to_string());
        assert!(problem.to_string().contains(word), "{word}: {problem}");
    }
    assert_eq!(log.carried_out.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_for_anyone_needs_no_token_and_does_not_mind_a_wrong_one() {
    let (_, service) = log(0);
    let who = async |subject: &str, token: Option<&str>| {
        let request = Request { token: token.map(Into::into), ..request(subject, "{}", &[]) };
        let (_, reply) = one(&service, request).await;
        (reply["status"].clone(), reply["inventory"]["name"].clone())
    };
    for token in [None, Some("wrong")] {
        let (status, name) = who("switchback.cmd.LogInByAccount", token).await;
        assert!(status.is_null() && name != "admin", "{token:?}: {status} {name}");
        assert_eq!(who("switchback.cmd.CreateZone", token).await.0, 401);
        assert_eq!(who("switchback.events.replay", token).await.0, 401);
        assert_eq!(who("elsewhere", token).await.0, 401);
    }
    let request = Request {
        token: Some("wrong".into()),
        ..request("switchback.query.QueryZone", "", &[("authorization", "bearer secret")])
    };
    assert!(
        one(&service, request).await.1["inventories"].is_array(),
        "the header is heard before the connection's token"
    );
}

#[tokio::test]
async fn a_replay_gives_as_many_as_it_was_asked_for_and_goes_on_where_it_ended() {
    let (_, service) = log(11);
    let (first, end) = replay(&service, json!({"credit": 2})).await;
    assert_eq!((first, &end), (vec![2, 4], &json!({"examined": 4, "head": 11, "events": 2})));
    let (second, end) = replay(&service, json!({"after": end["examined"], "credit": 10})).await;
    assert_eq!((second, &end), (vec![6, 8, 10], &json!({"examined": 11, "head": 11, "events": 3})));
    let (none, end) = replay(&service, json!({"after": 11})).await;
    assert_eq!((none, end), (vec![], json!({"examined": 11, "head": 11, "events": 0})));
    let (some, end) = replay(&service, json!({"after": 3, "upto": 7})).await;
    assert_eq!((some, end), (vec![4, 6], json!({"examined": 7, "head": 11, "events": 2})));
}

#[tokio::test]
async fn a_replay_waits_at_the_end_of_the_log_for_the_first_that_matches() {
    let (log, service) = log(10);
    let wait = json!({"after": 10, "waitSeconds": 30, "credit": 5});
    let waits = service.clone();
    let waiting = tokio::spawn(async move { replay(&waits, wait).await });
    log.more.notify_one();
    assert_eq!(waiting.await.unwrap(), (vec![12], json!({"examined": 12, "head": 12, "events": 1})));
    let (none, end) = replay(&service, json!({"after": 10, "waitSeconds": 1})).await;
    assert_eq!((none, &end["examined"]), (vec![], &json!(10)), "nothing came");
    let (some, _) = replay(&service, json!({"after": 8, "waitSeconds": 30})).await;
    assert_eq!(some, [10], "who gets something does not wait");
}

#[tokio::test]
async fn a_replay_that_fails_ends_with_the_problem_and_not_with_its_end() {
    let (_, service) = service(Log { head: 8.into(), fails_at: Some(5), ..Log::default() }, Limits::default());
    let replies = ask(&service, request("switchback.events.replay", "", &[])).await;
    let (headers, problem) = replies.last().unwrap();
    assert_eq!((replies.len(), &problem["status"]), (3, &json!(500)), "2, 4, and why not more");
    assert_eq!(get(headers, "Switchback-Replay"), "");
    assert_eq!(service.in_flight(), 0);
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_next_request_is_served() {
    let (_, service) = log(0);
    for request in [
        request("switchback.cmd.CreateZone", r#"{"name":"panic"}"#, &[]),
        request("switchback.query.GetAuditHead", "", &[]),
    ] {
        let (_, problem) = one(&service, request).await;
        assert_eq!((&problem["status"], &problem["code"]), (&json!(500), &json!("SYS.1000")));
    }
    let (_, reply) = one(&service, request("switchback.cmd.CreateZone", r#"{"name":"z"}"#, &[])).await;
    assert_eq!(reply["position"], 7);
    assert_eq!(service.in_flight(), 0);
}

#[tokio::test]
async fn too_many_are_told_to_come_again_and_too_large_is_refused() {
    let gate = Arc::new(Semaphore::new(0));
    let bus = Log { gate: Some(gate.clone()), ..Log::default() };
    let (log, service) = service(bus, Limits { body: 100, ..Limits::default() });
    let service = Arc::new(Arc::into_inner(service).unwrap().with_in_flight(InFlight::new(1)));
    let create = || request("switchback.cmd.CreateZone", r#"{"name":"z"}"#, &[]);
    let mut first = service.clone().answer(create());
    assert!(futures_util::poll!(first.next()).is_pending());
    let (headers, problem) = one(&service, create()).await;
    assert_eq!((&problem["status"], get(&headers, "Retry-After")), (&json!(429), "1"));
    gate.add_permits(1);
    assert!(first.next().await.is_some());
    drop(first);
    let large = format!("{{\"name\":\"{}\"}}", "z".repeat(100));
    let (_, problem) = one(&service, request("switchback.cmd.CreateZone", &large, &[])).await;
    assert_eq!(problem["errors"][0]["field"], "body", "{problem}");
    assert_eq!(log.carried_out.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_command_goes_on_when_nobody_waits_for_it_any_more() {
    let gate = Arc::new(Semaphore::new(0));
    let limits = Limits { answer_time: Duration::from_millis(50), ..Limits::default() };
    let (log, service) = service(Log { gate: Some(gate.clone()), ..Log::default() }, limits);
    let create = || request("switchback.cmd.CreateZone", r#"{"name":"z"}"#, &[]);
    let (_, problem) = one(&service, create()).await;
    assert_eq!((&problem["status"], &problem["code"]), (&json!(504), &json!("SYS.1001")), "{problem}");
    let mut gone = service.clone().answer(create());
    assert!(futures_util::poll!(gone.next()).is_pending());
    drop(gone);
    gate.add_permits(2);
    while log.carried_out.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
}
