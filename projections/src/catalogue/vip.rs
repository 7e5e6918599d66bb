//! The kinds of VIPs and of the services on them.

use super::Ty::*;
use super::{CHANGED, CREATED, Kind, UUID, each, f, found_by, indexed, many, one};

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
    ],
};
