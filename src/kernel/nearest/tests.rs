//! The search against the float64 definition, on every instruction set of the machine.

use super::*;
use crate::kernel::grid::{Grid, PatchShape};
use crate::kernel::image::Pixels;
use crate::kernel::naive;
use crate::kernel::normalize::{Normalize, Scaling};
use crate::kernel::rng::{Purpose, Stream};
use proptest::prelude::*;

/// One search, and everything it depends on.
#[derive(Debug, Clone)]
struct Case {
    patch: PatchShape,
    row_stride: u32,
    scaling: Scaling,
    pixels: Pixels,
    offsets: Vec<u32>,
    k: usize,
    centroids: Vec<f32>,
}

/// Labels by every instruction set, checked against the law; how many were decided again, by each the same number where
/// pixels are bytes.
fn check(case: &Case) -> u64 {
    let pixels = case.pixels.as_ref();
    let (expected, _) = naive::nearest(
        &case.centroids,
        case.patch,
        case.row_stride,
        case.scaling,
        pixels,
        &case.offsets,
    );
    let n_words = case
        .offsets
        .last()
        .map_or(0, |&last| last as usize / 64 + 1);
    let mut positions = vec![0; n_words];
    positions::mark(&case.offsets, &mut positions);
    let patches = Patches {
        image: 0,
        scaling: case.scaling,
        row_stride: case.row_stride,
        positions: &positions,
        pixels,
    };
    // Whatever the last search left must not matter.
    let mut scratch = Scratch::default();
    let mut again = None;
    for simd in Simd::available() {
        let words = Words::new(&case.centroids, case.patch, simd);
        for _ in 0..2 {
            let found = search(&words, &patches, &mut scratch);
            assert_eq!(
                labels(&found, &patches, case),
                expected,
                "{simd} of {case:?}"
            );
            let decided_again = found.decided_again;
            if found.whole.is_some() {
                assert_eq!(*again.get_or_insert(decided_again), decided_again, "{simd}");
            } else {
                again = Some(decided_again);
            }
        }
    }
    check_plain(case, &patches, &expected, again);
    again.unwrap_or_default()
}

/// The safe twin finds the same.
fn check_plain(case: &Case, patches: &Patches<'_>, expected: &[u32], again: Option<u64>) {
    let words = Words::new(&case.centroids, case.patch, Simd::Portable);
    let (Some(whole), PixelsRef::U8(pixels)) = (&words.whole, patches.pixels) else {
        return;
    };
    if patches.scaling.is_blank() {
        return;
    }
    if let Some(image) = whole::ImageSearch::new(&words, whole, patches, pixels) {
        let mut scratch = Scratch::default();
        let decided_again = image.search_with(isa::Plain, &mut scratch);
        let found = scratch.found(decided_again, true);
        assert_eq!(labels(&found, patches, case), expected, "{case:?}");
        assert_eq!(Some(decided_again), again);
    }
}

/// The label of each patch, in order, after a look at all else that was found.
fn labels(found: &Found<'_>, patches: &Patches<'_>, case: &Case) -> Vec<u32> {
    let labels: Vec<u32> = found.each(patches).collect();
    let mut counts = vec![0; case.k];
    found.count_into(&mut counts);
    for &label in &labels {
        counts[label as usize] -= 1;
    }
    assert!(counts.iter().all(|&count| count == 0));
    if let Some(whole) = found.whole {
        assert_eq!(whole.squares.len(), found.offsets.len());
        for (&offset, &squares) in found.offsets.iter().zip(whole.squares) {
            let rows = (0..case.patch.height).map(|row| offset + row * case.row_stride);
            let pixels = rows.flat_map(|start| start..start + case.patch.row_len() as u32);
            let sum: f64 = pixels
                .map(|i| case.pixels.as_ref().get(i as usize).powi(2))
                .sum();
            assert!((sum - f64::from(squares)).abs() < 0.5);
        }
    }
    labels
}

fn offsets_of(grid: &Grid) -> Vec<u32> {
    (0..grid.len()).map(|i| grid.offset(i) as u32).collect()
}

fn shape() -> impl Strategy<Value = (PatchShape, u32, u32)> {
    let channels = prop::sample::select(vec![1u32, 1, 3]);
    (1..9u32, 1..9u32, 0..14u32, 0..40u32, channels).prop_map(
        |(height, width, more_rows, more_cols, channels)| {
            let patch = PatchShape {
                height,
                width,
                channels,
            };
            (patch, height + more_rows, width + more_cols)
        },
    )
}

