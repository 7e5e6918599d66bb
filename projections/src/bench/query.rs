//! Queries over many rows, now and at earlier positions, and the same questions to maps in memory: the yardstick.

use super::{BenchError, Latency};
use crate::catalogue::{EIP, L2, L3, NIC, ROUTER, USED_IP, VIP, VM};
use crate::projections::Projections;
use crate::query::Query;
use crate::readers;
use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};
use switchback_events::Position;

/// How many rows of a kind the questions are about.
const SAMPLES: u64 = 2000;
/// A sort of question is asked no more often than this, and no longer. What is not optimised measures nothing anyway.
const TIMES: usize = if cfg!(debug_assertions) { 15 } else { 300 };
const TIME_MAX: Duration = Duration::from_millis(1500);
/// Before anything is measured it is asked so often.
const WARM_UP: usize = TIMES / 15;

/// How long one sort of question takes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// What was asked.
    pub query: String,
    /// To which promise it belongs.
    pub class: &'static str,
    /// About the rows of now.
    pub now: Latency,
    /// About those at random positions since the data set was complete.
    pub at: Latency,
    /// The same of maps in memory, where the yardstick knows it.
    pub in_memory: Option<Latency>,
    /// The median of now divided by that in memory.
    pub ratio: Option<f64>,
}

/// What the data set has.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Rows {
    pub nics: u64,
    pub vms: u64,
    pub used_ips: u64,
    pub l3_networks: u64,
    pub l2_networks: u64,
    pub routers: u64,
    pub vips: u64,
    pub eips: u64,
}

struct Asker<'a> {
    projections: &'a Projections,
    memory: &'a Memory,
    random: u64,
    /// Between these the past is asked for.
    span: (Position, Position),
    /// Only questions of this class, or with this in their words.
    only: Option<&'a str>,
    asked: Vec<Question>,
}

type Make<'a> = &'a dyn Fn(u64) -> Query;
type Recall<'a> = &'a dyn Fn(&Memory, u64) -> Value;

/// Asks `projections`, whose database is at `path`, for what `switchback bench query` promises: all of it, or `only` the
/// questions of one class, or with these words in them. Since `complete` all rows are there.
pub fn measure_queries(
    projections: &Projections,
    path: &Path,
    complete: Position,
    seed: u64,
    only: Option<&str>,
    progress: &mut dyn FnMut(&str),
) -> Result<(Rows, Vec<Question>), BenchError> {
    let count = |kind| Ok(projections.query(&Query { count: true, ..Query::new(kind) })?.total.unwrap_or(0));
    let count = |kind| count(kind).map_err(BenchError::Query);
    let rows = Rows {
        nics: count(&NIC)?,
        vms: count(&VM)?,
        used_ips: count(&USED_IP)?,
        l3_networks: count(&L3)?,
        l2_networks: count(&L2)?,
        routers: count(&ROUTER)?,
        vips: count(&VIP)?,
        eips: count(&EIP)?,
    };
    progress("loading the yardstick");
    let memory = Memory::load(path)?;
    let span = (complete, projections.position());
    let mut asker = Asker { projections, memory: &memory, random: seed | 1, span, only, asked: Vec::new() };
    progress("asking");
    asker.ask_all()?;
    Ok((rows, asker.asked))
}

