//! The HTTP client of the command line: which server, which token, one request at a time.

use crate::{
    asking::{Chunks, LogBytes},
    failure::{Exit, Failure},
    moment,
    output::Format,
};
use clap::Args;
use reqwest::{Method, RequestBuilder, Url, header};
use serde_json::{Value, json};
use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

/// The flags of everything that talks to a server.
#[derive(Args, Clone, PartialEq, Default, Debug)]
#[command(next_help_heading = "Server and output")]
pub struct ClientArguments {
    /// How data is written.
    #[arg(short, long, value_enum, value_name = "FORMAT", global = true)]
    pub output: Option<Format>,
    /// The same as `-o json`.
    #[arg(long, global = true)]
    pub json: bool,
    /// Read as of an earlier moment: a position of the log, or a time: RFC 3339, `14:32`, `2h ago`.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, global = true)]
    pub at: Option<String>,
    /// The server [env: SWITCHBACK_SERVER] [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// The token [env: SWITCHBACK_TOKEN]; found by itself on the server's own machine.
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// The authority that the server's certificate must be of, instead of the system's [env: SWITCHBACK_CA].
    #[arg(long, value_name = "FILE", global = true)]
    pub ca_file: Option<PathBuf>,
    /// Decide and show the events, change nothing.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Why; kept with the events.
    #[arg(long, value_name = "TEXT", global = true)]
    pub reason: Option<String>,
    /// Names the command: the same key again gets the same answer.
    #[arg(long, value_name = "KEY", global = true)]
    pub idempotency_key: Option<String>,
    /// Do not wait until hosts and routers have it.
    #[arg(long, global = true)]
    pub no_wait: bool,
}

impl ClientArguments {
    /// These flags, and where they are silent those given further out.
    pub fn over(self, outer: &ClientArguments) -> ClientArguments {
        let outer = outer.clone();
        // The inner format wins, whichever of its two spellings was used.
        let (output, json) =
            if self.output.is_some() || self.json { (self.output, self.json) } else { (outer.output, outer.json) };
        ClientArguments {
            output,
            json,
            at: self.at.or(outer.at),
            server: self.server.or(outer.server),
            token: self.token.or(outer.token),
            ca_file: self.ca_file.or(outer.ca_file),
            dry_run: self.dry_run || outer.dry_run,
            reason: self.reason.or(outer.reason),
            idempotency_key: self.idempotency_key.or(outer.idempotency_key),
            no_wait: self.no_wait || outer.no_wait,
        }
    }

    /// How data is written.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output.unwrap_or_default() }
    }

    /// Refuses the flags that only a command has.
    pub fn refuse_command_flags(&self, what: &str) -> Result<(), Failure> {
        let given = [
            (self.dry_run, "--dry-run"),
            (self.reason.is_some(), "--reason"),
            (self.idempotency_key.is_some(), "--idempotency-key"),
            (self.no_wait, "--no-wait"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Failure::usage(format!("{what} changes nothing and takes no {flag}"))),
            None => Ok(()),
        }
    }

    /// Refuses `--at`.
    pub fn refuse_at(&self, what: &str) -> Result<(), Failure> {
        match self.at {
            Some(_) => Err(Failure::usage(format!("{what} takes no --at"))),
            None => Ok(()),
        }
    }
}

/// What the client takes from the process's environment.
#[derive(Clone, Default, Debug)]
pub struct Environment {
    /// `SWITCHBACK_SERVER`.
    pub server: Option<String>,
    /// `SWITCHBACK_TOKEN`.
    pub token: Option<String>,
    /// `SWITCHBACK_CA`.
    pub ca_file: Option<PathBuf>,
    /// `SWITCHBACK_CONFIG`.
    pub config: Option<PathBuf>,
    /// Everything that is called `SWITCHBACK…`, for the server's configuration.
    pub variables: Vec<(String, String)>,
    /// `SWITCHBACK_DATA`.
    pub data: Option<PathBuf>,
    /// `SWITCHBACK_COMPLETION_TIMEOUT`: how long completion waits for the server.
    pub completion: Option<Duration>,
    /// Where the data directory of a server on this machine may be.
    pub data_directories: Vec<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Environment {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Environment {
            server: text("SWITCHBACK_SERVER"),
            token: text("SWITCHBACK_TOKEN"),
            ca_file: path("SWITCHBACK_CA"),
            config: path("SWITCHBACK_CONFIG"),
            variables: std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
                .filter(|(name, _)| name.starts_with("SWITCHBACK"))
                .collect(),
            data: path("SWITCHBACK_DATA"),
            completion: text("SWITCHBACK_COMPLETION_TIMEOUT")
                .and_then(|milliseconds| milliseconds.parse().ok().map(Duration::from_millis)),
            data_directories: vec!["switchback-data".into(), "/var/lib/switchback".into()],
        }
    }
}

