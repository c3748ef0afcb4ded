//! The search in whole numbers, for pixels that are bytes.
//!
//! Words are rounded to whole multiples of one step, so scores are whole numbers: exact, the same on every machine, and at
//! several times the speed of f32, two products of 16 bits for each 32. Only the words are rounded, so the error of a score
//! is at most the norm of the patch times the norm of the word's rounding, by Cauchy and Schwarz; where second-best minus
//! best exceeds twice that, the label is proven. Rounding is finer after the middle of all words is subtracted from each,
//! which changes all scores of a patch alike.
//!
//! A score carries the lowest bits of its word's index in its own lowest bits, so that one minimum finds both.
//!
//! Patches that are one value all over are searched once for each value.

#![expect(
    clippy::needless_range_loop,
    reason = "lanes and words by number, as they lie in registers"
)]

use std::ops::Range;

use super::band::MAX_PIXELS;
use super::decide::LawError;
use super::isa::Isa;
use super::long::{self, LongWords};
use super::{LANES, Norms, Repeat, SLACK, Scratch, Simd, U64, Words};
use crate::kernel::grid::PatchShape;
use crate::kernel::lanes::lane_sum;
use crate::kernel::normalize::Scaling;
use crate::kernel::positions;
use crate::kernel::sample::Patches;

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512, Sse2, Vnni};

/// What the target guarantees.
#[cfg(target_arch = "x86_64")]
const GUARANTEED: Sse2 = Sse2;
#[cfg(not(target_arch = "x86_64"))]
const GUARANTEED: super::isa::Plain = super::isa::Plain;

/// Lanes of a panel's row, and room for what a piece of 16 writes past the last.
const ROW: usize = LANES + PIECE;
/// Patches that are packed together.
const PIECE: usize = 16;
/// Words that lie together.
const GROUP: usize = 8;
/// Bits of a score that hold the word's place in its group.
const INDEX_BITS: u32 = 3;
/// Largest value of a rounded word: with the index bits below it, it fits 16 bits.
const MAX_ROUNDED: f64 = 4095.0;
/// Scores stay below this, so that with the index bits their differences fit 32 bits.
const MAX_SCORE: f64 = (1u32 << 27) as f64;
/// Coarser steps than precision asks for, up to so many times, are taken so that images of any contrast fit.
const MAX_COARSER: f64 = 4.0;
/// Values in a patch at most: squares of bytes must fit 31 bits.
const MAX_D: usize = 1 << 15;
/// A u8 pixel at most.
const MAX_PIXEL: f64 = 255.0;

/// One pair of pixels of each patch of a panel; aligned, so that no vector of lanes crosses a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Row(pub(super) [u32; ROW]);

/// Words as whole numbers.
#[derive(Debug, Clone)]
pub(super) struct WholeWords {
    step: f64,
    // [ceil(k / GROUP)][pairs][GROUP]: two neighbouring values of a word, negated, shifted past the index bits.
    grouped: Vec<[u32; GROUP]>,
    // The same in one piece a word, where patches are long.
    long: Option<LongWords>,
    n_pairs: usize,
    /// Largest norm of what rounding took from a word.
    max_error: f64,
    /// Largest sum of absolute rounded values of a word.
    max_abs_sum: f64,
    max_norm2: f64,
    max_sum: f64,
}

/// Pairs of values in a patch: rows of odd width end in half a pair.
fn n_pairs(patch: PatchShape) -> usize {
    patch.height as usize * patch.row_len().div_ceil(2)
}

