//! `bovw.run`: a job file, as the command runs it.

use std::path::PathBuf;

use bovw::job::{Job, Overrides};
use bovw::passes;
use bovw::passes::progress::{Phase, Progress, Watch};
use pyo3::prelude::*;

use crate::errors::raise;
use crate::interrupt::interruptible;

/// Runs a job; gives the run's directory and its manifest as JSON.
#[pyfunction]
#[pyo3(signature = (job, sets, fresh, threads, memory, look))]
pub(crate) fn run(
    py: Python<'_>,
    job: PathBuf,
    sets: Vec<String>,
    fresh: bool,
    threads: Option<u32>,
    memory: Option<String>,
    look: Option<Py<PyAny>>,
) -> PyResult<(PathBuf, String)> {
    let job = load(py, job, sets, threads, memory)?;
    let dir = job.output.dir.clone();
    let outcome = watched(py, look.as_ref(), |watch| {
        passes::run::run(&job, fresh, watch)
    })?;
    Ok((dir, json(&outcome.manifest)))
}

/// A checked job.
pub(crate) fn load(
    py: Python<'_>,
    job: PathBuf,
    sets: Vec<String>,
    threads: Option<u32>,
    memory: Option<String>,
) -> PyResult<Job> {
    let overrides = Overrides {
        threads,
        memory,
        container: bovw::container::memory_limit(),
    };
    raise(py, py.detach(|| Job::load(&job, &sets, &overrides)))
}

/// Does work that tells how far it is, to `look(phase, done, total)` if there is one.
pub(crate) fn watched<T: Send>(
    py: Python<'_>,
    look: Option<&Py<PyAny>>,
    work: impl FnOnce(Watch<'_>) -> bovw::Result<T> + Send,
) -> PyResult<T> {
    let progress = Progress::default();
    let mut tell = || match look {
        Some(look) => {
            let (phase, done, total) = standing(&progress);
            look.call1(py, (phase, done, total)).map(|_| ())
        }
        None => Ok(()),
    };
    interruptible(
        py,
        |stop| {
            work(Watch {
                interrupt: stop,
                progress: &progress,
                on_event: &|_| (),
            })
        },
        &mut tell,
    )
}

/// What is being done, and how much of it is.
fn standing(progress: &Progress) -> (&'static str, u64, u64) {
    let last = |stats: &bovw::flow::Stats| {
        let [.., last] = &stats.stages;
        (last.done(), last.total())
    };
    let (name, (done, total)) = match progress.phase() {
        Phase::Opening => ("opening", (0, 0)),
        Phase::Sampling => ("sampling", last(&progress.learn)),
        Phase::Clustering => (
            "learning",
            (progress.kmeans.done(), progress.kmeans.total()),
        ),
        Phase::CountingWords => ("counting words", last(&progress.documents)),
        Phase::Featurizing => ("featurizing", last(&progress.featurize)),
        Phase::Gathering => ("gathering", last(&progress.whole)),
        Phase::Grouping => (
            "clustering",
            (progress.clusters.done(), progress.clusters.total()),
        ),
        Phase::Labelling => ("labelling", last(&progress.label)),
        Phase::Hashing | Phase::Adding | Phase::Recounting => ("verifying", (0, 0)),
        Phase::Done => ("done", (1, 1)),
    };
    (name, done, total)
}

/// A manifest as JSON.
pub(crate) fn json(value: &bovw::shard::manifest::Manifest) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => unreachable!("plain data is JSON: {error}"),
    }
}
