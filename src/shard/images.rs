//! From a row of a record batch to a grey image.
//!
//! Whatever is wrong with one row is a reason, in words, for that row alone; it never ends the batch. Colour becomes
//! luma (ITU-R BT.601, Pillow's whole-number formula); alpha is ignored; EXIF orientation is applied; 16-bit values are
//! divided by 257, so that white is 255 at any depth.

use arrow::array::{ArrayRef, AsArray};
use arrow::record_batch::RecordBatch;
use image::DynamicImage;

use super::columns::{BinaryRows, NumberLists, Numbers};
use super::detect::{ImageColumn, Layout, Shape};
use super::encoded;
use super::read::no_panic;
use crate::error::{Error, Place, Result};
use crate::kernel::image::{Image, Pixels};

/// What an image takes, known before it is decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// Heap bytes while it is decoded, the grey image included.
    pub decode_bytes: u64,
    /// Heap bytes of the grey image.
    pub grey_bytes: u64,
    /// Its pixels.
    pub n_pixels: u64,
}

/// Why an image cannot be used.
pub type Reason = String;

/// The images of a record batch.
#[derive(Debug)]
pub enum ImageRows<'a> {
    /// Encoded images, and the most pixels that one may have.
    Encoded(BinaryRows<'a>, u64),
    /// Raw bytes.
    Bytes(BinaryRows<'a>, Option<Shape>),
    /// Lists of numbers.
    Lists(NumberLists<'a>, Option<Shape>),
    /// One pixel a column.
    Columns(Vec<Numbers>, Shape),
}

impl<'a> ImageRows<'a> {
    /// The images of `batch`, in the column and layout that were detected.
    ///
    /// # Errors
    /// The column of this file is not of the type that the first file's is.
    pub fn new(
        batch: &'a RecordBatch,
        column: &ImageColumn,
        place: &Place,
    ) -> Result<ImageRows<'a>> {
        let rows = match &column.layout {
            Layout::EncodedField { field } => first(batch, column)
                .and_then(|array| array.as_struct_opt())
                .and_then(|array| array.column_by_name(field))
                .and_then(|array| BinaryRows::new(array.as_ref()))
                .map(|rows| ImageRows::Encoded(rows, column.max_pixels)),
            Layout::Encoded => first(batch, column)
                .and_then(|array| BinaryRows::new(array.as_ref()))
                .map(|rows| ImageRows::Encoded(rows, column.max_pixels)),
            Layout::Raw { shape } => first(batch, column).and_then(|array| {
                BinaryRows::new(array.as_ref())
                    .map(|rows| ImageRows::Bytes(rows, *shape))
                    .or_else(|| NumberLists::new(array).map(|rows| ImageRows::Lists(rows, *shape)))
            }),
            Layout::PixelColumns { shape } => column
                .columns
                .iter()
                .map(|name| batch.column_by_name(name).and_then(Numbers::new))
                .collect::<Option<Vec<Numbers>>>()
                .map(|columns| ImageRows::Columns(columns, *shape)),
        };
        rows.ok_or_else(|| {
            Error::file(
                place.clone().column(column.name()),
                "is not of the type that the first file has; all files of a job must have one layout",
            )
        })
    }

    /// What the image of a row will take; nothing for a row that has none, or one that is refused.
    pub fn size(&self, row: usize) -> ImageSize {
        match self {
            ImageRows::Encoded(rows, _) | ImageRows::Bytes(rows, _) if rows.is_null(row) => {
                ImageSize::default()
            }
            ImageRows::Encoded(rows, max_pixels) => {
                no_panic(|| encoded::size(rows.value(row), *max_pixels)).unwrap_or_default()
            }
            ImageRows::Bytes(rows, _) => raw_size(rows.value(row).len(), 1),
            ImageRows::Lists(rows, _) => raw_size(rows.range(row).len(), size_of::<f32>()),
            ImageRows::Columns(columns, _) => raw_size(columns.len(), size_of::<f32>()),
        }
    }

    /// The image of a row, or why there is none.
    pub fn get(&self, row: usize) -> Result<Image, Reason> {
        match self {
            ImageRows::Encoded(rows, max_pixels) => {
                if rows.is_null(row) {
                    return Err("the image is null".to_owned());
                }
                no_panic(|| decode(rows.value(row), *max_pixels))
            }
            ImageRows::Bytes(rows, shape) => {
                if rows.is_null(row) {
                    return Err("the image is null".to_owned());
                }
                let bytes = rows.value(row);
                let shape = shape_of(*shape, bytes.len())?;
                Ok(grey(shape, Pixels::U8(bytes.to_vec())))
            }
            ImageRows::Lists(rows, shape) => {
                if rows.is_null(row) {
                    return Err("the image is null".to_owned());
                }
                let range = rows.range(row);
                let shape = shape_of(*shape, range.len())?;
                let start = range.start;
                let numbers = rows.numbers();
                let pixels = collect(shape.len(), |i| {
                    (!numbers.is_null(start + i)).then(|| numbers.value(start + i))
                })?;
                Ok(grey(shape, pixels))
            }
            ImageRows::Columns(columns, shape) => {
                let pixels = collect(columns.len(), |i| {
                    (!columns[i].is_null(row)).then(|| columns[i].value(row))
                })?;
                Ok(grey(*shape, pixels))
            }
        }
    }
}

fn first<'a>(batch: &'a RecordBatch, column: &ImageColumn) -> Option<&'a ArrayRef> {
    batch.column_by_name(column.columns.first()?)
}

