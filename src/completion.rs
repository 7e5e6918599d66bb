//! What a command line may go on with: commands, messages, parameters, values, and what the server has of the resources that
//! are wanted. The scripts of the shells ask it with each press of the key.
//!
//! **Invariants:** at most one moment's wait for the server, and silence where it does not answer. A candidate is the whole word, with what
//! was typed at its beginning. Not here: how a shell wants its candidates, which is `commands/completions.rs`.

use crate::{
    client::{Client, ClientArguments, Environment, inventories, parameter},
    commands::message,
    naming,
};
use clap::{Arg, Command, ValueHint};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use switchback_bus::{
    Check, GLOBAL_CONFIGS, Message, MessageKind, Parameter, QUERIES, RESOURCE_TYPES, SYSTEM_TAGS, messages,
};
use switchback_projections::catalogue::{Kind, Ty, kind};

/// One way to go on.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The whole word.
    pub text: String,
    /// What it is.
    pub help: String,
    /// The word is not over with it.
    pub more: bool,
}

/// What a shell shall offer.
#[derive(PartialEq, Debug)]
pub enum Offer {
    /// These, in this order.
    Words(Vec<Candidate>),
    /// Files: the shell knows them itself.
    Files,
}

/// How long the server may take unless the environment says it: longer, and a shell seems to hang.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many resources are asked for.
const MOST: usize = 500;
/// The commands' arguments that are routers.
const ROUTERS: &[&str] = &["router"];

fn word(text: impl Into<String>, help: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), help: help.into(), more: false }
}

fn open(text: impl Into<String>, help: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), help: help.into(), more: true }
}

/// What the words after the program's name, the last of them begun with `current`, may go on with.
pub fn offer(mut line: Command, words: &[String], current: &str, environment: &Environment) -> Offer {
    line.build();
    let walked = walk(&line, words);
    let live = Live {
        flags: walked.flags.clone(),
        environment,
        end: Instant::now() + environment.completion.unwrap_or(PATIENCE),
    };
    let mut offer = if let Some(argument) = walked.awaited {
        values(argument, current, &live)
    } else if let (Some((name, begun)), true) = (current.split_once('='), current.starts_with("--")) {
        let known = arguments(walked.command).find(|argument| argument.get_long() == name.strip_prefix("--"));
        match known.map(|argument| values(argument, begun, &live)) {
            Some(Offer::Words(words)) => Offer::Words(prefixed(&format!("{name}="), words)),
            _ => Offer::Words(vec![]),
        }
    } else if current.starts_with('-') {
        let shown = |argument: &&Arg| match walked.message {
            Some(message) => fits(message.kind, argument.get_id().as_str()),
            None => true,
        };
        let flags = arguments(walked.command).filter(shown);
        Offer::Words(flags.filter_map(|flag| Some(word(format!("--{}", flag.get_long()?), about(flag)))).collect())
    } else if let Some(message) = walked.message {
        Offer::Words(match message.kind {
            MessageKind::Query => condition(message, current, &live),
            _ => parameter_or_value(message, &walked.given, current, &live),
        })
    } else {
        positional(&line, &walked, current, &live)
    };
    if let Offer::Words(words) = &mut offer {
        words.retain(|candidate| begins(&candidate.text, current) && !candidate.text.chars().any(char::is_control));
    }
    offer
}

/// Names of messages and uuids are found in any case.
fn begins(text: &str, current: &str) -> bool {
    text.get(..current.len()).is_some_and(|head| head.eq_ignore_ascii_case(current))
}

/// Where a line has come to.
struct Walked<'c> {
    command: &'c Command,
    message: Option<&'static Message>,
    /// The flag whose value comes next.
    awaited: Option<&'c Arg>,
    /// What the message or command was given so far, flags aside.
    given: Vec<String>,
    flags: ClientArguments,
}

