//! How often each word is used: overall, and by class.

use crate::kernel::encode::{Encoding, Recipe};
use crate::report::chart::{Chart, Scale, Series};
use crate::report::color::Shade;
use crate::report::heat::{Cell, Heat, Row};
use crate::report::paint::Painter;
use crate::report::run_files::{RunFiles, SizeFiles};
use crate::report::text::{count, percent};
use crate::report::word_use::{ClassUse, MAX_CLASS_WORDS, WordUse};

use super::Drawing;
use super::clusters::share;

/// Words of the table, at most.
const MAX_ROWS: usize = 200;

/// Classes of the heat map, at most: those with the most rows.
const MAX_CLASSES: usize = 40;

/// A word is shaded fully where a class uses it four times as often as all images do, or a quarter as often.
const FULL_SHADE_LOG2: f64 = 2.0;

pub(in crate::report) struct Uses {
    /// What is summed up by word.
    pub(in crate::report) unit: &'static str,
    pub(in crate::report) read_note: Option<String>,
    pub(in crate::report) chart: Drawing,
    pub(in crate::report) n_unused: String,
    pub(in crate::report) has_unused: bool,
    /// Word, uses, share, share of the sample.
    pub(in crate::report) rows: Vec<[String; 4]>,
    pub(in crate::report) n_more_rows: usize,
    pub(in crate::report) by_class: Option<ByClass>,
}

/// Use by class.
pub(in crate::report) struct ByClass {
    pub(in crate::report) drawing: Drawing,
    pub(in crate::report) n_classes: usize,
    pub(in crate::report) n_words: usize,
    pub(in crate::report) note: Option<String>,
    pub(in crate::report) classes: Vec<String>,
    /// The word, then its share of each class.
    pub(in crate::report) rows: Vec<(String, Vec<Cell>)>,
}

/// How often the words of one size are used.
pub(in crate::report) fn uses(files: &RunFiles, size: &SizeFiles, painter: &mut Painter) -> Uses {
    let word_use = &size.word_use;
    let (total, order) = (word_use.total(), word_use.order());
    let counts = &size.vocabulary.counts;
    let n_sampled: u64 = counts.iter().sum();
    let rows = order.iter().take(MAX_ROWS).map(|&word| {
        [
            word.to_string(),
            count(word_use.of_word[word].round() as u64),
            share(word_use.of_word[word], total),
            share(counts[word] as f64, n_sampled as f64),
        ]
    });
    let n_unused = word_use.of_word.iter().filter(|&&uses| uses == 0.0).count();
    let read_note = (word_use.n_read < word_use.n_rows).then(|| {
        format!(
            "Counted over {} of the {} rows, spread evenly over the files.",
            count(word_use.n_read),
            count(word_use.n_rows)
        )
    });
    Uses {
        unit: match files.recipe.is_counts() {
            true => "uses",
            false => "sum of values",
        },
        read_note,
        chart: Drawing::of_chart(
            &chart(word_use, counts, &order, total),
            &size.picture("use"),
            painter,
        ),
        n_unused: count(n_unused as u64),
        has_unused: n_unused > 0,
        rows: rows.collect(),
        n_more_rows: order.len().saturating_sub(MAX_ROWS),
        by_class: by_class(size, total, painter),
    }
}

/// What a vector is made of, in a sentence.
pub(in crate::report) fn made_of(recipe: &Recipe, n_sizes: usize) -> String {
    let mut text = match recipe.encoding {
        Encoding::Hard => {
            "Every patch of every image is replaced by its nearest word, and a vector counts the words".to_owned()
        }
        Encoding::Triangle => {
            "Every patch of every image adds to each word how much nearer it is than the mean of all words".to_owned()
        }
        Encoding::Soft { nearest } => {
            format!("Every patch of every image is shared among its {nearest} nearest words")
        }
        Encoding::Vlad => {
            "Every patch of every image adds its difference from the nearest word to that word's values".to_owned()
        }
    };
    if n_sizes > 1 {
        text += ", for each size of patches by itself";
    }
    if recipe.pooling != [[1, 1]] {
        let grids = recipe
            .pooling
            .iter()
            .map(|[rows, cols]| format!("{rows}x{cols}"));
        text += &format!(
            ", in each of {} cells",
            grids.collect::<Vec<String>>().join(" and ")
        );
    }
    if !recipe.weighting.is_empty() {
        let steps = recipe.weighting.iter().map(|step| step.name());
        text += &format!(
            "; weighted: {}",
            steps.collect::<Vec<&str>>().join(", then ")
        );
    }
    text
}

