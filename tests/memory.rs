//! Law 4 from outside: the process itself, as the system measures it, stays below `run.memory`.

mod common;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use common::{Scene, Shard, pictures};

/// The most anonymous memory that a run took, as its manifest tells.
fn peak_bytes(scene: &Scene, sets: &[&str]) -> u64 {
    scene.run(sets).ok();
    told(scene, "anonymous")
}

/// The most memory of one kind that the last run took, as its manifest tells.
fn told(scene: &Scene, kind: &str) -> u64 {
    scene.manifest()["run"]["process"][format!("peak_{kind}_bytes")]
        .as_u64()
        .expect("measured")
}

#[test]
fn large_images_and_many_threads_stay_below_the_ceiling() {
    let shard = Shard::hugging_face(&pictures(12, 1400, 1400));
    let scene = Scene::with(&shard);
    for threads in [1, 8] {
        let threads = format!("run.threads = {threads}");
        let sets = [
            threads.as_str(),
            "sample.per_image = 500",
            "run.memory = '64MiB'",
        ];
        let peak = peak_bytes(&scene, &sets);
        assert!(peak <= 64 << 20, "{threads}: {peak}");
        std::fs::remove_dir_all(scene.path("out")).expect("removed");
    }
}

#[test]
fn fat_columns_that_are_kept_stay_below_the_ceiling() {
    let n = 3000;
    let fat: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..n).map(|row| format!("{row} ").repeat(8000)),
    ));
    let shard = Shard::hugging_face(&pictures(n, 8, 8))
        .column("notes", fat)
        .row_groups_of(500);
    let scene = Scene::with(&shard);
    let peak = peak_bytes(&scene, &["input.keep = ['notes']", "run.memory = '192MiB'"]);
    assert!(peak <= 192 << 20, "{peak}");
}

/// A shard of one row group: raw images of 250x400 pixels, noise, in pages of about a MiB.
fn write_large_row_group(path: &Path, n_rows: u32, compression: Compression) {
    const IMAGE_BYTES: usize = 250 * 400;
    let field = Field::new("image", DataType::Binary, false);
    let schema = Arc::new(Schema::new(vec![field]));
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None)
        .set_write_batch_size(8)
        .build();
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).expect("a writer");
    let mut state = 1u64;
    for _ in 0..n_rows / 10 {
        let images = (0..10).map(|_| {
            let mut noise = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // Not quite random, so that compression has something to do.
                (state >> 60) as u8
            };
            (0..IMAGE_BYTES).map(|_| noise()).collect::<Vec<u8>>()
        });
        let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![images]).expect("rows");
        writer.write(&rows).expect("written");
    }
    writer.close().expect("closed");
}

#[test]
fn a_row_group_many_times_the_ceiling_is_read_in_pieces() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::SNAPPY,
    ] {
        let scene = Scene::new();
        std::fs::create_dir_all(scene.path("data")).expect("a folder");
        write_large_row_group(&scene.path("data/a.parquet"), 2500, compression);
        for io in ["mmap", "read"] {
            let io = format!("run.io = '{io}'");
            let sets = [
                io.as_str(),
                "input.shape = [250, 400]",
                "patches.stride = 32",
                "sample.every = 20",
                "run.memory = '32MiB'",
            ];
            let peak = peak_bytes(&scene, &sets);
            assert!(peak <= 32 << 20, "{compression:?}, {io}: {peak}");
            std::fs::remove_dir_all(scene.path("out")).expect("removed");
        }
    }
}

#[test]
fn the_heap_is_told_and_stays_below_the_ceiling() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(200, 100, 100)));
    scene.run(&["run.memory = '32MiB'"]).ok();
    let heap = told(&scene, "heap");
    // k-means of this job alone holds more than that.
    assert!((1 << 20..=32 << 20).contains(&heap), "{heap}");
}

#[test]
fn pages_of_a_mapped_shard_are_given_back_while_it_is_read() {
    let scene = Scene::new();
    let data = scene.path("data").display().to_string();
    let raw = "--images 150000 --encoding raw --shard-images 150000";
    let mut args = vec!["synth", "--out", &data];
    args.extend(raw.split(' '));
    scene.bovw(&args).ok();
    let size = scene.files("data").values().map(Vec::len).sum::<usize>() as u64;
    scene
        .run(&["sample.every = 1000", "run.memory = '32MiB'"])
        .ok();
    let mapped = told(&scene, "resident") - told(&scene, "anonymous");
    // The command's own code is mapped as well.
    assert!(mapped < 60 << 20 && size > 110 << 20, "{mapped} of {size}");
}

/// The least memory that a job is planned with, as its refusal says.
fn least_mib(scene: &Scene, sets: &[&str]) -> u64 {
    let said = scene.run(&[sets, &["run.memory = '16MiB'"]].concat());
    let said = said.exited(2).stderr;
    let (_, rest) = said.split_once("give at least ").expect("what to give");
    let (mib, _) = rest.split_once("MiB").expect("an amount");
    mib.parse().expect("a number")
}

#[test]
fn every_recipe_stays_below_the_least_ceiling_that_it_is_planned_with() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(60, 64, 64)).row_groups_of(10));
    let white = ["patches.normalize='patch'", "patches.whiten='zca'"];
    for features in [
        &["features.encoding='triangle'", "features.pooling=[2,2]"][..],
        &["features.encoding='soft'", "features.weighting='tf-idf'"],
        &[
            "features.encoding='vlad'",
            "features.weighting=['intra','l2']",
        ],
        &[
            "features.pooling=[[1,1],[4,4]]",
            "features.weighting='hellinger'",
        ],
    ] {
        let common = ["patches.size=[12,12]", "vocabulary.k=300", "run.threads=3"];
        let mut sets = [&common[..], features].concat();
        for prepared in [false, true] {
            if prepared {
                sets.extend(white);
            }
            let mib = least_mib(&scene, &sets);
            let memory = format!("run.memory='{mib}MiB'");
            let with_memory = [&sets[..], &[memory.as_str()]].concat();
            let peak = peak_bytes(&scene, &with_memory);
            assert!(peak <= mib << 20, "{sets:?}: {peak} of {mib} MiB");
            std::fs::remove_dir_all(scene.path("out")).expect("removed");
        }
    }
}
