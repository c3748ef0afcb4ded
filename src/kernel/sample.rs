//! Sampled patches, kept compactly: the raw pixels of an image, its centre and scale, and which patches of it were drawn.
//!
//! A record holds the patches of one image. Patches overlap, so the image is usually smaller than its patches (784 bytes
//! against 396 * 36 on MNIST); where it is not, only the patches' own pixels are kept. A bit for each pixel says whether a
//! patch starts there. Records lie end to end in one run of 64-bit words, which may be memory or a mapped file: this
//! module never knows which. Long records are cut into blocks, the unit of all work on a sample.

use serde::{Deserialize, Serialize};

use super::grid::PatchShape;
use super::image::PixelsRef;
use super::normalize::Scaling;
use super::positions;

/// A block is closed at so many patches; the last word of its positions may add 63 more.
pub const BLOCK_PATCHES: usize = 1024;

/// Words of positions in a block at most, unless a single patch needs more: 64 whole images of 28x28.
const BLOCK_WORDS: usize = 800;

/// The patches drawn from one image, as they enter the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Row number of the image over all shards.
    pub image: u64,
    /// Centre and scale of the whole image.
    pub scaling: Scaling,
    /// Pixels from one row of a patch to its next row.
    pub row_stride: u32,
    /// Index of each patch's top-left pixel in `pixels`, ascending, none twice.
    pub offsets: &'a [u32],
    /// Raw pixels.
    pub pixels: PixelsRef<'a>,
}

/// Patches of one image, each marked by a bit at its top-left pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patches<'a> {
    /// Row number of the image over all shards.
    pub image: u64,
    /// Centre and scale of the whole image.
    pub scaling: Scaling,
    /// Pixels from one row of a patch to its next row.
    pub row_stride: u32,
    /// Bit `i % 64` of word `i / 64` says that a patch starts at pixel `i` of `pixels`.
    pub positions: &'a [u64],
    /// Raw pixels, from the first that `positions` speaks of.
    pub pixels: PixelsRef<'a>,
}

impl<'a> Patches<'a> {
    /// The patches as a record; `offsets` are some of theirs.
    pub fn record<'b>(&self, offsets: &'b [u32]) -> Record<'b>
    where
        'a: 'b,
    {
        Record {
            image: self.image,
            scaling: self.scaling,
            row_stride: self.row_stride,
            offsets,
            pixels: self.pixels,
        }
    }
}

impl Patches<'_> {
    /// Number of patches.
    pub fn len(&self) -> usize {
        positions::count(self.positions)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positions.iter().all(|&word| word == 0)
    }

    /// Top-left pixel of each patch, ascending.
    pub fn offsets(&self) -> impl Iterator<Item = u32> {
        positions::iter(self.positions)
    }
}

impl Record<'_> {
    /// Appends the record to `words`, in whichever form is smaller: the whole image, or its patches cut out. Gives the
    /// number of its blocks.
    pub fn append_to(&self, patch: PatchShape, words: &mut Vec<u64>) -> u64 {
        debug_assert!(self.offsets.is_sorted_by(|a, b| a < b));
        let cut_out = self.offsets.len() * patch.len();
        if cut_out >= self.pixels.len() {
            return self.append_as(words);
        }
        let offsets: Vec<u32> = (0..self.offsets.len())
            .map(|i| (i * patch.len()) as u32)
            .collect();
        let (u8_pixels, f32_pixels);
        let pixels = match self.pixels {
            PixelsRef::U8(pixels) => {
                u8_pixels = self.cut(patch, pixels);
                PixelsRef::U8(&u8_pixels)
            }
            PixelsRef::F32(pixels) => {
                f32_pixels = self.cut(patch, pixels);
                PixelsRef::F32(&f32_pixels)
            }
        };
        let cut = Record {
            row_stride: patch.row_len() as u32,
            offsets: &offsets,
            pixels,
            ..*self
        };
        cut.append_as(words)
    }

    fn cut<T: Copy>(&self, patch: PatchShape, pixels: &[T]) -> Vec<T> {
        let mut out = Vec::with_capacity(self.offsets.len() * patch.len());
        for &offset in self.offsets {
            for row in 0..patch.height {
                let start = (offset + row * self.row_stride) as usize;
                out.extend_from_slice(&pixels[start..start + patch.row_len()]);
            }
        }
        out
    }

    fn append_as(&self, words: &mut Vec<u64>) -> u64 {
        let n_words = self.offsets.last().map_or(0, |&last| last / 64 + 1) as usize;
        let mut positions = vec![0; n_words];
        positions::mark(self.offsets, &mut positions);
        let blocks = blocks(&positions);
        let (kind, bytes): (u64, &[u8]) = match self.pixels {
            PixelsRef::U8(pixels) => (0, pixels),
            PixelsRef::F32(pixels) => (1, bytemuck::cast_slice(pixels)),
        };
        words.push(self.image);
        words.push(self.scaling.centre.to_bits());
        words.push(self.scaling.scale.to_bits());
        words.push(u64::from(self.row_stride) | (blocks.len() as u64) << 32);
        words.push(self.pixels.len() as u64 | kind << 63);
        words.extend(
            blocks
                .iter()
                .map(|&(word, before)| word as u64 | (before as u64) << 32),
        );
        words.push(n_words as u64 | (self.offsets.len() as u64) << 32);
        words.extend_from_slice(&positions);
        append_bytes(bytes, words);
        blocks.len() as u64
    }
}

const HEADER_WORDS: usize = 5;

