//! Job files from outside: what is refused and in which words, what wins over what, and the way back from a job to TOML.

use std::path::{Path, PathBuf};

use bovw::container::MemoryLimit;
use bovw::job::{Job, JobFile, MaxBad, Overrides, PerImage, VocabularySource, resolved};
use bovw::{Error, Result};
use proptest::prelude::*;

/// The shortest job that says all that must be said.
const SHORT: &str = "\
[input]
files = [\"a.parquet\"]
[patches]
size = [6, 6]
[vocabulary]
k = 50
[output]
dir = \"out\"
";

/// The job that `text` with `sets` is, in the folder `jobs`.
fn check(text: &str, sets: &[&str]) -> Result<Job> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Job::check(
        JobFile::parse(Path::new("jobs/a.toml"), text, &sets)?,
        Path::new("jobs"),
    )
}

fn short_with(sets: &[&str]) -> Job {
    check(SHORT, sets).unwrap_or_else(|e| panic!("{sets:?}: {e}"))
}

fn refusal(result: Result<Job>, what: &str) -> String {
    let error = result.err().unwrap_or_else(|| panic!("accepted: {what}"));
    assert_eq!(error.exit_code(), 2, "{what}");
    error.to_string()
}

/// What was typed and what was said, one case after the other.
fn transcript(cases: &[&str], refuse: impl Fn(&str) -> String) -> String {
    let said: Vec<String> = cases
        .iter()
        .map(|case| format!("> {}\n{}\n", case.replace('\n', "\n> "), refuse(case)))
        .collect();
    said.join("\n")
}

#[test]
fn what_is_wrong_in_a_file_is_shown_in_its_place() {
    let cases = [
        "[patches]\nsieze = [6, 6]",
        "[patches]\nwindow = [6, 6]",
        "[patches]\nthreads = 2",
        "[patch]\nsize = [6, 6]",
        "[model]\nk = 5",
        "k = 50",
        "[vocabulary]\nk = \"50\"",
        "[vocabulary]\nk = \"fifty\"",
        "[vocabulary]\nk = 50.0",
        "[vocabulary]\nk = 99999999999999999999",
        "[vocabulary]\nk = 2026-11-25",
        "[vocabulary]\nk = [10, 20]",
        "[vocabulary]\ntol = \"1e-3\"",
        "[input]\nfiles = \"data/*.parquet\"",
        "[input]\nfiles = [\"a.parquet\", 3]",
        "[input]\nfiles = [\n  \"a.parquet\",\n  3,\n]",
        "[input]\nlabel = 1",
        "[input]\nimage = [\"img\"]",
        "[patches]\nsize = 6",
        "[patches]\nsize = \"6x6\"",
        "[patches]\nsize = [6, 6.5]",
        "[patches]\nsize = [[6, 6], 6]",
        "[patches]\nsize = [6, [6, 6]]",
        "[patches]\nsize = [[6, 6], [6, \"6\"]]",
        "[vocabulary]\nfrom = [\"a.parquet\", 3]",
        "[vocabulary]\nfrom = 3",
        "[features]\npooling = [[1, 1], 2]",
        "[run]\nmemory = 1.5",
        "[run]\nmemory = true",
        "input = \"a.parquet\"",
        "[[input]]\nfiles = [\"a.parquet\"]",
        "[cluster]\nk = 10",
        "[[cluster]]\nof = \"pixels\"\nkk = 10",
        "[input\nfiles = []",
        "[patches]\nsize = [6, 6",
        "[patches]\nsize =",
        "[output]\ndir = out",
        "[output]\ndir = \"out",
        "[output]\r\ndir = \"größer\"\r\nläyout = 1\r\n",
        "\u{feff}[output]\ndirs = \"x\"",
        "[output]\ndir = é",
        "[run]\nseed = 1\nseed = 2",
        "[run]\nseed = 1\n[run]\nio = \"mmap\"",
        "just words",
        "[run]\n\tmemori = \"a tab before, and a long line: the quotation of it has to end somewhere, or it fills the whole screen of everyone\"",
    ];
    insta::assert_snapshot!(transcript(&cases, |case| refusal(check(case, &[]), case)));
}

