//! A data centre of simulated hosts on a node of its own, with its log on the disk that is measured.

use super::client::{self, Behind, Client, Listener, Way};
use crate::node::{DataDir, Node, NodeOptions};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_nats::Listening;

/// So long may the last of a gateway take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How large.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub clusters: usize,
    /// Of each cluster.
    pub hosts: usize,
    /// Guest networks, each with a router, on all clusters.
    pub networks: usize,
}

impl Shape {
    pub fn host_count(&self) -> usize {
        self.clusters * self.hosts
    }
}

/// A data centre.
pub(super) struct Site {
    pub client: Client,
    /// The guest networks.
    pub networks: Vec<String>,
    node: Arc<Node>,
    door: Door,
    runtime: tokio::runtime::Runtime,
    _system: actix_rt::SystemRunner,
}

/// What stands between the clients and the node.
enum Door {
    None,
    Http(Listener),
    Listener(Listening),
    NatsServer(Behind),
}

impl Site {
    /// Builds it: zone, clusters, hosts, networks for management and the public, guest networks with services. Its
    /// clients come in by `way`, on at most `connections` where each needs its own.
    pub fn build(directory: &Path, shape: Shape, way: Way, connections: usize) -> anyhow::Result<Site> {
        let system = actix_rt::System::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("bench-clients")
            .enable_all()
            .build()
            .context("start the clients")?;
        let options = NodeOptions { simulate: true, ..NodeOptions::default() };
        let node = Arc::new(Node::open(&DataDir::open(directory)?, &options)?);
        let networks = runtime.block_on(furnish(Client::in_process(node.clone()), shape))?;
        let (client, door) = match way {
            Way::Process => (Client::in_process(node.clone()), Door::None),
            Way::Http => {
                let listener = Listener::start(node.clone())?;
                (listener.client()?, Door::Http(listener))
            }
            Way::Listener => {
                let listening = client::listen(&node)?;
                (runtime.block_on(client::connected(listening.address, connections))?, Door::Listener(listening))
            }
            Way::NatsServer => {
                let server = Behind::start(&node, directory)?;
                (runtime.block_on(client::connected(server.address(), connections))?, Door::NatsServer(server))
            }
        };
        Ok(Site { client, networks, node, door, runtime, _system: system })
    }

    /// Connections that want all events and are never read from; they end when they are dropped.
    pub fn silent(&self, connections: usize) -> anyhow::Result<Vec<TcpStream>> {
        match &self.door {
            Door::Listener(listening) => (0..connections).map(|_| client::silent(listening.address)).collect(),
            Door::NatsServer(server) => (0..connections).map(|_| client::silent(server.address())).collect(),
            Door::None | Door::Http(_) => Ok(vec![]),
        }
    }

    /// Runs clients to their end.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Stops the node.
    pub fn close(self) -> anyhow::Result<()> {
        let Site { client, node, door, runtime, .. } = self;
        drop(client);
        match door {
            Door::None => {}
            Door::Listener(listening) => runtime.block_on(listening.stop()),
            Door::Http(listener) => listener.stop()?,
            Door::NatsServer(server) => server.stop(),
        }
        drop(runtime);
        // The gateway's workers end on threads of their own, a little after it.
        let patience = Instant::now() + PATIENCE;
        while Arc::strong_count(&node) > 1 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        let others = Arc::strong_count(&node) - 1;
        Arc::into_inner(node).with_context(|| format!("{others} others still have the node"))?.close();
        Ok(())
    }
}

async fn furnish(client: Client, shape: Shape) -> anyhow::Result<Vec<String>> {
    let zone = client.make("CreateZone", json!({"name": "zone"})).await?;
    let mut clusters = Vec::new();
    for cluster in 0..shape.clusters {
        let parameters = json!({"zoneUuid": zone, "name": format!("cluster-{cluster}"), "hypervisorType": "Simulator"});
        clusters.push(client.make("CreateCluster", parameters).await?);
    }
    let mut hosts = Vec::new();
    for (number, cluster) in clusters.iter().enumerate() {
        for host in 0..shape.hosts {
            let ip = format!("10.1.{number}.{}", host + 1);
            let name = format!("host-{number}-{host}");
            hosts.push(("AddSimulatorHost", json!({"clusterUuid": cluster, "name": name, "managementIp": ip})));
        }
    }
    all(&client, hosts).await?;
    let mut nets = vec![
        ("management".to_string(), "172.20.0.0/16".to_string()),
        ("public".to_string(), "198.18.0.0/16".to_string()),
    ];
    // Room for all VMs in any one of them.
    nets.extend((0..shape.networks).map(|network| (format!("guest-{network}"), format!("10.{}.0.0/16", 10 + network))));
    let mut l3s = Vec::new();
    for (number, (name, cidr)) in nets.iter().enumerate() {
        let l2 = json!({"zoneUuid": zone, "name": name, "physicalInterface": "eth0", "vlan": 100 + number});
        let l2 = client.make("CreateL2VlanNetwork", l2).await?;
        let attach = |cluster| ("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": cluster}));
        all(&client, clusters.iter().map(attach).collect()).await?;
        let l3 = client
            .make("CreateL3Network", json!({"name": name, "l2NetworkUuid": l2, "dnsDomain": "bench.test"}))
            .await?;
        client.make("AddIpRangeByNetworkCidr", json!({"l3NetworkUuid": l3, "name": name, "networkCidr": cidr})).await?;
        l3s.push(l3);
    }
    let image = json!({"name": "vrouter", "url": "file:///vr.qcow2", "system": true});
    let image = client.make("AddImage", image).await?;
    let guests = l3s.split_off(2);
    let offering = json!({
        "name": "vr", "cpuNum": 1, "memorySize": 1 << 29, "zoneUuid": zone, "imageUuid": image,
        "managementNetworkUuid": l3s[0], "publicNetworkUuid": l3s[1],
    });
    client.make("CreateVirtualRouterOffering", offering).await?;
    for l3 in &guests {
        let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP", "DNS", "SNAT"]}});
        client.make("AttachNetworkServiceToL3Network", services).await?;
    }
    // The first VM of each network brings its router.
    let first = |l3: &String| ("CreateVmInstance", json!({"name": "first", "l3NetworkUuids": [l3]}));
    all(&client, guests.iter().map(first).collect()).await?;
    Ok(guests)
}

/// Sends commands at once.
async fn all(client: &Client, commands: Vec<(&'static str, Value)>) -> anyhow::Result<()> {
    let sent = commands.into_iter().map(|(name, parameters)| client.make(name, parameters));
    futures_util::future::try_join_all(sent).await.map(|_| ())
}
