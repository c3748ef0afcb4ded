//! CSV files with one grey image a row: a column a pixel, row by row, and perhaps a label; plain or gzip.
//!
//! The file is read three times: its first rows to find the label column, the label column to find the classes, which
//! every shard names, and then the pixels. Pixels are whole numbers from 0 to 255 and are never scaled: anything else is
//! an error that names the line. No row may take more memory than [`MAX_ROW_BYTES`] allows.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use ::csv::ByteRecord;

use super::shards::{Label, Labels, ShardWriter, check_target};
use super::source::{Source, read_error};
use super::{MAX_CLASSES, Summary, Target, Watch, grey, numbered_classes};
use crate::error::{Error, Result};
use crate::shard::detect::LABEL_NAMES;

/// The longest row: more than any image of a sensible size takes, so beyond it a quote was left open.
pub const MAX_ROW_BYTES: u64 = 16 << 20;
/// The most columns: images of 1024x1024, a label, and a few to spare.
pub const MAX_COLUMNS: u64 = (1 << 20) + 16;
/// The longest label.
pub const MAX_LABEL_BYTES: usize = 1024;
/// Rows that are looked at to find the label column.
const SNIFF_ROWS: usize = 100;
/// The fewest columns that may be taken for a header because they count up by one, as pandas numbers its columns.
const MIN_COUNTING_COLUMNS: usize = 16;

/// Which column holds the label.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LabelColumn {
    /// Found by name, by the number of columns, or by what the first rows hold.
    #[default]
    Detect,
    /// The first.
    First,
    /// The last.
    Last,
    /// None: every column is a pixel.
    None,
    /// The one of this name.
    Named(String),
}

impl FromStr for LabelColumn {
    type Err = Infallible;

    /// `detect`, `first`, `last` and `none` mean themselves; all else is a column's name.
    fn from_str(text: &str) -> Result<LabelColumn, Infallible> {
        Ok(match text {
            "detect" => LabelColumn::Detect,
            "first" => LabelColumn::First,
            "last" => LabelColumn::Last,
            "none" => LabelColumn::None,
            name => LabelColumn::Named(name.to_owned()),
        })
    }
}

/// What to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The file.
    pub file: PathBuf,
    /// Where the labels are.
    pub label: LabelColumn,
    /// Whether the first row names the columns; detected if not given.
    pub header: Option<bool>,
    /// Rows of an image's pixels; with neither side given, images are square.
    pub height: Option<u32>,
    /// Pixels in a row of an image.
    pub width: Option<u32>,
    /// What separates fields.
    pub delimiter: u8,
}

impl Options {
    /// This file, with everything else detected and commas between fields.
    pub fn new(file: impl Into<PathBuf>) -> Options {
        Options {
            file: file.into(),
            label: LabelColumn::Detect,
            header: None,
            height: None,
            width: None,
            delimiter: b',',
        }
    }
}

/// Imports one CSV file. An image's path is `NAME-<row>.png`; the summary's notes say how the label was found.
pub fn import(options: &Options, target: &Target, watch: &Watch<'_>) -> Result<Summary> {
    check_target(target)?;
    let mut summary = Summary::default();
    let layout = Layout::find(options, &mut summary.notes)?;
    let survey = Survey::of(options, &layout, watch)?;
    let n_rows = survey.rows;
    let coding = survey.coding(layout.label, &mut summary.notes);
    let mut writer = ShardWriter::create(target, &coding.labels())?;
    let mut rows = Rows::open(options)?;
    rows.skip_header(&layout)?;
    let mut pixels = Vec::new();
    let mut png = Vec::new();
    let mut row = 0;
    while rows.next(&layout)? {
        watch.before_image(row, Some(n_rows))?;
        rows.pixels(&layout, &mut pixels)?;
        let label = match layout.label {
            None => Label::None,
            Some(column) => coding.code(rows.label(column)?).ok_or_else(|| {
                rows.error("this label was not there a moment ago; is the file being written?")
            })?,
        };
        grey::encode_png(&pixels, layout.height, layout.width, &mut png);
        writer.push(&png, Some(&format!("{}-{row}.png", target.name)), label)?;
        row += 1;
    }
    summary.add_written(writer.finish()?);
    (watch.progress)(summary.images, Some(summary.images));
    if let Labels::Classes(names) = coding.labels() {
        summary.classes = Some(names);
    }
    Ok(summary)
}