#[test]
fn what_is_wrong_in_a_set_is_said_of_the_set() {
    let cases = [
        "vocabulary.kk=5",
        "vocabulary.words=5",
        "k=5",
        "vocabluary.k=5",
        "vocabulary.k.max=5",
        "vocabulary.k=fifty",
        "vocabulary.k=5.5",
        "vocabulary=5",
        "patches.size=6",
        "patches.size=[6, 6",
        "patches.size=6,6",
        "input.files=a.parquet",
        "output.dir=2024",
        "vocabulary.k",
        "vocabulary.k=",
        "=5",
        "my key=5",
        "run.threads=-1",
    ];
    insta::assert_snapshot!(transcript(&cases, |case| refusal(
        check(SHORT, &[case]),
        case
    )));
}

#[test]
fn a_value_that_cannot_work_is_refused_with_what_to_do() {
    let cases = [
        "input.files=[]",
        "input.files=[\"\"]",
        "input.files=[\"data/[ab.parquet\"]",
        "input.keep=[\"id\", \"id\"]",
        "input.image=\"\"",
        "input.shape=[28]",
        "input.shape=[28, 28, 2]",
        "input.shape=[28, 0]",
        "input.shape=[65535, 65535]",
        "input.color=gray",
        "input.color=color",
        "input.color=rgba",
        "input.resize=0",
        "input.resize=-1",
        "input.resize=70000",
        "input.resize=5",
        "input={files = [\"b.parquet\"], color = \"rgb\", max_pixels = 2_000_000_000}",
        "input.on_bad_image=skip",
        "input.on_bad_image=zeros",
        "input.max_bad=0.1",
        "patches.size=[0, 6]",
        "patches.size=[6]",
        "patches.size=[6, 6, 3]",
        "patches.size=[2000, 6]",
        "patches.size=[]",
        "patches.size=[[]]",
        "patches.size=[[6, 6], []]",
        "patches.size=[[6, 6], [6, 0]]",
        "patches.size=[[6, 6], [10, 10], [6, 6]]",
        "patches.size=[[1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [6, 6], [7, 7], [8, 8], [9, 9]]",
        "patches={size = [[10, 3], [6, 12]], stride = 0}",
        "patches.stride=0",
        "patches.stride=-1",
        "patches.normalize=pach",
        "patches.normalize=minmax",
        "sample.every=0",
        "sample.per_image=0",
        "sample.per_image=0.0",
        "sample.per_image=-0.5",
        "sample.per_image=1.5",
        "sample.per_image=nan",
        "sample.max_patches=0",
        "sample.max_patches=10",
        "vocabulary.k=0",
        "vocabulary.k=-3",
        "vocabulary.k=2_000_000",
        "vocabulary.algorithm=loyd",
        "vocabulary.algorithm=dbscan",
        "vocabulary.init=kmeans++",
        "vocabulary.n_init=0",
        "vocabulary.max_iter=0",
        "vocabulary.batch_size=0",
        "vocabulary={algorithm = \"lloyd\", batch_size = 100}",
        "vocabulary.tol=-0.1",
        "vocabulary.tol=nan",
        "vocabulary.from=other/vocabulary.parquet",
        "features.encoding=trianlge",
        "features.pooling=[0, 1]",
        "features.pooling=[]",
        "features.weighting=tfidf",
        "cluster=[{k = 10}]",
        "cluster=[{of = \"patches\", k = 10}]",
        "cluster=[{of = \"pixels\"}]",
        "cluster=[{of = \"pixels\", k = []}]",
        "cluster=[{of = \"pixels\", k = [10, 0]}]",
        "cluster=[{of = \"pixels\", k = [10, 20, 10]}]",
        "cluster=[{of = \"features\", k = 10}, {of = \"features\", k = [5, 10]}]",
        "cluster=[{of = \"pixels\", k = 10, algorithm = \"hartigan\"}]",
        "cluster=[{of = \"pixels\", k = 10, n_init = 0}]",
        "cluster=[{of = \"pixels\", k = 10, max_iter = -3}]",
        "output.dir=\"\"",
        "output.dir=.",
        "output.layout=list",
        "output.layout=wide",
        "run.seed=-1",
        "run.threads=5000",
        "run.memory=1MiB",
        "run.memory=0",
        "run.memory=-1",
        "run.memory=lots",
        "run.io=map",
    ];
    let text = SHORT.replace("a.parquet", "*/*.parquet");
    insta::assert_snapshot!(transcript(&cases, |case| refusal(
        check(&text, &[case]),
        case
    )));
}

