//! The reads of the catalogue that are not queries.

use super::Node;
use serde_json::{Value, json};
use switchback_actors::{agents::Agents, ip_range};
use switchback_appliance::{AgentProblem, AgentProblemCode};
use switchback_bus::*;
use switchback_events::{NetworkServiceType, RouterId};

impl Node {
    pub(super) async fn look_up(&self, name: &str, parameters: &Value) -> Result<Value, Refusal> {
        let asked = read(name, parameters)?;
        if matches!(asked, Read::GetFreeIp(_) | Read::CheckIpAvailability(_)) {
            // They answer from sequenced states: what those rest on must be on disk before it is said.
            let head = self.journal.head();
            let lost =
                |lost: switchback_journal::ReadOnly| Refusal::new(RefusalKind::ReadOnly, code::READ_ONLY, lost.0);
            self.journal.wait_durable(head).await.map_err(lost)?;
        }
        match asked {
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
            Read::GetVirtualRouterDrift(request) => self.router_drift(request.uuid).await,
            Read::GetAgentToken(request) => match self.fleet.token(request.address) {
                Ok(token) => Ok(json!({ "token": token })),
                Err(error) => Err(Refusal::operation(format!("{error:#}"))),
            },
            Read::ReplayResource(request) => {
                let history = self.history();
                let at = history.moment_or_now("at", request.at.as_ref())?;
                history.replay_resource(request.uuid, at, |stream| self.states().load(stream).ok())
            }
            past => self.history().read(past).await,
        }
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
