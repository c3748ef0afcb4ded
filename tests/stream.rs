//! `bovw stream`: record batches in, record batches out, with the numbers of a run; and streams that are none.

mod common;

use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Float32Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use common::{Scene, Shard, image_structs, pictures, pngs};

const N: u32 = 40;

fn batch() -> RecordBatch {
    let rows: ArrayRef = Arc::new(Int64Array::from_iter_values((0..N).map(i64::from)));
    let images = image_structs(pngs(&pictures(N, 14, 13)));
    RecordBatch::try_from_iter([("image", images), ("row", rows)]).expect("a table")
}

fn scene() -> Scene {
    let batch = batch();
    let shard = Shard::new().column("image", Arc::clone(batch.column(0)));
    Scene::with(&shard)
}

/// Batches of some rows each, as a stream.
fn stream(batch: &RecordBatch, rows: usize) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("begun");
    let mut start = 0;
    while start < batch.num_rows() {
        let n = rows.min(batch.num_rows() - start);
        writer.write(&batch.slice(start, n)).expect("written");
        start += n;
    }
    writer.into_inner().expect("ended")
}

struct Streamed {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

fn bovw(scene: &Scene, args: &[&str], stdin: Vec<u8>) -> Streamed {
    let output = assert_cmd::cargo::cargo_bin_cmd!("bovw")
        .args(["stream", scene.path("job.toml").to_str().expect("a path")])
        .args(args)
        .args(["--progress", "none"])
        .current_dir(scene.path(""))
        .write_stdin(stdin)
        .output()
        .expect("ran");
    Streamed {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: scene.without_dir(&output.stderr),
    }
}

fn read(bytes: Vec<u8>) -> RecordBatch {
    let reader = StreamReader::try_new(Cursor::new(bytes), None).expect("a stream");
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("a batch")).collect();
    concat_batches(&schema, &batches).expect("batches of one schema")
}

#[test]
fn images_become_the_vectors_of_a_run_batch_for_batch() {
    let scene = scene();
    scene.run(&[]).ok();
    let expected = scene.features("a").vectors().concat();
    for rows in [1, 7, 40] {
        let ended = bovw(&scene, &["--kind", "featurize"], stream(&batch(), rows));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let made = read(ended.stdout);
        assert_eq!(made.column(0), batch().column(1));
        let vectors = made.column_by_name("features").expect("vectors");
        let values = vectors.as_fixed_size_list().values();
        assert_eq!(values.as_primitive::<Float32Type>().values(), &expected[..]);
    }
    let ended = bovw(
        &scene,
        &["--kind", "featurize", "--layout", "list"],
        stream(&batch(), 9),
    );
    let made = read(ended.stdout);
    let vectors = made.column_by_name("features").expect("vectors");
    let values = vectors.as_list::<i32>().values();
    assert_eq!(values.as_primitive::<Float32Type>().values(), &expected[..]);
}

#[test]
fn sketches_of_parts_in_any_order_give_the_words_of_a_run() {
    let scene = scene();
    scene.run(&[]).ok();
    let mut names = Vec::new();
    for (part, start) in [30, 0, 10, 20, 0].into_iter().enumerate() {
        let rows = batch().slice(start, 10);
        let ended = bovw(
            &scene,
            &["--kind", "sample", "--rows", "row"],
            stream(&rows, 4),
        );
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let name = format!("part-{part}.arrows");
        scene.file(&name, ended.stdout);
        names.push(name);
    }
    let mut args = vec!["--kind", "learn", "--vocabulary", "words.parquet"];
    args.extend(names.iter().map(String::as_str));
    let ended = bovw(&scene, &args, Vec::new());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read = |name: &str| {
        bovw::shard::vocabulary::read(&scene.path(name))
            .expect("words")
            .0
    };
    assert_eq!(read("words.parquet"), read("out/vocabulary.parquet"));
    let with_words = ["--kind", "featurize", "--vocabulary", "words.parquet"];
    let ended = bovw(&scene, &with_words, stream(&batch(), 10));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_stream_that_is_cut_off_or_none_is_one_clear_error() {
    let scene = scene();
    scene.run(&[]).ok();
    let whole = stream(&batch(), 7);
    let cuts = [0, 1, 4, 8, 100, whole.len() / 2, whole.len() - 1].map(|n| whole[..n].to_vec());
    let others = [
        b"label,pixel\n1,2\n".repeat(50),
        vec![0xff; 4096],
        vec![0; 64],
    ];
    for (at, bytes) in cuts.into_iter().chain(others).enumerate() {
        for kind in ["featurize", "sample"] {
            let ended = bovw(&scene, &["--kind", kind], bytes.clone());
            assert_eq!(ended.code, Some(1), "{at} {kind}: {}", ended.stderr);
            let told = ended.stderr.lines().next().unwrap_or_default();
            assert!(told.contains("the stream of images"), "{at} {kind}: {told}");
            assert!(!ended.stderr.contains("panic"), "{}", ended.stderr);
        }
    }
}

#[test]
fn flipped_bits_of_a_stream_never_end_in_a_panic() {
    let scene = scene();
    scene.run(&[]).ok();
    let whole = stream(&batch().slice(0, 3), 3);
    for at in (0..whole.len().min(1200)).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        let ended = bovw(&scene, &["--kind", "featurize"], flipped);
        assert!(matches!(ended.code, Some(0 | 1)), "{at}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panic"), "{at}: {}", ended.stderr);
    }
}

