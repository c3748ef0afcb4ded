//! How far a training has come, as plain data: enough to go on, on any machine, to the very same words.

use serde::{Deserialize, Serialize};

use crate::kernel::rng::Stream;

/// How one restart went. Inertias are means per patch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RestartLog {
    /// Of the first words, over the smallest part of the sample that they settled on.
    pub init_inertia: f64,
    /// Of the words before each step, over that step's patches. Breaths, and lone words that are tried
    /// elsewhere, are no steps: other words may follow.
    pub inertia: Vec<f64>,
    /// Steps taken.
    pub n_steps: usize,
    /// Passes over the sample that they amount to.
    pub passes: f64,
    /// Whether training ended by itself, not by `max_iter`.
    pub converged: bool,
    /// Words without a patch, or with hardly one, that were put elsewhere, each time counted.
    pub reseeded: usize,
    /// Of the restart's last words: over the whole sample for the one that was kept, over the part that restarts are
    /// judged on for the others.
    pub final_inertia: f64,
}

/// A training at a point that it can go on from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The restarts that are done with.
    pub judged: Judged,
    /// The restart that is being trained to its end, if one is.
    pub under_way: Option<UnderWay>,
}

/// Restarts that were judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// How they went.
    pub restarts: Vec<RestartLog>,
    /// The best of them.
    pub best: usize,
    /// Its words, `k * d`; none where there is no restart yet.
    pub centroids: Vec<f32>,
}

/// A restart that is being trained to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Which, from 0.
    pub restart: usize,
    /// Its words, `k * d`.
    pub centroids: Vec<f32>,
    /// How it went so far.
    pub log: RestartLog,
    /// What comes next.
    pub next: Next,
}

/// What comes next in a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Next {
    /// The first breath, if breathing pays.
    Breathe,
    /// Another breath, or the end of breathing.
    Breath(Breaths),
    /// Steps on a part of so many blocks, unless that is more than half of all.
    Part(u64),
    /// A pass over the whole sample.
    Pass {
        /// Inertia per patch before the last one; infinite before the first.
        previous: f64,
    },
    /// Nothing: it is trained to its end.
    Nothing,
}

/// Breathing, between two breaths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breaths {
    /// Breaths taken.
    pub n_taken: usize,
    /// The best words so far, `k * d`.
    pub words: Vec<f32>,
    /// Their inertia per patch, on the part that is breathed on.
    pub inertia: f64,
    /// Passes after which no breath may begin.
    pub last_passes: f64,
    /// Draws the words that the next breath adds.
    pub stream: Stream,
}

impl UnderWay {
    /// A restart that is about to be trained to its end.
    pub fn new(restart: usize, centroids: Vec<f32>, log: RestartLog) -> UnderWay {
        UnderWay {
            restart,
            centroids,
            log,
            next: Next::Breathe,
        }
    }
}

impl Judged {
    /// Takes a restart, whose inertia is known where there are others, and keeps its words if it is the best.
    pub fn push(&mut self, trained: UnderWay) {
        let inertia = trained.log.final_inertia;
        let best = self.restarts.get(self.best);
        if best.is_none_or(|best| inertia < best.final_inertia) {
            self.best = trained.restart;
            self.centroids = trained.centroids;
        }
        self.restarts.push(trained.log);
    }
}
