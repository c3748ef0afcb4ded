//! The boxes of the flow, in flow order. A stage is only its transformation: how batches travel is `flow`'s business.
//!
//! ```text
//! learn      source -> decode -> sample    -> gather, prepare, k-means
//! count      source -> decode -> documents                       (for tf-idf alone)
//! featurize  source -> decode -> featurize -> sink
//! cluster    source -> decode -> whole     -> gather, k-means   (of pixels; of features: rows -> whole -> gather)
//!            rows   -> label  -> measure   -> sink
//! ```
//!
//! Edges carry: [`source::RowBatch`], [`decode::ImageBatch`], then [`sample::SampleBatch`],
//! [`featurize::FeatureBatch`] or [`whole::WholeBatch`]; and [`rows::FeatureRows`], then [`label::LabelledRows`].

pub mod contingency;
pub mod decode;
pub mod documents;
pub mod examples;
pub mod featurize;
pub mod gather;
pub mod kmeans;
pub mod label;
pub mod prepare;
pub mod recount;
pub mod rows;
pub mod sample;
pub mod sink;
pub mod source;
pub mod threads;
pub mod whole;
