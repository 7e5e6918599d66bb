//! The binary's copies of a log, of a server and of a directory at rest: exports, backups, anchors, the doctor.

use crate::harness::{ALL_SERVICES, Site, World, uuid};
use crate::history::files;
use crate::program::{Program, Served};
use serde_json::{Value, json};
use std::{fs, path::Path};
use switchback_journal::{Frame, FrameStore, SledStore};

/// A data directory with a small data centre in its log, which is closed.
async fn filled(directory: &Path, sealed: bool) {
    let world = World::open(directory);
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let vm = site.vm("web-1", &l3).await;
    if sealed {
        let head = world.node.journal().durable();
        world.node.journal().seal(head).unwrap();
        world.done("UpdateVmInstance", json!({"uuid": uuid(&vm), "description": "after the seal"})).await;
    }
    drop(site);
    world.close();
}

fn head(reply: &Value) -> (u64, String) {
    (reply["position"].as_u64().unwrap(), reply["hash"].as_str().unwrap().to_string())
}

#[actix_rt::test]
async fn an_export_becomes_the_same_log_again() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    filled(&at("data"), true).await;
    let program = Program::in_directory(home.path());
    let at_rest = program.json(&["audit", "head", "--data", "data"]);
    program.ok(&["audit", "export", "at-rest.jsonl", "--data", "data"]);
    let served = Served::start(&program, "data");
    served.ok(&["audit", "export", "online.jsonl"]);
    let text = fs::read_to_string(at("at-rest.jsonl")).unwrap();
    let online = fs::read_to_string(at("online.jsonl")).unwrap();
    assert!(online.starts_with(&text));
    assert!(served.ok(&["audit", "export"]).starts_with(&online));
    let (position, _) = head(&at_rest);
    assert_eq!(text.lines().count() as u64, position);
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for attribute in ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"] {
        assert!(!line[attribute].is_null(), "{attribute} is missing in {line}");
    }

    let made = program.json(&["audit", "import", "at-rest.jsonl", "--data", "new"]);
    assert_eq!(head(&made), head(&at_rest));
    assert_eq!(head(&program.json(&["audit", "verify", "--data", "new"])), head(&at_rest));
    assert_eq!(program.ok(&["audit", "export", "--data", "new"]), text);

    // What is there already stays, and what is refused leaves nothing.
    assert!(program.refused(&["audit", "import", "at-rest.jsonl", "--data", "new"], 1).contains("holds a log already"));
    assert!(program.refused(&["audit", "export", "online.jsonl", "--data", "new"], 2).contains("is there already"));
    let edited = text.replacen("\"principal\":\"admin\"", "\"principal\":\"nobody\"", 1);
    let number = 1 + text.lines().position(|line| line.contains("\"principal\":\"admin\"")).unwrap();
    fs::write(at("edited.jsonl"), edited).unwrap();
    let said = program.refused(&["audit", "import", "edited.jsonl", "--data", "edited"], 1);
    assert!(said.contains(&format!("line {number}: ")) && said.contains("`principal` was changed"), "{said}");
    let cut = text.rsplit_once("\n{").unwrap().0;
    fs::write(at("cut.jsonl"), format!("{cut}\n{{\"specversion\":")).unwrap();
    assert!(
        program.refused(&["audit", "import", "cut.jsonl", "--data", "edited"], 1).contains(&format!("line {position}"))
    );
    assert!(!at("edited/journal").exists() && !at("edited/journal.draft").exists());
}

