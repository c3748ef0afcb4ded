//! A vocabulary as a value: the words, and how patches are prepared before they are compared with them.

use super::grid::PatchShape;
use super::normalize::Normalize;
use super::whiten::Whitening;

/// How a patch is cut and prepared. Words mean nothing without it, so it travels with them; a job that prepares patches
/// otherwise may not use them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preparation {
    /// Shape of every patch.
    pub patch: PatchShape,
    /// Normalisation of every patch.
    pub normalize: Normalize,
    /// Epsilon of the whitening that follows, above 0; `None`: none follows.
    pub whiten: Option<f64>,
}

impl Preparation {
    /// Whether the values of a patch are its pixels, less one number and over another that its whole image shares.
    pub fn is_by_image(&self) -> bool {
        self.whiten.is_none() && !matches!(self.normalize, Normalize::Patch { .. })
    }
}

/// `k` words, and what they stood for when they were learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// How patches are prepared.
    pub preparation: Preparation,
    /// The whitening, where the preparation has one; learned from the same sample.
    pub whitening: Option<Whitening>,
    /// In how many images each word occurs, where that was counted.
    pub documents: Option<Documents>,
    /// The words: `k * d` finite values, row-major. Featurizing uses these very values.
    pub centroids: Vec<f32>,
    /// Sampled patches nearest to each word, `k` of them.
    pub counts: Vec<u64>,
    /// Sum of squared distances of those patches to the word, `k` of them.
    pub inertia: Vec<f64>,
}

/// Document frequencies: what tf-idf weighs words by.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Documents {
    /// Images that were looked at.
    pub n: u64,
    /// Of these, how many have at least one patch whose nearest word is this one; `k` of them.
    pub with_word: Vec<u64>,
}

impl Documents {
    /// Weight of each word: `ln((1 + n) / (1 + with_word)) + 1`, as scikit-learn's smooth idf.
    pub fn idf(&self) -> Vec<f64> {
        let weigh = |&df: &u64| ((1.0 + self.n as f64) / (1.0 + df as f64)).ln() + 1.0;
        self.with_word.iter().map(weigh).collect()
    }
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
