//! `bovw verify`: whether a finished run's files are whole, agree with its manifest and with each other, and say what the
//! images say.
//!
//! ```text
//! files       there, sizes, hashes and rows as in the manifest; nothing left over
//! inputs      unchanged, where they are still there
//! provenance  footers and manifest name the same job, words and inputs
//! counts      every row adds up, and so do all of them
//! recount     vectors and clusters of some images, by brute force in float64
//! ```
//!
//! Nothing is written, and what a file claims is never believed: a damaged one is a finding, and the rest is checked all
//! the same. Memory does not grow with the rows of a run, only with its number of files.

mod counts;
mod files;
mod provenance;
mod recount;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result};
use crate::job::{Job, JobFile, resolved, sizes_of};
use crate::shard::manifest::{
    CLUSTERS_DIR, FEATURES_DIR, FORMAT, MANIFEST_FILE, Manifest, ManifestOutput, STATE_FILE,
    VOCABULARY_FILE, vocabulary_files,
};

use super::progress::Progress;
use super::report::no_run;
use super::run_dir;

/// Images whose vectors are recounted where nobody says how many.
pub const DEFAULT_SAMPLE: u64 = 100;

/// Findings of one kind in one file that are told; of more, only the number.
const MAX_TOLD: u64 = 10;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Files are there and whole.
    Files,
    /// Inputs are unchanged.
    Inputs,
    /// Footers and manifest agree.
    Provenance,
    /// Rows add up.
    Counts,
    /// Vectors and clusters are what brute force gives.
    Recount,
}

impl Check {
    /// All of them, in the order checked.
    pub const ALL: [Check; 5] = [
        Check::Files,
        Check::Inputs,
        Check::Provenance,
        Check::Counts,
        Check::Recount,
    ];
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// By which check.
    pub check: Check,
    /// Whether it is wrong; if not, it is only good to know.
    pub is_problem: bool,
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

/// What was checked, and how much of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Output files that are whole.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Inputs that are unchanged.
    pub inputs: u64,
    /// Their bytes.
    pub input_bytes: u64,
    /// Inputs that are not there any more.
    pub missing_inputs: u64,
    /// Footers that agree with the manifest or were said not to.
    pub footers: u64,
    /// Vectors that were added up.
    pub vectors: u64,
    /// Rows of clusters files that were counted.
    pub cluster_rows: u64,
    /// Images that were looked at again.
    pub recounted_images: u64,
    /// Clusters of them that were found again.
    pub recounted_clusters: u64,
    /// Problems by check, in the order of [`Check::ALL`].
    pub problems: [u64; Check::ALL.len()],
    /// Notes.
    pub notes: u64,
}

impl Verified {
    /// Problems of all checks.
    pub fn n_problems(&self) -> u64 {
        self.problems.iter().sum()
    }
}

/// Checks a finished run; `sample` images of it are recounted. `on_finding` hears of each finding as it is made.
///
/// # Errors
/// There is no finished run in `dir`, another run is at work in it, or its manifest cannot be read. Whatever else is wrong
/// is a finding.
pub fn verify(
    dir: &Path,
    sample: u64,
    progress: &Progress,
    on_finding: &mut dyn FnMut(&Finding),
) -> Result<Verified> {
    let _lock = run_dir::lock_to_read(dir)?;
    let manifest = manifest(dir)?;
    let mut run = Run::new(dir, &manifest, progress, on_finding);
    let job = run.job();
    files::outputs(&mut run);
    files::leftovers(&mut run)?;
    files::inputs(&mut run);
    provenance::check(&mut run, job.as_ref());
    counts::check(&mut run, job.as_ref());
    if let Some(job) = &job {
        recount::check(&mut run, job, sample);
    }
    Ok(run.verified)
}

/// The manifest of a run that is finished.
fn manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST_FILE);
    if dir.join(STATE_FILE).exists() || !path.is_file() {
        return Err(no_run(dir));
    }
    let damaged = |message: String| Error::File {
        place: path.as_path().into(),
        message,
        help: Some("`bovw run JOB.toml --fresh` makes the run again".to_owned()),
    };
    match Manifest::read(dir) {
        Ok(Some(manifest)) if manifest.format == FORMAT => Ok(manifest),
        Ok(Some(manifest)) => Err(damaged(format!(
            "is of format {}, this version knows {FORMAT}",
            manifest.format
        ))),
        Ok(None) => Err(no_run(dir)),
        Err(Error::OtherJob { message, .. }) => {
            let why = message.split_once("bovw: ");
            let why = why.map_or(&*message, |(_, why)| why);
            Err(damaged(format!("is damaged, or of another version: {why}")))
        }
        Err(error) => Err(error),
    }
}

/// A run that is being checked, and what was found so far.
struct Run<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    // Outputs that are as the manifest has them, by their paths there; only these are looked into.
    whole: BTreeSet<&'a str>,
    // Places of the inputs that are unchanged.
    unchanged: BTreeSet<usize>,
    // Names of its vocabularies, one for each size of patches in its job.
    vocabularies: Vec<String>,
    // Where the job's relative paths start.
    job_dir: PathBuf,
    progress: &'a Progress,
    verified: Verified,
    on_finding: &'a mut dyn FnMut(&Finding),
}

