//! `.bovw-tasks` in a run's directory: the plan of a job's tasks, and what each of them has made.
//!
//! The folder is made by whoever plans and removed by whoever merges last, never by a task: a task that outlives its plan
//! can leave nothing behind. A file in it is named by what it is of, has its name only when it is whole, and is believed only
//! as far as its hash goes; whatever is not whole is as good as not there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::manifest::{FeaturesFile, InputState, ManifestOutput, hash_file};
use super::whole::{self, TEMPORARY_PREFIX, WholeFile, WholeWriter};
use crate::error::{Error, Result};
use crate::kernel::vocabulary::Documents;

/// The folder's name in a run's directory.
pub const TASKS_DIR: &str = ".bovw-tasks";

/// What the folder is called while it is removed, so that no task finds it any more.
const GONE_DIR: &str = ".bovw-tmp-tasks";

/// The plan's name in the folder.
const PLAN_FILE: &str = "plan.jsonl";

/// Version of the plan and of what tasks leave.
const FORMAT: u32 = 1;

/// Letters of a plan's hash that its folder is called by.
const ID_CHARS: usize = 16;

/// What tasks can be asked to do; each is done by all of them, then merged, before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sampling patches; merged, they give the vocabulary.
    Sample,
    /// Counting in how many images words occur; merged, the vocabulary has it.
    Documents,
    /// Writing vectors; merged, the run is done.
    Featurize,
}

impl Kind {
    /// All, in the order in which they are done.
    pub const ALL: [Kind; 3] = [Kind::Sample, Kind::Documents, Kind::Featurize];

    /// Its name, on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sample => "sample",
            Kind::Documents => "documents",
            Kind::Featurize => "featurize",
        }
    }
}

/// What all tasks of a plan have in common: its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanHeader {
    /// Version of this format.
    pub format: u32,
    /// Version of the program, which all tasks must have.
    pub bovw: String,
    /// BLAKE3 of all that the plan says, in hex.
    pub plan: String,
    /// The job, as in the run's state.
    pub identity: String,
    /// Its colour, decided.
    pub color: String,
    /// Height and width of its first image, if it is a good one.
    pub first_image: Option<(u32, u32)>,
    /// Number of tasks.
    pub tasks: usize,
}

/// One task: a line of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number, from 0.
    pub task: usize,
    /// The place of its shard in the input.
    pub shard: usize,
    /// Name of the shard's outputs.
    pub name: String,
    /// The shard, as it was; its path is as the job has it.
    pub input: InputState,
    /// Row number over all shards of the shard's first row.
    pub first_row: u64,
    /// Its row groups, the end not among them.
    pub row_groups: (usize, usize),
    /// Row groups of the shard.
    pub of_row_groups: usize,
    /// Rows in its row groups.
    pub rows: u64,
}

impl Task {
    /// Its row groups.
    pub fn row_groups(&self) -> Range<usize> {
        self.row_groups.0..self.row_groups.1
    }

    /// Whether it is all of its shard.
    pub fn is_whole(&self) -> bool {
        self.row_groups == (0, self.of_row_groups)
    }

    /// Bytes of its part of the shard's file, about.
    pub fn size_bytes(&self) -> u64 {
        let share = self.rows as f64 / self.input.rows.max(1) as f64;
        (share * self.input.fingerprint.size_bytes as f64) as u64
    }

    /// The path of what it makes, in the plan's folder, with this ending.
    pub fn file(&self, kind: Kind, ending: &str) -> String {
        let (start, end) = self.row_groups;
        format!("{}/{}.{start}-{end}{ending}", kind.name(), self.name)
    }
}

/// What a task has made, written when all of it is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The plan that the task is of.
    pub plan: String,
    /// The task.
    pub task: usize,
    /// What it is.
    pub made: Made,
}

/// What a task has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Made {
    /// Samples.
    Sample {
        /// A sketch for each size of patches.
        sketches: Vec<ManifestOutput>,
    },
    /// Counts.
    Documents {
        /// BLAKE3 of the words of each vocabulary, in hex.
        words: Vec<String>,
        /// The counts, for each vocabulary.
        counts: Vec<Documents>,
    },
    /// Vectors.
    Featurize {
        /// BLAKE3 of each vocabulary's file, in hex.
        words: Vec<String>,
        /// The features file and the list of bad images, by their paths in the plan's folder. The input's hash is there
        /// only with its first row group.
        file: FeaturesFile,
    },
}

