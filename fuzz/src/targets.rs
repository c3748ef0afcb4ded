//! What is fuzzed: each kind of input that bovw takes, given to it the way that a run or a command gives it.
//!
//! Shared by the fuzz targets, by `tests/fuzz_corpus.rs` and by `examples/mutations.rs`. A target may return or refuse; it
//! panics where bovw panics, where an error does not name the file, and where what was read breaks a promise.

use std::fs;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use arrow::array::BinaryArray;
use bovw::error::{Error, Result};
use bovw::guest::{Featurizer, Learner, VectorLayout, Work, stream};
use bovw::import::{self, Target};
use bovw::job::{Color, Io, Job, JobFile, OnBadImage, VocabularySource, resolved};
use bovw::kernel::grid::PatchShape;
use bovw::kernel::normalize::Normalize;
use bovw::kernel::vocabulary::{Preparation, Vocabulary};
use bovw::passes::checkpoint::Keeper;
use bovw::passes::plan::Plan;
use bovw::passes::progress::{Progress, Watch};
use bovw::passes::run_dir::{Found, RunDir};
use bovw::passes::{evaluate, featurize as features_pass, learn, report, run};
use bovw::shard::columns::BinaryRows;
use bovw::shard::images::ImageRows;
use bovw::shard::manifest::{FeaturesFile, MANIFEST_FILE, STATE_FILE};
use bovw::shard::pixels::Reading;
use bovw::shard::read::{Shard, Wanted};
use bovw::shard::{centroids, detect, examples, timeline, vectors, vocabulary};
use bovw::stages::rows::{RowsParams, RowsSource};
use bovw::stages::sink::SinkFiles;
use bovw::stages::source::Stretch;

/// What takes an input, in a folder of its own.
pub type Entry = fn(&Path, &[u8]);

/// Every target's name and function.
pub const TARGETS: [(&str, Entry); 12] = [
    ("job", job),
    ("shard", shard),
    ("image", image),
    ("idx", idx),
    ("csv", csv),
    ("vocabulary", vocabulary_file),
    ("manifest", manifest),
    ("report", drawn),
    ("tables", tables),
    ("evaluate", evaluate_file),
    ("stream", stream_of_images),
    ("sketch", sketch),
];

/// Gives one input to the target of a name. `dir` is a folder to work in; what is made once is kept there.
pub fn give(name: &str, dir: &Path, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(other, _)| *other == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(dir, bytes);
}

/// Whether a panic is in bovw's own code, or in a target, rather than in a library that they call.
pub fn is_ours(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|location| {
        let file = location.file();
        !["/registry/", "/rustc/", "library/"]
            .iter()
            .any(|part| file.contains(part))
    })
}

/// The job that shards are given to. Limits are small, so that a wrong size soon shows.
const JOB: &str = include_str!("../job.toml");

/// A small good shard, for the targets whose input is something else.
const GOOD_SHARD: &[u8] = include_bytes!("../corpus/shard/struct-png-zstd.parquet");

/// A line of a job input that begins a `--set` of its own.
const SET_MARK: &str = "\n--set ";

/// A job file; after it, each on a line that starts with `--set `, what is set on the command line.
pub fn job(dir: &Path, bytes: &[u8]) {
    let mut parts = bytes_split(bytes, SET_MARK.as_bytes()).into_iter();
    let path = put(dir, "job.toml", parts.next().unwrap_or_default());
    let sets: Vec<String> = parts
        .map(|set| String::from_utf8_lossy(set).into_owned())
        .collect();
    let checked = JobFile::load(&path, &sets).and_then(|file| Job::check(file, dir));
    let job = match checked {
        Ok(job) => job,
        // A key that cannot work is named instead of the file; so is the `--set` that is wrong.
        Err(Error::Setting { .. }) => return,
        Err(error) if !sets.is_empty() && error.to_string().contains("--set ") => return,
        Err(error) => return refused(&error, &path),
    };
    let text = resolved::to_toml(&job).expect("a job can be written");
    let again = JobFile::parse(&path, &text, &[]).and_then(|file| Job::check(file, dir));
    let again = again.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(
        resolved::identity(&again),
        resolved::identity(&job),
        "{text}"
    );
}

