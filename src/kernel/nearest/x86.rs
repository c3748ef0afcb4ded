//! The whole-number search on SSE2, AVX2, AVX-512 and AVX-512 with VNNI.
//!
//! Unsafe because intrinsics are compiled for instructions that the target does not guarantee. Each type is made only
//! where the machine was found to have them ([`super::Simd::is_available`], asserted by [`super::Words::new`]), and every
//! pointer is that of an array of the size that is read or written. The safe twin is [`super::isa::Plain`].

#![expect(unsafe_code, reason = "intrinsics; see above")]

use std::arch::x86_64::*;

use super::isa::Isa;
use super::long::{LongWords, score_long};
use super::whole::{Best, Row, score};

/// SSE2, which every 64-bit x86 has: products of pairs, then a sum.
#[derive(Clone, Copy)]
pub(super) struct Sse2;

/// AVX2: the same on twice as many.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// AVX-512 F and BW: the same on four times as many.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// AVX-512 VNNI: products and sum in one instruction.
#[derive(Clone, Copy)]
pub(super) struct Vnni(());

impl Avx2 {
    /// # Safety
    /// The machine has AVX2 and FMA.
    pub(super) unsafe fn new() -> Avx2 {
        Avx2(())
    }
}

impl Avx512 {
    /// # Safety
    /// The machine has AVX-512 F and BW, AVX2 and FMA.
    pub(super) unsafe fn new() -> Avx512 {
        Avx512(())
    }
}

impl Vnni {
    /// # Safety
    /// The machine has AVX-512 F, BW and VNNI, AVX2 and FMA.
    pub(super) unsafe fn new() -> Vnni {
        Vnni(())
    }
}

#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn score_avx2(isa: Avx2, panel: &[Row], words: &[[u32; 8]], bias: &[i32], n_lanes: usize) -> Best {
    score::<Avx2, 2, 4>(isa, panel, words, bias, n_lanes)
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn score_avx512(
    isa: Avx512,
    panel: &[Row],
    words: &[[u32; 8]],
    bias: &[i32],
    n_lanes: usize,
) -> Best {
    // One vector is enough for few lanes.
    match n_lanes {
        0..=16 => score::<Avx512, 1, 8>(isa, panel, words, bias, n_lanes),
        _ => score::<Avx512, 2, 8>(isa, panel, words, bias, n_lanes),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn score_vnni(isa: Vnni, panel: &[Row], words: &[[u32; 8]], bias: &[i32], n_lanes: usize) -> Best {
    // One vector is enough for few lanes.
    match n_lanes {
        0..=16 => score::<Vnni, 1, 8>(isa, panel, words, bias, n_lanes),
        _ => score::<Vnni, 2, 8>(isa, panel, words, bias, n_lanes),
    }
}

#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn score_long_avx2(
    isa: Avx2,
    long: &LongWords,
    values: &[u16],
    offsets: &[u32],
    bias: &[i32],
) -> Best {
    score_long::<Avx2, 2, 4>(isa, long, values, offsets, bias)
}

#[target_feature(enable = "avx512f,avx512bw,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn score_long_avx512(
    isa: Avx512,
    long: &LongWords,
    values: &[u16],
    offsets: &[u32],
    bias: &[i32],
) -> Best {
    score_long::<Avx512, 4, 5>(isa, long, values, offsets, bias)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
#[inline(never)]
fn score_long_vnni(
    isa: Vnni,
    long: &LongWords,
    values: &[u16],
    offsets: &[u32],
    bias: &[i32],
) -> Best {
    score_long::<Vnni, 4, 5>(isa, long, values, offsets, bias)
}

/// For each mask of 8, the places of its set bits, ascending.
static PLACES: [[u32; 8]; 256] = places();

const fn places() -> [[u32; 8]; 256] {
    let mut all = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut at, mut bit) = (0, 0);
        while bit < 8 {
            if mask >> bit & 1 == 1 {
                all[mask][at] = bit as u32;
                at += 1;
            }
            bit += 1;
        }
        mask += 1;
    }
    all
}

impl Isa for Sse2 {
    const LANES: usize = 4;
    type Vector = __m128i;
    type Sums = __m128i;

    #[inline(always)]
    fn splat(self, value: i32) -> __m128i {
        // SAFETY: the target has SSE2.
        unsafe { _mm_set1_epi32(value) }
    }

