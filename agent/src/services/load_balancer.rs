//! Load balancing of TCP and HTTP: haproxy's configuration for the section. A listener is a `frontend`, each list of
//! servers that it hands on to a `backend`.
//!
//! A server's name is made of its address and port. So one that stays is known again, whatever else changes, and what
//! haproxy knows of its health goes over into the next process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::SocketAddr,
    path::Path,
};
use switchback_appliance::*;

/// Files of descriptors that haproxy counts on at most: without a limit it takes what the machine has, and memory for it.
const DESCRIPTORS: u32 = 500_000;
/// Where old and new process hand over who goes to which server.
const PEER: &str = "127.0.0.1:1023";
/// What answers are packed, of those that are worth it.
const PACKED: &str = "text/html text/plain text/css text/xml text/javascript application/javascript application/json application/xml image/svg+xml";

/// What haproxy should be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The file without the lines of servers.
    pub frame: String,
    /// The lists of servers, by name.
    pub backends: BTreeMap<String, Backend>,
}

/// A list of servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// Its lines before those of servers.
    pub head: String,
    /// What each server's line ends with.
    pub options: String,
    /// A server's own cookie is a part of its line: it cannot come while haproxy runs.
    pub cookies: bool,
    /// By name.
    pub servers: BTreeMap<String, Server>,
}

/// A server as haproxy knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share.
    pub weight: u8,
}

/// The name of a listener's `frontend`.
pub fn frontend_name(listener: &ListenerConfig) -> String {
    format!("listener-{}", listener.listener)
}

/// The name of the `backend` of a listener, or of one of its redirects.
pub fn backend_name(listener: &ListenerConfig, redirect: Option<&Redirect>) -> String {
    match redirect {
        Some(redirect) => format!("servers-{}-{}", listener.listener, redirect.list),
        None => format!("servers-{}", listener.listener),
    }
}

/// The name of a server.
pub fn server_name(server: &BackendServer) -> String {
    format!("{}-{}", server.ip.to_string().replace(':', "_"), server.port)
}

/// Whether haproxy serves the listener; the packet filter does the others.
pub fn by_haproxy(listener: &&ListenerConfig) -> bool {
    listener.protocol != ListenerProtocol::Udp
}

/// The file of a certificate.
pub fn certificate_file(certificate: &CertificateConfig) -> String {
    format!("{}.pem", certificate.digest)
}

impl Rendered {
    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = self.frame.clone();
        for (name, backend) in &self.backends {
            let _ = write!(text, "backend {name}\n{}", backend.head);
            for (server, Server { address, weight }) in &backend.servers {
                let cookie = if backend.cookies { format!(" cookie {server}") } else { String::new() };
                let _ = writeln!(text, "  server {server} {address} weight {weight}{}{cookie}", backend.options);
            }
        }
        text
    }

    /// What a new process is needed for when it changes: all but the servers.
    pub fn structure(&self) -> String {
        let heads: Vec<(&String, &String, &String)> =
            self.backends.iter().map(|(name, backend)| (name, &backend.head, &backend.options)).collect();
        digest(&(&self.frame, heads))[..16].to_string()
    }
}

