//! Byte permits: how memory in flight is bounded.
//!
//! Permits are taken at the source only, in batch order, and given back by drop. Nothing else may wait here.

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A number of bytes and of batches that may be in flight at once.
#[derive(Debug)]
pub struct Budget {
    max_bytes: u64,
    max_batches: usize,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    bytes: u64,
    batches: usize,
    closed: bool,
}

/// Leave to hold some bytes; given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of `max_bytes` and `max_batches`.
    pub fn new(max_bytes: u64, max_batches: usize) -> Budget {
        Budget {
            max_bytes,
            max_batches,
            used: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free; `None` once the budget is closed. `bytes` is at most the whole budget.
    pub fn take(&self, bytes: u64) -> Option<Permit<'_>> {
        assert!(bytes <= self.max_bytes, "a batch larger than the budget");
        let mut used = self.lock();
        while !used.closed
            && (bytes > self.max_bytes - used.bytes || used.batches >= self.max_batches)
        {
            used = self
                .freed
                .wait(used)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if used.closed {
            return None;
        }
        used.bytes += bytes;
        used.batches += 1;
        Some(Permit {
            budget: self,
            bytes,
        })
    }

    /// Wakes whoever waits and grants nothing any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.freed.notify_all();
    }

    /// Whether every permit has come back.
    pub fn is_free(&self) -> bool {
        let used = self.lock();
        (used.bytes, used.batches) == (0, 0)
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut used = self.budget.lock();
        used.bytes -= self.bytes;
        used.batches -= 1;
        drop(used);
        self.budget.freed.notify_all();
    }
}
