//! The matrix of rights: every message of the catalogue, by both ways over HTTP, asked by nobody, by an account, by one
//! whose role allows it or does not, and by an administrator; and every id that a message may name, as one's own, shared, foreign and absent. What is expected
//! follows from the catalogue, so a new message is asked without a line here; what it only uses stands in [`USED`].

use crate::harness::{Site, World, uuid};
use crate::ownership::{Tenant, share};
use actix_web::{
    App,
    body::to_bytes,
    dev::Service,
    http::Method,
    test::{TestRequest, init_service},
};
use serde_json::{Map, Value, json};
use std::{cell::Cell, collections::BTreeSet, net::Ipv4Addr, sync::Arc};
use switchback_bus::{Access, Caller, Check, Message, MessageKind, Refusal, is_for_new, messages};
use switchback_events::Id;
use switchback_gateway::{Credentials, Gateway, Tokens};

/// Parameters of commands by which something is only used: what is shared may stand there.
const USED: &[(&str, &str)] = &[
    ("CreateL3Network", "l2NetworkUuid"),
    ("CreateVip", "l3NetworkUuid"),
    ("CreateEip", "vipUuid"),
    ("CreateEip", "vmNicUuid"),
    ("CreateEip", "usedIpUuid"),
    ("AttachEip", "vmNicUuid"),
    ("AttachEip", "usedIpUuid"),
    ("CreatePortForwardingRule", "vipUuid"),
    ("CreatePortForwardingRule", "vmNicUuid"),
    ("AttachPortForwardingRule", "vmNicUuid"),
    ("CreateLoadBalancer", "vipUuid"),
    ("AddVmNicToLoadBalancer", "vmNicUuids"),
    ("RemoveVmNicFromLoadBalancer", "vmNicUuids"),
    ("RemoveBackendServerFromServerGroup", "vmNicUuids"),
    ("CreateLoadBalancerListener", "certificateUuid"),
    ("AddCertificateToLoadBalancerListener", "certificateUuid"),
    ("RemoveCertificateFromLoadBalancerListener", "certificateUuid"),
    ("CreateLoadBalancerListener", "aclUuids"),
    ("AddAccessControlListToLoadBalancer", "aclUuids"),
    ("AddAccessControlListToLoadBalancer", "serverGroupUuids"),
    ("RemoveAccessControlListFromLoadBalancer", "aclUuids"),
    ("RemoveAccessControlListFromLoadBalancer", "serverGroupUuids"),
    ("ChangeAccessControlListServerGroup", "aclUuid"),
    ("ChangeAccessControlListServerGroup", "serverGroupUuids"),
    // It is an entry of the list that is named with it.
    ("RemoveAccessControlListEntry", "uuid"),
    ("AddServerGroupToLoadBalancerListener", "serverGroupUuid"),
    ("RemoveServerGroupFromLoadBalancerListener", "serverGroupUuid"),
    ("CreateVip", "ipRangeUuid"),
    ("CreateVmInstance", "l3NetworkUuids"),
    ("CreateVmInstance", "defaultL3NetworkUuid"),
    ("CreateVmInstance", "zoneUuid"),
    ("CreateVmInstance", "clusterUuid"),
    ("CreateVmInstance", "hostUuid"),
    ("ReplaceVirtualRouter", "hostUuid"),
    ("CreateVmInstance", "imageUuid"),
    ("CreateVmInstance", "instanceOfferingUuid"),
    ("AttachL3NetworkToVm", "l3NetworkUuid"),
    ("ChangeVmNicNetwork", "destL3NetworkUuid"),
    ("SetVmStaticIp", "l3NetworkUuid"),
    ("DeleteVmStaticIp", "l3NetworkUuid"),
    ("AddSecurityGroupRule", "remoteSecurityGroupUuids"),
    ("ChangeSecurityGroupRule", "remoteSecurityGroupUuid"),
    // They are rules of the group that is named with them.
    ("ChangeSecurityGroupRuleState", "ruleUuids"),
    // Who may use a group puts nics of his own into it.
    ("AddVmNicToSecurityGroup", "securityGroupUuid"),
    ("DeleteVmNicFromSecurityGroup", "securityGroupUuid"),
    ("AttachSecurityGroupToL3Network", "l3NetworkUuid"),
    ("DetachSecurityGroupFromL3Network", "l3NetworkUuid"),
    // No account is shared.
    ("CreateAccessKey", "accountUuid"),
    ("CreateAccessKey", "userUuid"),
    ("CreateApiToken", "accountUuid"),
    // Addresses are looked for on the network that is named with them.
    ("DeleteIpAddress", "usedIpUuids"),
];
/// Reads that only the owner is answered.
const OWNERS_READS: &[&str] = &["GetL3NetworkIpStatistic"];
/// Whom something is shared with is named, and not looked at.
const NAMED_ONLY: &str = "accountUuids";