fn walk<'c>(line: &'c Command, words: &[String]) -> Walked<'c> {
    let mut walked =
        Walked { command: line, message: None, awaited: None, given: vec![], flags: ClientArguments::default() };
    for text in words {
        if let Some(argument) = walked.awaited.take() {
            remember(&mut walked.flags, argument, text);
        } else if let Some(flag) = text.strip_prefix('-').filter(|flag| !flag.is_empty()) {
            let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let is = |argument: &&Arg| match name.strip_prefix('-') {
                Some(long) => argument.get_long() == Some(long),
                None => argument.get_short().is_some_and(|short| name.starts_with(short)),
            };
            match (arguments(walked.command).find(is).filter(|argument| argument.get_action().takes_values()), value) {
                (Some(argument), Some(value)) => remember(&mut walked.flags, argument, value),
                // `-ojson` has its value already.
                (argument, _) => walked.awaited = argument.filter(|_| name.starts_with('-') || name.len() == 1),
            }
        } else if let Some(command) = walked.command.find_subcommand(text).filter(|_| walked.message.is_none()) {
            walked.command = command;
            if command.get_name() == "list" && walked.given.is_empty() {
                walked.message = message::find("QueryVirtualRouterVm", &[]).ok();
            }
        } else if walked.given.is_empty() && walked.message.is_none() && std::ptr::eq(walked.command, line) {
            walked.message = message::find(text, &[]).ok();
            if walked.message.is_none() {
                walked.given.push(text.clone());
            }
        } else {
            walked.given.push(text.clone());
        }
    }
    walked
}

fn remember(flags: &mut ClientArguments, argument: &Arg, text: &str) {
    match argument.get_id().as_str() {
        "server" => flags.server = Some(text.to_string()),
        "token" => flags.token = Some(text.to_string()),
        "ca_file" => flags.ca_file = Some(text.into()),
        _ => {}
    }
}

/// The flags that a command shows.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_positional())
}

/// Whether a message of this kind takes the flag.
fn fits(kind: MessageKind, flag: &str) -> bool {
    match kind {
        MessageKind::Command => flag != "at" && flag != "version",
        _ => !["dry_run", "reason", "idempotency_key", "no_wait", "version"].contains(&flag),
    }
}

fn about(argument: &Arg) -> String {
    argument.get_help().map(ToString::to_string).unwrap_or_default().trim_end_matches('.').to_string()
}

/// The values of an argument of ours.
fn values(argument: &Arg, current: &str, live: &Live) -> Offer {
    if ROUTERS.contains(&argument.get_id().as_str()) {
        return Offer::Words(live.resources(&["virtualRouter"], current));
    }
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let help = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string).unwrap_or_default();
        return Offer::Words(shown.map(|value| word(value.get_name(), help(value))).collect());
    }
    match argument.get_value_hint() {
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath => Offer::Files,
        _ => Offer::Words(vec![]),
    }
}

/// What comes where no flag stands and no message is meant: commands, messages, arguments of commands.
fn positional(line: &Command, walked: &Walked, current: &str, live: &Live) -> Offer {
    let command = walked.command;
    let is_root = std::ptr::eq(command, line);
    let named = |help: bool| {
        let outside = messages().filter(|message| !message.internal);
        outside.map(|message| word(message.name, if help { message.doc.trim() } else { "" })).collect::<Vec<_>>()
    };
    if is_root && !walked.given.is_empty() {
        return Offer::Words(vec![]);
    }
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let mut words: Vec<Candidate> = shown
        .map(|command| word(command.get_name(), command.get_about().map(ToString::to_string).unwrap_or_default()))
        .collect();
    if is_root {
        words.push(word("help", "How a command or a message is written"));
        words.extend(named(true));
        return Offer::Words(words);
    }
    if !words.is_empty() {
        return Offer::Words(words);
    }
    if ["messages", "help"].contains(&command.get_name()) {
        return Offer::Words(if walked.given.is_empty() { named(true) } else { vec![] });
    }
    match command.get_positionals().nth(walked.given.len()) {
        Some(argument) => values(argument, current, live),
        None => Offer::Words(vec![]),
    }
}

/// `prefix` and the words after it.
fn prefixed(prefix: &str, words: Vec<Candidate>) -> Vec<Candidate> {
    words.into_iter().map(|word| Candidate { text: format!("{prefix}{}", word.text), ..word }).collect()
}