/// The shape of a raw image of `n_values`, which must have just so many.
fn shape_of(shape: Option<Shape>, n_values: usize) -> Result<Shape, Reason> {
    match shape.or_else(|| Shape::square(n_values)) {
        Some(shape) if shape.len() == n_values => Ok(shape),
        Some(shape) => Err(format!(
            "{n_values} values, but {shape} pixels need {}",
            shape.len()
        )),
        None => Err(format!(
            "{n_values} values are no square image; input.shape gives another shape"
        )),
    }
}

/// Pixels from numbers: bytes where all are whole and from 0 to 255, float32 otherwise.
fn collect(n: usize, value: impl Fn(usize) -> Option<f32>) -> Result<Pixels, Reason> {
    let mut floats = Vec::with_capacity(n);
    for i in 0..n {
        match value(i) {
            Some(v) if v.is_finite() => floats.push(v),
            Some(v) if v.is_nan() => return Err(format!("pixel {i} is NaN")),
            Some(_) => return Err(format!("pixel {i} is infinite")),
            None => return Err(format!("pixel {i} is null")),
        }
    }
    Ok(smallest(floats))
}

/// The same pixels as bytes, if they can be.
fn smallest(floats: Vec<f32>) -> Pixels {
    let is_byte = |&v: &f32| (0.0..=255.0).contains(&v) && v.fract().abs() < f32::MIN_POSITIVE;
    if floats.iter().all(is_byte) {
        Pixels::U8(floats.iter().map(|&v| v as u8).collect())
    } else {
        Pixels::F32(floats)
    }
}

/// A grey image from raw pixels of any number of channels.
fn grey(shape: Shape, pixels: Pixels) -> Image {
    let pixels = match (shape.channels, pixels) {
        (1, pixels) => pixels,
        (_, Pixels::U8(values)) => Pixels::U8(luma_of(shape, &values, luma_u8)),
        (_, Pixels::F32(values)) => smallest(luma_of(shape, &values, luma_f32)),
    };
    Image {
        height: shape.height,
        width: shape.width,
        channels: 1,
        pixels,
    }
}

fn luma_of<T: Copy>(shape: Shape, values: &[T], luma: fn(T, T, T) -> T) -> Vec<T> {
    let n_pixels = shape.height as usize * shape.width as usize;
    let channels = shape.channels as usize;
    let at = |pixel: usize, channel: usize| match shape.channels_first {
        true => values[channel * n_pixels + pixel],
        false => values[pixel * channels + channel],
    };
    (0..n_pixels)
        .map(|pixel| match channels {
            // Grey, or grey and alpha.
            1 | 2 => at(pixel, 0),
            _ => luma(at(pixel, 0), at(pixel, 1), at(pixel, 2)),
        })
        .collect()
}

fn luma_u8(r: u8, g: u8, b: u8) -> u8 {
    let weighted = u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471;
    ((weighted + 0x8000) >> 16) as u8
}

