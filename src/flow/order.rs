//! Puts numbered batches back in order. Bounded by the permits of the batches it holds.

use std::collections::BTreeMap;

/// Batches that came before their turn.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    next: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Reorder<T> {
    pub(super) fn new() -> Reorder<T> {
        Reorder {
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Takes batch `number`, which must not have come before.
    pub(super) fn push(&mut self, number: u64, batch: T) {
        assert!(number >= self.next, "batch {number} came twice");
        let twice = self.waiting.insert(number, batch);
        assert!(twice.is_none(), "batch {number} came twice");
    }

    /// The next batch, if it is here.
    pub(super) fn pop(&mut self) -> Option<T> {
        let batch = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(batch)
    }

    /// How many batches have been given out.
    pub(super) fn n_given(&self) -> u64 {
        self.next
    }
}
