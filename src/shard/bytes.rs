//! The bytes of a shard, mapped or read: what the Parquet reader reads from.
//!
//! Reads are positioned, so any number of readers may share one file: no cursor is ever shared.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes, buf};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::map::{self, Mapping};
use crate::error::{Error, Place, Result};
use crate::job::Io;

/// The bytes of one file.
#[derive(Debug, Clone)]
pub enum FileBytes {
    /// Mapped into memory.
    Mapped {
        /// All of the file.
        bytes: Bytes,
        /// Tells whether they can be believed, and takes back the pages of what was read.
        mapping: Arc<Mapping>,
    },
    /// In memory, all of it: of no file.
    Held(Bytes),
    /// Read piece by piece.
    Read {
        /// The open file.
        file: Arc<File>,
        /// Its length when it was opened.
        len: u64,
    },
}

impl FileBytes {
    /// Opens a file. `auto` and `mmap` map it; where it cannot be mapped, since it is empty or too many are, it is read.
    pub fn open(path: &Path, io: Io) -> Result<FileBytes> {
        let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
        let metadata = file
            .metadata()
            .map_err(|source| Error::io(path, "read the size", source))?;
        if !metadata.is_file() {
            return Err(Error::file(path, "is not a file"));
        }
        if let Io::Auto | Io::Mmap = io
            && let Some((bytes, mapping)) = map::map_guarded(path, &file)?
        {
            return Ok(FileBytes::Mapped { bytes, mapping });
        }
        Ok(FileBytes::Read {
            file: Arc::new(file),
            len: metadata.len(),
        })
    }

    /// Whether the file is mapped, so that its bytes take no heap.
    pub fn is_mapped(&self) -> bool {
        matches!(self, FileBytes::Mapped { .. })
    }

    /// Whether zeros were read in place of what the file lost while it was mapped. To be asked after reading, before
    /// what was read is believed.
    pub fn is_lost(&self) -> bool {
        match self {
            FileBytes::Mapped { mapping, .. } => mapping.is_lost(),
            FileBytes::Held(_) | FileBytes::Read { .. } => false,
        }
    }

    /// Tells damage that was in the file from what became of it since it was opened; `path` is where that was.
    ///
    /// # Errors
    /// The file was cut short, or its disk failed.
    pub fn check_whole(&self, path: &Path) -> Result<()> {
        let len = self.len();
        if let FileBytes::Held(_) = self {
            return Ok(());
        }
        match path.metadata() {
            Ok(now) if now.len() < len => Err(cut_short(path, len, now.len())),
            _ if self.is_lost() => Err(Error::File {
                place: Place::file(path),
                message: "could not be read to its end while it was mapped: it was cut short, or its disk failed".to_owned(),
                help: Some("copy it again; run.io = \"read\" shows what the system says of the disk".to_owned()),
            }),
            _ => Ok(()),
        }
    }
}

/// The error of a file that had `len` bytes when it was opened and now has fewer.
pub fn cut_short(path: &Path, len: u64, now: u64) -> Error {
    Error::File {
        place: Place::file(path),
        message: format!(
            "was cut short while it was being read: it had {len} bytes, now it has {now}"
        ),
        help: Some("copy or make it again, then run the same command again".to_owned()),
    }
}

impl Length for FileBytes {
    fn len(&self) -> u64 {
        match self {
            FileBytes::Mapped { bytes, .. } | FileBytes::Held(bytes) => bytes.len() as u64,
            FileBytes::Read { len, .. } => *len,
        }
    }
}

impl ChunkReader for FileBytes {
    type T = FileReader;

    fn get_read(&self, start: u64) -> ParquetResult<FileReader> {
        match self {
            FileBytes::Mapped { bytes, .. } | FileBytes::Held(bytes) => {
                let start = checked_range(start, 0, bytes.len() as u64)?.start;
                Ok(FileReader::Mapped(bytes.slice(start as usize..).reader()))
            }
            FileBytes::Read { file, len } => {
                checked_range(start, 0, *len)?;
                Ok(FileReader::Read(BufReader::new(PositionedReader {
                    file: Arc::clone(file),
                    position: start,
                })))
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            FileBytes::Mapped { bytes, mapping } => {
                let range = checked_range(start, length as u64, bytes.len() as u64)?;
                Ok(map::lend(
                    mapping,
                    bytes,
                    range.start as usize..range.end as usize,
                ))
            }
            FileBytes::Held(bytes) => {
                let range = checked_range(start, length as u64, bytes.len() as u64)?;
                Ok(bytes.slice(range.start as usize..range.end as usize))
            }
            FileBytes::Read { file, len } => {
                checked_range(start, length as u64, *len)?;
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, start)?;
                Ok(buffer.into())
            }
        }
    }
}

/// `start .. start + length`, if the file has it: a footer can claim anything.
fn checked_range(start: u64, length: u64, len: u64) -> ParquetResult<std::ops::Range<u64>> {
    match start.checked_add(length) {
        Some(end) if end <= len => Ok(start..end),
        _ => Err(ParquetError::EOF(format!(
            "bytes {start} to {} are asked for, but the file has {len}: it is truncated or its footer is wrong",
            start.saturating_add(length)
        ))),
    }
}

/// A sequential reader of a shard's bytes.
#[derive(Debug)]
pub enum FileReader {
    /// Over mapped memory.
    Mapped(buf::Reader<Bytes>),
    /// Over positioned reads.
    Read(BufReader<PositionedReader>),
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            FileReader::Mapped(reader) => reader.read(out),
            FileReader::Read(reader) => reader.read(out),
        }
    }
}

/// A reader with a position of its own in a shared file.
#[derive(Debug)]
pub struct PositionedReader {
    file: Arc<File>,
    position: u64,
}

impl Read for PositionedReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(out, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}
