//! ZStack's REST API as its existing clients use it, against the program with simulated hosts: what the Go SDKs send for
//! each resource that there is, and what they read.

mod client;
mod go;

use client::{Client, uuid};
use serde_json::{Value, json};

const ZONES: &str = "v1/zones";
const CLUSTERS: &str = "v1/clusters";
const L2S: &str = "v1/l2-networks";
const L3S: &str = "v1/l3-networks";
const RANGES: &str = "v1/l3-networks/ip-ranges";
const OFFERINGS: &str = "v1/instance-offerings";
const ROUTER_OFFERINGS: &str = "v1/instance-offerings/virtual-routers";
const ROUTERS: &str = "v1/vm-instances/appliances/virtual-routers";
const VMS: &str = "v1/vm-instances";
const NICS: &str = "v1/vm-instances/nics";

/// A zone, a cluster with a host, a network of VLAN 10 with a range, and a public one.
struct Site {
    client: Client,
    zone: String,
    cluster: String,
    l2: String,
    guest: String,
    public: String,
}

impl Site {
    fn new() -> Site {
        let client = Client::start();
        let zone = uuid(&client.post(ZONES, json!({"name": "east", "description": "", "resourceUuid": ""})).unwrap());
        let cluster =
            client.post(CLUSTERS, json!({"zoneUuid": zone, "name": "c", "hypervisorType": "Simulator"})).unwrap();
        let cluster = uuid(&cluster);
        let host = json!({"name": "h", "managementIp": "192.168.0.10", "clusterUuid": cluster});
        client.post("v1/hosts/simulators", host).unwrap();
        let network = |name: &str, vlan: u16, category: &str| {
            let l2 = json!({"vlan": vlan, "name": name, "zoneUuid": zone, "physicalInterface": "eth0", "type": "",
                "resourceUuid": ""});
            let l2 = uuid(&client.post("v1/l2-networks/vlan", l2).unwrap());
            // Without `params`: the path says it all.
            let attached = client.raw("POST", &format!("{L2S}/{l2}/clusters/{cluster}"), &json!({})).unwrap();
            assert_eq!(attached["inventory"]["attachedClusterUuids"], json!([cluster]));
            let l3 = json!({"name": name, "description": "", "type": "L3BasicNetwork", "l2NetworkUuid": l2,
                "category": category, "system": false, "enableIPAM": true});
            (l2, uuid(&client.post(L3S, l3).unwrap()))
        };
        let (l2, guest) = network("guest", 10, "Private");
        let (_, public) = network("public", 20, "Public");
        let site = Site { zone, cluster, l2, guest, public, client };
        site.range(&site.guest, "10.0.0.2", "10.0.0.200", "10.0.0.1");
        site.range(&site.public, "203.0.113.10", "203.0.113.100", "203.0.113.1");
        site
    }

    fn range(&self, l3: &str, start: &str, end: &str, gateway: &str) -> Value {
        let range = json!({"name": "r", "startIp": start, "endIp": end, "netmask": "255.255.255.0", "gateway": gateway,
            "ipRangeType": ""});
        self.client.post(&format!("{L3S}/{l3}/ip-ranges"), range).unwrap()
    }

    /// Services by a router, and all that one needs.
    fn with_router_offering(&self) -> String {
        let client = &self.client;
        let image = client.post("v1/images", json!({"name": "vr", "url": "http://images.test/vr.qcow2"})).unwrap();
        let offering = json!({"name": "vro", "description": "", "zoneUuid": self.zone, "managementNetworkUuid": self.public,
            "publicNetworkUuid": self.public, "imageUuid": uuid(&image), "isDefault": true, "cpuNum": 1,
            "memorySize": 1u64 << 29, "sortKey": 0, "type": "VirtualRouter", "resourceUuid": "", "allocatorStrategy": ""});
        let offering = uuid(&client.post(ROUTER_OFFERINGS, offering).unwrap());
        let provider = client.list("v1/network-services/providers", "q=type%3DVirtualRouter");
        let services = json!({"networkServices": {uuid(&provider[0]): ["DHCP", "DNS", "SNAT"]}});
        client.post(&format!("{L3S}/{}/network-services", self.guest), services).unwrap();
        offering
    }
}

