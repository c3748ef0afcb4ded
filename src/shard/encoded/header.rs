//! Headers of encoded images, read before any decoder does: sizes, and what decoders would allocate by their word.
//!
//! Only what is needed for that: everything else that is wrong with an image is the decoder's to say. Nothing here
//! allocates, and nothing panics whatever the bytes are.

use image::{ImageDecoder, ImageFormat};

use super::Reason;

/// Texts, profiles and the like in front of a PNG's pixels, at most.
const MAX_METADATA_BYTES: u64 = 4 << 20;

/// A PNG's colour profile, decompressed, at most; a longer one is passed over by the decoder, as all are by us.
const MAX_PROFILE_BYTES: u64 = 1 << 18;

/// The most that deflate makes of a byte.
const DEFLATE_TIMES: u64 = 1032;

/// What the header of an image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Values of a pixel once it is decoded.
    pub(super) channels: u8,
    /// Bytes of such a value.
    pub(super) value_bytes: u8,
    /// Heap bytes that the decoder takes beside those for pixels.
    pub(super) beside_bytes: u64,
}

impl Header {
    /// The header of an image; `None` where the decoder has to be asked, which then allocates nothing that matters.
    ///
    /// # Errors
    /// It claims what its bytes do not hold.
    pub(super) fn of(bytes: &[u8], format: ImageFormat) -> Result<Option<Header>, Reason> {
        match format {
            ImageFormat::Png => png(bytes),
            ImageFormat::Jpeg => Ok(jpeg(bytes)),
            ImageFormat::Gif => Ok(gif(bytes)),
            ImageFormat::WebP => check_webp(bytes).map(|()| None),
            ImageFormat::Tiff => check_tiff(bytes).map(|()| None),
            _ => Ok(None),
        }
    }

    /// The header as a decoder has it.
    pub(super) fn of_decoder(decoder: &impl ImageDecoder, bytes: &[u8]) -> Header {
        let (width, height) = decoder.dimensions();
        let color = decoder.color_type();
        let mut header = Header {
            width,
            height,
            channels: color.channel_count(),
            value_bytes: color.bytes_per_pixel() / color.channel_count(),
            beside_bytes: 0,
        };
        header.beside_bytes = header.excess_bytes(bytes);
        header
    }

    pub(super) fn n_pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Bytes of the decoded image.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let pixel_bytes = u64::from(self.channels) * u64::from(self.value_bytes);
        self.n_pixels().saturating_mul(pixel_bytes)
    }

    /// Bytes of a row of the decoded image.
    pub(super) fn line_bytes(&self) -> u64 {
        u64::from(self.width) * u64::from(self.channels) * u64::from(self.value_bytes)
    }

    /// What is not pixels must be something that decoders keep, perhaps in a vector that grows.
    fn excess_bytes(&self, bytes: &[u8]) -> u64 {
        2 * (bytes.len() as u64).saturating_sub(self.decoded_bytes())
    }
}

/// Big-endian numbers, as far as the bytes go.
fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*two))
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*four))
}

/// A PNG: its first chunk has the size; those before the pixels are metadata.
fn png(bytes: &[u8]) -> Result<Option<Header>, Reason> {
    const FIRST_CHUNK: usize = 8;
    let Some((&[depth, color], width, height)) = bytes
        .get(24..)
        .and_then(<[u8]>::first_chunk)
        .zip(u32_be(bytes, 16))
        .zip(u32_be(bytes, 20))
        .map(|((kind, width), height)| (kind, width, height))
    else {
        return Ok(None);
    };
    let (mut at, mut metadata_bytes, mut profile_bytes) = (FIRST_CHUNK, 0u64, 0);
    let mut has_transparency = false;
    while let (Some(len), Some(name)) = (u32_be(bytes, at), bytes.get(at + 4..at + 8)) {
        match name {
            b"IDAT" => break,
            b"iCCP" => profile_bytes = (u64::from(len) * DEFLATE_TIMES).min(MAX_PROFILE_BYTES),
            b"tRNS" => has_transparency = true,
            _ => {}
        }
        if !matches!(name, b"IHDR" | b"PLTE" | b"tRNS") {
            // What is not there is not kept either.
            metadata_bytes += u64::from(len).min(bytes.len() as u64);
        }
        // Length, name and checksum around the chunk.
        let Some(next) = at.checked_add(12 + len as usize) else {
            break;
        };
        at = next;
    }
    if metadata_bytes > MAX_METADATA_BYTES {
        return Err(format!(
            "{metadata_bytes} bytes of texts and profiles come before the pixels, at most {MAX_METADATA_BYTES} are read"
        ));
    }
    let channels = match color {
        0 => 1,
        4 => 2,
        2 | 3 => 3,
        _ => 4,
    };
    Ok(Some(Header {
        width,
        height,
        channels: channels + u8::from(has_transparency && color < 4),
        value_bytes: if depth == 16 { 2 } else { 1 },
        // A chunk while it is read, in a vector that grows, and what is kept of it.
        beside_bytes: 3 * metadata_bytes + profile_bytes,
    }))
}

