//! Role: what accounts may send, of all that an account of type Normal may.
//!
//! ```text
//!  a message of an account ──► no roles: as the catalogue says
//!                          └─► roles ──► one denies it: refused ── else one allows it: as the catalogue says ── else refused
//! ```
//! **Invariant:** roles take away and never give, and a decision for an account rests on every role, and every policy of
//! these, that allowed it.

use crate::{
    account::Account, context::Context, decision::Decision, directory::Relation, facts::Facts, policy::Policy, rules,
    states::States,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_bus::*;
use switchback_events::*;

/// The most policies that a role has: they are looked at for each message.
const POLICIES: usize = 10;
/// The most roles that an account has.
const ROLES: usize = 10;
/// The most accounts that a role is attached to: its state stays small.
const ACCOUNTS: usize = 10_000;

/// A role.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Role {
    pub name: String,
    pub statements: Vec<PolicyStatement>,
    pub policies: BTreeSet<PolicyId>,
    pub accounts: BTreeSet<AccountId>,
    pub deleted: bool,
}

rules::exists!(Role, "role");

impl Role {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &RoleEvent, _version: Version) {
        match event {
            RoleEvent::Created { name, statements, policies, .. } => {
                (self.name, self.statements) = (name.clone(), statements.clone());
                self.policies.extend(policies);
            }
            RoleEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            RoleEvent::PolicyAttached { policy } => drop(self.policies.insert(*policy)),
            RoleEvent::PolicyDetached { policy } => drop(self.policies.remove(policy)),
            RoleEvent::AccountAttached { account } => drop(self.accounts.insert(*account)),
            RoleEvent::AccountDetached { account } => drop(self.accounts.remove(account)),
            RoleEvent::Deleted {} => self.deleted = true,
        }
    }
}

/// Refuses what the roles of an account take away from it. The decision rests on them.
pub(crate) fn permitted(asking: &Asking, facts: &Facts) -> Result<(), Refusal> {
    let Some((name, kind)) = asking.sends else { return Ok(()) };
    let roles = facts.members(Relation::RolesOfAccount, asking.account);
    let mut allowed = roles.is_empty();
    let mut denied = None;
    let mut names = Vec::new();
    for id in roles {
        let role = facts.get::<Role>(id)?;
        let mut hear = |statements: &[PolicyStatement]| {
            for statement in statements.iter().filter(|statement| speaks_of(statement, name, kind)) {
                match statement.effect {
                    PolicyEffect::Allow => allowed = true,
                    PolicyEffect::Deny => denied = Some(role.name.clone()),
                }
            }
        };
        hear(&role.statements);
        for policy in &role.policies {
            hear(&facts.get::<Policy>(*policy)?.statements);
        }
        names.push(format!("`{}`", role.name));
    }
    let why = match denied {
        Some(role) => format!("its role `{role}` denies it"),
        None if allowed => return Ok(()),
        None => format!("none of its roles allows it: {}", names.join(", ")),
    };
    let detail = format!("account {} may not send {name}: {why}", asking.account);
    let refusal = Refusal::new(RefusalKind::Forbidden, code::PERMISSION_DENIED, detail);
    Err(refusal.hint("QueryRole shows its roles; an administrator changes them"))
}

/// The same for what is no decision.
///
/// # Errors
/// ID.1001.
pub fn permits(states: &States, asking: &Asking) -> Result<(), Refusal> {
    permitted(asking, &states.facts())
}

pub(crate) fn create(command: &CreateRole, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    let mut policies = Vec::new();
    for policy in command.policy_uuids.iter().flatten() {
        rules::existing::<Policy>(facts, "policyUuids", *policy)?;
        if !policies.contains(policy) {
            policies.push(*policy);
        }
    }
    room_for_policies("policyUuids", policies.len())?;
    Ok(Decision::about(StreamKind::Role, id).show("role").event(RoleEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        statements: command.statements.clone().unwrap_or_default(),
        policies,
    }))
}

fn room_for_policies(field: &str, count: usize) -> Result<(), Refusal> {
    if count <= POLICIES {
        return Ok(());
    }
    Err(Refusal::operation(format!("{field}: the role would have {count} policies, and may have {POLICIES}")))
}

pub(crate) fn update(command: &UpdateRole, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Role>(facts, "uuid", command.uuid)?;
    let event = RoleEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Role, command.uuid).show("role").event(event))
}

