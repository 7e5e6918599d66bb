//! The one list of everything that can be asked. What is not here cannot be asked anywhere; what is here can be
//! asked over HTTP, on the command line and on the bus.

use crate::*;
use serde_json::{Map, Value};
use switchback_events::{Id, TagId};

macro_rules! commands {
    ($($name:ident),* $(,)?) => {
        /// Any command, with its parameters.
        #[derive(Clone, PartialEq, Debug)]
        #[allow(missing_docs)]
        pub enum Command { $($name($name)),* }

        /// Every command.
        pub const COMMANDS: &[Message] = &[$($name::MESSAGE),*];

        impl Command {
            /// The command `name` with `parameters` that its [`Message`] has accepted.
            ///
            /// # Errors
            /// A parameter whose type is not right.
            fn named(name: &str, parameters: Value) -> Result<Command, serde_json::Error> {
                match name {
                    $(stringify!($name) => serde_json::from_value(parameters).map(Command::$name),)*
                    _ => Err(serde::de::Error::custom("no such command")),
                }
            }

            /// Its entry in the catalogue.
            pub fn message(&self) -> &'static Message {
                match self { $(Command::$name(_) => { const MESSAGE: &Message = &$name::MESSAGE; MESSAGE })* }
            }
        }

        $(impl From<$name> for Command {
            fn from(command: $name) -> Command { Command::$name(command) }
        })*
    };
}