impl Made {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Made::Sample { .. } => Kind::Sample,
            Made::Documents { .. } => Kind::Documents,
            Made::Featurize { .. } => Kind::Featurize,
        }
    }

    /// The words that it was made with; none of a sample.
    pub fn words(&self) -> &[String] {
        match self {
            Made::Sample { .. } => &[],
            Made::Documents { words, .. } | Made::Featurize { words, .. } => words,
        }
    }

    /// Its files, by their paths in the plan's folder.
    fn files(&self) -> Vec<(&str, &WholeFile)> {
        match self {
            Made::Sample { sketches } => {
                let sketches = sketches.iter();
                sketches.map(|one| (one.path.as_str(), &one.file)).collect()
            }
            Made::Documents { .. } => Vec::new(),
            Made::Featurize { file, .. } => {
                let list = file.bad_list.iter();
                let list = list.map(|list| (list.path.as_str(), &list.file));
                list.chain([(file.path.as_str(), &file.file)]).collect()
            }
        }
    }
}

/// The tasks of a run's directory, planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPlan {
    /// What all have in common.
    pub header: PlanHeader,
    /// The tasks that were asked for, in order: all, unless only some were read.
    pub tasks: Vec<Task>,
    // The plan's folder.
    dir: PathBuf,
}

impl TaskPlan {
    /// Makes the folder for the tasks of a job in its run's directory, and writes the plan into it; the header's format,
    /// version, hash and number of tasks are filled in here. What an equal plan has already is kept, that of another is
    /// removed.
    pub fn write(run_dir: &Path, mut header: PlanHeader, tasks: Vec<Task>) -> Result<TaskPlan> {
        header.format = FORMAT;
        header.bovw = env!("CARGO_PKG_VERSION").to_owned();
        header.tasks = tasks.len();
        let lines: String = tasks.iter().map(line).collect();
        header.plan = plan_hash(&header, &lines);
        let dir = run_dir.join(TASKS_DIR).join(folder(&header));
        if !dir.is_dir() {
            remove(run_dir)?;
        }
        for kind in Kind::ALL {
            whole::create_dir(&dir.join(kind.name()))?;
        }
        let path = run_dir.join(TASKS_DIR).join(PLAN_FILE);
        whole::write_whole(&path, (line(&header) + &lines).as_bytes())?;
        Ok(TaskPlan { header, tasks, dir })
    }

    /// Reads the plan in a run's directory; of its tasks only those that are `wanted`, by their numbers.
    ///
    /// # Errors
    /// There is none; it is damaged, or of another version.
    pub fn read(run_dir: &Path, wanted: impl Fn(usize) -> bool) -> Result<TaskPlan> {
        let path = run_dir.join(TASKS_DIR).join(PLAN_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(no_plan(run_dir));
            }
            Err(error) => return Err(Error::io(&path, "open", error)),
        };
        let mut lines = BufReader::new(file).lines();
        let mut next = || -> Result<Option<String>> {
            let line = lines.next().transpose();
            match line {
                Ok(line) => Ok(line),
                // Bytes that are no text are damage like any other.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(None),
                Err(error) => Err(Error::io(&path, "read", error)),
            }
        };
        let first = next()?.unwrap_or_default();
        check_version(&path, &first)?;
        let header: PlanHeader = parsed(&path, &first)?;
        let mut hasher = plan_hasher(&header);
        let mut tasks = Vec::new();
        let mut n_tasks = 0;
        while let Some(line) = next()? {
            hasher.update(line.as_bytes()).update(b"\n");
            if wanted(n_tasks) {
                tasks.push(parsed(&path, &line)?);
            }
            n_tasks += 1;
        }
        if hasher.finalize().to_hex().as_str() != header.plan || n_tasks != header.tasks {
            return Err(damaged(&path));
        }
        let dir = run_dir.join(TASKS_DIR).join(folder(&header));
        Ok(TaskPlan { header, tasks, dir })
    }

    /// The folder of what its tasks make.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A folder for what a task spills, with a name that no other has; removed when it is dropped.
    pub fn scratch(&self) -> Result<TempDir> {
        let builder = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempdir_in(&self.dir);
        builder.map_err(|source| Error::io(&self.dir, "create a folder in", source))
    }

    /// Notes what a task has made, once all its files have their names.
    pub fn note(&self, task: &Task, made: Made) -> Result<Receipt> {
        let path = self.dir.join(task.file(made.kind(), ".json"));
        let receipt = Receipt {
            plan: self.header.plan.clone(),
            task: task.task,
            made,
        };
        let text = line(&receipt);
        let hash = blake3::hash(text.as_bytes()).to_hex();
        whole::write_whole(&path, format!("{text}{hash}\n").as_bytes())?;
        Ok(receipt)
    }

    /// What a task has made of a kind, with these words, if all of that is whole.
    pub fn receipt(&self, task: &Task, kind: Kind, words: &[String]) -> Result<Option<Receipt>> {
        let Some(receipt) = self.read_receipt(task, kind, words)? else {
            return Ok(None);
        };
        for (path, file) in receipt.made.files() {
            if !is_whole(&self.dir.join(path), file)? {
                return Ok(None);
            }
        }
        Ok(Some(receipt))
    }

    /// The receipt of a task, if it is whole, of this plan and of these words; of its files nothing is known.
    pub fn read_receipt(
        &self,
        task: &Task,
        kind: Kind,
        words: &[String],
    ) -> Result<Option<Receipt>> {
        let path = self.dir.join(task.file(kind, ".json"));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, "read", error)),
        };
        let receipt = whole_receipt(&bytes).filter(|receipt| {
            let made = &receipt.made;
            (&receipt.plan, receipt.task) == (&self.header.plan, task.task)
                && (made.kind(), made.words()) == (kind, words)
        });
        Ok(receipt)
    }
}

