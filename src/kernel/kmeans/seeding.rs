//! First words: k-means++ over a bounded random part of the sample.
//!
//! Arithmetic is plain f32 in one order, never fused, so every machine chooses the same patches. Patches lie in panels of
//! 32, a lane a patch; callers may take any number of panels at a time and add up the f64 results in order.

use std::collections::HashSet;
use std::ops::Range;

use super::permutation::Permutation;
use super::values::ValueReader;
use crate::kernel::nearest::{Simd, Work};
use crate::kernel::rng::Stream;
use crate::kernel::sample::SampleView;

/// Patches in a panel.
pub const PANEL: usize = 32;

/// A random part of the sample, normalised and rounded to f32: the patches that first words are chosen from.
#[derive(Debug, Clone)]
pub struct Pool {
    n: usize,
    d: usize,
    // [ceil(n / PANEL)][d][PANEL]
    panels: Vec<f32>,
}

impl Pool {
    /// Room for `n` patches of `d` values, to be read by [`read_panels`].
    pub fn zeroed(n: usize, d: usize) -> Pool {
        let panels = vec![0.0; n.div_ceil(PANEL) * d * PANEL];
        Pool { n, d, panels }
    }

    /// All panels, `[ceil(n / PANEL)][d][PANEL]`.
    pub fn panels_mut(&mut self) -> &mut [f32] {
        &mut self.panels
    }

    /// Heap bytes of `n` patches of `d` values, with their distances.
    pub fn heap_bytes(n: usize, d: usize) -> u64 {
        (n.div_ceil(PANEL) * PANEL) as u64 * (d as u64 + 1) * 4
    }

    /// Number of patches.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none; never true of a checked sample.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Panels number `first..`, `n_panels` of them, `[n_panels][d][PANEL]`.
    pub fn panels(&self, first: usize, n_panels: usize) -> &[f32] {
        let size = self.d * PANEL;
        let end = ((first + n_panels) * size).min(self.panels.len());
        &self.panels[first * size..end]
    }

    /// Appends patch `row` to `words`.
    pub fn append(&self, row: usize, words: &mut Vec<f32>) {
        let first = row / PANEL * self.d * PANEL + row % PANEL;
        words.extend((0..self.d).map(|i| self.panels[first + i * PANEL]));
    }

    /// Squared distance of each patch to the words so far, before there are any: infinite, and 0 past the last patch so
    /// that none of those is ever chosen.
    pub fn no_distances(&self) -> Vec<f32> {
        let mut nearest2 = vec![f32::INFINITY; self.n];
        nearest2.resize(self.n.div_ceil(PANEL) * PANEL, 0.0);
        nearest2
    }

    /// `k` patches that differ, at random; filled up with equal ones where the pool has too few.
    pub fn distinct(&self, k: usize) -> Vec<f32> {
        let mut seen = HashSet::new();
        let (mut chosen, mut spare) = (Vec::new(), Vec::new());
        let mut word = Vec::new();
        for row in 0..self.n {
            if chosen.len() == k {
                break;
            }
            word.clear();
            self.append(row, &mut word);
            let is_new = seen.insert(bits_of(&word));
            if is_new { &mut chosen } else { &mut spare }.push(row);
        }
        let mut words = Vec::with_capacity(k * self.d);
        for &row in chosen.iter().chain(spare.iter().cycle()).take(k) {
            self.append(row, &mut words);
        }
        words
    }
}

/// Reads whole `panels` of a pool, the patches number `rows` of `order`, which permutes all patches of the sample.
pub fn read_panels(
    sample: &SampleView<'_>,
    order: &Permutation,
    rows: Range<usize>,
    panels: &mut [f32],
) {
    let d = sample.patch().len();
    let mut reader = ValueReader::new(sample.patch());
    let mut values = vec![0.0; d];
    for (at, row) in rows.enumerate() {
        reader.read_patch(sample, order.at(row as u64), &mut values);
        let first = at / PANEL * d * PANEL + at % PANEL;
        for (i, &value) in values.iter().enumerate() {
            panels[first + i * PANEL] = value as f32;
        }
    }
}

