//! Sink: vectors, in order, to one features file a shard; and bad images to a list beside it.
//!
//! A shard is done when all its rows have come; only then does its file get its name, and only then is it reported.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::featurize::FeatureBatch;
use crate::error::{Error, Result};
use crate::shard::features::{FeaturesWriter, Layout};
use crate::shard::input::InputSet;
use crate::shard::manifest::{
    BAD_IMAGES_DIR, BadImage, FEATURES_DIR, FeaturesFile, MAX_REPEATED_BAD, ManifestOutput, Tally,
    hash_file,
};
use crate::shard::whole::{self, WholeWriter};

/// Writes features files.
pub struct Sink<'a> {
    input: &'a InputSet,
    run_dir: PathBuf,
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
    first_bad: Vec<BadImage>,
    // Made with the first bad image.
    bad_list: Option<WholeWriter>,
}

impl<'a> Sink<'a> {
    /// A sink into a run's directory, whose folder of features exists. `provenance` is what a shard's file says of itself;
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
            run_dir: run_dir.to_owned(),
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
        self.list_bad(&mut open, batch.bad)?;
        open.writer.push(batch.rows)?;
        if open.n_rows_seen < self.input.shards[batch.shard].n_rows {
            self.open = Some(open);
            return Ok(());
        }
        self.input.shards[open.shard].check_unchanged()?;
        let written = open.writer.finish()?;
        let bad_list = match open.bad_list {
            Some(list) => Some(ManifestOutput {
                path: format!("{BAD_IMAGES_DIR}/{}", self.bad_list_name(open.shard)),
                rows: open.n_bad,
                file: list.finish()?,
            }),
            None => None,
        };
        let file = FeaturesFile {
            path: features_path(self.input, open.shard),
            rows: written.n_rows,
            file: written.file,
            tally: open.tally,
            n_bad: open.n_bad,
            bad_list,
            bad_images: open.first_bad,
            input_blake3: hash_file(&self.input.shards[open.shard].path)?,
        };
        (self.on_file)(open.shard, file)
    }

    fn create(&self, shard: usize) -> Result<OpenFile> {
        let info = &self.input.shards[shard];
        let layout: Layout = self.input.layout(info, self.n_values, self.has_status);
        let path = self.run_dir.join(features_path(self.input, shard));
        Ok(OpenFile {
            shard,
            writer: FeaturesWriter::create(&path, layout, (self.provenance)(shard))?,
            n_rows_seen: 0,
            tally: Tally::default(),
            n_bad: 0,
            first_bad: Vec::new(),
            bad_list: None,
        })
    }

    /// Lists bad images on disk, so that however many there are, none is lost and none stays in memory.
    fn list_bad(&self, open: &mut OpenFile, bad: Vec<BadImage>) -> Result<()> {
        for image in bad {
            if open.bad_list.is_none() {
                let dir = self.run_dir.join(BAD_IMAGES_DIR);
                whole::create_dir(&dir)?;
                let path = dir.join(self.bad_list_name(open.shard));
                open.bad_list = Some(WholeWriter::create(&path)?);
            }
            if let Some(list) = &mut open.bad_list {
                serde_json::to_writer(&mut *list, &image)
                    .map_err(std::io::Error::from)
                    .and_then(|()| list.write_all(b"\n"))
                    .map_err(|source| Error::io(list.path(), "write", source))?;
            }
            open.n_bad += 1;
            if open.first_bad.len() < MAX_REPEATED_BAD {
                open.first_bad.push(image);
            }
        }
        Ok(())
    }

    fn bad_list_name(&self, shard: usize) -> String {
        format!("{}.jsonl", self.input.shards[shard].name)
    }
}

/// Path of a shard's features file in a run's directory.
fn features_path(input: &InputSet, shard: usize) -> String {
    format!("{FEATURES_DIR}/{}.parquet", input.shards[shard].name)
}
