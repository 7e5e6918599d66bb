//! Load balancer: `there → deleted`, listeners on a VIP and the server groups that they hand on to. All of one is one
//! state, so a port has one listener under any concurrency.
//!
//! A listener has a group of its own, into which `AddVmNicToLoadBalancer` puts nics, and may have others besides. Nics come
//! from networks that have the service LoadBalancer of a virtual router, as for all services of a VIP. A nic that goes, or
//! comes to another network, is taken out; its listeners and groups stay.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    listener_access::{self, Listed},
    rules::{self, Exists},
    server_group,
    vip::{self, VipUse},
    *,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use switchback_bus::*;
use switchback_events::*;

/// Nics of one server group at most.
pub(crate) const MEMBERS_MAX: usize = 1000;
/// The share of a nic that is given none, and the most.
pub(crate) const WEIGHT: u8 = 100;
/// The lengths of what a health check asks for, of its statuses, and of the name of a cookie, at most.
const TEXT_MAX: usize = 80;

/// A load balancer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LoadBalancer {
    pub name: String,
    /// There is one from the beginning on.
    pub at: Option<VipPlace>,
    pub listeners: BTreeMap<LoadBalancerListenerId, Listener>,
    pub groups: BTreeMap<ServerGroupId, ServerGroup>,
    pub deleted: bool,
}

/// A listener of a load balancer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Listener {
    pub name: String,
    pub options: ListenerOptions,
    /// Its own group.
    pub own: ServerGroupId,
    /// All that it hands on to, its own among them.
    pub groups: BTreeSet<ServerGroupId>,
    /// What it shows, of https.
    pub certificate: Option<CertificateId>,
    /// What it goes by.
    pub lists: BTreeMap<AccessControlListId, Listed>,
}

/// Nics that listeners hand on to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ServerGroup {
    pub name: String,
    /// The listener whose own group it is.
    pub own_of: Option<LoadBalancerListenerId>,
    pub members: BTreeMap<NicId, GroupMember>,
}

rules::exists!(LoadBalancer, "load balancer");

impl Listener {
    fn new(name: String, options: ListenerOptions, own: ServerGroupId) -> Listener {
        Listener { name, options, own, groups: BTreeSet::from([own]), certificate: None, lists: BTreeMap::new() }
    }
}

impl LoadBalancer {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &LoadBalancerEvent, _version: Version) {
        match event {
            LoadBalancerEvent::Created { name, at, .. } => (self.name, self.at) = (name.clone(), Some(*at)),
            LoadBalancerEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            LoadBalancerEvent::Deleted { .. } => {
                self.deleted = true;
                self.listeners.clear();
                self.groups.clear();
            }
            LoadBalancerEvent::ListenerCreated { listener, name, options, group, .. } => {
                let options = options.clone();
                self.listeners.insert(*listener, Listener::new(name.clone(), options, *group));
                let (name, own_of) = (name.clone(), Some(*listener));
                self.groups.insert(*group, ServerGroup { name, own_of, members: BTreeMap::new() });
            }
            LoadBalancerEvent::ListenerUpdated { listener, name, .. } => {
                if let (Some(held), Some(name)) = (self.listeners.get_mut(listener), name) {
                    held.name = name.clone();
                }
            }
            LoadBalancerEvent::ListenerChanged { listener, options, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.options = options.clone();
                }
            }
            LoadBalancerEvent::ListenerDeleted { listener, group, .. } => {
                self.listeners.remove(listener);
                self.groups.remove(group);
            }
            LoadBalancerEvent::CertificateAdded { listener, certificate, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.certificate = Some(*certificate);
                }
            }
            LoadBalancerEvent::CertificateRemoved { listener, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.certificate = None;
                }
            }
            LoadBalancerEvent::GroupCreated { group, name, .. } => {
                let (name, members) = (name.clone(), BTreeMap::new());
                self.groups.insert(*group, ServerGroup { name, own_of: None, members });
            }
            LoadBalancerEvent::GroupUpdated { group, name, .. } => {
                if let (Some(held), Some(name)) = (self.groups.get_mut(group), name) {
                    held.name = name.clone();
                }
            }
            LoadBalancerEvent::GroupDeleted { group } => drop(self.groups.remove(group)),
            LoadBalancerEvent::GroupAdded { listener, group, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.groups.insert(*group);
                }
            }
            LoadBalancerEvent::GroupRemoved { listener, group, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.groups.remove(group);
                }
            }
            LoadBalancerEvent::MembersPut { group, members, .. } => {
                if let Some(held) = self.groups.get_mut(group) {
                    held.members.extend(members.iter().map(|member| (member.to.nic, *member)));
                }
            }
            LoadBalancerEvent::MembersRemoved { group, nics, .. } => {
                if let Some(held) = self.groups.get_mut(group) {
                    held.members.retain(|nic, _| !nics.contains(nic));
                }
            }
            LoadBalancerEvent::AccessListPut { listener, list, access, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.lists.insert(*list, Listed::of(access));
                }
            }
            LoadBalancerEvent::AccessListChanged { .. } => {}
            LoadBalancerEvent::AccessListRemoved { listener, list, .. } => {
                if let Some(held) = self.listeners.get_mut(listener) {
                    held.lists.remove(list);
                }
            }
        }
    }

    /// All its nics, in whatever group.
    fn members(&self) -> impl Iterator<Item = &GroupMember> {
        self.groups.values().flat_map(|group| group.members.values())
    }

    /// The networks of its VIP, of its nics, and of `more`, each once.
    pub(crate) fn networks(&self, more: &[GroupMember]) -> Vec<L3NetworkId> {
        let members = self.members().chain(more).map(|member| member.to.l3_network);
        let all: BTreeSet<L3NetworkId> = members.chain(self.at.map(|at| at.l3_network)).collect();
        all.into_iter().collect()
    }
}

