//! The reads of the catalogue that are not queries.

use super::{Node, history};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::IpAddr};
use switchback_actors::{
    States, agents::Agents, eip, global_config, ip_range, l2_network, l3_network, network_service_provider, ownership,
    port_forwarding, resource_config, router, security_group, vip, vm_instance,
};
use switchback_appliance::AgentProblem;
use switchback_bus::*;
use switchback_events::{AccountId, Id, RouterId, StreamKind};

impl Node {
    pub(super) async fn look_up(
        &self,
        name: &str,
        parameters: &Value,
        account: Option<AccountId>,
    ) -> Result<Value, Refusal> {
        let asked = read(name, parameters)?;
        let (states, hidden) = match account {
            None => (self.states().clone(), BTreeSet::new()),
            Some(account) => {
                let owners: Vec<Id> = match &asked {
                    // It tells who has the addresses.
                    Read::GetL3NetworkIpStatistic(request) => vec![request.l3_network_uuid.0],
                    _ => vec![],
                };
                let hidden =
                    ownership::hidden_from(&Asking::of(account, message(name)?, parameters), &owners, self.states())?;
                (self.states().hiding(hidden.clone()), hidden)
            }
        };
        let states = &states;
        let seen = || account.map(|account| ownership::seen_by(states, account, StreamKind::L3Network));
        use Read::{
            CheckIpAvailability, CheckVipPortAvailability, GetFreeIp, GetIpAddressCapacity, GetL3NetworkDhcpIpAddress,
            GetL3NetworkIpStatistic, GetL3NetworkMtu, GetL3NetworkRouterInterfaceIp, GetNetworkServiceTypes,
            GetResourceConfig, GetResourceConfigs, GetVipAvailablePort,
        };
        if matches!(
            asked,
            GetFreeIp(_)
                | CheckIpAvailability(_)
                | GetIpAddressCapacity(_)
                | GetL3NetworkIpStatistic(_)
                | GetResourceConfig(_)
                | GetResourceConfigs(_)
                | GetL3NetworkMtu(_)
                | GetL3NetworkRouterInterfaceIp(_)
                | GetL3NetworkDhcpIpAddress(_)
                | GetNetworkServiceTypes(_)
                | CheckVipPortAvailability(_)
                | GetVipAvailablePort(_)
        ) {
            // They answer from sequenced states: what those rest on must be on disk before it is said.
            let head = self.journal.head();
            let lost =
                |lost: switchback_journal::ReadOnly| Refusal::new(RefusalKind::ReadOnly, code::READ_ONLY, lost.0);
            self.journal.wait_durable(head).await.map_err(lost)?;
        }
        match asked {
            Read::ValidateSession(request) => {
                let valid = matches!(&request.session_uuid, Secret::Sent(session) if self.session(session).is_some());
                Ok(json!({"valid": valid}))
            }
            Read::GetFreeIp(request) => {
                let found = ip_range::free_addresses(states, &request)?;
                let inventories: Vec<Value> = found
                    .into_iter()
                    .map(|(range, ip, bounds)| {
                        json!({"ipRangeUuid": range, "ip": ip, "netmask": bounds.netmask(), "gateway": bounds.gateway})
                    })
                    .collect();
                Ok(json!({ "inventories": inventories }))
            }
            Read::CheckIpAvailability(request) => {
                let mut reason = ip_range::availability(states, &request)?;
                let mut holder = None;
                if reason.is_none() && request.arp_check == Some(true) {
                    let l2 = ip_range::l2_network_of(states, request.l3_network_uuid)?;
                    let IpAddr::V4(ip) = request.ip else {
                        return Err(Refusal::not_supported(format!("arpCheck of the IPv6 address {}", request.ip)));
                    };
                    holder = self.reconcilers.who_answers(l2, ip).await;
                    reason = holder.map(|_| "used");
                }
                let mut reply = json!({"available": reason.is_none(), "reason": reason});
                if let Some(mac) = holder {
                    reply["mac"] = json!(mac);
                }
                Ok(reply)
            }
            Read::GetIpAddressCapacity(request) => {
                let ip_range::Capacities { kind, all, each } = ip_range::capacity(states, &request, seen())?;
                let parts = each.into_iter().map(|(id, own)| counted(&own, ("resourceUuid", json!(id))));
                let parts: Vec<Value> = parts.collect();
                let mut reply = counted(&all, ("resourceType", json!(kind)));
                reply["capacityData"] = json!(parts);
                Ok(reply)
            }
            Read::GetL3NetworkIpStatistic(request) => self.ip_statistic(states, account, &request).await,
            Read::GetGlobalConfigOptions(request) => {
                let entry = global_config::known(&request.category, &request.name)?;
                Ok(json!({ "options": options_of(&entry.check) }))
            }
            Read::GetResourceConfig(request) => {
                self.resource_config((states, account), &request.category, &request.name, request.resource_uuid).await
            }
            Read::GetResourceConfigs(request) => {
                let mut configs = Vec::new();
                for name in &request.names {
                    let mut config =
                        self.resource_config((states, account), &request.category, name, request.resource_uuid).await?;
                    config["name"] = json!(name);
                    configs.push(config);
                }
                Ok(json!({ "configs": configs }))
            }
            Read::GetResourceBindableConfig(request) => {
                let of = |entry: &&ConfigEntry| request.category.as_ref().is_none_or(|asked| asked == entry.category);
                let bindable = GLOBAL_CONFIGS.iter().filter(|entry| !entry.bindable.is_empty()).filter(of);
                let shown = bindable.map(|entry| {
                    json!({
                        "category": entry.category, "name": entry.name, "description": entry.description,
                        "bindResourceTypes": entry.bindable,
                    })
                });
                Ok(json!({ "bindableConfigs": shown.collect::<Vec<_>>() }))
            }
            Read::GetL3NetworkMtu(request) => Ok(json!({"mtu": l3_network::mtu_of(states, request.l3_network_uuid)?})),
            Read::GetVmHostname(request) => Ok(json!({"hostname": vm_instance::hostname(states, request.uuid)?})),
            Read::GetVmAttachableL3Network(request) => {
                self.shown(
                    account,
                    "QueryL3Network",
                    vm_instance::attachable_networks(states, request.vm_instance_uuid)?,
                )
                .await
            }
            Read::GetCandidateL3NetworksForChangeVmNicNetwork(request) => {
                self.shown(account, "QueryL3Network", vm_instance::change_candidates(states, request.vm_nic_uuid)?)
                    .await
            }
            Read::GetAttachablePublicL3ForVRouter(request) => {
                self.shown(
                    account,
                    "QueryL3Network",
                    router::attachable_public_networks(states, request.vm_instance_uuid)?,
                )
                .await
            }
            Read::GetL3NetworkRouterInterfaceIp(request) => {
                let ip = l3_network::router_interface_ip_of(states, request.l3_network_uuid)?;
                Ok(json!({ "routerInterfaceIp": ip }))
            }
            Read::GetL3NetworkDhcpIpAddress(request) => {
                let ip = l3_network::dhcp_server_of(states, request.l3_network_uuid)?;
                Ok(json!({ "ip": ip }))
            }
            Read::CheckVipPortAvailability(request) => {
                let taken = vip::ports_in_use(states, request.vip_uuid, &request.protocol_type)?;
                let free = !taken.iter().any(|(first, last)| (*first..=*last).contains(&request.port));
                Ok(json!({ "available": free }))
            }
            Read::GetVipAvailablePort(request) => {
                let taken = vip::ports_in_use(states, request.vip_uuid, &request.protocol_type)?;
                let free = |port: &u16| !taken.iter().any(|(first, last)| (*first..=*last).contains(port));
                let (start, limit) = (request.start.unwrap_or(0) as usize, request.limit.unwrap_or(1000) as usize);
                let ports: Vec<u16> = (1..=u16::MAX).filter(free).skip(start).take(limit).collect();
                Ok(json!({ "availablePort": ports }))
            }
            Read::GetVipQos(request) => Ok(json!({ "inventories": vip::qos::of(states, request.uuid)? })),
            Read::GetEipAttachableVmNics(request) => {
                self.shown(account, "QueryVmNic", eip::attachable_nics(states, &request)?).await
            }
            Read::GetVmNicAttachableEips(request) => {
                self.shown(account, "QueryEip", eip::attachable_eips(states, &request)?).await
            }
            Read::GetPortForwardingAttachableVmNics(request) => {
                self.shown(account, "QueryVmNic", port_forwarding::attachable_nics(states, request.rule_uuid)?).await
            }
            Read::GetNetworkServiceTypes(_) => Ok(json!({"types": network_service_provider::offered(states)?})),
            Read::GetCandidateVmNicForSecurityGroup(request) => {
                self.shown(account, "QueryVmNic", security_group::candidates(states, request.security_group_uuid)?)
                    .await
            }
            Read::ValidateSecurityGroupRule(request) => {
                let (code, reason) = security_group::validate(states, &request)?;
                Ok(json!({"available": reason.is_none(), "code": code, "reason": reason}))
            }
            Read::GetL2NetworkTypes(_) => Ok(json!({"types": ["L2NoVlanNetwork", "L2VlanNetwork"]})),
            Read::GetVSwitchTypes(_) => Ok(json!({"types": ["LinuxBridge"]})),
            Read::GetCandidateClustersForAttachingL2Network(request) => {
                let types = request.cluster_types.unwrap_or_default();
                let found = l2_network::candidate_clusters(states, request.l2_network_uuid)?;
                // There are clusters of no other type.
                let found = if types.is_empty() || types.iter().any(|word| word == "zstack") { found } else { vec![] };
                self.shown(account, "QueryCluster", found).await
            }
            Read::GetCandidateL2NetworksForAttachingCluster(request) => {
                let found = l2_network::candidates_for(states, request.cluster_uuid)?;
                self.shown(account, "QueryL2Network", found).await
            }
            Read::GetL3NetworkTypes(_) => Ok(json!({"types": ["L3BasicNetwork"]})),
            Read::GetVirtualRouterConfig(request) if hidden.contains(&request.uuid.0) => {
                let at = self.history().moment_or_now("at", request.at.as_ref())?;
                Err(history::no_router_at("uuid", request.uuid, at))
            }
            Read::GetVirtualRouterDiff(request) if hidden.contains(&request.uuid.0) => {
                self.history().span(&request.from, request.to.as_ref())?;
                Err(Refusal::not_found("uuid", "virtual router", request.uuid))
            }
            Read::GetVirtualRouterExplanation(request) if hidden.contains(&request.uuid.0) => {
                let at = self.history().moment_or_now("at", request.at.as_ref())?;
                Err(history::no_router_at("uuid", request.uuid, at))
            }
            Read::GetVirtualRouterExplanation(request) if account.is_some() => {
                let (history, states) = (self.history(), self.states().clone());
                history::blocking("explain a packet", move || {
                    let foreign = |ids: &BTreeSet<Id>| match account {
                        Some(account) => ownership::foreign(&states, account, ids),
                        None => Ok(BTreeSet::new()),
                    };
                    history.explain(&request, &foreign)
                })
                .await
            }
            Read::GetVirtualRouterDrift(GetVirtualRouterDrift { uuid })
            | Read::GetVirtualRouterCounters(GetVirtualRouterCounters { uuid })
                if hidden.contains(&uuid.0) =>
            {
                Err(Refusal::not_found("uuid", "virtual router", uuid))
            }
            Read::GetAccountQuotaUsage(request) => {
                let usages = ownership::usage(states, request.uuid)?;
                let usages =
                    usages.into_iter().map(|(name, total, used)| json!({"name": name, "total": total, "used": used}));
                Ok(json!({"usages": usages.collect::<Vec<_>>()}))
            }
            Read::GetVirtualRouterDrift(request) => self.router_drift(request.uuid).await,
            Read::GetVirtualRouterCounters(request) => self.router_counters(request.uuid, account).await,
            Read::GetAgentToken(request) => match self.fleet.token(request.address) {
                Ok(token) => Ok(json!({ "token": token })),
                Err(error) => Err(Refusal::operation(format!("{error:#}"))),
            },
            Read::ReplayResource(request) => {
                let history = self.history();
                let at = history.moment_or_now("at", request.at.as_ref())?;
                history.replay_resource(request.uuid, at, |stream| states.load(stream).ok())
            }
            past => self.history().read(past).await,
        }
    }

