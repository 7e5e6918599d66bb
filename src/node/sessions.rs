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
    accounts: Mutex<Index>,
    refused: Mutex<Refused>,
}

/// From the digest of a session to its account. What has ended is swept out before it is more than what there is.
#[derive(Default)]
struct Index {
    accounts: HashMap<Id, AccountId>,
    /// So many are there when it is swept.
    sweep: usize,
}

impl Index {
    /// At so many it is swept at the earliest.
    const SWEEP: usize = 1024;

    fn of(accounts: HashMap<Id, AccountId>) -> Index {
        Index { sweep: (2 * accounts.len()).max(Index::SWEEP), accounts }
    }

    fn get(&self, session: Id) -> Option<AccountId> {
        self.accounts.get(&session).copied()
    }

    /// Puts one in. `live` gives all that there are.
    fn insert<E>(
        &mut self,
        session: Id,
        account: AccountId,
        live: impl FnOnce() -> Result<HashMap<Id, AccountId>, E>,
    ) -> Result<(), E> {
        if self.accounts.len() >= self.sweep {
            *self = Index::of(live()?);
        }
        self.accounts.insert(session, account);
        Ok(())
    }
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
        Ok(Sessions { accounts: Mutex::new(Index::of(live(states)?)), ..Sessions::default() })
    }
}

/// All sessions that have not ended, with their accounts.
fn live(states: &States) -> Result<HashMap<Id, AccountId>, Refusal> {
    let mut sessions = HashMap::new();
    for id in states.members((Relation::All(StreamKind::Account), Id::NIL)) {
        let (_, account) = states.get::<Account>(id)?;
        sessions.extend(account.sessions.keys().map(|session| (*session, AccountId(id))));
    }
    Ok(sessions)
}

impl Node {
    /// How many sessions there are, at most: those that have expired are not looked for.
    pub(super) fn live_sessions(&self) -> u64 {
        self.sessions.accounts.lock().accounts.len() as u64
    }

    /// The account of this name.
    pub fn account_named(&self, name: &str) -> Option<(AccountId, Arc<Account>)> {
        let account = self.states().members((Relation::AccountsNamed, name_owner(name))).first().copied()?;
        Some((AccountId(account), self.states().get::<Account>(account).ok()?.1))
    }

    /// The account whose session `session` is, if it has not expired.
    pub fn session(&self, session: &str) -> Option<(AccountId, Arc<Account>)> {
        let digest = session_id(session);
        let account = self.sessions.accounts.lock().get(digest)?;
        let (_, state) = self.states().get::<Account>(account).ok()?;
        let expires = state.sessions.get(&digest).copied();
        match expires {
            Some(expires) if expires > self.registry.clock().now() => Some((account, state)),
            Some(_) => None,
            None => {
                self.sessions.accounts.lock().accounts.remove(&digest);
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
            principal: if verified { state.name.clone() } else { request.caller.name },
            credential: None,
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
        self.sessions.accounts.lock().insert(session_id(&secret), account, || live(self.states()))?;
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
        let account = self.sessions.accounts.lock().get(session)?;
        let name = self.states().get::<Account>(account).ok()?.1.name.clone();
        Some((ReportLogOut { uuid: account, session }, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_logs_in_for_ever_leaves_no_more_than_there_is() {
        let id = |number: usize| Id((number as u128).to_be_bytes());
        let bob = AccountId(Id::of_name("bob"));
        let mut index = Index::of(HashMap::new());
        for number in 0..100_000 {
            // Of the sessions before, the last ten are there still.
            let live = || Ok::<_, ()>((number.max(10) - 10..number).map(|number| (id(number), bob)).collect());
            index.insert(id(number), bob, live).unwrap();
            assert_eq!((index.get(id(number)), index.get(id(number.max(9) - 9))), (Some(bob), Some(bob)));
            assert!(index.accounts.len() <= Index::SWEEP);
        }
        // Many that are all there are not swept each time.
        let many = || (0..5000).map(|number| (id(number), bob)).collect::<HashMap<_, _>>();
        let mut index = Index::of(many());
        for number in 5000..10_000 {
            index.insert(id(number), bob, || -> Result<_, ()> { panic!("swept") }).unwrap();
        }
    }

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
