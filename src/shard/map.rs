//! Memory-mapping of files: the one place outside the SIMD kernels where `unsafe` may stand.
//!
//! The contract, once: a mapped file must not be changed or shortened while it is mapped. Inputs are read-only by
//! design and the spill file is ours alone; whoever truncates an input during a run can end the process with a bus
//! error, and `run.io = "read"` is there for such places.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Error, Result};

/// Maps a whole file, read-only. An empty file gives empty bytes, since nothing of it can be mapped.
pub fn map_bytes(path: &Path, file: &File) -> Result<Bytes> {
    let len = file
        .metadata()
        .map_err(|source| Error::io(path, "read the size", source))?
        .len();
    if len == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(map(path, file)?))
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
