//! From a program's images to their vectors, which are those that a run would write.
//!
//! A featurizer is only read, so any number of threads may share one. An image of bytes is looked at where it lies.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rayon::prelude::*;

use super::settings::job_to_featurize;
use crate::error::{Error, Place, Result};
use crate::flow;
use crate::job::{Job, OnBadImage, Overrides};
use crate::kernel::encode::{Encoders, Lexicons};
use crate::kernel::image::{Image, ImageRef, PixelsRef};
use crate::kernel::vocabulary::Vocabulary;
use crate::passes::plan::{check_features, check_preparation};
use crate::shard::detect::Shape;
use crate::shard::images::Reason;
use crate::shard::pixels::Reading;
use crate::shard::vocabulary::Header;
use crate::stages::decode::Fit;
use crate::stages::threads::on_threads;

/// What panics and threads of a call are called.
const STAGE: &str = "featurize";

/// Images that a thread takes at once.
pub(super) const IMAGES_AT_ONCE: usize = 32;

/// Makes vectors of images.
#[derive(Debug)]
pub struct Featurizer {
    job: Job,
    reading: Reading,
    lexicons: Lexicons,
}

/// One image, as a program has it.
#[derive(Debug)]
pub enum Picture<'a> {
    /// Values from 0 to 255.
    Bytes(Shape, &'a [u8]),
    /// Any finite values.
    Numbers(Shape, &'a [f32]),
    /// A PNG, a JPEG and so on.
    Encoded(&'a [u8]),
    /// Made already, or why there is none.
    Image(Result<Image, Reason>),
}

/// What is said of a vector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Patches that it was made of; 0 for a bad image.
    pub n_patches: i32,
    /// Why it is zeros; `None` for a good image.
    pub status: Option<Reason>,
}

/// How a call works.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Threads, at least 1.
    pub threads: usize,
    /// Set from outside to end the call as interrupted.
    pub stop: &'a AtomicBool,
}

impl Featurizer {
    /// Makes one of vocabularies, one for each size of patches, and what their files say of them. `sets` are keys and
    /// values as `--set` takes them; what they leave out is as in the job that the words were learned by.
    ///
    /// # Errors
    /// Settings that cannot work, alone or with these words.
    pub fn new(
        vocabularies: &[(Vocabulary, Header)],
        sets: &[String],
        overrides: &Overrides,
    ) -> Result<Featurizer> {
        let headers: Vec<Header> = vocabularies
            .iter()
            .map(|(_, header)| header.clone())
            .collect();
        let words: Vec<Vocabulary> = vocabularies
            .iter()
            .map(|(words, _)| words.clone())
            .collect();
        Featurizer::of_job(job_to_featurize(&headers, sets, overrides)?, &words)
    }

    /// Makes one of a job and the finished words that it asks for.
    ///
    /// # Errors
    /// The words were learned with other patches, or are not what the job's features need.
    pub fn of_job(mut job: Job, vocabularies: &[Vocabulary]) -> Result<Featurizer> {
        if job.preparations.len() != vocabularies.len() {
            return Err(Error::setting(
                "patches.size",
                format!(
                    "{} sizes of patches, and {} vocabularies",
                    job.preparations.len(),
                    vocabularies.len()
                ),
                "give a vocabulary for each size, in their order",
            ));
        }
        decide_color(&mut job, vocabularies);
        for (at, words) in vocabularies.iter().enumerate() {
            check_preparation(&job, at, "the vocabulary".as_ref(), words)?;
        }
        let ks: Vec<usize> = vocabularies.iter().map(Vocabulary::k).collect();
        check_features(&job, &ks, vocabularies)?;
        Ok(Featurizer {
            reading: Reading::of(&job.input),
            lexicons: Lexicons::new(vocabularies, &job.features, job.stride, job.run.simd),
            job,
        })
    }

    /// Length of a vector.
    pub fn n_values(&self) -> usize {
        self.lexicons.n_values()
    }

    /// The settings, all of them.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// How images are read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Room for the vectors of `n` images.
    ///
    /// # Errors
    /// The system has not so much memory to give.
    pub fn room(&self, n: usize) -> Result<Vec<f32>> {
        let mut room = Vec::new();
        let n_values = n.checked_mul(self.n_values());
        let reserved = n_values.map(|n_values| room.try_reserve_exact(n_values));
        let (Some(n_values), Some(Ok(()))) = (n_values, reserved) else {
            return Err(Error::Data {
                message: format!(
                    "there is no memory for {n} vectors of {} values",
                    self.n_values()
                ),
                help: Some("give fewer images at once".to_owned()),
            });
        };
        room.resize(n_values, 0.0);
        Ok(room)
    }

