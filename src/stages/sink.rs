//! Sink: vectors, in order, to one features file a stretch of a shard; and bad images to a list beside it.
//!
//! A stretch is done when all its rows have come; only then does its file get its name, and only then is it reported.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::featurize::FeatureBatch;
use super::source::Stretch;
use crate::error::{Error, Result};
use crate::shard::features::{FeaturesWriter, Layout};
use crate::shard::input::InputSet;
use crate::shard::manifest::{
    BAD_IMAGES_DIR, BadImage, FEATURES_DIR, FeaturesFile, MAX_REPEATED_BAD, ManifestOutput, Tally,
    hash_file,
};
use crate::shard::whole::{self, WholeWriter};

/// Where the features of a stretch and the list of its bad images go, as paths in the sink's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkFiles {
    /// The features file, in a folder that exists.
    pub features: String,
    /// The list.
    pub bad_list: String,
}

impl SinkFiles {
    /// Where a run has those of a whole shard.
    pub fn of_shard(name: &str) -> SinkFiles {
        SinkFiles {
            features: format!("{FEATURES_DIR}/{name}.parquet"),
            bad_list: format!("{BAD_IMAGES_DIR}/{name}.jsonl"),
        }
    }
}

/// Writes features files.
pub struct Sink<'a> {
    input: &'a InputSet,
    stretches: VecDeque<Stretch>,
    dir: PathBuf,
    files: &'a dyn Fn(usize) -> SinkFiles,
    n_values: usize,
    has_status: bool,
    provenance: Box<dyn Fn(usize) -> String + 'a>,
    on_file: Box<dyn FnMut(usize, FeaturesFile) -> Result<()> + 'a>,
    open: Option<OpenFile>,
}

struct OpenFile {
    stretch: Stretch,
    files: SinkFiles,
    writer: FeaturesWriter,
    n_rows_seen: u64,
    tally: Tally,
    n_bad: u64,
    first_bad: Vec<BadImage>,
    // Made with the first bad image.
    bad_list: Option<WholeWriter>,
}

impl<'a> Sink<'a> {
    /// A sink into a folder for the features of some stretches, which come in this order; `files` says where those of a
    /// shard go. `provenance` is what a shard's file says of itself; `on_file` hears of each file once it is whole.
    pub fn new(
        input: &'a InputSet,
        stretches: impl IntoIterator<Item = Stretch>,
        (dir, files): (&Path, &'a dyn Fn(usize) -> SinkFiles),
        (n_values, has_status): (usize, bool),
        provenance: impl Fn(usize) -> String + 'a,
        on_file: impl FnMut(usize, FeaturesFile) -> Result<()> + 'a,
    ) -> Sink<'a> {
        Sink {
            input,
            stretches: stretches.into_iter().collect(),
            dir: dir.to_owned(),
            files,
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
            None => self.create()?,
        };
        assert_eq!(open.stretch.shard, batch.shard, "a shard ended early");
        open.n_rows_seen += batch.n_rows as u64;
        open.tally.add(batch.tally);
        self.list_bad(&mut open, batch.bad)?;
        open.writer.push(batch.rows)?;
        if open.n_rows_seen < open.stretch.n_rows {
            self.open = Some(open);
            return Ok(());
        }
        let info = &self.input.shards[batch.shard];
        info.check_unchanged()?;
        let written = open.writer.finish()?;
        let bad_list = match open.bad_list {
            Some(list) => Some(ManifestOutput {
                path: open.files.bad_list,
                rows: open.n_bad,
                file: list.finish()?,
            }),
            None => None,
        };
        let file = FeaturesFile {
            path: open.files.features,
            rows: written.n_rows,
            file: written.file,
            tally: open.tally,
            n_bad: open.n_bad,
            bad_list,
            bad_images: open.first_bad,
            // Once a shard is enough, however many stretches it is cut into.
            input_blake3: match open.stretch.row_groups.start {
                0 => hash_file(&info.path)?,
                _ => String::new(),
            },
        };
        (self.on_file)(batch.shard, file)
    }

    fn create(&mut self) -> Result<OpenFile> {
        let Some(stretch) = self.stretches.pop_front() else {
            unreachable!("rows of a stretch that is none of the sink's");
        };
        let info = &self.input.shards[stretch.shard];
        let layout: Layout = self.input.layout(info, self.n_values, self.has_status);
        let files = (self.files)(stretch.shard);
        let path = self.dir.join(&files.features);
        Ok(OpenFile {
            writer: FeaturesWriter::create(&path, layout, (self.provenance)(stretch.shard))?,
            stretch,
            files,
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
                let path = self.dir.join(&open.files.bad_list);
                whole::create_parent(&path)?;
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
}
