//! `bovw synth`: shards of drawn images, any number of them.

use std::time::Instant;

use bovw::import::{Summary, Target};
use bovw::synth::{self, Compression, Encoding, Kind, Options, ZstdLevel};
use bovw::{Error, Result};
use serde_json::json;

use super::args::{GlobalArgs, SynthArgs, SynthCompression, SynthEncoding, SynthKind};
use super::import::bar;
use super::output::{
    bytes, count, note, note_rows, path_text, print, print_json, seconds, table, written_row,
};
use super::process::{self, INTERRUPTED};
use super::style::Style;

/// The least time that a rate is told for.
const MIN_SECONDS: f64 = 1e-3;

pub(crate) fn synth(args: &SynthArgs, global: &GlobalArgs) -> Result<()> {
    process::handle_signals();
    let bar = bar(global, "synth");
    bar.set_length(args.images);
    let start = Instant::now();
    let result = synth::make(
        &options(args, global),
        &target(args),
        &|done| bar.set_position(done),
        &INTERRUPTED,
    );
    bar.finish_and_clear();
    if let Err(Error::Interrupted) = result {
        note("interrupted; no shard was written");
    }
    report(&result?, start.elapsed().as_secs_f64(), global)
}

fn options(args: &SynthArgs, global: &GlobalArgs) -> Options {
    Options {
        n_images: args.images,
        sizes: args.size,
        kind: match args.kind {
            SynthKind::Digits => Kind::Digits,
            SynthKind::Textures => Kind::Textures,
        },
        encoding: match args.encoding {
            SynthEncoding::Png => Encoding::Png,
            SynthEncoding::Raw => Encoding::Raw,
        },
        seed: args.seed,
        row_group_images: args.row_group_images.map(|n| n.get() as usize),
        compression: match args.compression {
            SynthCompression::None => Compression::UNCOMPRESSED,
            SynthCompression::Snappy => Compression::SNAPPY,
            SynthCompression::Lz4 => Compression::LZ4_RAW,
            SynthCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
        },
        threads: match global.threads.unwrap_or(0) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads as usize,
        },
    }
}

fn target(args: &SynthArgs) -> Target {
    Target {
        out: args.out.clone(),
        name: args.name.clone(),
        rows_per_shard: args.shard_images.get(),
        overwrite: args.overwrite,
    }
}

fn report(summary: &Summary, elapsed: f64, global: &GlobalArgs) -> Result<()> {
    let per_second = |amount: u64| (amount as f64 / elapsed.max(MIN_SECONDS)) as u64;
    if global.json {
        let shards = summary.shards.iter().map(|shard| path_text(shard));
        return print_json(&json!({
            "event": "synthesized",
            "images": summary.images,
            "shards": shards.collect::<Vec<String>>(),
            "notes": summary.notes,
            "bytes": summary.bytes,
            "seconds": elapsed,
            "memory": process::memory(),
        }));
    }
    let style = Style::of(global.color, &std::io::stdout());
    let mut rows = vec![
        written_row(summary.images, summary.shards.len(), summary.bytes),
        (
            "time".to_owned(),
            format!(
                "{}: {} images and {} a second",
                seconds(elapsed),
                count(per_second(summary.images)),
                bytes(per_second(summary.bytes))
            ),
        ),
    ];
    rows.extend(note_rows(&summary.notes));
    if let Some(first) = summary.shards.first() {
        rows.push(("first".to_owned(), first.display().to_string()));
    }
    print(format!("{}\n{}", style.bold("Drawn"), table(&rows)))
}
