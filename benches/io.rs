//! What the pipeline does around the search: decoding images, reading a shard, writing features, hashing.
//!
//! Files are made in a temporary folder and read back from the page cache, so this is the program's time, not the disk's;
//! writing features includes the sync that a finished file gets.
//!
//! ```text
//! cargo bench --bench io               # about a minute
//! cargo bench --bench io -- --quick    # less exact
//! cargo bench --bench io -- decode     # what has this in its name
//! ```

mod common;

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StructArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bovw::error::Place;
use bovw::job::{Color, Input, Io, MaxBad, OnBadImage};
use bovw::kernel::image::Pixels;
use bovw::kernel::rng::{Purpose, Stream};
use bovw::shard::features::{FeaturesWriter, Layout, Rows};
use bovw::shard::hugging_face::Features;
use bovw::shard::images::ImageRows;
use bovw::shard::input::InputSet;
use bovw::shard::manifest::hash_file;
use bovw::shard::read::Shard;
use common::{PIXELS, SIDE};
use criterion::{BenchmarkId, Criterion, Throughput};
use image::{GrayImage, ImageFormat, RgbImage};
use parquet::arrow::ArrowWriter;

/// Images in a shard.
const N_IMAGES: usize = 1000;

/// Rows and columns of the photographs that stand for larger images.
const PHOTO_SIDE: u32 = 256;

/// Rows of a features file.
const N_ROWS: usize = 10_000;

fn main() {
    let mut criterion = common::criterion();
    let dir = tempfile::tempdir().expect("a temporary folder");
    bench_decode(&mut criterion, dir.path());
    bench_read(&mut criterion, dir.path());
    bench_write(&mut criterion, dir.path());
    bench_hash(&mut criterion, dir.path());
    criterion.final_summary();
}

/// Decoding the rows of a shard; throughput in images.
fn bench_decode(criterion: &mut Criterion, dir: &Path) {
    let mut group = criterion.benchmark_group("decode");
    let digits = common::images(N_IMAGES);
    let digits = digits.chunks_exact(PIXELS);
    let cases = [
        (
            "png-28",
            digits.map(|d| encoded_grey(d, ImageFormat::Png)).collect(),
        ),
        ("jpeg-32", photos(200, 32, ImageFormat::Jpeg)),
        ("png-256", photos(10, PHOTO_SIDE, ImageFormat::Png)),
        ("jpeg-256", photos(10, PHOTO_SIDE, ImageFormat::Jpeg)),
    ];
    for (name, images) in cases {
        let path = dir.join(format!("{name}.parquet"));
        write_shard(&path, &images);
        let input = open(&path);
        let batch = read_all(&path, &input, Io::Auto).remove(0);
        let rows = ImageRows::new(&batch, &input.image, &Place::file(&path)).expect("images");
        group.throughput(Throughput::Elements(images.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                (0..images.len())
                    .map(|row| n_pixels(&rows, row))
                    .sum::<usize>()
            });
        });
    }
    group.finish();
}

fn n_pixels(rows: &ImageRows<'_>, row: usize) -> usize {
    match rows.get(row).expect("a good image").pixels {
        Pixels::U8(pixels) => pixels.len(),
        Pixels::F32(pixels) => pixels.len(),
    }
}

/// Reading a shard of PNG images without decoding them; throughput in bytes of the file.
fn bench_read(criterion: &mut Criterion, dir: &Path) {
    let path = dir.join("png-28.parquet");
    let input = open(&path);
    let mut group = criterion.benchmark_group("read-shard");
    group.throughput(Throughput::Bytes(size_of_file(&path)));
    for (name, io) in [("mmap", Io::Mmap), ("read", Io::Read)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| read_all(&path, &input, io).len());
        });
    }
    group.finish();
}

/// Writing a features file of counts; throughput in bytes of its vectors.
fn bench_write(criterion: &mut Criterion, dir: &Path) {
    let mut group = criterion.benchmark_group("write-features");
    for k in [50, 400] {
        let counts = counts(k);
        group.throughput(Throughput::Bytes(size_of_val(counts.as_slice()) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("k{k}")), |bencher| {
            bencher.iter(|| write_features(&dir.join("features.parquet"), k, &counts));
        });
    }
    group.finish();
}

