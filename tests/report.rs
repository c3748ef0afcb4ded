//! `report.html` and `pictures/`: what a run leaves to be looked at, from good data and bad, and how `bovw report` draws it
//! again from the run's own files.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use common::{Scene, Shard, picture, pictures};

/// Twelve 12x9 pictures with labels 0, 1 and 2.
fn labelled() -> Shard {
    let labels: Int64Array = (0..12).map(|i| Some(i % 3)).collect();
    Shard::hugging_face(&pictures(12, 12, 9)).column("label", Arc::new(labels))
}

fn with_labels(labels: Vec<String>) -> Shard {
    let n = labels.len() as u32;
    Shard::hugging_face(&pictures(n, 6, 6)).column("label", Arc::new(StringArray::from(labels)))
}

fn page(scene: &Scene) -> String {
    fs::read_to_string(scene.path("out/report.html")).unwrap()
}

/// Text of the page as a reader sees it: narrow spaces are spaces, line ends too.
fn text(scene: &Scene) -> String {
    let page = page(scene).replace(['\u{202f}', '\u{a0}', '\n'], " ");
    page.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Pictures that do not tell times, and what they are drawn from.
fn timeless(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let mut files = scene.files("out/pictures");
    files.retain(|name, _| {
        !["throughput.png", "channels.png", "timeline.parquet"].contains(&name.as_str())
    });
    files
}

#[track_caller]
fn assert_whole(page: &str) {
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    for tag in page.match_indices("<img ").map(|(at, _)| &page[at..]) {
        let tag = &tag[..tag.find('>').unwrap()];
        assert!(tag.contains("src=\"data:image/png;base64,"), "{tag}");
        assert!(tag.contains("alt=\"") && !tag.contains("alt=\"\""), "{tag}");
    }
    for outside in [
        "src=\"http",
        "href=\"http",
        "url(",
        "<script",
        "@import",
        ",NaN",
        "NaN,",
        ">NaN",
        ",inf",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_run_ends_with_a_page_that_needs_no_other_file() {
    let scene = Scene::with(&labelled());
    let ended = scene.run(&[]).ok();
    assert!(ended.stdout.contains("report.html"), "{ended:?}");
    let page = page(&scene);
    assert_whole(&page);
    for part in [
        "data",
        "sample",
        "learning",
        "vocabulary",
        "nearest",
        "vectors",
        "images",
        "run",
        "job",
        "files",
    ] {
        assert!(page.contains(&format!("<section id=\"{part}\">")), "{part}");
    }
    for name in [
        "words",
        "patches",
        "nearest",
        "images",
        "inertia",
        "use",
        "use_by_class",
    ] {
        let file = fs::read(scene.path(&format!("out/pictures/{name}.png"))).unwrap();
        assert!(image::load_from_memory(&file).is_ok(), "{name}");
    }
}

#[test]
fn words_patches_and_uses_are_shown_for_every_size() {
    let scene = Scene::with(&labelled());
    let sizes = "patches.size=[[3,3],[5,4]]";
    scene.run(&[sizes]).ok();
    let whole = page(&scene);
    assert_whole(&whole);
    // In the sample, learning, the vocabulary, nearest patches and vectors.
    for size in ["3", "5"] {
        let width = if size == "3" { "3" } else { "4" };
        let heading = format!("<h3>Patches of {size} × {width} pixels</h3>");
        let shown = whole.replace(['\u{202f}', '\u{a0}'], " ");
        assert_eq!(shown.matches(&heading).count(), 5, "{heading}");
        for kind in [
            "words",
            "patches",
            "nearest",
            "inertia",
            "use",
            "use_by_class",
        ] {
            let name = format!("pictures/{kind}-{size}x{width}.png");
            let file = fs::read(scene.path(&format!("out/{name}"))).unwrap();
            assert!(
                image::load_from_memory(&file).is_ok() && whole.contains(&name),
                "{name}"
            );
        }
    }
    fs::remove_file(scene.path("out/report.html")).unwrap();
    scene.bovw(&["report", "out"]).ok();
    assert!(page(&scene) == whole);
    let mut args = scene.run_args(&["patches.size=[4,4]"]);
    args.push("--fresh".to_owned());
    scene.bovw(&args).ok();
    let left: Vec<String> = scene.files("out").into_keys().collect();
    assert!(!left.iter().any(|name| name.contains("5x4")), "{left:?}");
    assert!(!page(&scene).contains("<h3>Patches of"));
}

#[test]
fn pictures_are_the_same_bytes_for_any_number_of_threads() {
    let scene = Scene::with(&labelled());
    let drawn = |threads: u32| {
        let threads = format!("run.threads={threads}");
        let mut args = scene.run_args(&[&threads]);
        args.push("--fresh".to_owned());
        scene.bovw(&args).ok();
        timeless(&scene)
    };
    let expected = drawn(1);
    assert!(expected.len() > 8, "{:?}", expected.keys());
    for threads in [2, 5] {
        assert!(drawn(threads) == expected, "{threads} threads");
    }
}

#[test]
fn a_run_is_drawn_again_from_its_own_files_alone() {
    let scene = Scene::with(&labelled());
    scene.run(&[]).ok();
    let (before, pictures) = (page(&scene), scene.files("out/pictures"));
    fs::remove_dir_all(scene.path("data")).unwrap();
    fs::remove_file(scene.path("out/report.html")).unwrap();
    fs::remove_file(scene.path("out/pictures/words.png")).unwrap();
    let ended = scene.bovw(&["report", "out", "--json"]).ok();
    let event: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(event["event"], "reported");
    assert_eq!(event["size_bytes"], before.len());
    assert!(page(&scene) == before);
    assert!(scene.files("out/pictures") == pictures);
}

#[test]
fn a_finished_run_whose_pictures_were_removed_is_not_made_again() {
    let scene = Scene::with(&labelled());
    scene.run(&[]).ok();
    let results = scene.files("out/features");
    let times = scene.manifest()["run"].clone();
    fs::remove_dir_all(scene.path("out/pictures")).unwrap();
    fs::remove_file(scene.path("out/report.html")).unwrap();
    let ended = scene.run(&[]).ok();
    assert!(ended.stdout.contains("Nothing to do"), "{ended:?}");
    assert!(scene.files("out/features") == results && scene.manifest()["run"] == times);
    // What was kept for them is gone, so the page does without.
    let page = page(&scene);
    assert_whole(&page);
    assert!(page.contains("id=\"vocabulary\"") && !page.contains("id=\"nearest\""));
}

#[test]
fn a_fresh_run_removes_the_report_and_pictures_of_the_one_before() {
    let scene = Scene::with(&labelled());
    scene.run(&[]).ok();
    fs::write(scene.path("out/pictures/mine.png"), "mine").unwrap();
    let mut args = scene.run_args(&["input.files=[\"nothing/*.parquet\"]"]);
    args.push("--fresh".to_owned());
    scene.bovw(&args).exited(2);
    assert!(
        scene.path("out/report.html").exists(),
        "a job that cannot run removes nothing"
    );
    // Another shape of image: the pictures of a run without labels are fewer.
    Shard::hugging_face(&pictures(12, 12, 9)).write(&scene.path("data/a.parquet"));
    let mut args = scene.run_args(&[]);
    args.push("--fresh".to_owned());
    scene.bovw(&args).ok();
    assert!(!scene.path("out/pictures/use_by_class.png").exists());
    assert!(
        scene.path("out/pictures/mine.png").exists(),
        "what is not ours stays"
    );
}

#[test]
fn a_report_that_cannot_be_drawn_is_told_and_does_not_fail_the_run() {
    let scene = Scene::with(&labelled());
    scene.file("out/report.html/in/the/way", "");
    let ended = scene.run(&[]).ok();
    assert!(
        ended.stderr.contains("warning: the results are whole")
            && ended.stderr.contains("report.html"),
        "{ended:?}"
    );
    assert!(scene.path("out/manifest.json").exists());
    assert!(!ended.stdout.contains("report.html"), "{ended:?}");
    scene.bovw(&["report", "out"]).exited(1);
}

#[test]
fn labels_with_html_in_them_are_text() {
    let evil = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a & 'b'",
    ];
    let labels = (0..12).map(|i| evil[i % 3].to_owned()).collect();
    let scene = Scene::with(&with_labels(labels));
    scene.run(&[]).ok();
    let page = page(&scene);
    assert_whole(&page);
    assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    assert!(!page.contains("<img src=x") && !page.contains("a & 'b'"));
}

#[test]
fn without_labels_nothing_is_split_by_class() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(6, 8, 8)));
    scene.run(&[]).ok();
    assert_whole(&page(&scene));
    assert!(text(&scene).contains("There are no labels"));
    assert!(!page(&scene).contains("use_by_class"));
}

