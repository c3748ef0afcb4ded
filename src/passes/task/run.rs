//! One task of one kind: a stretch of one file, streamed as a run would, and a receipt when all of it is written.
//!
//! Nothing outside the plan's folder is written, and no other input is opened than the task's own and the job's first.

use std::path::Path;

use super::super::documents;
use super::super::featurize::{featurize, provenance};
use super::super::learn;
use super::super::memory::Work;
use super::super::plan::Plan;
use super::super::progress::{Phase, Watch};
use super::super::run_dir;
use super::{Kind, Receipt, Task, check_kind};
use crate::error::{Error, Place, Result};
use crate::job::{Color, Job, resolved};
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::input::InputSet;
use crate::shard::manifest::{ManifestOutput, hash_file, sized_name, vocabulary_files};
use crate::shard::read::Fingerprint;
use crate::shard::sketch::{SketchOf, SketchWriter};
use crate::shard::tasks::{Made, PlanHeader, TaskPlan};
use crate::shard::vocabulary;
use crate::shard::whole::{WholeFile, WholeWriter};
use crate::stages::sink::SinkFiles;
use crate::stages::source::Stretch;

/// A task that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// The task.
    pub task: Task,
    /// What it has made.
    pub receipt: Receipt,
    /// Whether it had been done before, with these very words.
    pub was_done: bool,
}

/// Does a task of a job that is planned. One that is done already is not done again; one that is done twice at the same
/// time makes the same bytes twice. Whoever does several does well to open a [`Runner`].
///
/// # Errors
/// Those of [`Runner::open`] and [`Runner::run`].
pub fn run(job: &Job, kind: Kind, number: usize, watch: Watch<'_>) -> Result<Ran> {
    watch.progress.enter(Phase::Opening);
    Runner::open(job, kind, |task| task == number)?.run(number, watch)
}

/// Some tasks of one kind, to be done one after the other: plan and words are read once.
#[derive(Debug)]
pub struct Runner {
    job: Job,
    kind: Kind,
    tasks: TaskPlan,
    words: Words,
}

impl Runner {
    /// Opens the plan of a job for those of its tasks that are `wanted`, by their numbers.
    ///
    /// # Errors
    /// There is no plan, or one of another job or version; the job has no such kind; words that are not merged yet.
    pub fn open(job: &Job, kind: Kind, wanted: impl Fn(usize) -> bool) -> Result<Runner> {
        check_kind(job, kind)?;
        let tasks = TaskPlan::read(&job.output.dir, |task| task == 0 || wanted(task))?;
        let job = planned_job(job, &tasks.header)?;
        let words = Words::read(&job, kind)?;
        Ok(Runner {
            job,
            kind,
            tasks,
            words,
        })
    }

    /// Whether there is such a task.
    ///
    /// # Errors
    /// There is none.
    pub fn check(&self, number: usize) -> Result<()> {
        self.task(number).map(|_| ())
    }

    /// Does a task that was wanted, unless it is done.
    ///
    /// # Errors
    /// The plan has no such task; an input has changed since; and whatever ends a run.
    pub fn run(&self, number: usize, watch: Watch<'_>) -> Result<Ran> {
        let task = self.task(number)?;
        let receipt = self.tasks.receipt(task, self.kind, &self.words.key)?;
        let was_done = receipt.is_some();
        let receipt = match receipt {
            Some(receipt) => receipt,
            None => self.tasks.note(task, self.make(task, watch)?)?,
        };
        watch.progress.enter(Phase::Done);
        Ok(Ran {
            task: task.clone(),
            receipt,
            was_done,
        })
    }

    fn task(&self, number: usize) -> Result<&Task> {
        let tasks = &self.tasks.tasks;
        let at = tasks.binary_search_by_key(&number, |task| task.task);
        at.map(|at| &tasks[at]).map_err(|_| {
            let last = self.tasks.header.tasks.saturating_sub(1);
            Error::Usage {
                message: format!("there is no task {number}; the plan has tasks 0 to {last}"),
            }
        })
    }

    fn make(&self, task: &Task, watch: Watch<'_>) -> Result<Made> {
        let input = open(&self.job, &self.tasks.tasks[0], task)?;
        let first_image = self.tasks.header.first_image;
        let words = &self.words.vocabularies;
        let plan = Plan::of_task(&self.job, input, first_image, words, work(self.kind))?;
        let run = Run {
            plan: &plan,
            tasks: &self.tasks,
            task,
            words: &self.words,
            watch,
        };
        match self.kind {
            Kind::Sample => run.sample(),
            Kind::Documents => run.documents(),
            Kind::Featurize => run.featurize(),
        }
    }
}

