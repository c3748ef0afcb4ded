//! Patch shapes and patch grids: the only home of window arithmetic.
//!
//! Patches are numbered row by row over the grid of their top-left corners. Channels lie side by side: an image of three
//! is a row of `3 * width` values, a patch of it `height` rows of as many values, and no one past this file need know more.

use std::ops::Range;

use super::positions;

/// Height and width of a patch in pixels, and values a pixel; all at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchShape {
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Values a pixel, side by side: 1 grey, 3 RGB.
    pub channels: u32,
}

impl PatchShape {
    /// `d`: values in a patch.
    pub fn len(&self) -> usize {
        self.height as usize * self.row_len()
    }

    /// Values in a row of a patch.
    pub fn row_len(&self) -> usize {
        self.width as usize * self.channels as usize
    }

    /// Whether a patch has no pixels; never true of a checked job.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for PatchShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.height, self.width)?;
        match self.channels {
            1 => Ok(()),
            channels => write!(f, "x{channels}"),
        }
    }
}

/// All windows of one image at one stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Positions from top to bottom.
    pub rows: u32,
    /// Positions from left to right.
    pub cols: u32,
    // Values in a row of the image, and from one patch to the next.
    image_row: u32,
    stride: u32,
    step: u32,
}

impl Grid {
    /// The windows of a `height` by `width` image; `None` where not even one patch fits.
    pub fn new(height: u32, width: u32, patch: PatchShape, stride: u32) -> Option<Grid> {
        debug_assert!(stride > 0 && !patch.is_empty());
        if height < patch.height || width < patch.width {
            return None;
        }
        Some(Grid {
            rows: (height - patch.height) / stride + 1,
            cols: (width - patch.width) / stride + 1,
            image_row: width * patch.channels,
            stride,
            step: stride * patch.channels,
        })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.rows as usize * self.cols as usize
    }

    /// Whether there are no windows; never true, since `new` gives `None` then.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index of the first value of window `index` in the image.
    pub fn offset(&self, index: usize) -> usize {
        debug_assert!(index < self.len());
        let row = index / self.cols as usize;
        let col = index % self.cols as usize;
        row * self.stride as usize * self.image_row as usize + col * self.step as usize
    }

    /// Marks windows `windows`, not none, in `positions`: bit 0 is the value that `windows.start` starts at, which is
    /// returned.
    pub fn mark(&self, windows: Range<usize>, positions: &mut Vec<u64>) -> usize {
        debug_assert!(!windows.is_empty() && windows.end <= self.len());
        let (base, last) = (self.offset(windows.start), self.offset(windows.end - 1));
        positions.clear();
        positions.resize((last - base) / 64 + 1, 0);
        let cols = self.cols as usize;
        let mut next = windows.start;
        while next < windows.end {
            let n = (cols - next % cols).min(windows.end - next);
            let first = self.offset(next) - base;
            if self.step == 1 {
                positions::mark_run(first, n, positions);
            } else {
                for col in 0..n {
                    let at = first + col * self.step as usize;
                    positions[at / 64] |= 1 << (at % 64);
                }
            }
            next += n;
        }
        base
    }

    /// The most windows from `start` on, at least one, whose first pixels lie within `span` of each other.
    pub fn windows_within(&self, start: usize, span: usize) -> usize {
        let base = self.offset(start);
        let (mut low, mut high) = (start, (start + span).min(self.len()));
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.offset(middle) - base < span {
                low = middle;
            } else {
                high = middle;
            }
        }
        low + 1 - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIX: PatchShape = PatchShape {
        height: 6,
        width: 6,
        channels: 1,
    };

    #[test]
    fn an_mnist_image_has_529_windows_of_6x6() {
        assert_eq!(Grid::new(28, 28, SIX, 1).map(|grid| grid.len()), Some(529));
    }

    #[test]
    fn a_patch_larger_than_the_image_has_no_grid() {
        assert_eq!(Grid::new(28, 5, SIX, 1), None);
        assert_eq!(Grid::new(5, 28, SIX, 1), None);
    }

    #[test]
    fn marks_are_at_every_window_that_fits_at_the_stride() {
        for (height, width, stride) in [(28, 28, 1), (7, 9, 2), (6, 6, 3), (11, 8, 4)] {
            let grid = Grid::new(height, width, SIX, stride).expect("fits");
            let mut expected = Vec::new();
            for top in (0..=height - 6).step_by(stride as usize) {
                for left in (0..=width - 6).step_by(stride as usize) {
                    expected.push(top * width + left);
                }
            }
            let one_by_one: Vec<u32> = (0..grid.len()).map(|i| grid.offset(i) as u32).collect();
            assert_eq!(one_by_one, expected);
            let mut marked = Vec::new();
            for part in [
                0..1,
                0..grid.len(),
                grid.len() / 3..grid.len(),
                1..grid.len() / 2 + 1,
            ] {
                if part.is_empty() || part.end > grid.len() {
                    continue;
                }
                let base = grid.mark(part.clone(), &mut marked) as u32;
                let offsets: Vec<u32> = positions::iter(&marked).map(|at| base + at).collect();
                assert_eq!(offsets, expected[part]);
            }
        }
    }

    #[test]
    fn windows_of_colour_start_at_the_first_channel() {
        let patch = PatchShape { channels: 3, ..SIX };
        let grid = Grid::new(7, 9, patch, 2).expect("fits");
        let offsets: Vec<usize> = (0..grid.len()).map(|i| grid.offset(i)).collect();
        assert_eq!(offsets, [0, 6]);
        let tall = Grid::new(8, 6, patch, 2).expect("fits");
        assert_eq!(tall.offset(1), 2 * 6 * 3);
        let mut marked = Vec::new();
        assert_eq!(grid.mark(0..2, &mut marked), 0);
        assert_eq!(positions::iter(&marked).collect::<Vec<u32>>(), [0, 6]);
    }

    #[test]
    fn windows_within_a_span_are_as_many_as_fit_and_never_none() {
        for (width, stride, span) in [(28, 1, 64), (28, 3, 64), (100, 50, 64), (9, 1, 1000)] {
            let grid = Grid::new(28, width, SIX, stride).expect("fits");
            for start in 0..grid.len() {
                let n = grid.windows_within(start, span);
                let fits = |n: usize| grid.offset(start + n - 1) - grid.offset(start) < span;
                assert!(n >= 1 && fits(n));
                assert!(start + n == grid.len() || !fits(n + 1));
            }
        }
    }
}