/// A JPEG: segments up to the one that has the size.
fn jpeg(bytes: &[u8]) -> Option<Header> {
    let mut at = 2;
    loop {
        // Segments may be padded with 0xff.
        while bytes.get(at) == Some(&0xff) && bytes.get(at + 1) == Some(&0xff) {
            at += 1;
        }
        let &[0xff, marker] = bytes.get(at..)?.first_chunk()? else {
            return None;
        };
        match marker {
            0x01 | 0xd0..=0xd8 => at += 2,
            // Start of frame, of any kind but those of other meaning.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => break,
            _ => at += 2 + usize::from(u16_be(bytes, at + 2)?.max(2)),
        }
    }
    let n_components = *bytes.get(at + 9)?;
    // How finely each component is sampled: blocks of 8x8 in a unit.
    let factors = || {
        let all = (0..usize::from(n_components)).map(move |i| bytes.get(at + 11 + 3 * i));
        all.map_while(|factor| factor.copied())
    };
    let most = |side: fn(u8) -> u8| u64::from(factors().map(side).max().unwrap_or(1).max(1));
    let mut header = Header {
        width: u16_be(bytes, at + 7)?.into(),
        height: u16_be(bytes, at + 5)?.into(),
        channels: if n_components == 1 { 1 } else { 3 },
        value_bytes: 1,
        beside_bytes: 0,
    };
    let padded = |side: u32, blocks: u64| u64::from(side).next_multiple_of(8 * blocks);
    let n_padded =
        padded(header.width, most(|f| f >> 4)) * padded(header.height, most(|f| f & 0xf));
    let n_components = u64::from(n_components);
    // The decoder copies all of the file, and its segments once more. It works in whole units, in vectors of 16 bits.
    header.beside_bytes = 2 * bytes.len() as u64
        + 6 * n_components * (n_padded - header.n_pixels())
        + 2 * n_components.saturating_sub(3) * n_padded;
    Some(header)
}

/// A GIF: the screen that its first frame is drawn on, always with alpha.
fn gif(bytes: &[u8]) -> Option<Header> {
    let side = |at| u16_be(bytes, at).map(|side| u32::from(side.swap_bytes()));
    let mut header = Header {
        width: side(6)?,
        height: side(8)?,
        channels: 4,
        value_bytes: 1,
        beside_bytes: 0,
    };
    header.beside_bytes = header.excess_bytes(bytes);
    Some(header)
}

/// A WebP: the decoder allocates by the word of a chunk, so no chunk may be longer than the file.
fn check_webp(bytes: &[u8]) -> Result<(), Reason> {
    const FIRST_CHUNK: usize = 12;
    let mut at = FIRST_CHUNK;
    while let Some(len) = u32_be(bytes, at + 4).map(u32::swap_bytes) {
        if len as usize > bytes.len() {
            return Err(too_long("chunk", len.into(), bytes));
        }
        // Frames of an animation hold chunks of their own, 16 bytes into theirs.
        let is_frame = bytes.get(at..at + 4) == Some(b"ANMF");
        let padded = len as usize + (len as usize & 1);
        at += 8 + if is_frame { 16 } else { padded };
    }
    Ok(())
}

