//! What it would cost to do without a word: which words are worth least, from a random part of the sample.
//!
//! Arithmetic is that of [`super::seeding`]: plain f32 in one order, a lane a patch.

use super::seeding::{PANEL, panel_distances};

/// By how much the inertia of the first `n_patches` of these panels would grow without each of `words` (`k * d`): the
/// patches of a word would go to their second nearest.
pub fn removal_costs(panels: &[f32], n_patches: usize, d: usize, words: &[f32]) -> Vec<f64> {
    let mut costs = vec![0.0; words.len() / d];
    for (index, panel) in panels.chunks_exact(d * PANEL).enumerate() {
        let mut nearest2 = [f32::INFINITY; PANEL];
        let mut second2 = [f32::INFINITY; PANEL];
        let mut labels = [0u32; PANEL];
        for (j, word) in (0..).zip(words.chunks_exact(d)) {
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
        for lane in 0..PANEL.min(n_patches - index * PANEL) {
            costs[labels[lane] as usize] += f64::from(second2[lane] - nearest2[lane]);
        }
    }
    costs
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
