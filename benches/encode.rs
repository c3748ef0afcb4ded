//! How many patches a second each encoding takes, on one core, for each instruction set of the machine; and the definition
//! in float64 (`definition`), which they are held against.
//!
//! 6x6 patches of images of bytes, each normalised by itself; `white` ones are whitened too. Words are patches of other images.
//!
//! ```text
//! cargo bench --bench encode              # all of it
//! cargo bench --bench encode -- --quick   # less exact
//! cargo bench --bench encode -- triangle  # what has this in its name
//! ```

mod common;

use bovw::kernel::encode::{Encoder, Encoding, Lexicon, Recipe};
use bovw::kernel::grid::Grid;
use bovw::kernel::image::{Image, Pixels};
use bovw::kernel::naive;
use bovw::kernel::nearest::Simd;
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::vocabulary::{Preparation, Vocabulary};
use bovw::kernel::whiten::Moments;
use common::{PIXELS, SIDE, SIX, SIX_SCALED};
use criterion::{BenchmarkId, Criterion, Throughput};

/// Images that are encoded, and images after them that words are taken from.
const N_IMAGES: usize = 64;
const N_WORD_IMAGES: usize = 256;

fn main() {
    let mut criterion = common::criterion();
    let pixels = common::images(N_IMAGES + N_WORD_IMAGES);
    let mut images: Vec<Image> = pixels.chunks_exact(PIXELS).map(image).collect();
    let word_images = images.split_off(N_IMAGES);
    let by_patch = Preparation {
        normalize: Normalize::Patch { epsilon: 10.0 },
        ..SIX_SCALED
    };
    let white = Preparation {
        whiten: Some(0.1),
        ..by_patch
    };
    for (name, encoding, preparation, k) in [
        ("hard", Encoding::Hard, SIX_SCALED, 200),
        ("hard-patch", Encoding::Hard, by_patch, 200),
        ("hard-white", Encoding::Hard, white, 200),
        ("triangle-patch", Encoding::Triangle, by_patch, 1600),
        ("triangle-white", Encoding::Triangle, white, 1600),
        ("soft-white", Encoding::Soft { nearest: 5 }, white, 200),
        ("vlad-white", Encoding::Vlad, white, 64),
    ] {
        let recipe = Recipe {
            encoding,
            pooling: vec![[2, 2]],
            weighting: Vec::new(),
        };
        let vocabulary = vocabulary(&word_images, &preparation, k);
        bench(&mut criterion, name, &vocabulary, &recipe, &images);
    }
    criterion.final_summary();
}

fn image(pixels: &[u8]) -> Image {
    Image {
        height: SIDE,
        width: SIDE,
        channels: 1,
        pixels: Pixels::U8(pixels.to_vec()),
    }
}

/// Words that are patches, one an image in turn, and the whitening of all patches of these images.
fn vocabulary(images: &[Image], preparation: &Preparation, k: usize) -> Vocabulary {
    let grid = Grid::new(SIDE, SIDE, SIX, 1).expect("patches fit");
    let mut vocabulary = Vocabulary {
        preparation: *preparation,
        whitening: None,
        documents: None,
        centroids: Vec::new(),
        counts: vec![1; k],
        inertia: vec![20.0; k],
    };
    let values = |image: &Image, at: usize, vocabulary: &Vocabulary| {
        let scaling = Scaling::of(preparation.normalize, image.pixels.as_ref());
        naive::prepared_values(image, scaling, vocabulary, grid.offset(at) as u32)
    };
    if let Some(epsilon) = preparation.whiten {
        let mut moments = Moments::new(SIX.len());
        for image in images {
            for at in (0..grid.len()).step_by(7) {
                moments.add(&values(image, at, &vocabulary));
            }
        }
        vocabulary.whitening = Some(moments.whitening(epsilon).expect("patches differ"));
    }
    for word in 0..k {
        let at = (word * 97 + 240) % grid.len();
        let values = values(&images[word % images.len()], at, &vocabulary);
        vocabulary
            .centroids
            .extend(values.iter().map(|&value| value as f32));
    }
    vocabulary
}

fn bench(
    criterion: &mut Criterion,
    name: &str,
    vocabulary: &Vocabulary,
    recipe: &Recipe,
    images: &[Image],
) {
    let n_patches = Grid::new(SIDE, SIDE, SIX, 1).expect("patches fit").len() as u64;
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(images.len() as u64 * n_patches));
    for simd in Simd::available() {
        let lexicon = Lexicon::new(vocabulary, recipe, 1, simd);
        let mut encoder = Encoder::new(&lexicon);
        let id = BenchmarkId::new(format!("k{}", vocabulary.k()), simd);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                for image in images {
                    std::hint::black_box(encoder.encode(image.as_ref()));
                }
            });
        });
    }
    group.throughput(Throughput::Elements(n_patches));
    group.bench_function("definition", |bencher| {
        bencher.iter(|| naive::encode(&images[0], vocabulary, recipe, 1));
    });
    group.finish();
}