/// What each column is.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    header: bool,
    n_columns: usize,
    label: Option<usize>,
    height: u32,
    width: u32,
}

impl Layout {
    /// Looks at the first rows. What it decides for the user goes to `notes`.
    fn find(options: &Options, notes: &mut Vec<String>) -> Result<Layout> {
        let sniff = Sniff::of(options)?;
        let label = match &options.label {
            LabelColumn::Detect => detect_label(options, &sniff, notes)?,
            LabelColumn::First => Some(0),
            LabelColumn::Last => Some(sniff.n_columns - 1),
            LabelColumn::None => None,
            LabelColumn::Named(name) => Some(find_named(options, &sniff, name)?),
        };
        let n_pixels = sniff.n_columns - usize::from(label.is_some());
        let Some((height, width)) = image_size(options, n_pixels) else {
            return Err(no_image(options, &sniff, n_pixels));
        };
        let (height, width) = grey::check_size(height, width)
            .map_err(|problem| Error::file(options.file.as_path(), problem))?;
        if options.header.is_none() && sniff.header.is_some() {
            notes.push("line 1 is taken for the names of the columns".to_owned());
        }
        Ok(Layout {
            header: sniff.header.is_some(),
            n_columns: sniff.n_columns,
            label,
            height,
            width,
        })
    }
}

fn detect_label(
    options: &Options,
    sniff: &Sniff,
    notes: &mut Vec<String>,
) -> Result<Option<usize>> {
    let names = sniff.header.as_deref().unwrap_or_default();
    let named: Vec<usize> = (0..names.len())
        .filter(|&i| is_label_name(&names[i]))
        .collect();
    if let [first, second, ..] = named[..] {
        return Err(Error::File {
            place: options.file.as_path().into(),
            message: format!(
                "columns \"{}\" and \"{}\" could both be the label",
                names[first], names[second]
            ),
            help: Some(
                "say which one with --label NAME, and leave the other out of the file".to_owned(),
            ),
        });
    }
    let n = sniff.n_columns;
    let (label, reason) = if let [column] = named[..] {
        (Some(column), format!("by its name, \"{}\"", names[column]))
    } else if n > 1 && image_size(options, n - 1).is_some() {
        let (column, reason) = first_or_last(sniff);
        (Some(column), reason)
    } else {
        (None, format!("since {n} columns make an image without one"))
    };
    let what = label.map_or("no label".to_owned(), |i| {
        format!("label in column {}", i + 1)
    });
    notes.push(format!("{what}, {reason}; --label says otherwise"));
    Ok(label)
}

/// On which side the label is, where only the number of columns says that there is one.
fn first_or_last(sniff: &Sniff) -> (usize, String) {
    let (first, last) = (&sniff.first, &sniff.last);
    let last_column = sniff.n_columns - 1;
    let n = sniff.n_rows;
    if first.is_text != last.is_text {
        let column = if first.is_text { 0 } else { last_column };
        (column, "the only one at either end that is text".to_owned())
    } else if last.is_constant && !first.is_constant {
        let reason = format!(
            "since the last column never changes in the first {n} rows, as the corners of images do"
        );
        (0, reason)
    } else {
        (
            last_column,
            "since the others make a square image and labels are usually last".to_owned(),
        )
    }
}

fn find_named(options: &Options, sniff: &Sniff, name: &str) -> Result<usize> {
    let fail = |message: String| Error::File {
        place: options.file.as_path().into(),
        message,
        help: Some("--label takes first, last, none or a column's name".to_owned()),
    };
    let Some(names) = &sniff.header else {
        return Err(fail(format!(
            "there is no header to find the label \"{name}\" in"
        )));
    };
    let mut found = (0..names.len()).filter(|&i| names[i] == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => Err(fail(format!("two columns are named \"{name}\""))),
        (None, _) => Err(fail(format!(
            "no column is named \"{name}\"; the first is \"{}\", the last \"{}\"",
            names[0],
            names[names.len() - 1]
        ))),
    }
}

