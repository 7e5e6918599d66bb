//! What a document may say before any of it reaches a file, a rule or a command line.
//!
//! **Invariant:** names that pass consist of a small set of characters; none of them means anything to
//! dnsmasq, nft, ip or a shell.

use ipnet::IpNet;
use std::net::IpAddr;
use switchback_appliance::{
    AgentProblem, AgentProblemCode, BackendServer, BalancerAlgorithm, HealthTarget, ListenerConfig, ListenerProtocol,
    LoadBalancerConfig, Persistence, PlugConfig, Sections, VmConfig,
};

/// An [`AgentProblemCode::Invalid`] in `section`.
pub fn invalid(section: &str, detail: impl Into<String>) -> AgentProblem {
    AgentProblem { code: AgentProblemCode::Invalid, section: Some(section.to_string()), detail: detail.into() }
}

/// Whether `text` is one label of a DNS name.
pub fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether `text` is a DNS name.
pub fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether `text` can be the name of a network interface.
pub fn is_interface(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=15).contains(&text.len())
        && text.bytes().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text != "all"
        && text != "default"
}

/// Checks the sections of a router, and that they fit together.
pub fn router(sections: &Sections) -> Result<(), AgentProblem> {
    let nics = &sections.interfaces.nics;
    for (at, nic) in nics.iter().enumerate() {
        if !is_interface(&nic.name) {
            return Err(invalid("interfaces", format!("`{}` is not a name of an interface", nic.name)));
        }
        if let Some(net) = nic.addresses.iter().find(|net| net.prefix_len() == 0) {
            return Err(invalid("interfaces", format!("{}: {net} has no prefix length", nic.name)));
        }
        let of_ipv4 = nic.addresses.iter().filter(|net| net.addr().is_ipv4()).count();
        if nic.addresses.is_empty() || of_ipv4 > 1 || nic.addresses.len() - of_ipv4 > 1 {
            return Err(invalid("interfaces", format!("{} needs an address, at most one of each family", nic.name)));
        }
        if nics[..at].iter().any(|other| other.name == nic.name || other.mac == nic.mac) {
            return Err(invalid("interfaces", format!("{} or its MAC {} is there twice", nic.name, nic.mac)));
        }
    }
    let known = |section: &str, name: &str| match nics.iter().any(|nic| nic.name == name) {
        true => Ok(()),
        false => Err(invalid(section, format!("`{name}` is not an interface of this router"))),
    };
    for network in &sections.dhcp.networks {
        known("dhcp", &network.interface)?;
        if network.domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
            return Err(invalid(
                "dhcp",
                format!("`{}` is not a domain", network.domain.as_deref().unwrap_or_default()),
            ));
        }
    }
    for network in &sections.dhcp.networks6 {
        known("dhcp", &network.interface)?;
        let domain = network.domain.as_deref();
        if let Some(domain) = domain.filter(|domain| !is_domain(domain)) {
            return Err(invalid("dhcp", format!("`{domain}` is not a domain")));
        }
    }
    for host in &sections.dhcp.hosts {
        if !is_label(&host.hostname) {
            return Err(invalid("dhcp", format!("`{}` is not a host name", host.hostname)));
        }
        let of_ipv4 = sections.dhcp.networks.iter().map(|network| network.l3_network);
        let of_ipv6 = sections.dhcp.networks6.iter().map(|network| network.l3_network);
        if !of_ipv4.chain(of_ipv6).any(|network| network == host.l3_network) {
            return Err(invalid("dhcp", format!("{} is on a network that is not served", host.mac)));
        }
    }
    for name in &sections.dns.interfaces {
        known("dns", name)?;
    }
    for name in &sections.dns.names {
        if !is_label(&name.hostname) {
            return Err(invalid("dns", format!("`{}` is not a host name", name.hostname)));
        }
        if name.domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
            return Err(invalid("dns", format!("`{}` is not a domain", name.domain.as_deref().unwrap_or_default())));
        }
    }
    for rule in &sections.snat.rules {
        known("snat", &rule.interface)?;
    }
    for rule in &sections.firewall.input {
        known("firewall", &rule.interface)?;
    }
    for rule in &sections.firewall.forward {
        known("firewall", &rule.from)?;
        known("firewall", &rule.to)?;
    }
    load_balancer(&sections.load_balancer).map_err(|detail| invalid(LoadBalancerConfig::SECTION, detail))
}

/// Whether `text` is a path of a URL, without what it may be asked with.
pub fn is_path(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_' | b'.' | b'~' | b'%' | b'+');
    (1..=255).contains(&text.len()) && text.starts_with('/') && text.bytes().all(inner)
}

/// Whether `text` can be the name of a cookie.
pub fn is_cookie(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(inner)
}

/// Whether `text` is what a request may have in its header `Host`: a name, with a port where it is not the usual one. All
/// names under one begin with `*.`.
pub fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let digits = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|c| c.is_ascii_digit());
    is_domain(name.strip_prefix("*.").unwrap_or(name)) && port.is_none_or(digits)
}

