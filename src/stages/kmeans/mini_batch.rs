//! Mini-batch k-means with batches that grow.
//!
//! A batch is many blocks of up to 32 random patches of one image each, taken in a random order of all blocks that is
//! drawn anew for every epoch: batches never follow the order of files. Words move by running means that forget: small
//! batches find the rough place cheaply, larger ones average the noise away, and a few full passes end it. This gives
//! Lloyd's words, within a fraction of a percent, for the price of about ten passes.

use super::{RestartLog, Trained, Training};
use crate::error::Result;
use crate::kernel::kmeans::permutation::Permutation;
use crate::kernel::rng::{self, Purpose};
use crate::kernel::sample::BLOCK_PATCHES;

/// Patches in the first batch where the job names none: so many for each word, and no fewer than the minimum.
const FIRST_BATCH_PER_WORD: usize = 16;
const FIRST_BATCH_MIN: usize = 4096;
/// Steps at one size; then the batch doubles.
const STEPS_PER_SIZE: usize = 10;
/// Once a batch would be more than the sample divided by this, full passes are the better bargain.
const LARGEST_BATCH_DIVISOR: u64 = 4;
/// What a step keeps of the running counts.
const KEEP: f64 = 0.5;
/// Early stop: the mean inertia of so many sizes in a row was no better, by the share `tol`, than the best before ...
const SIZES_WITHOUT_GAIN: usize = 2;
/// ... in batches of so many patches for each word, below which the mean is too noisy to tell.
const TELLING_PATCHES_PER_WORD: u64 = 1000;
/// The full passes at the end stop at this gain, or at `tol` if that is larger: what is won by more is less than restarts
/// differ by.
const LAST_PASSES_TOL: f64 = 1e-4;
/// A word without patches whose running count falls below this share of the mean is dead.
const DEAD_SHARE: f64 = 0.01;
/// Upper bound on the steps with growing batches: no sample has more doublings.
pub(super) const MAX_STEPS: usize = STEPS_PER_SIZE * 48;

impl Training<'_> {
    pub(super) fn mini_batch(&self, restart: usize, mut centroids: Vec<f32>) -> Result<Trained> {
        let mut log = RestartLog::new();
        self.growing_batches(restart, &mut centroids, &mut log)?;
        // A sample that is too small for batches gets Lloyd's own stop.
        let tol = if log.n_steps == 0 {
            self.params.tol
        } else {
            self.params.tol.max(LAST_PASSES_TOL)
        };
        self.full_passes(restart, tol, &mut centroids, &mut log)?;
        Ok(Trained { centroids, log })
    }

    fn growing_batches(
        &self,
        restart: usize,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        let n_blocks = self.sample.n_blocks();
        let mut running = RunningCounts(vec![0.0; self.params.k]);
        let mut batch_blocks = self.first_batch_blocks();
        let (mut best, mut without_gain) = (f64::INFINITY, 0);
        let mut position = 0;
        while batch_blocks <= n_blocks / LARGEST_BATCH_DIVISOR {
            let mut total = 0.0;
            for _ in 0..STEPS_PER_SIZE {
                if position + batch_blocks > n_blocks * self.params.max_iter as u64 {
                    return Ok(());
                }
                let order = BatchOrder::new(self.params.seed, restart, n_blocks, position);
                let sums = self.sums(centroids, batch_blocks, |i| order.at(i))?;
                position += batch_blocks;
                log.passes = position as f64 / n_blocks as f64;
                let inertia = sums.inertia(centroids) / sums.n_patches() as f64;
                self.note(restart, inertia, log);
                total += inertia;
                sums.move_words(centroids, |j, count| running.rate(j, count));
                let dead = running.take_dead(&sums.counts);
                log.reseeded += self.reseed(restart, log.n_steps, &dead, centroids);
            }
            let mean = total / STEPS_PER_SIZE as f64;
            let telling = TELLING_PATCHES_PER_WORD * self.params.k as u64;
            if mean < best * (1.0 - self.params.tol) {
                without_gain = 0;
            } else if batch_blocks * BLOCK_PATCHES as u64 >= telling {
                without_gain += 1;
            }
            if without_gain >= SIZES_WITHOUT_GAIN {
                return Ok(());
            }
            best = best.min(mean);
            batch_blocks *= 2;
        }
        Ok(())
    }

    fn first_batch_blocks(&self) -> u64 {
        let default = (FIRST_BATCH_PER_WORD * self.params.k).max(FIRST_BATCH_MIN);
        let patches = self.params.batch_size.unwrap_or(default);
        patches.div_ceil(BLOCK_PATCHES).max(1) as u64
    }
}

/// Patches of each word so far, older batches counting less and less.
struct RunningCounts(Vec<f64>);

impl RunningCounts {
    /// Counts a batch's patches of word `j`; the share by which they move it.
    fn rate(&mut self, j: usize, count: u64) -> f64 {
        let running = &mut self.0[j];
        *running = KEEP * *running + count as f64;
        count as f64 / running.max(1.0)
    }

    /// Words that died, whose counts start again.
    fn take_dead(&mut self, counts: &[u64]) -> Vec<usize> {
        let mean = self.0.iter().sum::<f64>() / self.0.len() as f64;
        let dead: Vec<usize> = (0..counts.len())
            .filter(|&j| counts[j] == 0 && self.0[j] < DEAD_SHARE * mean)
            .collect();
        for &j in &dead {
            // As if it had patches, so that it is given time to find some.
            self.0[j] = mean;
        }
        dead
    }
}

/// The blocks of one batch: a stretch of an endless sequence of epochs, each a random order of all blocks.
struct BatchOrder {
    n_blocks: u64,
    start: u64,
    // A batch is smaller than the sample, so it touches two epochs at most.
    epochs: [Permutation; 2],
}

impl BatchOrder {
    fn new(seed: u64, restart: usize, n_blocks: u64, position: u64) -> BatchOrder {
        let epoch = position / n_blocks;
        let order = |epoch: u64| {
            let index = (restart as u64) << 32 | epoch;
            Permutation::new(n_blocks, rng::key(seed, Purpose::Batches, index))
        };
        BatchOrder {
            n_blocks,
            start: position % n_blocks,
            epochs: [order(epoch), order(epoch + 1)],
        }
    }

    fn at(&self, index: u64) -> u64 {
        let at = self.start + index;
        if at < self.n_blocks {
            self.epochs[0].at(at)
        } else {
            self.epochs[1].at(at - self.n_blocks)
        }
    }
}
