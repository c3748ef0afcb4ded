//! The executable specification: nearest words, vectors and Lloyd steps by brute force in float64.
//!
//! What is written here is the law that every faster path is held against, in tests and by `bovw verify`. It may be
//! slow; it must stay obvious, and must never borrow from the code that it judges: only [`Scaling`], which is the definition
//! of a normalised value, is shared.

use super::encode::{Encoding, Recipe};
use super::grid::{Grid, PatchShape};
use super::image::{Image, PixelsRef};
use super::normalize::{Normalize, Scaling};
use super::vocabulary::Vocabulary;
use super::weigh::Weighting;
use super::whiten::Whitening;

/// Squared distance of a normalised patch to one word, `values` and `word` both `d` long.
///
/// Plain float64, no fused operations: the squares of the differences are added in the order of the pixels. This very
/// number, with its roundings, decides which word is nearest.
pub fn distance2(values: &[f64], word: &[f32]) -> f64 {
    assert_eq!(values.len(), word.len());
    let mut sum = 0.0;
    for (value, centre) in values.iter().zip(word) {
        let difference = value - f64::from(*centre);
        sum += difference * difference;
    }
    sum
}

/// The nearest of the words (`k * d`, row-major) and its squared distance. The lowest index wins ties.
pub fn nearest_word(values: &[f64], centroids: &[f32]) -> (u32, f64) {
    let mut best = (0, f64::INFINITY);
    for (index, word) in centroids.chunks_exact(values.len()).enumerate() {
        let distance = distance2(values, word);
        if distance < best.1 {
            best = (index as u32, distance);
        }
    }
    best
}

/// The normalised values of the patch whose top-left pixel is `offset`, in row order.
pub fn patch_values(
    patch: PatchShape,
    row_stride: u32,
    scaling: Scaling,
    pixels: PixelsRef<'_>,
    offset: u32,
) -> Vec<f64> {
    let mut values = Vec::with_capacity(patch.len());
    for row in 0..patch.height as usize {
        let start = offset as usize + row * row_stride as usize;
        values.extend((start..start + patch.row_len()).map(|i| scaling.apply(pixels.get(i))));
    }
    values
}

/// The nearest word of each of the patches at `offsets`, and its squared distance.
pub fn nearest(
    centroids: &[f32],
    patch: PatchShape,
    row_stride: u32,
    scaling: Scaling,
    pixels: PixelsRef<'_>,
    offsets: &[u32],
) -> (Vec<u32>, Vec<f64>) {
    offsets
        .iter()
        .map(|&offset| {
            let values = patch_values(patch, row_stride, scaling, pixels, offset);
            nearest_word(&values, centroids)
        })
        .unzip()
}

/// The values of the patch whose first value is `offset` of `image`, as the words of `vocabulary` are compared with them;
/// `scaling` is the image's.
pub fn prepared_values(
    image: &Image,
    scaling: Scaling,
    vocabulary: &Vocabulary,
    offset: u32,
) -> Vec<f64> {
    let preparation = &vocabulary.preparation;
    let pixels = image.pixels.as_ref();
    let row_stride = image.row_len() as u32;
    let mut values = patch_values(preparation.patch, row_stride, scaling, pixels, offset);
    if let Normalize::Patch { epsilon } = preparation.normalize {
        let scaling = Scaling::of_patch(&values, epsilon);
        values = values.iter().map(|&value| scaling.apply(value)).collect();
    }
    match &vocabulary.whitening {
        Some(whitening) => whitened(&values, whitening),
        None => values,
    }
}

/// `matrix (values - mean)`, each value a sum in order.
fn whitened(values: &[f64], whitening: &Whitening) -> Vec<f64> {
    let rows = whitening.matrix.chunks_exact(values.len());
    rows.map(|row| {
        let mut sum = 0.0;
        for ((weight, value), mean) in row.iter().zip(values).zip(&whitening.mean) {
            sum += f64::from(*weight) * (value - f64::from(*mean));
        }
        sum
    })
    .collect()
}

/// The vector of an image; patch, stride and cells fit into it.
pub fn encode(image: &Image, vocabulary: &Vocabulary, recipe: &Recipe, stride: u32) -> Vec<f64> {
    let (k, d) = (vocabulary.k(), vocabulary.d());
    let per_word = recipe.n_per_word(d);
    let mut vector = vec![0.0; recipe.n_values(k, d)];
    let patch = vocabulary.preparation.patch;
    let Some(grid) = Grid::new(image.height, image.width, patch, stride) else {
        return vector;
    };
    let (rows, cols) = (grid.rows as usize, grid.cols as usize);
    let scaling = Scaling::of(vocabulary.preparation.normalize, image.pixels.as_ref());
    for row in 0..rows {
        for col in 0..cols {
            let offset = grid.offset(row * cols + col) as u32;
            let values = prepared_values(image, scaling, vocabulary, offset);
            let added = added(&values, vocabulary, recipe.encoding);
            let mut first_cell = 0;
            for [cell_rows, cell_cols] in recipe.pooling.iter().map(|grid| grid.map(|n| n as usize))
            {
                let cell = row * cell_rows / rows * cell_cols + col * cell_cols / cols;
                let start = (first_cell + cell) * k * per_word;
                for &(at, value) in &added {
                    vector[start + at] += value;
                }
                first_cell += cell_rows * cell_cols;
            }
        }
    }
    weigh(&mut vector, vocabulary, recipe);
    vector
}

