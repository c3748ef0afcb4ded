//! Mini-batch k-means with nested batches that grow: within a fraction of a percent of Lloyd's inertia for the price of a
//! few passes.
//!
//! Restarts settle on a sixteenth of the sample; the best breathes a little, goes on to larger parts, and settles on the
//! whole.

use super::grow::Settling;
use super::lloyd::FIRST_PASS;
use super::{Training, under_way};
use crate::error::Result;
use crate::kernel::kmeans::checkpoint::{Checkpoint, Next, RestartLog};

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
        centroids: &mut Vec<f32>,
        log: &mut RestartLog,
    ) -> Result<()> {
        self.grow_to(restart, self.mini_batch_part(), ON_PARTS, centroids, log)?;
        self.move_lone(restart, self.mini_batch_part(), centroids, log)
    }

    /// The rest of a restart.
    pub(super) fn mini_batch(&self, at: &mut Checkpoint) -> Result<()> {
        let part = self.part(self.mini_batch_part().n_blocks / BREATHE_DIVISOR);
        let first = Next::Part(GROWTH * self.mini_batch_part().n_blocks);
        self.breathe(part, BREATHS, first, at)?;
        self.larger_parts(at)?;
        // A sample that is hardly larger than a part gets Lloyd's own stop.
        let tol = match self.is_whole(self.mini_batch_part()) {
            true => self.params.tol,
            false => self.params.tol.max(LAST_PASSES_TOL),
        };
        self.full_passes(tol, at)
    }

    /// Parts that grow, up to half of the sample.
    fn larger_parts(&self, at: &mut Checkpoint) -> Result<()> {
        loop {
            self.keep_if_due(at)?;
            let it = under_way(at);
            let Next::Part(n_blocks) = it.next else {
                return Ok(());
            };
            if n_blocks > self.sample.n_blocks() / 2 {
                it.next = FIRST_PASS;
                return Ok(());
            }
            // What is under way changes only once the part is done with.
            let (mut centroids, mut log) = (it.centroids.clone(), it.log.clone());
            let part = self.part(n_blocks);
            self.settle_on(it.restart, part, ON_PARTS, &mut centroids, &mut log)?;
            (it.centroids, it.log) = (centroids, log);
            it.next = Next::Part(n_blocks * GROWTH);
        }
    }
}
