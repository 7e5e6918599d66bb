//! The router's engine on a kernel in memory: revisions, epochs, digests, roll-back, drift.

mod common;

use std::{path::PathBuf, sync::Arc, time::Duration};
use switchback_agent::{
    kernel::{Connection, FailKind, Kernel, Link, SimulatedKernel, Tuple},
    push_of_router,
    router::{RouterEngine, RouterSettings},
    version::Build,
};
use switchback_appliance::{AgentProblemCode, Eip, RouterConfig, VipAddress, VipLimits};
use switchback_events::{EipId, Id, RouterId, VipId};

struct Bench {
    kernel: Arc<SimulatedKernel>,
    engine: RouterEngine,
    config: RouterConfig,
}

fn id() -> RouterId {
    RouterId(Id::of_name("router"))
}

fn open(kernel: &Arc<SimulatedKernel>) -> RouterEngine {
    let settings = RouterSettings {
        router: id(),
        listen: Some(([172, 20, 0, 2], common::PORT).into()),
        state_dir: PathBuf::from("/state"),
        restart_after: Duration::ZERO,
    };
    RouterEngine::open(kernel.clone(), settings, Arc::new(Build::of("digest", "boot"))).unwrap()
}

fn bench() -> Bench {
    let config = common::router(id(), 3);
    let link = |nic: &switchback_appliance::RouterNic| Link {
        name: nic.name.clone(),
        mac: Some(nic.mac),
        mtu: 1500,
        ..Link::default()
    };
    let kernel = Arc::new(SimulatedKernel::new(config.sections.interfaces.nics.iter().map(link)));
    let engine = open(&kernel);
    engine.restore().unwrap();
    Bench { kernel, engine, config }
}

impl Bench {
    fn put(&self) -> Result<switchback_appliance::ApplyReport, switchback_appliance::AgentProblem> {
        self.engine.put(push_of_router(&self.config, 1), false)
    }

    fn drift(&self) -> Vec<(String, String)> {
        let items = self.engine.drift().unwrap().items;
        items.into_iter().map(|item| (item.section, item.item)).collect()
    }
}

#[test]
fn what_was_applied_is_held_and_applying_it_again_does_nothing() {
    let bench = bench();
    let first = bench.put().unwrap();
    assert!(first.sections.values().all(|section| section.changed), "{first:?}");
    assert_eq!(first.config_digest, bench.config.digest());
    assert_eq!(bench.drift(), []);
    assert!(bench.engine.health().healthy, "{:?}", bench.engine.health());
    assert_eq!(bench.engine.held().digests, bench.config.sections.digests());
    let before = bench.kernel.changes_made();
    let second = bench.put().unwrap();
    assert!(second.sections.values().all(|section| !section.changed), "{second:?}");
    assert_eq!(bench.kernel.changes_made(), before);
}

#[test]
fn neither_revision_nor_epoch_goes_down() {
    let mut bench = bench();
    bench.config.revision = 5;
    bench.engine.put(push_of_router(&bench.config, 3), false).unwrap();
    let code = |revision, epoch| {
        let config = RouterConfig { revision, ..bench.config.clone() };
        bench.engine.put(push_of_router(&config, epoch), false).map_err(|problem| problem.code).err()
    };
    assert_eq!(code(4, 3), Some(AgentProblemCode::StaleRevision));
    assert_eq!(code(6, 2), Some(AgentProblemCode::StaleEpoch));
    assert_eq!(code(5, 3), None);
    assert_eq!(code(6, 4), None);
    assert_eq!((bench.engine.held().revision, bench.engine.held().epoch), (6, 4));
}