/// What a patch adds, and to which values of its cell.
fn added(values: &[f64], vocabulary: &Vocabulary, encoding: Encoding) -> Vec<(usize, f64)> {
    let d = values.len();
    let words = vocabulary.centroids.chunks_exact(d);
    let nearest = nearest_word(values, &vocabulary.centroids).0 as usize;
    match encoding {
        Encoding::Hard => vec![(nearest, 1.0)],
        Encoding::Triangle => {
            let distances: Vec<f64> = words.map(|word| distance2(values, word).sqrt()).collect();
            let mean = distances.iter().sum::<f64>() / distances.len() as f64;
            let nearer = distances.iter().map(|distance| (mean - distance).max(0.0));
            nearer.enumerate().collect()
        }
        Encoding::Soft { nearest } => {
            let mut all: Vec<(f64, usize)> = words
                .enumerate()
                .map(|(word, centroid)| (distance2(values, centroid), word))
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.truncate(nearest);
            let scale = vocabulary.inertia_per_patch().max(f64::MIN_POSITIVE);
            let weigh = |distance2: f64| ((all[0].0 - distance2) / scale).exp();
            let total: f64 = all.iter().map(|&(distance2, _)| weigh(distance2)).sum();
            all.iter()
                .map(|&(distance2, word)| (word, weigh(distance2) / total))
                .collect()
        }
        Encoding::Vlad => {
            let centroid = &vocabulary.centroids[nearest * d..][..d];
            let residual = values.iter().zip(centroid);
            residual
                .enumerate()
                .map(|(i, (value, &centre))| (nearest * d + i, value - f64::from(centre)))
                .collect()
        }
    }
}

fn weigh(vector: &mut [f64], vocabulary: &Vocabulary, recipe: &Recipe) {
    let (k, per_word) = (vocabulary.k(), recipe.n_per_word(vocabulary.d()));
    let over = |value: f64, by: f64| if by > 0.0 { value / by } else { value };
    for step in &recipe.weighting {
        let sum: f64 = vector.iter().sum();
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        match step {
            Weighting::Frequency => vector
                .iter_mut()
                .for_each(|value| *value = over(*value, sum)),
            Weighting::Hellinger if recipe.encoding == Encoding::Vlad => vector
                .iter_mut()
                .for_each(|value| *value = value.signum() * value.abs().sqrt()),
            Weighting::Hellinger => vector
                .iter_mut()
                .for_each(|value| *value = over(*value, sum).sqrt()),
            Weighting::L2 => vector
                .iter_mut()
                .for_each(|value| *value = over(*value, length)),
            Weighting::TfIdf => {
                let Some(documents) = &vocabulary.documents else {
                    continue;
                };
                for (at, value) in vector.iter_mut().enumerate() {
                    let with_word = documents.with_word[at / per_word % k] as f64;
                    *value *= ((1.0 + documents.n as f64) / (1.0 + with_word)).ln() + 1.0;
                }
            }
            Weighting::Intra => {
                for block in vector.chunks_exact_mut(per_word) {
                    let length = block.iter().map(|value| value * value).sum::<f64>().sqrt();
                    block
                        .iter_mut()
                        .for_each(|value| *value = over(*value, length));
                }
            }
        }
    }
}

/// What one Lloyd step gives.
#[derive(Debug, Clone, PartialEq)]
pub struct LloydStep {
    /// The means of each word's patches, rounded to f32: `k * d`. A word without patches stays where it was.
    pub centroids: Vec<f32>,
    /// Patches nearest to each word before the step, `k`.
    pub counts: Vec<u64>,
    /// Sum of their squared distances to the words before the step.
    pub inertia: f64,
}

/// One Lloyd step over normalised patches (`n * d`, row-major): label all, then move each word to its patches' mean.
pub fn lloyd_step(patches: &[f64], centroids: &[f32], d: usize) -> LloydStep {
    let k = centroids.len() / d;
    let mut counts = vec![0u64; k];
    let mut sums = vec![0.0f64; k * d];
    let mut inertia = 0.0;
    for values in patches.chunks_exact(d) {
        let (label, distance) = nearest_word(values, centroids);
        let label = label as usize;
        counts[label] += 1;
        inertia += distance;
        for (sum, value) in sums[label * d..][..d].iter_mut().zip(values) {
            *sum += value;
        }
    }
    let mut moved = centroids.to_vec();
    for (j, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        for i in j * d..(j + 1) * d {
            moved[i] = (sums[i] / count as f64) as f32;
        }
    }
    LloydStep {
        centroids: moved,
        counts,
        inertia,
    }
}
