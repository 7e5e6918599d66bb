//! Load balancers from the command to the packet.

use crate::{
    harness::{Bench, Vm},
    services::{From, bench},
};
use anyhow::ensure;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use switchback::lab::{Deadline, check, poll};

const PATIENCE: Duration = Duration::from_secs(5);
pub const HTTP: u16 = 8080;

/// A web server in a VM, which says the VM's name; gone when it is dropped.
pub struct Web {
    stop: Arc<AtomicBool>,
    work: Option<JoinHandle<()>>,
}

impl Web {
    pub fn start(bench: &Bench, vm: &Vm) -> Web {
        let listener = bench.within(From::Vm(vm), || TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (name, stopped) = (vm.name.clone(), stop.clone());
        let work = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let name = name.clone();
                std::thread::spawn(move || answer(stream, &name));
            }
        });
        Web { stop, work: Some(work) }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.work.take().map(JoinHandle::join);
    }
}

fn answer(mut stream: TcpStream, name: &str) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    if !head(&mut stream).is_empty() {
        let length = name.len();
        let said = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}");
        let _ = stream.write_all(said.as_bytes());
    }
}

/// What comes until an empty line, or the end.
fn head(stream: &mut TcpStream) -> String {
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    while !said.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => said.extend_from_slice(&buffer[..length]),
            _ => return String::new(),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Asks for `/`; the whole answer, or nothing.
fn get(to: SocketAddr, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: lb\r\nconnection: close\r\n{headers}\r\n").as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}

/// A load balancer at a VIP, and VMs that it may hand on to.
pub struct Scene {
    pub bench: Bench,
    pub vms: Vec<Vm>,
    pub balancer: String,
    pub ip: Ipv4Addr,
}

impl Scene {
    pub fn new(name: &str, vms: &[(&str, usize)]) -> Scene {
        let bench = bench(name);
        let vms = vms.iter().map(|(name, host)| bench.vm(name, *host)).collect();
        let (vip, ip) = bench.vip();
        let balancer = bench.made("CreateLoadBalancer", json!({"name": "lb", "vipUuid": vip}));
        Scene { bench, vms, balancer, ip }
    }

    /// A listener that hands on to all VMs.
    pub fn listener(&self, port: u16, instance_port: u16, protocol: &str) -> String {
        let asked = json!({"loadBalancerUuid": self.balancer, "name": "web", "loadBalancerPort": port,
            "instancePort": instance_port, "protocol": protocol, "systemTags": ["healthCheckInterval::1"]});
        let listener = self.bench.made("CreateLoadBalancerListener", asked);
        let nics: Vec<String> = self.vms.iter().map(|vm| self.bench.nic(vm)).collect();
        self.bench.ask("AddVmNicToLoadBalancer", json!({"listenerUuid": listener, "vmNicUuids": nics}));
        listener
    }

    pub fn change(&self, listener: &str, more: Value) {
        let mut asked = json!({"uuid": listener});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.bench.ask("ChangeLoadBalancerListener", asked);
    }

    /// How often each VM answers.
    pub fn spread(&self, times: usize, ask: impl Fn() -> Option<String>) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for _ in 0..times {
            let said = ask().unwrap_or_default();
            let who = self.vms.iter().find(|vm| said.split([' ', '\n']).any(|word| word == vm.name));
            *spread.entry(who.map_or(format!("`{said}`"), |vm| vm.name.clone())).or_default() += 1;
        }
        spread
    }

    fn get(&self, port: u16, headers: &str) -> Option<String> {
        self.bench.within(From::Internet, || get((self.ip, port).into(), headers))
    }
}

fn spread(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(name, count)| (name.to_string(), *count)).collect()
}