#[test]
fn an_epoch_is_remembered_across_a_restart_also_where_its_document_could_not_be_applied() {
    for good in [false, true] {
        let mut bench = bench();
        bench.config.revision = 5;
        if good {
            bench.engine.put(push_of_router(&bench.config, 3), false).unwrap();
        }
        bench.kernel.fail_next(FailKind::Links);
        bench.config.sections.interfaces.nics[1].mtu = 1400;
        bench.engine.put(push_of_router(&bench.config, 7), false).unwrap_err();
        let again = open(&bench.kernel);
        assert_eq!(again.held().epoch, 7);
        let problem = again.put(push_of_router(&bench.config, 6), false).unwrap_err();
        assert_eq!(problem.code, AgentProblemCode::StaleEpoch);
        again.put(push_of_router(&bench.config, 7), false).unwrap();
    }
}

#[test]
fn documents_for_others_or_with_wrong_digests_are_refused() {
    let bench = bench();
    let mut other = push_of_router(&bench.config, 1);
    other.id = Id::of_name("other");
    assert_eq!(bench.engine.put(other, false).unwrap_err().code, AgentProblemCode::WrongRouter);
    let mut wrong = push_of_router(&bench.config, 1);
    wrong.sections.get_mut("snat").unwrap().digest = "0".repeat(64);
    let problem = bench.engine.put(wrong, false).unwrap_err();
    assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::Invalid, Some("snat")));
    let mut evil = bench.config.clone();
    evil.sections.dns.names[0].hostname = "vm\nserver=6.6.6.6".to_string();
    let problem = bench.engine.put(push_of_router(&evil, 1), false).unwrap_err();
    assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::Invalid, Some("dns")));
    assert_eq!(bench.engine.held().revision, 0);
}

#[test]
fn a_section_travels_only_where_the_agent_does_not_hold_it() {
    let bench = bench();
    let mut thin = push_of_router(&bench.config, 1);
    thin.sections.get_mut("dhcp").unwrap().body = None;
    let problem = bench.engine.put(thin.clone(), false).unwrap_err();
    assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::MissingSection, Some("dhcp")));
    bench.put().unwrap();
    bench.engine.put(thin, false).unwrap();
}

#[test]
fn a_failure_in_any_section_brings_back_the_last_good() {
    let kinds = [FailKind::Links, FailKind::Sysctl, FailKind::Table, FailKind::Write, FailKind::Run, FailKind::Spawn];
    for kind in kinds {
        let bench = bench();
        bench.put().unwrap();
        let mut next = common::router(id(), 5);
        next.revision = 2;
        next.sections.interfaces.nics[1].addresses = vec!["10.0.0.2/16".parse().unwrap()];
        next.sections.interfaces.nics[1].meta_data = 7;
        next.sections.dns.upstreams.clear();
        next.sections.snat.rules.clear();
        next.sections.firewall.forward.clear();
        bench.kernel.fail_next(kind);
        let problem = bench.engine.put(push_of_router(&next, 1), false).unwrap_err();
        assert_eq!(problem.code, AgentProblemCode::Failed, "{kind:?}");
        assert!(problem.section.is_some(), "{kind:?}");
        assert_eq!(bench.engine.held().revision, 1, "{kind:?}");
        assert_eq!(bench.drift(), [], "{kind:?}");
        assert!(bench.engine.health().healthy, "{kind:?}");
        let report = bench.engine.put(push_of_router(&next, 1), false).unwrap();
        assert_eq!(report.config_digest, next.digest(), "{kind:?}");
        assert_eq!(bench.drift(), [], "{kind:?}");
    }
}

#[test]
fn the_firewall_is_there_before_any_address_and_before_packets_pass() {
    let bench = bench();
    bench.put().unwrap();
    let log = bench.kernel.log();
    let first = |what: &str| log.iter().position(|line| line == what).unwrap();
    assert!(first("net/ipv4/ip_forward=0") < first("Table"), "{log:?}");
    assert!(first("Table") < first("Links"), "{log:?}");
    assert!(first("Links") < first("net/ipv4/ip_forward=1"), "{log:?}");
}

