//! Words against patches whose values were prepared one by one: normalised by themselves, or whitened.
//!
//! Patches come as panels, `[d][LANES]` of float32, a lane a patch. [`NearestWords`] finds the nearest word of each, exactly:
//! whitening is folded into the words, so that no patch is whitened to find it. With `z = W y`, `|z - c|^2` is least where
//! `|c|^2 / 2 - (W c) . y` is; what float32 cannot prove the law decides, on float64 values. [`DistanceWords`] gives the
//! distances to all words; where float32 would lose digits, between a patch and a word next to it, in float64.

use super::decide::{Exact, interleave};
use super::float::{Best, GROUP, MAX_BIAS, MAX_NORM, U32, dot_products, score_panel};
use super::{LANES, SLACK, Simd, U64, Work};
use crate::kernel::naive::distance2;
use crate::kernel::whiten::Whitening;

/// Squared distances below this share of `|z|^2 + |c|^2` are computed again in float64: float32 has lost ten bits there.
const CANCELLED: f32 = 1.0 / 1024.0;

/// A panel's row: one value of each patch.
pub type Lanes<T> = [T; LANES];

/// Words, with whitening folded into them.
#[derive(Debug, Clone)]
pub struct NearestWords {
    simd: Simd,
    d: usize,
    exact: Exact,
    // [ceil(k / GROUP)][d][GROUP], W c.
    folded: Vec<f32>,
    // |c|^2 / 2, infinite past the last word.
    bias: Vec<f32>,
    bound: Bound,
}

/// How far apart two scores must be, as a function of the norm of `y`.
///
/// A score is wrong by the roundings of a dot product of `d` terms, each a share of `|W c| |y|` by Cauchy and Schwarz, and of
/// the bias. The law's float64, and the folding's, are wrong by `d` roundings or so of `(|W| |y| + |c|)^2`.
#[derive(Debug, Clone, Copy)]
struct Bound {
    constant: f64,
    by_norm: f64,
    roundings64: f64,
    matrix_norm: f64,
    word_norm: f64,
}

impl NearestWords {
    /// `centroids` are `k * d` finite values, row-major.
    pub fn new(
        centroids: &[f32],
        d: usize,
        whitening: Option<&Whitening>,
        simd: Simd,
    ) -> NearestWords {
        let words = || centroids.chunks_exact(d);
        let folded: Vec<f32> = match whitening {
            Some(whitening) => words().flat_map(|word| fold(word, whitening)).collect(),
            None => centroids.to_vec(),
        };
        let half_norm2 = words().map(|word| (norm2(word) / 2.0) as f32);
        let mut bias: Vec<f32> = half_norm2.collect();
        bias.resize(bias.len().div_ceil(GROUP) * GROUP, f32::INFINITY);
        NearestWords {
            simd,
            d,
            exact: Exact::new(centroids, d),
            bound: Bound::new(centroids, &folded, d, whitening),
            folded: interleave(&folded, d, GROUP),
            bias,
        }
    }

    /// Upper bound on the heap bytes of `k` words of `d` values.
    pub fn heap_bytes(k: usize, d: usize) -> u64 {
        // The folded words lie there twice while they are laid out.
        Exact::heap_bytes(k, d) + ((k + GROUP) * (2 * d + 1) * 4) as u64
    }

    /// The nearest word of each of the first `n` lanes of `panel`, the values before the whitening matrix is applied;
    /// `values` writes the finished float64 values of a lane. Gives how many of them float64 decided, too.
    pub fn search(
        &self,
        panel: &[f32],
        n: usize,
        scratch: &mut Vec<f64>,
        mut values: impl FnMut(usize, &mut [f64]),
    ) -> (Lanes<u32>, u64) {
        let best = self.score(panel);
        let mut labels = best.index;
        let mut decided_again = 0;
        scratch.resize(self.d, 0.0);
        for (lane, label) in labels[..n].iter_mut().enumerate() {
            if !self.bound.decides(&best, lane) {
                values(lane, scratch);
                *label = self.exact.decide(scratch);
                decided_again += 1;
            }
        }
        (labels, decided_again)
    }

