//! IP range: its bounds never change; it owns the allocations of its addresses, so that an address has one holder.
//! ZStack's rules are checked in its order, after the texts have been read as addresses.

mod allocator;
mod for_hosts;
mod for_vip;
mod ipv6;
mod on_network;
mod reads;
mod reserved;
mod used;

pub(crate) use ipv6::{add as add_ipv6, add_by_cidr as add_ipv6_by_cidr, refuse_dhcp};

pub(crate) use for_hosts::{give_back as give_back_of_hosts, hold as hold_for_hosts};
pub use for_vip::of_vips;
pub(crate) use for_vip::{give_back, hold as hold_for_vip, network as vip_network, of_range};
pub(crate) use on_network::{first_normal, has_ipv6, has_room, range_with};
pub(crate) use reserved::{reserve, unreserve, unreserve_some};

pub use used::Used;

pub use reads::{
    BothFamilies, Capacities, Capacity, availability, capacity, free_addresses, l2_network_of, used_addresses,
};

use crate::{context::Context, decision::Decision, directory::Relation, facts::Facts, rules, *};
use allocator::{Strategy, View};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};
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
    /// Of IPv6: how hosts come to their addresses.
    pub mode: Option<AddressMode>,
    pub used: Used,
    /// Addresses without a holder that are given to nobody.
    pub reserved: Used,
    /// Where the delayed recycler goes on, and the moment at which it was chosen.
    pub cursor: Option<(IpAddr, Version)>,
    pub deleted: bool,
}

rules::exists!(IpRange, "IP range");

/// The addresses of a range, all of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Bounds {
    pub start: IpAddr,
    pub end: IpAddr,
    pub prefix_length: u8,
    pub gateway: IpAddr,
}

impl Bounds {
    /// The subnet around the range.
    pub fn subnet(&self) -> Option<IpNet> {
        IpNet::new(self.start, self.prefix_length).ok().map(|net| net.trunc())
    }

    /// The netmask of the subnet; of IPv6 in the form of an address, as ZStack has it.
    pub fn netmask(&self) -> Option<IpAddr> {
        self.subnet().map(|net| net.netmask())
    }

    /// 4 or 6.
    pub fn ip_version(&self) -> u8 {
        ip_version(self.start)
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        // Addresses of IPv4 come in front of those of IPv6.
        (self.start..=self.end).contains(&ip)
    }

    /// An address of the range's subnet as a nic has it.
    pub fn address(&self, ip: IpAddr, ip_range: IpRangeId, used_ip: Id) -> NicAddress {
        NicAddress { ip, prefix_length: self.prefix_length, gateway: self.gateway, ip_range, used_ip }
    }

