//! The native half of the Python package `bovw`: classes and functions that only translate. What they do is the library's.
//!
//! Nothing here computes, or keeps the interpreter waiting: work is done detached from it.

mod arrow_data;
mod errors;
mod featurizer;
mod interrupt;
mod learner;
mod runs;
mod tasks;
mod vocabulary;

use pyo3::prelude::*;

#[pymodule]
mod _bovw {
    #[pymodule_export]
    use super::arrow_data::{Batch, Stream};
    #[pymodule_export]
    use super::featurizer::Featurizer;
    #[pymodule_export]
    use super::learner::Learner;
    #[pymodule_export]
    use super::runs::run;
    #[pymodule_export]
    use super::tasks::{merge_tasks, plan_tasks, run_task};
    #[pymodule_export]
    use super::vocabulary::Vocabulary;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
