//! Imports from outside: what goes in comes out again, what is wrong is refused with the place and the remedy, and
//! nothing is left behind.
//!
//! Real MNIST is looked for in `BOVW_SHARED_DATA`, or beside the repository; its tests say so and pass where it is
//! missing.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use bovw::import::csv::LabelColumn;
use bovw::import::images::FolderLabel;
use bovw::import::{Summary, Target, Watch, csv, idx, images};
use bovw::{Error, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tempfile::TempDir;

/// One row of a shard.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    bytes: Vec<u8>,
    path: Option<String>,
    label: Option<Label>,
}

#[derive(Debug, Clone, PartialEq)]
enum Label {
    Number(i64),
    Text(String),
}

impl Row {
    fn pixels(&self) -> Vec<u8> {
        let image = image::load_from_memory(&self.bytes).unwrap();
        assert_eq!(image.color(), image::ColorType::L8);
        image.into_bytes()
    }

    fn size(&self) -> (u32, u32) {
        let image = image::load_from_memory(&self.bytes).unwrap();
        (image.height(), image.width())
    }

    fn number(&self) -> i64 {
        match self.label {
            Some(Label::Number(number)) => number,
            ref other => panic!("{other:?} is not a number"),
        }
    }
}

fn read_shard(shard: &Path) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(shard).unwrap());
    let mut rows = Vec::new();
    for batch in reader.unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let image = batch.column_by_name("image").unwrap().as_struct();
        let bytes = image.column_by_name("bytes").unwrap().as_binary::<i32>();
        let path = image.column_by_name("path").unwrap().as_string::<i32>();
        let label = batch.column_by_name("label");
        for i in 0..batch.num_rows() {
            rows.push(Row {
                bytes: bytes.value(i).to_owned(),
                path: path.is_valid(i).then(|| path.value(i).to_owned()),
                label: label.map(|label| match label.data_type() {
                    DataType::Int64 => Label::Number(label.as_primitive::<Int64Type>().value(i)),
                    _ => Label::Text(label.as_string::<i32>().value(i).to_owned()),
                }),
            });
        }
    }
    rows
}

fn read_shards(summary: &Summary) -> Vec<Row> {
    summary
        .shards
        .iter()
        .flat_map(|shard| read_shard(shard))
        .collect()
}

fn key_value(shard: &Path, key: &str) -> String {
    let reader = SerializedFileReader::new(File::open(shard).unwrap()).unwrap();
    let metadata = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    metadata
        .iter()
        .find(|pair| pair.key == key)
        .unwrap()
        .value
        .clone()
        .unwrap()
}

fn huggingface_info(shard: &Path) -> serde_json::Value {
    serde_json::from_str(&key_value(shard, "huggingface")).unwrap()
}

