//! `bench allocate`: addresses taken and given back inside the actor, as VMs are created and destroyed, in a /8 with
//! many addresses used: under each allocator, with the used ones dense and spread at random. The yardstick is the same
//! range with none used: what does not grow with the number of addresses has a ratio near 1.
//!
//! Not here: the disk. The log is in memory, and nobody waits for it while the clock runs.

use super::{memory, round, spread};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_actors::{
    IpRange, States,
    entity::{Decided, Execute, SystemClock, run as decide},
};
use switchback_events::*;
use switchback_journal::{Journal, MemoryStore, Options, Proposal};
use switchback_snapshots::Snapshots;

/// What to measure.
#[derive(Clone, Debug)]
pub struct AllocateBench {
    /// Addresses in use before anything is measured.
    pub used: u32,
    /// How often an address is taken and given back.
    pub rounds: u32,
}

const ALLOCATORS: [&str; 3] =
    ["RandomIpAllocatorStrategy", "FirstAvailableIpAllocatorStrategy", "AscDelayRecycleIpAllocatorStrategy"];
const FIRST: u32 = u32::from_be_bytes([10, 0, 0, 2]);
const LAST: u32 = u32::from_be_bytes([10, 255, 255, 254]);
/// Events of one commit, as the range is filled.
const FILL_AT_ONCE: usize = 2000;
/// States that are made to be weighed.
const COPIES: usize = 16;
/// When the process has grown by so much, its allocator has nothing in reserve any more.
const RESERVE_BYTES: u64 = 4 << 20;
const RESERVE_COPIES_MAX: usize = 256;
/// VMs that are there before the oldest of them goes.
const STANDING: usize = 64;

/// Where the used addresses are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Dense,
    Random,
}

impl Layout {
    fn word(self) -> &'static str {
        match self {
            Layout::Dense => "dense",
            Layout::Random => "random",
        }
    }

    fn addresses(self, count: u32) -> Vec<u32> {
        match self {
            Layout::Dense => (FIRST..FIRST + count).collect(),
            Layout::Random => {
                let mut taken = std::collections::HashSet::new();
                let mut order = Vec::new();
                let mut random = 1_u64;
                while order.len() < count as usize {
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    let address = FIRST + (random >> 33) as u32 % (LAST - FIRST);
                    if taken.insert(address) {
                        order.push(address);
                    }
                }
                order
            }
        }
    }
}

/// Runs the benchmark; `progress` hears what is done.
///
/// # Errors
/// A command that was not carried out.
pub fn run(options: &AllocateBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    let mut states = Vec::new();
    for layout in [Layout::Dense, Layout::Random] {
        states.push(state_size(layout, options.used)?);
    }
    let mut rows = Vec::new();
    for allocator in ALLOCATORS {
        progress(&format!("{allocator}, no address used"));
        let empty = measure(allocator, Layout::Dense, 0, options.rounds)?;
        for layout in [Layout::Dense, Layout::Random] {
            progress(&format!("{allocator}, {} addresses used, {}", options.used, layout.word()));
            let full = measure(allocator, layout, options.used, options.rounds)?;
            let ratio = |full: &[Duration], empty: &[Duration]| round(mean(full) / mean(empty).max(1e-9));
            rows.push(json!({
                "allocator": allocator,
                "layout": layout.word(),
                "allocateMs": spread(full.allocate.clone()),
                "releaseMs": spread(full.release.clone()),
                "emptyAllocateMs": spread(empty.allocate.clone()),
                "ratioToEmpty": {
                    "allocate": ratio(&full.allocate, &empty.allocate),
                    "release": ratio(&full.release, &empty.release),
                },
                "loadSeconds": round(full.load.as_secs_f64()),
            }));
        }
    }
    Ok(
        json!({"bench": "allocate", "used": options.used, "rounds": options.rounds, "state": states, "allocators": rows}),
    )
}

fn mean(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64() / times.len().max(1) as f64
}

