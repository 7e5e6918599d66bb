//! One client: sends commands, each again until it is answered, and keeps every event in the order of the log.
//!
//! Its files: `begun` has the number of the last command that was sent, `sent` a line for each that was answered, `events` one
//! for each event's position. The last line may be torn, and then does not count.

use async_nats::{Client, Event, HeaderMap, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// A reply that does not come in this time is asked for again.
const AGAIN: Duration = Duration::from_secs(3);
/// So often is asked for what may have been missed, whatever was heard.
const LOOK: Duration = Duration::from_secs(1);

/// What the test tells its clients.
pub struct Told {
    pub server: String,
    pub token: String,
    pub name: String,
}

/// The whole lines of a file; what follows them was torn by a kill and is cut off.
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(str::to_string).collect()
}

fn reopen(path: &Path) -> (Vec<String>, File) {
    let known = lines(path);
    let whole = known.iter().map(|line| line.len() as u64 + 1).sum();
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.set_len(whole).unwrap();
    (known, file)
}

pub fn run(folder: &Path) {
    let told = fs::read_to_string(folder.join("told")).unwrap();
    let mut told = told.lines().map(str::to_string);
    let mut next = || told.next().unwrap();
    let told = Told { server: next(), token: next(), name: next() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let again = Arc::new(Notify::new());
        let came = again.clone();
        let options = async_nats::ConnectOptions::with_token(told.token.clone());
        let options = options.retry_on_initial_connect().event_callback(move |event| {
            if matches!(event, Event::Connected) {
                came.notify_one();
            }
            async {}
        });
        let pause = |_| Duration::from_millis(20);
        let client = options.reconnect_delay_callback(pause).connect(told.server.as_str()).await.unwrap();
        tokio::join!(send(folder, &client, &told), follow(folder, &client, &told, &again));
    });
}

/// Until the test wants no more.
async fn send(folder: &Path, client: &Client, told: &Told) {
    let (known, mut file) = reopen(&folder.join("sent"));
    let mut number = known.len();
    let begun = folder.join("begun");
    // What was sent and not answered is sent again, whatever else is wanted.
    let in_flight = |number: usize| fs::read_to_string(&begun).is_ok_and(|begun| begun == number.to_string());
    while in_flight(number) || !folder.join("enough").exists() {
        if !in_flight(number) {
            fs::write(&begun, number.to_string()).unwrap();
        }
        let name = format!("{}-{number}", told.name);
        let body = json!({"name": name}).to_string();
        let reply = loop {
            let reply = ask(client, told, "switchback.cmd.CreateZone", &name, &body).await;
            match reply {
                Some(reply) if reply["inventory"]["name"] == name.as_str() => break reply,
                Some(reply) => {
                    let status = reply["status"].as_u64().unwrap_or_default();
                    assert!(matches!(status, 429 | 500 | 503 | 504), "{name}: {reply}");
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let (uuid, position) = (reply["inventory"]["uuid"].as_str().unwrap(), &reply["position"]);
        file.write_all(format!("{name} {uuid} {position}\n").as_bytes()).unwrap();
        number += 1;
    }
    fs::write(folder.join("sent-all"), "").unwrap();
}

async fn ask(client: &Client, told: &Told, subject: &str, id: &str, body: &str) -> Option<Value> {
    let mut headers = HeaderMap::new();
    headers.insert("Authorization", format!("Bearer {}", told.token));
    headers.insert("Nats-Msg-Id", id);
    headers.insert("X-Wait", "durable");
    let request = async_nats::Request::new().headers(headers).payload(body.to_string().into()).timeout(Some(AGAIN));
    let reply = client.send_request(subject.to_string(), request).await.ok()?;
    serde_json::from_slice(&reply.payload).ok()
}

/// What a client knows of the log.
struct Known {
    last: u64,
    file: File,
}

impl Known {
    /// Takes the next event and leaves out what it has; `false` where one before it is missing.
    fn take(&mut self, message: &Message) -> bool {
        let headers = message.headers.as_ref().unwrap();
        let position: u64 = headers.get("ce-id").unwrap().as_str().parse().unwrap();
        if position == self.last + 1 {
            self.file.write_all(format!("{position}\n").as_bytes()).unwrap();
            self.last = position;
        }
        position <= self.last
    }
}

/// Live, with a look at the past after each connection, at each gap, and now and then.
async fn follow(folder: &Path, client: &Client, told: &Told, again: &Notify) {
    let (known, file) = reopen(&folder.join("events"));
    let last = known.last().map_or(0, |line| line.parse().unwrap());
    let mut known = Known { last, file };
    let mut live = client.subscribe("switchback.evt.>").await.unwrap();
    let mut behind = true;
    loop {
        if behind {
            behind = !replay(client, told, &mut known).await;
        }
        let upto = fs::read_to_string(folder.join("upto")).ok().and_then(|upto| upto.parse::<u64>().ok());
        if upto.is_some_and(|upto| known.last >= upto) {
            return;
        }
        tokio::select! {
            message = live.next() => behind |= !known.take(&message.unwrap()),
            () = again.notified() => behind = true,
            () = tokio::time::sleep(LOOK) => behind = true,
        }
    }
}

/// Asks for a page of the past; whether it was the last.
async fn replay(client: &Client, told: &Told, known: &mut Known) -> bool {
    let inbox = client.new_inbox();
    let mut page = client.subscribe(inbox.clone()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Authorization", format!("Bearer {}", told.token));
    let body = json!({"after": known.last, "credit": 500}).to_string();
    let asked = client.publish_with_reply_and_headers("switchback.events.replay", inbox, headers, body.into()).await;
    if asked.is_err() {
        return false;
    }
    while let Ok(Some(message)) = tokio::time::timeout(AGAIN, page.next()).await {
        let headers = message.headers.clone().unwrap_or_default();
        if headers.get("Switchback-Replay").is_some() {
            let end: Value = serde_json::from_slice(&message.payload).unwrap();
            return end["examined"] == end["head"];
        }
        if headers.get("ce-id").is_none() || !known.take(&message) {
            // Nobody answers, a refusal, or a page of which a part was lost.
            return false;
        }
    }
    false
}
