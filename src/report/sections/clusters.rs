//! Clusters of whole images or of vectors, and how they agree with the labels.

use std::path::Path;

use crate::error::{Error, Result};
use crate::kernel::grid::PatchShape;
use crate::report::chart::{Chart, Scale, Series};
use crate::report::cluster_name;
use crate::report::color::Shade;
use crate::report::heat::{Cell, Heat, Row};
use crate::report::paint::{Ink, Painter};
use crate::report::run_files::RunFiles;
use crate::report::sheet::Sheet;
use crate::report::text::{count, percent, plural, short};
use crate::report::tile::{Picture, Range, Tile};
use crate::report::word_use::MAX_CLASSES;
use crate::shard::centroids;
use crate::shard::manifest::{ClusterEntry, Evaluation, RestartEntry};

use super::Drawing;

/// Centroids that are drawn, at most.
const MAX_TILES: usize = 100;

/// Pixels of all centroids of a clustering, at most: more of them are drawn smaller.
const MAX_PIXELS: usize = 1 << 19;

/// Labels and clusters of a confusion matrix that are drawn, at most.
const MAX_SIDE: usize = 40;

/// Clusterings that are shown with their pictures, at most; the table of scores has all.
const MAX_SHOWN: usize = 8;

/// Rows of the table of scores, at most.
const MAX_SCORES: usize = 100;

pub(in crate::report) struct Clusters {
    pub(in crate::report) scores: Vec<Score>,
    pub(in crate::report) has_evaluation: bool,
    pub(in crate::report) shown: Vec<Clustering>,
    pub(in crate::report) n_left_out: usize,
}

/// A row of the table of scores.
pub(in crate::report) struct Score {
    pub(in crate::report) k: String,
    pub(in crate::report) rows: String,
    pub(in crate::report) inertia: String,
    /// Purity, NMI, ARI, homogeneity, completeness, V-measure.
    pub(in crate::report) values: Option<[String; 6]>,
}

/// One clustering.
pub(in crate::report) struct Clustering {
    pub(in crate::report) id: String,
    pub(in crate::report) k: String,
    pub(in crate::report) how: String,
    pub(in crate::report) file: String,
    pub(in crate::report) centroids_file: String,
    pub(in crate::report) tiles: Vec<(Picture, String)>,
    pub(in crate::report) is_color: bool,
    pub(in crate::report) tiles_file: Option<String>,
    pub(in crate::report) n_more_tiles: usize,
    pub(in crate::report) confusion: Option<Confusion>,
    pub(in crate::report) note: Option<String>,
    pub(in crate::report) inertia: Option<Drawing>,
}

/// A confusion matrix.
pub(in crate::report) struct Confusion {
    pub(in crate::report) heat: Heat,
    pub(in crate::report) file: String,
    pub(in crate::report) note: Option<String>,
}

/// The clusterings of pixels or of features; `None` where there are none.
pub(in crate::report) fn clusters(
    files: &RunFiles,
    of: &str,
    painter: &mut Painter,
) -> Result<Option<Clusters>> {
    let all: Vec<&ClusterEntry> = files
        .manifest
        .clusters
        .iter()
        .filter(|entry| entry.of == of)
        .collect();
    if all.is_empty() {
        return Ok(None);
    }
    let shown: Result<Vec<Clustering>> = all
        .iter()
        .take(MAX_SHOWN)
        .map(|entry| clustering(&files.dir, entry, painter))
        .collect();
    Ok(Some(Clusters {
        scores: all
            .iter()
            .take(MAX_SCORES)
            .map(|entry| score(entry))
            .collect(),
        has_evaluation: all.iter().any(|entry| entry.evaluation.is_some()),
        shown: shown?,
        n_left_out: all.len().saturating_sub(MAX_SHOWN),
    }))
}

fn score(entry: &ClusterEntry) -> Score {
    Score {
        k: count(entry.k as u64),
        rows: count(entry.rows),
        inertia: format!("{:.6e}", entry.inertia),
        values: entry.evaluation.as_ref().map(|scores| {
            [
                scores.scores.purity,
                scores.scores.nmi,
                scores.scores.ari,
                scores.scores.homogeneity,
                scores.scores.completeness,
                scores.scores.v_measure,
            ]
            .map(|score| format!("{score:.4}"))
        }),
    }
}