pub(crate) fn create(command: &CreateLoadBalancer, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let id = LoadBalancerId(context.resource_id());
    let at = vip::may_join(facts, command.vip_uuid, VipUse::LoadBalancer)?;
    let (name, description) = (command.name.clone(), command.description.clone());
    let created = LoadBalancerEvent::Created { name, description, at };
    Ok(Decision::about(StreamKind::LoadBalancer, id).show("loadBalancer").event(created))
}

pub(crate) fn update(command: &UpdateLoadBalancer, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<LoadBalancer>(facts, "uuid", command.uuid)?;
    let event = LoadBalancerEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::LoadBalancer, command.uuid).show("loadBalancer").event(event))
}

pub(crate) fn delete(command: &DeleteLoadBalancer, facts: &Facts) -> Result<Decision, Refusal> {
    let mut decision = Decision::about(StreamKind::LoadBalancer, command.uuid);
    if facts.get::<LoadBalancer>(command.uuid)?.exists() {
        deleted(&mut decision, facts, command.uuid.0)?;
    }
    Ok(decision)
}

/// Ends a load balancer with its listeners.
pub(crate) fn deleted(decision: &mut Decision, facts: &Facts, id: Id) -> Result<(), Refusal> {
    let balancer = facts.get::<LoadBalancer>(id)?;
    let l3_networks = balancer.networks(&[]);
    if let Some(at) = balancer.at {
        decision.add(id, LoadBalancerEvent::Deleted { vip: at.vip, l3_networks });
    }
    Ok(())
}

pub(crate) fn create_listener(
    command: &CreateLoadBalancerListener,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let id = command.load_balancer_uuid;
    let balancer = rules::existing::<LoadBalancer>(facts, "loadBalancerUuid", id)?;
    let protocol = match command.protocol.as_deref() {
        None | Some("tcp") => ListenerProtocol::Tcp,
        Some("udp") => ListenerProtocol::Udp,
        Some("http") => ListenerProtocol::Http,
        Some(_) => ListenerProtocol::Https,
    };
    let port = command.load_balancer_port;
    port_is_free(facts, &balancer, port, protocol == ListenerProtocol::Udp)?;
    let target = if protocol == ListenerProtocol::Udp { HealthTarget::Udp } else { HealthTarget::Tcp };
    let mut options = ListenerOptions {
        port,
        instance_port: command.instance_port.unwrap_or(port),
        protocol,
        algorithm: BalancerAlgorithm::RoundRobin,
        persistence: Persistence::Off,
        max_connections: 200_000,
        processes: 1,
        idle_timeout: 60,
        health: HealthCheck { target, port: None, interval: 5, timeout: 2, healthy: 2, unhealthy: 6 },
        proxy_protocol: None,
        connections: HttpConnections::KeepAlive,
        compression: vec![],
        to_https: None,
        tls: TlsPolicy::Default,
        h2: false,
        lists_off: false,
    };
    let wishes = wishes(command)?;
    change_options(&mut options, &wishes)?;
    listeners_within_quota(facts, id)?;
    let (listener, group) = (LoadBalancerListenerId(context.id()), ServerGroupId(context.id()));
    let held = Listener::new(command.name.clone(), options.clone(), group);
    let created = LoadBalancerEvent::ListenerCreated {
        listener,
        name: command.name.clone(),
        description: command.description.clone(),
        options,
        group,
        l3_networks: balancer.networks(&[]),
    };
    let decision = about_listener(id.0, listener).event(created);
    let kind = command.acl_type.as_deref().unwrap_or("black");
    let lists = (kind, command.acl_uuids.as_deref().unwrap_or_default());
    let decision = listener_access::admit(decision, facts, (listener, &held), lists, balancer.networks(&[]))?;
    match command.certificate_uuid {
        None => Ok(decision),
        Some(certificate) => shows(decision, facts, &balancer, (listener, protocol), certificate),
    }
}

