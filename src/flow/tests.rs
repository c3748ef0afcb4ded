//! The runtime's promises, for both drivers: order, completeness, bounds, the first error, panics, interruption.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use super::*;
use crate::error::{Error, Place, Result};

/// Batches of every test pipeline.
const N: u64 = 24;

/// Far longer than a pipeline that fails goes on, even on a busy machine; `scripts/check_faults` measures how long it does.
const MOST_SECONDS: f64 = 10.0;

/// What a test pipeline does with a batch number, stage by stage.
#[derive(Clone, Copy, Default)]
struct Faults {
    fail_at: Option<(usize, u64)>,
    panic_at: Option<(usize, u64)>,
    interrupt_at: Option<u64>,
    cost_bytes: u64,
}

impl Faults {
    fn act(&self, stage: usize, number: u64) -> Result<()> {
        if self.panic_at == Some((stage, number)) {
            panic!("batch {number} in stage {stage}");
        }
        if self
            .fail_at
            .is_some_and(|(at, from)| at == stage && number >= from)
        {
            return Err(Error::file(
                place(),
                format!("stage {stage}, batch {number}"),
            ));
        }
        Ok(())
    }
}

fn place() -> Place {
    Place::file(std::path::Path::new("shard"))
}

/// Runs a pipeline that squares and then negates batch numbers; gives what the fold took.
fn run_with(workers: usize, budget_bytes: u64, faults: Faults) -> (Result<()>, Vec<i64>) {
    let interrupt = AtomicBool::new(false);
    let mut next = 0;
    let mut taken = Vec::new();
    let stats = Stats::new(["source", "first", "second", "fold"]);
    let result = run(
        Pipeline {
            source: Box::new(|| {
                let number = next;
                next += 1;
                if number == N {
                    return None;
                }
                Some(faults.act(0, number).map(|()| Offer {
                    item: number,
                    cost_bytes: faults.cost_bytes,
                    n_images: 1,
                    place: place(),
                }))
            }),
            first: Box::new(|| {
                Box::new(|number: u64| {
                    // Later batches overtake earlier ones.
                    std::thread::sleep(std::time::Duration::from_micros(number % 7 * 20));
                    faults.act(1, number).map(|()| (number, number * number))
                })
            }),
            second: Box::new(|| {
                Box::new(|(number, square): (u64, u64)| {
                    faults.act(2, number).map(|()| (number, -(square as i64)))
                })
            }),
            fold: Box::new(|(number, value): (u64, i64)| {
                faults.act(3, number)?;
                interrupt.fetch_or(faults.interrupt_at == Some(number), SeqCst);
                taken.push(value);
                Ok(())
            }),
        },
        Limits {
            workers,
            budget_bytes,
        },
        &stats,
        &interrupt,
    );
    (result, taken)
}

fn expected(n: u64) -> Vec<i64> {
    (0..n as i64).map(|number| -(number * number)).collect()
}

/// The one-thread driver, and the other with so many workers a stage.
const DRIVERS: std::ops::RangeInclusive<usize> = 0..=8;

#[test]
fn every_batch_comes_once_and_in_order_under_every_driver() {
    for workers in DRIVERS {
        for budget_bytes in [10, 25, 1000] {
            let faults = Faults {
                cost_bytes: 10,
                ..Faults::default()
            };
            let (result, taken) = run_with(workers, budget_bytes, faults);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(
                taken,
                expected(N),
                "{workers} workers, {budget_bytes} bytes"
            );
        }
    }
}

#[test]
fn the_earliest_error_is_reported_whichever_worker_is_faster() {
    for workers in DRIVERS {
        for stage in 0..4 {
            for number in 0..N {
                let faults = Faults {
                    fail_at: Some((stage, number)),
                    ..Faults::default()
                };
                let start = Instant::now();
                let (result, taken) = run_with(workers, 1000, faults);
                assert!(start.elapsed().as_secs_f64() < MOST_SECONDS);
                let message = result.expect_err("fails").to_string();
                assert_eq!(message, format!("shard: stage {stage}, batch {number}"));
                assert_eq!(taken, expected(number), "{workers} workers");
            }
        }
    }
}

