//! `vocabulary.parquet`, or one for each size of patches: a row a word, and how patches are prepared in the footer.
//!
//! Columns: `word` int32, `count` int64, `inertia` float64, `centroid` FixedSizeList<float32 not null, d>, and `documents`
//! int64 where images with the word were counted. The footer's key `bovw.vocabulary` holds a [`Header`] as JSON. Reading checks everything that featurizing relies on.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array,
};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::features::with_metadata;
use super::foot::{self, FootWriter};
use super::hugging_face::{self, Features};
use super::read::{Shard, Wanted};
use super::whole::{WholeFile, WholeWriter, write_error};
use crate::error::{Error, Place, Result};
use crate::job::Io;
use crate::kernel::grid::PatchShape;
use crate::kernel::normalize::Normalize;
use crate::kernel::vocabulary::{Documents, Preparation, Vocabulary};
use crate::kernel::whiten::{MAX_D, Whitening};

/// The footer's key.
pub const KEY: &str = "bovw.vocabulary";

/// Version of this format.
const FORMAT: u32 = 1;

/// What the footer says of the words.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Header {
    /// Version of this format.
    pub format: u32,
    /// Number of words.
    pub k: usize,
    /// Height and width of a patch.
    pub patch: [u32; 2],
    /// Normalisation of a patch, as the job file calls it.
    pub normalize: String,
    /// Added to a patch's variance, where patches are normalised by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// The whitening, if patches are whitened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<WhiteningHeader>,
    /// Images that `documents` were counted over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_documents: Option<u64>,
    /// What pixels are: "grey", or "rgb" with three values each.
    pub color: String,
    /// Sampled patches that the words were learned from.
    pub n_patches: u64,
    /// Mean squared distance of those patches to their words.
    pub inertia_per_patch: f64,
    /// The resolved job that the words were learned by.
    pub job: serde_json::Value,
}

/// A whitening as the footer has it: `z = matrix (x - mean)`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WhiteningHeader {
    /// "zca".
    pub kind: String,
    /// Added to the variances that it divides by.
    pub epsilon: f64,
    /// `d` float32 values, little-endian, in base64.
    pub mean: String,
    /// `d * d` of them, row-major, symmetric.
    pub matrix: String,
}

impl WhiteningHeader {
    fn new(epsilon: f64, whitening: &Whitening) -> WhiteningHeader {
        WhiteningHeader {
            kind: "zca".to_owned(),
            epsilon,
            mean: to_base64(&whitening.mean),
            matrix: to_base64(&whitening.matrix),
        }
    }

    /// The whitening of patches of `d` values, or what is wrong with it.
    fn read(&self, d: usize) -> Result<Whitening, String> {
        if self.kind != "zca" {
            return Err(format!("its patches are whitened by \"{}\"", self.kind));
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(format!("the epsilon of its whitening is {}", self.epsilon));
        }
        let read = |text: &str, n: usize| {
            from_base64(text)
                .filter(|values| values.len() == n && values.iter().all(|value| value.is_finite()))
                .ok_or_else(|| format!("its whitening is not {d} and {d}x{d} finite numbers"))
        };
        let whitening = Whitening {
            mean: read(&self.mean, d)?,
            matrix: read(&self.matrix, d * d)?,
        };
        let at = |i: usize, j: usize| whitening.matrix[i * d + j].to_bits();
        match (0..d).all(|i| (0..i).all(|j| at(i, j) == at(j, i))) {
            true => Ok(whitening),
            false => Err("the matrix of its whitening is not symmetric".to_owned()),
        }
    }
}

fn to_base64(values: &[f32]) -> String {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    BASE64_STANDARD.encode(bytes)
}

fn from_base64(text: &str) -> Option<Vec<f32>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (values, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| {
        values
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect()
    })
}

/// What pixels of so many values are called.
pub fn color_name(channels: u32) -> &'static str {
    match channels {
        1 => "grey",
        _ => "rgb",
    }
}

