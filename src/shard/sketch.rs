//! Sketches: what was sampled of some images, as an Arrow IPC stream, to be merged with other samples somewhere else.
//!
//! A row an image, in the order of the images; patches that a limit let go are not in it. It is written and read in batches
//! of bounded size, to and from anything. Whoever wrote one is not believed: a record that is handed out is one that a
//! sample can take, whatever the bytes were.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, ListArray, UInt32Array,
    UInt64Array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float64Type, Schema, SchemaRef, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use super::arrow_stream::ArrowStream;
use crate::error::{Error, Place, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::image::{Pixels, PixelsRef};
use crate::kernel::normalize::{Normalize, Scaling};
use crate::kernel::sample::Record;
use crate::kernel::vocabulary::Preparation;

/// The schema's key that says what a sketch is of.
pub const KEY: &str = "bovw.sketch";

/// Version of the format.
pub const FORMAT: u32 = 1;

/// Bytes of the records in a batch, about: one record may have more.
const BATCH_BYTES: usize = 1 << 18;

/// Bytes of a record beside its patches, about.
const ROW_BYTES: usize = 48;

/// What a sketch is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SketchOf<'a> {
    /// Whose it is: two sketches can be merged where this is the same.
    pub of: &'a str,
    /// How its patches are cut, and will be prepared.
    pub preparation: Preparation,
    /// Whether the sample has a limit, so that every patch has its hash.
    pub is_limited: bool,
}

/// [`SketchOf`], as the schema has it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    format: u32,
    bovw: String,
    of: String,
    // Height, width, values a pixel.
    patch: [u32; 3],
    normalize: String,
    epsilon: Option<f64>,
    whiten: Option<f64>,
    is_limited: bool,
}

impl Header {
    fn new(of: &SketchOf<'_>) -> Header {
        let Preparation {
            patch,
            normalize,
            whiten,
        } = of.preparation;
        Header {
            format: FORMAT,
            bovw: env!("CARGO_PKG_VERSION").to_owned(),
            of: of.of.to_owned(),
            patch: [patch.height, patch.width, patch.channels],
            normalize: normalize.name().to_owned(),
            epsilon: match normalize {
                Normalize::Patch { epsilon } => Some(epsilon),
                Normalize::Image | Normalize::None => None,
            },
            whiten,
            is_limited: of.is_limited,
        }
    }

    fn to_text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(text) => text,
            Err(error) => unreachable!("plain data is JSON: {error}"),
        }
    }
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", data_type, false)))
}

fn fields() -> Vec<Field> {
    let columns = [
        ("image", DataType::UInt64),
        ("centre", DataType::Float64),
        ("scale", DataType::Float64),
        ("row_stride", DataType::UInt32),
        ("is_float", DataType::Boolean),
        ("offsets", list_of(DataType::UInt32)),
        ("hashes", list_of(DataType::UInt64)),
        ("pixels", DataType::Binary),
    ];
    let field = |(name, data_type)| Field::new(name, data_type, false);
    columns.map(field).to_vec()
}

fn schema(of: &SketchOf<'_>) -> SchemaRef {
    let metadata = HashMap::from([(KEY.to_owned(), Header::new(of).to_text())]);
    Arc::new(Schema::new_with_metadata(fields(), metadata))
}

/// Writes a sketch.
pub struct SketchWriter<W: Write> {
    // What the writer is called in errors.
    name: Place,
    schema: SchemaRef,
    is_limited: bool,
    writer: StreamWriter<W>,
    rows: PendingRows,
}

/// Rows that fill no batch yet.
#[derive(Debug, Default)]
struct PendingRows {
    images: Vec<u64>,
    centres: Vec<f64>,
    scales: Vec<f64>,
    row_strides: Vec<u32>,
    is_float: Vec<bool>,
    n_offsets: Vec<usize>,
    offsets: Vec<u32>,
    n_hashes: Vec<usize>,
    hashes: Vec<u64>,
    n_pixel_bytes: Vec<usize>,
    pixels: Vec<u8>,
}

impl<W: Write> SketchWriter<W> {
    /// Starts a sketch in `writer`, which errors call `name`.
    pub fn new(writer: W, name: &Path, of: &SketchOf<'_>) -> Result<SketchWriter<W>> {
        let schema = schema(of);
        let writer = StreamWriter::try_new(writer, &schema);
        Ok(SketchWriter {
            writer: writer.map_err(|error| write_error(&name.into(), error))?,
            name: name.into(),
            schema,
            is_limited: of.is_limited,
            rows: PendingRows::default(),
        })
    }

