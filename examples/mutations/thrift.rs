//! Thrift's compact protocol, only as far as finding the whole numbers in it and putting lies in their places.

use std::ops::Range;

use super::bytes::Rng;

/// Nesting that is followed at most.
const MAX_DEPTH: usize = 32;

/// Places of the whole numbers of the struct that `bytes` starts with, and where it ends.
pub(crate) fn numbers(bytes: &[u8]) -> Option<(Vec<Range<usize>>, usize)> {
    let mut walk = Walk {
        bytes,
        at: 0,
        numbers: Vec::new(),
    };
    walk.structure(0)?;
    Some((walk.numbers, walk.at))
}

/// The signed number at a place.
pub(crate) fn number(bytes: &[u8]) -> i64 {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
    }
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A number that is not `old`, as it would stand in a file of `len` bytes.
pub(crate) fn lie(old: i64, len: usize, rng: &mut Rng) -> Vec<u8> {
    let len = len as i64;
    let value = match rng.below(14) {
        0 => 0,
        1 => 1,
        2 => -1,
        3 => old.wrapping_add(1),
        4 => old.wrapping_sub(1),
        5 => old.wrapping_mul(2),
        6 => old.wrapping_neg(),
        7 => i64::from(i32::MAX),
        8 => i64::from(i32::MIN),
        9 => i64::MAX - rng.below(2) as i64,
        10 => len + rng.below(3) as i64 - 1,
        11 => 1 << rng.below(63),
        12 => rng.below(256) as i64,
        _ => rng.below(len as usize) as i64,
    };
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    numbers: Vec<Range<usize>>,
}

impl Walk<'_> {
    fn structure(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            if head >> 4 == 0 {
                self.varint()?;
            }
            // Booleans of a struct have their value in their head.
            if !matches!(head & 15, 1 | 2) {
                self.value(head & 15, depth)?;
            }
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let start = self.at;
                self.varint()?;
                self.numbers.push(start..self.at);
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(usize::try_from(length).ok()?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let n = match head >> 4 {
                    15 => self.varint()?,
                    n => n.into(),
                };
                (0..n).try_for_each(|_| self.value(head & 15, depth + 1))
            }
            12 => self.structure(depth + 1),
            _ => None,
        }
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.at = self.at.checked_add(n)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}
