//! `bovw verify`: a run as it was left is fine, and whatever is done to one of its files is found and named.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int32Array, Int64Array, RecordBatch,
};
use arrow::datatypes::{DataType, Float32Type, Int32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use common::{Ended, Scene, Shard, image_structs, pictures, pngs};

const CLUSTERS: &str = "cluster=[{of=\"pixels\", k=3, n_init=2}, {of=\"features\", k=3, n_init=2}]";
const ZERO: &str = "input.on_bad_image=\"zero\"";
const DROP: &str = "input.on_bad_image=\"drop\"";

/// Labelled pictures; those of the rows in `bad` are no images.
fn shard(first: u32, n: u32, bad: &[usize]) -> Shard {
    let pictures = &pictures(first + n, 12, 9)[first as usize..];
    let mut images = pngs(pictures);
    for &row in bad {
        images[row] = Some(b"no image".to_vec());
    }
    let labels: Int64Array = (0..n)
        .map(|row| Some(i64::from((first + row) % 3)))
        .collect();
    Shard::new()
        .column("image", image_structs(images))
        .column("label", Arc::new(labels))
        .row_groups_of(7)
}

/// A finished run of three shards with bad images and clusters.
fn finished(on_bad_image: &str) -> Scene {
    let scene = Scene::with(&shard(0, 20, &[0, 13]))
        .and("data/b.parquet", &shard(20, 11, &[]))
        .and("data/c.parquet", &shard(31, 15, &[14]));
    scene.run(&[on_bad_image, CLUSTERS]).ok();
    scene
}

fn verify(scene: &Scene) -> Ended {
    verify_with(scene, &["--sample", "1000"])
}

fn verify_with(scene: &Scene, more: &[&str]) -> Ended {
    let mut args = vec!["verify".to_owned(), scene.path("out").display().to_string()];
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    scene.bovw(&args)
}

/// The lines that tell problems.
fn problems(ended: &Ended) -> Vec<&str> {
    let lines = ended.stdout.lines();
    lines.filter(|line| line.starts_with("problem: ")).collect()
}

#[test]
fn a_run_as_it_was_left_is_fine_and_nothing_is_written() {
    for on_bad_image in [ZERO, DROP] {
        let scene = finished(on_bad_image);
        let before = scene.files("out");
        let ended = verify(&scene).ok();
        assert!(ended.stdout.starts_with("Fine: "), "{ended:?}");
        assert!(ended.stdout.contains("46 images and "), "{ended:?}");
        assert!(!ended.stdout.contains("problem"), "{ended:?}");
        assert!(scene.files("out") == before);
    }
}

#[test]
fn the_default_sample_is_a_part_of_the_images_and_none_is_allowed() {
    let scene = finished(ZERO);
    let recounted = |args: &[&str]| -> Value {
        let ended = verify_with(&scene, args).ok();
        let last = ended.stdout.lines().last().unwrap().to_owned();
        serde_json::from_str::<Value>(&last).unwrap()["recounted_images"].clone()
    };
    assert_eq!(recounted(&["--json"]), json!(46));
    assert_eq!(recounted(&["--json", "--sample", "9"]), json!(9));
    assert_eq!(recounted(&["--json", "--sample", "0"]), json!(0));
}

#[test]
fn runs_without_labels_clusters_or_learning_are_fine() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(9, 12, 9)));
    scene.run(&[]).ok();
    verify(&scene).ok();
    let words = scene.path("words.parquet");
    fs::copy(scene.path("out/vocabulary.parquet"), &words).unwrap();
    let job = "[input]\nfiles = ['data/*.parquet']\n[patches]\nsize = [3, 3]\n\
        [vocabulary]\nfrom = 'words.parquet'\n[output]\ndir = 'out'\n";
    let job = scene.file("from.toml", job).display().to_string();
    fs::remove_dir_all(scene.path("out")).unwrap();
    scene.bovw(&["run", &job]).ok();
    verify(&scene).ok();
}

