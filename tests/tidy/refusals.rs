//! Every place in the sources where a refusal is made: the page that lists them, and, after a run of all tests that
//! noted where they came (`bus/src/reached.rs`), the places that no test reaches.

use super::read;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

const PAGE_HEAD: &str = "# Errors

<!-- Made from the sources by tests/tidy/refusals.rs: UPDATE_GOLDEN=1 cargo test --test tidy -->

Every place where the product says no: the code, the words of the message, with what is filled in as ‹name› or …, and the
source file. What codes and kinds mean, and how they are answered, is in [refusals](refusals.md). `./test.sh` fails when one
of them is reached by no test, but for those of the [second table](#not-provoked-by-tests).

";
const FAULTS_HEAD: &str = "
## Not provoked by tests

Faults of the machine or of ours, which nobody can bring about from outside.

| source | message | why |
|---|---|---|
";
/// Where refusals are made.
const SOURCES: [&str; 5] = ["actors/src", "bus/src", "bus/nats/src", "gateway/src", "src"];
/// The constructors, with the code of each that has its own.
const CONSTRUCTORS: [(&str, &str); 8] = [
    ("new", ""),
    ("conflict", ""),
    ("argument", "ARGUMENT"),
    ("missing", "ARGUMENT"),
    ("operation", "OPERATION"),
    ("not_found", "NOT_FOUND"),
    ("not_supported", "NOT_SUPPORTED"),
    ("internal", "INTERNAL"),
];
/// What no test provokes: the file, how the message begins, and why.
const FAULTS: &[(&str, &str, &str)] = &[
    ("actors/src/entity.rs", "too many commands change the same", "only when a command loses 64 races in a row"),
    ("actors/src/load_balancer.rs", "read what a listener is told", "the name of a command chooses what it is read as"),
    ("actors/src/mac_block.rs", "cannot find a free MAC", "only when 16 random addresses of 2^32 are all in use"),
    ("actors/src/router/nics.rs", "vmNicUuid = `…`: there is no such nic", "who has a nic is looked up by the nic"),
    ("actors/src/states.rs", "replay ‹stream›", "the disk fails while the log is read"),
    ("actors/src/states.rs", "‹stream› has a state of another kind", "a stream's kind chooses its state"),
    ("bus/src/catalogue.rs", "the parameters cannot be read", "the checks in front of it let nothing else through"),
    ("bus/nats/src/listener/hub.rs", "the read of events is another one", "its name chooses it"),
    ("bus/nats/src/replay.rs", "the read of events is another one", "its name chooses it"),
    ("gateway/src/events.rs", "the read of events is another one", "its name chooses it"),
    ("gateway/src/parameters.rs", "query string", "the decoder of the HTTP library takes every text"),
    ("src/node/at_rest.rs", "fold the log", "the disk fails while the log is read"),
    ("src/node/events.rs", "copy the log", "the disk fails while the log is read"),
    ("src/node/history.rs", "read the log", "the disk fails while the log is read"),
    ("src/node/history.rs", "explain a packet: ‹error›", "only when a thread of ours panics"),
    ("src/node/history.rs", "run the query: ‹error›", "only when a thread of ours panics"),
    ("src/node/history.rs", "verify the log: ‹error›", "only when a thread of ours panics"),
    ("src/node/secrets.rs", "make a hash of the password", "only when a thread of ours panics"),
    ("src/node/secrets.rs", "seal a secret", "the cipher seals every text that short"),
    ("src/node/reads.rs", "‹lost.0›", "the disk fails while a read waits for it"),
    ("src/node/replay.rs", "fold the log again", "no room for temporary files, or the disk fails"),
    ("src/node/replay.rs", "show a state as JSON", "every state has a form in JSON"),
];

/// One place where a refusal is made.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    code: String,
    message: String,
    file: String,
    line: usize,
}

impl Site {
    fn is(&self, (file, start, _): &(&str, &str, &str)) -> bool {
        self.file == *file && self.message.starts_with(start)
    }
}

