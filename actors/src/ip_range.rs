//! IP range: its bounds never change; it owns the allocations of its addresses, so that an address has one holder.
//! ZStack's rules are checked in its order, after the texts have been read as addresses.

mod allocator;
mod on_network;
mod reads;
mod reserved;

pub(crate) use on_network::{first_normal, has_room, range_with};
pub(crate) use reserved::{reserve, unreserve, unreserve_some};

pub use reads::{Capacities, Capacity, availability, capacity, free_addresses, used_addresses};

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use allocator::{Strategy, View};
use ipnet::Ipv4Net;
use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{net::Ipv4Addr, sync::Arc};
use switchback_bus::*;
use switchback_events::*;

/// An IP range.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct IpRange {
    pub name: String,
    pub l3_network: L3NetworkId,
    pub l2_network: L2NetworkId,
    pub pool: bool,
    pub bounds: Option<Bounds>,
    pub used: Used,
    /// Addresses without a holder that are given to nobody.
    pub reserved: Used,
    /// Where the delayed recycler goes on, and the moment at which it was chosen.
    pub cursor: Option<(Ipv4Addr, Version)>,
    pub deleted: bool,
}

rules::exists!(IpRange, "IP range");

/// The addresses of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Bounds {
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
    pub netmask: Ipv4Addr,
    pub gateway: Ipv4Addr,
}

impl Bounds {
    /// The subnet around the range.
    pub fn subnet(&self) -> Option<Ipv4Net> {
        Ipv4Net::with_netmask(self.start, self.netmask).ok().map(|net| net.trunc())
    }

    /// An address of the range's subnet as a nic has it.
    pub fn address(&self, ip: Ipv4Addr, ip_range: IpRangeId, used_ip: Id) -> NicAddress {
        let prefix_length = prefix_of(self.netmask).unwrap_or(32);
        NicAddress { ip: ip.into(), prefix_length, gateway: self.gateway.into(), ip_range, used_ip }
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        (self.start..=self.end).contains(&ip)
    }

