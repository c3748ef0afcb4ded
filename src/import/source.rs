//! A file to import, read from front to back: plain or gzip, told apart by its first bytes and not by its name.
//!
//! Only regular files are opened, because imports read some files twice and a pipe would hang the second time. It must
//! never hold more of a file than its buffers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// Bytes of each read buffer.
const BUFFER_BYTES: usize = 1 << 16;
/// The first bytes of every gzip file (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open file.
pub(super) struct Source {
    path: PathBuf,
    reader: Reader,
}

enum Reader {
    Plain(BufReader<File>, u64),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

impl Source {
    /// Opens a regular file.
    pub(super) fn open(path: &Path) -> Result<Source> {
        let mut file = open_regular(path)?;
        let size_bytes = file
            .metadata()
            .map_err(|source| Error::io(path, "read", source))?
            .len();
        let mut magic = [0; GZIP_MAGIC.len()];
        let gzip = read_full(&mut file, &mut magic)
            .and_then(|n| {
                file.rewind()
                    .map(|()| n == magic.len() && magic == GZIP_MAGIC)
            })
            .map_err(|source| Error::io(path, "read", source))?;
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Source {
            path: path.to_owned(),
            reader: if gzip {
                let decoder = MultiGzDecoder::new(file);
                Reader::Gzip(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)))
            } else {
                Reader::Plain(file, size_bytes)
            },
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes there are to read, where it can be known beforehand: not for gzip.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        match self.reader {
            Reader::Plain(_, size_bytes) => Some(size_bytes),
            Reader::Gzip(_) => None,
        }
    }

    /// Fills `buffer` as far as the file goes; how far that was.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        read_full(self, buffer).map_err(|source| read_error(&self.path, source))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.reader {
            Reader::Plain(reader, _) => reader.read(buffer),
            Reader::Gzip(reader) => reader.read(buffer),
        }
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.reader {
            Reader::Plain(reader, _) => reader.fill_buf(),
            Reader::Gzip(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, n: usize) {
        match &mut self.reader {
            Reader::Plain(reader, _) => reader.consume(n),
            Reader::Gzip(reader) => reader.consume(n),
        }
    }
}

/// Opens `path` unless opening or reading it could block, or make no sense.
pub(super) fn open_regular(path: &Path) -> Result<File> {
    let metadata = path
        .metadata()
        .map_err(|source| Error::io(path, "read", source))?;
    if metadata.is_dir() {
        return Err(Error::file(
            path,
            "this is a folder, where a file is needed",
        ));
    }
    if !metadata.is_file() {
        return Err(Error::File {
            place: path.into(),
            message: "this is not a regular file".to_owned(),
            help: Some(
                "write the data to a file first; gzip files are read as they are".to_owned(),
            ),
        });
    }
    File::open(path).map_err(|source| Error::io(path, "read", source))
}

/// A failed read of `path`: of the disk, or of what gzip holds.
pub(super) fn read_error(path: &Path, source: io::Error) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    // Decoders report damage through these kinds; a file system does not.
    if matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof) {
        return Error::File {
            place: path.into(),
            message: format!("the gzip data is damaged or cut short ({source})"),
            help: Some("fetch the file again; gzip -t tells whether it is whole".to_owned()),
        };
    }
    Error::io(path, "read", source)
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match reader.read(&mut buffer[n_read..]) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n_read)
}
