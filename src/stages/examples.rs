//! Examples: a few patches of the sample and a few images, kept to be looked at. What is kept depends on the seed and the
//! data alone, never on threads; how much has a bound, whatever the data's size.

use crate::kernel::grid::PatchShape;
use crate::kernel::image::{Image, PixelsRef};
use crate::kernel::nearest::{Scratch, Simd, Words, search};
use crate::kernel::normalize::{Normalize, Scaling};
use crate::kernel::rng::{Purpose, Stream};
use crate::kernel::sample::{Patches, SampleView};
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::examples::{PatchExample, PatchExamples};

/// Patches that are kept at random.
const N_RANDOM: usize = 120;

/// Words whose nearest patches are kept: the most frequent ones.
const MAX_WORDS: usize = 64;

/// Patches that are kept for a word, each of another image.
const PER_WORD: usize = 8;

/// Values of all kept patches of a kind, at most: large patches are fewer.
const MAX_VALUES: usize = 1 << 19;

/// Patches of the sample among which the nearest are looked for, at most.
const MAX_SEARCHED: u64 = 1 << 17;

/// Multiply-adds of that search, at most, about: a few tenths of a second, and less than one pass of k-means.
const MAX_MULTIPLY_ADDS: u64 = 1 << 33;

/// Images that are kept.
pub const N_IMAGES: usize = 8;

/// Side of what is kept of an image, at most, unless a patch is larger.
const MAX_SIDE: u32 = 128;

/// Draws patches of a sample, and finds those nearest to the first words. `values` are the same patches as `vocabulary` was
/// learned from them: the sample itself, or what preparing made of it.
pub fn patches(
    sample: &SampleView<'_>,
    values: &SampleView<'_>,
    vocabulary: &Vocabulary,
    simd: Simd,
    seed: u64,
) -> PatchExamples {
    let patch = sample.patch();
    let words = Words::new(&vocabulary.centroids, values.patch(), simd);
    let most = MAX_VALUES / patch.len();
    let n_random = N_RANDOM.min(most).max(1);
    let drawn =
        Stream::new(seed, Purpose::ExamplePatches, 0).distinct_below(sample.n_patches(), n_random);
    let mut search = Search::new(sample, values, &words, vocabulary);
    let random = drawn.iter().map(|&at| search.example(at)).collect();
    let n_words = (most / PER_WORD).clamp(1, MAX_WORDS).min(vocabulary.k());
    let (nearest, n_searched) = search.nearest(n_words);
    PatchExamples {
        patch,
        n_sampled: sample.n_patches(),
        n_searched,
        random,
        nearest,
    }
}

struct Search<'a> {
    // Pixels, and the same patches as k-means saw them.
    pixels: &'a SampleView<'a>,
    sample: &'a SampleView<'a>,
    words: &'a Words,
    vocabulary: &'a Vocabulary,
    scratch: Scratch,
}

/// A patch that may be kept for a word.
#[derive(Debug, Clone, Copy)]
struct Near {
    distance2: f64,
    image: u64,
    // Its number in the sample.
    patch: u64,
}

impl<'a> Search<'a> {
    fn new(
        pixels: &'a SampleView<'a>,
        sample: &'a SampleView<'a>,
        words: &'a Words,
        vocabulary: &'a Vocabulary,
    ) -> Search<'a> {
        Search {
            pixels,
            sample,
            words,
            vocabulary,
            scratch: Scratch::default(),
        }
    }

    /// The nearest patches of the first words, among blocks spread evenly over the sample; and how many were looked at.
    fn nearest(&mut self, n_words: usize) -> (Vec<PatchExample>, u64) {
        let sample = self.sample;
        let n_blocks = sample.n_blocks();
        let n_wanted = self.n_searched_blocks().min(n_blocks);
        let mut near: Vec<Vec<Near>> = vec![Vec::with_capacity(PER_WORD + 1); n_words];
        let mut n_searched = 0;
        for index in 0..n_wanted {
            let at = u128::from(index) * u128::from(n_blocks) / u128::from(n_wanted);
            let block = sample.block(at as u64);
            let found = search(self.words, &block.patches, &mut self.scratch);
            n_searched += block.patches.len() as u64;
            let words = found.each(&block.patches);
            for (i, (offset, word)) in (0..).zip(block.patches.offsets().zip(words)) {
                let Some(near) = near.get_mut(word as usize) else {
                    continue;
                };
                keep_nearer(
                    near,
                    Near {
                        distance2: distance2(self.vocabulary, &block.patches, offset, word),
                        image: block.patches.image,
                        patch: block.first_patch + i,
                    },
                );
            }
        }
        let kept = near.into_iter().flatten();
        (
            kept.map(|near| self.example(near.patch)).collect(),
            n_searched,
        )
    }

    fn n_searched_blocks(&self) -> u64 {
        let per_patch = (self.words.k() * self.words.d()) as u64;
        let n_patches = MAX_SEARCHED.min(MAX_MULTIPLY_ADDS / per_patch);
        let in_block = (self.sample.n_patches() / self.sample.n_blocks().max(1)).max(1);
        (n_patches / in_block).max(1)
    }

    /// Patch `at` of the sample.
    fn example(&mut self, at: u64) -> PatchExample {
        let block = self.sample.block(self.sample.block_of(at));
        let patches = block.patches;
        let found = search(self.words, &patches, &mut self.scratch);
        let mut each = patches.offsets().zip(found.each(&patches));
        let Some((offset, word)) = each.nth((at - block.first_patch) as usize) else {
            unreachable!("the block holds the patch");
        };
        let (pixels, pixels_offset) = self.pixels.find_patch(at);
        PatchExample {
            word,
            distance: distance2(self.vocabulary, &patches, offset, word).sqrt(),
            image: patches.image,
            scaling: pixels.scaling,
            pixels: values(&pixels, pixels_offset, self.pixels.patch())
                .map(|pixel| pixel as f32)
                .collect(),
        }
    }
}