/// Height and width of images of `n_pixels`, if they fit what the options say.
fn image_size(options: &Options, n_pixels: usize) -> Option<(u64, u64)> {
    let n = n_pixels as u64;
    let divide = |side: u64| (side > 0 && n.is_multiple_of(side)).then(|| n / side);
    let (height, width) = match (options.height.map(u64::from), options.width.map(u64::from)) {
        (Some(height), Some(width)) => (height, width),
        (Some(height), None) => (height, divide(height)?),
        (None, Some(width)) => (divide(width)?, width),
        (None, None) => (n.isqrt(), n.isqrt()),
    };
    (height * width == n && n > 0).then_some((height, width))
}

fn no_image(options: &Options, sniff: &Sniff, n_pixels: usize) -> Error {
    let n = sniff.n_columns;
    let is_colour = |n: usize| n > 0 && n.is_multiple_of(3) && (n / 3).isqrt().pow(2) == n / 3;
    let message = match (options.height, options.width) {
        (None, None) => format!("{n} columns leave {n_pixels} pixels, which is not a square image"),
        (height, width) => {
            let side = |side: Option<u32>| side.map_or("?".to_owned(), |side| side.to_string());
            let size = format!("{}x{}", side(height), side(width));
            format!("{n} columns leave {n_pixels} pixels, which is not an image of {size}")
        }
    };
    let help = if is_colour(n) || is_colour(n - 1) {
        "this looks like colour images, which are not read from CSV; store them as files and use bovw import images"
            .to_owned()
    } else {
        "give --height and --width, and --label where the label is; other columns must go"
            .to_owned()
    };
    Error::File {
        place: options.file.as_path().into(),
        message,
        help: Some(help),
    }
}

fn one_column(options: &Options) -> Error {
    Error::File {
        place: options.file.as_path().into(),
        message: format!(
            "there is only one column where \"{}\" separates the fields",
            options.delimiter.escape_ascii()
        ),
        help: Some("--delimiter says what separates them".to_owned()),
    }
}

/// What the first rows show.
struct Sniff {
    header: Option<Vec<String>>,
    n_columns: usize,
    n_rows: usize,
    first: Edge,
    last: Edge,
}

/// The first or the last column.
struct Edge {
    value: Vec<u8>,
    is_constant: bool,
    is_text: bool,
}

impl Sniff {
    fn of(options: &Options) -> Result<Sniff> {
        let mut rows = Rows::open(options)?;
        if !rows.read()? {
            return Err(Error::file(options.file.as_path(), "the file has no rows"));
        }
        if rows.record.len() == 1 {
            return Err(one_column(options));
        }
        let named = matches!(options.label, LabelColumn::Named(_));
        let is_header = options
            .header
            .unwrap_or_else(|| named || looks_like_header(&rows.record));
        let n_columns = rows.record.len();
        let names = || {
            rows.record
                .iter()
                .map(|name| String::from_utf8_lossy(name).trim().to_owned())
        };
        let header = is_header.then(|| names().collect());
        if is_header && !rows.read()? {
            return Err(Error::file(
                options.file.as_path(),
                "no rows follow the header",
            ));
        }
        let mut sniff = Sniff {
            header,
            n_columns,
            n_rows: 0,
            first: Edge::new(&rows.record[0]),
            last: Edge::new(&rows.record[rows.record.len() - 1]),
        };
        loop {
            rows.check_columns(n_columns)?;
            sniff.first.see(&rows.record[0]);
            sniff.last.see(&rows.record[n_columns - 1]);
            sniff.n_rows += 1;
            if sniff.n_rows == SNIFF_ROWS || !rows.read()? {
                return Ok(sniff);
            }
        }
    }
}

impl Edge {
    fn new(value: &[u8]) -> Edge {
        Edge {
            value: value.to_owned(),
            is_constant: true,
            is_text: false,
        }
    }

    fn see(&mut self, value: &[u8]) {
        self.is_constant &= value == self.value;
        self.is_text |= !is_number(value);
    }
}

fn is_label_name(name: &str) -> bool {
    LABEL_NAMES.contains(&name.to_lowercase().as_str())
}

