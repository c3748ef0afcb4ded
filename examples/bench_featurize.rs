//! The search alone: counts of words of decoded images, timed, for `scripts/bench_peers`.
//!
//! ```text
//! cargo run --release --example bench_featurize -- VOCABULARY IMAGES [--threads N] [--simd NAME] [--repeat N]
//! cargo run --release --example bench_featurize -- --peak [--threads N] [--simd NAME]
//! ```
//!
//! IMAGES is an IDX file of bytes. A line of JSON on stdout has the seconds of each repetition, which begin with the
//! images in memory and end with the counts in memory. `--peak` gives what the machine's fp32 units can do at most: a
//! loop of multiply-adds on registers, compiled for the same instruction set.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use bovw::kernel::grid::Grid;
use bovw::kernel::image::PixelsRef;
use bovw::kernel::nearest::{Scratch, Simd, Words, Work, search};
use bovw::kernel::normalize::Scaling;
use bovw::kernel::sample::Patches;
use bovw::kernel::vocabulary::Vocabulary;
use bovw::shard::vocabulary;
use clap::Parser;
use serde_json::{Value, json};

/// Images that a thread takes at a time.
const TAKEN_IMAGES: usize = 64;

#[derive(Parser)]
struct Options {
    /// A vocabulary that bovw wrote
    #[arg(required_unless_present = "peak")]
    vocabulary: Option<PathBuf>,
    /// Grey images: an IDX file of bytes, n by height by width
    #[arg(required_unless_present = "peak")]
    images: Option<PathBuf>,
    /// Measure the fp32 peak instead
    #[arg(long)]
    peak: bool,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Instruction set (default: the best there is)
    #[arg(long, value_parser = simd)]
    simd: Option<Simd>,
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// The first so many images only
    #[arg(long)]
    first: Option<usize>,
    /// Where the counts go: images by words, uint32 in this machine's order
    #[arg(long)]
    counts: Option<PathBuf>,
}

fn simd(name: &str) -> Result<Simd, String> {
    let known = name.parse::<Simd>().ok();
    known
        .filter(|simd| simd.is_available())
        .ok_or_else(|| "not an instruction set of this machine".to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let simd = options.simd.unwrap_or_else(Simd::detect);
    let line = match (&options.vocabulary, &options.images) {
        (Some(words), Some(images)) => featurize(&options, simd, words, images)?,
        _ => peak(simd, options.threads),
    };
    writeln!(stdout(), "{line}")?;
    Ok(())
}

fn featurize(
    options: &Options,
    simd: Simd,
    words: &Path,
    images: &Path,
) -> Result<Value, Box<dyn Error>> {
    let (vocabulary, _) = vocabulary::read(words)?;
    let images = Images::read(images, options.first)?;
    let grid = Grid::new(images.height, images.width, vocabulary.preparation.patch, 1)
        .ok_or("no patch fits")?;
    let mut counts = vec![0; images.len() * vocabulary.k()];
    let (mut seconds, mut decided_again) = (Vec::new(), 0);
    for _ in 0..options.repeat {
        let start = Instant::now();
        decided_again = count_all(
            &vocabulary,
            &images,
            grid,
            simd,
            options.threads,
            &mut counts,
        );
        seconds.push(start.elapsed().as_secs_f64());
    }
    if let Some(path) = &options.counts {
        fs::write(path, bytemuck::cast_slice(&counts))?;
    }
    Ok(json!({
        "simd": simd.name(),
        "threads": options.threads,
        "k": vocabulary.k(),
        "images": images.len(),
        "patches": images.len() * grid.len(),
        "decided_again": decided_again,
        "seconds": seconds,
    }))
}

/// Counts the words of every image; gives how many patches float64 decided.
fn count_all(
    vocabulary: &Vocabulary,
    images: &Images,
    grid: Grid,
    simd: Simd,
    threads: usize,
    counts: &mut [u32],
) -> u64 {
    let words = Words::new(&vocabulary.centroids, vocabulary.preparation.patch, simd);
    let mut positions = Vec::new();
    grid.mark(0..grid.len(), &mut positions);
    let taken = images
        .pixels
        .chunks(TAKEN_IMAGES * images.image_len())
        .zip(counts.chunks_mut(TAKEN_IMAGES * words.k()));
    let taken = Mutex::new(taken);
    let next = || taken.lock().ok()?.next();
    let work = || {
        let (mut scratch, mut decided_again) = (Scratch::default(), 0);
        while let Some((pixels, counts)) = next() {
            let each = pixels
                .chunks_exact(images.image_len())
                .zip(counts.chunks_exact_mut(words.k()));
            for (pixels, counts) in each {
                counts.fill(0);
                let pixels = PixelsRef::U8(pixels);
                let patches = Patches {
                    image: 0,
                    scaling: Scaling::of(vocabulary.preparation.normalize, pixels),
                    row_stride: images.width,
                    positions: &positions,
                    pixels,
                };
                let found = search(&words, &patches, &mut scratch);
                decided_again += found.decided_again;
                found.count_into(counts);
            }
        }
        decided_again
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let sums = threads.into_iter().map(|thread| thread.join());
        sums.map(|sum| sum.unwrap_or_default()).sum()
    })
}

