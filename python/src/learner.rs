//! `bovw._bovw.Learner`: images in whichever form to a sample, sketches and words.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use arrow::array::RecordBatch;
use bovw::guest::stream::add_batch;
use bovw::guest::{self, Numbers, Picture, Work, count_documents};
use bovw::job::Overrides;
use bovw::kernel::vocabulary::Vocabulary as Words;
use bovw::shard::vocabulary;
use bovw::{Error, Place};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::arrow_data::{Incoming, no_arrow_data};
use crate::errors::raise;
use crate::featurizer::{Images, Item, View};
use crate::interrupt::interruptible;
use crate::runs::watched;
use crate::vocabulary::Vocabulary;

/// What messages call images that come as arrays.
const IMAGES: &str = "the images";

/// Learns words of images.
#[pyclass(frozen, module = "bovw._bovw")]
pub(crate) struct Learner {
    // Only one call at a time changes the sample; the others wait.
    learner: Mutex<guest::Learner>,
    // What is told of it while a call has it.
    told: Mutex<Told>,
}

/// How the sample stood after the last call.
#[derive(Clone)]
struct Told {
    n_patches: u64,
    n_counted: u64,
    needs_documents: bool,
    settings_json: String,
}

impl Told {
    fn of(learner: &guest::Learner) -> Told {
        Told {
            n_patches: learner.n_patches(),
            n_counted: learner.n_counted(),
            needs_documents: learner.job().features.needs_documents(),
            settings_json: learner.provenance().to_string(),
        }
    }
}

/// How long whoever waits for another call does not look for an interruption.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[pymethods]
impl Learner {
    /// `settings` are keys and values of a job file, such as `vocabulary.k=50`.
    #[new]
    #[pyo3(signature = (settings, threads=None, memory=None))]
    fn new(
        py: Python<'_>,
        settings: Vec<String>,
        threads: Option<u32>,
        memory: Option<String>,
    ) -> PyResult<Learner> {
        let overrides = Overrides {
            threads,
            memory,
            container: bovw::container::memory_limit(),
        };
        let made = py.detach(|| guest::Learner::new(&settings, &overrides));
        let learner = raise(py, made)?;
        Ok(Learner {
            told: Mutex::new(Told::of(&learner)),
            learner: Mutex::new(learner),
        })
    }

    #[getter]
    fn n_patches(&self) -> u64 {
        self.told().n_patches
    }

    #[getter]
    fn n_counted(&self) -> u64 {
        self.told().n_counted
    }

    #[getter]
    fn needs_documents(&self) -> bool {
        self.told().needs_documents
    }

    #[getter]
    fn settings_json(&self) -> String {
        self.told().settings_json
    }

    /// Counts on from a number: the images before it are in sketches that were merged.
    fn count_on_from(&self, py: Python<'_>, n_counted: u64) -> PyResult<()> {
        self.with(py, |learner, _| {
            learner.count_on_from(n_counted);
            Ok(())
        })
    }

    /// Adds an array of images of one size; their numbers are counted, or given.
    #[pyo3(signature = (images, numbers=None))]
    fn dense(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        numbers: Option<Vec<u64>>,
    ) -> PyResult<()> {
        let images = Images::of(images)?;
        let numbers = numbers_of(numbers.as_deref(), images.n())?;
        let views = images.views()?;
        self.add(py, images.n(), &|at| views.picture(at), numbers)
    }

    /// Adds a list of images.
    #[pyo3(signature = (images, numbers=None))]
    fn listed(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyList>,
        numbers: Option<Vec<u64>>,
    ) -> PyResult<()> {
        let items: Vec<Item<'_>> = images
            .iter()
            .map(|item| Item::of(&item))
            .collect::<PyResult<_>>()?;
        let views: Vec<View<'_>> = items.iter().map(Item::view).collect::<PyResult<_>>()?;
        let numbers = numbers_of(numbers.as_deref(), views.len())?;
        self.add(py, views.len(), &|at| views[at].picture(), numbers)
    }

    /// Adds the images of Arrow data. `rows` names the column of their numbers; without it these are made of their pixels.
    #[pyo3(signature = (data, rows=None))]
    fn arrow(&self, py: Python<'_>, data: &Bound<'_, PyAny>, rows: Option<String>) -> PyResult<()> {
        let rows = rows.as_deref();
        let add = |learner: &mut guest::Learner, batch: &RecordBatch, stop: &AtomicBool| {
            let threads = learner.job().run.threads;
            add_batch(learner, batch, rows, Work { threads, stop })
        };
        match Incoming::of(data)? {
            None => Err(no_arrow_data(data)),
            Some(Incoming::Batch(batch)) => {
                self.with(py, |learner, stop| add(learner, &batch, stop))
            }
            Some(Incoming::Stream(reader)) => self.with(py, |learner, stop| {
                for batch in reader {
                    let batch = batch.map_err(|error| Error::Data {
                        message: format!("the stream of images broke off: {error}"),
                        help: None,
                    })?;
                    add(learner, &batch, stop)?;
                }
                Ok(())
            }),
        }
    }

