//! A job: what the user typed ([`JobFile`]) and the checked plan that everything else works from ([`Job`]).
//!
//! There is one door from the first to the second, [`Job::check`]. Past it nothing is validated again. [`resolved`] is the
//! way back: the job with every default filled in, for people and manifests.

mod check;
mod cluster;
mod features;
mod file;
mod keys;
mod nearest;
mod patches;
mod paths;
pub mod resolved;
mod set;
mod source;
mod value;

use std::path::PathBuf;

pub use check::{MIN_MEMORY_BYTES, Overrides};
pub use features::check_features;
pub use file::{
    ClusterTable, FeaturesTable, InputTable, JobFile, Memory, Names, Number, OutputTable,
    PatchesTable, Pooling, RunTable, SampleTable, Sizes, VocabularyTable, Wholes,
};
pub use patches::sizes_of;

use crate::container::MemoryLimit;
use crate::kernel::encode::Recipe;
use crate::kernel::grid::PatchShape;
use crate::kernel::kmeans::{Algorithm, KMeansParams};
use crate::kernel::nearest::Simd;
use crate::kernel::vocabulary::Preparation;

/// A checked job. Paths are absolute or relative to the working directory, never to the job file.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The job file's folder, which relative paths of the job were joined to; empty for the working directory.
    pub base_dir: PathBuf,
    /// `[input]`
    pub input: Input,
    /// `[patches]`: how patches are cut and prepared, for each size; at least one, and alike but for height and width.
    pub preparations: Vec<Preparation>,
    /// `patches.stride`: pixels from one patch to the next, both ways; at least 1.
    pub stride: u32,
    /// `[sample]`
    pub sample: Sampling,
    /// `[vocabulary]`
    pub vocabulary: VocabularySource,
    /// `[features]`
    pub features: Recipe,
    /// `[[cluster]]`, in the job's order; no two with the same `of` have a `k` in common.
    pub clusters: Vec<Clusters>,
    /// `[output]`
    pub output: Output,
    /// `[run]`
    pub run: Run,
}

impl Job {
    /// The sizes of patches, in the order of their words in a vector.
    pub fn patches(&self) -> Vec<PatchShape> {
        self.preparations.iter().map(|one| one.patch).collect()
    }

    /// See [`Preparation::is_by_image`]; the same for all sizes.
    pub fn is_by_image(&self) -> bool {
        self.preparations.iter().all(Preparation::is_by_image)
    }

    /// Decides what colour is looked at, and with it how many values a pixel of a patch has.
    pub fn set_color(&mut self, color: Color) {
        self.input.color = color;
        for preparation in &mut self.preparations {
            preparation.patch.channels = color.channels();
        }
    }
}

/// `input.max_pixels` of a job that does not say: 16 384 squared.
pub const DEFAULT_MAX_PIXELS: u64 = 1 << 28;

/// Which images are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Globs, joined to the job file's folder.
    pub files: Vec<String>,
    /// Image column; `None`: detected.
    pub image: Option<String>,
    /// Label column; `None`: detected, may be absent.
    pub label: Option<String>,
    /// Columns carried to the output unchanged.
    pub keep: Vec<String>,
    /// Height, width and channels of raw pixels; `None`: from the file, or square.
    pub shape: Option<RawShape>,
    /// What of an image's colour is looked at; after the plan never [`Color::Auto`].
    pub color: Color,
    /// An image whose longest side has more pixels is made smaller, so that it has so many; `None`: none is.
    pub resize: Option<u32>,
    /// Pixels that an encoded image may have; one whose header says more is a bad image, and is not decoded.
    pub max_pixels: u64,
    /// What becomes of a bad image.
    pub on_bad_image: OnBadImage,
    /// How many bad images still make a success.
    pub max_bad: MaxBad,
}

/// Shape of images that are stored as raw pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawShape {
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Values a pixel: 1 grey, 3 RGB, 4 RGBA; channels last.
    pub channels: u32,
}

/// What of an image's colour is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Grey: colour is turned to luma.
    Grey,
    /// Grey, and an image in colour is a bad image: what [`Color::Auto`] becomes where the first image is grey.
    GreyOnly,
    /// Red, green and blue; a grey image has the same value three times.
    Rgb,
    /// As the job's first good image is. The plan looks at it.
    Auto,
}

impl Color {
    /// All, in the order in which messages name them.
    pub const ALL: [Color; 4] = [Color::Grey, Color::Rgb, Color::Auto, Color::GreyOnly];

    /// The job file's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Color::Grey => "grey",
            Color::GreyOnly => "grey-only",
            Color::Rgb => "rgb",
            Color::Auto => "auto",
        }
    }

    /// Values of a pixel; those of grey where it is not decided yet.
    pub fn channels(self) -> u32 {
        match self {
            Color::Rgb => 3,
            Color::Grey | Color::GreyOnly | Color::Auto => 1,
        }
    }
}

/// What becomes of a bad image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadImage {
    /// The run ends with an error.
    Fail,
    /// The row stays, with a vector of zeros and the reason in `status`.
    Zero,
    /// The row is left out.
    Drop,
}

/// How many bad images still make a success.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxBad {
    /// Any number.
    Any,
    /// A share of all images, from 0 to 1.
    Share(f64),
    /// A number of images.
    Count(u64),
}

/// Which patches the vocabulary is learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// One image in so many, by row number over all shards; at least 1.
    pub every: u64,
    /// How many patches of each.
    pub per_image: PerImage,
    /// At most so many patches in all; at least 1.
    pub max_patches: Option<u64>,
}

/// How many patches of an image are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PerImage {
    /// A share of its patches, above 0 and at most 1, rounded down.
    Share(f64),
    /// So many, or all where there are fewer; at least 1.
    Count(u64),
}

/// Where the words come from.
#[derive(Debug, Clone, PartialEq)]
pub enum VocabularySource {
    /// They are learned.
    Learn(KMeansParams),
    /// They are read from vocabulary files, one for each size of patches, in their order.
    From(Vec<PathBuf>),
}

/// Clusterings of whole images: one for each `k`.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// What is clustered.
    pub of: ClusterOf,
    /// Numbers of clusters, each at least 1 and none twice.
    pub k: Vec<usize>,
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// Restarts, at least 1; the one with the lowest inertia is kept.
    pub n_init: usize,
    /// Passes over the images at most, at least 1.
    pub max_iter: usize,
}

/// What of an image is clustered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterOf {
    /// Its pixels as they are decoded; all images must have one size.
    Pixels,
    /// Its vector.
    Features,
}

/// One clustering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clustering {
    /// What is clustered.
    pub of: ClusterOf,
    /// How.
    pub params: KMeansParams,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The run's directory.
    pub dir: PathBuf,
}

/// How the machine is used. None of it changes a byte of the output, except the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Seed of every draw.
    pub seed: u64,
    /// Worker threads a stage, at least 1.
    pub threads: usize,
    /// Ceiling of heap memory.
    pub memory_bytes: u64,
    /// The limit of the container, where the job does not say and the ceiling is a share of it.
    pub share_of: Option<MemoryLimit>,
    /// How shards are read.
    pub io: Io,
    /// The instruction set of the nearest-word search; this machine has it.
    pub simd: Simd,
    /// Whether the job named it.
    pub is_simd_chosen: bool,
    /// Seconds between two checkpoints of sampling and k-means, at least; 0: at every point that can be gone on from.
    pub checkpoint_seconds: u64,
}

/// How shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// Memory-mapped where that is safe and possible.
    Auto,
    /// Memory-mapped.
    Mmap,
    /// Positioned reads.
    Read,
}
