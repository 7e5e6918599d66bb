//! Connections outlive the rules that translated them: those whose translation is no longer what the document says are
//! forgotten, so that an EIP or a rule that is gone, or goes elsewhere, lets nothing more through.
//!
//! **Not here:** connections that nothing of ours translated, and those of guests that got an EIP after they began.

use super::firewall;
use crate::kernel::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};
use switchback_appliance::{ListenerConfig, ListenerProtocol, PortForwardingRule, Protocol, Sections};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What is translated, in a form to look things up in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Translations {
    /// Guest by VIP.
    eips: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// By VIP, protocol and first port.
    rules: BTreeMap<(Ipv4Addr, &'static str, u16), PortForwardingRule>,
    /// Where balancers listen for UDP, which they translate themselves.
    balanced: BTreeSet<(IpAddr, u16)>,
}

impl Translations {
    /// Those of a document.
    pub fn of(sections: &Sections) -> Self {
        let rule = |rule: &PortForwardingRule| {
            ((rule.vip_address, firewall::protocol(rule.protocol), rule.vip_port_start), rule.clone())
        };
        let of_udp = |listener: &&ListenerConfig| listener.protocol == ListenerProtocol::Udp;
        let balanced = sections.load_balancer.listeners.iter().filter(of_udp);
        let balanced = balanced.flat_map(|listener| listener.addresses.iter().map(|ip| (*ip, listener.port)));
        Self {
            eips: sections.eips.eips.iter().map(|eip| (eip.vip_address, eip.guest_address)).collect(),
            rules: sections.port_forwarding.rules.iter().map(rule).collect(),
            balanced: balanced.collect(),
        }
    }

    /// Nothing is translated.
    pub fn is_empty(&self) -> bool {
        self.eips.is_empty() && self.rules.is_empty()
    }

    /// Those of `gone` go, then those of `come` come. What is balanced stays.
    pub fn change(&mut self, gone: &Translations, come: &Translations) {
        self.eips.retain(|vip, _| !gone.eips.contains_key(vip));
        self.rules.retain(|ports, _| !gone.rules.contains_key(ports));
        self.eips.extend(&come.eips);
        self.rules.extend(come.rules.clone());
    }

    /// Whether a connection was translated as it would not be now that these hold. `before` held until now.
    pub fn stale<'a>(&'a self, before: &'a Translations) -> impl Fn(&Connection) -> bool + 'a {
        self.stale_among([self, before])
    }

    /// The same of connections by the addresses of some of them.
    pub fn stale_among<'a>(&'a self, some: [&'a Translations; 2]) -> impl Fn(&Connection) -> bool + 'a {
        let ours = |all: &'a Translations| all.eips.keys().copied().chain(all.rules.keys().map(|(vip, _, _)| *vip));
        let vips: BTreeSet<Ipv4Addr> = some.into_iter().flat_map(ours).collect();
        let sources: BTreeSet<Ipv4Addr> = some.into_iter().flat_map(|all| all.eips.keys()).copied().collect();
        move |connection| {
            let (original, reply) = (&connection.original, &connection.reply);
            if original.protocol == UDP
                && self.balanced.contains(&(original.destination.into(), original.destination_port))
            {
                return false;
            }
            let forwarded = vips.contains(&original.destination) && original.destination != reply.source;
            if forwarded {
                return !self.forwards(connection);
            }
            let carried = sources.contains(&reply.destination) && reply.destination != original.source;
            carried && self.eips.get(&reply.destination) != Some(&original.source)
        }
    }

    fn forwards(&self, connection: &Connection) -> bool {
        let (original, reply) = (&connection.original, &connection.reply);
        let guest = self.eips.get(&original.destination);
        if guest.is_some() {
            return guest == Some(&reply.source);
        }
        let protocol = match original.protocol {
            TCP => firewall::protocol(Protocol::Tcp),
            UDP => firewall::protocol(Protocol::Udp),
            _ => return false,
        };
        let port = original.destination_port;
        let first = (original.destination, protocol, 0);
        let last = (original.destination, protocol, port);
        let Some((_, rule)) = self.rules.range(first..=last).next_back() else { return false };
        port <= rule.vip_port_end
            && rule.guest_address == reply.source
            && u32::from(reply.source_port)
                == u32::from(rule.private_port_start) + u32::from(port - rule.vip_port_start)
            && rule.allowed_cidr.is_none_or(|cidr| cidr.contains(&original.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Tuple;
    use switchback_appliance::Eip;
    use switchback_events::{EipId, PortForwardingRuleId};

    const VIP: [u8; 4] = [203, 0, 113, 50];
    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    const GUEST: [u8; 4] = [10, 0, 0, 11];

    fn connection(
        protocol: u8,
        from: ([u8; 4], u16),
        to: ([u8; 4], u16),
        back: ([u8; 4], u16),
        dest: ([u8; 4], u16),
    ) -> Connection {
        let tuple = |source: ([u8; 4], u16), destination: ([u8; 4], u16)| Tuple {
            protocol,
            source: source.0.into(),
            destination: destination.0.into(),
            source_port: source.1,
            destination_port: destination.1,
        };
        Connection { original: tuple(from, to), reply: tuple(back, dest) }
    }

    fn eip(guest: [u8; 4]) -> Sections {
        let mut sections = Sections::default();
        sections.eips.eips.push(Eip {
            eip: EipId::default(),
            vip_address: VIP.into(),
            public_interface: "eth0".to_string(),
            guest_address: guest.into(),
            guest_interface: "eth1".to_string(),
            snat_inbound_traffic: false,
        });
        sections
    }

    fn rule(start: u16, private: u16, allowed: Option<&str>) -> Sections {
        let mut sections = Sections::default();
        sections.port_forwarding.rules.push(PortForwardingRule {
            rule: PortForwardingRuleId::default(),
            vip_address: VIP.into(),
            public_interface: "eth0".to_string(),
            protocol: Protocol::Tcp,
            vip_port_start: start,
            vip_port_end: start + 9,
            guest_address: GUEST.into(),
            guest_interface: "eth1".to_string(),
            private_port_start: private,
            private_port_end: private + 9,
            allowed_cidr: allowed.map(|cidr| cidr.parse().unwrap()),
            snat_inbound_traffic: false,
        });
        sections
    }

    #[test]
    fn what_the_document_does_not_translate_any_more_is_stale() {
        let inbound = connection(TCP, (CLIENT, 4000), (VIP, 80), (GUEST, 80), (CLIENT, 4000));
        let outbound = connection(UDP, (GUEST, 5000), (CLIENT, 53), (CLIENT, 53), (VIP, 5000));
        let foreign = connection(TCP, (GUEST, 5000), (CLIENT, 80), (CLIENT, 80), ([203, 0, 113, 1], 5000));
        let (nothing, here, there) = (Sections::default(), eip(GUEST), eip([10, 0, 0, 12]));
        for (now, is_stale) in [(&nothing, true), (&here, false), (&there, true)] {
            let (now, before) = (Translations::of(now), Translations::of(&here));
            let stale = now.stale(&before);
            assert_eq!([stale(&inbound), stale(&outbound), stale(&foreign)], [is_stale, is_stale, false]);
        }
        let (now, before) = (Translations::of(&here), Translations::default());
        assert!(!now.stale(&before)(&inbound));
    }

    #[test]
    fn a_rule_is_its_ports_its_guest_and_who_may_come() {
        let inbound = connection(TCP, (CLIENT, 4000), (VIP, 8003), (GUEST, 83), (CLIENT, 4000));
        let udp = connection(UDP, (CLIENT, 4000), (VIP, 8003), (GUEST, 83), (CLIENT, 4000));
        let before = Translations::of(&rule(8000, 80, None));
        for (now, is_stale) in [
            (rule(8000, 80, None), false),
            (rule(8000, 80, Some("198.51.100.0/24")), false),
            (rule(8000, 80, Some("192.0.2.0/24")), true),
            (rule(8000, 90, None), true),
            (rule(8001, 81, None), false),
            (rule(8004, 84, None), true),
            (rule(7990, 70, None), true),
            (eip(GUEST), false),
        ] {
            let now = Translations::of(&now);
            assert_eq!(now.stale(&before)(&inbound), is_stale, "{now:?}");
        }
        assert!(before.stale(&before)(&udp));
    }
}
