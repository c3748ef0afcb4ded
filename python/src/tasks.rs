//! `bovw.tasks`: a job in pieces, for whoever starts processes on many machines.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bovw::passes::task::{self, Kind, Merged, PlanOptions};
use pyo3::prelude::*;
use serde_json::json;

use crate::errors::named;
use crate::runs::{json, load, watched};

/// Cuts a job into tasks; gives them as JSON.
#[pyfunction]
#[pyo3(signature = (job, sets, fresh, max_row_groups, threads, memory))]
pub(crate) fn plan_tasks(
    py: Python<'_>,
    job: PathBuf,
    sets: Vec<String>,
    fresh: bool,
    max_row_groups: Option<NonZeroUsize>,
    threads: Option<u32>,
    memory: Option<String>,
) -> PyResult<String> {
    let job = load(py, job, sets, threads, memory)?;
    let options = PlanOptions {
        max_row_groups,
        fresh,
    };
    let planned = watched(py, None, |watch| task::plan(&job, options, watch))?;
    let tasks = planned.tasks.iter().map(|task| {
        json!({
            "task": task.task,
            "file": task.input.path,
            "row_groups": task.row_groups,
            "rows": task.rows,
            "bytes": task.size_bytes(),
        })
    });
    let kinds = planned.kinds.iter().map(|kind| kind.name());
    Ok(json!({
        "dir": planned.dir.display().to_string(),
        "kinds": kinds.collect::<Vec<_>>(),
        "tasks": tasks.collect::<Vec<_>>(),
    })
    .to_string())
}

/// Does one task; gives its receipt as JSON.
#[pyfunction]
#[pyo3(signature = (job, kind, number, sets, threads, memory))]
pub(crate) fn run_task(
    py: Python<'_>,
    job: PathBuf,
    kind: &str,
    number: usize,
    sets: Vec<String>,
    threads: Option<u32>,
    memory: Option<String>,
) -> PyResult<String> {
    let kind = kind_of(py, kind)?;
    let job = load(py, job, sets, threads, memory)?;
    let ran = watched(py, None, |watch| task::run(&job, kind, number, watch))?;
    let receipt = json!({
        "task": ran.task.task,
        "file": ran.task.input.path,
        "row_groups": ran.task.row_groups,
        "was_done": ran.was_done,
        "made": ran.receipt.made,
    });
    Ok(receipt.to_string())
}

/// Merges what the tasks of a kind have made; gives the run's directory and manifest once it is done.
#[pyfunction]
#[pyo3(signature = (job, kind, sets, threads, memory, look))]
pub(crate) fn merge_tasks(
    py: Python<'_>,
    job: PathBuf,
    kind: &str,
    sets: Vec<String>,
    threads: Option<u32>,
    memory: Option<String>,
    look: Option<Py<PyAny>>,
) -> PyResult<Option<(PathBuf, String)>> {
    let kind = kind_of(py, kind)?;
    let job = load(py, job, sets, threads, memory)?;
    let dir = job.output.dir.clone();
    let merged = watched(py, look.as_ref(), |watch| task::merge(&job, kind, watch))?;
    Ok(match merged {
        Merged::Words { .. } => None,
        Merged::Run(outcome) => Some((dir, json(&outcome.manifest))),
    })
}

fn kind_of(py: Python<'_>, name: &str) -> PyResult<Kind> {
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|kind| kind.name() == name).ok_or_else(|| {
        let names = Kind::ALL
            .map(|kind| format!("{:?}", kind.name()))
            .join(", ");
        named(
            py,
            "JobError",
            &format!("\"{name}\" is no kind of task; there are {names}"),
        )
    })
}
