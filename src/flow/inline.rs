//! The one-thread driver: the same contract as the threaded one, without threads or channels.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Limits, Pipeline, Stats, guarded, too_large};
use crate::error::{Error, Result};

pub(super) fn run<A, B, C>(
    mut pipeline: Pipeline<'_, A, B, C>,
    limits: Limits,
    stats: &Stats,
    interrupt: &AtomicBool,
) -> Result<()> {
    let [source, first, second, fold] = &stats.stages;
    let mut first_worker = (pipeline.first)();
    let mut second_worker = (pipeline.second)();
    while !interrupt.load(Relaxed) {
        let next = source.count(0, || {
            guarded(source.name, None, || (pipeline.source)().transpose())
        });
        let Some(offer) = next? else {
            return Ok(());
        };
        if offer.cost_bytes > limits.budget_bytes {
            return Err(too_large(&offer, limits.budget_bytes));
        }
        let (place, n_images) = (offer.place, offer.n_images);
        source.count(n_images, || ());
        let item = first.count(n_images, || {
            guarded(first.name, Some(&place), || first_worker(offer.item))
        })?;
        let item = second.count(n_images, || {
            guarded(second.name, Some(&place), || second_worker(item))
        })?;
        fold.count(n_images, || {
            guarded(fold.name, Some(&place), || (pipeline.fold)(item))
        })?;
    }
    Err(Error::Interrupted)
}
