//! What the pages of a column chunk say of their sizes, walked from header to header before anything reads a page.
//!
//! A page header is believed by whoever decompresses the page: it allocates what the header claims. So each claim is
//! held against the bytes that are there and against what the codec could make of them, and what reading takes is added
//! up: that is the caller's to allow. Only headers are touched, a few bytes of each page; nothing is allocated.

use parquet::basic::{Compression, Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;

use super::bytes::FileBytes;
use super::thrift::{Compact, Kind, Reason};

/// Pages without a single value that a chunk may have: writers make none, and each could be followed by another.
const MAX_EMPTY_PAGES: u64 = 1 << 16;

/// Pages of one column that are in memory at once: the one whose rows are on their way, and the one being read.
const PAGES_AT_ONCE: u64 = 2;

/// Heap bytes of a value of a dictionary beside its own: where it is.
const DICTIONARY_VALUE_BYTES: u64 = 16;

/// The longest value of a fixed size that pages need not hold: all of them may be null.
const MAX_UNBACKED_VALUE_BYTES: u64 = 1 << 16;

/// What brotli's window takes at most.
const BROTLI_WINDOW_BYTES: u64 = 16 << 20;

/// Bytes of headers that a codec's expansion is not counted in.
const CODEC_SLACK_BYTES: u64 = 64;

/// DELTA_LENGTH_BYTE_ARRAY and DELTA_BYTE_ARRAY, as the format numbers them.
const DELTA_TEXTS: [i32; 2] = [6, 7];

/// Sizes of the pages of one column chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageSizes {
    /// The largest data page that has to be decompressed: its bytes then.
    pub(super) decompressed_bytes: u64,
    /// The largest page as it is stored.
    pub(super) stored_bytes: u64,
    /// The dictionary, decompressed.
    pub(super) dictionary_bytes: u64,
    /// Values in the dictionary.
    pub(super) dictionary_values: u64,
    /// All pages, decompressed, end to end.
    pub(super) plain_bytes: u64,
    /// Pages.
    pub(super) n_pages: u64,
    /// Whether some hold texts that are encoded by their lengths, which the headers tell nothing of.
    pub(super) has_delta: bool,
}

impl PageSizes {
    /// Heap bytes that reading the chunk takes, whatever its rows come to.
    pub(super) fn heap_bytes(&self, codec: Compression, is_mapped: bool) -> u64 {
        let decompressed = match codec {
            Compression::BROTLI(_) if self.decompressed_bytes > 0 => {
                // Its reader has a buffer as large as the page beside the page itself.
                (PAGES_AT_ONCE + 1) * self.decompressed_bytes + BROTLI_WINDOW_BYTES
            }
            _ => PAGES_AT_ONCE * self.decompressed_bytes,
        };
        let stored = match is_mapped {
            true => 0,
            false => PAGES_AT_ONCE * self.stored_bytes,
        };
        // A dictionary as it was decompressed, and its values laid out.
        let dictionary =
            2 * self.dictionary_bytes + DICTIONARY_VALUE_BYTES * self.dictionary_values;
        decompressed + stored + dictionary
    }

    /// The most that [`heap_bytes`](PageSizes::heap_bytes) can be by what an honest footer says: a chunk of one page.
    pub(super) fn most(chunk: &ColumnChunkMetaData, is_mapped: bool) -> u64 {
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        let plain_bytes = bytes(chunk.uncompressed_size());
        let is_compressed = chunk.compression() != Compression::UNCOMPRESSED;
        let has_dictionary = chunk.dictionary_page_offset().is_some();
        let sizes = PageSizes {
            decompressed_bytes: if is_compressed { plain_bytes } else { 0 },
            stored_bytes: bytes(chunk.compressed_size()),
            dictionary_bytes: if has_dictionary { plain_bytes } else { 0 },
            dictionary_values: if has_dictionary {
                (plain_bytes / value_bytes(chunk)).min(bytes(chunk.num_values()))
            } else {
                0
            },
            plain_bytes,
            n_pages: 1,
            has_delta: false,
        };
        sizes.heap_bytes(chunk.compression(), is_mapped)
    }

