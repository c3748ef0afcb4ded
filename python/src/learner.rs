//! `bovw._bovw.Learner`: images in whichever form to a sample, sketches and words.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
}

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
        Ok(Learner {
            learner: Mutex::new(raise(py, made)?),
        })
    }

    #[getter]
    fn n_patches(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().n_patches())
    }

    #[getter]
    fn n_counted(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().n_counted())
    }

    /// Counts on from a number: the images before it are in sketches that were merged.
    fn count_on_from(&self, py: Python<'_>, n_counted: u64) {
        py.detach(|| self.lock().count_on_from(n_counted));
    }

    #[getter]
    fn needs_documents(&self, py: Python<'_>) -> bool {
        py.detach(|| self.lock().job().features.needs_documents())
    }

    #[getter]
    fn settings_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.lock().provenance()).to_string()
    }

    /// Adds an array of images of one size; their numbers are counted, given, or made of their pixels.
    #[pyo3(signature = (images, numbers=None, of_content=false))]
    fn dense(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        numbers: Option<Vec<u64>>,
        of_content: bool,
    ) -> PyResult<()> {
        let images = Images::of(images)?;
        let numbers = numbers_of(numbers.as_deref(), of_content, images.n())?;
        let views = images.views()?;
        self.add(py, images.n(), &|at| views.picture(at), numbers)
    }

    /// Adds a list of images.
    #[pyo3(signature = (images, numbers=None, of_content=false))]
    fn listed(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyList>,
        numbers: Option<Vec<u64>>,
        of_content: bool,
    ) -> PyResult<()> {
        let items: Vec<Item<'_>> = images
            .iter()
            .map(|item| Item::of(&item))
            .collect::<PyResult<_>>()?;
        let views: Vec<View<'_>> = items.iter().map(Item::view).collect::<PyResult<_>>()?;
        let numbers = numbers_of(numbers.as_deref(), of_content, views.len())?;
        self.add(py, views.len(), &|at| views[at].picture(), numbers)
    }

    /// Adds the images of Arrow data. `rows` names the column of their numbers; without it these are made of their pixels.
    #[pyo3(signature = (data, rows=None))]
    fn arrow(&self, py: Python<'_>, data: &Bound<'_, PyAny>, rows: Option<String>) -> PyResult<()> {
        let add =
            |batch: &RecordBatch, stop: &AtomicBool| self.add_batch(batch, rows.as_deref(), stop);
        match Incoming::of(data)? {
            None => Err(no_arrow_data(data)),
            Some(Incoming::Batch(batch)) => {
                interruptible(py, |stop| add(&batch, stop), &mut || Ok(()))
            }
            Some(Incoming::Stream(reader)) => interruptible(
                py,
                |stop| {
                    for batch in reader {
                        let batch = batch.map_err(|error| Error::Data {
                            message: format!("the stream of images broke off: {error}"),
                            help: None,
                        })?;
                        add(&batch, stop)?;
                    }
                    Ok(())
                },
                &mut || Ok(()),
            ),
        }
    }

    /// The sample so far.
    fn sketch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let sketch = py.detach(|| self.lock().sketch());
        Ok(PyBytes::new(py, &raise(py, sketch)?))
    }

    /// Takes in a sketch.
    fn merge(&self, py: Python<'_>, sketch: &[u8]) -> PyResult<()> {
        let merged = py.detach(|| self.lock().merge(sketch));
        raise(py, merged)
    }

    /// Learns words, a vocabulary for each size of patches; and tells how many steps each took.
    #[pyo3(signature = (look=None))]
    fn learn(
        &self,
        py: Python<'_>,
        look: Option<Py<PyAny>>,
    ) -> PyResult<(Vec<Vocabulary>, Vec<usize>)> {
        let (learned, job) = watched(py, look.as_ref(), |watch| {
            let mut learner = self.lock();
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
    fn lock(&self) -> MutexGuard<'_, guest::Learner> {
        self.learner.lock().unwrap_or_else(PoisonError::into_inner)
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
        let job = py.detach(|| self.lock().job().clone());
        let counted = interruptible(
            py,
            |stop| count_documents(&job, &words, n, picture, Work { threads: 1, stop }),
            &mut || Ok(()),
        )?;
        let job = guest::provenance(&job);
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
        interruptible(
            py,
            |stop| {
                let mut learner = self.lock();
                let threads = learner.job().run.threads;
                learner.add(n, picture, numbers, &place, Work { threads, stop })
            },
            &mut || Ok(()),
        )
    }

    fn add_batch(
        &self,
        batch: &RecordBatch,
        rows: Option<&str>,
        stop: &AtomicBool,
    ) -> bovw::Result<()> {
        let mut learner = self.lock();
        let threads = learner.job().run.threads;
        add_batch(&mut learner, batch, rows, Work { threads, stop })
    }
}

fn numbers_of(given: Option<&[u64]>, of_content: bool, n: usize) -> PyResult<Numbers<'_>> {
    match given {
        Some(given) if given.len() != n => Err(PyValueError::new_err(format!(
            "{} numbers of rows were given for {n} images",
            given.len()
        ))),
        Some(given) => Ok(Numbers::Given(given)),
        None if of_content => Ok(Numbers::OfContent),
        None => Ok(Numbers::InOrder),
    }
}
