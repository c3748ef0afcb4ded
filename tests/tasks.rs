//! Tasks, with real processes: in any order, any number of times, killed anywhere, the result is that of `bovw run`; and what
//! is wrong with them is one clear error.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Int64Array, LargeStringArray, ListArray,
    StringArray, StringViewArray, StructArray, TimestampSecondArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type};
use bovw::kernel::rng::{Purpose, Stream};
use insta::assert_snapshot;
use serde_json::Value;

use common::{Ended, Scene, Shard, image_structs, picture, pngs};

/// Images of a shard, and of its row groups.
const IMAGES: u32 = 23;
const ROWS_IN_GROUP: usize = 5;

/// Shards with several row groups, labels, names and, in each, an image that is none.
fn scene() -> Scene {
    (0..3).fold(Scene::new(), |scene, shard| {
        scene.and(&format!("data/{shard}.parquet"), &shard_of(shard, true))
    })
}

/// The same without bad images.
fn good_scene() -> Scene {
    (0..3).fold(Scene::new(), |scene, shard| {
        scene.and(&format!("data/{shard}.parquet"), &shard_of(shard, false))
    })
}

fn shard_of(shard: u32, has_bad: bool) -> Shard {
    let numbers = shard * IMAGES..(shard + 1) * IMAGES;
    let pictures: Vec<_> = numbers.clone().map(|i| picture(i, 9, 10 + i % 3)).collect();
    let mut images = pngs(&pictures);
    if has_bad {
        images[7 + shard as usize] = Some(b"no image".to_vec());
    }
    let labels: Int64Array = numbers.clone().map(|i| Some(i64::from(i % 4))).collect();
    let names: StringArray = numbers.map(|i| Some(format!("picture {i}"))).collect();
    Shard::new()
        .column("image", image_structs(images))
        .column("label", Arc::new(labels))
        .column("id", Arc::new(names))
        .row_groups_of(ROWS_IN_GROUP)
}

/// `bovw task WORD JOB` and more arguments, with keys of the job set.
fn task_args(scene: &Scene, word: &str, sets: &[&str], more: &[&str]) -> Vec<String> {
    let mut args = vec!["task".to_owned(), word.to_owned()];
    args.extend(scene.run_args(sets).into_iter().skip(1));
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args
}

fn task(scene: &Scene, word: &str, sets: &[&str], more: &[&str]) -> Ended {
    scene.bovw(&task_args(scene, word, sets, more))
}

/// Plans, and gives the number of tasks and the kinds.
fn plan(scene: &Scene, sets: &[&str], more: &[&str]) -> (usize, Vec<String>) {
    let more = [more, &["--json"]].concat();
    let said = task(scene, "plan", sets, &more).ok().stdout;
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "planned");
    let kinds = last["kinds"].as_array().unwrap().iter();
    let kinds = kinds
        .map(|kind| kind.as_str().unwrap().to_owned())
        .collect();
    (last["tasks"].as_u64().unwrap() as usize, kinds)
}

fn run_tasks(scene: &Scene, sets: &[&str], kind: &str, tasks: &[&str]) -> Ended {
    task(scene, "run", sets, &[&["--kind", kind], tasks].concat())
}

fn merge(scene: &Scene, sets: &[&str], kind: &str) -> Ended {
    task(scene, "merge", sets, &["--kind", kind])
}

/// Every task of a kind, twice, in a random order, which `seed` decides.
fn run_shuffled(scene: &Scene, sets: &[&str], kind: &str, n_tasks: usize, seed: u64) {
    let mut numbers: Vec<String> = (0..n_tasks)
        .chain(0..n_tasks)
        .map(|n| n.to_string())
        .collect();
    let mut stream = Stream::new(seed, Purpose::Reseed, 0);
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, stream.below(at as u64 + 1) as usize);
    }
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let said = run_tasks(scene, sets, kind, &numbers).ok().stdout;
    assert_eq!(said.matches(": was done").count(), n_tasks, "{said}");
}

/// Plans, runs and merges everything.
fn do_all(scene: &Scene, sets: &[&str], more: &[&str]) {
    let (n_tasks, kinds) = plan(scene, sets, more);
    for (seed, kind) in kinds.iter().enumerate() {
        run_shuffled(scene, sets, kind, n_tasks, seed as u64);
        merge(scene, sets, kind).ok();
    }
}

