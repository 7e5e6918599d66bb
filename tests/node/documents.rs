//! What goes over the message bus, held to its document: headers and payloads of replies, refusals and events.

use crate::{
    harness::{ALL_SERVICES, Site, World, admin, text, uuid},
    invariants::{
        self,
        documents::{document, valid, valid_event},
    },
};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use switchback_bus::{Asked, Bus, EventsRequest, FixedTokens, MessageKind, Rates, Read, messages, read};
use switchback_nats::{AskedSubject, Headers, Outgoing, Request, Service, published};

const TOKEN: &str = "secret";

fn service(world: &World) -> Arc<Service> {
    let tokens = Arc::new(FixedTokens::new([(TOKEN, "admin")]));
    Arc::new(Service::new(world.node.clone(), tokens, Arc::new(Asked::new(Rates::default()))))
}

async fn ask(service: &Arc<Service>, subject: &str, headers: Headers, body: &Value) -> Vec<Outgoing> {
    let (reply, payload) = (Some("_INBOX.1".to_string()), body.to_string().into());
    let token = Some(Arc::from(TOKEN));
    let request = Request { subject: subject.to_string(), reply, headers, payload, token, peer: None };
    service.clone().answer(request).collect().await
}

/// The headers as an object, as schemas see them.
fn object(headers: &Headers) -> Value {
    headers.iter().map(|(name, value)| (name.to_string(), json!(value))).collect::<Map<String, Value>>().into()
}

