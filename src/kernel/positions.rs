//! Sets of patches as bits: bit `i` says that a patch starts at pixel `i`.
//!
//! Only the bits; what a patch is, and whether it fits there, is the caller's to know.

/// Sets the bits of `offsets`; `words` is long enough for the largest.
pub fn mark(offsets: &[u32], words: &mut [u64]) {
    for &offset in offsets {
        words[offset as usize / 64] |= 1 << (offset % 64);
    }
}

/// Sets the bits `start..start + n`.
pub fn mark_run(start: usize, n: usize, words: &mut [u64]) {
    let end = start + n;
    let mut at = start;
    while at < end {
        let bits = (64 - at % 64).min(end - at);
        words[at / 64] |= (u64::MAX >> (64 - bits)) << (at % 64);
        at += bits;
    }
}

/// Number of set bits.
pub fn count(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// The set bits, ascending.
pub fn iter(words: &[u64]) -> impl Iterator<Item = u32> {
    words.iter().enumerate().flat_map(|(at, &word)| {
        let mut left = word;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let bit = left.trailing_zeros();
            left &= left - 1;
            Some(at as u32 * 64 + bit)
        })
    })
}

/// The set bit that has `n` set bits below it.
///
/// # Panics
/// If there is none.
pub fn nth(words: &[u64], n: usize) -> u32 {
    let mut left = n;
    for (at, word) in words.iter().enumerate() {
        let ones = word.count_ones() as usize;
        if left < ones {
            let bit = iter(&[*word]).nth(left).unwrap_or_default();
            return at as u32 * 64 + bit;
        }
        left -= ones;
    }
    panic!("no patch {n} here");
}

/// `out[i] = out[i] & out[i + step] & ... & out[i + (n - 1) * step]`, bits past the end taken as 1; `n` at least 1.
pub fn and_steps(words: &mut [u64], step: usize, n: usize) {
    let mut have = 1;
    while have < n {
        let more = have.min(n - have);
        and_shifted(words, more * step);
        have += more;
    }
}

/// `words[i] &= words[i + shift]`, bits past the end taken as 1. Ascending, so that each bit read is still the old one.
fn and_shifted(words: &mut [u64], shift: usize) {
    let (skip, bits) = (shift / 64, shift % 64);
    for at in 0..words.len() {
        let low = words.get(at + skip).copied().unwrap_or(u64::MAX);
        let shifted = if bits == 0 {
            low
        } else {
            let high = words.get(at + skip + 1).copied().unwrap_or(u64::MAX);
            low >> bits | high << (64 - bits)
        };
        words[at] &= shifted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marked_offsets_come_back_in_order(set in proptest::collection::btree_set(0u32..700, 0..80)) {
            let offsets: Vec<u32> = set.into_iter().collect();
            let mut words = vec![0; 11];
            mark(&offsets, &mut words);
            prop_assert_eq!(iter(&words).collect::<Vec<u32>>(), offsets.clone());
            prop_assert_eq!(count(&words), offsets.len());
            for (n, &offset) in offsets.iter().enumerate() {
                prop_assert_eq!(nth(&words, n), offset);
            }
        }

        #[test]
        fn a_run_is_its_offsets_one_by_one(start in 0usize..300, n in 0usize..300) {
            let (mut run, mut single) = (vec![0; 10], vec![0; 10]);
            mark_run(start, n, &mut run);
            mark(&(start as u32..(start + n) as u32).collect::<Vec<u32>>(), &mut single);
            prop_assert_eq!(run, single);
        }

        #[test]
        fn and_steps_looks_at_every_step(
            words in proptest::collection::vec(any::<u64>().prop_map(|a| a | a << 1 | a << 7 | a >> 3), 1..6),
            step in 1usize..130,
            n in 1usize..9,
        ) {
            let bit = |i: usize| words.get(i / 64).is_none_or(|word| word >> (i % 64) & 1 == 1);
            let mut out = words.clone();
            and_steps(&mut out, step, n);
            for i in 0..words.len() * 64 {
                let expected = (0..n).all(|r| bit(i + r * step));
                prop_assert_eq!(out[i / 64] >> (i % 64) & 1 == 1, expected, "bit {}", i);
            }
        }
    }
}
