//! The kinds of VIPs and of the services on them.

use super::Ty::*;
use super::{CHANGED, CREATED, Kind, UUID, each, f, found_by, indexed, many, one, shown};

/// A virtual IP address. Who uses it follows from the services' rows.
pub static VIP: Kind = Kind {
    name: "vip",
    queries: &["QueryVip"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("l3NetworkUuid", Uuid),
        indexed("ip", Text),
        f("ipVersion", Int),
        f("gateway", Text),
        f("netmask", Text),
        f("prefixLen", Int),
        indexed("ipRangeUuid", Uuid),
        indexed("usedIpUuid", Uuid),
        f("serviceProvider", Text),
        f("peerL3NetworkUuids", Uuids),
        f("useFor", Text),
        f("state", Text),
        f("system", Bool),
        found_by("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("l3Network", "l3", "l3NetworkUuid"),
        one("ipRange", "ipRange", "ipRangeUuid"),
        one("usedIp", "usedIp", "usedIpUuid"),
        each("peerL3Networks", "l3", "peerL3NetworkUuids"),
        many("eip", "eip", "vipUuid"),
        many("portForwarding", "portForwarding", "vipUuid"),
        many("loadBalancer", "loadBalancer", "vipUuid"),
        shown("servicesRefs", "vipService", "vipUuid"),
        shown("qos", "vipQos", "vipUuid"),
        one("virtualRouter", "virtualRouter", "virtualRouterUuid"),
    ],
};

/// A service on a VIP, by the service's uuid. There is no query of its own: the VIP shows it.
pub static VIP_SERVICE: Kind = Kind {
    name: "vipService",
    queries: &[],
    fields: &[UUID, indexed("vipUuid", Uuid), f("serviceType", Text), CREATED, CHANGED],
    relations: &[one("vip", "vip", "vipUuid")],
};

/// How fast the traffic of a VIP may be, or of one of its ports. There is no query of its own: the VIP shows it.
pub static VIP_QOS: Kind = Kind {
    name: "vipQos",
    queries: &[],
    fields: &[
        UUID,
        indexed("vipUuid", Uuid),
        f("port", Int),
        f("inboundBandwidth", Int),
        f("outboundBandwidth", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[one("vip", "vip", "vipUuid")],
};

/// An elastic IP address: a VIP for one nic.
pub static EIP: Kind = Kind {
    name: "eip",
    queries: &["QueryEip"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("vmNicUuid", Uuid),
        indexed("vipUuid", Uuid),
        f("vipIp", Text),
        f("guestIp", Text),
        f("state", Text),
        found_by("guestNetworkUuid", Uuid),
        found_by("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vip", "vip", "vipUuid"),
        one("vmNic", "nic", "vmNicUuid"),
        one("virtualRouter", "virtualRouter", "virtualRouterUuid"),
    ],
};

/// A port forwarding rule.
pub static PORT_FORWARDING: Kind = Kind {
    name: "portForwarding",
    queries: &["QueryPortForwardingRule"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("vmNicUuid", Uuid),
        indexed("vipUuid", Uuid),
        f("vipIp", Text),
        f("guestIp", Text),
        f("vipPortStart", Int),
        f("vipPortEnd", Int),
        f("privatePortStart", Int),
        f("privatePortEnd", Int),
        f("protocolType", Text),
        f("allowedCidr", Text),
        f("state", Text),
        found_by("guestNetworkUuid", Uuid),
        found_by("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vip", "vip", "vipUuid"),
        one("vmNic", "nic", "vmNicUuid"),
        one("virtualRouter", "virtualRouter", "virtualRouterUuid"),
    ],
};

/// A load balancer.
pub static LOAD_BALANCER: Kind = Kind {
    name: "loadBalancer",
    queries: &["QueryLoadBalancer"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("vipUuid", Uuid),
        f("type", Text),
        f("state", Text),
        found_by("guestNetworkUuid", Uuid),
        found_by("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vip", "vip", "vipUuid"),
        one("virtualRouter", "virtualRouter", "virtualRouterUuid"),
        shown("listeners", "loadBalancerListener", "loadBalancerUuid"),
        many("serverGroups", "loadBalancerServerGroup", "loadBalancerUuid"),
    ],
};

/// A listener of a load balancer.
pub static LISTENER: Kind = Kind {
    name: "loadBalancerListener",
    queries: &["QueryLoadBalancerListener"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("loadBalancerUuid", Uuid),
        f("loadBalancerPort", Int),
        f("instancePort", Int),
        f("protocol", Text),
        f("balancerAlgorithm", Text),
        f("connectionIdleTimeout", Int),
        f("maxConnection", Int),
        f("nbprocess", Int),
        f("healthCheckProtocol", Text),
        f("healthCheckMethod", Text),
        f("healthCheckURI", Text),
        f("healthCheckHttpCode", Text),
        f("healthCheckTarget", Text),
        f("healthCheckInterval", Int),
        f("healthCheckTimeout", Int),
        f("healthyThreshold", Int),
        f("unhealthyThreshold", Int),
        f("sessionPersistence", Text),
        f("sessionIdleTimeout", Int),
        f("cookieName", Text),
        f("httpMode", Text),
        f("httpCompressAlgos", Texts),
        f("httpRedirectHttps", Text),
        f("redirectPort", Int),
        f("statusCode", Int),
        f("tcpProxyProtocol", Text),
        indexed("certificateUuid", Uuid),
        f("securityPolicyType", Text),
        f("httpVersions", Texts),
        indexed("serverGroupUuid", Uuid),
        f("serverGroupUuids", Uuids),
        f("vmNicUuids", Uuids),
        f("aclStatus", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("loadBalancer", "loadBalancer", "loadBalancerUuid"),
        one("certificate", "certificate", "certificateUuid"),
        each("serverGroups", "loadBalancerServerGroup", "serverGroupUuids"),
        each("vmNics", "nic", "vmNicUuids"),
        each("vmNic", "nic", "vmNicUuids"),
        shown("aclRefs", "loadBalancerListenerAclRef", "listenerUuid"),
    ],
};

/// An access control list.
pub static ACCESS_LIST: Kind = Kind {
    name: "accessControlList",
    queries: &["QueryAccessControlList"],
    fields: &[UUID, indexed("name", Text), f("description", Text), f("ipVersion", Int), CREATED, CHANGED],
    relations: &[
        shown("entries", "accessControlListEntry", "aclUuid"),
        many("listenerRefs", "loadBalancerListenerAclRef", "aclUuid"),
    ],
};

/// An entry of an access control list: addresses, or its rule. There is no query of its own: the list shows it.
pub static ACCESS_LIST_ENTRY: Kind = Kind {
    name: "accessControlListEntry",
    queries: &[],
    fields: &[
        UUID,
        indexed("aclUuid", Uuid),
        f("type", Text),
        f("name", Text),
        f("description", Text),
        f("ipEntries", Text),
        f("domain", Text),
        f("url", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[one("accessControlList", "accessControlList", "aclUuid")],
};

/// That a listener goes by an access control list; of a redirect, with each server group. There is no query of its own:
/// the listener shows it.
pub static LISTENER_ACCESS: Kind = Kind {
    name: "loadBalancerListenerAclRef",
    queries: &[],
    fields: &[
        UUID,
        indexed("listenerUuid", Uuid),
        f("loadBalancerUuid", Uuid),
        indexed("aclUuid", Uuid),
        f("type", Text),
        f("serverGroupUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("listener", "loadBalancerListener", "listenerUuid"),
        one("accessControlList", "accessControlList", "aclUuid"),
        one("serverGroup", "loadBalancerServerGroup", "serverGroupUuid"),
    ],
};

/// A certificate.
pub static CERTIFICATE: Kind = Kind {
    name: "certificate",
    queries: &["QueryCertificate"],
    fields: &[UUID, indexed("name", Text), f("description", Text), f("certificate", Text), CREATED, CHANGED],
    relations: &[many("listeners", "loadBalancerListener", "certificateUuid")],
};

/// A server group of a load balancer.
pub static SERVER_GROUP: Kind = Kind {
    name: "loadBalancerServerGroup",
    queries: &["QueryLoadBalancerServerGroup"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("loadBalancerUuid", Uuid),
        f("vmNicUuids", Uuids),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("loadBalancer", "loadBalancer", "loadBalancerUuid"),
        each("vmNics", "nic", "vmNicUuids"),
        shown("vmNicRefs", "serverGroupVmNic", "serverGroupUuid"),
    ],
};

/// That a nic is in a server group. There is no query of its own: the group shows it.
pub static SERVER_GROUP_NIC: Kind = Kind {
    name: "serverGroupVmNic",
    queries: &[],
    fields: &[
        UUID,
        indexed("serverGroupUuid", Uuid),
        f("loadBalancerUuid", Uuid),
        f("vmNicUuid", Uuid),
        f("weight", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[one("serverGroup", "loadBalancerServerGroup", "serverGroupUuid"), one("vmNic", "nic", "vmNicUuid")],
};
