//! What hosts are told, and when.

use super::*;
use crate::samples::{Log, connected, id, network, nic, router, vm};

struct Scene {
    log: Log,
    fold: HostFold,
}

impl Scene {
    /// A host, two networks, a router on the first that is Connected, and a VM of the router's network.
    fn new() -> Scene {
        let mut scene = Scene { log: Log::default(), fold: HostFold::default() };
        let added = HostEvent::Added {
            zone: id("zone"),
            cluster: id("cluster"),
            name: "host".to_string(),
            description: None,
            management_ip: [10, 1, 0, 1].into(),
            agent_port: 7271,
            hypervisor_type: HypervisorType::Simulator,
        };
        scene.add("host", added);
        let mut networks = Log::default();
        network(&mut networks, "guest", &[NetworkServiceType::DHCP]);
        for event in networks.events {
            scene.add("guest", event.event);
        }
        scene.add("router", router(vec![nic("guest", [10, 0, 0, 2], 0, 7)]));
        scene
    }

    fn add(&mut self, name: &str, event: impl Into<Event>) -> Position {
        let position = self.log.add(name, event);
        self.fold.apply(0, &self.log.events[position as usize - 1]);
        self.fold.settle();
        position
    }

    /// The generation of the VM that the host is told to run.
    fn told(&self, vm: &str) -> Option<Position> {
        let config = self.fold.config(id("host")).unwrap();
        config.sections.vms.get(&id(vm)).map(|vm| vm.generation)
    }

    fn carries_the_router(&self) -> bool {
        self.fold.config(id("host")).unwrap().sections.appliances.contains_key(&id("router"))
    }
}

fn started() -> VmInstanceEvent {
    VmInstanceEvent::Started { host: id("host") }
}

fn networks() -> Vec<L3NetworkId> {
    vec![id("guest")]
}

#[test]
fn a_vm_is_in_its_hosts_document_only_when_its_routers_know_of_it() {
    let mut scene = Scene::new();
    let created = scene.add("vm", vm("vm", vec![nic("guest", [10, 0, 0, 5], 0, 0)]));
    assert_eq!(scene.told("vm"), None);
    scene.add("router", connected(created - 1));
    assert_eq!(scene.told("vm"), None, "the router has an older revision");
    scene.add("router", RouterEvent::ConfigApplied { revision: created, config_digest: String::new() });
    assert_eq!(scene.told("vm"), Some(created));
    scene.add("vm", started());

    let reboot = scene.add("vm", VmInstanceEvent::RebootRequested { l3_networks: networks() });
    assert_eq!(scene.told("vm"), Some(created), "until the router knows of the reboot it runs as it did");
    scene.add("router", RouterEvent::ConfigApplied { revision: reboot, config_digest: String::new() });
    assert_eq!(scene.told("vm"), Some(reboot));
    scene.add("vm", started());
    scene.add("vm", VmInstanceEvent::StopRequested { l3_networks: networks() });
    assert_eq!(scene.told("vm"), None);
}

#[test]
fn a_vm_without_a_router_waits_for_nobody() {
    let mut scene = Scene::new();
    let created = scene.add("vm", vm("vm", vec![nic("quiet", [10, 9, 0, 5], 0, 0)]));
    assert_eq!(scene.told("vm"), Some(created));
    let both = vec![nic("quiet", [10, 9, 0, 6], 0, 0), nic("guest", [10, 0, 0, 6], 1, 0)];
    let created = scene.add("both", vm("both", both));
    assert_eq!(scene.told("both"), None, "every router must know of it");
    scene.add("router", RouterEvent::DestroyRequested { l3_networks: networks() });
    assert_eq!(scene.told("both"), Some(created), "a router that goes away is not waited for");
}

#[test]
fn the_hosts_of_waiting_vms_hear_when_their_router_is_ready_or_goes_away() {
    for event in
        [connected(99), RouterEvent::StopRequested {}, RouterEvent::DestroyRequested { l3_networks: networks() }]
    {
        let mut scene = Scene::new();
        let mut created = vm("vm", vec![nic("guest", [10, 0, 0, 5], 0, 0)]);
        if let VmInstanceEvent::Created { host, .. } = &mut created {
            *host = id("elsewhere");
        }
        scene.add("vm", created);
        let position = scene.add("router", event.clone());
        let recorded = &scene.log.events[position as usize - 1];
        let touched = scene.fold.touched(&recorded.event, recorded.stream);
        assert!(touched.contains(&id("elsewhere")), "{event:?}");
    }
}

#[test]
fn a_vm_that_could_not_be_rebooted_goes_on_as_it_was() {
    let mut scene = Scene::new();
    let created = scene.add("vm", vm("vm", vec![nic("guest", [10, 0, 0, 5], 0, 0)]));
    scene.add("router", connected(created));
    scene.add("vm", started());
    scene.add("vm", VmInstanceEvent::RebootRequested { l3_networks: networks() });
    let failed = VmInstanceEvent::OperationFailed {
        operation: VmOperation::Reboot,
        code: String::new(),
        detail: String::new(),
        l3_networks: networks(),
    };
    scene.add("vm", failed);
    assert_eq!(scene.told("vm"), Some(created));
    assert_eq!(scene.fold.pending().count(), 0);
}

