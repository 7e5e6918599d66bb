//! The gateway before a bus that answers what the test wants: every route, every status, every header, and
//! requests that mean harm.

use actix_web::{
    App,
    body::to_bytes,
    dev::{Service, ServiceResponse},
    http::{Method, StatusCode, header},
    test::{self, TestRequest},
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use switchback_bus::{
    Blocker, Bus, CommandReply, CommandRequest, EventStream, EventsRequest, InFlight, LogCopy, LogForm, QueryReply,
    QueryRequest, Refusal, RefusalKind, ReplyEvent, Wait, message,
};
use switchback_events::{AccountId, CommandId, Id, Origin, Position};
use switchback_gateway::{Caller, Credentials, FixedTokens, Gateway, Limits, Options, Tokens, serve};

#[derive(Default)]
struct FakeBus {
    commands: Mutex<Vec<CommandRequest>>,
    queries: Mutex<Vec<QueryRequest>>,
    reads: Mutex<Vec<(String, Value)>>,
    refusal: Mutex<Option<Refusal>>,
    broken: bool,
    /// Commands with the reason `wait` wait for it.
    gate: tokio::sync::Notify,
}

#[async_trait]
impl Bus for FakeBus {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        request.caller.may_send(message(&request.name)?)?;
        self.refused().await?;
        assert_ne!(request.reason.as_deref(), Some("panic"), "asked to");
        if request.reason.as_deref() == Some("wait") {
            self.gate.notified().await;
        }
        let command_id = request.command_id.unwrap_or_default();
        self.commands.lock().unwrap().push(request);
        Ok(CommandReply {
            command_id,
            position: 7,
            version: 2,
            applied: true,
            inventory: Some(json!({"uuid": Id::NIL})),
            inventories: None,
            events: vec![ReplyEvent {
                position: 7,
                stream: format!("zone/{}", Id::NIL),
                version: 2,
                kind: "zone.Updated".to_string(),
                payload: None,
            }],
            routers: vec![],
        })
    }

    async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        caller.may_send(message(&request.name)?)?;
        self.refused().await?;
        assert!(!request.q.iter().any(|q| q == "panic"), "asked to");
        self.queries.lock().unwrap().push(request);
        Ok(QueryReply { inventories: json!([{"name": "z"}]).to_string(), total: Some(1), position: 9 })
    }

    async fn read(&self, caller: &Caller, name: &str, parameters: Value) -> Result<Value, Refusal> {
        caller.may_send(message(name)?)?;
        self.refused().await?;
        self.reads.lock().unwrap().push((name.to_string(), parameters));
        Ok(json!({"events": [{"position": 1}, {"position": 2}], "position": 11}))
    }

    async fn events(&self, _: &Caller, _: EventsRequest) -> Result<EventStream, Refusal> {
        Err(Refusal::not_supported("the event stream"))
    }

    async fn head(&self) -> Position {
        0
    }

    async fn log(&self, caller: &Caller, _: LogForm, _: Position) -> Result<LogCopy, Refusal> {
        caller.must_be_admin("the log")?;
        Err(Refusal::not_supported("a copy of the log"))
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        let log = if self.broken { Err("read only".to_string()) } else { Ok("at 7".to_string()) };
        vec![("journal".to_string(), log), ("projections".to_string(), Ok("at 7".to_string()))]
    }
}

