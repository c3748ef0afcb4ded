//! What a job will do, worked out from the job and the inputs' footers before anything is written.

use std::path::Path;

use crate::error::{Error, Result};
use crate::flow::Limits;
use crate::job::{Color, Job, PerImage, VocabularySource};
use crate::kernel::grid::Grid;
use crate::kernel::image::Image;
use crate::kernel::nearest::Simd;
use crate::kernel::normalize::Normalize;
use crate::kernel::vocabulary::{Preparation, Vocabulary};
use crate::kernel::whiten::MAX_D;
use crate::shard::images::{ImageRows, Reason};
use crate::shard::input::InputSet;
use crate::shard::read::Shard;
use crate::shard::vocabulary;
use crate::stages::sample::n_sampled;

use super::cluster_plan::ClusterPlan;
use super::memory::{MemoryPlan, Needs, Work};
use super::run_dir;

/// Longest vector of an image: it is still only 64 MiB.
const MAX_VALUES: usize = 1 << 24;

/// Rows that are looked at for a first good image.
const PROBE_ROWS: usize = 16;

/// Bytes of them that are read, about.
const PROBE_BYTES: u64 = 1 << 20;

/// A job, its inputs, and what follows from both.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The job; its colour is decided.
    pub job: Job,
    /// Its inputs, opened.
    pub input: InputSet,
    /// Words of each vocabulary: one for each size of patches.
    pub ks: Vec<usize>,
    /// Length of a vector.
    pub n_values: usize,
    /// Height and width of the first image, if it is a good one.
    pub first_image: Option<(u32, u32)>,
    /// The finished vocabularies, with `vocabulary.from`; none where they are learned.
    pub vocabularies: Vec<Vocabulary>,
    /// The clusterings, if there are any.
    pub clusters: Option<ClusterPlan>,
    /// How memory is divided.
    pub memory: MemoryPlan,
    /// How the pipelines run.
    pub limits: Limits,
    /// The instruction set of the nearest-word search.
    pub simd: Simd,
}

impl Plan {
    /// Opens the inputs of a job and works out what it needs.
    ///
    /// # Errors
    /// Inputs that are missing, damaged or do not fit together; a vocabulary whose patches were prepared otherwise; too
    /// little memory.
    pub fn new(job: &Job) -> Result<Plan> {
        let mut input = InputSet::open(&job.input, job.run.io, job.run.memory_bytes)?;
        run_dir::check_apart(job, &input)?;
        let first_image = first_image(&input, job)?;
        let job = &decided(job, &first_image)?;
        input.image.reading.color = job.input.color;
        let first_image = first_image.ok().map(|image| (image.height, image.width));
        let vocabularies = finished(job)?;
        let ks = ks(job, &vocabularies);
        let n_values = check_features(job, &ks, &vocabularies)?;
        let clusters = ClusterPlan::new(job, &input, n_values)?;
        Plan {
            first_image,
            vocabularies,
            clusters,
            ..Plan::undivided(job, input, ks, n_values)
        }
        .divided(Work::Whole)
    }

    /// The plan of one task of a job whose colour is decided: `input` has the shard that the task is of, `first_image` is
    /// the size of the whole job's first image, and `words` are the finished vocabularies, where the work needs them.
    ///
    /// # Errors
    /// Too little memory.
    pub fn of_task(
        job: &Job,
        mut input: InputSet,
        first_image: Option<(u32, u32)>,
        words: &[Vocabulary],
        work: Work,
    ) -> Result<Plan> {
        input.image.reading.color = job.input.color;
        let ks = ks(job, words);
        // That words have what the features need of them was seen when they were learned or taken over.
        let n_values = check_features(job, &ks, &[])?;
        Plan {
            first_image,
            ..Plan::undivided(job, input, ks, n_values)
        }
        .divided(work)
    }

    /// A plan with no word of memory in it yet.
    fn undivided(job: &Job, input: InputSet, ks: Vec<usize>, n_values: usize) -> Plan {
        Plan {
            job: job.clone(),
            input,
            ks,
            n_values,
            first_image: None,
            vocabularies: Vec::new(),
            clusters: None,
            memory: MemoryPlan::default(),
            limits: Limits {
                // One thread needs no channels.
                workers: if job.run.threads == 1 {
                    0
                } else {
                    job.run.threads
                },
                budget_bytes: 0,
            },
            simd: job.run.simd,
        }
    }