    /// Puts the vectors of `n` images into `out`, end to end: `picture` gives each. Vectors of bad images are zeros.
    ///
    /// # Errors
    /// A bad image, the first in order, where `input.on_bad_image = "fail"`; an interruption.
    ///
    /// # Panics
    /// If `out` does not hold `n` vectors.
    pub fn featurize<'a>(
        &self,
        n: usize,
        picture: &(dyn Fn(usize) -> Picture<'a> + Sync),
        out: &mut [f32],
        work: Work<'_>,
    ) -> Result<Vec<Row>> {
        let n_values = self.n_values();
        assert_eq!(out.len(), n * n_values, "room for each vector");
        let mut rows = vec![Row::default(); n];
        let pieces =
            |rows: &mut [Row], out: &mut [f32], first: usize, encoder: &mut Encoders<'_>| {
                for (at, (row, out)) in rows.iter_mut().zip(out.chunks_mut(n_values)).enumerate() {
                    if work.stop.load(Relaxed) {
                        return;
                    }
                    *row = self.one(picture(first + at), out, encoder);
                }
            };
        match work.threads.min(n.div_ceil(IMAGES_AT_ONCE)) {
            0 | 1 => flow::guarded(STAGE, None, || {
                pieces(&mut rows, out, 0, &mut Encoders::new(&self.lexicons));
                Ok(())
            })?,
            threads => flow::guarded(STAGE, None, || {
                on_threads(STAGE, threads, || {
                    let rows = rows.par_chunks_mut(IMAGES_AT_ONCE);
                    let out = out.par_chunks_mut(IMAGES_AT_ONCE * n_values);
                    rows.zip(out).enumerate().for_each_init(
                        || Encoders::new(&self.lexicons),
                        |encoder, (at, (rows, out))| {
                            pieces(rows, out, at * IMAGES_AT_ONCE, encoder);
                        },
                    );
                    Ok(())
                })
            })?,
        }
        match work.stop.load(Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(rows),
        }
    }

    /// The first bad image as the error that ends a job with `input.on_bad_image = "fail"`; nothing in any other.
    ///
    /// # Errors
    /// A bad image at its place: a row of `place`.
    pub fn check_rows(&self, rows: &[Row], place: &Place) -> Result<()> {
        if self.job.input.on_bad_image != OnBadImage::Fail {
            return Ok(());
        }
        let bad = rows.iter().enumerate();
        let mut bad = bad.filter_map(|(at, row)| Some((at, row.status.as_ref()?)));
        match bad.next() {
            None => Ok(()),
            Some((at, reason)) => Err(Error::BadImage {
                place: place.clone().row(at as u64),
                reason: reason.clone(),
            }),
        }
    }

    fn one(&self, picture: Picture<'_>, out: &mut [f32], encoder: &mut Encoders<'_>) -> Row {
        let made;
        let image = match picture {
            Picture::Bytes(shape, bytes) if self.reading.is_as_it_is(shape) => Ok(ImageRef {
                height: shape.height,
                width: shape.width,
                channels: shape.channels,
                pixels: PixelsRef::U8(bytes),
            }),
            other => {
                made = other.read(&self.reading);
                made.as_ref().map(Image::as_ref).map_err(Clone::clone)
            }
        };
        let fitted = image.and_then(|image| {
            Fit::of(&self.job)
                .check(image.height, image.width)
                .map(|()| image)
        });
        match fitted {
            Ok(image) => {
                let encoded = encoder.encode(image);
                out.copy_from_slice(encoded.vector);
                Row {
                    n_patches: i32::try_from(encoded.n_patches).unwrap_or(i32::MAX),
                    status: None,
                }
            }
            Err(reason) => {
                out.fill(0.0);
                Row {
                    n_patches: 0,
                    status: Some(reason),
                }
            }
        }
    }
}

impl Picture<'_> {
    /// The image, or why there is none.
    pub(super) fn read(self, reading: &Reading) -> Result<Image, Reason> {
        match self {
            Picture::Bytes(shape, bytes) => reading.image_of_bytes(shape, bytes),
            Picture::Numbers(shape, numbers) => reading.image_of_numbers(shape, numbers),
            Picture::Encoded(bytes) => reading.decode(bytes),
            Picture::Image(image) => image,
        }
    }
}

/// Words know whether they are of colour, so a job that leaves that to its first image need not look at one.
fn decide_color(job: &mut Job, vocabularies: &[Vocabulary]) {
    use crate::job::Color;
    if let (Color::Auto, Some(words)) = (job.input.color, vocabularies.first()) {
        job.set_color(match words.preparation.patch.channels {
            1 => Color::Grey,
            _ => Color::Rgb,
        });
    }
}
