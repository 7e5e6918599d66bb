//! Load balancing on a kernel in memory: what haproxy is told and when it is only told by its socket, what is refused,
//! how it is healed, and what the packet filter does for UDP.

mod common;

use common::{listener, server};
use std::{path::PathBuf, sync::Arc, time::Duration};
use switchback_agent::{
    kernel::{FailKind, Kernel, Link, SimulatedKernel},
    push_of_router,
    router::{RouterEngine, RouterSettings},
    services::load_balancer,
    version::Build,
};
use switchback_appliance::*;
use switchback_events::{AccessControlListId, CertificateId, Id, RouterId};

struct Bench {
    kernel: Arc<SimulatedKernel>,
    engine: RouterEngine,
    config: RouterConfig,
    pem: Pem,
}

fn id() -> RouterId {
    RouterId(Id::of_name("router"))
}

fn open(kernel: &Arc<SimulatedKernel>) -> RouterEngine {
    let settings = RouterSettings {
        router: id(),
        listen: Some(([172, 20, 0, 2], common::PORT).into()),
        state_dir: PathBuf::from("/state"),
        restart_after: Duration::ZERO,
    };
    RouterEngine::open(kernel.clone(), settings, Arc::new(Build::of("digest", "boot"))).unwrap()
}

/// A listener of each protocol, with two servers each.
fn bench() -> Bench {
    let mut config = common::router(id(), 3);
    let pem = Pem::new("-----BEGIN PRIVATE KEY-----\nsesame\n");
    let servers = || vec![server([10, 0, 0, 11], 80), server([10, 0, 0, 12], 80)];
    let certificate = CertificateId(Id::of_name("certificate"));
    let mut listeners = vec![
        listener(80, ListenerProtocol::Http, servers()),
        listener(443, ListenerProtocol::Https, servers()),
        listener(3306, ListenerProtocol::Tcp, servers()),
        listener(53, ListenerProtocol::Udp, servers()),
    ];
    listeners[1].tls = Some(Tls { certificate, policy: TlsPolicy::Strict12And13 });
    let certificates = vec![CertificateConfig { certificate, digest: pem.digest(), pem: None }];
    config.sections.load_balancer = LoadBalancerConfig { listeners, certificates };
    let link = |nic: &RouterNic| Link { name: nic.name.clone(), mac: Some(nic.mac), mtu: 1500, ..Link::default() };
    let kernel = Arc::new(SimulatedKernel::new(config.sections.interfaces.nics.iter().map(link)));
    let engine = open(&kernel);
    engine.restore().unwrap();
    Bench { kernel, engine, config, pem }
}

impl Bench {
    fn push(&self) -> Push {
        let mut push = push_of_router(&self.config, 1);
        enclose_certificates(&mut push, |_| Some(self.pem.clone()));
        push
    }

    fn put(&self) -> ApplyReport {
        self.engine.put(self.push(), false).unwrap()
    }

    fn actions(&self) -> Vec<String> {
        self.put().sections.get("loadBalancer").map(|section| section.actions.clone()).unwrap_or_default()
    }

    fn listener(&mut self, at: usize) -> &mut ListenerConfig {
        &mut self.config.sections.load_balancer.listeners[at]
    }

    fn drift(&self) -> Vec<(String, String)> {
        let items = self.engine.drift().unwrap().items;
        items.into_iter().map(|item| (item.section, item.item)).collect()
    }

    fn file(&self, name: &str) -> Option<String> {
        self.kernel.read(&PathBuf::from("/state/haproxy").join(name)).unwrap()
    }
}

#[test]
fn what_was_applied_is_held_and_applying_it_again_does_nothing() {
    let bench = bench();
    assert!(bench.actions().contains(&"start haproxy".to_string()));
    assert_eq!(bench.drift(), []);
    let health = bench.engine.health();
    assert!(health.healthy, "{health:?}");
    assert!(health.services["haproxy"].detail.ends_with("6 of 6 servers are up"), "{health:?}");
    assert_eq!(bench.engine.held().digests, bench.config.sections.digests());
    let before = bench.kernel.changes_made();
    assert_eq!(bench.actions(), Vec::<String>::new());
    assert_eq!(bench.kernel.changes_made(), before);
}

