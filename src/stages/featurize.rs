//! Featurize: images to vectors. Every patch of the grid is held against the words.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::decode::ImageBatch;
use crate::error::Result;
use crate::job::OnBadImage;
use crate::kernel::encode::{Encoders, Lexicons};
use crate::shard::features::Rows;
use crate::shard::input::InputSet;
use crate::shard::manifest::{BadImage, Tally};

/// The vectors of a batch.
#[derive(Debug)]
pub struct FeatureBatch {
    /// Which shard, by its place in the input.
    pub shard: usize,
    /// Rows that were read, written or dropped.
    pub n_rows: usize,
    /// Rows to write.
    pub rows: Rows,
    /// Bad images.
    pub bad: Vec<BadImage>,
    /// What was counted.
    pub tally: Tally,
}

/// One worker: its words and its scratch memory.
#[derive(Debug)]
pub struct Featurizer<'a> {
    input: &'a InputSet,
    encoder: Encoders<'a>,
    n_values: usize,
    on_bad_image: OnBadImage,
}

impl<'a> Featurizer<'a> {
    /// A worker.
    pub fn new(
        input: &'a InputSet,
        lexicons: &'a Lexicons,
        on_bad_image: OnBadImage,
    ) -> Featurizer<'a> {
        Featurizer {
            input,
            encoder: Encoders::new(lexicons),
            n_values: lexicons.n_values(),
            on_bad_image,
        }
    }

    /// Turns the images of a batch into vectors.
    pub fn featurize(&mut self, batch: ImageBatch) -> Result<FeatureBatch> {
        let n_values = self.n_values;
        let mut rows = Rows {
            values: Vec::with_capacity(batch.images.len() * n_values),
            n_patches: Vec::with_capacity(batch.images.len()),
            status: Vec::with_capacity(batch.images.len()),
            side: self.side(&batch),
        };
        let mut bad = Vec::new();
        let mut is_kept = vec![true; batch.images.len()];
        let mut tally = Tally {
            images: batch.images.len() as u64,
            ..Tally::default()
        };
        for (row, image) in batch.images {
            match image {
                Ok(image) => {
                    let encoded = self.encoder.encode(image.as_ref());
                    tally.decided_again += encoded.decided_again;
                    tally.patches += encoded.n_patches as u64;
                    rows.values.extend_from_slice(encoded.vector);
                    rows.n_patches
                        .push(i32::try_from(encoded.n_patches).unwrap_or(i32::MAX));
                    rows.status.push(None);
                }
                Err(reason) => {
                    bad.push(BadImage {
                        row: batch.row_in_file + row as u64,
                        reason: reason.clone(),
                    });
                    if self.on_bad_image == OnBadImage::Drop {
                        is_kept[row] = false;
                        continue;
                    }
                    rows.values.resize(rows.values.len() + n_values, 0.0);
                    rows.n_patches.push(0);
                    rows.status.push(Some(reason));
                }
            }
        }
        if is_kept.iter().any(|&kept| !kept) {
            rows.side = filter(&rows.side, is_kept);
        }
        Ok(FeatureBatch {
            shard: batch.shard,
            n_rows: batch.n_rows,
            rows,
            bad,
            tally,
        })
    }

    /// Label and kept columns, in the order of the output.
    fn side(&self, batch: &ImageBatch) -> RecordBatch {
        let columns = self.input.side.fields().iter().map(|field| {
            batch
                .rows
                .schema()
                .index_of(field.name())
                .unwrap_or_else(|_| unreachable!("the source reads every side column"))
        });
        match batch.rows.project(&columns.collect::<Vec<usize>>()) {
            Ok(side) => side,
            Err(error) => unreachable!("columns of a batch: {error}"),
        }
    }
}

fn filter(rows: &RecordBatch, is_kept: Vec<bool>) -> RecordBatch {
    match filter_record_batch(rows, &BooleanArray::from(is_kept)) {
        Ok(rows) => rows,
        Err(error) => unreachable!("a mask as long as the batch: {error}"),
    }
}
