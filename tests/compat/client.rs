//! A server with simulated hosts, and a client that speaks as ZStack's Go SDKs do: their paths, their envelopes, the
//! fields that nobody set, their pages, their reading of errors, jobs and times. Written from what goes over the wire.

use base64::Engine;
use ring::hmac;
use serde_json::{Map, Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The server, and who asks it.
pub struct Client {
    server: Child,
    folder: tempfile::TempDir,
    address: String,
    token: String,
}

/// Why not, as the SDKs read it.
#[derive(Debug)]
pub struct Failure {
    pub status: u16,
    pub code: String,
    pub details: String,
}

type Answer = Result<Value, Failure>;

impl Client {
    pub fn start() -> Client {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut server = Command::new(env!("CARGO_BIN_EXE_switchback"))
            .args(["serve", "--simulate", "--log-json", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = loop {
            let line = said.next().expect("it says where it listens").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event["fields"]["address"].as_str().filter(|_| event["fields"]["message"] == "ready")
            {
                break address.trim_start_matches("http://").to_string();
            }
        };
        // Whoever says something must find someone who listens.
        std::thread::spawn(move || said.for_each(drop));
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap().trim().to_string();
        Client { server, folder, address, token }
    }

    /// Where it listens on the loopback.
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// Of the account `admin`.
    pub fn password(&self) -> String {
        let file = self.folder.path().join("data/admin.password");
        std::fs::read_to_string(file).unwrap().trim().to_string()
    }

    /// One request over a connection of its own; the path goes out as it is.
    fn send(&self, method: &str, target: &str, headers: &str, body: Option<&Value>) -> (u16, Value) {
        let token = &self.token;
        let headers = format!("Authorization: OAuth {token}\r\nx-session-id: {token}\r\n{headers}");
        self.exchange(method, target, &headers, body)
    }

    /// The same signed with an access key, as the SDKs sign: local time, and the path below the context path.
    pub fn send_signed(&self, key: &Value, method: &str, target: &str, body: Option<&Value>) -> (u16, Value) {
        let text = |name: &str| key[name].as_str().unwrap();
        let date = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(8);
        let date = date.strftime("%a, %d %b %Y %H:%M:%S CST").to_string();
        let path = target.strip_prefix("/zstack").unwrap().split('?').next().unwrap();
        let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, text("AccessKeySecret").as_bytes());
        let signature = hmac::sign(&secret, format!("{method}\n{date}\n{path}").as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(signature);
        let headers = format!("Authorization: ZStack {}:{signature}\r\nDate: {date}\r\n", text("AccessKeyID"));
        self.exchange(method, target, &headers, body)
    }

    /// The same by a token.
    pub fn as_holder_of(&self, token: &str, method: &str, target: &str, body: Option<&Value>) -> (u16, Value) {
        self.exchange(method, target, &format!("Authorization: Bearer {token}\r\n"), body)
    }

    fn exchange(&self, method: &str, target: &str, headers: &str, body: Option<&Value>) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let body = body.map(Value::to_string).unwrap_or_default();
        let (address, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}")))
    }

    /// A call as the SDKs make it: what became a job is polled until it ended.
    fn call(&self, method: &str, resource: &str, headers: &str, body: Option<&Value>) -> Answer {
        let (mut status, mut answer) = self.send(method, &format!("/zstack/{resource}"), headers, body);
        if let Some(location) = answer["location"].as_str() {
            let job =
                location.strip_prefix(&format!("http://{}", self.address)).expect("a job of this server").to_string();
            assert_eq!(status, 202);
            loop {
                (status, answer) = self.send("GET", &job, "", None);
                if status != 202 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if status < 300 {
            return Ok(answer);
        }
        let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(members, ["error"]);
        assert!([400, 404, 503].contains(&status), "{status}");
        let text = |name: &str| answer["error"][name].as_str().unwrap().to_string();
        Err(Failure { status, code: text("code"), details: text("details") })
    }

    /// Creates or attaches: `params` in their envelope, its `inventory` back.
    pub fn post(&self, resource: &str, params: Value) -> Answer {
        self.call("POST", resource, "", Some(&json!({"params": params}))).map(inventory)
    }

    /// The same with system tags.
    pub fn post_with_tags(&self, resource: &str, params: Value, tags: &[&str]) -> Answer {
        self.call("POST", resource, "", Some(&json!({"params": params, "systemTags": tags}))).map(inventory)
    }

    /// The same as a job from the start.
    pub fn post_as_job(&self, resource: &str, params: Value) -> Answer {
        self.call("POST", resource, "Prefer: respond-async\r\n", Some(&json!({"params": params}))).map(inventory)
    }

    /// An action: the envelope's key names it.
    pub fn put(&self, resource: &str, id: &str, action: &str, params: Value) -> Answer {
        self.call("PUT", &format!("{resource}/{id}/actions"), "", Some(&json!({action: params}))).map(inventory)
    }

    /// A body without an envelope, to a path of its own.
    pub fn raw(&self, method: &str, resource: &str, body: &Value) -> Answer {
        self.call(method, resource, "", Some(body))
    }

    /// A delete: what it leaves is nothing.
    pub fn delete(&self, resource: &str, id: &str, mode: &str) -> Answer {
        self.call("DELETE", &format!("{resource}/{id}?deleteMode={mode}"), "", None)
    }

    /// Any other read.
    pub fn read(&self, resource: &str) -> Answer {
        self.call("GET", resource, "", None)
    }

    /// Inventories under conditions.
    pub fn list(&self, resource: &str, query: &str) -> Vec<Value> {
        let answer = self.read(&format!("{resource}?{query}")).unwrap();
        answer["inventories"].as_array().unwrap().iter().cloned().map(times_are_theirs).collect()
    }

    /// The one with this uuid, if there is one.
    pub fn get(&self, resource: &str, id: &str) -> Option<Value> {
        let mut found = self.list(&format!("{resource}/{id}"), "");
        assert!(found.len() < 2);
        found.pop()
    }

    /// All, in pages of 50, each asked with the total of the one before, as the SDKs do.
    pub fn list_all(&self, resource: &str) -> Vec<Value> {
        let (mut all, mut start, mut total) = (vec![], 0, String::new());
        loop {
            let page = self.read(&format!("{resource}?limit=50&replyWithCount=true&start={start}{total}")).unwrap();
            all.extend(page["inventories"].as_array().unwrap().iter().cloned());
            total = format!("&total={}", page["total"].as_u64().unwrap());
            if start + 50 > all.len() {
                return all;
            }
            start += 50;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn inventory(mut answer: Value) -> Value {
    times_are_theirs(answer["inventory"].take())
}

/// `Nov 20, 2026 5:54:12 PM`, wherever there is a time.
fn times_are_theirs(value: Value) -> Value {
    fn look(map: &Map<String, Value>) {
        for (name, value) in map {
            match value {
                Value::String(text) if name == "createDate" || name == "lastOpDate" => {
                    let parts: Vec<&str> = text.split([' ', ':']).collect();
                    let [month, day, year, hour, minute, second, half] = parts[..] else { panic!("{name} = {text}") };
                    assert!(month.len() == 3 && year.len() == 4 && minute.len() == 2 && second.len() == 2, "{text}");
                    assert!(day.ends_with(',') && (1..=12).contains(&hour.parse::<u8>().unwrap()), "{text}");
                    assert!(["AM", "PM"].contains(&half), "{text}");
                }
                Value::Object(map) => look(map),
                Value::Array(items) => items.iter().filter_map(Value::as_object).for_each(look),
                _ => {}
            }
        }
    }
    value.as_object().into_iter().for_each(look);
    value
}

/// The uuid of an inventory.
pub fn uuid(inventory: &Value) -> String {
    let uuid = inventory["uuid"].as_str().unwrap_or_else(|| panic!("no uuid in {inventory}"));
    assert!(uuid.len() == 32 && uuid.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)), "{uuid}");
    uuid.to_string()
}