#[test]
fn one_label_for_all_is_said_and_not_drawn() {
    let scene = Scene::with(&with_labels(vec!["same".to_owned(); 9]));
    scene.run(&[]).ok();
    assert!(text(&scene).contains("All rows have the same label"));
    assert!(!page(&scene).contains("use_by_class"));
}

#[test]
fn too_many_labels_are_replaced_by_a_note() {
    let labels = (0..300).map(|i| format!("label {i}")).collect();
    let scene = Scene::with(&with_labels(labels));
    scene.run(&["vocabulary.max_iter=2"]).ok();
    assert_whole(&page(&scene));
    assert!(
        text(&scene).contains("more than 256 different labels"),
        "{}",
        text(&scene)
    );
    assert!(!page(&scene).contains("use_by_class"));
}

#[test]
fn many_labels_are_drawn_as_far_as_they_can_be_read() {
    let labels = (0..200).map(|i| format!("label {}", i % 100)).collect();
    let scene = Scene::with(&with_labels(labels));
    scene.run(&["vocabulary.max_iter=2"]).ok();
    assert!(text(&scene).contains("Shown: the 40 most frequent of 100 labels."));
}

#[test]
fn a_vocabulary_of_4000_words_makes_a_small_page() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(60, 24, 24)));
    scene
        .run(&[
            "vocabulary.k=4000",
            "vocabulary.max_iter=1",
            "run.memory=\"256MiB\"",
        ])
        .ok();
    let page = page(&scene);
    assert_whole(&page);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(
        text(&scene).contains("The 3800 less used words are left out here."),
        "{}",
        text(&scene)
    );
}