#[test]
fn a_load_balancer_hands_on_by_every_algorithm() {
    let scene = Scene::new("lbway", &[("one", 0), ("two", 1), ("three", 0)]);
    let (bench, ip) = (&scene.bench, scene.ip);
    scene.vms.iter().for_each(|vm| bench.serve(vm, &[80, 53]));
    let even = spread(&[("one", 3), ("two", 3), ("three", 3)]);
    let tcp = scene.listener(80, 80, "tcp");
    let asked = |times| scene.spread(times, || bench.tcp(From::Internet, ip, 80));
    // The reply says that the router serves it.
    assert_eq!(asked(9), even);
    scene.change(&tcp, json!({"balancerAlgorithm": "leastconn"}));
    assert_eq!(asked(9), even);
    scene.change(&tcp, json!({"balancerAlgorithm": "source"}));
    let one = asked(6);
    assert!(one.len() == 1 && scene.vms.iter().any(|vm| one.contains_key(&vm.name)), "{one:?}");
    scene.change(&tcp, json!({"balancerAlgorithm": "weightroundrobin"}));
    let own = bench.must(|bench| bench.api.one("QueryLoadBalancerListener", &tcp))["serverGroupUuid"].clone();
    let weigh = |weights: [&str; 3]| {
        let nics = scene.vms.iter().zip(weights).map(|(vm, weight)| json!({"uuid": bench.nic(vm), "weight": weight}));
        let asked = json!({"serverGroupUuid": own, "vmNics": nics.collect::<Vec<Value>>()});
        bench.ask("ChangeLoadBalancerBackendServer", asked);
    };
    weigh(["30", "10", "0"]);
    assert_eq!(asked(8), spread(&[("one", 6), ("two", 2)]));

    let udp = scene.listener(53, 53, "udp");
    let asked = |times| scene.spread(times, || bench.udp(From::Internet, ip, 53));
    assert_eq!(asked(9), even);
    scene.change(&udp, json!({"balancerAlgorithm": "source"}));
    assert_eq!(asked(6).len(), 1);
    assert_eq!(bench.tcp(From::Internet, ip, 53), None, "it is UDP's port alone");

    // From inside, too.
    let inside = scene.spread(3, || bench.tcp(From::Vm(&scene.vms[2]), ip, 80));
    assert!(inside.keys().all(|who| who == "one" || who == "two"), "{inside:?}");
    let router = bench.router();
    bench.must(|bench| {
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });
    bench.ask("DeleteLoadBalancer", Bench::uuid_of(&scene.balancer));
    assert_eq!(bench.tcp(From::Internet, ip, 80), None);
    assert_eq!(bench.udp(From::Internet, ip, 53), None);
}

