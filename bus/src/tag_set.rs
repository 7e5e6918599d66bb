//! What can be asked of tags.

use crate::{Check::*, messages};
use switchback_events::{Id, TagId};

messages! {
    /// Puts a system tag on a resource: one that the system reads, with a pattern.
    Command CreateSystemTag "POST" "/system-tags" => "systemTag" {
        /// `InstanceOfferingVO`, `VmInstanceVO`, `L3NetworkVO` …
        resource_type: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
        /// The tag: `guestL3Network::{uuid}`.
        tag: String = Text(2048),
    }
    /// Puts a user tag on a resource.
    Command CreateUserTag "POST" "/user-tags" => "userTag" {
        /// `InstanceOfferingVO`, `VmInstanceVO`, `L3NetworkVO` …
        resource_type: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
        /// The tag.
        tag: String = Text(2048),
    }
    /// Deletes a tag. One that is not there is a success.
    Command DeleteTag "DELETE" "/tags/{uuid}" => "" {
        /// The tag.
        uuid: TagId = Uuid,
    }
}
