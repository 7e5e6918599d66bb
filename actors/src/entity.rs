//! The generic actor shell: one actor for each aggregate that has work, deciding one command after the other. It
//! holds no state of its own: the sequenced states are in [`States`], so an actor may stop, or die, at any time.
//!
//! decide → sequence → evolve → durable → reply: the actor takes the next command as soon as the last one is
//! sequenced; who asked waits for the disk by himself.

use crate::{context::Context, decide::decide, decision::Decision, directory::SetKey, ownership, role, states::States};
use actix::{Actor, ActorContext, AsyncContext, Context as ActorCtx, Handler, Message};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchback_bus::{Command, Common, Refusal, RefusalKind, code};
use switchback_events::{Micros, Provenance, StreamKey, Version};
use switchback_journal::{AppendError, Appended, Proposal};

/// How often a decision is made again because what it rested on moved.
const TRIES: usize = 64;
/// An actor without work for so long stops.
const IDLE: Duration = Duration::from_secs(60);

/// One command on its way to its decision.
#[derive(Message, Clone)]
#[rtype(result = "Result<Decided, Refusal>")]
pub struct Execute {
    /// The command.
    pub command: Arc<Command>,
    /// What it carries besides its parameters.
    pub common: Common,
    /// Who asks.
    pub provenance: Provenance,
    /// The version that the target must have.
    pub if_match: Option<Version>,
    /// Decide only.
    pub dry_run: bool,
}

/// What came of a decision.
pub enum Decided {
    /// Sequenced, and on its way to the disk.
    Appended(Appended),
    /// There was nothing to change.
    Unchanged(Decision),
    /// A dry run's events.
    Dry(Decision),
}

/// The time, as the edge of the core that a test may replace.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970.
    fn now(&self) -> Micros;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        #[allow(clippy::disallowed_methods, reason = "this is the clock")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_micros() as Micros)
    }
}

/// The actor of one aggregate.
pub struct Entity {
    stream: StreamKey,
    states: States,
    clock: Arc<dyn Clock>,
    last_work: Instant,
}

impl Entity {
    /// The actor of `stream`.
    pub fn new(stream: StreamKey, states: States, clock: Arc<dyn Clock>) -> Entity {
        Entity { stream, states, clock, last_work: Instant::now() }
    }
}

impl Actor for Entity {
    type Context = ActorCtx<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(IDLE, |entity, context| {
            if entity.last_work.elapsed() >= IDLE {
                entity.states.drop_state(entity.stream);
                context.stop();
            }
        });
    }
}

impl Handler<Execute> for Entity {
    type Result = Result<Decided, Refusal>;

    fn handle(&mut self, execute: Execute, _: &mut Self::Context) -> Self::Result {
        self.last_work = Instant::now();
        run(&self.states, self.clock.as_ref(), &execute)
    }
}

/// How far a command is that was decided once.
pub enum Step {
    /// There is no more to do.
    Done(Decided),
    /// To be sequenced.
    Prepared(Prepared),
}

/// A decision without a place in the log yet, and what it rests on.
pub struct Prepared {
    /// What is to be appended.
    pub proposal: Proposal,
    sets: Vec<(SetKey, u64)>,
}

impl Prepared {
    /// Gives the decision its place in the log.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] and [`AppendError::Stale`] when something that it rests on has moved: decide again.
    pub fn sequence(self, states: &States) -> Result<Appended, AppendError> {
        states.append(self.proposal, &self.sets)
    }
}

/// Decides a command on the states as they are now, once, and sequences nothing.
///
/// # Errors
/// The refusal.
pub fn prepare(states: &States, clock: &dyn Clock, execute: &Execute) -> Result<Step, Refusal> {
    // After a failed write the states may hold what the log has lost: nothing is decided on them any more.
    if let Some(why) = states.journal().read_only() {
        return Err(refusal_of(AppendError::ReadOnly(why)));
    }
    // The same command may have come twice at once: it happens once, and both get its answer.
    let provenance = &execute.provenance;
    if !execute.dry_run
        && let Some(appended) = states.journal().lookup(provenance.command_id, provenance.body).map_err(refusal_of)?
    {
        return Ok(Step::Done(Decided::Appended(appended)));
    }
    let eyes;
    let facts = match &execute.common.asking {
        None => states.facts(),
        Some(asking) => {
            let looked = states.facts();
            role::permitted(asking, &looked)?;
            eyes = states.hiding(ownership::hidden(asking, &execute.command, &looked)?);
            eyes.facts().resting_on(looked.shown())
        }
    };
    let at = clock.now();
    let context = Context::new(at, provenance.command_id, execute.common.clone());
    let decision = decide(&execute.command, &facts, &context).map_err(|refusal| match &execute.common.asking {
        Some(asking) if !refusal.blockers.is_empty() => ownership::veiled(asking, refusal, &states.facts()),
        _ => refusal,
    })?;
    if let Some(wanted) = execute.if_match {
        let version = facts.version(decision.target);
        if version != wanted {
            let detail = format!("If-Match names version {wanted}, and {} is at version {version}", decision.target);
            let refusal = Refusal::new(RefusalKind::StaleVersion, code::STALE_VERSION, detail);
            return Err(Refusal { current_version: Some(version), ..refusal });
        }
    }
    if execute.dry_run {
        return Ok(Step::Done(Decided::Dry(decision)));
    }
    if decision.events.is_empty() {
        return Ok(Step::Done(Decided::Unchanged(decision)));
    }
    let (reads, sets) = facts.shown();
    let proposal = Proposal { at, provenance: provenance.clone(), reads, events: decision.events };
    Ok(Step::Prepared(Prepared { proposal, sets }))
}

/// Decides and sequences a command: again, if what the decision rested on moved meanwhile.
///
/// # Errors
/// The refusal; nothing has changed.
pub fn run(states: &States, clock: &dyn Clock, execute: &Execute) -> Result<Decided, Refusal> {
    for _ in 0..TRIES {
        let prepared = match prepare(states, clock, execute)? {
            Step::Done(decided) => return Ok(decided),
            Step::Prepared(prepared) => prepared,
        };
        match prepared.sequence(states) {
            Ok(appended) => return Ok(Decided::Appended(appended)),
            Err(AppendError::Conflict { .. } | AppendError::Stale) => continue,
            Err(error) => return Err(refusal_of(error)),
        }
    }
    Err(Refusal::new(RefusalKind::Busy, code::BUSY, "too many commands change the same things at once")
        .hint("try again"))
}

/// The journal's "no" in the words of the API.
pub fn refusal_of(error: AppendError) -> Refusal {
    match error {
        AppendError::Busy => {
            Refusal::new(RefusalKind::Busy, code::BUSY, "the log has as many commits under way as it takes")
                .hint("try again")
        }
        AppendError::ReadOnly(why) => {
            Refusal::new(RefusalKind::ReadOnly, code::READ_ONLY, format!("the log takes no writes: {why}"))
                .hint("mend the cause, such as a full disk, and restart the server")
        }
        AppendError::OtherBody(id) => Refusal::new(
            RefusalKind::OtherBody,
            code::OTHER_BODY,
            format!("command id {id} was used before with another body"),
        ),
        error => Refusal::internal(format!("append to the log: {error}")),
    }
}