    /// The value that holds for a resource, and the inventories of the values around it, the nearest first.
    async fn resource_config(
        &self,
        (states, account): (&States, Option<AccountId>),
        category: &str,
        name: &str,
        resource: Id,
    ) -> Result<Value, Refusal> {
        let (value, holders) = {
            let facts = states.facts();
            resource_config::effective(&facts, category, name, resource)?
        };
        let rows: Vec<String> =
            holders.iter().map(|holder| resource_config::row_id(*holder, category, name).to_string()).collect();
        let mut configs = self.those(account, "QueryResourceConfig", "uuid", &rows, &[]).await?;
        configs.sort_by_cached_key(|config| rows.iter().position(|row| config["uuid"] == row.as_str()));
        Ok(json!({ "value": value, "effectiveConfigs": configs }))
    }

    /// The page that is asked for, in its order: of the addresses from the ranges, of the times from the inventories.
    async fn ip_statistic(
        &self,
        states: &States,
        account: Option<AccountId>,
        request: &GetL3NetworkIpStatistic,
    ) -> Result<Value, Refusal> {
        let l3 = request.l3_network_uuid;
        let descending = request.sort_direction.as_deref() == Some("desc");
        let (start, limit) = (request.start.unwrap_or(0), request.limit.unwrap_or(20));
        let page = (start as usize, limit as usize);
        let part = request.ip.as_ref().map(|part| part.to_ascii_lowercase());
        let part = part.as_deref();
        if let Some(bad) = part.filter(|part| !part.bytes().all(|c| c.is_ascii_hexdigit() || matches!(c, b'.' | b':')))
        {
            return Err(Refusal::argument("ip", bad, "a part of an IP address: hexadecimal digits, dots and colons"));
        }
        let vips = ip_range::of_vips(states, l3)?;
        let whose = request.resource_type.as_deref().unwrap_or("All");
        let wanted = |ip: IpAddr| {
            part.is_none_or(|part| ip.to_string().contains(part))
                && (whose == "All" || vips.contains_key(&ip) == (whose == "VIP"))
        };
        let all = part.is_none() && whose == "All";
        let wanted: Option<&dyn Fn(IpAddr) -> bool> = if all { None } else { Some(&wanted) };
        let (ips, total) = ip_range::used_addresses(states, l3, wanted, descending, page)?;
        let (total, rows) = if request.sort_by.as_deref() == Some("CreateTime") {
            let mut q = vec![format!("l3NetworkUuid={l3}")];
            q.extend(part.map(|part| format!("ip~=%{part}%")));
            match whose {
                "VIP" => q.push("usedFor=VIP".to_string()),
                "VM" => q.push("vmNicUuid!=null".to_string()),
                _ => {}
            }
            let sort = Some(if descending { "-createDate" } else { "+createDate" }.to_string());
            let name = "QueryIpAddress".to_string();
            let query =
                QueryRequest { name, q, sort, start: start.into(), limit: Some(limit.into()), ..Default::default() };
            (total, self.history().query(query, account).await?.rows())
        } else {
            let texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
            let mut rows =
                self.those(account, "QueryIpAddress", "ip", &texts, &[format!("l3NetworkUuid={l3}")]).await?;
            rows.sort_by_cached_key(|row| texts.iter().position(|ip| row["ip"] == ip.as_str()));
            (total, rows)
        };
        let nics = self.those(account, "QueryVmNic", "uuid", &texts_of(&rows, "vmNicUuid"), &[]).await?;
        let owners = texts_of(&nics, "vmInstanceUuid");
        let mut vms = self.those(account, "QueryVmInstance", "uuid", &owners, &[]).await?;
        vms.extend(self.those(account, "QueryVirtualRouterVm", "uuid", &owners, &[]).await?);
        let of_vips = self.those(account, "QueryVip", "usedIpUuid", &texts_of(&rows, "uuid"), &[]).await?;
        let find = |rows: &[Value], uuid: &Value| rows.iter().find(|row| row["uuid"] == *uuid).cloned();
        let statistics = rows.iter().map(|row| {
            let vm = find(&nics, &row["vmNicUuid"]).and_then(|nic| find(&vms, &nic["vmInstanceUuid"]));
            let vm = vm.unwrap_or_default();
            if let Some(vip) = of_vips.iter().find(|vip| vip["usedIpUuid"] == row["uuid"] && vm.is_null()) {
                return json!({
                    "ip": row["ip"], "resourceTypes": ["VIP"], "createDate": row["createDate"], "vipUuid": vip["uuid"],
                    "vipName": vip["name"], "useFor": vip["useFor"], "state": vip["state"],
                });
            }
            let types: &[&str] = if vm.is_null() { &[] } else { &["VM"] };
            json!({
                "ip": row["ip"], "resourceTypes": types, "createDate": row["createDate"], "vmInstanceUuid": vm["uuid"],
                "vmInstanceName": vm["name"], "vmInstanceType": vm["type"], "state": vm["state"],
            })
        });
        let mut reply = json!({ "ipStatistics": statistics.collect::<Vec<_>>() });
        if request.reply_with_count == Some(true) {
            reply["total"] = json!(total);
        }
        Ok(reply)
    }

