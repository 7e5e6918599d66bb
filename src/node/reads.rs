//! The reads of the catalogue that are not queries.

use super::{
    Node, diff,
    events::{envelope, unreadable},
};
use serde_json::{Value, json};
use switchback_actors::{
    agents::Agents,
    ip_range,
    reconcilers::{config_at, replay_router},
};
use switchback_appliance::{AgentProblem, AgentProblemCode, RouterConfig, RouterFold, hex};
use switchback_bus::*;
use switchback_events::{NetworkServiceType, Position, RouterId};

impl Node {
    pub(super) async fn look_up(&self, name: &str, parameters: &Value) -> Result<Value, Refusal> {
        // Some answer from sequenced states: what they rest on must be on disk before it is said.
        let head = self.journal.head();
        let lost = |lost: switchback_journal::ReadOnly| Refusal::new(RefusalKind::ReadOnly, code::READ_ONLY, lost.0);
        self.journal.wait_durable(head).await.map_err(lost)?;
        // The reads of the log are quick for what one asks in person; the gateway's threads may wait for them.
        match read(name, parameters)? {
            Read::GetFreeIp(request) => {
                let found = ip_range::free_addresses(self.states(), &request)?;
                let inventories: Vec<Value> = found
                    .into_iter()
                    .map(|(range, ip, bounds)| {
                        json!({"ipRangeUuid": range, "ip": ip, "netmask": bounds.netmask, "gateway": bounds.gateway})
                    })
                    .collect();
                Ok(json!({ "inventories": inventories }))
            }
            Read::CheckIpAvailability(request) => {
                let reason = ip_range::availability(self.states(), &request)?;
                Ok(json!({"available": reason.is_none(), "reason": reason}))
            }
            Read::GetNetworkServiceTypes(_) => {
                let mut types = serde_json::Map::new();
                for (provider, services) in providers() {
                    types.insert(provider.to_string(), json!(services));
                }
                Ok(json!({ "types": types }))
            }
            Read::GetL2NetworkTypes(_) => Ok(json!({"types": ["L2NoVlanNetwork", "L2VlanNetwork"]})),
            Read::GetL3NetworkTypes(_) => Ok(json!({"types": ["L3BasicNetwork"]})),
            Read::GetVirtualRouterConfig(request) => {
                let at = match &request.at {
                    Some(text) => self.moment("at", text)?,
                    None => self.journal.durable(),
                };
                let config = self.router_config("uuid", request.uuid, at)?;
                Ok(json!({"config": config, "digest": config.digest(), "position": at}))
            }
            Read::GetVirtualRouterDiff(request) => {
                let from = self.moment("from", &request.from)?;
                let to = match &request.to {
                    Some(text) => self.moment("to", text)?,
                    None => self.journal.durable(),
                };
                self.router_diff(request.uuid, from, to)
            }
            Read::GetVirtualRouterDrift(request) => self.router_drift(request.uuid).await,
            Read::GetEvents(request) => self.events(&request),
            Read::GetEvent(request) => self.event(request.position),
            Read::GetAuditHead(_) => {
                let (position, hash) = self.journal.chain_head();
                let mut head = json!({"position": position, "hash": hex(&hash)});
                if let Some(why) = self.journal.read_only() {
                    head["readOnly"] = json!(why);
                }
                Ok(head)
            }
            Read::VerifyAudit(_) => {
                let journal = self.journal.clone();
                let verified = tokio::task::spawn_blocking(move || journal.verify(|_| {})).await;
                Ok(match verified.map_err(|error| Refusal::internal(format!("verify the log: {error}")))? {
                    Ok(verified) => json!({
                        "ok": true,
                        "position": verified.head,
                        "events": verified.head,
                        "commits": verified.commits,
                        "hash": hex(&verified.chain),
                    }),
                    Err(broken) => json!({"ok": false, "brokenAt": broken.position, "why": broken.why}),
                })
            }
            Read::GetAgentToken(request) => match self.fleet.token(request.address) {
                Ok(token) => Ok(json!({ "token": token })),
                Err(error) => Err(Refusal::operation(format!("{error:#}"))),
            },
        }
    }

    fn router_config(&self, field: &str, router: RouterId, at: Position) -> Result<RouterConfig, Refusal> {
        let config = config_at(&self.journal, router, Some(at)).map_err(unreadable)?;
        config.ok_or_else(|| {
            Refusal::not_found(field, "virtual router", router).hint(format!("there was none at position {at}"))
        })
    }

    fn router_diff(&self, router: RouterId, from: Position, to: Position) -> Result<Value, Refusal> {
        if from > to {
            return Err(Refusal::argument("from", from, format!("not behind to = {to}")));
        }
        let later = replay_router(&self.journal, router, Some(to)).map_err(unreadable)?;
        if later.config().is_none() {
            return Err(Refusal::not_found("uuid", "virtual router", router));
        }
        let earlier = replay_router(&self.journal, router, Some(from)).map_err(unreadable)?;
        // The events between that bore on the configuration: those at which a fold carried on from there moves.
        let mut tags: Vec<_> = later.networks.keys().map(|l3| l3.0).collect();
        tags.push(router.0);
        let mut fold: RouterFold = earlier.clone();
        let mut events = Vec::new();
        let mut note = |commit: &std::sync::Arc<switchback_events::Commit>| {
            for (event, shown) in commit.events.iter().zip(commit.envelopes()) {
                if event.position <= from || event.position > to {
                    continue;
                }
                let before = fold.config().map(|config| config.digest());
                fold.apply(event);
                if fold.config().map(|config| config.digest()) != before {
                    events.push(envelope(&shown));
                }
            }
        };
        self.journal.read_tagged(&tags, from, to, &mut note).map_err(unreadable)?;
        let (a, b) = (earlier.config(), later.config());
        let sections =
            diff::sections(a.as_ref().map(|config| &config.sections), b.as_ref().map(|config| &config.sections));
        Ok(json!({"from": from, "to": to, "sections": sections, "events": events}))
    }

    async fn router_drift(&self, router: RouterId) -> Result<Value, Refusal> {
        let target = self.reconcilers.router_target(router);
        let target = target.ok_or_else(|| Refusal::not_found("uuid", "virtual router", router))?;
        let _permit = self.reconcilers.router_permit(router).await;
        let drift = self.fleet.router_drift(&target).await.map_err(|problem| agent_refusal(&problem))?;
        Ok(serde_json::to_value(drift).unwrap_or_default())
    }
}

fn agent_refusal(problem: &AgentProblem) -> Refusal {
    match problem.code {
        AgentProblemCode::NotSupported => Refusal::not_supported(&problem.detail),
        _ => Refusal::new(RefusalKind::Backend, code::BACKEND, problem.to_string()),
    }
}

/// The built-in providers with their services, as in ZStack.
fn providers() -> [(&'static str, Vec<NetworkServiceType>); 3] {
    use NetworkServiceType::*;
    [
        ("VirtualRouter", vec![DHCP, DNS, SNAT, PortForwarding, Eip, LoadBalancer]),
        ("Flat", vec![DHCP, Userdata, Eip, DNS, HostRoute]),
        ("SecurityGroup", vec![SecurityGroup]),
    ]
}
