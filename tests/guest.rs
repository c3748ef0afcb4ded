//! What a program gets that calls the library with images of its own: the vectors that a run writes, however they come.

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Schema};
use bovw::Place;
use bovw::guest::{
    Batches, Featurizer, Learner, Numbers, Picture, VectorLayout, Work, count_documents,
};
use bovw::job::Overrides;
use bovw::kernel::vocabulary::Vocabulary;
use bovw::passes::progress::{Progress, Watch};
use bovw::shard::detect::Shape;
use bovw::shard::vocabulary::{self, Header};

use common::{Scene, Shard, image_structs, pictures, pngs};

const N: u32 = 50;

fn work(threads: usize) -> Work<'static> {
    static STOP: AtomicBool = AtomicBool::new(false);
    Work {
        threads,
        stop: &STOP,
    }
}

/// A run over pictures, and the same as a record batch.
fn scene(sets: &[&str]) -> (Scene, RecordBatch) {
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..N).map(i64::from)));
    let images = image_structs(pngs(&pictures(N, 14, 13)));
    let shard = Shard::new()
        .column("image", Arc::clone(&images))
        .column("label", Arc::clone(&labels))
        .row_groups_of(7);
    let scene = Scene::with(&shard);
    let ended = scene.run(sets);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let batch =
        RecordBatch::try_from_iter([("image", images), ("label", labels)]).expect("a table");
    (scene, batch)
}

fn words(scene: &Scene) -> (Vocabulary, Header) {
    vocabulary::read(&scene.path("out/vocabulary.parquet")).expect("a vocabulary")
}

fn featurizer(scene: &Scene, sets: &[&str]) -> Arc<Featurizer> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let featurizer = Featurizer::new(&[words(scene)], &sets, &Overrides::default());
    Arc::new(featurizer.expect("a featurizer"))
}

fn vectors(batch: &RecordBatch) -> Vec<f32> {
    let column = batch.column_by_name("features").expect("vectors");
    let values = match column.data_type() {
        DataType::FixedSizeList(..) => column.as_fixed_size_list().values(),
        _ => column.as_list::<i32>().values(),
    };
    values.as_primitive::<Float32Type>().values().to_vec()
}

#[test]
fn batches_of_any_length_and_threads_give_the_vectors_of_a_run() {
    for sets in [
        vec![],
        vec!["features.encoding=\"triangle\"", "patches.whiten=\"zca\""],
        vec![
            "features.pooling=[2,2]",
            "features.weighting=[\"tf-idf\",\"l2\"]",
        ],
    ] {
        let (scene, batch) = scene(&sets);
        let written = scene.features("a").vectors().concat();
        let featurizer = featurizer(&scene, &[]);
        for (rows, threads) in [(1, 1), (7, 2), (50, 3)] {
            for layout in [VectorLayout::FixedSizeList, VectorLayout::List] {
                let mut batches = Batches::new(Arc::clone(&featurizer), layout);
                let mut found = Vec::new();
                let mut start = 0;
                while start < batch.num_rows() {
                    let n = rows.min(batch.num_rows() - start);
                    let made = batches.featurize(&batch.slice(start, n), work(threads));
                    let made = made.expect("vectors");
                    assert_eq!(made.num_rows(), n);
                    assert_eq!(made.schema(), batches.schema(&batch).expect("a schema"));
                    found.extend(vectors(&made));
                    start += n;
                }
                assert_eq!(found, written, "{sets:?} {rows} {threads}");
            }
        }
    }
}

#[test]
fn other_columns_come_along_and_patches_are_counted() {
    let (scene, batch) = scene(&[]);
    let featurizer = featurizer(&scene, &[]);
    let mut batches = Batches::new(Arc::clone(&featurizer), VectorLayout::default());
    let made = batches.featurize(&batch, work(1)).expect("vectors");
    assert_eq!(made.column(0), batch.column(1));
    let n_patches = made.column_by_name("n_patches").expect("counted");
    let n_patches = n_patches.as_primitive::<Int32Type>();
    assert!(n_patches.values().iter().all(|&n| n == 12 * 11));
}

