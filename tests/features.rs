//! Every encoding, weighting, pooling and preparation, run by the real `bovw`: what a run writes is what the definition
//! gives (`bovw verify` recomputes it), the same bytes for any number of threads, and what does not go together is refused.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use insta::assert_snapshot;

use common::{Scene, Shard, image_structs, pictures, pngs};

/// Labelled pictures of 14x13 pixels, the last of which is blank.
fn shard(first: u32, n: u32) -> Shard {
    let mut pictures = pictures(first + n, 14, 13).split_off(first as usize);
    pictures[n as usize - 1].fill(90);
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..n).map(i64::from)));
    Shard::new()
        .column("image", image_structs(pngs(&pictures)))
        .column("label", labels)
        .row_groups_of(7)
}

fn scene() -> Scene {
    Scene::with(&shard(0, 20)).and("data/b.parquet", &shard(20, 11))
}

/// Keys of `[patches]`, `[vocabulary]` and `[features]` that go together, of all kinds.
const JOBS: [&[&str]; 19] = [
    &["features.pooling=[2,2]"],
    &[
        "features.pooling=[[1,1],[2,3]]",
        "features.weighting=\"hellinger\"",
    ],
    &["features.weighting=\"frequency\""],
    &[
        "features.weighting=[\"frequency\",\"tf-idf\",\"l2\"]",
        "features.pooling=[1,2]",
    ],
    &["features.encoding=\"triangle\""],
    &[
        "features.encoding=\"triangle\"",
        "features.weighting=\"l2\"",
        "patches.normalize=\"none\"",
    ],
    &[
        "features.encoding=\"triangle\"",
        "patches.whiten=\"zca\"",
        "features.pooling=[2,2]",
    ],
    &[
        "features.encoding=\"triangle\"",
        "patches.normalize=\"patch\"",
        "patches.whiten=\"zca\"",
        "vocabulary.spherical=true",
    ],
    &[
        "patches.normalize=\"patch\"",
        "patches.epsilon=0",
        "features.pooling=[2,2]",
    ],
    &["patches.whiten=\"zca\"", "patches.whiten_epsilon=0.001"],
    &["features.encoding=\"soft\"", "features.nearest=3"],
    &[
        "features.encoding=\"soft\"",
        "features.weighting=\"tf-idf\"",
        "patches.stride=2",
    ],
    &["features.encoding=\"vlad\""],
    &[
        "features.encoding=\"vlad\"",
        "features.weighting=[\"intra\",\"l2\"]",
        "features.pooling=[2,1]",
    ],
    &[
        "features.encoding=\"vlad\"",
        "features.weighting=\"hellinger\"",
        "patches.whiten=\"zca\"",
    ],
    &["patches.size=[[3,3],[5,4]]", "features.pooling=[2,2]"],
    &[
        "patches.size=[[4,2],[3,3],[6,6]]",
        "features.weighting=[\"frequency\",\"tf-idf\"]",
    ],
    &[
        "patches.size=[[3,3],[5,4]]",
        "patches.normalize=\"patch\"",
        "patches.whiten=\"zca\"",
        "features.encoding=\"triangle\"",
    ],
    &[
        "patches.size=[[5,4],[3,3]]",
        "features.encoding=\"vlad\"",
        "features.weighting=\"intra\"",
    ],
];

/// The vocabularies of the run in `out`, in the order of their words in a vector.
fn vocabularies(scene: &Scene) -> Vec<String> {
    let manifest = scene.manifest();
    let outputs = manifest["outputs"].as_array().unwrap().iter();
    outputs
        .map(|output| output["path"].as_str().unwrap().to_owned())
        .filter(|path| path.starts_with("vocabulary"))
        .collect()
}

#[test]
fn every_recipe_gives_what_its_definition_says() {
    for job in JOBS {
        let scene = scene();
        scene.run(job).ok();
        let out = scene.path("out").display().to_string();
        let verified = scene.bovw(&["verify", &out, "--sample", "1000"]);
        assert_eq!(verified.code, Some(0), "{job:?}: {verified:?}");
    }
}

