//! `bench router`: from a command to the router that does it, in a real namespace, with many DHCP entries.
//!
//! The router is real; the VMs behind its entries are simulated ones of a second cluster on the same L2 network. What
//! is called applied has been verified: the router's own DNS answers with the new state.

use super::{millis, spread};
use crate::lab::{Api, Deadline, Lab, LabName, LabOptions, Options, Site, Topology, check, dns_a, poll};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use switchback_agent::{AgentAt, AgentClient, Agents, Authority, Timeouts, push_of_router};
use switchback_appliance::{RouterConfig, Sections, firewall::AGENT_PORT};
use switchback_bus::Wait;
use switchback_events::{Nic, RouterId};

/// What to measure.
#[derive(Clone, Debug)]
pub struct RouterBench {
    /// DHCP entries of the router.
    pub entries: u32,
    /// EIPs of the router: the VMs of so many entries have one.
    pub eips: u32,
    /// How often each single thing is measured.
    pub rounds: u32,
    /// The name of the lab.
    pub lab: LabName,
    /// The `switchback` binary.
    pub binary: PathBuf,
}

/// Clients that make entries at a time.
const CLIENTS: u32 = 16;
/// Hosts that the entries' VMs are on: a document of all of them would be told again for each.
const SIMULATED: u32 = 16;
/// The name that the VMs' domain has.
const DOMAIN: &str = "bench.test";

struct Bench {
    lab: Lab,
    api: Api,
    site: Site,
    l3: String,
    simulated: String,
    pool: String,
}

/// Runs the benchmark, as root; `progress` hears what is done.
///
/// # Errors
/// Whatever is not as it should be.
pub fn run(options: &RouterBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
    progress("building the lab");
    let lab_options = LabOptions { name: options.lab.clone(), hosts: 1, port: None, binary: options.binary.clone() };
    let mut lab = Lab::up(&lab_options)?;
    let api = lab.api()?;
    let site = Site::build(&api, 1, Topology::Separate, &mut |name, parameters| {
        Ok(api.command(name, &parameters, &Options::default())?)
    })?;
    let mut bench = Bench { lab, api, site, l3: String::new(), simulated: String::new(), pool: String::new() };
    let figures = bench.measure(options, progress);
    match figures {
        Ok(figures) => {
            bench.lab.down()?;
            Ok(figures)
        }
        Err(error) => Err(bench.lab.explain(error)),
    }
}

impl Bench {
    fn ask(&self, name: &str, parameters: Value, wait: Wait) -> anyhow::Result<crate::lab::Reply> {
        Ok(self.api.command(name, &parameters, &Options { wait, ..Options::default() })?)
    }

