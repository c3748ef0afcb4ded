//! The input of a job as a whole: which shards, in which order, how many rows, and which columns of them are read.
//!
//! All footers are read once, here; afterwards every shard is known to exist, to be Parquet, and to have the columns.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::bytes::cut_short;
use super::detect::{self, ImageColumn};
use super::features::Layout;
use super::hugging_face::Features;
use super::page_need::{PageNeed, PageSurvey};
use super::pixels::Reading;
use super::read::{Fingerprint, Shard, Wanted};
use crate::error::{Error, Place, Result};
use crate::job::{Input, Io};

/// All shards of a job, in the order in which they are read.
#[derive(Debug, Clone)]
pub struct InputSet {
    /// The shards.
    pub shards: Vec<ShardInfo>,
    /// The image column.
    pub image: ImageColumn,
    /// The label column, and why it is that one.
    pub label: Option<(String, String)>,
    /// Label and kept columns, in output order.
    pub side: SchemaRef,
    /// What reading their pages takes.
    pub pages: PageNeed,
}

/// One shard.
#[derive(Debug, Clone)]
pub struct ShardInfo {
    /// The file.
    pub path: PathBuf,
    /// Name of its outputs, without an ending; no other shard has the same.
    pub name: String,
    /// Its rows, at least 1.
    pub n_rows: u64,
    /// Rows of each of its row groups.
    pub row_group_rows: Vec<u64>,
    /// Row number of its first row over all shards.
    pub first_row: u64,
    /// Its size and time when it was opened.
    pub fingerprint: Fingerprint,
    /// BLAKE3 of its footer, in hex.
    pub footer_blake3: String,
    /// What Hugging Face metadata says of its label and kept columns.
    pub features: Features,
    /// Decoded bytes a row of the columns that are read, about.
    pub bytes_per_row: u64,
    /// Uncompressed bytes a row of the label and kept columns alone, as the footer has it.
    pub side_bytes_per_row: u64,
}

impl ShardInfo {
    /// An input that changes under a run would give a result that belongs to no input.
    ///
    /// # Errors
    /// The file is not as it was when the job opened it.
    pub fn check_unchanged(&self) -> Result<()> {
        let (then, now) = (&self.fingerprint, Fingerprint::of(&self.path)?);
        if now == *then {
            return Ok(());
        }
        if now.size_bytes < then.size_bytes {
            return Err(cut_short(&self.path, then.size_bytes, now.size_bytes));
        }
        Err(Error::File {
            place: Place::file(&self.path),
            message: "changed while the job was running".to_owned(),
            help: Some("run the job again once the file is complete".to_owned()),
        })
    }
}

impl InputSet {
    /// Finds and opens everything that the job's globs match. Nothing is read that would take more than `memory_bytes`.
    pub fn open(input: &Input, io: Io, memory_bytes: u64) -> Result<InputSet> {
        let paths = matching_files(&input.files)?;
        let first = Shard::open(&paths[0], io)?.with_max_page_bytes(memory_bytes);
        let mut set = InputSet::with_columns_of(&first, input)?;
        let names = output_names(&paths);
        let mut pages = PageSurvey::new(memory_bytes);
        let wanted = set.wanted();
        let mut first_row = 0;
        for (path, name) in paths.iter().zip(names) {
            let shard = Shard::open(path, io)?;
            set.check_columns(&first, &shard)?;
            let info = set.shard_info(&shard, name, first_row)?;
            first_row += info.n_rows;
            set.shards.push(info);
            pages.see(&shard, &wanted)?;
        }
        set.pages = pages.finish();
        Ok(set)
    }

    /// The one shard of a job that a task works on, `name` and `first_row` as in the whole. Columns are those of the job's
    /// `first` file; no other file is opened. That it has them was seen when the whole was opened.
    pub fn open_one(
        input: &Input,
        io: Io,
        memory_bytes: u64,
        first: &Path,
        path: &Path,
        (name, first_row): (&str, u64),
    ) -> Result<InputSet> {
        let first = Shard::open(first, io)?.with_max_page_bytes(memory_bytes);
        let mut set = InputSet::with_columns_of(&first, input)?;
        let shard = Shard::open(path, io)?;
        let info = set.shard_info(&shard, name.to_owned(), first_row)?;
        set.shards.push(info);
        let mut pages = PageSurvey::new(memory_bytes);
        pages.see(&shard, &set.wanted())?;
        set.pages = pages.finish();
        Ok(set)
    }

