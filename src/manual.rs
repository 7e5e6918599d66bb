//! The manual: a page for the program, for each of its commands, and for each message of the catalogue.
//!
//! **Invariant:** everything is made from the command line and the catalogue; nothing of a text is taken for a request of roff.

use crate::{commands::message, failure::Failure, naming};
use clap::Command;
use clap_mangen::Man;
use std::fmt::Write;
use switchback_bus::{Check, Message, MessageKind, messages};
use switchback_projections::catalogue::kind;

/// What each exit code means.
pub const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Anything that has no code of its own."),
    ("2", "The line itself is wrong; nothing was sent."),
    ("3", "Refused: a value is not right, or a name can mean several."),
    ("4", "Conflict: the wrong state, another version, or the same idempotency key with another body."),
    ("5", "There is no such thing."),
    ("6", "Not known, or not allowed."),
    ("7", "It did not end in time."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("SWITCHBACK_SERVER", "The server; --server goes before it. http://127.0.0.1:8080 when neither is given."),
    ("SWITCHBACK_TOKEN", "The token; --token goes before it."),
    ("SWITCHBACK_DATA", "The data directory: for serve, and where the token of a server on this machine is found."),
    ("SWITCHBACK_COMPLETION_TIMEOUT", "Milliseconds that completion waits for the server: 300."),
    ("COLUMNS", "How wide tables may be, where the terminal does not say it."),
    ("NO_COLOR", "No colours."),
];

const FILES: &[(&str, &str)] = &[
    ("switchback-data, /var/lib/switchback", "Data directories that are looked into where none is named."),
    (
        "admin.token, admin.password",
        "In the data directory, for its owner only: the token and the first password of admin.",
    ),
];

/// Every page by its name, without the number of its section.
pub fn pages(mut line: Command) -> Result<Vec<(String, String)>, Failure> {
    line.build();
    let mut pages = vec![("switchback".to_string(), main(&line)?)];
    commands("switchback", &line, &mut pages)?;
    for message in messages().filter(|message| !message.internal) {
        pages.push((format!("switchback-{}", message.name), of_message(message)));
    }
    Ok(pages)
}

fn commands(path: &str, command: &Command, pages: &mut Vec<(String, String)>) -> Result<(), Failure> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        let name = format!("{path}-{}", inner.get_name());
        let mut page = vec![];
        Man::new(inner.clone().disable_help_subcommand(true)).render(&mut page)?;
        let mut page = String::from_utf8_lossy(&page).into_owned();
        see_also(&mut page, &["switchback".to_string()]);
        let page = tidy(&name.to_uppercase(), &page);
        pages.push((name.clone(), page));
        commands(&name, inner, pages)?;
    }
    Ok(())
}

/// The page under its own head, without what groff and mandoc have no need of.
fn tidy(name: &str, page: &str) -> String {
    let head = format!(".TH \"{}\" 1 \"\" \"switchback {}\" \"Switchback\"", escape(name), env!("CARGO_PKG_VERSION"));
    let mut lines: Vec<&str> = vec![&head, ".ad l"];
    for line in page.lines().map(str::trim_end).filter(|line| !line.starts_with(".TH ")) {
        let after_break = lines.last().is_some_and(|last| last.starts_with(".SH") || *last == ".br");
        if line.is_empty() || [".br", ".PP"].contains(&line) && after_break {
            continue;
        }
        lines.push(line);
    }
    let mut page = lines.join("\n");
    page.push('\n');
    plain(&page)
}

/// Signs that not every terminal has.
fn plain(text: &str) -> String {
    text.replace('…', "...").replace('→', "->").replace(['“', '”'], "\"").replace('’', "'")
}