commands!(
    CreateZone,
    UpdateZone,
    ChangeZoneState,
    DeleteZone,
    CreateCluster,
    UpdateCluster,
    ChangeClusterState,
    DeleteCluster,
    AddKVMHost,
    AddSimulatorHost,
    UpdateHost,
    ChangeHostState,
    ReconnectHost,
    DeleteHost,
    ReportHostStatus,
    ReportHostFindings,
    AddImage,
    UpdateImage,
    DeleteImage,
    CreateL2NoVlanNetwork,
    CreateL2VlanNetwork,
    UpdateL2Network,
    ChangeL2NetworkVlanId,
    AttachL2NetworkToCluster,
    DetachL2NetworkFromCluster,
    DeleteL2Network,
    ReportL2Attachment,
    ReportL2VlanChange,
    CreateL3Network,
    UpdateL3Network,
    ChangeL3NetworkState,
    AddDnsToL3Network,
    RemoveDnsFromL3Network,
    AddHostRouteToL3Network,
    RemoveHostRouteFromL3Network,
    SetL3NetworkMtu,
    SetL3NetworkRouterInterfaceIp,
    ChangeL3NetworkDhcpIpAddress,
    AttachNetworkServiceToL3Network,
    DetachNetworkServiceFromL3Network,
    AddNetworkServiceProvider,
    AttachNetworkServiceProviderToL2Network,
    DetachNetworkServiceProviderFromL2Network,
    AddReservedIpRange,
    DeleteReservedIpRange,
    DeleteIpAddress,
    DeleteL3Network,
    AddIpRange,
    AddIpRangeByNetworkCidr,
    AddIpv6Range,
    AddIpv6RangeByNetworkCidr,
    UpdateIpRange,
    DeleteIpRange,
    CreateInstanceOffering,
    CreateVirtualRouterOffering,
    UpdateInstanceOffering,
    UpdateVirtualRouterOffering,
    ChangeInstanceOfferingState,
    DeleteInstanceOffering,
    CreateVmInstance,
    StartVmInstance,
    StopVmInstance,
    RebootVmInstance,
    DestroyVmInstance,
    PauseVmInstance,
    ResumeVmInstance,
    RecoverVmInstance,
    ExpungeVmInstance,
    UpdateVmInstance,
    AttachL3NetworkToVm,
    DetachL3NetworkFromVm,
    ChangeVmNicNetwork,
    ChangeVmNicState,
    SetVmStaticIp,
    DeleteVmStaticIp,
    SetVmHostname,
    DeleteVmHostname,
    ChangeVmPassword,
    ReportVmStatus,
    ReconnectVirtualRouter,
    ReplaceVirtualRouter,
    ProvisionVirtualRouterConfig,
    ReportApplianceStatus,
    ReportApplianceFindings,
    CreateLoadBalancer,
    UpdateLoadBalancer,
    DeleteLoadBalancer,
    CreateLoadBalancerListener,
    UpdateLoadBalancerListener,
    ChangeLoadBalancerListener,
    DeleteLoadBalancerListener,
    AddVmNicToLoadBalancer,
    RemoveVmNicFromLoadBalancer,
    CreateCertificate,
    UpdateCertificate,
    DeleteCertificate,
    AddCertificateToLoadBalancerListener,
    RemoveCertificateFromLoadBalancerListener,
    CreateLoadBalancerServerGroup,
    UpdateLoadBalancerServerGroup,
    DeleteLoadBalancerServerGroup,
    AddBackendServerToServerGroup,
    ChangeLoadBalancerBackendServer,
    RemoveBackendServerFromServerGroup,
    AddServerGroupToLoadBalancerListener,
    RemoveServerGroupFromLoadBalancerListener,
    CreateAccessControlList,
    DeleteAccessControlList,
    AddAccessControlListEntry,
    RemoveAccessControlListEntry,
    AddAccessControlListRedirectRule,
    ChangeAccessControlListRedirectRule,
    AddAccessControlListToLoadBalancer,
    RemoveAccessControlListFromLoadBalancer,
    ChangeAccessControlListServerGroup,
    CreateVip,
    UpdateVip,
    ChangeVipState,
    DeleteVip,
    SetVipQos,
    DeleteVipQos,
    CreateEip,
    AttachEip,
    DetachEip,
    UpdateEip,
    ChangeEipState,
    DeleteEip,
    CreatePortForwardingRule,
    AttachPortForwardingRule,
    DetachPortForwardingRule,
    UpdatePortForwardingRule,
    ChangePortForwardingRuleState,
    DeletePortForwardingRule,
    CreateSystemTag,
    CreateSystemTags,
    CreateUserTag,
    UpdateSystemTag,
    DeleteTag,
    UpdateGlobalConfig,
    ResetGlobalConfig,
    UpdateResourceConfig,
    DeleteResourceConfig,
    CreateAccount,
    UpdateAccount,
    DeleteAccount,
    ShareResource,
    RevokeResourceSharing,
    ChangeResourceOwner,
    UpdateQuota,
    CreateSecurityGroup,
    UpdateSecurityGroup,
    ChangeSecurityGroupState,
    DeleteSecurityGroup,
    AddSecurityGroupRule,
    DeleteSecurityGroupRule,
    ChangeSecurityGroupRule,
    ChangeSecurityGroupRuleState,
    UpdateSecurityGroupRulePriority,
    AddVmNicToSecurityGroup,
    DeleteVmNicFromSecurityGroup,
    SetVmNicSecurityGroup,
    ChangeVmNicSecurityPolicy,
    AttachSecurityGroupToL3Network,
    DetachSecurityGroupFromL3Network,
    LogInByAccount,
    LogOut,
    ReportLogIn,
    ReportLogOut,
    CreateAccessKey,
    ChangeAccessKeyState,
    DeleteAccessKey,
    ReportAccessKey,
    CreateApiToken,
    DeleteApiToken,
    ReportApiToken,
    CreatePolicy,
    DeletePolicy,
    CreateRole,
    UpdateRole,
    AttachPolicyToRole,
    DetachPolicyFromRole,
    AttachRoleToAccount,
    DetachRoleFromAccount,
    DeleteRole,
);

const fn query(
    name: &'static str,
    path: &'static str,
    inventory: &'static str,
    access: Access,
    doc: &'static str,
) -> Message {
    let (kind, method, parameters) = (MessageKind::Query, "GET", &[]);
    Message { name, doc, kind, method, path, parameters, inventory, internal: false, access }
}

