//! The threaded driver: a source thread, workers for each mapped stage, and the fold on the caller's thread.
//!
//! Errors travel with their batch's number and are met in order by the fold, so the one that is reported does not
//! depend on which worker was faster. After it nothing more is computed; what is in the channels is dropped.
//!
//! However the fold ends, the budget is closed, so that no thread waits for a permit that will never come.

use std::sync::atomic::Ordering::Relaxed;

use super::budget::{Budget, Permit};
use super::order::Reorder;
use super::pipeline::too_large;
use super::sync::{
    AtomicBool, Mutex, MutexGuard, PoisonError, Receiver, Scope, Sender, bounded, scope, spawn,
};
use super::{
    Limits, MakeWorker, Pipeline, Source, StageStats, Stats, THREAD_PREFIX, cannot_start, guarded,
};
use crate::error::{Error, Place, Result};

/// A batch on its way, or the error that it ended in.
struct Numbered<'a, T> {
    number: u64,
    result: Result<T>,
    n_images: u64,
    place: Option<Place>,
    permit: Option<Permit<'a>>,
}

/// What all threads of one run share.
struct Shared<'a> {
    budget: Budget,
    failed: AtomicBool,
    interrupt: &'a AtomicBool,
    left: Mutex<Left>,
}

/// What threads leave behind, for when all have ended.
#[derive(Default)]
struct Left {
    // Batches that the source has sent, errors among them.
    n_sent: u64,
    // Whether the source had one more, which an interruption kept it from sending.
    was_interrupted: bool,
    // A panic beside the work of a stage: when a worker, or a batch that is not wanted any more, was dropped.
    panic: Option<Error>,
}

impl Shared<'_> {
    fn fail(&self) {
        self.failed.store(true, Relaxed);
        self.budget.close();
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends all threads home when the fold ends, however it does: with a panic, too.
struct EndOfFold<'a, 'b>(&'a Shared<'b>);

impl Drop for EndOfFold<'_, '_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}

pub(super) fn run<A: Send, B: Send, C: Send>(
    pipeline: Pipeline<'_, A, B, C>,
    limits: Limits,
    stats: &Stats,
    interrupt: &AtomicBool,
) -> Result<()> {
    let max_in_flight = limits.max_in_flight();
    let shared = Shared {
        budget: Budget::new(limits.budget_bytes, max_in_flight),
        failed: AtomicBool::new(false),
        interrupt,
        left: Mutex::default(),
    };
    let Pipeline {
        source,
        first,
        second,
        mut fold,
    } = pipeline;
    let [source_stats, first_stats, second_stats, fold_stats] = &stats.stages;
    for stage in [first_stats, second_stats, fold_stats] {
        stage.set_capacity(max_in_flight);
    }
    // As many places as batches can be in flight, and one for an error that holds no permit.
    let (to_first, from_source) = bounded(max_in_flight + 1);
    let (to_second, from_first) = bounded(max_in_flight + 1);
    let (to_fold, from_second) = bounded(max_in_flight + 1);

    let folded = scope(|scope| {
        let shared = &shared;
        let _end = EndOfFold(shared);
        let (budget, mut source) = (limits.budget_bytes, source);
        start(scope, source_stats.name, shared, move || {
            read(&mut *source, budget, source_stats, &to_first, shared);
        })?;
        for _ in 0..limits.workers {
            let (input, output, make) = (from_source.clone(), to_second.clone(), &*first);
            start(scope, first_stats.name, shared, move || {
                work(make, first_stats, &input, &output, shared);
            })?;
            let (input, output, make) = (from_first.clone(), to_fold.clone(), &*second);
            start(scope, second_stats.name, shared, move || {
                work(make, second_stats, &input, &output, shared);
            })?;
        }
        drop((to_second, to_fold, from_source, from_first));
        collect(&mut *fold, fold_stats, &from_second)
    });
    drop(from_second);
    debug_assert!(shared.budget.is_free(), "a permit was lost");
    conclude(folded, &mut shared.left())
}

/// How a run ended, once all its threads have.
fn conclude(folded: Result<u64>, left: &mut Left) -> Result<()> {
    let n_folded = folded?;
    if let Some(panic) = left.panic.take() {
        return Err(panic);
    }
    assert_eq!(n_folded, left.n_sent, "a batch was lost");
    if left.was_interrupted {
        return Err(Error::Interrupted);
    }
    Ok(())
}

