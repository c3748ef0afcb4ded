//! The k-means stage: learns a vocabulary from a finished sample, on threads of its own.
//!
//! The steps are the kernel's; here are the loops over restarts, passes and threads. Work is split into parts whose number
//! depends on the sample and the vocabulary alone, and parts are merged in order, so the words are the same bytes for
//! any number of threads. Only the sample is large: nothing here may allocate in proportion to it.

mod breathe;
mod finish;
mod grow;
mod init;
mod lloyd;
mod lone;
mod mini_batch;
mod pass;
mod reseed;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::kmeans::checkpoint::{Checkpoint, Judged, RestartLog, UnderWay};
use crate::kernel::kmeans::seeding::Pool;
use crate::kernel::kmeans::{Algorithm, KMeansParams};
use crate::kernel::nearest::{Simd, Words};
use crate::kernel::sample::SampleView;
use crate::kernel::vocabulary::{Preparation, Vocabulary};

use super::threads::on_threads;
use grow::Part;

/// How far training has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The restart that is being trained, from 0.
    pub restart: usize,
    /// All restarts.
    pub n_init: usize,
    /// Passes over the sample so far in this restart; mini-batches count as parts of one.
    pub passes: f64,
    /// Passes at most.
    pub max_iter: usize,
    /// Latest mean squared distance of a patch to its word.
    pub inertia_per_patch: f64,
}

/// How training talks to its caller. All may be called from any thread.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told after each step.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Asked often; `true` ends training with [`Error::Interrupted`].
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Asked between steps, whether it is time to keep a checkpoint.
    pub is_due: &'a (dyn Fn() -> bool + Sync),
    /// Keeps a checkpoint; its failure ends training.
    pub keep: &'a (dyn Fn(&Checkpoint) -> Result<()> + Sync),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl Watch<'static> {
    /// Tells nobody, never stops and keeps nothing.
    pub const SILENT: Watch<'static> = Watch {
        progress: &|_| {},
        stop: &|| false,
        is_due: &|| false,
        keep: &|_| Ok(()),
    };
}

/// A learned vocabulary and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Words by falling count; counts and inertia are exact for these very words.
    pub vocabulary: Vocabulary,
    /// Every restart, in order.
    pub restarts: Vec<RestartLog>,
    /// The restart whose words these are.
    pub kept: usize,
}

/// Learns `params.k` words from `sample` with `threads` threads, and the instructions of `simd`; neither changes a byte.
/// Goes on from `start`, a checkpoint of the same training, which changes none either.
///
/// # Errors
/// [`Error::Setting`] where the sample has fewer patches, or fewer different ones, than `k`; [`Error::Interrupted`], after
/// a last checkpoint was kept; [`Error::Data`] where the system starts no more threads.
pub fn learn(
    sample: &SampleView<'_>,
    preparation: Preparation,
    params: &KMeansParams,
    threads: usize,
    simd: Simd,
    start: Checkpoint,
    watch: &Watch<'_>,
) -> Result<Learned> {
    assert_eq!(preparation.patch, sample.patch());
    let training = Training {
        sample,
        params,
        simd,
        watch,
    };
    on_threads("k-means", threads, || training.run(preparation, start))
}

/// Upper bound on the heap bytes that [`learn`] allocates, the sample not counted.
pub fn heap_bytes(k: usize, patch: PatchShape, params: &KMeansParams, threads: usize) -> u64 {
    let d = patch.len();
    let words = (k * d * 4) as u64;
    // Breathing has more words for a while.
    let (grown, breathing) = match params.algorithm {
        Algorithm::Lloyd => (k + breathe::n_added(k), breathe::heap_bytes(k, d)),
        Algorithm::MiniBatch => (k, 0),
    };
    let pool = Pool::heap_bytes(init::pool_len(u64::MAX, k, d), d);
    let parts = pass::parts_bytes(grown, patch).max(pass::parts_bytes(k, patch));
    let worker = pass::worker_bytes(grown, patch) + THREAD_BYTES;
    // The best restart's words, those under way, the best breath's, copies that are tried and sorted, and the laid-out ones.
    let training = 6 * words + 2 * Words::heap_bytes(grown, patch) + 32 * k as u64;
    // Both may be as large as the job likes; what cannot be counted cannot fit either.
    let (max_iter, n_init) = (params.max_iter as u64, params.n_init as u64);
    let logs = n_init.saturating_mul(size_of::<RestartLog>() as u64);
    // Full passes of one restart, and the steps of each on parts that double.
    let steps = n_init.saturating_mul(grow::MAX_STEPS as u64);
    let steps = max_iter.saturating_add(steps).saturating_mul(16);
    let reseeding = reseed::heap_bytes(k, d) + finish::heap_bytes(k, d);
    let reseeding = reseeding.max(lone::heap_bytes(k, d));
    (pool + parts + worker * threads as u64 + training + reseeding + breathing)
        .saturating_add(steps)
        .saturating_add(logs)
}

/// What the runtime keeps for a thread, generously.
const THREAD_BYTES: u64 = 64 << 10;

