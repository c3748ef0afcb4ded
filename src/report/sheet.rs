//! Sheets: tiles in rows, each with a caption, as one SVG to be drawn as PNG. The page arranges the same tiles itself.

use askama::Template;

use super::paint::FAMILY;
use super::text::short;
use super::tile::Tile;

/// Distance between tiles.
const GAP: usize = 10;

/// Height of a caption.
const CAPTION: usize = 17;

/// Characters of a caption that widen the tiles' places, at most.
const MAX_CAPTION: usize = 12;

/// A sheet.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    /// What it shows.
    pub(super) title: String,
    /// Tiles in a row.
    pub(super) columns: usize,
    /// Side that a tile is drawn with, about.
    pub(super) side: usize,
    /// The tiles, row by row; without a tile the place stays empty.
    pub(super) tiles: Vec<(Option<Tile>, String)>,
}

struct Placed {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    uri: String,
    middle: usize,
    below: usize,
    caption: String,
}

#[derive(Template)]
#[template(path = "sheet.svg")]
struct SheetSvg<'a> {
    family: &'a str,
    title: &'a str,
    width: usize,
    height: usize,
    tiles: Vec<Placed>,
}

impl Sheet {
    /// The sheet as a file of its own.
    pub(super) fn alone(&self) -> String {
        let shown = || self.tiles.iter().filter_map(|(tile, _)| tile.as_ref());
        let tallest = shown().map(|tile| tile.height).max().unwrap_or(1);
        let widest = shown().map(|tile| tile.width).max().unwrap_or(1);
        // A whole number of screen pixels a pixel keeps them square and sharp.
        let zoom = (self.side / tallest.max(widest)).max(1);
        let caption_chars = self
            .tiles
            .iter()
            .map(|(_, caption)| caption.chars().count());
        let caption_chars = caption_chars.max().unwrap_or(0).min(MAX_CAPTION);
        let caption = if caption_chars > 0 { CAPTION } else { 0 };
        let cell_width = (widest * zoom).max(6 * caption_chars) + GAP;
        let cell_height = tallest * zoom + GAP + caption;
        let top = if self.title.is_empty() { GAP } else { 40 };
        let columns = self.columns.max(1);
        let tiles = self
            .tiles
            .iter()
            .enumerate()
            .filter_map(|(at, (tile, caption))| {
                let tile = tile.as_ref()?;
                let (width, height) = (tile.width * zoom, tile.height * zoom);
                let (left, upper) = (
                    GAP + at % columns * cell_width,
                    top + at / columns * cell_height,
                );
                Some(Placed {
                    x: left + (cell_width - GAP - width) / 2,
                    y: upper + (tallest * zoom - height),
                    width,
                    height,
                    uri: tile.uri(),
                    middle: left + (cell_width - GAP) / 2,
                    below: upper + tallest * zoom + 14,
                    caption: short(caption, MAX_CAPTION.max(cell_width / 6)),
                })
            });
        let svg = SheetSvg {
            family: FAMILY,
            title: &self.title,
            width: (GAP + columns.min(self.tiles.len().max(1)) * cell_width)
                .max(2 * GAP + 7 * self.title.chars().count()),
            height: top + self.tiles.len().div_ceil(columns) * cell_height,
            tiles: tiles.collect(),
        };
        svg.render()
            .unwrap_or_else(|error| unreachable!("into memory: {error}"))
    }
}
