//! `bovw inspect`: what is in a shard, a vocabulary or a features file.

use std::path::Path;

use bovw::job::{Color, Io};
use bovw::shard::detect;
use bovw::shard::images::ImageRows;
use bovw::shard::read::Shard;
use bovw::shard::{clusters, features, vocabulary};
use bovw::{Error, Result};
use serde_json::{Value, json};

use super::args::{GlobalArgs, InspectArgs};
use super::output::{bytes, count, note, path_text, print, print_json, table};
use super::style::Style;

/// Rows whose images are looked at.
const SAMPLE_ROWS: usize = 100;

/// Columns and classes that are listed.
const MAX_LISTED: usize = 20;

/// Words of a vocabulary that are listed.
const MAX_WORDS: usize = 8;

/// What is said of a file: for people, and for programs.
struct Findings {
    kind: &'static str,
    rows: Vec<(String, String)>,
    json: Value,
}

pub(crate) fn inspect(args: &InspectArgs, global: &GlobalArgs) -> Result<()> {
    let style = Style::of(global.color, &std::io::stdout());
    let mut first_error = None;
    for path in &args.files {
        match look_at(path) {
            Ok(findings) if global.json => {
                let mut json = findings.json;
                json["file"] = json!(path_text(path));
                json["kind"] = json!(findings.kind);
                print_json(&json)?;
            }
            Ok(findings) => {
                let heading = format!("{}: {}", path.display(), findings.kind);
                print(format!(
                    "{}\n{}",
                    style.bold(heading),
                    table(&findings.rows)
                ))?;
            }
            // One broken file does not hide the others.
            Err(error) => {
                if let Some(earlier) = first_error.replace(error) {
                    note(&Style::of(global.color, &std::io::stderr()).error(earlier));
                }
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn look_at(path: &Path) -> Result<Findings> {
    let shard = Shard::open(path, Io::Auto)?;
    if shard.key_value(vocabulary::KEY).is_some() {
        look_at_vocabulary(path)
    } else if let Some(text) = shard.key_value(features::KEY) {
        look_at_features(&shard, text)
    } else if let Some(text) = shard.key_value(clusters::KEY) {
        look_at_clusters(&shard, text)
    } else {
        look_at_shard(&shard)
    }
}

fn row(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn look_at_shard(shard: &Shard) -> Result<Findings> {
    let mut rows = file_rows(shard);
    let mut json = file_json(shard);
    match detect::image_column(shard, None, None) {
        Err(error) => {
            rows.push(row("images", format!("{error}")));
            json["image"] = Value::Null;
        }
        Ok(mut image) => {
            // As it is stored, whatever a job makes of it.
            image.reading.color = Color::Auto;
            rows.push(row(
                "images",
                format!("column \"{}\": {}", image.name(), image.reason),
            ));
            json["image"] = json!({"column": image.name(), "reason": image.reason});
            let sizes = image_sizes(shard, &image)?;
            rows.push(row("", sizes.clone()));
            json["image"]["first_rows"] = json!(sizes);
            if let Some((label, reason)) = detect::label_column(shard, None, &image)? {
                rows.push(row("labels", format!("column \"{label}\": {reason}")));
                json["label"] = json!({"column": label, "reason": reason});
                let features = shard.features();
                if let Some(names) = features.class_names(&label) {
                    rows.push(row("classes", format!("{}: {}", names.len(), list(&names))));
                    json["label"]["classes"] = json!(names);
                }
            }
        }
    }
    Ok(Findings {
        kind: "image shard",
        rows,
        json,
    })
}

fn file_rows(shard: &Shard) -> Vec<(String, String)> {
    let columns: Vec<String> = shard
        .schema()
        .fields()
        .iter()
        .take(MAX_LISTED)
        .map(|field| {
            let storage = shard.storage(field.name()).unwrap_or_default();
            format!("{}: {} ({storage})", field.name(), field.data_type())
        })
        .collect();
    let mut columns = columns.join("\n");
    let n_columns = shard.schema().fields().len();
    if n_columns > MAX_LISTED {
        columns.push_str(&format!("\nand {} more", n_columns - MAX_LISTED));
    }
    vec![
        row(
            "rows",
            format!(
                "{} in {} row groups",
                count(shard.n_rows()),
                shard.n_row_groups()
            ),
        ),
        row("columns", columns),
    ]
}

fn file_json(shard: &Shard) -> Value {
    let columns: Vec<Value> = shard
        .schema()
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": field.data_type().to_string(), "storage": shard.storage(field.name())}))
        .collect();
    json!({"rows": shard.n_rows(), "row_groups": shard.n_row_groups(), "columns": columns})
}

/// Sizes of the first rows' images, and how many of them are bad.
fn image_sizes(shard: &Shard, image: &detect::ImageColumn) -> Result<String> {
    if shard.n_row_groups() == 0 {
        return Ok("no rows".to_owned());
    }
    let mut reader = shard.read_row_group(0, &image.wanted(), SAMPLE_ROWS)?;
    let Some(batch) = reader.next_batch() else {
        return Ok("no rows".to_owned());
    };
    let (_, batch) = batch?;
    let rows = ImageRows::new(&batch, image, &shard.path().into())?;
    let mut sizes: Vec<(u32, u32)> = Vec::new();
    let (mut n_color, mut first_bad) = (0, None);
    let mut n_bad = 0;
    for index in 0..batch.num_rows() {
        match rows.get(index) {
            Ok(image) => {
                n_color += usize::from(image.channels > 1);
                sizes.push((image.height, image.width));
            }
            Err(reason) => {
                n_bad += 1;
                first_bad.get_or_insert((index, reason));
            }
        }
    }
    let (least, most) = (sizes.iter().min(), sizes.iter().max());
    let mut text = match (least, most) {
        (Some(least), Some(most)) if least == most => {
            format!(
                "first {} rows: {}x{} pixels",
                batch.num_rows(),
                least.0,
                least.1
            )
        }
        (Some(least), Some(most)) => format!(
            "first {} rows: {}x{} to {}x{} pixels",
            batch.num_rows(),
            least.0,
            least.1,
            most.0,
            most.1
        ),
        _ => format!("first {} rows: no good image", batch.num_rows()),
    };
    if !sizes.is_empty() {
        text.push_str(&match n_color {
            0 => ", grey".to_owned(),
            n if n == sizes.len() => ", in colour".to_owned(),
            n => format!(", {n} of them in colour, the others grey"),
        });
    }
    if let Some((index, reason)) = first_bad {
        text.push_str(&format!(
            "; {n_bad} bad, the first in row {index}: {reason}"
        ));
    }
    Ok(text)
}

fn list(names: &[&str]) -> String {
    let mut text = names
        .iter()
        .take(MAX_LISTED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_LISTED {
        text.push_str(&format!(" and {} more", names.len() - MAX_LISTED));
    }
    text
}

fn prepared(header: &vocabulary::Header) -> String {
    let mut text = format!("normalize \"{}\"", header.normalize);
    if let Some(epsilon) = header.epsilon {
        text += &format!(", epsilon {epsilon:?}");
    }
    if let Some(whitening) = &header.whitening {
        text += &format!(
            ", whiten \"{}\", whiten_epsilon {:?}",
            whitening.kind, whitening.epsilon
        );
    }
    if let Some(n) = header.n_documents {
        text += &format!("; document frequencies of {} images", count(n));
    }
    text
}

fn look_at_vocabulary(path: &Path) -> Result<Findings> {
    let (words, header) = vocabulary::read(path)?;
    let n_patches = header.n_patches.max(1) as f64;
    let mut used: Vec<usize> = (0..words.k()).collect();
    used.sort_by_key(|&word| std::cmp::Reverse(words.counts[word]));
    let most: Vec<String> = used
        .iter()
        .take(MAX_WORDS)
        .map(|&word| {
            format!(
                "{word}: {:.2} %",
                100.0 * words.counts[word] as f64 / n_patches
            )
        })
        .collect();
    let [height, width] = header.patch;
    let rows = vec![
        row(
            "words",
            format!("{} of {height}x{width} {} patches", words.k(), header.color),
        ),
        row("prepared", prepared(&header)),
        row(
            "learned",
            format!(
                "from {} patches, inertia {:.4} a patch",
                count(header.n_patches),
                header.inertia_per_patch
            ),
        ),
        row("most used", most.join(", ")),
        row(
            "least used",
            format!(
                "{:.4} %",
                used.last()
                    .map_or(0.0, |&word| 100.0 * words.counts[word] as f64 / n_patches)
            ),
        ),
    ];
    Ok(Findings {
        kind: "vocabulary",
        rows,
        json: json!({"header": header, "counts": words.counts}),
    })
}

fn look_at_clusters(shard: &Shard, text: &str) -> Result<Findings> {
    let provenance = parsed(shard, clusters::KEY, text)?;
    let own = &provenance["clusters"];
    let is_centroids = shard.schema().field_with_name("centroid").is_ok();
    let mut rows = file_rows(shard);
    rows.push(row(
        "clusters",
        format!(
            "{} of {} {}, {} values each; {}, the best of {} restarts",
            own["k"],
            own["rows"],
            own["of"].as_str().unwrap_or("?"),
            own["dimensions"],
            own["algorithm"].as_str().unwrap_or("?"),
            own["n_init"]
        ),
    ));
    rows.push(row("inertia", own["inertia"].to_string()));
    rows.push(row("job", provenance["job"].to_string()));
    let mut json = file_json(shard);
    json["provenance"] = provenance;
    Ok(Findings {
        kind: if is_centroids {
            "centroids of clusters"
        } else {
            "clusters"
        },
        rows,
        json,
    })
}

fn parsed(shard: &Shard, key: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Error::file(
            shard.path(),
            format!("its key \"{key}\" cannot be read: {error}"),
        )
    })
}

/// A text, or a list of them.
fn names(value: &Value) -> String {
    match value {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names.collect::<Vec<&str>>().join(", ")
        }
        _ => "?".to_owned(),
    }
}

fn look_at_features(shard: &Shard, text: &str) -> Result<Findings> {
    let provenance = parsed(shard, features::KEY, text)?;
    let mut rows = file_rows(shard);
    let size = shard.bytes();
    rows.push(row(
        "vectors",
        format!(
            "{} values, {} encoding, weighted by {}; the file is {}",
            provenance["features"]["length"],
            provenance["features"]["encoding"].as_str().unwrap_or("?"),
            names(&provenance["features"]["weighting"]),
            bytes(parquet::file::reader::Length::len(size))
        ),
    ));
    rows.push(row(
        "made from",
        format!(
            "{}, {} rows",
            provenance["input"]["name"].as_str().unwrap_or("?"),
            provenance["input"]["rows"]
        ),
    ));
    rows.push(row(
        "vocabulary",
        format!(
            "blake3 {}",
            provenance["vocabulary"]["blake3"].as_str().unwrap_or("?")
        ),
    ));
    rows.push(row("job", provenance["job"].to_string()));
    let mut json = file_json(shard);
    json["provenance"] = provenance;
    Ok(Findings {
        kind: "features",
        rows,
        json,
    })
}
