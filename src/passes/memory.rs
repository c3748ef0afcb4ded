//! How `run.memory` is divided, before anything is read. What cannot fit is refused here, with what to change.
//!
//! Heap only: mapped pages belong to the system, which takes them back when it likes.

use bytesize::ByteSize;

use crate::container::MemoryLimit;
use crate::error::{Error, Result};
use crate::job::{Job, VocabularySource};
use crate::kernel::encode::{Encoder, Lexicon, Recipe};
use crate::kernel::vocabulary::Preparation;
use crate::report;
use crate::shard::page_need::PageNeed;
use crate::stages::examples;
use crate::stages::kmeans;
use crate::stages::prepare;

use super::cluster_plan::ClusterNeeds;

/// What the process takes before any data: code's own data, stacks, footers, read buffers.
const BASE_BYTES: u64 = 10 << 20;

/// All batches in flight, at least: a few small ones.
const MIN_BATCHES_BYTES: u64 = 2 << 20;

/// One batch, at most: large enough to be worth handing over, small enough to stay in the cache.
const MAX_BATCH_BYTES: u64 = 1 << 20;

/// The sample in memory, at least; more of it goes to a mapped file.
const MIN_SAMPLE_BYTES: u64 = 1 << 20;

/// For each patch of `sample.max_patches`: the hashes of twice as many while they grow, and a copy to find the cut.
const HASH_BYTES: u64 = 64;

/// Share of what is free that goes to batches in flight: so much may one large image take.
const BATCHES_SHARE: u64 = 2;

/// Pages of features files, decompressed, while they are clustered: two of a MiB, and their dictionary.
const FEATURES_PAGES_BYTES: u64 = 3 << 20;

/// Which part of a job a process does: what it does not do needs no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// All of it.
    Whole,
    /// Sampling; the words are learned elsewhere.
    Sample,
    /// Counting in how many images words occur.
    Documents,
    /// Featurizing.
    Featurize,
}

/// The division.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// The ceiling that was asked for.
    pub ceiling_bytes: u64,
    /// The process itself.
    pub base_bytes: u64,
    /// All batches in flight.
    pub batches_bytes: u64,
    /// One batch.
    pub batch_bytes: u64,
    /// Pages that are decompressed, or read, before their rows are in batches; 0 where all are read in place.
    pub pages_bytes: u64,
    /// The sample, before it goes to a mapped file; 0 without learning.
    pub sample_bytes: u64,
    /// Hashes of the sampled patches; 0 without `sample.max_patches`.
    pub hashes_bytes: u64,
    /// Prepared patches, before they go to a mapped file; 0 where k-means takes the sample as it is.
    pub prepared_bytes: u64,
    /// Making them, and the whitening; 0 as well.
    pub prepare_bytes: u64,
    /// k-means beside the sample; 0 without learning.
    pub kmeans_bytes: u64,
    /// Words and scratch of the featurizing workers.
    pub words_bytes: u64,
    /// The features file that is being written.
    pub sink_bytes: u64,
    /// Whole images or vectors, before they go to a mapped file; 0 without clusterings, as all that follow.
    pub cluster_sample_bytes: u64,
    /// Images on their way into that sample.
    pub cluster_group_bytes: u64,
    /// k-means of whole images.
    pub cluster_kmeans_bytes: u64,
    /// Labelling: centroids, workers, the file being written, labels counted against clusters.
    pub cluster_label_bytes: u64,
    /// The pictures and the report, in the end.
    pub report_bytes: u64,
}

/// What a job's inputs and outputs need.
#[derive(Debug, Clone)]
pub struct Needs<'a> {
    /// What is done.
    pub work: Work,
    /// Words of each vocabulary.
    pub ks: &'a [usize],
    /// Sampled patches of one size that there can be, as far as the first image tells.
    pub n_hashes: u64,
    /// Most batches that the pipeline holds.
    pub max_in_flight: usize,
    /// What reading pages of the inputs takes.
    pub pages: &'a PageNeed,
    /// Heap bytes of the largest features file while it is written.
    pub sink_bytes: u64,
    /// What the clusterings need, if there are any.
    pub clusters: Option<ClusterNeeds>,
}

