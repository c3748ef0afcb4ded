//! Writes images as Parquet shards, in Hugging Face's layout unless told otherwise, `NAME-00000-of-00006.parquet` and so on.
//!
//! The image column is stored plain and, unless told otherwise, uncompressed, as Hugging Face does: images are compressed
//! already, and a mapped shard is then read without a copy. Shards are written under temporary names and get their own all together, at the
//! end. Memory is bounded by one row group. It must never leave a file behind, temporary or not, unless all are whole.

mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::{NamedTempFile, TempPath};

use super::Target;
use crate::error::{Error, Result};
use crate::shard::whole::{self, sync_dir, write_error};

pub use parquet::basic::{Compression, ZstdLevel};
use rows::Pending;
pub use rows::{ImageStorage, Storage};

/// The most rows in a row group, so that a sample of rows can skip the others.
pub const ROW_GROUP_MAX_ROWS: usize = 1000;
/// The most image bytes in a row group of several rows: what a reader, and this writer, hold at once.
pub const ROW_GROUP_MAX_BYTES: usize = 32 << 20;
/// Image bytes after which a shard is full even if it has fewer rows than asked for; about what Hugging Face uses.
pub const SHARD_MAX_BYTES: u64 = 512 << 20;
/// The largest encoded image. Parquet's own limit is 2 GiB a page.
pub const MAX_IMAGE_BYTES: usize = 256 << 20;
/// The longest shard name prefix; with the numbers it stays under the 255 bytes that file systems allow.
pub const MAX_NAME_BYTES: usize = 200;
/// Digits of a shard number, unless there are more shards than that.
const NUMBER_DIGITS: usize = 5;

/// What the label column of an import holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// There is none.
    None,
    /// Indices into these names.
    Classes(Vec<String>),
    /// Whole numbers that are not classes.
    Numbers,
    /// Text that is not a class.
    Text,
}

/// The label of one image; of the kind that the writer was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label<'a> {
    /// The import has no labels.
    None,
    /// A class, or a number.
    Number(i64),
    /// Text.
    Text(&'a str),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The shards, in order.
    pub shards: Vec<PathBuf>,
    /// Rows of all shards together.
    pub images: u64,
    /// Bytes of all shards together.
    pub bytes: u64,
}

/// Writes images one by one, as they come. Dropped before [`ShardWriter::finish`], it removes what it wrote.
#[derive(Debug)]
pub struct ShardWriter {
    target: Target,
    schema: SchemaRef,
    properties: WriterProperties,
    pending: Pending,
    open: Option<OpenShard>,
    closed: Vec<TempPath>,
    images: u64,
    bytes: u64,
    // Declared after the files, and so dropped after them: a folder must be empty to be removed.
    dirs: CreatedDirs,
}

#[derive(Debug)]
struct OpenShard {
    writer: ArrowWriter<NamedTempFile>,
    rows: u64,
    image_bytes: u64,
}

impl ShardWriter {
    /// A writer of shards whose labels are `labels`. Makes the output folder, and checks that nothing is in the way.
    pub fn create(target: &Target, labels: &Labels) -> Result<ShardWriter> {
        ShardWriter::create_stored(target, labels, &Storage::default())
    }

    /// The same, with a say in how rows are stored.
    pub fn create_stored(
        target: &Target,
        labels: &Labels,
        storage: &Storage,
    ) -> Result<ShardWriter> {
        check_target(target)?;
        let dirs = CreatedDirs::create(&target.out)?;
        let pending = Pending::new(labels, storage);
        Ok(ShardWriter {
            target: target.clone(),
            schema: pending.schema(labels),
            properties: rows::writer_properties(labels, storage),
            pending,
            open: None,
            closed: Vec::new(),
            images: 0,
            bytes: 0,
            dirs,
        })
    }

