//! Commands that were not answered at once, by account and command id: under way, or how they ended. Both interfaces begin
//! them, and either can be asked for them.
//!
//! **Invariant:** there are never more than [`MOST`], and none that ended more than [`KEPT`] ago; what is under way is
//! never forgotten.

use crate::{Caller, Gateway, Problem, command};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use switchback_bus::{CommandReply, CommandRequest, Refusal, shows_secret};
use switchback_events::{AccountId, CommandId, Id};
use tokio::time::Instant;

/// The most that are remembered.
const MOST: usize = 10_000;
/// How long after its end.
const KEPT: Duration = Duration::from_secs(3600);

/// How it ended: the reply, or why not.
pub(crate) type Outcome = Result<CommandReply, Refusal>;
type Key = (AccountId, Id);

/// All that are remembered.
#[derive(Default)]
pub(crate) struct Jobs {
    jobs: Mutex<BTreeMap<Key, Option<(Instant, Outcome)>>>,
}

impl Jobs {
    /// Remembers one that is under way; `false` where there is no room.
    pub(crate) fn begin(&self, owner: AccountId, id: Id) -> bool {
        let mut jobs = self.locked();
        if jobs.len() >= MOST {
            jobs.retain(|_, job| job.as_ref().is_none_or(|(at, _)| at.elapsed() < KEPT));
        }
        if jobs.len() >= MOST {
            let ended = jobs.iter().filter_map(|(key, job)| job.as_ref().map(|(at, _)| (*at, *key)));
            // A tenth at a time, so that the next do not search again.
            let mut ended: Vec<(Instant, Key)> = ended.collect();
            ended.sort();
            for (_, key) in ended.into_iter().take(MOST / 10) {
                jobs.remove(&key);
            }
        }
        if jobs.len() >= MOST {
            return false;
        }
        jobs.insert((owner, id), None);
        true
    }

    /// It ended.
    pub(crate) fn end(&self, owner: AccountId, id: Id, outcome: Outcome) {
        self.locked().insert((owner, id), Some((Instant::now(), outcome)));
    }

    /// What became of an account's own: nothing where it is not known, nothing inside where it is under way.
    pub(crate) fn look(&self, owner: AccountId, id: Id) -> Option<Option<Outcome>> {
        let key = (owner, id);
        let mut jobs = self.locked();
        match jobs.get(&key)? {
            None => Some(None),
            Some((at, _)) if at.elapsed() >= KEPT => {
                jobs.remove(&key);
                None
            }
            Some((_, outcome)) => Some(Some(outcome.clone())),
        }
    }

    /// How many are remembered, those that ended among them.
    pub(crate) fn count(&self) -> usize {
        self.locked().len()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Key, Option<(Instant, Outcome)>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a command, and waits as long as `patience` says; none for until it ends. Nothing where it became a job.
///
/// It goes on in a task of its own: a client that goes away does not take its half-done command with it.
pub(crate) async fn carry_out(gateway: &Gateway, asked: CommandRequest, patience: Option<Duration>) -> Option<Outcome> {
    let (bus, id, name) = (gateway.bus.clone(), asked.command_id, asked.name.clone());
    // A secret is kept for nobody, not even for its owner, whose other keys may have less rights.
    let owner = asked.caller.account.filter(|_| !shows_secret(&asked.name));
    let mut work = tokio::spawn(async move { bus.command(asked).await });
    // Who is about to log in could not ask for a job afterwards, and waits.
    let (Some(CommandId(job)), Some(owner), Some(patience)) = (id, owner, patience) else {
        return Some(outcome(id, &name, work.await));
    };
    let soon = match patience.is_zero() {
        true => None,
        false => tokio::time::timeout(patience, &mut work).await.ok(),
    };
    if let Some(ended) = soon {
        return Some(outcome(id, &name, ended));
    }
    // No room for one more: then the client waits.
    if !gateway.jobs.begin(owner, job) {
        return Some(outcome(id, &name, work.await));
    }
    let jobs = gateway.jobs.clone();
    tokio::spawn(async move { jobs.end(owner, job, outcome(id, &name, work.await)) });
    None
}

fn outcome(id: Option<CommandId>, name: &str, ended: Result<Outcome, tokio::task::JoinError>) -> Outcome {
    match ended {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(refusal)) => Err(Refusal { command_id: refusal.command_id.or(id), ..refusal }),
        Err(failure) => {
            tracing::error!(command = name, %failure, "a command did not end");
            Err(Refusal { command_id: id, ..command::without_answer() })
        }
    }
}

/// What became of a job of the caller's: nothing while it is under way.
pub(crate) fn ask(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Option<Outcome>, Problem> {
    let found = id.parse().ok().zip(caller.account).and_then(|(id, owner)| gateway.jobs.look(owner, id));
    found.ok_or_else(|| {
        let shown: String = id.chars().take(120).collect();
        let refusal = Refusal::not_found("uuid", "job", shown);
        refusal.hint("what ended an hour ago, or many jobs ago, is forgotten; query the resource instead").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ADMIN: AccountId = switchback_events::ADMIN_ACCOUNT;

    fn done() -> Outcome {
        let reply = json!({"commandId": Id::NIL, "position": 1, "version": 1, "applied": true, "events": []});
        Ok(serde_json::from_value(reply).unwrap())
    }

    fn id(number: usize) -> Id {
        Id((number as u128).to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_its_accounts_and_is_forgotten_an_hour_after_its_end() {
        let jobs = Jobs::default();
        assert!(jobs.begin(ADMIN, id(1)));
        tokio::time::advance(2 * KEPT).await;
        assert_eq!(jobs.look(ADMIN, id(1)), Some(None));
        assert_eq!(jobs.look(AccountId(id(2)), id(1)), None);
        jobs.end(ADMIN, id(1), done());
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert_eq!(jobs.look(ADMIN, id(1)), Some(Some(done())));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(jobs.look(ADMIN, id(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_ended_make_room_and_what_is_under_way_does_not() {
        let jobs = Jobs::default();
        for number in 0..MOST {
            assert!(jobs.begin(ADMIN, id(number)));
        }
        assert!(!jobs.begin(ADMIN, id(MOST)), "all are under way");
        for number in 0..10 {
            jobs.end(ADMIN, id(number), done());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(jobs.begin(ADMIN, id(MOST)));
        assert_eq!(jobs.look(ADMIN, id(9)), None, "it made room");
        assert_eq!(jobs.look(ADMIN, id(10)), Some(None));
        assert_eq!(jobs.look(ADMIN, id(MOST)), Some(None));
    }
}