/// Whether a file's first row names its columns. A label's text alone does not make a row a header.
fn looks_like_header(record: &ByteRecord) -> bool {
    let is_label =
        |field: &[u8]| str::from_utf8(field).is_ok_and(|name| is_label_name(name.trim()));
    let mut rest: Vec<&[u8]> = record.iter().collect();
    if let Some(label) = rest.iter().position(|field| is_label(field)) {
        rest.remove(label);
    }
    let n_text = rest.iter().filter(|field| !is_number(field)).count();
    if n_text > 0 && 2 * n_text >= rest.len() {
        return record.len() > 2 || n_text == record.len();
    }
    let numbers: Option<Vec<i64>> = rest
        .iter()
        .map(|field| whole_number(str::from_utf8(field).ok()?.trim()))
        .collect();
    rest.len() >= MIN_COUNTING_COLUMNS
        && numbers.is_some_and(|numbers| {
            numbers[0] <= 1
                && numbers
                    .windows(2)
                    .all(|pair| pair[1].checked_sub(pair[0]) == Some(1))
        })
}

/// Whether a field is a number, or empty, as a missing number is.
fn is_number(field: &[u8]) -> bool {
    let field = field.trim_ascii();
    field.is_empty() || str::from_utf8(field).is_ok_and(|text| text.parse::<f64>().is_ok())
}

/// What the label column holds, all of it.
struct Survey {
    rows: u64,
    numbers: Distinct<i64>,
    texts: Distinct<String>,
    all_numbers: bool,
}

/// Different values, in order, as long as there are no more than may become classes.
struct Distinct<T>(Option<BTreeSet<T>>);

impl<T: Ord> Distinct<T> {
    fn insert(&mut self, value: T) {
        if let Some(values) = &mut self.0 {
            values.insert(value);
            // One more than the classes, for "unknown".
            if values.len() > MAX_CLASSES + 1 {
                self.0 = None;
            }
        }
    }
}

/// How labels are stored.
#[derive(Debug, PartialEq, Eq)]
enum Coding {
    None,
    /// As they are; the names are the numbers.
    NumberedClasses(Vec<String>),
    /// As the index in these sorted names.
    NamedClasses(Vec<String>),
    Numbers,
    Text,
}

impl Survey {
    fn of(options: &Options, layout: &Layout, watch: &Watch<'_>) -> Result<Survey> {
        let mut survey = Survey {
            rows: 0,
            numbers: Distinct(Some(BTreeSet::new())),
            texts: Distinct(Some(BTreeSet::new())),
            all_numbers: true,
        };
        let mut rows = Rows::open(options)?;
        rows.skip_header(layout)?;
        while rows.next(layout)? {
            watch.check_stop()?;
            survey.rows += 1;
            if let Some(column) = layout.label {
                survey.see(rows.label(column)?);
            }
        }
        Ok(survey)
    }

    fn see(&mut self, label: &str) {
        if self
            .texts
            .0
            .as_ref()
            .is_some_and(|texts| !texts.contains(label))
        {
            self.texts.insert(label.to_owned());
        }
        match whole_number(label) {
            Some(number) => self.numbers.insert(number),
            None => self.all_numbers = false,
        }
    }

    fn coding(self, label: Option<usize>, notes: &mut Vec<String>) -> Coding {
        let Some(column) = label else {
            return Coding::None;
        };
        let column = column + 1;
        if self.rows > 1 && self.texts.0.as_ref().is_some_and(|texts| texts.len() == 1) {
            notes.push(format!(
                "every label is the same; is the label really in column {column}?"
            ));
        }
        if self.all_numbers {
            let names = self.numbers.0.and_then(numbered_classes);
            return names.map_or_else(
                || {
                    notes.push(
                        "the labels are kept as numbers without class names, since they do not run from 0 without a gap"
                            .to_owned(),
                    );
                    Coding::Numbers
                },
                Coding::NumberedClasses,
            );
        }
        match self.texts.0 {
            Some(texts) if texts.len() <= MAX_CLASSES => {
                Coding::NamedClasses(texts.into_iter().collect())
            }
            _ => {
                notes.push(format!(
                    "the labels are kept as text: there are more than {MAX_CLASSES} different ones"
                ));
                Coding::Text
            }
        }
    }
}

impl Coding {
    fn labels(&self) -> Labels {
        match self {
            Coding::None => Labels::None,
            Coding::NumberedClasses(names) | Coding::NamedClasses(names) => {
                Labels::Classes(names.clone())
            }
            Coding::Numbers => Labels::Numbers,
            Coding::Text => Labels::Text,
        }
    }

