//! Names where a uuid is wanted.

use crate::harness::Server;

#[test]
fn a_name_will_do_for_a_uuid_where_one_thing_has_it() {
    let server = Server::start().with_a_site();
    let l2 = server.uuid("QueryL2Network", "lan");
    let (_, said) = server.ends("switchback CreateL3Network name=db l2NetworkUuid=lan", 0);
    assert!(said.starts_with(&format!("l2NetworkUuid: `lan` is {l2}\n")), "{said}");
    assert_eq!(server.rows("QueryL3Network name=db")[0]["l2NetworkUuid"].as_str(), Some(l2.as_str()));

    // A dry run shows it too; a list has a name in each place; reads take names as commands do.
    let (events, said) = server.ends("switchback CreateL3Network name=x l2NetworkUuid=lan --dry-run", 0);
    assert!(said.starts_with(&format!("l2NetworkUuid: `lan` is {l2}\n")) && events.contains(&l2), "{said}{events}");
    let capacity = server.json("GetIpAddressCapacity l3NetworkUuids=web,public");
    assert_eq!(capacity["capacityData"].as_array().unwrap().len(), 2);
    assert_eq!(server.json("GetFreeIp l3NetworkUuid=web limit=1")["inventories"].as_array().unwrap().len(), 1);
    server.inventory("UpdateL3Network uuid=db name=database");
    server.ends("switchback DeleteL3Network uuid=database", 0);

    // What a tag is put on is of the kind beside it: there is a host of the same name.
    server.inventory("UpdateHost uuid=host-1 name=web");
    let tag = server.inventory("CreateUserTag resourceType=L3NetworkVO resourceUuid=web tag=t");
    assert_eq!(tag["resourceUuid"].as_str(), Some(server.uuid("QueryL3Network", "web").as_str()));
}

#[test]
fn a_name_that_several_have_or_none_has_changes_nothing() {
    let server = Server::start();
    let uuids: Vec<String> = ["dup", "dup", "Dup"]
        .map(|name| server.inventory(&format!("CreateZone name={name}"))["uuid"].as_str().unwrap().to_string())
        .to_vec();
    let (stdout, said) = server.ends("switchback DeleteZone uuid=dup", 3);
    let expected = "error: uuid = `dup` can mean several; give the uuid\nfield: uuid\ncandidates:\n";
    assert!(stdout.is_empty() && said.starts_with(expected), "{said}");
    assert!(uuids.iter().all(|uuid| said.contains(&format!("  zone  {uuid}  "))), "{said}");
    let (_, said) = server.ends("switchback DeleteZone uuid=nobody", 5);
    assert!(said.contains("uuid = `nobody`: that is not the name of a zone\nhint: switchback QueryZone"), "{said}");
    assert_eq!(server.json("QueryZone count=true")["total"], 3);
    // Written as it is, only one has it.
    server.ends("switchback DeleteZone uuid=Dup", 0);
    let left: Vec<_> = server.rows("QueryZone sort=+createDate").iter().map(|zone| zone["uuid"].clone()).collect();
    assert_eq!(left, uuids[..2]);
    // What is gone is called as it was.
    server.ends(&format!("switchback UpdateZone uuid={} name=other", uuids[0]), 0);
    server.ends("switchback DeleteZone uuid=dup", 0);
}

#[test]
fn a_condition_on_a_uuid_takes_a_name_too() {
    let server = Server::start().with_a_site();
    let l2 = server.uuid("QueryL2Network", "lan");
    let (_, said) = server.ends("switchback QueryL3Network l2NetworkUuid=lan", 0);
    assert_eq!(said, format!("l2NetworkUuid: `lan` is {l2}\n1 row\n"));
    assert_eq!(server.rows("QueryL3Network 'l2NetworkUuid!=lan'").len(), 2);
    assert_eq!(server.rows("QueryL3Network 'l2NetworkUuid?=lan,outside' l2Network.zoneUuid=east").len(), 2);
    assert_eq!(server.rows(&format!("QueryL3Network l2NetworkUuid={}", l2.to_uppercase())).len(), 1);
    assert_eq!(server.rows("QueryL2Network attachedClusterUuids=rack").len(), 3);
    assert_eq!(server.rows("QueryL3Network l2NetworkUuid=null").len(), 0);
    let (_, said) = server.ends("switchback QueryL3Network l2NetworkUuid=lane", 5);
    assert!(said.starts_with("error: l2NetworkUuid = `lane`: that is not the name of an L2 network\n"), "{said}");

    // Values of the configuration that resources have of their own: of what the entry says.
    server.json("UpdateResourceConfig category=host name=ping.interval value=30 resourceUuid=rack");
    let rows = server.rows("QueryResourceConfig name=ping.interval");
    assert_eq!(rows[0]["resourceUuid"].as_str(), Some(server.uuid("QueryCluster", "rack").as_str()));
    assert_eq!(server.json("GetResourceConfig category=host name=ping.interval resourceUuid=host-1")["value"], "30");
}
