//! What a job's clusterings need, worked out from the job and the first images before anything is written.

use crate::error::{Error, Place, Result};
use crate::job::{ClusterOf, Clustering, Job};
use crate::kernel::grid::PatchShape;
use crate::kernel::image::Image;
use crate::kernel::nearest::Words;
use crate::shard::clusters::ClustersLayout;
use crate::shard::images::ImageRows;
use crate::shard::input::{InputSet, ShardInfo};
use crate::shard::labels::LabelColumn;
use crate::shard::read::Shard;
use crate::stages::contingency::Contingency;
use crate::stages::decode::Fit;
use crate::stages::kmeans;
use crate::stages::label::{LabelSource, workers_bytes};
use crate::stages::whole::{MAX_VALUES, WholeGather, other_size};

/// Shards whose first rows are looked at, and how many rows of each, for images of another size.
const PROBED_SHARDS: usize = 16;
const PROBED_ROWS: usize = 16;

/// Bytes of those rows that are read of a shard, about.
const PROBED_BYTES: u64 = 1 << 20;

/// Pixels after which no more images are looked at: plans are quick.
const PROBED_PIXELS: u64 = 1 << 24;

/// A job's clusterings, at least one, and what follows from them and the inputs.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// The clusterings, in the job's order.
    pub clusterings: Vec<Clustering>,
    /// Shape of what is clustered of pixels: that of every image. `None` where no pixels are clustered.
    pub pixels: Option<PatchShape>,
    /// Shape of what is clustered of features: one row of values.
    pub features: PatchShape,
    /// What rows of clusters files look like.
    pub layout: ClustersLayout,
    /// Which labels clusters are held against, or why there are none.
    pub labels: Result<LabelSource, String>,
}

/// Heap bytes that clustering needs at most, the sample and images in flight not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterNeeds {
    /// Images on their way into the sample.
    pub group_bytes: u64,
    /// k-means.
    pub kmeans_bytes: u64,
    /// Labelling: centroids, workers, the file being written, labels counted against clusters.
    pub label_bytes: u64,
}

impl ClusterPlan {
    /// Works out the clusterings of a job whose vectors have `n_values` values; `None` where it asks for none.
    ///
    /// # Errors
    /// More clusters than images; pixels of images that differ in size, as far as the first images tell; a column with
    /// the name of one of ours.
    pub fn new(job: &Job, input: &InputSet, n_values: usize) -> Result<Option<ClusterPlan>> {
        let clusterings = job.clusterings();
        if clusterings.is_empty() {
            return Ok(None);
        }
        check_columns(input)?;
        for clustering in &clusterings {
            if clustering.params.k as u64 > input.n_rows() {
                return Err(too_few_rows(clustering, input.n_rows()));
            }
        }
        let pixels = match clusterings
            .iter()
            .any(|clustering| clustering.of == ClusterOf::Pixels)
        {
            true => Some(probed_shape(job, input)?),
            false => None,
        };
        let first = &input.shards[0];
        let side_bytes = input.shards.iter().map(|shard| shard.side_bytes_per_row);
        Ok(Some(ClusterPlan {
            clusterings,
            pixels,
            features: PatchShape {
                height: 1,
                width: n_values as u32,
                channels: 1,
            },
            layout: ClustersLayout {
                side: input.side.clone(),
                side_bytes: side_bytes.max().unwrap_or(0),
                has_bad: super::plan::has_status(job),
                features: first.features.clone(),
            },
            labels: label_source(input, first),
        }))
    }

    /// Shape of what is clustered.
    pub fn shape(&self, of: ClusterOf) -> PatchShape {
        match (of, self.pixels) {
            (ClusterOf::Pixels, Some(shape)) => shape,
            (ClusterOf::Pixels, None) => unreachable!("a job that clusters pixels has a size"),
            (ClusterOf::Features, _) => self.features,
        }
    }