fn parameter_or_value(message: &'static Message, given: &[String], current: &str, live: &Live) -> Vec<Candidate> {
    let given: BTreeMap<&str, &str> = given.iter().filter_map(|text| text.split_once('=')).collect();
    let mut known = message::parameters(message);
    let Some((name, begun)) = current.split_once('=') else {
        // What must be given comes first.
        known.sort_by_key(|parameter| !parameter.required);
        let is_open = |parameter: &&&Parameter| {
            matches!(parameter.check, Check::List(_)) || !given.contains_key(parameter.api_name().as_str())
        };
        let help = |parameter: &Parameter| {
            let doc = parameter.doc.trim().trim_end_matches('.');
            if parameter.required { format!("{doc} (required)") } else { doc.to_string() }
        };
        return known.iter().filter(is_open).map(|known| open(format!("{}=", known.api_name()), help(known))).collect();
    };
    let Some(known) = known.into_iter().find(|parameter| parameter.api_name() == name) else { return vec![] };
    let kinds = naming::kinds(message, known, &|name| given.get(name).copied());
    let kinds: Vec<&str> = kinds.into_iter().collect();
    prefixed(&format!("{name}="), value(message, known, &kinds, &given, begun, live))
}

fn value(
    message: &Message,
    known: &Parameter,
    kinds: &[&str],
    given: &BTreeMap<&str, &str>,
    begun: &str,
    live: &Live,
) -> Vec<Candidate> {
    match (known.check, known.field) {
        (Check::Enum(words), _) => words.iter().map(|text| word(*text, "")).collect(),
        (Check::Bool, _) => booleans(),
        (Check::List(of), _) => {
            let (before, begun) = begun.rsplit_once(',').map_or(("", begun), |(before, begun)| (before, begun));
            let taken: BTreeSet<&str> = before.split(',').collect();
            let before = if before.is_empty() { String::new() } else { format!("{before},") };
            let mut found = match of {
                Check::Enum(words) => words.iter().map(|text| word(*text, "")).collect(),
                Check::Uuid => live.resources(kinds, begun).into_iter().filter(|one| !one.text.contains(',')).collect(),
                _ => vec![],
            };
            found.retain(|one| !taken.contains(one.text.as_str()));
            prefixed(&before, found)
        }
        (Check::Uuid, _) => live.resources(kinds, begun),
        (_, "resource_type") => RESOURCE_TYPES.iter().map(|(name, _)| word(*name, "")).collect(),
        (_, "tag") if message.name.contains("SystemTag") => {
            SYSTEM_TAGS.iter().map(|tag| open(format!("{}::", tag.name), tag.description)).collect()
        }
        (_, "category" | "name" | "value") if message.name.contains("Config") => configuration(known.field, given),
        _ => vec![],
    }
}

fn booleans() -> Vec<Candidate> {
    vec![word("true", ""), word("false", "")]
}

/// Categories, names and values of the configuration.
fn configuration(field: &str, given: &BTreeMap<&str, &str>) -> Vec<Candidate> {
    let is = |member: &str, value: &str| given.get(member).is_none_or(|given| *given == value);
    let entries = GLOBAL_CONFIGS.iter();
    match field {
        "category" => {
            let categories: BTreeSet<&str> = entries.map(|entry| entry.category).collect();
            categories.into_iter().map(|category| word(category, "")).collect()
        }
        "name" => entries
            .filter(|entry| is("category", entry.category))
            .map(|entry| word(entry.name, entry.description))
            .collect(),
        _ => entries
            .filter(|entry| given.contains_key("name") && is("category", entry.category) && is("name", entry.name))
            .flat_map(|entry| match entry.check {
                Check::Bool => booleans(),
                Check::Enum(words) => words.iter().map(|text| word(*text, "")).collect(),
                _ => vec![word(entry.default, "the default")],
            })
            .collect(),
    }
}

/// The words of a query that are no conditions.
const CHOICES: &[(&str, &str)] = &[
    ("fields=", "Only these fields"),
    ("sort=", "By a field: +name, -name"),
    ("start=", "How many to pass over"),
    ("limit=", "How many at most"),
    ("count=", "Only how many there are"),
    ("replyWithCount=", "How many there are in all, too"),
    ("__userTag__=", "Has this user tag"),
    ("__systemTag__=", "Has this system tag"),
    ("groupBy=", "Only the first of those with the same value"),
];

