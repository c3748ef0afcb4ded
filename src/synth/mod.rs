//! Synthetic shards: drawn digits or textures with labels, any number of them, for tests of scale.
//!
//! Image `row` is a function of the seed, the kind, the sizes and `row` alone: how many images there are, how they are
//! put into shards and how many threads draw them changes none of its bytes, on any machine. Memory does not grow with
//! the number of images. It must never leave a file behind unless all are whole.

mod digit;
mod size;
mod stroke;
mod texture;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Place, Result};
use crate::flow::{self, Limits, Offer, Pipeline, Stats};
use crate::import::shards::{
    ImageStorage, Label, Labels, ROW_GROUP_MAX_BYTES, SHARD_MAX_BYTES, ShardWriter, Storage,
};
use crate::import::{Summary, Target, encode_png};
use crate::kernel::rng::{Purpose, Stream};

pub use crate::import::shards::{Compression, ZstdLevel};
pub use size::{Size, Sizes};

/// Classes of either kind, "0" to "9".
pub const N_CLASSES: u64 = 10;
/// The most images: row numbers stay far from what Parquet can count.
pub const MAX_IMAGES: u64 = 1 << 40;
/// Pixels that a batch holds, about; a larger image is a batch of its own.
const BATCH_PIXELS: u64 = 1 << 18;
/// Images in a batch, at most.
const MAX_BATCH_IMAGES: u64 = 1024;
/// Bytes of all batches in flight, unless a single image takes more.
const IN_FLIGHT_BYTES: u64 = 32 << 20;
/// What a pixel takes at most, drawn (its distance to a stroke and its grey) and encoded (PNG grows by less than this).
const BYTES_PER_PIXEL: u64 = 8;
/// What an image takes beside its pixels.
const IMAGE_BYTES: u64 = 256;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Handwritten digits; the label is the digit.
    Digits,
    /// Waves and checks; the label is their kind and direction.
    Textures,
}

impl Kind {
    /// Its name, with which paths of images begin.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Digits => "digits",
            Kind::Textures => "textures",
        }
    }
}

/// How an image is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As PNG, in Hugging Face's layout.
    Png,
    /// As raw grey pixels in a binary column; all images must have one size.
    Raw,
}

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many images, from 1 to [`MAX_IMAGES`].
    pub n_images: u64,
    /// Of which sizes.
    pub sizes: Sizes,
    /// What is drawn.
    pub kind: Kind,
    /// How it is stored.
    pub encoding: Encoding,
    /// Seed of every draw.
    pub seed: u64,
    /// Images in a row group, at least 1; `None`: as imports have it.
    pub row_group_images: Option<usize>,
    /// Compression of the image column's pages.
    pub compression: Compression,
    /// Threads that draw and that encode, at least 1 each.
    pub threads: usize,
}

/// Makes the images of `options`, and writes them where `target` says. `progress` hears how many are written; once
/// `interrupt` is set, everything is taken back.
///
/// # Errors
/// Options that cannot be, [`Error::Usage`]; shards of the target's name that are there; whatever the disk refuses.
pub fn make(
    options: &Options,
    target: &Target,
    progress: &dyn Fn(u64),
    interrupt: &AtomicBool,
) -> Result<Summary> {
    check(options)?;
    let names = (0..N_CLASSES).map(|class| class.to_string()).collect();
    let labels = Labels::Classes(names);
    let mut writer = ShardWriter::create_stored(target, &labels, &storage(options))?;
    let mut batches = batches(options);
    flow::run(
        Pipeline {
            source: Box::new(|| batches.next().map(|rows| Ok(offer(options, target, rows)))),
            first: Box::new(|| Box::new(|rows| Ok(draw(options, rows)))),
            second: Box::new(|| Box::new(|drawn| Ok(encode(options, drawn)))),
            fold: Box::new(|encoded| {
                write(options, &mut writer, &encoded)?;
                progress(writer.images());
                Ok(())
            }),
        },
        limits(options),
        &Stats::new(["source", "draw", "encode", "write"]),
        interrupt,
    )?;
    let written = writer.finish()?;
    Ok(Summary {
        images: written.images,
        bytes: written.bytes,
        shards: written.shards,
        notes: notes(options),
        ..Summary::default()
    })
}

fn check(options: &Options) -> Result<()> {
    let usage = |message: String| Err(Error::Usage { message });
    if !(1..=MAX_IMAGES).contains(&options.n_images) {
        return usage(format!(
            "--images {}: from 1 to {MAX_IMAGES} are possible",
            options.n_images
        ));
    }
    if options.encoding == Encoding::Raw && options.sizes.single().is_none() {
        return usage(format!(
            "--encoding raw: raw pixels have no size of their own, so all images need one; --size is {}",
            options.sizes
        ));
    }
    Ok(())
}

/// What the maker of a job has to know.
fn notes(options: &Options) -> Vec<String> {
    match (options.encoding, options.sizes.single()) {
        (Encoding::Raw, Some(size)) if size.height != size.width => vec![format!(
            "raw pixels that are no square: a job needs input.shape = [{}, {}]",
            size.height, size.width
        )],
        _ => Vec::new(),
    }
}

fn storage(options: &Options) -> Storage {
    let usual = Storage::default();
    Storage {
        images: match options.encoding {
            Encoding::Png => ImageStorage::HuggingFace,
            Encoding::Raw => ImageStorage::Raw,
        },
        row_group_rows: options.row_group_images.unwrap_or(usual.row_group_rows),
        // Who asks for large row groups gets them; the writer holds one.
        row_group_bytes: match options.row_group_images {
            Some(_) => SHARD_MAX_BYTES as usize,
            None => ROW_GROUP_MAX_BYTES,
        },
        compression: options.compression,
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        // One thread needs no channels.
        workers: match options.threads {
            1 => 0,
            threads => threads,
        },
        budget_bytes: IN_FLIGHT_BYTES.max(cost_bytes(options, batch_images(options))),
    }
}

