//! The command line from its words to its exit code, against the real gateway before a bus that the test fills.

mod config;
mod fake;
mod tls;

use crate::{client::Environment, output::Output, run};
use fake::Server;
use serde_json::{Value, json};
use std::ffi::OsString;
use switchback_bus::{Blocker, Refusal, RefusalKind};
use switchback_events::{Id, Origin};

const ROUTER: &str = "0123456789abcdef0123456789abcdef";

struct Done {
    code: String,
    stdout: String,
    stderr: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

fn switchback(environment: &Environment, line: &[&str]) -> Done {
    let words = std::iter::once("switchback").chain(line.iter().copied()).map(OsString::from).collect();
    let (mut stdout, mut stderr) = (vec![], vec![]);
    let code = run(words, environment, &mut Output::new(&mut stdout, &mut stderr, Some(160)));
    // An exit code shows what it is in no other way.
    let code = format!("{code:?}").chars().filter(char::is_ascii_digit).collect();
    Done { code, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
}

#[test]
fn the_line_is_a_sound_one() {
    crate::line().debug_assert();
}

#[test]
fn a_command_goes_out_with_its_flags_wherever_they_stand() {
    let server = Server::start();
    let lines: [&[&str]; 3] = [
        &[
            "--dry-run",
            "--reason",
            "größer",
            "--idempotency-key",
            "k",
            "--no-wait",
            "createzone",
            "name=z",
            "-o",
            "json",
        ],
        &["CreateZone", "--dry-run", "name=z", "--reason=größer", "--json", "--idempotency-key=k", "--no-wait"],
        &[
            "-o",
            "yaml",
            "CreateZone",
            "name=z",
            "--reason",
            "größer",
            "--dry-run",
            "--no-wait",
            "--json",
            "--idempotency-key",
            "k",
        ],
    ];
    for line in lines {
        let done = switchback(&server.environment, line);
        assert_eq!(done.code, "0", "{}", done.stderr);
        assert_eq!(done.json()["position"], 7);
        let asked = server.bus.commands.lock().unwrap().pop().unwrap();
        assert_eq!(asked.parameters, json!({"name": "z"}));
        assert_eq!((asked.name.as_str(), asked.origin, asked.dry_run), ("CreateZone", Origin::Cli, true));
        assert_eq!(asked.reason.as_deref(), Some("größer"));
        assert_eq!(asked.command_id.unwrap().0, Id::of_name("k"));
        assert_eq!(asked.wait, switchback_bus::Wait::Durable);
    }
}

#[test]
fn a_command_shows_what_it_made_and_waits_until_reads_show_it_too() {
    let server = Server::start();
    let done = switchback(&server.environment, &["CreateZone", "name=z"]);
    assert_eq!(done.stdout, format!("uuid   {ROUTER}\nname   z\nstate  Enabled\n"));
    assert!(done.stderr.contains(&format!("7 zone.Created zone/{ROUTER}")), "{}", done.stderr);
    assert_eq!(server.bus.queries.lock().unwrap()[0].min_position, Some(7));
}

#[test]
fn a_query_is_a_table_with_its_count_on_the_side() {
    let server = Server::start();
    let done = switchback(&server.environment, &["--at", "12", "QueryVirtualRouterVm", "vmNics.mac=fa:01", "limit=1"]);
    let expected =
        format!("uuid                              name  state    vmNics.ip\n{ROUTER}  edge  Running  10.0.0.1\n");
    assert_eq!(done.stdout, expected);
    assert_eq!(done.stderr, "1 row\nhint: more with start=1\n");
    let asked = server.bus.queries.lock().unwrap().pop().unwrap();
    assert_eq!(
        (asked.q, asked.limit, asked.at.as_deref()),
        (vec!["vmNics.mac=fa:01".to_string()], Some(1), Some("12"))
    );

    let fields = switchback(&server.environment, &["QueryVirtualRouterVm", "fields=state"]);
    assert_eq!(fields.stdout, "state\nRunning\n");
    let yaml = switchback(&server.environment, &["QueryVirtualRouterVm", "-o", "yaml"]);
    assert!(yaml.stdout.contains("  - name: edge\n    state: Running\n"), "{}", yaml.stdout);
    let json = switchback(&server.environment, &["QueryVirtualRouterVm", "--json"]);
    assert_eq!(json.json()["inventories"][0]["uuid"], ROUTER);
}

#[test]
fn every_refusal_has_its_exit_code_and_its_words() {
    let server = Server::start();
    let cases = [
        (RefusalKind::Invalid, "3"),
        (RefusalKind::NotFound, "5"),
        (RefusalKind::Conflict, "4"),
        (RefusalKind::Unauthenticated, "6"),
        (RefusalKind::Forbidden, "6"),
        (RefusalKind::StaleVersion, "4"),
        (RefusalKind::OtherBody, "4"),
        (RefusalKind::Busy, "1"),
        (RefusalKind::Timeout, "7"),
        (RefusalKind::Backend, "1"),
        (RefusalKind::ReadOnly, "1"),
        (RefusalKind::NotSupported, "1"),
        (RefusalKind::Internal, "1"),
    ];
    for (kind, code) in cases {
        let blocker = Blocker { resource_type: "cluster".to_string(), uuid: Id::NIL, name: "c\u{1b}[2J".to_string() };
        let mut refusal = Refusal::new(kind, "SYS.9", "because").hint("do this").blockers(vec![blocker]);
        refusal.field = Some("uuid".to_string());
        *server.bus.refusal.lock().unwrap() = Some(refusal);
        let done = switchback(&server.environment, &["DeleteZone", "uuid=x"]);
        assert_eq!((done.code.as_str(), done.stdout.as_str()), (code, ""), "{kind:?}");
        let expected = format!(
            "uuid: `x` is {ROUTER}\nerror: because\ncode: SYS.9\nfield: uuid\nblockers:\n  cluster  {}  c\u{fffd}[2J\nhint: do this\n",
            Id::NIL
        );
        assert_eq!(done.stderr, expected);
    }
}

#[test]
fn a_wrong_line_is_usage_and_sends_nothing() {
    let server = Server::start();
    let lines: [&[&str]; 21] = [
        &["CreateZon", "name=z"],
        &["rooter", "list"],
        &["CreateZone", "name"],
        &["CreateZone", "name=a", "name=b"],
        &["CreateZone", "--unknown"],
        &["CreateZone", "-o", "xml"],
        &["CreateZone", "name=z", "--at", "3"],
        &["QueryZone", "--dry-run"],
        &["QueryZone", "name"],
        &["QueryZone", "limit=many"],
        &["GetFreeIp", "--at", "3"],
        &["GetFreeIp", "--reason", "x"],
        &["ReportHostStatus", "status=Connected"],
        &["audit", "log", "--dry-run"],
        &["audit", "show", "x"],
        &["audit", "replay", "--inventories", "--router", "edge"],
        &["audit", "log", "--follow", "--newest"],
        &["audit", "head", "--data", "x", "--server", "y"],
        &["audit", "import", "export.jsonl"],
        &["router", "config"],
        &["QueryZone", "--server", "ftp://x"],
    ];
    for line in lines {
        let done = switchback(&server.environment, line);
        assert_eq!((done.code.as_str(), done.stdout.as_str()), ("2", ""), "{line:?}: {}", done.stderr);
        assert!(done.stderr.starts_with("error: "), "{line:?}: {}", done.stderr);
    }
    assert!(server.bus.commands.lock().unwrap().is_empty() && server.bus.queries.lock().unwrap().is_empty());
    assert!(switchback(&server.environment, &["rooter"]).stderr.contains("did you mean `router`?"));
}

#[test]
fn a_parameter_with_dashes_gets_advice() {
    let server = Server::start();
    let cases = [
        (["CreateZone", "--name"], "hint: name has no dashes: name=…\nusage: switchback CreateZone name=TEXT"),
        (["QueryZone", "--limit"], "hint: limit has no dashes: limit=…"),
        (["QueryZone", "--nothing"], "hint: switchback help QueryZone shows its parameters"),
        (["QueryZone", "--output=xml"], "[possible values: table, json, yaml]"),
    ];
    for (line, expected) in cases {
        let done = switchback(&server.environment, &line);
        assert_eq!(done.code, "2");
        assert!(done.stderr.contains(expected), "{line:?}: {}", done.stderr);
    }
}

#[test]
fn the_rows_of_a_read_are_a_table() {
    let server = Server::start();
    let done = switchback(&server.environment, &["GetFreeIp"]);
    let expected = "ip         gateway   netmask\n10.0.0.10  10.0.0.1  255.255.255.0\n";
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), (expected, "1 row\n"));
    assert_eq!(switchback(&server.environment, &["GetFreeIp", "--json"]).json()["inventories"][0]["ip"], "10.0.0.10");
}

