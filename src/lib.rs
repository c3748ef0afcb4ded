//! `bovw`: image collections of any size in, bag-of-patches vectors out.
//!
//! ```text
//! learn      source -> decode -> sample    -> k-means -> vocabulary.parquet
//!                                                           |
//! featurize  source -> decode -> featurize -> sink    -> features/*.parquet
//!                                   ^-----------------------+
//! cluster    whole images, or features    -> k-means -> clusters/*.parquet
//! ```
//!
//! A *patch* is a window of an image; a *word* is one of the `k` centroids that patches are clustered into; together
//! the words are the *vocabulary*; an image's *features* count how often each word is the nearest of one of its patches.
//! A *cluster* is one of the groups that k-means makes of whole images, or of their features.
//! A *shard* is one Parquet file, read *row group* by row group in numbered *batches*. A *task* is a shard, or some row
//! groups of it, that may be worked on anywhere; see [`passes::task`].
//!
//! Modules depend downwards only; a test says so:
//!
//! ```text
//! 5  guest                  the same in somebody else's program: batches and arrays in, vectors out
//! 4  passes                 wiring: what follows what
//! 3  stages  import  synth   the boxes of the flow; making shards of what there is, and of nothing
//!    report                  drawing a finished run
//! 2  shard       flow       files; threads
//! 1  job                    what was typed, what it means
//! 0  kernel  error  container  numbers; what can go wrong; the limit of the container
//! ```

pub mod container;
pub mod error;
pub mod flow;
pub mod guest;
pub mod import;
pub mod job;
pub mod kernel;
pub mod passes;
pub mod report;
pub mod shard;
pub mod stages;
pub mod synth;

pub use error::{Error, Place, Result};
