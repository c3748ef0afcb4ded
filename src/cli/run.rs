//! `bovw run`: runs a job, tells what happens, and sums up what was made.

use bovw::Result;
use bovw::job::Job;
use bovw::passes::run::{self, Outcome};
use bovw::report::REPORT_FILE;
use bovw::shard::manifest::{
    BAD_IMAGES_DIR, CLUSTERS_DIR, ClusterEntry, FEATURES_DIR, Manifest, vocabulary_files,
};
use serde_json::json;

use super::args::{GlobalArgs, RunArgs};
use super::command_line::{again, quoted};
use super::output::{
    bytes, columns, count, note, path_text, print, print_json, seconds, shown, table,
};
use super::process;
use super::report;
use super::style::Style;
use super::watched::watched;

pub(crate) fn run(args: &RunArgs, global: &GlobalArgs) -> Result<()> {
    let command = || resume_command(args, global);
    let (job, outcome) = watched(&args.job, global, command, |job, watch| {
        run::run(job, args.fresh, watch)
    })?;
    tell(&job, &outcome, args, global)
}

pub(crate) fn tell(
    job: &Job,
    outcome: &Outcome,
    args: &RunArgs,
    global: &GlobalArgs,
) -> Result<()> {
    let dir = path_text(&job.output.dir);
    let warning = match &outcome.report {
        Some(Err(error)) => Some(report::warning(error, &quoted(&dir))),
        _ => None,
    };
    if let Some(warning) = &warning {
        note(warning);
    }
    if global.json {
        let drawn = outcome
            .report
            .as_ref()
            .and_then(|drawn| drawn.as_ref().ok());
        return print_json(&json!({
            "event": "done",
            "dir": dir,
            "was_done": outcome.was_done,
            "counts": outcome.manifest.counts,
            "learning": outcome.manifest.learning,
            "clusters": outcome.manifest.clusters,
            "run": outcome.manifest.run,
            "memory": process::memory(),
            "report": drawn.map(report::event),
            "warning": warning,
        }));
    }
    let style = Style::of(global.color, &std::io::stdout());
    print(text(job, outcome, &resume_command(args, global), style))
}

fn text(job: &Job, outcome: &Outcome, command: &str, style: Style) -> String {
    let (dir, patches) = (job.output.dir.as_path(), job.patches());
    let manifest = &outcome.manifest;
    let counts = &manifest.counts;
    let mut rows = vec![
        (
            "images".to_owned(),
            format!(
                "{} in {} shards",
                count(counts.tally.images),
                manifest.inputs.len()
            ),
        ),
        (
            "patches".to_owned(),
            format!(
                "{}, each {} {} words{}",
                count(counts.tally.patches),
                match manifest.job["features"]["encoding"].as_str() {
                    Some("hard") | None => "replaced by its nearest of",
                    Some("vlad") => "less its nearest of",
                    Some(_) => "held against",
                },
                counts.words,
                match patches.len() {
                    1 => String::new(),
                    n => format!(" in {n} vocabularies"),
                }
            ),
        ),
    ];
    if counts.bad_images > 0 {
        rows.push(("bad images".to_owned(), bad_images(manifest)));
    }
    let vocabularies = patches.iter().zip(manifest.learning.iter());
    let vocabularies: Vec<String> = vocabularies
        .filter_map(|(patch, learning)| {
            let inertia = learning["inertia_per_patch"].as_f64()?;
            let n_patches = learning["patches"].as_u64().unwrap_or(0);
            let of_size = match patches.len() {
                1 => String::new(),
                _ => format!("{}x{} ", patch.height, patch.width),
            };
            Some(format!(
                "learned from {} {of_size}patches, inertia {inertia:.4} a patch",
                count(n_patches)
            ))
        })
        .collect();
    if !vocabularies.is_empty() {
        rows.push(("vocabulary".to_owned(), vocabularies.join("\n")));
    }
    let size = |prefix: &str| -> u64 {
        let outputs = manifest.outputs.iter();
        outputs
            .filter(|output| output.path.starts_with(prefix))
            .map(|output| output.file.size_bytes)
            .sum()
    };
    rows.push((
        "features".to_owned(),
        format!(
            "{} rows of {} values, {}",
            count(counts.rows),
            counts.n_values(),
            bytes(size(FEATURES_DIR))
        ),
    ));
    if !manifest.clusters.is_empty() {
        rows.push(("clusters".to_owned(), clusters(&manifest.clusters)));
    }
    if !outcome.was_done {
        rows.extend(effort(manifest));
    }
    let heading = match outcome.was_done {
        true => format!("Nothing to do: {} holds this job's results", shown(dir)),
        false => format!("Done: {}", shown(dir)),
    };
    let mut out = format!("{}\n{}", style.bold(heading), table(&rows));
    if outcome.was_done {
        out.push_str(&style.dim(format!("  start over with: {} --fresh\n", command)));
    } else {
        let clusters = match manifest.clusters.is_empty() {
            true => String::new(),
            false => format!(" {CLUSTERS_DIR}/*.parquet,"),
        };
        let vocabularies = vocabulary_files(&patches).join(", ");
        let mut files =
            format!("  {FEATURES_DIR}/*.parquet, {vocabularies},{clusters} manifest.json");
        if let Some(Ok(_)) = outcome.report {
            files.push_str(&format!(", {REPORT_FILE}"));
        }
        files.push('\n');
        out.push_str(&style.dim(files));
    }
    out
}

