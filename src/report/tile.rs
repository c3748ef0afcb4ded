//! Tiles: small pictures, grey or in colour, as PNG. Values are scaled to 0..255 here and nowhere else: the channels of a
//! pixel on one scale, so that grey stays grey.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::paint::Ink;
use crate::kernel::grid::PatchShape;

/// From the value that is black to the one that is white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows of pixels.
    pub(super) height: usize,
    /// Pixels in a row.
    pub(super) width: usize,
    // Bytes of a pixel: 1 grey, 3 RGB.
    channels: usize,
    bytes: Vec<u8>,
}

/// A tile as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    /// A `data:` address.
    pub(super) uri: String,
    /// What it shows, in words.
    pub(super) alt: String,
    /// Pixels in a row.
    pub(super) width: usize,
    /// Rows of pixels.
    pub(super) height: usize,
}

impl Range {
    /// The smallest and largest of some values; NaN is passed over.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Range {
        let (low, high) = values
            .into_iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        Range { low, high }
    }

    /// Of pixels as they were stored: 0..255 or 0..1 where all lie in it, as they do in most images; else their own.
    pub(super) fn of_pixels(values: impl IntoIterator<Item = f64>) -> Range {
        let own = Range::of(values);
        for high in [1.0, 255.0] {
            if own.low >= 0.0 && own.high <= high {
                return Range { low: 0.0, high };
            }
        }
        own
    }

    /// Its length.
    pub(super) fn span(self) -> f64 {
        self.high - self.low
    }

    /// This range, or `whole` where this one is so short a part of it that stretching it would show noise.
    pub(super) fn unless_flat(self, whole: Range) -> Range {
        const FLAT: f64 = 0.05;
        if self.span() < FLAT * whole.span() {
            whole
        } else {
            self
        }
    }

    fn byte(self, value: f64) -> u8 {
        let share = (value - self.low) / self.span();
        // A flat picture has no contrast to show: it is mid-grey. So is a pixel that is not known.
        if share.is_finite() {
            (255.0 * share.clamp(0.0, 1.0)).round() as u8
        } else {
            128
        }
    }
}

impl Tile {
    /// The values of a picture of this shape.
    pub(super) fn new(values: &[f64], shape: PatchShape, range: Range) -> Tile {
        assert_eq!(values.len(), shape.len());
        Tile {
            height: shape.height as usize,
            width: shape.width as usize,
            channels: shape.channels as usize,
            bytes: values.iter().map(|&value| range.byte(value)).collect(),
        }
    }

    /// The tile, made smaller by whole factors until no side is longer than `max_side`.
    pub(super) fn at_most(self, max_side: usize) -> Tile {
        let factor = self.height.max(self.width).div_ceil(max_side.max(1));
        if factor <= 1 {
            return self;
        }
        let (height, width) = (self.height.div_ceil(factor), self.width.div_ceil(factor));
        let channels = self.channels;
        let mean = |row: usize, col: usize, channel: usize| {
            let rows = row * factor..((row + 1) * factor).min(self.height);
            let cols = col * factor..((col + 1) * factor).min(self.width);
            let n = rows.len() * cols.len();
            let sum: usize = rows
                .flat_map(|row| cols.clone().map(move |col| row * self.width + col))
                .map(|at| usize::from(self.bytes[at * channels + channel]))
                .sum();
            (sum / n) as u8
        };
        let pixels = (0..height * width).map(|at| (at / width, at % width));
        let bytes = pixels.flat_map(|(row, col)| (0..channels).map(move |c| (row, col, c)));
        Tile {
            height,
            width,
            channels,
            bytes: bytes.map(|(row, col, c)| mean(row, col, c)).collect(),
        }
    }

    /// What a picture of such tiles is drawn with.
    pub(super) fn ink(shape: PatchShape) -> Ink {
        match shape.channels {
            1 => Ink::Grey,
            _ => Ink::Color,
        }
    }

    /// The tile for the page.
    pub(super) fn picture(&self, alt: impl Into<String>) -> Picture {
        Picture {
            uri: self.uri(),
            alt: alt.into(),
            width: self.width,
            height: self.height,
        }
    }

    /// The tile as a `data:` address.
    pub(super) fn uri(&self) -> String {
        data_uri(&encode(
            &self.bytes,
            self.width,
            self.height,
            match self.channels {
                1 => ExtendedColorType::L8,
                _ => ExtendedColorType::Rgb8,
            },
        ))
    }
}