struct Doors(Vec<Caller>);

impl Tokens for Doors {
    fn caller(&self, credentials: &Credentials<'_>) -> Result<Caller, Refusal> {
        let Credentials::Token(token) = credentials else { return Err(Caller::unknown()) };
        let known = self.0.iter().find(|caller| caller.name == *token).cloned();
        known.map(|caller| Caller { unlimited: true, ..caller }).ok_or_else(Caller::unknown)
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        let problem = if self.body["error"].is_object() { &self.body["error"] } else { &self.body };
        problem["code"].as_str().unwrap_or_default()
    }

    fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code() == code
    }

    /// Without what is another one each time, and with one id for another.
    fn alike(&self, id: &str, instead: &str) -> Answer {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(map) => {
                    map.retain(|key, _| !matches!(key.as_str(), "commandId" | "position" | "globalErrorCode"));
                    map.values_mut().for_each(strip);
                }
                Value::Array(list) => list.iter_mut().for_each(strip),
                _ => {}
            }
        }
        let mut body: Value = serde_json::from_str(&self.body.to_string().replace(id, instead)).unwrap();
        strip(&mut body);
        Answer { status: self.status, body }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Native,
    Zstack,
}

/// All that the message needs, with `id` wherever one is asked for, unless `named` says another one for a parameter.
fn parameters(message: &Message, id: &str, named: Option<(&str, &str)>) -> Map<String, Value> {
    let mut map = Map::new();
    for parameter in message.parameters {
        let name = parameter.api_name();
        let own = named.filter(|(own, _)| *own == name).map(|(_, id)| id);
        if parameter.required || own.is_some() || message.path.contains(&format!("{{{name}}}")) {
            map.insert(name, parameter.check.example(own.unwrap_or(id)));
        }
    }
    map
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn url(path: &str, parameters: &Map<String, Value>) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", text(value).replace('+', "%2B")));
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// A message as a request; none where the way does not know it.
fn request(way: Way, message: &Message, mut parameters: Map<String, Value>) -> Option<TestRequest> {
    let name = message.name;
    if way == Way::Native {
        return Some(match message.kind {
            MessageKind::Command => {
                let dry = TestRequest::post().uri(&format!("/v1/commands/{name}?dryRun=true"));
                dry.set_json(Value::Object(parameters))
            }
            _ => TestRequest::get().uri(&url(&format!("/v1/queries/{name}"), &parameters)),
        });
    }
    if message.path.is_empty() {
        return None;
    }
    let mut path = format!("/zstack/v1{}", message.path);
    for (name, value) in parameters.clone() {
        let place = format!("{{{name}}}");
        if path.contains(&place) {
            path = path.replace(&place, &text(&value));
            parameters.remove(&name);
        }
    }
    let method: Method = message.method.parse().unwrap();
    let request = TestRequest::default().method(method.clone());
    Some(match method {
        Method::POST => request.uri(&path).set_json(json!({"params": parameters})),
        Method::PUT => {
            let key = format!("{}{}", name[..1].to_ascii_lowercase(), &name[1..]);
            request.uri(&path).set_json(json!({key: parameters}))
        }
        _ => request.uri(&url(&path, &parameters)),
    })
}

/// What a tenant has, one of each kind.
async fn belongings(tenant: &Tenant, l2: &str, cidr: &str) -> Vec<String> {
    let l3 = tenant.network(l2, cidr).await;
    let vm = tenant.vm(&l3).await;
    let tag = json!({"resourceType": "VmInstanceVO", "resourceUuid": uuid(&vm), "tag": "t"});
    let tag = uuid(&tenant.make("CreateUserTag", tag).await);
    let first = cidr.replace(".0/24", ".200");
    let reserved = json!({"l3NetworkUuid": l3, "startIp": first, "endIp": first});
    let reserved = uuid(&tenant.make("AddReservedIpRange", reserved).await);
    let router = uuid(&tenant.world.router_of(&l3).await);
    let vip = uuid(&tenant.make("CreateVip", json!({"name": "own", "l3NetworkUuid": l3})).await);
    let eip = uuid(&tenant.make("CreateEip", json!({"name": "own", "vipUuid": vip})).await);
    let vip = uuid(&tenant.make("CreateVip", json!({"name": "own", "l3NetworkUuid": l3})).await);
    let rule = json!({"name": "own", "vipUuid": vip, "vipPortStart": 80, "protocolType": "TCP"});
    let rule = uuid(&tenant.make("CreatePortForwardingRule", rule).await);
    let on_it = format!("l3NetworkUuid={l3}");
    let range = tenant.found("QueryIpRange", &[&on_it]).await.remove(0);
    let address = tenant.found("QueryIpAddress", &[&on_it]).await.remove(0);
    let group = tenant.make("CreateSecurityGroup", json!({"name": "own"})).await;
    let (of_group, group) = (uuid(&group["rules"][0]), uuid(&group));
    vec![l3, uuid(&vm), uuid(&vm["vmNics"][0]), range, reserved, tag, router, address, vip, eip, rule, group, of_group]
}

#[actix_rt::test]
async fn every_message_by_every_role_of_what_is_own_shared_foreign_and_absent() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let carol = Tenant::new(&world, "carol").await;
    let l2 = site.l2("tenants").await;
    let (one, other) = (site.network("one", "10.7.0.0/24").await, site.network("other", "10.8.0.0/24").await);
    share(&world, &[&l2], &[&bob, &eve]).await;
    let shared = [l2.clone(), one, site.offering.clone(), site.image.clone()];
    share(&world, &shared.each_ref().map(String::as_str), &[&bob]).await;
    let own = belongings(&bob, &l2, "10.50.0.0/24").await;
    let mut foreign = belongings(&eve, &l2, "10.51.0.0/24").await;
    let policy = json!({"name": "p", "statements": [{"effect": "Allow", "actions": ["*"]}]});
    let policy = uuid(&world.make("CreatePolicy", policy).await);
    let role = uuid(&world.make("CreateRole", json!({"name": "r", "policyUuids": [policy]})).await);
    world.done("AttachRoleToAccount", json!({"roleUuid": role, "accountUuid": eve.uuid})).await;
    foreign.extend([policy, role]);
    let of_admin = [other, site.zone.clone(), site.cluster.clone(), site.hosts[0].clone(), eve.uuid.clone()];
    foreign.extend(of_admin);
    let absent = Id::of_name("absent").to_string();

    let callers = vec![Caller::administrator("admin"), bob.caller.clone(), eve.caller.clone(), carol.caller.clone()];
    let gateway = Gateway::new(world.node.clone(), Arc::new(Doors(callers)));
    let app = init_service(App::new().configure(|config| gateway.configure(config))).await;
    // Each stranger is another, so that none asks too much.
    let strangers = Cell::new(0u32);
    let ask = async |token: &str, request: TestRequest| {
        let request = match token {
            "" => {
                strangers.update(|before| before + 1);
                request.peer_addr((Ipv4Addr::from(0x0a00_0000 + strangers.get()), 4000).into())
            }
            token => request.insert_header(("Authorization", format!("OAuth {token}"))),
        };
        let (status, bytes) = match app.call(request.to_request()).await {
            Ok(response) => (response.status().as_u16(), to_bytes(response.into_body()).await.ok()),
            Err(error) => {
                let response = error.as_response_error().error_response();
                (response.status().as_u16(), to_bytes(response.into_body()).await.ok())
            }
        };
        Answer { status, body: serde_json::from_slice(&bytes.unwrap()).unwrap_or_default() }
    };
    let mut faults: Vec<String> = Vec::new();
    let outside = || messages().filter(|message| !message.internal);

    // Who may send what at all.
    for message in outside() {
        for way in [Way::Native, Way::Zstack] {
            for token in ["", "bob", "admin"] {
                let Some(request) = request(way, message, parameters(message, &absent, None)) else { continue };
                let answer = ask(token, request).await;
                let expected = match (message.access, token) {
                    (Access::Anyone, _) | (_, "admin") | (Access::Account, "bob") => None,
                    (_, "") => Some((401, "ID.1002")),
                    _ => Some((403, "ID.1001")),
                };
                let well = match expected {
                    // ZStack's clients read the code.
                    Some((status, code)) => answer.is(if way == Way::Zstack { 503 } else { status }, code),
                    None => !matches!(answer.code(), "ID.1001" | "ID.1002") && answer.status != 500,
                };
                if !well {
                    faults.push(format!("{way:?} {} by `{token}`: {expected:?}, not {answer:?}", message.name));
                }
            }
        }
    }

    // The same of an account with a role that has the message only, and with one that has all others.
    for message in outside() {
        let only = json!([{"effect": "Allow", "actions": [message.name]}]);
        let others = json!([{"effect": "Allow", "actions": ["*"]}, {"effect": "Deny", "actions": [message.name]}]);
        for (allows, statements) in [(true, only), (false, others)] {
            let role = json!({"name": "r", "statements": statements});
            let pair = json!({"roleUuid": uuid(&world.make("CreateRole", role).await), "accountUuid": carol.uuid});
            world.done("AttachRoleToAccount", pair.clone()).await;
            for way in [Way::Native, Way::Zstack] {
                let Some(request) = request(way, message, parameters(message, &absent, None)) else { continue };
                let answer = ask("carol", request).await;
                let sent = match message.access {
                    Access::Anyone => true,
                    Access::Account => allows,
                    Access::Administrator | Access::System => false,
                };
                let well = match sent {
                    false => answer.is(if way == Way::Zstack { 503 } else { 403 }, "ID.1001"),
                    true => !matches!(answer.code(), "ID.1001" | "ID.1002") && answer.status != 500,
                };
                if !well {
                    faults.push(format!("{way:?} {} by a role that allows it: {allows}: {answer:?}", message.name));
                }
            }
            world.done("DetachRoleFromAccount", pair).await;
        }
    }

    // What an account may name.
    let head = world.head();
    for message in outside().filter(|message| message.access == Access::Account && message.kind != MessageKind::Query) {
        for parameter in message.parameters {
            let of_ids = matches!(parameter.check, Check::Uuid | Check::List(Check::Uuid));
            let name = parameter.api_name();
            if !of_ids || name == NAMED_ONLY || is_for_new(message, &name) {
                continue;
            }
            let with = |way, id: &str| request(way, message, parameters(message, &absent, Some((&name, id))));
            let ask = async |way, id: &str| match with(way, id) {
                Some(request) => Some(ask("bob", request).await),
                None => None,
            };
            for way in [Way::Native, Way::Zstack] {
                let Some(nothing) = ask(way, &absent).await else { continue };
                for id in &foreign {
                    let Some(answer) = ask(way, id).await else { continue };
                    let (answer, nothing) = (answer.alike(id, &absent), nothing.alike(id, &absent));
                    if answer != nothing {
                        faults
                            .push(format!("{way:?} {}.{name} foreign: {answer:?}, absent: {nothing:?}", message.name));
                    }
                }
            }
            let changes = match message.kind {
                MessageKind::Command => !USED.contains(&(message.name, name.as_str())),
                _ => OWNERS_READS.contains(&message.name),
            };
            for id in &shared {
                let answer = ask(Way::Native, id).await.unwrap();
                if answer.is(403, "ID.1001") != changes {
                    faults.push(format!("{}.{name} shared, changed by it: {changes}: {answer:?}", message.name));
                }
            }
            for id in own.iter().chain([&bob.uuid]) {
                let answer = ask(Way::Native, id).await.unwrap();
                if matches!(answer.status, 401 | 403) {
                    faults.push(format!("{}.{name} own: {answer:?}", message.name));
                }
            }
        }
    }
    let changes = world.read("GetEvents", json!({"after": head, "limit": 100})).await;
    assert_eq!(world.asked_since(head).await, [""; 0], "something was changed by naming what is foreign: {changes}");

    // What an account finds.
    for message in outside().filter(|message| message.access == Access::Account && message.kind == MessageKind::Query) {
        let (mine, hers) = (bob.query(message.name, &[]).await, eve.query(message.name, &[]).await);
        let ids = |rows: &[Value]| -> BTreeSet<String> {
            rows.iter().filter_map(|row| row["uuid"].as_str().map(str::to_string)).collect()
        };
        let both: Vec<String> = ids(&mine).intersection(&ids(&hers)).cloned().collect();
        let common = message.inventory == "networkServiceProvider";
        if !common && both.iter().any(|id| *id != l2) {
            faults.push(format!("{}: two accounts both see {both:?}", message.name));
        }
        let counted = ask("bob", TestRequest::get().uri(&format!("/v1/queries/{}?count=true", message.name))).await;
        if counted.body["total"].as_u64() != Some(mine.len() as u64) {
            faults.push(format!("{}: {} rows, counted {counted:?}", message.name, mine.len()));
        }
        for id in foreign.iter().filter(|_| !message.path.is_empty()) {
            let one = |id: &str| TestRequest::get().uri(&format!("/zstack/v1{}/{id}", message.path));
            let (answer, nothing) = (ask("bob", one(id)).await, ask("bob", one(&absent)).await);
            if answer.alike(id, &absent) != nothing.alike(id, &absent) {
                faults.push(format!("{} {id}: {answer:?}, not {nothing:?}", message.name));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
