//! What was read: files, columns, labels, and images that could not be used.

use crate::report::run_files::RunFiles;
use crate::report::text::{bytes, count, short, size};
use crate::report::word_use::MAX_CLASSES;

/// Input files that are listed, at most.
const MAX_INPUTS: usize = 20;

/// Classes that are listed, at most.
const MAX_LISTED_CLASSES: usize = 60;

/// Bad images that are listed, at most.
const MAX_BAD: usize = 10;

/// Characters of a reason or name, at most.
const MAX_TEXT: usize = 120;

pub(in crate::report) struct Data {
    pub(in crate::report) n_images: String,
    pub(in crate::report) image_column: String,
    pub(in crate::report) image_reason: String,
    pub(in crate::report) first_image: Option<String>,
    pub(in crate::report) is_color: bool,
    pub(in crate::report) resize: Option<u64>,
    pub(in crate::report) label: Option<(String, String)>,
    pub(in crate::report) inputs: Vec<[String; 3]>,
    pub(in crate::report) n_more_inputs: usize,
    pub(in crate::report) classes: Vec<[String; 2]>,
    pub(in crate::report) classes_note: Option<String>,
    pub(in crate::report) bad: Option<Bad>,
}

/// Images that could not be used.
pub(in crate::report) struct Bad {
    pub(in crate::report) n: String,
    pub(in crate::report) became: &'static str,
    pub(in crate::report) first: Vec<[String; 3]>,
    pub(in crate::report) n_more: u64,
}

pub(in crate::report) fn data(files: &RunFiles) -> Data {
    let manifest = &files.manifest;
    let columns = &manifest.columns;
    let inputs = manifest.inputs.iter().map(|input| {
        let input = &input.input;
        [
            short(&input.path, MAX_TEXT),
            count(input.rows),
            bytes(input.fingerprint.size_bytes),
        ]
    });
    let reason = columns.label_reason.clone().unwrap_or_default();
    let label = columns.label.clone().map(|label| (label, reason));
    let classes = &files.sizes[0].word_use.classes;
    let listed = classes.iter().take(MAX_LISTED_CLASSES);
    Data {
        n_images: count(manifest.counts.tally.images),
        image_column: columns.image.clone(),
        image_reason: columns.image_reason.clone(),
        first_image: columns
            .first_image
            .map(|[height, width]| size(height, width)),
        is_color: manifest.job["input"]["color"] == "rgb",
        resize: manifest.job["input"]["resize"].as_u64(),
        label,
        inputs: inputs.take(MAX_INPUTS).collect(),
        n_more_inputs: manifest.inputs.len().saturating_sub(MAX_INPUTS),
        classes: listed
            .map(|class| [short(&class.name, MAX_TEXT), count(class.n_rows)])
            .collect(),
        classes_note: classes_note(files),
        bad: bad(files),
    }
}

fn classes_note(files: &RunFiles) -> Option<String> {
    let word_use = &files.sizes[0].word_use;
    let n_classes = word_use.classes.len();
    let unlabelled = match word_use.n_unlabelled {
        0 => String::new(),
        1 => " One row has no label.".to_owned(),
        n => format!(" {} rows have no label.", count(n)),
    };
    let note = if word_use.has_too_many_classes {
        format!(
            "There are more than {MAX_CLASSES} different labels: too many to be classes that can be told apart in a table or \
             a picture, so nothing below is split by them."
        )
    } else if n_classes > MAX_LISTED_CLASSES {
        format!("The first {MAX_LISTED_CLASSES} of {n_classes} labels.")
    } else if n_classes == 1 {
        "All rows have the same label, so there is nothing to compare it with.".to_owned()
    } else {
        String::new()
    };
    let note = format!("{note}{unlabelled}").trim().to_owned();
    (!note.is_empty()).then_some(note)
}

fn bad(files: &RunFiles) -> Option<Bad> {
    let manifest = &files.manifest;
    let n = manifest.counts.bad_images;
    if n == 0 {
        return None;
    }
    let first = manifest.bad_images.iter().take(MAX_BAD).map(|bad| {
        [
            short(&bad.file, MAX_TEXT),
            count(bad.image.row),
            short(&bad.image.reason, MAX_TEXT),
        ]
    });
    Some(Bad {
        n: match n {
            1 => "One image could not be used and was".to_owned(),
            n => format!("{} images could not be used and were each", count(n)),
        },
        became: match manifest.job["input"]["on_bad_image"].as_str() {
            Some("drop") => "left out: there is no row for it in the features files",
            _ => "kept, with a vector of zeros and the reason in the column status",
        },
        first: first.collect(),
        n_more: n.saturating_sub(MAX_BAD as u64),
    })
}
