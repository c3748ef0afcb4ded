//! Colour and size of images, from the encodings that people have to the vectors that come out.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeListArray, UInt8Array};
use arrow::datatypes::Field;
use bovw::job::Color;
use bovw::kernel::image::{Image, Pixels};
use bovw::shard::columns::BinaryRows;
use bovw::shard::images::ImageRows;
use bovw::shard::pixels::Reading;
use bovw::shard::vocabulary;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage};
use insta::assert_snapshot;
use serde_json::json;

use common::{Ended, Scene, Shard, binary, encoded, image_structs, picture, pictures};

const RGB: &str = "input.color = 'rgb'";

// ---- Encodings

/// An image as a job with this colour sees it.
fn read(bytes: &[u8], color: Color) -> Result<Image, String> {
    let column = BinaryArray::from_vec(vec![bytes]);
    let reading = Reading {
        color,
        ..Reading::default()
    };
    let rows = ImageRows::encoded(BinaryRows::Small(&column), reading);
    let promised = rows.size(0);
    let image = rows.get(0)?;
    assert!(image.pixels.as_ref().size_bytes() as u64 <= promised.image_bytes);
    assert!(promised.image_bytes <= promised.decode_bytes);
    Ok(image)
}

/// The values in the middle of each quarter.
fn quarters(image: &Image) -> Vec<f64> {
    let pixels = image.pixels.as_ref();
    let channels = image.channels as usize;
    let middle = |row: u32, col: u32| {
        let at = (row * image.height / 4) as usize * image.row_len();
        let at = at + (col * image.width / 4) as usize * channels;
        (at..at + channels).map(|at| pixels.get(at))
    };
    let places = [(1, 1), (1, 3), (3, 1), (3, 3)];
    places
        .into_iter()
        .flat_map(|(row, col)| middle(row, col))
        .collect()
}

const RED: [u8; 3] = [200, 40, 30];
const GREEN: [u8; 3] = [20, 180, 60];
const BLUE: [u8; 3] = [30, 60, 220];
const YELLOW: [u8; 3] = [240, 230, 20];
const WHITE: [u8; 3] = [255; 3];

/// Lossy encodings change this much.
const LOSS: f64 = 4.0;

#[test]
fn every_encoding_has_the_colours_that_a_person_sees() {
    let grey = |values: [u8; 4]| values.map(|value| [value; 3]);
    let opaque = [RED, GREEN, BLUE, YELLOW];
    let clear = [RED, GREEN, BLUE, WHITE];
    let dark = opaque.map(|color| color.map(|value| value / 2));
    let turned = (2..=8).map(|i| (format!("turned-{i}.jpg"), opaque, LOSS));
    let others = [
        ("rgb.png", opaque, 0.0),
        ("rgba.png", clear, 0.0),
        ("rgb-key.png", clear, 0.0),
        ("palette.png", opaque, 0.0),
        ("palette-clear.png", clear, 0.0),
        ("palette-alpha.png", clear, 0.0),
        ("grey.png", grey([30, 90, 150, 210]), 0.0),
        ("grey-key.png", grey([30, 90, 150, 255]), 0.0),
        ("grey-alpha.png", grey([30, 90, 150, 255]), 0.0),
        ("palette.gif", opaque, 0.0),
        ("clear.gif", clear, 0.0),
        ("rgb.bmp", opaque, 0.0),
        ("palette.bmp", opaque, 0.0),
        ("rgb.tif", opaque, 0.0),
        ("rgba.tif", clear, 0.0),
        ("cmyk.tif", opaque, 1.0),
        ("rgb.webp", opaque, 0.0),
        ("rgba.webp", clear, 0.0),
        ("rgb.ppm", opaque, 0.0),
        ("ycbcr.jpg", opaque, LOSS),
        ("progressive.jpg", opaque, LOSS),
        ("adobe-rgb.jpg", opaque, LOSS),
        ("cmyk.jpg", opaque, LOSS),
        ("cmyk-dark.jpg", dark, LOSS),
        ("ycck.jpg", opaque, LOSS),
        ("grey.jpg", grey([30, 90, 150, 210]), LOSS),
    ];
    let all = others.map(|(name, colors, loss)| (name.to_owned(), colors, loss));
    let mut seen = Vec::new();
    for (name, colors, loss) in all.into_iter().chain(turned) {
        let bytes = fs::read(Path::new("tests/images").join(&name)).unwrap();
        let image = read(&bytes, Color::Rgb).unwrap();
        assert_eq!(
            (image.height, image.width, image.channels),
            (12, 16, 3),
            "{name}"
        );
        let found = quarters(&image);
        for (found, expected) in found.iter().zip(colors.as_flattened()) {
            let difference = (found - f64::from(*expected)).abs();
            assert!(difference <= loss, "{name}: {found}, not {expected}");
        }
        let grey = read(&bytes, Color::Grey).unwrap();
        assert_eq!(
            (grey.height, grey.width, grey.channels),
            (12, 16, 1),
            "{name}"
        );
        for (found, rgb) in quarters(&grey).iter().zip(found.chunks(3)) {
            let luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
            assert!((found - luma).abs() <= 1.0, "{name}: {found}, not {luma}");
        }
        let stored_grey = name.starts_with("grey");
        let auto = read(&bytes, Color::Auto).unwrap();
        assert_eq!(auto.channels, if stored_grey { 1 } else { 3 }, "{name}");
        assert_eq!(read(&bytes, Color::GreyOnly).is_ok(), stored_grey, "{name}");
        seen.push(name);
    }
    let files = fs::read_dir("tests/images").unwrap();
    let mut files: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    seen.sort();
    assert_eq!(seen, files);
}

