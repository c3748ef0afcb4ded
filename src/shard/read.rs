//! One image shard, open: its footer, and its row groups as record batches of the wanted columns only.
//!
//! Nothing here holds more than the record batch it hands out; how many rows that has is the caller's choice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytesize::ByteSize;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue};

use super::bytes::FileBytes;
use super::delta;
use super::footer;
use super::hugging_face::{self, Features};
use super::map::heap;
use super::pages::PageSizes;
use crate::error::{Error, Place, Result, panic_message};
use crate::job::Io;

/// An open shard.
#[derive(Debug, Clone)]
pub struct Shard {
    path: PathBuf,
    bytes: FileBytes,
    metadata: ArrowReaderMetadata,
    max_page_bytes: u64,
}

/// Heap bytes that the pages of a row group may take, where a reader names no other number.
const MAX_PAGE_BYTES: u64 = 1 << 30;

/// What reading the pages of a row group takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCost {
    /// Heap bytes, for all columns together: decompressed pages, read ones, dictionaries.
    pub heap_bytes: u64,
    /// Pages, all together.
    pub n_pages: u64,
    /// The column that takes most of it, and its largest page or dictionary in bytes.
    pub largest: (String, u64),
    // Columns whose pages claim more than their headers tell.
    delta_leaves: Vec<usize>,
}

/// What tells one state of an input file from another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    /// Size of the file.
    pub size_bytes: u64,
    /// Last change, in nanoseconds since 1970; 0 where the system does not say.
    pub modified_nanos: u64,
}

impl Fingerprint {
    /// The fingerprint of a file as it is now.
    pub fn of(path: &Path) -> Result<Fingerprint> {
        let metadata =
            std::fs::metadata(path).map_err(|source| Error::io(path, "read the size", source))?;
        let modified_nanos = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_nanos()).ok())
            .unwrap_or(0);
        Ok(Fingerprint {
            size_bytes: metadata.len(),
            modified_nanos,
        })
    }
}

/// A leaf column to read: a top-level column, or one field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Top-level column.
    pub column: String,
    /// Only this field of it.
    pub field: Option<String>,
}

impl Wanted {
    /// All of a top-level column.
    pub fn column(name: impl Into<String>) -> Wanted {
        Wanted {
            column: name.into(),
            field: None,
        }
    }
}

impl Shard {
    /// Opens a file and reads its footer.
    pub fn open(path: &Path, io: Io) -> Result<Shard> {
        Shard::new(path, FileBytes::open(path, io)?)
    }

    /// The bytes of a file as a shard; `name` is what messages call it.
    pub fn of_bytes(name: &Path, bytes: Vec<u8>) -> Result<Shard> {
        Shard::new(name, FileBytes::Held(bytes.into()))
    }

    fn new(path: &Path, bytes: FileBytes) -> Result<Shard> {
        Ok(Shard {
            path: path.to_owned(),
            metadata: footer::read(path, &bytes)?,
            bytes,
            max_page_bytes: MAX_PAGE_BYTES,
        })
    }

    /// The same shard, of which no row group is read whose pages would take more heap bytes than this.
    pub fn with_max_page_bytes(self, max_page_bytes: u64) -> Shard {
        Shard {
            max_page_bytes,
            ..self
        }
    }

    /// The same shard, which reads the binary values of a column as views: they point into the page, so images in
    /// uncompressed pages of a mapped file are never copied.
    pub fn with_views_of(self, column: &str) -> Shard {
        let schema = with_views(self.schema(), column);
        let options = ArrowReaderOptions::new().with_schema(schema);
        match ArrowReaderMetadata::try_new(Arc::clone(self.metadata.metadata()), options) {
            Ok(metadata) => Shard { metadata, ..self },
            // A type that cannot be read as views is read as it is.
            Err(_) => self,
        }
    }

