//! A finished run as pictures and a page: `pictures/*.png` and `report.html`, drawn from the run's own files alone.
//!
//! ```text
//! manifest, vocabulary, pictures/*.parquet, features, clusters  ->  RunFiles  ->  sections  ->  page.html
//!                                                                                    |
//!                                                                                    +->  pictures/*.png
//! ```
//!
//! Nothing here reads an input, looks at a clock or changes a result. Both outputs are derived: they are in no manifest, and
//! may be removed and drawn again. Pictures are the same bytes for any number of threads, but for those of the timeline.
//! Whatever the run's size, what is shown has a bound, and the page says what was left out.

mod chart;
mod color;
mod heat;
mod page;
mod paint;
mod run_files;
mod sections;
mod sheet;
pub mod text;
mod tile;
mod word_use;

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::job::sizes_of;
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::examples::PICTURES_DIR;
use crate::shard::manifest::{ClusterEntry, Manifest, sized_name};
use crate::shard::whole;

use paint::Painter;
use run_files::RunFiles;

/// The report's name in a run's directory.
pub const REPORT_FILE: &str = "report.html";

/// Pictures of every run, below `pictures/`; those of clusters come on top.
const PICTURES: [&str; 3] = ["images", "throughput", "channels"];

/// Pictures of every size of patches.
const SIZE_PICTURES: [&str; 6] = [
    "patches",
    "inertia",
    "words",
    "nearest",
    "use",
    "use_by_class",
];

/// Pictures of one clustering: what follows its name.
const CLUSTER_PICTURES: [&str; 3] = ["centroids", "confusion", "inertia"];

/// What was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The report.
    pub report: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// The pictures, by their paths in the run's directory.
    pub pictures: Vec<String>,
}

/// Draws the pictures and the report of a finished run into its directory.
///
/// # Errors
/// A file that the manifest lists is missing, damaged or another; the directory cannot be written to.
pub fn draw(dir: &Path) -> Result<Drawn> {
    let files = RunFiles::open(dir)?;
    whole::create_dir(&dir.join(PICTURES_DIR))?;
    let mut painter = Painter::new(dir);
    let page = page::page(&files, &mut painter)?;
    let threads = files.manifest.run["threads"].as_u64().unwrap_or(1);
    let pictures = painter.draw(usize::try_from(threads).unwrap_or(1))?;
    let report = dir.join(REPORT_FILE);
    let written = page::write(&page, &report)?;
    Ok(Drawn {
        report,
        size_bytes: written.size_bytes,
        pictures,
    })
}

/// A vocabulary's most used words as HTML: one picture, and what it shows.
pub fn words_html(vocabulary: &Vocabulary) -> String {
    sections::words::html(vocabulary)
}

/// What [`draw`] takes for everything but words: the page's pictures and text, a strip of pixels, a piece of a file.
const BASE_BYTES: u64 = 4 << 20;

/// Upper bound on the heap bytes that [`draw`] allocates for vocabularies of `k` words of `d` values each, what was kept for
/// it and clusters not counted.
pub fn heap_bytes(vocabularies: impl Iterator<Item = (usize, usize)>) -> u64 {
    let bytes = vocabularies.map(|(k, d)| {
        let (k, d) = (k as u64, d as u64);
        // The words as they are read and as they are, and laid out for the search; their uses.
        k * d * 16 + k * 64
    });
    BASE_BYTES + bytes.sum::<u64>()
}

/// Every file that [`draw`] may have made for a run, by its path in the run's directory.
pub fn files(manifest: &Manifest) -> Vec<String> {
    let clusters = manifest.clusters.iter().flat_map(|cluster| {
        CLUSTER_PICTURES.map(|kind| format!("{}.{kind}", cluster_name(cluster)))
    });
    // A manifest that does not say is of a run of one size.
    let patches = sizes_of(&manifest.job).unwrap_or_default();
    let of_size = SIZE_PICTURES.iter().flat_map(|kind| match patches.len() {
        0 => vec![(*kind).to_owned()],
        n => patches
            .iter()
            .map(|&patch| sized_name(kind, patch, n))
            .collect(),
    });
    let pictures = of_size.chain(PICTURES.map(str::to_owned)).chain(clusters);
    let mut files: Vec<String> = pictures.map(|name| picture_path(&name)).collect();
    files.push(REPORT_FILE.to_owned());
    files
}

fn picture_path(name: &str) -> String {
    format!("{PICTURES_DIR}/{name}.png")
}

/// What a clustering's files are called, without folder and ending.
fn cluster_name(cluster: &ClusterEntry) -> String {
    let name = Path::new(&cluster.file).file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
