//! The catalogue: the one place that says which kinds, fields and relations there are. The tables, the fold's
//! statements, the query compiler, the rendering as JSON and the schema hash all derive from it.
//!
//! **Invariant:** every kind starts with `uuid` and ends with `createDate` and `lastOpDate`. Names of SQL tables
//! and columns come from here alone, never from a user.

mod credential;
mod not_yet;
mod ownership;
mod role;
mod security_group;
#[cfg(test)]
mod tests;
mod vip;

pub use credential::{ACCESS_KEY, API_TOKEN};
pub use not_yet::VOLUME;
pub use ownership::{ACCOUNT_RESOURCE_REF, QUOTA, SHARED_RESOURCE};
pub use role::{POLICY, POLICY_STATEMENT, ROLE, ROLE_ACCOUNT_REF, ROLE_POLICY_REF};
pub use security_group::{NIC_GROUP_REF, NIC_POLICY, SECURITY_GROUP, SECURITY_GROUP_RULE};
pub use vip::{
    ACCESS_LIST, ACCESS_LIST_ENTRY, CERTIFICATE, EIP, LISTENER, LISTENER_ACCESS, LOAD_BALANCER, PORT_FORWARDING,
    SERVER_GROUP, SERVER_GROUP_NIC, VIP, VIP_QOS, VIP_SERVICE,
};

use Ty::*;

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    /// 32 hexadecimal digits; compared exactly, arguments in lower case.
    Uuid,
    /// Text; compared without regard to ASCII case.
    Text,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A moment: microseconds in SQL, RFC 3339 in UTC in JSON.
    Time,
    /// A list of texts.
    Texts,
    /// A list of uuids.
    Uuids,
}

impl Ty {
    /// Whether it is a list.
    pub const fn is_list(self) -> bool {
        matches!(self, Texts | Uuids)
    }
}

/// One field of a kind.
#[derive(Debug)]
pub struct Field {
    /// Its name in the API, and its column.
    pub name: &'static str,
    /// What it holds.
    pub ty: Ty,
    /// Whether the latest rows are indexed by it.
    pub indexed: bool,
    /// A key that the reference's inventory does not show.
    pub hidden: bool,
}

/// How rows of one kind belong to rows of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// My field holds their uuid: `nic.vmInstance`.
    One(&'static str),
    /// Their field holds my uuid: `vm.vmNics`.
    Many(&'static str),
    /// My list holds their uuids: `l2.attachedClusters`.
    Each(&'static str),
    /// Their list holds my uuid: `cluster.l2Networks`.
    Listed(&'static str),
}

/// A relation: a nested or expanded field.
#[derive(Debug)]
pub struct Relation {
    /// Its name in the API.
    pub name: &'static str,
    /// The name of the other kind.
    pub to: &'static str,
    /// How the rows find each other.
    pub link: Link,
    /// Whether the inventory shows the related rows in full.
    pub embedded: bool,
    /// A hidden field that says whether there are related rows that another event made than the row itself. Those that the
    /// same event made are found by the row's id, which theirs follow; without such a field all are found by index.
    pub others: Option<&'static str>,
}

/// One kind of inventory.
pub struct Kind {
    /// Its name, and its table.
    pub name: &'static str,
    /// The Query messages that ask for it.
    pub queries: &'static [&'static str],
    /// Its fields, `uuid` first.
    pub fields: &'static [Field],
    /// Its nested and expanded fields.
    pub relations: &'static [Relation],
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    /// The place of the field `name`, hidden ones included.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The field `name`, if the API shows it.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name && !field.hidden)
    }

    /// The relation `name`.
    pub fn relation(&self, name: &str) -> Option<&'static Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }
}

impl Relation {
    /// The other kind.
    pub fn target(&self) -> &'static Kind {
        kind(self.to).expect("the catalogue's own test checks every relation's target")
    }
}

/// The kind `name`.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

/// The kind that the message `query` asks for: `QueryVirtualRouterVm` is `virtualRouter`.
pub fn kind_of_query(query: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.queries.contains(&query))
}

