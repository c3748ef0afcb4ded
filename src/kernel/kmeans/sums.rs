//! What one pass over patches leaves: counts, sums and squares, and how they move words.
//!
//! Sums are f64 and counts u64. Where the search was in whole numbers, the raw pixels of a word's patches are added up in
//! whole numbers first, for as long as images have one scaling. Partial sums are merged by the caller in a fixed order; nothing here may depend on
//! who made which part.

use super::values::ValueReader;
use crate::kernel::grid::PatchShape;
use crate::kernel::nearest::{Found, Simd, Whole, Work};
use crate::kernel::normalize::Scaling;
use crate::kernel::sample::Patches;

/// Patches whose bytes can be added in 16 bits.
const MAX_RAW: u16 = u16::MAX / u8::MAX as u16;

/// Counts and sums of the patches of each word.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// Patches of each word, `k`.
    pub counts: Vec<u64>,
    layout: Layout,
    // Sum of each word's patches, [k][height][row], in the order of `Layout::place`.
    values: Vec<f64>,
    // Sum of the squared norms of each word's patches, k.
    squares: Vec<f64>,
}

/// Pixels that are added together.
const CHUNK: usize = 8;
/// Every other byte of a chunk, as 16 bits each.
const EVEN_BYTES: u64 = 0x00ff_00ff_00ff_00ff;
/// Every other sum of 16 bits, as 32 bits each.
const EVEN_SUMS: u64 = 0x0000_ffff_0000_ffff;
/// Sums of 16 bits in a u64.
const SUMS: usize = 4;

/// Rows of a patch, made up to whole chunks. A chunk holds its even values, then its odd ones.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    height: usize,
    width: usize,
    row: usize,
}

impl Layout {
    fn new(patch: PatchShape) -> Layout {
        let width = patch.row_len();
        Layout {
            height: patch.height as usize,
            width,
            row: width.next_multiple_of(CHUNK),
        }
    }

    fn word(&self) -> usize {
        self.height * self.row
    }

    fn d(&self) -> usize {
        self.height * self.width
    }

    /// Of each u64 of a word's raw sums, the bits of those that are not past the width.
    fn used(self) -> Vec<u64> {
        let row = (0..self.row / SUMS).map(|at| {
            let first = at / 2 * CHUNK + at % 2;
            match self.width.saturating_sub(first).div_ceil(2).min(SUMS) {
                0 => 0,
                n => u64::MAX >> (64 - 16 * n),
            }
        });
        row.cycle().take(self.word() / SUMS).collect()
    }

    /// Where value `col` of a row stands.
    fn place(col: usize) -> usize {
        col / CHUNK * CHUNK + col % 2 * SUMS + col % CHUNK / 2
    }
}

/// Working memory of [`Sums::add`].
#[derive(Debug, Clone)]
pub struct SumScratch {
    simd: Simd,
    reader: ValueReader,
    values: Vec<f64>,
    // The scaling of the raw sums that are held.
    scaling: Option<Scaling>,
    // For each word: sum of the raw pixels, [k][height][row], four in a u64; how many patches these are; sum of their squares.
    raw: Vec<u64>,
    n: Vec<u16>,
    squares: Vec<u64>,
    // Words that have such patches, each once.
    touched: Vec<u32>,
    // Of each u64 of a word's raw sums, the bits that are not past the width.
    used: Vec<u64>,
}

impl SumScratch {
    /// For `k` words.
    pub fn new(k: usize, patch: PatchShape, simd: Simd) -> SumScratch {
        let layout = Layout::new(patch);
        SumScratch {
            simd,
            reader: ValueReader::new(patch),
            values: vec![0.0; patch.len()],
            scaling: None,
            raw: vec![0; k * layout.word() / SUMS],
            n: vec![0; k],
            squares: vec![0; k],
            touched: Vec::with_capacity(k),
            used: layout.used(),
        }
    }

    /// Heap bytes for `k` words.
    pub fn heap_bytes(k: usize, patch: PatchShape) -> u64 {
        let (k, word) = (k as u64, Layout::new(patch).word() as u64);
        (k + 4) * word * 2 + k * 14 + patch.len() as u64 * 8 + 256 * 8
    }
}

impl Sums {
    /// Of no patches, for `k` words.
    pub fn new(k: usize, patch: PatchShape) -> Sums {
        let layout = Layout::new(patch);
        Sums {
            counts: vec![0; k],
            layout,
            values: vec![0.0; k * layout.word()],
            squares: vec![0.0; k],
        }
    }

    /// Heap bytes for `k` words.
    pub fn heap_bytes(k: usize, patch: PatchShape) -> u64 {
        8 * k as u64 * (Layout::new(patch).word() as u64 + 2)
    }