#[test]
fn without_a_server_or_a_token_it_says_what_to_do() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let done = switchback(&Environment::default(), &["QueryZone", "--server", &address]);
    assert_eq!(done.code, "1");
    assert!(done.stderr.contains("hint: is the server running?"), "{}", done.stderr);

    let server = Server::start();
    let environment = Environment { token: None, ..server.environment.clone() };
    let done = switchback(&environment, &["QueryZone"]);
    assert_eq!(done.code, "6");
    assert!(done.stderr.contains("hint: give --token or set SWITCHBACK_TOKEN"), "{}", done.stderr);
    assert_eq!(switchback(&environment, &["QueryZone", "--token", "secret"]).code, "0");
    assert_eq!(switchback(&environment, &["--token", "wrong", "QueryZone"]).code, "6");
    assert_eq!(switchback(&environment, &["--token", "a\nb", "QueryZone"]).code, "2");
}

#[test]
fn a_router_is_meant_by_uuid_prefix_or_name() {
    let server = Server::start();
    for router in [ROUTER, "01234", "edge"] {
        let done = switchback(&server.environment, &["router", "config", router, "--at", "5"]);
        assert_eq!(done.code, "0", "{}", done.stderr);
        assert_eq!(done.stdout, format!("revision: 5\nrouter: \"{ROUTER}\"\nsections:\n  snat: {{}}\n"));
        let (name, parameters) = server.bus.reads.lock().unwrap().pop().unwrap();
        assert_eq!(name, "GetVirtualRouterConfig");
        assert_eq!(parameters, json!({"uuid": ROUTER, "at": "5"}));
    }
    let many = switchback(&server.environment, &["router", "drift", "twin"]);
    assert_eq!(many.code, "3");
    assert!(many.stderr.contains("`twin` can mean several") && many.stderr.contains("candidates:"), "{}", many.stderr);
    assert_eq!(switchback(&server.environment, &["router", "drift", "nobody"]).code, "5");

    assert_eq!(switchback(&server.environment, &["router", "reconnect", "edge", "--reason", "test"]).code, "0");
    let asked = server.bus.commands.lock().unwrap().pop().unwrap();
    assert_eq!((asked.name.as_str(), asked.parameters), ("ReconnectVirtualRouter", json!({"vmInstanceUuid": ROUTER})));
    assert_eq!(switchback(&server.environment, &["router", "list", "state=Running"]).code, "0");
    let done = switchback(&server.environment, &["router", "watch", "edge"]);
    assert_eq!(done.code, "1");
    assert!(done.stderr.contains("is not supported yet"));
}

