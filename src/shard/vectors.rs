//! Features files, read back: vectors and the label beside each, a batch at a time.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::columns::{NumberLists, Numbers};
use super::read::{Shard, Wanted};
use crate::error::{Error, Place, Result};
use crate::job::Io;

/// Raw bytes of vectors that are read at once, about.
const READ_BYTES: usize = 1 << 18;

/// Rows that are read at once, at most.
const MAX_READ_ROWS: usize = 4096;

/// A features file, open.
#[derive(Debug)]
pub struct VectorFile {
    shard: Shard,
    n_values: usize,
    label: Option<String>,
    class_names: Option<Vec<String>>,
}

/// A label. Class labels and numbers are ordered as numbers, everything else as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    number: i64,
    /// What is shown: the class's name, where there is one.
    pub text: String,
}

impl VectorFile {
    /// Opens a features file with vectors of `n_values`; `label` is left out where the file has no such column.
    pub fn open(path: &Path, n_values: usize, label: Option<&str>) -> Result<VectorFile> {
        let shard = Shard::open(path, Io::Read)?;
        let label = label.filter(|name| shard.schema().field_with_name(name).is_ok());
        let features = shard.features();
        let class_names = label.and_then(|name| features.class_names(name));
        Ok(VectorFile {
            n_values,
            label: label.map(str::to_owned),
            class_names: class_names.map(|names| names.into_iter().map(str::to_owned).collect()),
            shard,
        })
    }

    /// Number of row groups.
    pub fn n_row_groups(&self) -> usize {
        self.shard.n_row_groups()
    }

    /// Gives every row of a row group to `each`: its label and its vector.
    pub fn read(
        &self,
        row_group: usize,
        mut each: impl FnMut(Option<Label>, &[f32]),
    ) -> Result<()> {
        let columns = std::iter::once("features").chain(self.label.as_deref());
        let wanted: Vec<Wanted> = columns.map(Wanted::column).collect();
        let row_bytes = (self.n_values * size_of::<f32>()).max(1);
        let batch_rows = (READ_BYTES / row_bytes).clamp(1, MAX_READ_ROWS);
        let mut reader = self.shard.read_row_group(row_group, &wanted, batch_rows)?;
        while let Some(batch) = reader.next_batch() {
            self.rows(&batch?.1, &mut each)?;
        }
        Ok(())
    }

    fn rows(
        &self,
        batch: &RecordBatch,
        each: &mut impl FnMut(Option<Label>, &[f32]),
    ) -> Result<()> {
        let wrong = |column: &str, what: &str| {
            Error::file(Place::file(self.shard.path()).column(column), what)
        };
        let no_vectors = || wrong("features", "is missing, or has no lists of float32");
        let column = batch.column_by_name("features").ok_or_else(no_vectors)?;
        let lists = NumberLists::new(column).ok_or_else(no_vectors)?;
        let Numbers::F32(numbers) = lists.numbers() else {
            return Err(no_vectors());
        };
        let labels = match &self.label {
            Some(name) => Some(
                batch
                    .column_by_name(name)
                    .and_then(|column| Labels::new(column, self.class_names.as_deref()))
                    .ok_or_else(|| wrong(name, "cannot be shown as text"))?,
            ),
            None => None,
        };
        for row in 0..batch.num_rows() {
            let range = lists.range(row);
            if range.len() != self.n_values {
                let what = format!("has {} values, not {}", range.len(), self.n_values);
                return Err(wrong("features", &what));
            }
            let label = labels.as_ref().and_then(|labels| labels.get(row));
            each(label, &numbers.values()[range]);
        }
        Ok(())
    }
}

/// A label column as labels, whatever its type.
#[derive(Debug)]
pub struct Labels<'a> {
    texts: ArrayRef,
    is_number: bool,
    class_names: Option<&'a [String]>,
}

impl<'a> Labels<'a> {
    /// The labels of a column; `None` where it holds nothing that can be shown as text.
    pub fn new(column: &ArrayRef, class_names: Option<&'a [String]>) -> Option<Labels<'a>> {
        Some(Labels {
            texts: cast(column, &DataType::Utf8).ok()?,
            is_number: column.data_type().is_integer(),
            class_names,
        })
    }

    /// The label of a row; `None` where it has none.
    pub fn get(&self, row: usize) -> Option<Label> {
        let texts = self.texts.as_string::<i32>();
        if texts.is_null(row) {
            return None;
        }
        let text = texts.value(row);
        let number: Option<i64> = self.is_number.then(|| text.parse().ok()).flatten();
        let name = number
            .and_then(|number| usize::try_from(number).ok())
            .and_then(|number| self.class_names?.get(number));
        Some(Label {
            number: number.unwrap_or(0),
            text: name.map_or_else(|| text.to_owned(), Clone::clone),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn class_labels_are_shown_by_name_and_ordered_by_number() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(0), None, Some(9)]));
        let names = ["zebra", "ant"].map(str::to_owned);
        let labels = Labels::new(&column, Some(&names)).expect("labels");
        let all: Vec<Option<Label>> = (0..4).map(|row| labels.get(row)).collect();
        let texts: Vec<Option<&str>> = all
            .iter()
            .map(|label| label.as_ref().map(|label| label.text.as_str()))
            .collect();
        assert_eq!(texts, [Some("ant"), Some("zebra"), None, Some("9")]);
        assert!(all[1] < all[0] && all[0] < all[3]);
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_texts_as_texts() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![10, 9]));
        let labels = Labels::new(&numbers, None).expect("labels");
        assert!(labels.get(1) < labels.get(0));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["10", "9"]));
        let labels = Labels::new(&texts, None).expect("labels");
        assert!(labels.get(0) < labels.get(1));
    }
}
