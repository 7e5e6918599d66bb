//! Log in: from a name and a password to a session, and from a session to its account.
//!
//! A session's uuid is its secret. The log and everything folded from it have a digest of it only; what is here is an
//! index from that digest to the account, made again from the log at a start, and never believed: whether a session is
//! there and has not expired is asked of the account's state each time.
//!
//! **Invariant:** an account, and everybody together, has at most so many log-ins refused in a minute; more are not even
//! verified. So are the events of refused log-ins bounded.

use super::{Node, bus::read_only};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use switchback_actors::{
    Account, States,
    account::{hash_id, name_owner},
    directory::Relation,
    entity::{Decided, Execute, refusal_of},
};
use switchback_bus::*;
use switchback_events::{AccountEvent, AccountId, CommandId, Event, Id, Micros, Provenance, StreamKind, session_id};

/// Within this time so many log-ins may be refused.
const WINDOW: Micros = 60_000_000;
/// Of one account.
const REFUSED_OF_ONE: usize = 5;
/// Of all, and of names that no account has.
const REFUSED_OF_ALL: usize = 300;

/// The sessions of a node, and who was refused lately.
#[derive(Default)]
pub(super) struct Sessions {
    accounts: Mutex<HashMap<Id, AccountId>>,
    refused: Mutex<Refused>,
}

#[derive(Default)]
struct Refused {
    of_one: HashMap<AccountId, VecDeque<Micros>>,
    of_all: VecDeque<Micros>,
}

impl Refused {
    /// Counts a log-in as refused until it is known better. Refuses it with the seconds to wait.
    fn admit(&mut self, account: Option<AccountId>, now: Micros) -> Result<(), u64> {
        let full = |times: &mut VecDeque<Micros>, most: usize| {
            while times.front().is_some_and(|time| *time + WINDOW <= now) {
                times.pop_front();
            }
            let first = times.front().copied().filter(|_| times.len() >= most);
            first.map(|first| ((first + WINDOW - now) as u64).div_ceil(1_000_000))
        };
        self.of_one.retain(|_, times| times.back().is_some_and(|time| *time + WINDOW > now));
        if let Some(seconds) = full(&mut self.of_all, REFUSED_OF_ALL) {
            return Err(seconds);
        }
        if let Some(account) = account {
            let times = self.of_one.entry(account).or_default();
            if let Some(seconds) = full(times, REFUSED_OF_ONE) {
                return Err(seconds);
            }
            times.push_back(now);
        }
        self.of_all.push_back(now);
        Ok(())
    }

    /// The log-in that was counted is none that was refused.
    fn forgive(&mut self, account: AccountId) {
        self.of_one.remove(&account);
        self.of_all.pop_back();
    }
}

impl Sessions {
    /// Those that the log knows.
    pub fn open(states: &States) -> Result<Sessions, Refusal> {
        let sessions = Sessions::default();
        for id in states.members((Relation::All(StreamKind::Account), Id::NIL)) {
            let (_, account) = states.get::<Account>(id)?;
            sessions.accounts.lock().extend(account.sessions.keys().map(|session| (*session, AccountId(id))));
        }
        Ok(sessions)
    }
}

impl Node {
    /// The account whose session `session` is, if it has not expired.
    pub fn session(&self, session: &str) -> Option<(AccountId, Arc<Account>)> {
        let digest = session_id(session);
        let account = self.sessions.accounts.lock().get(&digest).copied()?;
        let (_, state) = self.states().get::<Account>(account).ok()?;
        let expires = state.sessions.get(&digest).copied();
        match expires {
            Some(expires) if expires > self.registry.clock().now() => Some((account, state)),
            Some(_) => None,
            None => {
                self.sessions.accounts.lock().remove(&digest);
                None
            }
        }
    }

