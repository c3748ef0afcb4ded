//! `bovw import`: shards from IDX, CSV and image files.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use bovw::import::{self, Summary, Target, Watch, csv, idx, images};
use bovw::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::args::{GlobalArgs, Header, ImageLabel, Import, Progress as How, ShardArgs};
use super::output::{count, note, note_rows, path_text, print, print_json, table, written_row};
use super::process::{self, INTERRUPTED};
use super::style::Style;

pub(crate) fn import(args: &Import, global: &GlobalArgs) -> Result<()> {
    process::handle_signals();
    let bar = bar(global, "import");
    let last = Cell::new(0);
    let progress = |done: u64, total: Option<u64>| {
        if last.replace(done) == 0 {
            bar.set_length(total.unwrap_or(0));
        }
        bar.set_position(done);
    };
    let watch = Watch {
        progress: &progress,
        stop: &|| INTERRUPTED.load(Relaxed),
    };
    let result = match args {
        Import::Idx(args) => {
            let options = idx::Options {
                images: args.images.clone(),
                labels: args.labels.clone(),
            };
            idx::import(&options, &target(&args.shards), &watch)
        }
        Import::Csv(args) => {
            let mut options = csv::Options::new(&args.file);
            options.label = args.label.clone();
            options.header = match args.header {
                Header::Detect => None,
                Header::Yes => Some(true),
                Header::No => Some(false),
            };
            options.delimiter = u8::try_from(args.delimiter).map_err(|_| Error::Usage {
                message: format!(
                    "--delimiter: '{}' is not an ASCII character",
                    args.delimiter
                ),
            })?;
            options.height = args.height;
            options.width = args.width;
            csv::import(&options, &target(&args.shards), &watch)
        }
        Import::Images(args) => {
            let mut options = images::Options::new(args.paths.clone());
            options.label = match args.label {
                ImageLabel::Detect => images::FolderLabel::Detect,
                ImageLabel::Folder => images::FolderLabel::Folder,
                ImageLabel::None => images::FolderLabel::None,
            };
            options.strict = args.strict;
            images::import(&options, &target(&args.shards), &watch)
        }
    };
    bar.finish_and_clear();
    if let Err(Error::Interrupted) = result {
        note("interrupted; no shard was written");
    }
    report(&result?, global)
}

fn target(args: &ShardArgs) -> Target {
    let mut target = import::Target::new(&args.out);
    target.name.clone_from(&args.name);
    target.rows_per_shard = args.rows_per_shard.get();
    target.overwrite = args.overwrite;
    target
}

/// A bar for images that are written by `command`.
pub(super) fn bar(global: &GlobalArgs, command: &str) -> ProgressBar {
    let is_shown = !global.quiet && matches!(global.progress, How::Auto | How::Bar);
    if !is_shown {
        return ProgressBar::hidden();
    }
    // Hidden by itself where stderr is no terminal.
    let bar = ProgressBar::new(0);
    let template = format!(
        "{command:>9} {{bar:24}} {{percent:>3}} %  {{human_pos}}/{{human_len}} images  {{per_sec:>14}}  {{eta:>4}} left"
    );
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// Skipped files that are shown, at most.
const MAX_SHOWN: usize = 10;

fn report(summary: &Summary, global: &GlobalArgs) -> Result<()> {
    if global.json {
        let shards = summary.shards.iter().map(|shard| path_text(shard));
        return print_json(&json!({
            "event": "imported",
            "images": summary.images,
            "shards": shards.collect::<Vec<String>>(),
            "classes": summary.classes,
            "skipped": summary.n_skipped,
            "notes": summary.notes,
            "bytes": summary.bytes,
        }));
    }
    let style = Style::of(global.color, &std::io::stdout());
    let mut rows = vec![written_row(
        summary.images,
        summary.shards.len(),
        summary.bytes,
    )];
    if let Some(classes) = &summary.classes {
        let shown: Vec<&str> = classes.iter().take(MAX_SHOWN).map(String::as_str).collect();
        let more = if classes.len() > MAX_SHOWN {
            ", ..."
        } else {
            ""
        };
        rows.push((
            "classes".to_owned(),
            format!("{}: {}{more}", classes.len(), shown.join(", ")),
        ));
    }
    rows.extend(note_rows(&summary.notes));
    if summary.n_skipped > 0 {
        let mut lines = vec![format!("{} files", count(summary.n_skipped))];
        let shown = summary.skipped.iter().take(MAX_SHOWN);
        lines.extend(shown.map(|(file, reason)| format!("{file}: {reason}")));
        rows.push(("skipped".to_owned(), lines.join("\n")));
    }
    if let Some(first) = summary.shards.first() {
        rows.push(("first".to_owned(), first.display().to_string()));
    }
    print(format!("{}\n{}", style.bold("Imported"), table(&rows)))
}