/// A shard, through plan, learning and featurizing. How it is read and what becomes of bad images depends on its length.
pub fn shard(dir: &Path, bytes: &[u8]) {
    let choice = bytes.len();
    let on_bad_image = [OnBadImage::Zero, OnBadImage::Drop, OnBadImage::Fail][choice / 2 % 3];
    let is_kept = choice / 6 % 2 == 1;
    // What was written is held against what was promised inside.
    let _ = shard_read(dir, bytes, on_bad_image, is_kept);
}

/// [`shard`], with a choice of what becomes of bad images, and whether its first columns are kept; and how it ended.
pub fn shard_read(dir: &Path, bytes: &[u8], on_bad_image: OnBadImage, is_kept: bool) -> Result<()> {
    let path = put(dir, "data/input.parquet", bytes);
    let io = [Io::Read, Io::Mmap][bytes.len() % 2];
    let result = look_at(&path, io).and_then(|columns| {
        let mut job = job_in(dir);
        job.run.io = io;
        job.input.on_bad_image = on_bad_image;
        if is_kept {
            job.input.keep = columns;
        }
        run_shard(&job)
    });
    if let Err(error) = &result {
        refused(error, &path);
    }
    result
}

/// Columns that are kept at most.
const MAX_KEPT: usize = 4;

/// What `bovw inspect` and the report read of a shard; names of its columns.
fn look_at(path: &Path, io: Io) -> Result<Vec<String>> {
    let shard = Shard::open(path, io)?;
    let names: Vec<String> = shard
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    for name in &names {
        shard.storage(name);
    }
    let mut image = detect::image_column(&shard, None, None)?;
    // As the job has it: in a run, larger images wait for a permit that they do not get.
    image.reading.max_pixels = MAX_PIXELS;
    detect::label_column(&shard, None, &image)?;
    for row in [0, shard.n_rows() / 2, shard.n_rows()] {
        let wanted: Vec<Wanted> = image.wanted();
        if let Some(batch) = shard.read_row(row, &wanted)? {
            let rows = ImageRows::new(&batch, &image, &path.into())?;
            for row in 0..batch.num_rows() {
                drop(rows.get(row));
            }
        }
    }
    let mut kept = names;
    kept.truncate(MAX_KEPT);
    Ok(kept)
}

/// Both passes of a run over the job's inputs, without what comes after them.
fn run_shard(job: &Job) -> Result<()> {
    let plan = Plan::new(job)?;
    let out = &job.output.dir;
    make_dir(&out.join("features"));
    let VocabularySource::Learn(params) = &job.vocabulary else {
        unreachable!("the job learns");
    };
    let keeper = Keeper::new(out, "fuzz", Duration::MAX);
    let learned = watched(|watch| {
        let sample = learn::gather(&plan, 0, out, &keeper, watch)?;
        learn::learn(&plan, 0, params, &sample, out, &keeper, watch)
    });
    let vocabulary = match learned {
        Ok((learned, _)) => learned.vocabulary,
        // Too few different patches; featurizing is worth a try with other words.
        Err(Error::Data { .. } | Error::Setting { .. }) => two_words(),
        Err(error) => return Err(error),
    };
    featurize(&plan, &vocabulary)
}

