//! Sample: of each image, the patches with the smallest hashes of (seed, image number, patch number).
//!
//! The choice depends on nothing else, so no thread, shard order or resumed run can change it. What was chosen stands in the
//! order of the image.

use crate::job::{PerImage, Sampling};
use crate::kernel::grid::{Grid, PatchShape};
use crate::kernel::image::{Image, Pixels};
use crate::kernel::normalize::Scaling;
use crate::kernel::rng::{self, Purpose};
use crate::kernel::sample::Record;
use crate::kernel::vocabulary::Preparation;

use super::decode::ImageBatch;

/// The sampled patches of a batch's images.
#[derive(Debug)]
pub struct SampleBatch {
    /// Which shard, by its place in the input.
    pub shard: usize,
    /// One an image.
    pub images: Vec<SampledImage>,
}

/// The sampled patches of one image.
#[derive(Debug)]
pub struct SampledImage {
    image: u64,
    scaling: Scaling,
    row_stride: u32,
    offsets: Vec<u32>,
    pixels: Pixels,
    /// Hash of each patch, in the order of `offsets`; kept only where the whole sample is limited.
    pub hashes: Vec<u64>,
}

impl SampledImage {
    /// The patches as a record.
    pub fn record(&self) -> Record<'_> {
        Record {
            image: self.image,
            scaling: self.scaling,
            row_stride: self.row_stride,
            offsets: &self.offsets,
            pixels: self.pixels.as_ref(),
        }
    }

    /// Lets those patches go whose hash is larger; only where hashes are kept.
    pub fn keep_up_to(&mut self, largest: u64) {
        let hashes = &self.hashes;
        let mut at = 0;
        self.offsets.retain(|_| {
            at += 1;
            hashes[at - 1] <= largest
        });
        self.hashes.retain(|&hash| hash <= largest);
    }

    /// How many patches were drawn.
    pub fn n_patches(&self) -> usize {
        self.offsets.len()
    }
}

/// What sampling needs to know.
#[derive(Debug, Clone, Copy)]
pub struct SampleParams {
    /// How patches are cut and prepared.
    pub preparation: Preparation,
    /// Stride of the grid of patches.
    pub stride: u32,
    /// How many patches.
    pub sampling: Sampling,
    /// Seed of the draw.
    pub seed: u64,
}

/// Draws the patches of a batch's images; bad images have none.
pub fn sample(batch: ImageBatch, params: &SampleParams) -> SampleBatch {
    let (shard, first_row) = (batch.shard, batch.row);
    let images = batch
        .images
        .into_iter()
        .filter_map(|(row, image)| Some((first_row + row as u64, image.ok()?)))
        .map(|(number, image)| sample_image(number, image, params))
        .collect();
    SampleBatch { shard, images }
}

/// Draws the patches of an image, into which they fit; `number` is its row number over all shards.
pub fn sample_image(number: u64, image: Image, params: &SampleParams) -> SampledImage {
    let grid = grid(image.height, image.width, params);
    let n = n_sampled(params.sampling.per_image, grid.len());
    let mut hashes = smallest_hashes(params.seed, number, grid.len(), n);
    hashes.sort_unstable_by_key(|&(_, patch)| patch);
    SampledImage {
        image: number,
        scaling: Scaling::of(params.preparation.normalize, image.pixels.as_ref()),
        row_stride: image.row_len() as u32,
        offsets: hashes
            .iter()
            .map(|&(_, patch)| grid.offset(patch as usize) as u32)
            .collect(),
        pixels: image.pixels,
        hashes: match params.sampling.max_patches {
            Some(_) => hashes.iter().map(|&(hash, _)| hash).collect(),
            None => Vec::new(),
        },
    }
}

fn grid(height: u32, width: u32, params: &SampleParams) -> Grid {
    let patch: PatchShape = params.preparation.patch;
    match Grid::new(height, width, patch, params.stride) {
        Some(grid) => grid,
        None => unreachable!("decode turned away images smaller than a patch"),
    }
}

