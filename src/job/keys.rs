//! Which tables and keys a job file has and which kind of value each takes; holds TOML against that, with places.
//!
//! Looks at keys and types alone. Whether a value can work is `check`'s to say.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::{nearest, quoted_list};
use super::source::Source;
use crate::error::{Error, Result};

/// A table of the job file.
pub(super) struct TableKeys {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub(super) is_list: bool,
    /// Its keys, in the order of the contract.
    pub(super) keys: &'static [(&'static str, Kind)],
}

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Whole,
    Number,
    /// `[height, width]`, or a list of such sizes.
    Sizes,
    /// `[height, width]` or `[height, width, channels]`
    Shape,
    /// `[rows, columns]`, or a list of such grids.
    Grids,
    /// One whole number or a list of them.
    Wholes,
    /// "1GiB", or bytes.
    Memory,
    /// One text or a list of them.
    Names,
    /// `true` or `false`.
    Flag,
}

impl TableKeys {
    /// Its name as it is written above its keys.
    pub(super) fn brackets(&self) -> String {
        if self.is_list {
            format!("[[{}]]", self.name)
        } else {
            format!("[{}]", self.name)
        }
    }
}

/// All tables and keys.
pub(super) const TABLES: [TableKeys; 8] = [
    TableKeys {
        name: "input",
        is_list: false,
        keys: &[
            ("files", Kind::Texts),
            ("image", Kind::Text),
            ("label", Kind::Text),
            ("keep", Kind::Texts),
            ("shape", Kind::Shape),
            ("color", Kind::Text),
            ("resize", Kind::Whole),
            ("max_pixels", Kind::Whole),
            ("on_bad_image", Kind::Text),
            ("max_bad", Kind::Number),
        ],
    },
    TableKeys {
        name: "patches",
        is_list: false,
        keys: &[
            ("size", Kind::Sizes),
            ("stride", Kind::Whole),
            ("normalize", Kind::Text),
            ("epsilon", Kind::Number),
            ("whiten", Kind::Text),
            ("whiten_epsilon", Kind::Number),
        ],
    },
    TableKeys {
        name: "sample",
        is_list: false,
        keys: &[
            ("every", Kind::Whole),
            ("per_image", Kind::Number),
            ("max_patches", Kind::Whole),
        ],
    },
    TableKeys {
        name: "vocabulary",
        is_list: false,
        keys: &[
            ("k", Kind::Whole),
            ("algorithm", Kind::Text),
            ("init", Kind::Text),
            ("n_init", Kind::Whole),
            ("max_iter", Kind::Whole),
            ("batch_size", Kind::Whole),
            ("tol", Kind::Number),
            ("spherical", Kind::Flag),
            ("from", Kind::Names),
        ],
    },
    TableKeys {
        name: "features",
        is_list: false,
        keys: &[
            ("encoding", Kind::Text),
            ("nearest", Kind::Whole),
            ("pooling", Kind::Grids),
            ("weighting", Kind::Names),
        ],
    },
    TableKeys {
        name: "cluster",
        is_list: true,
        keys: &[
            ("of", Kind::Text),
            ("k", Kind::Wholes),
            ("algorithm", Kind::Text),
            ("n_init", Kind::Whole),
            ("max_iter", Kind::Whole),
        ],
    },
    TableKeys {
        name: "output",
        is_list: false,
        keys: &[("dir", Kind::Text), ("layout", Kind::Text)],
    },
    TableKeys {
        name: "run",
        is_list: false,
        keys: &[
            ("seed", Kind::Whole),
            ("threads", Kind::Whole),
            ("memory", Kind::Memory),
            ("io", Kind::Text),
            ("simd", Kind::Text),
            ("checkpoint_seconds", Kind::Whole),
        ],
    },
];

/// Parses `source` and holds it against [`TABLES`]: known keys alone, each with its kind of value.
pub(super) fn parse(source: &Source) -> Result<toml::Table> {
    let document = DeTable::parse(source.text()).map_err(|e| source.syntax_error(&e))?;
    for (name, value) in in_file_order(document.get_ref()) {
        let table = TABLES
            .iter()
            .find(|table| table.name == name.get_ref().as_ref())
            .ok_or_else(|| unknown_table(source, name, value.get_ref()))?;
        check_table(source, table, value)?;
    }
    toml::from_str(source.text()).map_err(|e| source.syntax_error(&e))
}

