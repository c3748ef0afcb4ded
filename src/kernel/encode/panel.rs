//! A panel: patches of an image side by side, a lane each, and what each encoding adds of them to the sums of their regions.
//!
//! Nothing here knows an image's grid; patches come one by one, those of a region together.

use crate::kernel::image::PixelsRef;
use crate::kernel::nearest::prepared::{DistanceWords, Lanes, NearestWords};
use crate::kernel::nearest::{LANES, Simd, Work};
use crate::kernel::normalize::Scaling;
use crate::kernel::prepare::Preparer;
use crate::kernel::sample::Patches;
use crate::kernel::vocabulary::Vocabulary;

/// Patches of one panel, and working memory.
#[derive(Debug, Default)]
pub(super) struct Panel {
    pub(super) n: usize,
    // Where each patch starts: its row's first value in the image, and its own after that.
    pub(super) starts: [(usize, u32); LANES],
    region: [usize; LANES],
    // [d][LANES]; lanes past the last patch keep older values, and nobody reads what comes of them.
    values: Vec<f32>,
    whitened: Vec<f32>,
    // [k][LANES]
    distances: Vec<f32>,
    // The same, of triangles in the region under way.
    nearer: Vec<f32>,
    nearer_of: usize,
    patch: Vec<f64>,
}

/// Reads the finished float64 values of a panel's patches.
pub(super) struct PatchReader<'r, 'a> {
    pub(super) preparer: &'r mut Preparer<'a>,
    pub(super) source: &'r Source<'r>,
    pub(super) starts: [(usize, u32); LANES],
}

impl PatchReader<'_, '_> {
    fn read(&mut self, lane: usize, values: &mut [f64]) {
        let (base, offset) = self.starts[lane];
        let patches = self.source.patches(base);
        self.preparer.values(&patches, offset, values);
    }
}