    /// Adds `patches`, with what a search of them `found`. What is still in `scratch` counts after [`Sums::settle`].
    pub fn add(&mut self, patches: &Patches<'_>, found: &Found<'_>, scratch: &mut SumScratch) {
        let Some(whole) = found.whole else {
            return self.add_values(patches, found, scratch);
        };
        if scratch.scaling != Some(patches.scaling) {
            self.settle(scratch);
            scratch.scaling = Some(patches.scaling);
        }
        scratch.simd.run(AddWhole {
            sums: self,
            patches,
            found,
            whole,
            scratch,
        });
    }

    /// Takes the raw sums that are held in `scratch`.
    pub fn settle(&mut self, scratch: &mut SumScratch) {
        scratch.simd.run(Settle {
            sums: self,
            scratch,
        });
    }

    /// Adds normalised values, patch by patch.
    fn add_values(&mut self, patches: &Patches<'_>, found: &Found<'_>, scratch: &mut SumScratch) {
        let layout = self.layout;
        for (&offset, &label) in found.offsets.iter().zip(found.labels) {
            let label = label as usize;
            self.counts[label] += 1;
            if patches.scaling.is_blank() {
                continue;
            }
            scratch.reader.read(patches, offset, &mut scratch.values);
            self.squares[label] += scratch
                .values
                .iter()
                .map(|value| value * value)
                .sum::<f64>();
            let rows = self.values[label * layout.word()..].chunks_exact_mut(layout.row);
            for (sums, values) in rows.zip(scratch.values.chunks_exact(layout.width)) {
                for (col, value) in values.iter().enumerate() {
                    sums[Layout::place(col)] += value;
                }
            }
        }
        // Only blank images repeat patches here.
        for repeat in found.repeats {
            self.counts[repeat.label as usize] += u64::from(repeat.count);
        }
    }

    /// Adds the sums of later patches.
    pub fn merge(&mut self, later: &Sums) {
        for (a, b) in self.counts.iter_mut().zip(&later.counts) {
            *a += b;
        }
        for (a, b) in self.values.iter_mut().zip(&later.values) {
            *a += b;
        }
        for (a, b) in self.squares.iter_mut().zip(&later.squares) {
            *a += b;
        }
    }

    /// Number of patches.
    pub fn n_patches(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of squared distances of each word's patches to the words that they were labelled by (`k * d`), by way of
    /// `sum |x|^2 - 2 c . sum x + n |c|^2`: good to about 12 digits of `sum |x|^2`.
    pub fn inertia_by_word<'a>(&'a self, centroids: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let words = centroids.chunks_exact(self.layout.d()).enumerate();
        words.map(|(j, word)| {
            let count = self.counts[j] as f64;
            let mut inertia = self.squares[j];
            for (&centre, sum) in word.iter().zip(self.of_word(j)) {
                let centre = f64::from(centre);
                inertia += centre * (count * centre - 2.0 * sum);
            }
            inertia.max(0.0)
        })
    }

    /// The sum of [`Sums::inertia_by_word`].
    pub fn inertia(&self, centroids: &[f32]) -> f64 {
        self.inertia_by_word(centroids).sum()
    }

    /// Moves each word towards the mean of its patches, by the share `rate(j, count)`; those without patches stay.
    /// A rate between 1 and 2 goes past the mean, which lowers the inertia too.
    /// Returns whether any value changed.
    pub fn move_words(
        &self,
        centroids: &mut [f32],
        mut rate: impl FnMut(usize, u64) -> f64,
    ) -> bool {
        let mut moved = false;
        for (j, word) in centroids.chunks_exact_mut(self.layout.d()).enumerate() {
            let count = self.counts[j];
            let rate = rate(j, count);
            if count == 0 {
                continue;
            }
            for (centre, sum) in word.iter_mut().zip(self.of_word(j)) {
                let old = f64::from(*centre);
                let mean = sum / count as f64;
                // At rate 1 this is the mean itself.
                let new = (mean + (1.0 - rate) * (old - mean)) as f32;
                moved |= new.to_bits() != centre.to_bits();
                *centre = new;
            }
        }
        moved
    }

    /// Words without patches.
    pub fn empty_words(&self) -> Vec<usize> {
        (0..self.counts.len())
            .filter(|&j| self.counts[j] == 0)
            .collect()
    }

    /// The `d` sums of one word.
    fn of_word(&self, j: usize) -> impl Iterator<Item = f64> + '_ {
        let layout = self.layout;
        self.values[j * layout.word()..][..layout.word()]
            .chunks_exact(layout.row)
            .flat_map(move |row| (0..layout.width).map(|col| row[Layout::place(col)]))
    }
}

/// [`Sums::add`] after a search in whole numbers.
struct AddWhole<'a> {
    sums: &'a mut Sums,
    patches: &'a Patches<'a>,
    found: &'a Found<'a>,
    whole: Whole<'a>,
    scratch: &'a mut SumScratch,
}

