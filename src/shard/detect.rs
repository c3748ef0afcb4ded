//! Which column holds the images, in which layout, and why; and which holds the labels.
//!
//! Order: the job's own choice; columns that Hugging Face metadata declares as images; structs with encoded bytes,
//! binary columns whose first value starts like an image file, and tensors; then raw pixels; then pixel columns.
//! Two candidates of one rank are an error that names both: a guess here would be a wrong result later.

use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use super::columns::{BinaryRows, is_number};
use super::hugging_face::{self, Features};
use super::pixels::Reading;
use super::read::{Shard, Wanted};
use crate::error::{Error, Place, Result};
use crate::job::RawShape;

/// Names that a label column may have, in order of preference.
pub const LABEL_NAMES: [&str; 7] = [
    "label",
    "labels",
    "class",
    "target",
    "y",
    "fine_label",
    "category",
];

/// Fewest numeric columns that are taken for the pixels of an image: 8x8.
const MIN_PIXEL_COLUMNS: usize = 64;

/// Rows that are looked at for a first value.
const SNIFF_ROWS: usize = 256;

/// Bytes of them that are read, about.
const SNIFF_BYTES: u64 = 1 << 20;

/// The column that holds images.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageColumn {
    /// The column; several, in order, where each holds one pixel.
    pub columns: Vec<String>,
    /// How a row holds an image.
    pub layout: Layout,
    /// Why it was taken, for people.
    pub reason: String,
    /// What becomes of an image when it is read.
    pub reading: Reading,
}

/// How a row holds an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// A struct whose binary field holds an encoded image (PNG, JPEG, ...).
    EncodedField {
        /// The field.
        field: String,
    },
    /// A binary value that is an encoded image.
    Encoded,
    /// Raw pixels in one value: bytes or a list of numbers.
    Raw {
        /// Shape of every image; `None`: each is square.
        shape: Option<Shape>,
    },
    /// Raw pixels, one a column.
    PixelColumns {
        /// Shape of every image.
        shape: Shape,
    },
}

/// Shape of raw pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Values a pixel.
    pub channels: u32,
    /// Whether all of the first channel comes before the second.
    pub channels_first: bool,
}

impl Shape {
    /// Number of values in an image.
    pub fn len(&self) -> usize {
        self.height as usize * self.width as usize * self.channels as usize
    }

    /// Whether an image has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of a square grey image of so many values.
    pub fn square(n_values: usize) -> Option<Shape> {
        let side = n_values.isqrt();
        (side > 0 && side * side == n_values).then_some(Shape {
            height: side as u32,
            width: side as u32,
            channels: 1,
            channels_first: false,
        })
    }
}

impl From<RawShape> for Shape {
    fn from(shape: RawShape) -> Shape {
        Shape {
            height: shape.height,
            width: shape.width,
            channels: shape.channels,
            channels_first: false,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.height, self.width)?;
        if self.channels > 1 {
            write!(f, "x{}", self.channels)?;
        }
        Ok(())
    }
}

impl ImageColumn {
    /// What has to be read for it.
    pub fn wanted(&self) -> Vec<Wanted> {
        let field = match &self.layout {
            Layout::EncodedField { field } => Some(field.clone()),
            _ => None,
        };
        self.columns
            .iter()
            .map(|column| Wanted {
                column: column.clone(),
                field: field.clone(),
            })
            .collect()
    }

    /// Its name, for people.
    pub fn name(&self) -> String {
        match self.columns.as_slice() {
            [one] => one.clone(),
            [first, .., last] => format!("{first} .. {last}"),
            [] => String::new(),
        }
    }
}

/// Columns that images are looked for in: those of a shard, or of a record batch that a program has.
struct Table<'a> {
    path: &'a Path,
    schema: &'a Schema,
    features: Features,
    rows: Rows<'a>,
}