    /// Verifies a password and makes a session.
    pub(super) async fn log_in(
        &self,
        id: CommandId,
        body: Id,
        request: CommandRequest,
        asked: &LogInByAccount,
    ) -> Result<CommandReply, Refusal> {
        if request.dry_run {
            return Err(Refusal::argument("dryRun", true, "a log-in cannot be tried without doing it"));
        }
        let now = self.registry.clock().now();
        let name = &asked.account_name;
        let account = self.states().members((Relation::AccountsNamed, name_owner(name))).first().copied();
        let account = account.map(AccountId);
        self.sessions.refused.lock().admit(account, now).map_err(|seconds| {
            let detail = format!("accountName = `{name}`: too many log-ins were refused lately");
            let refusal = Refusal::new(RefusalKind::Busy, code::BUSY, detail);
            Refusal { field: Some("accountName".to_string()), retry_after_secs: Some(seconds), ..refusal }
                .hint(format!("try again in {seconds} seconds"))
        })?;
        let state = match account {
            Some(account) => Some(self.states().get::<Account>(account)?.1),
            None => None,
        };
        let hash = state.as_ref().and_then(|state| state.password.clone());
        let verified = self.secrets.verify(hash.clone(), &asked.password).await;
        let wrong = || {
            let detail = format!("accountName = `{name}`: there is no such account, or it has another password");
            let refusal = Refusal::new(RefusalKind::Unauthenticated, code::AUTHENTICATION, detail);
            Refusal { field: Some("accountName".to_string()), ..refusal }
        };
        let (Some(account), Some(state)) = (account, state) else { return Err(wrong()) };
        let secret = self.secrets.session();
        let session = verified.then(|| session_id(&secret));
        let report = ReportLogIn { uuid: account, session, verified: hash.as_ref().map(hash_id) };
        // A refused attempt is no outcome of the command: the same words may be right later.
        let command_id = if verified { id } else { CommandId(Id(*uuid::Uuid::now_v7().as_bytes())) };
        let provenance = Provenance {
            command_id,
            command: request.name,
            body,
            principal: if verified { state.name.clone() } else { request.principal },
            origin: request.origin,
            causation: None,
            correlation: id.0,
            reason: request.reason.filter(|_| verified),
        };
        let execute = Execute {
            command: Arc::new(report.into()),
            common: Common::default(),
            provenance,
            if_match: None,
            dry_run: false,
        };
        let Decided::Appended(appended) = self.registry.execute(execute).await? else { return Err(wrong()) };
        let commit = appended.durable().await.map_err(|lost| refusal_of(read_only(lost.0)))?;
        let expires = commit.events.iter().find_map(|event| match &event.event {
            Event::Account(AccountEvent::LoggedIn { session: made, expires, .. }) => Some((*made, *expires)),
            _ => None,
        });
        let expires = match expires {
            None => return Err(wrong()),
            Some((made, _)) if Some(made) != session => {
                let detail = "this log-in was answered before, and its session is shown only once";
                return Err(Refusal::operation(detail).hint("log in again with another Idempotency-Key"));
            }
            Some((_, expires)) => expires,
        };
        self.sessions.refused.lock().forgive(account);
        self.sessions.accounts.lock().insert(session_id(&secret), account);
        let message = message("LogInByAccount")?;
        let mut reply = self.reply(id, message, &commit, Wait::Durable).await?;
        let time = |at: Micros| jiff::Timestamp::from_microsecond(at).map(|time| time.to_string()).unwrap_or_default();
        reply.applied = true;
        reply.inventory = Some(json!({
            "uuid": secret, "accountUuid": account, "userUuid": account,
            "createDate": time(commit.at), "expiredDate": time(expires),
        }));
        Ok(reply)
    }

    /// What ends a session, with the account whose it is; nothing for one that is not there.
    pub(super) fn log_out(&self, asked: &LogOut) -> Option<(ReportLogOut, String)> {
        let Secret::Sent(session) = &asked.session_uuid else { return None };
        let session = session_id(session);
        let account = self.sessions.accounts.lock().get(&session).copied()?;
        let name = self.states().get::<Account>(account).ok()?.1.name.clone();
        Some((ReportLogOut { uuid: account, session }, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_log_ins_are_refused_in_a_minute_and_no_more() {
        let (bob, eve) = (Some(AccountId(Id::of_name("bob"))), Some(AccountId(Id::of_name("eve"))));
        let mut refused = Refused::default();
        for second in 0..5 {
            assert_eq!(refused.admit(bob, second * 1_000_000), Ok(()));
        }
        assert_eq!(refused.admit(bob, 5_000_000), Err(55));
        assert_eq!(refused.admit(eve, 5_000_000), Ok(()));
        assert_eq!(refused.admit(bob, 60_000_000), Ok(()));
        assert_eq!(refused.admit(bob, 60_000_000), Err(1));
        refused.forgive(bob.unwrap());
        assert_eq!(refused.admit(bob, 60_000_000), Ok(()));
        let mut refused = Refused::default();
        for _ in 0..REFUSED_OF_ALL {
            assert_eq!(refused.admit(None, 0), Ok(()));
        }
        assert_eq!((refused.admit(None, 1), refused.admit(bob, 1)), (Err(60), Err(60)));
    }
}
