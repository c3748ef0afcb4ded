//! What is wrong with a job or its data ends the run with one clear error, the right exit status and no half output.

mod common;

use std::fs::{self, File};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, StringArray, UInt8Array,
};
use arrow::datatypes::Field;
use bovw::job::{Io, Job, Overrides};
use bovw::kernel::grid::PatchShape;
use bovw::kernel::nearest::Simd;
use bovw::kernel::normalize::Normalize;
use bovw::kernel::vocabulary::{Preparation, Vocabulary};
use bovw::passes::plan::Plan;
use bovw::shard::images::ImageRows;
use bovw::shard::vocabulary;
use image::GrayImage;
use insta::assert_snapshot;
use parquet::basic::{Compression, ZstdLevel};

use common::{Scene, Shard, image_structs, picture, pictures, pngs};

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::default())
}

/// The run failed with `code`; what it said, which is one error. It left nothing that looks like a result.
#[track_caller]
fn refused(scene: &Scene, code: i32, sets: &[&str]) -> String {
    let said = failed(scene, code, sets);
    let results: Vec<String> = scene.results("out").into_keys().collect();
    assert!(results.is_empty(), "{results:?}");
    said
}

/// The run failed with `code`; what it said, which is one error. It left no temporary file.
#[track_caller]
fn failed(scene: &Scene, code: i32, sets: &[&str]) -> String {
    let ended = scene.run(sets).exited(code);
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.stderr.matches("error:").count(), 1, "{ended:?}");
    assert_no_temporary_files(scene);
    ended.stderr
}

#[track_caller]
fn assert_no_temporary_files(scene: &Scene) {
    let files = scene.files("");
    let mut temporary = files.keys().filter(|name| name.contains(".bovw-tmp-"));
    assert_eq!(temporary.next(), None);
}

fn good() -> Shard {
    Shard::hugging_face(&pictures(12, 8, 8))
}

/// Twelve pictures, one of which is replaced.
fn with_bad(row: usize, bytes: Option<&[u8]>) -> Shard {
    let mut column = pngs(&pictures(12, 8, 8));
    column[row] = bytes.map(<[u8]>::to_vec);
    Shard::new().column("image", image_structs(column))
}

fn numbers() -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..12))
}

// ---- The job