#[test]
fn zones_and_clusters_are_created_paged_changed_and_deleted() {
    let client = Client::start();
    let zones: Vec<String> =
        (0..120).map(|n| uuid(&client.post(ZONES, json!({"name": format!("z{n:03}")})).unwrap())).collect();
    let all = client.list_all(ZONES);
    assert_eq!(all.len(), 120);
    let page =
        client.read("v1/zones?q=name%7E%3Dz11%25&sort=-name&limit=3&start=1&replyWithCount=true&fields=name").unwrap();
    assert_eq!(page, json!({"inventories": [{"name": "z118"}, {"name": "z117"}, {"name": "z116"}], "total": 10}));
    assert_eq!(client.read("v1/zones?count=true").unwrap()["total"], 120);

    // With the two slashes of one SDK.
    let zone = client.get("v1/zones/", &zones[0]).unwrap();
    assert_eq!((&zone["name"], &zone["state"], &zone["type"]), (&json!("z000"), &json!("Enabled"), &json!("zstack")));
    let changed = client.put(ZONES, &zones[0], "updateZone", json!({"name": "west", "description": null})).unwrap();
    assert_eq!(changed["name"], "west");
    let changed = client.put(ZONES, &zones[0], "changeZoneState", json!({"stateEvent": "disable"})).unwrap();
    assert_eq!(changed["state"], "Disabled");

    let cluster = json!({"zoneUuid": zones[0], "name": "c", "hypervisorType": "KVM", "description": ""});
    let cluster = client.post(CLUSTERS, cluster).unwrap();
    let id = uuid(&cluster);
    assert_eq!(client.put(CLUSTERS, &id, "updateCluster", json!({"name": "d"})).unwrap()["name"], "d");
    assert_eq!(client.list(CLUSTERS, &format!("q=zoneUuid%3D{}&q=name%3Dd", zones[0])).len(), 1);
    assert_eq!(client.delete(CLUSTERS, &id, "Permissive").unwrap(), json!({}));
    assert_eq!(client.get(CLUSTERS, &id), None, "what was deleted is seen to be gone at once");
    assert_eq!(client.delete(ZONES, &zones[0], "Enforcing").unwrap(), json!({}));
    assert_eq!(client.delete(ZONES, &zones[0], "").unwrap(), json!({}), "again");
    assert_eq!(client.get(ZONES, &zones[0]), None);
}

