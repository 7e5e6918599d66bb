//! `switchback <MessageName> key=value …`: any message of the catalogue; and `switchback messages`, the catalogue.

use crate::{
    client::{Client, ClientArguments, Environment, parameter},
    failure::Failure,
    naming,
    output::Output,
    views,
};
use clap::{Args, Parser};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};
use std::{
    ffi::OsString,
    io::{self, BufRead},
};
use switchback_bus::{COMMON, Check, DELETE_MODE, Message, MessageKind, Parameter, creates, messages, nearest};
use switchback_projections::catalogue;

/// What follows a message's name.
#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    client: ClientArguments,
    /// Show the message's parameters.
    #[arg(short, long)]
    help: bool,
    /// `key=value`, or the conditions of a query.
    arguments: Vec<String>,
}

/// Sends the message of a line whose first word no command of ours has.
pub fn run(
    line: Vec<OsString>,
    outer: &ClientArguments,
    environment: &Environment,
    known: &[String],
    output: &mut Output,
) -> Result<(), Failure> {
    let name = line.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let message = find(&name, known)?;
    // The message's name stands where clap expects the program's.
    let line = Line::try_parse_from(line).map_err(|error| wrong_flag(message, &error))?;
    let client = line.client.over(outer);
    output.format = client.format();
    if line.help {
        return describe(message, output);
    }
    send(message, &line.arguments, &client, environment, output).map_err(|failure| failure.usage_of(|| usage(message)))
}

/// What clap says of a flag, without its usage, which is not that of a message.
fn wrong_flag(message: &Message, error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim);
    let mut detail = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    if let Some(values) = lines.next().filter(|line| line.starts_with("[possible values")) {
        detail += &format!(" {values}");
    }
    let flag = error.get(clap::error::ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let flag = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
    let words = ["fields", "sort", "start", "limit", "count", "replyWithCount"];
    let is_word = message.kind == MessageKind::Query && words.contains(&flag);
    if is_word || parameters(message).iter().any(|parameter| parameter.api_name() == flag) {
        return Failure::usage(detail).hint(format!("{flag} has no dashes: {flag}=…")).usage_of(|| usage(message));
    }
    Failure::usage(detail).hint(format!("switchback help {} shows its parameters", message.name))
}

fn send(
    message: &Message,
    arguments: &[String],
    client: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    match message.kind {
        MessageKind::Command => {
            client.refuse_at(message.name)?;
            let mut body = body(message, arguments)?;
            let server = Client::new(client, environment)?;
            naming::resolve_all(message, &parameters(message), &mut body, &server, None, output)?;
            let reply = server.command(message.name, &Value::Object(body), client)?;
            views::command(message, &reply, client.dry_run, output)
        }
        MessageKind::Query => {
            client.refuse_command_flags(message.name)?;
            query(message, arguments, client, environment, output)
        }
        MessageKind::Read => {
            client.refuse_command_flags(message.name)?;
            let mut parameters = read_parameters(message, arguments, client)?;
            let server = Client::new(client, environment)?;
            naming::resolve_texts(message, &mut parameters, &server, client.at.as_deref(), output)?;
            let reply = server.read(message.name, &parameters)?;
            match message.name {
                "VerifyAudit" => views::verified(&reply, output),
                name => views::read(name, &reply, output),
            }
        }
    }
}

/// The message `name`, in any case, that the outside may send.
pub fn find(name: &str, known: &[String]) -> Result<&'static Message, Failure> {
    let mut outside = messages().filter(|message| !message.internal);
    if let Some(message) = outside.find(|message| message.name.eq_ignore_ascii_case(name)) {
        return Ok(message);
    }
    let names = messages().filter(|message| !message.internal).map(|message| message.name);
    let hint = match nearest(name, names.chain(known.iter().map(String::as_str))) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "switchback --help lists the commands, switchback messages the messages".to_string(),
    };
    Err(Failure::usage(format!("there is no command or message `{name}`")).hint(hint))
}

/// Asks a query: arguments are conditions, except for a few words.
pub fn query(
    message: &Message,
    arguments: &[String],
    client: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    let (mut parameters, asked) = query_parameters(arguments, client)?;
    let server = Client::new(client, environment)?;
    naming::resolve_conditions(message, &mut parameters, &server, client.at.as_deref(), output)?;
    let reply = server.read(message.name, &parameters)?;
    views::query(message, &reply, &asked, output)
}

