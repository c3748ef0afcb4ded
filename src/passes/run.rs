//! A whole run: plan, learn, featurize, cluster, manifest. What is finished is kept, whatever happens next.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::flow;
use crate::job::{Job, MaxBad, VocabularySource, resolved};
use crate::kernel::kmeans::KMeansParams;
use crate::kernel::vocabulary::{Documents, Vocabulary};
use crate::report::{self, Drawn, REPORT_FILE};
use crate::shard::examples::{patches_file, write_patches};
use crate::shard::journal::Journal;
use crate::shard::manifest::{
    BAD_IMAGES_DIR, Columns, Counts, FORMAT, FeaturesFile, InputCounts, Manifest, ManifestBadImage,
    ManifestInput, ManifestOutput, State, Tally, vocabulary_files,
};
use crate::shard::spill::Sample;
use crate::shard::timeline::write as write_timeline;
use crate::shard::vocabulary;
use crate::stages::kmeans::Learned;
use crate::stages::sink::SinkFiles;
use crate::stages::source::Stretch;

use super::checkpoint::Keeper;
use super::cluster::cluster;
use super::documents;
use super::examples::keep_images;
use super::featurize::{featurize, provenance, size_json};
use super::learn::{self, restarts_log};
use super::plan::Plan;
use super::progress::{Event, Phase, Watch};
use super::run_dir::{Found, RunDir};
use super::timeline;

/// How often the state is written while features files are finished.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was done, as it is in the run's directory.
    pub manifest: Manifest,
    /// Whether all of it had been done before.
    pub was_done: bool,
    /// The report, or why it could not be drawn; the results are whole all the same. `None`: it was there already.
    pub report: Option<Result<Drawn>>,
}

/// Runs a job to its end, or continues an interrupted run of it; `fresh` starts over.
///
/// # Errors
/// See [`Error`]. After [`Error::TooManyBad`] all outputs are there; after any other, those that were finished.
pub fn run(job: &Job, fresh: bool, watch: Watch<'_>) -> Result<Outcome> {
    let start = Instant::now();
    watch.progress.enter(Phase::Opening);
    let plan = Plan::new(job)?;
    let (dir, found) = RunDir::open(&plan, fresh)?;
    go_on(job, &plan, &dir, found, start, watch)
}

/// Goes on from what was found in a run's directory, to the run's end; it began at `start`.
pub(super) fn go_on(
    job: &Job,
    plan: &Plan,
    dir: &RunDir,
    found: Found,
    start: Instant,
    watch: Watch<'_>,
) -> Result<Outcome> {
    let mut state = match found {
        Found::Done(manifest) => {
            let is_drawn = dir.path().join(REPORT_FILE).is_file();
            let report = (!is_drawn).then(|| draw(dir));
            check_bad(job, &manifest)?;
            return Ok(Outcome {
                manifest: *manifest,
                was_done: true,
                report,
            });
        }
        Found::State(state) => *state,
    };
    (watch.on_event)(Event::Started {
        shards: plan.input.shards.len(),
        images: plan.input.n_rows(),
        finished: state.features.len(),
    });

    let every = Duration::from_secs(job.run.checkpoint_seconds);
    let keeper = Keeper::new(dir.path(), &state.identity, every);
    let (passed, timeline) = timeline::record(watch.progress, || {
        let result = passes(plan, dir, &mut state, &keeper, watch);
        watch.progress.enter(Phase::Done);
        result
    });
    let passed = passed?;

    let mut kept: Vec<ManifestOutput> = std::mem::take(&mut *state.patches);
    kept.push(keep_images(plan, dir.path())?);
    kept.push(write_timeline(dir.path(), &timeline)?);
    let timings = json!({
        "job_dir": job_dir(plan),
        "seconds": start.elapsed().as_secs_f64(),
        "learn_seconds": passed.learn_seconds,
        "documents_seconds": passed.documents_seconds,
        "featurize_seconds": passed.featurize_seconds,
        "cluster_seconds": passed.cluster_seconds,
        "checkpoint_seconds": keeper.seconds(),
        "threads": job.run.threads,
        "simd": plan.simd.name(),
        "stages": stage_timings(watch),
        "memory": plan.memory,
        "process": watch.progress.memory(),
    });
    let manifest = manifest(plan, &passed.vocabularies, state, kept, timings);
    dir.finish(&manifest)?;
    let report = draw(dir);
    check_bad(job, &manifest)?;
    Ok(Outcome {
        manifest,
        was_done: false,
        report: Some(report),
    })
}