fn luma_f32(r: f32, g: f32, b: f32) -> f32 {
    (f64::from(r) * 0.299 + f64::from(g) * 0.587 + f64::from(b) * 0.114) as f32
}

/// A raw image of `n_values`, of which a copy is made and then the grey image.
fn raw_size(n_values: usize, bytes_per_value: usize) -> ImageSize {
    let bytes = (n_values * bytes_per_value) as u64;
    ImageSize {
        decode_bytes: 2 * bytes,
        grey_bytes: bytes,
        n_pixels: n_values as u64,
    }
}

fn decode(bytes: &[u8], max_pixels: u64) -> Result<Image, Reason> {
    let decoded = encoded::decode(bytes, max_pixels)?;
    if decoded.width() == 0 || decoded.height() == 0 {
        return Err("the image has no pixels".to_owned());
    }
    grey_of(decoded)
}

fn grey_of(decoded: DynamicImage) -> Result<Image, Reason> {
    let (height, width, color) = (decoded.height(), decoded.width(), decoded.color());
    let shape = Shape {
        height,
        width,
        channels: u32::from(color.channel_count()),
        channels_first: false,
    };
    let pixels = match decoded {
        DynamicImage::ImageLuma8(image) => Pixels::U8(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => Pixels::U8(image.into_raw()),
        DynamicImage::ImageRgb8(image) => Pixels::U8(image.into_raw()),
        DynamicImage::ImageRgba8(image) => Pixels::U8(image.into_raw()),
        DynamicImage::ImageLuma16(image) => from_u16(image.as_raw()),
        DynamicImage::ImageLumaA16(image) => from_u16(image.as_raw()),
        DynamicImage::ImageRgb16(image) => from_u16(image.as_raw()),
        DynamicImage::ImageRgba16(image) => from_u16(image.as_raw()),
        DynamicImage::ImageRgb32F(image) => from_f32(image.as_raw())?,
        DynamicImage::ImageRgba32F(image) => from_f32(image.as_raw())?,
        _ => return Err(format!("pixels of type {color:?} are not supported")),
    };
    Ok(grey(shape, pixels))
}

fn from_u16(values: &[u16]) -> Pixels {
    Pixels::F32(values.iter().map(|&v| f32::from(v) / 257.0).collect())
}

fn from_f32(values: &[f32]) -> Result<Pixels, Reason> {
    collect(values.len(), |i| Some(values[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_pillows() {
        // Values that `Image.convert("L")` gives.
        for (rgb, grey) in [
            ((255, 0, 0), 76),
            ((0, 255, 0), 150),
            ((0, 0, 255), 29),
            ((10, 20, 30), 18),
            ((255, 255, 255), 255),
        ] {
            assert_eq!(luma_u8(rgb.0, rgb.1, rgb.2), grey, "{rgb:?}");
        }
    }

    #[test]
    fn whole_numbers_up_to_255_are_kept_as_bytes() {
        assert_eq!(smallest(vec![0.0, 255.0, 7.0]), Pixels::U8(vec![0, 255, 7]));
        for other in [vec![0.5], vec![256.0], vec![-1.0]] {
            assert_eq!(smallest(other.clone()), Pixels::F32(other));
        }
    }

    #[test]
    fn channels_may_come_first_or_last() {
        let shape = |channels_first| Shape {
            height: 1,
            width: 2,
            channels: 3,
            channels_first,
        };
        let last = grey(shape(false), Pixels::U8(vec![255, 0, 0, 0, 0, 255]));
        let first = grey(shape(true), Pixels::U8(vec![255, 0, 0, 0, 0, 255]));
        assert_eq!(last.pixels, Pixels::U8(vec![76, 29]));
        assert_eq!(first, last);
    }

    #[test]
    fn what_is_no_image_has_a_reason() {
        assert_eq!(
            decode(b"", 100),
            Err("the image is empty (0 bytes)".to_owned())
        );
        assert_eq!(
            decode(b"hello", 100),
            Err("not an image of a known format".to_owned())
        );
        let truncated = decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 100).expect_err("truncated");
        assert!(truncated.starts_with("cannot be decoded: "), "{truncated}");
    }
}