    /// The plan, with memory divided for what is done of it.
    fn divided(mut self, work: Work) -> Result<Plan> {
        let (job, input) = (&self.job, &self.input);
        let writer_bytes = input.shards.iter().map(|shard| {
            let layout = input.layout(shard, self.n_values, has_status(job));
            layout.writer_bytes(shard.n_rows)
        });
        let needs = Needs {
            work,
            ks: &self.ks,
            n_hashes: n_hashes(input, job, self.first_image),
            max_in_flight: self.limits.max_in_flight(),
            pages: &input.pages,
            sink_bytes: writer_bytes.max().unwrap_or(0),
            clusters: self
                .clusters
                .as_ref()
                .map(|clusters| clusters.needs(input.n_rows(), job.run.threads)),
        };
        self.memory = MemoryPlan::new(job, &needs)?;
        self.limits.budget_bytes = self.memory.batches_bytes;
        Ok(self)
    }

    /// Images that patches are sampled from.
    pub fn n_sampled_images(&self) -> u64 {
        self.input.n_rows().div_ceil(self.job.sample.every)
    }

    /// Words of all vocabularies.
    pub fn k(&self) -> usize {
        self.ks.iter().sum()
    }

    /// Patches of each size of an image the size of the first, and how many of them are sampled.
    pub fn patches_per_image(&self) -> Option<Vec<(usize, usize)>> {
        patches_per_image(&self.job, self.first_image)
    }

    /// Whether features files have a `status` column.
    pub fn has_status(&self) -> bool {
        has_status(&self.job)
    }
}

fn patches_per_image(job: &Job, first_image: Option<(u32, u32)>) -> Option<Vec<(usize, usize)>> {
    let (height, width) = first_image?;
    let patches = job.preparations.iter().map(|one| one.patch);
    patches
        .map(|patch| {
            let grid = Grid::new(height, width, patch, job.stride)?;
            Some((grid.len(), n_sampled(job.sample.per_image, grid.len())))
        })
        .collect()
}

/// Sampled patches of one size that there can be: exact for a number an image, twice what images like the first would give for a share.
fn n_hashes(input: &InputSet, job: &Job, first_image: Option<(u32, u32)>) -> u64 {
    let n_images = input.n_rows().div_ceil(job.sample.every);
    let per_image = match (job.sample.per_image, patches_per_image(job, first_image)) {
        (PerImage::Count(count), _) => count,
        (PerImage::Share(_), Some(sizes)) => {
            let most = sizes.iter().map(|&(_, sampled)| sampled).max();
            2 * most.unwrap_or(0) as u64
        }
        (PerImage::Share(_), None) => u64::MAX,
    };
    n_images.saturating_mul(per_image)
}

/// Words of each vocabulary, which are learned, or read.
fn ks(job: &Job, vocabularies: &[Vocabulary]) -> Vec<usize> {
    match &job.vocabulary {
        VocabularySource::Learn(params) => vec![params.k; job.preparations.len()],
        VocabularySource::From(_) => vocabularies.iter().map(Vocabulary::k).collect(),
    }
}

/// Whether bad images of a job keep a row, so that features files have a `status` column.
pub fn has_status(job: &Job) -> bool {
    job.input.on_bad_image == crate::job::OnBadImage::Zero
}

/// The vocabularies that a job names, if it does.
fn finished(job: &Job) -> Result<Vec<Vocabulary>> {
    let VocabularySource::From(paths) = &job.vocabulary else {
        return Ok(Vec::new());
    };
    let vocabularies = paths.iter().enumerate().map(|(at, path)| {
        if !path.exists() {
            return Err(Error::setting(
                "vocabulary.from",
                format!("there is no {}", path.display()),
                "paths are relative to the job file; a run leaves its words in vocabulary.parquet",
            ));
        }
        let (vocabulary, _) = vocabulary::read(path)?;
        check_preparation(job, at, path, &vocabulary)?;
        Ok(vocabulary)
    });
    vocabularies.collect()
}

/// Whether the words at a place of `vocabulary.from` are of the patches at that place of the job.
pub(crate) fn check_preparation(
    job: &Job,
    at: usize,
    path: &Path,
    vocabulary: &Vocabulary,
) -> Result<()> {
    const SIZE: &str = "patches.size";
    let is_one = job.preparations.len() == 1;
    let (ours, theirs) = (&job.preparations[at], &vocabulary.preparation);
    let pairs = keys(theirs).into_iter().zip(keys(ours));
    let other: Vec<_> = pairs.filter(|(theirs, ours)| theirs != ours).collect();
    if other.is_empty() {
        return Ok(());
    }
    let differences: Vec<String> = other
        .iter()
        .map(|((key, theirs), (_, ours))| match *key == SIZE && !is_one {
            true => format!("{key} = {theirs}, the job has {ours} in its place"),
            false => format!("{key} = {theirs}, the job has {ours}"),
        })
        .collect();
    let settings = other
        .iter()
        .map(|((key, theirs), _)| match theirs.as_str() {
            _ if *key == SIZE && !is_one => format!("name vocabularies in the order of {key}"),
            "none" => format!("leave {key} out"),
            theirs => format!("set {key} = {theirs}"),
        });
    let settings: Vec<String> = settings.collect();
    let whose = match is_one {
        true => "its words".to_owned(),
        false => format!("the words of {}", path.display()),
    };
    Err(Error::setting(
        "vocabulary.from",
        format!(
            "{whose} were learned with {}",
            differences.join("; and with ")
        ),
        format!("{}, or learn another one", settings.join(" and ")),
    ))
}