#[test]
fn what_must_be_said_and_is_not_is_asked_for() {
    let cases = [
        "",
        "[input]\nfiles = [\"a.parquet\"]",
        "[input]\nfiles = [\"a.parquet\"]\n[patches]\nsize = [6, 6]",
        "[input]\nfiles = [\"a.parquet\"]\n[patches]\nsize = [6, 6]\n[vocabulary]\nk = 50",
    ];
    insta::assert_snapshot!(transcript(&cases, |case| refusal(check(case, &[]), case)));
}

#[test]
fn a_file_that_is_not_a_job_is_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("job.toml");
    let load = || Job::load(&path, &[], &Overrides::default());
    assert!(refusal(load(), "missing").contains("cannot read it"));
    std::fs::write(&path, [b'P', b'A', b'R', b'1', 0xff, 0xfe]).expect("write");
    assert!(refusal(load(), "binary").contains("not a job file: it is not UTF-8 text"));
}

#[test]
fn a_short_job_gets_the_documented_defaults() {
    let job = short_with(&["run.threads=2"]);
    insta::assert_snapshot!(resolved::to_toml(&job).expect("TOML"));
}

#[test]
fn flags_win_over_sets_and_sets_over_the_file() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("job.toml");
    std::fs::write(
        &path,
        format!("{SHORT}[run]\nthreads = 2\nmemory = \"1GiB\"\nseed = 1\n"),
    )
    .expect("write");
    let sets = [
        "run.threads=3",
        "run.seed=5",
        "run.seed=6",
        "run.memory=64MiB",
    ]
    .map(str::to_owned);
    let flags = Overrides {
        threads: Some(4),
        ..Overrides::default()
    };
    let job = Job::load(&path, &sets, &flags).expect("a job");
    assert_eq!(
        (job.run.threads, job.run.seed, job.run.memory_bytes),
        (4, 6, 64 << 20)
    );
}

#[test]
fn a_set_replaces_a_list_and_leaves_the_rest_of_its_table() {
    let job = short_with(&[
        "input={files = [\"b.parquet\"]}",
        "input.keep=[\"id\"]",
        "output.dir=my out",
    ]);
    assert_eq!(job.input.files, ["jobs/b.parquet"]);
    assert_eq!(job.input.keep, ["id"]);
    assert_eq!(job.output.dir, PathBuf::from("jobs/my out"));
}

#[test]
fn whole_numbers_count_and_fractions_are_shares() {
    let per_image = |set| short_with(&[set]).sample.per_image;
    assert_eq!(per_image("sample.per_image=1"), PerImage::Count(1));
    assert_eq!(per_image("sample.per_image=1.0"), PerImage::Share(1.0));
    let max_bad = |set| short_with(&["input.on_bad_image=drop", set]).input.max_bad;
    assert_eq!(max_bad("input.max_bad=1"), MaxBad::Count(1));
    assert_eq!(max_bad("input.max_bad=0.5"), MaxBad::Share(0.5));
    assert_eq!(max_bad("run.seed=0"), MaxBad::Any);
    assert_eq!(short_with(&[]).input.max_bad, MaxBad::Count(0));
}