    fn score(&self, panel: &[f32]) -> Best {
        let (grouped, bias) = (&self.folded, &self.bias);
        match self.simd {
            Simd::Avx512 | Simd::Vnni => self.simd.run(Score::<32, true>(panel, grouped, bias)),
            Simd::Avx2 => self.simd.run(Score::<16, true>(panel, grouped, bias)),
            Simd::Portable | Simd::Neon => self.simd.run(Score::<8, FUSED>(panel, grouped, bias)),
        }
    }
}

/// Whether the target itself has a fused multiply-add.
const FUSED: bool = cfg!(target_arch = "aarch64");

struct Score<'a, const WIDTH: usize, const FUSED: bool>(&'a [f32], &'a [f32], &'a [f32]);

impl<const WIDTH: usize, const FUSED: bool> Work for Score<'_, WIDTH, FUSED> {
    type Output = Best;

    #[inline(always)]
    fn work(self) -> Best {
        score_panel::<WIDTH, FUSED>(self.0, self.1, self.2)
    }
}

/// `W c`; the matrix is symmetric.
fn fold(word: &[f32], whitening: &Whitening) -> Vec<f32> {
    let mut sums = vec![0.0f64; word.len()];
    for (column, &c) in whitening.matrix.chunks_exact(word.len()).zip(word) {
        for (sum, &weight) in sums.iter_mut().zip(column) {
            *sum += f64::from(weight) * f64::from(c);
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

fn norm2(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

fn max_norm(words: &[f32], d: usize) -> f64 {
    let norms2 = words.chunks_exact(d).map(norm2);
    norms2.fold(0.0, f64::max).sqrt() * SLACK
}

impl Bound {
    fn new(centroids: &[f32], folded: &[f32], d: usize, whitening: Option<&Whitening>) -> Bound {
        let (word_norm, folded_norm) = (max_norm(centroids, d), max_norm(folded, d));
        let matrix_norm =
            whitening.map_or(1.0, |whitening| norm2(&whitening.matrix).sqrt() * SLACK);
        let bias = word_norm * word_norm / 2.0;
        // The value itself, d of the sum, the subtraction; two to spare.
        let roundings = (d as f64 + 4.0) * U32;
        let inflate = SLACK / (1.0 - roundings.min(0.5));
        let fits = folded_norm < MAX_NORM && bias < MAX_BIAS && roundings < 0.25;
        let tiny = f64::from(f32::MIN_POSITIVE) * (1.0 + d as f64 * folded_norm);
        Bound {
            constant: if fits {
                2.0 * SLACK * (3.0 * U32 * bias + tiny)
            } else {
                f64::INFINITY
            },
            by_norm: 2.0 * inflate * inflate * roundings * folded_norm,
            roundings64: 2.0 * SLACK * (3.0 * d as f64 + 20.0) * U64,
            matrix_norm,
            word_norm,
        }
    }

    fn decides(&self, best: &Best, lane: usize) -> bool {
        // The norm is itself a rounded sum.
        let norm = f64::from(best.norm2[lane]).sqrt() * SLACK;
        let reach = self.matrix_norm * norm + self.word_norm;
        let needed = self.constant + self.by_norm * norm + self.roundings64 * reach * reach;
        // Written so that NaN and infinite bounds leave the lane open.
        f64::from(best.second[lane]) - f64::from(best.best[lane]) > needed
            && needed < f64::from(f32::MAX)
    }
}

/// Words as they are, and the whitening beside them.
#[derive(Debug, Clone)]
pub struct DistanceWords {
    simd: Simd,
    k: usize,
    d: usize,
    centroids: Vec<f32>,
    // [ceil(k / GROUP)][d][GROUP]
    grouped: Vec<f32>,
    norm2: Vec<f32>,
    // [ceil(d / GROUP)][d][GROUP], the rows of the whitening matrix; empty without.
    matrix: Vec<f32>,
}

impl DistanceWords {
    /// `centroids` are `k * d` finite values, row-major.
    pub fn new(
        centroids: &[f32],
        d: usize,
        whitening: Option<&Whitening>,
        simd: Simd,
    ) -> DistanceWords {
        let words = centroids.chunks_exact(d);
        DistanceWords {
            simd,
            k: words.len(),
            d,
            norm2: words.map(|word| norm2(word) as f32).collect(),
            centroids: centroids.to_vec(),
            grouped: interleave(centroids, d, GROUP),
            matrix: whitening.map_or(Vec::new(), |whitening| {
                interleave(&whitening.matrix, d, GROUP)
            }),
        }
    }

    /// Upper bound on the heap bytes of `k` words of `d` values.
    pub fn heap_bytes(k: usize, d: usize, is_whitened: bool) -> u64 {
        let matrix = if is_whitened { (d + GROUP) * d } else { 0 };
        (((k + GROUP) * (2 * d + 1) + matrix) * 4) as u64
    }

    /// Number of words.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Squared distance of finished float64 values to a word: the law's.
    pub fn exact2(&self, values: &[f64], word: usize) -> f64 {
        distance2(values, &self.centroids[word * self.d..][..self.d])
    }

    /// Whitens the lanes of `panel`, in place by way of `scratch`; nothing without whitening.
    pub fn whiten(&self, panel: &mut Vec<f32>, scratch: &mut Vec<f32>) {
        if self.matrix.is_empty() {
            return;
        }
        scratch.resize(panel.len(), 0.0);
        let (matrix, from) = (self.matrix.as_slice(), panel.as_slice());
        match self.simd {
            Simd::Avx512 | Simd::Vnni => self.simd.run(Whiten::<32, true>(from, matrix, scratch)),
            Simd::Avx2 => self.simd.run(Whiten::<16, true>(from, matrix, scratch)),
            Simd::Portable | Simd::Neon => {
                self.simd.run(Whiten::<8, FUSED>(from, matrix, scratch));
            }
        }
        std::mem::swap(panel, scratch);
    }

    /// Writes the squared distances of each lane of `panel`, finished values, to each word over `out`, `[k][LANES]`; with `ROOT`,
    /// the distances themselves, and gives the sums of each lane over the words. `exact2` gives the squared distance of a lane to a word
    /// in float64.
    pub fn distances<const ROOT: bool>(
        &self,
        panel: &[f32],
        out: &mut [f32],
        exact2: &mut dyn FnMut(usize, usize) -> f64,
    ) -> Lanes<f64> {
        let task = Task {
            words: self,
            panel,
            out,
            exact2,
        };
        match self.simd {
            Simd::Avx512 | Simd::Vnni => self.simd.run(Distances::<ROOT, 32, true>(task)),
            Simd::Avx2 => self.simd.run(Distances::<ROOT, 16, true>(task)),
            Simd::Portable | Simd::Neon => self.simd.run(Distances::<ROOT, 8, FUSED>(task)),
        }
    }

    /// The instruction set.
    pub fn simd(&self) -> Simd {
        self.simd
    }
}

struct Whiten<'a, const WIDTH: usize, const FUSED: bool>(&'a [f32], &'a [f32], &'a mut [f32]);

impl<const WIDTH: usize, const FUSED: bool> Work for Whiten<'_, WIDTH, FUSED> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        let Whiten(panel, matrix, out) = self;
        for first in (0..LANES).step_by(WIDTH) {
            let groups = matrix.chunks_exact(panel.len() / LANES * GROUP);
            for (rows, out) in groups.zip(out.chunks_mut(GROUP * LANES)) {
                let dots = blocked_dots::<WIDTH, FUSED>(panel, first, rows);
                for (out, dots) in out.chunks_exact_mut(LANES).zip(&dots) {
                    out[first..first + WIDTH].copy_from_slice(dots);
                }
            }
        }
    }
}

struct Task<'a> {
    words: &'a DistanceWords,
    panel: &'a [f32],
    out: &'a mut [f32],
    exact2: &'a mut dyn FnMut(usize, usize) -> f64,
}

