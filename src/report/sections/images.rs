//! A few images beside the pictures rebuilt from their words, those of the first size.

use crate::kernel::grid::{Grid, PatchShape};
use crate::kernel::image::PixelsRef;
use crate::kernel::nearest::{Scratch, Simd, Words, search};
use crate::kernel::rebuild::rebuild;
use crate::kernel::sample::Patches;
use crate::report::paint::Painter;
use crate::report::run_files::RunFiles;
use crate::report::sheet::Sheet;
use crate::report::text::{short, size};
use crate::report::tile::{Picture, Range, Tile};
use crate::shard::examples::ImageExample;

/// Images in a row of the picture.
const COLUMNS: usize = 4;

/// Side of an image in the page, at most.
const MAX_SIDE: usize = 160;

pub(in crate::report) struct Images {
    pub(in crate::report) pairs: Vec<Pair>,
    pub(in crate::report) are_cut: bool,
    pub(in crate::report) file: String,
}

/// An image, and the same rebuilt.
pub(in crate::report) struct Pair {
    pub(in crate::report) image: Picture,
    pub(in crate::report) rebuilt: Picture,
    pub(in crate::report) caption: String,
    pub(in crate::report) from: String,
}

/// Images and what their words make of them; `None` where none were kept.
pub(in crate::report) fn images(files: &RunFiles, painter: &mut Painter) -> Option<Images> {
    let vocabulary = &files.sizes[0].vocabulary;
    if !vocabulary.preparation.is_by_image() {
        // A whitened patch, or one with a scaling of its own, does not say which pixels it was.
        return None;
    }
    // The instruction set changes no word.
    let words = Words::new(
        &vocabulary.centroids,
        vocabulary.preparation.patch,
        Simd::detect(),
    );
    let stride = files.manifest.job["patches"]["stride"].as_u64();
    let stride = stride
        .and_then(|stride| u32::try_from(stride).ok())
        .unwrap_or(1);
    let mut scratch = Scratch::default();
    let pairs: Vec<(&ImageExample, Tile, Tile)> = files
        .images
        .iter()
        // Of another colour than the words are, they could not be held against them.
        .filter(|image| image.channels == vocabulary.preparation.patch.channels)
        .filter_map(|image| {
            let rebuilt = rebuilt(files, image, &words, stride.max(1), &mut scratch)?;
            let original: Vec<f64> = image.pixels.iter().map(|&pixel| f64::from(pixel)).collect();
            let range = Range::of_pixels(original.iter().copied());
            let tile = |pixels: &[f64]| Tile::new(pixels, shape(image), range).at_most(MAX_SIDE);
            Some((image, tile(&original), tile(&rebuilt)))
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let ink = Tile::ink(vocabulary.preparation.patch);
    let file = painter.order("images", sheet(&pairs).alone(), ink);
    let is_cut = |image: &ImageExample| image.whole != [image.height, image.width];
    Some(Images {
        are_cut: pairs.iter().any(|(image, _, _)| is_cut(image)),
        pairs: pairs
            .into_iter()
            .map(|(image, original, rebuilt)| {
                let name = format!("row {} of {}", image.row, short(&image.file, 60));
                Pair {
                    image: original.picture(format!("Image in {name}")),
                    rebuilt: rebuilt
                        .picture(format!("The same image rebuilt from its words, {name}")),
                    caption: caption(image),
                    from: name,
                }
            })
            .collect(),
        file,
    })
}

fn shape(image: &ImageExample) -> PatchShape {
    PatchShape {
        height: image.height,
        width: image.width,
        channels: image.channels,
    }
}

fn caption(image: &ImageExample) -> String {
    let [height, width] = image.whole;
    let size = size(height, width);
    match &image.label {
        Some(label) => format!("{}, {size}", short(label, 40)),
        None => size,
    }
}

fn rebuilt(
    files: &RunFiles,
    image: &ImageExample,
    words: &Words,
    stride: u32,
    scratch: &mut Scratch,
) -> Option<Vec<f64>> {
    let patch = files.sizes[0].vocabulary.preparation.patch;
    let grid = Grid::new(image.height, image.width, patch, stride)?;
    let mut positions = Vec::new();
    grid.mark(0..grid.len(), &mut positions);
    let patches = Patches {
        image: 0,
        scaling: image.scaling,
        row_stride: shape(image).row_len() as u32,
        positions: &positions,
        pixels: PixelsRef::F32(&image.pixels),
    };
    let labels: Vec<u32> = search(words, &patches, scratch).each(&patches).collect();
    let centroids = &files.sizes[0].vocabulary.centroids;
    let values = rebuild(&labels, centroids, &grid, patch, image.height, image.width);
    let pixels = values.into_iter().map(|value| image.scaling.undo(value));
    Some(pixels.collect())
}

fn sheet(pairs: &[(&ImageExample, Tile, Tile)]) -> Sheet {
    let tiles = pairs.iter().flat_map(|(image, original, rebuilt)| {
        let label = image
            .label
            .clone()
            .unwrap_or_else(|| format!("row {}", image.row));
        [
            (Some(original.clone()), label),
            (Some(rebuilt.clone()), "rebuilt".to_owned()),
        ]
    });
    Sheet {
        title: "Images, each beside the picture rebuilt from its words".to_owned(),
        columns: 2 * COLUMNS.min(pairs.len()),
        side: 84,
        tiles: tiles.collect(),
    }
}