/// Pixels of every kind: whole numbers, a few levels (ties), bright with little contrast, huge, tiny, equal.
fn pixels_of(kind: u8, n: usize, stream: &mut Stream) -> Pixels {
    let mut draw =
        |map: &dyn Fn(f64) -> f32| Pixels::F32((0..n).map(|_| map(stream.unit())).collect());
    match kind {
        0 => Pixels::U8((0..n).map(|_| stream.below(256) as u8).collect()),
        1 => Pixels::U8((0..n).map(|_| stream.below(3) as u8).collect()),
        2 => Pixels::U8(vec![stream.below(256) as u8; n]),
        3 => draw(&|u| u as f32),
        4 => draw(&|u| (1e6 + u) as f32),
        5 => draw(&|u| ((u - 0.5) * 6e38) as f32),
        6 => draw(&|u| (u * 1e-40) as f32),
        7 => draw(&|u| (u * 1e19) as f32),
        8 => draw(&|u| (u * 4.0).floor() as f32),
        _ => draw(&|u| (10f64.powf(u * 70.0 - 40.0)) as f32),
    }
}

/// Words of every kind: whole numbers (ties), reals, huge, tiny, and patches of the image itself.
fn words_of(kind: u8, case: &Case, stream: &mut Stream) -> Vec<f32> {
    let d = case.patch.len();
    let mut words: Vec<f32> = (0..case.k * d)
        .map(|_| match kind {
            0 => stream.below(3) as f32,
            1 => (stream.unit() * 4.0 - 2.0) as f32,
            2 => ((stream.unit() - 0.5) * 6e38) as f32,
            3 => (stream.unit() * 1e-42) as f32,
            4 => (stream.unit() * 1e6 + 1e6) as f32,
            _ => 0.0,
        })
        .collect();
    if kind >= 5 && !case.offsets.is_empty() {
        for word in words.chunks_exact_mut(d) {
            let offset = case.offsets[stream.below(case.offsets.len() as u64) as usize];
            let pixels = case.pixels.as_ref();
            let values =
                naive::patch_values(case.patch, case.row_stride, case.scaling, pixels, offset);
            for (centre, value) in word.iter_mut().zip(values) {
                *centre = (value as f32).clamp(f32::MIN, f32::MAX);
            }
        }
    }
    // Doubled words: the lower index must win.
    for j in 1..case.k {
        if stream.below(4) == 0 {
            words.copy_within((j - 1) * d..j * d, j * d);
        }
    }
    words
}