/// Tiles of one size side by side, `columns` in a row, with transparent gaps.
pub(super) fn mosaic(tiles: &[Tile], columns: usize, alt: impl Into<String>) -> Picture {
    let (height, width) = tiles
        .first()
        .map_or((1, 1), |tile| (tile.height, tile.width));
    let gap = (height.max(width) / 6).max(1);
    let columns = columns.min(tiles.len()).max(1);
    let rows = tiles.len().div_ceil(columns);
    let all_width = columns * (width + gap) - gap;
    let all_height = (rows * (height + gap)).saturating_sub(gap).max(1);
    // With alpha.
    let channels = tiles.first().map_or(1, |tile| tile.channels);
    let mut pixels = vec![0; (channels + 1) * all_width * all_height];
    for (index, tile) in tiles.iter().enumerate() {
        let (top, left) = (
            index / columns * (height + gap),
            index % columns * (width + gap),
        );
        for (at, bytes) in tile.bytes.chunks_exact(channels).enumerate() {
            let (row, col) = (top + at / width, left + at % width);
            let pixel = &mut pixels[(channels + 1) * (row * all_width + col)..][..=channels];
            pixel[..channels].copy_from_slice(bytes);
            pixel[channels] = 255;
        }
    }
    Picture {
        uri: data_uri(&encode(
            &pixels,
            all_width,
            all_height,
            match channels {
                1 => ExtendedColorType::La8,
                _ => ExtendedColorType::Rgba8,
            },
        )),
        alt: alt.into(),
        width: all_width,
        height: all_height,
    }
}

/// Encodes pixels as PNG.
pub(super) fn encode(
    pixels: &[u8],
    width: usize,
    height: usize,
    color: ExtendedColorType,
) -> Vec<u8> {
    let mut png = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    match encoder.write_image(pixels, side(width), side(height), color) {
        Ok(()) => png,
        Err(error) => unreachable!("pixels in memory become a PNG: {error}"),
    }
}

fn data_uri(png: &[u8]) -> String {
    let mut uri = "data:image/png;base64,".to_owned();
    STANDARD.encode_string(png, &mut uri);
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Range = Range {
        low: 0.0,
        high: 255.0,
    };

    fn shape(height: u32, width: u32, channels: u32) -> PatchShape {
        PatchShape {
            height,
            width,
            channels,
        }
    }

    fn grey(values: &[f64], range: Range) -> Vec<u8> {
        Tile::new(values, shape(1, values.len() as u32, 1), range).bytes
    }

    #[test]
    fn values_are_scaled_to_their_range_and_cut_at_its_ends() {
        let range = Range::of([-1.0, 3.0]);
        assert_eq!(grey(&[-1.0, 1.0, 3.0, 9.0], range), [0, 128, 255, 255]);
    }

    #[test]
    fn what_is_flat_or_unknown_is_mid_grey() {
        assert_eq!(grey(&[2.0, 2.0], Range::of([2.0, 2.0])), [128, 128]);
        assert_eq!(grey(&[f64::NAN], BYTES), [128]);
        assert_eq!(grey(&[2.0], Range::of([])), [128]);
    }

    #[test]
    fn what_is_flat_keeps_its_place_among_the_others() {
        let whole = Range::of([-1.0, 3.0]);
        let flat = Range::of([-1.0, -0.9]).unless_flat(whole);
        assert_eq!(grey(&[-1.0, -0.9], flat), [0, 6]);
        let own = Range::of([-1.0, 0.0]).unless_flat(whole);
        assert_eq!(grey(&[-1.0, 0.0], own), [0, 255]);
    }

    #[test]
    fn pixels_have_the_range_of_the_images_they_come_from() {
        assert_eq!(Range::of_pixels([3.0, 200.0]), BYTES);
        assert_eq!(
            Range::of_pixels([0.2, 0.9]).span().to_bits(),
            1f64.to_bits()
        );
        assert_eq!(
            Range::of_pixels([-2.0, 2.0]).span().to_bits(),
            4f64.to_bits()
        );
        assert_eq!(
            Range::of_pixels([0.0, 1000.0]).span().to_bits(),
            1000f64.to_bits()
        );
    }

    #[test]
    fn large_tiles_are_made_smaller() {
        let values: Vec<f64> = (0..300 * 100).map(|i| f64::from(i % 256)).collect();
        let tile = Tile::new(&values, shape(300, 100, 1), BYTES).at_most(64);
        assert_eq!((tile.height, tile.width), (60, 20));
        let color = Tile::new(&values, shape(100, 100, 3), BYTES).at_most(50);
        assert_eq!(
            (color.height, color.width, color.bytes.len()),
            (50, 50, 7500)
        );
    }

    #[test]
    fn a_mosaic_has_the_colours_of_its_tiles_and_transparent_gaps() {
        let red = Tile::new(&[255.0, 0.0, 9.0], shape(1, 1, 3), BYTES);
        let uri = mosaic(&[red.clone(), red], 2, "red").uri;
        let png = STANDARD.decode(uri.trim_start_matches("data:image/png;base64,"));
        let image = image::load_from_memory(&png.expect("base64")).expect("a PNG");
        let pixels: Vec<[u8; 4]> = image.to_rgba8().pixels().map(|pixel| pixel.0).collect();
        assert_eq!(pixels, [[255, 0, 9, 255], [0; 4], [255, 0, 9, 255]]);
    }
}
