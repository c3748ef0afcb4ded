//! One labelled pass over any sequence of blocks, in parts that are merged in order.

use std::ops::Range;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::Training;
use crate::error::Result;
use crate::kernel::kmeans::sums::Sums;
use crate::kernel::kmeans::values::ValueReader;
use crate::kernel::naive::distance2;
use crate::kernel::nearest::{Scratch, Words, nearest};
use crate::kernel::sample::{BLOCK_PATCHES, Record};

/// Parts of a pass at most: what keeps a large machine busy.
const MAX_PARTS: u64 = 64;
/// Parts of a large pass at least, however large their sums.
const MIN_PARTS: u64 = 8;
/// The sums of all parts together take no more than this, unless `MIN_PARTS` do.
const PARTS_BYTES: u64 = 64 << 20;
/// A part has at least this share of `k` patches, so that labelling outweighs the merging of sums by far.
const PATCHES_PER_WORD: u64 = 2;
/// Blocks between two questions whether to stop.
const STOP_BLOCKS: u64 = 256;

/// What a pass gathers.
pub(super) trait Tally: Send {
    /// Adds the patches of a record with their labels.
    fn add(&mut self, record: &Record<'_>, labels: &[u32], work: &mut Work<'_>);
    /// Adds what a later part gathered.
    fn merge(&mut self, later: Self);
}

/// What a worker keeps from block to block.
pub(super) struct Work<'a> {
    centroids: &'a [f32],
    scratch: Scratch,
    reader: ValueReader,
    values: Vec<f64>,
}

fn most_parts(k: usize, d: usize) -> u64 {
    (PARTS_BYTES / Sums::heap_bytes(k, d)).clamp(MIN_PARTS, MAX_PARTS)
}

/// Upper bound on what the parts of a pass take together.
pub(super) fn parts_bytes(k: usize, d: usize) -> u64 {
    (most_parts(k, d) + 1) * Sums::heap_bytes(k, d)
}

impl Training<'_> {
    /// Sums over the blocks `block_at(0), ..., block_at(n_blocks - 1)`, each patch with its nearest of `centroids`.
    pub(super) fn sums(
        &self,
        centroids: &[f32],
        n_blocks: u64,
        block_at: impl Fn(u64) -> u64 + Sync,
    ) -> Result<Sums> {
        let empty = || Sums::new(centroids.len() / self.d(), self.d());
        self.pass(centroids, n_blocks, block_at, empty)
    }

    /// Counts and inertia over the whole sample, exactly as the law defines them.
    pub(super) fn tally(&self, centroids: &[f32]) -> Result<WordTally> {
        let empty = || WordTally {
            counts: vec![0; self.params.k],
            inertia: vec![0.0; self.params.k],
        };
        self.pass(centroids, self.sample.n_blocks(), |block| block, empty)
    }

    fn pass<T: Tally>(
        &self,
        centroids: &[f32],
        n_blocks: u64,
        block_at: impl Fn(u64) -> u64 + Sync,
        empty: impl Fn() -> T + Sync,
    ) -> Result<T> {
        let words = self.words(centroids);
        let parts = self.parts(n_blocks, centroids.len() / self.d());
        let gathered: Result<Vec<T>> = parts
            .into_par_iter()
            .with_max_len(1)
            .map(|part| self.pass_part(centroids, &words, part, &block_at, empty()))
            .collect();
        let mut all = empty();
        for part in gathered? {
            all.merge(part);
        }
        Ok(all)
    }

    /// Splits a pass. The number of parts is a function of the pass and the vocabulary, never of the threads.
    fn parts(&self, n_blocks: u64, k: usize) -> Vec<Range<u64>> {
        let by_work = n_blocks * BLOCK_PATCHES as u64 / (PATCHES_PER_WORD * k as u64);
        let n = by_work
            .clamp(MIN_PARTS, most_parts(k, self.d()))
            .min(n_blocks)
            .max(1);
        (0..n)
            .map(|part| part * n_blocks / n..(part + 1) * n_blocks / n)
            .collect()
    }

    fn pass_part<T: Tally>(
        &self,
        centroids: &[f32],
        words: &Words,
        part: Range<u64>,
        block_at: &(impl Fn(u64) -> u64 + Sync),
        mut tally: T,
    ) -> Result<T> {
        let patch = self.sample.patch();
        let mut work = Work {
            centroids,
            scratch: Scratch::default(),
            reader: ValueReader::new(patch),
            values: vec![0.0; patch.len()],
        };
        let mut labels = Vec::with_capacity(BLOCK_PATCHES);
        for (i, at) in (0..).zip(part) {
            if i % STOP_BLOCKS == 0 {
                self.check_stop()?;
            }
            let record = self.sample.block(block_at(at)).record;
            nearest(words, patch, &record, &mut work.scratch, &mut labels);
            tally.add(&record, &labels, &mut work);
        }
        Ok(tally)
    }
}

impl Tally for Sums {
    fn add(&mut self, record: &Record<'_>, labels: &[u32], work: &mut Work<'_>) {
        Sums::add(self, record, labels, &mut work.reader, &mut work.values);
    }

    fn merge(&mut self, later: Sums) {
        Sums::merge(self, &later);
    }
}

/// Patches of each word and the sum of their squared distances to it.
pub(super) struct WordTally {
    pub(super) counts: Vec<u64>,
    pub(super) inertia: Vec<f64>,
}

impl WordTally {
    pub(super) fn inertia_per_patch(&self) -> f64 {
        let n_patches: u64 = self.counts.iter().sum();
        self.inertia.iter().sum::<f64>() / n_patches.max(1) as f64
    }

    pub(super) fn empty_words(&self) -> Vec<usize> {
        (0..self.counts.len())
            .filter(|&j| self.counts[j] == 0)
            .collect()
    }
}

impl Tally for WordTally {
    fn add(&mut self, record: &Record<'_>, labels: &[u32], work: &mut Work<'_>) {
        let d = work.values.len();
        for (&offset, &label) in record.offsets.iter().zip(labels) {
            let label = label as usize;
            work.reader.read(record, offset, &mut work.values);
            self.counts[label] += 1;
            self.inertia[label] += distance2(&work.values, &work.centroids[label * d..][..d]);
        }
    }

    fn merge(&mut self, later: WordTally) {
        for (a, b) in self.counts.iter_mut().zip(later.counts) {
            *a += b;
        }
        for (a, b) in self.inertia.iter_mut().zip(later.inertia) {
            *a += b;
        }
    }
}
