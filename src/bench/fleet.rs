//! `bench fleet`: how long routers are without their server when it is restarted, and whether one agent that hangs
//! holds up the others.
//!
//! The agents are the real ones over a kernel in memory, each behind its own port with its own certificate; the server
//! reaches them by the real wire, HTTPS with certificates on both sides, over loopback. Its log is on the disk.
//!
//! ```text
//!   closed ── start ── log read, states folded ── every agent told by this run ── every agent asked: no drift
//!             0          openSeconds                 reconnectedSeconds             verifiedSeconds
//! ```

mod agents;

use super::{median_ratio, round, spread};
use crate::node::{DataDir, Node, NodeOptions};
use agents::Served;
use anyhow::{Context, ensure};
use futures_util::{StreamExt, future::try_join_all, stream};
use serde_json::{Value, json};
use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_agent::{AgentClient, Agents, Authority, Timeouts};
use switchback_bus::{Bus, Caller, CommandRequest, Wait};
use switchback_events::Origin;

/// What to measure.
#[derive(Clone, Debug)]
pub struct FleetBench {
    /// How many routers, each with a guest network of its own.
    pub routers: u32,
    /// How often the server is restarted.
    pub rounds: u32,
    /// How long each of the four measurements beside an agent that hangs takes; 0 for none.
    pub seconds: f64,
    /// Where to write.
    pub directory: PathBuf,
}

/// Routers on a host.
const ROUTERS_OF_A_HOST: u32 = 20;
/// Routers of which one hangs.
const COMPANY: usize = 20;
/// Clients that change the others meanwhile.
const CLIENTS: usize = 4;
/// Commands of building at a time.
const AT_A_TIME: usize = 32;
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often routers are changed without and with one that hangs.
const TURNS: u32 = 5;
/// How often it is looked whether something is so.
const LOOK: Duration = Duration::from_millis(2);

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A server that does not open, an address that is taken, a router that does not come back or drifts.
pub fn run(options: &FleetBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    switchback_agent::install_provider();
    let _system = actix_rt::System::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the clients")?;
    let directory = DataDir::open(&options.directory)?;
    progress(&format!("building {} routers", options.routers));
    let simulating = NodeOptions { simulate: true, ..NodeOptions::default() };
    let node = Arc::new(Node::open(&directory, &simulating)?);
    let (hosts, networks) = runtime.block_on(furnish(&node, options.routers))?;
    let fleet = node.fleet().simulation().clone();
    let events = node.journal().head();
    close(node)?;

    progress("serving their agents");
    let authority = Authority::open_or_create(&directory.pki()).context("open the agents' authority")?;
    let served = Served::start(&fleet, &authority, &hosts)?;
    // The first start is another one: it meets agents that have heard of no such server.
    restart(&directory, &served, &runtime)?.1.close();
    let mut starts = Vec::new();
    for number in 1..=options.rounds {
        progress(&format!("restarting the server, {number} of {}", options.rounds));
        let (start, node) = restart(&directory, &served, &runtime)?;
        starts.push(start);
        node.close();
    }
    progress("asking each agent once, without a server");
    let identity = authority.server_identity().context("make the server's certificate")?;
    let mut asked = Vec::new();
    for _ in 0..options.rounds {
        asked.push(ask_all(&identity, &served, &runtime)?);
    }
    let of = |pick: fn(&Start) -> Duration| starts.iter().map(move |start| round(pick(start).as_secs_f64()));
    let slowest = starts.iter().map(|start| start.verified).max().unwrap_or_default();
    let yardstick = asked.iter().sum::<Duration>().as_secs_f64() / asked.len().max(1) as f64;
    let mean = starts.iter().map(|start| start.verified).sum::<Duration>().as_secs_f64() / starts.len().max(1) as f64;
    let mut figures = json!({
        "bench": "fleet",
        "routers": options.routers,
        "events": events,
        "restart": {
            "openSeconds": of(|start| start.open).collect::<Vec<_>>(),
            "reconnectedSeconds": of(|start| start.reconnected).collect::<Vec<_>>(),
            "verifiedSeconds": of(|start| start.verified).collect::<Vec<_>>(),
            "slowestSeconds": round(slowest.as_secs_f64()),
        },
        "yardstick": {"what": "a new connection to each agent and one question, all at once", "seconds": round(yardstick)},
        "ratio": round(mean / yardstick.max(1e-9)),
    });
    if options.seconds > 0.0 && networks.len() > 1 {
        figures["hung"] = hang(options, &directory, &served, &runtime, &networks, progress)?;
    }
    served.stop();
    Ok(figures)
}

