//! From a row of a record batch to an image, grey or RGB as the job asks.
//!
//! Whatever is wrong with one row is a reason, in words, for that row alone; it never ends the batch. EXIF orientation is
//! applied; the rest of the way from values to pixels is [`pixels`](super::pixels)'.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::record_batch::RecordBatch;
use image::DynamicImage;

use super::columns::{BinaryRows, NumberLists, Numbers};
use super::detect::{ImageColumn, Layout, Shape};
use super::encoded;
use super::pixels::{Alpha, Reading, Values, rgb_on_white, smallest};
use super::read::no_panic;
use crate::error::{Error, Place, Result};
use crate::kernel::image::{Image, Pixels};

/// What an image takes, known before it is decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// Heap bytes while it is decoded, the image included.
    pub decode_bytes: u64,
    /// Heap bytes of the image.
    pub image_bytes: u64,
    /// Its pixels.
    pub n_pixels: u64,
}

/// Why an image cannot be used.
pub type Reason = String;

/// The images of a record batch.
#[derive(Debug)]
pub struct ImageRows<'a> {
    rows: Rows<'a>,
    reading: Reading,
}

#[derive(Debug)]
enum Rows<'a> {
    /// Encoded images; and which structs are null, whatever is in them.
    Encoded(BinaryRows<'a>, Option<&'a NullBuffer>),
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
                .and_then(|array| Some((array.column_by_name(field)?, array.nulls())))
                .and_then(|(array, nulls)| {
                    Some(Rows::Encoded(BinaryRows::new(array.as_ref())?, nulls))
                }),
            Layout::Encoded => first(batch, column)
                .and_then(|array| BinaryRows::new(array.as_ref()))
                .map(|rows| Rows::Encoded(rows, None)),
            Layout::Raw { shape } => first(batch, column).and_then(|array| {
                BinaryRows::new(array.as_ref())
                    .map(|rows| Rows::Bytes(rows, *shape))
                    .or_else(|| NumberLists::new(array).map(|rows| Rows::Lists(rows, *shape)))
            }),
            Layout::PixelColumns { shape } => column
                .columns
                .iter()
                .map(|name| batch.column_by_name(name).and_then(Numbers::new))
                .collect::<Option<Vec<Numbers>>>()
                .map(|columns| Rows::Columns(columns, *shape)),
        };
        let rows = rows.ok_or_else(|| {
            Error::file(
                place.clone().column(column.name()),
                "is not of the type that the first file has; all files of a job must have one layout",
            )
        })?;
        let reading = column.reading;
        Ok(ImageRows { rows, reading })
    }

    /// The encoded images of binary values.
    pub fn encoded(rows: BinaryRows<'a>, reading: Reading) -> ImageRows<'a> {
        let rows = Rows::Encoded(rows, None);
        ImageRows { rows, reading }
    }

    /// What the image of a row will take; nothing for a row that has none, or one that is refused.
    pub fn size(&self, row: usize) -> ImageSize {
        match &self.rows {
            Rows::Encoded(rows, _) | Rows::Bytes(rows, _) if rows.is_null(row) => {
                ImageSize::default()
            }
            Rows::Encoded(rows, _) => {
                no_panic(|| encoded::size(rows.value(row), &self.reading)).unwrap_or_default()
            }
            Rows::Bytes(rows, shape) => self.raw_size(*shape, rows.value(row).len(), 1),
            Rows::Lists(rows, shape) => {
                self.raw_size(*shape, rows.range(row).len(), size_of::<f32>())
            }
            Rows::Columns(columns, shape) => {
                self.raw_size(Some(*shape), columns.len(), size_of::<f32>())
            }
        }
    }

    /// The image of a row, or why there is none.
    pub fn get(&self, row: usize) -> Result<Image, Reason> {
        match &self.rows {
            Rows::Encoded(rows, structs) => {
                if rows.is_null(row) || structs.is_some_and(|structs| structs.is_null(row)) {
                    return Err("the image is null".to_owned());
                }
                self.reading.decode(rows.value(row))
            }
            Rows::Bytes(rows, shape) => {
                if rows.is_null(row) {
                    return Err("the image is null".to_owned());
                }
                let bytes = rows.value(row);
                let shape = shape_of(*shape, bytes.len())?;
                self.raw(shape, Values::U8(bytes.into()))
            }
            Rows::Lists(rows, shape) => {
                if rows.is_null(row) {
                    return Err("the image is null".to_owned());
                }
                let range = rows.range(row);
                let shape = shape_of(*shape, range.len())?;
                let start = range.start;
                let numbers = rows.numbers();
                let values = collect(shape.len(), |i| {
                    (!numbers.is_null(start + i)).then(|| numbers.value(start + i))
                })?;
                self.raw(shape, values)
            }
            Rows::Columns(columns, shape) => {
                let values = collect(columns.len(), |i| {
                    (!columns[i].is_null(row)).then(|| columns[i].value(row))
                })?;
                self.raw(*shape, values)
            }
        }
    }

    fn raw(&self, shape: Shape, values: Values<'_>) -> Result<Image, Reason> {
        self.reading.image(shape, values, Alpha::Unknown)
    }

    /// A raw image of `n_values`, of which a copy is made first where they are no bytes.
    fn raw_size(&self, shape: Option<Shape>, n_values: usize, value_bytes: usize) -> ImageSize {
        let Ok(shape) = shape_of(shape, n_values) else {
            return ImageSize::default();
        };
        let bytes = (n_values * value_bytes) as u64;
        self.reading
            .size(shape, value_bytes as u64, bytes, 2 * bytes)
    }
}

