//! A column of labels as values that can be told apart, sorted and shown, whatever its type.
//!
//! A row has no label where the column is null or NaN. A class label column's numbers are shown by their names; a number
//! that has no name, Hugging Face's -1 above all, is no label.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};

/// A label, borrowed from its column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Label<'a> {
    /// A whole number.
    Whole(i128),
    /// Another number, never NaN.
    Real(f64),
    /// Anything else, as text.
    Text(&'a str),
}

/// The labels of one record batch.
#[derive(Debug)]
pub struct LabelColumn {
    values: Values,
    n_classes: Option<usize>,
}

#[derive(Debug)]
enum Values {
    Signed(Int64Array),
    Unsigned(UInt64Array),
    Real(Float64Array),
    Text(StringArray),
}

impl LabelColumn {
    /// The labels in `array`; `n_classes` is how many names a class label column has. `None` where values of its type
    /// cannot be labels.
    pub fn new(array: &ArrayRef, n_classes: Option<usize>) -> Option<LabelColumn> {
        let target = storage(array.data_type())?;
        let array = cast(array, &target).ok()?;
        let values = match target {
            DataType::Int64 => Values::Signed(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Values::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            DataType::Float64 => Values::Real(array.as_primitive::<Float64Type>().clone()),
            _ => Values::Text(array.as_string::<i32>().clone()),
        };
        Some(LabelColumn { values, n_classes })
    }

    /// Whether values of a type can be labels.
    pub fn can_be(data_type: &DataType) -> bool {
        storage(data_type).is_some()
    }

    /// The label of a row, if it has one.
    pub fn get(&self, row: usize) -> Option<Label<'_>> {
        let label = match &self.values {
            Values::Signed(array) if array.is_valid(row) => Label::Whole(array.value(row).into()),
            Values::Unsigned(array) if array.is_valid(row) => Label::Whole(array.value(row).into()),
            Values::Real(array) if array.is_valid(row) => real(array.value(row))?,
            Values::Text(array) if array.is_valid(row) => Label::Text(array.value(row)),
            _ => return None,
        };
        match (label, self.n_classes) {
            (Label::Whole(number), Some(n)) if !(0..n as i128).contains(&number) => None,
            _ => Some(label),
        }
    }
}

/// The type that labels of a type are read as; `None` for what cannot be labels.
fn storage(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::UInt64 => Some(DataType::UInt64),
        integer if integer.is_integer() => Some(DataType::Int64),
        float if float.is_floating() => Some(DataType::Float64),
        DataType::Dictionary(_, values) => storage(values),
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Some(DataType::Utf8)
        }
        other if other.is_decimal() || other.is_temporal() => Some(DataType::Utf8),
        _ => None,
    }
}

/// Whole numbers are the same label however they are stored: pandas turns a column of them with gaps into floats.
pub(super) fn real(value: f64) -> Option<Label<'static>> {
    const EXACT: f64 = (1u64 << 53) as f64;
    if value.is_nan() {
        return None;
    }
    if value.fract().abs() <= 0.0 && value.abs() <= EXACT {
        return Some(Label::Whole(value as i128));
    }
    Some(Label::Real(value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, DictionaryArray, Int8Array, ListArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn labels(array: ArrayRef, n_classes: Option<usize>) -> Vec<String> {
        let column = LabelColumn::new(&array, n_classes).expect("labels");
        (0..array.len())
            .map(|row| format!("{:?}", column.get(row)))
            .collect()
    }

    #[test]
    fn numbers_texts_and_truths_are_labels_and_nulls_are_none() {
        assert_eq!(
            labels(Arc::new(Int8Array::from(vec![Some(-3), None])), None),
            ["Some(Whole(-3))", "None"]
        );
        let large = UInt64Array::from(vec![u64::MAX]);
        assert_eq!(
            labels(Arc::new(large), None),
            ["Some(Whole(18446744073709551615))"]
        );
        let floats = Float64Array::from(vec![2.0, 0.5, f64::NAN]);
        assert_eq!(
            labels(Arc::new(floats), None),
            ["Some(Whole(2))", "Some(Real(0.5))", "None"]
        );
        let truths = BooleanArray::from(vec![Some(true), Some(false), None]);
        assert_eq!(
            labels(Arc::new(truths), None),
            ["Some(Text(\"true\"))", "Some(Text(\"false\"))", "None"]
        );
        let texts: DictionaryArray<Int32Type> =
            vec![Some("a"), None, Some("")].into_iter().collect();
        assert_eq!(
            labels(Arc::new(texts), None),
            ["Some(Text(\"a\"))", "None", "Some(Text(\"\"))"]
        );
    }

    #[test]
    fn a_class_without_a_name_is_no_label() {
        let numbers = Int64Array::from(vec![-1, 0, 2, 3]);
        assert_eq!(
            labels(Arc::new(numbers), Some(3)),
            ["None", "Some(Whole(0))", "Some(Whole(2))", "None"]
        );
    }

    #[test]
    fn lists_are_no_labels() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)])]);
        assert!(!LabelColumn::can_be(lists.data_type()));
        let lists: ArrayRef = Arc::new(lists);
        assert!(LabelColumn::new(&lists, None).is_none());
    }
}
