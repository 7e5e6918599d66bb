//! The kinds of ownership: who has what, who may use what, and how much an account may have.

use super::{CHANGED, CREATED, Kind, Ty::*, UUID, f, indexed, one};

/// What an account has.
pub static ACCOUNT_RESOURCE_REF: Kind = Kind {
    name: "accountResourceRef",
    queries: &["QueryAccountResourceRef"],
    fields: &[
        UUID,
        indexed("accountUuid", Uuid),
        f("ownerAccountUuid", Uuid),
        indexed("resourceUuid", Uuid),
        f("resourceType", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[one("account", "account", "accountUuid")],
};

/// What an account, or everybody, may use.
pub static SHARED_RESOURCE: Kind = Kind {
    name: "sharedResource",
    queries: &["QuerySharedResource"],
    fields: &[
        UUID,
        f("ownerAccountUuid", Uuid),
        indexed("receiverAccountUuid", Uuid),
        f("toPublic", Bool),
        f("resourceType", Text),
        indexed("resourceUuid", Uuid),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("ownerAccount", "account", "ownerAccountUuid"),
        one("receiverAccount", "account", "receiverAccountUuid"),
    ],
};

/// How much an account may have of something.
pub static QUOTA: Kind = Kind {
    name: "quota",
    queries: &["QueryQuota"],
    fields: &[
        UUID,
        indexed("name", Text),
        indexed("identityUuid", Uuid),
        f("identityType", Text),
        f("value", Int),
        CREATED,
        CHANGED,
    ],
    relations: &[one("account", "account", "identityUuid")],
};