#[test]
fn sixteen_bits_of_colour_are_divided_by_257() {
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        for (step, kind) in [(257u16, "bytes"), (100, "floats")] {
            let deep: ImageBuffer<Rgb<u16>, Vec<u16>> =
                ImageBuffer::from_fn(5, 4, |x, y| Rgb([x as u16, y as u16, 7].map(|v| v * step)));
            let expected: Vec<f32> = deep
                .as_raw()
                .iter()
                .map(|&v| f32::from(v) / 257.0)
                .collect();
            let bytes = encoded(DynamicImage::ImageRgb16(deep), format);
            let found = match read(&bytes, Color::Rgb).unwrap().pixels {
                Pixels::U8(found) if kind == "bytes" => found.into_iter().map(f32::from).collect(),
                Pixels::F32(found) if kind == "floats" => found,
                other => panic!("{kind}: {other:?}"),
            };
            assert_eq!(found, expected, "{format:?}");
        }
    }
}

// ---- Runs

/// Twelve pictures with another pattern in each channel.
fn colors(height: u32, width: u32) -> Vec<RgbImage> {
    (0..12)
        .map(|seed| {
            let channels = [0, 20, 40].map(|offset| picture(seed + offset, height, width));
            RgbImage::from_fn(width, height, |x, y| {
                Rgb(std::array::from_fn(|c| channels[c].get_pixel(x, y).0[0]))
            })
        })
        .collect()
}

fn png_column(images: impl IntoIterator<Item = DynamicImage>) -> ArrayRef {
    let png = |image| Some(encoded(image, ImageFormat::Png));
    image_structs(images.into_iter().map(png).collect())
}

fn shard_of(images: &[RgbImage]) -> Shard {
    Shard::new().column("image", png_column(images.iter().cloned().map(Into::into)))
}

fn vectors(shard: &Shard, sets: &[&str]) -> Vec<Vec<f32>> {
    let scene = Scene::with(shard);
    scene.run(sets).ok();
    scene.features("a").vectors()
}

/// Lists of so many bytes each.
fn lists(values: Vec<u8>, length: usize) -> ArrayRef {
    let values: ArrayRef = Arc::new(UInt8Array::from(values));
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(item, length as i32, values, None))
}