#[test]
fn patches_of_any_shape_are_drawn() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(12, 70, 66)));
    for (size, stride) in [("[1, 1]", 3), ("[64, 64]", 1), ("[2, 9]", 4)] {
        let (size, stride) = (
            format!("patches.size={size}"),
            format!("patches.stride={stride}"),
        );
        let mut args = scene.run_args(&[
            &size,
            &stride,
            "run.memory=\"512MiB\"",
            "vocabulary.k=4",
            "sample.per_image=30",
        ]);
        args.push("--fresh".to_owned());
        scene.bovw(&args).ok();
        let page = page(&scene);
        assert_whole(&page);
        assert!(page.contains("id=\"images\"") && page.contains("id=\"nearest\""));
    }
}

#[test]
fn float_images_of_different_sizes_are_drawn_on_their_own_scale() {
    // Square images of 36 and 64 pixels, from -1 to 1.
    let sides = [6usize, 8];
    let lengths: Vec<usize> = (0..10).map(|i| sides[i % 2].pow(2)).collect();
    let n: usize = lengths.iter().sum();
    let values: Vec<f32> = (0..n).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = ListArray::new(item, offsets, Arc::new(Float32Array::from(values)), None);
    let scene = Scene::with(&Shard::new().column("image", Arc::new(lists)));
    scene.run(&["input.image=\"image\""]).ok();
    assert_whole(&page(&scene));
    let drawn = image::open(scene.path("out/pictures/images.png"))
        .unwrap()
        .to_luma8();
    let (mut low, mut high) = (0, 0);
    for pixel in drawn.pixels() {
        low += u32::from(pixel.0[0] < 40);
        high += u32::from((150..250).contains(&pixel.0[0]));
    }
    assert!(
        low > 1000 && high > 1000,
        "{low} dark and {high} bright pixels"
    );
}

