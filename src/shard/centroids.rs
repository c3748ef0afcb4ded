//! `clusters/NAME.centroids.parquet`, read: what a report draws of a clustering.

use std::path::Path;

use arrow::datatypes::Int64Type;

use super::table::Table;
use crate::error::Result;

/// Centroids of clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Centroids {
    /// Rows in each cluster.
    pub counts: Vec<u64>,
    /// Values in a centroid.
    pub d: usize,
    /// The centroids, end to end.
    pub values: Vec<f32>,
}

/// Reads a file of centroids.
pub fn read(path: &Path) -> Result<Centroids> {
    let table = Table::read(path, "")?;
    let counts = table.numbers::<Int64Type>("count")?;
    let (d, values) = table.lists("centroid")?;
    Ok(Centroids {
        counts: counts.iter().map(|count| count.unsigned_abs()).collect(),
        d,
        values: values.to_vec(),
    })
}
