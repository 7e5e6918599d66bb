//! The processes, and what must be true of them at the end.

use super::client::lines;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// So long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is so.
pub fn patience(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that is killed when it is dropped.
struct Process {
    command: Command,
    child: Child,
}

impl Process {
    fn start(mut command: Command) -> Process {
        let child = command.spawn().unwrap();
        Process { command, child }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn again(&mut self) {
        self.kill();
        self.child = self.command.spawn().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands between clients and `switchback serve`.
#[derive(Clone, Copy, PartialEq)]
pub enum Between {
    Nothing,
    Server,
}

pub struct World {
    folder: tempfile::TempDir,
    http: u16,
    nats_url: String,
    token: String,
    clients: Vec<Process>,
    switchback: Process,
    nats: Option<Process>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn log(folder: &Path, name: &str) -> Stdio {
    fs::OpenOptions::new().create(true).append(true).open(folder.join(name)).unwrap().into()
}

impl World {
    pub fn start(clients: usize, between: Between) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (at, http, port) = (folder.path(), free_port(), free_port());
        let nats_url = format!("nats://127.0.0.1:{port}");
        let mut server = Command::new(env!("CARGO_BIN_EXE_switchback"));
        server.arg("serve").arg("--simulate").arg("--data").arg(at.join("data"));
        server.args(["--listen", &format!("127.0.0.1:{http}")]);
        server.env("SWITCHBACK_LOG", "warn").stdout(Stdio::null()).stderr(log(at, "switchback.log"));
        let nats = match between {
            Between::Nothing => {
                server.args(["--bus", &format!("127.0.0.1:{port}")]);
                None
            }
            Between::Server => {
                server.args(["--bus", "off", "--nats", &nats_url]);
                let (config, store) = (at.join("nats.conf"), at.join("nats"));
                let text =
                    format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n", store.display());
                fs::write(&config, text).unwrap();
                let mut nats = Command::new("nats-server");
                nats.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
                Some(Process::start(nats))
            }
        };
        let switchback = Process::start(server);
        let token = at.join("data/admin.token");
        patience("there is a token", || fs::read_to_string(&token).is_ok_and(|text| text.ends_with('\n')));
        let token = fs::read_to_string(&token).unwrap().trim().to_string();
        let client = |number: usize| {
            let own = at.join(format!("client-{number}"));
            fs::create_dir(&own).unwrap();
            fs::write(own.join("told"), format!("{nats_url}\n{token}\nzone-{number}\n")).unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--ignored", "--exact", "client_process", "--nocapture"]).env("KILLS_CLIENT", &own);
            command.stdout(log(&own, "log")).stderr(log(&own, "log"));
            Process::start(command)
        };
        let clients = (0..clients).map(client).collect();
        World { http, nats_url, token, clients, switchback, nats, folder }
    }

    /// What stands between, or else the server itself.
    pub fn kill_between(&mut self) -> &'static str {
        match &mut self.nats {
            Some(nats) => nats.again(),
            None => return self.kill_switchback(),
        }
        "nats-server"
    }

    pub fn kill_switchback(&mut self) -> &'static str {
        self.switchback.again();
        "switchback"
    }

    pub fn kill_client(&mut self, number: usize) -> &'static str {
        self.clients[number].again();
        "client"
    }

    fn own(&self, client: usize, file: &str) -> PathBuf {
        self.folder.path().join(format!("client-{client}")).join(file)
    }

    /// Commands that were answered.
    pub fn answered(&self) -> usize {
        (0..self.clients.len()).map(|client| lines(&self.own(client, "sent")).len()).sum()
    }

    fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.http);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let reply = http.get(url).bearer_auth(&self.token).send().await.ok()?;
            reply.json().await.ok()
        })
    }

    /// Lets the clients send no more, and waits until each has all events.
    pub fn end(&mut self) {
        for client in 0..self.clients.len() {
            fs::write(self.own(client, "enough"), "").unwrap();
        }
        for client in 0..self.clients.len() {
            patience("a client's last command is answered", || self.own(client, "sent-all").exists());
        }
        switchback_agent::install_provider();
        let mut head = Value::Null;
        patience("the server answers", || {
            head = self.get("/v1/queries/GetAuditHead").unwrap_or_default();
            head["position"].is_u64()
        });
        let head = &head["position"];
        for client in 0..self.clients.len() {
            let draft = self.own(client, "upto.draft");
            fs::write(&draft, head.to_string()).unwrap();
            fs::rename(&draft, self.own(client, "upto")).unwrap();
        }
        for (number, client) in self.clients.iter_mut().enumerate() {
            let mut ended = None;
            patience(&format!("client {number} has all events up to {head}"), || {
                ended = client.child.try_wait().unwrap();
                ended.is_some()
            });
            assert!(ended.unwrap().success(), "client {number} failed");
        }
    }

    pub fn verify(&mut self) {
        let zones = self.get("/v1/queries/QueryZone?limit=100000").unwrap();
        let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let text = |zone: &Value, field: &str| zone[field].as_str().unwrap_or_default().to_string();
        for zone in zones["inventories"].as_array().unwrap() {
            made.entry(text(zone, "name")).or_default().push(text(zone, "uuid"));
        }
        let mut answered = BTreeSet::new();
        let mut heads = BTreeSet::new();
        for client in 0..self.clients.len() {
            for line in lines(&self.own(client, "sent")) {
                let mut words = line.split(' ').map(str::to_string);
                let (name, uuid) = (words.next().unwrap(), words.next().unwrap());
                assert_eq!(made.get(&name), Some(&vec![uuid]), "{name}: once, as it was answered");
                answered.insert(name);
            }
            let events: Vec<u64> =
                lines(&self.own(client, "events")).iter().map(|line| line.parse().unwrap()).collect();
            assert!(
                events.iter().copied().eq(1..=events.len() as u64),
                "client {client}: every event once and in order"
            );
            heads.insert(events.len());
        }
        let made: BTreeSet<String> = made.into_keys().collect();
        assert_eq!(made, answered, "all that was done was answered in the end, and nothing else was done");
        let head = *heads.last().unwrap() as u64;
        println!("{} commands, {head} events", answered.len());
        if self.nats.is_some() {
            self.verify_stream(head);
        }
    }

    /// Each event is the message of its number.
    fn verify_stream(&self, head: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(&self.nats_url).await.unwrap();
            let context = async_nats::jetstream::new(client);
            let mut stream = context.get_stream("SWITCHBACK").await.unwrap();
            let begin = Instant::now();
            while stream.info().await.unwrap().state.last_sequence < head {
                assert!(begin.elapsed() < PATIENCE, "the stream is not filled");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(stream.cached_info().state.messages, stream.cached_info().state.last_sequence);
            for position in 1..=head {
                let message = stream.get_raw_message(position).await.unwrap();
                assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), position.to_string());
            }
        });
    }
}