/// First word of positions and number of patches before it, for each block.
fn blocks(positions: &[u64]) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    let (mut first, mut n, mut before) = (0, 0, 0);
    for (at, word) in positions.iter().enumerate() {
        if n > 0 && (n >= BLOCK_PATCHES || at - first >= BLOCK_WORDS) {
            blocks.push((first, before));
            (first, before, n) = (at, before + n, 0);
        }
        if n == 0 && *word != 0 {
            first = at;
        }
        n += word.count_ones() as usize;
    }
    if n > 0 {
        blocks.push((first, before));
    }
    blocks
}

fn append_bytes(bytes: &[u8], words: &mut Vec<u64>) {
    let start = words.len();
    words.resize(start + bytes.len().div_ceil(8), 0);
    bytemuck::cast_slice_mut(&mut words[start..])[..bytes.len()].copy_from_slice(bytes);
}

/// Where a record starts: in the run of words, and in the numbering of blocks and patches over the whole sample.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    bytemuck::Pod,
    bytemuck::Zeroable,
    Serialize,
    Deserialize,
)]
#[repr(C)]
pub struct IndexEntry {
    /// First word of the record.
    pub word: u64,
    /// Blocks in all records before it.
    pub block: u64,
    /// Patches in all records before it.
    pub patch: u64,
}

impl IndexEntry {
    /// Appends `record` to `words`; the entry of the record after it.
    pub fn append(self, record: &Record<'_>, patch: PatchShape, words: &mut Vec<u64>) -> Self {
        let before = words.len();
        let n_blocks = record.append_to(patch, words);
        IndexEntry {
            word: self.word + (words.len() - before) as u64,
            block: self.block + n_blocks,
            patch: self.patch + record.offsets.len() as u64,
        }
    }
}

/// A finished sample, borrowed from memory or from a mapped file.
#[derive(Debug, Clone, Copy)]
pub struct SampleView<'a> {
    words: &'a [u64],
    // One entry a record and one past the end.
    index: &'a [IndexEntry],
    patch: PatchShape,
}

/// A stretch of one record's patches.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The patches.
    pub patches: Patches<'a>,
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

    /// All patches of record `index`.
    pub fn record(&self, index: usize) -> Patches<'a> {
        self.layout(index).patches()
    }

    /// Block `index` of the whole sample; blocks are numbered record by record.
    pub fn block(&self, index: u64) -> Block<'a> {
        debug_assert!(index < self.n_blocks());
        let at = self.index.partition_point(|entry| entry.block <= index) - 1;
        let entry = self.index[at];
        let layout = self.layout(at);
        let within = (index - entry.block) as usize;
        let (first_word, before) = layout.block_start(within);
        let end_word = match within + 1 < layout.n_blocks {
            true => layout.block_start(within + 1).0,
            false => layout.positions.len(),
        };
        Block {
            patches: Patches {
                positions: &layout.positions[first_word..end_word],
                pixels: layout.pixels.skip(first_word * 64),
                ..layout.patches()
            },
            first_patch: entry.patch + before as u64,
        }
    }

    /// The record of patch `patch` of the whole sample, and its top-left pixel there.
    pub fn find_patch(&self, patch: u64) -> (Patches<'a>, u32) {
        debug_assert!(patch < self.n_patches());
        let at = self.index.partition_point(|entry| entry.patch <= patch) - 1;
        let within = (patch - self.index[at].patch) as usize;
        let layout = self.layout(at);
        let block = layout.find_block(within);
        let (first_word, before) = layout.block_start(block);
        let offset = positions::nth(&layout.positions[first_word..], within - before);
        (layout.patches(), first_word as u32 * 64 + offset)
    }

    /// The block that holds patch `patch` of the whole sample.
    pub fn block_of(&self, patch: u64) -> u64 {
        debug_assert!(patch < self.n_patches());
        let at = self.index.partition_point(|entry| entry.patch <= patch) - 1;
        let entry = self.index[at];
        entry.block + self.layout(at).find_block((patch - entry.patch) as usize) as u64
    }

    fn layout(&self, index: usize) -> Layout<'a> {
        let words = &self.words[self.index[index].word as usize..];
        let n_blocks = (words[3] >> 32) as usize;
        let n_pixels = (words[4] & !(1 << 63)) as usize;
        let (header, rest) = words.split_at(HEADER_WORDS);
        let (blocks, rest) = rest.split_at(n_blocks);
        let n_words = rest[0] as u32 as usize;
        let (positions, bytes) = rest[1..].split_at(n_words);
        let pixels = if header[4] >> 63 == 1 {
            PixelsRef::F32(&bytemuck::cast_slice(bytes)[..n_pixels])
        } else {
            PixelsRef::U8(&bytemuck::cast_slice(bytes)[..n_pixels])
        };
        Layout {
            header,
            n_blocks,
            blocks,
            positions,
            pixels,
        }
    }
}

/// A record as it lies in the sample.
struct Layout<'a> {
    header: &'a [u64],
    n_blocks: usize,
    blocks: &'a [u64],
    positions: &'a [u64],
    pixels: PixelsRef<'a>,
}

impl<'a> Layout<'a> {
    fn patches(&self) -> Patches<'a> {
        Patches {
            image: self.header[0],
            scaling: Scaling {
                centre: f64::from_bits(self.header[1]),
                scale: f64::from_bits(self.header[2]),
            },
            row_stride: self.header[3] as u32,
            positions: self.positions,
            pixels: self.pixels,
        }
    }

    /// First word of positions, and number of patches before it.
    fn block_start(&self, block: usize) -> (usize, usize) {
        let word = self.blocks[block];
        (word as u32 as usize, (word >> 32) as usize)
    }

    /// The block of patch `within` of the record.
    fn find_block(&self, within: usize) -> usize {
        let (mut low, mut high) = (0, self.n_blocks);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.block_start(middle).1 <= within {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}