/// Writes a vocabulary file, whole or not at all. `job` is the resolved job, for provenance.
pub fn write(path: &Path, vocabulary: &Vocabulary, job: &serde_json::Value) -> Result<WholeFile> {
    write_centroids(path, vocabulary, "word", key_value(vocabulary, job))
}

/// The bytes of a vocabulary file: those that [`write()`] would write.
pub fn to_bytes(vocabulary: &Vocabulary, job: &serde_json::Value) -> Result<Vec<u8>> {
    let bytes = Vec::new();
    let path = Path::new("a vocabulary in memory");
    write_centroids_to(bytes, path, vocabulary, "word", key_value(vocabulary, job))
}

fn key_value(vocabulary: &Vocabulary, job: &serde_json::Value) -> KeyValue {
    let header = serde_json::to_string(&header_of(vocabulary, job)).unwrap_or_default();
    KeyValue::new(KEY.to_owned(), header)
}

/// What a file of these words says of them; `job` is the resolved job that they were learned by.
pub fn header_of(vocabulary: &Vocabulary, job: &serde_json::Value) -> Header {
    let preparation = vocabulary.preparation;
    Header {
        format: FORMAT,
        k: vocabulary.k(),
        patch: [preparation.patch.height, preparation.patch.width],
        normalize: preparation.normalize.name().to_owned(),
        epsilon: match preparation.normalize {
            Normalize::Patch { epsilon } => Some(epsilon),
            Normalize::Image | Normalize::None => None,
        },
        whitening: preparation
            .whiten
            .zip(vocabulary.whitening.as_ref())
            .map(|(epsilon, whitening)| WhiteningHeader::new(epsilon, whitening)),
        n_documents: vocabulary.documents.as_ref().map(|documents| documents.n),
        color: color_name(preparation.patch.channels).to_owned(),
        n_patches: vocabulary.counts.iter().sum(),
        inertia_per_patch: vocabulary.inertia_per_patch(),
        job: job.clone(),
    }
}

/// Writes centroids with what they stood for, a row each; their numbers stand in the column `name`, and `key_value`
/// says in the footer what they are.
pub(super) fn write_centroids(
    path: &Path,
    vocabulary: &Vocabulary,
    name: &str,
    key_value: KeyValue,
) -> Result<WholeFile> {
    let file = WholeWriter::create(path)?;
    write_centroids_to(file, path, vocabulary, name, key_value)?.finish()
}

fn write_centroids_to<W: Write + Send>(
    to: W,
    path: &Path,
    vocabulary: &Vocabulary,
    name: &str,
    key_value: KeyValue,
) -> Result<W> {
    let mut features = Features::default();
    for (column, dtype) in [(name, "int32"), ("count", "int64"), ("inertia", "float64")] {
        features.insert(column, hugging_face::value_feature(dtype));
    }
    features.insert("centroid", hugging_face::vector_feature(vocabulary.d()));
    if vocabulary.documents.is_some() {
        features.insert("documents", hugging_face::value_feature("int64"));
    }
    let key_values = vec![
        key_value,
        KeyValue::new(hugging_face::KEY.to_owned(), features.to_text()),
    ];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false)
        .set_created_by(created_by())
        .set_key_value_metadata(Some(key_values.clone()))
        .build();

    let failed = |error| write_error(path, error);
    let batch = record_batch(vocabulary, name);
    let schema = with_metadata(&batch.schema(), &key_values);
    let mut writer =
        ArrowWriter::try_new(FootWriter::new(to), schema, Some(properties)).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    foot::close(writer).map_err(failed)
}

/// What every file of ours says that it was made by.
pub fn created_by() -> String {
    format!("bovw {}", env!("CARGO_PKG_VERSION"))
}

