//! Law 1 and law 7: the same bytes for any number of threads, any way of reading, any memory, straight through or
//! interrupted and resumed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int32Type};
use bovw::import::{self, Target, idx, images};
use bovw::job::{Job, Overrides};
use bovw::kernel::nearest::Simd;
use bovw::passes::progress::{Event, Progress, Watch};
use bovw::passes::run::run;
use bovw::{Error, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Real MNIST, where it is at hand.
fn mnist() -> Option<PathBuf> {
    let dir = repository().join("../shared/data/mnist");
    dir.join("test-00000-of-00001.parquet")
        .exists()
        .then_some(dir)
}

/// Runs a job of the repository with some keys set; `on_event` may ask for it to stop.
fn run_job(
    config: &str,
    sets: &[String],
    dir: &Path,
    stop_at: impl Fn(&Event<'_>) -> bool + Sync,
) -> Result<()> {
    let mut sets = sets.to_vec();
    sets.push(format!("output.dir={:?}", dir.display().to_string()));
    let job = Job::load(&repository().join(config), &sets, &Overrides::default())?;
    let interrupt = AtomicBool::new(false);
    let on_event = |event: Event<'_>| {
        interrupt.fetch_or(stop_at(&event), Relaxed);
    };
    let watch = Watch {
        interrupt: &interrupt,
        progress: &Progress::default(),
        on_event: &on_event,
    };
    run(&job, false, watch).map(|_| ())
}

/// The bytes that must not differ: vocabulary, features, clusters, and what was kept to be looked at.
fn results(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let folders = ["features", "clusters"].map(|folder| dir.join(folder));
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.extend(
        [
            "vocabulary.parquet",
            "pictures/patches.parquet",
            "pictures/images.parquet",
        ]
        .map(|name| dir.join(name)),
    );
    files
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("a file");
            (
                path.strip_prefix(dir)
                    .expect("inside")
                    .display()
                    .to_string(),
                bytes,
            )
        })
        .collect()
}

fn result_of(config: &str, sets: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a folder");
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    run_job(config, &sets, dir.path(), |_| false).expect("the job runs");
    results(dir.path())
}

const DIGITS: &str = "configs/digits.toml";

fn assert_same_as_default(variants: &[&[&str]], common: &[&str]) {
    let expected = result_of(DIGITS, common);
    assert_eq!(
        expected.len(),
        13,
        "four shards, a vocabulary, two files of each of three clusterings, kept patches and images"
    );
    for variant in variants {
        let sets: Vec<&str> = common.iter().chain(*variant).copied().collect();
        let found = result_of(DIGITS, &sets);
        for (name, bytes) in &expected {
            assert!(
                found.get(name) == Some(bytes),
                "{name} differs with {variant:?}"
            );
        }
    }
}

#[test]
fn threads_change_no_byte() {
    assert_same_as_default(
        &[
            &["run.threads=1"],
            &["run.threads=2"],
            &["run.threads=3"],
            &["run.threads=8"],
        ],
        &[],
    );
}

#[test]
fn mapping_and_reading_give_the_same_bytes() {
    assert_same_as_default(
        &[
            &["run.io=\"mmap\"", "run.threads=1"],
            &["run.io=\"read\"", "run.threads=1"],
            &["run.io=\"read\"", "run.threads=3"],
        ],
        &[],
    );
}

#[test]
fn instruction_sets_change_no_byte() {
    let results_with = |simd: Simd| {
        let dir = tempfile::tempdir().expect("a folder");
        let sets = [format!("run.simd={:?}", simd.name())];
        run_job("configs/digits.toml", &sets, dir.path(), |_| false).expect("the job runs");
        results(dir.path())
    };
    let expected = results_with(Simd::Portable);
    for simd in Simd::available() {
        assert!(results_with(simd) == expected, "{simd}");
    }
}

#[test]
fn memory_changes_no_byte_even_where_the_sample_is_spilled() {
    let data = tempfile::tempdir().expect("a folder");
    import_textures(data.path());
    let run_with = |memory: &str, threads: u32| {
        let dir = tempfile::tempdir().expect("a folder");
        let sets = [
            format!(
                "input.files=[{:?}]",
                data.path().join("*.parquet").display().to_string()
            ),
            "sample.every=1".to_owned(),
            "sample.per_image=100".to_owned(),
            "vocabulary.k=8".to_owned(),
            "vocabulary.n_init=1".to_owned(),
            "vocabulary.max_iter=2".to_owned(),
            format!("run.memory={memory:?}"),
            format!("run.threads={threads}"),
        ];
        let is_spilled = AtomicBool::new(false);
        let on_event = |event: &Event<'_>| {
            let spilled = matches!(event, Event::Sampled { heap_bytes: 0, .. });
            is_spilled.fetch_or(spilled, Relaxed);
            false
        };
        run_job("configs/mnist.toml", &sets, dir.path(), on_event).expect("the job runs");
        (is_spilled.load(Relaxed), results(dir.path()))
    };
    let (is_spilled, expected) = run_with("1GiB", 2);
    assert!(!is_spilled);
    for threads in [1, 3] {
        let (is_spilled, found) = run_with("17MiB", threads);
        assert!(is_spilled, "the sample was to be too large for 17 MiB");
        assert!(found == expected, "{threads} threads");
    }
}

