//! From nothing to two VMs that have addresses, names and the internet.

use super::{
    services,
    show::{Demo, Vm, ask, chapter, line, millis},
};
use crate::lab::{
    INTERNET_NAME, INTERNET_WEB, Site, Topology, check,
    poll::{Deadline, poll_closely},
    probe::dns_a,
};
use anyhow::{Context, ensure};
use serde_json::json;
use std::time::{Duration, Instant};
use switchback_bus::Wait;

/// Zone, cluster, hosts, L2 and L3 networks, services, offering.
pub(super) fn networks(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("The data centre: zone, cluster, hosts, networks, services");
    let (api, hosts) = (demo.api.clone(), demo.lab.hosts());
    ensure!(hosts >= 2, "the demo needs two hosts, the lab has {hosts}");
    let mut send = |name: &str, parameters| ask(&api, name, &parameters, Wait::Applied);
    demo.site = Some(Site::build(&demo.api, hosts, Topology::Separate, &mut send)?);
    Ok(())
}

/// The first VM, which brings the router.
pub(super) fn first_vm(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("The first VM brings a virtual router");
    let (vm, accepted) = create(demo, "web-1", 0)?;
    let l3 = demo.site().guest.l3.clone();
    let router = check::the_router(&demo.api, &l3)?;
    let machine = check::machine(&demo.lab, &vm.uuid)?;
    check::address_inside(&demo.lab, &machine, vm.ip)?;
    let served = accepted.elapsed();
    let name = format!("{}.{}", vm.name, demo.site().guest.domain);
    answers(demo, &vm, router.guest_ip, &name)?;
    let named = accepted.elapsed();
    line(served, &format!("the router is there and its DHCP has given {} its address {}", vm.name, vm.ip), "");
    line(named, &format!("its DNS answers {name}"), "");
    demo.figures.push(("router created and serving DHCP, from accepted", format!("{} ms", millis(served))));
    demo.figures.push(("router created and serving DNS, from accepted", format!("{} ms", millis(named))));
    let router = demo.check(
        |router: &check::Router| format!("exactly one router, Running and Connected: {}", router.uuid),
        "switchback QueryVirtualRouterVm",
        |demo| check::router_connected(&demo.api, &l3),
    )?;
    let at = |kind: &str| -> anyhow::Result<u64> {
        let page = demo.api.get("/v1/events", &[("resource", &router.uuid), ("kind", kind)])?;
        page["events"][0]["at"].as_u64().with_context(|| format!("expected {kind} in the log, got {page}"))
    };
    let connected = Duration::from_micros(at("router.Connected")?.saturating_sub(at("router.Created")?));
    line(connected, "of that until the router had applied its configuration, by the log's own times", "");
    demo.figures.push(("router's configuration in force, by the log's times", format!("{} ms", millis(connected))));
    check::vm_running(&demo.api, &vm.uuid)?;
    demo.first_router = router.uuid.clone();
    demo.router = Some(router);
    demo.vms.push(vm);
    Ok(())
}

/// The second VM, on the other host; how fast its entry is in force.
pub(super) fn second_vm(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("The second VM, on the other host");
    let head = demo.api.get("/v1/audit/head", &[])?;
    let position = head["position"].as_u64();
    demo.before_second_vm = position.ok_or_else(|| anyhow::anyhow!("expected a position in the head, got {head}"))?;
    let (vm, accepted) = create(demo, "web-2", 1)?;
    let name = format!("{}.{}", vm.name, demo.site().guest.domain);
    let first = demo.vms[0].clone();
    // One push carries the DHCP entry and the name; the name can be asked for from the VM that is there.
    answers(demo, &first, demo.router().guest_ip, &name)?;
    let applied = accepted.elapsed();
    line(applied, &format!("its DHCP entry and its name are in force: {name} is {}", vm.ip), "");
    demo.figures.push(("DHCP entry of another VM applied, from accepted", format!("{} ms", millis(applied))));
    let machine = check::machine(&demo.lab, &vm.uuid)?;
    check::address_inside(&demo.lab, &machine, vm.ip)?;
    line(accepted.elapsed(), &format!("its own DHCP client has got {}", vm.ip), "");
    check::vm_running(&demo.api, &vm.uuid)?;
    let hosts = (demo.lab.machine(&first.uuid)?.host, demo.lab.machine(&vm.uuid)?.host);
    ensure!(hosts.0 != hosts.1, "expected the VMs on different hosts, both are on host{}", hosts.0);
    demo.vms.push(vm);
    let l3 = demo.site().guest.l3.clone();
    demo.check(
        |router: &check::Router| format!("still one router: {}", router.uuid),
        "switchback QueryVirtualRouterVm",
        |demo| check::router_connected(&demo.api, &l3),
    )?;
    Ok(())
}