fn case() -> impl Strategy<Value = Case> {
    let kinds = (0..10u8, 0..7u8, 0..4u8);
    (
        shape(),
        1..24usize,
        kinds,
        1..4u32,
        0..80usize,
        any::<u64>(),
    )
        .prop_map(
            |((patch, height, width), k, (pixel_kind, word_kind, scaling), stride, n, seed)| {
                let mut stream = Stream::new(seed, Purpose::Reseed, 0);
                let row_stride = width * patch.channels;
                let n_values = (height * row_stride) as usize;
                let pixels = pixels_of(pixel_kind, n_values, &mut stream);
                let grid = Grid::new(height, width, patch, stride).expect("fits");
                let mut offsets = offsets_of(&grid);
                if n > 0 {
                    offsets.retain(|_| stream.below(80) < n as u64);
                }
                let scaling = match scaling {
                    0 => Scaling::of(Normalize::None, pixels.as_ref()),
                    1 => Scaling {
                        centre: 100.0,
                        scale: 1e-30,
                    },
                    _ => Scaling::of(Normalize::Image, pixels.as_ref()),
                };
                let mut case = Case {
                    patch,
                    row_stride,
                    scaling,
                    pixels,
                    offsets,
                    k,
                    centroids: Vec::new(),
                };
                case.centroids = words_of(word_kind, &case, &mut stream);
                case
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn labels_are_those_of_float64_brute_force_on_every_instruction_set(case in case()) {
        check(&case);
    }
}

/// Whole images end to end, each a patch.
fn end_to_end() -> impl Strategy<Value = Case> {
    let shape = (1..30u32, 1..30u32);
    let kinds = (0..10u8, 0..7u8, any::<bool>());
    (shape, 1..40usize, 1..12usize, kinds, any::<u64>()).prop_map(
        |((height, width), n, k, (pixel_kind, word_kind, is_plain), seed)| {
            let mut stream = Stream::new(seed, Purpose::Reseed, 0);
            let patch = PatchShape {
                height,
                width,
                channels: 1,
            };
            let pixels = pixels_of(pixel_kind, n * patch.len(), &mut stream);
            let normalize = if is_plain {
                Normalize::None
            } else {
                Normalize::Image
            };
            let mut case = Case {
                patch,
                row_stride: width,
                scaling: Scaling::of(normalize, pixels.as_ref()),
                pixels,
                offsets: (0..n).map(|i| (i * patch.len()) as u32).collect(),
                k,
                centroids: Vec::new(),
            };
            case.centroids = words_of(word_kind, &case, &mut stream);
            case
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn labels_of_whole_images_are_those_of_brute_force_too(case in end_to_end()) {
        check(&case);
    }
}

/// An image of noise and `k` words near its patches.
fn ordinary(k: usize, patch: PatchShape, side: u32) -> Case {
    let mut stream = Stream::new(1, Purpose::Reseed, k as u64);
    let pixels = pixels_of(0, (side * side) as usize, &mut stream);
    let grid = Grid::new(side, side, patch, 1).expect("fits");
    let offsets = offsets_of(&grid);
    let scaling = Scaling::of(Normalize::Image, pixels.as_ref());
    let mut case = Case {
        patch,
        row_stride: side,
        scaling,
        pixels,
        offsets,
        k,
        centroids: Vec::new(),
    };
    let values = (0..k * patch.len()).map(|_| (stream.unit() * 4.0 - 2.0) as f32);
    case.centroids = values.collect();
    case
}

const SIX: PatchShape = PatchShape {
    height: 6,
    width: 6,
    channels: 1,
};

#[test]
fn few_patches_of_an_ordinary_image_are_decided_again() {
    let case = ordinary(50, SIX, 28);
    let again = check(&case);
    assert!(again * 100 < case.offsets.len() as u64, "{again}");
}

#[test]
fn many_words_and_large_patches_change_nothing() {
    check(&ordinary(1003, SIX, 28));
    check(&ordinary(
        20,
        PatchShape {
            height: 40,
            width: 41,
            channels: 1,
        },
        41,
    ));
    check(&ordinary(
        1,
        PatchShape {
            height: 28,
            width: 28,
            channels: 1,
        },
        28,
    ));
}

#[test]
fn a_hundred_thousand_words_and_single_pixels_change_nothing() {
    let one = PatchShape {
        height: 1,
        width: 1,
        channels: 1,
    };
    let mut case = ordinary(100_000, one, 16);
    check(&case);
    case.k = 3;
    case.centroids.truncate(3);
    check(&case);
    let mut case = ordinary(100_000, SIX, 6);
    check(&case);
    // As large as the image.
    case.pixels = Pixels::U8((0..36).map(|i| if i == 7 { 255 } else { 0 }).collect());
    case.scaling = Scaling::of(Normalize::Image, case.pixels.as_ref());
    check(&case);
}

#[test]
fn the_least_and_the_most_contrast_change_nothing() {
    for pixel in [1u8, 254, 255] {
        let mut case = ordinary(40, SIX, 28);
        let mut pixels = vec![pixel - 1; 28 * 28];
        pixels[400] = pixel;
        case.pixels = Pixels::U8(pixels);
        case.scaling = Scaling::of(Normalize::Image, case.pixels.as_ref());
        check(&case);
    }
    let mut case = ordinary(40, SIX, 28);
    let chequered = |i: u32| {
        if (i / 28 + i).is_multiple_of(2) {
            255
        } else {
            0
        }
    };
    case.pixels = Pixels::U8((0..28 * 28).map(chequered).collect());
    case.scaling = Scaling::of(Normalize::Image, case.pixels.as_ref());
    check(&case);
}

#[test]
fn pixels_of_16_bits_are_searched_too() {
    let mut case = ordinary(40, SIX, 28);
    let mut stream = Stream::new(2, Purpose::Reseed, 0);
    let values = (0..28 * 28).map(|_| stream.below(65536) as f32 / 257.0);
    case.pixels = Pixels::F32(values.collect());
    case.scaling = Scaling::of(Normalize::Image, case.pixels.as_ref());
    let again = check(&case);
    assert!(again * 50 < case.offsets.len() as u64, "{again}");
}

#[test]
fn a_span_that_covers_too_many_pixels_is_searched_in_place() {
    // Rows of 40 000 pixels: six of them are more than a band.
    let mut stream = Stream::new(3, Purpose::Reseed, 0);
    let mut case = ordinary(9, SIX, 28);
    case.row_stride = 40_000;
    case.pixels = pixels_of(0, 6 * 40_000, &mut stream);
    case.offsets = (0..200).map(|i| i * 150).collect();
    case.scaling = Scaling::of(Normalize::Image, case.pixels.as_ref());
    check(&case);
}

#[test]
fn no_offsets_give_no_labels() {
    let mut case = ordinary(3, SIX, 28);
    case.offsets.clear();
    assert_eq!(check(&case), 0);
}

#[test]
fn a_blank_image_has_one_label_for_all_its_patches() {
    let mut case = ordinary(9, SIX, 28);
    case.pixels = Pixels::U8(vec![200; 28 * 28]);
    case.scaling = Scaling::of(Normalize::Image, case.pixels.as_ref());
    assert_eq!(check(&case), 0);
}

#[test]
fn equidistant_words_go_to_the_lowest_index() {
    let mut case = ordinary(2, SIX, 28);
    case.pixels = Pixels::U8(vec![5; 28 * 28]);
    case.scaling = Scaling {
        centre: 0.0,
        scale: 1.0,
    };
    case.centroids = [vec![6.0; 36], vec![4.0; 36]].concat();
    // All patches are one value: one decision does for all.
    assert_eq!(check(&case), 1);
}

#[test]
fn pixels_that_are_not_finite_are_left_to_the_law() {
    let mut case = ordinary(5, SIX, 28);
    let mut floats = vec![1.0f32; 28 * 28];
    floats[100] = f32::NAN;
    floats[300] = f32::INFINITY;
    case.pixels = Pixels::F32(floats);
    case.scaling = Scaling {
        centre: 0.5,
        scale: 2.0,
    };
    assert!(check(&case) > 0);
}