#[test]
fn only_another_structure_needs_another_process() {
    let mut bench = bench();
    bench.put();
    bench.listener(0).servers.push(server([10, 0, 0, 13], 80));
    assert_eq!(
        bench.actions(),
        ["add server 10.0.0.13:80 to servers-".to_string()
            + &bench.config.sections.load_balancer.listeners[0].listener.to_string()]
    );
    bench.listener(2).algorithm = BalancerAlgorithm::WeightRoundRobin;
    bench.listener(2).servers[0].weight = 100;
    bench.listener(2).servers[1].weight = 30;
    let actions = bench.actions();
    assert!(
        actions.iter().any(|action| action.starts_with("weight 30"))
            && !actions.contains(&"reload haproxy".to_string()),
        "{actions:?}"
    );
    bench.listener(2).servers.remove(0);
    let actions = bench.actions();
    assert!(
        actions[0].starts_with("take server 10.0.0.11-3306") || actions[0].starts_with("take server 10.0.0.11-80"),
        "{actions:?}"
    );
    assert!(!actions.contains(&"reload haproxy".to_string()), "{actions:?}");
    bench.listener(2).idle_timeout = 120;
    assert_eq!(bench.actions(), ["reload haproxy"]);
    // A server's cookie is a part of its line.
    bench.listener(0).persistence = Persistence::Insert { cookie: "SRV".to_string(), idle: 60 };
    assert_eq!(bench.actions(), ["reload haproxy"]);
    bench.listener(0).servers.push(server([10, 0, 0, 14], 80));
    assert!(bench.actions().contains(&"reload haproxy".to_string()));
    assert_eq!(bench.drift(), []);
    assert!(bench.engine.health().healthy);
    bench.config.sections.load_balancer = LoadBalancerConfig::default();
    assert!(bench.actions().contains(&"stop haproxy".to_string()));
    assert_eq!((bench.file("haproxy.cfg"), bench.drift()), (None, vec![]));
}

#[test]
fn what_somebody_else_changed_is_named_and_healed() {
    let bench = bench();
    bench.put();
    let backend = load_balancer::backend_name(&bench.config.sections.load_balancer.listeners[0], None);
    let ask =
        |line: String| bench.kernel.ask_socket(&PathBuf::from("/state/haproxy/admin.sock"), &line, Duration::ZERO);
    ask(format!("set server {backend}/10.0.0.11-80 state maint")).unwrap();
    ask(format!("set server {backend}/10.0.0.12-80 weight 7")).unwrap();
    ask(format!("add server {backend}/evil 6.6.6.6:80 weight 1")).unwrap();
    let file = format!("{}.pem", bench.pem.digest());
    bench.kernel.write(&PathBuf::from("/state/haproxy").join(&file), b"other", 0o600).unwrap();
    bench.kernel.write(&PathBuf::from("/state/haproxy/haproxy.cfg"), b"other", 0o600).unwrap();
    let drift: Vec<String> = bench.drift().into_iter().map(|(section, item)| format!("{section} {item}")).collect();
    for item in [
        format!("server {backend}/10.0.0.11-80"),
        format!("weight of server {backend}/10.0.0.12-80"),
        format!("server {backend}/evil"),
        format!("certificate {file}"),
        "haproxy.cfg content".to_string(),
    ] {
        assert!(drift.contains(&format!("loadBalancer {item}")), "{item} is not in {drift:?}");
    }
    assert!(!bench.engine.health().services["haproxy"].healthy);
    bench.put();
    assert_eq!(bench.drift(), []);
    assert!(bench.engine.health().healthy);
    bench.kernel.wipe();
    let drift = bench.drift();
    for item in ["haproxy process", "nftables table"] {
        assert!(drift.contains(&("loadBalancer".to_string(), item.to_string())), "{drift:?}");
    }
    bench.engine.supervise();
    bench.put();
    assert_eq!(bench.drift(), []);
}

