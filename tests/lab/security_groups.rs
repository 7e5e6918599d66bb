//! Security groups with real packets: every pair of VMs and every port is tried, and what comes through is what the
//! interface explains, by which rule and which event, and what the documents say that the hosts hold. Nobody speaks in
//! another's name.

use crate::harness::{Bench, Vm};
use anyhow::ensure;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};
use switchback::lab::{Deadline, Machine, Topology, check, poll};
use switchback_appliance::{FirstPacket, HostSections, SecurityConfig};
use switchback_events::{Direction, RuleProtocol};

const TCP: [u16; 4] = [22, 80, 5432, 8080];
const UDP: [u16; 2] = [5000, 6000];
/// A packet that was let through is answered much sooner.
const PATIENCE: Duration = Duration::from_millis(700);

/// A VM of the matrix, with what listens in it.
struct Place {
    vm: Vm,
    host: u8,
    nic: String,
    internal: String,
    machine: Machine,
}

impl Place {
    fn new(bench: &Bench, name: &str, host: usize) -> Place {
        let vm = bench.vm(name, host);
        let (nic, internal) = bench.must(|bench| {
            let nic = bench.api.one("QueryVmInstance", &vm.uuid)?["vmNics"][0].clone();
            let text = |field: &str| nic[field].as_str().unwrap_or_default().to_string();
            Ok((text("uuid"), text("internalName")))
        });
        let machine = bench.must(|bench| check::machine(&bench.lab, &vm.uuid));
        let place = Place { vm, host: host as u8 + 1, nic, internal, machine };
        place.listen(bench);
        place
    }

    /// Answers on every port of the matrix until the VM ends.
    fn listen(&self, bench: &Bench) {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let opened = bench.must(|bench| {
            bench.lab.within_machine(&self.machine, || {
                let tcp: Vec<_> = TCP.iter().map(|port| TcpListener::bind(any(*port)).unwrap()).collect();
                let udp: Vec<_> = UDP.iter().map(|port| UdpSocket::bind(any(*port)).unwrap()).collect();
                (tcp, udp)
            })
        });
        for listener in opened.0 {
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    std::thread::spawn(move || echo(stream));
                }
            });
        }
        for socket in opened.1 {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            });
        }
    }

    fn within<T: Send>(&self, bench: &Bench, work: impl FnOnce() -> T + Send) -> T {
        bench.must(|bench| bench.lab.within_machine(&self.machine, work))
    }

    /// Whether the other one answers.
    fn reaches(&self, bench: &Bench, to: Ipv4Addr, protocol: RuleProtocol, port: u16) -> bool {
        match protocol {
            RuleProtocol::ICMP => {
                bench.lab.run_in(&self.vm.uuid, &["ping", "-c", "1", "-W", "1", &to.to_string()]).unwrap().0
            }
            RuleProtocol::TCP => {
                self.within(bench, || TcpStream::connect_timeout(&(to, port).into(), PATIENCE).is_ok())
            }
            _ => self.within(bench, || answers(0, to, port)),
        }
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

/// Whether a datagram from a port of this namespace is answered.
fn answers(from: u16, to: Ipv4Addr, port: u16) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, from)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"x", (to, port)).is_ok() && socket.recv_from(&mut [0; 8]).is_ok()
}

/// What the agent of a host was told to filter.
fn held(bench: &Bench, host: u8) -> SecurityConfig {
    let path = bench.lab.host_dir(host).join("host.json");
    let record: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value::<HostSections>(record["sections"].clone()).unwrap().security
}

/// The port that packets are explained to be sent from.
const FROM_PORT: u16 = 40_000;

/// What the interface says of a packet: whether it gets there, and what decided. Where that is a rule or a group of a nic,
/// the event is named that made it so.
fn explained(
    bench: &Bench,
    router: &str,
    from: &Place,
    to: &Place,
    protocol: RuleProtocol,
    port: u16,
) -> (bool, String) {
    let (to, port, from_port) = (to.vm.ip.to_string(), port.to_string(), FROM_PORT.to_string());
    let word = format!("{protocol:?}").to_lowercase();
    let mut asked = vec![("from", from.nic.as_str()), ("dst", &to), ("proto", &word)];
    if protocol != RuleProtocol::ICMP {
        asked.extend([("dport", port.as_str()), ("sport", &from_port)]);
    }
    let told = bench.must(|bench| Ok(bench.api.get(&format!("/v1/routers/{router}/explain"), &asked)?));
    let steps = told["steps"].as_array().map_or(&[][..], Vec::as_slice);
    for record in steps.iter().flat_map(|step| step["records"].as_array().unwrap()) {
        assert!(record["since"]["position"].is_u64() || record["type"] == "Config", "nobody put it there: {told}");
    }
    let decided: Vec<&str> = steps
        .iter()
        .filter(|step| step["section"] == "security")
        .filter_map(|step| step["records"][0]["type"].as_str().or(step["what"].as_str()))
        .collect();
    (told["verdict"]["kind"] == "delivered", decided.join(", then "))
}

