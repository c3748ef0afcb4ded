//! A checked job, written down again with every default filled in: for `plan`, for the manifest, and to tell whether two
//! jobs would write the same bytes.
//!
//! Paths are relative to the job's folder again, so a job that moves with its data stays the same job.

use std::path::Path;

use serde_json::{Map, Value};

use super::file::{
    ClusterTable, FeaturesTable, InputTable, JobFile, Memory, Names, Number, OutputTable,
    PatchesTable, Pooling, RunTable, SampleTable, Sizes, VocabularyTable, Wholes,
};
use super::paths::pattern_prefix;
use super::{
    Clustering, Clusters, Input, Io, Job, MaxBad, OnBadImage, PerImage, Run, Sampling,
    VocabularySource,
};
use crate::error::Result;
use crate::kernel::encode::{Encoding, Recipe};
use crate::kernel::kmeans::{Init, KMeansParams};
use crate::kernel::normalize::Normalize;
use crate::kernel::vocabulary::Preparation;

/// Keys that change no byte of features and vocabulary: where, how fast, how much, and what counts as success.
const NOT_IDENTITY: [(&str, &[&str]); 3] = [
    ("input", &["max_bad"]),
    ("output", &["dir"]),
    (
        "run",
        &["threads", "memory", "io", "simd", "checkpoint_seconds"],
    ),
];

/// The tables that are made of features and inputs, and change none of them; each clustering has an identity of its own.
const CLUSTERS: &str = "cluster";

/// What only learning looks at; with a finished vocabulary it changes nothing.
const LEARNING_ONLY: [(&str, &[&str]); 2] = [
    ("sample", &["every", "per_image", "max_patches"]),
    ("run", &["seed"]),
];

/// The resolved job as a job file.
pub fn job_file(job: &Job) -> JobFile {
    JobFile {
        input: input_table(&job.input, &job.base_dir),
        patches: patches_table(job),
        sample: sample_table(&job.sample),
        vocabulary: vocabulary_table(&job.vocabulary, &job.base_dir),
        features: features_table(&job.features),
        cluster: job.clusters.iter().map(cluster_table).collect(),
        output: OutputTable {
            dir: Some(relative(&job.output.dir, &job.base_dir)),
            layout: text("fixed_size_list"),
        },
        run: run_table(&job.run),
    }
}

/// The resolved job as TOML: a job file that, put where the job's file is, is this job.
pub fn to_toml(job: &Job) -> Result<String> {
    job_file(job).to_toml()
}

/// The resolved job as JSON, table by table.
pub fn to_json(job: &Job) -> Value {
    serde_json::to_value(job_file(job)).expect("a job file is text, numbers and lists of them")
}

/// Equal for jobs that write the same features and vocabulary from the same files: a BLAKE3 hash, in hexadecimal.
pub fn identity(job: &Job) -> String {
    let flat: Map<String, Value> = flatten(&identity_json(job)).into_iter().collect();
    blake3::hash(canonical(flat).as_bytes())
        .to_hex()
        .to_string()
}