    /// What is stored for a label, if it is one that the survey can have seen.
    fn code<'a>(&self, label: &'a str) -> Option<Label<'a>> {
        Some(match self {
            Coding::None => Label::None,
            Coding::Text => Label::Text(label),
            Coding::Numbers => Label::Number(whole_number(label)?),
            Coding::NumberedClasses(names) => {
                let known = -1..names.len() as i64;
                Label::Number(whole_number(label).filter(|number| known.contains(number))?)
            }
            Coding::NamedClasses(names) => Label::Number(
                names
                    .binary_search_by(|name| name.as_str().cmp(label))
                    .ok()? as i64,
            ),
        })
    }
}

/// The rows of the file, one at a time.
struct Rows<'a> {
    path: &'a Path,
    reader: ::csv::Reader<Capped>,
    left: Rc<Cell<Left>>,
    record: ByteRecord,
}

impl<'a> Rows<'a> {
    fn open(options: &'a Options) -> Result<Rows<'a>> {
        let left = Rc::new(Cell::new(Left::NOTHING));
        let source = Capped {
            source: Source::open(&options.file)?,
            delimiter: options.delimiter,
            left: left.clone(),
        };
        let reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(options.delimiter)
            .from_reader(source);
        Ok(Rows {
            path: &options.file,
            reader,
            left,
            record: ByteRecord::new(),
        })
    }

    /// Reads the next row, whatever it holds; false at the end.
    fn read(&mut self) -> Result<bool> {
        self.left.set(Left::A_ROW);
        match self.reader.read_byte_record(&mut self.record) {
            Ok(more) => Ok(more),
            Err(_) if self.left.get().bytes == 0 => Err(self.error(format!(
                "this row goes on for more than {MAX_ROW_BYTES} bytes; is a quote left open?"
            ))),
            Err(_) if self.left.get().delimiters == 0 => Err(self.error(format!(
                "this row has more than {MAX_COLUMNS} columns; larger images are not read from CSV"
            ))),
            Err(e) => Err(match e.into_kind() {
                ::csv::ErrorKind::Io(source) => read_error(self.path, source),
                other => self.error(format!("this is not CSV: {other:?}")),
            }),
        }
    }

    /// Reads the next row, which must have the layout's columns; false at the end.
    fn next(&mut self, layout: &Layout) -> Result<bool> {
        Ok(self.read()? && {
            self.check_columns(layout.n_columns)?;
            true
        })
    }

    fn skip_header(&mut self, layout: &Layout) -> Result<()> {
        if layout.header {
            self.read()?;
        }
        Ok(())
    }

    fn check_columns(&self, n_columns: usize) -> Result<()> {
        if self.record.len() != n_columns {
            return Err(self.error(format!(
                "this row has {} fields, where the first has {n_columns}",
                self.record.len()
            )));
        }
        Ok(())
    }

    fn pixels(&self, layout: &Layout, pixels: &mut Vec<u8>) -> Result<()> {
        pixels.clear();
        for (column, field) in self.record.iter().enumerate() {
            if Some(column) == layout.label {
                continue;
            }
            let pixel = parse_pixel(field)
                .map_err(|problem| self.error_in(column, &format!("the pixel {problem}")))?;
            pixels.push(pixel);
        }
        Ok(())
    }

    fn label(&self, column: usize) -> Result<&str> {
        let field = self.record[column].trim_ascii();
        let problem = match str::from_utf8(field) {
            Err(_) => "the label is not UTF-8 text".to_owned(),
            Ok("") => "the label is missing; -1 stands for unknown".to_owned(),
            Ok(text) if text.eq_ignore_ascii_case("nan") => {
                format!("the label is {text}; -1 stands for unknown")
            }
            Ok(text) if text.len() > MAX_LABEL_BYTES => {
                format!(
                    "the label is {} bytes long; {MAX_LABEL_BYTES} are possible",
                    text.len()
                )
            }
            Ok(text) => return Ok(text),
        };
        Err(self.error_in(column, &problem))
    }

    fn error_in(&self, column: usize, problem: &str) -> Error {
        self.error_at(&format!(", column {}", column + 1), problem)
    }

    fn error(&self, problem: impl AsRef<str>) -> Error {
        self.error_at("", problem.as_ref())
    }

    fn error_at(&self, column: &str, problem: &str) -> Error {
        let start = self.record.position().map_or(0, ::csv::Position::byte);
        let place = match line_at(self.path, start) {
            Ok(line) => format!("line {line}"),
            Err(_) => format!("byte {start}"),
        };
        Error::file(self.path, format!("{place}{column}: {problem}"))
    }
}

/// What a row may still take.
#[derive(Clone, Copy)]
struct Left {
    bytes: u64,
    delimiters: u64,
}

impl Left {
    const NOTHING: Left = Left {
        bytes: 0,
        delimiters: 0,
    };
    const A_ROW: Left = Left {
        bytes: MAX_ROW_BYTES,
        delimiters: MAX_COLUMNS,
    };
}

/// The file, of which no row may have more than its share of bytes and columns.
struct Capped {
    source: Source,
    delimiter: u8,
    left: Rc<Cell<Left>>,
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left.bytes == 0 || left.delimiters == 0 {
            return Err(io::Error::other("the row is too long"));
        }
        let n = buffer
            .len()
            .min(usize::try_from(left.bytes).unwrap_or(usize::MAX));
        let n = self.source.read(&mut buffer[..n])?;
        let read = buffer[..n].iter();
        let delimiters = read.filter(|&&byte| byte == self.delimiter).count() as u64;
        self.left.set(Left {
            bytes: left.bytes - n as u64,
            delimiters: left.delimiters.saturating_sub(delimiters),
        });
        Ok(n)
    }
}