fn batch_images(options: &Options) -> u64 {
    (BATCH_PIXELS / options.sizes.max_pixels()).clamp(1, MAX_BATCH_IMAGES)
}

fn cost_bytes(options: &Options, n_images: u64) -> u64 {
    n_images * (options.sizes.max_pixels() * BYTES_PER_PIXEL + IMAGE_BYTES)
}

/// The rows of every batch.
fn batches(options: &Options) -> impl Iterator<Item = Range<u64>> + Send + use<> {
    let (n_images, step) = (options.n_images, batch_images(options));
    (0..n_images.div_ceil(step)).map(move |batch| {
        let start = batch * step;
        start..(start + step).min(n_images)
    })
}

fn offer(options: &Options, target: &Target, rows: Range<u64>) -> Offer<Range<u64>> {
    let n_images = rows.end - rows.start;
    Offer {
        cost_bytes: cost_bytes(options, n_images),
        n_images,
        place: Place::file(&target.out),
        item: rows,
    }
}

/// Images of consecutive rows, as pixels.
struct Drawn {
    first_row: u64,
    images: Vec<Picture>,
}

struct Picture {
    class: u64,
    size: Size,
    // height * width grey bytes, row by row.
    pixels: Vec<u8>,
}

fn draw(options: &Options, rows: Range<u64>) -> Drawn {
    let mut distances = Vec::new();
    Drawn {
        first_row: rows.start,
        images: rows
            .map(|row| picture(options, row, &mut distances))
            .collect(),
    }
}

/// The image of one row; nothing else goes into it.
fn picture(options: &Options, row: u64, distances: &mut Vec<f32>) -> Picture {
    let mut stream = Stream::new(options.seed, Purpose::SynthImage, row);
    let class = stream.below(N_CLASSES);
    let size = options.sizes.draw(&mut stream);
    let mut pixels = vec![0; size.n_pixels()];
    match options.kind {
        Kind::Digits => digit::draw(class as usize, size, &mut stream, distances, &mut pixels),
        Kind::Textures => texture::draw(class as usize, size, &mut stream, &mut pixels),
    }
    Picture {
        class,
        size,
        pixels,
    }
}

/// Images of consecutive rows, as they are stored.
struct Encoded {
    first_row: u64,
    images: Vec<(u64, Vec<u8>)>,
}

fn encode(options: &Options, drawn: Drawn) -> Encoded {
    let stored = |picture: Picture| match options.encoding {
        Encoding::Raw => (picture.class, picture.pixels),
        Encoding::Png => {
            let (mut png, size) = (Vec::new(), picture.size);
            encode_png(&picture.pixels, size.height, size.width, &mut png);
            (picture.class, png)
        }
    };
    Encoded {
        first_row: drawn.first_row,
        images: drawn.images.into_iter().map(stored).collect(),
    }
}

fn write(options: &Options, writer: &mut ShardWriter, encoded: &Encoded) -> Result<()> {
    let kind = options.kind.name();
    for (row, (class, bytes)) in (encoded.first_row..).zip(&encoded.images) {
        let path = match options.encoding {
            Encoding::Png => Some(format!("{kind}-{row}.png")),
            Encoding::Raw => None,
        };
        writer.push(bytes, path.as_deref(), Label::Number(*class as i64))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: Kind) -> Options {
        Options {
            n_images: 1,
            sizes: "28x28".parse().expect("sizes"),
            kind,
            encoding: Encoding::Raw,
            seed: 0,
            row_group_images: None,
            compression: Compression::UNCOMPRESSED,
            threads: 1,
        }
    }

    /// BLAKE3 of the classes and pixels of the first images, in hex.
    fn hash(kind: Kind) -> String {
        let mut hasher = blake3::Hasher::new();
        for image in draw(&options(kind), 0..100).images {
            hasher.update(&[image.class as u8]);
            hasher.update(&image.pixels);
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    #[test]
    fn pixels_are_pinned_because_measurements_depend_on_them() {
        assert_eq!(
            [hash(Kind::Digits), hash(Kind::Textures)],
            ["8e93b152a7f1236f", "0b29807c3d7b8118"]
        );
    }

    #[test]
    fn batches_cover_every_row_once() {
        let options = Options {
            n_images: 1000,
            ..options(Kind::Digits)
        };
        let rows: Vec<u64> = batches(&options).flatten().collect();
        assert!(rows.iter().copied().eq(0..1000));
        assert!(batches(&options).count() > 1);
    }

    #[test]
    fn the_largest_image_has_its_permit() {
        let options = Options {
            sizes: "8192x8192".parse().expect("sizes"),
            ..options(Kind::Digits)
        };
        assert_eq!(batch_images(&options), 1);
        assert!(limits(&options).budget_bytes >= cost_bytes(&options, 1));
    }

    #[test]
    fn digits_are_light_strokes_on_black() {
        for image in draw(&options(Kind::Digits), 0..200).images {
            let lit = image.pixels.iter().filter(|&&pixel| pixel > 0).count();
            assert!(
                (30..450).contains(&lit),
                "a {} of {lit} pixels",
                image.class
            );
            assert!(
                image.pixels.iter().any(|&pixel| pixel > 150),
                "{}",
                image.class
            );
        }
    }
}