fn clustering(dir: &Path, entry: &ClusterEntry, painter: &mut Painter) -> Result<Clustering> {
    let name = cluster_name(entry);
    let shape = pixels_shape(entry);
    let tiles = match shape {
        Some(shape) => tiles(&dir.join(&entry.centroids), shape)?,
        None => Vec::new(),
    };
    let tiles_file = match tiles.is_empty() {
        true => None,
        false => Some(
            painter.order(
                &format!("{name}.centroids"),
                Sheet {
                    title: format!(
                        "Centroids of {} clusters of whole images, and how many images each has",
                        entry.k
                    ),
                    columns: tiles.len().min(10),
                    side: 56,
                    tiles: tiles
                        .iter()
                        .map(|(tile, rows)| (Some(tile.clone()), count(*rows)))
                        .collect(),
                }
                .alone(),
                shape.map_or(Ink::Grey, Tile::ink),
            ),
        ),
    };
    let confusion = match &entry.evaluation {
        Some(evaluation) => confusion(entry, evaluation, &name, painter),
        None => None,
    };
    let too_many = entry.evaluation.as_ref().and_then(|evaluation| {
        let n = evaluation.labels.len();
        (n > MAX_CLASSES).then(|| {
            format!(
                "{} different labels are too many for a picture of the confusion matrix; the scores count them all, and \
                 manifest.json has the matrix.",
                count(n as u64)
            )
        })
    });
    let mut how = format!(
        "{}, {}, {} of {}",
        entry.algorithm,
        plural(entry.n_init as u64, "start", "starts"),
        plural(entry.rows, "row", "rows"),
        plural(entry.dimensions as u64, "value", "values"),
    );
    if let Some(empty) = Some(entry.counts.iter().filter(|&&n| n == 0).count()).filter(|&n| n > 0) {
        how.push_str(&format!(
            "; {} without a row",
            plural(empty as u64, "cluster", "clusters")
        ));
    }
    Ok(Clustering {
        id: format!("clusters-{}-{}", entry.of, entry.k),
        k: count(entry.k as u64),
        how,
        file: entry.file.clone(),
        centroids_file: entry.centroids.clone(),
        n_more_tiles: match tiles.len() {
            0 => 0,
            n => entry.k.saturating_sub(n),
        },
        tiles: tiles
            .into_iter()
            .enumerate()
            .map(|(at, (tile, rows))| {
                let images = plural(rows, "image", "images");
                let alt = format!("Centroid of cluster {at}, the mean of {images}");
                (tile.picture(alt), count(rows))
            })
            .collect(),
        is_color: shape.is_some_and(|shape| shape.channels > 1),
        tiles_file,
        confusion,
        note: entry.evaluation_note.clone().or(too_many),
        inertia: inertia(entry, &name, painter),
    })
}

/// Shape of the clustered images: in colour, they have three times as many values as pixels. `None` for features.
fn pixels_shape(entry: &ClusterEntry) -> Option<PatchShape> {
    let (height, width) = (entry.height?, entry.width?);
    let n_pixels = u64::from(height) * u64::from(width);
    Some(PatchShape {
        height,
        width,
        channels: match n_pixels.checked_mul(3) == Some(entry.dimensions as u64) {
            true => 3,
            false => 1,
        },
    })
}

/// The centroids of whole images, on one scale, each with the size of its cluster.
fn tiles(path: &Path, shape: PatchShape) -> Result<Vec<(Tile, u64)>> {
    let centroids = centroids::read(path)?;
    let [height, width, channels] = [shape.height, shape.width, shape.channels].map(u64::from);
    if Some(centroids.d as u64) != (height * width).checked_mul(channels) {
        return Err(Error::file(
            path,
            format!(
                "has centroids of {} values, not of {shape} pixels",
                centroids.d
            ),
        ));
    }
    let n = centroids.counts.len().min(MAX_TILES);
    let values = || centroids.values.iter().map(|&value| f64::from(value));
    let range = Range::of_pixels(values());
    let max_side = ((MAX_PIXELS / n.max(1)) as f64).sqrt() as usize;
    let shown = centroids.values.chunks_exact(centroids.d.max(1)).take(n);
    let tiles = shown.zip(&centroids.counts).map(|(values, &rows)| {
        let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let tile = Tile::new(&values, shape, range);
        (tile.at_most(max_side), rows)
    });
    Ok(tiles.collect())
}