impl MemoryPlan {
    /// Divides a job's memory.
    ///
    /// # Errors
    /// The ceiling is too low for the job.
    pub fn new(job: &Job, needs: &Needs<'_>) -> Result<MemoryPlan> {
        let ceiling_bytes = job.run.memory_bytes;
        let sizes = || needs.ks.iter().copied().zip(&job.preparations);
        // One vocabulary is learned after the other; all are used at once.
        let most = |bytes: &dyn Fn(usize, &Preparation) -> u64| {
            sizes().map(|(k, one)| bytes(k, one)).max().unwrap_or(0)
        };
        let work = needs.work;
        let kmeans_bytes = match &job.vocabulary {
            VocabularySource::Learn(params) if work == Work::Whole => most(&|k, preparation| {
                let shape = match preparation.is_by_image() {
                    true => preparation.patch,
                    false => prepare::as_values(preparation.patch.len()).patch,
                };
                kmeans::heap_bytes(k, shape, params, job.run.threads)
            }),
            VocabularySource::Learn(_) | VocabularySource::From(_) => 0,
        };
        let is_prepared = kmeans_bytes > 0 && !job.is_by_image();
        let is_sampled = matches!(job.vocabulary, VocabularySource::Learn(_))
            && matches!(work, Work::Whole | Work::Sample);
        let clusters = needs.clusters.unwrap_or_default();
        let mut plan = MemoryPlan {
            ceiling_bytes,
            base_bytes: BASE_BYTES,
            batches_bytes: MIN_BATCHES_BYTES,
            batch_bytes: 0,
            pages_bytes: pages_bytes(needs),
            sample_bytes: if is_sampled { MIN_SAMPLE_BYTES } else { 0 },
            hashes_bytes: match job.sample.max_patches {
                Some(max_patches) if is_sampled => {
                    max_patches.min(needs.n_hashes).saturating_mul(HASH_BYTES)
                }
                _ => 0,
            },
            prepared_bytes: if is_prepared { MIN_SAMPLE_BYTES } else { 0 },
            prepare_bytes: match is_prepared {
                true => most(&|_, preparation| prepare::heap_bytes(preparation, job.run.threads)),
                false => 0,
            },
            kmeans_bytes,
            words_bytes: match work {
                Work::Sample => 0,
                Work::Whole | Work::Documents | Work::Featurize => words_bytes(job, needs.ks),
            },
            sink_bytes: match work {
                Work::Sample | Work::Documents => 0,
                Work::Whole | Work::Featurize => needs.sink_bytes,
            },
            cluster_sample_bytes: needs.clusters.map_or(0, |_| MIN_SAMPLE_BYTES),
            cluster_group_bytes: clusters.group_bytes,
            cluster_kmeans_bytes: clusters.kmeans_bytes,
            cluster_label_bytes: clusters.label_bytes,
            report_bytes: match work {
                Work::Whole => report_bytes(job, needs.ks),
                Work::Sample | Work::Documents | Work::Featurize => 0,
            },
        };
        let needed = plan
            .learn_bytes()
            .max(plan.featurize_bytes())
            .max(plan.cluster_bytes())
            .max(plan.base_bytes + plan.report_bytes);
        if needed > ceiling_bytes {
            return Err(plan.refusal(needed, needs.pages, job.run.share_of.as_ref()));
        }
        // k-means comes after the batches and may have their room.
        let sampling = plan.base_bytes + plan.pages_bytes + plan.sample_bytes + plan.hashes_bytes;
        let clustering = plan.base_bytes
            + plan.pages_bytes
            + plan.cluster_sample_bytes
            + plan.cluster_group_bytes.max(plan.cluster_label_bytes);
        let others = plan.featurize_bytes() - MIN_BATCHES_BYTES;
        let free_bytes = ceiling_bytes - sampling.max(others).max(clustering);
        plan.batches_bytes = (free_bytes / BATCHES_SHARE).max(MIN_BATCHES_BYTES);
        plan.batch_bytes = (plan.batches_bytes / needs.max_in_flight as u64).min(MAX_BATCH_BYTES);
        if is_sampled {
            let free_bytes = ceiling_bytes - plan.learn_bytes();
            if is_prepared {
                plan.prepared_bytes += free_bytes / 2;
                plan.sample_bytes += free_bytes / 2;
            } else {
                plan.sample_bytes += free_bytes;
            }
        }
        if needs.clusters.is_some() {
            plan.cluster_sample_bytes = ceiling_bytes - plan.cluster_bytes() + MIN_SAMPLE_BYTES;
        }
        Ok(plan)
    }

