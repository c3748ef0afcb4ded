//! The search in f32, for pixels that are not bytes, and for bytes that whole numbers cannot hold.
//!
//! Patches are packed straight from the image into a panel `[d][32]`, a lane a patch.

use super::decide::{LawError, interleave};
use super::{LANES, SLACK, Scratch, Simd, Words};
use crate::kernel::grid::PatchShape;
use crate::kernel::image::PixelsRef;
use crate::kernel::normalize::Scaling;
use crate::kernel::sample::Patches;

/// Words whose dot products are held in registers together; divides the usual vocabulary sizes.
pub(super) const GROUP: usize = 5;
/// Up to so many runs of consecutive offsets in a panel are packed run by run; more are packed pixel by pixel.
const MAX_RUNS: usize = 6;

/// Unit roundoff of f32.
pub(super) const U32: f64 = f32::EPSILON as f64 / 2.0;
/// Largest norm of a word, and largest bias, that the f32 search takes. The squared norm of a patch overflows at 1.9e19,
/// so below this no dot product can.
pub(super) const MAX_NORM: f64 = 1e18;
pub(super) const MAX_BIAS: f64 = 1e37;

/// Words as f32.
#[derive(Debug, Clone)]
pub(super) struct FloatWords {
    // [ceil(k / GROUP)][d][GROUP], zeros past the last word.
    grouped: Vec<f32>,
}

impl FloatWords {
    pub(super) fn new(centroids: &[f32], d: usize) -> FloatWords {
        FloatWords {
            grouped: interleave(centroids, d, GROUP),
        }
    }

    pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
        (k + GROUP) as u64 * d as u64 * 4
    }
}

/// Labels the patches of an image that is not blank; how many were decided again.
pub(super) fn search(words: &Words, patches: &Patches<'_>, scratch: &mut Scratch) -> u64 {
    scratch.offsets.extend(patches.offsets());
    scratch.labels.resize(scratch.offsets.len(), 0);
    scratch.float_panel.resize((words.d() + 1) * LANES, 0.0);
    match patches.pixels {
        PixelsRef::U8(pixels) => {
            ImagePatches::new(words, patches, 0.0, pixels).search(words, scratch)
        }
        PixelsRef::F32(pixels) => {
            let shift = patches.scaling.centre as f32;
            ImagePatches::new(words, patches, shift, pixels).search(words, scratch)
        }
    }
}

/// A pixel as it is stored.
trait Pixel: Copy {
    /// Its f32 value in a panel, less `shift`; wrong by one rounding at most.
    fn shifted(self, shift: f32) -> f32;
    /// Its exact value.
    fn exact(self) -> f64;
}

impl Pixel for u8 {
    // Whole numbers up to 255 need no shift, and are exact without.
    #[inline(always)]
    fn shifted(self, _shift: f32) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn exact(self) -> f64 {
        f64::from(self)
    }
}

impl Pixel for f32 {
    #[inline(always)]
    fn shifted(self, shift: f32) -> f32 {
        self - shift
    }

    #[inline(always)]
    fn exact(self) -> f64 {
        f64::from(self)
    }
}

/// One image that is not blank, and how patches lie in it.
struct ImagePatches<'a, P> {
    patch: PatchShape,
    row_stride: u32,
    scaling: Scaling,
    /// What is taken off each pixel before it enters a panel, so that an image that is bright all over loses no digits.
    shift: f32,
    pixels: &'a [P],
}

impl<'a, P: Pixel> ImagePatches<'a, P> {
    fn new(words: &Words, patches: &Patches<'_>, shift: f32, pixels: &'a [P]) -> Self {
        ImagePatches {
            patch: words.patch,
            row_stride: patches.row_stride,
            scaling: patches.scaling,
            shift,
            pixels,
        }
    }
}

/// Up to [`MAX_RUNS`] runs of consecutive offsets in a panel: first lane and length of each.
struct Runs {
    runs: [(usize, usize); MAX_RUNS],
    len: usize,
}

