//! Lloyd's k-means: full passes over the sample until nothing moves or little is won, with steps past the mean.
//!
//! Full passes are for the best restart alone: by then others are behind by more than passes win back.

use super::grow::{Part, Settling};
use super::{RestartLog, Training};
use crate::error::Result;

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
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        self.grow_to(restart, self.lloyd_part(), RESTART, centroids, log)
    }

    /// The rest of the best restart.
    pub(super) fn lloyd(
        &self,
        restart: usize,
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        let part = self.part(self.lloyd_part().n_blocks / BREATHE_DIVISOR);
        self.breathe(restart, part, BREATHS, centroids, log)?;
        self.full_passes(restart, self.params.tol, centroids, log)
    }

    /// Full passes until nothing moves, a pass wins no more than the share `tol`, or `max_iter` is reached.
    pub(super) fn full_passes(
        &self,
        restart: usize,
        tol: f64,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        let whole = self.part(self.sample.n_blocks());
        let settling = Settling {
            max_steps: self.params.max_iter,
            tol,
        };
        log.converged = self.settle_on(restart, whole, settling, centroids, log)?;
        Ok(())
    }
}
