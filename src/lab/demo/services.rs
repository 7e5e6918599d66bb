//! The second act: an EIP, forwarded ports and a security group, each seen from the internet and from the VMs. From then
//! on they are a part of what has to be there after each disaster.

use super::show::{Demo, Vm, chapter};
use crate::lab::{
    INTERNET_WEB,
    poll::{Deadline, poll},
};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use switchback_bus::Wait;

/// Where the VMs' own web servers listen.
const WEB: [u16; 2] = [80, 8000];
/// The ports that lead there: for everybody, and for those who come from elsewhere than the lab's internet.
const PORTS: [u16; 2] = [8080, 8443];
const ELSEWHERE: &str = "192.0.2.0/24";

/// The addresses that the services answer at.
#[derive(Clone, Debug)]
pub(super) struct Services {
    /// Of the EIP of the first VM.
    eip: Ipv4Addr,
    /// Of the VIP whose ports lead to the second VM.
    forwarded: Ipv4Addr,
}

/// Sets the services up, and sees what each lets through and what it does not.
pub(super) fn set_up(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("Services on the router: an EIP, forwarded ports; and a security group on the hosts");
    let l3 = demo.site().guest.l3.clone();
    let wanted = json!({"VirtualRouter": ["Eip", "PortForwarding"], "SecurityGroup": ["SecurityGroup"]});
    let attach = json!({"l3NetworkUuid": l3, "networkServices": wanted});
    demo.ask("AttachNetworkServiceToL3Network", attach, Wait::Applied)?;
    let (first, second) = (demo.vms[0].clone(), demo.vms[1].clone());

    let (vip, eip) = vip(demo, "web-1")?;
    let nic = nic(demo, &first)?;
    made(demo, "CreateEip", json!({"name": "web-1", "vipUuid": vip, "vmNicUuid": nic}))?;
    demo.vms[0].eip = Some(eip);
    let (vip, forwarded) = self::vip(demo, "ports")?;
    let nic = self::nic(demo, &second)?;
    for ((port, to), allowed) in PORTS.into_iter().zip(WEB).zip([None, Some(ELSEWHERE)]) {
        let mut rule = json!({"name": format!("web-{port}"), "vipUuid": vip, "vmNicUuid": nic, "protocolType": "TCP",
            "vipPortStart": port, "vipPortEnd": port, "privatePortStart": to, "privatePortEnd": to});
        if let Some(allowed) = allowed {
            rule["allowedCidr"] = allowed.into();
        }
        made(demo, "CreatePortForwardingRule", rule)?;
    }
    demo.services = Some(Services { eip, forwarded });
    everything_serves(demo)?;

    chapter("A security group: the second VM lets nobody in, then the web only");
    let group = made(demo, "CreateSecurityGroup", json!({"name": "web"}))?;
    demo.ask("AddVmNicToSecurityGroup", json!({"securityGroupUuid": group, "vmNicUuids": [nic]}), Wait::Applied)?;
    refused(demo, "inet", forwarded, PORTS[0], "no rule lets anybody in")?;
    refused(demo, &first.name, second.ip, WEB[0], "not even a neighbour")?;
    let rules = json!([{"type": "Ingress", "protocol": "TCP", "dstPortRange": format!("{},{}", WEB[0], WEB[1])}]);
    demo.ask("AddSecurityGroupRule", json!({"securityGroupUuid": group, "rules": rules}), Wait::Applied)?;
    answers(demo, "inet", forwarded, PORTS[0], &second)?;
    answers(demo, &first.name, second.ip, WEB[0], &second)?;
    let line = format!("ping -c 1 -W 1 {}", second.ip);
    demo.check(
        |_| format!("but {} still cannot ping it", first.name),
        &demo.exec(&first.name, &line),
        |demo| {
            let words: Vec<&str> = line.split(' ').collect();
            let (answered, printed) = demo.lab.run_in(&first.name, &words)?;
            ensure!(!answered, "expected no answer, got {printed}");
            Ok(())
        },
    )
}

