//! A piece of TOML with its origin, so that every complaint about it can point at the place.
//!
//! Knows text and positions; must never decide what is right.

use std::ops::Range;
use std::path::Path;

use super::keys::TableKeys;
use crate::error::{Error, Result};

/// Longest piece of a source line that a message quotes, in characters.
const MAX_QUOTED_CHARS: usize = 100;

/// TOML text, and where it came from.
pub(super) struct Source {
    origin: String,
    text: String,
    /// Whether the text has lines of its own to point at; a `--set` is its own quotation.
    has_lines: bool,
}

impl Source {
    /// The text of a job file.
    pub(super) fn file(path: &Path, text: &str) -> Source {
        Source {
            origin: path.display().to_string(),
            text: text.to_owned(),
            has_lines: true,
        }
    }

    /// A job file, read from disk. A job that is not there is a mistake in the command, not a failing disk.
    pub(super) fn read(path: &Path) -> Result<Source> {
        let refuse = |message: String| Error::JobFile {
            origin: path.display().to_string(),
            line: None,
            message,
            help: None,
        };
        let bytes = std::fs::read(path).map_err(|e| refuse(format!("cannot read it: {e}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| refuse("not a job file: it is not UTF-8 text".to_owned()))?;
        Ok(Source::file(path, &text))
    }

    /// The text that `--set ARGUMENT` stands for.
    pub(super) fn set(argument: &str, text: String) -> Source {
        Source {
            origin: set_origin(argument),
            text,
            has_lines: false,
        }
    }

    /// The TOML itself.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How the user would spell `table.key = value` here.
    pub(super) fn spell(&self, table: &str, key: &str, value: &str) -> String {
        if self.has_lines {
            format!("{key} = {value}")
        } else {
            format!("--set '{table}.{key}={value}'")
        }
    }

    /// How the user would give keys of `table` here.
    pub(super) fn spell_table(&self, table: &TableKeys) -> String {
        match (self.has_lines, table.is_list) {
            (true, true) => format!("write {}, once for each", table.brackets()),
            (true, false) => format!("write {} once, and its keys below it", table.brackets()),
            (false, true) => format!("write --set '{}=[{{KEY = VALUE}}]'", table.name),
            (false, false) => format!("write --set {}.KEY=VALUE", table.name),
        }
    }

    /// A complaint about the bytes in `span`.
    pub(super) fn error(&self, span: Range<usize>, message: &str, help: Option<String>) -> Error {
        let (line, message) = if self.has_lines {
            let place = Location::of(&self.text, span);
            (
                Some(place.line),
                format!("{message}\n{}", place.quotation()),
            )
        } else {
            (None, message.to_owned())
        };
        Error::JobFile {
            origin: self.origin.clone(),
            line,
            message,
            help,
        }
    }

    /// What the TOML parser complains about.
    pub(super) fn syntax_error(&self, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or(0..0);
        let marked = self.text.get(span.clone()).unwrap_or_default().trim();
        // The parser's own words for the commonest slips are hard to read; an unknown wording passes as it is.
        let (message, help) = match error.message() {
            "duplicate key" => (format!("\"{marked}\" is there twice"), None),
            message if message.starts_with("string values must be quoted") && marked.is_empty() => {
                ("the value is missing".to_owned(), None)
            }
            message if message.starts_with("string values must be quoted") => {
                let help = "text is written in double quotes".to_owned();
                (
                    "not TOML: this is neither a number nor text in quotes".to_owned(),
                    Some(help),
                )
            }
            message if message.starts_with("invalid basic string, expected `\"`") => {
                ("not TOML: the closing quote is missing".to_owned(), None)
            }
            message => (format!("not TOML: {message}"), None),
        };
        self.error(span, &message, help)
    }
}

/// The origin that errors about `--set ARGUMENT` carry.
pub(super) fn set_origin(argument: &str) -> String {
    format!("--set {argument}")
}

/// A place in a text, as a person looks for it.
struct Location<'a> {
    /// From 1.
    line: usize,
    content: &'a str,
    /// Characters before the place in its line.
    column: usize,
    /// Characters that are marked, at least 1.
    width: usize,
}

impl<'a> Location<'a> {
    fn of(text: &'a str, span: Range<usize>) -> Location<'a> {
        // What is missing at the end of a file is missing after its last character, not on an empty line below it.
        let start = if span.start >= text.len() {
            text.trim_end().len()
        } else {
            span.start
        };
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let content = text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + content.len();
        let marked = &text[start.min(line_end)..span.end.clamp(start, line_end.max(start))];
        Location {
            line: text[..line_start].matches('\n').count() + 1,
            content,
            column: text[line_start..start].chars().count(),
            width: marked.chars().count().max(1),
        }
    }

    /// The line, with marks under the place.
    fn quotation(&self) -> String {
        let first = (self.column + self.width)
            .saturating_sub(MAX_QUOTED_CHARS)
            .min(self.column);
        let quoted: String = self
            .content
            .chars()
            .skip(first)
            .take(MAX_QUOTED_CHARS)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let before = " ".repeat(self.column - first);
        let marks = "^".repeat(self.width.min(MAX_QUOTED_CHARS));
        format!(
            "  {number} | {}\n  {margin} | {before}{marks}",
            quoted.trim_end()
        )
    }
}