/// Draws the report. Its failure is told beside the results, never instead of them.
fn draw(dir: &RunDir) -> Result<Drawn> {
    flow::guarded("report", None, || report::draw(dir.path()))
}

/// What the passes gave, and how long they took.
struct Passed {
    vocabularies: Vec<Vocabulary>,
    learn_seconds: f64,
    documents_seconds: f64,
    featurize_seconds: f64,
    cluster_seconds: f64,
}

fn passes(
    plan: &Plan,
    dir: &RunDir,
    state: &mut State,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<Passed> {
    let start = Instant::now();
    let gather = |at| learn::gather(plan, at, dir.path(), keeper, watch);
    let mut vocabularies = obtain_vocabularies(plan, dir, state, keeper, &gather, watch)?;
    let learn_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    if needs_counting(plan, &vocabularies) {
        let stretches = Stretch::of_shards(&plan.input, 0..plan.input.shards.len());
        let counted = documents::count(plan, &vocabularies, stretches, watch)?;
        note_documents(plan, &mut vocabularies, counted, dir, state)?;
    }
    let documents_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    write_features(plan, &vocabularies, dir, state, watch)?;
    let featurize_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    cluster(plan, dir, state, keeper, watch)?;
    Ok(Passed {
        vocabularies,
        learn_seconds,
        documents_seconds,
        featurize_seconds,
        cluster_seconds: start.elapsed().as_secs_f64(),
    })
}

/// The vocabularies, one after the other: those that an interrupted run has written, those that the job names, or new ones,
/// of whose size `gather` gives the sample.
pub(super) fn obtain_vocabularies(
    plan: &Plan,
    dir: &RunDir,
    state: &mut State,
    keeper: &Keeper,
    gather: &dyn Fn(usize) -> Result<Sample>,
    watch: Watch<'_>,
) -> Result<Vec<Vocabulary>> {
    let mut vocabularies = Vec::new();
    for (at, name) in vocabulary_files(&plan.job.patches()).iter().enumerate() {
        let path = dir.path().join(name);
        if at < state.vocabulary.len() {
            vocabularies.push(vocabulary::read(&path)?.0);
            continue;
        }
        // From here on the directory is this job's, even if the run is cut off.
        state.write(dir.path())?;
        let vocabulary = match (&plan.job.vocabulary, plan.vocabularies.get(at)) {
            (VocabularySource::Learn(params), _) => {
                let sample = gather(at)?;
                learn_one(plan, at, params, &sample, dir, state, keeper, watch)?
            }
            (VocabularySource::From(_), Some(vocabulary)) => vocabulary.clone(),
            (VocabularySource::From(_), None) => unreachable!("the plan read it"),
        };
        let file = vocabulary::write(&path, &vocabulary, &resolved::identity_json(&plan.job))?;
        (watch.on_event)(Event::Vocabulary {
            path: name,
            k: vocabulary.k(),
            inertia_per_patch: vocabulary.inertia_per_patch(),
        });
        state.vocabulary.push(file);
        state.write(dir.path())?;
        keeper.clear()?;
        vocabularies.push(vocabulary);
    }
    Ok(vocabularies)
}

/// Learns the words of size `at`, and notes how, and which patches were kept.
#[allow(
    clippy::too_many_arguments,
    reason = "what a run has, and what is learned"
)]
fn learn_one(
    plan: &Plan,
    at: usize,
    params: &KMeansParams,
    sample: &Sample,
    dir: &RunDir,
    state: &mut State,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<Vocabulary> {
    let (learned, kept) = learn::learn(plan, at, params, sample, dir.path(), keeper, watch)?;
    state.learning.truncate(at);
    state.learning.push(learning_log(plan, at, &learned));
    // Before the words: a run that has them does not sample again.
    let patches = plan.job.patches();
    let name = patches_file(patches[at], patches.len());
    let kept = write_patches(dir.path(), &name, &kept)?;
    state.patches.retain(|older| older.path != name);
    state.patches.push(kept);
    Ok(learned.vocabulary)
}

/// Whether the job weighs words by how many images they occur in, and that is still to be counted. A run that was cut off
/// before has some vocabularies with it and some without, and counts anew.
pub(super) fn needs_counting(plan: &Plan, vocabularies: &[Vocabulary]) -> bool {
    let is_counted = |words: &Vocabulary| words.documents.is_some();
    plan.job.features.needs_documents() && !vocabularies.iter().all(is_counted)
}

/// Writes the vocabularies again, with what was counted.
pub(super) fn note_documents(
    plan: &Plan,
    vocabularies: &mut [Vocabulary],
    counted: Vec<Documents>,
    dir: &RunDir,
    state: &mut State,
) -> Result<()> {
    let names = vocabulary_files(&plan.job.patches());
    let job = resolved::identity_json(&plan.job);
    for (at, documents) in counted.into_iter().enumerate() {
        vocabularies[at].documents = Some(documents);
        let path = dir.path().join(&names[at]);
        state.vocabulary[at] = vocabulary::write(&path, &vocabularies[at], &job)?;
        state.write(dir.path())?;
    }
    Ok(())
}

fn learning_log(plan: &Plan, at: usize, learned: &Learned) -> Value {
    let mut log = json!({
        "patches": learned.vocabulary.counts.iter().sum::<u64>(),
        "inertia_per_patch": learned.vocabulary.inertia_per_patch(),
        "restarts": restarts_log(learned),
    });
    if plan.job.preparations.len() > 1 {
        log["size"] = size_json(plan, at);
    }
    log
}

/// The features of every shard that has none yet.
fn write_features(
    plan: &Plan,
    vocabularies: &[Vocabulary],
    dir: &RunDir,
    state: &mut State,
    watch: Watch<'_>,
) -> Result<()> {
    let shards = (0..plan.input.shards.len()).filter(|shard| !state.features.contains_key(shard));
    let stretches = Stretch::of_shards(&plan.input, shards);
    let provenance = provenance(plan, &state.vocabulary);
    let files = |shard: usize| SinkFiles::of_shard(&plan.input.shards[shard].name);
    let mut finished = Finished::new(dir, state, watch)?;
    let result = featurize(
        plan,
        vocabularies,
        stretches,
        (dir.path(), &files),
        provenance,
        |shard, file| finished.note(shard, file),
        watch,
    );
    let noted = finished.end();
    result.and(noted)
}

/// Notes features files that have their names: in the journal each, and now and then in the state.
pub(super) struct Finished<'a> {
    dir: &'a RunDir,
    state: &'a mut State,
    journal: Journal,
    last_write: Instant,
    watch: Watch<'a>,
}

