//! Which decision belongs to which command. Pure: what a decision knows comes by facts and context.

use crate::{context::Context, decision::Decision, facts::Facts, rules::Exists, *};
use switchback_bus::{Command, Refusal};
use switchback_events::*;

/// Decides a command: the events that shall have happened, or why not.
///
/// # Errors
/// The refusal; nothing has changed.
pub fn decide(command: &Command, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    ownership::unused(facts, context)?;
    let cascade = if context.common.enforcing { cascade::decide(command, facts)? } else { None };
    let mut decision = match cascade {
        Some(decision) => decision,
        None => by_concept(command, facts, context)?,
    };
    let message = command.message();
    if switchback_bus::creates(message) && decision.target.kind != StreamKind::TagSet {
        tag_set::add_common(&mut decision, facts, context)?;
    }
    tag_set::follow(&mut decision, facts)?;
    resource_config::follow(&mut decision, facts)?;
    userdata::follow(&mut decision, facts)?;
    ownership::follow(&mut decision, facts, context)?;
    Ok(decision)
}

/// Whether a resource is deleted. VMs and routers, which end otherwise, take their tags along themselves.
pub(crate) fn deletes(event: &Event) -> bool {
    matches!(
        event,
        Event::Zone(ZoneEvent::Deleted {})
            | Event::Cluster(ClusterEvent::Deleted {})
            | Event::Host(HostEvent::Deleted {})
            | Event::Image(ImageEvent::Deleted {})
            | Event::L2Network(L2NetworkEvent::Deleted {})
            | Event::L3Network(L3NetworkEvent::Deleted {})
            | Event::IpRange(IpRangeEvent::Deleted { .. })
            | Event::Offering(OfferingEvent::Deleted {})
            | Event::Vip(VipEvent::Deleted { .. })
            | Event::Eip(EipEvent::Deleted { .. })
            | Event::PortForwarding(PortForwardingEvent::Deleted { .. })
            | Event::Account(AccountEvent::Deleted {})
            | Event::Policy(PolicyEvent::Deleted {})
            | Event::Role(RoleEvent::Deleted {})
            | Event::SecurityGroup(SecurityGroupEvent::Deleted {})
    )
}

