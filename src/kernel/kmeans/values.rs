//! Normalised values of sampled patches, one patch at a time.
//!
//! The values are those of [`Scaling::apply`], bit for bit. Where pixels are u8 they come from a table of the 256 values
//! that an image can have, which is made anew only when the image changes.

use crate::kernel::grid::PatchShape;
use crate::kernel::image::PixelsRef;
use crate::kernel::normalize::Scaling;
use crate::kernel::sample::{Patches, SampleView};

/// Reads the normalised values of patches; keeps the last image's table.
#[derive(Debug, Clone)]
pub struct ValueReader {
    patch: PatchShape,
    scaling: Option<Scaling>,
    // [256], the value of each u8 pixel.
    table: Vec<f64>,
}

impl ValueReader {
    /// A reader of patches of this shape.
    pub fn new(patch: PatchShape) -> ValueReader {
        ValueReader {
            patch,
            scaling: None,
            table: Vec::new(),
        }
    }

    /// Writes the values of the patch at `offset` of `patches` over `values`, `d` long.
    #[inline(always)]
    pub fn read(&mut self, patches: &Patches<'_>, offset: u32, values: &mut [f64]) {
        let (width, stride) = (self.patch.row_len(), patches.row_stride as usize);
        let rows = values.chunks_exact_mut(width);
        let starts = (offset as usize..).step_by(stride.max(1));
        match patches.pixels {
            // Pixels as they are: no table, and whole rows at once.
            PixelsRef::U8(pixels) if patches.scaling == Scaling::AS_STORED => {
                for (row, start) in rows.zip(starts) {
                    for (value, &pixel) in row.iter_mut().zip(&pixels[start..start + width]) {
                        *value = f64::from(pixel);
                    }
                }
            }
            PixelsRef::U8(pixels) => {
                self.prepare(patches.scaling);
                let Some(table) = self.table.first_chunk::<256>() else {
                    return;
                };
                for (row, start) in rows.zip(starts) {
                    for (value, &pixel) in row.iter_mut().zip(&pixels[start..start + width]) {
                        *value = table[usize::from(pixel)];
                    }
                }
            }
            PixelsRef::F32(pixels) => {
                for (row, start) in rows.zip(starts) {
                    for (value, &pixel) in row.iter_mut().zip(&pixels[start..start + width]) {
                        *value = patches.scaling.apply(f64::from(pixel));
                    }
                }
            }
        }
    }

    /// Writes the values of patch number `patch` of the whole sample over `values`.
    pub fn read_patch(&mut self, sample: &SampleView<'_>, patch: u64, values: &mut [f64]) {
        let (patches, offset) = sample.find_patch(patch);
        self.read(&patches, offset, values);
    }

    fn prepare(&mut self, scaling: Scaling) {
        if self.scaling != Some(scaling) {
            self.table.clear();
            self.table
                .extend((0..=u8::MAX).map(|pixel| scaling.apply(f64::from(pixel))));
            self.scaling = Some(scaling);
        }
    }
}
