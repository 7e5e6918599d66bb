//! Ranges of IPv6. Prefix and mode decide how the hosts of the network come to their addresses, so all ranges of a
//! network agree on them.

use super::{Asked, Bounds, IpRange, beside, gateway_fits, own, reserved, siblings};
use crate::{L3Network, context::Context, decision::Decision, directory::Relation, facts::Facts, rules};
use ipnet::{IpNet, Ipv6Net};
use std::{net::Ipv6Addr, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// A network whose hosts make their addresses themselves has exactly this prefix; one whose hosts ask for them has it
/// or a longer one.
const HOST_PREFIX: u8 = 64;

fn unicast(field: &str, text: &str) -> Result<Ipv6Addr, Refusal> {
    let bad = || Refusal::argument(field, text, "a unicast IPv6 address such as fd00::10");
    let ip: Ipv6Addr = text.parse().map_err(|_| bad())?;
    let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
    let is_ipv4 = ip.to_ipv4_mapped().is_some();
    if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || link_local || is_ipv4 {
        return Err(bad());
    }
    Ok(ip)
}

/// What is wrong with the prefix or the mode, and the field that has it.
struct Named<'a> {
    prefix_field: &'a str,
    prefix: String,
}

fn check(
    asked: &Asked,
    l3: &L3Network,
    bounds: &Bounds,
    mode: AddressMode,
    named: &Named,
    ranges: &[(Id, Arc<IpRange>)],
) -> Result<(), Refusal> {
    let Bounds { start, end, prefix_length, gateway } = *bounds;
    let prefix_refused = |right: String| Err(Refusal::argument(named.prefix_field, &named.prefix, right));
    if asked.pool {
        return Err(Refusal::argument("ipRangeType", "AddressPool", "Normal: an AddressPool range has IPv4 addresses"));
    }
    if l3.system {
        let right = "an L3 network that is not a system network: IPv6 is for user VMs and public networks";
        return Err(Refusal::argument("l3NetworkUuid", asked.l3, right));
    }
    if l3.mtu() < IPV6_MTU_MIN {
        let right = format!("an L3 network with an MTU of {IPV6_MTU_MIN} at least, which IPv6 needs");
        return Err(Refusal::argument("l3NetworkUuid", asked.l3, right));
    }
    let of_network = ranges.iter().filter(|(_, range)| range.l3_network == asked.l3).find_map(|(_, range)| range.mode);
    if let Some(theirs) = of_network.filter(|theirs| *theirs != mode) {
        let right = format!("{}, as the network's other IPv6 ranges", theirs.word());
        return Err(Refusal::argument("addressMode", mode.word(), right));
    }
    if mode.makes_its_own() && prefix_length != HOST_PREFIX {
        return prefix_refused(format!("{HOST_PREFIX}, with which addressMode {} works", mode.word()));
    }
    if l3.services.contains_key(&NetworkServiceType::DHCP) && prefix_length < HOST_PREFIX {
        return prefix_refused(format!("{HOST_PREFIX} to 126: the L3 network has the service DHCP"));
    }
    let Some(subnet) = bounds.subnet() else { return prefix_refused("8 to 126".to_string()) };
    if start > end {
        return Err(Refusal::argument("startIp", start, format!("not behind endIp {end}")));
    }
    for (field, ip) in [("endIp", end), ("gateway", gateway)] {
        if !subnet.contains(&ip) {
            return Err(Refusal::argument(field, ip, format!("an address of the range's subnet {subnet}")));
        }
    }
    if start == subnet.network() {
        return Err(Refusal::argument("startIp", start, format!("not the first address of {subnet}")));
    }
    beside(bounds, ranges)?;
    let own = own(asked.l3, 6, ranges);
    if let Some(theirs) = own.iter().filter_map(Bounds::subnet).find(|theirs| *theirs != subnet) {
        return prefix_refused(format!(
            "the CIDR of the network's other IPv6 ranges, {theirs}: one CIDR per L3 network"
        ));
    }
    gateway_fits(bounds, &own)
}

