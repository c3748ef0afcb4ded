//! How well a clustering agrees with labels: scores of a confusion matrix, each defined as scikit-learn defines it.
//!
//! Sums run over the cells row by row, so equal matrices give equal bits. Clusters and labels may come in any order; a
//! row or a column without counts changes nothing.

/// How often each label fell into each cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    n_clusters: usize,
    // [n_labels][n_clusters]
    counts: Vec<u64>,
}

/// Scores of a clustering against labels. All but `ari`, which may be slightly below 0, lie between 0 and 1; 1 is best.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// Share of the rows whose label is the most frequent one of their cluster.
    pub purity: f64,
    /// Mutual information, divided by the arithmetic mean of both entropies.
    pub nmi: f64,
    /// Rand index, adjusted for chance (Hubert and Arabie 1985).
    pub ari: f64,
    /// How far clusters hold rows of one label only.
    pub homogeneity: f64,
    /// How far the rows of a label are in one cluster.
    pub completeness: f64,
    /// Harmonic mean of homogeneity and completeness.
    pub v_measure: f64,
}

impl Confusion {
    /// A matrix of `counts`, `n_labels * n_clusters` of them, row-major; `n_clusters` is at least 1.
    pub fn new(n_clusters: usize, counts: Vec<u64>) -> Confusion {
        assert!(n_clusters > 0 && counts.len().is_multiple_of(n_clusters));
        Confusion { n_clusters, counts }
    }

    /// The rows of the matrix: for each label, its count in every cluster.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.n_clusters)
    }

    /// All that is counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The scores; `None` where nothing is counted.
    pub fn scores(&self) -> Option<Scores> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let by_label: Vec<u64> = self.rows().map(|row| row.iter().sum()).collect();
        let by_cluster = self.column_sums();
        let [label_entropy, cluster_entropy] =
            [&by_label, &by_cluster].map(|counts| entropy(counts, total));
        let information = self.mutual_information(&by_label, &by_cluster, total);
        let share = |entropy: f64| match is_zero(entropy) {
            true => 1.0,
            false => information / entropy,
        };
        let (homogeneity, completeness) = (share(label_entropy), share(cluster_entropy));
        let v_measure = match is_zero(homogeneity + completeness) {
            true => 0.0,
            false => 2.0 * homogeneity * completeness / (homogeneity + completeness),
        };
        Some(Scores {
            purity: self.best_counts().iter().sum::<u64>() as f64 / total as f64,
            nmi: nmi(information, label_entropy, cluster_entropy),
            ari: self.adjusted_rand_index(&by_label, &by_cluster, total),
            homogeneity,
            completeness,
            v_measure,
        })
    }

    fn column_sums(&self) -> Vec<u64> {
        let mut sums = vec![0; self.n_clusters];
        for row in self.rows() {
            for (sum, count) in sums.iter_mut().zip(row) {
                *sum += count;
            }
        }
        sums
    }

    /// Rows of the most frequent label of each cluster.
    fn best_counts(&self) -> Vec<u64> {
        let mut best = vec![0; self.n_clusters];
        for row in self.rows() {
            for (best, &count) in best.iter_mut().zip(row) {
                *best = count.max(*best);
            }
        }
        best
    }

    fn mutual_information(&self, by_label: &[u64], by_cluster: &[u64], total: u64) -> f64 {
        let total = total as f64;
        let mut sum = 0.0;
        for (row, &label) in self.rows().zip(by_label) {
            for (&count, &cluster) in row.iter().zip(by_cluster).filter(|(count, _)| **count > 0) {
                let count = count as f64;
                let expected = label as f64 * (cluster as f64 / total);
                sum += count / total * (count / expected).ln();
            }
        }
        // Rounding can leave it below what it can be.
        sum.max(0.0)
    }

    /// Over pairs of rows: those together in both, less what chance would give, of what there could be.
    fn adjusted_rand_index(&self, by_label: &[u64], by_cluster: &[u64], total: u64) -> f64 {
        let pairs = |counts: &[u64]| -> u128 { counts.iter().map(|&n| n_pairs(n)).sum() };
        let (both, labels, clusters) = (pairs(&self.counts), pairs(by_label), pairs(by_cluster));
        let only_labels = labels - both;
        let only_clusters = clusters - both;
        if only_labels == 0 && only_clusters == 0 {
            return 1.0;
        }
        let neither = n_pairs(total) - labels - only_clusters;
        let [both, only_labels, only_clusters, neither] =
            [both, only_labels, only_clusters, neither].map(|pairs| pairs as f64);
        2.0 * (both * neither - only_labels * only_clusters)
            / ((both + only_labels) * (only_labels + neither)
                + (both + only_clusters) * (only_clusters + neither))
    }
}

fn nmi(information: f64, label_entropy: f64, cluster_entropy: f64) -> f64 {
    if is_zero(label_entropy) && is_zero(cluster_entropy) {
        // One label in one cluster.
        return 1.0;
    }
    information / f64::midpoint(label_entropy, cluster_entropy)
}

fn entropy(counts: &[u64], total: u64) -> f64 {
    let total = total as f64;
    let shares = counts.iter().filter(|&&count| count > 0);
    let sum: f64 = shares
        .map(|&count| count as f64 / total)
        .map(|share| share * share.ln())
        .sum();
    // Not -0.0 where there is one share only.
    0.0 - sum
}

fn is_zero(value: f64) -> bool {
    value.abs() <= 0.0
}

