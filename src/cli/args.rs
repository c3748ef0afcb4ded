//! What can be typed: commands, options and their help. Parses and prints help; does nothing else.

use std::fmt;
use std::io::{self, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bovw::import::csv::LabelColumn;
use bovw::job::Overrides;
use bovw::passes::task::Kind;
use bovw::passes::verify::DEFAULT_SAMPLE;
use bovw::synth::Sizes;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const TOP_EXAMPLES: &str = "\
Examples:
  bovw import csv mnist.csv --out data    make shards of what you have
  bovw inspect data/*.parquet             see what is in them
  bovw plan job.toml                      check a job, see what it needs
  bovw run job.toml                       run it; again, to continue

Words:
  patch       a window cut from an image
  word        one of the k patches that stand for all others
  vocabulary  all words together
  cluster     one of the groups that k-means makes of whole images
  shard       a Parquet file of images, stored in row groups
  batch       the images that are worked on at once
  task        a file of a job, or some row groups of it

Exit status:
  0 done, 1 failed, 2 bad usage or job, 3 done but with more bad images than
  allowed, 4 the output belongs to a different job, 130 interrupted";

const RUN_EXAMPLES: &str = "\
Examples:
  bovw run job.toml
  bovw run job.toml --set vocabulary.k=200 --set output.dir=../out/k200
  bovw run job.toml --set 'input.files=[\"a.parquet\", \"b.parquet\"]'
  bovw run job.toml --fresh --memory 512MiB --threads 4";

const PLAN_EXAMPLES: &str = "\
Examples:
  bovw plan job.toml
  bovw plan job.toml --set sample.per_image=0.5 --memory 256MiB
  bovw plan job.toml --json";

const TASK_EXAMPLES: &str = "\
A task is one file of the job, or some row groups of it. Each kind of work is
done by all tasks, in any order, anywhere, and then merged once:
  bovw task plan job.toml
  bovw task run job.toml --kind sample 0-99
  bovw task merge job.toml --kind sample
  bovw task run job.toml --kind featurize 0-99
  bovw task merge job.toml --kind featurize

Results are those of `bovw run job.toml`, byte for byte.";

const TASK_PLAN_EXAMPLES: &str = "\
Examples:
  bovw task plan job.toml
  bovw task plan job.toml --max-row-groups 8 --json";

const TASK_RUN_EXAMPLES: &str = "\
Examples:
  bovw task run job.toml --kind sample 0
  bovw task run job.toml --kind featurize 3-7 12
  seq 0 99 | xargs -P 8 -n 1 bovw task run job.toml --threads 1 --kind sample

A task that is done is not done again; one that was killed is run once more.";

const TASK_MERGE_EXAMPLES: &str = "\
Examples:
  bovw task merge job.toml --kind sample
  bovw task merge job.toml --kind featurize";

const INSPECT_EXAMPLES: &str = "\
Examples:
  bovw inspect data/*.parquet
  bovw inspect out/vocabulary.parquet out/features/*.parquet --json";

const EVALUATE_EXAMPLES: &str = "\
Examples:
  bovw evaluate out/clusters/pixels-k10.parquet --labels label --clusters cluster
  bovw evaluate mine.csv --labels species --clusters group --json

All rows of all files are counted together. Rows without a label or without a
cluster are counted and left out. Scores are defined as in scikit-learn.";
const REPORT_EXAMPLES: &str = "\
Examples:
  bovw report out/digits
  bovw report out/digits --json";

const VERIFY_EXAMPLES: &str = "\
Examples:
  bovw verify out/digits
  bovw verify out/digits --sample 1000 --json

Hashes, rows, footers and sums of all files are checked; vectors and clusters
of a sample of the images are computed again by brute force. Exit status 1 says
that something is wrong.";

const STREAM_EXAMPLES: &str = "\
Examples:
  producer | bovw stream job.toml --kind featurize > vectors.arrows
  producer | bovw stream job.toml --kind sample --rows id > part-1.arrows
  bovw stream job.toml --kind learn part-*.arrows --vocabulary words.parquet

Batches are in Arrow's IPC streaming format. All columns but the image's pass
through; features, n_patches and, where bad images keep a row, status are
added. The job says what becomes of an image; its input.files are not read.
Without --vocabulary the words are those in its output.dir.";

const IDX_EXAMPLES: &str = "\
Examples:
  bovw import idx t10k-images-idx3-ubyte.gz --out data/mnist --name test
  bovw import idx images.idx --labels labels.idx --out data/mnist";

const CSV_EXAMPLES: &str = "\
Examples:
  bovw import csv mnist.csv --label last --out data/mnist
  bovw import csv faces.csv --label none --height 48 --width 40 --out data/faces";

const IMAGES_EXAMPLES: &str = "\
Examples:
  bovw import images photos/ --label folder --out data/photos
  bovw import images scans/*.tif --strict --out data/scans";

const SYNTH_EXAMPLES: &str = "\
Examples:
  bovw synth --images 6000000 --size 28x28 --out data/digits-6m
  bovw synth --images 1000 --size 20x20..40x60 --kind textures --out data/mixed
  bovw synth --images 60000 --encoding raw --shard-images 60000 --out data/raw

Image i is the same whatever --images, --shard-images and --threads are.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  bovw completions bash > ~/.local/share/bash-completion/completions/bovw
  bovw completions zsh > ~/.zfunc/_bovw
  bovw completions fish > ~/.config/fish/completions/bovw.fish";

/// Image collections of any size in, bag-of-patches vectors out.
#[derive(Debug, Parser)]
#[command(name = "bovw", version, about, after_help = TOP_EXAMPLES, propagate_version = true)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Worker threads a stage; 0: every core
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<u32>,
    /// Ceiling of heap memory, such as 512MiB or 4GiB
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Write results to stdout as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write nothing to stderr but errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Progress on stderr; auto: bars on a terminal, plain lines elsewhere
    #[arg(long, global = true, value_name = "HOW", value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,
    /// When colour is used; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

impl GlobalArgs {
    /// What these options, and the container that the command runs in, say of a job.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            threads: self.threads,
            memory: self.memory.clone(),
            container: bovw::container::memory_limit(),
        }
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    Auto,
    Bar,
    Plain,
    None,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job, from where it stopped if it was interrupted
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Check a job and print all that it would do; write nothing
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(JobArgs),
    /// Cut a job into tasks for many machines, run them, merge what they made
    #[command(subcommand, after_help = TASK_EXAMPLES)]
    Task(TaskCommand),
    /// Turn Arrow record batches on stdin into Arrow record batches on stdout
    #[command(after_help = STREAM_EXAMPLES)]
    Stream(StreamArgs),
    /// Say what is in a shard, a vocabulary or a features file
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Score clusters against labels, in Parquet or CSV files from anywhere
    #[command(after_help = EVALUATE_EXAMPLES)]
    Evaluate(EvaluateArgs),
    /// Draw the pictures and the report of a finished run again
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Check that a finished run's files are whole and right
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Make shards of the images you have
    #[command(subcommand)]
    Import(Import),
    /// Draw images and make shards of them, as many as you like
    #[command(after_help = SYNTH_EXAMPLES)]
    Synth(SynthArgs),
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

/// A job, and what is changed of it.
#[derive(Debug, Clone, Args)]
pub(crate) struct JobArgs {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,
    /// Set a key of the job, in TOML syntax; repeatable, later ones win
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

/// Of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Start over: remove what an earlier run of this job left
    #[arg(long)]
    pub(crate) fresh: bool,
}

/// What is done with tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Cut a job into tasks, and say what to run
    #[command(after_help = TASK_PLAN_EXAMPLES)]
    Plan(TaskPlanArgs),
    /// Run some tasks; in any order, on any machine, any number of times
    #[command(after_help = TASK_RUN_EXAMPLES)]
    Run(TaskRunArgs),
    /// Merge what all tasks made of a kind of work
    #[command(after_help = TASK_MERGE_EXAMPLES)]
    Merge(TaskMergeArgs),
}

/// Of `task plan`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskPlanArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Row groups of a task, at most; without it a task is a file
    #[arg(long, value_name = "N")]
    pub(crate) max_row_groups: Option<NonZeroUsize>,
    /// Start over: remove what an earlier run of this job, or its tasks, left
    #[arg(long)]
    pub(crate) fresh: bool,
}

/// Of `task run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskRunArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Which work
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) kind: TaskKind,
    /// Tasks by their numbers, or ranges of them, such as 3-7
    #[arg(value_name = "TASK", required = true)]
    pub(crate) tasks: Vec<TaskRange>,
}

/// Of `task merge`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskMergeArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Which work
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) kind: TaskKind,
}

/// What tasks can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskKind {
    /// Sample patches; merged, they give the vocabulary
    Sample,
    /// Count in how many images words occur, for tf-idf
    Documents,
    /// Write vectors; merged, the run is done
    Featurize,
}

impl TaskKind {
    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        Kind::from(self).name()
    }
}

impl From<TaskKind> for Kind {
    fn from(kind: TaskKind) -> Kind {
        match kind {
            TaskKind::Sample => Kind::Sample,
            TaskKind::Documents => Kind::Documents,
            TaskKind::Featurize => Kind::Featurize,
        }
    }
}

/// Tasks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRange {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl TaskRange {
    /// Whether a task is one of them.
    pub(crate) fn contains(self, task: usize) -> bool {
        (self.first..=self.last).contains(&task)
    }
}

impl FromStr for TaskRange {
    type Err = String;

    fn from_str(text: &str) -> Result<TaskRange, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(TaskRange { first, last }),
            _ => Err("give a task's number, or a range such as 3-7".to_owned()),
        }
    }
}

impl fmt::Display for TaskRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Of `inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectArgs {
    /// Parquet files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Of `evaluate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct EvaluateArgs {
    /// Parquet or CSV files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Column of the labels: numbers, texts, or true and false
    #[arg(long, value_name = "COLUMN")]
    pub(crate) labels: String,
    /// Column of the clusters, likewise
    #[arg(long, value_name = "COLUMN")]
    pub(crate) clusters: String,
}

/// Of `report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// The directory of a finished run
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Of `verify`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// The directory of a finished run
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Images whose vectors and clusters are computed again
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SAMPLE)]
    pub(crate) sample: u64,
}

/// Of `stream`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// What comes out: vectors of images, a sketch of them, or words of sketches
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) kind: StreamKind,
    /// Sketches, for learn
    #[arg(value_name = "SKETCH")]
    pub(crate) sketches: Vec<PathBuf>,
    /// Words to featurize with, one file for each size of patches; where learn writes them
    #[arg(long, value_name = "FILE")]
    pub(crate) vocabulary: Vec<PathBuf>,
    /// Column with the number of each image, for sample; made of its pixels without it
    #[arg(long, value_name = "COLUMN")]
    pub(crate) rows: Option<String>,
    /// Type of the vectors, for featurize; fixed-size-list without it
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) layout: Option<StreamLayout>,
}

/// What `stream` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamKind {
    Featurize,
    Sample,
    Learn,
}

/// How vectors are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamLayout {
    FixedSizeList,
    List,
}

/// What `import` reads.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// IDX files, as MNIST comes; plain or gzipped
    #[command(after_help = IDX_EXAMPLES)]
    Idx(IdxArgs),
    /// A CSV file with one image a row, one pixel a column
    #[command(after_help = CSV_EXAMPLES)]
    Csv(CsvArgs),
    /// Image files, and folders of them
    #[command(after_help = IMAGES_EXAMPLES)]
    Images(ImagesArgs),
}

/// Of every `import`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shards")]
pub(crate) struct ShardArgs {
    /// Folder the shards are written to; made if missing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// First part of the shards' file names
    #[arg(long, value_name = "NAME", default_value = "images")]
    pub(crate) name: String,
    /// Images in a shard
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(crate) rows_per_shard: NonZeroU64,
    /// Replace shards of that name
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// Of `import idx`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IdxArgs {
    /// The images
    #[arg(value_name = "IMAGES")]
    pub(crate) images: PathBuf,
    /// Their labels
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) shards: ShardArgs,
}

/// Of `import csv`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CsvArgs {
    /// The CSV file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Label column: detect, first, last, none, or its name in the header
    #[arg(long, value_name = "COLUMN", default_value = "detect")]
    pub(crate) label: LabelColumn,
    /// Rows of pixels in an image; without it images are square
    #[arg(long, value_name = "PIXELS", requires = "width", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) height: Option<u32>,
    /// Pixels in a row
    #[arg(long, value_name = "PIXELS", requires = "height", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) width: Option<u32>,
    /// Whether the first line names the columns
    #[arg(long, value_name = "WHETHER", value_enum, default_value_t = Header::Detect)]
    pub(crate) header: Header,
    /// What separates fields, one character
    #[arg(long, value_name = "CHAR", default_value_t = ',')]
    pub(crate) delimiter: char,
    #[command(flatten)]
    pub(crate) shards: ShardArgs,
}

/// Whether the first line of a CSV file names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Header {
    /// It does if it holds no numbers
    Detect,
    /// It does
    Yes,
    /// It does not
    No,
}

/// Of `import images`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImagesArgs {
    /// Image files, or folders to be searched for them
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Where an image's label comes from; folder: the name of its folder
    #[arg(long, value_name = "FROM", value_enum, default_value_t = ImageLabel::Detect)]
    pub(crate) label: ImageLabel,
    /// Fail at the first file that is not an image, instead of skipping it
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) shards: ShardArgs,
}

/// Where an image file's label comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageLabel {
    /// The name of its folder, if all images are in folders side by side
    Detect,
    /// The name of its folder
    Folder,
    /// It has none
    None,
}

/// Of `synth`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SynthArgs {
    /// How many images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=bovw::synth::MAX_IMAGES))]
    pub(crate) images: u64,
    /// Height and width in pixels, or the least and the most, as in 20x20..40x60
    #[arg(long, value_name = "HxW", default_value = "28x28")]
    pub(crate) size: Sizes,
    /// What is drawn
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = SynthKind::Digits)]
    pub(crate) kind: SynthKind,
    /// How an image is stored
    #[arg(long, value_name = "HOW", value_enum, default_value_t = SynthEncoding::Png)]
    pub(crate) encoding: SynthEncoding,
    /// Seed of every draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder the shards are written to; made if missing
    #[arg(long, value_name = "DIR", help_heading = "Shards")]
    pub(crate) out: PathBuf,
    /// First part of the shards' file names
    #[arg(
        long,
        value_name = "NAME",
        default_value = "synth",
        help_heading = "Shards"
    )]
    pub(crate) name: String,
    /// Images in a shard; 512 MiB of them fill one, too
    #[arg(
        long,
        value_name = "N",
        default_value = "10000",
        help_heading = "Shards"
    )]
    pub(crate) shard_images: NonZeroU64,
    /// Images in a row group, which is held in memory; 1000, or 32 MiB of them, if not given
    #[arg(long, value_name = "N", help_heading = "Shards")]
    pub(crate) row_group_images: Option<NonZeroU64>,
    /// Compression of the image column
    #[arg(long, value_name = "HOW", value_enum, default_value_t = SynthCompression::None, help_heading = "Shards")]
    pub(crate) compression: SynthCompression,
    /// Replace shards of that name
    #[arg(long, help_heading = "Shards")]
    pub(crate) overwrite: bool,
}

/// What `synth` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynthKind {
    /// Handwritten digits; the label is the digit
    Digits,
    /// Waves and checks; the label is their kind and direction
    Textures,
}

/// How `synth` stores an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynthEncoding {
    /// As PNG, in Hugging Face's layout
    Png,
    /// As grey pixels in a binary column; all images have one size
    Raw,
}

/// How `synth` compresses the image column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynthCompression {
    None,
    Snappy,
    Lz4,
    Zstd,
}

/// Of `completions`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Of `man`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ManArgs {
    /// Write a page for every command to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// The completions for `shell`, as a script.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bovw", &mut script);
    script
}

/// Writes the manual page of `bovw` to `out`.
pub(crate) fn man_page(out: &mut impl Write) -> io::Result<()> {
    clap_mangen::Man::new(Cli::command()).render(out)
}

/// Writes a manual page for every command to `dir`, which is made if missing.
pub(crate) fn man_pages(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_follow_the_command() {
        let cli = Cli::parse_from([
            "bovw",
            "run",
            "a.toml",
            "--set",
            "run.seed=1",
            "--threads",
            "3",
            "--set",
            "run.io=read",
            "-q",
        ]);
        assert_eq!(cli.global.threads, Some(3));
        assert!(cli.global.quiet);
        match cli.command {
            Command::Run(run) => assert_eq!(run.job.sets, ["run.seed=1", "run.io=read"]),
            other => panic!("{other:?}"),
        }
    }
}