/// What a new listener is told besides its port and protocol: by parameters, and by tags where there is none.
fn wishes(command: &CreateLoadBalancerListener) -> Result<ChangeLoadBalancerListener, Refusal> {
    let mut told = serde_json::Map::from_iter([("uuid".to_string(), Id::NIL.to_string().into())]);
    for tag in command.system_tags.iter().flatten() {
        let right = "a tag such as maxConnection::5000, of what ChangeLoadBalancerListener may be told";
        let refused = || Refusal::argument("systemTags", tag, right);
        let (name, value) = tag.split_once("::").ok_or_else(refused)?;
        match name {
            "connectionIdleTimeout"
            | "maxConnection"
            | "healthyThreshold"
            | "unhealthyThreshold"
            | "healthCheckInterval"
            | "sessionIdleTimeout"
            | "redirectPort"
            | "statusCode"
            | "Nbprocess"
            | "nbprocess" => {
                let number = value.parse::<i64>().map_or_else(|_| value.into(), Into::into);
                told.insert(if name == "Nbprocess" { "nbprocess" } else { name }.to_string(), number);
            }
            "healthCheckParameter" => {
                let mut parts = value.splitn(3, ':');
                for field in ["healthCheckMethod", "healthCheckURI", "healthCheckHttpCode"] {
                    let part = parts.next().ok_or_else(refused)?;
                    told.insert(field.to_string(), part.into());
                }
            }
            "healthCheckTarget" => {
                let (protocol, _) = value.split_once(':').ok_or_else(refused)?;
                told.insert("healthCheckProtocol".to_string(), protocol.into());
                told.insert(name.to_string(), value.into());
            }
            "httpCompressAlgos" | "httpVersions" => {
                let words: Vec<&str> = value.split([',', ' ']).filter(|word| !word.is_empty()).collect();
                told.insert(name.to_string(), words.into());
            }
            "balancerAlgorithm"
            | "httpMode"
            | "sessionPersistence"
            | "cookieName"
            | "httpRedirectHttps"
            | "tcpProxyProtocol"
            | "securityPolicyType"
            | "accessControlStatus" => {
                let name = if name == "accessControlStatus" { "aclStatus" } else { name };
                told.insert(name.to_string(), value.into());
            }
            _ => return Err(refused()),
        }
    }
    let mut own = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            told.insert(name.to_string(), value);
        }
    };
    let text = |value: &Option<String>| value.clone().map(Into::into);
    own("healthCheckProtocol", text(&command.health_check_protocol));
    own("healthCheckMethod", text(&command.health_check_method));
    own("healthCheckURI", text(&command.health_check_uri));
    own("healthCheckHttpCode", text(&command.health_check_http_code));
    own("tcpProxyProtocol", text(&command.tcp_proxy_protocol));
    own("securityPolicyType", text(&command.security_policy_type));
    own("aclStatus", text(&command.acl_status));
    own("httpVersions", command.http_versions.clone().map(Into::into));
    own("httpCompressAlgos", command.http_compress_algos.clone().map(Into::into));
    match switchback_bus::command("ChangeLoadBalancerListener", &told.into())? {
        (Command::ChangeLoadBalancerListener(wishes), _) => Ok(wishes),
        _ => Err(Refusal::internal("read what a listener is told")),
    }
}