#[test]
fn what_a_stream_cannot_do_is_told_with_what_to_do() {
    let scene = scene();
    let images = stream(&batch(), 10);
    let cases: [(&[&str], &str); 10] = [
        (&["--kind", "featurize"], "there are no words in"),
        (&["--kind", "learn"], "takes sketches"),
        (&["--kind", "learn", "a.arrows"], "--vocabulary FILE"),
        (&["--kind", "sample", "a.arrows"], "images come on stdin"),
        (&["--kind", "sample", "--rows", "image"], "numbers of rows"),
        (&["--kind", "sample", "--rows", "id"], "is missing"),
        (
            &["--kind", "sample", "--layout", "list"],
            "leave --layout out",
        ),
        (
            &["--kind", "sample", "--set", "input.color=\"auto\""],
            "has its own",
        ),
        (
            &["--kind", "sample", "--set", "patches.size=[[3,3],[4,4]]"],
            "a stream is one",
        ),
        (
            &["--kind", "learn", "a.arrows", "--vocabulary", "w.parquet"],
            "a.arrows: cannot read",
        ),
    ];
    for (args, told) in cases {
        let ended = bovw(&scene, args, images.clone());
        assert!(
            matches!(ended.code, Some(1 | 2)),
            "{args:?}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains(told), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn an_empty_stream_gives_an_empty_stream_of_the_same_schema() {
    let scene = scene();
    scene.run(&[]).ok();
    let full = read(bovw(&scene, &["--kind", "featurize"], stream(&batch(), 40)).stdout);
    let empty = StreamWriter::try_new(Vec::new(), &batch().schema())
        .and_then(StreamWriter::into_inner)
        .expect("a stream");
    let ended = bovw(&scene, &["--kind", "featurize"], empty);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let made = read(ended.stdout);
    assert_eq!((made.num_rows(), made.schema()), (0, full.schema()));
}

/// A producer may wait for an answer before it writes more.
#[test]
fn each_batch_is_answered_before_the_next_one_comes() {
    let scene = scene();
    scene.run(&[]).ok();
    let mut child = spawned(&scene);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let mut writer = StreamWriter::try_new(Vec::new(), &batch().schema()).expect("begun");
    let mut n_read = 0;
    for start in [0, 10, 20] {
        writer.write(&batch().slice(start, 10)).expect("written");
        stdin
            .write_all(&std::mem::take(writer.get_mut()))
            .expect("taken");
        stdin.flush().expect("taken");
        let mut some = [0; 1 << 16];
        n_read += stdout.read(&mut some).expect("an answer");
    }
    drop(stdin);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("the end");
    assert!(n_read > 3 * 10 * 8 * 4);
    // Without an end of its own the stream was cut off, and that is told after all answers.
    assert_eq!(child.wait().expect("ended").code(), Some(1));
}

#[test]
fn an_idle_stream_is_interrupted_at_once() {
    let scene = scene();
    scene.run(&[]).ok();
    let mut child = spawned(&scene);
    let _open = child.stdin.take();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}

fn spawned(scene: &Scene) -> std::process::Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin!("bovw"))
        .args(["stream", scene.path("job.toml").to_str().expect("a path")])
        .args(["--kind", "featurize"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("started")
}