/// A word as a key: equal for equal words, -0 and 0 alike.
pub fn bits_of(word: &[f32]) -> Box<[u32]> {
    word.iter().map(|&value| (value + 0.0).to_bits()).collect()
}

/// Squared distances of one panel (`[d][PANEL]`) to a word.
#[inline(always)]
pub(super) fn panel_distances(panel: &[f32], word: &[f32]) -> [f32; PANEL] {
    let mut sums = [0.0f32; PANEL];
    for (row, &centre) in panel.as_chunks::<PANEL>().0.iter().zip(word) {
        for lane in 0..PANEL {
            let difference = row[lane] - centre;
            sums[lane] += difference * difference;
        }
    }
    sums
}

/// What the sum of `nearest2` over these panels would be with one more word: one sum for each of `candidates` (`n * d`).
pub fn try_words(
    panels: &[f32],
    nearest2: &[f32],
    d: usize,
    candidates: &[f32],
    simd: Simd,
) -> Vec<f64> {
    let trial = |word| TryWord {
        panels,
        nearest2,
        word,
    };
    let words = candidates.chunks_exact(d);
    words.map(|word| simd.run(trial(word))).collect()
}

struct TryWord<'a> {
    panels: &'a [f32],
    nearest2: &'a [f32],
    word: &'a [f32],
}

impl Work for TryWord<'_> {
    type Output = f64;

    #[inline(always)]
    fn work(self) -> f64 {
        let mut sums = [0.0f64; PANEL];
        let rows = self.nearest2.as_chunks::<PANEL>().0;
        let panels = self.panels.chunks_exact(self.word.len() * PANEL);
        for (panel, nearest2) in panels.zip(rows) {
            let distances = panel_distances(panel, self.word);
            for lane in 0..PANEL {
                let nearer = distances[lane] < nearest2[lane];
                sums[lane] += f64::from(if nearer {
                    distances[lane]
                } else {
                    nearest2[lane]
                });
            }
        }
        sums.iter().sum()
    }
}

/// Takes `word` among the words: lowers `nearest2` of these panels to the distance to it, where that is nearer.
pub fn take_word(panels: &[f32], nearest2: &mut [f32], word: &[f32], simd: Simd) {
    simd.run(TakeWord {
        panels,
        nearest2,
        word,
    });
}

struct TakeWord<'a> {
    panels: &'a [f32],
    nearest2: &'a mut [f32],
    word: &'a [f32],
}

impl Work for TakeWord<'_> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        let rows = self.nearest2.as_chunks_mut::<PANEL>().0;
        let panels = self.panels.chunks_exact(self.word.len() * PANEL);
        for (panel, nearest2) in panels.zip(rows) {
            let distances = panel_distances(panel, self.word);
            for lane in 0..PANEL {
                if distances[lane] < nearest2[lane] {
                    nearest2[lane] = distances[lane];
                }
            }
        }
    }
}

/// Draws a patch with probability in proportion to `nearest2`. `part_sums` are the sums of its parts of `part_len`;
/// `None` where all is 0.
pub fn draw(
    nearest2: &[f32],
    part_sums: &[f64],
    part_len: usize,
    stream: &mut Stream,
) -> Option<usize> {
    let total: f64 = part_sums.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let mut left = stream.unit() * total;
    let mut part = 0;
    while part + 1 < part_sums.len() && left >= part_sums[part] {
        left -= part_sums[part];
        part += 1;
    }
    let first = part * part_len;
    let end = (first + part_len).min(nearest2.len());
    let mut last = None;
    for (row, &weight) in (first..).zip(&nearest2[first..end]) {
        if weight > 0.0 {
            last = Some(row);
            if left < f64::from(weight) {
                break;
            }
            left -= f64::from(weight);
        }
    }
    // Rounding can lead past the last patch of a part, or into an empty one; then any other patch will do.
    last.or_else(|| nearest2.iter().position(|&weight| weight > 0.0))
}
