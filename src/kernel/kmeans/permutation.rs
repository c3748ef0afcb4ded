//! Random orders of any length that take no memory: a keyed permutation of `0..n`.
//!
//! A Feistel network over the smallest even number of bits that holds `n`, walked until it falls below `n` (Black and
//! Rogaway 2002). Its order looks random, which is all that is asked of it; it is no cipher.

use crate::kernel::rng;

/// Rounds of the network; four make a random-looking permutation (Luby and Rackoff 1988).
const ROUNDS: u64 = 4;

/// A permutation of `0..n`.
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    n: u64,
    half_bits: u32,
    key: u64,
}

impl Permutation {
    /// The permutation of `0..n` that belongs to `key`; `n` is at most 2^62.
    pub fn new(n: u64, key: u64) -> Permutation {
        debug_assert!(n <= 1 << 62);
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        Permutation {
            n,
            half_bits: bits.div_ceil(2).max(1),
            key,
        }
    }

    /// What stands at `index`, which is below `n`.
    pub fn at(&self, index: u64) -> u64 {
        debug_assert!(index < self.n);
        let mut value = index;
        loop {
            value = self.shuffle(value);
            if value < self.n {
                return value;
            }
        }
    }

    fn shuffle(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            let mixed = rng::hash(self.key, right | round << 48) & mask;
            (left, right) = (right, left ^ mixed);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_exactly_once() {
        for n in [1u64, 2, 3, 16, 17, 1000] {
            let order = Permutation::new(n, 7);
            let mut seen: Vec<u64> = (0..n).map(|i| order.at(i)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_part_of_an_order_comes_from_everywhere() {
        let order = Permutation::new(10_000, 3);
        let mean = (0..1000).map(|i| order.at(i) as f64).sum::<f64>() / 1000.0;
        assert!((4500.0..5500.0).contains(&mean), "{mean}");
    }
}
