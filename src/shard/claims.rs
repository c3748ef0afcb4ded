//! What a Parquet file claims of itself, held against the file before anything believes it.
//!
//! The Parquet reader allocates by a footer's word: for children of a column, columns of a row group, pages of a chunk.
//! Here every such number is found with nothing allocated, and must be possible in a file of this size. The bounds are
//! far beyond what writers make; they are there so that a small file cannot take a machine's memory or its stack.

use std::io::Read;

use parquet::file::metadata::ParquetMetaData;

use super::thrift::{Compact, Kind, Reason};

/// The longest footer.
pub const MAX_FOOTER_BYTES: u64 = 64 << 20;

/// Columns, those within structs and lists counted.
pub const MAX_COLUMNS: usize = 1 << 17;

/// Structs and lists within each other.
pub const MAX_NESTING: usize = 48;

/// The longest name of a column.
pub const MAX_NAME_BYTES: u64 = 1 << 16;

/// Row groups.
pub const MAX_ROW_GROUPS: u64 = 1 << 20;

/// Rows that a file may have: far more than any has, and few enough that sums over files cannot overflow.
const MAX_ROWS: i64 = 1 << 48;

/// What a Parquet file starts and ends with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// The end of the file after the footer: its length, and PAR1.
pub(super) const TAIL_BYTES: u64 = 8;

/// Where a footer lies in a file of `file_bytes`, by the file's last bytes.
pub(super) fn footer_range(
    tail: [u8; TAIL_BYTES as usize],
    file_bytes: u64,
) -> Result<std::ops::Range<u64>, Reason> {
    let [a, b, c, d, ..] = tail;
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    let end = file_bytes.saturating_sub(TAIL_BYTES);
    if len > end.saturating_sub(MAGIC.len() as u64) {
        return Err(format!(
            "it claims to take {len} bytes, more than the file has"
        ));
    }
    if len > MAX_FOOTER_BYTES {
        return Err(format!(
            "it takes {len} bytes, at most {MAX_FOOTER_BYTES} are read"
        ));
    }
    Ok(end - len..end)
}

/// Walks a footer that nobody has believed yet.
pub(super) fn check_footer(footer: impl Read, len: u64) -> Result<(), Reason> {
    let mut compact = Compact::new(footer, len);
    let mut n_leaves = None;
    compact.fields(|compact, id, kind| match (id, kind) {
        // The first is believed.
        (2, _) if n_leaves.is_some() => compact.skip(kind),
        (2, Kind::List) => {
            n_leaves = Some(check_schema(compact)?);
            Ok(())
        }
        (4, Kind::List) => {
            let Some(n_leaves) = n_leaves else {
                return Err("row groups come before the columns".to_owned());
            };
            let mut n_groups = 0;
            compact.items(|compact, kind| {
                n_groups += 1;
                if n_groups > MAX_ROW_GROUPS {
                    return Err(format!("more than {MAX_ROW_GROUPS} row groups"));
                }
                check_row_group(compact, kind, n_leaves)
            })
        }
        (2 | 4, other) => Err(format!("{other:?} where a list belongs")),
        _ => compact.skip(kind),
    })
}

/// The schema is a tree, written as a list from the root down: each element says how many children follow. Returns the
/// number of columns that hold values.
fn check_schema(compact: &mut Compact<impl Read>) -> Result<usize, Reason> {
    // Children that are still to come, for each group that is open.
    let mut open = [0u64; MAX_NESTING];
    let (mut depth, mut n_elements, mut n_leaves) = (0usize, 0, 0);
    compact.items(|compact, kind| {
        n_elements += 1;
        if n_elements > MAX_COLUMNS {
            return Err(format!("more than {MAX_COLUMNS} columns"));
        }
        let n_children = check_element(compact, kind)?;
        if n_elements > 1 {
            let Some(last) = depth.checked_sub(1) else {
                return Err("columns that belong to none".to_owned());
            };
            open[last] -= 1;
        }
        match n_children {
            0 => n_leaves += 1,
            // Each child is an element of its own, so it takes bytes of the footer.
            n if n > MAX_COLUMNS as u64 => return Err(format!("a column of {n} columns")),
            _ if depth == MAX_NESTING => {
                return Err(format!("columns nested more than {MAX_NESTING} deep"));
            }
            n => {
                open[depth] = n;
                depth += 1;
            }
        }
        while depth > 0 && open[depth - 1] == 0 {
            depth -= 1;
        }
        Ok(())
    })?;
    match depth {
        0 => Ok(n_leaves),
        _ => Err("columns are missing that it claims to have".to_owned()),
    }
}

