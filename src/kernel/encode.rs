//! From an image to its vector: every patch of the grid is held against the words, and what that gives is pooled and
//! weighted.
//!
//! An encoding says what a patch adds to the words of its cell:
//! - `hard`: 1 to the nearest word (bag of visual words; Csurka et al. 2004);
//! - `triangle`: `max(0, m - d_j)` to each word `j`, `d_j` its Euclidean distance and `m` the mean of all of these (Coates, Ng
//!   and Lee 2011);
//! - `soft`: 1, shared among its nearest words in proportion to `exp(-d_j^2 / s)`, `s` the vocabulary's mean squared distance
//!   of a sampled patch to its word (van Gemert et al. 2008, over the nearest words as Liu et al. 2011);
//! - `vlad`: its values less the nearest word's, to that word's `d` sums (Jégou et al. 2010).
//!
//! Hard counts and nearest words are exact; distances are float32, their sums float64 in the order of the patches. The
//! matrix of all distances is never made: a panel of patches at a time. [`super::naive::encode`] is the definition.

use super::grid::Grid;
use super::image::ImageRef;
use super::nearest::prepared::{DistanceWords, NearestWords};
use super::nearest::{self, Scratch, Simd, Words};
use super::normalize::Scaling;
use super::pool::{Cells, Regions, max_regions, n_cells};
use super::prepare::Preparer;
use super::sample::Patches;
use super::vocabulary::{Preparation, Vocabulary};
use super::weigh::{Shape, Weighting, weigh};

mod panel;
mod several;

use panel::{Panel, PatchReader, Source};
pub use several::{Encoders, Lexicons};

/// What a patch adds to the words of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 1 to the nearest word.
    Hard,
    /// How much nearer it is than the mean, to each word.
    Triangle,
    /// 1, shared among the nearest words.
    Soft {
        /// How many, at least 1; all where there are fewer.
        nearest: usize,
    },
    /// The residual to the nearest word.
    Vlad,
}

impl Encoding {
    /// Its name in job files.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Hard => "hard",
            Encoding::Triangle => "triangle",
            Encoding::Soft { .. } => "soft",
            Encoding::Vlad => "vlad",
        }
    }
}

/// How an image's patches become its vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What a patch adds.
    pub encoding: Encoding,
    /// Grids of cells, at least one; the vector is grid by grid, cell by cell (row-major), word by word.
    pub pooling: Vec<Cells>,
    /// Steps of weighting, in order; none: sums as they are.
    pub weighting: Vec<Weighting>,
}

impl Recipe {
    /// Plain counts over the whole image.
    pub fn counts() -> Recipe {
        Recipe {
            encoding: Encoding::Hard,
            pooling: vec![[1, 1]],
            weighting: Vec::new(),
        }
    }

    /// Whether vectors are whole numbers: patches counted as they are.
    pub fn is_counts(&self) -> bool {
        self.encoding == Encoding::Hard && self.weighting.is_empty()
    }

    /// Whether words are weighted by the images that they occur in.
    pub fn needs_documents(&self) -> bool {
        self.weighting.contains(&Weighting::TfIdf)
    }

    /// Values of a word in a cell, for patches of `d` values.
    pub fn n_per_word(&self, d: usize) -> usize {
        match self.encoding {
            Encoding::Vlad => d,
            Encoding::Hard | Encoding::Triangle | Encoding::Soft { .. } => 1,
        }
    }

    /// Length of a vector, for `k` words of `d` values.
    pub fn n_values(&self, k: usize, d: usize) -> usize {
        n_cells(&self.pooling) * k * self.n_per_word(d)
    }
}

/// First values of the patches of an image that are searched at once: what a worker holds does not grow with the image.
const STRIP: usize = 1 << 14;

/// A vocabulary laid out for a recipe; shared by all workers.
#[derive(Debug)]
pub struct Lexicon {
    vocabulary: Vocabulary,
    recipe: Recipe,
    stride: u32,
    simd: Simd,
    idf: Vec<f64>,
    words: Layout,
}

#[derive(Debug)]
enum Layout {
    /// For pixels as they are, where preparing them is one number to subtract and one to divide by.
    Pixels(Box<Words>),
    /// For prepared patches.
    Nearest(Box<NearestWords>),
    /// For the distances of prepared patches.
    Distances(Box<DistanceWords>),
}

