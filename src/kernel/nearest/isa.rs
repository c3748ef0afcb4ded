//! What the whole-number search asks of an instruction set, in plain Rust.
//!
//! This is the safe twin of the implementations in [`super::x86`] and [`super::neon`]: all give the same numbers, bit for
//! bit, because all of them are whole.

use super::long::{LongWords, score_long};
use super::whole::{Best, Row, score};

/// An instruction set: vectors of `LANES` i32, and a few operations on them. A value of the type is the proof that the
/// machine has it.
pub(super) trait Isa: Copy {
    /// Numbers in a vector.
    const LANES: usize;
    /// A vector of i32.
    type Vector: Copy;
    /// Running sums that become a vector.
    type Sums: Copy;

    /// All lanes the same.
    fn splat(self, value: i32) -> Self::Vector;
    /// Lanes `at..at + LANES` of a panel's row.
    fn load(self, row: &Row, at: usize) -> Self::Vector;
    /// `LANES` pairs of neighbours, from `from[at]` on.
    fn load_pairs(self, from: &[u16], at: usize) -> Self::Vector;
    /// Writes a vector to `to[at..at + LANES]`.
    fn store(self, vector: Self::Vector, to: &mut [i32; super::LANES], at: usize);
    /// Sums that start at `bias`.
    fn start(self, bias: i32) -> Self::Sums;
    /// Adds, in each lane, the products of both i16 halves; wraps.
    fn dot(self, sums: Self::Sums, a: Self::Vector, b: Self::Vector) -> Self::Sums;
    /// The sum of all lanes; wraps.
    fn total(self, sums: Self::Sums) -> i32;
    /// The sums.
    fn finish(self, sums: Self::Sums) -> Self::Vector;
    /// The smaller, lane by lane.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger, lane by lane.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `then` where `a < b`, `otherwise` elsewhere.
    fn if_less(
        self,
        a: Self::Vector,
        b: Self::Vector,
        then: Self::Vector,
        otherwise: Self::Vector,
    ) -> Self::Vector;
    /// Moves the numbers whose bit is set to the front, in order; what follows them is of no meaning.
    #[inline(always)]
    fn compress(self, from: &[u32; 16], mask: u16, to: &mut [u32; 16]) {
        let mut left = mask;
        let mut at = 0;
        while left != 0 {
            to[at] = from[left.trailing_zeros() as usize];
            left &= left - 1;
            at += 1;
        }
    }

    /// Bit `i` says whether byte `i` of both is the same.
    #[inline(always)]
    fn equal_bits(self, a: &[u8; 64], b: &[u8; 64]) -> u64 {
        let mut bits = 0;
        for i in 0..64 {
            bits |= u64::from(a[i] == b[i]) << i;
        }
        bits
    }

    /// [`score`], compiled for this instruction set, with as many vectors and words at a time as its registers hold.
    #[inline(never)]
    fn score(self, panel: &[Row], words: &[[u32; 8]], bias: &[i32], n_lanes: usize) -> Best {
        score::<Self, 2, 4>(self, panel, words, bias, n_lanes)
    }

    /// [`score_long`], likewise.
    #[inline(never)]
    fn score_long(self, long: &LongWords, values: &[u16], offsets: &[u32], bias: &[i32]) -> Best {
        score_long::<Self, 2, 4>(self, long, values, offsets, bias)
    }
}

/// Plain Rust, for whatever the target guarantees; where that is SSE2, tests alone need it.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[derive(Clone, Copy)]
pub(super) struct Plain;

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Isa for Plain {
    const LANES: usize = 8;
    type Vector = [i32; 8];
    type Sums = [i32; 8];

    #[inline(always)]
    fn splat(self, value: i32) -> [i32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn load(self, row: &Row, at: usize) -> [i32; 8] {
        std::array::from_fn(|lane| row.0[at + lane] as i32)
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u16], at: usize) -> [i32; 8] {
        let values = &from[at..at + 16];
        std::array::from_fn(|lane| {
            i32::from(values[2 * lane]) | i32::from(values[2 * lane + 1]) << 16
        })
    }

    #[inline(always)]
    fn store(self, vector: [i32; 8], to: &mut [i32; super::LANES], at: usize) {
        to[at..at + 8].copy_from_slice(&vector);
    }

    #[inline(always)]
    fn start(self, bias: i32) -> [i32; 8] {
        [bias; 8]
    }

    #[inline(always)]
    fn dot(self, sums: [i32; 8], a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| {
            let (a, b) = (a[lane], b[lane]);
            let low = i32::from(a as i16) * i32::from(b as i16);
            let high = (a >> 16) * (b >> 16);
            sums[lane].wrapping_add(low.wrapping_add(high))
        })
    }

    #[inline(always)]
    fn total(self, sums: [i32; 8]) -> i32 {
        sums.iter()
            .fold(0, |total: i32, &sum| total.wrapping_add(sum))
    }

    #[inline(always)]
    fn finish(self, sums: [i32; 8]) -> [i32; 8] {
        sums
    }

    #[inline(always)]
    fn min(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| a[lane].min(b[lane]))
    }

    #[inline(always)]
    fn max(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| a[lane].max(b[lane]))
    }

    #[inline(always)]
    fn if_less(self, a: [i32; 8], b: [i32; 8], then: [i32; 8], otherwise: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|lane| {
            if a[lane] < b[lane] {
                then[lane]
            } else {
                otherwise[lane]
            }
        })
    }
}
