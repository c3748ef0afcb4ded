//! Paths of a job as text: globs put behind the job's folder, and an output that would be read as input.
//!
//! Touches no disk: what is there is for those who read it to say.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// `pattern` under `base_dir`, whose own brackets and stars mean themselves.
pub(super) fn join_pattern(base_dir: &Path, pattern: &str) -> Result<String> {
    if Path::new(pattern).is_absolute() {
        return Ok(pattern.to_owned());
    }
    let prefix = pattern_prefix(base_dir).ok_or_else(|| {
        Error::setting(
            "input.files",
            format!(
                "the folder {} cannot be part of a glob: its name is not UTF-8",
                base_dir.display()
            ),
            "rename the folder, or give absolute paths",
        )
    })?;
    Ok(format!("{prefix}{pattern}"))
}

/// What a relative glob is put behind so that it starts at `base_dir`; `None` where the folder is not UTF-8.
pub(super) fn pattern_prefix(base_dir: &Path) -> Option<String> {
    let folder = base_dir.to_str()?;
    if folder.is_empty() {
        return Some(String::new());
    }
    Some(format!(
        "{}/",
        glob::Pattern::escape(folder.trim_end_matches('/'))
    ))
}

/// Refuses a job that would read its own results as images when it is run again.
pub(super) fn refuse_output_among_inputs(patterns: &[String], output_dir: &Path) -> Result<()> {
    // A shard's features take the shard's name, so for their folder the pattern's folders alone decide.
    let features = tidy(&output_dir.join("features"));
    let others = [
        tidy(&output_dir.join("vocabulary.parquet")),
        tidy(&output_dir.join("clusters").join("pixels-k10.parquet")),
    ];
    let strict = glob::MatchOptions {
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let matches = |pattern: &Path, path: &Path| {
        pattern
            .to_str()
            .and_then(|pattern| glob::Pattern::new(pattern).ok())
            .is_some_and(|pattern| pattern.matches_path_with(path, strict))
    };
    for pattern in patterns {
        let pattern = tidy(Path::new(pattern));
        let folders = pattern.parent().unwrap_or(Path::new(""));
        if matches(folders, &features) || others.iter().any(|other| matches(&pattern, other)) {
            return Err(Error::setting(
                "output.dir",
                format!(
                    "results in {} would be found by the glob {} of input.files when the job is run again",
                    tidy(output_dir).display(),
                    pattern.display()
                ),
                "choose a folder outside, or narrow the glob",
            ));
        }
    }
    Ok(())
}

/// `path` without `.`, and without `..` where what it leaves is a plain folder.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        let leaves_a_folder = matches!(tidied.components().next_back(), Some(Component::Normal(name)) if name != "**");
        match component {
            Component::CurDir => {}
            Component::ParentDir if leaves_a_folder => {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    tidied
}
