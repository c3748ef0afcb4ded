//! Where the sample is kept: in memory while it fits, then in a file of its own that is mapped.
//!
//! The file is called by a number and outlives the process, so that a sample can be gone on with from any
//! [`SamplePosition`] that was saved; whoever needs none of them any more calls [`remove_samples`]. Where a sample is kept
//! changes no bit of the result: all give the same [`SampleView`].

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
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
    n_records: u64,
    number: u64,
    spilled: Option<Spilled>,
}

/// How the files of samples are called.
const SAMPLE_PREFIX: &str = ".bovw-sample-";

/// A point of a sample, at the end of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SamplePosition {
    /// The number of its files.
    pub number: u64,
    /// Records before it.
    pub n_records: u64,
    /// Where the next record begins.
    pub next: IndexEntry,
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
    /// An empty sample that takes at most `max_heap_bytes` of memory, and goes on in files of this number in `spill_dir`.
    pub fn new(
        patch: PatchShape,
        max_heap_bytes: u64,
        spill_dir: &Path,
        number: u64,
    ) -> SampleWriter {
        SampleWriter {
            patch,
            max_heap_bytes,
            spill_dir: spill_dir.to_owned(),
            words: Vec::new(),
            index: Vec::new(),
            next: IndexEntry::default(),
            n_records: 0,
            number,
            spilled: None,
        }
    }

    /// Goes on with a sample at a position that was saved; `None` where its files are not whole.
    pub fn go_on(
        patch: PatchShape,
        max_heap_bytes: u64,
        dir: &Path,
        at: SamplePosition,
    ) -> Result<Option<SampleWriter>> {
        let words = reopen(&words_path(dir, at.number), at.next.word, size_of::<u64>())?;
        let index = index_path(dir, at.number);
        let index = reopen(&index, at.n_records, size_of::<IndexEntry>())?;
        let (Some(words), Some(index)) = (words, index) else {
            return Ok(None);
        };
        Ok(Some(SampleWriter {
            next: at.next,
            n_records: at.n_records,
            spilled: Some(Spilled { words, index }),
            ..SampleWriter::new(patch, max_heap_bytes, dir, at.number)
        }))
    }

    /// Where the sample stands.
    pub fn position(&self) -> SamplePosition {
        SamplePosition {
            number: self.number,
            n_records: self.n_records,
            next: self.next,
        }
    }

    /// Puts all there is into the files, and these onto the disk.
    pub fn save(&mut self) -> Result<()> {
        self.spill()?;
        let Some(spilled) = &mut self.spilled else {
            unreachable!("spilled above");
        };
        for file in [&mut spilled.words, &mut spilled.index] {
            file.flush()
                .and_then(|()| file.get_ref().sync_data())
                .map_err(|source| spill_error(&self.spill_dir, source))?;
        }
        Ok(())
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
        self.n_records += 1;
        self.next = self.next.append(record, self.patch, &mut self.words);
        if self.heap_bytes() > self.max_heap_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// The finished sample.
    pub fn finish(mut self) -> Result<Sample> {
        self.index.push(self.next);
        // What is empty cannot be mapped.
        let storage = if self.spilled.is_some() && self.next.word > 0 {
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
        let error = |source| spill_error(&self.spill_dir, source);
        if self.spilled.is_none() {
            let [words, index] = self.files()?;
            self.spilled = Some(Spilled {
                words: BufWriter::new(words),
                index: BufWriter::new(index),
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

    /// New, empty files.
    fn files(&self) -> Result<[File; 2]> {
        let create = |path: PathBuf| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true);
            options
                .open(&path)
                .map_err(|source| Error::io(&path, "create", source))
        };
        Ok([
            create(words_path(&self.spill_dir, self.number))?,
            create(index_path(&self.spill_dir, self.number))?,
        ])
    }
}

fn words_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{SAMPLE_PREFIX}{number}.words"))
}

fn index_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{SAMPLE_PREFIX}{number}.index"))
}

/// A file, cut after `n` values and ready to take more; `None` where it has fewer.
fn reopen(path: &Path, n: u64, value_bytes: usize) -> Result<Option<BufWriter<File>>> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "open", error)),
    };
    let error = |source| Error::io(path, "go on with", source);
    let bytes = n.saturating_mul(value_bytes as u64);
    if file.metadata().map_err(error)?.len() < bytes {
        return Ok(None);
    }
    file.set_len(bytes).map_err(error)?;
    file.seek(SeekFrom::End(0)).map_err(error)?;
    Ok(Some(BufWriter::new(file)))
}

