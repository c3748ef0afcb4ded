//! The clustering passes: whole images, or vectors, are gathered; k-means; then every row gets its cluster.
//!
//! They come after the features, because vectors, labels and kept columns are read from the features files. A clustering
//! whose files are written is done: another run of the job, or of one with other clusterings, keeps it.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;

use crate::error::{Error, Result};
use crate::flow::{self, Pipeline};
use crate::job::{ClusterOf, Clustering, OnBadImage, resolved};
use crate::kernel::nearest::Words;
use crate::kernel::normalize::Normalize;
use crate::kernel::vocabulary::{Preparation, Vocabulary};
use crate::shard::clusters::write_cluster_centroids;
use crate::shard::manifest::{
    CLUSTERS_DIR, ClusterEntry, ClusterFiles, Evaluation, FORMAT, ManifestOutput, State,
};
use crate::shard::spill::Sample;
use crate::shard::whole;
use crate::stages::contingency::Contingency;
use crate::stages::decode::{self, DecodeParams, Fit};
use crate::stages::kmeans::{self, Learned};
use crate::stages::label::{ClusterSink, LabelSource, Labeller, Measurer};
use crate::stages::rows::{RowsParams, RowsSource, other_file};
use crate::stages::source::{ImageCost, Source, SourceParams, Stretch};
use crate::stages::whole::{WholeGather, images, n_distinct, vectors};

use super::checkpoint::{Keeper, ShardEnds};
use super::cluster_plan::{ClusterPlan, too_few_rows};
use super::learn::{self, restarts_log};
use super::plan::Plan;
use super::progress::{Event, Phase, Watch};
use super::run_dir::RunDir;

