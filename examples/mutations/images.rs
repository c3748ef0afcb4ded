//! Mutated images: bytes, lengths, spliced files, and lies in headers, from a small one of every format.

use std::fs;
use std::path::{Path, PathBuf};

use super::bytes::{self, Rng};

/// Where headers say sizes, in all formats.
const HEADER_BYTES: usize = 64;

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Good images.
pub(crate) struct Bases(Vec<Vec<u8>>);

impl Bases {
    /// Those of the fuzz corpus.
    pub(crate) fn read(root: &Path) -> Bases {
        let corpus = fs::read_dir(root.join("fuzz/corpus/image")).expect("the corpus");
        let mut paths: Vec<PathBuf> = corpus.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        Bases(
            paths
                .iter()
                .map(|path| fs::read(path).expect("an image"))
                .collect(),
        )
    }

    /// Mutant `n`.
    pub(crate) fn mutant(&self, seed: u64, n: u64) -> Vec<u8> {
        let mut rng = Rng::of(seed, n);
        let base = rng.one_of(&self.0);
        let mut mutant = base.clone();
        match n % 4 {
            0 => bytes::flip(&mut mutant, &mut rng),
            1 => bytes::cut(&mut mutant, &mut rng),
            2 => {
                let other: &Vec<u8> = rng.one_of(&self.0);
                mutant = bytes::splice(base, other, &mut rng);
            }
            _ => lie_in_header(&mut mutant, &mut rng),
        }
        // A checksum that is right again lets the change be seen.
        if mutant.starts_with(PNG_MAGIC) && rng.below(4) > 0 {
            mend_png(&mut mutant);
        }
        mutant
    }
}

/// Puts one or two extreme numbers, of two or four bytes in either order, near the beginning.
fn lie_in_header(mutant: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(2) {
        let number: u32 = match rng.below(8) {
            0 => 0,
            1 => 1,
            2 => 0x7fff_ffff,
            3 => 0xffff_ffff,
            4 => 0x8000_0000,
            5 => 0xffff,
            6 => 1 << rng.below(32),
            _ => rng.next() as u32,
        };
        let number = match rng.below(4) {
            0 => number.to_be_bytes().to_vec(),
            1 => number.to_le_bytes().to_vec(),
            2 => (number as u16).to_be_bytes().to_vec(),
            _ => (number as u16).to_le_bytes().to_vec(),
        };
        let at = rng.below(mutant.len().min(HEADER_BYTES));
        for (byte, lie) in mutant[at..].iter_mut().zip(number) {
            *byte = lie;
        }
    }
}

/// Makes the checksums of all chunks right.
fn mend_png(png: &mut [u8]) {
    let mut at = PNG_MAGIC.len();
    while let Some(length) = png.get(at..at + 4) {
        let length: [u8; 4] = length.try_into().expect("four bytes");
        let end = at + 8 + u32::from_be_bytes(length) as usize;
        if png.len() < end + 4 {
            return;
        }
        let mut crc = flate2::Crc::new();
        crc.update(&png[at + 4..end]);
        png[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
}