fn whole_receipt(bytes: &[u8]) -> Option<Receipt> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (json, hash) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let json = format!("{json}\n");
    match blake3::hash(json.as_bytes()).to_hex().as_str() == hash {
        true => serde_json::from_str(&json).ok(),
        false => None,
    }
}

/// Removes the plan of a run's directory and all that its tasks have made, if there is one. Tasks that are still at work find
/// their folder gone.
pub fn remove(run_dir: &Path) -> Result<()> {
    let (dir, gone) = (run_dir.join(TASKS_DIR), run_dir.join(GONE_DIR));
    remove_all(&gone)?;
    match fs::rename(&dir, &gone) {
        Ok(()) => remove_all(&gone),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(&dir, "rename", error)),
    }
}

/// Removes what is left of a folder whose removal was cut off.
pub fn remove_leftovers(run_dir: &Path) -> Result<()> {
    remove_all(&run_dir.join(GONE_DIR))
}

fn remove_all(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(dir, "remove", error))
        }
        _ => Ok(()),
    }
}

/// Puts the lists of bad images of a shard's parts, in order, into one.
pub fn join_lists(parts: &[PathBuf], path: &Path) -> Result<WholeFile> {
    let mut writer = WholeWriter::create(path)?;
    for part in parts {
        let mut file = File::open(part).map_err(|source| Error::io(part, "open", source))?;
        std::io::copy(&mut file, &mut writer).map_err(|source| Error::io(path, "write", source))?;
    }
    writer.finish()
}

/// Gives a file of a task its final name, in place of what had it before.
pub fn bring(from: &Path, to: &Path) -> Result<()> {
    whole::create_parent(to)?;
    fs::rename(from, to).map_err(|source| Error::io(to, "rename a file to", source))?;
    whole::sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Whether a file is there, whole.
pub fn is_whole(path: &Path, file: &WholeFile) -> Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() == file.size_bytes => Ok(hash_file(path)? == file.blake3),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path, "read the size", error)),
    }
}

fn line(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("plain data is JSON: {error}"),
    }
}