/// Every query, with the kind of inventory that it answers.
pub const QUERIES: &[Message] = &[
    query("QueryZone", "/zones", "zone", Access::Account, "Zones."),
    query("QueryCluster", "/clusters", "cluster", Access::Account, "Clusters."),
    query("QueryHost", "/hosts", "host", Access::Account, "Hosts."),
    query("QueryImage", "/images", "image", Access::Account, "Images."),
    query("QueryL2Network", "/l2-networks", "l2", Access::Account, "L2 networks."),
    query("QueryL2VlanNetwork", "/l2-networks/vlan", "l2", Access::Account, "L2 networks of type L2VlanNetwork."),
    query("QueryL3Network", "/l3-networks", "l3", Access::Account, "L3 networks."),
    query("QueryIpRange", "/l3-networks/ip-ranges", "ipRange", Access::Account, "IP ranges."),
    query(
        "QueryAddressPool",
        "/l3-networks/address-pools",
        "ipRange",
        Access::Account,
        "IP ranges of type AddressPool.",
    ),
    query("QueryIpAddress", "/l3-networks/ip-address", "usedIp", Access::Account, "Addresses in use."),
    query(
        "QueryNetworkServiceProvider",
        "/network-services/providers",
        "networkServiceProvider",
        Access::Account,
        "Providers of network services.",
    ),
    query(
        "QueryNetworkServiceL3NetworkRef",
        "/l3-networks/network-services/refs",
        "networkServiceL3NetworkRef",
        Access::Account,
        "Which services which provider gives to which L3 network.",
    ),
    query(
        "QueryInstanceOffering",
        "/instance-offerings",
        "instanceOffering",
        Access::Account,
        "Instance offerings, those of virtual routers included.",
    ),
    query(
        "QueryVirtualRouterOffering",
        "/instance-offerings/virtual-routers",
        "virtualRouterOffering",
        Access::Account,
        "Virtual router offerings.",
    ),
    query("QueryVmInstance", "/vm-instances", "vm", Access::Account, "VM instances of users."),
    query("QueryVmNic", "/vm-instances/nics", "nic", Access::Account, "Network interfaces of VMs and routers."),
    query(
        "QueryVirtualRouterVm",
        "/vm-instances/appliances/virtual-routers",
        "virtualRouter",
        Access::Account,
        "Virtual routers.",
    ),
    query(
        "QueryApplianceVm",
        "/vm-instances/appliances",
        "virtualRouter",
        Access::Account,
        "Appliances: all are virtual routers.",
    ),
    query("QueryLoadBalancer", "/load-balancers", "loadBalancer", Access::Account, "Load balancers."),
    query(
        "QueryLoadBalancerListener",
        "/load-balancers/listeners",
        "loadBalancerListener",
        Access::Account,
        "Listeners of load balancers, with the nics that they hand on to.",
    ),
    query(
        "QueryLoadBalancerServerGroup",
        "/load-balancers/servergroups",
        "loadBalancerServerGroup",
        Access::Account,
        "Server groups of load balancers, with their nics.",
    ),
    query(
        "QueryAccessControlList",
        "/access-control-lists",
        "accessControlList",
        Access::Account,
        "Access control lists, with their entries.",
    ),
    query("QueryCertificate", "/certificates", "certificate", Access::Account, "Certificates, without their keys."),
    query("QueryVip", "/vips", "vip", Access::Account, "Virtual IP addresses, those of routers included."),
    query("QueryEip", "/eips", "eip", Access::Account, "Elastic IP addresses."),
    query("QueryPortForwardingRule", "/port-forwarding", "portForwarding", Access::Account, "Port forwarding rules."),
    query("QuerySecurityGroup", "/security-groups", "securityGroup", Access::Account, "Security groups."),
    query(
        "QuerySecurityGroupRule",
        "/security-groups/rules",
        "securityGroupRule",
        Access::Account,
        "Rules of security groups.",
    ),
    query(
        "QueryVmNicInSecurityGroup",
        "/security-groups/vm-instances/nics",
        "vmNicInSecurityGroup",
        Access::Account,
        "Which nics are in which security groups, and in which order.",
    ),
    query(
        "QueryVmNicSecurityPolicy",
        "/security-groups/nics/security-policy",
        "vmNicSecurityPolicy",
        Access::Account,
        "What becomes of a nic's packets that no rule of its security groups fits.",
    ),
    query("QuerySystemTag", "/system-tags", "systemTag", Access::Account, "System tags."),
    query("QueryUserTag", "/user-tags", "userTag", Access::Account, "User tags."),
    query("QueryTag", "/tags", "tag", Access::Account, "All tags, user's and the system's."),
    query(
        "QueryGlobalConfig",
        "/global-configurations",
        "globalConfig",
        Access::Administrator,
        "The global configuration.",
    ),
    query(
        "QueryResourceConfig",
        "/resource-configurations",
        "resourceConfig",
        Access::Account,
        "Values that resources have of their own.",
    ),
    query("QueryAccount", "/accounts", "account", Access::Account, "Accounts."),
    query("QueryAccessKey", "/accesskeys", "accessKey", Access::Account, "Access keys, without their secrets."),
    query("QueryApiToken", "/api-tokens", "apiToken", Access::Account, "API tokens, without what comes in by them."),
    query("QueryPolicy", "/accounts/policies", "policy", Access::Account, "Policies: statements that roles share."),
    query("QueryRole", "/identities/roles", "role", Access::Account, "Roles: what accounts may send."),
    query(
        "QueryAccountResourceRef",
        "/accounts/resources/refs",
        "accountResourceRef",
        Access::Account,
        "What accounts have; what the administrator has from the beginning is not listed.",
    ),
    query(
        "QuerySharedResource",
        "/accounts/resources",
        "sharedResource",
        Access::Account,
        "What is shared with accounts, and with all.",
    ),
    query("QueryQuota", "/accounts/quotas", "quota", Access::Account, "How much accounts of type Normal may have."),
];

