//! The files of `src/flow`, compiled over the model's `sync`: the code that is shipped, with other locks and threads.

#[path = "../../src/flow/budget.rs"]
mod budget;
#[path = "../../src/flow/inline.rs"]
mod inline;
#[path = "../../src/flow/order.rs"]
mod order;
#[path = "../../src/flow/pipeline.rs"]
mod pipeline;
#[path = "../../src/flow/stats.rs"]
mod stats;
pub(crate) mod sync;
#[path = "../../src/flow/threaded.rs"]
mod threaded;

pub use budget::Budget;
pub use pipeline::{
    Fold, Limits, MakeWorker, Offer, Pipeline, Source, THREAD_PREFIX, cannot_start, guarded, run,
};
pub use stats::{StageStats, Stats};
