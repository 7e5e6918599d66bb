//! How links of a [`super::SimulatedKernel`] shape what they send.

use super::State;
use crate::kernel::{KernelError, ObservedClass, Result, Shaper, ShapingChange};

impl State {
    pub(super) fn change_shaping(&mut self, change: &ShapingChange) -> Result<()> {
        let classes = |state: &'_ mut State, link: &str| {
            let shaper = state.shapers.get_mut(link).map(|shaper| std::mem::take(&mut shaper.classes));
            shaper.ok_or_else(|| KernelError::new(format!("find the classes of {link}"), "no such file or directory"))
        };
        let link = match change {
            ShapingChange::Shape { link, handle } => {
                self.link(link)?;
                self.shapers.insert(link.clone(), Shaper { handle: *handle, ..Shaper::default() });
                return Ok(());
            }
            ShapingChange::Unshape { link } => {
                self.shapers.remove(link);
                return Ok(());
            }
            ShapingChange::Add { link, .. }
            | ShapingChange::Change { link, .. }
            | ShapingChange::Delete { link, .. } => link,
        };
        let mut held = classes(self, link)?;
        let exists = |there: bool| if there { "file exists" } else { "no such file or directory" };
        let failed = match change {
            ShapingChange::Add { number, class, .. } => {
                let alone = class.parent.is_some_and(|parent| !held.contains_key(&parent));
                let there = held.contains_key(number);
                held.insert(*number, ObservedClass { class: *class, ..ObservedClass::default() });
                (alone || there).then(|| exists(there))
            }
            ShapingChange::Change { number, class, .. } => match held.get_mut(number) {
                Some(own) => {
                    own.class = *class;
                    None
                }
                None => Some(exists(false)),
            },
            ShapingChange::Delete { number, .. } => {
                let used = held.values().any(|other| other.class.parent == Some(*number));
                let there = held.remove(number).is_some();
                if used { Some("in use") } else { (!there).then(|| exists(false)) }
            }
            ShapingChange::Shape { .. } | ShapingChange::Unshape { .. } => None,
        };
        if let Some(shaper) = self.shapers.get_mut(link) {
            shaper.classes = held;
        }
        match failed {
            Some(detail) => Err(KernelError::new(format!("{change:?}"), detail)),
            None => Ok(()),
        }
    }
}