/// The condition that a query stands for besides those that are given: `QueryL2VlanNetwork` asks for some L2 networks.
pub fn narrowed(query: &str) -> Option<&'static str> {
    match query {
        "QueryL2VlanNetwork" => Some("type=L2VlanNetwork"),
        "QueryAddressPool" => Some("ipRangeType=AddressPool"),
        _ => None,
    }
}

macro_rules! reads {
    ($($name:ident),* $(,)?) => {
        /// Any read that is not a query, with its parameters.
        #[derive(Clone, PartialEq, Debug)]
        #[allow(missing_docs)]
        pub enum Read { $($name($name)),* }

        /// Every read that is not a query.
        pub const READS: &[Message] = &[$($name::MESSAGE),*];

        impl Read {
            fn named(name: &str, parameters: Value) -> Result<Read, serde_json::Error> {
                match name {
                    $(stringify!($name) => serde_json::from_value(parameters).map(Read::$name),)*
                    _ => Err(serde::de::Error::custom("no such read")),
                }
            }
        }
    };
}

reads!(
    GetFreeIp,
    CheckIpAvailability,
    GetIpAddressCapacity,
    GetL3NetworkIpStatistic,
    GetGlobalConfigOptions,
    GetResourceConfig,
    GetResourceConfigs,
    GetResourceBindableConfig,
    GetL3NetworkMtu,
    GetL3NetworkRouterInterfaceIp,
    GetL3NetworkDhcpIpAddress,
    GetNetworkServiceTypes,
    GetL2NetworkTypes,
    GetVSwitchTypes,
    GetCandidateClustersForAttachingL2Network,
    GetCandidateL2NetworksForAttachingCluster,
    GetL3NetworkTypes,
    GetVmHostname,
    GetVmAttachableL3Network,
    GetCandidateL3NetworksForChangeVmNicNetwork,
    GetAttachablePublicL3ForVRouter,
    CheckVipPortAvailability,
    GetVipAvailablePort,
    GetVipQos,
    GetEipAttachableVmNics,
    GetVmNicAttachableEips,
    GetPortForwardingAttachableVmNics,
    GetVirtualRouterConfig,
    GetVirtualRouterDiff,
    GetVirtualRouterExplanation,
    GetVirtualRouterDrift,
    GetVirtualRouterCounters,
    GetEvents,
    GetEvent,
    GetAuditDiff,
    ReplayResource,
    ReplayInventories,
    GetAddressHolder,
    GetAuditHead,
    VerifyAudit,
    GetAgentToken,
    ValidateSession,
    GetAccountQuotaUsage,
    GetCandidateVmNicForSecurityGroup,
    ValidateSecurityGroupRule,
);

/// Every message.
pub fn messages() -> impl Iterator<Item = &'static Message> {
    COMMANDS.iter().chain(QUERIES).chain(READS)
}

/// The message `name`.
///
/// # Errors
/// SYS.1007 with the nearest name.
pub fn message(name: &str) -> Result<&'static Message, Refusal> {
    messages().find(|message| message.name == name).ok_or_else(|| {
        let mut refusal = Refusal::argument("message", name, "there is no such message");
        let known = messages().filter(|message| !message.internal).map(|message| message.name);
        refusal.hint = nearest(name, known).map(|near| format!("did you mean {near}?"));
        refusal
    })
}

/// The message `name` as the outside may ask for it: an internal one is as if it were not there.
///
/// # Errors
/// SYS.1003 with the nearest name.
pub fn outside(name: &str) -> Result<&'static Message, Refusal> {
    messages().find(|message| message.name == name && !message.internal).ok_or_else(|| {
        let shown: String = name.chars().take(120).collect();
        let mut refusal =
            Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, format!("there is no message `{shown}`"));
        let known = messages().filter(|message| !message.internal).map(|message| message.name);
        refusal.hint = nearest(&shown, known).map(|near| format!("did you mean {near}?"));
        refusal
    })
}

