//! Decode: record batches to images, grey or RGB; rows that hold none keep the reason instead.
//!
//! With `on_bad_image = "fail"` the first bad row ends the run here, with its place.

use arrow::record_batch::RecordBatch;

use super::source::RowBatch;
use crate::error::{Error, Place, Result};
use crate::job::{Job, OnBadImage};
use crate::kernel::grid::Grid;
use crate::kernel::image::Image;
use crate::kernel::pool::Cells;
use crate::kernel::vocabulary::Preparation;
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
    /// The decoded rows, by their place in the batch; a patch of every size fits at least once into each image.
    pub images: Vec<(usize, Result<Image, Reason>)>,
    /// All columns of the rows.
    pub rows: RecordBatch,
}

/// What must fit into an image, or it is a bad one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit<'a> {
    preparations: &'a [Preparation],
    stride: u32,
    // Rows and columns of patches at least: those of the finest cells.
    min: Cells,
}

impl<'a> Fit<'a> {
    /// What a job's patches and cells need.
    pub fn of(job: &'a Job) -> Fit<'a> {
        let finest = |axis: usize| job.features.pooling.iter().map(|grid| grid[axis]).max();
        Fit {
            preparations: &job.preparations,
            stride: job.stride,
            min: [finest(0), finest(1)].map(|cells| cells.unwrap_or(1)),
        }
    }

    /// Nothing, or why patches of some size do not fit into an image of so many pixels.
    pub fn check(&self, height: u32, width: u32) -> Result<(), Reason> {
        let [rows, cols] = self.min;
        for patch in self.preparations.iter().map(|one| one.patch) {
            let grid = Grid::new(height, width, patch, self.stride).ok_or_else(|| {
                format!("{height}x{width} pixels are too few for a {patch} patch")
            })?;
            if grid.rows < rows || grid.cols < cols {
                let of_size = match self.preparations.len() {
                    1 => String::new(),
                    _ => format!(" of {patch} pixels"),
                };
                return Err(format!(
                    "its {}x{} patches{of_size} are too few for {rows}x{cols} cells",
                    grid.rows, grid.cols
                ));
            }
        }
        Ok(())
    }
}

/// What decoding needs to know.
#[derive(Debug, Clone, Copy)]
pub struct DecodeParams<'a> {
    /// Only images whose row number is a multiple are decoded.
    pub every: u64,
    /// What must fit into an image.
    pub fit: Fit<'a>,
    /// What becomes of bad images.
    pub on_bad_image: OnBadImage,
}

/// Decodes the wanted images of a batch.
pub fn decode(batch: RowBatch, input: &InputSet, params: DecodeParams<'_>) -> Result<ImageBatch> {
    let rows = ImageRows::new(&batch.rows, &input.image, &batch.place(input, 0))?;
    let n_rows = batch.rows.num_rows();
    let mut images = Vec::with_capacity(n_rows / params.every as usize + 1);
    for row in 0..n_rows {
        if !(batch.row + row as u64).is_multiple_of(params.every) {
            continue;
        }
        let image = image(&rows, row, params.fit);
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
pub fn image(rows: &ImageRows<'_>, row: usize, fit: Fit<'_>) -> Result<Image, Reason> {
    let image = rows.get(row)?;
    fit.check(image.height, image.width).map(|()| image)
}

fn bad_image(place: Place, column: &str, reason: &str) -> Error {
    Error::BadImage {
        place: place.column(column),
        reason: reason.to_owned(),
    }
}