impl FakeBus {
    async fn refused(&self) -> Result<(), Refusal> {
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// An administrator, and an account that is none.
struct TwoTokens;

impl Tokens for TwoTokens {
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal> {
        let bob = Caller::new("bob", AccountId(Id::of_name("bob")), false);
        match given {
            Credentials::Token("bobs") => Ok(bob),
            given => FixedTokens::new([("secret", "admin")]).caller(given),
        }
    }
}

fn gateway(bus: &Arc<FakeBus>) -> Gateway {
    Gateway::new(bus.clone(), Arc::new(TwoTokens))
}

struct Answer {
    status: StatusCode,
    headers: header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// It is a whole problem with this status and code.
    fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        for member in ["type", "title", "detail"] {
            assert!(body[member].is_string(), "{member} of {body}");
        }
        assert_eq!(body["status"], status);
        assert_eq!(body["code"], code);
        body
    }
}

/// Asks an application around `bus`, with the token.
async fn ask(bus: &Arc<FakeBus>, request: TestRequest) -> Answer {
    ask_as(bus, request.insert_header(("Authorization", "Bearer secret"))).await
}

async fn ask_as(bus: &Arc<FakeBus>, request: TestRequest) -> Answer {
    ask_of(&gateway(bus), request).await
}

async fn ask_of(gateway: &Gateway, request: TestRequest) -> Answer {
    let app = test::init_service(App::new().configure(|config| gateway.configure(config))).await;
    let response = match app.call(request.to_request()).await {
        Ok(response) => response,
        Err(error) => {
            ServiceResponse::new(TestRequest::default().to_http_request(), error.as_response_error().error_response())
                .map_into_boxed_body()
        }
    };
    let status = response.status();
    let headers = response.headers().clone();
    let text = String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap();
    Answer { status, headers, text }
}

fn command(name: &str, body: Value) -> TestRequest {
    TestRequest::post().uri(&format!("/v1/commands/{name}")).set_json(body)
}

#[actix_web::test]
async fn a_command_goes_to_the_bus_with_all_its_headers() {
    let bus = Arc::new(FakeBus::default());
    let key = Id::of_name("key");
    let request = TestRequest::post()
        .uri("/v1/commands/UpdateZone?dryRun=true&wait=durable")
        .insert_header(("Idempotency-Key", key.to_string()))
        .insert_header(("X-Reason", "größer"))
        .insert_header(("If-Match", "\"5\""))
        .set_json(json!({"uuid": Id::NIL, "name": "z"}));
    let answer = ask(&bus, request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-switchback-position"), "7");
    assert_eq!(answer.header("etag"), "\"2\"");
    let body = answer.json();
    assert_eq!(body["commandId"], key.to_string());
    assert_eq!(body["events"][0]["kind"], "zone.Updated");
    assert_eq!(body["applied"], true);

    let asked = bus.commands.lock().unwrap()[0].clone();
    assert_eq!(asked.name, "UpdateZone");
    assert_eq!(asked.parameters, json!({"uuid": Id::NIL, "name": "z"}));
    assert_eq!(asked.command_id, Some(CommandId(key)));
    assert_eq!(asked.caller.name, "admin");
    assert_eq!(asked.origin, Origin::Api);
    assert_eq!(asked.reason.as_deref(), Some("größer"));
    assert_eq!(asked.if_match, Some(5));
    assert!(asked.dry_run);
    assert_eq!(asked.wait, Wait::Durable);
}

#[actix_web::test]
async fn a_router_is_replaced_by_a_route_of_its_own_as_by_the_command() {
    let bus = Arc::new(FakeBus::default());
    let [router, host] = ["router", "host"].map(|name| Id::of_name(name).to_string());
    let uri = format!("/v1/routers/{router}/replace");
    let key = Id::of_name("key");
    let elsewhere = TestRequest::post().uri(&format!("{uri}?dryRun=true&wait=durable"));
    let elsewhere = elsewhere.insert_header(("Idempotency-Key", key.to_string())).insert_header(("X-Reason", "why"));
    let elsewhere = elsewhere.insert_header(("If-Match", "5")).set_json(json!({"hostUuid": host}));
    let answer = ask(&bus, elsewhere).await;
    assert_eq!((answer.status, answer.json()["commandId"].clone()), (StatusCode::OK, json!(key)), "{}", answer.text);
    let asked = bus.commands.lock().unwrap().pop().unwrap();
    assert_eq!(asked.name, "ReplaceVirtualRouter");
    assert_eq!(asked.parameters, json!({"vmInstanceUuid": router, "hostUuid": host}));
    assert_eq!(
        (asked.command_id, asked.reason.as_deref(), asked.if_match),
        (Some(CommandId(key)), Some("why"), Some(5))
    );
    assert_eq!((asked.dry_run, asked.wait, asked.caller.name.as_str()), (true, Wait::Durable, "admin"));

    assert_eq!(ask(&bus, TestRequest::post().uri(&uri)).await.status, 200);
    let asked = bus.commands.lock().unwrap().pop().unwrap();
    assert_eq!(asked.parameters, json!({"vmInstanceUuid": router}));

    let twice = TestRequest::post().uri(&uri).set_json(json!({"vmInstanceUuid": host}));
    let problem = ask(&bus, twice).await.problem(400, "SYS.1007");
    assert_eq!(problem["errors"][0]["pointer"], "/vmInstanceUuid");
    let unknown = TestRequest::post().uri(&format!("{uri}?hostUuid={host}"));
    assert_eq!(ask(&bus, unknown).await.problem(400, "SYS.1007")["errors"][0]["pointer"], "/hostUuid");
    assert!(bus.commands.lock().unwrap().is_empty());

    let document = ask(&bus, TestRequest::get().uri("/openapi.json")).await.json();
    let operation = &document["paths"]["/v1/routers/{uuid}/replace"]["post"];
    let command = &document["paths"]["/v1/commands/ReplaceVirtualRouter"]["post"];
    let schema = |operation: &Value| operation["requestBody"]["content"]["application/json"]["schema"].clone();
    assert_eq!(schema(operation)["properties"]["hostUuid"], schema(command)["properties"]["hostUuid"]);
    assert!(schema(command)["properties"]["vmInstanceUuid"].is_object());
    assert_eq!(schema(operation)["properties"]["vmInstanceUuid"], json!(null));
    assert_eq!(operation["responses"], command["responses"]);
    let places: Vec<&Value> = operation["parameters"].as_array().unwrap().iter().map(|own| &own["in"]).collect();
    assert_eq!(places.iter().filter(|place| **place == "path").count(), 1, "{places:?}");
}

#[actix_web::test]
async fn what_is_not_said_is_as_usual() {
    let bus = Arc::new(FakeBus::default());
    let cases = [
        ("/v1/commands/CreateZone", None, Wait::Applied, false),
        ("/v1/commands/CreateZone?wait=applied&dryRun=false", None, Wait::Applied, false),
        ("/v1/commands/CreateZone", Some(("Prefer", "return=minimal")), Wait::Applied, false),
        ("/v1/commands/CreateZone?dryRun", None, Wait::Applied, true),
    ];
    for (uri, header, wait, dry_run) in cases {
        let mut request = TestRequest::post().uri(uri);
        if let Some(header) = header {
            request = request.insert_header(header);
        }
        assert_eq!(ask(&bus, request).await.status, 200, "{uri}");
        let asked = bus.commands.lock().unwrap().pop().unwrap();
        assert_eq!((asked.wait, asked.dry_run), (wait, dry_run), "{uri}");
        assert_eq!((asked.command_id, asked.reason, asked.if_match), (None, None, None));
        assert_eq!(asked.parameters, json!({}));
    }
}

#[actix_web::test]
async fn a_key_that_is_no_id_is_hashed_and_the_command_line_is_an_origin() {
    let bus = Arc::new(FakeBus::default());
    let request = command("CreateZone", json!({"name": "z"}))
        .insert_header(("Idempotency-Key", "deploy 17"))
        .insert_header(("User-Agent", "switchback-cli/0.1.0"));
    assert_eq!(ask(&bus, request).await.json()["commandId"], Id::of_name("deploy 17").to_string());
    assert_eq!(bus.commands.lock().unwrap()[0].origin, Origin::Cli);
}

#[actix_web::test]
async fn every_kind_of_refusal_has_its_status() {
    let cases = [
        (RefusalKind::Invalid, 400),
        (RefusalKind::Unauthenticated, 401),
        (RefusalKind::Forbidden, 403),
        (RefusalKind::NotFound, 404),
        (RefusalKind::Conflict, 409),
        (RefusalKind::StaleVersion, 412),
        (RefusalKind::OtherBody, 422),
        (RefusalKind::Busy, 429),
        (RefusalKind::Internal, 500),
        (RefusalKind::NotSupported, 501),
        (RefusalKind::Backend, 502),
        (RefusalKind::ReadOnly, 503),
        (RefusalKind::Timeout, 504),
    ];
    let bus = Arc::new(FakeBus::default());
    for (kind, status) in cases {
        let mut refusal = Refusal::new(kind, "X.1", "because").hint("do this").blockers(vec![Blocker {
            resource_type: "cluster".to_string(),
            uuid: Id::NIL,
            name: "c".to_string(),
        }]);
        refusal.field = Some("l3NetworkUuids[1]".to_string());
        refusal.current_version = Some(4);
        *bus.refusal.lock().unwrap() = Some(refusal);
        let key = Id::of_name("k");
        let request = command("CreateZone", json!({})).insert_header(("Idempotency-Key", key.to_string()));
        let answer = ask(&bus, request).await;
        let problem = answer.problem(status, "X.1");
        assert_eq!(problem["detail"], "because");
        assert_eq!(problem["errors"][0]["pointer"], "/l3NetworkUuids/1");
        assert_eq!(problem["blockers"][0], json!({"resourceType": "cluster", "uuid": Id::NIL, "name": "c"}));
        assert_eq!(problem["hint"], "do this");
        assert_eq!(problem["commandId"], key.to_string());
        assert_eq!(problem["currentVersion"], 4);
        assert_eq!(answer.headers.contains_key("retry-after"), matches!(status, 429 | 503), "{status}");
        ask(&bus, TestRequest::get().uri("/v1/queries/QueryZone")).await.problem(status, "X.1");
        ask(&bus, TestRequest::get().uri("/v1/audit/head")).await.problem(status, "X.1");
    }
}

#[actix_web::test]
async fn a_query_takes_its_parameters_from_the_url() {
    let bus = Arc::new(FakeBus::default());
    let uri = "/v1/queries/QueryVirtualRouterVm?q=vmNics.mac=fa:00&q=name!%3Dx&fields=uuid,name&fields=state\
               &sort=+name&groupBy=state&start=5&limit=10&count=true&replyWithCount&at=2026-11-20T10:00:00+02:00&minPosition=3";
    let answer = ask(&bus, TestRequest::get().uri(uri)).await;
    assert_eq!(answer.json(), json!({"inventories": [{"name": "z"}], "total": 1, "position": 9}));
    assert_eq!(answer.header("x-switchback-position"), "9");
    let asked = bus.queries.lock().unwrap().pop().unwrap();
    assert_eq!(
        asked,
        QueryRequest {
            name: "QueryVirtualRouterVm".to_string(),
            q: vec!["vmNics.mac=fa:00".to_string(), "name!=x".to_string()],
            fields: vec!["uuid".to_string(), "name".to_string(), "state".to_string()],
            sort: Some("+name".to_string()),
            group_by: Some("state".to_string()),
            start: 5,
            limit: Some(10),
            count: true,
            reply_with_count: true,
            at: Some("2026-11-20T10:00:00+02:00".to_string()),
            min_position: Some(3),
        }
    );
    ask(&bus, TestRequest::get().uri("/v1/queries/QueryZone")).await;
    let asked = bus.queries.lock().unwrap().pop().unwrap();
    assert_eq!(asked, QueryRequest { name: "QueryZone".to_string(), ..QueryRequest::default() });
}

#[actix_web::test]
async fn the_order_of_a_query_is_said_in_one_of_two_ways() {
    let bus = Arc::new(FakeBus::default());
    for (given, sort) in [
        ("sort=-name", Some("-name")),
        ("sort=name", Some("name")),
        ("sortBy=name", Some("name")),
        ("sortBy=name&sortDirection=asc", Some("+name")),
        ("sortBy=name&sortDirection=desc", Some("-name")),
        ("sort=name&sortDirection=desc", Some("-name")),
        ("sortDirection=asc", None),
        ("sort=&sortBy=&sortDirection=", None),
    ] {
        let answer = ask(&bus, TestRequest::get().uri(&format!("/v1/queries/QueryZone?{given}"))).await;
        assert_eq!(answer.status, 200, "{given}");
        assert_eq!(bus.queries.lock().unwrap().pop().unwrap().sort.as_deref(), sort, "{given}");
    }
    for (given, field, value) in [
        ("sort=name&sortBy=state", "sortBy", "state"),
        ("sort=-name&sortDirection=asc", "sortDirection", "asc"),
        ("sortDirection=desc", "sortDirection", "desc"),
        ("sortBy=name&sortDirection=up", "sortDirection", "up"),
    ] {
        let answer = ask(&bus, TestRequest::get().uri(&format!("/v1/queries/QueryZone?{given}"))).await;
        let problem = answer.problem(400, "SYS.1007");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("{field} = `{value}`")), "{problem}");
    }
    assert!(bus.queries.lock().unwrap().is_empty());
}