/// What the state of a range takes, made as it is in a running server: address by address.
fn state_size(layout: Layout, used: u32) -> anyhow::Result<Value> {
    let addresses = layout.addresses(used);
    let fill = || {
        let mut range = IpRange::default();
        for (version, address) in (1..).zip(&addresses) {
            range.evolve(&allocated(*address), version);
        }
        range
    };
    let first = fill();
    let snapshot = rmp_serde::to_vec_named(&first).context("write a snapshot")?.len();
    // What the allocator has in reserve is used up first, and does not count.
    let (start, _) = memory()?;
    let mut reserve = Vec::new();
    while memory()?.0 < start + RESERVE_BYTES && reserve.len() < RESERVE_COPIES_MAX {
        reserve.push(fill());
    }
    let (before, _) = memory()?;
    let ranges: Vec<IpRange> = (0..COPIES).map(|_| fill()).collect();
    let (after, _) = memory()?;
    let all = u64::from(used.max(1)) * ranges.len() as u64;
    Ok(json!({
        "layout": layout.word(),
        "residentBytesPerAddress": round(after.saturating_sub(before) as f64 / all as f64),
        "snapshotBytes": snapshot,
        "snapshotBytesPerAddress": round(snapshot as f64 / f64::from(used.max(1))),
    }))
}

fn allocated(address: u32) -> IpRangeEvent {
    let id = Id::of_name(&address.to_string());
    IpRangeEvent::AddressAllocated {
        l3_network: L3NetworkId(Id::of_name("l3")),
        ip: Ipv4Addr::from(address).into(),
        used_ip: id,
        nic: NicId(id),
        owner: id,
    }
}

struct Times {
    allocate: Vec<Duration>,
    release: Vec<Duration>,
    /// How long the state took to be folded from its stream.
    load: Duration,
}

fn measure(allocator: &str, layout: Layout, used: u32, rounds: u32) -> anyhow::Result<Times> {
    let journal = Journal::open(Arc::new(MemoryStore::default()), Options::default()).context("open a log")?;
    let network = Network::build(&journal, allocator)?;
    network.fill(&journal, layout, used)?;
    let states = States::open(journal.clone(), Snapshots::memory()).context("read the log")?;
    let began = Instant::now();
    states.get::<IpRange>(network.range).map_err(|refusal| anyhow::anyhow!("load the range: {refusal}"))?;
    let mut times = Times { allocate: Vec::new(), release: Vec::new(), load: began.elapsed() };
    let asker = Asker { states };
    let mut standing = std::collections::VecDeque::new();
    for round in 0..rounds {
        let (took, vm) = asker.timed("CreateVmInstance", json!({"name": "vm", "l3NetworkUuids": [network.l3]}))?;
        times.allocate.push(took);
        standing.push_back(vm);
        if round as usize >= STANDING {
            let vm = standing.pop_front().context("there is a VM")?;
            asker.timed("DestroyVmInstance", json!({"uuid": vm}))?;
            let (took, _) = asker.timed("ReportVmStatus", json!({"uuid": vm, "status": "Stopped"}))?;
            times.release.push(took);
        }
    }
    journal.close();
    Ok(times)
}

/// An L3 network with a range of a /8 and a host.
struct Network {
    l3: Id,
    range: Id,
}

