//! What a router's agent was told last, and how the next document travels to it: few changes of EIPs and forwarded ports
//! cost what they are, and not what the ten thousand others would.

use std::collections::BTreeMap;
use switchback_appliance::{
    RouterFold, SectionPush, Sections,
    changes::{Texts, parts_of_few, parts_since},
    digest,
    touched::Touched,
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
        let before = match before.map(|told| told.few(fold, touched)) {
            Some(Ok(next)) => return fold.router.map(|_| next),
            Some(Err(told)) => told,
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

    /// Or itself, where everything is to be looked at.
    fn few(mut self, fold: &RouterFold, touched: &Touched) -> Result<(Parts, Told), Option<Told>> {
        let Some(changes) = touched.changes(fold, &self.sections) else { return Err(Some(self)) };
        let before = self.digests.clone();
        self.texts.change(&mut self.sections, &mut self.digests, changes.clone());
        let parts = parts_of_few(&self.sections, &changes, &before, &self.digests).ok_or(None)?;
        Ok((parts, self))
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