impl WholeWords {
    /// `None` where whole numbers cannot hold the words.
    pub(super) fn new(centroids: &[f32], patch: PatchShape, norms: &Norms) -> Option<WholeWords> {
        let d = patch.len();
        if d > MAX_D {
            return None;
        }
        let middle = middle(centroids, d);
        let words = || centroids.chunks_exact(d);
        let mut shifted = vec![0.0; d];
        let (mut max_abs, mut max_abs_sum) = (0.0f64, 0.0f64);
        for word in words() {
            shift(word, &middle, &mut shifted);
            max_abs_sum = max_abs_sum.max(lane_sum(&shifted, f64::abs));
            max_abs = max_of(&shifted, max_abs);
        }
        let max_norm2 = norms.max_norm * norms.max_norm * SLACK;
        let max_sum = norms.sum.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let step = step(max_abs, max_abs_sum, max_norm2, max_sum);
        if !step.is_normal() || !max_norm2.is_finite() {
            return None;
        }
        let mut whole = WholeWords {
            step,
            grouped: vec![[0; GROUP]; norms.norm2.len().div_ceil(GROUP) * n_pairs(patch)],
            long: (d >= long::MIN_D).then(|| LongWords::new(norms.norm2.len(), d)),
            n_pairs: n_pairs(patch),
            max_error: 0.0,
            max_abs_sum: 0.0,
            max_norm2,
            max_sum,
        };
        // What computing the rounding's own error can lose.
        let lost = 8.0 * U64 * (d as f64).sqrt() * (norms.max_norm + max_abs);
        let mut rounded = vec![0i32; d];
        for (j, word) in words().enumerate() {
            shift(word, &middle, &mut shifted);
            for (value, rounded) in shifted.iter_mut().zip(&mut rounded) {
                let whole = whole_number(*value / step);
                *value -= step * whole;
                *rounded = whole as i32;
            }
            let error2 = lane_sum(&shifted, |error| error * error);
            let abs_sum = lane_sum(&rounded, |value| f64::from(value.abs()));
            whole.max_error = whole.max_error.max(error2.sqrt() * SLACK + lost);
            whole.max_abs_sum = whole.max_abs_sum.max(abs_sum);
            whole.put(j, patch, &rounded);
        }
        Some(whole)
    }

    pub(super) fn heap_bytes(k: usize, patch: PatchShape) -> u64 {
        // While it is made, the middle, and a word before and after it is rounded.
        ((k + GROUP) * n_pairs(patch) * 4 + patch.len() * 20) as u64
            + LongWords::heap_bytes(k, patch.len())
    }

    fn put(&mut self, j: usize, patch: PatchShape, rounded: &[i32]) {
        let rows = rounded.chunks_exact(patch.row_len());
        let group = &mut self.grouped[j / GROUP * self.n_pairs..][..self.n_pairs];
        let pairs = rows.flat_map(|row| row.chunks(2));
        let half = |value: i32| (-value << INDEX_BITS) as i16 as u16;
        for (to, pair) in group.iter_mut().zip(pairs) {
            let second = pair.get(1).map_or(0, |&value| half(value));
            to[j % GROUP] = u32::from(half(pair[0])) | u32::from(second) << 16;
        }
        if let Some(long) = &mut self.long {
            for (to, &value) in long.word_mut(j).iter_mut().zip(rounded) {
                *to = half(value);
            }
        }
    }
}

/// Writes how far the word is from the `middle` over `shifted`.
fn shift(word: &[f32], middle: &[f64], shifted: &mut [f64]) {
    for ((shifted, &value), middle) in shifted.iter_mut().zip(word).zip(middle) {
        *shifted = f64::from(value) - middle;
    }
}

/// The largest absolute of `values` and `least`.
fn max_of(values: &[f64], least: f64) -> f64 {
    let mut max = [least; 8];
    for row in values.chunks(8) {
        for (max, value) in max.iter_mut().zip(row) {
            *max = max.max(value.abs());
        }
    }
    max.into_iter().fold(least, f64::max)
}

/// Rounds a number far below 2^51. `f64::round` is a call on machines that have no instruction for it.
fn whole_number(value: f64) -> f64 {
    const ONES: f64 = 1.5 * (1u64 << 52) as f64;
    (value + ONES) - ONES
}

