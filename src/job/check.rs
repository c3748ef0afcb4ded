//! The door from [`JobFile`] to [`Job`]: defaults, ranges, relations between keys, paths.
//!
//! Every refusal names the key, what was found and what to do. Looks at no file but the job file itself; whether the
//! job fits the data is for those who read the data to say, and the container's limit is told.

use std::path::Path;

use bytesize::ByteSize;

use super::cluster::check_clusters;
use super::features::check_features;
use super::file::{
    InputTable, JobFile, Memory, Names, Number, OutputTable, RunTable, SampleTable, VocabularyTable,
};
use super::nearest::quoted_list;
use super::patches::{check_patches, check_resize_holds};
use super::paths::{join_pattern, refuse_output_among_inputs};
use super::value::{MAX_WHOLE, choose, in_range, not_empty, whole};
use super::{
    Color, DEFAULT_MAX_PIXELS, Input, Io, Job, MaxBad, OnBadImage, Output, PerImage, RawShape, Run,
    Sampling, VocabularySource,
};
use crate::container::MemoryLimit;
use crate::error::{Error, Result};
use crate::kernel::kmeans::{Algorithm, DEFAULT_TOL, Init, KMeansParams};
use crate::kernel::nearest::Simd;

/// `sample.per_image` of a job that does not say.
const DEFAULT_PATCHES_PER_IMAGE: u64 = 100;
/// `vocabulary.n_init` of a job that does not say: the notebook's.
const DEFAULT_N_INIT: u64 = 3;
/// `vocabulary.max_iter` of a job that does not say: the notebook's.
pub(super) const DEFAULT_MAX_ITER: u64 = 300;
/// `run.checkpoint_seconds` of a job that does not say: little to lose, and hardly ever a wait for the disk.
const DEFAULT_CHECKPOINT_SECONDS: u64 = 10;

/// `run.memory` of a job that does not say.
const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;
/// Share of the container's memory that a job takes that does not say; the rest is for pages of files and for code.
const CONTAINER_SHARE: u64 = 2;
/// Least `run.memory`: a choice, not a measurement; whether a job fits its memory is for `plan` to work out.
pub const MIN_MEMORY_BYTES: u64 = 16 << 20;
/// Most words a job may ask for: a vector of them is still only 4 MB.
pub(super) const MAX_WORDS: u64 = 1_000_000;
/// Longest side of an image and longest stride, so that an offset in an image fits 32 bits.
pub(super) const MAX_IMAGE_SIDE: u64 = 65_535;
/// Most values in an image of raw pixels: Arrow counts the values of a fixed-size list in an i32.
const MAX_RAW_VALUES: u64 = i32::MAX as u64;
/// Most worker threads a stage.
const MAX_THREADS: u64 = 256;
/// Largest `input.max_pixels`: offsets of patches are 32-bit numbers.
const MAX_MAX_PIXELS: u64 = 1 << 31;
/// The same where a pixel may have three values.
const MAX_COLOR_PIXELS: u64 = 1 << 30;

/// What is said apart from the job. The command line's are laid over the job's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--threads`, over `run.threads`.
    pub threads: Option<u32>,
    /// `--memory`, over `run.memory`.
    pub memory: Option<String>,
    /// The limit of the container that the process is in: `run.memory` cannot be above it.
    pub container: Option<MemoryLimit>,
}

impl Job {
    /// Reads and checks the job file at `path`: defaults, then the file, then `sets`, then `overrides`.
    pub fn load(path: &Path, sets: &[String], overrides: &Overrides) -> Result<Job> {
        let mut file = JobFile::load(path, sets)?;
        overrides.apply(&mut file);
        let base_dir = path.parent().unwrap_or(Path::new(""));
        Job::check_within(file, base_dir, overrides.container.as_ref())
    }

    /// Proves that `file` is a job that can be run, and fills in what it leaves out. Its relative paths start at `base_dir`.
    pub fn check(file: JobFile, base_dir: &Path) -> Result<Job> {
        Job::check_within(file, base_dir, None)
    }

