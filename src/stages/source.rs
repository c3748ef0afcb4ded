//! Source: shards to record batches of bounded cost, in row order.
//!
//! It reads row groups in pieces, never whole, and cuts each piece so that its images, decoded, and what will be made of
//! them stay within the bytes of a batch. A single row is never cut: if it is too large, the runtime refuses it.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::record_batch::RecordBatch;

use crate::error::{Error, Place, Result};
use crate::flow::Offer;
use crate::job::{Io, Sampling};
use crate::shard::bytes::FileBytes;
use crate::shard::images::{ImageRows, ImageSize};
use crate::shard::input::InputSet;
use crate::shard::read::{RowGroupReader, Shard, Wanted};

use super::sample::sample_bytes;

/// Rows of a row group that are read at once, at most.
const MAX_READ_ROWS: usize = 8192;

/// Some rows of one row group.
#[derive(Debug)]
pub struct RowBatch {
    /// Which shard, by its place in the input.
    pub shard: usize,
    /// The row group they are in.
    pub row_group: usize,
    /// Row number in the file of the first.
    pub row_in_file: u64,
    /// Row number over all shards of the first.
    pub row: u64,
    /// The wanted columns.
    pub rows: RecordBatch,
    /// The file, which images may still lie in.
    pub bytes: FileBytes,
}

impl RowBatch {
    /// Where a row of the batch is, for errors.
    pub fn place(&self, input: &InputSet, row: usize) -> Place {
        Place::file(&input.shards[self.shard].path)
            .row_group(self.row_group)
            .row(self.row_in_file + row as u64)
    }

    /// What was made of the rows can be believed: the file is still whole. To be asked once they are decoded.
    pub fn check_whole(&self, input: &InputSet) -> Result<()> {
        let info = &input.shards[self.shard];
        info.check_unchanged()?;
        match self.bytes.is_lost() {
            true => self.bytes.check_whole(&info.path),
            false => Ok(()),
        }
    }
}

/// What the source needs to know.
#[derive(Debug, Clone)]
pub struct SourceParams {
    /// How shards are read.
    pub io: Io,
    /// Which columns.
    pub wanted: Vec<Wanted>,
    /// Images of which only every so many are decoded.
    pub every: u64,
    /// Bytes of a batch, all its forms together.
    pub batch_bytes: u64,
    /// Heap bytes that pages may take.
    pub pages_bytes: u64,
    /// The most heap bytes that an image of a size, and what later stages make of it, take.
    pub image_bytes: fn(&ImageCost, ImageSize) -> u64,
    /// What that depends on.
    pub cost: ImageCost,
}

/// What the heap bytes of an image on its way depend on, beside its size.
#[derive(Debug, Clone, Copy)]
pub struct ImageCost {
    /// How its patches are sampled.
    pub sampling: Sampling,
    /// Bytes of its vector.
    pub vector_bytes: u64,
}

impl ImageCost {
    /// While sampling: decoding, or the image and its sample.
    pub fn of_sampled(&self, size: ImageSize) -> u64 {
        let sample = sample_bytes(self.sampling, size.n_pixels);
        IMAGE_BYTES
            + size
                .decode_bytes
                .max(size.image_bytes.saturating_add(sample))
    }

    /// While featurizing: decoding, or the image; and the vector.
    pub fn of_featurized(&self, size: ImageSize) -> u64 {
        IMAGE_BYTES + size.decode_bytes.max(size.image_bytes) + self.vector_bytes
    }
}

/// Heap bytes of an image beside its pixels.
const IMAGE_BYTES: u64 = 64;

/// Some row groups of a shard, one after the other: what is read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Which shard, by its place in the input.
    pub shard: usize,
    /// Its row groups.
    pub row_groups: Range<usize>,
    /// Rows in them, as the footer promises.
    pub n_rows: u64,
}

impl Stretch {
    /// All of a shard, by its place in the input.
    pub fn whole(input: &InputSet, shard: usize) -> Stretch {
        let info = &input.shards[shard];
        Stretch {
            shard,
            row_groups: 0..info.row_group_rows.len(),
            n_rows: info.n_rows,
        }
    }

    /// All of some shards.
    pub fn of_shards(input: &InputSet, shards: impl IntoIterator<Item = usize>) -> Vec<Stretch> {
        let shards = shards.into_iter();
        shards.map(|shard| Stretch::whole(input, shard)).collect()
    }

    /// Rows of some stretches.
    pub fn rows(stretches: &[Stretch]) -> u64 {
        stretches.iter().map(|stretch| stretch.n_rows).sum()
    }
}

/// Reads the given stretches of shards, in order.
#[derive(Debug)]
pub struct Source<'a> {
    input: &'a InputSet,
    params: SourceParams,
    stretches: VecDeque<Stretch>,
    open: Option<OpenShard>,
    cut: VecDeque<Offer<RowBatch>>,
}

#[derive(Debug)]
struct OpenShard {
    stretch: Stretch,
    shard: Shard,
    next_row_group: usize,
    reader: Option<RowGroupReader>,
    n_rows: u64,
}

