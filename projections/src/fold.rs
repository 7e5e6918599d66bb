//! The fold: what each event changes in the rows. One small file a concept says it; here is what they share.
//!
//! **Invariant:** total. An event about a row that is not there changes nothing and never fails: only the
//! database can. Nothing here looks at a clock: times are the commit's.

use crate::catalogue::{GLOBAL_CONFIG, Kind};
use crate::store::StoreError;
use crate::value::Val;
use crate::{
    access_control_list, account, certificate, cluster, eip, global_config, host, image, ip_range, l2_network,
    l3_network, load_balancer, mac_block, network_service_provider, offering, ownership, policy, port_forwarding,
    resource_config, role, router, security_group, tag_set, vip, vm_instance, zone,
};
use switchback_events::{Event, Micros, Recorded};

/// Counts up when an event's meaning for the rows changes, so that databases of before are rebuilt.
pub(crate) const FOLD_VERSION: u32 = 6;

/// One row: the values in the order of its kind's fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub values: Vec<Val>,
}

impl Row {
    /// The value of the field `name` of `kind`.
    pub fn value(&self, kind: &Kind, name: &str) -> &Val {
        &self.values[column(kind, name)]
    }
}

/// What is done to a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Make it, unless it is there; fields that are not given are null, lists empty.
    Insert,
    /// Change the given fields, if it is there.
    Set,
    /// Remove it into history, if it is there.
    Delete,
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowChange {
    pub kind: &'static Kind,
    pub uuid: String,
    pub action: Action,
    pub values: Vec<(usize, Val)>,
}

fn column(kind: &Kind, name: &str) -> usize {
    kind.column(name)
        .unwrap_or_else(|| panic!("the fold names {}.{name}, which the catalogue does not have", kind.name))
}

impl RowChange {
    fn new(kind: &'static Kind, uuid: impl ToString, action: Action) -> RowChange {
        RowChange { kind, uuid: uuid.to_string(), action, values: Vec::new() }
    }

    /// Makes the row `uuid`.
    pub fn insert(kind: &'static Kind, uuid: impl ToString) -> RowChange {
        let change = RowChange::new(kind, uuid, Action::Insert);
        let uuid = change.uuid.as_str().into();
        change.put("uuid", Val::Text(uuid))
    }

    /// Changes the row `uuid`.
    pub fn set(kind: &'static Kind, uuid: impl ToString) -> RowChange {
        RowChange::new(kind, uuid, Action::Set)
    }

    /// Removes the row `uuid`.
    pub fn delete(kind: &'static Kind, uuid: impl ToString) -> RowChange {
        RowChange::new(kind, uuid, Action::Delete)
    }

    /// With `value` in the field `name`.
    pub fn put(mut self, name: &str, value: impl Into<Val>) -> RowChange {
        self.values.push((column(self.kind, name), value.into()));
        self
    }

    /// With `value` in the field `name`, if there is one.
    pub fn put_some(self, name: &str, value: Option<impl Into<Val>>) -> RowChange {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }
}

/// The rows as they are before the event.
pub(crate) trait Rows {
    /// The row `uuid` of `kind`.
    fn get(&self, kind: &'static Kind, uuid: &str) -> Result<Option<Row>, StoreError>;
    /// The uuids of the rows of `kind` whose `field` is `value`, oldest first.
    fn find(&self, kind: &'static Kind, field: &'static str, value: &str) -> Result<Vec<String>, StoreError>;
}

/// The row changes that the event of `recorded` makes, with the dates `at`.
pub(crate) fn changes(recorded: &Recorded, at: Micros, rows: &dyn Rows) -> Result<Vec<RowChange>, StoreError> {
    let id = recorded.stream.id;
    let mut changes = match &recorded.event {
        Event::Zone(event) => zone::changes(id, event),
        Event::Cluster(event) => cluster::changes(id, event),
        Event::Host(event) => host::changes(id, event),
        Event::Image(event) => image::changes(id, event),
        Event::L2Network(event) => l2_network::changes(id, event, rows)?,
        Event::L3Network(event) => l3_network::changes(id, event, rows)?,
        Event::IpRange(event) => ip_range::changes(id, event, rows)?,
        Event::MacBlock(event) => mac_block::changes(event),
        Event::NetworkServiceProvider(event) => network_service_provider::changes(id, event),
        Event::Offering(event) => offering::changes(id, event),
        Event::VmInstance(event) => vm_instance::changes(id, event, rows)?,
        Event::Router(event) => router::changes(id, event, rows)?,
        Event::LoadBalancer(event) => load_balancer::changes(id, event, rows)?,
        Event::Certificate(event) => certificate::changes(id, event),
        Event::AccessControlList(event) => access_control_list::changes(id, event, rows)?,
        Event::Vip(event) => vip::changes(id, event),
        Event::Eip(event) => eip::changes(id, event),
        Event::PortForwarding(event) => port_forwarding::changes(id, event),
        Event::TagSet(event) => tag_set::changes(id, event),
        Event::GlobalConfig(event) => global_config::changes(event),
        Event::ResourceConfig(event) => resource_config::changes(id, event),
        Event::Account(event) => account::changes(id, event, rows)?,
        Event::Policy(event) => policy::changes(id, event, rows)?,
        Event::Role(event) => role::changes(id, event, rows)?,
        Event::Ownership(event) => ownership::changes(id, event, rows)?,
        Event::SecurityGroup(event) => security_group::changes(id, event, rows)?,
    };
    let derived = vip::follow(recorded, &vip::After { rows, changes: &changes })?;
    changes.extend(derived);
    changes.retain(|change| change.action != Action::Set || !change.values.is_empty());
    for change in &mut changes {
        stamp(change, at);
    }
    Ok(changes)
}

fn stamp(change: &mut RowChange, at: Micros) {
    let last = change.kind.fields.len() - 1;
    match change.action {
        Action::Insert if change.kind == &GLOBAL_CONFIG => {}
        Action::Insert => change.values.extend([(last - 1, Val::Int(at)), (last, Val::Int(at))]),
        Action::Set => change.values.push((last, Val::Int(at))),
        Action::Delete => {}
    }
}

/// The row that an insert makes.
pub(crate) fn row_of(change: &RowChange) -> Row {
    let empty = |field: &crate::catalogue::Field| if field.ty.is_list() { Val::List(Vec::new()) } else { Val::Null };
    let mut row = Row { values: change.kind.fields.iter().map(empty).collect() };
    for (column, value) in &change.values {
        row.values[*column] = value.clone();
    }
    row
}