    /// What the clusterings need, each for itself at most, of `n_rows` rows and with `threads` threads.
    pub fn needs(&self, n_rows: u64, threads: usize) -> ClusterNeeds {
        let n_labels = match &self.labels {
            Ok(LabelSource {
                names: Some(names), ..
            }) => names.len() as u64,
            Ok(_) => n_rows,
            Err(_) => 0,
        };
        let mut needs = ClusterNeeds::default();
        for clustering in &self.clusterings {
            let (k, shape) = (clustering.params.k, self.shape(clustering.of));
            let d = shape.len();
            let kmeans_bytes = kmeans::heap_bytes(k, shape, &clustering.params, threads);
            // The centroids, and what writing them takes.
            let centroids_bytes = 4 * (k * d * size_of::<f32>() + k * 16) as u64;
            let label_bytes = centroids_bytes
                + Words::heap_bytes(k, shape)
                + threads as u64 * workers_bytes(k, shape)
                + self.layout.writer_bytes(n_rows)
                + Contingency::heap_bytes(n_labels, k);
            needs = ClusterNeeds {
                group_bytes: needs.group_bytes.max(WholeGather::group_bytes(d)),
                kmeans_bytes: needs.kmeans_bytes.max(kmeans_bytes),
                label_bytes: needs.label_bytes.max(label_bytes),
            };
        }
        needs
    }
}

/// The refusal of more clusters than there are rows.
pub fn too_few_rows(clustering: &Clustering, n_rows: u64) -> Error {
    Error::setting(
        "cluster.k",
        format!(
            "{} clusters of {} cannot be made of {n_rows} images",
            clustering.params.k,
            clustering.of.name()
        ),
        "lower k in [[cluster]]",
    )
}

fn check_columns(input: &InputSet) -> Result<()> {
    for name in ClustersLayout::OWN_COLUMNS {
        if input.side.field_with_name(name).is_ok() {
            return Err(Error::setting(
                "cluster",
                format!(
                    "the label or kept column \"{name}\" has the name of a column of clusters files"
                ),
                "rename the column in the input, or leave out input.keep or [[cluster]]",
            ));
        }
    }
    Ok(())
}

fn label_source(input: &InputSet, first: &ShardInfo) -> Result<LabelSource, String> {
    let Some((column, _)) = &input.label else {
        return Err("the input has no label column".to_owned());
    };
    let data_type = input
        .side
        .field_with_name(column)
        .map(|field| field.data_type());
    match data_type {
        Ok(data_type) if LabelColumn::can_be(data_type) => Ok(LabelSource {
            column: column.clone(),
            names: first
                .features
                .class_names(column)
                .map(|names| names.into_iter().map(str::to_owned).collect()),
        }),
        Ok(data_type) => Err(format!(
            "the label column \"{column}\" is {data_type}, whose values are no labels"
        )),
        Err(_) => unreachable!("the label is a side column"),
    }
}

/// The size of the first good image, which those after it must have.
fn probed_shape(job: &Job, input: &InputSet) -> Result<PatchShape> {
    let mut shape: Option<PatchShape> = None;
    let mut n_pixels = 0;
    for info in input.shards.iter().take(PROBED_SHARDS) {
        let shard = Shard::open(&info.path, job.run.io)?.with_max_page_bytes(job.run.memory_bytes);
        let wanted = input.wanted_image();
        let rows = shard.rows_within(0, &wanted, PROBED_BYTES, PROBED_ROWS);
        let mut reader = shard.read_row_group(0, &wanted, rows)?;
        let Some(batch) = reader.next_batch() else {
            continue;
        };
        let (_, batch) = batch?;
        let rows = ImageRows::new(&batch, &input.image, &shard.path().into())?;
        for row in 0..batch.num_rows() {
            let Some(image) = rows.get(row).ok().filter(|image| is_good(image, job)) else {
                continue;
            };
            let own = image.shape();
            if own != *shape.get_or_insert(own) {
                let place = Place::file(&info.path).row_group(0).row(row as u64);
                return Err(other_size(place, &image, shape.unwrap_or(own)));
            }
            n_pixels += own.len() as u64;
            if n_pixels > PROBED_PIXELS {
                return check_size(own);
            }
        }
    }
    let shape = shape.ok_or_else(|| {
        Error::setting(
            "cluster.of",
            "pixels cannot be clustered: none of the first rows holds a good image, so the size of the images is not known",
            "leave out the [[cluster]] of = \"pixels\", or put a shard with good images first",
        )
    })?;
    check_size(shape)
}

/// As decoding has it: an image that patches or cells do not fit into is a bad one.
fn is_good(image: &Image, job: &Job) -> bool {
    Fit::of(job).check(image.height, image.width).is_ok()
}

fn check_size(shape: PatchShape) -> Result<PatchShape> {
    if shape.len() <= MAX_VALUES {
        return Ok(shape);
    }
    Err(Error::setting(
        "cluster.of",
        format!("the images have {shape} pixels, at most {MAX_VALUES} can be clustered"),
        "leave out the [[cluster]] of = \"pixels\"",
    ))
}
