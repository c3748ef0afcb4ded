//! Law 1 and law 7: the same bytes for any number of threads, any way of reading, any memory, straight through or
//! interrupted and resumed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bovw::job::{Job, Overrides};
use bovw::passes::progress::{Event, Progress, Watch};
use bovw::passes::run::run;
use bovw::{Error, Result};

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

/// The bytes that must not differ: vocabulary and features.
fn results(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let features = fs::read_dir(dir.join("features")).expect("features");
    let mut files: Vec<PathBuf> = features
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.push(dir.join("vocabulary.parquet"));
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
    assert_eq!(expected.len(), 5, "four shards and a vocabulary");
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
fn memory_changes_no_byte_even_where_the_sample_is_spilled() {
    // With the larger k little is left for the sample, which goes to a mapped file.
    let common = ["vocabulary.k=64", "vocabulary.n_init=1"];
    assert_same_as_default(
        &[
            &["run.memory=\"64MiB\""],
            &["run.memory=\"64MiB\"", "run.threads=1"],
            &["run.memory=\"4GiB\"", "run.threads=3"],
        ],
        &common,
    );
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
    let dir = tempfile::tempdir().expect("a folder");
    // One run after another is stopped a little later than the one before.
    let stops: [&(dyn Fn(&Event<'_>) -> bool + Sync); 4] =
        [&is_started, &is_sampled, &is_learned, &is_written];
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
    run_job(DIGITS, &[], dir.path(), |_| false).expect("the rest");
    assert!(results(dir.path()) == expected);
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
        ["run.threads=2", "run.io=\"read\"", "run.memory=\"64MiB\""],
        ["run.threads=3", "run.io=\"mmap\"", "run.memory=\"1GiB\""],
        ["run.threads=8", "run.io=\"auto\"", "run.memory=\"64MiB\""],
    ] {
        assert!(result(&variant) == expected, "{variant:?}");
    }
}
