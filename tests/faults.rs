//! What goes wrong while a job runs, in each stage and at each batch: the run ends soon and says why, no thread stays behind,
//! what has its final name is whole, and the next run ends with the bytes of an undisturbed one.
//!
//! Nothing in the shipped program knows of these faults: they are in the files it reads, the folders it writes to, the
//! callbacks it is given and what the system lets it have. `cargo test` tries some of them; with `BOVW_FAULTS=all` in its
//! environment every batch and 1 to 8 threads are tried. Each test prints a line that `scripts/check_faults` makes a table of.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bovw::flow::{Stats, THREAD_PREFIX, guarded};
use bovw::job::{Job, Overrides};
use bovw::kernel::grid::PatchShape;
use bovw::kernel::image::PixelsRef;
use bovw::kernel::kmeans::checkpoint::Checkpoint;
use bovw::kernel::kmeans::{Algorithm, Init, KMeansParams};
use bovw::kernel::nearest::Simd;
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::sample::Record;
use bovw::kernel::vocabulary::Preparation;
use bovw::passes::progress::{Event, Progress, Watch};
use bovw::passes::run::run;
use bovw::shard::spill::{Sample, SampleWriter};
use bovw::stages::kmeans;
use bovw::{Error, Result};
use common::{Scene, Shard, image_structs, pictures, pngs};
use parquet::file::reader::{FileReader, SerializedFileReader};

/// Far longer than a run goes on after a fault, even on a busy machine; how long it does is in the table.
const MOST_SECONDS: f64 = 20.0;

/// Shards of a scene, rows of a shard, rows of a row group: a batch is a row group here.
const N_SHARDS: u32 = 3;
const N_ROWS: u32 = 12;
const ROWS_IN_GROUP: u32 = 4;

/// A job with every stage.
const SETS: [&str; 3] = [
    "vocabulary.k = 5",
    "cluster = [{of = 'features', k = 3, n_init = 1}]",
    "run.memory = '64MiB'",
];

/// Sampling sees the first image alone, so that all others are met by featurizing first.
const FIRST_ONLY: &str = "sample.every = 36";

/// Threads are counted by what the process has, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_full() -> bool {
    std::env::var("BOVW_FAULTS").is_ok_and(|form| form == "all")
}

fn threads() -> Vec<usize> {
    if is_full() {
        (1..=8).collect()
    } else {
        vec![1, 3]
    }
}

/// All of a range, or about four of it, the last among them.
fn some(range: Range<u32>) -> Vec<u32> {
    let step = if is_full() {
        1
    } else {
        (range.len() as u32 / 4).max(1)
    };
    let last = range.end - 1;
    range.filter(|at| at % step == 0 || *at == last).collect()
}

/// What the table has of a kind of fault.
struct Row {
    stage: &'static str,
    fault: &'static str,
    n_runs: usize,
    slowest: Duration,
}

impl Row {
    fn new(stage: &'static str, fault: &'static str) -> Row {
        Row {
            stage,
            fault,
            n_runs: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Runs something that meets the fault, and asserts that it ends soon and leaves no thread.
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        assert!(
            elapsed.as_secs_f64() < MOST_SECONDS,
            "{}, {}: {elapsed:?}",
            self.stage,
            self.fault
        );
        assert_eq!(threads_of_ours(), 0, "{}, {}", self.stage, self.fault);
        self.n_runs += 1;
        self.slowest = self.slowest.max(elapsed);
        result
    }
}

impl Drop for Row {
    #[expect(
        clippy::print_stdout,
        reason = "scripts/check_faults makes a table of it"
    )]
    fn drop(&mut self) {
        let Row {
            stage,
            fault,
            n_runs,
            slowest,
        } = self;
        println!(
            "faults|{stage}|{fault}|{}|{n_runs}|{}",
            if is_full() { "1 to 8" } else { "1, 3" },
            slowest.as_millis()
        );
    }
}

