//! Contingency: how often each label meets each cluster, counted row by row within fixed bounds.
//!
//! Rows may come in any order; what is made of them is sorted. Beyond its bounds it counts nothing and says which one.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::kernel::evaluate::Confusion;
use crate::shard::labels::Label;

/// Different labels, and different clusters, at most.
pub const MAX_LABELS: usize = 1 << 16;
/// Cells of the matrix, labels by clusters, at most: 10 000 labels by 52 clusters.
pub const MAX_CELLS: usize = 1 << 19;
/// Bytes of all text labels at most.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// Heap bytes of a label beside its text and its cells.
const LABEL_BYTES: u64 = 160;
/// Heap bytes of a cell while it is counted, sorted, and written down.
const CELL_BYTES: u64 = 48;

/// Counts labels against clusters.
#[derive(Debug, Default)]
pub struct Contingency {
    labels: Names,
    clusters: Names,
    // Of each label, its rows in each cluster, as far as there are some.
    rows: Vec<Vec<u64>>,
    n_unlabelled: u64,
    n_unclustered: u64,
    beyond: Option<String>,
}

/// What was counted, in sorted order.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The labels, as they are shown.
    pub labels: Vec<String>,
    /// The clusters, as they are shown.
    pub clusters: Vec<String>,
    /// Rows of each label in each cluster.
    pub confusion: Confusion,
    /// Rows with a cluster and no label.
    pub n_unlabelled: u64,
    /// Rows with no cluster.
    pub n_unclustered: u64,
}

impl Contingency {
    /// A count against the clusters `0..k`, all of which are there from the start.
    pub fn of_clusters(k: usize) -> Contingency {
        let mut counts = Contingency::default();
        for cluster in 0..k {
            counts.clusters.number(Label::Whole(cluster as i128));
        }
        counts.check_bounds();
        counts
    }

    /// Upper bound on the heap bytes of counting `n_labels` labels against `k` clusters, and of what is made of it.
    pub fn heap_bytes(n_labels: u64, k: usize) -> u64 {
        let k = k as u64;
        let n_labels = n_labels.min(MAX_LABELS as u64);
        let n_cells = n_labels.saturating_mul(k).min(MAX_CELLS as u64);
        let n_text = (n_labels * 64).min(MAX_TEXT_BYTES as u64);
        n_labels * LABEL_BYTES + n_cells * CELL_BYTES + 3 * n_text
    }

    /// Counts a row.
    pub fn add(&mut self, label: Option<Label<'_>>, cluster: Option<Label<'_>>) {
        let Some(cluster) = cluster else {
            self.n_unclustered += 1;
            return;
        };
        let Some(label) = label else {
            self.n_unlabelled += 1;
            return;
        };
        if self.beyond.is_some() {
            return;
        }
        let (label, cluster) = (self.labels.number(label), self.clusters.number(cluster));
        if label == self.rows.len() {
            self.rows.push(Vec::new());
        }
        let row = &mut self.rows[label];
        if cluster >= row.len() {
            let n_clusters = self.clusters.len();
            row.reserve_exact(n_clusters - row.len());
            row.resize(n_clusters, 0);
            self.check_bounds();
        }
        if let Some(row) = self.rows.get_mut(label) {
            row[cluster] += 1;
        }
    }

    /// What was counted; `names` are those of class labels. The bound that was passed where there is nothing.
    pub fn finish(self, names: Option<&[String]>) -> Result<Counted, String> {
        if let Some(beyond) = self.beyond {
            return Err(beyond);
        }
        let labels = self.labels.sorted();
        let clusters = self.clusters.sorted();
        let mut counts = Vec::with_capacity(labels.len() * clusters.len());
        for (_, label) in &labels {
            let row = &self.rows[*label];
            counts.extend(
                clusters
                    .iter()
                    .map(|(_, cluster)| row.get(*cluster).copied().unwrap_or(0)),
            );
        }
        let shown = |keys: &[(Key, usize)], names: Option<&[String]>| -> Vec<String> {
            keys.iter().map(|(key, _)| key.shown(names)).collect()
        };
        Ok(Counted {
            labels: shown(&labels, names),
            clusters: shown(&clusters, None),
            confusion: Confusion::new(clusters.len().max(1), counts),
            n_unlabelled: self.n_unlabelled,
            n_unclustered: self.n_unclustered,
        })
    }

    fn check_bounds(&mut self) {
        let (n_labels, n_clusters) = (self.labels.len(), self.clusters.len());
        let beyond = if n_labels > MAX_LABELS {
            format!("there are more than {MAX_LABELS} different labels")
        } else if n_clusters > MAX_LABELS {
            format!("there are more than {MAX_LABELS} different clusters")
        } else if n_labels * n_clusters > MAX_CELLS {
            format!(
                "{n_labels} different labels or more in {n_clusters} clusters are more than the {MAX_CELLS} cells that are counted"
            )
        } else if self.labels.text_bytes + self.clusters.text_bytes > MAX_TEXT_BYTES {
            format!("the different labels are longer than {MAX_TEXT_BYTES} bytes together")
        } else {
            return;
        };
        *self = Contingency {
            beyond: Some(beyond),
            n_unlabelled: self.n_unlabelled,
            n_unclustered: self.n_unclustered,
            ..Contingency::default()
        };
    }
}

