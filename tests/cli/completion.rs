//! Completion, asked of bash itself as readline would.

use crate::harness::Server;

/// What bash offers where the cursor stands at the end of `line`.
fn offered(server: &Server, line: &str) -> Vec<String> {
    let quoted = line.replace('\'', "'\\''");
    let script = format!(
        "source <(switchback completions bash)\n\
         COMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:'\n\
         COMP_LINE='{quoted}' COMP_POINT=${{#COMP_LINE}}\n\
         COMP_LINE='{quoted}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=(switchback)\n\
         _switchback\nprintf '%s|\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let (stdout, stderr) = server.ends(&script, 0);
    assert_eq!(stderr, "", "{line}");
    stdout.lines().map(|line| line.strip_suffix('|').unwrap().to_string()).filter(|word| !word.is_empty()).collect()
}

#[test]
fn bash_offers_messages_parameters_and_what_the_server_has() {
    let server = Server::start().with_a_site();
    server.inventory("CreateZone name='west side'");
    let cases: &[(&str, &[&str])] = &[
        ("switchback CreateL3", &["CreateL3Network "]),
        ("switchback createl3", &["CreateL3Network "]),
        ("switchback rou", &["router "]),
        ("switchback router co", &["config ", "counters "]),
        ("switchback help ResetG", &["ResetGlobalConfig "]),
        ("switchback CreateZone na", &["name="]),
        ("switchback CreateZone name=x na", &[]),
        ("switchback CreateZone isDefault=", &["true ", "false "]),
        ("switchback CreateL3Network category=P", &["Public ", "Private "]),
        ("switchback CreateL3Network l2NetworkUuid=", &["lan ", "mgmt ", "outside "]),
        ("switchback CreateL3Network l2NetworkUuid=la", &["lan "]),
        ("A=b switchback --json UpdateZone uuid=we", &["west\\ side "]),
        ("switchback UpdateZone uuid='we", &["west side"]),
        ("switchback CreateVmInstance l3NetworkUuids=web,", &["web,public ", "web,systemL3Network "]),
        ("switchback CreateUserTag resourceType=ClusterVO resourceUuid=", &["rack "]),
        ("switchback CreateSystemTag tag=gu", &["guestL3Network::"]),
        ("switchback UpdateGlobalConfig category=app", &["applianceVm "]),
        ("switchback UpdateGlobalConfig category=virtualRouter name=agent.deployOnStart value=t", &["true "]),
        ("switchback QueryL3Network l2Network.zone.na", &["l2Network.zone.name="]),
        (
            "switchback QueryL3Network l2Network.att",
            &["l2Network.attachedClusterUuids=", "l2Network.attachedClusters."],
        ),
        ("switchback QueryL3Network l2Network.name=", &["lan ", "mgmt ", "outside ", "null "]),
        ("switchback QueryL3Network l2NetworkUuid=", &["lan ", "mgmt ", "outside ", "null "]),
        ("switchback QueryCluster zone.uuid=we", &["west\\ side "]),
        ("switchback UpdateResourceConfig category=host name=ping.interval resourceUuid=ra", &["rack "]),
        ("switchback QueryZone 'name~=we", &["name~=west side"]),
        ("switchback QueryZone state\\!", &["state\\!=", "state\\!~=", "state\\!\\?=", "state\\!=null "]),
        ("switchback QueryIpRange startIp=10.0.0.", &["10.0.0.10 "]),
        ("switchback QueryZone sort=+na", &["+name "]),
        ("switchback QueryZone groupBy=sta", &["state "]),
        ("switchback QueryZone __u", &["__userTag__="]),
        ("switchback QueryZone fields=name,sta", &["name,state "]),
        ("switchback QueryZone isDefault=", &["true ", "false ", "null "]),
        ("switchback QueryZone -o ", &["table ", "json ", "yaml "]),
        ("switchback QueryZone --output=j", &["json "]),
        ("switchback QueryZone --dry", &[]),
        ("switchback CreateZone --dry", &["--dry-run "]),
        ("switchback QueryZone --at ", &[]),
        ("switchback completions ", &["bash ", "zsh ", "fish "]),
        ("switchback NoSuchMessage ", &[]),
        // Nobody is there who could be asked.
        ("switchback --server 127.0.0.1:1 UpdateZone uuid=", &[]),
        ("switchback UpdateZone --token wrong uuid=", &[]),
    ];
    for (line, expected) in cases {
        let expected: Vec<String> = expected
            .iter()
            .map(|word| {
                // Readline leaves alone what stands before the last character at which it ends a word.
                word.to_string()
            })
            .collect();
        assert_eq!(offered(&server, line), expected, "{line}");
    }
    let parameters = offered(&server, "switchback CreateL3Network ");
    assert_eq!(parameters[..2], ["name=", "l2NetworkUuid="], "what must be given comes first");
    let all = offered(&server, "switchback ");
    assert!(
        ["serve ", "audit ", "help ", "QueryVirtualRouterVm "].iter().all(|word| all.iter().any(|one| one == word))
    );
    assert!(!all.iter().any(|word| word.starts_with("complete ") || word.starts_with("Report")), "{all:?}");
}

#[test]
fn where_several_have_a_name_the_uuids_are_offered() {
    let server = Server::start();
    let mut uuids: Vec<String> =
        (0..2).map(|_| server.inventory("CreateZone name=dup")["uuid"].as_str().unwrap().to_string() + " ").collect();
    let mut found = offered(&server, "switchback DeleteZone uuid=");
    found.sort();
    uuids.sort();
    assert_eq!(found, uuids);
    assert_eq!(offered(&server, &format!("switchback DeleteZone uuid={}", &uuids[0][..31])), [uuids[0].clone()]);
}

#[test]
fn zsh_and_fish_are_told_what_goes_on_and_what_it_is() {
    let server = Server::start().with_a_site();
    let said = |line: &str| server.ends(&format!("switchback complete {line}"), 0).0;
    assert_eq!(said("zsh CreateZ"), "done\tCreateZone\tCreates a zone.\n");
    assert_eq!(said("zsh na CreateZone"), "more\tname=\tA short name (required)\n");
    let uuid = server.uuid("QueryL2Network", "lan");
    let word = "CreateL3Network";
    assert_eq!(said(&format!("zsh l2NetworkUuid=la {word}")), format!("done\tl2NetworkUuid=lan\t{uuid}\n"));
    assert_eq!(said(&format!("fish l2NetworkUuid=la -o json {word}")), format!("l2NetworkUuid=lan\t{uuid}\n"));
    assert_eq!(said("fish '' serve --data"), ":files\n");
    assert_eq!(said("zsh '' backup"), ":files\n");
}
