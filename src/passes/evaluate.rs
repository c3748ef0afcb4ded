//! `bovw evaluate`: how well two columns of any files agree, one of labels, one of clusters.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::kernel::evaluate::Scores;
use crate::shard::pairs;
use crate::stages::contingency::{Contingency, Counted};

/// What the rows of some files say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Labels and clusters, and how often they meet.
    pub counted: Counted,
    /// The scores.
    pub scores: Scores,
}

/// Counts the labels in column `labels` against the clusters in column `clusters`, over the rows of all `files`, which
/// are Parquet or CSV.
///
/// # Errors
/// Files that cannot be read or lack a column; no row with both; more labels and clusters than are counted.
pub fn evaluate(files: &[PathBuf], labels: &str, clusters: &str) -> Result<Agreement> {
    let mut counts = Contingency::default();
    let mut names: Option<Vec<String>> = None;
    for file in files {
        let own = pairs::for_each(file, labels, clusters, |label, cluster| {
            counts.add(label, cluster);
        })?;
        names = names.or(own);
    }
    let counted = counts
        .finish(names.as_deref())
        .map_err(|note| Error::Data {
            message: format!("nothing can be scored: {note}"),
            help: Some("are the columns the right ones?".to_owned()),
        })?;
    let scores = counted.confusion.scores().ok_or_else(|| Error::Data {
        message: format!(
            "no row has both a label and a cluster: {} lack a label, {} a cluster",
            counted.n_unlabelled, counted.n_unclustered
        ),
        help: None,
    })?;
    Ok(Agreement { counted, scores })
}
