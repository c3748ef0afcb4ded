//! Where the sample is kept: in memory while it fits, then in a file of its own that is mapped.
//!
//! The file has no name, so nothing is left behind however the process ends. Which of the two is used changes no bit of
//! the result: both give the same [`SampleView`].

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::map;
use crate::error::{Error, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::sample::{IndexEntry, Record, SampleView};

/// A sample that is being gathered, record by record.
#[derive(Debug)]
pub struct SampleWriter {
    patch: PatchShape,
    max_heap_bytes: u64,
    spill_dir: PathBuf,
    words: Vec<u64>,
    index: Vec<IndexEntry>,
    next: IndexEntry,
    spilled: Option<Spilled>,
}

#[derive(Debug)]
struct Spilled {
    words: BufWriter<File>,
    index: BufWriter<File>,
}

/// A finished sample.
#[derive(Debug)]
pub struct Sample {
    patch: PatchShape,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Heap {
        words: Vec<u64>,
        index: Vec<IndexEntry>,
    },
    Mapped {
        words: Mmap,
        index: Mmap,
    },
}

impl SampleWriter {
    /// An empty sample that takes at most `max_heap_bytes` of memory, and goes on in a file in `spill_dir`.
    pub fn new(patch: PatchShape, max_heap_bytes: u64, spill_dir: &Path) -> SampleWriter {
        SampleWriter {
            patch,
            max_heap_bytes,
            spill_dir: spill_dir.to_owned(),
            words: Vec::new(),
            index: Vec::new(),
            next: IndexEntry::default(),
            spilled: None,
        }
    }

    /// Patches so far.
    pub fn n_patches(&self) -> u64 {
        self.next.patch
    }

    /// Adds the patches of one image; none is no record.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        if record.offsets.is_empty() {
            return Ok(());
        }
        self.index.push(self.next);
        self.next = self.next.append(record, self.patch, &mut self.words);
        if self.heap_bytes() > self.max_heap_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// The finished sample.
    pub fn finish(mut self) -> Result<Sample> {
        self.index.push(self.next);
        let storage = if self.spilled.is_some() {
            self.spill()?;
            let Some(spilled) = self.spilled else {
                unreachable!("spilled above");
            };
            Storage::Mapped {
                words: map_spilled(spilled.words, &self.spill_dir)?,
                index: map_spilled(spilled.index, &self.spill_dir)?,
            }
        } else {
            Storage::Heap {
                words: self.words,
                index: self.index,
            }
        };
        Ok(Sample {
            patch: self.patch,
            storage,
        })
    }

    fn heap_bytes(&self) -> u64 {
        // While a vector grows, one of its length and one of twice that exist.
        3 * (size_of_val(self.words.as_slice()) + size_of_val(self.index.as_slice())) as u64
    }

    fn spill(&mut self) -> Result<()> {
        let error = |source| {
            Error::io(
                &self.spill_dir,
                "spill the sample to a temporary file in",
                source,
            )
        };
        if self.spilled.is_none() {
            let file = || tempfile::tempfile_in(&self.spill_dir).map_err(error);
            self.spilled = Some(Spilled {
                words: BufWriter::new(file()?),
                index: BufWriter::new(file()?),
            });
        }
        if let Some(spilled) = &mut self.spilled {
            spilled
                .words
                .write_all(bytemuck::cast_slice(&self.words))
                .and_then(|()| spilled.index.write_all(bytemuck::cast_slice(&self.index)))
                .map_err(error)?;
        }
        self.words.clear();
        self.index.clear();
        Ok(())
    }
}

fn map_spilled(file: BufWriter<File>, dir: &Path) -> Result<Mmap> {
    let file = file.into_inner().map_err(|error| {
        Error::io(
            dir,
            "spill the sample to a temporary file in",
            error.into_error(),
        )
    })?;
    map::map(dir, &file)
}

impl Sample {
    /// The sample, to read.
    pub fn view(&self) -> SampleView<'_> {
        match &self.storage {
            Storage::Heap { words, index } => SampleView::new(words, index, self.patch),
            Storage::Mapped { words, index } => SampleView::new(
                bytemuck::cast_slice(words),
                bytemuck::cast_slice(index),
                self.patch,
            ),
        }
    }

    /// Bytes of memory that it takes; mapped pages are not counted.
    pub fn heap_bytes(&self) -> u64 {
        match &self.storage {
            Storage::Heap { words, index } => {
                (words.capacity() * size_of::<u64>() + index.capacity() * size_of::<IndexEntry>())
                    as u64
            }
            Storage::Mapped { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::image::PixelsRef;
    use crate::kernel::normalize::Scaling;
    use crate::kernel::sample::Patches;

    const PATCH: PatchShape = PatchShape {
        height: 2,
        width: 2,
    };

    fn gather(max_heap_bytes: u64) -> Sample {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = SampleWriter::new(PATCH, max_heap_bytes, dir.path());
        for image in 0..50u64 {
            let pixels: Vec<u8> = (0..30).map(|i| (image * 7 + i) as u8).collect();
            let floats: Vec<f32> = pixels.iter().map(|&p| f32::from(p) + 0.5).collect();
            let mut offsets: Vec<u32> = (0..(image % 19) as u32).map(|i| (i * 5) % 23).collect();
            offsets.sort_unstable();
            writer
                .push(&Record {
                    image,
                    scaling: Scaling {
                        centre: image as f64,
                        scale: 2.0,
                    },
                    row_stride: 6,
                    offsets: &offsets,
                    pixels: if image % 2 == 0 {
                        PixelsRef::U8(&pixels)
                    } else {
                        PixelsRef::F32(&floats)
                    },
                })
                .expect("pushed");
        }
        writer.finish().expect("finished")
    }

    fn patches(sample: &Sample) -> Vec<(u64, Vec<f64>)> {
        let view = sample.view();
        let mut patches = Vec::new();
        for index in 0..view.n_blocks() {
            let block = view.block(index);
            assert_eq!(block.first_patch, patches.len() as u64);
            for offset in block.patches.offsets() {
                let patch = &block.patches;
                let (found, found_offset) = view.find_patch(patches.len() as u64);
                let at = |patch: &Patches<'_>, offset: u32| {
                    let stride = patch.row_stride;
                    [0, 1, stride, stride + 1]
                        .map(|i| patch.pixels.get((offset + i) as usize))
                        .to_vec()
                };
                assert_eq!(at(&found, found_offset), at(patch, offset));
                patches.push((patch.image, at(patch, offset)));
            }
        }
        patches
    }

    #[test]
    fn a_spilled_sample_holds_the_same_patches_as_one_in_memory() {
        let (heap, mapped) = (gather(u64::MAX), gather(1000));
        assert_eq!(mapped.heap_bytes(), 0);
        assert_eq!(patches(&heap), patches(&mapped));
        assert_eq!(heap.view().n_patches(), patches(&heap).len() as u64);
    }

    #[test]
    fn few_patches_of_an_image_are_cut_out_and_stay_the_same() {
        let sample = gather(u64::MAX);
        let expected: Vec<(u64, Vec<f64>)> = (0..50u64)
            .flat_map(|image| {
                let mut firsts: Vec<u64> = (0..image % 19).map(|i| (i * 5) % 23).collect();
                firsts.sort_unstable();
                firsts.into_iter().map(move |first| {
                    let half = if image % 2 == 0 { 0.0 } else { 0.5 };
                    let at = |p: u64| f64::from((image * 7 + first + p) as u8) + half;
                    (image, vec![at(0), at(1), at(6), at(7)])
                })
            })
            .collect();
        assert_eq!(patches(&sample), expected);
    }
}
