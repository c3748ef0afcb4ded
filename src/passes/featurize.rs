//! The featurizing pass: source, decode, featurize, sink, over what is not done yet; and what its files say of themselves.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::flow::{self, Pipeline};
use crate::job::resolved;
use crate::kernel::encode::Lexicons;
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::each::Each;
use crate::shard::manifest::{FORMAT, FeaturesFile};
use crate::shard::whole::WholeFile;
use crate::stages::decode::{self, DecodeParams, Fit};
use crate::stages::featurize::Featurizer;
use crate::stages::sink::{Sink, SinkFiles};
use crate::stages::source::{ImageCost, Source, SourceParams, Stretch};

use super::plan::Plan;
use super::progress::{Phase, Watch};

/// Writes the features of parts of the inputs, a file each, where `files` of a folder says. `provenance` is what a shard's
/// file says of itself; `on_file` hears of each file once it is whole.
pub fn featurize(
    plan: &Plan,
    vocabularies: &[Vocabulary],
    stretches: Vec<Stretch>,
    files: (&Path, &dyn Fn(usize) -> SinkFiles),
    provenance: impl Fn(usize) -> String,
    on_file: impl FnMut(usize, FeaturesFile) -> Result<()>,
    watch: Watch<'_>,
) -> Result<()> {
    let (job, input) = (&plan.job, &plan.input);
    let lexicons = Lexicons::new(vocabularies, &job.features, job.stride, plan.simd);
    let vector_bytes = (lexicons.n_values() * size_of::<f32>()) as u64;
    let mut source = Source::new(
        input,
        stretches.iter().cloned(),
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
    watch.progress.enter(Phase::Featurizing);
    let n_before = watch.progress.featurize.stages[0].done();
    let n_rows = Stretch::rows(&stretches);
    watch.progress.featurize.set_total(n_before + n_rows);
    let mut sink = Sink::new(
        input,
        stretches,
        files,
        (lexicons.n_values(), plan.has_status()),
        provenance,
        on_file,
    );
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

/// What the features file of a shard says of itself; `words` are the vocabularies' files.
pub fn provenance<'p>(plan: &'p Plan, words: &[WholeFile]) -> impl Fn(usize) -> String + use<'p> {
    let job = resolved::identity_json(&plan.job);
    let mut features = job["features"].clone();
    features["length"] = plan.n_values.into();
    let words = words_provenance(plan, words);
    move |shard| {
        let input = &plan.input.shards[shard];
        json!({
            "format": FORMAT,
            "bovw": env!("CARGO_PKG_VERSION"),
            "job": job,
            "vocabulary": words,
            "input": {"name": file_name(&input.path), "size_bytes": input.fingerprint.size_bytes, "rows": input.n_rows},
            "features": features,
        })
        .to_string()
    }
}

/// Which words vectors are of.
fn words_provenance(plan: &Plan, words: &[WholeFile]) -> Value {
    let words = plan.ks.iter().zip(words).enumerate();
    let words: Each<Value> = words
        .map(|(at, (k, file))| match plan.ks.len() {
            1 => json!({"k": k, "blake3": file.blake3}),
            _ => json!({"size": size_json(plan, at), "k": k, "blake3": file.blake3}),
        })
        .collect();
    json!(words)
}

/// The size `at` of a job's patches: height and width.
pub(super) fn size_json(plan: &Plan, at: usize) -> Value {
    let patch = plan.job.preparations[at].patch;
    json!([patch.height, patch.width])
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
