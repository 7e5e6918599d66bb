//! Who may send what, asked behind the bus: so it holds for every way in.

use crate::harness::World;
use serde_json::json;
use switchback_bus::{Bus, Caller, CommandRequest, EventsRequest, GetEvents, LogForm, QueryRequest, Read, code, read};
use switchback_events::{Id, Origin};

fn nothing_of() -> GetEvents {
    match read("GetEvents", &json!({})) {
        Ok(Read::GetEvents(filter)) => filter,
        _ => panic!("a read of events"),
    }
}

#[actix_rt::test]
async fn who_may_not_is_told_so_before_anything_is_looked_at() {
    let world = World::new();
    let bob = Caller::new("bob", Id::of_name("bob").into(), false);
    for (caller, refused) in [(Caller::nobody(), code::INVALID_SESSION), (bob, code::PERMISSION_DENIED)] {
        let command = CommandRequest::new("CreateZone", json!({"bad": 1}), caller.clone(), Origin::Api);
        let query = QueryRequest { name: "QueryGlobalConfig".to_string(), ..QueryRequest::default() };
        let events = EventsRequest { filter: nothing_of(), follow: false };
        let codes = [
            world.node.command(command).await.unwrap_err(),
            world.node.query(&caller, query).await.unwrap_err(),
            world.node.read(&caller, "GetAgentToken", json!({})).await.unwrap_err(),
            world.node.events(&caller, events).await.map(|_| ()).unwrap_err(),
            world.node.log(&caller, LogForm::Frames, 0).await.map(|_| ()).unwrap_err(),
        ];
        assert!(codes.iter().all(|refusal| refusal.code == refused), "{codes:?}");
    }
}
