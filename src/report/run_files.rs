//! Everything that a report is drawn from, read from a run's directory. What a result needs must be there and whole; what
//! is only kept for pictures may be absent.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::job::{FeaturesTable, check_features};
use crate::kernel::encode::Recipe;
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::examples::{
    IMAGES_FILE, ImageExample, PATCHES_FILE, PICTURES_DIR, PatchExamples, read_images, read_patches,
};
use crate::shard::manifest::{FORMAT, MANIFEST_FILE, Manifest, RestartEntry, VOCABULARY_FILE};
use crate::shard::timeline::{self, StagePoint, TIMELINE_FILE};
use crate::shard::vocabulary;

use super::word_use::{self, WordUse};

/// A finished run.
#[derive(Debug)]
pub(super) struct RunFiles {
    /// Its directory.
    pub(super) dir: PathBuf,
    /// Its manifest.
    pub(super) manifest: Manifest,
    /// Its words.
    pub(super) vocabulary: Vocabulary,
    /// How vectors were made of them.
    pub(super) recipe: Recipe,
    /// How the words were learned; `None` with `vocabulary.from`.
    pub(super) learning: Option<Learning>,
    /// Patches of the sample, if they were kept.
    pub(super) patches: Option<PatchExamples>,
    /// Images that were kept.
    pub(super) images: Vec<ImageExample>,
    /// What the stages had done when; empty if that was not kept.
    pub(super) timeline: Vec<StagePoint>,
    /// How often words are used.
    pub(super) word_use: WordUse,
}

/// The manifest's `learning`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub(super) struct Learning {
    /// Patches that the words were learned from.
    pub(super) patches: u64,
    /// Mean squared distance to their words.
    pub(super) inertia_per_patch: f64,
    /// Every restart.
    pub(super) restarts: Vec<RestartEntry>,
}

impl RunFiles {
    /// Reads a run's directory.
    pub(super) fn open(dir: &Path) -> Result<RunFiles> {
        let manifest = manifest(dir)?;
        check_outputs(dir, &manifest)?;
        check_confusion(dir, &manifest)?;
        let vocabulary = vocabulary::read(&dir.join(VOCABULARY_FILE))?.0;
        if vocabulary.k() as u64 != manifest.counts.words {
            let (found, listed) = (vocabulary.k(), manifest.counts.words);
            return Err(Error::file(
                dir.join(VOCABULARY_FILE).as_path(),
                format!("has {found} words, the manifest lists {listed}"),
            ));
        }
        let learning = match manifest.learning.is_null() {
            true => None,
            false => serde_json::from_value(manifest.learning.clone())
                .map(Some)
                .map_err(|error| damaged(dir, &error))?,
        };
        let is_kept = |name: &str| dir.join(name).is_file();
        let patches = is_kept(PATCHES_FILE)
            .then(|| read_patches(dir))
            .transpose()?;
        if let Some(patches) = patches
            .as_ref()
            .filter(|p| p.patch != vocabulary.preparation.patch)
        {
            return Err(Error::file(
                dir.join(PATCHES_FILE).as_path(),
                format!(
                    "has {} patches, the vocabulary has {}",
                    patches.patch, vocabulary.preparation.patch
                ),
            ));
        }
        let recipe = recipe(dir, &manifest)?;
        let layout = word_use::Layout {
            n_values: recipe.n_values(vocabulary.k(), vocabulary.d()),
            k: vocabulary.k(),
            n_per_word: recipe.n_per_word(vocabulary.d()),
        };
        Ok(RunFiles {
            word_use: word_use::read(dir, &manifest, layout)?,
            recipe,
            images: match is_kept(IMAGES_FILE) {
                true => read_images(dir)?,
                false => Vec::new(),
            },
            timeline: match is_kept(TIMELINE_FILE) {
                true => timeline::read(dir)?,
                false => Vec::new(),
            },
            dir: dir.to_owned(),
            manifest,
            vocabulary,
            learning,
            patches,
        })
    }
}

fn manifest(dir: &Path) -> Result<Manifest> {
    let manifest = match Manifest::read(dir) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => {
            return Err(Error::file(
                dir,
                "holds no finished run: there is no manifest.json",
            ));
        }
        Err(Error::OtherJob { message, .. }) => {
            let why = message
                .split_once("bovw: ")
                .map_or(&*message, |(_, why)| why);
            return Err(damaged(
                dir,
                &format!("it is damaged, or of another version: {why}"),
            ));
        }
        Err(error) => return Err(error),
    };
    if manifest.format != FORMAT {
        let format = manifest.format;
        return Err(damaged(
            dir,
            &format!("it is of format {format}, this version knows {FORMAT}"),
        ));
    }
    Ok(manifest)
}

/// The job's `[features]`.
fn recipe(dir: &Path, manifest: &Manifest) -> Result<Recipe> {
    let table: FeaturesTable = serde_json::from_value(manifest.job["features"].clone())
        .map_err(|error| damaged(dir, &error))?;
    check_features(&table).map_err(|error| damaged(dir, &error))
}

fn damaged(dir: &Path, why: &impl std::fmt::Display) -> Error {
    Error::File {
        place: dir.join(MANIFEST_FILE).as_path().into(),
        message: format!("cannot be drawn from: {why}"),
        help: Some("`bovw run JOB.toml --fresh` makes the run again".to_owned()),
    }
}

/// A confusion matrix has a row for each label, and counts the rows that it says it does.
fn check_confusion(dir: &Path, manifest: &Manifest) -> Result<()> {
    for cluster in &manifest.clusters {
        let Some(evaluation) = &cluster.evaluation else {
            continue;
        };
        let mut counts = evaluation.confusion.iter().flatten();
        let n_counted = counts.try_fold(0u64, |sum, &n| sum.checked_add(n));
        if evaluation.confusion.len() != evaluation.labels.len()
            || n_counted != Some(evaluation.n_labelled)
        {
            let file = &cluster.file;
            return Err(damaged(
                dir,
                &format!("the confusion matrix of {file} does not fit its labels"),
            ));
        }
    }
    Ok(())
}

/// Results must be there, in the size that the manifest has; hashing them all is `verify`'s business.
fn check_outputs(dir: &Path, manifest: &Manifest) -> Result<()> {
    let results = manifest
        .outputs
        .iter()
        .filter(|output| !Path::new(&output.path).starts_with(PICTURES_DIR));
    for output in results {
        let path = dir.join(&output.path);
        let size = std::fs::metadata(&path).map(|metadata| metadata.len());
        let message = match size {
            Ok(size) if size == output.file.size_bytes => continue,
            Ok(size) => format!(
                "is not the file that manifest.json lists: it has {size} bytes, not {}",
                output.file.size_bytes
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                "is missing, though manifest.json lists it".to_owned()
            }
            Err(error) => return Err(Error::io(&path, "read the size", error)),
        };
        return Err(Error::File {
            place: path.as_path().into(),
            message,
            help: Some("running the same job again makes it again".to_owned()),
        });
    }
    Ok(())
}
