//! The page: all sections put together, and written as one file.

use std::io::Write;
use std::path::Path;

use askama::Template;

use crate::error::{Error, Result};
use crate::shard::whole::{WholeFile, WholeWriter};

use super::paint::Painter;
use super::run_files::RunFiles;
use super::sections::clusters::{Clusters, clusters};
use super::sections::data::{Data, data};
use super::sections::files::{Files, files};
use super::sections::images::{Images, images};
use super::sections::learning::{LearningView, learning};
use super::sections::patches::{Nearest, Sample, nearest, sample};
use super::sections::running::{Running, running};
use super::sections::uses::{Uses, uses};
use super::sections::words::{Words, words};
use super::text::{count, seconds};

/// The page's values, section by section.
#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page {
    name: String,
    version: String,
    /// Key figures: number and what it is.
    figures: Vec<(String, &'static str)>,
    /// The vocabulary's file where it came ready.
    from: Option<String>,
    data: Data,
    pixel_clusters: Option<Clusters>,
    sample: Option<Sample>,
    learning: Option<LearningView>,
    words: Words,
    nearest: Option<Nearest>,
    uses: Uses,
    images: Option<Images>,
    feature_clusters: Option<Clusters>,
    running: Running,
    files: Files,
}

/// Makes the page, and paints its pictures.
pub(super) fn page(run: &RunFiles, painter: &mut Painter) -> Result<Page> {
    let from = run.manifest.job["vocabulary"]["from"].as_str();
    Ok(Page {
        name: name(&run.dir),
        version: run.manifest.bovw.clone(),
        figures: figures(run),
        from: from.map(str::to_owned),
        data: data(run),
        pixel_clusters: clusters(run, "pixels", painter)?,
        sample: sample(run, painter),
        learning: learning(run, painter),
        words: words(run, painter),
        nearest: nearest(run, painter),
        uses: uses(run, painter),
        images: images(run, painter),
        feature_clusters: clusters(run, "features", painter)?,
        running: running(run, painter),
        files: files(run),
    })
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
    if let Some(learning) = &run.learning {
        figures.push((
            format!("{:.3}", learning.inertia_per_patch),
            "inertia a patch",
        ));
    }
    let time = run.manifest.run["seconds"].as_f64();
    figures.extend(time.map(|time| (seconds(time), "for the run")));
    figures
}