/// Starts a thread that no panic leaves.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stage: &'static str,
    shared: &'scope Shared<'_>,
    body: impl FnOnce() + Send + 'scope,
) -> Result<()> {
    let guarded_body = move || {
        let ended = guarded(stage, None, || {
            body();
            Ok(())
        });
        if let Err(panic) = ended {
            shared.left().panic.get_or_insert(panic);
            shared.fail();
        }
    };
    spawn(scope, format!("{THREAD_PREFIX}{stage}"), guarded_body)
        .map_err(|error| cannot_start(stage, &error))
}

/// The source thread: sends batches on, in order, until there are no more, or an error, or nobody wants them.
fn read<'a, A>(
    source: &mut Source<'_, A>,
    budget_bytes: u64,
    stats: &StageStats,
    output: &Sender<Numbered<'a, A>>,
    shared: &'a Shared<'_>,
) {
    let mut n_sent = 0;
    while !shared.has_failed() {
        let Some(batch) = next_batch(n_sent, source, budget_bytes, stats, &shared.budget) else {
            break;
        };
        if shared.interrupt.load(Relaxed) {
            shared.left().was_interrupted = true;
            break;
        }
        stats.count(batch.n_images, || ());
        let is_last = batch.result.is_err();
        if output.send(batch).is_err() {
            break;
        }
        n_sent += 1;
        if is_last {
            break;
        }
    }
    shared.left().n_sent = n_sent;
}

/// The next batch with its permit, or the source's error; `None` where there are no more, or no more permits.
fn next_batch<'a, A>(
    number: u64,
    source: &mut Source<'_, A>,
    budget_bytes: u64,
    stats: &StageStats,
    budget: &'a Budget,
) -> Option<Numbered<'a, A>> {
    let next = stats.count(0, || guarded(stats.name, None, || source().transpose()));
    let next = next.and_then(|offer| match offer {
        Some(offer) if offer.cost_bytes > budget_bytes => Err(too_large(&offer, budget_bytes)),
        offer => Ok(offer),
    });
    match next {
        Ok(offer) => {
            let offer = offer?;
            let permit = budget.take(offer.cost_bytes)?;
            Some(Numbered {
                number,
                result: Ok(offer.item),
                n_images: offer.n_images,
                place: Some(offer.place),
                permit: Some(permit),
            })
        }
        Err(error) => Some(Numbered {
            number,
            result: Err(error),
            n_images: 0,
            place: None,
            permit: None,
        }),
    }
}

/// A worker of a mapped stage.
fn work<'a, A, B>(
    make: &MakeWorker<'_, A, B>,
    stats: &StageStats,
    input: &Receiver<Numbered<'a, A>>,
    output: &Sender<Numbered<'a, B>>,
    shared: &Shared<'_>,
) {
    let mut worker = None;
    for batch in input {
        stats.set_waiting(input.len());
        if shared.has_failed() {
            continue;
        }
        let Numbered {
            number,
            result,
            n_images,
            place,
            permit,
        } = batch;
        let result = result.and_then(|item| {
            stats.count(n_images, || {
                guarded(stats.name, place.as_ref(), || {
                    worker.get_or_insert_with(make)(item)
                })
            })
        });
        let batch = Numbered {
            number,
            result,
            n_images,
            place,
            permit,
        };
        if output.send(batch).is_err() {
            return;
        }
    }
}

/// The fold, on the caller's thread; gives how many batches it took.
fn collect<'a, C>(
    fold: &mut super::Fold<'_, C>,
    stats: &StageStats,
    input: &Receiver<Numbered<'a, C>>,
) -> Result<u64> {
    let mut reorder = Reorder::new();
    for batch in input {
        stats.set_waiting(input.len());
        reorder.push(batch.number, batch);
        while let Some(batch) = reorder.pop() {
            let item = batch.result?;
            stats.count(batch.n_images, || {
                guarded(stats.name, batch.place.as_ref(), || fold(item))
            })?;
            drop(batch.permit);
        }
    }
    Ok(reorder.n_given())
}