#[actix_rt::test]
async fn a_backup_of_a_running_server_is_continued_and_restored() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let program = Program::in_directory(home.path());
    let served = Served::start(&program, "data");
    served.ok(&["CreateZone", "name=one"]);
    assert_eq!(served.json(&["backup", "all"])["kind"], "full");
    let first = served.json(&["audit", "head"]);
    let once = ["CreateZone", "name=two", "--idempotency-key", "once"];
    let two = served.json(&once);
    let next = served.json(&["backup", "all", "--keys", "data"]);
    assert_eq!((&next["kind"], &next["events"]), (&json!("incremental"), &json!(1)));
    assert_eq!(served.json(&["backup", "all"])["events"], 0);
    served.ok(&["CreateZone", "name=three"]);
    served.json(&["backup", "rest", "--base", "all"]);
    let last = served.json(&["audit", "head"]);
    for (line, said) in [
        (&["doctor", "--data", "data", "--rebuild"][..], "is in use"),
        (&["backup", "x", "--data", "data"], "is in use"),
        (&["restore", "all", "--data", "data"], "holds a log already"),
        (&["restore", "rest", "--data", "x"], "in none of the backups"),
        (&["restore", "nowhere", "--data", "x"], "nowhere"),
        (&["restore", "all", "--data", "x", "--to", "2020-01-01T00:00:00Z"], "nothing up to that moment"),
    ] {
        assert!(program.refused(line, 1).contains(said), "{line:?}");
    }
    assert!(program.ok(&["doctor", "--data", "data"]).contains("is in use"));
    let other = Served::start(&program, "other");
    assert!(other.refused(&["backup", "all"], 3).contains("the head of the log"), "a shorter log");
    for name in ["a", "b", "c", "d"] {
        other.ok(&["CreateZone", &format!("name={name}")]);
    }
    assert!(other.refused(&["backup", "all"], 1).contains("has other events"), "another log");
    drop((served, other));

    assert_eq!(head(&program.json(&["restore", "rest", "all", "--data", "back"])), head(&last));
    let token = |data: &str| fs::read_to_string(at(data).join("admin.token")).unwrap();
    assert_eq!(token("back"), token("data"));
    let to = first["position"].to_string();
    assert_eq!(head(&program.json(&["restore", "all", "--data", "then", "--to", &to])), head(&first));
    let time = first["time"].as_str().unwrap();
    assert_eq!(head(&program.json(&["restore", "all", "rest", "--data", "at-time", "--to", time])), head(&first));
    let served = Served::start(&program, "back");
    assert_eq!(served.json(&["QueryZone", "sort=+name"])["inventories"].as_array().unwrap().len(), 3);
    // What was done before is known again.
    assert_eq!(served.json(&once)["position"], two["position"]);
    assert!(served.refused(&["CreateZone", "name=2", "--idempotency-key", "once"], 4).contains("another body"));
    served.ok(&["CreateZone", "name=four"]);
    served.ok(&["audit", "verify"]);
}

#[actix_rt::test]
async fn a_log_that_does_not_hold_the_anchor_is_found() {
    let home = tempfile::tempdir().unwrap();
    let program = Program::in_directory(home.path());
    let served = Served::start(&program, "data");
    served.ok(&["CreateZone", "name=one"]);
    let anchor = served.json(&["audit", "head"]);
    for member in ["position", "hash", "at", "time", "signature", "publicKey"] {
        assert!(!anchor[member].is_null(), "{member} is missing in {anchor}");
    }
    let keep = |name: &str, anchor: &Value| fs::write(home.path().join(name), anchor.to_string()).unwrap();
    keep("anchor.json", &anchor);
    served.ok(&["backup", "all"]);
    served.ok(&["CreateZone", "name=two"]);
    let later = served.json(&["audit", "head"]);
    keep("later.json", &later);
    for anchor in ["anchor.json", "later.json"] {
        assert_eq!(served.json(&["audit", "verify", "--anchor", anchor])["ok"], true);
    }
    let mut forged = anchor.clone();
    forged["position"] = json!(1);
    keep("forged.json", &forged);
    assert!(served.refused(&["audit", "verify", "--anchor", "forged.json"], 1).contains("signature does not hold"));
    let other = Served::start(&program, "other");
    other.ok(&["CreateZone", "name=other"]);
    let said = other.refused(&["audit", "verify", "--anchor", "anchor.json"], 1);
    assert!(said.contains(&format!("position {}:", anchor["position"])), "{said}");
    keep("none.json", &json!({"position": 1}));
    assert!(other.refused(&["audit", "verify", "--anchor", "none.json"], 3).contains("`at` is missing"));
    drop((served, other));

    assert_eq!(program.json(&["audit", "verify", "--data", "data", "--anchor", "later.json"])["ok"], true);
    program.ok(&["restore", "all", "--data", "cut"]);
    assert_eq!(program.json(&["audit", "verify", "--data", "cut", "--anchor", "anchor.json"])["ok"], true);
    let said = program.refused(&["audit", "verify", "--data", "cut", "--anchor", "later.json"], 1);
    assert!(said.contains(&format!("tells of position {}", later["position"])), "{said}");
}

