//! `bovw report`: draws a finished run again, from its own files.

use std::path::Path;

use crate::error::{Error, Result};
use crate::report::{self, Drawn};
use crate::shard::manifest::{MANIFEST_FILE, STATE_FILE};

use super::run_dir;

/// Draws the pictures and the report of a finished run into its directory.
///
/// # Errors
/// The directory holds no finished run, another run is at work in it, or its files are damaged or missing.
pub fn draw(dir: &Path) -> Result<Drawn> {
    if !dir.join(MANIFEST_FILE).is_file() {
        return Err(no_run(dir));
    }
    let _lock = run_dir::lock(dir)?;
    report::draw(dir)
}

/// Why `dir` holds no finished run.
pub(super) fn no_run(dir: &Path) -> Error {
    let (message, help) = if !dir.is_dir() {
        ("is no folder", "name the output.dir of a finished run")
    } else if dir.join(STATE_FILE).is_file() {
        (
            "holds a run that is not finished",
            "run the same `bovw run` again to finish it",
        )
    } else {
        (
            "holds no finished run: there is no manifest.json",
            "name the output.dir of a run of `bovw run`",
        )
    };
    Error::File {
        place: dir.into(),
        message: message.to_owned(),
        help: Some(help.to_owned()),
    }
}
