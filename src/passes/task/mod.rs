//! Tasks: a job cut into pieces that any number of machines can do, in any order and any number of times.
//!
//! ```text
//! plan       one process     opens all inputs, cuts them                 -> .bovw-tasks/plan.jsonl
//! run        a process a task    sample     its images                   -> a sketch
//! merge      one process         all sketches, k-means                   -> vocabulary.parquet
//! run        a process a task    documents  (for tf-idf alone)           -> counts
//! merge      one process         their sums                              -> vocabulary.parquet
//! run        a process a task    featurize  its images                   -> a features file, or a part of one
//! merge      one process         names them, then ends as a run does     -> features/*.parquet, manifest.json
//! ```
//!
//! [`plan()`], [`run()`] (or a [`Runner`], for several tasks) and [`merge()`] are all there is; whoever drives them needs nothing but a folder that all machines see.
//! Merging fills a run's directory just as a run does, so `run` at any moment does whatever is missing, to the same bytes.
//! A task reads its own file and the first of the job, writes only into `.bovw-tasks`, takes no lock, and never makes a
//! folder that is gone: one that a scheduler has given up on can be in nobody's way.

mod merge;
mod plan;
mod run;

pub use merge::{Merged, merge};
pub use plan::{PlanOptions, Planned, plan};
pub use run::{Ran, Runner, run};

pub use crate::shard::tasks::{Kind, Receipt, Task};

use crate::error::{Error, Result};
use crate::job::{Job, VocabularySource};

/// What the tasks of a job are asked for, in this order.
pub fn kinds(job: &Job) -> Vec<Kind> {
    let is_learned = matches!(job.vocabulary, VocabularySource::Learn(_));
    let is_asked = |kind: &Kind| match kind {
        Kind::Sample => is_learned,
        // A vocabulary that is not learned here has been counted before.
        Kind::Documents => is_learned && job.features.needs_documents(),
        Kind::Featurize => true,
    };
    Kind::ALL.into_iter().filter(is_asked).collect()
}

/// A kind that a job has no need of is a slip of whoever asks for it.
fn check_kind(job: &Job, kind: Kind) -> Result<()> {
    let kinds = kinds(job);
    if kinds.contains(&kind) {
        return Ok(());
    }
    let why = match kind {
        Kind::Sample => "its words come from vocabulary.from",
        Kind::Documents | Kind::Featurize => {
            "only \"tf-idf\" counts them, and only for words that are learned"
        }
    };
    let names: Vec<&str> = kinds.into_iter().map(Kind::name).collect();
    Err(Error::Usage {
        message: format!(
            "this job has no tasks of kind {}: {why}; it has: {}",
            kind.name(),
            names.join(", ")
        ),
    })
}