impl Asker<'_> {
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.random >> 33
    }

    /// The values of `field` in some rows, spread over all by their random uuids.
    fn sample(&self, query: Query, field: &str) -> Result<Vec<String>, BenchError> {
        let query = Query { limit: Some(SAMPLES), fields: vec![field.to_string()], ..query };
        let rows = self.projections.query(&query)?.rows();
        Ok(rows.iter().map(|row| row[field].as_str().unwrap_or_default().to_string()).collect())
    }

    fn ask_all(&mut self) -> Result<(), BenchError> {
        let spread = |kind| Query { start: 777, ..Query::new(kind) };
        let in_order = |kind, sort: &str| Query { sort: Some(sort.to_string()), ..Query::new(kind) };
        let vms = self.sample(spread(&VM), "uuid")?;
        let nics = self.sample(spread(&NIC), "uuid")?;
        let names = self.sample(spread(&VM), "name")?;
        let macs = self.sample(in_order(&NIC, "mac"), "mac")?;
        let ips = self.sample(in_order(&NIC, "-ip"), "ip")?;
        let hosts = self.sample(spread(&VM), "hostUuid")?;
        let l3s = self.sample(spread(&NIC), "l3NetworkUuid")?;
        let l3_names = self.sample(Query::new(&L3), "name")?;
        let l2_names = self.sample(Query::new(&L2), "name")?;
        fn of(values: &[String], n: u64) -> &str {
            values.get(n as usize % values.len().max(1)).map_or("", String::as_str)
        }
        let page = |query: Query| Query { limit: Some(100), ..query };
        let count = |query: Query| Query { count: true, ..query };

        let uuid = "byUuid";
        self.ask(
            uuid,
            "nic by uuid",
            &|n| Query::new(&NIC).with(format!("uuid={}", of(&nics, n))),
            Some(&|memory, n| memory.nic_by_uuid(of(&nics, n))),
        )?;
        self.ask(uuid, "VM by uuid, with its nics", &|n| Query::new(&VM).with(format!("uuid={}", of(&vms, n))), None)?;
        let by_name = |n| Query::new(&VM).with(format!("name={}", of(&names, n).to_uppercase()));
        self.ask(
            "byName",
            "VM by name, in another case",
            &by_name,
            Some(&|memory, n| memory.vm_by_name(&of(&names, n).to_uppercase())),
        )?;
        let vips = self.sample(spread(&VIP), "ip")?;
        let nested = "nested";
        self.ask(
            nested,
            "VM by vmNics.eip.vip.ip=",
            &|n| Query::new(&VM).with(format!("vmNics.eip.vip.ip={}", of(&vips, n))),
            None,
        )?;
        self.ask(
            nested,
            "VM by vmNics.usedIps.ip=",
            &|n| Query::new(&VM).with(format!("vmNics.usedIps.ip={}", of(&ips, n))),
            Some(&|memory, n| memory.vm_by_ip(of(&ips, n))),
        )?;
        self.ask(nested, "VM by vmNics.mac=", &|n| Query::new(&VM).with(format!("vmNics.mac={}", of(&macs, n))), None)?;
        self.ask(
            nested,
            "address by vmNic.vmInstance.name=",
            &|n| Query::new(&USED_IP).with(format!("vmNic.vmInstance.name={}", of(&names, n))),
            None,
        )?;
        self.ask(
            nested,
            "L2 network by l3Networks.vmNics.vmInstance.name=",
            &|n| Query::new(&L2).with(format!("l3Networks.vmNics.vmInstance.name={}", of(&names, n))),
            None,
        )?;
        self.ask(
            nested,
            "L3 networks by vmNics.vmInstance.name~= of one VM",
            &|n| {
                let name = of(&names, n);
                Query::new(&L3).with(format!("vmNics.vmInstance.name~={name}%"))
            },
            None,
        )?;
        let many = "nestedPage";
        self.ask(
            many,
            "100 VMs by vmNics.l3Network.name=",
            &|n| page(Query::new(&VM).with(format!("vmNics.l3Network.name={}", of(&l3_names, n)))),
            None,
        )?;
        self.ask(
            many,
            "100 VMs by vmNics.l3Network.l2Network.name=",
            &|n| page(Query::new(&VM).with(format!("vmNics.l3Network.l2Network.name={}", of(&l2_names, n)))),
            None,
        )?;
        self.ask(
            many,
            "100 VMs without a tag, on a network",
            &|n| {
                page(
                    Query::new(&VM).with(format!("vmNics.l3NetworkUuid={}", of(&l3s, n))).with("__userTag__!~=team::%"),
                )
            },
            None,
        )?;
        let reference = "pageByReference";
        self.ask(
            reference,
            "100 nics by l3NetworkUuid=",
            &|n| page(Query::new(&NIC).with(format!("l3NetworkUuid={}", of(&l3s, n)))),
            Some(&|memory, n| memory.nics_of_l3(of(&l3s, n), 100)),
        )?;
        self.ask(
            reference,
            "100 VMs by hostUuid=, with their nics",
            &|n| page(Query::new(&VM).with(format!("hostUuid={}", of(&hosts, n)))),
            None,
        )?;
        for (kind, what, fields) in [
            (&NIC, "nics", &["", "uuid", "vmInstanceUuid", "l3NetworkUuid", "mac", "ip"][..]),
            (&VM, "VMs", &["", "uuid", "name", "clusterUuid", "hostUuid", "defaultL3NetworkUuid"][..]),
        ] {
            for field in fields {
                for (sign, order) in [("+", "ascending"), ("-", "descending")] {
                    let sort = (!field.is_empty()).then(|| format!("{sign}{field}"));
                    let name = match field.is_empty() {
                        true if sign == "-" => continue,
                        true => format!("first 1000 {what} by age"),
                        false => format!("first 1000 {what} by {field}, {order}"),
                    };
                    let in_memory: Option<Recall<'_>> = match name.as_str() {
                        "first 1000 nics by mac, ascending" => Some(&|memory: &Memory, _| memory.nics_by_mac(1000)),
                        _ => None,
                    };
                    self.ask("firstPage", &name, &|_| Query { sort: sort.clone(), ..Query::new(kind) }, in_memory)?;
                }
            }
        }
        let scan = "scan";
        self.ask(scan, "count of all nics", &|_| count(Query::new(&NIC)), Some(&|memory, _| json!(memory.nics.len())))?;
        self.ask(
            scan,
            "count of nics by mac~=%ab:cd%",
            &|_| count(Query::new(&NIC).with("mac~=%ab:cd%")),
            Some(&|memory, _| json!(memory.nics.iter().filter(|nic| nic.mac.contains("ab:cd")).count())),
        )?;
        self.ask(
            scan,
            "count of nics by two fields without an index",
            &|_| count(Query::new(&NIC).with("deviceId=1").with("state=enable")),
            Some(&|memory, _| {
                json!(memory.nics.iter().filter(|nic| nic.device == 1 && &*nic.state == "enable").count())
            }),
        )?;
        self.ask(scan, "count of VMs by state=Running", &|_| count(Query::new(&VM).with("state=Running")), None)?;
        self.ask(scan, "nics by an address that none has", &|_| Query::new(&NIC).with("gateway=192.0.2.1"), None)?;
        let tags = "tags";
        self.ask(
            tags,
            "VMs by __userTag__=, 100",
            &|n| page(Query::new(&VM).with(format!("__userTag__=team::{}", n % 50))),
            None,
        )?;
        self.ask(
            "group",
            "VMs grouped by state",
            &|_| Query { group_by: Some("state".into()), ..Query::new(&VM) },
            None,
        )?;
        Ok(())
    }

    fn ask(
        &mut self,
        class: &'static str,
        what: &str,
        make: Make<'_>,
        recall: Option<Recall<'_>>,
    ) -> Result<(), BenchError> {
        if self.only.is_some_and(|only| only != class && !what.contains(only)) {
            return Ok(());
        }
        let now = self.time(make, false)?;
        let at = self.time(make, true)?;
        let in_memory = recall.map(|recall| {
            let mut times = Vec::with_capacity(TIMES);
            let began = Instant::now();
            while times.len() < TIMES && began.elapsed() < TIME_MAX {
                let n = self.next();
                let asked = Instant::now();
                std::hint::black_box(recall(self.memory, n));
                times.push(asked.elapsed());
            }
            Latency::of(times)
        });
        let ratio = in_memory.map(|memory| now.p50_ms / memory.p50_ms.max(1e-6));
        self.asked.push(Question { query: what.to_string(), class, now, at, in_memory, ratio });
        Ok(())
    }

    fn time(&mut self, make: Make<'_>, past: bool) -> Result<Latency, BenchError> {
        let mut times = Vec::with_capacity(TIMES);
        let began = Instant::now();
        for round in 0..TIMES + WARM_UP {
            let (n, at) = (self.next(), self.span.0 + self.next() % (self.span.1 - self.span.0).max(1));
            let query = if past { make(n).at(at) } else { make(n) };
            let asked = Instant::now();
            self.projections.query(&query)?;
            let time = asked.elapsed();
            // What takes long is asked often enough when it was asked ten times.
            let slow = began.elapsed() > TIME_MAX;
            if round >= WARM_UP || slow {
                times.push(time);
            }
            if slow && times.len() >= 10 {
                break;
            }
        }
        Ok(Latency::of(times))
    }
}