enum Rows<'a> {
    Shard(&'a Shard),
    Batch(&'a RecordBatch),
}

/// What messages call a record batch that comes from no file.
pub const BATCH_NAME: &str = "the record batch";

/// Finds the image column of a shard.
///
/// # Errors
/// The named column is missing or of no use; none or several can be it.
pub fn image_column(
    shard: &Shard,
    name: Option<&str>,
    shape: Option<RawShape>,
) -> Result<ImageColumn> {
    let table = Table {
        path: shard.path(),
        schema: shard.schema(),
        features: shard.features(),
        rows: Rows::Shard(shard),
    };
    column_of(&table, name, shape)
}

/// Finds the image column of a record batch that comes from no file, in the same way.
///
/// # Errors
/// As [`image_column`].
pub fn image_column_of_batch(
    batch: &RecordBatch,
    name: Option<&str>,
    shape: Option<RawShape>,
) -> Result<ImageColumn> {
    let declared = batch.schema_ref().metadata().get(hugging_face::KEY);
    let table = Table {
        path: Path::new(BATCH_NAME),
        schema: batch.schema_ref(),
        features: declared.map_or_else(Features::default, |text| Features::parse(text)),
        rows: Rows::Batch(batch),
    };
    column_of(&table, name, shape)
}

fn column_of(
    table: &Table<'_>,
    name: Option<&str>,
    shape: Option<RawShape>,
) -> Result<ImageColumn> {
    if let Some(name) = name {
        let field = named(table, name, "input.image")?;
        let found = classify(table, field, shape)?.map_err(|reason| Error::File {
            place: Place::file(table.path).column(name),
            message: format!("cannot hold images: {reason}"),
            help: Some(format!("columns are {}", column_list(table.schema))),
        })?;
        let reason = format!("named by input.image; {}", found.reason);
        return Ok(ImageColumn {
            reason,
            ..found.column
        });
    }
    let mut best: Vec<Candidate> = Vec::new();
    let mut reasons = Vec::new();
    for field in table.schema.fields() {
        let candidate = match classify(table, field, shape)? {
            Ok(candidate) => candidate,
            Err(reason) => {
                reasons.push(format!("\"{}\": {reason}", field.name()));
                continue;
            }
        };
        match best.first().map(|other| other.rank.cmp(&candidate.rank)) {
            Some(std::cmp::Ordering::Less) => {}
            Some(std::cmp::Ordering::Equal) => best.push(candidate),
            _ => best = vec![candidate],
        }
    }
    if best.is_empty() {
        best.extend(pixel_columns(table.schema, shape)?);
    }
    match best.len() {
        1 => Ok(best.remove(0).into_column()),
        0 => Err(Error::File {
            place: Place::file(table.path),
            message: format!("no column holds images{}", indented(reasons)),
            help: Some(
                "name it with input.image, and raw pixels' size with input.shape".to_owned(),
            ),
        }),
        _ => {
            let names: Vec<String> = best
                .iter()
                .map(|c| format!("\"{}\"", c.column.name()))
                .collect();
            Err(Error::File {
                place: Place::file(table.path),
                message: format!(
                    "several columns could hold the images: {}",
                    names.join(" and ")
                ),
                help: Some(format!(
                    "choose one, for example input.image = {}",
                    names[0]
                )),
            })
        }
    }
}

/// Finds the label column of a shard, and says why it is that one; `None` where there is none.
///
/// # Errors
/// The named column is missing.
pub fn label_column(
    shard: &Shard,
    name: Option<&str>,
    image: &ImageColumn,
) -> Result<Option<(String, String)>> {
    if let Some(name) = name {
        field_of(shard, name, "input.label")?;
        return Ok(Some((name.to_owned(), "named by input.label".to_owned())));
    }
    let features = shard.features();
    let mut declared = features
        .class_labels()
        .filter(|name| shard.schema().field_with_name(name).is_ok());
    if let (Some(one), None) = (declared.next(), declared.next()) {
        let reason = "declared as ClassLabel by the file's huggingface metadata".to_owned();
        return Ok(Some((one.to_owned(), reason)));
    }
    Ok(LABEL_NAMES
        .iter()
        .find(|&&name| {
            !image.columns.iter().any(|column| column == name)
                && shard
                    .schema()
                    .field_with_name(name)
                    .is_ok_and(|field| is_plain(field.data_type()))
        })
        .map(|&name| (name.to_owned(), format!("called \"{name}\""))))
}

/// The field of a column that the job names.
pub fn field_of<'a>(shard: &'a Shard, name: &str, key: &'static str) -> Result<&'a Field> {
    field_in(shard.schema(), shard.path(), name, key)
}

fn named<'a>(table: &Table<'a>, name: &str, key: &'static str) -> Result<&'a Field> {
    field_in(table.schema, table.path, name, key)
}

fn field_in<'a>(
    schema: &'a Schema,
    path: &Path,
    name: &str,
    key: &'static str,
) -> Result<&'a Field> {
    schema.field_with_name(name).map_err(|_| Error::File {
        place: Place::file(path),
        message: format!("has no column \"{name}\", which {key} names"),
        help: Some(format!("columns are {}", column_list(schema))),
    })
}

