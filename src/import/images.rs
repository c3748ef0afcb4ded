//! Image files and folders of them, kept byte for byte.
//!
//! Folders are walked twice, in the order of their paths' bytes: once for names alone, to know the classes, and once to
//! read. Memory grows with the entries of the largest folder and with the number of classes, not with the images. The
//! images are not decoded: a file counts as an image if it starts like one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use image::ImageFormat;
use walkdir::{DirEntry, WalkDir};

use super::shards::{Label, Labels, MAX_IMAGE_BYTES, ShardWriter, check_target};
use super::source::open_regular;
use super::{MAX_CLASSES, Summary, Target, Watch};
use crate::error::{Error, Result};

/// Names of files that are taken for images inside a folder, by their ends in lower case.
pub const EXTENSIONS: [&str; 12] = [
    "png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "pbm", "pgm", "ppm", "pnm",
];
/// How deep folders are walked; deeper ones are listed as skipped. Bounds what symbolic links can make of a tree.
pub const MAX_DEPTH: usize = 32;
/// What all [`EXTENSIONS`] hold.
const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
    ImageFormat::Pnm,
];
/// Depth of a file in the layout `ROOT/CLASS/file`.
const CLASS_FILE_DEPTH: usize = 2;

/// Where labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FolderLabel {
    /// The parent folder's name, if every image is at `ROOT/CLASS/file` and there are at least two classes.
    #[default]
    Detect,
    /// The parent folder's name, at any depth below a given folder.
    Folder,
    /// There are none.
    None,
}

/// What to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Folders, which are walked for files that end as [`EXTENSIONS`] say, and files, whatever they are called.
    pub paths: Vec<PathBuf>,
    /// Where labels come from.
    pub label: FolderLabel,
    /// Whether a file that is not an image ends the import, rather than being skipped and listed.
    pub strict: bool,
}

impl Options {
    /// These folders and files, with labels where the layout has them, skipping what is not an image.
    pub fn new(paths: Vec<PathBuf>) -> Options {
        Options {
            paths,
            label: FolderLabel::Detect,
            strict: false,
        }
    }
}

/// Imports image files. An image's path is its path below the folder that was given, with `/` between the names.
pub fn import(options: &Options, target: &Target, watch: &Watch<'_>) -> Result<Summary> {
    check_target(target)?;
    let mut summary = Summary::default();
    let survey = Survey::of(options, watch)?;
    let n_expected = survey.n_files;
    let labels = survey.labels(options, &mut summary.notes)?;
    let mut writer = ShardWriter::create(target, &labels)?;
    let mut bytes = Vec::new();
    let mut n_files = 0;
    for found in find(&options.paths) {
        watch.before_image(n_files, Some(n_expected.max(n_files)))?;
        let file = match found {
            Found::Image(file) => file,
            Found::Other => continue,
            Found::Problem(problem) => {
                skip(options, &mut summary, problem)?;
                continue;
            }
        };
        n_files += 1;
        match read_image(&file.path, &mut bytes)? {
            None => writer.push(&bytes, Some(&file.relative), label_of(&labels, &file)?)?,
            Some(reason) => {
                let path = file.path;
                skip(options, &mut summary, Problem { path, reason })?;
            }
        }
    }
    if writer.images() == 0 {
        return Err(nothing_found(options, &summary.skipped));
    }
    summary.add_written(writer.finish()?);
    (watch.progress)(n_files, Some(n_files));
    if let Labels::Classes(names) = labels {
        summary.classes = Some(names);
    }
    Ok(summary)
}

/// A file that is to be read, going by its name.
struct ImageFile {
    path: PathBuf,
    /// Below the given folder, as text.
    relative: String,
    /// The parent folder's name, if that folder is below the given one.
    class: Option<String>,
    /// Below the given folder, in which depth is 1.
    depth: usize,
}

/// Something that has to be left out.
struct Problem {
    path: PathBuf,
    reason: String,
}

/// What a walk meets, besides folders.
enum Found {
    Image(ImageFile),
    Problem(Problem),
    /// A file that does not claim to be an image.
    Other,
}

fn find(paths: &[PathBuf]) -> impl Iterator<Item = Found> {
    paths.iter().flat_map(|root| {
        let root_is_file = !root.is_dir();
        WalkDir::new(root)
            .follow_links(true)
            .max_depth(MAX_DEPTH)
            .sort_by(|a, b| path_bytes(a).cmp(path_bytes(b)))
            .into_iter()
            .filter_map(move |entry| look_at(root, root_is_file, entry))
    })
}

