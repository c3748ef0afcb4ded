//! Ends a Parquet file with a footer that older readers take too; it changes no value and no length.
//!
//! The Parquet writer declares the order of numbers with a point as IEEE 754's total order, which the format has known
//! only since 2026. Readers from before, polars up to 1.42 among them, refuse such a file as a whole. The statistics of
//! what is written here hold under the older declaration too: it has readers ignore a bound that is NaN, and take a bound
//! of zero for either zero.

use std::io::{self, Write};

use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use super::thrift::{Compact, Kind, Reason};

/// Of the structs in question: `FileMetaData.column_orders`, and what a `ColumnOrder` is.
const COLUMN_ORDERS: i64 = 7;
const TOTAL_ORDER: i64 = 2;
/// A field header of Thrift's compact protocol: the number is one more, or two more, than the last; the value is a struct.
const HEADER_OF_FIELD_1: u8 = 0x1c;
const HEADER_OF_FIELD_2: u8 = 0x2c;

/// What ends a file: the footer's length and `PAR1`.
const TAIL_BYTES: usize = 8;

/// Between a Parquet writer and its file: passes everything on, but for the footer, which it holds until it is whole.
#[derive(Debug)]
pub(super) struct FootWriter<W> {
    to: W,
    /// The end of the file: what the Parquet writer had not passed on of the last row group, page indexes, and the
    /// footer, all of which it has in memory itself.
    held: Option<Vec<u8>>,
}

impl<W> FootWriter<W> {
    pub(super) fn new(to: W) -> FootWriter<W> {
        FootWriter { to, held: None }
    }

    /// Where it writes to.
    pub(super) fn to(&self) -> &W {
        &self.to
    }
}

impl<W: Write> Write for FootWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.held {
            Some(held) => held.write(bytes),
            None => self.to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Ends the file, which is not synced or named yet.
///
/// # Errors
/// What the Parquet writer, or the file below it, says.
pub(super) fn close<W: Write + Send>(
    mut writer: ArrowWriter<FootWriter<W>>,
) -> Result<W, ParquetError> {
    writer.flush()?;
    writer.inner_mut().held = Some(Vec::new());
    let FootWriter { mut to, held } = writer.into_inner()?;
    let mut foot = held.unwrap_or_default();
    let declared = total_orders(&foot);
    for at in declared.map_err(ParquetError::General)? {
        assert_eq!(foot[at], HEADER_OF_FIELD_2, "the footer's own reader");
        foot[at] = HEADER_OF_FIELD_1;
    }
    to.write_all(&foot)?;
    Ok(to)
}

/// Where the end of a file declares total orders: the positions of their field headers.
fn total_orders(foot: &[u8]) -> Result<Vec<usize>, Reason> {
    let cut = || "a footer that is not whole".to_owned();
    let tail = foot.len().checked_sub(TAIL_BYTES).ok_or_else(cut)?;
    let len = foot[tail..]
        .first_chunk()
        .map(|&len| u32::from_le_bytes(len));
    let start = len.and_then(|len| tail.checked_sub(len as usize));
    let footer = &foot[start.ok_or_else(cut)?..tail];

    let mut found = Vec::new();
    let mut compact = Compact::new(footer, footer.len() as u64);
    compact.fields(|file, id, kind| match (id, kind) {
        (COLUMN_ORDERS, Kind::List) => file.items(|order, _| {
            let at = order.used();
            order.fields(|order, id, kind| {
                if (id, kind) == (TOTAL_ORDER, Kind::Struct) {
                    found.push(tail - footer.len() + at as usize);
                }
                order.skip(kind)
            })
        }),
        _ => file.skip(kind),
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Float32Array, Float64Array, Int32Array, RecordBatch};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::ColumnOrder;

    use super::*;

    /// More columns than a short list header counts, and more bytes than the Parquet writer keeps back.
    fn table() -> RecordBatch {
        const ROWS: i32 = 2000;
        let columns = (0..20).map(|i| -> (String, Arc<dyn Array>) {
            let values = (0..ROWS).map(|row| (row * (i + 7) % 1013) as f32 - 0.5);
            let column: Arc<dyn Array> = match i % 4 {
                0 => Arc::new(Int32Array::from_iter_values(0..ROWS)),
                1 => Arc::new(Float32Array::from_iter_values(values)),
                2 => Arc::new(Float64Array::from_iter_values(values.map(f64::from))),
                _ => Arc::new(Float32Array::from_iter_values(
                    [f32::NAN, -0.0].into_iter().cycle().take(ROWS as usize),
                )),
            };
            (format!("column {i}"), column)
        });
        RecordBatch::try_from_iter(columns).expect("a table")
    }

    fn write<W: Write + Send>(to: W) -> Result<ArrowWriter<W>, ParquetError> {
        let table = table();
        let mut writer = ArrowWriter::try_new(to, table.schema(), None)?;
        for _ in 0..3 {
            writer.write(&table)?;
            writer.flush()?;
        }
        Ok(writer)
    }

    /// A file of ours, and the same as the Parquet writer leaves it.
    fn written() -> (Vec<u8>, Vec<u8>) {
        let ours = write(FootWriter::new(Vec::new())).expect("written");
        assert!(
            ours.inner().to().len() > 1 << 16,
            "most is passed on at once"
        );
        let ours = close(ours).expect("closed");
        let theirs = write(Vec::new()).and_then(ArrowWriter::into_inner);
        (ours, theirs.expect("closed"))
    }

    fn orders(file: Vec<u8>) -> Vec<ColumnOrder> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).expect("a file");
        let orders = reader.metadata().file_metadata().column_orders();
        orders.expect("orders").clone()
    }

    #[test]
    fn every_column_has_the_order_of_its_type() {
        let (ours, theirs) = written();
        let is_old = |order: &ColumnOrder| matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_));
        assert_eq!(
            orders(ours).iter().filter(|order| is_old(order)).count(),
            20
        );
        // Once this fails, the Parquet writer has a setting or a mind of its own, and this file may go.
        assert_eq!(
            orders(theirs).iter().filter(|order| is_old(order)).count(),
            5
        );
    }

    #[test]
    fn nothing_else_changes() {
        let (ours, theirs) = written();
        assert_eq!(ours.len(), theirs.len());
        let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b);
        let differ: Vec<_> = differ.map(|(&a, &b)| (a, b)).collect();
        assert_eq!(differ, [(HEADER_OF_FIELD_1, HEADER_OF_FIELD_2); 15]);
        let rows: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(ours))
            .and_then(|builder| builder.with_batch_size(2000).build())
            .and_then(|reader| Ok(reader.collect::<Result<_, _>>()?))
            .expect("rows");
        assert_eq!(rows.len(), 3);
        for rows in rows {
            assert_eq!(format!("{rows:?}"), format!("{:?}", table()));
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_of_the_system() {
        /// Full after so many bytes.
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let n = bytes.len().min(self.0);
                self.0 -= n;
                match n {
                    0 => Err(io::ErrorKind::StorageFull.into()),
                    n => Ok(n),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let size = written().0.len();
        let ended = write(FootWriter::new(Full(size - 1))).and_then(close);
        assert!(matches!(ended, Err(ParquetError::External(_))));
        let ended = write(FootWriter::new(Full(size))).and_then(close);
        assert!(ended.is_ok());
    }

    #[test]
    fn what_is_no_footer_is_refused() {
        for foot in [
            &b"PAR1"[..],
            b"\xff\xff\xff\x7fPAR1",
            b"\x01\x1c\x02\0\0\0PAR1",
        ] {
            assert!(total_orders(foot).is_err(), "{foot:?}");
        }
    }
}