    fn overlaps(&self, other: &Bounds) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// The addresses in use, as numbers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Used(pub RoaringBitmap);

impl Serialize for Used {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.0.serialized_size());
        self.0.serialize_into(&mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Used {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Used, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Used;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a bitmap")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Used, E> {
                RoaringBitmap::deserialize_from(bytes).map(Used).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl IpRange {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &IpRangeEvent, _version: Version) {
        match event {
            IpRangeEvent::Created {
                l3_network, l2_network, name, range_type, start, end, netmask, gateway, ..
            } => {
                (self.l3_network, self.l2_network, self.name) = (*l3_network, *l2_network, name.clone());
                self.pool = *range_type == IpRangeType::AddressPool;
                self.bounds = Some(Bounds { start: *start, end: *end, netmask: *netmask, gateway: *gateway });
            }
            IpRangeEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            IpRangeEvent::AddressAllocated { ip, .. } => {
                self.used.0.insert(u32::from(*ip));
                self.reserved.0.remove(u32::from(*ip));
            }
            IpRangeEvent::AddressReleased { ip, .. } => {
                self.used.0.remove(u32::from(*ip));
            }
            IpRangeEvent::AddressesReserved { first, last, .. } => {
                self.reserved.0.insert_range(u32::from(*first)..=u32::from(*last));
                self.reserved.0 -= &self.used.0;
            }
            IpRangeEvent::AddressesUnreserved { first, last, .. } => {
                self.reserved.0.remove_range(u32::from(*first)..=u32::from(*last));
            }
            IpRangeEvent::CursorMoved { next, chosen_at } => self.cursor = Some((*next, *chosen_at)),
            IpRangeEvent::Deleted { .. } => self.deleted = true,
        }
    }

    /// Whether the address can be given to someone: usable, and free.
    pub fn is_free(&self, ip: Ipv4Addr) -> bool {
        let ip_number = u32::from(ip);
        self.is_usable(ip) && !self.used.0.contains(ip_number) && !self.reserved.0.contains(ip_number)
    }

    /// Whether the address can ever be given to someone: in the range, neither network nor broadcast address, and not
    /// the gateway, which a pool does not have.
    fn is_usable(&self, ip: Ipv4Addr) -> bool {
        let Some(bounds) = self.bounds else { return false };
        let outer =
            bounds.subnet().is_some_and(|net| net.prefix_len() < 31 && (ip == net.network() || ip == net.broadcast()));
        bounds.contains(ip) && !outer && (self.pool || ip != bounds.gateway)
    }

    /// The first free address from `from` on.
    pub fn free_from(&self, from: Ipv4Addr) -> Option<Ipv4Addr> {
        let bounds = self.bounds?;
        let mut at = u32::from(from.max(bounds.start));
        while at <= u32::from(bounds.end) {
            if self.is_free(at.into()) {
                return Some(at.into());
            }
            // Pass over the whole run of used or of reserved addresses at once.
            let taken = [&self.used.0, &self.reserved.0].into_iter().find(|taken| taken.contains(at));
            let end = taken.and_then(|taken| {
                let mut run = taken.iter();
                run.advance_to(at);
                run.next_range().map(|range| *range.end())
            });
            at = end.unwrap_or(at).checked_add(1)?;
        }
        None
    }
}

/// Words of a request, before anything is known of them.
struct Asked<'a> {
    l3: L3NetworkId,
    name: &'a str,
    description: &'a Option<String>,
    pool: bool,
}

fn ipv4(field: &str, text: &str) -> Result<Ipv4Addr, Refusal> {
    text.parse().map_err(|_| Refusal::argument(field, text, "an IPv4 address such as 10.0.0.1"))
}

fn touches(bounds: &Bounds, first: [u8; 4], last: [u8; 4]) -> bool {
    bounds.start <= Ipv4Addr::from(last) && bounds.end >= Ipv4Addr::from(first)
}

/// ZStack's rules for a new range, in its order. `ranges` are all ranges on the L3 networks of the L2 network.
fn check(asked: &Asked, l3: &L3Network, bounds: &Bounds, ranges: &[(Id, Arc<IpRange>)]) -> Result<(), Refusal> {
    let (start, end, netmask, gateway) = (bounds.start, bounds.end, bounds.netmask, bounds.gateway);
    if asked.pool && l3.category != Some(L3NetworkCategory::Public) {
        return Err(Refusal::argument("ipRangeType", "AddressPool", "Normal: the L3 network is not a public network"));
    }
    if touches(bounds, [224, 0, 0, 0], [239, 255, 255, 255]) {
        return Err(Refusal::argument(
            "startIp",
            start,
            "outside of the multicast addresses 224.0.0.0 to 239.255.255.255 (class D)",
        ));
    }
    if touches(bounds, [240, 0, 0, 0], [255, 255, 255, 255]) {
        return Err(Refusal::argument(
            "startIp",
            start,
            "outside of the reserved addresses 240.0.0.0 to 255.255.255.255 (class E)",
        ));
    }
    if touches(bounds, [169, 254, 1, 0], [169, 254, 254, 255]) {
        return Err(Refusal::argument(
            "startIp",
            start,
            "outside of the link-local addresses 169.254.1.0 to 169.254.254.255",
        ));
    }
    let prefix =
        prefix_of(netmask).ok_or_else(|| Refusal::argument("netmask", netmask, "a netmask such as 255.255.255.0"))?;
    let subnet = Ipv4Net::new(start, prefix).map_err(|_| Refusal::argument("netmask", netmask, "a netmask"))?.trunc();
    if !subnet.contains(&gateway) {
        return Err(Refusal::argument("gateway", gateway, format!("an address of the range's subnet {subnet}")));
    }
    if prefix < 31 && start == subnet.network() {
        return Err(Refusal::argument("startIp", start, format!("not the network address of {subnet}")));
    }
    let last_subnet = Ipv4Net::new(end, prefix).map_err(|_| Refusal::argument("netmask", netmask, "a netmask"))?;
    if prefix < 31 && end == last_subnet.broadcast() {
        return Err(Refusal::argument("endIp", end, format!("not the broadcast address of {last_subnet}")));
    }
    if start > end {
        return Err(Refusal::argument("startIp", start, format!("not behind endIp {end}")));
    }
    for (id, other) in ranges {
        if let Some(theirs) = other.bounds
            && bounds.overlaps(&theirs)
        {
            let right =
                format!("no overlap with range {id} ({} to {}) on the same L2 network", theirs.start, theirs.end);
            return Err(Refusal::argument("startIp", start, right));
        }
    }
    if asked.pool {
        return Ok(());
    }
    let own = ranges.iter().filter(|(_, range)| range.l3_network == asked.l3 && !range.pool);
    let own: Vec<Bounds> = own.filter_map(|(_, range)| range.bounds).collect();
    if let Some(other) = own.iter().find(|other| other.subnet() != Some(subnet)) {
        let theirs = other.subnet().map(|net| net.to_string()).unwrap_or_default();
        return Err(Refusal::argument(
            "netmask",
            netmask,
            format!("the CIDR of the network's other ranges, {theirs}: one CIDR per L3 network"),
        ));
    }
    if !subnet.contains(&end) {
        return Err(Refusal::argument("endIp", end, format!("an address of the range's subnet {subnet}")));
    }
    if bounds.contains(gateway) {
        return Err(Refusal::argument("gateway", gateway, format!("outside of the range {start} to {end}")));
    }
    if let Some(other) = own.iter().find(|other| other.gateway != gateway) {
        return Err(Refusal::argument(
            "gateway",
            gateway,
            format!("the gateway of the network's other ranges, {}", other.gateway),
        ));
    }
    Ok(())
}

/// All ranges on the L3 networks of an L2 network.
fn siblings(facts: &Facts, l2: L2NetworkId) -> Result<Vec<(Id, Arc<IpRange>)>, Refusal> {
    let mut ranges = Vec::new();
    for l3 in facts.members(Relation::L3sOfL2, l2) {
        for id in facts.members(Relation::RangesOfL3, l3) {
            // The bounds of a range never change, so the decision need not rest on its allocations.
            ranges.push((id, facts.peek::<IpRange>(id)?));
        }
    }
    Ok(ranges)
}

fn add_all(asked: &Asked, pieces: &[Bounds], facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", asked.l3)?;
    if l3.no_ipam {
        let detail = format!("l3NetworkUuid = `{}`: the L3 network has no address management (enableIPAM)", asked.l3);
        return Err(Refusal::operation(detail));
    }
    let of_router = l3_network::router_interface_ip(&*facts.tags(asked.l3)?);
    let mut ranges = siblings(facts, l3.l2_network)?;
    let mut decision: Option<Decision> = None;
    for (at, bounds) in pieces.iter().enumerate() {
        check(asked, &l3, bounds, &ranges)?;
        if let Some(ip) = of_router.filter(|ip| bounds.contains(*ip)) {
            let right = format!("a range without {ip}, the router interface IP of the network");
            return Err(Refusal::argument("startIp", bounds.start, right));
        }
        let id = if at == 0 { context.resource_id() } else { context.id() };
        rules::absent::<IpRange>(facts, id)?;
        let event = IpRangeEvent::Created {
            l3_network: asked.l3,
            l2_network: l3.l2_network,
            name: asked.name.to_string(),
            description: asked.description.clone(),
            range_type: if asked.pool { IpRangeType::AddressPool } else { IpRangeType::Normal },
            start: bounds.start,
            end: bounds.end,
            netmask: bounds.netmask,
            gateway: bounds.gateway,
        };
        let mut made = IpRange::default();
        made.evolve(&event, 1);
        ranges.push((id, Arc::new(made)));
        let mut so_far = decision.unwrap_or_else(|| Decision::about(StreamKind::IpRange, id));
        so_far.add(id, event);
        reserved::hold(&mut so_far, IpRangeId(id), asked.l3, bounds, l3.reserved.values());
        so_far.inventories.push(("ipRange", id));
        decision = Some(so_far);
    }
    decision.ok_or_else(|| Refusal::argument("networkCidr", "", "a subnet with usable addresses"))
}

pub(crate) fn add(command: &AddIpRange, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let pool = command.ip_range_type.as_deref() == Some("AddressPool");
    if command.gateway.is_none() && !pool {
        return Err(Refusal::missing("gateway", "a Normal range must name its gateway"));
    }
    let start = ipv4("startIp", &command.start_ip)?;
    let bounds = Bounds {
        start,
        end: ipv4("endIp", &command.end_ip)?,
        netmask: ipv4("netmask", &command.netmask)
            .map_err(|_| Refusal::argument("netmask", &command.netmask, "a netmask such as 255.255.255.0"))?,
        gateway: match &command.gateway {
            Some(gateway) if !pool => ipv4("gateway", gateway)?,
            _ => start,
        },
    };
    let asked = Asked { l3: command.l3_network_uuid, name: &command.name, description: &command.description, pool };
    add_all(&asked, &[bounds], facts, context)
}

pub(crate) fn add_by_cidr(
    command: &AddIpRangeByNetworkCidr,
    facts: &Facts,
    context: &Context,
) -> Result<Decision, Refusal> {
    let pool = command.ip_range_type.as_deref() == Some("AddressPool");
    let bad = |right: &str| Refusal::argument("networkCidr", &command.network_cidr, right);
    let net: Ipv4Net = command.network_cidr.parse().map_err(|_| bad("a subnet such as 192.168.0.0/24"))?;
    let net = net.trunc();
    if net.prefix_len() == 0 || net.prefix_len() > 29 && !pool || net.prefix_len() > 30 {
        return Err(bad("a subnet with usable addresses: a prefix length of 1 to 29"));
    }
    let first = u32::from(net.network()) + 1;
    let last = u32::from(net.broadcast()) - 1;
    let piece = |from: u32, to: u32, gateway: u32| Bounds {
        start: from.into(),
        end: to.into(),
        netmask: net.netmask(),
        gateway: gateway.into(),
    };
    let pieces = if pool {
        vec![piece(first, last, first)]
    } else {
        let gateway = match &command.gateway {
            Some(text) => u32::from(ipv4("gateway", text)?),
            None => first,
        };
        if !(first..=last).contains(&gateway) {
            let text = command.gateway.clone().unwrap_or_default();
            return Err(Refusal::argument("gateway", text, format!("a usable address of {net}")));
        }
        match gateway {
            g if g == first => vec![piece(first + 1, last, g)],
            g if g == last => vec![piece(first, last - 1, g)],
            g => vec![piece(first, g - 1, g), piece(g + 1, last, g)],
        }
    };
    let asked = Asked { l3: command.l3_network_uuid, name: &command.name, description: &command.description, pool };
    add_all(&asked, &pieces, facts, context)
}

pub(crate) fn update(command: &UpdateIpRange, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<IpRange>(facts, "uuid", command.uuid)?;
    let event = IpRangeEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::IpRange, command.uuid).show("ipRange").event(event))
}

