//! The runtime under every schedule: `src/flow` as it is shipped, compiled over shuttle's locks, flags and threads, so that a
//! scheduler decides at each of them who goes on.
//!
//! A schedule in which all threads wait is found as a deadlock. Beyond that each run is held against the one-thread driver:
//! the same batches in the same order, none lost or doubled, the same error; see `case.rs`. Random schedules of random
//! cases go wide; schedules of few changes of thread (PCT) go deep; small cases are searched to the end (`bounded.rs`).
//!
//! `cargo test` tries some thousand schedules. `scripts/check_schedules` tries more, and breaks the runtime in many ways to
//! see that each is found.

use std::time::Instant;

use shuttle::rand::Rng;
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

mod bounded;
mod case;
#[path = "../../src/error.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "as shipped; the model uses its part"
)]
mod error;
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    unused_imports,
    reason = "as shipped; the model uses its part"
)]
mod flow;

use bounded::Bounded;
use case::{Case, Interrupt, Kind};
use flow::Budget;

/// Where random schedules begin, so that a failure can be seen again.
const SEED: u64 = 0x0b0f;

/// Changes of thread that are not forced, in a schedule of few changes.
const CHANGES: [usize; 3] = [2, 4, 8];

/// From this factor on, exhaustive searches go on to two changes.
const LONG_FACTOR: usize = 10;

/// Bytes of a modelled thread's stack.
const STACK_BYTES: usize = 128 << 10;

/// How much more is tried than in the short form: 1 or what the environment says.
fn factor() -> usize {
    let factor = std::env::var("BOVW_SCHEDULES").ok();
    factor.map_or(1, |factor| factor.parse().expect("a number"))
}

/// Changes of thread in exhaustive searches, which take some forty times longer with each.
fn n_changes() -> usize {
    if factor() < LONG_FACTOR { 1 } else { 2 }
}

/// Tries the schedules of a scheduler; gives how many there were.
fn run(scheduler: impl Scheduler + 'static, check: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(check)
}

/// Tries the schedules of a scheduler, and tells how many there were.
fn explore(
    model: &str,
    kind: &str,
    scheduler: impl Scheduler + 'static,
    check: impl Fn() + Send + Sync + 'static,
) {
    let start = Instant::now();
    tell(model, kind, run(scheduler, check), start);
}

/// Tries every schedule of few changes of each case.
fn explore_all(model: &str, changes: usize, cases: Vec<Case>) {
    let start = Instant::now();
    let model = format!("{model}: {}", cases.len());
    let kind = format!("all of {changes} changes or fewer");
    let n = cases
        .into_iter()
        .map(|case| run(Bounded::new(changes), move || case.check()))
        .sum();
    tell(&model, &kind, n, start);
}

#[expect(
    clippy::print_stdout,
    reason = "scripts/check_schedules makes a table of it"
)]
fn tell(model: &str, kind: &str, n: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("schedules|{model}|{kind}|{n}|{seconds:.1}");
}

#[test]
fn any_case_under_random_schedules() {
    let scheduler = RandomScheduler::new_from_seed(SEED, 4000 * factor());
    explore("any case", "random", scheduler, || Case::random().check());
}

#[test]
fn any_case_under_schedules_of_few_changes() {
    for changes in CHANGES {
        let scheduler = PctScheduler::new_from_seed(SEED, changes, 1500 * factor());
        let kind = format!("random, {changes} changes");
        explore("any case", &kind, scheduler, || Case::random().check());
    }
}

/// As many batches as can be in flight or a few more, and an error after them: the most that a channel ever holds.
#[test]
fn channels_have_room_for_all_that_is_in_flight_and_an_error() {
    for changes in CHANGES {
        let scheduler = PctScheduler::new_from_seed(SEED, changes, 400 * factor());
        let kind = format!("random, {changes} changes");
        explore("full channels", &kind, scheduler, || {
            let n = shuttle::rand::thread_rng().gen_range(6..10);
            Case::sound(1, n, 100).with(0, n, Kind::Fails).check();
        });
    }
}

#[test]
fn every_fault_at_every_batch_under_all_schedules_of_few_changes() {
    let mut cases = Vec::new();
    for (budget, number) in [(1, 0), (1, 1), (2, 1)] {
        for stage in 0..4 {
            for kind in [Kind::Fails, Kind::Panics] {
                cases.push(Case::sound(1, 2, budget).with(stage, number, kind));
            }
        }
        cases.push(Case::sound(1, 2, budget).with(0, number, Kind::IsTooLarge));
    }
    // The earlier batch fails in a later stage.
    cases.push(
        Case::sound(1, 2, 2)
            .with(3, 0, Kind::Fails)
            .with(0, 1, Kind::Fails),
    );
    explore_all("one fault or two", n_changes(), cases);
}

#[test]
fn small_runs_under_all_schedules_of_few_changes() {
    let cases = [(1, 0, 1), (1, 1, 1), (1, 2, 1), (1, 3, 1), (1, 3, 2)];
    let cases = cases.map(|(workers, n, budget)| Case::sound(workers, n, budget));
    explore_all("nothing goes wrong", n_changes(), cases.to_vec());
    // Two workers overtake each other without being made to.
    explore_all("two workers", 0, vec![Case::sound(2, 2, 2)]);
}

#[test]
fn interruptions_under_all_schedules_of_few_changes() {
    let interrupts = [
        Interrupt::AtFold(0),
        Interrupt::AtFold(1),
        Interrupt::After(0),
    ];
    let cases = interrupts.map(|at| Case::sound(1, 2, 1).interrupted(at));
    explore_all("interrupted", 1, cases.to_vec());
}

#[test]
fn refused_threads_under_all_schedules_of_few_changes() {
    let cases = (0..5).map(|n_threads| Case {
        n_threads,
        ..Case::sound(2, 3, 1)
    });
    explore_all("threads are refused", 1, cases.collect());
}

/// The fold may end while the source waits for a permit: all that the budget promises, searched to the end.
#[test]
fn permits_under_all_schedules() {
    let scheduler = DfsScheduler::new(None, false);
    explore("permits come back", "all", scheduler, || {
        let budget = Budget::new(2, 2);
        shuttle::thread::scope(|scope| {
            let held = [budget.take(1), budget.take(1)];
            for permit in held {
                scope.spawn(move || drop(permit));
            }
            assert!(budget.take(2).is_some());
        });
        assert!(budget.is_free());
    });
    let scheduler = DfsScheduler::new(None, false);
    explore("a closed budget", "all", scheduler, || {
        let budget = Budget::new(1, 1);
        let held = budget.take(1);
        shuttle::thread::scope(|scope| {
            scope.spawn(|| assert!(budget.take(1).is_none()));
            scope.spawn(|| budget.close());
        });
        drop(held);
        assert!(budget.take(1).is_none() && budget.is_free());
    });
}
