//! A case: a small pipeline with its faults, run once under whatever schedule is tried, and what must hold of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use shuttle::rand::Rng;
use shuttle::sync::atomic::AtomicBool;

use crate::error::{Error, Place, Result};
use crate::flow::sync::allow_spawns;
use crate::flow::{Limits, Offer, Pipeline, Stats, run};

/// Names of the stages, as the runtime reports them.
const STAGES: [&str; 4] = ["source", "first", "second", "fold"];

/// A small run.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Workers of each mapped stage.
    pub(crate) workers: usize,
    /// Batches of the source.
    pub(crate) n_batches: u64,
    /// Batches that fit the budget.
    pub(crate) budget: u64,
    /// What goes wrong; the earliest is to be reported.
    pub(crate) faults: Vec<Fault>,
    /// When the run is interrupted.
    pub(crate) interrupt: Interrupt,
    /// Threads that the system starts; more are refused.
    pub(crate) n_threads: usize,
}

/// Something that goes wrong in a stage, at a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) stage: usize,
    pub(crate) number: u64,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The stage gives an error.
    Fails,
    /// The stage panics.
    Panics,
    /// The batch is larger than the budget; of the source alone.
    IsTooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Never,
    /// By the fold, at a batch.
    AtFold(u64),
    /// By another thread, after it was scheduled so many times.
    After(u32),
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// The error, as it is told.
    error: Option<String>,
    /// Batches that the fold took, in its order.
    taken: Vec<u64>,
}

impl Case {
    /// A run where nothing goes wrong.
    pub(crate) fn sound(workers: usize, n_batches: u64, budget: u64) -> Case {
        Case {
            workers,
            n_batches,
            budget,
            faults: Vec::new(),
            interrupt: Interrupt::Never,
            n_threads: usize::MAX,
        }
    }

    pub(crate) fn with(mut self, stage: usize, number: u64, kind: Kind) -> Case {
        self.faults.push(Fault {
            stage,
            number,
            kind,
        });
        self
    }

    pub(crate) fn interrupted(mut self, interrupt: Interrupt) -> Case {
        self.interrupt = interrupt;
        self
    }

    /// Any case of up to 3 workers, 5 batches and 2 faults.
    pub(crate) fn random() -> Case {
        let mut rng = shuttle::rand::thread_rng();
        let (workers, n_batches) = (rng.gen_range(1..=3), rng.gen_range(0..=5));
        let mut case = Case::sound(workers, n_batches, rng.gen_range(1..=4));
        for _ in 0..rng.gen_range(0..=2) {
            let stage = rng.gen_range(0..4);
            let kinds = [Kind::Fails, Kind::Panics, Kind::IsTooLarge];
            let kind = kinds[rng.gen_range(0..if stage == 0 { 3 } else { 2 })];
            case = case.with(stage, rng.gen_range(0..=n_batches), kind);
        }
        case.interrupt = match rng.gen_range(0..6) {
            0 => Interrupt::AtFold(rng.gen_range(0..=n_batches)),
            1 => Interrupt::After(rng.gen_range(0..100)),
            _ => Interrupt::Never,
        };
        if rng.gen_range(0..8) == 0 {
            case.n_threads = rng.gen_range(0..=2 * workers);
        }
        case
    }

    /// Runs the case once, and asserts all that must hold whatever the schedule.
    pub(crate) fn check(&self) {
        let expected = self.without_interruption().run(0);
        let ended = self.run(self.workers);
        let shown = || format!("{self:?} gave {ended:?}, the inline driver {expected:?}");
        if self.n_threads < 1 + 2 * self.workers {
            let error = ended.error.as_deref().unwrap_or_default();
            assert!(error.starts_with("cannot start a thread"), "{}", shown());
            assert!(ended.taken.is_empty(), "{}", shown());
        } else if ended.error.as_deref() == Some("interrupted") {
            let n = ended.taken.len();
            assert_ne!(self.interrupt, Interrupt::Never, "{}", shown());
            assert!(expected.taken.starts_with(&ended.taken), "{}", shown());
            // One batch more was there, or what became of it.
            assert!(
                n < expected.taken.len() || expected.error.is_some(),
                "{}",
                shown()
            );
            if let Interrupt::AtFold(number) = self.interrupt {
                assert!(n as u64 > number, "{}", shown());
            }
        } else {
            assert_eq!(ended, expected, "{self:?}");
        }
    }

    fn without_interruption(&self) -> Case {
        self.clone().interrupted(Interrupt::Never)
    }

