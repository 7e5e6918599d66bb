//! A process of `nats-server` for a benchmark, where the program is found.

use anyhow::Context;
use std::{
    ffi::OsStr,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// So long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a free port of the loopback; it is killed when this is dropped.
pub struct NatsServer {
    /// Where it listens.
    pub address: SocketAddr,
    process: Child,
}

impl NatsServer {
    /// Whether the program is here.
    pub fn is_there() -> bool {
        let version = Command::new("nats-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    /// Starts it with these arguments, and waits until it listens.
    ///
    /// # Errors
    /// No port, no program, or one that ends or does not listen.
    pub fn start(arguments: &[&OsStr]) -> anyhow::Result<NatsServer> {
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("find a port")?;
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]).args(arguments);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start nats-server")?;
        let mut server = NatsServer { address, process };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.process.try_wait().context("look after nats-server")?;
            anyhow::ensure!(ended.is_none() && began.elapsed() < PATIENCE, "nats-server does not listen: {ended:?}");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
