//! A vocabulary as a value: the words, and how patches are prepared before they are compared with them.

use super::grid::PatchShape;
use super::normalize::Normalize;

/// How a patch is cut and prepared. Words mean nothing without it, so it travels with them; a job that prepares patches
/// otherwise may not use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preparation {
    /// Shape of every patch.
    pub patch: PatchShape,
    /// Normalisation of every patch.
    pub normalize: Normalize,
}

/// `k` words, and what they stood for when they were learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// How patches are prepared.
    pub preparation: Preparation,
    /// The words: `k * d` finite values, row-major. Featurizing uses these very values.
    pub centroids: Vec<f32>,
    /// Sampled patches nearest to each word, `k` of them.
    pub counts: Vec<u64>,
    /// Sum of squared distances of those patches to the word, `k` of them.
    pub inertia: Vec<f64>,
}

impl Vocabulary {
    /// Number of words.
    pub fn k(&self) -> usize {
        self.counts.len()
    }

    /// Values in a word.
    pub fn d(&self) -> usize {
        self.preparation.patch.len()
    }

    /// Mean squared distance of the sampled patches to their words; 0 where there were none.
    pub fn inertia_per_patch(&self) -> f64 {
        let n_patches: u64 = self.counts.iter().sum();
        self.inertia.iter().sum::<f64>() / n_patches.max(1) as f64
    }
}
