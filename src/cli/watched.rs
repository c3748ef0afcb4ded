//! Work on a job: its progress shown, its events told, and, interrupted, the command that goes on.

use bovw::job::Job;
use bovw::passes::progress::{Event, Progress, Watch};
use bovw::{Error, Result};
use serde_json::json;

use super::args::{GlobalArgs, JobArgs};
use super::output::{note, print_json};
use super::process::{self, INTERRUPTED};
use super::progress;

/// Runs `work` on the job while its progress is shown; interrupted, it tells `command`, which goes on.
pub(crate) fn watched<T>(
    args: &JobArgs,
    global: &GlobalArgs,
    command: impl Fn() -> String,
    work: impl Fn(&Job, Watch<'_>) -> Result<T>,
) -> Result<(Job, T)> {
    let job = Job::load(&args.job, &args.sets, &global.overrides())?;
    process::handle_signals();
    let counters = Progress::default();
    let on_event = |event: Event<'_>| {
        if global.json {
            // A reader that has gone must not end a night's work.
            let _ = print_json(&event);
        }
    };
    let watch = Watch {
        interrupt: &INTERRUPTED,
        progress: &counters,
        on_event: &on_event,
    };
    let result = progress::show(global, &counters, || work(&job, watch));
    if let Err(Error::Interrupted) = result {
        let command = command();
        if global.json {
            let _ = print_json(&json!({"event": "interrupted", "continue_with": command}));
        }
        if !global.quiet {
            note(&format!("interrupted; continue with: {command}"));
        }
    }
    Ok((job, result?))
}
