//! The run's directory: whose it is, what an earlier run finished there, and the lock that keeps a second run out.
//!
//! Nothing is removed but what a state or manifest of ours lists, and nothing of another job is written over.

use std::fs::{self, File, TryLockError};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::job::{Clustering, Io, Job, VocabularySource, resolved, sizes_of};
use crate::report;
use crate::shard::each::Each;
use crate::shard::examples::{PICTURES_DIR, patches_file};
use crate::shard::input::InputSet;
use crate::shard::journal::{self, JOURNAL_FILE};
use crate::shard::manifest::{
    BAD_IMAGES_DIR, BadImage, CLUSTERS_DIR, ClusterFiles, FEATURES_DIR, FORMAT, FeaturesFile,
    InputState, MANIFEST_FILE, Manifest, ManifestOutput, STATE_FILE, State, VOCABULARY_FILE,
    hash_file, vocabulary_files,
};
use crate::shard::read::Shard;
use crate::shard::{clusters, features, tasks, whole};

use super::checkpoint;
use super::plan::Plan;

/// The lock's name in a run's directory. It stays; only whoever holds it is in the way.
pub(super) const LOCK_FILE: &str = ".bovw-lock";

/// A run's directory, locked.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

/// What an earlier run left.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or what an interrupted run of this job finished.
    State(Box<State>),
    /// A finished run of this job.
    Done(Box<Manifest>),
}

impl RunDir {
    /// Makes the directory if need be, locks it, and finds what is there. `fresh` removes what an earlier run left.
    pub fn open(plan: &Plan, fresh: bool) -> Result<(RunDir, Found)> {
        let path = plan.job.output.dir.clone();
        whole::create_dir(&path)?;
        let lock = lock(&path)?;
        let dir = RunDir { path, _lock: lock };
        if fresh {
            dir.clear()?;
        }
        // First, or they would pass for files of somebody else's.
        dir.remove_leftovers()?;
        let found = dir.find(plan)?;
        for folder in [FEATURES_DIR, PICTURES_DIR] {
            whole::create_dir(&dir.path.join(folder))?;
        }
        Ok((dir, found))
    }

    /// Removes temporary files that a killed run left.
    fn remove_leftovers(&self) -> Result<()> {
        // Tasks may be at work in their own folder, and remove what is theirs.
        tasks::remove_leftovers(&self.path)?;
        for folder in ["", FEATURES_DIR, BAD_IMAGES_DIR, CLUSTERS_DIR, PICTURES_DIR] {
            let folder = self.path.join(folder);
            if folder.is_dir() {
                whole::remove_leftovers(&folder)?;
            }
        }
        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the manifest and removes the state: the run is done.
    pub fn finish(&self, manifest: &Manifest) -> Result<()> {
        manifest.write(&self.path)?;
        checkpoint::clear(&self.path)?;
        tasks::remove(&self.path)?;
        journal::remove(&self.path)?;
        whole::remove(&self.path.join(STATE_FILE))
    }

    /// Forgets and removes the clusterings that are not among `wanted`: those of a job with other `[[cluster]]` tables.
    pub fn keep_clusters(&self, wanted: &[Clustering], state: &mut State) -> Result<()> {
        let wanted: Vec<String> = wanted.iter().map(resolved::clustering_identity).collect();
        let is_wanted = |files: &ClusterFiles| wanted.contains(&files.entry.identity);
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut state.clusters)
            .into_iter()
            .partition(is_wanted);
        state.clusters = kept;
        if gone.is_empty() {
            return Ok(());
        }
        state.write(&self.path)?;
        // A clustering of the same name, made in another way, has taken the place of an old one's files.
        let kept = state.clusters.iter().flat_map(|files| &files.files);
        let kept: Vec<&str> = kept.map(|file| file.path.as_str()).collect();
        for file in gone.iter().flat_map(|files| &files.files) {
            if !kept.contains(&file.path.as_str()) {
                self.remove_listed(&file.path)?;
            }
        }
        Ok(())
    }