    /// Adds the patches of an image; none is no row. `hashes` are theirs, where the sample is limited.
    pub fn push(&mut self, record: &Record<'_>, hashes: &[u64]) -> Result<()> {
        if record.offsets.is_empty() {
            return Ok(());
        }
        debug_assert_eq!(self.is_limited, hashes.len() == record.offsets.len());
        self.rows.push(record, hashes);
        match self.rows.size_bytes() >= BATCH_BYTES {
            true => self.write_batch(),
            false => Ok(()),
        }
    }

    /// Ends the sketch, and gives back what it was written to.
    pub fn finish(mut self) -> Result<W> {
        if !self.rows.images.is_empty() {
            self.write_batch()?;
        }
        let finished = self.writer.finish();
        finished.map_err(|error| write_error(&self.name, error))?;
        let writer = self.writer.into_inner();
        writer.map_err(|error| write_error(&self.name, error))
    }

    fn write_batch(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let batch = rows.into_batch(&self.schema);
        let written = self.writer.write(&batch);
        written.map_err(|error| write_error(&self.name, error))
    }
}

impl PendingRows {
    fn push(&mut self, record: &Record<'_>, hashes: &[u64]) {
        self.images.push(record.image);
        self.centres.push(record.scaling.centre);
        self.scales.push(record.scaling.scale);
        self.row_strides.push(record.row_stride);
        self.n_offsets.push(record.offsets.len());
        self.offsets.extend_from_slice(record.offsets);
        self.n_hashes.push(hashes.len());
        self.hashes.extend_from_slice(hashes);
        self.n_pixel_bytes.push(record.pixels.size_bytes());
        match record.pixels {
            PixelsRef::U8(pixels) => {
                self.is_float.push(false);
                self.pixels.extend_from_slice(pixels);
            }
            PixelsRef::F32(pixels) => {
                self.is_float.push(true);
                let bytes = pixels.iter().flat_map(|pixel| pixel.to_le_bytes());
                self.pixels.extend(bytes);
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.images.len() * ROW_BYTES
            + self.pixels.len()
            + size_of_val(self.offsets.as_slice())
            + size_of_val(self.hashes.as_slice())
    }

    fn into_batch(self, schema: &SchemaRef) -> RecordBatch {
        let item = |data_type| Arc::new(Field::new("item", data_type, false));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(self.images)),
            Arc::new(Float64Array::from(self.centres)),
            Arc::new(Float64Array::from(self.scales)),
            Arc::new(UInt32Array::from(self.row_strides)),
            Arc::new(BooleanArray::from(self.is_float)),
            Arc::new(ListArray::new(
                item(DataType::UInt32),
                OffsetBuffer::from_lengths(self.n_offsets),
                Arc::new(UInt32Array::from(self.offsets)),
                None,
            )),
            Arc::new(ListArray::new(
                item(DataType::UInt64),
                OffsetBuffer::from_lengths(self.n_hashes),
                Arc::new(UInt64Array::from(self.hashes)),
                None,
            )),
            Arc::new(BinaryArray::new(
                OffsetBuffer::from_lengths(self.n_pixel_bytes),
                Buffer::from_vec(self.pixels),
                None,
            )),
        ];
        match RecordBatch::try_new(Arc::clone(schema), columns) {
            Ok(batch) => batch,
            Err(error) => unreachable!("records are a table: {error}"),
        }
    }
}

/// A record of a sketch, checked: all its patches lie within its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct SketchRecord {
    /// Row number of the image over all shards.
    pub image: u64,
    scaling: Scaling,
    row_stride: u32,
    offsets: Vec<u32>,
    pixels: Pixels,
    /// The hash of each patch, where the sample is limited; none otherwise.
    pub hashes: Vec<u64>,
}

impl SketchRecord {
    /// The patches, to be put into a sample.
    pub fn record(&self) -> Record<'_> {
        Record {
            image: self.image,
            scaling: self.scaling,
            row_stride: self.row_stride,
            offsets: &self.offsets,
            pixels: self.pixels.as_ref(),
        }
    }
}

/// Reads a sketch, a batch at a time.
#[derive(Debug)]
pub struct SketchReader<R: Read> {
    name: Place,
    stream: ArrowStream<'static, R>,
    patch: PatchShape,
    is_limited: bool,
    last_image: Option<u64>,
}

impl<R: Read> SketchReader<R> {
    /// Opens a sketch, which errors call `name`, that must be of what `of` says. A record of more than `max_bytes` is
    /// refused.
    ///
    /// # Errors
    /// It is no sketch, or one of something else.
    pub fn new(
        reader: R,
        name: &Path,
        of: &SketchOf<'_>,
        max_bytes: u64,
    ) -> Result<SketchReader<R>> {
        let sketch = SketchReader {
            name: name.into(),
            stream: ArrowStream::new(reader, name, "sketch of bovw", max_bytes, None)?,
            patch: of.preparation.patch,
            is_limited: of.is_limited,
            last_image: None,
        };
        sketch.check_schema(of)?;
        Ok(sketch)
    }

