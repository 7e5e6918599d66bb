//! How much went through the services of routers: one router's, asked of its agent, and the sums of all for `/metrics`.

use super::{Node, reads::agent_refusal};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};
use switchback_actors::agents::Agents;
use switchback_appliance::{Counter, ServiceCounters, Traffic};
use switchback_bus::{Bus, Caller, QueryRequest, Refusal, Sample, message, metric};
use switchback_events::{AccountId, Id, RouterId};

/// The figures show what at most so many routers count; all count, but the others are not asked.
const ROUTERS_MAX: u64 = 500;
/// So many of them are asked at a time, and each may take so long.
const AT_A_TIME: usize = 32;
const PATIENCE: Duration = Duration::from_secs(1);
/// Names are looked up for so many at a time.
const NAMES: usize = 500;

/// The kinds of services that count: the type of the resource, the query for its inventory, and the label.
const KINDS: [(&str, &str, &str); 3] = [
    ("EIP", "QueryEip", "eip"),
    ("PortForwarding", "QueryPortForwardingRule", "port_forwarding"),
    ("LoadBalancerListener", "QueryLoadBalancerListener", "load_balancer"),
];

/// What was counted of one thing: packets, where they are, and bytes, to the VMs and from them.
type Sides = [Counter; 2];

/// The sums of what routers counted while this server asked. They never go down: what an agent counts anew is added.
#[derive(Default)]
pub(super) struct Sums(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    last: HashMap<RouterId, HashMap<Id, Sides>>,
    sums: [Sides; KINDS.len()],
}

impl Sums {
    fn add(&self, router: RouterId, counters: &ServiceCounters) {
        let mut seen = self.0.lock();
        let mut now = HashMap::new();
        for (kind, items) in items(counters).into_iter().enumerate() {
            for (id, sides) in items {
                let before = seen.last.get(&router).and_then(|last| last.get(&id)).copied().unwrap_or_default();
                for (at, (count, before)) in sides.iter().zip(before).enumerate() {
                    let sum = &mut seen.sums[kind][at];
                    sum.packets += more(count.packets, before.packets);
                    sum.bytes += more(count.bytes, before.bytes);
                }
                now.insert(id, sides);
            }
        }
        seen.last.insert(router, now);
    }

    /// What is there no more is counted from its beginning if it comes back.
    fn keep(&self, routers: &HashSet<RouterId>) {
        self.0.lock().last.retain(|router, _| routers.contains(router));
    }

    fn samples(&self, samples: &mut Vec<Sample>) {
        let seen = self.0.lock();
        for ((_, _, service), sides) in KINDS.iter().zip(&seen.sums) {
            for (direction, count) in ["in", "out"].iter().zip(sides) {
                samples.push(Sample::of(metric::SERVICE_BYTES, &[service, direction], count.bytes));
                if *service != "load_balancer" {
                    samples.push(Sample::of(metric::SERVICE_PACKETS, &[service, direction], count.packets));
                }
            }
        }
    }
}

