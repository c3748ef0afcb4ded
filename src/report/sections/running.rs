//! How the run went: time, memory, and what each stage did when.

use serde_json::Value;

use crate::report::chart::{Band, Chart, Scale, Series};
use crate::report::paint::Painter;
use crate::report::run_files::RunFiles;
use crate::report::text::{bytes, count, seconds};
use crate::shard::timeline::StagePoint;

use super::Drawing;

/// Moments of a pass below which a line says nothing.
const MIN_MOMENTS: usize = 4;

/// Classes of lines: one for each stage of a pass.
const CLASSES: [&str; 4] = ["s1", "s2", "s3", "s0"];

pub(in crate::report) struct Running {
    /// What, and how long or how many.
    pub(in crate::report) facts: Vec<(&'static str, String)>,
    pub(in crate::report) stages: Vec<StageRow>,
    pub(in crate::report) memory: Vec<(&'static str, String)>,
    pub(in crate::report) throughput: Option<Drawing>,
    pub(in crate::report) channels: Option<Drawing>,
    pub(in crate::report) has_one_thread: bool,
}

/// A row of the table of stages.
pub(in crate::report) struct StageRow {
    pub(in crate::report) pass: &'static str,
    pub(in crate::report) stage: String,
    pub(in crate::report) images: String,
    pub(in crate::report) busy: String,
    pub(in crate::report) rate: String,
}

pub(in crate::report) fn running(files: &RunFiles, painter: &mut Painter) -> Running {
    let run = &files.manifest.run;
    let throughput = throughput(&files.timeline);
    let channels = channels(&files.timeline);
    Running {
        facts: facts(files),
        stages: stages(run),
        memory: memory(run),
        throughput: throughput.map(|chart| Drawing::of_chart(&chart, "throughput", painter)),
        channels: channels.map(|chart| Drawing::of_chart(&chart, "channels", painter)),
        has_one_thread: run["threads"].as_u64() == Some(1),
    }
}

fn facts(files: &RunFiles) -> Vec<(&'static str, String)> {
    let run = &files.manifest.run;
    let time = |key: &str| run[key].as_f64().map_or("unknown".to_owned(), seconds);
    let images = files.manifest.counts.tally.images as f64;
    let rate = run["featurize_seconds"]
        .as_f64()
        .filter(|seconds| *seconds > 0.0)
        .map(|seconds| count((images / seconds) as u64));
    let tally = files.manifest.counts.tally;
    let mut facts = vec![
        ("all of it", time("seconds")),
        ("learning", time("learn_seconds")),
        ("featurizing", time("featurize_seconds")),
    ];
    if !files.manifest.clusters.is_empty() {
        facts.push(("clustering", time("cluster_seconds")));
    }
    facts.extend(rate.map(|rate| ("images a second, featurizing", rate)));
    facts.extend([
        ("threads", run["threads"].to_string()),
        (
            "instruction set",
            run["simd"].as_str().unwrap_or("unknown").to_owned(),
        ),
        ("patches held against words", count(tally.patches)),
        ("of them decided in float64", count(tally.decided_again)),
    ]);
    facts
}

fn stages(run: &Value) -> Vec<StageRow> {
    let passes = [
        ("learn", "learning"),
        ("featurize", "featurizing"),
        ("whole", "gathering"),
        ("label", "labelling"),
    ];
    passes
        .into_iter()
        .flat_map(|(key, pass)| {
            let stages = run["stages"][key].as_object().into_iter().flatten();
            stages.map(move |(stage, numbers)| (pass, stage, numbers))
        })
        .filter_map(|(pass, stage, numbers)| {
            let images = numbers["images"].as_u64()?;
            let busy = numbers["busy_seconds"].as_f64()?;
            (images > 0).then(|| StageRow {
                pass,
                stage: stage.clone(),
                images: count(images),
                busy: seconds(busy),
                rate: match busy > 0.0 {
                    true => count((images as f64 / busy) as u64),
                    false => "–".to_owned(),
                },
            })
        })
        .collect()
}

fn memory(run: &Value) -> Vec<(&'static str, String)> {
    let parts = [
        ("process", "peak_heap_bytes", "heap, at most, as asked for"),
        (
            "process",
            "peak_anonymous_bytes",
            "heap and stacks in use, at most, as measured",
        ),
        (
            "process",
            "peak_resident_bytes",
            "the same with mapped pages",
        ),
        ("memory", "ceiling_bytes", "ceiling, run.memory"),
        ("memory", "base_bytes", "planned: the process itself"),
        ("memory", "batches_bytes", "planned: batches in flight"),
        (
            "memory",
            "sample_bytes",
            "planned: the sample, before it is mapped",
        ),
        (
            "memory",
            "hashes_bytes",
            "planned: hashes of sampled patches",
        ),
        ("memory", "kmeans_bytes", "planned: k-means"),
        ("memory", "words_bytes", "planned: words and scratch"),
        (
            "memory",
            "sink_bytes",
            "planned: the features file being written",
        ),
        (
            "memory",
            "cluster_sample_bytes",
            "planned: whole images, before they are mapped",
        ),
        (
            "memory",
            "cluster_kmeans_bytes",
            "planned: k-means of whole images",
        ),
        ("memory", "report_bytes", "planned: this report"),
    ];
    parts
        .into_iter()
        .filter_map(|(table, key, what)| {
            let n = run[table][key].as_u64().filter(|&n| n > 0)?;
            Some((what, bytes(n)))
        })
        .collect()
}

/// Points of one stage of one pass.
fn by_stage(timeline: &[StagePoint]) -> Vec<Vec<&StagePoint>> {
    let mut stages: Vec<Vec<&StagePoint>> = Vec::new();
    for point in timeline {
        let same = stages
            .iter_mut()
            .find(|stage| stage[0].pass == point.pass && stage[0].stage == point.stage);
        match same {
            Some(stage) => stage.push(point),
            None => stages.push(vec![point]),
        }
    }
    stages
}

/// Where each pass begins and ends.
fn bands(timeline: &[StagePoint]) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for point in timeline {
        match bands.last_mut() {
            Some(band) if band.name == point.pass => band.to = point.seconds,
            _ => bands.push(Band {
                from: bands.last().map_or(0.0, |band: &Band| band.to),
                to: point.seconds,
                name: point.pass.clone(),
            }),
        }
    }
    bands
}

/// Lines of the stages with images. Stages at the same place in their passes share a colour, and one name: all of theirs.
fn series(
    timeline: &[StagePoint],
    points: impl Fn(&[&StagePoint], f64) -> Vec<(f64, f64)>,
) -> Vec<Series> {
    let bands = bands(timeline);
    let mut names: [Vec<&str>; CLASSES.len()] = Default::default();
    let mut place = 0;
    let mut last_pass = String::new();
    let mut found = Vec::new();
    for stage in by_stage(timeline) {
        let pass = &stage[0].pass;
        if pass == "clustering" || pass == "grouping" || stage.len() < MIN_MOMENTS {
            continue;
        }
        if *pass != last_pass {
            (place, last_pass) = (0, pass.clone());
        }
        let class = place % CLASSES.len();
        place += 1;
        let start = bands
            .iter()
            .find(|band| band.name == *pass)
            .map_or(0.0, |band| band.from);
        let points = points(&stage, start);
        if points.is_empty() {
            continue;
        }
        let name = stage[0].stage.as_str();
        if !names[class].contains(&name) {
            names[class].push(name);
        }
        found.push((class, points));
    }
    let mut is_named = [false; CLASSES.len()];
    let series = found.into_iter().map(|(class, points)| {
        let is_first = !std::mem::replace(&mut is_named[class], true);
        Series {
            name: if is_first {
                names[class].join(", ")
            } else {
                String::new()
            },
            class: CLASSES[class],
            points,
            marks_end: false,
        }
    });
    series.collect()
}

/// Images a second of each stage.
fn throughput(timeline: &[StagePoint]) -> Option<Chart> {
    let series = series(timeline, |stage, start| {
        let mut last = (start, 0);
        let rates = stage.iter().filter_map(|point| {
            let (seconds, done) = (point.seconds - last.0, point.done.saturating_sub(last.1));
            last = (point.seconds, point.done);
            (seconds > 0.0).then(|| (point.seconds, done as f64 / seconds))
        });
        let mut rates = smooth(&rates.collect::<Vec<_>>());
        // The axis is logarithmic, so that sampling, which skips images, does not dwarf featurizing.
        rates.retain(|(_, rate)| *rate > 0.0);
        rates
    });
    (!series.is_empty()).then(|| Chart {
        title: "Throughput of each stage".to_owned(),
        alt: "Images a second of each stage, over the time of the run".to_owned(),
        x_label: "seconds".to_owned(),
        y_label: "images a second".to_owned(),
        scale: Scale::Logarithmic,
        y_unit: "",
        series,
        bands: bands(timeline),
    })
}

/// Batches come in lumps: each rate is the mean of it and its neighbours.
fn smooth(rates: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const NEIGHBOURS: usize = 2;
    (0..rates.len())
        .map(|at| {
            let near =
                &rates[at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS + 1).min(rates.len())];
            let sum: f64 = near.iter().map(|(_, rate)| rate).sum();
            (rates[at].0, sum / near.len() as f64)
        })
        .collect()
}

/// How full the channel before each stage is.
fn channels(timeline: &[StagePoint]) -> Option<Chart> {
    let series = series(timeline, |stage, _| {
        let fill = stage
            .iter()
            .filter(|point| point.capacity > 0)
            .map(|point| {
                (
                    point.seconds,
                    100.0 * point.waiting as f64 / point.capacity as f64,
                )
            });
        smooth(&fill.collect::<Vec<_>>())
    });
    (!series.is_empty()).then(|| Chart {
        title: "Where batches wait".to_owned(),
        alt: "How full the channel before each stage is, over the time of the run".to_owned(),
        x_label: "seconds".to_owned(),
        y_label: "fill of the channel before a stage".to_owned(),
        scale: Scale::FromZero,
        y_unit: " %",
        series,
        bands: bands(timeline),
    })
}
