//! What can be asked of security groups: their rules, which nics are in them, and what becomes of packets that none of
//! the rules fits.

use crate::{Check::*, Parameter, ParameterType, messages};
use serde::{Deserialize, Serialize};
use switchback_events::{L3NetworkId, NicId, SecurityGroupId, SecurityGroupRuleId};

macro_rules! objects {
    ($($(#[doc = $doc:literal])+ $fields:ident $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $check:expr),* $(,)?
    })*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)*
        }

        impl ParameterType for $name {
            const REQUIRED: bool = true;
        }

        const $fields: &[Parameter] = &[$(Parameter {
            field: stringify!($field),
            doc: concat!($($field_doc),+),
            required: <$type as ParameterType>::REQUIRED,
            check: $check,
            of: <$type as ParameterType>::OF,
        }),*];
    )*};
}
pub(crate) use objects;

objects! {
    /// A rule as it is asked for.
    RULE RuleRequest {
        /// For packets to the nic, or from it.
        r#type: String = Enum(&["Ingress", "Egress"]),
        /// Enabled when not given.
        state: Option<String> = Enum(&["Enabled", "Disabled"]),
        /// A long description.
        description: Option<String> = FreeText(255),
        /// The other end is in this group.
        remote_security_group_uuid: Option<SecurityGroupId> = Uuid,
        /// The group's own family when not given.
        ip_version: Option<u8> = Int(4, 6),
        /// The protocol.
        protocol: String = Enum(&["ALL", "TCP", "UDP", "ICMP"]),
        /// Where packets to the nic come from: addresses, prefixes, ranges.
        src_ip_range: Option<String> = FreeText(1024),
        /// Where packets from the nic go to.
        dst_ip_range: Option<String> = FreeText(1024),
        /// The ports that they go to: ports and ranges.
        dst_port_range: Option<String> = FreeText(255),
        /// ACCEPT when not given.
        action: Option<String> = Enum(&["ACCEPT", "DROP"]),
        /// The first port, as clients of before say it; -1 for none.
        start_port: Option<i64> = Int(-1, 65_535),
        /// The last port, as clients of before say it; -1 for none.
        end_port: Option<i64> = Int(-1, 65_535),
        /// The other end's addresses, as clients of before say it.
        allowed_cidr: Option<String> = FreeText(64),
    }
    /// The place of a rule.
    RULE_PLACE RulePlace {
        /// The rule.
        rule_uuid: SecurityGroupRuleId = Uuid,
        /// Its place, from 1.
        priority: i64 = Int(1, 100),
    }
    /// The place of a group at a nic.
    GROUP_PLACE GroupPlace {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// Its place, from 1: the rules of the first decide first.
        priority: i64 = Int(1, 100),
    }
}

