//! `features/NAME.parquet`: one vector a row, beside the label, the kept columns, `n_patches` and, if asked, `status`.
//!
//! The bytes of a file depend on its rows alone: rows are handed to the Parquet writer in chunks whose size follows from
//! the length of a vector and the input's footer, however they arrive. The encoding of the vectors is chosen from the first chunk, for size:
//! few distinct values (counts) go to a dictionary, mostly zeros stay plain for zstd to squeeze, the rest is split by byte.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::chunks::Chunks;
use super::foot::{self, FootWriter};
use super::hugging_face::{self, Features};
use super::vocabulary::created_by;
use super::whole::{WholeFile, WholeWriter, write_error};
use crate::error::Result;

/// The footer's key with a file's provenance.
pub const KEY: &str = "bovw.features";

/// Raw bytes in a row group, about: what a reader holds for one.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Rows in a row group, at most: DuckDB's own size, which its threads share out.
const ROW_GROUP_ROWS: usize = 122_880;

/// Raw bytes that are handed to the Parquet writer at once, about.
const CHUNK_BYTES: usize = 1 << 20;

/// Rows that are handed to the Parquet writer at once, at most.
const CHUNK_ROWS: usize = 1024;

/// Distinct values up to which a dictionary is the smallest encoding.
const MAX_DICTIONARY_VALUES: usize = 4096;

/// Share of zeros from which plain values compress best, if a dictionary does not.
const MIN_ZERO_SHARE: f64 = 0.4;

/// What the rows of a features file look like; the same for every file of a run.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Length of a vector.
    pub n_values: usize,
    /// Label and kept columns, as they come from the input.
    pub side: SchemaRef,
    /// Bytes a row of the side columns, as the input's footer has them.
    pub side_bytes: u64,
    /// Whether there is a `status` column.
    pub has_status: bool,
    /// What Hugging Face metadata says of the side columns.
    pub features: Features,
}

/// Rows for a features file.
#[derive(Debug)]
pub struct Rows {
    /// Vectors, end to end.
    pub values: Vec<f32>,
    /// Patches that each vector counts.
    pub n_patches: Vec<i32>,
    /// Why a row has no vector; `None` for good rows.
    pub status: Vec<Option<String>>,
    /// Label and kept columns.
    pub side: RecordBatch,
}

impl Layout {
    /// Names that this program gives to columns; no label or kept column may have one of them.
    pub const OWN_COLUMNS: [&'static str; 3] = ["features", "n_patches", "status"];

    /// The schema of the file: label and kept columns first, then ours.
    pub fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self
            .side
            .fields()
            .iter()
            .map(|field| (**field).clone())
            .collect();
        fields.push(Field::new("features", self.vector_type(), false));
        fields.push(Field::new("n_patches", DataType::Int32, false));
        if self.has_status {
            fields.push(Field::new("status", DataType::Utf8, true));
        }
        Arc::new(Schema::new(fields))
    }

    /// Rows that the Parquet writer gets at once.
    pub fn chunk_rows(&self) -> usize {
        (CHUNK_BYTES / self.row_bytes()).clamp(1, CHUNK_ROWS)
    }

    /// Rows in a row group: whole chunks, at least one.
    pub fn row_group_rows(&self) -> usize {
        let rows = (ROW_GROUP_BYTES / self.row_bytes()).min(ROW_GROUP_ROWS);
        let chunk = self.chunk_rows();
        (rows / chunk).max(1) * chunk
    }

    /// Heap bytes that writing a file of `n_rows` takes at most: a row group in the Parquet writer, and chunks before it.
    pub fn writer_bytes(&self, n_rows: u64) -> u64 {
        let row_bytes = self.row_bytes() as u64;
        let row_group_rows = n_rows.min(self.row_group_rows() as u64);
        // Encoded values, with levels and dictionary indices beside them while a page is open.
        2 * row_group_rows * row_bytes + 6 * self.chunk_rows() as u64 * row_bytes
    }

    fn row_bytes(&self) -> usize {
        let side_bytes = usize::try_from(self.side_bytes).unwrap_or(usize::MAX);
        (self.n_values * size_of::<f32>()).saturating_add(side_bytes)
    }