    /// BLAKE3 of the footer, in hex: an input that is written anew has another one, whatever its size and time.
    pub fn footer_blake3(&self) -> Result<String> {
        footer::blake3(&self.path, &self.bytes)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The Arrow schema.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Number of rows.
    pub fn n_rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// Number of row groups.
    pub fn n_row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub fn row_group_rows(&self, row_group: usize) -> u64 {
        u64::try_from(self.metadata.metadata().row_group(row_group).num_rows()).unwrap_or(0)
    }

    /// Uncompressed bytes of some columns in a row group, as the footer has them.
    pub fn row_group_bytes(&self, row_group: usize, wanted: &[Wanted]) -> u64 {
        let leaves = self.leaves(wanted);
        let columns = self.metadata.metadata().row_group(row_group).columns();
        leaves
            .iter()
            .map(|&leaf| u64::try_from(columns[leaf].uncompressed_size()).unwrap_or(0))
            .sum()
    }

    /// Bytes of some columns in a row group once they are decoded, about: values of one size take it however they are
    /// stored.
    pub fn decoded_bytes(&self, row_group: usize, wanted: &[Wanted]) -> u64 {
        let columns = self.metadata.metadata().row_group(row_group).columns();
        let rows = self.row_group_rows(row_group);
        let leaves = self.leaves(wanted).into_iter();
        leaves.fold(0, |sum, leaf| {
            decoded_bytes(&columns[leaf], rows).saturating_add(sum)
        })
    }

    /// Rows of a row group whose columns are decoded to about `bytes`: at least one, at most `max_rows`.
    pub fn rows_within(
        &self,
        row_group: usize,
        wanted: &[Wanted],
        bytes: u64,
        max_rows: usize,
    ) -> usize {
        let rows = self.row_group_rows(row_group).max(1);
        let row_bytes = self.decoded_bytes(row_group, wanted) / rows;
        let n = bytes / row_bytes.max(1);
        usize::try_from(n).unwrap_or(usize::MAX).clamp(1, max_rows)
    }

    /// The most heap bytes that pages of some columns in a row group can take, by what the footer says.
    pub fn most_page_bytes(&self, row_group: usize, wanted: &[Wanted]) -> u64 {
        let columns = self.metadata.metadata().row_group(row_group).columns();
        let leaves = self.leaves(wanted).into_iter();
        leaves
            .map(|leaf| PageSizes::most(&columns[leaf], self.bytes.is_mapped()))
            .fold(0, u64::saturating_add)
    }

    /// What reading the pages of some columns in a row group takes, by what each page's header says.
    ///
    /// # Errors
    /// A header that cannot be true.
    pub fn page_cost(&self, row_group: usize, wanted: &[Wanted]) -> Result<PageCost> {
        let columns = self.metadata.metadata().row_group(row_group).columns();
        let mut cost = PageCost {
            heap_bytes: 0,
            n_pages: 0,
            largest: (String::new(), 0),
            delta_leaves: Vec::new(),
        };
        let mut most = 0;
        for leaf in self.leaves(wanted) {
            let chunk = &columns[leaf];
            let column = || chunk.column_path().string();
            let sizes = no_panic(|| PageSizes::of(&self.bytes, chunk)).map_err(|reason| {
                let place = Place::file(&self.path).row_group(row_group);
                self.read_error(place.column(column()), &reason)
            })?;
            let heap_bytes = sizes.heap_bytes(chunk.compression(), self.bytes.is_mapped());
            cost.heap_bytes = cost.heap_bytes.saturating_add(heap_bytes);
            cost.n_pages += sizes.n_pages;
            if sizes.has_delta {
                cost.delta_leaves.push(leaf);
            }
            if heap_bytes > most {
                most = heap_bytes;
                cost.largest = (column(), sizes.largest_bytes());
            }
        }
        Ok(cost)
    }

    /// The error of a read that failed, or of what became of the file meanwhile.
    fn read_error(&self, place: Place, reason: &str) -> Error {
        match self.bytes.check_whole(&self.path) {
            Ok(()) => Error::file(place, damaged(&reason)),
            Err(error) => error,
        }
    }

    /// Key-value metadata of the footer.
    pub fn key_values(&self) -> &[KeyValue] {
        self.metadata
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .map_or(&[], Vec::as_slice)
    }

    /// The value of one metadata key.
    pub fn key_value(&self, key: &str) -> Option<&str> {
        self.key_values()
            .iter()
            .find(|entry| entry.key == key)
            .and_then(|entry| entry.value.as_deref())
    }

    /// What Hugging Face metadata says of the columns.
    pub fn features(&self) -> Features {
        self.key_value(hugging_face::KEY)
            .map(Features::parse)
            .unwrap_or_default()
    }

    /// The bytes that the file is made of.
    pub fn bytes(&self) -> &FileBytes {
        &self.bytes
    }

    /// Compression and encodings of a column in the first row group, for people.
    pub fn storage(&self, column: &str) -> Option<String> {
        let metadata = self.metadata.metadata();
        let group = metadata.row_groups().first()?;
        let chunk = group.columns().iter().find(|chunk| {
            chunk
                .column_path()
                .parts()
                .first()
                .is_some_and(|part| part == column)
        })?;
        let compression = format!("{:?}", chunk.compression());
        let compression = compression
            .split('(')
            .next()
            .unwrap_or_default()
            .to_lowercase();
        let encodings: Vec<String> = chunk
            .encodings()
            .map(|e| e.to_string().to_lowercase())
            .collect();
        Some(format!("{compression}, {}", encodings.join(" + ")))
    }

    /// Record batches of one row group with only the wanted columns, `batch_rows` rows each but the last.
    pub fn read_row_group(
        &self,
        row_group: usize,
        wanted: &[Wanted],
        batch_rows: usize,
    ) -> Result<RowGroupReader> {
        self.reader(row_group, wanted, batch_rows, 0)
    }

    fn reader(
        &self,
        row_group: usize,
        wanted: &[Wanted],
        batch_rows: usize,
        skipped: usize,
    ) -> Result<RowGroupReader> {
        self.check_cost(row_group, wanted)?;
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), self.leaves(wanted));
        let place = Place::file(&self.path).row_group(row_group);
        let (bytes, metadata) = (self.bytes.clone(), self.metadata.clone());
        let reader = no_panic(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
                .with_row_groups(vec![row_group])
                .with_projection(mask)
                .with_batch_size(batch_rows)
                .with_offset(skipped)
                .build()
        })
        .map_err(|error| self.read_error(place.clone(), &error))?;
        Ok(RowGroupReader {
            reader,
            bytes: self.bytes.clone(),
            place,
            row: (0..row_group)
                .map(|group| self.row_group_rows(group))
                .sum::<u64>()
                + skipped as u64,
        })
    }

    /// What the Parquet reader would allocate by the word of pages must be allowed.
    fn check_cost(&self, row_group: usize, wanted: &[Wanted]) -> Result<()> {
        let cost = self.page_cost(row_group, wanted)?;
        heap::expect_pages(cost.heap_bytes);
        self.check_allowed(row_group, &cost)?;
        let group = self.metadata.metadata().row_group(row_group);
        let n_rows = usize::try_from(group.num_rows()).unwrap_or(0);
        for &leaf in &cost.delta_leaves {
            let chunk = &group.columns()[leaf];
            no_panic(|| delta::check_chunk(&self.bytes, chunk, n_rows)).map_err(|reason| {
                let place = Place::file(&self.path).row_group(row_group);
                self.read_error(place.column(chunk.column_path().string()), &reason)
            })?;
        }
        Ok(())
    }

    fn check_allowed(&self, row_group: usize, cost: &PageCost) -> Result<()> {
        let (column, page_bytes) = &cost.largest;
        if cost.heap_bytes > self.max_page_bytes {
            return Err(Error::File {
                place: Place::file(&self.path)
                    .row_group(row_group)
                    .column(column.as_str()),
                message: format!(
                    "a page holds {}, and reading such pages takes {} of memory, where {} are left for it",
                    ByteSize(*page_bytes),
                    ByteSize(cost.heap_bytes),
                    ByteSize(self.max_page_bytes),
                ),
                help: Some(format!(
                    "raise run.memory by {}MiB, or write the file with smaller pages",
                    (cost.heap_bytes - self.max_page_bytes).div_ceil(1 << 20)
                )),
            });
        }
        Ok(())
    }

    /// One row, with only the wanted columns; `None` where the file has no such row. Pages before it are skipped.
    pub fn read_row(&self, row: u64, wanted: &[Wanted]) -> Result<Option<RecordBatch>> {
        let mut first = 0;
        for row_group in 0..self.n_row_groups() {
            let rows = self.row_group_rows(row_group);
            if row < first + rows {
                let skipped = usize::try_from(row - first).unwrap_or(usize::MAX);
                let mut reader = self.reader(row_group, wanted, 1, skipped)?;
                return reader.next_batch().map(|batch| Ok(batch?.1)).transpose();
            }
            first += rows;
        }
        Ok(None)
    }

    /// Some rows of the file, rising and none twice, one a record batch, with only the wanted columns. Row groups without
    /// any of them are not looked at.
    pub fn read_rows(&self, rows: &[u64], wanted: &[Wanted]) -> Result<RowsReader> {
        let mut row_groups = Vec::new();
        let mut ranges = Vec::with_capacity(rows.len());
        // First rows of the row group in the file, and among those that are read.
        let (mut first, mut first_read) = (0, 0);
        let mut left = rows;
        for row_group in 0..self.n_row_groups() {
            let end = first + self.row_group_rows(row_group);
            let (own, later) = left.split_at(left.partition_point(|&row| row < end));
            if !own.is_empty() {
                self.check_cost(row_group, wanted)?;
                row_groups.push(row_group);
                ranges.extend(own.iter().map(|&row| {
                    let at = (row - first + first_read) as usize;
                    at..at + 1
                }));
                first_read += end - first;
            }
            (first, left) = (end, later);
        }
        let place = Place::file(&self.path);
        if let Some(row) = left.first() {
            return Err(Error::file(place.row(*row), "the file has no such row"));
        }
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), self.leaves(wanted));
        let (bytes, metadata) = (self.bytes.clone(), self.metadata.clone());
        let reader = no_panic(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
                .with_row_groups(row_groups)
                .with_projection(mask)
                .with_batch_size(1)
                .with_row_selection(RowSelection::from_consecutive_ranges(
                    ranges.into_iter(),
                    first_read as usize,
                ))
                .build()
        })
        .map_err(|error| Error::file(place.clone(), damaged(&error)))?;
        Ok(RowsReader { reader, place })
    }

    fn leaves(&self, wanted: &[Wanted]) -> Vec<usize> {
        let is_wanted = |parts: &[String]| {
            wanted.iter().any(|wanted| {
                parts.first() == Some(&wanted.column)
                    && wanted
                        .field
                        .as_ref()
                        .is_none_or(|field| parts.get(1) == Some(field))
            })
        };
        let columns = self.metadata.parquet_schema().columns();
        (0..columns.len())
            .filter(|&leaf| is_wanted(columns[leaf].path().parts()))
            .collect()
    }
}