#[actix_web::test]
async fn other_reads_and_the_routes_of_their_own_are_coerced_by_the_catalogue() {
    let bus = Arc::new(FakeBus::default());
    let router = Id::of_name("router").to_string();
    let cases = [
        (
            format!("/v1/queries/GetFreeIp?l3NetworkUuid={router}&limit=-1&start=10.0.0.1&minPosition=4"),
            "GetFreeIp",
            json!({"l3NetworkUuid": router, "limit": -1, "start": "10.0.0.1"}),
        ),
        (
            format!("/v1/events?after=3&limit=5&resource={router}&kind=zone.Created&principal=admin&newest=true"),
            "GetEvents",
            json!({"after": 3, "limit": 5, "resource": router, "kind": "zone.Created", "principal": "admin",
                "newest": true}),
        ),
        (
            "/v1/events?since=2026-11-20T10:00:00+02:00&until=".to_string(),
            "GetEvents",
            json!({"since": "2026-11-20T10:00:00+02:00"}),
        ),
        (format!("/v1/routers/{router}/config?at=12"), "GetVirtualRouterConfig", json!({"uuid": router, "at": "12"})),
        (
            format!("/v1/routers/{router}/diff?from=1&to=2"),
            "GetVirtualRouterDiff",
            json!({"uuid": router, "from": "1", "to": "2"}),
        ),
        (
            format!("/v1/routers/{router}/explain?src=10.0.0.9&dst=fd00::1&proto=tcp&dport=80&from=eth1&at=7"),
            "GetVirtualRouterExplanation",
            json!({"uuid": router, "src": "10.0.0.9", "dst": "fd00::1", "proto": "tcp", "dport": 80, "from": "eth1", "at": "7"}),
        ),
        (format!("/v1/routers/{router}/drift"), "GetVirtualRouterDrift", json!({"uuid": router})),
        (format!("/v1/routers/{router}/counters"), "GetVirtualRouterCounters", json!({"uuid": router})),
        ("/v1/audit/head".to_string(), "GetAuditHead", json!({})),
        ("/v1/audit/verify".to_string(), "VerifyAudit", json!({})),
    ];
    for (uri, name, parameters) in cases {
        let answer = ask(&bus, TestRequest::get().uri(&uri)).await;
        assert_eq!(answer.status, 200, "{uri}: {}", answer.text);
        assert_eq!(answer.header("x-switchback-position"), "11");
        assert_eq!(bus.reads.lock().unwrap().pop().unwrap(), (name.to_string(), parameters), "{uri}");
    }
}