pub(crate) fn delete(command: &DeleteIpRange, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::IpRange, command.uuid);
    let range = facts.get::<IpRange>(command.uuid)?;
    if !rules::Exists::exists(&*range) {
        return Ok(decision);
    }
    let mut blockers = Vec::new();
    let inside = |nics: &[Nic]| nics.iter().any(|nic| in_range(nic, command.uuid));
    for vm in facts.members(Relation::VmsOnL3, range.l3_network) {
        if inside(&facts.peek::<VmInstance>(vm)?.nics) {
            blockers.extend(rules::blockers::<VmInstance>(facts, vec![vm])?);
        }
    }
    for router in facts.members(Relation::RoutersOnL3, range.l3_network) {
        if inside(&facts.peek::<Router>(router)?.nics) {
            blockers.extend(rules::blockers::<Router>(facts, vec![router])?);
        }
    }
    rules::unblocked("IP range", blockers)?;
    dispensable(command.uuid.0, &range, facts)?;
    Ok(decision.event(IpRangeEvent::Deleted { l3_network: range.l3_network }))
}

/// Whether the nic has an address of the range.
pub(crate) fn in_range(nic: &Nic, range: IpRangeId) -> bool {
    nic.addresses.iter().any(|address| address.ip_range == range)
}

/// A network that has AddressPool ranges keeps a Normal one.
pub(crate) fn dispensable(id: Id, range: &IpRange, facts: &Facts) -> Result<(), Refusal> {
    if range.pool {
        return Ok(());
    }
    let mut pools = 0;
    for other in facts.members(Relation::RangesOfL3, range.l3_network).into_iter().filter(|other| *other != id) {
        if !facts.peek::<IpRange>(other)?.pool {
            return Ok(());
        }
        pools += 1;
    }
    if pools == 0 {
        return Ok(());
    }
    let detail = format!("range {id} is the last Normal range, and the network still has an AddressPool range");
    Err(Refusal::operation(detail))
}

