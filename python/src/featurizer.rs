//! `bovw._bovw.Featurizer`: images in whichever form to vectors. The Python half brings arrays into the forms known here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bovw::guest::{self, Batches, Picture, Row, VectorLayout, Work};
use bovw::job::{Overrides, resolved};
use bovw::shard::detect::Shape;
use bovw::{Error, Place};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::arrow_data::{Batch, Incoming, Stream, is_interrupted, no_arrow_data};
use crate::errors::raise;
use crate::interrupt::{briefly, interruptible};
use crate::vocabulary::Vocabulary;

/// Values of images up to which a call is brief: some milliseconds.
const BRIEF_VALUES: usize = 1 << 16;

/// What messages call images that come as arrays.
const IMAGES: &str = "the images";

/// Makes vectors of images.
#[pyclass(frozen, module = "bovw._bovw")]
pub(crate) struct Featurizer {
    featurizer: Arc<guest::Featurizer>,
    threads: usize,
}

/// Vectors, how many patches each was made of, and why some are zeros.
type Vectors<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<i32>>,
    Vec<Option<String>>,
);

#[pymethods]
impl Featurizer {
    /// `settings` are keys and values of a job file, such as `features.pooling=[2,2]`.
    #[new]
    #[pyo3(signature = (vocabularies, settings, threads=None))]
    fn new(
        py: Python<'_>,
        vocabularies: Vec<Py<Vocabulary>>,
        settings: Vec<String>,
        threads: Option<u32>,
    ) -> PyResult<Featurizer> {
        let words: Vec<_> = vocabularies
            .iter()
            .map(|one| (one.get().words.clone(), one.get().header.clone()))
            .collect();
        let overrides = Overrides {
            threads,
            ..Overrides::default()
        };
        let made = py.detach(|| guest::Featurizer::new(&words, &settings, &overrides));
        let featurizer = raise(py, made)?;
        Ok(Featurizer {
            threads: featurizer.job().run.threads,
            featurizer: Arc::new(featurizer),
        })
    }

    #[getter]
    fn n_values(&self) -> usize {
        self.featurizer.n_values()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    #[getter]
    fn settings_json(&self) -> String {
        resolved::identity_json(self.featurizer.job()).to_string()
    }

    /// Vectors of an array of images of one size, `(n, height, width, channels)`, bytes or float32.
    fn dense<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Vectors<'py>> {
        let images = Images::of(images)?;
        let views = images.views()?;
        self.vectors(py, images.n(), images.n_values(), &|at| views.picture(at))
    }

    /// Vectors of a list whose items are arrays `(height, width, channels)`, encoded bytes, or `None`.
    fn listed<'py>(&self, py: Python<'py>, images: &Bound<'py, PyList>) -> PyResult<Vectors<'py>> {
        let items: Vec<Item<'_>> = images
            .iter()
            .map(|item| Item::of(&item))
            .collect::<PyResult<_>>()?;
        let views: Vec<View<'_>> = items.iter().map(Item::view).collect::<PyResult<_>>()?;
        let n_values = views.iter().map(View::n_values).sum();
        let picture = |at: usize| views[at].picture();
        self.vectors(py, views.len(), n_values, &picture)
    }

    /// Vectors of Arrow data: a `Batch` for a batch, a `Stream` for a stream.
    #[pyo3(signature = (data, is_list=false))]
    fn arrow<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        is_list: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let layout = match is_list {
            true => VectorLayout::List,
            false => VectorLayout::FixedSizeList,
        };
        let mut batches = Batches::new(Arc::clone(&self.featurizer), layout);
        match Incoming::of(data)? {
            None => Err(no_arrow_data(data)),
            Some(Incoming::Batch(rows)) => {
                let threads = self.threads;
                let made = interruptible(
                    py,
                    |stop| batches.featurize(&rows, Work { threads, stop }),
                    &mut || Ok(()),
                )?;
                Bound::new(py, Batch::new(made)).map(Bound::into_any)
            }
            Some(Incoming::Stream(reader)) => {
                let threads = self.threads;
                let opened = py.detach(|| FeaturesReader::open(reader, batches, threads));
                let reader = raise(py, opened)?;
                Bound::new(py, Stream::new(Box::new(reader))).map(Bound::into_any)
            }
        }
    }
}