#[actix_web::test]
async fn bad_requests_are_problems_that_name_what_is_wrong() {
    let bus = Arc::new(FakeBus::default());
    let get = |uri: &str| TestRequest::get().uri(uri);
    let create = || TestRequest::post().uri("/v1/commands/CreateZone");
    let json_text = |text: &'static str| create().insert_header(("Content-Type", "application/json")).set_payload(text);
    let cases = [
        (json_text("{"), 400, "/body"),
        (json_text("[]"), 400, "/body"),
        (json_text("null"), 400, "/body"),
        (json_text("\"x\""), 400, "/body"),
        (json_text("{\"name\": \"\\ud800\"}"), 400, "/body"),
        (create().set_json(json!({})).insert_header(("Idempotency-Key", "")), 400, "/Idempotency-Key"),
        (create().insert_header(("Idempotency-Key", "x".repeat(256))), 400, "/Idempotency-Key"),
        (create().insert_header(("If-Match", "*")), 400, "/If-Match"),
        (create().insert_header(("If-Match", "\"-1\"")), 400, "/If-Match"),
        (create().insert_header(("X-Reason", "x".repeat(1025))), 400, "/X-Reason"),
        (TestRequest::post().uri("/v1/commands/CreateZone?wait=never"), 400, "/wait"),
        (TestRequest::post().uri("/v1/commands/CreateZone?dryRun=1"), 400, "/dryRun"),
        (TestRequest::post().uri("/v1/commands/CreateZone?dryrun=true"), 400, "/dryrun"),
        (get("/v1/queries/QueryZone?limit=-1"), 400, "/limit"),
        (get("/v1/queries/QueryZone?limit=18446744073709551616"), 400, "/limit"),
        (get("/v1/queries/QueryZone?limit=1&limit=2"), 400, "/limit"),
        (get("/v1/queries/QueryZone?name=x"), 400, "/name"),
        (get("/v1/queries/QueryZone?minPosition=x"), 400, "/minPosition"),
        (get("/v1/queries/GetFreeIp?limit=many"), 400, "/limit"),
        (get("/v1/queries/GetFreeIp?limt=1"), 400, "/limt"),
        (get("/v1/queries/GetFreeIp?limit=1&limit=2"), 400, "/limit"),
        (get("/v1/queries/GetFreeIp?minPosition=-1"), 400, "/minPosition"),
        (get("/v1/routers/nonsense/config"), 400, "/uuid"),
        (get("/v1/routers/00000000000000000000000000000000/diff"), 400, "/from"),
        (get("/v1/routers/00000000000000000000000000000000/drift?uuid=x"), 400, "/uuid"),
        (get("/v1/events?limit=0"), 400, "/limit"),
        (get("/readyz?loud"), 400, "/loud"),
    ];
    for (request, status, pointer) in cases {
        let answer = ask(&bus, request).await;
        assert_eq!(answer.problem(status, "SYS.1007")["errors"][0]["pointer"], pointer, "{}", answer.text);
    }
    assert!(bus.commands.lock().unwrap().is_empty() && bus.reads.lock().unwrap().is_empty());
    let hint = |answer: &Answer| answer.json()["hint"].as_str().unwrap().to_string();
    assert_eq!(hint(&ask(&bus, get("/v1/queries/QueryZone?name=x")).await), "a condition is given as q=name=x");
    let answer = ask(&bus, TestRequest::post().uri("/v1/commands/CreateZone?dryrun=true")).await;
    assert_eq!(hint(&answer), "did you mean dryRun?");
}