    /// The same, in a container that has such a limit.
    pub fn check_within(
        file: JobFile,
        base_dir: &Path,
        container: Option<&MemoryLimit>,
    ) -> Result<Job> {
        let features = check_features(&file.features)?;
        let input = check_input(file.input, base_dir)?;
        let (preparations, stride) = check_patches(&file.patches, input.color)?;
        check_resize_holds(input.resize, &preparations)?;
        let sample = check_sample(&file.sample)?;
        let run = check_run(&file.run, container)?;
        let vocabulary = check_vocabulary(
            file.vocabulary,
            preparations.len(),
            &sample,
            run.seed,
            base_dir,
        )?;
        let clusters = check_clusters(&file.cluster)?;
        let output = check_output(file.output, base_dir)?;
        refuse_output_among_inputs(&input.files, &output.dir)?;
        Ok(Job {
            base_dir: base_dir.to_owned(),
            input,
            preparations,
            stride,
            sample,
            vocabulary,
            features,
            clusters,
            output,
            run,
        })
    }
}

impl Overrides {
    /// Lays them over a job file.
    pub fn apply(&self, file: &mut JobFile) {
        if let Some(threads) = self.threads {
            file.run.threads = Some(i64::from(threads));
        }
        if let Some(memory) = &self.memory {
            file.run.memory = Some(Memory::Text(memory.clone()));
        }
    }
}

fn check_input(table: InputTable, base_dir: &Path) -> Result<Input> {
    let on_bad_image = match table.on_bad_image.as_deref() {
        None => OnBadImage::Fail,
        Some(name) => choose(
            "input.on_bad_image",
            name,
            &[
                ("fail", OnBadImage::Fail),
                ("zero", OnBadImage::Zero),
                ("drop", OnBadImage::Drop),
            ],
            &[],
        )?,
    };
    let color = match table.color.as_deref() {
        None => Color::Grey,
        Some(name) => choose(
            "input.color",
            name,
            &Color::ALL.map(|color| (color.name(), color)),
            &[],
        )?,
    };
    let max_max_pixels = match color {
        Color::Grey | Color::GreyOnly => MAX_MAX_PIXELS,
        Color::Rgb | Color::Auto => MAX_COLOR_PIXELS,
    };
    Ok(Input {
        files: check_files(&table.files.unwrap_or_default(), base_dir)?,
        image: not_empty("input.image", table.image)?,
        label: not_empty("input.label", table.label)?,
        keep: check_keep(table.keep.unwrap_or_default())?,
        shape: table.shape.as_deref().map(check_shape).transpose()?,
        color,
        resize: match table.resize {
            Some(n) => Some(in_range("input.resize", n, 1, MAX_IMAGE_SIDE)? as u32),
            None => None,
        },
        max_pixels: match table.max_pixels {
            Some(n) => in_range("input.max_pixels", n, 1, max_max_pixels)?,
            None => DEFAULT_MAX_PIXELS,
        },
        on_bad_image,
        max_bad: check_max_bad(table.max_bad, on_bad_image)?,
    })
}

fn check_files(patterns: &[String], base_dir: &Path) -> Result<Vec<String>> {
    const KEY: &str = "input.files";
    const HELP: &str = "name the shards, for example files = [\"data/*.parquet\"]";
    if patterns.is_empty() {
        return Err(Error::setting(KEY, "no files are named", HELP));
    }
    let joined = patterns.iter().map(|pattern| {
        if pattern.is_empty() {
            return Err(Error::setting(KEY, "one of the names is empty", HELP));
        }
        glob::Pattern::new(pattern).map_err(|e| {
            Error::setting(
                KEY,
                format!("\"{pattern}\" is not a glob: {}", e.msg),
                "a bracket that belongs to a name is written [[] or []]",
            )
        })?;
        join_pattern(base_dir, pattern)
    });
    joined.collect()
}

fn check_keep(keep: Vec<String>) -> Result<Vec<String>> {
    for (i, column) in keep.iter().enumerate() {
        if column.is_empty() || keep[..i].contains(column) {
            let what = if column.is_empty() {
                "is empty"
            } else {
                "is named twice"
            };
            return Err(Error::setting(
                "input.keep",
                format!("the column \"{column}\" {what}"),
                "name each further column once",
            ));
        }
    }
    Ok(keep)
}

