//! `bovw plan`: what a job will do and need, before it does anything.

use bovw::Result;
use bovw::job::{ClusterOf, Clustering, Color, Job, VocabularySource, resolved};
use bovw::kernel::encode::Encoding;
use bovw::passes::cluster_plan::ClusterPlan;
use bovw::passes::plan::Plan;
use bovw::shard::manifest::{CLUSTERS_DIR, vocabulary_files};
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
        "patches_per_image": per_image(plan).map(|(all, _)| all),
        "sampled_images": plan.n_sampled_images(),
        "sampled_per_image": per_image(plan).map(|(_, sampled)| sampled),
        "k": plan.k(),
        "sizes": sizes_json(plan),
        "values": plan.n_values,
        "features_bytes": features_bytes(plan),
        "clusters": plan.clusters.iter().flat_map(|clusters| {
            clusters.clusterings.iter().map(|clustering| json!({
                "of": clustering.of.name(),
                "k": clustering.params.k,
                "file": clusters_path(clustering),
                "dimensions": clusters.shape(clustering.of).len(),
                "rows": plan.input.n_rows(),
            }))
        }).collect::<Vec<_>>(),
        "memory": plan.memory,
        "container_limit_bytes": plan.job.run.share_of.as_ref().map(|limit| limit.bytes),
        "simd": plan.simd.name(),
    })
}

/// Patches of all sizes of an image the size of the first, and how many of them are sampled.
fn per_image(plan: &Plan) -> Option<(usize, usize)> {
    let sizes = plan.patches_per_image()?;
    let add = |(all, sampled), (more, more_sampled)| (all + more, sampled + more_sampled);
    Some(sizes.into_iter().fold((0, 0), add))
}

fn sizes_json(plan: &Plan) -> Vec<serde_json::Value> {
    let (patches, per_image) = (plan.job.patches(), plan.patches_per_image());
    let sizes = patches.iter().zip(&plan.ks).zip(vocabulary_files(&patches));
    sizes
        .enumerate()
        .map(|(at, ((patch, k), file))| {
            let of_image = per_image.as_ref().map(|sizes| sizes[at]);
            json!({
                "size": [patch.height, patch.width],
                "k": k,
                "file": file,
                "patches_per_image": of_image.map(|(all, _)| all),
                "sampled_per_image": of_image.map(|(_, sampled)| sampled),
            })
        })
        .collect()
}

fn to_text(plan: &Plan, style: Style) -> Result<String> {
    let mut sections = vec![
        ("Input", input_rows(plan)),
        ("Learn", learn_rows(plan)),
        ("Featurize", featurize_rows(plan)),
    ];
    if let Some(clusters) = &plan.clusters {
        sections.push(("Cluster", cluster_rows(plan, clusters)));
    }
    sections.push(("Memory", memory_rows(plan)));
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
        row("colour", color_text(plan.job.input.color)),
    ];
    if let Some(side) = plan.job.input.resize {
        rows.push(row(
            "resize",
            format!("images of more than {side} pixels a side are made smaller"),
        ));
    }
    if let Some((height, width)) = plan.first_image {
        rows.push(row("first image", format!("{height}x{width} pixels")));
    }
    rows
}

fn color_text(color: Color) -> &'static str {
    match color {
        Color::Grey => {
            "grey; colour is turned to luma (BT.601), what is transparent is seen on white"
        }
        Color::GreyOnly => {
            "grey, as the first image; one in colour is a bad image, what is transparent is seen on white"
        }
        Color::Rgb => "red, green and blue; what is transparent is seen on white",
        Color::Auto => "as the first image",
    }
}

fn learn_rows(plan: &Plan) -> Vec<(String, String)> {
    let params = match &plan.job.vocabulary {
        VocabularySource::From(paths) => {
            let rows = paths.iter().zip(&plan.ks).enumerate();
            return rows
                .map(|(at, (path, k))| {
                    row(
                        if at == 0 { "nothing" } else { "" },
                        format!("{k} words are read from {}", shown(path)),
                    )
                })
                .collect();
        }
        VocabularySource::Learn(params) => params,
    };
    let sampled = plan.n_sampled_images();
    let patches = plan.job.patches();
    let per_image = plan.patches_per_image();
    let prepare = match plan.job.is_by_image() {
        true => "",
        false => "prepare -> ",
    };
    let mut rows = Vec::new();
    for (at, file) in vocabulary_files(&patches).iter().enumerate() {
        rows.push(row(
            if at == 0 { "stages" } else { "then" },
            format!("source -> decode -> sample -> {prepare}k-means -> {file}"),
        ));
        let of_size = match patches.len() {
            1 => String::new(),
            _ => format!("{}: ", patches[at]),
        };
        let sample = match per_image.as_ref().map(|sizes| sizes[at]) {
            Some((all, per_image)) => format!(
                "{of_size}{} images, {per_image} of {all} patches each: {} patches if all are of the first one's size",
                count(sampled),
                count(sampled * per_image as u64)
            ),
            None => format!("{of_size}{} images", count(sampled)),
        };
        rows.push(row("sample", sample));
    }
    if let Some(max_patches) = plan.job.sample.max_patches {
        rows.push(row(
            "",
            format!("at most {} patches of those", count(max_patches)),
        ));
    }
    rows.push(row(
        "k-means",
        format!(
            "{} words{}, the best of {} restarts, at most {} passes each",
            params.k,
            if patches.len() > 1 {
                " for each size"
            } else {
                ""
            },
            params.n_init,
            params.max_iter
        ),
    ));
    rows
}