#[test]
fn a_panic_in_any_stage_at_any_batch_is_an_error_that_names_the_stage() {
    for workers in DRIVERS {
        for (stage, name) in ["source", "first", "second", "fold"]
            .into_iter()
            .enumerate()
        {
            for number in 0..N {
                let faults = Faults {
                    panic_at: Some((stage, number)),
                    ..Faults::default()
                };
                let start = Instant::now();
                let (result, taken) = run_with(workers, 1000, faults);
                assert!(start.elapsed().as_secs_f64() < MOST_SECONDS);
                match result {
                    Err(Error::Panicked { stage, message, .. }) => {
                        assert_eq!(stage, name);
                        assert!(
                            message.starts_with(&format!("batch {number} ")),
                            "{message}"
                        );
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(taken, expected(number));
            }
        }
    }
}

#[test]
fn a_batch_larger_than_the_budget_is_refused_with_what_to_change() {
    for workers in DRIVERS {
        let faults = Faults {
            cost_bytes: 11,
            ..Faults::default()
        };
        let (result, taken) = run_with(workers, 10, faults);
        let message = result.expect_err("refused").to_string();
        assert!(message.contains("raise run.memory"), "{message}");
        assert!(taken.is_empty());
    }
}

#[test]
fn an_interrupted_run_finishes_what_is_in_flight_and_ends_as_interrupted() {
    for workers in DRIVERS {
        for number in 0..N - 4 {
            let faults = Faults {
                interrupt_at: Some(number),
                cost_bytes: 10,
                ..Faults::default()
            };
            let (result, taken) = run_with(workers, 30, faults);
            assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
            assert_eq!(taken, expected(taken.len() as u64));
            // Three batches fit the budget.
            let n = taken.len() as u64;
            assert!((number + 1..=number + 3).contains(&n), "{n} after {number}");
        }
    }
}

#[test]
fn an_interruption_that_leaves_nothing_undone_is_none() {
    for workers in DRIVERS {
        let faults = Faults {
            interrupt_at: Some(N - 1),
            ..Faults::default()
        };
        let (result, taken) = run_with(workers, 30, faults);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(taken, expected(N));
    }
}

/// Panics when it is dropped, if it is armed: beside the work of a stage, where nothing of the stage is called.
struct Mine {
    is_armed: bool,
}

impl Drop for Mine {
    fn drop(&mut self) {
        if self.is_armed && !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// Runs three batches; the fold fails at the first, and the other two are mines that are dropped wherever they are then.
fn run_mines(workers: usize) -> Result<()> {
    let mut n = 0;
    let first_is_folded = AtomicBool::new(false);
    let pipeline = Pipeline {
        source: Box::new(|| {
            n += 1;
            let item = Mine {
                is_armed: n == 2 || n == 3,
            };
            (n <= 3).then(|| {
                Ok(Offer {
                    item,
                    cost_bytes: 1,
                    n_images: 1,
                    place: place(),
                })
            })
        }),
        first: Box::new(|| Box::new(Ok)),
        second: Box::new(|| Box::new(Ok)),
        fold: Box::new(|mine: Mine| {
            std::mem::forget(mine);
            match first_is_folded.swap(true, SeqCst) {
                true => Ok(()),
                false => Err(Error::file(place(), "at the first")),
            }
        }),
    };
    let limits = Limits {
        workers,
        budget_bytes: 2,
    };
    let stats = Stats::new(["source", "first", "second", "fold"]);
    run(pipeline, limits, &stats, &AtomicBool::new(false))
}

#[test]
fn a_panic_where_a_batch_is_dropped_is_an_error_too_and_holds_nobody_up() {
    for workers in DRIVERS {
        for _ in 0..20 {
            assert!(run_mines(workers).is_err());
        }
    }
}

#[test]
fn a_panic_where_a_worker_is_dropped_is_an_error() {
    for workers in DRIVERS {
        let mut n = 0;
        let pipeline = Pipeline {
            source: Box::new(|| {
                n += 1;
                (n <= 3).then(|| {
                    Ok(Offer {
                        item: (),
                        cost_bytes: 1,
                        n_images: 1,
                        place: place(),
                    })
                })
            }),
            first: Box::new(|| {
                let mine = Mine { is_armed: true };
                Box::new(move |()| {
                    let _held = &mine;
                    Ok(())
                })
            }),
            second: Box::new(|| Box::new(Ok)),
            fold: Box::new(Ok),
        };
        let limits = Limits {
            workers,
            budget_bytes: 1,
        };
        let stats = Stats::new(["source", "first", "second", "fold"]);
        let result = run(pipeline, limits, &stats, &AtomicBool::new(false));
        assert!(
            matches!(&result, Err(Error::Panicked { message, .. }) if message == "dropped"),
            "{workers} workers: {result:?}"
        );
    }
}

#[test]
fn bytes_in_flight_never_exceed_the_budget() {
    static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);
    static PEAK: AtomicU64 = AtomicU64::new(0);
    const COST_BYTES: u64 = 10;
    const BUDGET_BYTES: u64 = 45;

    let mut n = 0;
    let stats = Stats::new(["source", "first", "second", "fold"]);
    let result = run(
        Pipeline {
            source: Box::new(|| {
                n += 1;
                (n <= 200).then(|| {
                    Ok(Offer {
                        item: (),
                        cost_bytes: COST_BYTES,
                        n_images: 1,
                        place: place(),
                    })
                })
            }),
            // A batch that has reached a worker holds its permit.
            first: Box::new(|| {
                Box::new(|()| {
                    let now = IN_FLIGHT.fetch_add(COST_BYTES, SeqCst) + COST_BYTES;
                    PEAK.fetch_max(now, SeqCst);
                    Ok(())
                })
            }),
            second: Box::new(|| Box::new(|()| Ok(()))),
            fold: Box::new(|()| {
                std::thread::sleep(std::time::Duration::from_micros(200));
                IN_FLIGHT.fetch_sub(COST_BYTES, SeqCst);
                Ok(())
            }),
        },
        Limits {
            workers: 3,
            budget_bytes: BUDGET_BYTES,
        },
        &stats,
        &AtomicBool::new(false),
    );
    assert!(result.is_ok());
    let peak = PEAK.load(SeqCst);
    assert!((COST_BYTES..=BUDGET_BYTES).contains(&peak), "{peak}");
}
