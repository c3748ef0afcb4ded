//! From a program's images to words: the sample that a run draws, image by image and however they come, and the words that
//! a run learns of it.
//!
//! An image is known by a number, and what is drawn of it depends on that and the seed alone. So samples can be drawn in
//! many places, go from one to another as sketches, and be merged in any order: the words are the same. Two images of one
//! number are one image. The sample stays within its share of `run.memory`, and beyond it goes to files that end with the
//! learner; numbers that were given or made of pixels, some forty bytes each, do not.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use rayon::prelude::*;
use tempfile::TempDir;

use super::featurizer::{IMAGES_AT_ONCE, Picture, Work};
use super::settings::{job_to_learn, provenance};
use crate::error::{Error, Place, Result};
use crate::flow;
use crate::job::{Color, Job, OnBadImage, Overrides, VocabularySource};
use crate::kernel::encode::{Lexicons, Recipe};
use crate::kernel::image::{Image, PixelsRef};
use crate::kernel::kmeans::KMeansParams;
use crate::kernel::kmeans::checkpoint::Checkpoint;
use crate::kernel::sample::Record;
use crate::kernel::vocabulary::{Documents, Preparation, Vocabulary};
use crate::passes::learn::tell;
use crate::passes::progress::{Phase, Watch};
use crate::shard::images::Reason;
use crate::shard::pixels::Reading;
use crate::shard::sketch::{SketchOf, SketchReader, SketchWriter};
use crate::shard::spill::Sample;
use crate::stages::decode::Fit;
use crate::stages::documents::{self, Counter};
use crate::stages::gather::Gather;
use crate::stages::kmeans::{self, Learned};
use crate::stages::prepare::Values;
use crate::stages::sample::{SampleBatch, SampleParams, SampledImage, sample_image};
use crate::stages::threads::on_threads;

/// What panics and threads of a call are called.
const STAGE: &str = "sample";

/// Images of a call that are sampled before they are gathered.
const IMAGES_IN_FLIGHT: usize = 64 * IMAGES_AT_ONCE;

/// Shares of `run.memory`: the sample, and once more while it is sorted; prepared patches; k-means and the rest.
const SAMPLE_SHARE: u64 = 4;

/// What messages call a sketch.
const SKETCH: &str = "the sketch";

/// How a sketch that stands alone begins: as every Arrow stream.
const STREAM_START: [u8; 4] = [0xff; 4];

/// Bytes of the length before each sketch.
const LENGTH_BYTES: usize = size_of::<u64>();

/// Where images get their numbers from.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// They are counted as they come, over all calls.
    InOrder,
    /// Each has one.
    Given(&'a [u64]),
    /// From their pixels, so that it does not matter where or when they come.
    OfContent,
}

/// Learns words of images that come in any number of calls.
#[derive(Debug)]
pub struct Learner {
    job: Job,
    params: KMeansParams,
    sizes: Vec<Size>,
    seen: HashSet<u64>,
    n_counted: u64,
    // Counted images up to here are in the sample: more than those of whole calls where one has failed.
    n_taken: u64,
    // Whether numbers in the sample were counted, here or in a sketch.
    is_counted: bool,
    // Whether the sample was lost, since a file of it could not be written.
    is_lost: bool,
}

/// The sample of patches of one size.
#[derive(Debug)]
struct Size {
    preparation: Preparation,
    gather: Gather,
    // The gathering's files, if it has some.
    _dir: TempDir,
}

impl Learner {
    /// Makes one that has seen nothing. `sets` are keys and values as `--set` takes them.
    ///
    /// # Errors
    /// Settings that cannot work; no room for temporary files.
    pub fn new(sets: &[String], overrides: &Overrides) -> Result<Learner> {
        Learner::of_job(job_to_learn(sets, overrides)?)
    }

    /// Makes one for a job that learns its words.
    ///
    /// # Errors
    /// The job has finished words; no room for temporary files.
    pub fn of_job(job: Job) -> Result<Learner> {
        let VocabularySource::Learn(params) = job.vocabulary else {
            return Err(Error::setting(
                "vocabulary.from",
                "words are finished, and cannot be learned",
                "leave it out, and give vocabulary.k",
            ));
        };
        let mut learner = Learner {
            job,
            params,
            sizes: Vec::new(),
            seen: HashSet::new(),
            n_counted: 0,
            n_taken: 0,
            is_counted: false,
            is_lost: false,
        };
        learner.set_sizes()?;
        Ok(learner)
    }