/// The line, from 1, of the row that starts at byte `start`, or after the line ends that follow it.
///
/// The csv crate counts lines as it meets their last byte, which is one line off after CRLF and blank lines. Only errors
/// need the line, so it is found again when there is one.
fn line_at(path: &Path, start: u64) -> Result<u64> {
    let mut source = Source::open(path)?;
    let mut line = 1;
    let mut after_cr = false;
    let mut n_read = 0;
    loop {
        let bytes = source.fill_buf().map_err(|e| read_error(path, e))?;
        for &byte in bytes {
            let is_line_end = matches!(byte, b'\r' | b'\n');
            if n_read >= start && !is_line_end {
                return Ok(line);
            }
            line += u64::from(is_line_end && !(byte == b'\n' && after_cr));
            after_cr = byte == b'\r';
            n_read += 1;
        }
        let n = bytes.len();
        if n == 0 {
            return Ok(line);
        }
        source.consume(n);
    }
}

/// A whole number from 0 to 255, or what is wrong.
fn parse_pixel(field: &[u8]) -> Result<u8, String> {
    let field = field.trim_ascii();
    if (1..=3).contains(&field.len()) && field.iter().all(u8::is_ascii_digit) {
        let value = field
            .iter()
            .fold(0, |value, digit| 10 * value + u16::from(digit - b'0'));
        return u8::try_from(value).map_err(|_| out_of_range(field));
    }
    if field.is_empty() {
        return Err("is missing".to_owned());
    }
    let value: f64 = str::from_utf8(field)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("\"{}\" is not a number", excerpt(field)))?;
    if !(0.0..=255.0).contains(&value) {
        return Err(out_of_range(field));
    }
    if value.fract() != 0.0 {
        return Err(format!(
            "{} is not a whole number; scale pixels to 0 to 255 and round them first",
            excerpt(field)
        ));
    }
    Ok(value as u8)
}

fn out_of_range(field: &[u8]) -> String {
    format!("{} is not from 0 to 255", excerpt(field))
}

fn excerpt(field: &[u8]) -> String {
    const SHOWN_BYTES: usize = 30;
    field[..field.len().min(SHOWN_BYTES)]
        .escape_ascii()
        .to_string()
}

/// The whole number that a label is, also where it is written as a float.
fn whole_number(text: &str) -> Option<i64> {
    /// Up to here every whole float64 is the number that was written.
    const EXACT_FLOATS: f64 = (1_u64 << 53) as f64;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && value.abs() < EXACT_FLOATS).then_some(value as i64)
}

#[cfg(test)]
mod tests;