    /// Adds one image, encoded or raw as the storage has it. `path` names it for the reader; nobody opens it.
    ///
    /// # Panics
    /// If `label` is not of the kind that the writer was made for.
    pub fn push(&mut self, image: &[u8], path: Option<&str>, label: Label<'_>) -> Result<()> {
        if image.len() > MAX_IMAGE_BYTES {
            return Err(Error::Data {
                message: format!(
                    "image {} has {} bytes; at most {MAX_IMAGE_BYTES} are possible",
                    self.images,
                    image.len()
                ),
                help: None,
            });
        }
        if self.shard_is_full(image.len()) {
            self.close_shard()?;
        } else if self.pending.is_full(image.len()) {
            self.write_row_group()?;
        }
        self.pending.push(image, path, label);
        self.images += 1;
        Ok(())
    }

    /// Images added so far.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Writes what is left and gives all shards their names.
    pub fn finish(mut self) -> Result<Written> {
        if self.images == 0 {
            return Err(Error::Data {
                message: "there are no images to write".to_owned(),
                help: None,
            });
        }
        self.close_shard()?;
        let shards = publish(&self.target, std::mem::take(&mut self.closed))?;
        self.dirs.keep(&self.target.out)?;
        Ok(Written {
            shards,
            images: self.images,
            bytes: self.bytes,
        })
    }

    fn shard_is_full(&self, next_bytes: usize) -> bool {
        let (rows, bytes) = self
            .open
            .as_ref()
            .map_or((0, 0), |open| (open.rows, open.image_bytes));
        let rows = rows + self.pending.rows() as u64;
        let bytes = bytes + self.pending.image_bytes() as u64;
        rows >= self.target.rows_per_shard
            || (rows > 0 && bytes + next_bytes as u64 > SHARD_MAX_BYTES)
    }

    fn write_row_group(&mut self) -> Result<()> {
        if self.pending.rows() == 0 {
            return Ok(());
        }
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(OpenShard {
                writer: open_shard(&self.target, &self.schema, &self.properties)?,
                rows: 0,
                image_bytes: 0,
            }),
        };
        open.rows += self.pending.rows() as u64;
        open.image_bytes += self.pending.image_bytes() as u64;
        let batch = self.pending.take(&self.schema);
        open.writer
            .write(&batch)
            .and_then(|()| open.writer.flush())
            .map_err(|e| write_error(&self.target.out, e))
    }

    fn close_shard(&mut self) -> Result<()> {
        self.write_row_group()?;
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let out = &self.target.out;
        let file = open.writer.into_inner().map_err(|e| write_error(out, e))?;
        let written = file.as_file();
        self.bytes += written
            .sync_all()
            .and_then(|()| written.metadata())
            .map_err(|source| Error::io(out, "write a shard", source))?
            .len();
        self.closed.push(file.into_temp_path());
        Ok(())
    }
}

fn open_shard(
    target: &Target,
    schema: &SchemaRef,
    properties: &WriterProperties,
) -> Result<ArrowWriter<NamedTempFile>> {
    let prefix = format!(".{}-", target.name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".parquet.tmp");
    builder.permissions(whole::permissions());
    let file = builder
        .tempfile_in(&target.out)
        .map_err(|source| Error::io(&target.out, "make a file", source))?;
    ArrowWriter::try_new(file, schema.clone(), Some(properties.clone()))
        .map_err(|e| write_error(&target.out, e))
}

/// Renames the finished files, which are on the disk already, in order; then removes the shards that they replace.
fn publish(target: &Target, files: Vec<TempPath>) -> Result<Vec<PathBuf>> {
    let replaced = existing_shards(target)?;
    if !target.overwrite {
        check_nothing_in_the_way(target, &replaced)?;
    }
    let total = files.len();
    let mut shards = Vec::with_capacity(total);
    for (index, file) in files.into_iter().enumerate() {
        let shard = target.out.join(shard_name(&target.name, index, total));
        if let Err(e) = file.persist(&shard) {
            for shard in &shards {
                // The rename's error is the one to report; a shard that cannot be removed is listed in the folder.
                let _ = fs::remove_file(shard);
            }
            return Err(Error::io(&shard, "rename a finished file to", e.error));
        }
        shards.push(shard);
    }
    for old in replaced.iter().filter(|old| !shards.contains(old)) {
        fs::remove_file(old).map_err(|source| Error::io(old, "remove", source))?;
    }
    sync_dir(&target.out)?;
    Ok(shards)
}

