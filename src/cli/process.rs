//! What is the process's alone: signals, panics, its allocator, and what the system says of its memory.

use std::alloc::System;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use bovw::passes::progress::ProcessMemory;
use bovw::{Error, Result};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// The system's allocator, which counts what the command holds.
#[global_allocator]
static HEAP: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Set once the user asks the command to stop.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Exit status of a command that was told to stop at once.
const STOPPED: i32 = 130;

/// The largest anonymous memory that [`memory`] has seen.
static PEAK_ANONYMOUS_BYTES: AtomicU64 = AtomicU64::new(0);

/// First SIGINT, SIGTERM or SIGHUP: finish what is in flight and stop. Second: stop now, whatever the process is busy
/// with; finished files are whole anyway. Signals that the process was started to ignore, as `nohup` does, stay ignored.
pub(crate) fn handle_signals() {
    let ignored = ignored_signals();
    let signals = [SIGINT, SIGTERM, SIGHUP];
    let signals = signals
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let signals: Vec<i32> = signals.collect();
    let is_second = Arc::new(AtomicBool::new(false));
    for &signal in &signals {
        // In this order, so that only a signal after the first finds the flag set. A system that has no handlers to
        // give leaves the signals as they are: they end the process.
        let _ = flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&is_second));
        let _ = flag::register(signal, Arc::clone(&is_second));
    }
    let Ok(mut signals) = Signals::new(&signals) else {
        return;
    };
    let listen = move || {
        if signals.forever().next().is_some() {
            INTERRUPTED.store(true, Relaxed);
            super::output::note("stopping; once more to stop at once");
        }
    };
    // The thread ends with the process.
    let _ = thread::Builder::new()
        .name("bovw-signals".to_owned())
        .spawn(listen);
}

/// Lets a write beyond the limit on file sizes (`ulimit -f`) fail like one on a full disk, instead of ending the process.
pub(crate) fn survive_file_limits() {
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// The signals that the process ignores, signal 1 in the lowest bit; none where the system does not say.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs the command. A panic that the library did not turn into an error is one here: a mistake of ours, told in one line.
pub(crate) fn guarded(command: impl FnOnce() -> Result<()>) -> Result<()> {
    // Panics inside workers and readers become errors with the file's name, so they are not printed as well.
    panic::set_hook(Box::new(|info| {
        LAST_PANIC.with(|last| *last.borrow_mut() = info.to_string().replace('\n', " "));
    }));
    panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        Err(Error::Panicked {
            stage: "command",
            place: None,
            message: LAST_PANIC.with(RefCell::take),
        })
    })
}

/// What the system says of the memory now, and the peaks so far; looked at often, so that peaks are not missed by much.
pub(crate) fn memory() -> ProcessMemory {
    let now_bytes = status_bytes("RssAnon:");
    PEAK_ANONYMOUS_BYTES.fetch_max(now_bytes, Relaxed);
    ProcessMemory {
        now_bytes,
        peak_heap_bytes: HEAP.get_peak_memory() as u64,
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