/// Tries every pair and port, and compares.
fn matrix(bench: &Bench, places: &[Place]) -> (usize, usize) {
    let router = bench.router().uuid;
    let documents = [held(bench, 1), held(bench, 2)];
    let document = |place: &Place| &documents[usize::from(place.host) - 1];
    let mut probes = Vec::new();
    for from in places {
        for to in places.iter().filter(|to| to.vm.uuid != from.vm.uuid) {
            let tcp = TCP.map(|port| (RuleProtocol::TCP, port));
            let udp = UDP.map(|port| (RuleProtocol::UDP, port));
            let all = tcp.into_iter().chain(udp).chain([(RuleProtocol::ICMP, 0)]);
            probes.extend(all.map(|(protocol, port)| (from, to, protocol, port)));
        }
    }
    let found: Vec<(String, [bool; 3])> = std::thread::scope(|scope| {
        let probe = |(from, to, protocol, port): &(&Place, &Place, RuleProtocol, u16)| {
            let packet = FirstPacket {
                source: IpAddr::V4(from.vm.ip),
                destination: IpAddr::V4(to.vm.ip),
                protocol: *protocol,
                from_port: FROM_PORT,
                port: *port,
            };
            let leaves = document(from).allows(&from.internal, Direction::Egress, &packet);
            let enters = document(to).allows(&to.internal, Direction::Ingress, &packet);
            let (arrives, why) = explained(bench, &router, from, to, *protocol, *port);
            let told = format!(
                "{} to {} {protocol:?} {port}: {why}; document: {leaves:?} {enters:?}",
                from.vm.name, to.vm.name
            );
            (told, [arrives, leaves.allowed && enters.allowed, from.reaches(bench, to.vm.ip, *protocol, *port)])
        };
        let size = probes.len().div_ceil(8);
        let parts: Vec<_> =
            probes.chunks(size).map(|part| scope.spawn(move || part.iter().map(probe).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let agree = |[explained, document, seen]: [bool; 3]| explained == document && document == seen;
    let wrong: Vec<&(String, [bool; 3])> = found.iter().filter(|(_, said)| !agree(*said)).collect();
    bench.must(|_| {
        ensure!(wrong.is_empty(), "explained, said by the document, seen: {wrong:#?}");
        Ok(())
    });
    (found.iter().filter(|(_, [_, _, seen])| *seen).count(), found.len())
}

fn group(bench: &Bench, name: &str) -> String {
    bench.must(|bench| bench.ask("CreateSecurityGroup", json!({"name": name})).uuid())
}

fn allow(bench: &Bench, group: &str, rules: Value) {
    bench.ask("AddSecurityGroupRule", json!({"securityGroupUuid": group, "rules": rules}));
}

fn put(bench: &Bench, group: &str, place: &Place) {
    bench.ask("AddVmNicToSecurityGroup", json!({"securityGroupUuid": group, "vmNicUuids": [place.nic]}));
}

fn service(bench: &Bench) {
    let l3 = &bench.site.guest.l3;
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"SecurityGroup": ["SecurityGroup"]}});
    bench.ask("AttachNetworkServiceToL3Network", services);
}

#[test]
fn four_vms_in_three_groups_on_two_hosts_reach_what_the_rules_say() {
    let bench = Bench::new("groups", Topology::Separate);
    service(&bench);
    let places: Vec<Place> =
        [("a", 0), ("b", 1), ("c", 0), ("d", 1)].map(|(name, host)| Place::new(&bench, name, host)).into();
    assert_eq!(matrix(&bench, &places), (84, 84), "nobody is in a group");

    let [web, db, operators] = ["web", "db", "operators"].map(|name| group(&bench, name));
    let rule = |direction: &str, protocol: &str, ports: &str| json!({"type": direction, "protocol": protocol, "dstPortRange": ports});
    allow(&bench, &web, json!([rule("Ingress", "TCP", "80"), rule("Ingress", "UDP", "5000-5999")]));
    let of_web =
        json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": "5432,8080", "remoteSecurityGroupUuid": web});
    allow(&bench, &db, json!([of_web, {"type": "Egress", "protocol": "TCP", "dstPortRange": "22", "action": "DROP"}]));
    let mine = json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": "22", "srcIpRange": format!("{}-{}",
        "10.0.0.1", "10.255.255.254")});
    allow(&bench, &operators, json!([mine, rule("Egress", "TCP", "22,80"), {"type": "Egress", "protocol": "ICMP"}]));
    for (name, at) in [(&web, 0), (&web, 1), (&db, 2), (&operators, 3)] {
        put(&bench, name, &places[at]);
    }
    let policy = json!({"vmNicUuid": places[3].nic, "egressPolicy": "DENY"});
    bench.ask("ChangeVmNicSecurityPolicy", policy);
    let (through, all) = matrix(&bench, &places);
    assert!(through > 10 && through < all / 2, "{through} of {all}");

    // Who joins is let in by the rules that name the group; what goes on on the hosts of the others is one element.
    put(&bench, &web, &places[3]);
    let (more, _) = matrix(&bench, &places);
    assert!(more > through, "{more} instead of {through}");

    // Addresses, names and the way out go on as before.
    bench.must(|bench| check::resolves(&bench.lab, &places[0].vm.uuid, "b.guest.test", places[1].vm.ip));

    // A rule that goes ends the connections that it let in.
    let (c, a) = (&places[2], &places[0]);
    let mut stream = a.within(&bench, || TcpStream::connect_timeout(&(c.vm.ip, 5432).into(), PATIENCE).unwrap());
    let say = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"x").is_ok() && stream.read(&mut [0; 8]).is_ok_and(|length| length > 0)
    };
    assert!(say(&mut stream));
    let found = bench.must(|bench| {
        bench.api.query(
            "QuerySecurityGroupRule",
            &[format!("securityGroupUuid={db}"), "priority=1".to_string(), "type=Ingress".to_string()],
        )
    });
    bench.ask("DeleteSecurityGroupRule", json!({"ruleUuids": [found[0]["uuid"]]}));
    assert!(!say(&mut stream), "a connection outlives its rule");
    matrix(&bench, &places);

    // The rules are there again when the VM is.
    bench.ask("StopVmInstance", json!({"uuid": places[0].vm.uuid}));
    bench.ask("StartVmInstance", json!({"uuid": places[0].vm.uuid}));
    let mut places = places;
    let moved = places.remove(0);
    bench.must(|bench| check::address_inside(&bench.lab, &check::machine(&bench.lab, &moved.vm.uuid)?, moved.vm.ip));
    let machine = bench.must(|bench| check::machine(&bench.lab, &moved.vm.uuid));
    let again = Place { machine, ..moved };
    again.listen(&bench);
    places.push(again);
    matrix(&bench, &places);

    // Without groups everything goes again.
    for name in [&web, &db, &operators] {
        bench.ask("DeleteSecurityGroup", json!({"uuid": name}));
    }
    assert_eq!(matrix(&bench, &places), (84, 84));
}

