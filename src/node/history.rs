//! What answers questions about the past: the log, and the inventories that are folded from it.
//!
//! **Invariant:** a server and a data directory without one answer through the same functions.

use super::{
    at_rest::Folded,
    diff,
    events::{name_resources, shown},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use switchback_actors::reconcilers::{config_at, replay_router};
use switchback_appliance::{RouterConfig, RouterFold, hex};
use switchback_bus::{QueryReply, QueryRequest, Read, Refusal, RefusalKind, code};
use switchback_events::{AccountId, Commit, Id, Position, RouterId};
use switchback_journal::{Journal, ReadError, SignedHead};
use switchback_projections::{Projections, Query, QueryError, catalogue};

/// How long a query waits for the inventories to come up to the log.
pub(super) const CATCH_UP: Duration = Duration::from_secs(5);

/// The past of one log. Cheap to clone.
#[derive(Clone)]
pub(super) struct History {
    journal: Journal,
    inventories: Inventories,
}

/// Where the inventories come from.
#[derive(Clone)]
pub(super) enum Inventories {
    /// They follow the log.
    Live(Projections),
    /// They are folded when they are first asked for: the log does not move.
    Folded(Arc<Folded>),
}

/// There was no such router at a position.
pub(super) fn no_router_at(field: &str, router: RouterId, at: Position) -> Refusal {
    Refusal::not_found(field, "virtual router", router).hint(format!("there was none at position {at}"))
}

pub(super) fn unreadable(error: ReadError) -> Refusal {
    Refusal::internal(format!("read the log: {error}"))
}

/// Runs what reads long or blocks.
pub(super) async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::internal(format!("{what}: {error}")))?
}