fn plan_hasher(header: &PlanHeader) -> blake3::Hasher {
    let unnamed = PlanHeader {
        plan: String::new(),
        ..header.clone()
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(line(&unnamed).as_bytes());
    hasher
}

fn plan_hash(header: &PlanHeader, lines: &str) -> String {
    let mut hasher = plan_hasher(header);
    hasher.update(lines.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// What a plan's folder is called. A header that was damaged into something else is found out by its hash.
fn folder(header: &PlanHeader) -> String {
    header.plan.chars().take(ID_CHARS).collect()
}

fn parsed<T: DeserializeOwned>(path: &Path, line: &str) -> Result<T> {
    serde_json::from_str(line).map_err(|_| damaged(path))
}

/// Another version may cut, count or write otherwise.
fn check_version(path: &Path, line: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
        bovw: String,
    }
    let Version { format, bovw } = parsed(path, line)?;
    let ours = env!("CARGO_PKG_VERSION");
    if format == FORMAT && bovw == ours {
        return Ok(());
    }
    Err(Error::File {
        place: path.into(),
        message: format!(
            "is a task plan of format {format}, by bovw {bovw}; this is {FORMAT}, by {ours}"
        ),
        help: Some(
            "use one version for all tasks of a plan, or plan again with `bovw task plan`"
                .to_owned(),
        ),
    })
}

fn damaged(path: &Path) -> Error {
    Error::File {
        place: path.into(),
        message: "is damaged".to_owned(),
        help: Some("plan again with `bovw task plan`; what tasks have done is kept".to_owned()),
    }
}

fn no_plan(run_dir: &Path) -> Error {
    let is_done = run_dir.join(super::manifest::MANIFEST_FILE).exists();
    Error::File {
        place: run_dir.into(),
        message: match is_done {
            true => "there is no task plan in it any more: its run is done",
            false => "there is no task plan in it",
        }
        .to_owned(),
        help: Some("`bovw task plan JOB.toml` makes one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Fingerprint;
    use super::*;

    fn header() -> PlanHeader {
        PlanHeader {
            format: 0,
            bovw: String::new(),
            plan: String::new(),
            identity: "a job".to_owned(),
            color: "grey".to_owned(),
            first_image: Some((8, 8)),
            tasks: 0,
        }
    }

    fn task(number: usize) -> Task {
        Task {
            task: number,
            shard: 0,
            name: "a".to_owned(),
            input: InputState {
                path: "data/a.parquet".to_owned(),
                rows: 30,
                fingerprint: Fingerprint {
                    size_bytes: 300,
                    modified_nanos: 1,
                },
                footer_blake3: String::new(),
            },
            first_row: 0,
            row_groups: (number, number + 1),
            of_row_groups: 3,
            rows: 10,
        }
    }

    fn made(n: u64) -> Made {
        let counts = vec![Documents {
            n,
            with_word: vec![1, 2],
        }];
        Made::Documents {
            words: vec!["words".to_owned()],
            counts,
        }
    }

    #[test]
    fn a_plan_is_read_as_it_was_written_all_of_it_or_some_tasks() {
        let dir = tempfile::tempdir().expect("a folder");
        let tasks: Vec<Task> = (0..3).map(task).collect();
        let written = TaskPlan::write(dir.path(), header(), tasks.clone()).expect("written");
        let read = |wanted: Range<usize>| {
            TaskPlan::read(dir.path(), |task| wanted.contains(&task)).expect("whole")
        };
        assert_eq!(read(0..9), written);
        assert_eq!(read(1..2).tasks, tasks[1..2]);
        assert_eq!(read(1..2).header, written.header);
    }

    #[test]
    fn any_damage_to_a_plan_is_found_whichever_task_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let tasks = (0..3).map(task).collect();
        TaskPlan::write(dir.path(), header(), tasks).expect("written");
        let path = dir.path().join(TASKS_DIR).join(PLAN_FILE);
        let whole = fs::read(&path).expect("readable");
        for at in 0..whole.len() - 1 {
            fs::write(&path, &whole[..at]).expect("written");
            assert!(
                TaskPlan::read(dir.path(), |task| task == 0).is_err(),
                "cut at {at}"
            );
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).expect("written");
            assert!(
                TaskPlan::read(dir.path(), |task| task == 0).is_err(),
                "flipped at {at}"
            );
        }
    }

    #[test]
    fn an_equal_plan_keeps_what_is_done_and_another_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let plan = |n| {
            let tasks = (0..n).map(task).collect();
            TaskPlan::write(dir.path(), header(), tasks).expect("written")
        };
        let words = ["words".to_owned()];
        let done = |plan: &TaskPlan| {
            let receipt = plan.receipt(&plan.tasks[0], Kind::Documents, &words);
            receipt.expect("readable").is_some()
        };
        let first = plan(2);
        first.note(&first.tasks[0], made(3)).expect("noted");
        assert!(done(&first) && done(&plan(2)));
        assert!(!done(&plan(3)));
        assert!(
            first.note(&first.tasks[0], made(3)).is_err(),
            "its folder is gone"
        );
    }

    #[test]
    fn a_receipt_that_is_damaged_or_of_other_words_is_as_good_as_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let plan = TaskPlan::write(dir.path(), header(), vec![task(0)]).expect("written");
        let task = &plan.tasks[0];
        let receipt = plan.note(task, made(3)).expect("noted");
        let read = |words: &str| {
            let words = [words.to_owned()];
            let receipt = plan.receipt(task, Kind::Documents, &words);
            receipt.expect("readable")
        };
        assert_eq!(read("words"), Some(receipt));
        assert_eq!(read("other words"), None);
        let path = plan.dir().join(task.file(Kind::Documents, ".json"));
        let whole = fs::read(&path).expect("readable");
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).expect("written");
            assert_eq!(read("words"), None);
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).expect("written");
            assert_eq!(read("words"), None);
        }
    }
}
