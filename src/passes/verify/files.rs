//! Files: outputs are whole, nothing is left over, inputs are what they were.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

use crate::error::{Error, Result};
use crate::job::Io;
use crate::report;
use crate::shard::examples::PICTURES_DIR;
use crate::shard::manifest::{
    BAD_IMAGES_DIR, CLUSTERS_DIR, FEATURES_DIR, MANIFEST_FILE, ManifestOutput, hash_file,
};
use crate::shard::read::Shard;
use crate::shard::whole::TEMPORARY_PREFIX;
use crate::shard::written::for_each_bad;

use super::super::progress::Phase;
use super::super::run_dir::LOCK_FILE;
use super::{Check, MAX_TOLD, Run, stem, total};

/// What every hidden file of ours in a run's directory starts with.
const HIDDEN_PREFIX: &str = ".bovw-";

/// Every file that the manifest lists, and that it lists every file.
pub(super) fn outputs(run: &mut Run<'_>) {
    let counters = &run.progress.hash;
    let bytes =
        |outputs: &[ManifestOutput]| total(outputs.iter().map(|output| output.file.size_bytes));
    let inputs = run.manifest.inputs.iter();
    let input_bytes = total(inputs.map(|input| input.input.fingerprint.size_bytes));
    counters.set_total(bytes(&run.manifest.outputs).saturating_add(input_bytes));
    run.progress.enter(Phase::Hashing);
    for output in &run.manifest.outputs {
        let path = run.path(&output.path);
        let size_bytes = output.file.size_bytes;
        match run
            .progress
            .hash
            .count(size_bytes, || check_output(&path, output))
        {
            Ok(None) => {
                run.whole.insert(&output.path);
                run.verified.files += 1;
                run.verified.file_bytes += size_bytes;
            }
            Ok(Some(Wrong::Missing)) if Path::new(&output.path).starts_with(PICTURES_DIR) => {
                run.note(Check::Files, &*path, "is missing; only pictures need it");
            }
            Ok(Some(wrong)) => run.problem(Check::Files, &*path, wrong.message()),
            Err(error) => run.failed(Check::Files, &path, &error),
        }
    }
    listed(run);
}

/// What is wrong with an output.
enum Wrong {
    Missing,
    Elsewhere,
    Size(u64, u64),
    Bytes,
    Rows(u64, u64),
}

impl Wrong {
    fn message(&self) -> String {
        match self {
            Wrong::Missing => format!("is missing, though {MANIFEST_FILE} lists it"),
            Wrong::Elsewhere => {
                format!("is outside the run's directory, where {MANIFEST_FILE} says it is")
            }
            Wrong::Size(found, listed) => {
                format!("has {found} bytes, {MANIFEST_FILE} lists {listed}")
            }
            Wrong::Bytes => {
                format!(
                    "has other bytes than were written: its BLAKE3 is not the one in {MANIFEST_FILE}"
                )
            }
            Wrong::Rows(found, listed) => {
                format!("has {found} rows, {MANIFEST_FILE} lists {listed}")
            }
        }
    }
}

fn check_output(path: &Path, output: &ManifestOutput) -> Result<Option<Wrong>> {
    let mut parts = Path::new(&output.path).components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Ok(Some(Wrong::Elsewhere));
    }
    let size_bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some(Wrong::Missing));
        }
        Err(error) => return Err(Error::io(path, "read the size", error)),
    };
    if size_bytes != output.file.size_bytes {
        return Ok(Some(Wrong::Size(size_bytes, output.file.size_bytes)));
    }
    if hash_file(path)? != output.file.blake3 {
        return Ok(Some(Wrong::Bytes));
    }
    let n_rows = rows(path)?;
    Ok((n_rows != output.rows).then_some(Wrong::Rows(n_rows, output.rows)))
}

/// Rows of a Parquet file, or lines of a list.
fn rows(path: &Path) -> Result<u64> {
    if path.extension().is_some_and(|ending| ending == "parquet") {
        return Ok(Shard::open(path, Io::Read)?.n_rows());
    }
    let mut n_rows = 0;
    for_each_bad(path, |_| n_rows += 1)?;
    Ok(n_rows)
}