    /// The settings, all of them; the colour is decided once an image was seen.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// What files of the words say of them.
    pub fn provenance(&self) -> serde_json::Value {
        provenance(&self.job)
    }

    /// Patches of all sizes in the sample so far; no more than `sample.max_patches` of each stay in the end.
    pub fn n_patches(&self) -> u64 {
        self.sizes.iter().map(|size| size.gather.n_patches()).sum()
    }

    /// Images that were counted so far.
    pub fn n_counted(&self) -> u64 {
        self.n_counted
    }

    /// Counts on from a number: the images before it are in sketches that were merged.
    pub fn count_on_from(&mut self, n_counted: u64) {
        (self.n_counted, self.n_taken) = (n_counted, n_counted);
        self.seen.retain(|&number| number >= n_counted);
    }

    /// Draws patches of `n` images: `picture` gives each. A call that failed can be made again: what it has taken is not
    /// taken twice.
    ///
    /// # Errors
    /// A bad image where `input.on_bad_image = "fail"`; images that are counted beside others that have numbers; an
    /// interruption; a full disk.
    ///
    /// # Panics
    /// If there are not as many numbers as images.
    pub fn add<'a>(
        &mut self,
        n: usize,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
        numbers: Numbers<'_>,
        place: &Place,
        work: Work<'_>,
    ) -> Result<()> {
        if let Numbers::Given(given) = numbers {
            assert_eq!(given.len(), n, "a number for each image");
        }
        self.check_numbers(numbers)?;
        self.decide_color(n, picture)?;
        let is_counted = matches!(numbers, Numbers::InOrder);
        let mut start = 0;
        while start < n {
            let end = n.min(start + IMAGES_IN_FLIGHT);
            let sampled = self.sample(start..end, picture, numbers, work)?;
            if work.stop.load(Relaxed) {
                return Err(Error::Interrupted);
            }
            let good = self.good(sampled, start, place)?;
            self.gather(good, is_counted)?;
            if is_counted {
                self.n_taken = self.n_taken.max(self.n_counted + end as u64);
            }
            start = end;
        }
        if is_counted {
            self.n_counted += n as u64;
            self.is_counted |= n > 0;
        }
        Ok(())
    }

    /// Images that are counted, and images with numbers of their own, would be taken for each other.
    fn check_numbers(&self, numbers: Numbers<'_>) -> Result<()> {
        self.check_whole()?;
        let is_counted = matches!(numbers, Numbers::InOrder);
        let is_apart = match is_counted {
            true => self.seen.is_empty(),
            false => self.n_taken == 0 && !self.is_counted,
        };
        if is_apart {
            return Ok(());
        }
        let message = match is_counted {
            true => {
                "images with numbers of their own are in the sample, so that others cannot be counted"
            }
            false => {
                "images that were counted are in the sample, so that others cannot have numbers of their own"
            }
        };
        Err(Error::Usage {
            message: format!("{message}\n  help: give all images their numbers"),
        })
    }

    fn is_empty(&self) -> bool {
        self.n_taken == 0 && self.seen.is_empty()
    }

    fn check_whole(&self) -> Result<()> {
        match self.is_lost {
            false => Ok(()),
            true => Err(Error::Data {
                message: "the sample was lost when a temporary file of it failed".to_owned(),
                help: Some("make a new learner, with more room on the disk".to_owned()),
            }),
        }
    }

    /// What was drawn of the good images.
    fn good(
        &self,
        sampled: Vec<Result<Option<Vec<SampledImage>>, Reason>>,
        start: usize,
        place: &Place,
    ) -> Result<Vec<Vec<SampledImage>>> {
        let mut good = Vec::with_capacity(sampled.len());
        for (at, one) in sampled.into_iter().enumerate() {
            match one {
                Ok(one) => good.extend(one),
                Err(reason) if self.job.input.on_bad_image == OnBadImage::Fail => {
                    return Err(Error::BadImage {
                        place: place.clone().row((start + at) as u64),
                        reason,
                    });
                }
                Err(_) => {}
            }
        }
        Ok(good)
    }

    /// The sample so far, to be merged elsewhere: the sketches of all sizes of patches, each after its length.
    ///
    /// # Errors
    /// A full disk.
    pub fn sketch(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for sketch in self.sketches()? {
            all.extend((sketch.len() as u64).to_le_bytes());
            all.extend(sketch);
        }
        Ok(all)
    }

    /// The sample so far as a sketch for each size of patches, an Arrow stream each.
    ///
    /// # Errors
    /// A full disk.
    pub fn sketches(&mut self) -> Result<Vec<Vec<u8>>> {
        self.check_whole()?;
        let mut all = Vec::new();
        for at in 0..self.sizes.len() {
            let (sample, hashes) = self.take_sorted(at)?;
            let written = self.write_sketch(at, &sample, &hashes);
            self.put_back(at, &sample, &hashes)?;
            all.push(written?);
        }
        Ok(all)
    }

    /// Takes in a sketch, as [`sketch`](Learner::sketch) or `bovw stream` gives it. What it has of images that were seen
    /// already is passed over.
    ///
    /// # Errors
    /// It is damaged, or one of other settings; images were counted in it and elsewhere.
    pub fn merge(&mut self, sketch: &[u8]) -> Result<()> {
        let name = Path::new(SKETCH);
        if sketch.starts_with(&STREAM_START) && self.sizes.len() == 1 {
            return self.merge_sketches(&[sketch], name);
        }
        let mut rest = sketch;
        let mut all = Vec::new();
        for _ in 0..self.sizes.len() {
            let (own, others) = split_length(rest)
                .ok_or_else(|| Error::file(name, "is damaged: it ends too early"))?;
            rest = others;
            all.push(own);
        }
        if !rest.is_empty() {
            return Err(Error::file(name, "is damaged, or of more sizes of patches"));
        }
        self.merge_sketches(&all, name)
    }

    /// Takes in a sketch for each size of patches, which errors call `name`.
    ///
    /// # Errors
    /// As [`merge`](Learner::merge); then nothing is taken.
    pub fn merge_sketches(&mut self, sketches: &[&[u8]], name: &Path) -> Result<()> {
        self.check_whole()?;
        if self.job.input.color == Color::Auto {
            return Err(no_auto());
        }
        let is_counted = self.is_of_counted(sketches, name)?;
        // All of it is looked at before any of it is taken.
        let mut is_any = false;
        for (at, sketch) in sketches.iter().enumerate() {
            let mut reader = self.open(at, sketch, name, is_counted)?;
            while let Some(records) = reader.next_batch()? {
                is_any |= !records.is_empty();
            }
        }
        if is_any && !self.is_empty() && (is_counted || self.is_counted) {
            return Err(Error::Usage {
                message: "images were counted from 0 in more than one place, so that they would be taken for each other\n  help: give all images their numbers"
                    .to_owned(),
            });
        }
        let mut fresh = HashSet::new();
        for (at, sketch) in sketches.iter().enumerate() {
            let mut reader = self.open(at, sketch, name, is_counted)?;
            while let Some(records) = reader.next_batch()? {
                for record in records {
                    if self.seen.contains(&record.image) {
                        continue;
                    }
                    fresh.insert(record.image);
                    let gather = &mut self.sizes[at].gather;
                    gather.push_record(&record.record(), &record.hashes)?;
                }
            }
        }
        self.seen.extend(fresh);
        self.is_counted |= is_counted && is_any;
        Ok(())
    }

    /// Learns words of the sample so far, a vocabulary for each size of patches. More images may come afterwards.
    ///
    /// # Errors
    /// There are no patches, or fewer different ones than words; an interruption; a full disk.
    pub fn learn(&mut self, watch: Watch<'_>) -> Result<Vec<Learned>> {
        self.check_whole()?;
        let mut all = Vec::new();
        for at in 0..self.sizes.len() {
            let (sample, hashes) = self.take_sorted(at)?;
            let learned = self.learn_one(at, &sample, watch);
            self.put_back(at, &sample, &hashes)?;
            all.push(learned?);
        }
        Ok(all)
    }

    fn learn_one(&self, at: usize, sample: &Sample, watch: Watch<'_>) -> Result<Learned> {
        let view = sample.view();
        if view.n_patches() == 0 {
            return Err(Error::Data {
                message: "no patches were sampled".to_owned(),
                help: Some(
                    "add images first; sample.per_image may be too small a share".to_owned(),
                ),
            });
        }
        watch.progress.enter(Phase::Clustering);
        let stop = || watch.interrupt.load(Relaxed);
        let dir = temporary_dir()?;
        let (run, preparation) = (&self.job.run, self.sizes[at].preparation);
        let heap_bytes = run.memory_bytes / SAMPLE_SHARE;
        flow::guarded("k-means", None, || {
            let values = Values::new(
                &view,
                &preparation,
                run.threads,
                heap_bytes,
                dir.path(),
                &stop,
            )?;
            let stats = &watch.progress.kmeans;
            let mut learned = kmeans::learn(
                &values.view(view),
                values.preparation(),
                &self.params,
                run.threads,
                run.simd,
                Checkpoint::default(),
                &kmeans::Watch {
                    progress: &|at| tell(at, stats, watch.progress),
                    stop: &stop,
                    ..kmeans::Watch::SILENT
                },
            )?;
            values.to_patches(&mut learned.vocabulary);
            Ok(learned)
        })
    }

    /// What is drawn of each image, for each size; nothing of one that was seen, or that `sample.every` passes over.
    fn sample<'a>(
        &self,
        range: std::ops::Range<usize>,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
        numbers: Numbers<'_>,
        work: Work<'_>,
    ) -> Result<Vec<Result<Option<Vec<SampledImage>>, Reason>>> {
        let reading = Reading::of(&self.job.input);
        let first = self.n_counted;
        let start = range.start;
        let one = |at: usize| {
            if work.stop.load(Relaxed) {
                return Ok(None);
            }
            let known = match numbers {
                Numbers::InOrder => Some(first + (at - start) as u64),
                Numbers::Given(given) => Some(given[at]),
                Numbers::OfContent => None,
            };
            if known.is_some_and(|number| !number.is_multiple_of(self.job.sample.every)) {
                return Ok(None);
            }
            let image = picture(at).read(&reading)?;
            Fit::of(&self.job).check(image.height, image.width)?;
            let number = known.unwrap_or_else(|| content(&image));
            let is_wanted = number.is_multiple_of(self.job.sample.every);
            Ok((is_wanted && !self.is_seen(number)).then(|| self.draw(number, image)))
        };
        flow::guarded(STAGE, None, || {
            match work.threads.min(range.len().div_ceil(IMAGES_AT_ONCE)) {
                0 | 1 => Ok(range.map(one).collect()),
                threads => on_threads(STAGE, threads, || {
                    let images = range.into_par_iter().with_min_len(IMAGES_AT_ONCE);
                    Ok(images.map(one).collect())
                }),
            }
        })
    }

    fn draw(&self, number: u64, image: Image) -> Vec<SampledImage> {
        let draw = |preparation: &Preparation, image: Image| {
            let params = SampleParams {
                preparation: *preparation,
                stride: self.job.stride,
                sampling: self.job.sample,
                seed: self.job.run.seed,
            };
            sample_image(number, image, &params)
        };
        let (last, others) = self
            .job
            .preparations
            .split_last()
            .expect("a size of patches");
        let mut drawn: Vec<SampledImage> =
            others.iter().map(|one| draw(one, image.clone())).collect();
        drawn.push(draw(last, image));
        drawn
    }

    fn is_seen(&self, number: u64) -> bool {
        number < self.n_taken || self.seen.contains(&number)
    }

    fn gather(&mut self, images: Vec<Vec<SampledImage>>, is_counted: bool) -> Result<()> {
        let mut batches: Vec<SampleBatch> = self
            .sizes
            .iter()
            .map(|_| SampleBatch {
                shard: 0,
                images: Vec::new(),
            })
            .collect();
        for image in images {
            let number = image.first().map_or(0, |one| one.record().image);
            // Counting tells of all that was counted.
            if !is_counted && !self.seen.insert(number) {
                continue;
            }
            for (batch, one) in batches.iter_mut().zip(image) {
                batch.images.push(one);
            }
        }
        for (size, batch) in self.sizes.iter_mut().zip(batches) {
            size.gather.push(batch)?;
        }
        Ok(())
    }

    /// Decides on the colour of the first good image, as the plan of a run does, where the job leaves that open.
    fn decide_color<'a>(
        &mut self,
        n: usize,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
    ) -> Result<()> {
        if self.job.input.color != Color::Auto {
            return Ok(());
        }
        let reading = Reading::of(&self.job.input);
        let mut images = (0..n).filter_map(|at| picture(at).read(&reading).ok());
        if let Some(image) = images.next() {
            self.job.set_color(match image.channels {
                1 => Color::GreyOnly,
                _ => Color::Rgb,
            });
            self.set_sizes()?;
        }
        Ok(())
    }

    fn set_sizes(&mut self) -> Result<()> {
        let sizes = self.job.preparations.iter();
        let sizes: Result<Vec<Size>> = sizes.map(|one| self.empty(*one)).collect();
        self.sizes = sizes?;
        Ok(())
    }

    fn empty(&self, preparation: Preparation) -> Result<Size> {
        let dir = temporary_dir()?;
        let n_sizes = self.job.preparations.len() as u64;
        Ok(Size {
            preparation,
            gather: Gather::new(
                preparation.patch,
                self.job.sample.max_patches,
                self.job.run.memory_bytes / SAMPLE_SHARE / n_sizes,
                dir.path(),
            ),
            _dir: dir,
        })
    }

    /// The sample of a size by the numbers of its images, and the hashes of its patches; an empty one takes its place.
    fn take_sorted(&mut self, at: usize) -> Result<(Sample, Vec<u64>)> {
        let empty = self.empty(self.sizes[at].preparation)?;
        // Until it is put back.
        self.is_lost = true;
        let taken = std::mem::replace(&mut self.sizes[at], empty);
        let (sample, hashes) = taken.gather.finish_with_hashes()?;
        let view = sample.view();
        let number = |index: &usize| view.record(*index).image;
        if (1..view.n_records()).all(|index| number(&(index - 1)) <= number(&index)) {
            return Ok((sample, hashes));
        }
        let mut firsts = Vec::with_capacity(view.n_records());
        let mut n_before = 0;
        for index in 0..view.n_records() {
            firsts.push(n_before);
            n_before += view.record(index).len();
        }
        let mut order: Vec<usize> = (0..view.n_records()).collect();
        order.sort_by_key(number);
        let mut sorted = self.empty(taken.preparation)?;
        for index in order {
            let patches = view.record(index);
            let offsets: Vec<u32> = patches.offsets().collect();
            let own = match hashes.is_empty() {
                true => &[],
                false => &hashes[firsts[index]..firsts[index] + offsets.len()],
            };
            sorted.gather.push_record(&patches.record(&offsets), own)?;
        }
        sorted.gather.finish_with_hashes()
    }

    fn put_back(&mut self, at: usize, sample: &Sample, hashes: &[u64]) -> Result<()> {
        let gather = &mut self.sizes[at].gather;
        let put = |record: &Record<'_>, own: &[u64]| gather.push_record(record, own);
        each_record(sample, hashes, put)?;
        self.is_lost = false;
        Ok(())
    }

    fn write_sketch(&self, at: usize, sample: &Sample, hashes: &[u64]) -> Result<Vec<u8>> {
        let of = self.sketched(self.is_counted);
        let mut writer =
            SketchWriter::new(Vec::new(), Path::new(SKETCH), &self.sketch_of(at, &of))?;
        each_record(sample, hashes, |record, own| writer.push(record, own))?;
        writer.finish()
    }

    /// Whether images were counted in sketches, which must be of this learner's settings.
    fn is_of_counted(&self, sketches: &[&[u8]], name: &Path) -> Result<bool> {
        let opens = |is_counted: bool| {
            let mut each = sketches.iter().enumerate();
            each.try_for_each(|(at, sketch)| self.open(at, sketch, name, is_counted).map(|_| ()))
        };
        match opens(true) {
            Ok(()) if !sketches.is_empty() => Ok(true),
            _ => opens(false).map(|()| false),
        }
    }

    fn open<'b>(
        &self,
        at: usize,
        bytes: &'b [u8],
        name: &Path,
        is_counted: bool,
    ) -> Result<SketchReader<&'b [u8]>> {
        let of = self.sketched(is_counted);
        let max_bytes = self.job.run.memory_bytes;
        SketchReader::new(bytes, name, &self.sketch_of(at, &of), max_bytes)
    }

    fn sketch_of<'a>(&self, at: usize, of: &'a str) -> SketchOf<'a> {
        SketchOf {
            of,
            preparation: self.sizes[at].preparation,
            is_limited: self.job.sample.max_patches.is_some(),
        }
    }

    /// All that a sample depends on but the images and the patch.
    fn sketched(&self, is_counted: bool) -> String {
        let resolved = self.provenance();
        let of = serde_json::json!({
            "color": resolved["input"]["color"],
            "resize": resolved["input"]["resize"],
            "patches": resolved["patches"],
            "sample": resolved["sample"],
            "seed": resolved["run"]["seed"],
            "is_counted": is_counted,
        });
        blake3::hash(of.to_string().as_bytes()).to_hex().to_string()
    }
}

