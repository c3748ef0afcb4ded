//! Clusters of whole images and of vectors: what is in their files, how they are held against labels, and what becomes of
//! them when the job, the data or the run is not as it should be.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, ListArray,
    StringArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use bovw::kernel::naive::nearest_word;
use common::{Scene, Shard, Table, image_structs, picture, pictures, pngs};
use image::GrayImage;
use insta::assert_snapshot;
use serde_json::{Value, json};

const PIXELS: &str = "cluster = [{of = 'pixels', k = 3}]";
const FEATURES: &str = "cluster = [{of = 'features', k = 3}]";

/// Pictures of three kinds with a little noise, and the kind of each.
fn kinds(n: u32) -> (Vec<GrayImage>, Vec<i64>) {
    let noisy = |i: u32| {
        let mut picture = picture(i % 3 * 50, 8, 8);
        picture.get_pixel_mut(i % 8, i / 8 % 8).0[0] ^= 100;
        picture
    };
    (
        (0..n).map(noisy).collect(),
        (0..n).map(|i| i64::from(i % 3)).collect(),
    )
}

/// Forty pictures of three kinds, with this label column.
fn labelled(label: ArrayRef) -> Scene {
    let (pictures, _) = kinds(40);
    Scene::with(&Shard::hugging_face(&pictures).column("label", label))
}

fn clusters(scene: &Scene, name: &str) -> Table {
    Table::read(&scene.path(&format!("out/clusters/{name}.parquet")))
}

fn cluster_of(table: &Table) -> Vec<Option<i32>> {
    let column = table.column("cluster");
    column.as_primitive::<Int32Type>().iter().collect()
}

fn distances(table: &Table) -> Vec<Option<f32>> {
    let column = table.column("distance");
    column.as_primitive::<Float32Type>().iter().collect()
}

/// The only clustering of a finished run.
fn entry(scene: &Scene) -> Value {
    let mut manifest = scene.manifest();
    assert_eq!(manifest["clusters"].as_array().unwrap().len(), 1);
    manifest["clusters"][0].take()
}

fn refused(scene: &Scene, code: i32, sets: &[&str]) -> String {
    scene.run(sets).exited(code).stderr
}

// ---- What is in the files

#[test]
fn every_row_has_the_cluster_and_the_distance_that_float64_gives() {
    let (pictures, labels) = kinds(100);
    let labels: ArrayRef = Arc::new(Int64Array::from(labels));
    let scene = Scene::with(
        &Shard::hugging_face(&pictures[..60])
            .column("label", labels.slice(0, 60))
            .row_groups_of(7),
    )
    .and(
        "data/b.parquet",
        &Shard::hugging_face(&pictures[60..]).column("label", labels.slice(60, 40)),
    );
    scene
        .run(&["cluster = [{of = 'pixels', k = 5}, {of = 'features', k = 4}]"])
        .ok();
    let pixels: Vec<Vec<f64>> = pictures
        .iter()
        .map(|picture| picture.as_raw().iter().map(|&p| f64::from(p)).collect())
        .collect();
    let vectors = ["a", "b"]
        .map(|name| scene.features(name).vectors())
        .concat();
    let vectors: Vec<Vec<f64>> = vectors
        .iter()
        .map(|vector| vector.iter().map(|&v| f64::from(v)).collect())
        .collect();
    for (name, rows) in [("pixels-k5", pixels), ("features-k4", vectors)] {
        let table = clusters(&scene, name);
        assert_eq!(table.names(), ["label", "cluster", "distance"]);
        assert_eq!(table.column("label").as_ref(), labels.as_ref());
        let centroids = clusters(&scene, &format!("{name}.centroids"));
        let words = centroids.column("centroid");
        let words = words.as_fixed_size_list();
        assert_eq!(words.value_length() as usize, rows[0].len());
        let words = words.values().as_primitive::<Float32Type>().values();
        let mut counts = vec![0; centroids.rows.num_rows()];
        let mut inertia = vec![0.0; counts.len()];
        let found = cluster_of(&table).into_iter().zip(distances(&table));
        for (row, (cluster, distance)) in rows.iter().zip(found) {
            let (expected, distance2) = nearest_word(row, words);
            assert_eq!(cluster, Some(expected as i32));
            assert_eq!(distance, Some(distance2.sqrt() as f32));
            counts[expected as usize] += 1;
            inertia[expected as usize] += distance2;
        }
        let column = centroids.column("count");
        assert_eq!(column.as_primitive::<Int64Type>().values(), &counts[..]);
        assert!(counts.is_sorted_by(|a, b| a >= b), "by falling count");
        let column = centroids.column("inertia");
        for (found, expected) in column
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .zip(&inertia)
        {
            assert!((found - expected).abs() <= 1e-9 * expected);
        }
        let manifest = scene.manifest();
        let entries = manifest["clusters"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["file"] == format!("clusters/{name}.parquet"))
            .unwrap();
        assert_eq!(entry["counts"], json!(counts));
        let total: f64 = inertia.iter().sum();
        assert!((entry["inertia"].as_f64().unwrap() - total).abs() <= 1e-9 * total);
    }
}