impl Work for AddWhole<'_> {
    type Output = ();

    #[inline(always)]
    fn work(mut self) {
        let layout = self.sums.layout;
        let word = layout.word() / SUMS;
        let row_stride = self.patches.row_stride as usize;
        let found = self.found.offsets.iter().zip(self.found.labels);
        for ((&offset, &label), &squares) in found.zip(self.whole.squares) {
            let scratch = &mut *self.scratch;
            let j = label as usize;
            match scratch.n[j] {
                0 => scratch.touched.push(label),
                MAX_RAW => self.sums.take_raw(j, self.patches.scaling, scratch),
                _ => {}
            }
            scratch.n[j] += 1;
            scratch.squares[j] += u64::from(squares);
            let raw = &mut scratch.raw[j * word..][..word];
            let pixels = &self.whole.pixels[offset as usize..];
            add_patch(raw, pixels, layout.row / CHUNK, row_stride);
        }
        self.add_repeats();
    }
}

impl AddWhole<'_> {
    /// Adds the patches that are one value all over.
    #[inline(always)]
    fn add_repeats(&mut self) {
        let layout = self.sums.layout;
        for repeat in self.found.repeats {
            let (j, count) = (repeat.label as usize, f64::from(repeat.count));
            let value = self.patches.scaling.apply(f64::from(repeat.pixel));
            self.sums.counts[j] += u64::from(repeat.count);
            self.sums.squares[j] += count * layout.d() as f64 * value * value;
            for sum in &mut self.sums.values[j * layout.word()..][..layout.word()] {
                *sum += count * value;
            }
        }
    }
}

/// [`Sums::settle`].
struct Settle<'a> {
    sums: &'a mut Sums,
    scratch: &'a mut SumScratch,
}

impl Work for Settle<'_> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        if let Some(scaling) = self.scratch.scaling.take() {
            for at in 0..self.scratch.touched.len() {
                let j = self.scratch.touched[at] as usize;
                self.sums.take_raw(j, scaling, self.scratch);
            }
            self.scratch.touched.clear();
        }
    }
}

impl Sums {
    /// Takes the raw sums of word `j`, of images of this scaling.
    #[inline(always)]
    fn take_raw(&mut self, j: usize, scaling: Scaling, scratch: &mut SumScratch) {
        let layout = self.layout;
        let n = std::mem::take(&mut scratch.n[j]);
        let (inverse, centre) = (1.0 / scaling.scale, scaling.centre);
        let centres = f64::from(n) * centre;
        let word = layout.word() / SUMS;
        let raw = &mut scratch.raw[j * word..][..word];
        let values = &mut self.values[j * layout.word()..][..layout.word()];
        // Two sums of 32 bits, each of every other sum of 16.
        let mut totals = 0;
        let values = values.as_chunks_mut::<SUMS>().0.iter_mut();
        for ((values, raw), used) in values.zip(raw).zip(&scratch.used) {
            let packed = std::mem::take(raw);
            totals += (packed & used & EVEN_SUMS) + (packed >> 16 & used >> 16 & EVEN_SUMS);
            for (i, value) in values.iter_mut().enumerate() {
                let sum = f64::from((packed >> (16 * i)) as u16);
                *value += (sum - centres) * inverse;
            }
        }
        let squares = std::mem::take(&mut scratch.squares[j]) as f64;
        let total = ((totals & u64::from(u32::MAX)) + (totals >> 32)) as f64;
        let centred = squares - centre * (2.0 * total - layout.d() as f64 * centres);
        self.squares[j] += centred.max(0.0) * inverse * inverse;
        self.counts[j] += u64::from(n);
    }
}

/// Adds a patch, its first pixel first, to raw sums, `chunks` in a row.
#[inline(always)]
fn add_patch(raw: &mut [u64], pixels: &[u8], chunks: usize, row_stride: usize) {
    if chunks == 1 {
        for (row, raw) in raw.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            add_chunk(raw, pixels, row * row_stride);
        }
        return;
    }
    for (row, raw) in raw.chunks_exact_mut(2 * chunks).enumerate() {
        for (chunk, raw) in raw.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            add_chunk(raw, pixels, row * row_stride + chunk * CHUNK);
        }
    }
}

/// Adds the pixels from `start` on. What lies past the width is added too; nobody reads it.
#[inline(always)]
fn add_chunk(raw: &mut [u64; 2], pixels: &[u8], start: usize) {
    if let Some(pixels) = pixels.get(start..).and_then(|p| p.first_chunk::<CHUNK>()) {
        let pixels = u64::from_le_bytes(*pixels);
        raw[0] += pixels & EVEN_BYTES;
        raw[1] += pixels >> 8 & EVEN_BYTES;
    }
}