struct Distances<'a, const ROOT: bool, const WIDTH: usize, const FUSED: bool>(Task<'a>);

impl<const ROOT: bool, const WIDTH: usize, const FUSED: bool> Work
    for Distances<'_, ROOT, WIDTH, FUSED>
{
    type Output = Lanes<f64>;

    #[inline(always)]
    fn work(self) -> Lanes<f64> {
        let task = self.0;
        let mut sums = [0.0; LANES];
        for first in (0..LANES).step_by(WIDTH) {
            let mut norm2 = [0.0f32; WIDTH];
            for row in task.panel.as_chunks::<LANES>().0 {
                for lane in 0..WIDTH {
                    norm2[lane] += row[first + lane] * row[first + lane];
                }
            }
            let groups = task.words.grouped.chunks_exact(task.words.d * GROUP);
            let out = task.out.chunks_mut(GROUP * LANES);
            let norms = task.words.norm2.chunks(GROUP);
            for (group, ((words, out), norms)) in groups.zip(out).zip(norms).enumerate() {
                let dots = blocked_dots::<WIDTH, FUSED>(task.panel, first, words);
                let rows = || norms.iter().zip(&dots).enumerate();
                let mut is_cancelled = false;
                for (w, (&word2, dots)) in rows() {
                    let out = &mut out[w * LANES + first..][..WIDTH];
                    for lane in 0..WIDTH {
                        let both = norm2[lane] + word2;
                        out[lane] = both - 2.0 * dots[lane];
                        is_cancelled |= out[lane] < CANCELLED * both;
                    }
                }
                if is_cancelled {
                    for (w, (&word2, _)) in rows() {
                        let out = &mut out[w * LANES + first..][..WIDTH];
                        for lane in 0..WIDTH {
                            if out[lane] < CANCELLED * (norm2[lane] + word2) {
                                let word = group * GROUP + w;
                                out[lane] = (task.exact2)(first + lane, word) as f32;
                            }
                        }
                    }
                }
                if ROOT {
                    let total = take_roots::<WIDTH>(out, first, norms.len());
                    for lane in 0..WIDTH {
                        sums[first + lane] += f64::from(total[lane]);
                    }
                }
            }
        }
        sums
    }
}