    fn run(&self, workers: usize) -> Ended {
        allow_spawns(self.n_threads);
        let interrupt = Arc::new(AtomicBool::new(false));
        let outsider = match self.interrupt {
            Interrupt::After(n) if workers > 0 => {
                let interrupt = Arc::clone(&interrupt);
                Some(shuttle::thread::spawn(move || {
                    (0..n).for_each(|_| shuttle::thread::yield_now());
                    interrupt.store(true, SeqCst);
                }))
            }
            _ => None,
        };
        let tally = Tally::new(self.n_batches, self.most_at_once(workers));
        let ended = self.run_pipeline(workers, &interrupt, &tally);
        assert_eq!(tally.n_alive.load(SeqCst), 0, "a batch was kept: {self:?}");
        if let Some(outsider) = outsider {
            assert!(outsider.join().is_ok());
        }
        ended
    }

    /// Batches with a permit, and the one that the source waits with for its own.
    fn most_at_once(&self, workers: usize) -> usize {
        let limits = self.limits(workers);
        limits.max_in_flight().min(self.budget as usize) + 1
    }

    fn limits(&self, workers: usize) -> Limits {
        Limits {
            workers,
            budget_bytes: self.budget,
        }
    }

    fn run_pipeline(&self, workers: usize, interrupt: &AtomicBool, tally: &Arc<Tally>) -> Ended {
        let (mut next, mut is_over, mut taken) = (0, false, Vec::new());
        let pipeline = Pipeline {
            source: Box::new(|| {
                assert!(!is_over, "asked again after its end: {self:?}");
                let number = next;
                next += 1;
                is_over = number == self.n_batches || self.fault(0, number).is_some();
                // A fault at the end is one, too: a file may turn out to be short.
                if let Err(error) = self.act(0, number) {
                    return Some(Err(error));
                }
                (number < self.n_batches).then(|| Ok(self.offer(number, tally)))
            }),
            first: Box::new(|| Box::new(|batch| self.map(1, batch))),
            second: Box::new(|| Box::new(|batch| self.map(2, batch))),
            fold: Box::new(|batch: Batch| {
                batch.tally.see(3, batch.number);
                self.act(3, batch.number)?;
                taken.push(batch.number);
                if self.interrupt == Interrupt::AtFold(batch.number) {
                    interrupt.store(true, SeqCst);
                }
                Ok(())
            }),
        };
        let result = run(
            pipeline,
            self.limits(workers),
            &Stats::new(STAGES),
            interrupt,
        );
        Ended {
            error: result.err().map(|error| error.to_string()),
            taken,
        }
    }

    fn offer(&self, number: u64, tally: &Arc<Tally>) -> Offer<Batch> {
        let is_too_large = self.fault(0, number) == Some(Kind::IsTooLarge);
        Offer {
            item: Batch::new(number, tally),
            cost_bytes: if is_too_large { self.budget + 1 } else { 1 },
            n_images: 1,
            place: place(number),
        }
    }

    fn map(&self, stage: usize, batch: Batch) -> Result<Batch> {
        batch.tally.see(stage, batch.number);
        self.act(stage, batch.number).map(|()| batch)
    }

    fn fault(&self, stage: usize, number: u64) -> Option<Kind> {
        let mut faults = self.faults.iter();
        let fault = faults.find(|fault| (fault.stage, fault.number) == (stage, number));
        fault.map(|fault| fault.kind)
    }

    fn act(&self, stage: usize, number: u64) -> Result<()> {
        let message = format!("{} at {number}", STAGES[stage]);
        match self.fault(stage, number) {
            Some(Kind::Fails) => Err(Error::file(place(number), message)),
            // Not `panic!`, whose hook would have shuttle report it.
            Some(Kind::Panics) => std::panic::resume_unwind(Box::new(message)),
            Some(Kind::IsTooLarge) | None => Ok(()),
        }
    }
}

fn place(number: u64) -> Place {
    Place::file("shard".as_ref()).row(number)
}

/// What is counted of all batches of a run. No schedule needs to be tried here, so these are ordinary atomics.
struct Tally {
    n_alive: AtomicUsize,
    n_alive_at_most: usize,
    seen: [AtomicU64; 4],
    n_batches: u64,
}

impl Tally {
    fn new(n_batches: u64, n_alive_at_most: usize) -> Arc<Tally> {
        Arc::new(Tally {
            n_alive: AtomicUsize::new(0),
            n_alive_at_most,
            seen: Default::default(),
            n_batches,
        })
    }

    /// A batch comes to a stage.
    fn see(&self, stage: usize, number: u64) {
        assert!(number < self.n_batches);
        let seen = self.seen[stage].fetch_or(1 << number, SeqCst);
        assert_eq!(
            seen & 1 << number,
            0,
            "batch {number} came twice to {stage}"
        );
    }
}

/// A batch that is counted while it lives.
struct Batch {
    number: u64,
    tally: Arc<Tally>,
}

impl Batch {
    fn new(number: u64, tally: &Arc<Tally>) -> Batch {
        let n_alive = tally.n_alive.fetch_add(1, SeqCst) + 1;
        assert!(
            n_alive <= tally.n_alive_at_most,
            "{n_alive} batches at once"
        );
        Batch {
            number,
            tally: Arc::clone(tally),
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.tally.n_alive.fetch_sub(1, SeqCst);
    }
}
