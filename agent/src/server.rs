//! The agents' HTTP: the routes of `switchback_appliance::protocol`, over TLS that asks for a certificate.
//! Documents are applied on threads of their own, one at a time; questions go on being answered.

use crate::{document::problem, host::HostEngine, pki, router::RouterEngine, services::metadata::Answer};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, ResponseError,
    dev::Server,
    http::{Method, StatusCode},
    web::{self, Data, Json, Path, Query},
};
use serde::Deserialize;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, AgentRestart, ApplyReport, ArpProbe, Drift, Health, Held, Identity, InterfaceCheck,
    Push, Succession, SuccessionReport,
};
use switchback_events::{Mac, RouterId};

const CONFIG_LIMIT: usize = 64 << 20;
const BINARY_LIMIT: usize = 256 << 20;

/// What both roles answer.
pub trait Role: Send + Sync + 'static {
    /// Applies a document.
    fn put(&self, push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem>;
    /// What is held.
    fn held(&self) -> Held;
    /// Whether all is well.
    fn health(&self) -> Health;
    /// What differs from what was put in place.
    fn drift(&self) -> Result<Drift, AgentProblem>;
}

impl Role for RouterEngine {
    fn put(&self, push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem> {
        RouterEngine::put(self, push, dry_run)
    }
    fn held(&self) -> Held {
        RouterEngine::held(self)
    }
    fn health(&self) -> Health {
        RouterEngine::health(self)
    }
    fn drift(&self) -> Result<Drift, AgentProblem> {
        RouterEngine::drift(self)
    }
}

impl Role for HostEngine {
    fn put(&self, push: Push, dry_run: bool) -> Result<ApplyReport, AgentProblem> {
        HostEngine::put(self, push, dry_run)
    }
    fn held(&self) -> Held {
        HostEngine::held(self)
    }
    fn health(&self) -> Health {
        HostEngine::health(self)
    }
    fn drift(&self) -> Result<Drift, AgentProblem> {
        HostEngine::drift(self)
    }
}

/// A problem as a response.
#[derive(Debug)]
struct Refused(AgentProblem);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match self.0.code {
            AgentProblemCode::StaleRevision | AgentProblemCode::StaleEpoch => StatusCode::CONFLICT,
            AgentProblemCode::MissingSection => StatusCode::PRECONDITION_REQUIRED,
            AgentProblemCode::WrongRouter => StatusCode::MISDIRECTED_REQUEST,
            AgentProblemCode::Invalid => StatusCode::BAD_REQUEST,
            AgentProblemCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            AgentProblemCode::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            AgentProblemCode::NotSupported => StatusCode::NOT_IMPLEMENTED,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(&self.0)
    }
}

type Reply<T> = Result<Json<T>, Refused>;