impl Network {
    fn build(journal: &Journal, allocator: &str) -> anyhow::Result<Network> {
        let states = States::open(journal.clone(), Snapshots::memory()).context("read the log")?;
        states.found(1).context("write the first events")?;
        let asker = Asker { states };
        let ask = |name: &str, parameters: Value| asker.timed(name, parameters).map(|(_, id)| id);
        let choice = json!({"category": "l3Network", "name": "ipAllocateStrategy", "value": allocator});
        asker.ask("UpdateGlobalConfig", choice)?;
        let zone = ask("CreateZone", json!({"name": "zone"}))?;
        let cluster = json!({"zoneUuid": zone, "name": "cluster", "hypervisorType": "Simulator"});
        let cluster = ask("CreateCluster", cluster)?;
        let host = json!({"clusterUuid": cluster, "name": "host", "managementIp": "192.0.2.1"});
        let host = ask("AddSimulatorHost", host)?;
        ask("ReportHostStatus", json!({"uuid": host, "status": "Connected"}))?;
        let l2 = json!({"zoneUuid": zone, "name": "l2", "physicalInterface": "eth0"});
        let l2 = ask("CreateL2NoVlanNetwork", l2)?;
        ask("AttachL2NetworkToCluster", json!({"l2NetworkUuid": l2, "clusterUuid": cluster}))?;
        ask("ReportL2Attachment", json!({"l2NetworkUuid": l2, "clusterUuid": cluster}))?;
        let l3 = ask("CreateL3Network", json!({"name": "l3", "l2NetworkUuid": l2}))?;
        let range = json!({
            "l3NetworkUuid": l3, "name": "range", "startIp": Ipv4Addr::from(FIRST), "endIp": Ipv4Addr::from(LAST),
            "netmask": "255.0.0.0", "gateway": "10.0.0.1",
        });
        let range = ask("AddIpRange", range)?;
        Ok(Network { l3, range })
    }

    /// Puts addresses in use, as a long life would have.
    fn fill(&self, journal: &Journal, layout: Layout, used: u32) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("start a runtime")?;
        let stream = StreamKey::new(StreamKind::IpRange, self.range);
        for (number, addresses) in layout.addresses(used).chunks(FILL_AT_ONCE).enumerate() {
            let events = addresses.iter().map(|address| (stream, allocated(*address).into())).collect();
            let provenance = provenance("Fill", CommandId(Id::of_name(&format!("fill {number}"))));
            let appended = journal.append(Proposal { at: 1, provenance, reads: vec![], events }, || true, |_| {})?;
            runtime.block_on(appended.durable())?;
        }
        // The states are opened anew, from what is durable.
        runtime.block_on(journal.wait_durable(journal.head()))?;
        Ok(())
    }
}

fn provenance(command: &str, command_id: CommandId) -> Provenance {
    Provenance {
        command_id,
        command: command.to_string(),
        body: Id::NIL,
        principal: "admin".to_string(),
        credential: None,
        origin: Origin::Bus,
        causation: None,
        correlation: command_id.0,
        reason: None,
    }
}

/// Does what the actor does with a command.
struct Asker {
    states: States,
}

impl Asker {
    fn ask(&self, name: &str, parameters: Value) -> anyhow::Result<(Duration, Decided)> {
        let refused = |refusal| anyhow::anyhow!("{name}: {refusal}");
        let (command, common) = switchback_bus::command(name, &parameters).map_err(refused)?;
        let id = CommandId(Id::of_name(&format!("{name} at {}", self.states.journal().head())));
        let (command, provenance) = (Arc::new(command), provenance(name, id));
        let execute = Execute { command, common, provenance, if_match: None, dry_run: false };
        let began = Instant::now();
        let decided = decide(&self.states, &SystemClock, &execute).map_err(refused)?;
        Ok((began.elapsed(), decided))
    }

    /// How long a command took that changes something, and the first resource that it changed.
    fn timed(&self, name: &str, parameters: Value) -> anyhow::Result<(Duration, Id)> {
        match self.ask(name, parameters)? {
            (took, Decided::Appended(appended)) => {
                let first = appended.commit.events.first().context("a commit without events")?;
                Ok((took, first.stream.id))
            }
            _ => anyhow::bail!("{name} changed nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allocator_is_measured_on_both_layouts() {
        let figures = run(&AllocateBench { used: 5_000, rounds: 200 }, &mut |_| {}).unwrap();
        let rows = figures["allocators"].as_array().unwrap();
        assert_eq!(rows.len(), 6, "{figures:#}");
        for row in rows {
            assert_eq!(row["allocateMs"]["samples"], 200, "{row:#}");
            assert_eq!(row["releaseMs"]["samples"], 200 - STANDING, "{row:#}");
        }
    }
}
