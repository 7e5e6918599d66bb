//! What can be asked of load balancers, their listeners, and the nics that they hand on to.

use crate::{Check::*, messages};
use switchback_events::{AccessControlListId, CertificateId, LoadBalancerId, LoadBalancerListenerId, NicId, VipId};

/// What listeners speak, in ZStack's words.
const PROTOCOLS: &[&str] = &["tcp", "udp", "http", "https"];
const POLICIES: &[&str] = &[
    "tls_cipher_policy_default",
    "tls_cipher_policy_1_0",
    "tls_cipher_policy_1_1",
    "tls_cipher_policy_1_2",
    "tls_cipher_policy_1_2_strict",
    "tls_cipher_policy_1_2_strict_with_1_3",
];
const HEALTH_PROTOCOLS: &[&str] = &["tcp", "udp", "http"];

messages! {
    /// Makes a load balancer on a VIP, which it may share with forwarded ports and with other load balancers.
    Command CreateLoadBalancer "POST" "/load-balancers" => "loadBalancer" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The VIP that it answers at.
        vip_uuid: VipId = Uuid,
    }
    /// Changes a load balancer's name or description.
    Command UpdateLoadBalancer "PUT" "/load-balancers/{uuid}/actions" => "loadBalancer" for Account {
        /// The load balancer.
        uuid: LoadBalancerId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes a load balancer with its listeners. One that is not there is a success.
    Command DeleteLoadBalancer "DELETE" "/load-balancers/{uuid}" => "" for Account {
        /// The load balancer.
        uuid: LoadBalancerId = Uuid,
    }
    /// Listens on a port of a load balancer. What it hands on to is said by AddVmNicToLoadBalancer, and how by
    /// ChangeLoadBalancerListener.
    Command CreateLoadBalancerListener "POST" "/load-balancers/{loadBalancerUuid}/listeners" => "loadBalancerListener" for Account {
        /// The load balancer.
        load_balancer_uuid: LoadBalancerId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The port of the VIP.
        load_balancer_port: u16 = Int(1, 65_535),
        /// The port of the nics; that of the VIP when not given.
        instance_port: Option<u16> = Int(1, 65_535),
        /// What is spoken there; tcp when not given.
        protocol: Option<String> = Enum(PROTOCOLS),
        /// What it shows, of https; nobody is served there before it has one.
        certificate_uuid: Option<CertificateId> = Uuid,
        /// Versions and ciphers of https; TLS 1.2 and later when not given.
        security_policy_type: Option<String> = Enum(POLICIES),
        /// The versions of HTTP that https speaks: h1, and h2 too where it is named.
        http_versions: Option<Vec<String>> = List(&Enum(&["h1", "h2"])),
        /// What a health check asks; what the listener speaks, of http by tcp, when not given.
        health_check_protocol: Option<String> = Enum(HEALTH_PROTOCOLS),
        /// How a health check of http asks; HEAD when not given.
        health_check_method: Option<String> = Enum(&["GET", "HEAD"]),
        /// The path that a health check of http asks for.
        health_check_uri: Option<String> as "healthCheckURI" = Any,
        /// The statuses that are good for a health check of http, such as `http_2xx,http_3xx`; `http_2xx` when not given.
        health_check_http_code: Option<String> = Any,
        /// How servers of TCP are told who came.
        tcp_proxy_protocol: Option<String> = Enum(&["v1", "v2"]),
        /// What answers of http may be packed with.
        http_compress_algos: Option<Vec<String>> = List(&Enum(&["gzip", "deflate", "raw-deflate", "identity"])),
        /// Access control lists by which it goes from the beginning on.
        acl_uuids: Option<Vec<AccessControlListId>> = List(&Uuid),
        /// What for; black when not given.
        acl_type: Option<String> = Enum(&["white", "black"]),
        /// Whether white and black lists count, which they do when not given.
        acl_status: Option<String> = Enum(&["enable", "disable"]),
        /// What else ChangeLoadBalancerListener may tell it, as ZStack's tags: `maxConnection::5000`,
        /// `balancerAlgorithm::source`, `healthCheckParameter::GET:/health:http_2xx` … A parameter goes before a tag.
        system_tags: Option<Vec<String>> = List(&Text(2048)),
    }
    /// Changes a listener's name or description.
    Command UpdateLoadBalancerListener "PUT" "/load-balancers/listeners/{uuid}" => "loadBalancerListener" for Account {
        /// The listener.
        uuid: LoadBalancerListenerId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Changes how a listener works. What is not given stays.
    Command ChangeLoadBalancerListener "PUT" "/load-balancers/listeners/{uuid}/actions" => "loadBalancerListener" for Account {
        /// The listener.
        uuid: LoadBalancerListenerId = Uuid,
        /// Seconds after which a silent connection is closed.
        connection_idle_timeout: Option<u32> = Int(1, 86_400),
        /// Connections at a time.
        max_connection: Option<u32> = Int(1, 10_000_000),
        /// Who is next.
        balancer_algorithm: Option<String> = Enum(&["roundrobin", "leastconn", "source", "weightroundrobin"]),
        /// The port that a health check asks, as `tcp:80`, or `tcp:default`: the one that is served.
        health_check_target: Option<String> = Any,
        /// So many answers in a row make a nic's server well.
        healthy_threshold: Option<u8> = Int(1, 100),
        /// So many failures in a row make it unwell.
        unhealthy_threshold: Option<u8> = Int(1, 100),
        /// Seconds between two questions.
        health_check_interval: Option<u32> = Int(1, 3600),
        /// What a health check asks.
        health_check_protocol: Option<String> = Enum(HEALTH_PROTOCOLS),
        /// How a health check of http asks.
        health_check_method: Option<String> = Enum(&["GET", "HEAD"]),
        /// The path that a health check of http asks for.
        health_check_uri: Option<String> as "healthCheckURI" = Any,
        /// The statuses that are good for a health check of http, such as `http_2xx,http_3xx`.
        health_check_http_code: Option<String> = Any,
        /// Whether white and black lists count.
        acl_status: Option<String> = Enum(&["enable", "disable"]),
        /// Versions and ciphers of https.
        security_policy_type: Option<String> = Enum(POLICIES),
        /// The versions of HTTP that https speaks: h1, and h2 too where it is named.
        http_versions: Option<Vec<String>> = List(&Enum(&["h1", "h2"])),
        /// Threads; of all listeners of a router the highest counts.
        nbprocess: Option<u8> = Int(1, 64),
        /// What becomes of a connection after an answer of http.
        http_mode: Option<String> = Enum(&["http-keep-alive", "http-server-close", "httpclose", "forceclose"]),
        /// Whether who came before goes to the same nic: by source, by a cookie that is added, or by one of the servers'.
        session_persistence: Option<String> = Enum(&["disable", "iphash", "insert", "rewrite"]),
        /// Seconds after which who came is forgotten.
        session_idle_timeout: Option<u32> = Int(30, 3600),
        /// The name of the cookie.
        cookie_name: Option<String> = Any,
        /// Whether every request of http is sent on to https.
        http_redirect_https: Option<String> = Enum(&["disable", "enable"]),
        /// The port of https; 443 when not given.
        redirect_port: Option<u16> = Int(1, 65_535),
        /// The status that sends on: 301, 302, 303, 307 or 308; 302 when not given.
        status_code: Option<u16> = Int(301, 308),
        /// How servers of TCP are told who came.
        tcp_proxy_protocol: Option<String> = Enum(&["disable", "v1", "v2"]),
        /// What answers of http may be packed with.
        http_compress_algos: Option<Vec<String>> = List(&Enum(&["gzip", "deflate", "raw-deflate", "identity"])),
    }
    /// Deletes a listener. One that is not there is a success.
    Command DeleteLoadBalancerListener "DELETE" "/load-balancers/listeners/{uuid}" => "" for Account {
        /// The listener.
        uuid: LoadBalancerListenerId = Uuid,
    }
    /// Has a listener hand on to nics of VMs, all on networks of one virtual router with the service LoadBalancer.
    Command AddVmNicToLoadBalancer "POST" "/load-balancers/listeners/{listenerUuid}/vm-instances/nics" => "loadBalancerListener" for Account {
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
        /// The nics.
        vm_nic_uuids: Vec<NicId> = List(&Uuid),
        /// Their shares where they are not 100, as ZStack's tags: `balancerWeight::{uuid of the nic}::20`.
        system_tags: Option<Vec<String>> = List(&Text(2048)),
    }
    /// Takes nics out of a listener. Those that are not in it are a success.
    Command RemoveVmNicFromLoadBalancer "DELETE" "/load-balancers/listeners/{listenerUuid}/vm-instances/nics" => "loadBalancerListener" for Account {
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
        /// The nics.
        vm_nic_uuids: Vec<NicId> = List(&Uuid),
    }
}
