//! What becomes of a packet at a router: the documents are folded from the log as of the moment, the packet is sent through
//! them by [`switchback_appliance::explain`], and each record that decided is named with the event that put it there.

use super::{
    events::{name_of, shown},
    history::{History, no_router_at, unreadable},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::ControlFlow,
};
use switchback_actors::reconcilers::replay_router;
use switchback_appliance::{
    HostFold, RouterNic, SecurityConfig,
    explain::{Beginning, End, Explanation, Packet, PacketProtocol, Record, Scene, Verdict, explain},
};
use switchback_bus::{GetVirtualRouterExplanation, Refusal};
use switchback_events::*;
use switchback_journal::EventHead;

/// The port that a packet is sent from, where nobody says: the first that a machine takes by chance.
const SOURCE_PORT: u16 = 49152;

/// Which of these ids are of others than the one who asks.
pub(super) type Foreign<'f> = &'f (dyn Fn(&BTreeSet<Id>) -> Result<BTreeSet<Id>, Refusal> + Sync);

impl History {
    /// What becomes of a packet at a router. What is foreign decides, and is not named.
    pub(super) fn explain(&self, asked: &GetVirtualRouterExplanation, foreign: Foreign<'_>) -> Result<Value, Refusal> {
        if asked.live == Some(true) {
            return Err(Refusal::not_supported("live = `true`: a comparison with what the router's kernel does"));
        }
        let at = self.moment_or_now("at", asked.at.as_ref())?;
        let (protocol, source_port, destination_port) = ports(asked)?;
        check_addresses(asked)?;
        let fold = replay_router(self.journal(), asked.uuid, Some(at)).map_err(unreadable)?;
        let config = fold.config().ok_or_else(|| no_router_at("uuid", asked.uuid, at))?;
        let mut ends = End::of(&fold);
        let unfiltered = SecurityConfig::default();
        let scene = Scene { sections: &config.sections, ends: &ends, filters: &unfiltered };
        let (beginning, source) = begin(&scene, asked)?;
        let packet = Packet { protocol, source, source_port, destination: asked.dst, destination_port };
        // Whom it would reach if nothing were filtered: at those nics it counts what is.
        let open = explain(&scene, &beginning, packet);
        let filters = self.filters(&mut ends, &nics(&beginning, &open), at)?;
        let scene = Scene { sections: &config.sections, ends: &ends, filters: &filters };
        let explained = explain(&scene, &beginning, packet);
        let mut reply = serde_json::to_value(&explained).unwrap_or_default();
        reply["router"] = json!(asked.uuid);
        reply["position"] = json!(at);
        reply["revision"] = json!(config.revision);
        reply["from"] = match &beginning {
            Beginning::Nic(nic) => json!({"nic": nic}),
            Beginning::Interface(name) => json!({"interface": name}),
            Beginning::Router => json!({"router": asked.uuid}),
        };
        self.tell_origins(&mut reply, (asked.uuid, at), &explained, foreign)?;
        Ok(reply)
    }