fn check_shape(shape: &[i64]) -> Result<RawShape> {
    const KEY: &str = "input.shape";
    let (height, width, channels) = match *shape {
        [height, width] => (height, width, 1),
        [height, width, channels] => (height, width, channels),
        _ => {
            return Err(Error::setting(
                KEY,
                format!("{shape:?} is not a shape"),
                "give [height, width] or [height, width, channels]",
            ));
        }
    };
    if ![1, 3, 4].contains(&channels) {
        return Err(Error::setting(
            KEY,
            format!("{channels} channels are not possible"),
            "an image has 1 (grey), 3 (RGB) or 4 (RGBA) channels, given last",
        ));
    }
    let height = in_range(KEY, height, 1, MAX_IMAGE_SIDE)?;
    let width = in_range(KEY, width, 1, MAX_IMAGE_SIDE)?;
    let n_values = height * width * channels as u64;
    if n_values > MAX_RAW_VALUES {
        return Err(Error::setting(
            KEY,
            format!("{shape:?} is {n_values} values an image"),
            format!("at most {MAX_RAW_VALUES} are possible"),
        ));
    }
    Ok(RawShape {
        height: height as u32,
        width: width as u32,
        channels: channels as u32,
    })
}

fn check_max_bad(max_bad: Option<Number>, on_bad_image: OnBadImage) -> Result<MaxBad> {
    const KEY: &str = "input.max_bad";
    const HELP: &str = "give a share from 0.0 to 1.0, or a whole number of images";
    let checked = match max_bad {
        None if on_bad_image == OnBadImage::Fail => MaxBad::Count(0),
        None => MaxBad::Any,
        Some(Number::Whole(count)) if count >= 0 => MaxBad::Count(count as u64),
        Some(Number::Whole(count)) => {
            return Err(Error::setting(
                KEY,
                format!("{count} is not possible"),
                HELP,
            ));
        }
        Some(Number::Real(share)) if share.total_cmp(&1.0).is_eq() => MaxBad::Any,
        Some(Number::Real(share)) if (0.0..1.0).contains(&share) => MaxBad::Share(share),
        Some(Number::Real(share)) => {
            return Err(Error::setting(
                KEY,
                format!("{share:?} is not a share"),
                HELP,
            ));
        }
    };
    if on_bad_image == OnBadImage::Fail && checked != MaxBad::Count(0) {
        return Err(Error::setting(
            KEY,
            "has no effect, because input.on_bad_image = \"fail\" stops at the first bad image",
            "leave it out, or set input.on_bad_image to \"zero\" or \"drop\"",
        ));
    }
    Ok(checked)
}

fn check_sample(table: &SampleTable) -> Result<Sampling> {
    let max_patches = table
        .max_patches
        .map(|n| in_range("sample.max_patches", n, 1, MAX_WHOLE))
        .transpose()?;
    Ok(Sampling {
        every: whole("sample.every", table.every, 1, 1, MAX_WHOLE)?,
        per_image: check_per_image(table.per_image)?,
        max_patches,
    })
}

fn check_per_image(per_image: Option<Number>) -> Result<PerImage> {
    let found = match per_image {
        None => return Ok(PerImage::Count(DEFAULT_PATCHES_PER_IMAGE)),
        Some(Number::Whole(count)) if count >= 1 => return Ok(PerImage::Count(count as u64)),
        Some(Number::Real(share)) if share > 0.0 && share <= 1.0 => {
            return Ok(PerImage::Share(share));
        }
        Some(Number::Whole(count)) => count.to_string(),
        Some(Number::Real(share)) => format!("{share:?}"),
    };
    Err(Error::setting(
        "sample.per_image",
        format!("{found} is neither a share of an image's patches nor a number of them"),
        "give a share above 0.0 and at most 1.0, or a whole number of at least 1",
    ))
}

fn check_vocabulary(
    table: VocabularyTable,
    n_sizes: usize,
    sample: &Sampling,
    seed: u64,
    base_dir: &Path,
) -> Result<VocabularySource> {
    if table.from.is_none() {
        return check_learning(&table, sample, seed).map(VocabularySource::Learn);
    }
    let given = [
        ("k", table.k.is_some()),
        ("algorithm", table.algorithm.is_some()),
        ("init", table.init.is_some()),
        ("n_init", table.n_init.is_some()),
        ("max_iter", table.max_iter.is_some()),
        ("batch_size", table.batch_size.is_some()),
        ("tol", table.tol.is_some()),
        ("spherical", table.spherical.is_some()),
    ];
    let others: Vec<&str> = given
        .iter()
        .filter(|(_, given)| *given)
        .map(|(key, _)| *key)
        .collect();
    if !others.is_empty() {
        return Err(Error::setting(
            "vocabulary.from",
            format!(
                "a finished vocabulary is used as it is, which leaves no room for {}",
                quoted_list(others)
            ),
            "leave those keys of [vocabulary] out, or leave \"from\" out",
        ));
    }
    check_from(table.from, n_sizes, base_dir).map(VocabularySource::From)
}

