//! Whose a resource is, who may use it, and how much an account may have: as accounts that are no administrators see it.

use crate::harness::{ALL_SERVICES, Site, World, admin, id, text, uuid};
use serde_json::{Value, json};
use switchback_bus::{Bus, Caller, CommandReply, CommandRequest, QueryRequest, Refusal, RefusalKind, code};
use switchback_events::{Id, Origin};

/// An account, and what it sees.
pub struct Tenant {
    pub world: World,
    pub uuid: String,
    pub caller: Caller,
}

impl Tenant {
    pub async fn new(world: &World, name: &str) -> Tenant {
        let account = json!({"name": name, "password": "0".repeat(128)});
        let uuid = uuid(&world.make("CreateAccount", account).await);
        let caller = Caller::new(name, id(&uuid).into(), false);
        Tenant { world: world.clone(), uuid, caller }
    }

    pub async fn send(&self, name: &str, parameters: Value) -> Result<CommandReply, Refusal> {
        let request = CommandRequest::new(name, parameters, self.caller.clone(), Origin::Api);
        self.world.node.command(request).await
    }

    pub async fn make(&self, name: &str, parameters: Value) -> Value {
        let reply = self.send(name, parameters.clone()).await;
        let reply = reply.unwrap_or_else(|refusal| panic!("{name} {parameters}: {refusal}"));
        reply.inventory.unwrap_or_else(|| panic!("{name} answers no inventory"))
    }

    pub async fn done(&self, name: &str, parameters: Value) {
        self.send(name, parameters.clone()).await.unwrap_or_else(|refusal| panic!("{name} {parameters}: {refusal}"));
    }

    pub async fn refused(&self, name: &str, parameters: Value) -> Refusal {
        match self.send(name, parameters.clone()).await {
            Ok(reply) => panic!("{name} {parameters} was not refused: {reply:?}"),
            Err(refusal) => refusal,
        }
    }

    pub async fn read(&self, name: &str, parameters: Value) -> Result<Value, Refusal> {
        self.world.node.read(&self.caller, name, parameters).await
    }

    pub async fn query(&self, name: &str, conditions: &[&str]) -> Vec<Value> {
        self.query_at(name, conditions, None).await
    }

    async fn query_at(&self, name: &str, conditions: &[&str], at: Option<u64>) -> Vec<Value> {
        let q = conditions.iter().map(ToString::to_string).collect();
        let at = at.map(|at| at.to_string());
        let request = QueryRequest { name: name.to_string(), q, at, ..QueryRequest::default() };
        let found = self.world.node.query(&self.caller, request).await;
        found.unwrap_or_else(|refusal| panic!("{name} {conditions:?}: {refusal}")).rows()
    }

    /// The uuids of what it finds.
    pub async fn found(&self, name: &str, conditions: &[&str]) -> Vec<String> {
        self.query(name, conditions).await.iter().map(uuid).collect()
    }

    /// A network of its own, with a range and services, on an L2 network that is shared with it.
    pub async fn network(&self, l2: &str, cidr: &str) -> String {
        let l3 = uuid(&self.make("CreateL3Network", json!({"name": "own", "l2NetworkUuid": l2})).await);
        let range = json!({"l3NetworkUuid": l3, "name": "own", "networkCidr": cidr});
        self.done("AddIpRangeByNetworkCidr", range).await;
        let services = json!({"l3NetworkUuid": l3, "networkServices": {"VirtualRouter": ALL_SERVICES}});
        self.done("AttachNetworkServiceToL3Network", services).await;
        l3
    }

    pub async fn vm(&self, l3: &str) -> Value {
        self.make("CreateVmInstance", json!({"name": "own", "l3NetworkUuids": [l3]})).await
    }
}

/// Lets accounts use resources.
pub async fn share(world: &World, resources: &[&str], with: &[&Tenant]) {
    let accounts: Vec<&str> = with.iter().map(|tenant| tenant.uuid.as_str()).collect();
    world.done("ShareResource", json!({"resourceUuids": resources, "accountUuids": accounts})).await;
}