/// A sibling's place in the order of whole paths, in which a folder's name goes on with a slash.
fn path_bytes(entry: &DirEntry) -> impl Iterator<Item = u8> {
    let slash = entry.file_type().is_dir().then_some(b'/');
    let name = entry.file_name().as_encoded_bytes();
    name.iter().copied().chain(slash)
}

fn look_at(root: &Path, root_is_file: bool, entry: walkdir::Result<DirEntry>) -> Option<Found> {
    let entry = match entry {
        Ok(entry) => entry,
        Err(e) => return Some(Found::Problem(walk_problem(root, &e))),
    };
    let depth = entry.depth();
    if entry.file_type().is_dir() {
        return (depth == MAX_DEPTH).then(|| {
            Found::Problem(Problem {
                path: entry.into_path(),
                reason: format!("folders are walked {MAX_DEPTH} deep, and this one is deeper"),
            })
        });
    }
    if root_is_file {
        return Some(Found::Image(ImageFile {
            relative: readable(Path::new(entry.file_name())),
            path: entry.into_path(),
            class: None,
            depth: 1,
        }));
    }
    if !has_image_extension(entry.path()) {
        return Some(Found::Other);
    }
    let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
    let parent = relative.parent().and_then(Path::file_name);
    Some(Found::Image(ImageFile {
        relative: readable(relative),
        class: parent.map(|name| readable(Path::new(name))),
        path: entry.path().to_owned(),
        depth,
    }))
}

fn walk_problem(root: &Path, error: &walkdir::Error) -> Problem {
    let reason = match (error.loop_ancestor(), error.io_error()) {
        (Some(ancestor), _) => {
            format!(
                "this symbolic link leads back to {}, which holds it",
                ancestor.display()
            )
        }
        (None, Some(e)) if e.kind() == io::ErrorKind::NotFound => {
            "this symbolic link leads nowhere".to_owned()
        }
        (None, Some(e)) => format!("cannot be read: {e}"),
        (None, None) => error.to_string(),
    };
    Problem {
        path: error.path().unwrap_or(root).to_owned(),
        reason,
    }
}

fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

/// A relative path as text, with `/` between names and `\xNN` for bytes that are not UTF-8, so that no two names
/// become the same by losing what is unreadable.
fn readable(path: &Path) -> String {
    let mut text = String::new();
    for component in path.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        if !text.is_empty() {
            text.push('/');
        }
        for chunk in name.as_encoded_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            text.push_str(&chunk.invalid().escape_ascii().to_string());
        }
    }
    text
}

/// What the names of the files say, all of them.
struct Survey {
    n_files: u64,
    n_others: u64,
    classes: BTreeSet<String>,
    too_many_classes: bool,
    /// The first file that is not at `ROOT/CLASS/file`.
    outside_layout: Option<PathBuf>,
    /// The first file without a class.
    unclassed: Option<PathBuf>,
}

impl Survey {
    fn of(options: &Options, watch: &Watch<'_>) -> Result<Survey> {
        check_roots(&options.paths)?;
        let mut survey = Survey {
            n_files: 0,
            n_others: 0,
            classes: BTreeSet::new(),
            too_many_classes: false,
            outside_layout: None,
            unclassed: None,
        };
        let mut problems = Vec::new();
        for found in find(&options.paths) {
            watch.check_stop()?;
            match found {
                Found::Image(file) => survey.see(file),
                Found::Other => survey.n_others += 1,
                // One is enough to explain why nothing was found; the second walk lists them all.
                Found::Problem(Problem { path, reason }) if problems.is_empty() => {
                    problems.push((path.display().to_string(), reason));
                }
                Found::Problem(_) => {}
            }
        }
        if survey.n_files == 0 {
            return Err(nothing_found(options, &problems));
        }
        Ok(survey)
    }

    fn see(&mut self, file: ImageFile) {
        self.n_files += 1;
        if file.depth != CLASS_FILE_DEPTH && self.outside_layout.is_none() {
            self.outside_layout = Some(file.path.clone());
        }
        match file.class {
            None if self.unclassed.is_none() => self.unclassed = Some(file.path),
            None => {}
            Some(class) if self.classes.contains(&class) => {}
            Some(_) if self.classes.len() == MAX_CLASSES => self.too_many_classes = true,
            Some(class) => {
                self.classes.insert(class);
            }
        }
    }

    fn labels(self, options: &Options, notes: &mut Vec<String>) -> Result<Labels> {
        if self.n_others > 0 {
            notes.push(format!(
                "{} files do not end like images and were not looked at",
                self.n_others
            ));
        }
        let reason = match options.label {
            FolderLabel::None => return Ok(Labels::None),
            FolderLabel::Folder => {
                self.check_all_classed()?;
                return Ok(Labels::Classes(self.classes.into_iter().collect()));
            }
            FolderLabel::Detect => self.why_no_classes(),
        };
        match reason {
            None => {
                notes.push(format!(
                    "labels are the names of the {} folders that hold the images; --label none leaves them out",
                    self.classes.len()
                ));
                Ok(Labels::Classes(self.classes.into_iter().collect()))
            }
            Some(reason) => {
                notes.push(format!(
                    "no labels, since {reason}; --label folder takes every image's own folder"
                ));
                Ok(Labels::None)
            }
        }
    }