    /// The inventories of these resources.
    async fn shown(&self, account: Option<AccountId>, name: &str, ids: Vec<Id>) -> Result<Value, Refusal> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Ok(json!({"inventories": self.those(account, name, "uuid", &ids, &[]).await?}))
    }

    /// The inventories whose `field` is one of `values`, at most a thousand.
    pub(super) async fn those(
        &self,
        account: Option<AccountId>,
        name: &str,
        field: &str,
        values: &[String],
        q: &[String],
    ) -> Result<Vec<Value>, Refusal> {
        if values.is_empty() {
            return Ok(vec![]);
        }
        let mut q = q.to_vec();
        q.push(format!("{field}?={}", values.join(",")));
        let query = QueryRequest { name: name.to_string(), q, ..QueryRequest::default() };
        Ok(self.history().query(query, account).await?.rows())
    }

    async fn router_drift(&self, router: RouterId) -> Result<Value, Refusal> {
        let target = self.reconcilers.router_target(router);
        let target = target.ok_or_else(|| Refusal::not_found("uuid", "virtual router", router))?;
        let _permit = self.reconcilers.router_permit(router).await;
        let drift = self.fleet.router_drift(&target).await.map_err(|problem| agent_refusal(&problem))?;
        let mut reply = serde_json::to_value(drift).unwrap_or_default();
        let entry = ("virtualRouter", "drift.policy");
        let policy = resource_config::in_force(&self.states().facts(), entry, "VirtualRouterVmVO", router.0);
        reply["policy"] = json!(policy?);
        Ok(reply)
    }
}

