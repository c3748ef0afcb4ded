//! `bovw evaluate` on files of anyone's.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
use common::{Scene, Shard};
use insta::assert_snapshot;
use serde_json::{Value, json};

const CSV: &str =
    "id,species,group\n1,cat,0\n2,cat,0\n3,dog,1\n4,\"ant, red\",1\n5,,1\n6,dog,\n7,dog,2.0\n";

/// `bovw evaluate` of these files of the scene, by the columns species and group.
fn arguments(scene: &Scene, files: &[&str], more: &[&str]) -> Vec<String> {
    let files = files
        .iter()
        .map(|file| scene.path(file).display().to_string());
    let mut arguments = vec!["evaluate".to_owned()];
    arguments.extend(files);
    let columns = ["--labels", "species", "--clusters", "group"];
    arguments.extend(
        columns
            .iter()
            .chain(more)
            .map(|&argument| argument.to_owned()),
    );
    arguments
}

fn columns(species: ArrayRef, group: ArrayRef) -> Shard {
    Shard::new()
        .column("species", species)
        .column("group", group)
}

#[test]
fn a_csv_file_is_scored_and_its_matrix_shown() {
    let scene = Scene::new();
    scene.file("mine.csv", CSV);
    let said = scene
        .bovw(&arguments(&scene, &["mine.csv"], &[]))
        .ok()
        .stdout;
    assert_snapshot!(said, @r#"
    "group" against "species"
      rows                 5, with 3 labels in 3 clusters
      left out             1 without a label
      left out             1 without a cluster
      purity               0.800000
      NMI                  0.737175
      adjusted Rand index  0.375000
      homogeneity          0.737175
      completeness         0.737175
      V-measure            0.737175

      label \ cluster  0  1  2
      ant, red         0  1  0
      cat              2  0  0
      dog              0  1  1
    "#);
}

#[test]
fn parquet_files_are_counted_together_whatever_their_types() {
    let scene = Scene::new();
    let species: ArrayRef = Arc::new(StringArray::from(vec![Some("cat"), Some("dog"), None]));
    let group: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 1]));
    columns(Arc::clone(&species), group).write(&scene.path("a.parquet"));
    let group: ArrayRef = Arc::new(Float64Array::from(vec![0.0, f64::NAN, 1.0]));
    columns(species, group).write(&scene.path("b.parquet"));
    let arguments = arguments(&scene, &["a.parquet", "b.parquet"], &["--json"]);
    let said: Value = serde_json::from_str(&scene.bovw(&arguments).ok().stdout).unwrap();
    assert_eq!(said["labels"], json!(["cat", "dog"]));
    assert_eq!(said["clusters"], json!(["0", "1"]));
    assert_eq!(said["confusion"], json!([[2, 0], [0, 1]]));
    assert_eq!(said["n_labelled"], 3);
    assert_eq!(said["n_unlabelled"], 2);
    assert_eq!(said["n_unclustered"], 1);
    assert_eq!(said["ari"], 1.0);
}

#[test]
fn what_cannot_be_scored_is_said() {
    let scene = Scene::new();
    scene.file("mine.csv", "id,group\n1,2\n");
    scene.file("none.csv", "species,group\n,2\ncat,\n");
    scene.file("broken.csv", "species,group\n1,2\n1,2,3\n");
    scene.file("empty.csv", "");
    let lists: ArrayRef = Arc::new(arrow::array::ListArray::from_iter_primitive::<
        arrow::datatypes::Int32Type,
        _,
        _,
    >([Some(vec![Some(1)])]));
    columns(Arc::new(Int32Array::from(vec![1])), lists).write(&scene.path("lists.parquet"));
    let said: Vec<String> = [
        "mine.csv",
        "none.csv",
        "broken.csv",
        "empty.csv",
        "lists.parquet",
        "gone.csv",
    ]
    .iter()
    .map(|file| {
        scene
            .bovw(&arguments(&scene, &[file], &[]))
            .exited(1)
            .stderr
    })
    .collect();
    assert_snapshot!(said.join("\n"), @r#"
    error: DIR/mine.csv: has no column "species"
      help: its columns are id, group

    error: no row has both a label and a cluster: 1 lack a label, 1 a cluster

    error: DIR/broken.csv: is neither Parquet nor CSV that can be read: CSV error: record 2 (line: 3, byte: 18): found record with 3 fields, but the previous record has 2 fields
      help: CSV is UTF-8, with commas and a header

    error: DIR/empty.csv: is empty

    error: DIR/lists.parquet, column "group": is List(Int32), whose values are no labels
      help: labels and clusters are numbers, texts, or true and false

    error: DIR/gone.csv: cannot open: No such file or directory (os error 2)
    "#);
}

#[test]
fn large_matrices_are_left_to_json() {
    let scene = Scene::new();
    let rows: Vec<String> = (0..40).map(|i| format!("{i},{}\n", i % 3)).collect();
    scene.file("mine.csv", format!("species,group\n{}", rows.concat()));
    let said = scene
        .bovw(&arguments(&scene, &["mine.csv"], &[]))
        .ok()
        .stdout;
    assert!(
        said.contains("40 by 3, is too large to be read here"),
        "{said}"
    );
}