/// The parameters of a command: every value read as the catalogue says.
fn body(message: &Message, arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    for argument in arguments {
        let (name, text) = split(argument)?;
        let check = check(message, name);
        let value = match check {
            Some(Check::Password) => Value::String(password(text, &mut io::stdin().lock())?),
            Some(Check::VmPassword) => Value::String(line(text, &mut io::stdin().lock())?),
            Some(check) => check.read(text),
            // The server refuses it, and knows what is near.
            None => Value::String(text.to_string()),
        };
        match (body.get_mut(name), value) {
            (None, value) => {
                body.insert(name.to_string(), value);
            }
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (Some(_), _) => return Err(Failure::usage(format!("{name} is given more than once"))),
        }
    }
    Ok(body)
}

/// A password as it travels: the SHA-512 of its text in hexadecimal. `-` reads it from the first line of `input`, so that
/// it stands in no list of processes; what is such a digest already is sent as it is.
fn password(text: &str, input: &mut impl BufRead) -> Result<String, Failure> {
    let text = line(text, input)?;
    let digest = text.len() == 128 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    Ok(if digest { text } else { format!("{:x}", Sha512::digest(text)) })
}

/// A password as it was given; `-` reads it from the first line of `input`.
fn line(text: &str, input: &mut impl BufRead) -> Result<String, Failure> {
    let mut text = text.to_string();
    if text == "-" {
        text.clear();
        input.read_line(&mut text)?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
    }
    if text.is_empty() {
        return Err(Failure::usage("the password is empty".to_string()));
    }
    Ok(text)
}

fn check(message: &Message, name: &str) -> Option<Check> {
    parameters(message).into_iter().find(|parameter| parameter.api_name() == name).map(|parameter| parameter.check)
}

/// All that a message takes: its own parameters, and what all of its kind take.
pub fn parameters(message: &Message) -> Vec<&'static Parameter> {
    let own = message.parameters.iter();
    let common = COMMON.iter().filter(|common| creates(message) && message.parameter(&common.api_name()).is_none());
    let mode = std::iter::once(&DELETE_MODE).filter(|_| message.method == "DELETE");
    own.chain(common).chain(mode).collect()
}

/// How a message's line is written: what must be given, then what may.
pub fn usage(message: &Message) -> String {
    let mut words = vec![format!("switchback {}", message.name)];
    if message.kind == MessageKind::Query {
        words.push("[field=value …] [fields=a,b] [sort=+field] [start=N] [limit=N] [count=true]".to_string());
    }
    let mut parameters = parameters(message);
    parameters.sort_by_key(|parameter| !parameter.required);
    words.extend(parameters.iter().map(|parameter| {
        let word = format!("{}={}", parameter.api_name(), placeholder(message, parameter));
        if parameter.required { word } else { format!("[{word}]") }
    }));
    words.join(" ")
}

/// What stands for a value.
pub fn placeholder(message: &Message, parameter: &Parameter) -> String {
    match parameter.check {
        Check::Enum(words) => words.join("|"),
        Check::Bool => "true|false".to_string(),
        Check::Int(..) => "N".to_string(),
        Check::Uuid if !message.kinds_of(parameter).is_empty() => "NAME|UUID".to_string(),
        Check::Uuid => "UUID".to_string(),
        Check::Ip | Check::Ipv4 => "ADDRESS".to_string(),
        Check::List(Check::Uuid) if !message.kinds_of(parameter).is_empty() => "NAME|UUID,…".to_string(),
        Check::List(_) => "A,B,…".to_string(),
        Check::Services | Check::Statements | Check::Objects(_) => "JSON".to_string(),
        _ => "TEXT".to_string(),
    }
}

fn split(argument: &str) -> Result<(&str, &str), Failure> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(Failure::usage(format!("`{argument}`: write it as key=value"))),
    }
}

fn query_parameters(
    arguments: &[String],
    client: &ClientArguments,
) -> Result<(Vec<(String, String)>, views::Asked), Failure> {
    let mut parameters = vec![];
    let mut asked = views::Asked::default();
    let mut sort = None;
    let mut descending = false;
    for argument in arguments {
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| Failure::usage(format!("`{argument}`: a whole number, 0 or more")))
        };
        let (name, text) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "fields" => asked.fields.extend(text.split(',').filter(|field| !field.is_empty()).map(String::from)),
            "sort" | "sortBy" => sort = Some(text.to_string()),
            "sortDirection" => {
                descending = match text {
                    "asc" => false,
                    "desc" => true,
                    _ => return Err(Failure::usage(format!("`{argument}`: asc or desc"))),
                }
            }
            "start" => asked.start = number(text)?,
            "limit" => asked.limit = Some(number(text)?),
            "count" => {
                asked.count = match text {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Failure::usage(format!("`{argument}`: true or false"))),
                }
            }
            "replyWithCount" | "groupBy" => parameters.push(parameter(name, text)),
            _ if is_condition(argument) => parameters.push(parameter("q", argument)),
            _ => {
                let failure = Failure::usage(format!("`{argument}`: write a condition as field=value"));
                return Err(failure.hint("operators: = != > >= < <= ?= !?= ~= !~= =null !=null"));
            }
        }
    }
    if !asked.fields.is_empty() {
        parameters.push(parameter("fields", asked.fields.join(",")));
    }
    if let Some(sort) = sort {
        let sort =
            if sort.starts_with(['+', '-']) { sort } else { format!("{}{sort}", if descending { '-' } else { '+' }) };
        parameters.push(parameter("sort", sort));
    }
    if asked.start > 0 {
        parameters.push(parameter("start", asked.start));
    }
    parameters.extend(asked.limit.map(|limit| parameter("limit", limit)));
    if asked.count {
        parameters.push(parameter("count", true));
    }
    parameters.extend(client.at.as_ref().map(|at| parameter("at", at)));
    Ok((parameters, asked))
}