    fn overlaps(&self, other: &Bounds) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// The address behind, if there is one.
fn after(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|ip| Ipv4Addr::from(ip).into()),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|ip| Ipv6Addr::from(ip).into()),
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
                self.bounds = Some(Bounds {
                    start: (*start).into(),
                    end: (*end).into(),
                    prefix_length: prefix_of(*netmask).unwrap_or(32),
                    gateway: (*gateway).into(),
                });
            }
            IpRangeEvent::Ipv6Created {
                l3_network,
                l2_network,
                name,
                range_type,
                start,
                end,
                prefix_length,
                gateway,
                address_mode,
                ..
            } => {
                (self.l3_network, self.l2_network, self.name) = (*l3_network, *l2_network, name.clone());
                self.pool = *range_type == IpRangeType::AddressPool;
                self.mode = Some(*address_mode);
                let (start, end, gateway) = ((*start).into(), (*end).into(), (*gateway).into());
                self.bounds = Some(Bounds { start, end, prefix_length: *prefix_length, gateway });
            }
            IpRangeEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            IpRangeEvent::AddressAllocated { ip, .. } => {
                self.used.insert(*ip);
                self.reserved.remove(*ip);
            }
            IpRangeEvent::AddressReleased { ip, .. } => self.used.remove(*ip),
            IpRangeEvent::AddressesReserved { first, last, .. } => {
                self.reserved.insert_range(*first, *last);
                self.reserved.subtract(&self.used);
            }
            IpRangeEvent::AddressesUnreserved { first, last, .. } => self.reserved.remove_range(*first, *last),
            IpRangeEvent::CursorMoved { next, chosen_at } => self.cursor = Some((*next, *chosen_at)),
            IpRangeEvent::Deleted { .. } => self.deleted = true,
        }
    }

    /// Whether the address can be given to someone: usable, and free.
    pub fn is_free(&self, ip: IpAddr) -> bool {
        self.is_usable(ip) && !self.is_taken(ip)
    }

    fn is_taken(&self, ip: IpAddr) -> bool {
        self.used.contains(ip) || self.reserved.contains(ip)
    }

    /// Whether the address can ever be given to someone: in the range, neither network nor broadcast address (IPv6 has
    /// none), and not the gateway, which a pool does not have.
    fn is_usable(&self, ip: IpAddr) -> bool {
        let Some(bounds) = self.bounds else { return false };
        let outer = bounds.subnet().is_some_and(|net| match net {
            IpNet::V4(net) => net.prefix_len() < 31 && (ip == net.network() || ip == net.broadcast()),
            IpNet::V6(net) => net.prefix_len() < 127 && ip == net.network(),
        });
        bounds.contains(ip) && !outer && (self.pool || ip != bounds.gateway)
    }

    /// The first free address from `from` on.
    pub fn free_from(&self, from: IpAddr) -> Option<IpAddr> {
        let bounds = self.bounds?;
        let mut at = from.max(bounds.start);
        while at <= bounds.end {
            if self.is_free(at) {
                return Some(at);
            }
            // Pass over the whole run of used or of reserved addresses at once.
            let end = self.used.run_end(at).or_else(|| self.reserved.run_end(at));
            at = after(end.unwrap_or(at))?;
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

/// A range of IPv4 as it is asked for.
#[derive(Clone, Copy)]
struct Ipv4Bounds {
    start: Ipv4Addr,
    end: Ipv4Addr,
    netmask: Ipv4Addr,
    gateway: Ipv4Addr,
}

impl From<Ipv4Bounds> for Bounds {
    fn from(asked: Ipv4Bounds) -> Bounds {
        Bounds {
            start: asked.start.into(),
            end: asked.end.into(),
            prefix_length: prefix_of(asked.netmask).unwrap_or(32),
            gateway: asked.gateway.into(),
        }
    }
}

fn ipv4(field: &str, text: &str) -> Result<Ipv4Addr, Refusal> {
    text.parse().map_err(|_| Refusal::argument(field, text, "an IPv4 address such as 10.0.0.1"))
}

fn touches(bounds: &Ipv4Bounds, first: [u8; 4], last: [u8; 4]) -> bool {
    bounds.start <= Ipv4Addr::from(last) && bounds.end >= Ipv4Addr::from(first)
}

/// ZStack's rules for a new range, in its order. `ranges` are all ranges on the L3 networks of the L2 network.
fn check(asked: &Asked, l3: &L3Network, bounds: &Ipv4Bounds, ranges: &[(Id, Arc<IpRange>)]) -> Result<(), Refusal> {
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
    let subnet_of = |ip| Some(Ipv4Net::new(ip, prefix_of(netmask)?).ok()?.trunc());
    let (subnet, last_subnet) = subnet_of(start)
        .zip(subnet_of(end))
        .ok_or_else(|| Refusal::argument("netmask", netmask, "a netmask such as 255.255.255.0"))?;
    let prefix = subnet.prefix_len();
    if !subnet.contains(&gateway) {
        return Err(Refusal::argument("gateway", gateway, format!("an address of the range's subnet {subnet}")));
    }
    if prefix < 31 && start == subnet.network() {
        return Err(Refusal::argument("startIp", start, format!("not the network address of {subnet}")));
    }
    if prefix < 31 && end == last_subnet.broadcast() {
        return Err(Refusal::argument("endIp", end, format!("not the broadcast address of {last_subnet}")));
    }
    if start > end {
        return Err(Refusal::argument("startIp", start, format!("not behind endIp {end}")));
    }
    let wanted = Bounds::from(*bounds);
    beside(&wanted, ranges)?;
    if asked.pool {
        return Ok(());
    }
    let own = own(asked.l3, 4, ranges);
    if let Some(other) = own.iter().find(|other| other.subnet() != Some(subnet.into())) {
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
    gateway_fits(&wanted, &own)
}

/// No range of the L2 network may overlap.
fn beside(wanted: &Bounds, ranges: &[(Id, Arc<IpRange>)]) -> Result<(), Refusal> {
    for (id, other) in ranges {
        if let Some(theirs) = other.bounds
            && wanted.overlaps(&theirs)
        {
            let right =
                format!("no overlap with range {id} ({} to {}) on the same L2 network", theirs.start, theirs.end);
            return Err(Refusal::argument("startIp", wanted.start, right));
        }
    }
    Ok(())
}

/// The Normal ranges of one family that the L3 network has.
fn own(l3: L3NetworkId, version: u8, ranges: &[(Id, Arc<IpRange>)]) -> Vec<Bounds> {
    let own = ranges.iter().filter(|(_, range)| range.l3_network == l3 && !range.pool);
    own.filter_map(|(_, range)| range.bounds).filter(|bounds| bounds.ip_version() == version).collect()
}

fn gateway_fits(wanted: &Bounds, own: &[Bounds]) -> Result<(), Refusal> {
    let Bounds { start, end, gateway, .. } = wanted;
    if wanted.contains(*gateway) {
        return Err(Refusal::argument("gateway", gateway, format!("outside of the range {start} to {end}")));
    }
    if let Some(other) = own.iter().find(|other| other.gateway != *gateway) {
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

fn add_all(asked: &Asked, pieces: &[Ipv4Bounds], facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let l3 = rules::existing::<L3Network>(facts, "l3NetworkUuid", asked.l3)?;
    if l3.no_ipam {
        let detail = format!("l3NetworkUuid = `{}`: the L3 network has no address management (enableIPAM)", asked.l3);
        return Err(Refusal::operation(detail));
    }
    let of_router = l3_network::router_interface_ip(&*facts.tags(asked.l3)?);
    let mut ranges = siblings(facts, l3.l2_network)?;
    let first = context.resource_id();
    let mut decision = Decision::about(StreamKind::IpRange, first);
    for (at, bounds) in pieces.iter().enumerate() {
        check(asked, &l3, bounds, &ranges)?;
        if let Some(ip) = of_router.filter(|ip| (bounds.start..=bounds.end).contains(ip)) {
            let right = format!("a range without {ip}, the router interface IP of the network");
            return Err(Refusal::argument("startIp", bounds.start, right));
        }
        let id = if at == 0 { first } else { context.id() };
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
        decision.add(id, event);
        reserved::hold(&mut decision, IpRangeId(id), asked.l3, &Bounds::from(*bounds), l3.reserved.values());
        decision.inventories.push(("ipRange", id));
    }
    Ok(decision)
}

pub(crate) fn add(command: &AddIpRange, facts: &Facts, context: &Context) -> Result<Decision, Refusal> {
    let pool = command.ip_range_type.as_deref() == Some("AddressPool");
    if command.gateway.is_none() && !pool {
        return Err(Refusal::missing("gateway", "a Normal range must name its gateway"));
    }
    let start = ipv4("startIp", &command.start_ip)?;
    let bounds = Ipv4Bounds {
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
    let piece = |from: u32, to: u32, gateway: u32| Ipv4Bounds {
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
    for vip in facts.members(Relation::VipsOnL3, range.l3_network) {
        if of_range(&*facts.peek::<Vip>(vip)?, command.uuid.0) {
            blockers.extend(rules::blockers::<Vip>(facts, vec![vip])?);
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

/// A network that has AddressPool ranges keeps a Normal one. They are of IPv4.
pub(crate) fn dispensable(id: Id, range: &IpRange, facts: &Facts) -> Result<(), Refusal> {
    if range.pool || range.mode.is_some() {
        return Ok(());
    }
    let mut pools = 0;
    for other in facts.members(Relation::RangesOfL3, range.l3_network).into_iter().filter(|other| *other != id) {
        let other = facts.peek::<IpRange>(other)?;
        if other.pool {
            pools += 1;
        } else if other.mode.is_none() {
            return Ok(());
        }
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

/// A Normal range of a network.
struct Candidate {
    id: IpRangeId,
    bounds: Bounds,
    mode: Option<AddressMode>,
}

/// The Normal ranges of an L3 network, of both families.
fn candidates(facts: &Facts, l3: L3NetworkId) -> Result<Vec<Candidate>, Refusal> {
    let mut found = Vec::new();
    for id in facts.members(Relation::RangesOfL3, l3) {
        let range = facts.peek::<IpRange>(id)?;
        if let Some(bounds) = range.bounds.filter(|_| !range.pool && !range.deleted) {
            found.push(Candidate { id: IpRangeId(id), bounds, mode: range.mode });
        }
    }
    Ok(found)
}

/// For whom addresses are taken.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub nic: NicId,
    pub mac: Mac,
    /// The VM or router of the nic.
    pub owner: Id,
}

/// Takes an address of each family that the L3 network has ranges of, IPv4 first, and adds the events. `required` are
/// addresses that it must be, at most one of each family.
pub(crate) fn allocate(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    required: &[IpAddr],
    holder: Holder,
) -> Result<Vec<NicAddress>, Refusal> {
    take(decision, facts, context, l3, (required, &[]), holder)
}

/// The same for a nic that has addresses of the families `held` already.
pub(crate) fn allocate_besides(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    held: &[u8],
    holder: Holder,
) -> Result<Vec<NicAddress>, Refusal> {
    take(decision, facts, context, l3, (&[], held), holder)
}

/// The address `ip` for a nic that has one of the same family, which is to be given back.
pub(crate) fn allocate_instead(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    ip: IpAddr,
    holder: Holder,
) -> Result<Vec<NicAddress>, Refusal> {
    let other = if ip.is_ipv4() { 6 } else { 4 };
    take(decision, facts, context, l3, (&[ip], &[other]), holder)
}

fn take(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    l3: L3NetworkId,
    (required, held): (&[IpAddr], &[u8]),
    holder: Holder,
) -> Result<Vec<NicAddress>, Refusal> {
    if facts.get::<L3Network>(l3)?.no_ipam {
        return Ok(required.iter().map(|ip| as_given(*ip)).collect());
    }
    // Who serves the nic's network from its host comes first.
    l3_network::dhcp_server::ensure(decision, facts, context, l3)?;
    let candidates = candidates(facts, l3)?;
    let mut addresses = Vec::new();
    for version in [4, 6].into_iter().filter(|version| !held.contains(version)) {
        let wanted = required.iter().copied().find(|ip| ip_version(*ip) == version);
        let of_family: Vec<&Candidate> = candidates.iter().filter(|one| one.bounds.ip_version() == version).collect();
        match wanted {
            Some(ip) if of_family.is_empty() => return Err(no_range_has(l3, ip)),
            None if of_family.is_empty() => {}
            _ => addresses.push(allocate_one(decision, facts, context, (l3, version), &of_family, wanted, holder)?),
        }
    }
    if addresses.is_empty() && held.is_empty() {
        return Err(exhausted(l3, ""));
    }
    Ok(addresses)
}

/// An address of a network without address management: nobody gave it, nobody holds it, nobody knows its subnet.
fn as_given(ip: IpAddr) -> NicAddress {
    let (prefix_length, gateway) = match ip {
        IpAddr::V4(_) => (32, Ipv4Addr::UNSPECIFIED.into()),
        IpAddr::V6(_) => (128, Ipv6Addr::UNSPECIFIED.into()),
    };
    NicAddress { ip, prefix_length, gateway, ip_range: IpRangeId(Id::NIL), used_ip: Id::NIL }
}

fn no_range_has(l3: L3NetworkId, ip: IpAddr) -> Refusal {
    let detail = format!("cannot find an IP range of L3 network {l3} that has ip {ip}");
    Refusal::conflict(code::L3_ALLOCATE, detail)
}

fn exhausted(l3: L3NetworkId, family: &str) -> Refusal {
    Refusal::conflict(code::L3_ALLOCATE, format!("no {family}ip is available on L3 network {l3}"))
}

fn allocate_one(
    decision: &mut Decision,
    facts: &Facts,
    context: &Context,
    (l3, version): (L3NetworkId, u8),
    ranges: &[&Candidate],
    required: Option<IpAddr>,
    Holder { nic, mac, owner }: Holder,
) -> Result<NicAddress, Refusal> {
    let strategy = Strategy::in_force(facts, l3, version)?;
    let not_available = |ip: IpAddr| {
        let detail = format!("ip {ip} of L3 network {l3} is not available: it is in use or reserved");
        Refusal::conflict(code::L3_ALLOCATE, detail)
    };
    let made = ranges.iter().filter(|one| one.mode.is_some_and(AddressMode::makes_its_own));
    let found = if let Some(first) = made.min_by_key(|one| one.bounds.start) {
        // Its hosts make their addresses; here is noted what this one will make.
        let IpAddr::V6(start) = first.bounds.start else { return Err(exhausted(l3, "IPv6 ")) };
        let ip = eui64(start, mac).into();
        if let Some(other) = required.filter(|required| *required != ip) {
            let mode = first.mode.map(AddressMode::word).unwrap_or_default();
            let right = format!("{ip}, which the nic makes from its MAC {mac}, since the network's range is {mode}");
            return Err(Refusal::argument("staticIp", other, right));
        }
        let id = ranges.iter().find(|one| one.bounds.contains(ip)).unwrap_or(first).id;
        let view = look(decision, facts, id)?;
        if view.range.is_taken(ip) || view.taken.contains(&ip) {
            return Err(not_available(ip));
        }
        Some((id, ip))
    } else if let Some(ip) = required {
        let Some(Candidate { id, .. }) = ranges.iter().find(|one| one.bounds.contains(ip)) else {
            return Err(no_range_has(l3, ip));
        };
        let view = look(decision, facts, *id)?;
        if !view.range.is_free(ip) || view.taken.contains(&ip) {
            return Err(not_available(ip));
        }
        Some((*id, ip))
    } else {
        let starts = ranges.iter().map(|one| (one.bounds.start, one.id)).collect();
        allocator::choose(strategy, starts, context, &mut |id| look(decision, facts, id))?
    };
    let Some((range, ip)) = found else { return Err(exhausted(l3, if version == 6 { "IPv6 " } else { "" })) };
    note(decision, facts, (l3, strategy), (range, ip), (nic, owner))
}

/// Notes in a range who has an address from now on.
fn note(
    decision: &mut Decision,
    facts: &Facts,
    (l3, strategy): (L3NetworkId, Strategy),
    (range, ip): (IpRangeId, IpAddr),
    (nic, owner): (NicId, Id),
) -> Result<NicAddress, Refusal> {
    let view = look(decision, facts, range)?;
    let Some(bounds) = view.range.bounds else { return Err(exhausted(l3, "")) };
    if let Strategy::AscDelayRecycle(since) = strategy
        && let Some((next, chosen_at)) = view.moved(ip, since)
    {
        decision.add(range, IpRangeEvent::CursorMoved { next, chosen_at });
    }
    let used_ip = used_ip_id(range, ip);
    decision.add(range, IpRangeEvent::AddressAllocated { l3_network: l3, ip, used_ip, nic, owner });
    Ok(bounds.address(ip, range, used_ip))
}

/// The gateway addresses of an L3 network, one of each family that it has, as the nic of the router has them that is
/// its gateway. No range holds them.
pub(crate) fn gateways(facts: &Facts, l3: L3NetworkId) -> Result<Vec<NicAddress>, Refusal> {
    gateways_besides(facts, l3, Id::NIL)
}

/// The same without the range `gone`.
pub(crate) fn gateways_besides(facts: &Facts, l3: L3NetworkId, gone: Id) -> Result<Vec<NicAddress>, Refusal> {
    let mut candidates = candidates(facts, l3)?;
    candidates.retain(|one| one.id.0 != gone);
    let first = |version| candidates.iter().find(move |one| one.bounds.ip_version() == version);
    let own = |one: &Candidate| one.bounds.address(one.bounds.gateway, one.id, Id::NIL);
    Ok([4, 6].into_iter().filter_map(first).map(own).collect())
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
    for NicAddress { ip, ip_range, used_ip, .. } in &nic.addresses {
        if *used_ip != Id::NIL && facts.get::<IpRange>(*ip_range)?.used.contains(*ip) {
            let (l3_network, nic, ip, used_ip) = (nic.l3_network, nic.nic, *ip, *used_ip);
            decision.add(*ip_range, IpRangeEvent::AddressReleased { l3_network, ip, used_ip, nic, owner });
            reserved::hold_returned(decision, facts, l3_network, (*ip_range, ip))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str, netmask: &str, gateway: &str, used: &[&str]) -> IpRange {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let prefix_length = netmask.parse().unwrap_or_else(|_| prefix_of(netmask.parse().unwrap()).unwrap());
        IpRange {
            bounds: Some(Bounds { start: ip(start), end: ip(end), prefix_length, gateway: ip(gateway) }),
            used: used.iter().map(|text| ip(text)).collect(),
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
            (range("fd00::10", "fd00::19", "64", "fd00::1", &["fd00::10", "fd00::11"]), "fd00::", Some("fd00::12")),
            (range("fd00::10", "fd00::19", "64", "fd00::1", &["fd00::19"]), "fd00::19", None),
            // IPv6 has no broadcast address, but its routers share the first one.
            (range("fd00::", "fd00::3", "126", "fd00::1", &[]), "fd00::", Some("fd00::2")),
            (range("fd00::", "fd00::3", "126", "fd00::1", &["fd00::2"]), "fd00::", Some("fd00::3")),
            (range("fd00::2", "fd00::ffff:ffff:ffff:ffff", "64", "fd00::1", &[]), "fd01::", None),
        ] {
            let found = range.free_from(from.parse().unwrap()).map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), wanted, "{range:?} from {from}");
        }
        assert_eq!(IpRange::default().free_from(Ipv4Addr::UNSPECIFIED.into()), None);
    }

    #[test]
    fn the_used_addresses_survive_a_snapshot() {
        let before = range("10.0.0.5", "10.0.0.9", "255.255.255.0", "10.0.0.1", &["10.0.0.6", "10.0.0.9"]);
        let bytes = rmp_serde::to_vec_named(&before).unwrap();
        assert_eq!(rmp_serde::from_slice::<IpRange>(&bytes).unwrap(), before);
    }
}