impl Panel {
    /// Upper bound on its heap bytes.
    pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
        (LANES * 4 * (2 * d + 2 * k) + 32 * d) as u64
    }

    /// Makes room for patches of `d` values.
    pub(super) fn make_room(&mut self, d: usize) {
        self.values.resize(d * LANES, 0.0);
        self.patch.resize(d, 0.0);
    }

    /// Adds a patch; whether the panel is full now.
    pub(super) fn push(
        &mut self,
        preparer: &mut Preparer<'_>,
        source: &Source<'_>,
        start: (usize, u32),
        region: usize,
        simd: Simd,
    ) -> bool {
        let lane = self.n;
        simd.run(Prepare {
            preparer,
            patches: source.patches(start.0),
            offset: start.1,
            values: &mut self.patch,
            panel: &mut self.values,
            lane,
        });
        (self.starts[lane], self.region[lane]) = (start, region);
        self.n += 1;
        self.n == LANES
    }

    /// Counts the nearest words of the first `n` lanes; how many float64 decided.
    pub(super) fn add_counts(
        &mut self,
        words: &NearestWords,
        k: usize,
        n: usize,
        reader: &mut PatchReader<'_, '_>,
        sums: &mut [f64],
    ) -> u64 {
        let read = |lane: usize, values: &mut [f64]| reader.read(lane, values);
        let (labels, decided_again) = words.search(&self.values, n, &mut self.patch, read);
        for (region, label) in self.region.iter().zip(&labels[..n]) {
            sums[region * k + *label as usize] += 1.0;
        }
        decided_again
    }

    /// Adds what the first `n` lanes differ from their nearest words by; how many float64 decided.
    pub(super) fn add_residuals(
        &mut self,
        words: &NearestWords,
        vocabulary: &Vocabulary,
        n: usize,
        reader: &mut PatchReader<'_, '_>,
        sums: &mut [f64],
    ) -> u64 {
        let read = |lane: usize, values: &mut [f64]| reader.read(lane, values);
        let (labels, decided_again) = words.search(&self.values, n, &mut self.patch, read);
        let (k, d) = (vocabulary.k(), vocabulary.d());
        for (lane, &label) in labels[..n].iter().enumerate() {
            let label = label as usize;
            reader.read(lane, &mut self.patch);
            let centroid = &vocabulary.centroids[label * d..][..d];
            let sums = &mut sums[(self.region[lane] * k + label) * d..][..d];
            for ((sum, value), &centre) in sums.iter_mut().zip(&self.patch).zip(centroid) {
                *sum += value - f64::from(centre);
            }
        }
        decided_again
    }

    /// Shares each of the first `n` lanes among its `nearest` words.
    pub(super) fn add_shares(
        &mut self,
        words: &DistanceWords,
        nearest: usize,
        scale: f64,
        n: usize,
        reader: &mut PatchReader<'_, '_>,
        sums: &mut [f64],
    ) {
        self.measure::<false>(words, n, reader);
        for lane in 0..n {
            reader.read(lane, &mut self.patch);
            let shares = shares(words, &self.distances, lane, &self.patch, nearest, scale);
            for (word, share) in shares {
                sums[self.region[lane] * words.k() + word] += share;
            }
        }
    }

    /// Adds the triangles of the first `n` lanes to what their regions have in lanes. A region that ends is added up.
    pub(super) fn add_triangles(
        &mut self,
        words: &DistanceWords,
        n: usize,
        reader: &mut PatchReader<'_, '_>,
        sums: &mut [f64],
    ) {
        let totals = self.measure::<true>(words, n, reader);
        let mean = totals.map(|total| (total / words.k() as f64) as f32);
        self.nearer.resize(words.k() * LANES, 0.0);
        let mut start = 0;
        while start < n {
            let region = self.region[start];
            if region != self.nearer_of {
                self.end_region(words, sums);
                self.nearer_of = region;
            }
            let rest = self.region[start..n].iter();
            let end = start + rest.take_while(|&&other| other == region).count();
            let mut own = [f32::NEG_INFINITY; LANES];
            own[start..end].copy_from_slice(&mean[start..end]);
            words.simd().run(Triangle {
                distances: &self.distances,
                mean: &own,
                nearer: &mut self.nearer,
            });
            start = end;
        }
    }

    /// Adds up the last region of an image.
    pub(super) fn end_triangles(&mut self, words: &DistanceWords, sums: &mut [f64]) {
        self.end_region(words, sums);
        self.nearer_of = 0;
    }

    /// Adds up the lanes of the region that is under way.
    fn end_region(&mut self, words: &DistanceWords, sums: &mut [f64]) {
        words.simd().run(AddLanes {
            nearer: &mut self.nearer,
            sums: &mut sums[self.nearer_of * words.k()..][..words.k()],
        });
    }

    /// The distances of the first `n` lanes to all words, and their sums.
    fn measure<const ROOT: bool>(
        &mut self,
        words: &DistanceWords,
        n: usize,
        reader: &mut PatchReader<'_, '_>,
    ) -> Lanes<f64> {
        self.distances.resize(words.k() * LANES, 0.0);
        words.whiten(&mut self.values, &mut self.whitened);
        let patch = &mut self.patch;
        let mut exact2 = |lane: usize, word: usize| {
            if lane >= n {
                return 0.0;
            }
            reader.read(lane, patch);
            words.exact2(patch, word)
        };
        words.distances::<ROOT>(&self.values, &mut self.distances, &mut exact2)
    }
}

/// Puts a patch into a lane of a panel; the same operations with any instructions.
struct Prepare<'p, 'a> {
    preparer: &'p mut Preparer<'a>,
    patches: Patches<'p>,
    offset: u32,
    values: &'p mut [f64],
    panel: &'p mut [f32],
    lane: usize,
}

impl Work for Prepare<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        let Prepare { values, lane, .. } = self;
        self.preparer.centred(&self.patches, self.offset, values);
        for (row, &value) in self
            .panel
            .as_chunks_mut::<LANES>()
            .0
            .iter_mut()
            .zip(&*values)
        {
            row[lane] = value as f32;
        }
    }
}

