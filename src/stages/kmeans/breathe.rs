//! Out of poor local optima: breathing (Fritzke 2020), on a random part of the sample.
//!
//! In with a few more words, where they lower the inertia most; settle; out with as many, which now are needed least;
//! settle. A breath that leaves a lower inertia is kept. The words it all ends with are judged on the whole sample, and the
//! old ones come back unless they are beaten. Every pass counts towards `max_iter` by its share of the sample.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::grow::{Part, Settling};
use super::init::{part_panels, pool_len};
use super::{Training, under_way};
use crate::error::Result;
use crate::kernel::kmeans::checkpoint::{Breaths, Checkpoint, Next, RestartLog, UnderWay};
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

    /// Leaves words that have a lower inertia, or the same ones. What comes next is `after`.
    pub(super) fn breathe(
        &self,
        part: Part,
        n_breaths: usize,
        after: Next,
        at: &mut Checkpoint,
    ) -> Result<()> {
        let it = under_way(at);
        if it.next == Next::Breathe {
            it.next = match self.breathes_on(part) {
                true => Next::Breath(self.before_breaths(part, it)?),
                false => after.clone(),
            };
        }
        if let Next::Breath(_) = it.next {
            self.breaths(part, n_breaths, at)?;
            self.end_breaths(part, after, under_way(at))?;
        }
        Ok(())
    }

    /// Takes the words that breathing gave, if they are better on a larger part.
    fn end_breaths(&self, part: Part, after: Next, it: &mut UnderWay) -> Result<()> {
        let Next::Breath(breaths) = &it.next else {
            return Ok(());
        };
        let mut words = breaths.words.clone();
        let judging = self.part(part.n_blocks * JUDGED_ON);
        let mut steps = it.log.aside();
        self.settle_on(it.restart, judging, SETTLED, &mut words, &mut steps)?;
        if self.part_inertia(judging, &words)? < self.part_inertia(judging, &it.centroids)? {
            it.centroids = words;
        }
        it.next = after;
        Ok(())
    }

    fn before_breaths(&self, part: Part, it: &UnderWay) -> Result<Breaths> {
        let mut stream = Stream::new(self.params.seed, Purpose::BreathWords, it.restart as u64);
        // The first number is the order of the pool.
        stream.next_u64();
        let room = (self.params.max_iter as f64 - it.log.passes) * PASSES_SHARE;
        Ok(Breaths {
            n_taken: 0,
            words: it.centroids.clone(),
            inertia: self.part_inertia(part, &it.centroids)?,
            last_passes: it.log.passes + room,
            stream,
        })
    }

    /// Breaths, one after another, each a point to go on from.
    fn breaths(&self, part: Part, n_breaths: usize, at: &mut Checkpoint) -> Result<()> {
        let restart = under_way(at).restart as u64;
        let (k, d, n_patches) = (self.params.k, self.d(), self.sample.n_patches());
        let order = Stream::new(self.params.seed, Purpose::BreathWords, restart).next_u64();
        let order = Permutation::new(n_patches, order);
        let pool = self.pool(&order, pool_len(n_patches, k, d));
        let one = (IN.max_steps + OUT.max_steps + 2) as f64 * part.share;
        loop {
            self.keep_if_due(at)?;
            let it = under_way(at);
            let Next::Breath(breaths) = &mut it.next else {
                return Ok(());
            };
            // One breath more must fit.
            if breaths.n_taken == n_breaths || it.log.passes + one > breaths.last_passes {
                return Ok(());
            }
            let mut stream = breaths.stream.clone();
            let words = breaths.words.clone();
            let mut steps = it.log.aside();
            let words = self.breath(it.restart, part, &pool, &mut stream, words, &mut steps)?;
            let inertia = self.part_inertia(part, &words)?;
            it.log.passes = steps.passes + part.share;
            it.log.reseeded += steps.reseeded;
            breaths.n_taken += 1;
            breaths.stream = stream;
            if inertia < breaths.inertia {
                (breaths.words, breaths.inertia) = (words, inertia);
            }
        }
    }

    /// The words after one breath.
    fn breath(
        &self,
        restart: usize,
        part: Part,
        pool: &Pool,
        stream: &mut Stream,
        words: Vec<f32>,
        steps: &mut RestartLog,
    ) -> Result<Vec<f32>> {
        let (k, d) = (self.params.k, self.d());
        let mut trial = self.plus_plus(pool, stream, words, k + n_added(k))?;
        self.scale_words(&mut trial);
        self.settle_on(restart, part, IN, &mut trial, steps)?;
        let gone = least_needed(&costs_over(pool, d, &trial, self.simd), &trial, n_added(k));
        for &j in gone.iter().rev() {
            trial.drain(j * d..(j + 1) * d);
        }
        self.settle_on(restart, part, OUT, &mut trial, steps)?;
        Ok(trial)
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
