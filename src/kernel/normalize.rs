//! Centre and scale of an image: the one place where a pixel becomes a normalised value.
//!
//! Both passes, learning and featurizing, and the float64 reference go through [`Scaling`]; nothing else may subtract the
//! mean of pixels. The sums have a fixed order, and are whole numbers for u8 pixels.

use super::image::PixelsRef;
use super::lanes::lane_sum;

/// How a patch is prepared before it is compared with words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Normalize {
    /// `(x - mean) / std` over the patch's whole image.
    Image,
    /// `(x - mean) / sqrt(variance + epsilon)` over the patch itself (Coates, Ng and Lee 2011).
    Patch {
        /// In squared pixel values, at least 0; keeps the noise of flat patches small.
        epsilon: f64,
    },
    /// Pixels as they are stored.
    None,
}

impl Normalize {
    /// Its name in job files.
    pub fn name(self) -> &'static str {
        match self {
            Normalize::Image => "image",
            Normalize::Patch { .. } => "patch",
            Normalize::None => "none",
        }
    }
}

/// The affine map from raw pixels to normalised values: `(pixel - centre) / scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// What is subtracted.
    pub centre: f64,
    /// What is divided by; 0 says that image or patch is blank and every value of it is 0.
    pub scale: f64,
}

impl Scaling {
    /// Pixels as they are.
    pub const AS_STORED: Scaling = Scaling {
        centre: 0.0,
        scale: 1.0,
    };

    /// The scaling of one image; population standard deviation (divided by n, as NumPy does). Where patches have scalings of
    /// their own the image's changes nothing.
    pub fn of(normalize: Normalize, pixels: PixelsRef<'_>) -> Scaling {
        match (normalize, pixels) {
            (Normalize::None | Normalize::Patch { .. }, _) => Scaling::AS_STORED,
            (Normalize::Image, PixelsRef::U8(pixels)) => of_u8(pixels),
            (Normalize::Image, PixelsRef::F32(pixels)) => of_f32(pixels),
        }
    }

    /// The scaling of one patch, from its pixels; population variance.
    #[inline(always)]
    pub fn of_patch(pixels: &[f64], epsilon: f64) -> Scaling {
        let n = pixels.len() as f64;
        let centre = lane_sum(pixels, |p| p) / n;
        let spread = lane_sum(pixels, |p| (p - centre) * (p - centre));
        // Without a branch in the loop.
        let differ = pixels.iter().filter(|p| p.to_bits() != pixels[0].to_bits());
        let is_blank = differ.count() == 0;
        let variance = if is_blank { 0.0 } else { spread / n };
        Scaling {
            centre: if is_blank { pixels[0] } else { centre },
            scale: (variance + epsilon).sqrt(),
        }
    }

    /// The normalised value of a raw pixel, in float64: one subtraction, one division.
    pub fn apply(&self, pixel: f64) -> f64 {
        if self.is_blank() {
            0.0
        } else {
            (pixel - self.centre) / self.scale
        }
    }

    /// [`apply`](Scaling::apply) to each of `values`.
    #[inline(always)]
    pub fn apply_all(&self, values: &mut [f64]) {
        if self.is_blank() {
            values.fill(0.0);
            return;
        }
        for value in values {
            *value = (*value - self.centre) / self.scale;
        }
    }

    /// The raw pixel of a normalised value: the way back, to show it.
    pub fn undo(&self, value: f64) -> f64 {
        self.centre + value * self.scale
    }

    /// Whether the image is blank: standard deviation 0, so every normalised value is 0.
    pub fn is_blank(&self) -> bool {
        self.scale == 0.0
    }
}

fn of_u8(pixels: &[u8]) -> Scaling {
    let n = pixels.len() as u128;
    let (mut sum, mut squares) = (0u64, 0u64);
    // So many squares of bytes fit 32 bits; each fits 16, which every machine multiplies fast.
    for pixels in pixels.chunks(1 << 16) {
        let square = |&p: &u8| u32::from(u16::from(p) * u16::from(p));
        sum += u64::from(pixels.iter().map(|&p| u32::from(p)).sum::<u32>());
        squares += u64::from(pixels.iter().map(square).sum::<u32>());
    }
    // n^2 times the variance is a whole number, so it is 0 exactly for a blank image.
    let spread = n * u128::from(squares) - u128::from(sum) * u128::from(sum);
    Scaling {
        centre: sum as f64 / n as f64,
        scale: (spread as f64).sqrt() / n as f64,
    }
}

fn of_f32(pixels: &[f32]) -> Scaling {
    let n = pixels.len() as f64;
    let centre = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / n;
    // The mean of equal values can be off by a rounding, which must not pass for contrast.
    if pixels
        .windows(2)
        .all(|pair| pair[0].total_cmp(&pair[1]).is_eq())
    {
        return Scaling { centre, scale: 0.0 };
    }
    let spread: f64 = pixels
        .iter()
        .map(|&p| (f64::from(p) - centre) * (f64::from(p) - centre))
        .sum();
    Scaling {
        centre,
        scale: (spread / n).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_blank_image_becomes_zeros() {
        for pixels in [PixelsRef::U8(&[7; 9]), PixelsRef::F32(&[0.1; 9])] {
            let scaling = Scaling::of(Normalize::Image, pixels);
            assert!(scaling.is_blank());
            assert!((0..9).all(|i| scaling.apply(pixels.get(i)) == 0.0));
        }
    }

    #[test]
    fn a_blank_patch_becomes_zeros_with_any_epsilon() {
        for epsilon in [0.0, 10.0] {
            let scaling = Scaling::of_patch(&[0.1; 7], epsilon);
            assert!(scaling.apply(0.1) == 0.0);
        }
    }

    #[test]
    fn without_normalisation_pixels_stay_as_they_are() {
        let scaling = Scaling::of(Normalize::None, PixelsRef::U8(&[1, 2]));
        assert_eq!(scaling.apply(200.0).to_bits(), 200.0f64.to_bits());
    }

    proptest! {
        #[test]
        fn u8_and_f32_pixels_of_one_image_are_scaled_alike(
            pixels in proptest::collection::vec(any::<u8>(), 1..400)
        ) {
            let floats: Vec<f32> = pixels.iter().map(|&p| f32::from(p)).collect();
            let a = Scaling::of(Normalize::Image, PixelsRef::U8(&pixels));
            let b = Scaling::of(Normalize::Image, PixelsRef::F32(&floats));
            prop_assert!((a.centre - b.centre).abs() < 1e-12 * 256.0);
            prop_assert!((a.scale - b.scale).abs() < 1e-10);
        }
    }
}