/// Reads one row group in order.
#[derive(Debug)]
pub struct RowGroupReader {
    reader: ParquetRecordBatchReader,
    bytes: FileBytes,
    place: Place,
    row: u64,
}

impl RowGroupReader {
    /// The next record batch, and the row number in the file of its first row.
    pub fn next_batch(&mut self) -> Option<Result<(u64, RecordBatch)>> {
        let row = self.row;
        let batch = no_panic(|| self.reader.next().transpose()).transpose()?;
        // Zeros in place of lost pages may look like rows, or like any damage.
        if (batch.is_err() || self.bytes.is_lost())
            && let Err(error) = self.bytes.check_whole(&self.place.file)
        {
            return Some(Err(error));
        }
        match batch {
            Ok(batch) => {
                self.row += batch.num_rows() as u64;
                Some(Ok((row, batch)))
            }
            Err(error) => Some(Err(Error::file(self.place.clone(), damaged(&error)))),
        }
    }
}

/// Reads some rows of a file, in order.
#[derive(Debug)]
pub struct RowsReader {
    reader: ParquetRecordBatchReader,
    place: Place,
}

impl RowsReader {
    /// The next row, as a record batch of one.
    pub fn next_row(&mut self) -> Result<RecordBatch> {
        match no_panic(|| self.reader.next().transpose()) {
            Ok(Some(batch)) => Ok(batch),
            Ok(None) => Err(Error::file(
                self.place.clone(),
                "the file is damaged: it ends before its last row",
            )),
            Err(error) => Err(Error::file(self.place.clone(), damaged(&error))),
        }
    }
}

