//! Section K: security groups, their rules and the nics in them.

use crate::harness::{Site, World, id, text, uuid};
use serde_json::{Value, json};
use switchback_events::HostId;

const ADD: &str = "AddSecurityGroupRule";

async fn group(world: &World, name: &str) -> String {
    uuid(&world.make("CreateSecurityGroup", json!({"name": name})).await)
}

fn rules(group: &str, rules: Value) -> Value {
    json!({"securityGroupUuid": group, "rules": rules})
}

fn port(direction: &str, port: usize) -> Value {
    json!({"type": direction, "protocol": "TCP", "dstPortRange": port.to_string()})
}

/// Uuid, port and priority of the rules of one direction that were added, in their order.
async fn order(world: &World, group: &str, direction: &str) -> Vec<(String, String, i64)> {
    let conditions = [format!("securityGroupUuid={group}"), format!("type={direction}"), "priority>0".to_string()];
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    let found = world.query("QuerySecurityGroupRule", &conditions).await;
    let mut found: Vec<_> =
        found.iter().map(|rule| (uuid(rule), text(rule, "dstPortRange"), rule["priority"].as_i64().unwrap())).collect();
    found.sort_by_key(|(.., priority)| *priority);
    found
}

#[actix_rt::test]
async fn k1_duplicate_and_ill_formed_rules_are_refused() {
    let world = World::new();
    let (one, other, third) = (group(&world, "one").await, group(&world, "other").await, group(&world, "third").await);
    let all = |extra: Value| {
        let mut rule = json!({"type": "Ingress", "protocol": "ALL"});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        rule
    };
    let egress = |version: u8, range: &str| json!({"type": "Egress", "protocol": "ALL", "ipVersion": version, "dstIpRange": range});
    let tcp = |ports: &str| json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": ports});
    for (rule, field) in [
        (all(json!({"allowedCidr": "192.168.1.0/24", "srcIpRange": "1.1.1.1-1.1.1.10"})), "allowedCidr"),
        (all(json!({"allowedCidr": "192.168.1.0/24", "dstIpRange": "2.2.2.2-2.2.2.20"})), "dstIpRange"),
        (all(json!({"allowedCidr": "192.168.1.0/24", "remoteSecurityGroupUuid": other})), "allowedCidr"),
        (all(json!({"srcIpRange": "1.1.1.1", "remoteSecurityGroupUuid": other})), "srcIpRange"),
        (tcp("1,2,3,4,5,6-7,8-10,11-12"), "dstPortRange"),
        (tcp("1,2-2,3-4"), "dstPortRange"),
        (tcp("100-200,300,400-500,"), "dstPortRange"),
        (tcp("1,2,3,4,5,6,7,8,9,10,11"), "dstPortRange"),
        (tcp("0"), "dstPortRange"),
        (tcp(""), "dstPortRange"),
        (all(json!({"dstPortRange": "80"})), "dstPortRange"),
        (json!({"type": "Ingress", "protocol": "ICMP", "startPort": 8}), "startPort"),
        (json!({"type": "Ingress", "protocol": "TCP", "endPort": 8}), "endPort"),
        (json!({"type": "Ingress", "protocol": "TCP", "startPort": 9, "endPort": 8}), "startPort"),
        (json!({"type": "Ingress", "protocol": "TCP", "startPort": 9, "dstPortRange": "8"}), "dstPortRange"),
        (json!({"type": "Egress", "protocol": "ALL", "srcIpRange": "1.1.1.1"}), "srcIpRange"),
        (egress(4, "2023:1:1:1::/64"), "dstIpRange"),
        (egress(6, "2001:db8:2de::e13,2001:db8:2de::e14-2001:db8:2de::e15"), "dstIpRange"),
        (egress(6, "172.16.90.157"), "dstIpRange"),
        (egress(4, "1.1.1.1-1.1.1.10,,2.2.2.2,3.3.3.0/24"), "dstIpRange"),
        (egress(4, "1.1.1.1-1.1.1.10,2.2.2.2,3.3.3.0/24,"), "dstIpRange"),
        (egress(4, ",1.1.1.1-1.1.1.10,2.2.2.2"), "dstIpRange"),
        (egress(4, "1.1.1.10-1.1.1.1"), "dstIpRange"),
        (egress(4, "1.1.1.1; drop"), "dstIpRange"),
        (
            egress(4, "1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9,1.1.2.1,1.1.2.2"),
            "dstIpRange",
        ),
        (egress(5, "1.1.1.1"), "ipVersion"),
        (all(json!({"allowedCidr": "192.168.1.1"})), "allowedCidr"),
        (json!({"type": "Engress", "protocol": "ALL"}), "type"),
        (json!({"type": "Ingress", "protocol": "SCTP"}), "protocol"),
    ] {
        let head = world.head();
        let refusal = world.refused(ADD, rules(&one, json!([rule]))).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_deref()),
            ("SYS.1007", Some(format!("rules[0].{field}").as_str())),
            "{rule}: {refusal}"
        );
        assert_eq!(world.head(), head, "{rule}");
    }
    let mut twice = rules(&one, json!([all(json!({"remoteSecurityGroupUuid": third}))]));
    twice["remoteSecurityGroupUuids"] = json!([other]);
    assert_eq!(world.refused(ADD, twice).await.field.as_deref(), Some("rules[0].remoteSecurityGroupUuid"));

    // What is said already, in whichever words.
    let said =
        json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": "80,443", "srcIpRange": "10.0.0.0/24,10.1.0.1"});
    world.done(ADD, rules(&one, json!([said, port("Egress", 22)]))).await;
    for again in [
        json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": "443,80", "srcIpRange": "10.1.0.1,10.0.0.9/24"}),
        json!({"type": "Egress", "protocol": "TCP", "startPort": 22}),
        json!({"type": "Egress", "protocol": "TCP", "dstPortRange": "22", "dstIpRange": "0.0.0.0/0"}),
        json!({"type": "Ingress", "protocol": "ALL", "remoteSecurityGroupUuid": one}),
    ] {
        let refusal = world.refused(ADD, rules(&one, json!([again]))).await;
        assert!(refusal.detail.contains("says the same"), "{again}: {refusal}");
    }
    let both = rules(&one, json!([port("Egress", 23), port("Egress", 23)]));
    assert_eq!(world.refused(ADD, both).await.field.as_deref(), Some("rules[1].type"));
    // None of these has left anything behind.
    assert_eq!(world.query("QuerySecurityGroupRule", &[&format!("securityGroupUuid={one}")]).await.len(), 4 + 2);
}