/// How much came since `before`; what is less now was counted anew.
fn more(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// What was counted, in the order of [`KINDS`].
fn items(counters: &ServiceCounters) -> [Vec<(Id, Sides)>; KINDS.len()] {
    let sides = |traffic: &Traffic| [traffic.inbound, traffic.outbound];
    let bytes = |bytes| Counter { packets: 0, bytes };
    [
        counters.eips.iter().map(|(id, traffic)| (id.0, sides(traffic))).collect(),
        counters.port_forwarding.iter().map(|(id, traffic)| (id.0, sides(traffic))).collect(),
        counters
            .listeners
            .iter()
            .map(|(id, counted)| (id.0, [bytes(counted.inbound_bytes), bytes(counted.outbound_bytes)]))
            .collect(),
    ]
}

/// One line of the reply, without name.
fn line(kind: &str, id: Id, [inbound, outbound]: Sides, counters: &ServiceCounters) -> Value {
    let mut line = json!({
        "type": kind, "uuid": id.to_string(), "inboundBytes": inbound.bytes, "outboundBytes": outbound.bytes,
    });
    match counters.listeners.iter().find(|(listener, _)| listener.0 == id) {
        Some((_, counted)) => {
            line["connections"] = json!(counted.connections);
            line["requests"] = json!(counted.requests);
            line["denied"] = json!(counted.denied);
        }
        None => {
            line["inboundPackets"] = json!(inbound.packets);
            line["outboundPackets"] = json!(outbound.packets);
        }
    }
    line
}

impl Node {
    /// What went through a router's services; an account is told of those alone that it sees.
    pub(super) async fn router_counters(&self, router: RouterId, account: Option<AccountId>) -> Result<Value, Refusal> {
        let target = self.reconcilers.router_target(router);
        let target = target.ok_or_else(|| Refusal::not_found("uuid", "virtual router", router))?;
        let counters = {
            let _permit = self.reconcilers.router_permit(router).await;
            self.fleet.router_counters(&target).await.map_err(|problem| agent_refusal(&problem))?
        };
        let mut lines = Vec::new();
        for ((kind, query, _), items) in KINDS.iter().zip(items(&counters)) {
            let names = self.names(query, &items, account).await?;
            for (id, sides) in items {
                let name = names.get(&id.to_string());
                if account.is_some() && name.is_none() {
                    continue;
                }
                let mut line = line(kind, id, sides, &counters);
                line["name"] = json!(name);
                lines.push(line);
            }
        }
        let since = (counters.since > 0).then_some(counters.since);
        Ok(json!({ "uuid": router, "since": since, "counters": lines }))
    }

    async fn names(
        &self,
        query: &str,
        items: &[(Id, Sides)],
        account: Option<AccountId>,
    ) -> Result<BTreeMap<String, String>, Refusal> {
        let mut names = BTreeMap::new();
        if message(query).is_err() {
            return Ok(names);
        }
        for some in items.chunks(NAMES) {
            let ids: Vec<String> = some.iter().map(|(id, _)| id.to_string()).collect();
            for row in self.those(account, query, "uuid", &ids, &[]).await? {
                if let (Some(uuid), Some(name)) = (row["uuid"].as_str(), row["name"].as_str()) {
                    names.insert(uuid.to_string(), name.to_string());
                }
            }
        }
        Ok(names)
    }

    /// Asks the routers that are Connected, and shows the sums. Who does not answer in time counts as it last did.
    pub(super) async fn service_traffic(&self, samples: &mut Vec<Sample>) {
        let connected = QueryRequest {
            name: "QueryVirtualRouterVm".to_string(),
            q: vec!["status=Connected".to_string()],
            fields: vec!["uuid".to_string()],
            sort: Some("+uuid".to_string()),
            limit: Some(ROUTERS_MAX),
            ..QueryRequest::default()
        };
        if let Ok(found) = self.query(&Caller::administrator("system:metrics"), connected).await {
            let rows = found.rows();
            let routers: HashSet<RouterId> =
                rows.iter().filter_map(|row| Some(RouterId(row["uuid"].as_str()?.parse().ok()?))).collect();
            stream::iter(&routers)
                .for_each_concurrent(AT_A_TIME, |router| async move {
                    let Some(target) = self.reconcilers.router_target(*router) else { return };
                    let asked = tokio::time::timeout(PATIENCE, self.fleet.router_counters(&target)).await;
                    if let Ok(Ok(counters)) = asked {
                        self.traffic.add(*router, &counters);
                    }
                })
                .await;
            self.traffic.keep(&routers);
        }
        self.traffic.samples(samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_events::EipId;

    #[test]
    fn sums_go_on_where_an_agent_counts_anew_and_where_an_eip_goes() {
        let sums = Sums::default();
        let router = RouterId(Id::of_name("router"));
        let counted = |name: &str, packets: u64| {
            let count = Counter { packets, bytes: packets * 100 };
            (EipId(Id::of_name(name)), Traffic { inbound: count, outbound: Counter::default() })
        };
        for eips in [
            vec![counted("a", 5), counted("b", 1)],
            vec![counted("a", 7), counted("b", 1)],
            vec![counted("a", 2)],
            vec![counted("a", 2), counted("b", 3)],
        ] {
            sums.add(router, &ServiceCounters { eips: eips.into_iter().collect(), ..ServiceCounters::default() });
        }
        let mut samples = vec![];
        sums.samples(&mut samples);
        let of = |name: &str, direction: &str| {
            samples.iter().find(|sample| sample.name == name && sample.labels == ["eip", direction]).cloned()
        };
        // 6, then 2 more, then 2 anew, then 3 of one that came back.
        assert_eq!(of(metric::SERVICE_PACKETS, "in"), Some(Sample::of(metric::SERVICE_PACKETS, &["eip", "in"], 13)));
        assert_eq!(of(metric::SERVICE_BYTES, "out"), Some(Sample::of(metric::SERVICE_BYTES, &["eip", "out"], 0)));
        assert_eq!(samples.len(), 10, "as many however many routers there are");
        sums.keep(&HashSet::new());
        assert!(sums.0.lock().last.is_empty());
    }
}