#[test]
fn the_manifest_tells_what_was_clustered() {
    let scene = labelled(Arc::new(Int64Array::from(kinds(40).1)));
    scene.run(&[PIXELS]).ok();
    let mut entry = entry(&scene);
    assert_eq!(entry["restarts"].as_array().unwrap().len(), 10);
    assert!(entry["restarts"][0]["final_inertia"].as_f64() > Some(0.0));
    assert!(entry["inertia"].as_f64() > Some(0.0));
    let object = entry.as_object_mut().unwrap();
    object.shift_remove("restarts");
    object.shift_remove("inertia");
    object.shift_remove("identity");
    assert_snapshot!(entry, @r#"{"of":"pixels","k":3,"file":"clusters/pixels-k3.parquet","centroids":"clusters/pixels-k3.centroids.parquet","algorithm":"lloyd","n_init":10,"height":8,"width":8,"dimensions":64,"rows":40,"counts":[14,13,13],"evaluation":{"label":"label","n_labelled":40,"n_unlabelled":0,"labels":["0","1","2"],"confusion":[[14,0,0],[0,13,0],[0,0,13]],"purity":1.0,"nmi":1.0,"ari":1.0,"homogeneity":1.0,"completeness":1.0,"v_measure":1.0},"evaluation_note":null}"#);
    let outputs = scene.manifest()["outputs"].to_string();
    for file in [
        "clusters/pixels-k3.parquet",
        "clusters/pixels-k3.centroids.parquet",
    ] {
        assert!(outputs.contains(file), "{outputs}");
    }
    let centroids = scene.path("out/clusters/pixels-k3.centroids.parquet");
    let said = scene
        .bovw(&["inspect", centroids.to_str().unwrap()])
        .ok()
        .stdout;
    assert!(
        said.contains("3 of 40 pixels, 64 values each; lloyd, the best of 10 restarts"),
        "{said}"
    );
}

#[test]
fn kept_columns_of_any_type_come_along() {
    let (pictures, labels) = kinds(40);
    let names: StringArray = (0..40)
        .map(|i| (i % 7 != 0).then(|| format!("n{i}")))
        .collect();
    let scene = Scene::with(
        &Shard::hugging_face(&pictures)
            .column("label", Arc::new(Int64Array::from(labels)))
            .column("name", Arc::new(names.clone())),
    );
    scene.run(&[PIXELS, "input.keep = ['name', 'image']"]).ok();
    let table = clusters(&scene, "pixels-k3");
    assert_eq!(
        table.names(),
        ["label", "name", "image", "cluster", "distance"]
    );
    assert_eq!(table.column("name").as_string::<i32>(), &names);
    let images = table.column("image");
    assert_eq!(images.as_struct().column(0).null_count(), 0);
}

// ---- Images that cannot be used

/// Twelve rows with ids; rows 2 (words), 5 (null) and 9 (too small) are bad.
fn three_bad() -> Scene {
    let mut column = pngs(&pictures(12, 8, 8));
    column[2] = Some(b"words".to_vec());
    column[5] = None;
    column[9] = pngs(&[picture(0, 2, 2)]).remove(0);
    let ids: Int64Array = (0..12).collect();
    Scene::with(
        &Shard::new()
            .column("image", image_structs(column))
            .column("label", Arc::new(ids))
            .row_groups_of(5),
    )
}

#[test]
fn a_bad_image_that_is_kept_has_no_cluster() {
    let scene = three_bad();
    for set in [PIXELS, FEATURES] {
        scene.run(&[set, "input.on_bad_image = 'zero'"]).ok();
        let name = if set == PIXELS {
            "pixels-k3"
        } else {
            "features-k3"
        };
        let table = clusters(&scene, name);
        assert_eq!(table.rows.num_rows(), 12);
        let (found, distances) = (cluster_of(&table), distances(&table));
        for row in 0..12 {
            let is_bad = [2, 5, 9].contains(&row);
            assert_eq!(found[row].is_none(), is_bad);
            assert_eq!(distances[row].is_none(), is_bad);
        }
        let entry = entry(&scene);
        assert_eq!(entry["rows"], 9);
        assert_eq!(entry["evaluation"]["n_labelled"], 9);
        assert_eq!(entry["evaluation"]["labels"].as_array().unwrap().len(), 9);
    }
}

#[test]
fn a_bad_image_that_is_dropped_is_in_no_clusters_file() {
    let scene = three_bad();
    scene.run(&[PIXELS, "input.on_bad_image = 'drop'"]).ok();
    let table = clusters(&scene, "pixels-k3");
    let labels = table.column("label");
    assert_eq!(
        labels.as_primitive::<Int64Type>().values(),
        &[0, 1, 3, 4, 6, 7, 8, 10, 11]
    );
    assert_eq!(table.column("cluster").null_count(), 0);
    assert!(
        !table
            .rows
            .schema()
            .field_with_name("cluster")
            .unwrap()
            .is_nullable()
    );
}

#[test]
fn images_of_another_size_are_found_by_plan_and_fine_for_features() {
    let mut all = pictures(12, 8, 8);
    all[7] = picture(7, 9, 8);
    let scene = Scene::with(&Shard::hugging_face(&all));
    let said = refused(&scene, 1, &[PIXELS]);
    assert_snapshot!(said, @r#"
    error: DIR/data/a.parquet, row group 0, row 7: the image has 9x8 pixels, the first one of the job has 8x8; k-means of pixels needs images of one size
      help: cluster of = "features", which takes images of any size, or leave out the [[cluster]] of = "pixels"
    "#);
    assert!(!scene.path("out").exists());
    scene.run(&[FEATURES]).ok();
    assert_eq!(clusters(&scene, "features-k3").rows.num_rows(), 12);
}

#[test]
fn an_image_of_another_size_far_in_loses_no_vocabulary_and_no_features() {
    let mut all = pictures(40, 8, 8);
    // As many pixels, and still another size.
    all[33] = picture(33, 4, 16);
    let scene = Scene::with(&Shard::hugging_face(&all).row_groups_of(9));
    let said = refused(&scene, 1, &[PIXELS]);
    assert!(
        said.contains("data/a.parquet, row 33: the image has 4x16 pixels"),
        "{said}"
    );
    let done = scene.results("out");
    assert_eq!(
        done.keys().collect::<Vec<_>>(),
        ["features/a.parquet", "vocabulary.parquet"]
    );
    let ended = scene
        .bovw(&[scene.run_args(&[FEATURES]), vec!["--json".to_owned()]].concat())
        .ok();
    assert!(
        !ended.stdout.contains("\"event\":\"features\""),
        "{ended:?}"
    );
    assert_eq!(clusters(&scene, "features-k3").rows.num_rows(), 40);
    for (name, bytes) in &done {
        assert!(scene.results("out").get(name) == Some(bytes), "{name}");
    }
}

// ---- Labels

#[test]
fn labels_of_any_plain_type_are_sorted_and_shown() {
    let kinds = kinds(40).1;
    let texts: StringArray = kinds
        .iter()
        .map(|&kind| Some(["<b>z</b>", "a", "ö"][kind as usize]))
        .collect();
    let truths: BooleanArray = kinds.iter().map(|&kind| Some(kind == 1)).collect();
    let numbers: Int64Array = kinds.iter().map(|&kind| Some(10 - 4 * kind)).collect();
    for (label, expected) in [
        (Arc::new(texts) as ArrayRef, json!(["<b>z</b>", "a", "ö"])),
        (Arc::new(truths), json!(["false", "true"])),
        (Arc::new(numbers), json!(["2", "6", "10"])),
    ] {
        let scene = labelled(label);
        scene.run(&[PIXELS]).ok();
        let evaluation = &entry(&scene)["evaluation"];
        assert_eq!(evaluation["labels"], expected);
        assert_eq!(evaluation["purity"], 1.0);
    }
}

#[test]
fn class_labels_are_shown_by_name_and_minus_1_is_none() {
    let (pictures, mut labels) = kinds(40);
    labels[4] = -1;
    let names = json!({"label": {"names": ["zebra", "ant", "bee"], "_type": "ClassLabel"}});
    let shard = Shard::hugging_face(&pictures)
        .column("label", Arc::new(Int64Array::from(labels)))
        .features(&names);
    let scene = Scene::with(&shard);
    scene.run(&[PIXELS]).ok();
    let evaluation = &entry(&scene)["evaluation"];
    assert_eq!(evaluation["labels"], json!(["zebra", "ant", "bee"]));
    assert_eq!(evaluation["n_labelled"], 39);
    assert_eq!(evaluation["n_unlabelled"], 1);
}

#[test]
fn rows_without_a_label_are_counted_and_left_out() {
    let labels: Int64Array = kinds(40)
        .1
        .into_iter()
        .enumerate()
        .map(|(i, kind)| (i % 4 > 0).then_some(kind))
        .collect();
    let scene = labelled(Arc::new(labels));
    scene.run(&[PIXELS]).ok();
    let evaluation = &entry(&scene)["evaluation"];
    assert_eq!(evaluation["n_labelled"], 30);
    assert_eq!(evaluation["n_unlabelled"], 10);
    assert_eq!(evaluation["ari"], 1.0);
}

#[test]
fn labels_that_are_missing_leave_a_note() {
    let (pictures, _) = kinds(40);
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; 40]));
    let lists = (0..40).map(|i| Some(vec![Some(i)]));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
    let none = Shard::hugging_face(&pictures);
    let mut notes = Vec::new();
    for shard in [
        none.clone(),
        none.clone().column("label", nulls),
        none.column("tags", lists),
    ] {
        let scene = Scene::with(&shard);
        let label = match notes.len() {
            2 => "input.label = 'tags'",
            _ => "run.seed = 0",
        };
        let ended = scene.run(&[PIXELS, label]).ok();
        let entry = entry(&scene);
        assert_eq!(entry["evaluation"], Value::Null);
        let note = entry["evaluation_note"].as_str().unwrap().to_owned();
        assert!(
            ended.stdout.contains(&format!("no scores: {note}")),
            "{ended:?}"
        );
        notes.push(note);
    }
    assert_snapshot!(notes.join("\n"), @r#"
    the input has no label column
    no row has a label in the column "label"
    the label column "tags" is List(Int64), whose values are no labels
    "#);
}

