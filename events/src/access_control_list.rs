//! What happens to an access control list: it gets addresses, or one rule for requests, and loses them.

use crate::{AccessControlEntryId, schema::Prefix};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events of an access control list. What listeners have of it is in the events of their load balancers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum AccessControlListEvent {
    Created {
        name: String,
        description: Option<String>,
    },
    /// No listener goes by it.
    Deleted {},
    EntryAdded {
        entry: AccessControlEntryId,
        /// As it was written: addresses, prefixes and ranges.
        entries: String,
        /// The same as prefixes, in order; none has an address of another entry.
        #[schemars(with = "Vec<Prefix>")]
        sources: Vec<IpNet>,
        description: Option<String>,
    },
    /// It has no entries besides.
    RuleAdded {
        entry: AccessControlEntryId,
        name: Option<String>,
        description: Option<String>,
        rule: RedirectRule,
    },
    RuleRenamed {
        entry: AccessControlEntryId,
        name: String,
    },
    /// An entry, or the rule.
    EntryRemoved {
        entry: AccessControlEntryId,
    },
}

/// Requests that go elsewhere: those with the domain and the path, where both are given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedirectRule {
    /// The name in the header `Host`, in lower case, without a port; with `*.` at its beginning all names under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What the path begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
