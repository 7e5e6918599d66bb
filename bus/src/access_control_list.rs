//! What can be asked of access control lists, by which listeners of load balancers go.

use crate::{Check::*, messages};
use switchback_events::{AccessControlEntryId, AccessControlListId, LoadBalancerListenerId, ServerGroupId};

messages! {
    /// Makes an access control list. It has addresses (AddAccessControlListEntry), or one rule for requests
    /// (AddAccessControlListRedirectRule).
    Command CreateAccessControlList "POST" "/access-control-lists" => "accessControlList" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The family of its addresses: 4, which it is when not given.
        ip_version: Option<u8> = Int(4, 6),
    }
    /// Deletes an access control list that no listener goes by. One that is not there is a success.
    Command DeleteAccessControlList "DELETE" "/access-control-lists/{uuid}" => "" for Account {
        /// The list.
        uuid: AccessControlListId = Uuid,
    }
    /// Adds addresses to an access control list without a rule. Listeners go by them at once.
    Command AddAccessControlListEntry "POST" "/access-control-lists/{aclUuid}/ipentries" => "accessControlListEntry" for Account {
        /// The list.
        acl_uuid: AccessControlListId = Uuid,
        /// Addresses, prefixes and ranges with commas, such as `192.0.2.7,198.51.100.0/24,203.0.113.10-203.0.113.20`, of
        /// which none is in the list yet.
        entries: String = Text(2048),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Takes an entry, or the rule, out of an access control list. One that is not there is a success.
    Command RemoveAccessControlListEntry "DELETE" "/access-control-lists/{aclUuid}/ipentries/{uuid}" => "" for Account {
        /// The list.
        acl_uuid: AccessControlListId = Uuid,
        /// The entry.
        uuid: AccessControlEntryId = Uuid,
    }
    /// Gives an access control list without entries its rule: requests with the domain and the path, where both are given.
    Command AddAccessControlListRedirectRule "POST" "/access-control-lists/{aclUuid}/redirectRules" => "accessControlListEntry" for Account {
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The name that requests are for, such as `www.example.com`; `*.example.com`: all names under it.
        domain: Option<String> = Any,
        /// What the path of requests begins with, such as `/shop`.
        url: Option<String> = Any,
        /// The list.
        acl_uuid: AccessControlListId = Uuid,
    }
    /// Changes the name of an access control list's rule.
    Command ChangeAccessControlListRedirectRule "PUT" "/access-control-lists/redirectRules/{uuid}/actions" => "accessControlListEntry" for Account {
        /// The rule.
        uuid: AccessControlEntryId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
    }
    /// Has a listener go by access control lists. Who is in a white list may come, and nobody else; who is in a black list may
    /// not; requests that fit the rule of a redirect list go to the server groups that are named, and no others do.
    Command AddAccessControlListToLoadBalancer "POST" "/load-balancers/listeners/{listenerUuid}/access-control-lists" => "loadBalancerListener" for Account {
        /// The lists.
        acl_uuids: Vec<AccessControlListId> = List(&Uuid),
        /// What for: a listener has white or black lists, and redirects besides where it speaks http or https.
        acl_type: String = Enum(&["white", "black", "redirect"]),
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
        /// The listener's server groups to which redirected requests go; not its own group.
        server_group_uuids: Option<Vec<ServerGroupId>> = List(&Uuid),
    }
    /// Has a listener go by access control lists no more. Those that it does not go by are a success.
    Command RemoveAccessControlListFromLoadBalancer "DELETE" "/load-balancers/listeners/{listenerUuid}/access-control-lists" => "loadBalancerListener" for Account {
        /// The lists.
        acl_uuids: Vec<AccessControlListId> = List(&Uuid),
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
        /// Of redirects, only these server groups; the last one takes the list along. All when not given.
        server_group_uuids: Option<Vec<ServerGroupId>> = List(&Uuid),
    }
    /// Has redirected requests go to other server groups of the listener.
    Command ChangeAccessControlListServerGroup "PUT" "/load-balancers/listener/acl/{aclUuid}/servergroup/actions" => "loadBalancerListener" for Account {
        /// The listener's server groups; not its own group.
        server_group_uuids: Vec<ServerGroupId> = List(&Uuid),
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
        /// The list, by which the listener redirects.
        acl_uuid: AccessControlListId = Uuid,
    }
}
