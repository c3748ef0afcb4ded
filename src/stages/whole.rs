//! Whole: images, or their vectors, as single patches, gathered for k-means end to end.
//!
//! The kernel searches the patches of one record together, so many whole images are put into a record. Which they are
//! depends on the rows alone, never on batches. Bad images are left out; all others must have one size.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use serde::{Deserialize, Serialize};

use super::decode::ImageBatch;
use super::gather::{Keepable, Kept};
use super::rows::{FeatureRows, other_file};
use crate::error::{Error, Place, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::image::{Image, Pixels, PixelsRef};
use crate::kernel::kmeans::values::ValueReader;
use crate::kernel::normalize::{Normalize, Scaling};
use crate::kernel::sample::{Record, SampleView};
use crate::shard::checkpoint;
use crate::shard::input::InputSet;
use crate::shard::spill::{Sample, SamplePosition, SampleWriter};

/// Images in a record.
const GROUP_IMAGES: usize = 64;

/// Most values of an image: offsets in a record are 32-bit numbers.
pub const MAX_VALUES: usize = u32::MAX as usize / GROUP_IMAGES;

/// The good images of a batch, or their vectors as images of one row.
#[derive(Debug)]
pub struct WholeBatch {
    /// Which shard, by its place in the input; 0 for vectors.
    pub shard: usize,
    /// Row number in the file, and the image.
    pub images: Vec<(u64, Image)>,
}

/// The good images of a batch.
pub fn images(batch: ImageBatch) -> WholeBatch {
    let row_in_file = batch.row_in_file;
    let good =
        |(row, image): (usize, Result<Image, _>)| Some((row_in_file + row as u64, image.ok()?));
    WholeBatch {
        shard: batch.shard,
        images: batch.images.into_iter().filter_map(good).collect(),
    }
}

/// The vectors of good images.
pub fn vectors(batch: &FeatureRows) -> Result<WholeBatch> {
    let other = || other_file(batch.place.clone(), "features");
    let lists = batch
        .rows
        .column_by_name("features")
        .and_then(|column| column.as_fixed_size_list_opt())
        .ok_or_else(other)?;
    let mut images = Vec::with_capacity(batch.is_good.len());
    for (row, _) in batch.is_good.iter().enumerate().filter(|(_, good)| **good) {
        let list = lists.value(row);
        let values = list.as_primitive_opt::<Float32Type>().ok_or_else(other)?;
        if list.null_count() > 0 || !values.values().iter().all(|value| value.is_finite()) {
            return Err(other());
        }
        let image = Image {
            height: 1,
            width: values.len() as u32,
            channels: 1,
            pixels: Pixels::F32(values.values().to_vec()),
        };
        images.push((batch.place.row.unwrap_or(0) + row as u64, image));
    }
    Ok(WholeBatch { shard: 0, images })
}

/// Gathers whole images into a sample in which each is one patch.
#[derive(Debug)]
pub struct WholeGather<'a> {
    input: &'a InputSet,
    shape: PatchShape,
    group: Group,
    writer: SampleWriter,
    max_heap_bytes: u64,
    spill_dir: &'a Path,
}

/// A point of a [`WholeGather`]: the sample's, and images that are in no record yet.
#[derive(Debug)]
pub struct WholePoint {
    sample: SamplePosition,
    group: Group,
}

