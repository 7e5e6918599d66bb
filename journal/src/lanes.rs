//! Frames of some size, in sled trees of their own.
//!
//! sled rewrites a leaf with all its values at every tenth change, and when it splits it at 17 values: in one
//! tree each byte would be written some four times. So such frames go to *lanes*: trees of one leaf that takes a
//! few frames and is then left alone until these are sealed; then it is used again.
//!
//! **Invariants:** the values of a lane stay below sled's blob limit of 128 KiB together, and are at most 16, so
//! that its leaf is never split and, whenever sled rewrites it, never becomes a file that sled does not sync.
//! There are at most [`LANES_MAX`] lanes, so that sled's list of trees stays below that limit too.

use crate::store::StoreError;
use parking_lot::Mutex;

/// What the values of a lane take at most, together.
pub(crate) const LANE_BYTES: usize = 120 * 1024;
/// One less than sled's changes from one rewriting of a leaf to the next.
const LANE_VALUES: usize = 9;
const LANES_MAX: usize = 2048;
const PREFIX: &str = "lane-";
/// As many changes as make sled rewrite a leaf, in pairs.
const REWRITING_PAIRS: usize = 5;

/// The number of a lane.
pub(crate) type Lane = u16;

/// All lanes of a database.
pub(crate) struct Lanes {
    db: sled::Db,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trees: Vec<sled::Tree>,
    free: Vec<Lane>,
    /// The lane that takes the next frame, and what it has.
    filling: Option<Filling>,
}

#[derive(Clone, Copy)]
struct Filling {
    lane: Lane,
    bytes: usize,
    values: usize,
}

impl Lanes {
    /// Opens the lanes that there are. Those that have values are left alone until these are removed.
    pub fn open(db: sled::Db) -> sled::Result<Lanes> {
        let count = db.tree_names().iter().filter(|name| name.starts_with(PREFIX.as_bytes())).count();
        let trees = (0..count).map(|lane| db.open_tree(name(lane))).collect::<sled::Result<Vec<_>>>()?;
        let mut free = Vec::new();
        for (lane, tree) in (0..).zip(&trees) {
            // A crash may have come while the leaf was being rewritten.
            tree.remove([])?;
            if tree.is_empty() {
                free.push(lane);
            }
        }
        Ok(Lanes { db, state: Mutex::new(State { trees, free, filling: None }) })
    }

    /// The tree of `lane`.
    pub fn tree(&self, lane: Lane) -> Result<sled::Tree, StoreError> {
        let missing = || StoreError::io("read a frame", format!("lane {lane} does not exist"));
        self.state.lock().trees.get(usize::from(lane)).cloned().ok_or_else(missing)
    }

    /// All lanes, with their trees.
    pub fn trees(&self) -> Vec<(Lane, sled::Tree)> {
        (0..).zip(self.state.lock().trees.iter().cloned()).collect()
    }

    /// The lane for a value of `bytes`; `None` when it is too large for any, or all are full.
    pub fn take(&self, bytes: usize) -> sled::Result<Option<Lane>> {
        if bytes > LANE_BYTES {
            return Ok(None);
        }
        let mut state = self.state.lock();
        let fits = |filling: &Filling| filling.bytes + bytes <= LANE_BYTES && filling.values < LANE_VALUES;
        let filling = match state.filling.filter(fits) {
            Some(filling) => filling,
            None => {
                state.retire();
                let Some(lane) = self.empty_lane(&mut state)? else { return Ok(None) };
                Filling { lane, bytes: 0, values: 0 }
            }
        };
        state.filling = Some(Filling { bytes: filling.bytes + bytes, values: filling.values + 1, ..filling });
        Ok(Some(filling.lane))
    }

    fn empty_lane(&self, state: &mut State) -> sled::Result<Option<Lane>> {
        if let Some(lane) = state.free.pop() {
            return Ok(Some(lane));
        }
        let number = state.trees.len();
        if number >= LANES_MAX {
            return Ok(None);
        }
        state.trees.push(self.db.open_tree(name(number))?);
        Ok(Some(number as Lane))
    }

    /// Removes `keys` from `lane`. When nothing is left in it and no value comes to it any more, it can be used again.
    pub fn remove(&self, lane: Lane, keys: &[[u8; 12]]) -> Result<(), StoreError> {
        let failed = |error: sled::Error| StoreError::io("remove sealed frames", error);
        let tree = self.tree(lane)?;
        for key in keys {
            tree.remove(key).map_err(failed)?;
        }
        // A removal can rewrite the leaf, and sled must not have many segments to write while its file shrinks.
        tree.flush().map_err(failed)?;
        let is_filling = self.state.lock().filling.is_some_and(|filling| filling.lane == lane);
        if is_filling || !tree.is_empty() {
            return Ok(());
        }
        // sled keeps what was removed until it rewrites the leaf: let it do that now.
        for _ in 0..REWRITING_PAIRS {
            tree.insert([], &[]).map_err(failed)?;
            tree.remove([]).map_err(failed)?;
        }
        self.state.lock().free.push(lane);
        Ok(())
    }
}

impl State {
    /// No further value comes to the lane that was being filled. What came to it may have been removed already.
    fn retire(&mut self) {
        let Some(Filling { lane, .. }) = self.filling.take() else { return };
        if self.trees[usize::from(lane)].is_empty() {
            self.free.push(lane);
        }
    }
}

fn name(lane: usize) -> String {
    format!("{PREFIX}{lane:04}")
}
