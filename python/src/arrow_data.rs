//! Arrow data in and out through the PyCapsule interface: no package is named, and nothing is copied.
//!
//! The one file with unsafe code: it takes structs over from capsules whose names say what they are.

#![allow(
    unsafe_code,
    reason = "structs of the Arrow C data interface come as pointers"
)]

use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayReader, ArrayRef, AsArray, RecordBatch, RecordBatchReader, StructArray, make_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use arrow::ffi_stream::{ArrayStreamReader, FFI_ArrowArrayStream};
use arrow::record_batch::RecordBatchIterator;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";
const STREAM: &CStr = c"arrow_array_stream";

/// The column that an array of images alone becomes.
const ONLY_COLUMN: &str = "image";

/// What somebody's Arrow data is.
pub(crate) enum Incoming {
    /// A record batch, or an array of images alone.
    Batch(RecordBatch),
    /// Record batches, one after the other.
    Stream(Box<dyn RecordBatchReader + Send>),
}

impl Incoming {
    /// Takes over what an object exports; `None` if it exports nothing.
    pub(crate) fn of(data: &Bound<'_, PyAny>) -> PyResult<Option<Incoming>> {
        if data.hasattr("__arrow_c_array__")? {
            let capsules = data.call_method0("__arrow_c_array__")?;
            let (schema, array): (Bound<'_, PyCapsule>, Bound<'_, PyCapsule>) =
                capsules.extract()?;
            return batch(&schema, &array).map(|batch| Some(Incoming::Batch(batch)));
        }
        if data.hasattr("__arrow_c_stream__")? {
            let capsule = data.call_method0("__arrow_c_stream__")?;
            let capsule = capsule.cast_into::<PyCapsule>()?;
            return stream(&capsule).map(|reader| Some(Incoming::Stream(reader)));
        }
        Ok(None)
    }
}

fn batch(schema: &Bound<'_, PyCapsule>, array: &Bound<'_, PyCapsule>) -> PyResult<RecordBatch> {
    let schema = schema
        .pointer_checked(Some(SCHEMA))?
        .cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    // SAFETY: a capsule of this name holds such a struct, which lives as long as the capsule; it is only read.
    let schema = unsafe { schema.as_ref() };
    // SAFETY: likewise; by the interface's rules whoever takes it leaves a released one behind, as `from_raw` does.
    let array = unsafe { FFI_ArrowArray::from_raw(array.as_ptr()) };
    if array.is_released() {
        return Err(PyValueError::new_err("this Arrow data was used already"));
    }
    // SAFETY: the producer vouches for the buffers that the struct names.
    let data = unsafe { from_ffi(array, schema) }.map_err(wrong)?;
    let field = Field::try_from(schema).map_err(wrong)?;
    to_batch(&field, make_array(data)).map_err(wrong)
}

/// An array as a record batch: a struct as its columns, anything else as a column of images alone.
fn to_batch(field: &Field, array: ArrayRef) -> Result<RecordBatch, ArrowError> {
    if is_column(field) {
        return RecordBatch::try_new(Arc::new(schema_of(field)), vec![array]);
    }
    let rows = array.as_struct();
    if rows.null_count() > 0 {
        return Err(ArrowError::InvalidArgumentError(
            "a row of it is null as a whole".to_owned(),
        ));
    }
    RecordBatch::from(rows.clone()).with_schema(Arc::new(schema_of(field)))
}

/// The schema of such batches.
fn schema_of(field: &Field) -> Schema {
    match field.data_type() {
        DataType::Struct(fields) if !is_image(field) => {
            Schema::new_with_metadata(fields.clone(), field.metadata().clone())
        }
        _ => Schema::new(vec![field.clone().with_name(ONLY_COLUMN)]),
    }
}

/// Whether data of this type is a column of images, and no rows of several columns.
fn is_column(field: &Field) -> bool {
    !matches!(field.data_type(), DataType::Struct(_)) || is_image(field)
}

/// Whether a struct is an image as Hugging Face stores it, and not a row of columns.
fn is_image(field: &Field) -> bool {
    match field.data_type() {
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            names == ["bytes", "path"] || names == ["bytes"]
        }
        _ => false,
    }
}

