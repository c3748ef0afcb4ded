//! One labelled pass over any sequence of blocks, in parts that are merged in order.

use std::ops::Range;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::Training;
use crate::error::Result;
use crate::kernel::grid::PatchShape;
use crate::kernel::kmeans::sums::{SumScratch, Sums};
use crate::kernel::nearest::{Scratch, Words, search};
use crate::kernel::sample::BLOCK_PATCHES;

/// Parts of a pass at most: what keeps a large machine busy.
const MAX_PARTS: u64 = 64;
/// Parts of a large pass at least, however large their sums.
const MIN_PARTS: u64 = 8;
/// The sums of all parts together take no more than this, unless `MIN_PARTS` do.
const PARTS_BYTES: u64 = 64 << 20;
/// A part has at least this share of `k` patches, so that labelling outweighs the merging of sums by far.
const PATCHES_PER_WORD: u64 = 64;
/// Blocks between two questions whether to stop.
const STOP_BLOCKS: u64 = 16;

fn most_parts(k: usize, patch: PatchShape) -> u64 {
    (PARTS_BYTES / Sums::heap_bytes(k, patch)).clamp(MIN_PARTS, MAX_PARTS)
}

/// Upper bound on what the parts of a pass take together.
pub(super) fn parts_bytes(k: usize, patch: PatchShape) -> u64 {
    (most_parts(k, patch) + 1) * Sums::heap_bytes(k, patch)
}

/// Upper bound on what one thread takes.
pub(super) fn worker_bytes(k: usize, patch: PatchShape) -> u64 {
    Scratch::heap_bytes(k, patch, BLOCK_PATCHES + 64) + SumScratch::heap_bytes(k, patch)
}

impl Training<'_> {
    /// Sums over the whole sample, each patch with its nearest of `centroids`.
    pub(super) fn all_sums(&self, centroids: &[f32]) -> Result<Sums> {
        self.sums(centroids, self.sample.n_blocks(), |block| block)
    }

    /// Sums over the blocks `block_at(0), ..., block_at(n_blocks - 1)`, each patch with its nearest of `centroids`.
    pub(super) fn sums(
        &self,
        centroids: &[f32],
        n_blocks: u64,
        block_at: impl Fn(u64) -> u64 + Sync,
    ) -> Result<Sums> {
        let words = self.words(centroids);
        let parts: Result<Vec<Sums>> = self
            .parts(n_blocks, words.k())
            .into_par_iter()
            .with_max_len(1)
            .map_init(
                || Worker::new(&words, self.sample.patch()),
                |worker, part| self.stretch_sums(worker, part, &block_at),
            )
            .collect();
        let mut parts = parts?.into_iter();
        let mut all = match parts.next() {
            Some(first) => first,
            None => Sums::new(words.k(), self.sample.patch()),
        };
        for part in parts {
            all.merge(&part);
        }
        Ok(all)
    }

    /// Splits a pass. The number of parts is a function of the pass and the vocabulary, never of the threads.
    fn parts(&self, n_blocks: u64, k: usize) -> Vec<Range<u64>> {
        let patches_in_block = self.sample.n_patches() / self.sample.n_blocks().max(1);
        let by_work = n_blocks * patches_in_block / (PATCHES_PER_WORD * k as u64);
        let n = by_work
            .clamp(MIN_PARTS, most_parts(k, self.sample.patch()))
            .min(n_blocks)
            .max(1);
        (0..n)
            .map(|part| part * n_blocks / n..(part + 1) * n_blocks / n)
            .collect()
    }

    fn stretch_sums(
        &self,
        worker: &mut Worker<'_>,
        part: Range<u64>,
        block_at: &(impl Fn(u64) -> u64 + Sync),
    ) -> Result<Sums> {
        let mut sums = Sums::new(worker.words.k(), self.sample.patch());
        for (i, at) in (0..).zip(part) {
            if i % STOP_BLOCKS == 0 {
                self.check_stop()?;
            }
            let patches = self.sample.block(block_at(at)).patches;
            let found = search(worker.words, &patches, &mut worker.scratch);
            sums.add(&patches, &found, &mut worker.sums);
        }
        sums.settle(&mut worker.sums);
        Ok(sums)
    }
}

/// What a thread keeps from part to part.
struct Worker<'a> {
    words: &'a Words,
    scratch: Scratch,
    sums: SumScratch,
}

impl<'a> Worker<'a> {
    fn new(words: &'a Words, patch: PatchShape) -> Worker<'a> {
        Worker {
            words,
            scratch: Scratch::default(),
            sums: SumScratch::new(words.k(), patch, words.simd()),
        }
    }
}