/// How long a start took until …
struct Start {
    /// … the server was open,
    open: Duration,
    /// … each agent had been told its document by it,
    reconnected: Duration,
    /// … and each had been asked where it differs from that, and did not.
    verified: Duration,
}

fn restart(directory: &DataDir, served: &Served, runtime: &tokio::runtime::Runtime) -> anyhow::Result<(Start, Node)> {
    let before = served.epochs();
    let began = Instant::now();
    let node = Node::open(directory, &NodeOptions::default())?;
    let open = began.elapsed();
    let deadline = began + PATIENCE;
    let mut left: Vec<usize> = (0..served.routers.len()).collect();
    while !left.is_empty() {
        left.retain(|at| {
            let health = served.routers[*at].engine.health();
            health.epoch <= before[*at] || !health.healthy
        });
        ensure!(Instant::now() < deadline, "{} routers did not hear of the server in {PATIENCE:?}", left.len());
        std::thread::sleep(LOOK);
    }
    let reconnected = began.elapsed();
    let drifts = served.routers.iter().map(|router| {
        let node = &node;
        async move {
            let asked = json!({"uuid": router.id.to_string()});
            let drift = node.read(&Caller::administrator("admin"), "GetVirtualRouterDrift", asked).await;
            let drift = drift.map_err(|refusal| anyhow::anyhow!("ask router {}: {refusal}", router.id))?;
            ensure!(drift["items"] == json!([]), "router {} differs: {drift}", router.id);
            Ok(())
        }
    });
    runtime.block_on(try_join_all(drifts))?;
    Ok((Start { open, reconnected, verified: began.elapsed() }, node))
}