fn main(line: &Command) -> Result<String, Failure> {
    let man = Man::new(line.clone().disable_help_subcommand(true));
    let mut page = vec![];
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(".br\n\\fBswitchback\\fR \\fIMessageName\\fR \\fIkey\\fR=\\fIvalue\\fR ...\n");
    section(&mut page, "DESCRIPTION");
    for text in [
        "A control plane for virtual networks that remembers everything: every change is an event in one log, and what there is, now or \
         at any earlier moment, is folded from that log.",
        "Besides its commands the program sends any message of the catalogue, named as in ZStack's command line. Lists are written as a,b; \
         a value that begins with { or [ is JSON. Where a uuid is wanted, a name will do if exactly one thing has it: the program asks the \
         server once for each name and says on standard error what it stands for.",
        "The arguments of a query are conditions: a field, an operator (= != > >= < <= ?= !?= ~= !~= =null !=null) and a value. Fields of \
         what is related are reached by a path, such as vmNics.l3Network.name=web.",
        "Data goes to standard output, everything else to standard error.",
    ] {
        paragraph(&mut page, text);
    }
    let mut rest = vec![];
    man.render_options_section(&mut rest)?;
    man.render_subcommands_section(&mut rest)?;
    page.push_str(&String::from_utf8_lossy(&rest));
    section(&mut page, "MESSAGES");
    for message in messages().filter(|message| !message.internal) {
        item(&mut page, message.name, message.doc.trim());
    }
    exit_codes(&mut page);
    list(&mut page, "ENVIRONMENT", ENVIRONMENT);
    list(&mut page, "FILES", FILES);
    section(&mut page, "EXAMPLES");
    for line in [
        "switchback CreateL2VlanNetwork name=lan zoneUuid=east physicalInterface=eth0 vlan=10",
        "switchback CreateL3Network name=web l2NetworkUuid=lan --dry-run",
        "switchback QueryVirtualRouterVm vmNics.mac=fa:d9:af:a1:38:01",
        "switchback QueryVmInstance 'name~=web-%' fields=name,state --at '2h ago'",
        "switchback audit log --since 14:32 --principal admin",
    ] {
        example(&mut page, line);
    }
    see_also(&mut page, &["switchback-messages".to_string(), "switchback-CreateL3Network".to_string()]);
    Ok(tidy("SWITCHBACK", &page))
}

fn of_message(message: &Message) -> String {
    let mut page = String::new();
    section(&mut page, "NAME");
    let doc = message.doc.trim();
    let _ =
        writeln!(page, "{} \\- {}", escape(&format!("switchback-{}", message.name)), escape(doc.trim_end_matches('.')));
    section(&mut page, "SYNOPSIS");
    let _ = writeln!(page, ".nh\n.HP\n{}\n.hy", escape(&plain(&message::usage(message))));
    section(&mut page, "DESCRIPTION");
    paragraph(&mut page, doc);
    match message.kind {
        MessageKind::Query => fields(&mut page, message),
        _ => parameters(&mut page, message),
    }
    section(&mut page, "OPTIONS");
    let options: &[(&str, &str)] = match message.kind {
        MessageKind::Command => &[
            ("--dry-run", "Decide and show the events, change nothing."),
            ("--reason TEXT", "Why; kept with the events."),
            ("--idempotency-key KEY", "Names the command: the same key again gets the same answer."),
            ("--no-wait", "Do not wait until hosts and routers have it."),
        ],
        _ => &[("--at MOMENT", "As of an earlier moment: a position of the log, or a time: RFC 3339, 14:32, 2h ago.")],
    };
    for (name, help) in options.iter().chain(&[("-o FORMAT, --json", "table, json or yaml.")]) {
        item(&mut page, name, help);
    }
    section(&mut page, "EXAMPLES");
    example(&mut page, &sample(message));
    if message.kind == MessageKind::Command {
        example(&mut page, &format!("{} --dry-run", sample(message)));
    }
    exit_codes(&mut page);
    if !message.path.is_empty() {
        section(&mut page, "OVER HTTP");
        let ours = if message.kind == MessageKind::Command { "POST /v1/commands/" } else { "GET /v1/queries/" };
        paragraph(
            &mut page,
            &format!("{ours}{}; as in ZStack, {} /zstack/v1{}.", message.name, message.method, message.path),
        );
    }
    see_also(&mut page, &["switchback".to_string()]);
    tidy(message.name, &page)
}

