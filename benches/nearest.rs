//! Prints how fast the nearest-word search is, for every instruction set of this machine: `cargo bench --bench nearest`.

use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::nearest::{Scratch, Simd, Words, nearest};
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::rng::hash;
use bovw::kernel::sample::Record;
use std::time::Instant;

fn main() {
    let patch = PatchShape {
        height: 6,
        width: 6,
    };
    let grid = Grid::new(28, 28, patch, 1).expect("fits");
    let mut offsets = Vec::new();
    grid.offsets_into(0..grid.len(), &mut offsets);
    let pixels: Vec<u8> = (0..784u64).map(|i| (hash(1, i) % 256) as u8).collect();
    for scattered in [false, true] {
        if scattered {
            offsets.sort_by_key(|&o| hash(3, u64::from(o)));
        }
        for simd in Simd::available() {
            for k in [50usize, 200, 1600] {
                let centroids: Vec<f32> = (0..k * 36)
                    .map(|i| (hash(2, i as u64) % 4000) as f32 / 1000.0 - 2.0)
                    .collect();
                let words = Words::new(&centroids, k, 36, simd);
                let images = 400_000 / k;
                let (start, cpu) = (Instant::now(), cpu_seconds());
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            let mut scratch = Scratch::default();
                            let mut labels = Vec::new();
                            let mut again = 0;
                            for _ in 0..images {
                                let pixels = PixelsRef::U8(std::hint::black_box(&pixels));
                                let scaling = Scaling::of(Normalize::Image, pixels);
                                let image = Record {
                                    image: 0,
                                    scaling,
                                    row_stride: 28,
                                    offsets: &offsets,
                                    pixels,
                                };
                                again += nearest(&words, patch, &image, &mut scratch, &mut labels);
                            }
                            std::hint::black_box(again);
                        });
                    }
                });
                let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
                let millions = 2.0 * images as f64 * offsets.len() as f64 / 1e6;
                #[expect(clippy::print_stdout, reason = "an example prints")]
                {
                    println!(
                        "scattered={scattered} {simd:?} k={k}: {:.1} Mpatch/s on 2 threads, {:.1} a CPU second",
                        millions / seconds,
                        millions / cpu
                    );
                }
            }
        }
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat
        .split(' ')
        .skip(13)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
