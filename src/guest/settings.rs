//! The settings of a guest: the keys of a job file that say what becomes of an image, through the same door as a job's.
//!
//! Files and directories are not among them, so the tables that name these are filled in here, and never looked at.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::job::{Job, JobFile, Overrides, resolved};
use crate::shard::vocabulary::Header;

/// What messages call the settings as a whole.
const NAME: &str = "the settings";

/// What stands in place of files that there are not.
const NO_FILE: &str = "images";
const NO_DIR: &str = "nowhere";

/// Keys of `[input]` that vectors depend on.
const INPUT_KEYS: [&str; 3] = ["color", "resize", "max_pixels"];

/// A job that learns words. `sets` are keys and values as `--set` takes them, such as `vocabulary.k=50`.
///
/// # Errors
/// As for a job file with these keys.
pub fn job_to_learn(sets: &[String], overrides: &Overrides) -> Result<Job> {
    job(&json!({}), sets, overrides)
}

/// A job that makes vectors with finished words, prepared and pooled as in the job that these were learned by, except for
/// what `sets` says.
///
/// # Errors
/// As for a job file with these keys; no vocabulary, or one whose job cannot be read.
pub fn job_to_featurize(headers: &[Header], sets: &[String], overrides: &Overrides) -> Result<Job> {
    let Some(first) = headers.first() else {
        return Err(Error::Usage {
            message: "no vocabulary is given".to_owned(),
        });
    };
    let learned = &first.job;
    let mut input = Map::new();
    for key in INPUT_KEYS {
        if let Some(value) = learned["input"].get(key) {
            input.insert(key.to_owned(), value.clone());
        }
    }
    let mut patches = match &learned["patches"] {
        Value::Object(keys) => keys.clone(),
        _ => Map::new(),
    };
    let sizes: Vec<Value> = headers.iter().map(|one| json!(one.patch)).collect();
    patches.insert(
        "size".to_owned(),
        match sizes.as_slice() {
            [one] => one.clone(),
            several => json!(several),
        },
    );
    let names = vec![NO_FILE; headers.len()];
    let mut tables = json!({
        "input": input,
        "patches": patches,
        "vocabulary": {"from": names},
    });
    if learned["features"].is_object() {
        tables["features"] = learned["features"].clone();
    }
    job(&tables, sets, overrides)
}

/// What a vocabulary's file says of the job that its words were learned by: all but files, which there are none of.
pub fn provenance(job: &Job) -> Value {
    let mut resolved = resolved::identity_json(job);
    for (table, key) in [("input", "files"), ("output", "dir")] {
        if let Some(table) = resolved.get_mut(table).and_then(Value::as_object_mut) {
            table.shift_remove(key);
        }
    }
    resolved
}

fn job(tables: &Value, sets: &[String], overrides: &Overrides) -> Result<Job> {
    let unreadable = |error: serde_json::Error| {
        Error::file(
            Path::new("the vocabulary"),
            format!("its job is not of this version of bovw: {error}"),
        )
    };
    let file: JobFile = serde_json::from_value(tables.clone()).map_err(unreadable)?;
    let mut file = JobFile::parse(Path::new(NAME), &file.to_toml()?, sets)?;
    file.input.files = Some(vec![NO_FILE.to_owned()]);
    file.output.dir = Some(NO_DIR.to_owned());
    overrides.apply(&mut file);
    Job::check_within(file, Path::new(""), overrides.container.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(patch: [u32; 2], job: Value) -> Header {
        serde_json::from_value(json!({
            "format": 1, "k": 3, "patch": patch, "normalize": "image", "color": "grey",
            "n_patches": 9, "inertia_per_patch": 1.0, "job": job,
        }))
        .expect("a header")
    }

    #[test]
    fn vectors_are_made_as_the_words_were_learned_unless_told_otherwise() {
        let learned = json!({
            "input": {"files": ["x"], "color": "grey", "resize": 64, "keep": ["id"]},
            "patches": {"size": [6, 6], "stride": 2, "normalize": "image", "whiten": "none"},
            "features": {"encoding": "hard", "pooling": [2, 2], "weighting": "hellinger"},
            "output": {"layout": "fixed_size_list"},
        });
        let headers = [header([6, 6], learned)];
        let job = job_to_featurize(&headers, &[], &Overrides::default()).expect("a job");
        assert_eq!((job.stride, job.input.resize), (2, Some(64)));
        assert_eq!(job.features.pooling, [[2, 2]]);
        let sets = ["features.pooling=[1, 3]".to_owned()];
        let job = job_to_featurize(&headers, &sets, &Overrides::default()).expect("a job");
        assert_eq!(job.features.pooling, [[1, 3]]);
        assert_eq!(job.features.weighting.len(), 1);
    }

    #[test]
    fn settings_that_cannot_work_are_refused_as_a_job_file_s_are() {
        for (set, told) in [
            ("vocabulary.k=0", "vocabulary.k"),
            ("vocabulary.kk=3", "kk"),
            ("patches.size=\"x\"", "size"),
        ] {
            let sets = ["patches.size=[6,6]", "vocabulary.k=9", set].map(str::to_owned);
            let error = job_to_learn(&sets, &Overrides::default());
            let message = error.expect_err("refused").to_string();
            assert!(message.contains(told), "{message}");
        }
    }
}