    /// The largest page or dictionary, in bytes.
    pub(super) fn largest_bytes(&self) -> u64 {
        let pages = self.decompressed_bytes.max(self.stored_bytes);
        pages.max(self.dictionary_bytes)
    }

    /// Walks the pages of a chunk, whose range is known to lie in the file.
    pub(super) fn of(bytes: &FileBytes, chunk: &ColumnChunkMetaData) -> Result<PageSizes, Reason> {
        let (mut start, mut left) = chunk.byte_range();
        let n_values = u64::try_from(chunk.num_values()).unwrap_or(0);
        let mut sizes = PageSizes::default();
        let (mut n_seen, mut n_empty) = (0, 0);
        // Some writers count bytes to a chunk that follow its pages; nobody reads on once all values are there.
        while left > 0 && n_seen < n_values {
            let page = PageHeader::read(bytes, start, left)?;
            let page_bytes = page.header_bytes + page.stored_bytes;
            sizes.add(&page, chunk)?;
            n_seen += page.n_values;
            n_empty += u64::from(page.n_values == 0);
            if n_empty > MAX_EMPTY_PAGES {
                return Err(format!("more than {MAX_EMPTY_PAGES} pages hold no value"));
            }
            (start, left) = (start + page_bytes, left - page_bytes);
        }
        let value_bytes = value_bytes(chunk);
        if value_bytes > sizes.plain_bytes.max(MAX_UNBACKED_VALUE_BYTES) {
            return Err(format!(
                "values of {value_bytes} bytes each, in pages of {} bytes in all",
                sizes.plain_bytes
            ));
        }
        Ok(sizes)
    }

    fn add(&mut self, page: &PageHeader, chunk: &ColumnChunkMetaData) -> Result<(), Reason> {
        self.n_pages += 1;
        if page.kind == PageKind::Skipped {
            return Ok(());
        }
        let is_compressed = page.is_compressed && chunk.compression() != Compression::UNCOMPRESSED;
        if is_compressed {
            check_expansion(page, chunk.compression())?;
        }
        // What is not decompressed is as large as it is stored, whatever its header claims.
        let plain_bytes = match is_compressed {
            true => page.plain_bytes,
            false => page.stored_bytes,
        };
        self.plain_bytes = self.plain_bytes.saturating_add(plain_bytes);
        self.stored_bytes = self.stored_bytes.max(page.stored_bytes);
        self.has_delta |= page.is_delta;
        if page.kind == PageKind::Dictionary {
            if page.n_dictionary > plain_bytes / value_bytes(chunk) {
                return Err(format!(
                    "a dictionary of {} values in {plain_bytes} bytes",
                    page.n_dictionary
                ));
            }
            self.dictionary_bytes = self.dictionary_bytes.max(plain_bytes);
            self.dictionary_values = self.dictionary_values.max(page.n_dictionary);
        } else if is_compressed {
            self.decompressed_bytes = self.decompressed_bytes.max(plain_bytes);
        }
        Ok(())
    }
}

/// Bytes of a value in a plain page, at least; 1 for what takes less.
fn value_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_type() {
        Type::BOOLEAN => 1,
        // A text or binary value starts with its length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(chunk.column_descr().type_length())
            .unwrap_or(1)
            .max(1),
    }
}