#[actix_rt::test]
async fn k2_rules_left_after_a_delete_are_numbered_anew() {
    let world = World::new();
    let one = group(&world, "one").await;
    let five: Vec<Value> = (1..=5).map(|n| port("Ingress", n)).collect();
    world.done(ADD, rules(&one, json!(five))).await;
    let before = order(&world, &one, "Ingress").await;
    world.done("DeleteSecurityGroupRule", json!({"ruleUuids": [before[0].0, before[3].0]})).await;
    let after = order(&world, &one, "Ingress").await;
    let ports: Vec<(&str, i64)> = after.iter().map(|(_, port, priority)| (port.as_str(), *priority)).collect();
    assert_eq!(ports, [("2", 1), ("3", 2), ("5", 3)]);
    // What is gone is deleted already; what every group has stays.
    let head = world.head();
    world.done("DeleteSecurityGroupRule", json!({"ruleUuids": [before[0].0]})).await;
    assert_eq!(world.head(), head);
    let fixed = world.query("QuerySecurityGroupRule", &[&format!("securityGroupUuid={one}"), "priority=0"]).await;
    assert_eq!(fixed.len(), 4);
    let refusal = world.refused("DeleteSecurityGroupRule", json!({"ruleUuids": [fixed[0]["uuid"]]})).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains(&uuid(&fixed[0])), "{refusal}");
}

#[actix_rt::test]
async fn k4_priorities_change_all_at_once_or_not_at_all() {
    let world = World::new();
    let one = group(&world, "one").await;
    let five: Vec<Value> = (1..=5).map(|n| port("Egress", n)).collect();
    world.done(ADD, rules(&one, json!(five))).await;
    world.done(ADD, rules(&one, json!([port("Ingress", 1)]))).await;
    let before = order(&world, &one, "Egress").await;
    let ask = |places: Vec<(&str, i64)>| {
        let places: Vec<Value> =
            places.iter().map(|(rule, priority)| json!({"ruleUuid": rule, "priority": priority})).collect();
        json!({"securityGroupUuid": one, "type": "Egress", "rules": places})
    };
    let at = |n: usize| before[n].0.as_str();
    let inner = order(&world, &one, "Ingress").await[0].0.clone();
    for bad in [
        ask(vec![(at(0), 2), (at(1), 1)]),
        ask(vec![(at(0), 1), (at(1), 1), (at(2), 3), (at(3), 4), (at(4), 5)]),
        ask(vec![(at(0), 1), (at(0), 2), (at(2), 3), (at(3), 4), (at(4), 5)]),
        ask(vec![(at(0), 6), (at(1), 2), (at(2), 3), (at(3), 4), (at(4), 5)]),
        ask(vec![(&inner, 1), (at(1), 2), (at(2), 3), (at(3), 4), (at(4), 5)]),
    ] {
        let refusal = world.refused("UpdateSecurityGroupRulePriority", bad.clone()).await;
        assert_eq!(refusal.code, "SYS.1007", "{bad}: {refusal}");
    }
    assert_eq!(order(&world, &one, "Egress").await, before);
    let reversed = ask((0..5).map(|n| (at(n), 5 - n as i64)).collect());
    world.done("UpdateSecurityGroupRulePriority", reversed).await;
    let after: Vec<String> = order(&world, &one, "Egress").await.into_iter().map(|(_, port, _)| port).collect();
    assert_eq!(after, ["5", "4", "3", "2", "1"]);
}

