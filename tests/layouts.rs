//! The same images in every layout give the same features, and everything beside the images comes out as it went in.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, DictionaryArray, FixedSizeListArray,
    Float32Array, Float64Array, Int8Array, Int64Array, LargeBinaryArray, LargeListArray, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray, UInt8Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Int32Type};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, LumaA, Rgb, Rgba};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use serde_json::json;

use common::{
    Scene, Shard, Table, binary, encoded, image_structs, picture, pictures, pngs, structs_of,
};

/// What is compared: all vectors, and how many patches each counts.
#[derive(Debug, Clone, PartialEq)]
struct Features {
    vectors: Vec<Vec<f32>>,
    n_patches: Vec<i32>,
}

impl Features {
    fn of(table: &Table) -> Features {
        let features = Features {
            vectors: table.vectors(),
            n_patches: table.n_patches(),
        };
        for (vector, &n) in features.vectors.iter().zip(&features.n_patches) {
            assert_eq!(vector.iter().sum::<f32>().round() as i32, n);
        }
        features
    }
}

#[track_caller]
fn features(shard: &Shard, sets: &[&str]) -> Features {
    let scene = Scene::with(shard);
    scene.run(sets).ok();
    Features::of(&scene.features("a"))
}

/// Twelve square pictures.
fn squares() -> Vec<GrayImage> {
    pictures(12, 8, 8)
}

/// Twelve pictures that are wider than high.
fn wide() -> Vec<GrayImage> {
    pictures(12, 6, 10)
}

static SQUARES: LazyLock<Features> =
    LazyLock::new(|| features(&Shard::hugging_face(&squares()), &[]));
static WIDE: LazyLock<Features> = LazyLock::new(|| features(&Shard::hugging_face(&wide()), &[]));

#[track_caller]
fn assert_squares(shard: &Shard) {
    assert_eq!(features(shard, &[]), *SQUARES);
}

#[track_caller]
fn assert_wide(shard: &Shard) {
    assert_eq!(features(shard, &[]), *WIDE);
}

fn image_column(column: ArrayRef) -> Shard {
    Shard::new().column("image", column)
}

fn values(pictures: &[GrayImage]) -> Vec<u8> {
    pictures
        .iter()
        .flat_map(|p| p.as_raw().iter().copied())
        .collect()
}

/// Lists of as many values each.
fn list_offsets<O: arrow::array::OffsetSizeTrait>(n: usize, length: usize) -> OffsetBuffer<O> {
    OffsetBuffer::from_lengths(std::iter::repeat_n(length, n))
}

fn list(values: ArrayRef, length: usize) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = list_offsets(values.len() / length, length);
    Arc::new(ListArray::new(item, offsets, values, None))
}

fn fixed_size_list(values: ArrayRef, length: usize) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(item, length as i32, values, None))
}

fn bytes(pictures: &[GrayImage]) -> ArrayRef {
    Arc::new(UInt8Array::from(values(pictures)))
}

fn tensor(values: ArrayRef, metadata: &serde_json::Value) -> Shard {
    let shape = metadata["shape"].as_array().unwrap();
    let length = shape.iter().map(|n| n.as_u64().unwrap() as usize).product();
    let column = fixed_size_list(values, length);
    let metadata = [
        (
            "ARROW:extension:name",
            "arrow.fixed_shape_tensor".to_owned(),
        ),
        ("ARROW:extension:metadata", metadata.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    let field = Field::new("pixels", column.data_type().clone(), true);
    Shard::new().field(field.with_metadata(HashMap::from(metadata)), column)
}

// ---- Encoded images

#[test]
fn hugging_face_structs_may_hold_any_binary_type() {
    let pngs: Vec<Vec<u8>> = pngs(&squares()).into_iter().flatten().collect();
    let of: [ArrayRef; 3] = [
        Arc::new(BinaryArray::from_iter_values(&pngs)),
        Arc::new(LargeBinaryArray::from_iter_values(&pngs)),
        Arc::new(BinaryViewArray::from_iter_values(&pngs)),
    ];
    for bytes in of {
        let shard = image_column(structs_of(bytes, None));
        assert_squares(&shard);
    }
}

#[test]
fn binary_columns_may_hold_any_binary_type() {
    let pngs: Vec<Vec<u8>> = pngs(&squares()).into_iter().flatten().collect();
    assert_squares(&image_column(Arc::new(LargeBinaryArray::from_iter_values(
        &pngs,
    ))));
    assert_squares(&image_column(Arc::new(BinaryViewArray::from_iter_values(
        &pngs,
    ))));
}

#[test]
fn pages_may_be_compressed_by_any_codec() {
    for compression in [
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        let shard = Shard::hugging_face(&squares()).compression(compression);
        assert_squares(&shard);
    }
}

#[test]
fn row_groups_may_be_of_any_size() {
    for rows in [1, 5, 11] {
        assert_squares(&Shard::hugging_face(&squares()).row_groups_of(rows));
    }
}

#[test]
fn files_may_be_read_or_mapped() {
    let shard = Shard::hugging_face(&squares());
    for io in ["run.io = 'mmap'", "run.io = 'read'"] {
        assert_eq!(features(&shard, &[io]), *SQUARES, "{io}");
    }
}

#[test]
fn binary_columns_may_hold_images_of_any_lossless_format() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
        ImageFormat::WebP,
    ] {
        let column = wide()
            .into_iter()
            .map(|picture| Some(encoded(picture, format)))
            .collect();
        let shard = image_column(binary(column));
        assert_eq!(features(&shard, &[]), *WIDE, "{format:?}");
    }
}

