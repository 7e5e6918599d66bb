//! Who may come to a listener, to which servers its requests go, and what those are told of who came; with packets.

use crate::{
    load_balancers::{HTTP, Scene, Web},
    services::From,
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

const TOLD: u16 = 9090;

/// Who asks from the internet.
fn source(scene: &Scene) -> Ipv4Addr {
    let address = scene.bench.within(From::Internet, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect((scene.ip, 9)).unwrap();
        socket.local_addr().unwrap().ip()
    });
    match address {
        std::net::IpAddr::V4(address) => address,
        other => panic!("{other} is no IPv4 address"),
    }
}

/// What curl is answered: status and body.
fn curl(scene: &Scene, port: u16, host: &str, path: &str) -> String {
    let (url, host) = (format!("http://{}:{port}{path}", scene.ip), format!("host: {host}"));
    let line = ["curl", "-s", "-m", "5", "-w", " %{http_code}", "-H", &host, &url];
    let said = scene.bench.must(|bench| bench.lab.run_in("inet", &line)).1;
    let status = said.rsplit(' ').next().unwrap_or_default().to_string();
    if status == "200" { said } else { status }
}

#[test]
fn a_listener_redirects_by_host_and_path_and_says_who_may_come() {
    let scene = Scene::new("lbacl", &[("one", 0), ("two", 1)]);
    let _webs: Vec<Web> = scene.vms.iter().map(|vm| Web::start(&scene.bench, vm)).collect();
    scene.vms.iter().for_each(|vm| scene.bench.serve(vm, &[53]));
    let bench = &scene.bench;
    let list = |name: &str| bench.made("CreateAccessControlList", json!({"name": name}));
    let asked = json!({"loadBalancerUuid": scene.balancer, "name": "web", "loadBalancerPort": 8000,
        "instancePort": HTTP, "protocol": "http", "systemTags": ["healthCheckInterval::1"]});
    let web = bench.made("CreateLoadBalancerListener", asked);
    let rules = [json!({"domain": "*.shop.test"}), json!({"domain": "www.test", "url": "/two"})];
    for (vm, rule) in scene.vms.iter().zip(rules) {
        let group = json!({"loadBalancerUuid": scene.balancer, "name": vm.name});
        let group = bench.made("CreateLoadBalancerServerGroup", group);
        bench.ask("AddServerGroupToLoadBalancerListener", json!({"listenerUuid": web, "serverGroupUuid": group}));
        let nics = json!({"serverGroupUuid": group, "vmNics": [{"uuid": bench.nic(vm)}]});
        bench.ask("AddBackendServerToServerGroup", nics);
        let list = list(&vm.name);
        let mut asked = json!({"aclUuid": list});
        asked.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        bench.ask("AddAccessControlListRedirectRule", asked);
        let on = json!({"listenerUuid": web, "aclType": "redirect", "aclUuids": [list], "serverGroupUuids": [group]});
        bench.ask("AddAccessControlListToLoadBalancer", on);
    }
    // The reply says that the router serves it. The port is in the header, as the listener's is not the usual one.
    for (host, path, expected) in [
        ("a.shop.test:8000", "/two", "one 200"),
        ("A.Shop.Test:8000", "/", "one 200"),
        ("www.test:8000", "/two", "two 200"),
        ("www.test:8000", "/two/more?q", "two 200"),
        ("www.test:8000", "/one", "503"),
        ("shop.test:8000", "/two", "503"),
        ("www.test", "/two", "503"),
    ] {
        assert_eq!(curl(&scene, 8000, host, path), expected, "{host} {path}");
    }

    // Black and white, of TCP and of UDP.
    let (tcp, udp) = (scene.listener(80, HTTP, "tcp"), scene.listener(53, 53, "udp"));
    let (own, entry) = (source(&scene), |list: &str, entries: &str| json!({"aclUuid": list, "entries": entries}));
    let comes = |expected: bool, why: &str| {
        assert_eq!(curl(&scene, 80, "lb", "/").ends_with(" 200"), expected, "{why}");
        assert_eq!(bench.udp(From::Internet, scene.ip, 53).is_some(), expected, "{why}, by udp");
    };
    let on = |kind: &str, list: &str| {
        for listener in [&tcp, &udp] {
            let on = json!({"listenerUuid": listener, "aclType": kind, "aclUuids": [list]});
            bench.ask("AddAccessControlListToLoadBalancer", on);
        }
    };
    let off = |list: &str| {
        for listener in [&tcp, &udp] {
            let off = json!({"listenerUuid": listener, "aclUuids": [list]});
            bench.ask("RemoveAccessControlListFromLoadBalancer", off);
        }
    };
    let (black, white) = (list("black"), list("white"));
    bench.ask("AddAccessControlListEntry", entry(&black, "192.0.2.0/24"));
    on("black", &black);
    comes(true, "who comes is not on the black list");
    let added = bench.made("AddAccessControlListEntry", entry(&black, &format!("{own}-{own}")));
    comes(false, "who comes is on the black list");
    bench.ask("RemoveAccessControlListEntry", json!({"aclUuid": black, "uuid": added}));
    comes(true, "who comes was taken off the black list");
    off(&black);
    on("white", &white);
    comes(false, "nobody is on the white list");
    bench.ask("AddAccessControlListEntry", entry(&white, &format!("{own}/32,192.0.2.0/24")));
    comes(true, "who comes is on the white list");
}

