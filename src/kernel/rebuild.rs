//! An image made of words: what its vector still knows of it, if the places of the words were known too.

use super::grid::{Grid, PatchShape};

/// The picture of `height * width` pixels of normalised values in which every patch of the grid is replaced by its word; where
/// patches overlap, the mean of their words' values, and NaN where no patch reaches.
///
/// `labels` has the word of each patch, in the grid's order; `centroids` is `[k][d]`.
pub fn rebuild(
    labels: &[u32],
    centroids: &[f32],
    grid: &Grid,
    patch: PatchShape,
    height: u32,
    width: u32,
) -> Vec<f64> {
    assert_eq!(labels.len(), grid.len());
    let image_row = width as usize * patch.channels as usize;
    let n_pixels = height as usize * image_row;
    let (mut sums, mut counts) = (vec![0.0; n_pixels], vec![0u32; n_pixels]);
    let d = patch.len();
    for (index, &label) in labels.iter().enumerate() {
        let word = &centroids[label as usize * d..][..d];
        let offset = grid.offset(index);
        for (row, values) in word.chunks_exact(patch.row_len()).enumerate() {
            let start = offset + row * image_row;
            for (at, &value) in (start..).zip(values) {
                sums[at] += f64::from(value);
                counts[at] += 1;
            }
        }
    }
    sums.iter()
        .zip(&counts)
        .map(|(&sum, &count)| sum / f64::from(count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: PatchShape = PatchShape {
        height: 1,
        width: 2,
        channels: 1,
    };

    #[test]
    fn overlapping_words_are_averaged() {
        let grid = Grid::new(1, 3, PATCH, 1).expect("fits");
        let rebuilt = rebuild(&[1, 0], &[1.0, 2.0, 3.0, 5.0], &grid, PATCH, 1, 3);
        assert_eq!(rebuilt, [3.0, 3.0, 2.0]);
    }

    #[test]
    fn pixels_that_no_patch_reaches_are_nan() {
        let grid = Grid::new(2, 3, PATCH, 2).expect("fits");
        let rebuilt = rebuild(&[0], &[1.0, 2.0], &grid, PATCH, 2, 3);
        assert_eq!(rebuilt[..2], [1.0, 2.0]);
        assert!(rebuilt[2..].iter().all(|value| value.is_nan()));
    }

    #[test]
    fn an_image_whose_patches_are_words_is_rebuilt_exactly() {
        let pixels: Vec<f32> = (0..12).map(|i| (i * i) as f32).collect();
        let grid = Grid::new(3, 4, PATCH, 1).expect("fits");
        let words: Vec<f32> = (0..grid.len())
            .flat_map(|patch| pixels[grid.offset(patch)..][..2].to_vec())
            .collect();
        let labels: Vec<u32> = (0..grid.len() as u32).collect();
        let rebuilt = rebuild(&labels, &words, &grid, PATCH, 3, 4);
        let pixels: Vec<f64> = pixels.iter().map(|&pixel| f64::from(pixel)).collect();
        assert_eq!(rebuilt, pixels);
    }
}