/// Every place would go by its own first image.
pub fn no_auto() -> Error {
    Error::setting(
        "input.color",
        "\"auto\" goes by the first image, and every place that images are sampled in has its own",
        "set it to \"grey\" or \"rgb\"",
    )
}

/// In how many of `n` images each word of each vocabulary occurs, for tf-idf. Sums of such counts are those of all images.
///
/// # Errors
/// An interruption. Bad images are none.
pub fn count_documents<'a>(
    job: &Job,
    vocabularies: &[Vocabulary],
    n: usize,
    picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
    work: Work<'_>,
) -> Result<Vec<Documents>> {
    let lexicons = Lexicons::new(vocabularies, &Recipe::counts(), job.stride, job.run.simd);
    let reading = Reading::of(&job.input);
    let mut all = documents::none(lexicons.n_values());
    let mut counter = Counter::new(&lexicons);
    flow::guarded("documents", None, || {
        for at in 0..n {
            if work.stop.load(Relaxed) {
                return Err(Error::Interrupted);
            }
            let image = picture(at).read(&reading);
            let image = image.and_then(|image| {
                Fit::of(job)
                    .check(image.height, image.width)
                    .map(|()| image)
            });
            documents::add(&mut all, &counter.count_images([image]));
        }
        Ok(())
    })?;
    Ok(documents::split(
        &all,
        vocabularies.iter().map(Vocabulary::k),
    ))
}

fn each_record(
    sample: &Sample,
    hashes: &[u64],
    mut each: impl FnMut(&Record<'_>, &[u64]) -> Result<()>,
) -> Result<()> {
    let view = sample.view();
    let mut rest = hashes;
    for index in 0..view.n_records() {
        let patches = view.record(index);
        let offsets: Vec<u32> = patches.offsets().collect();
        let (own, others) = match hashes.is_empty() {
            true => (rest, rest),
            false => rest.split_at(offsets.len()),
        };
        rest = others;
        each(&patches.record(&offsets), own)?;
    }
    Ok(())
}

/// The number of an image that has no other: a hash of its pixels.
fn content(image: &Image) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for side in [image.height, image.width, image.channels] {
        hasher.update(&side.to_le_bytes());
    }
    match image.pixels.as_ref() {
        PixelsRef::U8(pixels) => hasher.update(pixels),
        PixelsRef::F32(pixels) => hasher.update(bytemuck::cast_slice(pixels)),
    };
    let hash = hasher.finalize();
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("32 bytes have 8");
    u64::from_le_bytes(*first)
}

fn split_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

fn temporary_dir() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("bovw-")
        .tempdir()
        .map_err(|source| Error::io(&std::env::temp_dir(), "create a folder in", source))
}