/// Runs what may block on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AgentProblem> + Send + 'static,
) -> Result<T, Refused> {
    match web::block(work).await {
        Ok(done) => done.map_err(Refused),
        Err(error) => Err(Refused(problem(AgentProblemCode::Failed, error.to_string()))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigQuery {
    dry_run: Option<u8>,
}

async fn put_config<R: Role>(role: Data<R>, query: Query<ConfigQuery>, push: Json<Push>) -> Reply<ApplyReport> {
    let dry_run = query.dry_run.is_some_and(|flag| flag != 0);
    blocking(move || role.put(push.into_inner(), dry_run)).await.map(Json)
}

async fn get_config<R: Role>(role: Data<R>) -> Reply<Held> {
    blocking(move || Ok(role.held())).await.map(Json)
}

async fn health<R: Role>(role: Data<R>) -> Reply<Health> {
    blocking(move || Ok(role.health())).await.map(Json)
}

async fn drift<R: Role>(role: Data<R>) -> Reply<Drift> {
    blocking(move || role.drift()).await.map(Json)
}

async fn not_supported() -> Result<HttpResponse, Refused> {
    Err(Refused(problem(AgentProblemCode::NotSupported, "not supported yet")))
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().json(problem(AgentProblemCode::NotSupported, "there is no such route"))
}

fn common<R: Role>(config: &mut web::ServiceConfig, role: Data<R>) {
    let unreadable = |error: &dyn fmt::Display| Refused(problem(AgentProblemCode::Invalid, error.to_string()));
    config
        .app_data(role)
        .app_data(
            web::JsonConfig::default().limit(CONFIG_LIMIT).error_handler(move |error, _| unreadable(&error).into()),
        )
        .app_data(web::PathConfig::default().error_handler(move |error, _| unreadable(&error).into()))
        .app_data(web::QueryConfig::default().error_handler(move |error, _| unreadable(&error).into()))
        .app_data(web::PayloadConfig::new(BINARY_LIMIT))
        .route("/v1/config", web::put().to(put_config::<R>))
        .route("/v1/config", web::get().to(get_config::<R>))
        .route("/v1/health", web::get().to(health::<R>))
        .route("/v1/drift", web::get().to(drift::<R>))
        .default_service(web::to(not_found));
}

/// Serves the router role.
pub fn router(listen: SocketAddr, identity: &Identity, engine: Data<RouterEngine>) -> Result<Server, ServeError> {
    let app = move || {
        let engine = engine.clone();
        App::new().configure(|config| {
            common(config, engine);
            config
                .route("/v1/observed", web::get().to(observed))
                .route("/v1/counters", web::get().to(counters))
                .route("/v1/trace", web::post().to(not_supported));
        })
    };
    // Whoever runs it listens for signals: actix pauses for 300 ms before it ends, and a reconnect waits for that.
    let server = HttpServer::new(app).workers(1).disable_signals();
    let bound = server.bind_rustls_0_23(listen, pki::server_config(identity)?);
    Ok(bound.map_err(|error| ServeError::Listen(listen, error))?.run())
}

/// Tells VMs of themselves, on every address of the router; the packet filter lets nobody but guests come.
pub fn metadata(port: u16, engine: Data<RouterEngine>) -> Result<Server, ServeError> {
    let app = move || App::new().app_data(engine.clone()).default_service(web::route().to(told));
    let server = HttpServer::new(app).workers(1).max_connections(256).disable_signals();
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    Ok(server.bind(listen).map_err(|error| ServeError::Listen(listen, error))?.run())
}

async fn told(request: HttpRequest, engine: Data<RouterEngine>) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return HttpResponse::MethodNotAllowed().finish();
    }
    let Some(IpAddr::V4(ip)) = request.peer_addr().map(|peer| peer.ip()) else {
        return HttpResponse::Forbidden().finish();
    };
    // What asks so is meant for CloudStack's routers, whatever the path.
    let answer = match request.headers().get("DomU_Request") {
        Some(asked) => engine.password(ip, asked.as_bytes()),
        None => engine.metadata(ip, request.path()),
    };
    match answer {
        Answer::Body(body) => HttpResponse::Ok().content_type("text/plain").body(body),
        Answer::Nothing => HttpResponse::NotFound().finish(),
        Answer::Stranger => HttpResponse::Forbidden().finish(),
        Answer::NotYet => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn observed(engine: Data<RouterEngine>) -> Reply<switchback_appliance::Observed> {
    blocking(move || engine.observed()).await.map(Json)
}

async fn counters(engine: Data<RouterEngine>) -> Reply<switchback_appliance::ServiceCounters> {
    blocking(move || engine.counters()).await.map(Json)
}

/// Serves the host role.
pub fn host(listen: SocketAddr, identity: &Identity, engine: Data<HostEngine>) -> Result<Server, ServeError> {
    let app = move || {
        let engine = engine.clone();
        App::new().configure(|config| {
            common(config, engine);
            config
                .route("/v1/check", web::post().to(check))
                .route("/v1/arp", web::post().to(probe))
                .route("/v1/agents/{digest}", web::put().to(put_binary))
                .route("/v1/appliances/{router}/identity", web::post().to(put_identity))
                .route("/v1/appliances/{router}/successor", web::post().to(succeed))
                .route("/v1/appliances/{router}/agent", web::post().to(restart_agent));
        })
    };
    let server = HttpServer::new(app).workers(2).shutdown_timeout(2);
    let bound = server.bind_rustls_0_23(listen, pki::server_config(identity)?);
    Ok(bound.map_err(|error| ServeError::Listen(listen, error))?.run())
}

async fn check(engine: Data<HostEngine>, check: Json<InterfaceCheck>) -> Reply<()> {
    blocking(move || engine.check(&check)).await.map(Json)
}

async fn probe(engine: Data<HostEngine>, probe: Json<ArpProbe>) -> Reply<Option<Mac>> {
    blocking(move || engine.probe(&probe)).await.map(Json)
}

async fn put_binary(engine: Data<HostEngine>, digest: Path<String>, bytes: web::Bytes) -> Reply<()> {
    blocking(move || engine.put_binary(&digest, &bytes)).await.map(Json)
}

async fn put_identity(engine: Data<HostEngine>, router: Path<RouterId>, identity: Json<Identity>) -> Reply<()> {
    blocking(move || engine.put_identity(*router, &identity)).await.map(Json)
}

async fn succeed(engine: Data<HostEngine>, router: Path<RouterId>, order: Json<Succession>) -> Reply<SuccessionReport> {
    blocking(move || engine.succeed(*router, &order)).await.map(Json)
}

async fn restart_agent(engine: Data<HostEngine>, router: Path<RouterId>, restart: Json<AgentRestart>) -> Reply<()> {
    blocking(move || engine.restart_agent(*router, &restart)).await.map(Json)
}

/// Why an agent cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its certificate.
    #[error("use the agent's identity")]
    Identity(#[from] pki::PkiError),
    /// Its address.
    #[error("listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}