#[test]
fn a_host_carries_a_router_until_it_stops_or_could_not_start() {
    let start = || RouterEvent::StartRequested { host: id("host"), cluster: id("cluster") };
    let failed = RouterEvent::StartFailed { code: String::new(), detail: String::new() };
    for end in [RouterEvent::StopRequested {}, RouterEvent::Stopped {}, failed] {
        let mut scene = Scene::new();
        assert!(scene.carries_the_router());
        scene.add("router", end.clone());
        assert!(!scene.carries_the_router(), "{end:?}");
        scene.add("router", start());
        assert!(scene.carries_the_router(), "{end:?}");
        scene.add("router", RouterEvent::Destroyed { l3_networks: networks() });
        assert!(!scene.carries_the_router(), "{end:?}");
    }
}

#[test]
fn a_router_that_goes_to_another_host_is_in_the_documents_of_both_until_it_has_gone() {
    let failed = || RouterEvent::ReplaceFailed { code: String::new(), detail: String::new() };
    let moved = || RouterEvent::Moved { host: id("other"), cluster: id("cluster") };
    for (end, there) in [(failed(), false), (moved(), true), (RouterEvent::StopRequested {}, false)] {
        let mut scene = Scene::new();
        let added = HostEvent::Added {
            zone: id("zone"),
            cluster: id("cluster"),
            name: "other".to_string(),
            description: None,
            management_ip: [10, 1, 0, 2].into(),
            agent_port: 7271,
            hypervisor_type: HypervisorType::Simulator,
        };
        scene.add("other", added);
        let journeys = |scene: &Scene| {
            ["host", "other"].map(|host| {
                let config = scene.fold.config(id(host)).unwrap();
                config.sections.appliances.get(&id("router")).map(|appliance| appliance.journey)
            })
        };
        let touched = |scene: &Scene, position: Position| {
            let recorded = &scene.log.events[position as usize - 1];
            let mut hosts = scene.fold.touched(&recorded.event, recorded.stream);
            hosts.sort();
            hosts
        };
        let mut both = vec![id("host"), id("other")];
        both.sort();
        scene.add("router", connected(1));
        let requested = scene.add("router", RouterEvent::MoveRequested { host: id("other"), cluster: id("cluster") });
        assert_eq!(journeys(&scene), [Some(Some(Journey::Away)), Some(Some(Journey::Here))]);
        assert_eq!(touched(&scene, requested), both);
        // What else happens meanwhile changes nothing of it.
        scene.add("router", connected(2));
        let ended = scene.add("router", end.clone());
        assert_eq!(touched(&scene, ended), both, "{end:?}");
        let own = (!there && !matches!(end, RouterEvent::StopRequested {})).then_some(None);
        assert_eq!(journeys(&scene), [own, there.then_some(None)], "{end:?}");
        let connected = scene.add("router", connected(3));
        assert_eq!(touched(&scene, connected).len(), 1);
    }
}

#[test]
fn a_vm_asks_anew_for_the_family_whose_address_changed() {
    let mut scene = Scene::new();
    let six = NicAddress {
        ip: "fd00::5".parse().unwrap(),
        prefix_length: 64,
        gateway: "fd00::1".parse().unwrap(),
        ip_range: id("range6"),
        used_ip: Id::NIL,
    };
    let four = nic("guest", [10, 0, 0, 5], 0, 0);
    let both = Nic { addresses: vec![four.addresses[0], six], ..four.clone() };
    let created = scene.add("vm", vm("vm", vec![both.clone()]));
    scene.add("router", connected(created));
    scene.add("vm", started());
    let leases = |scene: &Scene| {
        let config = scene.fold.config(id("host")).unwrap();
        let plug = &config.sections.vms[&id("vm")].plugs[0];
        (plug.lease, plug.lease6)
    };
    assert_eq!(leases(&scene), (created, Some(created)));
    let change = |scene: &mut Scene, nic: Nic| {
        let (from, hostname, default_l3_network) = (nic.l3_network, "vm".to_string(), nic.l3_network);
        scene.add("vm", VmInstanceEvent::NicChanged { nic, from, hostname, running: true, default_l3_network })
    };
    let other = NicAddress { ip: "fd00::6".parse().unwrap(), ..six };
    let changed = change(&mut scene, Nic { addresses: vec![four.addresses[0], other], ..four.clone() });
    assert_eq!(leases(&scene), (created, Some(created)), "its router does not know yet");
    scene.add("router", connected(changed));
    assert_eq!(leases(&scene), (created, Some(changed)));
    let (nic, l3_network, addresses) = (four.nic, four.l3_network, four.addresses.clone());
    let gone = scene.add("vm", VmInstanceEvent::NicAddressesChanged { nic, l3_network, addresses });
    scene.add("router", connected(gone));
    assert_eq!(leases(&scene), (created, None), "what it has of IPv4 is not touched");
}