/// Removes the files of all samples in a folder but those of some numbers.
pub fn remove_samples(dir: &Path, but: &[u64]) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|source| Error::io(dir, "list", source))?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::io(dir, "list", source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(number) = name.strip_prefix(SAMPLE_PREFIX) else {
            continue;
        };
        let number = number.split('.').next().and_then(|n| n.parse().ok());
        if number.is_none_or(|number: u64| !but.contains(&number)) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| Error::io(&path, "remove", source))?;
        }
    }
    Ok(())
}

fn spill_error(dir: &Path, source: std::io::Error) -> Error {
    Error::io(dir, "spill the sample to a file in", source)
}

fn map_spilled(file: BufWriter<File>, dir: &Path) -> Result<Mmap> {
    let file = file
        .into_inner()
        .map_err(|error| spill_error(dir, error.into_error()))?;
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
        channels: 1,
    };

    fn gather(max_heap_bytes: u64) -> Sample {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = SampleWriter::new(PATCH, max_heap_bytes, dir.path(), 0);
        (0..50).for_each(|image| push(&mut writer, image));
        writer.finish().expect("finished")
    }

    fn push(writer: &mut SampleWriter, image: u64) {
        {
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
                    pixels: if image.is_multiple_of(2) {
                        PixelsRef::U8(&pixels)
                    } else {
                        PixelsRef::F32(&floats)
                    },
                })
                .expect("pushed");
        }
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

    #[test]
    fn a_sample_goes_on_from_any_saved_position_to_the_same_patches() {
        let expected = patches(&gather(u64::MAX));
        let dir = tempfile::tempdir().expect("a folder");
        for stop in [0, 1, 20, 49] {
            for lost in [0, 1, 7] {
                let mut writer = SampleWriter::new(PATCH, 500, dir.path(), 3);
                (0..stop).for_each(|image| push(&mut writer, image));
                writer.save().expect("saved");
                let at = writer.position();
                // What came after the last save is made again.
                (stop..(stop + lost).min(50)).for_each(|image| push(&mut writer, image));
                drop(writer);
                let writer = SampleWriter::go_on(PATCH, u64::MAX, dir.path(), at);
                let mut writer = writer.expect("readable").expect("whole");
                assert_eq!(writer.position(), at);
                (stop..50).for_each(|image| push(&mut writer, image));
                assert_eq!(patches(&writer.finish().expect("finished")), expected);
            }
        }
        remove_samples(dir.path(), &[4]).expect("removed");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_sample_whose_files_are_gone_or_short_is_not_gone_on_with() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = SampleWriter::new(PATCH, 500, dir.path(), 0);
        (0..9).for_each(|image| push(&mut writer, image));
        writer.save().expect("saved");
        let at = writer.position();
        drop(writer);
        for path in [words_path(dir.path(), 0), index_path(dir.path(), 0)] {
            let whole = fs::read(&path).expect("readable");
            fs::write(&path, &whole[..whole.len() - 1]).expect("written");
            let short = SampleWriter::go_on(PATCH, 500, dir.path(), at).expect("no error");
            assert!(short.is_none());
            fs::write(&path, &whole).expect("written");
        }
        remove_samples(dir.path(), &[]).expect("removed");
        let gone = SampleWriter::go_on(PATCH, 500, dir.path(), at).expect("no error");
        assert!(gone.is_none());
    }
}
