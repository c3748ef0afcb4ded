//! The band: the pixels under one search, as padded bytes and as pairs, and which patches of it are one value all over.
//!
//! A band is short (at most [`MAX_PIXELS`]), so all of this stays in the cache however large the image is.

use super::isa::Isa;
use crate::kernel::grid::PatchShape;
use crate::kernel::positions::and_steps;

/// Pixels under one search at most; where a span of patches covers more, pixels are read in place.
pub(super) const MAX_PIXELS: usize = 1 << 16;
/// Pixels that may be read past the last.
const PADDING: usize = 64 + 16;

/// Working memory for one band after another.
#[derive(Debug, Default, Clone)]
pub(super) struct Band {
    // The pixels, then zeros: a row and the padding more.
    pixels: Vec<u8>,
    // Pixel i in the low half, pixel i + 1 in the high half.
    pairs: Vec<u32>,
    // Pixels as 16 bits.
    values: Vec<u16>,
    // Bit i: a patch at pixel i is one value all over.
    constant: Vec<u64>,
    below: Vec<u64>,
}

impl Band {
    /// Upper bound on its heap bytes: pixels and what may be read past them, pairs, bits; and, for patches that may be
    /// long, values.
    pub(super) fn heap_bytes(may_be_long: bool) -> u64 {
        let pixel_bytes = if may_be_long { 7 } else { 5 };
        let bits = 2 * (MAX_PIXELS / 64 + 1) * 8;
        (pixel_bytes * (MAX_PIXELS + 64 + PADDING) + bits) as u64
    }

    /// Takes `pixels`, in rows of `row_stride`, for `n_words` words of positions.
    #[inline(always)]
    pub(super) fn fill<I: Isa>(
        &mut self,
        isa: I,
        pixels: &[u8],
        row_stride: usize,
        patch: PatchShape,
        n_words: usize,
    ) {
        let padded = self.pad(pixels);
        self.pairs
            .reserve_exact(padded.saturating_sub(self.pairs.len()));
        self.pairs.resize(padded, 0);
        let ends = self.pixels[1..].iter();
        for ((pair, &first), &second) in self.pairs.iter_mut().zip(&self.pixels).zip(ends) {
            *pair = u32::from(first) | u32::from(second) << 16;
        }
        self.find_constant(isa, row_stride, patch, n_words);
    }

    /// Takes `pixels`, of which only [`Band::values`] are wanted.
    #[inline(always)]
    pub(super) fn fill_values(&mut self, pixels: &[u8]) {
        let padded = self.pad(pixels);
        self.values.clear();
        self.values.reserve_exact(padded);
        self.values
            .extend(self.pixels.iter().map(|&pixel| u16::from(pixel)));
    }

    /// Copies the pixels, zeros after them; how many there are now.
    #[inline(always)]
    fn pad(&mut self, pixels: &[u8]) -> usize {
        let padded = pixels.len().next_multiple_of(64) + PADDING;
        self.pixels.clear();
        self.pixels.reserve_exact(padded);
        self.pixels.extend_from_slice(pixels);
        self.pixels.resize(padded, 0);
        padded
    }

    /// The pixels as 16 bits, and zeros after them.
    pub(super) fn values(&self) -> &[u16] {
        &self.values
    }

    /// The pixels, and zeros after them.
    pub(super) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Pairs of neighbours, as many as pixels.
    pub(super) fn pairs(&self) -> &[u32] {
        &self.pairs
    }

    /// Bit `i` says whether a patch at pixel `i` is one value all over; of no meaning where no patch fits.
    pub(super) fn constant(&self) -> &[u64] {
        &self.constant
    }

    /// A patch is constant where each row equals its right neighbour's and lower neighbour's values.
    #[inline(always)]
    fn find_constant<I: Isa>(
        &mut self,
        isa: I,
        row_stride: usize,
        patch: PatchShape,
        n_words: usize,
    ) {
        let (height, width) = (patch.height as usize, patch.row_len());
        let n_bits = self.pixels.len() - PADDING;
        equal_to(isa, &self.pixels, n_bits, 1, &mut self.constant);
        if width > 1 {
            and_steps(&mut self.constant, 1, width - 1);
        } else {
            self.constant.fill(u64::MAX);
        }
        if height > 1 {
            equal_to(isa, &self.pixels, n_bits, row_stride, &mut self.below);
            and_steps(&mut self.below, row_stride, height - 1);
            and_steps(&mut self.constant, row_stride, height);
            for (constant, below) in self.constant.iter_mut().zip(&self.below) {
                *constant &= below;
            }
        }
        self.constant.truncate(n_words);
    }
}

/// Which of the first `n_bits` pixels equal the one `step` after them, over what `bits` held; false where there is none.
#[inline(always)]
fn equal_to<I: Isa>(isa: I, pixels: &[u8], n_bits: usize, step: usize, bits: &mut Vec<u64>) {
    bits.clear();
    bits.reserve_exact(n_bits / 64);
    bits.resize(n_bits / 64, 0);
    let (here, there) = (
        pixels.as_chunks::<64>().0,
        &pixels[step.min(pixels.len())..],
    );
    for ((bits, here), there) in bits.iter_mut().zip(here).zip(there.as_chunks::<64>().0) {
        *bits = isa.equal_bits(here, there);
    }
}