    #[inline(always)]
    fn load(self, row: &Row, at: usize) -> __m128i {
        let lanes = &row.0[at..at + 4];
        // SAFETY: the target has SSE2; `lanes` is 16 bytes.
        unsafe { _mm_loadu_si128(lanes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u16], at: usize) -> __m128i {
        let values = &from[at..at + 8];
        // SAFETY: the target has SSE2; `values` is 16 bytes.
        unsafe { _mm_loadu_si128(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m128i, to: &mut [i32; super::LANES], at: usize) {
        let lanes = &mut to[at..at + 4];
        // SAFETY: the target has SSE2; `lanes` is 16 bytes.
        unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn start(self, bias: i32) -> __m128i {
        self.splat(bias)
    }

    #[inline(always)]
    fn dot(self, sums: __m128i, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the target has SSE2.
        unsafe { _mm_add_epi32(sums, _mm_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn total(self, sums: __m128i) -> i32 {
        // SAFETY: the target has SSE2.
        unsafe {
            let halves = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
            let total = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b10_11_00_01>(halves));
            _mm_cvtsi128_si32(total)
        }
    }

    #[inline(always)]
    fn finish(self, sums: __m128i) -> __m128i {
        sums
    }

    #[inline(always)]
    fn min(self, a: __m128i, b: __m128i) -> __m128i {
        self.if_less(a, b, a, b)
    }

    #[inline(always)]
    fn max(self, a: __m128i, b: __m128i) -> __m128i {
        self.if_less(a, b, b, a)
    }

    #[inline(always)]
    fn if_less(self, a: __m128i, b: __m128i, then: __m128i, otherwise: __m128i) -> __m128i {
        // SAFETY: the target has SSE2.
        unsafe {
            let less = _mm_cmplt_epi32(a, b);
            _mm_or_si128(_mm_and_si128(less, then), _mm_andnot_si128(less, otherwise))
        }
    }
}

impl Isa for Avx2 {
    const LANES: usize = 8;
    type Vector = __m256i;
    type Sums = __m256i;

    #[inline(always)]
    fn splat(self, value: i32) -> __m256i {
        // SAFETY: the value of `self` proves AVX2.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    fn load(self, row: &Row, at: usize) -> __m256i {
        let lanes = &row.0[at..at + 8];
        // SAFETY: AVX2 as above; `lanes` is 32 bytes.
        unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_pairs(self, from: &[u16], at: usize) -> __m256i {
        let values = &from[at..at + 16];
        // SAFETY: AVX2 as above; `values` is 32 bytes.
        unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m256i, to: &mut [i32; super::LANES], at: usize) {
        let lanes = &mut to[at..at + 8];
        // SAFETY: AVX2 as above; `lanes` is 32 bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn start(self, bias: i32) -> __m256i {
        self.splat(bias)
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: AVX2 as above.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn total(self, sums: __m256i) -> i32 {
        // SAFETY: AVX2 as above.
        let half = unsafe {
            _mm_add_epi32(
                _mm256_castsi256_si128(sums),
                _mm256_extracti128_si256::<1>(sums),
            )
        };
        Sse2.total(half)
    }

    #[inline(always)]
    fn finish(self, sums: __m256i) -> __m256i {
        sums
    }

    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: AVX2 as above.
        unsafe { _mm256_min_epi32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: AVX2 as above.
        unsafe { _mm256_max_epi32(a, b) }
    }

    #[inline(always)]
    fn if_less(self, a: __m256i, b: __m256i, then: __m256i, otherwise: __m256i) -> __m256i {
        // SAFETY: AVX2 as above.
        unsafe { _mm256_blendv_epi8(otherwise, then, _mm256_cmpgt_epi32(b, a)) }
    }

    #[inline(always)]
    fn compress(self, from: &[u32; 16], mask: u16, to: &mut [u32; 16]) {
        let low = usize::from(mask & 0xff);
        let n_low = low.count_ones() as usize;
        let halves = [
            (&from[..8], low, 0),
            (&from[8..], usize::from(mask >> 8), n_low),
        ];
        for (from, mask, at) in halves {
            let to = &mut to[at..at + 8];
            // SAFETY: AVX2 as above; `from`, `to` and the places are 32 bytes each.
            unsafe {
                let places = _mm256_loadu_si256(PLACES[mask].as_ptr().cast());
                let from = _mm256_loadu_si256(from.as_ptr().cast());
                _mm256_storeu_si256(
                    to.as_mut_ptr().cast(),
                    _mm256_permutevar8x32_epi32(from, places),
                );
            }
        }
    }

    #[inline(always)]
    fn equal_bits(self, a: &[u8; 64], b: &[u8; 64]) -> u64 {
        let half = |at: usize| {
            let (a, b) = (&a[at..at + 32], &b[at..at + 32]);
            // SAFETY: AVX2 as above; `a` and `b` are 32 bytes.
            let bits = unsafe {
                let a = _mm256_loadu_si256(a.as_ptr().cast());
                let b = _mm256_loadu_si256(b.as_ptr().cast());
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b))
            };
            u64::from(bits as u32)
        };
        half(0) | half(32) << 32
    }

    #[inline(always)]
    fn score(self, panel: &[Row], words: &[[u32; 8]], bias: &[i32], n_lanes: usize) -> Best {
        // SAFETY: AVX2 and FMA as above; machines with them have BMI, POPCNT and LZCNT.
        unsafe { score_avx2(self, panel, words, bias, n_lanes) }
    }

    #[inline(always)]
    fn score_long(self, long: &LongWords, values: &[u16], offsets: &[u32], bias: &[i32]) -> Best {
        // SAFETY: as for `score`.
        unsafe { score_long_avx2(self, long, values, offsets, bias) }
    }
}

/// Both 512-bit types differ in `dot` and `score` alone.
macro_rules! avx512 {
    ($name:ident, $score:ident, $score_long:ident, |$sums:ident, $a:ident, $b:ident| $dot:expr) => {
        impl Isa for $name {
            const LANES: usize = 16;
            type Vector = __m512i;
            type Sums = __m512i;

            #[inline(always)]
            fn splat(self, value: i32) -> __m512i {
                // SAFETY: the value of `self` proves AVX-512 F and BW.
                unsafe { _mm512_set1_epi32(value) }
            }

            #[inline(always)]
            fn load(self, row: &Row, at: usize) -> __m512i {
                let lanes = &row.0[at..at + 16];
                // SAFETY: AVX-512 as above; `lanes` is 64 bytes.
                unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
            }

            #[inline(always)]
            fn load_pairs(self, from: &[u16], at: usize) -> __m512i {
                let values = &from[at..at + 32];
                // SAFETY: AVX-512 as above; `values` is 64 bytes.
                unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
            }

            #[inline(always)]
            fn store(self, vector: __m512i, to: &mut [i32; super::LANES], at: usize) {
                let lanes = &mut to[at..at + 16];
                // SAFETY: AVX-512 as above; `lanes` is 64 bytes.
                unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) }
            }

            #[inline(always)]
            fn start(self, bias: i32) -> __m512i {
                self.splat(bias)
            }

            #[inline(always)]
            fn dot(self, $sums: __m512i, $a: __m512i, $b: __m512i) -> __m512i {
                // SAFETY: the value of `self` proves every feature that is used.
                unsafe { $dot }
            }

            #[inline(always)]
            fn total(self, sums: __m512i) -> i32 {
                // SAFETY: AVX-512 as above.
                unsafe { _mm512_reduce_add_epi32(sums) }
            }

            #[inline(always)]
            fn finish(self, sums: __m512i) -> __m512i {
                sums
            }

            #[inline(always)]
            fn min(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: AVX-512 as above.
                unsafe { _mm512_min_epi32(a, b) }
            }

            #[inline(always)]
            fn max(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: AVX-512 as above.
                unsafe { _mm512_max_epi32(a, b) }
            }

            #[inline(always)]
            fn if_less(self, a: __m512i, b: __m512i, then: __m512i, otherwise: __m512i) -> __m512i {
                // SAFETY: AVX-512 as above.
                unsafe { _mm512_mask_mov_epi32(otherwise, _mm512_cmplt_epi32_mask(a, b), then) }
            }

            #[inline(always)]
            fn compress(self, from: &[u32; 16], mask: u16, to: &mut [u32; 16]) {
                // SAFETY: AVX-512 as above; both arrays are 64 bytes.
                unsafe {
                    let from = _mm512_loadu_si512(from.as_ptr().cast());
                    let front = _mm512_maskz_compress_epi32(mask, from);
                    _mm512_storeu_si512(to.as_mut_ptr().cast(), front);
                }
            }

            #[inline(always)]
            fn equal_bits(self, a: &[u8; 64], b: &[u8; 64]) -> u64 {
                // SAFETY: AVX-512 as above; both arrays are 64 bytes.
                unsafe {
                    let a = _mm512_loadu_si512(a.as_ptr().cast());
                    let b = _mm512_loadu_si512(b.as_ptr().cast());
                    _mm512_cmpeq_epi8_mask(a, b)
                }
            }

            #[inline(always)]
            fn score(
                self,
                panel: &[Row],
                words: &[[u32; 8]],
                bias: &[i32],
                n_lanes: usize,
            ) -> Best {
                // SAFETY: the value of `self` proves every feature; machines with AVX-512 have BMI, POPCNT and LZCNT.
                unsafe { $score(self, panel, words, bias, n_lanes) }
            }

            #[inline(always)]
            fn score_long(
                self,
                long: &LongWords,
                values: &[u16],
                offsets: &[u32],
                bias: &[i32],
            ) -> Best {
                // SAFETY: as for `score`.
                unsafe { $score_long(self, long, values, offsets, bias) }
            }
        }
    };
}

avx512!(Avx512, score_avx512, score_long_avx512, |sums, a, b| {
    _mm512_add_epi32(sums, _mm512_madd_epi16(a, b))
});
avx512!(Vnni, score_vnni, score_long_vnni, |sums, a, b| {
    _mm512_dpwssd_epi32(sums, a, b)
});