#[test]
fn networks_ranges_dns_routes_and_addresses() {
    let site = Site::new();
    let (client, guest) = (&site.client, &site.guest);
    let l2 = client.get(L2S, &site.l2).unwrap();
    assert_eq!((&l2["type"], &l2["vlan"]), (&json!("L2VlanNetwork"), &json!(10)));
    let renamed = client.put(L2S, &site.l2, "updateL2Network", json!({"name": "l2", "description": "two"})).unwrap();
    assert_eq!(renamed["description"], "two");
    let plain = json!({"name": "n", "zoneUuid": site.zone, "physicalInterface": "eth1", "type": "L2NoVlanNetwork"});
    let plain = uuid(&client.post("v1/l2-networks/no-vlan", plain).unwrap());
    assert_eq!(client.read("v1/l2-networks?replyWithCount=true&limit=1").unwrap()["total"], 3);
    assert_eq!(client.delete(L2S, &plain, "Permissive").unwrap(), json!({}));

    let change = json!({"name": "g", "description": null, "system": null, "dnsDomain": "lab.test", "category": null});
    let l3 = client.put(L3S, guest, "updateL3Network", change).unwrap();
    assert_eq!((&l3["name"], &l3["dnsDomain"]), (&json!("g"), &json!("lab.test")));
    client.post(&format!("{L3S}/{guest}/dns"), json!({"dns": "1.1.1.1"})).unwrap();
    client.post(&format!("{L3S}/{guest}/dns"), json!({"dns": "8.8.8.8"})).unwrap();
    client.delete(&format!("{L3S}/{guest}/dns"), "1.1.1.1", "").unwrap();
    assert_eq!(client.get(L3S, guest).unwrap()["dns"], json!(["8.8.8.8"]));
    client.post(&format!("{L3S}/{guest}/mtu"), json!({"mtu": 1400})).unwrap();
    assert_eq!(client.read(&format!("{L3S}/{guest}/mtu")).unwrap(), json!({"mtu": 1400}));
    client.post(&format!("{L3S}/{guest}/hostroute"), json!({"prefix": "10.9.0.0/16", "nexthop": "10.0.0.9"})).unwrap();
    assert_eq!(client.get(L3S, guest).unwrap()["hostRoute"][0]["nexthop"], "10.0.0.9");
    client.raw("DELETE", &format!("{L3S}/{guest}/hostroute?prefix=10.9.0.0%2F16"), &json!({})).unwrap();
    assert_eq!(client.get(L3S, guest).unwrap()["hostRoute"], json!([]));

    let range = client.list(RANGES, &format!("q=l3NetworkUuid%3D{guest}")).pop().unwrap();
    assert_eq!((&range["startIp"], &range["prefixLen"]), (&json!("10.0.0.2"), &json!(24)));
    let by_cidr = json!({"name": "b", "networkCidr": "10.1.0.0/24", "gateway": "", "ipRangeType": ""});
    let second = client.post(&format!("{L3S}/{}/ip-ranges/by-cidr", site.guest), by_cidr);
    assert_eq!(second.unwrap_err().status, 400, "of another network");
    let named = client.put(RANGES, &uuid(&range), "updateIpRange", json!({"name": "s"})).unwrap();
    assert_eq!(named["name"], "s");
    let free = client.list(&format!("{L3S}/{guest}/ip/free"), "limit=2");
    assert_eq!(free.iter().map(|free| &free["ip"]).collect::<Vec<_>>(), ["10.0.0.2", "10.0.0.3"]);
    let available = client.read(&format!("{L3S}/{guest}/ip/10.0.0.5/availability")).unwrap();
    assert_eq!(available["available"], true);
    let capacity = client.read(&format!("v1/ip-capacity?ipRangeUuids={}", uuid(&range))).unwrap();
    assert_eq!((&capacity["totalCapacity"], &capacity["availableCapacity"]), (&json!(199), &json!(199)));
    let reserved = json!({"startIp": "10.0.0.2", "endIp": "10.0.0.3"});
    let reserved = client.post(&format!("{L3S}/{guest}/reserved-ip-ranges"), reserved).unwrap();
    assert_eq!(client.list(&format!("{L3S}/{guest}/ip/free"), "limit=1")[0]["ip"], "10.0.0.4");
    client.delete("v1/l3-networks/reserved-ip-ranges", &uuid(&reserved), "Permissive").unwrap();
    client.delete(RANGES, &uuid(&range), "Permissive").unwrap();
    assert_eq!(client.get(RANGES, &uuid(&range)), None);

    let six = json!({"name": "six", "networkCidr": "fd00:1::/64", "addressMode": "Stateful-DHCP"});
    let six = client.post(&format!("{L3S}/{guest}/ipv6-ranges/by-cidr"), six).unwrap();
    assert_eq!(six["ipVersion"], 6);
    assert_eq!(client.delete(L3S, guest, "Enforcing").unwrap(), json!({}));
    assert_eq!(client.get(L3S, guest), None);
    assert!(client.list(CLUSTERS, &format!("q=uuid%3D{}", site.cluster)).len() == 1);
}