/// Of each value, halfway between the smallest and the largest that a word has.
fn middle(centroids: &[f32], d: usize) -> Vec<f64> {
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); d];
    for word in centroids.chunks_exact(d) {
        for (range, &value) in ranges.iter_mut().zip(word) {
            let value = f64::from(value);
            *range = (range.0.min(value), range.1.max(value));
        }
    }
    ranges.iter().map(|(min, max)| (min + max) / 2.0).collect()
}

/// The step that words are rounded to: as fine as 16 bits allow, and coarse enough for the scores of images.
fn step(max_abs: f64, max_abs_sum: f64, max_norm2: f64, max_sum: f64) -> f64 {
    // Scores of images as they are, and of those with the most contrast that there can be.
    let plain = max_norm2 / 2.0 + MAX_PIXEL * max_abs_sum;
    let any = max_norm2 * MAX_PIXEL / 4.0 + MAX_PIXEL * (max_sum + max_abs_sum);
    let room = 1.01 / MAX_SCORE;
    let step = (max_abs / MAX_ROUNDED).max(plain * room);
    if step == 0.0 {
        return 1.0;
    }
    let for_any = any * room;
    if for_any <= MAX_COARSER * step {
        step.max(for_any)
    } else {
        step
    }
}

/// What scores say of each lane.
pub(super) struct Best {
    /// The word with the lowest score.
    index: [u32; LANES],
    /// The lowest score and the second-lowest, with index bits.
    best: [i32; LANES],
    second: [i32; LANES],
    /// Sum of the squared pixels.
    pub(super) squares: [i32; LANES],
}

impl Best {
    pub(super) fn new() -> Best {
        Best {
            index: [0; LANES],
            best: [i32::MAX; LANES],
            second: [i32::MAX; LANES],
            squares: [0; LANES],
        }
    }

    /// Takes note of one word's score.
    #[inline(always)]
    pub(super) fn take(&mut self, lane: usize, word: u32, score: i32) {
        let best = self.best[lane];
        if score < best {
            self.second[lane] = best;
            self.best[lane] = score;
            self.index[lane] = word;
        } else if score < self.second[lane] {
            self.second[lane] = score;
        }
    }
}

/// Scores the first `n_lanes` of a panel (a row of lanes for each pair of pixels) against all words, `V` vectors of lanes and
/// up to `G` words at a time, so that their sums fit the registers.
#[inline(always)]
pub(super) fn score<I: Isa, const V: usize, const G: usize>(
    isa: I,
    panel: &[Row],
    words: &[[u32; GROUP]],
    bias: &[i32],
    n_lanes: usize,
) -> Best {
    let mut out = Best::new();
    let mut groups_out = [0; LANES];
    for first in (0..n_lanes).step_by(V * I::LANES) {
        let mut state = State {
            best: [isa.splat(i32::MAX); V],
            second: [isa.splat(i32::MAX); V],
            group: [isa.splat(0); V],
        };
        let groups = words.chunks_exact(panel.len()).zip(bias.chunks(GROUP));
        for (group, (words, bias)) in groups.enumerate() {
            for at in (0..bias.len()).step_by(G) {
                let bias = &bias[at..(at + G).min(bias.len())];
                let task = Task {
                    panel,
                    words,
                    bias,
                    first,
                    at,
                    group: group as i32,
                };
                match bias.len() {
                    1 => task.score::<I, V, 1>(isa, &mut state),
                    2 => task.score::<I, V, 2>(isa, &mut state),
                    3 => task.score::<I, V, 3>(isa, &mut state),
                    4 => task.score::<I, V, 4>(isa, &mut state),
                    5 => task.score::<I, V, 5>(isa, &mut state),
                    6 => task.score::<I, V, 6>(isa, &mut state),
                    7 => task.score::<I, V, 7>(isa, &mut state),
                    _ => task.score::<I, V, 8>(isa, &mut state),
                }
            }
        }
        for v in 0..V {
            let at = first + v * I::LANES;
            let mut squares = isa.start(0);
            for row in panel {
                let pair = isa.load(row, at);
                squares = isa.dot(squares, pair, pair);
            }
            isa.store(isa.finish(squares), &mut out.squares, at);
            isa.store(state.best[v], &mut out.best, at);
            isa.store(state.second[v], &mut out.second, at);
            isa.store(state.group[v], &mut groups_out, at);
        }
    }
    for lane in 0..LANES {
        let place = out.best[lane] & (GROUP as i32 - 1);
        out.index[lane] = (groups_out[lane] << INDEX_BITS | place) as u32;
    }
    out
}

