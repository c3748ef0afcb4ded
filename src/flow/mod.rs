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
mod pipeline;
mod stats;
mod sync;
mod threaded;

pub use budget::{Budget, Permit};
pub use pipeline::{
    Fold, Limits, MakeWorker, Offer, Pipeline, Source, THREAD_PREFIX, Worker, cannot_start,
    guarded, run,
};
pub use stats::{StageStats, Stats};

#[cfg(test)]
mod tests;
