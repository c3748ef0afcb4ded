//! The shard writer: names, sizes, and that nothing is left behind.

use super::*;

fn target(out: &Path) -> Target {
    Target {
        rows_per_shard: 3,
        ..Target::new(out)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn write(target: &Target, rows: usize) -> Result<Written> {
    let mut writer = ShardWriter::create(target, &Labels::None)?;
    for _ in 0..rows {
        writer.push(b"image", None, Label::None)?;
    }
    writer.finish()
}

#[test]
fn shards_are_named_by_number_and_total() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(&target(dir.path()), 7).unwrap();
    let expected = [0, 1, 2].map(|i| format!("images-0000{i}-of-00003.parquet"));
    assert_eq!(names(dir.path()), expected);
    assert_eq!(written.shards, expected.map(|name| dir.path().join(name)));
    assert_eq!(written.images, 7);
    let sizes = written.shards.iter().map(|s| s.metadata().unwrap().len());
    assert_eq!(written.bytes, sizes.sum::<u64>());
}

#[test]
fn names_of_very_many_shards_still_sort_by_number() {
    assert_eq!(shard_name("a", 7, 100_000), "a-000007-of-100000.parquet");
    assert!(is_shard_name("a-000007-of-100000.parquet", "a"));
    assert!(!is_shard_name("a-b-00000-of-00001.parquet", "a"));
    assert!(!is_shard_name("a-00000-of-00001.parquet.tmp", "a"));
    assert!(!is_shard_name("a-0-of-1.parquet", "a"));
}

#[test]
fn a_full_last_shard_is_not_followed_by_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write(&target(dir.path()), 6).unwrap().shards.len(), 2);
}

#[test]
fn existing_shards_are_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    write(&target(dir.path()), 4).unwrap();
    let before = names(dir.path());
    let error = write(&target(dir.path()), 1).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(
        error.to_string().contains("images-00000-of-00002.parquet"),
        "{error}"
    );
    assert!(error.to_string().contains("--overwrite"), "{error}");
    assert_eq!(names(dir.path()), before);
}

#[test]
fn overwriting_leaves_no_old_shard_and_no_other_name_touched() {
    let dir = tempfile::tempdir().unwrap();
    write(&target(dir.path()), 9).unwrap();
    fs::write(dir.path().join("other-00000-of-00001.parquet"), "x").unwrap();
    let overwrite = Target {
        overwrite: true,
        ..target(dir.path())
    };
    write(&overwrite, 4).unwrap();
    assert_eq!(
        names(dir.path()),
        [
            "images-00000-of-00002.parquet",
            "images-00001-of-00002.parquet",
            "other-00000-of-00001.parquet"
        ]
    );
}

#[test]
fn a_dropped_writer_leaves_neither_files_nor_folders() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::create(&target(&dir.path().join("a/b")), &Labels::None).unwrap();
    for _ in 0..8 {
        writer.push(b"image", None, Label::None).unwrap();
    }
    assert_eq!(names(&dir.path().join("a/b")).len(), 2);
    drop(writer);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn no_images_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = write(&target(&dir.path().join("new")), 0).unwrap_err();
    assert!(error.to_string().contains("no images"), "{error}");
    assert!(!dir.path().join("new").exists());
}

#[test]
fn a_row_group_is_bounded_in_rows_and_in_bytes() {
    let mut pending = Pending::new(&Labels::None, &Storage::default());
    assert!(
        !pending.is_full(ROW_GROUP_MAX_BYTES + 1),
        "a single image always fits"
    );
    pending.push(b"12345", None, Label::None);
    assert!(pending.is_full(ROW_GROUP_MAX_BYTES));
    assert!(!pending.is_full(5));
    for _ in 1..ROW_GROUP_MAX_ROWS {
        pending.push(b"", None, Label::None);
    }
    assert!(pending.is_full(0));
}

#[test]
fn names_that_a_glob_or_a_file_system_would_misread_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", ".x", "a/b", "a*", "a\\b", "a\nb", &"x".repeat(201)] {
        let target = Target {
            name: name.to_owned(),
            ..Target::new(dir.path())
        };
        assert_eq!(write(&target, 1).unwrap_err().exit_code(), 2, "{name:?}");
    }
}

#[test]
fn a_shard_without_rows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target {
        rows_per_shard: 0,
        ..Target::new(dir.path())
    };
    assert!(
        write(&target, 1)
            .unwrap_err()
            .to_string()
            .contains("--rows-per-shard")
    );
}
