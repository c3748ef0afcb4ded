//! What `src/flow/sync.rs` gives, over shuttle: each lock, flag, channel and thread is a point where another may go on.
//!
//! The channel is as crossbeam's: bounded, for many senders and receivers, closed when the last of either side is gone. But
//! a send that would have to wait is a failure, because the pipeline's channels have room for all that can be in flight.
//! Nobody can see how many ends there are but by their absence, so only the last one of a side is a point; that leaves
//! fewer schedules for the exhaustive search.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub(super) use shuttle::sync::atomic::AtomicBool;
pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
pub(super) use shuttle::thread::{Scope, scope};
pub(super) use std::sync::PoisonError;

thread_local! {
    /// Threads that the system still starts; shuttle runs all of an execution on one thread.
    static SPAWNS_LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Lets the system refuse all threads after the next `n`.
pub(crate) fn allow_spawns(n: usize) {
    SPAWNS_LEFT.set(n);
}

pub(super) fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    _name: String,
    body: impl FnOnce() + Send + 'scope,
) -> io::Result<()> {
    let n = SPAWNS_LEFT.get();
    if n == 0 {
        return Err(io::Error::from(io::ErrorKind::WouldBlock));
    }
    SPAWNS_LEFT.set(n - 1);
    scope.spawn(body);
    Ok(())
}

struct Channel<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
    n_senders: AtomicUsize,
    n_receivers: AtomicUsize,
}

struct State<T> {
    waiting: VecDeque<T>,
    has_senders: bool,
    has_receivers: bool,
}

pub(super) struct Sender<T>(Arc<Channel<T>>);
pub(super) struct Receiver<T>(Arc<Channel<T>>);

pub(super) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        capacity,
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            has_senders: true,
            has_receivers: true,
        }),
        changed: Condvar::new(),
        n_senders: AtomicUsize::new(1),
        n_receivers: AtomicUsize::new(1),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// Gives the item back where there is no receiver any more.
    pub(super) fn send(&self, item: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if !state.has_receivers {
            return Err(item);
        }
        assert!(
            state.waiting.len() < self.0.capacity,
            "a send would have to wait"
        );
        state.waiting.push_back(item);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Of a counter that nothing depends on, so it is no point.
    pub(super) fn len(&self) -> usize {
        0
    }

    fn receive(&self) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            if let Some(item) = state.waiting.pop_front() {
                return Some(item);
            }
            if !state.has_senders {
                return None;
            }
            let woken = self.0.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Box<dyn Iterator<Item = T> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(std::iter::from_fn(|| self.receive()))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.n_senders.fetch_add(1, SeqCst);
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.n_receivers.fetch_add(1, SeqCst);
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.n_senders.fetch_sub(1, SeqCst) == 1 {
            self.0.lock().has_senders = false;
            self.0.changed.notify_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.0.n_receivers.fetch_sub(1, SeqCst) == 1 {
            let mut state = self.0.lock();
            state.has_receivers = false;
            // As in crossbeam, what nobody can receive any more is dropped.
            let unwanted = std::mem::take(&mut state.waiting);
            drop(state);
            drop(unwanted);
        }
    }
}
