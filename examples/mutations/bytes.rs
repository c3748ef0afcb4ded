//! Mutations of any bytes, and the random numbers that choose them.

/// Random numbers that depend on their seed alone (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn of(seed: u64, n: u64) -> Rng {
        Rng(seed ^ n.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where there is none.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Changes a few bytes: a bit, or all of it.
pub(crate) fn flip(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(8) {
        let at = rng.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = match rng.below(4) {
                0 => rng.next() as u8,
                1 => *rng.one_of(&[0, 1, 0x7f, 0x80, 0xff]),
                _ => *byte ^ (1 << rng.below(8)),
            };
        }
    }
}

/// Cuts the end off, or a piece out of the middle.
pub(crate) fn cut(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let from = rng.below(bytes.len());
    let to = match rng.below(2) {
        0 => bytes.len(),
        _ => from + rng.below(bytes.len() - from),
    };
    bytes.drain(from..to);
}

/// The beginning of one and the end of the other.
pub(crate) fn splice(one: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (head, tail) = (rng.below(one.len()), rng.below(other.len()));
    [&one[..head], &other[tail..]].concat()
}

/// Exchanges two pieces of one length.
pub(crate) fn swap(bytes: &mut [u8], a: usize, b: usize, length: usize) {
    let (a, b) = (a.min(b), a.max(b));
    let length = length.min(b - a).min(bytes.len().saturating_sub(b));
    let (head, tail) = bytes.split_at_mut(b);
    head[a..a + length].swap_with_slice(&mut tail[..length]);
}
