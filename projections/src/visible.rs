//! Which rows an account may see that is no administrator. The compiler asks for each table that a query touches, so
//! that nested conditions and counts see nothing foreign either.
//!
//! **Invariant:** a kind that is not named here is seen by administrators only.

use crate::catalogue::Kind;

/// The rows of a kind that an account sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Visible {
    /// Every row.
    All,
    /// None.
    None,
    /// Those that name the account in a field.
    Naming(&'static [&'static str]),
    /// What it has itself.
    Own,
    /// What it has itself, and what is shared with it.
    Shared,
    /// Those whose L3 network it sees.
    OfL3,
    /// Nics: of its own VMs and routers.
    OfVm,
    /// Listeners and server groups: of its own load balancers.
    OfBalancer,
    /// Entries: of its own access control lists.
    OfAccessList,
    /// VIPs: its own, and those of its routers.
    Vips,
    /// Those whose security group it sees.
    OfGroup,
    /// Addresses: of its own L3 networks, nics and VIPs.
    Addresses,
    /// Those of a resource that it sees.
    OfResource,
    /// Those of a role of its own, which a field names.
    OfRole(&'static str),
    /// Policies of its roles.
    OfRoles,
    /// Statements of its roles, and of their policies.
    Statements,
}

/// What an account sees of a kind.
pub(crate) fn of(kind: &Kind) -> Option<Visible> {
    Some(match kind.name {
        "zone" | "cluster" | "host" | "globalConfig" => Visible::None,
        "networkServiceProvider" => Visible::All,
        "account" => Visible::Naming(&["uuid"]),
        "accountResourceRef" => Visible::Naming(&["accountUuid"]),
        "sharedResource" => Visible::Naming(&["ownerAccountUuid", "receiverAccountUuid"]),
        "quota" => Visible::Naming(&["identityUuid"]),
        "accessKey" | "apiToken" => Visible::Naming(&["accountUuid"]),
        "roleAccountRef" => Visible::Naming(&["accountUuid"]),
        "role" => Visible::OfRole("uuid"),
        "rolePolicyRef" => Visible::OfRole("roleUuid"),
        "policy" => Visible::OfRoles,
        "policyStatement" => Visible::Statements,
        "vip" => Visible::Vips,
        "loadBalancerListener" | "loadBalancerServerGroup" | "serverGroupVmNic" | "loadBalancerListenerAclRef" => {
            Visible::OfBalancer
        }
        "accessControlListEntry" => Visible::OfAccessList,
        "vm" | "virtualRouter" | "volume" | "loadBalancer" | "certificate" | "accessControlList" | "eip"
        | "portForwarding" | "vipService" | "vipQos" => Visible::Own,
        "image" | "l2" | "l3" | "instanceOffering" | "virtualRouterOffering" | "securityGroup" => Visible::Shared,
        "ipRange" | "reservedIpRange" | "hostRoute" | "networkServiceL3NetworkRef" => Visible::OfL3,
        "securityGroupRule" => Visible::OfGroup,
        "nic" | "vmNicInSecurityGroup" | "vmNicSecurityPolicy" => Visible::OfVm,
        "usedIp" => Visible::Addresses,
        "systemTag" | "userTag" | "tag" | "resourceConfig" => Visible::OfResource,
        _ => return None,
    })
}

/// The condition on the row `alias`. `account` is the argument that the account is bound to; `rows` gives the rows of a
/// kind under an alias, all of them.
pub(crate) fn condition(
    kind: &Kind,
    alias: &str,
    account: &str,
    rows: &dyn Fn(&'static Kind, &str) -> String,
) -> String {
    use crate::catalogue::{
        ACCOUNT_RESOURCE_REF, IP_RANGE, NIC, ROLE_ACCOUNT_REF, ROLE_POLICY_REF, SHARED_RESOURCE, VIP,
    };
    let own = || {
        let refs = rows(&ACCOUNT_RESOURCE_REF, "o");
        format!("SELECT o.\"resourceUuid\" FROM {refs} WHERE o.\"accountUuid\"={account}")
    };
    let seen = || {
        let shares = rows(&SHARED_RESOURCE, "s");
        format!(
            "{} UNION ALL SELECT s.\"resourceUuid\" FROM {shares} WHERE s.\"receiverAccountUuid\"={account} OR s.\"toPublic\"=1",
            own()
        )
    };
    let roles = || {
        let refs = rows(&ROLE_ACCOUNT_REF, "a");
        format!("SELECT a.\"roleUuid\" FROM {refs} WHERE a.\"accountUuid\"={account}")
    };
    let policies = || {
        let refs = rows(&ROLE_POLICY_REF, "p");
        format!("SELECT p.\"policyUuid\" FROM {refs} WHERE p.\"roleUuid\" IN ({})", roles())
    };
    match of(kind).unwrap_or(Visible::None) {
        // What is bound must be used: the account is never null.
        Visible::All => format!("{account} IS NOT NULL"),
        Visible::None => format!("{account} IS NULL"),
        Visible::Naming(fields) => {
            let tests: Vec<String> = fields.iter().map(|field| format!("{alias}.\"{field}\"={account}")).collect();
            format!("({})", tests.join(" OR "))
        }
        Visible::Own => format!("{alias}.\"uuid\" IN ({})", own()),
        Visible::Shared => format!("{alias}.\"uuid\" IN ({})", seen()),
        Visible::OfL3 => format!("{alias}.\"l3NetworkUuid\" IN ({})", seen()),
        Visible::OfGroup => format!("{alias}.\"securityGroupUuid\" IN ({})", seen()),
        Visible::OfVm => format!("{alias}.\"vmInstanceUuid\" IN ({})", own()),
        Visible::OfBalancer => format!("{alias}.\"loadBalancerUuid\" IN ({})", own()),
        Visible::OfAccessList => format!("{alias}.\"aclUuid\" IN ({})", own()),
        Visible::Vips => {
            let own = own();
            format!(
                "({alias}.\"uuid\" IN ({own}) OR {alias}.\"system\"=1 AND {alias}.\"virtualRouterUuid\" IN ({own}))"
            )
        }
        Visible::Addresses => {
            let nics = format!("SELECT n.\"uuid\" FROM {} WHERE n.\"vmInstanceUuid\" IN ({})", rows(&NIC, "n"), own());
            let vips = format!("SELECT v.\"usedIpUuid\" FROM {} WHERE v.\"uuid\" IN ({})", rows(&VIP, "v"), own());
            format!(
                "({alias}.\"l3NetworkUuid\" IN ({}) OR {alias}.\"vmNicUuid\" IN ({nics}) OR {alias}.\"uuid\" IN ({vips}))",
                own()
            )
        }
        Visible::OfRole(field) => format!("{alias}.\"{field}\" IN ({})", roles()),
        Visible::OfRoles => format!("{alias}.\"uuid\" IN ({})", policies()),
        Visible::Statements => format!("{alias}.\"ownerUuid\" IN ({} UNION ALL {})", roles(), policies()),
        Visible::OfResource => {
            let ranges = rows(&IP_RANGE, "r");
            let ranges = format!("SELECT r.\"uuid\" FROM {ranges} WHERE r.\"l3NetworkUuid\" IN ({})", seen());
            format!("({alias}.\"resourceUuid\" IN ({}) OR {alias}.\"resourceUuid\" IN ({ranges}))", seen())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::KINDS;

    #[test]
    fn of_every_kind_it_is_said_who_sees_it() {
        for kind in KINDS {
            assert!(of(kind).is_some(), "{}: visible.rs does not say what an account sees of it", kind.name);
        }
    }
}
