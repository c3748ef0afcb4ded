//! Sizes of synthetic images: one, or all between two.

use std::fmt;
use std::str::FromStr;

use crate::import::check_size;
use crate::kernel::rng::Stream;

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows of pixels, at least 1.
    pub height: u32,
    /// Pixels in a row, at least 1.
    pub width: u32,
}

impl Size {
    /// Pixels of an image.
    pub fn n_pixels(self) -> usize {
        self.height as usize * self.width as usize
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// The sizes that images may have: each side is drawn between its least and its most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    least: Size,
    most: Size,
}

impl Sizes {
    /// The size of all images, if they have one.
    pub fn single(self) -> Option<Size> {
        (self.least == self.most).then_some(self.least)
    }

    /// Pixels of the largest.
    pub fn max_pixels(self) -> u64 {
        self.most.n_pixels() as u64
    }

    /// One of them.
    pub(super) fn draw(self, stream: &mut Stream) -> Size {
        let mut side =
            |least: u32, most: u32| least + stream.below(u64::from(most - least) + 1) as u32;
        Size {
            height: side(self.least.height, self.most.height),
            width: side(self.least.width, self.most.width),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(size) => write!(f, "{size}"),
            None => write!(f, "{}..{}", self.least, self.most),
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// `28x28`, or `20x20..40x60`: height first, as everywhere.
    fn from_str(text: &str) -> Result<Sizes, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let sizes = Sizes {
            least: size(least)?,
            most: size(most)?,
        };
        if sizes.least.height > sizes.most.height || sizes.least.width > sizes.most.width {
            return Err(format!("{least} is larger than {most}"));
        }
        Ok(sizes)
    }
}

fn size(text: &str) -> Result<Size, String> {
    let (height, width) = text
        .split_once('x')
        .and_then(|(height, width)| Some((height.parse().ok()?, width.parse().ok()?)))
        .ok_or_else(|| format!("\"{text}\" is no size; give HxW, as 28x28, or 20x20..40x60"))?;
    let (height, width) = check_size(height, width)?;
    Ok(Size { height, width })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Purpose;

    #[test]
    fn what_is_no_size_is_refused_with_a_reason() {
        for (text, reason) in [
            ("28", "no size"),
            ("28x", "no size"),
            ("axb", "no size"),
            ("-1x5", "no size"),
            ("0x0", "no pixels"),
            ("28x0", "no pixels"),
            ("99999x1", "too large"),
            ("99999999999999999999x1", "no size"),
            ("32768x32768", "too large"),
            ("9x9..8x10", "larger"),
        ] {
            let error = text.parse::<Sizes>().expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn drawn_sizes_reach_both_ends_and_go_no_further() {
        let sizes: Sizes = "2x5..4x6".parse().expect("sizes");
        let mut stream = Stream::new(0, Purpose::SynthImage, 0);
        let drawn: Vec<Size> = (0..200).map(|_| sizes.draw(&mut stream)).collect();
        let sides = |side: fn(&Size) -> u32| {
            let sides = drawn.iter().map(side);
            (sides.clone().min(), sides.max())
        };
        assert_eq!(sides(|size| size.height), (Some(2), Some(4)));
        assert_eq!(sides(|size| size.width), (Some(5), Some(6)));
    }

    #[test]
    fn sizes_are_shown_as_they_are_typed() {
        for text in ["28x20", "20x20..40x60"] {
            assert_eq!(text.parse::<Sizes>().expect("sizes").to_string(), text);
        }
    }
}