    /// What is filtered at these nics, and which of them carry nothing: the events of their VMs, of the groups that they are
    /// in, of those that rules name, and of the VMs in those.
    fn filters(&self, ends: &mut [End], nics: &BTreeSet<NicId>, at: Position) -> Result<SecurityConfig, Refusal> {
        if nics.is_empty() {
            return Ok(SecurityConfig::default());
        }
        let vms = ends.iter().filter(|end| nics.contains(&end.nic)).map(|end| end.vm.0);
        let mut tags: BTreeSet<Id> = vms.chain([global_config_id()]).collect();
        loop {
            let wanted: Vec<Id> = tags.iter().copied().collect();
            let bears = |head: &EventHead<'_>| {
                use StreamKind::{GlobalConfig, ResourceConfig, SecurityGroup, VmInstance};
                matches!(head.stream.kind, GlobalConfig | ResourceConfig | SecurityGroup | VmInstance)
            };
            let mut fold = HostFold::default();
            let mut more = BTreeSet::new();
            self.journal()
                .replay(Some(&wanted), 0, at, &bears, &mut |event| {
                    match &event.event {
                        // Who is in a group that a rule names is known by its own events.
                        Event::VmInstance(VmInstanceEvent::NicSecurityChanged { groups, .. }) => {
                            more.insert(event.stream.id);
                            more.extend(groups.iter().map(|group| group.0));
                        }
                        Event::SecurityGroup(
                            SecurityGroupEvent::Created { rules, .. } | SecurityGroupEvent::RulesChanged { rules, .. },
                        ) => more.extend(rules.iter().filter_map(|rule| rule.remote_group).map(|group| group.0)),
                        _ => {}
                    }
                    fold.apply(0, &event);
                    ControlFlow::Continue(())
                })
                .map_err(unreadable)?;
            let known = tags.len();
            tags.extend(more);
            if tags.len() > known {
                continue;
            }
            for end in ends.iter_mut().filter(|end| nics.contains(&end.nic)) {
                end.carries = !fold.is_silent(end.vm, end.nic);
                end.default = fold.vm(end.vm).is_none_or(|vm| vm.default_l3_network == end.l3_network);
            }
            return Ok(fold.filters_of(nics));
        }
    }

    /// Gives each record its name, and the event that put it there. What is foreign loses what it is known by.
    fn tell_origins(
        &self,
        reply: &mut Value,
        (router, at): (RouterId, Position),
        explained: &Explanation,
        foreign: Foreign<'_>,
    ) -> Result<(), Refusal> {
        let inner = explained.candidates.iter().flat_map(|candidate| &candidate.steps);
        let records: BTreeSet<&Record> = explained.steps.iter().chain(inner).flat_map(|step| &step.records).collect();
        let mut of_stream: BTreeMap<StreamKey, Vec<&Record>> = BTreeMap::new();
        for record in &records {
            let streams = [record.stream(router), record.named_by()];
            streams.into_iter().flatten().for_each(|stream| of_stream.entry(stream).or_default().push(record));
        }
        let mut made: BTreeMap<&Record, Position> = BTreeMap::new();
        let mut names: BTreeMap<&Record, String> = BTreeMap::new();
        let mut versions: BTreeMap<StreamKey, Version> = BTreeMap::new();
        let tags: Vec<Id> = of_stream.keys().map(|stream| stream.id).collect();
        let bears = |head: &EventHead<'_>| of_stream.contains_key(&head.stream);
        self.journal()
            .replay(Some(&tags), 0, at, &bears, &mut |event| {
                if let Some(records) = of_stream.get(&event.stream) {
                    versions.insert(event.stream, event.version);
                    for record in records {
                        if record.made_by(router, &event) {
                            made.insert(record, event.position);
                        }
                        if let Some(name) = record.name_in(&event.event) {
                            names.insert(record, name.to_string());
                        }
                    }
                }
                ControlFlow::Continue(())
            })
            .map_err(unreadable)?;
        let ids =
            records.iter().flat_map(|record| record.uuid().into_iter().chain(record.named_by().map(|own| own.id)));
        let hidden = foreign(&ids.collect())?;
        let mut told = BTreeMap::new();
        for record in records {
            let mut shown = serde_json::to_value(record).unwrap_or_default();
            let of = record.named_by().map(|stream| stream.id).into_iter().chain(record.uuid());
            if of.into_iter().any(|id| hidden.contains(&id)) {
                told.insert(shown.to_string(), json!({"type": shown["type"], "foreign": true}));
                continue;
            }
            let key = shown.to_string();
            if let Some(name) = names.get(record) {
                shown["name"] = json!(name);
            }
            if let Some(stream) = record.named_by() {
                let version = versions.get(&stream).copied().unwrap_or(0);
                shown["name"] = json!(name_of(self.journal(), stream, version));
            }
            if let Some(position) = made.get(record) {
                shown["since"] = self.origin(*position)?;
            }
            told.insert(key, shown);
        }
        each_record(reply, &mut |record| {
            if let Some(shown) = told.get(&record.to_string()) {
                *record = shown.clone();
            }
        });
        let verdicts = [reply["verdict"].take()].into_iter().map(|verdict| veiled(verdict, &hidden)).next();
        reply["verdict"] = verdicts.unwrap_or_default();
        for candidate in reply["candidates"].as_array_mut().into_iter().flatten() {
            candidate["verdict"] = veiled(candidate["verdict"].take(), &hidden);
        }
        Ok(())
    }

    /// Who did it, when and why.
    fn origin(&self, position: Position) -> Result<Value, Refusal> {
        let commit = self.journal().commit_at(position).map_err(unreadable)?;
        let Some(commit) = commit else { return Ok(Value::Null) };
        let found = commit.envelopes().find(|(around, _)| around.position == position);
        let Some((around, event)) = found else { return Ok(Value::Null) };
        let mut whole = shown(&around, event);
        let mut origin = json!({});
        for field in ["position", "kind", "time", "at", "principal", "origin", "command", "reason"] {
            origin[field] = whole[field].take();
        }
        Ok(origin)
    }
}

fn veiled(mut verdict: Value, hidden: &BTreeSet<Id>) -> Value {
    for field in ["vm", "nic"] {
        let id = verdict[field].as_str().and_then(|text| text.parse::<Id>().ok());
        if id.is_some_and(|id| hidden.contains(&id)) {
            verdict[field] = Value::Null;
        }
    }
    verdict
}

/// Every record of every step.
fn each_record(reply: &mut Value, f: &mut dyn FnMut(&mut Value)) {
    for step in reply["steps"].as_array_mut().into_iter().flatten() {
        step["records"].as_array_mut().into_iter().flatten().for_each(&mut *f);
    }
    for candidate in reply["candidates"].as_array_mut().into_iter().flatten() {
        for step in candidate["steps"].as_array_mut().into_iter().flatten() {
            step["records"].as_array_mut().into_iter().flatten().for_each(&mut *f);
        }
    }
}

