//! From a method and a path to messages: a tree of path segments, grown once from the catalogue.
//!
//! A literal segment goes before a parameter (`/l2-networks/types` before `/l2-networks/{uuid}`), and what the system does
//! goes before what it only knows by name. Several messages may share a route: the body's one key tells them apart.

use actix_web::http::Method;
use std::{collections::BTreeMap, sync::LazyLock};
use switchback_bus::{Access, Message, MessageKind, messages};

/// What ZStack knows and this system does not do: method, path and message, a line each. `tests` keep it without what is in
/// the catalogue.
const NOT_SUPPORTED: &str = include_str!("not_supported.txt");

/// Paths that a message has besides its own.
const MORE: &[(&str, &str)] = &[
    ("GetFreeIp", "/l3-networks/{l3NetworkUuid}/ip/free"),
    ("GetFreeIp", "/l3-networks/ip-ranges/{ipRangeUuid}/ip/free"),
];

/// What a route leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning {
    /// A message of the catalogue.
    Message(&'static Message),
    /// The one inventory of a query that has the uuid of the path.
    One(&'static Message),
    /// A message that is known by name only.
    NotSupported(&'static str),
    /// What became of a command.
    Job,
    /// The servers: this one.
    ManagementNodes,
    /// The version of this one.
    Version,
}

/// One of the messages of a route.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) meaning: Meaning,
    /// The names of the path's parameters, in order.
    names: Vec<&'static str>,
}

impl Target {
    /// The message's name.
    pub(crate) fn name(&self) -> &'static str {
        match self.meaning {
            Meaning::Message(message) | Meaning::One(message) => message.name,
            Meaning::NotSupported(name) => name,
            Meaning::Job => "GetApiJob",
            Meaning::ManagementNodes => "QueryManagementNode",
            Meaning::Version => "GetVersion",
        }
    }

    /// Whether it is for anyone.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.meaning, Meaning::Message(message) if message.access == Access::Anyone)
    }

    /// How a body names it: `UpdateZone` → `updateZone`.
    pub(crate) fn key(&self) -> String {
        let mut name = self.name().chars();
        name.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(name).collect()
    }

    /// The path's parameters with their values.
    pub(crate) fn named<'a>(&'a self, values: &'a [String]) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.names.iter().copied().zip(values.iter().map(String::as_str))
    }
}

/// A route that was found.
pub(crate) struct Found<'a> {
    /// At least one; only those of PUT are sometimes several.
    pub(crate) targets: &'a [Target],
    /// The values of the path's parameters, in order.
    pub(crate) values: Vec<String>,
}

/// All routes.
#[derive(Default)]
pub(crate) struct Table {
    literals: BTreeMap<&'static str, Table>,
    parameter: Option<Box<Table>>,
    targets: BTreeMap<&'static str, Vec<Target>>,
}

/// The one table.
pub(crate) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::new);
    &TABLE
}

impl Table {
    fn new() -> Table {
        let mut table = Table::default();
        table.add("GET", "/api-jobs/{uuid}", Meaning::Job);
        table.add("GET", "/management-nodes", Meaning::ManagementNodes);
        table.add("PUT", "/management-nodes/actions", Meaning::Version);
        let outside = || messages().filter(|message| !message.internal);
        for message in outside().filter(|message| !message.path.is_empty()) {
            table.add(message.method, message.path, Meaning::Message(message));
        }
        for (name, path) in MORE {
            if let Some(message) = outside().find(|message| message.name == *name) {
                table.add(message.method, path, Meaning::Message(message));
            }
        }
        for (method, path, name) in not_supported() {
            table.add(method, path, Meaning::NotSupported(name));
        }
        for message in outside().filter(|message| message.kind == MessageKind::Query) {
            table.grow(message.path.split('/').chain(["{uuid}"]), message.method, Meaning::One(message));
        }
        for (method, path, name) in not_supported().filter(|(_, _, name)| name.starts_with("Query")) {
            table.grow(path.split('/').chain(["{uuid}"]), method, Meaning::NotSupported(name));
        }
        // The Go SDKs put `actions` behind every PUT.
        let known = outside().map(|message| (message.method, message.path, Meaning::Message(message)));
        let named = not_supported().map(|(method, path, name)| (method, path, Meaning::NotSupported(name)));
        for (method, path, meaning) in known.chain(named) {
            if method == "PUT" && !path.ends_with("/actions") {
                table.grow(path.split('/').chain(["actions"]), method, meaning);
            }
        }
        table
    }

    fn add(&mut self, method: &'static str, path: &'static str, meaning: Meaning) {
        self.grow(path.split('/'), method, meaning);
    }