/// The operators, and what they mean.
const OPERATORS: &[(&str, &str)] = &[
    ("=", "is"),
    ("!=", "is not"),
    ("~=", "is like, with % and _"),
    ("!~=", "is not like"),
    ("?=", "is one of a,b"),
    ("!?=", "is none of a,b"),
    (">", "is greater than"),
    (">=", "is at least"),
    ("<", "is less than"),
    ("<=", "is at most"),
    ("=null", "is nothing"),
    ("!=null", "is something"),
];

fn condition(message: &'static Message, current: &str, live: &Live) -> Vec<Candidate> {
    let Some(of) = kind(message.inventory) else { return vec![] };
    let Some(at) = current.find(['=', '<', '>', '!', '?', '~']) else {
        let mut words = path(of, current);
        if !current.contains('.') {
            words.extend(CHOICES.iter().map(|(text, help)| open(*text, *help)));
        }
        return words;
    };
    let (name, rest) = current.split_at(at);
    let value = rest.trim_start_matches(['=', '<', '>', '!', '?', '~']);
    let operator = &rest[..rest.len() - value.len()];
    if operator == "=" && CHOICES.iter().any(|(text, _)| text.strip_suffix('=') == Some(name)) {
        return prefixed(&format!("{name}="), choice(of, name, value));
    }
    let mut words = vec![];
    if value.is_empty() {
        let longer = OPERATORS.iter().filter(|(text, _)| text.len() > operator.len() && text.starts_with(operator));
        words.extend(
            longer.map(|(text, help)| Candidate {
                more: !text.ends_with("null"),
                ..word(format!("{name}{text}"), *help)
            }),
        );
    }
    if operator.ends_with('=') {
        let (before, begun) = match value.rsplit_once(',') {
            Some((before, begun)) if operator.ends_with("?=") => (format!("{before},"), begun),
            _ => (String::new(), value),
        };
        let found = live.of_field(of, name, begun);
        let mut found = prefixed(&format!("{name}{operator}{before}"), found);
        found.append(&mut words);
        return found;
    }
    words
}

fn choice(of: &'static Kind, name: &str, value: &str) -> Vec<Candidate> {
    let fields = || of.fields.iter().filter(|field| !field.hidden).map(|field| field.name);
    match name {
        "count" | "replyWithCount" => booleans(),
        "fields" => {
            let before = value.rsplit_once(',').map_or(String::new(), |(before, _)| format!("{before},"));
            let open = fields().filter(|field| !before.split(',').any(|taken| taken == *field));
            prefixed(&before, open.map(|field| word(field, "")).collect())
        }
        "groupBy" => fields().map(|field| word(field, "")).collect(),
        "sort" => fields().flat_map(|field| [word(format!("+{field}"), ""), word(format!("-{field}"), "")]).collect(),
        _ => vec![],
    }
}

/// Fields and relations where a path stands; the operators where it is a field's already.
fn path(mut of: &'static Kind, current: &str) -> Vec<Candidate> {
    let (before, begun) = current.rsplit_once('.').unwrap_or(("", current));
    for name in before.split('.').filter(|name| !name.is_empty()) {
        match of.relation(name) {
            Some(relation) => of = relation.target(),
            None => return vec![],
        }
    }
    let before = if before.is_empty() { String::new() } else { format!("{before}.") };
    if of.field(begun).is_some() {
        let operator = |(text, help): &(&str, &str)| Candidate {
            more: !text.ends_with("null"),
            ..word(format!("{current}{text}"), *help)
        };
        return OPERATORS.iter().map(operator).collect();
    }
    let fields =
        of.fields.iter().filter(|field| !field.hidden).map(|field| open(format!("{before}{}=", field.name), ""));
    let relations = of.relations.iter();
    let relations = relations.map(|to| open(format!("{before}{}.", to.name), naming::words_of(&[to.to])));
    fields.chain(relations).collect()
}

/// The server, asked while somebody waits.
struct Live<'e> {
    flags: ClientArguments,
    environment: &'e Environment,
    end: Instant,
}