/// Threads that a run has started and that still are. One that has ended may be listed for a moment.
fn threads_of_ours() -> usize {
    let count = || {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux");
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with(THREAD_PREFIX)).count()
    };
    let start = Instant::now();
    let mut n = count();
    while n > 0 && start.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(1));
        n = count();
    }
    n
}

fn shard(number: u32) -> Shard {
    let all = pictures(N_SHARDS * N_ROWS, 8, 8);
    let own = &all[(number * N_ROWS) as usize..][..N_ROWS as usize];
    Shard::hugging_face(own).row_groups_of(ROWS_IN_GROUP as usize)
}

fn scene() -> Scene {
    (0..N_SHARDS).fold(Scene::new(), |scene, number| {
        scene.and(&format!("data/{number}.parquet"), &shard(number))
    })
}

/// A run in this process; `on_event` and `interrupt` are the caller's.
fn run_here(
    scene: &Scene,
    threads: usize,
    sets: &[&str],
    interrupt: &AtomicBool,
    progress: &Progress,
    on_event: &(dyn Fn(Event<'_>) + Sync),
) -> Result<()> {
    let sets: Vec<String> = SETS
        .iter()
        .chain(sets)
        .map(|set| (*set).to_owned())
        .collect();
    let overrides = Overrides {
        threads: Some(threads as u32),
        ..Overrides::default()
    };
    let job = Job::load(&scene.path("job.toml"), &sets, &overrides)?;
    let watch = Watch {
        interrupt,
        progress,
        on_event,
    };
    run(&job, false, watch).map(|_| ())
}

fn run_quietly(scene: &Scene, threads: usize, sets: &[&str]) -> Result<()> {
    let (interrupt, progress) = (AtomicBool::new(false), Progress::default());
    run_here(scene, threads, sets, &interrupt, &progress, &|_| {})
}

/// What an undisturbed run leaves.
fn expected(sets: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let scene = scene();
    run_quietly(&scene, 2, sets).expect("undisturbed");
    let results = scene.results("out");
    assert_eq!(results.len(), N_SHARDS as usize + 3);
    results
}

/// What has its final name is whole, and nothing else was left but what is hidden.
#[track_caller]
fn assert_whole(scene: &Scene, expected: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in scene.results("out") {
        if !name.contains(".bovw-tmp-") {
            assert!(expected.get(&name) == Some(&bytes), "{name} is not whole");
        }
    }
    assert!(!scene.path("out/manifest.json").exists());
}

/// The next run makes what is missing, and cleans up.
#[track_caller]
fn assert_resumed(scene: &Scene, sets: &[&str], expected: &BTreeMap<String, Vec<u8>>) {
    run_quietly(scene, 2, sets).expect("resumed");
    assert!(scene.results("out") == *expected);
    let mut names = scene.files("out").into_keys();
    assert!(names.all(|name| !name.contains(".bovw-tmp-")));
}

fn start_over(scene: &Scene) {
    // There may be nothing yet.
    let _ = fs::remove_dir_all(scene.path("out"));
}

/// A bad image at each row, in a pass that meets it first.
fn bad_images(stage: &'static str, sets: &[&str], rows: Range<u32>) {
    let _alone = alone();
    let expected = expected(sets);
    let mut row = Row::new(stage, "a bad image at each row");
    let scene = scene();
    for at in some(rows) {
        let (number, in_shard) = (at / N_ROWS, at % N_ROWS);
        let own = pictures(N_SHARDS * N_ROWS, 8, 8);
        let mut images = pngs(&own[(number * N_ROWS) as usize..][..N_ROWS as usize]);
        images[in_shard as usize] = Some(b"no image".to_vec());
        let file = scene.path(&format!("data/{number}.parquet"));
        Shard::new()
            .column("image", image_structs(images))
            .row_groups_of(ROWS_IN_GROUP as usize)
            .write(&file);
        for threads in threads() {
            start_over(&scene);
            let error = row.measure(|| run_quietly(&scene, threads, sets));
            let error = error.expect_err("a bad image");
            let place = error.place().expect("a place");
            assert_eq!(error.exit_code(), 1);
            assert_eq!((&place.file, place.row), (&file, Some(u64::from(in_shard))));
            assert_whole(&scene, &expected);
        }
        shard(number).write(&file);
    }
    start_over(&scene);
    assert_resumed(&scene, sets, &expected);
}

#[test]
fn a_bad_image_at_any_row_ends_sampling() {
    bad_images("decode, learning", &[], 0..N_SHARDS * N_ROWS);
}

#[test]
fn a_bad_image_at_any_row_ends_featurizing() {
    bad_images("decode, featurizing", &[FIRST_ONLY], 1..N_SHARDS * N_ROWS);
}

/// Makes the page of a row group unreadable: what stands there is no page header.
fn damage(file: &Path, row_group: usize) {
    let reader = SerializedFileReader::new(fs::File::open(file).expect("there")).expect("Parquet");
    let columns = reader.metadata().row_group(row_group).columns().iter();
    let mut bytes = fs::read(file).expect("there");
    for column in columns {
        let (start, length) = column.byte_range();
        bytes[start as usize..(start + length) as usize].fill(0xff);
    }
    fs::write(file, bytes).expect("written");
}

#[test]
fn a_damaged_page_in_any_row_group_ends_the_run() {
    let _alone = alone();
    let expected = expected(&[FIRST_ONLY]);
    let mut row = Row::new("source", "a damaged page in each row group");
    let groups_in_shard = N_ROWS / ROWS_IN_GROUP;
    let scene = scene();
    for group in some(1..N_SHARDS * groups_in_shard) {
        let number = group / groups_in_shard;
        let file = scene.path(&format!("data/{number}.parquet"));
        damage(&file, (group % groups_in_shard) as usize);
        for threads in threads() {
            start_over(&scene);
            let error = row.measure(|| run_quietly(&scene, threads, &[FIRST_ONLY]));
            let error = error.expect_err("a damaged page");
            assert_eq!(error.exit_code(), 1, "{error}");
            assert_eq!(error.place().map(|place| &place.file), Some(&file));
            assert_whole(&scene, &expected);
        }
        shard(number).write(&file);
    }
}

#[test]
fn a_folder_that_goes_away_after_any_file_ends_the_run() {
    let _alone = alone();
    let mut row = Row::new("sink", "its folder goes away after each file");
    for n_files in some(0..N_SHARDS - 1) {
        for threads in threads() {
            let scene = scene();
            let features = scene.path("out/features");
            let n = AtomicUsize::new(0);
            let on_event = |event: Event<'_>| {
                if matches!(event, Event::Features { .. })
                    && n.fetch_add(1, SeqCst) == n_files as usize
                {
                    fs::remove_dir_all(&features).expect("removed");
                    fs::write(&features, "in the way").expect("written");
                }
            };
            let (interrupt, progress) = (AtomicBool::new(false), Progress::default());
            let error =
                row.measure(|| run_here(&scene, threads, &[], &interrupt, &progress, &on_event));
            assert!(matches!(error, Err(Error::Io { .. })), "{error:?}");
            assert!(!scene.path("out/manifest.json").exists());
        }
    }
}

#[test]
fn a_callback_that_panics_at_any_event_neither_hangs_the_run_nor_spoils_it() {
    let _alone = alone();
    let expected = expected(&[]);
    let mut row = Row::new("callbacks", "a panic at each event");
    // Started, sampled, vocabulary, features, clusters.
    let n_events = 3 + N_SHARDS + 1;
    for threads in threads() {
        for at in some(0..n_events) {
            let scene = scene();
            let n = AtomicUsize::new(0);
            let on_event = |_: Event<'_>| {
                if n.fetch_add(1, SeqCst) == at as usize {
                    resume_unwind(Box::new("in the callback"));
                }
            };
            let (interrupt, progress) = (AtomicBool::new(false), Progress::default());
            let result = row.measure(|| {
                catch_unwind(AssertUnwindSafe(|| {
                    run_here(&scene, threads, &[], &interrupt, &progress, &on_event)
                }))
            });
            assert!(!matches!(result, Ok(Ok(()))), "event {at}");
            assert_whole(&scene, &expected);
            assert_resumed(&scene, &[], &expected);
        }
    }
}

