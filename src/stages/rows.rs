//! Rows: a run's features files to record batches of bounded cost, in row order. The source of the clustering passes.
//!
//! It also counts the good rows: those are numbered through all files as the rows that are clustered.

use std::collections::VecDeque;
use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Place, Result};
use crate::flow::Offer;
use crate::job::Io;
use crate::shard::read::{RowGroupReader, Shard, Wanted};

/// Rows that are read at once, at most.
const MAX_READ_ROWS: u64 = 8192;

/// Heap bytes of a row beside its columns: cluster, distances, what a batch itself takes.
const ROW_BYTES: u64 = 64;

/// Some rows of a features file.
#[derive(Debug)]
pub struct FeatureRows {
    /// Where the first row is.
    pub place: Place,
    /// Number of the first good row, over all files.
    pub first_good: u64,
    /// Which rows are good: those of no bad image.
    pub is_good: Vec<bool>,
    /// The wanted columns.
    pub rows: RecordBatch,
}

impl FeatureRows {
    /// How many rows are good.
    pub fn n_good(&self) -> usize {
        self.is_good.iter().filter(|&&good| good).count()
    }
}

/// What the source needs to know.
#[derive(Debug, Clone)]
pub struct RowsParams {
    /// How files are read.
    pub io: Io,
    /// Columns beside `n_patches`, which is always read.
    pub columns: Vec<String>,
    /// Bytes of those columns in a row, about.
    pub row_bytes: u64,
    /// Bytes of a batch.
    pub batch_bytes: u64,
}

/// Reads features files, in order.
#[derive(Debug)]
pub struct RowsSource {
    files: VecDeque<PathBuf>,
    wanted: Vec<Wanted>,
    params: RowsParams,
    open: Option<OpenFile>,
    n_good: u64,
}

#[derive(Debug)]
struct OpenFile {
    shard: Shard,
    next_row_group: usize,
    reader: Option<RowGroupReader>,
}

impl RowsSource {
    /// A source over these features files.
    pub fn new(files: Vec<PathBuf>, params: RowsParams) -> RowsSource {
        let columns = params.columns.iter().map(String::as_str);
        let wanted = columns.chain(["n_patches"]).map(Wanted::column);
        RowsSource {
            files: files.into(),
            wanted: wanted.collect(),
            params,
            open: None,
            n_good: 0,
        }
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> Option<Result<Offer<FeatureRows>>> {
        self.try_next().transpose()
    }

    fn try_next(&mut self) -> Result<Option<Offer<FeatureRows>>> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.pop_front() else {
                    return Ok(None);
                };
                self.open = Some(OpenFile {
                    shard: Shard::open(&file, self.params.io)?,
                    next_row_group: 0,
                    reader: None,
                });
                continue;
            };
            let Some(reader) = &mut open.reader else {
                if open.next_row_group == open.shard.n_row_groups() {
                    self.open = None;
                    continue;
                }
                let row_bytes = self.params.row_bytes + ROW_BYTES;
                let n_rows = (self.params.batch_bytes / row_bytes).clamp(1, MAX_READ_ROWS);
                let group = open.next_row_group;
                let reader = open
                    .shard
                    .read_row_group(group, &self.wanted, n_rows as usize)?;
                open.reader = Some(reader);
                open.next_row_group += 1;
                continue;
            };
            match reader.next_batch() {
                None => open.reader = None,
                Some(batch) => {
                    let (row, rows) = batch?;
                    let place = Place::file(open.shard.path())
                        .row_group(open.next_row_group - 1)
                        .row(row);
                    return self.offer(place, rows).map(Some);
                }
            }
        }
    }

    fn offer(&mut self, place: Place, rows: RecordBatch) -> Result<Offer<FeatureRows>> {
        let n_patches = rows
            .column_by_name("n_patches")
            .and_then(|column| column.as_primitive_opt::<Int32Type>())
            .ok_or_else(|| other_file(place.clone(), "n_patches"))?;
        // A good image has at least one patch.
        let is_good: Vec<bool> = n_patches.values().iter().map(|&n| n > 0).collect();
        let n_rows = rows.num_rows() as u64;
        let item = FeatureRows {
            place: place.clone(),
            first_good: self.n_good,
            is_good,
            rows,
        };
        self.n_good += item.n_good() as u64;
        Ok(Offer {
            cost_bytes: n_rows.saturating_mul(self.params.row_bytes + ROW_BYTES),
            n_images: n_rows,
            place,
            item,
        })
    }
}

/// The refusal of a features file that is not as this run has written it.
pub fn other_file(place: Place, column: &str) -> Error {
    Error::File {
        place: place.column(column),
        message: "is not what this run has written".to_owned(),
        help: Some("it was changed since; start over with --fresh".to_owned()),
    }
}