#[actix_web::test]
async fn what_is_not_there_is_404_and_so_is_what_only_the_system_may_send() {
    let bus = Arc::new(FakeBus::default());
    let unknown = ask(&bus, command("CreateZon", json!({}))).await.problem(404, "SYS.1003");
    assert_eq!(unknown["hint"], "did you mean CreateZone?");
    for name in ["ReportHostStatus", "ReportApplianceStatus", "ReportVmStatus", "ReportL2Attachment"] {
        let problem = ask(&bus, command(name, json!({}))).await.problem(404, "SYS.1003");
        assert_eq!(problem["detail"], format!("there is no message `{name}`"));
    }
    let read = ask(&bus, command("QueryZone", json!({}))).await.problem(404, "SYS.1003");
    assert_eq!(read["hint"], "GET /v1/queries/QueryZone");
    let command = ask(&bus, TestRequest::get().uri("/v1/queries/CreateZone")).await.problem(404, "SYS.1003");
    assert_eq!(command["hint"], "POST /v1/commands/CreateZone");
    for uri in ["/v1", "/v2/queries/QueryZone", "/v1/commands/", "/v1/queries/QueryZone/", "/zstack/v2/zones", "//"] {
        ask(&bus, TestRequest::get().uri(uri)).await.problem(404, "SYS.1003");
    }
    assert!(bus.commands.lock().unwrap().is_empty());
}

