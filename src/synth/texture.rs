//! A texture: a wave or a check pattern in one of five directions, with a period, phase and contrast of its own, and noise.
//!
//! Only additions, multiplications and divisions of float32, so that every machine draws the same.

use super::size::Size;
use crate::kernel::rng::{Stream, hash};

/// Cosine and sine of 0, 36, 72, 108 and 144 degrees: the directions.
const DIRECTIONS: [(f32, f32); 5] = [
    (1.0, 0.0),
    (0.809_017, 0.587_785_3),
    (0.309_017, 0.951_056_5),
    (-0.309_017, 0.951_056_5),
    (-0.809_017, 0.587_785_3),
];
/// Periods, in pixels.
const PERIODS: (f32, f32) = (4.0, 9.0);
/// The most noise, in steps of grey.
const NOISE: f32 = 12.0;

/// Draws texture `class` (0 to 4 waves, 5 to 9 checks) into `pixels` (height * width).
pub(super) fn draw(class: usize, size: Size, stream: &mut Stream, pixels: &mut [u8]) {
    let mut between = |least: f32, most: f32| least + (most - least) * stream.unit() as f32;
    let (cos, sin) = DIRECTIONS[class % DIRECTIONS.len()];
    let is_checks = class >= DIRECTIONS.len();
    let per_pixel = 1.0 / between(PERIODS.0, PERIODS.1);
    let (phase, cross_phase) = (between(0.0, 1.0), between(0.0, 1.0));
    let contrast = between(40.0, 110.0);
    let middle = between(contrast + NOISE, 255.0 - contrast - NOISE);
    let key = stream.next_u64();
    let width = size.width as usize;
    for (row, line) in pixels.chunks_exact_mut(width).enumerate() {
        for (column, pixel) in line.iter_mut().enumerate() {
            let (x, y) = (column as f32 * per_pixel, row as f32 * per_pixel);
            let along = wave(phase + x * cos + y * sin);
            let value = match is_checks {
                true => along * wave(cross_phase - x * sin + y * cos),
                false => along,
            };
            let random = (hash(key, (row * width + column) as u64) >> 40) as f32;
            let noise = NOISE * (random * (2.0 / (1 << 24) as f32) - 1.0);
            *pixel = (middle + contrast * value + noise) as u8;
        }
    }
}

/// A wave of period 1 between -1 and 1: two parabolas, within 0.06 of a sine.
fn wave(at: f32) -> f32 {
    let at = at - at.floor();
    let half = if at < 0.5 { at } else { at - 0.5 };
    let bow = 16.0 * half * (0.5 - half);
    if at < 0.5 { bow } else { -bow }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wave_is_nearly_a_sine() {
        for step in -50..50i16 {
            let at = f32::from(step) / 17.0;
            let sine = (f64::from(at) * std::f64::consts::TAU).sin();
            assert!((f64::from(wave(at)) - sine).abs() < 0.06, "{at}");
        }
    }
}
