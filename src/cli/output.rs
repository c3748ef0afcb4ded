//! Results on stdout: text for people, or one JSON object a line. Nothing else writes to stdout.

use std::io::{self, Write};
use std::path::Path;

use bovw::report::text;
use bovw::{Error, Result};
use serde::Serialize;

/// Writes bytes to stdout.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
        .or_else(|error| match error.kind() {
            // Whoever read our output has seen enough, as `head` does.
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(Error::io(Path::new("stdout"), "write", error)),
        })
}

/// Writes a value to stdout as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    print(line)
}

/// A line on stderr; where even stderr is gone there is nobody left to tell.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A whole number with groups of thousands, as people read it.
pub(crate) fn count(n: u64) -> String {
    typed(text::count(n))
}

/// An amount of bytes, as people read it.
pub(crate) fn bytes(n: u64) -> String {
    typed(text::bytes(n))
}

/// A time, as people read it.
pub(crate) fn seconds(seconds: f64) -> String {
    typed(text::seconds(seconds))
}

/// A terminal has the spaces that people type, which can be searched for.
fn typed(text: String) -> String {
    text.replace(text::THIN, " ")
}

/// A path without detours, from the working directory where it is inside.
pub(crate) fn shown(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    whole
        .strip_prefix(here)
        .unwrap_or(&whole)
        .display()
        .to_string()
}

/// A path for JSON, which has no way to say bytes that are no UTF-8: they are shown as replacement characters.
pub(crate) fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// A table of two columns, the first as wide as its widest entry.
pub(crate) fn table(rows: &[(String, String)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (name, value) in rows {
        let pad = " ".repeat(width - name.chars().count());
        let value = value.replace('\n', &format!("\n{}", " ".repeat(width + 4)));
        out.push_str(&format!("  {name}{pad}  {value}\n"));
    }
    out
}

/// Lines of cells under one another: the first column to the left, the others to the right; rows may be short.
pub(crate) fn columns(lines: &[Vec<String>]) -> String {
    let n_columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let line = |cells: &Vec<String>| -> String {
        let padded = cells.iter().zip(&widths).enumerate();
        let padded = padded.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        padded
            .collect::<Vec<String>>()
            .join("  ")
            .trim_end()
            .to_owned()
    };
    lines.iter().map(line).collect::<Vec<String>>().join("\n")
}

/// The row of a table that says what shards were written.
pub(crate) fn written_row(images: u64, n_shards: usize, size_bytes: u64) -> (String, String) {
    let text = format!(
        "{} in {n_shards} shards, {}",
        count(images),
        bytes(size_bytes)
    );
    ("images".to_owned(), text)
}

/// A row of a table for each note.
pub(crate) fn note_rows(notes: &[String]) -> impl Iterator<Item = (String, String)> {
    notes.iter().map(|note| ("note".to_owned(), note.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1000, 31_740_000].map(count),
            ["0", "999", "1 000", "31 740 000"]
        );
    }

    #[test]
    fn columns_of_numbers_are_set_under_one_another() {
        let lines = [vec!["of", "k"], vec!["pixels", "10", "0.5"], vec!["x"]];
        let lines = lines.map(|line| line.into_iter().map(str::to_owned).collect());
        assert_eq!(columns(&lines), "of       k\npixels  10  0.5\nx");
    }

    #[test]
    fn times_are_given_in_the_unit_that_fits() {
        assert_eq!(
            [1.234, 12.34, 123.4, 12_345.0].map(seconds),
            ["1.23 s", "12.3 s", "2:03 min", "3:25 h"]
        );
    }
}