/// One server, asked as one principal.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    /// Why no token was found, for when the server wants one.
    no_token: Option<String>,
}

const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
const TOKEN_FILE: &str = "admin.token";
const CONNECT_SECONDS: u64 = 5;
/// Longer than the server waits for hosts and routers.
const REPLY_SECONDS: u64 = 60;
/// A whole log is read.
const VERIFY_SECONDS: u64 = 24 * 3600;
/// After this silence, several heartbeats long, an event stream is dead.
const SILENCE_SECONDS: u64 = 20;
/// How long to wait before coming again.
const AGAIN_SECONDS: u64 = 1;
/// How long to wait until the inventories show a command that is done.
const SETTLE_SECONDS: u64 = 5;

impl Client {
    /// As the flags and the environment say.
    pub fn new(arguments: &ClientArguments, environment: &Environment) -> Result<Client, Failure> {
        let server = arguments.server.clone().or(environment.server.clone());
        let base = base(server.as_deref().unwrap_or(DEFAULT_SERVER))?;
        let local = is_local(&base);
        let (token, no_token) = match arguments.token.clone().or(environment.token.clone()) {
            Some(token) => (Some(token), None),
            None => find_token(environment, local),
        };
        switchback_agent::install_provider();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("switchback-cli/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS));
        if local {
            http = http.no_proxy();
        }
        if let Some(path) = arguments.ca_file.as_ref().or(environment.ca_file.as_ref()) {
            http = http.tls_certs_only(authorities(path)?);
        }
        let http = http.build().map_err(|error| Failure::new(Exit::Other, chain(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Client { runtime, http, base, token, no_token })
    }

    /// Sends a command with the flags' headers. Unless told not to wait, returns when reads show what it did.
    pub fn command(&self, name: &str, body: &Value, arguments: &ClientArguments) -> Result<Value, Failure> {
        let mut parameters = vec![];
        if arguments.dry_run {
            parameters.push(("dryRun".to_string(), "true".to_string()));
        }
        if arguments.no_wait {
            parameters.push(("wait".to_string(), "durable".to_string()));
        }
        let mut request = self.request(Method::POST, &format!("v1/commands/{name}"), &parameters)?.json(body);
        for (header, value) in [("Idempotency-Key", &arguments.idempotency_key), ("X-Reason", &arguments.reason)] {
            if let Some(value) = value {
                let flag = if header == "X-Reason" { "--reason" } else { "--idempotency-key" };
                let value = header::HeaderValue::from_bytes(value.as_bytes())
                    .map_err(|_| Failure::usage(format!("{flag}: a line of text without control characters")))?;
                request = request.header(header, value);
            }
        }
        let reply = self.send(request, REPLY_SECONDS)?;
        if let Some(position) = reply["position"].as_u64()
            && !arguments.dry_run
            && !arguments.no_wait
        {
            self.settle(position);
        }
        Ok(reply)
    }

    /// Asks a query or another read.
    pub fn read(&self, name: &str, parameters: &[(String, String)]) -> Result<Value, Failure> {
        let whole_log = name == "VerifyAudit" || name.starts_with("Replay");
        let seconds = if whole_log { VERIFY_SECONDS } else { REPLY_SECONDS };
        self.send(self.request(Method::GET, &format!("v1/queries/{name}"), parameters)?, seconds)
    }

    /// Asks a query or another read for somebody who does not wait long; nothing when that is not enough.
    pub fn glance(&self, name: &str, parameters: &[(String, String)], patience: Duration) -> Option<Value> {
        let request = self.request(Method::GET, &format!("v1/queries/{name}"), parameters).ok()?.timeout(patience);
        let body = self.runtime.block_on(async { request.send().await?.error_for_status()?.bytes().await }).ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// The log as bytes, from a route that copies it.
    pub fn log(&self, path: &str, after: u64) -> Result<LogBytes<'_>, Failure> {
        let request = self.request(Method::GET, path, &[parameter("after", after)])?;
        let silence = Duration::from_secs(REPLY_SECONDS);
        let sent = self.runtime.block_on(async { tokio::time::timeout(silence, request.send()).await });
        let late =
            || Failure::new(Exit::Timeout, format!("`{}` did not answer within {REPLY_SECONDS} seconds", self.base));
        let mut answer = sent.map_err(|_| late())?.map_err(|error| self.unreachable(&error, REPLY_SECONDS))?;
        let status = answer.status();
        if !status.is_success() {
            let body = self.runtime.block_on(answer.bytes()).unwrap_or_default();
            return Err(Failure::of_answer(status.as_u16(), &body));
        }
        let upto = answer.headers().get("X-Switchback-Position").and_then(|value| value.to_str().ok()?.parse().ok());
        let next = move || {
            let chunk = self.runtime.block_on(async { tokio::time::timeout(silence, answer.chunk()).await });
            let chunk = chunk.map_err(|_| std::io::Error::other("the server sends nothing any more"))?;
            let broken_off = |error| std::io::Error::other(format!("the server broke off: {}", root(&error)));
            Ok(chunk.map_err(broken_off)?.map(Vec::from))
        };
        Ok(LogBytes { upto: upto.unwrap_or_default(), reader: Box::new(Chunks::new(next)) })
    }

    /// Follows the event stream: gives each event to `take`, comes again where it was cut off, and returns when all
    /// that was asked for was given.
    pub fn follow(
        &self,
        parameters: &[(String, String)],
        after: Option<u64>,
        take: &mut dyn FnMut(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut parameters = parameters.to_vec();
        let mut lines = EventLines { last: after, ..EventLines::default() };
        loop {
            let mut request = self.request(Method::GET, "v1/events", &parameters)?;
            request = request.header(header::ACCEPT, "text/event-stream");
            if let Some(last) = lines.last {
                request = request.header("Last-Event-ID", last.to_string());
            }
            let seen = lines.given;
            let over = self.runtime.block_on(async {
                let silence = Duration::from_secs(SILENCE_SECONDS);
                let sent = tokio::time::timeout(silence, request.send()).await;
                let Ok(Ok(mut answer)) = sent else {
                    return match sent {
                        Ok(Err(error)) if lines.last.is_none() => Err(self.unreachable(&error, SILENCE_SECONDS)),
                        _ => Ok(false),
                    };
                };
                let status = answer.status();
                if !status.is_success() {
                    let body = answer.bytes().await.unwrap_or_default();
                    return Err(Failure::of_answer(status.as_u16(), &body));
                }
                // A connection that is quiet for longer than a heartbeat takes is dead.
                while let Ok(Ok(Some(chunk))) = tokio::time::timeout(silence, answer.chunk()).await {
                    if lines.take(&chunk, take)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            })?;
            if over {
                return Ok(());
            }
            // What was given counts for the limit, too.
            for (name, value) in &mut parameters {
                if name == "limit"
                    && let Ok(limit) = value.parse::<u64>()
                {
                    *value = limit.saturating_sub(lines.given - seen).max(1).to_string();
                }
            }
            std::thread::sleep(Duration::from_secs(AGAIN_SECONDS));
        }
    }

    /// The next command line shall see what this one did: waits until the inventories stand at `position`.
    fn settle(&self, position: u64) {
        let parameters = [("count", "true".to_string()), ("minPosition", position.to_string())];
        let parameters = parameters.map(|(name, value)| (name.to_string(), value));
        if let Ok(request) = self.request(Method::GET, "v1/queries/QueryZone", &parameters) {
            // The command itself is done; that its inventories are late is no failure of it.
            let _ = self.send(request, SETTLE_SECONDS);
        }
    }

    fn request(&self, method: Method, path: &str, parameters: &[(String, String)]) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path).map_err(|error| Failure::usage(format!("--server: {error}")))?;
        let mut url = url;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Failure::usage("--token: characters that no token has"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn send(&self, request: RequestBuilder, seconds: u64) -> Result<Value, Failure> {
        let answered = self.runtime.block_on(async {
            let answer = request.timeout(Duration::from_secs(seconds)).send().await?;
            let status = answer.status();
            Ok((status, answer.bytes().await?))
        });
        let (status, body) = answered.map_err(|error: reqwest::Error| self.unreachable(&error, seconds))?;
        if !status.is_success() {
            let mut failure = Failure::of_answer(status.as_u16(), &body);
            if failure.exit == Exit::NotAllowed && self.token.is_none() {
                let none = self.no_token.as_deref().unwrap_or("give --token or set SWITCHBACK_TOKEN");
                failure.hint = Some(none.to_string());
            }
            return Err(failure);
        }
        serde_json::from_slice(&body).map_err(|_| {
            Failure::new(Exit::Other, format!("`{}` answered something that is no JSON", self.base))
                .hint("is it a Switchback server? see --server")
        })
    }

    fn unreachable(&self, error: &reqwest::Error, seconds: u64) -> Failure {
        if error.is_connect() {
            let why = root(error);
            let hint = match why.contains("certificate") {
                true => "--ca-file names the authority of the server's certificate; one that is its own says CA:FALSE",
                false => "is the server running? `switchback serve` starts one; --server names another",
            };
            Failure::new(Exit::Other, format!("cannot connect to `{}`: {why}", self.base)).hint(hint)
        } else if error.is_timeout() {
            let detail = format!("`{}` did not answer within {seconds} seconds", self.base);
            Failure::new(Exit::Timeout, detail).hint("with the same --idempotency-key a command can be sent again")
        } else {
            Failure::new(Exit::Other, format!("`{}`: {}", self.base, chain(error)))
        }
    }
}

/// Reads server-sent events, however they are cut into chunks.
#[derive(Default)]
struct EventLines {
    buffer: Vec<u8>,
    kind: String,
    data: String,
    id: Option<u64>,
    /// Where to go on.
    last: Option<u64>,
    /// How many events were given.
    given: u64,
}

impl EventLines {
    /// Whether it is over.
    fn take(&mut self, chunk: &[u8], give: &mut dyn FnMut(&Value) -> Result<(), Failure>) -> Result<bool, Failure> {
        self.buffer.extend_from_slice(chunk);
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => self.id = id.parse().ok(),
                Some(("event", kind)) => self.kind = kind.to_string(),
                Some(("data", data)) => self.data.push_str(data),
                _ if line.trim_end().is_empty() && self.event(give)? => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    fn event(&mut self, give: &mut dyn FnMut(&Value) -> Result<(), Failure>) -> Result<bool, Failure> {
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        let data: Value = serde_json::from_str(&data).unwrap_or_default();
        match kind.as_str() {
            "" | "heartbeat" => {}
            "end" => return Ok(true),
            "error" => return Err(Failure::new(Exit::Other, data["detail"].as_str().unwrap_or("the stream failed"))),
            _ => {
                give(&data)?;
                self.given += 1;
            }
        }
        self.last = self.id.take().or(self.last);
        Ok(false)
    }
}

fn base(server: &str) -> Result<Url, Failure> {
    let text = if server.contains("://") { server.to_string() } else { format!("http://{server}") };
    let bad = |why: String| Failure::usage(format!("--server = `{server}`: {why}"));
    let mut url = Url::parse(&text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("an address such as http://127.0.0.1:8080".to_string()));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// The certificates of a file, at least one.
fn authorities(path: &std::path::Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let bad = |why: String| Failure::usage(format!("--ca-file = `{}`: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
    let read = reqwest::Certificate::from_pem_bundle(&bytes).map_err(|error| bad(chain(&error)))?;
    if read.is_empty() {
        return Err(bad("a file with certificates in PEM".to_string()));
    }
    Ok(read)
}

fn is_local(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The token of a server on this machine. A directory that was not named by the user is only looked into for a
/// loopback address: its token must not travel to a server elsewhere.
fn find_token(environment: &Environment, local: bool) -> (Option<String>, Option<String>) {
    let guessed = environment.data_directories.iter().filter(|_| local);
    let mut hint = None;
    for directory in environment.data.iter().chain(guessed) {
        let path = directory.join(TOKEN_FILE);
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return (Some(text.trim().to_string()), None),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                hint = Some(format!("the token is in `{}`, which you may not read", path.display()));
            }
            _ => {}
        }
    }
    (None, hint)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The cause of an error behind all that only say that there was one.
fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// A reply's rows.
pub fn inventories(reply: &Value) -> &[Value] {
    reply["inventories"].as_array().map_or(&[], Vec::as_slice)
}

/// A parameter list's entry.
pub fn parameter(name: &str, value: impl ToString) -> (String, String) {
    (name.to_string(), value.to_string())
}

/// The body of a command with one parameter.
pub fn body(name: &str, value: &str) -> Value {
    json!({name: value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = "retry: 1000\n\nid: 4\nevent: zone.Created\ndata: {\"ü\":4}\n\nid: 9\nevent: heartbeat\ndata: {}\n\n\
                    id: 12\nevent: end\ndata: {}\n\n";
        for size in 1..text.len() {
            let mut lines = EventLines::default();
            let mut given = vec![];
            let mut over = false;
            for chunk in text.as_bytes().chunks(size) {
                over |= lines
                    .take(chunk, &mut |event| {
                        given.push(event.clone());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!((given, lines.last, over), (vec![json!({"ü": 4})], Some(9), true), "{size}");
        }
    }

    #[test]
    fn a_server_may_be_written_in_many_ways() {
        let cases = [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("localhost:1", "http://localhost:1/", true),
            ("http://[::1]:8080/", "http://[::1]:8080/", true),
            ("https://sdn.example/under", "https://sdn.example/under/", false),
            ("10.0.0.1", "http://10.0.0.1/", false),
        ];
        for (given, expected, local) in cases {
            let base = base(given).unwrap();
            assert_eq!((base.as_str(), is_local(&base)), (expected, local), "{given}");
        }
        for bad in ["", "ftp://x", "http://", "unix:///run/x", "http://a:99999"] {
            assert_eq!(base(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_token_is_found_on_this_machine_and_not_sent_elsewhere() {
        let named = tempfile::tempdir().unwrap();
        let guessed = tempfile::tempdir().unwrap();
        fs::write(guessed.path().join(TOKEN_FILE), "guessed\n").unwrap();
        let mut environment =
            Environment { data_directories: vec![guessed.path().to_path_buf()], ..Environment::default() };
        assert_eq!(find_token(&environment, true).0.as_deref(), Some("guessed"));
        assert_eq!(find_token(&environment, false).0, None);
        environment.data = Some(named.path().to_path_buf());
        assert_eq!(find_token(&environment, true).0.as_deref(), Some("guessed"));
        fs::write(named.path().join(TOKEN_FILE), "named").unwrap();
        assert_eq!(find_token(&environment, true).0.as_deref(), Some("named"));
        assert_eq!(find_token(&environment, false).0.as_deref(), Some("named"));
    }

    #[test]
    fn inner_flags_win() {
        let outer = ClientArguments {
            output: Some(Format::Yaml),
            server: Some("a".to_string()),
            dry_run: true,
            ..ClientArguments::default()
        };
        let inner = ClientArguments { json: true, server: Some("b".to_string()), ..ClientArguments::default() };
        let both = inner.over(&outer);
        assert_eq!((both.format(), both.server.as_deref(), both.dry_run), (Format::Json, Some("b"), true));
        assert_eq!(ClientArguments::default().over(&outer).format(), Format::Yaml);
    }
}
