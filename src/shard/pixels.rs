//! From the values of a decoded image to the image that the job asks for: grey or RGB, opaque, and no larger than it may be.
//!
//! Grey is luma (ITU-R BT.601, Pillow's whole-number formula). What is transparent is seen on white paper. 16-bit values are
//! divided by 257, so that white is 255 at any depth. It must never draw on anything but the values and the job: the same
//! image is the same pixels in every pass, on every machine.

use std::borrow::Cow;

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Pixel, Rgb};

use super::detect::Shape;
use super::images::{ImageSize, Reason};
use crate::job::{Color, DEFAULT_MAX_PIXELS, Input};
use crate::kernel::image::{Image, Pixels};

/// What becomes of an image when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The most pixels that an encoded image may have; more make it a bad image, before it is decoded.
    pub max_pixels: u64,
    /// What of its colour is kept. Undecided, it stays as it is: grey, or RGB.
    pub color: Color,
    /// The longest side that it may have; a larger one is made smaller.
    pub resize: Option<u32>,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            max_pixels: DEFAULT_MAX_PIXELS,
            color: Color::Grey,
            resize: None,
        }
    }
}

/// Decoded values, the channels of a pixel side by side or one after the other.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// From 0 to 255.
    U8(Cow<'a, [u8]>),
    /// From 0 to 65535.
    U16(Vec<u16>),
    /// Finite, without opacity, and not all of them bytes.
    F32(Vec<f32>),
}

/// Whether the last of two or four channels says how opaque a pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    /// It does, from 0 to the white of the values.
    Opacity,
    /// Nobody says what it is, nor what its scale is: it is passed over.
    Unknown,
}

impl Reading {
    /// As a job has it.
    pub fn of(input: &Input) -> Reading {
        Reading {
            max_pixels: input.max_pixels,
            color: input.color,
            resize: input.resize,
        }
    }

