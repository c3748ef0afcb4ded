//! Documents: in how many images each word occurs, for tf-idf. Images in, whole numbers out, which merge in any order.

use super::decode::ImageBatch;
use crate::kernel::encode::{Encoders, Lexicons};
use crate::kernel::image::Image;
use crate::kernel::vocabulary::Documents;
use crate::shard::images::Reason;

/// One worker.
#[derive(Debug)]
pub struct Counter<'a> {
    encoder: Encoders<'a>,
    k: usize,
}

impl<'a> Counter<'a> {
    /// A worker; `lexicons` are for plain counts over whole images.
    pub fn new(lexicons: &'a Lexicons) -> Counter<'a> {
        Counter {
            encoder: Encoders::new(lexicons),
            k: lexicons.n_values(),
        }
    }

    /// Counts the images of a batch; bad images are none.
    pub fn count(&mut self, batch: ImageBatch) -> Documents {
        self.count_images(batch.images.into_iter().map(|(_, image)| image))
    }

    /// Counts images that come from no batch, likewise.
    pub fn count_images(
        &mut self,
        images: impl IntoIterator<Item = Result<Image, Reason>>,
    ) -> Documents {
        let mut documents = none(self.k);
        for image in images {
            let Ok(image) = image else { continue };
            documents.n += 1;
            let vector = self.encoder.encode(image.as_ref()).vector;
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

/// What was counted over the words of several vocabularies, one after the other, for each of them; `ks` are their words.
pub fn split(all: &Documents, ks: impl IntoIterator<Item = usize>) -> Vec<Documents> {
    let mut rest = all.with_word.as_slice();
    ks.into_iter()
        .map(|k| {
            let (own, others) = rest.split_at(k);
            rest = others;
            Documents {
                n: all.n,
                with_word: own.to_vec(),
            }
        })
        .collect()
}

/// Adds the images of a batch.
pub fn add(all: &mut Documents, batch: &Documents) {
    all.n += batch.n;
    for (n, more) in all.with_word.iter_mut().zip(&batch.with_word) {
        *n += more;
    }
}