#[actix_rt::test]
async fn all_that_reads_a_directory_at_rest_reads_what_is_sealed() {
    let home = tempfile::tempdir().unwrap();
    filled(&home.path().join("plain"), false).await;
    let program = Program::in_directory(home.path());
    program.ok(&["backup", "all", "--data", "plain"]);
    program.ok(&["restore", "all", "--data", "sealed"]);
    let store = SledStore::open(home.path().join("sealed/journal")).unwrap();
    let middle = store.head().unwrap() / 2;
    assert!(store.seal(middle).unwrap() > 0);
    drop(store);
    program.ok(&["doctor", "--data", "plain", "--rebuild"]);
    let found = program.ok(&["doctor", "--data", "sealed", "--rebuild"]);
    assert!(found.contains("1 segment, "), "{found}");
    let vm = &program.json(&["audit", "log", "--kind", "vm_instance.Created", "--data", "plain"])["events"][0];
    let (uuid, position) = (vm["streamId"].as_str().unwrap(), vm["position"].to_string());
    let ip = vm["payload"]["nics"][0]["addresses"][0]["ip"].as_str().unwrap();
    let before = files(&home.path().join("sealed"));
    for line in [
        &["audit", "log"][..],
        &["audit", "log", "--resource", uuid],
        &["audit", "log", "--newest", "--limit", "3"],
        &["audit", "show", &position],
        &["audit", "show", "1"],
        &["audit", "diff", "--from", "1"],
        &["audit", "diff", "--from", "10", "--resource", uuid],
        &["audit", "replay"],
        &["audit", "replay", "--resource", uuid],
        &["audit", "holder", ip],
        &["audit", "verify"],
        &["audit", "export"],
    ] {
        let of = |data: &'static str| {
            let out = program.ok(&[line, &["--json", "--data", data]].concat());
            if line[1] == "export" { json!(out) } else { serde_json::from_str(&out).unwrap() }
        };
        assert_eq!(of("sealed"), of("plain"), "{line:?}");
    }
    assert!(files(&home.path().join("sealed")) == before, "the directory was changed");
}

/// The same frames, the schema version of the last event raised to 9 and the chain made right again.
fn of_tomorrow(frames: Vec<Frame>) -> Vec<Frame> {
    use sha2::{Digest, Sha256};
    let last = frames.len() - 1;
    let mut frames = frames;
    let previous: [u8; 32] = frames[last - 1].bytes[9..41].try_into().unwrap();
    let frame = &mut frames[last];
    let version = frame.bytes.windows(3).rposition(|window| window == [0xa1, b'z', 1]).unwrap();
    frame.bytes[version + 2] = 9;
    let chain: [u8; 32] = Sha256::new().chain_update(previous).chain_update(&frame.bytes[41..]).finalize().into();
    frame.bytes[9..41].copy_from_slice(&chain);
    let crc = crc32fast::hash(&frame.bytes[9..]);
    frame.bytes[5..9].copy_from_slice(&crc.to_le_bytes());
    frames
}

#[actix_rt::test]
async fn a_log_of_a_later_version_stops_the_server_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let program = Program::in_directory(home.path());
    {
        let world = World::open(&home.path().join("data"));
        // Each in a frame of its own.
        for name in ["one", "two", "three"] {
            world.durable("CreateZone", json!({"name": name})).await;
        }
        world.close();
    }
    let old = SledStore::open(home.path().join("data/journal")).unwrap();
    let frames = of_tomorrow(old.read_from(0, 1000).unwrap());
    fs::create_dir(home.path().join("new")).unwrap();
    let new = SledStore::open(home.path().join("new/journal")).unwrap();
    new.append(0, &frames).unwrap();
    let position = new.head().unwrap();
    drop((old, new));
    let expected = format!("position {position}");
    for line in [
        &["serve", "--simulate", "--listen", "127.0.0.1:0", "--data", "new"][..],
        &["audit", "verify", "--data", "new"],
        &["audit", "log", "--data", "new"],
        &["doctor", "--data", "new"],
    ] {
        let said = program.refused(line, 1);
        assert!(said.contains(&expected) && said.contains("schema version 9"), "{line:?}: {said}");
        assert!(said.contains("use a newer one"), "{line:?}: {said}");
    }
}