/// How patches are prepared, key by key of the job file.
fn keys(preparation: &Preparation) -> [(&'static str, String); 6] {
    let patch = preparation.patch;
    let number = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:?}"));
    let epsilon = match preparation.normalize {
        Normalize::Patch { epsilon } => Some(epsilon),
        Normalize::Image | Normalize::None => None,
    };
    let whiten = match preparation.whiten {
        Some(_) => "zca",
        None => "none",
    };
    [
        (
            "patches.size",
            format!("[{}, {}]", patch.height, patch.width),
        ),
        (
            "patches.normalize",
            format!("{:?}", preparation.normalize.name()),
        ),
        ("patches.epsilon", number(epsilon)),
        ("patches.whiten", format!("{whiten:?}")),
        ("patches.whiten_epsilon", number(preparation.whiten)),
        (
            "input.color",
            format!("{:?}", vocabulary::color_name(patch.channels)),
        ),
    ]
}

/// The length of a job's vectors, and whether words and patches can be what its features need.
pub(crate) fn check_features(
    job: &Job,
    ks: &[usize],
    vocabularies: &[Vocabulary],
) -> Result<usize> {
    let mut n_values = 0;
    for (Preparation { patch, whiten, .. }, &k) in job.preparations.iter().zip(ks) {
        let d = patch.len();
        if whiten.is_some() && d > MAX_D {
            return Err(Error::setting(
                "patches.whiten",
                format!("a {patch} patch has {d} values, and at most {MAX_D} are whitened"),
                "take smaller patches, or leave it out",
            ));
        }
        n_values += job.features.n_values(k, d);
    }
    let is_uncounted = |words: &Vocabulary| words.documents.is_none();
    if job.features.needs_documents() && vocabularies.iter().any(is_uncounted) {
        return Err(Error::setting(
            "features.weighting",
            "\"tf-idf\" weighs words by the images that they occur in, and the vocabulary of vocabulary.from has not counted them",
            "learn the vocabulary in a job with \"tf-idf\", which counts them, or leave it out",
        ));
    }
    if n_values > MAX_VALUES {
        return Err(Error::setting(
            "features.pooling",
            format!("the vector of an image would have {n_values} values"),
            format!("at most {MAX_VALUES} are possible: fewer cells, or a lower vocabulary.k"),
        ));
    }
    Ok(n_values)
}

/// The first good image among the first rows, or why there is none.
fn first_image(input: &InputSet, job: &Job) -> Result<Result<Image, Reason>> {
    let shard =
        Shard::open(&input.shards[0].path, job.run.io)?.with_max_page_bytes(job.run.memory_bytes);
    let wanted = input.wanted_image();
    let rows = shard.rows_within(0, &wanted, PROBE_BYTES, PROBE_ROWS);
    let mut reader = shard.read_row_group(0, &wanted, rows)?;
    let none = || "there are no rows".to_owned();
    let Some(batch) = reader.next_batch() else {
        return Ok(Err(none()));
    };
    let (_, batch) = batch?;
    let rows = ImageRows::new(&batch, &input.image, &shard.path().into())?;
    let mut first_reason = None;
    for row in 0..batch.num_rows() {
        // One that the ceiling has no room for is refused when it is read.
        let image = match rows.size(row).decode_bytes <= job.run.memory_bytes {
            true => rows.get(row),
            false => Err("it is too large for run.memory".to_owned()),
        };
        match image {
            Ok(image) => return Ok(Ok(image)),
            Err(reason) => first_reason = first_reason.or(Some(reason)),
        }
    }
    Ok(Err(first_reason.unwrap_or_else(none)))
}

/// The job with the colour that its first image has, where it leaves that to it.
fn decided(job: &Job, first_image: &Result<Image, Reason>) -> Result<Job> {
    let mut job = job.clone();
    if job.input.color == Color::Auto {
        let image = first_image.as_ref().map_err(|reason| {
            Error::setting(
                "input.color",
                format!(
                    "\"auto\" goes by the first good image, and none of the first rows holds one: {reason}"
                ),
                "set it to \"grey\" or \"rgb\", or put a shard with good images first",
            )
        })?;
        job.set_color(match image.channels {
            1 => Color::GreyOnly,
            _ => Color::Rgb,
        });
    }
    Ok(job)
}
