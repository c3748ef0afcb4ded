//! Mini-batch k-means with nested batches that grow: within a fraction of a percent of Lloyd's inertia for the price of a
//! few passes.
//!
//! Restarts settle on a sixteenth of the sample; the best breathes a little, goes on to larger parts, and settles on the
//! whole.

use super::grow::Settling;
use super::{RestartLog, Training};
use crate::error::Result;

/// Steps on each part.
const ON_PARTS: Settling = Settling {
    max_steps: 4,
    tol: 1e-3,
};
/// How parts grow from there.
const GROWTH: u64 = 4;
/// Breaths, on the judging part divided by this.
const BREATHS: usize = 4;
const BREATHE_DIVISOR: u64 = 4;
/// The full passes at the end stop at this gain, or at `tol` if that is larger: what is won by more is less than restarts
/// differ by.
const LAST_PASSES_TOL: f64 = 5e-4;

impl Training<'_> {
    /// Before a restart is judged.
    pub(super) fn mini_batch_restart(
        &self,
        restart: usize,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        self.grow_to(restart, self.mini_batch_part(), ON_PARTS, centroids, log)
    }

    /// The rest of the best restart.
    pub(super) fn mini_batch(
        &self,
        restart: usize,
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        let n_all = self.sample.n_blocks();
        let part = self.part(self.mini_batch_part().n_blocks / BREATHE_DIVISOR);
        self.breathe(restart, part, BREATHS, centroids, log)?;
        let mut n_blocks = GROWTH * self.mini_batch_part().n_blocks;
        while n_blocks <= n_all / 2 {
            self.settle_on(restart, self.part(n_blocks), ON_PARTS, centroids, log)?;
            n_blocks *= GROWTH;
        }
        // A sample that is hardly larger than a part gets Lloyd's own stop.
        let tol = match self.is_whole(self.mini_batch_part()) {
            true => self.params.tol,
            false => self.params.tol.max(LAST_PASSES_TOL),
        };
        self.full_passes(restart, tol, centroids, log)
    }
}
