//! How often each word is used, overall and by class: sums over the features files, streamed, in file order.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::shard::manifest::{FEATURES_DIR, Manifest};
use crate::shard::vectors::{Label, VectorFile};

/// Classes that are told apart; more of them are no classes to compare.
pub(super) const MAX_CLASSES: usize = 256;

/// Words that are counted by class: the first ones, which are the most frequent of the sample.
pub(super) const MAX_CLASS_WORDS: usize = 64;

/// Values of all vectors that are summed, at most, about; of larger runs, row groups spread evenly are read.
const MAX_VALUES: u64 = 1 << 30;

/// Uses of words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WordUse {
    /// Of each word, in all rows that were read.
    pub(super) of_word: Vec<f64>,
    /// By class, in order; empty without labels, and where there are more than [`MAX_CLASSES`].
    pub(super) classes: Vec<ClassUse>,
    /// Whether there are more than [`MAX_CLASSES`].
    pub(super) has_too_many_classes: bool,
    /// Rows without a label.
    pub(super) n_unlabelled: u64,
    /// Rows that were read.
    pub(super) n_read: u64,
    /// All rows.
    pub(super) n_rows: u64,
}

/// Uses of words in one class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassUse {
    /// The class.
    pub(super) name: String,
    /// Its rows.
    pub(super) n_rows: u64,
    /// Uses of the first [`MAX_CLASS_WORDS`] words.
    pub(super) of_word: Vec<f64>,
    /// Uses of all words.
    pub(super) total: f64,
}

impl WordUse {
    /// Uses of all words.
    pub(super) fn total(&self) -> f64 {
        self.of_word.iter().sum()
    }

    /// Words by falling use; the lower number first among equals.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.of_word.len()).collect();
        order.sort_by(|&a, &b| self.of_word[b].total_cmp(&self.of_word[a]).then(a.cmp(&b)));
        order
    }
}

/// How a vocabulary's words stand in its part of a vector: cells of `k` words, of so many values each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) n_values: usize,
    pub(super) k: usize,
    pub(super) n_per_word: usize,
}

/// Sums up the features files of a run, for each of the vocabularies whose parts of a vector follow each other; residuals by
/// their size.
pub(super) fn read(dir: &Path, manifest: &Manifest, layouts: Vec<Layout>) -> Result<Vec<WordUse>> {
    let n_values = layouts.iter().map(|layout| layout.n_values).sum();
    let mut sums: Vec<Sums> = layouts.into_iter().map(Sums::new).collect();
    let (rows, label) = (manifest.counts.rows, manifest.columns.label.as_deref());
    let every = rows
        .saturating_mul(n_values as u64)
        .div_ceil(MAX_VALUES)
        .max(1);
    let mut row_group_number = 0u64;
    let features = manifest
        .outputs
        .iter()
        .filter(|output| Path::new(&output.path).starts_with(FEATURES_DIR));
    for output in features {
        let file = VectorFile::open(&dir.join(&output.path), n_values, label)?;
        for row_group in 0..file.n_row_groups() {
            if row_group_number.is_multiple_of(every) {
                file.read(row_group, |label, vector| {
                    let mut rest = vector;
                    for sums in &mut sums {
                        let (own, others) = rest.split_at(sums.layout.n_values);
                        sums.add(label.clone(), own);
                        rest = others;
                    }
                })?;
            }
            row_group_number += 1;
        }
    }
    let has_label = label.is_some();
    let uses = sums.into_iter().map(|sums| WordUse {
        of_word: sums.of_word,
        classes: sums.classes.into_values().collect(),
        has_too_many_classes: sums.has_too_many_classes,
        n_unlabelled: if has_label { sums.n_unlabelled } else { 0 },
        n_read: sums.n_read,
        n_rows: rows,
    });
    Ok(uses.collect())
}

struct Sums {
    layout: Layout,
    // Uses of words in one vector.
    of_vector: Vec<f64>,
    of_word: Vec<f64>,
    n_class_words: usize,
    classes: BTreeMap<Label, ClassUse>,
    has_too_many_classes: bool,
    n_unlabelled: u64,
    n_read: u64,
}

impl Sums {
    fn new(layout: Layout) -> Sums {
        let k = layout.k;
        Sums {
            layout,
            of_vector: vec![0.0; k],
            of_word: vec![0.0; k],
            n_class_words: k.min(MAX_CLASS_WORDS),
            classes: BTreeMap::new(),
            has_too_many_classes: false,
            n_unlabelled: 0,
            n_read: 0,
        }
    }

    fn add(&mut self, label: Option<Label>, vector: &[f32]) {
        self.n_read += 1;
        self.of_vector.fill(0.0);
        for cell in vector.chunks_exact(self.layout.k * self.layout.n_per_word) {
            let words = cell.chunks_exact(self.layout.n_per_word);
            for (uses, values) in self.of_vector.iter_mut().zip(words) {
                *uses += values
                    .iter()
                    .map(|&value| f64::from(value).abs())
                    .sum::<f64>();
            }
        }
        let mut total = 0.0;
        for (sum, &uses) in self.of_word.iter_mut().zip(&self.of_vector) {
            *sum += uses;
            total += uses;
        }
        let Some(label) = label else {
            self.n_unlabelled += 1;
            return;
        };
        if self.has_too_many_classes {
            return;
        }
        let n_class_words = self.n_class_words;
        let class = self
            .classes
            .entry(label)
            .or_insert_with_key(|label| ClassUse {
                name: label.text.clone(),
                n_rows: 0,
                of_word: vec![0.0; n_class_words],
                total: 0.0,
            });
        class.n_rows += 1;
        class.total += total;
        for (sum, &uses) in class.of_word.iter_mut().zip(&self.of_vector) {
            *sum += uses;
        }
        if self.classes.len() > MAX_CLASSES {
            self.classes.clear();
            self.has_too_many_classes = true;
        }
    }
}
