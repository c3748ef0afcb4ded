//! Checkpoints of sampling and k-means: when one is due, and where it is.
//!
//! Nothing here decides what is in one. A checkpoint never costs more than a hundredth of the time: after one that took
//! long, the next waits a hundred times as long.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::kernel::kmeans::checkpoint::Checkpoint;
use crate::shard::checkpoint::{self, SAMPLING_FILE, TRAINING_FILE};
use crate::shard::spill::remove_samples;
use crate::shard::whole;
use crate::stages::gather::Keepable;

/// Time between two checkpoints, as a multiple of what the last one took.
const TIMES_ITS_COST: u32 = 100;

/// Keeps a run's checkpoints.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    // Whose checkpoints they are.
    identity: String,
    every: Duration,
    times: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    // `None`: later than there are times for.
    due: Option<Instant>,
    spent: Duration,
}

impl Keeper {
    /// Keeps the checkpoints of the run `identity` in `dir`, at least `every` so long apart; zero: at every point.
    pub fn new(dir: &Path, identity: &str, every: Duration) -> Keeper {
        Keeper {
            dir: dir.to_owned(),
            identity: identity.to_owned(),
            every,
            times: Mutex::new(Times {
                due: Instant::now().checked_add(every),
                spent: Duration::ZERO,
            }),
        }
    }

    /// Whether it is time for another one.
    pub fn is_due(&self) -> bool {
        self.times().due.is_some_and(|due| Instant::now() >= due)
    }

    /// Keeps where the training of `what` stands.
    pub fn keep_training(&self, what: &str, at: &Checkpoint) -> Result<()> {
        self.timed(|| checkpoint::write(&self.training_file(), &self.of(what), at).map(|_| ()))
    }

    /// Where the training of `what` stood; at its beginning, if nothing was kept.
    pub fn training(&self, what: &str) -> Checkpoint {
        checkpoint::read(&self.training_file(), &self.of(what)).unwrap_or_default()
    }

    /// The checkpoint of gathering, and whose it is where it is that of `what`.
    pub fn sampling(&self, what: &str) -> (PathBuf, String) {
        (self.dir.join(SAMPLING_FILE), self.of(what))
    }

    /// Removes what is kept: nothing has to be gone on with.
    pub fn clear(&self) -> Result<()> {
        clear(&self.dir)
    }

    /// Removes the checkpoint of gathering, before a sample from elsewhere takes the place of what belongs to it.
    pub fn clear_sampling(&self) -> Result<()> {
        whole::remove(&self.dir.join(SAMPLING_FILE))?;
        remove_samples(&self.dir, &[])
    }

    /// How long keeping took, all together.
    pub fn seconds(&self) -> f64 {
        self.times().spent.as_secs_f64()
    }

    fn training_file(&self) -> PathBuf {
        self.dir.join(TRAINING_FILE)
    }

    fn of(&self, what: &str) -> String {
        format!("{}/{what}", self.identity)
    }

    fn timed<T>(&self, keep: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let kept = keep();
        let cost = start.elapsed();
        let wait = match self.every.is_zero() {
            true => Duration::ZERO,
            false => self.every.max(cost.saturating_mul(TIMES_ITS_COST)),
        };
        let mut times = self.times();
        times.spent += cost;
        times.due = Instant::now().checked_add(wait);
        kept
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the checkpoints in a run's directory.
pub fn clear(dir: &Path) -> Result<()> {
    whole::remove(&dir.join(TRAINING_FILE))?;
    whole::remove(&dir.join(SAMPLING_FILE))?;
    remove_samples(dir, &[])
}

/// Keeps a gathering at the ends of shards.
#[derive(Debug)]
pub struct ShardEnds<'a, P> {
    keeper: &'a Keeper,
    what: &'a str,
    // Shards that are gathered whole, where the gathering stood then, and whether that is kept.
    n_shards: usize,
    point: Option<P>,
    is_kept: bool,
}

impl<'a, P> ShardEnds<'a, P> {
    /// For the gathering of `what`, of which `n_shards` are there.
    pub fn new(keeper: &'a Keeper, what: &'a str, n_shards: usize) -> ShardEnds<'a, P> {
        ShardEnds {
            keeper,
            what,
            n_shards,
            point: None,
            is_kept: true,
        }
    }

    /// To be told before a batch of `shard` is gathered, or the number of shards at the end.
    pub fn reach(&mut self, shard: usize, gather: &mut impl Keepable<Point = P>) -> Result<()> {
        if shard == self.n_shards {
            return Ok(());
        }
        (self.n_shards, self.point, self.is_kept) = (shard, Some(gather.point()), false);
        match self.keeper.is_due() {
            true => self.keep(gather),
            false => Ok(()),
        }
    }

    /// The result of gathering, after keeping what there was at its last shard's end if it was interrupted.
    pub fn end(&mut self, result: Result<()>, gather: &mut impl Keepable<Point = P>) -> Result<()> {
        if matches!(result, Err(Error::Interrupted)) && !self.is_kept {
            self.keep(gather)?;
        }
        result
    }

    fn keep(&mut self, gather: &mut impl Keepable<Point = P>) -> Result<()> {
        let Some(point) = &self.point else {
            return Ok(());
        };
        let (file, of) = self.keeper.sampling(self.what);
        self.keeper
            .timed(|| gather.keep(point, self.n_shards, &file, &of))?;
        self.is_kept = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_took_long_is_not_followed_by_another_soon() {
        let keeper = Keeper::new(Path::new(""), "", Duration::from_nanos(1));
        assert!(keeper.is_due());
        let slow = || {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        };
        keeper.timed(slow).expect("kept");
        assert!(!keeper.is_due());
        let due = keeper.times().due.expect("a time");
        assert!(due - Instant::now() > Duration::from_secs(1));
        assert!(keeper.seconds() >= 0.02);
    }

    #[test]
    fn a_time_that_never_comes_is_no_panic() {
        let keeper = Keeper::new(Path::new(""), "", Duration::MAX);
        assert!(!keeper.is_due());
        keeper.timed(|| Ok(())).expect("kept");
        assert!(!keeper.is_due());
    }

    #[test]
    fn with_no_time_between_them_a_checkpoint_is_always_due() {
        let keeper = Keeper::new(Path::new(""), "", Duration::ZERO);
        keeper.timed(|| Ok(())).expect("kept");
        assert!(keeper.is_due());
    }
}