/// Bytes of a value in a column whose values all have one size.
fn fixed_bytes(chunk: &ColumnChunkMetaData) -> Option<u64> {
    match chunk.column_type() {
        Type::BOOLEAN => Some(1),
        Type::INT32 | Type::FLOAT => Some(4),
        Type::INT64 | Type::DOUBLE => Some(8),
        Type::INT96 => Some(12),
        Type::FIXED_LEN_BYTE_ARRAY => {
            Some(u64::try_from(chunk.column_descr().type_length()).unwrap_or(0))
        }
        Type::BYTE_ARRAY => None,
    }
}

/// Bytes of the values of a chunk of `rows`, each of which has at least one.
fn decoded_bytes(chunk: &ColumnChunkMetaData, rows: u64) -> u64 {
    let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
    let fixed = fixed_bytes(chunk).unwrap_or(0);
    // Texts that repeat are stored once; newer writers say what they come to.
    let texts = bytes(chunk.unencoded_byte_array_data_bytes().unwrap_or(0));
    bytes(chunk.num_values())
        .max(rows)
        .saturating_mul(fixed)
        .max(texts)
        .max(bytes(chunk.uncompressed_size()))
}

fn damaged(error: &impl std::fmt::Display) -> String {
    format!("the file is damaged: {}", without_prefix(error))
}