    fn find(&self, plan: &Plan) -> Result<Found> {
        let fresh = new_state(plan)?;
        if let Some(mut state) = State::read(&self.path)? {
            journal::complete(&self.path, &mut state);
            self.check_same(&fresh, &state.identity, &state.job, &state.inputs)?;
            return Ok(Found::State(Box::new(self.without_lost(plan, state))));
        }
        if let Some(manifest) = Manifest::read(&self.path)? {
            let inputs: Vec<InputState> = manifest
                .inputs
                .iter()
                .map(|input| input.input.clone())
                .collect();
            self.check_same(&fresh, &manifest.identity, &manifest.job, &inputs)?;
            // Whoever removes the pictures does not want the vectors made again.
            let mut results = manifest
                .outputs
                .iter()
                .filter(|output| !Path::new(&output.path).starts_with(PICTURES_DIR));
            let is_whole = results
                .all(|output| has_size(&self.path.join(&output.path), output.file.size_bytes));
            if is_whole && has_clusters(&manifest, plan) {
                return Ok(Found::Done(Box::new(manifest)));
            }
            let state = state_of(fresh, manifest, plan);
            return Ok(Found::State(Box::new(self.without_lost(plan, state))));
        }
        self.check_unclaimed(plan)?;
        Ok(Found::State(Box::new(fresh)))
    }

    /// Another job's results, or this job's from other inputs, are not written over.
    fn check_same(
        &self,
        fresh: &State,
        identity: &str,
        job: &serde_json::Value,
        inputs: &[InputState],
    ) -> Result<()> {
        let message = if fresh.identity != identity {
            let mut differences = resolved::differences(job, &fresh.job);
            if differences.is_empty() {
                differences.push("its words, or the version of bovw, were others".to_owned());
            }
            format!(
                "holds the output of a different job:\n    {}",
                differences.join("\n    ")
            )
        } else if fresh.inputs != inputs {
            format!(
                "was made from inputs that have changed since: {}",
                changed_inputs(inputs, &fresh.inputs)
            )
        } else {
            return Ok(());
        };
        Err(Error::OtherJob {
            dir: self.path.clone(),
            message,
            help: Some("choose another output.dir, or start over with --fresh".to_owned()),
        })
    }

    /// Files that no run of ours accounts for are not written over.
    fn check_unclaimed(&self, plan: &Plan) -> Result<()> {
        let clusters = plan.clusters.as_ref().map(|_| CLUSTERS_DIR);
        let vocabularies = vocabulary_files(&plan.job.patches());
        let vocabularies = vocabularies.iter().map(String::as_str);
        for name in vocabularies.chain([FEATURES_DIR]).chain(clusters) {
            let path = self.path.join(name);
            let is_empty_dir =
                fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
            if path.exists() && !is_empty_dir {
                return Err(Error::OtherJob {
                    dir: self.path.clone(),
                    message: format!("has a \"{name}\" that is not of a run of bovw"),
                    help: Some("choose another output.dir, or move it away".to_owned()),
                });
            }
        }
        Ok(())
    }

    /// The state without files that are not there any more.
    fn without_lost(&self, plan: &Plan, mut state: State) -> State {
        let is_there = |path: &str, size_bytes| has_size(&self.path.join(path), size_bytes);
        let names = vocabulary_files(&plan.job.patches());
        let whole = state
            .vocabulary
            .iter()
            .zip(&names)
            .take_while(|(file, name)| {
                hash_file(&self.path.join(name)).is_ok_and(|blake3| blake3 == file.blake3)
            });
        let n_whole = whole.count();
        state.vocabulary.truncate(n_whole);
        state.learning.truncate(n_whole);
        // All features are of all these very words.
        if n_whole < names.len() {
            state.features.clear();
        }
        state
            .patches
            .retain(|file| is_there(&file.path, file.file.size_bytes));
        state
            .features
            .retain(|_, file| is_there(&file.path, file.file.size_bytes));
        // Clusters of features that are made again stay: those will be the same.
        state.clusters.retain(|clusters| {
            let mut files = clusters.files.iter();
            files.all(|file| is_there(&file.path, file.file.size_bytes))
        });
        state
    }