    /// No shards yet, and the columns that are read, as the first file has them.
    fn with_columns_of(first: &Shard, input: &Input) -> Result<InputSet> {
        let mut image = detect::image_column(first, input.image.as_deref(), input.shape)?;
        image.reading = Reading::of(input);
        let label = detect::label_column(first, input.label.as_deref(), &image)?;
        let name = label.as_ref().map(|(name, _)| name.as_str());
        let side = side_schema(first, name, &input.keep)?;
        Ok(InputSet {
            shards: Vec::new(),
            image,
            label,
            side,
            pages: PageNeed::default(),
        })
    }

    /// Rows of all shards.
    pub fn n_rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.n_rows).sum()
    }

    /// What is read for the image alone.
    pub fn wanted_image(&self) -> Vec<Wanted> {
        self.image.wanted()
    }

    /// What is read for the image, the label and the kept columns.
    pub fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = self.image.wanted();
        for field in self.side.fields() {
            // A kept column may be the image's own, or a struct of which only a field is read for the image.
            wanted.retain(|other| other.column != *field.name());
            wanted.push(Wanted::column(field.name()));
        }
        wanted
    }

    /// The layout of a shard's features file.
    pub fn layout(&self, shard: &ShardInfo, n_values: usize, has_status: bool) -> Layout {
        Layout {
            n_values,
            side: self.side.clone(),
            side_bytes: shard.side_bytes_per_row,
            has_status,
            features: shard.features.clone(),
        }
    }

    fn shard_info(&self, shard: &Shard, name: String, first_row: u64) -> Result<ShardInfo> {
        let n_rows = shard.n_rows();
        if n_rows == 0 {
            return Err(Error::File {
                place: Place::file(shard.path()),
                message: "has no rows".to_owned(),
                help: Some("remove it, or leave it out of input.files".to_owned()),
            });
        }
        let declared = shard.features();
        let mut features = Features::default();
        for field in self.side.fields() {
            if let Some(feature) = declared.get(field.name()) {
                features.insert(field.name(), feature.clone());
            }
        }
        let bytes_per_row = |bytes: &dyn Fn(usize) -> u64| -> u64 {
            let groups = (0..shard.n_row_groups()).map(bytes);
            groups.fold(0, u64::saturating_add).div_ceil(n_rows)
        };
        let wanted = self.wanted();
        let side: Vec<Wanted> = self
            .side
            .fields()
            .iter()
            .map(|field| Wanted::column(field.name()))
            .collect();
        Ok(ShardInfo {
            path: shard.path().to_owned(),
            name,
            n_rows,
            row_group_rows: (0..shard.n_row_groups())
                .map(|group| shard.row_group_rows(group))
                .collect(),
            first_row,
            fingerprint: Fingerprint::of(shard.path())?,
            footer_blake3: shard.footer_blake3()?,
            features,
            bytes_per_row: bytes_per_row(&|group| shard.decoded_bytes(group, &wanted)),
            side_bytes_per_row: bytes_per_row(&|group| shard.row_group_bytes(group, &side)),
        })
    }

    /// Every file must have the first one's columns, with the same types.
    fn check_columns(&self, first: &Shard, shard: &Shard) -> Result<()> {
        for wanted in self.wanted() {
            let [expected, found] = [first, shard].map(|shard| leaf_type(shard, &wanted));
            if expected == found {
                continue;
            }
            return Err(Error::File {
                place: Place::file(shard.path()).column(&wanted.column),
                message: match (expected, found) {
                    (_, None) => format!("is missing, though {} has it", first.path().display()),
                    (expected, Some(found)) => format!(
                        "is {found}, but {} in {}",
                        expected.map_or("nothing".to_owned(), |expected| expected.to_string()),
                        first.path().display()
                    ),
                },
                help: Some("all files of a job must have the same columns".to_owned()),
            });
        }
        Ok(())
    }
}

