//! The wires: namespaces, bridges and veth pairs of a lab.

use super::{name::*, netns};
use std::fmt::Write;

/// The VLAN ids that the fabric carries.
pub const VLANS: std::ops::RangeInclusive<u16> = 10..=13;

/// Lays the wires for so many hosts.
///
/// Where the kernel has 802.1Q, the hosts' agents tag frames on `eth2`, which the bridge `guest` carries as they
/// are. Where it has not, each host finds plain interfaces named `eth2.10` and so on, one wire for each VLAN.
pub fn build(lab: &LabName, hosts: u8) -> anyhow::Result<()> {
    let fabric = lab.namespace("fabric");
    let mut namespaces = vec![fabric.clone(), lab.namespace("ctl"), lab.namespace("inet")];
    namespaces.extend((1..=hosts).map(|host| lab.namespace(&format!("host{host}"))));
    let lines: String = namespaces.iter().map(|name| format!("netns add {name}\n")).collect();
    netns::ip_batch(None, &lines)?;
    for namespace in &namespaces {
        netns::within(&netns::path(namespace), quiet)?;
    }

    let tagged = kernel_has_vlans(&fabric);
    let mut wires = Wires::default();
    for bridge in ["mgmt", "public", "guest"] {
        wires.bridge(bridge);
    }
    if !tagged {
        VLANS.for_each(|vlan| wires.bridge(&format!("vlan{vlan}")));
    }
    wires.pair("ctl", "mgmt", &lab.namespace("ctl"), "eth0");
    wires.pair("inet", "public", &lab.namespace("inet"), "eth0");
    wires.pair("inetm", "mgmt", &lab.namespace("inet"), "eth1");
    for host in 1..=hosts {
        let namespace = lab.namespace(&format!("host{host}"));
        wires.pair(&format!("h{host}m"), "mgmt", &namespace, "mgmt0");
        for (name, bridge) in [("eth0", "mgmt"), ("eth1", "public"), ("eth2", "guest")] {
            wires.pair(&format!("h{host}{name}"), bridge, &namespace, name);
        }
        if !tagged {
            for vlan in VLANS {
                wires.pair(&format!("h{host}v{vlan}"), &format!("vlan{vlan}"), &namespace, &format!("eth2.{vlan}"));
            }
        }
    }
    netns::ip_batch(Some(&fabric), &wires.lines)?;

    netns::ip_batch(Some(&lab.namespace("ctl")), &ends(&[("eth0", Some(CONTROL))], &[]))?;
    let inet = [("eth0", Some(PUBLIC_GATEWAY)), ("eth1", Some(MANAGEMENT_GATEWAY))];
    netns::ip_batch(Some(&lab.namespace("inet")), &ends(&inet, &[INTERNET_WEB, INTERNET_DNS]))?;
    for host in 1..=hosts {
        let mut links: Vec<(String, Option<std::net::Ipv4Addr>)> = vec![
            ("mgmt0".to_string(), Some(host_address(host))),
            ("eth0".to_string(), None),
            ("eth1".to_string(), None),
            ("eth2".to_string(), None),
        ];
        if !tagged {
            links.extend(VLANS.map(|vlan| (format!("eth2.{vlan}"), None)));
        }
        let links: Vec<_> = links.iter().map(|(name, address)| (name.as_str(), *address)).collect();
        netns::ip_batch(Some(&lab.namespace(&format!("host{host}"))), &ends(&links, &[]))?;
    }
    Ok(())
}

#[derive(Default)]
struct Wires {
    lines: String,
}

impl Wires {
    fn bridge(&mut self, name: &str) {
        let _ = writeln!(self.lines, "link add {name} type bridge stp_state 0 mcast_snooping 0");
        let _ = writeln!(self.lines, "link set {name} up");
    }

    /// A wire from the port `port` of `bridge` to `name` in `namespace`.
    fn pair(&mut self, port: &str, bridge: &str, namespace: &str, name: &str) {
        let _ = writeln!(self.lines, "link add {port} type veth peer name {name} netns {namespace}");
        let _ = writeln!(self.lines, "link set {port} master {bridge} up");
    }
}

fn ends(links: &[(&str, Option<std::net::Ipv4Addr>)], local: &[std::net::Ipv4Addr]) -> String {
    let mut lines = "link set lo up\n".to_string();
    for address in local {
        let _ = writeln!(lines, "address add {address}/32 dev lo");
    }
    for (name, address) in links {
        if let Some(address) = address {
            let _ = writeln!(lines, "address add {address}/24 dev {name}");
        }
        let _ = writeln!(lines, "link set {name} up");
    }
    lines
}

/// Whether a VLAN device can be made, tried where it does not matter.
fn kernel_has_vlans(fabric: &str) -> bool {
    let lines = "link add probe0 type veth peer name probe1\n\
                 link add link probe0 name probe0.1 type vlan id 1\n";
    let has = netns::ip_batch(Some(fabric), lines).is_ok();
    let _ = netns::ip_batch(Some(fabric), "link del probe0\n");
    has
}

/// The lab is IPv4, and its wires are quiet without router solicitations. A host has two interfaces on the
/// management network, and only the one that has an address answers for it.
fn quiet() {
    for of in ["all", "default"] {
        // Not there where the kernel has no IPv6 at all.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6"), "1");
        let _ = std::fs::write(format!("/proc/sys/net/ipv4/conf/{of}/arp_ignore"), "1");
    }
}
