//! A place with one L2 network, on which tests make L3 networks and ranges.

use crate::harness::{Site, World, admin, text, uuid};
use serde_json::{Map, Value, json};
use switchback_bus::{Bus, Refusal};

/// A data centre of one simulated host, and an L2 network.
pub struct Scene {
    pub world: World,
    pub site: Site,
    pub l2: String,
}

impl Scene {
    pub async fn new() -> Scene {
        let world = World::new();
        let site = Site::bare(&world, 1).await;
        let l2 = site.l2("l2").await;
        Scene { world, site, l2 }
    }

    /// An L3 network without ranges.
    pub async fn l3(&self, category: &str) -> String {
        let l3 = json!({"name": "l3", "l2NetworkUuid": self.l2, "category": category});
        uuid(&self.world.make("CreateL3Network", l3).await)
    }

    /// A private L3 network with one range of a /24, whose gateway is the first address.
    pub async fn l3_with(&self, start: &str, end: &str) -> (String, String) {
        let l3 = self.l3("Private").await;
        let range = uuid(&self.world.make("AddIpRange", range(&l3, start, end)).await);
        (l3, range)
    }

    pub async fn strategy(&self, name: &str) {
        self.world.configure("l3Network", "ipAllocateStrategy", &format!("{name}IpAllocatorStrategy")).await;
    }

    /// A VM on a network, with tags; the VM and its address.
    pub async fn vm_with(&self, l3: &str, tags: &[String]) -> (String, String) {
        let vm = json!({"name": "vm", "l3NetworkUuids": [l3], "systemTags": tags});
        let vm = self.world.make("CreateVmInstance", vm).await;
        (uuid(&vm), text(&vm["vmNics"][0], "ip"))
    }

    pub async fn vm(&self, l3: &str) -> (String, String) {
        self.vm_with(l3, &[]).await
    }

    /// Creates VMs at once; the addresses of those that were made, sorted, and the refusals of the others.
    pub async fn vms_at_once(&self, l3: &str, number: usize) -> (Vec<String>, Vec<Refusal>) {
        let vm = |n: usize| json!({"name": format!("vm-{n}"), "l3NetworkUuids": [l3]});
        let commands = (0..number).map(|n| ("CreateVmInstance", vm(n))).collect();
        let (mut made, mut refused) = (Vec::new(), Vec::new());
        for answer in self.world.at_once(commands).await {
            match answer {
                Ok(reply) => made.push(text(&reply.inventory.unwrap()["vmNics"][0], "ip")),
                Err(refusal) => refused.push(refusal),
            }
        }
        made.sort_by_key(|ip| ip.parse::<std::net::Ipv4Addr>().unwrap());
        (made, refused)
    }

    pub async fn destroy(&self, vm: &str) {
        self.world.done("DestroyVmInstance", json!({"uuid": vm})).await;
    }

    /// The free addresses that a network or a range answers.
    pub async fn free(&self, parameters: Value) -> Vec<String> {
        let found = self.world.read("GetFreeIp", parameters).await;
        found["inventories"].as_array().unwrap().iter().map(|one| text(one, "ip")).collect()
    }

    /// Start, end and gateway of the ranges that a CIDR gives.
    pub async fn by_cidr(&self, l3: &str, net: &str, gateway: Option<&str>) -> Vec<[String; 3]> {
        let reply = self.world.done("AddIpRangeByNetworkCidr", cidr(l3, net, gateway)).await;
        let first = reply.inventory.unwrap();
        let all = reply.inventories.unwrap_or_else(|| vec![first.clone()]);
        assert_eq!(all[0], first);
        all.iter().map(|range| ["startIp", "endIp", "gateway"].map(|field| text(range, field))).collect()
    }

    pub async fn refused_read(&self, name: &str, parameters: Value) -> Refusal {
        match self.world.node.read(&admin(), name, parameters.clone()).await {
            Ok(reply) => panic!("{name} {parameters} was not refused: {reply}"),
            Err(refusal) => refusal,
        }
    }

    /// A request that is refused for its argument, in these words.
    pub async fn bad(&self, name: &str, parameters: Value, words: &str) {
        let refusal = self.world.refused(name, parameters).await;
        assert!(refusal.code == "SYS.1007" && refusal.detail.contains(words), "{words}: {refusal}");
    }
}

/// Parameters of a range in a /24, whose gateway is the first address.
pub fn range(l3: &str, start: &str, end: &str) -> Value {
    let (net, _) = start.rsplit_once('.').unwrap();
    json!({
        "l3NetworkUuid": l3, "name": "r", "startIp": start, "endIp": end, "netmask": "255.255.255.0",
        "gateway": format!("{net}.1"),
    })
}

pub fn cidr(l3: &str, net: &str, gateway: Option<&str>) -> Value {
    let mut parameters = Map::new();
    parameters.insert("l3NetworkUuid".to_string(), json!(l3));
    parameters.insert("name".to_string(), json!("r"));
    parameters.insert("networkCidr".to_string(), json!(net));
    parameters.extend(gateway.map(|gateway| ("gateway".to_string(), json!(gateway))));
    Value::Object(parameters)
}