    /// The sample so far.
    fn sketch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let sketch = self.with(py, |learner, _| learner.sketch())?;
        Ok(PyBytes::new(py, &sketch))
    }

    /// Takes in a sketch.
    fn merge(&self, py: Python<'_>, sketch: &[u8]) -> PyResult<()> {
        self.with(py, |learner, _| learner.merge(sketch))
    }

    /// Learns words, a vocabulary for each size of patches; and tells how many steps each took.
    #[pyo3(signature = (look=None))]
    fn learn(
        &self,
        py: Python<'_>,
        look: Option<Py<PyAny>>,
    ) -> PyResult<(Vec<Vocabulary>, Vec<usize>)> {
        let (learned, job) = watched(py, look.as_ref(), |watch| {
            let mut learner = self.lock(watch.interrupt)?;
            let learned = learner.learn(watch)?;
            Ok((learned, learner.provenance()))
        })?;
        let made = learned.into_iter().map(|learned| {
            let n_steps = learned.restarts[learned.kept].n_steps;
            let words = learned.vocabulary;
            let header = vocabulary::header_of(&words, &job);
            (Vocabulary { words, header }, n_steps)
        });
        Ok(made.unzip())
    }

    /// The vocabularies with the number of an array's images, or a list's, that have each word.
    fn with_documents(
        &self,
        py: Python<'_>,
        vocabularies: Vec<Py<Vocabulary>>,
        images: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Vocabulary>> {
        let Ok(list) = images.cast::<PyList>() else {
            let images = Images::of(images)?;
            let views = images.views()?;
            return self.documents(py, &vocabularies, images.n(), &|at| views.picture(at));
        };
        let items: Vec<Item<'_>> = list
            .iter()
            .map(|item| Item::of(&item))
            .collect::<PyResult<_>>()?;
        let views: Vec<View<'_>> = items.iter().map(Item::view).collect::<PyResult<_>>()?;
        self.documents(py, &vocabularies, views.len(), &|at| views[at].picture())
    }
}

impl Learner {
    fn told(&self) -> Told {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    /// The learner, once no other call has it.
    fn lock(&self, stop: &AtomicBool) -> bovw::Result<MutexGuard<'_, guest::Learner>> {
        loop {
            match self.learner.try_lock() {
                Ok(learner) => return Ok(learner),
                Err(TryLockError::Poisoned(learner)) => return Ok(learner.into_inner()),
                Err(TryLockError::WouldBlock) if stop.load(Relaxed) => {
                    return Err(Error::Interrupted);
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Does something to the learner, and notes how it stands then, whatever came of it.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut guest::Learner, &AtomicBool) -> bovw::Result<T> + Send,
    ) -> PyResult<T> {
        interruptible(
            py,
            |stop| {
                let mut learner = self.lock(stop)?;
                let result = work(&mut learner, stop);
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told::of(&learner);
                result
            },
            &mut || Ok(()),
        )
    }

    fn documents<'a>(
        &self,
        py: Python<'_>,
        vocabularies: &[Py<Vocabulary>],
        n: usize,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
    ) -> PyResult<Vec<Vocabulary>> {
        let words = vocabularies.iter().map(|one| one.get().words.clone());
        let words: Vec<Words> = words.collect();
        let (counted, job) = self.with(py, |learner, stop| {
            let work = Work { threads: 1, stop };
            let counted = count_documents(learner.job(), &words, n, picture, work)?;
            Ok((counted, learner.provenance()))
        })?;
        let made = words.into_iter().zip(counted).map(|(words, documents)| {
            let words = Words {
                documents: Some(documents),
                ..words
            };
            let header = vocabulary::header_of(&words, &job);
            Vocabulary { words, header }
        });
        Ok(made.collect())
    }

    fn add<'a>(
        &self,
        py: Python<'_>,
        n: usize,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
        numbers: Numbers<'_>,
    ) -> PyResult<()> {
        let place = Place::file(IMAGES.as_ref());
        self.with(py, |learner, stop| {
            let threads = learner.job().run.threads;
            learner.add(n, picture, numbers, &place, Work { threads, stop })
        })
    }
}

fn numbers_of(given: Option<&[u64]>, n: usize) -> PyResult<Numbers<'_>> {
    match given {
        Some(given) if given.len() != n => Err(PyValueError::new_err(format!(
            "{} numbers of rows were given for {n} images",
            given.len()
        ))),
        Some(given) => Ok(Numbers::Given(given)),
        None => Ok(Numbers::InOrder),
    }
}