#[actix_rt::test]
async fn what_an_account_makes_is_its_own_and_nobody_elses() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob, &eve]).await;
    let l3 = bob.network(&l2, "10.50.0.0/24").await;
    let vm = bob.vm(&l3).await;
    let nic = uuid(&vm["vmNics"][0]);

    // What belongs to what it has is seen with it; the router of its network is its own, too.
    let router = uuid(&world.router_of(&l3).await);
    for (query, expected) in [
        ("QueryL3Network", vec![l3.clone()]),
        ("QueryVmInstance", vec![uuid(&vm)]),
        ("QueryVirtualRouterVm", vec![router.clone()]),
        ("QueryL2Network", vec![l2.clone()]),
        ("QueryAccount", vec![bob.uuid.clone()]),
        ("QueryZone", vec![]),
        ("QueryHost", vec![]),
        ("QueryVirtualRouterOffering", vec![]),
    ] {
        assert_eq!(bob.found(query, &[]).await, expected, "{query}");
    }
    assert!(bob.found("QueryVmNic", &[]).await.contains(&nic));
    assert_eq!(bob.found("QueryIpRange", &[]).await.len(), 1);
    assert_eq!(bob.query("QueryNetworkServiceL3NetworkRef", &[]).await.len(), 3);
    for query in ["QueryL3Network", "QueryVmInstance", "QueryVmNic", "QueryIpRange", "QueryIpAddress", "QueryTag"] {
        assert_eq!(eve.found(query, &[]).await, Vec::<String>::new(), "{query}");
    }
    assert_eq!(world.query("QueryL3Network", &[&format!("uuid={l3}")]).await.len(), 1);

    // A condition on what is foreign says nothing of it.
    let host = text(&vm, "hostUuid");
    assert_eq!(bob.found("QueryVmInstance", &[&format!("hostUuid={host}")]).await, [uuid(&vm)]);
    assert_eq!(bob.found("QueryVmInstance", &["host.name~=host-%"]).await, Vec::<String>::new());
    assert_eq!(bob.found("QueryVmInstance", &["zone.name=zone"]).await, Vec::<String>::new());
    assert_eq!(eve.found("QueryL2Network", &["l3Networks.name=own"]).await, Vec::<String>::new());
    assert_eq!(bob.found("QueryL2Network", &["l3Networks.vmNics.vmInstance.name=own"]).await, [l2.as_str()]);

    // To another account it is as if it were not there, in the same words.
    for (name, field, own, parameters) in [
        ("UpdateL3Network", "uuid", &l3, json!({"name": "hers"})),
        ("UpdateVmInstance", "uuid", &uuid(&vm), json!({"name": "hers"})),
        ("StopVmInstance", "uuid", &uuid(&vm), json!({})),
        ("ChangeVmNicState", "vmNicUuid", &nic, json!({"state": "disable"})),
        ("CreateUserTag", "resourceUuid", &l3, json!({"resourceType": "L3NetworkVO", "tag": "hers"})),
        ("ReconnectVirtualRouter", "vmInstanceUuid", &router, json!({})),
    ] {
        let with = |uuid: &str| {
            let mut parameters = parameters.clone();
            parameters[field] = json!(uuid);
            parameters
        };
        let nothing = Id::of_name("nothing").to_string();
        let (foreign, absent) = (eve.refused(name, with(own)).await, eve.refused(name, with(&nothing)).await);
        assert_eq!(foreign.detail.replace(own.as_str(), &nothing), absent.detail, "{name}");
        assert_eq!((foreign.code, foreign.kind), (absent.code, RefusalKind::NotFound), "{name}");
        bob.send(name, with(own)).await.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    }
    let version = world.head();
    eve.done("DeleteL3Network", json!({"uuid": l3})).await;
    eve.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    assert_eq!(world.asked_since(version).await, [""; 0]);
    for (name, parameters) in [
        ("GetVirtualRouterConfig", json!({"at": "1"})),
        ("GetVirtualRouterConfig", json!({})),
        ("GetVirtualRouterDiff", json!({"from": "1"})),
        ("GetVirtualRouterDrift", json!({})),
        ("GetVirtualRouterCounters", json!({})),
    ] {
        let nothing = Id::of_name("nothing").to_string();
        let mut refused = vec![];
        for uuid in [&router, &nothing] {
            let mut parameters = parameters.clone();
            parameters["uuid"] = json!(uuid);
            let refusal = eve.read(name, parameters).await.unwrap_err();
            let (hint, at) = (refusal.hint.unwrap_or_default(), refusal.detail.replace(uuid.as_str(), "…"));
            // The moment that it says is now.
            refused.push((refusal.code, at, hint.split(" at ").next().unwrap_or_default().to_string()));
        }
        assert_eq!(refused[0], refused[1], "{name}");
    }
    assert!(bob.read("GetVirtualRouterConfig", json!({"uuid": router})).await.is_ok());
    let capacity = |all: Value| all["totalCapacity"].as_u64().unwrap();
    assert_eq!(capacity(eve.read("GetIpAddressCapacity", json!({"all": true})).await.unwrap()), 0);
    assert_eq!(capacity(bob.read("GetIpAddressCapacity", json!({"all": true})).await.unwrap()), 253);
    assert!(capacity(world.read("GetIpAddressCapacity", json!({"all": true})).await) > 253);

    // With an account's resources the account stays.
    let refusal = world.refused("DeleteAccount", json!({"uuid": bob.uuid})).await;
    assert_eq!(refusal.blockers.len(), 3, "{refusal:?}");
    bob.done("DestroyVmInstance", json!({"uuid": uuid(&vm)})).await;
    bob.done("ExpungeVmInstance", json!({"uuid": uuid(&vm)})).await;
    bob.send("DeleteL3Network", json!({"uuid": l3, "deleteMode": "Enforcing"})).await.unwrap();
    world.until("the router goes", || async { world.routers_of(&l3).await.is_empty().then_some(()) }).await;
    world.done("DeleteAccount", json!({"uuid": bob.uuid})).await;
    assert_eq!(world.query("QueryAccountResourceRef", &[]).await, Vec::<Value>::new());
    assert_eq!(world.query("QuerySharedResource", &[]).await.len(), 1);
}

