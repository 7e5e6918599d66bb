//! A router is replaced while packets go through it: pings, transfers that go on, an EIP from outside, leases, and the
//! ends of server and host in the middle.

use crate::harness::{Bench, Vm};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use switchback::lab::{Deadline, INTERNET_WEB, Options, Topology, check, poll};
use switchback_bus::Wait;

/// No gap is longer, on a machine that does much else. What it is on one that does not, `gap` prints.
const GAP_MAX: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// A bench with one VM behind SNAT and one with an EIP.
struct Scene {
    bench: Bench,
    plain: Vm,
    open: Vm,
    eip: Ipv4Addr,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let bench = Bench::new(name, Topology::Separate);
        let services = json!({"l3NetworkUuid": bench.site.guest.l3, "networkServices": {"VirtualRouter": ["Eip"]}});
        bench.ask("AttachNetworkServiceToL3Network", services);
        let (plain, open) = (bench.vm("plain", 0), bench.vm("open", 1));
        let vip = bench.ask("CreateVip", json!({"name": "vip", "l3NetworkUuid": bench.site.public}));
        let vip = bench.must(|bench| bench.api.one("QueryVip", &vip.uuid()?));
        let eip = vip["ip"].as_str().and_then(|ip| ip.parse().ok()).expect("a VIP has an address");
        let nic = bench.must(|bench| bench.api.one("QueryVmInstance", &open.uuid))["vmNics"][0]["uuid"].clone();
        bench.ask("CreateEip", json!({"name": "eip", "vipUuid": vip["uuid"], "vmNicUuid": nic}));
        Scene { bench, plain, open, eip }
    }

    /// Pings from a part of the lab every few milliseconds until it is told to end.
    fn ping(&self, place: &str, to: Ipv4Addr) -> Ping {
        let line = ["ping", "-n", "-D", "-i", "0.005", "-W", "1", &to.to_string()].map(str::to_string);
        let mut command = self.bench.must(|bench| bench.lab.command_in(place, &line));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Ping { child: child.expect("ping starts") }
    }

    /// Bytes that go from one end to the other and back until they are told to stop.
    fn transfer(&self, listener: TcpListener, connect: impl FnOnce(SocketAddr) -> TcpStream + Send) -> Transfer {
        let port = listener.local_addr().expect("it listens").port();
        let echo = thread::spawn(move || {
            let (mut stream, peer) = listener.accept().expect("somebody comes");
            let mut buffer = vec![0; 1 << 16];
            let mut bytes = 0_u64;
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return (bytes, peer),
                    Ok(length) => {
                        stream.write_all(&buffer[..length]).expect("what comes goes back");
                        bytes += length as u64;
                    }
                    Err(error) => panic!("the transfer breaks off after {bytes} bytes: {error}"),
                }
            }
        });
        let stream = connect(SocketAddr::from((ANY, port)));
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (mut from, mut to) = (stream.try_clone().expect("two ends"), stream);
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        // Numbers, so that what is lost or comes twice is seen.
        let sender = thread::spawn(move || {
            let mut number = 0_u64;
            while !told.load(Ordering::Relaxed) {
                let block: Vec<u8> = (number..number + 512).flat_map(u64::to_be_bytes).collect();
                to.write_all(&block).expect("the transfer goes on");
                number += 512;
                thread::sleep(Duration::from_millis(1));
            }
            to.shutdown(std::net::Shutdown::Write).expect("it ends");
            number * 8
        });
        let receiver = thread::spawn(move || {
            let mut expected = 0_u64;
            let mut number = [0; 8];
            while from.read_exact(&mut number).is_ok() {
                assert_eq!(u64::from_be_bytes(number), expected);
                expected += 1;
            }
            expected * 8
        });
        Transfer { ends, echo, sender, receiver }
    }

    fn replace(&self, router: &str, host: Option<&str>) -> Value {
        let reply = self.bench.ask("ReplaceVirtualRouter", json!({"vmInstanceUuid": router, "hostUuid": host}));
        assert!(reply.reply.applied, "{}", reply.body);
        reply.body
    }

    /// The lines of leases that the router's name server has.
    fn leases(&self, router: &str) -> Vec<String> {
        let mut found = Vec::new();
        for host in 1..=self.bench.lab.hosts() {
            let mut folders = vec![self.bench.lab.host_dir(host)];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                    let path = entry.path();
                    let text = path.to_string_lossy();
                    if path.is_dir() {
                        folders.push(path);
                    } else if text.contains(router) && text.ends_with("dnsmasq/leases") {
                        found.extend(std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_string));
                    }
                }
            }
        }
        found.sort();
        found
    }

    /// One appliance is there, and it is the router's.
    fn alone(&self, router: &str) {
        self.bench.must(|bench| {
            let own = bench.lab.router_namespace(router)?;
            // On each host, and beside it.
            let (_, tail) = own.split_once("-vr-").context("a router's namespace")?;
            let all: Vec<String> = bench.lab.namespaces().into_iter().filter(|name| name.contains(tail)).collect();
            ensure!(all == [own.clone()], "expected one appliance, got {all:?}");
            let drift = check::drift(&bench.api, router)?;
            ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
            Ok(())
        });
    }

    fn serves(&self) {
        self.bench.everything_serves(std::slice::from_ref(&self.plain));
        self.bench.must(|bench| {
            poll("the EIP to answer", Deadline::seconds(20), || {
                let (answers, said) =
                    bench.lab.run_in("inet", &["ping", "-n", "-c", "1", "-W", "1", &self.eip.to_string()])?;
                Ok(if answers { Ok(()) } else { Err(said) })
            })
        });
    }
}