impl Featurizer {
    fn vectors<'py, 'a>(
        &self,
        py: Python<'py>,
        n: usize,
        n_values: usize,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
    ) -> PyResult<Vectors<'py>> {
        let length = self.featurizer.n_values();
        let work = |stop: &AtomicBool| -> bovw::Result<(Vec<f32>, Vec<Row>)> {
            let threads = self.threads;
            let mut out = self.featurizer.room(n)?;
            let rows = self
                .featurizer
                .featurize(n, picture, &mut out, Work { threads, stop })?;
            let place = Place::file(IMAGES.as_ref());
            self.featurizer.check_rows(&rows, &place)?;
            Ok((out, rows))
        };
        let (out, rows) = match n_values <= BRIEF_VALUES {
            true => briefly(py, work)?,
            false => interruptible(py, work, &mut || Ok(()))?,
        };
        let n_patches: Vec<i32> = rows.iter().map(|row| row.n_patches).collect();
        Ok((
            PyArray1::from_vec(py, out).reshape([n, length])?,
            PyArray1::from_vec(py, n_patches),
            rows.into_iter().map(|row| row.status).collect(),
        ))
    }
}

/// An array of images of one size, held while it is looked at.
pub(crate) enum Images<'py> {
    Bytes(PyReadonlyArrayDyn<'py, u8>),
    Numbers(PyReadonlyArrayDyn<'py, f32>),
}

/// The same, without the interpreter.
pub(crate) enum Views<'a> {
    Bytes(Shape, &'a [u8]),
    Numbers(Shape, &'a [f32]),
}

impl<'py> Images<'py> {
    pub(crate) fn of(images: &Bound<'py, PyAny>) -> PyResult<Images<'py>> {
        if let Ok(array) = images.extract() {
            return Ok(Images::Bytes(array));
        }
        match images.extract() {
            Ok(array) => Ok(Images::Numbers(array)),
            Err(_) => Err(PyTypeError::new_err(
                "an array of uint8 or float32 is needed",
            )),
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Images::Bytes(array) => array.shape(),
            Images::Numbers(array) => array.shape(),
        }
    }

    pub(crate) fn n(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    fn n_values(&self) -> usize {
        self.shape().iter().product()
    }

    pub(crate) fn views(&self) -> PyResult<Views<'_>> {
        let shape = shape_of(self.shape())?;
        Ok(match self {
            Images::Bytes(array) => Views::Bytes(shape, contiguous(array.as_slice())?),
            Images::Numbers(array) => Views::Numbers(shape, contiguous(array.as_slice())?),
        })
    }
}

impl<'a> Views<'a> {
    pub(crate) fn picture(&self, at: usize) -> Picture<'a> {
        match *self {
            Views::Bytes(shape, values) => Picture::Bytes(shape, image_of(values, shape, at)),
            Views::Numbers(shape, values) => Picture::Numbers(shape, image_of(values, shape, at)),
        }
    }
}

/// The shape of each image.
fn shape_of(shape: &[usize]) -> PyResult<Shape> {
    let &[_, height, width, channels] = shape else {
        return Err(PyValueError::new_err(
            "an array of four dimensions is needed",
        ));
    };
    checked_shape(height, width, channels)
}

fn checked_shape(height: usize, width: usize, channels: usize) -> PyResult<Shape> {
    let side = |side: usize| {
        u32::try_from(side)
            .ok()
            .filter(|&side| side > 0)
            .ok_or_else(|| {
                PyValueError::new_err(format!(
                    "{height}x{width}x{channels} is no shape of an image"
                ))
            })
    };
    Ok(Shape {
        height: side(height)?,
        width: side(width)?,
        channels: side(channels)?,
        channels_first: false,
    })
}

fn contiguous<T, E>(slice: Result<&[T], E>) -> PyResult<&[T]> {
    slice.map_err(|_| PyValueError::new_err("a C-contiguous array is needed"))
}

fn image_of<T>(values: &[T], shape: Shape, at: usize) -> &[T] {
    &values[at * shape.len()..(at + 1) * shape.len()]
}

/// One image of a list, held while it is looked at.
pub(crate) enum Item<'py> {
    Bytes(PyReadonlyArrayDyn<'py, u8>),
    Numbers(PyReadonlyArrayDyn<'py, f32>),
    Encoded(Bound<'py, PyBytes>),
    Missing,
}

/// The same, without the interpreter.
pub(crate) enum View<'a> {
    Bytes(Shape, &'a [u8]),
    Numbers(Shape, &'a [f32]),
    Encoded(&'a [u8]),
    Missing,
}

impl<'py> Item<'py> {
    pub(crate) fn of(item: &Bound<'py, PyAny>) -> PyResult<Item<'py>> {
        if item.is_none() {
            return Ok(Item::Missing);
        }
        if let Ok(bytes) = item.cast::<PyBytes>() {
            return Ok(Item::Encoded(bytes.clone()));
        }
        if let Ok(array) = item.extract() {
            return Ok(Item::Bytes(array));
        }
        if let Ok(array) = item.extract() {
            return Ok(Item::Numbers(array));
        }
        Err(PyTypeError::new_err(
            "an image is an array of uint8 or float32, bytes, or None",
        ))
    }

    pub(crate) fn view(&self) -> PyResult<View<'_>> {
        let shape = |shape: &[usize]| match *shape {
            [height, width, channels] => checked_shape(height, width, channels),
            _ => Err(PyValueError::new_err(
                "an image of three dimensions is needed",
            )),
        };
        Ok(match self {
            Item::Bytes(array) => View::Bytes(shape(array.shape())?, contiguous(array.as_slice())?),
            Item::Numbers(array) => {
                View::Numbers(shape(array.shape())?, contiguous(array.as_slice())?)
            }
            Item::Encoded(bytes) => View::Encoded(bytes.as_bytes()),
            Item::Missing => View::Missing,
        })
    }
}

impl<'a> View<'a> {
    fn n_values(&self) -> usize {
        match self {
            View::Bytes(shape, _) | View::Numbers(shape, _) => shape.len(),
            // Of a usual photo.
            View::Encoded(bytes) => 8 * bytes.len(),
            View::Missing => 0,
        }
    }

    pub(crate) fn picture(&self) -> Picture<'a> {
        match *self {
            View::Bytes(shape, values) => Picture::Bytes(shape, values),
            View::Numbers(shape, values) => Picture::Numbers(shape, values),
            View::Encoded(bytes) => Picture::Encoded(bytes),
            View::Missing => Picture::Image(Err("the image is None".to_owned())),
        }
    }
}

/// Record batches of vectors, made as they are asked for.
struct FeaturesReader {
    // The thread that asked for it: the one that signals are looked for on, since it waits for no other with the
    // interpreter in its hands.
    asked_by: ThreadId,
    reader: Mutex<Box<dyn RecordBatchReader + Send>>,
    batches: Batches,
    threads: usize,
    schema: SchemaRef,
    first: Option<RecordBatch>,
}

impl FeaturesReader {
    /// Reads the first batch, since which column holds images is known only then.
    fn open(
        mut reader: Box<dyn RecordBatchReader + Send>,
        mut batches: Batches,
        threads: usize,
    ) -> bovw::Result<FeaturesReader> {
        let first = match reader.next() {
            Some(batch) => batch.map_err(broken)?,
            None => RecordBatch::new_empty(reader.schema()),
        };
        Ok(FeaturesReader {
            asked_by: std::thread::current().id(),
            schema: batches.schema(&first)?,
            reader: Mutex::new(reader),
            batches,
            threads,
            first: Some(first),
        })
    }

    fn next_batch(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        if std::thread::current().id() == self.asked_by && is_interrupted() {
            return Some(Err(ArrowError::ExternalError(Box::new(Error::Interrupted))));
        }
        let batch = match self.first.take() {
            Some(batch) => batch,
            None => {
                let reader = self
                    .reader
                    .get_mut()
                    .unwrap_or_else(PoisonError::into_inner);
                match reader.next()? {
                    Ok(batch) => batch,
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        let stop = AtomicBool::new(false);
        let work = Work {
            threads: self.threads,
            stop: &stop,
        };
        let made = self.batches.featurize(&batch, work);
        Some(made.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

fn broken(error: ArrowError) -> Error {
    Error::Data {
        message: format!("the stream of images broke off: {error}"),
        help: None,
    }
}

impl Iterator for FeaturesReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Whoever reads is not of Rust, and a panic would be the end of the process.
        let next = catch_unwind(AssertUnwindSafe(|| self.next_batch()));
        next.unwrap_or_else(|_| {
            let told = "internal error: please report this together with the data";
            Some(Err(ArrowError::ComputeError(told.to_owned())))
        })
    }
}

impl RecordBatchReader for FeaturesReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
