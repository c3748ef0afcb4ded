//! Learns a vocabulary from real MNIST and prints inertia and time: a measurement, not a way to use the library.
//!
//! `kmeans_mnist FOLDER EVERY IMAGES ALGORITHM K N_INIT [TOL] [THREADS] [SEED] [order]`: FOLDER holds the train shards, every EVERY-th image is
//! taken until there are IMAGES, and 396 of the 529 6x6 patches of each.

#![expect(clippy::print_stdout, reason = "a measurement prints")]

use std::error::Error;
use std::time::Instant;

use arrow::array::{Array, BinaryArray, StructArray};
use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::kmeans::{Algorithm, Init, KMeansParams};
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::rng::{self, Purpose};
use bovw::kernel::sample::{BLOCK_PATCHES, IndexEntry, Record, SampleView};
use bovw::kernel::vocabulary::Preparation;
use bovw::stages::kmeans::{DEFAULT_TOL, Watch, heap_bytes, learn};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const PATCH: PatchShape = PatchShape {
    height: 6,
    width: 6,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |i: usize, default: &str| arguments.get(i).cloned().unwrap_or(default.to_owned());
    let (every, images): (usize, usize) = (text(1, "10").parse()?, text(2, "6000").parse()?);
    let (words, index) = sample(&text(0, "/work/shared/data/mnist"), every, images)?;
    let view = SampleView::new(&words, &index, PATCH);
    let params = KMeansParams {
        k: text(4, "50").parse()?,
        algorithm: match text(3, "mini-batch").as_str() {
            "lloyd" => Algorithm::Lloyd,
            _ => Algorithm::MiniBatch,
        },
        init: Init::PlusPlus,
        n_init: text(5, "3").parse()?,
        max_iter: 300,
        batch_size: None,
        tol: text(6, "").parse().unwrap_or(DEFAULT_TOL),
        seed: text(8, "0").parse()?,
    };
    let threads = text(7, "2").parse()?;
    let preparation = Preparation {
        patch: PATCH,
        normalize: Normalize::Image,
    };
    println!("{} patches, {params:?}", view.n_patches());
    let start = Instant::now();
    let learned = learn(&view, preparation, &params, threads, &Watch::SILENT)?;
    let seconds = start.elapsed().as_secs_f64();
    for log in &learned.restarts {
        println!(
            "  init {:.4} final {:.4} steps {} passes {:.1} converged {} reseeded {}",
            log.init_inertia,
            log.final_inertia,
            log.n_steps,
            log.passes,
            log.converged,
            log.reseeded
        );
    }
    let vocabulary = &learned.vocabulary;
    println!(
        "inertia per patch {:.4}, {seconds:.2} s wall, {:.2} s cpu; counts {:?} .. {:?}; heap bound {} MB",
        vocabulary.inertia_per_patch(),
        cpu_seconds(),
        vocabulary.counts.first(),
        vocabulary.counts.last(),
        heap_bytes(params.k, PATCH.len(), &params, threads) >> 20,
    );
    Ok(())
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: f64 = stat
        .split(' ')
        .skip(13)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn sample(
    folder: &str,
    every: usize,
    images: usize,
) -> Result<(Vec<u64>, Vec<IndexEntry>), Box<dyn Error>> {
    let (mut words, mut index) = (Vec::new(), Vec::new());
    let (mut block, mut patch) = (0, 0);
    let mut row = 0;
    for shard in 0..6 {
        let file = std::fs::File::open(format!("{folder}/train-{shard:05}-of-00006.parquet"))?;
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            let batch = batch?;
            let image = batch.column_by_name("image").ok_or("no image column")?;
            let image: &StructArray = image.as_any().downcast_ref().ok_or("no struct")?;
            let bytes = image.column_by_name("bytes").ok_or("no bytes")?;
            let bytes: &BinaryArray = bytes.as_any().downcast_ref().ok_or("no binary")?;
            for png in bytes.iter() {
                if row % every == 0 && index.len() < images {
                    let pixels = image::load_from_memory(png.ok_or("null")?)?.into_luma8();
                    let pixels = PixelsRef::U8(pixels.as_raw());
                    let entry = IndexEntry {
                        word: words.len() as u64,
                        block,
                        patch,
                    };
                    index.push(entry);
                    let n = append(row as u64, pixels, &mut words)?;
                    patch += n as u64;
                    block += n.div_ceil(BLOCK_PATCHES) as u64;
                }
                row += 1;
            }
        }
    }
    let end = IndexEntry {
        word: words.len() as u64,
        block,
        patch,
    };
    index.push(end);
    Ok((words, index))
}

fn append(
    image: u64,
    pixels: PixelsRef<'_>,
    words: &mut Vec<u64>,
) -> Result<usize, Box<dyn Error>> {
    let grid = Grid::new(28, 28, PATCH, 1).ok_or("too small")?;
    let key = rng::key(0, Purpose::SamplePatches, image);
    let mut order: Vec<u64> = (0..grid.len() as u64).collect();
    order.sort_by_key(|&i| rng::hash(key, i));
    let n = grid.len() * 3 / 4;
    let offsets: Vec<u32> = order[..n]
        .iter()
        .map(|&i| grid.offset(i as usize) as u32)
        .collect();
    let record = Record {
        image,
        scaling: Scaling::of(Normalize::Image, pixels),
        row_stride: 28,
        offsets: &offsets,
        pixels,
    };
    record.append_to(PATCH, words);
    Ok(n)
}
