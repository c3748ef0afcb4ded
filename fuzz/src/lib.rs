//! What all fuzz targets share: a place to work in, and which panics are finds.
//!
//! bovw catches the panics of the libraries that read images and Parquet and makes errors of them, so such a panic is no
//! find. One in bovw's own code is, even where it is caught.

pub mod targets;

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

pub use libfuzzer_sys;

/// The `main` of one fuzz target, a function of [`targets`].
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::watch_panics(),
            |bytes: &[u8]| $crate::run(stringify!($target), bytes)
        );
    };
}

/// The last panic of a library, which is told only if nobody catches it.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Ends the process at a panic in bovw's own code; notes those of libraries.
pub fn watch_panics() {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if targets::is_ours(panic) {
            abort(panic);
        }
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
}

/// Gives one input to a target. A panic that nobody caught ends the process.
pub fn run(target: &str, bytes: &[u8]) {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    // It outlives the process, which ends without unwinding: scripts/fuzz sets TMPDIR and cleans up.
    let dir = DIR.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        targets::give(target, dir.path(), bytes)
    }));
    if outcome.is_err() {
        let panic = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("not caught: {panic}");
        std::process::abort();
    }
}