/// BLAKE3 of a file of 16 MiB, as the manifest has of every input.
fn bench_hash(criterion: &mut Criterion, dir: &Path) {
    let path = dir.join("bytes");
    let mut stream = Stream::new(0, Purpose::SamplePatches, 0);
    let bytes: Vec<u8> = (0..2 << 20)
        .flat_map(|_| stream.next_u64().to_le_bytes())
        .collect();
    std::fs::write(&path, &bytes).expect("written");
    let mut group = criterion.benchmark_group("blake3");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("file", |bencher| {
        bencher.iter(|| hash_file(&path).expect("readable"));
    });
    group.finish();
}

fn encoded_grey(pixels: &[u8], format: ImageFormat) -> Vec<u8> {
    let image = GrayImage::from_raw(SIDE, SIDE, pixels.to_vec()).expect("28 by 28");
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// Colour images with large shapes and some noise, as photographs have them.
fn photos(n: usize, side: u32, format: ImageFormat) -> Vec<Vec<u8>> {
    let photo = |number: usize| {
        let mut stream = Stream::new(0, Purpose::SamplePatches, number as u64);
        let frequency = [0, 1, 2].map(|_| 8.0 * stream.unit() / f64::from(side));
        let image = RgbImage::from_fn(side, side, |x, y| {
            let phase = f64::from(x) + 0.7 * f64::from(y);
            let noise = stream.below(12) as u8;
            image::Rgb(frequency.map(|f| (120.0 + 110.0 * (phase * f).sin()) as u8 + noise))
        });
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("encoded");
        bytes.into_inner()
    };
    (0..n).map(photo).collect()
}

/// A shard in Hugging Face's layout.
fn write_shard(path: &Path, images: &[Vec<u8>]) {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let field = Arc::new(Field::new("bytes", DataType::Binary, true));
    let image: ArrayRef = Arc::new(StructArray::from(vec![(field, bytes)]));
    let label: ArrayRef = Arc::new(Int64Array::from_iter_values(0..images.len() as i64));
    let batch = RecordBatch::try_from_iter([("image", image), ("label", label)]).expect("a batch");
    let file = File::create(path).expect("created");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("written");
}

fn open(path: &Path) -> InputSet {
    let input = Input {
        files: vec![path.to_string_lossy().into_owned()],
        image: None,
        label: None,
        keep: Vec::new(),
        shape: None,
        color: Color::Grey,
        resize: None,
        max_pixels: 1 << 28,
        on_bad_image: OnBadImage::Fail,
        max_bad: MaxBad::Any,
    };
    InputSet::open(&input, Io::Auto, 1 << 30).expect("a good shard")
}

fn read_all(path: &Path, input: &InputSet, io: Io) -> Vec<RecordBatch> {
    let shard = Shard::open(path, io).expect("a good shard");
    let mut batches = Vec::new();
    for row_group in 0..shard.n_row_groups() {
        let mut reader = shard
            .read_row_group(row_group, &input.wanted(), N_IMAGES)
            .expect("readable");
        while let Some(batch) = reader.next_batch() {
            batches.push(batch.expect("readable").1);
        }
    }
    batches
}

/// Rows of counts that add up to the 529 patches of a digit, most of them in few words.
fn counts(k: usize) -> Vec<f32> {
    let mut values = vec![0.0; N_ROWS * k];
    for (number, row) in values.chunks_exact_mut(k).enumerate() {
        let mut stream = Stream::new(0, Purpose::SamplePatches, number as u64);
        for _ in 0..529 {
            let share = stream.unit();
            row[(share * share * k as f64) as usize] += 1.0;
        }
    }
    values
}

fn write_features(path: &Path, k: usize, values: &[f32]) -> u64 {
    let layout = Layout {
        n_values: k,
        side: Arc::new(Schema::empty()),
        side_bytes: 0,
        has_status: false,
        features: Features::parse(""),
    };
    let mut writer = FeaturesWriter::create(path, layout, String::new()).expect("created");
    for values in values.chunks(1000 * k) {
        let n_rows = values.len() / k;
        let rows = Rows {
            values: values.to_vec(),
            n_patches: vec![529; n_rows],
            status: vec![None; n_rows],
            side: no_columns(n_rows),
        };
        writer.push(rows).expect("written");
    }
    writer.finish().expect("written").file.size_bytes
}

fn no_columns(n_rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .expect("no columns")
}

fn size_of_file(path: &Path) -> u64 {
    std::fs::metadata(path).expect("there").len()
}