fn record_batch(vocabulary: &Vocabulary, name: &str) -> RecordBatch {
    let d = i32::try_from(vocabulary.d()).unwrap_or(i32::MAX);
    let words: Int32Array = (0..vocabulary.k()).map(|word| word as i32).collect();
    let counts: Int64Array = vocabulary
        .counts
        .iter()
        .map(|&count| i64::try_from(count).unwrap_or(i64::MAX))
        .collect();
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let centroids = Float32Array::from(vocabulary.centroids.clone());
    let centroids = FixedSizeListArray::new(Arc::clone(&item), d, Arc::new(centroids), None);
    let mut fields = vec![
        Field::new(name, DataType::Int32, false),
        Field::new("count", DataType::Int64, false),
        Field::new("inertia", DataType::Float64, false),
        Field::new("centroid", DataType::FixedSizeList(item, d), false),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(words),
        Arc::new(counts),
        Arc::new(Float64Array::from(vocabulary.inertia.clone())),
        Arc::new(centroids),
    ];
    if let Some(documents) = &vocabulary.documents {
        fields.push(Field::new("documents", DataType::Int64, false));
        let with_word = documents.with_word.iter();
        let with_word = with_word.map(|&n| i64::try_from(n).unwrap_or(i64::MAX));
        columns.push(Arc::new(with_word.collect::<Int64Array>()));
    }
    match RecordBatch::try_new(Arc::new(Schema::new(fields)), columns) {
        Ok(batch) => batch,
        Err(error) => unreachable!("a vocabulary is a table: {error}"),
    }
}

/// Reads a vocabulary file and what its footer says.
pub fn read(path: &Path) -> Result<(Vocabulary, Header)> {
    read_shard(&Shard::open(path, Io::Read)?)
}

/// The same, of the bytes of such a file; `name` is what messages call them.
pub fn from_bytes(bytes: Vec<u8>, name: &Path) -> Result<(Vocabulary, Header)> {
    read_shard(&Shard::of_bytes(name, bytes)?)
}

fn read_shard(shard: &Shard) -> Result<(Vocabulary, Header)> {
    let path = shard.path();
    let header = header(shard)?;
    let normalize = match (header.normalize.as_str(), header.epsilon) {
        ("image", None) => Normalize::Image,
        ("none", None) => Normalize::None,
        ("patch", Some(epsilon)) if epsilon.is_finite() && epsilon >= 0.0 => {
            Normalize::Patch { epsilon }
        }
        (other, _) => {
            return Err(Error::file(
                path,
                format!(
                    "its patches are normalised by \"{other}\", which this version does not know"
                ),
            ));
        }
    };
    let channels = match header.color.as_str() {
        "grey" => 1,
        "rgb" => 3,
        other => {
            return Err(Error::file(
                path,
                format!("its pixels are \"{other}\", which this version does not know"),
            ));
        }
    };
    let [height, width] = header.patch;
    let d = (u64::from(height) * u64::from(width)).saturating_mul(channels.into());
    let broken = |message: String| Error::file(path, format!("is a damaged vocabulary: {message}"));
    if header.k == 0 || d == 0 || d > u64::from(u32::MAX) {
        return Err(broken(format!(
            "{} words of {height}x{width} patches",
            header.k
        )));
    }

    let mut vocabulary = Vocabulary {
        preparation: Preparation {
            patch: PatchShape {
                height,
                width,
                channels,
            },
            normalize,
            whiten: header.whitening.as_ref().map(|whitening| whitening.epsilon),
        },
        whitening: None,
        documents: header.n_documents.map(|n| Documents {
            n,
            with_word: Vec::new(),
        }),
        centroids: Vec::new(),
        counts: Vec::new(),
        inertia: Vec::new(),
    };
    if let Some(whitening) = &header.whitening {
        let d = vocabulary.d();
        if d > MAX_D {
            return Err(broken(format!("patches of {d} values are not whitened")));
        }
        vocabulary.whitening = Some(whitening.read(d).map_err(broken)?);
    }
    for row_group in 0..shard.n_row_groups() {
        append_row_group(shard, row_group, &mut vocabulary)?;
    }
    if vocabulary.k() != header.k || vocabulary.centroids.len() as u64 != header.k as u64 * d {
        return Err(broken(format!(
            "its footer promises {} words of {d} values, it has {} words and {} values",
            header.k,
            vocabulary.k(),
            vocabulary.centroids.len()
        )));
    }
    let n_patches = vocabulary
        .counts
        .iter()
        .try_fold(0u64, |sum, &n| sum.checked_add(n));
    if n_patches.is_none() {
        return Err(broken(
            "its words count more patches than there can be".to_owned(),
        ));
    }
    if let Some(documents) = &vocabulary.documents
        && (documents.with_word.iter().any(|&n| n > documents.n)
            || documents.with_word.len() != header.k)
    {
        return Err(broken(format!(
            "its words are not each in some of {} images",
            documents.n
        )));
    }
    if let Some(at) = vocabulary
        .centroids
        .iter()
        .position(|value| !value.is_finite())
    {
        return Err(broken(format!(
            "word {} has a value that is not finite",
            at as u64 / d
        )));
    }
    Ok((vocabulary, header))
}

