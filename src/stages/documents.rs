//! Documents: in how many images each word occurs, for tf-idf. Images in, whole numbers out, which merge in any order.

use super::decode::ImageBatch;
use crate::kernel::encode::{Encoder, Lexicon};
use crate::kernel::vocabulary::Documents;

/// One worker.
#[derive(Debug)]
pub struct Counter<'a> {
    encoder: Encoder<'a>,
    k: usize,
}

impl<'a> Counter<'a> {
    /// A worker; `lexicon` is for plain counts over whole images.
    pub fn new(lexicon: &'a Lexicon<'a>) -> Counter<'a> {
        Counter {
            encoder: Encoder::new(lexicon),
            k: lexicon.n_values(),
        }
    }

    /// Counts the images of a batch; bad images are none.
    pub fn count(&mut self, batch: ImageBatch) -> Documents {
        let mut documents = none(self.k);
        for (_, image) in batch.images {
            let Ok(image) = image else { continue };
            documents.n += 1;
            let vector = self.encoder.encode(&image).vector;
            for (n, &count) in documents.with_word.iter_mut().zip(vector) {
                *n += u64::from(count > 0.0);
            }
        }
        documents
    }
}

/// No images, and `k` words.
pub fn none(k: usize) -> Documents {
    Documents {
        n: 0,
        with_word: vec![0; k],
    }
}

/// Adds the images of a batch.
pub fn add(all: &mut Documents, batch: &Documents) {
    all.n += batch.n;
    for (n, more) in all.with_word.iter_mut().zip(&batch.with_word) {
        *n += more;
    }
}