#[test]
fn no_recipe_depends_on_threads_memory_or_how_shards_are_read() {
    for job in JOBS {
        let results = |more: &[&str]| {
            let scene = scene();
            scene.run(&[job, more].concat()).ok();
            let mut results = scene.results("out");
            results.retain(|name, _| name.ends_with(".parquet") && !name.starts_with("pictures"));
            results
        };
        let expected = results(&[]);
        assert!(expected.len() >= 3, "{:?}", expected.keys());
        // Words of several sizes are laid out side by side.
        let little = match job[0].starts_with("patches.size") {
            true => "run.memory=\"32MiB\"",
            false => "run.memory=\"24MiB\"",
        };
        for more in [
            ["run.threads=1", "run.io=\"mmap\""],
            ["run.threads=3", "run.io=\"read\""],
            ["run.threads=8", little],
        ] {
            assert!(results(&more) == expected, "{job:?} {more:?}");
        }
    }
}

#[test]
fn a_finished_vocabulary_gives_new_images_the_vectors_that_its_own_job_gave_them() {
    for job in JOBS {
        let scene = scene();
        scene.run(job).ok();
        let first = scene.features("a").vectors();
        let names = vocabularies(&scene);
        for name in &names {
            std::fs::copy(scene.path(&format!("out/{name}")), scene.path(name)).unwrap();
        }
        let mut again: Vec<&str> = job
            .iter()
            .copied()
            .filter(|set| !set.starts_with("vocabulary."))
            .collect();
        let from = format!("vocabulary={{from={names:?}}}");
        again.extend([
            from.as_str(),
            "output.dir=\"again\"",
            "input.files=[\"data/a.parquet\"]",
        ]);
        let scene = scene.without_vocabulary();
        scene.run(&again).ok();
        let second = common::Table::read(&scene.path("again/features/a.parquet")).vectors();
        assert_eq!(first, second, "{job:?}");
    }
}

#[test]
fn a_vector_is_as_long_as_its_cells_words_and_residuals() {
    let lengths = JOBS.map(|job| {
        let scene = scene();
        scene.run(job).ok();
        let length = scene.features("b").vectors()[0].len();
        assert_eq!(scene.manifest()["counts"]["values"], length);
        length
    });
    assert_eq!(
        lengths,
        [
            32, 56, 8, 16, 8, 8, 32, 8, 32, 8, 8, 8, 72, 144, 72, 64, 24, 16, 232
        ]
    );
}

