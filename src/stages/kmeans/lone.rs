//! Work for lone words, which hardly a patch is nearest to: in many dimensions an outlier that was a first word keeps no
//! patch but itself, and no step ever moves it.
//!
//! All are moved next to words that are used, which they halve; the words settle, and are kept if their inertia is lower.

use super::Training;
use super::grow::{Part, Settling};
use crate::error::Result;
use crate::kernel::kmeans::checkpoint::RestartLog;
use crate::kernel::kmeans::sums::Sums;
use crate::kernel::kmeans::values::ValueReader;
use crate::kernel::naive::nearest_word;
use crate::kernel::rng::{Purpose, Stream};

/// A lone word has fewer patches than words have in the mean, divided by this.
const LONE_DIVISOR: u64 = 50;
/// Times that lone words are moved in one restart.
const MAX_MOVES: usize = 3;
/// Patches that are drawn for a lone word, until one has a word that is not lone.
const MAX_DRAWS: usize = 16;
/// How far from a word it goes towards a patch of it: as patches of many dimensions are about equally far from their
/// word in every direction, much more would win none of them.
const STEP: f64 = 0.125;
/// How words settle then.
const SETTLED: Settling = Settling {
    max_steps: 4,
    tol: 1e-3,
};

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
        for _ in 0..MAX_MOVES {
            // It is looked at with the words as they are, then settled, then judged.
            if !self.has_room_for(2 + SETTLED.max_steps, part, log) {
                return Ok(());
            }
            let sums = self.part_sums(part, centroids)?;
            log.passes += part.share;
            let lone = lone_words(&sums);
            if lone.is_empty() {
                return Ok(());
            }
            let mut trial = centroids.clone();
            self.halve_words(&lone, &mut stream, &mut trial);
            let mut steps = log.aside();
            self.settle_on(restart, part, SETTLED, &mut trial, &mut steps)?;
            log.passes = steps.passes + part.share;
            let inertia = sums.inertia(centroids) / sums.n_patches() as f64;
            if self.part_inertia(part, &trial)? >= inertia {
                return Ok(());
            }
            log.reseeded += lone.len() + steps.reseeded;
            *centroids = trial;
        }
        Ok(())
    }

    /// Puts each of the words `lone` next to a word that is not, in the direction of one of its patches.
    fn halve_words(&self, lone: &[usize], stream: &mut Stream, centroids: &mut [f32]) {
        let d = self.d();
        let before = centroids.to_vec();
        let mut reader = ValueReader::new(self.sample.patch());
        let mut patch = vec![0.0; d];
        for &j in lone {
            for _ in 0..MAX_DRAWS {
                reader.read_patch(
                    self.sample,
                    stream.below(self.sample.n_patches()),
                    &mut patch,
                );
                let nearest = nearest_word(&patch, &before).0 as usize;
                if lone.binary_search(&nearest).is_ok() {
                    continue;
                }
                let word = &before[nearest * d..][..d];
                for ((centre, &of_word), &of_patch) in
                    centroids[j * d..].iter_mut().zip(word).zip(&patch)
                {
                    let of_word = f64::from(of_word);
                    *centre = (of_word + STEP * (of_patch - of_word)) as f32;
                }
                break;
            }
        }
        self.scale_words(centroids);
    }
}

/// The words with hardly a patch, by rising index.
fn lone_words(sums: &Sums) -> Vec<usize> {
    let k = sums.counts.len();
    let mean = sums.n_patches() / k as u64;
    (0..k)
        .filter(|&j| sums.counts[j] * LONE_DIVISOR < mean)
        .collect()
}
