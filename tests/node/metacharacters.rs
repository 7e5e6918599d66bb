//! Texts with characters that mean something to shells, dnsmasq, nft, haproxy or a terminal, in every parameter of every command
//! that takes a text: each is refused, or what agents write holds nothing of it and is still taken by the tools that read it.
//! The parameters are those of the catalogue, so a new one comes along.

use crate::harness::{Site, World, request, text, uuid};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};
use switchback_bus::{Bus, Check, CommandRequest, Message, MessageKind, Parameter, Refusal, Wait, messages};
use switchback_events::Id;
use switchback_projections::catalogue::KINDS;

const SERVICES: &[&str] = &["DHCP", "DNS", "SNAT", "Eip", "PortForwarding", "LoadBalancer"];
/// Stands around what is forbidden, and in front of what it would do.
const MARK: &str = "zqx";
/// What no file may have between two marks.
const METACHARACTERS: &[&str] = &[
    "\"",
    "'",
    "`",
    "\\",
    "$",
    "$(id)",
    "${PATH}",
    "{",
    "}",
    "{}",
    ";",
    "#",
    "%",
    "%s%n",
    ",",
    "|",
    "&",
    "<",
    ">",
    "*",
    "?",
    "!",
    "~",
    "^",
    "=",
    "@",
    "[",
    "]",
    "(",
    ")",
    "/../",
    " ",
    "\t",
    "\n",
    "\r",
    "\0",
    "\u{7f}",
    "\u{1b}[31m",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{2066}",
    "\u{feff}",
    "ü",
    "𝔘",
    "é",
];
/// What a path may have all the same: it means nothing to haproxy.
const OF_PATHS: &[&str] = &["~", "/../"];
/// Whole lines of what reads files.
const LINES: &[&str] = &[
    "\naddress=/zqx/192.0.2.66\n",
    "\ndhcp-script=/tmp/zqx\n",
    "\" }; flush ruleset; add table inet zqx { chain zqx { ",
    "\n  server zqx 192.0.2.66:80\n",
    "; touch /tmp/zqx #",
    "'; touch /tmp/zqx; '",
    " 192.0.2.66 zqx.example",
    ",192.0.2.66,zqx,infinite",
];

/// All of them as they are sent.
fn texts() -> Vec<String> {
    let around = |forbidden: &&str| format!("{MARK}{forbidden}{MARK}");
    let mut texts: Vec<String> = METACHARACTERS.iter().map(around).collect();
    texts.extend(LINES.iter().map(|line| format!("{MARK}{line}")));
    texts.push(format!("{MARK}\"'`$(){{}};%#\\,|&<>*{MARK}"));
    texts.push(format!("{MARK}{}", "a".repeat(10 << 10)));
    texts
}

/// A value of a parameter that has the text wherever it takes one; nothing where it takes none.
fn with_text(check: &Check, text: &str, id: &dyn Fn(&Parameter) -> String) -> Option<Value> {
    Some(match check {
        Check::Text(_) | Check::FreeText(_) | Check::Any => json!(text),
        Check::List(inner) => json!([with_text(inner, text, id)?]),
        Check::Objects(fields) => {
            let field = |field: &Parameter| {
                let value = with_text(&field.check, text, id);
                let value = value.or_else(|| field.required.then(|| field.check.example(&id(field))))?;
                Some((field.api_name(), value))
            };
            let object: Map<String, Value> = fields.iter().filter_map(field).collect();
            json!([object])
        }
        Check::Services => json!({ text: [text] }),
        _ => return None,
    })
}

/// Forms that only a text of some kind has.
fn forms(parameter: &Parameter, text: &str) -> Vec<String> {
    let mut forms = vec![text.to_string()];
    if parameter.api_name().to_lowercase().contains("tag") {
        forms.extend(["hostname", "userdata", "customMac"].map(|name| format!("{name}::{text}")));
        forms.push(format!("userdata::{}", STANDARD.encode(text)));
    }
    forms
}