impl History {
    pub(super) fn new(journal: Journal, inventories: Inventories) -> History {
        History { journal, inventories }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The inventories, at `position` or later if they get there in time.
    pub(super) async fn inventories(&self, position: Position) -> Result<Projections, Refusal> {
        match &self.inventories {
            Inventories::Live(projections) => {
                projections.wait_for(position, CATCH_UP).await;
                Ok(projections.clone())
            }
            Inventories::Folded(folded) => Inventories::folded(folded, &self.journal).await,
        }
    }

    /// The inventories that follow the log, if such there are.
    pub(super) fn live(&self) -> Option<&Projections> {
        match &self.inventories {
            Inventories::Live(projections) => Some(projections),
            Inventories::Folded(_) => None,
        }
    }

    /// Tells how far a fold is to whoever waits for it.
    pub(super) fn progress(&self, reached: Position, upto: Position) {
        if let Inventories::Folded(folded) = &self.inventories {
            folded.progress(reached, upto);
        }
    }

    /// A position, or the position that a time stands for.
    pub(super) fn moment(&self, field: &str, text: &str) -> Result<Position, Refusal> {
        if let Ok(position) = text.parse::<Position>() {
            if position > self.journal.durable() {
                let right = format!("at most {}, the head of the log", self.journal.durable());
                return Err(Refusal::argument(field, text, right));
            }
            return Ok(position);
        }
        let right = "a position of the log, or a time such as 2026-11-20T14:32:00Z";
        let time: jiff::Timestamp = text.parse().map_err(|_| Refusal::argument(field, text, right))?;
        Ok(self.journal.position_at(time.as_microsecond()))
    }

    /// The moment that was asked for, or now.
    pub(super) fn moment_or_now(&self, field: &str, text: Option<&String>) -> Result<Position, Refusal> {
        text.map_or_else(|| Ok(self.journal.durable()), |text| self.moment(field, text))
    }

    /// Two moments, the earlier first.
    pub(super) fn span(&self, from: &str, to: Option<&String>) -> Result<(Position, Position), Refusal> {
        let (from, to) = (self.moment("from", from)?, self.moment_or_now("to", to)?);
        if from > to {
            return Err(Refusal::argument("from", from, format!("not behind to = {to}")));
        }
        Ok((from, to))
    }

    /// Answers a read of the past.
    pub(super) async fn read(&self, read: Read) -> Result<Value, Refusal> {
        let mut reply = self.answer(read).await?;
        name_resources(&self.journal, &mut reply);
        Ok(reply)
    }

    async fn answer(&self, read: Read) -> Result<Value, Refusal> {
        // What reads the log a little is quick for what one asks in person; the gateway's threads may wait for it.
        match read {
            Read::GetVirtualRouterConfig(request) => {
                let at = self.moment_or_now("at", request.at.as_ref())?;
                let config = self.router_config("uuid", request.uuid, at)?;
                Ok(json!({"config": config, "digest": config.digest(), "position": at}))
            }
            Read::GetVirtualRouterDiff(request) => {
                let (from, to) = self.span(&request.from, request.to.as_ref())?;
                self.router_diff(request.uuid, from, to)
            }
            Read::GetVirtualRouterExplanation(request) => {
                let history = self.clone();
                blocking("explain a packet", move || history.explain(&request, &|_| Ok(BTreeSet::new()))).await
            }
            Read::GetEvents(request) => self.events(&request),
            Read::GetAuditDiff(request) => self.changes(&request).await,
            Read::ReplayResource(request) => {
                let at = self.moment_or_now("at", request.at.as_ref())?;
                self.replay_resource(request.uuid, at, |_| None)
            }
            Read::ReplayInventories(request) => {
                let at = self.moment_or_now("at", request.at.as_ref())?;
                self.replay_inventories(at).await
            }
            Read::GetAddressHolder(request) => self.holders(&request).await,
            Read::GetEvent(request) => self.event(request.position),
            Read::GetAuditHead(_) => Ok(self.head()),
            Read::VerifyAudit(request) => {
                let journal = self.journal.clone();
                let anchor = request.anchor.as_deref().map(anchor).transpose()?;
                blocking("verify the log", move || Ok(verified(journal.verify_against(anchor.as_ref(), |_| {})))).await
            }
            _ => Err(Refusal::not_supported("this read without a server")),
        }
    }

    fn head(&self) -> Value {
        let mut head = match self.journal.signed_head() {
            Some(signed) => signed_head(&signed),
            None => {
                let (position, hash) = self.journal.chain_head();
                json!({"position": position, "hash": hex(&hash)})
            }
        };
        if let Some(why) = self.journal.read_only() {
            head["readOnly"] = json!(why);
        }
        head
    }

    /// Answers a query, now or at an earlier moment: of what `account` may see, of everything where there is none.
    pub(super) async fn query(&self, request: QueryRequest, account: Option<AccountId>) -> Result<QueryReply, Refusal> {
        let message = switchback_bus::message(&request.name)?;
        let kind = catalogue::kind_of_query(message.name)
            .ok_or_else(|| Refusal::argument("message", &request.name, "is not a query"))?;
        let mut conditions = request.q;
        conditions.extend(switchback_bus::narrowed(message.name).map(String::from));
        let at = match &request.at {
            Some(text) => Some(self.moment("at", text)?),
            None => None,
        };
        // Whoever has seen a reply finds its effect: replies are durable.
        let wanted = self.journal.durable().max(request.min_position.unwrap_or(0)).max(at.unwrap_or(0));
        if let Some(asked) = request.min_position.filter(|asked| *asked > self.journal.head()) {
            let right = format!("at most {}, the head of the log", self.journal.head());
            return Err(Refusal::argument("minPosition", asked, right));
        }
        let projections = self.inventories(wanted).await?;
        let query = Query {
            kind,
            conditions,
            fields: request.fields,
            sort: request.sort,
            start: request.start,
            limit: request.limit,
            count: request.count,
            reply_with_count: request.reply_with_count,
            group_by: request.group_by,
            at,
            account: account.map(Id::from),
        };
        let reply = blocking("run the query", move || projections.query(&query).map_err(refusal_of)).await?;
        Ok(QueryReply { inventories: reply.inventories, total: reply.total, position: reply.position })
    }

    fn router_config(&self, field: &str, router: RouterId, at: Position) -> Result<RouterConfig, Refusal> {
        let config = config_at(&self.journal, router, Some(at)).map_err(unreadable)?;
        config.ok_or_else(|| no_router_at(field, router, at))
    }

    fn router_diff(&self, router: RouterId, from: Position, to: Position) -> Result<Value, Refusal> {
        let later = replay_router(&self.journal, router, Some(to)).map_err(unreadable)?;
        if later.config().is_none() {
            return Err(Refusal::not_found("uuid", "virtual router", router));
        }
        let earlier = replay_router(&self.journal, router, Some(from)).map_err(unreadable)?;
        // The events between that bore on the configuration: those at which a fold carried on from there moves.
        let mut tags: Vec<_> = later.networks.keys().map(|l3| l3.0).collect();
        tags.push(router.0);
        let mut fold: RouterFold = earlier.clone();
        let mut events = Vec::new();
        let mut note = |commit: &Arc<Commit>| {
            for (recorded, (around, event)) in commit.events.iter().zip(commit.envelopes()) {
                if recorded.position <= from || recorded.position > to {
                    continue;
                }
                let before = fold.config().map(|config| config.digest());
                fold.apply(recorded);
                if fold.config().map(|config| config.digest()) != before {
                    events.push(shown(&around, event));
                }
            }
        };
        self.journal.read_tagged(&tags, from, to, &mut note).map_err(unreadable)?;
        let (a, b) = (earlier.config(), later.config());
        let sections =
            diff::sections(a.as_ref().map(|config| &config.sections), b.as_ref().map(|config| &config.sections));
        let digest = |config: &Option<RouterConfig>| config.as_ref().map(RouterConfig::digest);
        Ok(json!({
            "from": from, "to": to, "sections": sections, "events": events,
            "fromDigest": digest(&a), "toDigest": digest(&b),
        }))
    }
}

/// A signed head as the API shows it.
fn signed_head(head: &SignedHead) -> Value {
    let time = jiff::Timestamp::from_microsecond(head.at).map(|time| time.to_string()).unwrap_or_default();
    json!({
        "position": head.position, "hash": hex(&head.chain), "at": head.at, "time": time,
        "signature": hex(&head.signature), "publicKey": hex(&head.key),
    })
}

/// Reads what [`signed_head`] writes.
///
/// # Errors
/// A refusal that names what is not there.
pub(super) fn anchor(text: &str) -> Result<SignedHead, Refusal> {
    let right = |why: String| Refusal::argument("anchor", "…", format!("the JSON of a signed head: {why}"));
    let head: Value = serde_json::from_str(text).map_err(|error| right(error.to_string()))?;
    let of = |name: &str| match &head[name] {
        Value::Null => Err(right(format!("`{name}` is missing"))),
        value => Ok(value.clone()),
    };
    let head = json!({
        "position": of("position")?, "at": of("at")?, "chain": of("hash")?, "key": of("publicKey")?,
        "signature": of("signature")?,
    });
    serde_json::from_value(head).map_err(|error| right(error.to_string()))
}

/// The reply of a verification: a broken log is an answer, too.
pub(super) fn verified(verified: Result<switchback_journal::Verified, switchback_journal::Broken>) -> Value {
    match verified {
        Ok(verified) => json!({
            "ok": true,
            "position": verified.head,
            "events": verified.head,
            "commits": verified.commits,
            "hash": hex(&verified.chain),
        }),
        Err(broken) => json!({"ok": false, "brokenAt": broken.position, "why": broken.why}),
    }
}

pub(super) fn refusal_of(error: QueryError) -> Refusal {
    match error {
        QueryError::Bad(bad) => {
            let mut refusal =
                Refusal::new(RefusalKind::Invalid, code::ARGUMENT, format!("{}: {}", bad.field, bad.detail));
            refusal.field = Some(bad.field);
            refusal.hint = bad.hint;
            refusal
        }
        QueryError::TimedOut(_) => Refusal::new(RefusalKind::Timeout, code::TIMEOUT, error.to_string()),
        QueryError::Ahead { .. } => Refusal::new(RefusalKind::Busy, code::BUSY, error.to_string()).hint("try again"),
        QueryError::Store(_) => Refusal::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use switchback_projections::StoreError;

    #[test]
    fn a_query_that_fails_says_whether_to_ask_for_less_or_again() {
        let slow = refusal_of(QueryError::TimedOut(Duration::from_secs(3)));
        assert!(slow.kind == RefusalKind::Timeout && slow.detail.contains("ask for less"), "{slow}");
        let early = refusal_of(QueryError::Ahead { at: 9, reached: 7 });
        assert!(early.kind == RefusalKind::Busy && early.detail.contains('9') && early.hint.is_some(), "{early}");
        let broken = refusal_of(QueryError::Store(StoreError::Gap { expected: 8, found: 9 }));
        assert_eq!(broken.kind, RefusalKind::Internal);
    }
}
