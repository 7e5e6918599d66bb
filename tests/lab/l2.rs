//! L2 networks under traffic: two clusters, one of them with a flat network and VLANs. What happens to one network is
//! not felt on the others.

use crate::harness::{Bench, Vm};
use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    io::Read,
    net::Ipv4Addr,
    process::{Child, Stdio},
    time::Duration,
};
use switchback::lab::{Deadline, Options, Topology, check, host_address, poll};

/// A ping every 4 ms for as long as the test likes.
struct Ping(Child);

impl Ping {
    fn start(bench: &Bench, from: &str, to: Ipv4Addr) -> Ping {
        let line = ["ping", "-n", "-q", "-i", "0.004", &to.to_string()].map(str::to_string);
        let mut command = bench.lab.command_in(from, &line).unwrap();
        Ping(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// How many were sent, and how many were not answered.
    fn stop(mut self) -> (usize, usize) {
        // Not a wait for something: what was done is felt a moment later at the latest.
        std::thread::sleep(Duration::from_millis(200));
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT).unwrap();
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        let number = |before: &str| {
            let head = text.split(before).next().and_then(|head| head.split([' ', '\n']).next_back());
            head.and_then(|word| word.parse::<usize>().ok()).unwrap_or_else(|| panic!("{before}: {text}"))
        };
        let (sent, received) = (number(" packets transmitted"), number(" received"));
        (sent, sent - received)
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Nothing was lost; the one that was on its way at the end does not count.
fn unharmed(what: &str, (sent, lost): (usize, usize)) {
    println!("{what}: {lost} of {sent} lost");
    assert!(sent > 4 && lost <= 1, "{what}: {lost} of {sent} lost");
}

/// A network of VLAN 11 in both clusters, without services: its VMs are given their addresses by hand.
struct Side {
    l2: String,
    l3: String,
    far_cluster: String,
    far_host: String,
}

impl Side {
    fn pair(&self, cluster: &str) -> Value {
        json!({"l2NetworkUuid": self.l2, "clusterUuid": cluster})
    }

    /// A VM on a host with its address on the side network.
    fn vm(&self, bench: &Bench, name: &str, host: &str) -> Vm {
        let vm = json!({
            "name": name, "l3NetworkUuids": [self.l3], "zoneUuid": bench.site.zone, "hostUuid": host,
        });
        let uuid = bench.must(|bench| bench.ask("CreateVmInstance", vm.clone()).uuid());
        let ip = bench.must(|bench| check::address_of(&check::vm_running(&bench.api, &uuid)?));
        bench.must(|bench| {
            check::machine(&bench.lab, &uuid)?;
            // Not on `eth0`, whose addresses are its DHCP client's.
            let line = format!("ip addr add {ip}/32 dev lo && ip route add 10.11.0.0/24 dev eth0 src {ip}");
            let (given, said) = bench.lab.run_in(&uuid, &["sh", "-c", &line])?;
            ensure!(given, "{line}: {said}");
            Ok(())
        });
        Vm { name: name.to_string(), uuid, ip }
    }
}

fn reaches(bench: &Bench, from: &Vm, to: Ipv4Addr) {
    bench.must(|bench| {
        poll(&format!("{} to reach {to}", from.name), Deadline::seconds(20), || {
            let (reached, said) =
                bench.lab.run_in(&from.uuid, &["ping", "-n", "-c", "1", "-W", "1", &to.to_string()])?;
            Ok(if reached { Ok(()) } else { Err(said) })
        })
    });
}

/// The bridges of a host with such a name, as its kernel has them.
fn bridges(bench: &Bench, host: usize, name: &str) -> Vec<String> {
    let (_, text) = bench.lab.run_in(&format!("host{host}"), &["ip", "-o", "link", "show", "type", "bridge"]).unwrap();
    let names = text.lines().filter_map(|line| Some(line.split(": ").nth(1)?.to_string()));
    names.filter(|found| found.starts_with(name)).collect()
}

fn two_clusters(bench: &Bench) -> Side {
    let zone = &bench.site.zone;
    let cluster = json!({"name": "far", "zoneUuid": zone, "hypervisorType": "KVM"});
    let far_cluster = bench.must(|bench| bench.ask("CreateCluster", cluster.clone()).uuid());
    let host = json!({"name": "host3", "clusterUuid": far_cluster, "managementIp": host_address(3)});
    let far_host = bench.must(|bench| bench.ask("AddKVMHost", host.clone()).uuid());
    for l2 in bench.must(|bench| bench.api.query("QueryL2Network", &[])) {
        bench.ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2["uuid"], "clusterUuid": far_cluster}));
    }
    let l2 = json!({"name": "side", "zoneUuid": zone, "physicalInterface": "eth2", "vlan": 11});
    let l2 = bench.must(|bench| bench.ask("CreateL2VlanNetwork", l2.clone()).uuid());
    let l3 = bench.must(|bench| bench.ask("CreateL3Network", json!({"name": "side", "l2NetworkUuid": l2})).uuid());
    bench.ask("AddIpRangeByNetworkCidr", json!({"l3NetworkUuid": l3, "name": "side", "networkCidr": "10.11.0.0/24"}));
    let side = Side { l2, l3, far_cluster, far_host };
    for cluster in [&bench.site.cluster, &side.far_cluster] {
        let attached = bench.ask("AttachL2NetworkToCluster", side.pair(cluster));
        assert!(attached.reply.applied, "{}", attached.body);
    }
    side
}