#[test]
fn a_missing_job_file_is_named() {
    let scene = Scene::new();
    fs::remove_file(scene.path("job.toml")).unwrap();
    assert_snapshot!(refused(&scene, 2, &[]), @"error: DIR/job.toml: cannot read it: No such file or directory (os error 2)");
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest() {
    let scene = Scene::with(&good());
    scene.file(
        "job.toml",
        "[input]\nfiles = [\"data/*.parquet\"]\n[patches]\nsieze = [3, 3]\n",
    );
    assert_snapshot!(refused(&scene, 2, &[]), @r#"
    error: DIR/job.toml, line 4: unknown key "sieze" in [patches]
      4 | sieze = [3, 3]
        | ^^^^^
      help: did you mean "size"?
    "#);
}

#[test]
fn a_value_of_a_wrong_type_is_shown() {
    let scene = Scene::with(&good());
    scene.file("job.toml", "[vocabulary]\nk = \"fifty\"\n");
    assert_snapshot!(refused(&scene, 2, &[]), @r#"
    error: DIR/job.toml, line 2: vocabulary.k: expected a whole number, found the text "fifty"
      2 | k = "fifty"
        |     ^^^^^^^
    "#);
}

#[test]
fn an_instruction_set_that_the_machine_lacks_is_refused_with_those_it_has() {
    let scene = Scene::with(&good());
    let missing = Simd::ALL.into_iter().find(|simd| !simd.is_available());
    let missing = missing.expect("no machine has both Arm's and x86's");
    let said = refused(&scene, 2, &[&format!("run.simd = '{missing}'")]);
    let expected = format!("error: run.simd: this machine does not have \"{missing}\"\n");
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("it has: portable"), "{said}");
    assert_snapshot!(refused(&scene, 2, &["run.simd = 'avx3'"]), @r#"
    error: run.simd: "avx3" is not known
      help: did you mean "avx2"? It can be "auto", "portable", "neon", "avx2", "avx512" or "vnni"
    "#);
}

#[test]
fn values_out_of_range_are_refused() {
    let scene = Scene::with(&good());
    let sets = [
        "vocabulary.k = 0",
        "patches.size = [0, 3]",
        "patches.stride = 0",
        "sample.per_image = 1.5",
        "sample.per_image = 0.0",
        "sample.every = 0",
        "input.max_bad = 2.0",
        "run.threads = -1",
    ];
    let said: Vec<String> = sets.iter().map(|set| refused(&scene, 2, &[set])).collect();
    assert_snapshot!(said.join("\n"), @"
    error: vocabulary.k: 0 is not possible
      help: give a whole number from 1 to 1000000

    error: patches.size: 0 is not possible
      help: give a whole number from 1 to 1024

    error: patches.stride: 0 is not possible
      help: give a whole number from 1 to 65535

    error: sample.per_image: 1.5 is neither a share of an image's patches nor a number of them
      help: give a share above 0.0 and at most 1.0, or a whole number of at least 1

    error: sample.per_image: 0.0 is neither a share of an image's patches nor a number of them
      help: give a share above 0.0 and at most 1.0, or a whole number of at least 1

    error: sample.every: 0 is not possible
      help: give a whole number of at least 1

    error: input.max_bad: 2.0 is not a share
      help: give a share from 0.0 to 1.0, or a whole number of images

    error: run.threads: -1 is not possible
      help: give a whole number from 0 to 256
    ");
}

#[test]
fn what_a_later_version_will_do_is_refused_and_not_ignored() {
    let scene = Scene::with(&good());
    assert_snapshot!(refused(&scene, 2, &["output.layout = 'wide'"]), @r#"
    error: output.layout: "wide" is asked for, and this version of bovw does not have it yet
      help: this version has "fixed_size_list"
    "#);
}

#[test]
fn too_little_memory_is_refused_with_what_to_give() {
    let scene = Scene::with(&good());
    let sets = ["vocabulary.k = 100000", "run.memory = '32MiB'"];
    assert_snapshot!(refused(&scene, 2, &sets), @"
    error: run.memory: 32.0 MiB is not enough, the job needs 312.0 MiB
      help: give at least 313MiB; most of it, 301.0 MiB, goes to k-means; a lower vocabulary.k, vocabulary.max_iter or run.threads needs less
    ");
    let endless = format!("vocabulary.n_init = {}", i64::MAX);
    assert!(refused(&scene, 2, &[&endless]).starts_with("error: run.memory: "));
    assert_snapshot!(refused(&scene, 2, &["run.memory = '1MiB'"]), @r#"
    error: run.memory: "1MiB" is too little to work in
      help: give at least 16MiB
    "#);
}

// ---- The files

#[test]
fn a_glob_that_matches_no_file_is_named() {
    let scene = Scene::new();
    assert_snapshot!(refused(&scene, 2, &[]), @r#"
    error: input.files: no file matches "DIR/data/*.parquet"
      help: paths are relative to the job file; `bovw import` makes shards from images, CSV or IDX
    "#);
}

#[test]
fn each_glob_must_match_a_file() {
    let scene = Scene::with(&good());
    let sets = ["input.files = ['data/*.parquet', 'date/*.parquet']"];
    assert_snapshot!(refused(&scene, 2, &sets), @r#"
    error: input.files: no file matches "DIR/date/*.parquet"
      help: paths are relative to the job file; `bovw import` makes shards from images, CSV or IDX
    "#);
}

#[test]
fn globs_may_match_the_same_files() {
    let scene = Scene::with(&good());
    scene
        .run(&["input.files = ['data/*.parquet', 'data/a.parquet']"])
        .ok();
    assert_eq!(scene.features("a").n_patches().len(), 12);
}

#[test]
fn a_file_of_no_bytes_is_named() {
    let scene = Scene::with(&good());
    scene.file("data/b.parquet", "");
    assert_snapshot!(refused(&scene, 1, &[]), @"error: DIR/data/b.parquet: is empty (0 bytes), so it is not a Parquet file");
}

#[test]
fn a_shard_of_no_rows_is_named() {
    let empty = Shard::new().column("image", image_structs(Vec::new()));
    let scene = Scene::with(&good()).and("data/b.parquet", &empty);
    assert_snapshot!(refused(&scene, 1, &[]), @"
    error: DIR/data/b.parquet: has no rows
      help: remove it, or leave it out of input.files
    ");
}

#[test]
fn no_rows_in_all_are_an_error() {
    let empty = Shard::new().column("image", image_structs(Vec::new()));
    let scene = Scene::with(&empty).and("data/b.parquet", &empty);
    assert_snapshot!(refused(&scene, 1, &[]), @"
    error: DIR/data/a.parquet: has no rows
      help: remove it, or leave it out of input.files
    ");
}

#[test]
fn what_is_no_parquet_file_is_named() {
    let scene = Scene::with(&good());
    scene.file(
        "data/b.parquet",
        "PNG? No, a few words that are longer than a footer.",
    );
    assert_snapshot!(refused(&scene, 1, &[]), @"
    error: DIR/data/b.parquet: is not a Parquet file: it does not start with PAR1
      help: make shards from images, CSV or IDX with `bovw import`, or narrow input.files
    ");
}

#[test]
fn a_folder_called_like_a_shard_is_passed_over() {
    let scene = Scene::with(&good());
    fs::create_dir_all(scene.path("data/b.parquet")).unwrap();
    scene.run(&[]).ok();
}

#[test]
fn a_truncated_file_is_named() {
    let scene = Scene::with(&good());
    let whole = good().bytes();
    scene.file("data/b.parquet", &whole[..whole.len() - 10]);
    assert_snapshot!(refused(&scene, 1, &[]), @"
    error: DIR/data/b.parquet: is a Parquet file without its end: truncated, or still being written
      help: copy or make it again
    ");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let shard = good().column("label", numbers()).row_groups_of(5);
    let whole = shard.bytes();
    let scene = Scene::new();
    for length in (0..whole.len()).step_by(97) {
        scene.file("data/a.parquet", &whole[..length]);
        refused(&scene, 1, &[]);
        let path = scene.path("data/a.parquet");
        scene.bovw(&["inspect", path.to_str().unwrap()]).exited(1);
    }
}

#[test]
fn a_file_whose_name_is_no_utf8_is_inspected_as_json() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir
        .path()
        .join(std::ffi::OsStr::from_bytes(b"\xff.parquet"));
    if fs::write(&path, good().bytes()).is_err() {
        return; // This file system only has UTF-8 names.
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bovw"))
        .args(["inspect", "--json"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["kind"], "image shard");
}

/// Flips one byte at a time; each run ends by itself, in order.
fn flip_bytes(shard: &Shard, sets: &[&str]) {
    const FLIPS: usize = 250;
    let whole = shard.bytes();
    let step = whole.len().div_ceil(FLIPS);
    for position in (0..whole.len()).step_by(step) {
        let mut flipped = whole.clone();
        flipped[position] ^= [0x01, 0x80, 0xff][position / step % 3];
        let scene = Scene::new();
        let path = scene.file("data/a.parquet", &flipped);
        let inspect = ["inspect".to_owned(), path.display().to_string()];
        for args in [scene.run_args(sets), inspect.to_vec()] {
            let start = std::time::Instant::now();
            let ended = scene.bovw(&args);
            let seconds = start.elapsed().as_secs_f64();
            let code = ended.code.unwrap_or(-1);
            let at = format!("byte {position} of {}: {ended:?}", whole.len());
            assert!(
                (0..=2).contains(&code) && seconds < 20.0,
                "{seconds} s, {at}"
            );
            for mark in ["panicked", "internal error", "RUST_BACKTRACE"] {
                assert!(!ended.stderr.contains(mark), "{at}");
            }
        }
        assert_no_temporary_files(&scene);
    }
}

#[test]
fn flipped_bytes_of_plain_pages_never_crash() {
    flip_bytes(&good().column("label", numbers()).row_groups_of(5), &[]);
}

#[test]
fn flipped_bytes_of_compressed_pages_never_crash() {
    flip_bytes(&good().compression(zstd()), &["run.io = 'read'"]);
}

#[test]
fn flipped_bytes_of_lists_and_strings_never_crash() {
    let pixels = pictures(12, 8, 8).into_iter().flat_map(GrayImage::into_raw);
    let lists = lists(Arc::new(pixels.collect::<UInt8Array>()));
    let names = (0..12).map(|i| Some(["red", "green", "blue"][i % 3]));
    let shard = Shard::new()
        .column("image", lists)
        .column("label", Arc::new(names.collect::<StringArray>()))
        .compression(Compression::SNAPPY);
    flip_bytes(&shard, &[]);
}

fn lists(values: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(item, 64, values, None))
}

/// Everything that a run does with an input file, without a run: checks it, reads it, decodes it.
fn read_all(scene: &Scene) -> bovw::Result<usize> {
    let job = Job::load(&scene.path("job.toml"), &[], &Overrides::default())?;
    let plan = Plan::new(&job)?;
    let input = &plan.input;
    let shard = bovw::shard::read::Shard::open(&input.shards[0].path, Io::Read)?;
    let mut n_good = 0;
    for row_group in 0..shard.n_row_groups() {
        let mut reader = shard.read_row_group(row_group, &input.wanted(), 4)?;
        while let Some(batch) = reader.next_batch() {
            let (_, batch) = batch?;
            let images = ImageRows::new(&batch, &input.image, &shard.path().into())?;
            let sizes = (0..batch.num_rows()).map(|row| images.size(row).decode_bytes);
            assert!(sizes.sum::<u64>() < 1 << 40);
            n_good += (0..batch.num_rows())
                .filter(|&row| images.get(row).is_ok())
                .count();
        }
    }
    Ok(n_good)
}

#[test]
fn no_flipped_byte_at_all_makes_reading_panic() {
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["one", "two", "one"]));
    let shard = Shard::hugging_face(&pictures(3, 8, 8)).column("label", labels);
    let scene = Scene::new();
    for shard in [shard.clone(), shard.compression(zstd())] {
        let whole = shard.bytes();
        for position in 0..whole.len() {
            for mask in [0x01, 0x10, 0x80, 0xff] {
                let mut flipped = whole.clone();
                flipped[position] ^= mask;
                scene.file("data/a.parquet", &flipped);
                let read = std::panic::catch_unwind(AssertUnwindSafe(|| read_all(&scene)));
                let at = || format!("byte {position} of {}, mask {mask:#x}", whole.len());
                assert!(read.is_ok(), "{}", at());
            }
        }
    }
}

#[test]
fn names_may_have_spaces_and_characters_of_globs() {
    let scene = Scene::in_folder("my [job] * folder?");
    let scene = scene.and("data/one [1] {x} ?.parquet", &good());
    scene.run(&[]).ok();
    assert_eq!(scene.features("one [1] {x} ?").n_patches().len(), 12);
    let again = scene.run(&[]).ok();
    assert!(again.stdout.starts_with("Nothing to do"), "{again:?}");
}

#[test]
fn a_broken_glob_is_an_error() {
    let scene = Scene::with(&good());
    assert_snapshot!(refused(&scene, 2, &["input.files = ['data/[.parquet']"]), @r#"
    error: input.files: "data/[.parquet" is not a glob: invalid range pattern
      help: a bracket that belongs to a name is written [[] or []]
    "#);
}

// ---- The columns

#[test]
fn missing_columns_are_named_with_those_that_are_there() {
    let scene = Scene::with(&good().column("label", numbers()));
    let sets = [
        "input.image = 'picture'",
        "input.label = 'class'",
        "input.keep = ['id']",
    ];
    let said: Vec<String> = sets.iter().map(|set| refused(&scene, 1, &[set])).collect();
    assert_snapshot!(said.join("\n"), @r#"
    error: DIR/data/a.parquet: has no column "picture", which input.image names
      help: columns are "image", "label"

    error: DIR/data/a.parquet: has no column "class", which input.label names
      help: columns are "image", "label"

    error: DIR/data/a.parquet: has no column "id", which input.keep names
      help: columns are "image", "label"
    "#);
}

#[test]
fn a_shard_without_images_is_an_error() {
    let scene = Scene::with(&Shard::new().column("label", numbers()));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/a.parquet: no column holds images
        "label": its type is Int64
      help: name it with input.image, and raw pixels' size with input.shape
    "#);
}

#[test]
fn a_column_that_cannot_hold_images_is_refused() {
    let scene = Scene::with(&good().column("label", numbers()));
    assert_snapshot!(refused(&scene, 1, &["input.image = 'label'"]), @r#"
    error: DIR/data/a.parquet, column "label": cannot hold images: its type is Int64
      help: columns are "image", "label"
    "#);
}

#[test]
fn a_kept_column_called_like_one_of_ours_is_refused() {
    let scene = Scene::with(&good().column("features", numbers()));
    assert_snapshot!(refused(&scene, 2, &["input.keep = ['features']"]), @r#"
    error: input.keep: "features" is the name of an output column of bovw
      help: rename the column in the input
    "#);
    let scene = Scene::with(&good().column("n_patches", numbers()));
    assert_snapshot!(refused(&scene, 2, &["input.label = 'n_patches'"]), @r#"
    error: input.label: "n_patches" is the name of an output column of bovw
      help: rename the column in the input
    "#);
}

#[test]
fn a_later_file_without_a_column_is_named() {
    let scene = Scene::with(&good().column("label", numbers())).and("data/b.parquet", &good());
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/b.parquet, column "label": is missing, though DIR/data/a.parquet has it
      help: all files of a job must have the same columns
    "#);
}

#[test]
fn a_later_file_without_the_images_is_named() {
    let other = Shard::new().column("picture", image_structs(pngs(&pictures(12, 8, 8))));
    let scene = Scene::with(&good()).and("data/b.parquet", &other);
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/b.parquet, column "image": is missing, though DIR/data/a.parquet has it
      help: all files of a job must have the same columns
    "#);
}

#[test]
fn a_later_file_with_another_type_is_named() {
    let words: ArrayRef = Arc::new(StringArray::from(vec!["one"; 12]));
    let scene = Scene::with(&good().column("label", numbers()))
        .and("data/b.parquet", &good().column("label", words));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/b.parquet, column "label": is Utf8, but Int64 in DIR/data/a.parquet
      help: all files of a job must have the same columns
    "#);
    let scene = Scene::with(&good()).and("data/b.parquet", &Shard::raw(&pictures(12, 8, 8)));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/b.parquet, column "image": is FixedSizeBinary(64), but Binary in DIR/data/a.parquet
      help: all files of a job must have the same columns
    "#);
}

#[test]
fn two_image_columns_are_named() {
    let scene = Scene::with(&good().column("photo", image_structs(pngs(&pictures(12, 8, 8)))));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/a.parquet: several columns could hold the images: "image" and "photo"
      help: choose one, for example input.image = "image"
    "#);
}

#[test]
fn raw_pixels_that_are_no_square_need_a_shape() {
    let scene = Scene::with(&Shard::raw(&pictures(12, 6, 10)));
    let sets = [
        &[][..],
        &["input.shape = [6, 9]"],
        &["input.image = 'image'"],
    ];
    let said: Vec<String> = sets.iter().map(|sets| refused(&scene, 1, sets)).collect();
    assert_snapshot!(said.join("\n"), @r#"
    error: DIR/data/a.parquet: no column holds images
        "image": fixed-size binary of 60 values, which is no square; give input.shape
      help: name it with input.image, and raw pixels' size with input.shape

    error: DIR/data/a.parquet: no column holds images
        "image": fixed-size binary of 60 values, but input.shape 6x9 needs 54
      help: name it with input.image, and raw pixels' size with input.shape

    error: DIR/data/a.parquet, column "image": cannot hold images: fixed-size binary of 60 values, which is no square; give input.shape
      help: columns are "image"
    "#);
}

// ---- The images

#[test]
fn an_undecodable_image_is_named_by_file_row_group_and_row() {
    let png = pngs(&[picture(0, 8, 8)]).remove(0).unwrap();
    for (bytes, row) in [(&b"GIF? no, words"[..], 7), (&png[..40], 8), (b"", 11)] {
        let scene = Scene::with(&with_bad(row, Some(bytes)).row_groups_of(5));
        let said = refused(&scene, 1, &[]);
        let group = row / 5;
        let place = format!("DIR/data/a.parquet, column \"image\", row group {group}, row {row}: ");
        assert!(said.contains(&place), "{said}");
    }
    let scene = Scene::with(&with_bad(7, Some(b"GIF? no, words")).row_groups_of(5));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/a.parquet, column "image", row group 1, row 7: bad image: not an image of a known format
      help: input.on_bad_image = "zero" keeps such rows with a zero vector, "drop" leaves them out
    "#);
    let scene = Scene::with(&with_bad(8, Some(&png[..40])).row_groups_of(5));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/a.parquet, column "image", row group 1, row 8: bad image: cannot be decoded: unexpected end of file
      help: input.on_bad_image = "zero" keeps such rows with a zero vector, "drop" leaves them out
    "#);
}

#[test]
fn a_null_image_is_a_bad_one() {
    let scene = Scene::with(&with_bad(3, None));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/a.parquet, column "image", row group 0, row 3: bad image: the image is null
      help: input.on_bad_image = "zero" keeps such rows with a zero vector, "drop" leaves them out
    "#);
}

#[test]
fn an_image_smaller_than_the_patch_is_a_bad_one() {
    let png = pngs(&[picture(0, 2, 8)]).remove(0).unwrap();
    let scene = Scene::with(&with_bad(3, Some(&png)));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"
    error: DIR/data/a.parquet, column "image", row group 0, row 3: bad image: 2x8 pixels are too few for a 3x3 patch
      help: input.on_bad_image = "zero" keeps such rows with a zero vector, "drop" leaves them out
    "#);
}

#[test]
fn pixels_that_are_no_numbers_make_a_bad_image() {
    for (bad, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinite")] {
        let pixels = pictures(12, 8, 8).into_iter().flat_map(GrayImage::into_raw);
        let mut pixels: Vec<f32> = pixels.map(f32::from).collect();
        pixels[3 * 64 + 5] = bad;
        let scene =
            Scene::with(&Shard::new().column("image", lists(Arc::new(Float32Array::from(pixels)))));
        let said = refused(&scene, 1, &[]);
        assert!(
            said.contains(&format!("row 3: bad image: pixel 5 is {word}")),
            "{said}"
        );
    }
}

#[test]
fn colour_after_a_grey_first_image_is_a_bad_image_where_the_first_decides() {
    let mut column = pngs(&pictures(12, 8, 8));
    let color = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, 200]));
    column[7] = Some(common::encoded(color, image::ImageFormat::Png));
    let scene = Scene::with(&Shard::new().column("image", image_structs(column)));
    assert_snapshot!(refused(&scene, 1, &["input.color = 'auto'"]), @r#"
    error: DIR/data/a.parquet, column "image", row group 0, row 7: bad image: the image is in colour, and the job's are grey, as its first one is; set input.color = "grey" or "rgb"
      help: input.on_bad_image = "zero" keeps such rows with a zero vector, "drop" leaves them out
    "#);
    fs::remove_dir_all(scene.path("out")).unwrap();
    scene.run(&["input.color = 'grey'"]).ok();
}

#[test]
fn a_colour_that_nothing_decides_is_asked_for() {
    let bad = vec![Some(b"words".to_vec()); 12];
    let scene = Scene::with(&Shard::new().column("image", image_structs(bad)));
    let sets = ["input.color = 'auto'", "input.on_bad_image = 'zero'"];
    assert_snapshot!(refused(&scene, 2, &sets), @r#"
    error: input.color: "auto" goes by the first good image, and none of the first rows holds one: not an image of a known format
      help: set it to "grey" or "rgb", or put a shard with good images first
    "#);
}

#[test]
fn a_size_that_holds_no_patch_and_a_colour_of_no_name_are_refused() {
    let scene = Scene::with(&good());
    assert_snapshot!(refused(&scene, 2, &["input.resize = 0"]), @"
    error: input.resize: 0 is not possible
      help: give a whole number from 1 to 65535
    ");
    assert_snapshot!(refused(&scene, 2, &["input.resize = 2"]), @"
    error: input.resize: images of at most 2 pixels a side are too small for a 3x3 patch
      help: give at least 3, or make patches.size smaller
    ");
    assert_snapshot!(refused(&scene, 2, &["input.color = 'RGB'"]), @r#"
    error: input.color: "RGB" is not known
      help: did you mean "rgb"? It can be "grey", "rgb", "auto" or "grey-only"
    "#);
}

#[test]
fn one_bad_image_that_is_not_sampled_is_found_while_featurizing() {
    let scene = Scene::with(&with_bad(5, Some(b"words")));
    let said = failed(&scene, 1, &["sample.every = 4"]);
    assert!(said.contains("row 5"), "{said}");
    assert!(scene.files("out/features").is_empty());
}

// ---- The words

#[test]
fn more_words_than_sampled_patches_are_refused() {
    let scene = Scene::with(&good());
    assert_snapshot!(refused(&scene, 2, &["vocabulary.k = 1000"]), @"
    error: vocabulary.k: 1000 words cannot be learned from 324 sampled patches
      help: lower vocabulary.k, or sample more patches: sample.every, sample.per_image
    ");
}

#[test]
fn more_words_than_different_patches_are_refused() {
    let blank = vec![GrayImage::new(8, 8); 12];
    let scene = Scene::with(&Shard::hugging_face(&blank));
    assert_snapshot!(refused(&scene, 2, &[]), @"
    error: vocabulary.k: 8 words cannot be learned from 324 sampled patches, of which only 1 differ
      help: lower vocabulary.k, or sample more patches: sample.every, sample.per_image
    ");
}

#[test]
fn blank_images_are_counted_as_zeros() {
    let mut all = pictures(11, 8, 8);
    all.push(GrayImage::new(8, 8));
    let scene = Scene::with(&Shard::hugging_face(&all));
    scene.run(&[]).ok();
    let vector = scene.features("a").vectors().pop().unwrap();
    let mut counts: Vec<f32> = vector.into_iter().filter(|&count| count > 0.0).collect();
    assert_eq!(counts.pop(), Some(36.0));
    assert!(counts.is_empty());
}

/// A vocabulary of three words for patches of this size.
fn words(height: u32, width: u32, value: f32) -> Vocabulary {
    let d = (height * width) as usize;
    let mut centroids: Vec<f32> = (0..3 * d).map(|i| i as f32 / 10.0).collect();
    centroids[d] = value;
    Vocabulary {
        whitening: None,
        documents: None,
        preparation: Preparation {
            patch: PatchShape {
                height,
                width,
                channels: 1,
            },
            normalize: Normalize::Image,
            whiten: None,
        },
        centroids,
        counts: vec![3, 2, 1],
        inertia: vec![0.5; 3],
    }
}

/// A job that uses `words.parquet`.
const FROM: &str = "\
[input]
files = [\"data/*.parquet\"]
[patches]
size = [3, 3]
[vocabulary]
from = \"words.parquet\"
[output]
dir = \"out\"
";

fn scene_from() -> Scene {
    let scene = Scene::with(&good());
    scene.file("job.toml", FROM);
    scene
}

#[test]
fn a_vocabulary_of_other_patches_is_refused() {
    let scene = scene_from();
    let path = scene.path("words.parquet");
    vocabulary::write(&path, &words(4, 3, 0.0), &serde_json::json!({})).unwrap();
    assert_snapshot!(refused(&scene, 2, &[]), @"
    error: vocabulary.from: its words were learned with patches.size = [4, 3], the job has [3, 3]
      help: set patches.size = [4, 3], or learn another one
    ");
    vocabulary::write(&path, &words(3, 3, 0.0), &serde_json::json!({})).unwrap();
    assert_snapshot!(refused(&scene, 2, &["patches.normalize = 'none'"]), @r#"
    error: vocabulary.from: its words were learned with patches.normalize = "image", the job has "none"
      help: set patches.normalize = "image", or learn another one
    "#);
    scene.run(&[]).ok();
}

#[test]
fn vocabularies_out_of_their_place_are_refused() {
    let scene = scene_from();
    for (height, name) in [(3, "words"), (5, "more")] {
        let path = scene.path(&format!("{name}.parquet"));
        vocabulary::write(&path, &words(height, 3, 0.0), &serde_json::json!({})).unwrap();
    }
    let sizes = "patches.size = [[3, 3], [5, 3]]";
    let turned = "vocabulary.from = ['more.parquet', 'words.parquet']";
    assert_snapshot!(refused(&scene, 2, &[sizes, turned]));
    let twice = "vocabulary.from = ['words.parquet', 'words.parquet']";
    assert_snapshot!(refused(
        &scene,
        2,
        &[sizes, twice, "patches.normalize = 'none'"]
    ));
    let right = "vocabulary.from = ['words.parquet', 'more.parquet']";
    assert_snapshot!(refused(
        &scene,
        2,
        &[sizes, right, "features.weighting = 'tf-idf'"]
    ));
    scene.run(&[sizes, right]).ok();
    let named: Vec<String> = scene.results("out").into_keys().collect();
    assert_eq!(
        named,
        [
            "features/a.parquet",
            "vocabulary-3x3.parquet",
            "vocabulary-5x3.parquet"
        ]
    );
}

#[test]
fn an_image_that_one_size_does_not_fit_into_is_a_bad_one() {
    let scene = Scene::with(&good());
    let sizes = "patches.size = [[3, 3], [9, 2]]";
    assert_snapshot!(failed(&scene, 1, &[sizes]));
    let cells = "features.pooling = [4, 4]";
    assert_snapshot!(failed(
        &scene,
        1,
        &[
            "patches.size = [[3, 3], [7, 2]]",
            cells,
            "output.dir = 'other'"
        ]
    ));
}

#[test]
fn a_vocabulary_of_another_colour_is_refused() {
    let scene = scene_from();
    let path = scene.path("words.parquet");
    vocabulary::write(&path, &words(3, 3, 0.0), &serde_json::json!({})).unwrap();
    assert_snapshot!(refused(&scene, 2, &["input.color = 'rgb'", "patches.size = [4, 3]"]), @r#"
    error: vocabulary.from: its words were learned with patches.size = [3, 3], the job has [4, 3]; and with input.color = "grey", the job has "rgb"
      help: set patches.size = [3, 3] and set input.color = "grey", or learn another one
    "#);
    let mut colored = words(3, 9, 0.0);
    colored.preparation.patch = PatchShape {
        height: 3,
        width: 3,
        channels: 3,
    };
    vocabulary::write(&path, &colored, &serde_json::json!({})).unwrap();
    assert_snapshot!(refused(&scene, 2, &["input.color = 'auto'"]), @r#"
    error: vocabulary.from: its words were learned with input.color = "rgb", the job has "grey"
      help: set input.color = "rgb", or learn another one
    "#);
    scene.run(&["input.color = 'rgb'"]).ok();
}

#[test]
fn a_vocabulary_that_is_none_is_refused() {
    let scene = scene_from();
    assert_snapshot!(refused(&scene, 2, &[]), @r"
    error: vocabulary.from: there is no DIR/words.parquet
      help: paths are relative to the job file; a run leaves its words in vocabulary.parquet
    ");
    good().write(&scene.path("words.parquet"));
    assert_snapshot!(refused(&scene, 1, &[]), @r#"error: DIR/words.parquet: is not a vocabulary: its footer has no key "bovw.vocabulary""#);
}

#[test]
fn a_damaged_vocabulary_is_refused() {
    let scene = scene_from();
    let path = scene.path("words.parquet");
    vocabulary::write(&path, &words(3, 3, f32::NAN), &serde_json::json!({})).unwrap();
    assert_snapshot!(refused(&scene, 1, &[]), @"error: DIR/words.parquet: is a damaged vocabulary: word 1 has a value that is not finite");
    vocabulary::write(&path, &words(3, 3, 0.0), &serde_json::json!({})).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97) {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&scene, 1, &[]);
    }
    for position in (0..whole.len()).step_by(23) {
        let mut flipped = whole.clone();
        flipped[position] ^= 0xff;
        fs::write(&path, &flipped).unwrap();
        let ended = scene
            .bovw(&["inspect", path.to_str().unwrap()])
            .without_panic();
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        let plan = scene.bovw(&["plan", scene.path("job.toml").to_str().unwrap()]);
        let plan = plan.without_panic();
        assert!(matches!(plan.code, Some(0..=2)), "{plan:?}");
    }
}

// ---- The output

#[test]
fn what_a_run_that_was_killed_left_half_written_is_in_nobodys_way() {
    let scene = Scene::with(&good());
    let half = scene.file("out/features/.bovw-tmp-half", b"half a file");
    let mut fresh = scene.run_args(&[]);
    fresh.push("--fresh".to_owned());
    scene.bovw(&fresh).ok();
    assert!(!half.exists());
}

#[test]
fn the_output_of_another_job_is_not_written_over() {
    let scene = Scene::with(&good());
    scene.run(&[]).ok();
    let before = scene.files("out");
    let other = ["vocabulary.k = 9", "patches.stride = 2", "run.threads = 1"];
    assert_snapshot!(failed(&scene, 4, &other), @"
    error: DIR/out: holds the output of a different job:
        patches.stride: 1 -> 2
        vocabulary.k: 8 -> 9
      help: choose another output.dir, or start over with --fresh
    ");
    assert_eq!(scene.files("out"), before);
}

#[test]
fn an_input_with_another_footer_is_another_one_even_of_the_same_size_and_time() {
    let scene = Scene::with(&good());
    scene.run(&[]).ok();
    let input = scene.path("data/a.parquet");
    let time = fs::metadata(&input).unwrap().modified().unwrap();
    // The name of whoever wrote it stands in the footer, and nowhere else.
    let mut bytes = fs::read(&input).unwrap();
    let writer = bytes
        .windows(7)
        .rposition(|name| name == b"parquet")
        .unwrap();
    bytes[writer] = b'q';
    fs::write(&input, bytes).unwrap();
    fs::File::open(&input).unwrap().set_modified(time).unwrap();
    let said = failed(&scene, 4, &[]);
    assert!(said.contains("inputs that have changed since"), "{said}");
}

#[test]
fn the_output_of_other_inputs_is_not_written_over() {
    let scene = Scene::with(&good());
    scene.run(&[]).ok();
    let before = scene.files("out");
    let scene = scene.and("data/a.parquet", &Shard::hugging_face(&pictures(13, 8, 8)));
    assert_snapshot!(failed(&scene, 4, &[]), @"
    error: DIR/out: was made from inputs that have changed since: data/a.parquet
      help: choose another output.dir, or start over with --fresh
    ");
    let scene = scene
        .and("data/a.parquet", &good())
        .and("data/b.parquet", &good());
    let said = failed(&scene, 4, &[]);
    assert!(said.contains("data/"), "{said}");
    assert_eq!(scene.files("out"), before);
}

#[test]
fn results_that_are_not_ours_are_not_written_over() {
    let scene = Scene::with(&good());
    scene.file("out/features/a.parquet", "mine");
    assert_snapshot!(failed(&scene, 4, &[]), @r#"
    error: DIR/out: has a "features" that is not of a run of bovw
      help: choose another output.dir, or move it away
    "#);
    assert_eq!(
        fs::read(scene.path("out/features/a.parquet")).unwrap(),
        b"mine"
    );
    let args = [scene.run_args(&[]), vec!["--fresh".to_owned()]].concat();
    scene.bovw(&args).exited(4);
    assert_eq!(
        fs::read(scene.path("out/features/a.parquet")).unwrap(),
        b"mine"
    );
}

#[test]
fn a_manifest_that_is_not_ours_is_not_written_over() {
    let scene = Scene::with(&good());
    scene.file("out/manifest.json", "{\"name\": \"a web app\"}");
    assert_snapshot!(failed(&scene, 4, &[]), @r#"
    error: DIR/out: has a "manifest.json" that is not of this version of bovw: missing field `format` at line 1 column 21
      help: choose another output.dir, or move it away
    "#);
}

#[test]
fn other_files_in_the_output_folder_stay() {
    let scene = Scene::with(&good());
    scene.file("out/notes.txt", "mine");
    scene.run(&[]).ok();
    let args = [scene.run_args(&[]), vec!["--fresh".to_owned()]].concat();
    scene.bovw(&args).ok();
    assert_eq!(fs::read(scene.path("out/notes.txt")).unwrap(), b"mine");
}

#[test]
fn an_output_below_a_file_is_an_error() {
    let scene = Scene::with(&good());
    scene.file("out", "a file");
    assert_snapshot!(refused(&scene, 1, &[]), @"
    error: DIR/out: cannot create the folder: File exists (os error 17)
      help: a file is in the way: move it, or choose another folder
    ");
    assert_snapshot!(refused(&scene, 1, &["output.dir = 'out/deep'"]), @"
    error: DIR/out/deep: cannot create the folder: Not a directory (os error 20)
      help: a file is in the way: move it, or choose another folder
    ");
}

#[test]
fn a_read_only_output_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::with(&good());
    fs::create_dir(scene.path("out")).unwrap();
    fs::set_permissions(scene.path("out"), fs::Permissions::from_mode(0o555)).unwrap();
    if File::create(scene.path("out/probe")).is_ok() {
        // Permissions mean nothing to root.
        return;
    }
    let said = refused(&scene, 1, &[]);
    assert!(said.contains("choose another output.dir"), "{said}");
}

#[test]
fn an_output_that_the_next_run_would_read_is_refused() {
    let scene = Scene::with(&good());
    assert_snapshot!(refused(&scene, 2, &["output.dir = 'data'"]), @"
    error: output.dir: results in DIR/data would be found by the glob DIR/data/*.parquet of input.files when the job is run again
      help: choose a folder outside, or narrow the glob
    ");
    let sets = ["input.files = ['**/*.parquet']"];
    assert_snapshot!(refused(&scene, 2, &sets), @"
    error: output.dir: results in DIR/out would be found by the glob DIR/**/*.parquet of input.files when the job is run again
      help: choose a folder outside, or narrow the glob
    ");
    assert!(!scene.path("out").exists());
}

#[test]
fn a_folder_where_another_run_is_at_work_is_left_alone() {
    let scene = Scene::with(&good());
    let lock = File::create(scene.file("out/.bovw-lock", "")).unwrap();
    lock.lock().unwrap();
    assert_snapshot!(refused(&scene, 4, &[]), @"
    error: DIR/out: another run of bovw is at work in it
      help: wait until it has ended, or choose another output.dir
    ");
    lock.unlock().unwrap();
    scene.run(&[]).ok();
}

// ---- on_bad_image

/// Twelve rows with ids; rows 2 (words), 5 (null) and 9 (too small) are bad.
fn three_bad() -> Shard {
    let mut column = pngs(&pictures(12, 8, 8));
    column[2] = Some(b"words".to_vec());
    column[5] = None;
    column[9] = pngs(&[picture(0, 2, 2)]).remove(0);
    Shard::new()
        .column("image", image_structs(column))
        .column("id", numbers())
        .row_groups_of(5)
}

fn ids(scene: &Scene) -> Vec<i64> {
    use arrow::array::AsArray;
    let column = scene.features("a").column("id");
    let ids = column.as_primitive::<arrow::datatypes::Int64Type>();
    ids.values().to_vec()
}

fn bad_images(scene: &Scene) -> String {
    let manifest = scene.manifest();
    let listed = manifest["bad_images"].as_array().unwrap();
    let lines: Vec<String> = listed.iter().map(ToString::to_string).collect();
    let counts = &manifest["counts"];
    let text = format!("{}\n{}", lines.join("\n"), counts);
    scene.without_dir(text.as_bytes())
}

#[test]
fn zero_keeps_bad_rows_with_a_zero_vector_and_says_why() {
    let scene = Scene::with(&three_bad());
    scene
        .run(&["input.on_bad_image = 'zero'", "input.keep = ['id']"])
        .ok();
    let table = scene.features("a");
    assert_eq!(ids(&scene), (0..12).collect::<Vec<i64>>());
    let status = table.strings("status");
    for (row, vector) in table.vectors().iter().enumerate() {
        let is_bad = [2, 5, 9].contains(&row);
        let n_patches = if is_bad { 0 } else { 36 };
        assert_eq!(table.n_patches()[row], n_patches);
        assert_eq!(vector.iter().sum::<f32>().round() as i32, n_patches);
        assert_eq!(status[row].is_some(), is_bad);
    }
    let reasons: Vec<String> = status.into_iter().flatten().collect();
    assert_snapshot!(reasons.join("\n"), @"
    not an image of a known format
    the image is null
    2x2 pixels are too few for a 3x3 patch
    ");
    assert_snapshot!(bad_images(&scene), @r#"
    {"file":"data/a.parquet","row":2,"reason":"not an image of a known format"}
    {"file":"data/a.parquet","row":5,"reason":"the image is null"}
    {"file":"data/a.parquet","row":9,"reason":"2x2 pixels are too few for a 3x3 patch"}
    {"images":12,"patches":324,"decided_again":2,"bad_images":3,"rows":12,"words":8,"values":8}
    "#);
}

#[test]
fn drop_leaves_bad_rows_out_and_lists_them() {
    let scene = Scene::with(&three_bad());
    let ended = scene
        .run(&["input.on_bad_image = 'drop'", "input.keep = ['id']"])
        .ok();
    assert_eq!(ids(&scene), [0, 1, 3, 4, 6, 7, 8, 10, 11]);
    let table = scene.features("a");
    assert_eq!(table.names(), ["id", "features", "n_patches"]);
    assert_eq!(table.n_patches(), [36; 9]);
    assert_snapshot!(bad_images(&scene), @r#"
    {"file":"data/a.parquet","row":2,"reason":"not an image of a known format"}
    {"file":"data/a.parquet","row":5,"reason":"the image is null"}
    {"file":"data/a.parquet","row":9,"reason":"2x2 pixels are too few for a 3x3 patch"}
    {"images":12,"patches":324,"decided_again":2,"bad_images":3,"rows":9,"words":8,"values":8}
    "#);
    assert!(
        ended.stdout.contains("row 5: the image is null"),
        "{ended:?}"
    );
}

#[test]
fn every_bad_image_is_listed_however_many_there_are() {
    let mut column = pngs(&pictures(12, 8, 8));
    column.resize(2012, None);
    let scene = Scene::with(&Shard::new().column("image", image_structs(column)));
    scene.run(&["input.on_bad_image = 'drop'"]).ok();
    let list = fs::read_to_string(scene.path("out/bad_images/a.jsonl")).unwrap();
    let rows: Vec<u64> = list
        .lines()
        .map(|line| {
            let image: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(image["reason"], "the image is null");
            image["row"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(rows, (12..2012).collect::<Vec<u64>>());
    let manifest = scene.manifest();
    assert_eq!(manifest["counts"]["bad_images"], 2000);
    assert_eq!(manifest["counts"]["rows"], 12);
    assert_eq!(manifest["bad_images"].as_array().unwrap().len(), 1000);
    let outputs = manifest["outputs"].as_array().unwrap();
    assert!(
        outputs
            .iter()
            .any(|output| output["path"] == "bad_images/a.jsonl")
    );
    assert_no_temporary_files(&scene);
    // Starting over from good images alone takes the old list away.
    scene.file("data/a.parquet", "");
    good().write(&scene.path("data/a.parquet"));
    let args = [
        scene.run_args(&["input.on_bad_image = 'drop'"]),
        vec!["--fresh".to_owned()],
    ];
    scene.bovw(&args.concat()).ok();
    assert!(!scene.path("out/bad_images/a.jsonl").exists());
}

#[test]
fn bad_images_change_no_other_rows() {
    let vectors = |how: &str| {
        let scene = Scene::with(&three_bad());
        scene.run(&[how]).ok();
        scene.features("a").vectors()
    };
    let mut zero = vectors("input.on_bad_image = 'zero'");
    for row in [9, 5, 2] {
        assert_eq!(zero.remove(row), [0.0; 8]);
    }
    assert_eq!(zero, vectors("input.on_bad_image = 'drop'"));
}

#[test]
fn a_shard_of_bad_images_alone_is_written_without_rows() {
    let bad = Shard::new().column("image", image_structs(vec![None; 3]));
    let scene = Scene::with(&good()).and("data/b.parquet", &bad);
    scene.run(&["input.on_bad_image = 'drop'"]).ok();
    assert_eq!(scene.features("b").rows.num_rows(), 0);
    assert_eq!(scene.features("a").rows.num_rows(), 12);
}

#[test]
fn bad_images_alone_are_an_error_however_they_are_treated() {
    let bad = Shard::new().column("image", image_structs(vec![None; 3]));
    let scene = Scene::with(&bad);
    let sets = ["input.on_bad_image = 'zero'"];
    assert_snapshot!(refused(&scene, 1, &sets), @r#"
    error: none of the 3 images that were sampled gave a patch
      help: input.on_bad_image = "fail" shows what is wrong with the first; sample.per_image may be too small a share
    "#);
}

#[test]
fn more_bad_images_than_allowed_end_with_3_and_all_outputs() {
    for (max_bad, is_allowed) in [("2", false), ("3", true), ("0.2", false), ("0.25", true)] {
        let scene = Scene::with(&three_bad());
        let max_bad = format!("input.max_bad = {max_bad}");
        let sets = ["input.on_bad_image = 'zero'", &max_bad];
        for _ in ["at first", "when there is nothing to do"] {
            let ended = scene.run(&sets).exited(if is_allowed { 0 } else { 3 });
            assert_eq!(ended.stderr.is_empty(), is_allowed, "{ended:?}");
            assert_eq!(scene.features("a").rows.num_rows(), 12);
            assert_eq!(scene.manifest()["counts"]["bad_images"], 3);
        }
    }
    let scene = Scene::with(&three_bad());
    let sets = ["input.on_bad_image = 'zero'", "input.max_bad = 0.2"];
    assert_snapshot!(failed(&scene, 3, &sets), @"error: 3 of 12 images are bad, more than input.max_bad = 0.2 allows; DIR/out/bad_images lists them");
}

// ---- Again

#[test]
fn a_finished_job_has_nothing_to_do() {
    let scene = Scene::with(&good());
    scene.run(&[]).ok();
    let before = scene.files("out");
    let again = scene.run(&[]).ok();
    assert!(again.stdout.starts_with("Nothing to do"), "{again:?}");
    assert_eq!(scene.files("out"), before);
    // What changes no byte of the results makes no other job.
    scene.run(&["run.threads = 1", "run.io = 'read'"]).ok();
    assert_eq!(scene.files("out"), before);
}

#[test]
fn a_lost_output_is_made_again() {
    let scene = Scene::with(&good()).and("data/b.parquet", &good());
    scene.run(&[]).ok();
    let before = scene.results("out");
    fs::remove_file(scene.path("out/features/b.parquet")).unwrap();
    scene.run(&[]).ok();
    assert_eq!(scene.results("out"), before);
}

#[test]
fn fresh_starts_over() {
    let scene = Scene::with(&good()).and("data/b.parquet", &good());
    scene.run(&[]).ok();
    fs::remove_file(scene.path("data/b.parquet")).unwrap();
    failed(&scene, 4, &[]);
    let args = [
        scene.run_args(&["vocabulary.k = 5"]),
        vec!["--fresh".to_owned()],
    ]
    .concat();
    let ended = scene.bovw(&args).ok();
    assert!(ended.stdout.starts_with("Done"), "{ended:?}");
    let results: Vec<String> = scene.results("out").into_keys().collect();
    assert_eq!(results, ["features/a.parquet", "vocabulary.parquet"]);
    assert_eq!(scene.features("a").vectors()[0].len(), 5);
}

// ---- Interrupted

/// Shards that take a while.
fn long_scene() -> Scene {
    (0..6).fold(Scene::new(), |scene, shard| {
        let pictures: Vec<GrayImage> = (0..150).map(|i| picture(shard * 150 + i, 90, 90)).collect();
        scene.and(&format!("data/{shard}.parquet"), &Shard::raw(&pictures))
    })
}

/// With more images than fit into the batches in flight, which an interrupted run finishes.
const LONG: [&str; 6] = [
    "run.memory = '48MiB'",
    "vocabulary.k = 64",
    "vocabulary.algorithm = 'lloyd'",
    "vocabulary.max_iter = 40",
    "vocabulary.tol = 0.0",
    "sample.per_image = 100",
];

/// Starts a run, sends it a signal at the first event of this kind, and waits for its end: status and stderr.
fn stopped_at(scene: &Scene, event: &str, signal: &str) -> (Option<i32>, String) {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("bovw"))
        .args(scene.run_args(&LONG))
        .args(["--json", "--progress", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_wanted = |line: &str| line.contains(&format!("\"event\":\"{event}\""));
    assert!(events.any(|line| is_wanted(&line.unwrap())), "no {event}");
    let killed = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let status = child.wait().unwrap();
    let mut stderr = Vec::new();
    child.stderr.unwrap().read_to_end(&mut stderr).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("bovw").display().to_string();
    let stderr = scene.without_dir(&stderr).replace(&program, "bovw");
    (status.code(), stderr)
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let undisturbed = long_scene();
    undisturbed.run(&LONG).ok();
    let expected = undisturbed.results("out");
    assert_eq!(expected.len(), 7);

    let scene = long_scene();
    // While learning.
    let (code, stderr) = stopped_at(&scene, "sampled", "-INT");
    assert_eq!(code, Some(130), "{stderr}");
    assert_snapshot!(stderr, @r#"
    stopping; once more to stop at once
    interrupted; continue with: bovw run DIR/job.toml --set 'run.memory = '\''48MiB'\''' --set 'vocabulary.k = 64' --set 'vocabulary.algorithm = '\''lloyd'\''' --set 'vocabulary.max_iter = 40' --set 'vocabulary.tol = 0.0' --set 'sample.per_image = 100' --json --progress none
    "#);
    assert_no_temporary_files(&scene);
    assert!(scene.results("out").is_empty());
    // While featurizing.
    let (code, stderr) = stopped_at(&scene, "features", "-TERM");
    assert_eq!(code, Some(130), "{stderr}");
    assert_no_temporary_files(&scene);
    let done = scene.results("out");
    assert!((2..7).contains(&done.len()), "{:?}", done.keys());
    // And killed, so that it cannot clean up.
    let (code, _) = stopped_at(&scene, "started", "-KILL");
    assert_eq!(code, None);

    let ended = scene.run(&LONG).ok();
    assert!(ended.stdout.starts_with("Done"), "{ended:?}");
    assert_eq!(scene.results("out"), expected);
    assert_no_temporary_files(&scene);
}
