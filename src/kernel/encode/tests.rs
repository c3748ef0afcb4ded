//! Every encoding against [`naive::encode`], over images, words and preparations of all kinds.

use proptest::prelude::*;

use super::*;
use crate::kernel::grid::PatchShape;
use crate::kernel::image::{Image, Pixels};
use crate::kernel::naive;
use crate::kernel::normalize::Normalize;
use crate::kernel::rng::{Purpose, Stream};
use crate::kernel::vocabulary::Documents;
use crate::kernel::whiten::Moments;

/// Largest difference from the definition, as a share of the vector's largest value.
const TOLERANCE: f64 = 1e-5;

#[derive(Debug, Clone)]
struct Case {
    image: Image,
    vocabulary: Vocabulary,
    recipe: Recipe,
    stride: u32,
}

fn image(height: u32, width: u32, channels: u32, kind: u8, stream: &mut Stream) -> Image {
    let n = (height * width * channels) as usize;
    let pixels = match kind {
        0 => Pixels::U8((0..n).map(|_| stream.below(256) as u8).collect()),
        // Mostly background, as digits are.
        1 => Pixels::U8(
            (0..n)
                .map(|_| if stream.below(3) > 0 { 0 } else { 200 })
                .collect(),
        ),
        2 => Pixels::U8(vec![77; n]),
        _ => Pixels::F32(
            (0..n)
                .map(|_| (stream.unit() * 300.0 - 20.0) as f32)
                .collect(),
        ),
    };
    Image {
        height,
        width,
        channels,
        pixels,
    }
}

/// Words that are patches of the image, a little moved, or exactly patches.
fn vocabulary(
    case: (&Image, &Preparation),
    k: usize,
    noise: f64,
    stream: &mut Stream,
) -> Vocabulary {
    let (image, preparation) = case;
    let (patch, d) = (preparation.patch, preparation.patch.len());
    let mut vocabulary = Vocabulary {
        preparation: *preparation,
        whitening: None,
        documents: None,
        centroids: Vec::new(),
        counts: vec![3; k],
        inertia: vec![0.5 * d as f64; k],
    };
    let grid = Grid::new(image.height, image.width, patch, 1).expect("fits");
    let scaling = Scaling::of(preparation.normalize, image.pixels.as_ref());
    let offset = |stream: &mut Stream| grid.offset(stream.below(grid.len() as u64) as usize) as u32;
    if let Some(epsilon) = preparation.whiten {
        let mut moments = Moments::new(d);
        for _ in 0..4 * d {
            let mut values = naive::prepared_values(image, scaling, &vocabulary, offset(stream));
            values
                .iter_mut()
                .for_each(|value| *value += stream.unit() - 0.5);
            moments.add(&values);
        }
        vocabulary.whitening = Some(moments.whitening(epsilon).expect("they differ"));
    }
    for _ in 0..k {
        let values = naive::prepared_values(image, scaling, &vocabulary, offset(stream));
        let moved = values
            .iter()
            .map(|value| (value + noise * (stream.unit() - 0.5)) as f32);
        vocabulary.centroids.extend(moved);
    }
    vocabulary.documents = Some(Documents {
        n: 9,
        with_word: (0..k as u64).map(|word| word % 10).collect(),
    });
    vocabulary
}