    fn vector_type(&self) -> DataType {
        DataType::FixedSizeList(element(), self.list_size())
    }

    fn list_size(&self) -> i32 {
        i32::try_from(self.n_values).unwrap_or(i32::MAX)
    }
}

/// What a list of ours holds.
pub fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

/// Writes one features file.
#[derive(Debug)]
pub struct FeaturesWriter {
    layout: Layout,
    provenance: String,
    state: State,
    chunks: Chunks,
    n_rows: u64,
}

#[derive(Debug)]
enum State {
    /// The encoding is not chosen yet.
    New(Box<WholeWriter>),
    Open(Box<ArrowWriter<FootWriter<WholeWriter>>>),
    Closed,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The file.
    pub file: WholeFile,
    /// Its rows.
    pub n_rows: u64,
}

impl FeaturesWriter {
    /// Starts a file at `path`; `provenance` goes into its footer.
    pub fn create(path: &Path, layout: Layout, provenance: String) -> Result<FeaturesWriter> {
        let chunks = Chunks::new(layout.schema(), layout.chunk_rows());
        Ok(FeaturesWriter {
            layout,
            provenance,
            state: State::New(Box::new(WholeWriter::create(path)?)),
            chunks,
            n_rows: 0,
        })
    }

    /// Adds rows.
    pub fn push(&mut self, rows: Rows) -> Result<()> {
        let batch = self.record_batch(rows);
        self.n_rows += batch.num_rows() as u64;
        for chunk in self.chunks.push(batch) {
            self.write_chunk(&chunk)?;
        }
        Ok(())
    }

    /// Ends the file and gives it its name.
    pub fn finish(mut self) -> Result<Written> {
        let rest = self.chunks.rest();
        self.write_chunk(&rest)?;
        let State::Open(writer) = self.state else {
            unreachable!("a chunk opens the file");
        };
        let path = writer.inner().to().path().to_owned();
        let file = foot::close(*writer).map_err(|error| write_error(&path, error))?;
        Ok(Written {
            file: file.finish()?,
            n_rows: self.n_rows,
        })
    }

    fn record_batch(&self, rows: Rows) -> RecordBatch {
        let vectors = FixedSizeListArray::new(
            element(),
            self.layout.list_size(),
            Arc::new(Float32Array::from(rows.values)),
            None,
        );
        let mut columns: Vec<ArrayRef> = rows.side.columns().to_vec();
        columns.push(Arc::new(vectors));
        columns.push(Arc::new(Int32Array::from(rows.n_patches)));
        if self.layout.has_status {
            columns.push(Arc::new(StringArray::from(rows.status)));
        }
        match RecordBatch::try_new(self.layout.schema(), columns) {
            Ok(batch) => batch,
            Err(error) => unreachable!("features are a table: {error}"),
        }
    }

    fn write_chunk(&mut self, chunk: &RecordBatch) -> Result<()> {
        if let State::New(_) = self.state {
            let State::New(file) = std::mem::replace(&mut self.state, State::Closed) else {
                unreachable!("matched above");
            };
            let path = file.path().to_owned();
            let key_values = self.key_values();
            let properties = self.properties(chunk, &key_values);
            let schema = with_metadata(&self.layout.schema(), &key_values);
            let writer = ArrowWriter::try_new(FootWriter::new(*file), schema, Some(properties))
                .map_err(|error| write_error(&path, error))?;
            self.state = State::Open(Box::new(writer));
        }
        let State::Open(writer) = &mut self.state else {
            unreachable!("opened above");
        };
        let written = writer.write(chunk).and_then(|()| {
            // Rows may be larger than the footer's mean says.
            match writer.in_progress_size() > ROW_GROUP_BYTES {
                true => writer.flush(),
                false => Ok(()),
            }
        });
        written.map_err(|error| write_error(writer.inner().to().path(), error))
    }

