//! A digit as a hand might write it: the strokes of one of its shapes, each point a little off, slanted, turned, stretched
//! and moved, with a pen of some width.
//!
//! Only additions, multiplications, divisions and square roots of float32, so that every machine draws the same.

use super::size::Size;
use super::stroke::{Point, Strokes};
use crate::kernel::rng::Stream;

/// A shape of a digit: strokes through points, in a box from 0 to 1, x to the right and y downwards.
type Shape = &'static [&'static [Point]];

/// The shapes of each digit.
const SHAPES: [&[Shape]; 10] = [
    &[&[&[
        (0.5, 0.0),
        (0.14, 0.14),
        (0.0, 0.5),
        (0.14, 0.86),
        (0.5, 1.0),
        (0.86, 0.86),
        (1.0, 0.5),
        (0.86, 0.14),
        (0.5, 0.0),
        (0.3, 0.05),
    ]]],
    &[
        &[&[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]],
        &[
            &[(0.25, 0.25), (0.55, 0.0)],
            &[(0.55, 0.0), (0.52, 0.5), (0.5, 1.0)],
        ],
        &[
            &[(0.25, 0.22), (0.5, 0.0)],
            &[(0.5, 0.0), (0.5, 1.0)],
            &[(0.2, 1.0), (0.8, 1.0)],
        ],
    ],
    &[
        &[
            &[
                (0.05, 0.25),
                (0.2, 0.05),
                (0.55, 0.0),
                (0.9, 0.18),
                (0.85, 0.42),
                (0.5, 0.72),
                (0.02, 1.0),
            ],
            &[(0.02, 1.0), (1.0, 0.98)],
        ],
        &[&[
            (0.05, 0.2),
            (0.4, 0.0),
            (0.85, 0.12),
            (0.82, 0.45),
            (0.4, 0.85),
            (0.12, 1.0),
            (0.02, 0.85),
            (0.25, 0.78),
            (0.6, 0.95),
            (1.0, 0.95),
        ]],
    ],
    &[&[
        &[
            (0.05, 0.12),
            (0.4, 0.0),
            (0.82, 0.1),
            (0.82, 0.33),
            (0.35, 0.46),
        ],
        &[
            (0.35, 0.46),
            (0.82, 0.55),
            (0.95, 0.76),
            (0.72, 0.97),
            (0.35, 1.0),
            (0.02, 0.87),
        ],
    ]],
    &[
        &[
            &[(0.7, 0.0), (0.02, 0.66)],
            &[(0.02, 0.66), (1.0, 0.66)],
            &[(0.7, 0.0), (0.7, 1.0)],
        ],
        &[
            &[(0.12, 0.0), (0.06, 0.3), (0.1, 0.52)],
            &[(0.1, 0.52), (0.9, 0.48)],
            &[(0.88, 0.0), (0.8, 0.5), (0.76, 1.0)],
        ],
    ],
    &[&[
        &[(0.95, 0.0), (0.2, 0.02)],
        &[(0.2, 0.02), (0.12, 0.45)],
        &[
            (0.12, 0.45),
            (0.5, 0.36),
            (0.9, 0.52),
            (0.92, 0.8),
            (0.6, 0.99),
            (0.2, 0.98),
            (0.0, 0.86),
        ],
    ]],
    &[&[&[
        (0.75, 0.0),
        (0.4, 0.18),
        (0.12, 0.5),
        (0.06, 0.8),
        (0.32, 1.0),
        (0.72, 0.98),
        (0.92, 0.77),
        (0.72, 0.56),
        (0.38, 0.58),
        (0.12, 0.78),
    ]]],
    &[
        &[
            &[(0.02, 0.05), (0.98, 0.0)],
            &[(0.98, 0.0), (0.6, 0.5), (0.36, 1.0)],
        ],
        &[
            &[(0.02, 0.05), (0.98, 0.0)],
            &[(0.98, 0.0), (0.6, 0.5), (0.36, 1.0)],
            &[(0.25, 0.52), (0.85, 0.48)],
        ],
    ],
    &[&[&[
        (0.85, 0.15),
        (0.5, 0.0),
        (0.14, 0.14),
        (0.2, 0.36),
        (0.5, 0.48),
        (0.84, 0.64),
        (0.88, 0.88),
        (0.5, 1.0),
        (0.12, 0.88),
        (0.14, 0.66),
        (0.5, 0.48),
        (0.82, 0.32),
        (0.85, 0.15),
    ]]],
    &[
        &[
            &[
                (0.9, 0.2),
                (0.6, 0.0),
                (0.2, 0.08),
                (0.08, 0.32),
                (0.32, 0.52),
                (0.68, 0.46),
                (0.9, 0.2),
            ],
            &[(0.9, 0.2), (0.86, 0.6), (0.76, 1.0)],
        ],
        &[&[
            (0.9, 0.2),
            (0.6, 0.0),
            (0.2, 0.08),
            (0.08, 0.32),
            (0.32, 0.52),
            (0.68, 0.46),
            (0.9, 0.2),
            (0.88, 0.6),
            (0.66, 0.95),
            (0.2, 0.96),
        ]],
    ],
];