#[test]
fn the_vectors_of_several_sizes_are_those_of_each_size_one_after_the_other() {
    let run = |size: &str, name: &str| {
        let scene = scene();
        scene.run(&[size, "features.weighting=\"frequency\""]).ok();
        assert_eq!(vocabularies(&scene).last().unwrap(), name);
        scene
    };
    let first = run("patches.size=[3,3]", "vocabulary.parquet");
    let second = run("patches.size=[[5,4]]", "vocabulary.parquet");
    let both = run("patches.size=[[3,3],[5,4]]", "vocabulary-5x4.parquet");
    let [a, b, joined] = [&first, &second, &both].map(|scene| scene.features("a"));
    let parts = a.vectors().into_iter().zip(b.vectors());
    for ((a, b), joined) in parts.zip(joined.vectors()) {
        assert!((a.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!([a, b].concat(), joined);
    }
    let n_patches = a.n_patches().into_iter().zip(b.n_patches());
    let n_patches: Vec<i32> = n_patches.map(|(a, b)| a + b).collect();
    assert_eq!(joined.n_patches(), n_patches);
    // Words and kept patches are those of the single runs; only the job that they name is another.
    for (single, at, name) in [(&first, 0, "3x3"), (&second, 1, "5x4")] {
        let words = |scene: &Scene, name: &str| {
            let table = common::Table::read(&scene.path(&format!("out/{name}.parquet")));
            table.column("centroid")
        };
        let joined = words(&both, &format!("vocabulary-{name}"));
        assert_eq!(&words(single, "vocabulary"), &joined);
        let kept = |scene: &Scene, name: &str| {
            scene.files("out/pictures")[&format!("{name}.parquet")].clone()
        };
        assert!(kept(single, "patches") == kept(&both, &format!("patches-{name}")));
        let mut learning = both.manifest()["learning"][at].clone();
        let size = learning.as_object_mut().unwrap().remove("size").unwrap();
        assert_eq!(format!("{}x{}", size[0], size[1]), name);
        assert_eq!(learning, single.manifest()["learning"]);
    }
    let counts = |scene: &Scene, key: &str| scene.manifest()["counts"][key].as_u64().unwrap();
    for key in ["patches", "words", "values"] {
        let sum = counts(&first, key) + counts(&second, key);
        assert_eq!(counts(&both, key), sum, "{key}");
    }
    let words = joined.key("bovw.features")["vocabulary"].clone();
    assert_eq!(words.as_array().unwrap().len(), 2);
    assert_eq!(a.key("bovw.features")["vocabulary"]["k"], 8);
}

#[test]
fn hellinger_vectors_have_length_one_and_those_of_blank_images_too() {
    let scene = scene();
    scene
        .run(&["features.pooling=[2,2]", "features.weighting=\"hellinger\""])
        .ok();
    for vector in scene.features("a").vectors() {
        let length: f64 = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
    }
}

#[test]
fn whitened_patches_of_a_blank_image_give_finite_numbers() {
    let scene = scene();
    scene
        .run(&[
            "features.encoding=\"triangle\"",
            "patches.normalize=\"patch\"",
            "patches.epsilon=0",
            "patches.whiten=\"zca\"",
            "features.weighting=\"l2\"",
        ])
        .ok();
    let vectors = scene.features("a").vectors();
    assert!(vectors.iter().flatten().all(|value| value.is_finite()));
}

#[track_caller]
fn refused(sets: &[&str]) -> String {
    let scene = scene();
    let ended = scene.run(sets).exited(2);
    assert!(scene.results("out").is_empty());
    ended.stderr
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    let said: Vec<String> = [
        &["patches.epsilon=3"][..],
        &["patches.whiten_epsilon=3"],
        &["patches.whiten=\"zca\"", "patches.whiten_epsilon=0"],
        &["patches.normalize=\"patch\"", "patches.epsilon=-1"],
        &["features.nearest=3"],
        &["features.encoding=\"soft\"", "features.nearest=0"],
        &["features.encoding=\"tringle\""],
        &["features.weighting=\"intra\""],
        &[
            "features.encoding=\"vlad\"",
            "features.weighting=[\"l2\",\"tf-idf\"]",
        ],
        &["features.weighting=[\"l2\",\"l2\"]"],
        &["features.weighting=[\"count\",\"l2\"]"],
        &["features.weighting=[]"],
        &["features.weighting=3"],
        &["features.pooling=[0,2]"],
        &["features.pooling=[]"],
        &[
            "features.pooling=[[60,60],[64,64]]",
            "features.encoding=\"vlad\"",
            "patches.size=[10,10]",
            "vocabulary.k=40",
        ],
        &["vocabulary.spherical=1"],
    ]
    .iter()
    .map(|sets| refused(sets))
    .collect();
    assert_snapshot!(said.join("\n"));
}

#[test]
fn an_image_with_fewer_patches_than_cells_is_a_bad_one() {
    let scene = scene();
    let said = scene.run(&["features.pooling=[13,2]"]).exited(1).stderr;
    assert_snapshot!(said);
}

#[test]
fn too_few_patches_and_equal_ones_cannot_be_whitened() {
    let few = refused(&[
        "patches.whiten=\"zca\"",
        "sample.every=31",
        "sample.per_image=8",
    ]);
    assert_snapshot!(few);
    let mut blank = pictures(4, 8, 8);
    blank.iter_mut().for_each(|picture| picture.fill(9));
    let scene = Scene::with(&Shard::hugging_face(&blank));
    let equal = scene.run(&["patches.whiten=\"zca\""]).exited(2).stderr;
    assert_snapshot!(equal);
}

#[test]
fn a_vocabulary_of_other_patches_is_refused_and_says_how_they_differ() {
    let scene = scene();
    scene
        .run(&["patches.whiten=\"zca\"", "patches.normalize=\"patch\""])
        .ok();
    std::fs::copy(
        scene.path("out/vocabulary.parquet"),
        scene.path("words.parquet"),
    )
    .unwrap();
    let scene = scene.without_vocabulary();
    let from = "vocabulary={from=\"words.parquet\"}";
    let other = ["output.dir=\"again\"", from, "patches.whiten=\"zca\""];
    assert_snapshot!(scene.run(&other).exited(2).stderr);
    let same = [
        "output.dir=\"again\"",
        from,
        "patches.whiten=\"zca\"",
        "patches.normalize=\"patch\"",
        "features.weighting=\"tf-idf\"",
    ];
    assert_snapshot!(scene.run(&same).exited(2).stderr);
}