/// One run of training: what all its steps share.
#[derive(Clone, Copy)]
struct Training<'a> {
    sample: &'a SampleView<'a>,
    params: &'a KMeansParams,
    simd: Simd,
    watch: &'a Watch<'a>,
}

impl Training<'_> {
    fn run(&self, preparation: Preparation, start: Checkpoint) -> Result<Learned> {
        self.check_enough()?;
        let mut at = start;
        let trained = self.train_all(&mut at).and_then(|()| self.finish(&at));
        if matches!(trained, Err(Error::Interrupted)) {
            (self.watch.keep)(&at)?;
        }
        let (centroids, sums) = trained?;
        let Judged {
            mut restarts, best, ..
        } = at.judged;
        if let Some(it) = at.under_way {
            restarts[best] = it.log;
        }
        restarts[best].final_inertia = sums.inertia(&centroids) / sums.n_patches() as f64;
        let vocabulary = Vocabulary {
            preparation,
            whitening: None,
            documents: None,
            inertia: sums.inertia_by_word(&centroids).collect(),
            centroids,
            counts: sums.counts,
        };
        Ok(Learned {
            vocabulary,
            restarts,
            kept: best,
        })
    }

    /// All restarts, and the rest of the best one. `at` is a point to go on from at any time, errors included.
    fn train_all(&self, at: &mut Checkpoint) -> Result<()> {
        let is_whole = self.is_whole(self.judging_part());
        while at.judged.restarts.len() < self.params.n_init {
            let restart = at.judged.restarts.len();
            if at.under_way.is_none() {
                let (centroids, log) = self.restart(restart)?;
                at.under_way = Some(UnderWay::new(restart, centroids, log));
            }
            // Where only the whole sample can tell, restarts are trained to their end before they are judged.
            if is_whole {
                self.train(at)?;
            }
            if self.params.n_init > 1 {
                let it = under_way(at);
                it.log.final_inertia = self.part_inertia(self.judging_part(), &it.centroids)?;
            }
            if let Some(trained) = at.under_way.take() {
                at.judged.push(trained);
            }
            self.keep_if_due(at)?;
        }
        if is_whole {
            return Ok(());
        }
        if at.under_way.is_none() {
            let Judged {
                restarts,
                best,
                centroids,
            } = &at.judged;
            let log = restarts[*best].clone();
            at.under_way = Some(UnderWay::new(*best, centroids.clone(), log));
        }
        self.train(at)
    }

    /// The beginning of a restart, as far as it takes to judge it.
    fn restart(&self, restart: usize) -> Result<(Vec<f32>, RestartLog)> {
        let mut centroids = self.first_words(restart)?;
        let mut log = RestartLog::default();
        match self.params.algorithm {
            Algorithm::Lloyd => self.lloyd_restart(restart, &mut centroids, &mut log)?,
            Algorithm::MiniBatch => self.mini_batch_restart(restart, &mut centroids, &mut log)?,
        }
        Ok((centroids, log))
    }

    /// The part that restarts are judged on.
    fn judging_part(&self) -> Part {
        match self.params.algorithm {
            Algorithm::Lloyd => self.lloyd_part(),
            Algorithm::MiniBatch => self.mini_batch_part(),
        }
    }

    /// The rest of the restart that is under way.
    fn train(&self, at: &mut Checkpoint) -> Result<()> {
        match self.params.algorithm {
            Algorithm::Lloyd => self.lloyd(at),
            Algorithm::MiniBatch => self.mini_batch(at),
        }
    }

    fn keep_if_due(&self, at: &Checkpoint) -> Result<()> {
        match (self.watch.is_due)() {
            true => (self.watch.keep)(at),
            false => Ok(()),
        }
    }

    /// Scales words to length 1, where the job wants them so; one that is all zeros stays.
    fn scale_words(&self, centroids: &mut [f32]) {
        if !self.params.spherical {
            return;
        }
        for word in centroids.chunks_exact_mut(self.d()) {
            let length = word
                .iter()
                .map(|&c| f64::from(c) * f64::from(c))
                .sum::<f64>();
            let length = length.sqrt();
            if length > 0.0 {
                word.iter_mut()
                    .for_each(|c| *c = (f64::from(*c) / length) as f32);
            }
        }
    }

    fn words(&self, centroids: &[f32]) -> Words {
        Words::new(centroids, self.sample.patch(), self.simd)
    }

    fn d(&self) -> usize {
        self.sample.patch().len()
    }

    fn check_stop(&self) -> Result<()> {
        if (self.watch.stop)() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    /// Notes the inertia before a step, and tells the caller.
    fn note(&self, restart: usize, inertia_per_patch: f64, log: &mut RestartLog) {
        if log.inertia.is_empty() {
            log.init_inertia = inertia_per_patch;
        }
        log.inertia.push(inertia_per_patch);
        log.n_steps += 1;
        (self.watch.progress)(Progress {
            restart,
            n_init: self.params.n_init,
            passes: log.passes,
            max_iter: self.params.max_iter,
            inertia_per_patch,
        });
    }
}

/// The restart that is under way.
fn under_way(at: &mut Checkpoint) -> &mut UnderWay {
    match &mut at.under_way {
        Some(it) => it,
        None => unreachable!("a restart is under way"),
    }
}
