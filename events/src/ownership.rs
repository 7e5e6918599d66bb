//! What happens to the ownership of one resource: whose it is, and who may use it. The stream's id is the resource's; the
//! stream with an account's id says how much that account may have.

use crate::{AccountId, Id, StreamKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of the ownership of one resource. A resource without any is the administrator's, and nobody else sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum OwnershipEvent {
    /// The account has it from now on.
    Owned { resource: StreamKind, account: AccountId },
    /// These accounts may use it, too.
    Shared { resource: StreamKind, accounts: Vec<AccountId> },
    /// Everybody may use it.
    Published { resource: StreamKind },
    /// These accounts may not use it any more.
    Unshared { accounts: Vec<AccountId> },
    /// Not everybody may use it any more.
    Unpublished {},
    /// The resource is no more.
    Ended {},
    /// The account may have so many.
    QuotaChanged { name: String, value: u64 },
}

/// What a Normal account may have so many of, with how many where nothing else was said.
pub const QUOTAS: &[(&str, u64)] = &[
    ("l3.num", 20),
    ("vm.num", 20),
    ("vm.totalNum", 20),
    ("vip.num", 20),
    ("eip.num", 20),
    ("portForwarding.num", 20),
    ("securityGroup.num", 20),
    ("loadBalancer.num", 20),
    ("loadBalancerListener.num", 20),
];

/// The uuid of the row that says whose a resource is.
pub fn ownership_row(resource: Id) -> Id {
    Id::of_name(&format!("owner:{resource}"))
}

/// The uuid of the row of a quota.
pub fn quota_row(account: AccountId, name: &str) -> Id {
    Id::of_name(&format!("quota:{account}:{name}"))
}
