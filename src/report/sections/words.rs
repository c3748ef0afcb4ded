//! The vocabulary as a mosaic.

use crate::kernel::grid::PatchShape;
use crate::kernel::vocabulary::Vocabulary;
use crate::report::paint::Painter;
use crate::report::run_files::SizeFiles;
use crate::report::sheet::Sheet;
use crate::report::text::{count, patch_size};
use crate::report::tile::{Picture, Range, Tile, mosaic};

use super::clusters::share;

/// Words that are shown, at most.
const MAX_WORDS: usize = 200;

/// Words in a row of the picture.
const COLUMNS: usize = 10;

pub(in crate::report) struct Words {
    pub(in crate::report) k: String,
    pub(in crate::report) shape: String,
    pub(in crate::report) is_color: bool,
    pub(in crate::report) tiles: Vec<(Picture, String)>,
    pub(in crate::report) n_left_out: usize,
    pub(in crate::report) file: String,
}

pub(in crate::report) fn words(size: &SizeFiles, painter: &mut Painter) -> Words {
    let vocabulary = &size.vocabulary;
    let patch = vocabulary.preparation.patch;
    let total: u64 = vocabulary.counts.iter().sum();
    let order = by_use(vocabulary);
    let scale = scale(vocabulary);
    let tiles: Vec<(usize, Tile, String)> = order
        .iter()
        .map(|&word| {
            let share = share(vocabulary.counts[word] as f64, total as f64);
            (word, word_tile(vocabulary, word, scale), share)
        })
        .collect();
    let file = painter.order(
        &size.picture("words"),
        Sheet {
            title: title(vocabulary.k(), tiles.len()),
            columns: match tiles.len() {
                0..=100 => COLUMNS,
                _ => 2 * COLUMNS,
            },
            side: 48,
            tiles: tiles
                .iter()
                .map(|(_, tile, share)| (Some(tile.clone()), share.clone()))
                .collect(),
        }
        .alone(),
        Tile::ink(patch),
    );
    Words {
        k: count(vocabulary.k() as u64),
        shape: patch_size(patch),
        is_color: patch.channels > 1,
        n_left_out: vocabulary.k() - tiles.len(),
        tiles: tiles
            .into_iter()
            .map(|(word, tile, share)| {
                (
                    tile.picture(format!("Word {word}, {share} of the sample")),
                    share,
                )
            })
            .collect(),
        file,
    }
}

/// Words in a row of a picture of nothing else.
const ALONE_COLUMNS: usize = 20;

/// The most used words alone, for a notebook: one picture, as HTML.
pub(in crate::report) fn html(vocabulary: &Vocabulary) -> String {
    let patch = vocabulary.preparation.patch;
    let order = by_use(vocabulary);
    let scale = scale(vocabulary);
    let tiles: Vec<Tile> = order
        .iter()
        .map(|&word| word_tile(vocabulary, word, scale))
        .collect();
    let picture = mosaic(&tiles, ALONE_COLUMNS.min(tiles.len()), "");
    let side = patch.height.max(patch.width) as usize;
    let zoom = (ALONE_SIDE / side.max(1)).max(1);
    format!(
        "<figure style=\"margin:0\"><img alt=\"{title}\" width=\"{}\" height=\"{}\" \
         style=\"image-rendering:pixelated\" src=\"{}\"><figcaption>{title}</figcaption></figure>",
        zoom * picture.width,
        zoom * picture.height,
        picture.uri,
        title = format_args!(
            "{} of {} {} patches, in order of use",
            match vocabulary.k() == tiles.len() {
                true => count(vocabulary.k() as u64),
                false => format!("{} of {}", tiles.len(), count(vocabulary.k() as u64)),
            } + " words",
            count(vocabulary.counts.iter().sum()),
            patch_size(patch),
        ),
    )
}

/// Side of a word in such a picture, about, in pixels of the page.
const ALONE_SIDE: usize = 36;

/// The words that are shown, most used first.
fn by_use(vocabulary: &Vocabulary) -> Vec<usize> {
    let mut order: Vec<usize> = (0..vocabulary.k()).collect();
    order.sort_by_key(|&word| (std::cmp::Reverse(vocabulary.counts[word]), word));
    order.truncate(MAX_WORDS);
    order
}

fn title(k: usize, n_shown: usize) -> String {
    match k == n_shown {
        true => format!("The {k} words, in order of use, with their share of the sample"),
        false => format!("The {n_shown} most used of {k} words, with their share of the sample"),
    }
}

/// A word, scaled by itself; a flat one, and one in colour, as it is beside the others.
fn word_tile(vocabulary: &Vocabulary, word: usize, scale: Range) -> Tile {
    let patch = vocabulary.preparation.patch;
    let values = word_values(vocabulary, word);
    let range = own_range(patch, values.iter().copied(), scale);
    Tile::new(&values, patch, range)
}

/// What of grey fills all of its own range shows its shape. Stretched colour would be another one: it keeps the scale of all.
pub(in crate::report) fn own_range(
    patch: PatchShape,
    values: impl Iterator<Item = f64>,
    scale: Range,
) -> Range {
    match patch.channels {
        1 => Range::of(values).unless_flat(scale),
        _ => scale,
    }
}

/// The values of a word.
pub(in crate::report) fn word_values(vocabulary: &Vocabulary, word: usize) -> Vec<f64> {
    let d = vocabulary.d();
    let values = &vocabulary.centroids[word * d..][..d];
    values.iter().map(|&value| f64::from(value)).collect()
}

/// The values of all words.
pub(in crate::report) fn scale(vocabulary: &Vocabulary) -> Range {
    Range::of(vocabulary.centroids.iter().map(|&value| f64::from(value)))
}