/// Haproxy's configuration, nothing where no listener needs it. Files are in `directory`.
pub fn render(config: &LoadBalancerConfig, directory: &Path) -> Option<Rendered> {
    let listeners: Vec<&ListenerConfig> = config.listeners.iter().filter(by_haproxy).collect();
    let threads = listeners.iter().map(|listener| listener.processes).max()?;
    let path = |name: &str| directory.join(name).display().to_string();
    let mut frame = format!(
        "global
  no strict-limits
  fd-hard-limit {DESCRIPTORS}
  nbthread {threads}
  user nobody
  group nogroup
  localpeer router
  stats socket {} mode 600 level admin expose-fd listeners
  server-state-file {}
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  timeout connect 5s
  timeout http-request 30s
  load-server-state-from-file global
  retries 3
  option redispatch
  option dontlognull
",
        path(super::haproxy::SOCKET),
        path(super::haproxy::STATES),
    );
    if listeners.iter().any(|listener| matches!(listener.persistence, Persistence::Source { .. })) {
        let _ = write!(frame, "peers switchback\n  peer router {PEER}\n");
    }
    let files: BTreeMap<_, String> = config
        .certificates
        .iter()
        .map(|certificate| (certificate.certificate, path(&certificate_file(certificate))))
        .collect();
    let mut backends = BTreeMap::new();
    for listener in listeners {
        let certificate = listener.tls.and_then(|tls| files.get(&tls.certificate));
        frontend(&mut frame, listener, certificate.map_or("", String::as_str));
        let lists = listener.redirects.iter().map(|redirect| (Some(redirect), &redirect.servers));
        for (redirect, servers) in lists.chain([(None, &listener.servers)]) {
            backends.insert(backend_name(listener, redirect), backend(listener, servers));
        }
    }
    Some(Rendered { frame, backends })
}

fn frontend(text: &mut String, listener: &ListenerConfig, certificate: &str) {
    let _ = writeln!(text, "frontend {}", frontend_name(listener));
    let http = is_http(listener);
    let ListenerConfig { idle_timeout, max_connections, port, .. } = listener;
    let _ = write!(text, "  mode {}\n  maxconn {max_connections}\n", if http { "http" } else { "tcp" });
    let _ = writeln!(text, "  timeout client {idle_timeout}s");
    let tls = match listener.tls {
        Some(tls) => format!(" ssl crt {certificate} {} alpn {}", policy(tls.policy), versions(&listener.http)),
        None => String::new(),
    };
    for address in &listener.addresses {
        let _ = writeln!(text, "  bind {}{tls}", SocketAddr::new(*address, *port));
    }
    if let Some(access) = &listener.access {
        for source in &access.sources {
            let _ = writeln!(text, "  acl sources src {source}");
        }
        match (access.sources.is_empty(), access.allow) {
            (true, true) => text.push_str("  tcp-request connection reject\n"),
            (true, false) => {}
            (false, true) => text.push_str("  tcp-request connection reject unless sources\n"),
            (false, false) => text.push_str("  tcp-request connection reject if sources\n"),
        }
    }
    if http {
        let mode = match listener.http.connections {
            HttpConnections::KeepAlive => "http-keep-alive",
            HttpConnections::ServerClose => "http-server-close",
            HttpConnections::Close => "httpclose",
        };
        let _ = write!(text, "  option {mode}\n  option forwardfor\n");
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        let _ = writeln!(text, "  http-request set-header X-Forwarded-Proto {scheme}");
        if let Some(ToHttps { port, status }) = listener.http.to_https {
            let port = if port == 443 { String::new() } else { format!(":{port}") };
            let _ = writeln!(
                text,
                "  http-request redirect prefix https://%[req.hdr(host),field(1,:)]{port} code {status}"
            );
        }
    }
    for redirect in &listener.redirects {
        let mut conditions = Vec::new();
        if let Some(host) = &redirect.host {
            match host.strip_prefix('*') {
                Some(end) => conditions.push(format!("{{ hdr_end(host) -i {end} }}")),
                None => conditions.push(format!("{{ hdr(host) -i {host} }}")),
            }
        }
        if let Some(path) = &redirect.path {
            conditions.push(format!("{{ path_beg {path} }}"));
        }
        let _ = writeln!(
            text,
            "  use_backend {} if {}",
            backend_name(listener, Some(redirect)),
            if conditions.is_empty() { "TRUE".to_string() } else { conditions.join(" ") }
        );
    }
    let _ = writeln!(text, "  default_backend {}", backend_name(listener, None));
}

