//! Sampling and k-means that are interrupted go on where they were, to the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use bovw::job::{Job, Overrides};
use bovw::passes::progress::{Phase, Progress, Watch};
use bovw::passes::run::run;
use bovw::{Error, Result};

/// Digits, learned and clustered, with a checkpoint at every point that can be gone on from.
fn job(sets: &[&str], dir: &Path) -> Job {
    let mut all = vec![
        format!("output.dir={:?}", dir.display().to_string()),
        "run.checkpoint_seconds=0".to_owned(),
        "run.memory=\"64MiB\"".to_owned(),
        "cluster=[{of=\"pixels\",k=6,n_init=2},{of=\"features\",k=4,n_init=1}]".to_owned(),
    ];
    all.extend(sets.iter().map(|set| (*set).to_owned()));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/digits.toml");
    Job::load(&config, &all, &Overrides::default()).expect("a job")
}

/// Runs until `is_enough` says so of the counters.
fn run_until(
    job: &Job,
    progress: &Progress,
    is_enough: impl Fn(&Progress) -> bool + Sync,
) -> Result<()> {
    let (interrupt, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let watch = Watch {
        interrupt: &interrupt,
        progress,
        on_event: &|_| {},
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) && !is_enough(progress) {
                thread::sleep(Duration::from_micros(100));
            }
            interrupt.store(true, Relaxed);
        });
        let result = run(job, false, watch);
        is_over.store(true, Relaxed);
        result.map(|_| ())
    })
}

/// Vocabulary, features and clusters.
fn results(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = Vec::new();
    for folder in ["", "features", "clusters"] {
        let entries = fs::read_dir(dir.join(folder)).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "parquet")));
    }
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file");
        (path.strip_prefix(dir).expect("inside").to_owned(), bytes)
    };
    files.into_iter().map(read).collect()
}

fn undisturbed(sets: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a folder");
    // Without checkpoints: a later setting of a key wins.
    let sets = [sets, &["run.checkpoint_seconds=1000"]].concat();
    run_until(&job(&sets, dir.path()), &Progress::default(), |_| false).expect("the job runs");
    assert_no_checkpoint(dir.path());
    results(dir.path())
}

/// Nothing hidden is left but the lock.
fn assert_no_checkpoint(dir: &Path) {
    let entries = fs::read_dir(dir).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let hidden: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with(".bovw"))
        .collect();
    assert_eq!(hidden, [".bovw-lock"]);
}

/// Jobs whose samples and trainings differ in kind.
const JOBS: [&[&str]; 5] = [
    &[],
    &["sample.max_patches=9000", "vocabulary.algorithm=\"lloyd\""],
    &["sample.max_patches=700", "vocabulary.k=20"],
    &["vocabulary.algorithm=\"lloyd\"", "run.threads=1"],
    &["patches.size=[[3,3],[2,4]]", "vocabulary.k=12"],
];

