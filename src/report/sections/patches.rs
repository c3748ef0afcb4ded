//! The sample of patches, and the real patches nearest to each word.

use crate::kernel::normalize::{Normalize, Scaling};
use crate::report::paint::Painter;
use crate::report::run_files::{RunFiles, SizeFiles};
use crate::report::sheet::Sheet;
use crate::report::text::{count, patch_size, plural};
use crate::report::tile::{Picture, Range, Tile, mosaic};
use crate::shard::examples::{PatchExample, PatchExamples};

use super::words::{own_range, scale, word_values};

/// Patches of the random set in a row.
const COLUMNS: usize = 20;

/// Words whose nearest patches are shown, at most.
const MAX_WORDS: usize = 64;

pub(in crate::report) struct Sample {
    pub(in crate::report) n_patches: String,
    pub(in crate::report) from: String,
    pub(in crate::report) shape: String,
    pub(in crate::report) random: Picture,
    pub(in crate::report) n_random: usize,
    pub(in crate::report) file: String,
}

pub(in crate::report) struct Nearest {
    pub(in crate::report) words: Vec<NearWord>,
    pub(in crate::report) n_words: String,
    pub(in crate::report) n_searched: String,
    pub(in crate::report) is_whole: bool,
    pub(in crate::report) file: String,
}

/// A word, and the patches nearest to it.
pub(in crate::report) struct NearWord {
    pub(in crate::report) number: u32,
    pub(in crate::report) word: Picture,
    pub(in crate::report) patches: Picture,
}

/// The sample; `None` where it was not kept, or there was none.
pub(in crate::report) fn sample(
    files: &RunFiles,
    size: &SizeFiles,
    painter: &mut Painter,
) -> Option<Sample> {
    let patches = size.patches.as_ref().filter(|p| !p.random.is_empty())?;
    let shape = patches.patch;
    let pixels = patches.random.iter().flat_map(|patch| patch.pixels.iter());
    let range = Range::of_pixels(pixels.map(|&pixel| f64::from(pixel)));
    let tiles: Vec<Tile> = patches
        .random
        .iter()
        .map(|patch| {
            let pixels: Vec<f64> = patch.pixels.iter().map(|&pixel| f64::from(pixel)).collect();
            Tile::new(&pixels, shape, range)
        })
        .collect();
    let n_random = tiles.len();
    let file = painter.order(
        &size.picture("patches"),
        Sheet {
            title: format!("{n_random} of {} sampled patches", patches.n_sampled),
            columns: COLUMNS.min(n_random),
            side: 36,
            tiles: tiles
                .iter()
                .map(|tile| (Some(tile.clone()), String::new()))
                .collect(),
        }
        .alone(),
        Tile::ink(shape),
    );
    Some(Sample {
        n_patches: count(patches.n_sampled),
        from: from(files),
        shape: patch_size(shape),
        random: mosaic(
            &tiles,
            COLUMNS,
            format!("{n_random} patches drawn at random from the sample"),
        ),
        n_random,
        file,
    })
}

/// Which images and how many patches of each the sample is from.
fn from(files: &RunFiles) -> String {
    let sample = &files.manifest.job["sample"];
    let every = match sample["every"].as_u64() {
        None | Some(1) => "every image".to_owned(),
        Some(n) => format!("one image in {}", count(n)),
    };
    let per_image = match &sample["per_image"] {
        share if share.is_f64() => format!("{share} of the patches"),
        number => format!("at most {number} patches"),
    };
    let limit = match sample["max_patches"].as_u64() {
        Some(most) => format!(", and no more than {} in all", count(most)),
        None => String::new(),
    };
    format!("{per_image} of {every}{limit}")
}

/// The patches nearest to each word; `None` where they were not kept.
pub(in crate::report) fn nearest(size: &SizeFiles, painter: &mut Painter) -> Option<Nearest> {
    let patches = size.patches.as_ref().filter(|p| !p.nearest.is_empty())?;
    let scale = scale(&size.vocabulary);
    let rows: Vec<(u32, Tile, Vec<Tile>)> = patches
        .nearest
        .chunk_by(|a, b| a.word == b.word)
        .filter(|near| (near[0].word as usize) < size.vocabulary.k())
        .take(MAX_WORDS)
        .map(|near| row(size, patches, near, scale))
        .collect();
    let per_word = rows
        .iter()
        .map(|(_, _, near)| near.len())
        .max()
        .unwrap_or(0);
    let file = painter.order(
        &size.picture("nearest"),
        sheet(&rows, per_word).alone(),
        Tile::ink(patches.patch),
    );
    let words = rows.iter().map(|(number, word, near)| NearWord {
        number: *number,
        word: word.picture(format!("Word {number}")),
        patches: mosaic(
            near,
            per_word,
            format!("The {} real patches nearest to word {number}", near.len()),
        ),
    });
    Some(Nearest {
        words: words.collect(),
        n_words: plural(size.vocabulary.k() as u64, "word", "words"),
        n_searched: count(patches.n_searched),
        is_whole: patches.n_searched == patches.n_sampled,
        file,
    })
}

/// A word and its patches, on one scale: what is alike looks alike. A whitened word is on its own, and its patches on one of
/// theirs: they were never white.
fn row(
    size: &SizeFiles,
    patches: &PatchExamples,
    near: &[PatchExample],
    scale: Range,
) -> (u32, Tile, Vec<Tile>) {
    let word = word_values(&size.vocabulary, near[0].word as usize);
    let preparation = &size.vocabulary.preparation;
    let values: Vec<Vec<f64>> = near
        .iter()
        .map(|patch| {
            let pixels = patch.pixels.iter();
            let pixels: Vec<f64> = pixels.map(|&pixel| f64::from(pixel)).collect();
            let scaling = match preparation.normalize {
                Normalize::Patch { epsilon } => Scaling::of_patch(&pixels, epsilon),
                Normalize::Image | Normalize::None => patch.scaling,
            };
            pixels.iter().map(|&pixel| scaling.apply(pixel)).collect()
        })
        .collect();
    let of_patches = || values.iter().flatten().copied();
    let (word_range, range) = if preparation.whiten.is_some() {
        let of_word = own_range(patches.patch, word.iter().copied(), scale);
        (of_word, Range::of(of_patches()))
    } else {
        let all = word.iter().copied().chain(of_patches());
        let range = own_range(patches.patch, all, scale);
        (range, range)
    };
    let tile = |values: &[f64], range| Tile::new(values, patches.patch, range);
    (
        near[0].word,
        tile(&word, word_range),
        values.iter().map(|values| tile(values, range)).collect(),
    )
}

/// Two words and their patches in a line.
fn sheet(rows: &[(u32, Tile, Vec<Tile>)], per_word: usize) -> Sheet {
    let mut tiles = Vec::new();
    for (number, word, near) in rows {
        tiles.push((Some(word.clone()), format!("word {number}")));
        let near = near.iter().map(|tile| (Some(tile.clone()), String::new()));
        let missing = per_word - near.len();
        tiles.extend(near);
        tiles.extend(vec![(None, String::new()); missing + 1]);
    }
    Sheet {
        title: format!("Each word, and the {per_word} real patches nearest to it"),
        columns: 2 * (per_word + 2),
        side: 36,
        tiles,
    }
}
