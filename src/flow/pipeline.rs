//! What a pipeline is: its four stages, what travels between them, the limits it keeps; and the door to both drivers.
//!
//! How batches travel is the drivers' business. No panic of a stage comes out of here: it is an error.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytesize::ByteSize;

use super::sync::AtomicBool;
use super::{Stats, inline, threaded};
use crate::error::{Error, Place, Result, panic_message};

/// Batches in flight for each worker of a stage: one at work and one waiting in both mapped stages.
const IN_FLIGHT_PER_WORKER: usize = 4;

/// How the names of all our threads begin; no panic leaves one.
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
/// [`Error::Interrupted`]; unless the source had no more batches, so that nothing is left to do.
///
/// # Errors
/// The error of the earliest batch that has one, whatever the number of workers; a panic in a stage is such an error.
pub fn run<A: Send, B: Send, C: Send>(
    pipeline: Pipeline<'_, A, B, C>,
    limits: Limits,
    stats: &Stats,
    interrupt: &AtomicBool,
) -> Result<()> {
    let [.., fold] = &stats.stages;
    // Each stage is guarded by itself; what is left is what the caller's thread does for the fold.
    guarded(fold.name, None, || match limits.workers {
        0 => inline::run(pipeline, limits, stats, interrupt),
        _ => threaded::run(pipeline, limits, stats, interrupt),
    })
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

/// The error of a stage for which the system starts no more threads.
pub fn cannot_start(stage: &'static str, error: &dyn fmt::Display) -> Error {
    Error::Data {
        message: format!("cannot start a thread for the {stage} stage: {error}"),
        help: Some("lower run.threads".to_owned()),
    }
}

/// The refusal of a batch that could never get its permit.
pub(super) fn too_large<T>(offer: &Offer<T>, budget_bytes: u64) -> Error {
    Error::File {
        place: offer.place.clone(),
        message: format!(
            "the image here needs {} of memory, run.memory leaves {} for images",
            ByteSize(offer.cost_bytes),
            ByteSize(budget_bytes),
        ),
        help: Some(format!(
            "raise run.memory by {}, or let larger images count as bad ones with input.max_pixels",
            ByteSize(2 * (offer.cost_bytes - budget_bytes)),
        )),
    }
}