/// A folder to put inputs in, and an output folder that does not exist yet.
struct Scene {
    dir: TempDir,
    target: Target,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("out/shards"));
        Scene { dir, target }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn idx(&self, images: &Path, labels: Option<&Path>) -> Result<Summary> {
        let options = idx::Options {
            images: images.to_owned(),
            labels: labels.map(Path::to_owned),
        };
        idx::import(&options, &self.target, &Watch::NONE)
    }

    fn csv(&self, text: impl AsRef<[u8]>, change: impl Fn(&mut csv::Options)) -> Result<Summary> {
        let mut options = csv::Options::new(self.file("in.csv", text));
        change(&mut options);
        csv::import(&options, &self.target, &Watch::NONE)
    }

    fn images(&self, change: impl Fn(&mut images::Options)) -> Result<Summary> {
        let root = self.dir.path().join("in");
        fs::create_dir_all(&root).unwrap();
        let mut options = images::Options::new(vec![root]);
        change(&mut options);
        images::import(&options, &self.target, &Watch::NONE)
    }

    /// The import failed, said all of `parts`, and left nothing.
    fn assert_refused(&self, result: Result<Summary>, parts: &[&str]) {
        let message = result.unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
        self.assert_nothing_left();
    }

    fn assert_nothing_left(&self) {
        assert!(!self.dir.path().join("out").exists());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx_file(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    for dim in dims {
        file.extend(dim.to_be_bytes());
    }
    file.extend(data);
    file
}

fn png(shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(2, 2, image::Luma([shade]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn shared_data(file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("BOVW_SHARED_DATA").map_or(beside, PathBuf::from);
    let path = data.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is missing", path.display());
    None
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

mod real_mnist {
    use super::*;

    fn files() -> Option<(PathBuf, PathBuf)> {
        Some((
            shared_data("mnist/t10k-images-idx3-ubyte.gz")?,
            shared_data("mnist/t10k-labels-idx1-ubyte.gz")?,
        ))
    }

    #[test]
    fn idx_shards_hold_the_pixels_and_labels_of_the_original_files() {
        let Some((images, labels)) = files() else {
            return;
        };
        let mut scene = Scene::new();
        scene.target.rows_per_shard = 3000;
        let summary = scene.idx(&images, Some(&labels)).unwrap();
        assert_eq!((summary.images, summary.shards.len()), (10_000, 4));
        let (pixels, labels) = (gunzip(&images), gunzip(&labels));
        let rows = read_shards(&summary);
        assert_eq!(rows.len(), 10_000);
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.size(), (28, 28));
            assert_eq!(row.pixels(), &pixels[16 + 784 * i..][..784], "row {i}");
            assert_eq!(row.number(), i64::from(labels[8 + i]), "row {i}");
            assert_eq!(row.path, Some(format!("images-{i}.png")));
        }
    }

    #[test]
    fn idx_shards_equal_those_that_hugging_face_distributes() {
        let Some((images, labels)) = files() else {
            return;
        };
        let Some(published) = shared_data("mnist/test-00000-of-00001.parquet") else {
            return;
        };
        let scene = Scene::new();
        let summary = scene.idx(&images, Some(&labels)).unwrap();
        let ours = read_shards(&summary);
        let theirs = read_shard(&published);
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.pixels(), theirs.pixels());
            assert_eq!(ours.label, theirs.label);
        }
        let classes = |shard| huggingface_info(shard)["info"]["features"]["label"].clone();
        assert_eq!(classes(&summary.shards[0]), classes(&published));
    }
}

mod layout {
    use super::*;

    fn three_shards() -> (Scene, Summary) {
        let mut scene = Scene::new();
        scene.target.rows_per_shard = 1500;
        let images = scene.file("images", idx_file(&[3001, 2, 3], &[7; 3001 * 6]));
        let labels: Vec<u8> = (0..3001).map(|i| (i % 3) as u8).collect();
        let labels = scene.file("labels", idx_file(&[3001], &labels));
        let summary = scene.idx(&images, Some(&labels)).unwrap();
        (scene, summary)
    }

    #[test]
    fn image_columns_are_plain_uncompressed_and_without_statistics() {
        let (_scene, summary) = three_shards();
        let reader = SerializedFileReader::new(File::open(&summary.shards[0]).unwrap()).unwrap();
        for row_group in reader.metadata().row_groups() {
            for column in &row_group.columns()[..2] {
                assert_eq!(column.compression(), basic::Compression::UNCOMPRESSED);
                assert_eq!(column.dictionary_page_offset(), None);
                assert!(
                    column
                        .encodings()
                        .all(|e| matches!(e, basic::Encoding::PLAIN | basic::Encoding::RLE))
                );
                assert!(column.statistics().is_none());
                assert_eq!(column.column_index_offset(), None);
            }
            let label = row_group.column(2);
            assert!(matches!(label.compression(), basic::Compression::ZSTD(_)));
            assert!(label.statistics().is_some());
        }
    }

    #[test]
    fn row_groups_are_bounded_and_end_with_their_shard() {
        let (_scene, summary) = three_shards();
        let rows = |shard: &PathBuf| -> Vec<i64> {
            let reader = SerializedFileReader::new(File::open(shard).unwrap()).unwrap();
            reader
                .metadata()
                .row_groups()
                .iter()
                .map(|group| group.num_rows())
                .collect()
        };
        let all: Vec<_> = summary.shards.iter().map(rows).collect();
        assert_eq!(all, [vec![1000, 500], vec![1000, 500], vec![1]]);
    }

    #[test]
    fn every_shard_names_the_classes_for_hugging_face() {
        let (_scene, summary) = three_shards();
        let expected = serde_json::json!({ "info": { "features": {
            "image": { "_type": "Image" },
            "label": { "names": ["0", "1", "2"], "_type": "ClassLabel" },
        } } });
        for shard in &summary.shards {
            assert_eq!(huggingface_info(shard), expected);
        }
        assert_eq!(summary.classes.unwrap(), ["0", "1", "2"]);
    }

    /// pyarrow, and so `datasets`, takes the metadata from here where a file has it, and then from nowhere else.
    #[test]
    fn the_arrow_schema_names_the_classes_too() {
        let (_scene, summary) = three_shards();
        let shard = &summary.shards[0];
        let arrow_schema = base64_decode(&key_value(shard, "ARROW:schema"));
        let info = key_value(shard, "huggingface");
        assert!(
            arrow_schema
                .windows(info.len())
                .any(|window| window == info.as_bytes())
        );
    }

    fn base64_decode(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits: Vec<usize> = text
            .bytes()
            .filter_map(|byte| DIGITS.iter().position(|&digit| digit == byte))
            .collect();
        let bits = |group: &[usize]| group.iter().fold(0, |bits, digit| bits << 6 | digit) as u32;
        digits
            .chunks_exact(4)
            .flat_map(|group| bits(group).to_be_bytes()[1..].to_owned())
            .collect()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let (_scene_a, a) = three_shards();
        let (_scene_b, b) = three_shards();
        for (a, b) in a.shards.iter().zip(&b.shards) {
            assert_eq!(a.file_name(), b.file_name());
            assert!(fs::read(a).unwrap() == fs::read(b).unwrap());
        }
    }

    #[cfg(unix)]
    #[test]
    fn shards_are_as_readable_as_other_new_files() {
        use std::os::unix::fs::PermissionsExt;
        let (scene, summary) = three_shards();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&summary.shards[0]), mode(&scene.file("new", "")));
    }

    #[test]
    fn progress_ends_with_all_images() {
        let scene = Scene::new();
        let last = Cell::new((0, None));
        let watch = Watch {
            progress: &|done, total| last.set((done, total)),
            stop: &|| false,
        };
        let options = idx::Options {
            images: scene.file("images", idx_file(&[3, 2, 2], &[1; 12])),
            labels: None,
        };
        idx::import(&options, &scene.target, &watch).unwrap();
        assert_eq!(last.get(), (3, Some(3)));
    }
}