/// Interrupts a run once a stage has done so many images.
fn interrupt_at(
    scene: &Scene,
    threads: usize,
    pass: fn(&Progress) -> &Stats,
    at: (usize, u64),
) -> Result<()> {
    let (interrupt, progress) = (AtomicBool::new(false), Progress::default());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stage = &pass(&progress).stages[at.0];
            while stage.done() < at.1 && !is_over.load(SeqCst) {
                std::hint::spin_loop();
            }
            interrupt.store(true, SeqCst);
        });
        let result = run_here(scene, threads, &[], &interrupt, &progress, &|_| {});
        is_over.store(true, SeqCst);
        result
    })
}

#[test]
fn an_interruption_at_any_batch_of_any_stage_ends_the_run_and_loses_nothing() {
    let _alone = alone();
    let expected = expected(&[]);
    let mut row = Row::new("every stage", "an interruption at each batch");
    let passes: [fn(&Progress) -> &Stats; 4] = [
        |all| &all.learn,
        |all| &all.featurize,
        |all| &all.whole,
        |all| &all.label,
    ];
    for threads in threads() {
        for pass in passes {
            for stage in 0..4 {
                let scene = scene();
                // One run goes on where the one before was stopped.
                for batch in some(0..N_SHARDS * N_ROWS / ROWS_IN_GROUP) {
                    let n_images = u64::from(batch * ROWS_IN_GROUP);
                    let result =
                        row.measure(|| interrupt_at(&scene, threads, pass, (stage, n_images)));
                    match result {
                        Ok(()) => break,
                        Err(Error::Interrupted) => assert_whole(&scene, &expected),
                        Err(error) => panic!("{error}"),
                    }
                }
                assert_resumed(&scene, &[], &expected);
            }
        }
    }
}

