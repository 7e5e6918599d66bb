//! Load balancing with a real haproxy, a real packet filter and real packets: VMs as servers, clients in the internet.
//! Needs root.

mod common;
mod site;

use common::{listener, server};
use site::{Site, eventually};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use switchback_agent::{Agents, kernel::enter_namespace, push_of_router};
use switchback_appliance::*;
use switchback_events::{AccessControlListId, CertificateId, Id};

/// A server in the namespace of a VM, which says who it is, whom it sees and what it was asked; until it is dropped.
struct Backend {
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn start(site: &Site, number: u16, port: u16) -> Backend {
        let (namespace, name) = (site.vm_namespace(number), format!("vm{number}"));
        let (stopped, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, connections) = (stopped.clone(), open.clone());
        let (ready, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            enter_namespace(&namespace).unwrap();
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            let datagrams = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            datagrams.set_nonblocking(true).unwrap();
            ready.send(()).unwrap();
            let mut buffer = [0; 512];
            while !stop.load(Ordering::Relaxed) {
                let mut idle = true;
                if let Ok((stream, peer)) = listener.accept() {
                    idle = false;
                    stream.set_nonblocking(false).unwrap();
                    connections.lock().unwrap().push(stream.try_clone().unwrap());
                    let name = name.clone();
                    std::thread::spawn(move || answer(stream, &name, peer));
                }
                if let Ok((_, peer)) = datagrams.recv_from(&mut buffer) {
                    idle = false;
                    let _ = datagrams.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
                }
                if idle {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        started.recv().unwrap();
        Backend { stopped, open, thread: Some(thread) }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Answers requests one after the other with who answers and what came.
fn answer(mut stream: TcpStream, name: &str, peer: SocketAddr) {
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => came.extend(&buffer[..length]),
            _ => return,
        }
        while let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&came[..end]).into_owned();
            came.drain(..end + 4);
            let body = format!("{name} peer={} {}\n", peer.ip(), head.replace("\r\n", " | "));
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Asks once with a connection of its own; what the body says.
fn ask(to: SocketAddr) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(failed)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").map_err(failed)?;
    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        // What is whole ends with the line's end: a server of TCP keeps the connection.
        let text = String::from_utf8_lossy(&came).into_owned();
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") && body.ends_with('\n') => {
                return Ok(body.to_string());
            }
            _ => {}
        }
        match stream.read(&mut buffer).map_err(failed)? {
            0 => return Err(format!("not answered: {text}")),
            length => came.extend(&buffer[..length]),
        }
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<String, u64>,
    failures: Vec<String>,
}

/// Clients in the internet that ask again and again.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Seen>>,
    began: Instant,
}

