//! What a run says of itself: `.bovw-state.json` while it is under way, `manifest.json` when it is done.
//!
//! Both are written whole. Only the manifest tells times; nothing that a reader of the vectors needs stands only here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::each::Each;
use super::read::Fingerprint;
use super::whole::{self, WholeFile};
use crate::error::{Error, Result};
use crate::kernel::evaluate::Scores;
use crate::kernel::grid::PatchShape;

/// The folder of features files in a run's directory.
pub const FEATURES_DIR: &str = "features";

/// The folder of clusters files in a run's directory.
pub const CLUSTERS_DIR: &str = "clusters";

/// The vocabulary's name in the directory of a run with one size of patches.
pub const VOCABULARY_FILE: &str = "vocabulary.parquet";

/// What is called `name` in a run with one size of patches, in one with `n_sizes`: that of `patch`.
pub fn sized_name(name: &str, patch: PatchShape, n_sizes: usize) -> String {
    match n_sizes {
        1 => name.to_owned(),
        _ => format!("{name}-{}x{}", patch.height, patch.width),
    }
}

/// The vocabularies' names in a run's directory, for all its sizes of patches.
pub fn vocabulary_files(patches: &[PatchShape]) -> Vec<String> {
    let name = |&patch| sized_name("vocabulary", patch, patches.len());
    patches
        .iter()
        .map(name)
        .map(|name| name + ".parquet")
        .collect()
}

/// The manifest's name in a run's directory.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The state's name in a run's directory.
pub const STATE_FILE: &str = ".bovw-state.json";

/// Version of both formats.
pub const FORMAT: u32 = 1;

/// The folder of lists of bad images in a run's directory: a file for each shard that has some, a line of JSON an image.
pub const BAD_IMAGES_DIR: &str = "bad_images";

/// Bad images of one shard that the manifest repeats, at most.
pub const MAX_REPEATED_BAD: usize = 1000;

/// A run that is under way or was interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of this format.
    pub format: u32,
    /// Hash of everything in the job that can change a byte of the output.
    pub identity: String,
    /// The resolved job.
    pub job: serde_json::Value,
    /// The input files as they were.
    pub inputs: Vec<InputState>,
    /// The vocabularies that are written: of the first sizes of patches.
    #[serde(default)]
    pub vocabulary: Each<WholeFile>,
    /// What was learned about learning them; nothing with `vocabulary.from`.
    #[serde(default)]
    pub learning: Each<serde_json::Value>,
    /// Sampled patches that are kept to be looked at, as far as they are written.
    #[serde(default)]
    pub patches: Each<ManifestOutput>,
    /// Features files that are written, by their shard's place in the input.
    pub features: BTreeMap<usize, FeaturesFile>,
    /// Clusterings whose files are written, in the order written.
    #[serde(default)]
    pub clusters: Vec<ClusterFiles>,
}

/// An input file as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputState {
    /// The file.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size and time.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// BLAKE3 of its footer, in hex.
    #[serde(default)]
    pub footer_blake3: String,
}

/// A features file that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeaturesFile {
    /// Its path in the run's directory.
    pub path: String,
    /// Its rows; fewer than the shard's where bad images were dropped.
    pub rows: u64,
    /// Its size and hash.
    #[serde(flatten)]
    pub file: WholeFile,
    /// What was counted.
    #[serde(flatten)]
    pub tally: Tally,
    /// Number of bad images.
    pub n_bad: u64,
    /// The list of bad images, if there are some.
    pub bad_list: Option<ManifestOutput>,
    /// The first [`MAX_REPEATED_BAD`] of them.
    pub bad_images: Vec<BadImage>,
    /// BLAKE3 of the input file, in hex.
    pub input_blake3: String,
}

/// A clustering whose files were written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFiles {
    /// What it is.
    pub entry: ClusterEntry,
    /// The clusters file and the centroids file.
    pub files: [ManifestOutput; 2],
}

