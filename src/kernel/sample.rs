//! Sampled patches, kept compactly: the raw pixels of an image, its centre and scale, and where the patches start.
//!
//! A record holds the patches of one image. Patches overlap, so the image is usually smaller than its patches (784 bytes
//! against 396 * 36 on MNIST); where it is not, only the patches' own pixels are kept. Records lie end to end in one
//! run of 64-bit words, which may be memory or a mapped file: this module never knows which.
//! The patches of a record stand in drawn (random) order, so any run of them is a random choice.

use super::grid::PatchShape;
use super::image::PixelsRef;
use super::normalize::Scaling;

/// How many patches of a record are taken together: one panel of the nearest-word kernel, one piece of a mini-batch.
pub const BLOCK_PATCHES: usize = 32;

/// The sampled patches of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Row number of the image over all shards.
    pub image: u64,
    /// Centre and scale of the whole image.
    pub scaling: Scaling,
    /// Pixels from one row of a patch to its next row.
    pub row_stride: u32,
    /// Index of each patch's top-left pixel in `pixels`, in the order drawn.
    pub offsets: &'a [u32],
    /// Raw pixels.
    pub pixels: PixelsRef<'a>,
}

impl Record<'_> {
    /// Appends the record to `words`, in whichever form is smaller: the whole image, or its patches cut out.
    pub fn append_to(&self, patch: PatchShape, words: &mut Vec<u64>) {
        let cut_out = self.offsets.len() * patch.len();
        if cut_out < self.pixels.len() {
            let offsets: Vec<u32> = (0..self.offsets.len())
                .map(|i| (i * patch.len()) as u32)
                .collect();
            match self.pixels {
                PixelsRef::U8(pixels) => {
                    let pixels = self.cut(patch, pixels);
                    self.append_as(patch.width, &offsets, PixelsRef::U8(&pixels), words);
                }
                PixelsRef::F32(pixels) => {
                    let pixels = self.cut(patch, pixels);
                    self.append_as(patch.width, &offsets, PixelsRef::F32(&pixels), words);
                }
            }
        } else {
            self.append_as(self.row_stride, self.offsets, self.pixels, words);
        }
    }

    fn cut<T: Copy>(&self, patch: PatchShape, pixels: &[T]) -> Vec<T> {
        let mut out = Vec::with_capacity(self.offsets.len() * patch.len());
        for &offset in self.offsets {
            for row in 0..patch.height {
                let start = (offset + row * self.row_stride) as usize;
                out.extend_from_slice(&pixels[start..start + patch.width as usize]);
            }
        }
        out
    }

    fn append_as(
        &self,
        row_stride: u32,
        offsets: &[u32],
        pixels: PixelsRef<'_>,
        words: &mut Vec<u64>,
    ) {
        let (kind, bytes): (u64, &[u8]) = match pixels {
            PixelsRef::U8(pixels) => (0, pixels),
            PixelsRef::F32(pixels) => (1, bytemuck::cast_slice(pixels)),
        };
        words.push(self.image);
        words.push(self.scaling.centre.to_bits());
        words.push(self.scaling.scale.to_bits());
        words.push(u64::from(row_stride) | (offsets.len() as u64) << 32);
        words.push(pixels.len() as u64 | kind << 63);
        append_bytes(bytemuck::cast_slice(offsets), words);
        append_bytes(bytes, words);
    }
}

const HEADER_WORDS: usize = 5;

fn append_bytes(bytes: &[u8], words: &mut Vec<u64>) {
    let start = words.len();
    words.resize(start + bytes.len().div_ceil(8), 0);
    bytemuck::cast_slice_mut(&mut words[start..])[..bytes.len()].copy_from_slice(bytes);
}

/// Where a record starts: in the run of words, and in the numbering of blocks and patches over the whole sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct IndexEntry {
    /// First word of the record.
    pub word: u64,
    /// Blocks in all records before it.
    pub block: u64,
    /// Patches in all records before it.
    pub patch: u64,
}

/// A finished sample, borrowed from memory or from a mapped file.
#[derive(Debug, Clone, Copy)]
pub struct SampleView<'a> {
    words: &'a [u64],
    // One entry a record and one past the end.
    index: &'a [IndexEntry],
    patch: PatchShape,
}

/// Up to [`BLOCK_PATCHES`] patches of one record.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The record that the patches belong to, with `offsets` cut down to this block's.
    pub record: Record<'a>,
    /// Number of the block's first patch over the whole sample.
    pub first_patch: u64,
}

impl<'a> SampleView<'a> {
    /// A view of `words` as records; `index` has an entry a record and one past the end.
    pub fn new(words: &'a [u64], index: &'a [IndexEntry], patch: PatchShape) -> SampleView<'a> {
        debug_assert!(!index.is_empty());
        SampleView {
            words,
            index,
            patch,
        }
    }

    /// The shape of every patch.
    pub fn patch(&self) -> PatchShape {
        self.patch
    }

    /// Number of records: images that have at least one sampled patch.
    pub fn n_records(&self) -> usize {
        self.index.len() - 1
    }

    /// Number of patches.
    pub fn n_patches(&self) -> u64 {
        self.index.last().map_or(0, |end| end.patch)
    }

    /// Number of blocks.
    pub fn n_blocks(&self) -> u64 {
        self.index.last().map_or(0, |end| end.block)
    }

    /// Record `index`.
    pub fn record(&self, index: usize) -> Record<'a> {
        let words = self.words;
        let at = self.index[index].word as usize;
        let row_stride = words[at + 3] as u32;
        let n_offsets = (words[at + 3] >> 32) as usize;
        let n_pixels = (words[at + 4] & !(1 << 63)) as usize;
        let is_f32 = words[at + 4] >> 63 == 1;
        let offsets_at = at + HEADER_WORDS;
        let offsets: &[u32] = bytemuck::cast_slice(&words[offsets_at..]);
        let pixels_at = offsets_at + (n_offsets * 4).div_ceil(8);
        let pixels = if is_f32 {
            PixelsRef::F32(&bytemuck::cast_slice(&words[pixels_at..])[..n_pixels])
        } else {
            PixelsRef::U8(&bytemuck::cast_slice(&words[pixels_at..])[..n_pixels])
        };
        Record {
            image: words[at],
            scaling: Scaling {
                centre: f64::from_bits(words[at + 1]),
                scale: f64::from_bits(words[at + 2]),
            },
            row_stride,
            offsets: &offsets[..n_offsets],
            pixels,
        }
    }

    /// Block `index` of the whole sample; blocks are numbered record by record.
    pub fn block(&self, index: u64) -> Block<'a> {
        debug_assert!(index < self.n_blocks());
        let at = self.index.partition_point(|entry| entry.block <= index) - 1;
        let entry = self.index[at];
        let mut record = self.record(at);
        let first = (index - entry.block) as usize * BLOCK_PATCHES;
        let last = (first + BLOCK_PATCHES).min(record.offsets.len());
        record.offsets = &record.offsets[first..last];
        Block {
            record,
            first_patch: entry.patch + first as u64,
        }
    }

    /// Which block holds patch `patch` of the whole sample, and where in the block.
    pub fn find_patch(&self, patch: u64) -> (u64, usize) {
        debug_assert!(patch < self.n_patches());
        let at = self.index.partition_point(|entry| entry.patch <= patch) - 1;
        let entry = self.index[at];
        let within = (patch - entry.patch) as usize;
        (
            entry.block + (within / BLOCK_PATCHES) as u64,
            within % BLOCK_PATCHES,
        )
    }
}
