//! Drawing a report allocates no more than the plan has for it. A binary of its own, because it counts every allocation of
//! the process.

#[path = "common/counting.rs"]
mod counting;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use bovw::job::{Job, Overrides};
use bovw::kernel::grid::PatchShape;
use bovw::passes::progress::{Progress, Watch};
use bovw::passes::run::run;
use bovw::{report, stages};
use counting::peak_bytes;

/// Runs the digits with some keys set; the heap that drawing them again takes, and what was planned for it.
fn drawn(sets: &[&str], k: usize, patch: PatchShape) -> (u64, u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    sets.push(format!("output.dir={:?}", dir.path().display().to_string()));
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/digits.toml");
    let job = Job::load(&job, &sets, &Overrides::default()).expect("a job");
    let watch = Watch {
        interrupt: &AtomicBool::new(false),
        progress: &Progress::default(),
        on_event: &|_| {},
    };
    run(&job, false, watch).expect("the job runs");
    let peak = peak_bytes(|| {
        report::draw(dir.path()).expect("drawn");
    });
    let planned =
        report::heap_bytes([(k, patch.len())].into_iter()) + stages::examples::heap_bytes(patch);
    (peak, planned)
}

#[test]
fn a_report_takes_no_more_memory_than_was_planned() {
    let quick = "vocabulary.max_iter=2";
    for (sets, k, side, channels) in [
        (&[quick][..], 32, 3, 1),
        (&[quick, "input.color='rgb'"], 32, 3, 3),
        (
            &[quick, "vocabulary.k=4000", "vocabulary.n_init=1"],
            4000,
            3,
            1,
        ),
        (
            &[
                quick,
                "patches.size=[8, 8]",
                "sample.per_image=1",
                "vocabulary.k=64",
            ],
            64,
            8,
            1,
        ),
    ] {
        let patch = PatchShape {
            height: side,
            width: side,
            channels,
        };
        let (peak, planned) = drawn(sets, k, patch);
        assert!(peak <= planned, "{sets:?}: {peak} bytes of {planned}");
    }
}