/// A port of a VIP is one service's, whatever load balancer or rule it belongs to; UDP's ports are others than TCP's.
fn port_is_free(facts: &Facts, own: &LoadBalancer, port: u16, udp: bool) -> Result<(), Refusal> {
    let Some(at) = own.at else { return Ok(()) };
    for (service, id) in vip::uses(facts, at.vip) {
        let taken: Vec<(u16, u16)> = match service {
            VipUse::LoadBalancer => {
                let balancer = facts.get::<LoadBalancer>(id)?;
                ports(&balancer, udp).collect()
            }
            VipUse::PortForwarding => {
                let ports = facts.get::<PortForwarding>(id)?.ports;
                let same = (ports.protocol == PortProtocol::UDP) == udp;
                if same { vec![(ports.vip_start, ports.vip_end)] } else { vec![] }
            }
            VipUse::Eip => vec![],
        };
        if taken.iter().any(|(first, last)| (*first..=*last).contains(&port)) {
            let right = format!("a port of VIP {} that {} {id} does not have", at.vip, service.service());
            return Err(Refusal::argument("loadBalancerPort", port, right));
        }
    }
    Ok(())
}

fn listeners_within_quota(facts: &Facts, balancer: LoadBalancerId) -> Result<(), Refusal> {
    let Some(account) = facts.get::<Ownership>(balancer)?.owner else { return Ok(()) };
    let mut used = 0;
    for id in facts.members(Relation::OwnedBy(StreamKind::LoadBalancer), account) {
        used += facts.get::<LoadBalancer>(id)?.listeners.len();
    }
    ownership::allow(facts, account, "loadBalancerListener.num", used, 1)
}

/// The load balancer that has a listener, and the listener.
pub(crate) fn of_listener(
    facts: &Facts,
    field: &str,
    listener: LoadBalancerListenerId,
) -> Result<(Id, Arc<LoadBalancer>, Listener), Refusal> {
    for id in facts.members(Relation::LoadBalancerOfPart, listener) {
        let balancer = facts.get::<LoadBalancer>(id)?;
        if let Some(held) = balancer.listeners.get(&listener).cloned() {
            return Ok((id, balancer, held));
        }
    }
    Err(Refusal::not_found(field, "listener of a load balancer", listener))
}

pub(crate) fn about_listener(id: Id, listener: LoadBalancerListenerId) -> Decision {
    Decision::about(StreamKind::LoadBalancer, id).show_other("loadBalancerListener", listener)
}

pub(crate) fn update_listener(command: &UpdateLoadBalancerListener, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, ..) = of_listener(facts, "uuid", command.uuid)?;
    let (name, description) = (command.name.clone(), command.description.clone());
    let updated = LoadBalancerEvent::ListenerUpdated { listener: command.uuid, name, description };
    Ok(about_listener(id, command.uuid).event(updated))
}

pub(crate) fn change_listener(command: &ChangeLoadBalancerListener, facts: &Facts) -> Result<Decision, Refusal> {
    let (id, balancer, held) = of_listener(facts, "uuid", command.uuid)?;
    let decision = about_listener(id, command.uuid);
    let mut options = held.options.clone();
    change_options(&mut options, command)?;
    if options == held.options {
        return Ok(decision);
    }
    let l3_networks = balancer.networks(&[]);
    Ok(decision.event(LoadBalancerEvent::ListenerChanged { listener: command.uuid, options, l3_networks }))
}

pub(crate) fn delete_listener(command: &DeleteLoadBalancerListener, facts: &Facts) -> Result<Decision, Refusal> {
    let listener = command.uuid;
    let Ok((id, balancer, held)) = of_listener(facts, "uuid", listener) else {
        return Ok(Decision::about(StreamKind::LoadBalancer, listener));
    };
    let (group, l3_networks) = (held.own, balancer.networks(&[]));
    let gone = LoadBalancerEvent::ListenerDeleted { listener, group, l3_networks };
    Ok(Decision::about(StreamKind::LoadBalancer, id).event(gone))
}

