//! The page: all sections put together, and written as one file.

use std::io::Write;
use std::path::Path;

use askama::Template;

use crate::error::{Error, Result};
use crate::shard::each::Each;
use crate::shard::whole::{WholeFile, WholeWriter};

use super::paint::Painter;
use super::run_files::{RunFiles, SizeFiles};
use super::sections::clusters::{Clusters, clusters};
use super::sections::data::{Data, data};
use super::sections::files::{Files, files};
use super::sections::images::{Images, images};
use super::sections::learning::{LearningView, learning};
use super::sections::patches::{Nearest, Sample, nearest, sample};
use super::sections::running::{Running, running};
use super::sections::uses::{Uses, made_of, uses};
use super::sections::words::{Words, words};
use super::text::{count, patch_size, seconds};

/// The page's values, section by section.
#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page {
    name: String,
    version: String,
    /// Key figures: number and what it is.
    figures: Vec<(String, &'static str)>,
    /// By which words.
    words: String,
    n_rows: String,
    n_values: String,
    made_of: String,
    data: Data,
    pixel_clusters: Option<Clusters>,
    sizes: Vec<Size>,
    has_sample: bool,
    has_nearest: bool,
    /// Whether words are of whitened patches.
    is_white: bool,
    images: Option<Images>,
    feature_clusters: Option<Clusters>,
    running: Running,
    files: Files,
}

/// What the page shows of each size of patches.
struct Size {
    /// Where there are several: which one.
    heading: Option<String>,
    /// The vocabulary's file where it came ready.
    from: Option<String>,
    vocabulary_file: String,
    patches_file: String,
    sample: Option<Sample>,
    learning: Option<LearningView>,
    words: Words,
    nearest: Option<Nearest>,
    uses: Uses,
}

/// Makes the page, and paints its pictures.
pub(super) fn page(run: &RunFiles, painter: &mut Painter) -> Result<Page> {
    let data = data(run);
    let pixel_clusters = clusters(run, "pixels", painter)?;
    let from = from(run);
    let sizes = run.sizes.iter().enumerate();
    let sizes: Vec<Size> = sizes
        .map(|(at, files)| size(run, files, from.get(at), painter))
        .collect();
    let n_words = count(run.manifest.counts.words);
    Ok(Page {
        name: name(&run.dir),
        version: run.manifest.bovw.clone(),
        figures: figures(run),
        words: match run.sizes.len() {
            1 => format!("{n_words} learned words"),
            n => format!("{n_words} learned words for patches of {n} sizes"),
        },
        n_rows: count(run.manifest.counts.rows),
        n_values: count(run.manifest.counts.n_values()),
        made_of: made_of(&run.recipe, run.sizes.len()),
        data,
        pixel_clusters,
        has_sample: sizes.iter().any(|size| size.sample.is_some()),
        has_nearest: sizes.iter().any(|size| size.nearest.is_some()),
        is_white: run
            .sizes
            .iter()
            .any(|size| size.vocabulary.preparation.whiten.is_some()),
        sizes,
        images: images(run, painter),
        feature_clusters: clusters(run, "features", painter)?,
        running: running(run, painter),
        files: files(run),
    })
}

fn size(run: &RunFiles, files: &SizeFiles, from: Option<&String>, painter: &mut Painter) -> Size {
    let heading = format!("Patches of {} pixels", patch_size(files.patch));
    Size {
        heading: (files.n_sizes > 1).then_some(heading),
        from: from.cloned(),
        vocabulary_file: files.vocabulary_file.clone(),
        patches_file: files.patches_file.clone(),
        sample: sample(run, files, painter),
        learning: learning(run, files, painter),
        words: words(files, painter),
        nearest: nearest(files, painter),
        uses: uses(run, files, painter),
    }
}

/// The vocabularies that the job names.
fn from(run: &RunFiles) -> Vec<String> {
    let from = run.manifest.job["vocabulary"]["from"].clone();
    let paths: Each<String> = serde_json::from_value(from).unwrap_or_default();
    paths.to_vec()
}

/// Writes the page, whole or not at all.
pub(super) fn write(page: &Page, path: &Path) -> Result<WholeFile> {
    let mut writer = WholeWriter::create(path)?;
    page.write_into(&mut writer)
        .and_then(|()| writer.flush())
        .map_err(|source| Error::io(path, "write", source))?;
    writer.finish()
}

/// What the run's directory is called.
fn name(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

fn figures(run: &RunFiles) -> Vec<(String, &'static str)> {
    let counts = &run.manifest.counts;
    let mut figures = vec![
        (count(counts.tally.images), "images"),
        (count(counts.tally.patches), "patches"),
        (count(counts.words), "words"),
    ];
    // Those of several sizes cannot be compared.
    if let [
        SizeFiles {
            learning: Some(learning),
            ..
        },
    ] = run.sizes.as_slice()
    {
        figures.push((
            format!("{:.3}", learning.inertia_per_patch),
            "inertia a patch",
        ));
    }
    let time = run.manifest.run["seconds"].as_f64();
    figures.extend(time.map(|time| (seconds(time), "for the run")));
    figures
}