#[test]
fn memory_is_read_in_any_common_unit() {
    for (typed, bytes) in [
        ("\"1GiB\"", 1u64 << 30),
        ("1.5 GiB", 3 << 29),
        ("64MB", 64_000_000),
        ("33554432", 1 << 25),
    ] {
        let job = short_with(&[&format!("run.memory={typed}")]);
        assert_eq!(job.run.memory_bytes, bytes, "{typed}");
    }
}

/// The job that `text` is in a container with so many bytes.
fn check_in_container(bytes: u64, sets: &[&str]) -> Result<Job> {
    let limit = MemoryLimit {
        bytes,
        file: PathBuf::from("/sys/fs/cgroup/memory.max"),
    };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let file = JobFile::parse(Path::new("jobs/a.toml"), SHORT, &sets)?;
    Job::check_within(file, Path::new("jobs"), Some(&limit))
}

#[test]
fn a_job_that_does_not_say_takes_half_of_a_small_container_and_no_more_than_the_default() {
    for (limit, bytes, is_share) in [
        (128 << 20, 64 << 20, true),
        (2 << 30, 1 << 30, false),
        (1 << 40, 1u64 << 30, false),
    ] {
        let run = check_in_container(limit, &[]).expect("a job").run;
        assert_eq!(run.memory_bytes, bytes, "{limit}");
        assert_eq!(
            run.share_of.map(|limit| limit.bytes),
            is_share.then_some(limit)
        );
    }
    assert_eq!(short_with(&[]).run.memory_bytes, 1 << 30);
}

#[test]
fn memory_that_the_container_does_not_have_is_refused_with_what_to_set() {
    let job = check_in_container(128 << 20, &["run.memory=128MiB"]).expect("a job");
    assert_eq!(job.run.memory_bytes, 128 << 20);
    let error = refusal(
        check_in_container(128 << 20, &["run.memory=129MiB"]),
        "129MiB",
    );
    insta::assert_snapshot!(error, @r#"
    run.memory: "129MiB" is more than the 128.0 MiB that the container has (/sys/fs/cgroup/memory.max)
      help: leave it out, which gives 64.0 MiB, or raise the container's limit
    "#);
}

#[test]
fn paths_start_at_the_job_files_folder_whatever_its_name() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let folder = dir.path().join("my [jobs] * {1}?");
    std::fs::create_dir_all(folder.join("jobs")).expect("folder");
    std::fs::create_dir_all(folder.join("data")).expect("folder");
    for name in ["a.parquet", "b.parquet", "c.txt"] {
        std::fs::write(folder.join("data").join(name), "").expect("write");
    }
    let path = folder.join("jobs/job.toml");
    std::fs::write(&path, SHORT.replace("a.parquet", "../data/*.parquet")).expect("write");
    let job = Job::load(&path, &[], &Overrides::default()).expect("a job");
    let found: Vec<PathBuf> = glob::glob(&job.input.files[0])
        .expect("a glob")
        .map(|path| path.expect("readable"))
        .collect();
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(names, ["a.parquet", "b.parquet"]);
    assert_eq!(job.output.dir, folder.join("jobs/out"));
    assert_eq!(
        resolved::to_json(&job)["input"]["files"][0],
        "../data/*.parquet"
    );
}

#[test]
fn absolute_paths_stay_as_they_are() {
    let job = short_with(&["input.files=[\"/data/*.parquet\"]", "output.dir=/out"]);
    assert_eq!(job.input.files, ["/data/*.parquet"]);
    assert_eq!(job.output.dir, PathBuf::from("/out"));
}

#[test]
fn an_output_is_refused_only_where_a_glob_would_find_it_again() {
    for (files, dir, is_refused) in [
        ("data/*.parquet", "out", false),
        ("data/*.parquet", "data", true),
        ("data/*.parquet", "data/out", false),
        ("data/**/*.parquet", "data/out", true),
        ("data/train-*.parquet", "data", false),
        ("../data/**/train-*.parquet", "../x/../data/out", true),
        ("*/*.parquet", "out", true),
        ("out/features/a.parquet", "out", true),
    ] {
        let files_set = format!("input.files=[\"{files}\"]");
        let result = check(SHORT, &[&files_set, &format!("output.dir={dir}")]);
        assert_eq!(result.is_err(), is_refused, "{files} and {dir}");
    }
}