messages! {
    /// Creates a security group. Its members may speak with each other, and rules say what else may come and go.
    Command CreateSecurityGroup "POST" "/security-groups" => "securityGroup" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The family of rules that name none: 4 or 6; 4 when not given.
        ip_version: Option<u8> = Int(4, 6),
    }
    /// Changes a security group's name or description.
    Command UpdateSecurityGroup "PUT" "/security-groups/{uuid}/actions" => "securityGroup" for Account {
        /// The group.
        uuid: SecurityGroupId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Enables a security group, or disables all of its rules; its members stay its members.
    Command ChangeSecurityGroupState "PUT" "/security-groups/{uuid}/actions" => "securityGroup" for Account {
        /// The group.
        uuid: SecurityGroupId = Uuid,
        /// What to do.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes a security group: its nics leave it, and rules of other groups that name it go. One that is not there is a success.
    Command DeleteSecurityGroup "DELETE" "/security-groups/{uuid}" => "" for Account {
        /// The group.
        uuid: SecurityGroupId = Uuid,
    }
    /// Adds rules to a security group.
    Command AddSecurityGroupRule "POST" "/security-groups/{securityGroupUuid}/rules" => "securityGroup" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The rules.
        rules: Vec<RuleRequest> = Objects(RULE),
        /// Each rule is added once for each of these groups, as that of the other end.
        remote_security_group_uuids: Option<Vec<SecurityGroupId>> = List(&Uuid),
        /// The place of the first of them, from 1, within its direction; -1, or not given: behind all others.
        priority: Option<i64> = Int(-1, 100),
    }
    /// Deletes rules. Those behind them move up. Rules that are not there are a success.
    Command DeleteSecurityGroupRule "DELETE" "/security-groups/rules" => "" for Account {
        /// The rules.
        rule_uuids: Vec<SecurityGroupRuleId> = List(&Uuid),
    }
    /// Changes a rule. What is not given stays; empty text takes away.
    Command ChangeSecurityGroupRule "PUT" "/security-groups/rules/{uuid}/actions" => "securityGroupRule" for Account {
        /// The rule.
        uuid: SecurityGroupRuleId = Uuid,
        /// A long description.
        description: Option<String> = FreeText(255),
        /// The other end is in this group, whatever its address.
        remote_security_group_uuid: Option<SecurityGroupId> = Uuid,
        /// What it does.
        action: Option<String> = Enum(&["DROP", "ACCEPT"]),
        /// One that is disabled fits nothing.
        state: Option<String> = Enum(&["Enabled", "Disabled"]),
        /// Its place, from 1; -1: the last.
        priority: Option<i64> = Int(-1, 100),
        /// The protocol.
        protocol: Option<String> = Enum(&["ALL", "TCP", "UDP", "ICMP"]),
        /// Where packets to the nic come from; no group of the other end any more.
        src_ip_range: Option<String> = FreeText(1024),
        /// Where packets from the nic go to; no group of the other end any more.
        dst_ip_range: Option<String> = FreeText(1024),
        /// The ports that they go to.
        dst_port_range: Option<String> = FreeText(255),
    }
    /// Enables or disables rules of a security group.
    Command ChangeSecurityGroupRuleState "PUT" "/security-groups/{securityGroupUuid}/rules/state/actions" => "securityGroup" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The rules.
        rule_uuids: Vec<SecurityGroupRuleId> = List(&Uuid),
        /// Whether they count.
        state: String = Enum(&["Enabled", "Disabled"]),
    }
    /// Gives all rules of one direction a new order.
    Command UpdateSecurityGroupRulePriority "PUT" "/security-groups/{securityGroupUuid}/rules/priority/actions" => "securityGroup" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The direction.
        r#type: String = Enum(&["Ingress", "Egress"]),
        /// Every rule of this direction once, each place once.
        rules: Vec<RulePlace> = Objects(RULE_PLACE),
    }
    /// Puts nics of VMs into a security group, behind the groups that they are in.
    Command AddVmNicToSecurityGroup "POST" "/security-groups/{securityGroupUuid}/vm-instances/nics" => "" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The nics.
        vm_nic_uuids: Vec<NicId> = List(&Uuid),
    }
    /// Takes nics out of a security group. Those that are not in it are a success.
    Command DeleteVmNicFromSecurityGroup "DELETE" "/security-groups/{securityGroupUuid}/vm-instances/nics" => "" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The nics.
        vm_nic_uuids: Vec<NicId> = List(&Uuid),
    }
    /// Puts a nic into these security groups, in this order, and into no others.
    Command SetVmNicSecurityGroup "PUT" "/security-groups/nics/{vmNicUuid}/actions" => "vmNicInSecurityGroup" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
        /// The groups, each place from 1 once.
        refs: Vec<GroupPlace> = Objects(GROUP_PLACE),
    }
    /// Says what becomes of packets of a nic in security groups that none of their rules fits.
    Command ChangeVmNicSecurityPolicy "PUT" "/security-groups/nics/{vmNicUuid}/security-policy/actions" => "vmNicSecurityPolicy" for Account {
        /// The nic.
        vm_nic_uuid: NicId = Uuid,
        /// Of packets to it.
        ingress_policy: Option<String> = Enum(&["DENY", "ALLOW"]),
        /// Of packets from it.
        egress_policy: Option<String> = Enum(&["DENY", "ALLOW"]),
    }
    /// Notes that nics of a network may be in a security group. A nic that is put into it says so too.
    Command AttachSecurityGroupToL3Network "POST" "/security-groups/{securityGroupUuid}/l3-networks/{l3NetworkUuid}" => "securityGroup" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The network; a provider gives it the service SecurityGroup.
        l3_network_uuid: L3NetworkId = Uuid,
    }
    /// Takes the nics of a network out of a security group.
    Command DetachSecurityGroupFromL3Network "DELETE" "/security-groups/{securityGroupUuid}/l3-networks/{l3NetworkUuid}" => "securityGroup" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// The network.
        l3_network_uuid: L3NetworkId = Uuid,
    }
    /// The nics of VMs that could be put into a security group.
    Read GetCandidateVmNicForSecurityGroup "GET" "/security-groups/{securityGroupUuid}/vm-instances/candidate-nics" => "" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
    }
    /// Whether a rule could be added to a security group, and if not, why.
    Read ValidateSecurityGroupRule "GET" "/security-groups/{securityGroupUuid}/rules/validation" => "" for Account {
        /// The group.
        security_group_uuid: SecurityGroupId = Uuid,
        /// For packets to the nic, or from it.
        r#type: String = Enum(&["Ingress", "Egress"]),
        /// The protocol.
        protocol: String = Enum(&["TCP", "UDP", "ICMP", "ALL"]),
        /// The other end is in this group.
        remote_security_group_uuid: Option<SecurityGroupId> = Uuid,
        /// The group's own family when not given.
        ip_version: Option<u8> = Int(4, 6),
        /// Where packets to the nic come from.
        src_ip_range: Option<String> = FreeText(1024),
        /// Where packets from the nic go to.
        dst_ip_range: Option<String> = FreeText(1024),
        /// The ports that they go to.
        dst_port_range: Option<String> = FreeText(255),
        /// ACCEPT when not given.
        action: Option<String> = Enum(&["ACCEPT", "DROP"]),
        /// The first port, as clients of before say it.
        start_port: Option<i64> = Int(-1, 65_535),
        /// The last port, as clients of before say it.
        end_port: Option<i64> = Int(-1, 65_535),
        /// The other end's addresses, as clients of before say it.
        allowed_cidr: Option<String> = FreeText(64),
    }
}