/// Everything of a clustering that can change a byte of its files, among those of jobs with one [`identity`].
pub fn clustering_keys(clustering: &Clustering) -> Map<String, Value> {
    let params = &clustering.params;
    let keys = [
        ("of", clustering.of.name().into()),
        ("k", params.k.into()),
        ("algorithm", params.algorithm.name().into()),
        ("n_init", params.n_init.into()),
        ("max_iter", params.max_iter.into()),
        ("seed", params.seed.into()),
    ];
    keys.map(|(key, value): (&str, Value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

/// A hash of [`clustering_keys`].
pub fn clustering_identity(clustering: &Clustering) -> String {
    blake3::hash(canonical(clustering_keys(clustering)).as_bytes())
        .to_hex()
        .to_string()
}

/// The part of the resolved job that can change a byte of features or vocabulary; it goes into their footers.
pub fn identity_json(job: &Job) -> Value {
    let mut resolved = to_json(job);
    remove_other(&mut resolved);
    if matches!(job.vocabulary, VocabularySource::From(_)) {
        remove(&mut resolved, &LEARNING_ONLY);
    }
    resolved
}

/// What differs between two resolved jobs, as lines `key: old -> new`; keys that change no byte are passed over.
pub fn differences(old: &Value, new: &Value) -> Vec<String> {
    let [old, new] = [old, new].map(|job| {
        let mut job = job.clone();
        remove_other(&mut job);
        flatten(&job)
    });
    let value_in = |flat: &[(String, Value)], key: &str| {
        flat.iter()
            .find(|(k, _)| k == key)
            .map_or("not set".to_owned(), |(_, value)| value.to_string())
    };
    let only_new = new
        .iter()
        .filter(|(key, _)| !old.iter().any(|(k, _)| k == key));
    old.iter()
        .chain(only_new)
        .map(|(key, _)| (key, value_in(&old, key), value_in(&new, key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| format!("{key}: {old} -> {new}"))
        .collect()
}

fn input_table(input: &Input, base_dir: &Path) -> InputTable {
    let prefix = pattern_prefix(base_dir).unwrap_or_default();
    let files = input
        .files
        .iter()
        .map(|pattern| pattern.strip_prefix(&prefix).unwrap_or(pattern).to_owned());
    InputTable {
        files: Some(files.collect()),
        image: input.image.clone(),
        label: input.label.clone(),
        keep: Some(input.keep.clone()),
        shape: input.shape.map(|shape| {
            [shape.height, shape.width, shape.channels]
                .map(i64::from)
                .to_vec()
        }),
        color: text(input.color.name()),
        resize: input.resize.map(i64::from),
        max_pixels: Some(whole(input.max_pixels)),
        on_bad_image: text(match input.on_bad_image {
            OnBadImage::Fail => "fail",
            OnBadImage::Zero => "zero",
            OnBadImage::Drop => "drop",
        }),
        max_bad: Some(match input.max_bad {
            MaxBad::Any => Number::Real(1.0),
            MaxBad::Share(share) => Number::Real(share),
            MaxBad::Count(count) => Number::Whole(whole(count)),
        }),
    }
}

fn patches_table(job: &Job) -> PatchesTable {
    // All sizes are prepared alike.
    let Preparation {
        normalize, whiten, ..
    } = job.preparations[0];
    let patches = job.preparations.iter().map(|one| one.patch);
    let mut sizes: Vec<Vec<i64>> = patches
        .map(|patch| [patch.height, patch.width].map(i64::from).to_vec())
        .collect();
    PatchesTable {
        size: Some(match sizes.len() {
            1 => Sizes::One(sizes.remove(0)),
            _ => Sizes::Many(sizes),
        }),
        stride: Some(i64::from(job.stride)),
        normalize: text(normalize.name()),
        epsilon: match normalize {
            Normalize::Patch { epsilon } => Some(Number::Real(epsilon)),
            Normalize::Image | Normalize::None => None,
        },
        whiten: text(match whiten {
            Some(_) => "zca",
            None => "none",
        }),
        whiten_epsilon: whiten.map(Number::Real),
    }
}

fn features_table(recipe: &Recipe) -> FeaturesTable {
    let grids = recipe.pooling.iter();
    let mut grids: Vec<Vec<i64>> = grids.map(|grid| grid.map(i64::from).to_vec()).collect();
    let steps = recipe.weighting.iter().map(|step| step.name().to_owned());
    FeaturesTable {
        encoding: text(recipe.encoding.name()),
        nearest: match recipe.encoding {
            Encoding::Soft { nearest } => Some(whole(nearest as u64)),
            Encoding::Hard | Encoding::Triangle | Encoding::Vlad => None,
        },
        pooling: Some(match grids.len() {
            1 => Pooling::Grid(grids.remove(0)),
            _ => Pooling::Pyramid(grids),
        }),
        weighting: Some(match recipe.weighting.as_slice() {
            [] => Names::One("count".to_owned()),
            [step] => Names::One(step.name().to_owned()),
            _ => Names::Many(steps.collect()),
        }),
    }
}

fn sample_table(sample: &Sampling) -> SampleTable {
    SampleTable {
        every: Some(whole(sample.every)),
        per_image: Some(match sample.per_image {
            PerImage::Share(share) => Number::Real(share),
            PerImage::Count(count) => Number::Whole(whole(count)),
        }),
        max_patches: sample.max_patches.map(whole),
    }
}

fn vocabulary_table(vocabulary: &VocabularySource, base_dir: &Path) -> VocabularyTable {
    match vocabulary {
        VocabularySource::From(files) => VocabularyTable {
            from: Some(match files.as_slice() {
                [file] => Names::One(relative(file, base_dir)),
                files => Names::Many(files.iter().map(|file| relative(file, base_dir)).collect()),
            }),
            ..VocabularyTable::default()
        },
        VocabularySource::Learn(params) => learning_table(params),
    }
}

fn cluster_table(clusters: &Clusters) -> ClusterTable {
    ClusterTable {
        of: text(clusters.of.name()),
        k: Some(Wholes::Many(
            clusters.k.iter().map(|&k| whole(k as u64)).collect(),
        )),
        algorithm: text(clusters.algorithm.name()),
        n_init: Some(whole(clusters.n_init as u64)),
        max_iter: Some(whole(clusters.max_iter as u64)),
    }
}

fn learning_table(params: &KMeansParams) -> VocabularyTable {
    VocabularyTable {
        k: Some(whole(params.k as u64)),
        algorithm: text(params.algorithm.name()),
        init: text(match params.init {
            Init::PlusPlus => "k-means++",
            Init::Random => "random",
        }),
        n_init: Some(whole(params.n_init as u64)),
        max_iter: Some(whole(params.max_iter as u64)),
        batch_size: params.batch_size.map(|size| whole(size as u64)),
        tol: Some(params.tol),
        spherical: params.spherical.then_some(true),
        from: None,
    }
}

fn run_table(run: &Run) -> RunTable {
    RunTable {
        seed: Some(whole(run.seed)),
        threads: Some(whole(run.threads as u64)),
        memory: Some(Memory::Text(memory_text(run.memory_bytes))),
        io: text(match run.io {
            Io::Auto => "auto",
            Io::Mmap => "mmap",
            Io::Read => "read",
        }),
        // The machine's best is no choice of the job's.
        simd: text(match run.is_simd_chosen {
            true => run.simd.name(),
            false => "auto",
        }),
        checkpoint_seconds: Some(whole(run.checkpoint_seconds)),
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A checked job's numbers came out of TOML, so they go back in.
fn whole(number: u64) -> i64 {
    i64::try_from(number).expect("a checked number fits TOML's")
}

fn relative(path: &Path, base_dir: &Path) -> String {
    match path.strip_prefix(base_dir) {
        Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
        Ok(inside) => inside.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// The amount in the largest unit that needs no fraction.
fn memory_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Takes out what changes no byte of features and vocabulary.
fn remove_other(job: &mut Value) {
    remove(job, &NOT_IDENTITY);
    if let Some(tables) = job.as_object_mut() {
        tables.shift_remove(CLUSTERS);
    }
}

fn remove(job: &mut Value, keys: &[(&str, &[&str])]) {
    for (table, keys) in keys {
        if let Some(table) = job.get_mut(table).and_then(Value::as_object_mut) {
            for key in *keys {
                table.shift_remove(*key);
            }
        }
    }
}

/// `table.key` and value of every key, in order.
fn flatten(job: &Value) -> Vec<(String, Value)> {
    let tables = job.as_object().into_iter().flatten();
    tables
        .flat_map(|(name, table)| match table {
            Value::Object(keys) => keys
                .iter()
                .map(|(key, value)| (format!("{name}.{key}"), value.clone()))
                .collect(),
            other => vec![(name.clone(), other.clone())],
        })
        .collect()
}

/// One spelling for one job: keys sorted, no spaces.
fn canonical(mut keys: Map<String, Value>) -> String {
    keys.sort_keys();
    Value::Object(keys).to_string()
}