#[actix_rt::test]
async fn what_is_shared_is_used_and_not_changed() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let before = world.head();
    assert_eq!(
        bob.refused("CreateVmInstance", json!({"name": "v", "l3NetworkUuids": [l3]})).await.code,
        code::NOT_FOUND
    );
    share(&world, &[&l3], &[&bob]).await;
    share(&world, &[&l3], &[&bob]).await;
    let vm = bob.vm(&l3).await;
    assert_eq!(bob.found("QueryL3Network", &[]).await, [l3.as_str()]);
    assert_eq!(bob.query_at("QueryL3Network", &[], Some(before)).await, Vec::<Value>::new());
    assert_eq!(bob.found("QueryVmInstance", &["vmNics.l3Network.name=guest"]).await, [uuid(&vm)]);
    // The router is the network's owner's; so are the addresses of others on it.
    assert_eq!(bob.found("QueryVirtualRouterVm", &[]).await, Vec::<String>::new());
    site.vm("another", &l3).await;
    assert_eq!(bob.query("QueryIpAddress", &[]).await.len(), 1);
    assert!(bob.read("GetFreeIp", json!({"l3NetworkUuid": l3})).await.is_ok());
    let shared = bob.query("QuerySharedResource", &[]).await;
    assert_eq!(
        (text(&shared[0], "resourceUuid"), text(&shared[0], "resourceType")),
        (l3.clone(), "L3NetworkVO".into())
    );
    assert_eq!((&shared[0]["toPublic"], text(&shared[0], "receiverAccountUuid")), (&json!(false), bob.uuid.clone()));

    let statistic = bob.read("GetL3NetworkIpStatistic", json!({"l3NetworkUuid": l3})).await.unwrap_err();
    let range = text(&world.query("QueryIpRange", &[&format!("l3NetworkUuid={l3}")]).await[0], "uuid");
    for refusal in [
        statistic,
        bob.refused("DeleteL3Network", json!({"uuid": l3})).await,
        bob.refused("UpdateIpRange", json!({"uuid": range, "name": "x"})).await,
        bob.refused("ShareResource", json!({"resourceUuids": [l3], "toPublic": true})).await,
        bob.refused("CreateUserTag", json!({"resourceUuid": l3, "resourceType": "L3NetworkVO", "tag": "x"})).await,
    ] {
        assert_eq!(refusal.code, code::PERMISSION_DENIED, "{refusal}");
        assert!(refusal.field.is_some() && refusal.detail.contains("shared"), "{refusal}");
    }

    world.done("RevokeResourceSharing", json!({"resourceUuids": [l3], "accountUuids": [bob.uuid]})).await;
    assert_eq!(bob.found("QueryL3Network", &[]).await, Vec::<String>::new());
    // What was made stays.
    assert_eq!(bob.found("QueryVmInstance", &[]).await, [uuid(&vm)]);
    bob.done("RebootVmInstance", json!({"uuid": uuid(&vm)})).await;
    world.done("ShareResource", json!({"resourceUuids": [l3], "toPublic": true})).await;
    assert_eq!(eve.found("QueryL3Network", &[]).await, [l3.as_str()]);
    eve.vm(&l3).await;
    world.done("RevokeResourceSharing", json!({"resourceUuids": [l3], "all": true})).await;
    assert_eq!(eve.found("QueryL3Network", &[]).await, Vec::<String>::new());
    assert!(world.query("QuerySharedResource", &[]).await.is_empty());
}

