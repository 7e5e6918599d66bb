//! The registry: which actor decides for which aggregate. actix does not bring back an actor that panicked, so the
//! registry does: it sees the closed mailbox, makes a new actor, and counts. A command that kills its actor twice is
//! poisonous and is refused from then on.

use crate::{
    decide::target,
    entity::{Clock, Decided, Entity, Execute},
    states::States,
};
use actix::{Actor, Addr, Arbiter};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use switchback_bus::{Refusal, RefusalKind, code};
use switchback_events::{CommandId, StreamKey};

/// The most commands that may be under way at once.
const MAX_IN_FLIGHT: usize = 4096;
/// Fewer actors than this are never looked through for those that have stopped.
const SWEEP_MIN: usize = 10_000;

/// Finds, makes and makes again the actors.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    states: States,
    clock: Arc<dyn Clock>,
    arbiters: Vec<Arbiter>,
    actors: Mutex<Actors>,
    poisonous: Mutex<HashSet<CommandId>>,
    in_flight: AtomicUsize,
    restarts: AtomicU64,
}

/// The actors that there are.
struct Actors {
    by_stream: HashMap<StreamKey, Addr<Entity>>,
    /// When there are so many, those that have stopped are forgotten.
    sweep_at: usize,
}

impl Drop for Inner {
    /// The threads hold actors, and these the states and the log: with the registry all of that is let go.
    fn drop(&mut self) {
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
            let _ = arbiter.join();
        }
    }
}

impl Registry {
    /// A registry whose actors live on `threads` threads of the current actix system.
    pub fn new(states: States, clock: Arc<dyn Clock>, threads: usize) -> Registry {
        let arbiters = (0..threads.max(1)).map(|_| Arbiter::new()).collect();
        Registry {
            inner: Arc::new(Inner {
                states,
                clock,
                arbiters,
                actors: Mutex::new(Actors { by_stream: HashMap::new(), sweep_at: SWEEP_MIN }),
                poisonous: Mutex::default(),
                in_flight: AtomicUsize::new(0),
                restarts: AtomicU64::new(0),
            }),
        }
    }

    /// The states that the actors stand on.
    pub fn states(&self) -> &States {
        &self.inner.states
    }

    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// How many actors had to be made again after a panic.
    pub fn restarts(&self) -> u64 {
        self.inner.restarts.load(Ordering::Relaxed)
    }

    fn actor(&self, stream: StreamKey) -> Addr<Entity> {
        let mut actors = self.inner.actors.lock();
        if let Some(addr) = actors.by_stream.get(&stream).filter(|addr| addr.connected()) {
            return addr.clone();
        }
        if actors.by_stream.len() >= actors.sweep_at {
            actors.by_stream.retain(|_, addr| addr.connected());
            // Not again before there are twice as many: a sweep looks at all of them.
            actors.sweep_at = SWEEP_MIN.max(actors.by_stream.len() * 2);
        }
        let arbiter = &self.inner.arbiters[usize::from(stream.id.0[15]) % self.inner.arbiters.len()];
        let (states, clock) = (self.inner.states.clone(), self.inner.clock.clone());
        let addr = Entity::start_in_arbiter(&arbiter.handle(), move |_| Entity::new(stream, states, clock));
        actors.by_stream.insert(stream, addr.clone());
        addr
    }

    /// Has a command decided and sequenced by its actor. The answer is not on disk yet.
    ///
    /// # Errors
    /// The refusal; nothing has changed.
    pub async fn execute(&self, execute: Execute) -> Result<Decided, Refusal> {
        let id = execute.provenance.command_id;
        if self.inner.poisonous.lock().contains(&id) {
            return Err(Refusal::internal(format!("command {id} has made its actor fail before and is quarantined")));
        }
        if self.inner.in_flight.fetch_add(1, Ordering::Relaxed) >= MAX_IN_FLIGHT {
            self.inner.in_flight.fetch_sub(1, Ordering::Relaxed);
            let detail = format!("{MAX_IN_FLIGHT} commands are under way");
            return Err(Refusal::new(RefusalKind::Busy, code::BUSY, detail).hint("try again"));
        }
        let result = self.deliver(execute).await;
        self.inner.in_flight.fetch_sub(1, Ordering::Relaxed);
        result
    }

    async fn deliver(&self, execute: Execute) -> Result<Decided, Refusal> {
        let id = execute.provenance.command_id;
        let stream = target(&execute.command, execute.common.resource_uuid, id.0);
        let mut died = 0;
        // An actor that went idle just now closes its mailbox too: that costs one more try and is no death.
        for _ in 0..4 {
            let addr = self.actor(stream);
            let alive = addr.connected();
            match addr.send(execute.clone()).await {
                Ok(result) => return result,
                Err(_) => {
                    died += usize::from(alive);
                    if alive {
                        self.inner.restarts.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(command = %id, %stream, "an actor failed; it is made again from the log");
                    }
                    if died >= 2 {
                        self.inner.poisonous.lock().insert(id);
                        break;
                    }
                }
            }
        }
        Err(Refusal::internal(format!("the actor of {stream} failed on this command")))
    }
}