/// Squared distance of the patch at `offset` to a word.
fn distance2(vocabulary: &Vocabulary, patches: &Patches<'_>, offset: u32, word: u32) -> f64 {
    let d = vocabulary.d();
    let word = &vocabulary.centroids[word as usize * d..][..d];
    values(patches, offset, vocabulary.preparation.patch)
        .zip(word)
        .map(|(pixel, &centroid)| {
            let difference = patches.scaling.apply(pixel) - f64::from(centroid);
            difference * difference
        })
        .sum()
}

/// Raw pixels of the patch at `offset`.
fn values<'a>(
    patches: &Patches<'a>,
    offset: u32,
    patch: PatchShape,
) -> impl Iterator<Item = f64> + use<'a> {
    let (pixels, stride) = (patches.pixels, patches.row_stride);
    (0..patch.height).flat_map(move |row| {
        let start = offset + row * stride;
        (start..start + patch.row_len() as u32).map(move |at| pixels.get(at as usize))
    })
}

/// Keeps a patch if it is among the nearest, one an image: ties go to the patch that was drawn first.
fn keep_nearer(kept: &mut Vec<Near>, new: Near) {
    let is_nearer = |a: &Near, b: &Near| {
        a.distance2
            .total_cmp(&b.distance2)
            .then(a.patch.cmp(&b.patch))
            .is_lt()
    };
    if kept.len() == PER_WORD && !is_nearer(&new, &kept[PER_WORD - 1]) {
        return;
    }
    if let Some(same) = kept.iter().position(|near| near.image == new.image) {
        if !is_nearer(&new, &kept[same]) {
            return;
        }
        kept.remove(same);
    }
    let at = kept.partition_point(|near| is_nearer(near, &new));
    kept.insert(at, new);
    kept.truncate(PER_WORD);
}

/// The rows whose images are kept, in order of preference: more than [`N_IMAGES`], since some may be bad.
pub fn image_rows(n_rows: u64, seed: u64) -> Vec<u64> {
    const TRIES: usize = 4 * N_IMAGES;
    Stream::new(seed, Purpose::ExampleImages, 0).distinct_below(n_rows, TRIES)
}

/// The middle of an image: at most 128 pixels a side, and no less than a patch; with the whole image's scaling.
pub fn middle(image: &Image, patch: PatchShape, normalize: Normalize) -> (Scaling, Image) {
    let pixels = image.pixels.as_ref();
    let scaling = Scaling::of(normalize, pixels);
    let height = image.height.min(MAX_SIDE.max(patch.height));
    let width = image.width.min(MAX_SIDE.max(patch.width));
    let (top, left) = ((image.height - height) / 2, (image.width - width) / 2);
    let kept = (top..top + height).flat_map(|row| {
        let channels = image.channels as usize;
        let start = row as usize * image.row_len() + left as usize * channels;
        (start..start + width as usize * channels).map(move |at| value(pixels, at))
    });
    let middle = Image {
        height,
        width,
        channels: image.channels,
        pixels: crate::kernel::image::Pixels::F32(kept.collect()),
    };
    (scaling, middle)
}

fn value(pixels: PixelsRef<'_>, at: usize) -> f32 {
    match pixels {
        PixelsRef::U8(pixels) => f32::from(pixels[at]),
        PixelsRef::F32(pixels) => pixels[at],
    }
}

