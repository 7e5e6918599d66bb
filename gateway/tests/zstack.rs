//! ZStack's routes before a bus that answers what the test wants: what arrives there, and what clients read.

use actix_web::{
    App,
    body::to_bytes,
    dev::{Service, ServiceResponse},
    http::{Method, header},
    test::{self, TestRequest},
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use switchback_bus::{
    Blocker, Bus, CommandReply, CommandRequest, EventStream, EventsRequest, LogCopy, LogForm, QueryReply, QueryRequest,
    Refusal, RefusalKind, Wait,
};
use switchback_events::{ADMIN_ACCOUNT, AccountId, CommandId, Id, Position};
use switchback_gateway::{Caller, Credentials, Gateway, Tokens};
use tokio::sync::Semaphore;

const TIME: &str = "2026-11-20T17:54:12.5Z";
const THEIR_TIME: &str = "Nov 20, 2026 5:54:12 PM";

struct FakeBus {
    commands: Mutex<Vec<CommandRequest>>,
    queries: Mutex<Vec<QueryRequest>>,
    reads: Mutex<Vec<(String, Value)>>,
    refusal: Mutex<Option<Refusal>>,
    /// What commands wait for.
    gate: Semaphore,
}

#[async_trait]
impl Bus for FakeBus {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        self.commands.lock().unwrap().push(request.clone());
        assert_ne!(request.reason.as_deref(), Some("panic"), "asked to");
        let _pass = self.gate.acquire().await.unwrap();
        self.refused()?;
        let inventory = (!request.name.starts_with("Delete")).then(|| json!({"uuid": Id::NIL, "createDate": TIME}));
        Ok(CommandReply {
            command_id: request.command_id.unwrap(),
            position: 7,
            version: 2,
            applied: true,
            inventories: inventory.clone().filter(|_| request.name == "CreateSystemTags").map(|one| vec![one; 2]),
            inventory,
            events: vec![],
            routers: vec![],
        })
    }

    async fn query(&self, _: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        self.refused()?;
        let total = (request.count || request.reply_with_count).then_some(1);
        self.queries.lock().unwrap().push(request);
        Ok(QueryReply { inventories: json!([{"name": "z", "lastOpDate": TIME}]).to_string(), total, position: 9 })
    }

    async fn read(&self, _: &Caller, name: &str, parameters: Value) -> Result<Value, Refusal> {
        self.refused()?;
        self.reads.lock().unwrap().push((name.to_string(), parameters));
        Ok(json!({"mtu": 1500, "position": 11, "ipStatistics": [{"createDate": TIME}]}))
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

impl FakeBus {
    fn refused(&self) -> Result<(), Refusal> {
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

/// Two accounts of one name, of which one is there no more.
struct TwoAdministrators;

impl Tokens for TwoAdministrators {
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal> {
        let account = match given {
            Credentials::Token("secret") => ADMIN_ACCOUNT,
            Credentials::Token("other") => AccountId(Id::of_name("other")),
            _ => return Err(Caller::unknown()),
        };
        Ok(Caller::new("admin", account, true))
    }
}

/// A gateway that stays the same over several requests.
struct World {
    bus: Arc<FakeBus>,
    gateway: Gateway,
}

struct Answer {
    status: u16,
    headers: header::HeaderMap,
    body: Value,
}

impl World {
    fn new() -> World {
        let bus = Arc::new(FakeBus {
            commands: Mutex::default(),
            queries: Mutex::default(),
            reads: Mutex::default(),
            refusal: Mutex::default(),
            gate: Semaphore::new(1000),
        });
        World { gateway: Gateway::new(bus.clone(), Arc::new(TwoAdministrators)), bus }
    }

    async fn ask(&self, request: TestRequest) -> Answer {
        self.ask_as("OAuth secret", request).await
    }

    async fn ask_as(&self, authorization: &str, request: TestRequest) -> Answer {
        let app = test::init_service(App::new().configure(|config| self.gateway.configure(config))).await;
        let request = request.insert_header(("Authorization", authorization));
        let response = app.call(request.to_request()).await.unwrap_or_else(|error| {
            let request = TestRequest::default().to_http_request();
            ServiceResponse::new(request, error.as_response_error().error_response()).map_into_boxed_body()
        });
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body()).await.unwrap();
        assert_eq!(headers.get("content-type").unwrap(), "application/json");
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(TestRequest::get().uri(&format!("/zstack/v1{path}"))).await
    }

    /// The command that arrived.
    fn command(&self) -> (String, Value) {
        let asked = self.bus.commands.lock().unwrap().pop().unwrap();
        (asked.name, asked.parameters)
    }
}

impl Answer {
    fn error(&self, status: u16, code: &str) -> &Value {
        assert_eq!(self.status, status, "{}", self.body);
        let error = &self.body["error"];
        assert_eq!(error["code"], code, "{}", self.body);
        for member in ["description", "details"] {
            assert!(error[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {error}");
        }
        error
    }
}

fn send(method: Method, path: &str, body: Value) -> TestRequest {
    TestRequest::default().method(method).uri(&format!("/zstack/v1{path}")).set_json(body)
}

const ID: &str = "0123456789abcdef0123456789abcdef";

#[actix_web::test]
async fn commands_arrive_flat_and_their_replies_are_zstacks() {
    let world = World::new();
    let path = |path: &str| path.replace("ID", ID);
    let cases = [
        (
            send(
                Method::POST,
                "/zones",
                json!({"params": {"name": "z", "resourceUuid": ID, "description": "", "isDefault": false},
                    "systemTags": ["a::b"], "userTags": [], "requestIp": "10.0.0.1"}),
            ),
            "CreateZone",
            json!({"name": "z", "resourceUuid": ID, "description": "", "isDefault": false, "systemTags": ["a::b"]}),
        ),
        (
            send(Method::PUT, &path("/zones/ID/actions"), json!({"updateZone": {"name": "y", "uuid": ID}})),
            "UpdateZone",
            json!({"uuid": ID, "name": "y"}),
        ),
        (
            send(Method::PUT, &path("/zones/ID/actions"), json!({"changeZoneState": {"stateEvent": "disable"}})),
            "ChangeZoneState",
            json!({"uuid": ID, "stateEvent": "disable"}),
        ),
        (
            send(Method::PUT, &path("/vm-instances/ID/actions"), json!({"expungeVmInstance": null})),
            "ExpungeVmInstance",
            json!({"uuid": ID}),
        ),
        (
            send(Method::PUT, &path("/vm-instances/appliances/virtual-routers/ID/provision"), json!({})),
            "ProvisionVirtualRouterConfig",
            json!({"vmInstanceUuid": ID}),
        ),
        (
            send(Method::POST, &path("/l2-networks/ID/clusters/ID"), json!({})),
            "AttachL2NetworkToCluster",
            json!({"l2NetworkUuid": ID, "clusterUuid": ID}),
        ),
        (
            send(Method::POST, &path("/l3-networks/ID/mtu"), json!({"params": {"mtu": 1400}})),
            "SetL3NetworkMtu",
            json!({"l3NetworkUuid": ID, "mtu": 1400}),
        ),
        (
            // As the Go SDK writes fields that nobody set.
            send(
                Method::POST,
                "/vm-instances",
                json!({"params": {"name": "v", "l3NetworkUuids": [ID], "cpuNum": 0, "memorySize": 0, "type": "UserVm",
                    "imageUuid": "", "strategy": "InstantStart", "dataDiskSizes": [], "tagUuids": null}}),
            ),
            "CreateVmInstance",
            json!({"name": "v", "l3NetworkUuids": [ID]}),
        ),
        (
            send(Method::POST, "/instance-offerings", json!({"params": {"name": "o", "type": "UserVm", "x": ""}})),
            "CreateInstanceOffering",
            json!({"name": "o"}),
        ),
        (
            send(
                Method::PUT,
                "/global-configurations/virtualRouter/command.parallelismDegree/actions",
                json!({"updateGlobalConfig": {"value": ""}}),
            ),
            "UpdateGlobalConfig",
            json!({"category": "virtualRouter", "name": "command.parallelismDegree", "value": ""}),
        ),
    ];
    for (request, name, parameters) in cases {
        let answer = world.ask(request).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert_eq!(answer.body, json!({"inventory": {"uuid": Id::NIL, "createDate": THEIR_TIME}}));
        assert_eq!(world.command(), (name.to_string(), parameters));
    }
    let many = send(Method::POST, &path("/system-tags/ID/tags"), json!({"params": {"tags": ["a::b", "c::d"]}}));
    assert_eq!(world.ask(many).await.body["inventories"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn deletes_take_their_parameters_from_the_url_and_leave_nothing() {
    let world = World::new();
    let cases = [
        ("/zones/ID?deleteMode=Enforcing", "DeleteZone", json!({"uuid": ID, "deleteMode": "Enforcing"}), true),
        ("/zones/ID?deleteMode=", "DeleteZone", json!({"uuid": ID}), true),
        (
            "/l3-networks/ID/dns/fd00%3A%3A1?deleteMode=",
            "RemoveDnsFromL3Network",
            json!({"l3NetworkUuid": ID, "dns": "fd00::1"}),
            false,
        ),
        (
            "/vm-instances/ID/static-ips?l3NetworkUuid=ID",
            "DeleteVmStaticIp",
            json!({"vmInstanceUuid": ID, "l3NetworkUuid": ID}),
            true,
        ),
        (
            "/l3-networks/ID/ip-address?usedIpUuids=ID&usedIpUuids=ID",
            "DeleteIpAddress",
            json!({"l3NetworkUuid": ID, "usedIpUuids": [ID, ID]}),
            true,
        ),
    ];
    for (path, name, parameters, empty) in cases {
        let path = format!("/zstack/v1{}", path.replace("ID", ID));
        let answer = world.ask(TestRequest::delete().uri(&path)).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert_eq!(answer.body == json!({}), empty, "{name}");
        assert_eq!(world.command(), (name.to_string(), parameters));
    }
}

#[actix_web::test]
async fn a_command_has_an_id_and_the_headers_of_ours() {
    let world = World::new();
    let request = || send(Method::POST, "/zones", json!({"params": {"name": "z"}}));
    world.ask(request().insert_header(("Idempotency-Key", "k")).insert_header(("X-Reason", "why"))).await;
    let asked = world.bus.commands.lock().unwrap().pop().unwrap();
    assert_eq!(asked.command_id, Some(CommandId(Id::of_name("k"))));
    assert_eq!(
        (asked.reason.as_deref(), asked.caller.name.as_str(), asked.wait),
        (Some("why"), "admin", Wait::Applied)
    );
    world.ask(request()).await;
    world.ask(request()).await;
    let asked: Vec<_> = world.bus.commands.lock().unwrap().iter().map(|asked| asked.command_id.unwrap()).collect();
    assert_ne!(asked[0], asked[1]);
}

#[actix_web::test]
async fn queries_pages_and_single_ones() {
    let world = World::new();
    let answer = world.get("/zones?q=name%3Dz&q=state!=Enabled&limit=5&start=2&sort=-name&fields=name,uuid").await;
    assert_eq!(answer.body, json!({"inventories": [{"name": "z", "lastOpDate": THEIR_TIME}]}));
    let asked = world.bus.queries.lock().unwrap().pop().unwrap();
    assert_eq!(asked.q, ["name=z", "state!=Enabled"]);
    assert_eq!((asked.limit, asked.start, asked.sort.as_deref()), (Some(5), 2, Some("-name")));

    // A page, asked as the Go SDK asks for the second: with the total of the first among its parameters.
    let answer = world.get("/zones?replyWithCount=true&total=1&groupBy=&filterName=").await;
    assert_eq!(answer.body["total"], 1);
    let answer = world.get(&format!("/zones//{ID}")).await;
    assert_eq!(answer.body["inventories"].as_array().unwrap().len(), 1);
    let asked = world.bus.queries.lock().unwrap().pop().unwrap();
    assert_eq!((asked.name.as_str(), asked.q), ("QueryZone", vec![format!("uuid={ID}")]));

    world.get("/zones?groupBy=type&sortBy=name&sortDirection=desc").await;
    let asked = world.bus.queries.lock().unwrap().pop().unwrap();
    assert_eq!((asked.group_by.as_deref(), asked.sort.as_deref()), (Some("type"), Some("-name")));

    world.get("/zones?filterName=type").await.error(503, "SYS.1104");
    world.get("/zones?name=z").await.error(400, "SYS.1007");
}

#[actix_web::test]
async fn other_reads_take_their_parameters_from_path_and_url() {
    let world = World::new();
    let cases = [
        ("/l3-networks/ID/mtu", "GetL3NetworkMtu", json!({"l3NetworkUuid": ID})),
        ("/l3-networks/ID/ip/free?limit=2", "GetFreeIp", json!({"l3NetworkUuid": ID, "limit": 2})),
        ("/l3-networks/ip-ranges/ID/ip/free", "GetFreeIp", json!({"ipRangeUuid": ID})),
        (
            "/l3-networks/ID/ip/10.0.0.1/availability",
            "CheckIpAvailability",
            json!({"l3NetworkUuid": ID, "ip": "10.0.0.1"}),
        ),
        ("/ip-capacity?ipRangeUuids=ID", "GetIpAddressCapacity", json!({"ipRangeUuids": [ID]})),
        ("/l2-networks/types", "GetL2NetworkTypes", json!({})),
    ];
    for (path, name, parameters) in cases {
        let answer = world.get(&path.replace("ID", ID)).await;
        assert_eq!(answer.body, json!({"mtu": 1500, "ipStatistics": [{"createDate": THEIR_TIME}]}), "{name}");
        assert_eq!(world.bus.reads.lock().unwrap().pop().unwrap(), (name.to_string(), parameters));
    }
    world.get("/l3-networks/x/mtu").await.error(400, "SYS.1007");
    world.get(&format!("/l3-networks/{ID}/mtu?mut=1")).await.error(400, "SYS.1007");
}

#[actix_web::test]
async fn long_work_is_a_job_that_its_account_polls() {
    let world = World::new();
    let request = |key: &'static str| {
        send(Method::POST, "/zones", json!({"params": {"name": "z"}}))
            .insert_header(("Prefer", "respond-async"))
            .insert_header(("Idempotency-Key", key))
            .insert_header(("Host", "net.example:8080"))
    };
    let all = world.bus.gate.acquire_many(1000).await.unwrap();
    let answer = world.ask(request("one")).await;
    assert_eq!(answer.status, 202);
    let job = format!("/zstack/v1/api-jobs/{}", Id::of_name("one"));
    assert_eq!(answer.body, json!({"location": format!("http://net.example:8080{job}")}));
    let poll = async || world.ask(TestRequest::get().uri(&job)).await;
    let running = poll().await;
    assert_eq!((running.status, running.body), (202, json!({})));
    world.ask_as("Bearer other", TestRequest::get().uri(&job)).await.error(404, "SYS.1003");

    drop(all);
    let ended = loop {
        match poll().await {
            running if running.status == 202 => tokio::task::yield_now().await,
            ended => break ended,
        }
    };
    assert_eq!(ended.status, 200);
    assert_eq!(ended.body["inventory"]["createDate"], THEIR_TIME);
    assert_eq!(poll().await.status, 200, "it can be asked again");

    // One that fails, and one that ends without an answer: both are 503 to whoever polls.
    *world.bus.refusal.lock().unwrap() = Some(Refusal::not_found("uuid", "zone", ID));
    for (key, reason, code) in [("two", "", "SYS.1003"), ("three", "panic", "SYS.1000")] {
        let answer = world.ask(request(key).insert_header(("X-Reason", reason))).await;
        assert_eq!(answer.status, 202);
        let job = format!("/api-jobs/{}", Id::of_name(key));
        let ended = loop {
            match world.get(&job).await {
                running if running.status == 202 => tokio::task::yield_now().await,
                ended => break ended,
            }
        };
        ended.error(503, code);
    }
    for unknown in ["x", ID] {
        world.get(&format!("/api-jobs/{unknown}")).await.error(404, "SYS.1003");
    }
}

#[actix_web::test]
async fn a_log_in_is_no_job_for_nobody_could_poll_it() {
    let world = World::new();
    let password = "0a".repeat(64);
    let body = json!({"logInByAccount": {"accountName": "admin", "password": password}});
    let log_in = send(Method::PUT, "/accounts/login", body).insert_header(("Prefer", "respond-async"));
    let answer = world.ask_as("OAuth expired", log_in).await;
    assert_eq!((answer.status, &answer.body["inventory"]["createDate"]), (200, &json!(THEIR_TIME)));
    // A body is told by its form alone: it may hold a password.
    let body = json!({"password": "hunter2"});
    let refused = world.ask(send(Method::DELETE, &format!("/zones/{ID}"), body)).await;
    refused.error(400, "SYS.1007");
    assert!(!refused.body.to_string().contains("hunter2"), "{}", refused.body);
}

#[actix_web::test]
async fn a_refusal_is_an_error_with_the_code_that_clients_read() {
    let world = World::new();
    let cases = [
        (RefusalKind::Invalid, 400),
        (RefusalKind::StaleVersion, 400),
        (RefusalKind::OtherBody, 400),
        (RefusalKind::NotFound, 404),
        (RefusalKind::Conflict, 503),
        (RefusalKind::Unauthenticated, 503),
        (RefusalKind::Forbidden, 503),
        (RefusalKind::Busy, 503),
        (RefusalKind::Internal, 503),
        (RefusalKind::NotSupported, 503),
        (RefusalKind::Backend, 503),
        (RefusalKind::ReadOnly, 503),
        (RefusalKind::Timeout, 503),
    ];
    for (kind, status) in cases {
        let mut refusal = Refusal::new(kind, "X.1", "because").hint("do this").blockers(vec![Blocker {
            resource_type: "cluster".to_string(),
            uuid: Id::NIL,
            name: "c".to_string(),
        }]);
        refusal.field = Some("name".to_string());
        *world.bus.refusal.lock().unwrap() = Some(refusal);
        let request = send(Method::POST, "/zones", json!({"params": {"name": "z"}}));
        let answer = world.ask(request.insert_header(("Idempotency-Key", "k"))).await;
        let error = answer.error(status, "X.1");
        assert_eq!((&error["details"], &error["elaboration"]), (&json!("because"), &json!("do this")));
        let more = json!({"field": "name", "commandId": Id::of_name("k"),
            "blockers": [{"resourceType": "cluster", "uuid": Id::NIL, "name": "c"}]});
        assert_eq!(error["opaque"], more);
        world.get("/zones").await.error(status, "X.1");
        world.get("/l2-networks/types").await.error(status, "X.1");
        assert_eq!(
            answer.headers.contains_key("retry-after"),
            matches!(kind, RefusalKind::Busy | RefusalKind::ReadOnly)
        );
    }
}

#[actix_web::test]
async fn bad_requests_name_what_is_wrong_and_reach_nobody() {
    let world = World::new();
    let actions = &format!("/zones/{ID}/actions");
    let post = |body: Value| send(Method::POST, "/zones", body);
    let put = |body: Value| send(Method::PUT, actions, body);
    let cases = [
        (post(json!({"name": "z"})), "name", "params"),
        (post(json!({"params": {"name": "z"}, "createZone": {}})), "params", "createZone"),
        (post(json!({"params": "z"})), "params", "an object"),
        (post(json!({"parms": {}})), "parms", "params"),
        (put(json!({})), "body", "updateZone or changeZoneState"),
        (put(json!({"params": {}})), "params", "updateZone or changeZoneState"),
        (put(json!({"updateZon": {}})), "updateZon", "updateZone"),
        (put(json!({"updateZone": {"uuid": "x"}})), "uuid", "the path says"),
        (send(Method::PUT, &format!("{actions}?x=1"), json!({"updateZone": {}})), "x", "no such parameter"),
        (send(Method::DELETE, &format!("/zones/{ID}"), json!({"params": {}})), "params", "from the URL"),
        (send(Method::DELETE, &format!("/zones/{ID}?deleteMode=a&deleteMode=b"), json!({})), "deleteMode", "once"),
    ];
    for (request, field, words) in cases {
        let answer = world.ask(request).await;
        let error = answer.error(400, "SYS.1007");
        assert_eq!(error["opaque"]["field"], field, "{error}");
        assert!(error["details"].as_str().unwrap().contains(words), "{error}");
    }
    let near = world.ask(put(json!({"updateZon": {}}))).await;
    assert_eq!(near.body["error"]["elaboration"], "did you mean updateZone?");
    let text =
        TestRequest::post().uri("/zstack/v1/zones").set_payload("{").insert_header(("Content-Type", "text/json"));
    world.ask(text).await.error(400, "SYS.1007");
    let other = json!({"updateZone": {"name": "z"}, "uuid": "0".repeat(32)});
    let twice = world.ask(put(other)).await;
    let details = twice.error(400, "SYS.1007")["details"].as_str().unwrap();
    assert!(details.starts_with("uuid = ") && details.ends_with(&format!("the path says `{ID}`")), "{details}");
    let big = post(json!({"params": {"name": "x".repeat(1 << 20)}}));
    world.ask(big).await.error(400, "SYS.1007");
    world.ask(post(json!({"params": {"name": "z", "tagUuids": [ID]}}))).await.error(503, "SYS.1104");
    assert!(world.bus.commands.lock().unwrap().is_empty());
}

#[actix_web::test]
async fn what_zstack_knows_and_we_do_not_do_is_not_supported_by_name_and_the_rest_is_not_there() {
    let world = World::new();
    let cases = [
        (send(Method::POST, "/vips/ID/x", json!({})), 404, ""),
        (send(Method::POST, "/flowmeters", json!({"params": {"name": "l"}})), 503, "CreateFlowMeter"),
        (send(Method::PUT, "/zones/ID/nothing", json!({})), 404, ""),
        (send(Method::PUT, "/clusters/ID/actions", json!({"updateClusterOS": {}})), 503, "UpdateClusterOS"),
        (send(Method::DELETE, "/flowmeters/ID?deleteMode=Permissive", json!({})), 503, "DeleteFlowMeter"),
        (TestRequest::get().uri("/zstack/v1/flowmeters"), 503, "QueryFlowMeter"),
        (TestRequest::get().uri("/zstack/v1/volumes"), 404, ""),
        (TestRequest::get().uri("/zstack/v1"), 404, ""),
        (send(Method::DELETE, "/zones", json!({})), 404, ""),
        (send(Method::PATCH, "/zones/ID", json!({})), 404, ""),
    ];
    for (request, status, name) in cases {
        let answer = world.ask(request).await;
        let code = if status == 404 { "SYS.1003" } else { "SYS.1104" };
        let details = answer.error(status, code)["details"].as_str().unwrap().to_string();
        assert!(details.contains(name), "{details}");
    }
    let wrong = world.ask(send(Method::DELETE, "/zones", json!({}))).await;
    assert_eq!(wrong.body["error"]["details"], "this route takes only GET and POST");
    assert!(world.bus.commands.lock().unwrap().is_empty());
}

#[actix_web::test]
async fn management_nodes_and_the_version_are_told() {
    let world = World::new();
    let request = TestRequest::get().uri("/zstack/v1/management-nodes").insert_header(("Host", "net.example:8080"));
    let answer = world.ask(request).await;
    assert_eq!(answer.body["inventories"][0]["hostName"], "net.example");
    let answer = world.ask(send(Method::PUT, "/management-nodes/actions", json!({"getVersion": {}}))).await;
    assert_eq!(answer.body, json!({"version": env!("CARGO_PKG_VERSION")}));
}

#[actix_web::test]
async fn without_a_token_or_after_a_panic_the_error_is_zstacks_too() {
    let world = World::new();
    for authorization in ["", "OAuth", "OAuth wrong", "Basic secret"] {
        let request = TestRequest::get().uri("/zstack/v1/zones");
        world.ask_as(authorization, request).await.error(503, "ID.1002");
    }
    for authorization in ["OAuth secret", "oauth secret", "Bearer secret"] {
        assert_eq!(world.ask_as(authorization, TestRequest::get().uri("/zstack/v1/zones")).await.status, 200);
    }
    let request = send(Method::POST, "/zones", json!({"params": {"name": "z"}})).insert_header(("X-Reason", "panic"));
    world.ask(request).await.error(503, "SYS.1000");
}
