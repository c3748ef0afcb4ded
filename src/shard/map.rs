//! Memory-mapping of files: with what is beside it, the one place outside the SIMD kernels where `unsafe` may stand.
//!
//! The contract, once: a mapped file must not be changed or shortened while it is mapped. Inputs are read-only by
//! design and the spill file is ours alone; whoever truncates an input during a run can end the process with a bus
//! error, and `run.io = "read"` is there for such places.

mod lent;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Advice, Mmap};

use crate::error::{Error, Result};

pub use lent::lend;

/// A mapping of a whole file.
#[derive(Debug)]
pub struct Mapping {
    map: Mmap,
}

/// Keeps a mapping as long as any slice of its bytes.
struct Owner(Arc<Mapping>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

/// Maps a whole file that is read from front to back, read-only: its bytes, and the mapping to [`lend`] some of them.
/// `None` where there is nothing to map, since the file is empty.
///
/// # Errors
/// The system refuses.
pub fn map_shared(path: &Path, file: &File) -> Result<Option<(Bytes, Arc<Mapping>)>> {
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
    let mapping = Arc::new(Mapping { map });
    Ok(Some((
        Bytes::from_owner(Owner(Arc::clone(&mapping))),
        mapping,
    )))
}

/// Maps a whole non-empty file, read-only.
#[expect(
    unsafe_code,
    reason = "mapping a file is unsafe because another process could change it; see the module's contract"
)]
pub fn map(path: &Path, file: &File) -> Result<Mmap> {
    // SAFETY: the mapping is read-only, and the module's contract says that nobody changes the file meanwhile.
    unsafe { Mmap::map(file) }.map_err(|source| Error::io(path, "map into memory", source))
}
