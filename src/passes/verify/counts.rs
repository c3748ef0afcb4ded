//! Counts: every row of vectors and clusters adds up, the rows add up to what the manifest says of files, and the files to
//! what it says of the run.

use std::path::Path;

use crate::error::Result;
use crate::job::Job;
use crate::shard::centroids;
use crate::shard::manifest::{
    BAD_IMAGES_DIR, ClusterEntry, InputCounts, MANIFEST_FILE, ManifestBadImage,
};
use crate::shard::vocabulary;
use crate::shard::written::{FeaturesRow, for_each_bad, for_each_cluster, for_each_features};
use crate::stages::recount::adds_up;

use super::super::evaluate::evaluate;
use super::super::progress::Phase;
use super::{Check, RowProblems, Run, cluster_file, stem, total};

/// Scores are computed anew from the same counts; sums may be added in another order.
const SCORE_TOLERANCE: f64 = 1e-9;

/// All counts of a run.
pub(super) fn check(run: &mut Run<'_>, job: Option<&Job>) {
    let manifest = run.manifest;
    run.progress.enter(Phase::Adding);
    let n_passes = 1 + manifest.clusters.len() as u64;
    run.progress
        .rows
        .set_total(manifest.counts.rows.saturating_mul(n_passes));
    totals(run);
    let names = run.vocabularies.clone();
    for (at, name) in names.iter().enumerate() {
        words(run, at, name);
    }
    let n_kept_bad = vectors(run, job);
    for entry in &manifest.clusters {
        clustering(run, entry, n_kept_bad);
    }
}

/// What the manifest says of files adds up to what it says of the run.
fn totals(run: &mut Run<'_>) {
    let manifest = run.manifest;
    let path = run.path(MANIFEST_FILE);
    let of_inputs = |count: fn(&InputCounts) -> u64| {
        let counts = manifest.inputs.iter().filter_map(|input| input.counts);
        total(counts.map(|counts| count(&counts)))
    };
    let counts = &manifest.counts;
    let rows = total(run.features().map(|output| output.rows));
    let input_rows = total(manifest.inputs.iter().map(|input| input.input.rows));
    let vocabularies = run.vocabularies.iter();
    let words = total(vocabularies.filter_map(|name| Some(run.output(name)?.rows)));
    for (what, found, expected) in [
        (
            "counts.images",
            counts.tally.images,
            of_inputs(|counts| counts.tally.images),
        ),
        (
            "counts.patches",
            counts.tally.patches,
            of_inputs(|counts| counts.tally.patches),
        ),
        (
            "counts.decided_again",
            counts.tally.decided_again,
            of_inputs(|counts| counts.tally.decided_again),
        ),
        (
            "counts.bad_images",
            counts.bad_images,
            of_inputs(|counts| counts.bad_images),
        ),
        (
            "counts.images, beside the rows of the inputs",
            counts.tally.images,
            input_rows,
        ),
        (
            "counts.rows, beside the rows of the files",
            counts.rows,
            rows,
        ),
        ("counts.words", counts.words, words),
    ] {
        run.same(Check::Counts, &*path, what, found, expected);
    }
}

/// Each word's patches add up to those that were sampled.
fn words(run: &mut Run<'_>, at: usize, name: &str) {
    let Some(path) = run.whole(name) else {
        return;
    };
    let words = match vocabulary::read(&path) {
        Ok((words, _)) => words,
        Err(error) => return run.failed(Check::Counts, &path, &error),
    };
    let Some(learning) = run.manifest.learning.get(at) else {
        return;
    };
    let sampled = learning["patches"].as_u64().unwrap_or(0);
    let n_patches = total(words.counts.iter().copied());
    let what = "the patches of its words, beside learning.patches of the manifest";
    run.same(Check::Counts, &*path, what, n_patches, sampled);
    let inertia = learning["inertia_per_patch"].as_f64().unwrap_or(f64::NAN);
    if inertia.to_bits() != words.inertia_per_patch().to_bits() {
        let what = format!(
            "its inertia a patch is {}, learning.inertia_per_patch of the manifest {inertia}",
            words.inertia_per_patch()
        );
        run.problem(Check::Counts, &*path, what);
    }
}