#[actix_rt::test]
async fn an_owner_shares_and_an_administrator_changes_owners() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob]).await;
    let l3 = bob.network(&l2, "10.50.0.0/24").await;
    bob.done("ShareResource", json!({"resourceUuids": [l3], "accountUuids": [eve.uuid]})).await;
    let vm = uuid(&eve.vm(&l3).await);
    let mine = uuid(&bob.vm(&l3).await);
    let refusal = bob.refused("DeleteL3Network", json!({"uuid": l3})).await;
    assert!(refusal.detail.ends_with("1 of other accounts"), "{refusal}");
    assert!(refusal.blockers.iter().any(|blocker| blocker.uuid.to_string() == mine), "{refusal:?}");
    assert!(refusal.blockers.iter().all(|blocker| blocker.uuid.to_string() != vm), "{refusal:?}");
    assert_eq!(world.query("QuerySharedResource", &[&format!("ownerAccountUuid={}", bob.uuid)]).await.len(), 1);

    let given = world.make("ChangeResourceOwner", json!({"accountUuid": eve.uuid, "resourceUuid": l3})).await;
    assert_eq!((text(&given, "accountUuid"), text(&given, "resourceType")), (eve.uuid.clone(), "L3NetworkVO".into()));
    world.done("ChangeResourceOwner", json!({"accountUuid": eve.uuid, "resourceUuid": l3})).await;
    assert_eq!(bob.found("QueryL3Network", &[]).await, Vec::<String>::new());
    eve.done("UpdateL3Network", json!({"uuid": l3, "name": "hers"})).await;
    let own = eve.query("QueryAccountResourceRef", &[]).await;
    assert_eq!(own.len(), 2, "{own:?}");
    let back = json!({"accountUuid": switchback_events::ADMIN_ACCOUNT, "resourceUuid": vm});
    world.done("ChangeResourceOwner", back).await;
    assert_eq!(eve.found("QueryVmInstance", &[]).await, Vec::<String>::new());
}

#[actix_rt::test]
async fn nobody_comes_to_have_something_by_its_uuid() {
    let world = World::new();
    let site = Site::new(&world).await;
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob, &eve]).await;
    let l3 = bob.network(&l2, "10.50.0.0/24").await;
    let vm = bob.vm(&l3).await;
    let gone = uuid(&bob.make("CreateL3Network", json!({"name": "gone", "l2NetworkUuid": l2})).await);
    bob.done("DeleteL3Network", json!({"uuid": gone})).await;
    let range = bob.found("QueryIpRange", &[]).await.remove(0);
    for taken in [uuid(&vm), uuid(&vm["vmNics"][0]), site.zone.clone(), bob.uuid.clone(), gone, range] {
        let network = json!({"name": "x", "l2NetworkUuid": l2, "resourceUuid": taken});
        for (name, parameters) in [("CreateL3Network", network), ("CreateAccessKey", json!({"resourceUuid": taken}))] {
            let refusal = eve.refused(name, parameters).await;
            assert!(refusal.detail.contains(&taken) && refusal.detail.starts_with("resourceUuid"), "{name}: {refusal}");
        }
    }
    assert_eq!(eve.found("QueryVmInstance", &[]).await, Vec::<String>::new());
    let chosen = Id::of_name("chosen").to_string();
    eve.make("CreateL3Network", json!({"name": "x", "l2NetworkUuid": l2, "resourceUuid": chosen})).await;
    // Free text names nothing, so nothing is hidden by it that a decision must see.
    let owner = switchback_actors::account::name_owner("bob").to_string();
    let steal = json!({"uuid": eve.uuid, "name": "bob", "description": owner});
    assert!(eve.refused("UpdateAccount", steal).await.detail.contains("has this name"));
}

