//! Merging: what the tasks of a kind have made becomes what a run makes at that point, to the same bytes.
//!
//! Nothing is taken that is not whole, and nothing is merged while a task is missing. Results are taken in the order of the
//! images, however they came about.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::super::checkpoint::Keeper;
use super::super::featurize::provenance;
use super::super::learn;
use super::super::plan::Plan;
use super::super::progress::{Phase, Watch};
use super::super::run::{
    self, Finished, Outcome, needs_counting, note_documents, obtain_vocabularies,
};
use super::super::run_dir::{Found, RunDir};
use super::run::{Words, planned_job, sketch_of};
use super::{Kind, Task, check_kind};
use crate::error::{Error, Place, Result};
use crate::job::Job;
use crate::kernel::vocabulary::{Documents, Vocabulary};
use crate::shard::features::FeaturesWriter;
use crate::shard::manifest::{
    FeaturesFile, MANIFEST_FILE, MAX_REPEATED_BAD, ManifestOutput, State, Tally, vocabulary_files,
};
use crate::shard::sketch::{SketchReader, SketchRecord};
use crate::shard::spill::Sample;
use crate::shard::tasks::{self, Made, Receipt, TaskPlan};
use crate::shard::whole;
use crate::shard::written::for_each_rows;
use crate::stages::documents;
use crate::stages::sink::SinkFiles;

/// Tasks, or ranges of them, that an error names, at most.
const MAX_TOLD: usize = 20;

/// What was merged.
#[derive(Debug)]
pub enum Merged {
    /// Words, or what was counted of them.
    Words {
        /// Of which kind the tasks were.
        kind: Kind,
        /// The vocabularies, by their paths in the run's directory.
        files: Vec<String>,
        /// Whether that had been merged before.
        was_done: bool,
    },
    /// Vectors: the run is done.
    Run(Box<Outcome>),
}

/// Merges what the tasks of a kind have made. Words are learned here; after the vectors the run is ended as `run` ends one,
/// with its clusters, manifest and report, and the tasks' folder is gone.
///
/// # Errors
/// Tasks that are not done; and as planning, and as a run.
pub fn merge(job: &Job, kind: Kind, watch: Watch<'_>) -> Result<Merged> {
    let start = Instant::now();
    watch.progress.enter(Phase::Opening);
    check_kind(job, kind)?;
    let tasks = match TaskPlan::read(&job.output.dir, |_| true) {
        // A run that is done needs none.
        Err(error) if !job.output.dir.join(MANIFEST_FILE).is_file() => return Err(error),
        tasks => tasks,
    };
    let plan = Plan::new(job)?;
    let (dir, found) = RunDir::open(&plan, false)?;
    let words = |was_done| Merged::Words {
        kind,
        files: vocabulary_files(&plan.job.patches()),
        was_done,
    };
    let end = |found| {
        let outcome = run::go_on(job, &plan, &dir, found, start, watch)?;
        Ok(Merged::Run(Box::new(outcome)))
    };
    let mut state = match found {
        Found::State(state) if state.features.len() < plan.input.shards.len() => state,
        // Where all vectors are there, words are too; the plan may be gone already.
        found => {
            return match kind {
                Kind::Featurize => end(found),
                Kind::Sample | Kind::Documents => Ok(words(true)),
            };
        }
    };
    let tasks = tasks?;
    planned_job(job, &tasks.header)?;
    check_covers(&tasks, &state)?;
    let merger = Merger {
        plan: &plan,
        dir: &dir,
        tasks: &tasks,
        watch,
    };
    let was_done = match kind {
        Kind::Sample => merger.sample(&mut state)?,
        Kind::Documents => merger.documents(&mut state)?,
        Kind::Featurize => {
            merger.featurize(&mut state)?;
            return end(Found::State(state));
        }
    };
    watch.progress.enter(Phase::Done);
    Ok(words(was_done))
}

/// The plan is of these very inputs, all of them, in order.
fn check_covers(tasks: &TaskPlan, state: &State) -> Result<()> {
    let mut expected = state.inputs.iter().enumerate();
    let mut current: Option<&Task> = None;
    let covers = tasks.tasks.iter().all(|task| {
        let is_next = match current {
            Some(last) if last.row_groups.1 < last.of_row_groups => {
                task.shard == last.shard && task.row_groups.0 == last.row_groups.1
            }
            _ => {
                let next = expected.next();
                next == Some((task.shard, &task.input)) && task.row_groups.0 == 0
            }
        };
        current = Some(task);
        is_next
    });
    let is_last = current.is_some_and(|task| task.row_groups.1 == task.of_row_groups);
    if covers && is_last && expected.next().is_none() {
        return Ok(());
    }
    Err(Error::File {
        place: Place::file(tasks.dir()),
        message: "its plan is of other inputs than the run in this directory".to_owned(),
        help: Some("plan again with `bovw task plan`".to_owned()),
    })
}

