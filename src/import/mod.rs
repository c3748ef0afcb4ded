//! Imports: Parquet shards, in Hugging Face's image layout, out of what people have.
//!
//! One module a format: [`idx`], [`csv`] and [`images`]; all of them write through [`shards`]. An import streams, so its
//! memory does not grow with its input, and the same input always gives the same bytes. It must never change the pixels
//! or the encoded bytes that it was given, panic on what a file holds, or leave anything in the output folder unless
//! every shard is whole.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

pub mod csv;
mod grey;
pub mod idx;
pub mod images;
pub mod shards;
mod source;

pub use grey::{MAX_PIXELS, MAX_SIDE};
pub(crate) use grey::{check_size, encode_png};

/// Rows in a shard where the user does not say.
pub const DEFAULT_ROWS_PER_SHARD: u64 = 10_000;
/// The largest number of names in a class label; more are kept as plain values.
pub const MAX_CLASSES: usize = 32_768;
/// The most skipped files that a [`Summary`] lists by name; the others are only counted.
pub const MAX_SKIPPED_LISTED: usize = 10_000;
/// Images between two reports of progress.
const PROGRESS_STEP: u64 = 64;

/// Where an import writes, whatever it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The folder; made where it is missing.
    pub out: PathBuf,
    /// What the shards' names start with.
    pub name: String,
    /// The most rows in a shard, at least 1.
    pub rows_per_shard: u64,
    /// Whether shards of this name that are already there are replaced.
    pub overwrite: bool,
}

impl Target {
    /// This folder, and the usual choices for the rest.
    pub fn new(out: impl Into<PathBuf>) -> Target {
        Target {
            out: out.into(),
            name: "images".to_owned(),
            rows_per_shard: DEFAULT_ROWS_PER_SHARD,
            overwrite: false,
        }
    }
}

/// How the caller watches an import, and stops it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Called now and then, and at the end, with the images done and, where it is known, how many there are.
    pub progress: &'a dyn Fn(u64, Option<u64>),
    /// Asked before every image; `true` ends the import with [`Error::Interrupted`].
    pub stop: &'a dyn Fn() -> bool,
}

impl Watch<'static> {
    /// Reports nothing and never stops.
    pub const NONE: Watch<'static> = Watch {
        progress: &|_, _| {},
        stop: &|| false,
    };
}

impl Watch<'_> {
    /// Before image `done`: reports, and ends the import on request.
    fn before_image(&self, done: u64, total: Option<u64>) -> Result<()> {
        if done.is_multiple_of(PROGRESS_STEP) {
            (self.progress)(done, total);
        }
        self.check_stop()
    }

    fn check_stop(&self) -> Result<()> {
        if (self.stop)() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Images written.
    pub images: u64,
    /// The shards, in order.
    pub shards: Vec<PathBuf>,
    /// The names of the classes, where the labels are classes; a label is an index into them.
    pub classes: Option<Vec<String>>,
    /// Files that were left out, and why; the first [`MAX_SKIPPED_LISTED`] of them.
    pub skipped: Vec<(String, String)>,
    /// All files that were left out.
    pub n_skipped: u64,
    /// Choices that were made for the user, each with its reason, as sentences to show.
    pub notes: Vec<String>,
    /// Bytes of all shards together.
    pub bytes: u64,
}

impl Summary {
    fn skip(&mut self, place: String, reason: String) {
        self.n_skipped += 1;
        if self.skipped.len() < MAX_SKIPPED_LISTED {
            self.skipped.push((place, reason));
        }
    }

    fn add_written(&mut self, written: shards::Written) {
        self.images = written.images;
        self.bytes = written.bytes;
        self.shards = written.shards;
    }
}

/// Class names "0", "1", ... where `labels`, which ascend, are 0..=n without a gap; -1, Hugging Face's "unknown", may
/// come before.
fn numbered_classes(labels: impl IntoIterator<Item = i64>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for label in labels.into_iter().filter(|&label| label != -1) {
        if names.len() >= MAX_CLASSES || usize::try_from(label) != Ok(names.len()) {
            return None;
        }
        names.push(label.to_string());
    }
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_from_zero_without_a_gap_are_classes() {
        let names = |labels: &[i64]| numbered_classes(labels.iter().copied());
        assert_eq!(names(&[0, 1, 2]).unwrap(), ["0", "1", "2"]);
        assert_eq!(names(&[-1, 0, 1]).unwrap(), ["0", "1"]);
        assert_eq!(names(&[1, 2]), None);
        assert_eq!(names(&[0, 2]), None);
        assert_eq!(names(&[-2, 0]), None);
        assert_eq!(names(&[-1]), None);
        assert_eq!(names(&[]), None);
    }

    #[test]
    fn skipped_files_beyond_the_limit_are_counted() {
        let mut summary = Summary::default();
        for i in 0..MAX_SKIPPED_LISTED + 5 {
            summary.skip(i.to_string(), String::new());
        }
        assert_eq!(summary.skipped.len(), MAX_SKIPPED_LISTED);
        assert_eq!(summary.n_skipped, MAX_SKIPPED_LISTED as u64 + 5);
    }
}