#[test]
fn one_column_may_mix_formats() {
    let formats = [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::WebP];
    let column = wide().into_iter().zip(formats.into_iter().cycle());
    let column = column.map(|(p, format)| Some(encoded(p, format))).collect();
    assert_wide(&image_column(binary(column)));
}

#[test]
fn jpegs_are_what_the_image_crate_decodes() {
    let jpegs: Vec<Vec<u8>> = wide()
        .into_iter()
        .map(|picture| encoded(picture, ImageFormat::Jpeg))
        .collect();
    let decoded: Vec<GrayImage> = jpegs
        .iter()
        .map(|jpeg| image::load_from_memory(jpeg).unwrap().into_luma8())
        .collect();
    assert_ne!(decoded, wide());
    let jpegs = image_column(binary(jpegs.into_iter().map(Some).collect()));
    assert_eq!(
        features(&jpegs, &[]),
        features(&Shard::hugging_face(&decoded), &[])
    );
}

// ---- Raw pixels

#[test]
fn raw_fixed_size_binary_is_square_or_has_the_shape_of_the_job() {
    assert_squares(&Shard::raw(&squares()));
    let shape = ["input.shape = [6, 10]"];
    assert_eq!(features(&Shard::raw(&wide()), &shape), *WIDE);
}

#[test]
fn raw_binary_is_square_or_has_the_shape_of_the_job() {
    let column = |pictures: Vec<GrayImage>| {
        let rows = pictures.into_iter().map(|p| Some(p.into_raw()));
        image_column(binary(rows.collect()))
    };
    assert_squares(&column(squares()));
    let shape = ["input.shape = [6, 10]"];
    assert_eq!(features(&column(wide()), &shape), *WIDE);
}

#[test]
fn lists_of_bytes_may_be_of_any_list_type() {
    let item = Arc::new(Field::new_list_field(DataType::UInt8, true));
    let offsets = list_offsets::<i64>(12, 64);
    let large = LargeListArray::new(item, offsets, bytes(&squares()), None);
    for column in [
        fixed_size_list(bytes(&squares()), 64),
        list(bytes(&squares()), 64),
        Arc::new(large),
    ] {
        assert_squares(&image_column(column));
    }
    for column in [
        fixed_size_list(bytes(&wide()), 60),
        list(bytes(&wide()), 60),
    ] {
        let shape = ["input.shape = [6, 10]"];
        assert_eq!(features(&image_column(column), &shape), *WIDE);
    }
}

#[test]
fn lists_may_hold_whole_numbers_of_any_type() {
    let all = values(&squares());
    let columns: [ArrayRef; 3] = [
        Arc::new(all.iter().map(|&v| i64::from(v)).collect::<Int64Array>()),
        Arc::new(Float32Array::from_iter_values(
            all.iter().map(|&v| f32::from(v)),
        )),
        Arc::new(Float64Array::from_iter_values(
            all.iter().map(|&v| f64::from(v)),
        )),
    ];
    for column in columns {
        assert_squares(&image_column(list(column, 64)));
    }
}