impl<'a> WholeGather<'a> {
    /// An empty sample of images of `shape`, that takes about `max_heap_bytes` and then goes on in `spill_dir`.
    pub fn new(
        input: &'a InputSet,
        shape: PatchShape,
        max_heap_bytes: u64,
        spill_dir: &'a Path,
    ) -> WholeGather<'a> {
        assert!(shape.len() <= MAX_VALUES);
        WholeGather {
            input,
            shape,
            group: Group::default(),
            writer: SampleWriter::new(shape, max_heap_bytes, spill_dir, 0),
            max_heap_bytes,
            spill_dir,
        }
    }

    /// Goes on from the checkpoint in `file`, and says how many shards are gathered already: none where there is no
    /// checkpoint of the gathering `of`.
    pub fn go_on(&mut self, file: &Path, of: &str) -> Result<usize> {
        let kept: Option<Kept<Group>> = checkpoint::read(file, of);
        let Some(kept) = kept else { return Ok(0) };
        let (heap, dir) = (self.max_heap_bytes, self.spill_dir);
        let Some(writer) = SampleWriter::go_on(self.shape, heap, dir, kept.sample)? else {
            return Ok(0);
        };
        (self.writer, self.group) = (writer, kept.beside);
        Ok(kept.n_shards)
    }

    /// Upper bound on the heap bytes of a group of images of `d` values, and of its way into the sample.
    pub fn group_bytes(d: usize) -> u64 {
        // The group, the record that is made of it, and that record's vector while it grows; the group at a point.
        5 * (GROUP_IMAGES * d * size_of::<f32>()) as u64
    }

    /// Adds a batch.
    pub fn push(&mut self, batch: WholeBatch) -> Result<()> {
        for (row, image) in batch.images {
            if image.shape() != self.shape {
                let place = Place::file(&self.input.shards[batch.shard].path).row(row);
                return Err(other_size(place, &image, self.shape));
            }
            self.group.push(image.pixels);
            if self.group.n == GROUP_IMAGES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The finished sample.
    pub fn finish(mut self) -> Result<Sample> {
        self.flush()?;
        self.writer.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        let pixels = match &group.pixels {
            Pixels::U8(pixels) => PixelsRef::U8(pixels),
            Pixels::F32(pixels) => PixelsRef::F32(pixels),
        };
        let d = self.shape.len();
        let offsets: Vec<u32> = (0..group.n).map(|i| (i * d) as u32).collect();
        self.writer.push(&Record {
            image: self.writer.n_patches(),
            scaling: Scaling::of(Normalize::None, pixels),
            row_stride: self.shape.row_len() as u32,
            offsets: &offsets,
            pixels,
        })
    }
}

impl Keepable for WholeGather<'_> {
    type Point = WholePoint;

    fn point(&self) -> WholePoint {
        WholePoint {
            sample: self.writer.position(),
            group: self.group.clone(),
        }
    }

    fn keep(&mut self, at: &WholePoint, n_shards: usize, file: &Path, of: &str) -> Result<()> {
        self.writer.save()?;
        let kept = Kept {
            n_shards,
            sample: at.sample,
            beside: &at.group,
        };
        checkpoint::write(file, of, &kept).map(|_| ())
    }
}

/// How many of the images of a sample differ, as far as `limit`; values are told apart as float32, as centroids are.
pub fn n_distinct(sample: &SampleView<'_>, limit: usize) -> usize {
    let mut reader = ValueReader::new(sample.patch());
    let mut values = vec![0.0; sample.patch().len()];
    let mut found = HashSet::new();
    for row in 0..sample.n_patches() {
        if found.len() >= limit {
            break;
        }
        reader.read_patch(sample, row, &mut values);
        // 0 and -0 are one value.
        let bits = values.iter().map(|&value| (value as f32 + 0.0).to_bits());
        found.insert(bits.collect::<Vec<u32>>());
    }
    found.len()
}

/// The refusal of an image that is not of the size that the clustering has.
pub fn other_size(place: Place, image: &Image, expected: PatchShape) -> Error {
    Error::File {
        place,
        message: format!(
            "the image has {} pixels, the first one of the job has {expected}; k-means of pixels needs images of one size",
            image.shape()
        ),
        help: Some(
            "cluster of = \"features\", which takes images of any size, or leave out the [[cluster]] of = \"pixels\""
                .to_owned(),
        ),
    }
}

/// Images end to end.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Group {
    n: usize,
    pixels: Pixels,
}

impl Default for Group {
    fn default() -> Group {
        Group {
            n: 0,
            pixels: Pixels::U8(Vec::new()),
        }
    }
}

impl Group {
    /// Adds an image. Bytes become float32, the same numbers, where another image of the group has them.
    fn push(&mut self, image: Pixels) {
        self.n += 1;
        match (&mut self.pixels, image) {
            (Pixels::U8(all), Pixels::U8(image)) => all.extend(image),
            (Pixels::F32(all), Pixels::F32(image)) => all.extend(image),
            (Pixels::F32(all), Pixels::U8(image)) => all.extend(image.into_iter().map(f32::from)),
            (Pixels::U8(all), Pixels::F32(image)) => {
                let floats = all.iter().copied().map(f32::from);
                self.pixels = Pixels::F32(floats.chain(image).collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_floats_in_one_group_keep_their_values() {
        let mut group = Group::default();
        group.push(Pixels::U8(vec![1, 255]));
        group.push(Pixels::F32(vec![0.5, -3.0]));
        group.push(Pixels::U8(vec![7, 0]));
        assert_eq!(group.n, 3);
        assert_eq!(
            group.pixels,
            Pixels::F32(vec![1.0, 255.0, 0.5, -3.0, 7.0, 0.0])
        );
    }
}