fn n_pairs(n: u64) -> u128 {
    u128::from(n) * u128::from(n.saturating_sub(1)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scores(n_clusters: usize, counts: &[u64]) -> Scores {
        Confusion::new(n_clusters, counts.to_vec())
            .scores()
            .expect("something is counted")
    }

    fn values(scores: &Scores) -> [f64; 6] {
        [
            scores.purity,
            scores.nmi,
            scores.ari,
            scores.homogeneity,
            scores.completeness,
            scores.v_measure,
        ]
    }

    fn assert_close(found: &Scores, expected: [f64; 6], tolerance: f64) {
        for (found, expected) in values(found).into_iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance, "{found} {expected}");
        }
    }

    #[test]
    fn a_small_matrix_has_the_scores_that_scikit_learn_gives() {
        let found = scores(3, &[4, 1, 0, 0, 3, 3, 6, 0, 2]);
        let expected = [
            12.0 / 19.0,
            0.409_996_158_092_736_93,
            0.238_716_610_377_648_13,
            0.398_153_267_349_080_8,
            0.422_565_169_953_814_8,
            0.409_996_158_092_736_93,
        ];
        assert_close(&found, expected, 1e-12);
    }

    #[test]
    fn labels_that_are_all_the_same_are_in_pure_clusters_which_say_nothing() {
        let found = scores(3, &[5, 3, 2]);
        assert_close(&found, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 0.0);
        assert_close(&scores(1, &[7]), [1.0; 6], 0.0);
    }

    #[test]
    fn one_cluster_of_all_labels_is_complete_and_not_homogeneous() {
        let found = scores(1, &[4, 4, 2]);
        assert_close(&found, [0.4, 0.0, 0.0, 0.0, 1.0, 0.0], 1e-15);
    }

    #[test]
    fn nothing_counted_has_no_scores() {
        assert_eq!(Confusion::new(2, vec![0; 4]).scores(), None);
        assert_eq!(Confusion::new(2, Vec::new()).scores(), None);
    }

    #[test]
    fn counts_beyond_32_bits_keep_their_scores() {
        let small = scores(2, &[3, 1, 1, 3]);
        let large = scores(2, &[3 << 40, 1 << 40, 1 << 40, 3 << 40]);
        assert!((small.nmi - large.nmi).abs() < 1e-12);
        assert!((large.ari - 0.25).abs() < 1e-9, "{}", large.ari);
    }

    /// Up to 6 labels and 6 clusters, some of them empty.
    fn any_matrix() -> impl Strategy<Value = (usize, Vec<u64>)> {
        (1usize..7, 1usize..7).prop_flat_map(|(n_labels, n_clusters)| {
            let cell = prop_oneof![Just(0u64), 0u64..50];
            let cells = proptest::collection::vec(cell, n_labels * n_clusters);
            (Just(n_clusters), cells)
        })
    }

    fn transposed(n_clusters: usize, counts: &[u64]) -> Vec<u64> {
        (0..n_clusters)
            .flat_map(|cluster| counts.iter().skip(cluster).step_by(n_clusters).copied())
            .collect()
    }

    proptest! {
        #[test]
        fn scores_do_not_depend_on_the_order_of_labels_or_clusters((n_clusters, counts) in any_matrix()) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let expected = values(&scores(n_clusters, &counts));
            let rows: Vec<u64> = counts.chunks(n_clusters).rev().flatten().copied().collect();
            let columns: Vec<u64> =
                counts.chunks(n_clusters).flat_map(|row| row.iter().rev()).copied().collect();
            assert_close(&scores(n_clusters, &rows), expected, 1e-12);
            assert_close(&scores(n_clusters, &columns), expected, 1e-12);
        }

        #[test]
        fn scores_lie_where_they_can_and_v_is_nmi((n_clusters, counts) in any_matrix()) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let found = scores(n_clusters, &counts);
            for value in values(&found) {
                prop_assert!((-1.0..=1.0 + 1e-12).contains(&value), "{found:?}");
            }
            prop_assert!(found.purity > 0.0);
            prop_assert!((found.v_measure - found.nmi).abs() < 1e-12, "{found:?}");
        }

        #[test]
        fn labels_and_clusters_change_roles((n_clusters, counts) in any_matrix()) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let found = scores(n_clusters, &counts);
            let n_labels = counts.len() / n_clusters;
            let other = scores(n_labels, &transposed(n_clusters, &counts));
            prop_assert!((found.homogeneity - other.completeness).abs() < 1e-12);
            prop_assert!((found.completeness - other.homogeneity).abs() < 1e-12);
            prop_assert!((found.nmi - other.nmi).abs() < 1e-12);
            prop_assert!((found.ari - other.ari).abs() < 1e-12);
        }

        #[test]
        fn clusters_that_are_the_labels_score_1(sizes in proptest::collection::vec(1u64..40, 1..7)) {
            let n = sizes.len();
            let mut counts = vec![0; n * n];
            for (i, &size) in sizes.iter().enumerate() {
                counts[i * n + (i + 1) % n] = size;
            }
            assert_close(&scores(n, &counts), [1.0; 6], 1e-12);
        }

        #[test]
        fn empty_clusters_and_labels_change_nothing((n_clusters, counts) in any_matrix()) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let mut wider: Vec<u64> =
                counts.chunks(n_clusters).flat_map(|row| row.iter().copied().chain([0])).collect();
            wider.extend(vec![0; n_clusters + 1]);
            assert_close(
                &scores(n_clusters + 1, &wider),
                values(&scores(n_clusters, &counts)),
                1e-12,
            );
        }
    }
}
