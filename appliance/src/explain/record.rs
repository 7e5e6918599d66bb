//! What in the log a step rests on.

use serde::Serialize;
use switchback_events::*;

/// A record of the log that decides over packets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all_fields = "camelCase", tag = "type")]
pub enum Record {
    /// An EIP that leads to a nic.
    Eip {
        /// Which one.
        uuid: EipId,
    },
    /// Forwarded ports that lead to a nic.
    PortForwardingRule {
        /// Which rule.
        uuid: PortForwardingRuleId,
    },
    /// A VIP that has services.
    Vip {
        /// Which one.
        uuid: VipId,
    },
    /// A port of a load balancer.
    LoadBalancerListener {
        /// Which one.
        uuid: LoadBalancerListenerId,
        /// Of this load balancer.
        load_balancer_uuid: LoadBalancerId,
    },
    /// A nic that a port of a load balancer hands on to.
    LoadBalancerServer {
        /// The nic.
        uuid: NicId,
        /// Of this VM.
        vm_instance_uuid: VmInstanceId,
        /// The port.
        listener_uuid: LoadBalancerListenerId,
        /// Of this load balancer.
        load_balancer_uuid: LoadBalancerId,
    },
    /// A rule of a security group.
    SecurityGroupRule {
        /// Which one.
        uuid: SecurityGroupRuleId,
        /// Of this group.
        security_group_uuid: SecurityGroupId,
    },
    /// The groups of a nic, and what holds where none of their rules fits.
    VmNicSecurity {
        /// The nic.
        uuid: NicId,
        /// Of this VM.
        vm_instance_uuid: VmInstanceId,
    },
    /// A nic of a VM, with its addresses.
    VmNic {
        /// The nic.
        uuid: NicId,
        /// Of this VM.
        vm_instance_uuid: VmInstanceId,
    },
    /// The router's interface on a network, with its addresses.
    RouterNic {
        /// The interface inside the router.
        interface: String,
        /// The network.
        l3_network_uuid: L3NetworkId,
    },
    /// A service that a network has.
    NetworkService {
        /// The network.
        l3_network_uuid: L3NetworkId,
        /// The service.
        service: NetworkServiceType,
    },
    /// An entry of the configuration, of one VM where it has a value of its own.
    Config {
        /// The category.
        category: String,
        /// The name.
        name: String,
        /// The VM.
        #[serde(skip_serializing_if = "Option::is_none")]
        vm_instance_uuid: Option<VmInstanceId>,
    },
}

impl Record {
    /// The resource that people know it by, where it has a uuid.
    pub fn uuid(&self) -> Option<Id> {
        Some(match self {
            Record::Eip { uuid } => uuid.0,
            Record::PortForwardingRule { uuid } => uuid.0,
            Record::Vip { uuid } => uuid.0,
            Record::LoadBalancerListener { uuid, .. } => uuid.0,
            Record::SecurityGroupRule { uuid, .. } => uuid.0,
            Record::VmNicSecurity { uuid, .. }
            | Record::VmNic { uuid, .. }
            | Record::LoadBalancerServer { uuid, .. } => uuid.0,
            Record::RouterNic { l3_network_uuid, .. } | Record::NetworkService { l3_network_uuid, .. } => {
                l3_network_uuid.0
            }
            Record::Config { .. } => return None,
        })
    }

    /// The stream whose name people know it by.
    pub fn named_by(&self) -> Option<StreamKey> {
        Some(match self {
            Record::Eip { uuid } => StreamKey::new(StreamKind::Eip, uuid.0),
            Record::PortForwardingRule { uuid } => StreamKey::new(StreamKind::PortForwarding, uuid.0),
            Record::Vip { uuid } => StreamKey::new(StreamKind::Vip, uuid.0),
            Record::SecurityGroupRule { security_group_uuid, .. } => {
                StreamKey::new(StreamKind::SecurityGroup, security_group_uuid.0)
            }
            Record::VmNicSecurity { vm_instance_uuid, .. }
            | Record::VmNic { vm_instance_uuid, .. }
            | Record::LoadBalancerServer { vm_instance_uuid, .. } => {
                StreamKey::new(StreamKind::VmInstance, vm_instance_uuid.0)
            }
            Record::RouterNic { l3_network_uuid, .. } | Record::NetworkService { l3_network_uuid, .. } => {
                StreamKey::new(StreamKind::L3Network, l3_network_uuid.0)
            }
            Record::LoadBalancerListener { .. } | Record::Config { .. } => return None,
        })
    }