fn work(kind: Kind) -> Work {
    match kind {
        Kind::Sample => Work::Sample,
        Kind::Documents => Work::Documents,
        Kind::Featurize => Work::Featurize,
    }
}

/// The job with the colour that its plan has decided, if it is the one that was planned.
pub(super) fn planned_job(job: &Job, header: &PlanHeader) -> Result<Job> {
    let mut job = job.clone();
    let colors = Color::ALL.into_iter();
    let color = colors.filter(|_| job.input.color == Color::Auto);
    if let Some(color) = color.into_iter().find(|color| color.name() == header.color) {
        job.set_color(color);
    }
    if run_dir::identity(&job)? == header.identity {
        return Ok(job);
    }
    Err(Error::OtherJob {
        dir: job.output.dir,
        message: "holds the task plan of a different job".to_owned(),
        help: Some("plan again with `bovw task plan`, or choose another output.dir".to_owned()),
    })
}

/// The task's own shard, with the columns of the job's first file; both must be as they were planned.
fn open(job: &Job, first: &Task, task: &Task) -> Result<InputSet> {
    let path = |task: &Task| job.base_dir.join(&task.input.path);
    let (first_path, own_path) = (path(first), path(task));
    check_unchanged(&first_path, first)?;
    check_unchanged(&own_path, task)?;
    let (io, memory) = (job.run.io, job.run.memory_bytes);
    let named = (task.name.as_str(), task.first_row);
    let set = InputSet::open_one(&job.input, io, memory, &first_path, &own_path, named)?;
    let info = &set.shards[0];
    let is_same = info.footer_blake3 == task.input.footer_blake3
        && info.n_rows == task.input.rows
        && info.fingerprint == task.input.fingerprint
        && info.row_group_rows.len() == task.of_row_groups;
    match is_same {
        true => Ok(set),
        false => Err(changed(&own_path)),
    }
}

fn check_unchanged(path: &Path, task: &Task) -> Result<()> {
    match Fingerprint::of(path)? == task.input.fingerprint {
        true => Ok(()),
        false => Err(changed(path)),
    }
}

fn changed(path: &Path) -> Error {
    Error::File {
        place: Place::file(path),
        message: "has changed since the tasks were planned".to_owned(),
        help: Some("plan again with `bovw task plan JOB.toml --fresh`".to_owned()),
    }
}

/// The words that a kind works with, and what tells them from others.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) vocabularies: Vec<Vocabulary>,
    files: Vec<WholeFile>,
    pub(super) key: Vec<String>,
}

impl Words {
    /// Reads the words in a job's directory; none for sampling.
    pub(super) fn read(job: &Job, kind: Kind) -> Result<Words> {
        let mut words = Words {
            vocabularies: Vec::new(),
            files: Vec::new(),
            key: Vec::new(),
        };
        if kind == Kind::Sample {
            return Ok(words);
        }
        for (at, name) in vocabulary_files(&job.patches()).iter().enumerate() {
            let path = job.output.dir.join(name);
            let (vocabulary, file) = read_words(job, at, &path)?;
            if kind == Kind::Featurize
                && job.features.needs_documents()
                && vocabulary.documents.is_none()
            {
                return Err(not_merged(&path, Kind::Documents));
            }
            words.key.push(match kind {
                Kind::Featurize => file.blake3.clone(),
                // What is counted goes into the file: it is the words alone that counts are of.
                Kind::Sample | Kind::Documents => hash_words(&vocabulary),
            });
            words.vocabularies.push(vocabulary);
            words.files.push(file);
        }
        Ok(words)
    }
}

fn read_words(job: &Job, at: usize, path: &Path) -> Result<(Vocabulary, WholeFile)> {
    let size_bytes = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(not_merged(path, Kind::Sample));
        }
        Err(error) => return Err(Error::io(path, "read the size", error)),
    };
    let (vocabulary, header) = vocabulary::read(path)?;
    if header.job != resolved::identity_json(job) || vocabulary.preparation != job.preparations[at]
    {
        return Err(Error::OtherJob {
            dir: job.output.dir.clone(),
            message: "holds the words of a different job".to_owned(),
            help: Some("plan again with `bovw task plan JOB.toml --fresh`".to_owned()),
        });
    }
    let blake3 = hash_file(path)?;
    Ok((vocabulary, WholeFile { size_bytes, blake3 }))
}

