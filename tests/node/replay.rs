//! Replay = live: after any sequence of commands, what is folded anew from the log equals what the node has, for
//! states, directory, inventories and the configurations of routers and hosts; an address has one holder; and what
//! was refused is not in the log.

use crate::harness::{ALL_SERVICES, Site, World, admin, id, request, text, uuid};
use crate::invariants::*;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use switchback_actors::{
    reconcilers::replay_router,
    state::{State, schema},
};
use switchback_agent::kernel::FailKind;
use switchback_appliance::{HostFold, RouterFold};
use switchback_bus::{Bus, CommandRequest, GLOBAL_CONFIGS, RefusalKind, Wait};
use switchback_events::{Event, HostId, Position, RouterId, StreamKind, VmInstanceId};
use switchback_journal::Journal;
use switchback_projections::{ConfigDefault, Projections, Query, catalogue::KINDS};
use switchback_snapshots::{Snapshot, Snapshots};

/// What a step does, and two numbers by which it chooses what to do it to.
type Step = (u8, u16, u16);

/// One of the uuids, or one of nobody.
fn pick(uuids: &[String], number: u16) -> String {
    let nobody = switchback_events::Id::of_name("nobody").to_string();
    if number % 19 == 18 {
        nobody
    } else {
        uuids.get(usize::from(number) % uuids.len().max(1)).cloned().unwrap_or(nobody)
    }
}

struct Case {
    site: Site,
    world: World,
    guests: Vec<String>,
    sent: usize,
}

impl Case {
    async fn new() -> Case {
        let world = World::new();
        let site = Site::new(&world).await;
        // So that what is destroyed may come back.
        world.configure("vm", "deletionPolicy", "Delay").await;
        let guests = vec![site.guest("a", ALL_SERVICES).await, site.guest("b", &["DHCP", "DNS"]).await];
        Case { world, site, guests, sent: 0 }
    }

    async fn uuids(&self, query: &str) -> Vec<String> {
        self.world.query(query, &[]).await.iter().map(uuid).collect()
    }