    /// The name that an event of its stream gives to a record that has one of its own there.
    pub fn name_in<'e>(&self, event: &'e Event) -> Option<&'e str> {
        match (self, event) {
            (
                Record::LoadBalancerListener { uuid, .. },
                Event::LoadBalancer(
                    LoadBalancerEvent::ListenerCreated { listener, name, .. }
                    | LoadBalancerEvent::ListenerUpdated { listener, name: Some(name), .. },
                ),
            ) if listener == uuid => Some(name),
            _ => None,
        }
    }

    /// Whether an event of the log made the record what it is; the last such one before a moment put it there.
    /// `router` is the router that is asked about.
    pub fn made_by(&self, router: RouterId, recorded: &Recorded) -> bool {
        let id = recorded.stream.id;
        match (self, &recorded.event) {
            (Record::Eip { uuid }, Event::Eip(event)) => {
                id == uuid.0 && matches!(event, EipEvent::Attached { .. } | EipEvent::StateChanged { .. })
            }
            (Record::PortForwardingRule { uuid }, Event::PortForwarding(event)) => {
                let made =
                    matches!(event, PortForwardingEvent::Attached { .. } | PortForwardingEvent::StateChanged { .. });
                id == uuid.0 && made
            }
            (Record::Vip { uuid }, Event::Vip(event)) => id == uuid.0 && matches!(event, VipEvent::Created { .. }),
            (Record::LoadBalancerListener { uuid, load_balancer_uuid }, Event::LoadBalancer(event)) => {
                id == load_balancer_uuid.0 && shapes_listener(event, *uuid)
            }
            (
                Record::LoadBalancerServer { uuid, listener_uuid, load_balancer_uuid, .. },
                Event::LoadBalancer(LoadBalancerEvent::MembersPut { listener, members, .. }),
            ) => {
                let of_listener = listener.is_none_or(|own| own == *listener_uuid);
                id == load_balancer_uuid.0 && of_listener && members.iter().any(|member| member.to.nic == *uuid)
            }
            (Record::SecurityGroupRule { uuid, security_group_uuid }, Event::SecurityGroup(event)) => {
                let has = |rules: &[SecurityGroupRule]| rules.iter().any(|rule| rule.rule == *uuid);
                id == security_group_uuid.0
                    && match event {
                        SecurityGroupEvent::Created { rules, .. } | SecurityGroupEvent::RulesChanged { rules, .. } => {
                            has(rules)
                        }
                        SecurityGroupEvent::StateChanged { .. } => true,
                        _ => false,
                    }
            }
            (Record::VmNicSecurity { uuid, vm_instance_uuid }, Event::VmInstance(event)) => {
                let made = matches!(event, VmInstanceEvent::NicSecurityChanged { nic, .. } if nic == uuid);
                id == vm_instance_uuid.0 && made
            }
            (Record::VmNic { uuid, vm_instance_uuid }, Event::VmInstance(event)) => {
                id == vm_instance_uuid.0 && shapes_nic(event, *uuid)
            }
            (Record::RouterNic { l3_network_uuid, .. }, Event::Router(event)) => {
                let on = |nic: &Nic| nic.l3_network == *l3_network_uuid;
                let made = match event {
                    RouterEvent::Created { nics, .. } => nics.iter().any(on),
                    RouterEvent::NicAttached { nic } | RouterEvent::NicChanged { nic } => on(nic),
                    _ => false,
                };
                id == router.0 && made
            }
            (Record::NetworkService { l3_network_uuid, service }, Event::L3Network(event)) => {
                let made =
                    matches!(event, L3NetworkEvent::ServicesAttached { services, .. } if services.contains(service));
                id == l3_network_uuid.0 && made
            }
            (Record::Config { category, name, vm_instance_uuid: None }, Event::GlobalConfig(event)) => {
                let GlobalConfigEvent::Changed { category: of, name: entry, .. } = event;
                (of, entry) == (category, name)
            }
            (Record::Config { category, name, vm_instance_uuid: Some(vm) }, Event::ResourceConfig(event)) => {
                let (of, entry) = match event {
                    ResourceConfigEvent::Changed { category, name, .. }
                    | ResourceConfigEvent::Deleted { category, name } => (category, name),
                };
                id == vm.0 && (of, entry) == (category, name)
            }
            _ => false,
        }
    }

    /// The stream that its events are in.
    pub fn stream(&self, router: RouterId) -> Option<StreamKey> {
        Some(match self {
            Record::RouterNic { .. } => StreamKey::new(StreamKind::Router, router.0),
            Record::LoadBalancerListener { load_balancer_uuid, .. }
            | Record::LoadBalancerServer { load_balancer_uuid, .. } => {
                StreamKey::new(StreamKind::LoadBalancer, load_balancer_uuid.0)
            }
            Record::Config { vm_instance_uuid: Some(vm), .. } => StreamKey::new(StreamKind::ResourceConfig, vm.0),
            Record::Config { vm_instance_uuid: None, .. } => {
                StreamKey::new(StreamKind::GlobalConfig, global_config_id())
            }
            other => return other.named_by(),
        })
    }
}

/// Whether an event says what a listener does, what it shows, or who may come.
fn shapes_listener(event: &LoadBalancerEvent, of: LoadBalancerListenerId) -> bool {
    match event {
        LoadBalancerEvent::ListenerCreated { listener, .. }
        | LoadBalancerEvent::ListenerChanged { listener, .. }
        | LoadBalancerEvent::CertificateAdded { listener, .. }
        | LoadBalancerEvent::AccessListPut { listener, .. }
        | LoadBalancerEvent::AccessListRemoved { listener, .. } => *listener == of,
        LoadBalancerEvent::AccessListChanged { listeners, .. } => listeners.contains(&of),
        _ => false,
    }
}

/// Whether an event gives a nic its addresses or what it is, or says that its VM is to run.
fn shapes_nic(event: &VmInstanceEvent, nic: NicId) -> bool {
    match event {
        VmInstanceEvent::Created { nics, .. } | VmInstanceEvent::Recovered { nics, .. } => {
            nics.iter().any(|own| own.nic == nic)
        }
        VmInstanceEvent::NicAttached { nic: own, .. } | VmInstanceEvent::NicChanged { nic: own, .. } => own.nic == nic,
        VmInstanceEvent::NicAddressesChanged { nic: own, .. } | VmInstanceEvent::NicStateChanged { nic: own, .. } => {
            *own == nic
        }
        _ => false,
    }
}
