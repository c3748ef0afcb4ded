//! `clusters/NAME.parquet`: the cluster of every row, beside the label and the kept columns; and
//! `clusters/NAME.centroids.parquet`: a row a cluster, as a vocabulary has a row a word.
//!
//! One file over all shards, rows in input order. A row has no cluster, and no distance, where its image is a bad one
//! that was kept; only then are those columns nullable. The bytes of a file depend on its rows alone.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::chunks::Chunks;
use super::features::with_metadata;
use super::foot::{self, FootWriter};
use super::hugging_face::{self, Features};
use super::vocabulary::{created_by, write_centroids};
use super::whole::{WholeFile, WholeWriter, write_error};
use crate::error::Result;
use crate::kernel::vocabulary::Vocabulary;

/// The footer's key, in both files.
pub const KEY: &str = "bovw.clusters";

/// Raw bytes in a row group, about.
const ROW_GROUP_BYTES: u64 = 16 << 20;

/// Rows in a row group, at most.
const ROW_GROUP_ROWS: u64 = 122_880;

/// Raw bytes that are handed to the Parquet writer at once, about, and rows at most.
const CHUNK_BYTES: u64 = 1 << 20;
const CHUNK_ROWS: u64 = 1024;

/// Bytes of a cluster and a distance.
const OWN_BYTES: u64 = 8;

/// What the rows of a clusters file look like.
#[derive(Debug, Clone)]
pub struct ClustersLayout {
    /// Label and kept columns, as they come from the input.
    pub side: SchemaRef,
    /// Bytes a row of the side columns, as the inputs' footers have them.
    pub side_bytes: u64,
    /// Whether rows may have no cluster.
    pub has_bad: bool,
    /// What Hugging Face metadata says of the side columns.
    pub features: Features,
}

/// Rows for a clusters file.
#[derive(Debug)]
pub struct ClusterRows {
    /// The cluster of each row; `None` for bad images.
    pub clusters: Vec<Option<i32>>,
    /// Distance to the cluster's centroid.
    pub distances: Vec<Option<f32>>,
    /// Label and kept columns.
    pub side: RecordBatch,
}

impl ClustersLayout {
    /// Names that this program gives to columns; no label or kept column may have one of them.
    pub const OWN_COLUMNS: [&'static str; 2] = ["cluster", "distance"];

    /// Heap bytes that writing a file of `n_rows` takes at most: a row group in the Parquet writer, and chunks before it.
    pub fn writer_bytes(&self, n_rows: u64) -> u64 {
        let row_bytes = self.row_bytes();
        2 * n_rows.min(self.row_group_rows()).saturating_mul(row_bytes)
            + 6 * self.chunk_rows().saturating_mul(row_bytes)
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> u64 {
        self.side_bytes.saturating_add(OWN_BYTES)
    }

    fn chunk_rows(&self) -> u64 {
        (CHUNK_BYTES / self.row_bytes()).clamp(1, CHUNK_ROWS)
    }

    fn row_group_rows(&self) -> u64 {
        let rows = (ROW_GROUP_BYTES / self.row_bytes()).min(ROW_GROUP_ROWS);
        let chunk = self.chunk_rows();
        (rows / chunk).max(1) * chunk
    }

    fn schema(&self) -> SchemaRef {
        let side = self.side.fields().iter().map(|field| (**field).clone());
        let own = [
            ("cluster", DataType::Int32),
            ("distance", DataType::Float32),
        ];
        let own = own.map(|(name, data_type)| Field::new(name, data_type, self.has_bad));
        Arc::new(Schema::new(side.chain(own).collect::<Vec<Field>>()))
    }
}

/// Writes one clusters file.
#[derive(Debug)]
pub struct ClustersWriter {
    schema: SchemaRef,
    writer: ArrowWriter<FootWriter<WholeWriter>>,
    chunks: Chunks,
    n_rows: u64,
}

impl ClustersWriter {
    /// Starts a file at `path`; `provenance` goes into its footer.
    pub fn create(
        path: &Path,
        layout: &ClustersLayout,
        provenance: &str,
    ) -> Result<ClustersWriter> {
        let schema = layout.schema();
        let mut features = layout.features.clone();
        features.insert("cluster", hugging_face::value_feature("int32"));
        features.insert("distance", hugging_face::value_feature("float32"));
        let key_values = vec![
            KeyValue::new(KEY.to_owned(), provenance.to_owned()),
            KeyValue::new(hugging_face::KEY.to_owned(), features.to_text()),
        ];
        let distance = ColumnPath::from("distance");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(created_by())
            .set_max_row_group_row_count(Some(layout.row_group_rows() as usize))
            .set_max_row_group_bytes(None)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_column_dictionary_enabled(distance.clone(), false)
            .set_column_encoding(distance, Encoding::BYTE_STREAM_SPLIT)
            .set_key_value_metadata(Some(key_values.clone()))
            .build();
        let file = FootWriter::new(WholeWriter::create(path)?);
        let file_schema = with_metadata(&schema, &key_values);
        let writer = ArrowWriter::try_new(file, file_schema, Some(properties))
            .map_err(|error| write_error(path, error))?;
        Ok(ClustersWriter {
            chunks: Chunks::new(Arc::clone(&schema), layout.chunk_rows() as usize),
            schema,
            writer,
            n_rows: 0,
        })
    }

    /// Adds rows.
    pub fn push(&mut self, rows: ClusterRows) -> Result<()> {
        let mut columns: Vec<ArrayRef> = rows.side.columns().to_vec();
        columns.push(Arc::new(Int32Array::from(rows.clusters)));
        columns.push(Arc::new(Float32Array::from(rows.distances)));
        let batch = match RecordBatch::try_new(Arc::clone(&self.schema), columns) {
            Ok(batch) => batch,
            Err(error) => unreachable!("clusters are a table: {error}"),
        };
        self.n_rows += batch.num_rows() as u64;
        for chunk in self.chunks.push(batch) {
            self.write(&chunk)?;
        }
        Ok(())
    }

    /// Ends the file and gives it its name; its rows, and what it is.
    pub fn finish(mut self) -> Result<(u64, WholeFile)> {
        let rest = self.chunks.rest();
        self.write(&rest)?;
        let path = self.writer.inner().to().path().to_owned();
        let file = foot::close(self.writer).map_err(|error| write_error(&path, error))?;
        Ok((self.n_rows, file.finish()?))
    }

    fn write(&mut self, chunk: &RecordBatch) -> Result<()> {
        let written = self.writer.write(chunk).and_then(|()| {
            // Rows may be larger than the footers' mean says.
            match self.writer.in_progress_size() as u64 > ROW_GROUP_BYTES {
                true => self.writer.flush(),
                false => Ok(()),
            }
        });
        written.map_err(|error| write_error(self.writer.inner().to().path(), error))
    }
}

/// Writes the centroids of a clustering, whole or not at all; `provenance` goes into the file's footer.
pub fn write_cluster_centroids(
    path: &Path,
    centroids: &Vocabulary,
    provenance: &str,
) -> Result<WholeFile> {
    let key_value = KeyValue::new(KEY.to_owned(), provenance.to_owned());
    write_centroids(path, centroids, "cluster", key_value)
}
