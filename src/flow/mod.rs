//! The runtime that joins stages: numbered batches, byte permits, order, the first error, two drivers.
//!
//! It knows threads and never images or files. The law: one batch in, one batch out. No stage splits, drops or merges
//! batches, so their numbers stay dense: order is a small map, and completeness is a count.
//!
//! A batch takes a permit for the most bytes that it will need in any stage, at the source and in order, and gives it
//! back when the fold is done with it. The oldest batch therefore always has its permit, and since each channel has
//! room for as many batches as can be in flight, no send ever waits: the pipeline cannot deadlock.
//!
//! `inline` is the executable specification: one thread, no channels. `threaded` must give the same result.

mod budget;
mod inline;
mod order;
mod stats;
mod threaded;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Place, Result, panic_message};

pub use budget::{Budget, Permit};
pub use stats::{StageStats, Stats};

/// Batches in flight for each worker of a stage: one at work and one waiting in both mapped stages.
const IN_FLIGHT_PER_WORKER: usize = 4;

/// How worker threads are called; their panics are caught and reported as errors.
pub const THREAD_PREFIX: &str = "bovw-";

/// What a source yields: an item, and what the runtime must know about it.
#[derive(Debug)]
pub struct Offer<T> {
    /// The batch.
    pub item: T,
    /// The most heap bytes that it will take in any stage.
    pub cost_bytes: u64,
    /// Images in it.
    pub n_images: u64,
    /// Where it comes from, for errors.
    pub place: Place,
}

/// A source: the next batch, until there are no more. After an error it is not asked again.
pub type Source<'a, T> = dyn FnMut() -> Option<Result<Offer<T>>> + Send + 'a;

/// What a worker does with a batch.
pub type Worker<'a, A, B> = Box<dyn FnMut(A) -> Result<B> + 'a>;

/// A stateless stage: how to make one of its workers, which then owns its scratch memory.
pub type MakeWorker<'a, A, B> = dyn Fn() -> Worker<'a, A, B> + Sync + 'a;

/// The last stage: takes the batches one by one, in order.
pub type Fold<'a, T> = dyn FnMut(T) -> Result<()> + 'a;

/// A pipeline of four stages: source, two maps, fold.
pub struct Pipeline<'a, A, B, C> {
    /// Yields batches.
    pub source: Box<Source<'a, A>>,
    /// The first map.
    pub first: Box<MakeWorker<'a, A, B>>,
    /// The second map.
    pub second: Box<MakeWorker<'a, B, C>>,
    /// Takes the results in order.
    pub fold: Box<Fold<'a, C>>,
}

/// How a pipeline is run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Workers of each mapped stage; 0 asks for the one-thread driver without channels.
    pub workers: usize,
    /// Bytes of all batches in flight.
    pub budget_bytes: u64,
}

impl Limits {
    /// The most batches that can be in flight, whatever their size.
    pub fn max_in_flight(&self) -> usize {
        IN_FLIGHT_PER_WORKER * self.workers.max(1) + 2
    }
}

/// Runs a pipeline to its end.
///
/// Once `interrupt` is set, no new batch is started, those in flight are finished, and the result is
/// [`Error::Interrupted`].
///
/// # Errors
/// The error of the earliest batch that has one, whatever the number of workers; a panic in a stage is such an error.
pub fn run<A: Send, B: Send, C: Send>(
    pipeline: Pipeline<'_, A, B, C>,
    limits: Limits,
    stats: &Stats,
    interrupt: &AtomicBool,
) -> Result<()> {
    if limits.workers == 0 {
        inline::run(pipeline, limits, stats, interrupt)
    } else {
        threaded::run(pipeline, limits, stats, interrupt)
    }
}

/// Calls a stage; a panic becomes an error that says where it happened.
///
/// # Errors
/// What `call` gives, or [`Error::Panicked`].
pub fn guarded<T>(
    stage: &'static str,
    place: Option<&Place>,
    call: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        Err(Error::Panicked {
            stage,
            place: place.cloned(),
            message: panic_message(panic.as_ref()),
        })
    })
}

/// The refusal of a batch that could never get its permit.
fn too_large<T>(offer: &Offer<T>, budget_bytes: u64) -> Error {
    Error::File {
        place: offer.place.clone(),
        message: format!(
            "the image here needs {} in flight, more than the {} that run.memory leaves for batches",
            bytesize::ByteSize(offer.cost_bytes),
            bytesize::ByteSize(budget_bytes),
        ),
        help: Some("raise run.memory".to_owned()),
    }
}

#[cfg(test)]
mod tests;