mod interrupted {
    use super::*;

    /// Stops the import the `after`-th time that it asks.
    fn stopped(after: u32, import: impl Fn(&Watch<'_>) -> Result<Summary>) {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > after
        };
        let watch = Watch {
            progress: &|_, _| {},
            stop: &stop,
        };
        assert!(matches!(import(&watch), Err(Error::Interrupted)));
    }

    #[test]
    fn an_interrupted_idx_import_leaves_nothing() {
        let mut scene = Scene::new();
        scene.target.rows_per_shard = 2;
        let images = scene.file("images", idx_file(&[9, 2, 2], &[1; 36]));
        let labels = scene.file("labels", idx_file(&[9], &[0; 9]));
        let options = idx::Options {
            images,
            labels: Some(labels),
        };
        for after in [0, 1, 8] {
            stopped(after, |watch| idx::import(&options, &scene.target, watch));
            scene.assert_nothing_left();
        }
    }

    #[test]
    fn an_interrupted_csv_import_leaves_nothing() {
        let mut scene = Scene::new();
        scene.target.rows_per_shard = 1;
        let options = csv::Options::new(scene.file("in.csv", "1,2,3,4,0\n5,6,7,8,1\n"));
        for after in 0..4 {
            stopped(after, |watch| csv::import(&options, &scene.target, watch));
            scene.assert_nothing_left();
        }
    }

    #[test]
    fn an_interrupted_folder_import_leaves_nothing() {
        let mut scene = Scene::new();
        scene.target.rows_per_shard = 1;
        let root = scene
            .file("in/a/1.png", png(1))
            .parent()
            .unwrap()
            .to_owned();
        scene.file("in/a/2.png", png(2));
        let options = images::Options::new(vec![root]);
        for after in 0..4 {
            stopped(after, |watch| {
                images::import(&options, &scene.target, watch)
            });
            scene.assert_nothing_left();
        }
    }
}

mod idx_files {
    use super::*;

