//! Metadata on the real kernel: a VM is told of itself, and nobody of another. The site of `kernel.rs`. Needs root.

mod common;
mod site;

use base64::{Engine, engine::general_purpose::STANDARD};
use site::{Site, talk::within};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use switchback_agent::Agents;
use switchback_appliance::{InputRule, METADATA_PORT, MetadataClient, MetadataConfig, Protocol};
use switchback_events::{Id, VmInstanceId};

const CLOUD: &str = "169.254.169.254:80";
const ROUTER: &str = "10.0.0.1:80";

fn get(place: &Path, from: [u8; 4], to: &str, path: &str) -> Option<(u16, String)> {
    ask(place, from, to, path, "")
}

/// The status and body of an answer, asked from one's own or another address; nothing where there is none.
fn ask(place: &Path, from: [u8; 4], to: &str, path: &str, header: &str) -> Option<(u16, String)> {
    let (to, path, header): (SocketAddr, String, String) = (to.parse().unwrap(), path.to_string(), header.to_string());
    within(place, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connect = async {
            let socket = tokio::net::TcpSocket::new_v4().ok()?;
            socket.bind(SocketAddr::from((IpAddr::from(from), 0))).ok()?;
            tokio::time::timeout(Duration::from_secs(2), socket.connect(to)).await.ok()?.ok()
        };
        let mut stream = runtime.block_on(connect)?.into_std().ok()?;
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: metadata\r\nConnection: close\r\n{header}\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_string()))
    })
}

const ONE: [u8; 4] = [10, 0, 0, 11];
const TWO: [u8; 4] = [10, 0, 0, 12];

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_told_of_itself_and_of_no_other() {
    let mut site = Site::start("meta");
    site.bring_up(2).await;
    site.wait_for_lease(1, "10.0.0.11/16");
    site.wait_for_lease(2, "10.0.0.12/16");
    let (one, two) = (site.vm_place(1), site.vm_place(2));
    assert_eq!(get(&one, ONE, ROUTER, "/latest/user-data"), None);

    let client = |at: usize, userdata: Option<&str>| {
        let host = site.router.sections.dhcp.hosts[at].clone();
        MetadataClient {
            ip: host.ip.unwrap(),
            mac: host.mac,
            vm: VmInstanceId(Id::of_name(&host.hostname)),
            hostname: host.hostname,
            domain: Some("vpc.local".to_string()),
            userdata: userdata.map(|text| STANDARD.encode(text)),
            password: None,
        }
    };
    let clients = vec![client(0, Some("#!/bin/sh\necho \"$(id)\"; '\n")), client(1, None)];
    site.router.sections.metadata = MetadataConfig { clients };
    let open = InputRule { interface: "eth1".to_string(), protocol: Protocol::Tcp, port: METADATA_PORT };
    site.router.sections.firewall.input.push(open);
    site.router.revision += 1;
    let report = site.push_router().await.unwrap();
    assert!(report.sections["metadata"].changed, "{report:?}");
    let drift = site.client.drift(site.router_at()).await.unwrap();
    assert!(drift.items.is_empty(), "{drift:?}");

    let said = |status, body: &str| Some((status, body.to_string()));
    for to in [CLOUD, ROUTER] {
        assert_eq!(get(&one, ONE, to, "/latest/user-data"), said(200, "#!/bin/sh\necho \"$(id)\"; '\n"), "{to}");
        assert_eq!(get(&one, ONE, to, "/latest/meta-data/local-hostname"), said(200, "vm1.vpc.local"), "{to}");
        let id = Id::of_name("vm1").to_string();
        assert_eq!(get(&one, ONE, to, "/2009-04-04/meta-data/instance-id"), said(200, &id), "{to}");
        assert_eq!(get(&two, TWO, to, "/latest/meta-data/local-hostname"), said(200, "vm2.vpc.local"), "{to}");
        assert_eq!(get(&two, TWO, to, "/latest/user-data"), said(404, ""), "{to}");
    }
    // No password waits for them; what is not asked as CloudStack's images do is a question for metadata.
    let password = "DomU_Request: send_my_password\r\n";
    for to in ["169.254.169.254:8080", "10.0.0.1:8080"] {
        assert_eq!(ask(&one, ONE, to, "/", password), said(200, "saved_password"), "{to}");
        assert_eq!(get(&one, ONE, to, "/latest/meta-data/local-hostname"), said(200, "vm1.vpc.local"), "{to}");
    }
    // From outside nobody comes, whatever address is asked.
    let net = site.place("net");
    for to in [format!("203.0.113.1:{METADATA_PORT}"), "203.0.113.1:80".to_string()] {
        assert_eq!(get(&net, Ipv4Addr::new(203, 0, 113, 254).octets(), &to, "/latest/user-data"), None, "{to}");
    }

    // Another VM takes the address of the first one, which is away, so that all answers reach it.
    site.vm(1, "ip link set eth0 down");
    site.vm(2, "ip addr add 10.0.0.11/16 dev eth0");
    site.in_router("ip neigh flush all");
    assert_eq!(get(&two, ONE, CLOUD, "/latest/user-data"), said(403, ""));
    assert_eq!(get(&two, ONE, ROUTER, "/latest/meta-data/instance-id"), said(403, ""));
    assert_eq!(ask(&two, ONE, "10.0.0.1:8080", "/", password), said(403, ""));
    assert_eq!(get(&two, TWO, CLOUD, "/latest/meta-data/local-ipv4"), said(200, "10.0.0.12"));

    // Who is not served any more is told nothing.
    site.router.sections.metadata.clients.remove(1);
    site.router.revision += 1;
    site.push_router().await.unwrap();
    assert_eq!(get(&two, TWO, CLOUD, "/latest/meta-data/local-ipv4"), said(403, ""));
    site.router.sections.metadata = MetadataConfig::default();
    site.router.sections.firewall.input.pop();
    site.router.revision += 1;
    site.push_router().await.unwrap();
    assert_eq!(get(&two, TWO, ROUTER, "/latest/meta-data/local-ipv4"), None);
    assert!(!site.in_router("nft list ruleset").contains("metadata"));
}