/// What the wire alone takes.
fn ask_all(
    identity: &switchback_appliance::Identity,
    served: &Served,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<Duration> {
    let client = AgentClient::new(identity, None, Timeouts::default()).context("start the agents' client")?;
    let began = Instant::now();
    let asked = served.routers.iter().map(|router| client.health(router.at()));
    runtime.block_on(try_join_all(asked)).map_err(|problem| anyhow::anyhow!("ask an agent: {problem}"))?;
    Ok(began.elapsed())
}

/// Changes routers, without and with one among them that takes connections and says nothing, in turns: a machine that
/// gets slower or faster meanwhile favours neither.
fn hang(
    options: &FleetBench,
    directory: &DataDir,
    served: &Served,
    runtime: &tokio::runtime::Runtime,
    networks: &[Network],
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Value> {
    let (_, node) = restart(directory, served, runtime)?;
    let node = Arc::new(node);
    let company = &networks[..networks.len().min(COMPANY)];
    let (stuck, others) = company.split_last().context("no routers")?;
    let at = served.routers.iter().position(|router| router.id.to_string() == stuck.router);
    let at = at.context("the router that is to hang has no agent")?;
    let seconds = options.seconds * 2.0 / f64::from(TURNS);
    let (mut well, mut beside) = (Vec::new(), Vec::new());
    let mut caught_up = Vec::new();
    for turn in 1..=TURNS {
        progress(&format!("changing {} routers, all well, {turn} of {TURNS}", others.len()));
        well.push(runtime.block_on(change(&node, others, seconds))?);
        progress(&format!("changing them beside one that hangs, {turn} of {TURNS}"));
        served.hang(at)?;
        let epoch = (served.routers[at].engine.health().epoch, served.routers[at].engine.health().revision);
        runtime.block_on(told(&node, stuck))?;
        beside.push(runtime.block_on(change(&node, others, seconds))?);
        let began = Instant::now();
        loop {
            let (status, reason) = runtime.block_on(status(&node, &stuck.router))?;
            if status == "Disconnected" && !reason.is_empty() {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "the router that hangs is {status}: {reason}");
            std::thread::sleep(LOOK);
        }
        let began = Instant::now();
        served.answer(at)?;
        loop {
            let health = served.routers[at].engine.health();
            let connected = runtime.block_on(self::status(&node, &stuck.router))?.0 == "Connected";
            if connected && (health.epoch, health.revision) > epoch {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "the router that hung is not caught up");
            std::thread::sleep(LOOK);
        }
        caught_up.push(began.elapsed());
    }
    close(node)?;
    let figure = |turn: &[Duration], at: &str| spread(turn.to_vec())[at].as_f64().unwrap_or_default();
    let ratio =
        |at: &str| median_ratio(beside.iter().zip(&well).map(|(beside, well)| (figure(beside, at), figure(well, at))));
    Ok(json!({
        "routers": company.len(),
        "clients": CLIENTS,
        "ratioP50": ratio("p50"),
        "ratioP99": ratio("p99"),
        "allWellMs": spread(well.concat()),
        "besideOneThatHangsMs": spread(beside.concat()),
        "caughtUpMs": spread(caught_up),
    }))
}

/// Changes of the routers of `networks`, one after the other for each client, each until it is applied.
async fn change(node: &Arc<Node>, networks: &[Network], seconds: f64) -> anyhow::Result<Vec<Duration>> {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let clients = (0..CLIENTS).map(|client| async move {
        let mut times = Vec::new();
        let own: Vec<&Network> = networks.iter().skip(client).step_by(CLIENTS).collect();
        let names = ["AddDnsToL3Network", "RemoveDnsFromL3Network"];
        for (turn, name) in names.into_iter().cycle().enumerate() {
            // What was added is taken away again before it ends.
            if own.is_empty() || Instant::now() >= until && turn % names.len() == 0 {
                break;
            }
            for network in &own {
                let began = Instant::now();
                let parameters = json!({"l3NetworkUuid": network.l3, "dns": "198.51.100.53"});
                let applied = ask(node, name, parameters, Wait::Applied).await?.1;
                ensure!(applied, "{name} was not applied");
                times.push(began.elapsed());
            }
        }
        anyhow::Ok(times)
    });
    Ok(try_join_all(clients).await?.concat())
}

/// Gives the router that hangs something to do.
async fn told(node: &Arc<Node>, stuck: &Network) -> anyhow::Result<()> {
    for name in ["AddDnsToL3Network", "RemoveDnsFromL3Network"] {
        let parameters = json!({"l3NetworkUuid": stuck.l3, "dns": "198.51.100.53"});
        ask(node, name, parameters, Wait::Durable).await?;
    }
    Ok(())
}

/// Status of a router, and its reason.
async fn status(node: &Arc<Node>, router: &str) -> anyhow::Result<(String, String)> {
    let found = query(node, "QueryVirtualRouterVm", &format!("uuid={router}")).await?;
    let text = |field: &str| found[0][field].as_str().unwrap_or_default().to_string();
    Ok((text("status"), text("statusReason")))
}

/// A host, and where its agent listens.
struct Host {
    uuid: String,
    ip: Ipv4Addr,
}

/// A guest network and its router.
struct Network {
    l3: String,
    router: String,
}

/// Makes hosts, networks and, with a VM in each guest network, routers. Addresses of hosts and of routers' agents are of
/// this machine.
async fn furnish(node: &Arc<Node>, routers: u32) -> anyhow::Result<(Vec<Host>, Vec<Network>)> {
    let make = async |name: &'static str, parameters: Value| -> anyhow::Result<String> {
        ask(node, name, parameters, Wait::Applied).await?.0.with_context(|| format!("{name} answers no uuid"))
    };
    let zone = make("CreateZone", json!({"name": "zone"})).await?;
    let cluster = json!({"zoneUuid": zone, "name": "cluster", "hypervisorType": "KVM"});
    let cluster = make("CreateCluster", cluster).await?;
    let mut hosts = Vec::new();
    for host in 0..routers.div_ceil(ROUTERS_OF_A_HOST) {
        let ip = Ipv4Addr::from(u32::from(agents::HOSTS) + host + 1);
        let host = json!({"clusterUuid": cluster, "name": format!("host-{host}"), "managementIp": ip});
        hosts.push(Host { uuid: make("AddKVMHost", host).await?, ip });
    }
    let l2 = async |name: &str, vlan: u32| -> anyhow::Result<String> {
        let l2 = json!({"zoneUuid": zone, "name": name, "physicalInterface": "eth0", "vlan": vlan});
        let l2 = make("CreateL2VlanNetwork", l2).await?;
        make("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": cluster})).await?;
        Ok(l2)
    };
    let network = async |name: String, vlan: u32, cidr: String| -> anyhow::Result<String> {
        let l3 = json!({"name": name, "l2NetworkUuid": l2(&name, vlan).await?, "dnsDomain": "bench.test"});
        let l3 = make("CreateL3Network", l3).await?;
        make("AddIpRangeByNetworkCidr", json!({"l3NetworkUuid": l3, "name": name, "networkCidr": cidr})).await?;
        Ok(l3)
    };
    let management = network("management".to_string(), 100, format!("{}/16", agents::ROUTERS)).await?;
    let public = network("public".to_string(), 101, "198.18.0.0/16".to_string()).await?;
    let image = make("AddImage", json!({"name": "vrouter", "url": "file:///vr.qcow2", "system": true})).await?;
    let offering = json!({
        "name": "vr", "cpuNum": 1, "memorySize": 1 << 29, "zoneUuid": zone, "imageUuid": image,
        "managementNetworkUuid": management, "publicNetworkUuid": public,
    });
    make("CreateVirtualRouterOffering", offering).await?;
    let guests = stream::iter(0..routers).map(|number| {
        let (network, make) = (&network, &make);
        async move {
            let cidr = format!("10.{}.{}.0/24", number / 250, number % 250);
            let l3 = network(format!("guest-{number}"), 200 + number, cidr).await?;
            let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ["DHCP", "DNS", "SNAT"]}});
            make("AttachNetworkServiceToL3Network", services).await?;
            make("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [l3]})).await?;
            let found = query(node, "QueryVirtualRouterVm", &format!("vmNics.l3NetworkUuid={l3}")).await?;
            let router = found[0]["uuid"].as_str().context("a network without a router")?.to_string();
            anyhow::Ok(Network { l3, router })
        }
    });
    let made: Vec<anyhow::Result<Network>> = guests.buffered(AT_A_TIME).collect().await;
    Ok((hosts, made.into_iter().collect::<anyhow::Result<_>>()?))
}

