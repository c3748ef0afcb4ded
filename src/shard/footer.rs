//! The footer of a Parquet file: read only after it was held against the file.

use std::io::Read;
use std::path::Path;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::bytes::{FileBytes, FileReader};
use super::claims::{self, MAGIC, TAIL_BYTES};
use super::read::{no_panic, without_prefix};
use crate::error::{Error, Place, Result};

/// Reads the footer of the file at `path`.
pub(super) fn read(path: &Path, bytes: &FileBytes) -> Result<ArrowReaderMetadata> {
    if bytes.len() == 0 {
        return Err(Error::file(
            path,
            "is empty (0 bytes), so it is not a Parquet file",
        ));
    }
    check_magic(path, bytes)?;
    let metadata = no_panic(|| checked(bytes));
    // Whatever a file that is being cut short seems to hold, that is what is wrong with it.
    if metadata.is_err() || bytes.is_lost() {
        bytes.check_whole(path)?;
    }
    metadata.map_err(|error| damaged(path, error))
}

/// BLAKE3 of the footer, in hex.
pub(super) fn blake3(path: &Path, bytes: &FileBytes) -> Result<String> {
    let hash = footer(bytes).and_then(|(footer, footer_bytes)| {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(footer.take(footer_bytes))
            .map_err(|error| error.to_string())?;
        Ok(hasher.finalize().to_hex().to_string())
    });
    bytes.check_whole(path)?;
    hash.map_err(|error| damaged(path, error))
}

/// Reads a footer that was held against the file first.
fn checked(bytes: &FileBytes) -> Result<ArrowReaderMetadata, String> {
    let (footer, footer_bytes) = footer(bytes)?;
    claims::check_footer(footer, footer_bytes)?;
    let metadata = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new());
    let metadata = metadata.map_err(|error| error.to_string())?;
    claims::check_metadata(metadata.metadata(), bytes.len())?;
    Ok(metadata)
}

/// A footer that nobody has looked at, and how long it is.
fn footer(bytes: &FileBytes) -> Result<(FileReader, u64), String> {
    let text = |error: ParquetError| error.to_string();
    let len = bytes.len();
    let tail = bytes
        .get_bytes(len.saturating_sub(TAIL_BYTES), TAIL_BYTES as usize)
        .map_err(text)?;
    let tail = tail.as_ref().try_into().map_err(|_| "it has no end")?;
    let range = claims::footer_range(tail, len)?;
    let footer = bytes.get_read(range.start).map_err(text)?;
    Ok((footer, range.end - range.start))
}

/// Tells what was never Parquet from what is not all there, which the Parquet reader calls by one name.
fn check_magic(path: &Path, bytes: &FileBytes) -> Result<()> {
    let is_magic = |start: u64| {
        bytes
            .get_bytes(start, MAGIC.len())
            .is_ok_and(|found| found == MAGIC)
    };
    if !is_magic(0) {
        return Err(Error::File {
            place: Place::file(path),
            message: "is not a Parquet file: it does not start with PAR1".to_owned(),
            help: Some(
                "make shards from images, CSV or IDX with `bovw import`, or narrow input.files"
                    .to_owned(),
            ),
        });
    }
    if !is_magic(bytes.len().saturating_sub(MAGIC.len() as u64)) {
        return Err(Error::File {
            place: Place::file(path),
            message: "is a Parquet file without its end: truncated, or still being written"
                .to_owned(),
            help: Some("copy or make it again".to_owned()),
        });
    }
    Ok(())
}

fn damaged(path: &Path, message: String) -> Error {
    Error::File {
        place: Place::file(path),
        message: format!(
            "is a Parquet file with a damaged footer: {}",
            without_prefix(&message)
        ),
        help: Some("copy or make it again".to_owned()),
    }
}
