//! Each operator, the rules of null, negation and several members, types, and what is refused.

use super::Folded;
use crate::catalogue::{kind, kind_of_query};
use crate::query::{CONDITIONS_MAX, LIMIT_MAX, Query, QueryError};
use crate::samples::{Log, id, nic};
use serde_json::{Value, json};
use switchback_events::*;

/// Three VMs: `web` with two nics and tags, `DB_1` with one nic, `db%` with none. One offering of 9, one of 10 CPUs.
fn folded() -> Folded {
    let mut log = Log::default();
    let vm = |name: &str, description: Option<&str>, nics| VmInstanceEvent::Created {
        zone: ZoneId(id("zone", 0)),
        cluster: ClusterId(id("cluster", 0)),
        host: HostId(id("host", 0)),
        hypervisor_type: HypervisorType::KVM,
        name: name.to_string(),
        description: description.map(str::to_string),
        hostname: name.to_string(),
        image: None,
        offering: None,
        default_l3_network: L3NetworkId(id("l3", 0)),
        nics,
    };
    log.event(id("vm", 1), vm("web", Some("front"), vec![nic(1, 0), nic(2, 1)]));
    log.event(id("vm", 2), vm("DB_1", None, vec![nic(3, 0)]));
    log.event(id("vm", 3), vm("db%", Some("null"), vec![]));
    log.event(id("vm", 1), VmInstanceEvent::Started { host: HostId(id("host", 0)) });
    for (n, text) in [(1, "env::prod"), (2, "a,b")] {
        log.event(
            id("vm", 1),
            TagSetEvent::Created {
                tag: TagId(id("tag", n)),
                tag_type: TagType::User,
                resource_type: "VmInstanceVO".to_string(),
                text: text.to_string(),
                inherent: false,
                refers_to: vec![],
            },
        );
    }
    for cpus in [9, 10] {
        let offering = OfferingEvent::Created {
            name: format!("o{cpus}"),
            description: None,
            cpu_num: cpus,
            cpu_speed: 0,
            memory_size: 0,
            allocator_strategy: String::new(),
            router: None,
        };
        log.event(id("offering", cpus as usize), offering);
    }
    for (n, servers) in [(0, vec!["10.0.0.1", "10.0.0.2"]), (1, vec![])] {
        let l3 = L3NetworkEvent::Created {
            zone: ZoneId(id("zone", 0)),
            l2_network: L2NetworkId(id("l2", 0)),
            name: format!("l3-{n}"),
            description: None,
            category: L3NetworkCategory::Private,
            system: n == 1,
            dns_domain: None,
        };
        log.event(id("l3", n), l3);
        for server in servers {
            log.event(id("l3", n), L3NetworkEvent::DnsAdded { dns: server.parse().unwrap() });
        }
    }
    Folded::of(&log)
}

#[test]
fn every_operator_says_what_the_manual_says() {
    let mut folded = folded();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("vm", &["name=WEB"], &["web"]),
        ("vm", &["name!=web"], &["DB_1", "db%"]),
        ("vm", &["name>db%"], &["web", "DB_1"]),
        ("vm", &["name>=db%"], &["web", "DB_1", "db%"]),
        ("vm", &["name<web"], &["DB_1", "db%"]),
        ("vm", &["name<=DB%"], &["db%"]),
        ("vm", &["name?=web,db_1,x"], &["web", "DB_1"]),
        ("vm", &["name!?=web,db_1,x"], &["db%"]),
        ("vm", &["name~=db%"], &["DB_1", "db%"]),
        ("vm", &["name~=db_"], &["db%"]),
        ("vm", &["name~=db\\_%"], &["DB_1"]),
        ("vm", &["name~=%\\%"], &["db%"]),
        ("vm", &["name!~=db%"], &["web"]),
        ("vm", &["name~=WE%", "state=running"], &["web"]),
        ("vm", &["state=Running", "name=db%"], &[]),
        ("instanceOffering", &["cpuNum>9"], &["o10"]),
        ("instanceOffering", &["cpuNum~=1%"], &["o10"]),
        ("instanceOffering", &["cpuNum?=9,11"], &["o9"]),
        ("l3", &["system=true"], &["l3-1"]),
        ("l3", &["system!=1"], &["l3-0"]),
        ("l3", &["createDate>2023-11-14T22:13:20Z"], &["l3-0", "l3-1"]),
        ("l3", &["createDate<=1700000000000000"], &[]),
    ];
    for (kind, conditions, names) in cases {
        assert_eq!(folded.values(kind, "name", conditions), *names, "{kind} {conditions:?}");
    }
}