#[actix_rt::test]
async fn k5_many_rules_at_once_have_consecutive_priorities() {
    let world = World::new();
    let (batch, many) = (group(&world, "batch").await, group(&world, "many").await);
    let hundred: Vec<Value> = (1..=100).map(|n| port("Ingress", n)).collect();
    let mut first = rules(&batch, json!(hundred));
    first["priority"] = json!(1);
    world.done(ADD, first).await;
    let numbers = |found: Vec<(String, String, i64)>| found.into_iter().map(|(.., n)| n).collect::<Vec<_>>();
    assert_eq!(numbers(order(&world, &batch, "Ingress").await), (1..=100).collect::<Vec<i64>>());
    let refusal = world.refused(ADD, rules(&batch, json!([port("Ingress", 101)]))).await;
    assert!(refusal.code == "SYS.1007" && refusal.detail.contains("at most 100"), "{refusal}");

    let fifty = (1..=50).map(|n| {
        let mut one = rules(&many, json!([port("Ingress", n)]));
        one["priority"] = json!(1);
        (ADD, one)
    });
    for answer in world.at_once(fifty.collect()).await {
        answer.unwrap();
    }
    let found = order(&world, &many, "Ingress").await;
    assert_eq!(numbers(found), (1..=50).collect::<Vec<i64>>());
}

/// Two VMs on two hosts, on a network where hosts filter; their nics.
async fn two_nics(world: &World) -> [Value; 2] {
    let site = Site::new(world).await;
    let l3 = site.guest("guest", &["DHCP", "DNS"]).await;
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"SecurityGroup": ["SecurityGroup"]}});
    world.done("AttachNetworkServiceToL3Network", services).await;
    let mut nics = Vec::new();
    for (name, host) in [("a", 0), ("b", 1)] {
        let vm = json!({"name": name, "l3NetworkUuids": [l3], "hostUuid": site.hosts[host]});
        nics.push(world.make("CreateVmInstance", vm).await["vmNics"][0].clone());
    }
    nics.try_into().unwrap()
}

#[actix_rt::test]
async fn k7_a_nics_default_policy_can_be_changed() {
    let world = World::new();
    let [nic, _] = two_nics(&world).await;
    let one = group(&world, "one").await;
    world.done("AddVmNicToSecurityGroup", json!({"securityGroupUuid": one, "vmNicUuids": [nic["uuid"]]})).await;
    let condition = format!("vmNicUuid={}", uuid(&nic));
    let policy = world.one("QueryVmNicSecurityPolicy", &[&condition]).await;
    assert_eq!((text(&policy, "ingressPolicy"), text(&policy, "egressPolicy")), ("DENY".into(), "ALLOW".into()));
    let change = json!({"vmNicUuid": nic["uuid"], "ingressPolicy": "ALLOW", "egressPolicy": "DENY"});
    let made = world.make("ChangeVmNicSecurityPolicy", change).await;
    let policy = world.one("QueryVmNicSecurityPolicy", &[&condition]).await;
    assert_eq!(made, policy);
    assert_eq!((text(&policy, "ingressPolicy"), text(&policy, "egressPolicy")), ("ALLOW".into(), "DENY".into()));
}

#[actix_rt::test]
async fn k8_rules_that_name_other_groups_reach_the_hosts() {
    let world = World::new();
    let [a, b] = two_nics(&world).await;
    let (one, other) = (group(&world, "one").await, group(&world, "other").await);
    let put = |group: &str, nic: &Value| json!({"securityGroupUuid": group, "vmNicUuids": [nic["uuid"]]});
    world.done("AddVmNicToSecurityGroup", put(&one, &a)).await;
    let mut named = rules(&one, json!([port("Ingress", 80), port("Egress", 81)]));
    named["remoteSecurityGroupUuids"] = json!([other]);
    world.done(ADD, named).await;
    let host = text(&world.one("QueryVmInstance", &["name=a"]).await, "hostUuid");
    let filters = || world.fleet().host_sections(HostId(id(&host)))["security"].clone();
    let rule = filters()["groups"][&one]["ingress"].as_array().unwrap().last().cloned().unwrap();
    assert_eq!((&rule["remoteGroup"], &rule["ports"]), (&json!(other), &json!(["80"])), "{rule}");
    assert_eq!(filters()["members"][&other], json!([]));
    // Whoever joins the other group on another host is known here with the reply.
    world.done("AddVmNicToSecurityGroup", put(&other, &b)).await;
    assert_eq!(filters()["members"][&other], json!([b["ip"]]));
    world.done("DeleteVmNicFromSecurityGroup", put(&other, &b)).await;
    assert_eq!(filters()["members"][&other], json!([]));
    assert_eq!(filters()["nics"][text(&a, "internalName")]["groups"], json!([one]));
}