#[test]
fn what_happens_to_one_network_is_not_felt_on_the_others() {
    let mut bench = Bench::with_hosts("l2", Topology::Separate, 3);
    let side = two_clusters(&bench);
    let guests = [bench.vm("one", 0), bench.vm("two", 1)];
    let far = json!({
        "name": "far", "l3NetworkUuids": [bench.site.guest.l3], "zoneUuid": bench.site.zone, "hostUuid": side.far_host,
    });
    let far = bench.must(|bench| bench.ask("CreateVmInstance", far.clone()).uuid());
    let far_ip = bench.must(|bench| {
        let ip = check::address_of(&check::vm_running(&bench.api, &far)?)?;
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &far)?, ip)?;
        Ok(ip)
    });
    bench.everything_serves(&guests);
    let sides = [
        side.vm(&bench, "side1", &bench.site.hosts[0].clone()),
        side.vm(&bench, "side2", &bench.site.hosts[1].clone()),
        side.vm(&bench, "side3", &side.far_host.clone()),
    ];
    reaches(&bench, &sides[0], sides[1].ip);
    reaches(&bench, &sides[0], sides[2].ip);
    // The kernel's own word, wherever it has one.
    let notes = bench.must(|bench| Ok(bench.api.one("QueryHost", &side.far_host)?["notes"].clone()));
    println!("notes of a host: {notes}");

    // Another VLAN: its VMs keep their processes, addresses and neighbours; the guests notice nothing.
    let pids = |bench: &Bench| {
        let all = sides.iter().chain(&guests).map(|vm| bench.lab.machine(&vm.uuid).unwrap().pid);
        all.collect::<Vec<_>>()
    };
    let before = pids(&bench);
    let traffic = || [Ping::start(&bench, "one", guests[1].ip), Ping::start(&bench, "one", far_ip)];
    let (guest, own) = (traffic(), Ping::start(&bench, "side1", sides[1].ip));
    let changed = bench.ask("ChangeL2NetworkVlanId", json!({"uuid": side.l2, "vlan": 12}));
    assert!(changed.reply.applied, "{}", changed.body);
    reaches(&bench, &sides[0], sides[1].ip);
    reaches(&bench, &sides[0], sides[2].ip);
    for host in 1..=3 {
        assert_eq!(bridges(&bench, host, "br_eth2_1"), ["br_eth2_10", "br_eth2_12"]);
    }
    assert_eq!(pids(&bench), before);
    let (sent, lost) = own.stop();
    println!("on the network whose VLAN changed: {lost} of {sent} lost");
    guest.into_iter().for_each(|ping| unharmed("while a VLAN changed", ping.stop()));
    // A VLAN that no host has a stand-in for, where the kernel makes none: all go back.
    if notes != json!([]) {
        let own = Ping::start(&bench, "side1", sides[1].ip);
        let unknown = json!({"uuid": side.l2, "vlan": 77});
        let refused = bench.api.command("ChangeL2NetworkVlanId", &unknown, &Options::default()).unwrap_err();
        assert!(refused.to_string().contains("L2.1000") && refused.to_string().contains("802.1Q"), "{refused}");
        unharmed("while a change failed", own.stop());
        assert_eq!(bridges(&bench, 1, "br_eth2_1"), ["br_eth2_10", "br_eth2_12"]);
    }

    // Detached from one cluster and attached again: gone there, and untouched in the other one.
    let traffic = || [Ping::start(&bench, "one", guests[1].ip), Ping::start(&bench, "one", far_ip)];
    let guest = traffic();
    let mut enforcing = side.pair(&bench.site.cluster);
    enforcing["deleteMode"] = "Enforcing".into();
    bench.ask("DetachL2NetworkFromCluster", enforcing);
    assert!(bridges(&bench, 1, "br_eth2_12").is_empty() && bridges(&bench, 2, "br_eth2_12").is_empty());
    assert_eq!(bridges(&bench, 3, "br_eth2_12"), ["br_eth2_12"]);
    bench.must(|bench| {
        let nics = |vm: &Vm| -> anyhow::Result<usize> {
            let vm = bench.api.one("QueryVmInstance", &vm.uuid)?;
            Ok(vm["vmNics"].as_array().context("a VM has a list of nics")?.len())
        };
        ensure!((nics(&sides[0])?, nics(&sides[1])?, nics(&sides[2])?) == (0, 0, 1), "expected two nics to be gone");
        Ok(())
    });
    bench.ask("AttachL2NetworkToCluster", side.pair(&bench.site.cluster));
    let again = side.vm(&bench, "again", &bench.site.hosts[0].clone());
    reaches(&bench, &again, sides[2].ip);
    guest.into_iter().for_each(|ping| unharmed("while a network was detached and attached", ping.stop()));

    // A host's agent is killed and comes back: what it runs goes on.
    let before = pids(&bench)[2..].to_vec();
    let guest = [Ping::start(&bench, "one", guests[1].ip), Ping::start(&bench, "again", sides[2].ip)];
    bench.lab.restart_host(1).unwrap();
    let reconnected = bench.ask("ReconnectHost", json!({"uuid": bench.site.hosts[0]}));
    assert!(reconnected.reply.applied, "{}", reconnected.body);
    guest.into_iter().for_each(|ping| unharmed("while an agent was away", ping.stop()));
    assert_eq!(pids(&bench)[2..], before);
    bench.everything_serves(&guests);
}

#[test]
fn an_address_that_somebody_answers_for_is_not_available() {
    let bench = Bench::new("arp", Topology::Separate);
    let ask = |ip: &str, arp: &str| {
        let parameters = [("l3NetworkUuid", bench.site.public.as_str()), ("ip", ip), ("arpCheck", arp)];
        bench.must(|bench| Ok(bench.api.get("/v1/queries/CheckIpAvailability", &parameters)?))
    };
    // Somebody of whom nobody here knows, on the public network.
    let stranger = "203.0.113.150";
    let (added, said) = bench.lab.run_in("inet", &["ip", "addr", "add", "203.0.113.150/24", "dev", "eth0"]).unwrap();
    assert!(added, "{said}");
    assert_eq!(ask(stranger, "false")["available"], json!(true));
    let found = ask(stranger, "true");
    assert_eq!((&found["available"], &found["reason"]), (&json!(false), &json!("used")), "{found}");
    let (_, link) = bench.lab.run_in("inet", &["ip", "-o", "link", "show", "eth0"]).unwrap();
    assert!(link.contains(found["mac"].as_str().unwrap()), "{found} {link}");
    assert_eq!(ask("203.0.113.151", "true"), json!({"available": true, "reason": null}));
}
