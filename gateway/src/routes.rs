//! Which route goes where. The list at `/` is made of the same table as the routes themselves.

use crate::{
    Limits, Problem, StreamTimes, audit, command, events, guard, health, jobs, metrics, metrics::Requests, openapi,
    query, viewer, zstack,
};
use actix_web::{
    HttpRequest, HttpResponse, Resource,
    middleware::{DefaultHeaders, from_fn},
    web,
};
use serde_json::json;
use std::sync::Arc;
use switchback_bus::{Asked, Bus, InFlight, Rates, Tokens};
use tokio::sync::watch;

/// The HTTP side of a bus.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) times: StreamTimes,
    /// Becomes true when event streams are to end.
    pub(crate) ending: Arc<watch::Sender<bool>>,
    /// Commands that their senders poll for.
    pub(crate) jobs: Arc<jobs::Jobs>,
    pub(crate) limits: Limits,
    pub(crate) in_flight: InFlight,
    pub(crate) requests: Arc<Requests>,
    /// Whether `/metrics` is shown to everyone.
    pub(crate) open_metrics: bool,
    /// How often everyone has asked.
    pub(crate) asked: Arc<Asked>,
}

/// Requests that are answered at a time unless told otherwise.
const REQUESTS: usize = 1000;

/// Every route with what it does, for `/` and the OpenAPI document.
pub(crate) const ROUTES: &[(&str, &str, &str)] = &[
    ("POST", "/v1/commands/{Name}", "Any command; the body is its parameters."),
    ("GET", "/v1/jobs/{uuid}", "What became of a command that was sent with `Prefer: respond-async`."),
    ("GET", "/v1/queries/{Name}", "Any query or other read."),
    (
        "GET",
        "/v1/events",
        "Events of the log, in order: a page, lines (`Accept: application/x-ndjson`) or a stream (`text/event-stream`).",
    ),
    ("GET", "/v1/routers/{uuid}/config", "The configuration that the log implies for a router."),
    ("GET", "/v1/routers/{uuid}/diff", "The difference of a router's configuration between two moments."),
    ("GET", "/v1/routers/{uuid}/explain", "What becomes of a packet, by which records, and who put them there."),
    ("GET", "/v1/routers/{uuid}/drift", "Where a router differs from its configuration."),
    ("GET", "/v1/routers/{uuid}/counters", "How much went through the services of a router."),
    (
        "POST",
        "/v1/routers/{uuid}/replace",
        "Another appliance in the place of a router's, without loss; the body is the command's other parameters.",
    ),
    ("GET", "/v1/audit/head", "The head of the log, signed."),
    ("GET", "/v1/audit/verify", "The log read and verified; with `anchor`, against a head that was kept outside."),
    ("GET", "/v1/audit/export", "The log as JSON lines with CloudEvents attributes, after the position `after`."),
    ("GET", "/v1/audit/backup", "The log as it is stored, after the position `after`: what `switchback backup` keeps."),
    ("*", "/zstack/v1/{path}", "ZStack's REST API, for its existing clients."),
    ("GET", "/healthz", "Whether the process answers."),
    ("GET", "/readyz", "Whether the system is ready; with `verbose`, by component."),
    ("GET", "/metrics", "What is measured, in Prometheus' text format."),
    ("GET", "/docs", "This interface as a page that can send requests."),
    ("GET", "/openapi.json", "This interface as OpenAPI 3.1."),
    ("GET", "/asyncapi.json", "The message bus as AsyncAPI 3.0, with the schemas of all events."),
    ("GET", "/", "The routes."),
];

/// The path of the table that `path` is of, its messages and ids left out.
pub(crate) fn template(path: &str) -> &'static str {
    let is = |template: &str| {
        let mut own = path.split('/');
        let same = template.split('/').all(|part| own.next().is_some_and(|own| part == own || part.starts_with('{')));
        same && own.next().is_none()
    };
    if zstack::owns(path) {
        return "/zstack/v1/{path}";
    }
    ROUTES.iter().map(|(_, template, _)| *template).find(|template| is(template)).unwrap_or("other")
}