#[test]
fn a_finished_vocabulary_stands_alone() {
    let text = SHORT.replace("k = 50", "from = \"other/vocabulary.parquet\"");
    let job = check(&text, &[]).expect("a job");
    let expected = PathBuf::from("jobs/other/vocabulary.parquet");
    assert_eq!(job.vocabulary, VocabularySource::From(vec![expected]));
    assert_eq!(reparsed(&job), job);
    let seeded = check(&text, &["run.seed=9", "sample.every=2"]).expect("a job");
    assert_eq!(resolved::identity(&seeded), resolved::identity(&job));
}

#[test]
fn one_size_in_a_list_is_the_same_job_and_the_order_of_sizes_is_not() {
    let identity = |sets: &[&str]| resolved::identity(&short_with(sets));
    let listed = short_with(&["patches.size=[[6, 6]]"]);
    assert_eq!(listed, short_with(&[]));
    assert_eq!(
        resolved::to_json(&listed)["patches"]["size"],
        serde_json::json!([6, 6])
    );
    let several = short_with(&["patches.size=[[6, 6], [10, 4]]"]);
    assert_eq!(reparsed(&several), several);
    let turned = identity(&["patches.size=[[10, 4], [6, 6]]"]);
    assert_ne!(resolved::identity(&several), turned);
    let colored = short_with(&["patches.size=[[6, 6], [10, 4]]", "input.color=rgb"]);
    assert!(colored.patches().iter().all(|patch| patch.channels == 3));
}

