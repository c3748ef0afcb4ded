//! [`Each`]: what a run has once for every size of patches, in the job's order.
//!
//! In JSON one alone stands for itself, so that a run of one size is written as it was before there could be several; none is
//! `null`, several are a list.

use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One value for each size of patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Each<T>(Vec<T>);

impl<T> Default for Each<T> {
    fn default() -> Each<T> {
        Each(Vec::new())
    }
}

impl<T> Deref for Each<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> DerefMut for Each<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T> FromIterator<T> for Each<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Each<T> {
        Each(values.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Each<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_none(),
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Each<T>, D::Error> {
        let values = match Value::deserialize(deserializer)? {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            one => vec![one],
        };
        let read = |value| serde_json::from_value(value).map_err(D::Error::custom);
        values.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_written_as_if_there_could_be_no_more() {
        for (values, text) in [
            (vec![], "null"),
            (vec![0.1f64], "0.1"),
            (vec![1.5, 28.876517964289842], "[1.5,28.876517964289842]"),
        ] {
            let each: Each<f64> = values.into_iter().collect();
            assert_eq!(serde_json::to_string(&each).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<Each<f64>>(text).expect("read"), each);
        }
    }
}