#[test]
fn haproxy_that_died_is_started_again_and_an_agent_that_starts_again_finds_the_one_that_runs() {
    let bench = bench();
    bench.put();
    bench.kernel.kill("haproxy");
    assert!(!bench.engine.health().healthy);
    bench.engine.supervise();
    assert!(bench.engine.health().healthy);
    let before = bench.file("haproxy.process");
    bench.engine.stop();
    let again = open(&bench.kernel);
    again.restore().unwrap();
    assert!(again.health().healthy, "{:?}", again.health());
    assert_eq!(bench.file("haproxy.process"), before, "the same process");
}

#[test]
fn a_failure_brings_back_the_last_good() {
    for kind in [FailKind::Write, FailKind::Run, FailKind::Spawn, FailKind::Table] {
        let mut bench = bench();
        let good = bench.config.clone();
        if kind == FailKind::Spawn {
            bench.kernel.fail_next(kind);
            let problem = bench.engine.put(bench.push(), false).unwrap_err();
            assert_eq!(problem.code, AgentProblemCode::Failed);
            continue;
        }
        bench.put();
        bench.config.revision = 2;
        bench.listener(0).idle_timeout = 99;
        bench.listener(3).port = 54;
        bench.kernel.fail_next(kind);
        let problem = bench.engine.put(bench.push(), false).unwrap_err();
        assert_eq!(problem.code, AgentProblemCode::Failed, "{kind:?}");
        bench.config = good;
        assert_eq!(bench.drift(), [], "{kind:?}");
        assert!(bench.engine.health().healthy, "{kind:?}");
        assert!(bench.file("haproxy.cfg").unwrap().contains("timeout client 60s"), "{kind:?}");
    }
}

#[test]
fn a_private_key_is_in_its_file_and_nowhere_else() {
    let mut bench = bench();
    let thin = push_of_router(&bench.config, 1);
    let problem = bench.engine.put(thin.clone(), false).unwrap_err();
    assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::MissingSection, Some("loadBalancer")));
    bench.put();
    assert_eq!(bench.file(&format!("{}.pem", bench.pem.digest())).as_deref(), Some(bench.pem.text()));
    let held = serde_json::to_string(&bench.engine.held()).unwrap();
    let kept = bench.kernel.read(&PathBuf::from("/state/last-good.json")).unwrap().unwrap();
    for text in [held, kept, bench.file("haproxy.cfg").unwrap(), format!("{:?}", bench.engine.observed())] {
        assert!(!text.contains("sesame"), "{text}");
    }
    // What is there already need not come again.
    bench.engine.put(thin, false).unwrap();
    // The file of one that is not shown any more goes.
    let before = format!("{}.pem", bench.pem.digest());
    bench.pem = Pem::new("other");
    bench.config.sections.load_balancer.certificates[0].digest = bench.pem.digest();
    assert!(bench.actions().contains(&"reload haproxy".to_string()));
    assert_eq!(bench.file(&before), None);
    // A dry run leaves none behind.
    bench.pem = Pem::new("third");
    bench.config.sections.load_balancer.certificates[0].digest = bench.pem.digest();
    bench.engine.put(bench.push(), true).unwrap();
    assert_eq!(bench.file(&format!("{}.pem", bench.pem.digest())), None);
}