#[test]
fn raw_colour_has_the_shape_of_the_job() {
    let shard = image_column(fixed_size_list(interleaved(), 6 * 10 * 3));
    let shape = ["input.shape = [6, 10, 3]"];
    assert_eq!(features(&shard, &shape), features_of(&luma()));
}

#[test]
fn tensors_know_their_shape() {
    assert_wide(&tensor(bytes(&wide()), &json!({"shape": [6, 10]})));
    assert_wide(&tensor(bytes(&wide()), &json!({"shape": [6, 10, 1]})));
    assert_wide(&tensor(bytes(&wide()), &json!({"shape": [1, 6, 10]})));
}

#[test]
fn tensors_may_have_channels_first_or_last() {
    let expected = features_of(&luma());
    let last = tensor(interleaved(), &json!({"shape": [6, 10, 3]}));
    let named = json!({"shape": [3, 6, 10], "dim_names": ["C", "H", "W"]});
    assert_eq!(features(&last, &[]), expected);
    assert_eq!(features(&tensor(planar(), &named), &[]), expected);
    let unnamed = tensor(planar(), &json!({"shape": [3, 6, 10]}));
    assert_eq!(features(&unnamed, &[]), expected);
}

#[test]
fn pixels_may_be_columns_of_numbers() {
    let pixel = |i: usize| squares().into_iter().map(move |p| p.as_raw()[i]);
    let mut whole = Shard::new();
    let mut real = Shard::new();
    for i in 0..64 {
        let column: Int64Array = pixel(i).map(i64::from).collect();
        whole = whole.column(&format!("pixel{i}"), Arc::new(column));
        let column = Float64Array::from_iter_values(pixel(i).map(f64::from));
        real = real.column(&format!("{}x{}", i / 8 + 1, i % 8 + 1), Arc::new(column));
    }
    assert_squares(&whole);
    assert_squares(&real);
}

// ---- Colour, depth, orientation, size

/// Twelve pictures with another pattern in each channel.
fn colours() -> Vec<ImageBuffer<Rgb<u8>, Vec<u8>>> {
    (0..12)
        .map(|seed| {
            let channels = [0, 20, 40].map(|offset| picture(seed + offset, 6, 10));
            ImageBuffer::from_fn(10, 6, |x, y| {
                Rgb(std::array::from_fn(|c| channels[c].get_pixel(x, y).0[0]))
            })
        })
        .collect()
}