    fn measure(&mut self, options: &RouterBench, progress: &mut dyn FnMut(&str)) -> anyhow::Result<Value> {
        self.networks()?;
        progress("the first VM brings the router");
        let began = Instant::now();
        let first = json!({"name": "first", "l3NetworkUuids": [self.l3], "hostUuid": self.site.hosts[0]});
        self.ask("CreateVmInstance", first, Wait::Durable)?;
        let accepted = began.elapsed();
        let router = check::router_connected(&self.api, &self.l3)?;
        let namespace = self.lab.router_namespace(&router.uuid)?;
        self.answers(&namespace, router.guest_ip, "first")?;
        let created = began.elapsed().saturating_sub(accepted);

        self.simulated_cluster()?;
        progress(&format!("making {} entries", options.entries));
        let began = Instant::now();
        self.fill(options.entries)?;
        let last = format!("vm-{}", options.entries.saturating_sub(1));
        self.answers(&namespace, router.guest_ip, &last)?;
        let filled = began.elapsed();

        progress("one more entry, each time");
        let mut single = Vec::new();
        for round in 0..options.rounds {
            let name = format!("one-{round}");
            let began = Instant::now();
            self.create(&name)?;
            self.answers(&namespace, router.guest_ip, &name)?;
            single.push(began.elapsed());
        }
        let eips = self.eips(options, &router, &namespace, progress)?;
        progress("wiped and applied again by the agent alone, each time");
        let agent = self.agent(&router, &namespace, options.rounds.min(5))?;
        progress("wiped and applied again, each time");
        let mut whole = Vec::new();
        for _ in 0..options.rounds.min(5) {
            check::wipe_router(&self.lab, &namespace)?;
            let began = Instant::now();
            self.ask("ProvisionVirtualRouterConfig", json!({"vmInstanceUuid": router.uuid}), Wait::Applied)?;
            self.answers(&namespace, router.guest_ip, &last)?;
            whole.push(began.elapsed());
        }
        progress("reconnected, each time");
        let mut reconnect = Vec::new();
        for _ in 0..options.rounds.min(5) {
            let began = Instant::now();
            let reply = self.ask("ReconnectVirtualRouter", json!({"vmInstanceUuid": router.uuid}), Wait::Applied)?;
            anyhow::ensure!(reply.reply.applied, "the reconnect was not applied: {}", reply.body);
            self.answers(&namespace, router.guest_ip, &last)?;
            reconnect.push(began.elapsed());
        }
        let yardstick = self.yardstick(&namespace, options.rounds.min(5))?;
        let nft = yardstick.iter().sum::<Duration>() / yardstick.len().max(1) as u32;
        let ratio = |times: &[Duration]| {
            let mean = times.iter().sum::<Duration>().as_secs_f64() / times.len().max(1) as f64;
            (mean / nft.as_secs_f64().max(1e-9) * 100.0).round() / 100.0
        };
        let ratios = json!({"oneChange": ratio(&single), "fullReapply": ratio(&whole), "reconnect": ratio(&reconnect)});
        Ok(json!({
            "bench": "router",
            "entries": options.entries,
            "routerServingMs": millis(created),
            "filledMs": millis(filled),
            "oneChangeMs": spread(single),
            "eips": eips,
            "reapplyAgentMs": agent,
            "fullReapplyMs": spread(whole),
            "reconnectMs": spread(reconnect),
            "yardstick": {"what": "nft -f of the router's own table", "ms": spread(yardstick)},
            "ratio": ratios,
        }))
    }

    /// A guest network with room for many addresses, on the L2 network of the site's guest network.
    fn networks(&mut self) -> anyhow::Result<()> {
        let guest = self.api.one("QueryL3Network", &self.site.guest.l3)?;
        let l2 = guest["l2NetworkUuid"].as_str().context("an L3 network without L2 network")?;
        let l3 = json!({"name": "bench", "l2NetworkUuid": l2, "dnsDomain": DOMAIN});
        self.l3 = self.ask("CreateL3Network", l3, Wait::Applied)?.uuid()?;
        let range = json!({"l3NetworkUuid": self.l3, "name": "bench", "networkCidr": "10.64.0.0/16"});
        self.ask("AddIpRangeByNetworkCidr", range, Wait::Applied)?;
        let services =
            json!({"l3NetworkUuid": self.l3, "networkServices": {"VirtualRouter": ["DHCP", "DNS", "SNAT", "Eip"]}});
        self.ask("AttachNetworkServiceToL3Network", services, Wait::Applied)?;
        let pool = json!({"l3NetworkUuid": self.site.public, "name": "pool", "networkCidr": "100.64.0.0/16",
            "ipRangeType": "AddressPool"});
        self.pool = self.ask("AddIpRangeByNetworkCidr", pool, Wait::Applied)?.uuid()?;
        Ok(())
    }

    /// A cluster of simulated hosts that carries the guest L2 network: where the entries' VMs are.
    fn simulated_cluster(&mut self) -> anyhow::Result<()> {
        let cluster = json!({"name": "simulated", "zoneUuid": self.site.zone, "hypervisorType": "Simulator"});
        self.simulated = self.ask("CreateCluster", cluster, Wait::Applied)?.uuid()?;
        for end in 1..=SIMULATED {
            let ip = format!("192.0.2.{end}");
            let host = json!({"name": "simulated", "clusterUuid": self.simulated, "managementIp": ip});
            self.ask("AddSimulatorHost", host, Wait::Applied)?;
        }
        let network = self.api.one("QueryL3Network", &self.l3)?;
        let attach = json!({"l2NetworkUuid": network["l2NetworkUuid"], "clusterUuid": self.simulated});
        self.ask("AttachL2NetworkToCluster", attach, Wait::Applied)?;
        Ok(())
    }

    fn create(&self, name: &str) -> anyhow::Result<()> {
        let vm = json!({"name": name, "l3NetworkUuids": [self.l3], "clusterUuid": self.simulated});
        self.ask("CreateVmInstance", vm, Wait::Durable).map(|_| ())
    }