/// Makes shards of 4000 images whose sample takes more than a job of 16 MiB has for it.
fn import_textures(dir: &Path) {
    const N_IMAGES: u32 = 4000;
    let mut idx = vec![0, 0, 8, 3];
    for size in [N_IMAGES, 28, 28] {
        idx.extend(size.to_be_bytes());
    }
    idx.extend((0..N_IMAGES * 784).map(|i| {
        let (image, x, y) = (i / 784, i % 28, i / 28 % 28);
        // Waves of another direction and length in each image.
        let wave = (x * (image % 13) + y * (image % 7) + image) % 64;
        (wave * 4) as u8
    }));
    let images = dir.join("textures.idx");
    fs::write(&images, idx).expect("written");
    let labels = dir.join("labels.idx");
    let mut idx = vec![0, 0, 8, 1];
    idx.extend(N_IMAGES.to_be_bytes());
    idx.extend((0..N_IMAGES).map(|i| (i % 10) as u8));
    fs::write(&labels, idx).expect("written");
    let options = idx::Options {
        images,
        labels: Some(labels),
    };
    let mut target = Target::new(dir);
    target.rows_per_shard = 1500;
    idx::import(&options, &target, &import::Watch::NONE).expect("imported");
}

#[test]
fn lloyd_and_a_limited_sample_do_not_depend_on_threads_either() {
    let common = [
        "vocabulary.algorithm=\"lloyd\"",
        "sample.max_patches=10000",
        "vocabulary.n_init=2",
    ];
    assert_same_as_default(
        &[&["run.threads=1"], &["run.threads=5", "run.io=\"read\""]],
        &common,
    );
}

