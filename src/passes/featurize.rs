//! The featurizing pass: source, decode, featurize, sink, over the shards that are not done yet.

use std::path::Path;

use crate::error::Result;
use crate::flow::{self, Pipeline};
use crate::kernel::encode::Lexicons;
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::manifest::FeaturesFile;
use crate::stages::decode::{self, DecodeParams, Fit};
use crate::stages::featurize::Featurizer;
use crate::stages::sink::Sink;
use crate::stages::source::{ImageCost, Source, SourceParams};

use super::plan::Plan;
use super::progress::{Phase, Watch};

/// Writes the features of some shards into `dir`. `provenance` is what a shard's file says of itself; `on_file` hears of
/// each file once it is whole.
pub fn featurize(
    plan: &Plan,
    vocabularies: &[Vocabulary],
    shards: &[usize],
    dir: &Path,
    provenance: impl Fn(usize) -> String,
    on_file: impl FnMut(usize, FeaturesFile) -> Result<()>,
    watch: Watch<'_>,
) -> Result<()> {
    let (job, input) = (&plan.job, &plan.input);
    let lexicons = Lexicons::new(vocabularies, &job.features, job.stride, plan.simd);
    let vector_bytes = (lexicons.n_values() * size_of::<f32>()) as u64;
    let mut source = Source::new(
        input,
        shards.iter().copied(),
        SourceParams {
            io: job.run.io,
            wanted: input.wanted(),
            every: 1,
            batch_bytes: plan.memory.batch_bytes,
            pages_bytes: plan.memory.pages_bytes,
            image_bytes: ImageCost::of_featurized,
            cost: ImageCost {
                sampling: job.sample,
                vector_bytes,
            },
        },
    );
    let decode_params = DecodeParams {
        every: 1,
        fit: Fit::of(job),
        on_bad_image: job.input.on_bad_image,
    };
    let mut sink = Sink::new(
        input,
        dir,
        lexicons.n_values(),
        plan.has_status(),
        provenance,
        on_file,
    );
    watch.progress.enter(Phase::Featurizing);
    let n_rows = shards.iter().map(|&shard| input.shards[shard].n_rows).sum();
    watch.progress.featurize.set_total(n_rows);
    flow::run(
        Pipeline {
            source: Box::new(|| source.next_batch()),
            first: Box::new(|| Box::new(|batch| decode::decode(batch, input, decode_params))),
            second: Box::new(|| {
                let mut worker = Featurizer::new(input, &lexicons, job.input.on_bad_image);
                Box::new(move |batch| worker.featurize(batch))
            }),
            fold: Box::new(|batch| sink.push(batch)),
        },
        plan.limits,
        &watch.progress.featurize,
        watch.interrupt,
    )
}