fn tensors(values: Vec<u8>, shape: [usize; 3]) -> Shard {
    let column = lists(values, shape.iter().product());
    let metadata = [
        (
            "ARROW:extension:name",
            "arrow.fixed_shape_tensor".to_owned(),
        ),
        (
            "ARROW:extension:metadata",
            json!({"shape": shape}).to_string(),
        ),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    let field = Field::new("pixels", column.data_type().clone(), true);
    Shard::new().field(
        field.with_metadata(std::collections::HashMap::from(metadata)),
        column,
    )
}

#[test]
fn raw_colour_in_any_layout_gives_the_vectors_of_the_same_pngs() {
    let images = colors(8, 10);
    let expected = vectors(&shard_of(&images), &[RGB]);
    let rows = || images.iter().map(|image| image.as_raw().clone());
    let interleaved: Vec<u8> = rows().flatten().collect();
    let mut planar = Vec::new();
    for image in &images {
        for channel in 0..3 {
            planar.extend(image.pixels().map(|pixel| pixel.0[channel]));
        }
    }
    let mut columns = Shard::new();
    for at in 0..8 * 10 * 3 {
        let column: ArrayRef = Arc::new(UInt8Array::from_iter_values(rows().map(|row| row[at])));
        columns = columns.column(&format!("pixel{at}"), column);
    }
    let raw = binary(rows().map(Some).collect());
    let shape = "input.shape = [8, 10, 3]";
    assert_eq!(
        vectors(&Shard::new().column("image", raw), &[RGB, shape]),
        expected
    );
    let list = Shard::new().column("image", lists(interleaved.clone(), 240));
    assert_eq!(vectors(&list, &[RGB, shape]), expected);
    assert_eq!(vectors(&columns, &[RGB, shape]), expected);
    assert_eq!(vectors(&tensors(interleaved, [8, 10, 3]), &[RGB]), expected);
    assert_eq!(vectors(&tensors(planar, [3, 8, 10]), &[RGB]), expected);
}

#[test]
fn colour_tells_apart_what_is_one_grey() {
    let images: Vec<RgbImage> = colors(8, 8);
    let grey = vectors(&shard_of(&images), &[]);
    assert_ne!(vectors(&shard_of(&images), &[RGB]), grey);
    // Three times the same value is three times the distance of every patch to every word, which changes no nearest one.
    let scene = Scene::with(&Shard::hugging_face(&pictures(12, 8, 8)));
    scene.run(&[RGB]).ok();
    let (words, header) = vocabulary::read(&scene.path("out/vocabulary.parquet")).unwrap();
    assert_eq!((header.color.as_str(), words.d()), ("rgb", 27));
    let mut pixels = words.centroids.chunks(3);
    assert!(pixels.all(|pixel| (pixel[0] - pixel[1]).abs() < 1e-6));
}

#[test]
fn auto_goes_by_the_first_good_image() {
    let color = colors(8, 8);
    let as_color = vectors(&shard_of(&color), &[RGB]);
    let scene = Scene::with(&shard_of(&color));
    scene.run(&["input.color = 'auto'"]).ok();
    assert_eq!(scene.features("a").vectors(), as_color);
    assert_eq!(scene.manifest()["job"]["input"]["color"], "rgb");
    // Decided is decided: the same run, whichever way it was said.
    scene.run(&[RGB]).ok();

    let grey = Shard::hugging_face(&pictures(12, 8, 8));
    let scene = Scene::with(&grey);
    scene.run(&["input.color = 'auto'"]).ok();
    assert_eq!(scene.features("a").vectors(), vectors(&grey, &[]));
    assert_eq!(scene.manifest()["job"]["input"]["color"], "grey-only");
}

/// Grey pictures, of which the last is in colour.
fn mixed() -> Shard {
    let grey = pictures(11, 8, 8).into_iter().map(DynamicImage::from);
    let color = DynamicImage::from(colors(8, 8).remove(0));
    Shard::new().column("image", png_column(grey.chain([color])))
}

#[test]
fn grey_images_are_taken_among_colour_and_colour_among_grey_is_bad() {
    let scene = Scene::with(&mixed());
    let sets = ["input.color = 'auto'", "input.on_bad_image = 'zero'"];
    scene.run(&sets).ok();
    let status = scene.features("a").strings("status");
    assert_eq!(status.iter().flatten().count(), 1);
    let reason = status[11].clone().unwrap();
    assert_snapshot!(reason, @r#"the image is in colour, and the job's are grey, as its first one is; set input.color = "grey" or "rgb""#);
    // What a run left says enough for its images to be held against it.
    scene
        .bovw(&["verify", scene.path("out").to_str().unwrap()])
        .ok();

    let mut images: Vec<DynamicImage> = colors(8, 8).into_iter().map(Into::into).collect();
    images[5] = pictures(1, 8, 8).remove(0).into();
    let expanded = images.iter().map(|image| image.to_rgb8().into());
    let expanded = Shard::new().column("image", png_column(expanded));
    let stored = Shard::new().column("image", png_column(images));
    assert_eq!(
        vectors(&stored, &["input.color = 'auto'"]),
        vectors(&expanded, &[RGB])
    );
}

#[test]
fn a_colour_run_is_the_same_bytes_for_any_threads_memory_and_io() {
    let sets = [
        RGB,
        "input.resize = 20",
        "cluster = [{of = 'pixels', k = 3, n_init = 2}]",
    ];
    let results = |more: &[&str]| {
        let scene = Scene::with(&shard_of(&colors(24, 30)).row_groups_of(5));
        scene.run(&[&sets, more].concat()).ok();
        let mut files = scene.files("out");
        let times = ["timeline", "throughput", "channels"];
        files.retain(|name, _| {
            let is_kept = name.ends_with(".parquet") || name.starts_with("pictures");
            is_kept && !times.iter().any(|part| name.contains(part))
        });
        files
    };
    let one = results(&["run.threads = 1"]);
    assert!(results(&["run.threads = 4", "run.io = 'read'"]) == one);
    assert!(
        results(&[
            "run.threads = 3",
            "run.memory = '57MiB'",
            "run.simd = 'portable'"
        ]) == one
    );
}

// ---- Size

#[test]
fn a_larger_image_is_made_smaller_and_a_smaller_one_is_not() {
    let mut images = colors(30, 40);
    images.extend(colors(16, 12));
    let fitted: Vec<RgbImage> = images
        .iter()
        .map(|image| match image.height() {
            30 => imageops::resize(image, 20, 15, FilterType::Triangle),
            _ => image.clone(),
        })
        .collect();
    for color in [RGB, "input.color = 'grey'"] {
        let found = vectors(&shard_of(&images), &[color, "input.resize = 20"]);
        if color == RGB {
            assert_eq!(found, vectors(&shard_of(&fitted), &[color]));
        }
        let sums: Vec<f32> = found.iter().map(|vector| vector.iter().sum()).collect();
        assert_eq!(sums[..12], [18.0 * 13.0; 12]);
        assert_eq!(sums[12..], [10.0 * 14.0; 12]);
    }
}

#[test]
fn images_of_many_sizes_in_one_proportion_can_be_clustered_once_they_are_fitted() {
    let images: Vec<RgbImage> = (1..=12)
        .flat_map(|n| colors(8 * n, 12 * n).into_iter().take(1))
        .collect();
    let scene = Scene::with(&shard_of(&images));
    let cluster = "cluster = [{of = 'pixels', k = 2}]";
    scene.run(&[RGB, cluster]).exited(1);
    scene
        .run(&[RGB, cluster, "input.resize = 12", "patches.size = [3, 3]"])
        .ok();
    let entry = &scene.manifest()["clusters"][0];
    assert_eq!((&entry["height"], &entry["width"]), (&json!(8), &json!(12)));
    assert_eq!(entry["dimensions"], 8 * 12 * 3);
    assert_eq!(scene.manifest()["job"]["input"]["resize"], 12);
}

// ---- What is left and shown

fn verify(scene: &Scene) -> Ended {
    scene.bovw(&["verify", scene.path("out").to_str().unwrap()])
}

#[test]
fn a_colour_run_verifies_and_its_report_is_in_colour() {
    let scene = Scene::with(&shard_of(&colors(10, 12)));
    scene
        .run(&[RGB, "cluster = [{of = 'pixels', k = 3, n_init = 2}]"])
        .ok();
    verify(&scene).ok();
    for name in [
        "words",
        "patches",
        "nearest",
        "images",
        "pixels-k3.centroids",
    ] {
        let picture = scene.path(&format!("out/pictures/{name}.png"));
        let picture = image::open(&picture).unwrap();
        assert_eq!(picture.color(), image::ColorType::Rgb8, "{name}");
        let pixels = picture.to_rgb8();
        assert!(
            pixels.pixels().any(|p| p.0[0].abs_diff(p.0[2]) > 60),
            "{name}"
        );
    }
    let report = fs::read_to_string(scene.path("out/report.html")).unwrap();
    assert!(report.contains("in colour") && report.contains("RGB pixels"));
    let centroids = common::Table::read(&scene.path("out/clusters/pixels-k3.centroids.parquet"));
    assert_eq!(
        centroids
            .column("centroid")
            .as_fixed_size_list()
            .value_length(),
        360
    );
    // A finished run is drawn again from what it left.
    scene
        .bovw(&["report", scene.path("out").to_str().unwrap()])
        .ok();
}

#[test]
fn grey_runs_have_grey_pictures() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(12, 8, 8)));
    scene.run(&[]).ok();
    let words = image::open(scene.path("out/pictures/words.png")).unwrap();
    assert_eq!(words.color(), image::ColorType::L8);
}

