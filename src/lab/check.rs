//! Looking at a lab from all sides: what the API says, what the kernels have, what packets do. Each check waits
//! until a deadline and then says what was expected and what was seen.

use super::{
    Api, Lab,
    instance::Machine,
    netns,
    poll::{Deadline, poll, poll_closely},
    process,
};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::{net::Ipv4Addr, process::Command};
use switchback_events::Nic;

/// A router as the API shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct Router {
    /// Its uuid.
    pub uuid: String,
    /// Its address on the guest network.
    pub guest_ip: Ipv4Addr,
    /// Its address on the public network.
    pub public_ip: Ipv4Addr,
    /// Its inventory.
    pub inventory: Value,
}

/// The address of a VM's first nic, as the API says.
pub fn address_of(vm: &Value) -> anyhow::Result<Ipv4Addr> {
    let ip = vm["vmNics"][0]["ip"].as_str().with_context(|| format!("expected a VM with a nic, got {vm}"))?;
    ip.parse().with_context(|| format!("read the address `{ip}`"))
}

/// Waits until the VM is Running by the API's word.
pub fn vm_running(api: &Api, uuid: &str) -> anyhow::Result<Value> {
    vm_state(api, uuid, "Running")
}

/// Waits until the VM is in this state by the API's word.
pub fn vm_state(api: &Api, uuid: &str, state: &str) -> anyhow::Result<Value> {
    poll(&format!("the VM {uuid} to be {state}"), Deadline::seconds(40), || {
        let vm = api.one("QueryVmInstance", uuid)?;
        Ok(if vm["state"] == state { Ok(vm) } else { Err(format!("{} ({})", vm["state"], vm["lastError"])) })
    })
}

/// Waits until a host runs the VM.
pub fn machine(lab: &Lab, uuid: &str) -> anyhow::Result<Machine> {
    poll_closely(&format!("a host to run the VM {uuid}"), Deadline::seconds(40), || {
        Ok(lab.machine(uuid).map_err(|error| error.to_string()))
    })
}

/// Waits until the kernel of the VM has exactly the address that the API says.
pub fn address_inside(lab: &Lab, machine: &Machine, ip: Ipv4Addr) -> anyhow::Result<()> {
    poll_closely(&format!("{} to have {ip} by DHCP", machine.name), Deadline::seconds(40), || {
        // The VM may start afresh while we wait; then it has another process.
        let now = lab.machine(&machine.uuid).unwrap_or_else(|_| machine.clone());
        let seen = lab.addresses(&now);
        Ok(if seen == [ip] { Ok(()) } else { Err(format!("{seen:?}")) })
    })
}

/// What `ip addr` says inside of the VM.
pub fn ip_addr(lab: &Lab, uuid: &str) -> anyhow::Result<Vec<Ipv4Addr>> {
    let (ok, text) = lab.run_in(uuid, &["ip", "-4", "-o", "addr", "show", "scope", "global"])?;
    ensure!(ok, "expected `ip addr` to work in the VM {uuid}, got: {text}");
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let inet = words.windows(2).filter(|pair| pair[0] == "inet");
    Ok(inet.filter_map(|pair| pair[1].split('/').next()?.parse().ok()).collect())
}

/// Waits until `name`, asked inside of the VM by its own resolver, is `expected`.
pub fn resolves(lab: &Lab, uuid: &str, name: &str, expected: Ipv4Addr) -> anyhow::Result<()> {
    poll(&format!("{name} to be {expected} in the VM {uuid}"), Deadline::seconds(20), || {
        let (ok, text) = lab.run_in(uuid, &["getent", "ahostsv4", name])?;
        let first = text.split_ascii_whitespace().next().and_then(|word| word.parse::<Ipv4Addr>().ok());
        Ok(if ok && first == Some(expected) { Ok(()) } else { Err(format!("`{}`", text.trim())) })
    })
}

/// Waits until the web server at `url` answers the VM that its peer is `expected`.
pub fn web_sees(lab: &Lab, uuid: &str, url: &str, expected: Ipv4Addr) -> anyhow::Result<()> {
    poll(&format!("{url} to see {expected} when the VM {uuid} asks"), Deadline::seconds(20), || {
        // Not wget's own -T: Debian 12's busybox crashes on it.
        let (ok, text) = lab.run_in(uuid, &["timeout", "5", "busybox", "wget", "-q", "-O", "-", url])?;
        let peer = text.trim();
        Ok(if ok && peer == expected.to_string() { Ok(()) } else { Err(format!("`{peer}`")) })
    })
}

