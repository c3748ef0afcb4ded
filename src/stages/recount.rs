//! Recount: what an image's vector and cluster must be, by the definition in float64, one image after another.
//!
//! `bovw verify` holds a run's files against it. Nothing here may borrow from the fast kernels that it judges.

use crate::kernel::encode::Recipe;
use crate::kernel::image::{Image, PixelsRef};
use crate::kernel::naive;
use crate::kernel::vocabulary::Vocabulary;

/// Whole numbers up to here are exact in float32.
const EXACT_F32: f64 = (1u32 << 24) as f64;

/// How far a value may be from the definition's, as a share of the largest of the same vocabulary: sums of distances in float32, and a
/// root that makes small differences larger.
const TOLERANCE: f64 = 1e-4;

/// The first value of an image's vector that is not the definition's, with what it should be, and how many more there are.
/// Counts must be the same numbers; what is weighted, or made of distances, may be off by roundings.
pub fn wrong_value(
    found: &[f32],
    image: &Image,
    vocabularies: &[Vocabulary],
    recipe: &Recipe,
    stride: u32,
) -> Option<(usize, f64, usize)> {
    let mut wrong = Vec::new();
    let mut start = 0;
    for words in vocabularies {
        let expected = naive::encode(image, words, recipe, stride);
        let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let tolerance = match recipe.is_counts() {
            true => 0.0,
            false => TOLERANCE * largest,
        };
        let own = found.iter().skip(start).zip(&expected);
        for (at, (&found, &expected)) in (start..).zip(own) {
            let difference = f64::from(found) - f64::from(expected as f32);
            if difference.is_nan() || difference.abs() > tolerance {
                wrong.push((at, expected));
            }
        }
        start += expected.len();
    }
    let &(at, expected) = wrong.first()?;
    Some((at, expected, wrong.len() - 1))
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
pub fn adds_up(vector: &[f32], n_patches: u64) -> bool {
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
    (sum - n_patches as f64).abs() <= rounding
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
        // The fifth of the pixels that is bright is nearest to the second word.
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
        let words = [vocabulary];
        let wrong = |found: &[f32]| wrong_value(found, &image, &words, &Recipe::counts(), 1);
        assert_eq!(wrong(&[8000.0, 2000.0]), None);
        assert_eq!(wrong(&[8000.0, 2001.0]), Some((1, 2000.0, 0)));
        assert_eq!(wrong(&[f32::NAN, 2001.0]), Some((0, 8000.0, 1)));
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