fn features_bytes(plan: &Plan) -> u64 {
    plan.input.n_rows() * plan.n_values as u64 * 4
}

fn featurize_rows(plan: &Plan) -> Vec<(String, String)> {
    let patches = match per_image(plan) {
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
        row("vector", vector(plan)),
        row(
            "workers",
            format!(
                "{} for decode and for featurize each, {} kernel",
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
                plan.n_values,
                bytes(features_bytes(plan))
            ),
        ),
    ]
}

/// How a vector comes about.
fn vector(plan: &Plan) -> String {
    let recipe = &plan.job.features;
    let mut text = match recipe.encoding {
        Encoding::Soft { nearest } => format!("soft over the {nearest} nearest words"),
        encoding => encoding.name().to_owned(),
    };
    let grids = recipe
        .pooling
        .iter()
        .map(|[rows, cols]| format!("{rows}x{cols}"));
    let grids: Vec<String> = grids.collect();
    let ks: Vec<String> = plan.ks.iter().map(usize::to_string).collect();
    text += &format!(
        ", {} cells of {} words",
        grids.join(" and "),
        ks.join(" and of ")
    );
    if ks.len() > 1 {
        text += ", one size of patches after the other";
    }
    match recipe.weighting.as_slice() {
        [] => {}
        steps => {
            let steps: Vec<&str> = steps.iter().map(|step| step.name()).collect();
            text += &format!(", weighted: {}", steps.join(", then "));
        }
    }
    text
}

fn clusters_path(clustering: &Clustering) -> String {
    format!("{CLUSTERS_DIR}/{}.parquet", clustering.name())
}

fn cluster_rows(plan: &Plan, clusters: &ClusterPlan) -> Vec<(String, String)> {
    let mut rows = vec![row(
        "stages",
        "source -> decode -> whole -> k-means, for pixels; features -> k-means; then rows -> label -> measure -> sink",
    )];
    for of in ClusterOf::ALL {
        let same = || clusters.clusterings.iter().filter(move |one| one.of == of);
        let Some(first) = same().next() else {
            continue;
        };
        let shape = clusters.shape(of);
        let n_bytes = plan.input.n_rows() * (shape.len() * size_of::<f32>()) as u64;
        let (what, size) = match of {
            ClusterOf::Pixels => (
                format!(
                    "{}x{} pixels{} each, as they are stored",
                    shape.height,
                    shape.width,
                    if shape.channels > 1 { " in colour" } else { "" }
                ),
                format!("{} to {}", bytes(n_bytes / 4), bytes(n_bytes)),
            ),
            ClusterOf::Features => (format!("{} values each", shape.len()), bytes(n_bytes)),
        };
        rows.push(row(
            of.name(),
            format!(
                "{} images, {what}: {size} to go through, in a mapped file if need be",
                count(plan.input.n_rows())
            ),
        ));
        for one in same() {
            let params = &one.params;
            let restarts = format!(
                "{}, the best of {} restarts, at most {} passes each",
                params.algorithm.name(),
                params.n_init,
                params.max_iter
            );
            let name = if std::ptr::eq(one, first) {
                "k-means"
            } else {
                ""
            };
            rows.push(row(
                name,
                format!(
                    "{} clusters: {restarts} -> {}",
                    params.k,
                    clusters_path(one)
                ),
            ));
        }
    }
    rows.push(row(
        "evaluation",
        match &clusters.labels {
            Ok(source) => format!("against the labels in column \"{}\"", source.column),
            Err(note) => format!("none: {note}"),
        },
    ));
    rows
}

/// The ceiling, and whose it is.
fn ceiling(plan: &Plan) -> String {
    let run = &plan.job.run;
    match &run.share_of {
        None => format!("{}, run.memory", bytes(run.memory_bytes)),
        Some(limit) => format!(
            "{}, half of the {} that the container has ({}); run.memory says otherwise",
            bytes(run.memory_bytes),
            bytes(limit.bytes),
            limit.file.display()
        ),
    }
}

fn memory_rows(plan: &Plan) -> Vec<(String, String)> {
    let memory = &plan.memory;
    let mut rows = vec![row("ceiling", ceiling(plan))];
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
    if plan.clusters.is_some() {
        rows.push(row(
            "cluster",
            format!(
                "{} at most: images in flight {} and {} to gather or label them, or k-means {}; the images up to {}, more of them in a mapped file",
                bytes(memory.cluster_bytes()),
                bytes(memory.batches_bytes),
                bytes(memory.cluster_group_bytes.max(memory.cluster_label_bytes)),
                bytes(memory.cluster_kmeans_bytes),
                bytes(memory.cluster_sample_bytes)
            ),
        ));
    }
    if memory.pages_bytes > 0 {
        rows.push(row(
            "pages",
            format!(
                "{} in each of these, for pages that are decompressed or read",
                bytes(memory.pages_bytes)
            ),
        ));
    }
    rows.push(row(
        "report",
        format!(
            "{} at most, in the end",
            bytes(memory.base_bytes + memory.report_bytes)
        ),
    ));
    rows
}
