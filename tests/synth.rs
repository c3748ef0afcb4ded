//! Synthetic shards from outside: the same images however they are made, of the sizes and with the labels that were asked
//! for, which `bovw run` reads; and what cannot be made is refused with nothing left behind.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bovw::import::Target;
use bovw::shard::hugging_face::{self, Features};
use bovw::synth::{self, Compression, Encoding, Kind, Options, Sizes, ZstdLevel};
use bovw::{Error, Result};
use common::Scene;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};

fn options(n_images: u64) -> Options {
    Options {
        n_images,
        sizes: sizes("28x28"),
        kind: Kind::Digits,
        encoding: Encoding::Png,
        seed: 0,
        row_group_images: None,
        compression: Compression::UNCOMPRESSED,
        threads: 2,
    }
}

fn sizes(text: &str) -> Sizes {
    text.parse().expect("sizes")
}

/// Makes shards of these options, at most so many images in each.
fn make(options: &Options, out: &Path, shard_images: u64) -> Result<Vec<PathBuf>> {
    let target = Target {
        rows_per_shard: shard_images,
        ..Target::new(out)
    };
    let summary = synth::make(options, &target, &|_| {}, &AtomicBool::new(false))?;
    assert_eq!(summary.images, options.n_images);
    Ok(summary.shards)
}

/// Path, encoded image and label of a row.
type Row = (String, Vec<u8>, i64);

/// The rows of PNG shards that these options give.
fn rows(options: &Options, shard_images: u64) -> Vec<Row> {
    let out = tempfile::tempdir().unwrap();
    let shards = make(options, out.path(), shard_images).unwrap();
    shards.iter().flat_map(|shard| read_rows(shard)).collect()
}

fn read_rows(shard: &Path) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(shard).unwrap());
    let mut rows = Vec::new();
    for batch in reader.unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let image = batch.column_by_name("image").unwrap();
        let label = batch.column_by_name("label").unwrap();
        let label = label.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let (path, bytes) = match image.as_struct_opt() {
                Some(image) => (
                    image.column(1).as_string::<i32>().value(row).to_owned(),
                    image.column(0).as_binary::<i32>().value(row),
                ),
                None => (String::new(), image.as_binary::<i32>().value(row)),
            };
            rows.push((path, bytes.to_owned(), label.value(row)));
        }
    }
    rows
}

fn decode(png: &[u8]) -> image::GrayImage {
    image::load_from_memory(png).unwrap().to_luma8()
}

#[test]
fn a_row_is_the_same_whatever_the_number_of_images_the_shards_and_the_threads() {
    for kind in [Kind::Digits, Kind::Textures] {
        let few = Options {
            kind,
            threads: 1,
            ..options(2500)
        };
        let many = Options {
            threads: 4,
            row_group_images: Some(7),
            compression: Compression::ZSTD(ZstdLevel::default()),
            n_images: 3100,
            ..few.clone()
        };
        let few = rows(&few, 10_000);
        assert_eq!(few.len(), 2500);
        assert!(few == rows(&many, 333)[..2500], "{kind:?}");
    }
}

#[test]
fn shards_are_the_same_bytes_for_any_number_of_threads() {
    let read = |threads| {
        let out = tempfile::tempdir().unwrap();
        let options = Options {
            threads,
            ..options(3000)
        };
        let shards = make(&options, out.path(), 1300).unwrap();
        shards
            .iter()
            .map(|shard| fs::read(shard).unwrap())
            .collect::<Vec<_>>()
    };
    let one = read(1);
    assert_eq!(one.len(), 3);
    assert!(one == read(2) && one == read(5));
}

#[test]
fn another_seed_gives_other_images() {
    let other = Options {
        seed: 1,
        ..options(20)
    };
    let (one, other) = (rows(&options(20), 100), rows(&other, 100));
    assert!(one.iter().zip(&other).all(|(one, other)| one.1 != other.1));
}

