//! Everything that a report is drawn from, read from a run's directory. What a result needs must be there and whole; what
//! is only kept for pictures may be absent.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::job::{FeaturesTable, check_features, sizes_of};
use crate::kernel::encode::Recipe;
use crate::kernel::grid::PatchShape;
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::examples::{
    IMAGES_FILE, ImageExample, PICTURES_DIR, PatchExamples, patches_file, read_images, read_patches,
};
use crate::shard::manifest::{
    FORMAT, MANIFEST_FILE, Manifest, RestartEntry, sized_name, vocabulary_files,
};
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
    /// Its words, for each size of patches; at least one.
    pub(super) sizes: Vec<SizeFiles>,
    /// How vectors were made of them.
    pub(super) recipe: Recipe,
    /// Images that were kept.
    pub(super) images: Vec<ImageExample>,
    /// What the stages had done when; empty if that was not kept.
    pub(super) timeline: Vec<StagePoint>,
}

/// What a run has of each size of patches.
#[derive(Debug)]
pub(super) struct SizeFiles {
    /// The size.
    pub(super) patch: PatchShape,
    /// How many sizes there are.
    pub(super) n_sizes: usize,
    /// The vocabulary's path in the run's directory.
    pub(super) vocabulary_file: String,
    /// Its words.
    pub(super) vocabulary: Vocabulary,
    /// How they were learned; `None` with `vocabulary.from`.
    pub(super) learning: Option<Learning>,
    /// The kept patches' path in the run's directory.
    pub(super) patches_file: String,
    /// Patches of the sample, if they were kept.
    pub(super) patches: Option<PatchExamples>,
    /// How often words are used.
    pub(super) word_use: WordUse,
}

impl SizeFiles {
    /// A picture's name for this size.
    pub(super) fn picture(&self, name: &str) -> String {
        sized_name(name, self.patch, self.n_sizes)
    }
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
        let recipe = recipe(dir, &manifest)?;
        let sizes = sizes(dir, &manifest, &recipe)?;
        let is_kept = |name: &str| dir.join(name).is_file();
        Ok(RunFiles {
            sizes,
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
        })
    }
}

/// What there is of each size of patches.
fn sizes(dir: &Path, manifest: &Manifest, recipe: &Recipe) -> Result<Vec<SizeFiles>> {
    let patches = sizes_of(&manifest.job).map_err(|error| damaged(dir, &error))?;
    let names = vocabulary_files(&patches);
    let vocabularies = names
        .iter()
        .map(|name| Ok(vocabulary::read(&dir.join(name))?.0));
    let vocabularies = vocabularies.collect::<Result<Vec<Vocabulary>>>()?;
    let n_words: usize = vocabularies.iter().map(Vocabulary::k).sum();
    if n_words as u64 != manifest.counts.words {
        let (place, listed) = (dir.join(&names[0]), manifest.counts.words);
        let what = match names.len() {
            1 => format!("has {n_words} words"),
            n => format!("and the other {} have {n_words} words", n - 1),
        };
        return Err(Error::file(
            place.as_path(),
            format!("{what}, the manifest lists {listed}"),
        ));
    }
    let layouts = vocabularies.iter().map(|words| word_use::Layout {
        n_values: recipe.n_values(words.k(), words.d()),
        k: words.k(),
        n_per_word: recipe.n_per_word(words.d()),
    });
    let word_uses = word_use::read(dir, manifest, layouts.collect())?;
    let n_sizes = patches.len();
    let each = vocabularies.into_iter().zip(word_uses).zip(names);
    each.enumerate()
        .map(|(at, ((vocabulary, word_use), vocabulary_file))| {
            let learning = manifest.learning.get(at).cloned();
            let patches_file = patches_file(patches[at], n_sizes);
            Ok(SizeFiles {
                patch: patches[at],
                n_sizes,
                vocabulary_file,
                learning: learning
                    .map(serde_json::from_value)
                    .transpose()
                    .map_err(|error| damaged(dir, &error))?,
                patches: kept_patches(dir, &patches_file, vocabulary.preparation.patch)?,
                patches_file,
                vocabulary,
                word_use,
            })
        })
        .collect()
}

/// The kept patches, which are of the vocabulary's size.
fn kept_patches(dir: &Path, name: &str, patch: PatchShape) -> Result<Option<PatchExamples>> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let kept = read_patches(dir, name)?;
    if kept.patch != patch {
        return Err(Error::file(
            path.as_path(),
            format!("has {} patches, the vocabulary has {patch}", kept.patch),
        ));
    }
    Ok(Some(kept))
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
