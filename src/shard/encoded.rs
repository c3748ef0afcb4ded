//! Encoded images: what one takes, known from its header alone, and then its pixels.
//!
//! Decoders are given no more memory than was said before. What they would allocate by an image's own word before its
//! size is known (profiles, tables, texts) is looked at in [`header`], and refused where the bytes are not there.

mod header;

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, guess_format,
    metadata::Orientation,
};

use self::header::Header;
use super::detect::Shape;
use super::images::{ImageSize, Reason};
use super::pixels::Reading;

/// What a decoder may allocate beside pixels and metadata: buffers of a fixed size.
const DECODER_BYTES: u64 = 1 << 16;

/// What an encoded image takes; nothing for one that will be refused for its size.
pub(super) fn size(bytes: &[u8], reading: &Reading) -> Result<ImageSize, Reason> {
    let format = format(bytes)?;
    let header = match Header::of(bytes, format)? {
        Some(header) => header,
        None => Header::of_decoder(&decoder(bytes, format, 0)?, bytes),
    };
    if header.n_pixels() > reading.max_pixels {
        return Ok(ImageSize::default());
    }
    let shape = Shape {
        height: header.height,
        width: header.width,
        channels: header.channels.into(),
        channels_first: false,
    };
    let decoded_bytes = header.decoded_bytes();
    let value_bytes = u64::from(header.value_bytes);
    // The decoder's own working memory, or a turned copy, is at most another image, and as much again as it has values in
    // the form that pixels are kept in.
    let kept_bytes = match value_bytes {
        1 => decoded_bytes,
        _ => decoded_bytes / value_bytes * size_of::<f32>() as u64,
    };
    let decode_bytes = decoded_bytes.saturating_mul(2).saturating_add(kept_bytes);
    let size = reading.size(shape, value_bytes, decoded_bytes, decode_bytes);
    Ok(ImageSize {
        decode_bytes: size.decode_bytes.saturating_add(header.beside_bytes),
        ..size
    })
}

/// The decoded image, turned as its EXIF data says.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<DynamicImage, Reason> {
    let format = format(bytes)?;
    let header = Header::of(bytes, format)?;
    if let Some(header) = &header {
        check_pixels(header.width, header.height, max_pixels)?;
    }
    let max_bytes = header.map_or(0, |header| {
        header.beside_bytes.saturating_add(header.line_bytes())
    });
    let mut decoder = decoder(bytes, format, max_bytes)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, max_pixels)?;
    let max_bytes = decoder
        .total_bytes()
        .saturating_mul(2)
        .saturating_add(bytes.len() as u64 + DECODER_BYTES);
    decoder
        .set_limits(limits(max_bytes))
        .map_err(|error| undecodable(&error))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| undecodable(&error))?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

fn check_pixels(width: u32, height: u32, max_pixels: u64) -> Result<(), Reason> {
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(format!(
            "{height}x{width} pixels are more than input.max_pixels = {max_pixels}"
        ));
    }
    Ok(())
}

fn format(bytes: &[u8]) -> Result<ImageFormat, Reason> {
    if bytes.is_empty() {
        return Err("the image is empty (0 bytes)".to_owned());
    }
    guess_format(bytes).map_err(|_| "not an image of a known format".to_owned())
}

/// A decoder that may allocate `max_bytes` for what comes before the pixels, and what is fixed.
fn decoder(
    bytes: &[u8],
    format: ImageFormat,
    max_bytes: u64,
) -> Result<impl ImageDecoder + '_, Reason> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(max_bytes.saturating_add(DECODER_BYTES)));
    reader.into_decoder().map_err(|error| undecodable(&error))
}

fn limits(max_bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_bytes);
    limits
}

fn undecodable(error: &image::ImageError) -> Reason {
    format!("cannot be decoded: {error}")
}