/// Featurizes, and holds what was written against what was promised.
fn featurize(plan: &Plan, vocabulary: &Vocabulary) -> Result<()> {
    let stretches = Stretch::of_shards(&plan.input, 0..plan.input.shards.len());
    let files_of = |shard: usize| SinkFiles::of_shard(&plan.input.shards[shard].name);
    let out = &plan.job.output.dir;
    let mut files: Vec<FeaturesFile> = Vec::new();
    watched(|watch| {
        features_pass::featurize(
            plan,
            std::slice::from_ref(vocabulary),
            stretches,
            (out, &files_of),
            |_| "{}".to_owned(),
            |_, file| {
                files.push(file);
                Ok(())
            },
            watch,
        )
    })?;
    for file in files {
        let read = vectors::VectorFile::open(&out.join(&file.path), vocabulary.k(), None)?;
        let mut n_rows = 0;
        for row_group in 0..read.n_row_groups() {
            read.read(row_group, |_, vector| {
                assert!(vector.iter().all(|value| *value >= 0.0), "{vector:?}");
                n_rows += 1;
            })?;
        }
        assert_eq!(n_rows, file.rows);
        let expected = match plan.job.input.on_bad_image {
            OnBadImage::Drop => plan.input.n_rows() - file.n_bad,
            OnBadImage::Zero | OnBadImage::Fail => plan.input.n_rows(),
        };
        assert_eq!(n_rows, expected);
    }
    Ok(())
}

/// The most pixels of a fuzzed image.
const MAX_PIXELS: u64 = 1 << 18;

/// An image as a value of a binary column. What its header promises of memory and size must hold.
pub fn image(_: &Path, bytes: &[u8]) {
    let column = BinaryArray::from_vec(vec![bytes]);
    for (color, resize) in [
        (Color::Grey, None),
        (Color::Rgb, Some(40)),
        (Color::GreyOnly, Some(1)),
        (Color::Auto, None),
    ] {
        let reading = Reading {
            max_pixels: MAX_PIXELS,
            color,
            resize,
        };
        let rows = ImageRows::encoded(BinaryRows::Small(&column), reading);
        let promised = rows.size(0);
        let Ok(image) = rows.get(0) else { continue };
        let n_pixels = u64::from(image.height) * u64::from(image.width);
        let pixels = image.pixels.as_ref();
        assert_eq!(pixels.len() as u64, n_pixels * u64::from(image.channels));
        assert!(
            n_pixels <= MAX_PIXELS && n_pixels == promised.n_pixels,
            "{promised:?}"
        );
        assert!(
            pixels.size_bytes() as u64 <= promised.image_bytes,
            "{promised:?}"
        );
    }
}

/// Images that a fuzzed import makes at most; then it is stopped.
const MAX_IMPORTED: u64 = 300;

/// IDX files: 4 bytes say, in little-endian, how many of the following are the images; the rest, if any, are the labels.
pub fn idx(dir: &Path, bytes: &[u8]) {
    let (length, rest) = bytes.split_at(bytes.len().min(4));
    let length = length.try_into().map_or(0, u32::from_le_bytes) as usize;
    let (images, labels) = rest.split_at(length.min(rest.len()));
    let images = put(dir, "images.idx", images);
    let labels = (!labels.is_empty()).then(|| put(dir, "labels.idx", labels));
    let options = import::idx::Options {
        images: images.clone(),
        labels: labels.clone(),
    };
    let result = imported(dir, |target, watch| {
        import::idx::import(&options, target, watch)
    });
    if let Err(error) = result {
        match labels {
            Some(labels) if error.to_string().contains(&text(&labels)) => {}
            _ => refused(&error, &images),
        }
    }
}

/// A CSV file; its first byte chooses how it is read.
pub fn csv(dir: &Path, bytes: &[u8]) {
    let (choice, file) = bytes.split_at(bytes.len().min(1));
    let choice = choice.first().copied().unwrap_or_default();
    let path = put(dir, "images.csv", file);
    let mut options = import::csv::Options::new(&path);
    options.label = ["detect", "first", "last", "none", "label"][usize::from(choice) % 5]
        .parse()
        .unwrap_or_default();
    options.header = [None, Some(true), Some(false)][usize::from(choice) / 5 % 3];
    options.delimiter = [b',', b';'][usize::from(choice) / 15 % 2];
    if let Err(error) = imported(dir, |target, watch| {
        import::csv::import(&options, target, watch)
    }) {
        refused(&error, &path);
    }
}

