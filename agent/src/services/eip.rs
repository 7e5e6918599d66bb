//! One-to-one NAT between the address of a VIP and that of a nic, by maps: what comes for the address goes to the guest, and
//! what leaves the guest by the VIP's interface carries the address.
//!
//! Guests reach EIPs of their own network, also their own: such a packet leaves by the interface that it came in by, and must
//! come back through the router, so it carries the sender's EIP, or the router's address where it has none. The router
//! reaches EIPs too. From interfaces that are for management only nobody does.
//!
//! What comes for each address, and leaves with it, is counted from its first packet on: counters made in advance are
//! two fifths of what putting 10,000 EIPs in place takes the kernel.

use super::{
    nftables::{NftSet, Part},
    snat::of_interface,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};
use switchback_appliance::{InterfacesConfig, Sections};

/// The section.
pub const SECTION: &str = "eips";
/// What the names of its sets, maps and chains begin with.
pub const PREFIX: &str = "eip_";
/// Guests that may go out by the interface of their EIP, where no passage lets all of their network.
pub const PASSAGES: &str = "eip_passages";
/// The addresses whose packets are counted.
const COUNTED: &str = "eip_counted";
/// The counters of what comes for an address, and of what leaves with it.
pub const COUNTERS: [&str; 2] = ["eip_in", "eip_out"];

/// Its part of the router's table; none without EIPs.
pub fn render(sections: &Sections) -> Option<Part> {
    let eips = &sections.eips.eips;
    if eips.is_empty() {
        return None;
    }
    let mut guests = NftSet::map("eip_guests", "type ipv4_addr : ipv4_addr;");
    let mut masquerade = NftSet::set("eip_masquerade", "type ipv4_addr;");
    let mut passages = NftSet { names: 2, ..NftSet::set(PASSAGES, "type ifname . ifname . ipv4_addr;") };
    let mut counted = NftSet::set(COUNTED, "type ipv4_addr;");
    let mut counters =
        COUNTERS.map(|name| NftSet::by_packets(name, "type ipv4_addr; size 65535; flags dynamic; counter;"));
    let mut vips: BTreeMap<&str, NftSet> = BTreeMap::new();
    let passable: BTreeSet<(&str, &str)> =
        sections.firewall.forward.iter().map(|rule| (rule.from.as_str(), rule.to.as_str())).collect();
    for eip in eips {
        let item: Arc<str> = format!("eip {}", eip.eip).into();
        let (vip, guest) = (eip.vip_address.to_string(), eip.guest_address.to_string());
        guests.add(vip.as_str(), Some(guest.clone()), &item);
        let name = || format!("eip_vips_{}", of_interface(&eip.public_interface));
        vips.entry(&eip.public_interface).or_insert_with(|| NftSet::map(&name(), "type ipv4_addr : ipv4_addr;")).add(
            guest.as_str(),
            Some(vip.clone()),
            &item,
        );
        if eip.snat_inbound_traffic {
            masquerade.add(vip.as_str(), None, &item);
        }
        if !passable.contains(&(&eip.guest_interface, &eip.public_interface)) {
            let way = format!("{} . {} . {guest}", eip.guest_interface, eip.public_interface);
            passages.add(way, None, &item);
        }
        counted.add(vip.as_str(), None, &item);
        counters.iter_mut().for_each(|counter| counter.add(vip.as_str(), None, &item));
    }
    let strangers = strangers(&sections.interfaces);
    let mut chains = format!(
        "  chain eip_prerouting {{
    type nat hook prerouting priority dstnat - 2; policy accept;
{strangers}    dnat ip to ip daddr map @eip_guests
  }}
  chain eip_output {{
    type nat hook output priority -102; policy accept;
    dnat ip to ip daddr map @eip_guests
  }}
  chain eip_postrouting {{
    type nat hook postrouting priority srcnat - 2; policy accept;
"
    );
    for back in hairpins(&sections.interfaces) {
        for map in vips.values() {
            let _ = writeln!(chains, "    {back} snat ip to ip saddr map @{}", map.name);
        }
        let _ = writeln!(chains, "    {back} masquerade");
    }
    for (interface, map) in &vips {
        let _ = writeln!(chains, "    oifname \"{interface}\" snat ip to ip saddr map @{}", map.name);
    }
    chains.push_str(
        "    ct status dnat ct original ip daddr @eip_masquerade masquerade
  }
  chain eip_count {
    type filter hook postrouting priority srcnat + 50; policy accept;
",
    );
    for (direction, address, counter) in [
        ("original", "ct original ip daddr", COUNTERS[0]),
        ("reply", "ct reply ip daddr", COUNTERS[0]),
        ("reply", "ct original ip daddr", COUNTERS[1]),
        ("original", "ct reply ip daddr", COUNTERS[1]),
    ] {
        let _ = writeln!(chains, "    ct direction {direction} {address} @{COUNTED} update @{counter} {{ {address} }}");
    }
    chains.push_str("  }\n");
    let mut sets = vec![guests, masquerade, passages, counted];
    sets.extend(counters);
    sets.extend(vips.into_values());
    Some(Part { section: SECTION, sets, chains })
}

/// A rule that ends a chain for what comes in by interfaces that are for management only.
pub fn strangers(interfaces: &InterfacesConfig) -> String {
    let strangers = interfaces.nics.iter().filter(|nic| nic.is_management_only());
    let names: Vec<String> = strangers.map(|nic| format!("\"{}\"", nic.name)).collect();
    if names.is_empty() { String::new() } else { format!("    iifname {{ {} }} accept\n", names.join(", ")) }
}

/// What matches packets that were translated and go back to where they came from, for each interface.
pub fn hairpins(interfaces: &InterfacesConfig) -> impl Iterator<Item = String> {
    let nics = interfaces.nics.iter().filter(|nic| !nic.is_management_only());
    nics.map(|nic| format!("iifname \"{0}\" oifname \"{0}\" ct status dnat", nic.name))
}