/// Sends a command: the uuid of what it is about, and whether hosts and routers have it.
async fn ask(node: &Arc<Node>, name: &str, parameters: Value, wait: Wait) -> anyhow::Result<(Option<String>, bool)> {
    let request = CommandRequest::new(name, parameters, Caller::administrator("admin"), Origin::Bus);
    let reply = node.command(CommandRequest { wait, ..request }).await;
    let reply = reply.map_err(|refusal| anyhow::anyhow!("{name}: {refusal}"))?;
    let uuid = reply.inventory.as_ref().and_then(|inventory| inventory["uuid"].as_str()).map(str::to_string);
    Ok((uuid, reply.applied))
}

async fn query(node: &Arc<Node>, name: &str, condition: &str) -> anyhow::Result<Vec<Value>> {
    let q = vec![condition.to_string()];
    let request = switchback_bus::QueryRequest { name: name.to_string(), q, ..Default::default() };
    let found = node.query(&Caller::administrator("admin"), request).await;
    let rows = found.map_err(|refusal| anyhow::anyhow!("{name}: {refusal}"))?.rows();
    ensure!(!rows.is_empty(), "{name} {condition}: nothing");
    Ok(rows)
}

fn close(node: Arc<Node>) -> anyhow::Result<()> {
    Arc::into_inner(node).context("somebody still has the node")?.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_found_again_and_one_that_hangs_is_too() {
        let directory = tempfile::tempdir().unwrap();
        let options = FleetBench { routers: 5, rounds: 1, seconds: 0.3, directory: directory.path().to_path_buf() };
        let figures = run(&options, &mut |_| ()).unwrap();
        assert_eq!(figures["routers"], 5);
        assert!(figures["restart"]["slowestSeconds"].as_f64().unwrap() > 0.0, "{figures:#}");
        let hung = &figures["hung"];
        assert!(hung["allWellMs"]["samples"].as_u64().unwrap() > 0, "{figures:#}");
        assert!(hung["besideOneThatHangsMs"]["samples"].as_u64().unwrap() > 0, "{figures:#}");
        assert_eq!(hung["caughtUpMs"]["samples"], TURNS, "{figures:#}");
    }
}
