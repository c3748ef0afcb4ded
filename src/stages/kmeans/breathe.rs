//! Out of poor local optima: breathing (Fritzke 2020), on a random part of the sample.
//!
//! In with a few more words, where they lower the inertia most; settle; out with as many, which now are needed least;
//! settle. A breath that leaves a lower inertia is kept. The words it all ends with are judged on the whole sample, and the
//! old ones come back unless they are beaten. Every pass counts towards `max_iter` by its share of the sample.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::grow::{Part, Settling};
use super::init::{part_panels, pool_len};
use super::{RestartLog, Training};
use crate::error::Result;
use crate::kernel::kmeans::permutation::Permutation;
use crate::kernel::kmeans::removal::{least_needed, removal_costs};
use crate::kernel::kmeans::seeding::{PANEL, Pool};
use crate::kernel::nearest::Simd;
use crate::kernel::rng::{Purpose, Stream};

/// Breaths never take more than this share of the passes that `max_iter` leaves: words must settle after them.
const PASSES_SHARE: f64 = 0.5;
/// With the added words, and after as many are gone.
const IN: Settling = Settling {
    max_steps: 8,
    tol: 1e-4,
};
const OUT: Settling = Settling {
    max_steps: 12,
    tol: 1e-4,
};
/// What breathing gave is judged, after a few steps, on a part so many times as large.
const JUDGED_ON: u64 = 4;
const SETTLED: Settling = Settling {
    max_steps: 4,
    tol: 1e-4,
};
/// One word is added for so many.
const WORDS_PER_ADDED: usize = 10;
/// Where the part has fewer patches for each word, what is won there is not won on the whole sample: no breathing.
const PATCHES_PER_WORD_MIN: u64 = 90;

/// Words that a breath adds.
pub(super) fn n_added(k: usize) -> usize {
    (k / WORDS_PER_ADDED).max(1)
}

/// Upper bound on the heap bytes of breathing beyond a pass's: words kept and tried, and what each is needed for.
pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
    let grown = (k + n_added(k)) as u64;
    let parts = pool_len(u64::MAX, k, d).div_ceil(part_panels(d) * PANEL) as u64;
    3 * grown * 4 * d as u64 + (parts + 4) * grown * 8
}

impl Training<'_> {
    /// Whether breathing pays: a function of the sample's size and `k`.
    pub(super) fn breathes_on(&self, part: Part) -> bool {
        let n_patches = self.sample.n_patches() as f64 * part.share;
        n_patches >= (PATCHES_PER_WORD_MIN * self.params.k as u64) as f64
    }

    /// Leaves words that have a lower inertia over the whole sample, or the same ones.
    pub(super) fn breathe(
        &self,
        restart: usize,
        part: Part,
        n_breaths: usize,
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        if !self.breathes_on(part) {
            return Ok(());
        }
        let mut words = self.breaths(restart, part, n_breaths, centroids, log)?;
        let judging = self.part(part.n_blocks * JUDGED_ON);
        self.settle_on(restart, judging, SETTLED, &mut words, &mut log.aside())?;
        if self.part_inertia(judging, &words)? < self.part_inertia(judging, centroids)? {
            *centroids = words;
        }
        Ok(())
    }

    fn breaths(
        &self,
        restart: usize,
        part: Part,
        n_breaths: usize,
        centroids: &[f32],
        log: &mut RestartLog,
    ) -> Result<Vec<f32>> {
        let (k, d) = (self.params.k, self.d());
        let mut stream = Stream::new(self.params.seed, Purpose::BreathWords, restart as u64);
        let n_patches = self.sample.n_patches();
        let order = Permutation::new(n_patches, stream.next_u64());
        let pool = self.pool(&order, pool_len(n_patches, k, d));
        let room = (self.params.max_iter as f64 - log.passes) * PASSES_SHARE;
        let last = log.passes + room;
        let one = (IN.max_steps + OUT.max_steps + 2) as f64 * part.share;
        let mut words = centroids.to_vec();
        let mut inertia = self.part_inertia(part, &words)?;
        for _ in 0..n_breaths {
            // One breath more must fit.
            if log.passes + one > last {
                break;
            }
            let grown = k + n_added(k);
            let mut trial = self.plus_plus(&pool, &mut stream, words.clone(), grown)?;
            let mut steps = log.aside();
            self.settle_on(restart, part, IN, &mut trial, &mut steps)?;
            let gone = least_needed(&costs_over(&pool, d, &trial, self.simd), &trial, n_added(k));
            for &j in gone.iter().rev() {
                trial.drain(j * d..(j + 1) * d);
            }
            self.settle_on(restart, part, OUT, &mut trial, &mut steps)?;
            let left = self.part_inertia(part, &trial)?;
            log.passes = steps.passes + part.share;
            log.reseeded += steps.reseeded;
            if left < inertia {
                (words, inertia) = (trial, left);
            }
        }
        Ok(words)
    }
}

impl RestartLog {
    /// A log for words that are only tried: its passes count, its steps are no part of the restart's.
    fn aside(&self) -> RestartLog {
        RestartLog {
            passes: self.passes,
            n_steps: self.n_steps,
            ..RestartLog::new()
        }
    }
}

/// What it would cost to do without each of `words`, over the pool.
fn costs_over(pool: &Pool, d: usize, words: &[f32], simd: Simd) -> Vec<f64> {
    let n_panels = part_panels(d);
    let part_len = n_panels * PANEL;
    let parts: Vec<Vec<f64>> = (0..pool.len().div_ceil(part_len))
        .into_par_iter()
        .map(|part| {
            let n_patches = (pool.len() - part * part_len).min(part_len);
            let panels = pool.panels(part * n_panels, n_panels);
            removal_costs(panels, n_patches, d, words, simd)
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
