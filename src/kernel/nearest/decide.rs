//! The law's answer for one patch, and how far the law itself can be from the truth.

use super::U64;

/// Words that are decided together: one 512-bit register of f64.
const GROUP: usize = 8;

/// Words laid out for the law.
#[derive(Debug, Clone)]
pub(super) struct Exact {
    k: usize,
    d: usize,
    // [ceil(k / GROUP)][d][GROUP], zeros past the last word.
    grouped: Vec<f32>,
}

impl Exact {
    pub(super) fn new(centroids: &[f32], d: usize) -> Exact {
        Exact {
            k: centroids.len() / d,
            d,
            grouped: interleave(centroids, d, GROUP),
        }
    }

    pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
        (k + GROUP) as u64 * d as u64 * 4
    }

    /// The nearest word of one normalised patch (`d` values): the law's operations in the law's order for each word, with
    /// several words side by side.
    #[inline(always)]
    pub(super) fn decide(&self, values: &[f64]) -> u32 {
        let mut best = (0, f64::INFINITY);
        for (group, block) in self.grouped.chunks_exact(self.d * GROUP).enumerate() {
            let mut sums = [0.0f64; GROUP];
            for (&value, centres) in values.iter().zip(block.as_chunks::<GROUP>().0) {
                for w in 0..GROUP {
                    let difference = value - f64::from(centres[w]);
                    sums[w] += difference * difference;
                }
            }
            let first = group * GROUP;
            for (w, &sum) in sums[..GROUP.min(self.k - first)].iter().enumerate() {
                if sum < best.1 {
                    best = ((first + w) as u32, sum);
                }
            }
        }
        best.0
    }
}

/// `[k][d]` to `[ceil(k / group)][d][group]`, zeros past the last word.
pub(super) fn interleave(centroids: &[f32], d: usize, group: usize) -> Vec<f32> {
    let k = centroids.len() / d;
    let mut out = vec![0.0; k.div_ceil(group) * group * d];
    for (j, word) in centroids.chunks_exact(d).enumerate() {
        let start = j / group * group * d + j % group;
        for (i, &value) in word.iter().enumerate() {
            out[start + i * group] = value;
        }
    }
    out
}

/// How far apart the law's float64 can hold two words that are truly `scale / 2 * |x - c|^2` away, in units of that
/// score: `constant + by_norm2 |q|^2`, where `q` are the patch's raw pixels less `shift`, and `centre` is what is left to
/// subtract from them. Also covers that the bias is computed in float64.
pub(super) struct LawError {
    pub(super) constant: f64,
    pub(super) by_norm2: f64,
}

impl LawError {
    /// `norm` bounds the words' norms, `bias` their biases.
    pub(super) fn new(d: f64, scale: f64, centre: f64, norm: f64, bias: f64) -> LawError {
        let roundings = (d + 10.0) * U64;
        let law = 4.0 * roundings;
        // Of |x - c|^2 <= 2 |x|^2 + 2 |c|^2, scale / 2 of it; |x| <= (|q| + sqrt(d) centre) / scale.
        LawError {
            constant: roundings * bias
                + law * (scale * norm * norm + 2.0 * d * centre * centre / scale),
            by_norm2: 2.0 * law / scale,
        }
    }
}