    /// The command that a step stands for.
    async fn command(&self, (kind, a, b): Step) -> (&'static str, Value) {
        let guest = pick(&self.guests, a);
        let on_off = if b.is_multiple_of(2) { "enable" } else { "disable" };
        let machines = || async {
            let mut all = self.uuids("QueryVmInstance").await;
            all.extend(self.uuids("QueryVirtualRouterVm").await);
            all
        };
        let service = ["DHCP", "DNS", "SNAT"][usize::from(b) % 3];
        let services = json!({"l3NetworkUuid": guest, "networkServices": {"VirtualRouter": [service]}});
        let attachment = |l2: String| json!({"l2NetworkUuid": l2, "clusterUuid": self.site.cluster});
        match kind {
            0..=7 => {
                let mut networks = vec![guest];
                if b.is_multiple_of(4) {
                    networks.push(self.guests[usize::from(b / 4) % 2].clone());
                }
                let mut vm = json!({"name": format!("vm{}", b % 5), "l3NetworkUuids": networks, "userTags": ["t"]});
                if b.is_multiple_of(3) {
                    vm["systemTags"] = json!([format!("hostname::h{}", a % 7)]);
                }
                ("CreateVmInstance", vm)
            }
            8 | 9 => ("StartVmInstance", json!({"uuid": pick(&machines().await, a)})),
            10..=12 => ("StopVmInstance", json!({"uuid": pick(&machines().await, a)})),
            13 | 14 => ("RebootVmInstance", json!({"uuid": pick(&machines().await, a)})),
            15..=17 => ("DestroyVmInstance", json!({"uuid": pick(&machines().await, a)})),
            18 => (
                "ReconnectVirtualRouter",
                json!({"vmInstanceUuid": pick(&self.uuids("QueryVirtualRouterVm").await, a)}),
            ),
            19 => {
                let router = pick(&self.uuids("QueryVirtualRouterVm").await, a);
                ("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": router}))
            }
            20 => ("AddDnsToL3Network", json!({"l3NetworkUuid": guest, "dns": format!("9.9.9.{}", b % 4)})),
            21 => ("RemoveDnsFromL3Network", json!({"l3NetworkUuid": guest, "dns": format!("9.9.9.{}", b % 4)})),
            22 => {
                let renamed =
                    json!({"uuid": guest, "name": format!("l3-{b}"), "dnsDomain": format!("d{}.example", b % 3)});
                ("UpdateL3Network", renamed)
            }
            23 => ("ChangeL3NetworkState", json!({"uuid": guest, "stateEvent": on_off})),
            24 => ("AttachNetworkServiceToL3Network", services),
            25 => ("DetachNetworkServiceFromL3Network", services),
            26 => {
                let range =
                    json!({"l3NetworkUuid": guest, "name": "r", "networkCidr": format!("10.77.{}.0/28", b % 3)});
                ("AddIpRangeByNetworkCidr", range)
            }
            27 => ("DeleteIpRange", json!({"uuid": pick(&self.uuids("QueryIpRange").await, a)})),
            28 => {
                let l2 = pick(&self.uuids("QueryL2Network").await, a);
                ("CreateL3Network", json!({"name": "l3", "l2NetworkUuid": l2}))
            }
            29 => ("DeleteL3Network", json!({"uuid": pick(&self.uuids("QueryL3Network").await, a)})),
            30 => {
                let l2 =
                    json!({"zoneUuid": self.site.zone, "name": "l2", "physicalInterface": format!("eth{}", b % 6)});
                ("CreateL2NoVlanNetwork", l2)
            }
            31 | 32 => ("AttachL2NetworkToCluster", attachment(pick(&self.uuids("QueryL2Network").await, a))),
            33 => ("DetachL2NetworkFromCluster", attachment(pick(&self.uuids("QueryL2Network").await, a))),
            34 => ("DeleteL2Network", json!({"uuid": pick(&self.uuids("QueryL2Network").await, a)})),
            35 => ("ChangeHostState", json!({"uuid": pick(&self.site.hosts, a), "stateEvent": on_off})),
            36 => ("ReconnectHost", json!({"uuid": pick(&self.site.hosts, a)})),
            37 => {
                let vm = pick(&machines().await, a);
                let tag = json!({"resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": format!("u{b}")});
                ("CreateUserTag", tag)
            }
            38 => ("DeleteTag", json!({"uuid": pick(&self.uuids("QueryTag").await, a)})),
            39 => {
                let mut offering = self.site.offering("o", &self.site.management, &self.site.public);
                offering["isDefault"] = json!(b.is_multiple_of(2));
                ("CreateVirtualRouterOffering", offering)
            }
            40 => {
                let offering = pick(&self.uuids("QueryVirtualRouterOffering").await, a);
                let words = ["DeleteInstanceOffering", "ChangeInstanceOfferingState"];
                match b % 3 {
                    0 => (words[0], json!({"uuid": offering})),
                    _ => (words[1], json!({"uuid": offering, "stateEvent": on_off})),
                }
            }
            41 => {
                let strategy = ["RandomIpAllocatorStrategy", "FirstAvailableIpAllocatorStrategy"][usize::from(b) % 2];
                let mut config = json!({"category": "l3Network", "name": "ipAllocateStrategy", "value": strategy});
                if a.is_multiple_of(4) {
                    return ("UpdateGlobalConfig", config);
                }
                config["resourceUuid"] = json!(guest);
                if a % 4 > 1 {
                    return ("UpdateResourceConfig", config);
                }
                config.as_object_mut().map(|config| config.remove("value"));
                ("DeleteResourceConfig", config)
            }
            44 => {
                let offering = pick(&self.uuids("QueryVirtualRouterOffering").await, a);
                let texts = [format!("guestL3Network::{guest}"), format!("commandsParallelismDegree::{}", 1 + b % 9)];
                let text = &texts[usize::from(b) % 2];
                if b.is_multiple_of(3) {
                    let known = pick(&self.uuids("QuerySystemTag").await, a);
                    return ("UpdateSystemTag", json!({"uuid": known, "tag": text}));
                }
                (
                    "CreateSystemTag",
                    json!({"resourceType": "InstanceOfferingVO", "resourceUuid": offering, "tag": text}),
                )
            }
            48..=50 => {
                let l3 = if b.is_multiple_of(3) { pick(&self.uuids("QueryL3Network").await, a) } else { guest };
                ("AttachL3NetworkToVm", json!({"vmInstanceUuid": pick(&machines().await, b), "l3NetworkUuid": l3}))
            }
            51 => ("DetachL3NetworkFromVm", json!({"vmNicUuid": pick(&self.uuids("QueryVmNic").await, b)})),
            52 => {
                let nic = pick(&self.uuids("QueryVmNic").await, b);
                ("ChangeVmNicNetwork", json!({"vmNicUuid": nic, "destL3NetworkUuid": guest}))
            }
            53 => {
                let vm = pick(&self.uuids("QueryVmInstance").await, a);
                let free =
                    self.world.node.read(&admin(), "GetFreeIp", json!({"l3NetworkUuid": guest, "limit": 1})).await;
                let ip = free.map_or(json!(null), |free| free["inventories"][0]["ip"].clone());
                ("SetVmStaticIp", json!({"vmInstanceUuid": vm, "l3NetworkUuid": guest, "ip": ip}))
            }
            54 => {
                let vm = pick(&self.uuids("QueryVmInstance").await, a);
                ("SetVmHostname", json!({"uuid": vm, "hostname": format!("n{}", b % 5)}))
            }
            55 => {
                let nic = pick(&self.uuids("QueryVmNic").await, b);
                ("ChangeVmNicState", json!({"vmNicUuid": nic, "state": on_off}))
            }
            56 => {
                let name = if b.is_multiple_of(2) { "PauseVmInstance" } else { "ResumeVmInstance" };
                (name, json!({"uuid": pick(&self.uuids("QueryVmInstance").await, a)}))
            }
            57 => {
                let name = if b.is_multiple_of(3) { "ExpungeVmInstance" } else { "RecoverVmInstance" };
                (name, json!({"uuid": pick(&self.uuids("QueryVmInstance").await, a)}))
            }
            42 => (
                "UpdateVmInstance",
                json!({"uuid": pick(&self.uuids("QueryVmInstance").await, a), "name": format!("n{b}")}),
            ),
            43 => (
                "ChangeZoneState",
                json!({"uuid": self.site.zone, "stateEvent": if b % 4 == 1 { "disable" } else { "enable" }}),
            ),
            _ => ("CreateZone", json!({"name": "z", "isDefault": on_off == "enable"})),
        }
    }

    async fn step(&mut self, step: Step) {
        let (kind, a, b) = step;
        if matches!(kind, 46 | 47) {
            let what = [FailKind::Namespace, FailKind::Links, FailKind::Spawn][usize::from(b) % 3];
            return self.world.fleet().fail_next(id(&self.site.hosts[usize::from(a) % 2]), what);
        }
        let (name, parameters) = self.command(step).await;
        self.sent += 1;
        let command_id = crate::harness::command_id(&format!("step {}", self.sent));
        let wait = if (a ^ b) % 3 == 0 { Wait::Applied } else { Wait::Durable };
        let request = CommandRequest { command_id: Some(command_id), wait, ..request(name, &parameters) };
        if let Err(refusal) = self.world.node.command(request).await
            && refusal.kind != RefusalKind::Backend
        {
            let journal = self.world.node.journal();
            let commits = durable_log(journal).unwrap();
            let traces = commits.iter().filter(|commit| commit.provenance.command_id == command_id);
            assert_eq!(traces.count(), 0, "{name} {parameters} was refused with {refusal} and is in the log");
        }
    }

    /// Waits until nothing is under way any more.
    async fn settled(&self) {
        for host in &self.site.hosts {
            let connected = self.world.until("the host is connected", || async {
                let host = self.world.get("QueryHost", host).await;
                (text(&host, "status") == "Connected").then_some(())
            });
            connected.await;
        }
        let still = ["Starting", "Stopping", "Rebooting", "Destroying"];
        let moving = |found: &[Value]| {
            found.iter().any(|one| still.contains(&text(one, "state").as_str()) || one["status"] == "Connecting")
        };
        let machines = || async {
            let mut all = self.world.query("QueryVmInstance", &[]).await;
            all.extend(self.world.query("QueryVirtualRouterVm", &[]).await);
            all
        };
        for _ in 0..4000 {
            if !moving(&machines().await) {
                return;
            }
            actix_rt::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("still under way: {:#?}", machines().await);
    }

    /// Checks everything, again if a reconciler appended something meanwhile.
    async fn check(&self) {
        for _ in 0..50 {
            let head = self.world.head();
            self.world.node.journal().wait_durable(head).await.unwrap();
            let position = self.world.node.projections().wait_for(head, Duration::from_secs(5)).await;
            let (journal, states) = (self.world.node.journal(), self.world.node.states());
            let log = durable_log(journal).unwrap();
            let mut wrong = Wrong::default();
            if position == head {
                wrong.unless(log_is_sound(&log));
                wrong.unless(replay_is_live(&log, states));
                wrong.unless(snapshots_change_nothing(&log, journal, &half_way(journal, &log)));
                inventories_equal(&self.world, head, &mut wrong).await;
                router_configurations_equal(self.world.node.journal(), &log, &mut wrong);
                hosts_carry_what_should_run(&self.world, &log, &mut wrong);
            }
            if self.world.head() == head && position == head {
                assert!(wrong.0.is_empty(), "{}", wrong.0.join("\n"));
                self.world.one_holder_each().await;
                return;
            }
        }
        panic!("the log does not come to rest");
    }
}

