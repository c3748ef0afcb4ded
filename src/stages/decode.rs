//! Decode: record batches to grey images; rows that hold none keep the reason instead.
//!
//! With `on_bad_image = "fail"` the first bad row ends the run here, with its place.

use arrow::record_batch::RecordBatch;

use super::source::RowBatch;
use crate::error::{Error, Place, Result};
use crate::job::OnBadImage;
use crate::kernel::grid::Grid;
use crate::kernel::grid::PatchShape;
use crate::kernel::image::Image;
use crate::shard::images::{ImageRows, Reason};
use crate::shard::input::InputSet;

/// The images of a batch.
#[derive(Debug)]
pub struct ImageBatch {
    /// Which shard, by its place in the input.
    pub shard: usize,
    /// Row number in the file of the first row.
    pub row_in_file: u64,
    /// Row number over all shards of the first row.
    pub row: u64,
    /// Rows that were read, decoded or not.
    pub n_rows: usize,
    /// The decoded rows, by their place in the batch; every patch fits at least once into each image.
    pub images: Vec<(usize, Result<Image, Reason>)>,
    /// All columns of the rows.
    pub rows: RecordBatch,
}

/// What decoding needs to know.
#[derive(Debug, Clone, Copy)]
pub struct DecodeParams {
    /// Only images whose row number is a multiple are decoded.
    pub every: u64,
    /// An image smaller than a patch is a bad image.
    pub patch: PatchShape,
    /// What becomes of bad images.
    pub on_bad_image: OnBadImage,
}

/// Decodes the wanted images of a batch.
pub fn decode(batch: RowBatch, input: &InputSet, params: DecodeParams) -> Result<ImageBatch> {
    let rows = ImageRows::new(&batch.rows, &input.image, &batch.place(input, 0))?;
    let n_rows = batch.rows.num_rows();
    let mut images = Vec::with_capacity(n_rows / params.every as usize + 1);
    for row in 0..n_rows {
        if !(batch.row + row as u64).is_multiple_of(params.every) {
            continue;
        }
        let image = image(&rows, row, params.patch);
        if let (Err(reason), OnBadImage::Fail) = (&image, params.on_bad_image) {
            batch.check_whole(input)?;
            return Err(bad_image(
                batch.place(input, row),
                &input.image.name(),
                reason,
            ));
        }
        images.push((row, image));
    }
    drop(rows);
    // Images may lie in the mapped file itself until here; what it has lost reads as zeros.
    batch.check_whole(input)?;
    Ok(ImageBatch {
        shard: batch.shard,
        row_in_file: batch.row_in_file,
        row: batch.row,
        n_rows,
        images,
        rows: batch.rows,
    })
}

/// The image of a row, or why it is a bad one.
pub fn image(rows: &ImageRows<'_>, row: usize, patch: PatchShape) -> Result<Image, Reason> {
    rows.get(row).and_then(|image| large_enough(image, patch))
}

fn large_enough(image: Image, patch: PatchShape) -> Result<Image, Reason> {
    match Grid::new(image.height, image.width, patch, 1) {
        Some(_) => Ok(image),
        None => Err(format!(
            "{}x{} pixels are too few for a {patch} patch",
            image.height, image.width
        )),
    }
}

fn bad_image(place: Place, column: &str, reason: &str) -> Error {
    Error::BadImage {
        place: place.column(column),
        reason: reason.to_owned(),
    }
}
