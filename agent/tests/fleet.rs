//! The simulated fleet: the same protocol without root; and what a caller sees of agents that misbehave.

mod common;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_agent::{
    AgentAt, AgentClient, Agents, Authority, FleetOptions, SimulatedFleet, Timeouts, kernel::FailKind, push_of_host,
    push_of_router,
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, AgentRestart, ApplianceConfig, Baggage, BridgeConfig, HostConfig, HostSections,
    Identity, InterfaceCheck, Journey, ManagementAddress, Neighbour, PlugConfig, RouterConfig, Succession,
    SuccessionReport, SuccessionStage, SuccessionStep, VmConfig,
};
use switchback_events::{HostId, Id, L2NetworkId, RouterId, VmInstanceId};

struct Scene {
    fleet: SimulatedFleet,
    host: HostConfig,
    router: RouterConfig,
}

fn identity() -> Identity {
    Identity { authority: String::new(), certificate: String::new(), key: String::new() }
}

impl Scene {
    fn new() -> Self {
        let router = common::router(RouterId(Id::of_name("router")), 3);
        let bridge = |interface: &str| BridgeConfig {
            name: format!("br_{interface}"),
            physical_interface: interface.to_string(),
            vlan: None,
            mtu: 1500,
            kept: false,
        };
        let plug = |nic: &switchback_appliance::RouterNic| PlugConfig {
            name: nic.name.clone(),
            internal_name: format!("vr-{}", nic.name),
            mac: nic.mac,
            bridge: format!("br_{}", nic.name),
            mtu: nic.mtu,
            up: true,
            lease: 0,
            lease6: None,
        };
        let nics = &router.sections.interfaces.nics;
        let appliance = ApplianceConfig {
            journey: None,
            name: "router".to_string(),
            generation: 1,
            plugs: nics.iter().map(plug).collect(),
            management: ManagementAddress {
                interface: "eth2".to_string(),
                ip: nics[2].ipv4().unwrap().addr(),
                prefix_length: 24,
                gateway: None,
                agent_port: common::PORT,
            },
        };
        let bridges = ["eth0", "eth1", "eth2"].map(|name| (L2NetworkId(Id::of_name(name)), bridge(name)));
        let sections = HostSections {
            bridges: bridges.into(),
            appliances: BTreeMap::from([(router.router, appliance)]),
            vms: BTreeMap::new(),
            security: Default::default(),
            services: Default::default(),
        };
        let host = HostConfig { host: HostId(Id::of_name("host")), revision: 1, sections };
        let options = FleetOptions { patience: Duration::from_millis(50), ..FleetOptions::default() };
        Scene { fleet: SimulatedFleet::new(options), host, router }
    }

    fn host_at(&self) -> AgentAt {
        AgentAt::host(self.host.host, ([10, 0, 0, 2], 7070).into())
    }

    fn router_at(&self) -> AgentAt {
        AgentAt::router(self.router.router, ([172, 20, 0, 2], common::PORT).into())
    }