impl<'a> Source<'a> {
    /// A source over parts of an input.
    pub fn new(
        input: &'a InputSet,
        stretches: impl IntoIterator<Item = Stretch>,
        params: SourceParams,
    ) -> Source<'a> {
        Source {
            input,
            params,
            stretches: stretches.into_iter().collect(),
            open: None,
            cut: VecDeque::new(),
        }
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> Option<Result<Offer<RowBatch>>> {
        self.try_next().transpose()
    }

    fn try_next(&mut self) -> Result<Option<Offer<RowBatch>>> {
        loop {
            if let Some(offer) = self.cut.pop_front() {
                return Ok(Some(offer));
            }
            let Some(open) = &mut self.open else {
                let Some(stretch) = self.stretches.pop_front() else {
                    return Ok(None);
                };
                self.open = Some(self.open_shard(stretch)?);
                continue;
            };
            let Some(reader) = &mut open.reader else {
                let end = open.stretch.row_groups.end;
                if open.next_row_group == end.min(open.shard.n_row_groups()) {
                    check_complete(self.input, &open.stretch, open.n_rows)?;
                    self.open = None;
                    continue;
                }
                let (group, wanted) = (open.next_row_group, &self.params.wanted);
                let max_bytes = self.params.batch_bytes;
                let rows = open
                    .shard
                    .rows_within(group, wanted, max_bytes, MAX_READ_ROWS);
                let reader = open.shard.read_row_group(group, wanted, rows)?;
                open.reader = Some(reader);
                open.next_row_group += 1;
                continue;
            };
            match reader.next_batch() {
                None => open.reader = None,
                Some(batch) => {
                    let (row_in_file, rows) = batch?;
                    open.n_rows += rows.num_rows() as u64;
                    let batch = RowBatch {
                        shard: open.stretch.shard,
                        row_group: open.next_row_group - 1,
                        row_in_file,
                        row: self.input.shards[open.stretch.shard].first_row + row_in_file,
                        rows,
                        bytes: open.shard.bytes().clone(),
                    };
                    self.cut = cut(batch, self.input, &self.params)?;
                }
            }
        }
    }

    fn open_shard(&self, stretch: Stretch) -> Result<OpenShard> {
        let info = &self.input.shards[stretch.shard];
        info.check_unchanged()?;
        let mut shard =
            Shard::open(&info.path, self.params.io)?.with_max_page_bytes(self.params.pages_bytes);
        // A kept column is carried to the output as it is, so it is not read as views.
        if let [image] = self.input.image.columns.as_slice()
            && self.input.side.field_with_name(image).is_err()
        {
            shard = shard.with_views_of(image);
        }
        Ok(OpenShard {
            next_row_group: stretch.row_groups.start,
            stretch,
            shard,
            reader: None,
            n_rows: 0,
        })
    }
}

/// All rows that the footer promised must have come, and from the file that was opened.
fn check_complete(input: &InputSet, stretch: &Stretch, n_rows: u64) -> Result<()> {
    let info = &input.shards[stretch.shard];
    info.check_unchanged()?;
    if n_rows == stretch.n_rows {
        return Ok(());
    }
    Err(Error::file(
        info.path.as_path(),
        format!(
            "is damaged: its footer promises {} rows, it has {n_rows}",
            stretch.n_rows
        ),
    ))
}

/// Cuts rows into batches of at most `batch_bytes` each, or of one row.
fn cut(
    batch: RowBatch,
    input: &InputSet,
    params: &SourceParams,
) -> Result<VecDeque<Offer<RowBatch>>> {
    let n_rows = batch.rows.num_rows();
    let encoded = input.shards[batch.shard].bytes_per_row;
    let images = ImageRows::new(&batch.rows, &input.image, &batch.place(input, 0))?;
    let mut offers = VecDeque::new();
    let (mut start, mut cost_bytes) = (0, 0);
    for row in 0..n_rows {
        let is_decoded = (batch.row + row as u64).is_multiple_of(params.every);
        let image = match is_decoded {
            true => (params.image_bytes)(&params.cost, images.size(row)),
            false => 0,
        };
        let row_bytes = encoded.saturating_add(image);
        if row > start && row_bytes.saturating_add(cost_bytes) > params.batch_bytes {
            offers.push_back(offer(&batch, input, start..row, cost_bytes));
            (start, cost_bytes) = (row, 0);
        }
        cost_bytes = row_bytes.saturating_add(cost_bytes);
    }
    if start < n_rows {
        offers.push_back(offer(&batch, input, start..n_rows, cost_bytes));
    }
    Ok(offers)
}

fn offer(
    batch: &RowBatch,
    input: &InputSet,
    rows: std::ops::Range<usize>,
    cost_bytes: u64,
) -> Offer<RowBatch> {
    Offer {
        cost_bytes,
        n_images: rows.len() as u64,
        place: batch.place(input, rows.start),
        item: RowBatch {
            row_in_file: batch.row_in_file + rows.start as u64,
            row: batch.row + rows.start as u64,
            rows: batch.rows.slice(rows.start, rows.len()),
            bytes: batch.bytes.clone(),
            ..*batch
        },
    }
}
