//! The clients of docs/guides/bus.md: each by the server's own listener and through a NATS server, undisturbed and with
//! everything killed under it. They say the same each time. The page shows them word for word; `UPDATE_GOLDEN=1` writes it.

use super::harness::{Client, Site, Way, go, python, ways};
use std::{fs, path::Path, process::Command, thread};

const PAGE: &str = "docs/guides/bus.md";

/// The clients that can be run here.
fn clients(folder: &Path) -> Vec<(&'static str, Command)> {
    let python = python("docs/guides/bus/orchestrator.py").map(|command| ("Python", command));
    let go = go("docs/guides/bus/go", &["build"], folder).map(|command| ("Go", command));
    python.into_iter().chain(go).collect()
}

fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    again
}

/// What it did, and what it heard: steps, and events.
fn parted(said: &[String]) -> (Vec<&str>, Vec<&str>) {
    said.iter().map(String::as_str).partition(|line| !line.starts_with("event "))
}

/// With addresses, of which it has one or another, left out.
fn steps(said: &[String]) -> Vec<String> {
    let word = |word: &str| match word.trim_end_matches(',').parse::<std::net::Ipv4Addr>() {
        Ok(_) => "address".to_string(),
        Err(_) => word.to_string(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    parted(said).0.into_iter().map(line).collect()
}

/// What the client's own commands brought about, in order: what the server finds of itself comes when it comes.
fn events(said: &[String]) -> Vec<String> {
    let mut events = vec![];
    for line in parted(said).1 {
        let [_, _, kind, _, "by", command] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if !command.starts_with("Report") {
            events.push(format!("{kind} by {command}"));
        }
    }
    events
}

/// Every event once and in order, from the first.
fn assert_whole(who: &str, said: &[String]) {
    for (at, line) in parted(said).1.into_iter().enumerate() {
        assert_eq!(line.split(' ').nth(1), Some(&*(at + 1).to_string()), "{who}: {line}");
    }
}

/// Each client on each way, at the same time.
fn on_each_way<T: Send>(run: impl Fn(&str, Command, Way) -> T + Sync) -> Vec<(String, T)> {
    let folder = tempfile::tempdir().unwrap();
    let (clients, ways) = (clients(folder.path()), ways());
    thread::scope(|scope| {
        let mut runs = vec![];
        for (client, command) in &clients {
            for &way in &ways {
                let (who, command, run) = (format!("{client}, {way:?}"), again(command), &run);
                runs.push((who.clone(), scope.spawn(move || run(&who, command, way))));
            }
        }
        runs.into_iter().map(|(who, run)| (who, run.join().unwrap())).collect()
    })
}

#[test]
fn the_guides_clients_say_the_same_on_the_listener_and_through_a_nats_server() {
    let all = on_each_way(|who, command, way| {
        let site = Site::start(way);
        let said = site.client(again(&command)).end();
        assert_whole(who, &said);
        assert!(parted(&said).1.len() > 50, "{who}: {said:?}");
        // Once more: it is all there, and nothing happens.
        let second = site.client(command).end();
        assert!(steps(&second).iter().all(|step| !step.contains("made")), "{who}: {second:?}");
        assert!(events(&second).is_empty(), "{who}: {second:?}");
        said
    });
    for (who, said) in &all {
        assert_eq!(steps(said), steps(&all[0].1), "{who} and {}", all[0].0);
        assert_eq!(events(said), events(&all[0].1), "{who} and {}", all[0].0);
        let last = steps(said).pop().unwrap();
        assert_eq!(last, "web-1-eip: address leads to address and its router has it", "{who}");
    }
}

#[test]
fn the_guides_clients_go_on_where_they_were_after_everything_was_killed() {
    let all = on_each_way(|who, mut command, way| {
        let mut site = Site::start(way);
        command.arg("--follow");
        let mut client = site.client(command);
        for step in ["public-range: made", "small-router: made", "web-1: 2 nics"] {
            client.until(step, |line| line.starts_with(step));
            site.kill();
            site.begin();
        }
        client.until("that it is done", |line| line.ends_with("and its router has it"));
        let heard = |client: &Client| client.said.iter().any(|line| line.contains("eip.Attached"));
        if !heard(&client) {
            client.until("the last event", |line| line.contains("eip.Attached"));
        }
        let said = client.kill();
        assert_whole(who, &said);
        (steps(&said), events(&said))
    });
    for (who, said) in &all {
        assert_eq!(said, &all[0].1, "{who} and {}", all[0].0);
    }
}

#[test]
fn the_guide_shows_its_clients_word_for_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    let mut shown = String::new();
    let mut files = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        shown += &format!("{line}\n");
        let Some(file) = line.strip_prefix("<!-- word for word: ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let text = fs::read_to_string(root.join(PAGE).with_file_name(file)).unwrap();
        let fence = lines.next().unwrap();
        shown += &format!("{fence}\n{text}```\n");
        lines.find(|line| *line == "```").expect("the end of what is shown");
        files += 1;
    }
    assert_eq!(files, 2, "a client in Python and one in Go");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(root.join(PAGE), &shown).unwrap();
    }
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    assert!(page == shown, "{PAGE} does not show its clients as they are: UPDATE_GOLDEN=1 writes it again");
}