impl Load {
    fn start(site: &Site, to: SocketAddr, clients: usize) -> Load {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |_| {
            let (namespace, stop, asked) = (site.net_namespace(), stop.clone(), asked.clone());
            std::thread::spawn(move || {
                enter_namespace(&namespace).unwrap();
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    match ask(to) {
                        Ok(body) => {
                            let who = body.split(' ').next().unwrap_or_default().to_string();
                            *seen.answers.entry(who).or_default() += 1;
                        }
                        Err(error) => seen.failures.push(error),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        };
        let clients = (0..clients).map(one).collect();
        Load { stop, asked, clients, began: Instant::now() }
    }

    /// Waits until so many more were asked.
    fn pass(&self, more: u64) {
        let wanted = self.asked.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.asked.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "the load goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(self, what: &str) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for client in self.clients {
            let own = client.join().unwrap();
            own.answers.into_iter().for_each(|(who, count)| *seen.answers.entry(who).or_default() += count);
            seen.failures.extend(own.failures);
        }
        let (elapsed, asked) = (self.began.elapsed(), self.asked.load(Ordering::Relaxed));
        let rate = asked as f64 / elapsed.as_secs_f64();
        println!(
            "TIME {what}: {asked} requests, {rate:.0} a second, {} failed: {:?}",
            seen.failures.len(),
            seen.answers
        );
        seen
    }
}

/// A data centre with three VMs that serve.
async fn start(name: &str) -> (Site, Vec<Backend>) {
    let mut site = Site::start(name);
    site.bring_up(3).await;
    for number in 1..=3 {
        site.wait_for_lease(number, &format!("10.0.0.{}/16", 10 + number));
    }
    let backends = (1..=3).map(|number| Backend::start(&site, number, 80)).collect();
    (site, backends)
}

fn servers(count: u8) -> Vec<BackendServer> {
    (1..=count).map(|number| server([10, 0, 0, 10 + number], 80)).collect()
}

fn public(port: u16) -> SocketAddr {
    ([203, 0, 113, 1], port).into()
}

fn balance(site: &mut Site, listeners: Vec<ListenerConfig>) {
    site.router.sections.load_balancer.listeners = listeners;
    site.router.revision += 1;
}

async fn push(site: &mut Site) -> ApplyReport {
    site.push_router().await.unwrap()
}

/// So many answers from the internet, by who gave them.
fn spread(site: &Site, port: u16, count: usize) -> BTreeMap<String, usize> {
    let namespace = site.net_namespace();
    let asked = std::thread::spawn(move || {
        enter_namespace(&namespace).unwrap();
        let mut spread = BTreeMap::new();
        for _ in 0..count {
            let body = ask(public(port)).unwrap_or_else(|error| error);
            *spread.entry(body.split(' ').next().unwrap_or_default().to_string()).or_default() += 1;
        }
        spread
    });
    asked.join().unwrap()
}

fn curl(site: &Site, arguments: &str) -> String {
    site.in_net_text(&format!("curl -sk --max-time 5 {arguments}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_spreads_over_two_and_three_servers_as_it_says() {
    let (mut site, backends) = start("lbalg").await;
    let algorithms = [
        BalancerAlgorithm::RoundRobin,
        BalancerAlgorithm::LeastConn,
        BalancerAlgorithm::Source,
        BalancerAlgorithm::WeightRoundRobin,
    ];
    let mut listeners = Vec::new();
    for (at, algorithm) in algorithms.into_iter().enumerate() {
        for count in [2u8, 3] {
            let mut one = listener(8000 + 10 * at as u16 + u16::from(count), ListenerProtocol::Http, servers(count));
            one.algorithm = algorithm;
            one.servers[0].weight = 60;
            one.servers[1].weight = 30;
            listeners.push(one);
        }
    }
    let mut of_tcp = listener(9000, ListenerProtocol::Tcp, servers(3));
    of_tcp.proxy_protocol = None;
    listeners.push(of_tcp);
    balance(&mut site, listeners);
    push(&mut site).await;
    let asks = 24;
    let even = |spread: &BTreeMap<String, usize>, count: usize| {
        spread.len() == count && spread.values().all(|answers| *answers == asks / count)
    };
    for count in [2u16, 3] {
        let of = |at: u16| spread(&site, 8000 + 10 * at + count, asks);
        let round = of(0);
        assert!(even(&round, count.into()), "{round:?}");
        let least = of(1);
        assert!(least.len() == usize::from(count), "{least:?}");
        let source = of(2);
        assert_eq!(source.len(), 1, "{source:?}");
    }
    let weighted = spread(&site, 8032, 30);
    assert_eq!(weighted, BTreeMap::from([("vm1".to_string(), 20), ("vm2".to_string(), 10)]));
    assert!(even(&spread(&site, 9000, asks), 3));
    // Nothing but the listeners' ports is open.
    assert!(!site.in_net("nc -z -w 1 203.0.113.1 8001") && site.in_net("nc -z -w 1 203.0.113.1 8002"));
    // From inside too.
    assert!(site.vm(1, "curl -s --max-time 5 http://203.0.113.1:8002/").starts_with("vm"));
    assert!(site.client.health(site.router_at()).await.unwrap().healthy);
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    drop(backends);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_hosts_paths_cookies_and_lists_say() {
    let (mut site, backends) = start("lbhttp").await;
    let mut one = listener(80, ListenerProtocol::Http, servers(1));
    let redirect = |name: &str, host: Option<&str>, path: Option<&str>, last: u8| Redirect {
        list: AccessControlListId(Id::of_name(name)),
        host: host.map(str::to_string),
        path: path.map(str::to_string),
        servers: vec![server([10, 0, 0, last], 80)],
    };
    one.redirects = vec![redirect("a", Some("*.one.test"), None, 12), redirect("b", None, Some("/img"), 13)];
    one.http.compression = vec![Compression::Gzip];
    let mut sticky = listener(81, ListenerProtocol::Http, servers(3));
    sticky.persistence = Persistence::Insert { cookie: "SRV".to_string(), idle: 60 };
    let mut elsewhere = listener(82, ListenerProtocol::Http, servers(1));
    elsewhere.http.to_https = Some(ToHttps { port: 8443, status: 301 });
    let mut black = listener(83, ListenerProtocol::Http, servers(1));
    black.access = Some(Access { allow: false, sources: vec!["203.0.113.254/32".parse().unwrap()] });
    let mut white = listener(84, ListenerProtocol::Http, servers(1));
    white.access = Some(Access { allow: true, sources: vec!["203.0.113.254/32".parse().unwrap()] });
    let mut by_source = listener(85, ListenerProtocol::Http, servers(3));
    by_source.persistence = Persistence::Source { idle: 60 };
    balance(&mut site, vec![one, sticky, elsewhere, black, white, by_source]);
    push(&mut site).await;
    let url = "http://203.0.113.1";
    assert!(curl(&site, &format!("{url}/")).starts_with("vm1 "));
    assert!(curl(&site, &format!("-H 'Host: www.one.test' {url}/")).starts_with("vm2 "));
    assert!(curl(&site, &format!("-H 'Host: one.test' {url}/")).starts_with("vm1 "));
    let image = curl(&site, &format!("{url}/img/x"));
    assert!(image.starts_with("vm3 ") && image.contains("x-forwarded-for: 203.0.113.254"), "{image}");
    assert!(curl(&site, &format!("--compressed -o /dev/null -D - {url}/")).contains("content-encoding: gzip"));
    let jar = site.router_dir().join("cookies").display().to_string();
    let who = || curl(&site, &format!("-b {jar} -c {jar} {url}:81/")).split(' ').next().unwrap_or_default().to_string();
    let first = who();
    assert!(first.starts_with("vm") && (0..6).all(|_| who() == first));
    assert_eq!(spread(&site, 81, 9).len(), 3, "without the cookie");
    assert_eq!(spread(&site, 85, 9).len(), 1, "by source");
    let sent = curl(&site, &format!("-o /dev/null -D - -H 'Host: a.test:82' {url}:82/x?y=1"));
    assert!(sent.starts_with("HTTP/1.1 301") && sent.contains("location: https://a.test:8443/x?y=1"), "{sent}");
    assert_eq!(curl(&site, &format!("{url}:83/")), "");
    assert!(curl(&site, &format!("{url}:84/")).starts_with("vm1 "));
    assert_eq!(site.vm(2, &format!("curl -s --max-time 5 {url}:84/")), "");
    assert!(site.vm(2, &format!("curl -s --max-time 5 {url}:83/")).starts_with("vm1 "));
    drop(backends);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_lose_no_request_and_no_count() {
    let (mut site, backends) = start("lbload").await;
    balance(&mut site, vec![listener(80, ListenerProtocol::Http, servers(3))]);
    push(&mut site).await;
    let load = Load::start(&site, public(80), 6);
    for round in 0..5u32 {
        load.pass(100);
        // Another structure, and with it other servers.
        let listeners = &mut site.router.sections.load_balancer.listeners;
        listeners[0].idle_timeout = 100 + round;
        site.router.revision += 1;
        let report = push(&mut site).await;
        assert_eq!(report.sections["loadBalancer"].actions, ["reload haproxy"]);
        println!("TIME reload applied in {} ms", report.millis);
    }
    load.pass(100);
    // A server less and one more, without another process.
    let taken = site.router.sections.load_balancer.listeners[0].servers.pop().unwrap();
    site.router.revision += 1;
    let report = push(&mut site).await;
    assert!(!report.sections["loadBalancer"].actions.contains(&"reload haproxy".to_string()), "{report:?}");
    load.pass(100);
    site.router.sections.load_balancer.listeners[0].servers.push(taken);
    site.router.revision += 1;
    let report = push(&mut site).await;
    assert!(!report.sections["loadBalancer"].actions.contains(&"reload haproxy".to_string()), "{report:?}");
    load.pass(100);
    let count = load.asked.clone();
    let seen = load.end("reloads");
    let asked = count.load(Ordering::Relaxed);
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(seen.answers.len(), 3, "{:?}", seen.answers);
    let observed = site.client.observed(site.router_at()).await.unwrap().sections;
    let name = format!("listener-{}", site.router.sections.load_balancer.listeners[0].listener);
    let counted = observed["loadBalancer"]["counted"][&name]["requests"].as_u64().unwrap();
    println!("TIME counted {counted} of {asked} requests over 5 reloads");
    assert!(counted >= asked, "{counted} of {asked}");
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    drop(backends);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_costs_what_it_was_doing_and_nothing_more() {
    let (mut site, mut backends) = start("lbkill").await;
    balance(&mut site, vec![listener(80, ListenerProtocol::Http, servers(3))]);
    push(&mut site).await;
    let clients = 6;
    let load = Load::start(&site, public(80), clients);
    load.pass(200);
    drop(backends.remove(1));
    load.pass(300);
    let seen = load.end("a server killed");
    assert!(seen.failures.len() <= clients, "{:?}", seen.failures);
    let backend =
        switchback_agent::services::load_balancer::backend_name(&site.router.sections.load_balancer.listeners[0], None);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let observed = site.client.observed(site.router_at()).await.unwrap().sections;
        let status = observed["loadBalancer"]["servers"][&backend]["10.0.0.12-80"]["status"].as_str().unwrap();
        if status.starts_with("DOWN") {
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
    }
    // A server that is down is no drift, and a reload does not take it for well.
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    site.router.sections.load_balancer.listeners[0].idle_timeout = 99;
    site.router.revision += 1;
    push(&mut site).await;
    assert!(spread(&site, 80, 12).keys().all(|who| who == "vm1" || who == "vm3"));
    backends.insert(1, Backend::start(&site, 2, 80));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !spread(&site, 80, 3).contains_key("vm2") {
        assert!(Instant::now() < deadline, "it comes back");
    }
    // An agent that starts again finds haproxy as it is.
    let before = site.in_router("pgrep -o haproxy");
    let boot = site.client.health(site.router_at()).await.unwrap().boot_id;
    let restart = AgentRestart { digest: None };
    site.client.restart_router_agent(site.host_at(), site.router.router, restart).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the agent comes back");
        match site.client.health(site.router_at()).await {
            Ok(health) if health.boot_id != boot => break assert!(health.healthy, "{health:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    assert_eq!(site.in_router("pgrep -o haproxy"), before);
    drop(backends);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_changed_under_load() {
    let (mut site, backends) = start("lbtls").await;
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_string()]).unwrap();
        Pem::new(format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()))
    };
    let id = CertificateId(Id::of_name("certificate"));
    let mut one = listener(443, ListenerProtocol::Https, servers(2));
    one.tls = Some(Tls { certificate: id, policy: TlsPolicy::Strict12And13 });
    one.http.h2 = true;
    balance(&mut site, vec![one]);
    let shown = |site: &Site| {
        site.in_net_text(
            "echo | openssl s_client -connect 203.0.113.1:443 2>/dev/null | openssl x509 -noout -ext subjectAltName",
        )
    };
    async fn put(site: &mut Site, id: CertificateId, pem: &Pem) {
        site.router.sections.load_balancer.certificates =
            vec![CertificateConfig { certificate: id, digest: pem.digest(), pem: None }];
        site.router.revision += 1;
        let mut push = push_of_router(&site.router, 1);
        enclose_certificates(&mut push, |_| Some(pem.clone()));
        site.client.put_config(site.router_at(), push).await.unwrap();
    }
    put(&mut site, id, &certificate("one.test")).await;
    assert!(shown(&site).contains("one.test"), "{}", shown(&site));
    let asked = curl(&site, "-w '%{http_version}' https://203.0.113.1/");
    assert!(asked.starts_with("vm") && asked.ends_with('2') && asked.contains("x-forwarded-proto: https"), "{asked}");
    let command = "i=0; while [ $i -lt 150 ]; do curl -sk --max-time 5 https://203.0.113.1/ | grep -q vm || echo failed; i=$((i+1)); done; echo done";
    let namespace = site.net_namespace();
    let load = std::thread::spawn(move || {
        let output = std::process::Command::new("ip").args(["netns", "exec", &namespace, "sh", "-c", command]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    });
    std::thread::sleep(Duration::from_millis(300));
    put(&mut site, id, &certificate("two.test")).await;
    assert!(shown(&site).contains("two.test"), "{}", shown(&site));
    assert_eq!(load.join().unwrap(), "done\n");
    let files = site.in_router(&format!("stat -c '%a' {}/haproxy/*.pem", site.router_dir().display()));
    assert_eq!(files, "600\n", "one file, and only the agent reads it");
    // What is no certificate is refused by haproxy, and the one in force stays.
    let bad = Pem::new("sesame");
    site.router.sections.load_balancer.certificates[0].digest = bad.digest();
    site.router.revision += 1;
    let mut push = push_of_router(&site.router, 1);
    enclose_certificates(&mut push, |_| Some(bad.clone()));
    let problem = site.client.put_config(site.router_at(), push).await.unwrap_err();
    assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::Failed, Some("loadBalancer")));
    assert!(!problem.detail.contains("sesame"), "{problem}");
    assert!(shown(&site).contains("two.test"), "{}", shown(&site));
    drop(backends);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_is_spread_over_the_servers_that_are_well() {
    let (mut site, mut backends) = start("lbudp").await;
    let mut by_source = listener(54, ListenerProtocol::Udp, servers(3));
    by_source.algorithm = BalancerAlgorithm::Source;
    let mut closed = listener(55, ListenerProtocol::Udp, servers(3));
    closed.access = Some(Access { allow: false, sources: vec!["203.0.113.0/24".parse().unwrap()] });
    balance(&mut site, vec![listener(53, ListenerProtocol::Udp, servers(3)), by_source, closed]);
    push(&mut site).await;
    let ask = |site: &Site, namespace: String, port: u16, count: usize| {
        let _ = site;
        let asked = std::thread::spawn(move || {
            enter_namespace(&namespace).unwrap();
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            for _ in 0..count {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                socket.connect(public(port)).unwrap();
                socket.send(b"x").unwrap();
                let mut buffer = [0; 64];
                let answer =
                    socket.recv(&mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
                *seen.entry(answer.unwrap_or_else(|error| format!("{:?}", error.kind()))).or_default() += 1;
            }
            seen
        });
        asked.join().unwrap()
    };
    let net = site.net_namespace();
    let seen = ask(&site, net.clone(), 53, 12);
    // The servers see who asks.
    let wanted: BTreeMap<String, usize> = (1..=3).map(|number| (format!("vm{number} 203.0.113.254"), 4)).collect();
    assert_eq!(seen, wanted);
    assert_eq!(ask(&site, net.clone(), 54, 9).len(), 1);
    assert_eq!(ask(&site, net.clone(), 55, 1), BTreeMap::from([("HostUnreachable".to_string(), 1)]));
    // From beside the servers, the answer finds its way by the router.
    let inside = ask(&site, site.vm_namespace(1), 53, 6);
    assert!(inside.keys().all(|answer| answer.starts_with("vm") && answer.ends_with(" 10.0.0.1")), "{inside:?}");
    drop(backends.remove(1));
    eventually("the server that is gone gets nothing", || {
        ask(&site, net.clone(), 53, 6).keys().all(|answer| !answer.starts_with("vm2") && answer.starts_with("vm"))
    });
    assert!(site.client.drift(site.router_at()).await.unwrap().items.is_empty());
    drop(backends);
    site.finish().await;
}