#[test]
fn every_size_has_a_finished_vocabulary_of_its_own() {
    let text = SHORT.replace("k = 50", "from = \"a.parquet\"");
    let sizes = "patches.size=[[6, 6], [10, 4]]";
    let listed = check(&text, &["vocabulary.from=[\"a.parquet\"]"]).expect("a job");
    assert_eq!(listed, check(&text, &[]).expect("a job"));
    let from = "vocabulary.from=[\"a.parquet\", \"b/c.parquet\"]";
    let job = check(&text, &[sizes, from]).expect("a job");
    let expected = ["jobs/a.parquet", "jobs/b/c.parquet"].map(PathBuf::from);
    assert_eq!(job.vocabulary, VocabularySource::From(expected.to_vec()));
    assert_eq!(reparsed(&job), job);
    let cases: [&[&str]; 6] = [
        &[sizes],
        &[from],
        &[sizes, "vocabulary.from=[\"a.parquet\"]"],
        &[sizes, "vocabulary.from=[\"a\", \"b\", \"c\"]"],
        &[sizes, "vocabulary.from=[\"a\", \"\"]"],
        &["vocabulary.from=[]"],
    ];
    let said = cases.map(|sets| refusal(check(&text, sets), &sets.join(" ")));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn every_config_of_the_repository_is_a_job() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut n_configs = 0;
    for entry in std::fs::read_dir(configs).expect("configs/") {
        let path = entry.expect("readable").path();
        let job = Job::load(&path, &[], &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(reparsed(&job), job, "{}", path.display());
        n_configs += 1;
    }
    assert!(n_configs >= 2);
}

/// Settings that leave every byte of the output as it is.
const SAME_BYTES: [&str; 8] = [
    "run.threads=7",
    "run.memory=64MiB",
    "run.io=read",
    "output.dir=elsewhere",
    "output.layout=fixed_size_list",
    "features.pooling=[1, 1]",
    "patches.stride=1",
    "cluster=[{of = \"pixels\", k = 10}]",
];

/// Settings that do not.
const OTHER_BYTES: [&str; 32] = [
    "input.files=[\"b.parquet\"]",
    "input.image=img",
    "input.label=digit",
    "input.keep=[\"id\"]",
    "input.shape=[28, 28]",
    "input.shape=[28, 28, 3]",
    "input.on_bad_image=zero",
    "input.on_bad_image=drop",
    "patches.size=[6, 5]",
    "patches.stride=2",
    "patches.normalize=none",
    "sample.every=2",
    "sample.per_image=0.5",
    "sample.per_image=1",
    "sample.max_patches=5000",
    "vocabulary.k=51",
    "vocabulary.algorithm=lloyd",
    "vocabulary.init=random",
    "vocabulary.n_init=4",
    "vocabulary.max_iter=301",
    "vocabulary.tol=0.001",
    "vocabulary.spherical=true",
    "patches.normalize=patch",
    "patches={size=[6, 6], normalize=\"patch\", epsilon=1}",
    "patches.whiten=zca",
    "patches={size=[6, 6], whiten=\"zca\", whiten_epsilon=1}",
    "features.encoding=triangle",
    "features.encoding=soft",
    "features.pooling=[2, 2]",
    "features.pooling=[[1, 1], [2, 2]]",
    "features.weighting=[\"tf-idf\", \"l2\"]",
    "run.seed=1",
];

#[test]
fn identity_follows_what_changes_the_output_and_nothing_else() {
    let identity = |sets: &[&str]| resolved::identity(&short_with(sets));
    let plain = identity(&[]);
    assert_eq!(plain.len(), 64);
    for set in SAME_BYTES {
        assert_eq!(identity(&[set]), plain, "{set}");
    }
    let mut seen = vec![plain];
    for set in OTHER_BYTES
        .into_iter()
        .chain(["vocabulary.batch_size=4096"])
    {
        let other = identity(&[set]);
        assert!(!seen.contains(&other), "{set}");
        seen.push(other);
    }
    let bad = ["input.on_bad_image=drop", "input.max_bad=3"];
    assert_eq!(identity(&bad), identity(&bad[..1]));
}

#[test]
fn a_clustering_has_an_identity_of_its_own() {
    let identities = |sets: &[&str]| -> Vec<String> {
        let job = short_with(sets);
        let clusterings = job.clusterings();
        clusterings
            .iter()
            .map(resolved::clustering_identity)
            .collect()
    };
    let plain = identities(&["cluster=[{of = \"pixels\", k = [10, 20]}]"]);
    assert_eq!(plain.len(), 2);
    assert_eq!(
        plain,
        identities(&[
            "cluster=[{of = \"pixels\", k = 10, n_init = 10}, {of = \"pixels\", k = 20, max_iter = 300}]",
            "run.threads=3",
        ])
    );
    let mut seen = plain;
    for set in [
        "cluster=[{of = \"features\", k = 10}]",
        "cluster=[{of = \"pixels\", k = 11}]",
        "cluster=[{of = \"pixels\", k = 10, n_init = 9}]",
        "cluster=[{of = \"pixels\", k = 10, max_iter = 299}]",
        "cluster=[{of = \"pixels\", k = 10, algorithm = \"mini-batch\"}]",
    ] {
        let other = identities(&[set]).remove(0);
        assert!(!seen.contains(&other), "{set}");
        seen.push(other);
    }
    let seeded = identities(&["cluster=[{of = \"pixels\", k = 10}]", "run.seed=1"]);
    assert!(!seen.contains(&seeded[0]));
}

#[test]
fn identity_moves_with_the_folder() {
    let there = Job::check(
        JobFile::parse(Path::new("a.toml"), SHORT, &[]).expect("TOML"),
        Path::new("/some [other] folder"),
    );
    let there = there.expect("a job");
    assert_eq!(
        resolved::identity(&there),
        resolved::identity(&short_with(&[]))
    );
}

#[test]
fn differences_name_the_key_and_both_values() {
    let old = resolved::to_json(&short_with(&["run.threads=2", "sample.max_patches=900"]));
    let new = resolved::to_json(&short_with(&[
        "run.threads=2",
        "vocabulary.k=60",
        "input.image=img",
    ]));
    assert_eq!(
        resolved::differences(&old, &new),
        [
            "sample.max_patches: 900 -> not set",
            "vocabulary.k: 50 -> 60",
            "input.image: not set -> \"img\"",
        ]
    );
    assert!(resolved::differences(&old, &old).is_empty());
}

/// The job that `job` is when it is written down and read again.
fn reparsed(job: &Job) -> Job {
    let toml = resolved::to_toml(job).expect("TOML");
    let file =
        JobFile::parse(Path::new("resolved.toml"), &toml, &[]).unwrap_or_else(|e| panic!("{e}"));
    Job::check(file, &job.base_dir).unwrap_or_else(|e| panic!("{toml}\n{e}"))
}

fn any_sets() -> impl Strategy<Value = Vec<String>> {
    let learning = (1u32..5000, 1u32..9, 1u32..999, 0.0..1.0f64, any::<bool>()).prop_map(
        |(k, n_init, max_iter, tol, is_lloyd)| {
            let how = if is_lloyd { "algorithm = \"lloyd\"" } else { "batch_size = 77" };
            format!("vocabulary={{k = {k}, n_init = {n_init}, max_iter = {max_iter}, tol = {tol:?}, {how}}}")
        },
    );
    let per_image = prop_oneof![
        (1u32..10_000).prop_map(|n| format!("sample.per_image={n}")),
        (1e-9..=1.0f64).prop_map(|share| format!("sample.per_image={share:?}")),
    ];
    let run =
        (any::<u32>(), 0u32..64, (16u64 << 20)..(1 << 45)).prop_map(|(seed, threads, memory)| {
            format!("run={{seed = {seed}, threads = {threads}, memory = {memory}}}")
        });
    let names = "[^\u{0}/*?\\[\\]]{1,12}".prop_map(|name| {
        let quoted = toml::Value::String(name).to_string();
        format!(
            "input={{image = {quoted}, keep = [{quoted}], on_bad_image = \"zero\", max_bad = 3}}"
        )
    });
    let clusters = proptest::collection::btree_set(1u32..99, 1..4).prop_map(|k| {
        let k: Vec<u32> = k.into_iter().collect();
        format!("cluster=[{{of = \"pixels\", k = {k:?}, n_init = 3}}, {{of = \"features\", k = 7, algorithm = \"mini-batch\"}}]")
    });
    let folders = "[^\u{0}/.][^\u{0}/]{0,12}"
        .prop_map(|name| format!("output.dir={}", toml::Value::String(format!("../{name}"))));
    (learning, per_image, run, names, clusters, folders)
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
}

proptest! {
    #[test]
    fn a_mangled_file_is_refused_and_never_panics(at in 0..SHORT.len(), length in 0usize..9, junk in "[\\PC\n\t]{0,4}") {
        let mut text = SHORT.to_owned();
        text.replace_range(at..(at + length).min(SHORT.len()), &junk);
        if let Err(error) = check(&text, &[&junk, &format!("{junk}={junk}")]) {
            prop_assert_eq!(error.exit_code(), 2);
        }
        if let Err(error) = check(&text, &[]) {
            prop_assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn a_resolved_job_parses_to_the_same_job(sets in any_sets()) {
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let job = short_with(&sets);
        let again = reparsed(&job);
        prop_assert_eq!(&again, &job);
        prop_assert_eq!(resolved::identity(&again), resolved::identity(&job));
        prop_assert!(resolved::differences(&resolved::to_json(&job), &resolved::to_json(&again)).is_empty());
    }
}

#[test]
fn a_setting_error_carries_its_key() {
    match check(SHORT, &["vocabulary.k=0"]) {
        Err(Error::Setting { key, .. }) => assert_eq!(key, "vocabulary.k"),
        other => panic!("{other:?}"),
    }
}
