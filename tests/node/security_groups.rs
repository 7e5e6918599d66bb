//! Security groups: what they refuse, what goes with them, and whose they are.

use crate::{
    harness::{Site, World, id, request, text, uuid},
    ownership::Tenant,
};
use serde_json::{Value, json};
use switchback_bus::{Bus, CommandRequest};
use switchback_events::Id;

const ADD: &str = "AddSecurityGroupRule";
const JOIN: &str = "AddVmNicToSecurityGroup";

async fn group(world: &World, name: &str) -> String {
    uuid(&world.make("CreateSecurityGroup", json!({"name": name})).await)
}

async fn filtered(world: &World, l3: &str) {
    let services = json!({"l3NetworkUuid": l3, "networkServices": {"SecurityGroup": ["SecurityGroup"]}});
    world.done("AttachNetworkServiceToL3Network", services).await;
}

fn nics(group: &str, nic: &str) -> Value {
    json!({"securityGroupUuid": group, "vmNicUuids": [nic]})
}

fn tcp(port: usize) -> Value {
    json!({"type": "Ingress", "protocol": "TCP", "dstPortRange": port.to_string()})
}

fn rules(group: &str, rules: Value) -> Value {
    json!({"securityGroupUuid": group, "rules": rules})
}

/// The groups of a nic, in their order.
async fn groups_of(world: &World, nic: &str) -> Vec<String> {
    let mut found = world.query("QueryVmNicInSecurityGroup", &[&format!("vmNicUuid={nic}")]).await;
    found.sort_by_key(|one| one["priority"].as_i64());
    found.iter().map(|one| text(one, "securityGroupUuid")).collect()
}

