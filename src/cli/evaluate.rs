//! `bovw evaluate`: scores of clusters against labels, and their confusion matrix.

use bovw::Result;
use bovw::passes::evaluate::{self, Agreement};
use serde_json::json;

use super::args::{EvaluateArgs, GlobalArgs};
use super::output::{columns, count, print, print_json, table};
use super::style::Style;

/// Labels, and clusters, whose counts are shown as a matrix.
const MAX_SHOWN: usize = 30;

/// Characters of a label that the matrix shows.
const MAX_LABEL_CHARS: usize = 24;

pub(crate) fn evaluate(args: &EvaluateArgs, global: &GlobalArgs) -> Result<()> {
    let agreement = evaluate::evaluate(&args.files, &args.labels, &args.clusters)?;
    if global.json {
        return print_json(&to_json(args, &agreement));
    }
    let style = Style::of(global.color, &std::io::stdout());
    print(to_text(args, &agreement, style))
}

fn to_json(args: &EvaluateArgs, agreement: &Agreement) -> serde_json::Value {
    let (counted, scores) = (&agreement.counted, &agreement.scores);
    json!({
        "event": "evaluation",
        "label": args.labels,
        "cluster": args.clusters,
        "n_labelled": counted.confusion.total(),
        "n_unlabelled": counted.n_unlabelled,
        "n_unclustered": counted.n_unclustered,
        "labels": counted.labels,
        "clusters": counted.clusters,
        "confusion": counted.confusion.rows().collect::<Vec<_>>(),
        "purity": scores.purity,
        "nmi": scores.nmi,
        "ari": scores.ari,
        "homogeneity": scores.homogeneity,
        "completeness": scores.completeness,
        "v_measure": scores.v_measure,
    })
}

fn to_text(args: &EvaluateArgs, agreement: &Agreement, style: Style) -> String {
    let (counted, scores) = (&agreement.counted, &agreement.scores);
    let row = |name: &str, value: String| (name.to_owned(), value);
    let mut rows = vec![row(
        "rows",
        format!(
            "{}, with {} labels in {} clusters",
            count(counted.confusion.total()),
            count(counted.labels.len() as u64),
            count(counted.clusters.len() as u64)
        ),
    )];
    let left_out = [
        (counted.n_unlabelled, "without a label"),
        (counted.n_unclustered, "without a cluster"),
    ];
    for (n, what) in left_out.into_iter().filter(|(n, _)| *n > 0) {
        rows.push(row("left out", format!("{} {what}", count(n))));
    }
    let named = [
        ("purity", scores.purity),
        ("NMI", scores.nmi),
        ("adjusted Rand index", scores.ari),
        ("homogeneity", scores.homogeneity),
        ("completeness", scores.completeness),
        ("V-measure", scores.v_measure),
    ];
    rows.extend(named.map(|(name, score)| row(name, format!("{score:.6}"))));
    let heading = format!("\"{}\" against \"{}\"", args.clusters, args.labels);
    format!(
        "{}\n{}\n{}",
        style.bold(heading),
        table(&rows),
        matrix(agreement)
    )
}

fn matrix(agreement: &Agreement) -> String {
    let counted = &agreement.counted;
    let (n_labels, n_clusters) = (counted.labels.len(), counted.clusters.len());
    if n_labels > MAX_SHOWN || n_clusters > MAX_SHOWN {
        return format!(
            "  The confusion matrix, {n_labels} by {n_clusters}, is too large to be read here; --json has it.\n"
        );
    }
    let shortened = |label: &String| label.chars().take(MAX_LABEL_CHARS).collect::<String>();
    let mut lines = vec![vec!["label \\ cluster".to_owned()]];
    lines[0].extend(counted.clusters.iter().map(shortened));
    for (label, counts) in counted.labels.iter().zip(counted.confusion.rows()) {
        let mut line = vec![shortened(label)];
        line.extend(counts.iter().map(u64::to_string));
        lines.push(line);
    }
    let indented = columns(&lines).replace('\n', "\n  ");
    format!("  {indented}\n")
}
