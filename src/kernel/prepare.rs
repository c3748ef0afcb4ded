//! From the pixels of a patch to the values that are compared with words: normalised, then whitened.
//!
//! Both passes and every encoding go through [`Preparer`]; a patch has no other values. The operations and their order are
//! those of [`super::naive`], so the values are too, bit for bit.

use super::kmeans::values::ValueReader;
use super::normalize::{Normalize, Scaling};
use super::sample::Patches;
use super::vocabulary::Preparation;
use super::whiten::Whitening;

/// Prepares patches, one after another.
#[derive(Debug, Clone)]
pub struct Preparer<'a> {
    reader: ValueReader,
    normalize: Normalize,
    whitening: Option<&'a Whitening>,
    centred: Vec<f64>,
}

impl<'a> Preparer<'a> {
    /// For patches prepared like this; `whitening` is there if the preparation asks for one.
    pub fn new(preparation: &Preparation, whitening: Option<&'a Whitening>) -> Preparer<'a> {
        debug_assert_eq!(preparation.whiten.is_some(), whitening.is_some());
        Preparer {
            reader: ValueReader::new(preparation.patch),
            normalize: preparation.normalize,
            whitening,
            centred: vec![0.0; preparation.patch.len()],
        }
    }

    /// Heap bytes of one for patches of `d` values.
    pub fn heap_bytes(d: usize) -> u64 {
        8 * (d as u64 + 256)
    }

    /// Writes the normalised values of the patch at `offset` over `values`, `d` long: all that comes before whitening.
    #[inline(always)]
    pub fn normalised(&mut self, patches: &Patches<'_>, offset: u32, values: &mut [f64]) {
        self.reader.read(patches, offset, values);
        if let Normalize::Patch { epsilon } = self.normalize {
            Scaling::of_patch(values, epsilon).apply_all(values);
        }
    }

    /// Writes the normalised values, less the mean that whitening takes off: what its matrix is multiplied with.
    #[inline(always)]
    pub fn centred(&mut self, patches: &Patches<'_>, offset: u32, values: &mut [f64]) {
        self.normalised(patches, offset, values);
        if let Some(whitening) = self.whitening {
            for (value, &mean) in values.iter_mut().zip(&whitening.mean) {
                *value -= f64::from(mean);
            }
        }
    }

    /// Writes the values of the patch at `offset` over `values`, `d` long.
    pub fn values(&mut self, patches: &Patches<'_>, offset: u32, values: &mut [f64]) {
        let Some(whitening) = self.whitening else {
            return self.normalised(patches, offset, values);
        };
        let mut centred = std::mem::take(&mut self.centred);
        self.centred(patches, offset, &mut centred);
        values.fill(0.0);
        // Symmetric, so its rows are its columns; each value is still the sum over the patch in order.
        let columns = whitening.matrix.chunks_exact(values.len());
        for (column, &x) in columns.zip(&centred) {
            for (value, &weight) in values.iter_mut().zip(column) {
                *value += f64::from(weight) * x;
            }
        }
        self.centred = centred;
    }
}