#[actix_rt::test]
async fn bad_words_are_refused_with_field_and_value_and_leave_no_trace() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (l3, open) = (site.guest("guest", &["DHCP"]).await, site.guest("open", &["DHCP"]).await);
    filtered(&world, &l3).await;
    let nic = uuid(&site.vm("vm", &l3).await["vmNics"][0]);
    let bare = uuid(&site.vm("bare", &open).await["vmNics"][0]);
    let nobody = Id::of_name("nobody").to_string();
    let (one, other) = (group(&world, "one").await, group(&world, "other").await);
    world.done(ADD, rules(&one, json!([tcp(1), tcp(2)]))).await;
    let of = |group: &str| vec![format!("securityGroupUuid={group}"), "type=Ingress".to_string()];
    let conditions = of(&one);
    let found = world.query("QuerySecurityGroupRule", &[&conditions[0], &conditions[1], "priority>0"]).await;
    let fixed = uuid(&world.query("QuerySecurityGroupRule", &[&conditions[0], "priority=0"]).await[0]);
    let rule = uuid(&found[0]);
    let at = |group: &str, priority: i64| json!({"securityGroupUuid": group, "priority": priority});
    let set = |refs: Value| json!({"vmNicUuid": nic, "refs": refs});
    let many: Vec<Value> = (1..=11).map(|n| at(&one, n)).collect();
    let place = |priority: i64| {
        let mut ask = rules(&one, json!([tcp(3)]));
        ask["priority"] = json!(priority);
        ask
    };
    let pair = |l3: &str| json!({"securityGroupUuid": one, "l3NetworkUuid": l3});
    let with_remote = |remote: &str| {
        let mut rule = tcp(9);
        rule["remoteSecurityGroupUuid"] = json!(remote);
        rules(&one, json!([rule]))
    };
    let mut remotes = rules(&one, json!([tcp(9)]));
    remotes["remoteSecurityGroupUuids"] = json!([nobody]);
    let (bad, missing, wrong) = ("SYS.1007", "SYS.1003", "SYS.1006");
    for (command, parameters, code, field, value) in [
        ("CreateSecurityGroup", json!({"name": "x", "ipVersion": 5}), bad, "ipVersion", "5"),
        ("UpdateSecurityGroup", json!({"uuid": nobody, "name": "x"}), missing, "uuid", &nobody),
        ("ChangeSecurityGroupState", json!({"uuid": nobody, "stateEvent": "enable"}), missing, "uuid", &nobody),
        (ADD, rules(&nobody, json!([tcp(1)])), missing, "securityGroupUuid", &nobody),
        (ADD, with_remote(&nobody), missing, "rules[0].remoteSecurityGroupUuid", &nobody),
        (ADD, remotes, missing, "remoteSecurityGroupUuids", &nobody),
        (ADD, place(0), bad, "priority", "0"),
        (ADD, place(4), bad, "priority", "4"),
        ("ChangeSecurityGroupRule", json!({"uuid": nobody, "state": "Enabled"}), missing, "uuid", &nobody),
        ("ChangeSecurityGroupRule", json!({"uuid": fixed, "action": "DROP"}), bad, "uuid", &fixed),
        ("ChangeSecurityGroupRule", json!({"uuid": rule, "priority": 3}), bad, "priority", "3"),
        (
            "ChangeSecurityGroupRule",
            json!({"uuid": rule, "protocol": "UDP", "dstPortRange": ""}),
            bad,
            "dstPortRange",
            "",
        ),
        ("ChangeSecurityGroupRule", json!({"uuid": rule, "dstPortRange": "2"}), bad, "type", "Ingress"),
        (
            "ChangeSecurityGroupRuleState",
            json!({"securityGroupUuid": other, "ruleUuids": [rule], "state": "Disabled"}),
            bad,
            "ruleUuids",
            &rule,
        ),
        (JOIN, nics(&nobody, &nic), missing, "securityGroupUuid", &nobody),
        (JOIN, nics(&one, &nobody), missing, "vmNicUuids", &nobody),
        (JOIN, nics(&one, &bare), bad, "vmNicUuids", &bare),
        ("DeleteVmNicFromSecurityGroup", nics(&nobody, &nic), missing, "securityGroupUuid", &nobody),
        ("SetVmNicSecurityGroup", json!({"vmNicUuid": nobody, "refs": []}), missing, "vmNicUuid", &nobody),
        ("SetVmNicSecurityGroup", set(json!([at(&nobody, 1)])), missing, "refs[0].securityGroupUuid", &nobody),
        ("SetVmNicSecurityGroup", set(json!([at(&one, 1), at(&one, 2)])), bad, "refs[1].securityGroupUuid", &one),
        ("SetVmNicSecurityGroup", set(json!([at(&one, 1), at(&other, 1)])), bad, "refs[1].priority", "1"),
        ("SetVmNicSecurityGroup", set(json!([at(&one, 1), at(&other, 3)])), bad, "refs[1].priority", "3"),
        ("SetVmNicSecurityGroup", set(json!(many)), bad, "refs", "11"),
        ("ChangeVmNicSecurityPolicy", json!({"vmNicUuid": nic}), bad, "ingressPolicy", "missing"),
        (
            "ChangeVmNicSecurityPolicy",
            json!({"vmNicUuid": nobody, "egressPolicy": "DENY"}),
            missing,
            "vmNicUuid",
            &nobody,
        ),
        ("AttachSecurityGroupToL3Network", pair(&open), bad, "l3NetworkUuid", &open),
        ("AttachSecurityGroupToL3Network", pair(&nobody), missing, "l3NetworkUuid", &nobody),
        ("DetachSecurityGroupFromL3Network", pair(&l3), wrong, "", &l3),
    ] {
        let head = world.head();
        let refusal = world.refused(command, parameters.clone()).await;
        let told = format!("{command} {parameters}: {refusal:?}");
        assert_eq!((refusal.code.as_str(), refusal.field.as_deref().unwrap_or_default()), (code, field), "{told}");
        assert!(refusal.detail.contains(value), "{told}");
        assert!(world.asked_since(head).await.is_empty(), "{told}");
    }
    world.done("AttachSecurityGroupToL3Network", pair(&l3)).await;
    let again = world.refused("AttachSecurityGroupToL3Network", pair(&l3)).await;
    assert!(again.code == wrong && again.detail.contains(&l3), "{again}");
    // One more than a nic may be in.
    for n in 0..10 {
        world.done(JOIN, nics(&group(&world, &format!("g{n}")).await, &nic)).await;
    }
    let refusal = world.refused(JOIN, nics(&one, &nic)).await;
    assert_eq!((refusal.code.as_str(), refusal.field.as_deref()), (bad, Some("vmNicUuids")), "{refusal}");
    // Nobody stops filtering under a nic that is to be filtered.
    let detach = json!({"l3NetworkUuid": l3, "service": "SecurityGroup"});
    let refusal = world.refused("DetachNetworkServiceFromL3Network", detach.clone()).await;
    assert!(refusal.code == wrong && refusal.detail.contains(&nic), "{refusal}");
    world.done("SetVmNicSecurityGroup", set(json!([]))).await;
    world.done("DetachNetworkServiceFromL3Network", detach).await;
}