/// Columns that a message lists at most.
const MAX_LISTED: usize = 12;

/// Lines below a message.
fn indented(mut lines: Vec<String>) -> String {
    if lines.len() > MAX_LISTED {
        let n_more = lines.len() - MAX_LISTED;
        lines.truncate(MAX_LISTED);
        lines.push(format!("and {n_more} more"));
    }
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

fn column_list(schema: &Schema) -> String {
    let fields = schema.fields();
    let mut names: Vec<String> = fields
        .iter()
        .take(MAX_LISTED)
        .map(|field| format!("\"{}\"", field.name()))
        .collect();
    if fields.len() > MAX_LISTED {
        names.push(format!("and {} more", fields.len() - MAX_LISTED));
    }
    names.join(", ")
}

fn is_plain(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Boolean
            | DataType::Dictionary(..)
    ) || data_type.is_integer()
}

/// How sure a candidate is; lower is surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Declared,
    Encoded,
    Raw,
    Pixels,
}

#[derive(Debug)]
struct Candidate {
    column: ImageColumn,
    rank: Rank,
    reason: String,
}

impl Candidate {
    fn new(field: &Field, layout: Layout, rank: Rank, reason: impl Into<String>) -> Candidate {
        let reason = reason.into();
        Candidate {
            column: ImageColumn {
                columns: vec![field.name().clone()],
                layout,
                reason: reason.clone(),
                reading: Reading::default(),
            },
            rank,
            reason,
        }
    }

    fn into_column(self) -> ImageColumn {
        self.column
    }
}

