//! The last words: sorted by count, none empty, none doubled, counted exactly as they are returned.

use std::collections::HashSet;

use super::Training;
use crate::error::{Error, Result};
use crate::kernel::kmeans::checkpoint::Checkpoint;
use crate::kernel::kmeans::seeding::bits_of;
use crate::kernel::kmeans::sums::Sums;
use crate::kernel::kmeans::values::ValueReader;

/// Passes that may reseed empty words at random ...
const RANDOM_PASSES: usize = 12;
/// ... and passes after them that put empty words on patches which no word has.
const SCAN_PASSES: usize = 12;
/// Passes that may sort again, where ties made a sorted order count differently.
const SORT_PASSES: usize = 4;

/// Upper bound on the heap bytes of the check for different patches.
pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
    3 * k as u64 * (4 * d as u64 + 48)
}

impl Training<'_> {
    /// Refuses a sample with fewer than `k` different patches.
    pub(super) fn check_enough(&self) -> Result<()> {
        let (k, n_patches) = (self.params.k, self.sample.n_patches());
        let help = "lower vocabulary.k, or sample more patches: sample.every, sample.per_image";
        if n_patches < k as u64 {
            let message = format!("{k} words cannot be learned from {n_patches} sampled patches");
            return Err(Error::setting("vocabulary.k", message, help));
        }
        let n_distinct = self.new_words(&HashSet::new(), k)?.len() / self.d();
        if n_distinct < k {
            let message = format!(
                "{k} words cannot be learned from {n_patches} sampled patches, of which only {n_distinct} differ"
            );
            return Err(Error::setting("vocabulary.k", message, help));
        }
        Ok(())
    }

    /// The first `wanted` patches that differ from `taken` and from one another, as words.
    fn new_words(&self, taken: &HashSet<Box<[u32]>>, wanted: usize) -> Result<Vec<f32>> {
        let d = self.d();
        let mut reader = ValueReader::new(self.sample.patch());
        let mut found = HashSet::new();
        let mut words = Vec::new();
        let (mut values, mut word) = (vec![0.0; d], vec![0.0f32; d]);
        for block in 0..self.sample.n_blocks() {
            self.check_stop()?;
            let patches = self.sample.block(block).patches;
            for offset in patches.offsets() {
                if words.len() == wanted * d {
                    return Ok(words);
                }
                reader.read(&patches, offset, &mut values);
                for (centre, &value) in word.iter_mut().zip(&values) {
                    *centre = value as f32;
                }
                let bits = bits_of(&word);
                if !taken.contains(&bits) && found.insert(bits) {
                    words.extend_from_slice(&word);
                }
            }
        }
        Ok(words)
    }

    /// The returned words, from those that training ended with, and their exact counts and inertia.
    pub(super) fn finish(&self, at: &Checkpoint) -> Result<(Vec<f32>, Sums)> {
        let trained = at.under_way.as_ref().map(|it| &it.centroids);
        let mut centroids = trained.unwrap_or(&at.judged.centroids).clone();
        let mut sums = self.fill_empty(&mut centroids)?;
        for _ in 0..SORT_PASSES {
            if sums.counts.is_sorted_by(|a, b| a >= b) && sums.empty_words().is_empty() {
                break;
            }
            centroids = self.sorted(&centroids, &sums.counts);
            sums = self.fill_empty(&mut centroids)?;
        }
        Ok((centroids, sums))
    }

    fn sorted(&self, centroids: &[f32], counts: &[u64]) -> Vec<f32> {
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&j| std::cmp::Reverse(counts[j]));
        let d = self.d();
        order
            .iter()
            .flat_map(|&j| centroids[j * d..][..d].iter().copied())
            .collect()
    }

    /// Passes over the sample until no word is empty. A doubled word is always empty, since its double wins the ties.
    fn fill_empty(&self, centroids: &mut Vec<f32>) -> Result<Sums> {
        let d = self.d();
        for pass in 0.. {
            let sums = self.all_sums(centroids)?;
            let empty = sums.empty_words();
            if empty.is_empty() {
                return Ok(sums);
            }
            if pass < RANDOM_PASSES {
                // A restart number of its own: this stream is not one of training's.
                self.reseed(u32::MAX as usize, pass, &empty, centroids);
                self.scale_words(centroids);
            } else if pass < RANDOM_PASSES + SCAN_PASSES {
                let taken: HashSet<Box<[u32]>> = centroids.chunks_exact(d).map(bits_of).collect();
                let new = self.new_words(&taken, empty.len())?;
                for (&j, word) in empty.iter().zip(new.chunks_exact(d)) {
                    centroids[j * d..][..d].copy_from_slice(word);
                }
                self.scale_words(centroids);
            } else {
                // Hardly more different patches than words: each word on a patch of its own is empty nowhere.
                *centroids = self.new_words(&HashSet::new(), self.params.k)?;
                self.scale_words(centroids);
                return self.all_sums(centroids);
            }
        }
        unreachable!("the last branch returns")
    }
}
