//! The library's errors as Python exceptions: those of `bovw._errors`, with the library's message, and `KeyboardInterrupt`.

use bovw::Error;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

/// The exception of an error.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let name = match error {
        Error::Interrupted => return PyKeyboardInterrupt::new_err("interrupted"),
        Error::JobFile { .. } | Error::Setting { .. } | Error::Usage { .. } => "JobError",
        Error::Data { .. } | Error::File { .. } => "DataError",
        Error::BadImage { .. } => "BadImageError",
        Error::TooManyBad { .. } => "TooManyBadError",
        Error::Io { .. } => "FileError",
        Error::OtherJob { .. } => "OtherJobError",
        _ => "BovwError",
    };
    named(py, name, &error.to_string())
}

/// An exception of `bovw._errors`.
pub(crate) fn named(py: Python<'_>, name: &str, message: &str) -> PyErr {
    let class = py
        .import("bovw._errors")
        .and_then(|module| module.getattr(name));
    match class.and_then(|class| class.call1((message,))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A result, its error as an exception.
pub(crate) fn raise<T>(py: Python<'_>, result: bovw::Result<T>) -> PyResult<T> {
    result.map_err(|error| exception(py, &error))
}
