//! How many patches a second get their nearest word, on one core, for each instruction set of the machine.
//!
//! 6x6 patches of images of bytes (`bytes`) and of floats (`floats`), and whole images as patches (`whole-images`, as in
//! a clustering of pixels). Images are MNIST's test set where it is at hand, drawn strokes where not; the two have
//! different shares of blank patches, so compare a figure with its like alone.
//!
//! ```text
//! cargo bench --bench nearest              # all of it, about 3 minutes
//! cargo bench --bench nearest -- --quick   # less exact
//! cargo bench --bench nearest -- k50/vnni  # what has this in its name
//! ```

mod common;

use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::kmeans::Algorithm;
use bovw::kernel::nearest::{Scratch, Simd, Words, search};
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::positions;
use bovw::kernel::sample::Patches;
use common::{PIXELS, SIDE, SIX};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};

/// Images that patches are taken from.
const N_IMAGES: usize = 320;

/// Whole images in a record, as a clustering of pixels packs them.
const RECORD_IMAGES: usize = 32;

type Group<'c> = BenchmarkGroup<'c, WallTime>;

fn main() {
    let mut criterion = common::criterion();
    let bytes = common::images(N_IMAGES);
    let floats: Vec<f32> = bytes.iter().map(|&pixel| f32::from(pixel)).collect();
    let vocabularies = [50, 200, 1600].map(|k| vocabulary(&bytes, k));

    let patches = windows(bytes.chunks_exact(PIXELS).map(PixelsRef::U8));
    bench_group(&mut criterion, "bytes", &vocabularies, SIX, &patches);
    let patches = windows(floats.chunks_exact(PIXELS).map(PixelsRef::F32));
    bench_group(&mut criterion, "floats", &vocabularies[..2], SIX, &patches);
    bench_whole_images(&mut criterion, &bytes);
    criterion.final_summary();
}

/// Words for 6x6 patches, learned in few passes: real enough to have close calls.
fn vocabulary(images: &[u8], k: usize) -> Vec<f32> {
    let params = common::params(k, Algorithm::MiniBatch, 2);
    let learned = common::learned(&common::sample(images), &params, 2);
    learned.vocabulary.centroids
}

/// Positions of all 6x6 patches, and the images.
struct Searched<'a> {
    positions: Vec<u64>,
    images: Vec<(Scaling, PixelsRef<'a>)>,
}

fn windows<'a>(images: impl Iterator<Item = PixelsRef<'a>>) -> Searched<'a> {
    let grid = Grid::new(SIDE, SIDE, SIX, 1).expect("patches fit");
    let mut positions = Vec::new();
    grid.mark(0..grid.len(), &mut positions);
    let images = images.map(|pixels| (Scaling::of(Normalize::Image, pixels), pixels));
    Searched {
        positions,
        images: images.collect(),
    }
}

/// Whole images as the patches of records, and other images as words.
fn bench_whole_images(criterion: &mut Criterion, images: &[u8]) {
    let patch = PatchShape {
        height: SIDE,
        width: SIDE,
        channels: 1,
    };
    let starts: Vec<u32> = (0..RECORD_IMAGES)
        .map(|image| (image * PIXELS) as u32)
        .collect();
    let mut positions = vec![0; starts[RECORD_IMAGES - 1] as usize / 64 + 1];
    positions::mark(&starts, &mut positions);
    let records = images.chunks_exact(RECORD_IMAGES * PIXELS).map(|pixels| {
        let pixels = PixelsRef::U8(pixels);
        (Scaling::of(Normalize::None, pixels), pixels)
    });
    let searched = Searched {
        positions,
        images: records.collect(),
    };
    let vocabularies = [10, 200].map(|k| mixtures(images, k));
    bench_group(criterion, "whole-images", &vocabularies, patch, &searched);
}

/// `k` words that are each the mean of two images, for no image to be a word.
fn mixtures(images: &[u8], k: usize) -> Vec<f32> {
    let image = |index: usize| &images[index * PIXELS..][..PIXELS];
    let mean = |(&a, &b): (&u8, &u8)| (f32::from(a) + f32::from(b)) / 2.0;
    (0..k)
        .flat_map(|word| image(word).iter().zip(image(word + 1)).map(mean))
        .collect()
}

/// Every vocabulary with every instruction set.
fn bench_group(
    criterion: &mut Criterion,
    name: &str,
    vocabularies: &[Vec<f32>],
    patch: PatchShape,
    searched: &Searched<'_>,
) {
    let mut group = criterion.benchmark_group(name);
    for centroids in vocabularies {
        for simd in Simd::available() {
            let words = Words::new(centroids, patch, simd);
            bench_search(&mut group, &words, searched);
        }
    }
    group.finish();
}

fn bench_search(group: &mut Group<'_>, words: &Words, searched: &Searched<'_>) {
    // About as long for any vocabulary, and too many patches for branch prediction to learn them by heart.
    let per_image = positions::count(&searched.positions);
    let n_patches = 200_000_000 / (words.k() * words.d());
    let n_images = (n_patches / per_image).clamp(1, searched.images.len());
    group.throughput(Throughput::Elements((n_images * per_image) as u64));
    let id = BenchmarkId::new(format!("k{}", words.k()), words.simd());
    let mut scratch = Scratch::default();
    let mut counts = vec![0u32; words.k()];
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            counts.fill(0);
            for &(scaling, pixels) in &searched.images[..n_images] {
                let patches = Patches {
                    image: 0,
                    scaling,
                    row_stride: SIDE,
                    positions: &searched.positions,
                    pixels,
                };
                search(words, &patches, &mut scratch).count_into(&mut counts);
            }
            counts[0]
        });
    });
}
