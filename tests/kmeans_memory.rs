//! Training allocates no more than `heap_bytes` says, and no more for a larger sample. A binary of its own, because it
//! counts every allocation of the process.

#[path = "common/counting.rs"]
mod counting;

use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::kmeans::checkpoint::Checkpoint;
use bovw::kernel::kmeans::{Algorithm, Init, KMeansParams};
use bovw::kernel::nearest::Simd;
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::rng::hash;
use bovw::kernel::sample::{IndexEntry, Record, SampleView};
use bovw::kernel::vocabulary::Preparation;
use bovw::stages::kmeans::{Watch, heap_bytes, learn};
use counting::peak_bytes;

const PATCH: PatchShape = PatchShape {
    height: 6,
    width: 6,
    channels: 1,
};

fn sample(images: u64) -> (Vec<u64>, Vec<IndexEntry>) {
    let grid = Grid::new(28, 28, PATCH, 1).expect("fits");
    let offsets: Vec<u32> = (0..grid.len()).map(|i| grid.offset(i) as u32).collect();
    let (mut words, mut index) = (Vec::new(), Vec::new());
    let mut at = IndexEntry::default();
    index.push(at);
    for image in 0..images {
        let mut pixels: Vec<u8> = (0..784).map(|i| (hash(image, i) >> 58) as u8).collect();
        // A patch that is like no other, which a word may keep for itself.
        pixels[0] = 255;
        let pixels = PixelsRef::U8(&pixels);
        let record = Record {
            image,
            scaling: Scaling::of(Normalize::Image, pixels),
            row_stride: 28,
            offsets: &offsets,
            pixels,
        };
        at = at.append(&record, PATCH, &mut words);
        index.push(at);
    }
    (words, index)
}

/// The most that training has allocated at one time.
fn peak(images: u64, params: &KMeansParams) -> u64 {
    let (words, index) = sample(images);
    let view = SampleView::new(&words, &index, PATCH);
    let preparation = Preparation {
        patch: PATCH,
        normalize: Normalize::Image,
        whiten: None,
    };
    let (simd, watch) = (Simd::detect(), Watch::SILENT);
    peak_bytes(|| {
        learn(
            &view,
            preparation,
            params,
            2,
            simd,
            Checkpoint::default(),
            &watch,
        )
        .expect("learns");
    })
}

#[test]
fn training_stays_below_its_bound_and_does_not_grow_with_the_sample() {
    for algorithm in [Algorithm::Lloyd, Algorithm::MiniBatch] {
        // With 30 passes Lloyd breathes, on 70 words too where there are 600 images.
        for (k, max_iter) in [(10, 30), (70, 30), (700, 3)] {
            let params = KMeansParams {
                spherical: false,
                k,
                algorithm,
                init: Init::PlusPlus,
                n_init: 2,
                max_iter,
                batch_size: None,
                tol: 1e-5,
                seed: 0,
            };
            let bound = heap_bytes(k, PATCH, &params, 2);
            for images in [60, 600] {
                let peak = peak(images, &params);
                assert!(peak <= bound, "{algorithm:?} {k} {images}: {peak} {bound}");
                assert!(
                    bound < 16 * peak,
                    "{algorithm:?} {k} {images}: {peak} {bound}"
                );
            }
        }
    }
}
