//! The kinds of roles: what accounts may send.

use super::{CHANGED, CREATED, Field, Kind, Ty::*, UUID, f, hidden, indexed, many, one, shown};

/// Statements that roles share.
pub static POLICY: Kind = Kind {
    name: "policy",
    queries: &["QueryPolicy"],
    fields: &[UUID, indexed("name", Text), f("description", Text), f("accountUuid", Uuid), CREATED, CHANGED],
    relations: &[
        shown("statements", "policyStatement", "ownerUuid"),
        many("roleRefs", "rolePolicyRef", "policyUuid"),
        one("account", "account", "accountUuid"),
    ],
};

/// One statement of a policy, or of a role itself. There is no query of its own: what has it shows it.
pub static POLICY_STATEMENT: Kind = Kind {
    name: "policyStatement",
    queries: &[],
    fields: &[
        UUID,
        f("name", Text),
        Field { hidden: true, ..indexed("ownerUuid", Uuid) },
        f("effect", Text),
        f("actions", Texts),
        CREATED,
        CHANGED,
    ],
    relations: &[],
};

/// What accounts may send.
pub static ROLE: Kind = Kind {
    name: "role",
    queries: &["QueryRole"],
    fields: &[UUID, indexed("name", Text), f("description", Text), f("type", Text), f("state", Text), CREATED, CHANGED],
    relations: &[
        shown("statements", "policyStatement", "ownerUuid"),
        shown("policies", "rolePolicyRef", "roleUuid"),
        many("accountRefs", "roleAccountRef", "roleUuid"),
    ],
};

/// That a role has a policy. There is no query of its own: the role shows it.
pub static ROLE_POLICY_REF: Kind = Kind {
    name: "rolePolicyRef",
    queries: &[],
    fields: &[hidden("uuid", Uuid), indexed("roleUuid", Uuid), indexed("policyUuid", Uuid), CREATED, CHANGED],
    relations: &[one("role", "role", "roleUuid"), one("policy", "policy", "policyUuid")],
};

/// That an account has a role. There is no query of its own: conditions on accounts and roles reach it.
pub static ROLE_ACCOUNT_REF: Kind = Kind {
    name: "roleAccountRef",
    queries: &[],
    fields: &[hidden("uuid", Uuid), indexed("roleUuid", Uuid), indexed("accountUuid", Uuid), CREATED, CHANGED],
    relations: &[one("role", "role", "roleUuid"), one("account", "account", "accountUuid")],
};