/// Nics and VMs in memory, as a program would keep them that answers these questions only.
struct Memory {
    nics: Vec<MemoryNic>,
    vms: Vec<MemoryVm>,
    nic_by_uuid: HashMap<Box<str>, usize>,
    vm_by_name: HashMap<String, usize>,
    vm_by_uuid: HashMap<Box<str>, usize>,
    nic_by_ip: HashMap<Box<str>, usize>,
    nics_of_l3: HashMap<Box<str>, Vec<usize>>,
    nics_by_mac: BTreeMap<Box<str>, usize>,
}

struct MemoryNic {
    uuid: Box<str>,
    vm: Box<str>,
    l3: Box<str>,
    mac: Box<str>,
    ip: Box<str>,
    device: i64,
    state: Box<str>,
}

struct MemoryVm {
    uuid: Box<str>,
    name: Box<str>,
    state: Box<str>,
}

impl Memory {
    fn load(path: &Path) -> Result<Memory, BenchError> {
        let connection: Connection = readers::connect(path)?;
        let mut memory = Memory {
            nics: Vec::new(),
            vms: Vec::new(),
            nic_by_uuid: HashMap::new(),
            vm_by_name: HashMap::new(),
            vm_by_uuid: HashMap::new(),
            nic_by_ip: HashMap::new(),
            nics_of_l3: HashMap::new(),
            nics_by_mac: BTreeMap::new(),
        };
        let text = |row: &rusqlite::Row<'_>, at: usize| -> rusqlite::Result<Box<str>> {
            Ok(row.get::<_, Option<String>>(at)?.unwrap_or_default().into())
        };
        let failed = |error: rusqlite::Error| BenchError::Fold(error.into());
        let mut read = || -> rusqlite::Result<()> {
            let mut nics = connection
                .prepare("SELECT uuid, vmInstanceUuid, l3NetworkUuid, mac, ip, deviceId, state FROM nic ORDER BY id")?;
            let mut rows = nics.query([])?;
            while let Some(row) = rows.next()? {
                let nic = MemoryNic {
                    uuid: text(row, 0)?,
                    vm: text(row, 1)?,
                    l3: text(row, 2)?,
                    mac: text(row, 3)?,
                    ip: text(row, 4)?,
                    device: row.get(5)?,
                    state: text(row, 6)?,
                };
                let place = memory.nics.len();
                memory.nic_by_uuid.insert(nic.uuid.clone(), place);
                memory.nic_by_ip.insert(nic.ip.clone(), place);
                memory.nics_of_l3.entry(nic.l3.clone()).or_default().push(place);
                memory.nics_by_mac.insert(nic.mac.clone(), place);
                memory.nics.push(nic);
            }
            let mut vms = connection.prepare("SELECT uuid, name, state FROM vm ORDER BY id")?;
            let mut rows = vms.query([])?;
            while let Some(row) = rows.next()? {
                let vm = MemoryVm { uuid: text(row, 0)?, name: text(row, 1)?, state: text(row, 2)? };
                memory.vm_by_uuid.insert(vm.uuid.clone(), memory.vms.len());
                memory.vm_by_name.insert(vm.name.to_ascii_lowercase(), memory.vms.len());
                memory.vms.push(vm);
            }
            Ok(())
        };
        read().map_err(failed)?;
        Ok(memory)
    }

    fn nic(&self, place: usize) -> Value {
        let MemoryNic { uuid, vm, l3, mac, ip, device, state } = &self.nics[place];
        json!({"uuid": uuid, "vmInstanceUuid": vm, "l3NetworkUuid": l3, "mac": mac, "ip": ip, "deviceId": device,
            "state": state})
    }

    fn vm(&self, place: usize) -> Value {
        let MemoryVm { uuid, name, state } = &self.vms[place];
        json!({"uuid": uuid, "name": name, "state": state})
    }

    fn nic_by_uuid(&self, uuid: &str) -> Value {
        self.nic_by_uuid.get(uuid).map_or(Value::Null, |place| self.nic(*place))
    }

    fn vm_by_name(&self, name: &str) -> Value {
        self.vm_by_name.get(&name.to_ascii_lowercase()).map_or(Value::Null, |place| self.vm(*place))
    }

    fn vm_by_ip(&self, ip: &str) -> Value {
        let nic = self.nic_by_ip.get(ip).map(|place| &self.nics[*place]);
        nic.and_then(|nic| self.vm_by_uuid.get(&nic.vm)).map_or(Value::Null, |place| self.vm(*place))
    }

    fn nics_of_l3(&self, l3: &str, limit: usize) -> Value {
        self.nics_of_l3.get(l3).into_iter().flatten().take(limit).map(|place| self.nic(*place)).collect()
    }

    fn nics_by_mac(&self, limit: usize) -> Value {
        self.nics_by_mac.values().take(limit).map(|place| self.nic(*place)).collect()
    }
}
