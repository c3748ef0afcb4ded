//! k-means over sampled patches, as pure steps; the loop over threads and time is the k-means stage's.

pub mod checkpoint;
pub mod permutation;
pub mod removal;
pub mod seeding;
pub mod sums;
pub mod values;

/// Which k-means is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Random batches that grow, each with the last one in it, then full passes until they win little.
    MiniBatch,
    /// Full passes over the sample until nothing moves (Lloyd 1982).
    Lloyd,
}

impl Algorithm {
    /// Its name in job files and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::MiniBatch => "mini-batch",
            Algorithm::Lloyd => "lloyd",
        }
    }
}

/// How the first words are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// k-means++ (Arthur and Vassilvitskii 2007), greedy.
    PlusPlus,
    /// Distinct patches at random.
    Random,
}

/// `tol` of a job that does not say: training stops when a full pass improves the inertia by less than this share.
pub const DEFAULT_TOL: f64 = 5e-6;

/// What k-means is asked to do. Checked: every number is in range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansParams {
    /// Number of words, at least 1.
    pub k: usize,
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// How the first words are chosen.
    pub init: Init,
    /// Restarts, at least 1; the one with the lowest inertia is kept.
    pub n_init: usize,
    /// Passes over the sample at most, at least 1.
    pub max_iter: usize,
    /// Patches in the first mini-batch; `None`: the algorithm's own choice.
    pub batch_size: Option<usize>,
    /// Stop when an iteration improves the inertia by less than this share.
    pub tol: f64,
    /// Whether words are scaled to length 1 after each step (Dhillon and Modha 2001; as Coates and Ng 2012 do for whitened
    /// patches): the nearest word is then the one in the most similar direction.
    pub spherical: bool,
    /// Seed of every draw.
    pub seed: u64,
}
