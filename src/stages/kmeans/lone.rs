//! Work for lone words, which hardly a patch is nearest to: in many dimensions an outlier that was a first word keeps no
//! patch but itself, and no step ever moves it.
//!
//! They are moved next to words that are used, which they halve. Moved and unmoved words settle alike; those with the lower
//! inertia stay, so nothing is lost where a few far patches are worth their word.

use std::collections::HashSet;

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use super::Training;
use super::grow::{Part, Settling};
use crate::error::Result;
use crate::kernel::kmeans::checkpoint::RestartLog;
use crate::kernel::kmeans::seeding::bits_of;
use crate::kernel::kmeans::sums::Sums;
use crate::kernel::kmeans::values::ValueReader;
use crate::kernel::naive::nearest_word;
use crate::kernel::rng::{Purpose, Stream};

/// A lone word has fewer patches than words have in the mean, divided by this.
const LONE_DIVISOR: u64 = 50;
/// Times that lone words are moved in one restart ...
const MAX_MOVES: usize = 3;
/// ... and the share of the passes that `max_iter` leaves which that may take: words must settle after it.
const PASSES_SHARE: f64 = 0.5;
/// Lone words that are moved at once, and patches that are drawn for them.
const MAX_MOVED: usize = 1024;
const DRAWN_PER_WORD: usize = 4;
/// How far from a word it goes towards a patch of it: as patches of many dimensions are about equally far from their
/// word in every direction, much more would win none of them.
const STEP: f64 = 0.125;
/// How words settle then.
const SETTLED: Settling = Settling {
    max_steps: 4,
    tol: 1e-3,
};

/// Upper bound on the heap bytes of drawn patches and of what is known of them.
pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
    let n_moved = k.min(MAX_MOVED) as u64;
    n_moved * DRAWN_PER_WORD as u64 * (8 * d as u64 + 32) + n_moved * (4 * d as u64 + 64) * 2
}

impl Training<'_> {
    /// Moves the lone words of a restart, which has settled on `part`.
    pub(super) fn move_lone(
        &self,
        restart: usize,
        part: Part,
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        let mut stream = Stream::new(self.params.seed, Purpose::LoneWords, restart as u64);
        let last_passes = log.passes + (self.params.max_iter as f64 - log.passes) * PASSES_SHARE;
        // A pass to find them; then, moved and unmoved, steps and a pass to judge them.
        let one = (1 + 2 * (SETTLED.max_steps + 1)) as f64 * part.share;
        for _ in 0..MAX_MOVES {
            if log.passes + one > last_passes {
                return Ok(());
            }
            let lone = lone_words(&self.part_sums(part, centroids)?);
            log.passes += part.share;
            let mut moved = centroids.clone();
            let n_moved = self.halve_words(&lone, &mut stream, &mut moved)?;
            if n_moved == 0 {
                return Ok(());
            }
            let mut steps = log.aside();
            let moved = self.settled(restart, part, moved, &mut steps)?;
            let n_moved = n_moved + steps.reseeded;
            let unmoved = self.settled(restart, part, centroids.clone(), &mut steps)?;
            log.passes = steps.passes;
            if moved.1 >= unmoved.1 {
                return Ok(());
            }
            log.reseeded += n_moved;
            *centroids = moved.0;
        }
        Ok(())
    }

    /// Words that have settled, and their inertia a patch.
    fn settled(
        &self,
        restart: usize,
        part: Part,
        mut words: Vec<f32>,
        steps: &mut RestartLog,
    ) -> Result<(Vec<f32>, f64)> {
        self.settle_on(restart, part, SETTLED, &mut words, steps)?;
        let inertia = self.part_inertia(part, &words)?;
        steps.passes += part.share;
        Ok((words, inertia))
    }

    /// Puts words that are `lone` next to words that are not, in the direction of one of their patches. Returns how many
    /// found a place of their own; the others stay where they are.
    fn halve_words(
        &self,
        lone: &[usize],
        stream: &mut Stream,
        centroids: &mut [f32],
    ) -> Result<usize> {
        self.check_stop()?;
        let d = self.d();
        let n_drawn = lone.len().min(MAX_MOVED) * DRAWN_PER_WORD;
        let mut patches = vec![0.0; n_drawn * d];
        let mut reader = ValueReader::new(self.sample.patch());
        for patch in patches.chunks_exact_mut(d) {
            reader.read_patch(self.sample, stream.below(self.sample.n_patches()), patch);
        }
        let words = &*centroids;
        let nearest: Vec<(u32, f64)> = patches
            .par_chunks_exact(d)
            .map(|patch| nearest_word(patch, words))
            .collect();
        let drawn = patches.chunks_exact(d).zip(nearest);
        // Equal patches make equal words, and what equals its word halves nothing.
        let mut taken = HashSet::new();
        let places: Vec<Vec<f32>> = drawn
            .filter(|&(_, (word, distance2))| {
                distance2 > 0.0 && lone.binary_search(&(word as usize)).is_err()
            })
            .map(|(patch, (word, _))| towards(&words[word as usize * d..][..d], patch))
            .filter(|place| taken.insert(bits_of(place)))
            .take(lone.len())
            .collect();
        for (&j, place) in lone.iter().zip(&places) {
            centroids[j * d..][..d].copy_from_slice(place);
        }
        self.scale_words(centroids);
        Ok(places.len())
    }
}

/// A little way from a word to a patch.
fn towards(word: &[f32], patch: &[f64]) -> Vec<f32> {
    let values = word.iter().zip(patch);
    values
        .map(|(&centre, &value)| {
            let centre = f64::from(centre);
            (centre + STEP * (value - centre)) as f32
        })
        .collect()
}

/// The words with hardly a patch, by rising index.
fn lone_words(sums: &Sums) -> Vec<usize> {
    let k = sums.counts.len();
    let mean = sums.n_patches() / k as u64;
    (0..k)
        .filter(|&j| sums.counts[j] * LONE_DIVISOR < mean)
        .collect()
}
