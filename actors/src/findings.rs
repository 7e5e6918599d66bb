//! What agents find other than it should be, as it comes into the log: one event for each change of what is found, however
//! often it is looked for.
//!
//! **Invariant:** an event is bounded: so many items, of so many bytes each.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchback_events::Deviation;

/// The most items that an event names; of the others it has the number.
const ITEMS_MAX: usize = 50;
/// The most characters of each text.
const TEXT_MAX: usize = 300;

/// What was found, as far as it tells one finding from another: not the values, which may move all the time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    items: BTreeSet<(String, String)>,
    more: u64,
}

impl Findings {
    /// Of what an event says.
    pub fn of(items: &[Deviation], more: u64) -> Findings {
        Findings { items: items.iter().map(|item| (item.section.clone(), item.item.clone())).collect(), more }
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.more == 0
    }
}

/// Of everything that was found, what an event says.
pub fn bounded(found: &[Deviation]) -> (Vec<Deviation>, u64) {
    let cut = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
    let item = |found: &Deviation| Deviation {
        section: cut(&found.section),
        item: cut(&found.item),
        expected: cut(&found.expected),
        observed: cut(&found.observed),
    };
    let items: Vec<Deviation> = found.iter().take(ITEMS_MAX).map(item).collect();
    let more = found.len() - items.len();
    (items, more as u64)
}

/// The same of a text.
pub fn bounded_text(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_bounded_and_told_apart_by_what_it_is() {
        let found = |observed: &str, number: usize| Deviation {
            section: "eips".to_string(),
            item: format!("element {number}"),
            expected: "present".to_string(),
            observed: observed.to_string(),
        };
        let many: Vec<Deviation> = (0..80).map(|number| found(&"x".repeat(9000), number)).collect();
        let (items, more) = bounded(&many);
        assert_eq!((items.len(), more, items[0].observed.len()), (50, 30, 300));
        let one = Findings::of(&[found("absent", 1)], 0);
        assert_eq!(one, Findings::of(&[found("1.2.3.4", 1)], 0));
        assert_ne!(one, Findings::of(&[found("absent", 2)], 0));
        assert_ne!(one, Findings::of(&[found("absent", 1)], 1));
        assert!(Findings::of(&[], 0).is_empty() && !one.is_empty());
    }
}