#[test]
fn a_ready_vocabulary_and_dropped_images_read_naturally() {
    let scene = Scene::with(&labelled());
    scene.run(&["output.dir=\"first\""]).ok();
    scene.file(
        "job.toml",
        "input = {files = ['data/*.parquet'], on_bad_image = 'drop'}\npatches.size = [3, 3]\n\
         vocabulary.from = 'first/vocabulary.parquet'\noutput.dir = 'out'\nrun.memory = '64MiB'\n",
    );
    let mut images = common::pngs(&pictures(5, 9, 9));
    images[2] = None;
    Shard::new()
        .column("image", common::image_structs(images))
        .write(&scene.path("data/a.parquet"));
    scene.run(&[]).ok();
    let text = text(&scene);
    assert_whole(&page(&scene));
    assert!(
        text.contains("Nothing was learned: the words came ready"),
        "{text}"
    );
    assert!(
        text.contains("One image could not be used and was left out"),
        "{text}"
    );
    assert!(!text.contains("id=\"sample\"") && text.contains("id=\"images\""));
}

#[test]
fn a_directory_that_cannot_be_drawn_gives_one_clear_error() {
    let scene = Scene::with(&labelled());
    scene.run(&[]).ok();
    let mut said = Vec::new();
    let mut report = |dir: &str| {
        let ended = scene.bovw(&["report", dir]).exited(1);
        said.push(ended.stderr);
    };
    report("nowhere");
    report("data");
    for (file, damage) in [
        ("vocabulary.parquet", None),
        ("features/a.parquet", Some("short")),
        ("manifest.json", Some("{\"format\": 1, \"bovw\":")),
        ("manifest.json", Some("{}")),
        ("manifest.json", None),
    ] {
        let path = scene.path("out").join(file);
        let whole = fs::read(&path).unwrap();
        match damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        report("out");
        fs::write(&path, whole).unwrap();
    }
    insta::assert_snapshot!(said.join("\n"));
}