pub(crate) fn attach_policy(command: &AttachPolicyToRole, facts: &Facts) -> Result<Decision, Refusal> {
    let (role, policy) = (command.role_uuid, command.policy_uuid);
    let state = rules::existing::<Role>(facts, "roleUuid", role)?;
    rules::existing::<Policy>(facts, "policyUuid", policy)?;
    let decision = Decision::about(StreamKind::Role, role).show("role");
    if state.policies.contains(&policy) {
        return Ok(decision);
    }
    room_for_policies("policyUuid", state.policies.len() + 1)?;
    Ok(decision.event(RoleEvent::PolicyAttached { policy }))
}

pub(crate) fn detach_policy(command: &DetachPolicyFromRole, facts: &Facts) -> Result<Decision, Refusal> {
    let (role, policy) = (command.role_uuid, command.policy_uuid);
    let state = rules::existing::<Role>(facts, "roleUuid", role)?;
    let decision = Decision::about(StreamKind::Role, role).show("role");
    let there = state.policies.contains(&policy);
    Ok(if there { decision.event(RoleEvent::PolicyDetached { policy }) } else { decision })
}

pub(crate) fn attach(command: &AttachRoleToAccount, facts: &Facts) -> Result<Decision, Refusal> {
    let (role, account) = (command.role_uuid, command.account_uuid);
    let state = rules::existing::<Role>(facts, "roleUuid", role)?;
    if rules::existing::<Account>(facts, "accountUuid", account)?.admin {
        return Err(Refusal::argument("accountUuid", account, "an account of type Normal: roles hold no other"));
    }
    let decision = Decision::about(StreamKind::Role, role).show("role");
    if state.accounts.contains(&account) {
        return Ok(decision);
    }
    if facts.members(Relation::RolesOfAccount, account).len() >= ROLES {
        return Err(Refusal::operation(format!("accountUuid = `{account}`: the account has {ROLES} roles, the most")));
    }
    if state.accounts.len() >= ACCOUNTS {
        let detail = format!("roleUuid = `{role}`: the role is attached to {ACCOUNTS} accounts, the most");
        return Err(Refusal::operation(detail).hint("another role may have the same policies"));
    }
    Ok(decision.event(RoleEvent::AccountAttached { account }))
}

pub(crate) fn detach(command: &DetachRoleFromAccount, facts: &Facts) -> Result<Decision, Refusal> {
    let (role, account) = (command.role_uuid, command.account_uuid);
    let state = rules::existing::<Role>(facts, "roleUuid", role)?;
    let decision = Decision::about(StreamKind::Role, role).show("role");
    let there = state.accounts.contains(&account);
    Ok(if there { decision.event(RoleEvent::AccountDetached { account }) } else { decision })
}

pub(crate) fn delete(command: &DeleteRole, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Role, command.uuid);
    let state = facts.get::<Role>(command.uuid)?;
    if !rules::Exists::exists(&*state) {
        return Ok(decision);
    }
    // An account whose last role goes may send more: that is said of the account, not by the way.
    let accounts = state.accounts.iter().map(|account| account.0).collect();
    rules::unblocked("role", rules::blockers::<Account>(facts, accounts)?)?;
    Ok(decision.event(RoleEvent::Deleted {}))
}

