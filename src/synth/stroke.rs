//! Strokes of a round pen on pixels: curves through points, with soft edges.
//!
//! Each pixel keeps its squared distance to the nearest piece of a stroke; a piece looks only at the pixels around it.

use super::size::Size;
use crate::kernel::rng::{Stream, hash};

/// A place: x to the right, y downwards.
pub(super) type Point = (f32, f32);

/// Straight pieces that a curve has between two of its points.
const PIECES: usize = 5;
/// Pixels over which the edge of a stroke fades.
const EDGE: f32 = 1.0;
/// How much of the ink may be missing at a pixel.
const GRAIN: f32 = 0.14;

/// Strokes on an image.
pub(super) struct Strokes<'a> {
    size: Size,
    // Half the width of the pen, in pixels.
    radius: f32,
    // Squared distance of each pixel to the nearest stroke; infinite away from all.
    distances: &'a mut Vec<f32>,
}

impl<'a> Strokes<'a> {
    /// An image without strokes. `distances` is scratch.
    pub(super) fn new(size: Size, radius: f32, distances: &'a mut Vec<f32>) -> Strokes<'a> {
        distances.clear();
        distances.resize(size.n_pixels(), f32::INFINITY);
        Strokes {
            size,
            radius,
            distances,
        }
    }

    /// A stroke through all of `points`, in pixels (Catmull and Rom 1974).
    pub(super) fn curve(&mut self, points: &[Point]) {
        let last = points.len() - 1;
        for at in 0..last {
            let [before, from, to, after] = [
                points[at.saturating_sub(1)],
                points[at],
                points[at + 1],
                points[(at + 2).min(last)],
            ];
            let mut start = from;
            for piece in 1..=PIECES {
                let t = piece as f32 / PIECES as f32;
                let end = (
                    blend(t, before.0, from.0, to.0, after.0),
                    blend(t, before.1, from.1, to.1, after.1),
                );
                self.line(start, end);
                start = end;
            }
        }
    }

    fn line(&mut self, from: Point, to: Point) {
        let reach = self.radius + EDGE;
        let (height, width) = (self.size.height, self.size.width);
        let rows = covered(from.1.min(to.1) - reach, from.1.max(to.1) + reach, height);
        let columns = covered(from.0.min(to.0) - reach, from.0.max(to.0) + reach, width);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        // A piece without length is a dot.
        let per_length2 = 1.0 / (dx * dx + dy * dy).max(1e-12);
        for row in rows {
            let line = &mut self.distances[row * width as usize..][..width as usize];
            let y = row as f32 + 0.5 - from.1;
            for column in columns.clone() {
                let x = column as f32 + 0.5 - from.0;
                let along = ((x * dx + y * dy) * per_length2).clamp(0.0, 1.0);
                let (off_x, off_y) = (x - along * dx, y - along * dy);
                line[column] = line[column].min(off_x * off_x + off_y * off_y);
            }
        }
    }

    /// Puts ink where the strokes are: up to `ink`, fading at the edges and a little grainy.
    pub(super) fn ink(&self, ink: f32, stream: &mut Stream, pixels: &mut [u8]) {
        let key = stream.next_u64();
        let outside = self.radius + EDGE * 0.5;
        for (at, (pixel, &distance2)) in pixels.iter_mut().zip(self.distances.iter()).enumerate() {
            if distance2 >= outside * outside {
                continue;
            }
            let cover = ((outside - distance2.sqrt()) * (1.0 / EDGE)).min(1.0);
            let grain =
                1.0 - GRAIN * (hash(key, at as u64) >> 40) as f32 * (1.0 / (1 << 24) as f32);
            *pixel = (ink * cover * grain) as u8;
        }
    }
}

/// Whole pixels between two places along a side, as far as the side goes.
fn covered(from: f32, to: f32, side: u32) -> std::ops::Range<usize> {
    // A cast from float32 stays within the type's range.
    let (from, to) = (from as usize, to as usize + 1);
    from.min(side as usize)..to.min(side as usize)
}

fn blend(t: f32, before: f32, from: f32, to: f32, after: f32) -> f32 {
    let linear = to - before;
    let square = 2.0 * before - 5.0 * from + 4.0 * to - after;
    let cube = 3.0 * (from - to) + after - before;
    from + 0.5 * t * (linear + t * (square + t * cube))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Purpose;

    #[test]
    fn a_line_is_as_wide_as_its_pen_and_stays_in_the_image() {
        let size = Size {
            height: 9,
            width: 12,
        };
        let mut distances = Vec::new();
        let mut strokes = Strokes::new(size, 1.5, &mut distances);
        strokes.curve(&[(-5.0, 4.5), (30.0, 4.5)]);
        let mut pixels = vec![0; size.n_pixels()];
        strokes.ink(
            255.0,
            &mut Stream::new(0, Purpose::SynthImage, 0),
            &mut pixels,
        );
        let lit: Vec<usize> = (0..9)
            .filter(|row| pixels[row * 12..][..12].iter().all(|&pixel| pixel > 100))
            .collect();
        assert_eq!(lit, [3, 4, 5]);
        assert!(pixels[..12].iter().all(|&pixel| pixel == 0));
    }

    #[test]
    fn a_curve_goes_through_its_points() {
        let between = |t| blend(t, 7.0, 2.0, 3.0, 9.0);
        assert!((between(0.0) - 2.0).abs() < 1e-6);
        assert!((between(1.0) - 3.0).abs() < 1e-6);
    }
}
