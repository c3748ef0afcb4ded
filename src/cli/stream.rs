//! `bovw stream`: a filter over Arrow record batches. Data on stdout, everything else on stderr.

use std::fs;
use std::io::{self, BufWriter, Cursor, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use bovw::guest::{Featurizer, Learner, VectorLayout, Work, no_auto, stream};
use bovw::job::{Color, Job, VocabularySource};
use bovw::kernel::vocabulary::Vocabulary;
use bovw::passes::progress::{Progress, Watch};
use bovw::shard::manifest::vocabulary_files;
use bovw::shard::vocabulary;
use bovw::{Error, Result};

use super::args::{GlobalArgs, StreamArgs, StreamKind, StreamLayout};
use super::output::{count, note};
use super::process::{self, INTERRUPTED};
use super::progress;

pub(crate) fn stream(args: &StreamArgs, global: &GlobalArgs) -> Result<()> {
    check(args)?;
    let job = Job::load(&args.job.job, &args.job.sets, &global.overrides())?;
    process::handle_signals();
    match args.kind {
        StreamKind::Featurize => featurize(job, args, global),
        StreamKind::Sample => sample(job, args, global),
        StreamKind::Learn => learn(job, args, global),
    }
}

/// Options of one kind that were given to another are a slip.
fn check(args: &StreamArgs) -> Result<()> {
    let usage = |message: &str| {
        Err(Error::Usage {
            message: message.to_owned(),
        })
    };
    match args.kind {
        StreamKind::Learn if args.sketches.is_empty() => {
            usage("--kind learn takes sketches: name the files that --kind sample wrote")
        }
        StreamKind::Learn if args.vocabulary.len() != 1 => {
            usage("--kind learn writes words: say where with one --vocabulary FILE")
        }
        StreamKind::Featurize | StreamKind::Sample if !args.sketches.is_empty() => {
            usage("only --kind learn takes files; images come on stdin")
        }
        StreamKind::Sample if !args.vocabulary.is_empty() => {
            usage("--kind sample needs no --vocabulary")
        }
        StreamKind::Featurize | StreamKind::Learn if args.rows.is_some() => {
            usage("only --kind sample numbers images: leave --rows out")
        }
        StreamKind::Sample | StreamKind::Learn if args.layout.is_some() => {
            usage("only --kind featurize writes vectors: leave --layout out")
        }
        _ => Ok(()),
    }
}

fn featurize(job: Job, args: &StreamArgs, global: &GlobalArgs) -> Result<()> {
    let words = words(&job, args)?;
    let work = Work {
        threads: job.run.threads,
        stop: &INTERRUPTED,
    };
    let featurizer = Arc::new(Featurizer::of_job(job, &words)?);
    let layout = match args.layout {
        None | Some(StreamLayout::FixedSizeList) => VectorLayout::FixedSizeList,
        Some(StreamLayout::List) => VectorLayout::List,
    };
    let output = BufWriter::new(io::stdout().lock());
    let streamed = stream::featurize(&featurizer, layout, Stdin::open()?, output, work)?;
    tell(global, || {
        let bad = match streamed.bad_images {
            0 => String::new(),
            n => format!(", {} of them bad", count(n)),
        };
        format!(
            "{} images in {} batches{bad}: vectors of {} values",
            count(streamed.images),
            count(streamed.batches),
            featurizer.n_values()
        )
    });
    Ok(())
}

fn sample(job: Job, args: &StreamArgs, global: &GlobalArgs) -> Result<()> {
    check_one_size(&job)?;
    let work = Work {
        threads: job.run.threads,
        stop: &INTERRUPTED,
    };
    let mut learner = Learner::of_job(job)?;
    let rows = args.rows.as_deref();
    let streamed = stream::sample(&mut learner, rows, Stdin::open()?, work)?;
    let mut stdout = io::stdout().lock();
    for sketch in learner.sketches()? {
        stdout
            .write_all(&sketch)
            .and_then(|()| stdout.flush())
            .map_err(|source| Error::io("stdout".as_ref(), "write", source))?;
    }
    tell(global, || {
        format!(
            "{} images in {} batches: a sketch of {} patches",
            count(streamed.images),
            count(streamed.batches),
            count(learner.n_patches())
        )
    });
    Ok(())
}

fn learn(job: Job, args: &StreamArgs, global: &GlobalArgs) -> Result<()> {
    check_one_size(&job)?;
    if job.features.needs_documents() {
        return Err(Error::setting(
            "features.weighting",
            "\"tf-idf\" counts words in all images, which sketches do not have",
            "leave it out, or use `bovw task`, which has tasks that count",
        ));
    }
    let mut learner = Learner::of_job(job)?;
    for path in &args.sketches {
        let sketch = fs::read(path).map_err(|source| Error::io(path, "read", source))?;
        learner.merge_sketches(&[&sketch], path)?;
    }
    let counters = Progress::default();
    let watch = Watch {
        interrupt: &INTERRUPTED,
        progress: &counters,
        on_event: &|_| (),
    };
    let learned = progress::show(global, &counters, || learner.learn(watch))?;
    for (learned, path) in learned.iter().zip(&args.vocabulary) {
        let words = &learned.vocabulary;
        vocabulary::write(path, words, &learner.provenance())?;
        tell(global, || {
            format!(
                "{} words of {} patches, inertia {:.4} a patch: {}",
                count(words.k() as u64),
                count(words.counts.iter().sum()),
                words.inertia_per_patch(),
                path.display()
            )
        });
    }
    Ok(())
}

fn tell(global: &GlobalArgs, line: impl Fn() -> String) {
    if !global.quiet {
        note(&line());
    }
}

/// The words that are named, or those of the job.
fn words(job: &Job, args: &StreamArgs) -> Result<Vec<Vocabulary>> {
    let paths = match (args.vocabulary.as_slice(), &job.vocabulary) {
        ([], VocabularySource::From(paths)) => paths.clone(),
        ([], VocabularySource::Learn(_)) => {
            let names = vocabulary_files(&job.patches());
            names.iter().map(|name| job.output.dir.join(name)).collect()
        }
        (given, _) => given.to_vec(),
    };
    paths
        .iter()
        .map(|path| match path.exists() {
            true => vocabulary::read(path).map(|(words, _)| words),
            false => Err(Error::Usage {
                message: format!(
                    "there are no words in {}\n  help: learn them first, with `bovw run`, `bovw task` or `bovw stream --kind learn`, or name them with --vocabulary",
                    path.display()
                ),
            }),
        })
        .collect()
}

/// A stream is one sketch, and one of many.
fn check_one_size(job: &Job) -> Result<()> {
    if job.input.color == Color::Auto {
        return Err(no_auto());
    }
    match job.preparations.len() {
        1 => Ok(()),
        n => Err(Error::setting(
            "patches.size",
            format!("{n} sizes of patches would be {n} sketches, and a stream is one"),
            "sample them one by one with --set patches.size=..., or use `bovw task`",
        )),
    }
}

/// Bytes of stdin that are read at once, and how many of such pieces wait.
const STDIN_BYTES: usize = 1 << 18;
const STDIN_PIECES: usize = 2;

/// How long whoever waits for stdin does not look for an interruption.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Stdin, read by a thread of its own, so that waiting for it can be interrupted.
struct Stdin {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Cursor<Vec<u8>>,
}

impl Stdin {
    fn open() -> Result<Stdin> {
        let (tell, pieces) = sync_channel(STDIN_PIECES);
        let read = move || {
            let mut stdin = io::stdin().lock();
            loop {
                let mut piece = vec![0; STDIN_BYTES];
                let read = stdin.read(&mut piece).map(|n| {
                    piece.truncate(n);
                    piece
                });
                let is_last = read.as_ref().is_ok_and(Vec::is_empty) || read.is_err();
                if tell.send(read).is_err() || is_last {
                    return;
                }
            }
        };
        // The thread ends with stdin, or with the process.
        thread::Builder::new()
            .name("bovw-stdin".to_owned())
            .spawn(read)
            .map_err(|source| Error::io("stdin".as_ref(), "start a thread to read", source))?;
        Ok(Stdin {
            pieces,
            piece: Cursor::default(),
        })
    }
}

impl Read for Stdin {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.piece.read(out)?;
            if n > 0 || out.is_empty() {
                return Ok(n);
            }
            match self.pieces.recv_timeout(LOOK_EVERY) {
                Ok(piece) => self.piece = Cursor::new(piece?),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) if INTERRUPTED.load(Relaxed) => {
                    return Err(ErrorKind::Interrupted.into());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