/// A range, and what the decision has done to it already.
fn look(decision: &Decision, facts: &Facts, id: IpRangeId) -> Result<View, Refusal> {
    let range = facts.get::<IpRange>(id)?;
    let mut view = View { cursor: range.cursor, range, taken: Vec::new() };
    for (_, event) in decision.events.iter().filter(|(stream, _)| stream.id == id.0) {
        match event {
            Event::IpRange(IpRangeEvent::AddressAllocated { ip, .. }) => view.taken.push(*ip),
            Event::IpRange(IpRangeEvent::CursorMoved { next, chosen_at }) => view.cursor = Some((*next, *chosen_at)),
            _ => {}
        }
    }
    Ok(view)
}

/// Takes an address of an L3 network for `nic` of `owner`, and adds the event. `required` is the address that it must
/// be; `taken` are addresses that the same decision has taken already.
pub(crate) fn allocate(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    required: Option<Ipv4Addr>,
    (nic, owner): (NicId, Id),
) -> Result<NicAddress, Refusal> {
    let none = |detail: String| Refusal::conflict(code::L3_ALLOCATE, detail);
    let strategy = Strategy::in_force(facts, l3)?;
    let mut ranges = Vec::new();
    for id in facts.members(Relation::RangesOfL3, l3) {
        let range = facts.peek::<IpRange>(id)?;
        if let Some(bounds) = range.bounds.filter(|_| !range.pool && !range.deleted) {
            ranges.push((bounds, IpRangeId(id)));
        }
    }
    let found = if let Some(ip) = required {
        let Some((_, id)) = ranges.iter().find(|(bounds, _)| bounds.contains(ip)) else {
            return Err(none(format!("cannot find an IP range of L3 network {l3} that has ip {ip}")));
        };
        let view = look(decision, facts, *id)?;
        if !view.range.is_free(ip) || view.taken.contains(&ip) {
            return Err(none(format!("ip {ip} of L3 network {l3} is not available: it is in use or reserved")));
        }
        Some((*id, ip))
    } else {
        let starts = ranges.iter().map(|(bounds, id)| (bounds.start, *id)).collect();
        allocator::choose(strategy, starts, context, &mut |id| look(decision, facts, id))?
    };
    let Some((range, ip)) = found else {
        return Err(none(format!("no ip is available on L3 network {l3}")));
    };
    let view = look(decision, facts, range)?;
    let Some(bounds) = view.range.bounds else {
        return Err(none(format!("no ip is available on L3 network {l3}")));
    };
    if let Strategy::AscDelayRecycle(since) = strategy
        && let Some((next, chosen_at)) = view.moved(ip, since)
    {
        decision.add(range, IpRangeEvent::CursorMoved { next, chosen_at });
    }
    let used_ip = used_ip_id(range, ip);
    decision.add(range, IpRangeEvent::AddressAllocated { l3_network: l3, ip, used_ip, nic, owner });
    Ok(bounds.address(ip, range, used_ip))
}