    /// The next records; `None` at the end of a sketch that is whole.
    pub fn next_batch(&mut self) -> Result<Option<Vec<SketchRecord>>> {
        let Some(batch) = self.stream.next_batch()? else {
            return Ok(None);
        };
        let records = (0..batch.num_rows()).map(|row| self.checked(&batch, row));
        let records: Result<Vec<SketchRecord>, String> = records.collect();
        let records = records.map_err(|error| self.damaged(&error))?;
        for record in &records {
            if self.last_image.is_some_and(|last| record.image <= last) {
                return Err(self.damaged(&format!("image {} comes too late", record.image)));
            }
            self.last_image = Some(record.image);
        }
        Ok(Some(records))
    }

    fn check_schema(&self, of: &SketchOf<'_>) -> Result<()> {
        let found = self.stream.schema();
        let header = found.metadata().get(KEY);
        let Some(header) = header.and_then(|text| serde_json::from_str::<Header>(text).ok()) else {
            return Err(Error::file(
                self.name.clone(),
                "is an Arrow stream, and no sketch of bovw",
            ));
        };
        let expected = Header::new(of);
        if header.format != FORMAT || header.bovw != expected.bovw {
            let (format, bovw) = (header.format, header.bovw);
            let message = format!(
                "is a sketch of format {format}, by bovw {bovw}; this is {FORMAT}, by {}",
                expected.bovw
            );
            return Err(Error::file(self.name.clone(), message));
        }
        if header != expected {
            return Err(Error::file(
                self.name.clone(),
                "is a sketch of other images, or of other settings: color, resize, [patches], [sample] or the seed",
            ));
        }
        match found.fields() == schema(of).fields() {
            true => Ok(()),
            false => Err(self.damaged("its columns are others")),
        }
    }

    /// A row, as a record that a sample can take; or what is wrong with it.
    fn checked(&self, batch: &RecordBatch, row: usize) -> Result<SketchRecord, String> {
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err("it has nulls".to_owned());
        }
        let image = number::<UInt64Type>(batch, 0, row);
        let of_image = |what: String| format!("{what} of image {image}");
        let list = |column: usize| batch.column(column).as_list::<i32>().value(row);
        let record = SketchRecord {
            image,
            scaling: Scaling {
                centre: number::<Float64Type>(batch, 1, row),
                scale: number::<Float64Type>(batch, 2, row),
            },
            row_stride: number::<UInt32Type>(batch, 3, row),
            offsets: list(5).as_primitive::<UInt32Type>().values().to_vec(),
            hashes: list(6).as_primitive::<UInt64Type>().values().to_vec(),
            pixels: pixels(
                batch.column(7).as_binary::<i32>().value(row),
                batch.column(4).as_boolean().value(row),
            )
            .map_err(of_image)?,
        };
        self.check(&record).map_err(of_image)?;
        Ok(record)
    }

    fn check(&self, record: &SketchRecord) -> Result<(), String> {
        let Scaling { centre, scale } = record.scaling;
        if !(centre.is_finite() && scale.is_finite() && scale >= 0.0) {
            return Err(format!("centre {centre} and scale {scale}"));
        }
        let n_hashes = if self.is_limited {
            record.offsets.len()
        } else {
            0
        };
        if record.hashes.len() != n_hashes {
            let (hashes, patches) = (record.hashes.len(), record.offsets.len());
            return Err(format!("{hashes} hashes for {patches} patches"));
        }
        let Some(&last) = record.offsets.last() else {
            return Err("no patches".to_owned());
        };
        if !record.offsets.is_sorted_by(|a, b| a < b) {
            return Err("patches out of order".to_owned());
        }
        let (row_len, row_stride) = (self.patch.row_len() as u64, u64::from(record.row_stride));
        let fits_row = |&offset: &u32| u64::from(offset) % row_stride + row_len <= row_stride;
        let end = u64::from(last) + u64::from(self.patch.height - 1) * row_stride + row_len;
        let n_pixels = record.pixels.as_ref().len() as u64;
        if row_stride < row_len
            || !record.offsets.iter().all(fits_row)
            || end > n_pixels
            || n_pixels > u64::from(u32::MAX)
        {
            return Err(format!("patches beyond the {n_pixels} pixels"));
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        self.stream.damaged(what)
    }
}

/// A number in a column that the schema says is of this type.
fn number<T: ArrowPrimitiveType>(batch: &RecordBatch, column: usize, row: usize) -> T::Native {
    batch.column(column).as_primitive::<T>().value(row)
}