#[test]
fn raw_images_give_the_vectors_of_encoded_ones() {
    let (scene, batch) = scene(&[]);
    let featurizer = featurizer(&scene, &[]);
    let mut batches = Batches::new(Arc::clone(&featurizer), VectorLayout::default());
    let expected = vectors(&batches.featurize(&batch, work(1)).expect("vectors"));
    let pictures = pictures(N, 14, 13);
    let bytes: Vec<u8> = pictures.iter().flat_map(|one| one.to_vec()).collect();
    let numbers: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte)).collect();
    let n_pixels = SHAPE.len();
    let at = |i: usize| i * n_pixels..(i + 1) * n_pixels;
    let mut out = vec![0.0; expected.len()];
    let picture = |i: usize| Picture::Bytes(SHAPE, &bytes[at(i)]);
    featurizer
        .featurize(N as usize, &picture, &mut out, work(2))
        .expect("vectors");
    assert_eq!(out, expected);
    let picture = |i: usize| Picture::Numbers(SHAPE, &numbers[at(i)]);
    featurizer
        .featurize(N as usize, &picture, &mut out, work(2))
        .expect("vectors");
    assert_eq!(out, expected);
}

#[test]
fn bad_images_end_a_call_keep_a_row_of_zeros_or_go() {
    let (scene, _) = scene(&[]);
    let good = pngs(&pictures(2, 14, 13));
    let images = BinaryArray::from_opt_vec(vec![
        good[0].as_deref(),
        None,
        Some(b"no image"),
        good[1].as_deref(),
    ]);
    let batch =
        RecordBatch::try_from_iter([("png", Arc::new(images) as ArrayRef)]).expect("a table");
    let featurize = |how: &str| {
        let set = format!("input.on_bad_image={how:?}");
        let featurizer = featurizer(&scene, &[&set]);
        Batches::new(Arc::clone(&featurizer), VectorLayout::default()).featurize(&batch, work(1))
    };
    let error = featurize("fail").expect_err("a bad image").to_string();
    assert!(error.contains("row 1") && error.contains("null"), "{error}");
    let dropped = featurize("drop").expect("vectors");
    assert_eq!(dropped.num_rows(), 2);
    let kept = featurize("zero").expect("vectors");
    let status = kept.column_by_name("status").expect("reasons");
    let is_bad: Vec<bool> = (0..4).map(|row| status.is_valid(row)).collect();
    assert_eq!(is_bad, [false, true, true, false]);
    let n = vectors(&kept).len() / 4;
    assert!(
        vectors(&kept)[n..3 * n]
            .iter()
            .all(|&value| value.to_bits() == 0)
    );
}

#[test]
fn a_batch_without_rows_or_values_has_the_schema_of_any_other() {
    let (scene, batch) = scene(&[]);
    let featurizer = featurizer(&scene, &["input.on_bad_image=\"zero\""]);
    let mut batches = Batches::new(Arc::clone(&featurizer), VectorLayout::default());
    let schema = batches.schema(&batch).expect("a schema");
    let empty = batches
        .featurize(&batch.slice(0, 0), work(1))
        .expect("none");
    assert_eq!((empty.num_rows(), empty.schema()), (0, schema));

    let nulls = BinaryArray::from_opt_vec(vec![None, None]);
    let nulls =
        RecordBatch::try_from_iter([("png", Arc::new(nulls) as ArrayRef)]).expect("a table");
    let mut batches = Batches::new(Arc::clone(&featurizer), VectorLayout::default());
    for rows in [0, 2] {
        let made = batches
            .featurize(&nulls.slice(0, rows), work(1))
            .expect("zeros");
        assert_eq!(made.num_rows(), rows);
    }
}

#[test]
fn batches_without_one_image_column_are_refused_by_name() {
    let (scene, batch) = scene(&[]);
    let featurizer = featurizer(&scene, &[]);
    let refused = |batch: &RecordBatch| {
        let mut batches = Batches::new(Arc::clone(&featurizer), VectorLayout::default());
        let error = batches.featurize(batch, work(1)).expect_err("refused");
        error.to_string()
    };
    let image = Arc::clone(batch.column(0));
    let label = Arc::clone(batch.column(1));
    let table = |columns: Vec<(&str, &ArrayRef)>| {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, column)| Arc::clone(column));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).expect("a table")
    };
    let none = refused(&table(vec![("label", &label)]));
    assert!(none.contains("no column holds images"), "{none}");
    let two = refused(&table(vec![("left", &image), ("right", &image)]));
    assert!(two.contains("left") && two.contains("right"), "{two}");
    let taken = refused(&table(vec![("image", &image), ("features", &label)]));
    assert!(
        taken.contains("\"features\"") && taken.contains("rename"),
        "{taken}"
    );
}