#[test]
fn a_first_document_that_fails_leaves_nothing_open() {
    let bench = bench();
    bench.kernel.fail_next(FailKind::Spawn);
    bench.put().unwrap_err();
    assert_eq!(bench.kernel.sysctl("net/ipv4/ip_forward").unwrap().as_deref(), Some("0"));
    assert!(bench.kernel.links().unwrap().iter().all(|link| link.name == "eth2" || link.addresses.is_empty()));
    bench.put().unwrap();
    assert!(bench.engine.health().healthy);
}

#[test]
fn drift_is_named_and_healed_by_the_same_document() {
    let bench = bench();
    bench.put().unwrap();
    bench.kernel.wipe();
    let named = bench.drift();
    for (section, item) in [
        ("snat", "nftables table"),
        ("firewall", "nftables table"),
        ("dhcp", "dnsmasq process"),
        ("dns", "dnsmasq process"),
    ] {
        assert!(named.contains(&(section.to_string(), item.to_string())), "{named:?}");
    }
    assert!(!bench.engine.health().healthy);
    let report = bench.put().unwrap();
    assert_eq!(report.config_digest, bench.config.digest());
    assert!(!report.sections["interfaces"].changed);
    assert_eq!(bench.drift(), []);
    assert!(bench.engine.health().healthy);
}

fn eip(last: u8, guest: u8) -> Eip {
    Eip {
        eip: EipId(Id::of_name(&format!("eip {last}"))),
        vip_address: [203, 0, 113, last].into(),
        public_interface: "eth0".to_string(),
        guest_address: [10, 0, 0, guest].into(),
        guest_interface: "eth1".to_string(),
        snat_inbound_traffic: false,
    }
}

fn vip(last: u8) -> VipAddress {
    let address = format!("203.0.113.{last}/24").parse().unwrap();
    VipAddress { vip: VipId(Id::of_name(&format!("vip {last}"))), interface: "eth0".to_string(), address }
}

#[test]
fn an_eip_comes_and_goes_by_elements_with_its_address_and_its_connections() {
    let mut bench = bench();
    bench.config.sections.vips.addresses = vec![vip(50)];
    bench.config.sections.eips.eips = vec![eip(50, 11)];
    bench.put().unwrap();
    let tuple = |source: [u8; 4], destination: [u8; 4]| Tuple {
        protocol: 6,
        source: source.into(),
        destination: destination.into(),
        source_port: 4000,
        destination_port: 80,
    };
    let client = [198, 51, 100, 1];
    let of = |vip: [u8; 4], guest: [u8; 4]| Connection { original: tuple(client, vip), reply: tuple(guest, client) };
    let kept = of([203, 0, 113, 50], [10, 0, 0, 11]);
    bench.kernel.track(kept.clone());
    bench.kernel.track(of([203, 0, 113, 51], [10, 0, 0, 12]));
    bench.config.revision = 2;
    bench.config.sections.vips.addresses.push(vip(51));
    bench.config.sections.eips.eips.push(eip(51, 13));
    let report = bench.put().unwrap();
    let lines = &report.sections["eips"].actions;
    assert!(lines.len() == 3 && lines.iter().all(|line| line.contains("add element eip_")), "{lines:?}");
    assert_eq!(report.sections["vips"].actions, ["address eth0 203.0.113.51/32: none -> 203.0.113.51/32"]);
    assert!(!report.sections["firewall"].changed && !report.sections["interfaces"].changed, "{report:?}");
    assert_eq!(bench.kernel.connections(), std::slice::from_ref(&kept), "one to another guest is forgotten");
    assert_eq!(bench.drift(), []);
    assert_eq!(bench.engine.counters().unwrap().eips.len(), 2);

    bench.kernel.lose_element("203.0.113.51 : 10.0.0.13");
    let named = format!("eip {}: element eip_guests {{ 203.0.113.51 }}", eip(51, 13).eip);
    assert_eq!(bench.drift(), [("eips".to_string(), named)]);
    let report = bench.put().unwrap();
    assert_eq!(report.sections["eips"].actions, ["restore nftables table"]);
    assert_eq!(bench.drift(), []);

    // A document without the sections: nothing is left of them.
    bench.config.revision = 3;
    bench.config.sections.vips.addresses.clear();
    bench.config.sections.eips.eips.clear();
    let report = bench.put().unwrap();
    assert!(report.sections["vips"].changed && report.sections["eips"].changed, "{report:?}");
    assert_eq!(report.config_digest, bench.config.digest());
    assert_eq!(bench.kernel.connections(), []);
    assert_eq!(bench.drift(), []);
    let again = bench.put().unwrap();
    assert!(again.sections.len() == 5 && again.sections.values().all(|section| !section.changed), "{again:?}");
}