#[actix_web::test]
async fn wrong_methods_media_types_and_sizes_are_problems() {
    let bus = Arc::new(FakeBus::default());
    for (method, uri, allow) in [
        (Method::GET, "/v1/commands/CreateZone", "POST"),
        (Method::DELETE, "/v1/queries/QueryZone", "GET"),
        (Method::GET, "/v1/routers/00000000000000000000000000000000/replace", "POST"),
        (Method::POST, "/v1/events", "GET"),
        (Method::PUT, "/healthz", "GET"),
    ] {
        let answer = ask(&bus, TestRequest::default().method(method).uri(uri)).await;
        answer.problem(405, "SYS.1007");
        assert_eq!(answer.header("allow"), allow);
    }
    let form = command("CreateZone", json!({})).insert_header(("Content-Type", "application/x-www-form-urlencoded"));
    ask(&bus, form).await.problem(415, "SYS.1007");
    let big = command("CreateZone", json!({"name": "x".repeat(1 << 20)}));
    ask(&bus, big).await.problem(413, "SYS.1007");
    let deep = "[".repeat(100_000);
    let deep = TestRequest::post().uri("/v1/commands/CreateZone").set_payload(deep);
    ask(&bus, deep).await.problem(400, "SYS.1007");
}

#[actix_web::test]
async fn nobody_comes_in_without_a_token() {
    let bus = Arc::new(FakeBus::default());
    let closed = ["/", "/v1/queries/QueryZone", "/v1/events", "/v1/audit/head", "/metrics", "/nothing"];
    for uri in closed {
        for token in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic secret", "secret", "Bearersecret"] {
            let request = TestRequest::get().uri(uri).insert_header(("Authorization", token));
            let answer = ask_as(&bus, request).await;
            answer.problem(401, "ID.1002");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
        ask_as(&bus, TestRequest::get().uri(uri)).await.problem(401, "ID.1002");
    }
    ask_as(&bus, command("CreateZone", json!({"name": "z"}))).await.problem(401, "ID.1002");
    for uri in ["/healthz", "/readyz", "/readyz?verbose", "/openapi.json", "/asyncapi.json"] {
        assert_eq!(ask_as(&bus, TestRequest::get().uri(uri)).await.status, 200);
    }
    let bearer = TestRequest::get().uri("/").insert_header(("Authorization", "bearer secret"));
    assert_eq!(ask_as(&bus, bearer).await.json()["name"], "switchback");
}

#[actix_web::test]
async fn readiness_names_the_component_that_is_not() {
    let answer = ask_as(&Arc::new(FakeBus::default()), TestRequest::get().uri("/readyz")).await;
    assert_eq!(answer.json(), json!({"status": "ready"}));
    let broken = Arc::new(FakeBus { broken: true, ..FakeBus::default() });
    let answer = ask_as(&broken, TestRequest::get().uri("/readyz?verbose")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.json()["components"]["journal"], json!({"ready": false, "detail": "read only"}));
    assert_eq!(answer.json()["components"]["projections"]["ready"], true);
    let plain = TestRequest::get().uri("/readyz?verbose").insert_header(("Accept", "text/plain"));
    let plain = ask_as(&broken, plain).await;
    assert_eq!((plain.status.as_u16(), plain.header("content-type")), (503, "text/plain; charset=utf-8"));
    assert_eq!(plain.text, "[-] journal: read only\n[+] projections: at 7\nnot ready\n");
}

#[actix_web::test]
async fn who_does_not_want_to_wait_gets_a_job_to_ask_for() {
    let bus = Arc::new(FakeBus::default());
    let gateway = gateway(&bus);
    let send = async |reason: &'static str, key: &'static str| {
        let request = command("CreateZone", json!({"name": "z"})).insert_header(("Prefer", "respond-async; x, wait=3"));
        let request = request.insert_header(("Idempotency-Key", key)).insert_header(("X-Reason", reason));
        ask_of(&gateway, request.insert_header(("Authorization", "Bearer secret"))).await
    };
    let poll = async |job: &str, token: &'static str| {
        ask_of(&gateway, TestRequest::get().uri(job).insert_header(("Authorization", token))).await
    };
    let accepted = send("wait", "one").await;
    let job = format!("/v1/jobs/{}", Id::of_name("one"));
    assert_eq!((accepted.status.as_u16(), accepted.header("location")), (202, job.as_str()));
    assert_eq!((accepted.header("preference-applied"), accepted.header("retry-after")), ("respond-async", "1"));
    assert_eq!(accepted.json(), json!({"commandId": Id::of_name("one"), "location": job}));
    let running = poll(&job, "Bearer secret").await;
    assert_eq!((running.status.as_u16(), running.json()), (202, accepted.json()));
    poll(&job, "Bearer bobs").await.problem(404, "SYS.1003");
    poll("/v1/jobs/x", "Bearer secret").await.problem(404, "SYS.1003");
    poll(&format!("{job}?at=3"), "Bearer secret").await.problem(400, "SYS.1007");
    let ended = async |job: &str| loop {
        bus.gate.notify_waiters();
        match poll(job, "Bearer secret").await {
            running if running.status == 202 => tokio::task::yield_now().await,
            ended => break ended,
        }
    };
    let answer = ended(&job).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"2\""));
    assert_eq!(answer.json()["commandId"], Id::of_name("one").to_string());
    // How it failed is how it is answered.
    *bus.refusal.lock().unwrap() = Some(Refusal::operation("no"));
    assert_eq!(send("", "two").await.status, 202);
    let problem = ended(&format!("/v1/jobs/{}", Id::of_name("two"))).await.problem(409, "SYS.1006");
    assert_eq!(problem["commandId"], Id::of_name("two").to_string());
}

