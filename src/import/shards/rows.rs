//! The rows of a row group while they are collected, and how they are stored.
//!
//! Bounded by one row group. It must never change an image's bytes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::basic::Encoding;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::{Compression, Label, Labels, ROW_GROUP_MAX_BYTES, ROW_GROUP_MAX_ROWS, ZstdLevel};
use crate::shard::hugging_face::{self, Features};
use crate::shard::vocabulary::created_by;

/// What the image column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStorage {
    /// Encoded images, in Hugging Face's `struct<bytes, path>`.
    HuggingFace,
    /// A binary value an image: raw pixels, grey, row by row.
    Raw,
}

/// How rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage {
    /// What the image column holds.
    pub images: ImageStorage,
    /// The most rows in a row group, at least 1.
    pub row_group_rows: usize,
    /// The most image bytes in a row group of several rows.
    pub row_group_bytes: usize,
    /// Compression of the image column.
    pub compression: Compression,
}

impl Default for Storage {
    /// As imports store what they are given.
    fn default() -> Storage {
        Storage {
            images: ImageStorage::HuggingFace,
            row_group_rows: ROW_GROUP_MAX_ROWS,
            row_group_bytes: ROW_GROUP_MAX_BYTES,
            compression: Compression::UNCOMPRESSED,
        }
    }
}

/// The rows of the next row group.
#[derive(Debug)]
pub(super) struct Pending {
    storage: Storage,
    rows: usize,
    image_bytes: usize,
    bytes: BinaryBuilder,
    path: StringBuilder,
    label: LabelBuilder,
}

#[derive(Debug)]
enum LabelBuilder {
    None,
    Number(Int64Builder),
    Text(StringBuilder),
}

impl Pending {
    pub(super) fn new(labels: &Labels, storage: &Storage) -> Pending {
        Pending {
            storage: *storage,
            rows: 0,
            image_bytes: 0,
            bytes: BinaryBuilder::new(),
            path: StringBuilder::new(),
            label: match labels {
                Labels::None => LabelBuilder::None,
                Labels::Classes(_) | Labels::Numbers => LabelBuilder::Number(Int64Builder::new()),
                Labels::Text => LabelBuilder::Text(StringBuilder::new()),
            },
        }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of their images.
    pub(super) fn image_bytes(&self) -> usize {
        self.image_bytes
    }

    pub(super) fn schema(&self, labels: &Labels) -> SchemaRef {
        let image = match self.storage.images {
            ImageStorage::HuggingFace => DataType::Struct(image_fields()),
            ImageStorage::Raw => DataType::Binary,
        };
        let image = Field::new("image", image, true);
        let label = match self.label {
            LabelBuilder::None => None,
            LabelBuilder::Number(_) => Some(DataType::Int64),
            LabelBuilder::Text(_) => Some(DataType::Utf8),
        };
        let label = label.map(|data_type| Field::new("label", data_type, true));
        let fields: Fields = [Some(image), label].into_iter().flatten().collect();
        // pyarrow takes the metadata from the Arrow schema where a file has one, others from the file: both get it.
        let features = features(labels, self.storage.images).to_text();
        let metadata = HashMap::from([(hugging_face::KEY.to_owned(), features)]);
        Arc::new(Schema::new(fields).with_metadata(metadata))
    }

    /// Whether an image of so many bytes belongs in the next row group.
    pub(super) fn is_full(&self, next_bytes: usize) -> bool {
        self.rows >= self.storage.row_group_rows
            || (self.rows > 0 && self.image_bytes + next_bytes > self.storage.row_group_bytes)
    }

    pub(super) fn push(&mut self, image: &[u8], path: Option<&str>, label: Label<'_>) {
        match (&mut self.label, label) {
            (LabelBuilder::None, Label::None) => {}
            (LabelBuilder::Number(builder), Label::Number(number)) => builder.append_value(number),
            (LabelBuilder::Text(builder), Label::Text(text)) => builder.append_value(text),
            (_, label) => {
                panic!("{label:?} is not the kind of label that this writer was made for")
            }
        }
        self.bytes.append_value(image);
        if self.storage.images == ImageStorage::HuggingFace {
            self.path.append_option(path);
        }
        self.rows += 1;
        self.image_bytes += image.len();
    }

    pub(super) fn take(&mut self, schema: &SchemaRef) -> RecordBatch {
        let bytes = Arc::new(self.bytes.finish()) as ArrayRef;
        let image = match self.storage.images {
            ImageStorage::HuggingFace => Arc::new(StructArray::new(
                image_fields(),
                vec![bytes, Arc::new(self.path.finish())],
                None,
            )),
            ImageStorage::Raw => bytes,
        };
        let mut columns = vec![image];
        match &mut self.label {
            LabelBuilder::None => {}
            LabelBuilder::Number(builder) => columns.push(Arc::new(builder.finish())),
            LabelBuilder::Text(builder) => columns.push(Arc::new(builder.finish())),
        }
        self.rows = 0;
        self.image_bytes = 0;
        RecordBatch::try_new(schema.clone(), columns).expect("the columns are built to the schema")
    }
}

fn image_fields() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

pub(super) fn writer_properties(labels: &Labels, storage: &Storage) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(created_by())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // A row group ends where the writer says, however many rows it has.
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            hugging_face::KEY.to_owned(),
            features(labels, storage.images).to_text(),
        )]));
    let leaves: &[&[&str]] = match storage.images {
        ImageStorage::HuggingFace => &[&["image", "bytes"], &["image", "path"]],
        ImageStorage::Raw => &[&["image"]],
    };
    for leaf in leaves {
        let column = ColumnPath::new(leaf.iter().map(|part| (*part).to_owned()).collect());
        builder = builder
            .set_column_compression(column.clone(), storage.compression)
            .set_column_encoding(column.clone(), Encoding::PLAIN)
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    builder.build()
}

/// From which `datasets` restores the images and the names of the classes.
fn features(labels: &Labels, images: ImageStorage) -> Features {
    let mut features = Features::default();
    let image = match images {
        ImageStorage::HuggingFace => hugging_face::image_feature(),
        ImageStorage::Raw => hugging_face::value_feature("binary"),
    };
    features.insert("image", image);
    let label = match labels {
        Labels::None => return features,
        Labels::Classes(names) => hugging_face::class_label_feature(names),
        Labels::Numbers => hugging_face::value_feature("int64"),
        Labels::Text => hugging_face::value_feature("string"),
    };
    features.insert("label", label);
    features
}
