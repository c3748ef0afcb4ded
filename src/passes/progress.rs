//! What a run tells while it runs: counters to be polled, and events as they happen.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::flow::{StageStats, Stats};

/// Where a run stands. Written by the run, read by whoever shows it; nothing depends on it.
#[derive(Debug)]
pub struct Progress {
    phase: AtomicU8,
    /// Stages of the learning pass.
    pub learn: Stats,
    /// Restarts of k-means.
    pub kmeans: StageStats,
    /// Stages of the pass that counts in how many images words occur.
    pub documents: Stats,
    /// Stages of the featurizing pass.
    pub featurize: Stats,
    /// Stages of the passes that gather whole images and vectors.
    pub whole: Stats,
    /// Restarts of one k-means of whole images.
    pub clusters: StageStats,
    /// Stages of the labelling passes, one for each clustering.
    pub label: Stats,
    /// Bytes of files that are verified.
    pub hash: StageStats,
    /// Rows that are verified to add up.
    pub rows: StageStats,
    /// Images that are recounted.
    pub recount: StageStats,
    note: Mutex<String>,
    now_bytes: AtomicU64,
    peak_heap_bytes: AtomicU64,
    peak_anonymous_bytes: AtomicU64,
    peak_resident_bytes: AtomicU64,
}

/// Memory of the process that a run is in, as whoever watches the run measures it; zeros where nobody does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ProcessMemory {
    /// Anonymous memory now: heap and stacks.
    #[serde(skip)]
    pub now_bytes: u64,
    /// Most that was allocated at one time, to the byte; some of it may never have been touched.
    pub peak_heap_bytes: u64,
    /// Largest anonymous memory seen.
    pub peak_anonymous_bytes: u64,
    /// Largest resident memory: heap, stacks and mapped pages.
    pub peak_resident_bytes: u64,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening the inputs.
    Opening,
    /// Sampling patches.
    Sampling,
    /// Learning words.
    Clustering,
    /// Counting in how many images words occur.
    CountingWords,
    /// Writing vectors.
    Featurizing,
    /// Gathering whole images, or vectors.
    Gathering,
    /// Finding clusters of them.
    Grouping,
    /// Writing clusters.
    Labelling,
    /// Verifying files.
    Hashing,
    /// Verifying that rows add up.
    Adding,
    /// Recounting images.
    Recounting,
    /// Done.
    Done,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            phase: AtomicU8::new(0),
            learn: Stats::new(["source", "decode", "sample", "gather"]),
            kmeans: StageStats::new("k-means", "restarts"),
            documents: Stats::new(["source", "decode", "documents", "sum"]),
            featurize: Stats::new(["source", "decode", "featurize", "sink"]),
            whole: Stats::new(["source", "decode", "whole", "gather"]),
            clusters: StageStats::new("clusters", "restarts"),
            label: Stats::new(["rows", "label", "measure", "sink"]),
            hash: StageStats::new("files", "bytes"),
            rows: StageStats::new("counts", "rows"),
            recount: StageStats::new("recount", "images"),
            note: Mutex::default(),
            now_bytes: AtomicU64::new(0),
            peak_heap_bytes: AtomicU64::new(0),
            peak_anonymous_bytes: AtomicU64::new(0),
            peak_resident_bytes: AtomicU64::new(0),
        }
    }
}

impl Progress {
    /// What the run is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Opening,
            1 => Phase::Sampling,
            2 => Phase::Clustering,
            3 => Phase::CountingWords,
            4 => Phase::Featurizing,
            5 => Phase::Gathering,
            6 => Phase::Grouping,
            7 => Phase::Labelling,
            8 => Phase::Hashing,
            9 => Phase::Adding,
            10 => Phase::Recounting,
            _ => Phase::Done,
        }
    }

    /// The process's memory, as far as it was told.
    pub fn memory(&self) -> ProcessMemory {
        ProcessMemory {
            now_bytes: self.now_bytes.load(Relaxed),
            peak_heap_bytes: self.peak_heap_bytes.load(Relaxed),
            peak_anonymous_bytes: self.peak_anonymous_bytes.load(Relaxed),
            peak_resident_bytes: self.peak_resident_bytes.load(Relaxed),
        }
    }

    /// Tells what the process's memory is; the run cannot know.
    pub fn set_memory(&self, memory: ProcessMemory) {
        self.now_bytes.store(memory.now_bytes, Relaxed);
        self.peak_heap_bytes.store(memory.peak_heap_bytes, Relaxed);
        self.peak_anonymous_bytes
            .store(memory.peak_anonymous_bytes, Relaxed);
        self.peak_resident_bytes
            .store(memory.peak_resident_bytes, Relaxed);
    }

    /// A few words on how k-means is doing.
    pub fn note(&self) -> String {
        self.note
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn set_note(&self, note: String) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }
}

/// How a run is watched and stopped.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Set from outside to stop the run: batches in flight are finished, then it ends as interrupted; unless it was done.
    pub interrupt: &'a AtomicBool,
    /// Counters.
    pub progress: &'a Progress,
    /// Hears of events.
    pub on_event: &'a (dyn Fn(Event<'_>) + Sync),
}

/// Something that happened.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The inputs are open and the run begins.
    Started {
        /// Input files.
        shards: usize,
        /// Images in them.
        images: u64,
        /// Features files that an interrupted run had finished.
        finished: usize,
    },
    /// The sample is drawn.
    Sampled {
        /// Images that patches were drawn from.
        images: u64,
        /// Patches drawn.
        patches: u64,
        /// Heap bytes that the sample takes; 0 if it is in a mapped file.
        heap_bytes: u64,
    },
    /// The vocabulary is written.
    Vocabulary {
        /// Its path.
        path: &'a str,
        /// Words.
        k: usize,
        /// Mean squared distance of the sampled patches to their words.
        inertia_per_patch: f64,
    },
    /// A features file is written.
    Features {
        /// Its path.
        path: &'a str,
        /// Its rows.
        rows: u64,
        /// Bad images of its shard.
        bad_images: u64,
    },
    /// A clusters file and its centroids are written.
    Clusters {
        /// Its path.
        path: &'a str,
        /// Clusters.
        k: usize,
        /// Sum of the squared distances of all rows to their centroids.
        inertia: f64,
        /// Share of labelled rows whose label is their cluster's most frequent one.
        purity: Option<f64>,
    },
}
