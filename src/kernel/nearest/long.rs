//! Scores of long patches that lie in one piece, such as whole images: along the patch, with nothing packed.
//!
//! The numbers are those of [`super::whole`], and so are the bounds; only the order of whole sums differs.

#![expect(
    clippy::needless_range_loop,
    reason = "lanes and words by number, as they lie in registers"
)]

use super::LANES;
use super::isa::Isa;
use super::whole::Best;

/// Shorter patches are faster a lane each.
pub(super) const MIN_D: usize = 128;
/// Words and values are made up to so many values: a 512-bit vector of 16 bits.
pub(super) const CHUNK: usize = 32;

/// Rounded words, each in one piece.
#[derive(Debug, Clone)]
pub(super) struct LongWords {
    d: usize,
    // Values in a row of `words`, whole chunks.
    row: usize,
    // [k][row], negated and shifted as in the panels, as bits of i16; zeros past the last value.
    words: Vec<u16>,
}

impl LongWords {
    /// `k` words that are all zero.
    pub(super) fn new(k: usize, d: usize) -> LongWords {
        let row = d.next_multiple_of(CHUNK);
        LongWords {
            d,
            row,
            words: vec![0; k * row],
        }
    }

    pub(super) fn heap_bytes(k: usize, d: usize) -> u64 {
        match d {
            0..MIN_D => 0,
            _ => (k * d.next_multiple_of(CHUNK) * 2) as u64,
        }
    }

    /// Word `j`, to be filled.
    pub(super) fn word_mut(&mut self, j: usize) -> &mut [u16] {
        &mut self.words[j * self.row..][..self.row]
    }
}

/// Scores up to [`LANES`] patches, which start at `offsets` of `values`, against all words, `V` patches and `G` words at a
/// time. At least a chunk of values follows the last patch.
#[inline(always)]
pub(super) fn score_long<I: Isa, const V: usize, const G: usize>(
    isa: I,
    long: &LongWords,
    values: &[u16],
    offsets: &[u32],
    bias: &[i32],
) -> Best {
    let mut best = Best::new();
    for (at, offsets) in offsets[..offsets.len().min(LANES)].chunks(V).enumerate() {
        // Lanes past the last patch take the first one's pixels; nobody reads them.
        let starts: [usize; V] =
            std::array::from_fn(|v| offsets.get(v).copied().unwrap_or(offsets[0]) as usize);
        for first in (0..bias.len()).step_by(G) {
            let totals = dot_products::<I, V, G>(isa, long, values, &starts, first);
            for w in 0..G.min(bias.len() - first) {
                for v in 0..offsets.len() {
                    let score = bias[first + w].wrapping_add(totals[w][v]);
                    best.take(at * V + v, (first + w) as u32, score);
                }
            }
        }
        for v in 0..offsets.len() {
            let values = &values[starts[v]..starts[v] + long.d];
            let squares = values
                .iter()
                .map(|&value| u32::from(value) * u32::from(value));
            best.squares[at * V + v] = squares.sum::<u32>() as i32;
        }
    }
    best
}

/// Dot products of `V` patches with the words `first..first + G`; past the last word they are of no meaning.
#[inline(always)]
fn dot_products<I: Isa, const V: usize, const G: usize>(
    isa: I,
    long: &LongWords,
    values: &[u16],
    starts: &[usize; V],
    first: usize,
) -> [[i32; V]; G] {
    let last = long.words.len() / long.row - 1;
    let mut sums = [[isa.start(0); V]; G];
    for chunk in (0..long.row).step_by(2 * I::LANES) {
        let mut pairs = [isa.splat(0); V];
        for v in 0..V {
            pairs[v] = isa.load_pairs(values, starts[v] + chunk);
        }
        for w in 0..G {
            let word = isa.load_pairs(&long.words, (first + w).min(last) * long.row + chunk);
            for v in 0..V {
                sums[w][v] = isa.dot(sums[w][v], pairs[v], word);
            }
        }
    }
    let mut totals = [[0; V]; G];
    for w in 0..G {
        for v in 0..V {
            totals[w][v] = isa.total(sums[w][v]);
        }
    }
    totals
}
