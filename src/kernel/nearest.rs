//! Nearest words, exactly: a fast search whose every doubtful answer is decided again in float64.
//!
//! The law is [`super::naive`]: squared distances in plain float64, in the order of the pixels, lowest index first among
//! equals. With `x = (p - mu) / sigma`, the nearest word is the one with the smallest score
//! `s_j = (sigma / 2) |c_j|^2 + mu sum(c_j) - p . c_j`, so raw pixels `p` go straight into dot products, and all
//! normalisation is one bias per image and word. Pixels that are bytes are searched in whole numbers (`whole`), others
//! in f32 (`float`). A label is taken from the scores only where second-best minus best exceeds a proven bound on all
//! rounding, the law's own included; anything else, overflow and NaN too, is decided by the law. So every instruction
//! set gives the same labels, and this module must never accept what it cannot prove.
//!
//! No matrix of patches is ever made: 32 patches at a time are packed into a panel, a lane a patch.

mod band;
mod decide;
mod float;
mod isa;
mod long;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod prepared;
mod simd;
#[cfg(test)]
mod tests;
mod whole;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::grid::PatchShape;
use super::image::PixelsRef;
use super::lanes::lane_sum;
use super::positions;
use super::sample::Patches;

use band::Band;
use decide::Exact;
use float::FloatWords;
pub use simd::{Simd, Work};
use whole::WholeWords;

/// Lanes of a panel: patches that are scored together.
pub const LANES: usize = 32;

/// Unit roundoff of f64.
const U64: f64 = f64::EPSILON / 2.0;
/// Share by which bounds are enlarged, to cover the roundings made in computing them.
const SLACK: f64 = 1.0 + 1e-3;

/// A vocabulary's words, laid out for the search.
#[derive(Debug, Clone)]
pub struct Words {
    patch: PatchShape,
    simd: Simd,
    norms: Norms,
    exact: Exact,
    float: FloatWords,
    whole: Option<WholeWords>,
}

/// What the biases and bounds of an image are made of.
#[derive(Debug, Clone)]
struct Norms {
    /// Squared norm of each word.
    norm2: Vec<f64>,
    /// Sum of the values of each word.
    sum: Vec<f64>,
    /// The largest norm.
    max_norm: f64,
}

impl Words {
    /// Lays out `centroids`: `k * d` finite values, row-major, for patches of `d` pixels; at least one word.
    ///
    /// # Panics
    /// If the sizes disagree, or this machine does not have `simd`.
    pub fn new(centroids: &[f32], patch: PatchShape, simd: Simd) -> Words {
        let d = patch.len();
        assert!(!centroids.is_empty() && centroids.len().is_multiple_of(d));
        // The calls into the SIMD code rely on this check.
        assert!(simd.is_available(), "no {simd} here");
        let norms = Norms::new(centroids, d);
        Words {
            patch,
            simd,
            exact: Exact::new(centroids, d),
            float: FloatWords::new(centroids, d),
            whole: WholeWords::new(centroids, patch, &norms),
            norms,
        }
    }

    /// Number of words.
    pub fn k(&self) -> usize {
        self.norms.norm2.len()
    }

    /// Values in a word.
    pub fn d(&self) -> usize {
        self.patch.len()
    }

    /// The instruction set that searches them.
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// Upper bound on the heap bytes of `k` words for such patches.
    pub fn heap_bytes(k: usize, patch: PatchShape) -> u64 {
        let d = patch.len();
        Exact::heap_bytes(k, d)
            + FloatWords::heap_bytes(k, d)
            + WholeWords::heap_bytes(k, patch)
            + 16 * k as u64
    }
}

impl Norms {
    fn new(centroids: &[f32], d: usize) -> Norms {
        let words = || centroids.chunks_exact(d);
        let norm2: Vec<f64> = words()
            .map(|word| lane_sum(word, |c| f64::from(c) * f64::from(c)))
            .collect();
        let sum = words().map(|word| lane_sum(word, f64::from)).collect();
        let max_norm = norm2.iter().fold(0.0, |a: f64, &b| a.max(b)).sqrt();
        Norms {
            norm2,
            sum,
            max_norm,
        }
    }
}

/// Working memory of the search, to be reused, and what the last search found.
#[derive(Debug, Default, Clone)]
pub struct Scratch {
    band: Band,
    panel: Vec<whole::Row>,
    starts: Vec<(u32, u32)>,
    float_panel: Vec<f32>,
    bias: Vec<i32>,
    float_bias: Vec<f32>,
    values: Vec<f64>,
    offsets: Vec<u32>,
    labels: Vec<u32>,
    squares: Vec<u32>,
    repeats: Vec<Repeat>,
}