    /// The image that is made of bytes of this shape, which has as many.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn image_of_bytes(&self, shape: Shape, bytes: &[u8]) -> Result<Image, Reason> {
        self.image(shape, Values::U8(bytes.into()), Alpha::Unknown)
    }

    /// Whether an image of bytes of this shape is taken as it is.
    pub fn is_as_it_is(&self, shape: Shape) -> bool {
        let is_small = |side| shape.height <= side && shape.width <= side;
        shape.channels == self.channels(shape.channels)
            && (shape.channels == 1 || !shape.channels_first)
            && self.resize.is_none_or(is_small)
    }

    /// The image that is made of values of this shape.
    pub(super) fn image(
        &self,
        shape: Shape,
        values: Values<'_>,
        alpha: Alpha,
    ) -> Result<Image, Reason> {
        let channels = self.channels(shape.channels);
        let n_values = u64::from(shape.height) * u64::from(shape.width) * u64::from(channels);
        if n_values > u64::from(u32::MAX) {
            return Err(format!(
                "{shape} pixels are {n_values} values, at most {} can be numbered",
                u32::MAX
            ));
        }
        let is_same = shape.channels == channels && (channels == 1 || !shape.channels_first);
        let pixels = match values {
            Values::U8(values) if is_same => Pixels::U8(values.into_owned()),
            Values::F32(values) if is_same => Pixels::F32(values),
            Values::U8(values) => Pixels::U8(convert(shape, &values, alpha, self.color)?),
            Values::F32(values) => smallest(convert(shape, &values, alpha, self.color)?),
            Values::U16(values) => {
                let floats = convert(shape, &values, alpha, self.color)?;
                match shape.channels {
                    1 => Pixels::F32(floats),
                    _ => smallest(floats),
                }
            }
        };
        let image = Image {
            height: shape.height,
            width: shape.width,
            channels,
            pixels,
        };
        Ok(match self.resize {
            Some(side) => fit(image, side),
            None => image,
        })
    }

    /// What an image takes whose values take `values_bytes`, of `value_bytes` each, and decoding them `decode_bytes`.
    pub(super) fn size(
        &self,
        shape: Shape,
        value_bytes: u64,
        values_bytes: u64,
        decode_bytes: u64,
    ) -> ImageSize {
        let channels = u64::from(self.channels(shape.channels));
        let [height, width] = [shape.height, shape.width].map(u64::from);
        // One byte a value stays one byte; deeper values become float32, and perhaps bytes then.
        let (pixel_bytes, beside_bytes) = match value_bytes {
            1 => (channels, 0),
            _ => (channels * size_of::<f32>() as u64, channels),
        };
        let bytes = |pixel_bytes: u64, n_pixels: u64| pixel_bytes.saturating_mul(n_pixels);
        let n_whole = height.saturating_mul(width);
        let converted = values_bytes.saturating_add(bytes(pixel_bytes + beside_bytes, n_whole));
        let side = self.resize.unwrap_or(u32::MAX);
        let (fit_height, fit_width) = fitted(shape.height, shape.width, side);
        let [fit_height, fit_width] = [fit_height, fit_width].map(u64::from);
        let n_pixels = fit_height.saturating_mul(fit_width);
        let resized = match n_pixels < n_whole {
            // Rows are made fewer first, in four floats a pixel; the image may have been turned on its side.
            true => bytes(2 * pixel_bytes, n_whole)
                .saturating_add(bytes(
                    4 * size_of::<f32>() as u64,
                    (width.saturating_mul(fit_height)).max(height.saturating_mul(fit_width)),
                ))
                .saturating_add(bytes(2 * pixel_bytes, n_pixels)),
            false => 0,
        };
        ImageSize {
            decode_bytes: decode_bytes.max(converted).max(resized),
            image_bytes: bytes(pixel_bytes, n_pixels),
            n_pixels,
        }
    }

    /// Values a pixel of an image that is stored with so many.
    fn channels(&self, stored: u32) -> u32 {
        match self.color {
            Color::Auto if is_color(stored) => Color::Rgb.channels(),
            color => color.channels(),
        }
    }
}

/// Whether so many values a pixel are a colour: two are grey and its alpha.
fn is_color(channels: u32) -> bool {
    channels >= 3
}

/// A stored value, and what it is as a pixel.
trait Value: Copy {
    type Pixel: Copy + PartialEq;
    fn pixel(self) -> Self::Pixel;
    /// The value in front of white, where `self` is as opaque as `alpha` is large. An opaque one is what it was.
    fn on_white(self, alpha: Self) -> Self;
    fn luma(rgb: [Self::Pixel; 3]) -> Self::Pixel;
}

impl Value for u8 {
    type Pixel = u8;

    fn pixel(self) -> u8 {
        self
    }

    fn on_white(self, alpha: u8) -> u8 {
        let [value, alpha, white] = [self, alpha, u8::MAX].map(u32::from);
        ((value * alpha + white * (white - alpha) + white / 2) / white) as u8
    }

    fn luma([r, g, b]: [u8; 3]) -> u8 {
        let weighted = u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471;
        ((weighted + 0x8000) >> 16) as u8
    }
}

impl Value for u16 {
    type Pixel = f32;

    fn pixel(self) -> f32 {
        f32::from(self) / 257.0
    }

    fn on_white(self, alpha: u16) -> u16 {
        let [value, alpha, white] = [self, alpha, u16::MAX].map(u64::from);
        ((value * alpha + white * (white - alpha) + white / 2) / white) as u16
    }

    fn luma(rgb: [f32; 3]) -> f32 {
        f32::luma(rgb)
    }
}

impl Value for f32 {
    type Pixel = f32;

    fn pixel(self) -> f32 {
        self
    }

    /// White is 1.
    fn on_white(self, alpha: f32) -> f32 {
        let alpha = f64::from(alpha.clamp(0.0, 1.0));
        (f64::from(self) * alpha + (1.0 - alpha)) as f32
    }

