//! What keeps the process alive when a mapped file loses its pages: cut short by another process, or a disk that fails.
//!
//! The system answers a read of such a page with SIGBUS, whose default is death without a word. Every guarded mapping
//! therefore stands in a table of fixed size, made of atomics alone. The handler looks the address up there; where it
//! lies in a mapping of ours, the rest of that mapping becomes zeros, the mapping is marked as lost, and the read goes
//! on. Every other fault goes to whoever handled SIGBUS before, or ends the process as it always did.
//!
//! The contract: zeros are never believed. Whoever reads a guarded mapping asks [`Mapping::is_lost`] afterwards, before
//! what was read, or an error that it led to, is passed on. The handler does nothing that a signal handler may not do:
//! it takes no lock and allocates nothing.
//!
//! [`Mapping::is_lost`]: super::Mapping::is_lost

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Guarded mappings that there can be at once. Many more than files are open in a run; beyond it files are read.
pub const MAX_GUARDED: usize = 4096;

/// One row of the table. Its generation is odd while the row stands for a mapping; a reader believes the rest only if
/// it is the same odd number before and after.
struct Slot {
    generation: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    is_lost: AtomicBool,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            generation: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Whether a generation is that of a row in use.
    fn is_used(generation: usize) -> bool {
        !generation.is_multiple_of(2)
    }
}

static SLOTS: [Slot; MAX_GUARDED] = [const { Slot::new() }; MAX_GUARDED];

/// Held while a row is taken or given back; never by the handler.
static CHANGES: Mutex<()> = Mutex::new(());

/// Bytes of a page; a power of two.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Who handled SIGBUS before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping's row in the table; given back when dropped, which must be before the mapping ends.
#[derive(Debug)]
pub(super) struct Guarded(usize);

impl Guarded {
    /// Guards a range of mapped addresses. `None` where the table is full or the system lets no handler be installed.
    pub(super) fn new(addresses: Range<usize>) -> Option<Guarded> {
        let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_installed() {
            return None;
        }
        let is_free = |slot: &Slot| !Slot::is_used(slot.generation.load(SeqCst));
        let at = SLOTS.iter().position(is_free)?;
        let slot = &SLOTS[at];
        slot.start.store(addresses.start, SeqCst);
        slot.end.store(addresses.end, SeqCst);
        slot.is_lost.store(false, SeqCst);
        slot.generation.fetch_add(1, SeqCst);
        Some(Guarded(at))
    }

    /// Whether some page could not be read, so that zeros stand in for it and all that follow.
    pub(super) fn is_lost(&self) -> bool {
        SLOTS[self.0].is_lost.load(SeqCst)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        SLOTS[self.0].generation.fetch_add(1, SeqCst);
    }
}

/// Installs the handler, the first time; whether it is there.
fn is_installed() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(install)
}

#[expect(
    unsafe_code,
    reason = "signal handlers are installed by calls of the system"
)]
fn install() -> bool {
    // SAFETY: a plain question about the system.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Some(page_bytes) = usize::try_from(page_bytes)
        .ok()
        .filter(|n| n.is_power_of_two())
    else {
        return false;
    };
    PAGE_BYTES.store(page_bytes, SeqCst);
    let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no action is given, so this only fills `previous`, which has the type that is expected.
    if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), previous.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call above succeeded and has filled it; all zeros would be a valid action as well.
    let previous = unsafe { previous.assume_init() };
    // Before ours can be called, what it may have to pass on to must be known.
    PREVIOUS.get_or_init(|| previous);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    let mut action = libc::sigaction {
        sa_sigaction: handler as usize,
        // On the alternative stack, where there is one: the fault may be that of a full stack.
        sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK,
        ..previous
    };
    // SAFETY: `action` is whole, and its handler has the signature that SA_SIGINFO asks for and lives forever.
    unsafe {
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) == 0
    }
}

#[expect(unsafe_code, reason = "the signal's information comes as a pointer")]
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the system passes a valid pointer.
    let (is_fault, address) = unsafe { ((*info).si_code > 0, (*info).si_addr().addr()) };
    // A signal that another process sent has no address.
    if is_fault
        && let Some((slot, end)) = find(address)
        && replace_by_zeros(slot, address, end)
    {
        return;
    }
    pass_on(signal, info, context, is_fault);
}