/// How far a point may be off, in heights of the digit.
const WOBBLE: f32 = 0.045;

/// Draws digit `class` (0 to 9) into `pixels` (height * width, zeros); `distances` is scratch.
pub(super) fn draw(
    class: usize,
    size: Size,
    stream: &mut Stream,
    distances: &mut Vec<f32>,
    pixels: &mut [u8],
) {
    let shapes = SHAPES[class];
    let shape = shapes[stream.below(shapes.len() as u64) as usize];
    let hand = Hand::draw(size, stream);
    let mut strokes = Strokes::new(size, hand.radius, distances);
    let mut points = Vec::new();
    for stroke in shape {
        points.clear();
        points.extend(stroke.iter().map(|&point| hand.place(point, stream)));
        strokes.curve(&points);
    }
    strokes.ink(hand.ink, stream, pixels);
}

/// How one digit is written.
struct Hand {
    centre: Point,
    // Columns of the map from the box, whose middle is 0, to pixels.
    right: Point,
    down: Point,
    wobble: f32,
    // Half the width of the pen, in pixels.
    radius: f32,
    // Grey of the ink, up to 255.
    ink: f32,
}

impl Hand {
    fn draw(size: Size, stream: &mut Stream) -> Hand {
        let mut between = |least: f32, most: f32| least + (most - least) * stream.unit() as f32;
        let (image_height, image_width) = (size.height as f32, size.width as f32);
        let side = image_height.min(image_width);
        let height = side * between(0.6, 0.76);
        let width = height * between(0.5, 0.85);
        let slant = between(-0.12, 0.38);
        // A turn by twice the angle whose tangent is this.
        let half = between(-0.09, 0.09);
        let (cos, sin) = (
            (1.0 - half * half) / (1.0 + half * half),
            2.0 * half / (1.0 + half * half),
        );
        let turned = |(x, y): Point| (x * cos - y * sin, x * sin + y * cos);
        Hand {
            centre: (
                image_width * 0.5 + side * between(-0.05, 0.05),
                image_height * 0.5 + side * between(-0.05, 0.05),
            ),
            right: turned((width, 0.0)),
            down: turned((-slant * height, height)),
            wobble: WOBBLE * between(0.2, 1.0),
            radius: (side * between(0.026, 0.058)).max(0.45),
            ink: between(190.0, 255.0),
        }
    }

    /// Where a point of the box goes, in pixels.
    fn place(&self, (x, y): Point, stream: &mut Stream) -> Point {
        let mut off = || self.wobble * (2.0 * stream.unit() as f32 - 1.0);
        let (x, y) = (x - 0.5 + off(), y - 0.5 + off());
        (
            self.centre.0 + self.right.0 * x + self.down.0 * y,
            self.centre.1 + self.right.1 * x + self.down.1 * y,
        )
    }
}
