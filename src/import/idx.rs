//! IDX files, as MNIST and its relatives come: 8-bit grey images, and labels beside them; plain or gzip.
//!
//! The header announces everything, so it is held against the data: every file that is shorter or longer than its
//! header, or of another kind, is refused. Nothing may be allocated by a header's word beyond [`MAX_PIXELS`].
//!
//! [`MAX_PIXELS`]: super::MAX_PIXELS

use std::path::{Path, PathBuf};

use super::shards::{Label, Labels, ShardWriter, check_target};
use super::source::Source;
use super::{Summary, Target, Watch, grey, numbered_classes};
use crate::error::{Error, Result};

/// The type byte of an IDX file of unsigned bytes, the only type that is read.
const TYPE_U8: u8 = 0x08;
const IMAGE_DIMS: usize = 3;
const LABEL_DIMS: usize = 1;
/// Labels that are read at once.
const LABEL_CHUNK: usize = 1 << 16;

/// What to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The images, such as `t10k-images-idx3-ubyte.gz`.
    pub images: PathBuf,
    /// Their labels, such as `t10k-labels-idx1-ubyte.gz`.
    pub labels: Option<PathBuf>,
}

/// Imports one IDX file of images, with or without labels. An image's path is `NAME-<row>.png`.
pub fn import(options: &Options, target: &Target, watch: &Watch<'_>) -> Result<Summary> {
    check_target(target)?;
    let mut images = ImageReader::open(&options.images)?;
    let mut summary = Summary::default();
    let labels = match &options.labels {
        None => Labels::None,
        Some(path) => survey_labels(path, &images, &mut summary, watch)?,
    };
    let mut label_source = match &options.labels {
        None => None,
        Some(path) => Some(open_labels(path, &images)?),
    };
    let mut writer = ShardWriter::create(target, &labels)?;
    let mut pixels = vec![0; images.height as usize * images.width as usize];
    let mut png = Vec::new();
    for row in 0..u64::from(images.count) {
        watch.before_image(row, Some(images.count.into()))?;
        images.read(row, &mut pixels)?;
        let label = match &mut label_source {
            None => Label::None,
            Some(source) => Label::Number(read_label(source, row)?.into()),
        };
        grey::encode_png(&pixels, images.height, images.width, &mut png);
        writer.push(&png, Some(&format!("{}-{row}.png", target.name)), label)?;
    }
    images.expect_end()?;
    summary.add_written(writer.finish()?);
    (watch.progress)(summary.images, Some(summary.images));
    if let Labels::Classes(names) = labels {
        summary.classes = Some(names);
    }
    Ok(summary)
}

/// An IDX file of images whose header has been read and checked.
struct ImageReader {
    source: Source,
    count: u32,
    height: u32,
    width: u32,
}

impl ImageReader {
    fn open(path: &Path) -> Result<ImageReader> {
        let mut source = Source::open(path)?;
        let [count, height, width] = read_header::<IMAGE_DIMS>(&mut source)?;
        let (height, width) = grey::check_size(height.into(), width.into())
            .map_err(|problem| Error::file(path, format!("the header is wrong: {problem}")))?;
        if count == 0 {
            return Err(Error::file(path, "the header announces no images"));
        }
        let data_bytes = u64::from(count) * u64::from(height) * u64::from(width);
        check_size_bytes(
            &source,
            header_bytes(IMAGE_DIMS) + data_bytes,
            &format!("{count} images of {height}x{width}"),
        )?;
        Ok(ImageReader {
            source,
            count,
            height,
            width,
        })
    }

    fn read(&mut self, row: u64, pixels: &mut [u8]) -> Result<()> {
        if self.source.fill(pixels)? < pixels.len() {
            return Err(cut_short(
                self.source.path(),
                format!(
                    "ends in image {row} of the {} that its header announces",
                    self.count
                ),
            ));
        }
        Ok(())
    }

    fn expect_end(&mut self) -> Result<()> {
        expect_end(&mut self.source, &format!("{} images", self.count))
    }
}

/// Reads all labels once, before anything is written: whether they are classes is part of every shard.
fn survey_labels(
    path: &Path,
    images: &ImageReader,
    summary: &mut Summary,
    watch: &Watch<'_>,
) -> Result<Labels> {
    let mut source = open_labels(path, images)?;
    let mut seen = [false; 256];
    let mut chunk = [0; LABEL_CHUNK];
    let mut row = 0;
    while row < images.count as usize {
        watch.check_stop()?;
        let want = LABEL_CHUNK.min(images.count as usize - row);
        let got = source.fill(&mut chunk[..want])?;
        for &label in &chunk[..got] {
            seen[usize::from(label)] = true;
        }
        row += got;
        if got < want {
            return Err(cut_short(
                path,
                format!(
                    "ends after label {row} of the {} that its header announces",
                    images.count
                ),
            ));
        }
    }
    expect_end(&mut source, &format!("{} labels", images.count))?;
    let labels = (0..256)
        .filter(|&label| seen[label])
        .map(|label| label as i64);
    Ok(match numbered_classes(labels) {
        Some(names) => Labels::Classes(names),
        None => {
            summary.notes.push(
                "the labels are kept as numbers without class names, since they do not run from 0 without a gap"
                    .to_owned(),
            );
            Labels::Numbers
        }
    })
}