fn by_concept(command: &Command, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let is_router = |id: Id| Ok::<bool, Refusal>(facts.get::<Router>(id)?.exists());
    match command {
        Command::CreateZone(c) => zone::create(c, facts, context),
        Command::UpdateZone(c) => zone::update(c, facts),
        Command::ChangeZoneState(c) => zone::change_state(c, facts),
        Command::DeleteZone(c) => zone::delete(c, facts),
        Command::CreateCluster(c) => cluster::create(c, facts, context),
        Command::UpdateCluster(c) => cluster::update(c, facts),
        Command::ChangeClusterState(c) => cluster::change_state(c, facts),
        Command::DeleteCluster(c) => cluster::delete(c, facts),
        Command::AddKVMHost(c) => host::add_kvm(c, facts, context),
        Command::AddSimulatorHost(c) => host::add_simulator(c, facts, context),
        Command::UpdateHost(c) => host::update(c, facts),
        Command::ChangeHostState(c) => host::change_state(c, facts),
        Command::ReconnectHost(c) => host::reconnect(c, facts),
        Command::DeleteHost(c) => host::delete(c, facts),
        Command::ReportHostStatus(c) => host::report(c, facts),
        Command::ReportHostFindings(c) => host::found(c, facts),
        Command::AddImage(c) => image::add(c, facts, context),
        Command::UpdateImage(c) => image::update(c, facts),
        Command::DeleteImage(c) => image::delete(c, facts),
        Command::CreateL2NoVlanNetwork(c) => l2_network::create_no_vlan(c, facts, context),
        Command::CreateL2VlanNetwork(c) => l2_network::create_vlan(c, facts, context),
        Command::UpdateL2Network(c) => l2_network::update(c, facts),
        Command::ChangeL2NetworkVlanId(c) => l2_network::change_vlan(c, facts),
        Command::AttachL2NetworkToCluster(c) => l2_network::attach(c, facts),
        Command::DetachL2NetworkFromCluster(c) => l2_network::detach(c, facts),
        Command::DeleteL2Network(c) => l2_network::delete(c, facts),
        Command::ReportL2Attachment(c) => l2_network::report(c, facts),
        Command::ReportL2VlanChange(c) => l2_network::report_change(c, facts),
        Command::CreateL3Network(c) => l3_network::create(c, facts, context),
        Command::UpdateL3Network(c) => l3_network::update(c, facts),
        Command::ChangeL3NetworkState(c) => l3_network::change_state(c, facts),
        Command::AddDnsToL3Network(c) => l3_network::add_dns(c, facts),
        Command::RemoveDnsFromL3Network(c) => l3_network::remove_dns(c, facts),
        Command::AddHostRouteToL3Network(c) => l3_network::add_host_route(c, facts),
        Command::RemoveHostRouteFromL3Network(c) => l3_network::remove_host_route(c, facts),
        Command::SetL3NetworkMtu(c) => l3_network::set_mtu(c, facts),
        Command::SetL3NetworkRouterInterfaceIp(c) => l3_network::set_router_interface_ip(c, facts, context),
        Command::AttachNetworkServiceToL3Network(c) => l3_network::attach_services(c, facts),
        Command::DetachNetworkServiceFromL3Network(c) => l3_network::detach_services(c, facts),
        Command::AddNetworkServiceProvider(c) => network_service_provider::add(c, facts, context),
        Command::AttachNetworkServiceProviderToL2Network(c) => network_service_provider::attach(c, facts),
        Command::DetachNetworkServiceProviderFromL2Network(c) => network_service_provider::detach(c, facts),
        Command::AddReservedIpRange(c) => ip_range::reserve(c, facts, context),
        Command::DeleteReservedIpRange(c) => ip_range::unreserve(c, facts),
        Command::DeleteIpAddress(c) => ip_range::unreserve_some(c, facts),
        Command::DeleteL3Network(c) => l3_network::delete(c, facts),
        Command::AddIpRange(c) => ip_range::add(c, facts, context),
        Command::AddIpRangeByNetworkCidr(c) => ip_range::add_by_cidr(c, facts, context),
        Command::AddIpv6Range(c) => ip_range::add_ipv6(c, facts, context),
        Command::AddIpv6RangeByNetworkCidr(c) => ip_range::add_ipv6_by_cidr(c, facts, context),
        Command::UpdateIpRange(c) => ip_range::update(c, facts),
        Command::DeleteIpRange(c) => ip_range::delete(c, facts),
        Command::CreateInstanceOffering(c) => offering::create(c, facts, context),
        Command::CreateVirtualRouterOffering(c) => offering::create_router(c, facts, context),
        Command::UpdateInstanceOffering(c) => offering::update(c, facts),
        Command::UpdateVirtualRouterOffering(c) => offering::update_router(c, facts),
        Command::ChangeInstanceOfferingState(c) => offering::change_state(c, facts),
        Command::DeleteInstanceOffering(c) => offering::delete(c, facts),
        Command::CreateVmInstance(c) => vm_instance::create(c, facts, context),
        Command::StartVmInstance(c) if is_router(c.uuid)? => router::start(c.uuid, facts),
        Command::StartVmInstance(c) => vm_instance::start(c.uuid, facts, context),
        Command::StopVmInstance(c) if is_router(c.uuid)? => router::stop(c.uuid, facts),
        Command::StopVmInstance(c) => vm_instance::stop(c.uuid, facts),
        Command::RebootVmInstance(c) if is_router(c.uuid)? => router::reboot(c.uuid, facts),
        Command::RebootVmInstance(c) => vm_instance::reboot(c.uuid, facts, context),
        Command::DestroyVmInstance(c) if is_router(c.uuid)? => router::destroy(c.uuid, facts),
        Command::DestroyVmInstance(c) => vm_instance::destroy(c.uuid, facts),
        Command::PauseVmInstance(c) => vm_instance::pause(c.uuid.0, facts),
        Command::ResumeVmInstance(c) => vm_instance::resume(c.uuid.0, facts),
        Command::RecoverVmInstance(c) => vm_instance::recover(c.uuid.0, facts, context),
        Command::ExpungeVmInstance(c) => vm_instance::expunge(c.uuid.0, facts),
        Command::UpdateVmInstance(c) => vm_instance::update(c, facts),
        Command::AttachL3NetworkToVm(c) if is_router(c.vm_instance_uuid)? => router::nics::attach(c, facts, context),
        Command::AttachL3NetworkToVm(c) => vm_instance::nics::attach(c, facts, context),
        Command::DetachL3NetworkFromVm(c) => match vm_instance::nics::owner(facts, c.vm_nic_uuid) {
            Some(router) if is_router(router)? => router::nics::detach(router, c, facts),
            _ => vm_instance::nics::detach(c, facts),
        },
        Command::ChangeVmNicNetwork(c) => vm_instance::nics::change_network(c, facts, context),
        Command::ChangeVmNicState(c) => vm_instance::nics::change_state(c, facts),
        Command::SetVmStaticIp(c) => vm_instance::nics::set_static_ip(c, facts, context),
        Command::DeleteVmStaticIp(c) => vm_instance::nics::delete_static_ip(c, facts),
        Command::SetVmHostname(c) => vm_instance::nics::set_hostname(c, facts, context),
        Command::DeleteVmHostname(c) => vm_instance::nics::delete_hostname(c, facts),
        Command::ReportVmStatus(c) => vm_instance::report(c, facts),
        Command::ReconnectVirtualRouter(c) => router::reconnect(c, facts),
        Command::ReplaceVirtualRouter(c) => router::replace(c, facts),
        Command::ProvisionVirtualRouterConfig(c) => router::provision(c, facts),
        Command::ReportApplianceStatus(c) => router::report(c, facts),
        Command::ReportApplianceFindings(c) => router::found(c, facts),
        Command::CreateVip(c) => vip::create(c, facts, context),
        Command::UpdateVip(c) => vip::update(c, facts),
        Command::ChangeVipState(c) => vip::change_state(c, facts),
        Command::DeleteVip(c) => vip::delete(c, facts),
        Command::SetVipQos(c) => vip::qos::set(c, facts),
        Command::DeleteVipQos(c) => vip::qos::delete(c, facts),
        Command::CreateEip(c) => eip::create(c, facts, context),
        Command::AttachEip(c) => eip::attach(c, facts, context),
        Command::DetachEip(c) => eip::detach(c, facts),
        Command::UpdateEip(c) => eip::update(c, facts),
        Command::ChangeEipState(c) => eip::change_state(c, facts),
        Command::DeleteEip(c) => eip::delete(c, facts),
        Command::CreatePortForwardingRule(c) => port_forwarding::create(c, facts, context),
        Command::AttachPortForwardingRule(c) => port_forwarding::attach(c, facts, context),
        Command::DetachPortForwardingRule(c) => port_forwarding::detach(c, facts),
        Command::UpdatePortForwardingRule(c) => port_forwarding::update(c, facts),
        Command::ChangePortForwardingRuleState(c) => port_forwarding::change_state(c, facts),
        Command::DeletePortForwardingRule(c) => port_forwarding::delete(c, facts),
        Command::CreateSystemTag(c) => tag_set::create_system(c, facts, context),
        Command::CreateSystemTags(c) => tag_set::create_several(c, facts, context),
        Command::CreateUserTag(c) => tag_set::create_user(c, facts, context),
        Command::UpdateSystemTag(c) => tag_set::update(c, facts),
        Command::DeleteTag(c) => tag_set::delete(c, facts),
        Command::UpdateGlobalConfig(c) => global_config::update(c, facts),
        Command::ResetGlobalConfig(_) => global_config::reset(facts),
        Command::UpdateResourceConfig(c) => resource_config::update(c, facts),
        Command::DeleteResourceConfig(c) => resource_config::delete(c, facts),
        Command::CreateAccount(c) => account::create(c, facts, context),
        Command::UpdateAccount(c) => account::update(c, facts),
        Command::DeleteAccount(c) => account::delete(c, facts),
        Command::CreatePolicy(c) => policy::create(c, facts, context),
        Command::DeletePolicy(c) => policy::delete(c, facts),
        Command::CreateRole(c) => role::create(c, facts, context),
        Command::UpdateRole(c) => role::update(c, facts),
        Command::AttachPolicyToRole(c) => role::attach_policy(c, facts),
        Command::DetachPolicyFromRole(c) => role::detach_policy(c, facts),
        Command::AttachRoleToAccount(c) => role::attach(c, facts),
        Command::DetachRoleFromAccount(c) => role::detach(c, facts),
        Command::DeleteRole(c) => role::delete(c, facts),
        Command::ShareResource(c) => ownership::share(c, facts),
        Command::RevokeResourceSharing(c) => ownership::revoke(c, facts),
        Command::ChangeResourceOwner(c) => ownership::change_owner(c, facts),
        Command::UpdateQuota(c) => ownership::update_quota(c, facts),
        Command::CreateSecurityGroup(c) => security_group::create(c, facts, context),
        Command::UpdateSecurityGroup(c) => security_group::update(c, facts),
        Command::ChangeSecurityGroupState(c) => security_group::change_state(c, facts),
        Command::DeleteSecurityGroup(c) => security_group::delete(c, facts),
        Command::AddSecurityGroupRule(c) => security_group::add_rules(c, facts, context),
        Command::DeleteSecurityGroupRule(c) => security_group::delete_rules(c, facts),
        Command::ChangeSecurityGroupRule(c) => security_group::change_rule(c, facts),
        Command::ChangeSecurityGroupRuleState(c) => security_group::change_rule_state(c, facts),
        Command::UpdateSecurityGroupRulePriority(c) => security_group::order_rules(c, facts),
        Command::AddVmNicToSecurityGroup(c) => security_group::add_nics(c, facts),
        Command::DeleteVmNicFromSecurityGroup(c) => security_group::remove_nics(c, facts),
        Command::SetVmNicSecurityGroup(c) => security_group::set_groups(c, facts),
        Command::ChangeVmNicSecurityPolicy(c) => security_group::change_policy(c, facts),
        Command::AttachSecurityGroupToL3Network(c) => security_group::attach(c, facts),
        Command::DetachSecurityGroupFromL3Network(c) => security_group::detach(c, facts),
        // The node has verified these and put its report in their place; what it knows nothing of changes nothing.
        Command::LogInByAccount(_) | Command::LogOut(_) | Command::CreateAccessKey(_) | Command::CreateApiToken(_) => {
            Ok(Decision::about(StreamKind::Account, ADMIN_ACCOUNT))
        }
        Command::ReportLogIn(c) => account::log_in(c, facts, context),
        Command::ReportLogOut(c) => account::log_out(c, facts),
        Command::ReportAccessKey(c) => access_key::create(c, facts, context),
        Command::ChangeAccessKeyState(c) => access_key::change_state(c, facts),
        Command::DeleteAccessKey(c) => access_key::delete(c, facts),
        Command::ReportApiToken(c) => api_token::create(c, facts, context),
        Command::DeleteApiToken(c) => api_token::delete(c, facts),
    }
}