impl Lexicon {
    /// Lays out `vocabulary` for `recipe` and patches at `stride`.
    ///
    /// # Panics
    /// If the recipe needs document frequencies and the vocabulary has none.
    pub fn new(vocabulary: &Vocabulary, recipe: &Recipe, stride: u32, simd: Simd) -> Lexicon {
        let (centroids, d) = (&vocabulary.centroids, vocabulary.d());
        let whitening = vocabulary.whitening.as_ref();
        let words = match recipe.encoding {
            Encoding::Hard if vocabulary.preparation.is_by_image() => Layout::Pixels(Box::new(
                Words::new(centroids, vocabulary.preparation.patch, simd),
            )),
            Encoding::Hard | Encoding::Vlad => {
                Layout::Nearest(Box::new(NearestWords::new(centroids, d, whitening, simd)))
            }
            Encoding::Triangle | Encoding::Soft { .. } => {
                Layout::Distances(Box::new(DistanceWords::new(centroids, d, whitening, simd)))
            }
        };
        let documents = vocabulary.documents.as_ref();
        let idf = match recipe.needs_documents() {
            true => documents.expect("document frequencies were counted").idf(),
            false => Vec::new(),
        };
        Lexicon {
            vocabulary: vocabulary.clone(),
            recipe: recipe.clone(),
            stride,
            simd,
            idf,
            words,
        }
    }

    /// Upper bound on the heap bytes of one for `k` words.
    pub fn heap_bytes(k: usize, preparation: &Preparation, recipe: &Recipe) -> u64 {
        let (patch, d) = (preparation.patch, preparation.patch.len());
        let words = match recipe.encoding {
            Encoding::Hard if preparation.is_by_image() => Words::heap_bytes(k, patch),
            Encoding::Hard | Encoding::Vlad => NearestWords::heap_bytes(k, d),
            Encoding::Triangle | Encoding::Soft { .. } => {
                DistanceWords::heap_bytes(k, d, preparation.whiten.is_some())
            }
        };
        // Beside them the vocabulary itself: centroids, and three numbers a word.
        let whitening = preparation.whiten.map_or(0, |_| 4 * d * (d + 1));
        words + (k * (4 * d + 32) + whitening) as u64
    }

    /// Length of a vector.
    pub fn n_values(&self) -> usize {
        self.recipe
            .n_values(self.vocabulary.k(), self.vocabulary.d())
    }

    /// Values of a region: of all words.
    fn n_region(&self) -> usize {
        self.vocabulary.k() * self.recipe.n_per_word(self.vocabulary.d())
    }
}

/// What encoding an image gave.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// Its vector.
    pub vector: &'a [f32],
    /// Its patches.
    pub n_patches: usize,
    /// How many of them float64 decided.
    pub decided_again: u64,
}

/// One worker: a lexicon and its scratch memory.
#[derive(Debug)]
pub struct Encoder<'a> {
    lexicon: &'a Lexicon,
    preparer: Preparer<'a>,
    scratch: Scratch,
    // Bits of a strip's patches, and the image size and first patch that they are for.
    positions: Vec<u64>,
    positions_of: (u32, u32, usize),
    // Of the last image's size.
    regions: Option<((u32, u32), Regions)>,
    // [regions][words], of counts and of other sums.
    counts: Vec<u32>,
    sums: Vec<f64>,
    cells: Vec<f64>,
    vector: Vec<f32>,
    panel: Panel,
}