    /// EIPs of the VMs of the first entries, then one more each time, until the reply says that it is applied; whether it is
    /// in the router's table is looked at then.
    fn eips(
        &self,
        options: &RouterBench,
        router: &check::Router,
        namespace: &str,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Value> {
        if options.eips == 0 {
            return Ok(Value::Null);
        }
        for round in 0..options.rounds {
            self.create(&format!("eip-{round}"))?;
        }
        poll("every VM to run", Deadline::seconds(600), || {
            let waiting = self.api.query("QueryVmInstance", &["state!=Running".to_string()])?;
            Ok(if waiting.is_empty() { Ok(()) } else { Err(format!("{} do not", waiting.len())) })
        })?;
        progress(&format!("making {} EIPs", options.eips.min(options.entries)));
        let every = [("limit", "100000"), ("q", &format!("defaultL3NetworkUuid={}", self.l3))];
        let found = self.api.get("/v1/queries/QueryVmInstance", &every)?;
        let vms = found["inventories"].as_array().context("no VMs were answered")?;
        let vms: BTreeMap<&str, &Value> = vms.iter().filter_map(|vm| Some((vm["name"].as_str()?, vm))).collect();
        let nic_of = |name: &str| {
            let vm = vms.get(name).with_context(|| format!("there is no VM `{name}`"))?;
            vm["vmNics"][0]["uuid"].as_str().map(str::to_string).context("a VM without nic")
        };
        let nics: Vec<String> = (0..options.eips.min(options.entries))
            .map(|entry| nic_of(&format!("vm-{entry}")))
            .collect::<anyhow::Result<_>>()?;
        let began = Instant::now();
        self.by_clients(nics.len() as u32, |at| {
            let (vip, _) = self.vip()?;
            self.eip(&vip, &nics[at as usize], Wait::Durable)
        })?;
        // One that is applied comes after all of them.
        let (vip, _) = self.vip()?;
        self.eip(&vip, &nic_of("first")?, Wait::Applied)?;
        let filled = began.elapsed();
        progress("one more EIP, each time");
        let table = format!("vr_{}", &router.uuid[24..]);
        let mut single = Vec::new();
        for round in 0..options.rounds {
            let ((vip, ip), nic) = (self.vip()?, nic_of(&format!("eip-{round}"))?);
            let began = Instant::now();
            self.eip(&vip, &nic, Wait::Applied)?;
            single.push(began.elapsed());
            // Not a part of it: nft reads all elements to say whether one is there.
            let element = format!("{{ {ip} }}");
            let (there, said) =
                self.lab.run_in(namespace, &["nft", "get", "element", "inet", &table, "eip_guests", &element])?;
            anyhow::ensure!(there, "the router's table does not have {ip}: {said}");
        }
        Ok(json!({"eips": nics.len(), "filledMs": millis(filled), "oneMoreMs": spread(single)}))
    }

    /// The whole document, which the agent is told once more: what it says that applying took, with its rules gone, and with
    /// its rules and the addresses of its VIPs gone. Its DHCP and DNS go on: they are a part of what is measured by the answers.
    fn agent(&self, router: &check::Router, namespace: &str, rounds: u32) -> anyhow::Result<Value> {
        let authority = Authority::open_or_create(&self.lab.data_dir().join("pki")).context("the lab's authority")?;
        let identity = authority.server_identity().context("the server's certificate")?;
        // A new one knows of nothing that the agent holds: all of it travels.
        let client = || {
            let from = Some(self.lab.name().namespace("ctl"));
            AgentClient::new(&identity, from, Timeouts::default()).context("start the agents' client")
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (id, ip): (RouterId, _) = (router.uuid.parse()?, check::address(&router.inventory, Nic::MANAGEMENT)?);
        let at = AgentAt::router(id, (ip, AGENT_PORT).into());
        let failed = |problem| anyhow::anyhow!("ask the router's agent: {problem}");
        let held = runtime.block_on(client()?.held(at)).map_err(failed)?;
        let sections: Sections = serde_json::from_value(held.sections).context("read the document in force")?;
        let vips: String = sections
            .vips
            .addresses
            .iter()
            .map(|vip| format!("addr del {}/32 dev {}\n", vip.address.addr(), vip.interface))
            .collect();
        let batch = self.lab.data_dir().join("vips.batch");
        std::fs::write(&batch, vips).context("write the addresses of VIPs")?;
        let config = RouterConfig { router: id, revision: held.revision, sections };
        let batch = batch.to_string_lossy().into_owned();
        let mut figures = serde_json::Map::new();
        for (what, addresses) in [("rules", false), ("rulesAndAddresses", true)] {
            let mut times = Vec::new();
            for _ in 0..rounds {
                let (flushed, said) = self.lab.run_in(namespace, &["nft", "flush", "ruleset"])?;
                anyhow::ensure!(flushed, "flush the rules of `{namespace}`: {said}");
                if addresses {
                    let removed = Command::new("ip").args(["-n", namespace, "-batch", &batch]).output()?;
                    let said = String::from_utf8_lossy(&removed.stderr);
                    anyhow::ensure!(removed.status.success(), "remove the addresses of VIPs: {said}");
                }
                let push = push_of_router(&config, held.epoch);
                let client = client()?;
                let report = runtime.block_on(client.put_config(at, push)).map_err(failed)?;
                times.push(Duration::from_millis(report.millis));
                let left = runtime.block_on(client.drift(at)).map_err(failed)?;
                anyhow::ensure!(left.items.is_empty(), "not all was applied again: {:?}", left.items.first());
            }
            figures.insert(what.to_string(), spread(times));
        }
        Ok(Value::Object(figures))
    }

    /// A VIP, and its address.
    fn vip(&self) -> anyhow::Result<(String, String)> {
        let vip = json!({"name": "vip", "l3NetworkUuid": self.site.public, "ipRangeUuid": self.pool});
        let reply = self.ask("CreateVip", vip, Wait::Durable)?;
        let ip = reply.reply.inventory.as_ref().and_then(|vip| vip["ip"].as_str()).context("a VIP without address")?;
        Ok((reply.uuid()?, ip.to_string()))
    }

    fn eip(&self, vip: &str, nic: &str, wait: Wait) -> anyhow::Result<()> {
        let eip = json!({"name": "eip", "vipUuid": vip, "vmNicUuid": nic});
        let reply = self.ask("CreateEip", eip, wait)?;
        anyhow::ensure!(wait != Wait::Applied || reply.reply.applied, "an EIP was not applied: {}", reply.body);
        Ok(())
    }

    fn fill(&self, entries: u32) -> anyhow::Result<()> {
        self.by_clients(entries, |entry| self.create(&format!("vm-{entry}")))
    }

    /// Does all of so many things, by several clients at once.
    fn by_clients(&self, count: u32, work: impl Fn(u32) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
        std::thread::scope(|scope| {
            let work = &work;
            let client =
                |client: u32| scope.spawn(move || (client..count).step_by(CLIENTS as usize).try_for_each(work));
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            clients.into_iter().try_for_each(|client| match client.join() {
                Ok(done) => done,
                Err(_) => anyhow::bail!("a client of the benchmark failed"),
            })
        })
    }

    /// Waits until the router, asked from its own namespace, answers for a VM of this name.
    fn answers(&self, namespace: &str, server: Ipv4Addr, name: &str) -> anyhow::Result<Ipv4Addr> {
        let name = format!("{name}.{DOMAIN}");
        self.lab.within(namespace, || {
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                match dns_a(server, &name, Duration::from_millis(50)) {
                    Ok(Some(ip)) => return Ok(ip),
                    _ if Instant::now() > deadline => anyhow::bail!("{server} does not answer for {name}"),
                    _ => std::thread::sleep(Duration::from_micros(500)),
                }
            }
        })?
    }

    /// `nft -f` of the table that the router has, in its namespace.
    fn yardstick(&self, namespace: &str, rounds: u32) -> anyhow::Result<Vec<Duration>> {
        let (listed, text) = self.lab.run_in(namespace, &["nft", "list", "ruleset"])?;
        anyhow::ensure!(listed, "list the rules of `{namespace}`: {text}");
        let file = self.lab.data_dir().join("yardstick.nft");
        std::fs::write(&file, format!("flush ruleset\n{text}")).context("write the yardstick's rules")?;
        let path = file.to_string_lossy().into_owned();
        let mut times = Vec::new();
        for _ in 0..rounds {
            let began = Instant::now();
            let (done, said) = self.lab.run_in(namespace, &["nft", "-f", &path])?;
            times.push(began.elapsed());
            anyhow::ensure!(done, "apply the yardstick's rules: {said}");
        }
        poll("the router after the yardstick", Deadline::seconds(10), || Ok(Ok(())))?;
        Ok(times)
    }
}