/// Holds a message to one of the document's, and gives its payload.
#[track_caller]
fn is(name: &str, message: &Outgoing) -> Value {
    let known = &document()["components"]["messages"][name];
    let schema = |part: &str| known[part]["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_string();
    let payload: Value = serde_json::from_slice(&message.payload).unwrap();
    let faults = [valid(&schema("headers"), &object(&message.headers)), valid(&schema("payload"), &payload)];
    for fault in faults {
        fault.unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    payload
}

#[actix_rt::test]
async fn replies_refusals_and_events_on_the_bus_are_as_the_document_says() {
    let world = World::new();
    let site = Site::new(&world).await;
    let l3 = site.guest("guest", ALL_SERVICES).await;
    let service = service(&world);
    let first = |mut replies: Vec<Outgoing>| {
        assert_eq!(replies.len(), 1);
        replies.remove(0)
    };
    let vm = site.vm("vm", &l3).await;
    let dry = Headers::new().with("X-Dry-Run", "true").with("Nats-Msg-Id", "a").with("X-Reason", "why");
    for (at, headers) in [dry, Headers::new().with("X-Wait", "durable"), Headers::new()].into_iter().enumerate() {
        let change = json!({"uuid": uuid(&vm), "name": format!("other-{at}")});
        valid("CommandHeaders", &object(&headers)).unwrap();
        valid("UpdateVmInstance", &change).unwrap();
        let reply = first(ask(&service, "switchback.cmd.UpdateVmInstance", headers, &change).await);
        assert_eq!(is("CommandReply", &reply)["events"][0]["kind"], "vm_instance.Updated");
    }
    // Every query there is, and the reads that want nothing.
    let (mut queries, mut reads) = (0, 0);
    for message in messages().filter(|message| !message.internal && message.kind != MessageKind::Command) {
        let subject = format!("switchback.query.{}", message.name);
        assert_eq!(document()["channels"][message.name]["address"], json!(subject));
        assert_eq!(AskedSubject::of(&subject), Some(AskedSubject::Query(message.name)));
        let (body, schema) = match message.kind {
            MessageKind::Query => (json!({"q": [], "limit": 2, "replyWithCount": true, "at": 7}), "QueryRequest"),
            _ if message.parameters.iter().any(|parameter| parameter.required) => continue,
            _ => (json!({}), message.name),
        };
        valid(schema, &body).unwrap();
        let reply = first(ask(&service, &subject, Headers::new(), &body).await);
        let refused = reply.headers.all("Nats-Service-Error-Code").next().is_some();
        match message.kind {
            _ if refused => drop(is("Problem", &reply)),
            MessageKind::Query => {
                is("QueryReply", &reply);
                queries += 1;
            }
            _ => {
                is("ReadReply", &reply);
                reads += 1;
            }
        }
    }
    assert!(queries > 20 && reads > 5, "{queries} queries and {reads} reads were answered");
    for (name, body, code) in [
        ("CreateZone", json!({"nam": "z"}), "400"),
        ("DeleteZone", json!({"uuid": text(&vm, "zoneUuid")}), "409"),
        ("StartVmInstance", json!({"uuid": "0".repeat(32)}), "404"),
        ("CreatZone", json!({}), "404"),
    ] {
        let reply = first(ask(&service, &format!("switchback.cmd.{name}"), Headers::new(), &body).await);
        let problem = is("Problem", &reply);
        assert_eq!(object(&reply.headers)["Nats-Service-Error-Code"], code, "{problem}");
        assert_eq!(problem["status"].to_string(), code);
    }
    let bad = json!({"nam": "z"});
    assert!(valid("CreateZone", &bad).is_err() && valid("CreateZone", &json!({"name": 7})).is_err());

    // Events as they are published: each by its own message, on a subject of its channel.
    let head = world.head();
    world.node.journal().wait_durable(head).await.unwrap();
    let page = world.node.events(&admin(), events_of_all()).await.unwrap();
    let events: Vec<_> = page.flat_map(|batch| futures_util::stream::iter(batch.unwrap().events)).collect().await;
    assert!(events.len() as u64 >= head, "{} events of {head}", events.len());
    for followed in &events {
        let event: &Value = &serde_json::from_str(&followed.text).unwrap();
        valid_event(event).unwrap_or_else(|fault| panic!("{fault}"));
        let asked = json!({"after": followed.position - 1, "limit": 1});
        let mut page = world.read("GetEvents", asked).await;
        // A page names the resource, too.
        page["events"][0].as_object_mut().unwrap().remove("name");
        assert_eq!(page["events"], json!([event]), "a page and a stream differ");
        let message = published(followed);
        let kind = event["kind"].as_str().unwrap();
        assert_eq!(is(kind, &message), *event);
        let (stem, name) = kind.split_once('.').unwrap();
        let address = format!("switchback.evt.{stem}.{}.{name}", event["streamId"].as_str().unwrap());
        assert_eq!(message.subject, address);
        let channel = &document()["channels"][format!("evt.{stem}")];
        assert_eq!(channel["address"], json!(format!("switchback.evt.{stem}.{{uuid}}.{{kind}}")));
        let mut other = event.clone();
        other["payload"]["more"] = json!(1);
        assert!(valid_event(&other).is_err(), "{kind} takes any payload");
    }
    // The past, by credit; and a problem where it cannot be asked so.
    let body = json!({"after": 2, "credit": 5, "waitSeconds": 0, "upto": 100, "kind": "l2_network"});
    valid("ReplayRequest", &body).unwrap();
    let mut replies = ask(&service, "switchback.events.replay", Headers::new(), &body).await;
    let end = is("ReplayEnd", &replies.pop().unwrap());
    assert_eq!((replies.is_empty(), &end["events"]), (false, &json!(replies.len())));
    replies.iter().for_each(|reply| drop(is("ReplayedEvent", reply)));
    for bad in [json!({"credit": 0}), json!({"newest": true}), json!({"limit": 7}), json!({"waitSeconds": 31})] {
        assert!(valid("ReplayRequest", &bad).is_err(), "{bad}");
        is("Problem", &first(ask(&service, "switchback.events.replay", Headers::new(), &bad).await));
    }
    invariants::as_documented(&invariants::durable_log(world.node.journal()).unwrap()).unwrap();
}

fn events_of_all() -> EventsRequest {
    let Ok(Read::GetEvents(filter)) = read("GetEvents", &json!({})) else { panic!("a read of events") };
    EventsRequest { filter, follow: false }
}

#[test]
fn what_differs_from_the_document_is_told() {
    let event = |change: fn(&mut Value)| {
        let id = "0".repeat(32);
        let mut event = json!({
            "position": 1, "streamType": "zone", "streamId": id, "version": 1, "kind": "zone.Deleted", "schema": 1, "at": 0,
            "time": "1970-01-01T00:00:00Z", "commandId": id, "command": "DeleteZone", "principal": "admin", "origin": "api",
            "correlation": id, "tags": [id], "payload": {},
        });
        change(&mut event);
        valid_event(&event)
    };
    event(|_| ()).unwrap();
    let changes: [fn(&mut Value); 9] = [
        |event| event["position"] = json!("1"),
        |event| event["streamId"] = json!("zone"),
        |event| event["streamType"] = json!("host"),
        |event| event["schema"] = json!(2),
        |event| event["time"] = json!("yesterday"),
        |event| event["origin"] = json!("somewhere"),
        |event| event["payload"] = json!({"name": "z"}),
        |event| event["more"] = json!(1),
        |event| drop(event.as_object_mut().unwrap().remove("commandId")),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert!(event(change).is_err(), "change {at}");
    }
}
