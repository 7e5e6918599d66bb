//! The states of all aggregates, as one type: what is kept in the table of [`crate::states`].

use crate::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use switchback_events::{Event, Id, StreamKind, Version};

/// An aggregate: a state that events of one kind make.
pub trait Aggregate: Clone + Default + Send + Sync + 'static {
    /// The kind of its streams.
    const KIND: StreamKind;
    /// Its state within [`State`].
    fn of(state: &State) -> Option<&Arc<Self>>;
}

macro_rules! states {
    ($($variant:ident),* $(,)?) => {
        /// The state of any aggregate.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum State { $($variant(Arc<$variant>)),* }

        impl State {
            /// The state before the first event.
            pub fn absent(kind: StreamKind) -> State {
                match kind { $(StreamKind::$variant => State::$variant(Arc::default())),* }
            }

            /// Takes the next event. Total: an event that does not fit changes nothing.
            pub fn evolve(&mut self, event: &Event, version: Version) {
                match (self, event) {
                    $((State::$variant(state), Event::$variant(event)) => Arc::make_mut(state).evolve(event, version),)*
                    _ => {}
                }
            }
        }

        $(impl Aggregate for $variant {
            const KIND: StreamKind = StreamKind::$variant;
            fn of(state: &State) -> Option<&Arc<$variant>> {
                match state {
                    State::$variant(state) => Some(state),
                    _ => None,
                }
            }
        })*
    };
}

states!(
    Zone,
    Cluster,
    Host,
    Image,
    L2Network,
    L3Network,
    IpRange,
    MacBlock,
    NetworkServiceProvider,
    Offering,
    VmInstance,
    Router,
    LoadBalancer,
    Certificate,
    AccessControlList,
    Vip,
    Eip,
    PortForwarding,
    TagSet,
    GlobalConfig,
    ResourceConfig,
    Account,
    Policy,
    Role,
    Ownership,
    SecurityGroup,
);

/// The name of the shape of all states. Raise the number when the shape of any state changes: snapshots of another
/// shape are ignored.
pub fn schema() -> Id {
    Id::of_name("switchback.state.14")
}
