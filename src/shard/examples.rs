//! `pictures/patches.parquet` and `pictures/images.parquet`: a bounded number of patches and images, kept to be looked at.
//!
//! A report is drawn from these, never from the inputs. Pixels are raw float32 as they were decoded; `centre` and `scale`
//! make of them the values that words are compared with. Both files are the same bytes for any number of threads.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type};
use serde::{Deserialize, Serialize};

use super::manifest::{ManifestOutput, sized_name};
use super::table::{self, Table, list_column, text_column};
use crate::error::{Error, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::normalize::Scaling;

/// The folder of pictures, and of what they are drawn from, in a run's directory.
pub const PICTURES_DIR: &str = "pictures";

/// The kept patches' name in the directory of a run with one size of patches.
pub const PATCHES_FILE: &str = "pictures/patches.parquet";

/// The name of the kept patches of this size in a run's directory, where there are `n_sizes`.
pub fn patches_file(patch: PatchShape, n_sizes: usize) -> String {
    let name = sized_name("patches", patch, n_sizes);
    format!("{PICTURES_DIR}/{name}.parquet")
}

/// The kept images' name in a run's directory.
pub const IMAGES_FILE: &str = "pictures/images.parquet";

/// The footer's key of both.
const KEY: &str = "bovw.examples";

/// Version of both formats.
const FORMAT: u32 = 1;

/// Patches of the sample.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchExamples {
    /// Shape of every patch.
    pub patch: PatchShape,
    /// Patches of the whole sample.
    pub n_sampled: u64,
    /// Patches of the sample among which the nearest were looked for.
    pub n_searched: u64,
    /// Patches drawn at random, in the order drawn.
    pub random: Vec<PatchExample>,
    /// For the first words, their nearest patches: by word, then by distance.
    pub nearest: Vec<PatchExample>,
}

/// One patch.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchExample {
    /// Its nearest word.
    pub word: u32,
    /// Euclidean distance to that word, of normalised values.
    pub distance: f64,
    /// Row number over all shards of its image.
    pub image: u64,
    /// Centre and scale of its image.
    pub scaling: Scaling,
    /// Its raw pixels, row by row.
    pub pixels: Vec<f32>,
}

/// One image, or the middle of a large one.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageExample {
    /// The input file's name.
    pub file: String,
    /// Its row in the file.
    pub row: u64,
    /// Its label, in words.
    pub label: Option<String>,
    /// Height and width of the whole image.
    pub whole: [u32; 2],
    /// Centre and scale of the whole image.
    pub scaling: Scaling,
    /// Height of what was kept.
    pub height: u32,
    /// Width of what was kept.
    pub width: u32,
    /// Values a pixel.
    pub channels: u32,
    /// Its raw pixels, row by row.
    pub pixels: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct PatchesHeader {
    format: u32,
    patch: [u32; 2],
    #[serde(default = "grey")]
    channels: u32,
    n_sampled: u64,
    n_searched: u64,
}

#[derive(Serialize, Deserialize)]
struct ImagesHeader {
    format: u32,
    #[serde(default = "grey")]
    channels: u32,
}

/// Values a pixel where a file does not say.
fn grey() -> u32 {
    1
}

/// What is random and what is near, in the column `role`.
const ROLES: [&str; 2] = ["random", "nearest"];

/// Writes the kept patches as `name` into a run's directory, whose folder of pictures exists.
pub fn write_patches(dir: &Path, name: &str, examples: &PatchExamples) -> Result<ManifestOutput> {
    let all: Vec<(&str, &PatchExample)> = ROLES
        .into_iter()
        .zip([&examples.random, &examples.nearest])
        .flat_map(|(role, patches)| patches.iter().map(move |patch| (role, patch)))
        .collect();
    let patches = || all.iter().map(|(_, patch)| *patch);
    let pixels: Vec<f32> = patches().flat_map(|p| p.pixels.iter().copied()).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "role",
            text_column(all.iter().map(|(role, _)| Some(*role)).collect()),
        ),
        ("word", ints(patches().map(|p| p.word))),
        ("distance", floats(patches().map(|p| p.distance))),
        ("image", longs(patches().map(|p| p.image))),
        ("centre", floats(patches().map(|p| p.scaling.centre))),
        ("scale", floats(patches().map(|p| p.scaling.scale))),
        ("pixels", list_column(pixels, examples.patch.len())),
    ];
    let header = PatchesHeader {
        format: FORMAT,
        patch: [examples.patch.height, examples.patch.width],
        channels: examples.patch.channels,
        n_sampled: examples.n_sampled,
        n_searched: examples.n_searched,
    };
    Ok(ManifestOutput {
        path: name.to_owned(),
        rows: all.len() as u64,
        file: table::write(&dir.join(name), columns, KEY, &header)?,
    })
}