#[test]
fn a_vm_its_router_its_nics_and_its_offerings() {
    let site = Site::new();
    let client = &site.client;
    let router_offering = site.with_router_offering();
    let offering = json!({"name": "small", "description": null, "cpuNum": 1, "memorySize": 1u64 << 28, "sortKey": null,
        "allocatorStrategy": null, "type": null, "resourceUuid": null, "tagUuids": []});
    let offering = uuid(&client.post(OFFERINGS, offering).unwrap());
    // As it comes from a struct where nothing else was set.
    let vm = |name: &str| {
        json!({"name": name, "instanceOfferingUuid": offering, "cpuNum": 0, "memorySize": 0, "imageUuid": "", "type": "",
            "l3NetworkUuids": [site.guest], "rootDiskOfferingUuid": "", "rootDiskSize": null, "dataDiskSizes": [],
            "zoneUuid": "", "clusterUuid": "", "hostUuid": "", "description": "", "defaultL3NetworkUuid": "",
            "resourceUuid": "", "tagUuids": [], "strategy": "InstantStart", "rootVolumeSystemTags": []})
    };
    let fixed = format!("staticIp::{}::10.0.0.77", site.guest);
    let one = client.post_with_tags(VMS, vm("one"), &[&fixed]).unwrap();
    assert_eq!((&one["state"], &one["vmNics"][0]["ip"]), (&json!("Running"), &json!("10.0.0.77")));
    let two = client.post_as_job(VMS, vm("two")).unwrap();
    assert_eq!(two["name"], "two");
    assert_eq!(client.read("v1/vm-instances?replyWithCount=true").unwrap()["total"], 2);

    let routers = client.list(ROUTERS, &format!("q=vmNics.l3NetworkUuid%3D{}", site.guest));
    let router = client.get(ROUTERS, &uuid(&routers[0])).unwrap();
    assert_eq!((&router["status"], &router["state"]), (&json!("Connected"), &json!("Running")));
    let again = client.put(ROUTERS, &uuid(&router), "reconnectVirtualRouter", json!({})).unwrap();
    assert_eq!(again["status"], "Connected");

    let nic = uuid(&client.list(NICS, &format!("q=vmInstanceUuid%3D{}", uuid(&one)))[0]);
    assert_eq!(client.get(NICS, &nic).unwrap()["ip"], "10.0.0.77");
    let both =
        client.post(&format!("{VMS}/{}/l3-networks/{}", uuid(&one), site.public), json!({"staticIp": ""})).unwrap();
    assert_eq!(both["vmNics"].as_array().unwrap().len(), 2);
    let second =
        uuid(&client.list(NICS, &format!("q=l3NetworkUuid%3D{}&q=vmInstanceUuid%3D{}", site.public, uuid(&one)))[0]);
    let one_left = client.delete(NICS, &second, "").unwrap();
    assert_eq!(one_left["inventory"]["vmNics"].as_array().unwrap().len(), 1, "the SDK reads the VM that is left");

    let id = uuid(&one);
    let stopped = client.put(VMS, &id, "stopVmInstance", json!({"type": "grace", "stopHA": false})).unwrap();
    assert_eq!(stopped["state"], "Stopped");
    assert_eq!(client.put(VMS, &id, "startVmInstance", Value::Null).unwrap()["state"], "Running");
    assert_eq!(client.put(VMS, &id, "rebootVmInstance", json!({})).unwrap()["state"], "Running");
    assert_eq!(client.put(VMS, &id, "updateVmInstance", json!({"name": "uno"})).unwrap()["name"], "uno");
    client.delete(VMS, &id, "Permissive").unwrap();
    client.put(VMS, &id, "expungeVmInstance", json!({})).unwrap();
    assert_eq!(client.get(VMS, &id), None);

    assert_eq!(client.get(ROUTER_OFFERINGS, &router_offering).unwrap()["isDefault"], true);
    assert_eq!(client.get(OFFERINGS, &offering).unwrap()["cpuNum"], 1);
    client.delete(OFFERINGS, &offering, "Permissive").unwrap();
    assert_eq!(client.get(OFFERINGS, &offering), None);
}

#[test]
fn tags_and_configuration() {
    let site = Site::new();
    let client = &site.client;
    let tag = json!({"resourceType": "ZoneVO", "resourceUuid": site.zone, "tag": "team-a"});
    let tag = client.post("v1/user-tags", tag).unwrap();
    assert_eq!((&tag["tag"], &tag["type"]), (&json!("team-a"), &json!("User")));
    assert_eq!(client.list_all("v1/user-tags").len(), 1);
    assert_eq!(client.list(ZONES, "q=__userTag__%3Dteam-a").len(), 1);
    client.delete("v1/tags", &uuid(&tag), "Permissive").unwrap();
    assert_eq!(client.list("v1/user-tags", "").len(), 0);
    assert!(client.list("v1/system-tags", "limit=10").len() <= 10);

    let path = "v1/global-configurations";
    let found = client.list(path, "q=category%3DvirtualRouter&q=name%3Dcommand.parallelismDegree");
    let before = found[0]["value"].as_str().unwrap().to_string();
    let entry = "virtualRouter/command.parallelismDegree";
    let changed = client.put(path, entry, "updateGlobalConfig", json!({"value": "7"})).unwrap();
    assert_eq!((&changed["value"], changed["defaultValue"].as_str()), (&json!("7"), Some(before.as_str())));
    let refused = client.put(path, entry, "updateGlobalConfig", json!({"value": "many"})).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (400, "SYS.1007"));
}

