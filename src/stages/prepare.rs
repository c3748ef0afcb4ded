//! Prepare: a finished sample of pixels becomes one of values that k-means can take as they are.
//!
//! Only for patches whose values are not those of their image less one number and over another: those normalised by
//! themselves, and whitened ones. The whitening is learned here, from the same sample. Sums are split into parts by the
//! sample alone and merged in order, so no number of threads changes a byte; the sample is streamed, block by block.

use std::ops::Range;
use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::{Error, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::image::PixelsRef;
use crate::kernel::normalize::{Normalize, Scaling};
use crate::kernel::prepare::Preparer;
use crate::kernel::sample::{BLOCK_PATCHES, Record, SampleView};
use crate::kernel::vocabulary::{Preparation, Vocabulary};
use crate::kernel::whiten::{CannotWhiten, Moments, Whitening};
use crate::shard::spill::{Sample, SampleWriter};

use super::threads::on_threads;

/// The number that the prepared sample's files are called by; gathered samples count from 0.
const SAMPLE_NUMBER: u64 = u64::MAX;
/// Parts that covariances are summed in.
const PARTS: u64 = 16;
/// Blocks that are prepared side by side before they are written.
const BLOCKS_AT_ONCE: u64 = 16;

/// A prepared sample.
#[derive(Debug)]
pub struct Prepared {
    /// The whitening, if the preparation has one.
    pub whitening: Option<Whitening>,
    /// The patches, in the order of the sample they were made of.
    pub sample: Sample,
}

/// How prepared patches of `d` values are cut and prepared further: not at all.
pub fn as_values(d: usize) -> Preparation {
    Preparation {
        patch: PatchShape {
            height: 1,
            width: d as u32,
            channels: 1,
        },
        normalize: Normalize::None,
        whiten: None,
    }
}

/// What k-means takes of a sample: its patches as they lie there, or prepared.
#[derive(Debug)]
pub struct Values {
    preparation: Preparation,
    prepared: Option<Prepared>,
}

impl Values {
    /// Those of a sample whose patches have this preparation; `max_heap_bytes` of them are held in memory, the rest goes into
    /// a file in `dir`.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn new(
        sample: &SampleView<'_>,
        preparation: &Preparation,
        threads: usize,
        max_heap_bytes: u64,
        dir: &Path,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Values> {
        let prepared = match preparation.is_by_image() {
            true => None,
            false => Some(prepare(
                sample,
                preparation,
                threads,
                max_heap_bytes,
                dir,
                stop,
            )?),
        };
        Ok(Values {
            preparation: *preparation,
            prepared,
        })
    }

    /// The values, of the sample that they were made of.
    pub fn view<'a>(&'a self, sample: SampleView<'a>) -> SampleView<'a> {
        self.prepared
            .as_ref()
            .map_or(sample, |prepared| prepared.sample.view())
    }

    /// How they are cut and prepared further.
    pub fn preparation(&self) -> Preparation {
        match self.prepared {
            Some(_) => as_values(self.preparation.patch.len()),
            None => self.preparation,
        }
    }

    /// Words that were learned of the values become words of patches.
    pub fn to_patches(&self, vocabulary: &mut Vocabulary) {
        vocabulary.preparation = self.preparation;
        vocabulary.whitening = self
            .prepared
            .as_ref()
            .and_then(|prepared| prepared.whitening.clone());
    }
}

/// Upper bound on the heap bytes of [`prepare`] beside the samples.
pub fn heap_bytes(preparation: &Preparation, threads: usize) -> u64 {
    let d = preparation.patch.len();
    let block = ((BLOCK_PATCHES + 64) * (d + 1) * 4) as u64;
    let whitening = match preparation.whiten {
        Some(_) => (PARTS + 1) * Moments::heap_bytes(d) + Moments::whitening_heap_bytes(d),
        None => 0,
    };
    let workers = threads as u64 * (Preparer::heap_bytes(d) + 8 * d as u64);
    // Blocks side by side, and one more as a record, in a vector that grows.
    whitening.max((BLOCKS_AT_ONCE + 4) * block) + workers
}

/// Prepares the patches of `sample` with `threads` threads; the new sample takes at most `max_heap_bytes` of memory, and goes
/// on in a file in `dir`.
///
/// # Errors
/// [`Error::Setting`] where the sample cannot be whitened; [`Error::Interrupted`] once `stop` says so; what writing gives.
pub fn prepare(
    sample: &SampleView<'_>,
    preparation: &Preparation,
    threads: usize,
    max_heap_bytes: u64,
    dir: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Prepared> {
    let task = Task {
        sample,
        preparation,
        stop,
    };
    on_threads("prepare", threads, || task.run(max_heap_bytes, dir))
}

struct Task<'a> {
    sample: &'a SampleView<'a>,
    preparation: &'a Preparation,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Task<'_> {
    fn run(&self, max_heap_bytes: u64, dir: &Path) -> Result<Prepared> {
        let whitening = match self.preparation.whiten {
            Some(epsilon) => Some(self.whitening(epsilon)?),
            None => None,
        };
        let d = self.preparation.patch.len();
        let mut writer = SampleWriter::new(as_values(d).patch, max_heap_bytes, dir, SAMPLE_NUMBER);
        let n_blocks = self.sample.n_blocks();
        for first in (0..n_blocks).step_by(BLOCKS_AT_ONCE as usize) {
            self.check_stop()?;
            let blocks: Vec<(u64, Vec<f32>)> = (first..n_blocks.min(first + BLOCKS_AT_ONCE))
                .into_par_iter()
                .map(|block| self.block(block, whitening.as_ref()))
                .collect();
            for (image, values) in blocks {
                push(&mut writer, image, &values, d)?;
            }
        }
        Ok(Prepared {
            whitening,
            sample: writer.finish()?,
        })
    }

    /// The whitening of the whole sample.
    fn whitening(&self, epsilon: f64) -> Result<Whitening> {
        let n_blocks = self.sample.n_blocks();
        let part = |part: u64| part * n_blocks / PARTS..(part + 1) * n_blocks / PARTS;
        let parts: Result<Vec<Moments>> = (0..PARTS)
            .into_par_iter()
            .map(|at| self.moments(part(at)))
            .collect();
        let d = self.preparation.patch.len();
        let mut all = Moments::new(d);
        for part in parts? {
            all.merge(&part);
        }
        all.whitening(epsilon).map_err(|why| {
            let (message, help) = match why {
                CannotWhiten::TooFew => (
                    format!(
                        "{} sampled patches are fewer than the {d} values of a patch, which whitening needs at least",
                        self.sample.n_patches()
                    ),
                    "sample more patches: sample.every, sample.per_image; or take smaller ones",
                ),
                CannotWhiten::Constant => (
                    "all sampled patches are the same, so there is nothing to whiten by".to_owned(),
                    "leave patches.whiten out, or sample other images",
                ),
            };
            Error::setting("patches.whiten", message, help)
        })
    }

    fn moments(&self, blocks: Range<u64>) -> Result<Moments> {
        let d = self.preparation.patch.len();
        let unwhitened = Preparation {
            whiten: None,
            ..*self.preparation
        };
        let mut preparer = Preparer::new(&unwhitened, None);
        let mut moments = Moments::new(d);
        let mut values = vec![0.0; d];
        for block in blocks {
            self.check_stop()?;
            let patches = self.sample.block(block).patches;
            for offset in patches.offsets() {
                preparer.values(&patches, offset, &mut values);
                moments.add(&values);
            }
        }
        Ok(moments)
    }

    /// The prepared patches of a block, and its image.
    fn block(&self, block: u64, whitening: Option<&Whitening>) -> (u64, Vec<f32>) {
        let mut preparer = Preparer::new(self.preparation, whitening);
        let mut values = vec![0.0; self.preparation.patch.len()];
        let patches = self.sample.block(block).patches;
        let mut prepared = Vec::with_capacity(patches.len() * values.len());
        for offset in patches.offsets() {
            preparer.values(&patches, offset, &mut values);
            prepared.extend(values.iter().map(|&value| value as f32));
        }
        (patches.image, prepared)
    }

    fn check_stop(&self) -> Result<()> {
        match (self.stop)() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

fn push(writer: &mut SampleWriter, image: u64, values: &[f32], d: usize) -> Result<()> {
    let offsets: Vec<u32> = (0..values.len() / d).map(|i| (i * d) as u32).collect();
    let pixels = PixelsRef::F32(values);
    writer.push(&Record {
        image,
        scaling: Scaling::of(Normalize::None, pixels),
        row_stride: d as u32,
        offsets: &offsets,
        pixels,
    })
}