#[test]
fn a_vocabulary_of_other_settings_is_refused() {
    let (scene, _) = scene(&[]);
    let sets = ["patches.normalize=\"none\"".to_owned()];
    let error =
        Featurizer::new(&[words(&scene)], &sets, &Overrides::default()).expect_err("refused");
    assert!(error.to_string().contains("patches.normalize"), "{error}");
}

#[test]
fn a_vocabulary_s_bytes_are_those_of_its_file() {
    let (scene, _) = scene(&[]);
    let (words, header) = words(&scene);
    let bytes = vocabulary::to_bytes(&words, &header.job).expect("bytes");
    let file = std::fs::read(scene.path("out/vocabulary.parquet")).expect("a file");
    assert_eq!(bytes, file);
    let (again, _) = vocabulary::from_bytes(bytes, "memory".as_ref()).expect("read");
    assert_eq!(again, words);
}

#[test]
fn a_stopped_call_is_interrupted() {
    let (scene, batch) = scene(&[]);
    let featurizer = featurizer(&scene, &[]);
    let stop = AtomicBool::new(true);
    let work = Work {
        threads: 2,
        stop: &stop,
    };
    let ended =
        Batches::new(Arc::clone(&featurizer), VectorLayout::default()).featurize(&batch, work);
    assert!(matches!(ended, Err(bovw::Error::Interrupted)));
}

/// Settings of `JOB`, in tests/common, and more.
fn learner(sets: &[&str]) -> Learner {
    let given = [
        "patches.size=[3,3]",
        "sample.per_image=0.75",
        "vocabulary.k=8",
        "vocabulary.n_init=1",
        "vocabulary.max_iter=20",
        "run.threads=2",
        "run.memory=\"64MiB\"",
    ];
    let sets: Vec<String> = given
        .iter()
        .chain(sets)
        .map(|&set| set.to_owned())
        .collect();
    Learner::new(&sets, &Overrides::default()).expect("a learner")
}

/// Of the scene's pictures.
const SHAPE: Shape = Shape {
    height: 14,
    width: 13,
    channels: 1,
    channels_first: false,
};

/// Adds some of the scene's pictures.
fn add(learner: &mut Learner, rows: &[u64], numbers: Numbers<'_>) {
    let pictures = pictures(N, 14, 13);
    let picture = |at: usize| Picture::Bytes(SHAPE, pictures[rows[at] as usize].as_raw());
    let place = Place::file("the images".as_ref());
    let added = learner.add(rows.len(), &picture, numbers, &place, work(2));
    added.expect("added");
}

fn learned(learner: &mut Learner) -> Vec<Vocabulary> {
    let progress = Progress::default();
    let stop = AtomicBool::new(false);
    let watch = Watch {
        interrupt: &stop,
        progress: &progress,
        on_event: &|_| (),
    };
    let learned = learner.learn(watch).expect("words");
    learned.into_iter().map(|one| one.vocabulary).collect()
}

const SAMPLES: [&[&str]; 4] = [
    &[],
    &["sample.max_patches=700"],
    &["sample.every=3", "patches.whiten=\"zca\""],
    &[
        "sample.max_patches=900",
        "patches.normalize=\"patch\"",
        "run.seed=7",
    ],
];

#[test]
fn images_in_any_number_of_calls_give_the_words_of_a_run() {
    for sets in SAMPLES {
        let (scene, _) = scene(sets);
        let expected = words(&scene).0;
        for rows_at_once in [50, 13, 1] {
            let mut learner = learner(sets);
            let rows: Vec<u64> = (0..u64::from(N)).collect();
            for some in rows.chunks(rows_at_once) {
                add(&mut learner, some, Numbers::InOrder);
            }
            assert_eq!(
                learned(&mut learner),
                std::slice::from_ref(&expected),
                "{sets:?}"
            );
        }
    }
}