#[actix_rt::test]
async fn an_account_has_no_more_than_its_quota_however_many_ask_at_once() {
    let world = World::new();
    let site = Site::new(&world).await;
    let bob = Tenant::new(&world, "bob").await;
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob]).await;
    let l3 = bob.network(&l2, "10.50.0.0/24").await;
    let quota = |name: &str, value: u64| json!({"identityUuid": bob.uuid, "name": name, "value": value});
    assert_eq!(bob.query("QueryQuota", &["name=l3.num"]).await[0]["value"], 20);
    assert_eq!(world.make("UpdateQuota", quota("l3.num", 3)).await["value"], 3);
    world.done("UpdateQuota", quota("vm.totalNum", 5)).await;
    world.done("UpdateQuota", quota("vm.num", 2)).await;
    assert_eq!(bob.query("QueryQuota", &[]).await.len(), switchback_events::QUOTAS.len());

    let mut asked = Vec::new();
    for number in 0..10 {
        let (world, caller, l2) = (world.clone(), bob.caller.clone(), l2.clone());
        asked.push(actix_rt::spawn(async move {
            let create = json!({"name": format!("l3-{number}"), "l2NetworkUuid": l2});
            world.node.command(CommandRequest::new("CreateL3Network", create, caller, Origin::Api)).await
        }));
    }
    let mut made = 0;
    for answer in asked {
        match answer.await.unwrap() {
            Ok(_) => made += 1,
            Err(refusal) => assert!(refusal.detail.contains("quota exceeded: l3.num"), "{refusal}"),
        }
    }
    assert_eq!(made, 2);

    let vms = [bob.vm(&l3).await, bob.vm(&l3).await].map(|vm| uuid(&vm));
    let refusal = bob.refused("CreateVmInstance", json!({"name": "v", "l3NetworkUuids": [l3]})).await;
    assert!(refusal.code == code::PERMISSION_DENIED && refusal.detail.contains("vm.num"), "{refusal}");
    bob.done("StopVmInstance", json!({"uuid": vms[0]})).await;
    bob.vm(&l3).await;
    assert!(bob.refused("StartVmInstance", json!({"uuid": vms[0]})).await.detail.contains("vm.num"));
    world.done("UpdateQuota", quota("vm.totalNum", 3)).await;
    world.done("UpdateQuota", quota("vm.num", 20)).await;
    let more = json!({"name": "v", "l3NetworkUuids": [l3]});
    assert!(bob.refused("CreateVmInstance", more).await.detail.contains("vm.totalNum"));
    let usage = bob.read("GetAccountQuotaUsage", json!({"uuid": bob.uuid})).await.unwrap();
    let used = |name: &str| {
        let usages = usage["usages"].as_array().unwrap();
        let found = usages.iter().find(|usage| usage["name"] == name).unwrap();
        (found["total"].as_u64().unwrap(), found["used"].as_u64().unwrap())
    };
    assert_eq!((used("l3.num"), used("vm.num"), used("vm.totalNum")), ((3, 3), (20, 2), (3, 3)));
    let nobody = Id::of_name("nobody").to_string();
    let absent = bob.read("GetAccountQuotaUsage", json!({"uuid": nobody})).await.unwrap_err();
    let foreign = json!({"uuid": switchback_events::ADMIN_ACCOUNT});
    assert_eq!(bob.read("GetAccountQuotaUsage", foreign).await.unwrap_err().code, absent.code);

    // What is destroyed counts for nothing, until it is recovered.
    world.configure("vm", "deletionPolicy", "Delay").await;
    bob.done("DestroyVmInstance", json!({"uuid": vms[0]})).await;
    world.done("UpdateQuota", quota("vm.totalNum", 2)).await;
    let refusal = bob.refused("RecoverVmInstance", json!({"uuid": vms[0]})).await;
    assert!(refusal.detail.contains("vm.totalNum"), "{refusal}");
    world.done("UpdateQuota", quota("vm.totalNum", 3)).await;
    bob.done("RecoverVmInstance", json!({"uuid": vms[0]})).await;
    assert_eq!(bob.read("GetAccountQuotaUsage", json!({"uuid": bob.uuid})).await.unwrap(), {
        let mut expected = usage.clone();
        expected["usages"][2]["total"] = json!(3);
        expected
    });
    // The administrator is not held to it.
    site.vm("another", &l3).await;
}