/// The Parquet reader's message without its own headings.
pub(super) fn without_prefix(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut rest = text.as_str();
    for prefix in [
        "Parquet argument error: ",
        "Parquet error: ",
        "External: ",
        "EOF: ",
    ] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    rest.to_owned()
}

/// Calls a library that treats some broken files with a panic; here that is an error like any other.
pub(super) fn no_panic<T, E: std::fmt::Display>(
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| {
            let message = panic_message(panic.as_ref());
            format!("its reader met something that cannot be ({message})")
        })?
        .map_err(|error| error.to_string())
}

/// The schema with a binary column, or the binary fields of a struct column, as views.
fn with_views(schema: &SchemaRef, column: &str) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.name() == column {
            true => with_view(field),
            false => (**field).clone(),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn with_view(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| with_view(field)).collect())
        }
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    /// Where the image bytes of the first row group lie, and where the file does.
    fn buffers(io: Io) -> (Vec<usize>, std::ops::Range<usize>) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("data/digits/digits-00000-of-00004.parquet");
        let shard = Shard::open(&path, io)
            .expect("a shard")
            .with_views_of("image");
        let wanted = [Wanted {
            column: "image".to_owned(),
            field: Some("bytes".to_owned()),
        }];
        let mut reader = shard.read_row_group(0, &wanted, 100).expect("a row group");
        let (_, batch) = reader.next_batch().expect("rows").expect("readable");
        assert_eq!(batch.num_columns(), 1, "only the wanted column");
        let images = batch.column(0).as_struct().column(0).as_binary_view();
        let addresses = images
            .data_buffers()
            .iter()
            .map(|buffer| buffer.as_ptr().addr());
        let file = match shard.bytes() {
            FileBytes::Mapped { bytes, .. } => {
                bytes.as_ptr().addr()..bytes.as_ptr().addr() + bytes.len()
            }
            FileBytes::Held(_) | FileBytes::Read { .. } => 0..0,
        };
        (addresses.collect(), file)
    }

    #[test]
    fn images_of_a_mapped_file_are_not_copied() {
        let (addresses, file) = buffers(Io::Mmap);
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| file.contains(address)));
    }

    #[test]
    fn images_of_a_file_that_is_read_lie_in_memory_of_their_own() {
        let (addresses, file) = buffers(Io::Read);
        assert!(!addresses.is_empty() && file.is_empty());
    }
}
