//! What the benches share: images, a sample of their patches, words learned from it.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::kmeans::checkpoint::Checkpoint;
use bovw::kernel::kmeans::{Algorithm, DEFAULT_TOL, Init, KMeansParams};
use bovw::kernel::nearest::Simd;
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::rng::{Purpose, Stream};
use bovw::kernel::sample::Record;
use bovw::kernel::vocabulary::Preparation;
use bovw::shard::spill::{Sample, SampleWriter};
use bovw::stages::kmeans::{Learned, Watch, learn};
use criterion::Criterion;

/// Rows and columns of an image.
pub(crate) const SIDE: u32 = 28;

/// Pixels of an image.
pub(crate) const PIXELS: usize = (SIDE * SIDE) as usize;

/// The patches of the main job.
pub(crate) const SIX: PatchShape = PatchShape {
    height: 6,
    width: 6,
    channels: 1,
};

/// How the main job prepares them.
pub(crate) const SIX_SCALED: Preparation = Preparation {
    patch: SIX,
    normalize: Normalize::Image,
    whiten: None,
};

/// Criterion with fewer samples: what is measured here takes milliseconds.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// `n` images end to end: MNIST's test images where `../shared` has them, else strokes drawn by [`strokes`].
pub(crate) fn images(n: usize) -> Vec<u8> {
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data/mnist/t10k-images-idx3-ubyte.gz");
    let Ok(file) = std::fs::File::open(mnist) else {
        return (0..n as u64).flat_map(strokes).collect();
    };
    let mut pixels = vec![0; 16 + n * PIXELS];
    flate2::read::GzDecoder::new(file)
        .read_exact(&mut pixels)
        .expect("at most 10 000 images are asked for");
    pixels.split_off(16)
}

/// An image like a written digit: a few thick strokes with soft edges on black. Always the same for one `seed`.
pub(crate) fn strokes(seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed, Purpose::SamplePatches, 0);
    let mut within = |low: f64, high: f64| low + stream.unit() * (high - low);
    let mut pixels = vec![0u8; PIXELS];
    let (mut from, n_strokes) = ((within(8.0, 20.0), within(6.0, 12.0)), 3);
    for _ in 0..n_strokes {
        let to = (within(7.0, 21.0), within(5.0, 23.0));
        let width = within(1.0, 1.8);
        for (at, pixel) in pixels.iter_mut().enumerate() {
            let point = ((at % 28) as f64, (at / 28) as f64);
            let ink = 255.0 * (width + 0.5 - distance(point, from, to)).clamp(0.0, 1.0);
            *pixel = (*pixel).max(ink as u8);
        }
        from = to;
    }
    pixels
}

/// How far a point is from a line between two others.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (along, away) = (
        (to.0 - from.0, to.1 - from.1),
        (point.0 - from.0, point.1 - from.1),
    );
    let length2 = (along.0 * along.0 + along.1 * along.1).max(1e-9);
    let share = ((away.0 * along.0 + away.1 * along.1) / length2).clamp(0.0, 1.0);
    (away.0 - share * along.0).hypot(away.1 - share * along.1)
}

/// Three quarters of the patches of each of `images`.
pub(crate) fn sample(images: &[u8]) -> Sample {
    let grid = Grid::new(SIDE, SIDE, SIX, 1).expect("patches fit");
    let mut writer = SampleWriter::new(SIX, u64::MAX, Path::new("."), 0);
    for (number, image) in images.chunks_exact(PIXELS).enumerate() {
        let mut stream = Stream::new(0, Purpose::SamplePatches, number as u64);
        let offsets: Vec<u32> = (0..grid.len())
            .filter(|_| stream.below(4) != 0)
            .map(|window| grid.offset(window) as u32)
            .collect();
        let pixels = PixelsRef::U8(image);
        let record = Record {
            image: number as u64,
            scaling: Scaling::of(Normalize::Image, pixels),
            row_stride: SIDE,
            offsets: &offsets,
            pixels,
        };
        writer.push(&record).expect("memory is enough");
    }
    writer.finish().expect("memory is enough")
}

/// One restart of at most `max_iter` passes.
pub(crate) fn params(k: usize, algorithm: Algorithm, max_iter: usize) -> KMeansParams {
    KMeansParams {
        spherical: false,
        k,
        algorithm,
        init: Init::PlusPlus,
        n_init: 1,
        max_iter,
        batch_size: None,
        tol: DEFAULT_TOL,
        seed: 0,
    }
}

/// Learns words from `sample`.
pub(crate) fn learned(sample: &Sample, params: &KMeansParams, threads: usize) -> Learned {
    let view = sample.view();
    let best = Simd::detect();
    learn(
        &view,
        SIX_SCALED,
        params,
        threads,
        best,
        Checkpoint::default(),
        &Watch::SILENT,
    )
    .expect("the sample is enough")
}