/// What all merging works with.
struct Merger<'a> {
    plan: &'a Plan,
    dir: &'a RunDir,
    tasks: &'a TaskPlan,
    watch: Watch<'a>,
}

impl Merger<'_> {
    /// Learns the words from the samples of all tasks; whether that had been done.
    fn sample(&self, state: &mut State) -> Result<bool> {
        let (plan, dir) = (self.plan, self.dir);
        if state.vocabulary.len() == plan.job.preparations.len() {
            return Ok(true);
        }
        let receipts = self.receipts(Kind::Sample, &[])?;
        let every = Duration::from_secs(plan.job.run.checkpoint_seconds);
        let keeper = Keeper::new(dir.path(), &state.identity, every);
        // The files of an interrupted run's sample are about to be another's.
        keeper.clear_sampling()?;
        let gather = |at| self.gather(at, &receipts);
        obtain_vocabularies(plan, dir, state, &keeper, &gather, self.watch)?;
        Ok(false)
    }

    /// The sample of patches of the size `at` that a run would have gathered.
    fn gather(&self, at: usize, receipts: &[Receipt]) -> Result<Sample> {
        let progress = self.watch.progress;
        progress.enter(Phase::Sampling);
        let mut gather = learn::empty_sample(self.plan, at, self.dir.path());
        let counters = &progress.learn.stages[3];
        let n_before = counters.done();
        progress
            .learn
            .set_total(n_before + self.plan.input.n_rows());
        for (task, receipt) in self.tasks.tasks.iter().zip(receipts) {
            let Made::Sample { sketches } = &receipt.made else {
                unreachable!("receipts are of the kind that was asked for");
            };
            let sketch = sketches.get(at).ok_or_else(|| self.damaged(task))?;
            counters.count(task.rows, || {
                self.read_sketch(at, task, sketch, |record| {
                    gather.push_record(&record.record(), &record.hashes)
                })
            })?;
        }
        gather.finish()
    }

    fn read_sketch(
        &self,
        at: usize,
        task: &Task,
        sketch: &ManifestOutput,
        mut each: impl FnMut(&SketchRecord) -> Result<()>,
    ) -> Result<()> {
        let path = self.tasks.dir().join(&sketch.path);
        let file = File::open(&path).map_err(|source| Error::io(&path, "open", source))?;
        let of = sketch_of(&self.plan.job, &self.tasks.header, at);
        let max_bytes = self.plan.memory.batches_bytes;
        let mut reader = SketchReader::new(BufReader::new(file), &path, &of, max_bytes)?;
        let images = task.first_row..task.first_row.saturating_add(task.input.rows);
        while let Some(records) = reader.next_batch()? {
            if self.watch.interrupt.load(Relaxed) {
                return Err(Error::Interrupted);
            }
            for record in &records {
                if !images.contains(&record.image) {
                    return Err(self.damaged(task));
                }
                each(record)?;
            }
        }
        Ok(())
    }

    /// Adds up what all tasks have counted and writes the words again, with it; whether that had been done.
    fn documents(&self, state: &mut State) -> Result<bool> {
        let mut vocabularies = self.vocabularies(Kind::Documents, state)?;
        if !needs_counting(self.plan, &vocabularies.vocabularies) {
            return Ok(true);
        }
        let receipts = self.receipts(Kind::Documents, &vocabularies.key)?;
        let ks = vocabularies.vocabularies.iter().map(Vocabulary::k);
        let mut sums: Vec<Documents> = ks.map(documents::none).collect();
        for (task, receipt) in self.tasks.tasks.iter().zip(&receipts) {
            let Made::Documents { counts, .. } = &receipt.made else {
                unreachable!("receipts are of the kind that was asked for");
            };
            let can_be = |(sum, counted): (&Documents, &Documents)| {
                counted.n <= task.rows
                    && counted.with_word.len() == sum.with_word.len()
                    && counted.with_word.iter().all(|&n| n <= counted.n)
            };
            if counts.len() != sums.len() || !sums.iter().zip(counts).all(can_be) {
                return Err(self.damaged(task));
            }
            for (sum, counted) in sums.iter_mut().zip(counts) {
                documents::add(sum, counted);
            }
        }
        let words = &mut vocabularies.vocabularies;
        note_documents(self.plan, words, sums, self.dir, state)?;
        Ok(false)
    }

    /// Brings the vectors of every shard that has none yet into the run's directory.
    fn featurize(&self, state: &mut State) -> Result<()> {
        self.watch.progress.enter(Phase::Featurizing);
        let words = self.vocabularies(Kind::Featurize, state)?;
        let mut pending: BTreeMap<usize, Vec<&Task>> = BTreeMap::new();
        for task in &self.tasks.tasks {
            if !state.features.contains_key(&task.shard) {
                pending.entry(task.shard).or_default().push(task);
            }
        }
        let found = self.made(pending.values().flatten().copied(), &words.key)?;
        let provenance = provenance(self.plan, &state.vocabulary);
        let n_rows = pending.keys().map(|&at| self.plan.input.shards[at].n_rows);
        let counters = &self.watch.progress.featurize;
        counters.set_total(n_rows.sum());
        let mut finished = Finished::new(self.dir, state, self.watch)?;
        let mut parts = found.into_iter();
        let result = pending.iter().try_for_each(|(&shard, tasks)| {
            if self.watch.interrupt.load(Relaxed) {
                return Err(Error::Interrupted);
            }
            let own: Vec<FeaturesFile> = parts.by_ref().take(tasks.len()).collect();
            let rows = self.plan.input.shards[shard].n_rows;
            let file = counters.stages[3].count(rows, || match tasks.as_slice() {
                [task] if task.is_whole() => self.bring(shard, own),
                _ => self.join(shard, &own, provenance(shard)),
            })?;
            finished.note(shard, file)
        });
        let noted = finished.end();
        // None of them was featurized here, as whoever tells the pace must know.
        counters.stages[3].set_done(0);
        result.and(noted)
    }

    /// Gives the files of a whole shard their final names. Some may have them since a merge that was cut off.
    fn bring(&self, shard: usize, own: Vec<FeaturesFile>) -> Result<FeaturesFile> {
        let files = self.final_files(shard);
        let Some(mut file) = own.into_iter().next() else {
            unreachable!("a task for each shard");
        };
        let bring = |from: &mut String, to: String| {
            let (from_path, to_path) = (self.tasks.dir().join(&*from), self.dir.path().join(&to));
            if from_path.exists() {
                tasks::bring(&from_path, &to_path)?;
            }
            *from = to;
            Ok(())
        };
        if let Some(list) = &mut file.bad_list {
            bring(&mut list.path, files.bad_list)?;
        }
        bring(&mut file.path, files.features)?;
        Ok(file)
    }

    /// Writes the features file of a shard from its parts, as if its rows had come one after the other.
    fn join(
        &self,
        shard: usize,
        parts: &[FeaturesFile],
        provenance: String,
    ) -> Result<FeaturesFile> {
        let (plan, files) = (self.plan, self.final_files(shard));
        let layout = plan
            .input
            .layout(&plan.input.shards[shard], plan.n_values, plan.has_status());
        let path = self.dir.path().join(&files.features);
        let mut writer = FeaturesWriter::create(&path, layout.clone(), provenance)?;
        let (mut tally, mut n_bad, mut bad_images) = (Tally::default(), 0, Vec::new());
        for part in parts {
            for_each_rows(&self.tasks.dir().join(&part.path), &layout, |rows| {
                writer.push(rows)
            })?;
            tally.add(part.tally);
            n_bad += part.n_bad;
            bad_images.extend_from_slice(&part.bad_images);
        }
        bad_images.truncate(MAX_REPEATED_BAD);
        let bad_list = self.join_lists(parts, files.bad_list, n_bad)?;
        let written = writer.finish()?;
        Ok(FeaturesFile {
            path: files.features,
            rows: written.n_rows,
            file: written.file,
            tally,
            n_bad,
            bad_list,
            bad_images,
            input_blake3: parts
                .iter()
                .map(|part| part.input_blake3.as_str())
                .collect(),
        })
    }

    fn join_lists(
        &self,
        parts: &[FeaturesFile],
        path: String,
        rows: u64,
    ) -> Result<Option<ManifestOutput>> {
        let lists = parts.iter().filter_map(|part| part.bad_list.as_ref());
        let lists: Vec<PathBuf> = lists
            .map(|list| self.tasks.dir().join(&list.path))
            .collect();
        if lists.is_empty() {
            return Ok(None);
        }
        let full_path = self.dir.path().join(&path);
        whole::create_parent(&full_path)?;
        let file = tasks::join_lists(&lists, &full_path)?;
        Ok(Some(ManifestOutput { path, rows, file }))
    }

    fn final_files(&self, shard: usize) -> SinkFiles {
        SinkFiles::of_shard(&self.plan.input.shards[shard].name)
    }

    /// The words that the state has, all of them.
    fn vocabularies(&self, kind: Kind, state: &State) -> Result<Words> {
        let words = Words::read(&self.plan.job, kind)?;
        if state.vocabulary.len() == words.vocabularies.len() {
            return Ok(words);
        }
        Err(Error::File {
            place: Place::file(self.dir.path()),
            message: "its words are not learned yet".to_owned(),
            help: Some("merge the samples first: `bovw task merge JOB.toml --kind sample`".into()),
        })
    }

    /// The receipts of all tasks.
    fn receipts(&self, kind: Kind, words: &[String]) -> Result<Vec<Receipt>> {
        let mut receipts = Vec::with_capacity(self.tasks.tasks.len());
        let mut missing = Vec::new();
        for task in &self.tasks.tasks {
            match self.tasks.receipt(task, kind, words)? {
                Some(receipt) => receipts.push(receipt),
                None => missing.push(task.task),
            }
        }
        self.check_none_missing(kind, &missing)?;
        Ok(receipts)
    }

    /// The features files of some tasks, in the tasks' folder or, after a merge that was cut off, at their final places.
    fn made<'t>(
        &self,
        tasks: impl Iterator<Item = &'t Task>,
        words: &[String],
    ) -> Result<Vec<FeaturesFile>> {
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for task in tasks {
            let receipt = self.tasks.read_receipt(task, Kind::Featurize, words)?;
            let file = match receipt.map(|receipt| receipt.made) {
                Some(Made::Featurize { file, .. }) if self.is_there(task, &file)? => Some(file),
                _ => None,
            };
            match file {
                Some(file) => files.push(file),
                None => missing.push(task.task),
            }
        }
        self.check_none_missing(Kind::Featurize, &missing)?;
        Ok(files)
    }

    fn is_there(&self, task: &Task, file: &FeaturesFile) -> Result<bool> {
        let places = self.final_files(task.shard);
        let lists = file.bad_list.iter();
        let lists = lists.map(|list| (&list.path, &list.file, &places.bad_list));
        for (from, whole, to) in lists.chain([(&file.path, &file.file, &places.features)]) {
            let is_whole = tasks::is_whole(&self.tasks.dir().join(from), whole)?
                || task.is_whole() && tasks::is_whole(&self.dir.path().join(to), whole)?;
            if !is_whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_none_missing(&self, kind: Kind, missing: &[usize]) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let ranges = ranges(missing);
        let told = &ranges[..ranges.len().min(MAX_TOLD)];
        let n_told: usize = told.iter().map(|(first, last)| last - first + 1).sum();
        let more = match missing.len() - n_told {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let texts = told.iter().map(|&(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        let texts: Vec<String> = texts.collect();
        let (n, kind) = (missing.len(), kind.name());
        Err(Error::Data {
            message: format!(
                "{n} of {} tasks of kind {kind} are not done, or what they made is not whole: {}{more}",
                self.tasks.header.tasks,
                texts.join(", ")
            ),
            help: Some(format!(
                "run them: bovw task run JOB.toml --kind {kind} {}",
                texts.join(" ")
            )),
        })
    }

    /// What a task has made is whole, and cannot be what it was asked for.
    fn damaged(&self, task: &Task) -> Error {
        Error::File {
            place: Place::file(&self.tasks.dir().join(&task.name)),
            message: format!("what task {} has made cannot be of its images", task.task),
            help: Some("plan again with `bovw task plan JOB.toml --fresh`".to_owned()),
        }
    }
}

/// Rising numbers as stretches: first and last.
fn ranges(numbers: &[usize]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_told_as_one_stretch() {
        assert_eq!(ranges(&[0, 2, 3, 4, 9]), [(0, 0), (2, 4), (9, 9)]);
        assert_eq!(ranges(&[]), []);
    }
}
