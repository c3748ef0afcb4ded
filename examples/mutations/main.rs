//! Gives mutated shards and images to the library, one after another, as a run would take them.
//!
//! ```text
//! mutations run shard|image SEED FROM TO          a line a mutant: its number, then how it ended, microseconds, peak KiB
//! mutations write shard|image SEED FROM TO DIR    writes them as shards into DIR, for the command line
//! ```
//!
//! `scripts/check_mutations` starts it, watches it and counts. A mutant is a function of kind, seed and number alone. The
//! number is printed before the mutant is tried, so that an abort or a hang can be told.

mod bytes;
mod images;
mod shards;
#[path = "../../fuzz/src/targets.rs"]
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "it is the fuzz targets' public module"
)]
mod targets;
mod thrift;

use std::fs;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Instant;

use bovw::job::OnBadImage;

/// What makes the mutants of a kind.
enum Kind {
    Shard(shards::Bases),
    Image(images::Bases),
}

impl Kind {
    fn of(name: &str) -> Result<Kind, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        match name {
            "shard" => Ok(Kind::Shard(shards::Bases::read(root))),
            "image" => Ok(Kind::Image(images::Bases::read(root))),
            other => Err(format!("{other} is neither shard nor image")),
        }
    }

    /// Mutant `n` as a shard.
    fn mutant(&self, seed: u64, n: u64) -> Vec<u8> {
        match self {
            Kind::Shard(bases) => bases.mutant(seed, n),
            Kind::Image(bases) => shards::around_image(&bases.mutant(seed, n)),
        }
    }

    /// A bad image must end a run where images are what is mutated; else it must not, so that more of the shard is read.
    fn on_bad_image(&self, n: u64) -> OnBadImage {
        match self {
            Kind::Image(_) => OnBadImage::Fail,
            Kind::Shard(_) => {
                [OnBadImage::Zero, OnBadImage::Drop, OnBadImage::Fail][n as usize % 3]
            }
        }
    }
}

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["run", kind, seed, from, to] => {
            run(&Kind::of(kind)?, number(seed)?, number(from)?..number(to)?)
        }
        ["write", kind, seed, from, to, dir] => {
            let (kind, seed) = (Kind::of(kind)?, number(seed)?);
            for n in number(from)?..number(to)? {
                let path = Path::new(dir).join(format!("{n}.parquet"));
                fs::write(path, kind.mutant(seed, n)).map_err(|error| error.to_string())?;
            }
            Ok(())
        }
        _ => Err("usage: mutations run|write shard|image SEED FROM TO [DIR]".to_owned()),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn run(kind: &Kind, seed: u64, mutants: std::ops::Range<u64>) -> Result<(), String> {
    // Caught panics of libraries are no news, and others are told below.
    panic::set_hook(Box::new(|_| {}));
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    for n in mutants {
        let bytes = kind.mutant(seed, n);
        write!(out, "{n}")
            .and_then(|()| out.flush())
            .map_err(|error| error.to_string())?;
        reset_peak();
        let start = Instant::now();
        let how = how_it_ends(kind, n, dir.path(), &bytes);
        let micros = start.elapsed().as_micros();
        writeln!(out, " {how} {micros} {}", peak_kib()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// One word: `refused`, `read`, or `broken:` and why.
fn how_it_ends(kind: &Kind, n: u64, dir: &Path, bytes: &[u8]) -> String {
    let on_bad_image = kind.on_bad_image(n);
    let tried = panic::catch_unwind(AssertUnwindSafe(|| {
        targets::shard_read(dir, bytes, on_bad_image, n.is_multiple_of(2))
    }));
    match tried {
        Ok(Ok(())) => "read".to_owned(),
        Ok(Err(_)) => "refused".to_owned(),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.unwrap_or_else(|| "panic".to_owned());
            format!(
                "broken:{}",
                message.split_whitespace().collect::<Vec<_>>().join("_")
            )
        }
    }
}

/// Forgets the process's peak of resident memory; where the system cannot, the peak is that of all mutants so far.
fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident memory since then; 0 where the system does not say.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
