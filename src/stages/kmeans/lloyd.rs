//! Lloyd's k-means: full passes over the sample until nothing moves or little is won.

use super::{RestartLog, Trained, Training};
use crate::error::Result;

impl Training<'_> {
    pub(super) fn lloyd(&self, restart: usize, mut centroids: Vec<f32>) -> Result<Trained> {
        let mut log = RestartLog::new();
        self.full_passes(restart, self.params.tol, &mut centroids, &mut log)?;
        Ok(Trained { centroids, log })
    }

    /// Full passes until nothing moves, a pass wins less than the share `tol`, or `max_iter` is reached.
    pub(super) fn full_passes(
        &self,
        restart: usize,
        tol: f64,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        let mut previous = f64::INFINITY;
        while log.passes + 1.0 <= self.params.max_iter as f64 {
            let sums = self.sums(centroids, self.sample.n_blocks(), |block| block)?;
            let inertia = sums.inertia(centroids) / sums.n_patches() as f64;
            log.passes += 1.0;
            self.note(restart, inertia, log);
            let moved = sums.move_words(centroids, |_, _| 1.0);
            let empty = sums.empty_words();
            let reseeded = self.reseed(restart, log.n_steps, &empty, centroids);
            log.reseeded += reseeded;
            let won_little = previous - inertia < tol * inertia;
            if reseeded == 0 && (!moved || won_little) {
                log.converged = true;
                break;
            }
            previous = inertia;
        }
        Ok(())
    }
}