/// The manifest lists what a run makes: words, vectors of every input, lists of bad images, clusters.
fn listed(run: &mut Run<'_>) {
    let manifest = run.manifest;
    let mut expected = run.vocabularies.clone();
    for (input, features) in manifest.inputs.iter().zip(run.features()) {
        if input.counts.is_some_and(|counts| counts.bad_images > 0) {
            expected.push(format!("{BAD_IMAGES_DIR}/{}.jsonl", stem(features)));
        }
    }
    for entry in &manifest.clusters {
        expected.extend([entry.file.clone(), entry.centroids.clone()]);
    }
    let path = run.path(MANIFEST_FILE);
    let n_features = run.features().count();
    let n_inputs = manifest.inputs.len();
    run.same(
        Check::Files,
        &*path,
        "features files, one an input",
        n_features,
        n_inputs,
    );
    for name in expected {
        if run.output(&name).is_none() {
            run.problem(Check::Files, &*path, format!("does not list {name}"));
        }
    }
}

/// Temporary files, which a finished run has none of; and files that are not of the run.
pub(super) fn leftovers(run: &mut Run<'_>) -> Result<()> {
    let listed = run
        .manifest
        .outputs
        .iter()
        .map(|output| output.path.clone());
    let known: BTreeSet<String> = listed.chain(report::files(run.manifest)).collect();
    for folder in ["", FEATURES_DIR, BAD_IMAGES_DIR, CLUSTERS_DIR, PICTURES_DIR] {
        let dir = run.path(folder);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(&dir, "list", error)),
        };
        let mut unknown = BTreeSet::new();
        let mut n_unknown = 0;
        for entry in entries {
            let entry = entry.map_err(|source| Error::io(&dir, "list", source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.starts_with(if folder.is_empty() {
                HIDDEN_PREFIX
            } else {
                TEMPORARY_PREFIX
            });
            if is_ours && name != LOCK_FILE {
                let what = "is left over from a run that did not end";
                run.problem(Check::Files, &*entry.path(), what);
            } else if !folder.is_empty() && !known.contains(&format!("{folder}/{name}")) {
                n_unknown += 1;
                unknown.insert(name);
                // The first by name, however many there are.
                if unknown.len() as u64 > MAX_TOLD {
                    unknown.pop_last();
                }
            }
        }
        for name in &unknown {
            run.note(Check::Files, &*dir.join(name), "is not a file of this run");
        }
        let n_told = unknown.len() as u64;
        if n_unknown > n_told {
            let what = format!("{} more files are not of this run", n_unknown - n_told);
            run.note(Check::Files, &*dir, what);
        }
    }
    Ok(())
}

/// Inputs that are still there are the ones that were read. A later time alone is no change.
pub(super) fn inputs(run: &mut Run<'_>) {
    for at in 0..run.manifest.inputs.len() {
        let path = run.input_path(at);
        let size_bytes = run.manifest.inputs[at].input.fingerprint.size_bytes;
        match run
            .progress
            .hash
            .count(size_bytes, || input(run, at, &path))
        {
            Ok(Input::Same) => {
                run.unchanged.insert(at);
                run.verified.inputs += 1;
                run.verified.input_bytes += size_bytes;
            }
            Ok(Input::Missing) => run.verified.missing_inputs += 1,
            Ok(Input::Changed(how)) => {
                run.problem(
                    Check::Inputs,
                    &*path,
                    format!("has changed since the run: {how}"),
                );
            }
            Err(error) => run.failed(Check::Inputs, &path, &error),
        }
        if !path.exists() && run.verified.missing_inputs <= MAX_TOLD {
            run.note(
                Check::Inputs,
                &*path,
                "is not there any more; its images cannot be looked at again",
            );
        }
    }
}

/// What became of an input.
enum Input {
    Same,
    Missing,
    Changed(String),
}

fn input(run: &Run<'_>, at: usize, path: &Path) -> Result<Input> {
    let listed = &run.manifest.inputs[at];
    let size_bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Input::Missing),
        Err(error) => return Err(Error::io(path, "read the size", error)),
    };
    let expected = listed.input.fingerprint.size_bytes;
    if size_bytes != expected {
        return Ok(Input::Changed(format!(
            "it has {size_bytes} bytes, it had {expected}"
        )));
    }
    if hash_file(path)? != listed.blake3 {
        return Ok(Input::Changed("its BLAKE3 is another".to_owned()));
    }
    let (rows, expected) = (Shard::open(path, Io::Read)?.n_rows(), listed.input.rows);
    if rows != expected {
        return Ok(Input::Changed(format!(
            "it has {rows} rows, {MANIFEST_FILE} lists {expected}"
        )));
    }
    Ok(Input::Same)
}