/// The message `name` if the outside may send it, and it is of one of `kinds`; `commands` and `reads` are how those are sent
/// where this was asked.
///
/// # Errors
/// SYS.1003 with the nearest name, or with where it is sent instead.
pub fn outside_of(name: &str, kinds: &[MessageKind], commands: &str, reads: &str) -> Result<&'static Message, Refusal> {
    let message = outside(name)?;
    if kinds.contains(&message.kind) {
        return Ok(message);
    }
    let (is, way) = match message.kind {
        MessageKind::Command => ("a command", commands),
        MessageKind::Query | MessageKind::Read => ("a read", reads),
    };
    let refusal = Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, format!("`{name}` is {is}"));
    Err(refusal.hint(format!("{way}{name}")))
}

/// What any command may carry besides its own parameters.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Common {
    /// The uuid that a new resource shall have.
    pub resource_uuid: Option<Id>,
    /// System tags for a new resource.
    pub system_tags: Vec<String>,
    /// User tags for a new resource.
    pub user_tags: Vec<String>,
    /// For whom it is asked, where that is no administrator.
    pub asking: Option<Asking>,
    /// For deletes and detaches: what stands on the resource goes with it.
    pub enforcing: bool,
}

/// The parameters of [`Common`], for documentation and completion.
pub const COMMON: &[Parameter] = &[
    Parameter {
        field: "resource_uuid",
        doc: "The uuid that the new resource shall have.",
        required: false,
        check: Check::Uuid,
        of: &[],
    },
    Parameter {
        field: "system_tags",
        doc: "System tags for the new resource.",
        required: false,
        check: Check::List(&Check::Text(2048)),
        of: &[],
    },
    Parameter {
        field: "user_tags",
        doc: "User tags for the new resource.",
        required: false,
        check: Check::List(&Check::Text(2048)),
        of: &[],
    },
];

/// How a delete treats what hangs on the resource, for documentation and completion.
pub const DELETE_MODE: Parameter = Parameter {
    field: "delete_mode",
    doc: "`Permissive` refuses while the resource is in use; `Enforcing` takes what stands on it along.",
    required: false,
    check: Check::Enum(&["Permissive", "Enforcing"]),
    of: &[],
};

/// The messages that know [`DELETE_MODE`] `Enforcing`.
const ENFORCED: &[&str] = &[
    "DeleteZone",
    "DeleteCluster",
    "DeleteHost",
    "DeleteL2Network",
    "DetachL2NetworkFromCluster",
    "DeleteL3Network",
    "DeleteIpRange",
    "DeleteVip",
    "DeleteEip",
    "DeletePortForwardingRule",
];

/// Whether the message makes a resource, so that it takes [`COMMON`]. What is added *to* something, such as a name
/// server to an L3 network, is no resource.
pub fn creates(message: &Message) -> bool {
    let makes = message.name.starts_with("Create") || message.name.starts_with("Add") && !message.name.contains("To");
    // A reserved range is a part of its network, rules are of their group, listeners and server groups of their balancer, entries of
    // their list, keys and tokens of their account.
    let part = matches!(
        message.name,
        "AddReservedIpRange"
            | "CreateAccessKey"
            | "CreateApiToken"
            | "AddSecurityGroupRule"
            | "CreateLoadBalancerListener"
            | "CreateLoadBalancerServerGroup"
            | "AddAccessControlListEntry"
            | "AddAccessControlListRedirectRule"
    );
    message.kind == MessageKind::Command && message.method == "POST" && makes && !part
}

/// The command `name` with these parameters, checked.
///
/// # Errors
/// SYS.1007 that names the field, the value, and what would be right.
pub fn command(name: &str, parameters: &Value) -> Result<(Command, Common), Refusal> {
    let message = message(name)?;
    if message.kind != MessageKind::Command {
        return Err(Refusal::argument("message", name, "is a read, not a command"));
    }
    let mut map = object(parameters)?;
    let mut common = Common::default();
    if creates(message) {
        common = take_common(&mut map)?;
    }
    if message.method == "DELETE"
        && let Some(mode) = map.remove("deleteMode")
    {
        DELETE_MODE.check.accept("deleteMode", &mode)?;
        common.enforcing = mode == "Enforcing";
        if common.enforcing && !ENFORCED.contains(&name) {
            return Err(Refusal::not_supported(format!("deleteMode Enforcing of {name}")));
        }
    }
    message.accept(&mut map)?;
    let command = Command::named(name, Value::Object(map)).map_err(|error| type_refusal(&error))?;
    Ok((command, common))
}

