//! New places for words that died: random patches, the far ones first.

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::Training;
use crate::kernel::kmeans::values::ValueReader;
use crate::kernel::naive::{distance2, nearest_word};
use crate::kernel::rng::{Purpose, Stream};

/// Patches that are drawn for each dead word, and bounds on how many in all.
const DRAWN_PER_WORD: usize = 8;
const DRAWN_MIN: usize = 256;
const DRAWN_MAX: usize = 4096;

/// Upper bound on the heap bytes of a reseeding.
pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
    DRAWN_MAX as u64 * (8 * d as u64 + 8) + 8 * k as u64
}

impl Training<'_> {
    /// Puts each of the words `dead` on a patch, drawn in proportion to its squared distance from all words. Returns how
    /// many found a place; the others stay where they are.
    pub(super) fn reseed(
        &self,
        restart: usize,
        step: usize,
        dead: &[usize],
        centroids: &mut [f32],
    ) -> usize {
        if dead.is_empty() {
            return 0;
        }
        let d = self.d();
        let index = (restart as u64) << 32 | step as u64;
        let mut stream = Stream::new(self.params.seed, Purpose::Reseed, index);
        let drawn = (dead.len() * DRAWN_PER_WORD).clamp(DRAWN_MIN, DRAWN_MAX);
        let mut values = vec![0.0; drawn * d];
        let mut reader = ValueReader::new(self.sample.patch());
        for values in values.chunks_exact_mut(d) {
            reader.read_patch(self.sample, stream.below(self.sample.n_patches()), values);
        }
        let mut nearest2: Vec<f64> = values
            .par_chunks_exact(d)
            .map(|values| nearest_word(values, centroids).1)
            .collect();
        let mut n_placed = 0;
        for &j in dead {
            let total: f64 = nearest2.iter().sum();
            let Some(row) = draw_far(&nearest2, stream.unit() * total) else {
                break;
            };
            let word = &mut centroids[j * d..][..d];
            for (centre, &value) in word.iter_mut().zip(&values[row * d..][..d]) {
                *centre = value as f32;
            }
            for (nearest2, values) in nearest2.iter_mut().zip(values.chunks_exact(d)) {
                *nearest2 = nearest2.min(distance2(values, word));
            }
            // Rounding to f32 can leave a trace of distance.
            nearest2[row] = 0.0;
            n_placed += 1;
        }
        n_placed
    }
}

/// The row at `left` along the running sum; `None` where all rows weigh nothing.
fn draw_far(weights: &[f64], mut left: f64) -> Option<usize> {
    let mut last = None;
    for (row, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            last = Some(row);
            if left < weight {
                break;
            }
            left -= weight;
        }
    }
    last
}
