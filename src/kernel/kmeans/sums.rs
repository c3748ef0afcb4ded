//! What one pass over patches leaves: counts, sums and squares, and how they move words.
//!
//! Sums are f64 and counts u64. Partial sums are merged by the caller in a fixed order; nothing here may depend on who
//! made which part.

use super::values::ValueReader;
use crate::kernel::sample::Record;

/// Counts and sums of the patches of each word.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// Patches of each word, `k`.
    pub counts: Vec<u64>,
    // Sum of each word's patches, k * d.
    values: Vec<f64>,
    // Sum of the squares of all patches, value by value, d.
    squares: Vec<f64>,
}

impl Sums {
    /// Of no patches, for `k` words of `d` values.
    pub fn new(k: usize, d: usize) -> Sums {
        Sums {
            counts: vec![0; k],
            values: vec![0.0; k * d],
            squares: vec![0.0; d],
        }
    }

    /// Heap bytes for `k` words of `d` values.
    pub fn heap_bytes(k: usize, d: usize) -> u64 {
        8 * (k as u64 + k as u64 * d as u64 + d as u64)
    }

    /// Adds the patches of `record`, labelled by `labels`. `values` is working memory, `d` long.
    pub fn add(
        &mut self,
        record: &Record<'_>,
        labels: &[u32],
        reader: &mut ValueReader,
        values: &mut [f64],
    ) {
        let d = self.squares.len();
        let values = &mut values[..d];
        for (&offset, &label) in record.offsets.iter().zip(labels) {
            self.counts[label as usize] += 1;
            if record.scaling.is_blank() {
                continue;
            }
            reader.read(record, offset, values);
            let sums = &mut self.values[label as usize * d..][..d];
            for ((sum, square), &value) in sums.iter_mut().zip(&mut self.squares).zip(&*values) {
                *sum += value;
                *square += value * value;
            }
        }
    }

    /// Adds the sums of later patches.
    pub fn merge(&mut self, later: &Sums) {
        for (a, b) in self.counts.iter_mut().zip(&later.counts) {
            *a += b;
        }
        for (a, b) in self.values.iter_mut().zip(&later.values) {
            *a += b;
        }
        for (a, b) in self.squares.iter_mut().zip(&later.squares) {
            *a += b;
        }
    }

    /// Number of patches.
    pub fn n_patches(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of squared distances of the patches to the words that they were labelled by (`k * d`), by way of
    /// `sum |x|^2 - 2 c . sum x + n |c|^2`: good to about 12 digits, which is enough to compare.
    pub fn inertia(&self, centroids: &[f32]) -> f64 {
        let d = self.squares.len();
        let mut inertia: f64 = self.squares.iter().sum();
        let words = centroids.chunks_exact(d).zip(self.values.chunks_exact(d));
        for ((word, sums), &count) in words.zip(&self.counts) {
            let mut change = 0.0;
            for (&centre, &sum) in word.iter().zip(sums) {
                let centre = f64::from(centre);
                change += centre * (count as f64 * centre - 2.0 * sum);
            }
            inertia += change;
        }
        inertia.max(0.0)
    }

    /// Moves each word towards the mean of its patches, by the share `rate(j, count)`; those without patches stay.
    /// A rate between 1 and 2 goes past the mean, which lowers the inertia too.
    /// Returns whether any value changed.
    pub fn move_words(
        &self,
        centroids: &mut [f32],
        mut rate: impl FnMut(usize, u64) -> f64,
    ) -> bool {
        let d = self.squares.len();
        let mut moved = false;
        for (j, word) in centroids.chunks_exact_mut(d).enumerate() {
            let count = self.counts[j];
            let rate = rate(j, count);
            if count == 0 {
                continue;
            }
            for (centre, sum) in word.iter_mut().zip(&self.values[j * d..][..d]) {
                let old = f64::from(*centre);
                let mean = sum / count as f64;
                // At rate 1 this is the mean itself.
                let new = (mean + (1.0 - rate) * (old - mean)) as f32;
                moved |= new.to_bits() != centre.to_bits();
                *centre = new;
            }
        }
        moved
    }

    /// Words without patches.
    pub fn empty_words(&self) -> Vec<usize> {
        (0..self.counts.len())
            .filter(|&j| self.counts[j] == 0)
            .collect()
    }
}