fn hash_words(vocabulary: &Vocabulary) -> String {
    let mut hasher = blake3::Hasher::new();
    for value in &vocabulary.centroids {
        hasher.update(&value.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn not_merged(path: &Path, kind: Kind) -> Error {
    let message = match kind {
        Kind::Documents => "the images that its words occur in are not counted yet",
        Kind::Sample | Kind::Featurize => "there are no words yet",
    };
    Error::File {
        place: Place::file(path),
        message: message.to_owned(),
        help: Some(format!(
            "run the tasks of kind {0}, then `bovw task merge JOB.toml --kind {0}`",
            kind.name()
        )),
    }
}

/// What the samples of a plan's tasks are of, for patches of the size `at`.
pub(super) fn sketch_of<'a>(job: &Job, header: &'a PlanHeader, at: usize) -> SketchOf<'a> {
    SketchOf {
        of: &header.plan,
        preparation: job.preparations[at],
        is_limited: job.sample.max_patches.is_some(),
    }
}

/// What one task works with.
struct Run<'a> {
    plan: &'a Plan,
    tasks: &'a TaskPlan,
    task: &'a Task,
    words: &'a Words,
    watch: Watch<'a>,
}

impl Run<'_> {
    /// The task's row groups; its shard is the only one that it knows.
    fn stretch(&self) -> Vec<Stretch> {
        vec![Stretch {
            shard: 0,
            row_groups: self.task.row_groups(),
            n_rows: self.task.rows,
        }]
    }

    fn sample(&self) -> Result<Made> {
        let sizes = 0..self.plan.job.preparations.len();
        let sketches: Result<Vec<ManifestOutput>> = sizes.map(|at| self.sketch(at)).collect();
        Ok(Made::Sample {
            sketches: sketches?,
        })
    }

    /// Samples patches of the size `at`, no more than the whole job may have, and writes them down.
    fn sketch(&self, at: usize) -> Result<ManifestOutput> {
        let (plan, job) = (self.plan, &self.plan.job);
        let scratch = self.tasks.scratch()?;
        let mut gather = learn::empty_sample(plan, at, scratch.path());
        learn::sample_stretches(plan, at, self.stretch(), self.watch, |batch| {
            gather.push(batch)
        })?;
        let (sample, hashes) = gather.finish_with_hashes()?;
        let patch = job.preparations[at].patch;
        let ending = sized_name("", patch, job.preparations.len()) + ".arrows";
        let path = self.task.file(Kind::Sample, &ending);
        let full_path = self.tasks.dir().join(&path);
        let file = WholeWriter::create(&full_path)?;
        let of = sketch_of(job, &self.tasks.header, at);
        let mut writer = SketchWriter::new(file, &full_path, &of)?;
        let view = sample.view();
        let mut rest = hashes.as_slice();
        for index in 0..view.n_records() {
            let patches = view.record(index);
            let offsets: Vec<u32> = patches.offsets().collect();
            let n_hashes = if of.is_limited { offsets.len() } else { 0 };
            let (own, others) = rest.split_at(n_hashes);
            rest = others;
            writer.push(&patches.record(&offsets), own)?;
        }
        Ok(ManifestOutput {
            path,
            rows: view.n_records() as u64,
            file: writer.finish()?.finish()?,
        })
    }

    fn documents(&self) -> Result<Made> {
        let words = &self.words.vocabularies;
        let counts = documents::count(self.plan, words, self.stretch(), self.watch)?;
        Ok(Made::Documents {
            words: self.words.key.clone(),
            counts,
        })
    }

    fn featurize(&self) -> Result<Made> {
        let files = |_| SinkFiles {
            features: self.task.file(Kind::Featurize, ".parquet"),
            bad_list: self.task.file(Kind::Featurize, ".jsonl"),
        };
        let mut made = None;
        featurize(
            self.plan,
            &self.words.vocabularies,
            self.stretch(),
            (self.tasks.dir(), &files),
            provenance(self.plan, &self.words.files),
            |_, file| {
                made = Some(file);
                Ok(())
            },
            self.watch,
        )?;
        let Some(file) = made else {
            unreachable!("a task has rows, and their file was finished");
        };
        Ok(Made::Featurize {
            words: self.words.key.clone(),
            file,
        })
    }
}