/// The confusion matrix, or its most frequent part; `None` where there are too many labels.
fn confusion(
    entry: &ClusterEntry,
    evaluation: &Evaluation,
    name: &str,
    painter: &mut Painter,
) -> Option<Confusion> {
    let n_labels = evaluation.labels.len();
    if n_labels > MAX_CLASSES || n_labels == 0 {
        return None;
    }
    let rows = most(n_labels, |label| evaluation.confusion[label].iter().sum());
    let columns = most(entry.counts.len(), |cluster| entry.counts[cluster]);
    let heat_rows = rows.iter().map(|&label| {
        let counts = &evaluation.confusion[label];
        let total: u64 = counts.iter().sum();
        let cells = columns.iter().map(|&cluster| {
            let n = counts.get(cluster).copied().unwrap_or(0);
            Cell {
                text: n.to_string(),
                shade: Shade::of_share(n as f64 / total as f64),
            }
        });
        Row {
            name: evaluation.labels[label].clone(),
            cells: cells.collect(),
        }
    });
    let heat = Heat {
        title: format!("Labels and {} clusters of {}", entry.k, entry.of),
        alt: format!(
            "Confusion matrix: {} labels in rows, {} clusters in columns; purity {:.4}",
            rows.len(),
            columns.len(),
            evaluation.scores.purity
        ),
        row_label: short(&evaluation.label, 24),
        column_label: "cluster".to_owned(),
        columns: columns.iter().map(usize::to_string).collect(),
        rows: heat_rows.collect(),
    };
    let file = painter.order(&format!("{name}.confusion"), heat.alone(), Ink::Color);
    let mut note = Vec::new();
    if rows.len() < n_labels {
        note.push(format!(
            "the {} most frequent of {n_labels} labels",
            rows.len()
        ));
    }
    if columns.len() < entry.counts.len() {
        note.push(format!(
            "the {} largest of {} clusters",
            columns.len(),
            entry.counts.len()
        ));
    }
    if evaluation.n_unlabelled > 0 {
        note.push(format!(
            "{} without a label left out",
            plural(evaluation.n_unlabelled, "row", "rows")
        ));
    }
    let note = (!note.is_empty()).then(|| format!("Shown: {}.", note.join("; ")));
    Some(Confusion { heat, file, note })
}

/// Up to [`MAX_SIDE`] indices with the largest weights, in their own order.
fn most(n: usize, weight: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..n).collect();
    indices.sort_by_key(|&index| (std::cmp::Reverse(weight(index)), index));
    indices.truncate(MAX_SIDE);
    indices.sort_unstable();
    indices
}

fn inertia(entry: &ClusterEntry, name: &str, painter: &mut Painter) -> Option<Drawing> {
    let what = format!("{} clusters of {}", entry.k, entry.of);
    let chart = inertia_chart(&entry.restarts, &what, "row")?;
    let name = format!("{name}.inertia");
    Some(Drawing::of_chart(&chart, &name, painter))
}

/// Inertia by step of every restart; `None` where no restart took a step.
pub(in crate::report) fn inertia_chart(
    restarts: &[RestartEntry],
    what: &str,
    unit: &str,
) -> Option<Chart> {
    let best = best_restart(restarts)?;
    let points = |restart: &RestartEntry| -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = (0u32..)
            .zip(&restart.inertia)
            .map(|(step, &inertia)| (f64::from(step), inertia))
            .collect();
        points.push((points.len() as f64, restart.final_inertia));
        points
    };
    let mut series: Vec<Series> = Vec::new();
    for (index, restart) in restarts
        .iter()
        .enumerate()
        .filter(|&(index, _)| index != best)
    {
        let is_first = series.is_empty();
        series.push(Series {
            name: if is_first {
                "other starts".to_owned()
            } else {
                String::new()
            },
            class: "rest",
            points: points(restart),
            marks_end: true,
        });
        debug_assert!(index != best);
    }
    series.push(Series {
        name: format!("start {}, the best", best + 1),
        class: "s0",
        points: points(&restarts[best]),
        marks_end: true,
    });
    Some(Chart {
        title: format!("Inertia by step: {what}"),
        alt: format!(
            "Inertia by step of {}; the best ends at {:.4} a {unit}",
            plural(restarts.len() as u64, "start", "starts"),
            restarts[best].final_inertia
        ),
        x_label: "step".to_owned(),
        y_label: format!("inertia a {unit}"),
        scale: Scale::FromSmallest,
        y_unit: "",
        series,
        bands: Vec::new(),
    })
}

/// The restart that was kept.
pub(in crate::report) fn best_restart(restarts: &[RestartEntry]) -> Option<usize> {
    restarts.iter().position(|restart| restart.kept)
}

/// A share as the page and pictures caption it.
pub(in crate::report) fn share(part: f64, whole: f64) -> String {
    percent(if whole > 0.0 { part / whole } else { 0.0 })
}
