//! What it would cost to do without a word: which words are worth least, from a random part of the sample.
//!
//! Arithmetic is that of [`super::seeding`]: plain f32 in one order, a lane a patch.

use super::seeding::{PANEL, panel_distances};
use crate::kernel::nearest::{Simd, Work};

/// By how much the inertia of the first `n_patches` of these panels would grow without each of `words` (`k * d`): the
/// patches of a word would go to their second nearest.
pub fn removal_costs(
    panels: &[f32],
    n_patches: usize,
    d: usize,
    words: &[f32],
    simd: Simd,
) -> Vec<f64> {
    simd.run(RemovalCosts {
        panels,
        n_patches,
        d,
        words,
    })
}

struct RemovalCosts<'a> {
    panels: &'a [f32],
    n_patches: usize,
    d: usize,
    words: &'a [f32],
}

impl Work for RemovalCosts<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn work(self) -> Vec<f64> {
        let mut costs = vec![0.0; self.words.len() / self.d];
        for (index, panel) in self.panels.chunks_exact(self.d * PANEL).enumerate() {
            let mut nearest2 = [f32::INFINITY; PANEL];
            let mut second2 = [f32::INFINITY; PANEL];
            let mut labels = [0u32; PANEL];
            for (j, word) in (0..).zip(self.words.chunks_exact(self.d)) {
                let distances = panel_distances(panel, word);
                for lane in 0..PANEL {
                    let (distance, nearest) = (distances[lane], nearest2[lane]);
                    let is_nearer = distance < nearest;
                    let other = if is_nearer { nearest } else { distance };
                    second2[lane] = if other < second2[lane] {
                        other
                    } else {
                        second2[lane]
                    };
                    nearest2[lane] = if is_nearer { distance } else { nearest };
                    labels[lane] = if is_nearer { j } else { labels[lane] };
                }
            }
            for lane in 0..PANEL.min(self.n_patches - index * PANEL) {
                costs[labels[lane] as usize] += f64::from(second2[lane] - nearest2[lane]);
            }
        }
        costs
    }
}

/// The `n` of `words` (`k * d`) to do without, by rising index: those of the least `costs`, except the word nearest to one
/// that goes, since that takes over its patches. `2 n` is at most `k`.
pub fn least_needed(costs: &[f64], words: &[f32], n: usize) -> Vec<usize> {
    assert!(2 * n <= costs.len());
    let d = words.len() / costs.len();
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|&a, &b| costs[a].total_cmp(&costs[b]));
    let mut stays = vec![false; costs.len()];
    let mut goes = vec![false; costs.len()];
    let mut left = n;
    for &j in &order {
        if left == 0 {
            break;
        }
        if stays[j] {
            continue;
        }
        goes[j] = true;
        left -= 1;
        let distance = |other: usize| between(&words[j * d..][..d], &words[other * d..][..d]);
        let others = (0..costs.len()).filter(|&other| !goes[other]);
        if let Some(heir) = others.min_by(|&a, &b| distance(a).total_cmp(&distance(b))) {
            stays[heir] = true;
        }
    }
    (0..costs.len()).filter(|&j| goes[j]).collect()
}

fn between(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panels of patches of two values.
    fn panels_of(patches: &[[f32; 2]]) -> Vec<f32> {
        let mut panels = vec![0.0; patches.len().div_ceil(PANEL) * 2 * PANEL];
        for (row, patch) in patches.iter().enumerate() {
            for (i, &value) in patch.iter().enumerate() {
                panels[row / PANEL * 2 * PANEL + i * PANEL + row % PANEL] = value;
            }
        }
        panels
    }

    #[test]
    fn a_cost_is_what_the_inertia_grows_by_without_the_word() {
        let patches: Vec<[f32; 2]> = (0..45).map(|i| [(i * i % 17) as f32, i as f32]).collect();
        let words = [[1.0, 3.0], [9.0, 20.0], [9.5, 24.0], [4.0, 40.0]];
        let inertia = |words: &[[f32; 2]]| -> f64 {
            let least = |patch| {
                words
                    .iter()
                    .map(|word| between(patch, word))
                    .fold(f32::INFINITY, f32::min)
            };
            patches.iter().map(|patch| f64::from(least(patch))).sum()
        };
        let costs = removal_costs(
            &panels_of(&patches),
            patches.len(),
            2,
            words.as_flattened(),
            Simd::detect(),
        );
        for (j, cost) in costs.iter().enumerate() {
            let without: Vec<[f32; 2]> = (0..4).filter(|&i| i != j).map(|i| words[i]).collect();
            let grown = inertia(&without) - inertia(&words);
            assert!((cost - grown).abs() < 1e-3 * grown, "{cost} {grown}");
        }
    }

    #[test]
    fn of_two_close_words_only_one_goes() {
        let words = [0.0, 0.1, 5.0, 9.0, 20.0];
        assert_eq!(least_needed(&[1.0, 2.0, 4.0, 3.0, 9.0], &words, 2), [0, 3]);
    }
}