/// Writes `clusters/pixels-k3.*` for 12x9 images, as a run with `[[cluster]]` leaves them.
fn write_centroids(dir: &Path) {
    fs::create_dir_all(dir.join("clusters")).unwrap();
    let d = 12 * 9;
    let values: Vec<f32> = (0..3 * d).map(|i| (i % 256) as f32).collect();
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let values = Arc::new(Float32Array::from(values));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("cluster", Arc::new(Int32Array::from(vec![0, 1, 2]))),
        ("count", Arc::new(Int64Array::from(vec![7, 5, 0]))),
        ("inertia", Arc::new(Float64Array::from(vec![3.0, 2.0, 0.0]))),
        (
            "centroid",
            Arc::new(FixedSizeListArray::new(item, d, values, None)),
        ),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(dir.join("clusters/pixels-k3.centroids.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

/// An entry of the manifest's `clusters`.
fn cluster_entry(of: &str, evaluation: Value) -> Value {
    let side = |side: u32| {
        if of == "pixels" {
            json!(side)
        } else {
            Value::Null
        }
    };
    json!({
        "of": of, "k": 3, "file": format!("clusters/{of}-k3.parquet"),
        "centroids": format!("clusters/{of}-k3.centroids.parquet"),
        "algorithm": "lloyd", "n_init": 2, "height": side(12), "width": side(9),
        "dimensions": 108, "rows": 12, "inertia": 5.0, "counts": [7, 5, 0],
        "restarts": [
            {"init_inertia": 9.0, "inertia": [9.0, 2.0], "steps": 2, "passes": 2.0, "converged": true, "reseeded": 0, "final_inertia": 0.5, "kept": false},
            {"init_inertia": 8.0, "inertia": [8.0, 1.0], "steps": 2, "passes": 2.0, "converged": true, "reseeded": 0, "final_inertia": 0.4, "kept": true},
        ],
        "evaluation": evaluation, "evaluation_note": null, "identity": "",
    })
}

fn evaluation(labels: &[String], confusion: &[Vec<u64>]) -> Value {
    let n_labelled: u64 = confusion.iter().flatten().sum();
    json!({
        "label": "label", "n_labelled": n_labelled, "n_unlabelled": 1, "labels": labels, "confusion": confusion,
        "purity": 0.75, "nmi": 0.5, "ari": 0.25, "homogeneity": 0.6, "completeness": 0.4, "v_measure": 0.48,
    })
}

/// A scene whose manifest has these clusters.
fn with_clusters(entries: Vec<Value>) -> Scene {
    let scene = Scene::with(&labelled());
    scene.run(&[]).ok();
    write_centroids(&scene.path("out"));
    let mut manifest = scene.manifest();
    manifest["clusters"] = Value::Array(entries);
    fs::write(scene.path("out/manifest.json"), manifest.to_string()).unwrap();
    scene
}

#[test]
fn clusters_are_drawn_with_centroids_scores_and_confusion() {
    let labels = ["<b>zero</b>", "one", "two"].map(str::to_owned);
    let scores = evaluation(&labels, &[vec![4, 0, 0], vec![3, 1, 0], vec![0, 4, 0]]);
    let scene = with_clusters(vec![
        cluster_entry("pixels", scores.clone()),
        cluster_entry("features", scores),
    ]);
    scene.bovw(&["report", "out"]).ok();
    assert_whole(&page(&scene));
    let text = text(&scene);
    assert!(text.contains("id=\"clusters-pixels\"") && text.contains("id=\"clusters-features\""));
    assert!(
        text.contains("0.7500") && text.contains("0.4800"),
        "purity and V-measure"
    );
    assert!(text.contains("&#60;b&#62;zero&#60;/b&#62;") && !text.contains("<b>zero"));
    assert!(text.contains("1 cluster without a row"));
    for name in [
        "pixels-k3.centroids",
        "pixels-k3.confusion",
        "pixels-k3.inertia",
        "features-k3.confusion",
    ] {
        assert!(
            scene.path(&format!("out/pictures/{name}.png")).exists(),
            "{name}"
        );
    }
}

#[test]
fn a_confusion_matrix_of_10_000_labels_is_replaced_by_what_it_would_say() {
    let labels: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
    let confusion = vec![vec![1, 0, 0]; 10_000];
    let scene = with_clusters(vec![cluster_entry(
        "pixels",
        evaluation(&labels, &confusion),
    )]);
    scene.bovw(&["report", "out"]).ok();
    assert_whole(&page(&scene));
    assert!(text(&scene).contains("10 000 different labels are too many for a picture"));
    assert!(!scene.path("out/pictures/pixels-k3.confusion.png").exists());
}

#[test]
fn clusters_without_an_evaluation_say_why() {
    let mut entry = cluster_entry("pixels", Value::Null);
    entry["evaluation_note"] = json!("all rows have the same label");
    let scene = with_clusters(vec![entry]);
    scene.bovw(&["report", "out"]).ok();
    assert!(text(&scene).contains("all rows have the same label"));
    assert!(!page(&scene).contains("homogeneity"));
}

#[test]
fn a_missing_file_of_centroids_is_named() {
    let scene = with_clusters(vec![cluster_entry("pixels", Value::Null)]);
    fs::remove_file(scene.path("out/clusters/pixels-k3.centroids.parquet")).unwrap();
    let ended = scene.bovw(&["report", "out"]).exited(1);
    assert!(
        ended.stderr.contains("pixels-k3.centroids.parquet"),
        "{ended:?}"
    );
}

#[test]
fn one_picture_is_enough_for_a_report() {
    let scene = Scene::with(&Shard::hugging_face(&[picture(3, 9, 9)]));
    scene.run(&["vocabulary.k=2"]).ok();
    assert_whole(&page(&scene));
}