    fn clear(&self) -> Result<()> {
        let mut files: Vec<String> = Vec::new();
        if let Some(mut state) = State::read(&self.path)? {
            journal::complete(&self.path, &mut state);
            for file in state.features.into_values() {
                files.push(file.path);
                files.extend(file.bad_list.map(|list| list.path));
            }
            let clusters = state.clusters.into_iter();
            files.extend(
                clusters
                    .flat_map(|clusters| clusters.files)
                    .map(|file| file.path),
            );
            let names = match sizes_of(&state.job) {
                Ok(patches) => vocabulary_files(&patches),
                Err(_) => vec![VOCABULARY_FILE.to_owned()],
            };
            files.extend(names.into_iter().take(state.vocabulary.len()));
            files.extend(state.patches.iter().map(|patches| patches.path.clone()));
        }
        if let Some(manifest) = Manifest::read(&self.path)? {
            files.extend(report::files(&manifest));
            files.extend(manifest.outputs.into_iter().map(|output| output.path));
        }
        if !files.is_empty() {
            files.extend(self.unnoted(FEATURES_DIR, features::KEY)?);
            files.extend(self.unnoted(CLUSTERS_DIR, clusters::KEY)?);
        }
        files.extend([MANIFEST_FILE, STATE_FILE, JOURNAL_FILE].map(str::to_owned));
        for file in &files {
            self.remove_listed(file)?;
        }
        tasks::remove(&self.path)?;
        checkpoint::clear(&self.path)
    }
}

impl RunDir {
    /// Removes a file that a state or manifest lists. One that names files elsewhere is not ours to follow.
    fn remove_listed(&self, file: &str) -> Result<()> {
        let mut parts = Path::new(file).components();
        match parts.all(|part| matches!(part, Component::Normal(_))) {
            true => whole::remove(&self.path.join(file)),
            false => Ok(()),
        }
    }

    /// Files of a folder that a killed run finished but had not noted yet: those with our key in their footer.
    fn unnoted(&self, folder: &str, key: &str) -> Result<Vec<String>> {
        let dir = self.path.join(folder);
        let Ok(entries) = fs::read_dir(&dir) else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| Error::io(&dir, "list", source))?;
            let is_ours = Shard::open(&entry.path(), Io::Read)
                .is_ok_and(|shard| shard.key_value(key).is_some());
            if let (true, Ok(name)) = (is_ours, entry.file_name().into_string()) {
                files.push(format!("{folder}/{name}"));
            }
        }
        Ok(files)
    }
}

/// Whether a finished run has the job's clusterings, and no others.
fn has_clusters(manifest: &Manifest, plan: &Plan) -> bool {
    let wanted = plan.job.clusterings();
    let wanted = wanted.iter().map(resolved::clustering_identity);
    wanted.eq(manifest.clusters.iter().map(|entry| entry.identity.clone()))
}

/// The state that a finished run was left in, to be gone on from: what it made is not made again.
fn state_of(fresh: State, manifest: Manifest, plan: &Plan) -> State {
    let output = |path: &str| -> Option<&ManifestOutput> {
        let mut outputs = manifest.outputs.iter();
        outputs.find(|output| output.path == path)
    };
    let mut state = fresh;
    let patches = plan.job.patches();
    let names = vocabulary_files(&patches);
    let vocabularies = names.iter().map_while(|name| output(name));
    state.vocabulary = vocabularies.map(|output| output.file.clone()).collect();
    let kept = patches
        .iter()
        .map(|&patch| patches_file(patch, patches.len()));
    state.patches = kept.filter_map(|name| output(&name).cloned()).collect();
    state.learning = manifest.learning.clone();
    for (i, (input, shard)) in manifest.inputs.iter().zip(&plan.input.shards).enumerate() {
        let features = output(&format!("{FEATURES_DIR}/{}.parquet", shard.name));
        let (Some(counts), Some(features)) = (input.counts, features) else {
            continue;
        };
        let bad_images = manifest.bad_images.iter();
        let bad_images = bad_images.filter(|bad| bad.file == input.input.path);
        let file = FeaturesFile {
            path: features.path.clone(),
            rows: features.rows,
            file: features.file.clone(),
            tally: counts.tally,
            n_bad: counts.bad_images,
            bad_list: output(&format!("{BAD_IMAGES_DIR}/{}.jsonl", shard.name)).cloned(),
            bad_images: bad_images
                .map(|bad| bad.image.clone())
                .collect::<Vec<BadImage>>(),
            input_blake3: input.blake3.clone(),
        };
        state.features.insert(i, file);
    }
    for entry in &manifest.clusters {
        if let (Some(file), Some(centroids)) = (output(&entry.file), output(&entry.centroids)) {
            state.clusters.push(ClusterFiles {
                entry: entry.clone(),
                files: [file.clone(), centroids.clone()],
            });
        }
    }
    state
}