impl<'a> Finished<'a> {
    /// Goes on noting what is finished in a run's directory; `state` has its vocabularies.
    pub(super) fn new(
        dir: &'a RunDir,
        state: &'a mut State,
        watch: Watch<'a>,
    ) -> Result<Finished<'a>> {
        Ok(Finished {
            journal: Journal::open(dir.path(), state)?,
            dir,
            state,
            last_write: Instant::now(),
            watch,
        })
    }

    /// Notes the features file of a shard.
    pub(super) fn note(&mut self, shard: usize, file: FeaturesFile) -> Result<()> {
        (self.watch.on_event)(Event::Features {
            path: &file.path,
            rows: file.rows,
            bad_images: file.n_bad,
        });
        self.journal.add(shard, &file)?;
        self.state.features.insert(shard, file);
        // The journal has it, so many small shards need not each wait for the disk.
        if self.last_write.elapsed() < STATE_EVERY {
            return Ok(());
        }
        self.last_write = Instant::now();
        self.state.write(self.dir.path())
    }

    /// Writes the state, however the pass ended.
    pub(super) fn end(self) -> Result<()> {
        self.state.write(self.dir.path())
    }
}

/// The folder that the job's relative paths start from.
fn job_dir(plan: &Plan) -> String {
    let dir = match plan.job.base_dir.as_os_str().is_empty() {
        true => std::path::Path::new("."),
        false => &plan.job.base_dir,
    };
    dir.canonicalize()
        .unwrap_or_else(|_| dir.to_owned())
        .display()
        .to_string()
}

