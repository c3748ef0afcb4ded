//! Mutated shards: bytes, lengths, exchanged pages, and lies in footers and page headers, from small good ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;

use super::bytes::{self, Rng};
use super::thrift;

/// What a file ends with: the footer's length and `PAR1`.
const TAIL_BYTES: usize = 8;

/// Good shards.
pub(crate) struct Bases(Vec<Base>);

struct Base {
    bytes: Vec<u8>,
    /// Where the pages begin.
    pages: Vec<usize>,
}

impl Bases {
    /// Those of the fuzz corpus, and one of the digits, which has many pages.
    pub(crate) fn read(root: &Path) -> Bases {
        let corpus = fs::read_dir(root.join("fuzz/corpus/shard")).expect("the corpus");
        let mut paths: Vec<PathBuf> = corpus.flatten().map(|entry| entry.path()).collect();
        paths.push(root.join("data/digits/digits-00000-of-00004.parquet"));
        paths.sort();
        let bases = paths.iter().filter_map(|path| Base::read(path)).collect();
        Bases(bases)
    }

    /// Mutant `n`.
    pub(crate) fn mutant(&self, seed: u64, n: u64) -> Vec<u8> {
        let mut rng = Rng::of(seed, n);
        let base = rng.one_of(&self.0);
        let mut mutant = base.bytes.clone();
        match n % 5 {
            0 => bytes::flip(&mut mutant, &mut rng),
            1 => bytes::cut(&mut mutant, &mut rng),
            2 => swap_pages(&mut mutant, base, &mut rng),
            3 => lie_in_footer(&mut mutant, &mut rng),
            _ => lie_in_page(&mut mutant, base, &mut rng),
        }
        mutant
    }
}

impl Base {
    /// `None` for what the corpus holds that is no good shard.
    fn read(path: &Path) -> Option<Base> {
        let bytes = fs::read(path).ok()?;
        let file = ::bytes::Bytes::from(bytes.clone());
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).ok()?;
        let mut pages = Vec::new();
        for chunk in metadata
            .row_groups()
            .iter()
            .flat_map(|group| group.columns())
        {
            let (start, length) = chunk.byte_range();
            pages.extend(pages_of(&bytes, start as usize, (start + length) as usize));
        }
        Some(Base { bytes, pages })
    }
}

/// Where the pages of a column chunk begin.
fn pages_of(file: &[u8], mut at: usize, end: usize) -> Vec<usize> {
    let mut pages = Vec::new();
    while let Some((numbers, header)) = file.get(at..end).and_then(thrift::numbers) {
        pages.push(at);
        // A page header begins with its kind, its size and its size in the file.
        let Some(size) = numbers.get(2) else { break };
        let size = thrift::number(&file[at + size.start..at + size.end]);
        at += header + usize::try_from(size).unwrap_or(0);
    }
    pages
}

fn swap_pages(mutant: &mut [u8], base: &Base, rng: &mut Rng) {
    let (a, b) = (*rng.one_of(&base.pages), *rng.one_of(&base.pages));
    let length = 1 + rng.below(2048);
    bytes::swap(mutant, a, b, length);
}

fn lie_in_footer(mutant: &mut Vec<u8>, rng: &mut Rng) {
    let end = mutant.len() - TAIL_BYTES;
    let length: [u8; 4] = mutant[end..end + 4].try_into().expect("four bytes");
    let start = end - u32::from_le_bytes(length) as usize;
    let mut footer = mutant[start..end].to_vec();
    for _ in 0..=rng.below(3) {
        let Some((numbers, _)) = thrift::numbers(&footer) else {
            break;
        };
        let place = rng.one_of(&numbers).clone();
        let lie = thrift::lie(thrift::number(&footer[place.clone()]), mutant.len(), rng);
        footer.splice(place, lie);
    }
    mutant.truncate(start);
    let length = footer.len() as u32;
    mutant.extend(footer);
    mutant.extend(length.to_le_bytes());
    mutant.extend(b"PAR1");
}

/// Whatever a longer lie takes is taken from the page, so that all else stays in its place.
fn lie_in_page(mutant: &mut Vec<u8>, base: &Base, rng: &mut Rng) {
    let start = *rng.one_of(&base.pages);
    let Some((numbers, end)) = thrift::numbers(&mutant[start..]) else {
        return;
    };
    let place = rng.one_of(&numbers).clone();
    let old = thrift::number(&mutant[start + place.start..start + place.end]);
    let lie = thrift::lie(old, mutant.len(), rng);
    let length = mutant.len();
    mutant.splice(start + place.start..start + place.end, lie.iter().copied());
    let header_end = start + end + lie.len() - place.len();
    match mutant.len().checked_sub(length) {
        Some(longer) => drop(mutant.drain(header_end..header_end + longer)),
        None => drop(mutant.splice(header_end..header_end, vec![0; length - mutant.len()])),
    }
}

/// A shard of one row, whose image is these bytes.
pub(crate) fn around_image(image: &[u8]) -> Vec<u8> {
    let column: ArrayRef = Arc::new(BinaryArray::from_vec(vec![image]));
    // Named as it is declared, so that what no longer starts like an image is still taken for one.
    let features = r#"{"info": {"features": {"image": {"_type": "Image"}}}}"#;
    let key = parquet::file::metadata::KeyValue::new("huggingface".to_owned(), features.to_owned());
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_key_value_metadata(Some(vec![key]))
        .build();
    let rows = RecordBatch::try_from_iter([("image", column)]).expect("a table");
    let mut writer =
        ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).expect("a writer");
    writer.write(&rows).expect("written");
    writer.into_inner().expect("a file")
}