/// Grey images of one size, end to end.
struct Images {
    height: u32,
    width: u32,
    pixels: Vec<u8>,
}

impl Images {
    fn read(path: &Path, first: Option<usize>) -> Result<Images, Box<dyn Error>> {
        let bytes = fs::read(path)?;
        let (header, pixels) = bytes.split_at_checked(16).ok_or("not an IDX file")?;
        let number = |at: usize| {
            header[at..at + 4]
                .iter()
                .fold(0, |n, &b| n << 8 | u32::from(b))
        };
        if number(0) != 0x803 {
            return Err("not an IDX file of images of bytes".into());
        }
        let (height, width) = (number(8), number(12));
        let n_images = first.map_or(usize::MAX, |n| n).min(number(4) as usize);
        let n_bytes = n_images * (height * width) as usize;
        let pixels = pixels.get(..n_bytes).ok_or("the file is cut off")?.to_vec();
        Ok(Images {
            height,
            width,
            pixels,
        })
    }

    fn image_len(&self) -> usize {
        (self.height * self.width) as usize
    }

    fn len(&self) -> usize {
        self.pixels.len() / self.image_len()
    }
}

/// GFLOP/s of all threads together; the best of some tries, since only interruptions can make it slower.
fn peak(simd: Simd, threads: usize) -> Value {
    // The compiler keeps some of these loops in registers and spills others: the fastest tells.
    let shapes = match simd {
        Simd::Avx512 | Simd::Vnni => [flops::<16, 8>, flops::<16, 10>, flops::<16, 14>],
        Simd::Avx2 => [flops::<8, 8>, flops::<8, 10>, flops::<8, 12>],
        Simd::Portable | Simd::Neon => [flops::<4, 8>, flops::<4, 10>, flops::<4, 12>],
    };
    let measured = |flops: fn(Simd, u64) -> f64, rounds: u64| -> f64 {
        let start = Instant::now();
        let done: f64 = thread::scope(|scope| {
            let work = || flops(simd, rounds);
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let sums = threads.into_iter().map(|thread| thread.join());
            sums.map(|sum| sum.unwrap_or_default()).sum()
        });
        done / start.elapsed().as_secs_f64() / 1e9
    };
    let tried = shapes.map(|shape| (shape, measured(shape, 500_000)));
    let (fastest, _) = tried.into_iter().fold(
        tried[0],
        |best, next| {
            if next.1 > best.1 { next } else { best }
        },
    );
    let best = (0..8)
        .map(|_| measured(fastest, 40_000_000))
        .fold(0.0, f64::max);
    json!({"simd": simd.name(), "threads": threads, "gflops": best})
}

/// Keeps the units busy for a while; gives the operations that were done, two a multiply-add.
fn flops<const LANES: usize, const N: usize>(simd: Simd, rounds: u64) -> f64 {
    simd.run(MultiplyAdds::<LANES, N> { rounds });
    (2 * rounds * (LANES * N) as u64) as f64
}

/// `N` vectors of `LANES` elements, each multiplied and added to `rounds` times.
struct MultiplyAdds<const LANES: usize, const N: usize> {
    rounds: u64,
}

impl<const LANES: usize, const N: usize> Work for MultiplyAdds<LANES, N> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        let (factor, term) = (black_box([0.999f32; LANES]), black_box([0.001f32; LANES]));
        let mut sums = black_box([[1.0f32; LANES]; N]);
        for _ in 0..self.rounds {
            for sum in &mut sums {
                for lane in 0..LANES {
                    sum[lane] = sum[lane].mul_add(factor[lane], term[lane]);
                }
            }
        }
        black_box(sums);
    }
}