/// What a job whose colour is decided is known by.
pub(super) fn identity(job: &Job) -> Result<String> {
    let mut identity = resolved::identity(job);
    if let VocabularySource::From(paths) = &job.vocabulary {
        for path in paths {
            // Other words under the same name make another job.
            identity = format!("{identity}+{}", hash_file(path)?);
        }
    }
    Ok(identity)
}

/// A run that has done nothing yet.
fn new_state(plan: &Plan) -> Result<State> {
    Ok(State {
        format: FORMAT,
        identity: identity(&plan.job)?,
        job: resolved::to_json(&plan.job),
        inputs: plan
            .input
            .shards
            .iter()
            .map(|shard| InputState {
                path: from_job(&shard.path, &plan.job.base_dir),
                rows: shard.n_rows,
                fingerprint: shard.fingerprint.clone(),
                footer_blake3: shard.footer_blake3.clone(),
            })
            .collect(),
        vocabulary: Each::default(),
        learning: Each::default(),
        patches: Each::default(),
        features: std::collections::BTreeMap::new(),
        clusters: Vec::new(),
    })
}

/// A path as the job file would have it, so that a job may be run from anywhere, and moved with its data.
fn from_job(path: &Path, base_dir: &Path) -> String {
    path.strip_prefix(base_dir)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Refuses a directory that holds inputs, by whatever links; globs that would find outputs were refused with the job.
pub fn check_apart(job: &Job, input: &InputSet) -> Result<()> {
    let help = "choose an output.dir that no glob of input.files reaches";
    let dir = job
        .output
        .dir
        .canonicalize()
        .unwrap_or_else(|_| job.output.dir.clone());
    for shard in &input.shards {
        let path = shard
            .path
            .canonicalize()
            .unwrap_or_else(|_| shard.path.clone());
        if path.starts_with(&dir) {
            let message = format!(
                "the input {} is inside the output directory",
                path.display()
            );
            return Err(Error::setting("output.dir", message, help));
        }
    }
    Ok(())
}

/// Locks a run's directory against other runs, until the file is closed.
pub(super) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| Error::io(&path, "create", source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(at_work(dir)),
        Err(TryLockError::Error(source)) => Err(Error::io(&path, "lock", source)),
    }
}

/// Keeps runs out while a directory is only read; several readers may be in it. Writes nothing.
pub(super) fn lock_to_read(dir: &Path) -> Result<Option<File>> {
    let path = dir.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        // A copy of a run's results needs no lock.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io(&path, "open", source)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(at_work(dir)),
        Err(TryLockError::Error(source)) => Err(Error::io(&path, "lock", source)),
    }
}

fn at_work(dir: &Path) -> Error {
    Error::OtherJob {
        dir: dir.to_owned(),
        message: "another run of bovw is at work in it".to_owned(),
        help: Some("wait until it has ended, or choose another output.dir".to_owned()),
    }
}

fn changed_inputs(old: &[InputState], new: &[InputState]) -> String {
    let changed = new
        .iter()
        .find(|input| !old.contains(input))
        .map(|input| input.path.clone());
    let gone = || {
        old.iter()
            .find(|input| !new.contains(input))
            .map(|input| input.path.clone())
    };
    changed
        .or_else(gone)
        .unwrap_or_else(|| "their order".to_owned())
}

fn has_size(path: &Path, size_bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == size_bytes)
}
