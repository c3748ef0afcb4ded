//! What a run leaves opens in readers that are older than the Parquet writer it was written with.

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Float64Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{ColumnOrder, Type};
use walkdir::WalkDir;

use common::{Scene, Shard, image_structs, pictures, pngs};

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    WalkDir::new(dir)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .collect()
}

#[test]
fn no_parquet_file_of_a_run_declares_an_order_that_was_unknown_before_2026() {
    let shard = Shard::new()
        .column("image", image_structs(pngs(&pictures(30, 12, 9))))
        .column("label", Arc::new(StringArray::from(vec!["one"; 30])))
        .column("weight", Arc::new(Float64Array::from(vec![-0.0; 30])));
    let scene = Scene::with(&shard);
    let sets = [
        "input.keep=[\"weight\"]",
        "features.weighting=\"tf-idf\"",
        "patches.size=[[3, 3], [5, 5]]",
        "cluster=[{of=\"pixels\", k=3, n_init=2}, {of=\"features\", k=3, n_init=2}]",
    ];
    scene.run(&sets).ok();
    let files = parquet_files(&scene.path("out"));
    // Features; a vocabulary and patches for each size; clusters and centroids for each clustering; images and moments.
    assert_eq!(files.len(), 1 + 2 + 2 + 4 + 2, "{files:#?}");
    let mut n_floats = 0;
    for path in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let file = reader.metadata().file_metadata();
        for (i, column) in file.schema_descr().columns().iter().enumerate() {
            n_floats += usize::from(matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE));
            let order = file.column_order(i);
            assert!(
                matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_)),
                "{} {}: {order}",
                path.display(),
                column.path()
            );
        }
    }
    assert!(n_floats > 20, "{n_floats}");
}