    fn grow(&mut self, path: impl Iterator<Item = &'static str>, method: &'static str, meaning: Meaning) {
        let mut at = self;
        let mut names = vec![];
        for segment in path.filter(|segment| !segment.is_empty()) {
            at = match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => {
                    names.push(name);
                    at.parameter.get_or_insert_default()
                }
                None => at.literals.entry(segment).or_default(),
            };
        }
        let targets = at.targets.entry(method).or_default();
        let target = Target { meaning, names };
        // Known by name only, and in the catalogue since.
        if !targets.iter().any(|known| known.name() == target.name()) {
            targets.push(target);
        }
    }

    /// The messages of a route.
    pub(crate) fn find(&self, method: &Method, segments: &[String]) -> Option<Found<'_>> {
        let mut values = vec![];
        let at = self.walk(segments, &mut values, &|at: &Table| at.targets.contains_key(method.as_str()))?;
        Some(Found { targets: at.targets.get(method.as_str())?, values })
    }

    /// The methods that a path takes.
    pub(crate) fn methods(&self, segments: &[String]) -> Vec<&'static str> {
        let found = self.walk(segments, &mut vec![], &|at: &Table| !at.targets.is_empty());
        found.map(|at| at.targets.keys().copied().collect()).unwrap_or_default()
    }

    fn walk(&self, segments: &[String], values: &mut Vec<String>, fits: &dyn Fn(&Table) -> bool) -> Option<&Table> {
        let Some((first, rest)) = segments.split_first() else { return fits(self).then_some(self) };
        if let Some(found) = self.literals.get(first.as_str()).and_then(|next| next.walk(rest, values, fits)) {
            return Some(found);
        }
        let next = self.parameter.as_ref()?;
        let before = values.len();
        values.push(first.clone());
        let found = next.walk(rest, values, fits);
        if found.is_none() {
            values.truncate(before);
        }
        found
    }
}

fn not_supported() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    NOT_SUPPORTED.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    })
}

/// The segments of a path, decoded. Empty ones count for nothing: the Go SDK asks for `/zones//{uuid}`.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect()
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, env, fs, path::Path};

    fn name(method: Method, path: &str) -> Option<(&'static str, Vec<String>)> {
        let found = table().find(&method, &segments(path))?;
        Some((found.targets[0].name(), found.values))
    }

    #[test]
    fn a_literal_goes_before_a_parameter_and_a_way_back_is_found() {
        let cases = [
            (Method::GET, "/zones", "QueryZone", vec![]),
            (Method::GET, "/zones//abc/", "QueryZone", vec!["abc"]),
            (Method::GET, "/l2-networks/types", "GetL2NetworkTypes", vec![]),
            (Method::GET, "/l2-networks/vlan", "QueryL2VlanNetwork", vec![]),
            (Method::GET, "/l2-networks/abc", "QueryL2Network", vec!["abc"]),
            (Method::GET, "/l3-networks/abc/ip/10.0.0.1/availability", "CheckIpAvailability", vec!["abc", "10.0.0.1"]),
            (Method::GET, "/l3-networks/ip-ranges/abc/ip/free", "GetFreeIp", vec!["abc"]),
            (Method::GET, "/l3-networks/ip-ranges/abc", "QueryIpRange", vec!["abc"]),
            (Method::DELETE, "/l3-networks/abc/dns/fd00%3A%3a1", "RemoveDnsFromL3Network", vec!["abc", "fd00::1"]),
            (Method::GET, "/vm-instances/appliances/virtual-routers/abc", "QueryVirtualRouterVm", vec!["abc"]),
            (Method::GET, "/eips", "QueryEip", vec![]),
            (Method::GET, "/eips/abc", "QueryEip", vec!["abc"]),
            (Method::PUT, "/load-balancers/listeners/abc/actions", "ChangeLoadBalancerListener", vec!["abc"]),
            (Method::PUT, "/accounts/login", "LogInByAccount", vec![]),
        ];
        for (method, path, message, values) in cases {
            let expected = Some((message, values.into_iter().map(String::from).collect()));
            assert_eq!(name(method, path), expected, "{path}");
        }
        for (method, path) in [(Method::GET, ""), (Method::GET, "/nothing"), (Method::POST, "/zones/abc")] {
            assert_eq!(name(method, path), None, "{path}");
        }
        assert_eq!(table().methods(&segments("/zones/abc/actions")), ["PUT"]);
        assert_eq!(decoded("%"), "%");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("a%zz%41%ff"), "a%zzA\u{fffd}");
    }

    #[test]
    fn every_message_with_a_path_is_reached_by_it_and_knows_the_parameters_of_the_path() {
        for message in messages().filter(|message| !message.internal && !message.path.is_empty()) {
            let segments: Vec<String> = segments(message.path);
            let method = message.method.parse().unwrap();
            let found = table().find(&method, &segments).unwrap_or_else(|| panic!("no way to {}", message.name));
            let target = found.targets.iter().find(|target| target.name() == message.name);
            let target = target.unwrap_or_else(|| panic!("{} is hidden", message.name));
            for name in &target.names {
                assert!(message.parameter(name).is_some(), "{} has no {name}", message.name);
            }
            assert!(method == Method::PUT || found.targets[0].name() == message.name, "{} is hidden", message.name);
        }
    }

    #[test]
    fn what_is_in_the_catalogue_is_not_among_what_is_not_supported() {
        let known: BTreeSet<&str> = messages().map(|message| message.name).collect();
        let left: Vec<String> = not_supported()
            .filter(|(_, _, name)| !known.contains(name))
            .map(|(method, path, name)| format!("{method} {path} {name}\n"))
            .collect();
        if env::var_os("UPDATE_GOLDEN").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/zstack/not_supported.txt");
            fs::write(file, left.concat()).unwrap();
        } else {
            assert!(
                left.concat() == NOT_SUPPORTED,
                "UPDATE_GOLDEN=1 cargo test -p switchback-gateway --lib not_supported"
            );
        }
    }
}