struct Ping {
    child: Child,
}

impl Ping {
    /// Ends it: the longest gap between two answers, and how many of how many came.
    fn end(mut self) -> (Duration, usize, usize) {
        // The signal of ^C: it tells what it counted.
        let told = std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(told.is_ok_and(|told| told.success()));
        let mut said = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut said).expect("ping speaks");
        let _ = self.child.wait();
        let at = |line: &str| line.strip_prefix('[')?.split_once(']')?.0.parse::<f64>().ok();
        let times: Vec<f64> = said.lines().filter(|line| line.contains(" bytes from ")).filter_map(at).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let sent = said.lines().find_map(|line| line.split_once(" packets transmitted")).map(|(sent, _)| sent);
        let sent = sent.and_then(|sent| sent.trim().parse().ok()).expect("ping counts");
        (Duration::from_secs_f64(gap), times.len(), sent)
    }
}

struct Transfer {
    ends: Arc<AtomicBool>,
    echo: JoinHandle<(u64, SocketAddr)>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
}

impl Transfer {
    /// Ends it whole: the bytes, and who came.
    fn end(self) -> (u64, SocketAddr) {
        self.ends.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("all is sent");
        let (echoed, peer) = self.echo.join().expect("all is echoed");
        assert_eq!((echoed, self.receiver.join().expect("all comes back")), (sent, sent));
        (sent, peer)
    }
}

/// Does `work` under pings each 5 ms and two transfers, one out through SNAT and one to the EIP: all of them go on.
fn under_traffic(scene: &Scene, work: impl FnOnce()) {
    under_traffic_losing(scene, None, work);
}

/// The same, of which so many pings are lost at most where that is said.
fn under_traffic_losing(scene: &Scene, lost: Option<usize>, work: impl FnOnce()) {
    let bench = &scene.bench;
    let before = bench.router();
    let inet = bench.lab.name().namespace("inet");
    let pings = [scene.ping("plain", INTERNET_WEB), scene.ping("inet", scene.eip)];
    let outside = bench
        .must(|bench| bench.lab.within(&inet, || TcpListener::bind((INTERNET_WEB, 9000))))
        .expect("the internet listens");
    let out = scene.transfer(outside, |to| {
        let machine = bench.must(|bench| check::machine(&bench.lab, &scene.plain.uuid));
        let connected =
            bench.must(|bench| bench.lab.within_machine(&machine, || TcpStream::connect((INTERNET_WEB, to.port()))));
        connected.expect("the VM reaches the internet")
    });
    let machine = bench.must(|bench| check::machine(&bench.lab, &scene.open.uuid));
    let inside = bench.must(|bench| bench.lab.within_machine(&machine, || TcpListener::bind((ANY, 9000))));
    let into = scene.transfer(inside.expect("the VM listens"), |to| {
        let connected = bench.must(|bench| bench.lab.within(&inet, || TcpStream::connect((scene.eip, to.port()))));
        connected.expect("the internet reaches the EIP")
    });
    work();
    for (what, ping) in ["out", "to the EIP"].into_iter().zip(pings) {
        let (gap, answers, sent) = ping.end();
        eprintln!("{what}: longest gap {gap:?}, {answers} of {sent} pings answered");
        assert!(answers > 20 && gap < GAP_MAX, "{what}: {gap:?}, {answers} of {sent}");
        // The last one may have been under way.
        assert!(lost.is_none_or(|lost| sent <= answers + lost + 1), "{what}: {answers} of {sent}");
    }
    let (bytes, peer) = out.end();
    assert!(bytes > 0 && peer.ip() == before.public_ip, "{bytes} bytes from {peer}");
    assert!(into.end().0 > 0);
}