#[test]
fn the_way_of_a_packet_is_told_step_by_step() {
    let server = Server::start();
    let line = "router explain edge --src 198.51.100.7 --dst 203.0.113.50 --dport 80 --from eth0 --at 5";
    let done = switchback(&server.environment, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(done.code, "0", "{}", done.stderr);
    let expected = "\
tcp 198.51.100.7:49152 → 203.0.113.50:80
  1  router prerouting: the EIP leads to the VM
       Eip door 01: eip.Attached at position 1, 2026-11-20T10:00:00.000Z, by admin (test)
  2  host nic: the VM gets it
       VmNic of another account
       Config vm.cleanTraffic
delivered to VM 02: tcp 198.51.100.7:49152 → 10.0.0.5:80
  server 10.0.0.6 port 8080: dropped
  server fd00::6 port 8080: forwarded by eth0 to fd00::1: udp [fd00::7]:49152 → [fd00::6]:8080
  server 10.0.0.7 port 8080: delivered to a VM of another account: icmp 10.0.0.1 → 10.0.0.7
  server 10.0.0.8 port 8080: goes to 10.0.0.8, not by the router: icmp 10.0.0.1 → 10.0.0.7
  server 10.0.0.9 port 8080: answered by the router (dns): icmp 10.0.0.1 → 10.0.0.7
  server 10.0.0.9 port 8080: refused by the router, whose port is closed: icmp 10.0.0.1 → 10.0.0.7
the answer: to 198.51.100.7, and the sender sees it come from 203.0.113.50
     as it was asked
     it is lost: somewhere
";
    assert_eq!(done.stdout, expected);
    assert_eq!(done.stderr, "as of position 9\n");
    let (name, parameters) = server.bus.reads.lock().unwrap().pop().unwrap();
    assert_eq!(name, "GetVirtualRouterExplanation");
    assert_eq!(
        parameters,
        json!({"uuid": ROUTER, "src": "198.51.100.7", "dst": "203.0.113.50", "proto": "tcp", "dport": 80, "from": "eth0",
            "at": "5"})
    );
    let usage = switchback(&server.environment, &["router", "explain", "edge"]);
    assert_eq!(usage.code, "2", "{}", usage.stderr);
}

#[test]
fn a_diff_names_sections_items_and_events() {
    let server = Server::start();
    for line in [
        ["router", "diff", "edge", "--from", "1", "--to", "3"],
        ["audit", "diff", "--router=edge", "--from", "1", "--to", "3"],
    ] {
        let done = switchback(&server.environment, &line);
        let expected = "\
dhcp  - ip 10.0.0.5
dhcp  + ip 10.0.0.6
dns   ~ upstream: 1.1.1.1 → 8.8.8.8

made by:
position  time                      principal  event         reason  command     resource
1         2026-11-20T10:00:00.000Z  admin      zone.Created  test    CreateZone  0123456789abcdef0123456789abcdef
";
        let lines = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(lines(&done.stdout), lines(expected));
        assert_eq!(done.stderr, "3 differences between 1 and 3, made by 1 event\n");
    }
    let drift = switchback(&server.environment, &["router", "drift", "edge"]);
    assert_eq!(drift.stdout.lines().count(), 2);
    assert_eq!(drift.stderr, "1 item is not as the configuration says (revision 5)\n");
    let counters = switchback(&server.environment, &["router", "counters", "edge"]);
    assert!(counters.stdout.contains("EIP") && counters.stdout.contains("180"), "{}", counters.stdout);
    assert_eq!(counters.stderr, "1 service, counted since 2026-11-20T10:00:00.000Z\n");
}

#[test]
fn the_trail_is_a_table_and_a_broken_chain_an_exit_code() {
    let server = Server::start();
    let line = [
        "audit",
        "log",
        "--resource",
        ROUTER,
        "--after",
        "3",
        "--limit",
        "1",
        "--kind",
        "zone",
        "--since",
        "2026-11-20T10:00:00+02:00",
    ];
    let done = switchback(&server.environment, &line);
    assert!(done.stdout.contains("2026-11-20T10:00:00.000Z  admin"), "{}", done.stdout);
    assert!(done.stderr.contains("hint: more with --after 1"), "{}", done.stderr);
    let (name, parameters) = server.bus.reads.lock().unwrap().pop().unwrap();
    assert_eq!(name, "GetEvents");
    let expected =
        json!({"resource": ROUTER, "after": 3, "limit": 1, "kind": "zone", "since": "2026-11-20T10:00:00+02:00"});
    assert_eq!(parameters, expected);

    let show = switchback(&server.environment, &["audit", "show", "1"]);
    assert!(show.stdout.contains("payload.name"), "{}", show.stdout);
    assert!(show.stdout.contains("of the same commit:"), "{}", show.stdout);
    assert_eq!(switchback(&server.environment, &["audit", "head"]).stdout, "hash      ab\nposition  9\n");
    assert_eq!(switchback(&server.environment, &["audit", "replay", "--router", "edge", "--at", "5"]).code, "0");

    assert_eq!(switchback(&server.environment, &["audit", "verify"]).code, "0");
    *server.bus.broken.lock().unwrap() = true;
    let broken = switchback(&server.environment, &["audit", "verify", "-o", "json"]);
    assert_eq!((broken.code.as_str(), broken.json()["brokenAt"].as_u64()), ("1", Some(4)));
    assert!(broken.stderr.contains("position 4: hash"), "{}", broken.stderr);
}

#[test]
fn what_needs_no_server_works_without_one() {
    let nowhere = Environment { server: Some("127.0.0.1:1".to_string()), ..Environment::default() };
    let messages = switchback(&nowhere, &["messages", "-o", "json"]);
    assert!(messages.json().as_array().unwrap().len() > 60);
    assert!(!messages.stdout.contains("ReportHostStatus"));
    let one = switchback(&nowhere, &["messages", "createl3network"]);
    assert!(one.stdout.contains("l2NetworkUuid") && one.stdout.contains("systemTags"), "{}", one.stdout);
    assert_eq!(switchback(&nowhere, &["CreateL3Network", "--help"]).stdout, one.stdout);
    for shell in ["bash", "zsh", "fish"] {
        let script = switchback(&nowhere, &["completions", shell]);
        assert!(script.stdout.contains(&format!(" complete {shell} ")), "{shell}");
    }
    assert!(switchback(&nowhere, &["man"]).stdout.contains("QueryVirtualRouterVm"));
    assert!(switchback(&nowhere, &["man", "createzone"]).stdout.starts_with(".TH \"CreateZone\" 1"));
    assert_eq!(switchback(&nowhere, &["help", "createl3network"]).stdout, one.stdout);
    assert!(switchback(&nowhere, &["help", "audit", "log"]).stdout.contains("--since"));
    for line in [&["help", "nothing"][..], &["help", "audit", "CreateZone"], &["man", "nothing"]] {
        assert_eq!(switchback(&nowhere, line).code, "2", "{line:?}");
    }
    for line in [&["--help"][..], &["help"], &["--version"], &["audit", "--help"], &["router", "diff", "--help"]] {
        assert_eq!(switchback(&nowhere, line).code, "0", "{line:?}");
    }
    let agent = switchback(&nowhere, &["agent", "host", "--help"]);
    assert!(!agent.stdout.contains("--dry-run"), "{}", agent.stdout);
}
