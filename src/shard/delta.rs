//! What pages of delta-encoded texts claim: how many lengths they hold.
//!
//! The Parquet reader sets aside room for as many lengths as such a page says, and a block of equal lengths takes a few
//! bytes however many they are. No page can have more lengths than values, so that is what each claim is held against,
//! once the page is decompressed. Nothing is kept; the encodings are DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY of the
//! Parquet format.

use std::sync::Arc;

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::bytes::FileBytes;
use super::thrift::Reason;

/// Walks the pages of a chunk that has delta-encoded texts; one page is in memory at a time.
pub(super) fn check_chunk(
    bytes: &FileBytes,
    chunk: &ColumnChunkMetaData,
    n_rows: usize,
) -> Result<(), Reason> {
    let text = |error: parquet::errors::ParquetError| error.to_string();
    let bytes = Arc::new(bytes.clone());
    let mut pages = SerializedPageReader::new(bytes, chunk, n_rows, None).map_err(text)?;
    while let Some(page) = pages.get_next_page().map_err(text)? {
        if is_delta(page.encoding()) {
            let values = values(&page, chunk).ok_or("a page ends in the middle of its levels")?;
            check_values(values, page.encoding(), page.num_values().into())?;
        }
    }
    Ok(())
}

/// Whether an encoding is one that tells lengths first.
pub(super) fn is_delta(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
    )
}

/// A page's bytes after its levels.
fn values<'a>(page: &'a Page, chunk: &ColumnChunkMetaData) -> Option<&'a [u8]> {
    match page {
        Page::DataPage {
            buf,
            num_values,
            def_level_encoding,
            rep_level_encoding,
            ..
        } => {
            let column = chunk.column_descr();
            let repeated = (column.max_rep_level(), *rep_level_encoding);
            let defined = (column.max_def_level(), *def_level_encoding);
            let mut rest = buf.as_ref();
            for (max_level, encoding) in [repeated, defined] {
                rest = rest.get(levels_bytes(rest, max_level, encoding, *num_values)?..)?;
            }
            Some(rest)
        }
        Page::DataPageV2 {
            buf,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => buf.get(def_levels_byte_len.checked_add(*rep_levels_byte_len)? as usize..),
        Page::DictionaryPage { .. } => None,
    }
}

/// Bytes that the levels of a page of the first version take.
fn levels_bytes(page: &[u8], max_level: i16, encoding: Encoding, n_values: u32) -> Option<usize> {
    let bits = u64::from(i16::BITS - max_level.leading_zeros());
    match encoding {
        _ if max_level == 0 => Some(0),
        #[expect(deprecated, reason = "old files have it")]
        Encoding::BIT_PACKED => Some((bits * u64::from(n_values)).div_ceil(8) as usize),
        _ => (u32::from_le_bytes(*page.first_chunk()?) as usize).checked_add(4),
    }
}

fn check_values(values: &[u8], encoding: Encoding, n_values: u64) -> Result<(), Reason> {
    let n_bytes = lengths_bytes(values, n_values)?;
    if encoding == Encoding::DELTA_BYTE_ARRAY {
        // What is shared with the text before comes first, then what is not.
        lengths_bytes(&values[n_bytes..], n_values)?;
    }
    Ok(())
}

/// Bytes of delta-encoded lengths, of which there may be `max_n`.
fn lengths_bytes(bytes: &[u8], max_n: u64) -> Result<usize, Reason> {
    let mut input = Input { bytes, at: 0 };
    let damaged = || "delta-encoded lengths are damaged".to_owned();
    let block = input.number().ok_or_else(damaged)?;
    let n_parts = input.number().ok_or_else(damaged)?;
    let n = input.number().ok_or_else(damaged)?;
    input.number().ok_or_else(damaged)?;
    if n > max_n {
        return Err(format!("a page of {max_n} values claims {n} lengths"));
    }
    if n_parts == 0 || !block.is_multiple_of(n_parts) || !(block / n_parts).is_multiple_of(32) {
        return Err(damaged());
    }
    let part = block / n_parts;
    let mut left = n.saturating_sub(1);
    while left > 0 {
        // A block that holds nothing would never end.
        if part == 0 {
            return Err(damaged());
        }
        input.number().ok_or_else(damaged)?;
        let widths = input.take(n_parts).ok_or_else(damaged)?;
        let mut block_bytes = 0u64;
        for &bits in widths {
            // Widths of parts past the last value mean nothing.
            if left > 0 {
                let part_bytes = u64::from(bits).checked_mul(part).ok_or_else(damaged)? / 8;
                block_bytes = block_bytes.checked_add(part_bytes).ok_or_else(damaged)?;
            }
            left = left.saturating_sub(part);
        }
        input.take(block_bytes).ok_or_else(damaged)?;
    }
    Ok(input.at)
}

/// Bytes that are read from the front.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// A number of variable length, seven bits a byte. Its sign, if it has one, is of no interest.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(n).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use proptest::prelude::*;

    use super::*;
    use crate::job::Io;
    use crate::shard::read::{Shard, Wanted};

    /// Reads a file of these texts, written in this way.
    fn read(texts: &[Option<String>], encoding: Encoding, version: WriterVersion) -> usize {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.parquet");
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let rows = RecordBatch::try_from_iter([("text", texts)]).expect("rows");
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(encoding)
            .set_writer_version(version)
            .set_data_page_row_count_limit(300)
            .build();
        let file = File::create(&path).expect("a file");
        let mut writer =
            ArrowWriter::try_new(file, rows.schema(), Some(properties)).expect("a writer");
        writer.write(&rows).expect("written");
        writer.close().expect("closed");
        let shard = Shard::open(Path::new(&path), Io::Read).expect("a shard");
        let wanted = [Wanted::column("text")];
        let mut reader = shard.read_row_group(0, &wanted, 1000).expect("honest");
        let (_, batch) = reader.next_batch().expect("rows").expect("honest");
        batch.num_rows()
    }

    proptest! {
        #[test]
        fn what_the_writer_makes_is_believed(
            texts in prop::collection::vec(prop::option::of("[a-c]{0,40}"), 1..1000),
            is_length in any::<bool>(),
            is_second in any::<bool>(),
        ) {
            let encoding = match is_length {
                true => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                false => Encoding::DELTA_BYTE_ARRAY,
            };
            let version = match is_second {
                true => WriterVersion::PARQUET_2_0,
                false => WriterVersion::PARQUET_1_0,
            };
            prop_assert_eq!(read(&texts, encoding, version), texts.len());
        }

        #[test]
        fn no_bytes_are_read_past_their_end(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(n_bytes) = lengths_bytes(&bytes, 1000) {
                prop_assert!(n_bytes <= bytes.len());
            }
        }
    }

    #[test]
    fn more_lengths_than_values_are_refused_in_either_place() {
        // Blocks of 128 in 4 parts, `n` lengths of 0: a block of parts that take no bits.
        let lengths = |n: u8| [&[0x80, 1, 4, n, 0][..], &[0, 0, 0, 0, 0]].concat();
        let check = |first, second| {
            let values = [lengths(first), lengths(second)].concat();
            check_values(&values, Encoding::DELTA_BYTE_ARRAY, 40)
        };
        assert_eq!(check(40, 40), Ok(()));
        let refused = Err("a page of 40 values claims 41 lengths".to_owned());
        assert_eq!(check(41, 40), refused);
        assert_eq!(check(40, 41), refused);
    }
}
