//! Kinds that relations lead to and that no event makes a row of yet. So conditions over them are legal and none holds
//! but `=null`: what existing clients ask is answered as of a system that has none.

use super::Ty::*;
use super::{CHANGED, CREATED, Kind, UUID, f, hidden, indexed, one};

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
