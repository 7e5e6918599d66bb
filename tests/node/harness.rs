//! A node with simulated hosts, and a small data centre on it.

use serde_json::{Value, json};
use std::{
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use switchback::node::{DataDir, Node, NodeOptions};
use switchback_agent::{SimulatedFleet, kernel::FailKind};
use switchback_bus::{Bus, Caller, CommandReply, CommandRequest, QueryRequest, Refusal, Wait};
use switchback_events::{CommandId, Id, Origin, Position};

/// No poll waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node, and how a test talks to it.
#[derive(Clone)]
pub struct World {
    pub node: Arc<Node>,
}

/// A request as the tests write it.
pub fn request(name: &str, parameters: &Value) -> CommandRequest {
    CommandRequest::new(name, parameters.clone(), Caller::administrator("admin"), Origin::Api)
}

/// Who may do everything.
pub fn admin() -> Caller {
    Caller::administrator("admin")
}

/// A command id of one's own choice.
pub fn command_id(name: &str) -> CommandId {
    CommandId(Id::of_name(name))
}

pub fn id(text: &str) -> Id {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The uuid of an inventory.
pub fn uuid(inventory: &Value) -> String {
    inventory["uuid"].as_str().unwrap_or_else(|| panic!("no uuid in {inventory}")).to_string()
}

/// The text of a field.
pub fn text(inventory: &Value, field: &str) -> String {
    inventory[field].as_str().unwrap_or_else(|| panic!("no {field} in {inventory}")).to_string()
}

impl World {
    pub fn new() -> World {
        World::with(NodeOptions::default())
    }

    pub fn with(options: NodeOptions) -> World {
        World { node: Arc::new(Node::in_memory(&options).unwrap()) }
    }

    /// A node that keeps its log in `directory`.
    pub fn open(directory: &Path) -> World {
        let options = NodeOptions { simulate: true, ..NodeOptions::default() };
        World { node: Arc::new(Node::open(&DataDir::open(directory).unwrap(), &options).unwrap()) }
    }

    pub fn close(self) {
        Arc::into_inner(self.node).expect("nobody else has the node").close();
    }

    pub fn fleet(&self) -> &Arc<SimulatedFleet> {
        self.node.fleet().simulation()
    }

    pub fn head(&self) -> Position {
        self.node.journal().head()
    }

    /// The commands of users in the log after `head`. What reconcilers report may always come in between.
    pub async fn asked_since(&self, head: Position) -> Vec<String> {
        let journal = self.node.journal();
        journal.wait_durable(journal.head()).await.unwrap();
        let commits = journal.read(head, usize::MAX).unwrap();
        let asked = commits.iter().filter(|commit| commit.provenance.origin != Origin::System);
        asked.map(|commit| commit.provenance.command.clone()).collect()
    }

    pub async fn send(&self, name: &str, parameters: Value) -> Result<CommandReply, Refusal> {
        self.node.command(request(name, &parameters)).await
    }

    /// Sends a command that must succeed and be applied everywhere.
    pub async fn done(&self, name: &str, parameters: Value) -> CommandReply {
        let reply = self.send(name, parameters.clone()).await;
        let reply = reply.unwrap_or_else(|refusal| panic!("{name} {parameters}: {refusal}"));
        assert!(reply.applied, "{name} {parameters} is not applied: {reply:?}");
        reply
    }

    /// The same for a command that answers an inventory.
    pub async fn make(&self, name: &str, parameters: Value) -> Value {
        let reply = self.done(name, parameters).await;
        reply.inventory.unwrap_or_else(|| panic!("{name} answers no inventory"))
    }

    /// Sends a command that must be refused without a trace in the log.
    pub async fn refused(&self, name: &str, parameters: Value) -> Refusal {
        let head = self.head();
        match self.send(name, parameters.clone()).await {
            Ok(reply) => panic!("{name} {parameters} was not refused: {reply:?}"),
            Err(refusal) => {
                let left = self.asked_since(head).await;
                assert_eq!(left, [""; 0], "{name} {parameters} was refused and left something in the log");
                refusal
            }
        }
    }

    /// Sends a command whose work must fail after it was accepted.
    pub async fn fails(&self, name: &str, parameters: Value) -> Refusal {
        match self.send(name, parameters.clone()).await {
            Ok(reply) => panic!("{name} {parameters} did not fail: {reply:?}"),
            Err(refusal) => refusal,
        }
    }

    /// Sends a command again until it succeeds.
    pub async fn in_the_end(&self, name: &str, parameters: Value) -> Value {
        let sent = || async { self.send(name, parameters.clone()).await.ok() };
        self.until(name, sent).await.inventory.unwrap_or_default()
    }

    pub async fn durable(&self, name: &str, parameters: Value) -> CommandReply {
        let request = CommandRequest { wait: Wait::Durable, ..request(name, &parameters) };
        self.node.command(request).await.unwrap_or_else(|refusal| panic!("{name} {parameters}: {refusal}"))
    }

    pub async fn query_at(&self, name: &str, conditions: &[&str], at: Option<Position>) -> Vec<Value> {
        let q = conditions.iter().map(ToString::to_string).collect();
        let at = at.map(|at| at.to_string());
        let request = QueryRequest { name: name.to_string(), q, at, ..QueryRequest::default() };
        self.node
            .query(&admin(), request)
            .await
            .unwrap_or_else(|refusal| panic!("{name} {conditions:?}: {refusal}"))
            .rows()
    }

    pub async fn query(&self, name: &str, conditions: &[&str]) -> Vec<Value> {
        self.query_at(name, conditions, None).await
    }

    /// The only inventory that matches.
    pub async fn one(&self, name: &str, conditions: &[&str]) -> Value {
        let mut found = self.query(name, conditions).await;
        assert_eq!(found.len(), 1, "{name} {conditions:?}: {found:?}");
        found.remove(0)
    }

    pub async fn get(&self, name: &str, uuid: &str) -> Value {
        self.one(name, &[&format!("uuid={uuid}")]).await
    }

    pub async fn read(&self, name: &str, parameters: Value) -> Value {
        self.node
            .read(&admin(), name, parameters.clone())
            .await
            .unwrap_or_else(|refusal| panic!("{name} {parameters}: {refusal}"))
    }

    /// The same, to be waited for later.
    pub fn read_owned(&self, name: &'static str, parameters: Value) -> impl Future<Output = Value> + use<> {
        let world = self.clone();
        async move { world.read(name, parameters).await }
    }

    /// The uuids of what matches.
    pub async fn found_through(&self, name: &str, condition: &str) -> Vec<String> {
        self.query(name, &[condition]).await.iter().map(uuid).collect()
    }

    /// The sections of a router's configuration.
    pub async fn sections(&self, router: &str) -> Value {
        self.read("GetVirtualRouterConfig", json!({"uuid": router})).await["config"]["sections"].clone()
    }

    /// The routers that serve a guest network.
    pub async fn routers_of(&self, l3: &str) -> Vec<Value> {
        self.query("QueryVirtualRouterVm", &[&format!("vmNics.l3NetworkUuid={l3}")]).await
    }

    /// The only router that serves a guest network.
    pub async fn router_of(&self, l3: &str) -> Value {
        let mut routers = self.routers_of(l3).await;
        assert_eq!(routers.len(), 1, "{routers:?}");
        routers.remove(0)
    }

    /// The events after `after`, as `kind` texts.
    pub async fn kinds_after(&self, after: Position) -> Vec<String> {
        let events = self.read("GetEvents", json!({"after": after, "limit": 10_000})).await;
        events["events"].as_array().unwrap().iter().map(|event| text(event, "kind")).collect()
    }

    pub async fn configure(&self, category: &str, name: &str, value: &str) {
        self.done("UpdateGlobalConfig", json!({"category": category, "name": name, "value": value})).await;
    }

    /// Waits until `ready` answers something.
    pub async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, mut ready: impl FnMut() -> F) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ready().await {
                return found;
            }
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until an inventory's field has a value.
    pub async fn until_is(&self, query: &str, uuid: &str, field: &str, value: &str) {
        let what = format!("{query} {uuid} {field}={value}");
        self.until(&what, || async {
            let found = self.get(query, uuid).await;
            (found[field] == json!(value)).then_some(())
        })
        .await;
    }

    /// Sends many commands at once; the answers in the order of the commands.
    pub async fn at_once(&self, commands: Vec<(&'static str, Value)>) -> Vec<Result<CommandReply, Refusal>> {
        let sent: Vec<_> = commands
            .into_iter()
            .map(|(name, parameters)| {
                let world = self.clone();
                actix_rt::spawn(async move { world.send(name, parameters).await })
            })
            .collect();
        let mut answers = Vec::new();
        for answer in sent {
            answers.push(answer.await.unwrap());
        }
        answers
    }

    /// A host cannot make appliances or VMs until the answer is dropped; a few attempts after that fail, too.
    pub fn break_appliances(&self, host: &str) -> Broken {
        self.break_kernel(host, &[FailKind::Namespace, FailKind::Links, FailKind::Spawn])
    }

    /// A host's or router's kernel fails in these until the answer is dropped, and perhaps once more.
    pub fn break_kernel(&self, owner: &str, kinds: &'static [FailKind]) -> Broken {
        let (fleet, owner) = (self.fleet().clone(), id(owner));
        let arm = move || {
            for kind in kinds {
                fleet.fail_next(owner, *kind);
            }
        };
        arm();
        let mended = Arc::new(AtomicBool::new(false));
        let seen = mended.clone();
        // A thread of its own: a failure happens once, and the next attempt may follow at once.
        std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                arm();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Broken { mended }
    }

    /// Every address and hardware address has one holder, and nobody has one that is not recorded.
    pub async fn one_holder_each(&self) {
        let nics = self.query("QueryVmNic", &[]).await;
        let mut seen = std::collections::BTreeSet::new();
        for nic in &nics {
            assert!(seen.insert(text(nic, "mac")), "{nic} has another nic's MAC");
            let address = format!("{}/{}", text(nic, "l3NetworkUuid"), text(nic, "ip"));
            assert!(seen.insert(address), "{nic} has another nic's address");
        }
        let used = self.query("QueryIpAddress", &["usedFor=null"]).await;
        let mut held: Vec<String> = used.iter().map(|used| text(used, "vmNicUuid")).collect();
        let mut holders: Vec<String> = nics.iter().filter(|nic| nic["usedIpUuid"].is_string()).map(uuid).collect();
        let of_vips = self.query("QueryIpAddress", &["usedFor=VIP"]).await;
        held.extend(of_vips.iter().map(uuid));
        holders.extend(self.query("QueryVip", &["system=false"]).await.iter().map(|vip| text(vip, "usedIpUuid")));
        held.sort();
        holders.sort();
        assert_eq!(held, holders);
    }
}

/// Something is broken while this lives.
pub struct Broken {
    mended: Arc<AtomicBool>,
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.mended.store(true, Ordering::Relaxed);
    }
}

/// A zone with a cluster of simulated hosts, networks for management and the public, and an offering.
#[derive(Clone)]
pub struct Site {
    pub world: World,
    pub zone: String,
    pub cluster: String,
    pub hosts: Vec<String>,
    pub image: String,
    pub management: String,
    pub public: String,
    pub offering: String,
    networks: Arc<AtomicUsize>,
}

pub const ALL_SERVICES: &[&str] = &["DHCP", "DNS", "SNAT"];

impl Site {
    /// The usual: two hosts, separate networks for management and the public.
    pub async fn new(world: &World) -> Site {
        let mut site = Site::bare(world, 2).await;
        site.offering = site.offer("vr", &site.management, &site.public).await;
        site
    }

    /// Without an offering.
    pub async fn bare(world: &World, hosts: usize) -> Site {
        let zone = uuid(&world.make("CreateZone", json!({"name": "zone"})).await);
        let cluster = json!({"zoneUuid": zone, "name": "cluster", "hypervisorType": "Simulator"});
        let cluster = uuid(&world.make("CreateCluster", cluster).await);
        let image = json!({"name": "vrouter", "url": "file:///vr.qcow2", "system": true});
        let image = uuid(&world.make("AddImage", image).await);
        let none = String::new();
        let mut site = Site {
            world: world.clone(),
            zone,
            cluster,
            hosts: vec![],
            image,
            management: none.clone(),
            public: none.clone(),
            offering: none,
            networks: Arc::default(),
        };
        for _ in 0..hosts {
            site.add_host().await;
        }
        site.management = site.network("management", "172.20.0.0/24").await;
        site.public = site.network("public", "203.0.113.0/24").await;
        site
    }

    pub async fn add_host(&mut self) {
        let number = self.hosts.len() + 1;
        let ip = format!("10.1.0.{number}");
        let host = json!({"clusterUuid": self.cluster, "name": format!("host-{number}"), "managementIp": ip});
        self.hosts.push(uuid(&self.world.make("AddSimulatorHost", host).await));
    }

    /// An L2 network of its own VLAN, attached.
    pub async fn l2(&self, name: &str) -> String {
        let vlan = self.networks.fetch_add(1, Ordering::Relaxed) + 100;
        let l2 = json!({"zoneUuid": self.zone, "name": name, "physicalInterface": "eth0", "vlan": vlan});
        let l2 = uuid(&self.world.make("CreateL2VlanNetwork", l2).await);
        let attach = json!({"l2NetworkUuid": l2, "clusterUuid": self.cluster});
        self.world.done("AttachL2NetworkToCluster", attach).await;
        l2
    }

    /// An L3 network with a range, on an L2 network of its own.
    pub async fn network(&self, name: &str, cidr: &str) -> String {
        let l2 = self.l2(name).await;
        let l3 = json!({"name": name, "l2NetworkUuid": l2, "dnsDomain": "cloud.example"});
        let l3 = uuid(&self.world.make("CreateL3Network", l3).await);
        let range = json!({"l3NetworkUuid": l3, "name": name, "networkCidr": cidr});
        self.world.done("AddIpRangeByNetworkCidr", range).await;
        l3
    }

    /// A guest network with services of the virtual router.
    pub async fn guest(&self, name: &str, services: &[&str]) -> String {
        let number = self.networks.load(Ordering::Relaxed);
        let l3 = self.network(name, &format!("10.{}.{}.0/24", 10 + number / 250, number % 250)).await;
        self.serve(&l3, services).await;
        l3
    }

    pub async fn serve(&self, l3: &str, services: &[&str]) {
        let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": services}});
        self.world.done("AttachNetworkServiceToL3Network", services).await;
    }

    pub async fn offer(&self, name: &str, management: &str, public: &str) -> String {
        uuid(&self.world.make("CreateVirtualRouterOffering", self.offering(name, management, public)).await)
    }

    /// The parameters of an offering.
    pub fn offering(&self, name: &str, management: &str, public: &str) -> Value {
        json!({
            "name": name, "cpuNum": 1, "memorySize": 1 << 29, "zoneUuid": self.zone, "imageUuid": self.image,
            "managementNetworkUuid": management, "publicNetworkUuid": public,
        })
    }

    pub async fn vm(&self, name: &str, l3: &str) -> Value {
        self.world.make("CreateVmInstance", json!({"name": name, "l3NetworkUuids": [l3]})).await
    }

    /// How many addresses of an L3 network are free.
    pub async fn free(&self, l3: &str) -> usize {
        let free = self.world.read("GetFreeIp", json!({"l3NetworkUuid": l3, "limit": -1})).await;
        free["inventories"].as_array().unwrap().len()
    }
}