fn stage_timings(watch: Watch<'_>) -> Value {
    let pass = |stats: &flow::Stats| -> Value {
        stats
            .stages
            .iter()
            .map(|stage| {
                (
                    stage.name.to_owned(),
                    json!({"images": stage.done(), "busy_seconds": stage.busy_seconds()}),
                )
            })
            .collect()
    };
    json!({
        "learn": pass(&watch.progress.learn),
        "documents": pass(&watch.progress.documents),
        "featurize": pass(&watch.progress.featurize),
        "whole": pass(&watch.progress.whole),
        "label": pass(&watch.progress.label),
    })
}

/// The manifest; `kept` is what a report is drawn from.
fn manifest(
    plan: &Plan,
    vocabularies: &[Vocabulary],
    state: State,
    kept: Vec<ManifestOutput>,
    run: Value,
) -> Manifest {
    let mut tally = Tally::default();
    let mut outputs = Vec::new();
    let mut bad_images = Vec::new();
    let (mut n_bad, mut n_rows) = (0, 0);
    let names = vocabulary_files(&plan.job.patches());
    for ((path, words), file) in names
        .into_iter()
        .zip(vocabularies)
        .zip(state.vocabulary.iter())
    {
        outputs.push(ManifestOutput {
            path,
            rows: words.k() as u64,
            file: file.clone(),
        });
    }
    let mut inputs = Vec::new();
    for (input, features) in state.inputs.into_iter().zip(state.features.into_values()) {
        tally.add(features.tally);
        n_bad += features.n_bad;
        bad_images.extend(
            features
                .bad_images
                .into_iter()
                .map(|image| ManifestBadImage {
                    file: input.path.clone(),
                    image,
                }),
        );
        inputs.push(ManifestInput {
            input,
            blake3: features.input_blake3,
            counts: Some(InputCounts {
                tally: features.tally,
                bad_images: features.n_bad,
            }),
        });
        n_rows += features.rows;
        outputs.push(ManifestOutput {
            path: features.path,
            rows: features.rows,
            file: features.file,
        });
        outputs.extend(features.bad_list);
    }
    let mut clusters = Vec::new();
    for clustering in plan.job.clusterings() {
        let identity = resolved::clustering_identity(&clustering);
        let mut done = state.clusters.iter();
        // All are done, or the run would have ended before.
        if let Some(done) = done.find(|done| done.entry.identity == identity) {
            clusters.push(done.entry.clone());
            outputs.extend(done.files.clone());
        }
    }
    outputs.extend(kept);
    Manifest {
        format: FORMAT,
        bovw: env!("CARGO_PKG_VERSION").to_owned(),
        identity: state.identity,
        job: resolved::to_json(&plan.job),
        counts: Counts {
            tally,
            bad_images: n_bad,
            rows: n_rows,
            words: plan.k() as u64,
            values: plan.n_values as u64,
        },
        columns: columns(plan),
        inputs,
        outputs,
        learning: state.learning,
        clusters,
        bad_images,
        run,
    }
}

fn columns(plan: &Plan) -> Columns {
    let (label, label_reason) = plan.input.label.clone().unzip();
    Columns {
        image: plan.input.image.name(),
        image_reason: plan.input.image.reason.clone(),
        label,
        label_reason,
        first_image: plan.first_image.map(|(height, width)| [height, width]),
    }
}

fn check_bad(job: &Job, manifest: &Manifest) -> Result<()> {
    let (bad, total) = (manifest.counts.bad_images, manifest.counts.tally.images);
    let (is_allowed, allowed) = match job.input.max_bad {
        MaxBad::Any => (true, String::new()),
        MaxBad::Share(share) => (bad as f64 <= share * total as f64, share.to_string()),
        MaxBad::Count(count) => (bad <= count, count.to_string()),
    };
    if is_allowed {
        return Ok(());
    }
    Err(Error::TooManyBad {
        bad,
        total,
        allowed,
        list: job.output.dir.join(BAD_IMAGES_DIR),
    })
}