/// The lowest scores so far.
struct State<I: Isa, const V: usize> {
    best: [I::Vector; V],
    second: [I::Vector; V],
    /// Group of the best word.
    group: [I::Vector; V],
}

/// A few words of one group against a few vectors of lanes.
struct Task<'a> {
    panel: &'a [Row],
    words: &'a [[u32; GROUP]],
    bias: &'a [i32],
    /// The first lane.
    first: usize,
    /// The first word in the group.
    at: usize,
    group: i32,
}

impl Task<'_> {
    #[inline(always)]
    fn score<I: Isa, const V: usize, const N: usize>(&self, isa: I, state: &mut State<I, V>) {
        let mut sums = [[isa.start(0); V]; N];
        for w in 0..N {
            sums[w] = [isa.start(self.bias[w]); V];
        }
        for (row, words) in self.panel.iter().zip(self.words) {
            let mut pairs = [isa.splat(0); V];
            for v in 0..V {
                pairs[v] = isa.load(row, self.first + v * I::LANES);
            }
            for w in 0..N {
                let word = isa.splat(words[(self.at + w) % GROUP] as i32);
                for v in 0..V {
                    sums[w][v] = isa.dot(sums[w][v], pairs[v], word);
                }
            }
        }
        let group = isa.splat(self.group);
        for v in 0..V {
            let mut best = isa.finish(sums[0][v]);
            let mut second = isa.splat(i32::MAX);
            for w in 1..N {
                let score = isa.finish(sums[w][v]);
                second = isa.min(second, isa.max(best, score));
                best = isa.min(best, score);
            }
            state.group[v] = isa.if_less(best, state.best[v], group, state.group[v]);
            second = isa.min(second, isa.max(best, state.best[v]));
            state.second[v] = isa.min(state.second[v], second);
            state.best[v] = isa.min(state.best[v], best);
        }
    }
}

/// How much lower the best score must be than the second for the label to be certain, in scores with index bits:
/// `constant + by_norm |p| + by_norm2 |p|^2`.
struct Bound {
    constant: f32,
    by_norm: f32,
    by_norm2: f32,
}

/// One image, not blank, and the patches that are wanted of it.
pub(super) struct ImageSearch<'a> {
    words: &'a Words,
    whole: &'a WholeWords,
    positions: &'a [u64],
    /// From the first pixel that `positions` speaks of to the last of the last patch.
    pixels: &'a [u8],
    row_stride: usize,
    scaling: Scaling,
    bound: Bound,
}

