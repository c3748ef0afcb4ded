//! Two columns of a file of anyone's, row by row: labels and clusters, from Parquet or CSV.
//!
//! Which of the two a file is, its first bytes say. CSV has a header; a field that is a whole number is one, another
//! number is one, an empty field is nothing, and all else is text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use arrow::record_batch::RecordBatch;

use super::labels::{Label, LabelColumn, real};
use super::read::{Shard, Wanted};
use crate::error::{Error, Place, Result};
use crate::job::Io;

/// Rows that are read at once.
const READ_ROWS: usize = 8192;

/// What a Parquet file starts with.
const PARQUET_MAGIC: [u8; 4] = *b"PAR1";

/// Hands on the label and the cluster of every row, and gives the names of class labels, where the file has some.
pub fn for_each(
    path: &Path,
    labels: &str,
    clusters: &str,
    mut each: impl FnMut(Option<Label<'_>>, Option<Label<'_>>),
) -> Result<Option<Vec<String>>> {
    if is_parquet(path)? {
        of_parquet(path, labels, clusters, &mut each)
    } else {
        of_csv(path, labels, clusters, &mut each).map(|()| None)
    }
}

fn is_parquet(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    file.take(PARQUET_MAGIC.len() as u64)
        .read_to_end(&mut start)
        .map_err(|source| Error::io(path, "read", source))?;
    Ok(start == PARQUET_MAGIC)
}

fn of_parquet(
    path: &Path,
    labels: &str,
    clusters: &str,
    each: &mut impl FnMut(Option<Label<'_>>, Option<Label<'_>>),
) -> Result<Option<Vec<String>>> {
    let shard = Shard::open(path, Io::Auto)?;
    let wanted = [labels, clusters].map(Wanted::column);
    for name in [labels, clusters] {
        check_column(&shard, name)?;
    }
    let features = shard.features();
    let names = features.class_names(labels).map(|names| {
        names
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    });
    for row_group in 0..shard.n_row_groups() {
        let mut reader = shard.read_row_group(row_group, &wanted, READ_ROWS)?;
        while let Some(batch) = reader.next_batch() {
            let (_, batch) = batch?;
            let label = label_column(&batch, path, labels, names.as_ref().map(Vec::len))?;
            let cluster = label_column(&batch, path, clusters, None)?;
            for row in 0..batch.num_rows() {
                each(label.get(row), cluster.get(row));
            }
        }
    }
    Ok(names)
}

fn label_column(
    batch: &RecordBatch,
    path: &Path,
    name: &str,
    n_classes: Option<usize>,
) -> Result<LabelColumn> {
    batch
        .column_by_name(name)
        .and_then(|column| LabelColumn::new(column, n_classes))
        .ok_or_else(|| Error::file(Place::file(path).column(name), "cannot be read as labels"))
}

fn check_column(shard: &Shard, name: &str) -> Result<()> {
    let schema = shard.schema();
    let Ok(field) = schema.field_with_name(name) else {
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        return Err(no_column(shard.path(), name, columns));
    };
    if LabelColumn::can_be(field.data_type()) {
        return Ok(());
    }
    Err(Error::File {
        place: Place::file(shard.path()).column(name),
        message: format!("is {}, whose values are no labels", field.data_type()),
        help: Some("labels and clusters are numbers, texts, or true and false".to_owned()),
    })
}

/// Columns that an error lists, at most.
const MAX_LISTED: usize = 20;

fn no_column<'a>(path: &Path, name: &str, columns: impl Iterator<Item = &'a str>) -> Error {
    let columns: Vec<&str> = columns.take(MAX_LISTED).collect();
    Error::File {
        place: Place::file(path),
        message: format!("has no column \"{name}\""),
        help: Some(format!("its columns are {}", columns.join(", "))),
    }
}

fn of_csv(
    path: &Path,
    labels: &str,
    clusters: &str,
    each: &mut impl FnMut(Option<Label<'_>>, Option<Label<'_>>),
) -> Result<()> {
    let failed = |error: csv::Error| Error::File {
        place: Place::file(path),
        message: format!("is neither Parquet nor CSV that can be read: {error}"),
        help: Some("CSV is UTF-8, with commas and a header".to_owned()),
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(failed)?;
    let header = reader.headers().map_err(failed)?.clone();
    if header.is_empty() {
        return Err(Error::file(path, "is empty"));
    }
    let find = |name: &str| {
        let at = header.iter().position(|column| column == name);
        at.ok_or_else(|| no_column(path, name, header.iter()))
    };
    let (labels, clusters) = (find(labels)?, find(clusters)?);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        each(
            record.get(labels).and_then(field),
            record.get(clusters).and_then(field),
        );
    }
    Ok(())
}

fn field(text: &str) -> Option<Label<'_>> {
    if text.is_empty() {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(Label::Whole(number.into()));
    }
    match text.parse::<f64>() {
        Ok(number) => real(number),
        Err(_) => Some(Label::Text(text)),
    }
}