impl<'a> Run<'a> {
    fn new(
        dir: &'a Path,
        manifest: &'a Manifest,
        progress: &'a Progress,
        on_finding: &'a mut dyn FnMut(&Finding),
    ) -> Run<'a> {
        Run {
            dir,
            manifest,
            whole: BTreeSet::new(),
            unchanged: BTreeSet::new(),
            vocabularies: match sizes_of(&manifest.job) {
                Ok(patches) => vocabulary_files(&patches),
                // That it is no job is told.
                Err(_) => vec![VOCABULARY_FILE.to_owned()],
            },
            job_dir: PathBuf::from(manifest.run["job_dir"].as_str().unwrap_or(".")),
            progress,
            verified: Verified::default(),
            on_finding,
        }
    }

    /// The job that the manifest says was run.
    fn job(&mut self) -> Option<Job> {
        let checked = serde_json::from_value::<JobFile>(self.manifest.job.clone())
            .map_err(|error| error.to_string())
            .and_then(|mut file| {
                // Another machine may have other instruction sets.
                file.run.simd = None;
                Job::check(file, &self.job_dir).map_err(|error| error.to_string())
            });
        let place = self.path(MANIFEST_FILE);
        match checked {
            Ok(job) => {
                let identity = self.manifest.identity.split('+').next();
                if identity != Some(resolved::identity(&job).as_str()) {
                    let what = "its \"job\" is not the one that its \"identity\" is of";
                    self.problem(Check::Provenance, &*place, what);
                }
                Some(job)
            }
            Err(error) => {
                let what = format!("its \"job\" is none that can be run: {error}");
                self.problem(Check::Provenance, &*place, what);
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// An output's file, if it is as the manifest has it.
    fn whole(&self, name: &str) -> Option<PathBuf> {
        self.whole.contains(name).then(|| self.path(name))
    }

    /// The features files, in the order of the inputs that they are of.
    fn features(&self) -> impl Iterator<Item = &'a ManifestOutput> + use<'a> {
        self.outputs_in(FEATURES_DIR)
    }

    fn outputs_in(
        &self,
        folder: &'static str,
    ) -> impl Iterator<Item = &'a ManifestOutput> + use<'a> {
        let outputs = self.manifest.outputs.iter();
        outputs.filter(move |output| Path::new(&output.path).starts_with(folder))
    }

    fn output(&self, name: &str) -> Option<&'a ManifestOutput> {
        self.manifest
            .outputs
            .iter()
            .find(|output| output.path == name)
    }

    fn input_path(&self, at: usize) -> PathBuf {
        self.job_dir.join(&self.manifest.inputs[at].input.path)
    }

    fn problem(&mut self, check: Check, place: impl Into<Place>, message: impl Into<String>) {
        let at = Check::ALL.iter().position(|other| *other == check);
        self.verified.problems[at.unwrap_or(0)] += 1;
        self.tell(check, true, place.into(), message.into());
    }

    fn note(&mut self, check: Check, place: impl Into<Place>, message: impl Into<String>) {
        self.verified.notes += 1;
        self.tell(check, false, place.into(), message.into());
    }

    /// A file that could not be read to its end.
    fn failed(&mut self, check: Check, path: &Path, error: &Error) {
        let message = error.to_string();
        let message = message.split("\n  help: ").next().unwrap_or_default();
        let known = format!("{}: ", path.display());
        let message = message.strip_prefix(&known).unwrap_or(message).to_owned();
        let place = error.place().cloned().unwrap_or_else(|| path.into());
        let message = match message.strip_prefix(&format!("{place}: ")) {
            Some(rest) => rest.to_owned(),
            None => message,
        };
        self.problem(check, place, message);
    }

    fn tell(&mut self, check: Check, is_problem: bool, place: Place, message: String) {
        (self.on_finding)(&Finding {
            check,
            is_problem,
            place,
            message,
        });
    }

    /// Notes what two numbers or texts must have in common and do not.
    fn same<T: PartialEq + std::fmt::Display>(
        &mut self,
        check: Check,
        place: impl Into<Place>,
        what: &str,
        found: T,
        expected: T,
    ) {
        if found != expected {
            self.problem(check, place, format!("{what}: {found}, not {expected}"));
        }
    }
}

/// Row problems of one file: the first are told, the rest counted.
struct RowProblems<'p> {
    path: &'p Path,
    check: Check,
    told: Vec<(u64, String)>,
    n: u64,
}

impl<'p> RowProblems<'p> {
    fn new(check: Check, path: &'p Path) -> RowProblems<'p> {
        RowProblems {
            path,
            check,
            told: Vec::new(),
            n: 0,
        }
    }

    fn add(&mut self, row: u64, message: impl FnOnce() -> String) {
        self.n += 1;
        if self.n <= MAX_TOLD {
            self.told.push((row, message()));
        }
    }

    fn tell(self, run: &mut Run<'_>) {
        let n_told = self.told.len() as u64;
        for (row, message) in self.told {
            run.problem(self.check, Place::file(self.path).row(row), message);
        }
        if self.n > n_told {
            let more = format!("{} more rows are wrong", self.n - n_told);
            run.problem(self.check, self.path, more);
        }
    }
}

/// A sum of numbers that a file may claim anything of.
fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The name that a features file, its list of bad images and its input have in common.
fn stem(output: &ManifestOutput) -> &str {
    let name = Path::new(&output.path).file_stem();
    name.and_then(|name| name.to_str()).unwrap_or_default()
}

/// Files of a clustering that are listed and whole.
fn cluster_file(run: &Run<'_>, name: &str) -> Option<PathBuf> {
    Path::new(name)
        .starts_with(CLUSTERS_DIR)
        .then(|| run.whole(name))
        .flatten()
}