#[test]
fn labels_that_are_all_the_same_say_nothing_of_the_clusters() {
    let scene = labelled(Arc::new(StringArray::from(vec!["one"; 40])));
    scene.run(&[PIXELS]).ok();
    let evaluation = &entry(&scene)["evaluation"];
    assert_eq!(evaluation["purity"], 1.0);
    assert_eq!(evaluation["homogeneity"], 1.0);
    for score in ["nmi", "ari", "completeness", "v_measure"] {
        assert_eq!(evaluation[score], 0.0, "{score}");
    }
}

#[test]
fn ten_thousand_different_labels_are_scored_and_far_more_cells_are_not() {
    let values =
        (0..10_000u32).flat_map(|i| (0..9).map(move |j| ((i * 31 + j * j * (i % 97)) % 251) as u8));
    let values: Vec<u8> = values.collect();
    let images = FixedSizeBinaryArray::try_from_iter(values.chunks(9)).unwrap();
    let labels: StringArray = (0..10_000).map(|i| Some(format!("label {i}"))).collect();
    let shard = Shard::new()
        .column("image", Arc::new(images))
        .column("label", Arc::new(labels));
    let scene = Scene::with(&shard);
    scene
        .run(&[
            "cluster = [{of = 'pixels', k = [10, 60], n_init = 1, max_iter = 5}]",
            "sample.every = 10",
            "sample.per_image = 1",
        ])
        .ok();
    let manifest = scene.manifest();
    let [few, many] = [0, 1].map(|i| &manifest["clusters"][i]);
    assert_eq!(
        few["evaluation"]["labels"].as_array().unwrap().len(),
        10_000
    );
    assert!(few["evaluation"]["homogeneity"].as_f64().unwrap() < 0.3);
    assert!((few["evaluation"]["completeness"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(many["evaluation"], Value::Null);
    assert_snapshot!(many["evaluation_note"], @r#""8739 different labels or more in 60 clusters are more than the 524288 cells that are counted""#);
}

#[test]
fn a_column_with_the_name_of_one_of_ours_is_refused() {
    let (pictures, kinds) = kinds(40);
    let shard = Shard::hugging_face(&pictures).column("cluster", Arc::new(Int64Array::from(kinds)));
    let scene = Scene::with(&shard);
    let said = refused(&scene, 2, &[PIXELS, "input.keep = ['cluster']"]);
    assert_snapshot!(said, @r#"
    error: cluster: the label or kept column "cluster" has the name of a column of clusters files
      help: rename the column in the input, or leave out input.keep or [[cluster]]
    "#);
    scene.run(&["input.keep = ['cluster']"]).ok();
}

// ---- Too few images

#[test]
fn more_clusters_than_images_are_refused_by_plan() {
    let scene = labelled(Arc::new(Int64Array::from(kinds(40).1)));
    let said = refused(&scene, 2, &["cluster = [{of = 'features', k = [3, 41]}]"]);
    assert_snapshot!(said, @"
    error: cluster.k: 41 clusters of features cannot be made of 40 images
      help: lower k in [[cluster]]
    ");
    assert!(!scene.path("out").exists());
    scene
        .run(&["cluster = [{of = 'pixels', k = 40, n_init = 1}]"])
        .ok();
    assert_eq!(entry(&scene)["counts"], json!(vec![1; 40]));
}

#[test]
fn more_clusters_than_good_images_or_different_ones_keep_what_is_finished() {
    let scene = three_bad();
    let drop = "input.on_bad_image = 'drop'";
    assert_snapshot!(refused(&scene, 2, &["cluster = [{of = 'pixels', k = 10}]", drop]), @"
    error: cluster.k: 10 clusters of pixels cannot be made of 9 images
      help: lower k in [[cluster]] and run the job again; the vocabulary and the features are finished and stay
    ");

    let mut same = vec![picture(1, 8, 8); 20];
    same.extend(vec![GrayImage::new(8, 8); 20]);
    let scene = Scene::with(&Shard::hugging_face(&same));
    assert_snapshot!(refused(&scene, 2, &[PIXELS]), @"
    error: cluster.k: 3 clusters of pixels cannot be made of 40 images, of which only 2 differ
      help: lower k in [[cluster]] and run the job again; the vocabulary and the features are finished and stay
    ");
    let done = scene.results("out");
    assert_eq!(done.len(), 2, "{:?}", done.keys());
    scene.run(&["cluster = [{of = 'pixels', k = 2}]"]).ok();
    let entry = entry(&scene);
    assert_eq!(entry["counts"], json!([20, 20]));
    assert_eq!(entry["inertia"], 0.0);
}

// ---- Another run

/// Names of the events of a run that continues in `scene`.
fn events(scene: &Scene, sets: &[&str]) -> Vec<String> {
    let ended = scene
        .bovw(&[scene.run_args(sets), vec!["--json".to_owned()]].concat())
        .ok();
    let lines = ended.stdout.lines();
    lines
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn other_clusterings_keep_vocabulary_features_and_the_clusterings_that_stay() {
    let scene = three_bad();
    let zero = "input.on_bad_image = 'zero'";
    scene
        .run(&["cluster = [{of = 'pixels', k = [2, 3]}]", zero])
        .ok();
    let before = scene.results("out");
    let other = [
        "cluster = [{of = 'pixels', k = [3]}, {of = 'features', k = 2}]",
        zero,
    ];
    assert_eq!(events(&scene, &other), ["started", "clusters", "done"]);
    let after = scene.results("out");
    let names: Vec<&String> = after.keys().collect();
    assert_eq!(
        names,
        [
            "clusters/features-k2.centroids.parquet",
            "clusters/features-k2.parquet",
            "clusters/pixels-k3.centroids.parquet",
            "clusters/pixels-k3.parquet",
            "features/a.parquet",
            "vocabulary.parquet",
        ]
    );
    for (name, bytes) in after
        .iter()
        .filter(|(name, _)| !name.contains("features-k2"))
    {
        assert!(before.get(name) == Some(bytes), "{name}");
    }
    // What the manifest tells is what a run from nothing tells.
    let fresh = three_bad();
    fresh.run(&other).ok();
    assert!(fresh.results("out") == after);
    let outputs = |scene: &Scene| -> Vec<Value> {
        let outputs = scene.manifest()["outputs"]
            .as_array()
            .expect("a list")
            .clone();
        let tells_times = |output: &Value| output["path"] == "pictures/timeline.parquet";
        outputs
            .into_iter()
            .filter(|output| !tells_times(output))
            .collect()
    };
    assert_eq!(outputs(&scene), outputs(&fresh));
    for key in ["identity", "counts", "learning", "clusters", "bad_images"] {
        assert_eq!(scene.manifest()[key], fresh.manifest()[key], "{key}");
    }
    assert_eq!(events(&scene, &other), ["done"]);
    // None at all.
    assert_eq!(events(&scene, &[zero]), ["started", "done"]);
    assert_eq!(scene.results("out").len(), 2);
    assert_eq!(scene.manifest()["clusters"], json!([]));
}

#[test]
fn the_same_clustering_made_in_another_way_takes_the_place_of_the_old_one() {
    let scene = labelled(Arc::new(Int64Array::from(kinds(40).1)));
    scene.run(&[PIXELS]).ok();
    let names: Vec<String> = scene.results("out").into_keys().collect();
    let other = "cluster = [{of = 'pixels', k = 3, n_init = 2}]";
    assert_eq!(events(&scene, &[other]), ["started", "clusters", "done"]);
    let after: Vec<String> = scene.results("out").into_keys().collect();
    assert_eq!(after, names);
    assert_eq!(entry(&scene)["n_init"], 2);
}

#[test]
fn a_clustering_that_cannot_be_made_costs_none_of_the_old_ones() {
    let scene = three_bad();
    let drop = "input.on_bad_image = 'drop'";
    scene.run(&[PIXELS, drop]).ok();
    let before = scene.results("out");
    let manifest = scene.manifest();
    refused(&scene, 2, &["cluster = [{of = 'pixels', k = 10}]", drop]);
    assert!(scene.results("out") == before);
    assert_eq!(scene.manifest(), manifest);
    assert_eq!(events(&scene, &[PIXELS, drop]), ["started", "done"]);
    assert!(scene.results("out") == before);
}

#[test]
fn a_lost_clusters_file_is_made_again_and_nothing_else() {
    let scene = labelled(Arc::new(Int64Array::from(kinds(40).1)));
    let sets = ["cluster = [{of = 'pixels', k = 3}, {of = 'features', k = 3}]"];
    scene.run(&sets).ok();
    let before = scene.results("out");
    fs::remove_file(scene.path("out/clusters/features-k3.centroids.parquet")).unwrap();
    assert_eq!(events(&scene, &sets), ["started", "clusters", "done"]);
    assert_eq!(scene.results("out"), before);
}

#[test]
fn another_job_is_still_refused_and_fresh_removes_clusters() {
    let scene = labelled(Arc::new(Int64Array::from(kinds(40).1)));
    scene.run(&[PIXELS]).ok();
    let said = refused(&scene, 4, &[PIXELS, "vocabulary.k = 5"]);
    assert!(
        said.contains("vocabulary.k: 8 -> 5") && !said.contains("cluster"),
        "{said}"
    );
    let args = [
        scene.run_args(&["vocabulary.k = 5"]),
        vec!["--fresh".to_owned()],
    ]
    .concat();
    scene.bovw(&args).ok();
    let results: BTreeMap<String, Vec<u8>> = scene.results("out");
    assert_eq!(results.len(), 2, "{:?}", results.keys());
}

#[test]
fn too_little_memory_for_clusters_is_refused_with_what_to_give() {
    let large = pictures(12, 300, 300);
    let scene = Scene::with(&Shard::raw(&large));
    let said = refused(&scene, 2, &[PIXELS, "run.memory = '32MiB'"]);
    assert!(
        said.starts_with("error: run.memory: 32.0 MiB is not enough"),
        "{said}"
    );
    assert!(said.contains("k-means of [[cluster]]"), "{said}");
    scene.run(&["run.memory = '32MiB'"]).ok();
}

#[test]
fn plan_shows_the_clusterings() {
    let scene = labelled(Arc::new(Int64Array::from(kinds(40).1)));
    let mut args = scene.run_args(&[
        "cluster = [{of = 'pixels', k = [2, 3]}, {of = 'features', k = 4, n_init = 1}]",
    ]);
    args[0] = "plan".to_owned();
    let said = scene.bovw(&args).ok().stdout;
    let section = said
        .split("Cluster\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    assert_snapshot!(section, @r#"
      stages      source -> decode -> whole -> k-means, for pixels; features -> k-means; then rows -> label -> measure -> sink
      pixels      40 images, 8x8 pixels each, as they are stored: 2.5 KiB to 10.0 KiB to go through, in a mapped file if need be
      k-means     2 clusters: lloyd, the best of 10 restarts, at most 300 passes each -> clusters/pixels-k2.parquet
                  3 clusters: lloyd, the best of 10 restarts, at most 300 passes each -> clusters/pixels-k3.parquet
      features    40 images, 8 values each: 1.2 KiB to go through, in a mapped file if need be
      k-means     4 clusters: lloyd, the best of 1 restarts, at most 300 passes each -> clusters/features-k4.parquet
      evaluation  against the labels in column "label"
    "#);
    assert!(said.contains("  cluster    "), "{said}");
    assert!(said.contains("[[cluster]]\n  of = \"pixels\"\n  k = [2, 3]\n  algorithm = \"lloyd\"\n  n_init = 10\n  max_iter = 300\n"), "{said}");
    assert!(!scene.path("out").exists());
}
