//! Who comes in, with what, how far and how often: signatures, scopes of tokens, and rates.

use actix_web::{
    App,
    body::to_bytes,
    dev::ServiceResponse,
    http::header,
    test::{self, TestRequest},
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use switchback_bus::{
    Bus, CommandReply, CommandRequest, EventStream, EventsRequest, LogCopy, LogForm, QueryReply, QueryRequest, Refusal,
    message,
};
use switchback_events::{ADMIN_ACCOUNT, Id, Position};
use switchback_gateway::{Asked, Caller, Credentials, Gateway, Rates, Tokens};

/// Answers whoever may ask.
struct Open;

#[async_trait]
impl Bus for Open {
    async fn command(&self, request: CommandRequest) -> Result<CommandReply, Refusal> {
        request.caller.may_send(message(&request.name)?)?;
        let command_id = request.command_id.unwrap_or_default();
        let (inventory, inventories, events) = (None, None, vec![]);
        Ok(CommandReply {
            command_id,
            position: 1,
            version: 1,
            applied: true,
            inventory,
            inventories,
            events,
            routers: vec![],
        })
    }

    async fn query(&self, caller: &Caller, request: QueryRequest) -> Result<QueryReply, Refusal> {
        caller.may_send(message(&request.name)?)?;
        Ok(QueryReply { inventories: "[]".to_string(), total: None, position: 0 })
    }

    async fn read(&self, caller: &Caller, name: &str, _: Value) -> Result<Value, Refusal> {
        caller.may_send(message(name)?)?;
        Ok(json!({}))
    }

    async fn events(&self, _: &Caller, _: EventsRequest) -> Result<EventStream, Refusal> {
        Err(Refusal::not_supported("the event stream"))
    }

    async fn head(&self) -> Position {
        0
    }

    async fn log(&self, caller: &Caller, _: LogForm, _: Position) -> Result<LogCopy, Refusal> {
        caller.in_every_scope("a copy of the log")?;
        Err(Refusal::not_supported("a copy of the log"))
    }

    async fn ready(&self) -> Vec<(String, Result<String, String>)> {
        vec![]
    }
}

/// Tokens with scopes, one without any, the owner's, and the signature `good`; what was signed is noted.
#[derive(Default)]
struct Doors {
    signed: Mutex<Vec<String>>,
}

impl Tokens for Doors {
    fn caller(&self, given: &Credentials<'_>) -> Result<Caller, Refusal> {
        let admin = Caller::new("admin", ADMIN_ACCOUNT, true);
        let scoped = |scopes: &str| Caller {
            credential: Some(Id::of_name("token")),
            scopes: Some(scopes.split(',').map(str::to_string).collect()),
            ..admin.clone()
        };
        match given {
            Credentials::Token("session") => Ok(admin),
            Credentials::Token("owner") => Ok(Caller { unlimited: true, ..admin }),
            Credentials::Token(token) if token.starts_with("scopes:") => Ok(scoped(&token["scopes:".len()..])),
            Credentials::Signature { key_id, signature: "good", method, date, path } => {
                self.signed.lock().unwrap().push(format!("{key_id} {method} {date} {path}"));
                Ok(admin)
            }
            _ => Err(Caller::unknown()),
        }
    }
}

struct World {
    doors: Arc<Doors>,
    gateway: Gateway,
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

impl World {
    fn new(rates: Rates) -> World {
        let doors = Arc::new(Doors::default());
        World { gateway: Gateway::new(Arc::new(Open), doors.clone()).with_asked(Arc::new(Asked::new(rates))), doors }
    }

    async fn ask(&self, authorization: &str, request: TestRequest) -> Answer {
        let app = test::init_service(App::new().configure(|config| self.gateway.configure(config))).await;
        let request = request.insert_header(("Authorization", authorization));
        let response = test::try_call_service(&app, request.to_request()).await.unwrap_or_else(|error| {
            let request = TestRequest::default().to_http_request();
            ServiceResponse::new(request, error.as_response_error().error_response()).map_into_boxed_body()
        });
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_string());
        let bytes = to_bytes(response.into_body()).await.unwrap();
        Answer { status, retry_after, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    async fn get(&self, authorization: &str, path: &str) -> Answer {
        self.ask(authorization, TestRequest::get().uri(path)).await
    }
}

fn create(path: &str) -> TestRequest {
    let body = if path.starts_with("/zstack") { json!({"params": {"name": "z"}}) } else { json!({"name": "z"}) };
    TestRequest::post().uri(path).set_json(body)
}

const ZONES: &str = "/zstack/v1/zones";
const CREATE_ZONE: &str = "/v1/commands/CreateZone";

#[actix_web::test]
async fn a_signature_is_of_the_method_the_date_and_the_path_below_the_context_path() {
    let world = World::new(Rates::default());
    let date = "Sat, 21 Nov 2026 17:54:12 PRC";
    let signed = |path: &str| TestRequest::get().uri(path).insert_header(("Date", date));
    for path in ["/zstack/v1/zones//abc?q=name%3Dx", "/v1/queries/QueryZone?q=name%3Dx"] {
        assert_eq!(world.ask("ZStack AKID:good", signed(path)).await.status, 200, "{path}");
    }
    let noted = [format!("AKID GET {date} /v1/zones//abc"), format!("AKID GET {date} /v1/queries/QueryZone")];
    assert_eq!(*world.doors.signed.lock().unwrap(), noted);
    for (authorization, request) in [
        ("ZStack AKID:bad", signed(ZONES)),
        ("ZStack AKID", signed(ZONES)),
        ("ZStack AKID:good", TestRequest::get().uri(ZONES)),
        ("Basic AKID:good", signed(ZONES)),
    ] {
        let answer = world.ask(authorization, request).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("ID.1002")), "{authorization}");
    }
}

#[actix_web::test]
async fn a_token_is_for_the_messages_of_its_scopes_whatever_its_account_may() {
    let world = World::new(Rates::default());
    let reader = "Bearer scopes:read,UpdateZone";
    for path in ["/v1/queries/QueryZone", "/v1/queries/GetFreeIp?l3NetworkUuid=x", "/", ZONES, "/v1/audit/head"] {
        assert_ne!(world.get(reader, path).await.status, 403, "{path}");
    }
    for path in ["/v1/audit/export", "/v1/audit/backup", "/v1/queries/GetAgentToken?address=10.0.0.1"] {
        let answer = world.get(reader, path).await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("ID.1001")), "{path}");
        assert_ne!(world.get("Bearer scopes:*", path).await.status, 403, "{path}");
    }
    let answer = world.ask(reader, create(CREATE_ZONE)).await;
    let detail = answer.body["detail"].as_str().unwrap();
    assert_eq!((answer.status, &answer.body["code"]), (403, &json!("ID.1001")));
    let token = Id::of_name("token").to_string();
    assert!(
        detail.contains("CreateZone") && detail.contains("read, UpdateZone") && detail.contains(&token),
        "{detail}"
    );
    let answer = world.ask(reader, create(ZONES)).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("ID.1001")));
    let update = || TestRequest::put().uri("/zstack/v1/zones/x/actions").set_json(json!({"updateZone": {"name": "y"}}));
    let change = json!({"changeZoneState": {"stateEvent": "disable"}});
    let change = TestRequest::put().uri("/zstack/v1/zones/x/actions").set_json(change);
    assert_ne!(world.ask(reader, update()).await.body["error"]["code"], "ID.1001");
    assert_eq!(world.ask(reader, change).await.body["error"]["code"], "ID.1001");
    assert_eq!(world.get("Bearer scopes:UpdateZone", ZONES).await.body["error"]["code"], "ID.1001");
    for scopes in ["Bearer scopes:*", "Bearer scopes:Create*", "Bearer session"] {
        assert_eq!(world.ask(scopes, create(CREATE_ZONE)).await.status, 200, "{scopes}");
        assert_eq!(world.ask(scopes, create(ZONES)).await.status, 200, "{scopes}");
    }
}