/// A field's name and an operator; what the words mean is the server's business.
fn is_condition(argument: &str) -> bool {
    let operator = argument.find(['=', '<', '>', '!', '?', '~']);
    operator.is_some_and(|at| at > 0 && argument[at..].contains(['=', '<', '>']))
}

fn read_parameters(
    message: &Message,
    arguments: &[String],
    client: &ClientArguments,
) -> Result<Vec<(String, String)>, Failure> {
    let mut parameters = vec![];
    for argument in arguments {
        let (name, text) = split(argument)?;
        parameters.push(parameter(name, text));
    }
    if let Some(at) = &client.at {
        if message.parameter("at").is_none() {
            client.refuse_at(message.name)?;
        }
        parameters.push(parameter("at", at));
    }
    Ok(parameters)
}

/// `switchback messages [NAME]`.
#[derive(Args)]
pub struct MessagesArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// Only this message, with its parameters.
    name: Option<String>,
}

/// Shows the catalogue, or one message of it. Needs no server.
pub fn list(arguments: MessagesArguments, outer: &ClientArguments, output: &mut Output) -> Result<(), Failure> {
    output.format = arguments.client.over(outer).format();
    if let Some(name) = arguments.name {
        return describe(find(&name, &[])?, output);
    }
    let row = |message: &Message| json!({"name": message.name, "kind": kind(message), "doc": message.doc.trim()});
    let rows: Vec<Value> = messages().filter(|message| !message.internal).map(row).collect();
    output.data(&json!(rows), |output| output.rows(&rows, &["name", "doc"]))
}

/// Shows one message.
pub fn describe(message: &Message, output: &mut Output) -> Result<(), Failure> {
    let row = |parameter: &&Parameter| {
        json!({
            "parameter": parameter.api_name(), "required": parameter.required,
            "value": value(message, parameter), "doc": parameter.doc.trim(),
        })
    };
    let rows: Vec<Value> = parameters(message).iter().map(row).collect();
    let whole = json!({
        "name": message.name, "kind": kind(message), "doc": message.doc.trim(), "parameters": rows,
    });
    output.data(&whole, |output| {
        output.paragraph(&format!("{} ({}): {}", message.name, kind(message), message.doc.trim()))?;
        if message.kind == MessageKind::Query {
            return query_words(message, output);
        }
        for (title, required) in [("Required", true), ("Optional", false)] {
            let items: Vec<(String, String)> = parameters(message)
                .iter()
                .filter(|parameter| parameter.required == required)
                .map(|parameter| {
                    let word = format!("{}={}", parameter.api_name(), placeholder(message, parameter));
                    (word, format!("{} ({})", parameter.doc.trim(), value(message, parameter)))
                })
                .collect();
            if !items.is_empty() {
                output.text(&format!("\n{title}:\n"))?;
                output.meanings(&items)?;
            }
        }
        Ok(())
    })
}

/// Shows what conditions there may be.
fn query_words(message: &Message, output: &mut Output) -> io::Result<()> {
    output.text("\nConditions: field=value; operators = != > >= < <= ?= !?= ~= !~= =null !=null\n\nFields:\n")?;
    let Some(of) = catalogue::kind(message.inventory) else { return Ok(()) };
    let names: Vec<&str> = of.fields.iter().filter(|field| !field.hidden).map(|field| field.name).collect();
    let mut items = vec![(String::new(), names.join(", "))];
    items.extend(
        of.relations
            .iter()
            .map(|to| (format!("{}.", to.name), format!("the fields of {}", naming::words_of(&[to.to])))),
    );
    output.meanings(&items)?;
    output.text("\n")?;
    output.paragraph(
        "Besides: fields=a,b sort=+field|-field start=N limit=N count=true replyWithCount=true groupBy=field",
    )
}