/// Addresses, names and the internet, seen from inside of both VMs.
pub(super) fn service(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("What the VMs see");
    everything_serves(demo)
}

/// Every service for every VM. The demo comes back to it after each disaster.
pub(super) fn everything_serves(demo: &mut Demo) -> anyhow::Result<()> {
    let vms = demo.vms.clone();
    for vm in &vms {
        let with = demo.exec(&vm.name, "ip -4 addr");
        demo.check(
            |_| format!("{} has {}, as the API says", vm.name, vm.ip),
            &with,
            |demo| {
                let said = check::address_of(&demo.api.one("QueryVmInstance", &vm.uuid)?)?;
                ensure!(said == vm.ip, "expected the API to say {} for {}, it says {said}", vm.ip, vm.name);
                let machine = check::machine(&demo.lab, &vm.uuid)?;
                check::address_inside(&demo.lab, &machine, vm.ip)?;
                let seen = check::ip_addr(&demo.lab, &vm.uuid)?;
                ensure!(seen == [vm.ip], "expected `ip addr` to say {} in {}, it says {seen:?}", vm.ip, vm.name);
                Ok(())
            },
        )?;
    }
    let domain = demo.site().guest.domain.clone();
    for (vm, other) in [(&vms[0], &vms[1]), (&vms[1], &vms[0])] {
        for (name, ip) in [(format!("{}.{domain}", other.name), other.ip), (INTERNET_NAME.to_string(), INTERNET_WEB)] {
            let with = demo.exec(&vm.name, &format!("getent ahostsv4 {name}"));
            demo.check(
                |_| format!("{} resolves {name} to {ip}", vm.name),
                &with,
                |demo| check::resolves(&demo.lab, &vm.uuid, &name, ip),
            )?;
        }
    }
    let public = demo.router().public_ip;
    for vm in &vms {
        let public = vm.eip.unwrap_or(public);
        let url = format!("http://{INTERNET_NAME}/");
        let with = demo.exec(&vm.name, &format!("busybox wget -qO- {url}"));
        demo.check(
            |_| format!("{} reaches the internet, which sees the public address {public}", vm.name),
            &with,
            |demo| check::web_sees(&demo.lab, &vm.uuid, &url, public),
        )?;
    }
    services::everything_serves(demo)
}

/// A VM's address never changes.
pub(super) fn stop_and_start(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("A VM keeps its address over stop and start");
    let vm = demo.vms[1].clone();
    demo.ask("StopVmInstance", json!({"uuid": vm.uuid}), Wait::Applied)?;
    check::vm_state(&demo.api, &vm.uuid, "Stopped")?;
    demo.ask("StartVmInstance", json!({"uuid": vm.uuid}), Wait::Applied)?;
    check::vm_running(&demo.api, &vm.uuid)?;
    let with = demo.exec(&vm.name, "ip -4 addr");
    demo.check(
        |_| format!("{} has {} again", vm.name, vm.ip),
        &with,
        |demo| {
            let machine = check::machine(&demo.lab, &vm.uuid)?;
            check::address_inside(&demo.lab, &machine, vm.ip)
        },
    )
}

/// Creates a VM on one host. Answers when the server has accepted it.
fn create(demo: &mut Demo, name: &str, host: usize) -> anyhow::Result<(Vm, Instant)> {
    let parameters = demo.site().vm(name, Some(host));
    let reply = demo.ask("CreateVmInstance", parameters, Wait::Durable)?;
    let accepted = Instant::now();
    let uuid = reply.uuid()?;
    let inventory = reply.reply.inventory.clone().unwrap_or_default();
    let ip = match check::address_of(&inventory) {
        Ok(ip) => ip,
        Err(_) => check::address_of(&demo.api.one("QueryVmInstance", &uuid)?)?,
    };
    Ok((Vm { name: name.to_string(), uuid, ip, eip: None }, accepted))
}

/// Waits until the router answers `name`, asked from inside of a VM.
fn answers(demo: &Demo, from: &Vm, server: std::net::Ipv4Addr, name: &str) -> anyhow::Result<()> {
    let machine = check::machine(&demo.lab, &from.uuid)?;
    demo.lab.within_machine(&machine, || {
        poll_closely(&format!("{server} to answer {name}"), Deadline::seconds(30), || {
            let answer = dns_a(server, name, Duration::from_millis(50));
            Ok(match answer {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("no such name".to_string()),
                Err(error) => Err(format!("{error:#}")),
            })
        })
    })?
}