/// Makes every clustering of a job that is not done yet. Only then are those removed that the job does not ask for any
/// more, so that a clustering that cannot be made costs none of the old ones.
pub fn cluster(
    plan: &Plan,
    dir: &RunDir,
    state: &mut State,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<()> {
    if let Some(clusters) = &plan.clusters {
        make_pending(plan, clusters, dir, state, keeper, watch)?;
    }
    dir.keep_clusters(&plan.job.clusterings(), state)
}

fn make_pending(
    plan: &Plan,
    clusters: &ClusterPlan,
    dir: &RunDir,
    state: &mut State,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<()> {
    let pending: Vec<Clustering> = clusters
        .clusterings
        .iter()
        .filter(|clustering| !is_done(clustering, state))
        .copied()
        .collect();
    if pending.is_empty() {
        return Ok(());
    }
    whole::create_dir(&dir.path().join(CLUSTERS_DIR))?;
    let run = Clusterer {
        plan,
        clusters,
        dir: dir.path(),
        files: state
            .features
            .values()
            .map(|file| dir.path().join(&file.path))
            .collect(),
        n_rows: state.features.values().map(|file| file.rows).sum(),
        keeper,
        watch,
    };
    let counters = &watch.progress.label;
    counters.set_total(run.n_rows * pending.len() as u64);
    for of in ClusterOf::ALL {
        let mut same = pending
            .iter()
            .filter(|clustering| clustering.of == of)
            .peekable();
        if same.peek().is_none() {
            continue;
        }
        let sample = run.gather(of)?;
        for clustering in same {
            let files = run.cluster(clustering, &sample)?;
            (watch.on_event)(Event::Clusters {
                path: &files.entry.file,
                k: files.entry.k,
                inertia: files.entry.inertia,
                purity: files
                    .entry
                    .evaluation
                    .as_ref()
                    .map(|found| found.scores.purity),
            });
            state.clusters.push(files);
            state.write(dir.path())?;
        }
        keeper.clear()?;
    }
    Ok(())
}

/// Whether the files of a clustering are written.
fn is_done(clustering: &Clustering, state: &State) -> bool {
    let identity = resolved::clustering_identity(clustering);
    let mut done = state.clusters.iter();
    done.any(|files| files.entry.identity == identity)
}

/// What the passes of all clusterings share.
struct Clusterer<'a> {
    plan: &'a Plan,
    clusters: &'a ClusterPlan,
    dir: &'a Path,
    // Features files, in input order, and their rows.
    files: Vec<PathBuf>,
    n_rows: u64,
    keeper: &'a Keeper,
    watch: Watch<'a>,
}

impl Clusterer<'_> {
    /// Every good image, or its vector, in input order.
    fn gather(&self, of: ClusterOf) -> Result<Sample> {
        let (plan, watch) = (self.plan, self.watch);
        watch.progress.enter(Phase::Gathering);
        let counters = &watch.progress.whole;
        counters.set_total(counters.stages[0].done() + self.n_rows);
        let mut gather = WholeGather::new(
            &plan.input,
            self.clusters.shape(of),
            plan.memory.cluster_sample_bytes,
            self.dir,
        );
        match of {
            ClusterOf::Pixels => self.gather_pixels(&mut gather)?,
            ClusterOf::Features => self.gather_features(&mut gather)?,
        }
        gather.finish()
    }

    fn gather_pixels(&self, gather: &mut WholeGather<'_>) -> Result<()> {
        let (job, input) = (&self.plan.job, &self.plan.input);
        let what = ClusterOf::Pixels.name();
        let n_shards = input.shards.len();
        let (file, of) = self.keeper.sampling(what);
        let n_gathered = gather.go_on(&file, &of)?.min(n_shards);
        let mut source = Source::new(
            input,
            Stretch::of_shards(input, n_gathered..n_shards),
            SourceParams {
                io: job.run.io,
                wanted: input.wanted_image(),
                every: 1,
                batch_bytes: self.plan.memory.batch_bytes,
                pages_bytes: self.plan.memory.pages_bytes,
                image_bytes: ImageCost::of_featurized,
                cost: ImageCost {
                    sampling: job.sample,
                    vector_bytes: 0,
                },
            },
        );
        let decode_params = DecodeParams {
            every: 1,
            // What is a bad image for the features is one here, too.
            fit: Fit::of(job),
            on_bad_image: OnBadImage::Drop,
        };
        let mut ends = ShardEnds::new(self.keeper, what, n_gathered);
        let result = flow::run(
            Pipeline {
                source: Box::new(|| source.next_batch()),
                first: Box::new(|| Box::new(|batch| decode::decode(batch, input, decode_params))),
                second: Box::new(|| Box::new(|batch| Ok(images(batch)))),
                fold: Box::new(|batch| {
                    ends.reach(batch.shard, gather)?;
                    gather.push(batch)
                }),
            },
            self.plan.limits,
            &self.watch.progress.whole,
            self.watch.interrupt,
        );
        ends.end(result, gather)?;
        ends.reach(n_shards, gather)
    }

    fn gather_features(&self, gather: &mut WholeGather<'_>) -> Result<()> {
        // The vectors as they are read, and as images of one row.
        let row_bytes = 2 * (self.clusters.features.len() * size_of::<f32>()) as u64;
        let mut source = self.rows(vec!["features".to_owned()], row_bytes);
        flow::run(
            Pipeline {
                source: Box::new(|| source.next_batch()),
                first: Box::new(|| Box::new(Ok)),
                second: Box::new(|| Box::new(|batch| vectors(&batch))),
                fold: Box::new(|batch| gather.push(batch)),
            },
            self.plan.limits,
            &self.watch.progress.whole,
            self.watch.interrupt,
        )
    }

    fn rows(&self, columns: Vec<String>, row_bytes: u64) -> RowsSource {
        RowsSource::new(
            self.files.clone(),
            RowsParams {
                io: self.plan.job.run.io,
                columns,
                row_bytes,
                batch_bytes: self.plan.memory.batch_bytes,
            },
        )
    }

    /// Learns the centroids, labels every row, and writes both files.
    fn cluster(&self, clustering: &Clustering, sample: &Sample) -> Result<ClusterFiles> {
        let learned = self.learn(clustering, sample)?;
        let provenance = self.provenance(clustering, &learned.vocabulary);
        let [file, centroids] = ["", ".centroids"]
            .map(|kind| format!("{CLUSTERS_DIR}/{}{kind}.parquet", clustering.name()));
        let rows = self.label(clustering, sample, &learned.vocabulary, &file, &provenance)?;
        let (n_rows, written, counts) = rows;
        let centroids_file =
            write_cluster_centroids(&self.dir.join(&centroids), &learned.vocabulary, &provenance)?;
        let (evaluation, evaluation_note) = evaluation(&self.clusters.labels, counts);
        let shape = self
            .clusters
            .pixels
            .filter(|_| clustering.of == ClusterOf::Pixels);
        let params = &clustering.params;
        let counts = learned.vocabulary.counts.clone();
        Ok(ClusterFiles {
            files: [
                ManifestOutput {
                    path: file.clone(),
                    rows: n_rows,
                    file: written,
                },
                ManifestOutput {
                    path: centroids.clone(),
                    rows: params.k as u64,
                    file: centroids_file,
                },
            ],
            entry: ClusterEntry {
                of: clustering.of.name().to_owned(),
                k: params.k,
                file,
                centroids,
                algorithm: params.algorithm.name().to_owned(),
                n_init: params.n_init,
                height: shape.map(|shape| shape.height),
                width: shape.map(|shape| shape.width),
                dimensions: learned.vocabulary.d(),
                rows: counts.iter().sum(),
                inertia: learned.vocabulary.inertia.iter().sum(),
                counts,
                restarts: restarts_log(&learned),
                evaluation,
                evaluation_note,
                identity: resolved::clustering_identity(clustering),
            },
        })
    }

    fn learn(&self, clustering: &Clustering, sample: &Sample) -> Result<Learned> {
        let (watch, view) = (self.watch, sample.view());
        let params = &clustering.params;
        if view.n_patches() < params.k as u64 {
            return Err(kept(too_few_rows(clustering, view.n_patches())));
        }
        watch.progress.enter(Phase::Grouping);
        let what = resolved::clustering_identity(clustering);
        let counters = &watch.progress.clusters;
        counters.set_done(0);
        counters.set_total(params.n_init as u64);
        let preparation = Preparation {
            patch: view.patch(),
            normalize: Normalize::None,
            whiten: None,
        };
        let learned = flow::guarded(counters.name, None, || {
            let watch = kmeans::Watch {
                progress: &|at| learn::tell(at, counters, watch.progress),
                stop: &|| watch.interrupt.load(Relaxed),
                is_due: &|| self.keeper.is_due(),
                keep: &|at| self.keeper.keep_training(&what, at),
            };
            kmeans::learn(
                &view,
                preparation,
                params,
                self.plan.job.run.threads,
                self.plan.simd,
                self.keeper.training(&what),
                &watch,
            )
        });
        match learned {
            // k-means knows its input as patches, and its only complaint of them is that too few differ.
            Err(Error::Setting {
                key: "vocabulary.k",
                ..
            }) => {
                let n_distinct = n_distinct(&view, params.k);
                Err(kept(too_few_distinct(
                    clustering,
                    view.n_patches(),
                    n_distinct,
                )))
            }
            other => other,
        }
    }

    fn label(
        &self,
        clustering: &Clustering,
        sample: &Sample,
        centroids: &Vocabulary,
        file: &str,
        provenance: &str,
    ) -> Result<(u64, crate::shard::whole::WholeFile, Contingency)> {
        let (plan, watch) = (self.plan, self.watch);
        watch.progress.enter(Phase::Labelling);
        let view = sample.view();
        let words = Words::new(&centroids.centroids, view.patch(), plan.simd);
        let layout = &self.clusters.layout;
        let side = layout.side.fields().iter();
        let columns = side.map(|field| field.name().clone()).collect();
        let mut source = self.rows(columns, layout.row_bytes());
        let mut sink = ClusterSink::new(
            &self.dir.join(file),
            layout,
            provenance,
            clustering.params.k,
            self.clusters.labels.as_ref().ok(),
        )?;
        flow::run(
            Pipeline {
                source: Box::new(|| source.next_batch()),
                first: Box::new(|| {
                    let mut worker = Labeller::new(view, &words);
                    Box::new(move |batch| worker.label(batch))
                }),
                second: Box::new(|| {
                    let mut worker = Measurer::new(view, centroids);
                    Box::new(move |batch| Ok(worker.measure(batch)))
                }),
                fold: Box::new(|batch| sink.push(batch)),
            },
            plan.limits,
            &watch.progress.label,
            watch.interrupt,
        )?;
        if sink.n_clustered() != view.n_patches() {
            let last = self.files.last().map(PathBuf::as_path).unwrap_or(self.dir);
            return Err(other_file(last.into(), "n_patches"));
        }
        sink.finish()
    }

    /// What both files of a clustering say of themselves.
    fn provenance(&self, clustering: &Clustering, centroids: &Vocabulary) -> String {
        let patch = centroids.preparation.patch;
        let mut size = vec![patch.height, patch.width];
        size.extend((patch.channels > 1).then_some(patch.channels));
        let size = (clustering.of == ClusterOf::Pixels).then_some(size);
        let mut clusters = resolved::clustering_keys(clustering);
        let found = [
            ("image", json!(size)),
            ("dimensions", json!(centroids.d())),
            ("rows", json!(centroids.counts.iter().sum::<u64>())),
            ("inertia", json!(centroids.inertia.iter().sum::<f64>())),
        ];
        clusters.extend(found.map(|(key, value)| (key.to_owned(), value)));
        json!({
            "format": FORMAT,
            "bovw": env!("CARGO_PKG_VERSION"),
            "clusters": clusters,
            "job": resolved::identity_json(&self.plan.job),
        })
        .to_string()
    }
}