/// Every vector adds up to its number of patches, and these to the manifest's; gives how many rows have none.
fn vectors(run: &mut Run<'_>, job: Option<&Job>) -> Option<u64> {
    let manifest = run.manifest;
    let n_values = usize::try_from(manifest.counts.n_values())
        .unwrap_or(0)
        .max(1);
    let mut n_kept_bad = Some(0);
    for (input, output) in manifest.inputs.iter().zip(run.features()) {
        let Some(path) = run.whole(&output.path) else {
            n_kept_bad = None;
            continue;
        };
        let mut wrong = RowProblems::new(Check::Counts, &path);
        let (mut n_patches, mut n_bad) = (0, 0);
        let read = run.progress.rows.count(output.rows, || {
            for_each_features(&path, n_values, |row, found| {
                n_patches += u64::from(found.n_patches.unsigned_abs());
                n_bad += u64::from(found.n_patches == 0);
                if let Some(what) = wrong_row(found, job) {
                    wrong.add(row, || what);
                }
            })
        });
        run.verified.vectors += output.rows;
        wrong.tell(run);
        if let Err(error) = read {
            run.failed(Check::Counts, &path, &error);
            n_kept_bad = None;
            continue;
        }
        n_kept_bad = n_kept_bad.map(|n| n + n_bad);
        let Some(counts) = input.counts else {
            continue;
        };
        run.same(
            Check::Counts,
            &*path,
            "patches of its rows",
            n_patches,
            counts.tally.patches,
        );
        let n_dropped = counts.tally.images.saturating_sub(output.rows);
        let what = "images without a vector, kept and left out";
        run.same(
            Check::Counts,
            &*path,
            what,
            n_bad + n_dropped,
            counts.bad_images,
        );
        bad_images(run, &input.input.path, stem(output), n_bad);
    }
    n_kept_bad
}

fn wrong_row(row: FeaturesRow<'_>, job: Option<&Job>) -> Option<String> {
    if let Some(at) = row.vector.iter().position(|value| !value.is_finite()) {
        return Some(format!("value {at} of its vector is not finite"));
    }
    // Every grid of cells counts every patch once.
    let recipe = job.map(|job| &job.features);
    if let Some(recipe) = recipe.filter(|recipe| recipe.is_counts()) {
        let n_grids = recipe.pooling.len() as u64;
        let n_counted = n_grids * u64::from(row.n_patches.unsigned_abs());
        if !adds_up(row.vector, n_counted) {
            let sum: f64 = row.vector.iter().map(|&value| f64::from(value)).sum();
            let in_grids = match n_grids {
                1 => String::new(),
                n => format!(" in each of {n} grids"),
            };
            return Some(format!(
                "its vector adds up to {sum}, n_patches is {}{in_grids}",
                row.n_patches
            ));
        }
    }
    match (row.status, row.n_patches) {
        (Some(_), 0) | (None, 1..) => None,
        (Some(reason), n) => Some(format!("it has {n} patches, though status says: {reason}")),
        (None, n) => Some(format!("it has {n} patches, and no status says why")),
    }
}

/// The manifest repeats the first bad images of a list.
fn bad_images(run: &mut Run<'_>, input: &str, stem: &str, n_kept: u64) {
    let name = format!("{BAD_IMAGES_DIR}/{stem}.jsonl");
    let Some(path) = run.whole(&name) else {
        return;
    };
    let repeated = run.manifest.bad_images.iter();
    let mut repeated = repeated.filter(|bad| bad.file == input);
    let mut wrong = RowProblems::new(Check::Counts, &path);
    let (mut last, mut n_listed) = (None, 0);
    let read = for_each_bad(&path, |bad| {
        n_listed += 1;
        if last.is_some_and(|last| last >= bad.row) {
            wrong.add(bad.row, || "it is listed after a later row".to_owned());
        }
        last = Some(bad.row);
        let is_same = |other: &ManifestBadImage| other.image == bad;
        if repeated.next().is_some_and(|other| !is_same(other)) {
            wrong.add(bad.row, || {
                format!("{MANIFEST_FILE} lists another bad image")
            });
        }
    });
    wrong.tell(run);
    if let Err(error) = read {
        run.failed(Check::Counts, &path, &error);
    }
    if n_kept > n_listed {
        let what = format!("it lists {n_listed} bad images, {n_kept} rows have none");
        run.problem(Check::Counts, &*path, what);
    }
}

