//! The second act: an EIP, forwarded ports, a load balancer and a security group, each seen from the internet and from the VMs. From then
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
    /// Of the load balancer before both.
    balanced: Ipv4Addr,
}

/// Sets the services up, and sees what each lets through and what it does not.
pub(super) fn set_up(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("Services on the router: an EIP, forwarded ports, a load balancer");
    let l3 = demo.site().guest.l3.clone();
    let wanted =
        json!({"VirtualRouter": ["Eip", "PortForwarding", "LoadBalancer"], "SecurityGroup": ["SecurityGroup"]});
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
    let (vip, balanced) = self::vip(demo, "balanced")?;
    let balancer = made(demo, "CreateLoadBalancer", json!({"name": "shop", "vipUuid": vip}))?;
    let listener = json!({"loadBalancerUuid": balancer, "name": "web", "protocol": "http", "loadBalancerPort": WEB[0],
        "instancePort": WEB[0], "systemTags": ["healthCheckInterval::1"]});
    let listener = made(demo, "CreateLoadBalancerListener", listener)?;
    let nics = json!([self::nic(demo, &first)?, nic]);
    demo.ask("AddVmNicToLoadBalancer", json!({"listenerUuid": listener, "vmNicUuids": nics}), Wait::Applied)?;
    demo.services = Some(Services { eip, forwarded, balanced });
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
    let Some(Services { eip, forwarded, balanced }) = demo.services.clone() else { return Ok(()) };
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
    refused(demo, "inet", forwarded, WEB[0], "no rule has this port")?;
    shared(demo, balanced)?;
    explained(demo, eip, WEB[0], "delivered")?;
    explained(demo, forwarded, PORTS[1], "rejected")
}

/// Both VMs have a part in what the load balancer gets.
fn shared(demo: &mut Demo, ip: Ipv4Addr) -> anyhow::Result<()> {
    let line = question(ip, WEB[0]);
    let vms: Vec<String> = demo.vms.iter().map(|vm| vm.name.clone()).collect();
    demo.check(
        |_| format!("the internet is answered by {} in turn at {ip}:{}", vms.join(" and "), WEB[0]),
        &demo.exec("inet", &line),
        |demo| {
            poll(&format!("{vms:?} in turn at {ip}"), Deadline::seconds(20), || {
                let mut said = Vec::new();
                for _ in &vms {
                    let (_, text) = demo.lab.run_in("inet", &line.split(' ').collect::<Vec<_>>())?;
                    said.push(text.trim().to_string());
                }
                said.sort();
                Ok(if said == vms { Ok(()) } else { Err(format!("{said:?}")) })
            })
        },
    )
}

/// The log says of a packet from the internet what became of it.
fn explained(demo: &mut Demo, ip: Ipv4Addr, port: u16, expected: &str) -> anyhow::Result<()> {
    let router = demo.router().uuid.clone();
    let (from, to, port) = (INTERNET_WEB.to_string(), ip.to_string(), port.to_string());
    demo.check(
        |why: &String| format!("the log says why the packet to {ip}:{port} is {expected}: {why}"),
        &format!("switchback router explain {router} --src {from} --dst {to} --dport {port}"),
        |demo| {
            let asked = [("src", from.as_str()), ("dst", &to), ("proto", "tcp"), ("dport", &port)];
            let told = demo.api.get(&format!("/v1/routers/{router}/explain"), &asked)?;
            ensure!(told["verdict"]["kind"] == expected, "expected it to be {expected}, got {told}");
            let last = told["steps"].as_array().and_then(|steps| steps.last()).cloned().unwrap_or_default();
            Ok(last["what"].as_str().unwrap_or_default().to_string())
        },
    )?;
    Ok(())
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
