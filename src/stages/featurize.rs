//! Featurize: images to counts of words. Every patch of the grid is replaced by its nearest word.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::decode::ImageBatch;
use crate::error::Result;
use crate::job::OnBadImage;
use crate::kernel::grid::{Grid, PatchShape};
use crate::kernel::image::Image;
use crate::kernel::nearest::{self, Scratch, Words};
use crate::kernel::normalize::Scaling;
use crate::kernel::sample::Patches;
use crate::kernel::vocabulary::Preparation;
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

/// First pixels of the patches of an image that are searched at once: what a worker holds does not grow with the image.
const STRIP_PIXELS: usize = 1 << 14;

/// Heap bytes of a worker's scratch, positions and counts.
pub fn worker_bytes(k: usize, patch: PatchShape) -> u64 {
    let own = STRIP_PIXELS / 8 + k * size_of::<u32>();
    Scratch::heap_bytes(k, patch, STRIP_PIXELS) + own as u64
}

/// One worker: its words and its scratch memory.
#[derive(Debug)]
pub struct Featurizer<'a> {
    input: &'a InputSet,
    words: &'a Words,
    preparation: Preparation,
    stride: u32,
    on_bad_image: OnBadImage,
    scratch: Scratch,
    counts: Vec<u32>,
    positions: Vec<u64>,
    // The image size and the first patch that `positions` is for.
    positions_of: (u32, u32, usize),
}

impl<'a> Featurizer<'a> {
    /// A worker.
    pub fn new(
        input: &'a InputSet,
        words: &'a Words,
        preparation: Preparation,
        stride: u32,
        on_bad_image: OnBadImage,
    ) -> Featurizer<'a> {
        Featurizer {
            input,
            words,
            preparation,
            stride,
            on_bad_image,
            scratch: Scratch::default(),
            counts: vec![0; words.k()],
            positions: Vec::new(),
            positions_of: (0, 0, 0),
        }
    }

    /// Turns the images of a batch into vectors.
    pub fn featurize(&mut self, batch: ImageBatch) -> Result<FeatureBatch> {
        let k = self.words.k();
        let mut rows = Rows {
            values: Vec::with_capacity(batch.images.len() * k),
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
                    let (n_patches, decided_again) = self.count(&image);
                    tally.decided_again += decided_again;
                    tally.patches += n_patches as u64;
                    rows.values
                        .extend(self.counts.iter().map(|&count| count as f32));
                    rows.n_patches
                        .push(i32::try_from(n_patches).unwrap_or(i32::MAX));
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
                    rows.values.resize(rows.values.len() + k, 0.0);
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

    /// Counts the words of an image into `self.counts`, strip by strip; gives its number of patches, and how many of them
    /// float64 decided.
    fn count(&mut self, image: &Image) -> (usize, u64) {
        let grid = Grid::new(
            image.height,
            image.width,
            self.preparation.patch,
            self.stride,
        );
        let Some(grid) = grid else {
            unreachable!("decode turned away images smaller than a patch");
        };
        let pixels = image.pixels.as_ref();
        let scaling = Scaling::of(self.preparation.normalize, pixels);
        let mut decided_again = 0;
        self.counts.fill(0);
        let mut start = 0;
        while start < grid.len() {
            let end = start + grid.windows_within(start, STRIP_PIXELS);
            // Images of one size, each a single strip, share their positions.
            if self.positions_of != (image.height, image.width, start) {
                grid.mark(start..end, &mut self.positions);
                self.positions_of = (image.height, image.width, start);
            }
            let patches = Patches {
                image: 0,
                scaling,
                row_stride: image.row_len() as u32,
                positions: &self.positions,
                pixels: pixels.skip(grid.offset(start)),
            };
            let found = nearest::search(self.words, &patches, &mut self.scratch);
            decided_again += found.decided_again;
            found.count_into(&mut self.counts);
            start = end;
        }
        (grid.len(), decided_again)
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