/// Reads the kept patches `name` of a run's directory.
pub fn read_patches(dir: &Path, name: &str) -> Result<PatchExamples> {
    let path = dir.join(name);
    let table = Table::read(&path, KEY)?;
    let header: PatchesHeader = table.header(KEY)?;
    check_format(&path, header.format)?;
    let patch = PatchShape {
        height: header.patch[0],
        width: header.patch[1],
        channels: header.channels,
    };
    check_channels(&path, header.channels)?;
    let (d, pixels) = table.lists("pixels")?;
    if d != patch.len() || d == 0 {
        return Err(Error::file(
            path.as_path(),
            format!("has patches of {d} pixels, its footer says {patch}"),
        ));
    }
    let roles = table.texts("role")?;
    let words = table.numbers::<Int32Type>("word")?;
    let distances = table.numbers::<Float64Type>("distance")?;
    let images = table.numbers::<Int64Type>("image")?;
    let centres = table.numbers::<Float64Type>("centre")?;
    let scales = table.numbers::<Float64Type>("scale")?;
    let of_role = |role: &str| -> Vec<PatchExample> {
        (0..table.n_rows())
            .filter(|&row| roles[row] == Some(role))
            .map(|row| PatchExample {
                word: words[row].unsigned_abs(),
                distance: distances[row],
                image: images[row].unsigned_abs(),
                scaling: Scaling {
                    centre: centres[row],
                    scale: scales[row],
                },
                pixels: pixels[row * d..(row + 1) * d].to_vec(),
            })
            .collect()
    };
    let [random, nearest] = ROLES.map(of_role);
    Ok(PatchExamples {
        patch,
        n_sampled: header.n_sampled,
        n_searched: header.n_searched,
        random,
        nearest,
    })
}

/// Writes the kept images, all of as many channels, into a run's directory, whose folder of pictures exists.
pub fn write_images(dir: &Path, images: &[ImageExample]) -> Result<ManifestOutput> {
    let lengths = images.iter().map(|image| image.pixels.len());
    let pixels = images.iter().flat_map(|image| image.pixels.iter().copied());
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let pixels = arrow::array::Float32Array::from_iter_values(pixels);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "file",
            text_column(images.iter().map(|i| Some(i.file.as_str())).collect()),
        ),
        ("row", longs(images.iter().map(|i| i.row))),
        (
            "label",
            text_column(images.iter().map(|i| i.label.as_deref()).collect()),
        ),
        ("whole_height", ints(images.iter().map(|i| i.whole[0]))),
        ("whole_width", ints(images.iter().map(|i| i.whole[1]))),
        ("centre", floats(images.iter().map(|i| i.scaling.centre))),
        ("scale", floats(images.iter().map(|i| i.scaling.scale))),
        ("height", ints(images.iter().map(|i| i.height))),
        ("width", ints(images.iter().map(|i| i.width))),
        (
            "pixels",
            Arc::new(ListArray::new(item, offsets, Arc::new(pixels), None)),
        ),
    ];
    let header = ImagesHeader {
        format: FORMAT,
        channels: images.first().map_or_else(grey, |image| image.channels),
    };
    Ok(ManifestOutput {
        path: IMAGES_FILE.to_owned(),
        rows: images.len() as u64,
        file: table::write(&dir.join(IMAGES_FILE), columns, KEY, &header)?,
    })
}