#[test]
fn sketches_give_the_words_of_a_run_in_any_order_and_when_they_come_twice() {
    for sets in SAMPLES {
        let (scene, _) = scene(sets);
        let expected = words(&scene).0;
        let rows: Vec<u64> = (0..u64::from(N)).map(|row| row * 17 % 50).collect();
        let sketches = rows.chunks(8).map(|some| {
            let mut part = learner(sets);
            add(&mut part, some, Numbers::Given(some));
            part.sketch().expect("a sketch")
        });
        let sketches: Vec<Vec<u8>> = sketches.collect();
        let mut all = learner(sets);
        for sketch in sketches.iter().chain(&sketches[2..4]) {
            all.merge(sketch).expect("merged");
        }
        // A sketch of sketches is one as well.
        let mut again = learner(sets);
        again
            .merge(&all.sketch().expect("a sketch"))
            .expect("merged");
        for mut learner in [all, again] {
            assert_eq!(
                learned(&mut learner),
                std::slice::from_ref(&expected),
                "{sets:?}"
            );
        }
    }
}

#[test]
fn learning_twice_and_going_on_afterwards_changes_no_word() {
    let (scene, _) = scene(SAMPLES[1]);
    let expected = words(&scene).0;
    let mut learner = learner(SAMPLES[1]);
    let rows: Vec<u64> = (0..u64::from(N)).collect();
    add(&mut learner, &rows[..30], Numbers::InOrder);
    let early = learned(&mut learner);
    assert_eq!(learned(&mut learner), early);
    add(&mut learner, &rows[30..], Numbers::InOrder);
    assert_eq!(learned(&mut learner), [expected]);
}

#[test]
fn counting_goes_on_from_where_a_sketch_ends_and_not_beside_other_numbers() {
    let (scene, _) = scene(&[]);
    let expected = words(&scene).0;
    let rows: Vec<u64> = (0..u64::from(N)).collect();
    let mut first = learner(&[]);
    add(&mut first, &rows[..20], Numbers::InOrder);
    let mut second = learner(&[]);
    second
        .merge(&first.sketch().expect("a sketch"))
        .expect("merged");
    let place = Place::file("the images".as_ref());
    let none = |_| Picture::Image(Err(String::new()));
    let refused = second.add(1, &none, Numbers::InOrder, &place, work(1));
    assert!(
        refused
            .expect_err("refused")
            .to_string()
            .contains("numbers")
    );
    second.count_on_from(first.n_counted());
    add(&mut second, &rows[20..], Numbers::InOrder);
    assert_eq!(learned(&mut second), [expected]);
}

#[test]
fn images_that_were_counted_in_two_places_are_not_merged() {
    let rows: Vec<u64> = (0..u64::from(N)).collect();
    let mut parts = [learner(&[]), learner(&[])];
    add(&mut parts[0], &rows[..20], Numbers::InOrder);
    add(&mut parts[1], &rows[20..], Numbers::InOrder);
    let sketch = parts[1].sketch().expect("a sketch");
    let [first, second] = &mut parts;
    for learner in [first, second] {
        let n_patches = learner.n_patches();
        let refused = learner.merge(&sketch).expect_err("refused").to_string();
        assert!(refused.contains("more than one place"), "{refused}");
        assert_eq!(learner.n_patches(), n_patches);
    }
    let refused = parts[0].add(
        1,
        &|_| Picture::Encoded(b""),
        Numbers::Given(&[70]),
        &Place::file("x".as_ref()),
        work(1),
    );
    assert!(
        refused
            .expect_err("refused")
            .to_string()
            .contains("counted")
    );
}