    async fn bring_up(&self) {
        self.fleet.set_identity(self.host_at(), self.router.router, identity()).await.unwrap();
        let report = self.fleet.put_config(self.host_at(), push_of_host(&self.host, 1)).await.unwrap();
        assert!(report.items.values().all(|item| item.ok), "{report:?}");
        self.fleet.put_config(self.router_at(), push_of_router(&self.router, 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_router_is_there_while_its_hosts_document_has_it() {
    let mut scene = Scene::new();
    let fleet = &scene.fleet;
    let code = |answer: Result<_, switchback_appliance::AgentProblem>| {
        answer.map(|_: switchback_appliance::Health| ()).map_err(|problem| problem.code)
    };
    assert_eq!(code(fleet.health(scene.router_at()).await), Err(AgentProblemCode::Unreachable));
    let report = fleet.put_config(scene.host_at(), push_of_host(&scene.host, 1)).await.unwrap();
    let item = &report.items[&scene.router.router.0];
    assert_eq!((item.ok, item.error.as_deref()), (false, Some("no identity yet")));
    scene.bring_up().await;
    let health = fleet.health(scene.router_at()).await.unwrap();
    assert!(health.healthy && health.agent_digest == "simulated", "{health:?}");
    let check = |name: &str| InterfaceCheck { physical_interface: name.to_string(), vlan: None };
    fleet.check_interface(scene.host_at(), check("eth0")).await.unwrap();
    assert!(fleet.check_interface(scene.host_at(), check("eth9")).await.unwrap_err().detail.contains("eth9"));

    scene.host.revision = 2;
    scene.host.sections.appliances.clear();
    scene.fleet.put_config(scene.host_at(), push_of_host(&scene.host, 1)).await.unwrap();
    assert_eq!(code(scene.fleet.health(scene.router_at()).await), Err(AgentProblemCode::Unreachable));
}

#[tokio::test]
async fn what_is_plugged_into_another_bridge_goes_on() {
    let mut scene = Scene::new();
    let vm = VmConfig {
        name: "vm".to_string(),
        hostname: "vm".to_string(),
        generation: 1,
        plugs: vec![PlugConfig {
            name: "eth0".to_string(),
            internal_name: "vnic1".to_string(),
            mac: common::mac(9),
            bridge: "br_eth1".to_string(),
            mtu: 1500,
            up: true,
            lease: 0,
            lease6: None,
        }],
        default_plug: "eth0".to_string(),
    };
    let id = VmInstanceId(Id::of_name("vm"));
    scene.host.sections.vms.insert(id, vm);
    scene.bring_up().await;
    let before = scene.fleet.health(scene.router_at()).await.unwrap();

    // The network of eth1 becomes one of VLAN 7, and then of VLAN 8.
    for vlan in [7, 8] {
        let name = format!("br_eth1_{vlan}");
        let sections = &mut scene.host.sections;
        let bridge = sections.bridges.get_mut(&L2NetworkId(Id::of_name("eth1"))).unwrap();
        (bridge.name, bridge.vlan) = (name.clone(), Some(vlan));
        let plugs = sections.appliances.values_mut().flat_map(|appliance| &mut appliance.plugs);
        for plug in plugs.chain(sections.vms.values_mut().flat_map(|vm| &mut vm.plugs)) {
            if plug.bridge.starts_with("br_eth1") {
                plug.bridge = name.clone();
            }
        }
        scene.host.revision += 1;
        let report = scene.fleet.put_config(scene.host_at(), push_of_host(&scene.host, 1)).await.unwrap();
        assert!(report.items.values().all(|item| item.ok), "{report:?}");
        let changed = |name: &str| report.sections[name].actions.clone();
        let moved = vec![format!("change VM sim-vm-{}: plug eth0 into {name}", id.0.tail())];
        assert_eq!((changed("vms"), changed("appliances")), (moved, vec![]), "neither was started again");
        assert_eq!(changed("bridges").len(), 2, "one bridge came and one went: {report:?}");
        assert_eq!(scene.fleet.health(scene.router_at()).await.unwrap().boot_id, before.boot_id);
    }
    let bridges = scene.fleet.bridges(scene.host.host);
    assert_eq!(bridges.iter().filter(|name| name.starts_with("br_eth1")).count(), 1, "{bridges:?}");

    // A bridge that something is plugged into stays, though nobody asks for it.
    let l2 = L2NetworkId(Id::of_name("eth1"));
    let held = scene.host.sections.bridges.remove(&l2).unwrap();
    scene.host.revision += 1;
    let report = scene.fleet.put_config(scene.host_at(), push_of_host(&scene.host, 1)).await.unwrap();
    assert!(report.sections["bridges"].actions.iter().any(|line| line.contains("is in it")), "{report:?}");
    assert!(scene.fleet.bridges(scene.host.host).contains(&held.name));
}

#[tokio::test]
async fn failures_drift_and_upgrades_look_like_real_ones() {
    let mut scene = Scene::new();
    scene.bring_up().await;
    let (fleet, router) = (&scene.fleet, scene.router.router);

    fleet.drift(router);
    let drift = fleet.drift_of(scene.router_at()).await;
    assert!(drift.contains(&"nftables table".to_string()) && drift.contains(&"dnsmasq process".to_string()));
    fleet.put_config(scene.router_at(), push_of_router(&scene.router, 1)).await.unwrap();
    assert!(fleet.drift_of(scene.router_at()).await.is_empty());

    let before = fleet.health(scene.router_at()).await.unwrap();
    fleet.crash(router);
    let after = fleet.health(scene.router_at()).await.unwrap();
    assert!(after.boot_id != before.boot_id && after.healthy && after.revision == 1, "{after:?}");

    let bytes = Arc::new(b"another build".to_vec());
    let digest = {
        use sha2::Digest;
        switchback_appliance::hex(&sha2::Sha256::digest(bytes.as_slice()))
    };
    fleet.put_agent_binary(scene.host_at(), digest.clone(), bytes).await.unwrap();
    let restart = AgentRestart { digest: Some(digest.clone()) };
    fleet.restart_router_agent(scene.host_at(), router, restart).await.unwrap();
    assert_eq!(fleet.health(scene.router_at()).await.unwrap().agent_digest, digest);

    fleet.fail_next(router.into(), FailKind::Table);
    scene.router.revision = 2;
    scene.router.sections.snat.rules.clear();
    let problem = scene.fleet.put_config(scene.router_at(), push_of_router(&scene.router, 1)).await.unwrap_err();
    assert_eq!(problem.code, AgentProblemCode::Failed);
    assert_eq!(scene.fleet.held(scene.router_at()).await.unwrap().revision, 1);
}

trait DriftOf {
    async fn drift_of(&self, router: AgentAt) -> Vec<String>;
}

impl DriftOf for SimulatedFleet {
    async fn drift_of(&self, router: AgentAt) -> Vec<String> {
        let drift = Agents::drift(self, router).await.unwrap();
        drift.items.into_iter().map(|item| item.item).collect()
    }
}

#[tokio::test]
async fn an_agent_that_hangs_delays_nobody_else() {
    let scene = Scene::new();
    scene.bring_up().await;
    scene.fleet.hang(scene.router.router.into(), true);
    let asked = Instant::now();
    let (hanging, well) =
        tokio::join!(async { (scene.fleet.health(scene.router_at()).await, asked.elapsed()) }, async {
            (scene.fleet.health(scene.host_at()).await, asked.elapsed())
        },);
    assert_eq!(hanging.0.unwrap_err().code, AgentProblemCode::Unreachable);
    assert!(well.0.is_ok() && well.1 < hanging.1);
    scene.fleet.hang(scene.router.router.into(), false);
    scene.fleet.unreachable(scene.host.host.into(), true);
    assert!(scene.fleet.health(scene.router_at()).await.is_ok());
    assert_eq!(scene.fleet.health(scene.host_at()).await.unwrap_err().code, AgentProblemCode::Unreachable);
}

#[tokio::test]
async fn steps_of_a_replacement_may_be_asked_for_again_and_are_refused_out_of_turn() {
    use SuccessionStep::{Finish, GoBack, Prepare, TakeOver};
    let scene = Scene::new();
    scene.bring_up().await;
    let (host, router) = (scene.host_at(), scene.router.router);
    let step = async |replacement, step| {
        scene.fleet.succeed(host, router, Succession { replacement, step, digest: None, baggage: None }).await
    };
    let stage = async |replacement, asked| step(replacement, asked).await.map(|report| report.stage).unwrap();
    let refused = async |replacement, asked| step(replacement, asked).await.unwrap_err().detail;
    assert_eq!(refused(7, TakeOver).await, "no second appliance is prepared");
    assert_eq!(refused(7, Finish).await, "no second appliance serves");
    for _ in 0..2 {
        assert_eq!(stage(7, Prepare).await, SuccessionStage::Prepared);
    }
    assert_eq!(refused(8, TakeOver).await, "no second appliance is prepared");
    assert_eq!(refused(7, Finish).await, "no second appliance serves");
    for asked in [TakeOver, TakeOver, Prepare] {
        assert_eq!(stage(7, asked).await, SuccessionStage::Serving);
    }
    // It is not what it was to be: the first serves again, and nothing is left.
    for _ in 0..2 {
        assert_eq!(stage(7, GoBack).await, SuccessionStage::Alone);
    }
    assert_eq!(refused(7, TakeOver).await, "no second appliance is prepared");
    for (asked, reached) in [
        (Prepare, SuccessionStage::Prepared),
        (TakeOver, SuccessionStage::Serving),
        (Finish, SuccessionStage::Finished),
        (Finish, SuccessionStage::Finished),
        (Prepare, SuccessionStage::Finished),
    ] {
        assert_eq!(stage(9, asked).await, reached);
    }
    assert!(scene.fleet.drift_of(scene.router_at()).await.is_empty());
    let unknown = Succession { replacement: 10, step: Prepare, digest: Some("none".to_string()), baggage: None };
    let problem = scene.fleet.succeed(host, router, unknown.clone()).await.unwrap_err();
    assert_eq!((problem.code, problem.detail.contains("`none`")), (AgentProblemCode::Invalid, true));
    let problem = scene.fleet.succeed(host, RouterId(Id::of_name("other")), unknown).await.unwrap_err();
    assert_eq!(problem.code, AgentProblemCode::WrongRouter);
}

/// A router that goes from the first host to the second.
struct Journeying {
    scene: Scene,
    there: AgentAt,
    other: HostConfig,
}

impl Journeying {
    async fn new() -> Journeying {
        let mut scene = Scene::new();
        scene.bring_up().await;
        let mut other = scene.host.clone();
        other.host = HostId(Id::of_name("other"));
        let there = AgentAt::host(other.host, ([10, 0, 0, 3], 7070).into());
        scene.fleet.set_identity(there, scene.router.router, identity()).await.unwrap();
        let journeying = |config: &mut HostConfig, journey| {
            config.revision += 1;
            config.sections.appliances.values_mut().for_each(|appliance| appliance.journey = journey);
        };
        journeying(&mut scene.host, Some(Journey::Away));
        journeying(&mut other, Some(Journey::Here));
        let journey = Journeying { scene, there, other };
        journey.tell().await;
        journey
    }

    async fn tell(&self) {
        for (at, config) in [(self.scene.host_at(), &self.scene.host), (self.there, &self.other)] {
            let report = self.scene.fleet.put_config(at, push_of_host(config, 1)).await.unwrap();
            assert!(report.items.values().all(|item| item.ok), "{report:?}");
        }
    }

    async fn step(&self, there: bool, step: SuccessionStep) -> Result<SuccessionReport, AgentProblem> {
        self.bring(there, step, matches!(step, SuccessionStep::Arrive | SuccessionStep::Settle).then(Baggage::default))
            .await
    }

    async fn bring(
        &self,
        there: bool,
        step: SuccessionStep,
        baggage: Option<Baggage>,
    ) -> Result<SuccessionReport, AgentProblem> {
        let at = if there { self.there } else { self.scene.host_at() };
        let order = Succession { replacement: 7, step, digest: None, baggage };
        self.scene.fleet.succeed(at, self.scene.router.router, order).await
    }

    /// Which of the two hosts have the router in its place.
    fn places(&self) -> [bool; 2] {
        let engines: BTreeMap<HostId, _> = self.scene.fleet.host_engines().into_iter().collect();
        [self.scene.host.host, self.other.host].map(|host| !engines[&host].appliances().is_empty())
    }
}

#[tokio::test]
async fn a_router_goes_to_another_host_step_by_step_and_each_may_be_asked_for_again() {
    use SuccessionStep::{Arrive, GoBack, Leave, Pack, Settle};
    let mut journey = Journeying::new().await;
    let refused = async |there, step| journey.step(there, step).await.unwrap_err().detail;
    for (there, step, why) in [
        (true, Pack, "the document does not say that router"),
        (true, Leave, "the document does not say that router"),
        (false, Arrive, "the document does not say that router"),
        (false, Settle, "the document does not say that router"),
        (true, Settle, "has not arrived"),
    ] {
        let said = refused(there, step).await;
        assert!(said.contains(why), "{step:?}: {said}");
    }
    let nothing = journey.bring(true, Arrive, None).await.unwrap_err();
    assert_eq!(nothing.detail, "a router that comes brings something along");
    let files = BTreeMap::from([("../host.json".to_string(), String::new())]);
    let foreign = journey.bring(true, Arrive, Some(Baggage { files, ..Baggage::default() })).await.unwrap_err();
    assert!(foreign.detail.starts_with("`../host.json` is no file of a router's agent"), "{foreign}");
    let neighbour = Neighbour { interface: "eth0;x".to_string(), ip: [10, 0, 0, 9].into(), mac: common::mac(9) };
    let odd = Baggage { neighbours: vec![neighbour], ..Baggage::default() };
    let odd = journey.bring(true, Arrive, Some(odd)).await.unwrap_err();
    assert_eq!(odd.detail, "`eth0;x` is not the name of an interface");

    let packed = journey.step(false, Pack).await.unwrap().baggage.unwrap();
    assert_eq!(format!("{packed:?}"), "Baggage(secret)");
    for _ in 0..2 {
        let arrived = journey.bring(true, Arrive, Some(packed.clone())).await.unwrap();
        assert_eq!(arrived.stage, SuccessionStage::Prepared);
        assert_eq!(journey.places(), [true, false]);
    }
    for _ in 0..2 {
        journey.step(false, Leave).await.unwrap();
        // A document that says the same moves nothing.
        journey.scene.host.revision += 1;
        journey.other.revision += 1;
        journey.tell().await;
        assert_eq!(journey.places(), [false, false]);
    }
    // It could not be plugged in there: the first serves again, and the second is gone.
    journey.scene.fleet.fail_next(journey.other.host.into(), FailKind::Links);
    assert!(journey.step(true, Settle).await.unwrap_err().detail.contains("a failure that was asked for"));
    for there in [true, false] {
        for _ in 0..2 {
            assert_eq!(journey.step(there, GoBack).await.unwrap().stage, SuccessionStage::Alone);
        }
    }
    assert_eq!(journey.places(), [true, false]);
    assert!(journey.scene.fleet.drift_of(journey.scene.router_at()).await.is_empty());

    journey.scene.fleet.set_identity(journey.there, journey.scene.router.router, identity()).await.unwrap();
    // A lease that was given meanwhile goes with it.
    let lease = "1700000000 fa:00:00:00:00:09 10.0.0.9 vm *\n".to_string();
    journey.bring(true, Arrive, Some(packed.clone())).await.unwrap();
    let later = Baggage { leases: lease.clone(), ..packed };
    assert_eq!(journey.bring(true, Arrive, Some(later.clone())).await.unwrap().leases, 1);
    journey.step(false, Leave).await.unwrap();
    let two = Baggage { leases: lease.repeat(2), ..Baggage::default() };
    for asked in [Settle, Settle, Arrive] {
        let serving = journey.bring(true, asked, Some(two.clone())).await.unwrap();
        assert_eq!((serving.stage, serving.leases), (SuccessionStage::Serving, 2));
    }
    assert_eq!(journey.places(), [false, true]);
    // What the documents say in the end.
    journey.scene.host.revision += 1;
    journey.scene.host.sections.appliances.clear();
    journey.other.revision += 1;
    journey.other.sections.appliances.values_mut().for_each(|appliance| appliance.journey = None);
    journey.tell().await;
    assert_eq!(journey.places(), [false, true]);
    assert!(journey.scene.fleet.drift_of(journey.scene.router_at()).await.is_empty());
}

#[tokio::test]
async fn documents_that_speak_of_no_journey_any_more_end_it() {
    use SuccessionStep::{Arrive, Leave, Pack};
    let mut journey = Journeying::new().await;
    let packed = journey.step(false, Pack).await.unwrap().baggage;
    journey.bring(true, Arrive, packed).await.unwrap();
    journey.step(false, Leave).await.unwrap();
    assert_eq!(journey.places(), [false, false]);
    journey.scene.host.revision += 1;
    journey.scene.host.sections.appliances.values_mut().for_each(|appliance| appliance.journey = None);
    journey.other.revision += 1;
    journey.other.sections.appliances.clear();
    journey.tell().await;
    assert_eq!(journey.places(), [true, false]);
    assert!(journey.scene.fleet.drift_of(journey.scene.router_at()).await.is_empty());
    // It had not come: a document that says it is there has it made afresh.
    let mut journey = Journeying::new().await;
    journey.step(true, Arrive).await.unwrap();
    journey.scene.host.revision += 1;
    journey.scene.host.sections.appliances.clear();
    journey.other.revision += 1;
    journey.other.sections.appliances.values_mut().for_each(|appliance| appliance.journey = None);
    journey.tell().await;
    assert_eq!(journey.places(), [false, true]);
}

/// The same over the network: a listener that takes connections and never answers.
#[tokio::test]
async fn the_client_gives_up_on_an_agent_that_never_answers() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(directory.path()).unwrap();
    let timeouts = Timeouts { other: Duration::from_millis(300), ..Timeouts::default() };
    let client = AgentClient::new(&authority.server_identity().unwrap(), None, timeouts).unwrap();
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |address: SocketAddr| AgentAt::host(HostId(Id::of_name("h")), address);
    let closed: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let asked = Instant::now();
    let (hanging, refused) = tokio::join!(client.health(at(deaf.local_addr().unwrap())), async {
        (client.health(at(closed)).await, asked.elapsed())
    });
    let hanging = hanging.unwrap_err();
    assert_eq!(hanging.code, AgentProblemCode::Unreachable);
    let (refused, took) = (refused.0.unwrap_err(), refused.1);
    assert_eq!(refused.code, AgentProblemCode::Unreachable);
    assert!(refused.detail.contains("refused"), "{refused}");
    assert!(took < asked.elapsed() && asked.elapsed() < Duration::from_secs(5), "{hanging}");
}
