//! Label: the cluster of every good row, by the law of nearest words, and its distance; then the sink of clusters files.
//!
//! The rows that are clustered lie in the sample, one patch each, in the order of the good rows of the features files.

use std::path::Path;

use arrow::record_batch::RecordBatch;

use super::contingency::Contingency;
use super::rows::{FeatureRows, other_file};
use crate::error::Result;
use crate::kernel::grid::PatchShape;
use crate::kernel::kmeans::values::ValueReader;
use crate::kernel::naive::distance2;
use crate::kernel::nearest::{Scratch, Words, search};
use crate::kernel::sample::{BLOCK_PATCHES, SampleView};
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::clusters::{ClusterRows, ClustersLayout, ClustersWriter};
use crate::shard::labels::{Label, LabelColumn};
use crate::shard::whole::WholeFile;

/// Rows with their clusters.
#[derive(Debug)]
pub struct LabelledRows {
    rows: FeatureRows,
    // Of the good rows.
    clusters: Vec<u32>,
    distances: Vec<f32>,
}

/// One worker that labels: its scratch memory.
#[derive(Debug)]
pub struct Labeller<'a> {
    sample: SampleView<'a>,
    words: &'a Words,
    scratch: Scratch,
    labels: Vec<u32>,
}

impl<'a> Labeller<'a> {
    /// A worker.
    pub fn new(sample: SampleView<'a>, words: &'a Words) -> Labeller<'a> {
        Labeller {
            sample,
            words,
            scratch: Scratch::default(),
            labels: Vec::with_capacity(BLOCK_PATCHES),
        }
    }

    /// Finds the cluster of each good row.
    pub fn label(&mut self, rows: FeatureRows) -> Result<LabelledRows> {
        let end = rows.first_good + rows.n_good() as u64;
        if end > self.sample.n_patches() {
            return Err(other_file(rows.place, "n_patches"));
        }
        let mut clusters = Vec::with_capacity(rows.n_good());
        while rows.first_good + (clusters.len() as u64) < end {
            let next = rows.first_good + clusters.len() as u64;
            let block = self.sample.block(self.sample.block_of(next));
            let found = search(self.words, &block.patches, &mut self.scratch);
            self.labels.clear();
            self.labels.extend(found.each(&block.patches));
            let first = (next - block.first_patch) as usize;
            let last = self.labels.len().min(first + (end - next) as usize);
            clusters.extend_from_slice(&self.labels[first..last]);
        }
        Ok(LabelledRows {
            rows,
            clusters,
            distances: Vec::new(),
        })
    }
}

/// One worker that measures distances.
#[derive(Debug)]
pub struct Measurer<'a> {
    sample: SampleView<'a>,
    centroids: &'a Vocabulary,
    reader: ValueReader,
    values: Vec<f64>,
}

impl<'a> Measurer<'a> {
    /// A worker.
    pub fn new(sample: SampleView<'a>, centroids: &'a Vocabulary) -> Measurer<'a> {
        Measurer {
            sample,
            centroids,
            reader: ValueReader::new(sample.patch()),
            values: vec![0.0; centroids.d()],
        }
    }

    /// Measures the distance of each good row to its centroid: the root of the law's squared distance, as float32.
    pub fn measure(&mut self, mut rows: LabelledRows) -> LabelledRows {
        let d = self.values.len();
        rows.distances.reserve_exact(rows.clusters.len());
        for (row, &cluster) in (rows.rows.first_good..).zip(&rows.clusters) {
            self.reader.read_patch(&self.sample, row, &mut self.values);
            let centroid = &self.centroids.centroids[cluster as usize * d..][..d];
            rows.distances
                .push(distance2(&self.values, centroid).sqrt() as f32);
        }
        rows
    }
}

/// Heap bytes of a worker of each kind, for `k` clusters of images of `shape`.
pub fn workers_bytes(k: usize, shape: PatchShape) -> u64 {
    let n_patches = BLOCK_PATCHES + 64;
    Scratch::heap_bytes(k, shape, n_patches) + (n_patches * 4 + shape.len() * 8 + 256 * 8) as u64
}

/// Which labels clusters are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSource {
    /// The column.
    pub column: String,
    /// Names of a class label column.
    pub names: Option<Vec<String>>,
}

/// Writes one clusters file, and counts labels against clusters.
#[derive(Debug)]
pub struct ClusterSink<'a> {
    layout: &'a ClustersLayout,
    writer: ClustersWriter,
    n_clustered: u64,
    labels: Option<&'a LabelSource>,
    counts: Contingency,
}

impl<'a> ClusterSink<'a> {
    /// A sink that makes the file `path`; `provenance` is what the file says of itself.
    pub fn new(
        path: &Path,
        layout: &'a ClustersLayout,
        provenance: &str,
        k: usize,
        labels: Option<&'a LabelSource>,
    ) -> Result<ClusterSink<'a>> {
        Ok(ClusterSink {
            layout,
            writer: ClustersWriter::create(path, layout, provenance)?,
            n_clustered: 0,
            labels,
            counts: match labels {
                Some(_) => Contingency::of_clusters(k),
                None => Contingency::default(),
            },
        })
    }

    /// Writes the rows of a batch.
    pub fn push(&mut self, batch: LabelledRows) -> Result<()> {
        let side = self.side(&batch.rows.rows);
        let found = batch.clusters.iter().zip(&batch.distances);
        let mut found = found.map(|(&cluster, &distance)| (cluster as i32, distance));
        let (clusters, distances): (Vec<_>, Vec<_>) = batch
            .rows
            .is_good
            .iter()
            .map(|&is_good| is_good.then(|| found.next()).flatten().unzip())
            .unzip();
        self.n_clustered += batch.clusters.len() as u64;
        self.count(&side, &clusters);
        self.writer.push(ClusterRows {
            clusters,
            distances,
            side,
        })
    }

    /// Rows so far that have a cluster.
    pub fn n_clustered(&self) -> u64 {
        self.n_clustered
    }

    /// Ends the file; its rows, what it is, and what was counted.
    pub fn finish(self) -> Result<(u64, WholeFile, Contingency)> {
        let (n_rows, file) = self.writer.finish()?;
        Ok((n_rows, file, self.counts))
    }

    fn count(&mut self, side: &RecordBatch, clusters: &[Option<i32>]) {
        let Some(source) = self.labels else {
            return;
        };
        let n_classes = source.names.as_ref().map(Vec::len);
        let Some(labels) = side
            .column_by_name(&source.column)
            .and_then(|column| LabelColumn::new(column, n_classes))
        else {
            return;
        };
        for (row, cluster) in clusters.iter().enumerate() {
            let cluster = cluster.map(|cluster| Label::Whole(cluster.into()));
            self.counts.add(labels.get(row), cluster);
        }
    }

    /// Label and kept columns, in the order of the output.
    fn side(&self, rows: &RecordBatch) -> RecordBatch {
        let schema = rows.schema();
        let fields = self.layout.side.fields().iter();
        let columns: Vec<usize> = fields
            .map(|field| match schema.index_of(field.name()) {
                Ok(index) => index,
                Err(error) => unreachable!("the source reads every side column: {error}"),
            })
            .collect();
        match rows.project(&columns) {
            Ok(side) => side,
            Err(error) => unreachable!("columns of a batch: {error}"),
        }
    }
}
