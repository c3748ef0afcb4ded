//! The threaded driver: a source thread, workers for each mapped stage, and the fold on the caller's thread.
//!
//! Errors travel with their batch's number and are met in order by the fold, so the one that is reported does not
//! depend on which worker was faster. After it nothing more is computed; what is in the channels is dropped.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::budget::{Budget, Permit};
use super::order::Reorder;
use super::{
    Limits, MakeWorker, Pipeline, Source, StageStats, Stats, THREAD_PREFIX, guarded, too_large,
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
}

impl Shared<'_> {
    fn fail(&self) {
        self.failed.store(true, Relaxed);
        self.budget.close();
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
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

    thread::scope(|scope| {
        let shared = &shared;
        let (budget, mut source) = (limits.budget_bytes, source);
        spawn(scope, source_stats.name, shared, move || {
            read(&mut *source, budget, source_stats, &to_first, shared);
        })?;
        for _ in 0..limits.workers {
            let (input, output, make) = (from_source.clone(), to_second.clone(), &*first);
            spawn(scope, first_stats.name, shared, move || {
                work(make, first_stats, &input, &output, shared);
            })?;
            let (input, output, make) = (from_first.clone(), to_fold.clone(), &*second);
            spawn(scope, second_stats.name, shared, move || {
                work(make, second_stats, &input, &output, shared);
            })?;
        }
        drop((to_second, to_fold, from_source, from_first));
        let result = collect(&mut *fold, fold_stats, &from_second, shared);
        if result.is_err() {
            shared.fail();
        }
        result
    })
}

/// Starts a named thread; where the system refuses, those that were started are told to leave.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stage: &'static str,
    shared: &Shared<'_>,
    body: impl FnOnce() + Send + 'scope,
) -> Result<()> {
    thread::Builder::new()
        .name(format!("{THREAD_PREFIX}{stage}"))
        .spawn_scoped(scope, body)
        .map(|_| ())
        .map_err(|error| {
            shared.fail();
            Error::Data {
                message: format!("cannot start a thread for the {stage} stage: {error}"),
                help: Some("lower run.threads".to_owned()),
            }
        })
}

/// The source thread: takes a permit for each batch, in order, and sends it on.
fn read<'a, A>(
    source: &mut Source<'_, A>,
    budget_bytes: u64,
    stats: &StageStats,
    output: &Sender<Numbered<'a, A>>,
    shared: &'a Shared<'_>,
) {
    for number in 0.. {
        if shared.interrupt.load(Relaxed) || shared.has_failed() {
            return;
        }
        let next = stats.count(0, || guarded(stats.name, None, || source().transpose()));
        let next = next.and_then(|offer| match offer {
            Some(offer) if offer.cost_bytes > budget_bytes => Err(too_large(&offer, budget_bytes)),
            offer => Ok(offer),
        });
        let batch = match next {
            Ok(None) => return,
            Ok(Some(offer)) => {
                let Some(permit) = shared.budget.take(offer.cost_bytes) else {
                    return;
                };
                stats.count(offer.n_images, || ());
                Numbered {
                    number,
                    result: Ok(offer.item),
                    n_images: offer.n_images,
                    place: Some(offer.place),
                    permit: Some(permit),
                }
            }
            Err(error) => Numbered {
                number,
                result: Err(error),
                n_images: 0,
                place: None,
                permit: None,
            },
        };
        let is_last = batch.result.is_err();
        if output.send(batch).is_err() || is_last {
            return;
        }
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

/// The fold, on the caller's thread.
fn collect<'a, C>(
    fold: &mut super::Fold<'_, C>,
    stats: &StageStats,
    input: &Receiver<Numbered<'a, C>>,
    shared: &Shared<'_>,
) -> Result<()> {
    let mut reorder = Reorder::new();
    let mut n_received = 0u64;
    for batch in input {
        stats.set_waiting(input.len());
        n_received += 1;
        reorder.push(batch.number, batch);
        while let Some(batch) = reorder.pop() {
            let item = batch.result?;
            stats.count(batch.n_images, || {
                guarded(stats.name, batch.place.as_ref(), || fold(item))
            })?;
            drop(batch.permit);
        }
    }
    assert_eq!(reorder.n_given(), n_received, "a batch was lost");
    if shared.interrupt.load(Relaxed) {
        return Err(Error::Interrupted);
    }
    Ok(())
}