/// One element of the schema: how many children it claims.
fn check_element(compact: &mut Compact<impl Read>, kind: Kind) -> Result<u64, Reason> {
    is_struct(kind)?;
    let mut n_children = 0;
    compact.fields(|compact, id, kind| match id {
        4 => match compact.binary(kind)? {
            len if len > MAX_NAME_BYTES => Err(format!("a column whose name has {len} bytes")),
            _ => Ok(()),
        },
        5 => {
            let n = compact.i32(kind)?;
            n_children = u64::try_from(n).map_err(|_| format!("a column of {n} columns"))?;
            Ok(())
        }
        _ => compact.skip(kind),
    })?;
    Ok(n_children)
}

/// One row group: it must describe each column, so that what is set aside for them is paid for in bytes.
fn check_row_group(
    compact: &mut Compact<impl Read>,
    kind: Kind,
    n_leaves: usize,
) -> Result<(), Reason> {
    is_struct(kind)?;
    let mut n_chunks = 0;
    compact.fields(|compact, id, kind| match (id, kind) {
        (1, Kind::List) => compact.items(|compact, kind| {
            n_chunks += 1;
            compact.skip(kind)
        }),
        _ => compact.skip(kind),
    })?;
    match n_chunks == n_leaves {
        true => Ok(()),
        false => Err(format!(
            "a row group of {n_chunks} columns, where the file has {n_leaves}"
        )),
    }
}

fn is_struct(kind: Kind) -> Result<(), Reason> {
    match kind {
        Kind::Struct => Ok(()),
        other => Err(format!("{other:?} where a structure belongs")),
    }
}

/// Numbers of rows must be possible and agree, since later they are added up; chunks must lie within the file.
pub(super) fn check_metadata(metadata: &ParquetMetaData, file_bytes: u64) -> Result<(), Reason> {
    let promised = metadata.file_metadata().num_rows();
    let mut n_rows = 0i64;
    for (at, group) in metadata.row_groups().iter().enumerate() {
        match n_rows.checked_add(group.num_rows()) {
            Some(sum) if group.num_rows() >= 0 && sum <= MAX_ROWS => n_rows = sum,
            _ => return Err(format!("a row group of {} rows", group.num_rows())),
        }
        for chunk in group.columns() {
            let start = chunk
                .dictionary_page_offset()
                .unwrap_or(chunk.data_page_offset());
            let end = start.checked_add(chunk.compressed_size());
            let is_inside = start >= MAGIC.len() as i64
                && chunk.compressed_size() >= 0
                && end.is_some_and(|end| end.unsigned_abs() <= file_bytes);
            if !is_inside {
                return Err(format!(
                    "row group {at} has column \"{}\" at bytes {start} to {}, the file has {file_bytes}",
                    chunk.column_path().string(),
                    end.map_or("beyond".to_owned(), |end| end.to_string()),
                ));
            }
            if chunk.uncompressed_size() < 0 || chunk.num_values() < 0 {
                return Err(format!(
                    "row group {at} has column \"{}\" of {} bytes and {} values",
                    chunk.column_path().string(),
                    chunk.uncompressed_size(),
                    chunk.num_values()
                ));
            }
        }
    }
    if n_rows == promised {
        return Ok(());
    }
    Err(format!(
        "it promises {promised} rows, its row groups have {n_rows}"
    ))
}