/// Has a listener show a certificate.
fn shows(
    decision: Decision,
    facts: &Facts,
    balancer: &LoadBalancer,
    (listener, protocol): (LoadBalancerListenerId, ListenerProtocol),
    certificate: CertificateId,
) -> Result<Decision, Refusal> {
    let held = rules::existing::<Certificate>(facts, "certificateUuid", certificate)?;
    if protocol != ListenerProtocol::Https {
        return Err(Refusal::argument("certificateUuid", certificate, "given for a listener of https alone"));
    }
    let (digest, l3_networks) = (held.digest.clone(), balancer.networks(&[]));
    Ok(decision.event(LoadBalancerEvent::CertificateAdded { listener, certificate, digest, l3_networks }))
}

pub(crate) fn add_certificate(
    command: &AddCertificateToLoadBalancerListener,
    facts: &Facts,
) -> Result<Decision, Refusal> {
    let (listener, certificate) = (command.listener_uuid, command.certificate_uuid);
    let (id, balancer, held) = of_listener(facts, "listenerUuid", listener)?;
    let decision = about_listener(id, listener);
    if held.certificate == Some(certificate) {
        return Ok(decision);
    }
    shows(decision, facts, &balancer, (listener, held.options.protocol), certificate)
}

pub(crate) fn remove_certificate(
    command: &RemoveCertificateFromLoadBalancerListener,
    facts: &Facts,
) -> Result<Decision, Refusal> {
    let (listener, certificate) = (command.listener_uuid, command.certificate_uuid);
    let (id, balancer, held) = of_listener(facts, "listenerUuid", listener)?;
    let decision = about_listener(id, listener);
    if held.certificate != Some(certificate) {
        return Ok(decision);
    }
    let l3_networks = balancer.networks(&[]);
    Ok(decision.event(LoadBalancerEvent::CertificateRemoved { listener, certificate, l3_networks }))
}

/// Puts what is wished for into `options`, and refuses what does not fit together.
fn change_options(options: &mut ListenerOptions, wishes: &ChangeLoadBalancerListener) -> Result<(), Refusal> {
    let https = options.protocol == ListenerProtocol::Https;
    let http = https || options.protocol == ListenerProtocol::Http;
    let udp = options.protocol == ListenerProtocol::Udp;
    let only_http = |field: &str, value: &str| match http {
        true => Ok(()),
        false => Err(Refusal::argument(field, value, "given for a listener of http or https alone")),
    };
    options.idle_timeout = wishes.connection_idle_timeout.unwrap_or(options.idle_timeout);
    options.max_connections = wishes.max_connection.unwrap_or(options.max_connections);
    options.processes = wishes.nbprocess.unwrap_or(options.processes);
    options.health.healthy = wishes.healthy_threshold.unwrap_or(options.health.healthy);
    options.health.unhealthy = wishes.unhealthy_threshold.unwrap_or(options.health.unhealthy);
    options.lists_off = wishes.acl_status.as_ref().map_or(options.lists_off, |status| status == "disable");
    options.health.interval = wishes.health_check_interval.unwrap_or(options.health.interval);
    match wishes.balancer_algorithm.as_deref() {
        None => {}
        Some("leastconn") if udp => {
            return Err(Refusal::argument(
                "balancerAlgorithm",
                "leastconn",
                "roundrobin or source: udp has no connections",
            ));
        }
        Some("leastconn") => options.algorithm = BalancerAlgorithm::LeastConn,
        Some("source") => options.algorithm = BalancerAlgorithm::Source,
        Some("weightroundrobin") => options.algorithm = BalancerAlgorithm::WeightRoundRobin,
        Some(_) => options.algorithm = BalancerAlgorithm::RoundRobin,
    }
    health(&mut options.health, wishes, udp)?;
    if let Some(mode) = &wishes.http_mode {
        only_http("httpMode", mode)?;
        options.connections = match mode.as_str() {
            "http-server-close" => HttpConnections::ServerClose,
            "httpclose" | "forceclose" => HttpConnections::Close,
            _ => HttpConnections::KeepAlive,
        };
    }
    if let Some(algorithms) = &wishes.http_compress_algos {
        only_http("httpCompressAlgos", &algorithms.join(","))?;
        options.compression = Vec::new();
        for word in algorithms {
            let algorithm = match word.as_str() {
                "gzip" => Compression::Gzip,
                "deflate" => Compression::Deflate,
                "raw-deflate" => Compression::RawDeflate,
                _ => Compression::Identity,
            };
            if options.compression.contains(&algorithm) {
                return Err(Refusal::argument("httpCompressAlgos", word, "each named once"));
            }
            options.compression.push(algorithm);
        }
    }
    match wishes.tcp_proxy_protocol.as_deref() {
        None => {}
        Some(word) if udp => {
            return Err(Refusal::argument("tcpProxyProtocol", word, "given for a listener of tcp or http alone"));
        }
        Some("v1") => options.proxy_protocol = Some(ProxyProtocol::V1),
        Some("v2") => options.proxy_protocol = Some(ProxyProtocol::V2),
        Some(_) => options.proxy_protocol = None,
    }
    let only_https = |field: &str, value: &str| match https {
        true => Ok(()),
        false => Err(Refusal::argument(field, value, "given for a listener of https alone")),
    };
    if let Some(policy) = &wishes.security_policy_type {
        only_https("securityPolicyType", policy)?;
        options.tls = match policy.as_str() {
            "tls_cipher_policy_1_0" => TlsPolicy::From10,
            "tls_cipher_policy_1_1" => TlsPolicy::From11,
            "tls_cipher_policy_1_2" => TlsPolicy::Only12,
            "tls_cipher_policy_1_2_strict" => TlsPolicy::Strict12,
            "tls_cipher_policy_1_2_strict_with_1_3" => TlsPolicy::Strict12And13,
            _ => TlsPolicy::Default,
        };
    }
    if let Some(versions) = &wishes.http_versions {
        only_https("httpVersions", &versions.join(","))?;
        options.h2 = versions.iter().any(|version| version == "h2");
    }
    to_https(options, wishes)?;
    persistence(options, wishes, http)
}