const PATCH: PatchShape = PatchShape {
    height: 2,
    width: 2,
    channels: 1,
};

/// A sample of 60 images of 8 by 8 pixels.
fn sample(dir: &Path) -> Sample {
    let mut writer = SampleWriter::new(PATCH, u64::MAX, dir, 0);
    let offsets: Vec<u32> = (0..7).flat_map(|row| row * 8..row * 8 + 7).collect();
    for (image, picture) in (0..).zip(pictures(60, 8, 8)) {
        let pixels = PixelsRef::U8(picture.as_raw());
        let record = Record {
            image,
            scaling: Scaling::of(Normalize::Image, pixels),
            row_stride: 8,
            offsets: &offsets,
            pixels,
        };
        writer.push(&record).expect("pushed");
    }
    writer.finish().expect("finished")
}

/// Trains; `stop` is asked again and again, on all threads of the pool.
fn train(
    sample: &Sample,
    threads: usize,
    algorithm: Algorithm,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let params = KMeansParams {
        spherical: false,
        k: 12,
        algorithm,
        init: Init::PlusPlus,
        n_init: 2,
        max_iter: 30,
        batch_size: None,
        tol: 1e-5,
        seed: 0,
    };
    let preparation = Preparation {
        patch: PATCH,
        normalize: Normalize::Image,
        whiten: None,
    };
    let watch = kmeans::Watch {
        progress: &|_| {},
        stop,
        ..kmeans::Watch::SILENT
    };
    guarded("k-means", None, || {
        let view = sample.view();
        kmeans::learn(
            &view,
            preparation,
            &params,
            threads,
            Simd::detect(),
            Checkpoint::default(),
            &watch,
        )
        .map(|_| ())
    })
}