#[test]
fn plan_and_inspect_tell_colour_and_size() {
    let scene = Scene::with(&shard_of(&colors(10, 12)));
    let job = scene.path("job.toml");
    let plan = |sets: &[&str]| {
        let mut args = vec!["plan", job.to_str().unwrap()];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        scene.bovw(&args).ok().stdout
    };
    let said = plan(&["input.color=auto", "input.resize=8"]);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| {
            ["colour", "resize", "first image", "color"]
                .iter()
                .any(|word| line.contains(word))
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    colour       red, green and blue; what is transparent is seen on white
    resize       images of more than 8 pixels a side are made smaller
    first image  7x8 pixels
    color = "rgb"
    resize = 8
    "#);
    scene.run(&[RGB]).ok();
    let inspect = |path: PathBuf| scene.bovw(&["inspect", path.to_str().unwrap()]).ok().stdout;
    let lines = [
        inspect(scene.path("data/a.parquet")),
        inspect(scene.path("out/vocabulary.parquet")),
    ];
    let lines: Vec<String> = lines
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.contains("colour") || line.contains("patches"))
        .map(|line| line.trim().to_owned())
        .collect();
    assert_snapshot!(lines.join("\n"), @"
    first 12 rows: 10x12 pixels, in colour
    words       8 of 3x3 rgb patches
    learned     from 720 patches, inertia 23.4373 a patch
    ");
}
