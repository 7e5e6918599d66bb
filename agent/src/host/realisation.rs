//! How an L2 network of a type comes to a host of a kind: by the port of its bridge. One implementation for each pair,
//! chosen in [`realisation`]; a new type of L2 network, or a switch of another make, is one more.
//!
//! A simulated host has the same ports as a real one: what is simulated there is the kernel beneath.

use super::bridges::Links;
use crate::{check::is_interface, kernel::LinkChange};
use switchback_events::{HypervisorType, L2NetworkType};

/// The host, as far as the choice of a port rests on it.
pub struct Ground<'a> {
    /// Its links.
    pub links: &'a Links,
    /// Its kernel makes VLAN devices.
    pub has_vlan: bool,
}

/// The port of a bridge to the outside.
#[derive(PartialEq, Debug)]
pub struct Port {
    /// The link.
    pub name: String,
    /// What makes it, where it is not there.
    pub make: Vec<LinkChange>,
    /// What a user should know, such as a fall-back that was taken.
    pub note: Option<String>,
}

impl Port {
    fn there(name: &str) -> Port {
        Port { name: name.to_string(), make: vec![], note: None }
    }
}

/// How L2 networks of one type are realised on hosts of one kind.
pub trait Realisation: Send + Sync {
    /// The port that a bridge for these frames of `interface` has or would have, or why it cannot have one. `interface`
    /// is there. Nothing is changed.
    fn port(&self, ground: &Ground<'_>, interface: &str, vlan: Option<u16>) -> Result<Port, String>;

    /// The name of that port, there or not.
    fn port_name(&self, interface: &str, vlan: Option<u16>) -> String;
}

/// The implementation for a type of L2 network on a kind of host.
pub fn realisation(network: L2NetworkType, hypervisor: HypervisorType) -> &'static dyn Realisation {
    match (network, hypervisor) {
        (L2NetworkType::L2NoVlanNetwork, HypervisorType::KVM | HypervisorType::Simulator) => &Untagged,
        (L2NetworkType::L2VlanNetwork, HypervisorType::KVM | HypervisorType::Simulator) => &Tagged,
    }
}

/// The port of a bridge for an L2 network: its interface must be there, whatever the type.
pub fn port_of(
    ground: &Ground<'_>,
    realisation: &dyn Realisation,
    interface: &str,
    vlan: Option<u16>,
) -> Result<Port, String> {
    if !is_interface(interface) {
        return Err(format!("`{interface}` is not a name of an interface"));
    }
    if !ground.links.contains_key(interface) {
        return Err(format!("the host has no interface `{interface}`"));
    }
    realisation.port(ground, interface, vlan)
}

/// The interface itself.
struct Untagged;

impl Realisation for Untagged {
    fn port(&self, _ground: &Ground<'_>, interface: &str, _vlan: Option<u16>) -> Result<Port, String> {
        Ok(Port::there(interface))
    }

    fn port_name(&self, interface: &str, _vlan: Option<u16>) -> String {
        interface.to_string()
    }
}

/// A VLAN device of the interface. A kernel without 802.1Q cannot make one: there an interface of its name, made by
/// whoever set up the host, stands in, and the note says so.
struct Tagged;

impl Realisation for Tagged {
    fn port(&self, ground: &Ground<'_>, interface: &str, vlan: Option<u16>) -> Result<Port, String> {
        let name = self.port_name(interface, vlan);
        let Some(id) = vlan else { return Err("a network of tagged frames needs a VLAN".to_string()) };
        match (ground.has_vlan, ground.links.contains_key(&name)) {
            (true, true) => Ok(Port::there(&name)),
            (true, false) if name.len() <= 15 => {
                let make = LinkChange::CreateVlan { parent: interface.to_string(), id, name: name.clone() };
                Ok(Port { make: vec![make, LinkChange::Up(name.clone())], ..Port::there(&name) })
            }
            (true, false) => Err(format!("`{name}` is longer than the 15 bytes that Linux allows")),
            (false, true) => {
                let note = Some(format!("kernel has no 802.1Q: using interface {name}"));
                Ok(Port { note, ..Port::there(&name) })
            }
            (false, false) => Err(format!("kernel has no 802.1Q, and the host has no interface `{name}` to stand in")),
        }
    }

    fn port_name(&self, interface: &str, vlan: Option<u16>) -> String {
        vlan.map_or_else(|| interface.to_string(), |id| format!("{interface}.{id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Link;

    fn port(links: &[&str], has_vlan: bool, vlan: Option<u16>) -> Result<Port, String> {
        let link = |name: &&str| (name.to_string(), Link { name: name.to_string(), ..Link::default() });
        let links: Links = links.iter().map(link).collect();
        let network = if vlan.is_some() { L2NetworkType::L2VlanNetwork } else { L2NetworkType::L2NoVlanNetwork };
        port_of(&Ground { links: &links, has_vlan }, realisation(network, HypervisorType::KVM), "eth0", vlan)
    }

    #[test]
    fn a_port_is_what_the_kernel_can_make_or_what_stands_in_for_it() {
        assert_eq!(port(&["eth0"], false, None), Ok(Port::there("eth0")));
        assert_eq!(port(&["eth1"], true, None), Err("the host has no interface `eth0`".to_string()));
        assert_eq!(port(&["eth1", "eth0.7"], false, Some(7)), Err("the host has no interface `eth0`".to_string()));
        assert_eq!(port(&["eth0", "eth0.7"], true, Some(7)), Ok(Port::there("eth0.7")));
        let made = port(&["eth0"], true, Some(7)).unwrap();
        assert_eq!((made.name.as_str(), made.make.len(), made.note), ("eth0.7", 2, None));
        let stands_in = port(&["eth0", "eth0.7"], false, Some(7)).unwrap();
        assert_eq!((stands_in.make.len(), stands_in.note.is_some()), (0, true));
        assert!(port(&["eth0"], false, Some(7)).unwrap_err().contains("no interface `eth0.7` to stand in"));
    }
}