impl Runs {
    /// The runs of `offsets`; `None` where there are too many.
    fn of(offsets: &[u32]) -> Option<Runs> {
        let mut found = Runs {
            runs: [(0, 0); MAX_RUNS],
            len: 0,
        };
        let mut first = 0;
        for lane in 1..=offsets.len() {
            if lane < offsets.len() && offsets[lane] == offsets[lane - 1].wrapping_add(1) {
                continue;
            }
            *found.runs.get_mut(found.len)? = (first, lane - first);
            found.len += 1;
            first = lane;
        }
        Some(found)
    }
}

impl<P: Pixel> ImagePatches<'_, P> {
    /// Labels the patches at `scratch.offsets`; how many were decided again.
    fn search(&self, words: &Words, scratch: &mut Scratch) -> u64 {
        match words.simd {
            // Fused where the target guarantees that it is one instruction.
            Simd::Portable | Simd::Neon => {
                const FUSED: bool = cfg!(target_arch = "aarch64");
                self.search_body(words, scratch, score_panel::<8, FUSED>)
            }
            #[cfg(target_arch = "x86_64")]
            #[expect(
                unsafe_code,
                reason = "calls code compiled for an instruction set found at run time"
            )]
            // SAFETY: `Words::new` made sure that this machine has AVX2 and FMA.
            Simd::Avx2 => unsafe { self.search_avx2(words, scratch) },
            #[cfg(target_arch = "x86_64")]
            #[expect(
                unsafe_code,
                reason = "calls code compiled for an instruction set found at run time"
            )]
            // SAFETY: `Words::new` made sure that this machine has AVX-512 F, and AVX2 and FMA with it.
            Simd::Avx512 | Simd::Vnni => unsafe { self.search_avx512(words, scratch) },
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 | Simd::Vnni => {
                unreachable!("`Words::new` takes only what the machine has")
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn search_avx2(&self, words: &Words, scratch: &mut Scratch) -> u64 {
        self.search_body(words, scratch, |panel, words, bias| {
            score_avx2(panel, words, bias)
        })
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn search_avx512(&self, words: &Words, scratch: &mut Scratch) -> u64 {
        self.search_body(words, scratch, |panel, words, bias| {
            score_avx512(panel, words, bias)
        })
    }

    /// The body of every `search_*`; `score` is [`score_panel`] for the same instruction set.
    #[inline(always)]
    fn search_body(
        &self,
        words: &Words,
        scratch: &mut Scratch,
        score: impl Fn(&[f32], &[f32], &[f32]) -> Best,
    ) -> u64 {
        let bound = Bound::new(words, self.scaling, self.shift);
        let Scratch {
            float_panel: panel,
            float_bias: bias,
            values,
            offsets,
            labels,
            ..
        } = scratch;
        self.biases(words, bias);
        let mut decided_again = 0;
        for (offsets, labels) in offsets.chunks(LANES).zip(labels.chunks_mut(LANES)) {
            match Runs::of(offsets) {
                Some(runs) => self.pack_runs(offsets, &runs, panel),
                None => self.pack_scattered(offsets, panel),
            }
            let panel = &panel[..words.d() * LANES];
            let best = score(panel, &words.float.grouped, bias);
            let open = bound.open_lanes(&best);
            labels.copy_from_slice(&best.index[..offsets.len()]);
            for (lane, &offset) in offsets.iter().enumerate() {
                if open[lane] {
                    self.normalised(offset, values);
                    labels[lane] = words.exact.decide(values);
                    decided_again += 1;
                }
            }
        }
        decided_again
    }

    /// The bias of each word, computed in f64 and rounded once.
    #[inline(always)]
    fn biases(&self, words: &Words, bias: &mut Vec<f32>) {
        let half_scale = self.scaling.scale / 2.0;
        let centre = self.scaling.centre - f64::from(self.shift);
        bias.clear();
        bias.extend(
            words
                .norms
                .norm2
                .iter()
                .zip(&words.norms.sum)
                .map(|(norm2, sum)| (half_scale * norm2 + centre * sum) as f32),
        );
        bias.resize(words.k().div_ceil(GROUP) * GROUP, f32::INFINITY);
    }

    /// Fills the panel, run by run. Each run writes a whole row of lanes, which is faster than writing just its own; what
    /// it writes too much is overwritten by the next run or the next row.
    #[inline(always)]
    fn pack_runs(&self, offsets: &[u32], runs: &Runs, panel: &mut [f32]) {
        let mut i = 0;
        for row in 0..self.patch.height as usize {
            for col in 0..self.patch.row_len() {
                for &(lane, len) in &runs.runs[..runs.len] {
                    let from = offsets[lane] as usize + row * self.row_stride as usize + col;
                    let mut lanes = [0.0f32; LANES];
                    match self.pixels[from..].first_chunk::<LANES>() {
                        Some(from) => {
                            for lane in 0..LANES {
                                lanes[lane] = from[lane].shifted(self.shift);
                            }
                        }
                        None => {
                            for (lane, from) in lanes.iter_mut().zip(&self.pixels[from..from + len])
                            {
                                *lane = from.shifted(self.shift);
                            }
                        }
                    }
                    panel[i * LANES + lane..][..LANES].copy_from_slice(&lanes);
                }
                i += 1;
            }
        }
    }

    /// Fills the panel for offsets in any order.
    #[inline(always)]
    fn pack_scattered(&self, offsets: &[u32], panel: &mut [f32]) {
        let mut lanes = [0usize; LANES];
        for (lane, &offset) in lanes.iter_mut().zip(offsets) {
            *lane = offset as usize;
        }
        // Lanes past the last patch take the first one's pixels; nobody reads their labels.
        lanes[offsets.len()..].fill(offsets[0] as usize);
        let mut rows = panel.chunks_exact_mut(LANES);
        for row in 0..self.patch.height as usize {
            for col in 0..self.patch.row_len() {
                let pixels = &self.pixels[row * self.row_stride as usize + col..];
                let Some(to) = rows.next() else { return };
                for (to, &from) in to.iter_mut().zip(&lanes) {
                    *to = pixels[from].shifted(self.shift);
                }
            }
        }
    }

    /// The normalised values of one patch.
    #[inline(always)]
    fn normalised(&self, offset: u32, values: &mut Vec<f64>) {
        values.clear();
        for row in 0..self.patch.height as usize {
            let start = offset as usize + row * self.row_stride as usize;
            let pixels = &self.pixels[start..start + self.patch.row_len()];
            values.extend(pixels.iter().map(|pixel| self.scaling.apply(pixel.exact())));
        }
    }
}

/// How far apart best and second-best score must be for the label to be certain: `constant + by_norm |q| + by_norm2 |q|^2`,
/// where `q` are a patch's shifted pixels.
///
/// Each score is wrong by at most: the dot product's `d` roundings (fused or not) and the pixel's own one, each a share
/// [`U32`] of `|q| |c|` by Cauchy and Schwarz; the subtraction from the bias; the bias's rounding, and its float64
/// computation. Added to that is how far the law itself, in float64, can be from the true distance, in units of the
/// score. Products that underflow are covered by the smallest normal number, far above what they can lose.
struct Bound {
    constant: f32,
    by_norm: f32,
    by_norm2: f32,
}

impl Bound {
    fn new(words: &Words, scaling: Scaling, shift: f32) -> Bound {
        let d = words.d() as f64;
        let norm = words.norms.max_norm * SLACK;
        let (scale, centre) = (scaling.scale, (scaling.centre - f64::from(shift)).abs());
        let bias = scale / 2.0 * norm * norm + centre * d.sqrt() * norm;
        // Roundings a product goes through: pixel, d of the sum, subtraction; two to spare.
        let roundings = (d + 4.0) * U32;
        let fits = norm < MAX_NORM && bias < MAX_BIAS && roundings < 0.25;
        // Also covers that the squared norm is itself a rounded sum.
        let inflate = SLACK / (1.0 - roundings);
        let gamma = roundings * inflate;
        let law = LawError::new(d, scale, centre, norm, bias);
        let constant = 3.0 * U32 * bias
            + law.constant
            + gamma * norm * d.sqrt() * f64::from(f32::MIN_POSITIVE).sqrt()
            + f64::from(f32::MIN_POSITIVE);
        let round_up = |bound: f64| {
            if fits {
                (2.0 * SLACK * bound) as f32
            } else {
                f32::INFINITY
            }
        };
        Bound {
            constant: round_up(constant),
            by_norm: round_up(inflate * gamma * norm),
            by_norm2: round_up(inflate * inflate * law.by_norm2),
        }
    }

    /// Which lanes the scores do not decide.
    #[inline(always)]
    fn open_lanes(&self, best: &Best) -> [bool; LANES] {
        let mut open = [false; LANES];
        for (lane, open) in open.iter_mut().enumerate() {
            let norm2 = best.norm2[lane];
            let needed = self.constant + self.by_norm * norm2.sqrt() + self.by_norm2 * norm2;
            // Written so that NaN and infinite bounds leave the lane open.
            let decided = best.second[lane] - best.best[lane] > needed && needed < f32::INFINITY;
            *open = !decided;
        }
        open
    }
}

/// What a panel's scores say, lane by lane.
pub(super) struct Best {
    pub(super) best: [f32; LANES],
    pub(super) second: [f32; LANES],
    pub(super) index: [u32; LANES],
    /// Squared norm of the panel's values.
    pub(super) norm2: [f32; LANES],
}

// Apart from the search, and never inlined into it: there the compiler runs out of registers and the sums spill.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn score_avx2(panel: &[f32], grouped: &[f32], bias: &[f32]) -> Best {
    score_panel::<16, true>(panel, grouped, bias)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline(never)]