/// The page of all refusals.
pub fn page() -> String {
    let mut page = format!("{PAGE_HEAD}| code | message | source |\n|---|---|---|\n");
    let sites = sites();
    for fault in FAULTS {
        assert!(sites.iter().any(|site| site.is(fault)), "{fault:?} is in FAULTS, but not in the sources");
    }
    let rows = sites.into_iter().map(|site| (site.code, site.message, site.file));
    for (code, message, file) in rows.collect::<BTreeSet<_>>() {
        writeln!(page, "| `{code}` | {} | `{file}` |", message.replace('|', "\\|")).unwrap();
    }
    page.push_str(FAULTS_HEAD);
    for (file, message, why) in FAULTS {
        writeln!(page, "| `{file}` | {message} | {why} |").unwrap();
    }
    page
}

#[test]
#[ignore = "needs the notes of a run of all tests: ./test.sh asks it last"]
fn every_refusal_is_reached_by_a_test() {
    let folder = std::env::var_os("SWITCHBACK_REFUSALS").expect("SWITCHBACK_REFUSALS names the notes of the tests");
    let notes = fs::read_dir(&folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let reached: BTreeSet<String> =
        notes.flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>()).collect();
    let sites = sites();
    let mut faults = Vec::new();
    for site in sites.iter().filter(|site| !FAULTS.iter().any(|fault| site.is(fault))) {
        let place = format!("{}:{}", site.file, site.line);
        if !reached.contains(&place) {
            faults.push(format!("{place}: no test reaches {}: {}", site.code, site.message));
        }
    }
    super::all_well(faults);
}

fn sites() -> Vec<Site> {
    let constants = read("bus/src/refusal.rs");
    let constants = constants.lines().filter_map(|line| line.trim().strip_prefix("pub const "));
    let codes: BTreeMap<&str, &str> =
        constants.filter_map(|line| Some((line.split(':').next()?, line.split('"').nth(1)?))).collect();
    let mut found = Vec::new();
    for path in super::files("rs") {
        let product = SOURCES.iter().any(|folder| path.starts_with(folder));
        if product
            && path != Path::new("bus/src/refusal.rs")
            && !path.components().any(|part| part.as_os_str() == "tests")
        {
            let text = read(&path);
            let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
            sites_in(&path, product, &codes, &mut found);
        }
    }
    assert!(found.len() > 100, "the sources are read");
    found.sort();
    found
}

fn sites_in(path: &Path, text: &str, codes: &BTreeMap<&str, &str>, found: &mut Vec<Site>) {
    const CALL: &str = "Refusal::";
    for (at, _) in text.match_indices(CALL) {
        let (before, rest) = (&text[..at], &text[at + CALL.len()..]);
        let name = &rest[..rest.find(|letter: char| letter != '_' && !letter.is_alphanumeric()).unwrap_or(0)];
        let Some((_, code)) = CONSTRUCTORS.iter().find(|(known, _)| *known == name) else { continue };
        let line = before.matches('\n').count() + 1;
        if before.lines().last().is_some_and(|line| line.trim_start().starts_with("//")) {
            continue;
        }
        let inside = rest[name.len()..].strip_prefix('(');
        let arguments = arguments(inside.unwrap_or_else(|| panic!("{}:{line}: call Refusal::{name}", path.display())));
        let (code, message) = match name {
            "new" => (arguments[1].as_str(), &arguments[2..]),
            "conflict" => (arguments[0].as_str(), &arguments[1..]),
            _ => (*code, &arguments[..]),
        };
        let code = code.rsplit("::").next().unwrap();
        let code = codes.get(code).map_or_else(|| format!("‹{code}›"), |code| code.to_string());
        let words: Vec<String> = message.iter().map(|argument| words(&last_set(argument, before))).collect();
        let message = match name {
            "argument" => format!("{} = `…`: {}", words[0], words[2]),
            "missing" => format!("{} is missing: {}", words[0], words[1]),
            "not_found" => format!("{} = `…`: there is no such {}", words[0], words[1]),
            "not_supported" => format!("{} is not supported yet", words[0]),
            _ => words[0].clone(),
        };
        for message in called(message, text, at) {
            found.push(Site { code: code.clone(), message, file: path.display().to_string(), line });
        }
    }
}