    fn properties(&self, first_chunk: &RecordBatch, key_values: &[KeyValue]) -> WriterProperties {
        let vectors = ColumnPath::new(vec!["features".into(), "list".into(), "element".into()]);
        let builder = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(created_by())
            .set_max_row_group_row_count(Some(self.layout.row_group_rows()))
            .set_max_row_group_bytes(None)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_column_statistics_enabled(vectors.clone(), EnabledStatistics::None)
            .set_key_value_metadata(Some(key_values.to_vec()));
        encoding_of(values_of(first_chunk))
            .set(builder, vectors)
            .build()
    }

    fn key_values(&self) -> Vec<KeyValue> {
        let mut features = self.layout.features.clone();
        features.insert(
            "features",
            hugging_face::vector_feature(self.layout.n_values),
        );
        features.insert("n_patches", hugging_face::value_feature("int32"));
        if self.layout.has_status {
            features.insert("status", hugging_face::value_feature("string"));
        }
        vec![
            KeyValue::new(KEY.to_owned(), self.provenance.clone()),
            KeyValue::new(hugging_face::KEY.to_owned(), features.to_text()),
        ]
    }
}

/// The schema with the footer's keys. Readers that trust the Arrow schema in the footer look for them only there.
pub(super) fn with_metadata(schema: &Schema, key_values: &[KeyValue]) -> SchemaRef {
    let metadata: HashMap<String, String> = key_values
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.clone().unwrap_or_default()))
        .collect();
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

fn values_of(chunk: &RecordBatch) -> &[f32] {
    use arrow::array::AsArray;
    use arrow::datatypes::Float32Type;
    let vectors = chunk
        .column_by_name("features")
        .map(|column| column.as_fixed_size_list().values());
    vectors.map_or(&[], |values| values.as_primitive::<Float32Type>().values())
}

/// How vectors are encoded before zstd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VectorEncoding {
    Dictionary,
    Plain,
    ByteStreamSplit,
}

impl VectorEncoding {
    fn set(self, builder: WriterPropertiesBuilder, column: ColumnPath) -> WriterPropertiesBuilder {
        match self {
            VectorEncoding::Dictionary => builder.set_column_dictionary_enabled(column, true),
            VectorEncoding::Plain => builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::PLAIN),
            VectorEncoding::ByteStreamSplit => builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::BYTE_STREAM_SPLIT),
        }
    }
}

fn encoding_of(values: &[f32]) -> VectorEncoding {
    let mut distinct = HashSet::new();
    for value in values {
        distinct.insert(value.to_bits());
        if distinct.len() > MAX_DICTIONARY_VALUES {
            let zeros = values
                .iter()
                .filter(|value| value.to_bits() << 1 == 0)
                .count();
            return if zeros as f64 >= MIN_ZERO_SHARE * values.len() as f64 {
                VectorEncoding::Plain
            } else {
                VectorEncoding::ByteStreamSplit
            };
        }
    }
    VectorEncoding::Dictionary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_a_dictionary_sparse_values_plain_and_dense_ones_split_bytes() {
        let counts: Vec<f32> = (0..20_000u16).map(|i| f32::from(i % 300)).collect();
        let dense: Vec<f32> = (0..20_000u16).map(|i| f32::from(i) * 0.37).collect();
        let sparse: Vec<f32> = (0..20_000u16)
            .map(|i| f32::from(i / 2 * (i % 2)) * 0.37)
            .collect();
        assert_eq!(encoding_of(&counts), VectorEncoding::Dictionary);
        assert_eq!(encoding_of(&dense), VectorEncoding::ByteStreamSplit);
        assert_eq!(encoding_of(&sparse), VectorEncoding::Plain);
    }

    #[test]
    fn a_row_group_is_whole_chunks_and_bounded_in_bytes() {
        for n_values in [1, 50, 200, 4000, 100_000, 10_000_000] {
            let layout = Layout {
                n_values,
                side: Arc::new(Schema::empty()),
                side_bytes: 0,
                has_status: false,
                features: Features::default(),
            };
            let (chunk, rows) = (layout.chunk_rows(), layout.row_group_rows());
            assert!(rows % chunk == 0 && rows >= chunk && rows <= ROW_GROUP_ROWS);
            assert!(
                rows == 1 || rows * n_values * 4 <= ROW_GROUP_BYTES,
                "{n_values}"
            );
        }
    }
}
