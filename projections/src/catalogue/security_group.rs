//! The kinds of security groups: their rules, the nics in them, and the policies of nics.

use super::{CHANGED, CREATED, Kind, Ty::*, UUID, each, f, found_by, indexed, many, one, shown};

/// A security group.
pub static SECURITY_GROUP: Kind = Kind {
    name: "securityGroup",
    queries: &["QuerySecurityGroup"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("ipVersion", Int),
        f("state", Text),
        f("attachedL3NetworkUuids", Uuids),
        CREATED,
        CHANGED,
    ],
    relations: &[
        shown("rules", "securityGroupRule", "securityGroupUuid"),
        many("vmNicRef", "vmNicInSecurityGroup", "securityGroupUuid"),
        each("l3Network", "l3", "attachedL3NetworkUuids"),
    ],
};

/// A rule of a security group.
pub static SECURITY_GROUP_RULE: Kind = Kind {
    name: "securityGroupRule",
    queries: &["QuerySecurityGroupRule"],
    fields: &[
        UUID,
        indexed("securityGroupUuid", Uuid),
        f("type", Text),
        f("priority", Int),
        f("state", Text),
        f("description", Text),
        f("ipVersion", Int),
        f("protocol", Text),
        indexed("remoteSecurityGroupUuid", Uuid),
        f("srcIpRange", Text),
        f("dstIpRange", Text),
        f("dstPortRange", Text),
        f("action", Text),
        f("allowedCidr", Text),
        f("startPort", Int),
        f("endPort", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("securityGroup", "securityGroup", "securityGroupUuid"),
        one("remoteSecurityGroup", "securityGroup", "remoteSecurityGroupUuid"),
    ],
};

/// That a nic is in a security group, and at which place.
pub static NIC_GROUP_REF: Kind = Kind {
    name: "vmNicInSecurityGroup",
    queries: &["QueryVmNicInSecurityGroup"],
    fields: &[
        UUID,
        indexed("vmNicUuid", Uuid),
        indexed("securityGroupUuid", Uuid),
        indexed("vmInstanceUuid", Uuid),
        f("priority", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vmNic", "nic", "vmNicUuid"),
        one("securityGroup", "securityGroup", "securityGroupUuid"),
        one("vmInstance", "vm", "vmInstanceUuid"),
    ],
};

/// What becomes of a nic's packets that no rule fits.
pub static NIC_POLICY: Kind = Kind {
    name: "vmNicSecurityPolicy",
    queries: &["QueryVmNicSecurityPolicy"],
    fields: &[
        UUID,
        indexed("vmNicUuid", Uuid),
        found_by("vmInstanceUuid", Uuid),
        f("ingressPolicy", Text),
        f("egressPolicy", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[one("vmNic", "nic", "vmNicUuid")],
};