/// Checks the section of load balancing.
fn load_balancer(config: &LoadBalancerConfig) -> Result<(), String> {
    for held in &config.certificates {
        let digits = held.digest.len() == 64 && held.digest.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return Err(format!("certificate {} has no SHA-256 as its digest", held.certificate));
        }
        if held.pem.as_ref().is_some_and(|pem| pem.digest() != held.digest) {
            return Err(format!("the text of certificate {} is not that of its digest", held.certificate));
        }
    }
    let mut ends: Vec<(IpAddr, u16, bool)> = Vec::new();
    for listener in &config.listeners {
        let failed = |detail: String| format!("listener {}: {detail}", listener.listener);
        self::listener(listener).map_err(failed)?;
        let tls = listener.tls.map(|tls| tls.certificate);
        if tls.is_some_and(|id| !config.certificates.iter().any(|held| held.certificate == id)) {
            return Err(failed("its certificate is not in the section".to_string()));
        }
        for address in &listener.addresses {
            let end = (*address, listener.port, listener.protocol == ListenerProtocol::Udp);
            if ends.contains(&end) {
                return Err(failed(format!("{address} port {} is another's", listener.port)));
            }
            ends.push(end);
        }
    }
    Ok(())
}

fn listener(listener: &ListenerConfig) -> Result<(), String> {
    let udp = listener.protocol == ListenerProtocol::Udp;
    let http = matches!(listener.protocol, ListenerProtocol::Http | ListenerProtocol::Https);
    let health = &listener.health;
    let says = |wrong: bool, text: &str| if wrong { Err(text.to_string()) } else { Ok(()) };
    says(listener.addresses.is_empty(), "it needs an address")?;
    says(listener.addresses.iter().any(IpAddr::is_unspecified), "an address is not one")?;
    says(listener.port == 0 || health.port == Some(0), "0 is not a port")?;
    says(!(1..=64).contains(&listener.processes), "1 to 64 processes")?;
    says(listener.max_connections == 0, "it needs at least one connection")?;
    says(listener.idle_timeout == 0 || health.interval == 0 || health.timeout == 0, "a time is 0")?;
    says(health.healthy == 0 || health.unhealthy == 0, "a threshold is 0")?;
    says(
        listener.tls.is_some() != (listener.protocol == ListenerProtocol::Https),
        "https, and only https, has a certificate",
    )?;
    says(udp && listener.algorithm == BalancerAlgorithm::LeastConn, "udp has no connections to count")?;
    says(health.target == HealthTarget::Udp && !udp, "only servers of udp are asked by udp")?;
    says(!listener.redirects.is_empty() && !http, "only http and https tell requests apart")?;
    says(udp && listener.proxy_protocol.is_some(), "udp has no proxy protocol")?;
    match &listener.persistence {
        Persistence::Insert { cookie, .. } | Persistence::Rewrite { cookie } => {
            says(!http, "only http and https have cookies")?;
            says(!is_cookie(cookie), &format!("`{cookie}` is not a name of a cookie"))?;
        }
        Persistence::Source { .. } | Persistence::Off => {}
    }
    if let HealthTarget::Http { uri, codes, .. } = &health.target {
        says(udp, "servers of udp are not asked by http")?;
        says(!is_path(uri), &format!("`{uri}` is not a path"))?;
        says(codes.is_empty() || codes.iter().any(|code| !(1..=5).contains(code)), "statuses begin with 1 to 5")?;
    }
    if let Some(to) = listener.http.to_https {
        says(to.port == 0 || !matches!(to.status, 301 | 302 | 303 | 307 | 308), "a redirect has a port and a status")?;
    }
    for redirect in &listener.redirects {
        let host = redirect.host.as_deref().filter(|host| !is_host(host));
        says(host.is_some(), &format!("`{}` is not a host", host.unwrap_or_default()))?;
        let path = redirect.path.as_deref().filter(|path| !is_path(path));
        says(path.is_some(), &format!("`{}` is not a path", path.unwrap_or_default()))?;
        servers(&redirect.servers)?;
    }
    if let Some(access) = &listener.access {
        says(access.sources.len() > 10_000, "more than 10000 sources")?;
        says(access.sources.iter().any(|source: &IpNet| source.prefix_len() == 0), "a source has no prefix length")?;
    }
    servers(&listener.servers)
}

fn servers(servers: &[BackendServer]) -> Result<(), String> {
    for (at, server) in servers.iter().enumerate() {
        if server.port == 0 || server.weight > 100 || server.ip.is_unspecified() || server.ip.is_multicast() {
            return Err(format!("{} port {} weight {} is not a server", server.ip, server.port, server.weight));
        }
        if servers[..at].iter().any(|other| (other.ip, other.port) == (server.ip, server.port)) {
            return Err(format!("{} port {} is there twice", server.ip, server.port));
        }
    }
    Ok(())
}

/// Checks the plugs of an appliance or VM.
pub fn plugs(plugs: &[PlugConfig]) -> Result<(), String> {
    for plug in plugs {
        for name in [&plug.name, &plug.internal_name, &plug.bridge] {
            if !is_interface(name) {
                return Err(format!("`{name}` is not a name of an interface"));
            }
        }
    }
    Ok(())
}

/// Checks a VM of the lab.
pub fn vm(vm: &VmConfig) -> Result<(), String> {
    plugs(&vm.plugs)?;
    if !is_label(&vm.hostname) {
        return Err(format!("`{}` is not a host name", vm.hostname));
    }
    if !vm.plugs.is_empty() && !vm.plugs.iter().any(|plug| plug.name == vm.default_plug) {
        return Err(format!("the default plug `{}` is not one of its plugs", vm.default_plug));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_characters_are_names() {
        for good in ["a", "vm-1", "0", "A9"] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a\nserver=1.2.3.4", "a,b", "a;b", "a$b", "a.b", "a_b", "ä", "a/b", "#"] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_domain("vpc.local"));
        assert!(!is_domain("vpc..local") && !is_domain("") && !is_domain(".x"));
        assert!(is_interface("eth0") && is_interface("br_eth0_10") && is_interface("eth1.10"));
        assert!(!is_interface("../x") && !is_interface("a b") && !is_interface("all") && !is_interface("-x"));
    }
}
