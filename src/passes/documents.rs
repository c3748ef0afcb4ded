//! The counting pass, for tf-idf alone: source, decode, documents. Streams all images once, between learning and featurizing.

use crate::error::Result;
use crate::flow::{self, Pipeline};
use crate::job::OnBadImage;
use crate::kernel::encode::{Lexicons, Recipe};
use crate::kernel::vocabulary::{Documents, Vocabulary};
use crate::stages::decode::{self, DecodeParams, Fit};
use crate::stages::documents::{self, Counter};
use crate::stages::source::{ImageCost, Source, SourceParams, Stretch};

use super::plan::Plan;
use super::progress::{Phase, Watch};

/// In how many of the images in parts of the job's inputs each word of each vocabulary occurs.
pub fn count(
    plan: &Plan,
    vocabularies: &[Vocabulary],
    stretches: Vec<Stretch>,
    watch: Watch<'_>,
) -> Result<Vec<Documents>> {
    let (job, input) = (&plan.job, &plan.input);
    let counts = Recipe::counts();
    let lexicons = Lexicons::new(vocabularies, &counts, job.stride, plan.simd);
    watch.progress.enter(Phase::CountingWords);
    let n_before = watch.progress.documents.stages[0].done();
    let n_rows = Stretch::rows(&stretches);
    watch.progress.documents.set_total(n_before + n_rows);
    let mut source = Source::new(
        input,
        stretches,
        SourceParams {
            io: job.run.io,
            wanted: input.wanted_image(),
            every: 1,
            batch_bytes: plan.memory.batch_bytes,
            pages_bytes: plan.memory.pages_bytes,
            image_bytes: ImageCost::of_featurized,
            cost: ImageCost {
                sampling: job.sample,
                vector_bytes: (lexicons.n_values() * size_of::<u64>()) as u64,
            },
        },
    );
    let decode_params = DecodeParams {
        every: 1,
        fit: Fit::of(job),
        on_bad_image: match job.input.on_bad_image {
            OnBadImage::Fail => OnBadImage::Fail,
            // The featurizing pass tells of them.
            OnBadImage::Zero | OnBadImage::Drop => OnBadImage::Drop,
        },
    };
    let mut all = documents::none(lexicons.n_values());
    flow::run(
        Pipeline {
            source: Box::new(|| source.next_batch()),
            first: Box::new(|| Box::new(|batch| decode::decode(batch, input, decode_params))),
            second: Box::new(|| {
                let mut worker = Counter::new(&lexicons);
                Box::new(move |batch| Ok(worker.count(batch)))
            }),
            fold: Box::new(|batch| {
                documents::add(&mut all, &batch);
                Ok(())
            }),
        },
        plan.limits,
        &watch.progress.documents,
        watch.interrupt,
    )?;
    Ok(documents::split(
        &all,
        vocabularies.iter().map(Vocabulary::k),
    ))
}
