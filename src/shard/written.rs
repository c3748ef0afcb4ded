//! What a run wrote, read back row by row to be checked: features files, clusters files, lists of bad images.
//!
//! Never more than a few rows are held. A column that is not what `bovw` writes is an error that names it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Int32Type};
use arrow::record_batch::RecordBatch;

use super::features::{Layout, Rows};
use super::manifest::BadImage;
use super::read::{Shard, Wanted};
use crate::error::{Error, Place, Result};
use crate::job::Io;

/// Raw bytes of vectors that are read at once, about, and rows at most.
const READ_BYTES: usize = 1 << 18;
const READ_ROWS: usize = 4096;

/// A row of a features file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeaturesRow<'a> {
    /// The vector.
    pub vector: &'a [f32],
    /// Patches that it counts.
    pub n_patches: i32,
    /// Why the image is a bad one.
    pub status: Option<&'a str>,
}

/// A row of a clusters file; `None` for a bad image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterRow {
    /// The cluster.
    pub cluster: Option<i32>,
    /// Distance to its centroid.
    pub distance: Option<f32>,
}

/// Columns of a features file that are checked.
pub fn wanted_features(shard: &Shard) -> Vec<Wanted> {
    let names = ["features", "n_patches", "status"].into_iter();
    names
        .filter(|name| shard.schema().field_with_name(name).is_ok())
        .map(Wanted::column)
        .collect()
}

/// Columns of a clusters file that are checked.
pub fn wanted_clusters() -> Vec<Wanted> {
    ["cluster", "distance"].map(Wanted::column).to_vec()
}