#[test]
fn a_router_is_replaced_under_traffic_and_nothing_ends() {
    let scene = Scene::new("replace");
    scene.serves();
    let bench = &scene.bench;
    let before = bench.router();
    let leases = scene.leases(&before.uuid);
    assert_eq!(leases.len(), 2, "{leases:?}");
    // The second stands where the first did, and the third where the second did.
    under_traffic(&scene, || {
        for _ in 0..2 {
            scene.replace(&before.uuid, None);
        }
    });

    let after = bench.router();
    for field in ["uuid", "vmNics", "configDigest", "hostUuid"] {
        assert_eq!(after.inventory[field], before.inventory[field], "{field}");
    }
    assert_eq!(scene.leases(&before.uuid), leases);
    scene.alone(&before.uuid);
    scene.serves();
    // Its own address is still given to each VM.
    bench.ask("RebootVmInstance", Bench::uuid_of(&scene.plain.uuid));
    bench.must(|bench| check::vm_running(&bench.api, &scene.plain.uuid));
    scene.serves();
}

#[test]
fn a_router_goes_to_another_host_under_traffic_and_nothing_ends() {
    let scene = Scene::new("move");
    scene.serves();
    let bench = &scene.bench;
    let before = bench.router();
    let leases = scene.leases(&before.uuid);
    let host_of = |router: &Value| router["hostUuid"].as_str().expect("a host").to_string();
    let first = host_of(&before.inventory);
    let hosts = bench.must(|bench| bench.api.query("QueryHost", &[]));
    let hosts = hosts.iter().filter_map(|host| host["uuid"].as_str());
    let second = hosts.into_iter().find(|host| *host != first).expect("two hosts").to_string();
    // There and back.
    under_traffic(&scene, || {
        for host in [&second, &first] {
            let moved = scene.replace(&before.uuid, Some(host));
            eprintln!("moved: {moved}");
        }
    });
    let log = bench.must(|bench| Ok(bench.api.get("/v1/events", &[("resource", &before.uuid)])?));
    for event in
        log["events"].as_array().expect("events").iter().filter(|event| event["kind"] == "router.SuccessorServes")
    {
        eprintln!("served after {event}");
    }
    scene.replace(&before.uuid, Some(&second));
    let after = bench.router();
    assert_eq!(host_of(&after.inventory), second);
    for field in ["uuid", "vmNics", "configDigest"] {
        assert_eq!(after.inventory[field], before.inventory[field], "{field}");
    }
    bench.must(|_| {
        poll("the host before to have nothing of it", Deadline::seconds(20), || {
            let found = scene.leases(&before.uuid);
            Ok(if found == leases { Ok(()) } else { Err(format!("{found:?}")) })
        })
    });
    scene.alone(&before.uuid);
    scene.serves();
    bench.ask("RebootVmInstance", Bench::uuid_of(&scene.plain.uuid));
    bench.must(|bench| check::vm_running(&bench.api, &scene.plain.uuid));
    scene.serves();
}

/// Another server, of the same program with some bytes behind it: its digest is another one.
fn upgrade_server(scene: &mut Scene, binary: &Path, mark: &str) {
    std::fs::copy(env!("CARGO_BIN_EXE_switchback"), binary).expect("the binary is copied");
    let mut file = std::fs::OpenOptions::new().append(true).open(binary).expect("the copy opens");
    file.write_all(mark.as_bytes()).expect("it is longer than the other one");
    drop(file);
    let lab = &mut scene.bench.lab;
    lab.set_binary(binary);
    let restarted = lab.kill_server().and_then(|()| lab.start_server());
    scene.bench.must(|_| restarted);
    scene.bench.router();
}