/// Labels, numbered as they come.
#[derive(Debug, Default)]
struct Names {
    whole: HashMap<i128, usize>,
    // By their bits.
    real: HashMap<u64, usize>,
    text: HashMap<String, usize>,
    text_bytes: usize,
}

impl Names {
    fn len(&self) -> usize {
        self.whole.len() + self.real.len() + self.text.len()
    }

    fn number(&mut self, label: Label<'_>) -> usize {
        let next = self.len();
        match label {
            Label::Whole(number) => *self.whole.entry(number).or_insert(next),
            Label::Real(number) => *self.real.entry(number.to_bits()).or_insert(next),
            Label::Text(text) => {
                if let Some(&number) = self.text.get(text) {
                    return number;
                }
                self.text_bytes += text.len();
                self.text.insert(text.to_owned(), next);
                next
            }
        }
    }

    fn sorted(self) -> Vec<(Key, usize)> {
        let whole = self.whole.into_iter().map(|(key, n)| (Key::Whole(key), n));
        let real = self.real.into_iter();
        let real = real.map(|(bits, n)| (Key::Real(f64::from_bits(bits)), n));
        let text = self.text.into_iter().map(|(key, n)| (Key::Text(key), n));
        let mut all: Vec<(Key, usize)> = whole.chain(real).chain(text).collect();
        all.sort_by(|(a, _), (b, _)| a.compare(b));
        all
    }
}

#[derive(Debug, PartialEq)]
enum Key {
    Whole(i128),
    Real(f64),
    Text(String),
}

impl Key {
    /// Numbers by value, then texts by code point.
    fn compare(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Whole(a), Key::Whole(b)) => a.cmp(b),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (Key::Text(_), _) => Ordering::Greater,
            (_, Key::Text(_)) => Ordering::Less,
            (a, b) => a.value().total_cmp(&b.value()),
        }
    }

    fn value(&self) -> f64 {
        match self {
            Key::Whole(number) => *number as f64,
            Key::Real(number) => *number,
            Key::Text(_) => f64::INFINITY,
        }
    }

    fn shown(&self, names: Option<&[String]>) -> String {
        match self {
            Key::Whole(number) => names
                .and_then(|names| names.get(usize::try_from(*number).ok()?))
                .cloned()
                .unwrap_or_else(|| number.to_string()),
            Key::Real(number) => number.to_string(),
            Key::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(number: i128) -> Option<Label<'static>> {
        Some(Label::Whole(number))
    }

    #[test]
    fn labels_are_sorted_and_rows_without_are_left_out() {
        let mut counts = Contingency::of_clusters(3);
        for (label, cluster) in [
            (Some(Label::Text("b")), whole(0)),
            (whole(10), whole(2)),
            (Some(Label::Real(2.5)), whole(0)),
            (whole(2), whole(0)),
            (Some(Label::Text("a")), whole(2)),
            (None, whole(1)),
            (whole(2), None),
            (Some(Label::Text("b")), whole(0)),
        ] {
            counts.add(label, cluster);
        }
        let counted = counts.finish(None).expect("within bounds");
        assert_eq!(counted.labels, ["2", "2.5", "10", "a", "b"]);
        assert_eq!(counted.clusters, ["0", "1", "2"]);
        let rows: Vec<&[u64]> = counted.confusion.rows().collect();
        assert_eq!(
            rows,
            [[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1], [2, 0, 0]]
        );
        assert_eq!((counted.n_unlabelled, counted.n_unclustered), (1, 1));
    }

    #[test]
    fn class_labels_are_sorted_by_number_and_shown_by_name() {
        let mut counts = Contingency::default();
        for label in [1, 0, 1] {
            counts.add(whole(label), whole(5));
        }
        let names = ["z".to_owned(), "a".to_owned()];
        let counted = counts.finish(Some(&names)).expect("within bounds");
        assert_eq!(counted.labels, ["z", "a"]);
        assert_eq!(counted.clusters, ["5"]);
    }

    #[test]
    fn ten_thousand_labels_are_counted() {
        let mut counts = Contingency::of_clusters(20);
        for row in 0..100_000i128 {
            counts.add(whole(row % 10_000), whole(row % 20));
        }
        let counted = counts.finish(None).expect("within bounds");
        assert_eq!(counted.labels.len(), 10_000);
        assert_eq!(counted.confusion.total(), 100_000);
    }

    #[test]
    fn beyond_a_bound_nothing_is_counted_and_it_is_said_which() {
        let beyond = |k: usize, n: usize, text: &str| {
            let mut counts = Contingency::of_clusters(k);
            for row in 0..n {
                let label = format!("{text}{row}");
                counts.add(Some(Label::Text(&label)), whole(0));
            }
            counts.finish(None).expect_err("beyond a bound")
        };
        insta::assert_snapshot!(beyond(1, MAX_LABELS + 1, ""), @"there are more than 65536 different labels");
        insta::assert_snapshot!(beyond(1000, 600, ""), @"525 different labels or more in 1000 clusters are more than the 524288 cells that are counted");
        insta::assert_snapshot!(beyond(2, 5000, &"x".repeat(1000)), @"the different labels are longer than 4194304 bytes together");
    }
}