#[test]
fn sampling_that_is_interrupted_again_and_again_never_samples_a_shard_twice() {
    for sets in JOBS {
        let expected = undisturbed(sets);
        let dir = tempfile::tempdir().expect("a folder");
        let job = job(sets, dir.path());
        let (mut attempts, mut n_sampled) = (0, 0);
        loop {
            attempts += 1;
            let progress = Progress::default();
            let gathered = |progress: &Progress| progress.learn.stages[3].done();
            let result = run_until(&job, &progress, |progress| {
                // More than a shard, or nothing could be kept.
                gathered(progress) > 450 && progress.phase() == Phase::Sampling
            });
            n_sampled += gathered(&progress);
            match result {
                Ok(()) => break,
                Err(Error::Interrupted) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(attempts < 100, "nothing is kept of what was sampled");
        }
        // 1797 images in shards of 450, for each size; a shard that was not whole is sampled again.
        let n_images = 1797 * job.preparations.len() as u64;
        assert!(n_sampled <= n_images + attempts * 450, "{n_sampled} images");
        assert!(results(dir.path()) == expected, "{sets:?}");
        assert_no_checkpoint(dir.path());
    }
}

#[test]
fn k_means_that_is_interrupted_again_and_again_gives_the_same_bytes() {
    for sets in JOBS {
        let expected = undisturbed(sets);
        let dir = tempfile::tempdir().expect("a folder");
        let job = job(sets, dir.path());
        let mut kept = 0;
        for attempt in 1.. {
            let progress = Progress::default();
            let notes = std::sync::Mutex::new(Vec::<String>::new());
            // Each attempt may take more steps than the one before.
            let result = run_until(&job, &progress, |progress| {
                let mut notes = notes.lock().expect("not poisoned");
                let note = progress.note();
                if notes.last() != Some(&note) {
                    notes.push(note);
                }
                notes.len() > 6 * attempt
            });
            if result.is_ok() {
                break;
            }
            assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
            kept += usize::from(dir.path().join(".bovw-training").exists());
        }
        assert!(kept > 0, "training was never interrupted");
        assert!(results(dir.path()) == expected, "{sets:?}");
        assert_no_checkpoint(dir.path());
    }
}

#[test]
fn a_run_goes_on_with_the_vocabularies_that_are_written() {
    use bovw::passes::progress::Event;
    use std::sync::Mutex;
    let sets = [JOBS[4], &["features.weighting=\"tf-idf\""]].concat();
    let expected = undisturbed(&sets);
    let dir = tempfile::tempdir().expect("a folder");
    let job = job(&sets, dir.path());
    let written = |is_first: bool| {
        let (interrupt, written) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let on_event = |event: Event<'_>| {
            if let Event::Vocabulary { path, .. } = event {
                interrupt.store(is_first, Relaxed);
                written.lock().expect("not poisoned").push(path.to_owned());
            }
        };
        let watch = Watch {
            interrupt: &interrupt,
            progress: &Progress::default(),
            on_event: &on_event,
        };
        let result = run(&job, false, watch).map(|_| ());
        (result, written.into_inner().expect("not poisoned"))
    };
    let (stopped, first) = written(true);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert_eq!(first, ["vocabulary-3x3.parquet"]);
    let (ended, second) = written(false);
    ended.expect("the rest");
    assert_eq!(second, ["vocabulary-2x4.parquet"]);
    assert!(results(dir.path()) == expected);
    // Of a vocabulary that is lost, those before it stay.
    fs::remove_file(dir.path().join("vocabulary-2x4.parquet")).expect("removed");
    let (ended, third) = written(false);
    ended.expect("the rest");
    assert_eq!(third, ["vocabulary-2x4.parquet"]);
    assert!(results(dir.path()) == expected);
    assert_no_checkpoint(dir.path());
}

#[test]
fn checkpoints_that_are_damaged_or_lost_cost_time_and_no_byte() {
    type Harm<'a> = &'a dyn Fn(&Path);
    let sets = JOBS[3];
    let expected = undisturbed(sets);
    let spoil = |path: &Path| {
        let mut bytes = fs::read(path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(path, bytes).expect("written");
    };
    let lose = |path: &Path| fs::remove_file(path).expect("removed");
    let cut = |path: &Path| {
        let bytes = fs::read(path).expect("a file");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
    };
    let harms: [(&str, Harm<'_>); 6] = [
        (".bovw-training", &spoil),
        (".bovw-training", &lose),
        (".bovw-sampling", &spoil),
        (".bovw-sampling", &lose),
        (".bovw-sample-0.words", &cut),
        (".bovw-sample-0.index", &lose),
    ];
    for (file, harm) in harms {
        let dir = tempfile::tempdir().expect("a folder");
        let job = job(sets, dir.path());
        let result = run_until(&job, &Progress::default(), |progress| {
            progress.kmeans.done() > 0 && progress.phase() == Phase::Clustering
        });
        assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
        harm(&dir.path().join(file));
        run_until(&job, &Progress::default(), |_| false).expect("the rest");
        assert!(results(dir.path()) == expected, "{file}");
    }
}

#[test]
fn a_fresh_start_takes_nothing_from_a_checkpoint() {
    let dir = tempfile::tempdir().expect("a folder");
    let job = job(JOBS[0], dir.path());
    let stopped = run_until(&job, &Progress::default(), |progress| {
        progress.phase() == Phase::Clustering
    });
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let (interrupt, progress) = (AtomicBool::new(true), Progress::default());
    let watch = Watch {
        interrupt: &interrupt,
        progress: &progress,
        on_event: &|_| {},
    };
    assert!(matches!(run(&job, true, watch), Err(Error::Interrupted)));
    assert!(!dir.path().join(".bovw-training").exists());
    assert!(!dir.path().join(".bovw-sampling").exists());
}
