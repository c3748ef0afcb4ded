//! Lloyd's k-means: full passes over the sample until nothing moves or little is won, with steps past the mean.

use super::{RestartLog, Trained, Training};
use crate::error::Result;
use crate::kernel::kmeans::sums::Sums;

/// Words move past the mean of their patches by this much: any rate below 2 lowers the inertia, and the slow valleys,
/// where Lloyd spends most of its passes, take about half as many.
const RATE: f64 = 1.8;
/// Before and after breathing, words settle to this gain, or to `tol` if that is larger; then to `tol`.
const BREATH_TOL: f64 = 1e-4;

impl Training<'_> {
    pub(super) fn lloyd(&self, restart: usize, mut centroids: Vec<f32>) -> Result<Trained> {
        let mut log = RestartLog::new();
        if self.breathes() {
            let tol = self.params.tol.max(BREATH_TOL);
            self.full_passes(restart, tol, &mut centroids, &mut log)?;
            self.breathe(restart, tol, &mut centroids, &mut log)?;
        }
        self.full_passes(restart, self.params.tol, &mut centroids, &mut log)?;
        Ok(Trained { centroids, log })
    }

    /// Full passes until nothing moves, a pass wins no more than the share `tol`, or `max_iter` is reached.
    pub(super) fn full_passes(
        &self,
        restart: usize,
        tol: f64,
        centroids: &mut [f32],
        log: &mut RestartLog,
    ) -> Result<()> {
        let mut previous = f64::INFINITY;
        log.converged = false;
        while log.passes + 1.0 <= self.params.max_iter as f64 {
            let sums = self.all_sums(centroids)?;
            let inertia = sums.inertia(centroids) / sums.n_patches() as f64;
            log.passes += 1.0;
            self.note(restart, inertia, log);
            let goes_on = self.move_past(&sums, previous - inertia, tol * inertia, centroids);
            let empty = sums.empty_words();
            let reseeded = self.reseed(restart, log.n_steps, &empty, centroids);
            log.reseeded += reseeded;
            if reseeded == 0 && !goes_on {
                log.converged = true;
                break;
            }
            previous = inertia;
        }
        Ok(())
    }

    /// Moves the words past their means; onto them, at last, where the step before won no more than `little`. Returns
    /// whether there is more to win.
    pub(super) fn move_past(
        &self,
        sums: &Sums,
        won: f64,
        little: f64,
        centroids: &mut [f32],
    ) -> bool {
        let won_little = won <= little;
        let rate = if won_little { 1.0 } else { RATE };
        let moved = sums.move_words(centroids, |_, _| rate);
        moved && !won_little
    }
}