/// What was found not to be equal.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, checked: Checked) {
        self.0.extend(checked.err().map(|violation| violation.to_string()));
    }

    fn unless_equal<T: PartialEq + std::fmt::Debug>(&mut self, what: impl FnOnce() -> String, live: &T, replayed: &T) {
        if live != replayed {
            self.0.push(format!("{}:\n  live     {live:?}\n  replayed {replayed:?}", what()));
        }
    }
}

/// A snapshot of every stream as it was after half of its events.
fn half_way(journal: &Journal, log: &Log) -> Arc<Snapshots> {
    let snapshots = Snapshots::memory();
    for stream in streams(log) {
        let events = journal.read_stream(stream, 0).unwrap();
        let half = &events[..events.len().div_ceil(2)];
        let mut state = State::absent(stream.kind);
        half.iter().for_each(|(_, event)| state.evolve(&event.event, event.version));
        let last = &half.last().unwrap().1;
        let bytes = rmp_serde::to_vec_named(&state).unwrap();
        snapshots.put(stream, schema(), Snapshot { version: last.version, position: last.position, bytes });
    }
    Arc::new(snapshots)
}

async fn inventories_equal(world: &World, head: Position, wrong: &mut Wrong) {
    let directory = tempfile::tempdir().unwrap();
    let defaults: Vec<ConfigDefault> = GLOBAL_CONFIGS
        .iter()
        .map(|entry| ConfigDefault {
            category: entry.category,
            name: entry.name,
            value: entry.default,
            description: entry.description,
        })
        .collect();
    let journal = world.node.journal().clone();
    let replayed = Projections::open(&directory.path().join("db"), journal, &defaults).unwrap();
    replayed.wait_for(head, Duration::from_secs(5)).await;
    for kind in KINDS {
        for at in [None, Some(head / 3), Some(head / 2), Some(head * 4 / 5)] {
            let query = Query { at, ..Query::new(kind) };
            let (live, again) = (world.node.projections().query(&query).unwrap(), replayed.query(&query).unwrap());
            wrong.unless_equal(|| format!("{} at {at:?}", kind.name), &live.inventories, &again.inventories);
        }
    }
}

