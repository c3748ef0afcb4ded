//! Law 2 on real images: every count equals float64 brute force with the words that were written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Int32Type};
use bovw::job::{Job, Overrides};
use bovw::kernel::grid::Grid;
use bovw::kernel::image::PixelsRef;
use bovw::kernel::naive;
use bovw::kernel::normalize::Scaling;
use bovw::passes::progress::{Progress, Watch};
use bovw::passes::run::run;
use bovw::shard::vocabulary;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Images that are counted again by brute force.
const N_IMAGES: usize = 2000;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run_job(config: &str, sets: &[String]) {
    let job = Job::load(&repository().join(config), sets, &Overrides::default()).expect("a job");
    let watch = Watch {
        interrupt: &AtomicBool::new(false),
        progress: &Progress::default(),
        on_event: &|_| {},
    };
    run(&job, false, watch).expect("the job runs");
}

/// The images of a shard in Hugging Face's layout, decoded by the image crate alone to so many channels.
fn images(path: &Path, column: &str, channels: u32) -> Vec<(u32, u32, Vec<u8>)> {
    let file = File::open(path).expect("a shard");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .expect("Parquet")
        .build()
        .expect("a reader");
    let mut images = Vec::new();
    for batch in reader {
        let batch = batch.expect("a batch");
        let column = batch.column_by_name(column).expect("images").as_struct();
        let bytes = column
            .column_by_name("bytes")
            .expect("bytes")
            .as_binary::<i32>();
        for value in bytes.iter() {
            let image = image::load_from_memory(value.expect("not null")).expect("an image");
            let pixels = match channels {
                1 => image.to_luma8().into_raw(),
                _ => image.to_rgb8().into_raw(),
            };
            images.push((image.height(), image.width(), pixels));
        }
    }
    images
}

/// The vectors and patch numbers of a features file.
fn features(path: &Path) -> Vec<(Vec<f32>, i32)> {
    let file = File::open(path).expect("a features file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .expect("Parquet")
        .build()
        .expect("a reader");
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.expect("a batch");
        let vectors = batch
            .column_by_name("features")
            .expect("features")
            .as_fixed_size_list();
        let n_patches = batch
            .column_by_name("n_patches")
            .expect("n_patches")
            .as_primitive::<Int32Type>();
        assert_eq!(vectors.null_count(), 0);
        for row in 0..batch.num_rows() {
            let vector = vectors.value(row);
            rows.push((
                vector.as_primitive::<Float32Type>().values().to_vec(),
                n_patches.value(row),
            ));
        }
    }
    rows
}

/// Counts by float64 brute force.
fn brute_force(
    image: &(u32, u32, Vec<u8>),
    words: &bovw::kernel::vocabulary::Vocabulary,
    stride: u32,
) -> Vec<f32> {
    let (height, width, pixels) = image;
    let preparation = words.preparation;
    let grid = Grid::new(*height, *width, preparation.patch, stride).expect("a patch fits");
    let pixels = PixelsRef::U8(pixels);
    let scaling = Scaling::of(preparation.normalize, pixels);
    let mut counts = vec![0.0; words.k()];
    let offsets: Vec<u32> = (0..grid.len()).map(|i| grid.offset(i) as u32).collect();
    let (labels, _) = naive::nearest(
        &words.centroids,
        preparation.patch,
        *width * preparation.patch.channels,
        scaling,
        pixels,
        &offsets,
    );
    for label in labels {
        counts[label as usize] += 1.0;
    }
    counts
}

fn check(dir: &Path, shards: &[PathBuf], column: &str, stride: u32, n_images: usize) {
    let (words, _) = vocabulary::read(&dir.join("vocabulary.parquet")).expect("a vocabulary");
    let mut n_checked = 0;
    for shard in shards {
        let name = shard.file_name().expect("a name");
        let rows = features(&dir.join("features").join(name));
        let images = images(shard, column, words.preparation.patch.channels);
        assert_eq!(rows.len(), images.len());
        for ((vector, n_patches), image) in rows.iter().zip(&images).take(n_images - n_checked) {
            assert_eq!(
                *vector,
                brute_force(image, &words, stride),
                "image {n_checked}"
            );
            assert_eq!(
                *n_patches,
                vector.iter().map(|&count| count as i32).sum::<i32>()
            );
            n_checked += 1;
        }
    }
    assert_eq!(n_checked, n_images);
}

#[test]
fn all_counts_of_the_digits_equal_float64_brute_force() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = format!("output.dir={:?}", dir.path().display().to_string());
    run_job("configs/digits.toml", &[out]);
    let shards: Vec<PathBuf> = (0..4)
        .map(|i| repository().join(format!("data/digits/digits-{i:05}-of-00004.parquet")))
        .collect();
    check(dir.path(), &shards, "image", 1, 1797);
}

#[test]
fn counts_of_2000_mnist_images_equal_float64_brute_force_and_sum_to_529() {
    let shard = repository().join("../shared/data/mnist/test-00000-of-00001.parquet");
    if !shard.exists() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let sets = [
        format!("output.dir={:?}", dir.path().display().to_string()),
        format!("input.files=[{:?}]", shard.display().to_string()),
        "vocabulary.n_init=1".to_owned(),
    ];
    run_job("configs/mnist.toml", &sets);
    check(
        dir.path(),
        std::slice::from_ref(&shard),
        "image",
        1,
        N_IMAGES,
    );
    let rows = features(&dir.path().join("features/test-00000-of-00001.parquet"));
    assert_eq!(rows.len(), 10_000);
    assert!(rows.iter().all(|(_, n_patches)| *n_patches == 529));
}

#[test]
fn colour_counts_of_300_cifar_images_equal_float64_brute_force() {
    let shard = repository().join("../shared/data/cifar10/test-00000-of-00001.parquet");
    if !shard.exists() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let sets = [
        format!("output.dir={:?}", dir.path().display().to_string()),
        format!("input.files=[{:?}]", shard.display().to_string()),
        "input.image=img".to_owned(),
        "input.color=rgb".to_owned(),
        "vocabulary.n_init=1".to_owned(),
        "sample.every=20".to_owned(),
    ];
    run_job("configs/mnist.toml", &sets);
    let (words, header) = vocabulary::read(&dir.path().join("vocabulary.parquet")).expect("words");
    assert_eq!((header.color.as_str(), words.d()), ("rgb", 6 * 6 * 3));
    let shards = std::slice::from_ref(&shard);
    check(dir.path(), shards, "img", 1, 300);
    let rows = features(&dir.path().join("features/test-00000-of-00001.parquet"));
    assert_eq!(rows.len(), 10_000);
    assert!(rows.iter().all(|(_, n_patches)| *n_patches == 27 * 27));
}
