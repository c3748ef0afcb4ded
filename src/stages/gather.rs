//! Gather: the fold before k-means. Keeps the sample compactly, and no more patches than the job allows.
//!
//! With `max_patches`, those with the smallest hashes over all images stay. That choice needs no second pass: whenever
//! twice as many are held, the larger half by hash can never come back.

use std::path::Path;

use super::sample::SampleBatch;
use crate::error::Result;
use crate::kernel::grid::PatchShape;
use crate::kernel::sample::Record;
use crate::shard::spill::{Sample, SampleWriter};

/// Gathers a sample.
#[derive(Debug)]
pub struct Gather<'a> {
    patch: PatchShape,
    max_heap_bytes: u64,
    spill_dir: &'a Path,
    writer: SampleWriter,
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    max_patches: u64,
    // Hash of every patch held, in the order of the sample.
    hashes: Vec<u64>,
    // Patches with a larger hash are not wanted any more.
    largest: u64,
}

impl<'a> Gather<'a> {
    /// An empty sample of at most `max_patches`, that takes about `max_heap_bytes` and then goes on in `spill_dir`.
    pub fn new(
        patch: PatchShape,
        max_patches: Option<u64>,
        max_heap_bytes: u64,
        spill_dir: &'a Path,
    ) -> Gather<'a> {
        // While a limited sample is thinned out, two of them exist.
        let max_heap_bytes = if max_patches.is_some() {
            max_heap_bytes / 2
        } else {
            max_heap_bytes
        };
        Gather {
            patch,
            max_heap_bytes,
            spill_dir,
            writer: SampleWriter::new(patch, max_heap_bytes, spill_dir),
            limit: max_patches.map(|max_patches| Limit {
                max_patches,
                hashes: Vec::new(),
                largest: u64::MAX,
            }),
        }
    }

    /// Adds a batch.
    pub fn push(&mut self, mut batch: SampleBatch) -> Result<()> {
        for image in &mut batch.images {
            if let Some(limit) = &mut self.limit {
                image.keep_up_to(limit.largest);
                limit.hashes.extend_from_slice(&image.hashes);
            }
            self.writer.push(&image.record())?;
        }
        if self
            .limit
            .as_ref()
            .is_some_and(|limit| limit.hashes.len() as u64 > limit.max_patches.saturating_mul(2))
        {
            self.thin_out()?;
        }
        Ok(())
    }

    /// The finished sample.
    pub fn finish(mut self) -> Result<Sample> {
        if self
            .limit
            .as_ref()
            .is_some_and(|limit| limit.hashes.len() as u64 > limit.max_patches)
        {
            self.thin_out()?;
        }
        self.writer.finish()
    }

    /// Keeps the patches with the `max_patches` smallest hashes.
    fn thin_out(&mut self) -> Result<()> {
        let Some(limit) = &mut self.limit else {
            return Ok(());
        };
        let mut sorted = limit.hashes.clone();
        let last = limit.max_patches as usize - 1;
        limit.largest = *sorted.select_nth_unstable(last).1;
        drop(sorted);
        let empty = || SampleWriter::new(self.patch, self.max_heap_bytes, self.spill_dir);
        let old = std::mem::replace(&mut self.writer, empty()).finish()?;
        let view = old.view();
        let hashes = std::mem::take(&mut limit.hashes);
        let mut rest = hashes.as_slice();
        for index in 0..view.n_records() {
            let patches = view.record(index);
            let (own, others) = rest.split_at(patches.len());
            rest = others;
            let stays = |(_, hash): &(u32, u64)| *hash <= limit.largest;
            let kept = || patches.offsets().zip(own.iter().copied()).filter(stays);
            limit.hashes.extend(kept().map(|(_, hash)| hash));
            let offsets: Vec<u32> = kept().map(|(offset, _)| offset).collect();
            self.writer.push(&Record {
                image: patches.image,
                scaling: patches.scaling,
                row_stride: patches.row_stride,
                offsets: &offsets,
                pixels: patches.pixels,
            })?;
        }
        Ok(())
    }
}