/// A page cannot hold more than its codec can make of its bytes; where that has no bound, memory is the bound.
fn check_expansion(page: &PageHeader, codec: Compression) -> Result<(), Reason> {
    let times = match codec {
        // 64 bytes from a copy of 3.
        Compression::SNAPPY => 22,
        // 255 from each byte of a length.
        Compression::LZ4 | Compression::LZ4_RAW => 256,
        // 258 from 2 bits.
        Compression::GZIP(_) => 1032,
        // A block of 128 KiB from 4 bytes.
        Compression::ZSTD(_) => 1 << 15,
        _ => return Ok(()),
    };
    let most = (page.stored_bytes + CODEC_SLACK_BYTES).saturating_mul(times);
    if page.plain_bytes <= most {
        return Ok(());
    }
    Err(format!(
        "a page of {} bytes claims to hold {}, more than its compression can",
        page.stored_bytes, page.plain_bytes
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageKind {
    Data,
    Dictionary,
    /// An index, which is passed over.
    Skipped,
}

/// What a page header says that takes memory or leads to the next.
#[derive(Debug)]
struct PageHeader {
    kind: PageKind,
    header_bytes: u64,
    /// Bytes of the page in the file, after the header.
    stored_bytes: u64,
    /// Bytes of the page once it is decompressed.
    plain_bytes: u64,
    /// Whether the page is compressed, if its column is.
    is_compressed: bool,
    /// Values of a data page, nulls among them.
    n_values: u64,
    /// Values of a dictionary.
    n_dictionary: u64,
    /// Whether its values are texts that are encoded by their lengths.
    is_delta: bool,
}

impl PageHeader {
    /// Reads the header at `start`, of which and whose page `left` bytes belong to the chunk.
    fn read(bytes: &FileBytes, start: u64, left: u64) -> Result<PageHeader, Reason> {
        let input = bytes.get_read(start).map_err(|error| error.to_string())?;
        let mut compact = Compact::new(input, left);
        let mut numbers = [None; 3];
        let (mut n_values, mut n_dictionary, mut is_compressed) = (0, 0, true);
        let mut encoding = 0;
        compact
            .fields(|compact, id, kind| match id {
                1..=3 => {
                    numbers[id as usize - 1] = Some(compact.i32(kind)?);
                    Ok(())
                }
                4 => compact.i32(kind).map(|_| ()),
                5..=8 if kind != Kind::Struct => Err(format!("{kind:?} where a header belongs")),
                5 | 8 => compact.fields(|compact, inner, kind| match (inner, kind) {
                    (1, _) => {
                        n_values = compact.i32(kind)?;
                        Ok(())
                    }
                    (7, Kind::Bool(value)) if id == 8 => {
                        is_compressed = value;
                        Ok(())
                    }
                    (2, _) if id == 5 => {
                        encoding = compact.i32(kind)?;
                        Ok(())
                    }
                    (4, _) if id == 8 => {
                        encoding = compact.i32(kind)?;
                        Ok(())
                    }
                    // All numbers, but for statistics, which are passed over, and the flag.
                    (2..=4, _) => compact.i32(kind).map(|_| ()),
                    (5 | 6, _) if id == 8 => compact.i32(kind).map(|_| ()),
                    (7, _) if id == 8 => Err(format!("{kind:?} where a flag belongs")),
                    _ => compact.skip(kind),
                }),
                7 => compact.fields(|compact, inner, kind| match inner {
                    1 => {
                        n_dictionary = compact.i32(kind)?;
                        Ok(())
                    }
                    2 => compact.i32(kind).map(|_| ()),
                    _ => compact.skip(kind),
                }),
                _ => compact.skip(kind),
            })
            .map_err(|reason| format!("a page header at byte {start} is damaged: {reason}"))?;
        let size = |number: Option<i32>| {
            number
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(|| format!("a page header at byte {start} is damaged: it has no size"))
        };
        let kind = match numbers[0] {
            Some(0 | 3) => PageKind::Data,
            Some(2) => PageKind::Dictionary,
            _ => PageKind::Skipped,
        };
        let page = PageHeader {
            kind,
            header_bytes: compact.used(),
            stored_bytes: size(numbers[2])?,
            plain_bytes: size(numbers[1])?,
            is_compressed,
            n_values: match kind {
                PageKind::Data => size(Some(n_values))?,
                PageKind::Dictionary | PageKind::Skipped => 0,
            },
            n_dictionary: size(Some(n_dictionary))?,
            is_delta: kind == PageKind::Data && DELTA_TEXTS.contains(&encoding),
        };
        if page.header_bytes + page.stored_bytes > left {
            return Err(format!(
                "a page at byte {start} claims {} bytes, its column chunk has {left} left",
                page.stored_bytes
            ));
        }
        Ok(page)
    }
}
