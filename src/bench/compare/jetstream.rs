//! A stream of a `nats-server` of its own that syncs each message before it confirms it. A command id is a message id, a
//! stream of ours a subject: the server looks for both itself.

use super::{Outcome, Request, Rival};
use crate::bench::nats_server::NatsServer;
use anyhow::Context as _;
use async_nats::jetstream::{
    self, Context,
    context::PublishErrorKind,
    message::PublishMessage,
    stream::{Config, StorageType},
};
use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    path::Path,
};
use tokio::runtime::Runtime;

const STREAM: &str = "log";

/// A server, and the stream that is filled.
pub struct JetStream {
    runtime: Runtime,
    log: Log,
    _server: NatsServer,
}

struct Log {
    context: Context,
    /// Of each subject the version, and the number of its last message.
    last: HashMap<[u8; 16], (u64, u64)>,
}

impl JetStream {
    /// Starts a server that keeps its files in `directory`, and makes the stream.
    pub fn open(directory: &Path) -> anyhow::Result<JetStream> {
        let config = directory.join("nats-server.conf");
        let store = serde_json::Value::from(directory.join("store").to_string_lossy());
        std::fs::write(&config, format!("jetstream {{ store_dir: {store}, sync_interval: always }}\n"))
            .context("write the server's configuration")?;
        let server = NatsServer::start(&[OsStr::new("--config"), config.as_os_str()])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let context = runtime.block_on(async {
            let client = async_nats::connect(format!("nats://{}", server.address)).await.context("connect")?;
            let context = jetstream::new(client);
            let config = Config {
                name: STREAM.to_string(),
                subjects: vec![format!("{STREAM}.>")],
                storage: StorageType::File,
                ..Config::default()
            };
            context.create_stream(config).await.context("make a stream")?;
            anyhow::Ok(context)
        })?;
        Ok(JetStream { runtime, log: Log { context, last: HashMap::new() }, _server: server })
    }
}

impl Log {
    /// Sends them at once, each on a subject of its own, and waits for all confirmations.
    async fn publish(&mut self, requests: &[&Request]) -> anyhow::Result<Vec<Outcome>> {
        let mut sent = Vec::with_capacity(requests.len());
        for request in requests {
            let (version, number) = self.last.get(&request.stream).copied().unwrap_or_default();
            // Where the version is another, no message has this number.
            let expected = if request.version == version { number } else { u64::MAX };
            let message = PublishMessage::build()
                .message_id(hexadecimal(&request.command))
                .expected_last_subject_sequence(expected)
                .payload(request.record.clone().into());
            let subject = format!("{STREAM}.{}", hexadecimal(&request.stream));
            sent.push(self.context.send_publish(subject, message).await.context("publish")?);
        }
        let mut outcomes = Vec::with_capacity(requests.len());
        for (request, sent) in requests.iter().zip(sent) {
            outcomes.push(match sent.await {
                Ok(ack) if ack.duplicate => Outcome::Repeated,
                Ok(ack) => {
                    self.last.insert(request.stream, (request.version + 1, ack.sequence));
                    Outcome::Durable
                }
                Err(refused) if refused.kind() == PublishErrorKind::WrongLastSequence => Outcome::Conflict,
                Err(failed) => return Err(failed).context("have a message confirmed"),
            });
        }
        Ok(outcomes)
    }
}

impl Rival for JetStream {
    fn commit(&mut self, group: &[Request]) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(group.len());
        let (mut together, mut streams) = (Vec::new(), HashSet::new());
        for request in group {
            // What is expected of a subject is known when its last message is confirmed.
            if !streams.insert(request.stream) {
                outcomes.extend(self.runtime.block_on(self.log.publish(&together))?);
                together.clear();
                streams = HashSet::from([request.stream]);
            }
            together.push(request);
        }
        outcomes.extend(self.runtime.block_on(self.log.publish(&together))?);
        Ok(outcomes)
    }
}

fn hexadecimal(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}