/// Heap bytes that examples of such patches take at most: while they are kept, and while they are drawn.
pub fn heap_bytes(patch: PatchShape) -> u64 {
    let d = patch.len();
    let n_patches = N_RANDOM + MAX_WORDS * PER_WORD;
    let patches = n_patches.saturating_mul(d).min(2 * MAX_VALUES.max(d));
    let n_values = MAX_SIDE as usize * MAX_SIDE as usize * patch.channels as usize;
    let images = N_IMAGES * n_values.max(2 * d);
    // The values, once more as columns of a file, and as bytes of a picture and their text.
    (3 * (patches + images) * size_of::<f32>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::image::Pixels;
    use crate::kernel::sample::Record;
    use crate::kernel::vocabulary::Preparation;
    use crate::shard::spill::{Sample, SampleWriter};

    const PATCH: PatchShape = PatchShape {
        height: 1,
        width: 2,
        channels: 1,
    };

    /// Forty images of two rows; patch `i` of each starts at pixel `i`.
    fn sample(max_heap_bytes: u64) -> (tempfile::TempDir, Sample) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = SampleWriter::new(PATCH, max_heap_bytes, dir.path(), 0);
        for image in 0..40u64 {
            let pixels: Vec<u8> = (0..100).map(|i| (image * 37 + i * i) as u8).collect();
            let offsets: Vec<u32> = (0..49).chain(50..99).collect();
            let record = Record {
                image,
                scaling: Scaling {
                    centre: 0.0,
                    scale: 1.0,
                },
                row_stride: 50,
                offsets: &offsets,
                pixels: PixelsRef::U8(&pixels),
            };
            writer.push(&record).expect("pushed");
        }
        (dir, writer.finish().expect("finished"))
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary {
            whitening: None,
            documents: None,
            preparation: Preparation {
                patch: PATCH,
                normalize: Normalize::None,
                whiten: None,
            },
            centroids: vec![10.0, 10.0, 200.0, 100.0, 90.0, 250.0],
            counts: vec![3, 2, 1],
            inertia: vec![0.0; 3],
        }
    }

    #[test]
    fn the_nearest_patches_are_those_of_a_full_search_one_an_image() {
        let (_dir, sample) = sample(u64::MAX);
        let found = patches(
            &sample.view(),
            &sample.view(),
            &vocabulary(),
            Simd::Portable,
            7,
        );
        assert_eq!(found.n_searched, 40 * 98);
        for word in 0..3u32 {
            let centroid = &vocabulary().centroids[word as usize * 2..][..2];
            let mut all = Vec::new();
            for image in 0..40u64 {
                let pixel = |i: u64| f64::from((image * 37 + i * i) as u8);
                let distance = |i: u64| {
                    (pixel(i) - f64::from(centroid[0])).hypot(pixel(i + 1) - f64::from(centroid[1]))
                };
                let own = (0..49).chain(50..99).map(distance);
                all.push((own.fold(f64::INFINITY, f64::min), image));
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let near = found.nearest.iter().filter(|patch| patch.word == word);
            let near: Vec<f64> = near.map(|patch| patch.distance).collect();
            assert_eq!(near.len(), PER_WORD);
            for (found, (expected, _)) in near.iter().zip(all) {
                assert!((found - expected).abs() < 1e-9, "word {word}: {near:?}");
            }
        }
    }

    #[test]
    fn kept_patches_are_the_same_from_memory_and_from_a_file() {
        let (_a, in_memory) = sample(u64::MAX);
        let (_b, mapped) = sample(1000);
        let kept = |sample: &Sample, seed| {
            patches(
                &sample.view(),
                &sample.view(),
                &vocabulary(),
                Simd::Portable,
                seed,
            )
        };
        assert_eq!(kept(&in_memory, 7), kept(&mapped, 7));
        assert_ne!(kept(&in_memory, 7).random, kept(&mapped, 8).random);
        assert_eq!(kept(&in_memory, 7).random.len(), N_RANDOM);
    }

    #[test]
    fn of_a_large_image_the_middle_is_kept() {
        let image = Image {
            height: 2,
            width: 1000,
            channels: 1,
            pixels: Pixels::U8((0..2000).map(|i| (i / 10) as u8).collect()),
        };
        let (scaling, middle) = middle(&image, PATCH, Normalize::Image);
        assert_eq!((middle.height, middle.width), (2, MAX_SIDE));
        let Pixels::F32(pixels) = middle.pixels else {
            panic!("kept as float32");
        };
        assert_eq!((pixels[0], pixels[MAX_SIDE as usize]), (43.0, 143.0));
        assert_eq!(
            scaling,
            Scaling::of(Normalize::Image, image.pixels.as_ref())
        );
    }
}
