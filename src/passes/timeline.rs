//! Looks at a run's counters now and then, so that a report can show how fast each stage was and where batches waited.
//!
//! A thread of its own polls them: recording costs the run nothing. However long it takes, no more than `MAX_POINTS` moments are kept: when
//! they are full, every second one goes and the time between them doubles.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::flow::{StageStats, THREAD_PREFIX};
use crate::shard::timeline::StagePoint;

use super::progress::{Phase, Progress};

/// Moments that are kept, at most.
const MAX_POINTS: usize = 256;

/// Time between two moments at first.
const FIRST_INTERVAL: Duration = Duration::from_millis(20);

/// Does `work` while its progress is recorded. Where no thread can be started, nothing is.
pub(super) fn record<T>(progress: &Progress, work: impl FnOnce() -> T) -> (T, Vec<StagePoint>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let recorder = thread::Builder::new()
            .name(format!("{THREAD_PREFIX}timeline"))
            .spawn_scoped(scope, || poll(progress, &done));
        let Ok(recorder) = recorder else {
            return (work(), Vec::new());
        };
        let end = EndOfWork(&done, recorder.thread().clone());
        let result = work();
        drop(end);
        (result, recorder.join().unwrap_or_default())
    })
}

/// Lets the recorder go when the work ends, however it does: with a panic, too.
struct EndOfWork<'a>(&'a AtomicBool, Thread);

impl Drop for EndOfWork<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        self.1.unpark();
    }
}

fn poll(progress: &Progress, done: &AtomicBool) -> Vec<StagePoint> {
    let start = Instant::now();
    let mut moments = Moments::default();
    while !done.load(Relaxed) {
        thread::park_timeout(moments.interval);
        moments.push(points(progress, start.elapsed()));
    }
    moments.kept.into_iter().flatten().collect()
}

/// What the stages of the phase under way have done by now.
fn points(progress: &Progress, elapsed: Duration) -> Vec<StagePoint> {
    let (pass, stages): (&str, &[StageStats]) = match progress.phase() {
        Phase::Opening | Phase::Hashing | Phase::Adding | Phase::Recounting | Phase::Done => {
            return Vec::new();
        }
        Phase::Sampling => ("sampling", &progress.learn.stages),
        Phase::Clustering => ("clustering", std::slice::from_ref(&progress.kmeans)),
        Phase::CountingWords => ("counting words", &progress.documents.stages),
        Phase::Featurizing => ("featurizing", &progress.featurize.stages),
        Phase::Gathering => ("gathering", &progress.whole.stages),
        Phase::Grouping => ("grouping", std::slice::from_ref(&progress.clusters)),
        Phase::Labelling => ("labelling", &progress.label.stages),
    };
    let stages = stages.iter().map(|stage| {
        let (waiting, capacity) = stage.channel();
        StagePoint {
            seconds: elapsed.as_secs_f64(),
            pass: pass.to_owned(),
            stage: stage.name.to_owned(),
            done: stage.done(),
            busy_seconds: stage.busy_seconds(),
            waiting,
            capacity,
            memory_bytes: progress.memory().now_bytes,
        }
    });
    stages.collect()
}

#[derive(Debug)]
struct Moments {
    kept: Vec<Vec<StagePoint>>,
    interval: Duration,
}

impl Default for Moments {
    fn default() -> Moments {
        Moments {
            kept: Vec::new(),
            interval: FIRST_INTERVAL,
        }
    }
}

impl Moments {
    fn push(&mut self, points: Vec<StagePoint>) {
        if points.is_empty() {
            return;
        }
        if self.kept.len() == MAX_POINTS {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.interval = self.interval.saturating_mul(2);
        }
        self.kept.push(points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: f64) -> Vec<StagePoint> {
        vec![StagePoint {
            seconds,
            pass: "sampling".to_owned(),
            stage: "decode".to_owned(),
            done: 0,
            busy_seconds: 0.0,
            waiting: 0,
            capacity: 0,
            memory_bytes: 0,
        }]
    }

    #[test]
    fn however_long_a_run_takes_its_moments_have_a_bound() {
        let mut moments = Moments::default();
        for second in 0..10_000u32 {
            moments.push(moment(f64::from(second)));
            assert!(moments.kept.len() <= MAX_POINTS);
        }
        assert!(moments.kept.len() > MAX_POINTS / 2);
        assert!(
            moments
                .kept
                .is_sorted_by(|a, b| a[0].seconds < b[0].seconds)
        );
        assert!(moments.interval > FIRST_INTERVAL);
    }

    #[test]
    fn what_the_work_gives_is_passed_on_and_a_panic_ends_the_recorder() {
        let progress = Progress::default();
        assert_eq!(record(&progress, || 7).0, 7);
        let result = std::panic::catch_unwind(|| record(&Progress::default(), || panic!("here")));
        assert!(result.is_err());
    }
}
