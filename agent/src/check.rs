//! What a document may say before any of it reaches a file, a rule or a command line.
//!
//! **Invariant:** names that pass consist of a small set of characters; none of them means anything to
//! dnsmasq, nft, ip or a shell.

use crate::services::vip_qos;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, BackendServer, Baggage, BalancerAlgorithm, HealthTarget, ListenerConfig,
    ListenerProtocol, LoadBalancerConfig, MetadataConfig, Persistence, PlugConfig, Protocol, QosConfig, Sections,
    VmConfig,
};
use switchback_events::Nic;

/// Each port of a range that comes to other ports has an element of its own in the router's table.
const PORTS_SHIFTED_MAX: usize = 1 << 18;

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
    translated(sections)?;
    for client in &sections.metadata.clients {
        let names = [Some(&client.hostname), client.domain.as_ref()];
        if let Some(name) = names.into_iter().flatten().find(|name| !is_domain(name)) {
            return Err(invalid(MetadataConfig::SECTION, format!("`{name}` is not a name")));
        }
        if client.password.as_deref().is_some_and(|digest| !is_sha256(digest)) {
            return Err(invalid(MetadataConfig::SECTION, format!("the password of VM {} has no SHA-256", client.vm)));
        }
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

/// Whether what a router brings from another host can be put in place.
pub fn baggage(baggage: &Baggage, files: &[&str]) -> Result<(), String> {
    if let Some(name) = baggage.files.keys().find(|name| !files.contains(&name.as_str())) {
        return Err(format!("`{name}` is no file of a router's agent: expected one of {}", files.join(", ")));
    }
    match baggage.neighbours.iter().find(|known| !is_interface(&known.interface)) {
        Some(known) => Err(format!("`{}` is not the name of an interface", known.interface)),
        None => Ok(()),
    }
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

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks the section of load balancing.
fn load_balancer(config: &LoadBalancerConfig) -> Result<(), String> {
    for held in &config.certificates {
        if !is_sha256(&held.digest) {
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

/// Checks VIPs, and what stands on them: that no two of them want the same packets.
pub fn translated(sections: &Sections) -> Result<(), AgentProblem> {
    let nics = &sections.interfaces.nics;
    let nic_of = |section: &str, name: &str| {
        let found = nics.iter().find(|nic| nic.name == name);
        found.ok_or_else(|| invalid(section, format!("`{name}` is not an interface of this router")))
    };
    let mut vips: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for vip in &sections.vips.addresses {
        let (address, text) = (vip.address.addr(), vip.address);
        nic_of("vips", &vip.interface)?;
        if vip.address.prefix_len() == 0 || address.is_unspecified() || address.is_multicast() || address.is_loopback()
        {
            return Err(invalid("vips", format!("{text} of VIP {} is not an address for services", vip.vip)));
        }
        if nics.iter().any(|nic| nic.addresses.iter().any(|net| net.addr() == address)) {
            return Err(invalid("vips", format!("{address} of VIP {} is the router's own", vip.vip)));
        }
        if vips.insert(address, &vip.interface).is_some() {
            return Err(invalid("vips", format!("{address} is there twice")));
        }
    }
    let has_vip = |interface: &str, address: Ipv4Addr| vips.get(&address.into()) == Some(&interface);
    let mut taken = BTreeSet::new();
    for eip in &sections.eips.eips {
        nic_of("eips", &eip.guest_interface)?;
        let public = nic_of("eips", &eip.public_interface)?;
        // A room of a host has no VIPs: there it is the address of an interface that is for nothing else.
        let alone = vips.is_empty() && public.meta_data == Nic::PUBLIC;
        let own = alone && public.ipv4().is_some_and(|net| net.addr() == eip.vip_address);
        if !own && !has_vip(&eip.public_interface, eip.vip_address) {
            let detail = format!("{} of EIP {} is no VIP on {}", eip.vip_address, eip.eip, eip.public_interface);
            return Err(invalid("eips", detail));
        }
        if !taken.insert(eip.vip_address) {
            return Err(invalid("eips", format!("{} has two EIPs, one of them {}", eip.vip_address, eip.eip)));
        }
        if vips.contains_key(&eip.guest_address.into()) {
            let detail = format!("EIP {} leads to {}, which is a VIP", eip.eip, eip.guest_address);
            return Err(invalid("eips", detail));
        }
    }
    let mut ports: BTreeMap<(Ipv4Addr, Protocol, u16), u16> = BTreeMap::new();
    let mut elements = 0_usize;
    for rule in &sections.port_forwarding.rules {
        let wrong = |detail: &str| invalid("portForwarding", format!("port forwarding rule {}: {detail}", rule.rule));
        nic_of("portForwarding", &rule.guest_interface)?;
        let public = nic_of("portForwarding", &rule.public_interface)?;
        let own = public.ipv4().is_some_and(|net| net.addr() == rule.vip_address);
        if !own && !has_vip(&rule.public_interface, rule.vip_address) {
            return Err(wrong(&format!("{} is no VIP on {}", rule.vip_address, rule.public_interface)));
        }
        if taken.contains(&rule.vip_address) {
            return Err(wrong(&format!("{} has an EIP", rule.vip_address)));
        }
        let (start, end) = (rule.vip_port_start, rule.vip_port_end);
        let (first, last) = (rule.private_port_start, rule.private_port_end);
        if start == 0 || first == 0 || end < start || last < first || end - start != last - first {
            return Err(wrong(&format!("ports {start}-{end} and {first}-{last} are not ranges of one size from 1 on")));
        }
        let below = (rule.vip_address, rule.protocol, 0)..=(rule.vip_address, rule.protocol, end);
        if ports.range(below).next_back().is_some_and(|(_, other)| *other >= start) {
            return Err(wrong(&format!("ports {start}-{end} of {} are another rule's too", rule.vip_address)));
        }
        ports.insert((rule.vip_address, rule.protocol, start), end);
        elements += if start == first { 1 } else { usize::from(end - start) + 1 };
    }
    if elements > PORTS_SHIFTED_MAX {
        let detail = format!("the ranges that shift have {elements} ports, more than {PORTS_SHIFTED_MAX}");
        return Err(invalid("portForwarding", detail));
    }
    let limits = &sections.qos.limits;
    let wrong = |detail: String| Err(invalid(QosConfig::SECTION, detail));
    if limits.len() > vip_qos::LIMITS_MAX {
        return wrong(format!("{} limits, more than {}", limits.len(), vip_qos::LIMITS_MAX));
    }
    let mut limited = BTreeSet::new();
    for limit in limits {
        if !has_vip(&limit.interface, limit.vip_address) {
            return wrong(format!("{} of VIP {} is no VIP on {}", limit.vip_address, limit.vip, limit.interface));
        }
        if !is_interface(&vip_qos::detour(&limit.interface)) {
            return wrong(format!("`{}` is too long a name of an interface for limits", limit.interface));
        }
        if limit.port == Some(0) || !limited.insert((limit.vip_address, limit.port)) {
            return wrong(format!("VIP {}: port {:?} is not one, or is there twice", limit.vip, limit.port));
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

    fn sections(vips: serde_json::Value, eips: serde_json::Value, rules: serde_json::Value) -> Sections {
        let nic = |name: &str, last: u8, address: &str| {
            serde_json::json!({"name": name, "mac": format!("fa:00:00:00:00:0{last}"), "addresses": [address], "metaData": 1,
                "l3Network": "0".repeat(32), "mtu": 1500})
        };
        let nics = [nic("eth0", 1, "203.0.113.1/24"), nic("eth1", 2, "10.0.0.1/24")];
        serde_json::from_value(serde_json::json!({
            "interfaces": {"nics": nics, "defaultGateway": null},
            "dhcp": {"networks": [], "hosts": []},
            "dns": {"interfaces": [], "names": [], "upstreams": []},
            "snat": {"rules": []},
            "firewall": {"input": [], "forward": []},
            "vips": {"addresses": vips},
            "eips": {"eips": eips},
            "portForwarding": {"rules": rules},
        }))
        .unwrap()
    }

    #[test]
    fn what_cannot_be_translated_is_refused_with_its_reason() {
        use serde_json::{Value, json};
        let id = "0".repeat(32);
        let vip = |interface: &str, address: &str| json!({"vip": id, "interface": interface, "address": address});
        let vips = || json!([vip("eth0", "203.0.113.50/24"), vip("eth0", "203.0.113.51/24")]);
        let eip = |vip: &str, public: &str, guest: &str, towards: &str| json!({"eip": id, "vipAddress": vip, "publicInterface": public, "guestAddress": guest, "guestInterface": towards});
        let rule = |vip: &str, towards: &str, ports: [u16; 4]| {
            json!({"rule": id, "vipAddress": vip, "publicInterface": "eth0", "protocol": "tcp", "vipPortStart": ports[0],
                "vipPortEnd": ports[1], "guestAddress": "10.0.0.7", "guestInterface": towards,
                "privatePortStart": ports[2], "privatePortEnd": ports[3]})
        };
        let said = |vips: Value, eips: Value, rules: Value| {
            let refused = router(&sections(vips, eips, rules)).err();
            refused.map(|problem| format!("{}: {}", problem.section.unwrap_or_default(), problem.detail))
        };
        let none = || json!([]);
        let good = eip("203.0.113.50", "eth0", "10.0.0.7", "eth1");
        let ports = |ports| rule("203.0.113.51", "eth1", ports);
        let own = rule("203.0.113.1", "eth1", [80, 89, 8080, 8089]);
        assert_eq!(said(vips(), json!([good]), json!([ports([1, 65535, 1, 65535]), own])), None);
        for (vips, part) in [
            (json!([vip("eth9", "203.0.113.50/24")]), "`eth9` is not an interface"),
            (json!([vip("eth0", "203.0.113.50/0")]), "is not an address for services"),
            (json!([vip("eth0", "224.0.0.1/24")]), "is not an address for services"),
            (json!([vip("eth0", "203.0.113.1/24")]), "is the router's own"),
            (json!([vip("eth0", "203.0.113.5/24"), vip("eth0", "203.0.113.5/24")]), "203.0.113.5 is there twice"),
        ] {
            let said = said(vips, none(), none()).unwrap();
            assert!(said.starts_with("vips: ") && said.contains(part), "{said}");
        }
        for (eips, part) in [
            (json!([eip("203.0.113.50", "eth0", "10.0.0.7", "eth9")]), "`eth9` is not an interface"),
            (json!([eip("203.0.113.50", "eth1", "10.0.0.7", "eth1")]), "is no VIP on eth1"),
            (json!([eip("203.0.113.1", "eth0", "10.0.0.7", "eth1")]), "is no VIP on eth0"),
            (json!([good, eip("203.0.113.50", "eth0", "10.0.0.8", "eth1")]), "203.0.113.50 has two EIPs"),
            (json!([eip("203.0.113.50", "eth0", "203.0.113.51", "eth1")]), "leads to 203.0.113.51, which is a VIP"),
        ] {
            let said = said(vips(), eips, none()).unwrap();
            assert!(said.starts_with("eips: ") && said.contains(part), "{said}");
        }
        // What a router has is never an EIP's; what a room of a host has for that alone is.
        let own = json!([eip("203.0.113.1", "eth0", "10.0.0.7", "eth1")]);
        for (roles, refused) in [(Nic::PUBLIC, false), (Nic::PUBLIC | Nic::MANAGEMENT, true), (Nic::GUEST, true)] {
            let mut room = sections(none(), own.clone(), none());
            room.interfaces.nics[0].meta_data = roles;
            assert_eq!(router(&room).is_err(), refused, "{roles}");
        }
        let shifts = |from: u16| rule("203.0.113.51", "eth1", [from, from + 9999, from + 1, from + 10000]);
        for (rules, part) in [
            (json!([rule("203.0.113.51", "eth9", [1, 1, 1, 1])]), "`eth9` is not an interface"),
            (json!([rule("203.0.113.77", "eth1", [1, 1, 1, 1])]), "203.0.113.77 is no VIP on eth0"),
            (json!([rule("203.0.113.50", "eth1", [1, 1, 1, 1])]), "203.0.113.50 has an EIP"),
            (json!([ports([0, 1, 1, 2])]), "are not ranges of one size"),
            (json!([ports([5, 4, 5, 4])]), "are not ranges of one size"),
            (json!([ports([5, 6, 5, 7])]), "are not ranges of one size"),
            (
                json!([ports([80, 90, 80, 90]), ports([90, 99, 90, 99])]),
                "ports 90-99 of 203.0.113.51 are another rule's",
            ),
            (
                json!([ports([85, 86, 85, 86]), ports([80, 99, 80, 99])]),
                "ports 80-99 of 203.0.113.51 are another rule's",
            ),
        ] {
            let said = said(vips(), json!([good]), rules).unwrap();
            assert!(said.starts_with("portForwarding: ") && said.contains(part), "{said}");
        }
        let mut many: Vec<Value> = Vec::new();
        for protocol in ["tcp", "udp"] {
            for vip in ["203.0.113.51", "203.0.113.1", "203.0.113.52"] {
                let more = (0..6u16).map(|at| {
                    let mut rule = shifts(1 + at * 10_000);
                    rule["vipAddress"] = json!(vip);
                    rule["protocol"] = json!(protocol);
                    rule
                });
                many.extend(more);
            }
        }
        let vips = json!([vip("eth0", "203.0.113.51/24"), vip("eth0", "203.0.113.52/24")]);
        let said = said(vips, none(), json!(many)).unwrap();
        assert!(said.contains("have 360000 ports, more than 262144"), "{said}");
    }

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