#[actix_rt::test]
async fn a_rule_is_checked_before_it_is_added_and_the_answer_has_a_code() {
    let world = World::new();
    let one = group(&world, "one").await;
    let nobody = Id::of_name("nobody").to_string();
    let ask = |protocol: &str, extra: Value| {
        let mut asked = json!({"securityGroupUuid": one, "type": "Ingress", "protocol": protocol});
        asked.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        asked
    };
    for (asked, code) in [
        (ask("TCP", json!({"dstPortRange": "80"})), "SG.2000"),
        (ask("ALL", json!({"remoteSecurityGroupUuid": nobody})), "SG.1001"),
        (ask("ALL", json!({"remoteSecurityGroupUuid": one})), "SG.1002"),
        (ask("ALL", json!({"remoteSecurityGroupUuid": one, "srcIpRange": "10.0.0.1"})), "SG.1003"),
        (ask("ALL", json!({"dstIpRange": "10.0.0.1"})), "SG.1004"),
        (ask("TCP", json!({})), "SG.1005"),
        (ask("ALL", json!({"srcIpRange": "10.0.0.256"})), "SG.1006"),
    ] {
        let answer = world.read("ValidateSecurityGroupRule", asked.clone()).await;
        assert_eq!(
            (text(&answer, "code").as_str(), &answer["available"]),
            (code, &json!(code == "SG.2000")),
            "{asked}"
        );
    }
    let unknown = json!({"securityGroupUuid": nobody, "type": "Ingress", "protocol": "ALL"});
    let refused = world.node.read(&crate::harness::admin(), "ValidateSecurityGroupRule", unknown).await.unwrap_err();
    assert_eq!(refused.code, "SYS.1003");
}

#[actix_rt::test]
async fn a_rule_changes_in_every_part_and_shows_what_clients_of_before_read() {
    let world = World::new();
    let (one, other) = (group(&world, "one").await, group(&world, "other").await);
    let legacy = json!({"type": "Ingress", "protocol": "TCP", "startPort": 200, "endPort": 300, "allowedCidr": "192.168.1.0/24"});
    world.done(ADD, rules(&one, json!([legacy, tcp(80), tcp(81)]))).await;
    let rule_at = async |n: i64| {
        let found = world.query("QuerySecurityGroupRule", &[&format!("securityGroupUuid={one}"), "type=Ingress"]).await;
        found.into_iter().find(|rule| rule["priority"] == n).unwrap()
    };
    let rule = rule_at(1).await;
    for (field, value) in [
        ("srcIpRange", json!("192.168.1.0/24")),
        ("dstPortRange", json!("200-300")),
        ("allowedCidr", json!("192.168.1.0/24")),
        ("startPort", json!(200)),
        ("endPort", json!(300)),
        ("state", json!("Enabled")),
        ("action", json!("ACCEPT")),
    ] {
        assert_eq!(rule[field], value, "{field}");
    }
    assert_eq!((&rule_at(2).await["startPort"], &rule_at(2).await["allowedCidr"]), (&json!(-1), &json!("0.0.0.0/0")));
    let change = async |extra: Value| {
        let mut asked = json!({"uuid": rule["uuid"]});
        asked.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        world.make("ChangeSecurityGroupRule", asked).await
    };
    let now = change(json!({"remoteSecurityGroupUuid": other})).await;
    assert_eq!((&now["remoteSecurityGroupUuid"], &now["srcIpRange"]), (&json!(other), &Value::Null));
    let now = change(json!({"srcIpRange": "4.4.4.4"})).await;
    assert_eq!((&now["remoteSecurityGroupUuid"], &now["srcIpRange"]), (&Value::Null, &json!("4.4.4.4")));
    let now = change(
        json!({"srcIpRange": "", "protocol": "ICMP", "description": "d", "action": "DROP", "state": "Disabled"}),
    )
    .await;
    assert_eq!(
        (&now["srcIpRange"], &now["dstPortRange"], &now["protocol"]),
        (&Value::Null, &Value::Null, &json!("ICMP"))
    );
    assert_eq!((&now["description"], &now["action"], &now["state"]), (&json!("d"), &json!("DROP"), &json!("Disabled")));
    assert_eq!(change(json!({"priority": -1})).await["priority"], 3);
    assert_eq!(
        (text(&rule_at(1).await, "dstPortRange"), text(&rule_at(2).await, "dstPortRange")),
        ("80".into(), "81".into())
    );
    assert_eq!(change(json!({"priority": 2})).await["priority"], 2);
    let head = world.head();
    change(json!({"priority": 2})).await;
    assert_eq!(world.head(), head, "nothing changes");
    // What every group has may be disabled, and has words.
    let fixed = rule_at(0).await;
    let off = json!({"securityGroupUuid": one, "ruleUuids": [fixed["uuid"]], "state": "Disabled"});
    world.done("ChangeSecurityGroupRuleState", off).await;
    assert_eq!(rule_at(0).await["state"], "Disabled");
    let told = world.make("ChangeSecurityGroupRule", json!({"uuid": fixed["uuid"], "state": "Enabled"})).await;
    assert_eq!(told["state"], "Enabled");
    let renamed = world.make("UpdateSecurityGroup", json!({"uuid": one, "name": "new", "description": "d"})).await;
    assert_eq!((text(&renamed, "name"), renamed["rules"].as_array().unwrap().len()), ("new".into(), 7));

    // The same command again gives the same rule.
    let twice = || CommandRequest {
        command_id: Some(crate::harness::command_id("twice")),
        ..request("ChangeSecurityGroupRule", &json!({"uuid": rule["uuid"], "priority": 1}))
    };
    let first = world.node.command(twice()).await.unwrap().inventory.unwrap();
    let second = world.node.command(twice()).await.unwrap().inventory.unwrap();
    assert_eq!((uuid(&first), &first["priority"]), (uuid(&second), &json!(1)));
}

