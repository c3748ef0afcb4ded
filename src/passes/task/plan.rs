//! Planning: a job's inputs cut into tasks. All footers are read here, so that no task has to.
//!
//! Planning the same again changes nothing: what tasks have done stays done.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::checkpoint::Keeper;
use super::super::plan::Plan;
use super::super::progress::{Phase, Watch};
use super::super::run::{needs_counting, obtain_vocabularies};
use super::super::run_dir::{Found, RunDir};
use super::{Kind, Task, kinds};
use crate::error::{Error, Result};
use crate::job::{Job, VocabularySource};
use crate::shard::manifest::{State, vocabulary_files};
use crate::shard::tasks::{PlanHeader, TaskPlan};
use crate::shard::vocabulary;

/// How a job is cut, and whether it starts over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Row groups of a task, at most; `None`: a task is a whole file.
    pub max_row_groups: Option<NonZeroUsize>,
    /// Remove what an earlier run of the job, or its tasks, left.
    pub fresh: bool,
}

/// A job that is cut into tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The tasks, by their numbers; none where the run is done.
    pub tasks: Vec<Task>,
    /// What they are to be asked for, in order, as far as it is not merged yet; none where the run is done.
    pub kinds: Vec<Kind>,
    /// The run's directory.
    pub dir: PathBuf,
}

/// Cuts a job into tasks and writes the plan into its run's directory. Words of `vocabulary.from` are taken over here.
///
/// # Errors
/// Whatever keeps the job from being run; another job's directory; a path that no plan can hold.
pub fn plan(job: &Job, options: PlanOptions, watch: Watch<'_>) -> Result<Planned> {
    watch.progress.enter(Phase::Opening);
    let plan = Plan::new(job)?;
    let (dir, found) = RunDir::open(&plan, options.fresh)?;
    let mut state = match found {
        Found::State(state) => *state,
        Found::Done(_) => {
            return Ok(Planned {
                tasks: Vec::new(),
                kinds: Vec::new(),
                dir: job.output.dir.clone(),
            });
        }
    };
    // From here on the directory is this job's.
    state.write(dir.path())?;
    if let VocabularySource::From(_) = job.vocabulary {
        take_over_words(&plan, &dir, &mut state, watch)?;
    }
    let tasks = tasks(&plan, &state, options.max_row_groups)?;
    let header = PlanHeader {
        format: 0,
        bovw: String::new(),
        plan: String::new(),
        identity: state.identity.clone(),
        color: plan.job.input.color.name().to_owned(),
        first_image: plan.first_image,
        tasks: 0,
    };
    let written = TaskPlan::write(dir.path(), header, tasks)?;
    watch.progress.enter(Phase::Done);
    Ok(Planned {
        tasks: written.tasks,
        kinds: kinds_left(&plan, &state, dir.path())?,
        dir: job.output.dir.clone(),
    })
}

/// Writes the job's finished words into its directory, where tasks look for words.
fn take_over_words(plan: &Plan, dir: &RunDir, state: &mut State, watch: Watch<'_>) -> Result<()> {
    let keeper = Keeper::new(dir.path(), &state.identity, Duration::MAX);
    let gather = |_| unreachable!("nothing is sampled for words that are there");
    obtain_vocabularies(plan, dir, state, &keeper, &gather, watch).map(|_| ())
}

/// What is to be done still: an interrupted run, or merges, may have done some of it.
fn kinds_left(plan: &Plan, state: &State, dir: &Path) -> Result<Vec<Kind>> {
    let names = vocabulary_files(&plan.job.patches());
    let has_words = state.vocabulary.len() == names.len();
    let has_documents = has_words && {
        let read = |name: &String| Ok(vocabulary::read(&dir.join(name))?.0);
        let words: Result<Vec<_>> = names.iter().map(read).collect();
        !needs_counting(plan, &words?)
    };
    let mut kinds = kinds(&plan.job);
    kinds.retain(|kind| match kind {
        Kind::Sample => !has_words,
        Kind::Documents => !has_documents,
        Kind::Featurize => true,
    });
    Ok(kinds)
}

fn tasks(plan: &Plan, state: &State, max_row_groups: Option<NonZeroUsize>) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for (shard, (info, input)) in plan.input.shards.iter().zip(&state.inputs).enumerate() {
        if info.path.to_str().is_none() {
            return Err(Error::File {
                place: info.path.as_path().into(),
                message: "a task plan cannot hold this name: it is no UTF-8".to_owned(),
                help: Some("rename it, or run the job with `bovw run`".to_owned()),
            });
        }
        for row_groups in cut(&info.row_group_rows, max_row_groups) {
            tasks.push(Task {
                task: tasks.len(),
                shard,
                name: info.name.clone(),
                input: input.clone(),
                first_row: info.first_row,
                rows: info.row_group_rows[row_groups.clone()].iter().sum(),
                row_groups: (row_groups.start, row_groups.end),
                of_row_groups: info.row_group_rows.len(),
            });
        }
    }
    Ok(tasks)
}

/// The row groups of a shard, which have so many rows, in pieces of at most so many that have any; every piece has some.
fn cut(rows: &[u64], max_row_groups: Option<NonZeroUsize>) -> Vec<Range<usize>> {
    let max = max_row_groups.map_or(usize::MAX, NonZeroUsize::get);
    let mut pieces = Vec::new();
    let (mut start, mut n) = (0, 0);
    for (group, &n_rows) in rows.iter().enumerate() {
        if n_rows > 0 && n == max {
            pieces.push(start..group);
            (start, n) = (group, 0);
        }
        n += usize::from(n_rows > 0);
    }
    pieces.push(start..rows.len());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_has_rows_and_no_more_row_groups_with_rows_than_asked_for() {
        let pieces = |rows: &[u64], max| -> Vec<(usize, usize)> {
            let pieces = cut(rows, NonZeroUsize::new(max)).into_iter();
            pieces.map(|piece| (piece.start, piece.end)).collect()
        };
        assert_eq!(pieces(&[5, 5, 5, 2], 0), [(0, 4)]);
        assert_eq!(pieces(&[5, 5, 5, 2], 1), [(0, 1), (1, 2), (2, 3), (3, 4)]);
        assert_eq!(pieces(&[5, 5, 5, 2], 3), [(0, 3), (3, 4)]);
        assert_eq!(pieces(&[5, 5, 5, 2], 9), [(0, 4)]);
        assert_eq!(pieces(&[0, 5, 0, 0, 5, 0], 1), [(0, 4), (4, 6)]);
    }
}