fn parameters(page: &mut String, message: &Message) {
    let mut parameters = message::parameters(message);
    if parameters.is_empty() {
        return;
    }
    parameters.sort_by_key(|parameter| !parameter.required);
    section(page, "PARAMETERS");
    for parameter in parameters {
        let needed = if parameter.required { "Required; " } else { "Optional; " };
        let text = format!("{} {needed}{}.", parameter.doc.trim(), message::value(message, parameter));
        item(page, &format!("{}={}", parameter.api_name(), message::placeholder(message, parameter)), &text);
    }
}

fn fields(page: &mut String, message: &Message) {
    let Some(of) = kind(message.inventory) else { return };
    section(page, "FIELDS");
    let names: Vec<&str> = of.fields.iter().filter(|field| !field.hidden).map(|field| field.name).collect();
    paragraph(page, &format!("{}.", names.join(", ")));
    if !of.relations.is_empty() {
        section(page, "NESTED AND EXPANDED FIELDS");
        for relation in of.relations {
            item(page, &format!("{}.", relation.name), &format!("The fields of {}.", naming::words_of(&[relation.to])));
        }
    }
}

/// A line with a value for each parameter that must be given.
fn sample(message: &Message) -> String {
    let mut words = vec![format!("switchback {}", message.name)];
    if message.kind == MessageKind::Query {
        let field =
            kind(message.inventory).and_then(|of| of.field("name").or(of.fields.iter().find(|field| !field.hidden)));
        words.push(field.map_or(String::new(), |field| format!("{}=web limit=10", field.name)));
    }
    for parameter in message.parameters.iter().filter(|parameter| parameter.required) {
        let value = match parameter.check {
            Check::Uuid if message.kinds_of(parameter).is_empty() => "01a1ff4a36447b5496408f58d6824838".to_string(),
            Check::Enum(words) => words.first().copied().unwrap_or_default().to_string(),
            Check::Int(min, max) => 100.clamp(min, max).to_string(),
            Check::Bool => "true".to_string(),
            Check::Ip | Check::Ipv4 => "10.0.0.1".to_string(),
            Check::Services => "'{\"VirtualRouter\": [\"DHCP\", \"DNS\"]}'".to_string(),
            Check::Statements => "'[{\"effect\": \"Allow\", \"actions\": [\"read\"]}]'".to_string(),
            Check::Objects(_) => format!("'{}'", parameter.check.example("01a1ff4a36447b5496408f58d6824838")),
            Check::Password | Check::VmPassword => "-".to_string(),
            _ => "web".to_string(),
        };
        words.push(format!("{}={value}", parameter.api_name()));
    }
    words.join(" ").trim_end().to_string()
}

fn section(page: &mut String, title: &str) {
    let _ = writeln!(page, ".SH \"{title}\"");
}

fn paragraph(page: &mut String, text: &str) {
    let _ = writeln!(page, ".PP\n{}", escape(text));
}

fn item(page: &mut String, name: &str, text: &str) {
    let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escape(name), escape(text));
}

fn example(page: &mut String, line: &str) {
    let _ = writeln!(page, ".PP\n.nf\n.RS 4\n{}\n.RE\n.fi", escape(line));
}

fn list(page: &mut String, title: &str, items: &[(&str, &str)]) {
    section(page, title);
    for (name, text) in items {
        item(page, name, text);
    }
}

fn exit_codes(page: &mut String) {
    list(page, "EXIT STATUS", EXIT_CODES);
}

fn see_also(page: &mut String, names: &[String]) {
    section(page, "SEE ALSO");
    let names: Vec<String> = names.iter().map(|name| format!("\\fB{}\\fR(1)", escape(name))).collect();
    let _ = writeln!(page, "{}", names.join(", "));
}

/// Text as roff prints it.
fn escape(text: &str) -> String {
    let escaped = plain(text).replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    escaped
        .lines()
        .map(|line| if line.starts_with('.') { format!("\\&{line}") } else { line.to_string() })
        .collect::<Vec<_>>()
        .join("\n")
}
