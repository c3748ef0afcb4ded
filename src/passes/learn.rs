//! The learning pass, once for each size of patches: source, decode, sample, gather; then k-means over what was gathered,
//! prepared first where patches have scalings of their own or are whitened.
//!
//! Gathering and learning know nothing of each other: tasks gather elsewhere, and their samples are learned from here.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::{Error, Result};
use crate::flow::{self, Pipeline, StageStats};
use crate::job::OnBadImage;
use crate::kernel::kmeans::KMeansParams;
use crate::shard::examples::PatchExamples;
use crate::shard::manifest::{RestartEntry, sized_name};
use crate::shard::spill::Sample;
use crate::stages::decode::{self, DecodeParams, Fit};
use crate::stages::examples;
use crate::stages::gather::Gather;
use crate::stages::kmeans::{self, Learned};
use crate::stages::prepare::Values;
use crate::stages::sample::{self, SampleBatch, SampleParams};
use crate::stages::source::{ImageCost, Source, SourceParams, Stretch};

use super::checkpoint::{Keeper, ShardEnds};
use super::plan::Plan;
use super::progress::{Event, Phase, Progress, Watch};

/// What checkpoints of this pass are called, where there is one size of patches.
const CHECKPOINT: &str = "vocabulary";

/// Learns the words of a job for its size `at` from a sample of such patches, and keeps some of them to be looked at; what
/// is prepared of it may be spilled into `dir`. Goes on from what `keeper` kept of an interrupted run.
pub fn learn(
    plan: &Plan,
    at: usize,
    params: &KMeansParams,
    sample: &Sample,
    dir: &Path,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<(Learned, PatchExamples)> {
    let preparation = plan.job.preparations[at];
    let checkpoint = &checkpoint_name(plan, at);
    let view = sample.view();
    (watch.on_event)(Event::Sampled {
        images: view.n_records() as u64,
        patches: view.n_patches(),
        heap_bytes: sample.heap_bytes(),
    });
    if view.n_patches() == 0 {
        return Err(Error::Data {
            message: format!(
                "none of the {} images that were sampled gave a patch",
                plan.n_sampled_images()
            ),
            help: Some(
                "input.on_bad_image = \"fail\" shows what is wrong with the first; sample.per_image may be too small a share"
                    .to_owned(),
            ),
        });
    }
    watch.progress.enter(Phase::Clustering);
    let stop = || watch.interrupt.load(Relaxed);
    let job = &plan.job;
    watch.progress.set_note("preparing the patches".to_owned());
    let (threads, heap) = (job.run.threads, plan.memory.prepared_bytes);
    let prepared = flow::guarded("prepare", None, || {
        Values::new(&view, &preparation, threads, heap, dir, &stop)
    })?;
    let values = prepared.view(view);
    let stats = &watch.progress.kmeans;
    stats.set_total(params.n_init as u64);
    watch
        .progress
        .set_note("choosing the first words".to_owned());
    flow::guarded(stats.name, None, || {
        let mut learned = kmeans::learn(
            &values,
            prepared.preparation(),
            params,
            plan.job.run.threads,
            plan.simd,
            keeper.training(checkpoint),
            &kmeans::Watch {
                progress: &|at| tell(at, stats, watch.progress),
                stop: &stop,
                is_due: &|| keeper.is_due(),
                keep: &|at| keeper.keep_training(checkpoint, at),
            },
        )?;
        let seed = plan.job.run.seed;
        let kept = examples::patches(&view, &values, &learned.vocabulary, plan.simd, seed);
        prepared.to_patches(&mut learned.vocabulary);
        Ok((learned, kept))
    })
}

/// Passes on how far k-means is, counting its restarts in `stage`.
pub(crate) fn tell(at: kmeans::Progress, stage: &StageStats, progress: &Progress) {
    // How many passes a restart takes is known only when it stands still.
    stage.set_total(at.n_init as u64);
    stage.set_done(at.restart as u64);
    progress.set_note(format!(
        "{:.1} of at most {} passes, inertia {:.4} a patch",
        at.passes, at.max_iter, at.inertia_per_patch
    ));
}

/// How every restart went, for manifests.
pub(super) fn restarts_log(learned: &Learned) -> Vec<RestartEntry> {
    let restarts = learned.restarts.iter().enumerate();
    let entries = restarts.map(|(at, restart)| RestartEntry {
        init_inertia: restart.init_inertia,
        inertia: restart.inertia.clone(),
        steps: restart.n_steps as u64,
        passes: restart.passes,
        converged: restart.converged,
        reseeded: restart.reseeded as u64,
        final_inertia: restart.final_inertia,
        kept: at == learned.kept,
    });
    entries.collect()
}

/// What checkpoints of the size `at` are called.
fn checkpoint_name(plan: &Plan, at: usize) -> String {
    let sizes = &plan.job.preparations;
    sized_name(CHECKPOINT, sizes[at].patch, sizes.len())
}

/// An empty sample of patches of the size `at`, within the job's limit and memory; it may be spilled into `dir`.
pub fn empty_sample(plan: &Plan, at: usize, dir: &Path) -> Gather {
    let (patch, max_patches) = (plan.job.preparations[at].patch, plan.job.sample.max_patches);
    Gather::new(patch, max_patches, plan.memory.sample_bytes, dir)
}

/// Streams the inputs once and keeps the sampled patches of the size `at`; they may be spilled into `dir`. Goes on from
/// what `keeper` kept of an interrupted run.
pub fn gather(
    plan: &Plan,
    at: usize,
    dir: &Path,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<Sample> {
    let input = &plan.input;
    let n_shards = input.shards.len();
    let mut gather = empty_sample(plan, at, dir);
    let checkpoint = &checkpoint_name(plan, at);
    let (file, of) = keeper.sampling(checkpoint);
    let n_gathered = gather.go_on(&file, &of)?.min(n_shards);
    let stretches = Stretch::of_shards(input, n_gathered..n_shards);
    let mut ends = ShardEnds::new(keeper, checkpoint, n_gathered);
    let result = sample_stretches(plan, at, stretches, watch, |batch| {
        ends.reach(batch.shard, &mut gather)?;
        gather.push(batch)
    });
    ends.end(result, &mut gather)?;
    ends.reach(n_shards, &mut gather)?;
    gather.finish()
}

/// Samples patches of the size `at` from parts of the inputs, and gives them to `fold` in order.
pub fn sample_stretches(
    plan: &Plan,
    at: usize,
    stretches: Vec<Stretch>,
    watch: Watch<'_>,
    fold: impl FnMut(SampleBatch) -> Result<()> + Send,
) -> Result<()> {
    let (job, input) = (&plan.job, &plan.input);
    watch.progress.enter(Phase::Sampling);
    // What was sampled for other sizes, or by other tasks, is counted as well.
    let n_before = watch.progress.learn.stages[0].done();
    let n_rows = Stretch::rows(&stretches);
    watch.progress.learn.set_total(n_before + n_rows);
    let mut source = Source::new(
        input,
        stretches,
        SourceParams {
            io: job.run.io,
            wanted: input.wanted_image(),
            every: job.sample.every,
            batch_bytes: plan.memory.batch_bytes,
            pages_bytes: plan.memory.pages_bytes,
            image_bytes: ImageCost::of_sampled,
            cost: ImageCost {
                sampling: job.sample,
                vector_bytes: 0,
            },
        },
    );
    let decode_params = DecodeParams {
        every: job.sample.every,
        fit: Fit::of(job),
        on_bad_image: match job.input.on_bad_image {
            OnBadImage::Fail => OnBadImage::Fail,
            // Bad images have no patches; the featurizing pass counts them.
            OnBadImage::Zero | OnBadImage::Drop => OnBadImage::Drop,
        },
    };
    let sample_params = SampleParams {
        preparation: job.preparations[at],
        stride: job.stride,
        sampling: job.sample,
        seed: job.run.seed,
    };
    flow::run(
        Pipeline {
            source: Box::new(|| source.next_batch()),
            first: Box::new(|| Box::new(|batch| decode::decode(batch, input, decode_params))),
            second: Box::new(|| Box::new(|batch| Ok(sample::sample(batch, &sample_params)))),
            fold: Box::new(fold),
        },
        plan.limits,
        &watch.progress.learn,
        watch.interrupt,
    )
}
