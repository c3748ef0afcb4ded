//! Counters that stages write and a progress display reads. Relaxed and approximate; results never depend on them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// What one stage has done so far.
#[derive(Debug)]
pub struct StageStats {
    /// Name of the stage.
    pub name: &'static str,
    /// What is counted: images, or passes over the sample.
    pub unit: &'static str,
    done: AtomicU64,
    total: AtomicU64,
    busy_nanos: AtomicU64,
    waiting: AtomicU64,
    capacity: AtomicU64,
}

impl StageStats {
    /// A stage that has done nothing.
    pub fn new(name: &'static str, unit: &'static str) -> StageStats {
        StageStats {
            name,
            unit,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
        }
    }

    /// Units done.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// Units in all; 0 where that is not known.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Says how many units there are in all.
    pub fn set_total(&self, total: u64) {
        self.total.store(total, Relaxed);
    }

    /// Says how many units are done.
    pub fn set_done(&self, done: u64) {
        self.done.store(done, Relaxed);
    }

    /// Time that the stage's workers were at work, all together, in seconds.
    pub fn busy_seconds(&self) -> f64 {
        self.busy_nanos.load(Relaxed) as f64 * 1e-9
    }

    /// Batches in the channel before the stage, and how many fit.
    pub fn channel(&self) -> (u64, u64) {
        (self.waiting.load(Relaxed), self.capacity.load(Relaxed))
    }

    /// Runs `work` on `units` units and counts both the units and the time.
    pub fn count<T>(&self, units: u64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Relaxed);
        self.done.fetch_add(units, Relaxed);
        result
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.capacity.store(capacity as u64, Relaxed);
    }

    pub(super) fn set_waiting(&self, waiting: usize) {
        self.waiting.store(waiting as u64, Relaxed);
    }
}

/// The four stages of one pass, in flow order.
#[derive(Debug)]
pub struct Stats {
    /// Source, first map, second map, fold.
    pub stages: [StageStats; 4],
}

impl Stats {
    /// Counters for a pass over images, whose stages have these names.
    pub fn new(names: [&'static str; 4]) -> Stats {
        Stats {
            stages: names.map(|name| StageStats::new(name, "images")),
        }
    }

    /// Says how many images the pass will see, in every stage.
    pub fn set_total(&self, n_images: u64) {
        for stage in &self.stages {
            stage.set_total(n_images);
        }
    }
}
