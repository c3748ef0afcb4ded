//! From record batches with an image column to record batches with vectors: `features`, `n_patches`, and `status` where bad
//! images keep a row. All other columns come along as they are.
//!
//! The image column is found in the first batch, as in a shard; all batches must have one layout. A batch without rows gives
//! one without rows.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int32Array, ListArray, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::featurizer::{Featurizer, Picture, Row, Work};
use crate::error::{Error, Place, Result};
use crate::job::OnBadImage;
use crate::shard::detect::{self, BATCH_NAME, ImageColumn};
use crate::shard::features::{self, Layout};
use crate::shard::images::ImageRows;

/// How a vector is laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VectorLayout {
    /// `FixedSizeList<float32>`, as in features files.
    #[default]
    FixedSizeList,
    /// `List<float32>`, for readers that know no other, Spark among them.
    List,
}

/// Turns record batches of images into record batches of vectors, one for one.
#[derive(Debug)]
pub struct Batches {
    featurizer: Arc<Featurizer>,
    layout: VectorLayout,
    image: Option<ImageColumn>,
}

impl Batches {
    /// For batches that are yet to come.
    pub fn new(featurizer: Arc<Featurizer>, layout: VectorLayout) -> Batches {
        Batches {
            featurizer,
            layout,
            image: None,
        }
    }

    /// The image column, once a batch was seen.
    pub fn image(&self) -> Option<&ImageColumn> {
        self.image.as_ref()
    }

    /// What the batches that come out look like, where `batch` is among those that go in.
    ///
    /// # Errors
    /// No column, or more than one, can hold the images; one has the name of a column of ours.
    pub fn schema(&mut self, batch: &RecordBatch) -> Result<SchemaRef> {
        let image = self.find(batch)?;
        let mut fields = Vec::new();
        for field in batch.schema_ref().fields() {
            if image.columns.contains(field.name()) {
                continue;
            }
            let is_added =
                |name: &&str| *name != "status" || self.on_bad_image() == OnBadImage::Zero;
            let mut added = Layout::OWN_COLUMNS.iter().filter(|name| is_added(name));
            if added.any(|name| name == field.name()) {
                return Err(Error::File {
                    place: Place::file(Path::new(BATCH_NAME)).column(field.name()),
                    message: "has the name of a column that bovw adds".to_owned(),
                    help: Some("rename it, or leave it out".to_owned()),
                });
            }
            fields.push(field.as_ref().clone());
        }
        fields.push(Field::new("features", self.vector_type(), false));
        fields.push(Field::new("n_patches", DataType::Int32, false));
        if self.on_bad_image() == OnBadImage::Zero {
            fields.push(Field::new("status", DataType::Utf8, true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The vectors of a batch's images.
    ///
    /// # Errors
    /// As [`schema`](Batches::schema) and [`Featurizer::featurize`]; a bad image where the job says so; a batch whose image
    /// column is of another type than the first one's.
    pub fn featurize(&mut self, batch: &RecordBatch, work: Work<'_>) -> Result<RecordBatch> {
        let schema = self.schema(batch)?;
        let image = self.find(batch)?;
        let place = Place::file(Path::new(BATCH_NAME)).column(image.name());
        let images = ImageRows::new(batch, &image, &Place::file(Path::new(BATCH_NAME)))?;
        let n = batch.num_rows();
        let mut values = self.featurizer.room(n)?;
        let picture = |row: usize| Picture::Image(images.get(row));
        let rows = self.featurizer.featurize(n, &picture, &mut values, work)?;
        self.featurizer.check_rows(&rows, &place)?;
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if !image.columns.contains(field.name()) {
                columns.push(Arc::clone(column));
            }
        }
        columns.push(self.vectors(values, n)?);
        columns.extend(self.beside(&rows));
        let whole = RecordBatch::try_new(schema, columns)
            .map_err(|error| Error::file(Path::new(BATCH_NAME), error))?;
        if self.on_bad_image() != OnBadImage::Drop {
            return Ok(whole);
        }
        let is_kept: BooleanArray = rows.iter().map(|row| Some(row.status.is_none())).collect();
        filter_record_batch(&whole, &is_kept)
            .map_err(|error| Error::file(Path::new(BATCH_NAME), error))
    }

    fn find(&mut self, batch: &RecordBatch) -> Result<ImageColumn> {
        if let Some(image) = &self.image {
            return Ok(image.clone());
        }
        let input = &self.featurizer.job().input;
        let mut image = detect::image_column_of_batch(batch, input.image.as_deref(), input.shape)?;
        image.reading = *self.featurizer.reading();
        // One without values leaves the next batch a say in what they are.
        if batch.num_rows() > 0 && !is_null(batch, &image) {
            self.image = Some(image.clone());
        }
        Ok(image)
    }

    fn on_bad_image(&self) -> OnBadImage {
        self.featurizer.job().input.on_bad_image
    }

    fn vector_type(&self) -> DataType {
        let n_values = i32::try_from(self.featurizer.n_values()).unwrap_or(i32::MAX);
        match self.layout {
            VectorLayout::FixedSizeList => DataType::FixedSizeList(features::element(), n_values),
            VectorLayout::List => DataType::List(features::element()),
        }
    }

    fn vectors(&self, values: Vec<f32>, n: usize) -> Result<ArrayRef> {
        let n_values = self.featurizer.n_values();
        let values = Arc::new(Float32Array::from(values));
        let vectors: ArrayRef = match self.layout {
            VectorLayout::FixedSizeList => Arc::new(FixedSizeListArray::new(
                features::element(),
                i32::try_from(n_values).unwrap_or(i32::MAX),
                values,
                None,
            )),
            VectorLayout::List => {
                let offsets = OffsetBuffer::try_from_repeated_length(n_values, n);
                let offsets = offsets.map_err(|_| Error::File {
                    place: Place::file(Path::new(BATCH_NAME)),
                    message: format!(
                        "has {n} rows, and a list column cannot hold so many vectors of {n_values} values"
                    ),
                    help: Some("give smaller batches".to_owned()),
                })?;
                Arc::new(ListArray::new(features::element(), offsets, values, None))
            }
        };
        Ok(vectors)
    }

    /// The columns after the vectors.
    fn beside(&self, rows: &[Row]) -> Vec<ArrayRef> {
        let n_patches: Int32Array = rows.iter().map(|row| Some(row.n_patches)).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(n_patches)];
        if self.on_bad_image() == OnBadImage::Zero {
            let status: StringArray = rows.iter().map(|row| row.status.as_deref()).collect();
            columns.push(Arc::new(status));
        }
        columns
    }
}

fn is_null(batch: &RecordBatch, image: &ImageColumn) -> bool {
    let mut columns = image.columns.iter();
    columns.all(|name| {
        let column = batch.column_by_name(name);
        column.is_some_and(|column| column.null_count() == column.len())
    })
}
