//! Holds every instruction set of the machine against the float64 definition, on images drawn at random: prints how many
//! labels agree, and fails at the first that does not.
//!
//! It starts no thread, so that it runs where the tests cannot, such as under an emulator: `scripts/test_arm`.

use bovw::kernel::grid::{Grid, PatchShape};
use bovw::kernel::image::PixelsRef;
use bovw::kernel::naive;
use bovw::kernel::nearest::{Scratch, Simd, Words, search};
use bovw::kernel::normalize::{Normalize, Scaling};
use bovw::kernel::rng::hash;
use bovw::kernel::sample::Patches;

const CASES: u64 = 400;

fn main() {
    let (mut agreed, mut decided_again) = (0, 0);
    for case in 0..CASES {
        let drawn = Case::draw(case);
        let floats: Vec<f32> = drawn.pixels.iter().map(|&p| f32::from(p) / 3.0).collect();
        for pixels in [PixelsRef::U8(&drawn.pixels), PixelsRef::F32(&floats)] {
            for normalize in [Normalize::Image, Normalize::None] {
                let (n, again) = drawn.check(pixels, Scaling::of(normalize, pixels));
                agreed += n;
                decided_again += again;
            }
        }
    }
    let names: Vec<&str> = Simd::available().map(Simd::name).collect();
    #[expect(clippy::print_stdout, reason = "an example prints")]
    {
        println!(
            "{agreed} labels agree: {}; {decided_again} decided again",
            names.join(", ")
        );
    }
}

/// An image, and words of about its values.
struct Case {
    number: u64,
    patch: PatchShape,
    grid: Grid,
    width: u32,
    pixels: Vec<u8>,
    centroids: Vec<f32>,
}

impl Case {
    fn draw(number: u64) -> Case {
        let below = |what: u64, n: u64| hash(number, what) % n;
        let patch = PatchShape {
            height: 1 + below(1, 13) as u32,
            width: 1 + below(2, 13) as u32,
            channels: 1,
        };
        // Some images are as wide as a patch, so that long patches lie in one piece.
        let is_wide = u32::from(!number.is_multiple_of(5));
        let height = patch.height + below(3, 12) as u32;
        let width = patch.width + is_wide * below(4, 30) as u32;
        // Few levels make ties and patches of one value.
        let levels = [2, 4, 256][below(5, 3) as usize];
        let k = 1 + below(6, 30);
        let value = |at: u64| (hash(!number, at) % 4000) as f32 / 1000.0 - 2.0;
        Case {
            number,
            patch,
            grid: Grid::new(height, width, patch, 1).expect("fits"),
            width,
            pixels: (100..100 + u64::from(height * width))
                .map(|at| below(at, levels) as u8)
                .collect(),
            centroids: (0..k * patch.len() as u64).map(value).collect(),
        }
    }

    /// How many labels every instruction set agrees on, and how many float64 decided.
    fn check(&self, pixels: PixelsRef<'_>, scaling: Scaling) -> (usize, u64) {
        let offsets: Vec<u32> = (0..self.grid.len())
            .map(|window| self.grid.offset(window) as u32)
            .collect();
        let mut positions = Vec::new();
        self.grid.mark(0..self.grid.len(), &mut positions);
        let patches = Patches {
            image: 0,
            scaling,
            row_stride: self.width,
            positions: &positions,
            pixels,
        };
        let (expected, _) = naive::nearest(
            &self.centroids,
            self.patch,
            self.width,
            scaling,
            pixels,
            &offsets,
        );
        let (mut n, mut decided_again) = (0, 0);
        for simd in Simd::available() {
            let words = Words::new(&self.centroids, self.patch, simd);
            let mut scratch = Scratch::default();
            let found = search(&words, &patches, &mut scratch);
            let labels: Vec<u32> = found.each(&patches).collect();
            assert_eq!(labels, expected, "{simd}, case {}", self.number);
            n += labels.len();
            decided_again += found.decided_again;
        }
        (n, decided_again)
    }
}
