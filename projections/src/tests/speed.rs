//! Not promises but figures, to run by hand: `cargo test -p switchback-projections --release speed -- --ignored
//! --nocapture`.

use super::{DEFAULTS, sample_log};
use crate::catalogue::{L3, NIC, VM};
use crate::query::{Query, answer};
use crate::samples::{Log, address, id};
use crate::store::Store;
use rusqlite::Connection;
use std::time::Instant;
use switchback_events::*;

#[test]
#[ignore = "measures, for minutes"]
fn speed_of_fold_and_queries() {
    let count: usize = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(50_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut store = Store::open(&path, DEFAULTS, &sample_log).unwrap();
    let mut log = Log::default();
    for n in 0..count / 100 {
        let l3 = L3NetworkEvent::Created {
            zone: ZoneId(id("zone", 0)),
            l2_network: L2NetworkId(id("l2", n / 4)),
            name: format!("l3-{n}"),
            description: None,
            category: L3NetworkCategory::Private,
            system: false,
            dns_domain: None,
        };
        log.event(id("l3", n), l3);
    }
    let host = |n: usize| HostId(id("host", n % 1000));
    for n in 0..count {
        let nic = |at: usize| Nic {
            l3_network: L3NetworkId(id("l3", (n + at) % (count / 100))),
            ip: address(n),
            ..crate::samples::nic(n * 2 + at, 0)
        };
        let vm = VmInstanceEvent::Created {
            zone: ZoneId(id("zone", 0)),
            cluster: ClusterId(id("cluster", n % 50)),
            host: host(n),
            hypervisor_type: HypervisorType::KVM,
            name: format!("web-{n:07}"),
            description: None,
            hostname: format!("web-{n:07}"),
            image: None,
            offering: None,
            default_l3_network: L3NetworkId(id("l3", 0)),
            nics: vec![nic(0), nic(1)],
        };
        log.event(id("vm", n), vm);
    }
    let timed = |what: &str, commits: &[std::sync::Arc<Commit>], store: &mut Store| {
        let began = Instant::now();
        for batch in commits.chunks(10_000) {
            store.fold(batch).unwrap();
        }
        println!("{what}: {:.0} events/s", commits.len() as f64 / began.elapsed().as_secs_f64());
    };
    timed("create, three rows an event", &log.commits, &mut store);
    let made = log.commits.len();
    for round in 0..2 {
        for n in 0..count {
            let n = (n * 7919) % count;
            let event = if round == 0 {
                VmInstanceEvent::Started { host: host(n) }
            } else {
                VmInstanceEvent::Stopped { l3_networks: vec![] }
            };
            log.event(id("vm", n), event);
        }
    }
    timed("change, one row an event", &log.commits[made..], &mut store);
    let middle = (made + count) as u64;
    let mut connection = Connection::open(&path).unwrap();
    let deep = format!("{}name=web-0000007", "vmInstance.vmNics.".repeat(3) + "vmInstance.");
    let uuid = id("vm", 7).to_string();
    let l3 = id("l3", 3).to_string();
    for (what, query) in [
        ("by uuid", Query::new(&VM).with(format!("uuid={uuid}"))),
        ("by name", Query::new(&VM).with("name=WEB-0000100")),
        ("nics of an l3", Query { limit: Some(100), ..Query::new(&NIC).with(format!("l3NetworkUuid={l3}")) }),
        ("vmNics.mac", Query::new(&VM).with("vmNics.mac=fa:00:00:00:07:00").with("name=web-0000003")),
        ("vmNics.l3Network.name", Query { limit: Some(100), ..Query::new(&VM).with("vmNics.l3Network.name=l3-9") }),
        ("l3 vmNics.vmInstance.name~=", Query::new(&L3).with("vmNics.vmInstance.name~=web-00001%")),
        ("l3 vmNics.vmInstance.name~= unselective", Query::new(&L3).with("vmNics.vmInstance.name~=%7")),
        ("eight steps", Query::new(&NIC).with(deep)),
        ("first 1000", Query::new(&VM)),
        ("sorted page", Query { start: 1000, limit: Some(100), sort: Some("name".into()), ..Query::new(&VM) }),
        ("count by state", Query { count: true, ..Query::new(&VM).with("state=Running") }),
    ] {
        for at in [None, Some(middle)] {
            let query = Query { at, ..query.clone() };
            let began = Instant::now();
            let reply = answer(&mut connection, &query).unwrap();
            let first = began.elapsed();
            let began = Instant::now();
            for _ in 0..5 {
                answer(&mut connection, &query).unwrap();
            }
            let rows = reply.total.unwrap_or(reply.inventories.len() as u64);
            println!(
                "{what} {}: {:?}, first {first:?}, {rows} rows",
                if at.is_some() { "at" } else { "now" },
                began.elapsed() / 5
            );
        }
    }
}
