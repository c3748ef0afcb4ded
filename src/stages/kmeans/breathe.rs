//! Out of poor local optima: breathing (Fritzke 2020), on a random part of the sample.
//!
//! In with a few more words, where they lower the inertia most; settle; out with as many, which now are needed least;
//! settle. A breath that leaves a lower inertia is kept. The words it all ends with are settled and judged on the whole
//! sample, and the old ones come back unless they are beaten. Every pass counts towards `max_iter` by its share of the
//! sample.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::init::{PART_PANELS, pool_len};
use super::{RestartLog, Training};
use crate::error::Result;
use crate::kernel::kmeans::permutation::Permutation;
use crate::kernel::kmeans::removal::{least_needed, removal_costs};
use crate::kernel::kmeans::seeding::{PANEL, Pool};
use crate::kernel::rng::{self, Purpose, Stream};
use crate::kernel::sample::BLOCK_PATCHES;

/// Breaths of one restart. With the passes below they cost as much as 42 full passes at most, where a part is a sixth ...
const BREATHS: usize = 12;
/// ... and never more than this share of the passes that `max_iter` leaves: words must settle after them.
const PASSES_SHARE: f64 = 0.5;
/// Passes at most with the added words, and after as many are gone; fewer where a pass wins less than the share.
const PASSES_IN: usize = 8;
const PASSES_OUT: usize = 12;
const PASS_TOL: f64 = 1e-4;
/// One word is added for so many.
const WORDS_PER_ADDED: usize = 10;
/// Breaths are tried on the sample divided by this, but on no fewer patches than the minimum.
const PART_DIVISOR: u64 = 6;
const PART_PATCHES_MIN: u64 = 1 << 14;
/// Where the part has fewer patches for each word, what is won there is not won on the whole sample: no breathing.
const PATCHES_PER_WORD_MIN: u64 = 200;

/// Words that a breath adds.
pub(super) fn n_added(k: usize) -> usize {
    (k / WORDS_PER_ADDED).max(1)
}

/// Upper bound on the heap bytes of breathing beyond a pass's: words kept and tried, and what each is needed for.
pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
    let grown = (k + n_added(k)) as u64;
    let parts = pool_len(u64::MAX, k, d).div_ceil(PART_PANELS * PANEL) as u64;
    3 * grown * 4 * d as u64 + (parts + 4) * grown * 8
}

/// The part of the sample that breaths are tried on, and the passes over it so far.
struct Part {
    order: Permutation,
    n_blocks: u64,
    // Of the whole sample.
    share: f64,
    passes: f64,
    max_passes: f64,
}

impl Training<'_> {
    /// Whether breathing pays: a function of the sample's size and `k`.
    pub(super) fn breathes(&self) -> bool {
        self.part_blocks() * BLOCK_PATCHES as u64 >= PATCHES_PER_WORD_MIN * self.params.k as u64
    }

    /// Leaves words that have a lower inertia over the whole sample, or the same ones.
    pub(super) fn breathe(
        &self,
        restart: usize,
        tol: f64,
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        let mut part = self.part(log.passes);
        let mut words = self.breaths(restart, &mut part, centroids)?;
        log.passes += part.passes * part.share;
        let mut trial = RestartLog {
            passes: log.passes,
            n_steps: log.n_steps,
            ..RestartLog::new()
        };
        self.full_passes(restart, tol, &mut words, &mut trial)?;
        let before = self.inertia_per_patch(centroids)?;
        let after = self.inertia_per_patch(&words)?;
        log.passes = trial.passes;
        if after < before {
            *centroids = words;
            log.inertia.append(&mut trial.inertia);
            log.n_steps = trial.n_steps;
            log.reseeded += trial.reseeded;
            log.converged = trial.converged;
        }
        Ok(())
    }

    fn breaths(&self, restart: usize, part: &mut Part, centroids: &[f32]) -> Result<Vec<f32>> {
        let (k, d) = (self.params.k, self.d());
        let mut stream = Stream::new(self.params.seed, Purpose::BreathWords, restart as u64);
        let n_patches = self.sample.n_patches();
        let order = Permutation::new(n_patches, stream.next_u64());
        let pool = Pool::new(self.sample, &order, pool_len(n_patches, k, d));
        let mut words = centroids.to_vec();
        let mut inertia = self.settle_on(part, PASSES_OUT, &mut words)?;
        for _ in 0..BREATHS {
            if part.is_spent() {
                break;
            }
            let grown = k + n_added(k);
            let mut trial = self.plus_plus(&pool, &mut stream, words.clone(), grown)?;
            self.settle_on(part, PASSES_IN, &mut trial)?;
            let gone = least_needed(&costs_over(&pool, d, &trial), &trial, n_added(k));
            for &j in gone.iter().rev() {
                trial.drain(j * d..(j + 1) * d);
            }
            let left = self.settle_on(part, PASSES_OUT, &mut trial)?;
            if left < inertia {
                (words, inertia) = (trial, left);
            }
        }
        Ok(words)
    }

    /// Passes over the part; the inertia before the last of them, infinite if there was none.
    fn settle_on(&self, part: &mut Part, n_passes: usize, centroids: &mut [f32]) -> Result<f64> {
        let mut inertia = f64::INFINITY;
        for _ in 0..n_passes {
            if part.is_spent() {
                // Less settled than what it would be held against.
                return Ok(f64::INFINITY);
            }
            let sums = self.sums(centroids, part.n_blocks, |block| part.order.at(block))?;
            part.passes += 1.0;
            let previous = inertia;
            inertia = sums.inertia(centroids) / sums.n_patches() as f64;
            if !self.move_past(&sums, previous - inertia, PASS_TOL * inertia, centroids) {
                break;
            }
        }
        Ok(inertia)
    }

    fn part(&self, passes: f64) -> Part {
        let n_all = self.sample.n_blocks();
        let n_blocks = self.part_blocks();
        let share = n_blocks as f64 / n_all as f64;
        // The same part for all restarts: their words are judged alike.
        let key = rng::key(self.params.seed, Purpose::BreathBlocks, 0);
        Part {
            order: Permutation::new(n_all, key),
            n_blocks,
            share,
            passes: 0.0,
            max_passes: (self.params.max_iter as f64 - passes) * PASSES_SHARE / share,
        }
    }

    fn part_blocks(&self) -> u64 {
        let n_blocks = self.sample.n_blocks();
        let least = PART_PATCHES_MIN / BLOCK_PATCHES as u64;
        (n_blocks / PART_DIVISOR).max(least).min(n_blocks)
    }
}

impl Part {
    fn is_spent(&self) -> bool {
        self.passes + 1.0 > self.max_passes
    }
}

/// What it would cost to do without each of `words`, over the pool.
fn costs_over(pool: &Pool, d: usize, words: &[f32]) -> Vec<f64> {
    let part_len = PART_PANELS * PANEL;
    let parts: Vec<Vec<f64>> = (0..pool.len().div_ceil(part_len))
        .into_par_iter()
        .map(|part| {
            let n_patches = (pool.len() - part * part_len).min(part_len);
            let panels = pool.panels(part * PART_PANELS, PART_PANELS);
            removal_costs(panels, n_patches, d, words)
        })
        .collect();
    let mut costs = vec![0.0; words.len() / d];
    for part in parts {
        for (cost, more) in costs.iter_mut().zip(part) {
            *cost += more;
        }
    }
    costs
}
