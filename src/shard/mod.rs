//! Files: everything that knows Parquet. It knows nothing of threads or of the pipeline.
//!
//! Reads image shards (format: whatever [`detect`] recognises) and writes what a run leaves: features, vocabulary,
//! clusters, manifest. No file appears under its final name before it is whole; see [`whole`].

pub mod arrow_stream;
pub mod bytes;
pub mod centroids;
pub mod checkpoint;
pub mod chunks;
pub mod claims;
pub mod clusters;
pub mod columns;
mod delta;
pub mod detect;
pub mod each;
mod encoded;
pub mod examples;
pub mod features;
mod foot;
mod footer;
pub mod hugging_face;
pub mod images;
pub mod input;
pub mod journal;
pub mod labels;
pub mod manifest;
pub mod map;
pub mod page_need;
mod pages;
pub mod pairs;
pub mod pixels;
pub mod read;
pub mod sketch;
pub mod spill;
mod table;
pub mod tasks;
mod thrift;
pub mod timeline;
pub mod vectors;
pub mod vocabulary;
pub mod whole;
pub mod written;
