//! A router that was meddled with, and one that was destroyed, both come back from the log.

use super::{
    build,
    show::{Demo, chapter, line, millis},
};
use crate::lab::{
    check,
    poll::{Deadline, poll},
};
use anyhow::{Context, ensure};
use serde_json::json;
use std::time::Instant;
use switchback_bus::Wait;

/// Someone flushes the router's nftables and kills its dnsmasq; reconnect restores both.
pub(super) fn wipe_and_reconnect(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("Someone flushes the router's nftables and kills its dnsmasq");
    let uuid = demo.router().uuid.clone();
    let drift_line = format!("switchback router drift {uuid}");
    demo.check(|_| "no drift before".to_string(), &drift_line, |demo| no_drift(demo, &uuid))?;
    let digest = digest(demo)?;

    let begun = Instant::now();
    let namespace = demo.lab.router_namespace(&uuid)?;
    wipe(demo, &namespace)?;
    line(begun.elapsed(), "wiped", &format!("ip netns exec {namespace} nft flush ruleset; kill -9 <its dnsmasq>"));
    demo.check(
        |drift: &Vec<String>| format!("drift names both: {}", drift.join("; ")),
        &drift_line,
        |demo| {
            poll("drift to name nftables and dnsmasq", Deadline::seconds(10), || {
                let drift = check::drift(&demo.api, &uuid)?;
                let names = |what: &str| drift.iter().any(|item| item.to_ascii_lowercase().contains(what));
                Ok(if names("nftables") && names("dnsmasq") { Ok(drift) } else { Err(format!("{drift:?}")) })
            })
        },
    )?;

    let begun = Instant::now();
    let reply = demo.ask("ReconnectVirtualRouter", json!({"vmInstanceUuid": uuid}), Wait::Applied)?;
    let l3 = demo.site().guest.l3.clone();
    let router = check::router_connected(&demo.api, &l3)?;
    let took = begun.elapsed();
    ensure!(reply.reply.applied, "expected the reconnect to be applied, got {}", reply.body);
    ensure!(router.uuid == uuid, "expected the same router, got {}", router.inventory);
    demo.figures.push(("reconnect: agent restarted, replayed, applied", format!("{} ms", millis(took))));
    demo.router = Some(router);
    demo.check(|_| "no drift any more".to_string(), &drift_line, |demo| no_drift(demo, &uuid))?;
    demo.check(
        |digest: &String| format!("the configuration's digest is the same: {}…", &digest[..16.min(digest.len())]),
        &format!("switchback QueryVirtualRouterVm uuid={uuid} fields=configDigest"),
        |demo| {
            let after = self::digest(demo)?;
            ensure!(after == digest, "expected the digest {digest}, got {after}");
            Ok(after)
        },
    )?;
    build::everything_serves(demo)
}

/// The router is destroyed; the next start of a VM brings a new one, with the same services.
pub(super) fn destroy_and_recreate(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("The router is destroyed; a VM is rebooted and a new router serves the same");
    let old = demo.router().clone();
    demo.ask("DestroyVmInstance", json!({"uuid": old.uuid}), Wait::Applied)?;
    demo.check(
        |_| "it is gone, with its namespace".to_string(),
        "ip netns",
        |demo| {
            poll("the router's namespace to be gone", Deadline::seconds(20), || {
                Ok(match demo.lab.router_namespace(&old.uuid) {
                    Ok(namespace) => Err(namespace),
                    Err(_) => Ok(()),
                })
            })
        },
    )?;
    let vm = demo.vms[0].clone();
    let begun = Instant::now();
    demo.ask("RebootVmInstance", json!({"uuid": vm.uuid}), Wait::Applied)?;
    let l3 = demo.site().guest.l3.clone();
    let router = demo.check(
        |router: &check::Router| format!("a new router, Running and Connected: {}", router.uuid),
        "switchback QueryVirtualRouterVm",
        |demo| check::router_connected(&demo.api, &l3),
    )?;
    ensure!(router.uuid != old.uuid, "expected a new router, got {}", router.inventory);
    check::vm_running(&demo.api, &vm.uuid)?;
    let machine = check::machine(&demo.lab, &vm.uuid)?;
    check::address_inside(&demo.lab, &machine, vm.ip)?;
    demo.figures.push(("new router serving after destroy, from reboot", format!("{} ms", millis(begun.elapsed()))));
    demo.router = Some(router);
    build::everything_serves(demo)
}

fn no_drift(demo: &Demo, router: &str) -> anyhow::Result<()> {
    poll("no drift", Deadline::seconds(10), || {
        let drift = check::drift(&demo.api, router)?;
        Ok(if drift.is_empty() { Ok(()) } else { Err(format!("{drift:?}")) })
    })
}

/// The digest of the configuration in force, as the router's inventory has it.
fn digest(demo: &Demo) -> anyhow::Result<String> {
    let router = demo.api.one("QueryVirtualRouterVm", &demo.router().uuid)?;
    let digest = router["configDigest"].as_str().filter(|digest| !digest.is_empty());
    Ok(digest.with_context(|| format!("expected a configDigest, got {router}"))?.to_string())
}

/// What the meddler does.
fn wipe(demo: &Demo, namespace: &str) -> anyhow::Result<()> {
    check::wipe_router(&demo.lab, namespace)
}
