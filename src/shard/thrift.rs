//! Thrift's compact protocol, read without believing it: what Parquet's footers and page headers are written in.
//!
//! It only walks: nothing is kept, nothing is allocated, whatever a file claims. Every length is held against the bytes
//! that are there, and nesting has a bound. What it skips it skips as the Parquet reader does, so both find the same
//! fields in the same places.

use std::io::{self, Read};

/// Structs and lists within each other, at most. The Parquet reader itself goes no deeper than this.
const MAX_DEPTH: u32 = 64;

/// The longest variable-length number: 64 bits, seven a byte.
const MAX_VARINT_BYTES: u32 = 10;

/// What is wrong, in words.
pub(super) type Reason = String;

/// The kind of a value, as a field's or a list's header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A boolean field, whose value is in its header; or a boolean in a list, which takes a byte.
    Bool(bool),
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    fn of(code: u8) -> Result<Kind, Reason> {
        Ok(match code {
            1 | 2 => Kind::Bool(code == 1),
            3 => Kind::Byte,
            4 => Kind::I16,
            5 => Kind::I32,
            6 => Kind::I64,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 | 10 => Kind::List,
            11 => Kind::Map,
            12 => Kind::Struct,
            13 => Kind::Uuid,
            _ => {
                return Err(format!(
                    "a value of kind {code}, which Thrift does not have"
                ));
            }
        })
    }
}

/// A reader of at most so many bytes.
#[derive(Debug)]
pub(super) struct Compact<R> {
    input: R,
    left: u64,
    used: u64,
    depth: u32,
}

impl<R: Read> Compact<R> {
    /// Reads `input`, of which `max_bytes` belong to what is read.
    pub(super) fn new(input: R, max_bytes: u64) -> Compact<R> {
        Compact {
            input,
            left: max_bytes,
            used: 0,
            depth: 0,
        }
    }

