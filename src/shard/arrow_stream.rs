//! Record batches from a stream of bytes, in Arrow's IPC format. Whoever writes it is not believed: nothing is allocated that
//! has not come, a batch has a bound, and what cannot be read is an error.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use bytesize::ByteSize;

use super::read::no_panic;
use crate::error::{Error, Place, Result};

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 18;

/// Bytes of a batch that are no row's: headers, padding, offsets; and of a schema.
const MESSAGE_BYTES: u64 = 1 << 20;

/// Reads a stream, a batch at a time.
#[derive(Debug)]
pub struct ArrowStream<'a, R: Read> {
    name: Place,
    // Looked at when reading is interrupted.
    stop: Option<&'a AtomicBool>,
    kind: &'static str,
    reader: R,
    decoder: StreamDecoder,
    max_bytes: u64,
    // Read and not decoded yet.
    ahead: Buffer,
}

impl<'a, R: Read> ArrowStream<'a, R> {
    /// Opens a stream, which errors call `name` and expect to be a `kind`. A batch of more than `max_bytes` is refused. Where
    /// the reader says that it was interrupted, and `stop` is set, reading ends.
    ///
    /// # Errors
    /// It is no Arrow stream.
    pub fn new(
        reader: R,
        name: &Path,
        kind: &'static str,
        max_bytes: u64,
        stop: Option<&'a AtomicBool>,
    ) -> Result<ArrowStream<'a, R>> {
        let mut stream = ArrowStream {
            name: name.into(),
            stop,
            kind,
            reader,
            decoder: StreamDecoder::new(),
            max_bytes: max_bytes.saturating_add(MESSAGE_BYTES),
            ahead: Buffer::from_vec(Vec::<u8>::new()),
        };
        // A byte at a time, so that no batch is taken before its schema was looked at.
        let mut n_bytes = 0;
        while stream.decoder.schema().is_none() {
            if stream.ahead.is_empty() && !stream.read_ahead()? {
                return Err(stream.damaged("it ends before it begins"));
            }
            let mut byte = stream.ahead.slice_with_length(0, 1);
            stream.ahead.advance(1);
            let decoded = no_panic(|| stream.decoder.decode(&mut byte));
            decoded.map_err(|error| stream.damaged(&error))?;
            n_bytes += 1;
            if n_bytes > MESSAGE_BYTES {
                return Err(stream.damaged("it begins with no schema"));
            }
        }
        Ok(stream)
    }

    /// The schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        self.decoder.schema().expect("it was read on opening")
    }

    /// The next batch; `None` at the end of a stream that is whole.
    ///
    /// # Errors
    /// It is cut off, damaged, or too large; reading fails.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut n_bytes = 0;
        loop {
            if self.ahead.is_empty() && !self.read_ahead()? {
                return self.end().map(|()| None);
            }
            let before = self.ahead.len();
            let (decoder, ahead) = (&mut self.decoder, &mut self.ahead);
            let decoded = no_panic(|| decoder.decode(ahead));
            n_bytes += (before - self.ahead.len()) as u64;
            if let Some(batch) = decoded.map_err(|error| self.damaged(&error))? {
                return Ok(Some(batch));
            }
            if n_bytes > self.max_bytes {
                return Err(self.too_large());
            }
        }
    }

    /// Reads what is there; whether there was anything. Whoever writes may wait for an answer, so nothing more is waited for.
    fn read_ahead(&mut self) -> Result<bool> {
        let mut bytes = vec![0; READ_BYTES];
        let n = loop {
            match self.reader.read(&mut bytes) {
                Ok(n) => break n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    if self.stop.is_some_and(|stop| stop.load(Relaxed)) {
                        return Err(Error::Interrupted);
                    }
                }
                Err(source) => return Err(Error::io(&self.name.file, "read", source)),
            }
        };
        bytes.truncate(n);
        self.ahead = Buffer::from_vec(bytes);
        Ok(n > 0)
    }

    /// A stream says where it ends: one that was cut off between two batches looks whole otherwise.
    fn end(&mut self) -> Result<()> {
        let decoder = &mut self.decoder;
        // Only between two messages may it be given a byte: that could make a batch of what was cut off.
        let has_ended = no_panic(|| decoder.finish()).is_ok()
            // After its end a stream takes none.
            && no_panic(|| decoder.decode(&mut Buffer::from_vec(vec![0u8]))).is_err();
        match has_ended {
            true => Ok(()),
            false => Err(self.damaged("it was cut off")),
        }
    }

    /// The error of one that cannot be read, and why.
    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::file(
            self.name.clone(),
            format!("is damaged, or no {}: {what}", self.kind),
        )
    }

    fn too_large(&self) -> Error {
        Error::File {
            place: self.name.clone(),
            message: format!(
                "a batch of it has more than the {} that there is room for",
                ByteSize(self.max_bytes)
            ),
            help: Some("raise run.memory, or write smaller batches".to_owned()),
        }
    }
}