#[actix_rt::test]
async fn many_clients_of_one_account_hold_up_none_of_them() {
    const CLIENTS: usize = 64;
    let world = World::new();
    let site = Site::new(&world).await;
    let bob = Tenant::new(&world, "bob").await;
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob]).await;
    let l3s = [bob.network(&l2, "10.50.0.0/24").await, bob.network(&l2, "10.51.0.0/24").await];
    for name in ["vm.totalNum", "vm.num"] {
        world.done("UpdateQuota", json!({"identityUuid": bob.uuid, "name": name, "value": CLIENTS})).await;
    }
    let mut asked = Vec::new();
    for number in 0..CLIENTS {
        let (world, caller, l3) = (world.clone(), bob.caller.clone(), l3s[number % l3s.len()].clone());
        asked.push(actix_rt::spawn(async move {
            let create = json!({"name": format!("vm-{number}"), "l3NetworkUuids": [l3]});
            world.node.command(CommandRequest::new("CreateVmInstance", create, caller, Origin::Api)).await
        }));
    }
    for answer in asked {
        answer.await.unwrap().unwrap_or_else(|refusal| panic!("{refusal}"));
    }
    let refusal = bob.refused("CreateVmInstance", json!({"name": "more", "l3NetworkUuids": [l3s[0]]})).await;
    assert!(refusal.detail.contains("vm.totalNum"), "{refusal}");
}

#[actix_rt::test]
async fn a_command_of_another_account_under_the_same_id_is_another_command() {
    let world = World::new();
    let (bob, eve) = (Tenant::new(&world, "bob").await, Tenant::new(&world, "eve").await);
    let site = Site::bare(&world, 1).await;
    let l2 = site.l2("tenants").await;
    share(&world, &[&l2], &[&bob, &eve]).await;
    let asked = |caller: &Caller| {
        let create = json!({"name": "l3", "l2NetworkUuid": l2});
        let mut request = CommandRequest::new("CreateL3Network", create, caller.clone(), Origin::Api);
        request.command_id = Some(crate::harness::command_id("the same"));
        request
    };
    let first = world.node.command(asked(&bob.caller)).await.unwrap();
    assert_eq!(world.node.command(asked(&bob.caller)).await.unwrap().position, first.position);
    for other in [&eve.caller, &admin()] {
        assert_eq!(world.node.command(asked(other)).await.unwrap_err().kind, RefusalKind::OtherBody);
    }
}

/// What goes takes along what is known by its uuid: no two may have one, whoever asks.
#[actix_rt::test]
async fn an_administrator_does_not_get_the_uuid_of_something_else_either() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", &["DHCP", "SNAT"]).await;
    site.vm("vm", &l3).await;
    let router = uuid(&world.router_of(&l3).await);
    for (name, parameters) in [
        ("CreateZone", json!({"name": "z", "resourceUuid": router})),
        ("CreateSecurityGroup", json!({"name": "g", "resourceUuid": site.public})),
    ] {
        let refusal = world.refused(name, parameters).await;
        assert!(refusal.detail.contains("there is or was something with this uuid"), "{refusal:?}");
    }
    world.done("DeleteZone", json!({"uuid": router})).await;
    world.refused("DeleteL3Network", json!({"uuid": site.public})).await;
    world.one_holder_each().await;
}

/// Nor do two who ask for it at once.
#[actix_rt::test]
async fn of_those_who_want_one_uuid_at_once_one_gets_it() {
    let world = World::new();
    for round in 0..50 {
        let wanted = Id::of_name(&format!("wanted in round {round}")).to_string();
        let asked = [
            ("CreateZone", json!({"name": "z"})),
            ("CreateZone", json!({"name": "y"})),
            ("CreateSecurityGroup", json!({"name": "g"})),
            ("CreateInstanceOffering", json!({"name": "o", "cpuNum": 1, "memorySize": 1 << 30})),
        ];
        let sent = asked.into_iter().map(|(name, mut parameters)| {
            parameters["resourceUuid"] = json!(wanted);
            world.send(name, parameters)
        });
        let answers = futures_util::future::join_all(sent).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        for refusal in answers.into_iter().filter_map(Result::err) {
            assert!(refusal.detail.contains("there is or was something with this uuid"), "{refusal:?}");
        }
    }
}