#[test]
fn what_is_wrong_is_said_as_the_sdks_read_it() {
    let site = Site::new();
    let client = &site.client;
    let missing = "0123456789abcdef0123456789abcdef";
    let cases = [
        (client.post(ZONES, json!({})), 400, "SYS.1007", "name is missing"),
        (client.post(ZONES, json!({"name": "z", "nme": "y"})), 400, "SYS.1007", "no such parameter"),
        (client.put(ZONES, missing, "updateZone", json!({"name": "y"})), 404, "SYS.1003", missing),
        (client.delete(ZONES, &site.zone, "Permissive"), 503, "SYS.1006", "in use by cluster c"),
        (client.delete(ZONES, &site.zone, "Maybe"), 400, "SYS.1007", "Enforcing"),
        (client.post("v1/ipsec", json!({"name": "e"})), 503, "SYS.1104", "CreateIPsecConnection"),
        (client.read("v1/zones?q=nme%3Dx"), 400, "SYS.1007", "nme"),
        (client.read("v1/volumes"), 404, "SYS.1003", "/zstack/v1/volumes"),
    ];
    for (answer, status, code, words) in cases {
        let failure = answer.unwrap_err();
        assert_eq!((failure.status, failure.code.as_str()), (status, code), "{}", failure.details);
        assert!(failure.details.contains(words), "{} of {words}", failure.details);
    }
    let nodes = client.read("v1/management-nodes").unwrap();
    assert_eq!(nodes["inventories"][0]["hostName"], "127.0.0.1");
    let version = client.raw("PUT", "v1/management-nodes/actions", &json!({"getVersion": {}})).unwrap();
    assert_eq!(version, json!({"version": env!("CARGO_PKG_VERSION")}));
}

#[test]
fn what_is_signed_with_an_access_key_comes_in_and_the_rest_is_refused_in_words_that_the_sdks_know() {
    let client = Client::start();
    let created = client.post("v1/accesskeys", json!({"description": "", "userUuid": "", "accountUuid": ""})).unwrap();
    let key = uuid(&created);
    assert_eq!(created["accountUuid"], created["userUuid"]);
    let sent = |method: &str, path: &str, body: Option<&Value>| client.send_signed(&created, method, path, body);
    let (status, zone) = sent("POST", "/zstack/v1/zones", Some(&json!({"params": {"name": "signed"}})));
    assert_eq!((status, &zone["inventory"]["name"]), (200, &json!("signed")));
    // With the two slashes of one SDK.
    let one = format!("/zstack/v1/zones//{}?replyWithCount=true", uuid(&zone["inventory"]));
    assert_eq!(sent("GET", &one, None).1["total"], 1);
    let listed = client.get("v1/accesskeys", &key).unwrap();
    assert!(listed["AccessKeyID"] == created["AccessKeyID"] && listed.get("AccessKeySecret").is_none(), "{listed}");

    let wrong = |field: &str, value: &str| {
        let mut other = created.clone();
        other[field] = json!(value);
        let (status, answer) = client.send_signed(&other, "GET", "/zstack/v1/zones", None);
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("ID.1002")));
        answer["error"]["details"].as_str().unwrap().to_string()
    };
    assert!(wrong("AccessKeySecret", "wrong").contains("wrong accessKey signature"));
    assert!(wrong("AccessKeyID", "nobody").contains("access key id"));
    let disabled = client.put("v1/accesskeys", &key, "changeAccessKeyState", json!({"stateEvent": "disable"})).unwrap();
    assert_eq!(disabled["state"], "Disabled");
    assert_eq!(sent("GET", "/zstack/v1/zones", None).0, 503);
    client.put("v1/accesskeys", &key, "changeAccessKeyState", json!({"stateEvent": "enable"})).unwrap();
    assert_eq!(sent("GET", "/zstack/v1/zones", None).0, 200);
    assert_eq!(client.delete("v1/accesskeys", &key, "").unwrap(), json!({}));
    assert_eq!(sent("GET", "/zstack/v1/zones", None).0, 503);

    let token = json!({"name": "ci", "scopes": ["read"]});
    let token = client.post("v1/api-tokens", token).unwrap();
    let token = token["token"].as_str().unwrap();
    assert_eq!(client.as_holder_of(token, "GET", "/v1/queries/QueryZone", None).0, 200);
    let (status, refused) = client.as_holder_of(token, "POST", "/v1/commands/CreateZone", Some(&json!({"name": "no"})));
    assert_eq!((status, &refused["code"]), (403, &json!("ID.1001")));
}