fn shard_name(name: &str, index: usize, total: usize) -> String {
    let digits = total.to_string().len().max(NUMBER_DIGITS);
    format!("{name}-{index:0digits$}-of-{total:0digits$}.parquet")
}

fn is_shard_name(file_name: &str, name: &str) -> bool {
    let is_number =
        |text: &str| text.len() >= NUMBER_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    file_name
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(".parquet"))
        .and_then(|rest| rest.split_once("-of-"))
        .is_some_and(|(index, total)| is_number(index) && is_number(total))
}

/// Shards of the target's name that are in its folder, sorted.
fn existing_shards(target: &Target) -> Result<Vec<PathBuf>> {
    let read_error = |source| Error::io(&target.out, "read the folder", source);
    let mut shards = Vec::new();
    for entry in fs::read_dir(&target.out).map_err(read_error)? {
        let name = entry.map_err(read_error)?.file_name();
        if name
            .to_str()
            .is_some_and(|file| is_shard_name(file, &target.name))
        {
            shards.push(target.out.join(name));
        }
    }
    shards.sort();
    Ok(shards)
}

fn check_nothing_in_the_way(target: &Target, existing: &[PathBuf]) -> Result<()> {
    let Some(shard) = existing.first() else {
        return Ok(());
    };
    let name = shard.file_name().unwrap_or_default().display();
    Err(Error::OtherJob {
        dir: target.out.clone(),
        message: format!("holds shards of this name already: {name}"),
        help: Some(
            "--overwrite replaces all of them; --name, or another --out, keeps them".to_owned(),
        ),
    })
}

/// Whether shards can be written there, as far as it can be known before anything is: a name that works, and nothing
/// in the way. Imports ask before they read much.
pub(super) fn check_target(target: &Target) -> Result<()> {
    check_settings(target)?;
    if !target.overwrite && target.out.is_dir() {
        check_nothing_in_the_way(target, &existing_shards(target)?)?;
    }
    Ok(())
}

fn check_settings(target: &Target) -> Result<()> {
    let name = &target.name;
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "is too long; 200 bytes are possible"
    } else if name.starts_with('.') {
        "starts with a dot, which hides the shards"
    } else if name.contains(|c: char| c.is_control() || r#"/\*?[]{}:"<>|"#.contains(c)) {
        "cannot be part of a file name that a job's input.files is to match; use letters, digits, - and _"
    } else if target.rows_per_shard == 0 {
        return Err(Error::Usage {
            message: "--rows-per-shard 0: a shard needs at least 1 row".to_owned(),
        });
    } else {
        return Ok(());
    };
    Err(Error::Usage {
        message: format!("--name {name:?} {problem}"),
    })
}

/// The folders that had to be made, innermost last. Dropped without [`CreatedDirs::keep`], it removes them again.
#[derive(Debug)]
struct CreatedDirs(Vec<PathBuf>);

impl CreatedDirs {
    fn create(out: &Path) -> Result<CreatedDirs> {
        let mut missing: Vec<PathBuf> = out
            .ancestors()
            .filter(|dir| !dir.as_os_str().is_empty())
            .take_while(|dir| !dir.exists())
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        let dirs = CreatedDirs(missing);
        fs::create_dir_all(out).map_err(|source| Error::io(out, "create the folder", source))?;
        Ok(dirs)
    }

    /// Makes sure that the folders, too, outlive a power cut.
    fn keep(&mut self, out: &Path) -> Result<()> {
        for dir in std::mem::take(&mut self.0) {
            let parent = dir.parent().filter(|dir| !dir.as_os_str().is_empty());
            sync_dir(parent.unwrap_or(Path::new(".")))?;
        }
        sync_dir(out)
    }
}

impl Drop for CreatedDirs {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            // Only an empty folder goes; what someone else put there stays.
            let _ = fs::remove_dir(dir);
        }
    }
}

#[cfg(test)]
mod tests;