#[test]
fn every_class_is_there_and_has_a_name() {
    let out = tempfile::tempdir().unwrap();
    let shards = make(&options(300), out.path(), 1000).unwrap();
    let labels: std::collections::BTreeSet<i64> =
        read_rows(&shards[0]).iter().map(|row| row.2).collect();
    assert!(labels.into_iter().eq(0..10));
    let reader = SerializedFileReader::new(File::open(&shards[0]).unwrap()).unwrap();
    let pairs = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .clone();
    let pair = pairs
        .into_iter()
        .find(|pair| pair.key == hugging_face::KEY)
        .unwrap();
    let features = Features::parse(&pair.value.unwrap());
    assert_eq!(features.images().collect::<Vec<_>>(), ["image"]);
    assert_eq!(features.class_names("label").unwrap().len(), 10);
}

#[test]
fn raw_pixels_are_those_of_the_png() {
    for size in ["28x28", "9x31"] {
        let png = Options {
            sizes: sizes(size),
            ..options(40)
        };
        let raw = Options {
            encoding: Encoding::Raw,
            ..png.clone()
        };
        for (png, raw) in rows(&png, 100).iter().zip(&rows(&raw, 100)) {
            assert_eq!(decode(&png.1).into_raw(), raw.1);
            assert_eq!(png.2, raw.2);
        }
    }
}

#[test]
fn sizes_vary_between_the_two_that_were_given() {
    let options = Options {
        sizes: sizes("20x10..24x40"),
        kind: Kind::Textures,
        ..options(300)
    };
    let images: Vec<_> = rows(&options, 1000)
        .iter()
        .map(|row| decode(&row.1))
        .collect();
    let heights = images.iter().map(image::GrayImage::height);
    let widths = images.iter().map(image::GrayImage::width);
    assert_eq!((heights.clone().min(), heights.max()), (Some(20), Some(24)));
    assert_eq!((widths.clone().min(), widths.max()), (Some(10), Some(40)));
}

#[test]
fn digits_of_one_class_are_nearer_to_their_own_mean_than_to_another_s() {
    let rows = rows(&options(4000), 10_000);
    let (learned, tested) = rows.split_at(3000);
    let mut sums = vec![vec![0.0f64; 784]; 10];
    let mut counts = [0.0f64; 10];
    for (_, png, label) in learned {
        counts[*label as usize] += 1.0;
        for (sum, pixel) in sums[*label as usize].iter_mut().zip(decode(png).as_raw()) {
            *sum += f64::from(*pixel);
        }
    }
    let distance = |class: usize, pixels: &[u8]| -> f64 {
        let pairs = sums[class].iter().zip(pixels);
        pairs
            .map(|(sum, &pixel)| (sum / counts[class] - f64::from(pixel)).powi(2))
            .sum()
    };
    let right = tested.iter().filter(|(_, png, label)| {
        let pixels = decode(png).into_raw();
        let nearest =
            (0..10).min_by(|&a, &b| distance(a, &pixels).total_cmp(&distance(b, &pixels)));
        nearest == Some(*label as usize)
    });
    // On MNIST it is 82 %: these are digits that can be told apart, and not at once.
    let share = right.count() as f64 / 1000.0;
    assert!((0.6..0.98).contains(&share), "{share}");
}

#[test]
fn row_groups_and_shards_have_as_many_images_as_were_asked_for() {
    let out = tempfile::tempdir().unwrap();
    let options = Options {
        row_group_images: Some(1500),
        encoding: Encoding::Raw,
        compression: Compression::SNAPPY,
        ..options(5000)
    };
    let shards = make(&options, out.path(), 3500).unwrap();
    let groups = shards.iter().map(|shard| {
        let reader = SerializedFileReader::new(File::open(shard).unwrap()).unwrap();
        let groups = reader.metadata().row_groups().iter();
        assert_eq!(
            reader.metadata().row_group(0).column(0).compression(),
            Compression::SNAPPY
        );
        groups.map(|group| group.num_rows()).collect::<Vec<_>>()
    });
    assert_eq!(
        groups.collect::<Vec<_>>(),
        [vec![1500, 1500, 500], vec![1500]]
    );
}

