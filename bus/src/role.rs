//! What can be asked of roles: what accounts of type Normal may send, of all that such an account may.

use crate::{Check::*, messages};
use switchback_events::{AccountId, PolicyId, PolicyStatement, RoleId};

messages! {
    /// Creates a role. An account that has roles may send only what one of them allows and none denies.
    Command CreateRole "POST" "/identities/roles" => "role" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// What may be sent, and what may not.
        statements: Option<Vec<PolicyStatement>> = Statements,
        /// Policies whose statements are the role's, too.
        policy_uuids: Option<Vec<PolicyId>> = List(&Uuid),
    }
    /// Changes a role's name or description.
    Command UpdateRole "PUT" "/identities/roles/{uuid}/actions" => "role" for Administrator {
        /// The role.
        uuid: RoleId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Gives a role the statements of a policy.
    Command AttachPolicyToRole "POST" "/identities/policies/{policyUuid}/roles/{roleUuid}" => "role" for Administrator {
        /// The policy.
        policy_uuid: PolicyId = Uuid,
        /// The role.
        role_uuid: RoleId = Uuid,
    }
    /// Takes the statements of a policy from a role. A policy that it does not have is a success.
    Command DetachPolicyFromRole "DELETE" "/identities/policies/{policyUuid}/roles/{roleUuid}" => "role" for Administrator {
        /// The policy.
        policy_uuid: PolicyId = Uuid,
        /// The role.
        role_uuid: RoleId = Uuid,
    }
    /// Holds an account of type Normal to a role, at once and wherever it has come in.
    Command AttachRoleToAccount "POST" "/identities/accounts/{accountUuid}/roles/{roleUuid}" => "role" for Administrator {
        /// The role.
        role_uuid: RoleId = Uuid,
        /// The account.
        account_uuid: AccountId = Uuid,
    }
    /// Takes a role from an account; one without any may send whatever an account of type Normal may. A role that it does not have is a success.
    Command DetachRoleFromAccount "DELETE" "/identities/accounts/{accountUuid}/roles/{roleUuid}" => "role" for Administrator {
        /// The role.
        role_uuid: RoleId = Uuid,
        /// The account.
        account_uuid: AccountId = Uuid,
    }
    /// Deletes a role. One that is not there is a success; one that an account has names its blockers.
    Command DeleteRole "DELETE" "/identities/roles/{uuid}" => "" for Administrator {
        /// The role.
        uuid: RoleId = Uuid,
    }
}