    /// Peak while sampling and learning: the sample, and batches and hashes first, k-means afterwards.
    pub fn learn_bytes(&self) -> u64 {
        let sampling = self
            .batches_bytes
            .saturating_add(self.hashes_bytes)
            .saturating_add(self.pages_bytes);
        let learning = self.kmeans_bytes.max(self.prepare_bytes);
        (self.base_bytes + self.sample_bytes + self.prepared_bytes)
            .saturating_add(sampling.max(learning))
    }

    /// Peak while featurizing.
    pub fn featurize_bytes(&self) -> u64 {
        let others = self.base_bytes + self.batches_bytes + self.words_bytes + self.sink_bytes;
        others.saturating_add(self.pages_bytes)
    }

    /// Peak while clustering whole images, 0 without: the sample, and batches first, k-means, then batches again.
    pub fn cluster_bytes(&self) -> u64 {
        if self.cluster_sample_bytes == 0 {
            return 0;
        }
        let passes = (self.batches_bytes + self.pages_bytes)
            .saturating_add(self.cluster_group_bytes.max(self.cluster_label_bytes));
        (self.base_bytes + self.cluster_sample_bytes)
            .saturating_add(passes.max(self.cluster_kmeans_bytes))
    }

    fn refusal(&self, needed: u64, pages: &PageNeed, share_of: Option<&MemoryLimit>) -> Error {
        let pages_text = match &pages.largest {
            Some((place, page_bytes)) => format!(
                "pages of the input, up to {} each in {place}; a file that is written with smaller pages needs less",
                ByteSize(*page_bytes)
            ),
            None => {
                "pages of the input; files that are written with smaller pages need less".to_owned()
            }
        };
        let largest = [
            (self.pages_bytes, pages_text.as_str()),
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
                "the features file being written; a lower vocabulary.k or fewer cells need less",
            ),
            (
                self.report_bytes,
                "the report; a lower vocabulary.k or a smaller patch needs less",
            ),
            (
                self.words_bytes,
                "the words; a lower vocabulary.k, fewer cells or a smaller patch need less",
            ),
            (self.prepare_bytes, "whitening; smaller patches need less"),
            (
                self.cluster_kmeans_bytes,
                "k-means of [[cluster]]; a lower k or fewer run.threads need less, pixels of smaller images too",
            ),
            (
                self.cluster_label_bytes,
                "the centroids of [[cluster]] and the labels they are held against; a lower k needs less",
            ),
        ];
        let (bytes, what) = largest
            .into_iter()
            .max_by_key(|&(bytes, _)| bytes)
            .unwrap_or_default();
        let share = share_of.map_or(String::new(), |limit| {
            format!(", of the {} that the container has,", ByteSize(limit.bytes))
        });
        Error::setting(
            "run.memory",
            format!(
                "{}{share} is not enough, the job needs {}",
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

/// Words and workers of the featurizing pass, or of the one that counts words for it.
fn words_bytes(job: &Job, ks: &[usize]) -> u64 {
    let threads = job.run.threads as u64;
    let of = |recipe: &Recipe| -> u64 {
        let sizes = ks.iter().zip(&job.preparations);
        let bytes = sizes.map(|(&k, preparation)| {
            // The vectors of several vocabularies are put together.
            let together = match ks.len() {
                1 => 0,
                _ => size_of::<f32>() * recipe.n_values(k, preparation.patch.len()),
            };
            Lexicon::heap_bytes(k, preparation, recipe)
                + threads * (Encoder::heap_bytes(k, preparation, recipe) + 2 * together as u64)
        });
        bytes.sum()
    };
    match job.features.needs_documents() {
        true => of(&job.features).max(of(&Recipe::counts())),
        false => of(&job.features),
    }
}

/// Words, kept patches and pictures of all sizes.
fn report_bytes(job: &Job, ks: &[usize]) -> u64 {
    let patches = || job.preparations.iter().map(|one| one.patch);
    let words = ks.iter().zip(patches());
    let examples: u64 = patches().map(examples::heap_bytes).sum();
    report::heap_bytes(words.map(|(&k, patch)| (k, patch.len()))) + examples
}

fn pages_bytes(needs: &Needs<'_>) -> u64 {
    match needs.clusters {
        Some(_) => needs.pages.heap_bytes.max(FEATURES_PAGES_BYTES),
        None => needs.pages.heap_bytes,
    }
}
