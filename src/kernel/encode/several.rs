//! Several vocabularies at once, each of patches of its own size: their vectors, one after the other, each weighted by itself.
//!
//! One alone gives its own vector, without a copy. [`naive::encode`](crate::kernel::naive::encode) of each is the definition.

use super::{Encoded, Encoder, Lexicon, Recipe};
use crate::kernel::image::ImageRef;
use crate::kernel::nearest::Simd;
use crate::kernel::vocabulary::Vocabulary;

/// Vocabularies laid out for a recipe; shared by all workers.
#[derive(Debug)]
pub struct Lexicons {
    each: Vec<Lexicon>,
}

impl Lexicons {
    /// Lays out `vocabularies`, at least one, for `recipe` and patches at `stride`.
    ///
    /// # Panics
    /// If the recipe needs document frequencies and a vocabulary has none.
    pub fn new(vocabularies: &[Vocabulary], recipe: &Recipe, stride: u32, simd: Simd) -> Lexicons {
        let lexicon = |words| Lexicon::new(words, recipe, stride, simd);
        Lexicons {
            each: vocabularies.iter().map(lexicon).collect(),
        }
    }

    /// Length of a vector.
    pub fn n_values(&self) -> usize {
        self.each.iter().map(Lexicon::n_values).sum()
    }
}

/// One worker: lexicons and its scratch memory.
#[derive(Debug)]
pub struct Encoders<'a> {
    each: Vec<Encoder<'a>>,
    // Of all; empty where there is one.
    vector: Vec<f32>,
}

impl<'a> Encoders<'a> {
    /// A worker.
    pub fn new(lexicons: &'a Lexicons) -> Encoders<'a> {
        Encoders {
            each: lexicons.each.iter().map(Encoder::new).collect(),
            vector: Vec::new(),
        }
    }

    /// Encodes an image; patches are those of all sizes.
    ///
    /// # Panics
    /// If a patch of some size or a grid of cells does not fit; whoever lets images through looks at that.
    pub fn encode(&mut self, image: ImageRef<'_>) -> Encoded<'_> {
        if self.each.len() == 1 {
            return self.each[0].encode(image);
        }
        self.vector.clear();
        let (mut n_patches, mut decided_again) = (0, 0);
        for encoder in &mut self.each {
            let encoded = encoder.encode(image);
            self.vector.extend_from_slice(encoded.vector);
            n_patches += encoded.n_patches;
            decided_again += encoded.decided_again;
        }
        Encoded {
            vector: &self.vector,
            n_patches,
            decided_again,
        }
    }
}