fn backend(listener: &ListenerConfig, servers: &[BackendServer]) -> Backend {
    let http = is_http(listener);
    let ListenerConfig { idle_timeout, health, .. } = listener;
    let mut head = format!(
        "  mode {}
  timeout server {idle_timeout}s
  timeout tunnel {idle_timeout}s
  timeout check {}s
",
        if http { "http" } else { "tcp" },
        health.timeout,
    );
    head.push_str(match listener.algorithm {
        BalancerAlgorithm::RoundRobin | BalancerAlgorithm::WeightRoundRobin => "  balance roundrobin\n",
        BalancerAlgorithm::LeastConn => "  balance leastconn\n",
        BalancerAlgorithm::Source => "  balance source\n  hash-type consistent\n",
    });
    match &listener.persistence {
        Persistence::Off => {}
        Persistence::Source { idle } => {
            let kind = if listener.addresses.iter().all(|address| address.is_ipv4()) { "ip" } else { "ipv6" };
            let _ = writeln!(head, "  stick-table type {kind} size 100k expire {idle}s peers switchback");
            head.push_str("  stick on src\n");
        }
        Persistence::Insert { cookie, idle } => {
            let _ = writeln!(head, "  cookie {cookie} insert indirect nocache maxidle {idle}s");
        }
        Persistence::Rewrite { cookie } => {
            let _ = writeln!(head, "  cookie {cookie} rewrite");
        }
    }
    if !listener.http.compression.is_empty() {
        let algorithms: Vec<&str> = listener.http.compression.iter().map(|algorithm| packer(*algorithm)).collect();
        let _ = write!(head, "  compression algo {}\n  compression type {PACKED}\n", algorithms.join(" "));
    }
    if let HealthTarget::Http { method, uri, codes } = &health.target {
        let method = match method {
            HttpMethod::GET => "GET",
            HttpMethod::HEAD => "HEAD",
        };
        let codes: BTreeSet<String> = codes.iter().map(u8::to_string).collect();
        let codes: String = codes.into_iter().collect();
        let _ =
            write!(head, "  option httpchk\n  http-check send meth {method} uri {uri} ver HTTP/1.1 hdr Host health\n");
        let _ = writeln!(head, "  http-check expect rstatus ^[{codes}]");
    }
    let HealthCheck { interval, healthy, unhealthy, .. } = health;
    let mut options = format!(" check inter {interval}s rise {healthy} fall {unhealthy}");
    if let Some(port) = health.port {
        let _ = write!(options, " port {port}");
    }
    options.push_str(match listener.proxy_protocol {
        None => "",
        Some(ProxyProtocol::V1) => " send-proxy",
        Some(ProxyProtocol::V2) => " send-proxy-v2",
    });
    let weighs = listener.algorithm == BalancerAlgorithm::WeightRoundRobin;
    let servers = servers.iter().map(|server| {
        let weight = if weighs { server.weight } else { 1 };
        (server_name(server), Server { address: SocketAddr::new(server.ip, server.port), weight })
    });
    let cookies = matches!(listener.persistence, Persistence::Insert { .. } | Persistence::Rewrite { .. });
    Backend { head, options, cookies, servers: servers.collect() }
}

fn is_http(listener: &ListenerConfig) -> bool {
    matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Https)
}

fn versions(http: &HttpOptions) -> &'static str {
    if http.h2 { "h2,http/1.1" } else { "http/1.1" }
}

fn packer(algorithm: Compression) -> &'static str {
    match algorithm {
        Compression::Gzip => "gzip",
        Compression::Deflate => "deflate",
        Compression::RawDeflate => "raw-deflate",
        Compression::Identity => "identity",
    }
}

fn policy(policy: TlsPolicy) -> &'static str {
    match policy {
        TlsPolicy::Default => "ssl-min-ver TLSv1.2",
        // The library takes its old versions on the lowest level of security only.
        TlsPolicy::From10 => "ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.2 ciphers DEFAULT@SECLEVEL=0",
        TlsPolicy::From11 => "ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.2 ciphers DEFAULT@SECLEVEL=0",
        TlsPolicy::Only12 => "ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2",
        TlsPolicy::Strict12 => {
            "ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2 ciphers ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128"
        }
        TlsPolicy::Strict12And13 => "ssl-min-ver TLSv1.2 ciphers ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128",
    }
}