/// A line a clustering; why there are no scores is said once where it is the same for all.
fn clusters(entries: &[ClusterEntry]) -> String {
    let mut lines = vec![vec![
        "of".to_owned(),
        "k".to_owned(),
        "inertia an image".to_owned(),
        "purity".to_owned(),
        "NMI".to_owned(),
        "ARI".to_owned(),
        "V".to_owned(),
    ]];
    let mut notes: Vec<&str> = Vec::new();
    for entry in entries {
        let inertia = entry.inertia / entry.rows.max(1) as f64;
        let mut line = vec![
            entry.of.clone(),
            entry.k.to_string(),
            format!("{inertia:.4}"),
        ];
        if let Some(evaluation) = &entry.evaluation {
            let found = &evaluation.scores;
            let shown = [found.purity, found.nmi, found.ari, found.v_measure];
            line.extend(shown.map(|score| format!("{score:.4}")));
        }
        lines.push(line);
        notes.extend(entry.evaluation_note.as_deref());
    }
    notes.dedup();
    let mut text = columns(&lines);
    for note in notes {
        text.push_str(&format!("\nno scores: {note}"));
    }
    text
}

/// Bad images that the summary shows, at most.
const MAX_SHOWN_BAD: usize = 5;

fn bad_images(manifest: &Manifest) -> String {
    let n = manifest.counts.bad_images;
    let mut lines = vec![format!(
        "{} ({:.3} %)",
        count(n),
        100.0 * n as f64 / manifest.counts.tally.images as f64
    )];
    for bad in manifest.bad_images.iter().take(MAX_SHOWN_BAD) {
        lines.push(format!(
            "{}, row {}: {}",
            bad.file, bad.image.row, bad.image.reason
        ));
    }
    if n > MAX_SHOWN_BAD as u64 {
        lines.push(format!("all of them: {BAD_IMAGES_DIR}/*.jsonl"));
    }
    lines.join("\n")
}

fn effort(manifest: &Manifest) -> Vec<(String, String)> {
    let time = |key: &str| manifest.run[key].as_f64().unwrap_or(0.0);
    let memory = process::memory();
    vec![
        (
            "time".to_owned(),
            format!(
                "{}: learning {}, featurizing {}{}{}",
                seconds(time("seconds")),
                seconds(time("learn_seconds")),
                seconds(time("featurize_seconds")),
                pace(manifest),
                match manifest.clusters.is_empty() {
                    true => String::new(),
                    false => format!(", clustering {}", seconds(time("cluster_seconds"))),
                }
            ),
        ),
        (
            "memory".to_owned(),
            format!(
                "{} asked for at most, {} in use, {} with mapped pages",
                bytes(memory.peak_heap_bytes),
                bytes(memory.peak_anonymous_bytes),
                bytes(memory.peak_resident_bytes)
            ),
        ),
    ]
}

/// Images a second, where all were featurized by this run and not by an earlier one.
fn pace(manifest: &Manifest) -> String {
    let images = manifest.counts.tally.images;
    let featurized = &manifest.run["stages"]["featurize"]["sink"]["images"];
    let seconds = manifest.run["featurize_seconds"].as_f64().unwrap_or(0.0);
    if featurized.as_u64() != Some(images) {
        return String::new();
    }
    let rate = images as f64 / seconds.max(1e-9);
    format!(" ({} images a second)", count(rate as u64))
}

/// The command that continues this run: all that was said to it but `--fresh`.
fn resume_command(args: &RunArgs, global: &GlobalArgs) -> String {
    again("run", &args.job, global)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_continues_a_run_says_all_that_was_said_but_fresh() {
        use super::super::args::{Cli, Command};
        use clap::Parser;
        let typed = "run a.toml --set run.seed=1 --memory 4GiB --threads 2 --json --quiet --progress none --color never";
        let cli = Cli::parse_from(format!("bovw {typed} --fresh").split(' '));
        let Command::Run(args) = &cli.command else {
            panic!("{cli:?}");
        };
        let command = resume_command(args, &cli.global);
        assert!(command.ends_with(&format!(" {typed}")), "{command}");
    }
}