/// Reads the kept images of a run's directory.
pub fn read_images(dir: &Path) -> Result<Vec<ImageExample>> {
    let path = dir.join(IMAGES_FILE);
    let table = Table::read(&path, KEY)?;
    let ImagesHeader { format, channels } = table.header(KEY)?;
    check_format(&path, format)?;
    check_channels(&path, channels)?;
    let (files, labels) = (table.texts("file")?, table.texts("label")?);
    let rows = table.numbers::<Int64Type>("row")?;
    let centres = table.numbers::<Float64Type>("centre")?;
    let scales = table.numbers::<Float64Type>("scale")?;
    let sides = ["whole_height", "whole_width", "height", "width"];
    let [whole_heights, whole_widths, heights, widths] =
        sides.map(|name| table.numbers::<Int32Type>(name));
    let (whole_heights, whole_widths) = (whole_heights?, whole_widths?);
    let (heights, widths) = (heights?, widths?);
    (0..table.n_rows())
        .map(|row| {
            let [height, width] = [heights[row], widths[row]].map(i32::unsigned_abs);
            let pixels = table.list::<Float32Type>("pixels", row)?;
            let n_values = (u64::from(height) * u64::from(width)).checked_mul(channels.into());
            if n_values != Some(pixels.len() as u64) || pixels.is_empty() {
                return Err(Error::file(
                    path.as_path(),
                    format!("row {row} is not the {height}x{width} image it says it is"),
                ));
            }
            Ok(ImageExample {
                file: files[row].unwrap_or_default().to_owned(),
                row: rows[row].unsigned_abs(),
                label: labels[row].map(str::to_owned),
                whole: [whole_heights[row], whole_widths[row]].map(i32::unsigned_abs),
                scaling: Scaling {
                    centre: centres[row],
                    scale: scales[row],
                },
                height,
                width,
                channels,
                pixels,
            })
        })
        .collect()
}

fn check_format(path: &Path, format: u32) -> Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Error::file(
        path,
        format!("is of format {format}, this version knows {FORMAT}"),
    ))
}

fn check_channels(path: &Path, channels: u32) -> Result<()> {
    if matches!(channels, 1 | 3) {
        return Ok(());
    }
    Err(Error::file(
        path,
        format!("has pixels of {channels} values, not of 1 or 3"),
    ))
}

fn ints(values: impl Iterator<Item = u32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(
        values.map(|value| i32::try_from(value).unwrap_or(i32::MAX)),
    ))
}

fn longs(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(
        values.map(|value| i64::try_from(value).unwrap_or(i64::MAX)),
    ))
}

fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALING: Scaling = Scaling {
        centre: 3.25,
        scale: 0.5,
    };

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join(PICTURES_DIR)).expect("made");
        dir
    }

    #[test]
    fn kept_patches_are_read_as_they_were_written() {
        let patch = |word, pixel| PatchExample {
            word,
            distance: 0.1,
            image: 1 << 40,
            scaling: SCALING,
            pixels: vec![pixel, 1.5],
        };
        let examples = PatchExamples {
            patch: PatchShape {
                height: 1,
                width: 2,
                channels: 1,
            },
            n_sampled: 9,
            n_searched: 8,
            random: vec![patch(3, 0.0), patch(1, 2.0)],
            nearest: vec![patch(0, 255.0)],
        };
        let dir = folder();
        write_patches(dir.path(), PATCHES_FILE, &examples).expect("written");
        assert_eq!(
            read_patches(dir.path(), PATCHES_FILE).expect("read"),
            examples
        );
    }

    #[test]
    fn kept_images_of_different_sizes_are_read_as_they_were_written() {
        let image = |height: u32, width: u32, label: Option<&str>| ImageExample {
            file: "a.parquet".to_owned(),
            row: 7,
            label: label.map(str::to_owned),
            whole: [100, 200],
            scaling: SCALING,
            height,
            width,
            channels: 3,
            pixels: (0..height * width * 3).map(|i| i as f32).collect(),
        };
        let images = [image(2, 3, Some("<b>")), image(1, 1, None)];
        let dir = folder();
        write_images(dir.path(), &images).expect("written");
        assert_eq!(read_images(dir.path()).expect("read"), images);
        write_images(dir.path(), &[]).expect("written");
        assert_eq!(read_images(dir.path()).expect("read"), []);
    }
}
