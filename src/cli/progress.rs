//! Progress on stderr: a bar a stage on a terminal, a plain line now and then elsewhere.
//!
//! A thread of its own polls the run's counters, so showing them costs the run nothing and can never hold it up.

use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bovw::flow::{StageStats, THREAD_PREFIX};
use bovw::passes::progress::{Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{GlobalArgs, Progress as How};
use super::output::{count, note, seconds};
use super::process;

/// How often counters are looked at.
const POLL: Duration = Duration::from_millis(50);

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Width of the picture of a channel.
const CHANNEL_CELLS: u64 = 4;

/// Runs `work` while its progress is shown.
pub(crate) fn show<T>(global: &GlobalArgs, progress: &Progress, work: impl FnOnce() -> T) -> T {
    let is_terminal = io::stderr().is_terminal();
    let how = match global.progress {
        _ if global.quiet => How::None,
        How::Auto if is_terminal => How::Bar,
        How::Auto => How::Plain,
        how => how,
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = thread::Builder::new()
            .name(format!("{THREAD_PREFIX}progress"))
            .spawn_scoped(scope, || {
                // A display that fails ends with this thread; the work is not lost for it.
                let _ = catch_unwind(AssertUnwindSafe(|| watch(how, progress, &done)));
            });
        // Where the system starts no thread, nothing is shown.
        let _end = watcher.map(|watcher| EndOfWork(&done, watcher.thread().clone()));
        work()
    })
}

/// Lets the watcher go when the work ends, however it does: with a panic, too.
struct EndOfWork<'a>(&'a AtomicBool, Thread);

impl Drop for EndOfWork<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        self.1.unpark();
    }
}

fn watch(how: How, progress: &Progress, done: &AtomicBool) {
    let mut bars = Bars::default();
    let mut plain = Plain::default();
    while !done.load(Relaxed) {
        progress.set_memory(process::memory());
        match how {
            How::Bar => bars.draw(progress),
            How::Plain => plain.write(progress),
            How::Auto | How::None => {}
        }
        thread::park_timeout(POLL);
    }
    if how == How::Bar {
        bars.draw(progress);
        bars.clear();
    }
}

/// The stages of a phase.
fn stages(progress: &Progress, phase: Phase) -> Vec<&StageStats> {
    match phase {
        Phase::Opening | Phase::Done => Vec::new(),
        Phase::Sampling => progress.learn.stages.iter().collect(),
        Phase::Clustering => vec![&progress.kmeans],
        Phase::CountingWords => progress.documents.stages.iter().collect(),
        Phase::Featurizing => progress.featurize.stages.iter().collect(),
        Phase::Gathering => progress.whole.stages.iter().collect(),
        Phase::Grouping => vec![&progress.clusters],
        Phase::Labelling => progress.label.stages.iter().collect(),
        Phase::Hashing => vec![&progress.hash],
        Phase::Adding => vec![&progress.rows],
        Phase::Recounting => vec![&progress.recount],
    }
}

/// One bar a stage of the phase that is under way.
struct Bars {
    phase: Option<Phase>,
    start: Instant,
    multi: Option<MultiProgress>,
    bars: Vec<ProgressBar>,
}

impl Default for Bars {
    fn default() -> Bars {
        Bars {
            phase: None,
            start: Instant::now(),
            multi: None,
            bars: Vec::new(),
        }
    }
}

impl Bars {
    fn draw(&mut self, progress: &Progress) {
        let phase = progress.phase();
        if self.phase != Some(phase) {
            self.clear();
            (self.phase, self.start) = (Some(phase), Instant::now());
            let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            self.bars = stages(progress, phase)
                .into_iter()
                .map(|stage| multi.add(bar(stage)))
                .collect();
            self.multi = Some(multi);
        }
        for (bar, stage) in self.bars.iter().zip(stages(progress, phase)) {
            bar.set_length(stage.total());
            bar.set_position(stage.done().min(stage.total()));
            bar.set_message(match phase {
                Phase::Clustering | Phase::Grouping => progress.note(),
                _ => format!("{}  {}", pace(stage, self.start), channel(stage)),
            });
        }
    }

    fn clear(&mut self) {
        if let Some(multi) = self.multi.take() {
            for bar in self.bars.drain(..) {
                bar.finish_and_clear();
            }
            // A terminal that is gone cannot be cleared.
            let _ = multi.clear();
        }
    }
}

fn bar(stage: &StageStats) -> ProgressBar {
    let bar = ProgressBar::new(stage.total());
    let template = format!(
        "{:>9} {{bar:24}} {{human_pos:>10}} of {{human_len}} {}  {{msg}}",
        stage.name, stage.unit
    );
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// Units a second since the phase began, and the time that is left at that pace.
fn pace(stage: &StageStats, start: Instant) -> String {
    let rate = stage.done() as f64 / start.elapsed().as_secs_f64().max(1e-3);
    let left = match stage.total().saturating_sub(stage.done()) {
        0 => "done".to_owned(),
        _ if stage.done() == 0 => "waiting".to_owned(),
        n => match n as f64 / rate {
            left if left < 100.0 => format!("{left:.0} s left"),
            left => format!("{} left", seconds(left)),
        },
    };
    format!("{:>9}/s  {left:>12}", count(rate as u64))
}

/// How full the channel before a stage is, drawn.
fn channel(stage: &StageStats) -> String {
    let (waiting, capacity) = stage.channel();
    if capacity == 0 {
        return String::new();
    }
    let full = (waiting * CHANNEL_CELLS)
        .div_ceil(capacity)
        .min(CHANNEL_CELLS) as usize;
    let empty = CHANNEL_CELLS as usize - full;
    format!(
        "in [{}{}] {waiting}/{capacity}",
        "█".repeat(full),
        "·".repeat(empty)
    )
}

/// A line now and then.
struct Plain {
    phase: Option<Phase>,
    start: Instant,
    last: Instant,
}

impl Default for Plain {
    fn default() -> Plain {
        let now = Instant::now();
        Plain {
            phase: None,
            start: now,
            last: now,
        }
    }
}

impl Plain {
    fn write(&mut self, progress: &Progress) {
        let phase = progress.phase();
        let now = Instant::now();
        if self.phase != Some(phase) {
            (self.phase, self.start, self.last) = (Some(phase), now, now);
            return;
        }
        if now - self.last < PLAIN_EVERY {
            return;
        }
        self.last = now;
        let stages = stages(progress, phase);
        let Some(last) = stages.last() else {
            return;
        };
        let (done, total) = (last.done(), last.total());
        let channels: Vec<String> = stages
            .iter()
            .filter(|stage| stage.channel().1 > 0)
            .map(|stage| format!("{} {}/{}", stage.name, stage.channel().0, stage.channel().1))
            .collect();
        let detail = match phase {
            Phase::Clustering | Phase::Grouping => progress.note(),
            Phase::Hashing | Phase::Adding | Phase::Recounting => words(&pace(last, self.start)),
            _ => format!(
                "{}; waiting before {}",
                words(&pace(last, self.start)),
                channels.join(", ")
            ),
        };
        note(&format!(
            "{}: {} of {} {}, {detail}",
            last.name,
            count(done),
            count(total),
            last.unit
        ));
    }
}

/// The words of a text that was set in columns.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Cli;
    use super::*;

    #[test]
    fn a_panic_in_the_work_ends_the_display_too() {
        let global = Cli::parse_from(["bovw", "plan", "job.toml", "--progress", "none"]).global;
        let result = std::panic::catch_unwind(|| {
            show(&global, &Progress::default(), || panic!("in the work"));
        });
        assert!(result.is_err());
    }
}