    #[test]
    fn gzip_is_known_by_its_bytes_and_not_by_its_name() {
        let images = idx_file(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let scene = Scene::new();
        let plain = scene.file("plain.gz", &images);
        let packed = scene.file("packed", gzip(&images));
        let rows = read_shards(&scene.idx(&plain, None).unwrap());
        let other = Scene::new();
        assert_eq!(rows, read_shards(&other.idx(&packed, None).unwrap()));
        assert_eq!(rows[1].pixels(), [4, 5, 6]);
        assert_eq!(rows[1].size(), (1, 3));
        assert_eq!(rows[1].label, None);
    }

    #[test]
    fn labels_with_gaps_stay_numbers() {
        let scene = Scene::new();
        let images = scene.file("images", idx_file(&[2, 1, 1], &[1, 2]));
        let labels = scene.file("labels", idx_file(&[2], &[1, 26]));
        let summary = scene.idx(&images, Some(&labels)).unwrap();
        assert_eq!(summary.classes, None);
        assert!(
            summary.notes[0].contains("kept as numbers"),
            "{:?}",
            summary.notes
        );
        assert_eq!(read_shards(&summary)[1].number(), 26);
        let label = &huggingface_info(&summary.shards[0])["info"]["features"]["label"];
        assert_eq!(
            label,
            &serde_json::json!({ "dtype": "int64", "_type": "Value" })
        );
    }

    #[test]
    fn bad_images_are_refused() {
        let good = idx_file(&[2, 2, 2], &[9; 8]);
        let cases: &[(&[u8], &[&str])] = &[
            (b"", &["the file is empty"]),
            (b"\0\0", &["not an IDX file", "00 00 08 03"]),
            (b"\x89PNG\r\n\x1a\n", &["not an IDX file", "\\x89PNG"]),
            (b"\x1f\x8b", &["gzip data is damaged or cut short"]),
            (&good[..10], &["cut short: it ends within its header"]),
            (
                &good[..20],
                &[
                    "has 20 bytes",
                    "2 images of 2x2",
                    "takes 24",
                    "fetch it again",
                ],
            ),
            (
                &[&good[..], b"x"].concat(),
                &["too long", "2 images of 2x2"],
            ),
            (
                &gzip(&good[..23]),
                &["cut short: it ends in image 1 of the 2"],
            ),
            (
                &gzip(&[&good[..], b"x"].concat()),
                &["too long", "2 images"],
            ),
            (
                &gzip(&good)[..20],
                &["gzip data is damaged or cut short", "gzip -t"],
            ),
            (
                &idx_file(&[2, 0, 2], &[]),
                &["images of 0x2 have no pixels"],
            ),
            (&idx_file(&[0, 2, 2], &[]), &["announces no images"]),
            (
                &idx_file(&[u32::MAX; 3], &[]),
                &["4294967295x4294967295 are too large"],
            ),
            (
                &gzip(&idx_file(&[1, 32_768, 32_768], &[])),
                &["32768x32768 are too large"],
            ),
            (
                &gzip(&idx_file(&[u32::MAX, 8192, 8192], &[1; 99])),
                &["ends in image 0 of the 4294967295"],
            ),
            (
                &idx_file(&[8], &[9; 8]),
                &[
                    "an IDX file of labels, where an IDX file of images",
                    "swapped",
                ],
            ),
            (
                &idx_file(&[1, 2, 2, 3], &[9; 12]),
                &["4 dimensions", "colour", "bovw import images"],
            ),
            (
                b"\0\0\x0d\x03\0\0\0\x01",
                &["type 0x0d", "only bytes (0x08)"],
            ),
        ];
        for (bytes, parts) in cases {
            let scene = Scene::new();
            let images = scene.file("the-images", bytes);
            scene.assert_refused(
                scene.idx(&images, None),
                &[&["the-images"], *parts].concat(),
            );
        }
    }

    #[test]
    fn bad_labels_are_refused() {
        let good = idx_file(&[3], &[0, 1, 2]);
        let cases: &[(&[u8], &[&str])] = &[
            (b"", &["the file is empty"]),
            (&good[..6], &["ends within its header"]),
            (&good[..10], &["has 10 bytes", "3 labels", "takes 11"]),
            (&gzip(&good[..10]), &["ends after label 2 of the 3"]),
            (
                &gzip(&[&good[..], b"x"].concat()),
                &["too long", "3 labels"],
            ),
            (
                &idx_file(&[2], &[0, 1]),
                &["announces 2 labels", "has 3 images"],
            ),
            (
                &idx_file(&[3, 1, 1], &[9; 3]),
                &["an IDX file of images, where an IDX file of labels"],
            ),
        ];
        for (bytes, parts) in cases {
            let scene = Scene::new();
            let images = scene.file("images", idx_file(&[3, 1, 1], &[7; 3]));
            let labels = scene.file("the-labels", bytes);
            let result = scene.idx(&images, Some(&labels));
            scene.assert_refused(result, &[&["the-labels"], *parts].concat());
        }
    }

    #[test]
    fn folders_and_missing_files_are_refused() {
        let scene = Scene::new();
        scene.assert_refused(scene.idx(scene.dir.path(), None), &["this is a folder"]);
        scene.assert_refused(
            scene.idx(&scene.dir.path().join("no"), None),
            &["no: cannot read"],
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_refused_rather_than_read_for_ever() {
        let scene = Scene::new();
        scene.assert_refused(
            scene.idx(Path::new("/dev/zero"), None),
            &["not a regular file"],
        );
    }
}

mod csv_files {
    use super::*;

    #[test]
    fn the_label_comes_last_by_default() {
        let scene = Scene::new();
        let summary = scene.csv("1,2,3,4,0\n5,6,7,8,1\n", |_| {}).unwrap();
        let rows = read_shards(&summary);
        assert_eq!((rows[0].pixels(), rows[0].number()), (vec![1, 2, 3, 4], 0));
        assert_eq!((rows[1].pixels(), rows[1].number()), (vec![5, 6, 7, 8], 1));
        assert_eq!(rows[1].path.as_deref(), Some("images-1.png"));
        assert_eq!(rows[1].size(), (2, 2));
        assert_eq!(summary.classes.unwrap(), ["0", "1"]);
        assert!(
            summary.notes[0].contains("label in column 5"),
            "{:?}",
            summary.notes
        );
    }

    #[test]
    fn the_label_is_found_by_its_name() {
        let scene = Scene::new();
        let text = "a,b,Class,c,d\r\n1,2,1,3,4\r\n5,6,0,7,8\r\n";
        let summary = scene.csv(text, |_| {}).unwrap();
        let rows = read_shards(&summary);
        assert_eq!((rows[0].pixels(), rows[0].number()), (vec![1, 2, 3, 4], 1));
        assert!(summary.notes[0].contains("label in column 3, by its name, \"Class\""));
        assert!(summary.notes[1].contains("line 1 is taken for the names"));
    }

    #[test]
    fn a_last_column_that_never_changes_means_that_the_label_is_first() {
        let scene = Scene::new();
        let summary = scene.csv("1,2,3,4,0\n0,6,7,8,0\n", |_| {}).unwrap();
        let rows = read_shards(&summary);
        assert_eq!((rows[0].pixels(), rows[0].number()), (vec![2, 3, 4, 0], 1));
        assert!(
            summary.notes[0].contains("label in column 1"),
            "{:?}",
            summary.notes
        );
    }

    #[test]
    fn text_at_one_end_is_the_label() {
        let scene = Scene::new();
        let summary = scene.csv("dog,2,3,4,0\ncat,6,7,8,1\n", |_| {}).unwrap();
        assert_eq!(summary.classes.as_deref().unwrap(), ["cat", "dog"]);
        let labels: Vec<_> = read_shards(&summary).iter().map(Row::number).collect();
        assert_eq!(labels, [1, 0]);
    }

    #[test]
    fn a_square_number_of_columns_has_no_label() {
        let scene = Scene::new();
        let summary = scene.csv("1,2,3,4\n", |_| {}).unwrap();
        let rows = read_shards(&summary);
        assert_eq!(
            (rows[0].pixels(), rows[0].label.clone()),
            (vec![1, 2, 3, 4], None)
        );
        assert!(summary.notes[0].contains("no label"), "{:?}", summary.notes);
    }

    #[test]
    fn the_label_can_be_said() {
        let text = "9,1,2,3,8\n";
        let read = |label: &str| {
            let scene = Scene::new();
            let summary = scene
                .csv(text, |options| options.label = label.parse().unwrap())
                .unwrap();
            read_shards(&summary).remove(0)
        };
        assert_eq!(
            (read("first").pixels(), read("first").number()),
            (vec![1, 2, 3, 8], 9)
        );
        assert_eq!(
            (read("last").pixels(), read("last").number()),
            (vec![9, 1, 2, 3], 8)
        );
        let scene = Scene::new();
        let named = scene.csv("p,q,u,v,w\n9,1,2,3,8\n", |options| {
            options.label = LabelColumn::Named("q".to_owned());
        });
        let row = read_shards(&named.unwrap()).remove(0);
        assert_eq!((row.pixels(), row.number()), (vec![9, 2, 3, 8], 1));
    }

    #[test]
    fn images_need_not_be_square() {
        for (height, width) in [(Some(2), Some(3)), (Some(2), None), (None, Some(3))] {
            let scene = Scene::new();
            let summary = scene.csv("1,2,3,4,5,6,0\n", |options| {
                (options.height, options.width) = (height, width);
            });
            assert_eq!(read_shards(&summary.unwrap())[0].size(), (2, 3));
        }
    }

    #[test]
    fn gzip_floats_blanks_quotes_and_other_delimiters_are_read() {
        let scene = Scene::new();
        let text = gzip(b"\xef\xbb\xbf0.0; 255 ;\"7\";1e1;3.0\n\n12;0;0;0;-1");
        let summary = scene.csv(text, |options| options.delimiter = b';').unwrap();
        let rows = read_shards(&summary);
        assert_eq!(
            (rows[0].pixels(), rows[0].number()),
            (vec![0, 255, 7, 10], 3)
        );
        assert_eq!(
            (rows[1].pixels(), rows[1].number()),
            (vec![12, 0, 0, 0], -1)
        );
    }

    #[test]
    fn text_labels_of_one_file_become_sorted_classes_even_beside_numbers() {
        let scene = Scene::new();
        let summary = scene
            .csv("1,2,3,4,10\n1,2,3,4,b\n1,2,3,4,9\n", |_| {})
            .unwrap();
        assert_eq!(summary.classes.as_deref().unwrap(), ["10", "9", "b"]);
        let labels: Vec<_> = read_shards(&summary).iter().map(Row::number).collect();
        assert_eq!(labels, [0, 2, 1]);
    }

    #[test]
    fn a_label_that_never_changes_is_remarked_on() {
        let scene = Scene::new();
        let summary = scene.csv("1,2,3,4,0\n1,2,3,5,0\n", |o| o.label = LabelColumn::Last);
        assert!(summary.unwrap().notes[0].contains("every label is the same"));
    }

    #[test]
    fn bad_rows_are_refused_with_line_and_column() {
        let cases: &[(&str, &[&str])] = &[
            ("", &["the file has no rows"]),
            ("\n\n", &["the file has no rows"]),
            ("a,b,c,d,label\n", &["no rows follow the header"]),
            (
                "1,2,3,4,0\n1,2,3,0\n",
                &["line 2: this row has 4 fields, where the first has 5"],
            ),
            (
                "1,2,3,4,0\n\n\n1,2,3,4,5,0\n",
                &["line 4: this row has 6 fields"],
            ),
            (
                "1,2,3,4,0\r\n\r\n1,x,3,4,0\r\n",
                &["line 3, column 2: the pixel \"x\" is not a number"],
            ),
            (
                "1,2,3,4,0\r1,2,256,4,0\r",
                &["line 2, column 3: the pixel 256 is not from 0 to 255"],
            ),
            (
                "a,b,c,d,y\n1,\"\n\",3,4,0\n",
                &["line 2, column 2: the pixel is missing"],
            ),
            (
                "1,2,3,4,0\n1,2,\"3\n\",4,0\n1,2,3,-4,0\n",
                &["line 4, column 4: the pixel -4 is not"],
            ),
            (
                "1,2,3,4,0\n1,2,NaN,4,0\n",
                &["line 2, column 3: the pixel NaN is not"],
            ),
            (
                "1,2,3,0.5,0\n",
                &[
                    "line 1, column 4: the pixel 0.5 is not a whole number",
                    "scale pixels",
                ],
            ),
            (
                "1,2,3,4,0\n1,2,3,4,\n",
                &["line 2, column 5: the label is missing", "-1"],
            ),
            (
                "1,2,3,4,0\n1,2,3,4,nan\n",
                &["line 2, column 5: the label is nan"],
            ),
            (
                "label,y,b,c,d\n1,2,3,4,5\n",
                &["columns \"label\" and \"y\" could both be", "--label NAME"],
            ),
            (
                "1,2,3,4,5,6,0\n",
                &[
                    "7 columns leave 7 pixels, which is not a square",
                    "--height and --width",
                ],
            ),
            (
                "1;2;3;4;0\n",
                &["only one column where \",\" separates", "--delimiter"],
            ),
            (
                "1,1,1,2,2,2,3,3,3,4,4,4,0\n",
                &["13 columns", "colour", "bovw import images"],
            ),
        ];
        for (text, parts) in cases {
            let scene = Scene::new();
            scene.assert_refused(scene.csv(text, |_| {}), &[&["in.csv"], *parts].concat());
        }
    }

    #[test]
    fn options_that_do_not_fit_the_file_are_refused() {
        let text = "a,b,c,d,y\n1,2,3,4,0\n";
        let named = |name: &str| Some(LabelColumn::Named(name.to_owned()));
        let cases = [
            (
                None,
                Some(5),
                None,
                "columns leave 4 pixels, which is not an image of 5x?",
            ),
            (None, Some(0), Some(0), "not an image of 0x0"),
            (
                None,
                Some(u32::MAX),
                Some(u32::MAX),
                "not an image of 4294967295x4294967295",
            ),
            (
                Some(LabelColumn::None),
                None,
                None,
                "5 columns leave 5 pixels",
            ),
            (
                named("z"),
                None,
                None,
                "no column is named \"z\"; the first is \"a\", the last \"y\"",
            ),
        ];
        for (label, height, width, part) in cases {
            let scene = Scene::new();
            let result = scene.csv(text, |options| {
                (options.height, options.width) = (height, width);
                options.label = label.clone().unwrap_or_default();
            });
            scene.assert_refused(result, &[part]);
        }
    }

    #[test]
    fn a_name_needs_a_header() {
        let scene = Scene::new();
        let result = scene.csv("1,2,3,4,0\n", |options| {
            options.label = LabelColumn::Named("y".to_owned());
            options.header = Some(false);
        });
        scene.assert_refused(result, &["no header to find the label \"y\" in"]);
    }

    #[test]
    fn a_row_without_end_is_refused_before_it_fills_the_memory() {
        let scene = Scene::new();
        let mut text = b"1,2,3,4,0\n1,2,\"".to_vec();
        text.resize(40 << 20, b'\n');
        let refused = scene.csv(gzip(&text), |_| {});
        scene.assert_refused(
            refused,
            &["line 2: this row goes on for more than", "quote"],
        );
    }

    #[test]
    fn arbitrary_bytes_are_an_error_and_not_a_panic() {
        for seed in 0..200_u64 {
            let scene = Scene::new();
            let mut state = seed;
            let bytes: Vec<u8> = (0..seed)
                .map(|_| {
                    state = state
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    b"0123456789,,,,\n\n\r\"\"x-.\xff\0"[(state >> 33) as usize % 24]
                })
                .collect();
            // Most are refused; a few happen to be images of a pixel or so.
            if scene.csv(&bytes, |_| {}).is_err() {
                scene.assert_nothing_left();
            }
        }
    }
}

mod image_files {
    use super::*;

    fn paths(summary: &Summary) -> Vec<String> {
        read_shards(summary)
            .into_iter()
            .map(|row| row.path.unwrap())
            .collect()
    }

    #[test]
    fn files_come_in_path_order_with_their_bytes_and_folder_names() {
        let scene = Scene::new();
        scene.file("in/dog/b c.png", png(1));
        scene.file("in/dog/a.PNG", png(2));
        scene.file("in/cat/z.png", png(3));
        scene.file("in/cat/notes.txt", "no image");
        let summary = scene.images(|_| {}).unwrap();
        let label = |number| Some(Label::Number(number));
        let row = |shade, path: &str, number| Row {
            bytes: png(shade),
            path: Some(path.to_owned()),
            label: label(number),
        };
        let expected = [
            row(3, "cat/z.png", 0),
            row(2, "dog/a.PNG", 1),
            row(1, "dog/b c.png", 1),
        ];
        assert_eq!(read_shards(&summary), expected);
        assert_eq!(summary.classes.unwrap(), ["cat", "dog"]);
        assert_eq!(summary.n_skipped, 0);
        assert!(
            summary.notes[0].contains("1 files do not end like images"),
            "{:?}",
            summary.notes
        );
    }

    #[test]
    fn the_order_is_that_of_whole_paths() {
        let scene = Scene::new();
        for name in ["in/a/1.png", "in/a.png", "in/a-/1.png", "in/B.png"] {
            scene.file(name, png(1));
        }
        let summary = scene.images(|_| {}).unwrap();
        assert_eq!(paths(&summary), ["B.png", "a-/1.png", "a.png", "a/1.png"]);
    }

    #[test]
    fn other_layouts_have_no_labels_unless_asked_for() {
        let scene = Scene::new();
        scene.file("in/train/cat/1.png", png(1));
        scene.file("in/train/dog/2.png", png(2));
        let summary = scene.images(|_| {}).unwrap();
        assert!(
            summary.notes[0].contains("no labels"),
            "{:?}",
            summary.notes
        );
        assert_eq!(read_shards(&summary)[0].label, None);
        let mut scene = scene;
        scene.target.name = "labelled".to_owned();
        let summary = scene
            .images(|options| options.label = FolderLabel::Folder)
            .unwrap();
        assert_eq!(summary.classes.as_deref().unwrap(), ["cat", "dog"]);
        assert_eq!(read_shards(&summary)[1].number(), 1);
    }

    #[test]
    fn labels_can_be_left_out() {
        let scene = Scene::new();
        scene.file("in/cat/1.png", png(1));
        scene.file("in/dog/2.png", png(2));
        let summary = scene
            .images(|options| options.label = FolderLabel::None)
            .unwrap();
        assert_eq!(summary.classes, None);
        assert_eq!(read_shards(&summary)[0].label, None);
    }

    #[test]
    fn a_file_can_be_given_by_itself_whatever_it_is_called() {
        let scene = Scene::new();
        let file = scene.file("one.dat", png(1));
        let summary = scene
            .images(|options| options.paths = vec![file.clone()])
            .unwrap();
        assert_eq!(paths(&summary), ["one.dat"]);
    }

    #[test]
    fn what_is_not_an_image_is_skipped_and_listed() {
        let scene = Scene::new();
        scene.file("in/a.png", png(1));
        let empty = scene.file("in/b.png", "");
        let html = scene.file("in/c.jpg", "<html>");
        let summary = scene.images(|_| {}).unwrap();
        assert_eq!(paths(&summary), ["a.png"]);
        let listed = |path: &Path, reason: &str| (path.display().to_string(), reason.to_owned());
        assert_eq!(
            summary.skipped,
            [
                listed(&empty, "the file is empty"),
                listed(&html, "not an image: starts with \"<html>\"")
            ]
        );
    }

    #[test]
    fn strict_imports_refuse_what_is_not_an_image() {
        let scene = Scene::new();
        scene.file("in/a.png", png(1));
        scene.file("in/b.png", "<html>");
        let result = scene.images(|options| options.strict = true);
        scene.assert_refused(result, &["in/b.png: not an image", "without --strict"]);
    }

    #[test]
    fn nothing_to_import_is_an_error() {
        let scene = Scene::new();
        scene.assert_refused(scene.images(|_| {}), &["no images in", "png, jpg"]);
        scene.file("in/a.txt", "x");
        scene.assert_refused(scene.images(|_| {}), &["no images in"]);
        scene.file("in/a.png", "x");
        scene.assert_refused(
            scene.images(|_| {}),
            &["no images in", "a.png: not an image"],
        );
    }

    #[test]
    fn bad_requests_are_refused() {
        let scene = Scene::new();
        let none = scene.images(|options| options.paths = Vec::new());
        scene.assert_refused(none, &["no folder or file"]);
        let missing = scene.images(|options| options.paths = vec!["/no/such/folder".into()]);
        scene.assert_refused(missing, &["/no/such/folder: cannot read"]);
        scene.file("in/a.png", png(1));
        let flat = scene.images(|options| options.label = FolderLabel::Folder);
        scene.assert_refused(flat, &["in/a.png: --label folder", "--label none"]);
    }

    #[cfg(unix)]
    #[test]
    fn link_loops_broken_links_and_pipes_are_listed_and_do_not_hang() {
        use std::os::unix::fs::symlink;
        let scene = Scene::new();
        let image = scene.file("in/a/1.png", png(1));
        let root = scene.dir.path().join("in");
        symlink(&root, root.join("a/loop")).unwrap();
        symlink("nowhere", root.join("a/broken.png")).unwrap();
        symlink(&image, root.join("a/link.png")).unwrap();
        symlink("/dev/zero", root.join("a/zero.png")).unwrap();
        let summary = scene.images(|_| {}).unwrap();
        assert_eq!(paths(&summary), ["a/1.png", "a/link.png"]);
        let reasons: Vec<_> = summary
            .skipped
            .iter()
            .map(|(_, reason)| reason.as_str())
            .collect();
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert!(
            reasons
                .iter()
                .any(|reason| reason.contains("leads back to"))
        );
        assert!(
            reasons
                .iter()
                .any(|reason| reason.contains("leads nowhere"))
        );
        assert!(
            reasons
                .iter()
                .any(|reason| reason.contains("not a regular file"))
        );
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_are_imported_with_their_bytes_shown() {
        use std::os::unix::ffi::OsStrExt;
        let scene = Scene::new();
        let name = std::ffi::OsStr::from_bytes(b"\xff.png");
        let path = scene.dir.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::write(&path, png(1)).is_err() {
            eprintln!("skipped: this file system only has UTF-8 names");
            return;
        }
        assert_eq!(paths(&scene.images(|_| {}).unwrap()), ["\\xff.png"]);
    }

    #[test]
    fn folders_beyond_the_depth_limit_are_listed() {
        let scene = Scene::new();
        scene.file("in/a.png", png(1));
        scene.file(
            &format!("in/{}b.png", "d/".repeat(images::MAX_DEPTH)),
            png(2),
        );
        let summary = scene.images(|_| {}).unwrap();
        assert_eq!(paths(&summary), ["a.png"]);
        assert!(
            summary.skipped[0].1.contains("32 deep"),
            "{:?}",
            summary.skipped
        );
    }

    #[test]
    fn row_groups_of_large_files_are_bounded_in_bytes() {
        let scene = Scene::new();
        let mut large = png(1);
        large.resize(13 << 20, 0);
        for i in 0..5 {
            scene.file(&format!("in/{i}.png"), &large);
        }
        let summary = scene.images(|_| {}).unwrap();
        let reader = SerializedFileReader::new(File::open(&summary.shards[0]).unwrap()).unwrap();
        let rows: Vec<_> = reader
            .metadata()
            .row_groups()
            .iter()
            .map(|group| group.num_rows())
            .collect();
        assert_eq!(rows, [2, 2, 1]);
    }
}