/// The rows of a clustering: each in one of its clusters, as many in each as the manifest and the centroids say.
fn clustering(run: &mut Run<'_>, entry: &ClusterEntry, n_kept_bad: Option<u64>) {
    let manifest_path = run.path(MANIFEST_FILE);
    let n_rows = total(entry.counts.iter().copied());
    let what = format!("rows of the clusters of {}", entry.file);
    run.same(Check::Counts, &*manifest_path, &what, n_rows, entry.rows);
    if let Some(path) = cluster_file(run, &entry.centroids) {
        match centroids::read(&path) {
            Ok(centroids) if centroids.counts != entry.counts => {
                let what = format!("its counts are not those in {MANIFEST_FILE}");
                run.problem(Check::Counts, &*path, what);
            }
            Ok(_) => {}
            Err(error) => run.failed(Check::Counts, &path, &error),
        }
    }
    let Some(path) = cluster_file(run, &entry.file) else {
        return;
    };
    let mut wrong = RowProblems::new(Check::Counts, &path);
    let mut counts = vec![0u64; entry.counts.len()];
    let mut n_none = 0;
    let rows = run.output(&entry.file).map_or(0, |output| output.rows);
    let read = run.progress.rows.count(rows, || {
        for_each_cluster(&path, |row, found| match (found.cluster, found.distance) {
            (None, None) => n_none += 1,
            (Some(cluster), Some(distance)) if distance >= 0.0 && distance.is_finite() => {
                let count = usize::try_from(cluster)
                    .ok()
                    .and_then(|at| counts.get_mut(at));
                match count {
                    Some(count) => *count += 1,
                    None => wrong.add(row, || format!("there is no cluster {cluster}")),
                }
            }
            (cluster, distance) => wrong.add(row, || {
                format!("cluster {cluster:?} at distance {distance:?} cannot be")
            }),
        })
    });
    run.verified.cluster_rows += rows;
    wrong.tell(run);
    if let Err(error) = read {
        return run.failed(Check::Counts, &path, &error);
    }
    if counts != entry.counts {
        let what = format!("its rows are not as many in each cluster as {MANIFEST_FILE} lists");
        run.problem(Check::Counts, &*path, what);
    }
    if let Some(n_kept_bad) = n_kept_bad {
        run.same(
            Check::Counts,
            &*path,
            "rows without a cluster",
            n_none,
            n_kept_bad,
        );
    }
    let (all, expected) = (rows, run.manifest.counts.rows);
    run.same(Check::Counts, &*path, "rows", all, expected);
    if let Err(error) = scores(run, &path, entry) {
        run.failed(Check::Counts, &path, &error);
    }
}

/// The confusion matrix and the scores, counted anew.
fn scores(run: &mut Run<'_>, path: &Path, entry: &ClusterEntry) -> Result<()> {
    let Some(evaluation) = &entry.evaluation else {
        return Ok(());
    };
    let found = evaluate(&[path.to_owned()], &evaluation.label, "cluster")?;
    // Clusters without a labelled row have no column here.
    let columns: Vec<usize> = found
        .counted
        .clusters
        .iter()
        .map(|name| name.parse().unwrap_or(usize::MAX))
        .collect();
    let is_same_row = |counts: &[u64], expected: &Vec<u64>| {
        let mut row = vec![0; expected.len()];
        for (&column, &count) in columns.iter().zip(counts) {
            if let Some(cell) = row.get_mut(column) {
                *cell = count;
            }
        }
        row == *expected
    };
    let mut rows = found.counted.confusion.rows().zip(&evaluation.confusion);
    let is_same = found.counted.labels == evaluation.labels
        && rows.all(|(counts, expected)| is_same_row(counts, expected))
        && found.counted.n_unlabelled == evaluation.n_unlabelled
        && found.counted.confusion.total() == evaluation.n_labelled;
    if !is_same {
        let what = format!("its labels and clusters do not meet as often as {MANIFEST_FILE} says");
        run.problem(Check::Counts, path, what);
    }
    let (new, listed) = (&found.scores, &evaluation.scores);
    for (what, new, listed) in [
        ("purity", new.purity, listed.purity),
        ("nmi", new.nmi, listed.nmi),
        ("ari", new.ari, listed.ari),
        ("homogeneity", new.homogeneity, listed.homogeneity),
        ("completeness", new.completeness, listed.completeness),
        ("v_measure", new.v_measure, listed.v_measure),
    ] {
        if (new - listed).abs() > SCORE_TOLERANCE {
            let what = format!("its {what} is {new}, {MANIFEST_FILE} lists {listed}");
            run.problem(Check::Counts, path, what);
        }
    }
    Ok(())
}
