//! The library as a guest in somebody else's program: images come as arrays or Arrow record batches that the program has,
//! and vectors go back to it, on threads that end with the call.
//!
//! The numbers are those of a run: the same stages, over other images. Nothing here opens a shard, owns a directory or holds
//! an image after the call that brought it; what is wrong with an argument is an [`Error`](crate::Error).

mod batches;
mod featurizer;
mod learner;
mod settings;
pub mod stream;

pub use batches::{Batches, VectorLayout};
pub use featurizer::{Featurizer, Picture, Row, Work};
pub use learner::{Learner, Numbers, count_documents, no_auto};
pub use settings::{job_to_featurize, job_to_learn, provenance};
