//! The numeric core: slices and shapes in, values out.
//!
//! Nothing here touches a file, a thread, a clock or a global, and nothing here can fail on data that `decode` let
//! through: images are finite, shapes agree, counts are above zero. Callers own every loop over files and threads.
//!
//! Conventions: images and matrices are row-major; a *patch* is a window of an image, flattened row by row; a *word* is
//! one centroid; `d` is the length of a patch, `k` the number of words. Pixels and words are stored as u8 or f32, sums
//! are f64 or whole numbers, and where two words are equally near the lower index wins.

pub mod encode;
pub mod evaluate;
pub mod grid;
pub mod image;
pub mod kmeans;
pub mod lanes;
pub mod naive;
pub mod nearest;
pub mod normalize;
pub mod pool;
pub mod positions;
pub mod prepare;
pub mod rebuild;
pub mod rng;
pub mod sample;
pub mod vocabulary;
pub mod weigh;
pub mod whiten;
