//! The stages: each drives pure steps of the kernel with threads and time.

pub mod kmeans;
