//! Memory-mapping of files: with what is beside it, the one place outside the SIMD kernels where `unsafe` may stand.
//!
//! The contract, once: a mapped file must not be changed while it is mapped. Inputs are read-only by design and the
//! spill file is ours alone. An input that is cut short all the same, or whose disk fails, is met by [`guard`]: its lost
//! part reads as zeros, and [`Mapping::is_lost`] tells. Other changes in place are noticed by size and time alone.

pub mod guard;
pub mod heap;

mod lent;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Advice, Mmap};

use self::guard::Guarded;
use crate::error::{Error, Result};

pub use lent::lend;

/// A guarded mapping of a whole file.
#[derive(Debug)]
pub struct Mapping {
    // Dropped first: a row of the table must not outlive what it stands for.
    guarded: Guarded,
    map: Mmap,
}

impl Mapping {
    /// Whether part of the file could not be read, so that zeros were read in its place. To be asked after reading.
    pub fn is_lost(&self) -> bool {
        self.guarded.is_lost()
    }
}

/// Keeps a mapping as long as any slice of its bytes.
struct Owner(Arc<Mapping>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

/// Maps a whole file that is read from front to back, read-only and guarded: its bytes, and the mapping, to ask whether
/// they can be believed and to [`lend`] some of them.
///
/// `None` where it cannot be: an empty file has nothing to map, and at most [`guard::MAX_GUARDED`] are guarded at once.
///
/// # Errors
/// The system refuses.
pub fn map_guarded(path: &Path, file: &File) -> Result<Option<(Bytes, Arc<Mapping>)>> {
    let len = file
        .metadata()
        .map_err(|source| Error::io(path, "read the size", source))?
        .len();
    if len == 0 {
        return Ok(None);
    }
    let map = map(path, file)?;
    // A system without such advice reads ahead as it likes.
    let _ = map.advise(Advice::Sequential);
    let start = map.as_ptr().addr();
    let Some(guarded) = Guarded::new(start..start + map.len()) else {
        return Ok(None);
    };
    let mapping = Arc::new(Mapping { guarded, map });
    Ok(Some((
        Bytes::from_owner(Owner(Arc::clone(&mapping))),
        mapping,
    )))
}

/// Maps a whole non-empty file, read-only and unguarded: for files of ours that have no name.
#[expect(
    unsafe_code,
    reason = "mapping a file is unsafe because another process could change it; see the module's contract"
)]
pub fn map(path: &Path, file: &File) -> Result<Mmap> {
    // SAFETY: the mapping is read-only, and the module's contract says that nobody changes the file meanwhile.
    unsafe { Mmap::map(file) }.map_err(|source| Error::io(path, "map into memory", source))
}
