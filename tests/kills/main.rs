//! The message bus while its parts are killed: `switchback serve`, its clients and, where there is one between them, a
//! NATS server, each with SIGKILL and by chance, under load.
//!
//! ```text
//!  client 0 ─┐                                             a client keeps what it sent and what it heard in files,
//!  client 1 ─┼─► nats-server (JetStream) ◄─► switchback    and goes on by them when it is started again
//!  client 2 ─┘            or directly ─────► switchback
//! ```
//! At the end: no command took effect twice, none that was answered is lost, each client has every event once and in
//! order, and so has the stream.
//!
//! 10 kills; 50 with `SWITCHBACK_FULL`. `KILLS_SEED=42` repeats the order of a run.

mod client;
mod world;

use std::{collections::BTreeMap, time::Duration};
use world::{Between, World, patience};

/// Clients that send commands and follow the events.
const CLIENTS: usize = 3;

#[test]
fn through_a_server_no_command_counts_twice_and_no_event_is_lost_whatever_is_killed() {
    kill(World::start(CLIENTS, Between::Server));
}

#[test]
fn on_the_listener_no_command_counts_twice_and_no_event_is_lost_whatever_is_killed() {
    kill(World::start(CLIENTS, Between::Nothing));
}

fn kill(mut world: World) {
    let full = std::env::var_os("SWITCHBACK_FULL").is_some();
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(if full { 50 } else { 10 });
    let seed = std::env::var("KILLS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("KILLS_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut killed: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..kills {
        // At least one command more since the last kill, and then somewhere in the middle of others.
        let before = world.answered();
        patience("a command is answered", || world.answered() > before);
        std::thread::sleep(Duration::from_millis(chance.u64(0..200)));
        let part = match chance.usize(0..4) {
            0 => world.kill_between(),
            1 => world.kill_switchback(),
            _ => world.kill_client(chance.usize(0..CLIENTS)),
        };
        *killed.entry(part).or_default() += 1;
    }
    println!("killed: {killed:?}");
    world.end();
    world.verify();
}

/// A client, in a process of its own: the test starts it, with where its files are.
#[test]
#[ignore = "only as a process of the other test"]
fn client_process() {
    if let Some(folder) = std::env::var_os("KILLS_CLIENT") {
        client::run(std::path::Path::new(&folder));
    }
}