fn make(
    asked: &Asked,
    (start, end, gateway): (Ipv6Addr, Ipv6Addr, Ipv6Addr),
    prefix_length: u8,
    mode: AddressMode,
    named: &Named,
    (facts, context): (&Facts, &Context),
) -> Result<Decision, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", asked.l3)?;
    if l3.no_ipam {
        let detail = format!("l3NetworkUuid = `{}`: the L3 network has no address management (enableIPAM)", asked.l3);
        return Err(Refusal::operation(detail));
    }
    if l3.by_hosts(NetworkServiceType::DHCP) {
        let what = format!("IPv6 on L3 network {}, which has DHCP by the provider Flat,", asked.l3);
        return Err(Refusal::not_supported(what));
    }
    let bounds = Bounds { start: start.into(), end: end.into(), prefix_length, gateway: gateway.into() };
    check(asked, &l3, &bounds, mode, named, &siblings(facts, l3.l2_network)?)?;
    let id = context.resource_id();
    let mut decision = Decision::about(StreamKind::IpRange, id).show("ipRange").event(IpRangeEvent::Ipv6Created {
        l3_network: asked.l3,
        l2_network: l3.l2_network,
        name: asked.name.to_string(),
        description: asked.description.clone(),
        range_type: IpRangeType::Normal,
        start,
        end,
        prefix_length,
        gateway,
        address_mode: mode,
    });
    reserved::hold(&mut decision, IpRangeId(id), asked.l3, &bounds, l3.reserved.values());
    Ok(decision)
}

pub(crate) fn add(command: &AddIpv6Range, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let asked = Asked {
        l3: command.l3_network_uuid,
        name: &command.name,
        description: &command.description,
        pool: command.ip_range_type.as_deref() == Some("AddressPool"),
    };
    let ends = (
        unicast("startIp", &command.start_ip)?,
        unicast("endIp", &command.end_ip)?,
        unicast("gateway", &command.gateway)?,
    );
    let named = Named { prefix_field: "prefixLen", prefix: command.prefix_len.to_string() };
    make(&asked, ends, command.prefix_len, command.address_mode, &named, (facts, context))
}

pub(crate) fn add_by_cidr(
    command: &AddIpv6RangeByNetworkCidr,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let asked = Asked {
        l3: command.l3_network_uuid,
        name: &command.name,
        description: &command.description,
        pool: command.ip_range_type.as_deref() == Some("AddressPool"),
    };
    let bad = || {
        let right = "a unicast subnet such as fd00:1::/64, its prefix length 8 to 126";
        Refusal::argument("networkCidr", &command.network_cidr, right)
    };
    let net: Ipv6Net = command.network_cidr.parse().map_err(|_| bad())?;
    let net = net.trunc();
    if !(8..=126).contains(&net.prefix_len()) {
        return Err(bad());
    }
    let first = u128::from(net.network());
    let (gateway, start, end) = (Ipv6Addr::from(first + 1), Ipv6Addr::from(first + 2), net.broadcast());
    for ip in [gateway, end] {
        unicast("networkCidr", &ip.to_string()).map_err(|_| bad())?;
    }
    let named = Named { prefix_field: "networkCidr", prefix: command.network_cidr.clone() };
    make(&asked, (start, end, gateway), net.prefix_len(), command.address_mode, &named, (facts, context))
}

/// Refuses DHCP on a network whose IPv6 prefix no DHCP server serves.
pub(crate) fn refuse_dhcp(facts: &Facts, l3: L3NetworkId) -> Result<(), Refusal> {
    for id in facts.members(Relation::RangesOfL3, l3) {
        let subnet = facts.peek::<IpRange>(id)?.bounds.and_then(|bounds| bounds.subnet());
        if let Some(IpNet::V6(net)) = subnet
            && net.prefix_len() < HOST_PREFIX
        {
            let right = format!("no DHCP: the network's IPv6 prefix {net} is shorter than {HOST_PREFIX}");
            return Err(Refusal::argument("networkServices", "DHCP", right));
        }
    }
    Ok(())
}