#[actix_web::test]
async fn requests_that_take_too_long_or_are_too_many_are_told_so() {
    let bus = Arc::new(FakeBus::default());
    let limits = Limits { answer_time: std::time::Duration::from_millis(1), ..Limits::default() };
    let hanging = command("CreateZone", json!({"name": "z"})).insert_header(("X-Reason", "wait"));
    let hanging = hanging.insert_header(("Authorization", "Bearer secret"));
    let late = ask_of(&gateway(&bus).with_limits(limits), hanging).await.problem(504, "SYS.1001");
    assert!(late["hint"].as_str().unwrap().contains("Idempotency-Key"), "{late}");
    let full = gateway(&bus).with_in_flight(InFlight::new(0));
    let read = || TestRequest::get().uri("/v1/queries/QueryZone").insert_header(("Authorization", "Bearer secret"));
    let answer = ask_of(&full, read()).await;
    answer.problem(503, "SYS.1100");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(ask_of(&full, TestRequest::get().uri("/healthz")).await.status, 200, "who looks after it is answered");
    let small = gateway(&bus).with_limits(Limits { body: 8, ..Limits::default() });
    let large = command("CreateZone", json!({"name": "zone"})).insert_header(("Authorization", "Bearer secret"));
    ask_of(&small, large).await.problem(413, "SYS.1007");
}

#[actix_web::test]
async fn what_is_measured_is_for_administrators_unless_told_otherwise() {
    let bus = Arc::new(FakeBus::default());
    let gateway = gateway(&bus);
    let metrics = || TestRequest::get().uri("/metrics");
    ask_of(&gateway, metrics()).await.problem(401, "ID.1002");
    ask_of(&gateway, metrics().insert_header(("Authorization", "Bearer bobs"))).await.problem(403, "ID.1001");
    let shown = ask_of(&gateway, metrics().insert_header(("Authorization", "Bearer secret"))).await;
    assert_eq!(shown.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "switchback_http_requests_total{route=\"/metrics\",method=\"GET\",status=\"401\"} 1",
        "switchback_http_requests_total{route=\"/metrics\",method=\"GET\",status=\"403\"} 1",
        "switchback_jobs 0",
        "switchback_http_requests_in_flight 0",
    ] {
        assert!(shown.text.lines().any(|shown| shown == line), "{line}\n{}", shown.text);
    }
    let open = gateway.with_open_metrics(true).with_in_flight(InFlight::new(0));
    assert_eq!(ask_of(&open, metrics()).await.status, 200);
}

#[actix_web::test]
async fn the_viewer_is_a_page_that_asks_nobody_else() {
    let bus = Arc::new(FakeBus::default());
    let page = ask_as(&bus, TestRequest::get().uri("/docs")).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");
    assert!(!page.text.contains("://"), "all of it is here: {}", page.text);
    let script = page.text.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let gateway = gateway(&bus);
    let app = test::init_service(App::new().configure(|config| gateway.configure(config))).await;
    let answer = app.call(TestRequest::get().uri(script).to_request()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().get("content-encoding").unwrap().as_bytes()),
        (200, &b"gzip"[..])
    );
    let bytes = to_bytes(answer.into_body()).await.unwrap();
    assert!(bytes.len() > 100_000 && bytes.starts_with(&[0x1f, 0x8b]));
}

#[actix_web::test]
async fn a_panic_is_an_answer() {
    let bus = Arc::new(FakeBus::default());
    let request = command("CreateZone", json!({"name": "z"})).insert_header(("X-Reason", "panic"));
    ask(&bus, request).await.problem(500, "SYS.1000");
    ask(&bus, TestRequest::get().uri("/v1/queries/QueryZone?q=panic")).await.problem(500, "SYS.1000");
    assert_eq!(ask(&bus, TestRequest::get().uri("/v1/queries/QueryZone")).await.status, 200);
}