/// Values that are summed before their sum is added to those before it: roundings then grow with the number of blocks.
const BLOCK: usize = 32;

/// [`dot_products`], block by block.
#[inline(always)]
fn blocked_dots<const WIDTH: usize, const FUSED: bool>(
    panel: &[f32],
    first: usize,
    words: &[f32],
) -> [[f32; WIDTH]; GROUP] {
    let mut sums = [[0.0f32; WIDTH]; GROUP];
    for (panel, words) in panel.chunks(BLOCK * LANES).zip(words.chunks(BLOCK * GROUP)) {
        let dots = dot_products::<WIDTH, FUSED>(panel, first, words);
        for (sums, dots) in sums.iter_mut().zip(&dots) {
            for lane in 0..WIDTH {
                sums[lane] += dots[lane];
            }
        }
    }
    sums
}

/// Takes the square roots of lanes `first..first + WIDTH` of `n` rows; their sums over the rows. A loop of its own, from
/// memory: within the one above the compiler cuts the lanes to pieces.
#[inline(always)]
fn take_roots<const WIDTH: usize>(rows: &mut [f32], first: usize, n: usize) -> [f32; WIDTH] {
    let mut total = [0.0f32; WIDTH];
    for row in rows.as_chunks_mut::<LANES>().0.iter_mut().take(n) {
        for (total, distance) in total.iter_mut().zip(&mut row[first..first + WIDTH]) {
            *distance = distance.sqrt();
            *total += *distance;
        }
    }
    total
}
