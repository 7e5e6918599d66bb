//! Inventories for replies: of queries, and of what a command made.

use super::Node;
use std::time::Duration;
use switchback_bus::{Message, QueryReply, QueryRequest, Refusal, RefusalKind, code};
use switchback_events::{
    Commit, Event, GlobalConfigEvent, Id, IpRangeEvent, Position, StreamKind, TagSetEvent, TagType,
};
use switchback_projections::{Query, QueryError, catalogue};

/// How long a query waits for the inventories to come up to the log.
pub(super) const CATCH_UP: Duration = Duration::from_secs(5);

/// The inventories that a commit is about, by kind: what the reply of its command shows.
pub(super) fn shown(message: &Message, commit: &Commit) -> Vec<(&'static str, Id)> {
    if message.inventory.is_empty() {
        return vec![];
    }
    let Some(first) = commit.events.first() else { return vec![] };
    let id = first.stream.id;
    if let Event::TagSet(TagSetEvent::Created { tag, tag_type, .. }) = &first.event {
        return vec![(if *tag_type == TagType::User { "userTag" } else { "systemTag" }, tag.0)];
    }
    if let Event::GlobalConfig(GlobalConfigEvent::Changed { category, name, .. }) = &first.event {
        return vec![("globalConfig", switchback_actors::global_config::entry_id(category, name))];
    }
    let ranges: Vec<_> = commit
        .events
        .iter()
        .filter(|event| matches!(event.event, Event::IpRange(IpRangeEvent::Created { .. })))
        .map(|event| ("ipRange", event.stream.id))
        .collect();
    if !ranges.is_empty() {
        return ranges;
    }
    let kind = match first.stream.kind {
        StreamKind::Router => "virtualRouter",
        _ => message.inventory,
    };
    vec![(kind, id)]
}

impl Node {
    /// The inventory `id` of `kind` as the inventories know it now.
    pub(super) async fn inventory(&self, kind: &str, id: Id) -> Option<serde_json::Value> {
        let kind = catalogue::kind(kind)?;
        let condition = if kind.name == "globalConfig" {
            let entry = switchback_bus::GLOBAL_CONFIGS
                .iter()
                .find(|entry| switchback_actors::global_config::entry_id(entry.category, entry.name) == id)?;
            vec![format!("category={}", entry.category), format!("name={}", entry.name)]
        } else {
            vec![format!("uuid={id}")]
        };
        let query = Query { conditions: condition, limit: Some(1), ..Query::new(kind) };
        let projections = self.projections.clone();
        tokio::task::spawn_blocking(move || projections.query(&query)).await.ok()?.ok()?.inventories.pop()
    }

    pub(super) async fn answer(&self, request: QueryRequest) -> Result<QueryReply, Refusal> {
        let message = switchback_bus::message(&request.name)?;
        let kind = catalogue::kind_of_query(message.name)
            .ok_or_else(|| Refusal::argument("message", &request.name, "is not a query"))?;
        let mut conditions = request.q;
        if message.name == "QueryL2VlanNetwork" {
            conditions.push("type=L2VlanNetwork".to_string());
        }
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
        self.projections.wait_for(wanted, CATCH_UP).await;
        let query = Query {
            kind,
            conditions,
            fields: request.fields,
            sort: request.sort,
            start: request.start,
            limit: request.limit,
            count: request.count,
            reply_with_count: request.reply_with_count,
            at,
        };
        let projections = self.projections.clone();
        let reply = tokio::task::spawn_blocking(move || projections.query(&query))
            .await
            .map_err(|error| Refusal::internal(format!("run the query: {error}")))?
            .map_err(refusal_of)?;
        Ok(QueryReply { inventories: reply.inventories, total: reply.total, position: reply.position })
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
}

fn refusal_of(error: QueryError) -> Refusal {
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
