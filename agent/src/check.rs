//! What a document may say before any of it reaches a file, a rule or a command line.
//!
//! **Invariant:** names that pass consist of a small set of characters; none of them means anything to
//! dnsmasq, nft, ip or a shell.

use switchback_appliance::{AgentProblem, AgentProblemCode, PlugConfig, Sections, VmConfig};

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
