//! The guides' sessions are real: every line after `$` is run in bash against a server, and what the page shows below it is what it
//! says, but for uuids, times, addresses and the like. `UPDATE_GOLDEN=1` writes what it says into the pages.

use crate::harness::Server;
use std::{collections::HashMap, fmt::Write, fs, path::Path};

/// How the pages call the server.
const ADDRESS: &str = "127.0.0.1:8080";

#[test]
fn the_session_on_the_command_line_goes_as_printed() {
    holds("docs/guides/command-line.md");
}

#[test]
fn the_session_over_http_goes_as_printed() {
    holds("docs/guides/http-api.md");
}

#[test]
fn the_session_with_roles_goes_as_printed() {
    holds("docs/guides/roles.md");
}

#[test]
fn the_session_about_a_packet_goes_as_printed() {
    holds("docs/guides/explain.md");
}

/// One line of a session, and what the page shows below it.
struct Step {
    /// Where it stands in the page.
    line: usize,
    command: String,
    shown: Vec<String>,
}

fn holds(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 10, "{page} has a session");
    let server = Server::start();
    let mut script = "exec 2>&1\nunset SWITCHBACK_TOKEN\n".to_string();
    for step in steps.iter().filter(|step| runs(step)) {
        let command = step.command.replace(ADDRESS, &server.address);
        // What follows may ask for its code.
        let _ = writeln!(script, "{command}\ncode=$?; printf '\\n@@@ {}\\n'; (exit $code)", step.line);
    }
    let done = server.bash(&script);
    let said =
        String::from_utf8(done.stdout).unwrap().replace(&server.address, ADDRESS).replace(&server.token, "$token");
    let mut answers: HashMap<usize, Vec<String>> = HashMap::new();
    let mut lines = vec![];
    for line in said.lines() {
        match line.strip_prefix("@@@ ") {
            Some(at) => {
                let mut lines: Vec<String> = std::mem::take(&mut lines);
                while lines.last().is_some_and(String::is_empty) {
                    lines.pop();
                }
                answers.insert(at.parse().unwrap(), lines);
            }
            None => lines.push(line.trim_end().to_string()),
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, written(&text, &steps, &answers)).unwrap();
        return;
    }
    for step in steps.iter().filter(|step| runs(step)) {
        let answer = answers.get(&step.line).unwrap_or_else(|| panic!("{page}:{}: did not end: {said}", step.line));
        assert_eq!(alike(answer), alike(&step.shown), "{page}:{}: {}", step.line, step.command);
    }
}

/// The server of the session is there already.
fn runs(step: &Step) -> bool {
    !step.command.starts_with("switchback serve")
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![];
    let mut inside = false;
    for (line, text) in text.lines().enumerate() {
        if text.starts_with("```") {
            inside = text == "```console";
        } else if !inside {
        } else if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step { line, command: command.to_string(), shown: vec![] });
        } else if let (Some(more), Some(step)) = (text.strip_prefix("> "), steps.last_mut()) {
            step.command += &format!("\n{more}");
        } else if let Some(step) = steps.last_mut() {
            step.shown.push(text.to_string());
        }
    }
    steps
}

fn written(text: &str, steps: &[Step], answers: &HashMap<usize, Vec<String>>) -> String {
    let mut page = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((line, text)) = lines.next() {
        let _ = writeln!(page, "{text}");
        let Some(step) = steps.iter().find(|step| step.line == line).filter(|step| runs(step)) else { continue };
        for _ in 1..step.command.lines().count() {
            let _ = writeln!(page, "{}", lines.next().unwrap().1);
        }
        for _ in &step.shown {
            lines.next();
        }
        for line in &answers[&line] {
            let _ = writeln!(page, "{line}");
        }
    }
    page
}

/// Lines with what differs from run to run made alike: uuids by the order in which they come.
fn alike(lines: &[String]) -> Vec<String> {
    let mut uuids = vec![];
    let mut line = |text: &String| {
        let spaced: String = text.chars().map(|c| if "\"{}[](),=/`".contains(c) { ' ' } else { c }).collect();
        let mut before = "";
        let mut words = vec![];
        for (at, word) in spaced.split_whitespace().enumerate() {
            let word = word.trim_matches(':');
            let is_number = word.bytes().all(|c| c.is_ascii_digit()) && !word.is_empty();
            let is_hex = word.bytes().all(|c| c.is_ascii_hexdigit());
            let is_time = word.len() >= 8 && word.bytes().all(|c| c.is_ascii_digit() || b"-:.TZ".contains(&c));
            words.push(match word {
                _ if is_number && (at == 0 || before == "position") => "N".to_string(),
                // Drawn: two nics may get MACs of the same block.
                _ if is_hex && before == "mac_block" => "block".to_string(),
                _ if is_hex && word.len() == 32 => {
                    let known = uuids.iter().position(|uuid| uuid == word).unwrap_or_else(|| {
                        uuids.push(word.to_string());
                        uuids.len() - 1
                    });
                    format!("uuid-{known}")
                }
                _ if is_hex && word.len() > 32 => "digest".to_string(),
                _ if word.parse::<std::net::IpAddr>().is_ok() => "address".to_string(),
                _ if word.len() == 17 && word.split(':').count() == 6 => "mac".to_string(),
                _ if is_time && !is_number => "time".to_string(),
                _ if word.starts_with("vrouter.") => "vrouter".to_string(),
                _ => word.to_string(),
            });
            before = word;
        }
        words.join(" ")
    };
    lines.iter().map(&mut line).filter(|line| !line.is_empty()).collect()
}