    fn luma([r, g, b]: [f32; 3]) -> f32 {
        (f64::from(r) * 0.299 + f64::from(g) * 0.587 + f64::from(b) * 0.114) as f32
    }
}

/// The RGB values of RGBA floats, whose white is 1 whatever becomes of them later.
pub(super) fn rgb_on_white(rgba: &[f32]) -> Vec<f32> {
    let pixels = rgba.chunks_exact(4);
    pixels
        .flat_map(|pixel| [0, 1, 2].map(|channel| pixel[channel].on_white(pixel[3])))
        .collect()
}

/// The pixels of values, in the colour that is asked for, side by side.
fn convert<V: Value>(
    shape: Shape,
    values: &[V],
    alpha: Alpha,
    color: Color,
) -> Result<Vec<V::Pixel>, Reason> {
    let n_pixels = shape.height as usize * shape.width as usize;
    let channels = shape.channels as usize;
    let (pixel_step, channel_step) = match shape.channels_first {
        true => (1, n_pixels),
        false => (channels, 1),
    };
    let at = |pixel: usize, channel: usize| values[pixel * pixel_step + channel * channel_step];
    let has_alpha = alpha == Alpha::Opacity && matches!(channels, 2 | 4);
    let pixel = |pixel: usize, channel: usize| match has_alpha {
        true => at(pixel, channel).on_white(at(pixel, channels - 1)).pixel(),
        false => at(pixel, channel).pixel(),
    };
    let rgb = |at: usize| [pixel(at, 0), pixel(at, 1), pixel(at, 2)];
    let all = 0..n_pixels;
    match (color, is_color(shape.channels)) {
        (Color::Grey, true) => Ok(all.map(|at| V::luma(rgb(at))).collect()),
        (Color::GreyOnly, true) => {
            let grey = |at| match rgb(at) {
                [r, g, b] if r == g && g == b => Ok(r),
                _ => Err(in_color()),
            };
            all.map(grey).collect()
        }
        (Color::Rgb | Color::Auto, true) => Ok(all.flat_map(rgb).collect()),
        (Color::Rgb, false) => Ok(all.flat_map(|at| [pixel(at, 0); 3]).collect()),
        (_, false) => Ok(all.map(|at| pixel(at, 0)).collect()),
    }
}

fn in_color() -> Reason {
    "the image is in colour, and the job's are grey, as its first one is; set input.color = \"grey\" or \"rgb\""
        .to_owned()
}

/// The same pixels as bytes, if they can be.
pub(super) fn smallest(floats: Vec<f32>) -> Pixels {
    let is_byte = |&v: &f32| (0.0..=255.0).contains(&v) && v.fract().abs() < f32::MIN_POSITIVE;
    if floats.iter().all(is_byte) {
        Pixels::U8(floats.iter().map(|&v| v as u8).collect())
    } else {
        Pixels::F32(floats)
    }
}

/// Height and width of an image whose longest side is at most `side`: in proportion, rounded, and at least 1.
fn fitted(height: u32, width: u32, side: u32) -> (u32, u32) {
    let longest = height.max(width);
    if longest <= side {
        return (height, width);
    }
    let scaled = |length: u32| {
        let [length, side, longest] = [length, side, longest].map(u64::from);
        ((2 * length * side + longest) / (2 * longest)).max(1) as u32
    };
    (scaled(height), scaled(width))
}

/// The image, made smaller if its longest side is more than `side`.
fn fit(image: Image, side: u32) -> Image {
    let from = (image.height, image.width);
    let to = fitted(image.height, image.width, side);
    if from == to {
        return image;
    }
    let pixels = match (image.channels, image.pixels) {
        (1, Pixels::U8(values)) => Pixels::U8(resized::<Luma<u8>>(values, from, to)),
        (_, Pixels::U8(values)) => Pixels::U8(resized::<Rgb<u8>>(values, from, to)),
        (1, Pixels::F32(values)) => Pixels::F32(resized_floats::<Luma<f32>>(values, from, to)),
        (_, Pixels::F32(values)) => Pixels::F32(resized_floats::<Rgb<f32>>(values, from, to)),
    };
    Image {
        height: to.0,
        width: to.1,
        channels: image.channels,
        pixels,
    }
}