#[test]
fn the_agent_of_a_router_is_upgraded_under_traffic_and_nothing_is_lost() {
    let mut scene = Scene::new("upgrade");
    let binaries = tempfile::tempdir().expect("room for binaries");
    scene.serves();
    let router = scene.bench.router().uuid;
    let digest = |scene: &Scene| scene.bench.router().inventory["agentDigest"].clone();
    let mut before = digest(&scene);
    // In place nothing that goes through the router notices; a replacement has names and leases go on, too.
    for (command, lost) in [("ReconnectVirtualRouter", Some(0)), ("ReplaceVirtualRouter", None)] {
        upgrade_server(&mut scene, &binaries.path().join(command), command);
        assert_eq!(digest(&scene), before, "a server that comes upgrades nothing by itself");
        under_traffic_losing(&scene, lost, || {
            let reply = scene.bench.ask(command, json!({"vmInstanceUuid": router}));
            assert!(reply.reply.applied, "{}", reply.body);
        });
        let after = digest(&scene);
        assert_ne!(after, before, "{command}");
        let kind =
            [("resource", router.as_str()), ("kind", "router.AgentUpgraded"), ("newest", "true"), ("limit", "1")];
        let log = scene.bench.must(|bench| Ok(bench.api.get("/v1/events", &kind)?));
        let upgraded = &log["events"][0]["payload"];
        assert_eq!((&upgraded["from"], &upgraded["to"]), (&before, &after), "{log}");
        before = after;
        scene.alone(&router);
        scene.serves();
    }
}

#[test]
fn a_server_or_host_that_ends_in_the_middle_of_a_replacement_leaves_one_router() {
    let mut scene = Scene::new("cut");
    scene.serves();
    let router = scene.bench.router().uuid;
    let replaced = |scene: &Scene, after: u64| {
        scene.bench.must(|bench| {
            poll("the replacement to end", Deadline::seconds(60), || {
                let log = bench.api.get("/v1/events", &[("resource", &router), ("after", &after.to_string())])?;
                let kinds: Vec<&str> = log["events"]
                    .as_array()
                    .context("events")?
                    .iter()
                    .filter_map(|event| event["kind"].as_str())
                    .collect();
                let ended = |kind: &&str| matches!(*kind, "router.Replaced" | "router.ReplaceFailed");
                Ok(if kinds.iter().any(ended) { Ok(()) } else { Err(format!("{kinds:?}")) })
            })?;
            check::router_connected(&bench.api, &bench.site.guest.l3)
        });
        scene.alone(&router);
        scene.serves();
    };
    let begin = |scene: &Scene| {
        let options = Options { wait: Wait::Durable, ..Options::default() };
        let asked = json!({"vmInstanceUuid": router});
        scene.bench.must(|bench| Ok(bench.api.command("ReplaceVirtualRouter", &asked, &options)?)).reply.position
    };
    // Whenever it is: the moment is another one on each machine.
    for delay in [0, 120] {
        let head = begin(&scene);
        thread::sleep(Duration::from_millis(delay));
        let restarted = scene.bench.lab.kill_server().and_then(|()| scene.bench.lab.start_server());
        scene.bench.must(|_| restarted);
        scene.bench.must(|bench| {
            poll("the server to answer", Deadline::seconds(30), || {
                Ok(bench.api.query("QueryHost", &[]).map(|_| ()).map_err(|error| error.to_string()))
            })
        });
        replaced(&scene, head);
    }
    let place = scene.bench.must(|bench| {
        let hosts = bench.api.query("QueryHost", &[])?;
        let own = bench.api.one("QueryVirtualRouterVm", &router)?["hostUuid"].clone();
        let own = hosts.iter().find(|host| host["uuid"] == own).context("the router's host")?;
        let name = own["name"].as_str().context("a name")?;
        Ok(name.trim_start_matches("host").parse::<u8>()?)
    });
    for delay in [40, 200] {
        let head = begin(&scene);
        thread::sleep(Duration::from_millis(delay));
        let restarted = scene.bench.lab.restart_host(place);
        scene.bench.must(|_| restarted);
        replaced(&scene, head);
    }
}
