//! A filter: Arrow record batches come in as bytes and go out as bytes, for engines that speak no Python.
//!
//! A batch is held at a time, in and out; what goes out is written before the next is read.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

use super::batches::{Batches, VectorLayout};
use super::featurizer::{Featurizer, Picture, Work};
use super::learner::{Learner, Numbers};
use crate::error::{Error, Place, Result};
use crate::job::OnBadImage;
use crate::shard::arrow_stream::ArrowStream;
use crate::shard::detect::{BATCH_NAME, image_column_of_batch};
use crate::shard::images::ImageRows;
use crate::shard::pixels::Reading;

/// What has passed through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streamed {
    /// Record batches.
    pub batches: u64,
    /// Images in them.
    pub images: u64,
    /// Bad ones among these.
    pub bad_images: u64,
}

/// A stream of images becomes a stream of vectors, batch for batch. A batch of more than `run.memory` is refused.
///
/// # Errors
/// As [`Batches::featurize`]; a stream that is damaged or cut off; no more can be written.
pub fn featurize(
    featurizer: &Arc<Featurizer>,
    layout: VectorLayout,
    input: impl Read,
    output: impl Write,
    work: Work<'_>,
) -> Result<Streamed> {
    let max_bytes = featurizer.job().run.memory_bytes;
    let mut stream = ArrowStream::new(input, Path::new(INPUT), KIND, max_bytes, Some(work.stop))?;
    let mut batches = Batches::new(Arc::clone(featurizer), layout);
    let mut first = stream.next_batch()?;
    let like = match &first {
        Some(batch) => batch.clone(),
        None => RecordBatch::new_empty(stream.schema()),
    };
    let schema = batches.schema(&like)?;
    let mut writer = StreamWriter::try_new(output, &schema).map_err(write_error)?;
    let mut streamed = Streamed::default();
    while let Some(batch) = match first.take() {
        Some(batch) => Some(batch),
        None => stream.next_batch()?,
    } {
        let made = batches.featurize(&batch, work)?;
        streamed.batches += 1;
        streamed.images += batch.num_rows() as u64;
        streamed.bad_images += n_bad(featurizer, &batch, &made);
        writer
            .write(&made)
            .and_then(|()| writer.flush())
            .map_err(write_error)?;
    }
    writer.finish().map_err(write_error)?;
    Ok(streamed)
}

/// A stream of images is added to a learner's sample. `rows` names the column of their numbers; without it these are made of
/// their pixels.
///
/// # Errors
/// As [`add_batch`]; a stream that is damaged or cut off.
pub fn sample(
    learner: &mut Learner,
    rows: Option<&str>,
    input: impl Read,
    work: Work<'_>,
) -> Result<Streamed> {
    let max_bytes = learner.job().run.memory_bytes;
    let mut stream = ArrowStream::new(input, Path::new(INPUT), KIND, max_bytes, Some(work.stop))?;
    let mut streamed = Streamed::default();
    while let Some(batch) = stream.next_batch()? {
        add_batch(learner, &batch, rows, work)?;
        streamed.batches += 1;
        streamed.images += batch.num_rows() as u64;
    }
    Ok(streamed)
}

/// Adds the images of a record batch to a learner's sample. `rows` names the column of their numbers; without it these are
/// made of their pixels.
///
/// # Errors
/// No column, or more than one, can hold the images; numbers that are none; and as [`Learner::add`].
pub fn add_batch(
    learner: &mut Learner,
    batch: &RecordBatch,
    rows: Option<&str>,
    work: Work<'_>,
) -> Result<()> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    let input = learner.job().input.clone();
    let mut column = image_column_of_batch(batch, input.image.as_deref(), input.shape)?;
    column.reading = Reading::of(&input);
    let place = Place::file(Path::new(BATCH_NAME));
    let images = ImageRows::new(batch, &column, &place)?;
    let given = rows.map(|rows| row_numbers(batch, rows)).transpose()?;
    let numbers = given.as_deref().map_or(Numbers::OfContent, Numbers::Given);
    let place = place.column(column.name());
    let picture = |at: usize| Picture::Image(images.get(at));
    learner.add(batch.num_rows(), &picture, numbers, &place, work)
}

/// What a stream has to be.
const KIND: &str = "stream in Arrow's IPC format";

/// What messages call a stream that comes in, and one that goes out.
const INPUT: &str = "the stream of images";
const OUTPUT: &str = "the stream of vectors";

/// The numbers in a column of whole numbers.
fn row_numbers(batch: &RecordBatch, rows: &str) -> Result<Vec<u64>> {
    let place = || Place::file(Path::new(BATCH_NAME)).column(rows);
    let Some(column) = batch.column_by_name(rows) else {
        return Err(Error::file(
            place(),
            "is missing, though it was named for the numbers of rows",
        ));
    };
    let is_whole = column.data_type().is_integer();
    let numbers = is_whole.then(|| cast(column, &DataType::UInt64));
    match numbers {
        Some(Ok(numbers)) if numbers.null_count() == 0 => {
            Ok(numbers.as_primitive::<UInt64Type>().values().to_vec())
        }
        _ => Err(Error::file(
            place(),
            "does not hold the numbers of rows: whole numbers from 0, without nulls",
        )),
    }
}

fn n_bad(featurizer: &Featurizer, batch: &RecordBatch, made: &RecordBatch) -> u64 {
    match featurizer.job().input.on_bad_image {
        OnBadImage::Fail => 0,
        OnBadImage::Drop => (batch.num_rows() - made.num_rows()) as u64,
        OnBadImage::Zero => made
            .column_by_name("status")
            .map_or(0, |status| (status.len() - status.null_count()) as u64),
    }
}

fn write_error(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io(Path::new(OUTPUT), "write", source),
        other => Error::file(Path::new(OUTPUT), format!("cannot be written: {other}")),
    }
}