    fn why_no_classes(&self) -> Option<String> {
        if let Some(path) = &self.outside_layout {
            Some(format!("{} is not at FOLDER/CLASS/file", path.display()))
        } else if self.too_many_classes {
            Some(format!("there are more than {MAX_CLASSES} folders"))
        } else if self.classes.len() < 2 {
            Some("all images are in one folder".to_owned())
        } else {
            None
        }
    }

    fn check_all_classed(&self) -> Result<()> {
        let help = Some("--label none imports without labels".to_owned());
        if let Some(path) = &self.unclassed {
            return Err(Error::File {
                place: path.as_path().into(),
                message:
                    "--label folder: this image is not in a folder below the one that was given"
                        .to_owned(),
                help,
            });
        }
        if self.too_many_classes {
            return Err(Error::Data {
                message: format!(
                    "--label folder: there are more than {MAX_CLASSES} folders with images"
                ),
                help,
            });
        }
        Ok(())
    }
}

/// What was asked for by name must be there, and readable; only what a walk finds can be skipped.
fn check_roots(paths: &[PathBuf]) -> Result<()> {
    if paths.is_empty() {
        return Err(Error::Usage {
            message: "no folder or file of images was given".to_owned(),
        });
    }
    for path in paths {
        let checked = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => path.read_dir().map(drop),
            other => other.map(drop),
        };
        checked.map_err(|source| Error::io(path, "read", source))?;
    }
    Ok(())
}

fn nothing_found(options: &Options, problems: &[(String, String)]) -> Error {
    let paths: Vec<String> = options
        .paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let example = problems.first().map_or(String::new(), |(path, reason)| {
        format!("; {path}: {reason}")
    });
    Error::Data {
        message: format!("no images in {}{example}", paths.join(", ")),
        help: Some(format!(
            "files are found by their ends: {}",
            EXTENSIONS.join(", ")
        )),
    }
}

fn label_of(labels: &Labels, file: &ImageFile) -> Result<Label<'static>> {
    let Labels::Classes(names) = labels else {
        return Ok(Label::None);
    };
    file.class
        .as_ref()
        .and_then(|class| names.binary_search(class).ok())
        .map(|index| Label::Number(index as i64))
        .ok_or_else(|| Error::File {
            place: file.path.as_path().into(),
            message: "this file was not there when the import began".to_owned(),
            help: Some("run the import again when nobody else changes the folder".to_owned()),
        })
}

fn skip(options: &Options, summary: &mut Summary, problem: Problem) -> Result<()> {
    if options.strict {
        return Err(Error::File {
            place: problem.path.as_path().into(),
            message: problem.reason,
            help: Some("without --strict such files are skipped and listed".to_owned()),
        });
    }
    summary.skip(problem.path.display().to_string(), problem.reason);
    Ok(())
}

/// Reads a file into `bytes`, or says why it is not an image that can be imported.
fn read_image(path: &Path, bytes: &mut Vec<u8>) -> Result<Option<String>> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    bytes.clear();
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(Error::Io { source, .. }) if matches!(source.kind(), NotFound | PermissionDenied) => {
            return Ok(Some(format!("cannot be read: {source}")));
        }
        Err(Error::File { message, .. }) => return Ok(Some(message)),
        Err(e) => return Err(e),
    };
    read_up_to_limit(file, bytes).map_err(|source| Error::io(path, "read", source))?;
    Ok(why_not_an_image(bytes))
}

fn read_up_to_limit(file: File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    file.take(MAX_IMAGE_BYTES as u64 + 1).read_to_end(bytes)
}

fn why_not_an_image(bytes: &[u8]) -> Option<String> {
    const SHOWN_BYTES: usize = 8;
    if bytes.is_empty() {
        return Some("the file is empty".to_owned());
    }
    if bytes.len() > MAX_IMAGE_BYTES {
        return Some(format!("larger than {MAX_IMAGE_BYTES} bytes"));
    }
    match image::guess_format(bytes) {
        Ok(format) if FORMATS.contains(&format) => None,
        Ok(format) => Some(format!("{format:?} images are not read")),
        Err(_) => Some(format!(
            "not an image: starts with \"{}\"",
            bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii()
        )),
    }
}

#[cfg(test)]
mod tests;