/// How many of an image's patches are drawn.
pub fn n_sampled(per_image: PerImage, n_patches: usize) -> usize {
    match per_image {
        PerImage::Share(share) => (share * n_patches as f64).floor() as usize,
        PerImage::Count(count) => usize::try_from(count).unwrap_or(usize::MAX).min(n_patches),
    }
}

/// Hashes that are held beside those that may stay, before the largest are let go.
const SPARE_HASHES: usize = 4096;

/// The `n` patches with the smallest hashes, with them, in no order.
fn smallest_hashes(seed: u64, image: u64, n_patches: usize, n: usize) -> Vec<(u64, u32)> {
    let key = rng::key(seed, Purpose::SamplePatches, image);
    let max_held = n.saturating_mul(2).saturating_add(SPARE_HASHES);
    let mut held = Vec::with_capacity(n_patches.min(max_held));
    for patch in 0..n_patches as u32 {
        if held.len() == max_held {
            keep_smallest(&mut held, n);
        }
        held.push((rng::hash(key, u64::from(patch)), patch));
    }
    keep_smallest(&mut held, n);
    held
}

fn keep_smallest(hashes: &mut Vec<(u64, u32)>, n: usize) {
    if n < hashes.len() {
        hashes.select_nth_unstable(n);
        hashes.truncate(n);
    }
}

/// Heap bytes that the sample of an image of so many pixels takes at most, beside the pixels.
pub fn sample_bytes(sampling: Sampling, n_pixels: u64) -> u64 {
    let n = match sampling.per_image {
        PerImage::Share(_) => n_pixels,
        PerImage::Count(count) => count.min(n_pixels),
    };
    let held = n_pixels.min(n.saturating_mul(2) + SPARE_HASHES as u64);
    let kept = match sampling.max_patches {
        Some(_) => size_of::<u32>() + size_of::<u64>(),
        None => size_of::<u32>(),
    };
    held * size_of::<(u64, u32)>() as u64 + n * kept as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut hashes: Vec<(u64, u32)>) -> Vec<(u64, u32)> {
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn three_quarters_of_529_patches_are_396() {
        assert_eq!(n_sampled(PerImage::Share(0.75), 529), 396);
        assert_eq!(n_sampled(PerImage::Share(1.0), 529), 529);
        assert_eq!(n_sampled(PerImage::Count(1000), 529), 529);
    }

    #[test]
    fn patches_are_drawn_without_repetition_and_differ_from_image_to_image() {
        let drawn = |image| -> Vec<u32> {
            smallest_hashes(0, image, 529, 396)
                .iter()
                .map(|&(_, patch)| patch)
                .collect()
        };
        let mut sorted = drawn(7);
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 396);
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn a_smaller_sample_is_the_beginning_of_a_larger_one() {
        let large = sorted(smallest_hashes(3, 11, 529, 396));
        assert_eq!(sorted(smallest_hashes(3, 11, 529, 10)), large[..10]);
    }

    #[test]
    fn patches_of_an_image_with_more_than_are_held_are_the_smallest_too() {
        let n_patches = 3 * SPARE_HASHES;
        let key = rng::key(5, Purpose::SamplePatches, 2);
        let mut all: Vec<(u64, u32)> = (0..n_patches as u32)
            .map(|patch| (rng::hash(key, u64::from(patch)), patch))
            .collect();
        all.sort_unstable();
        assert_eq!(sorted(smallest_hashes(5, 2, n_patches, 7)), all[..7]);
    }

    #[test]
    fn every_patch_is_drawn_about_equally_often() {
        let mut counts = [0u32; 20];
        for image in 0..4000 {
            for (_, patch) in smallest_hashes(1, image, 20, 5) {
                counts[patch as usize] += 1;
            }
        }
        assert!(
            counts.iter().all(|&n| (880..1120).contains(&n)),
            "{counts:?}"
        );
    }
}