fn ports(asked: &GetVirtualRouterExplanation) -> Result<(PacketProtocol, u16, u16), Refusal> {
    let protocol = match asked.proto.as_str() {
        "tcp" => PacketProtocol::Tcp,
        "udp" => PacketProtocol::Udp,
        _ => {
            let given = [("dport", asked.dport), ("sport", asked.sport)];
            if let Some((field, Some(port))) = given.iter().find(|(_, port)| port.is_some()) {
                return Err(Refusal::argument(field, port, "nothing: ICMP has no ports"));
            }
            return Ok((PacketProtocol::Icmp, 0, 0));
        }
    };
    let right = format!("a port from 1 to 65535: {} has ports", asked.proto);
    let port = asked.dport.ok_or_else(|| Refusal::argument("dport", "", right))?;
    Ok((protocol, asked.sport.unwrap_or(SOURCE_PORT), port))
}

fn check_addresses(asked: &GetVirtualRouterExplanation) -> Result<(), Refusal> {
    let one = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => {
            !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unicast_link_local()
        }
    };
    // So machines ask that have no address yet.
    let everybody = asked.dst == IpAddr::V4(Ipv4Addr::BROADCAST);
    if !one(asked.dst) && !everybody {
        let right = "the address of one machine that is reached by routers, or 255.255.255.255";
        return Err(Refusal::argument("dst", asked.dst, right));
    }
    match asked.src {
        Some(src) if src.is_ipv4() != asked.dst.is_ipv4() => {
            Err(Refusal::argument("src", src, format!("an address of the family of dst = {}", asked.dst)))
        }
        Some(src) if !(one(src) || src.is_unspecified() && everybody) => {
            Err(Refusal::argument("src", src, "the address of one machine that is reached by routers"))
        }
        _ => Ok(()),
    }
}

/// Where the packet begins, and its source.
fn begin(scene: &Scene<'_>, asked: &GetVirtualRouterExplanation) -> Result<(Beginning, IpAddr), Refusal> {
    let v4 = asked.dst.is_ipv4();
    let interfaces = &scene.sections.interfaces.nics;
    let beginning = match (&asked.from, asked.src) {
        (Some(from), _) => {
            let id = from.parse::<Id>().ok();
            let nic = id.and_then(|id| scene.ends.iter().find(|end| end.nic.0 == id));
            let by_network = |nic: &&RouterNic| Some(nic.l3_network.0) == id || nic.name == *from;
            match (nic, interfaces.iter().find(by_network)) {
                _ if from == "router" => Beginning::Router,
                (Some(end), _) => Beginning::Nic(end.nic),
                (None, Some(nic)) => Beginning::Interface(nic.name.clone()),
                (None, None) => {
                    let names: Vec<&str> = interfaces.iter().map(|nic| nic.name.as_str()).collect();
                    let right = format!(
                        "the uuid of a nic or an L3 network of the router, one of its interfaces ({}), or router",
                        names.join(", ")
                    );
                    return Err(Refusal::argument("from", from, right));
                }
            }
        }
        (None, Some(src)) => scene.beginning(src).ok_or_else(|| {
            let right = "where the packet begins: the router knows no way to its source";
            Refusal::argument("from", "", right)
        })?,
        (None, None) => return Err(Refusal::argument("src", "", "an address, unless from says who sends the packet")),
    };
    let source = match (&beginning, asked.src) {
        (_, Some(src)) => src,
        (Beginning::Nic(nic), None) => {
            let own = scene.ends.iter().filter(|end| end.nic == *nic).flat_map(|end| &end.addresses);
            let own = own.copied().find(|ip| ip.is_ipv4() == v4);
            own.ok_or_else(|| {
                Refusal::argument("src", "", format!("an address: the nic {nic} has none of this family"))
            })?
        }
        (Beginning::Router, None) => {
            let nowhere = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            scene.source_for(asked.dst).unwrap_or(nowhere)
        }
        (Beginning::Interface(name), None) => {
            return Err(Refusal::argument("src", "", format!("an address: whose packet it is that comes by {name}")));
        }
    };
    Ok((beginning, source))
}

/// The nics at which a packet may be filtered.
fn nics(beginning: &Beginning, explained: &Explanation) -> BTreeSet<NicId> {
    let mut found = BTreeSet::new();
    if let Beginning::Nic(nic) = beginning {
        found.insert(*nic);
    }
    let verdicts = explained.candidates.iter().map(|candidate| &candidate.verdict);
    for verdict in verdicts.chain([&explained.verdict]) {
        if let Verdict::Delivered { nic, .. } = verdict {
            found.insert(*nic);
        }
    }
    found
}
