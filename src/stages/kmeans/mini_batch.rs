//! Mini-batch k-means with batches that grow.
//!
//! A batch is many blocks of up to 32 random patches of one image each, taken in a random order of all blocks that is
//! drawn anew for every epoch: batches never follow the order of files. Words move by running means that forget: small
//! batches find the rough place cheaply, larger ones average the noise away, and the last steps see the whole sample.

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
/// What a step keeps of the running counts.
const KEEP: f64 = 0.5;
/// A word without patches whose running count falls below this share of the mean is dead.
const DEAD_SHARE: f64 = 0.01;
/// Doublings at most, more than any sample has.
const MAX_SIZES: usize = 48;
/// Steps before the batch is the whole sample, at most.
pub(super) const MAX_STEPS: usize = STEPS_PER_SIZE * MAX_SIZES;

fn env(name: &str, default: f64) -> f64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

impl Training<'_> {
    pub(super) fn mini_batch(&self, restart: usize, mut centroids: Vec<f32>) -> Result<Trained> {
        let mut log = RestartLog::new();
        let mut running = vec![0.0f64; self.params.k];
        let n_blocks = self.sample.n_blocks();
        let default = (FIRST_BATCH_PER_WORD * self.params.k).max(FIRST_BATCH_MIN);
        let first = self.params.batch_size.unwrap_or(default);
        let mut batch_blocks = (first.div_ceil(BLOCK_PATCHES) as u64).max(1);
        let mut position = 0;
        let keep = env("KEEP", KEEP);
        let steps = env("STEPS", STEPS_PER_SIZE as f64) as usize;
        let limit = n_blocks as f64 * env("LIMIT", 1.0);
        'sizes: while (batch_blocks as f64) < limit {
            for _ in 0..steps {
                if log.passes + batch_blocks as f64 / n_blocks as f64 > self.params.max_iter as f64
                {
                    break 'sizes;
                }
                let order = BatchOrder::new(self.params.seed, restart, n_blocks, position);
                let sums = self.sums(&centroids, batch_blocks, |i| order.at(i))?;
                position += batch_blocks;
                let inertia = sums.inertia(&centroids) / sums.n_patches() as f64;
                log.passes = position as f64 / n_blocks as f64;
                self.note(restart, inertia, &mut log);
                sums.move_words(&mut centroids, |j, count| {
                    running[j] = keep * running[j] + count as f64;
                    count as f64 / running[j].max(1.0)
                });
                let dead = dead_words(&running, &sums.counts);
                log.reseeded += self.reseed(restart, log.n_steps, &dead, &mut centroids);
                for &j in &dead {
                    running[j] = 0.0;
                }
            }
            batch_blocks *= 2;
        }
        self.full_passes(restart, &mut centroids, &mut log)?;
        Ok(Trained { centroids, log })
    }
}

fn dead_words(running: &[f64], counts: &[u64]) -> Vec<usize> {
    let mean = running.iter().sum::<f64>() / running.len() as f64;
    (0..running.len())
        .filter(|&j| counts[j] == 0 && running[j] < DEAD_SHARE * mean)
        .collect()
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