#[test]
fn on_null_nothing_holds_but_that_it_is_null() {
    let mut folded = folded();
    let cases: &[(&str, &[&str])] = &[
        ("description=null", &["DB_1"]),
        ("description!=null", &["web", "db%"]),
        ("description!=front", &["db%"]),
        ("description!?=front,x", &["db%"]),
        ("description!~=fr%", &["db%"]),
        ("description<=z", &["web", "db%"]),
        ("description?=null", &["db%"]),
    ];
    for (condition, names) in cases {
        assert_eq!(folded.values("vm", "name", &[condition]), *names, "{condition}");
    }
}

#[test]
fn over_relations_and_lists_some_member_must_hold() {
    let mut folded = folded();
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("vm", &["vmNics.mac=FA:00:00:00:01:00"], &["web"]),
        ("vm", &["vmNics.ip!=10.0.0.1"], &["web", "DB_1"]),
        ("vm", &["vmNics=null"], &["db%"]),
        ("vm", &["vmNics!=null"], &["web", "DB_1"]),
        ("vm", &["vmNics.ip=10.0.0.1", "vmNics.ip=10.0.0.2"], &["web"]),
        ("vm", &["vmNics.l3Network.name=l3-1"], &["web"]),
        ("vm", &["vmNics.l3Network.vmNics.vmInstance.name=web"], &["web", "DB_1"]),
        ("vm", &["vmNics.l3Network.dns=10.0.0.2"], &["web", "DB_1"]),
        ("l3", &["dns=10.0.0.2"], &["l3-0"]),
        ("l3", &["dns!=10.0.0.2"], &["l3-0"]),
        ("l3", &["dns~=10.%"], &["l3-0"]),
        ("l3", &["dns?=1.1.1.1,10.0.0.1"], &["l3-0"]),
        ("l3", &["dns=null"], &["l3-1"]),
        ("l3", &["dns!=null"], &["l3-0"]),
    ];
    for (kind, conditions, names) in cases {
        assert_eq!(folded.values(kind, "name", conditions), *names, "{kind} {conditions:?}");
    }
}

