//! Files that appear whole or not at all: written under a temporary name, synced, renamed; hashed on the way.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How temporary files are called, so that a later run knows what a killed one left.
pub const TEMPORARY_PREFIX: &str = ".bovw-tmp-";

/// What a finished file is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WholeFile {
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes, in hex.
    pub blake3: String,
}

/// A file that is being written.
#[derive(Debug)]
pub struct WholeWriter {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl WholeWriter {
    /// Starts a file that will be `path`; its folder must exist.
    pub fn create(path: &Path) -> Result<WholeWriter> {
        let dir = parent(path);
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(permissions())
            .tempfile_in(dir)
            .map_err(|source| Error::io(dir, "create a file in", source))?;
        Ok(WholeWriter {
            path: path.to_owned(),
            file: BufWriter::new(file),
            hasher: blake3::Hasher::new(),
            size_bytes: 0,
        })
    }

    /// The name that the file will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file and gives it its name, in place of what had it before.
    pub fn finish(self) -> Result<WholeFile> {
        let path = self.path;
        let file = self
            .file
            .into_inner()
            .map_err(|error| Error::io(&path, "write", error.into_error()))?;
        file.as_file()
            .sync_all()
            .map_err(|source| Error::io(&path, "sync", source))?;
        file.persist(&path)
            .map_err(|error| Error::io(&path, "rename a file to", error.error))?;
        sync_dir(parent(&path))?;
        Ok(WholeFile {
            size_bytes: self.size_bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

impl Write for WholeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a small file whole.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<WholeFile> {
    let mut writer = WholeWriter::create(path)?;
    writer
        .write_all(bytes)
        .map_err(|source| Error::io(path, "write", source))?;
    writer.finish()
}

/// Creates a folder and those above it.
pub fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|source| Error::io(dir, "create the folder", source))
}

/// Creates the folder of a file, but none above it: whoever removed those does not want them back.
pub fn create_parent(path: &Path) -> Result<()> {
    let dir = parent(path);
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io(dir, "create the folder", error))
        }
        _ => Ok(()),
    }
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove", error))
        }
        _ => Ok(()),
    }
}

/// Removes temporary files that a killed run left in a folder.
pub fn remove_leftovers(dir: &Path) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|source| Error::io(dir, "list", source))?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::io(dir, "list", source))?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(TEMPORARY_PREFIX)
        {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| Error::io(&path, "remove", source))?;
        }
    }
    Ok(())
}

/// The error of a Parquet writer. What the system said of the file below, a full disk above all, is told as that.
pub fn write_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => Error::io(path, "write", *source),
            Err(source) => Error::file(path, format!("cannot be written: {source}")),
        },
        other => match os_error(&other.to_string()) {
            Some(source) => Error::io(path, "write", source),
            None => Error::file(path, format!("cannot be written: {other}")),
        },
    }
}

/// What the system said, where the Parquet writer passes it on as text alone: when it empties its buffer at the end.
fn os_error(text: &str) -> Option<io::Error> {
    let (_, rest) = text.split_once("(os error ")?;
    let (code, _) = rest.split_once(')')?;
    code.parse().ok().map(io::Error::from_raw_os_error)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Syncs a folder: a rename is on disk only once its folder is.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| Error::io(dir, "sync", source))
}

/// Temporary files are private by default; outputs are as readable as the user's umask lets them be.
pub fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_one_however_the_parquet_writer_tells_it() {
        let full = io::Error::from_raw_os_error(28);
        let as_text =
            ParquetError::General(format!("fail to get inner writer: {:?}", full.to_string()));
        for error in [ParquetError::External(Box::new(full)), as_text] {
            let error = write_error(Path::new("a.parquet"), error);
            let is_full = matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull);
            assert!(is_full, "{error}");
        }
    }
}
