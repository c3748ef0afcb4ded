//! Arrow columns as rows of bytes or of numbers, whichever of Arrow's types they have.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, Float32Array,
    LargeBinaryArray, UInt8Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, UInt8Type};

/// Whether values of a type can be pixels.
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || matches!(data_type, DataType::Boolean)
}

/// A binary column, whatever its kind.
#[derive(Debug)]
pub enum BinaryRows<'a> {
    /// 32-bit offsets.
    Small(&'a BinaryArray),
    /// 64-bit offsets.
    Large(&'a LargeBinaryArray),
    /// Views.
    View(&'a BinaryViewArray),
    /// All of one size.
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> BinaryRows<'a> {
    /// The column's values; `None` where it is not binary.
    pub fn new(array: &'a dyn Array) -> Option<BinaryRows<'a>> {
        match array.data_type() {
            DataType::Binary => Some(BinaryRows::Small(array.as_binary())),
            DataType::LargeBinary => Some(BinaryRows::Large(array.as_binary())),
            DataType::BinaryView => Some(BinaryRows::View(array.as_binary_view())),
            DataType::FixedSizeBinary(_) => Some(BinaryRows::Fixed(array.as_fixed_size_binary())),
            _ => None,
        }
    }

    /// The bytes of a row that is not null.
    pub fn value(&self, row: usize) -> &'a [u8] {
        match self {
            BinaryRows::Small(array) => array.value(row),
            BinaryRows::Large(array) => array.value(row),
            BinaryRows::View(array) => array.value(row),
            BinaryRows::Fixed(array) => array.value(row),
        }
    }

    /// Whether a row is null.
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            BinaryRows::Small(array) => array.is_null(row),
            BinaryRows::Large(array) => array.is_null(row),
            BinaryRows::View(array) => array.is_null(row),
            BinaryRows::Fixed(array) => array.is_null(row),
        }
    }
}

/// Numbers of any kind: bytes as they are, everything else as float32.
#[derive(Debug)]
pub enum Numbers {
    /// Unsigned bytes.
    U8(UInt8Array),
    /// The nearest float32 of anything else.
    F32(Float32Array),
}

impl Numbers {
    /// The numbers of an array; `None` where it holds none.
    pub fn new(array: &ArrayRef) -> Option<Numbers> {
        if !is_number(array.data_type()) {
            return None;
        }
        if array.data_type() == &DataType::UInt8 {
            return Some(Numbers::U8(array.as_primitive::<UInt8Type>().clone()));
        }
        let floats = cast(array, &DataType::Float32).ok()?;
        Some(Numbers::F32(floats.as_primitive::<Float32Type>().clone()))
    }

    /// Whether number `index` is null.
    pub fn is_null(&self, index: usize) -> bool {
        match self {
            Numbers::U8(array) => array.is_null(index),
            Numbers::F32(array) => array.is_null(index),
        }
    }

    /// Number `index` as float32, which must not be null.
    pub fn value(&self, index: usize) -> f32 {
        match self {
            Numbers::U8(array) => f32::from(array.value(index)),
            Numbers::F32(array) => array.value(index),
        }
    }
}

/// A column of lists of numbers, whatever its kind.
#[derive(Debug)]
pub struct NumberLists<'a> {
    array: &'a ArrayRef,
    numbers: Numbers,
    // A slice of a list array keeps all values; only its own are looked at.
    first: usize,
}

impl<'a> NumberLists<'a> {
    /// The column's lists; `None` where it holds no lists of numbers.
    pub fn new(array: &'a ArrayRef) -> Option<NumberLists<'a>> {
        let values = match array.data_type() {
            DataType::List(_) => array.as_list::<i32>().values(),
            DataType::LargeList(_) => array.as_list::<i64>().values(),
            DataType::FixedSizeList(..) => array.as_fixed_size_list().values(),
            _ => return None,
        };
        let (first, end) = match array.len() {
            0 => (0, 0),
            n => (range(array, 0).start, range(array, n - 1).end),
        };
        Some(NumberLists {
            array,
            numbers: Numbers::new(&values.slice(first, end - first))?,
            first,
        })
    }

    /// All the lists' numbers, end to end.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Whether a row is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Where a row's numbers are.
    pub fn range(&self, row: usize) -> Range<usize> {
        let range = range(self.array, row);
        range.start - self.first..range.end - self.first
    }
}

/// Where a row's values are among all values of a list array.
fn range(array: &ArrayRef, row: usize) -> Range<usize> {
    match array.data_type() {
        DataType::List(_) => {
            let offsets = array.as_list::<i32>().value_offsets();
            offsets[row] as usize..offsets[row + 1] as usize
        }
        DataType::LargeList(_) => {
            let offsets = array.as_list::<i64>().value_offsets();
            offsets[row] as usize..offsets[row + 1] as usize
        }
        _ => {
            let lists = array.as_fixed_size_list();
            let start = lists.value_offset_at(row);
            start..start + lists.value_length() as usize
        }
    }
}