/// The read `name` with these parameters, checked.
///
/// # Errors
/// SYS.1007 that names the field, the value, and what would be right.
pub fn read(name: &str, parameters: &Value) -> Result<Read, Refusal> {
    let message = message(name)?;
    if message.kind != MessageKind::Read {
        return Err(Refusal::argument("message", name, "is not a read"));
    }
    let mut map = object(parameters)?;
    message.accept(&mut map)?;
    Read::named(name, Value::Object(map)).map_err(|error| type_refusal(&error))
}

fn object(parameters: &Value) -> Result<Map<String, Value>, Refusal> {
    match parameters {
        Value::Object(map) => Ok(map.clone()),
        Value::Null => Ok(Map::new()),
        other => Err(Refusal::argument("body", other, "an object with the parameters")),
    }
}

fn type_refusal(error: &serde_json::Error) -> Refusal {
    Refusal::new(RefusalKind::Invalid, code::ARGUMENT, format!("the parameters cannot be read: {error}"))
}

fn take_common(map: &mut Map<String, Value>) -> Result<Common, Refusal> {
    let mut common = Common::default();
    for parameter in COMMON {
        let name = parameter.api_name();
        // A message may have a parameter of the same name, such as CreateSystemTag's resourceUuid.
        if name == "resourceUuid" && map.contains_key("resourceType") {
            continue;
        }
        let Some(value) = map.remove(&name).filter(|value| !value.is_null()) else { continue };
        parameter.check.accept(&name, &value)?;
        let list = || serde_json::from_value(value.clone()).unwrap_or_default();
        match name.as_str() {
            "resourceUuid" => common.resource_uuid = value.as_str().and_then(|text| text.parse().ok()),
            "systemTags" => common.system_tags = list(),
            _ => common.user_tags = list(),
        }
    }
    Ok(common)
}

/// The id of the tag that carries `text` on `resource`: the same tag has the same id.
pub fn tag_id(resource: Id, tag_type: &str, text: &str) -> TagId {
    TagId(Id::of_name(&format!("tag:{resource}:{tag_type}:{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_unique_and_every_parameter_has_words() {
        let mut names = std::collections::BTreeSet::new();
        for message in messages() {
            assert!(names.insert(message.name), "{} stands twice", message.name);
            assert!(!message.doc.trim().is_empty());
            for parameter in message.parameters {
                assert!(!parameter.doc.trim().is_empty(), "{}.{}", message.name, parameter.field);
            }
        }
    }

    #[test]
    fn a_bad_parameter_is_named_with_its_value() {
        let cases = [
            (json!({}), "name", "name is missing"),
            (json!({"name": ""}), "name", "1 to 255 bytes"),
            (json!({"name": "a\nb"}), "name", "control"),
            (json!({"name": 7}), "name", "`7`"),
            (json!({"name": "z", "isDefault": "yes"}), "isDefault", "true or false"),
            (json!({"nam": "z"}), "nam", "no such parameter"),
            (json!({"name": "z", "resourceUuid": "x"}), "resourceUuid", "32 lower-case"),
        ];
        for (body, field, words) in cases {
            let refusal = command("CreateZone", &body).unwrap_err();
            assert_eq!(refusal.code, "SYS.1007");
            assert_eq!(refusal.field.as_deref(), Some(field));
            assert!(refusal.detail.contains(words), "{}", refusal.detail);
        }
        assert_eq!(command("CreateZone", &json!({"nam": "z"})).unwrap_err().hint.unwrap(), "did you mean name?");
        assert_eq!(command("CreateZon", &json!({})).unwrap_err().hint.unwrap(), "did you mean CreateZone?");
    }

    #[test]
    fn every_command_reads_its_own_parameters() {
        for message in COMMANDS {
            let mut map = Map::new();
            // What is anything at all and may be left out has no example.
            let told = |parameter: &&Parameter| parameter.required || !matches!(parameter.check, Check::Any);
            for parameter in message.parameters.iter().filter(told) {
                map.insert(parameter.api_name(), parameter.check.example(&Id::NIL.to_string()));
            }
            command(message.name, &Value::Object(map)).unwrap_or_else(|refusal| panic!("{}: {refusal}", message.name));
        }
    }
}
