//! How `run.memory` is divided, before anything is read. What cannot fit is refused here, with what to change.
//!
//! Heap only: mapped pages belong to the system, which takes them back when it likes.

use bytesize::ByteSize;

use crate::error::{Error, Result};
use crate::job::{Job, VocabularySource};
use crate::kernel::nearest::{Scratch, Words};
use crate::shard::features::Layout;
use crate::stages::kmeans;

/// What the process takes before any data: code's own data, stacks, footers, read buffers.
const BASE_BYTES: u64 = 8 << 20;

/// All batches in flight, at most: more would only wait.
const MAX_BATCHES_BYTES: u64 = 64 << 20;

/// All batches in flight, at least: a few small ones.
const MIN_BATCHES_BYTES: u64 = 2 << 20;

/// One batch, at most: large enough to be worth handing over, small enough to stay in the cache.
const MAX_BATCH_BYTES: u64 = 1 << 20;

/// The sample in memory, at least; more of it goes to a mapped file.
const MIN_SAMPLE_BYTES: u64 = 1 << 20;

/// For each patch of `sample.max_patches`: the hashes of twice as many while they grow, and a copy to find the cut.
const HASH_BYTES: u64 = 64;

/// Share of the ceiling that goes to batches in flight.
const BATCHES_SHARE: u64 = 8;

/// The division.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// The ceiling that was asked for.
    pub ceiling_bytes: u64,
    /// The process itself.
    pub base_bytes: u64,
    /// All batches in flight.
    pub batches_bytes: u64,
    /// One batch.
    pub batch_bytes: u64,
    /// The sample, before it goes to a mapped file; 0 without learning.
    pub sample_bytes: u64,
    /// Hashes of the sampled patches; 0 without `sample.max_patches`.
    pub hashes_bytes: u64,
    /// k-means beside the sample; 0 without learning.
    pub kmeans_bytes: u64,
    /// Words and scratch of the featurizing workers.
    pub words_bytes: u64,
    /// The features file that is being written.
    pub sink_bytes: u64,
}

impl MemoryPlan {
    /// Divides a job's memory. `max_rows` are the rows of the largest shard, `max_in_flight` the most batches that the
    /// pipeline holds.
    ///
    /// # Errors
    /// The ceiling is too low for the job.
    pub fn new(
        job: &Job,
        layout: &Layout,
        max_rows: u64,
        max_in_flight: usize,
    ) -> Result<MemoryPlan> {
        let ceiling_bytes = job.run.memory_bytes;
        let (k, d) = (layout.n_values, job.preparation.patch.len());
        let threads = job.run.threads as u64;
        let batches_bytes =
            (ceiling_bytes / BATCHES_SHARE).clamp(MIN_BATCHES_BYTES, MAX_BATCHES_BYTES);
        let kmeans_bytes = match &job.vocabulary {
            VocabularySource::Learn(params) => kmeans::heap_bytes(k, d, params, job.run.threads),
            VocabularySource::From(_) => 0,
        };
        let is_learned = kmeans_bytes > 0;
        let mut plan = MemoryPlan {
            ceiling_bytes,
            base_bytes: BASE_BYTES,
            batches_bytes,
            batch_bytes: (batches_bytes / max_in_flight as u64).min(MAX_BATCH_BYTES),
            sample_bytes: if is_learned { MIN_SAMPLE_BYTES } else { 0 },
            hashes_bytes: match job.sample.max_patches {
                Some(max_patches) if is_learned => max_patches.saturating_mul(HASH_BYTES),
                _ => 0,
            },
            kmeans_bytes,
            words_bytes: Words::heap_bytes(k, d) + threads * Scratch::heap_bytes(k, d),
            sink_bytes: layout.writer_bytes(max_rows),
        };
        let needed = plan.learn_bytes().max(plan.featurize_bytes());
        if needed > ceiling_bytes {
            return Err(plan.refusal(needed));
        }
        if is_learned {
            plan.sample_bytes = ceiling_bytes - plan.learn_bytes() + MIN_SAMPLE_BYTES;
        }
        Ok(plan)
    }

    /// Peak while sampling and learning: the sample, and batches and hashes first, k-means afterwards.
    pub fn learn_bytes(&self) -> u64 {
        let sampling = self.batches_bytes.saturating_add(self.hashes_bytes);
        (self.base_bytes + self.sample_bytes).saturating_add(sampling.max(self.kmeans_bytes))
    }

    /// Peak while featurizing.
    pub fn featurize_bytes(&self) -> u64 {
        self.base_bytes + self.batches_bytes + self.words_bytes + self.sink_bytes
    }

    fn refusal(&self, needed: u64) -> Error {
        let largest = [
            (
                self.hashes_bytes,
                "the hashes of sampled patches; a lower sample.max_patches, or none, needs less",
            ),
            (
                self.kmeans_bytes,
                "k-means; a lower vocabulary.k, vocabulary.max_iter or run.threads needs less",
            ),
            (
                self.sink_bytes,
                "the features file being written; a lower vocabulary.k needs less",
            ),
            (
                self.words_bytes,
                "the words; a lower vocabulary.k or a smaller patch needs less",
            ),
        ];
        let (bytes, what) = largest
            .into_iter()
            .max_by_key(|&(bytes, _)| bytes)
            .unwrap_or_default();
        Error::setting(
            "run.memory",
            format!(
                "{} is not enough, the job needs {}",
                ByteSize(self.ceiling_bytes),
                ByteSize(needed)
            ),
            format!(
                "give at least {}MiB; most of it, {}, goes to {what}",
                needed.div_ceil(1 << 20),
                ByteSize(bytes)
            ),
        )
    }
}
