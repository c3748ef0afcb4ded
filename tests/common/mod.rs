//! Fixtures for tests that run the real `bovw`: pictures, shards of them in any layout, a job, and what came out.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Schema};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any run here takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The job that every scene has; tests change it with `--set`.
const JOB: &str = "\
[input]
files = [\"data/*.parquet\"]
[patches]
size = [3, 3]
[sample]
per_image = 0.75
[vocabulary]
k = 8
n_init = 1
max_iter = 20
[output]
dir = \"out\"
[run]
threads = 2
memory = \"64MiB\"
";

/// A folder with a job file, for input in `data` and output in `out`.
pub(crate) struct Scene {
    dir: TempDir,
    job: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene::in_folder("")
    }

    /// The job file, `data` and `out` are in a folder of this name.
    pub(crate) fn in_folder(name: &str) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let job = dir.path().join(name).join("job.toml");
        fs::create_dir_all(job.parent().unwrap()).unwrap();
        fs::write(&job, JOB).unwrap();
        Scene { dir, job }
    }

    /// A scene whose `data/a.parquet` is `shard`.
    pub(crate) fn with(shard: &Shard) -> Scene {
        Scene::new().and("data/a.parquet", shard)
    }

    /// This scene with one more shard.
    pub(crate) fn and(self, name: &str, shard: &Shard) -> Scene {
        shard.write(&self.path(name));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.job.parent().unwrap().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// This scene with a job that says nothing of a vocabulary.
    pub(crate) fn without_vocabulary(self) -> Scene {
        let keys = "k = 8\nn_init = 1\nmax_iter = 20\n";
        fs::write(&self.job, JOB.replace(keys, "")).unwrap();
        self
    }

    /// `bovw run` with these keys of the job set.
    pub(crate) fn run(&self, sets: &[&str]) -> Ended {
        self.bovw(&self.run_args(sets))
    }

    /// The arguments of [`run`](Scene::run).
    pub(crate) fn run_args(&self, sets: &[&str]) -> Vec<String> {
        let mut args = vec!["run".to_owned(), self.job.display().to_string()];
        for set in sets {
            args.extend(["--set".to_owned(), (*set).to_owned()]);
        }
        args
    }

    pub(crate) fn bovw<S: AsRef<str>>(&self, args: &[S]) -> Ended {
        let output = assert_cmd::cargo::cargo_bin_cmd!("bovw")
            .args(args.iter().map(AsRef::as_ref))
            .args(["--progress", "none"])
            .current_dir(self.dir.path())
            .timeout(TIMEOUT)
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            stdout: self.without_dir(&output.stdout),
            stderr: self.without_dir(&output.stderr),
        }
    }

    /// Text with the scene's own folder called DIR.
    pub(crate) fn without_dir(&self, text: &[u8]) -> String {
        let dir = self.dir.path().to_str().unwrap();
        String::from_utf8_lossy(text).replace(dir, "DIR")
    }

    /// `out/features/NAME.parquet`.
    pub(crate) fn features(&self, name: &str) -> Table {
        Table::read(&self.path(&format!("out/features/{name}.parquet")))
    }

    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("out/manifest.json")).unwrap()).unwrap()
    }

    /// Every file below `folder`, by its path there; none where there is no such folder.
    pub(crate) fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.path(folder);
        walkdir::WalkDir::new(&folder)
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let name = entry.path().strip_prefix(&folder).unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                (name.display().to_string(), bytes)
            })
            .collect()
    }

    /// The files below `folder` that a user waits for: features and vocabulary, not what is kept for pictures.
    pub(crate) fn results(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files(folder);
        files.retain(|name, _| name.ends_with(".parquet") && !name.starts_with("pictures/"));
        files
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// It succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Ended {
        self.exited(0)
    }

    /// It ended with this status, and did not panic on the way.
    #[track_caller]
    pub(crate) fn exited(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.without_panic()
    }

    #[track_caller]
    pub(crate) fn without_panic(self) -> Ended {
        for mark in ["panic", "internal error", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(mark), "{self:?}");
        }
        self
    }
}

/// A Parquet file, read whole.
pub(crate) struct Table {
    pub(crate) rows: RecordBatch,
    keys: Vec<KeyValue>,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Table {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let keys = builder.metadata().file_metadata().key_value_metadata();
        let keys = keys.cloned().unwrap_or_default();
        let schema = Arc::clone(builder.schema());
        let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
        Table {
            rows: concat_batches(&schema, &batches).unwrap(),
            keys,
        }
    }

    pub(crate) fn column(&self, name: &str) -> ArrayRef {
        let column = self.rows.column_by_name(name);
        Arc::clone(column.unwrap_or_else(|| panic!("no column {name}")))
    }

    /// Names of the columns, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let schema = self.rows.schema();
        schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    pub(crate) fn vectors(&self) -> Vec<Vec<f32>> {
        let column = self.column("features");
        let lists = column.as_fixed_size_list();
        let length = lists.value_length() as usize;
        let values = lists.values().as_primitive::<Float32Type>().values();
        assert_eq!(arrow::array::Array::null_count(lists), 0);
        values.chunks(length).map(<[f32]>::to_vec).collect()
    }