/// Gives back the addresses and the hardware addresses of `nics`.
pub(crate) fn release(decision: &mut Decision, facts: &Facts, nics: &[Nic], owner: Id) -> Result<(), Refusal> {
    for nic in nics {
        release_addresses(decision, facts, nic, owner)?;
        mac_block::release(decision, facts, nic)?;
    }
    Ok(())
}

/// Gives back the addresses of a nic.
pub(crate) fn release_addresses(decision: &mut Decision, facts: &Facts, nic: &Nic, owner: Id) -> Result<(), Refusal> {
    if let Some(NicAddress { ip, ip_range, used_ip, .. }) = nic.ipv4()
        && used_ip != Id::NIL
        && facts.get::<IpRange>(ip_range)?.used.0.contains(u32::from(ip))
    {
        let (l3_network, nic) = (nic.l3_network, nic.nic);
        decision.add(ip_range, IpRangeEvent::AddressReleased { l3_network, ip, used_ip, nic, owner });
        reserved::hold_returned(decision, facts, l3_network, (ip_range, ip))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str, netmask: &str, gateway: &str, used: &[&str]) -> IpRange {
        let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        IpRange {
            bounds: Some(Bounds { start: ip(start), end: ip(end), netmask: ip(netmask), gateway: ip(gateway) }),
            used: Used(used.iter().map(|text| u32::from(ip(text))).collect()),
            ..IpRange::default()
        }
    }

    #[test]
    fn the_first_free_address_passes_over_what_is_used_or_reserved() {
        let full = "255.255.255.0";
        let tail = ["10.0.0.7", "10.0.0.8", "10.0.0.9"];
        for (range, from, wanted) in [
            (range("10.0.0.5", "10.0.0.9", full, "10.0.0.1", &[]), "10.0.0.0", Some("10.0.0.5")),
            (range("10.0.0.5", "10.0.0.9", full, "10.0.0.1", &[]), "10.0.0.9", Some("10.0.0.9")),
            (range("10.0.0.5", "10.0.0.9", full, "10.0.0.1", &[]), "10.0.0.10", None),
            (range("10.0.0.5", "10.0.0.9", full, "10.0.0.1", &["10.0.0.5", "10.0.0.6"]), "10.0.0.5", Some("10.0.0.7")),
            (range("10.0.0.5", "10.0.0.9", full, "10.0.0.1", &tail), "10.0.0.7", None),
            (range("10.0.0.5", "10.0.0.9", full, "10.0.0.6", &["10.0.0.5"]), "10.0.0.5", Some("10.0.0.7")),
            // Never the network or the broadcast address, even of a range that covers them.
            (range("10.0.0.0", "10.0.0.255", full, "10.0.0.1", &[]), "10.0.0.0", Some("10.0.0.2")),
            (range("10.0.0.0", "10.0.0.255", full, "10.0.0.1", &["10.0.0.254"]), "10.0.0.254", None),
            // A subnet of two has neither.
            (range("10.0.0.0", "10.0.0.1", "255.255.255.254", "10.0.0.1", &[]), "10.0.0.0", Some("10.0.0.0")),
            (
                range("255.255.255.250", "255.255.255.255", "255.0.0.0", "255.0.0.1", &["255.255.255.254"]),
                "255.255.255.254",
                None,
            ),
        ] {
            let found = range.free_from(from.parse().unwrap()).map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), wanted, "{range:?} from {from}");
        }
        assert_eq!(IpRange::default().free_from(Ipv4Addr::UNSPECIFIED), None);
    }

    #[test]
    fn the_used_addresses_survive_a_snapshot() {
        let before = range("10.0.0.5", "10.0.0.9", "255.255.255.0", "10.0.0.1", &["10.0.0.6", "10.0.0.9"]);
        let bytes = rmp_serde::to_vec_named(&before).unwrap();
        assert_eq!(rmp_serde::from_slice::<IpRange>(&bytes).unwrap(), before);
    }
}
