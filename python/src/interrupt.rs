//! Work that takes long: done on a thread of its own, detached from the interpreter, which meanwhile looks for Ctrl-C and
//! tells progress.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::{exception, named};

/// How long the interpreter is left alone between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Does `work`, which ends early once its flag is set. `look` is called again and again, and after the end; what it raises
/// ends the work too.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> bovw::Result<T> + Send,
    look: &mut dyn FnMut() -> PyResult<()>,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let mut raised = None;
    let ended = std::thread::scope(|scope| {
        let (tell, mut ended) = sync_channel(1);
        let stop = &stop;
        scope.spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(stop)));
            // The one who waits is this call.
            let _ = tell.send(result);
        });
        loop {
            // By a unique reference, since only that may cross over.
            let ended = &mut ended;
            match py.detach(move || ended.recv_timeout(LOOK_EVERY)) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if raised.is_none()
                && let Err(error) = py.check_signals().and_then(|()| look())
            {
                stop.store(true, Relaxed);
                raised = Some(error);
            }
        }
    });
    if let Some(error) = raised {
        return Err(error);
    }
    match ended {
        Some(Ok(Ok(value))) => look().map(|()| value),
        Some(Ok(Err(error))) => Err(exception(py, &error)),
        Some(Err(_)) | None => Err(named(
            py,
            "BovwError",
            "internal error: a worker panicked; please report this together with the data",
        )),
    }
}

/// The same for work that is over before anybody could press a key.
pub(crate) fn briefly<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> bovw::Result<T> + Send,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let result = py.detach(|| work(&stop));
    result.map_err(|error| exception(py, &error))
}