/// All that a run leaves but what tells times: results, lists, kept patches and images; and the manifest without times.
fn left(scene: &Scene) -> (BTreeMap<String, Vec<u8>>, Value) {
    let mut files = scene.files("out");
    let is_timed = |name: &str| {
        ["manifest.json", "report.html", "pictures/timeline.parquet"].contains(&name)
            || name.ends_with(".png")
    };
    files.retain(|name, _| !is_timed(name));
    let mut manifest = scene.manifest();
    manifest["run"] = Value::Null;
    let outputs = manifest["outputs"].as_array_mut().unwrap();
    outputs.retain(|output| output["path"] != "pictures/timeline.parquet");
    (files, manifest)
}

/// Tasks of these inputs leave what a run of them leaves.
#[track_caller]
fn assert_as_run(scene: fn() -> Scene, sets: &[&str], more: &[&str]) {
    // Inputs with their times belong to the manifest, so both are of the same files.
    let scene = scene();
    scene.run(sets).ok();
    let expected = left(&scene);
    assert!(expected.0.len() > 3, "{:?}", expected.0.keys());
    fs::remove_dir_all(scene.path("out")).unwrap();
    do_all(&scene, sets, more);
    let found = left(&scene);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found.0), names(&expected.0));
    for (name, bytes) in &expected.0 {
        assert!(found.0[name] == *bytes, "{name} {sets:?} {more:?}");
    }
    assert_eq!(found.1, expected.1);
}

const BY_GROUP: [&str; 2] = ["--max-row-groups", "1"];

#[test]
fn tasks_of_whole_files_in_any_order_and_twice_leave_what_a_run_leaves() {
    assert_as_run(good_scene, &[], &[]);
}

#[test]
fn tasks_of_single_row_groups_leave_what_a_run_leaves() {
    assert_as_run(good_scene, &["input.keep=[\"id\"]"], &BY_GROUP);
}

#[test]
fn tasks_of_some_row_groups_leave_what_a_run_leaves() {
    assert_as_run(good_scene, &[], &["--max-row-groups", "2"]);
}

#[test]
fn a_limited_sample_is_the_same_however_it_was_cut() {
    for max in ["1", "300", "1000", "100000"] {
        let max = format!("sample.max_patches={max}");
        let few = ["vocabulary.k=1", max.as_str()];
        assert_as_run(good_scene, &few, &BY_GROUP);
    }
    assert_as_run(
        good_scene,
        &["sample.max_patches=500", "sample.every=3"],
        &BY_GROUP,
    );
}

#[test]
fn one_image_in_so_many_is_counted_over_all_files() {
    assert_as_run(
        good_scene,
        &["sample.every=4", "sample.per_image=9"],
        &BY_GROUP,
    );
}

#[test]
fn several_sizes_of_patches_with_tf_idf_leave_what_a_run_leaves() {
    let sets = [
        "patches.size=[[3, 3], [4, 5]]",
        "features.weighting=\"tf-idf\"",
        "features.pooling=[[1, 1], [2, 2]]",
        "sample.max_patches=700",
    ];
    assert_as_run(good_scene, &sets, &BY_GROUP);
}

#[test]
fn bad_images_that_are_kept_are_told_as_a_run_tells_them() {
    let sets = [
        "input.on_bad_image=\"zero\"",
        "features.weighting=\"tf-idf\"",
    ];
    assert_as_run(scene, &sets, &BY_GROUP);
    assert_as_run(scene, &sets, &[]);
}

#[test]
fn bad_images_that_are_dropped_are_told_as_a_run_tells_them() {
    assert_as_run(scene, &["input.on_bad_image=\"drop\""], &BY_GROUP);
    assert_as_run(scene, &["input.on_bad_image=\"drop\""], &[]);
}

#[test]
fn patches_that_are_prepared_one_by_one_and_clusters_leave_what_a_run_leaves() {
    let sets = [
        "patches.normalize=\"patch\"",
        "patches.whiten=\"zca\"",
        "features.encoding=\"triangle\"",
        "cluster=[{of=\"features\", k=[2, 3]}]",
        "input.color=\"auto\"",
    ];
    assert_as_run(good_scene, &sets, &BY_GROUP);
}