#[actix_web::test]
async fn bytes_that_are_no_request_do_not_end_the_server() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bus = Arc::new(FakeBus::default());
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), workers: 1, ..Options::default() };
    let listening = serve(options, gateway(&bus)).await.unwrap();
    let handle = listening.server.handle();
    let server = actix_web::rt::spawn(listening.server);
    let send = async |bytes: &[u8]| {
        let mut stream = tokio::net::TcpStream::connect(listening.addresses[0]).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).to_string()
    };
    let head = "Host: x\r\nAuthorization: Bearer secret\r\n";
    let hostile: Vec<Vec<u8>> = vec![
        b"\x00\xff\x16\x03\x01\r\n\r\n".to_vec(),
        b"GET".to_vec(),
        format!(
            "POST /v1/commands/CreateZone HTTP/1.1\r\n{head}Content-Length: 3000000\r\n\r\n{}",
            " ".repeat(3_000_000)
        )
        .into(),
        format!("GET /{} HTTP/1.1\r\n{head}\r\n", "a".repeat(200_000)).into_bytes(),
        format!("GET /%00%ff%2e%2e/..%2f..%2fetc/passwd HTTP/1.1\r\n{head}\r\n").into_bytes(),
        format!("GET /v1/queries/QueryZone?q=%ff%fe%00&q=%zz HTTP/1.1\r\n{head}\r\n").into_bytes(),
        format!("POST /v1/commands/CreateZone HTTP/1.1\r\n{head}Content-Length: 99999999999999999999\r\n\r\n").into(),
        format!("POST /v1/commands/CreateZone HTTP/1.1\r\n{head}Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").into(),
        format!("POST /v1/commands/CreateZone HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n").into(),
        format!("POST /v1/commands/CreateZone HTTP/1.1\r\n{head}X-Reason: \u{1}\r\n\r\n").into(),
        format!("POST /v1/commands/%F0%28%8C%28 HTTP/1.1\r\n{head}\r\n").into_bytes(),
        [format!("POST /v1/commands/CreateZone HTTP/1.1\r\n{head}X-Reason: ").as_bytes(), b"\xff\xfe\r\n\r\n"].concat(),
        format!("POST /v1/commands/CreateZone HTTP/1.1\r\n{head}Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n").into(),
    ];
    for bytes in hostile {
        let answer = send(&bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert!(bus.commands.lock().unwrap().is_empty());
    let answer = send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    handle.stop(false).await;
    server.await.unwrap().unwrap();
}

#[actix_web::test]
async fn an_account_that_is_no_administrator_sends_what_is_for_accounts_and_nothing_else() {
    let bus = Arc::new(FakeBus::default());
    let bob = |request: TestRequest| ask_as(&bus, request.insert_header(("Authorization", "OAuth bobs")));
    for path in ["/v1/events", "/v1/queries/QueryGlobalConfig", "/v1/audit/export", "/v1/audit/head", "/v2"] {
        let problem = bob(TestRequest::get().uri(path)).await.problem(403, "ID.1001");
        assert!(problem["detail"].as_str().unwrap().contains("`bob`"), "{problem}");
    }
    bob(command("CreateZone", json!({"name": "z"}))).await.problem(403, "ID.1001");
    assert!(bus.commands.lock().unwrap().is_empty());
    for path in ["/", "/v1/queries/QueryZone", "/v1/queries/GetL3NetworkTypes"] {
        assert_eq!(bob(TestRequest::get().uri(path)).await.status, 200, "{path}");
    }
    assert_eq!(bob(command("UpdateAccount", json!({"uuid": Id::NIL, "name": "rob"}))).await.status, 200);
    let asked = bus.commands.lock().unwrap()[0].caller.clone();
    assert_eq!((asked.name.as_str(), asked.account, asked.admin), ("bob", Some(AccountId(Id::of_name("bob"))), false));
}

#[actix_web::test]
async fn who_logs_in_needs_no_token_and_a_session_speaks_for_itself() {
    let bus = Arc::new(FakeBus::default());
    for name in ["LogInByAccount", "LogOut"] {
        assert_eq!(ask_as(&bus, command(name, json!({}))).await.status, 200);
    }
    let valid = format!("/v1/queries/ValidateSession?sessionUuid={}", Id::NIL);
    assert_eq!(ask_as(&bus, TestRequest::get().uri(&valid)).await.status, 200);
    let stale = command("LogOut", json!({})).insert_header(("Authorization", "OAuth stale"));
    assert_eq!(ask_as(&bus, stale).await.status, 200);
    assert!(bus.commands.lock().unwrap().iter().all(|command| command.caller.name == "system:log-in"));
    for near in ["/v1/commands/LogInByAccounts", "/v1/commands/LogInByAccount/"] {
        ask_as(&bus, TestRequest::get().uri(near)).await.problem(401, "ID.1002");
    }
    let busy = Refusal::new(RefusalKind::Busy, "SYS.1100", "too many");
    *bus.refusal.lock().unwrap() = Some(Refusal { retry_after_secs: Some(55), ..busy });
    assert_eq!(ask_as(&bus, command("LogInByAccount", json!({}))).await.header("retry-after"), "55");
}
