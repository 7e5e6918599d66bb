//! What a router's agent answers when it is asked: what it holds, how its services are, what they counted, and where the
//! kernel differs.
//!
//! **Invariant:** nothing here changes anything, and no change waits for it: it looks at what was in force when it began. What
//! it finds to differ while something changes it looks for again.

use super::{Applied, COUNTING, LastGood, RouterEngine};
use crate::{
    bootstrap::Started,
    document::problem,
    kernel::{KernelError, ProcessId},
    services::{dnsmasq, eip, haproxy, interfaces, load_balancer, nftables, port_forwarding, vip, vip_qos},
};
use serde_json::json;
use std::{collections::BTreeMap, net::Ipv6Addr, sync::Arc};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, Drift, DriftItem, Health, Held, ListenerConfig, ListenerCounters, ListenerProtocol,
    Observed, QosConfig, Sections, ServiceCounters, ServiceHealth, Traffic,
};

/// What changes while it is asked is asked again so many times.
const ASKED_AGAIN: usize = 2;

/// What was in force at one moment.
struct Look {
    good: Option<Arc<LastGood>>,
    epoch: u64,
    /// But for the translations, which nobody asks for.
    applied: Applied,
}

impl RouterEngine {
    fn look(&self) -> Look {
        let state = self.state.lock();
        let Applied { times, table, dnsmasq, haproxy, qos, balancing, unwell, translations: _ } = &state.applied;
        let applied = Applied {
            times: *times,
            table: table.clone(),
            dnsmasq: dnsmasq.clone(),
            haproxy: haproxy.clone(),
            qos: qos.clone(),
            balancing: balancing.clone(),
            unwell: unwell.clone(),
            translations: None,
        };
        Look { good: state.good.clone(), epoch: state.epoch, applied }
    }

    /// What the packet filter has was looked at in this state of it, and found right: it need not be listed again.
    fn found_right(&self, look: &Look, generation: u32) {
        let mut state = self.state.lock();
        if state.applied.times == look.applied.times
            && let Some(table) = &mut state.applied.table
        {
            table.generation = Some(generation);
        }
    }

    /// What is held.
    pub fn held(&self) -> Held {
        let Look { good, epoch, .. } = self.look();
        let good = good.unwrap_or_default();
        let sections = serde_json::to_value(&good.sections).unwrap_or_default();
        Held { revision: good.revision, epoch, digests: good.digests.clone(), sections }
    }

    /// How it came up, to be said before anybody asks.
    pub fn found(&self) -> Started {
        let (health, _) = self.ask_services();
        let unwell = health.services.into_iter().filter(|(_, service)| !service.healthy);
        let unwell = unwell.map(|(name, service)| format!("{name}: {}", service.detail)).collect();
        Started { revision: health.revision, unwell }
    }

    /// Whether the services answer, and for what is in force. dnsmasq is asked without holding up changes: those ask again.
    pub fn health(&self) -> Health {
        let mut asked = self.ask_services();
        for _ in 0..ASKED_AGAIN {
            if asked.0.healthy || self.state.lock().applied.times == asked.1 {
                break;
            }
            asked = self.ask_services();
        }
        Health { saved_passwords: self.passwords.saved(), ..asked.0 }
    }

    /// How the services are, and after how many changes.
    fn ask_services(&self) -> (Health, u64) {
        let look = self.look();
        let Look { good, epoch, applied } = &look;
        let mut services = BTreeMap::new();
        let mut probes = Vec::new();
        if let Some(good) = good {
            probes = dnsmasq::probes(&good.sections);
            if let Some(wanted) = haproxy::render(&good.sections.load_balancer, &self.balancer()) {
                services.insert("haproxy".to_string(), self.haproxy_health(applied, &wanted));
            }
            if !good.sections.qos.is_empty() {
                services.insert(QosConfig::SECTION.to_string(), self.qos_health(applied, &good.sections));
            }
            services.insert("nftables".to_string(), self.table_health(&look));
        }
        let served = applied.dnsmasq.as_ref().map(|running| (running.process, running.serves.canary));
        if !probes.is_empty() {
            services.insert("dnsmasq".to_string(), self.dnsmasq_health(served, &probes));
        }
        let health = Health {
            id: self.settings.router.into(),
            role: "router".to_string(),
            agent_digest: self.build.digest().to_string(),
            agent_version: self.build.version.to_string(),
            boot_id: self.build.boot_id.clone(),
            revision: good.as_ref().map_or(0, |good| good.revision),
            epoch: *epoch,
            healthy: services.values().all(|service: &ServiceHealth| service.healthy),
            services,
            capabilities: BTreeMap::new(),
            saved_passwords: BTreeMap::new(),
        };
        (health, applied.times)
    }