    pub(crate) fn n_patches(&self) -> Vec<i32> {
        let column = self.column("n_patches");
        column.as_primitive::<Int32Type>().values().to_vec()
    }

    pub(crate) fn strings(&self, name: &str) -> Vec<Option<String>> {
        let column = self.column(name);
        let strings = column.as_string::<i32>();
        strings.iter().map(|s| s.map(str::to_owned)).collect()
    }

    /// JSON under a key of the footer.
    pub(crate) fn key(&self, key: &str) -> Value {
        let value = self.keys.iter().find(|entry| entry.key == key);
        let value = value.and_then(|entry| entry.value.as_deref());
        serde_json::from_str(value.unwrap_or_else(|| panic!("no key {key}"))).unwrap()
    }
}

/// A shard to be written.
#[derive(Clone)]
pub(crate) struct Shard {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
    keys: Vec<KeyValue>,
    compression: Compression,
    rows_in_group: usize,
}

impl Shard {
    pub(crate) fn new() -> Shard {
        Shard {
            fields: Vec::new(),
            columns: Vec::new(),
            keys: Vec::new(),
            compression: Compression::UNCOMPRESSED,
            rows_in_group: 1 << 20,
        }
    }

    /// Pictures as Hugging Face stores them.
    pub(crate) fn hugging_face(pictures: &[GrayImage]) -> Shard {
        Shard::new().column("image", image_structs(pngs(pictures)))
    }

    /// Pictures of one size, a byte a pixel.
    pub(crate) fn raw(pictures: &[GrayImage]) -> Shard {
        let size = pictures[0].as_raw().len() as i32;
        let mut values = arrow::array::FixedSizeBinaryBuilder::new(size);
        for picture in pictures {
            values.append_value(picture.as_raw()).unwrap();
        }
        Shard::new().column("image", Arc::new(values.finish()))
    }

    pub(crate) fn column(self, name: &str, column: ArrayRef) -> Shard {
        let field = Field::new(name, column.data_type().clone(), true);
        self.field(field, column)
    }

    pub(crate) fn field(mut self, field: Field, column: ArrayRef) -> Shard {
        self.fields.push(field);
        self.columns.push(column);
        self
    }

    /// `{COLUMN: FEATURE}` as the footer's `huggingface` key has it.
    pub(crate) fn features(mut self, features: &Value) -> Shard {
        let text = serde_json::json!({"info": {"features": features}}).to_string();
        self.keys
            .push(KeyValue::new("huggingface".to_owned(), text));
        self
    }

    pub(crate) fn compression(mut self, compression: Compression) -> Shard {
        self.compression = compression;
        self
    }

    pub(crate) fn row_groups_of(mut self, rows: usize) -> Shard {
        self.rows_in_group = rows;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let rows = RecordBatch::try_new(Arc::clone(&schema), self.columns.clone()).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_max_row_group_row_count(Some(self.rows_in_group))
            .set_key_value_metadata((!self.keys.is_empty()).then(|| self.keys.clone()))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.into_inner().unwrap()
    }

    pub(crate) fn write(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.bytes()).unwrap();
    }
}

/// A picture with edges and slopes, another for every `seed`.
pub(crate) fn picture(seed: u32, height: u32, width: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let value = (x * 29 + y * 17 + seed * 13) ^ ((x * y + 1) * (seed + 3) * 7);
        Luma([(value % 256) as u8])
    })
}

pub(crate) fn pictures(n: u32, height: u32, width: u32) -> Vec<GrayImage> {
    (0..n).map(|seed| picture(seed, height, width)).collect()
}

pub(crate) fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn pngs(pictures: &[GrayImage]) -> Vec<Option<Vec<u8>>> {
    let png = |picture: &GrayImage| Some(encoded(picture.clone(), ImageFormat::Png));
    pictures.iter().map(png).collect()
}

pub(crate) fn binary(values: Vec<Option<Vec<u8>>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<BinaryArray>())
}

/// Hugging Face's `struct<bytes, path>`; rows without bytes are null.
pub(crate) fn image_structs(bytes: Vec<Option<Vec<u8>>>) -> ArrayRef {
    let is_valid: Vec<bool> = bytes.iter().map(Option::is_some).collect();
    structs_of(binary(bytes), Some(is_valid))
}

/// Hugging Face's `struct<bytes, path>` around binary values of any kind.
pub(crate) fn structs_of(bytes: ArrayRef, is_valid: Option<Vec<bool>>) -> ArrayRef {
    let paths: StringArray = (0..bytes.len())
        .map(|row| Some(format!("{row}.png")))
        .collect();
    let fields = vec![
        Field::new("bytes", bytes.data_type().clone(), true),
        Field::new("path", DataType::Utf8, true),
    ];
    let columns: Vec<ArrayRef> = vec![bytes, Arc::new(paths)];
    Arc::new(StructArray::new(
        fields.into(),
        columns,
        is_valid.map(Into::into),
    ))
}
