//! What is changed and what is not, without a kernel.

use super::*;
use crate::kernel::ElementChange;
use serde_json::json;

#[test]
fn order_and_handles_do_not_count() {
    let one =
        json!({"set": {"name": "open", "handle": 3, "elem": [{"concat": ["eth1", 53]}, {"concat": ["eth0", 22]}]}});
    let two =
        json!({"set": {"name": "open", "handle": 9, "elem": [{"concat": ["eth0", 22]}, {"concat": ["eth1", 53]}]}});
    assert_eq!(normalise(one.clone()), normalise(two));
    assert_ne!(normalise(one), normalise(json!({"set": {"name": "open", "elem": []}})));
}

fn table(elements: &[&str], rule: &str) -> Table {
    let mut set = NftSet::set("passages", "type ifname . ifname;");
    set.names = 2;
    elements.iter().for_each(|key| set.add(key, None, &Arc::from("rule 7")));
    let chain = |name: &str, rule: &str| {
        format!("  chain {name} {{\n    type filter hook input priority 0;\n    {rule}\n  }}\n")
    };
    let firewall = Part { section: "firewall", sets: vec![set], chains: chain("input", rule) + &chain("forward", "b") };
    Table { parts: vec![firewall, Part { section: "snat", chains: chain("nat", "c"), ..Part::default() }] }
}

fn applied(table: &Table) -> AppliedTable {
    let outlines = [("firewall", "1"), ("snat", "2")].map(|(name, digest)| (name.to_string(), digest.to_string()));
    AppliedTable { table: Arc::new(table.clone()), outlines: outlines.into(), generation: None }
}

fn observed(table: &Table) -> ObservedTable {
    let elements = table.parts[0].sets[0].elements.iter().map(|(key, element)| (key.clone(), element.value.clone()));
    let elements = BTreeMap::from([("passages".to_string(), elements.collect())]);
    ObservedTable { outlines: applied(table).outlines, elements, objects: objects(table) }
}

#[test]
fn a_missing_table_is_drift_of_every_section() {
    let table = table(&["eth0 . eth1"], "a");
    let applied = applied(&table);
    assert!(plan(&table, Some(&applied), &(Seen::Unchanged, 7)).is_empty());
    assert!(plan(&table, Some(&applied), &(Seen::Table(observed(&table)), 7)).is_empty());
    let wiped = plan(&table, Some(&applied), &(Seen::Absent, 7));
    assert!(wiped.absent && wiped.change == Change::Whole);
    let sections: Vec<&str> = wiped.drift.iter().map(|item| item.section.as_str()).collect();
    assert_eq!(sections, ["firewall", "snat"]);
}

#[test]
fn only_elements_are_changed_where_only_elements_differ() {
    let before = applied(&table(&["eth0 . eth1", "eth1 . eth0"], "a"));
    let changed = plan(&table(&["eth0 . eth1", "eth2 . eth0"], "a"), Some(&before), &(Seen::Unchanged, 7));
    let lines = [
        "rule 7: delete element passages { \"eth1\" . \"eth0\" }",
        "rule 7: add element passages { \"eth2\" . \"eth0\" }",
    ];
    assert_eq!(changed.actions["firewall"], lines);
    assert!(matches!(&changed.change, Change::Parts(change)
        if change.elements.len() == 2 && TableChange { elements: vec![], ..change.clone() }.is_empty()));
}

#[test]
fn only_chains_with_other_rules_get_others() {
    let before = applied(&table(&["eth0 . eth1"], "a"));
    let other = table(&["eth0 . eth1"], "c");
    let changed = plan(&other, Some(&before), &(Seen::Unchanged, 7));
    assert_eq!(changed.actions["firewall"], ["replace chain input"]);
    let Change::Parts(change) = changed.change else { panic!("{changed:?}") };
    assert_eq!((change.emptied, change.chains_gone), (vec!["input".to_string()], vec![]));
    assert_eq!(change.text, "  chain input {\n    type filter hook input priority 0;\n    c\n  }\n");

    // A chain that hooks in elsewhere is another one; what a table has no more goes.
    let mut fewer = table(&["eth0 . eth1"], "a");
    fewer.parts[0].sets.clear();
    fewer.parts[0].chains = fewer.parts[0].chains.replacen("priority 0", "priority 1", 1);
    fewer.parts.pop();
    let Change::Parts(change) = plan(&fewer, Some(&before), &(Seen::Unchanged, 7)).change else { panic!() };
    assert_eq!(change.emptied, ["input", "nat"]);
    assert_eq!(change.chains_gone, ["input", "nat"]);
    assert_eq!(change.sets_gone, ["set passages"]);
}