fn imported(
    dir: &Path,
    import: impl FnOnce(&Target, &import::Watch<'_>) -> Result<import::Summary>,
) -> Result<()> {
    let target = Target {
        overwrite: true,
        ..Target::new(dir.join("imported"))
    };
    let n_asked = AtomicU64::new(0);
    let watch = import::Watch {
        progress: &|_, _| {},
        stop: &|| n_asked.fetch_add(1, Relaxed) >= MAX_IMPORTED,
    };
    let summary = match import(&target, &watch) {
        Err(Error::Interrupted) => return Ok(()),
        other => other?,
    };
    let mut n_rows = 0;
    for shard in &summary.shards {
        let shard = Shard::open(shard, Io::Read).expect("our own shard");
        detect::image_column(&shard, None, None).expect("our own image column");
        n_rows += shard.n_rows();
    }
    assert_eq!(n_rows, summary.images);
    Ok(())
}

/// The most values in all words of a fuzzed vocabulary that images are featurized with.
const MAX_WORD_VALUES: usize = 1 << 12;

/// A vocabulary file, read and then used.
pub fn vocabulary_file(dir: &Path, bytes: &[u8]) {
    let path = put(dir, "words.parquet", bytes);
    let vocabulary = match vocabulary::read(&path) {
        Ok((vocabulary, _)) => vocabulary,
        Err(error) => return refused(&error, &path),
    };
    let _ = vocabulary.inertia_per_patch();
    if vocabulary.centroids.len() > MAX_WORD_VALUES {
        return;
    }
    good_shard(dir);
    let mut job = job_in(dir);
    job.preparations = vec![vocabulary.preparation];
    job.vocabulary = VocabularySource::From(vec![path.clone()]);
    make_dir(&job.output.dir.join("features"));
    let result = Plan::new(&job).and_then(|plan| featurize(&plan, &vocabulary));
    if let Err(error) = result {
        refused(&error, &path);
    }
}

/// Words of the good job.
const GOOD_WORDS: &[u8] = include_bytes!("../corpus/vocabulary/words.parquet");

/// A stream of record batches, featurized and sampled.
pub fn stream_of_images(dir: &Path, bytes: &[u8]) {
    let stop = AtomicBool::new(false);
    let work = Work {
        threads: 1,
        stop: &stop,
    };
    let words = vocabulary::from_bytes(GOOD_WORDS.to_vec(), "words.parquet".as_ref());
    let (words, _) = words.expect("good words");
    let featurizer = Featurizer::of_job(job_in(dir), &[words]).expect("a good job");
    let layout = VectorLayout::default();
    let mut out = Vec::new();
    let made = stream::featurize(&Arc::new(featurizer), layout, bytes, &mut out, work);
    let mut learner = Learner::of_job(job_in(dir)).expect("a good job");
    let sampled = stream::sample(&mut learner, None, bytes, work);
    for error in [made.err(), sampled.err()].into_iter().flatten() {
        let told = error.to_string();
        let is_batch = told.contains("the record batch");
        refused(
            &error,
            Path::new(if is_batch {
                "the record batch"
            } else {
                "the stream of images"
            }),
        );
    }
}

/// A sketch, merged, and the words that it gives.
pub fn sketch(dir: &Path, bytes: &[u8]) {
    let path = put(dir, "part.arrows", bytes);
    let mut learner = Learner::of_job(job_in(dir)).expect("a good job");
    if let Err(error) = learner.merge_sketches(&[bytes], &path) {
        return refused(&error, &path);
    }
    let stop = AtomicBool::new(false);
    let progress = Progress::default();
    let learned = learner.learn(Watch {
        interrupt: &stop,
        progress: &progress,
        on_event: &|_| (),
    });
    if let Err(error) = learned {
        refused(&error, &path);
    }
    let again = learner.sketch().expect("a sketch");
    let mut other = Learner::of_job(job_in(dir)).expect("a good job");
    other.merge(&again).expect("what was merged can be merged");
    assert_eq!(other.sketch().expect("a sketch"), again);
}

/// A run's directory whose state or manifest is the input: `s` and a state, or `m` and a manifest. Nothing outside the
/// directory may be touched.
pub fn manifest(dir: &Path, bytes: &[u8]) {
    let (kind, json) = bytes.split_at(bytes.len().min(1));
    let finished = finished_run(dir);
    let job = finished_job(dir);
    let out = &job.output.dir;
    restore(&finished, out, false);
    let name = match kind {
        b"s" => STATE_FILE,
        _ => MANIFEST_FILE,
    };
    put(out, name, json);
    let plan = Plan::new(&job).expect("a good job");
    let outside = put(dir, "outside.txt", b"not ours");
    for fresh in [false, true] {
        match RunDir::open(&plan, fresh) {
            Ok((_, Found::State(_))) => {}
            Ok((_, Found::Done(manifest))) => drop(bovw::report::files(&manifest)),
            Err(error) => refused(&error, out),
        }
    }
    assert!(outside.is_file() && dir.join("data/input.parquet").is_file());
}

/// A finished run that a report is drawn from, one of whose files is the input; its first byte says which. Slow, since
/// whatever can be drawn is drawn.
pub fn drawn(dir: &Path, bytes: &[u8]) {
    let (kind, file) = bytes.split_at(bytes.len().min(1));
    let name = match kind {
        b"p" => examples::PATCHES_FILE,
        b"i" => examples::IMAGES_FILE,
        b"t" => timeline::TIMELINE_FILE,
        _ => MANIFEST_FILE,
    };
    let out = dir.join("out");
    restore(&finished_run(dir), &out, name != MANIFEST_FILE);
    put(&out, name, file);
    if let Err(error) = report::draw(&out) {
        refused(&error, &out);
    }
}

/// Tables that a run leaves, read back by later passes and the report; the first byte says which one the rest is.
pub fn tables(dir: &Path, bytes: &[u8]) {
    let (kind, file) = bytes.split_at(bytes.len().min(1));
    let name = match kind {
        b"p" => examples::PATCHES_FILE,
        b"i" => examples::IMAGES_FILE,
        b"t" => timeline::TIMELINE_FILE,
        b"c" => "clusters/pixels-k2.centroids.parquet",
        _ => "features/input.parquet",
    };
    let path = put(dir, name, file);
    let result = match kind {
        b"p" => examples::read_patches(dir, name).map(drop),
        b"i" => examples::read_images(dir).map(drop),
        b"t" => timeline::read(dir).map(drop),
        b"c" => centroids::read(&path).map(drop),
        _ => features_file(&path),
    };
    if let Err(error) = result {
        refused(&error, &path);
    }
}

/// A features file, as the report and as the clustering passes read it.
fn features_file(path: &Path) -> Result<()> {
    let file = vectors::VectorFile::open(path, 2, Some("label"))?;
    for row_group in 0..file.n_row_groups() {
        file.read(row_group, |_, _| {})?;
    }
    let params = RowsParams {
        io: Io::Read,
        columns: vec!["features".to_owned(), "label".to_owned()],
        row_bytes: 16,
        batch_bytes: 1 << 16,
    };
    let mut source = RowsSource::new(vec![path.to_owned()], params);
    while let Some(offer) = source.next_batch() {
        bovw::stages::whole::vectors(&offer?.item)?;
    }
    Ok(())
}

/// Labels and clusters, Parquet or CSV, to be scored.
pub fn evaluate_file(dir: &Path, bytes: &[u8]) {
    let path = put(dir, "scored.parquet", bytes);
    match evaluate::evaluate(std::slice::from_ref(&path), "label", "cluster") {
        Ok(agreement) => {
            let scores = agreement.scores;
            for score in [scores.purity, scores.nmi, scores.v_measure] {
                assert!((-1e-9..=1.0 + 1e-9).contains(&score), "{scores:?}");
            }
        }
        Err(error) => refused(&error, &path),
    }
}

/// An error must be of the file at `path`, or of the job or the data as a whole, and never a panic in disguise.
fn refused(error: &Error, path: &Path) {
    match error {
        Error::Setting { .. } | Error::Data { .. } | Error::TooManyBad { .. } => {}
        Error::Panicked { .. } => panic!("{error}"),
        _ => assert!(error.to_string().contains(&text(path)), "{error}"),
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn job_in(dir: &Path) -> Job {
    job_with(dir, &[])
}

/// The job of the finished run, which has clusters as well.
fn finished_job(dir: &Path) -> Job {
    job_with(dir, &["cluster = [{ of = 'pixels', k = 2 }]".to_owned()])
}

fn job_with(dir: &Path, sets: &[String]) -> Job {
    JobFile::parse(&dir.join("job.toml"), JOB, sets)
        .and_then(|file| Job::check(file, dir))
        .expect("a good job")
}

/// When the good shard is said to have been written, so that a manifest made elsewhere is of the same input.
const GOOD_SHARD_TIME: Duration = Duration::from_secs(1_700_000_000);

fn good_shard(dir: &Path) {
    let path = put(dir, "data/input.parquet", GOOD_SHARD);
    let file = fs::File::options().append(true).open(&path);
    file.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + GOOD_SHARD_TIME))
        .expect("a time");
}

/// A folder with a finished run of the good shard, made when it is first asked for.
fn finished_run(dir: &Path) -> PathBuf {
    let finished = dir.join("finished");
    if !finished.exists() {
        good_shard(dir);
        watched(|watch| run::run(&finished_job(dir), true, watch)).expect("a good run");
        fs::rename(dir.join("out"), &finished).expect("moved");
    }
    finished
}

/// Makes `out` what `finished` is, with links, since whole files are only ever replaced; its manifest only if asked for.
fn restore(finished: &Path, out: &Path, with_manifest: bool) {
    if out.exists() {
        fs::remove_dir_all(out).expect("removed");
    }
    for folder in ["", "features", "clusters", "pictures"] {
        make_dir(&out.join(folder));
        let Ok(entries) = fs::read_dir(finished.join(folder)) else {
            continue;
        };
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name();
            if with_manifest || name != MANIFEST_FILE {
                fs::hard_link(entry.path(), out.join(folder).join(name)).expect("linked");
            }
        }
    }
}

fn two_words() -> Vocabulary {
    Vocabulary {
        whitening: None,
        documents: None,
        preparation: Preparation {
            patch: PatchShape {
                height: 2,
                width: 2,
                channels: 1,
            },
            normalize: Normalize::Image,
            whiten: None,
        },
        centroids: vec![-1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0],
        counts: vec![1, 1],
        inertia: vec![0.0, 0.0],
    }
}

fn watched<T>(call: impl FnOnce(Watch<'_>) -> T) -> T {
    let (interrupt, progress) = (AtomicBool::new(false), Progress::default());
    call(Watch {
        interrupt: &interrupt,
        progress: &progress,
        on_event: &|_| {},
    })
}

/// Writes a file anew: what may still be mapped of an old one stays as it is.
fn put(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    make_dir(path.parent().unwrap_or(dir));
    if path.exists() {
        fs::remove_file(&path).expect("removed");
    }
    let mut file = fs::File::create(&path).expect("made");
    file.write_all(bytes).expect("written");
    path
}

fn make_dir(dir: &Path) {
    fs::create_dir_all(dir).expect("a folder");
}

fn bytes_split<'a>(bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        parts.push(&rest[..at]);
        rest = &rest[at + mark.len()..];
    }
    parts.push(rest);
    parts
}