fn health(health: &mut HealthCheck, wishes: &ChangeLoadBalancerListener, udp: bool) -> Result<(), Refusal> {
    match wishes.health_check_protocol.as_deref() {
        None => {}
        Some("tcp") => health.target = HealthTarget::Tcp,
        Some("udp") if udp => health.target = HealthTarget::Udp,
        Some("http") if !udp && matches!(health.target, HealthTarget::Http { .. }) => {}
        Some("http") if !udp => {
            let Some(uri) = wishes.health_check_uri.clone() else {
                return Err(Refusal::argument("healthCheckProtocol", "http", "given with healthCheckURI"));
            };
            health.target = HealthTarget::Http { method: HttpMethod::HEAD, uri, codes: vec![2] };
        }
        Some(word) => {
            let right = if udp {
                "udp or tcp, as the listener speaks udp"
            } else {
                "tcp or http: the listener does not speak udp"
            };
            return Err(Refusal::argument("healthCheckProtocol", word, right));
        }
    }
    let asked = [
        ("healthCheckMethod", &wishes.health_check_method),
        ("healthCheckURI", &wishes.health_check_uri),
        ("healthCheckHttpCode", &wishes.health_check_http_code),
    ];
    match &mut health.target {
        HealthTarget::Http { method, uri, codes } => {
            if let Some(word) = &wishes.health_check_method {
                *method = if word == "GET" { HttpMethod::GET } else { HttpMethod::HEAD };
            }
            if let Some(path) = &wishes.health_check_uri {
                let inner = |c: u8| c.is_ascii_alphanumeric() || b"/-_.~%+".contains(&c);
                if path.len() > TEXT_MAX || !path.starts_with('/') || !path.bytes().all(inner) {
                    let right = "a path such as /health: up to 80 letters, digits and `/-_.~%+`, the first a `/`";
                    return Err(Refusal::argument("healthCheckURI", path, right));
                }
                *uri = path.clone();
            }
            if let Some(text) = &wishes.health_check_http_code {
                let right = "words of http_1xx to http_5xx with commas, such as http_2xx,http_3xx";
                let code = |word: &str| {
                    let digit = word.trim().strip_prefix("http_")?.strip_suffix("xx")?;
                    digit.parse().ok().filter(|digit| (1..=5).contains(digit))
                };
                let found: Option<BTreeSet<u8>> = text.split(',').map(code).collect();
                let found = found.filter(|_| text.len() <= TEXT_MAX);
                *codes =
                    found.ok_or_else(|| Refusal::argument("healthCheckHttpCode", text, right))?.into_iter().collect();
            }
        }
        HealthTarget::Tcp | HealthTarget::Udp => {
            if let Some((field, value)) = asked.iter().find_map(|(field, value)| Some((field, value.as_ref()?))) {
                return Err(Refusal::argument(field, value, "given where healthCheckProtocol is http alone"));
            }
        }
    }
    if let Some(target) = &wishes.health_check_target {
        let wanted = match health.target {
            HealthTarget::Tcp => "tcp",
            HealthTarget::Udp => "udp",
            HealthTarget::Http { .. } => "http",
        };
        let port = target.strip_prefix(wanted).and_then(|rest| rest.strip_prefix(':'));
        health.port = match port {
            Some("default") => None,
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => port.parse().ok(),
            _ => {
                let right = format!("{wanted}:default, or {wanted}: and a port of 1 to 65535");
                return Err(Refusal::argument("healthCheckTarget", target, right));
            }
        };
    }
    Ok(())
}