#[actix_web::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_the_owner_is_not() {
    // So few that a test of hours does not earn another one.
    let rates = Rates { account_per_second: 1, account_burst: 3, address_per_second: 1, address_burst: 2 };
    let world = World::new(rates);
    let path = "/v1/queries/QueryZone";
    let mut first = None;
    for _ in 0..1000 {
        let answer = world.get("Bearer session", path).await;
        if answer.status != 200 {
            first = Some(answer);
            break;
        }
    }
    let answer = first.expect("a loop is quicker than one a second");
    assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("1")));
    assert_eq!(answer.body["code"], "SYS.1100");
    assert!(answer.body["detail"].as_str().unwrap().contains("account `admin`"), "{}", answer.body);
    let path = "/v1/queries/ValidateSession?sessionUuid=00000000000000000000000000000000";
    let mut refused = 0;
    for _ in 0..1000 {
        let answer = world.get("Bearer nobody", path).await;
        assert!(matches!(answer.status, 200 | 429), "{}", answer.body);
        refused += usize::from(answer.status == 429);
        // ZStack's clients know three statuses.
        let theirs = world.get("OAuth nobody", ZONES).await;
        assert!(theirs.status == 503 && theirs.body["error"]["code"].is_string());
        if theirs.body["error"]["code"] == "SYS.1100" {
            assert!(theirs.retry_after.is_some());
            refused += 1;
        }
        if refused > 2 {
            break;
        }
    }
    assert!(refused > 2);
    for _ in 0..10 {
        assert_eq!(world.get("Bearer owner", "/v1/queries/QueryZone").await.status, 200);
        assert_eq!(world.get("Bearer nobody", "/healthz").await.status, 200);
    }
}

#[actix_web::test]
async fn a_secret_is_given_to_who_waits_and_is_no_job_that_others_could_poll() {
    let world = World::new(Rates::default());
    let token = json!({"name": "ci", "scopes": ["read"]});
    for (path, body, status) in [
        (CREATE_ZONE, json!({"name": "z"}), 202),
        (ZONES, json!({"params": {"name": "z"}}), 202),
        ("/v1/commands/CreateAccessKey", json!({}), 200),
        ("/v1/commands/CreateApiToken", token.clone(), 200),
        ("/zstack/v1/accesskeys", json!({"params": {}}), 200),
        ("/zstack/v1/api-tokens", json!({"params": token}), 200),
    ] {
        let request = TestRequest::post().uri(path).insert_header(("Prefer", "respond-async")).set_json(body);
        assert_eq!(world.ask("Bearer session", request).await.status, status, "{path}");
    }
}
