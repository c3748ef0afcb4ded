//! The passes: wiring only. Which stages follow one another, with which limits, and what is kept between them.
//!
//! No arithmetic and no file format lives here. [`run`] reads as the table of contents of the whole program.

pub mod checkpoint;
pub mod cluster;
pub mod cluster_plan;
pub mod documents;
pub mod evaluate;
pub mod examples;
pub mod featurize;
pub mod learn;
pub mod memory;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod run_dir;
pub mod task;
mod timeline;
pub mod verify;
