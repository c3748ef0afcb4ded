//! Images as values: rows of u8 or f32 pixels, the channels of a pixel side by side.
//!
//! Pixels are what was stored, never scaled or normalised: every later step works from the raw values, so that both
//! passes, and the brute-force check, start from the same numbers.

use super::grid::PatchShape;

/// The pixels of one image, row-major.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Pixels {
    /// Whole numbers from 0 to 255, the usual case.
    U8(Vec<u8>),
    /// Anything else: 16-bit or floating-point sources. Finite.
    F32(Vec<f32>),
}

/// Borrowed [`Pixels`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PixelsRef<'a> {
    /// Whole numbers from 0 to 255.
    U8(&'a [u8]),
    /// Finite floating-point values.
    F32(&'a [f32]),
}

impl Pixels {
    /// The same pixels, borrowed.
    pub fn as_ref(&self) -> PixelsRef<'_> {
        match self {
            Pixels::U8(pixels) => PixelsRef::U8(pixels),
            Pixels::F32(pixels) => PixelsRef::F32(pixels),
        }
    }
}

impl<'a> PixelsRef<'a> {
    /// The pixels without the first `n`.
    pub fn skip(self, n: usize) -> PixelsRef<'a> {
        match self {
            PixelsRef::U8(pixels) => PixelsRef::U8(&pixels[n..]),
            PixelsRef::F32(pixels) => PixelsRef::F32(&pixels[n..]),
        }
    }

    /// How many pixels there are.
    pub fn len(&self) -> usize {
        match self {
            PixelsRef::U8(pixels) => pixels.len(),
            PixelsRef::F32(pixels) => pixels.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixel `index` as a float64; exact for both kinds.
    pub fn get(&self, index: usize) -> f64 {
        match self {
            PixelsRef::U8(pixels) => f64::from(pixels[index]),
            PixelsRef::F32(pixels) => f64::from(pixels[index]),
        }
    }

    /// Bytes that the pixels take.
    pub fn size_bytes(&self) -> usize {
        match self {
            PixelsRef::U8(pixels) => size_of_val(*pixels),
            PixelsRef::F32(pixels) => size_of_val(*pixels),
        }
    }
}

/// One image: `height * width * channels` values, row-major. Both sides are at least 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Values a pixel: 1 grey, 3 RGB.
    pub channels: u32,
    /// The values, `height * width * channels` of them.
    pub pixels: Pixels,
}

/// A borrowed [`Image`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageRef<'a> {
    /// Rows of pixels.
    pub height: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Values a pixel: 1 grey, 3 RGB.
    pub channels: u32,
    /// The values, `height * width * channels` of them.
    pub pixels: PixelsRef<'a>,
}

impl ImageRef<'_> {
    /// Values in a row.
    pub fn row_len(&self) -> usize {
        self.width as usize * self.channels as usize
    }
}

impl Image {
    /// The same image, borrowed.
    pub fn as_ref(&self) -> ImageRef<'_> {
        ImageRef {
            height: self.height,
            width: self.width,
            channels: self.channels,
            pixels: self.pixels.as_ref(),
        }
    }

    /// Values in a row.
    pub fn row_len(&self) -> usize {
        self.as_ref().row_len()
    }

    /// The image as one patch.
    pub fn shape(&self) -> PatchShape {
        PatchShape {
            height: self.height,
            width: self.width,
            channels: self.channels,
        }
    }
}