/// The aggregate whose actor decides the command: commands about one thing queue behind each other. `new` is the id
/// that a resource without a chosen one will be known by until then.
pub fn target(command: &Command, chosen: Option<Id>, new: Id) -> StreamKey {
    use StreamKind::*;
    let made = chosen.unwrap_or(new);
    let (kind, id): (StreamKind, Id) = match command {
        Command::CreateZone(_) => (Zone, made),
        Command::UpdateZone(c) => (Zone, c.uuid.0),
        Command::ChangeZoneState(c) => (Zone, c.uuid.0),
        Command::DeleteZone(c) => (Zone, c.uuid.0),
        Command::CreateCluster(_) => (Cluster, made),
        Command::UpdateCluster(c) => (Cluster, c.uuid.0),
        Command::ChangeClusterState(c) => (Cluster, c.uuid.0),
        Command::DeleteCluster(c) => (Cluster, c.uuid.0),
        Command::AddKVMHost(_) | Command::AddSimulatorHost(_) => (Host, made),
        Command::UpdateHost(c) => (Host, c.uuid.0),
        Command::ChangeHostState(c) => (Host, c.uuid.0),
        Command::ReconnectHost(c) => (Host, c.uuid.0),
        Command::DeleteHost(c) => (Host, c.uuid.0),
        Command::ReportHostStatus(c) => (Host, c.uuid.0),
        Command::ReportHostFindings(c) => (Host, c.uuid.0),
        Command::AddImage(_) => (Image, made),
        Command::UpdateImage(c) => (Image, c.uuid.0),
        Command::DeleteImage(c) => (Image, c.uuid.0),
        Command::CreateL2NoVlanNetwork(_) | Command::CreateL2VlanNetwork(_) => (L2Network, made),
        Command::UpdateL2Network(c) => (L2Network, c.uuid.0),
        Command::ChangeL2NetworkVlanId(c) => (L2Network, c.uuid.0),
        Command::AttachL2NetworkToCluster(c) => (L2Network, c.l2_network_uuid.0),
        Command::DetachL2NetworkFromCluster(c) => (L2Network, c.l2_network_uuid.0),
        Command::DeleteL2Network(c) => (L2Network, c.uuid.0),
        Command::ReportL2Attachment(c) => (L2Network, c.l2_network_uuid.0),
        Command::ReportL2VlanChange(c) => (L2Network, c.l2_network_uuid.0),
        Command::CreateL3Network(_) => (L3Network, made),
        Command::UpdateL3Network(c) => (L3Network, c.uuid.0),
        Command::ChangeL3NetworkState(c) => (L3Network, c.uuid.0),
        Command::AddDnsToL3Network(c) => (L3Network, c.l3_network_uuid.0),
        Command::RemoveDnsFromL3Network(c) => (L3Network, c.l3_network_uuid.0),
        Command::AddHostRouteToL3Network(c) => (L3Network, c.l3_network_uuid.0),
        Command::RemoveHostRouteFromL3Network(c) => (L3Network, c.l3_network_uuid.0),
        Command::SetL3NetworkMtu(c) => (L3Network, c.l3_network_uuid.0),
        Command::SetL3NetworkRouterInterfaceIp(c) => (L3Network, c.l3_network_uuid.0),
        Command::AttachNetworkServiceToL3Network(c) => (L3Network, c.l3_network_uuid.0),
        Command::DetachNetworkServiceFromL3Network(c) => (L3Network, c.l3_network_uuid.0),
        Command::AddNetworkServiceProvider(_) => (NetworkServiceProvider, made),
        Command::AttachNetworkServiceProviderToL2Network(c) => (L2Network, c.l2_network_uuid.0),
        Command::DetachNetworkServiceProviderFromL2Network(c) => (L2Network, c.l2_network_uuid.0),
        Command::AddReservedIpRange(c) => (L3Network, c.l3_network_uuid.0),
        Command::DeleteReservedIpRange(c) => (L3Network, c.uuid),
        Command::DeleteIpAddress(c) => (L3Network, c.l3_network_uuid.0),
        Command::DeleteL3Network(c) => (L3Network, c.uuid.0),
        Command::AddIpRange(c) => (L3Network, c.l3_network_uuid.0),
        Command::AddIpRangeByNetworkCidr(c) => (L3Network, c.l3_network_uuid.0),
        Command::AddIpv6Range(c) => (L3Network, c.l3_network_uuid.0),
        Command::AddIpv6RangeByNetworkCidr(c) => (L3Network, c.l3_network_uuid.0),
        Command::UpdateIpRange(c) => (IpRange, c.uuid.0),
        Command::DeleteIpRange(c) => (IpRange, c.uuid.0),
        Command::CreateInstanceOffering(_) => (Offering, made),
        Command::CreateVirtualRouterOffering(_) => (Offering, made),
        Command::UpdateInstanceOffering(c) => (Offering, c.uuid.0),
        Command::UpdateVirtualRouterOffering(c) => (Offering, c.uuid.0),
        Command::ChangeInstanceOfferingState(c) => (Offering, c.uuid.0),
        Command::DeleteInstanceOffering(c) => (Offering, c.uuid.0),
        Command::CreateVmInstance(_) => (VmInstance, made),
        Command::StartVmInstance(c) => (VmInstance, c.uuid),
        Command::StopVmInstance(c) => (VmInstance, c.uuid),
        Command::RebootVmInstance(c) => (VmInstance, c.uuid),
        Command::DestroyVmInstance(c) => (VmInstance, c.uuid),
        Command::PauseVmInstance(c) => (VmInstance, c.uuid.0),
        Command::ResumeVmInstance(c) => (VmInstance, c.uuid.0),
        Command::RecoverVmInstance(c) => (VmInstance, c.uuid.0),
        Command::ExpungeVmInstance(c) => (VmInstance, c.uuid.0),
        Command::UpdateVmInstance(c) => (VmInstance, c.uuid.0),
        Command::AttachL3NetworkToVm(c) => (VmInstance, c.vm_instance_uuid),
        // Whose nic it is the decision finds.
        Command::DetachL3NetworkFromVm(c) => (VmInstance, c.vm_nic_uuid.0),
        Command::ChangeVmNicNetwork(c) => (VmInstance, c.vm_nic_uuid.0),
        Command::ChangeVmNicState(c) => (VmInstance, c.vm_nic_uuid.0),
        Command::SetVmStaticIp(c) => (VmInstance, c.vm_instance_uuid.0),
        Command::DeleteVmStaticIp(c) => (VmInstance, c.vm_instance_uuid.0),
        Command::SetVmHostname(c) => (VmInstance, c.uuid.0),
        Command::DeleteVmHostname(c) => (VmInstance, c.uuid.0),
        Command::ReportVmStatus(c) => (VmInstance, c.uuid.0),
        Command::ReconnectVirtualRouter(c) => (Router, c.vm_instance_uuid.0),
        Command::ReplaceVirtualRouter(c) => (Router, c.vm_instance_uuid.0),
        Command::ProvisionVirtualRouterConfig(c) => (Router, c.vm_instance_uuid.0),
        Command::ReportApplianceStatus(c) => (Router, c.uuid.0),
        Command::ReportApplianceFindings(c) => (Router, c.uuid.0),
        Command::CreateVip(_) => (Vip, made),
        Command::UpdateVip(c) => (Vip, c.uuid.0),
        Command::ChangeVipState(c) => (Vip, c.uuid.0),
        Command::DeleteVip(c) => (Vip, c.uuid.0),
        Command::SetVipQos(c) => (Vip, c.uuid.0),
        Command::DeleteVipQos(c) => (Vip, c.uuid.0),
        Command::CreateEip(_) => (Eip, made),
        Command::AttachEip(c) => (Eip, c.eip_uuid.0),
        Command::DetachEip(c) => (Eip, c.uuid.0),
        Command::UpdateEip(c) => (Eip, c.uuid.0),
        Command::ChangeEipState(c) => (Eip, c.uuid.0),
        Command::DeleteEip(c) => (Eip, c.uuid.0),
        Command::CreatePortForwardingRule(_) => (PortForwarding, made),
        Command::AttachPortForwardingRule(c) => (PortForwarding, c.rule_uuid.0),
        Command::DetachPortForwardingRule(c) => (PortForwarding, c.uuid.0),
        Command::UpdatePortForwardingRule(c) => (PortForwarding, c.uuid.0),
        Command::ChangePortForwardingRuleState(c) => (PortForwarding, c.uuid.0),
        Command::DeletePortForwardingRule(c) => (PortForwarding, c.uuid.0),
        Command::CreateSystemTag(c) => (TagSet, c.resource_uuid),
        Command::CreateSystemTags(c) => (TagSet, c.resource_uuid),
        Command::UpdateSystemTag(c) => (TagSet, c.uuid.0),
        Command::CreateUserTag(c) => (TagSet, c.resource_uuid),
        Command::DeleteTag(c) => (TagSet, c.uuid.0),
        Command::UpdateGlobalConfig(_) | Command::ResetGlobalConfig(_) => {
            (GlobalConfig, switchback_events::global_config_id())
        }
        Command::UpdateResourceConfig(c) => (ResourceConfig, c.resource_uuid),
        Command::DeleteResourceConfig(c) => (ResourceConfig, c.resource_uuid),
        Command::CreateAccount(_) => (Account, made),
        Command::UpdateAccount(c) => (Account, c.uuid.0),
        Command::DeleteAccount(c) => (Account, c.uuid.0),
        Command::CreatePolicy(_) => (Policy, made),
        Command::DeletePolicy(c) => (Policy, c.uuid.0),
        Command::CreateRole(_) => (Role, made),
        Command::UpdateRole(c) => (Role, c.uuid.0),
        Command::AttachPolicyToRole(c) => (Role, c.role_uuid.0),
        Command::DetachPolicyFromRole(c) => (Role, c.role_uuid.0),
        Command::AttachRoleToAccount(c) => (Role, c.role_uuid.0),
        Command::DetachRoleFromAccount(c) => (Role, c.role_uuid.0),
        Command::DeleteRole(c) => (Role, c.uuid.0),
        Command::ShareResource(c) => (Ownership, c.resource_uuids.first().copied().unwrap_or(Id::NIL)),
        Command::RevokeResourceSharing(c) => (Ownership, c.resource_uuids.first().copied().unwrap_or(Id::NIL)),
        Command::ChangeResourceOwner(c) => (Ownership, c.resource_uuid),
        Command::UpdateQuota(c) => (Ownership, c.identity_uuid.0),
        Command::CreateSecurityGroup(_) => (SecurityGroup, made),
        Command::UpdateSecurityGroup(c) => (SecurityGroup, c.uuid.0),
        Command::ChangeSecurityGroupState(c) => (SecurityGroup, c.uuid.0),
        Command::DeleteSecurityGroup(c) => (SecurityGroup, c.uuid.0),
        Command::AddSecurityGroupRule(c) => (SecurityGroup, c.security_group_uuid.0),
        // Whose rules they are the decision finds.
        Command::DeleteSecurityGroupRule(c) => (SecurityGroup, c.rule_uuids.first().map_or(Id::NIL, |rule| rule.0)),
        Command::ChangeSecurityGroupRule(c) => (SecurityGroup, c.uuid.0),
        Command::ChangeSecurityGroupRuleState(c) => (SecurityGroup, c.security_group_uuid.0),
        Command::UpdateSecurityGroupRulePriority(c) => (SecurityGroup, c.security_group_uuid.0),
        Command::AddVmNicToSecurityGroup(c) => (SecurityGroup, c.security_group_uuid.0),
        Command::DeleteVmNicFromSecurityGroup(c) => (SecurityGroup, c.security_group_uuid.0),
        Command::SetVmNicSecurityGroup(c) => (VmInstance, c.vm_nic_uuid.0),
        Command::ChangeVmNicSecurityPolicy(c) => (VmInstance, c.vm_nic_uuid.0),
        Command::AttachSecurityGroupToL3Network(c) => (SecurityGroup, c.security_group_uuid.0),
        Command::DetachSecurityGroupFromL3Network(c) => (SecurityGroup, c.security_group_uuid.0),
        Command::LogInByAccount(_) | Command::LogOut(_) | Command::CreateAccessKey(_) | Command::CreateApiToken(_) => {
            (Account, ADMIN_ACCOUNT.0)
        }
        Command::ReportLogIn(c) => (Account, c.uuid.0),
        Command::ReportLogOut(c) => (Account, c.uuid.0),
        Command::ReportAccessKey(c) => (Account, c.uuid.0),
        // Whose they are the decision finds.
        Command::ChangeAccessKeyState(c) => (Account, c.uuid.0),
        Command::DeleteAccessKey(c) => (Account, c.uuid.0),
        Command::ReportApiToken(c) => (Account, c.uuid.0),
        Command::DeleteApiToken(c) => (Account, c.uuid.0),
    };
    StreamKey::new(kind, id)
}
