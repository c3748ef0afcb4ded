//! Words that settle on growing, nested parts of the sample: the rough places are found cheaply, on few patches, and a part
//! twice as large finds them nearly right (compare nested mini-batches, Newling and Fleuret 2016).
//!
//! A part is the first blocks of one random order of all blocks, never a stretch of the files.

use super::Training;
use crate::error::Result;
use crate::kernel::kmeans::checkpoint::RestartLog;
use crate::kernel::kmeans::permutation::Permutation;
use crate::kernel::kmeans::sums::Sums;
use crate::kernel::rng::{self, Purpose};

/// Patches in the first part where the job names none: so many for each word, and no fewer than the minimum.
const FIRST_PER_WORD: u64 = 32;
const FIRST_MIN: u64 = 4096;
/// Restarts are judged on the sample divided by this, but on no fewer patches for each word, and in all, than these.
const JUDGE_DIVISOR: u64 = 16;
const JUDGE_PER_WORD: u64 = 300;
const JUDGE_MIN: u64 = 1 << 12;
/// Words move past the mean of their patches by this much: any rate below 2 lowers the inertia, and the slow valleys,
/// where Lloyd spends most of its passes, take about half as many.
const RATE: f64 = 1.8;
/// Upper bound on the steps on parts: no sample has more doublings, and none takes more steps on one.
pub(super) const MAX_STEPS: usize = 48 * 16;

/// A random part of the sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    order: Permutation,
    pub(super) n_blocks: u64,
    /// Of the whole sample.
    pub(super) share: f64,
}

/// How words settle on a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settling {
    /// Steps at most ...
    pub(super) max_steps: usize,
    /// ... fewer where a step wins no more than this share.
    pub(super) tol: f64,
}

impl Training<'_> {
    /// The part that mini-batch's restarts are judged on: the same for all, so their words are judged alike.
    pub(super) fn mini_batch_part(&self) -> Part {
        let least = (JUDGE_PER_WORD * self.params.k as u64).max(JUDGE_MIN);
        self.part(
            self.blocks_of(least)
                .max(self.sample.n_blocks() / JUDGE_DIVISOR),
        )
    }

    /// The part of about so many blocks, at most all.
    pub(super) fn part(&self, n_blocks: u64) -> Part {
        let n_all = self.sample.n_blocks();
        let n_blocks = n_blocks.clamp(1, n_all);
        Part {
            order: Permutation::new(n_all, rng::key(self.params.seed, Purpose::Parts, 0)),
            n_blocks,
            share: n_blocks as f64 / n_all as f64,
        }
    }

    /// Whether a part is all of the sample.
    pub(super) fn is_whole(&self, part: Part) -> bool {
        part.n_blocks == self.sample.n_blocks()
    }

    /// About how many blocks hold so many patches.
    fn blocks_of(&self, n_patches: u64) -> u64 {
        let (n_blocks, n_all) = (self.sample.n_blocks(), self.sample.n_patches());
        // Both are far below 2^64: their product fits 128 bits.
        (u128::from(n_patches) * u128::from(n_blocks)).div_ceil(u128::from(n_all)) as u64
    }

    /// Settles `centroids` on parts that double, from the smallest to `last`.
    pub(super) fn grow_to(
        &self,
        restart: usize,
        last: Part,
        settling: Settling,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        let first = (FIRST_PER_WORD * self.params.k as u64).max(FIRST_MIN);
        let first = self
            .params
            .batch_size
            .map_or(first, |patches| patches as u64);
        let mut n_blocks = self.blocks_of(first).max(1);
        while n_blocks < last.n_blocks {
            self.settle_on(restart, self.part(n_blocks), settling, centroids, log)?;
            n_blocks *= 2;
        }
        self.settle_on(restart, last, settling, centroids, log)?;
        Ok(())
    }

    /// Steps over one part until little is won.
    pub(super) fn settle_on(
        &self,
        restart: usize,
        part: Part,
        settling: Settling,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        let mut previous = f64::INFINITY;
        for _ in 0..settling.max_steps {
            if !self.has_room(part, log) {
                break;
            }
            let (inertia, goes_on) =
                self.step(restart, part, previous, settling.tol, centroids, log)?;
            if !goes_on {
                break;
            }
            previous = inertia;
        }
        Ok(())
    }

    /// One step over a part. Gives the inertia per patch before it, and whether there is more to win than the share `tol`
    /// that the last step, from `previous`, did not win.
    pub(super) fn step(
        &self,
        restart: usize,
        part: Part,
        previous: f64,
        tol: f64,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<(f64, bool)> {
        let sums = self.part_sums(part, centroids)?;
        let inertia = sums.inertia(centroids) / sums.n_patches() as f64;
        log.passes += part.share;
        self.note(restart, inertia, log);
        let goes_on = move_past(&sums, previous - inertia, tol * inertia, centroids);
        let reseeded = self.reseed(restart, log.n_steps, &sums.empty_words(), centroids);
        log.reseeded += reseeded;
        self.scale_words(centroids);
        Ok((inertia, goes_on || reseeded > 0))
    }

    /// Whether another pass over this part is still allowed.
    pub(super) fn has_room(&self, part: Part, log: &RestartLog) -> bool {
        // A sum of shares is off by roundings.
        log.passes + part.share <= self.params.max_iter as f64 + 1e-9
    }

    pub(super) fn part_sums(&self, part: Part, centroids: &[f32]) -> Result<Sums> {
        if self.is_whole(part) {
            return self.all_sums(centroids);
        }
        self.sums(centroids, part.n_blocks, |block| part.order.at(block))
    }

    /// Mean over a part.
    pub(super) fn part_inertia(&self, part: Part, centroids: &[f32]) -> Result<f64> {
        let sums = self.part_sums(part, centroids)?;
        Ok(sums.inertia(centroids) / sums.n_patches().max(1) as f64)
    }
}

impl RestartLog {
    /// A log for words that are only tried: its passes count, its steps are no part of the restart's.
    pub(super) fn aside(&self) -> RestartLog {
        RestartLog {
            passes: self.passes,
            n_steps: self.n_steps,
            ..RestartLog::default()
        }
    }
}

/// Moves the words past their means; onto them, at last, where the step before won no more than `little`. Returns
/// whether there is more to win.
fn move_past(sums: &Sums, won: f64, little: f64, centroids: &mut [f32]) -> bool {
    let won_little = won <= little;
    let rate = if won_little { 1.0 } else { RATE };
    let moved = sums.move_words(centroids, |_, _| rate);
    moved && !won_little
}