/// A path for each size of patches.
fn check_from(
    from: Option<Names>,
    n_sizes: usize,
    base_dir: &Path,
) -> Result<Vec<std::path::PathBuf>> {
    const KEY: &str = "vocabulary.from";
    let paths = match from {
        None => Vec::new(),
        Some(Names::One(path)) => vec![path],
        Some(Names::Many(paths)) => paths,
    };
    if paths.len() != n_sizes {
        return Err(Error::setting(
            KEY,
            format!(
                "{} for {}",
                counted(paths.len(), "path", "paths"),
                counted(n_sizes, "size of patches", "sizes of patches")
            ),
            match n_sizes {
                1 => "name one vocabulary, or the other sizes in patches.size".to_owned(),
                n => format!(
                    "name a list of {n} vocabularies, in the order of the sizes in patches.size"
                ),
            },
        ));
    }
    let paths = paths.into_iter().map(|path| {
        let path = not_empty(KEY, Some(path))?.unwrap_or_default();
        Ok(base_dir.join(path))
    });
    paths.collect()
}

fn counted(n: usize, one: &str, more: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {more}"),
    }
}

fn check_learning(table: &VocabularyTable, sample: &Sampling, seed: u64) -> Result<KMeansParams> {
    let algorithm = match table.algorithm.as_deref() {
        None => Algorithm::MiniBatch,
        Some(name) => choose(
            "vocabulary.algorithm",
            name,
            &[
                ("mini-batch", Algorithm::MiniBatch),
                ("lloyd", Algorithm::Lloyd),
            ],
            &[],
        )?,
    };
    let init = match table.init.as_deref() {
        None => Init::PlusPlus,
        Some(name) => choose(
            "vocabulary.init",
            name,
            &[("k-means++", Init::PlusPlus), ("random", Init::Random)],
            &[],
        )?,
    };
    Ok(KMeansParams {
        k: check_k(table.k, sample)?,
        algorithm,
        init,
        n_init: whole(
            "vocabulary.n_init",
            table.n_init,
            DEFAULT_N_INIT,
            1,
            MAX_WHOLE,
        )? as usize,
        max_iter: whole(
            "vocabulary.max_iter",
            table.max_iter,
            DEFAULT_MAX_ITER,
            1,
            MAX_WHOLE,
        )? as usize,
        batch_size: check_batch_size(table.batch_size, algorithm)?,
        tol: check_tol(table.tol)?,
        spherical: table.spherical.unwrap_or(false),
        seed,
    })
}

fn check_k(k: Option<i64>, sample: &Sampling) -> Result<usize> {
    const KEY: &str = "vocabulary.k";
    let help = "give the number of words, for example k = 50, or a finished vocabulary with vocabulary.from";
    let k = k.ok_or_else(|| Error::setting(KEY, "missing", help))?;
    let k = in_range(KEY, k, 1, MAX_WORDS)?;
    match sample.max_patches {
        Some(max_patches) if k > max_patches => Err(Error::setting(
            KEY,
            format!("{k} words cannot be learned from sample.max_patches = {max_patches} patches"),
            "ask for fewer words or sample more patches",
        )),
        _ => Ok(k as usize),
    }
}

fn check_batch_size(batch_size: Option<i64>, algorithm: Algorithm) -> Result<Option<usize>> {
    const KEY: &str = "vocabulary.batch_size";
    match batch_size {
        Some(_) if algorithm == Algorithm::Lloyd => Err(Error::setting(
            KEY,
            "has no effect, because vocabulary.algorithm = \"lloyd\" has no batches",
            "leave it out, or set vocabulary.algorithm to \"mini-batch\"",
        )),
        Some(size) => Ok(Some(in_range(KEY, size, 1, MAX_WHOLE)? as usize)),
        None => Ok(None),
    }
}

fn check_tol(tol: Option<f64>) -> Result<f64> {
    match tol {
        None => Ok(DEFAULT_TOL),
        Some(tol) if (0.0..1.0).contains(&tol) => Ok(tol.abs()),
        Some(tol) => Err(Error::setting(
            "vocabulary.tol",
            format!("{tol:?} is not possible"),
            format!("give a share of at least 0.0 and below 1.0, such as {DEFAULT_TOL:?}"),
        )),
    }
}

