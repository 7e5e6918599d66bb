//! Clients that have come in and say nothing.

use crate::harness::{PATIENCE, Site, Way};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

/// As many as the listener lets in.
const CLIENTS: usize = 10_000;
/// What the server may hold with all of them.
const MOST_BYTES: u64 = 300_000_000;

/// One that has come in and was answered.
fn client(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = BufReader::with_capacity(1024, stream);
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert!(line.starts_with("INFO "), "{line}");
    ask(&mut client, "CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\n");
    client
}

fn ask(client: &mut BufReader<TcpStream>, text: &str) {
    client.get_mut().write_all(text.as_bytes()).unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "PONG\r\n");
}

#[test]
fn ten_thousand_clients_that_say_nothing_take_little_memory() {
    let files = CLIENTS as u64 + 1000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(files), hard.max(files)).unwrap();
    let site = Site::start(Way::Listener);
    let (address, before) = (site.url().replace("nats://", ""), site.resident());
    // One place is taken until the server has seen that whoever looked for its port has gone.
    let mut clients: Vec<_> = (1..CLIENTS).map(|_| client(&address)).collect();
    let after = site.resident();
    println!(
        "{before} bytes alone, {after} with {} clients: {} each",
        clients.len(),
        (after - before) / clients.len() as u64
    );
    assert!(after <= MOST_BYTES, "{after} bytes with {} clients, {before} without", clients.len());
    for client in clients.iter_mut().step_by(997) {
        ask(client, "PING\r\n");
    }
}