impl Gateway {
    /// In front of `bus`, for those whom `tokens` knows.
    pub fn new(bus: Arc<dyn Bus>, tokens: Arc<dyn Tokens>) -> Gateway {
        Gateway {
            bus,
            tokens,
            times: StreamTimes::default(),
            ending: Arc::new(watch::Sender::new(false)),
            jobs: Arc::default(),
            limits: Limits::default(),
            in_flight: InFlight::new(REQUESTS),
            requests: Arc::default(),
            open_metrics: false,
            asked: Arc::new(Asked::new(Rates::default())),
        }
    }

    /// The same, with event streams that keep other times.
    pub fn with_stream_times(self, times: StreamTimes) -> Gateway {
        Gateway { times, ..self }
    }

    /// The same within other limits.
    pub fn with_limits(self, limits: Limits) -> Gateway {
        Gateway { limits, ..self }
    }

    /// The same with `/metrics` for everyone, where `open`.
    pub fn with_open_metrics(self, open: bool) -> Gateway {
        Gateway { open_metrics: open, ..self }
    }

    /// The same, counting who asks here: with the other ways in, so that two of them do not let twice as much through.
    pub fn with_asked(self, asked: Arc<Asked>) -> Gateway {
        Gateway { asked, ..self }
    }

    /// The same, counting what is being answered here: with the other ways in, so that two of them do not answer twice as many.
    pub fn with_in_flight(self, in_flight: InFlight) -> Gateway {
        Gateway { in_flight, ..self }
    }

    /// Ends all event streams: they would hold up a server that stops. Their readers come again.
    pub fn end_streams(&self) {
        self.ending.send_replace(true);
    }

    /// Adds all routes to an actix-web application.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        let everything = web::scope("")
            .wrap(from_fn(guard::guard))
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")).add(("Cache-Control", "no-store")))
            .service(post("/v1/commands/{name}").route(web::post().to(command::post)))
            .service(get("/v1/jobs/{uuid}").route(web::get().to(command::job)))
            .service(get("/v1/queries/{name}").route(web::get().to(query::get)))
            .service(get("/v1/events").route(web::get().to(events::get)))
            .service(get("/v1/routers/{uuid}/config").route(web::get().to(query::router_config)))
            .service(get("/v1/routers/{uuid}/diff").route(web::get().to(query::router_diff)))
            .service(get("/v1/routers/{uuid}/drift").route(web::get().to(query::router_drift)))
            .service(get("/v1/routers/{uuid}/explain").route(web::get().to(query::router_explain)))
            .service(get("/v1/routers/{uuid}/counters").route(web::get().to(query::router_counters)))
            .service(post("/v1/routers/{uuid}/replace").route(web::post().to(command::replace_router)))
            .service(get("/v1/audit/head").route(web::get().to(query::audit_head)))
            .service(get("/v1/audit/verify").route(web::get().to(query::audit_verify)))
            .service(get("/v1/audit/export").route(web::get().to(audit::export)))
            .service(get("/v1/audit/backup").route(web::get().to(audit::backup)))
            .service(web::scope(zstack::PREFIX).default_service(web::to(zstack::handle)))
            .service(get("/healthz").route(web::get().to(health::healthz)))
            .service(get("/readyz").route(web::get().to(health::readyz)))
            .service(get("/openapi.json").route(web::get().to(openapi::get)))
            .service(get("/asyncapi.json").route(web::get().to(openapi::get_bus)))
            .service(get("/metrics").route(web::get().to(metrics::get)))
            .service(get("/docs").route(web::get().to(viewer::page)))
            .service(get(viewer::SCRIPT_PATH).route(web::get().to(viewer::script)))
            .service(get("/").route(web::get().to(index)))
            .default_service(web::to(|request: HttpRequest| async move { refuse(Problem::no_route(request.path())) }));
        config.app_data(web::Data::new(self.clone())).service(everything);
    }
}

/// A resource that answers any other method than GET with a problem.
fn get(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| async { refuse(Problem::method("GET")) }))
}

/// A resource that answers any other method than POST with a problem.
fn post(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|| async { refuse(Problem::method("POST")) }))
}

fn refuse(problem: Problem) -> Result<HttpResponse, Problem> {
    Err(problem)
}

async fn index() -> HttpResponse {
    let route = |(method, path, doc): &(&str, &str, &str)| json!({"method": method, "path": path, "doc": doc});
    HttpResponse::Ok().json(json!({
        "name": "switchback",
        "version": env!("CARGO_PKG_VERSION"),
        "routes": ROUTES.iter().map(route).collect::<Vec<_>>(),
    }))
}