    /// Bytes that were read so far.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Reads a struct: `field` gets the number and the kind of each field, and must read or [skip](Compact::skip) it.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, Kind) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.deeper(|this| {
            let mut last = 0;
            while let Some((id, kind)) = this.field_header(last)? {
                field(this, id, kind)?;
                last = id;
            }
            Ok(())
        })
    }

    /// Reads a list: `item` is called for each, with its kind, and must read or skip it.
    pub(super) fn items(
        &mut self,
        mut item: impl FnMut(&mut Self, Kind) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        self.deeper(|this| {
            let (kind, n) = this.list_header()?;
            for _ in 0..n {
                item(this, kind)?;
            }
            Ok(())
        })
    }

    /// A whole number of 32 bits, which a field of `kind` must be.
    pub(super) fn i32(&mut self, kind: Kind) -> Result<i32, Reason> {
        match kind {
            Kind::I32 => i32::try_from(self.zigzag()?).map_err(|_| "a number too large".to_owned()),
            other => Err(format!("{other:?} where a number of 32 bits belongs")),
        }
    }

    /// Skips a text or binary value; its length.
    pub(super) fn binary(&mut self, kind: Kind) -> Result<u64, Reason> {
        if kind != Kind::Binary {
            return Err(format!("{kind:?} where a text belongs"));
        }
        let len = self.varint()?;
        self.skip_bytes(len)?;
        Ok(len)
    }

    /// Skips the value of a field.
    pub(super) fn skip(&mut self, kind: Kind) -> Result<(), Reason> {
        match kind {
            Kind::Bool(_) => Ok(()),
            other => self.skip_item(other),
        }
    }

    fn skip_item(&mut self, kind: Kind) -> Result<(), Reason> {
        match kind {
            Kind::Bool(_) | Kind::Byte => self.skip_bytes(1),
            Kind::I16 | Kind::I32 | Kind::I64 => self.varint().map(|_| ()),
            Kind::Double => self.skip_bytes(8),
            Kind::Uuid => self.skip_bytes(16),
            Kind::Binary => {
                let len = self.varint()?;
                self.skip_bytes(len)
            }
            Kind::Struct => self.deeper(|this| {
                let mut last = 0;
                while let Some((id, kind)) = this.field_header(last)? {
                    this.skip(kind)?;
                    last = id;
                }
                Ok(())
            }),
            Kind::List => self.deeper(|this| {
                let (kind, n) = this.list_header()?;
                (0..n).try_for_each(|_| this.skip_item(kind))
            }),
            Kind::Map => self.deeper(Self::skip_map),
        }
    }

    fn skip_map(&mut self) -> Result<(), Reason> {
        let n = self.varint()?;
        if n == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0xf)?);
        for _ in 0..self.count(n)? {
            self.skip_item(key)?;
            self.skip_item(value)?;
        }
        Ok(())
    }

    /// Number and kind of the next field; `None` at the end of the struct.
    fn field_header(&mut self, last: i64) -> Result<Option<(i64, Kind)>, Reason> {
        let header = self.byte()?;
        if header & 0xf == 0 {
            return Ok(None);
        }
        let kind = Kind::of(header & 0xf)?;
        let id = match header >> 4 {
            0 => self.zigzag()?,
            delta => last + i64::from(delta),
        };
        match i16::try_from(id) {
            Ok(_) => Ok(Some((id, kind))),
            Err(_) => Err(format!("a field of number {id}")),
        }
    }

    fn list_header(&mut self) -> Result<(Kind, u64), Reason> {
        let header = self.byte()?;
        // Some writers leave out the kind of what an empty list does not hold.
        if header == 0 {
            return Ok((Kind::Byte, 0));
        }
        let kind = Kind::of(header & 0xf)?;
        let n = match header >> 4 {
            15 => self.varint()?,
            n => u64::from(n),
        };
        Ok((kind, self.count(n)?))
    }

    /// A number of items, each of which takes at least a byte.
    fn count(&self, n: u64) -> Result<u64, Reason> {
        if n > self.left {
            return Err(format!("{n} items in {} bytes", self.left));
        }
        Ok(n)
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        if self.depth == MAX_DEPTH {
            return Err(format!("structures more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn zigzag(&mut self) -> Result<i64, Reason> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn varint(&mut self) -> Result<u64, Reason> {
        let mut value = 0;
        for at in 0..MAX_VARINT_BYTES {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number without an end".to_owned())
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        let mut byte = [0];
        self.take(1)?;
        self.input.read_exact(&mut byte).map_err(unreadable)?;
        Ok(byte[0])
    }

    fn skip_bytes(&mut self, n: u64) -> Result<(), Reason> {
        self.take(n)?;
        let skipped = io::copy(&mut self.input.by_ref().take(n), &mut io::sink());
        match skipped.map_err(unreadable)? {
            skipped if skipped == n => Ok(()),
            _ => Err(unreadable(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn take(&mut self, n: u64) -> Result<(), Reason> {
        let Some(left) = self.left.checked_sub(n) else {
            return Err(format!(
                "a value of {n} bytes, where {} are left",
                self.left
            ));
        };
        self.left = left;
        self.used += n;
        Ok(())
    }
}

fn unreadable(error: io::Error) -> Reason {
    format!("it cannot be read ({error})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn skip(bytes: &[u8]) -> Result<u64, Reason> {
        let mut compact = Compact::new(bytes, bytes.len() as u64);
        compact.skip(Kind::Struct).map(|()| compact.used())
    }

    #[test]
    fn fields_are_found_by_number_and_kind() {
        // 1: i32 = 3; 4: binary "ab"; 6: true; 7: list of two i32.
        let bytes = [0x15, 6, 0x38, 2, b'a', b'b', 0x21, 0x19, 0x25, 2, 4, 0, 9];
        let mut found = Vec::new();
        let mut compact = Compact::new(bytes.as_slice(), bytes.len() as u64);
        let read = compact.fields(|compact, id, kind| {
            found.push((id, kind));
            match id {
                1 => compact.i32(kind).map(|value| assert_eq!(value, 3)),
                4 => compact.binary(kind).map(|len| assert_eq!(len, 2)),
                _ => compact.skip(kind),
            }
        });
        assert_eq!(read, Ok(()));
        let expected = [
            (1, Kind::I32),
            (4, Kind::Binary),
            (6, Kind::Bool(true)),
            (7, Kind::List),
        ];
        assert_eq!((found.as_slice(), compact.used()), (&expected[..], 12));
    }

    #[test]
    fn what_the_bytes_do_not_hold_is_refused() {
        for (bytes, reason) in [
            (
                &[0x18, 0xff, 0xff, 0xff, 0xff, 7, 1][..],
                "bytes, where 1 are left",
            ),
            (&[0x19, 0xf5, 0xff, 0xff, 0xff, 7, 1], "items in 1 bytes"),
            (&[0x15, 0xff], "0 are left"),
            (&[0x1e, 0], "which Thrift does not have"),
            (&[0x15; 1], "0 are left"),
            (&[0x1c; 100], "more than 64 deep"),
            (
                &[0x15, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
                "a number without an end",
            ),
        ] {
            let found = skip(bytes).expect_err("refused");
            assert!(found.contains(reason), "{found}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_on(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(used) = skip(&bytes) {
                prop_assert!(used <= bytes.len() as u64);
            }
        }
    }
}
