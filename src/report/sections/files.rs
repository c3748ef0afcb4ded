//! The job as it was resolved, and the files that the run left.

use crate::job::JobFile;
use crate::report::run_files::RunFiles;
use crate::report::text::{bytes, count};

/// Files that are listed, at most.
const MAX_FILES: usize = 200;

pub(in crate::report) struct Files {
    /// Path, rows, size, hash.
    pub(in crate::report) outputs: Vec<[String; 4]>,
    pub(in crate::report) n_more: usize,
    pub(in crate::report) job: String,
    pub(in crate::report) job_dir: Option<String>,
}

pub(in crate::report) fn files(files: &RunFiles) -> Files {
    let manifest = &files.manifest;
    let outputs = manifest.outputs.iter().take(MAX_FILES).map(|output| {
        [
            output.path.clone(),
            count(output.rows),
            bytes(output.file.size_bytes),
            output.file.blake3.clone(),
        ]
    });
    Files {
        outputs: outputs.collect(),
        n_more: manifest.outputs.len().saturating_sub(MAX_FILES),
        job: job(&manifest.job),
        job_dir: manifest.run["job_dir"].as_str().map(str::to_owned),
    }
}

/// The job as TOML; one of another version, with keys that this one does not know, as JSON.
fn job(job: &serde_json::Value) -> String {
    serde_json::from_value::<JobFile>(job.clone())
        .ok()
        .and_then(|job| job.to_toml().ok())
        .unwrap_or_else(|| format!("{job:#}"))
}
