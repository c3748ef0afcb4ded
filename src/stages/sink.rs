//! Sink: vectors, in order, to one features file a shard.
//!
//! A shard is done when all its rows have come; only then does its file get its name, and only then is it reported.

use std::path::{Path, PathBuf};

use super::featurize::FeatureBatch;
use crate::error::Result;
use crate::shard::features::{FeaturesWriter, Layout};
use crate::shard::input::InputSet;
use crate::shard::manifest::{
    BadImage, FEATURES_DIR, FeaturesFile, MAX_LISTED_BAD, Tally, hash_file,
};

/// Writes features files.
pub struct Sink<'a> {
    input: &'a InputSet,
    dir: PathBuf,
    n_values: usize,
    has_status: bool,
    provenance: Box<dyn Fn(usize) -> String + 'a>,
    on_file: Box<dyn FnMut(usize, FeaturesFile) -> Result<()> + 'a>,
    open: Option<OpenFile>,
}

struct OpenFile {
    shard: usize,
    writer: FeaturesWriter,
    n_rows_seen: u64,
    tally: Tally,
    n_bad: u64,
    bad: Vec<BadImage>,
}

impl<'a> Sink<'a> {
    /// A sink into the folder `features` of the run's directory, which must exist. `provenance` is what a shard's file says of itself;
    /// `on_file` hears of each file once it is whole.
    pub fn new(
        input: &'a InputSet,
        run_dir: &Path,
        n_values: usize,
        has_status: bool,
        provenance: impl Fn(usize) -> String + 'a,
        on_file: impl FnMut(usize, FeaturesFile) -> Result<()> + 'a,
    ) -> Sink<'a> {
        Sink {
            input,
            dir: run_dir.join(FEATURES_DIR),
            n_values,
            has_status,
            provenance: Box::new(provenance),
            on_file: Box::new(on_file),
            open: None,
        }
    }

    /// Writes the rows of a batch.
    pub fn push(&mut self, batch: FeatureBatch) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create(batch.shard)?,
        };
        assert_eq!(open.shard, batch.shard, "a shard ended early");
        open.n_rows_seen += batch.n_rows as u64;
        open.tally.add(batch.tally);
        open.n_bad += batch.bad.len() as u64;
        open.bad.extend(batch.bad);
        open.bad.truncate(MAX_LISTED_BAD);
        open.writer.push(batch.rows)?;
        if open.n_rows_seen < self.input.shards[batch.shard].n_rows {
            self.open = Some(open);
            return Ok(());
        }
        let written = open.writer.finish()?;
        let file = FeaturesFile {
            path: features_path(self.input, open.shard),
            rows: written.n_rows,
            file: written.file,
            tally: open.tally,
            n_bad: open.n_bad,
            bad_images: open.bad,
            input_blake3: hash_file(&self.input.shards[open.shard].path)?,
        };
        (self.on_file)(open.shard, file)
    }

    fn create(&self, shard: usize) -> Result<OpenFile> {
        let info = &self.input.shards[shard];
        let layout: Layout = self.input.layout(info, self.n_values, self.has_status);
        let path = self.dir.join(file_name(self.input, shard));
        Ok(OpenFile {
            shard,
            writer: FeaturesWriter::create(&path, layout, (self.provenance)(shard))?,
            n_rows_seen: 0,
            tally: Tally::default(),
            n_bad: 0,
            bad: Vec::new(),
        })
    }
}

/// Path of a shard's features file in a run's directory.
pub fn features_path(input: &InputSet, shard: usize) -> String {
    format!("{FEATURES_DIR}/{}", file_name(input, shard))
}

fn file_name(input: &InputSet, shard: usize) -> String {
    format!("{}.parquet", input.shards[shard].name)
}