const fn f(name: &'static str, ty: Ty) -> Field {
    Field { name, ty, indexed: false, hidden: false }
}
const fn indexed(name: &'static str, ty: Ty) -> Field {
    Field { name, ty, indexed: true, hidden: false }
}
const fn hidden(name: &'static str, ty: Ty) -> Field {
    Field { name, ty, indexed: false, hidden: true }
}
/// A key that the latest rows are found by.
const fn found_by(name: &'static str, ty: Ty) -> Field {
    Field { name, ty, indexed: true, hidden: true }
}
const fn one(name: &'static str, to: &'static str, field: &'static str) -> Relation {
    Relation { name, to, link: Link::One(field), embedded: false, others: None }
}
const fn many(name: &'static str, to: &'static str, field: &'static str) -> Relation {
    Relation { name, to, link: Link::Many(field), embedded: false, others: None }
}
const fn shown(name: &'static str, to: &'static str, field: &'static str) -> Relation {
    Relation { name, to, link: Link::Many(field), embedded: true, others: None }
}
/// The same, with the field that says whether another event made some of them.
const fn shown_by_id(name: &'static str, to: &'static str, field: &'static str, others: &'static str) -> Relation {
    Relation { name, to, link: Link::Many(field), embedded: true, others: Some(others) }
}
const fn each(name: &'static str, to: &'static str, list: &'static str) -> Relation {
    Relation { name, to, link: Link::Each(list), embedded: false, others: None }
}
const fn listed(name: &'static str, to: &'static str, list: &'static str) -> Relation {
    Relation { name, to, link: Link::Listed(list), embedded: false, others: None }
}

const UUID: Field = f("uuid", Uuid);
const CREATED: Field = f("createDate", Time);
const CHANGED: Field = f("lastOpDate", Time);

/// All kinds.
pub static KINDS: &[&Kind] = &[
    &ZONE,
    &CLUSTER,
    &HOST,
    &IMAGE,
    &L2,
    &L3,
    &IP_RANGE,
    &USED_IP,
    &RESERVED_RANGE,
    &HOST_ROUTE,
    &PROVIDER,
    &SERVICE_REF,
    &INSTANCE_OFFERING,
    &ROUTER_OFFERING,
    &VM,
    &NIC,
    &ROUTER,
    &VOLUME,
    &LOAD_BALANCER,
    &LISTENER,
    &CERTIFICATE,
    &ACCESS_LIST,
    &ACCESS_LIST_ENTRY,
    &LISTENER_ACCESS,
    &SERVER_GROUP,
    &SERVER_GROUP_NIC,
    &VIP,
    &EIP,
    &PORT_FORWARDING,
    &VIP_SERVICE,
    &VIP_QOS,
    &SYSTEM_TAG,
    &USER_TAG,
    &TAG,
    &GLOBAL_CONFIG,
    &RESOURCE_CONFIG,
    &ACCOUNT,
    &ACCESS_KEY,
    &API_TOKEN,
    &POLICY,
    &POLICY_STATEMENT,
    &ROLE,
    &ROLE_POLICY_REF,
    &ROLE_ACCOUNT_REF,
    &ACCOUNT_RESOURCE_REF,
    &SHARED_RESOURCE,
    &QUOTA,
    &SECURITY_GROUP,
    &SECURITY_GROUP_RULE,
    &NIC_GROUP_REF,
    &NIC_POLICY,
];

/// An account.
pub static ACCOUNT: Kind = Kind {
    name: "account",
    queries: &["QueryAccount"],
    fields: &[UUID, indexed("name", Text), f("description", Text), f("type", Text), CREATED, CHANGED],
    relations: &[
        many("accessKeys", "accessKey", "accountUuid"),
        many("apiTokens", "apiToken", "accountUuid"),
        many("roleRefs", "roleAccountRef", "accountUuid"),
    ],
};