struct Scene {
    world: World,
    guest: String,
    /// Of http.
    listener: String,
    /// Something of each kind.
    known: BTreeMap<&'static str, String>,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let site = Site::new(&world).await;
        let guest = site.guest("guest", SERVICES).await;
        let provider = json!({"l3NetworkUuid": guest, "networkServices": {"SecurityGroup": ["SecurityGroup"]}});
        world.done("AttachNetworkServiceToL3Network", provider).await;
        let vm = site.vm("vm", &guest).await;
        let nic = uuid(&vm["vmNics"][0]);
        let vip = async || uuid(&world.make("CreateVip", json!({"name": "vip", "l3NetworkUuid": site.public})).await);
        world.make("CreateEip", json!({"name": "eip", "vipUuid": vip().await, "vmNicUuid": nic})).await;
        let (other, shared) = (site.vm("other", &guest).await, vip().await);
        let rule = json!({
            "name": "rule", "vipUuid": shared, "vipPortStart": 80, "protocolType": "TCP", "vmNicUuid": other["vmNics"][0]["uuid"],
        });
        world.make("CreatePortForwardingRule", rule).await;
        world.make("SetVipQos", json!({"uuid": shared, "inboundBandwidth": 1_000_000})).await;
        let listener = balanced(&world, &shared, &uuid(&other["vmNics"][0])).await;
        let group = uuid(&world.make("CreateSecurityGroup", json!({"name": "group"})).await);
        let attach = json!({"securityGroupUuid": group, "l3NetworkUuid": guest});
        world.done("AttachSecurityGroupToL3Network", attach).await;
        world.done("AddVmNicToSecurityGroup", json!({"securityGroupUuid": group, "vmNicUuids": [nic]})).await;
        let account = json!({"name": "account", "password": "0".repeat(128)});
        world.make("CreateAccount", account).await;
        let mut known = BTreeMap::new();
        for kind in KINDS {
            let Some(query) = kind.queries.first() else { continue };
            let found = world.query(query, &[]).await;
            // Where there are several, the guest network's: that is what reaches a router.
            let chosen = found.iter().find(|row| row["uuid"] == json!(guest));
            let chosen = chosen.or(found.iter().find(|row| row["system"] != true)).or(found.first());
            if let Some(id) = chosen.and_then(|row| row["uuid"].as_str()) {
                known.insert(kind.name, id.to_string());
            }
        }
        known.insert("loadBalancerListener", listener.clone());
        Scene { world, guest, listener, known }
    }

    fn id(&self, parameter: &Parameter) -> String {
        let found = parameter.of.iter().find_map(|kind| self.known.get(kind));
        found.cloned().unwrap_or_else(|| Id::of_name("nobody").to_string())
    }

    /// Sends the command with the value in one of its parameters, and what it needs besides.
    async fn send(&self, message: &Message, parameter: &Parameter, value: Value) -> Result<(), Refusal> {
        let mut parameters = Map::new();
        for other in message.parameters {
            let name = other.api_name();
            if other.required || message.path.contains(&format!("{{{name}}}")) {
                parameters.insert(name, other.check.example(&self.id(other)));
            }
        }
        parameters.insert(parameter.api_name(), value);
        let request = CommandRequest { wait: Wait::Durable, ..request(message.name, &Value::Object(parameters)) };
        self.world.node.command(request).await.map(drop)
    }
}

/// Listeners of all protocols at a VIP that hand on to a nic, with whatever reaches haproxy's file; the one of http.
async fn balanced(world: &World, vip: &str, nic: &str) -> String {
    let lb = uuid(&world.make("CreateLoadBalancer", json!({"name": "lb", "vipUuid": vip})).await);
    let pem = rcgen::generate_simple_self_signed(vec!["lb.test".to_string()]).unwrap();
    let pem = format!("{}{}", pem.cert.pem(), pem.signing_key.serialize_pem());
    let certificate = uuid(&world.make("CreateCertificate", json!({"name": "lb", "certificate": pem})).await);
    let friends = uuid(&world.make("CreateAccessControlList", json!({"name": "friends"})).await);
    let asked = json!({"aclUuid": friends, "entries": "192.0.2.0/24,198.51.100.7"});
    world.done("AddAccessControlListEntry", asked).await;
    let mut first = None;
    for (port, protocol) in [(8080, "http"), (8443, "https"), (81, "tcp"), (53, "udp")] {
        let mut asked = json!({
            "loadBalancerUuid": lb, "name": "web", "loadBalancerPort": port, "protocol": protocol,
            "aclUuids": [friends], "aclType": "white",
        });
        if protocol == "https" {
            asked["certificateUuid"] = json!(certificate);
        }
        let listener = uuid(&world.make("CreateLoadBalancerListener", asked).await);
        if protocol.starts_with("http") {
            let told = json!({
                "uuid": listener, "sessionPersistence": "insert", "healthCheckProtocol": "http",
                "healthCheckURI": "/health", "httpCompressAlgos": ["gzip"], "tcpProxyProtocol": "v2",
            });
            world.done("ChangeLoadBalancerListener", told).await;
            let group = json!({"loadBalancerUuid": lb, "name": "group"});
            let group = uuid(&world.make("CreateLoadBalancerServerGroup", group).await);
            world
                .done("AddBackendServerToServerGroup", json!({"serverGroupUuid": group, "vmNics": [{"uuid": nic}]}))
                .await;
            let on = json!({"listenerUuid": listener, "serverGroupUuid": group});
            world.done("AddServerGroupToLoadBalancerListener", on).await;
            redirected(world, &listener, &group, json!({"domain": "*.lb.test", "url": "/shop"})).await.unwrap();
        } else {
            world.done("AddVmNicToLoadBalancer", json!({"listenerUuid": listener, "vmNicUuids": [nic]})).await;
        }
        first.get_or_insert(listener);
    }
    first.unwrap()
}