impl<'a> Encoder<'a> {
    /// A worker.
    pub fn new(lexicon: &'a Lexicon) -> Encoder<'a> {
        let vocabulary = &lexicon.vocabulary;
        Encoder {
            lexicon,
            preparer: Preparer::new(&vocabulary.preparation, vocabulary.whitening.as_ref()),
            scratch: Scratch::default(),
            positions: Vec::new(),
            positions_of: (0, 0, 0),
            regions: None,
            counts: Vec::new(),
            sums: Vec::new(),
            cells: vec![0.0; lexicon.n_values()],
            vector: vec![0.0; lexicon.n_values()],
            panel: Panel::default(),
        }
    }

    /// Upper bound on the heap bytes of one.
    pub fn heap_bytes(k: usize, preparation: &Preparation, recipe: &Recipe) -> u64 {
        let (patch, d) = (preparation.patch, preparation.patch.len());
        let regions = max_regions(&recipe.pooling);
        let sums = 12 * (regions + n_cells(&recipe.pooling)) * k * recipe.n_per_word(d);
        let by_image = preparation.is_by_image() && recipe.encoding == Encoding::Hard;
        let scratch = match by_image {
            true => Scratch::heap_bytes(k, patch, STRIP) + STRIP as u64 / 8,
            false => Panel::heap_bytes(k, d),
        };
        let grids = 64 * (regions + n_cells(&recipe.pooling)) as u64;
        scratch + sums as u64 + grids + Preparer::heap_bytes(d)
    }

    /// Encodes an image.
    ///
    /// # Panics
    /// If a patch or a grid of cells does not fit; whoever lets images through looks at that.
    pub fn encode(&mut self, image: ImageRef<'_>) -> Encoded<'_> {
        let patch = self.lexicon.vocabulary.preparation.patch;
        let grid = Grid::new(image.height, image.width, patch, self.lexicon.stride);
        let grid = grid.expect("an image that a patch fits into");
        if self.regions.as_ref().map(|(size, _)| *size) != Some((grid.rows, grid.cols)) {
            let regions = Regions::new(&self.lexicon.recipe.pooling, &grid);
            let regions = regions.expect("an image that the cells fit into");
            self.regions = Some(((grid.rows, grid.cols), regions));
        }
        let decided_again = match &self.lexicon.words {
            Layout::Pixels(words) => self.count(words, image, &grid),
            Layout::Nearest(_) | Layout::Distances(_) => self.add_panels(image, &grid),
        };
        self.finish();
        Encoded {
            vector: &self.vector,
            n_patches: grid.len(),
            decided_again,
        }
    }

    /// Counts the nearest words of an image's patches, strip by strip.
    fn count(&mut self, words: &Words, image: ImageRef<'_>, grid: &Grid) -> u64 {
        let Some((_, regions)) = &self.regions else {
            unreachable!("set before");
        };
        let k = words.k();
        self.counts.clear();
        self.counts.resize(regions.len() * k, 0);
        let pixels = image.pixels;
        let scaling = Scaling::of(self.lexicon.vocabulary.preparation.normalize, pixels);
        let (mut start, mut decided_again) = (0, 0);
        while start < grid.len() {
            let end = start + grid.windows_within(start, STRIP);
            // Images of one size, each a single strip, share their positions.
            if self.positions_of != (image.height, image.width, start) {
                grid.mark(start..end, &mut self.positions);
                self.positions_of = (image.height, image.width, start);
            }
            let patches = Patches {
                image: 0,
                scaling,
                row_stride: image.row_len() as u32,
                positions: &self.positions,
                pixels: pixels.skip(grid.offset(start)),
            };
            let found = nearest::search(words, &patches, &mut self.scratch);
            decided_again += found.decided_again;
            if regions.len() == 1 {
                found.count_into(&mut self.counts);
            } else {
                let mut places = Places::new(regions, grid, start);
                for label in found.each(&patches) {
                    self.counts[places.next() * k + label as usize] += 1;
                }
            }
            start = end;
        }
        self.sums.clear();
        self.sums
            .extend(self.counts.iter().map(|&count| f64::from(count)));
        decided_again
    }

    /// Adds an image's patches to the sums of their regions, a panel at a time, region by region.
    fn add_panels(&mut self, image: ImageRef<'_>, grid: &Grid) -> u64 {
        let Some((size, regions)) = self.regions.take() else {
            unreachable!("set before");
        };
        self.sums.clear();
        self.sums
            .resize(regions.len() * self.lexicon.n_region(), 0.0);
        self.panel.make_room(self.lexicon.vocabulary.d());
        let pixels = image.pixels;
        let source = Source {
            scaling: Scaling::of(self.lexicon.vocabulary.preparation.normalize, pixels),
            row_stride: image.row_len() as u32,
            pixels,
        };
        let mut decided_again = 0;
        let (mut row_start, mut region_row) = (0, 0);
        for &row_end in regions.row_ends() {
            let mut col_start = 0;
            for (region_col, &col_end) in regions.col_ends().iter().enumerate() {
                let region = region_row * regions.n_cols() + region_col;
                for row in row_start..row_end {
                    let first = grid.offset(row as usize * grid.cols as usize);
                    for col in col_start..col_end {
                        let at = grid.offset(row as usize * grid.cols as usize + col as usize);
                        decided_again += self.push(&source, (first, (at - first) as u32), region);
                    }
                }
                col_start = col_end;
            }
            row_start = row_end;
            region_row += 1;
        }
        decided_again += self.flush(&source);
        if let (Layout::Distances(words), Encoding::Triangle) =
            (&self.lexicon.words, self.lexicon.recipe.encoding)
        {
            self.panel.end_triangles(words, &mut self.sums);
        }
        self.regions = Some((size, regions));
        decided_again
    }

    fn push(&mut self, source: &Source<'_>, start: (usize, u32), region: usize) -> u64 {
        let (preparer, simd) = (&mut self.preparer, self.lexicon.simd);
        match self.panel.push(preparer, source, start, region, simd) {
            true => self.flush(source),
            false => 0,
        }
    }

    /// Adds the patches of the panel; how many float64 decided.
    fn flush(&mut self, source: &Source<'_>) -> u64 {
        let n = std::mem::take(&mut self.panel.n);
        if n == 0 {
            return 0;
        }
        let sums = &mut self.sums;
        let vocabulary = &self.lexicon.vocabulary;
        let mut reader = PatchReader {
            preparer: &mut self.preparer,
            source,
            starts: self.panel.starts,
        };
        match (&self.lexicon.words, self.lexicon.recipe.encoding) {
            (Layout::Nearest(words), Encoding::Vlad) => {
                self.panel
                    .add_residuals(words, vocabulary, n, &mut reader, sums)
            }
            (Layout::Nearest(words), _) => {
                self.panel
                    .add_counts(words, vocabulary.k(), n, &mut reader, sums)
            }
            (Layout::Distances(words), Encoding::Soft { nearest }) => {
                let scale = vocabulary.inertia_per_patch();
                self.panel
                    .add_shares(words, nearest, scale, n, &mut reader, sums);
                0
            }
            (Layout::Distances(words), _) => {
                self.panel.add_triangles(words, n, &mut reader, sums);
                0
            }
            (Layout::Pixels(_), _) => unreachable!("strips, not panels"),
        }
    }

    /// The vector of the sums.
    fn finish(&mut self) {
        let Some((_, regions)) = &self.regions else {
            unreachable!("set before");
        };
        regions.add_up(&self.sums, self.lexicon.n_region(), &mut self.cells);
        let shape = Shape {
            n_per_word: self.lexicon.recipe.n_per_word(self.lexicon.vocabulary.d()),
            idf: &self.lexicon.idf,
        };
        weigh(&mut self.cells, &self.lexicon.recipe.weighting, shape);
        for (to, &value) in self.vector.iter_mut().zip(&self.cells) {
            *to = value as f32;
        }
    }
}

/// The regions of patches, one after another in the grid's order.
struct Places<'a> {
    regions: &'a Regions,
    cols: u32,
    row: u32,
    col: u32,
    region_row: usize,
    region_col: usize,
}

impl<'a> Places<'a> {
    fn new(regions: &'a Regions, grid: &Grid, start: usize) -> Places<'a> {
        let (row, col) = (start as u32 / grid.cols, start as u32 % grid.cols);
        let at = |ends: &[u32], i: u32| ends.partition_point(|&end| end <= i);
        Places {
            regions,
            cols: grid.cols,
            row,
            col,
            region_row: at(regions.row_ends(), row),
            region_col: at(regions.col_ends(), col),
        }
    }

    fn next(&mut self) -> usize {
        let region = self.region_row * self.regions.n_cols() + self.region_col;
        self.col += 1;
        if self.col == self.cols {
            (self.row, self.col, self.region_col) = (self.row + 1, 0, 0);
            let end = self.regions.row_ends()[self.region_row];
            self.region_row += usize::from(self.row == end);
        } else if self.col == self.regions.col_ends()[self.region_col] {
            self.region_col += 1;
        }
        region
    }
}

#[cfg(test)]
mod tests;