fn stream(capsule: &Bound<'_, PyCapsule>) -> PyResult<Box<dyn RecordBatchReader + Send>> {
    let pointer = capsule
        .pointer_checked(Some(STREAM))?
        .cast::<FFI_ArrowArrayStream>();
    // SAFETY: a capsule of this name holds such a struct; what is taken leaves a released one behind.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
    if stream.release().is_none() {
        return Err(PyValueError::new_err(
            "this Arrow stream was read already; streams can be read once",
        ));
    }
    let arrays = ArrayStreamReader::try_new(stream).map_err(wrong)?;
    let field = Arc::clone(ArrayReader::field(&arrays));
    let schema = Arc::new(schema_of(&field));
    let batches = arrays.map(move |array| to_batch(&field, array?));
    Ok(Box::new(RecordBatchIterator::new(batches, schema)))
}

fn wrong(error: ArrowError) -> PyErr {
    PyValueError::new_err(format!("this Arrow data cannot be used: {error}"))
}

/// A record batch, for any package that takes Arrow data: `pyarrow.record_batch(it)`, `polars.DataFrame(it)`.
#[pyclass(frozen, module = "bovw")]
pub(crate) struct Batch {
    rows: RecordBatch,
}

impl Batch {
    pub(crate) fn new(rows: RecordBatch) -> Batch {
        Batch { rows }
    }
}

#[pymethods]
impl Batch {
    /// Number of rows.
    #[getter]
    fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Names of the columns.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        names(&self.rows.schema())
    }

    fn __len__(&self) -> usize {
        self.rows.num_rows()
    }

    fn __repr__(&self) -> String {
        format!(
            "bovw.Batch({} rows: {})",
            self.rows.num_rows(),
            self.column_names().join(", ")
        )
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.rows.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // By the interface's rules a wish that is not met is no error.
        drop(requested_schema);
        let rows = StructArray::from(self.rows.clone());
        let (array, _) = to_ffi(&rows.to_data()).map_err(wrong)?;
        Ok((
            schema_capsule(py, &self.rows.schema())?,
            PyCapsule::new_with_value(py, array, ARRAY)?,
        ))
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batches = RecordBatchIterator::new([Ok(self.rows.clone())], self.rows.schema());
        export(py, Box::new(batches))
    }
}

/// Record batches that are made as they are asked for, once: `pyarrow.RecordBatchReader.from_stream(it)`,
/// `polars.DataFrame(it)`, `duckdb.sql("from it")`.
#[pyclass(frozen, module = "bovw")]
pub(crate) struct Stream {
    schema: SchemaRef,
    batches: Mutex<Option<Box<dyn RecordBatchReader + Send>>>,
}

impl Stream {
    pub(crate) fn new(batches: Box<dyn RecordBatchReader + Send>) -> Stream {
        Stream {
            schema: batches.schema(),
            batches: Mutex::new(Some(batches)),
        }
    }
}

#[pymethods]
impl Stream {
    /// Names of the columns.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        names(&self.schema)
    }

    fn __repr__(&self) -> String {
        format!("bovw.Stream({})", self.column_names().join(", "))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.schema)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let taken = self
            .batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let batches = taken.ok_or_else(|| {
            PyValueError::new_err("this stream was read already; featurize again for another")
        })?;
        export(py, batches)
    }
}

fn schema_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(wrong)?;
    PyCapsule::new_with_value(py, schema, SCHEMA)
}

fn names(schema: &Schema) -> Vec<String> {
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

fn export(
    py: Python<'_>,
    batches: Box<dyn RecordBatchReader + Send>,
) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(batches), STREAM)
}

/// The refusal of an object that is no Arrow data.
pub(crate) fn no_arrow_data(data: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{} is no Arrow data: it has neither __arrow_c_stream__ nor __arrow_c_array__",
        data.get_type()
    ))
}

/// Whether Ctrl-C was pressed since the interpreter last looked. It is pressed again, so that the interpreter hears of it
/// whatever becomes of the error that this call ends with.
pub(crate) fn is_interrupted() -> bool {
    Python::attach(|py| match py.check_signals() {
        Ok(()) => false,
        Err(_) => {
            // SAFETY: it may be called at any time; here the interpreter is attached.
            unsafe { pyo3::ffi::PyErr_SetInterrupt() };
            true
        }
    })
}
