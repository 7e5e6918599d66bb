//! What a router's agent was told last, and how the next document travels to it: few changes of EIPs and forwarded ports
//! cost what they are, and not what the ten thousand others would.

use std::collections::BTreeMap;
use switchback_appliance::{
    RouterFold, SectionPush, Sections,
    changes::{Texts, parts_of_few, parts_since},
    digest,
    touched::{FewChanges, Touched},
};

/// A document that an agent holds, as far as is known.
#[derive(Default)]
pub(super) struct Told {
    sections: Sections,
    /// Of the sections.
    digests: BTreeMap<String, String>,
    texts: Texts,
}

/// A document as it travels.
pub(super) type Parts = BTreeMap<String, SectionPush>;

impl Told {
    /// The document of `fold` as it travels, and what an agent that takes it holds then. `before` is the one that it holds
    /// already, where it is known, and `touched` is since then. Nothing before the router was made.
    pub(super) fn next(before: Option<Told>, fold: &RouterFold, touched: &Touched) -> Option<(Parts, Told)> {
        let before = match before {
            Some(mut told) => match touched.changes(fold, &told.sections) {
                Some(changes) => match told.few(changes) {
                    Some(parts) => return fold.router.map(|_| (parts, told)),
                    None => None,
                },
                None => Some(told),
            },
            None => None,
        };
        let sections = fold.config()?.sections;
        let parts = match before {
            Some(told) => parts_since(&sections, &told.sections, &told.digests),
            None => sections.parts(),
        };
        let digests = parts.iter().map(|(name, part)| (name.clone(), part.digest.clone())).collect();
        Some((parts, Told { sections, digests, texts: Texts::default() }))
    }

    /// Takes few changes, and says how they travel.
    fn few(&mut self, changes: FewChanges) -> Option<Parts> {
        let before = self.digests.clone();
        self.texts.change(&mut self.sections, &mut self.digests, changes.clone());
        parts_of_few(&self.sections, &changes, &before, &self.digests)
    }

    /// The digest of the whole.
    pub(super) fn digest(&self) -> String {
        digest(&self.digests)
    }

    /// All of it as it travels.
    pub(super) fn whole(&self) -> Parts {
        self.sections.parts()
    }
}
