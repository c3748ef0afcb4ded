//! `bovw.Vocabulary`: the words, as `vocabulary.parquet` has them.

use std::path::{Path, PathBuf};

use bovw::kernel::vocabulary::Vocabulary as Words;
use bovw::report;
use bovw::shard::vocabulary::{self, Header};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::raise;

/// What messages call bytes that come from no file.
const IN_MEMORY: &str = "the vocabulary";

/// The words that patches are held against.
#[pyclass(frozen, module = "bovw")]
pub(crate) struct Vocabulary {
    pub(crate) words: Words,
    pub(crate) header: Header,
}

impl Vocabulary {
    fn bytes(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let bytes = py.detach(|| vocabulary::to_bytes(&self.words, &self.header.job));
        raise(py, bytes)
    }
}

#[pymethods]
impl Vocabulary {
    /// Reads a vocabulary file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Vocabulary> {
        let (words, header) = raise(py, py.detach(|| vocabulary::read(&path)))?;
        Ok(Vocabulary { words, header })
    }

    /// The vocabulary in the bytes of such a file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Vocabulary> {
        let bytes = data.to_vec();
        let read = py.detach(|| vocabulary::from_bytes(bytes, Path::new(IN_MEMORY)));
        let (words, header) = raise(py, read)?;
        Ok(Vocabulary { words, header })
    }

    /// The bytes of a vocabulary file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.bytes(py)?))
    }

    /// Writes a vocabulary file, whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let written = py.detach(|| vocabulary::write(&path, &self.words, &self.header.job));
        raise(py, written).map(|_| ())
    }

    /// The words, `(k, height * width * channels)`, float32, most used first, channels of a pixel side by side; a copy.
    #[getter]
    fn words<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let shape = [self.words.k(), self.words.d()];
        PyArray1::from_slice(py, &self.words.centroids).reshape(shape)
    }

    /// Sampled patches whose nearest word each is, `(k,)`.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        PyArray1::from_slice(py, &self.words.counts)
    }

    /// Sum of the squared distances of these patches to each word, `(k,)`.
    #[getter]
    fn inertia<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.words.inertia)
    }

    /// Mean squared distance of a sampled patch to its word.
    #[getter]
    fn inertia_per_patch(&self) -> f64 {
        self.words.inertia_per_patch()
    }

    /// Number of words.
    #[getter]
    fn k(&self) -> usize {
        self.words.k()
    }

    /// Height and width of a patch in pixels.
    #[getter]
    fn patch(&self) -> (u32, u32) {
        let patch = self.words.preparation.patch;
        (patch.height, patch.width)
    }

    /// Values of a pixel: 1 for grey, 3 for RGB.
    #[getter]
    fn channels(&self) -> u32 {
        self.words.preparation.patch.channels
    }

    /// The job that the words were learned by, as JSON.
    #[getter]
    fn settings_json(&self) -> String {
        self.header.job.to_string()
    }

    fn __len__(&self) -> usize {
        self.words.k()
    }

    fn __eq__(&self, other: &Vocabulary) -> bool {
        self.words == other.words && self.header == other.header
    }

    fn __hash__(&self) -> u64 {
        let bits = self.words.centroids.iter().map(|value| value.to_bits());
        bits.fold(self.words.k() as u64, |hash, bits| {
            hash.rotate_left(5).wrapping_add(u64::from(bits))
        })
    }

    fn __repr__(&self) -> String {
        let patch = self.words.preparation.patch;
        format!(
            "bovw.Vocabulary({} words of {} {}x{} patches)",
            self.words.k(),
            vocabulary::color_name(patch.channels),
            patch.height,
            patch.width
        )
    }

    fn _repr_html_(&self, py: Python<'_>) -> String {
        py.detach(|| report::words_html(&self.words))
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let class = py.import("bovw")?.getattr("Vocabulary")?;
        Ok((class.getattr("from_bytes")?, (self.to_bytes(py)?,)))
    }
}