    fn dnsmasq_health(&self, served: Option<(ProcessId, Ipv6Addr)>, probes: &[dnsmasq::Probe]) -> ServiceHealth {
        let kernel = self.kernel.as_ref();
        let Some((_, canary)) = served.filter(|(process, _)| kernel.alive(process)) else {
            return ServiceHealth { healthy: false, detail: "the process is gone".to_string() };
        };
        match dnsmasq::ask(kernel, probes, canary) {
            Ok(()) => ServiceHealth { healthy: true, detail: "answers for the configuration in force".to_string() },
            Err(detail) => ServiceHealth { healthy: false, detail },
        }
    }

    fn haproxy_health(&self, applied: &Applied, wanted: &haproxy::Wanted) -> ServiceHealth {
        let kernel = self.kernel.as_ref();
        let observed = match haproxy::observe(kernel, &self.balancer(), &applied.haproxy, Some(wanted)) {
            Ok(observed) => observed,
            Err(error) => return ServiceHealth { healthy: false, detail: error.to_string() },
        };
        let plan = haproxy::plan(Some(wanted), applied.balancing.as_ref(), &applied.haproxy, &observed);
        match plan.drift.first() {
            _ if plan.is_empty() => ServiceHealth { healthy: true, detail: haproxy::summary(&observed) },
            Some(item) => ServiceHealth { healthy: false, detail: format!("{} is {}", item.item, item.observed) },
            None => ServiceHealth { healthy: false, detail: "serves another configuration".to_string() },
        }
    }

    fn qos_health(&self, applied: &Applied, sections: &Sections) -> ServiceHealth {
        let healthy = |healthy, detail: String| ServiceHealth { healthy, detail };
        if let Some(detail) = &applied.qos.refused {
            return healthy(false, format!("the kernel does not shape: {detail}"));
        }
        let kernel = self.kernel.as_ref();
        let plan = || vip_qos::plan(kernel, &self.table, &sections.qos, &kernel.links()?, &applied.qos, false);
        match plan() {
            Ok(plan) => match plan.drift.first() {
                None => healthy(true, "limits as they were put in place".to_string()),
                Some(item) => healthy(false, format!("{} is {}", item.item, item.observed)),
            },
            Err(error) => healthy(false, error.to_string()),
        }
    }

    fn table_health(&self, look: &Look) -> ServiceHealth {
        let healthy = |healthy, detail: &str| ServiceHealth { healthy, detail: detail.to_string() };
        let Some(table) = &look.applied.table else { return healthy(false, "there is no table") };
        match nftables::observe(self.kernel.as_ref(), &self.table, Some(table)) {
            Ok((nftables::Seen::Absent, _)) => healthy(false, "the table is gone"),
            Ok((seen, generation)) => match nftables::drift(table, &seen).first() {
                None => {
                    // Limits have tables of their own, which nobody has looked at.
                    if look.applied.qos == vip_qos::Applied::default() {
                        self.found_right(look, generation);
                    }
                    healthy(true, "as it was put in place")
                }
                Some(item) => healthy(false, &format!("the table was changed: {} is {}", item.item, item.observed)),
            },
            Err(error) => healthy(false, &error.to_string()),
        }
    }

    /// How much went through its services.
    pub fn counters(&self) -> Result<ServiceCounters, AgentProblem> {
        let look = self.look();
        let (Some(good), Some(applied)) = (&look.good, &look.applied.table) else {
            return Ok(ServiceCounters::default());
        };
        let (eips, rules) = (&good.sections.eips.eips, &good.sections.port_forwarding.rules);
        let listeners = &good.sections.load_balancer.listeners;
        let (table, running) = (&applied.table, &look.applied.haproxy);
        let kernel = self.kernel.as_ref();
        let failed = |error: KernelError| problem(AgentProblemCode::Failed, error.to_string());
        let counters = nftables::counters(kernel, &self.table, table).map_err(failed)?;
        let proxied = listeners.iter().any(|listener| listener.protocol != ListenerProtocol::Udp);
        let totals = if proxied { haproxy::totals(kernel, &self.balancer(), running) } else { haproxy::Totals::new() };
        let since = kernel.read(&self.settings.state_dir.join(COUNTING)).map_err(failed)?;
        let count = |set: &str, key: &str| counters.get(set).and_then(|set| set.get(key)).copied().unwrap_or_default();
        let traffic =
            |sets: [&str; 2], key: &str| Traffic { inbound: count(sets[0], key), outbound: count(sets[1], key) };
        let of_listener = |listener: &ListenerConfig| {
            let counted = totals.get(&load_balancer::frontend_name(listener)).copied().unwrap_or_default();
            let counters = ListenerCounters {
                connections: counted.sessions,
                requests: counted.requests,
                denied: counted.denied,
                inbound_bytes: counted.bytes_in,
                outbound_bytes: counted.bytes_out,
            };
            (listener.listener, counters)
        };
        let of_proxy = listeners.iter().filter(|listener| listener.protocol != ListenerProtocol::Udp);
        Ok(ServiceCounters {
            since: since.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            eips: eips.iter().map(|eip| (eip.eip, traffic(eip::COUNTERS, &eip.vip_address.to_string()))).collect(),
            port_forwarding: rules
                .iter()
                .map(|rule| (rule.rule, traffic(port_forwarding::COUNTERS, &port_forwarding::key(rule))))
                .collect(),
            listeners: of_proxy.map(of_listener).collect(),
        })
    }

