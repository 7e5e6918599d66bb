//! A provider of network services that is not a part of Switchback: the example of
//! `docs/guides/network-service-provider.md`, asked for through the public bus.

#[allow(dead_code, reason = "other tests ask the rest")]
#[path = "../node/harness.rs"]
mod harness;
mod lease_box;

use harness::{Site, World, text, uuid};
use lease_box::{LeaseBox, LeaseBoxProvider};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use switchback::node::{DataDir, Node, NodeOptions};
use switchback_appliance::Providers;
use switchback_events::L3NetworkId;

const ATTACH: &str = "AttachNetworkServiceToL3Network";
const DETACH: &str = "DetachNetworkServiceFromL3Network";

fn options(lease_box: &Arc<LeaseBox>) -> NodeOptions {
    let providers = Providers::default().with(LeaseBoxProvider(lease_box.clone()));
    NodeOptions { simulate: true, providers, ..NodeOptions::default() }
}

fn of(l3: &str, services: &[&str]) -> Value {
    json!({"l3NetworkUuid": l3, "networkServices": {"LeaseBox": services}})
}

/// A network with a range that leaves the box its address.
async fn network(site: &Site) -> (String, L3NetworkId) {
    let l2 = site.l2("l2").await;
    let l3 = json!({"name": "boxed", "l2NetworkUuid": l2, "dnsDomain": "cloud.example"});
    let l3 = uuid(&site.world.make("CreateL3Network", l3).await);
    let range = json!({
        "l3NetworkUuid": l3, "name": "r", "startIp": "10.60.0.10", "endIp": "10.60.0.99", "netmask": "255.255.255.0",
        "gateway": "10.60.0.1",
    });
    site.world.done("AddIpRange", range).await;
    let id = l3.parse().unwrap();
    (l3, id)
}

#[actix_rt::test]
async fn a_provider_outside_gives_dhcp_and_dns() {
    let lease_box = Arc::new(LeaseBox::default());
    let world = World::with(options(&lease_box));
    let site = Site::bare(&world, 1).await;
    // Its record is there, with what it gives.
    let record = world.one("QueryNetworkServiceProvider", &["type=LeaseBox"]).await;
    assert_eq!(record["networkServiceTypes"], json!(["DHCP", "DNS"]));
    let (l3, id) = network(&site).await;
    assert_eq!(world.refused(ATTACH, of(&l3, &["SNAT"])).await.code, "SYS.1007");
    world.done(ATTACH, of(&l3, &["DHCP", "DNS"])).await;
    let head = "subnet 10.60.0.0/24 from 10.60.0.254 router 10.60.0.1\nmtu 1500 lease 600\nask 10.60.0.254\n";
    assert_eq!(lease_box.text(id).unwrap(), head);
    // A VM is served when its creation is answered, and no router was made for it.
    let vm = site.vm("web-1", &l3).await;
    let nic = &vm["vmNics"][0];
    let (ip, mac) = (text(nic, "ip"), text(nic, "mac"));
    assert_eq!(lease_box.text(id).unwrap(), format!("{head}host {mac} {ip} web-1\nname web-1 {ip}\n"));
    assert!(world.query("QueryVirtualRouterVm", &[]).await.is_empty());
    // Settings follow.
    world.done("AddDnsToL3Network", json!({"l3NetworkUuid": l3, "dns": "9.9.9.9"})).await;
    world.done("SetL3NetworkMtu", json!({"l3NetworkUuid": l3, "mtu": 1400})).await;
    let route = json!({"l3NetworkUuid": l3, "prefix": "10.9.0.0/16", "nexthop": "10.60.0.5"});
    world.done("AddHostRouteToL3Network", route).await;
    let served = lease_box.text(id).unwrap();
    for line in ["mtu 1400 lease 600\n", "route 10.9.0.0/16 10.60.0.5\n", "upstream 9.9.9.9\n"] {
        assert!(served.contains(line), "{line}: {served}");
    }
    world.done("StopVmInstance", json!({"uuid": uuid(&vm)})).await;
    // That it stopped is an event that the provider hears of after it.
    world
        .until("the box to forget the VM", || async { lease_box.text(id).filter(|text| !text.contains("host")) })
        .await;
    // Without DNS of its own clients are told the network's name servers.
    world.done(DETACH, json!({"l3NetworkUuid": l3, "service": "DNS"})).await;
    let served = lease_box.text(id).unwrap();
    assert!(served.contains("ask 9.9.9.9\n") && !served.contains("upstream"), "{served}");
    world.done(DETACH, json!({"l3NetworkUuid": l3, "service": "DHCP"})).await;
    assert_eq!(lease_box.text(id), None);
}

#[actix_rt::test]
async fn what_a_provider_could_not_do_is_done_when_it_can() {
    let lease_box = Arc::new(LeaseBox::default());
    let world = World::with(options(&lease_box));
    let site = Site::bare(&world, 1).await;
    let (l3, id) = network(&site).await;
    lease_box.breaks(true);
    // It is attached, and nobody is held up.
    world.durable(ATTACH, of(&l3, &["DHCP"])).await;
    world.done("UpdateL3Network", json!({"uuid": site.public, "name": "other"})).await;
    assert_eq!(lease_box.text(id), None);
    lease_box.breaks(false);
    world.until("the box to serve", || async { lease_box.text(id) }).await;
}

#[actix_rt::test]
async fn a_server_that_starts_tells_its_providers_again() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path, lease_box| World {
        node: Arc::new(Node::open(&DataDir::open(path).unwrap(), &options(lease_box)).unwrap()),
    };
    let lease_box = Arc::new(LeaseBox::default());
    let world = open(directory.path(), &lease_box);
    let site = Site::bare(&world, 1).await;
    let (l3, id) = network(&site).await;
    world.done(ATTACH, of(&l3, &["DHCP"])).await;
    let served = lease_box.text(id);
    drop(site);
    world.close();
    // A box that has lost everything, and serves a network that nobody knows.
    let (fresh, stray) = (Arc::new(LeaseBox::default()), L3NetworkId(switchback_events::Id::of_name("stray")));
    fresh.serves(stray, "old");
    let world = open(directory.path(), &fresh);
    world.until("the box to serve again", || async { fresh.text(id) }).await;
    assert_eq!(fresh.text(id), served);
    world.until("the stray network to go", || async { fresh.text(stray).is_none().then_some(()) }).await;
    world.close();
}