/// The values that a check accepts, in ZStack's words: a list, or the numbers around them.
fn options_of(check: &Check) -> Value {
    match check {
        Check::Enum(words) => json!({"validValue": words}),
        Check::Bool => json!({"validValue": ["true", "false"]}),
        Check::Int(min, max) => {
            json!({"numberGreaterThan": min.saturating_sub(1), "numberLessThan": max.saturating_add(1)})
        }
        _ => json!({}),
    }
}

/// The texts of a field, each once.
fn texts_of(rows: &[Value], field: &str) -> Vec<String> {
    let texts = rows.iter().filter_map(|row| row[field].as_str()).map(str::to_string);
    texts.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// A capacity in the reference's words.
fn counted(capacity: &ip_range::BothFamilies, (field, value): (&str, Value)) -> Value {
    let ip_range::BothFamilies { v4, v6 } = capacity;
    let sum = capacity.sum();
    let mut counted = json!({
        "totalCapacity": sum.total_capacity, "availableCapacity": sum.available_capacity,
        "usedIpAddressNumber": sum.used_ip_address_number,
        "ipv4TotalCapacity": v4.total_capacity, "ipv4AvailableCapacity": v4.available_capacity,
        "ipv4UsedIpAddressNumber": v4.used_ip_address_number,
        "ipv6TotalCapacity": v6.total_capacity, "ipv6AvailableCapacity": v6.available_capacity,
        "ipv6UsedIpAddressNumber": v6.used_ip_address_number,
    });
    counted[field] = value;
    counted
}

pub(super) fn agent_refusal(problem: &AgentProblem) -> Refusal {
    Refusal::new(RefusalKind::Backend, code::BACKEND, problem.to_string())
}