/// Every service, from outside and inside; nothing where the second act has not begun.
pub(super) fn everything_serves(demo: &mut Demo) -> anyhow::Result<()> {
    let Some(Services { eip, forwarded }) = demo.services.clone() else { return Ok(()) };
    let (first, second) = (demo.vms[0].clone(), demo.vms[1].clone());
    for vm in [&first, &second] {
        serve(demo, vm)?;
    }
    answers(demo, "inet", eip, WEB[0], &first)?;
    answers(demo, &second.name, eip, WEB[0], &first)?;
    answers(demo, &first.name, eip, WEB[0], &first)?;
    answers(demo, "inet", forwarded, PORTS[0], &second)?;
    answers(demo, &first.name, forwarded, PORTS[0], &second)?;
    refused(
        demo,
        "inet",
        forwarded,
        PORTS[1],
        &format!("its rule lets {ELSEWHERE} in, the internet is {INTERNET_WEB}"),
    )?;
    refused(demo, "inet", forwarded, WEB[0], "no rule has this port")
}

/// Lets a VM serve its name at both ports, if it does not.
fn serve(demo: &mut Demo, vm: &Vm) -> anyhow::Result<()> {
    let directory = demo.lab.data_dir().with_file_name("web").join(&vm.name);
    std::fs::create_dir_all(&directory).with_context(|| format!("make `{}`", directory.display()))?;
    let page = directory.join("index.html");
    std::fs::write(&page, &vm.name).with_context(|| format!("write `{}`", page.display()))?;
    let home = directory.display().to_string();
    for port in WEB {
        // Where it runs already the port is taken, which is as good.
        demo.lab.run_in(&vm.uuid, &["busybox", "httpd", "-p", &port.to_string(), "-h", &home])?;
    }
    Ok(())
}

/// The line that asks a web server, of a shell.
fn question(ip: Ipv4Addr, port: u16) -> String {
    // Not wget's own -T: Debian 12's busybox crashes on it.
    format!("timeout 2 busybox wget -q -O - http://{ip}:{port}/")
}

/// Asked from `place`, the web server of `vm` answers at this address.
fn answers(demo: &mut Demo, place: &str, ip: Ipv4Addr, port: u16, vm: &Vm) -> anyhow::Result<()> {
    let line = question(ip, port);
    demo.check(
        |_| format!("{} is answered by {} at {ip}:{port}", shown(place), vm.name),
        &demo.exec(place, &line),
        |demo| {
            poll(&format!("{} at {ip}:{port}, from {place}", vm.name), Deadline::seconds(20), || {
                let (_, said) = demo.lab.run_in(place, &line.split(' ').collect::<Vec<_>>())?;
                Ok(if said.trim() == vm.name { Ok(()) } else { Err(format!("`{}`", said.trim())) })
            })
        },
    )
}

/// Asked from `place`, nobody answers at this address.
fn refused(demo: &mut Demo, place: &str, ip: Ipv4Addr, port: u16, why: &str) -> anyhow::Result<()> {
    let line = question(ip, port);
    demo.check(
        |_| format!("{} is refused at {ip}:{port}: {why}", shown(place)),
        &demo.exec(place, &line),
        |demo| {
            let (ok, said) = demo.lab.run_in(place, &line.split(' ').collect::<Vec<_>>())?;
            ensure!(!ok, "expected nobody to answer at {ip}:{port}, got `{}`", said.trim());
            Ok(())
        },
    )
}

fn shown(place: &str) -> &str {
    if place == "inet" { "the internet" } else { place }
}

/// A new VIP of the public network, and its address.
fn vip(demo: &mut Demo, name: &str) -> anyhow::Result<(String, Ipv4Addr)> {
    let parameters = json!({"name": name, "l3NetworkUuid": demo.site().public});
    let vip = made(demo, "CreateVip", parameters)?;
    let ip = demo.api.one("QueryVip", &vip)?["ip"].as_str().and_then(|ip| ip.parse().ok());
    Ok((vip, ip.context("expected the VIP to have an address")?))
}

fn nic(demo: &Demo, vm: &Vm) -> anyhow::Result<Value> {
    Ok(demo.api.one("QueryVmInstance", &vm.uuid)?["vmNics"][0]["uuid"].clone())
}

fn made(demo: &mut Demo, name: &str, parameters: Value) -> anyhow::Result<String> {
    demo.ask(name, parameters, Wait::Applied)?.uuid()
}
