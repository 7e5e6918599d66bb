//! What can be asked of ownership: whose a resource is, who may use it, and how much an account may have.

use crate::{Check, Check::*, Message, MessageKind, messages};
use serde_json::Value;
use switchback_events::{AccountId, Id};

messages! {
    /// Lets accounts use resources of one's own: they see them and may name them, and change nothing of them.
    Command ShareResource "PUT" "/accounts/resources/actions" => "" for Account {
        /// The resources: images, offerings, L2 and L3 networks.
        resource_uuids: Vec<Id> = List(&Uuid),
        /// The accounts.
        account_uuids: Option<Vec<AccountId>> = List(&Uuid),
        /// All accounts, also those to come.
        to_public: Option<bool> = Bool,
    }
    /// Lets accounts not use resources any more. What they have made with them stays.
    Command RevokeResourceSharing "PUT" "/accounts/resources/actions" => "" for Account {
        /// The resources.
        resource_uuids: Vec<Id> = List(&Uuid),
        /// The accounts.
        account_uuids: Option<Vec<AccountId>> = List(&Uuid),
        /// The sharing with all accounts.
        to_public: Option<bool> = Bool,
        /// Every sharing.
        all: Option<bool> = Bool,
    }
    /// Gives a resource to another account.
    Command ChangeResourceOwner "POST" "/account/{accountUuid}/resources" => "accountResourceRef" for Administrator {
        /// The account that shall have it.
        account_uuid: AccountId = Uuid,
        /// The resource.
        resource_uuid: Id = Uuid,
    }
    /// Changes how much an account may have. What it has already stays.
    Command UpdateQuota "PUT" "/accounts/quotas/actions" => "quota" for Administrator {
        /// The account, of type Normal.
        identity_uuid: AccountId = Uuid,
        /// What.
        name: String = Enum(&["l3.num", "vm.num", "vm.totalNum", "vip.num", "eip.num", "portForwarding.num", "loadBalancer.num", "loadBalancerListener.num", "securityGroup.num"]),
        /// How many.
        value: u64 = Int(0, i64::MAX),
    }
    /// How much an account has, and how much it may have.
    Read GetAccountQuotaUsage "GET" "/accounts/quota/{uuid}/usages" => "" for Account {
        /// The account.
        uuid: AccountId = Uuid,
    }
}

/// For whom a message is asked, where that is no administrator, and what its words name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    /// The account.
    pub account: AccountId,
    /// What is named: the parameter and the id.
    pub named: Vec<(String, Id)>,
    /// The message that the roles of the account must allow; none where no role takes it away.
    pub sends: Option<(&'static str, MessageKind)>,
}

/// Whether a parameter is the uuid that a new resource shall have, and no name of one that there is.
pub fn is_for_new(message: &Message, field: &str) -> bool {
    field == "resourceUuid" && message.name.starts_with("Create") && message.parameter("resourceType").is_none()
}

/// Whether an account changes its password, and nothing else of itself.
fn is_own_password(message: &Message, parameters: &Value) -> bool {
    let given = |field: &str| parameters.get(field).is_some_and(|value| !value.is_null());
    message.name == "UpdateAccount" && given("password") && !given("name") && !given("description")
}

impl Asking {
    /// Of the parameters of a message: what they name in fields of uuids, as providers of services, and in the texts of
    /// system tags. Free text names nothing; whom something is shared with is not looked at, nor the uuid that a new
    /// resource shall have.
    pub fn of(account: AccountId, message: &Message, parameters: &Value) -> Asking {
        let mut named = Vec::new();
        for (field, value) in parameters.as_object().into_iter().flatten() {
            let check = message.parameter(field).map(|parameter| parameter.check);
            if let Some(Check::Objects(fields)) = check {
                for item in value.as_array().into_iter().flatten() {
                    let uuids = fields.iter().filter(|known| matches!(known.check, Check::Uuid));
                    let texts = uuids.filter_map(|known| item.get(known.api_name())?.as_str());
                    named.extend(texts.filter_map(|text| Some((field.clone(), text.parse::<Id>().ok()?))));
                }
                continue;
            }
            let names = match check {
                Some(Check::Uuid | Check::List(Check::Uuid) | Check::Services) => true,
                Some(_) => message.name.contains("SystemTag") && matches!(field.as_str(), "tag" | "tags"),
                None => field == "systemTags",
            };
            if !names || field == "accountUuids" || is_for_new(message, field) {
                continue;
            }
            let text = value.to_string();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric());
            named.extend(words.filter_map(|word| Some((field.clone(), word.parse::<Id>().ok()?))));
        }
        let stays = is_own_password(message, parameters);
        Asking { account, named, sends: (!stays).then_some((message.name, message.kind)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;
    use serde_json::json;

    fn named(name: &str, parameters: Value) -> Vec<Id> {
        let asking = Asking::of(AccountId::default(), message(name).unwrap(), &parameters);
        asking.named.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn what_can_name_a_resource_does_and_nothing_else() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(Id::of_name);
        let tag = format!("staticIp::{c}::10.0.0.5");
        let create = json!({
            "name": d, "description": d, "l3NetworkUuids": [a, b], "systemTags": [tag], "userTags": [d.to_string()],
            "resourceUuid": d,
        });
        let mut found = named("CreateVmInstance", create);
        found.sort();
        let mut expected = vec![a, b, c];
        expected.sort();
        assert_eq!(found, expected);
        let mut services = json!({});
        services[b.to_string()] = json!(["DHCP"]);
        let attach = json!({"l3NetworkUuid": a, "networkServices": services});
        assert_eq!(named("AttachNetworkServiceToL3Network", attach), [a, b]);
        let tag = |resource: Id, tag: Id| json!({"resourceType": "L3NetworkVO", "resourceUuid": resource, "tag": tag});
        assert_eq!(named("CreateUserTag", tag(a, b)), [a]);
        assert_eq!(named("CreateSystemTag", tag(a, b)), [a, b]);
        assert_eq!(named("ShareResource", json!({"resourceUuids": [a], "accountUuids": [b]})), [a]);
        assert_eq!(named("CreateAccessKey", json!({"resourceUuid": a, "accountUuid": b})), [b]);
    }
}
