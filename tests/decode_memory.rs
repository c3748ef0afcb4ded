//! Reading an image allocates no more than was said before, in grey and in colour, whole and made smaller. A binary of its
//! own, because it counts every allocation of the process.

#[path = "common/counting.rs"]
mod counting;

use std::io::Cursor;

use arrow::array::BinaryArray;
use bovw::job::Color;
use bovw::shard::columns::BinaryRows;
use bovw::shard::images::ImageRows;
use bovw::shard::pixels::Reading;
use counting::peak_bytes;
use image::{DynamicImage, ImageFormat, Rgb, Rgb32FImage, RgbImage};

/// Buffers of decoders that have one size for all images.
const FIXED_BYTES: u64 = 256 << 10;

fn encoded(image: &DynamicImage, format: ImageFormat) -> Option<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    // Not every format has every type of pixel.
    image.write_to(&mut bytes, format).ok()?;
    Some(bytes.into_inner())
}

#[test]
fn reading_an_image_takes_no_more_memory_than_was_said() {
    let rgb: DynamicImage = RgbImage::from_fn(700, 900, |x, y| {
        Rgb([(x * y % 251) as u8, (x / 3) as u8, (y / 4) as u8])
    })
    .into();
    let floats = Rgb32FImage::from_fn(700, 900, |x, y| Rgb([x as f32 / 700.0, y as f32, 0.5]));
    let images = [
        rgb.to_luma8().into(),
        rgb.to_luma16().into(),
        rgb.to_luma_alpha8().into(),
        DynamicImage::ImageLumaA16(rgb.to_luma_alpha16()),
        rgb.to_rgba8().into(),
        rgb.to_rgb16().into(),
        rgb.to_rgba16().into(),
        floats.clone().into(),
        DynamicImage::ImageRgb32F(floats).to_rgba32f().into(),
        rgb,
    ];
    let formats = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Tiff,
        ImageFormat::Bmp,
        ImageFormat::Pnm,
    ];
    let mut n_read = 0;
    for (image, format) in images.iter().flat_map(|i| formats.map(|f| (i, f))) {
        let Some(bytes) = encoded(image, format) else {
            continue;
        };
        let column = BinaryArray::from_vec(vec![&bytes]);
        for color in Color::ALL {
            for resize in [None, Some(880), Some(100)] {
                let reading = Reading {
                    color,
                    resize,
                    ..Reading::default()
                };
                let rows = ImageRows::encoded(BinaryRows::Small(&column), reading);
                let promised = rows.size(0);
                let mut size_bytes = 0;
                let peak = peak_bytes(|| {
                    let image = rows.get(0);
                    size_bytes = image.map_or(0, |image| image.pixels.as_ref().size_bytes()) as u64;
                });
                let what = format!("{format:?} of {:?}, {color:?}, {resize:?}", image.color());
                assert!(
                    peak <= promised.decode_bytes + FIXED_BYTES,
                    "{what}: {peak} bytes, {promised:?}"
                );
                assert!(size_bytes <= promised.image_bytes, "{what}: {promised:?}");
                n_read += u32::from(size_bytes > 0);
            }
        }
    }
    assert!(n_read > 200, "{n_read}");
}