impl Scratch {
    /// Upper bound on its heap bytes for `k` words for such patches, searched `n_patches` at a time.
    pub fn heap_bytes(k: usize, patch: PatchShape, n_patches: usize) -> u64 {
        let (k, d) = (k as u64, patch.len() as u64);
        let lanes = LANES as u64 + 16;
        Band::heap_bytes(patch.len() >= long::MIN_D)
            + d * (2 * lanes * 4 + 8)
            + (k + 16) * 8
            + 2 * 12 * n_patches as u64
    }
}

/// The nearest word of each patch of an image.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Top-left pixels of the patches that were searched, ascending.
    pub offsets: &'a [u32],
    /// The nearest word of each.
    pub labels: &'a [u32],
    /// The other patches: each equals one of those above.
    pub repeats: &'a [Repeat],
    /// How many of the searched patches float64 decided.
    pub decided_again: u64,
    /// What the search in whole numbers knows besides.
    pub whole: Option<Whole<'a>>,
}

/// Byproducts of a search in whole numbers.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// The pixels that were searched, and at least 16 bytes after the last of any patch.
    pub pixels: &'a [u8],
    /// Sum of the squared raw pixels of each searched patch.
    pub squares: &'a [u32],
}

/// Patches of one value that equal a searched one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Top-left pixel of the patch that was searched.
    pub offset: u32,
    /// Its word, and theirs.
    pub label: u32,
    /// The raw pixel that all of them are made of; of no meaning for a blank image.
    pub pixel: u8,
    /// How many there are beside the one that was searched.
    pub count: u32,
}

impl Found<'_> {
    /// The word of each of `patches`, the ones that were searched, in their order.
    pub fn each<'a>(&'a self, patches: &'a Patches<'_>) -> impl Iterator<Item = u32> + 'a {
        let mut searched = self.offsets.iter().zip(self.labels).peekable();
        patches.offsets().map(move |offset| {
            if let Some((_, &label)) = searched.next_if(|(at, _)| **at == offset) {
                return label;
            }
            let is_same = |repeat: &&Repeat| match patches.pixels {
                PixelsRef::U8(pixels) if !patches.scaling.is_blank() => {
                    repeat.pixel == pixels[offset as usize]
                }
                // Only blank images of floats repeat patches.
                _ => true,
            };
            match self.repeats.iter().find(is_same) {
                Some(repeat) => repeat.label,
                None => unreachable!("a patch is searched, or repeats one that was"),
            }
        })
    }

    /// Adds the patches of each word to `counts`, `k` long.
    pub fn count_into(&self, counts: &mut [u32]) {
        for &label in self.labels {
            counts[label as usize] += 1;
        }
        for repeat in self.repeats {
            counts[repeat.label as usize] += repeat.count;
        }
    }
}

/// Finds the nearest word of each of `patches`.
pub fn search<'s>(words: &Words, patches: &Patches<'_>, scratch: &'s mut Scratch) -> Found<'s> {
    scratch.offsets.clear();
    scratch.labels.clear();
    scratch.squares.clear();
    scratch.repeats.clear();
    if patches.scaling.is_blank() {
        search_blank(words, patches, scratch);
        return scratch.found(0, false);
    }
    if let (Some(whole), PixelsRef::U8(pixels)) = (&words.whole, patches.pixels)
        && let Some(image) = whole::ImageSearch::new(words, whole, patches, pixels)
    {
        let decided_again = image.search(scratch);
        return scratch.found(decided_again, true);
    }
    let decided_again = float::search(words, patches, scratch);
    scratch.found(decided_again, false)
}

/// All patches of a blank image are zeros, so one decision is enough.
fn search_blank(words: &Words, patches: &Patches<'_>, scratch: &mut Scratch) {
    let Some(offset) = patches.offsets().next() else {
        return;
    };
    scratch.values.clear();
    scratch.values.resize(words.d(), 0.0);
    let label = words.exact.decide(&scratch.values);
    scratch.offsets.push(offset);
    scratch.labels.push(label);
    let count = positions::count(patches.positions) as u32 - 1;
    if count > 0 {
        scratch.repeats.push(Repeat {
            offset,
            label,
            pixel: 0,
            count,
        });
    }
}

impl Scratch {
    fn found(&self, decided_again: u64, is_whole: bool) -> Found<'_> {
        Found {
            offsets: &self.offsets,
            labels: &self.labels,
            repeats: &self.repeats,
            decided_again,
            whole: is_whole.then(|| Whole {
                pixels: self.band.pixels(),
                squares: &self.squares,
            }),
        }
    }
}
