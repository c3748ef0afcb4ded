//! The whole-number search on Arm's NEON, which every 64-bit Arm has.
//!
//! Unsafe because loads and stores go through pointers; every pointer is that of an array of the size that is read or
//! written. The safe twin is [`super::isa::Plain`].

#![expect(unsafe_code, reason = "intrinsics; see above")]

use std::arch::aarch64::*;

use super::isa::Isa;
use super::whole::Row;

/// NEON: products of the lower and of the upper patches' pairs, added up at the end.
#[derive(Clone, Copy)]
pub(super) struct Neon;

impl Isa for Neon {
    const LANES: usize = 4;
    type Vector = int32x4_t;
    // Products of lanes 0 and 1, first halves and second halves in turn; of lanes 2 and 3.
    type Sums = (int32x4_t, int32x4_t);

    #[inline(always)]
    fn splat(self, value: i32) -> int32x4_t {
        // SAFETY: the target has NEON.
        unsafe { vdupq_n_s32(value) }
    }

    #[inline(always)]
    fn load(self, row: &Row, at: usize) -> int32x4_t {
        let lanes = &row.0[at..at + 4];
        // SAFETY: the target has NEON; `lanes` is 16 bytes.
        unsafe { vreinterpretq_s32_u32(vld1q_u32(lanes.as_ptr())) }
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u16], at: usize) -> int32x4_t {
        let values = &from[at..at + 8];
        // SAFETY: the target has NEON; `values` is 16 bytes.
        unsafe { vreinterpretq_s32_u16(vld1q_u16(values.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, vector: int32x4_t, to: &mut [i32; super::LANES], at: usize) {
        let lanes = &mut to[at..at + 4];
        // SAFETY: the target has NEON; `lanes` is 16 bytes.
        unsafe { vst1q_s32(lanes.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn start(self, bias: i32) -> (int32x4_t, int32x4_t) {
        let first_halves = [bias, 0, bias, 0];
        // SAFETY: the target has NEON; the array is 16 bytes.
        let half = unsafe { vld1q_s32(first_halves.as_ptr()) };
        (half, half)
    }

    #[inline(always)]
    fn dot(
        self,
        sums: (int32x4_t, int32x4_t),
        a: int32x4_t,
        b: int32x4_t,
    ) -> (int32x4_t, int32x4_t) {
        // SAFETY: the target has NEON.
        unsafe {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            (
                vmlal_s16(sums.0, vget_low_s16(a), vget_low_s16(b)),
                vmlal_high_s16(sums.1, a, b),
            )
        }
    }

    #[inline(always)]
    fn total(self, sums: (int32x4_t, int32x4_t)) -> i32 {
        // SAFETY: the target has NEON.
        unsafe { vaddvq_s32(vaddq_s32(sums.0, sums.1)) }
    }

    #[inline(always)]
    fn finish(self, sums: (int32x4_t, int32x4_t)) -> int32x4_t {
        // SAFETY: the target has NEON.
        unsafe { vpaddq_s32(sums.0, sums.1) }
    }

    #[inline(always)]
    fn min(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the target has NEON.
        unsafe { vminq_s32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the target has NEON.
        unsafe { vmaxq_s32(a, b) }
    }

    #[inline(always)]
    fn if_less(
        self,
        a: int32x4_t,
        b: int32x4_t,
        then: int32x4_t,
        otherwise: int32x4_t,
    ) -> int32x4_t {
        // SAFETY: the target has NEON.
        unsafe { vbslq_s32(vcltq_s32(a, b), then, otherwise) }
    }
}
