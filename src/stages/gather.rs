//! Gather: the fold before k-means. Keeps the sample compactly, and no more patches than the job allows.
//!
//! With `max_patches`, those with the smallest hashes over all images stay. That choice needs no second pass: whenever
//! twice as many are held, the larger half by hash can never come back.
//!
//! A gathering can be kept on disk, as it stood at the end of a shard, and gone on with from there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sample::SampleBatch;
use crate::error::Result;
use crate::kernel::grid::PatchShape;
use crate::kernel::sample::Record;
use crate::shard::checkpoint;
use crate::shard::spill::{Sample, SamplePosition, SampleWriter, remove_samples};

/// A gathering that can be kept on disk.
pub trait Keepable {
    /// A point of it: small, and good until the sample is thinned out.
    type Point;

    /// Where it stands.
    fn point(&self) -> Self::Point;

    /// Puts the sample onto the disk, and into `file` a checkpoint of the gathering `of`, as it was at a point: the end of
    /// the first `n_shards`. Does nothing where the point is no good any more.
    fn keep(&mut self, at: &Self::Point, n_shards: usize, file: &Path, of: &str) -> Result<()>;
}

/// What stands beside a limited sample: the largest hash that is wanted, and the hashes of its patches.
type Beside = Option<(u64, Vec<u64>)>;

/// A gathering on disk: `beside` is what belongs to the sample and is not in its files.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept<B> {
    pub(super) n_shards: usize,
    pub(super) sample: SamplePosition,
    pub(super) beside: B,
}

/// Gathers a sample.
#[derive(Debug)]
pub struct Gather<'a> {
    patch: PatchShape,
    max_heap_bytes: u64,
    spill_dir: &'a Path,
    writer: SampleWriter,
    limit: Option<Limit>,
    // Samples that were thinned out, and the one that the last checkpoint needs.
    n_old: u64,
    kept: Option<u64>,
}

/// A point of a [`Gather`].
#[derive(Debug, Clone, Copy)]
pub struct GatherPoint {
    sample: SamplePosition,
    n_hashes: usize,
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
            writer: SampleWriter::new(patch, max_heap_bytes, spill_dir, 0),
            limit: max_patches.map(|max_patches| Limit {
                max_patches,
                hashes: Vec::new(),
                largest: u64::MAX,
            }),
            n_old: 0,
            kept: None,
        }
    }

    /// Goes on from the checkpoint in `file`, and says how many shards are gathered already: none where there is no
    /// checkpoint of the gathering `of`.
    pub fn go_on(&mut self, file: &Path, of: &str) -> Result<usize> {
        let Some(kept) = checkpoint::read::<Kept<Beside>>(file, of) else {
            return Ok(0);
        };
        let (heap, dir) = (self.max_heap_bytes, self.spill_dir);
        let Some(writer) = SampleWriter::go_on(self.patch, heap, dir, kept.sample)? else {
            return Ok(0);
        };
        self.writer = writer;
        self.n_old = kept.sample.number;
        self.kept = Some(self.n_old);
        if let (Some(limit), Some((largest, hashes))) = (&mut self.limit, kept.beside) {
            (limit.largest, limit.hashes) = (largest, hashes);
        }
        Ok(kept.n_shards)
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
        self.thin_out_where_full()
    }

    /// Adds patches of an image that another gathering, of a part of the images, has kept; `hashes` are theirs, one each
    /// where the sample is limited.
    pub fn push_record(&mut self, record: &Record<'_>, hashes: &[u64]) -> Result<()> {
        let Some(limit) = &mut self.limit else {
            return self.writer.push(record);
        };
        debug_assert_eq!(record.offsets.len(), hashes.len());
        let kept = || {
            let all = record.offsets.iter().zip(hashes);
            all.filter(|(_, hash)| **hash <= limit.largest)
        };
        let offsets: Vec<u32> = kept().map(|(&offset, _)| offset).collect();
        let hashes: Vec<u64> = kept().map(|(_, &hash)| hash).collect();
        limit.hashes.extend(hashes);
        self.writer.push(&Record {
            offsets: &offsets,
            ..*record
        })?;
        self.thin_out_where_full()
    }

    /// The finished sample.
    pub fn finish(self) -> Result<Sample> {
        Ok(self.finish_with_hashes()?.0)
    }

    /// The finished sample, and the hashes of its patches, in its order; none where it is not limited.
    pub fn finish_with_hashes(mut self) -> Result<(Sample, Vec<u64>)> {
        if self
            .limit
            .as_ref()
            .is_some_and(|limit| limit.hashes.len() as u64 > limit.max_patches)
        {
            self.thin_out()?;
        }
        let hashes = self.limit.map_or_else(Vec::new, |limit| limit.hashes);
        Ok((self.writer.finish()?, hashes))
    }

    fn thin_out_where_full(&mut self) -> Result<()> {
        match &self.limit {
            Some(limit) if limit.hashes.len() as u64 > limit.max_patches.saturating_mul(2) => {
                self.thin_out()
            }
            _ => Ok(()),
        }
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
        // A checkpoint may need the old files.
        self.n_old += 1;
        let (patch, heap, dir) = (self.patch, self.max_heap_bytes, self.spill_dir);
        let empty = SampleWriter::new(patch, heap, dir, self.n_old);
        let old = std::mem::replace(&mut self.writer, empty).finish()?;
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
            self.writer.push(&patches.record(&offsets))?;
        }
        self.remove_old()
    }

    /// Removes the files of samples that neither this gathering nor its checkpoint needs.
    fn remove_old(&self) -> Result<()> {
        remove_samples(
            self.spill_dir,
            &[self.n_old, self.kept.unwrap_or(self.n_old)],
        )
    }
}

impl Keepable for Gather<'_> {
    type Point = GatherPoint;

    fn point(&self) -> GatherPoint {
        GatherPoint {
            sample: self.writer.position(),
            n_hashes: self.limit.as_ref().map_or(0, |limit| limit.hashes.len()),
        }
    }

    fn keep(&mut self, at: &GatherPoint, n_shards: usize, file: &Path, of: &str) -> Result<()> {
        if at.sample.number != self.n_old {
            return Ok(());
        }
        self.writer.save()?;
        let limit = self.limit.as_ref();
        let kept = Kept {
            n_shards,
            sample: at.sample,
            beside: limit.map(|limit| (limit.largest, &limit.hashes[..at.n_hashes])),
        };
        checkpoint::write(file, of, &kept)?;
        self.kept = Some(self.n_old);
        self.remove_old()
    }
}