#[actix_rt::test]
async fn groups_nics_networks_and_vms_go_and_come_back_together() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP"]).await;
    filtered(&world, &l3).await;
    let vm = site.vm("vm", &l3).await;
    let (nic, vm) = (uuid(&vm["vmNics"][0]), uuid(&vm));
    let (one, other) = (group(&world, "one").await, group(&world, "other").await);
    let mut named = tcp(80);
    named["remoteSecurityGroupUuid"] = json!(one);
    world.done(ADD, rules(&other, json!([tcp(1), named, tcp(2)]))).await;
    let candidates = async |group: &str| {
        let found = world.read("GetCandidateVmNicForSecurityGroup", json!({"securityGroupUuid": group})).await;
        found["inventories"].as_array().unwrap().iter().map(uuid).collect::<Vec<_>>()
    };
    assert_eq!(candidates(&one).await, vec![nic.clone()]);
    let refs = json!([{"securityGroupUuid": other, "priority": 2}, {"securityGroupUuid": one, "priority": 1}]);
    let reply = world.done("SetVmNicSecurityGroup", json!({"vmNicUuid": nic, "refs": refs})).await;
    assert_eq!(reply.inventories.map(|all| all.len()), Some(2));
    assert_eq!(groups_of(&world, &nic).await, [one.clone(), other.clone()]);
    assert!(candidates(&one).await.is_empty());
    let attached = world.get("QuerySecurityGroup", &one).await;
    assert_eq!(attached["attachedL3NetworkUuids"], json!([l3]));

    world.configure("vm", "deletionPolicy", "Delay").await;
    // A destroyed VM is in no group, and is in those that are left when it is back.
    world.done("DestroyVmInstance", json!({"uuid": vm})).await;
    assert!(groups_of(&world, &nic).await.is_empty());
    world.done("DeleteSecurityGroup", json!({"uuid": one})).await;
    let ports: Vec<(String, i64)> = {
        let found = world.query("QuerySecurityGroupRule", &[&format!("securityGroupUuid={other}"), "priority>0"]).await;
        let mut ports: Vec<_> =
            found.iter().map(|rule| (text(rule, "dstPortRange"), rule["priority"].as_i64().unwrap())).collect();
        ports.sort_by_key(|(_, priority)| *priority);
        ports
    };
    assert_eq!(ports, [("1".to_string(), 1), ("2".to_string(), 2)], "the rule that named it has gone");
    world.done("RecoverVmInstance", json!({"uuid": vm})).await;
    assert_eq!(groups_of(&world, &nic).await, vec![other.clone()]);

    // Without the network in the group the nic is not in it either.
    let pair = json!({"securityGroupUuid": other, "l3NetworkUuid": l3});
    world.done("DetachSecurityGroupFromL3Network", pair).await;
    assert!(groups_of(&world, &nic).await.is_empty());
    world.done(JOIN, nics(&other, &nic)).await;
    world.done("ChangeSecurityGroupState", json!({"uuid": other, "stateEvent": "disable"})).await;
    world.done("DetachL3NetworkFromVm", json!({"vmNicUuid": nic})).await;
    assert!(world.query("QueryVmNicInSecurityGroup", &[]).await.is_empty());
    assert!(world.query("QueryVmNicSecurityPolicy", &[]).await.is_empty());
    world.done("DeleteL3Network", json!({"uuid": l3, "deleteMode": "Enforcing"})).await;
    assert_eq!(world.get("QuerySecurityGroup", &other).await["attachedL3NetworkUuids"], json!([]));
    // What is gone is deleted already.
    world.done("DeleteSecurityGroup", json!({"uuid": other})).await;
    world.done("DeleteSecurityGroup", json!({"uuid": other})).await;
    assert!(world.query("QuerySecurityGroupRule", &[]).await.is_empty());
}