/// A fold that was shown the whole log, but for other routers, says of a router what its replay says.
fn router_configurations_equal(journal: &Journal, log: &Log, wrong: &mut Wrong) {
    let head = journal.durable();
    for router in journal.streams(StreamKind::Router).into_iter().map(RouterId) {
        let mut live = RouterFold::default();
        let mut looks: Vec<Position> = vec![head / 4, head / 2, head * 2 / 3, head * 9 / 10, head];
        looks.reverse();
        for event in log.iter().flat_map(|commit| &commit.events) {
            if !matches!(event.event, Event::Router(_)) || event.stream.id == router.0 {
                live.apply(event);
            }
            if looks.last() == Some(&event.position) {
                looks.pop();
                let replayed = replay_router(journal, router, Some(event.position)).unwrap();
                let sections = |fold: &RouterFold| fold.config().map(|config| config.sections);
                let what = || format!("router {router} at {}", event.position);
                wrong.unless_equal(what, &sections(&live), &sections(&replayed));
            }
        }
    }
}

/// What is settled is on its host, and nothing else is.
fn hosts_carry_what_should_run(world: &World, log: &Log, wrong: &mut Wrong) {
    let mut fold = HostFold::default();
    for commit in log {
        commit.events.iter().for_each(|event| fold.apply(commit.at, event));
        fold.settle();
    }
    let mut carried = Vec::new();
    for host in fold.hosts().keys() {
        let sections = fold.config(*host).unwrap().sections;
        carried.extend(sections.vms.keys().map(|vm| (vm.0, *host)));
        carried.extend(sections.appliances.keys().map(|router| (router.0, *host)));
    }
    carried.sort();
    let states = world.node.states();
    let mut wanted: Vec<(switchback_events::Id, HostId)> = Vec::new();
    for vm in world.node.journal().streams(StreamKind::VmInstance).into_iter().map(VmInstanceId) {
        let vm_state = states.get::<switchback_actors::VmInstance>(vm).unwrap().1;
        if matches!(vm_state.state, switchback_actors::VmState::Running | switchback_actors::VmState::Paused) {
            wanted.push((vm.0, vm_state.host));
        }
    }
    for router in world.node.journal().streams(StreamKind::Router) {
        let router_state = states.get::<switchback_actors::Router>(router).unwrap().1;
        if router_state.state == switchback_actors::VmState::Running {
            wanted.push((router, router_state.host));
        }
    }
    wanted.sort();
    wrong.unless_equal(|| "what runs, and what the hosts are told to carry".to_string(), &wanted, &carried);
}

async fn run(steps: Vec<Step>) {
    let mut case = Case::new().await;
    for step in steps {
        case.step(step).await;
    }
    case.settled().await;
    case.check().await;
}

#[test]
fn what_is_replayed_equals_what_is_live() {
    let full = std::env::var_os("SWITCHBACK_FULL").is_some();
    let (cases, most) = if full { (400, 120) } else { (40, 45) };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    // The same seed every day, so that a failure is a change's; the full run draws its own.
    let seed: u64 = match std::env::var("SWITCHBACK_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) if full => u64::from(std::process::id()),
        Err(_) => 7,
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let steps = vec((0u8..58, any::<u16>(), any::<u16>()), 30..most);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&steps, |steps| {
        actix_rt::System::new().block_on(run(steps));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("SWITCHBACK_SEED={seed}: {failure}");
    }
}
