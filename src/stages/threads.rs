//! Threads of a stage that works on a whole sample, k-means and what prepares it, and of a guest's calls.
//!
//! Batches never come here; how they travel is `flow`'s business.

use crate::error::Result;
use crate::flow::{THREAD_PREFIX, cannot_start};

/// Does `work` with `threads` threads, at least one, that are called `name` and a number. All have ended when this returns,
/// even with a panic.
///
/// # Errors
/// What `work` gives, or that the system starts no more threads.
pub fn on_threads<T: Send>(
    name: &'static str,
    threads: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |index| format!("{THREAD_PREFIX}{name}-{index}"))
        .build_scoped(|thread| thread.run(), |pool| pool.install(work))
        .map_err(|error| cannot_start(name, &error))?
}