#[test]
fn a_negative_condition_on_tags_holds_where_none_matches() {
    let mut folded = folded();
    let cases: &[(&str, &[&str])] = &[
        ("__userTag__=ENV::prod", &["web"]),
        ("__userTag__!=env::prod", &["DB_1", "db%"]),
        ("__userTag__~=env::%", &["web"]),
        ("__userTag__!~=env::%", &["DB_1", "db%"]),
        ("__userTag__?=x,env::prod", &["web"]),
        ("__userTag__!?=x", &["web", "DB_1", "db%"]),
        ("__userTag__=null", &["DB_1", "db%"]),
        ("__userTag__!=null", &["web"]),
        ("__systemTag__!=null", &[]),
        ("__systemTag__!=env::prod", &["web", "DB_1", "db%"]),
    ];
    for (condition, names) in cases {
        assert_eq!(folded.values("vm", "name", &[condition]), *names, "{condition}");
    }
    assert_eq!(folded.values("nic", "ip", &["vmInstance.__userTag__=env::prod"]), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn a_bad_condition_is_refused_with_what_was_probably_meant() {
    let mut folded = folded();
    let cases = [
        ("vm", "nmae=x", "nmae", "did you mean `name`?"),
        ("vm", "hostuuid=x", "hostuuid", "did you mean `hostUuid`?"),
        ("vm", "mac=x", "mac", "did you mean `vmNics.mac`?"),
        ("vm", "vmNic.mac=x", "vmNic.mac", "did you mean `vmNics`?"),
        ("vm", "vmNics.macAddr=x", "vmNics.macAddr", "did you mean `vmNics.mac`?"),
        ("virtualRouter", "vmNics.l3network.name=x", "vmNics.l3network.name", "did you mean `vmNics.l3Network`?"),
        ("vm", "name", "name", "write field=value, with one of = != > >= < <= ?= !?= ~= !~="),
        ("vm", "vmNics=x", "vmNics", "name one of its fields: vmNics.vmInstanceUuid"),
        ("vm", "hostUuid.name=x", "hostUuid.name", "did you mean `host`?"),
        ("vm", "vmNics.eip.vip.ipp=x", "vmNics.eip.vip.ipp", "did you mean `vmNics.eip.vip.ip`?"),
        ("vm", "__usertag__=x", "__usertag__", "did you mean `__userTag__`?"),
        ("vm", "host.__systemtags__=x", "host.__systemtags__", "did you mean `host.__systemTag__`?"),
    ];
    for (kind, condition, field, hint) in cases {
        let bad = folded.refusal(kind, condition);
        assert_eq!((bad.field.as_str(), bad.hint.as_deref()), (field, Some(hint)), "{condition}");
    }
    assert_eq!(folded.refusal("nic", "zzzzzzzzz=1").detail, "nic has no field `zzzzzzzzz`");
    assert!(folded.refusal("nic", "zzzzzzzzz=1").hint.unwrap().starts_with("nic has: uuid, "));
    let detail = "`hostUuid` of vm is no relation: it has no fields of its own";
    assert_eq!(folded.refusal("vm", "hostUuid.name=x").detail, detail);
    // A key that the reference does not show cannot be asked for, either.
    assert_eq!(folded.refusal("globalConfig", "uuid=1").detail, "globalConfig has no field `uuid`");
}

/// The page about the language: what it shows can be asked, or is refused as it says.
#[test]
fn the_page_about_queries_says_what_is_so() {
    let page = include_str!("../../../docs/reference/query.md");
    let mut folded = folded();
    let blocks = page.split("```query\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut lines = blocks.flat_map(str::lines).peekable();
    let (mut asked, mut refused) = (0, 0);
    while let Some(line) = lines.next() {
        let mut words = line.split(' ');
        let kind = kind_of_query(words.next().unwrap()).unwrap();
        let query = Query { conditions: words.map(str::to_string).collect(), ..Query::new(kind) };
        let mut said = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
            said.push(line.trim().to_string());
        }
        match folded.answer(&query) {
            Ok(_) => assert_eq!(said, [""; 0], "{line} is answered"),
            Err(QueryError::Bad(bad)) => {
                assert_eq!(said, [Some(bad.detail), bad.hint].into_iter().flatten().collect::<Vec<_>>(), "{line}");
                refused += 1;
            }
            Err(error) => panic!("{line}: {error}"),
        }
        asked += 1;
    }
    assert!(asked > 20 && refused > 8, "{asked} {refused}");
}

#[test]
fn values_that_do_not_fit_the_field_are_refused() {
    let mut folded = folded();
    for (kind, condition, detail) in [
        ("nic", "deviceId=one", "`deviceId` is a whole number, not `one`"),
        ("nic", "deviceId?=1,,2", "`deviceId` is a whole number, not ``"),
        ("l3", "system=yes", "`system` is true or false, not `yes`"),
        ("l3", "system~=t%", "`system` is no text: ~= does not apply to it"),
        ("l3", "createDate>yesterday", "`createDate` is a time such as 2026-01-31T12:00:00Z, not `yesterday`"),
    ] {
        assert_eq!(folded.refusal(kind, condition).detail, detail);
    }
}

#[test]
fn what_has_no_end_is_refused() {
    let mut folded = folded();
    let deep = |hops: usize| format!("{}state=x", "vmNics.vmInstance.".repeat(hops / 2));
    let vm = kind("vm").unwrap();
    assert!(folded.answer(&Query::new(vm).with(deep(6))).is_ok());
    assert!(folded.refusal("vm", &deep(8)).detail.ends_with("has more than 8 steps"));
    let many = |count| Query { conditions: vec!["name=x".to_string(); count], ..Query::new(vm) };
    assert!(folded.answer(&many(CONDITIONS_MAX)).is_ok());
    assert!(matches!(folded.answer(&many(CONDITIONS_MAX + 1)), Err(QueryError::Bad(_))));
    let wide = Query { conditions: vec![deep(6); CONDITIONS_MAX], ..Query::new(vm) };
    assert!(folded.answer(&wide).is_ok());
    assert!(folded.answer(&wide.at(5)).is_ok());
    let members = |count| format!("name?={}", vec!["x"; count].join(","));
    assert!(folded.answer(&Query::new(vm).with(members(1000))).is_ok());
    folded.refusal("vm", &members(1001));
    assert!(folded.refusal("vm", &format!("name={}", "x".repeat(70_000))).detail.ends_with("longer than 65536 bytes"));
    let pattern = |bytes: usize| format!("name~={}", "%x".repeat(bytes / 2));
    assert!(folded.answer(&Query::new(vm).with(pattern(4096))).is_ok());
    assert!(folded.refusal("vm", &pattern(4098)).detail.ends_with("longer than 4096 bytes"));
    assert!(folded.refusal("vm", "name=a\0b").detail.ends_with("has a character 0 in it"));
    assert!(matches!(
        folded.answer(&Query { limit: Some(LIMIT_MAX + 1), ..Query::new(vm) }),
        Err(QueryError::Bad(bad)) if bad.field == "limit"
    ));
}

#[test]
fn text_of_the_user_never_becomes_sql() {
    let mut folded = folded();
    for hostile in ["name=' OR 1=1 --", "name=\") OR (1", "name?=',\"]", "name~=%' OR '1", "__userTag__=' OR '1'='1"] {
        assert_eq!(folded.values("vm", "name", &[hostile]), Vec::<Value>::new(), "{hostile}");
    }
    for hostile in ["\"uuid\"=x", "name;DROP TABLE vm=x", "vf>0", "id=1", "t0.name=x", "_id=1", "value=1"] {
        folded.refusal("vm", hostile);
    }
    let sorted = Query { sort: Some("name\",1".to_string()), ..Query::new(kind("vm").unwrap()) };
    assert!(matches!(folded.answer(&sorted), Err(QueryError::Bad(_))));
}

#[test]
fn pages_are_in_a_total_order() {
    let mut folded = folded();
    let mut names = |sort: Option<&str>, start, limit| {
        let query = Query { sort: sort.map(str::to_string), start, limit, ..Query::new(kind("vm").unwrap()) };
        let reply = folded.answer(&query).unwrap();
        reply.rows().iter().map(|vm| vm["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 0, None), ["web", "DB_1", "db%"]);
    assert_eq!(names(Some("+name"), 0, None), ["db%", "DB_1", "web"]);
    assert_eq!(names(Some(" name"), 0, None), ["db%", "DB_1", "web"]);
    assert_eq!(names(Some("name"), 1, Some(1)), ["DB_1"]);
    assert_eq!(names(Some("-name"), 0, Some(2)), ["web", "DB_1"]);
    assert_eq!(names(Some("-type"), 0, None), ["db%", "DB_1", "web"]);
    assert_eq!(names(Some("description"), 0, None), ["DB_1", "web", "db%"]);
    assert_eq!(names(None, 0, Some(0)), [""; 0]);
}

#[test]
fn of_a_group_the_oldest_that_meets_the_conditions_stands_for_all() {
    let mut folded = folded();
    let vm = kind("vm").unwrap();
    let grouped = |field: &str| Query { group_by: Some(field.to_string()), ..Query::new(vm) };
    let mut names = |query: Query| {
        let reply = folded.answer(&Query { reply_with_count: true, ..query.clone() }).unwrap();
        let counted = folded.answer(&Query { count: true, ..query }).unwrap();
        assert_eq!(counted.total, reply.total);
        let names = reply.rows().into_iter().map(|vm| vm["name"].as_str().unwrap().to_string());
        (reply.total.unwrap(), names.collect::<Vec<_>>().join(" "))
    };
    let is = |total: u64, names: &str| (total, names.to_string());
    // `web` runs, the others are starting. At 4, nobody ran.
    assert_eq!(names(grouped("state")), is(2, "web DB_1"));
    assert_eq!(names(grouped("state").at(3)), is(1, "web"));
    assert_eq!(names(grouped("state").with("vmNics=null")), is(1, "db%"));
    assert_eq!(names(grouped("uuid")), is(3, "web DB_1 db%"));
    // Nulls are one group.
    assert_eq!(names(grouped("hostUuid")), is(2, "web DB_1"));
    let sorted = Query { sort: Some("-state".to_string()), ..grouped("state") };
    assert_eq!(names(sorted.clone()), is(2, "DB_1 web"));
    assert_eq!(names(Query { start: 1, limit: Some(1), ..sorted.clone() }), is(2, "web"));
    assert_eq!(names(Query { start: 1, ..sorted }.at(3)), is(1, ""));
    let texts = Query { fields: vec!["state".into()], ..grouped("state") };
    assert_eq!(folded.answer(&texts).unwrap().rows(), [json!({"state": "Running"}), json!({"state": "Starting"})]);
    for (of, field, detail) in [
        ("vm", "colour", "vm has no field `colour`"),
        ("vm", "host", "vm has no field `host`"),
        ("l3", "dns", "`dns` is a list: nothing is grouped by it"),
    ] {
        let query = Query { group_by: Some(field.to_string()), ..Query::new(kind(of).unwrap()) };
        assert!(matches!(folded.answer(&query), Err(QueryError::Bad(bad)) if bad.detail == detail), "{field}");
    }
}

/// Nothing makes volumes, VIPs, EIPs and port forwarding rules yet.
#[test]
fn what_has_no_rows_yet_can_be_asked_about() {
    let mut folded = folded();
    for (condition, names) in [
        ("vmNics.eip.vip.ip=10.0.0.1", &[][..]),
        ("vmNics.eip.vip.ip!=10.0.0.1", &[]),
        ("vmNics.eip=null", &["web", "DB_1"]),
        ("allVolumes=null", &["web", "DB_1", "db%"]),
        ("rootVolume!=null", &[]),
        ("rootVolume.size>1", &[]),
        ("rootVolumeUuid=null", &["web", "DB_1", "db%"]),
        ("vmNics.portForwarding.vipPortStart<=22", &[]),
        ("vmNics.virtualRouter.portForwarding!=null", &[]),
    ] {
        assert_eq!(folded.values("vm", "name", &[condition]), names, "{condition}");
    }
    assert_eq!(folded.all("vm")[0]["allVolumes"], json!([]));
    assert_eq!(folded.all("vm")[0]["rootVolumeUuid"], Value::Null);
    // The fields and relations that the reference has for routers and their offerings.
    for (of, names) in [
        (
            "virtualRouter",
            "vmNics.mac allVolumes.name host.name cluster.name image.name zone.name rootVolume.name \
             virtualRouterOffering.name eip.name vip.name portForwarding.name applianceVmType managementNetworkUuid \
             defaultRouteL3NetworkUuid publicNetworkUuid status",
        ),
        (
            "virtualRouterOffering",
            "image.name managementL3Network.name publicL3Network.name zone.name managementNetworkUuid publicNetworkUuid \
             zoneUuid isDefault imageUuid allocatorStrategy cpuNum cpuSpeed memorySize sortKey state type",
        ),
    ] {
        for name in names.split_whitespace() {
            folded.values(of, "uuid", &[&format!("{name}=null")]);
        }
    }
}

#[test]
fn the_reply_is_what_was_asked_for() {
    let mut folded = folded();
    let vm = kind("vm").unwrap();
    let choice = Query { fields: vec!["name".into(), "state".into()], limit: Some(1), ..Query::new(vm) };
    assert_eq!(folded.answer(&choice).unwrap().rows(), [json!({"name": "web", "state": "Running"})]);
    let embedded = Query { fields: vec!["vmNics".into()], ..Query::new(vm) };
    let embedded = folded.answer(&embedded).unwrap().rows();
    assert_eq!(embedded[0].as_object().unwrap().len(), 1);
    assert_eq!(embedded[0]["vmNics"].as_array().unwrap().len(), 2);
    let unknown = Query { fields: vec!["host".into()], ..Query::new(vm) };
    assert!(matches!(folded.answer(&unknown), Err(QueryError::Bad(bad)) if bad.field == "host"));

    let counted = Query { count: true, ..Query::new(vm).with("vmNics!=null") };
    let reply = folded.answer(&counted).unwrap();
    assert_eq!((reply.total, reply.rows().len()), (Some(2), 0));
    let both = Query { reply_with_count: true, limit: Some(1), ..Query::new(vm) };
    let reply = folded.answer(&both).unwrap();
    assert_eq!((reply.total, reply.rows().len()), (Some(3), 1));
    assert_eq!(folded.answer(&Query::new(vm)).unwrap().total, None);
}

#[test]
fn a_position_not_yet_folded_is_refused() {
    let mut folded = folded();
    let vm = kind("vm").unwrap();
    let reached = folded.answer(&Query::new(vm)).unwrap().position;
    assert_eq!(folded.answer(&Query::new(vm).at(1)).unwrap().position, 1);
    assert!(matches!(
        folded.answer(&Query::new(vm).at(reached + 1)),
        Err(QueryError::Ahead { at, reached: r }) if at == reached + 1 && r == reached
    ));
}