fn score_avx512(panel: &[f32], grouped: &[f32], bias: &[f32]) -> Best {
    score_panel::<32, true>(panel, grouped, bias)
}

/// Scores a panel (`[d][LANES]`) against all words (`[ceil(k / GROUP)][d][GROUP]`), `WIDTH` lanes at a time,
/// so that `GROUP * WIDTH` sums fit the registers.
#[inline(always)]
pub(super) fn score_panel<const WIDTH: usize, const FUSED: bool>(
    panel: &[f32],
    grouped: &[f32],
    bias: &[f32],
) -> Best {
    let mut out = Best {
        best: [0.0; LANES],
        second: [0.0; LANES],
        index: [0; LANES],
        norm2: [0.0; LANES],
    };
    let d = panel.len() / LANES;
    for first in (0..LANES).step_by(WIDTH) {
        let mut best = [f32::INFINITY; WIDTH];
        let mut second = [f32::INFINITY; WIDTH];
        let mut index = [0u32; WIDTH];
        let groups = grouped
            .chunks_exact(d * GROUP)
            .zip(bias.as_chunks::<GROUP>().0);
        for (group, (words, bias)) in groups.enumerate() {
            let dots = dot_products::<WIDTH, FUSED>(panel, first, words);
            for w in 0..GROUP {
                let j = (group * GROUP + w) as u32;
                for lane in 0..WIDTH {
                    let score = bias[w] - dots[w][lane];
                    let nearer = score < best[lane];
                    let loser = if nearer { best[lane] } else { score };
                    second[lane] = if loser < second[lane] {
                        loser
                    } else {
                        second[lane]
                    };
                    best[lane] = if nearer { score } else { best[lane] };
                    index[lane] = if nearer { j } else { index[lane] };
                }
            }
        }
        let mut norm2 = [0.0f32; WIDTH];
        for row in panel.as_chunks::<LANES>().0 {
            for lane in 0..WIDTH {
                norm2[lane] += row[first + lane] * row[first + lane];
            }
        }
        out.best[first..first + WIDTH].copy_from_slice(&best);
        out.second[first..first + WIDTH].copy_from_slice(&second);
        out.index[first..first + WIDTH].copy_from_slice(&index);
        out.norm2[first..first + WIDTH].copy_from_slice(&norm2);
    }
    out
}

/// Dot products of lanes `first..first + WIDTH` with one group of words (`[d][GROUP]`).
#[inline(always)]
pub(super) fn dot_products<const WIDTH: usize, const FUSED: bool>(
    panel: &[f32],
    first: usize,
    words: &[f32],
) -> [[f32; WIDTH]; GROUP] {
    let mut dots = [[0.0f32; WIDTH]; GROUP];
    let rows = panel.as_chunks::<LANES>().0;
    for (row, word) in rows.iter().zip(words.as_chunks::<GROUP>().0) {
        for w in 0..GROUP {
            for lane in 0..WIDTH {
                let (p, c) = (row[first + lane], word[w]);
                dots[w][lane] = if FUSED {
                    p.mul_add(c, dots[w][lane])
                } else {
                    p * c + dots[w][lane]
                };
            }
        }
    }
    dots
}
