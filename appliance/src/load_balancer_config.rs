//! The section `loadBalancer`: what a router listens for, and to whom it hands on what comes.
//!
//! **Invariant:** a private key is in the body of a push to an agent and nowhere else. It is read and never written out
//! again by `serde`: neither a digest, nor a kept document, nor a view of the configuration has it.

use crate::protocol::Push;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, net::IpAddr};
use switchback_events::{AccessControlListId, CertificateId, LoadBalancerId, LoadBalancerListenerId};
pub use switchback_events::{
    BalancerAlgorithm, Compression, HealthCheck, HealthTarget, HttpConnections, HttpMethod, ListenerProtocol,
    Persistence, ProxyProtocol, TlsPolicy, ToHttps,
};

/// Load balancing.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancerConfig {
    /// By id.
    pub listeners: Vec<ListenerConfig>,
    /// Those that listeners show, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateConfig>,
}

/// A port, and where what comes to it goes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerConfig {
    /// Which listener.
    pub listener: LoadBalancerListenerId,
    /// Of which load balancer.
    pub load_balancer: LoadBalancerId,
    /// The addresses of its VIPs, or the router's own.
    pub addresses: Vec<IpAddr>,
    /// The port there.
    pub port: u16,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// Who is next.
    pub algorithm: BalancerAlgorithm,
    /// Whether who came before goes to the same server.
    #[serde(default, skip_serializing_if = "Persistence::is_off")]
    pub persistence: Persistence,
    /// Connections at a time.
    pub max_connections: u32,
    /// Threads of the router's load balancer: the listener with most decides.
    pub processes: u8,
    /// Seconds after which a silent connection is closed.
    pub idle_timeout: u32,
    /// Whether a server is well.
    pub health: HealthCheck,
    /// In the order of address and port.
    pub servers: Vec<BackendServer>,
    /// Other servers for some requests; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// Who may come; none: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// How servers of TCP are told who came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Of http and https.
    #[serde(default, skip_serializing_if = "HttpOptions::is_plain")]
    pub http: HttpOptions,
    /// Of https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Where what comes may go.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendServer {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its share, 0 to 100, where the algorithm goes by weights. 0: nothing new comes.
    pub weight: u8,
}

/// Requests that go to other servers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// The access control list whose rule it is.
    pub list: AccessControlListId,
    /// The header `Host`, with the port where it is not the usual one; one that begins with `*.` stands for all names
    /// under it. None: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What the path begins with. None: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// In the order of address and port.
    pub servers: Vec<BackendServer>,
}

/// Who may come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// Those below alone, or all but those.
    pub allow: bool,
    /// In order.
    pub sources: Vec<IpNet>,
}

/// What there is besides of http and https.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpOptions {
    /// What becomes of a connection after an answer.
    pub connections: HttpConnections,
    /// HTTP/2 is spoken too, by https.
    pub h2: bool,
    /// What answers may be packed with, in order.
    pub compression: Vec<Compression>,
    /// Every request is sent on to https.
    pub to_https: Option<ToHttps>,
}

/// What a listener of https shows and takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// One of the section's.
    pub certificate: CertificateId,
    /// Versions and ciphers.
    pub policy: TlsPolicy,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateConfig {
    /// Which certificate.
    pub certificate: CertificateId,
    /// SHA-256 of the PEM text, in hexadecimal: what an agent knows it by.
    pub digest: String,
    /// The text; there while it travels.
    #[serde(default, skip_serializing)]
    pub pem: Option<Pem>,
}

/// Certificates and a private key. Secret: it is read and shown nowhere.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Pem(String);

impl Pem {
    /// A text that is to be kept secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the file that haproxy reads, and the body of a push.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What the configuration names it by.
    pub fn digest(&self) -> String {
        crate::hex(&Sha256::digest(self.0.as_bytes()))
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem(secret)")
    }
}

impl LoadBalancerConfig {
    /// The name of the section.
    pub const SECTION: &str = "loadBalancer";

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.certificates.is_empty()
    }
}

impl HttpOptions {
    /// Nothing beyond the usual.
    pub fn is_plain(&self) -> bool {
        *self == HttpOptions::default()
    }
}

/// Puts the texts of certificates into a push that is about to leave for an agent.
pub fn enclose_certificates(push: &mut Push, text_of: impl Fn(CertificateId) -> Option<Pem>) {
    let section = push.sections.get_mut(LoadBalancerConfig::SECTION).and_then(|section| section.body.as_mut());
    let certificates = section.and_then(|body| body.get_mut("certificates")?.as_array_mut());
    for certificate in certificates.into_iter().flatten() {
        let id = certificate.get("certificate").and_then(|id| id.as_str()?.parse().ok());
        if let Some(pem) = id.and_then(|id| text_of(CertificateId(id))) {
            certificate["pem"] = pem.0.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SectionPush, digest};
    use std::collections::BTreeMap;
    use switchback_events::Id;

    #[test]
    fn a_private_key_is_in_the_body_that_travels_and_nowhere_else() {
        let id = CertificateId(Id::of_name("certificate"));
        let pem = Pem::new("-----BEGIN PRIVATE KEY-----\nsesame\n");
        let held = |pem| LoadBalancerConfig {
            certificates: vec![CertificateConfig { certificate: id, digest: "d".to_string(), pem }],
            ..LoadBalancerConfig::default()
        };
        let (with, without) = (held(Some(pem.clone())), held(None));
        assert_eq!(digest(&with), digest(&without));
        assert!(!serde_json::to_string(&with).unwrap().contains("sesame"));
        assert!(!format!("{with:?}").contains("sesame"));
        let section = SectionPush::whole(&without);
        let sections = BTreeMap::from([(LoadBalancerConfig::SECTION.to_string(), section)]);
        let mut push = Push { id: Id::NIL, revision: 1, epoch: 1, sections, passwords: BTreeMap::new() };
        enclose_certificates(&mut push, |asked| (asked == id).then(|| pem.clone()));
        let body = push.sections[LoadBalancerConfig::SECTION].body.clone().unwrap();
        assert_eq!(serde_json::from_value::<LoadBalancerConfig>(body).unwrap(), with);
    }
}
