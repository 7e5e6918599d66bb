//! The kinds of what programs come in by.

use super::{CHANGED, CREATED, Kind, Ty::*, UUID, f, indexed, one};

/// What an account's programs sign their requests with.
pub static ACCESS_KEY: Kind = Kind {
    name: "accessKey",
    queries: &["QueryAccessKey"],
    fields: &[
        UUID,
        f("description", Text),
        indexed("accountUuid", Uuid),
        f("userUuid", Uuid),
        indexed("AccessKeyID", Text),
        f("state", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[one("account", "account", "accountUuid")],
};

/// By what a machine comes in as an account.
pub static API_TOKEN: Kind = Kind {
    name: "apiToken",
    queries: &["QueryApiToken"],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        indexed("accountUuid", Uuid),
        f("scopes", Texts),
        f("expirationDate", Time),
        CREATED,
        CHANGED,
    ],
    relations: &[one("account", "account", "accountUuid")],
};