#[test]
fn an_interrupted_run_that_is_continued_gives_the_same_bytes() {
    let expected = result_of(DIGITS, &[]);
    let is_started = |event: &Event<'_>| matches!(event, Event::Started { .. });
    let is_sampled = |event: &Event<'_>| matches!(event, Event::Sampled { .. });
    let is_learned = |event: &Event<'_>| matches!(event, Event::Vocabulary { .. });
    let is_written = |event: &Event<'_>| matches!(event, Event::Features { .. });
    let is_clustered = |event: &Event<'_>| matches!(event, Event::Clusters { .. });
    let dir = tempfile::tempdir().expect("a folder");
    // One run after another is stopped a little later than the one before.
    let stops: [&(dyn Fn(&Event<'_>) -> bool + Sync); 6] = [
        &is_started,
        &is_sampled,
        &is_learned,
        &is_written,
        &is_clustered,
        &is_clustered,
    ];
    for (i, stop) in stops.into_iter().enumerate() {
        let sets = [
            "run.memory=\"64MiB\"".to_owned(),
            format!("run.threads={}", i + 1),
        ];
        let result = run_job(DIGITS, &sets, dir.path(), stop);
        assert!(
            matches!(result, Err(Error::Interrupted) | Ok(())),
            "{result:?}"
        );
    }
    let n_clusterings = AtomicUsize::new(0);
    let count = |event: &Event<'_>| {
        n_clusterings.fetch_add(usize::from(is_clustered(event)), Relaxed);
        false
    };
    run_job(DIGITS, &[], dir.path(), count).expect("the rest");
    assert_eq!(n_clusterings.into_inner(), 1, "the others were kept");
    assert!(results(dir.path()) == expected);
}

#[test]
fn clusters_of_a_spilled_sample_and_by_mini_batches_do_not_depend_on_threads_or_memory() {
    let data = tempfile::tempdir().expect("a folder");
    import_textures(data.path());
    let run_with = |memory: &str, threads: u32| -> Result<BTreeMap<String, Vec<u8>>> {
        let dir = tempfile::tempdir().expect("a folder");
        let files = data.path().join("*.parquet").display().to_string();
        let sets = [
            format!("input.files=[{files:?}]"),
            "sample.per_image=20".to_owned(),
            "vocabulary.k=8".to_owned(),
            "vocabulary.n_init=1".to_owned(),
            "vocabulary.max_iter=2".to_owned(),
            r#"cluster=[{of="pixels", k=[4, 9], algorithm="mini-batch", n_init=1, max_iter=9}, {of="features", k=5, n_init=2}]"#
                .to_owned(),
            format!("run.memory={memory:?}"),
            format!("run.threads={threads}"),
        ];
        run_job("configs/mnist.toml", &sets, dir.path(), |_| false)?;
        Ok(results(dir.path()))
    };
    let expected = run_with("1GiB", 2).expect("the job runs");
    // Features, vocabulary, clusters, and what is kept for pictures.
    assert_eq!(expected.len(), 3 + 1 + 6 + 2);
    for threads in [1, 3] {
        // With the least that is enough, k-means leaves so little that the 3 MB of pixels are spilled.
        let refusal = run_with("17MiB", threads)
            .expect_err("too little")
            .to_string();
        let (_, least) = refusal.split_once("give at least ").expect("a remedy");
        let least = least.split(';').next().expect("an amount");
        let found = run_with(least, threads).expect("the job runs");
        assert!(found == expected, "{threads} threads in {least}");
    }
}

#[test]
fn mnist_gives_the_same_bytes_for_1_2_3_and_8_threads_mapped_and_read() {
    let Some(mnist) = mnist() else {
        return;
    };
    let files = format!(
        "input.files=[{:?}]",
        mnist.join("test-*.parquet").display().to_string()
    );
    let common = [
        files.as_str(),
        "vocabulary.n_init=1",
        "vocabulary.max_iter=3",
    ];
    let result = |variant: &[&str]| {
        let sets: Vec<&str> = common.iter().chain(variant).copied().collect();
        result_of("configs/mnist.toml", &sets)
    };
    let expected = result(&["run.threads=1"]);
    for variant in [
        ["run.threads=2", "run.io=\"read\"", "run.memory=\"32MiB\""],
        ["run.threads=3", "run.io=\"mmap\"", "run.memory=\"1GiB\""],
        ["run.threads=8", "run.io=\"auto\"", "run.memory=\"32MiB\""],
    ] {
        assert!(result(&variant) == expected, "{variant:?}");
    }
}

#[test]
fn large_images_are_searched_in_strips_and_counted_whole() {
    // More patches than a strip, and an image of a size that comes twice with another between.
    let data = tempfile::tempdir().expect("a folder");
    let paint = |name: &str, height: u32, width: u32| {
        let pixels = (0..height * width).map(|i| ((i * i) >> 7) as u8).collect();
        let image = image::GrayImage::from_raw(width, height, pixels).expect("a picture");
        image.save(data.path().join(name)).expect("saved");
    };
    paint("a.png", 150, 130);
    paint("b.png", 20, 31);
    paint("c.png", 150, 130);
    let options = images::Options::new(vec![data.path().to_owned()]);
    images::import(&options, &Target::new(data.path()), &import::Watch::NONE).expect("imported");
    let job = data.path().join("job.toml");
    fs::write(
        &job,
        "input.files = ['*.parquet']\npatches.size = [3, 5]\nvocabulary.k = 7\noutput.dir = 'out'\n",
    )
    .expect("written");
    let run_with = |threads: u32| {
        let dir = tempfile::tempdir().expect("a folder");
        let sets = [format!("run.threads={threads}")];
        run_job(&job.display().to_string(), &sets, dir.path(), |_| false).expect("the job runs");
        results(dir.path())
    };
    let expected = run_with(1);
    assert!(run_with(3) == expected);
    let features = &expected["features/images-00000-of-00001.parquet"];
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(features.clone()))
        .expect("Parquet")
        .build()
        .expect("a reader");
    for batch in reader {
        let batch = batch.expect("a batch");
        let n_patches = batch["n_patches"].as_primitive::<Int32Type>();
        assert_eq!(n_patches.values(), &[148 * 126, 18 * 27, 148 * 126]);
        let vectors = batch["features"].as_fixed_size_list();
        let sums: Vec<i32> = (0..3)
            .map(|row| {
                let vector = vectors.value(row);
                let values = vector.as_primitive::<Float32Type>().values().to_vec();
                values.iter().map(|&count| count as i32).sum()
            })
            .collect();
        assert_eq!(sums, n_patches.values().to_vec());
        assert_eq!(vectors.value(0).as_ref(), vectors.value(2).as_ref());
    }
}