/// The row that an address belongs to, and where its mapping ends. The mapping cannot end meanwhile: it is being read.
fn find(address: usize) -> Option<(&'static Slot, usize)> {
    SLOTS.iter().find_map(|slot| {
        let generation = slot.generation.load(SeqCst);
        let range = slot.start.load(SeqCst)..slot.end.load(SeqCst);
        let is_same = slot.generation.load(SeqCst) == generation;
        (Slot::is_used(generation) && is_same && range.contains(&address))
            .then_some((slot, range.end))
    })
}

/// Maps zeros from the page of `address` to the end of its mapping.
#[expect(unsafe_code, reason = "mapping is a call of the system")]
fn replace_by_zeros(slot: &Slot, address: usize, end: usize) -> bool {
    let page_bytes = PAGE_BYTES.load(SeqCst);
    let first = address & !(page_bytes - 1);
    let len = end.next_multiple_of(page_bytes) - first;
    // First, so that nobody can see the zeros and not the mark.
    slot.is_lost.store(true, SeqCst);
    // SAFETY: the range is whole pages of a mapping that is ours alone and read-only; it stays mapped and read-only, so
    // every reference into it stays valid. `mmap` is one call of the system, without locks or memory of this process.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::without_provenance_mut(first),
            len,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    mapped.addr() == first
}

/// Gives a signal that is not about our mappings to whoever had it before.
#[expect(unsafe_code, reason = "the previous handler is an address")]
fn pass_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    is_fault: bool,
) {
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    match previous.sa_sigaction {
        // A fault cannot be ignored.
        libc::SIG_IGN if !is_fault => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the default action is always valid. A fault comes again when its read is tried again; a signal
            // that was sent is sent again.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if !is_fault {
                    libc::raise(signal);
                }
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: whoever installed it with SA_SIGINFO promised this signature.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: whoever installed it without SA_SIGINFO promised this signature.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::Command;

    use crate::shard::map::{map, map_guarded};

    const FILE_BYTES: usize = 5 << 16;

    fn file() -> File {
        let file = tempfile::tempfile().expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; FILE_BYTES], 0).expect("written");
        file
    }

    #[test]
    fn a_file_that_is_cut_while_mapped_reads_as_zeros_and_is_marked() {
        let file = file();
        let (bytes, mapping) = map_guarded(Path::new("a"), &file)
            .expect("mapped")
            .expect("guarded");
        assert_eq!((bytes[FILE_BYTES - 1], mapping.is_lost()), (7, false));
        file.set_len(1 << 16).expect("cut");
        let last = bytes.slice(FILE_BYTES - 1..);
        assert_eq!((last[0], mapping.is_lost()), (0, true));
        assert_eq!(bytes[0], 7, "what is left of the file is still there");
    }

    #[test]
    fn threads_that_meet_a_cut_file_at_once_all_go_on() {
        let file = file();
        let (bytes, mapping) = map_guarded(Path::new("a"), &file)
            .expect("mapped")
            .expect("guarded");
        file.set_len(0).expect("cut");
        std::thread::scope(|scope| {
            for part in bytes.chunks(FILE_BYTES / 8) {
                scope.spawn(move || assert!(part.iter().all(|&byte| byte == 0)));
            }
        });
        assert!(mapping.is_lost());
    }

    #[test]
    fn a_mark_is_not_handed_on_to_the_next_mapping() {
        for is_cut in [true, false] {
            let file = file();
            let (bytes, mapping) = map_guarded(Path::new("a"), &file)
                .expect("mapped")
                .expect("guarded");
            if is_cut {
                file.set_len(0).expect("cut");
            }
            assert_eq!(bytes[FILE_BYTES - 1] == 0, is_cut);
            assert_eq!(mapping.is_lost(), is_cut);
        }
    }

    #[test]
    fn a_fault_outside_the_guarded_mappings_ends_the_process_as_ever() {
        const NAME: &str = "shard::map::guard::tests::a_fault_outside_the_guarded_mappings_ends_the_process_as_ever";
        const IS_CHILD: &str = "BOVW_TEST_DIES";
        // This very test, in a process of its own, is the one that dies.
        if std::env::var_os(IS_CHILD).is_some() {
            let file = file();
            let guarded = map_guarded(Path::new("a"), &file).expect("mapped");
            let bare = map(Path::new("a"), &file).expect("mapped");
            file.set_len(0).expect("cut");
            assert_eq!(bare[FILE_BYTES - 1], 0, "{}", guarded.is_some());
        }
        let status = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", NAME])
            .env(IS_CHILD, "")
            .output()
            .expect("run")
            .status;
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
    }
}