#[test]
fn nobody_speaks_in_another_s_name() {
    let bench = Bench::new("spoof", Topology::Separate);
    let (a, b) = (Place::new(&bench, "a", 0), Place::new(&bench, "b", 1));
    let inside = |line: &[&str]| {
        bench.must(|bench| {
            let (ok, text) = bench.lab.run_in(&a.vm.uuid, line)?;
            ensure!(ok, "{line:?}: {text}");
            Ok(())
        });
    };
    let spoofed = Ipv4Addr::new(10, 10, 0, 250).to_string();
    let to = b.vm.ip.to_string();
    let own =
        bench.must(|bench| Ok(bench.api.one("QueryVmNic", &a.nic)?["mac"].as_str().unwrap_or_default().to_string()));
    let ping = |from: Option<&str>| {
        let mut line = vec!["ping", "-c", "2", "-i", "0.2", "-W", "1"];
        line.extend(from.into_iter().flat_map(|from| ["-I", from]));
        line.push(&to);
        bench.lab.run_in(&a.vm.uuid, &line).unwrap().0
    };
    let wait = |what: &str, wanted: bool, probe: &dyn Fn() -> bool| {
        bench.must(|_| {
            poll(what, Deadline::seconds(20), || {
                Ok(if probe() == wanted { Ok(()) } else { Err((!wanted).to_string()) })
            })
        });
    };
    let net = format!("{spoofed}/{}", 24);
    inside(&["ip", "addr", "add", &net, "dev", "eth0"]);
    let offer = || a.within(&bench, || answers(67, b.vm.ip, 5000));
    let other_mac = |mac: &str| inside(&["ip", "link", "set", "eth0", "address", mac]);
    assert!(ping(None), "its own address");
    assert!(!ping(Some(&spoofed)), "another's address");
    assert!(!offer(), "what a DHCP server says");
    other_mac("fa:00:00:00:00:99");
    assert!(!ping(None), "another's hardware address");
    other_mac(&own);
    wait("its own address to be heard again", true, &|| ping(None));

    // Nothing else held it up: it is as the configuration says.
    let clean = |value: &str| json!({"category": "vm", "name": "cleanTraffic", "value": value});
    bench.ask("UpdateGlobalConfig", clean("false"));
    wait("another's address to come through", true, &|| ping(Some(&spoofed)));
    wait("what a DHCP server says to come through", true, &offer);
    bench.ask("UpdateGlobalConfig", clean("true"));
    wait("another's address to be dropped again", false, &|| ping(Some(&spoofed)));
    // What a VM has of its own comes before what holds for all.
    let mut own = clean("false");
    own["resourceUuid"] = json!(a.vm.uuid);
    bench.ask("UpdateResourceConfig", own);
    wait("another's address to come through for this VM", true, &|| ping(Some(&spoofed)));
}