/// A server in a VM that says its name and what a header of the proxy protocol tells of who came.
fn told(scene: &Scene) {
    for vm in &scene.vms {
        let listener = scene.bench.within(From::Vm(vm), || TcpListener::bind((Ipv4Addr::UNSPECIFIED, TOLD)).unwrap());
        let name = vm.name.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let who = header(&mut stream).unwrap_or("nothing".to_string());
                let _ = stream.write_all(format!("{name} {who}").as_bytes());
            }
        });
    }
}

/// The version of the protocol, and whose address it says.
fn header(stream: &mut TcpStream) -> Option<String> {
    const SECOND: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    if head == SECOND {
        let mut rest = [0; 16];
        stream.read_exact(&mut rest).ok()?;
        let [0x21, 0x11, 0, 12, a, b, c, d, ..] = rest else { return None };
        return Some(format!("v2 {}", Ipv4Addr::from([a, b, c, d])));
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        let mut next = [0; 1];
        stream.read_exact(&mut next).ok()?;
        line.push(next[0]);
    }
    let line = String::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    (words.next() == Some("PROXY") && words.next() == Some("TCP4")).then_some(())?;
    Some(format!("v1 {}", words.next()?))
}

#[test]
fn servers_are_told_who_came_and_who_came_before_comes_to_the_same_server() {
    let scene = Scene::new("lbwho", &[("one", 0), ("two", 1)]);
    told(&scene);
    let own = source(&scene);
    let listener = scene.listener(80, TOLD, "tcp");
    let said = || scene.bench.tcp(From::Internet, scene.ip, 80).unwrap_or_default();
    for version in ["v1", "v2"] {
        scene.change(&listener, json!({"tcpProxyProtocol": version}));
        let heard = said();
        assert_eq!(heard.split_once(' ').map(|(_, who)| who), Some(format!("{version} {own}").as_str()), "{heard}");
    }
    let spread = |times| scene.spread(times, || Some(said())).into_values().collect::<Vec<usize>>();
    assert_eq!(spread(6), [3, 3]);
    scene.change(&listener, json!({"sessionPersistence": "iphash", "sessionIdleTimeout": 60}));
    assert_eq!(spread(6), [6]);
    let shown: Value = scene.bench.must(|bench| bench.api.one("QueryLoadBalancerListener", &listener));
    assert_eq!((&shown["tcpProxyProtocol"], &shown["sessionPersistence"]), (&json!("v2"), &json!("iphash")));
}