impl Reading {
    /// The image of encoded bytes: a PNG, a JPEG and so on.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn decode(&self, bytes: &[u8]) -> Result<Image, Reason> {
        no_panic(|| decode(bytes, self))
    }

    /// The image that is made of numbers of this shape, which has as many; those that are all whole and from 0 to 255 are bytes.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn image_of_numbers(&self, shape: Shape, numbers: &[f32]) -> Result<Image, Reason> {
        let values = collect(numbers.len(), |i| Some(numbers[i]))?;
        self.image(shape, values, Alpha::Unknown)
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

/// Values from numbers: bytes where all are whole and from 0 to 255, float32 otherwise.
fn collect(n: usize, value: impl Fn(usize) -> Option<f32>) -> Result<Values<'static>, Reason> {
    let mut floats = Vec::with_capacity(n);
    for i in 0..n {
        match value(i) {
            Some(v) if v.is_finite() => floats.push(v),
            Some(v) if v.is_nan() => return Err(format!("pixel {i} is NaN")),
            Some(_) => return Err(format!("pixel {i} is infinite")),
            None => return Err(format!("pixel {i} is null")),
        }
    }
    Ok(match smallest(floats) {
        Pixels::U8(bytes) => Values::U8(bytes.into()),
        Pixels::F32(floats) => Values::F32(floats),
    })
}

fn decode(bytes: &[u8], reading: &Reading) -> Result<Image, Reason> {
    let decoded = encoded::decode(bytes, reading.max_pixels)?;
    let (height, width, color) = (decoded.height(), decoded.width(), decoded.color());
    if width == 0 || height == 0 {
        return Err("the image has no pixels".to_owned());
    }
    let mut shape = Shape {
        height,
        width,
        channels: u32::from(color.channel_count()),
        channels_first: false,
    };
    let values = match decoded {
        DynamicImage::ImageLuma8(image) => Values::U8(image.into_raw().into()),
        DynamicImage::ImageLumaA8(image) => Values::U8(image.into_raw().into()),
        DynamicImage::ImageRgb8(image) => Values::U8(image.into_raw().into()),
        DynamicImage::ImageRgba8(image) => Values::U8(image.into_raw().into()),
        DynamicImage::ImageLuma16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageLumaA16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageRgb16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageRgba16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageRgb32F(image) => of_floats(&image)?,
        DynamicImage::ImageRgba32F(image) => {
            shape.channels = 3;
            of_floats(&rgb_on_white(&image))?
        }
        _ => return Err(format!("pixels of type {color:?} are not supported")),
    };
    reading.image(shape, values, Alpha::Opacity)
}

fn of_floats(values: &[f32]) -> Result<Values<'static>, Reason> {
    collect(values.len(), |i| Some(values[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Color;

    const READING: Reading = Reading {
        max_pixels: 100,
        color: Color::Grey,
        resize: None,
    };

    #[test]
    fn what_is_no_image_has_a_reason() {
        assert_eq!(
            decode(b"", &READING),
            Err("the image is empty (0 bytes)".to_owned())
        );
        assert_eq!(
            decode(b"hello", &READING),
            Err("not an image of a known format".to_owned())
        );
        let truncated = decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &READING).expect_err("truncated");
        assert!(truncated.starts_with("cannot be decoded: "), "{truncated}");
    }
}
