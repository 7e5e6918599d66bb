//! Addresses of VIPs: each is on its interface, as one of a subnet of its own, so that it is nobody's way anywhere and no
//! packet begins with it by chance. What comes for it and is no service's is refused like all else.

use ipnet::IpNet;
use switchback_appliance::{InterfacesConfig, Sections};

/// The section.
pub const SECTION: &str = "vips";

/// The interfaces with the addresses of VIPs, after their own.
pub fn interfaces(sections: &Sections) -> InterfacesConfig {
    let mut interfaces = sections.interfaces.clone();
    for vip in &sections.vips.addresses {
        if let Some(nic) = interfaces.nics.iter_mut().find(|nic| nic.name == vip.interface) {
            nic.addresses.push(IpNet::from(vip.address.addr()));
        }
    }
    interfaces
}

/// The section that an address of an interface belongs to.
pub fn section_of(net: &IpNet) -> &'static str {
    if net.prefix_len() == net.max_prefix_len() { SECTION } else { "interfaces" }
}