fn check_table(source: &Source, table: &TableKeys, value: &Spanned<DeValue<'_>>) -> Result<()> {
    match (value.get_ref(), table.is_list) {
        (DeValue::Table(entries), false) => check_entries(source, table, entries),
        (DeValue::Array(tables), true) => {
            for element in tables.iter() {
                match element.get_ref() {
                    DeValue::Table(entries) => check_entries(source, table, entries)?,
                    _ => return Err(not_a_table(source, table, element)),
                }
            }
            Ok(())
        }
        _ => Err(not_a_table(source, table, value)),
    }
}

fn check_entries(source: &Source, table: &TableKeys, entries: &DeTable<'_>) -> Result<()> {
    for (key, value) in in_file_order(entries) {
        let (name, kind) = table
            .keys
            .iter()
            .find(|(name, _)| *name == key.get_ref().as_ref())
            .ok_or_else(|| unknown_key(source, table, key))?;
        if let Some(misfit) = kind.misfit(value) {
            return Err(wrong_kind(source, table, name, *kind, value, misfit));
        }
    }
    Ok(())
}

type Entry<'a, 'i> = (&'a Spanned<Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

/// The first mistake in the file is the one that is reported, so that fixing goes from top to bottom.
fn in_file_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

impl Kind {
    /// What the user is asked for.
    fn expected(self) -> &'static str {
        match self {
            Kind::Text => "text in quotes",
            Kind::Texts => "a list of texts",
            Kind::Whole => "a whole number",
            Kind::Number => "a number",
            Kind::Sizes => "[height, width], or a list of such sizes",
            Kind::Shape => "[height, width] or [height, width, channels]",
            Kind::Grids => "[rows, columns], or a list of such grids",
            Kind::Wholes => "a whole number or a list of them",
            Kind::Memory => "an amount of memory, such as \"1GiB\"",
            Kind::Names => "text in quotes or a list of texts",
            Kind::Flag => "true or false",
        }
    }

    /// The part of `value` that is not of this kind.
    fn misfit<'a, 'i>(self, value: &'a Spanned<DeValue<'i>>) -> Option<&'a Spanned<DeValue<'i>>> {
        let whole: fn(&DeValue<'_>) -> bool = is_whole;
        let list: fn(&DeValue<'_>) -> bool = |value| value.is_array();
        match self {
            Kind::Text => only(value, DeValue::is_str),
            Kind::Names if value.get_ref().is_array() => first_that_is_not(value, DeValue::is_str),
            Kind::Names => only(value, DeValue::is_str),
            Kind::Flag => only(value, |value| matches!(value, DeValue::Boolean(_))),
            Kind::Texts => only(value, list).or_else(|| first_that_is_not(value, DeValue::is_str)),
            Kind::Whole => only(value, whole),
            Kind::Number => only(value, |value| is_whole(value) || value.is_float()),
            Kind::Shape => not_wholes(value),
            Kind::Wholes if value.get_ref().is_array() => first_that_is_not(value, whole),
            Kind::Wholes => only(value, whole),
            Kind::Memory => only(value, |value| is_whole(value) || value.is_str()),
            Kind::Grids | Kind::Sizes => match value.get_ref().as_array() {
                Some(pairs) if pairs.first().is_some_and(|pair| list(pair.get_ref())) => {
                    pairs.iter().find_map(not_wholes)
                }
                _ => not_wholes(value),
            },
        }
    }
}

fn only<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
    fits: impl Fn(&DeValue<'i>) -> bool,
) -> Option<&'a Spanned<DeValue<'i>>> {
    (!fits(value.get_ref())).then_some(value)
}

fn first_that_is_not<'a, 'i>(
    list: &'a Spanned<DeValue<'i>>,
    fits: impl Fn(&DeValue<'i>) -> bool,
) -> Option<&'a Spanned<DeValue<'i>>> {
    list.get_ref()
        .as_array()?
        .iter()
        .find(|element| !fits(element.get_ref()))
}

/// The part of `value` that keeps it from being a list of whole numbers.
fn not_wholes<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Option<&'a Spanned<DeValue<'i>>> {
    only(value, |value| value.is_array()).or_else(|| first_that_is_not(value, is_whole))
}

fn is_whole(value: &DeValue<'_>) -> bool {
    value
        .as_integer()
        .is_some_and(|digits| i64::from_str_radix(digits.as_str(), digits.radix()).is_ok())
}

/// A value as the user would name it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(_) if !is_whole(value) => {
            format!("a whole number beyond {}", i64::MAX)
        }
        DeValue::Integer(digits) => format!("the whole number {}", digits.as_str()),
        DeValue::Float(digits) => format!("the number {}", digits.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn wrong_kind(
    source: &Source,
    table: &TableKeys,
    key: &str,
    kind: Kind,
    value: &Spanned<DeValue<'_>>,
    misfit: &Spanned<DeValue<'_>>,
) -> Error {
    let inside = if std::ptr::eq(value, misfit) {
        ""
    } else {
        " in the list"
    };
    let message = format!(
        "{}.{key}: expected {}, found {}{inside}",
        table.name,
        kind.expected(),
        found(misfit.get_ref())
    );
    let help = corrected(kind, value.get_ref())
        .map(|value| format!("write {}", source.spell(table.name, key, &value)));
    source.error(misfit.span(), &message, help)
}

/// The value as it should have been written, where that can be told.
fn corrected(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Texts, DeValue::String(text)) => Some(format!("[{}]", toml_text(text))),
        (Kind::Text, DeValue::Integer(digits)) => Some(toml_text(digits.as_str())),
        (Kind::Text, DeValue::Array(texts)) if texts.len() == 1 => {
            texts[0].get_ref().as_str().map(toml_text)
        }
        (Kind::Sizes, DeValue::Integer(digits)) => Some(format!("[{0}, {0}]", digits.as_str())),
        (Kind::Sizes, DeValue::String(text)) => {
            let (height, width) = text.split_once(['x', ','])?;
            let height: u32 = height.trim().parse().ok()?;
            let width: u32 = width.trim().parse().ok()?;
            Some(format!("[{height}, {width}]"))
        }
        (Kind::Whole, DeValue::String(text)) => {
            text.trim().parse::<i64>().ok().map(|n| n.to_string())
        }
        (Kind::Number, DeValue::String(text)) => text
            .trim()
            .parse::<f64>()
            .ok()
            .map(|_| text.trim().to_owned()),
        (Kind::Whole, DeValue::Float(digits)) => whole_of(digits.as_str()),
        _ => None,
    }
}

fn whole_of(digits: &str) -> Option<String> {
    let value: f64 = digits.parse().ok()?;
    let is_small_whole = value.fract().abs() <= 0.0 && value.abs() < 1e15;
    is_small_whole.then(|| format!("{value:.0}"))
}

/// `text` as a TOML value.
pub(super) fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn unknown_table(source: &Source, name: &Spanned<Cow<'_, str>>, value: &DeValue<'_>) -> Error {
    let typed = name.get_ref().as_ref();
    let names = TABLES.iter().map(|table| table.name);
    let help = if let Some(owner) = owner_of(typed) {
        format!("\"{typed}\" is a key of [{owner}]")
    } else if let Some(near) = nearest(typed, names.clone()) {
        format!("did you mean \"{near}\"?")
    } else {
        format!("a job has the tables {}", quoted_list(names))
    };
    let message = if value.is_table() || value.is_array() {
        format!("unknown table \"{typed}\"")
    } else {
        format!("unknown key \"{typed}\", in no table")
    };
    source.error(name.span(), &message, Some(help))
}

fn unknown_key(source: &Source, table: &TableKeys, key: &Spanned<Cow<'_, str>>) -> Error {
    let typed = key.get_ref().as_ref();
    let names = table.keys.iter().map(|(name, _)| *name);
    let help = if let Some(owner) = owner_of(typed) {
        format!("\"{typed}\" is a key of [{owner}]")
    } else if let Some(near) = nearest(typed, names.clone()) {
        format!("did you mean \"{near}\"?")
    } else {
        format!("{} has the keys {}", table.brackets(), quoted_list(names))
    };
    let message = format!("unknown key \"{typed}\" in {}", table.brackets());
    source.error(key.span(), &message, Some(help))
}

/// The table that has this very key.
fn owner_of(key: &str) -> Option<&'static str> {
    let has_it = |table: &&TableKeys| table.keys.iter().any(|(name, _)| *name == key);
    TABLES.iter().find(has_it).map(|table| table.name)
}

fn not_a_table(source: &Source, table: &TableKeys, value: &Spanned<DeValue<'_>>) -> Error {
    let expected = if table.is_list {
        "a list of tables"
    } else {
        "a table"
    };
    let found = found(value.get_ref());
    let message = format!("{}: expected {expected}, found {found}", table.name);
    source.error(value.span(), &message, Some(source.spell_table(table)))
}