/// A clustering of whole images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterEntry {
    /// What was clustered: "pixels" or "features".
    pub of: String,
    /// Number of clusters; they are numbered from 0 by falling size.
    pub k: usize,
    /// The clusters file's path in the run's directory.
    pub file: String,
    /// The centroids file's path in the run's directory.
    pub centroids: String,
    /// "lloyd" or "mini-batch".
    pub algorithm: String,
    /// Restarts that were asked for.
    pub n_init: usize,
    /// Height of the images; `None` for features.
    pub height: Option<u32>,
    /// Width of the images; `None` for features.
    pub width: Option<u32>,
    /// Values in a centroid.
    pub dimensions: usize,
    /// Rows that were clustered: all but bad images.
    pub rows: u64,
    /// Sum of the squared distances of all rows to their centroids.
    pub inertia: f64,
    /// Rows of each cluster.
    pub counts: Vec<u64>,
    /// Every restart, as in `learning`: inertias are means a row.
    pub restarts: Vec<RestartEntry>,
    /// How well clusters agree with labels.
    pub evaluation: Option<Evaluation>,
    /// Why there is no evaluation.
    pub evaluation_note: Option<String>,
    /// Hash of everything that can change a byte of its files, among runs of one identity.
    pub identity: String,
}

/// How well a clustering agrees with labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The label column.
    pub label: String,
    /// Rows with a cluster and a label: those that are counted.
    pub n_labelled: u64,
    /// Rows with a cluster and without a label.
    pub n_unlabelled: u64,
    /// The labels, sorted, as they are shown: numbers by value, then texts by code point; class labels by number.
    pub labels: Vec<String>,
    /// For each label, its rows in every cluster.
    pub confusion: Vec<Vec<u64>>,
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// A bad image, for the list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadImage {
    /// Row in the file, from 0.
    pub row: u64,
    /// What is wrong.
    pub reason: String,
}

/// Totals over images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Images, bad ones among them.
    pub images: u64,
    /// Patches that were replaced by words.
    pub patches: u64,
    /// Patches that the fast kernel could not decide and float64 did.
    pub decided_again: u64,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.images += other.images;
        self.patches += other.patches;
        self.decided_again += other.decided_again;
    }
}

/// A finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Version of the program.
    pub bovw: String,
    /// Hash of everything in the job that can change a byte of the output.
    pub identity: String,
    /// The resolved job.
    pub job: serde_json::Value,
    /// The columns that were read.
    #[serde(default)]
    pub columns: Columns,
    /// The files that were read.
    pub inputs: Vec<ManifestInput>,
    /// The files that were written.
    pub outputs: Vec<ManifestOutput>,
    /// Totals.
    pub counts: Counts,
    /// What was learned about learning each vocabulary: inertia, iterations, restarts; nothing with `vocabulary.from`.
    pub learning: Each<serde_json::Value>,
    /// Clusterings, in the job's order.
    #[serde(default)]
    pub clusters: Vec<ClusterEntry>,
    /// Bad images, at most [`MAX_REPEATED_BAD`] of each file; the lists in `bad_images/` have all.
    pub bad_images: Vec<ManifestBadImage>,
    /// How it ran: times, memory, threads.
    pub run: serde_json::Value,
}

/// The columns that were read, and why they were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The image column.
    pub image: String,
    /// Why it is that one.
    pub image_reason: String,
    /// The label column, if there is one.
    pub label: Option<String>,
    /// Why it is that one.
    pub label_reason: Option<String>,
    /// Height and width of the first image, if it is a good one.
    pub first_image: Option<[u32; 2]>,
}

/// How one restart of k-means went. Inertias are means over patches or rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestartEntry {
    /// Of the first centroids.
    pub init_inertia: f64,
    /// Of the centroids before each step.
    pub inertia: Vec<f64>,
    /// Steps taken.
    pub steps: u64,
    /// Passes that they amount to.
    pub passes: f64,
    /// Whether it ended by itself, not by `max_iter`.
    pub converged: bool,
    /// Centroids without a row, or with hardly one, that were put elsewhere, each time counted.
    pub reseeded: u64,
    /// Of the last centroids: over everything for the restart that was kept, over the part that restarts are judged on
    /// for the others.
    pub final_inertia: f64,
    /// Whether it is the one that was kept.
    #[serde(default)]
    pub kept: bool,
}

