//! A whole run: plan, learn, featurize, cluster, manifest. What is finished is kept, whatever happens next.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::flow;
use crate::job::{Job, MaxBad, VocabularySource, resolved};
use crate::kernel::vocabulary::Vocabulary;
use crate::report::{self, Drawn, REPORT_FILE};
use crate::shard::examples::write_patches;
use crate::shard::journal::Journal;
use crate::shard::manifest::{
    BAD_IMAGES_DIR, Columns, Counts, FORMAT, FeaturesFile, InputCounts, Manifest, ManifestBadImage,
    ManifestInput, ManifestOutput, State, Tally, VOCABULARY_FILE,
};
use crate::shard::timeline::write as write_timeline;
use crate::shard::vocabulary;
use crate::stages::kmeans::Learned;

use super::checkpoint::Keeper;
use super::cluster::cluster;
use super::documents;
use super::examples::keep_images;
use super::featurize::featurize;
use super::learn::{learn, restarts_log};
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
    let mut state = match found {
        Found::Done(manifest) => {
            let is_drawn = dir.path().join(REPORT_FILE).is_file();
            let report = (!is_drawn).then(|| draw(&dir));
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
        let result = passes(&plan, &dir, &mut state, &keeper, watch);
        watch.progress.enter(Phase::Done);
        result
    });
    let passed = passed?;

    let mut kept: Vec<ManifestOutput> = state.patches.take().into_iter().collect();
    kept.push(keep_images(&plan, dir.path())?);
    kept.push(write_timeline(dir.path(), &timeline)?);
    let timings = json!({
        "job_dir": job_dir(&plan),
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
    let manifest = manifest(&plan, &passed.vocabulary, state, kept, timings);
    dir.finish(&manifest)?;
    let report = draw(&dir);
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
    vocabulary: Vocabulary,
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
    let mut vocabulary = obtain_vocabulary(plan, dir, state, keeper, watch)?;
    let learn_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    count_documents(plan, &mut vocabulary, dir, state, watch)?;
    let documents_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    write_features(plan, &vocabulary, dir, state, watch)?;
    let featurize_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    cluster(plan, dir, state, keeper, watch)?;
    Ok(Passed {
        vocabulary,
        learn_seconds,
        documents_seconds,
        featurize_seconds,
        cluster_seconds: start.elapsed().as_secs_f64(),
    })
}

/// The vocabulary: the one an interrupted run has written, the one the job names, or a new one.
fn obtain_vocabulary(
    plan: &Plan,
    dir: &RunDir,
    state: &mut State,
    keeper: &Keeper,
    watch: Watch<'_>,
) -> Result<Vocabulary> {
    let path = dir.path().join(VOCABULARY_FILE);
    if state.vocabulary.is_some() {
        return Ok(vocabulary::read(&path)?.0);
    }
    // From here on the directory is this job's, even if the run is cut off.
    state.write(dir.path())?;
    let vocabulary = match (&plan.job.vocabulary, &plan.vocabulary) {
        (VocabularySource::Learn(params), _) => {
            let (learned, kept) = learn(plan, params, dir.path(), keeper, watch)?;
            state.learning = Some(learning_log(&learned));
            // Before the words: a run that has them does not sample again.
            state.patches = Some(write_patches(dir.path(), &kept)?);
            learned.vocabulary
        }
        (VocabularySource::From(_), Some(vocabulary)) => vocabulary.clone(),
        (VocabularySource::From(_), None) => unreachable!("the plan read it"),
    };
    let file = vocabulary::write(&path, &vocabulary, &resolved::identity_json(&plan.job))?;
    (watch.on_event)(Event::Vocabulary {
        path: VOCABULARY_FILE,
        k: vocabulary.k(),
        inertia_per_patch: vocabulary.inertia_per_patch(),
    });
    state.vocabulary = Some(file);
    state.write(dir.path())?;
    keeper.clear()?;
    Ok(vocabulary)
}

/// Counts in how many images words occur, where the job weighs them by that, and writes the vocabulary again, with it. A
/// run that was cut off before has one without, and counts anew.
fn count_documents(
    plan: &Plan,
    vocabulary: &mut Vocabulary,
    dir: &RunDir,
    state: &mut State,
    watch: Watch<'_>,
) -> Result<()> {
    if !plan.job.features.needs_documents() || vocabulary.documents.is_some() {
        return Ok(());
    }
    vocabulary.documents = Some(documents::count(plan, vocabulary, watch)?);
    let path = dir.path().join(VOCABULARY_FILE);
    let job = resolved::identity_json(&plan.job);
    state.vocabulary = Some(vocabulary::write(&path, vocabulary, &job)?);
    state.write(dir.path())
}

fn learning_log(learned: &Learned) -> Value {
    json!({
        "patches": learned.vocabulary.counts.iter().sum::<u64>(),
        "inertia_per_patch": learned.vocabulary.inertia_per_patch(),
        "restarts": restarts_log(learned),
    })
}

/// The features of every shard that has none yet.
fn write_features(
    plan: &Plan,
    vocabulary: &Vocabulary,
    dir: &RunDir,
    state: &mut State,
    watch: Watch<'_>,
) -> Result<()> {
    let shards: Vec<usize> = (0..plan.input.shards.len())
        .filter(|shard| !state.features.contains_key(shard))
        .collect();
    let job = resolved::identity_json(&plan.job);
    let mut last_write = Instant::now();
    let mut journal = Journal::open(dir.path(), state)?;
    let mut features = job["features"].clone();
    features["length"] = plan.n_values.into();
    let vocabulary_blake3 = state.vocabulary.as_ref().map(|file| file.blake3.clone());
    let provenance = |shard: usize| {
        let input = &plan.input.shards[shard];
        json!({
            "format": FORMAT,
            "bovw": env!("CARGO_PKG_VERSION"),
            "job": job,
            "vocabulary": {"k": vocabulary.k(), "blake3": vocabulary_blake3},
            "input": {"name": file_name(&input.path), "size_bytes": input.fingerprint.size_bytes, "rows": input.n_rows},
            "features": features,
        })
        .to_string()
    };
    let on_file = |shard: usize, file: FeaturesFile| {
        (watch.on_event)(Event::Features {
            path: &file.path,
            rows: file.rows,
            bad_images: file.n_bad,
        });
        journal.add(shard, &file)?;
        state.features.insert(shard, file);
        // The journal has it, so many small shards need not each wait for the disk.
        if last_write.elapsed() < STATE_EVERY {
            return Ok(());
        }
        last_write = Instant::now();
        state.write(dir.path())
    };
    let result = featurize(
        plan,
        vocabulary,
        &shards,
        dir.path(),
        provenance,
        on_file,
        watch,
    );
    let noted = state.write(dir.path());
    result.and(noted)
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
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
    vocabulary: &Vocabulary,
    state: State,
    kept: Vec<ManifestOutput>,
    run: Value,
) -> Manifest {
    let mut tally = Tally::default();
    let mut outputs = Vec::new();
    let mut bad_images = Vec::new();
    let (mut n_bad, mut n_rows) = (0, 0);
    if let Some(file) = state.vocabulary {
        outputs.push(ManifestOutput {
            path: VOCABULARY_FILE.to_owned(),
            rows: vocabulary.k() as u64,
            file,
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
            words: vocabulary.k() as u64,
            values: plan.n_values as u64,
        },
        columns: columns(plan),
        inputs,
        outputs,
        learning: state.learning.unwrap_or_default(),
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
