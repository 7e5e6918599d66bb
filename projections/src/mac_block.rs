//! Blocks of hardware addresses have no rows: a MAC in use is seen on its nic.

use crate::fold::RowChange;
use switchback_events::MacBlockEvent;

pub(crate) fn changes(event: &MacBlockEvent) -> Vec<RowChange> {
    match event {
        MacBlockEvent::Allocated { .. } | MacBlockEvent::Released { .. } => vec![],
    }
}
