//! Checkpoints on disk: what an interrupted run goes on from inside of sampling and k-means.
//!
//! They are ours alone, hold nothing that cannot be made again, and are read by the version that wrote them: one that is
//! damaged, or of something else, is as good as none. Never may one be taken for another's.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::whole::{WholeFile, WholeWriter};
use crate::error::{Error, Result};

/// The checkpoint of k-means in a run's directory.
pub const TRAINING_FILE: &str = ".bovw-training";

/// The checkpoint of a sample that is being gathered, in a run's directory; the sample itself is beside it.
pub const SAMPLING_FILE: &str = ".bovw-sampling";

/// What a checkpoint begins with: format and version, since another version may take other steps.
const MAGIC: &str = concat!("bovw checkpoint 1, ", env!("CARGO_PKG_VERSION"), "\n");

/// Bytes of the BLAKE3 that a checkpoint ends with.
const HASH_BYTES: usize = 32;

/// Writes `value`, the checkpoint of whatever `of` says, whole.
pub fn write(path: &Path, of: &str, value: &impl Serialize) -> Result<WholeFile> {
    let error = |source| Error::io(path, "write", source);
    let mut writer = Hashing {
        writer: WholeWriter::create(path)?,
        hasher: blake3::Hasher::new(),
    };
    writer.write_all(MAGIC.as_bytes()).map_err(error)?;
    let writer =
        postcard::to_io(&(of, value), writer).map_err(|source| error(io::Error::other(source)))?;
    let (mut writer, hash) = (writer.writer, writer.hasher.finalize());
    writer.write_all(hash.as_bytes()).map_err(error)?;
    writer.finish()
}

/// The checkpoint of whatever `of` says, if there is a whole one.
pub fn read<T: DeserializeOwned>(path: &Path, of: &str) -> Option<T> {
    let bytes = fs::read(path).ok()?;
    let (bytes, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
    if blake3::hash(bytes) != blake3::Hash::from_bytes(*hash) {
        return None;
    }
    let bytes = bytes.strip_prefix(MAGIC.as_bytes())?;
    let (found, value): (String, T) = postcard::from_bytes(bytes).ok()?;
    (found == of).then_some(value)
}

/// A writer that hashes what it is given.
struct Hashing {
    writer: WholeWriter,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.writer.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_checkpoint_of_the_same_thing_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(TRAINING_FILE);
        let value = (vec![1.5f32, f32::MIN_POSITIVE, -0.0], f64::INFINITY);
        write(&path, "job/vocabulary", &value).expect("written");
        assert_eq!(read(&path, "job/vocabulary"), Some(value));
        assert_eq!(read::<(Vec<f32>, f64)>(&path, "job/pixels"), None);
        let whole = fs::read(&path).expect("readable");
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).expect("written");
            assert_eq!(read::<(Vec<f32>, f64)>(&path, "job/vocabulary"), None);
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).expect("written");
            assert_eq!(read::<(Vec<f32>, f64)>(&path, "job/vocabulary"), None);
        }
    }

    #[test]
    fn there_is_no_checkpoint_where_there_is_no_file() {
        let path = Path::new("no such folder").join(TRAINING_FILE);
        assert_eq!(read::<u8>(&path, ""), None);
    }
}