impl Live<'_> {
    /// Resources of these kinds by name, and by uuid where one is begun or several have the name.
    fn resources(&self, kinds: &[&str], begun: &str) -> Vec<Candidate> {
        let mut found = vec![];
        for kind in kinds {
            let (Some(query), Some(name)) = (naming::query_of(kind), naming::name_of(kind)) else { continue };
            let is_uuid = !begun.is_empty() && begun.bytes().all(|c| c.is_ascii_hexdigit());
            let like = (!begun.is_empty() && !is_uuid).then_some(begun);
            for row in self.rows(query, &format!("uuid,{name}"), name, like) {
                let text = |member: &str| row[member].as_str().unwrap_or_default().to_string();
                found.push((text(name), text("uuid")));
            }
        }
        let mut words = vec![];
        for (name, uuid) in &found {
            if naming::is_name(name) && found.iter().filter(|(other, _)| other == name).count() == 1 {
                words.push(word(name.clone(), uuid.clone()));
                if begun.is_empty() {
                    continue;
                }
            }
            words.push(word(uuid.clone(), name.clone()));
        }
        words
    }

    /// Values that a field has, by a path.
    fn of_field(&self, mut of: &'static Kind, path: &str, begun: &str) -> Vec<Candidate> {
        let kinds = naming::kinds_of_path(of, path);
        if !kinds.is_empty() {
            return self.resources(&kinds, begun);
        }
        let (relations, name) = path.rsplit_once('.').unwrap_or(("", path));
        for relation in relations.split('.').filter(|name| !name.is_empty()) {
            match of.relation(relation) {
                Some(relation) => of = relation.target(),
                None => return vec![],
            }
        }
        let Some(field) = of.field(name) else { return vec![] };
        if field.ty == Ty::Bool {
            return booleans();
        }
        let (Some(query), Ty::Uuid | Ty::Text | Ty::Int) =
            (QUERIES.iter().find(|query| query.inventory == of.name), field.ty)
        else {
            return vec![];
        };
        let like = Some(begun).filter(|begun| !begun.is_empty() && field.ty != Ty::Int);
        let rows = self.rows(query.name, name, name, like);
        let shown = |row: &Value| match &row[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let distinct: BTreeSet<String> = rows.iter().filter_map(shown).collect();
        distinct.into_iter().map(|text| word(text, "")).collect()
    }

    /// One request, for as long as there is time.
    fn rows(&self, query: &str, fields: &str, name: &str, like: Option<&str>) -> Vec<Value> {
        let left = self.end.saturating_duration_since(Instant::now());
        let Some(client) = Client::new(&self.flags, self.environment).ok().filter(|_| !left.is_zero()) else {
            return vec![];
        };
        let mut parameters =
            vec![parameter("fields", fields), parameter("limit", MOST), parameter("sort", format!("+{name}"))];
        parameters.extend(like.map(|like| parameter("q", format!("{name}~={like}%"))));
        client.glance(query, &parameters, left).map(|reply| inventories(&reply).to_vec()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str, current: &str) -> Vec<String> {
        let nowhere = Environment { server: Some("127.0.0.1:1".to_string()), ..Environment::default() };
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match offer(crate::line(), &words, current, &nowhere) {
            Offer::Words(words) => words.into_iter().map(|word| word.text).collect(),
            Offer::Files => vec![":files".to_string()],
        }
    }

    #[test]
    fn every_beginning_of_a_line_has_an_answer_that_begins_with_it() {
        let lines = [
            "-o json --token=ä CreateL3Network l2NetworkUuid=größe name=上海 --reason=x -ojson description=",
            "QueryVirtualRouterVm vmNics.l3Network.ipRanges.startIp!?=1,2 zone.nöthing.uuid=x sort=-name fields=a,b =x",
            "audit log --resource --kind zone.Created -- router config 上海",
            "UpdateGlobalConfig category=virtualRouter name=agent.deployOnStart value=true",
        ];
        for line in lines {
            for (at, _) in line.char_indices().chain([(line.len(), ' ')]) {
                let (words, current) = line[..at].rsplit_once(' ').unwrap_or(("", &line[..at]));
                for text in texts(words, current) {
                    assert!(text == ":files" || begins(&text, current), "{text} after {words} {current}");
                }
            }
        }
        assert_eq!(texts("-ojson", "CreateZ"), ["CreateZone"]);
        assert_eq!(texts("-o", "j"), ["json"]);
        assert_eq!(texts("--nothing", "CreateZ"), ["CreateZone"]);
        assert_eq!(texts("QueryZone", "clusters.hosts.vmInstances.hostn"), ["clusters.hosts.vmInstances.hostname="]);
        assert_eq!(texts("QueryZone", "nothing.na"), [""; 0]);
    }
}