/// Pillow's `convert("L")`.
fn pillow_luma([r, g, b]: [u8; 3]) -> u8 {
    let [r, g, b] = [r, g, b].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// What [`colours`] are in grey.
fn luma() -> Vec<GrayImage> {
    let grey = |picture: &ImageBuffer<Rgb<u8>, Vec<u8>>| {
        let pixels = picture.pixels().map(|pixel| pillow_luma(pixel.0));
        GrayImage::from_raw(10, 6, pixels.collect()).unwrap()
    };
    colours().iter().map(grey).collect()
}

fn features_of(pictures: &[GrayImage]) -> Features {
    features(&Shard::hugging_face(pictures), &[])
}

/// [`colours`], the channels of a pixel side by side.
fn interleaved() -> ArrayRef {
    let values = colours().into_iter().flat_map(ImageBuffer::into_raw);
    Arc::new(values.collect::<UInt8Array>())
}

/// [`colours`], channel by channel.
fn planar() -> ArrayRef {
    let mut values = Vec::new();
    for picture in colours() {
        for channel in 0..3 {
            values.extend(picture.pixels().map(|pixel| pixel.0[channel]));
        }
    }
    Arc::new(UInt8Array::from(values))
}

fn png_column<T: Into<DynamicImage>>(images: impl IntoIterator<Item = T>) -> Shard {
    let png = |image: T| Some(encoded(image, ImageFormat::Png));
    image_column(image_structs(images.into_iter().map(png).collect()))
}

#[test]
fn colour_becomes_pillows_luma() {
    assert_eq!(features(&png_column(colours()), &[]), features_of(&luma()));
}

#[test]
fn what_is_transparent_is_seen_on_white() {
    // Opaque in all but a few pixels, in which nothing is seen.
    let is_clear = |x: u32, y: u32| (x + y).is_multiple_of(5);
    let alpha = |x, y| if is_clear(x, y) { 0 } else { 255 };
    let on_white = |picture: GrayImage| {
        GrayImage::from_fn(10, 6, |x, y| match is_clear(x, y) {
            true => image::Luma([255]),
            false => *picture.get_pixel(x, y),
        })
    };
    let rgba = colours().into_iter().map(|picture| {
        ImageBuffer::from_fn(10, 6, |x, y| {
            let [r, g, b] = picture.get_pixel(x, y).0;
            Rgba([r, g, b, alpha(x, y)])
        })
    });
    let expected: Vec<GrayImage> = luma().into_iter().map(on_white).collect();
    assert_eq!(features(&png_column(rgba), &[]), features_of(&expected));
    let grey_alpha = wide().into_iter().map(|picture| {
        ImageBuffer::from_fn(10, 6, |x, y| {
            LumaA([picture.get_pixel(x, y).0[0], alpha(x, y)])
        })
    });
    let expected: Vec<GrayImage> = wide().into_iter().map(on_white).collect();
    assert_eq!(
        features(&png_column(grey_alpha), &[]),
        features_of(&expected)
    );
}

#[test]
fn opaque_pictures_are_what_they_are_without_alpha() {
    let rgba = colours()
        .into_iter()
        .map(|picture| DynamicImage::ImageRgb8(picture).into_rgba8());
    assert_eq!(features(&png_column(rgba), &[]), features_of(&luma()));
}

#[test]
fn sixteen_bits_of_grey_are_divided_by_257() {
    // Values that eight bits have, and values between them.
    let wide_255 = wide()
        .into_iter()
        .map(|picture| picture.into_raw().into_iter().map(|v| u16::from(v) * 257));
    let images = wide_255.map(|v| DynamicImage::ImageLuma16(grey16(v.collect())));
    assert_wide(&png_column(images));

    let between: Vec<Vec<u16>> = wide()
        .into_iter()
        .map(|p| {
            let values = p
                .into_raw()
                .into_iter()
                .map(|v| u16::from(v) * 257 / 2 + 11);
            values.collect()
        })
        .collect();
    let numbers = between.iter().flatten().map(|&v| f32::from(v) / 257.0);
    let numbers = fixed_size_list(Arc::new(Float32Array::from_iter_values(numbers)), 60);
    let images = between
        .into_iter()
        .map(|v| DynamicImage::ImageLuma16(grey16(v)));
    assert_eq!(
        features(&png_column(images), &[]),
        features(&image_column(numbers), &["input.shape = [6, 10]"])
    );
}

fn grey16(values: Vec<u16>) -> ImageBuffer<image::Luma<u16>, Vec<u16>> {
    ImageBuffer::from_raw(10, 6, values).unwrap()
}

#[test]
fn exif_orientation_is_applied() {
    /// Exif that says: turn the stored picture by 90 degrees, clockwise.
    const EXIF: &[u8] =
        b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let jpegs: Vec<Vec<u8>> = wide()
        .into_iter()
        .map(|picture| encoded(picture, ImageFormat::Jpeg))
        .collect();
    let turned: Vec<GrayImage> = jpegs
        .iter()
        .map(|jpeg| image::load_from_memory(jpeg).unwrap().rotate90())
        .map(DynamicImage::into_luma8)
        .collect();
    let marked = jpegs
        .iter()
        .map(|jpeg| Some([&jpeg[..2], EXIF, &jpeg[2..]].concat()));
    let shard = image_column(binary(marked.collect()));
    assert_eq!(features(&shard, &[]), features_of(&turned));
}

#[test]
fn images_of_different_sizes_work_in_one_job() {
    let sizes = [(8, 8), (3, 3), (5, 30), (30, 5), (3, 64), (21, 20)];
    let pictures: Vec<GrayImage> = (0..)
        .zip(sizes)
        .map(|(seed, (height, width))| picture(seed, height, width))
        .collect();
    let windows: Vec<i32> = sizes
        .iter()
        .map(|&(height, width)| ((height - 2) * (width - 2)) as i32)
        .collect();
    assert_eq!(features_of(&pictures).n_patches, windows);

    let strided = features(&Shard::hugging_face(&pictures), &["patches.stride = 2"]);
    let windows: Vec<i32> = sizes
        .iter()
        .map(|&(height, width)| ((height - 1) / 2 * ((width - 1) / 2)) as i32)
        .collect();
    assert_eq!(strided.n_patches, windows);
}

#[test]
fn square_lists_of_different_lengths_work_in_one_job() {
    let pictures: Vec<GrayImage> = (3..12).map(|side| picture(side, side, side)).collect();
    let rows = pictures.iter().map(|p| Some(p.as_raw().clone()));
    let lists = rows
        .clone()
        .map(|row| row.map(|row| row.into_iter().map(Some)));
    let lists = ListArray::from_iter_primitive::<arrow::datatypes::UInt8Type, _, _>(lists);
    let expected = features_of(&pictures);
    assert_eq!(features(&image_column(Arc::new(lists)), &[]), expected);
    let binary = image_column(binary(rows.collect()));
    assert_eq!(features(&binary, &[]), expected);
}

// ---- Detection

/// The lines of `bovw inspect` that say where the images and labels are.
fn inspected(shard: &Shard) -> String {
    let scene = Scene::with(shard);
    let path = scene.path("data/a.parquet");
    let ended = scene.bovw(&["inspect", path.to_str().unwrap()]).ok();
    let is_said = |line: &&str| {
        ["images ", "labels ", "classes "]
            .iter()
            .any(|s| line.trim_start().starts_with(s))
    };
    let lines: Vec<&str> = ended
        .stdout
        .lines()
        .filter(is_said)
        .map(str::trim)
        .collect();
    lines.join("\n")
}

#[test]
fn inspect_says_why_a_column_was_taken() {
    let png = pngs(&squares());
    let raw_binary = squares().into_iter().map(|p| Some(p.into_raw())).collect();
    let mut columns = Shard::new();
    for i in 0..64 {
        columns = columns.column(&format!("p_{i}"), Arc::new(Int8Array::from(vec![1])));
    }
    let said: Vec<String> = [
        Shard::hugging_face(&squares()),
        Shard::hugging_face(&squares()).features(&json!({"image": {"_type": "Image"}})),
        image_column(binary(png)),
        image_column(binary(raw_binary)),
        Shard::raw(&squares()),
        image_column(fixed_size_list(bytes(&squares()), 64)),
        image_column(list(bytes(&squares()), 64)),
        tensor(bytes(&wide()), &json!({"shape": [6, 10]})),
        tensor(planar(), &json!({"shape": [3, 6, 10]})),
        columns,
    ]
    .iter()
    .map(inspected)
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    images   column "image": struct with encoded images in "bytes"
    images   column "image": declared as Image by the file's huggingface metadata
    images   column "image": binary; its first value starts like a PNG file
    images   column "image": binary, square images
    images   column "image": fixed-size binary, square: 8x8
    images   column "image": fixed-size list of numbers, square: 8x8
    images   column "image": list of numbers, square images
    images   column "pixels": tensor of 6x10
    images   column "pixels": tensor of 6x10x3, channels first
    images   column "p_0 .. p_63": 64 numeric columns called like pixels, 8x8
    "#);
}

#[test]
fn inspect_says_why_labels_are_labels() {
    let labelled = |name: &str, column: ArrayRef| Shard::raw(&squares()).column(name, column);
    let numbers = || Arc::new(Int64Array::from_iter_values(0..12));
    let classes = json!({"kind": {"_type": "ClassLabel", "names": ["cat", "dog"]}});
    let said: Vec<String> = [
        labelled("label", numbers()),
        labelled("target", Arc::new(StringArray::from(vec!["a"; 12]))),
        labelled("kind", numbers()).features(&classes),
        labelled("kind", numbers()),
    ]
    .iter()
    .map(|shard| {
        inspected(shard)
            .lines()
            .skip(1)
            .collect::<Vec<_>>()
            .join("\n")
    })
    .collect();
    insta::assert_snapshot!(said.join("\n--\n"), @r#"
    labels   column "label": called "label"
    --
    labels   column "target": called "target"
    --
    labels   column "kind": declared as ClassLabel by the file's huggingface metadata
    classes  2: cat, dog
    --
    "#);
}

/// Two columns that could hold the images.
fn two_candidates() -> Shard {
    Shard::new()
        .column("left", image_structs(pngs(&squares())))
        .column("right", image_structs(pngs(&wide())))
}

#[test]
fn a_declared_image_wins_over_other_candidates() {
    let declared = json!({"right": {"decode": true, "_type": "Image"}});
    assert_wide(&two_candidates().features(&declared));
}

#[test]
fn an_encoded_image_wins_over_raw_pixels() {
    assert_wide(&Shard::raw(&squares()).column("picture", image_structs(pngs(&wide()))));
}

#[test]
fn two_candidates_of_one_rank_are_an_error_that_names_both() {
    let scene = Scene::with(&two_candidates());
    insta::assert_snapshot!(scene.run(&[]).exited(1).stderr, @r#"
    error: DIR/data/a.parquet: several columns could hold the images: "left" and "right"
      help: choose one, for example input.image = "left"
    "#);
}

#[test]
fn input_image_chooses_between_candidates() {
    let choose = ["input.image = 'right'"];
    assert_eq!(features(&two_candidates(), &choose), *WIDE);
    let choose = ["input.image = 'left'"];
    assert_eq!(features(&two_candidates(), &choose), *SQUARES);
}

#[test]
fn input_image_wins_over_a_declared_one() {
    let declared = json!({"right": {"_type": "Image"}});
    let shard = two_candidates().features(&declared);
    assert_eq!(features(&shard, &["input.image = 'left'"]), *SQUARES);
}

// ---- What is carried beside the images

#[test]
fn class_label_names_survive() {
    let classes = json!({
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": ["zero", "one", "größer"]},
    });
    let labels = Int64Array::from_iter_values((0..12).map(|i| i % 3));
    let shard = Shard::hugging_face(&squares()).column("label", Arc::new(labels.clone()));
    let scene = Scene::with(&shard.features(&classes));
    scene.run(&[]).ok();
    let table = scene.features("a");
    assert_eq!(table.names(), ["label", "features", "n_patches"]);
    assert_eq!(&table.column("label"), &(Arc::new(labels) as ArrayRef));
    insta::assert_snapshot!(table.key("huggingface"), @r#"{"info":{"features":{"label":{"_type":"ClassLabel","names":["zero","one","größer"]},"features":{"feature":{"dtype":"float32","_type":"Value"},"length":8,"_type":"List"},"n_patches":{"dtype":"int32","_type":"Value"}}}}"#);
}

#[test]
fn string_labels_and_null_labels_survive() {
    let words = (0..12).map(|i| (i % 4 != 0).then(|| format!("class {i}")));
    let words: ArrayRef = Arc::new(words.collect::<StringArray>());
    let numbers = (0..12).map(|i| (i % 4 != 1).then_some(i));
    let numbers: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
    for labels in [words, numbers] {
        let shard = Shard::hugging_face(&squares()).column("label", Arc::clone(&labels));
        let scene = Scene::with(&shard.row_groups_of(5));
        scene.run(&[]).ok();
        assert_eq!(&scene.features("a").column("label"), &labels);
    }
}

#[test]
fn shards_without_labels_have_no_label_column() {
    let scene = Scene::with(&Shard::hugging_face(&squares()));
    scene.run(&[]).ok();
    assert_eq!(scene.features("a").names(), ["features", "n_patches"]);
}

/// Columns of many types, with nulls.
fn side_columns() -> Vec<(&'static str, ArrayRef)> {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..12).map(|i| format!("name {i}")),
    ));
    let numbers: ArrayRef = Arc::new(
        (0..12)
            .map(|i| (i != 3).then_some(i))
            .collect::<Int64Array>(),
    );
    let struct_fields = vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("number", DataType::Int64, true),
    ];
    let structs = StructArray::new(
        struct_fields.into(),
        vec![names, numbers],
        Some((0..12).map(|i| i != 7).collect::<Vec<bool>>().into()),
    );
    let lists = (0..12).map(|i| (i != 2).then(|| (0..i % 4).map(Some)));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let words = (0..12).map(|i| (i != 5).then_some(["red", "green", "blue"][i % 3]));
    let words: DictionaryArray<Int32Type> = words.collect();
    let times = (0..12).map(|i| (i != 9).then_some(1_700_000_000_000_000 + i * 1_000_001));
    let times: TimestampMicrosecondArray = times.collect();
    let blobs = (0..12u8).map(|i| (i != 4).then(|| vec![i; usize::from(i)]));
    let floats = Float64Array::from_iter_values((0..12).map(|i| f64::from(i) / 7.0));
    vec![
        ("structs", Arc::new(structs)),
        ("lists", Arc::new(lists)),
        ("words", Arc::new(words)),
        ("times", Arc::new(times.with_timezone("Europe/Berlin"))),
        ("blobs", binary(blobs.collect())),
        ("floats", Arc::new(floats)),
        ("image", image_structs(pngs(&squares()))),
    ]
}

const KEEP: &str =
    "input.keep = ['structs', 'lists', 'words', 'times', 'blobs', 'floats', 'image']";

fn side_shard() -> Shard {
    side_columns()
        .into_iter()
        .fold(Shard::new(), |shard, (name, column)| {
            shard.column(name, column)
        })
        .row_groups_of(5)
}

#[test]
fn kept_columns_come_out_unchanged() {
    let scene = Scene::with(&side_shard());
    scene.run(&["input.image = 'image'", KEEP]).ok();
    let table = scene.features("a");
    for (name, column) in side_columns() {
        let kept = table.column(name);
        assert_eq!(kept.data_type(), column.data_type(), "{name}");
        assert_eq!(&kept, &column, "{name}");
    }
    assert_eq!(Features::of(&table), *SQUARES);
}

#[test]
fn kept_columns_are_the_same_bytes_for_any_batching() {
    // More rows than one chunk of the writer, and images large enough for many batches.
    const N: usize = 1300;
    let words = (0..N).map(|i| (i % 7 != 0).then_some(["red", "green", "blue"][i / 11 % 3]));
    let words: DictionaryArray<Int32Type> = words.collect();
    let lists = (0..N).map(|i| (i % 5 != 0).then(|| (0..i as i32 % 4).map(Some)));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let names = (0..N).map(|i| (i % 3 != 0).then(|| format!("name {i}")));
    let shard = Shard::raw(&pictures(N as u32, 40, 40))
        .column("words", Arc::new(words))
        .column("lists", Arc::new(lists))
        .column("names", Arc::new(names.collect::<StringArray>()))
        .row_groups_of(700);
    let results = |more: &[&str]| {
        let keep = "input.keep = ['words', 'lists', 'names']";
        let sets = ["input.image = 'image'", keep, "sample.every = 50"];
        let scene = Scene::with(&shard);
        scene.run(&[&sets, more].concat()).ok();
        scene.results("out")
    };
    let one = results(&["run.threads = 1"]);
    assert_eq!(results(&["run.threads = 3", "run.io = 'read'"]), one);
    assert_eq!(results(&["run.threads = 8", "run.memory = '32MiB'"]), one);
}

#[test]
fn dropped_rows_take_their_kept_columns_along() {
    let mut images = pngs(&squares());
    for row in [0, 6, 11] {
        images[row] = None;
    }
    let shard = side_columns()
        .into_iter()
        .filter(|(name, _)| *name != "image")
        .fold(Shard::new(), |shard, (name, column)| {
            shard.column(name, column)
        })
        .column("image", image_structs(images));
    let scene = Scene::with(&shard.row_groups_of(5));
    scene
        .run(&["input.image = 'image'", KEEP, "input.on_bad_image = 'drop'"])
        .ok();
    let table = scene.features("a");
    let is_kept = (0..12)
        .map(|row| Some(![0, 6, 11].contains(&row)))
        .collect();
    for (name, column) in side_columns() {
        let expected = filter(&column, &is_kept).unwrap();
        assert_eq!(&table.column(name), &expected, "{name}");
    }
}

#[test]
fn files_of_one_name_in_two_folders_get_outputs_of_their_own() {
    let train = Shard::hugging_face(&squares());
    let test = Shard::hugging_face(&squares()[..5]);
    let scene = Scene::new()
        .and("data/train/0.parquet", &train)
        .and("data/test/0.parquet", &test);
    scene.run(&["input.files = ['data/*/*.parquet']"]).ok();
    let n_rows = |name| scene.features(name).n_patches().len();
    assert_eq!(n_rows("train__0"), 12);
    assert_eq!(n_rows("test__0"), 5);
}

#[test]
fn every_shard_gets_an_output_of_its_name() {
    let scene = Scene::new()
        .and("data/b c.parquet", &Shard::hugging_face(&squares()[..5]))
        .and("data/a.x.parquet", &Shard::hugging_face(&squares()[5..]));
    scene.run(&[]).ok();
    let names: Vec<String> = scene.files("out/features").into_keys().collect();
    assert_eq!(names, ["a.x.parquet", "b c.parquet"]);
    // Rows are counted over all shards in name order, so both together are one shard of all images.
    let parts = [scene.features("a.x"), scene.features("b c")].map(|table| Features::of(&table));
    let reordered = [&squares()[5..], &squares()[..5]].concat();
    let whole = features_of(&reordered);
    assert_eq!(parts.map(|part| part.vectors).concat(), whole.vectors);
}
