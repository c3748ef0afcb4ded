//! The first words of a restart, from a bounded random part of the sample.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::Training;
use crate::error::Result;
use crate::kernel::kmeans::Init;
use crate::kernel::kmeans::permutation::Permutation;
use crate::kernel::kmeans::seeding::{PANEL, Pool, draw, read_panels, take_word, try_words};
use crate::kernel::nearest::Simd;
use crate::kernel::rng::{self, Purpose, Stream};

/// First words are chosen from so many patches for each word ...
const POOL_PATCHES_PER_WORD: usize = 10;
/// ... but from no fewer than this, if they are small ...
const POOL_PATCHES_MIN: usize = 1 << 14;
/// ... and have no more values in all than this ...
const POOL_VALUES: usize = 1 << 21;
/// ... nor more than fit these bytes, unless that is less than two for each word.
const POOL_BYTES: usize = 64 << 20;
/// Panels that one thread takes together at most, and values in them, unless one panel has more.
const PART_PANELS: usize = 32;
const PART_VALUES: usize = 1 << 16;

/// Patches that the first words are chosen from.
pub(super) fn pool_len(n_patches: u64, k: usize, d: usize) -> usize {
    let wanted = POOL_PATCHES_MIN.min(POOL_VALUES / d);
    let wanted = wanted.max(k * POOL_PATCHES_PER_WORD);
    let fitting = (POOL_BYTES / (4 * d)).max(2 * k);
    n_patches.min(wanted.min(fitting) as u64) as usize
}

/// Panels that one thread takes together: a function of the patches' length alone.
pub(super) fn part_panels(d: usize) -> usize {
    (PART_VALUES / (PANEL * d)).clamp(1, PART_PANELS)
}

impl Training<'_> {
    /// The first words of a restart, `k * d`.
    pub(super) fn first_words(&self, restart: usize) -> Result<Vec<f32>> {
        let (k, seed) = (self.params.k, self.params.seed);
        let n_patches = self.sample.n_patches();
        let key = rng::key(seed, Purpose::InitPatches, restart as u64);
        let order = Permutation::new(n_patches, key);
        let pool = self.pool(&order, pool_len(n_patches, k, self.d()));
        let mut stream = Stream::new(seed, Purpose::InitWords, restart as u64);
        let mut words = match self.params.init {
            Init::Random => pool.distinct(k),
            Init::PlusPlus => self.plus_plus(&pool, &mut stream, Vec::new(), k)?,
        };
        self.scale_words(&mut words);
        Ok(words)
    }

    /// The first `n` patches of `order`.
    pub(super) fn pool(&self, order: &Permutation, n: usize) -> Pool {
        let part_len = part_panels(self.d()) * PANEL;
        let mut pool = Pool::zeroed(n, self.d());
        pool.panels_mut()
            .par_chunks_mut(part_len * self.d())
            .enumerate()
            .for_each(|(part, panels)| {
                let rows = part * part_len..((part + 1) * part_len).min(n);
                read_panels(self.sample, order, rows, panels);
            });
        pool
    }

    /// Greedy k-means++ from the `words` that there are to `k`: of `2 + ln k` patches drawn in proportion to their squared
    /// distance, the best becomes a word.
    pub(super) fn plus_plus(
        &self,
        pool: &Pool,
        stream: &mut Stream,
        mut words: Vec<f32>,
        k: usize,
    ) -> Result<Vec<f32>> {
        let d = self.d();
        let n_trials = 2 + (k as f64).ln() as usize;
        let mut nearest2 = pool.no_distances();
        let mut part_sums: Vec<f64> = Vec::new();
        if !words.is_empty() {
            part_sums = take_words(pool, &mut nearest2, d, &words, self.simd);
        }
        words.reserve_exact(k * d - words.len());
        let mut candidates = Vec::with_capacity(n_trials * d);
        for j in words.len() / d..k {
            self.check_stop()?;
            candidates.clear();
            if j == 0 {
                pool.append(stream.below(pool.len() as u64) as usize, &mut candidates);
            }
            while j > 0 && candidates.len() < n_trials * d {
                let part_len = part_panels(d) * PANEL;
                match draw(&nearest2, &part_sums, part_len, stream) {
                    Some(row) => pool.append(row, &mut candidates),
                    // Every patch of the pool is a word already; what doubles here dies and is seeded anew.
                    None => break,
                }
            }
            if candidates.is_empty() {
                pool.append(stream.below(pool.len() as u64) as usize, &mut candidates);
            }
            let (best, sums) = best_candidate(pool, &nearest2, d, &candidates, self.simd);
            part_sums = sums;
            let word = &candidates[best * d..][..d];
            take_words(pool, &mut nearest2, d, word, self.simd);
            words.extend_from_slice(word);
        }
        Ok(words)
    }
}

/// Takes `words` among the words; the inertia that is left in each part.
fn take_words(pool: &Pool, nearest2: &mut [f32], d: usize, words: &[f32], simd: Simd) -> Vec<f64> {
    let n_panels = part_panels(d);
    nearest2
        .par_chunks_mut(n_panels * PANEL)
        .enumerate()
        .map(|(part, nearest2)| {
            let panels = pool.panels(part * n_panels, n_panels);
            for word in words.chunks_exact(d) {
                take_word(panels, nearest2, word, simd);
            }
            nearest2.iter().map(|&distance| f64::from(distance)).sum()
        })
        .collect()
}

/// The candidate that leaves the least inertia, the first among equals, and the inertia it leaves in each part.
fn best_candidate(
    pool: &Pool,
    nearest2: &[f32],
    d: usize,
    candidates: &[f32],
    simd: Simd,
) -> (usize, Vec<f64>) {
    let n_panels = part_panels(d);
    let parts: Vec<Vec<f64>> = (0..nearest2.len().div_ceil(n_panels * PANEL))
        .into_par_iter()
        .map(|part| {
            let first = part * n_panels * PANEL;
            let end = (first + n_panels * PANEL).min(nearest2.len());
            let panels = pool.panels(part * n_panels, n_panels);
            try_words(panels, &nearest2[first..end], d, candidates, simd)
        })
        .collect();
    let total = |candidate: usize| parts.iter().map(|part| part[candidate]).sum::<f64>();
    let mut best = (0, total(0));
    for candidate in 1..candidates.len() / d {
        let inertia = total(candidate);
        if inertia < best.1 {
            best = (candidate, inertia);
        }
    }
    (best.0, parts.iter().map(|part| part[best.0]).collect())
}
