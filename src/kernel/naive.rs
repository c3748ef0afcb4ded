//! The executable specification: nearest words and Lloyd steps by brute force in float64.
//!
//! What is written here is the law that every faster path is held against, in tests and by `bovw verify`. It may be
//! slow; it must stay obvious, and must never borrow from the code that it judges: only [`Scaling::apply`], which is
//! the definition of a normalised value, is shared.

use super::grid::PatchShape;
use super::image::PixelsRef;
use super::normalize::Scaling;

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