/// Share of each word by rank, on a logarithmic scale, which shows the seldom ones too.
fn chart(word_use: &WordUse, counts: &[u64], order: &[usize], total: f64) -> Chart {
    let n_sampled: u64 = counts.iter().sum();
    let by_rank = |share_of: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        (1u32..)
            .zip(order)
            .map(|(rank, &word)| (f64::from(rank), 100.0 * share_of(word)))
            .filter(|(_, percent)| *percent > 0.0)
            .collect()
    };
    let in_all = by_rank(&|word| word_use.of_word[word] / total);
    let in_sample = by_rank(&|word| counts[word] as f64 / n_sampled as f64);
    let most = order
        .first()
        .map_or(0.0, |&word| word_use.of_word[word] / total);
    let lines = [
        ("in the sample", "rest", in_sample),
        ("in all images", "s0", in_all),
    ];
    Chart {
        title: "Share of each word, most used first".to_owned(),
        alt: format!(
            "Share of each of {} words, most used first; the first has {}",
            order.len(),
            percent(most)
        ),
        x_label: "words, most used first".to_owned(),
        y_label: "share".to_owned(),
        scale: Scale::Logarithmic,
        y_unit: " %",
        series: lines
            .into_iter()
            .filter(|(_, _, points)| !points.is_empty())
            .map(|(name, class, points)| Series {
                name: name.to_owned(),
                class,
                points,
                marks_end: false,
            })
            .collect(),
        bands: Vec::new(),
    }
}

/// The classes with the most rows, in their own order.
fn largest(classes: &[ClassUse]) -> Vec<&ClassUse> {
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&class| (std::cmp::Reverse(classes[class].n_rows), class));
    order.truncate(MAX_CLASSES);
    order.sort_unstable();
    order.into_iter().map(|class| &classes[class]).collect()
}

fn by_class(size: &SizeFiles, total: f64, painter: &mut Painter) -> Option<ByClass> {
    let word_use = &size.word_use;
    let classes = largest(&word_use.classes);
    if word_use.classes.len() < 2 || total <= 0.0 {
        return None;
    }
    let words: Vec<usize> = word_use
        .order()
        .into_iter()
        .filter(|&word| word < MAX_CLASS_WORDS)
        .collect();
    let in_class = |class: &ClassUse, word: usize| {
        let part = class.of_word.get(word).copied().unwrap_or(0.0);
        if class.total > 0.0 {
            part / class.total
        } else {
            0.0
        }
    };
    let shade = |class: &ClassUse, word: usize| {
        let lift = in_class(class, word) / (word_use.of_word[word] / total);
        Shade::of_deviation(if lift > 0.0 {
            lift.log2() / FULL_SHADE_LOG2
        } else {
            -1.0
        })
    };
    let heat = Heat {
        title: "Use of words by class".to_owned(),
        alt: format!(
            "How often each of {} classes uses each of {} words, against all images together",
            classes.len(),
            words.len()
        ),
        row_label: "label".to_owned(),
        column_label: "words, most used first".to_owned(),
        columns: words.iter().map(usize::to_string).collect(),
        rows: classes
            .iter()
            .map(|class| Row {
                name: class.name.clone(),
                cells: words
                    .iter()
                    .map(|&word| Cell {
                        text: String::new(),
                        shade: shade(class, word),
                    })
                    .collect(),
            })
            .collect(),
    };
    let rows = words.iter().map(|&word| {
        let cells = classes.iter().map(|class| Cell {
            text: format!("{:.2}", 100.0 * in_class(class, word)),
            shade: shade(class, word),
        });
        (word.to_string(), cells.collect())
    });
    let note = (classes.len() < word_use.classes.len()).then(|| {
        format!(
            "Shown: the {} most frequent of {} labels.",
            classes.len(),
            word_use.classes.len()
        )
    });
    Some(ByClass {
        drawing: Drawing::of_heat(&heat, &size.picture("use_by_class"), painter),
        n_classes: classes.len(),
        n_words: words.len(),
        note,
        classes: classes.iter().map(|class| class.name.clone()).collect(),
        rows: rows.collect(),
    })
}