#[test]
fn a_panic_or_an_interruption_anywhere_in_kmeans_ends_it() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a folder");
    let sample = sample(dir.path());
    let mut panics = Row::new("k-means", "a panic on a thread of its pool");
    let mut interruptions = Row::new("k-means", "an interruption at each question");
    for algorithm in [Algorithm::Lloyd, Algorithm::MiniBatch] {
        let n_asked = AtomicUsize::new(0);
        let count = || n_asked.fetch_add(1, SeqCst) == usize::MAX;
        train(&sample, 2, algorithm, &count).expect("undisturbed");
        for threads in threads() {
            for at in some(0..n_asked.load(SeqCst) as u32) {
                let n = AtomicUsize::new(0);
                let is_at = || n.fetch_add(1, SeqCst) == at as usize;
                let panic = || match is_at() {
                    true => resume_unwind(Box::new("asked")),
                    false => false,
                };
                let result = panics.measure(|| train(&sample, threads, algorithm, &panic));
                assert!(matches!(result, Err(Error::Panicked { .. })), "{result:?}");
                n.store(0, SeqCst);
                let result = interruptions.measure(|| train(&sample, threads, algorithm, &is_at));
                assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
            }
        }
    }
}

/// Runs the command under a limit of the shell's `ulimit`; its exit status and what it said.
fn run_limited(scene: &Scene, limit: &str, threads: usize) -> (Option<i32>, String) {
    // What is over a limit of size is an error for the command, not its end.
    let script = format!("trap '' XFSZ; ulimit {limit}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_bovw")])
        .args(scene.run_args(&SETS))
        .args(["--threads", &threads.to_string(), "--progress", "none"])
        // So large that a limit of address space is a limit of threads.
        .env("RUST_MIN_STACK", STACK_BYTES.to_string())
        .output()
        .expect("a shell");
    (output.status.code(), scene.without_dir(&output.stderr))
}

const STACK_BYTES: u64 = 1 << 30;

#[test]
fn files_that_may_not_grow_end_the_run_wherever_they_are_written() {
    let _alone = alone();
    let expected = expected(&[]);
    let mut row = Row::new("every writer", "files may not grow beyond a size");
    for threads in threads() {
        let scene = scene();
        // In blocks of 512 bytes, or 1024.
        for n_blocks in some(0..16) {
            let limit = format!("-f {n_blocks}");
            let (code, stderr) = row.measure(|| run_limited(&scene, &limit, threads));
            if code == Some(0) {
                continue;
            }
            assert_eq!(code, Some(1), "{n_blocks} blocks: {stderr}");
            assert!(stderr.contains("File too large"), "{stderr}");
            assert_whole(&scene, &expected);
        }
        assert_resumed(&scene, &[], &expected);
    }
}

#[test]
fn where_the_system_starts_no_more_threads_the_run_says_so_and_ends() {
    let _alone = alone();
    let expected = expected(&[]);
    let mut row = Row::new("every stage", "the system refuses each thread in turn");
    let most = 24;
    for n_threads in some(0..most) {
        let scene = scene();
        let limit_kib = (STACK_BYTES + (8 << 20)) / 1024 * u64::from(n_threads) + (600 << 10);
        let limit = format!("-v {limit_kib}");
        let (code, stderr) = row.measure(|| run_limited(&scene, &limit, 8));
        if code == Some(0) {
            continue;
        }
        assert_eq!(code, Some(1), "{n_threads} threads: {stderr}");
        assert!(stderr.contains("cannot start a thread"), "{stderr}");
        assert!(!stderr.contains("internal error"), "{stderr}");
        assert_whole(&scene, &expected);
        assert_resumed(&scene, &[], &expected);
    }
}