impl<'a> ImageSearch<'a> {
    /// `None` where the scores of this image could be too large, or its patches cover too many pixels.
    pub(super) fn new(
        words: &'a Words,
        whole: &'a WholeWords,
        patches: &Patches<'a>,
        pixels: &'a [u8],
    ) -> Option<ImageSearch<'a>> {
        let n_words = patches.positions.iter().rposition(|&word| word != 0)? + 1;
        let positions = &patches.positions[..n_words];
        let last = n_words * 64 - 1 - positions[n_words - 1].leading_zeros() as usize;
        let (patch, row_stride) = (words.patch, patches.row_stride as usize);
        let end = last + (patch.height as usize - 1) * row_stride + patch.row_len();
        let (scale, centre) = (patches.scaling.scale, patches.scaling.centre.abs());
        let bias = scale / 2.0 * whole.max_norm2 + centre * whole.max_sum;
        let fits = bias / whole.step + MAX_PIXEL * whole.max_abs_sum + 1.0 <= MAX_SCORE;
        (fits && end <= MAX_PIXELS).then(|| ImageSearch {
            words,
            whole,
            positions,
            pixels: &pixels[..end],
            row_stride,
            scaling: patches.scaling,
            bound: Bound::new(words, whole, patches.scaling, bias),
        })
    }

    /// Labels the patches; how many were decided again.
    pub(super) fn search(&self, scratch: &mut Scratch) -> u64 {
        match self.words.simd {
            Simd::Portable => self.search_with(GUARANTEED, scratch),
            #[cfg(target_arch = "aarch64")]
            Simd::Neon => self.search_with(Neon, scratch),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls code compiled for what the machine has")]
            // SAFETY: `Words::new` made sure that this machine has it.
            Simd::Avx2 => unsafe { self.search_avx2(Avx2::new(), scratch) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls code compiled for what the machine has")]
            // SAFETY: as above.
            Simd::Avx512 => unsafe { self.search_avx512(Avx512::new(), scratch) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls code compiled for what the machine has")]
            // SAFETY: as above.
            Simd::Vnni => unsafe { self.search_avx512(Vnni::new(), scratch) },
            #[cfg(not(target_arch = "aarch64"))]
            Simd::Neon => unreachable!("`Words::new` takes only what the machine has"),
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 | Simd::Vnni => {
                unreachable!("`Words::new` takes only what the machine has")
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
    fn search_avx2(&self, isa: Avx2, scratch: &mut Scratch) -> u64 {
        self.search_with(isa, scratch)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
    fn search_avx512<I: Isa>(&self, isa: I, scratch: &mut Scratch) -> u64 {
        self.search_with(isa, scratch)
    }

    #[inline(always)]
    pub(super) fn search_with<I: Isa>(&self, isa: I, scratch: &mut Scratch) -> u64 {
        let patch = self.words.patch;
        let is_in_one_piece = patch.height == 1 || self.row_stride == patch.row_len();
        if let (Some(long), true) = (&self.whole.long, is_in_one_piece) {
            return self.search_long(isa, long, scratch);
        }
        scratch.band.fill(
            isa,
            self.pixels,
            self.row_stride,
            patch,
            self.positions.len(),
        );
        scratch.panel.resize(self.whole.n_pairs + 1, Row([0; ROW]));
        self.starts(&mut scratch.starts);
        self.biases(&mut scratch.bias);
        let mut seen = [0u16; 256];
        let (mut lanes, mut decided_again) = (0, 0);
        for (at, &wanted) in self.positions.iter().enumerate() {
            let constant = wanted & scratch.band.constant()[at];
            let mut varied = wanted & !constant;
            if constant != 0 {
                varied |= self.first_of_their_value(at, constant, &mut seen, &mut scratch.repeats);
            }
            for part in 0..64 / PIECE {
                let mask = (varied >> (part * PIECE)) as u16;
                if mask == 0 {
                    continue;
                }
                self.pack(isa, at * 64 + part * PIECE, mask, lanes, scratch);
                lanes += mask.count_ones() as usize;
                if lanes >= LANES {
                    decided_again += self.label(isa, LANES, scratch);
                    lanes -= LANES;
                    for row in &mut scratch.panel {
                        row.0.copy_within(LANES.., 0);
                    }
                }
            }
        }
        if lanes > 0 {
            decided_again += self.label(isa, lanes, scratch);
        }
        resolve(scratch);
        decided_again
    }

    /// Where the pairs of a patch start, from its first pixel, and which bits of them are its own: not the second half
    /// of the last in a row of odd width.
    #[inline(always)]
    fn starts(&self, starts: &mut Vec<(u32, u32)>) {
        let (patch, row_stride) = (self.words.patch, self.row_stride as u32);
        starts.clear();
        for row in 0..patch.height {
            starts.extend((0..patch.row_len() as u32).step_by(2).map(|col| {
                let used = if col + 1 < patch.row_len() as u32 {
                    u32::MAX
                } else {
                    0xffff
                };
                (row * row_stride + col, used)
            }));
        }
    }

    /// Labels long patches that each lie in one piece.
    #[inline(always)]
    fn search_long<I: Isa>(&self, isa: I, long: &LongWords, scratch: &mut Scratch) -> u64 {
        scratch.band.fill_values(self.pixels);
        self.biases(&mut scratch.bias);
        scratch.offsets.extend(positions::iter(self.positions));
        let mut decided_again = 0;
        for first in (0..scratch.offsets.len()).step_by(LANES) {
            let last = scratch.offsets.len().min(first + LANES);
            let offsets = &scratch.offsets[first..last];
            let best = isa.score_long(long, scratch.band.values(), offsets, &scratch.bias);
            decided_again += self.take(&best, first..last, scratch);
        }
        decided_again
    }

    /// The bias of each word, with the word's place in its group in the lowest bits.
    #[inline(always)]
    fn biases(&self, bias: &mut Vec<i32>) {
        // Added to a number below 2^51, this leaves the nearest whole number in the lowest bits.
        const ROUND: f64 = (3u64 << 51) as f64;
        let by_norm2 = self.scaling.scale / 2.0 / self.whole.step;
        let by_sum = self.scaling.centre / self.whole.step;
        let norms = &self.words.norms;
        bias.clear();
        bias.extend(norms.norm2.iter().zip(&norms.sum).map(|(norm2, sum)| {
            ((by_norm2 * norm2 + by_sum * sum + ROUND).to_bits() as i32) << INDEX_BITS
        }));
        for group in bias.chunks_mut(GROUP) {
            for (w, bias) in group.iter_mut().enumerate() {
                *bias |= w as i32;
            }
        }
    }

    /// Counts the patches of one value that start at the bits of `constant`, word `at` of the positions. Gives the bits of
    /// those whose value was not `seen` before: they are to be searched, for all that repeat them.
    #[inline(always)]
    fn first_of_their_value(
        &self,
        at: usize,
        constant: u64,
        seen: &mut [u16; 256],
        repeats: &mut Vec<Repeat>,
    ) -> u64 {
        let mut first = 0;
        let mut left = constant;
        while left != 0 {
            let bit = left.trailing_zeros();
            // Neighbours overlap, so they have one value; unless they are a single pixel wide.
            let n = match self.words.patch.row_len() {
                1 => 1,
                _ => (left >> bit).trailing_ones(),
            };
            left &= !(u64::MAX >> (64 - n) << bit);
            let offset = at * 64 + bit as usize;
            let pixel = self.pixels[offset];
            let place = &mut seen[usize::from(pixel)];
            if *place == 0 {
                first |= 1 << bit;
                repeats.push(Repeat {
                    offset: offset as u32,
                    label: 0,
                    pixel,
                    count: n - 1,
                });
                *place = repeats.len() as u16;
            } else {
                repeats[usize::from(*place) - 1].count += n;
            }
        }
        first
    }

    /// Appends the patches at the bits of `mask`, counted from pixel `base`, to the panel, from lane `lanes` on.
    #[inline(always)]
    fn pack<I: Isa>(&self, isa: I, base: usize, mask: u16, lanes: usize, scratch: &mut Scratch) {
        assert!(lanes < LANES);
        let pairs = &scratch.band.pairs()[base..];
        let offsets = std::array::from_fn(|i| (base + i) as u32);
        let (rows, last) = scratch.panel.split_at_mut(self.whole.n_pairs);
        for (row, &(start, used)) in rows.iter_mut().zip(&scratch.starts) {
            let to = row.0[lanes..].first_chunk_mut::<PIECE>();
            let from = pairs[start as usize..].first_chunk::<PIECE>();
            if let (Some(to), Some(from)) = (to, from) {
                isa.compress(&from.map(|pair| pair & used), mask, to);
            }
        }
        if let Some(to) = last[0].0[lanes..].first_chunk_mut::<PIECE>() {
            isa.compress(&offsets, mask, to);
        }
    }

    /// Labels the first `n` lanes of the panel; how many were decided again.
    #[inline(always)]
    fn label<I: Isa>(&self, isa: I, n: usize, scratch: &mut Scratch) -> u64 {
        let (panel, offsets) = scratch.panel.split_at(self.whole.n_pairs);
        let best = isa.score(panel, &self.whole.grouped, &scratch.bias, n);
        let first = scratch.offsets.len();
        scratch.offsets.extend_from_slice(&offsets[0].0[..n]);
        self.take(&best, first..first + n, scratch)
    }

    /// Takes the labels of the patches `which` of those searched; how many were decided again.
    #[inline(always)]
    fn take(&self, best: &Best, which: Range<usize>, scratch: &mut Scratch) -> u64 {
        let n = which.len();
        scratch.labels.extend_from_slice(&best.index[..n]);
        let squares = best.squares[..n].iter().map(|&squares| squares as u32);
        scratch.squares.extend(squares);
        if self.words.k() == 1 {
            return 0;
        }
        let mut open = self.bound.open_lanes(best) & (u64::MAX >> (64 - n)) as u32;
        let n_open = open.count_ones();
        while open != 0 {
            let at = which.start + open.trailing_zeros() as usize;
            open &= open - 1;
            self.normalised(scratch.offsets[at], &mut scratch.values);
            scratch.labels[at] = self.words.exact.decide(&scratch.values);
        }
        u64::from(n_open)
    }

    /// The normalised values of one patch.
    #[inline(always)]
    fn normalised(&self, offset: u32, values: &mut Vec<f64>) {
        values.clear();
        for row in 0..self.words.patch.height as usize {
            let start = offset as usize + row * self.row_stride;
            let pixels = &self.pixels[start..start + self.words.patch.row_len()];
            values.extend(pixels.iter().map(|&p| self.scaling.apply(f64::from(p))));
        }
    }
}

/// Gives each repeat the label that its patch was found to have; those that repeat nothing go.
fn resolve(scratch: &mut Scratch) {
    let (offsets, labels) = (&scratch.offsets, &scratch.labels);
    scratch.repeats.retain_mut(|repeat| {
        match offsets.binary_search(&repeat.offset) {
            Ok(at) => repeat.label = labels[at],
            Err(_) => unreachable!("the first of each value is searched"),
        }
        repeat.count > 0
    });
}

impl Bound {
    fn new(words: &Words, whole: &WholeWords, scaling: Scaling, bias: f64) -> Bound {
        let (scale, centre) = (scaling.scale, scaling.centre.abs());
        let norm = words.norms.max_norm * SLACK;
        let law = LawError::new(words.d() as f64, scale, centre, norm, bias);
        let per_step = f64::from(1 << INDEX_BITS) / whole.step;
        // Of two scores: what rounding words, rounding biases and the law can be wrong by; then the index bits.
        let constant = 2.0 * law.constant * per_step + f64::from(2 << INDEX_BITS);
        Bound {
            constant: (SLACK * constant) as f32,
            by_norm: (2.0 * SLACK * whole.max_error * per_step) as f32,
            by_norm2: (2.0 * SLACK * law.by_norm2 * per_step) as f32,
        }
    }

    /// Which lanes the scores do not decide.
    #[inline(always)]
    fn open_lanes(&self, best: &Best) -> u32 {
        let mut is_open = [false; LANES];
        for lane in 0..LANES {
            let norm2 = best.squares[lane] as f32;
            let needed = self.constant + self.by_norm * norm2.sqrt() + self.by_norm2 * norm2;
            // Written so that NaN and infinite bounds leave the lane open.
            let gap = best.second[lane].wrapping_sub(best.best[lane]) as f32;
            let is_decided = gap > needed && needed < f32::INFINITY;
            is_open[lane] = !is_decided;
        }
        let mut open = 0;
        for lane in 0..LANES {
            open |= u32::from(is_open[lane]) << lane;
        }
        open
    }
}