/// Has a listener redirect by a rule, where the rule is taken.
async fn redirected(world: &World, listener: &str, group: &str, rule: Value) -> Result<(), Refusal> {
    let list = uuid(&world.make("CreateAccessControlList", json!({"name": "rule"})).await);
    let mut asked = rule;
    asked["aclUuid"] = json!(list);
    world.node.command(request("AddAccessControlListRedirectRule", &asked)).await?;
    let on = json!({"listenerUuid": listener, "aclType": "redirect", "aclUuids": [list], "serverGroupUuids": [group]});
    world.done("AddAccessControlListToLoadBalancer", on).await;
    Ok(())
}

/// Whether a refusal says nothing that a terminal or a log would take for more than words.
fn is_plain(refusal: &Refusal) -> bool {
    !refusal.to_string().chars().any(|c| c.is_control() && c != '\n')
}

/// The commands that end, stop or move what the others are tried on, or that would lock the test out.
const LEFT_OUT: &[&str] = &["UpdateGlobalConfig", "ResetGlobalConfig", "ChangeHostState", "ReconnectHost"];

#[actix_rt::test]
async fn no_text_means_anything_to_what_reads_the_files_of_routers_and_hosts() {
    let scene = Scene::new().await;
    let world = &scene.world;
    let mut tried: BTreeSet<(String, String)> = BTreeSet::new();
    let (mut sent, mut taken) = (0, BTreeSet::new());
    let commands = messages().filter(|message| message.kind == MessageKind::Command && !message.internal);
    for message in commands.filter(|message| !LEFT_OUT.contains(&message.name)) {
        for parameter in message.parameters {
            for text in texts().iter().flat_map(|text| forms(parameter, text)) {
                let Some(value) = with_text(&parameter.check, &text, &|other| scene.id(other)) else { continue };
                let name = (message.name.to_string(), parameter.api_name());
                sent += 1;
                match scene.send(message, parameter, value).await {
                    Ok(()) => drop(taken.insert(name.clone())),
                    Err(refusal) => assert!(is_plain(&refusal), "{name:?} {text:?}: {refusal:?}"),
                }
                tried.insert(name);
            }
        }
    }
    println!("{sent} texts in {} parameters, of which {} took any: {taken:?}", tried.len(), taken.len());
    // Names and descriptions are records, and take what is no control character; what reaches a file takes none of it.
    for (command, parameter) in
        [("UpdateVip", "name"), ("UpdateVmInstance", "description"), ("CreateVmInstance", "name")]
    {
        assert!(taken.contains(&(command.to_string(), parameter.to_string())), "{command} {parameter}");
    }
    for (command, parameter) in [
        ("SetVmHostname", "hostname"),
        ("CreateL3Network", "dnsDomain"),
        ("UpdateL3Network", "dnsDomain"),
        ("AddDnsToL3Network", "dns"),
        ("CreatePortForwardingRule", "allowedCidr"),
    ] {
        assert!(!taken.contains(&(command.to_string(), parameter.to_string())), "{command} {parameter}");
    }

    // Rules of access control lists, which are words of haproxy's own file.
    let shown = world.get("QueryLoadBalancerListener", &scene.listener).await;
    let group = shown["aclRefs"].as_array().unwrap().iter().find_map(|of| of["serverGroupUuid"].as_str()).unwrap();
    let mut redirects = 0;
    for text in texts() {
        let rules =
            [json!({"domain": text}), json!({"domain": format!("*.{text}.test")}), json!({"url": format!("/{text}")})];
        for rule in rules {
            match redirected(world, &scene.listener, group, rule.clone()).await {
                Ok(()) => {
                    let fits = OF_PATHS.iter().any(|inner| rule["url"] == format!("/{MARK}{inner}{MARK}"));
                    assert!(fits, "{rule}");
                    redirects += 1;
                }
                Err(refusal) => assert!(is_plain(&refusal), "{rule}: {refusal:?}"),
            }
        }
    }
    assert_eq!(redirects, OF_PATHS.len());

    // Some that are taken for sure, on a VM that the router serves.
    for (at, text) in texts().iter().filter(|text| text.len() < 200 && !text.contains(char::is_control)).enumerate() {
        let vm = json!({
            "name": text, "description": text, "l3NetworkUuids": [scene.guest],
            "systemTags": [format!("userdata::{}", STANDARD.encode(text))],
        });
        let made = world.send("CreateVmInstance", vm).await;
        let made = made.unwrap_or_else(|refusal| panic!("{at} {text:?}: {refusal}"));
        assert!(made.applied && self::text(made.inventory.as_ref().unwrap(), "name") == *text, "{made:?}");
    }
    let written = world.fleet().texts();
    assert!(written.keys().any(|(_, name)| name.ends_with("dnsmasq.conf")), "{:?}", written.keys());
    let mut wrong = Vec::new();
    for ((of, name), text) in &written {
        // What an agent keeps for itself has names in it, between quotes that hold; so have the commands to it.
        if name.ends_with(".json") {
            if serde_json::from_str::<Value>(text).is_err() {
                wrong.push(format!("{of} {name} is no JSON: {text}"));
            }
            continue;
        }
        for forbidden in METACHARACTERS.iter().filter(|forbidden| **forbidden != "\n") {
            let forbidden = format!("{MARK}{forbidden}{MARK}");
            let of_path = name.ends_with("haproxy.cfg") && OF_PATHS.iter().any(|inner| forbidden.contains(inner));
            if text.contains(&forbidden) && !of_path {
                wrong.push(format!("{of} {name} has {forbidden:?}"));
            }
        }
        let acts = ["192.0.2.66", "/tmp/zqx", "inet zqx"].into_iter().find(|act| text.contains(act));
        let strange = text.chars().find(|c| c.is_control() && *c != '\n' || !c.is_ascii());
        if acts.is_some() || strange.is_some() {
            wrong.push(format!("{of} {name} has {acts:?} {strange:?}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let taken_by = taken_by_the_tools(&written);
    assert!(taken_by.iter().all(|taken| *taken > 0), "{taken_by:?} of {:?}", written.keys());
}

/// Gives the files to those who read them: how many tables of routers, dnsmasq's and haproxy's files, and tables of interfaces
/// with limits.
fn taken_by_the_tools(written: &BTreeMap<(Id, String), String>) -> [usize; 4] {
    let mut taken = [0; 4];
    let ask = |program: &str, args: &[&str], input: &str, what: &str| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {said}\n{input}");
    };
    for ((of, name), text) in written {
        if let Some(table) = name.strip_prefix("table inet vr_") {
            // The tool wants the rights of a network's administrator, of a network of its own.
            let table = format!("table inet vr_{table} {{\n{text}}}\n");
            ask("unshare", &["--net", "--map-root-user", "nft", "-c", "-f", "-"], &table, name);
            taken[0] += 1;
        } else if name.ends_with("dnsmasq.conf") {
            ask("dnsmasq", &["--test", "--conf-file=-"], text, name);
            taken[1] += 1;
        } else if name.ends_with("haproxy.cfg") {
            // With the files that it names, in a directory that is there.
            let (folder, there) = (name.trim_end_matches("/haproxy.cfg"), tempfile::tempdir().unwrap());
            for ((other, path), text) in written {
                if let Some(file) = path.strip_prefix(&format!("{folder}/")).filter(|_| other == of) {
                    std::fs::write(there.path().join(file), text).unwrap();
                }
            }
            ask("haproxy", &["-c", "-f", "/dev/stdin"], &text.replace(folder, there.path().to_str().unwrap()), name);
            taken[2] += 1;
        } else if name.starts_with("table netdev ") {
            // The interfaces that it names must be there. What came to the table later stands behind it.
            let table = format!("{name} {{\n{}\n}}\n", text.split("\n}").next().unwrap_or_default());
            let named = |before: &str| table.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect();
            let (ports, detours): (BTreeSet<&str>, BTreeSet<&str>) = (named("device \""), named("fwd to \""));
            let ports = ports.iter().map(|link| format!("ip link add {link} type bridge; "));
            let links: String =
                ports.chain(detours.iter().map(|link| format!("ip link add {link} type ifb; "))).collect();
            let line = format!("{links}exec nft -c -f -");
            ask("unshare", &["--net", "--map-root-user", "sh", "-c", &line], &table, name);
            taken[3] += 1;
        }
    }
    taken
}