/// An image, and how its patches are read.
pub(super) struct Source<'a> {
    pub(super) scaling: Scaling,
    pub(super) row_stride: u32,
    pub(super) pixels: PixelsRef<'a>,
}

impl Source<'_> {
    /// Patches whose places are counted from value `base` of the image.
    fn patches(&self, base: usize) -> Patches<'_> {
        Patches {
            image: 0,
            scaling: self.scaling,
            row_stride: self.row_stride,
            positions: &[],
            pixels: self.pixels.skip(base),
        }
    }
}

/// Squared distances in float32 may be off by this share of `|z|^2 + |c|^2`, with much to spare.
const DOUBT: f64 = 1.0 / 4096.0;

/// The nearest words of a patch and its share for each; in float64 among the words that float32 cannot tell from them.
fn shares(
    words: &DistanceWords,
    distances2: &[f32],
    lane: usize,
    patch: &[f64],
    nearest: usize,
    scale: f64,
) -> Vec<(usize, f64)> {
    let nearest = nearest.min(words.k());
    let of_lane = || distances2.iter().skip(lane).step_by(LANES).copied();
    let mut least: Vec<f32> = Vec::with_capacity(nearest + 1);
    for distance2 in of_lane() {
        if least.len() < nearest || distance2 < least[nearest - 1] {
            least.insert(
                least.partition_point(|&other| other <= distance2),
                distance2,
            );
            least.truncate(nearest);
        }
    }
    let norm2: f64 = patch.iter().map(|value| value * value).sum();
    let last = f64::from(least[least.len() - 1]);
    // |c|^2 is at most 2 |z|^2 + 2 |z - c|^2, for the words in question.
    let limit = last + DOUBT * (3.0 * norm2 + 3.0 * last);
    let candidates = of_lane()
        .enumerate()
        .filter(|(_, d2)| f64::from(*d2) <= limit);
    let mut exact: Vec<(f64, usize)> = candidates
        .map(|(word, _)| (words.exact2(patch, word), word))
        .collect();
    exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    exact.truncate(nearest);
    soft_shares(&exact, scale)
}

/// `exp(-d2 / scale)` of each word, divided by the sum of them all; `exact` are squared distances, rising, and words.
fn soft_shares(exact: &[(f64, usize)], scale: f64) -> Vec<(usize, f64)> {
    // Patches that are all words leave no scale to go by.
    let scale = if scale > 0.0 {
        scale
    } else {
        f64::MIN_POSITIVE
    };
    let weigh = |d2: f64| ((exact[0].0 - d2) / scale).exp();
    let total: f64 = exact.iter().map(|&(d2, _)| weigh(d2)).sum();
    exact
        .iter()
        .map(|&(d2, word)| (word, weigh(d2) / total))
        .collect()
}

/// Adds `max(0, mean - distance)` of each lane to the word's lanes in `nearer`, `[k][LANES]`.
struct Triangle<'a> {
    distances: &'a [f32],
    // Where a mean is below every distance the lane adds nothing.
    mean: &'a Lanes<f32>,
    nearer: &'a mut [f32],
}

impl Work for Triangle<'_> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        let distances = self.distances.as_chunks::<LANES>().0;
        for (nearer, distances) in self
            .nearer
            .as_chunks_mut::<LANES>()
            .0
            .iter_mut()
            .zip(distances)
        {
            for lane in 0..LANES {
                nearer[lane] += (self.mean[lane] - distances[lane]).max(0.0);
            }
        }
    }
}

/// Adds up the lanes of each word in `nearer`, onto its sum, and leaves zeros.
struct AddLanes<'a> {
    nearer: &'a mut [f32],
    sums: &'a mut [f64],
}

impl Work for AddLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn work(self) {
        for (sum, nearer) in self
            .sums
            .iter_mut()
            .zip(self.nearer.as_chunks_mut::<LANES>().0)
        {
            *sum += f64::from(total(nearer));
            nearer.fill(0.0);
        }
    }
}

/// The sum of all lanes, halves first.
#[inline(always)]
fn total(lanes: &Lanes<f32>) -> f32 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