/// What is done to a run, and what must be told of it: parts of one problem's line.
type Damage = (&'static str, fn(&Scene), &'static [&'static str]);

const DAMAGES: [Damage; 30] = [
    (
        "a flipped byte of vectors",
        |s| flip(s, "out/features/b.parquet"),
        &["features/b.parquet: has other bytes"],
    ),
    (
        "a flipped byte of words",
        |s| flip(s, "out/vocabulary.parquet"),
        &["vocabulary.parquet: has other bytes"],
    ),
    (
        "a flipped byte of clusters",
        |s| flip(s, "out/clusters/pixels-k3.parquet"),
        &["clusters/pixels-k3.parquet: has other bytes"],
    ),
    (
        "a flipped byte of centroids",
        |s| flip(s, "out/clusters/features-k3.centroids.parquet"),
        &["clusters/features-k3.centroids.parquet: has other bytes"],
    ),
    (
        "a flipped byte of a list",
        |s| flip(s, "out/bad_images/a.jsonl"),
        &["bad_images/a.jsonl: has other bytes"],
    ),
    (
        "a flipped byte of kept patches",
        |s| flip(s, "out/pictures/patches.parquet"),
        &["pictures/patches.parquet: has other bytes"],
    ),
    (
        "truncation",
        |s| truncate(s, "out/features/c.parquet"),
        &["features/c.parquet: has ", " bytes, manifest.json lists "],
    ),
    (
        "an empty file",
        |s| fs::write(s.path("out/features/c.parquet"), "").unwrap(),
        &["features/c.parquet: has 0 bytes"],
    ),
    (
        "removed vectors",
        |s| remove(s, "out/features/a.parquet"),
        &["features/a.parquet: is missing"],
    ),
    (
        "removed words",
        |s| remove(s, "out/vocabulary.parquet"),
        &["vocabulary.parquet: is missing"],
    ),
    (
        "a removed list",
        |s| remove(s, "out/bad_images/c.jsonl"),
        &["bad_images/c.jsonl: is missing"],
    ),
    (
        "swapped vectors",
        |s| swap(s, "a", "c"),
        &["features/a.parquet: has "],
    ),
    (
        "swapped vectors, listed as they lie",
        swap_and_list,
        &["features/a.parquet: its footer names another input"],
    ),
    (
        "another total",
        |s| edit(s, |m| m["counts"]["patches"] = json!(7)),
        &["manifest.json: counts.patches: 7, not "],
    ),
    (
        "another number of rows",
        |s| edit(s, |m| m["counts"]["rows"] = json!(7)),
        &["manifest.json: counts.rows", "7, not 46"],
    ),
    (
        "another number of words",
        |s| edit(s, |m| m["counts"]["words"] = json!(7)),
        &["manifest.json: counts.words: 7, not 8"],
    ),
    (
        "another number of rows of a file",
        |s| edit(s, |m| m["outputs"][1]["rows"] = json!(7)),
        &["features/a.parquet: has 20 rows, manifest.json lists 7"],
    ),
    (
        "an output that is not listed",
        |s| edit(s, |m| drop(m["outputs"].as_array_mut().unwrap().remove(1))),
        &["manifest.json: features files, one an input: 2, not 3"],
    ),
    (
        "an output elsewhere",
        |s| edit(s, |m| m["outputs"][1]["path"] = json!("../job.toml")),
        &["is outside the run's directory"],
    ),
    (
        "other patches of an input",
        |s| edit(s, |m| m["inputs"][1]["counts"]["patches"] = json!(7)),
        &["features/b.parquet: patches of its rows: 770, not 7"],
    ),
    (
        "other sampled patches",
        |s| edit(s, |m| m["learning"]["patches"] = json!(7)),
        &["vocabulary.parquet: the patches of its words"],
    ),
    (
        "another job",
        |s| edit(s, |m| m["job"]["patches"]["stride"] = json!(2)),
        &["manifest.json: its \"job\" is not the one"],
    ),
    (
        "no job",
        |s| edit(s, |m| m["job"]["patches"]["size"] = json!([0, 0])),
        &["manifest.json: its \"job\" is none that can be run"],
    ),
    (
        "another score",
        |s| {
            edit(s, |m| {
                m["clusters"][0]["evaluation"]["purity"] = json!(0.123)
            })
        },
        &["clusters/pixels-k3.parquet: its purity is"],
    ),
    (
        "another confusion",
        |s| {
            edit(s, |m| {
                m["clusters"][1]["evaluation"]["confusion"][0][0] = json!(77)
            })
        },
        &["clusters/features-k3.parquet: its labels and clusters"],
    ),
    (
        "other cluster counts",
        |s| edit(s, |m| m["clusters"][0]["counts"][0] = json!(77)),
        &["clusters/pixels-k3.parquet: its rows are not as many"],
    ),
    (
        "a count too many",
        |s| recount(s, |vector| vector[3] += 1.0),
        &["features/b.parquet, row 4: its vector adds up to 71, n_patches is 70"],
    ),
    (
        "a count of another word",
        |s| recount(s, move_a_count),
        &[
            "features/b.parquet, row 4: its vector counts word ",
            "brute force",
        ],
    ),
    (
        "a flipped byte of an input",
        |s| flip(s, "data/b.parquet"),
        &["data/b.parquet: has changed since the run"],
    ),
    (
        "a temporary file",
        |s| drop(s.file("out/features/.bovw-tmp-x", "")),
        &["features/.bovw-tmp-x: is left over"],
    ),
];

#[test]
fn every_damage_is_found_and_its_file_named() {
    let whole = finished(ZERO);
    for (what, damage, told) in DAMAGES {
        let scene = copy(&whole);
        damage(&scene);
        let ended = verify(&scene).exited(1);
        let problems = problems(&ended);
        let is_told = |line: &&str| told.iter().all(|part| line.contains(part));
        assert!(problems.iter().any(is_told), "{what}: {ended:#?}");
        assert!(ended.stdout.contains("\nNot fine: "), "{what}: {ended:#?}");
        assert!(
            ended.stderr.contains("is not as its run left it"),
            "{what}: {ended:?}"
        );
    }
}

#[test]
fn of_several_sizes_every_vocabulary_and_every_part_of_a_vector_is_looked_at() {
    let whole = Scene::with(&shard(0, 20, &[])).and("data/b.parquet", &shard(20, 11, &[]));
    whole.run(&["patches.size=[[2,3],[3,2]]"]).ok();
    let ended = verify(&whole).ok();
    assert!(ended.stdout.contains("31 images"), "{ended:?}");
    let names = ["2x3", "3x2"].map(|size| format!("out/vocabulary-{size}.parquet"));
    let exchange = |s: &Scene| {
        let [first, second] = [&names[0], &names[1]].map(|name| fs::read(s.path(name)).unwrap());
        s.file(&names[0], second);
        s.file(&names[1], first);
        names.iter().for_each(|name| relist(s, name));
    };
    // The second vocabulary counts from value 8 on.
    let other_word = |s: &Scene| {
        rewrite_vectors(s, "out/features/b.parquet", |values| {
            move_a_count(&mut values[4 * 16 + 8..5 * 16]);
        });
    };
    type Harm<'a> = &'a dyn Fn(&Scene);
    let damages: [(Harm<'_>, &[&str]); 6] = [
        (
            &|s| flip(s, &names[1]),
            &["vocabulary-3x2.parquet: has other bytes"],
        ),
        (
            &|s| fs::remove_file(s.path(&names[0])).unwrap(),
            &["vocabulary-2x3.parquet: is missing"],
        ),
        (
            &exchange,
            &[
                "vocabulary-2x3.parquet: its words are of 3x2 patches, the job has 2x3",
                "features/a.parquet: its footer names another vocabulary",
            ],
        ),
        (
            &|s| edit(s, |m| m["learning"][1]["patches"] = json!(1)),
            &["vocabulary-3x2.parquet: the patches of its words"],
        ),
        (
            &|s| edit(s, |m| m["counts"]["words"] = json!(8)),
            &["counts.words: 8, not 16"],
        ),
        (&other_word, &["features/b.parquet, row 4: value "]),
    ];
    for (damage, told) in damages {
        let scene = copy(&whole);
        damage(&scene);
        let ended = verify(&scene).exited(1);
        let problems = problems(&ended).join("\n");
        for part in told {
            assert!(problems.contains(part), "{part}: {ended:#?}");
        }
    }
}

#[test]
fn one_damage_is_one_problem_where_nothing_else_follows_from_it() {
    let scene = finished(ZERO);
    recount(&scene, move_a_count);
    let ended = verify(&scene).exited(1);
    // The vector itself, and the clusters that were made of what it was.
    assert!(problems(&ended).len() <= 2, "{ended:#?}");
    // An image that is not drawn is not recounted.
    let n_found = |sample: &str| problems(&verify_with(&scene, &["--sample", sample])).len();
    assert_eq!(n_found("0"), 0);
}

#[test]
fn clusters_that_were_exchanged_are_found_by_brute_force() {
    let scene = finished(ZERO);
    rewrite(&scene, "out/clusters/pixels-k3.parquet", |rows| {
        let clusters = rows.column_by_name("cluster").unwrap();
        let mut clusters: Vec<Option<i32>> = clusters.as_primitive::<Int32Type>().iter().collect();
        let other = (2..).find(|&row| clusters[row].is_some() && clusters[row] != clusters[1]);
        clusters.swap(1, other.unwrap());
        with_column(&rows, "cluster", Arc::new(Int32Array::from(clusters)))
    });
    let ended = verify(&scene).exited(1);
    let told = "clusters/pixels-k3.parquet, row 1: it has cluster ";
    assert!(
        problems(&ended).iter().any(|line| line.contains(told)),
        "{ended:#?}"
    );
}

#[test]
fn images_that_were_left_out_are_looked_at_again() {
    let scene = finished(DROP);
    // A list that says of a good image that it is bad, and rehashed, so that only the image itself can tell.
    let list = "out/bad_images/a.jsonl";
    let text = fs::read_to_string(scene.path(list))
        .unwrap()
        .replacen("13", "12", 1);
    scene.file(list, text);
    relist(&scene, list);
    let ended = verify(&scene).exited(1);
    let told = "row 12 of the input was left out as a bad image, and is none";
    assert!(
        problems(&ended).iter().any(|line| line.contains(told)),
        "{ended:#?}"
    );
}

#[test]
fn json_tells_each_problem_with_its_file_and_row() {
    let scene = finished(ZERO);
    recount(&scene, |vector| vector[3] += 1.0);
    let ended = verify_with(&scene, &["--json"]).exited(1);
    let events: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let problem = &events[0];
    assert_eq!(problem["event"], "problem");
    assert_eq!(problem["check"], "counts");
    assert_eq!(problem["row"], 4);
    assert!(
        problem["file"]
            .as_str()
            .unwrap()
            .ends_with("features/b.parquet")
    );
    let verified = events
        .iter()
        .find(|event| event["event"] == "verified")
        .unwrap();
    assert_eq!(verified["is_fine"], false);
    assert_eq!(verified["problems"]["counts"], 1);
    assert_eq!(events.last().unwrap()["event"], "error");
}

#[test]
fn what_is_only_good_to_know_is_a_note() {
    type Change = (fn(&Scene), &'static str);
    let changes: [Change; 4] = [
        (
            |s| remove(s, "data/b.parquet"),
            "data/b.parquet: is not there any more",
        ),
        (
            |s| drop(s.file("out/features/mine.txt", "")),
            "features/mine.txt: is not a file of this run",
        ),
        (
            |s| remove(s, "out/pictures/patches.parquet"),
            "pictures/patches.parquet: is missing; only pictures need it",
        ),
        (
            |s| fs::remove_dir_all(s.path("out/pictures")).unwrap(),
            "pictures/images.parquet: is missing",
        ),
    ];
    let whole = finished(ZERO);
    for (change, told) in changes {
        let scene = copy(&whole);
        change(&scene);
        let ended = verify(&scene).ok();
        let mut lines = ended.stdout.lines();
        let is_told = |line: &str| line.starts_with("note: ") && line.contains(told);
        assert!(lines.any(is_told), "{told}: {ended:#?}");
    }
}

#[test]
fn a_run_whose_inputs_are_gone_is_checked_as_far_as_it_goes() {
    let scene = finished(ZERO);
    fs::remove_dir_all(scene.path("data")).unwrap();
    recount(&scene, |vector| vector[3] += 1.0);
    let ended = verify(&scene).exited(1);
    assert!(
        ended
            .stdout
            .contains("0 unchanged, 0 B; 3 not there any more"),
        "{ended:#?}"
    );
    assert!(
        ended
            .stdout
            .contains("features/b.parquet, row 4: its vector adds up to 71"),
        "{ended:#?}"
    );
}

#[test]
fn more_problems_of_a_kind_than_can_be_read_are_counted() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(40, 12, 9)));
    scene.run(&[]).ok();
    rewrite_vectors(&scene, "out/features/a.parquet", |values| {
        values
            .chunks_exact_mut(8)
            .for_each(|vector| vector[0] += 1.0);
    });
    let ended = verify_with(&scene, &["--sample", "0"]).exited(1);
    assert_eq!(problems(&ended).len(), 11, "{ended:#?}");
    assert!(
        ended.stdout.contains("30 more rows are wrong"),
        "{ended:#?}"
    );
}

#[test]
fn what_is_no_finished_run_is_refused_in_one_message() {
    let scene = finished(ZERO);
    let manifest = fs::read(scene.path("out/manifest.json")).unwrap();
    let told = |ended: Ended, what: &str| {
        let ended = ended.exited(1);
        assert!(
            ended.stderr.contains(what) && ended.stdout.is_empty(),
            "{ended:?}"
        );
    };
    scene.file("out/manifest.json", &manifest[..manifest.len() / 2]);
    told(
        verify(&scene),
        "manifest.json: is damaged, or of another version",
    );
    scene.file("out/manifest.json", &manifest);
    scene.file("out/.bovw-state.json", "{}");
    told(
        verify(&scene),
        "holds a run that is not finished\n  help: run the same `bovw run` again",
    );
    remove(&scene, "out/.bovw-state.json");
    remove(&scene, "out/manifest.json");
    told(verify(&scene), "holds no finished run");
    fs::remove_dir_all(scene.path("out")).unwrap();
    told(verify(&scene), "is no folder");
}

#[test]
fn a_directory_in_which_a_run_is_at_work_is_refused_and_other_readers_are_not() {
    let scene = finished(ZERO);
    let lock = File::open(scene.path("out/.bovw-lock")).unwrap();
    lock.lock_shared().unwrap();
    verify(&scene).ok();
    lock.unlock().unwrap();
    lock.lock().unwrap();
    let ended = verify(&scene).exited(4);
    assert!(
        ended
            .stderr
            .contains("another run of bovw is at work in it"),
        "{ended:?}"
    );
    lock.unlock().unwrap();
    // A copy without the lock is as good.
    remove(&scene, "out/.bovw-lock");
    verify(&scene).ok();
}

/// A scene with the same files.
fn copy(scene: &Scene) -> Scene {
    let other = Scene::new();
    for folder in ["data", "out"] {
        for (name, bytes) in scene.files(folder) {
            other.file(&format!("{folder}/{name}"), bytes);
        }
    }
    let dir = other.path("").display().to_string();
    edit(&other, |manifest| manifest["run"]["job_dir"] = json!(dir));
    other
}

fn flip(scene: &Scene, name: &str) {
    let mut bytes = fs::read(scene.path(name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    scene.file(name, bytes);
}

fn truncate(scene: &Scene, name: &str) {
    let bytes = fs::read(scene.path(name)).unwrap();
    scene.file(name, &bytes[..bytes.len() - 100]);
}

fn remove(scene: &Scene, name: &str) {
    fs::remove_file(scene.path(name)).unwrap();
}

fn swap(scene: &Scene, one: &str, other: &str) {
    let [one, other] = [one, other].map(|name| scene.path(&format!("out/features/{name}.parquet")));
    let bytes = fs::read(&one).unwrap();
    fs::copy(&other, &one).unwrap();
    fs::write(&other, bytes).unwrap();
}

fn swap_and_list(scene: &Scene) {
    swap(scene, "a", "c");
    for name in ["a", "c"] {
        relist(scene, &format!("out/features/{name}.parquet"));
    }
}

fn edit(scene: &Scene, change: impl Fn(&mut Value)) {
    let mut manifest = scene.manifest();
    change(&mut manifest);
    scene.file(
        "out/manifest.json",
        serde_json::to_vec_pretty(&manifest).unwrap(),
    );
}

/// The manifest lists a file of the run's as it now lies.
fn relist(scene: &Scene, name: &str) {
    let bytes = fs::read(scene.path(name)).unwrap();
    let listed = name.strip_prefix("out/").unwrap();
    edit(scene, |manifest| {
        let mut outputs = manifest["outputs"].as_array_mut().unwrap().iter_mut();
        let output = outputs.find(|output| output["path"] == listed).unwrap();
        output["size_bytes"] = json!(bytes.len());
        output["blake3"] = json!(blake3::hash(&bytes).to_hex().to_string());
        if name.ends_with(".parquet") {
            output["rows"] = json!(common::Table::read(&scene.path(name)).rows.num_rows());
        }
    });
}

/// Changes the vector of row 4 of the second input, so that no hash tells.
fn recount(scene: &Scene, change: fn(&mut [f32])) {
    rewrite_vectors(scene, "out/features/b.parquet", |values| {
        change(&mut values[4 * 8..5 * 8]);
    });
}

fn move_a_count(vector: &mut [f32]) {
    let from = vector.iter().position(|&count| count > 0.0).unwrap();
    vector[from] -= 1.0;
    vector[(from + 1) % 8] += 1.0;
}

fn rewrite_vectors(scene: &Scene, name: &str, change: impl Fn(&mut [f32])) {
    rewrite(scene, name, |rows| {
        let lists = rows
            .column_by_name("features")
            .unwrap()
            .as_fixed_size_list();
        let mut values = lists
            .values()
            .as_primitive::<Float32Type>()
            .values()
            .to_vec();
        change(&mut values);
        let DataType::FixedSizeList(field, size) = lists.data_type() else {
            panic!("{:?}", lists.data_type());
        };
        let values = Arc::new(Float32Array::from(values));
        let lists = FixedSizeListArray::new(Arc::clone(field), *size, values, None);
        with_column(&rows, "features", Arc::new(lists))
    });
}

/// Writes a file anew with other rows and the same footer keys, and lists it.
fn rewrite(scene: &Scene, name: &str, change: impl Fn(RecordBatch) -> RecordBatch) {
    let path = scene.path(name);
    let rows = change(common::Table::read(&path).rows);
    let keys = keys(&path);
    let properties = WriterProperties::builder()
        .set_key_value_metadata(keys)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    scene.file(name, writer.into_inner().unwrap());
    relist(scene, name);
}

fn keys(path: &Path) -> Option<Vec<parquet::file::metadata::KeyValue>> {
    let file = File::open(path).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let keys = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .cloned();
    keys.map(|keys| {
        keys.into_iter()
            .filter(|key| key.key != "ARROW:schema")
            .collect()
    })
}

fn with_column(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let at = rows.schema().index_of(name).unwrap();
    let mut columns = rows.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}
