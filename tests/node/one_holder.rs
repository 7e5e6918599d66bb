//! An address has one holder, under any concurrency: many clients take addresses, give them back, reserve them, and
//! delete and add ranges, under each allocator. The log has every moment of it in order, so a model that reads it
//! commit by commit says after each whether an address has two holders, whether each allocator kept its order, and
//! whether anything leaked.

use crate::{
    harness::{Site, World, command_id, id, request, uuid},
    invariants,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use switchback_actors::{IpRange, States};
use switchback_bus::{Bus, CommandRequest, Refusal, RefusalKind, Wait};
use switchback_events::*;
use switchback_snapshots::Snapshots;

const CLIENTS: usize = 64;
const NETWORKS: usize = 3;
/// Ranges of a network, all of one CIDR.
const SLOTS: u32 = 6;
/// Addresses of each.
const SLOT: u32 = 24;
/// How many commits the model reads at a time.
const AT_ONCE: usize = 10_000;

fn operations() -> usize {
    if std::env::var_os("SWITCHBACK_FULL").is_some() { 10_000 } else { 40 }
}

#[actix_rt::test]
async fn an_address_has_one_holder_whichever_is_taken_at_random() {
    hold("RandomIpAllocatorStrategy").await;
}

#[actix_rt::test]
async fn an_address_has_one_holder_where_the_lowest_is_taken() {
    hold("FirstAvailableIpAllocatorStrategy").await;
}

#[actix_rt::test]
async fn an_address_has_one_holder_where_a_freed_one_rests() {
    hold("AscDelayRecycleIpAllocatorStrategy").await;
}

async fn hold(strategy: &str) {
    let world = World::new();
    let site = Site::bare(&world, 4).await;
    world.configure("l3Network", "ipAllocateStrategy", strategy).await;
    let mut networks = Vec::new();
    for number in 0..NETWORKS {
        let l2 = site.l2(&format!("l2-{number}")).await;
        let l3 = json!({"name": format!("l3-{number}"), "l2NetworkUuid": l2});
        let l3 = uuid(&world.make("CreateL3Network", l3).await);
        for slot in 0..SLOTS {
            world.done("AddIpRange", slot_parameters(&l3, slot)).await;
        }
        networks.push(l3);
    }
    let shared = Arc::new(Shared { world: world.clone(), networks, busy: AtomicUsize::new(0) });
    let done = Arc::new(AtomicBool::new(false));
    let reader = actix_rt::spawn(read_along(shared.clone(), done.clone()));
    let began = std::time::Instant::now();
    let clients = (0..CLIENTS).map(|number| actix_rt::spawn(Client::new(shared.clone(), number).live(operations())));
    let clients: Vec<_> = clients.collect();
    let mut named = HashSet::new();
    let mut answers = BTreeMap::new();
    for client in clients {
        let client = client.await.unwrap();
        named.extend(client.named);
        for (answer, count) in client.answers {
            *answers.entry(answer).or_insert(0) += count;
        }
    }
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    let lived = began.elapsed();
    eprintln!("{strategy}: {} operations in {lived:.1?}, {answers:?}", CLIENTS * operations());
    for operation in ["create", "destroy", "reserve", "unreserve", "give up", "delete all", "add"] {
        let happened = answers.get(&(operation.to_string(), "done".to_string()));
        assert!(happened.is_some(), "never: {operation} in {answers:?}");
    }
    let quiet =
        || async { (world.query("QueryVmInstance", &["state?=Starting,Destroying"]).await.is_empty()).then_some(()) };
    world.until("no VM is under way", quiet).await;

    let mut model = Model::new(strategy, named);
    model.read(&world);
    model.equals_states(&world);
    model.equals_inventories(&world, &shared.networks).await;
    replay_equals_live(&world);

    // Nothing leaks: when all VMs are gone and nothing is reserved, every address is free.
    for vm in world.query("QueryVmInstance", &["state!=Destroyed"]).await {
        world.durable("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    }
    world.until("all VMs are gone", quiet).await;
    for l3 in &shared.networks {
        for reserved in shared.reserved(l3).await {
            world.done("DeleteReservedIpRange", json!({"uuid": uuid(&reserved)})).await;
        }
    }
    model.read(&world);
    for (range, held) in &model.ranges {
        assert!(held.used.is_empty() && held.reserved.is_empty(), "{range}: {held:?}");
    }
    model.equals_states(&world);
    assert_eq!(world.query("QueryVmNic", &[]).await, Vec::<Value>::new());
}

fn address(network: usize, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be_bytes([10, 50 + network as u8, 0, 0]) + number)
}

/// The `number`th address that slots have, of all slots.
fn in_slots(number: u32) -> u32 {
    16 + number % (SLOTS * SLOT)
}

fn slot_parameters(l3: &str, slot: u32) -> Value {
    let first = in_slots(slot * SLOT);
    let ip = |number| address(0, number);
    json!({
        "l3NetworkUuid": l3, "name": format!("slot-{slot}"), "startIp": ip(first), "endIp": ip(first + SLOT - 1),
        "netmask": "255.255.255.0", "gateway": ip(1),
    })
}

struct Shared {
    world: World,
    networks: Vec<String>,
    busy: AtomicUsize,
}

impl Shared {
    async fn reserved(&self, l3: &str) -> Vec<Value> {
        let l3 = self.world.get("QueryL3Network", l3).await;
        l3["reservedIpRanges"].as_array().unwrap().clone()
    }
}

/// Reads capacities all the time: what is free and what is not make up the whole.
async fn read_along(shared: Arc<Shared>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        let capacity = shared.world.read("GetIpAddressCapacity", json!({"l3NetworkUuids": shared.networks})).await;
        let of = |field: &str| capacity[field].as_u64().unwrap_or_else(|| panic!("no {field} in {capacity}"));
        assert_eq!(of("totalCapacity"), of("availableCapacity") + of("usedIpAddressNumber"), "{capacity}");
        actix_rt::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// One of those who do things at once.
struct Client {
    shared: Arc<Shared>,
    number: usize,
    sent: usize,
    random: u64,
    vms: Vec<String>,
    /// The commands that asked for an address by name.
    named: Vec<CommandId>,
    answers: BTreeMap<(String, String), usize>,
}

impl Client {
    fn new(shared: Arc<Shared>, number: usize) -> Client {
        let (vms, named, answers) = (vec![], vec![], BTreeMap::new());
        Client { shared, number, sent: 0, random: number as u64 * 2 + 1, vms, named, answers }
    }

    fn dice(&mut self, sides: usize) -> usize {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) as usize % sides
    }

    fn network(&mut self) -> String {
        let network = self.dice(NETWORKS);
        self.shared.networks[network].clone()
    }

    /// A range that there was a moment ago, if any.
    async fn range(&mut self) -> Option<Value> {
        let l3 = self.network();
        let mut ranges = self.shared.world.query("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await;
        let chosen = self.dice(ranges.len().max(1));
        (!ranges.is_empty()).then(|| ranges.swap_remove(chosen))
    }

    async fn live(mut self, operations: usize) -> Client {
        for operation in 0..operations {
            // Now rather full, now rather empty.
            let creates = if operation / 40 % 2 == 0 { 55 } else { 30 };
            match self.dice(100) {
                dice if dice < creates => self.create().await,
                dice if dice < 84 => self.destroy().await,
                84..88 => self.reserve().await,
                88..91 => self.unreserve().await,
                91..94 => self.give_up().await,
                94..96 => self.delete("delete", "Permissive").await,
                96 => self.delete("delete all", "Enforcing").await,
                _ => self.add().await,
            }
        }
        self
    }

    async fn create(&mut self) {
        let l3 = self.network();
        let name = format!("vm-{}-{}", self.number, self.sent);
        let mut vm = json!({"name": name, "l3NetworkUuids": [l3]});
        let is_named = self.dice(10) == 0;
        if is_named {
            let ip = address(0, in_slots(self.dice(1000) as u32));
            vm["systemTags"] = json!([format!("staticIp::{l3}::{ip}")]);
        }
        let what = if is_named { "create named" } else { "create" };
        if let Some(reply) = self.send(what, "CreateVmInstance", vm, is_named).await {
            self.vms.push(uuid(&reply));
        }
    }

    async fn destroy(&mut self) {
        if self.vms.is_empty() {
            return self.create().await;
        }
        let chosen = self.dice(self.vms.len());
        let vm = self.vms.swap_remove(chosen);
        self.send("destroy", "DestroyVmInstance", json!({"uuid": vm}), false).await;
    }

    async fn reserve(&mut self) {
        let first = in_slots(self.dice(1000) as u32);
        let last = first + self.dice(8) as u32;
        let reserved =
            json!({"l3NetworkUuid": self.network(), "startIp": address(0, first), "endIp": address(0, last)});
        self.send("reserve", "AddReservedIpRange", reserved, false).await;
    }

    async fn unreserve(&mut self) {
        let l3 = self.network();
        let reserved = self.shared.reserved(&l3).await;
        let chosen = self.dice(reserved.len().max(1));
        if let Some(reserved) = reserved.get(chosen) {
            self.send("unreserve", "DeleteReservedIpRange", json!({"uuid": uuid(reserved)}), false).await;
        }
    }

    /// Gives up reserved addresses, one by one.
    async fn give_up(&mut self) {
        let l3 = self.network();
        let own = format!("l3NetworkUuid={l3}");
        let held = self.shared.world.query("QueryIpAddress", &[&own, "vmNicUuid=null"]).await;
        if held.is_empty() {
            return;
        }
        let chosen = self.dice(held.len());
        let some: Vec<String> = held.iter().skip(chosen).take(2).map(uuid).collect();
        let some = json!({"l3NetworkUuid": l3, "usedIpUuids": some});
        self.send("give up", "DeleteIpAddress", some, false).await;
    }

    async fn delete(&mut self, what: &str, mode: &str) {
        if let Some(range) = self.range().await {
            let parameters = json!({"uuid": uuid(&range), "deleteMode": mode});
            self.send(what, "DeleteIpRange", parameters, false).await;
        }
    }

    async fn add(&mut self) {
        let l3 = self.network();
        let slot = self.dice(SLOTS as usize) as u32;
        self.send("add", "AddIpRange", slot_parameters(&l3, slot), false).await;
    }

    /// The inventory that came of it; nothing if it was refused, as it may be.
    async fn send(&mut self, what: &str, name: &str, parameters: Value, is_named: bool) -> Option<Value> {
        loop {
            self.sent += 1;
            let id = command_id(&format!("client {} sends {}", self.number, self.sent));
            if is_named {
                self.named.push(id);
            }
            let request = request(name, &parameters);
            let request = CommandRequest { wait: Wait::Durable, command_id: Some(id), ..request };
            let answer = self.shared.world.node.command(request).await;
            let word = match &answer {
                Ok(_) => "done".to_string(),
                Err(refusal) => refusal.code.clone(),
            };
            *self.answers.entry((what.to_string(), word)).or_default() += 1;
            match answer {
                Ok(reply) => return reply.inventory,
                Err(Refusal { kind: RefusalKind::Busy, .. }) => {
                    self.shared.busy.fetch_add(1, Ordering::Relaxed);
                }
                Err(Refusal { kind: RefusalKind::Conflict | RefusalKind::Invalid | RefusalKind::NotFound, .. }) => {
                    return None;
                }
                Err(refusal) => panic!("{name} {parameters}: {refusal}"),
            }
        }
    }
}

/// What a range is said to hold by the log, without bitmaps.
#[derive(Debug)]
struct Held {
    l3: L3NetworkId,
    first: u32,
    last: u32,
    used: BTreeSet<u32>,
    reserved: BTreeSet<u32>,
    cursor: Option<u32>,
}

impl Held {
    fn is_free(&self, ip: u32) -> bool {
        (self.first..=self.last).contains(&ip) && !self.used.contains(&ip) && !self.reserved.contains(&ip)
    }

    fn free_from(&self, from: u32) -> Option<u32> {
        (from.max(self.first)..=self.last).find(|ip| self.is_free(*ip))
    }

    /// The next in turn, where what is freed rests.
    fn in_turn(&self) -> Option<u32> {
        self.free_from(self.cursor.unwrap_or(self.first))
    }
}

/// An address of IPv4 as a number.
fn number(ip: IpAddr) -> u32 {
    ip_number(ip) as u32
}

/// Reads the log, and says what is wrong with it.
struct Model {
    strategy: String,
    named: HashSet<CommandId>,
    ranges: BTreeMap<Id, Held>,
    holders: invariants::Holders,
    position: Position,
}

impl Model {
    fn new(strategy: &str, named: HashSet<CommandId>) -> Model {
        let (ranges, holders) = (BTreeMap::new(), invariants::Holders::default());
        Model { strategy: strategy.to_string(), named, ranges, holders, position: 0 }
    }

    /// Reads on to the end of the log.
    fn read(&mut self, world: &World) {
        let journal = world.node.journal();
        loop {
            let commits = journal.read(self.position, AT_ONCE).unwrap();
            let Some(last) = commits.last() else { return };
            self.position = last.last_position();
            for commit in commits {
                let named = self.named.contains(&commit.provenance.command_id);
                for event in &commit.events {
                    self.holders.apply(event).unwrap_or_else(|what| panic!("position {}: {what}", event.position));
                    if let Event::IpRange(change) = &event.event {
                        self.apply(event, change, named);
                    }
                }
            }
        }
    }

    fn apply(&mut self, event: &Recorded, change: &IpRangeEvent, named: bool) {
        let (range, position) = (event.stream.id, event.position);
        if let IpRangeEvent::AddressAllocated { ip, .. } = change {
            let ip = number(*ip);
            assert!(self.ranges[&range].is_free(ip), "position {position}: {} is not free", Ipv4Addr::from(ip));
            if !named {
                self.in_order(range, ip, position);
            }
        }
        if let IpRangeEvent::Created { l3_network, start, end, .. } = change {
            let (first, last) = (u32::from(*start), u32::from(*end));
            let (used, reserved) = (BTreeSet::new(), BTreeSet::new());
            self.ranges.insert(range, Held { l3: *l3_network, first, last, used, reserved, cursor: None });
            return;
        }
        if let IpRangeEvent::Deleted { .. } = change {
            let held = self.ranges.remove(&range);
            assert!(held.is_some_and(|held| held.used.is_empty()), "position {position}: {range} had holders");
            return;
        }
        let held = self.ranges.get_mut(&range).unwrap_or_else(|| panic!("position {position}: there is no {range}"));
        match change {
            IpRangeEvent::AddressAllocated { ip, .. } => {
                let ip = number(*ip);
                let turn = held.in_turn().or_else(|| held.free_from(held.first));
                held.used.insert(ip);
                // A named one moves it only if it was the next anyway.
                if turn == Some(ip) {
                    held.cursor = Some(ip + 1);
                }
            }
            IpRangeEvent::AddressReleased { ip, .. } => {
                assert!(held.used.remove(&number(*ip)), "position {position}: {ip} had no holder");
            }
            IpRangeEvent::AddressesReserved { first, last, .. } => {
                let span = number(*first)..=number(*last);
                held.reserved.extend(span.filter(|ip| !held.used.contains(ip)));
            }
            IpRangeEvent::AddressesUnreserved { first, last, .. } => {
                held.reserved.retain(|ip| !(number(*first)..=number(*last)).contains(ip));
            }
            _ => {}
        }
    }

    /// What was taken is what the allocator takes next, of all ranges of the network as they were just before.
    fn in_order(&self, range: Id, ip: u32, position: Position) {
        let l3 = self.ranges[&range].l3;
        let mut ranges: Vec<&Held> = self.ranges.values().filter(|held| held.l3 == l3).collect();
        ranges.sort_by_key(|held| held.first);
        let lowest = || ranges.iter().find_map(|held| held.free_from(held.first));
        let wanted = match self.strategy.as_str() {
            "FirstAvailableIpAllocatorStrategy" => lowest(),
            "AscDelayRecycleIpAllocatorStrategy" => ranges.iter().find_map(|held| held.in_turn()).or_else(lowest),
            // Any that is free.
            _ => return,
        };
        let text = |ip: Option<u32>| ip.map(Ipv4Addr::from);
        assert_eq!(text(Some(ip)), text(wanted), "position {position} of {}", self.strategy);
    }

    /// The states have what the log says, and what is free, used and reserved make up the whole.
    fn equals_states(&self, world: &World) {
        for (range, held) in &self.ranges {
            let (_, state) = world.node.states().get::<IpRange>(*range).unwrap();
            assert_eq!(BTreeSet::from_iter(state.used.iter().map(number)), held.used, "{range}");
            assert_eq!(BTreeSet::from_iter(state.reserved.iter().map(number)), held.reserved, "{range}");
            let free = (held.first..=held.last).filter(|ip| state.is_free(Ipv4Addr::from(*ip).into())).count();
            let all = (held.last - held.first + 1) as usize;
            assert_eq!(free + held.used.len() + held.reserved.len(), all, "{range}: {held:?}");
        }
    }

    /// So have the inventories.
    async fn equals_inventories(&self, world: &World, networks: &[String]) {
        for l3 in networks {
            let rows = world.query("QueryIpAddress", &[&format!("l3NetworkUuid={l3}")]).await;
            let (with, without): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["vmNicUuid"].is_string());
            let ips = |rows: &[&Value]| -> BTreeSet<u32> {
                rows.iter().map(|row| u32::from(row["ip"].as_str().unwrap().parse::<Ipv4Addr>().unwrap())).collect()
            };
            let own = |held: &&Held| held.l3.0 == id(l3);
            let used: BTreeSet<u32> =
                self.ranges.values().filter(own).flat_map(|held| held.used.iter().copied()).collect();
            let reserved: BTreeSet<u32> =
                self.ranges.values().filter(own).flat_map(|held| held.reserved.iter().copied()).collect();
            assert_eq!((ips(&with), with.len()), (used.clone(), used.len()), "{l3}");
            assert_eq!((ips(&without), without.len()), (reserved.clone(), reserved.len()), "{l3}");
        }
    }
}

/// What the log comes to when it is read anew, without snapshots, is what there is.
fn replay_equals_live(world: &World) {
    let live = world.node.states();
    let replayed = States::open(world.node.journal().clone(), Snapshots::memory()).unwrap();
    assert!(replayed.directory() == live.directory(), "the directories differ");
    for kind in [StreamKind::IpRange, StreamKind::L3Network, StreamKind::MacBlock, StreamKind::VmInstance] {
        for id in world.node.journal().streams(kind) {
            let stream = StreamKey::new(kind, id);
            assert_eq!(live.load(stream).unwrap(), replayed.load(stream).unwrap(), "{stream}");
        }
    }
}