/// What values of a parameter are right on the command line, in words.
pub fn value(message: &Message, parameter: &Parameter) -> String {
    match (parameter.check, message.kinds_of(parameter)) {
        (Check::Password | Check::VmPassword, _) => "the password; `-` reads it from the input".to_string(),
        (_, []) => parameter.check.right(),
        (Check::List(_), kinds) => format!("names or uuids, of {}", naming::words_of(kinds)),
        (_, kinds) => format!("the name or uuid of {}", naming::words_of(kinds)),
    }
}

fn kind(message: &Message) -> &'static str {
    match message.kind {
        MessageKind::Command => "command",
        MessageKind::Query => "query",
        MessageKind::Read => "read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn a_password_is_sent_as_its_digest() {
        let digest = "b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb9\
                      80b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86";
        let sent = |text: &str, typed: &str| password(text, &mut typed.as_bytes());
        for (text, typed) in [("password", ""), (digest, ""), ("-", "password\n"), ("-", "password\r\nmore\n")] {
            assert_eq!(sent(text, typed).unwrap(), digest);
        }
        for (text, typed) in [("", ""), ("-", ""), ("-", "\n")] {
            assert_eq!(sent(text, typed).unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn values_are_read_as_the_catalogue_says() {
        let cases = [
            (
                "CreateL3Network",
                "name=7 system=false systemTags=a,b systemTags=c dnsDomain=x=y",
                json!({"name": "7", "system": false, "systemTags": ["a", "b", "c"], "dnsDomain": "x=y"}),
            ),
            ("DeleteZone", "uuid=x deleteMode=Permissive", json!({"uuid": "x", "deleteMode": "Permissive"})),
            ("CreateL2VlanNetwork", "vlan=12", json!({"vlan": 12})),
            (
                "AttachNetworkServiceToL3Network",
                "networkServices={\"VirtualRouter\":[\"DHCP\"]}",
                json!({"networkServices": {"VirtualRouter": ["DHCP"]}}),
            ),
            ("CreateSystemTag", "resourceUuid=x tag=a::b", json!({"resourceUuid": "x", "tag": "a::b"})),
            ("UpdateZone", "nam=x isDefault=maybe", json!({"nam": "x", "isDefault": "maybe"})),
        ];
        for (name, line, expected) in cases {
            assert_eq!(Value::Object(body(find(name, &[]).unwrap(), &words(line)).unwrap()), expected);
        }
        for bad in ["name", "=x", "name=a name=b"] {
            assert_eq!(body(find("CreateZone", &[]).unwrap(), &words(bad)).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn arguments_of_a_query_are_conditions_but_for_a_few_words() {
        let client = ClientArguments { at: Some("12".to_string()), ..ClientArguments::default() };
        let line = "vmNics.mac=fa:d9 name!=x state?=a,b cpu>=2 hostUuid=null name!~=w% fields=uuid,name sort=name \
                    start=5 limit=10 count=true replyWithCount=true";
        let (parameters, asked) = query_parameters(&words(line), &client).unwrap();
        let q: Vec<&str> = parameters.iter().filter(|(name, _)| name == "q").map(|(_, q)| q.as_str()).collect();
        assert_eq!(q, ["vmNics.mac=fa:d9", "name!=x", "state?=a,b", "cpu>=2", "hostUuid=null", "name!~=w%"]);
        let rest: Vec<String> =
            parameters.iter().filter(|(name, _)| name != "q").map(|(name, value)| format!("{name}={value}")).collect();
        let expected =
            ["replyWithCount=true", "fields=uuid,name", "sort=+name", "start=5", "limit=10", "count=true", "at=12"];
        assert_eq!(rest, expected);
        assert_eq!((asked.start, asked.limit, asked.count), (5, Some(10), true));

        let sorted = |line: &str| query_parameters(&words(line), &ClientArguments::default()).unwrap().0;
        assert_eq!(sorted("sortBy=name sortDirection=desc"), [parameter("sort", "-name")]);
        assert_eq!(sorted("sort=-name"), [parameter("sort", "-name")]);
        for bad in ["name", "=x", "limit=-1", "start=x", "count=maybe", "sortDirection=up", "limit"] {
            let failure = query_parameters(&words(bad), &client).err().unwrap();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_name_is_found_in_any_case_and_a_wrong_one_gets_advice() {
        assert_eq!(find("createzone", &[]).unwrap().name, "CreateZone");
        let known = ["router".to_string()];
        for (wrong, near) in [("CreateZonne", "CreateZone"), ("rooter", "router"), ("QueryHots", "QueryHost")] {
            assert_eq!(find(wrong, &known).unwrap_err().hint.unwrap(), format!("did you mean `{near}`?"));
        }
        assert_eq!(find("ReportHostStatus", &known).unwrap_err().exit, Exit::Usage);
    }
}