fn check_output(table: OutputTable, base_dir: &Path) -> Result<Output> {
    const KEY: &str = "output.dir";
    if let Some(name) = table.layout.as_deref() {
        choose(
            "output.layout",
            name,
            &[("fixed_size_list", ())],
            &["list", "wide"],
        )?;
    }
    let named = table.dir.filter(|dir| !dir.is_empty());
    let help = "name the folder for the results, for example dir = \"out\"";
    let dir = named.ok_or_else(|| Error::setting(KEY, "missing", help))?;
    Ok(Output {
        dir: base_dir.join(dir),
    })
}

fn check_run(table: &RunTable, container: Option<&MemoryLimit>) -> Result<Run> {
    let io = match table.io.as_deref() {
        None => Io::Auto,
        Some(name) => choose(
            "run.io",
            name,
            &[("auto", Io::Auto), ("mmap", Io::Mmap), ("read", Io::Read)],
            &[],
        )?,
    };
    let simd = check_simd(table)?;
    let threads = match whole("run.threads", table.threads, 0, 0, MAX_THREADS)? {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads as usize,
    };
    let (memory_bytes, share_of) = check_memory(table.memory.as_ref(), container)?;
    Ok(Run {
        seed: whole("run.seed", table.seed, 0, 0, MAX_WHOLE)?,
        threads,
        memory_bytes,
        share_of,
        io,
        simd: simd.unwrap_or_else(Simd::detect),
        is_simd_chosen: simd.is_some(),
        checkpoint_seconds: whole(
            "run.checkpoint_seconds",
            table.checkpoint_seconds,
            DEFAULT_CHECKPOINT_SECONDS,
            0,
            MAX_WHOLE,
        )?,
    })
}

/// The instruction set that is asked for, if it is one that this machine has.
fn check_simd(table: &RunTable) -> Result<Option<Simd>> {
    const KEY: &str = "run.simd";
    let Some(name) = table.simd.as_deref() else {
        return Ok(None);
    };
    let mut choices = vec![("auto", None)];
    choices.extend(Simd::ALL.map(|simd| (simd.name(), Some(simd))));
    match choose(KEY, name, &choices, &[])? {
        Some(simd) if !simd.is_available() => {
            let available: Vec<&str> = Simd::available().map(Simd::name).collect();
            Err(Error::setting(
                KEY,
                format!("this machine does not have \"{simd}\""),
                format!(
                    "leave it out, or choose one that it has: {}",
                    available.join(", ")
                ),
            ))
        }
        simd => Ok(simd),
    }
}

fn check_memory(
    memory: Option<&Memory>,
    container: Option<&MemoryLimit>,
) -> Result<(u64, Option<MemoryLimit>)> {
    const KEY: &str = "run.memory";
    const HELP: &str = "give an amount such as \"512MiB\" or \"4GiB\", or a number of bytes";
    let (bytes, typed) = match memory {
        None => return Ok(default_memory(container)),
        Some(Memory::Bytes(bytes)) => (u64::try_from(*bytes).ok(), bytes.to_string()),
        Some(Memory::Text(text)) => (
            text.trim()
                .parse::<ByteSize>()
                .ok()
                .map(|size| size.as_u64()),
            format!("\"{text}\""),
        ),
    };
    match bytes {
        None => {
            let message = format!("{typed} is not an amount of memory");
            Err(Error::setting(KEY, message, HELP))
        }
        Some(bytes) if bytes < MIN_MEMORY_BYTES => Err(Error::setting(
            KEY,
            format!("{typed} is too little to work in"),
            format!("give at least {}MiB", MIN_MEMORY_BYTES >> 20),
        )),
        Some(bytes) => match container {
            Some(limit) if bytes > limit.bytes => Err(Error::setting(
                KEY,
                format!(
                    "{typed} is more than the {} that the container has ({})",
                    ByteSize(limit.bytes),
                    limit.file.display()
                ),
                format!(
                    "leave it out, which gives {}, or raise the container's limit",
                    ByteSize(default_memory(container).0)
                ),
            )),
            _ => Ok((bytes, None)),
        },
    }
}

fn default_memory(container: Option<&MemoryLimit>) -> (u64, Option<MemoryLimit>) {
    match container {
        Some(limit) if limit.bytes / CONTAINER_SHARE < DEFAULT_MEMORY_BYTES => {
            (limit.bytes / CONTAINER_SHARE, Some(limit.clone()))
        }
        _ => (DEFAULT_MEMORY_BYTES, None),
    }
}