/// What makes the document that the agent holds this one.
fn changes(bench: &Bench, next: &RouterConfig) -> switchback_appliance::Push {
    let (held, digests) = (&bench.config.sections, bench.config.sections.digests());
    let sections = switchback_appliance::changes::parts_since(&next.sections, held, &digests);
    switchback_appliance::Push { sections, ..push_of_router(next, 1) }
}

#[test]
fn changes_of_items_come_to_what_the_whole_document_comes_to() {
    let mut bench = bench();
    bench.config.sections.vips.addresses = (50..60).map(vip).collect();
    bench.config.sections.eips.eips = (50..60).map(|last| eip(last, last)).collect();
    bench.config.sections.vips.addresses.sort();
    bench.config.sections.eips.eips.sort();
    bench.put().unwrap();
    let mut sorted = |change: &dyn Fn(&mut RouterConfig)| {
        let mut next = bench.config.clone();
        next.revision += 1;
        change(&mut next);
        next.sections.vips.addresses.sort();
        next.sections.eips.eips.sort();
        let push = changes(&bench, &next);
        assert!(push.sections["eips"].body.is_none() && push.sections["dhcp"].body.is_none());
        // Told twice, with a whole document and with the changes: the same table, addresses and connections.
        let (whole, told) = (self::bench(), &bench);
        whole.engine.put(push_of_router(&bench.config, 1), false).unwrap();
        for kernel in [&whole.kernel, &told.kernel] {
            let tuple = |source: [u8; 4], destination: [u8; 4]| Tuple {
                protocol: 6,
                source: source.into(),
                destination: destination.into(),
                source_port: 4000,
                destination_port: 80,
            };
            let (original, reply) =
                (tuple([198, 51, 100, 1], [203, 0, 113, 55]), tuple([10, 0, 0, 55], [198, 51, 100, 1]));
            kernel.track(Connection { original, reply });
        }
        let written = told.kernel.log().iter().filter(|line| *line == "Write").count();
        let (by_whole, by_changes) =
            (whole.engine.put(push_of_router(&next, 1), false).unwrap(), told.engine.put(push, false).unwrap());
        assert_eq!(told.kernel.log().iter().filter(|line| *line == "Write").count(), written + 1);
        assert_eq!(by_changes.sections["eips"].changed, by_whole.sections["eips"].changed);
        assert_eq!(by_changes.config_digest, next.digest());
        assert_eq!(told.engine.held().digests, next.sections.digests());
        assert_eq!(told.engine.drift().unwrap().items, []);
        let addresses = |kernel: &SimulatedKernel| {
            let links = kernel.links().unwrap().into_iter().flat_map(|link| link.addresses);
            links.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(addresses(&told.kernel), addresses(&whole.kernel));
        assert_eq!(told.kernel.connections().is_empty(), whole.kernel.connections().is_empty());
        bench.config = next;
        // What is kept on disk is the same.
        let again = open(&bench.kernel);
        assert_eq!(
            (again.held().revision, again.held().digests),
            (bench.config.revision, bench.config.sections.digests())
        );
    };
    sorted(&|next| {
        next.sections.vips.addresses.push(vip(70));
        next.sections.eips.eips.push(eip(70, 70));
    });
    sorted(&|next| {
        next.sections.vips.addresses.retain(|held| *held != vip(50));
        next.sections.eips.eips.retain(|held| *held != eip(50, 50));
    });
    sorted(&|next| {
        next.sections
            .eips
            .eips
            .iter_mut()
            .filter(|held| held.eip == eip(55, 0).eip)
            .for_each(|held| *held = eip(55, 99))
    });
    assert!(bench.kernel.connections().is_empty(), "{:?}", bench.kernel.connections());
    // A half-written line is nothing.
    bench.kernel.append(std::path::Path::new("/state/last-good.changes"), b"{\"id\":", 0o600).unwrap();
    assert_eq!(open(&bench.kernel).held().revision, bench.config.revision);
    // What does not lead to the digests that it names is none of it.
    let path = std::path::Path::new("/state/last-good.changes");
    let text = bench.kernel.read(path).unwrap().unwrap();
    bench.kernel.write(path, text.replace("203.0.113.70", "203.0.113.71").as_bytes(), 0o600).unwrap();
    assert_eq!(open(&bench.kernel).held().revision, bench.config.revision - 3);
}

#[test]
fn changes_to_another_document_are_refused_and_those_to_a_changed_table_look_at_all_of_it() {
    let mut bench = bench();
    bench.config.sections.vips.addresses = (50..60).map(vip).collect();
    bench.config.sections.eips.eips = (50..60).map(|last| eip(last, last)).collect();
    bench.config.sections.vips.addresses.sort();
    bench.config.sections.eips.eips.sort();
    bench.put().unwrap();
    let mut next = bench.config.clone();
    next.revision += 1;
    next.sections.vips.addresses.push(vip(80));
    next.sections.vips.addresses.sort();
    next.sections.eips.eips.push(eip(80, 80));
    next.sections.eips.eips.sort();
    let wanted = |change: &dyn Fn(&mut switchback_appliance::SectionPush)| {
        let mut push = changes(&bench, &next);
        change(push.sections.get_mut("eips").unwrap());
        let problem = bench.engine.put(push, false).unwrap_err();
        assert_eq!(problem.section.as_deref(), Some("eips"));
        problem.code
    };
    let of = |section: &mut switchback_appliance::SectionPush| section.changes.clone().unwrap();
    let base = |section: &mut switchback_appliance::SectionPush| {
        section.changes = Some(switchback_appliance::changes::SectionChanges { from: "0".repeat(64), ..of(section) })
    };
    assert_eq!(wanted(&base), AgentProblemCode::MissingSection);
    assert_eq!(wanted(&|section| section.digest = "0".repeat(64)), AgentProblemCode::MissingSection);
    assert_eq!(wanted(&|section| section.changes.as_mut().unwrap().removed = vec![99]), AgentProblemCode::Invalid);
    let mut push = changes(&bench, &next);
    push.sections.get_mut("snat").unwrap().changes = push.sections["eips"].changes.clone();
    assert_eq!(bench.engine.put(push, false).unwrap_err().code, AgentProblemCode::Invalid);

    // Somebody was there meanwhile: the whole table is looked at, and what was lost comes back.
    bench.kernel.lose_element("203.0.113.55 : 10.0.0.55");
    let report = bench.engine.put(changes(&bench, &next), false).unwrap();
    assert!(report.sections["eips"].actions.contains(&"restore nftables table".to_string()), "{report:?}");
    assert_eq!(bench.drift(), []);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_it_would() {
    let bench = bench();
    bench.put().unwrap();
    let mut next = bench.config.clone();
    next.revision = 2;
    next.sections.snat.rules.clear();
    let report = bench.engine.put(push_of_router(&next, 9), true).unwrap();
    assert!(report.sections["snat"].changed && !report.sections["dhcp"].changed, "{report:?}");
    assert_eq!((bench.engine.held().revision, bench.engine.held().epoch), (1, 1));
    assert_eq!(bench.drift(), []);
}

#[test]
fn an_agent_that_starts_again_applies_the_last_good() {
    let bench = bench();
    bench.put().unwrap();
    bench.kernel.wipe();
    let again = open(&bench.kernel);
    again.restore().unwrap();
    assert!(again.health().healthy);
    assert_eq!(again.held().digests, bench.config.sections.digests());
    assert_eq!(again.drift().unwrap().items, []);
}

#[test]
fn a_dnsmasq_that_died_is_started_again_in_time() {
    let bench = bench();
    bench.put().unwrap();
    bench.kernel.kill("dnsmasq");
    assert!(!bench.engine.health().healthy);
    bench.engine.supervise();
    assert!(bench.engine.health().healthy);
}

/// A router with an EIP, and with limits of its VIP: of the whole, and of so many ports.
fn limited(ports: u16) -> Bench {
    let mut bench = bench();
    let (vip, vip_address) = (VipId(Id::of_name("vip")), [203, 0, 113, 50].into());
    let sections = &mut bench.config.sections;
    let interface = sections.interfaces.nics[0].name.clone();
    let address = "203.0.113.50/24".parse().unwrap();
    sections.vips.addresses = vec![VipAddress { vip, interface: interface.clone(), address }];
    let limit = |port| VipLimits {
        vip,
        vip_address,
        interface: interface.clone(),
        port,
        inbound: Some(8_000_000),
        outbound: port.is_none().then_some(4_000_000),
    };
    sections.qos.limits = std::iter::once(None).chain((1..=ports).map(Some)).map(limit).collect();
    bench
}

#[test]
fn a_limit_touches_its_own_class() {
    let mut bench = limited(300);
    let qos = |report: switchback_appliance::ApplyReport| report.sections["qos"].actions.clone();
    assert!(qos(bench.put().unwrap()).len() > 300);
    assert_eq!(bench.drift(), []);
    let shaping = bench.kernel.shaping().unwrap();
    let counts = |link: &str| shaping[link].classes.len();
    assert_eq!((counts("eth0"), counts("qos-eth0")), (2, 302));
    assert!(bench.put().unwrap().sections.values().all(|section| !section.changed));
    // By another agent, too.
    let again = open(&bench.kernel);
    again.restore().unwrap();
    let before = bench.kernel.log().len();
    let restored = bench.kernel.shaping().unwrap();
    assert_eq!(restored, shaping);
    bench.engine = again;
    bench.config.revision += 1;
    bench.config.sections.qos.limits[7].inbound = Some(9_000_000);
    let lines = qos(bench.put().unwrap());
    assert!(lines.len() == 1 && lines[0].contains("port 7: class qos-eth0"), "{lines:?}");
    assert_eq!(bench.kernel.log()[before..].iter().filter(|what| *what == "Shaping").count(), 1);
    // One that goes, and one that comes, leave the others alone.
    bench.config.revision += 1;
    bench.config.sections.qos.limits.remove(9);
    let lines = qos(bench.put().unwrap());
    assert!(lines.iter().filter(|line| line.contains("class")).count() == 1, "{lines:?}");
    assert_eq!(bench.kernel.shaping().unwrap()["qos-eth0"].classes.len(), 301);
    bench.config.revision += 1;
    bench.config.sections.qos.limits.clear();
    bench.put().unwrap();
    assert!(bench.kernel.shaping().unwrap().is_empty() && bench.drift().is_empty());
    assert!(bench.kernel.links().unwrap().iter().all(|link| link.kind.as_deref() != Some("ifb")));
}

#[test]
fn a_kernel_that_does_not_shape_serves_all_the_same_and_says_so() {
    let mut bench = limited(1);
    bench.kernel.fail_next(FailKind::Shaping);
    bench.put().unwrap();
    let health = bench.engine.health();
    let qos = &health.services["qos"];
    assert!(!health.healthy && !qos.healthy && qos.detail.contains("does not shape"), "{qos:?}");
    assert!(bench.drift().iter().any(|(section, item)| section == "qos" && item == "htb eth0"), "{:?}", bench.drift());
    bench.put().unwrap();
    assert!(bench.engine.health().services["qos"].healthy && bench.drift().is_empty());
    for wrong in [
        |limit: &mut VipLimits| limit.vip_address = [203, 0, 113, 51].into(),
        |limit: &mut VipLimits| limit.interface = "eth1".to_string(),
        |limit: &mut VipLimits| limit.port = Some(0),
        |limit: &mut VipLimits| limit.port = None,
    ] {
        let mut evil = bench.config.clone();
        evil.revision += 1;
        wrong(&mut evil.sections.qos.limits[1]);
        let problem = bench.engine.put(push_of_router(&evil, 1), false).unwrap_err();
        assert_eq!((problem.code, problem.section.as_deref()), (AgentProblemCode::Invalid, Some("qos")), "{problem}");
    }
    bench.config.sections.qos.limits.clear();
    bench.config.revision += 1;
    bench.put().unwrap();
    assert!(!bench.engine.health().services.contains_key("qos"));
}

#[test]
fn a_dnsmasq_that_is_there_and_answers_nobody_is_unwell_until_it_does_or_a_push_starts_it_again() {
    let bench = bench();
    bench.put().unwrap();
    let detail = || {
        let health = bench.engine.health();
        assert_eq!(health.healthy, health.services["dnsmasq"].healthy, "{health:?}");
        health.services["dnsmasq"].detail.clone()
    };
    let well = "answers for the configuration in force";
    assert_eq!(detail(), well);
    bench.kernel.deafen(true);
    assert!(
        detail().starts_with("the DNS question for revision.switchback.internal at 10.0.0.1 (eth1)"),
        "{}",
        detail()
    );
    assert_eq!(bench.drift(), [], "its process and its files are there");
    bench.kernel.deafen(false);
    assert_eq!(detail(), well);
    bench.kernel.deafen(true);
    bench.put().unwrap();
    assert_eq!(detail(), well);
}

#[test]
fn a_dnsmasq_that_serves_what_was_before_is_unwell() {
    let mut bench = bench();
    bench.put().unwrap();
    let directory = PathBuf::from("/state/dnsmasq");
    let before = |name: &str| bench.kernel.read(&directory.join(name)).unwrap().unwrap();
    let (canary, probe) = (before("canary"), before("probe"));
    bench.config.revision = 2;
    bench.config.sections.dns.names.pop();
    bench.put().unwrap();
    assert_ne!(bench.kernel.read(&directory.join("probe")).unwrap().unwrap(), probe);
    for (name, old, said) in
        [("probe", probe, "the DHCP question at 10.0.0.1 (eth1)"), ("canary", canary, "the DNS question")]
    {
        bench.kernel.write(&directory.join(name), old.as_bytes(), 0o600).unwrap();
        bench.kernel.reload("dnsmasq");
        let health = bench.engine.health();
        let detail = &health.services["dnsmasq"].detail;
        assert!(detail.starts_with(said) && detail.ends_with("is answered for another configuration"), "{detail}");
        assert!(!health.healthy && bench.engine.drift().unwrap().items.len() == 1);
        bench.put().unwrap();
        assert!(bench.engine.health().healthy);
    }
}

#[test]
fn counters_begin_with_the_table_and_not_with_the_agent() {
    let bench = bench();
    assert_eq!(bench.engine.counters().unwrap().since, 0);
    bench.put().unwrap();
    let begun = bench.engine.counters().unwrap().since;
    assert!(begun > 0);
    let again = open(&bench.kernel);
    again.restore().unwrap();
    assert_eq!(again.counters().unwrap().since, begun);
    bench.kernel.wipe();
    again.put(push_of_router(&bench.config, 1), false).unwrap();
    assert!(again.counters().unwrap().since > begun, "a table that was removed counts anew");
}