#[test]
fn a_job_reads_every_form() {
    for flags in [
        "--kind digits",
        "--kind textures --size 12x12..20x30",
        "--encoding raw",
        "--encoding raw --compression zstd --size 16x16",
    ] {
        let scene = Scene::new();
        let data = scene.path("data").display().to_string();
        let mut args = vec![
            "synth",
            "--images",
            "300",
            "--shard-images",
            "200",
            "--out",
            &data,
        ];
        args.extend(flags.split(' '));
        scene.bovw(&args).ok();
        scene.run(&[]).ok();
        assert_eq!(scene.manifest()["counts"]["images"], 300, "{flags}");
    }
}

#[test]
fn raw_pixels_that_are_no_square_are_read_with_the_shape_that_the_note_names() {
    let scene = Scene::new();
    let data = scene.path("data").display().to_string();
    let made = scene.bovw(&[
        "synth",
        "--images",
        "50",
        "--size",
        "10x20",
        "--encoding",
        "raw",
        "--out",
        &data,
    ]);
    assert!(
        made.stdout.contains("input.shape = [10, 20]"),
        "{}",
        made.stdout
    );
    assert_eq!(scene.run(&[]).code, Some(1));
    scene.run(&["input.shape = [10, 20]"]).ok();
}

#[test]
fn what_cannot_be_drawn_is_refused_before_anything_is_made() {
    for (flags, reason) in [
        ("--images 0", "--images"),
        ("--images -1", "--images"),
        ("--images 9999999999999", "--images"),
        ("--images 5 --size 0x0", "no pixels"),
        ("--images 5 --size 40000x40000", "too large"),
        ("--images 5 --size 28", "no size"),
        ("--images 5 --size 9x9..8x8", "larger"),
        (
            "--images 5 --size 8x8..9x9 --encoding raw",
            "one; --size is 8x8..9x9",
        ),
        ("--images 5 --shard-images 0", "--shard-images"),
        ("--images 5 --row-group-images 0", "--row-group-images"),
        ("--images 5 --name a/b", "--name"),
    ] {
        let scene = Scene::new();
        let out = scene.path("made").display().to_string();
        let mut args = vec!["synth", "--out", &out];
        args.extend(flags.split(' '));
        let ended = scene.bovw(&args);
        assert_eq!(ended.code, Some(2), "{flags}: {}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{flags}: {}", ended.stderr);
        assert!(!scene.path("made").exists(), "{flags}");
    }
}

#[test]
fn shards_that_are_there_stay_unless_they_may_be_replaced() {
    let scene = Scene::new();
    let out = scene.path("data").display().to_string();
    let synth = |more: &[&str]| {
        let args = ["synth", "--images", "5", "--size", "8x8", "--out", &out];
        scene.bovw(&[&args, more].concat())
    };
    synth(&[]).ok();
    let before = scene.files("data");
    let refused = synth(&["--seed", "1"]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.stderr.contains("--overwrite"), "{}", refused.stderr);
    assert!(scene.files("data") == before);
    synth(&["--seed", "1", "--overwrite"]).ok();
    assert!(scene.files("data") != before);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let scene = Scene::new();
    let file = scene.file("in-the-way", "x");
    let out = file.join("data").display().to_string();
    let ended = scene.bovw(&["synth", "--images", "5", "--out", &out]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("in-the-way/data"), "{}", ended.stderr);
}

#[test]
fn an_interrupted_one_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("data");
    let interrupt = AtomicBool::new(false);
    let result = synth::make(
        &options(100_000),
        &Target::new(&out),
        &|_| interrupt.store(true, std::sync::atomic::Ordering::Relaxed),
        &interrupt,
    );
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    assert!(!out.exists());
}