fn to_https(options: &mut ListenerOptions, wishes: &ChangeLoadBalancerListener) -> Result<(), Refusal> {
    if let Some(word) = &wishes.http_redirect_https {
        if options.protocol != ListenerProtocol::Http {
            return Err(Refusal::argument("httpRedirectHttps", word, "given for a listener of http alone"));
        }
        options.to_https = (word == "enable").then_some(options.to_https.unwrap_or(ToHttps { port: 443, status: 302 }));
    }
    for (field, value) in [("redirectPort", wishes.redirect_port), ("statusCode", wishes.status_code)] {
        let Some(value) = value else { continue };
        let Some(to) = &mut options.to_https else {
            return Err(Refusal::argument(field, value, "given where httpRedirectHttps is enable alone"));
        };
        if field == "redirectPort" {
            to.port = value;
        } else if matches!(value, 301 | 302 | 303 | 307 | 308) {
            to.status = value;
        } else {
            return Err(Refusal::argument(field, value, "301, 302, 303, 307 or 308"));
        }
    }
    Ok(())
}

fn persistence(options: &mut ListenerOptions, wishes: &ChangeLoadBalancerListener, http: bool) -> Result<(), Refusal> {
    let (mut idle, mut cookie) = match &options.persistence {
        Persistence::Off => (60, None),
        Persistence::Source { idle } => (*idle, None),
        Persistence::Insert { idle, cookie } => (*idle, Some(cookie.clone())),
        Persistence::Rewrite { cookie } => (60, Some(cookie.clone())),
    };
    let now = match &options.persistence {
        Persistence::Off => "disable",
        Persistence::Source { .. } => "iphash",
        Persistence::Insert { .. } => "insert",
        Persistence::Rewrite { .. } => "rewrite",
    };
    let wanted = wishes.session_persistence.as_deref().unwrap_or(now);
    if let Some(seconds) = wishes.session_idle_timeout {
        if !matches!(wanted, "iphash" | "insert") {
            return Err(Refusal::argument(
                "sessionIdleTimeout",
                seconds,
                "given where sessionPersistence is iphash or insert",
            ));
        }
        idle = seconds;
    }
    if let Some(name) = &wishes.cookie_name {
        let inner = |c: u8| c.is_ascii_alphanumeric() || b"_-.".contains(&c);
        if !matches!(wanted, "insert" | "rewrite") {
            return Err(Refusal::argument("cookieName", name, "given where sessionPersistence is insert or rewrite"));
        }
        if name.is_empty() || name.len() > 64 || !name.bytes().all(inner) {
            return Err(Refusal::argument("cookieName", name, "a name of up to 64 letters, digits, `_`, `-` and `.`"));
        }
        cookie = Some(name.clone());
    }
    if matches!(wanted, "insert" | "rewrite") && !http {
        return Err(Refusal::argument("sessionPersistence", wanted, "disable or iphash: only http has cookies"));
    }
    options.persistence = match (wanted, cookie) {
        ("iphash", _) => Persistence::Source { idle },
        ("insert", cookie) => Persistence::Insert { cookie: cookie.unwrap_or("SERVERID".to_string()), idle },
        ("rewrite", Some(cookie)) => Persistence::Rewrite { cookie },
        ("rewrite", None) => {
            return Err(Refusal::argument(
                "sessionPersistence",
                "rewrite",
                "given with cookieName: the cookie of the servers",
            ));
        }
        _ => Persistence::Off,
    };
    Ok(())
}