#[test]
fn a_table_of_which_only_names_are_known_is_filled_anew() {
    let wanted = table(&["eth0 . eth1"], "a");
    let mut observed = observed(&wanted);
    observed.objects.extend(["chain stray", "map stray", "counter c"].map(str::to_string));
    let before = applied(&table(&[], "x"));
    for applied in [None, Some(&before)] {
        let plan = plan(&wanted, applied, &(Seen::Table(observed.clone()), 7));
        let Change::Refill(present) = plan.change else { panic!("{plan:?}") };
        let change = refill(&wanted, &present, &Counters::new());
        assert_eq!(change.emptied, ["forward", "input", "nat", "stray"]);
        assert_eq!(change.chains_gone, ["stray"]);
        assert_eq!(change.flushed, ["set passages"]);
        assert_eq!(change.sets_gone, ["counter c", "map stray"]);
        assert_eq!(change.text, text(&wanted, &Counters::new()));
    }
}

#[test]
fn a_lost_and_a_foreign_element_are_named() {
    let table = table(&["eth0 . eth1"], "a");
    let mut observed = observed(&table);
    let elements = observed.elements.get_mut("passages").unwrap();
    elements.clear();
    elements.insert("eth0 . eth2".to_string(), None);
    let plan = plan(&table, Some(&applied(&table)), &(Seen::Table(observed), 7));
    let items: Vec<&str> = plan.drift.iter().map(|item| item.item.as_str()).collect();
    assert_eq!(items, ["rule 7: element passages { eth0 . eth1 }", "element passages { eth0 . eth2 }"]);
    assert!(matches!(plan.change, Change::Refill(_)));
}

#[test]
fn elements_are_read_as_nft_prints_them() {
    let of_map = json!([
        {"elem": {"val": {"concat": [{"prefix": {"addr": "0.0.0.0", "len": 0}}, "203.0.113.1", "tcp", {"range": [4000, 4100]}]},
            "counter": {"packets": 2, "bytes": 99}}},
        {"concat": ["10.0.1.12", 22]}
    ]);
    let (key, value, count) = read_element(&of_map).unwrap();
    assert_eq!(key, "0.0.0.0/0 . 203.0.113.1 . tcp . 4000-4100");
    assert_eq!(value.as_deref(), Some("10.0.1.12 . 22"));
    assert_eq!(count, Some(Counter { packets: 2, bytes: 99 }));
    assert_eq!(read_element(&json!("203.0.113.5")).unwrap(), ("203.0.113.5".to_string(), None, None));
}

#[test]
fn what_goes_is_gone_before_what_comes() {
    let ports = |range: &str| {
        let mut set = NftSet::set("ports", "type inet_service; flags interval;");
        set.add(range, None, &nobody());
        set
    };
    // They overlap, and the new one is the first by its text.
    let changes = ports("5001-5004").changes(&ports("5002-5005"));
    let changes: Vec<ElementChange> = changes.into_iter().map(|(change, _)| change).collect();
    let set = || "ports".to_string();
    let deleted = ElementChange::Delete { set: set(), key: "5002-5005".to_string() };
    assert_eq!(changes, [deleted, ElementChange::Add { set: set(), element: "5001-5004".to_string() }]);
}

#[test]
fn what_the_kernel_adds_is_no_drift_and_only_goes() {
    let table = |items: &[&str]| {
        let mut set = NftSet::by_packets("in", "type ipv4_addr; size 65535; flags dynamic; counter;");
        (1..).zip(items).for_each(|(n, item)| set.add(format!("203.0.113.{n}"), None, &Arc::from(*item)));
        Table { parts: vec![Part { section: "eips", sets: vec![set], ..Part::default() }] }
    };
    let (one, two) = (table(&["eip a"]), table(&["eip a", "eip b"]));
    assert!(!one.parts[0].text().contains("elements"));
    let counters = Counters::from([(
        "in".to_string(),
        BTreeMap::from(
            [("203.0.113.2", 7), ("203.0.113.9", 8)]
                .map(|(key, packets)| (key.to_string(), Counter { packets, bytes: 99 })),
        ),
    )]);
    assert!(text(&two, &counters).contains("    elements = { 203.0.113.2 counter packets 7 bytes 99 }\n"));
    let outlines = [("eips".to_string(), "1".to_string())].into();
    let applied = |table: &Table| AppliedTable { table: Arc::new(table.clone()), outlines, generation: None };
    let applied = applied(&two);
    let elements = BTreeMap::from([("in".to_string(), [("203.0.113.2".to_string(), None)].into())]);
    let observed = ObservedTable { outlines: applied.outlines.clone(), elements, objects: objects(&two) };
    let seen = (Seen::Table(observed), 7);
    assert!(plan(&two, Some(&applied), &seen).is_empty());
    for (wanted, gone) in [(&one, "203.0.113.2"), (&table(&["eip c", "eip b"]), "203.0.113.1")] {
        let Change::Parts(change) = plan(wanted, Some(&applied), &seen).change else { panic!() };
        assert_eq!(change.elements, [ElementChange::Forget { set: "in".to_string(), key: gone.to_string() }]);
    }
}
