//! `bovw plan`: what a job will do and need, before it does anything.

use bovw::Result;
use bovw::job::{Job, VocabularySource, resolved};
use bovw::passes::plan::Plan;
use serde_json::json;

use super::args::{GlobalArgs, JobArgs};
use super::output::{bytes, count, print, print_json, shown, table};
use super::style::Style;

pub(crate) fn plan(args: &JobArgs, global: &GlobalArgs) -> Result<()> {
    let job = Job::load(&args.job, &args.sets, &global.overrides())?;
    let plan = Plan::new(&job)?;
    if global.json {
        return print_json(&to_json(&plan));
    }
    let style = Style::of(global.color, &std::io::stdout());
    print(to_text(&plan, style)?)
}

fn to_json(plan: &Plan) -> serde_json::Value {
    let input = &plan.input;
    json!({
        "event": "plan",
        "job": resolved::to_json(&plan.job),
        "shards": input.shards.len(),
        "images": input.n_rows(),
        "image": {"column": input.image.name(), "reason": input.image.reason},
        "label": input.label.as_ref().map(|(column, reason)| json!({"column": column, "reason": reason})),
        "first_image": plan.first_image.map(|(height, width)| [height, width]),
        "patches_per_image": plan.patches_per_image().map(|(all, _)| all),
        "sampled_images": plan.n_sampled_images(),
        "sampled_per_image": plan.patches_per_image().map(|(_, sampled)| sampled),
        "k": plan.k,
        "features_bytes": features_bytes(plan),
        "memory": plan.memory,
        "simd": format!("{:?}", plan.simd).to_lowercase(),
    })
}

fn to_text(plan: &Plan, style: Style) -> Result<String> {
    let sections = [
        ("Input", input_rows(plan)),
        ("Learn", learn_rows(plan)),
        ("Featurize", featurize_rows(plan)),
        ("Memory", memory_rows(plan)),
    ];
    let mut out = String::new();
    for (heading, rows) in sections {
        out.push_str(&format!("{}\n{}\n", style.bold(heading), table(&rows)));
    }
    out.push_str(&format!("{}\n", style.bold("The job, with every default")));
    for line in resolved::to_toml(&plan.job)?.lines() {
        out.push_str(format!("  {line}").trim_end());
        out.push('\n');
    }
    Ok(out)
}

fn row(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn input_rows(plan: &Plan) -> Vec<(String, String)> {
    let input = &plan.input;
    let size: u64 = input
        .shards
        .iter()
        .map(|shard| shard.fingerprint.size_bytes)
        .sum();
    let mut rows = vec![
        row(
            "shards",
            format!(
                "{}, {} images, {}",
                input.shards.len(),
                count(input.n_rows()),
                bytes(size)
            ),
        ),
        row(
            "images",
            format!("column \"{}\": {}", input.image.name(), input.image.reason),
        ),
        row(
            "labels",
            match &input.label {
                Some((column, reason)) => format!("column \"{column}\": {reason}"),
                None => "none".to_owned(),
            },
        ),
        row(
            "colour",
            "grey; colour is turned to luma (BT.601), alpha is ignored",
        ),
    ];
    if let Some((height, width)) = plan.first_image {
        rows.push(row("first image", format!("{height}x{width} pixels")));
    }
    rows
}

fn learn_rows(plan: &Plan) -> Vec<(String, String)> {
    let params = match &plan.job.vocabulary {
        VocabularySource::From(path) => {
            return vec![row(
                "nothing",
                format!("{} words are read from {}", plan.k, shown(path)),
            )];
        }
        VocabularySource::Learn(params) => params,
    };
    let sampled = plan.n_sampled_images();
    let sample = match plan.patches_per_image() {
        Some((all, per_image)) => format!(
            "{} images, {per_image} of {all} patches each: {} patches if all are of the first one's size",
            count(sampled),
            count(sampled * per_image as u64)
        ),
        None => format!("{} images", count(sampled)),
    };
    let mut rows = vec![row(
        "stages",
        "source -> decode -> sample -> k-means -> vocabulary.parquet",
    )];
    rows.push(row("sample", sample));
    if let Some(max_patches) = plan.job.sample.max_patches {
        rows.push(row(
            "",
            format!("at most {} patches of those", count(max_patches)),
        ));
    }
    rows.push(row(
        "k-means",
        format!(
            "{} words, the best of {} restarts, at most {} passes each",
            params.k, params.n_init, params.max_iter
        ),
    ));
    rows
}

fn features_bytes(plan: &Plan) -> u64 {
    plan.input.n_rows() * plan.k as u64 * 4
}

fn featurize_rows(plan: &Plan) -> Vec<(String, String)> {
    let patches = match plan.patches_per_image() {
        Some((all, _)) => format!(
            "{all} an image, {} if all are of the first one's size",
            count(all as u64 * plan.input.n_rows())
        ),
        None => "unknown: none of the first rows holds a good image".to_owned(),
    };
    vec![
        row(
            "stages",
            "source -> decode -> featurize -> sink -> features/*.parquet",
        ),
        row("patches", patches),
        row(
            "workers",
            format!(
                "{} for decode and for featurize each, {:?} kernel",
                plan.job.run.threads, plan.simd
            )
            .to_lowercase(),
        ),
        row(
            "output",
            format!(
                "{}: {} rows of {} values, {} before compression",
                shown(&plan.job.output.dir),
                count(plan.input.n_rows()),
                plan.k,
                bytes(features_bytes(plan))
            ),
        ),
    ]
}

fn memory_rows(plan: &Plan) -> Vec<(String, String)> {
    let memory = &plan.memory;
    let mut rows = vec![row("ceiling", bytes(memory.ceiling_bytes))];
    if memory.kmeans_bytes > 0 {
        rows.push(row(
            "learn",
            format!(
                "{} at most: images in flight {}, then k-means {}; the sample up to {}, more of it in a mapped file",
                bytes(memory.learn_bytes()),
                bytes(memory.batches_bytes),
                bytes(memory.kmeans_bytes),
                bytes(memory.sample_bytes)
            ),
        ));
    }
    rows.push(row(
        "featurize",
        format!(
            "{} at most: images in flight {} (batches of {}, or one large image), words {}, the file being written {}",
            bytes(memory.featurize_bytes()),
            bytes(memory.batches_bytes),
            bytes(memory.batch_bytes),
            bytes(memory.words_bytes),
            bytes(memory.sink_bytes)
        ),
    ));
    rows.push(row(
        "report",
        format!(
            "{} at most, in the end",
            bytes(memory.base_bytes + memory.report_bytes)
        ),
    ));
    rows
}