pub(crate) fn add_nics(
    command: &AddVmNicToLoadBalancer,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let listener = command.listener_uuid;
    let (id, _, held) = of_listener(facts, "listenerUuid", listener)?;
    let weights = weights(&command.vm_nic_uuids, command.system_tags.as_deref().unwrap_or_default())?;
    server_group::put(about_listener(id, listener), facts, context, (id, held.own), "vmNicUuids", &weights)
}

/// The nics with the shares that tags such as `balancerWeight::<nic>::20` give them.
fn weights(nics: &[NicId], tags: &[String]) -> Result<Vec<(NicId, u8)>, Refusal> {
    let mut weights: Vec<(NicId, u8)> = nics.iter().map(|nic| (*nic, WEIGHT)).collect();
    for tag in tags {
        let right = "balancerWeight::{uuid of one of vmNicUuids}::{a share of 0 to 100}";
        let refused = || Refusal::argument("systemTags", tag, right);
        let (nic, weight) =
            tag.strip_prefix("balancerWeight::").and_then(|rest| rest.split_once("::")).ok_or_else(refused)?;
        let weight: u8 = weight.parse().ok().filter(|weight| *weight <= WEIGHT).ok_or_else(refused)?;
        let own = weights.iter_mut().find(|(own, _)| own.to_string() == nic).ok_or_else(refused)?;
        own.1 = weight;
    }
    Ok(weights)
}

/// Where a load balancer leads to: its VIP, and one of its nics.
pub(crate) fn leads(balancer: &LoadBalancer) -> Option<(VipPlace, ServedNic)> {
    balancer.at.zip(balancer.members().next().map(|member| member.to))
}

pub(crate) fn remove_nics(command: &RemoveVmNicFromLoadBalancer, facts: &Facts) -> Result<Decision, Refusal> {
    let listener = command.listener_uuid;
    let (id, balancer, held) = of_listener(facts, "listenerUuid", listener)?;
    Ok(server_group::take(about_listener(id, listener), &balancer, held.own, &command.vm_nic_uuids))
}

/// Takes nics out that go with this decision, or come to another network.
pub(crate) fn follow(decision: &mut Decision, facts: &Facts) -> Result<(), Refusal> {
    let mut gone: BTreeSet<NicId> = BTreeSet::new();
    for (stream, event) in &decision.events {
        match event {
            Event::VmInstance(VmInstanceEvent::NicDetached { nic, .. }) => drop(gone.insert(*nic)),
            Event::VmInstance(VmInstanceEvent::NicChanged { nic, from, .. }) if *from != nic.l3_network => {
                gone.insert(nic.nic);
            }
            Event::VmInstance(VmInstanceEvent::Destroyed { .. }) => {
                gone.extend(facts.get::<VmInstance>(stream.id)?.nics.iter().map(|nic| nic.nic));
            }
            _ => {}
        }
    }
    let mut concerned: BTreeMap<Id, BTreeSet<NicId>> = BTreeMap::new();
    for nic in gone {
        for group in facts.members(Relation::ServerGroupsOfNic, nic) {
            for id in facts.members(Relation::LoadBalancerOfPart, group) {
                concerned.entry(id).or_default().insert(nic);
            }
        }
    }
    let ends = |id: Id, decision: &Decision| {
        let deleted = |event: &Event| matches!(event, Event::LoadBalancer(LoadBalancerEvent::Deleted { .. }));
        decision.events.iter().any(|(stream, event)| stream.id == id && deleted(event))
    };
    for (id, nics) in concerned {
        if ends(id, decision) {
            continue;
        }
        let balancer = facts.get::<LoadBalancer>(id)?;
        for (group, held) in &balancer.groups {
            let nics: Vec<NicId> = nics.iter().copied().filter(|nic| held.members.contains_key(nic)).collect();
            if !nics.is_empty() {
                let (listener, l3_networks) = (held.own_of, balancer.networks(&[]));
                decision.add(id, LoadBalancerEvent::MembersRemoved { group: *group, listener, nics, l3_networks });
            }
        }
    }
    Ok(())
}

/// The ports that its listeners have.
pub(crate) fn ports(balancer: &LoadBalancer, udp: bool) -> impl Iterator<Item = (u16, u16)> {
    let own = balancer.listeners.values().map(|listener| &listener.options);
    let own = own.filter(move |options| (options.protocol == ListenerProtocol::Udp) == udp);
    own.map(|options| (options.port, options.port))
}