    /// Where the kernel and the daemons differ from the document in force.
    pub fn drift(&self) -> Result<Drift, AgentProblem> {
        for _ in 0..ASKED_AGAIN {
            let look = self.look();
            let Some(good) = &look.good else { return Ok(Drift::default()) };
            let (items, generation) = self.differing(&look.applied, good);
            if items.is_empty()
                && let Some(generation) = generation
            {
                self.found_right(&look, generation);
            }
            if items.is_empty() || self.state.lock().applied.times == look.applied.times {
                return Ok(Drift { revision: good.revision, items });
            }
        }
        // One that changes all the time is held for a moment.
        let state = self.state.lock();
        let Some(good) = &state.good else { return Ok(Drift::default()) };
        Ok(Drift { revision: good.revision, items: self.differing(&state.applied, good).0 })
    }

    /// What differs, and the state of the packet filter when it was looked at.
    fn differing(&self, applied: &Applied, good: &LastGood) -> (Vec<DriftItem>, Option<u32>) {
        let plan = match self.plan(applied, &good.sections) {
            Ok(plan) => plan,
            Err(failure) => return (vec![difference(failure.section, "links", "present", &failure.detail)], None),
        };
        let mut items = plan.interfaces.drift;
        items.extend(plan.dnsmasq.drift);
        items.extend(plan.haproxy.drift);
        items.extend(plan.table.drift);
        items.extend(plan.qos.drift);
        if plan.forwarding {
            items.push(difference("interfaces", "sysctl net/ipv4/ip_forward", "1", "0"));
        }
        (items, Some(plan.table.generation))
    }

    /// What the kernel and the daemons have.
    pub fn observed(&self) -> Result<Observed, AgentProblem> {
        let Look { good, applied, .. } = self.look();
        let good = good.unwrap_or_default();
        let sections = &good.sections;
        let kernel = self.kernel.as_ref();
        let look = || {
            let links = interfaces::observe(kernel, &vip::interfaces(sections))?;
            let table = kernel.table(&self.table)?.map(|objects| nftables::normalise(objects.into()));
            let wanted = dnsmasq::render(sections, &self.directory());
            let served = dnsmasq::observe(kernel, &self.directory(), applied.dnsmasq.as_ref(), wanted.as_ref())?;
            let wanted = haproxy::render(&sections.load_balancer, &self.balancer());
            let running = &applied.haproxy;
            let balanced = haproxy::observe(kernel, &self.balancer(), running, wanted.as_ref())?;
            let unwell: Vec<String> = self.checks.unwell().iter().map(|(_, server)| server.to_string()).collect();
            let leases = kernel.read(&self.directory().join(crate::services::dhcp::LEASES))?.unwrap_or_default();
            let leases: Vec<&str> = leases.lines().collect();
            Ok(json!({
                "interfaces": links,
                "dhcp": { "dnsmasqRuns": served.alive, "leases": leases },
                "dns": { "dnsmasqRuns": served.alive, "files": served.files },
                "snat": { "table": self.table, "present": table.is_some() },
                "loadBalancer": {
                    "haproxyRuns": balanced.alive,
                    "servers": balanced.servers,
                    "udpServersThatAreNotWell": unwell,
                    "counted": haproxy::totals(kernel, &self.balancer(), running),
                },
                "firewall": { "table": self.table, "objects": table },
                "qos": vip_qos::observed(kernel, &sections.qos)?,
            }))
        };
        let sections = look().map_err(|error: KernelError| problem(AgentProblemCode::Failed, error.to_string()))?;
        Ok(Observed { sections })
    }
}

fn difference(section: &str, item: &str, expected: &str, observed: &str) -> DriftItem {
    let [section, item, expected, observed] = [section, item, expected, observed].map(str::to_string);
    DriftItem { section, item, expected, observed }
}