/// What the footer of an open vocabulary file says.
pub fn header(shard: &Shard) -> Result<Header> {
    let text = shard.key_value(KEY).ok_or_else(|| {
        Error::file(
            shard.path(),
            format!("is not a vocabulary: its footer has no key \"{KEY}\""),
        )
    })?;
    let header: Header = serde_json::from_str(text).map_err(|error| {
        Error::file(
            shard.path(),
            format!("its key \"{KEY}\" cannot be read: {error}"),
        )
    })?;
    if header.format != FORMAT {
        return Err(Error::file(
            shard.path(),
            format!(
                "is a vocabulary of format {}, this version knows {FORMAT}",
                header.format
            ),
        ));
    }
    Ok(header)
}

/// Rows of a vocabulary that are read at once.
const READ_ROWS: usize = 4096;

fn append_row_group(shard: &Shard, row_group: usize, vocabulary: &mut Vocabulary) -> Result<()> {
    let mut wanted = ["count", "inertia", "centroid"]
        .map(Wanted::column)
        .to_vec();
    if vocabulary.documents.is_some() {
        wanted.push(Wanted::column("documents"));
    }
    let mut reader = shard.read_row_group(row_group, &wanted, READ_ROWS)?;
    while let Some(batch) = reader.next_batch() {
        let (_, batch) = batch?;
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .filter(|column| column.null_count() == 0)
                .ok_or_else(|| {
                    Error::file(
                        Place::file(shard.path()).column(name),
                        "is missing from the vocabulary, or has nulls",
                    )
                })
        };
        let wrong = |name: &str| {
            Error::file(
                Place::file(shard.path()).column(name),
                "has another type than a vocabulary's",
            )
        };
        let counts = column("count")?
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| wrong("count"))?;
        let inertia = column("inertia")?
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| wrong("inertia"))?;
        let centroids = column("centroid")?;
        let values = match centroids.data_type() {
            DataType::FixedSizeList(..) => centroids.as_fixed_size_list().values(),
            DataType::List(_) => centroids.as_list::<i32>().values(),
            _ => return Err(wrong("centroid")),
        };
        let values = values
            .as_primitive_opt::<Float32Type>()
            .ok_or_else(|| wrong("centroid"))?;
        let whole = |&n: &i64| u64::try_from(n).unwrap_or(0);
        vocabulary.counts.extend(counts.values().iter().map(whole));
        if let Some(documents) = &mut vocabulary.documents {
            let with_word = column("documents")?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(|| wrong("documents"))?;
            documents
                .with_word
                .extend(with_word.values().iter().map(whole));
        }
        vocabulary.inertia.extend(inertia.values());
        vocabulary.centroids.extend(values.values());
    }
    Ok(())
}
