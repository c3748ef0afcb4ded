//! How the words were learned: inertia by step of every restart.

use crate::report::paint::Painter;
use crate::report::run_files::{RunFiles, SizeFiles};
use crate::report::text::count;

use super::Drawing;
use super::clusters::{best_restart, inertia_chart};

/// Restarts that are listed, at most.
const MAX_RESTARTS: usize = 100;

pub(in crate::report) struct LearningView {
    pub(in crate::report) n_patches: String,
    pub(in crate::report) inertia: String,
    pub(in crate::report) k: String,
    pub(in crate::report) algorithm: String,
    pub(in crate::report) chart: Option<Drawing>,
    pub(in crate::report) restarts: Vec<RestartRow>,
    pub(in crate::report) n_more_restarts: usize,
}

/// A row of the table of restarts.
pub(in crate::report) struct RestartRow {
    pub(in crate::report) number: usize,
    pub(in crate::report) is_best: bool,
    pub(in crate::report) cells: [String; 6],
}

/// How the words were learned; `None` with `vocabulary.from`.
pub(in crate::report) fn learning(
    files: &RunFiles,
    size: &SizeFiles,
    painter: &mut Painter,
) -> Option<LearningView> {
    let learning = size.learning.as_ref()?;
    let restarts = &learning.restarts;
    let best = best_restart(restarts);
    let what = match size.n_sizes {
        1 => "the vocabulary".to_owned(),
        _ => format!("the vocabulary of {} patches", size.patch),
    };
    let chart = inertia_chart(restarts, &what, "patch");
    let chart = chart.map(|chart| Drawing::of_chart(&chart, &size.picture("inertia"), painter));
    let algorithm = files.manifest.job["vocabulary"]["algorithm"].as_str();
    let rows = restarts
        .iter()
        .enumerate()
        .map(|(index, restart)| RestartRow {
            number: index + 1,
            is_best: Some(index) == best,
            cells: [
                format!("{:.4}", restart.init_inertia),
                format!("{:.4}", restart.final_inertia),
                count(restart.steps),
                format!("{:.1}", restart.passes),
                if restart.converged { "yes" } else { "no" }.to_owned(),
                count(restart.reseeded),
            ],
        });
    Some(LearningView {
        n_patches: count(learning.patches),
        inertia: format!("{:.4}", learning.inertia_per_patch),
        k: count(size.vocabulary.k() as u64),
        algorithm: algorithm.unwrap_or("k-means").to_owned(),
        chart,
        n_more_restarts: restarts.len().saturating_sub(MAX_RESTARTS),
        restarts: rows.take(MAX_RESTARTS).collect(),
    })
}
