//! Random numbers that are a function of a seed and of what they are for.
//!
//! Nothing is drawn in arrival order: each image, batch and restart has a stream of its own, so neither threads nor
//! shards nor a resumed run can change a draw. The generator is xoshiro256++ and the hash is SplitMix64's finaliser
//! (Blackman and Vigna 2021; Steele, Lea and Flood 2014): named algorithms, whose outputs no upgrade may change.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a stream is for. Two purposes never share numbers, even at the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Which patches of an image are sampled; the index is the image's row number.
    SamplePatches,
    /// Which patches the first words are chosen from; the index is the restart.
    InitPatches,
    /// First words; the index is the restart.
    InitWords,
    /// The order of blocks whose beginnings are the parts that words settle on; the index is 0.
    Parts,
    /// Re-seeding of words that died; the index is the restart and the step.
    Reseed,
    /// Words that breathing adds, and the patches they are chosen from; the index is the restart.
    BreathWords,
    /// Sampled patches that are kept to be looked at; the index is 0.
    ExamplePatches,
    /// Images that are kept to be looked at; the index is 0.
    ExampleImages,
    /// A synthetic image; the index is its row number.
    SynthImage,
    /// Images whose vectors are recounted by `bovw verify`; the index is the image's place among those drawn.
    RecountedImages,
    /// Where words go that hardly a patch is nearest to; the index is the restart.
    LoneWords,
}

/// A stream of random numbers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream of (`seed`, `purpose`, `index`).
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Stream {
        Stream(Xoshiro256PlusPlus::seed_from_u64(key(seed, purpose, index)))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number from 0 to `n - 1`, each equally likely (Lemire 2019); `n` is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        debug_assert!(n > 0);
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Up to `n` different whole numbers from 0 to `end - 1`, in the order drawn.
    pub fn distinct_below(&mut self, end: u64, n: usize) -> Vec<u64> {
        let n = n.min(usize::try_from(end).unwrap_or(usize::MAX));
        let mut drawn = Vec::with_capacity(n);
        let mut seen = std::collections::HashSet::with_capacity(n);
        while drawn.len() < n {
            let number = self.below(end);
            if seen.insert(number) {
                drawn.push(number);
            }
        }
        drawn
    }

    /// A number from 0 (included) to 1 (excluded), with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

/// The key of (`seed`, `purpose`, `index`): 64 bits that look random.
pub fn key(seed: u64, purpose: Purpose, index: u64) -> u64 {
    mix(mix(mix(seed).wrapping_add(purpose as u64 + 1)).wrapping_add(index))
}

/// Hash number `index` under a key: the `index`-th output of SplitMix64 started at `key`.
pub fn hash(key: u64, index: u64) -> u64 {
    mix_state(key.wrapping_add((index.wrapping_add(1)).wrapping_mul(GOLDEN_GAMMA)))
}

/// The odd constant nearest to 2^64 divided by the golden ratio, as in SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(value: u64) -> u64 {
    mix_state(value.wrapping_add(GOLDEN_GAMMA))
}

fn mix_state(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_other_purposes_and_indices_differ() {
        let first = |purpose, index| Stream::new(0, purpose, index).next_u64();
        assert_eq!(first(Purpose::Parts, 3), first(Purpose::Parts, 3));
        assert_ne!(first(Purpose::Parts, 3), first(Purpose::Parts, 4));
        assert_ne!(first(Purpose::Parts, 3), first(Purpose::Reseed, 3));
    }

    #[test]
    fn outputs_are_pinned_because_files_depend_on_them() {
        // The first output of SplitMix64 from state 0 is the published one.
        assert_eq!(hash(0, 0), 0xe220_a839_7b1d_cdaf);
        let mut stream = Stream::new(0, Purpose::SamplePatches, 0);
        let drawn: Vec<u64> = (0..4).map(|_| stream.below(1000)).collect();
        assert_eq!(drawn, [209, 798, 539, 392]);
    }

    #[test]
    fn below_reaches_every_number_about_equally_often() {
        let mut stream = Stream::new(1, Purpose::InitWords, 0);
        let mut counts = [0u32; 7];
        for _ in 0..7000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&n| (850..1150).contains(&n)),
            "{counts:?}"
        );
    }
}