fn open_labels(path: &Path, images: &ImageReader) -> Result<Source> {
    let mut source = Source::open(path)?;
    let [count] = read_header::<LABEL_DIMS>(&mut source)?;
    if count != images.count {
        return Err(Error::File {
            place: path.into(),
            message: format!(
                "the header announces {count} labels, but {} has {} images",
                images.source.path().display(),
                images.count
            ),
            help: Some("give the labels that belong to these images".to_owned()),
        });
    }
    check_size_bytes(
        &source,
        header_bytes(LABEL_DIMS) + u64::from(count),
        &format!("{count} labels"),
    )?;
    Ok(source)
}

fn read_label(source: &mut Source, row: u64) -> Result<u8> {
    let mut label = [0];
    if source.fill(&mut label)? == 0 {
        return Err(cut_short(
            source.path(),
            format!("ends before label {row}; it was longer a moment ago"),
        ));
    }
    Ok(label[0])
}

const fn header_bytes(n_dims: usize) -> u64 {
    4 + 4 * n_dims as u64
}

/// The dimensions of an IDX file, which must be bytes in `N` dimensions.
fn read_header<const N: usize>(source: &mut Source) -> Result<[u32; N]> {
    let mut magic = [0; 4];
    let got = source.fill(&mut magic)?;
    check_magic(source.path(), &magic[..got], N)?;
    let mut dims = [0; N];
    for dim in &mut dims {
        let mut bytes = [0; 4];
        if source.fill(&mut bytes)? < bytes.len() {
            return Err(cut_short(
                source.path(),
                "ends within its header".to_owned(),
            ));
        }
        *dim = u32::from_be_bytes(bytes);
    }
    Ok(dims)
}

fn check_magic(path: &Path, magic: &[u8], n_dims: usize) -> Result<()> {
    let kind = |n_dims| match n_dims {
        LABEL_DIMS => "an IDX file of labels",
        _ => "an IDX file of images",
    };
    let wanted = kind(n_dims);
    let (message, help) = match *magic {
        [0, 0, TYPE_U8, found] if usize::from(found) == n_dims => return Ok(()),
        [] => ("the file is empty".to_owned(), None),
        [0, 0, TYPE_U8, found] if [IMAGE_DIMS, LABEL_DIMS].contains(&found.into()) => (
            format!("this is {}, where {wanted} is needed", kind(found.into())),
            Some("check whether images and labels are swapped"),
        ),
        [0, 0, TYPE_U8, found] => (
            format!("this IDX file has {found} dimensions, where {wanted} has {n_dims}"),
            Some(
                "colour images are not read from IDX; store them as files and use bovw import images",
            ),
        ),
        [0, 0, found @ (0x09 | 0x0B..=0x0E), _] => (
            format!("this IDX file holds values of type 0x{found:02x}; only bytes (0x08) are read"),
            Some("scale the pixels to whole numbers from 0 to 255 first"),
        ),
        _ => (
            format!(
                "this is not an IDX file: it starts with \"{}\", where {wanted} starts with 00 00 08 {n_dims:02x}",
                magic.escape_ascii()
            ),
            None,
        ),
    };
    Err(Error::File {
        place: path.into(),
        message,
        help: help.map(str::to_owned),
    })
}

/// Compares a plain file's size with its header before anything is read. A gzip file's is found at its end.
fn check_size_bytes(source: &Source, expected: u64, what: &str) -> Result<()> {
    match source.size_bytes() {
        Some(size) if size < expected => Err(cut_short(
            source.path(),
            format!("has {size} bytes, but its header announces {what}, which takes {expected}"),
        )),
        Some(size) if size > expected => Err(too_long(source.path(), what)),
        _ => Ok(()),
    }
}

fn expect_end(source: &mut Source, what: &str) -> Result<()> {
    if source.fill(&mut [0])? > 0 {
        return Err(too_long(source.path(), what));
    }
    Ok(())
}

fn cut_short(path: &Path, what: String) -> Error {
    Error::File {
        place: path.into(),
        message: format!("the file is cut short: it {what}"),
        help: Some("fetch it again".to_owned()),
    }
}

fn too_long(path: &Path, what: &str) -> Error {
    Error::File {
        place: path.into(),
        message: format!("the file is too long: its header announces {what}, and more follows"),
        help: Some("fetch it again, or correct its header".to_owned()),
    }
}
