//! Recount: what an image's vector and cluster must be, by the definition in float64, one image after another.
//!
//! `bovw verify` holds a run's files against it. Nothing here may borrow from the fast kernels that it judges.

use crate::kernel::grid::Grid;
use crate::kernel::image::{Image, PixelsRef};
use crate::kernel::naive;
use crate::kernel::normalize::Scaling;
use crate::kernel::vocabulary::Vocabulary;

/// Patches whose places are held at once: an image may have many millions.
const CHUNK_PATCHES: usize = 4096;

/// Whole numbers up to here are exact in float32.
const EXACT_F32: f64 = (1u32 << 24) as f64;

/// How often each of the words is the nearest of a patch of the image, `k` numbers; every patch fits into the image.
pub fn word_counts(image: &Image, vocabulary: &Vocabulary, stride: u32) -> Vec<u64> {
    let preparation = vocabulary.preparation;
    let mut counts = vec![0; vocabulary.k()];
    let Some(grid) = Grid::new(image.height, image.width, preparation.patch, stride) else {
        return counts;
    };
    let pixels = image.pixels.as_ref();
    let scaling = Scaling::of(preparation.normalize, pixels);
    let mut start = 0;
    while start < grid.len() {
        let end = (start + CHUNK_PATCHES).min(grid.len());
        let offsets: Vec<u32> = (start..end).map(|at| grid.offset(at) as u32).collect();
        let (words, _) = naive::nearest(
            &vocabulary.centroids,
            preparation.patch,
            image.row_len() as u32,
            scaling,
            pixels,
            &offsets,
        );
        for word in words {
            counts[word as usize] += 1;
        }
        start = end;
    }
    counts
}

/// The cluster of an image or vector, and its distance to the centroid: the root of the squared distance, as float32.
/// `centroids` are `k * values.len()` values.
pub fn cluster(values: PixelsRef<'_>, centroids: &[f32]) -> (u32, f32) {
    let values: Vec<f64> = (0..values.len()).map(|at| values.get(at)).collect();
    let (cluster, distance2) = naive::nearest_word(&values, centroids);
    (cluster, distance2.sqrt() as f32)
}

/// Whether a vector of counts counts `n_patches` patches. Counts are whole numbers; those too large for float32 are
/// rounded in it, and may be off by that much.
pub fn adds_up(vector: &[f32], n_patches: i32) -> bool {
    let (mut sum, mut rounding) = (0.0, 0.0);
    for value in vector.iter().map(|&value| f64::from(value)) {
        if !(value >= 0.0 && value.fract().abs() < f64::MIN_POSITIVE && value.is_finite()) {
            return false;
        }
        sum += value;
        if value >= EXACT_F32 {
            rounding += value / EXACT_F32;
        }
    }
    (sum - f64::from(n_patches)).abs() <= rounding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::grid::PatchShape;
    use crate::kernel::image::Pixels;
    use crate::kernel::normalize::Normalize;
    use crate::kernel::vocabulary::Preparation;

    #[test]
    fn every_patch_of_the_grid_is_counted_once() {
        let vocabulary = Vocabulary {
            whitening: None,
            documents: None,
            preparation: Preparation {
                patch: PatchShape {
                    height: 1,
                    width: 1,
                    channels: 1,
                },
                normalize: Normalize::None,
                whiten: None,
            },
            centroids: vec![0.0, 100.0],
            counts: vec![0, 0],
            inertia: vec![0.0, 0.0],
        };
        // More than one chunk; the fifth of the pixels that is bright is nearest to the second word.
        let image = Image {
            height: 100,
            width: 100,
            channels: 1,
            pixels: Pixels::U8(
                (0..10_000)
                    .map(|i| if i % 5 == 0 { 90 } else { 9 })
                    .collect(),
            ),
        };
        assert_eq!(word_counts(&image, &vocabulary, 1), [8000, 2000]);
    }

    #[test]
    fn a_vector_adds_up_only_to_its_own_number_of_patches() {
        assert!(adds_up(&[3.0, 0.0, 4.0], 7));
        assert!(!adds_up(&[3.0, 0.0, 4.0], 8));
        assert!(!adds_up(&[3.5, 3.5], 7));
        assert!(!adds_up(&[-1.0, 8.0], 7));
        assert!(!adds_up(&[f32::NAN], 7));
        // 2^24 + 1 is no float32.
        assert!(adds_up(&[16_777_216.0], 16_777_217));
        assert!(!adds_up(&[16_777_216.0], 16_777_220));
    }
}