#[test]
fn a_call_that_failed_is_made_again_and_takes_nothing_twice() {
    let pictures = pictures(N, 14, 13);
    let n = 5000;
    let whole = |at: usize| Picture::Bytes(SHAPE, pictures[at % N as usize].as_raw());
    let broken = |at: usize| match at {
        4500 => Picture::Encoded(b"no image"),
        _ => whole(at),
    };
    let place = Place::file("the images".as_ref());
    let mut expected = learner(&[]);
    let added = expected.add(n, &whole, Numbers::InOrder, &place, work(2));
    added.expect("added");
    let mut again = learner(&[]);
    let failed = again.add(n, &broken, Numbers::InOrder, &place, work(2));
    assert!(
        failed
            .expect_err("a bad image")
            .to_string()
            .contains("row 4500")
    );
    assert!(again.n_patches() > 0 && again.n_counted() == 0);
    let added = again.add(n, &whole, Numbers::InOrder, &place, work(2));
    added.expect("added");
    assert_eq!(
        again.sketch().expect("a sketch"),
        expected.sketch().expect("a sketch")
    );
}

#[test]
fn without_numbers_neither_order_nor_repeats_matter() {
    let rows: Vec<u64> = (0..u64::from(N)).collect();
    let back: Vec<u64> = rows.iter().rev().chain(&rows).copied().collect();
    let words: Vec<Vec<Vocabulary>> = [rows, back]
        .iter()
        .map(|rows| {
            let mut learner = learner(&["sample.max_patches=700"]);
            add(&mut learner, rows, Numbers::OfContent);
            learned(&mut learner)
        })
        .collect();
    assert_eq!(words[0], words[1]);
}

#[test]
fn several_sizes_and_document_counts_are_those_of_a_run() {
    let sets = [
        "patches.size=[[3,3],[4,5]]",
        "features.weighting=[\"tf-idf\",\"l2\"]",
    ];
    let (scene, _) = scene(&sets);
    let mut learner = learner(&sets);
    let rows: Vec<u64> = (0..u64::from(N)).collect();
    add(&mut learner, &rows, Numbers::InOrder);
    let mut words = learned(&mut learner);
    let pictures = pngs(&pictures(N, 14, 13));
    let picture = |at: usize| Picture::Encoded(pictures[at].as_deref().expect("a picture"));
    let counted = count_documents(learner.job(), &words, N as usize, &picture, work(1));
    for (words, documents) in words.iter_mut().zip(counted.expect("counted")) {
        words.documents = Some(documents);
    }
    for (words, size) in words.iter().zip(["3x3", "4x5"]) {
        let path = scene.path(&format!("out/vocabulary-{size}.parquet"));
        assert_eq!(*words, vocabulary::read(&path).expect("a vocabulary").0);
    }
}

#[test]
fn a_sketch_that_is_damaged_or_of_other_settings_is_refused_and_leaves_the_sample_as_it_was() {
    let rows: Vec<u64> = (0..20).collect();
    let mut part = learner(&[]);
    add(&mut part, &rows, Numbers::InOrder);
    let sketch = part.sketch().expect("a sketch");
    let mut whole = learner(&[]);
    let before = whole.sketch().expect("a sketch");
    for n in [0, 5, 8, 100, sketch.len() - 1] {
        let refused = whole.merge(&sketch[..n]).expect_err("damaged");
        assert!(refused.to_string().contains("the sketch"), "{refused}");
    }
    for other in ["run.seed=3", "patches.stride=2", "sample.max_patches=500"] {
        let refused = learner(&[other])
            .merge(&sketch)
            .expect_err("of other settings");
        assert!(refused.to_string().contains("other"), "{refused}");
    }
    assert_eq!(whole.sketch().expect("a sketch"), before);
}

#[test]
fn a_bad_image_ends_a_call_or_is_passed_over() {
    let picture = |at: usize| match at {
        3 => Picture::Encoded(b"no image"),
        _ => Picture::Image(Err("the image is None".to_owned())),
    };
    let place = Place::file("the images".as_ref());
    let mut strict = learner(&[]);
    let error = strict.add(5, &picture, Numbers::InOrder, &place, work(1));
    let error = error.expect_err("a bad image").to_string();
    assert!(error.contains("row 0") && error.contains("None"), "{error}");
    let mut lenient = learner(&["input.on_bad_image=\"zero\""]);
    let added = lenient.add(5, &picture, Numbers::InOrder, &place, work(1));
    added.expect("passed over");
    assert_eq!(lenient.n_patches(), 0);
}