#[test]
fn servers_of_udp_that_are_not_well_get_nothing() {
    let bench = bench();
    bench.put();
    let table = || serde_json::to_string(&bench.kernel.table(&format!("vr_{}", id().0.tail())).unwrap()).unwrap();
    let one_of_two = "numgen inc mod 2 < 1 dnat ip to 10.0.0.11:80";
    assert!(table().contains(one_of_two) && table().contains(" dnat ip to 10.0.0.12:80"), "{}", table());
    let settle = |wanted: &dyn Fn(&str) -> bool| {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !wanted(&table()) {
            assert!(std::time::Instant::now() < deadline, "{}", table());
            bench.engine.supervise();
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    bench.kernel.close(([10, 0, 0, 11], 80).into(), true);
    settle(&|table| !table.contains("numgen") && table.contains(" dnat ip to 10.0.0.12:80"));
    assert_eq!(bench.drift(), []);
    bench.kernel.close(([10, 0, 0, 11], 80).into(), false);
    settle(&|table| table.contains(one_of_two));
}

#[test]
fn what_would_mean_something_to_haproxy_is_refused() {
    type Change = fn(&mut ListenerConfig);
    let change: &[(&str, Change)] = &[
        ("`/x y` is not a path", |l| l.health.target = http("/x y")),
        ("`/x\nserver a 1.2.3.4:5` is not a path", |l| l.health.target = http("/x\nserver a 1.2.3.4:5")),
        ("statuses begin with 1 to 5", |l| {
            l.health.target = HealthTarget::Http { method: HttpMethod::GET, uri: "/".to_string(), codes: vec![] }
        }),
        ("only servers of udp are asked by udp", |l| l.health.target = HealthTarget::Udp),
        ("`a b` is not a name of a cookie", |l| {
            l.persistence = Persistence::Insert { cookie: "a b".to_string(), idle: 60 }
        }),
        ("`a.b } x` is not a host", |l| l.redirects = vec![redirect(Some("a.b } x"), None)]),
        ("`a.b:x` is not a host", |l| l.redirects = vec![redirect(Some("a.b:x"), None)]),
        ("`x` is not a path", |l| l.redirects = vec![redirect(None, Some("x"))]),
        ("10.0.0.11 port 80 is there twice", |l| l.servers.push(server([10, 0, 0, 11], 80))),
        ("0.0.0.0 port 80 weight 100 is not a server", |l| l.servers.push(server([0, 0, 0, 0], 80))),
        ("it needs an address", |l| l.addresses.clear()),
        ("an address is not one", |l| l.addresses = vec![[0, 0, 0, 0].into()]),
        ("0 is not a port", |l| l.port = 0),
        ("1 to 64 processes", |l| l.processes = 65),
        ("it needs at least one connection", |l| l.max_connections = 0),
        ("a time is 0", |l| l.idle_timeout = 0),
        ("a threshold is 0", |l| l.health.healthy = 0),
        ("https, and only https, has a certificate", |l| l.protocol = ListenerProtocol::Https),
        ("its certificate is not in the section", |l| {
            l.protocol = ListenerProtocol::Https;
            l.tls = Some(Tls { certificate: CertificateId(Id::of_name("other")), policy: TlsPolicy::Default });
        }),
        ("only http and https tell requests apart", |l| {
            (l.protocol, l.redirects) = (ListenerProtocol::Tcp, vec![redirect(None, Some("/"))]);
        }),
        ("only http and https have cookies", |l| {
            l.protocol = ListenerProtocol::Tcp;
            l.persistence = Persistence::Rewrite { cookie: "a".to_string() };
        }),
        ("udp has no connections to count", |l| {
            (l.protocol, l.algorithm) = (ListenerProtocol::Udp, BalancerAlgorithm::LeastConn);
        }),
        ("udp has no proxy protocol", |l| {
            (l.protocol, l.proxy_protocol) = (ListenerProtocol::Udp, Some(ProxyProtocol::V1));
        }),
        ("servers of udp are not asked by http", |l| {
            (l.protocol, l.health.target) = (ListenerProtocol::Udp, http("/"));
        }),
        ("a redirect has a port and a status", |l| l.http.to_https = Some(ToHttps { port: 443, status: 200 })),
        ("a source has no prefix length", |l| {
            l.access = Some(Access { allow: true, sources: vec!["0.0.0.0/0".parse().unwrap()] })
        }),
        ("203.0.113.1 port 443 is another's", |l| l.port = 443),
    ];
    let http_listener = bench();
    for (text, change) in change {
        let mut bench = bench();
        change(bench.listener(0));
        let problem = bench.engine.put(bench.push(), false).unwrap_err();
        assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::Invalid, Some("loadBalancer")));
        assert!(problem.detail.contains(text), "{text}: {problem}");
    }
    let mut wrong = http_listener.push();
    enclose_certificates(&mut wrong, |_| Some(Pem::new("other")));
    let problem = http_listener.engine.put(wrong, false).unwrap_err();
    assert!(problem.detail.contains("is not that of its digest") && !problem.detail.contains("other"), "{problem}");
    let mut short = http_listener.config.clone();
    short.sections.load_balancer.certificates[0].digest = "../../etc/passwd".to_string();
    let problem = http_listener.engine.put(push_of_router(&short, 1), false).unwrap_err();
    assert!(problem.detail.contains("has no SHA-256 as its digest"), "{problem}");
}

