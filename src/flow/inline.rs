//! The one-thread driver: the same contract as the threaded one, without threads or channels.

use std::sync::atomic::Ordering::Relaxed;

use super::pipeline::too_large;
use super::sync::AtomicBool;
use super::{Limits, Pipeline, Stats, guarded};
use crate::error::{Error, Result};

pub(super) fn run<A, B, C>(
    mut pipeline: Pipeline<'_, A, B, C>,
    limits: Limits,
    stats: &Stats,
    interrupt: &AtomicBool,
) -> Result<()> {
    let [source, first, second, fold] = &stats.stages;
    let (mut first_worker, mut second_worker) = (None, None);
    loop {
        let next = source.count(0, || {
            guarded(source.name, None, || (pipeline.source)().transpose())
        });
        if interrupt.load(Relaxed) && !matches!(next, Ok(None)) {
            return Err(Error::Interrupted);
        }
        let Some(offer) = next? else {
            return Ok(());
        };
        if offer.cost_bytes > limits.budget_bytes {
            return Err(too_large(&offer, limits.budget_bytes));
        }
        let (place, n_images) = (offer.place, offer.n_images);
        source.count(n_images, || ());
        let item = first.count(n_images, || {
            guarded(first.name, Some(&place), || {
                first_worker.get_or_insert_with(&pipeline.first)(offer.item)
            })
        })?;
        let item = second.count(n_images, || {
            guarded(second.name, Some(&place), || {
                second_worker.get_or_insert_with(&pipeline.second)(item)
            })
        })?;
        fold.count(n_images, || {
            guarded(fold.name, Some(&place), || (pipeline.fold)(item))
        })?;
    }
}