#[test]
fn tasks_of_another_number_of_threads_or_little_memory_leave_what_a_run_leaves() {
    let scene = good_scene();
    scene.run(&[]).ok();
    let expected = scene.results("out");
    fs::remove_dir_all(scene.path("out")).unwrap();
    let (n_tasks, kinds) = plan(&scene, &[], &BY_GROUP);
    for kind in &kinds {
        for number in 0..n_tasks {
            let threads = format!("run.threads={}", 1 + number % 3);
            let memory = "run.memory=\"20MiB\"";
            run_tasks(&scene, &[&threads, memory], kind, &[&number.to_string()]).ok();
        }
        merge(&scene, &[], kind).ok();
    }
    assert!(scene.results("out") == expected);
}

/// One shard, cut into row groups, with columns of many types.
fn scene_of_types() -> Scene {
    let n = IMAGES as usize;
    let texts = (0..n).map(|i| Some(["a", "bc", "def"][i % 3]));
    let numbers = (0..n).map(|i| (i % 5 != 0).then_some(i as i64));
    let lists = (0..n).map(|i| Some((0..i % 4).map(|j| Some((i * j) as f32)).collect::<Vec<_>>()));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("inner", DataType::Utf8, true)),
        Arc::new(texts.clone().collect::<StringArray>()) as ArrayRef,
    )]));
    let seconds: TimestampSecondArray = numbers.clone().collect();
    let mut shard = shard_of(0, false)
        .column(
            "dictionary",
            Arc::new(texts.clone().collect::<DictionaryArray<Int32Type>>()),
        )
        .column(
            "large",
            Arc::new(texts.clone().collect::<LargeStringArray>()),
        )
        .column("view", Arc::new(texts.collect::<StringViewArray>()))
        .column(
            "lists",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
        )
        .column("nested", nested)
        .column("zoned", Arc::new(seconds.with_timezone("+01:00")));
    let decimals = numbers.map(|number| number.map(i128::from));
    let decimals: Decimal128Array = decimals.collect();
    shard = shard.column(
        "decimal",
        Arc::new(decimals.with_precision_and_scale(20, 3).unwrap()),
    );
    Scene::with(&shard)
}

#[test]
fn kept_columns_of_any_type_come_through_parts_as_through_a_run() {
    let keep = "input.keep=[\"dictionary\", \"large\", \"view\", \"lists\", \"nested\", \"zoned\", \"decimal\"]";
    assert_as_run(scene_of_types, &[keep], &BY_GROUP);
    assert_as_run(scene_of_types, &[keep], &[]);
}

#[test]
fn a_task_needs_no_memory_for_what_is_done_elsewhere() {
    let scene = good_scene();
    let sets = ["vocabulary.k=2000", "run.memory=\"20MiB\""];
    scene.run(&sets).exited(2);
    task(&scene, "plan", &sets, &[]).exited(2);
    task(&scene, "plan", &sets, &["--memory", "1GiB"]).ok();
    run_tasks(&scene, &sets, "sample", &["0-2"]).ok();
    merge(&scene, &sets, "sample").exited(2);
}

#[test]
fn with_a_finished_vocabulary_there_is_only_featurizing() {
    let scene = good_scene();
    scene.run(&["output.dir=\"words\""]).ok();
    let scene = scene.without_vocabulary();
    let sets = ["vocabulary.from=\"words/vocabulary.parquet\""];
    scene.run(&sets).ok();
    let expected = left(&scene);
    fs::remove_dir_all(scene.path("out")).unwrap();
    let (n_tasks, kinds) = plan(&scene, &sets, &BY_GROUP);
    assert_eq!(kinds, ["featurize"]);
    run_shuffled(&scene, &sets, "featurize", n_tasks, 0);
    merge(&scene, &sets, "featurize").ok();
    assert_eq!(left(&scene), expected);
    let ended = run_tasks(&scene, &sets, "sample", &["0"]).exited(2);
    assert_snapshot!(ended.stderr, @"error: this job has no tasks of kind sample: its words come from vocabulary.from; it has: featurize");
}

#[test]
fn a_run_at_any_point_does_whatever_tasks_have_not_done() {
    let sets = ["features.weighting=\"tf-idf\""];
    let scene = good_scene();
    scene.run(&sets).ok();
    let expected = left(&scene);
    for n_merged in 0..=2 {
        for has_run in [false, true] {
            fs::remove_dir_all(scene.path("out")).unwrap();
            let (_, kinds) = plan(&scene, &sets, &BY_GROUP);
            for kind in &kinds[..n_merged] {
                run_tasks(&scene, &sets, kind, &["0-14"]).ok();
                merge(&scene, &sets, kind).ok();
            }
            if has_run {
                run_tasks(&scene, &sets, &kinds[n_merged], &["3-5"]).ok();
            }
            scene.run(&sets).ok();
            assert_eq!(left(&scene), expected, "{n_merged} {has_run}");
        }
    }
}

