//! [`JobFile`]: exactly what the user typed, or the same tables with every default filled in (see `resolved`).
//!
//! Every key is optional and no value is judged here. [`Job::check`](super::Job::check) is the only way on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::source::Source;
use super::{keys, set};
use crate::error::{Error, Result};

/// A job file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobFile {
    /// `[input]`
    pub input: InputTable,
    /// `[patches]`
    pub patches: PatchesTable,
    /// `[sample]`
    pub sample: SampleTable,
    /// `[vocabulary]`
    pub vocabulary: VocabularyTable,
    /// `[features]`
    pub features: FeaturesTable,
    /// `[[cluster]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<ClusterTable>,
    /// `[output]`
    pub output: OutputTable,
    /// `[run]`
    pub run: RunTable,
}

/// Declares a table of the job file: every key optional, absent ones not written.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$key_doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$kind>,)*
        }
    };
}

table! {
    /// `[input]`: which images are read.
    InputTable {
        /// Globs, read in name order.
        files: Vec<String>,
        /// Image column.
        image: String,
        /// Label column.
        label: String,
        /// Further columns carried to the output.
        keep: Vec<String>,
        /// `[height, width]` or `[height, width, channels]` of raw pixels.
        shape: Vec<i64>,
        /// "grey", "rgb", "auto" or "grey-only".
        color: String,
        /// Longest side of an image at most: larger ones are made smaller.
        resize: i64,
        /// Pixels of an encoded image at most.
        max_pixels: i64,
        /// "fail", "zero" or "drop".
        on_bad_image: String,
        /// A share or a count.
        max_bad: Number,
    }
}

table! {
    /// `[patches]`: how a patch is cut and prepared.
    PatchesTable {
        /// `[height, width]`, or a list of them.
        size: Sizes,
        /// Pixels from one patch to the next.
        stride: i64,
        /// "image", "patch" or "none".
        normalize: String,
        /// Added to the variance of a patch that is normalised by itself.
        epsilon: Number,
        /// "zca" or "none".
        whiten: String,
        /// Added to the variances that whitening divides by.
        whiten_epsilon: Number,
    }
}

table! {
    /// `[sample]`: which patches the vocabulary is learned from.
    SampleTable {
        /// One image in so many.
        every: i64,
        /// A share of an image's patches, or a whole number of them.
        per_image: Number,
        /// At most so many patches in all.
        max_patches: i64,
    }
}

table! {
    /// `[vocabulary]`: how words are learned, or where they are.
    VocabularyTable {
        /// Number of words.
        k: i64,
        /// "mini-batch" or "lloyd".
        algorithm: String,
        /// "k-means++" or "random".
        init: String,
        /// Restarts.
        n_init: i64,
        /// Passes over the sample at most.
        max_iter: i64,
        /// Patches in the first mini-batch.
        batch_size: i64,
        /// Relative improvement below which it stops.
        tol: f64,
        /// Whether words have length 1.
        spherical: bool,
        /// A vocabulary file, or one for each size of patches.
        from: Names,
    }
}

table! {
    /// `[features]`: how an image's words become its vector.
    FeaturesTable {
        /// "hard", "triangle", "soft" or "vlad".
        encoding: String,
        /// Words that share a patch, with "soft".
        nearest: i64,
        /// A grid of cells, or a list of grids.
        pooling: Pooling,
        /// "count", "frequency", "hellinger", "l2", "tf-idf" or "intra", or a list of steps.
        weighting: Names,
    }
}

table! {
    /// `[[cluster]]`: a clustering of whole images.
    ClusterTable {
        /// "pixels" or "features".
        of: String,
        /// Numbers of clusters.
        k: Wholes,
        /// "lloyd" or "mini-batch".
        algorithm: String,
        /// Restarts.
        n_init: i64,
        /// Passes over the images at most.
        max_iter: i64,
    }
}

table! {
    /// `[output]`: where results go.
    OutputTable {
        /// The run's directory.
        dir: String,
        /// "fixed_size_list", "list" or "wide".
        layout: String,
    }
}

table! {
    /// `[run]`: how the machine is used.
    RunTable {
        /// Seed of every draw.
        seed: i64,
        /// Worker threads a stage; 0: every core.
        threads: i64,
        /// Ceiling of heap memory.
        memory: Memory,
        /// "auto", "mmap" or "read".
        io: String,
        /// "auto", or the instruction set of the nearest-word search.
        simd: String,
        /// Seconds between two checkpoints of sampling and k-means, at least.
        checkpoint_seconds: i64,
    }
}

/// A number, remembering how it was written: `1` counts, `1.0` is a share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// Written without a point.
    Whole(i64),
    /// Written with a point.
    Real(f64),
}

/// `features.pooling`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pooling {
    /// `[rows, columns]`
    Grid(Vec<i64>),
    /// A list of grids.
    Pyramid(Vec<Vec<i64>>),
}

/// `patches.size`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sizes {
    /// `[height, width]`
    One(Vec<i64>),
    /// A list of sizes.
    Many(Vec<Vec<i64>>),
}

/// A text or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// A whole number or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wholes {
    /// One.
    One(i64),
    /// A list.
    Many(Vec<i64>),
}

/// An amount of memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Memory {
    /// Bytes.
    Bytes(i64),
    /// "1GiB"
    Text(String),
}

impl JobFile {
    /// Reads the job file at `path` and lays each of `sets`, `key=value`, over it in turn.
    pub fn load(path: &Path, sets: &[String]) -> Result<JobFile> {
        JobFile::from_source(&Source::read(path)?, sets)
    }

    /// [`load`](JobFile::load), of a text that is at hand; `path` is for messages.
    pub fn parse(path: &Path, text: &str, sets: &[String]) -> Result<JobFile> {
        JobFile::from_source(&Source::file(path, text), sets)
    }

    fn from_source(source: &Source, sets: &[String]) -> Result<JobFile> {
        let mut typed = keys::parse(source)?;
        for argument in sets {
            set::merge(&mut typed, set::parse(argument)?);
        }
        // Keys and types were held against the same tables above, with places; see the test below.
        JobFile::deserialize(typed).map_err(|e| source.syntax_error(&e))
    }

    /// The job as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Usage {
            message: format!("this job cannot be written as TOML: {e}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Kind, TABLES};
    use super::*;

    fn sample_of(kind: Kind) -> &'static str {
        match kind {
            Kind::Text | Kind::Names => "\"x\"",
            Kind::Flag => "true",
            Kind::Texts => "[\"x\"]",
            Kind::Whole | Kind::Wholes => "7",
            Kind::Number => "0.5",
            Kind::Sizes | Kind::Shape | Kind::Grids => "[7, 7]",
            Kind::Memory => "\"1GiB\"",
        }
    }

    #[test]
    fn the_tables_of_keys_and_the_structs_name_the_same_keys() {
        let mut text = String::new();
        let mut n_keys = 0;
        for table in &TABLES {
            let brackets = if table.is_list {
                ("[[", "]]")
            } else {
                ("[", "]")
            };
            text += &format!("{}{}{}\n", brackets.0, table.name, brackets.1);
            for (key, kind) in table.keys {
                text += &format!("{key} = {}\n", sample_of(*kind));
                n_keys += 1;
            }
        }
        let file: JobFile = toml::from_str(&text).expect("every key of TABLES is a field");
        let written = file.to_toml().expect("plain values");
        assert_eq!(written.matches(" = ").count(), n_keys);
        assert_eq!(
            written.replace(['\n', ' '], ""),
            text.replace(['\n', ' '], "")
        );
    }
}