/// Gives every row of a features file, whose vectors have `n_values`, to `each`, with its number.
pub fn for_each_features(
    path: &Path,
    n_values: usize,
    mut each: impl FnMut(u64, FeaturesRow<'_>),
) -> Result<()> {
    let shard = Shard::open(path, Io::Read)?;
    let batch_rows = (READ_BYTES / n_values.saturating_mul(size_of::<f32>())).clamp(1, READ_ROWS);
    for_each_batch(
        &shard,
        &wanted_features(&shard),
        batch_rows,
        |first, batch| {
            let rows = FeaturesRows::new(batch, path, n_values)?;
            (first..)
                .zip(rows.iter())
                .for_each(|(row, found)| each(row, found));
            Ok(())
        },
    )
}

/// Gives every row of a clusters file to `each`, with its number.
pub fn for_each_cluster(path: &Path, mut each: impl FnMut(u64, ClusterRow)) -> Result<()> {
    let shard = Shard::open(path, Io::Read)?;
    for_each_batch(&shard, &wanted_clusters(), READ_ROWS, |first, batch| {
        for row in 0..batch.num_rows() {
            each(first + row as u64, cluster_row(batch, path, row)?);
        }
        Ok(())
    })
}

impl<'a> FeaturesRow<'a> {
    /// The row of a batch of one that was read from `path`.
    pub fn only(batch: &'a RecordBatch, path: &Path, n_values: usize) -> Result<FeaturesRow<'a>> {
        let rows = FeaturesRows::new(batch, path, n_values)?;
        let row = rows.iter().next();
        row.ok_or_else(|| Error::file(path, "the file is damaged: a row of it is none"))
    }
}

/// Gives the rows of a features file of this layout to `each`, in order and some at a time, to be written again.
pub fn for_each_rows(
    path: &Path,
    layout: &Layout,
    mut each: impl FnMut(Rows) -> Result<()>,
) -> Result<()> {
    let shard = Shard::open(path, Io::Read)?;
    let schema = layout.schema();
    if shard.schema().fields() != schema.fields() {
        return Err(Error::file(path, "has other columns than bovw writes"));
    }
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let wanted: Vec<Wanted> = names.map(Wanted::column).collect();
    for_each_batch(&shard, &wanted, layout.chunk_rows(), |_, batch| {
        each(rows_of(batch, path, layout)?)
    })
}

fn rows_of(batch: &RecordBatch, path: &Path, layout: &Layout) -> Result<Rows> {
    let rows = FeaturesRows::new(batch, path, layout.n_values)?;
    let mut out = Rows {
        values: rows.values.to_vec(),
        n_patches: Vec::with_capacity(batch.num_rows()),
        status: Vec::with_capacity(batch.num_rows()),
        side: side_of(batch, path, layout)?,
    };
    for row in rows.iter() {
        out.n_patches.push(row.n_patches);
        out.status.push(row.status.map(str::to_owned));
    }
    Ok(out)
}

/// Label and kept columns, which are the first.
fn side_of(batch: &RecordBatch, path: &Path, layout: &Layout) -> Result<RecordBatch> {
    let columns: Vec<usize> = (0..layout.side.fields().len()).collect();
    let side = batch.project(&columns);
    side.map_err(|error| Error::file(path, format!("cannot be read: {error}")))
}

/// The rows of a batch of a features file.
#[derive(Debug)]
struct FeaturesRows<'a> {
    values: &'a [f32],
    n_values: usize,
    n_patches: &'a [i32],
    status: Option<&'a arrow::array::StringArray>,
}

impl<'a> FeaturesRows<'a> {
    /// The rows of a batch that was read from `path`.
    fn new(batch: &'a RecordBatch, path: &Path, n_values: usize) -> Result<FeaturesRows<'a>> {
        let lists = batch
            .column_by_name("features")
            .filter(|column| column.null_count() == 0)
            .and_then(|column| column.as_fixed_size_list_opt())
            .filter(|lists| lists.value_length() as usize == n_values)
            .ok_or_else(|| wrong(path, "features"))?;
        let start = lists.value_offset_at(0);
        let values = lists
            .values()
            .as_primitive_opt::<Float32Type>()
            .and_then(|values| values.values().get(start..start + lists.len() * n_values))
            .ok_or_else(|| wrong(path, "features"))?;
        let n_patches = batch
            .column_by_name("n_patches")
            .filter(|column| column.null_count() == 0)
            .and_then(|column| column.as_primitive_opt::<Int32Type>())
            .ok_or_else(|| wrong(path, "n_patches"))?;
        let status = match batch.column_by_name("status") {
            Some(column) => Some(
                column
                    .as_string_opt::<i32>()
                    .ok_or_else(|| wrong(path, "status"))?,
            ),
            None => None,
        };
        Ok(FeaturesRows {
            values,
            n_values,
            n_patches: n_patches.values(),
            status,
        })
    }

    /// One row after another.
    fn iter(&self) -> impl Iterator<Item = FeaturesRow<'a>> {
        let rows = self.values.chunks_exact(self.n_values);
        let status = self.status;
        rows.zip(self.n_patches)
            .enumerate()
            .map(move |(row, (vector, &n_patches))| FeaturesRow {
                vector,
                n_patches,
                status: status
                    .filter(|status| !status.is_null(row))
                    .map(|status| status.value(row)),
            })
    }
}

/// A row of a batch of a clusters file that was read from `path`.
pub fn cluster_row(batch: &RecordBatch, path: &Path, row: usize) -> Result<ClusterRow> {
    let clusters = batch
        .column_by_name("cluster")
        .and_then(|column| column.as_primitive_opt::<Int32Type>())
        .ok_or_else(|| wrong(path, "cluster"))?;
    let distances = batch
        .column_by_name("distance")
        .and_then(|column| column.as_primitive_opt::<Float32Type>())
        .ok_or_else(|| wrong(path, "distance"))?;
    Ok(ClusterRow {
        cluster: (!clusters.is_null(row)).then(|| clusters.value(row)),
        distance: (!distances.is_null(row)).then(|| distances.value(row)),
    })
}

/// Gives every image of a list of bad images to `each`, by rising row.
pub fn for_each_bad(path: &Path, mut each: impl FnMut(BadImage)) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| Error::io(path, "read", source))?;
        let bad = serde_json::from_str(&line).map_err(|error| {
            Error::file(
                path,
                format!("line {} is no bad image: {error}", number + 1),
            )
        })?;
        each(bad);
    }
    Ok(())
}

fn for_each_batch(
    shard: &Shard,
    wanted: &[Wanted],
    batch_rows: usize,
    mut each: impl FnMut(u64, &RecordBatch) -> Result<()>,
) -> Result<()> {
    for row_group in 0..shard.n_row_groups() {
        let mut reader = shard.read_row_group(row_group, wanted, batch_rows)?;
        while let Some(batch) = reader.next_batch() {
            let (first, batch) = batch?;
            each(first, &batch)?;
        }
    }
    Ok(())
}

fn wrong(path: &Path, column: &str) -> Error {
    Error::file(
        Place::file(path).column(column),
        "is missing, has nulls or is of another type than bovw writes",
    )
}
