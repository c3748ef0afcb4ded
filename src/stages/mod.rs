//! The boxes of the flow, in flow order. A stage is only its transformation: how batches travel is `flow`'s business.
//!
//! ```text
//! learn      source -> decode -> sample    -> gather, k-means
//! featurize  source -> decode -> featurize -> sink
//! ```
//!
//! Edges carry: [`source::RowBatch`], [`decode::ImageBatch`], then [`sample::SampleBatch`] or
//! [`featurize::FeatureBatch`].

pub mod decode;
pub mod examples;
pub mod featurize;
pub mod gather;
pub mod kmeans;
pub mod sample;
pub mod sink;
pub mod source;