/// A TIFF: the decoder allocates by the word of a field, so no field may be longer than the file.
fn check_tiff(bytes: &[u8]) -> Result<(), Reason> {
    let tiff = Tiff {
        bytes,
        is_little: bytes.first() == Some(&b'I'),
    };
    let is_big = tiff.number(2, 2) == Some(43);
    // Where the number of fields and the fields are, and how long a field is.
    let (word, entry_bytes, n_bytes) = if is_big { (8, 20, 8) } else { (4, 12, 2) };
    let directory = if is_big {
        tiff.number(8, 8)
    } else {
        tiff.number(4, 4)
    };
    let Some(directory) = directory.and_then(|at| usize::try_from(at).ok()) else {
        return Ok(());
    };
    let n_entries = tiff.number(directory, n_bytes).unwrap_or(0);
    for entry in 0..n_entries {
        let at = usize::try_from(entry)
            .ok()
            .and_then(|entry| entry.checked_mul(entry_bytes))
            .and_then(|offset| offset.checked_add(directory)?.checked_add(n_bytes));
        let Some((at, kind)) = at.and_then(|at| Some((at, tiff.number(at + 2, 2)?))) else {
            return Ok(());
        };
        let value_bytes = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 4,
        };
        let len = tiff.number(at + 4, word).unwrap_or(0);
        let len = len.saturating_mul(value_bytes);
        if len > bytes.len() as u64 {
            return Err(too_long("field", len, bytes));
        }
    }
    Ok(())
}

/// A TIFF's numbers, in its own byte order.
struct Tiff<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl Tiff<'_> {
    fn number(&self, at: usize, n_bytes: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(n_bytes)?)?;
        let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        Some(match self.is_little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    }
}

fn too_long(what: &str, len: u64, bytes: &[u8]) -> Reason {
    format!(
        "a {what} claims {len} bytes, the image has {} in all",
        bytes.len()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageReader, guess_format};
    use proptest::prelude::*;

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("encoded");
        bytes.into_inner()
    }

    #[test]
    fn a_header_says_what_the_decoder_will_say() {
        let rgb = DynamicImage::ImageRgb8(image::RgbImage::from_fn(13, 7, |x, y| {
            image::Rgb([x as u8, y as u8, 9])
        }));
        let images = [
            rgb.to_luma8().into(),
            rgb.to_luma16().into(),
            rgb.to_luma_alpha8().into(),
            rgb.to_rgba8().into(),
            rgb.to_rgb16().into(),
            rgb,
        ];
        for image in &images {
            for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif] {
                let mut bytes = Cursor::new(Vec::new());
                // Not every format has every type of pixel.
                if image.write_to(&mut bytes, format).is_err() {
                    continue;
                }
                let bytes = bytes.into_inner();
                let header = Header::of(&bytes, format).expect("right").expect("known");
                let decoder = ImageReader::with_format(Cursor::new(&bytes), format)
                    .into_decoder()
                    .expect("a decoder");
                let expected = Header {
                    beside_bytes: header.beside_bytes,
                    ..Header::of_decoder(&decoder, &bytes)
                };
                assert_eq!(header, expected, "{format:?}");
            }
        }
    }

    #[test]
    fn what_other_formats_claim_is_held_against_their_bytes() {
        let image = DynamicImage::ImageRgb8(image::RgbImage::new(5, 5));
        for format in [ImageFormat::WebP, ImageFormat::Tiff] {
            let mut bytes = encoded(&image, format);
            assert_eq!(Header::of(&bytes, format), Ok(None), "{format:?}");
            let at = match format {
                // The length of the first chunk.
                ImageFormat::WebP => 16,
                // The count of the first field.
                _ => {
                    let directory = u32_be(&bytes, 4).expect("a directory").swap_bytes();
                    directory as usize + 6
                }
            };
            bytes[at..at + 4].copy_from_slice(&[0xf0; 4]);
            let reason = Header::of(&bytes, format).expect_err("refused");
            assert!(reason.contains("claims"), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(start in 0..6usize, rest in proptest::collection::vec(any::<u8>(), 0..120)) {
            let starts: [&[u8]; 6] = [
                b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0\x2b",
            ];
            let bytes = [starts[start], &rest].concat();
            if let Ok(format) = guess_format(&bytes) {
                let _ = Header::of(&bytes, format);
            }
        }
    }
}