/// Takes an account that goes out of its roles.
pub(crate) fn forget(decision: &mut Decision, facts: &Facts, account: AccountId) -> Result<(), Refusal> {
    for role in facts.members(Relation::RolesOfAccount, account) {
        facts.get::<Role>(role)?;
        decision.add(role, RoleEvent::AccountDetached { account });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entity::{Execute, Step, SystemClock, prepare},
        given::{Given, id},
    };
    use std::sync::Arc;
    use switchback_journal::AppendError;

    fn statement(effect: PolicyEffect, actions: &[&str]) -> PolicyStatement {
        PolicyStatement { name: None, effect, actions: actions.iter().map(|action| action.to_string()).collect() }
    }

    fn account(account_type: AccountType) -> AccountEvent {
        AccountEvent::Created { name: "account".to_string(), description: None, account_type, password: None }
    }

    fn role(statements: Vec<PolicyStatement>, policies: Vec<PolicyId>) -> RoleEvent {
        RoleEvent::Created { name: "role".to_string(), description: None, statements, policies }
    }

    fn policy(statements: Vec<PolicyStatement>) -> PolicyEvent {
        PolicyEvent::Created { name: "policy".to_string(), description: None, statements }
    }

    fn allowed(given: &Given, name: &str) -> Result<(), Refusal> {
        let asking = Asking::of(id("bob"), message(name).unwrap(), &serde_json::json!({}));
        permits(&given.states, &asking)
    }

    #[test]
    fn what_one_role_allows_and_none_denies_may_be_sent() {
        use PolicyEffect::{Allow, Deny};
        let attached = || RoleEvent::AccountAttached { account: id("bob") };
        let given = Given::nothing().event("bob", account(AccountType::Normal));
        assert!(allowed(&given, "StopVmInstance").is_ok());
        let given = given.event("ops", role(vec![statement(Allow, &["Stop*", "Query*"])], vec![]));
        assert!(allowed(&given, "CreateL3Network").is_ok(), "it is nobody's yet");
        let given = given.event("ops", attached());
        assert!(allowed(&given, "StopVmInstance").is_ok() && allowed(&given, "QueryZone").is_ok());
        let refusal = allowed(&given, "CreateL3Network").unwrap_err();
        assert_eq!((refusal.kind, refusal.code.as_str()), (RefusalKind::Forbidden, code::PERMISSION_DENIED));
        assert!(refusal.detail.contains("none of its roles allows it: `role`"), "{refusal}");
        let deny = policy(vec![statement(Deny, &["Stop*"])]);
        let given =
            given.event("no stop", deny).event("more", role(vec![statement(Allow, &["*"])], vec![id("no stop")]));
        assert!(allowed(&given, "CreateL3Network").is_err());
        let given = given.event("more", attached());
        assert!(allowed(&given, "CreateL3Network").is_ok());
        assert!(allowed(&given, "StopVmInstance").unwrap_err().detail.contains("denies it"));
        let given = given.event("more", RoleEvent::PolicyDetached { policy: id("no stop") });
        assert!(allowed(&given, "StopVmInstance").is_ok());
        let given = given.event("more", RoleEvent::AccountDetached { account: id("bob") });
        assert!(allowed(&given, "CreateL3Network").is_err() && allowed(&given, "StopVmInstance").is_ok());
        let given = given.event("ops", RoleEvent::AccountDetached { account: id("bob") });
        assert!(allowed(&given, "CreateL3Network").is_ok());
    }

    #[test]
    fn an_account_with_any_role_changes_its_own_password_and_nothing_else_of_itself() {
        let given = Given::nothing()
            .event("bob", account(AccountType::Normal))
            .event("none", role(vec![], vec![]))
            .event("none", RoleEvent::AccountAttached { account: id("bob") });
        let update = |parameters| {
            let asking = Asking::of(id("bob"), message("UpdateAccount").unwrap(), &parameters);
            permits(&given.states, &asking).is_ok()
        };
        assert!(update(serde_json::json!({"password": "x"})));
        assert!(update(serde_json::json!({"password": "x", "name": null})));
        assert!(!update(serde_json::json!({"password": "x", "name": "y"})));
        assert!(!update(serde_json::json!({"password": "x", "description": "y"})));
        assert!(!update(serde_json::json!({})));
    }

    #[test]
    fn a_role_or_policy_that_changes_before_a_decision_has_its_place_undoes_it() {
        let l2 = L2NetworkEvent::Created {
            zone: id("zone"),
            name: "l2".to_string(),
            description: None,
            physical_interface: "eth0".to_string(),
            network_type: L2NetworkType::L2NoVlanNetwork,
            vlan: None,
            v_switch_type: "LinuxBridge".to_string(),
        };
        let (all, resource) = (vec![statement(PolicyEffect::Allow, &["*"])], StreamKind::L2Network);
        let given = || {
            Given::nothing()
                .event("l2", l2.clone())
                .event("l2", OwnershipEvent::Shared { resource, accounts: vec![id("bob")] })
                .event("bob", account(AccountType::Normal))
                .event("all", policy(all.clone()))
                .event("ops", role(vec![], vec![id("all")]))
                .event("ops", RoleEvent::AccountAttached { account: id("bob") })
        };
        let parameters = serde_json::json!({"name": "l3", "l2NetworkUuid": Id::of_name("l2")});
        let (command, mut common) = command("CreateL3Network", &parameters).unwrap();
        common.asking = Some(Asking::of(id("bob"), command.message(), &parameters));
        let provenance = Provenance {
            command_id: CommandId(Id::of_name("asked")),
            command: "CreateL3Network".to_string(),
            body: Id::NIL,
            principal: "bob".to_string(),
            origin: Origin::Api,
            credential: None,
            causation: None,
            correlation: Id::NIL,
            reason: None,
        };
        let execute = Execute { command: Arc::new(command), common, provenance, if_match: None, dry_run: false };
        let prepared = |given: &Given| match prepare(&given.states, &SystemClock, &execute).unwrap() {
            Step::Prepared(prepared) => prepared,
            Step::Done(_) => panic!("there is something to do"),
        };
        let undisturbed = given();
        assert!(prepared(&undisturbed).sequence(&undisturbed.states).is_ok());
        let moved: [(&str, Event); 4] = [
            ("ops", RoleEvent::AccountDetached { account: id("bob") }.into()),
            ("ops", RoleEvent::PolicyDetached { policy: id("all") }.into()),
            ("another", RoleEvent::AccountAttached { account: id("bob") }.into()),
            ("all", PolicyEvent::Deleted {}.into()),
        ];
        for (name, event) in moved {
            let given = given();
            let prepared = prepared(&given);
            let what = format!("{name} {event:?}");
            let given = given.event(name, event);
            let outcome = prepared.sequence(&given.states);
            assert!(matches!(outcome, Err(AppendError::Conflict { .. } | AppendError::Stale)), "{what}");
        }
        let narrowed = given().event("ops", RoleEvent::PolicyDetached { policy: id("all") });
        let Err(refusal) = prepare(&narrowed.states, &SystemClock, &execute) else { panic!("it is not allowed") };
        assert_eq!(refusal.code, code::PERMISSION_DENIED);
    }

    #[test]
    fn what_is_in_use_stays_and_an_account_that_goes_is_in_no_role() {
        let given = Given::nothing()
            .event("bob", account(AccountType::Normal))
            .event("all", policy(vec![]))
            .event("ops", role(vec![], vec![id("all")]))
            .event("ops", RoleEvent::AccountAttached { account: id("bob") });
        let blockers = |refusal: Refusal| refusal.blockers.into_iter().map(|one| one.resource_type).collect::<Vec<_>>();
        assert_eq!(blockers(given.when(DeletePolicy { uuid: id("all") }).unwrap_err()), ["role"]);
        assert_eq!(blockers(given.when(DeleteRole { uuid: id("ops") }).unwrap_err()), ["account"]);
        let gone = given.when(DeleteAccount { uuid: id("bob") }).unwrap();
        let detached = Event::from(RoleEvent::AccountDetached { account: id("bob") });
        assert!(gone.contains(&detached), "{gone:?}");
        let given = given
            .event("bob", AccountEvent::Deleted {})
            .event("ops", RoleEvent::AccountDetached { account: id("bob") });
        assert_eq!(given.when(DeleteRole { uuid: id("ops") }).unwrap(), [RoleEvent::Deleted {}.into()]);
        let given = given.event("ops", RoleEvent::Deleted {});
        assert_eq!(given.when(DeleteRole { uuid: id("ops") }).unwrap(), []);
        assert_eq!(given.when(DeletePolicy { uuid: id("all") }).unwrap(), [PolicyEvent::Deleted {}.into()]);
    }

    #[test]
    fn roles_accounts_and_policies_have_limits() {
        let attach = || AttachRoleToAccount { role_uuid: id("ops"), account_uuid: id("bob") };
        let base = || Given::nothing().event("bob", account(AccountType::Normal)).event("ops", role(vec![], vec![]));
        let attached: Event = RoleEvent::AccountAttached { account: id("bob") }.into();
        assert_eq!(base().when(attach()).unwrap(), std::slice::from_ref(&attached));
        assert_eq!(base().event("ops", attached.clone()).when(attach()).unwrap(), []);
        let full = (0..ROLES).fold(base(), |given, number| given.event(&number.to_string(), attached.clone()));
        assert!(full.when(attach()).unwrap_err().detail.contains("the most"));
        let many = (0..ACCOUNTS).fold(base(), |given, number| {
            given.event("ops", RoleEvent::AccountAttached { account: id(&number.to_string()) })
        });
        assert!(many.when(attach()).unwrap_err().detail.contains("10000 accounts"));
        let with = (0..=POLICIES).fold(base(), |given, number| given.event(&number.to_string(), policy(vec![])));
        let with = (0..POLICIES).fold(with, |given, number| {
            given.event("ops", RoleEvent::PolicyAttached { policy: id(&number.to_string()) })
        });
        let attach = |number: usize| AttachPolicyToRole { role_uuid: id("ops"), policy_uuid: id(&number.to_string()) };
        assert_eq!(with.when(attach(0)).unwrap(), []);
        assert!(with.when(attach(POLICIES)).unwrap_err().detail.contains("11 policies"));
        let detach =
            |number: usize| DetachPolicyFromRole { role_uuid: id("ops"), policy_uuid: id(&number.to_string()) };
        assert_eq!(with.when(detach(0)).unwrap(), [RoleEvent::PolicyDetached { policy: id("0") }.into()]);
        assert_eq!(with.when(detach(POLICIES)).unwrap(), []);
        let detach = DetachRoleFromAccount { role_uuid: id("ops"), account_uuid: id("bob") };
        assert_eq!(base().when(detach).unwrap(), []);
    }
}