#[actix_rt::test]
async fn accounts_have_groups_of_their_own_and_use_those_that_are_shared() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP"]).await;
    filtered(&world, &l3).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    for resource in [&l3, &site.offering] {
        world.done("ShareResource", json!({"resourceUuids": [resource], "toPublic": true})).await;
    }
    let own = uuid(&bob.make("CreateSecurityGroup", json!({"name": "bob's"})).await);
    bob.done(ADD, rules(&own, json!([tcp(80)]))).await;
    let rule = bob.query("QuerySecurityGroupRule", &["priority=1"]).await;
    let rule = uuid(&rule[0]);
    // For anybody else it is not there.
    assert!(eve.query("QuerySecurityGroup", &[]).await.is_empty());
    assert!(eve.query("QuerySecurityGroupRule", &[]).await.is_empty());
    let nic = uuid(&eve.vm(&l3).await["vmNics"][0]);
    for (name, parameters) in [
        (ADD, rules(&own, json!([tcp(81)]))),
        (JOIN, nics(&own, &nic)),
        ("SetVmNicSecurityGroup", json!({"vmNicUuid": nic, "refs": [{"securityGroupUuid": own, "priority": 1}]})),
        ("ChangeSecurityGroupRule", json!({"uuid": rule, "state": "Disabled"})),
    ] {
        assert_eq!(eve.refused(name, parameters).await.code, "SYS.1003", "{name}");
    }
    eve.done("DeleteSecurityGroupRule", json!({"ruleUuids": [rule]})).await;
    assert_eq!(bob.query("QuerySecurityGroupRule", &["priority=1"]).await.len(), 1, "it was not eve's to delete");
    // Nor can a rule name it.
    let hers = uuid(&eve.make("CreateSecurityGroup", json!({"name": "eve's"})).await);
    let mut named = tcp(1);
    named["remoteSecurityGroupUuid"] = json!(own);
    assert_eq!(eve.refused(ADD, rules(&hers, json!([named]))).await.code, "SYS.1003");
    // Shared, it may be used and not changed.
    let share = json!({"resourceUuids": [own], "accountUuids": [eve.uuid]});
    bob.done("ShareResource", share).await;
    eve.done(JOIN, nics(&own, &nic)).await;
    eve.done(ADD, rules(&hers, json!([named]))).await;
    assert_eq!(eve.refused(ADD, rules(&own, json!([tcp(81)]))).await.code, "ID.1001");
    assert_eq!(eve.refused("DeleteSecurityGroupRule", json!({"ruleUuids": [rule]})).await.code, "ID.1001");
    assert_eq!(groups_of(&world, &nic).await, vec![own.clone()]);
    assert_eq!(bob.query("QueryVmNicInSecurityGroup", &[]).await.len(), 0, "whose nics are in it is theirs to know");
    eve.done("DeleteVmNicFromSecurityGroup", nics(&own, &nic)).await;
    // As many as the account may have.
    world.done("UpdateQuota", json!({"identityUuid": bob.uuid, "name": "securityGroup.num", "value": 1})).await;
    let refusal = bob.refused("CreateSecurityGroup", json!({"name": "more"})).await;
    assert!(refusal.code == "ID.1001" && refusal.detail.contains("securityGroup.num"), "{refusal}");
    let usage = bob.read("GetAccountQuotaUsage", json!({"uuid": bob.uuid})).await.unwrap();
    assert!(usage.to_string().contains("securityGroup.num"), "{usage}");
    let refusal = world.refused("DeleteAccount", json!({"uuid": bob.uuid})).await;
    assert_eq!(refusal.blockers.iter().map(|one| one.uuid).collect::<Vec<_>>(), [id(&own)]);
}