fn pixels(bytes: &[u8], is_float: bool) -> Result<Pixels, String> {
    if !is_float {
        return Ok(Pixels::U8(bytes.to_vec()));
    }
    let (values, rest) = bytes.as_chunks::<4>();
    let values: Vec<f32> = values
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect();
    match rest.is_empty() && values.iter().all(|value| value.is_finite()) {
        true => Ok(Pixels::F32(values)),
        false => Err("pixels that are no finite numbers".to_owned()),
    }
}

fn write_error(name: &Place, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io(&name.file, "write", source),
        other => Error::file(name.clone(), format!("cannot be written: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: SketchOf<'_> = SketchOf {
        of: "a plan",
        preparation: Preparation {
            patch: PatchShape {
                height: 2,
                width: 2,
                channels: 1,
            },
            normalize: Normalize::Image,
            whiten: None,
        },
        is_limited: true,
    };

    fn name() -> &'static Path {
        Path::new("a.arrows")
    }

    fn sketch(n: u64) -> Vec<u8> {
        let mut writer = SketchWriter::new(Vec::new(), name(), &OF).expect("begun");
        for image in 0..n {
            let pixels: Vec<u8> = (0..30).map(|i| (image * 7 + i) as u8).collect();
            let floats: Vec<f32> = pixels.iter().map(|&p| f32::from(p) + 0.5).collect();
            let record = Record {
                image,
                scaling: Scaling {
                    centre: image as f64,
                    scale: 2.0,
                },
                row_stride: 6,
                offsets: &[1, 8, 22],
                pixels: match image % 2 {
                    0 => PixelsRef::U8(&pixels),
                    _ => PixelsRef::F32(&floats),
                },
            };
            writer.push(&record, &[image, 1, 2]).expect("written");
        }
        writer.finish().expect("ended")
    }

    fn read(bytes: &[u8], of: &SketchOf<'_>) -> Result<Vec<SketchRecord>> {
        let mut reader = SketchReader::new(bytes, name(), of, 1 << 20)?;
        let mut all = Vec::new();
        while let Some(records) = reader.next_batch()? {
            all.extend(records);
        }
        Ok(all)
    }

    #[test]
    fn a_sketch_comes_back_as_it_was_written_in_however_many_batches() {
        for n in [0, 1, 7, 6000] {
            let bytes = sketch(n);
            let records = read(&bytes, &OF).expect("whole");
            assert_eq!(records.len() as u64, n);
            let mut writer = SketchWriter::new(Vec::new(), name(), &OF).expect("begun");
            for record in &records {
                let written = writer.push(&record.record(), &record.hashes);
                written.expect("written");
            }
            assert_eq!(writer.finish().expect("ended"), bytes);
        }
    }

    #[test]
    fn a_sketch_of_something_else_is_refused() {
        let bytes = sketch(3);
        let mut others = [OF, OF, OF, OF];
        others[0].of = "another plan";
        others[1].preparation.patch.width = 3;
        others[2].preparation.normalize = Normalize::None;
        others[3].is_limited = false;
        for of in others {
            let error = read(&bytes, &of).expect_err("another");
            assert!(
                error.to_string().contains("is a sketch of other"),
                "{error}"
            );
        }
    }

    #[test]
    fn whatever_happens_to_its_bytes_a_sketch_is_read_without_a_panic_or_refused() {
        let whole = sketch(5);
        for n in 0..whole.len() {
            assert!(read(&whole[..n], &OF).is_err(), "cut at {n}");
        }
        let more = [whole.as_slice(), &[0]].concat();
        assert!(read(&more, &OF).is_err(), "one byte more");
        for at in 0..whole.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut flipped = whole.clone();
                flipped[at] ^= flip;
                let _ = read(&flipped, &OF);
            }
        }
    }

    #[test]
    fn records_that_no_sample_can_take_are_refused_with_the_image() {
        type Damage = fn(&mut SketchRecord);
        let damages: [(Damage, &str); 9] = [
            (|r| r.offsets.clear(), "hashes for"),
            (|r| r.offsets.swap(0, 1), "out of order"),
            (|r| r.offsets[1] = r.offsets[0], "out of order"),
            (|r| r.offsets[2] = 23, "beyond the"),
            (|r| r.offsets[0] = 5, "beyond the"),
            (|r| r.row_stride = 1, "beyond the"),
            (|r| r.scaling.scale = f64::NAN, "scale NaN"),
            (|r| r.scaling.scale = -1.0, "scale -1"),
            (|r| r.hashes.truncate(1), "1 hashes for 3"),
        ];
        let bytes = sketch(1);
        let reader = SketchReader::new(bytes.as_slice(), name(), &OF, 1 << 20).expect("opened");
        for (damage, said) in damages {
            let mut record = read(&bytes, &OF).expect("whole").remove(0);
            assert_eq!(reader.check(&record), Ok(()));
            damage(&mut record);
            let error = reader.check(&record).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
