//! What is the process's alone: signals, panics, and what the system says of its memory.

use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Set once the user asks the command to stop.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The largest anonymous memory that [`sample_memory`] has seen.
static PEAK_ANONYMOUS_BYTES: AtomicU64 = AtomicU64::new(0);

/// First SIGINT, SIGTERM or SIGHUP: finish what is in flight and stop. Second: stop now; finished files are whole anyway.
pub(crate) fn handle_signals() {
    let handler = || {
        if INTERRUPTED.swap(true, Relaxed) {
            std::process::exit(130);
        }
        super::output::note("stopping; once more to stop at once");
    };
    // A process that already has a handler, as a test runner's might, keeps it.
    let _ = ctrlc::set_handler(handler);
}

/// A panic that becomes an error, with the file's name, need not be printed as well.
pub(crate) fn quiet_caught_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !bovw::error::is_caught() {
            default(info);
        }
    }));
}

/// Memory as the system counts it.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Memory {
    /// Largest anonymous memory seen: heap and stacks.
    pub(crate) peak_anonymous_bytes: u64,
    /// Largest resident memory ever: heap, stacks and mapped pages.
    pub(crate) peak_resident_bytes: u64,
}

/// Looks at the memory now, so that peaks are not missed by much.
pub(crate) fn sample_memory() {
    PEAK_ANONYMOUS_BYTES.fetch_max(status_bytes("RssAnon:"), Relaxed);
}

/// The peaks so far.
pub(crate) fn memory() -> Memory {
    sample_memory();
    Memory {
        peak_anonymous_bytes: PEAK_ANONYMOUS_BYTES.load(Relaxed),
        peak_resident_bytes: status_bytes("VmHWM:"),
    }
}

/// A line of the system's status of this process; 0 where there is none.
fn status_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