/// A zone.
pub static ZONE: Kind = Kind {
    name: "zone",
    queries: &["QueryZone"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("state", Text),
        f("type", Text),
        f("isDefault", Bool),
        CREATED,
        CHANGED,
    ],
    relations: &[
        many("clusters", "cluster", "zoneUuid"),
        many("cluster", "cluster", "zoneUuid"),
        many("hosts", "host", "zoneUuid"),
        many("host", "host", "zoneUuid"),
        many("l2Networks", "l2", "zoneUuid"),
        many("l2Network", "l2", "zoneUuid"),
        many("l3Networks", "l3", "zoneUuid"),
        many("l3Network", "l3", "zoneUuid"),
        many("vmInstances", "vm", "zoneUuid"),
        many("vmInstance", "vm", "zoneUuid"),
        many("virtualRouters", "virtualRouter", "zoneUuid"),
    ],
};

/// A cluster of hosts.
pub static CLUSTER: Kind = Kind {
    name: "cluster",
    queries: &["QueryCluster"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("zoneUuid", Uuid),
        f("hypervisorType", Text),
        f("state", Text),
        f("type", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("zone", "zone", "zoneUuid"),
        many("hosts", "host", "clusterUuid"),
        many("host", "host", "clusterUuid"),
        many("vmInstances", "vm", "clusterUuid"),
        many("vmInstance", "vm", "clusterUuid"),
        many("virtualRouters", "virtualRouter", "clusterUuid"),
        listed("l2Networks", "l2", "attachedClusterUuids"),
        listed("l2Network", "l2", "attachedClusterUuids"),
    ],
};

/// A host.
pub static HOST: Kind = Kind {
    name: "host",
    queries: &["QueryHost"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("zoneUuid", Uuid),
        indexed("clusterUuid", Uuid),
        indexed("managementIp", Text),
        f("hypervisorType", Text),
        f("state", Text),
        f("status", Text),
        f("statusReason", Text),
        f("driftCount", Int),
        f("driftReason", Text),
        f("notes", Texts),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("zone", "zone", "zoneUuid"),
        one("cluster", "cluster", "clusterUuid"),
        many("vmInstances", "vm", "hostUuid"),
        many("vmInstance", "vm", "hostUuid"),
        many("virtualRouters", "virtualRouter", "hostUuid"),
    ],
};

/// An image record.
pub static IMAGE: Kind = Kind {
    name: "image",
    queries: &["QueryImage"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("mediaType", Text),
        f("format", Text),
        f("url", Text),
        f("system", Bool),
        f("state", Text),
        f("status", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        many("vmInstances", "vm", "imageUuid"),
        many("vmInstance", "vm", "imageUuid"),
        many("virtualRouters", "virtualRouter", "imageUuid"),
        many("virtualRouterOfferings", "virtualRouterOffering", "imageUuid"),
    ],
};

/// An L2 network.
pub static L2: Kind = Kind {
    name: "l2",
    queries: &["QueryL2Network", "QueryL2VlanNetwork"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("zoneUuid", Uuid),
        f("physicalInterface", Text),
        f("type", Text),
        f("vSwitchType", Text),
        f("virtualNetworkId", Int),
        f("vlan", Int),
        f("isolated", Bool),
        f("pvlan", Text),
        f("attachedClusterUuids", Uuids),
        f("networkServiceProviderUuids", Uuids),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("zone", "zone", "zoneUuid"),
        each("networkServiceProviders", "networkServiceProvider", "networkServiceProviderUuids"),
        many("l3Networks", "l3", "l2NetworkUuid"),
        many("l3Network", "l3", "l2NetworkUuid"),
        each("attachedClusters", "cluster", "attachedClusterUuids"),
        each("cluster", "cluster", "attachedClusterUuids"),
    ],
};

/// An L3 network.
pub static L3: Kind = Kind {
    name: "l3",
    queries: &["QueryL3Network"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("zoneUuid", Uuid),
        indexed("l2NetworkUuid", Uuid),
        f("state", Text),
        f("type", Text),
        f("dnsDomain", Text),
        f("system", Bool),
        f("category", Text),
        f("ipVersion", Int),
        f("enableIPAM", Bool),
        f("dns", Texts),
        f("mtu", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("zone", "zone", "zoneUuid"),
        one("l2Network", "l2", "l2NetworkUuid"),
        shown("ipRanges", "ipRange", "l3NetworkUuid"),
        shown("reservedIpRanges", "reservedIpRange", "l3NetworkUuid"),
        shown("networkServices", "networkServiceL3NetworkRef", "l3NetworkUuid"),
        shown("hostRoute", "hostRoute", "l3NetworkUuid"),
        many("vmNics", "nic", "l3NetworkUuid"),
        many("vmNic", "nic", "l3NetworkUuid"),
        many("usedIps", "usedIp", "l3NetworkUuid"),
        many("vips", "vip", "l3NetworkUuid"),
        many("vip", "vip", "l3NetworkUuid"),
        listed("securityGroup", "securityGroup", "attachedL3NetworkUuids"),
    ],
};

/// A range of addresses.
pub static IP_RANGE: Kind = Kind {
    name: "ipRange",
    queries: &["QueryIpRange", "QueryAddressPool"],
    fields: &[
        UUID,
        indexed("l3NetworkUuid", Uuid),
        indexed("name", Text),
        f("description", Text),
        f("startIp", Text),
        f("endIp", Text),
        f("netmask", Text),
        f("gateway", Text),
        f("networkCidr", Text),
        f("prefixLen", Int),
        f("ipVersion", Int),
        f("addressMode", Text),
        f("ipRangeType", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("l3Network", "l3", "l3NetworkUuid"),
        many("usedIps", "usedIp", "ipRangeUuid"),
        many("vips", "vip", "ipRangeUuid"),
    ],
};

/// A reserved range of addresses. There is no query of its own: its network shows it.
pub static RESERVED_RANGE: Kind = Kind {
    name: "reservedIpRange",
    queries: &[],
    fields: &[
        UUID,
        indexed("l3NetworkUuid", Uuid),
        f("startIp", Text),
        f("endIp", Text),
        f("ipVersion", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[one("l3Network", "l3", "l3NetworkUuid")],
};

/// A host route. There is no query of its own: its network shows it.
pub static HOST_ROUTE: Kind = Kind {
    name: "hostRoute",
    queries: &[],
    fields: &[
        hidden("uuid", Uuid),
        indexed("l3NetworkUuid", Uuid),
        f("prefix", Text),
        f("nexthop", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[one("l3Network", "l3", "l3NetworkUuid")],
};

/// An address that has a holder, or is reserved.
pub static USED_IP: Kind = Kind {
    name: "usedIp",
    queries: &["QueryIpAddress"],
    fields: &[
        UUID,
        indexed("ipRangeUuid", Uuid),
        indexed("l3NetworkUuid", Uuid),
        indexed("ip", Text),
        f("ipVersion", Int),
        f("netmask", Text),
        f("gateway", Text),
        indexed("vmNicUuid", Uuid),
        f("usedFor", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("ipRange", "ipRange", "ipRangeUuid"),
        one("l3Network", "l3", "l3NetworkUuid"),
        one("vmNic", "nic", "vmNicUuid"),
        many("vip", "vip", "usedIpUuid"),
    ],
};

/// A provider of network services.
pub static PROVIDER: Kind = Kind {
    name: "networkServiceProvider",
    queries: &["QueryNetworkServiceProvider"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("type", Text),
        f("networkServiceTypes", Texts),
        CREATED,
        CHANGED,
    ],
    relations: &[
        many("networkServices", "networkServiceL3NetworkRef", "networkServiceProviderUuid"),
        listed("attachedL2Networks", "l2", "networkServiceProviderUuids"),
    ],
};

/// One service of one provider on one L3 network.
pub static SERVICE_REF: Kind = Kind {
    name: "networkServiceL3NetworkRef",
    queries: &["QueryNetworkServiceL3NetworkRef"],
    fields: &[
        hidden("uuid", Uuid),
        indexed("l3NetworkUuid", Uuid),
        indexed("networkServiceProviderUuid", Uuid),
        f("networkServiceType", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("l3Network", "l3", "l3NetworkUuid"),
        one("serviceProvider", "networkServiceProvider", "networkServiceProviderUuid"),
    ],
};

/// An instance offering, those for routers included.
pub static INSTANCE_OFFERING: Kind = Kind {
    name: "instanceOffering",
    queries: &["QueryInstanceOffering"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("cpuNum", Int),
        f("cpuSpeed", Int),
        f("memorySize", Int),
        f("allocatorStrategy", Text),
        f("sortKey", Int),
        f("state", Text),
        f("type", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[many("vmInstances", "vm", "instanceOfferingUuid"), many("vmInstance", "vm", "instanceOfferingUuid")],
};

/// A virtual router offering.
pub static ROUTER_OFFERING: Kind = Kind {
    name: "virtualRouterOffering",
    queries: &["QueryVirtualRouterOffering"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("cpuNum", Int),
        f("cpuSpeed", Int),
        f("memorySize", Int),
        f("allocatorStrategy", Text),
        f("sortKey", Int),
        f("state", Text),
        f("type", Text),
        f("zoneUuid", Uuid),
        f("managementNetworkUuid", Uuid),
        f("publicNetworkUuid", Uuid),
        f("imageUuid", Uuid),
        f("isDefault", Bool),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("image", "image", "imageUuid"),
        one("managementL3Network", "l3", "managementNetworkUuid"),
        one("publicL3Network", "l3", "publicNetworkUuid"),
        one("zone", "zone", "zoneUuid"),
        many("virtualRouters", "virtualRouter", "virtualRouterOfferingUuid"),
    ],
};

/// A user's VM.
pub static VM: Kind = Kind {
    name: "vm",
    queries: &["QueryVmInstance"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("type", Text),
        f("zoneUuid", Uuid),
        indexed("clusterUuid", Uuid),
        indexed("hostUuid", Uuid),
        f("lastHostUuid", Uuid),
        f("imageUuid", Uuid),
        f("instanceOfferingUuid", Uuid),
        f("rootVolumeUuid", Uuid),
        indexed("defaultL3NetworkUuid", Uuid),
        f("hypervisorType", Text),
        f("state", Text),
        f("hostname", Text),
        f("lastError", Text),
        hidden("hasLaterNics", Bool),
        CREATED,
        CHANGED,
    ],
    relations: &[
        shown_by_id("vmNics", "nic", "vmInstanceUuid", "hasLaterNics"),
        shown("allVolumes", "volume", "vmInstanceUuid"),
        one("rootVolume", "volume", "rootVolumeUuid"),
        one("host", "host", "hostUuid"),
        one("lastHost", "host", "lastHostUuid"),
        one("cluster", "cluster", "clusterUuid"),
        one("zone", "zone", "zoneUuid"),
        one("image", "image", "imageUuid"),
        one("instanceOffering", "instanceOffering", "instanceOfferingUuid"),
        one("defaultL3Network", "l3", "defaultL3NetworkUuid"),
    ],
};

/// A network interface of a VM or of a router.
pub static NIC: Kind = Kind {
    name: "nic",
    queries: &["QueryVmNic"],
    fields: &[
        UUID,
        indexed("vmInstanceUuid", Uuid),
        indexed("l3NetworkUuid", Uuid),
        indexed("mac", Text),
        indexed("ip", Text),
        f("netmask", Text),
        f("gateway", Text),
        f("deviceId", Int),
        f("internalName", Text),
        f("hypervisorType", Text),
        f("metaData", Text),
        f("usedIpUuid", Uuid),
        f("state", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vmInstance", "vm", "vmInstanceUuid"),
        one("virtualRouter", "virtualRouter", "vmInstanceUuid"),
        one("l3Network", "l3", "l3NetworkUuid"),
        many("usedIps", "usedIp", "vmNicUuid"),
        many("eip", "eip", "vmNicUuid"),
        many("portForwarding", "portForwarding", "vmNicUuid"),
        many("securityGroupRef", "vmNicInSecurityGroup", "vmNicUuid"),
        many("securityPolicy", "vmNicSecurityPolicy", "vmNicUuid"),
        listed("loadBalancerListener", "loadBalancerListener", "vmNicUuids"),
    ],
};

/// A virtual router.
pub static ROUTER: Kind = Kind {
    name: "virtualRouter",
    queries: &["QueryVirtualRouterVm", "QueryApplianceVm"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("type", Text),
        f("applianceVmType", Text),
        f("zoneUuid", Uuid),
        indexed("clusterUuid", Uuid),
        indexed("hostUuid", Uuid),
        f("lastHostUuid", Uuid),
        f("imageUuid", Uuid),
        f("instanceOfferingUuid", Uuid),
        f("rootVolumeUuid", Uuid),
        indexed("virtualRouterOfferingUuid", Uuid),
        f("managementNetworkUuid", Uuid),
        f("publicNetworkUuid", Uuid),
        found_by("guestNetworkUuid", Uuid),
        indexed("defaultRouteL3NetworkUuid", Uuid),
        f("defaultL3NetworkUuid", Uuid),
        f("hypervisorType", Text),
        f("state", Text),
        f("status", Text),
        f("statusReason", Text),
        f("healthReason", Text),
        f("driftCount", Int),
        f("driftReason", Text),
        f("hostname", Text),
        f("lastError", Text),
        f("haStatus", Text),
        f("agentPort", Int),
        f("agentDigest", Text),
        f("configRevision", Int),
        f("configDigest", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        shown("vmNics", "nic", "vmInstanceUuid"),
        shown("allVolumes", "volume", "vmInstanceUuid"),
        one("rootVolume", "volume", "rootVolumeUuid"),
        one("host", "host", "hostUuid"),
        one("lastHost", "host", "lastHostUuid"),
        one("cluster", "cluster", "clusterUuid"),
        one("zone", "zone", "zoneUuid"),
        one("image", "image", "imageUuid"),
        one("instanceOffering", "instanceOffering", "instanceOfferingUuid"),
        many("vip", "vip", "virtualRouterUuid"),
        many("eip", "eip", "virtualRouterUuid"),
        many("portForwarding", "portForwarding", "virtualRouterUuid"),
        one("virtualRouterOffering", "virtualRouterOffering", "virtualRouterOfferingUuid"),
        one("managementL3Network", "l3", "managementNetworkUuid"),
        one("publicL3Network", "l3", "publicNetworkUuid"),
        one("defaultRouteL3Network", "l3", "defaultRouteL3NetworkUuid"),
    ],
};

/// A tag that the system reads.
pub static SYSTEM_TAG: Kind =
    Kind { name: "systemTag", queries: &["QuerySystemTag"], fields: TAG_FIELDS, relations: &[] };

/// A tag of a user's.
pub static USER_TAG: Kind = Kind { name: "userTag", queries: &["QueryUserTag"], fields: TAG_FIELDS, relations: &[] };

/// A tag of either.
pub static TAG: Kind = Kind { name: "tag", queries: &["QueryTag"], fields: TAG_FIELDS, relations: &[] };

const TAG_FIELDS: &[Field] = &[
    UUID,
    indexed("resourceUuid", Uuid),
    f("resourceType", Text),
    indexed("tag", Text),
    f("inherent", Bool),
    f("type", Text),
    CREATED,
    CHANGED,
];

/// One global configuration value. The rows of defaults exist from position 0, without dates.
pub static GLOBAL_CONFIG: Kind = Kind {
    name: "globalConfig",
    queries: &["QueryGlobalConfig"],
    fields: &[
        hidden("uuid", Uuid),
        indexed("category", Text),
        indexed("name", Text),
        f("value", Text),
        f("defaultValue", Text),
        f("description", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[],
};

/// A value of the configuration that a resource has of its own.
pub static RESOURCE_CONFIG: Kind = Kind {
    name: "resourceConfig",
    queries: &["QueryResourceConfig"],
    fields: &[
        UUID,
        indexed("resourceUuid", Uuid),
        f("resourceType", Text),
        f("category", Text),
        indexed("name", Text),
        f("value", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[],
};