fn http(uri: &str) -> HealthTarget {
    HealthTarget::Http { method: HttpMethod::HEAD, uri: uri.to_string(), codes: vec![2, 3] }
}

fn redirect(host: Option<&str>, path: Option<&str>) -> Redirect {
    let servers = vec![server([10, 0, 0, 13], 8080)];
    let list = AccessControlListId(Id::of_name("list"));
    Redirect { list, host: host.map(str::to_string), path: path.map(str::to_string), servers }
}

#[test]
fn every_option_has_its_line() {
    let mut bench = bench();
    let full = bench.listener(1);
    full.algorithm = BalancerAlgorithm::WeightRoundRobin;
    full.persistence = Persistence::Insert { cookie: "SRV".to_string(), idle: 300 };
    full.health.target = http("/health");
    full.health.port = Some(8081);
    full.servers[1].weight = 30;
    full.redirects = vec![redirect(Some("*.one.test:8443"), Some("/img")), redirect(Some("two.test"), None)];
    full.redirects[1].list = AccessControlListId(Id::of_name("second list"));
    full.access = Some(Access { allow: true, sources: vec!["10.0.0.0/8".parse().unwrap()] });
    full.http.connections = HttpConnections::ServerClose;
    full.http.h2 = true;
    full.http.compression = vec![Compression::Gzip, Compression::RawDeflate];
    full.http.to_https = Some(ToHttps { port: 8443, status: 307 });
    let listener = full.listener;
    bench.put();
    let text = bench.file("haproxy.cfg").unwrap();
    let (list, second) = (Id::of_name("list"), Id::of_name("second list"));
    for wanted in [
        format!("frontend listener-{listener}\n  mode http\n  maxconn 2000\n  timeout client 60s\n"),
        format!(
            "  bind 203.0.113.1:443 ssl crt /state/haproxy/{}.pem ssl-min-ver TLSv1.2 ciphers ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES256:ECDHE+AES128 alpn h2,http/1.1\n",
            bench.pem.digest()
        ),
        "  acl sources src 10.0.0.0/8\n  tcp-request connection reject unless sources\n".to_string(),
        "  option http-server-close\n  option forwardfor\n  http-request set-header X-Forwarded-Proto https\n".to_string(),
        "  http-request redirect prefix https://%[req.hdr(host),field(1,:)]:8443 code 307\n".to_string(),
        format!("  use_backend servers-{listener}-{list} if {{ hdr_end(host) -i .one.test:8443 }} {{ path_beg /img }}\n"),
        format!("  use_backend servers-{listener}-{second} if {{ hdr(host) -i two.test }}\n"),
        format!("  default_backend servers-{listener}\n"),
        "  balance roundrobin\n  cookie SRV insert indirect nocache maxidle 300s\n  compression algo gzip raw-deflate\n".to_string(),
        "  http-check send meth HEAD uri /health ver HTTP/1.1 hdr Host health\n  http-check expect rstatus ^[23]\n".to_string(),
        "  server 10.0.0.12-80 10.0.0.12:80 weight 30 check inter 1s rise 1 fall 1 port 8081 cookie 10.0.0.12-80\n".to_string(),
    ] {
        assert!(text.contains(&wanted), "{wanted} is not in\n{text}");
    }
    let table = serde_json::to_string(&bench.kernel.table(&format!("vr_{}", id().0.tail())).unwrap()).unwrap();
    assert!(table.contains(r#""elem":["203.0.113.1 . 3306","203.0.113.1 . 443","203.0.113.1 . 80"]"#), "{table}");
    assert!(table.contains(r#""elem":["203.0.113.1 . 53"]"#), "{table}");
}