fn leaf_type(shard: &Shard, wanted: &Wanted) -> Option<DataType> {
    let field = shard.schema().field_with_name(&wanted.column).ok()?;
    match (&wanted.field, field.data_type()) {
        (Some(name), DataType::Struct(fields)) => fields
            .iter()
            .find(|child| child.name() == name)
            .map(|child| child.data_type().clone()),
        (_, data_type) => Some(data_type.clone()),
    }
}

/// The files that globs match, each once, sorted by name.
fn matching_files(globs: &[String]) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions {
        // Our own temporary files start with a dot.
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let mut files = BTreeSet::new();
    for pattern in globs {
        let matches = glob::glob_with(pattern, options).map_err(|error| {
            Error::setting(
                "input.files",
                format!("\"{pattern}\" is no glob: {error}"),
                "",
            )
        })?;
        let mut is_matched = false;
        for path in matches {
            let path = path.map_err(|error| {
                let path = error.path().to_owned();
                Error::io(&path, "list", error.into())
            })?;
            if path.is_file() {
                files.insert(path);
                is_matched = true;
            }
        }
        // A glob that finds nothing is a slip of the pen; without its files the result would be another.
        if !is_matched {
            return Err(no_match(pattern));
        }
    }
    Ok(files.into_iter().collect())
}

fn no_match(pattern: &str) -> Error {
    Error::setting(
        "input.files",
        format!("no file matches \"{pattern}\""),
        "paths are relative to the job file; `bovw import` makes shards from images, CSV or IDX",
    )
}

fn side_schema(shard: &Shard, label: Option<&str>, keep: &[String]) -> Result<SchemaRef> {
    let mut fields = Vec::new();
    for name in label.into_iter().chain(keep.iter().map(String::as_str)) {
        let key = if Some(name) == label {
            "input.label"
        } else {
            "input.keep"
        };
        let field = detect::field_of(shard, name, key)?;
        if Layout::OWN_COLUMNS.contains(&name) {
            return Err(Error::setting(
                key,
                format!("\"{name}\" is the name of an output column of bovw"),
                "rename the column in the input",
            ));
        }
        if fields
            .iter()
            .all(|other: &arrow::datatypes::Field| other.name() != name)
        {
            fields.push(field.clone());
        }
    }
    Ok(SchemaRef::new(Schema::new(fields)))
}

/// Names for outputs: the files' own, and where two files share one, with the folders in which they differ.
fn output_names(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &Path| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let mut uses: HashMap<String, usize> = HashMap::new();
    for path in paths {
        *uses.entry(stem(path)).or_default() += 1;
    }
    if uses.values().all(|&n| n == 1) {
        return paths.iter().map(|path| stem(path)).collect();
    }
    let common = common_ancestor(paths);
    let mut taken = BTreeSet::new();
    paths
        .iter()
        .map(|path| {
            let below = path.with_extension("");
            let below = below.strip_prefix(&common).unwrap_or(&below);
            let parts: Vec<String> = below
                .components()
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect();
            let mut name = parts.join("__");
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            name
        })
        .collect()
}

fn common_ancestor(paths: &[PathBuf]) -> PathBuf {
    let mut common = paths
        .first()
        .and_then(|path| path.parent())
        .map(Path::to_owned)
        .unwrap_or_default();
    while !paths.iter().all(|path| path.starts_with(&common)) {
        if !common.pop() {
            break;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        output_names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn outputs_are_called_like_inputs() {
        assert_eq!(names(&["/d/a.parquet", "/d/b b.parquet"]), ["a", "b b"]);
    }

    #[test]
    fn files_of_one_name_are_told_apart_by_their_folders() {
        assert_eq!(
            names(&[
                "/d/test/0.parquet",
                "/d/train/0.parquet",
                "/d/train/1.parquet"
            ]),
            ["test__0", "train__0", "train__1"]
        );
        let twice = names(&["/d/a__b.parquet", "/d/a/b.parquet", "/d/c/b.parquet"]);
        assert_eq!(twice.iter().collect::<BTreeSet<_>>().len(), 3, "{twice:?}");
    }
}