#[test]
fn two_processes_at_once_do_the_same_task_to_the_same_bytes() {
    let scene = good_scene();
    scene.run(&[]).ok();
    let expected = left(&scene);
    fs::remove_dir_all(scene.path("out")).unwrap();
    let (n_tasks, kinds) = plan(&scene, &[], &[]);
    let all = format!("0-{}", n_tasks - 1);
    for kind in &kinds {
        let twins: Vec<Child> = (0..4)
            .map(|_| spawn(&scene, &[], &["--kind", kind, &all]))
            .collect();
        for mut twin in twins {
            assert!(twin.wait().unwrap().success());
        }
        merge(&scene, &[], kind).ok();
    }
    assert_eq!(left(&scene), expected);
}

/// `bovw task run` in the background.
fn spawn(scene: &Scene, sets: &[&str], more: &[&str]) -> Child {
    let more = [more, &["--progress", "none"]].concat();
    Command::new(assert_cmd::cargo::cargo_bin!("bovw"))
        .args(task_args(scene, "run", sets, &more))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A scene whose tasks take some tenths of a second.
fn slow_scene() -> Scene {
    (0..2).fold(Scene::new(), |scene, shard| {
        let pictures: Vec<_> = (0..150).map(|i| picture(shard * 150 + i, 70, 70)).collect();
        scene.and(
            &format!("data/{shard}.parquet"),
            &Shard::hugging_face(&pictures),
        )
    })
}

const SLOW: [&str; 2] = ["sample.per_image=400", "vocabulary.max_iter=3"];

#[test]
fn a_task_that_is_killed_anywhere_is_run_again_to_the_same_bytes() {
    let scene = slow_scene();
    scene.run(&SLOW).ok();
    let expected = left(&scene);
    fs::remove_dir_all(scene.path("out")).unwrap();
    let (_, kinds) = plan(&scene, &SLOW, &[]);
    let mut moments = Stream::new(3, Purpose::Reseed, 0);
    for kind in &kinds {
        for number in ["0", "1"] {
            for _ in 0..4 {
                let mut child = spawn(&scene, &SLOW, &["--kind", kind, number]);
                sleep(Duration::from_secs_f64(0.2 * moments.unit()));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            run_tasks(&scene, &SLOW, kind, &[number]).ok();
        }
        merge(&scene, &SLOW, kind).ok();
    }
    assert_eq!(left(&scene), expected);
}

#[test]
fn a_merge_that_is_killed_anywhere_is_done_again_to_the_same_bytes() {
    let scene = slow_scene();
    scene.run(&SLOW).ok();
    let expected = left(&scene);
    fs::remove_dir_all(scene.path("out")).unwrap();
    let (_, kinds) = plan(&scene, &SLOW, &[]);
    let mut moments = Stream::new(4, Purpose::Reseed, 0);
    for kind in &kinds {
        run_tasks(&scene, &SLOW, kind, &["0-1"]).ok();
        for _ in 0..6 {
            let mut child = Command::new(assert_cmd::cargo::cargo_bin!("bovw"))
                .args(task_args(&scene, "merge", &SLOW, &["--kind", kind]))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(Duration::from_secs_f64(0.15 * moments.unit()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        merge(&scene, &SLOW, kind).ok();
    }
    assert_eq!(left(&scene), expected);
}

#[test]
fn a_task_that_outlives_the_merge_leaves_nothing_behind() {
    let scene = slow_scene();
    plan(&scene, &SLOW, &[]);
    run_tasks(&scene, &SLOW, "sample", &["0-1"]).ok();
    merge(&scene, &SLOW, "sample").ok();
    let mut zombie = stopped_in_the_middle(&scene);
    run_tasks(&scene, &SLOW, "featurize", &["0-1"]).ok();
    merge(&scene, &SLOW, "featurize").ok();
    let whole = scene.files("out");
    signal(&zombie, "-CONT");
    assert_eq!(zombie.wait().unwrap().code(), Some(1));
    assert!(scene.files("out") == whole);
    assert!(!scene.path("out/.bovw-tasks").exists());
    scene
        .bovw(&["verify", scene.path("out").to_str().unwrap()])
        .ok();
}

/// A task that is stopped while it writes its features file.
fn stopped_in_the_middle(scene: &Scene) -> Child {
    let is_writing = || {
        let entries = walkdir::WalkDir::new(scene.path("out/.bovw-tasks")).into_iter();
        let mut names = entries
            .flatten()
            .map(|entry| entry.path().display().to_string());
        names.any(|name| name.contains("/featurize/.bovw-tmp-"))
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let mut child = spawn(scene, &SLOW, &["--kind", "featurize", "0"]);
        while child.try_wait().unwrap().is_none() {
            if is_writing() {
                signal(&child, "-STOP");
                if is_writing() {
                    return child;
                }
                child.kill().unwrap();
            }
        }
        // It was done before it was seen.
        for path in made(scene, "featurize", "") {
            fs::remove_file(path).unwrap();
        }
    }
    panic!("no task was stopped while it was at work");
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn an_interrupted_task_ends_as_a_run_does_and_says_how_to_go_on() {
    let scene = slow_scene();
    plan(&scene, &SLOW, &[]);
    let child = Command::new(assert_cmd::cargo::cargo_bin!("bovw"))
        .args(task_args(
            &scene,
            "run",
            &SLOW,
            &["--kind", "sample", "0-1", "--progress", "none"],
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(60));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // On a fast machine both tasks may be done, on a slow one nobody may listen yet.
    if output.status.code() == Some(130) {
        let command = said.split_once("interrupted; continue with: ").unwrap().1;
        assert!(
            command.trim_end().ends_with("--kind sample 0-1"),
            "{command}"
        );
        let again = Command::new("sh").args(["-c", command.trim_end()]).output();
        assert!(again.unwrap().status.success());
    }
    run_tasks(&scene, &SLOW, "sample", &["0-1"]).ok();
    merge(&scene, &SLOW, "sample").ok();
}

#[test]
fn planning_again_keeps_what_is_done_and_another_cut_starts_over() {
    let scene = good_scene();
    assert_eq!(plan(&scene, &[], &[]).0, 3);
    run_tasks(&scene, &[], "sample", &["1"]).ok();
    assert_eq!(plan(&scene, &[], &[]).0, 3);
    let said = run_tasks(&scene, &[], "sample", &["1"]).ok().stdout;
    assert!(said.contains("was done"), "{said}");
    assert_eq!(plan(&scene, &[], &BY_GROUP).0, 15);
    assert_eq!(plan(&scene, &[], &[]).0, 3);
    let said = run_tasks(&scene, &[], "sample", &["1"]).ok().stdout;
    assert!(!said.contains("was done"), "{said}");
    run_tasks(&scene, &[], "sample", &["0-2"]).ok();
    merge(&scene, &[], "sample").ok();
    assert_eq!(plan(&scene, &[], &[]).1, ["featurize"]);
    assert_eq!(plan(&scene, &[], &["--fresh"]).1, ["sample", "featurize"]);
    assert!(!scene.path("out/vocabulary.parquet").exists());
    let said = run_tasks(&scene, &[], "sample", &["1"]).ok().stdout;
    assert!(!said.contains("was done"), "{said}");
}

#[test]
fn a_fresh_run_removes_the_tasks_and_a_finished_one_has_none() {
    let scene = good_scene();
    plan(&scene, &[], &[]);
    run_tasks(&scene, &[], "sample", &["1"]).ok();
    let args = [scene.run_args(&[]), vec!["--fresh".to_owned()]].concat();
    scene.bovw(&args).ok();
    assert!(!scene.path("out/.bovw-tasks").exists());
    assert_eq!(plan(&scene, &[], &[]), (0, Vec::new()));
    assert!(!scene.path("out/.bovw-tasks").exists());
    merge(&scene, &[], "sample").ok();
    merge(&scene, &[], "featurize").ok();
    let said = run_tasks(&scene, &[], "sample", &["1"]).exited(1).stderr;
    assert_snapshot!(said, @r#"
    error: DIR/out: there is no task plan in it any more: its run is done
      help: `bovw task plan JOB.toml` makes one
    "#);
}

#[test]
fn too_many_bad_images_end_the_merge_as_they_end_a_run() {
    let scene = scene();
    let sets = ["input.on_bad_image=\"drop\"", "input.max_bad=2"];
    plan(&scene, &sets, &[]);
    for kind in ["sample", "featurize"] {
        run_tasks(&scene, &sets, kind, &["0-2"]).ok();
        let code = merge(&scene, &sets, kind).code;
        assert_eq!(code, Some(if kind == "sample" { 0 } else { 3 }));
    }
    assert!(scene.path("out/manifest.json").exists());
    assert!(!scene.path("out/.bovw-tasks").exists());
}

#[test]
fn a_bad_image_ends_its_task_with_its_place() {
    let scene = scene();
    plan(&scene, &[], &BY_GROUP);
    run_tasks(&scene, &[], "sample", &["0"]).ok();
    let said = run_tasks(&scene, &[], "sample", &["1"]).exited(1).stderr;
    assert_snapshot!(said, @r#"
    error: DIR/data/0.parquet, column "image", row group 1, row 7: bad image: not an image of a known format
      help: input.on_bad_image = "zero" keeps such rows with a zero vector, "drop" leaves them out
    "#);
}

#[test]
fn what_is_asked_for_out_of_turn_is_refused_with_what_to_do() {
    let scene = good_scene();
    let tf_idf = ["features.weighting=\"tf-idf\""];
    let mut said = vec![
        run_tasks(&scene, &[], "sample", &["0"]).exited(1),
        merge(&scene, &[], "sample").exited(1),
    ];
    assert!(!scene.path("out").exists(), "nothing was made");
    plan(&scene, &tf_idf, &BY_GROUP);
    said.extend([
        merge(&scene, &tf_idf, "sample").exited(1),
        run_tasks(&scene, &tf_idf, "documents", &["0"]).exited(1),
        merge(&scene, &tf_idf, "featurize").exited(1),
        run_tasks(&scene, &tf_idf, "sample", &["14", "15"]).exited(2),
        run_tasks(&scene, &tf_idf, "sample", &["3-1"]).exited(2),
        run_tasks(&scene, &tf_idf, "sample", &[]).exited(2),
        // Another job, whose directory this is not.
        run_tasks(&scene, &[], "sample", &["0"]).exited(4),
        run_tasks(&scene, &[], "documents", &["0"]).exited(2),
        merge(&scene, &[], "sample").exited(4),
        task(&scene, "plan", &[], &[]).exited(4),
    ]);
    run_tasks(&scene, &tf_idf, "sample", &["0-3", "6", "8-13"]).ok();
    said.push(merge(&scene, &tf_idf, "sample").exited(1));
    run_tasks(&scene, &tf_idf, "sample", &["0-14"]).ok();
    merge(&scene, &tf_idf, "sample").ok();
    said.extend([
        run_tasks(&scene, &tf_idf, "featurize", &["0"]).exited(1),
        merge(&scene, &tf_idf, "featurize").exited(1),
        merge(&scene, &tf_idf, "documents").exited(1),
    ]);
    let said: Vec<String> = said.into_iter().map(|ended| ended.stderr).collect();
    assert_snapshot!(said.join("\n"));
}

#[test]
fn an_input_that_has_changed_since_the_plan_is_refused() {
    let scene = good_scene();
    plan(&scene, &[], &[]);
    shard_of(7, false).write(&scene.path("data/1.parquet"));
    run_tasks(&scene, &[], "sample", &["0"]).ok();
    let said = run_tasks(&scene, &[], "sample", &["1"]).exited(1).stderr;
    assert_snapshot!(said, @r#"
    error: DIR/data/1.parquet: has changed since the tasks were planned
      help: plan again with `bovw task plan JOB.toml --fresh`
    "#);
    merge(&scene, &[], "sample").exited(4);
    fs::remove_file(scene.path("data/1.parquet")).unwrap();
    run_tasks(&scene, &[], "sample", &["1"]).exited(1);
}

#[test]
fn what_a_task_made_and_was_damaged_is_missing_until_the_task_is_run_again() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 4] = [
        ("empty", |_| Vec::new()),
        ("half", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("flipped", |mut bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 0x40;
            bytes
        }),
        ("longer", |mut bytes| {
            bytes.push(0);
            bytes
        }),
    ];
    let sets = [
        "features.weighting=\"tf-idf\"",
        "input.on_bad_image=\"drop\"",
    ];
    let scene = scene();
    scene.run(&sets).ok();
    let expected = left(&scene);
    fs::remove_dir_all(scene.path("out")).unwrap();
    plan(&scene, &sets, &[]);
    for kind in ["sample", "documents", "featurize"] {
        run_tasks(&scene, &sets, kind, &["0-2"]).ok();
        let files = made(&scene, kind, "1.");
        assert!(!files.is_empty());
        for path in files {
            for (how, damage) in damages {
                let whole = fs::read(&path).unwrap();
                fs::write(&path, damage(whole)).unwrap();
                let said = merge(&scene, &sets, kind).exited(1).stderr;
                let expected = "1 of 3 tasks";
                assert!(said.contains(expected), "{} {how}: {said}", path.display());
                let said = run_tasks(&scene, &sets, kind, &["0-2"]).ok().stdout;
                assert_eq!(said.matches("was done").count(), 2, "{said}");
            }
        }
        merge(&scene, &sets, kind).ok();
    }
    assert_eq!(left(&scene), expected);
}

/// Files of a kind whose names start so.
fn made(scene: &Scene, kind: &str, start: &str) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(scene.path("out/.bovw-tasks")).into_iter();
    let files = files.flatten().map(|entry| entry.into_path());
    files
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            path.is_file() && path.parent().unwrap().ends_with(kind) && name.starts_with(start)
        })
        .collect()
}

#[test]
fn a_plan_that_is_damaged_or_of_another_version_is_refused_with_what_to_do() {
    let scene = good_scene();
    plan(&scene, &[], &[]);
    let path = scene.path("out/.bovw-tasks/plan.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let version = format!("\"bovw\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let damages = [
        ("empty", String::new()),
        ("no JSON", format!("x{whole}")),
        (
            "a task less",
            whole
                .lines()
                .take(3)
                .map(|line| format!("{line}\n"))
                .collect(),
        ),
        ("another row", whole.replace("\"rows\":23", "\"rows\":22")),
        (
            "another version",
            whole.replace(&version, "\"bovw\":\"0.0.1\""),
        ),
    ];
    let mut said = String::new();
    for (how, damaged) in damages {
        assert_ne!(damaged, whole, "{how}");
        fs::write(&path, damaged).unwrap();
        let ran = run_tasks(&scene, &[], "sample", &["0"]).exited(1).stderr;
        assert_eq!(merge(&scene, &[], "sample").exited(1).stderr, ran);
        said += &format!("{how}\n{ran}\n");
    }
    assert_snapshot!(said);
    plan(&scene, &[], &[]);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}

#[test]
fn a_merge_keeps_other_runs_out_and_tasks_in() {
    let scene = good_scene();
    plan(&scene, &[], &[]);
    let lock = fs::File::open(scene.path("out/.bovw-lock")).unwrap();
    lock.lock().unwrap();
    run_tasks(&scene, &[], "sample", &["0-2"]).ok();
    merge(&scene, &[], "sample").exited(4);
    task(&scene, "plan", &[], &[]).exited(4);
    drop(lock);
    merge(&scene, &[], "sample").ok();
}

#[test]
fn a_plan_tells_what_to_type() {
    let scene = good_scene();
    let said = task(&scene, "plan", &["sample.every=2"], &["--threads", "1"])
        .ok()
        .stdout;
    let program = assert_cmd::cargo::cargo_bin!("bovw").display().to_string();
    assert_snapshot!(said.replace(&program, "bovw"), @r#"
    3 tasks of 3 files: out
      kinds   sample, then featurize
      next    bovw task run DIR/job.toml --set sample.every=2 --threads 1 --progress none --kind sample 0-2
              bovw task merge DIR/job.toml --set sample.every=2 --threads 1 --progress none --kind sample
              bovw task run DIR/job.toml --set sample.every=2 --threads 1 --progress none --kind featurize 0-2
              bovw task merge DIR/job.toml --set sample.every=2 --threads 1 --progress none --kind featurize
      spread  seq 0 2 | xargs -P 4 -n 1 bovw task run DIR/job.toml --set sample.every=2 --threads 1 --progress none --kind sample
    "#);
    let said = task(&scene, "plan", &["sample.every=2"], &["--json"])
        .ok()
        .stdout;
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(first["task"], 0);
    assert_eq!(first["file"], "data/0.parquet");
    assert_eq!(first["row_groups"], serde_json::json!([0, 5]));
    assert_eq!(first["rows"], 23);
}