#[test]
fn a_load_balancer_of_http_follows_its_vms_and_loses_nothing_with_a_server() {
    let mut scene = Scene::new("lbweb", &[("one", 0), ("two", 1)]);
    let mut webs: Vec<Web> = scene.vms.iter().map(|vm| Web::start(&scene.bench, vm)).collect();
    let listener = scene.listener(80, HTTP, "http");
    let asked = |scene: &Scene, times| scene.spread(times, || scene.get(80, ""));
    assert_eq!(asked(&scene, 4), spread(&[("one", 2), ("two", 2)]));

    // A server that is killed under load costs what it was doing, and nothing more.
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (failed, to) = (Arc::new(AtomicUsize::new(0)), SocketAddr::from((scene.ip, 80)));
    let load = {
        let (stop, count, failed) = (stop.clone(), count.clone(), failed.clone());
        let work = move || {
            while !stop.load(Ordering::Relaxed) {
                let good = get(to, "").is_some_and(|said| said.starts_with("HTTP/1.1 200"));
                failed.fetch_add(usize::from(!good), Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        // The thread is in the namespace that it was made in.
        scene.bench.within(From::Internet, || std::thread::spawn(work))
    };
    let pass = |more: usize| {
        let until = count.load(Ordering::Relaxed) + more;
        scene.bench.must(|_| {
            poll("requests to be answered", Deadline::seconds(60), || {
                let now = count.load(Ordering::Relaxed);
                Ok(if now >= until { Ok(()) } else { Err(format!("{now} of {until}")) })
            })
        });
    };
    pass(100);
    drop(webs.pop());
    pass(100);
    stop.store(true, Ordering::Relaxed);
    load.join().unwrap();
    let (count, failed) = (count.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    assert!(failed <= 1, "{failed} of {count} requests failed, and one was under way");
    assert_eq!(asked(&scene, 4), spread(&[("one", 4)]));
    webs.push(Web::start(&scene.bench, &scene.vms[1]));
    let both = |scene: &Scene| {
        scene.bench.must(|_| {
            poll("both servers to answer", Deadline::seconds(30), || {
                let seen = asked(scene, 4);
                Ok(if seen == spread(&[("one", 2), ("two", 2)]) { Ok(()) } else { Err(format!("{seen:?}")) })
            })
        });
    };
    both(&scene);

    // Who came before comes to the same server.
    scene.change(&listener, json!({"sessionPersistence": "insert", "cookieName": "SRV"}));
    let said = scene.get(80, "").unwrap();
    let cookie = said.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(scene.spread(4, || scene.get(80, &cookie)).len(), 1);
    scene.change(&listener, json!({"sessionPersistence": "disable", "httpRedirectHttps": "enable", "statusCode": 307}));
    let said = scene.get(80, "").unwrap();
    assert!(said.starts_with("HTTP/1.1 307") && said.contains("location: https://lb/"), "{said}");
    scene.change(&listener, json!({"httpRedirectHttps": "disable"}));

    // A VM that is stopped gets nothing, and a new router has all of it.
    scene.bench.ask("StopVmInstance", Bench::uuid_of(&scene.vms[1].uuid));
    assert_eq!(asked(&scene, 4), spread(&[("one", 4)]));
    let router = scene.bench.router().uuid;
    scene.bench.ask("DestroyVmInstance", Bench::uuid_of(&router));
    scene.bench.ask("StartVmInstance", Bench::uuid_of(&scene.vms[1].uuid));
    assert_ne!(scene.bench.router().uuid, router);
    let vm = &scene.vms[1];
    scene.bench.must(|bench| {
        check::vm_running(&bench.api, &vm.uuid)?;
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &vm.uuid)?, vm.ip)
    });
    drop(webs.pop());
    webs.push(Web::start(&scene.bench, &scene.vms[1]));
    both(&scene);
    // One that is destroyed is out of it.
    let gone = scene.vms.remove(1);
    scene.bench.ask("DestroyVmInstance", Bench::uuid_of(&gone.uuid));
    assert_eq!(asked(&scene, 4), spread(&[("one", 4)]));
    let shown = scene.bench.must(|bench| bench.api.one("QueryLoadBalancerListener", &listener));
    assert_eq!(shown["vmNicUuids"], json!([scene.bench.nic(&scene.vms[0])]));
}

#[test]
fn a_certificate_is_changed_under_load() {
    let scene = Scene::new("lbtls", &[("one", 0), ("two", 1)]);
    let _webs: Vec<Web> = scene.vms.iter().map(|vm| Web::start(&scene.bench, vm)).collect();
    let bench = &scene.bench;
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_string()]).unwrap();
        let text = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        bench.made("CreateCertificate", json!({"name": name, "certificate": text}))
    };
    let (one, two) = (certificate("one.test"), certificate("two.test"));
    let listener = scene.listener(443, HTTP, "https");
    let shows = |certificate: &str| {
        let asked = json!({"listenerUuid": listener, "certificateUuid": certificate});
        bench.ask("AddCertificateToLoadBalancerListener", asked);
    };
    let run = |line: &[&str]| bench.must(|bench| bench.lab.run_in("inet", line)).1;
    let ip = scene.ip;
    let shown = || {
        let asked =
            format!("echo | openssl s_client -connect {ip}:443 2>/dev/null | openssl x509 -noout -ext subjectAltName");
        run(&["sh", "-c", &asked])
    };
    let url = format!("https://{ip}/");
    let get = || run(&["curl", "-sk", "--max-time", "5", &url]);
    shows(&one);
    assert!(shown().contains("one.test"), "{}", shown());
    assert_eq!(scene.spread(4, || Some(get())), spread(&[("one", 2), ("two", 2)]));
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut failed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                failed.extend(Some(get()).filter(|said| said != "one" && said != "two"));
                count.fetch_add(1, Ordering::Relaxed);
            }
            failed
        });
        for certificate in [&two, &one, &two] {
            let until = count.load(Ordering::Relaxed) + 10;
            bench.must(|_| {
                poll("requests to be answered", Deadline::seconds(60), || {
                    let now = count.load(Ordering::Relaxed);
                    Ok(if now >= until { Ok(()) } else { Err(format!("{now} of {until}")) })
                })
            });
            shows(certificate);
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(load.join().unwrap(), Vec::<String>::new());
    });
    assert!(shown().contains("two.test"), "{}", shown());
    let inventory = bench.must(|bench| bench.api.one("QueryCertificate", &two));
    assert!(!inventory.to_string().contains("PRIVATE"), "{inventory}");
}
