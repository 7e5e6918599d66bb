//! What can be asked of access keys: what programs sign their requests with.

use crate::{Check::*, KEY_ID, Secret, messages};
use switchback_events::{AccessKeyId, AccountId, Id, SealedSecret};

messages! {
    /// Creates a key that an account's programs sign requests with. The secret is in this command's reply, and never again.
    Command CreateAccessKey "POST" "/accesskeys" => "accessKey" for Account {
        /// Whose it is: the account that asks unless said otherwise.
        account_uuid: Option<AccountId> = Uuid,
        /// ZStack's users; there are none, so it is the account again.
        user_uuid: Option<AccountId> = Uuid,
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The id that requests name the key by: 20 letters and digits, random when not given.
        access_key_id: Option<String> as "AccessKeyID" = Key(KEY_ID),
        /// The secret that requests are signed with: 40 letters and digits, random when not given.
        access_key_secret: Option<Secret> as "AccessKeySecret" = KeySecret,
        /// The uuid that it shall have.
        resource_uuid: Option<AccessKeyId> = Uuid,
    }
    /// Lets requests that are signed with the key come in, or not.
    Command ChangeAccessKeyState "PUT" "/accesskeys/{uuid}/actions" => "accessKey" for Account {
        /// The key.
        uuid: AccessKeyId = Uuid,
        /// `enable` or `disable`.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes an access key. One that is not there is a success.
    Command DeleteAccessKey "DELETE" "/accesskeys/{uuid}" => "" for Account {
        /// The key.
        uuid: AccessKeyId = Uuid,
    }
    /// The node's word on a new access key, whose secret it has sealed.
    Command ReportAccessKey "" "" => "accessKey" [internal] {
        /// The account.
        uuid: AccountId = Uuid,
        /// What requests name it by.
        key_id: String = Key(KEY_ID),
        /// The sealed secret.
        secret: SealedSecret = Any,
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
}

/// The owner of the set of access keys with an id.
pub fn key_owner(key_id: &str) -> Id {
    Id::of_name(&format!("access-key-id:{key_id}"))
}
