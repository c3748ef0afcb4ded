//! What the threaded driver takes from outside: locks, flags, a bounded channel, threads.
//!
//! `tests/schedules` compiles this folder with another file in the place of this one, whose locks, channels and threads
//! run under every schedule. So no other file here may name a lock, a channel or a thread of its own, and this one holds no
//! logic.

use std::io;
use std::thread::Builder;

pub(super) use std::sync::atomic::AtomicBool;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
pub(super) use std::thread::{Scope, scope};

pub(super) use crossbeam_channel::{Receiver, Sender, bounded};

/// Starts a thread, or says why the system refuses.
pub(super) fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    body: impl FnOnce() + Send + 'scope,
) -> io::Result<()> {
    Builder::new()
        .name(name)
        .spawn_scoped(scope, body)
        .map(|_| ())
}