fn weightings(encoding: Encoding) -> Vec<Vec<Weighting>> {
    use Weighting::{Frequency, Hellinger, Intra, L2, TfIdf};
    match encoding {
        Encoding::Vlad => vec![vec![], vec![Intra], vec![Hellinger, L2], vec![Intra, L2]],
        _ => vec![
            vec![],
            vec![Frequency],
            vec![Hellinger],
            vec![L2],
            vec![Frequency, TfIdf, L2],
        ],
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (
        1u32..5,
        1u32..6,
        prop_oneof![Just(1u32), Just(3u32)],
        1u32..3,
    );
    let preparation = (0u8..4, prop::option::of(prop_oneof![Just(0.1), Just(1e-3)]));
    let how = (0u8..4, 1usize..7, 0usize..4, 0usize..5, 1usize..70);
    let noise = prop_oneof![Just(0.0), Just(0.01), Just(2.0)];
    (shape, preparation, how, 0u8..4, any::<u64>(), noise).prop_map(
        |(shape, preparation, how, kind, seed, noise)| {
            let (height, width, channels, stride) = shape;
            let (encoding, nearest, pooling, weighting, k) = how;
            let mut stream = Stream::new(seed, Purpose::Parts, 1);
            let image = image(height + 7, width + 9, channels, kind, &mut stream);
            let preparation = Preparation {
                patch: PatchShape {
                    height,
                    width,
                    channels,
                },
                normalize: match preparation.0 {
                    0 => Normalize::Image,
                    1 => Normalize::None,
                    2 => Normalize::Patch { epsilon: 10.0 },
                    _ => Normalize::Patch { epsilon: 0.0 },
                },
                whiten: preparation.1,
            };
            let vocabulary = vocabulary((&image, &preparation), k, noise, &mut stream);
            let encoding = match encoding {
                0 => Encoding::Hard,
                1 => Encoding::Triangle,
                2 => Encoding::Soft { nearest },
                _ => Encoding::Vlad,
            };
            let mut weightings = weightings(encoding);
            let recipe = Recipe {
                encoding,
                pooling: [
                    vec![[1, 1]],
                    vec![[2, 2]],
                    vec![[1, 1], [2, 3], [3, 1]],
                    vec![[4, 4]],
                ][pooling]
                    .clone(),
                weighting: weightings.swap_remove(weighting % weightings.len()),
            };
            Case {
                image,
                vocabulary,
                recipe,
                stride,
            }
        },
    )
}

fn encode(case: &Case, simd: Simd) -> Vec<f32> {
    let lexicon = Lexicon::new(&case.vocabulary, &case.recipe, case.stride, simd);
    let mut encoder = Encoder::new(&lexicon);
    // Twice, so that nothing of the first image stays for the second.
    let first = encoder.encode(case.image.as_ref()).vector.to_vec();
    let second = encoder.encode(case.image.as_ref()).vector.to_vec();
    assert_eq!(first, second);
    first
}

fn largest_of(vector: &[f64]) -> f64 {
    vector.iter().fold(0.0, |a, b| a.max(b.abs()))
}

/// How far the patches of a cell and the words can be from each other, all together.
fn reach(case: &Case) -> f64 {
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let patch = case.vocabulary.preparation.patch;
    let grid = Grid::new(case.image.height, case.image.width, patch, case.stride).expect("fits");
    let pixels = case.image.pixels.as_ref();
    let scaling = Scaling::of(case.vocabulary.preparation.normalize, pixels);
    let patches = (0..grid.len()).map(|at| {
        norm(&naive::prepared_values(
            &case.image,
            scaling,
            &case.vocabulary,
            grid.offset(at) as u32,
        ))
    });
    let words = case.vocabulary.centroids.chunks_exact(case.vocabulary.d());
    let words = words.map(|word| norm(&word.iter().map(|&c| f64::from(c)).collect::<Vec<f64>>()));
    let n_cells = case
        .recipe
        .pooling
        .iter()
        .map(|[rows, cols]| rows * cols)
        .min();
    let patches_per_cell = grid.len() as f64 / f64::from(n_cells.unwrap_or(1));
    patches_per_cell * (patches.fold(0.0, f64::max) + words.fold(0.0, f64::max))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_vector_is_the_definitions(case in cases()) {
        let expected = naive::encode(&case.image, &case.vocabulary, &case.recipe, case.stride);
        let largest = largest_of(&expected);
        // Words that are all as far away as their mean leave a triangle of roundings, in the definition too.
        let sums = Recipe { weighting: Vec::new(), ..case.recipe.clone() };
        let sums = naive::encode(&case.image, &case.vocabulary, &sums, case.stride);
        prop_assume!(case.recipe.encoding != Encoding::Triangle || largest_of(&sums) > 0.05 * reach(&case));
        for simd in Simd::available() {
            let found = encode(&case, simd);
            for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                if case.recipe.encoding == Encoding::Hard {
                    let expected = expected as f32;
                    prop_assert_eq!(found.to_bits(), expected.to_bits(), "{}: value {}", simd, at);
                }
                // A root makes small differences between small values large ones.
                let power = if case.recipe.weighting.contains(&Weighting::Hellinger) { 2 } else { 1 };
                let difference = (f64::from(found).abs().powi(power) - expected.abs().powi(power)).abs();
                prop_assert!(difference <= TOLERANCE * largest.powi(power), "{}: {} is {}, not {}", simd, at, found, expected);
            }
        }
    }
}

#[test]
fn instruction_sets_with_fused_multiply_add_give_the_same_bytes() {
    let mut stream = Stream::new(5, Purpose::Parts, 2);
    let image = image(20, 21, 3, 0, &mut stream);
    let preparation = Preparation {
        patch: PatchShape {
            height: 4,
            width: 5,
            channels: 3,
        },
        normalize: Normalize::Patch { epsilon: 10.0 },
        whiten: Some(0.1),
    };
    let case = Case {
        vocabulary: vocabulary((&image, &preparation), 33, 1.0, &mut stream),
        image,
        recipe: Recipe {
            encoding: Encoding::Triangle,
            pooling: vec![[2, 2]],
            weighting: Vec::new(),
        },
        stride: 1,
    };
    let fused = Simd::available().filter(|simd| *simd != Simd::Portable);
    let vectors: Vec<Vec<f32>> = fused.map(|simd| encode(&case, simd)).collect();
    for vector in &vectors {
        assert!(
            vector
                .iter()
                .zip(&vectors[0])
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
}