/// The message; where a function or closure around it fills a word in, the message of each call with a literal.
fn called(message: String, text: &str, at: usize) -> Vec<String> {
    let before = &text[..at];
    let closure = before.rfind(" = |").map(|bar| (bar, before[..bar].rsplit(' ').next().unwrap(), bar + 4));
    let function = before.rfind("fn ").and_then(|start| {
        let name = before[start + 3..].split(['(', '<']).next()?;
        Some((start, name, start + before[start..].find('(')? + 1))
    });
    let Some((start, name, open)) = closure.max(function) else { return vec![message] };
    let parameters = arguments(&text[open..].replacen('|', ")", 1));
    let parameters = parameters.iter().map(|parameter| parameter.split(':').next().unwrap().trim_start_matches('&'));
    let parameters: Vec<String> = parameters.filter(|name| *name != "self").map(|name| format!("‹{name}›")).collect();
    let Some(filled) = parameters.iter().position(|name| message.contains(name)) else { return vec![message] };
    // A closure is called behind it, in its function; a function everywhere in its file, and perhaps in others.
    let (scope, elsewhere) = match closure > function {
        true => (&text[at..at + text[at..].find("\n}\n").unwrap_or(0)], false),
        false => (text, before[..start].ends_with("pub ") || before[..start].ends_with(") ")),
    };
    let mut messages = if elsewhere { vec![message.clone()] } else { vec![] };
    for (found, call) in scope.match_indices(&format!("{name}(")) {
        let itself = scope[..found].ends_with(|letter: char| letter == '_' || letter.is_alphanumeric())
            || scope[..found].ends_with("fn ");
        match arguments(&scope[found + call.len()..]).get(filled).filter(|_| !itself) {
            Some(literal) if literal.contains('"') => {
                messages.push(message.replace(&parameters[filled], &words(literal)));
            }
            Some(_) => messages.push(message.clone()),
            None => {}
        }
    }
    if messages.is_empty() { vec![message] } else { messages }
}

/// What a variable was set to last in its function, else the argument itself.
fn last_set(argument: &str, before: &str) -> String {
    let name = argument.trim_start_matches('&');
    let set = format!("let {name} =");
    let function = before.rfind("\n}\n").unwrap_or(0);
    match before[function..].rfind(&set) {
        Some(at) => arguments(&before[function + at + set.len()..]).swap_remove(0),
        None => argument.to_string(),
    }
}

/// The arguments of a call whose bracket has just been opened.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut arguments = vec![String::new()];
    for letter in text.chars() {
        if quoted {
            quoted = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
        } else {
            match letter {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' | ';' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        arguments.last_mut().unwrap().push(letter);
    }
    let arguments = arguments.iter().map(|argument| argument.split_whitespace().collect::<Vec<_>>().join(" "));
    arguments.filter(|argument| !argument.is_empty()).collect()
}

/// What an argument says: the text of its literals, else how it is called.
fn words(argument: &str) -> String {
    let argument = argument.trim_start_matches('&');
    if !argument.contains('"') {
        let plain = argument.chars().all(|letter| letter.is_alphanumeric() || "_.:".contains(letter));
        return if plain { format!("‹{argument}›") } else { "…".to_string() };
    }
    let mut words = String::new();
    let literal = argument.strip_prefix("format!(").unwrap_or(argument);
    let mut letters = literal[literal.find('"').unwrap() + 1..].chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => words.extend(letters.next().filter(|next| !next.is_whitespace())),
            '{' => {
                let name: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                match name.split(':').next().unwrap() {
                    "" => words.push('…'),
                    name => write!(words, "‹{name}›").unwrap(),
                }
            }
            letter => words.push(letter),
        }
    }
    // Of a choice all.
    match letters.as_str() {
        rest if rest.contains('"') && !argument.starts_with("format!") => format!("{words} / {}", self::words(rest)),
        _ => words,
    }
}
