//! `bovw`: image collections of any size in, bag-of-patches vectors out.

pub mod error;
pub mod import;
pub mod job;
pub mod kernel;

pub use error::{Error, Place, Result};
