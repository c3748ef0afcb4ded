//! Lloyd's k-means: full passes over the sample until nothing moves or little is won, with steps past the mean.
//!
//! Full passes are for the best restart alone: by then others are behind by more than passes win back.

use super::grow::{Part, Settling};
use super::{Training, under_way};
use crate::error::Result;
use crate::kernel::kmeans::checkpoint::{Checkpoint, Next, RestartLog};

/// How restarts settle before they are judged.
const RESTART: Settling = Settling {
    max_steps: 10,
    tol: 1e-3,
};
/// Restarts are judged on the sample divided by this, or on the part that mini-batch judges on if that is more.
const JUDGE_DIVISOR: u64 = 6;
/// Breaths, on the judging part divided by this.
const BREATHS: usize = 16;
const BREATHE_DIVISOR: u64 = 3;
/// Before any full pass.
pub(super) const FIRST_PASS: Next = Next::Pass {
    previous: f64::INFINITY,
};

impl Training<'_> {
    /// The part that Lloyd's restarts are judged on.
    pub(super) fn lloyd_part(&self) -> Part {
        let least = self.mini_batch_part().n_blocks;
        self.part(least.max(self.sample.n_blocks() / JUDGE_DIVISOR))
    }

    /// Before a restart is judged.
    pub(super) fn lloyd_restart(
        &self,
        restart: usize,
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        self.grow_to(restart, self.lloyd_part(), RESTART, centroids, log)?;
        self.move_lone(restart, self.lloyd_part(), centroids, log)
    }

    /// The rest of a restart.
    pub(super) fn lloyd(&self, at: &mut Checkpoint) -> Result<()> {
        let part = self.part(self.lloyd_part().n_blocks / BREATHE_DIVISOR);
        self.breathe(part, BREATHS, FIRST_PASS, at)?;
        self.full_passes(self.params.tol, at)
    }

    /// Full passes until nothing moves, a pass wins no more than the share `tol`, or `max_iter` is reached.
    pub(super) fn full_passes(&self, tol: f64, at: &mut Checkpoint) -> Result<()> {
        let whole = self.part(self.sample.n_blocks());
        loop {
            self.keep_if_due(at)?;
            let it = under_way(at);
            let Next::Pass { previous } = it.next else {
                return Ok(());
            };
            if !self.has_room(whole, &it.log) {
                it.next = Next::Nothing;
                return Ok(());
            }
            let (centroids, log) = (&mut it.centroids, &mut it.log);
            let (inertia, goes_on) = self.step(it.restart, whole, previous, tol, centroids, log)?;
            it.log.converged = !goes_on;
            it.next = match goes_on {
                true => Next::Pass { previous: inertia },
                false => Next::Nothing,
            };
        }
    }
}