/// The routers that serve an L3 network and are not destroyed.
pub fn routers_of(api: &Api, l3: &str) -> anyhow::Result<Vec<Value>> {
    let mut routers = api.query("QueryVirtualRouterVm", &[])?;
    routers.retain(|router| {
        let gone = router["state"].as_str().is_some_and(|state| state.starts_with("Destroy"));
        !gone && nic(router, |nic| nic["l3NetworkUuid"] == l3 && has(nic, Nic::GUEST)).is_some()
    });
    Ok(routers)
}

/// The one router of an L3 network, whatever its state.
pub fn the_router(api: &Api, l3: &str) -> anyhow::Result<Router> {
    let mut routers = routers_of(api, l3)?;
    ensure!(routers.len() == 1, "expected exactly one router for the L3 network {l3}, got {}", Value::from(routers));
    router(routers.remove(0))
}

/// Waits until the L3 network has exactly one router, Running and Connected.
pub fn router_connected(api: &Api, l3: &str) -> anyhow::Result<Router> {
    poll(&format!("one Running and Connected router for the L3 network {l3}"), Deadline::seconds(40), || {
        let mut routers = routers_of(api, l3)?;
        if routers.len() > 1 {
            bail!("expected one router for the L3 network {l3}, got {}", Value::from(routers));
        }
        match routers.pop() {
            Some(inventory) if inventory["state"] == "Running" && inventory["status"] == "Connected" => {
                router(inventory).map(Ok)
            }
            Some(inventory) => {
                let said = |field: &str| inventory[field].as_str().unwrap_or("null").to_string();
                Ok(Err(format!("{} {} {} {}", said("state"), said("status"), said("statusReason"), said("lastError"))))
            }
            None => Ok(Err("no router".to_string())),
        }
    })
}

fn router(inventory: Value) -> anyhow::Result<Router> {
    let ip = |role| address(&inventory, role);
    let uuid = inventory["uuid"].as_str().context("a router has a uuid")?.to_string();
    Ok(Router { uuid, guest_ip: ip(Nic::GUEST)?, public_ip: ip(Nic::PUBLIC)?, inventory })
}

/// The address of a router's nic with a role.
pub fn address(router: &Value, role: u8) -> anyhow::Result<Ipv4Addr> {
    let ip = nic(router, |nic| has(nic, role)).and_then(|nic| nic["ip"].as_str()?.parse().ok());
    ip.with_context(|| format!("expected a router with a nic of role {role}, got {router}"))
}

fn nic(inventory: &Value, which: impl Fn(&Value) -> bool) -> Option<&Value> {
    inventory["vmNics"].as_array()?.iter().find(|nic| which(nic))
}

/// Whether a nic plays a role.
fn has(nic: &Value, role: u8) -> bool {
    let bits = nic["metaData"].as_str().and_then(|text| text.parse::<u8>().ok());
    bits.is_some_and(|bits| bits & role != 0)
}

/// Where the router differs from its configuration: `section: item`.
pub fn drift(api: &Api, router: &str) -> anyhow::Result<Vec<String>> {
    let drift = api.get("/v1/queries/GetVirtualRouterDrift", &[("uuid", router)])?;
    let items = drift["items"].as_array().with_context(|| format!("expected items of drift, got {drift}"))?;
    let word = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_string();
    Ok(items.iter().map(|item| format!("{}: {}", word(item, "section"), word(item, "item"))).collect())
}

/// The addresses of the DHCP entries of a router's configuration, in their order there.
pub fn dhcp_addresses(config: &Value) -> anyhow::Result<Vec<String>> {
    let sections = if config["sections"].is_null() { &config["config"]["sections"] } else { &config["sections"] };
    let hosts = sections["dhcp"]["hosts"].as_array();
    let hosts = hosts.with_context(|| format!("expected sections.dhcp.hosts, got {config}"))?;
    Ok(hosts.iter().filter_map(|host| host["ip"].as_str().map(str::to_string)).collect())
}

/// Does what a meddler would: flushes the router's rules and kills its dnsmasq.
pub fn wipe_router(lab: &Lab, namespace: &str) -> anyhow::Result<()> {
    let done = Command::new("ip").args(["netns", "exec", namespace, "nft", "flush", "ruleset"]).output();
    let done = done.context("run `ip netns exec … nft flush ruleset`")?;
    ensure!(done.status.success(), "expected to flush the rules, got {}", String::from_utf8_lossy(&done.stderr));
    let mut killed = 0;
    for pid in netns::processes(&[namespace.to_string()]) {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.trim() == "dnsmasq" && process::kill_hard(pid) {
            killed += 1;
        }
    }
    ensure!(killed > 0, "expected a dnsmasq in {namespace} of the lab {}", lab.name());
    Ok(())
}
