//! Hugging Face's `huggingface` key in a Parquet footer: which columns are images, what label numbers mean.
//!
//! The key holds `{"info": {"features": {COLUMN: FEATURE}}}`. A feature is passed on as it came; only image and class
//! label features are looked into. A broken key is treated as absent: it is a hint, not data.

use serde_json::{Map, Value, json};

/// The key's name in the footer.
pub const KEY: &str = "huggingface";

/// The features that a footer declares, by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features(Map<String, Value>);

impl Features {
    /// Reads the value of the footer's key.
    pub fn parse(text: &str) -> Features {
        let mut value: Value = serde_json::from_str(text).unwrap_or_default();
        match value.pointer_mut("/info/features").map(Value::take) {
            Some(Value::Object(features)) => Features(features),
            _ => Features::default(),
        }
    }

    /// The value of the footer's key.
    pub fn to_text(&self) -> String {
        json!({"info": {"features": self.0}}).to_string()
    }

    /// Columns that are declared as images.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.of_type("Image")
    }

    /// Columns that are declared as class labels.
    pub fn class_labels(&self) -> impl Iterator<Item = &str> {
        self.of_type("ClassLabel")
    }

    /// Names of a class label column's numbers, from 0 up.
    pub fn class_names(&self, column: &str) -> Option<Vec<&str>> {
        let names = self.0.get(column)?.get("names")?.as_array()?;
        names.iter().map(Value::as_str).collect()
    }

    /// The feature of one column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.get(column)
    }

    /// Adds the feature of one column.
    pub fn insert(&mut self, column: &str, feature: Value) {
        self.0.insert(column.to_owned(), feature);
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(_, feature)| feature["_type"] == kind)
            .map(|(column, _)| column.as_str())
    }
}

/// A plain value feature, such as `int32`.
pub fn value_feature(dtype: &str) -> Value {
    json!({"dtype": dtype, "_type": "Value"})
}

/// The feature of image columns.
pub fn image_feature() -> Value {
    json!({"_type": "Image"})
}

/// The feature of class labels with these names.
pub fn class_label_feature(names: &[String]) -> Value {
    json!({"names": names, "_type": "ClassLabel"})
}

/// A feature of vectors of `n` float32.
pub fn vector_feature(n: usize) -> Value {
    json!({"feature": value_feature("float32"), "length": n, "_type": "List"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_found_in_the_layout_that_datasets_writes() {
        let features = Features::parse(
            r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#,
        );
        assert_eq!(features.images().collect::<Vec<_>>(), ["image"]);
        assert_eq!(features.class_names("label"), Some(vec!["cat", "dog"]));
        assert_eq!(Features::parse(&features.to_text()), features);
    }

    #[test]
    fn a_broken_key_counts_as_absent() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"info": 3}"#,
            r#"{"info": {"features": []}}"#,
        ] {
            assert!(Features::parse(text).is_empty());
        }
    }
}