/// An input file in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestInput {
    /// What it is and was.
    #[serde(flatten)]
    pub input: InputState,
    /// BLAKE3 of its bytes, in hex.
    pub blake3: String,
    /// What was counted in it; older manifests do not say.
    #[serde(default)]
    pub counts: Option<InputCounts>,
}

/// Totals of one input file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputCounts {
    /// Images, patches, and patches decided by float64.
    #[serde(flatten)]
    pub tally: Tally,
    /// Bad images.
    pub bad_images: u64,
}

/// An output file in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestOutput {
    /// Its path in the run's directory.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size and hash.
    #[serde(flatten)]
    pub file: WholeFile,
}

/// Totals of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Images, patches, and patches decided by float64.
    #[serde(flatten)]
    pub tally: Tally,
    /// Bad images.
    pub bad_images: u64,
    /// Rows written.
    pub rows: u64,
    /// Words, of all vocabularies.
    pub words: u64,
    /// Values of a vector; 0 in manifests that are older than any vector that was not a count of words.
    #[serde(default)]
    pub values: u64,
}

impl Counts {
    /// Values of a vector.
    pub fn n_values(&self) -> u64 {
        match self.values {
            0 => self.words,
            values => values,
        }
    }
}

/// A bad image in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBadImage {
    /// The input file.
    pub file: String,
    /// Where and why.
    #[serde(flatten)]
    pub image: BadImage,
}

impl State {
    /// Writes the state into a run's directory.
    pub fn write(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join(STATE_FILE), self).map(|_| ())
    }

    /// The state in a run's directory, if there is one.
    pub fn read(dir: &Path) -> Result<Option<State>> {
        read_json(&dir.join(STATE_FILE))
    }
}

impl Manifest {
    /// Writes the manifest into a run's directory.
    pub fn write(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join(MANIFEST_FILE), self).map(|_| ())
    }

    /// The manifest in a run's directory, if there is one.
    pub fn read(dir: &Path) -> Result<Option<Manifest>> {
        read_json(&dir.join(MANIFEST_FILE))
    }
}

/// BLAKE3 of a file's bytes, in hex.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let file = fs::File::open(path).map_err(|source| Error::io(path, "open", source))?;
    hasher
        .update_reader(file)
        .map_err(|source| Error::io(path, "read", source))?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<WholeFile> {
    let mut text = match serde_json::to_vec_pretty(value) {
        Ok(text) => text,
        Err(error) => unreachable!("plain data is JSON: {error}"),
    };
    text.push(b'\n');
    whole::write_whole(path, &text)
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "read", error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::OtherJob {
            dir: path.parent().unwrap_or(path).to_owned(),
            message: format!(
                "has a \"{}\" that is not of this version of bovw: {error}",
                path.file_name().unwrap_or_default().to_string_lossy()
            ),
            help: Some("choose another output.dir, or move it away".to_owned()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_state_has_the_very_numbers_that_were_written() {
        let dir = tempfile::tempdir().expect("a folder");
        // Read without care, each of these comes back as its neighbour.
        let inertia = [28.876517964289842, 28.723308046958042, 28.159071576148946];
        let state = State {
            format: FORMAT,
            identity: String::new(),
            job: serde_json::Value::Null,
            inputs: Vec::new(),
            vocabulary: Each::default(),
            learning: Each::from_iter([serde_json::json!({ "inertia": inertia })]),
            patches: Each::default(),
            features: BTreeMap::new(),
            clusters: Vec::new(),
        };
        state.write(dir.path()).expect("written");
        assert_eq!(State::read(dir.path()).expect("readable"), Some(state));
    }
}