/// How clusters agree with labels, or why that is not known.
fn evaluation(
    labels: &Result<LabelSource, String>,
    counts: Contingency,
) -> (Option<Evaluation>, Option<String>) {
    let source = match labels {
        Ok(source) => source,
        Err(note) => return (None, Some(note.clone())),
    };
    let counted = match counts.finish(source.names.as_deref()) {
        Ok(counted) => counted,
        Err(note) => return (None, Some(note)),
    };
    let Some(scores) = counted.confusion.scores() else {
        let note = format!("no row has a label in the column \"{}\"", source.column);
        return (None, Some(note));
    };
    let evaluation = Evaluation {
        label: source.column.clone(),
        n_labelled: counted.confusion.total(),
        n_unlabelled: counted.n_unlabelled,
        labels: counted.labels,
        confusion: counted.confusion.rows().map(<[u64]>::to_vec).collect(),
        scores,
    };
    (Some(evaluation), None)
}

fn too_few_distinct(clustering: &Clustering, n_rows: u64, n_distinct: usize) -> Error {
    Error::setting(
        "cluster.k",
        format!(
            "{} clusters of {} cannot be made of {n_rows} images, of which only {n_distinct} differ",
            clustering.params.k,
            clustering.of.name()
        ),
        "lower k in [[cluster]]",
    )
}

/// The same refusal, which also says that nothing is lost.
fn kept(error: Error) -> Error {
    match error {
        Error::Setting { key, message, help } => Error::Setting {
            key,
            message,
            help: help.map(|help| {
                format!("{help} and run the job again; the vocabulary and the features are finished and stay")
            }),
        },
        other => other,
    }
}
