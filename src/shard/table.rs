//! Small tables of ours as Parquet: written whole, read whole, with a header as JSON in the footer.
//!
//! For files whose size has a bound of its own; what grows with the data is streamed elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, Float32Array, RecordBatch,
    StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::features::with_metadata;
use super::foot::{self, FootWriter};
use super::read::{Shard, Wanted};
use super::vocabulary::created_by;
use super::whole::{WholeFile, WholeWriter, write_error};
use crate::error::{Error, Place, Result};
use crate::job::Io;

/// Rows that are read at once.
const READ_ROWS: usize = 4096;

/// Writes columns of one length, and `header` under the footer's key.
pub(super) fn write(
    path: &Path,
    columns: Vec<(&str, ArrayRef)>,
    key: &str,
    header: &impl Serialize,
) -> Result<WholeFile> {
    let header = serde_json::to_string(header).unwrap_or_default();
    let key_values = vec![KeyValue::new(key.to_owned(), header)];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(created_by())
        .set_key_value_metadata(Some(key_values.clone()))
        .build();
    let columns = columns.into_iter().map(|(name, column)| {
        let is_nullable = column.null_count() > 0 || column.data_type() == &DataType::Utf8;
        (name, column, is_nullable)
    });
    let rows = match RecordBatch::try_from_iter_with_nullable(columns) {
        Ok(rows) => rows,
        Err(error) => unreachable!("columns of one length are a table: {error}"),
    };
    let file = FootWriter::new(WholeWriter::create(path)?);
    let failed = |error| write_error(path, error);
    let schema = with_metadata(&rows.schema(), &key_values);
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
    writer.write(&rows).map_err(failed)?;
    foot::close(writer).map_err(failed)?.finish()
}

/// A column of lists of `d` values.
pub(super) fn list_column(values: Vec<f32>, d: usize) -> ArrayRef {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let size = i32::try_from(d).unwrap_or(i32::MAX);
    let values = Arc::new(Float32Array::from(values));
    Arc::new(FixedSizeListArray::new(item, size, values, None))
}

/// A column of texts.
pub(super) fn text_column(texts: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(texts))
}

/// A table that was read.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    rows: RecordBatch,
    header: Option<String>,
}

impl Table {
    /// Reads all rows of a file, and its header under `key` if it has one.
    pub(super) fn read(path: &Path, key: &str) -> Result<Table> {
        let shard = Shard::open(path, Io::Read)?;
        let wanted: Vec<Wanted> = shard
            .schema()
            .fields()
            .iter()
            .map(|field| Wanted::column(field.name()))
            .collect();
        let mut batches = Vec::new();
        for row_group in 0..shard.n_row_groups() {
            let mut reader = shard.read_row_group(row_group, &wanted, READ_ROWS)?;
            while let Some(batch) = reader.next_batch() {
                batches.push(batch?.1);
            }
        }
        let rows = concat_batches(shard.schema(), &batches)
            .map_err(|error| Error::file(path, format!("the file is damaged: {error}")))?;
        Ok(Table {
            path: path.to_owned(),
            rows,
            header: shard.key_value(key).map(str::to_owned),
        })
    }

    /// The header.
    pub(super) fn header<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let text = self.header.as_deref().unwrap_or_default();
        serde_json::from_str(text).map_err(|error| {
            Error::file(
                self.path.as_path(),
                format!("its key \"{key}\" is missing or cannot be read: {error}"),
            )
        })
    }

    /// Number of rows.
    pub(super) fn n_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// A column of numbers without nulls.
    pub(super) fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&[T::Native]> {
        self.column(name)?
            .as_primitive_opt::<T>()
            .map(|column| &**column.values())
            .ok_or_else(|| self.wrong(name))
    }

    /// A column of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<Option<&str>>> {
        let column = self.rows.column_by_name(name);
        column
            .and_then(|column| column.as_string_opt::<i32>())
            .map(|column| column.iter().collect())
            .ok_or_else(|| self.wrong(name))
    }

    /// A column of lists of one length: the length, and all values end to end.
    pub(super) fn lists(&self, name: &str) -> Result<(usize, &[f32])> {
        let lists = self
            .column(name)?
            .as_fixed_size_list_opt()
            .ok_or_else(|| self.wrong(name))?;
        let d = lists.value_length() as usize;
        let start = lists.value_offset_at(0);
        let values = lists
            .values()
            .as_primitive_opt::<Float32Type>()
            .and_then(|values| values.values().get(start..start + d * lists.len()))
            .ok_or_else(|| self.wrong(name))?;
        Ok((d, values))
    }

    /// The list in one row of a column of lists of any length.
    pub(super) fn list<T: ArrowPrimitiveType>(
        &self,
        name: &str,
        row: usize,
    ) -> Result<Vec<T::Native>> {
        let lists = self.column(name)?.as_list_opt::<i32>();
        lists
            .and_then(|lists| Some(lists.value(row).as_primitive_opt::<T>()?.values().to_vec()))
            .ok_or_else(|| self.wrong(name))
    }

    fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.rows
            .column_by_name(name)
            .filter(|column| column.null_count() == 0)
            .ok_or_else(|| self.wrong(name))
    }

    fn wrong(&self, name: &str) -> Error {
        Error::file(
            Place::file(&self.path).column(name),
            "is missing, has nulls or is of another type than bovw writes",
        )
    }
}
