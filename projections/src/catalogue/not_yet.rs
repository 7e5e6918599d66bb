//! Kinds that relations lead to and that no event makes a row of yet. So conditions over them are legal and none holds
//! but `=null`: what existing clients ask is answered as of a system that has none.

use super::Ty::*;
use super::{CHANGED, CREATED, Kind, UUID, each, f, hidden, indexed, many, one};

/// A volume of a VM.
pub static VOLUME: Kind = Kind {
    name: "volume",
    queries: &[],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("primaryStorageUuid", Uuid),
        indexed("vmInstanceUuid", Uuid),
        f("rootImageUuid", Uuid),
        f("installPath", Text),
        f("type", Text),
        f("format", Text),
        f("size", Int),
        f("deviceId", Int),
        f("state", Text),
        f("status", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vmInstance", "vm", "vmInstanceUuid"),
        one("virtualRouter", "virtualRouter", "vmInstanceUuid"),
        one("rootImage", "image", "rootImageUuid"),
    ],
};

/// A virtual IP address.
pub static VIP: Kind = Kind {
    name: "vip",
    queries: &[],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("l3NetworkUuid", Uuid),
        indexed("ip", Text),
        f("gateway", Text),
        f("netmask", Text),
        f("prefixLen", Int),
        f("serviceProvider", Text),
        f("peerL3NetworkUuids", Uuids),
        f("useFor", Text),
        f("state", Text),
        hidden("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("l3Network", "l3", "l3NetworkUuid"),
        each("peerL3Networks", "l3", "peerL3NetworkUuids"),
        many("eip", "eip", "vipUuid"),
        many("portForwarding", "portForwarding", "vipUuid"),
    ],
};

/// An elastic IP address: a VIP for one nic.
pub static EIP: Kind = Kind {
    name: "eip",
    queries: &[],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("vmNicUuid", Uuid),
        indexed("vipUuid", Uuid),
        f("vipIp", Text),
        f("guestIp", Text),
        f("state", Text),
        hidden("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[one("vip", "vip", "vipUuid"), one("vmNic", "nic", "vmNicUuid")],
};

/// A port forwarding rule.
pub static PORT_FORWARDING: Kind = Kind {
    name: "portForwarding",
    queries: &[],
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
        hidden("virtualRouterUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[one("vip", "vip", "vipUuid"), one("vmNic", "nic", "vmNicUuid")],
};