/// Each pixel is a mean of those below it, weighted by a triangle: nothing flickers, and nothing overshoots.
fn resized<P>(values: Vec<P::Subpixel>, from: (u32, u32), to: (u32, u32)) -> Vec<P::Subpixel>
where
    P: Pixel + 'static,
    P::Subpixel: 'static,
{
    match ImageBuffer::<P, _>::from_raw(from.1, from.0, values) {
        Some(image) => imageops::resize(&image, to.1, to.0, FilterType::Triangle).into_raw(),
        None => unreachable!("an image has as many values as its size says"),
    }
}

/// The same of floats of any range: the resizing itself cuts them at 0 and 1.
fn resized_floats<P>(values: Vec<f32>, from: (u32, u32), to: (u32, u32)) -> Vec<f32>
where
    P: Pixel<Subpixel = f32> + 'static,
{
    let low = f64::from(values.iter().copied().fold(f32::INFINITY, f32::min));
    let high = f64::from(values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let span = high - low;
    if span <= 0.0 {
        let n_values = values.len() / (from.0 as usize * from.1 as usize);
        return vec![low as f32; n_values * to.0 as usize * to.1 as usize];
    }
    let shares = values
        .into_iter()
        .map(|value| ((f64::from(value) - low) / span) as f32);
    let shares = resized::<P>(shares.collect(), from, to);
    let value = |share: f32| (low + f64::from(share) * span) as f32;
    shares.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Color; 4] = Color::ALL;

    fn reading(color: Color, resize: Option<u32>) -> Reading {
        Reading {
            color,
            resize,
            ..Reading::default()
        }
    }

    fn shape(height: u32, width: u32, channels: u32, channels_first: bool) -> Shape {
        Shape {
            height,
            width,
            channels,
            channels_first,
        }
    }

    fn of_bytes(color: Color, channels: u32, values: &[u8]) -> Result<Vec<u8>, Reason> {
        let width = values.len() as u32 / channels;
        let shape = shape(1, width, channels, false);
        let values = Values::U8(values.into());
        let image = reading(color, None).image(shape, values, Alpha::Opacity)?;
        assert_eq!((image.height, image.width), (1, width));
        match image.pixels {
            Pixels::U8(pixels) => Ok(pixels),
            Pixels::F32(floats) => panic!("{floats:?}"),
        }
    }

    #[test]
    fn luma_is_pillows() {
        // Values that `Image.convert("L")` gives.
        for (rgb, grey) in [
            ([255, 0, 0], 76),
            ([0, 255, 0], 150),
            ([0, 0, 255], 29),
            ([10, 20, 30], 18),
            ([255, 255, 255], 255),
        ] {
            assert_eq!(of_bytes(Color::Grey, 3, &rgb), Ok(vec![grey]), "{rgb:?}");
        }
    }

    #[test]
    fn whole_numbers_up_to_255_are_kept_as_bytes() {
        assert_eq!(smallest(vec![0.0, 255.0, 7.0]), Pixels::U8(vec![0, 255, 7]));
        for other in [vec![0.5], vec![256.0], vec![-1.0]] {
            assert_eq!(smallest(other.clone()), Pixels::F32(other));
        }
    }

    #[test]
    fn channels_may_come_first_or_last() {
        for color in [Color::Grey, Color::Rgb, Color::Auto] {
            let image = |first, values: [u8; 6]| {
                let values = Values::U8(values.to_vec().into());
                reading(color, None).image(shape(1, 2, 3, first), values, Alpha::Unknown)
            };
            let last = image(false, [255, 0, 1, 0, 2, 255]);
            assert_eq!(image(true, [255, 0, 0, 2, 1, 255]), last, "{color:?}");
        }
    }

    #[test]
    fn a_grey_image_in_colour_has_each_value_three_times() {
        assert_eq!(of_bytes(Color::Rgb, 1, &[7, 9]), Ok(vec![7, 7, 7, 9, 9, 9]));
        assert_eq!(of_bytes(Color::Rgb, 2, &[7, 255]), Ok(vec![7, 7, 7]));
        assert_eq!(of_bytes(Color::Auto, 2, &[7, 255]), Ok(vec![7]));
    }

    #[test]
    fn colour_among_grey_is_refused_and_grey_stored_as_colour_is_not() {
        let reason = of_bytes(Color::GreyOnly, 3, &[1, 1, 1, 4, 4, 5]).expect_err("colour");
        assert!(reason.contains("input.color"), "{reason}");
        assert_eq!(
            of_bytes(Color::GreyOnly, 3, &[1, 1, 1, 4, 4, 4]),
            Ok(vec![1, 4])
        );
        assert_eq!(of_bytes(Color::GreyOnly, 1, &[1, 4]), Ok(vec![1, 4]));
    }

    #[test]
    fn what_is_transparent_is_seen_on_white() {
        assert_eq!(of_bytes(Color::Rgb, 4, &[9, 8, 7, 0]), Ok(vec![255; 3]));
        assert_eq!(
            of_bytes(Color::Rgb, 4, &[0, 51, 255, 128]),
            Ok(vec![127, 153, 255])
        );
        assert_eq!(of_bytes(Color::Grey, 4, &[9, 8, 7, 0]), Ok(vec![255]));
        assert_eq!(
            of_bytes(Color::Grey, 2, &[100, 0, 100, 255]),
            Ok(vec![255, 100])
        );
        assert_eq!(5u16.on_white(0), u16::MAX);
        assert_eq!(0.25f32.on_white(0.5).to_bits(), 0.625f32.to_bits());
    }

    #[test]
    fn alpha_of_an_unknown_scale_is_passed_over() {
        for (color, expected) in [(Color::Rgb, vec![9, 8, 7]), (Color::Grey, vec![8])] {
            let values = Values::U8(vec![9, 8, 7, 0].into());
            let image = reading(color, None).image(shape(1, 1, 4, false), values, Alpha::Unknown);
            assert_eq!(image.map(|image| image.pixels), Ok(Pixels::U8(expected)));
        }
    }

    #[test]
    fn sixteen_bits_are_divided_by_257() {
        let image = |color, channels, values: &[u16]| {
            let shape = shape(1, 1, channels, false);
            let image =
                reading(color, None).image(shape, Values::U16(values.to_vec()), Alpha::Opacity);
            image.map(|image| image.pixels)
        };
        let whole = [257, 2 * 257, 255 * 257];
        assert_eq!(
            image(Color::Rgb, 3, &whole),
            Ok(Pixels::U8(vec![1, 2, 255]))
        );
        let between = image(Color::Rgb, 3, &[257, 100, 0]);
        assert_eq!(between, Ok(Pixels::F32(vec![1.0, 100.0 / 257.0, 0.0])));
        assert_eq!(image(Color::Grey, 1, &[514]), Ok(Pixels::F32(vec![2.0])));
    }

    #[test]
    fn sides_are_made_smaller_in_proportion() {
        for (from, side, to) in [
            ((100, 50), 200, (100, 50)),
            ((100, 50), 100, (100, 50)),
            ((100, 50), 10, (10, 5)),
            ((50, 101), 10, (5, 10)),
            ((1000, 3), 10, (10, 1)),
            ((65_535, 65_535), 1, (1, 1)),
            ((7, 5), 4, (4, 3)),
        ] {
            assert_eq!(fitted(from.0, from.1, side), to, "{from:?}, {side}");
        }
    }

    #[test]
    fn a_smaller_image_has_the_means_of_what_it_was() {
        let image = Image {
            height: 4,
            width: 8,
            channels: 3,
            pixels: Pixels::U8(
                (0..96)
                    .map(|i| [10, 20, 30][i % 3] + (i / 48) as u8 * 100)
                    .collect(),
            ),
        };
        let small = fit(image, 4);
        assert_eq!((small.height, small.width, small.channels), (2, 4, 3));
        let Pixels::U8(pixels) = small.pixels else {
            panic!("bytes stay bytes");
        };
        // Along a row all is one colour; down the column a triangle reaches one row into the other half.
        assert!(pixels[..12].chunks(3).all(|pixel| pixel == &pixels[..3]));
        assert!(
            pixels[..3] > [10, 20, 30][..] && pixels[..3] < [40, 50, 60][..],
            "{pixels:?}"
        );
    }

    proptest! {
        #[test]
        fn opaque_pixels_are_what_they_are_without_alpha(
            rgb in proptest::collection::vec(any::<[u8; 3]>(), 1..20)
        ) {
            let without: Vec<u8> = rgb.iter().flatten().copied().collect();
            let with: Vec<u8> = rgb.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
            for color in ALL {
                prop_assert_eq!(of_bytes(color, 4, &with), of_bytes(color, 3, &without));
            }
            for value in without {
                let deep = u16::from(value) * 200;
                prop_assert_eq!(deep.on_white(u16::MAX), deep);
                let float = f32::from(value) - 100.5;
                prop_assert_eq!(float.on_white(1.0).to_bits(), float.to_bits());
            }
        }

        #[test]
        fn smaller_floats_stay_in_their_range_and_agree_with_smaller_bytes(
            (height, width) in (1..30u32, 1..30u32),
            side in 1..30u32,
            channels in prop::sample::select(vec![1u32, 3]),
            seed in any::<u32>(),
        ) {
            let n = (height * width * channels) as usize;
            let bytes: Vec<u8> = (0..n as u32).map(|i| (i.wrapping_mul(seed) >> 13) as u8).collect();
            let image = |pixels| Image { height, width, channels, pixels };
            let small = fit(image(Pixels::U8(bytes.clone())), side);
            let floats = bytes.iter().map(|&byte| f32::from(byte) * 8.0 - 700.0).collect();
            let small_floats = fit(image(Pixels::F32(floats)), side);
            let (Pixels::U8(small), Pixels::F32(floats)) = (small.pixels, small_floats.pixels) else {
                panic!("pixels stay what they are");
            };
            prop_assert_eq!(small.len(), floats.len());
            for (byte, float) in small.into_iter().zip(floats) {
                let expected = f64::from(byte);
                prop_assert!((f64::from(float + 700.0) / 8.0 - expected).abs() < 0.51);
            }
        }

        #[test]
        fn no_image_takes_more_than_was_said(
            (height, width) in (1..40u32, 1..40u32),
            channels in 1..5u32,
            side in prop::option::of(1..40u32),
            is_deep in any::<bool>(),
        ) {
            let n = (height * width * channels) as usize;
            for color in ALL {
                let reading = reading(color, side);
                let shape = shape(height, width, channels, false);
                let values = match is_deep {
                    true => Values::U16(vec![1000; n]),
                    false => Values::U8(vec![7; n].into()),
                };
                let size = reading.size(shape, 1 + u64::from(is_deep), n as u64, 0);
                let image = reading.image(shape, values, Alpha::Unknown).expect("an image");
                let pixels = image.pixels.as_ref();
                prop_assert!(pixels.size_bytes() as u64 <= size.image_bytes);
                prop_assert_eq!(u64::from(image.height) * u64::from(image.width), size.n_pixels);
                prop_assert_eq!(pixels.len() as u64, size.n_pixels * u64::from(image.channels));
                prop_assert!(size.image_bytes <= size.decode_bytes);
            }
        }
    }
}