/// What a column is as an image column; the inner error says why it is none.
fn classify(
    table: &Table<'_>,
    field: &Field,
    shape: Option<RawShape>,
) -> Result<Result<Candidate, String>> {
    let found = match field.data_type() {
        DataType::Struct(fields) => Ok(fields
            .iter()
            .find(|child| child.name() == "bytes" && is_binary(child.data_type()))
            .map(|child| {
                let layout = Layout::EncodedField {
                    field: child.name().clone(),
                };
                Candidate::new(
                    field,
                    layout,
                    Rank::Encoded,
                    "struct with encoded images in \"bytes\"",
                )
            })
            .ok_or_else(|| "a struct without a binary field \"bytes\"".to_owned())),
        data_type if is_binary(data_type) => binary(table, field, shape),
        DataType::FixedSizeBinary(size) => {
            Ok(raw(field, shape, Some(*size as usize), "fixed-size binary"))
        }
        DataType::FixedSizeList(child, size) if is_number(child.data_type()) => Ok(raw(
            field,
            shape,
            Some(*size as usize),
            "fixed-size list of numbers",
        )),
        DataType::List(child) | DataType::LargeList(child) if is_number(child.data_type()) => {
            Ok(raw(field, shape, None, "list of numbers"))
        }
        other => Ok(Err(format!("its type is {other}"))),
    }?;
    let is_declared = table.features.images().any(|name| name == field.name());
    Ok(found.map(|mut candidate| {
        if is_declared {
            candidate.rank = Rank::Declared;
            candidate.reason = "declared as Image by the file's huggingface metadata".to_owned();
            candidate.column.reason.clone_from(&candidate.reason);
        }
        candidate
    }))
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

fn binary(
    table: &Table<'_>,
    field: &Field,
    shape: Option<RawShape>,
) -> Result<Result<Candidate, String>> {
    let Some(first) = first_value(table, field)? else {
        return Ok(match table.rows {
            // Another batch may have some; here there is nothing to be wrong about.
            Rows::Batch(_) => Ok(Candidate::new(
                field,
                Layout::Encoded,
                Rank::Raw,
                "binary, without a value",
            )),
            Rows::Shard(_) => Err("binary, with no value in its first rows".to_owned()),
        });
    };
    if let Ok(format) = image::guess_format(&first) {
        let format = format!("{format:?}").to_uppercase();
        let reason = format!("binary; its first value starts like a {format} file");
        return Ok(Ok(Candidate::new(
            field,
            Layout::Encoded,
            Rank::Encoded,
            reason,
        )));
    }
    Ok(raw(field, shape, None, "binary").and_then(|candidate| {
        let expected = shape
            .map(Shape::from)
            .or_else(|| Shape::square(first.len()));
        match expected {
            Some(shape) if shape.len() == first.len() => Ok(candidate),
            _ => Err(format!(
                "binary; its first value is no image file, and its {} bytes are no raw image{}",
                first.len(),
                shape.map_or(" without input.shape".to_owned(), |_| " of input.shape"
                    .to_owned())
            )),
        }
    }))
}

/// The first value of a binary column, if one comes soon.
fn first_value(table: &Table<'_>, field: &Field) -> Result<Option<Vec<u8>>> {
    match table.rows {
        Rows::Batch(batch) => Ok(batch.column_by_name(field.name()).and_then(first_in)),
        Rows::Shard(shard) if shard.n_row_groups() == 0 => Ok(None),
        Rows::Shard(shard) => {
            let wanted = [Wanted::column(field.name())];
            let rows = shard.rows_within(0, &wanted, SNIFF_BYTES, SNIFF_ROWS);
            let mut reader = shard.read_row_group(0, &wanted, rows)?;
            let Some(batch) = reader.next_batch() else {
                return Ok(None);
            };
            Ok(first_in(batch?.1.column(0)))
        }
    }
}

fn first_in(column: &ArrayRef) -> Option<Vec<u8>> {
    let rows = BinaryRows::new(column.as_ref())?;
    let first = (0..column.len()).find(|&row| column.is_valid(row))?;
    Some(rows.value(first).to_vec())
}

/// A column of raw pixels: its shape is the job's, the tensor's own, or square.
fn raw(
    field: &Field,
    shape: Option<RawShape>,
    n_values: Option<usize>,
    kind: &str,
) -> Result<Candidate, String> {
    if let Some(shape) = shape {
        let shape = Shape::from(shape);
        if n_values.is_some_and(|n| n != shape.len()) {
            return Err(format!(
                "{kind} of {} values, but input.shape {shape} needs {}",
                n_values.unwrap_or(0),
                shape.len()
            ));
        }
        let layout = Layout::Raw { shape: Some(shape) };
        return Ok(Candidate::new(
            field,
            layout,
            Rank::Raw,
            format!("{kind}, {shape} by input.shape"),
        ));
    }
    if let Some(shape) = tensor_shape(field)
        && n_values.is_none_or(|n| n == shape.len())
    {
        let layout = Layout::Raw { shape: Some(shape) };
        let order = match shape.channels_first && shape.channels > 1 {
            true => ", channels first",
            false => "",
        };
        let reason = format!("tensor of {shape}{order}");
        return Ok(Candidate::new(field, layout, Rank::Encoded, reason));
    }
    match n_values {
        None => Ok(Candidate::new(
            field,
            Layout::Raw { shape: None },
            Rank::Raw,
            format!("{kind}, square images"),
        )),
        Some(n) => Shape::square(n)
            .map(|shape| {
                let layout = Layout::Raw { shape: Some(shape) };
                Candidate::new(field, layout, Rank::Raw, format!("{kind}, square: {shape}"))
            })
            .ok_or_else(|| format!("{kind} of {n} values, which is no square; give input.shape")),
    }
}

/// The shape in the metadata of an `arrow.fixed_shape_tensor`: HW, HWC or CHW.
fn tensor_shape(field: &Field) -> Option<Shape> {
    let metadata = field.metadata();
    if metadata.get("ARROW:extension:name")? != "arrow.fixed_shape_tensor" {
        return None;
    }
    let metadata: serde_json::Value =
        serde_json::from_str(metadata.get("ARROW:extension:metadata")?).ok()?;
    let sizes: Vec<u32> = metadata["shape"]
        .as_array()?
        .iter()
        .map(|size| size.as_u64().and_then(|size| u32::try_from(size).ok()))
        .collect::<Option<_>>()?;
    let names = metadata["dim_names"].as_array();
    let first_name = names.and_then(|names| names.first()?.as_str());
    let is_channels = |size: u32| matches!(size, 1..=4);
    let (height, width, channels, channels_first) = match sizes[..] {
        [height, width] => (height, width, 1, false),
        [channels, height, width]
            if matches!(first_name, Some("C" | "c" | "channel" | "channels"))
                || (is_channels(channels) && !is_channels(width)) =>
        {
            (height, width, channels, true)
        }
        [height, width, channels] if is_channels(channels) => (height, width, channels, false),
        _ => return None,
    };
    Some(Shape {
        height,
        width,
        channels,
        channels_first,
    })
    .filter(|shape| !shape.is_empty())
}

/// Numeric columns called like pixels (`pixel0`, `1x1`, `p_12`, `7`), if there are enough of them.
fn pixel_columns(schema: &Schema, shape: Option<RawShape>) -> Result<Option<Candidate>> {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .filter(|field| is_number(field.data_type()) && is_pixel_name(field.name()))
        .map(|field| field.name().clone())
        .collect();
    if columns.len() < MIN_PIXEL_COLUMNS {
        return Ok(None);
    }
    let n = columns.len();
    let shape = match shape {
        Some(shape) => Some(Shape::from(shape)).filter(|shape| shape.len() == n),
        None => Shape::square(n),
    };
    let Some(shape) = shape else {
        return Err(Error::setting(
            "input.shape",
            format!("{n} pixel columns are no image of that shape, nor a square"),
            format!("give [height, width] with height * width = {n}"),
        ));
    };
    let reason = format!("{n} numeric columns called like pixels, {shape}");
    Ok(Some(Candidate {
        column: ImageColumn {
            columns,
            layout: Layout::PixelColumns { shape },
            reason: reason.clone(),
            reading: Reading::default(),
        },
        rank: Rank::Pixels,
        reason,
    }))
}

/// `pixel12`, `px_12`, `p-12`, `x12`, `f12`, `1x1`, `12`.
fn is_pixel_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let rest = ["pixel", "px", "p", "f", "x", ""]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or_default();
    let rest = rest.strip_prefix(['_', '-', '.']).unwrap_or(rest);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match rest.split_once('x') {
        Some((row, col)) => is_digits(row) && is_digits(col),
        None => is_digits(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_columns_are_known_by_their_names() {
        for name in [
            "pixel0", "pixel783", "1x1", "28x28", "p_3", "px-3", "784", "Pixel7", "x12",
        ] {
            assert!(is_pixel_name(name), "{name}");
        }
        for name in ["label", "pixel", "pixels", "x", "p1a", "1x", ""] {
            assert!(!is_pixel_name(name), "{name}");
        }
    }

    #[test]
    fn tensor_shapes_are_read_with_channels_first_or_last() {
        let shape = |metadata: &str| {
            let entries = [
                ("ARROW:extension:name", "arrow.fixed_shape_tensor"),
                ("ARROW:extension:metadata", metadata),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
            let metadata: std::collections::HashMap<String, String> = entries.into();
            let field = Field::new("t", DataType::Int8, false).with_metadata(metadata);
            tensor_shape(&field).map(|s| (s.height, s.width, s.channels, s.channels_first))
        };
        assert_eq!(shape(r#"{"shape":[28,30]}"#), Some((28, 30, 1, false)));
        assert_eq!(shape(r#"{"shape":[28,30,3]}"#), Some((28, 30, 3, false)));
        assert_eq!(shape(r#"{"shape":[3,28,30]}"#), Some((28, 30, 3, true)));
        assert_eq!(
            shape(r#"{"shape":[3,28,4],"dim_names":["C","H","W"]}"#),
            Some((28, 4, 3, true))
        );
        assert_eq!(shape(r#"{"shape":[2,3,4,5]}"#), None);
        assert_eq!(shape("{"), None);
    }
}
