//! Files that lie: what they claim is an error that names them, and takes no memory on the way. Files that are cut short
//! while they are read are an error too, and no result is made of what is left of them.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use bovw::Error;
use bovw::job::{Job, OnBadImage, Overrides};
use bovw::passes::plan::Plan;
use bovw::stages::decode::{DecodeParams, Fit, decode};
use bovw::stages::source::{ImageCost, Source, SourceParams, Stretch};
use image::ImageFormat;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use common::{Ended, Scene, Shard, encoded, image_structs, picture, pictures, pngs};

/// Kilobytes of addresses that a command may have. What claims gigabytes cannot even be set aside.
const MAX_ADDRESSES_KIB: u64 = 1 << 20;

/// `bovw` with no more addresses than that.
fn confined(scene: &Scene, args: &[String]) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("sh")
        .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
        .arg(MAX_ADDRESSES_KIB.to_string())
        .arg(env!("CARGO_BIN_EXE_bovw"))
        .args(args)
        .args(["--progress", "none"])
        .output()
        .unwrap();
    Ended {
        code: status.code(),
        stdout: scene.without_dir(&stdout),
        stderr: scene.without_dir(&stderr),
    }
}

/// The run is refused with one error that names the file and has these words; nothing is left.
#[track_caller]
fn refused(scene: &Scene, sets: &[&str], words: &str) {
    let start = Instant::now();
    let ended = confined(scene, &scene.run_args(sets)).exited(1);
    assert!(start.elapsed() < Duration::from_secs(60), "{ended:?}");
    assert!(
        ended.stderr.starts_with("error: DIR/data/a.parquet"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    assert!(scene.results("out").is_empty());
}

// ---- Parquet files, written by hand

/// Thrift's compact protocol.
mod thrift {
    pub(crate) const I32: u8 = 5;
    pub(crate) const I64: u8 = 6;
    pub(crate) const BINARY: u8 = 8;
    pub(crate) const LIST: u8 = 9;
    pub(crate) const STRUCT: u8 = 12;

    pub(crate) fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    pub(crate) fn number(value: i64) -> Vec<u8> {
        varint(((value << 1) ^ (value >> 63)) as u64)
    }

    pub(crate) fn text(text: &str) -> Vec<u8> {
        [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
    }

    /// A struct of fields: number, kind, value.
    pub(crate) fn fields(fields: &[(i64, u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, kind, value) in fields {
            bytes.push(*kind);
            bytes.extend(number(*id));
            bytes.extend(value);
        }
        bytes.push(0);
        bytes
    }

    /// A list that claims `n` structs and holds these.
    pub(crate) fn list(n: u64, items: &[Vec<u8>]) -> Vec<u8> {
        [vec![0xf0 | STRUCT], varint(n), items.concat()].concat()
    }
}

use thrift::{BINARY, I32, I64, LIST, STRUCT, fields, list, number, text, varint};

/// One element of a schema: a name, and so many children.
fn element(name: &str, n_children: i64) -> Vec<u8> {
    fields(&[(4, BINARY, text(name)), (5, I32, number(n_children))])
}

/// A column of binary values, or of values of one length.
fn leaf(name: &str, length: Option<i64>) -> Vec<u8> {
    let (kind, length) = match length {
        Some(length) => (7, vec![(2, I32, number(length))]),
        None => (6, Vec::new()),
    };
    let mut all = vec![(1, I32, number(kind))];
    all.extend(length);
    all.extend([(3, I32, number(0)), (4, BINARY, text(name))]);
    fields(&all)
}

/// What a column chunk claims.
#[derive(Clone)]
struct Chunk {
    name: &'static str,
    codec: i64,
    kind: i64,
    values: i64,
    start: i64,
    stored: i64,
    plain: i64,
}

impl Chunk {
    fn bytes(&self) -> Vec<u8> {
        let encodings = [vec![0x15], number(0)].concat();
        let path = [vec![0x18], text(self.name)].concat();
        let metadata = fields(&[
            (1, I32, number(self.kind)),
            (2, LIST, encodings),
            (3, LIST, path),
            (4, I32, number(self.codec)),
            (5, I64, number(self.values)),
            (6, I64, number(self.plain)),
            (7, I64, number(self.stored)),
            (9, I64, number(self.start)),
        ]);
        fields(&[(2, I64, number(self.start)), (3, STRUCT, metadata)])
    }
}

fn row_group(chunks: &[Chunk], rows: i64) -> Vec<u8> {
    let chunks: Vec<Vec<u8>> = chunks.iter().map(Chunk::bytes).collect();
    fields(&[
        (1, LIST, list(chunks.len() as u64, &chunks)),
        (2, I64, number(0)),
        (3, I64, number(rows)),
    ])
}

fn footer(schema: Vec<u8>, rows: i64, row_groups: Vec<u8>) -> Vec<u8> {
    fields(&[
        (1, I32, number(1)),
        (2, LIST, schema),
        (3, I64, number(rows)),
        (4, LIST, row_groups),
    ])
}

fn parquet(pages: &[u8], footer: &[u8]) -> Vec<u8> {
    let len = (footer.len() as u32).to_le_bytes();
    [b"PAR1", pages, footer, &len, b"PAR1"].concat()
}

/// The column "image", one chunk of 4 rows from byte 4 on.
fn chunk(pages: &[u8]) -> Chunk {
    Chunk {
        name: "image",
        codec: 1,
        kind: 6,
        values: 4,
        start: 4,
        stored: pages.len() as i64,
        plain: 1000,
    }
}

fn with_chunk(pages: &[u8], chunk: Chunk, leaf: Vec<u8>) -> Vec<u8> {
    let rows = chunk.values;
    let schema = list(2, &[element("root", 1), leaf]);
    let groups = list(1, &[row_group(&[chunk], rows)]);
    parquet(pages, &footer(schema, rows, groups))
}

/// A page of so many values that claims these sizes and holds `body`.
fn data_page(plain: i64, stored: i64, values: i64, body: &[u8]) -> Vec<u8> {
    encoded_page(0, plain, stored, values, body)
}

/// The same in another encoding than plain, by its number.
fn encoded_page(encoding: i64, plain: i64, stored: i64, values: i64, body: &[u8]) -> Vec<u8> {
    let header = fields(&[
        (1, I32, number(values)),
        (2, I32, number(encoding)),
        (3, I32, number(3)),
        (4, I32, number(3)),
    ]);
    let header = fields(&[
        (1, I32, number(0)),
        (2, I32, number(plain)),
        (3, I32, number(stored)),
        (5, STRUCT, header),
    ]);
    [header, body.to_vec()].concat()
}

fn dictionary_page(plain: i64, values: i64, body: &[u8]) -> Vec<u8> {
    let header = fields(&[(1, I32, number(values)), (2, I32, number(0))]);
    let header = fields(&[
        (1, I32, number(2)),
        (2, I32, number(plain)),
        (3, I32, number(body.len() as i64)),
        (7, STRUCT, header),
    ]);
    [header, body.to_vec()].concat()
}

#[test]
fn the_files_written_by_hand_are_read_where_they_tell_the_truth() {
    let images: Vec<Vec<u8>> = pngs(&pictures(4, 8, 8)).into_iter().flatten().collect();
    let body: Vec<u8> = images
        .iter()
        .flat_map(|image| [&(image.len() as u32).to_le_bytes()[..], image].concat())
        .collect();
    let len = body.len() as i64;
    let page = data_page(len, len, 4, &body);
    let plain = Chunk {
        codec: 0,
        ..chunk(&page)
    };
    let scene = Scene::new();
    scene.file(
        "data/a.parquet",
        with_chunk(&page, plain, leaf("image", None)),
    );
    confined(&scene, &scene.run_args(&[])).ok();
    assert_eq!(scene.features("a").n_patches(), [36; 4]);
}

#[test]
fn a_footer_that_claims_what_its_bytes_do_not_hold_is_refused() {
    let one = || leaf("image", None);
    let page = data_page(100, 4, 4, &[0; 4]);
    let group = || row_group(&[chunk(&page)], 4);
    let ends = |chunk: Chunk| list(1, &[row_group(&[chunk], 4)]);
    let good_schema = || list(2, &[element("root", 1), one()]);
    let deep: Vec<Vec<u8>> = (0..5000)
        .map(|_| element("deep", 1))
        .chain([one()])
        .collect();
    let long = "n".repeat(1 << 20);
    let huge = i64::from(i32::MAX);
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        (
            "a column of 2147483647 columns",
            list(2, &[element("root", huge), one()]),
            list(1, &[group()]),
        ),
        (
            "a column of -5 columns",
            list(2, &[element("root", -5), one()]),
            list(1, &[group()]),
        ),
        (
            "columns are missing",
            list(2, &[element("root", 3), one()]),
            list(1, &[group()]),
        ),
        (
            "columns that belong to none",
            list(3, &[element("root", 1), one(), one()]),
            list(1, &[group()]),
        ),
        (
            "nested more than",
            list(deep.len() as u64, &deep),
            list(1, &[group()]),
        ),
        (
            "a column whose name has 1048576 bytes",
            list(2, &[element("root", 1), leaf(&long, None)]),
            list(1, &[group()]),
        ),
        (
            "items in",
            list(u64::from(u32::MAX), &[element("root", 1), one()]),
            list(1, &[group()]),
        ),
        ("items in", good_schema(), list(1 << 31, &[group()])),
        (
            "a row group of 0 columns",
            good_schema(),
            list(1, &[row_group(&[], 4)]),
        ),
        (
            "a row group of 3 columns",
            good_schema(),
            list(
                1,
                &[row_group(&[chunk(&page), chunk(&page), chunk(&page)], 4)],
            ),
        ),
        (
            "at bytes 4 to",
            good_schema(),
            ends(Chunk {
                stored: 1 << 40,
                ..chunk(&page)
            }),
        ),
        (
            "at bytes -4 to",
            good_schema(),
            ends(Chunk {
                start: -4,
                ..chunk(&page)
            }),
        ),
        (
            "to beyond",
            good_schema(),
            ends(Chunk {
                stored: i64::MAX,
                ..chunk(&page)
            }),
        ),
        (
            "a row group of -4 rows",
            good_schema(),
            list(1, &[row_group(&[chunk(&page)], -4)]),
        ),
    ];
    let scene = Scene::new();
    for (words, schema, groups) in cases {
        let bytes = parquet(&page, &footer(schema, 4, groups));
        scene.file("data/a.parquet", bytes);
        refused(&scene, &[], words);
    }
}

#[test]
fn a_footer_longer_than_its_file_is_refused() {
    let scene = Scene::new();
    let mut bytes = Shard::hugging_face(&pictures(4, 8, 8)).bytes();
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
    scene.file("data/a.parquet", bytes);
    refused(&scene, &[], "more than the file has");
}

#[test]
fn pages_that_claim_what_their_bytes_cannot_hold_are_refused() {
    let image = || leaf("image", None);
    let huge = i64::from(i32::MAX);
    let body = [7; 100];
    let fixed = |length| leaf("image", Some(length));
    let cases = [
        (
            "more than its compression can",
            data_page(huge, 100, 4, &body),
            1,
            image(),
        ),
        (
            "more than its compression can",
            data_page(huge, 100, 4, &body),
            2,
            image(),
        ),
        (
            "of memory, where",
            data_page(12 << 20, 400, 4, &[7; 400]),
            6,
            image(),
        ),
        (
            "of memory, where",
            data_page(huge, 100, 4, &body),
            4,
            image(),
        ),
        (
            "claims 2000 bytes",
            data_page(100, 2000, 4, &body),
            1,
            image(),
        ),
        ("it has no size", data_page(-1, 100, 4, &body), 1, image()),
        ("it has no size", data_page(100, -1, 4, &body), 1, image()),
        ("it has no size", data_page(100, 100, -4, &body), 1, image()),
        (
            "a dictionary of 2147483647 values in 100 bytes",
            dictionary_page(100, huge, &body),
            0,
            image(),
        ),
        (
            "values of 2147395600 bytes each",
            data_page(100, 100, 4, &body),
            0,
            fixed(46_340 * 46_340),
        ),
        ("is damaged", vec![0xff; 60], 0, image()),
    ];
    let scene = Scene::new();
    for (words, pages, codec, leaf) in cases {
        let kind = if words.starts_with("values") { 7 } else { 6 };
        let chunk = Chunk {
            codec,
            kind,
            ..chunk(&pages)
        };
        scene.file("data/a.parquet", with_chunk(&pages, chunk, leaf));
        let sets = ["run.memory = '16MiB'", "input.image = 'image'"];
        refused(&scene, &sets, words);
    }
}

#[test]
fn delta_encoded_texts_that_claim_more_lengths_than_the_page_has_values_are_refused() {
    // Blocks that hold as many lengths as one likes, in one part that takes no bits.
    let lengths = |n: u64| [varint(1 << 40), varint(1), varint(n), vec![0, 0, 0]].concat();
    let pages = [
        // DELTA_LENGTH_BYTE_ARRAY; DELTA_BYTE_ARRAY, in what texts share and in what they do not.
        (6, lengths(1 << 33)),
        (7, lengths(1 << 33)),
        (7, [lengths(4), lengths(1 << 33)].concat()),
    ];
    let scene = Scene::new();
    for (encoding, body) in pages {
        let len = body.len() as i64;
        // Snappy, with nothing compressed: the length, and all as one literal.
        let snappy = [vec![len as u8, (len as u8 - 1) << 2], body.clone()].concat();
        let stored = snappy.len() as i64;
        for (codec, page) in [
            (0, encoded_page(encoding, len, len, 4, &body)),
            (1, encoded_page(encoding, len, stored, 4, &snappy)),
        ] {
            let chunk = Chunk {
                codec,
                ..chunk(&page)
            };
            scene.file(
                "data/a.parquet",
                with_chunk(&page, chunk, leaf("image", None)),
            );
            let sets = ["run.memory = '16MiB'", "input.image = 'image'"];
            refused(
                &scene,
                &sets,
                "a page of 4 values claims 8589934592 lengths",
            );
        }
    }
}

#[test]
fn pages_that_memory_does_not_suffice_for_are_refused_with_the_file_and_what_to_give() {
    let raw = pictures(256, 256, 384)
        .into_iter()
        .map(image::GrayImage::into_raw);
    let raw: ArrayRef = Arc::new(BinaryArray::from_iter_values(raw));
    let rows = RecordBatch::try_from_iter([("image", raw)]).unwrap();
    // All in one page, as writers make them that look at a page's size only after so many rows.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(1 << 30)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    let scene = Scene::new();
    scene.file("data/a.parquet", writer.into_inner().unwrap());
    let sets = |memory: &'static str| {
        [
            memory,
            "input.image = 'image'",
            "input.shape = [256, 384]",
            "sample.per_image = 12",
        ]
    };
    let ended = confined(&scene, &scene.run_args(&sets("run.memory = '56MiB'")));
    let ended = ended.exited(2);
    for words in [
        "run.memory: ",
        "24.0 MiB each in DIR/data/a.parquet",
        "image",
    ] {
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    let give = ended.stderr.split("give at least ").nth(1).unwrap();
    let give = give.split(';').next().unwrap();
    let enough = format!("run.memory = '{give}'");
    scene
        .run(&[&enough, sets("")[1], sets("")[2], sets("")[3]])
        .ok();
    let process = &scene.manifest()["run"]["process"];
    let peak = process["peak_anonymous_bytes"].as_u64().unwrap();
    let mib: u64 = give.trim_end_matches("MiB").parse().unwrap();
    assert!(peak <= mib << 20, "{peak} of {give}");
}

// ---- Images

/// A PNG with these chunks between its first one and its pixels.
fn png_with(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    const FIRST_CHUNK_END: usize = 33;
    let png = encoded(picture(1, 8, 8), ImageFormat::Png);
    let mut bytes = png[..FIRST_CHUNK_END].to_vec();
    for (name, content) in chunks {
        let mut crc = flate2::Crc::new();
        crc.update(*name);
        crc.update(content);
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(*name);
        bytes.extend(content);
        bytes.extend(crc.sum().to_be_bytes());
    }
    bytes.extend(&png[FIRST_CHUNK_END..]);
    bytes
}

/// So many zeros, compressed.
fn deflated_zeros(n: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    let zeros = vec![0; 1 << 20];
    for _ in 0..n >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

/// A PNG of these sides with hardly a pixel in it.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(picture(1, 8, 8), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

/// A GIF of one pixel whose first frame is of these sides.
fn gif_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend(b"\0\x02\x02\x44\x01\0;");
    bytes
}

/// A TIFF of 8x8 grey pixels, one of whose fields claims to have so many values.
fn tiff_with(field: u16, count: u32) -> Vec<u8> {
    let mut bytes = encoded(picture(1, 8, 8), ImageFormat::Tiff);
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let directory = number(&bytes, 4) as usize;
    let n = usize::from(u16::from_le_bytes([bytes[directory], bytes[directory + 1]]));
    for at in (0..n).map(|i| directory + 2 + 12 * i) {
        if u16::from_le_bytes([bytes[at], bytes[at + 1]]) == field {
            bytes[at + 4..at + 8].copy_from_slice(&count.to_le_bytes());
        }
    }
    bytes
}

/// A WebP with an EXIF chunk that claims to be so long.
fn webp_with(exif_bytes: u32) -> Vec<u8> {
    let simple = encoded(
        image::DynamicImage::from(picture(1, 8, 8)).to_rgb8(),
        ImageFormat::WebP,
    );
    let mut bytes = b"RIFF\xff\xff\0\0WEBPVP8X\x0a\0\0\0\x08\0\0\0\x07\0\0\x07\0\0".to_vec();
    bytes.extend(&simple[12..]);
    bytes.extend(b"EXIF");
    bytes.extend(exif_bytes.to_le_bytes());
    bytes.extend([0; 16]);
    bytes
}

fn bmp_of(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = encoded(picture(1, 8, 8), ImageFormat::Bmp);
    bytes[18..22].copy_from_slice(&width.to_le_bytes());
    bytes[22..26].copy_from_slice(&height.to_le_bytes());
    bytes
}

fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = encoded(picture(1, 8, 8), ImageFormat::Jpeg);
    let frame = bytes
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

#[test]
fn images_that_lie_are_bad_images_and_take_no_memory() {
    let profile = [b"x\0\0".to_vec(), deflated_zeros(300 << 20)].concat();
    let long_text = [b"key\0".to_vec(), vec![b'a'; 5 << 20]].concat();
    let rows: Vec<(Vec<u8>, Option<&str>)> = vec![
        (png_with(&[]), None),
        // A profile is not ours to know, so it is as if it were not there.
        (png_with(&[(b"iCCP", profile)]), None),
        (
            png_with(&[(
                b"zTXt",
                [b"k\0\0".to_vec(), deflated_zeros(300 << 20)].concat(),
            )]),
            None,
        ),
        (
            png_with(&[(b"tEXt", long_text)]),
            Some("of texts and profiles"),
        ),
        (
            png_of(i32::MAX as u32, i32::MAX as u32),
            Some("input.max_pixels"),
        ),
        (png_of(300, 300), Some("cannot be decoded")),
        (jpeg_of(65_500, 65_500), Some("input.max_pixels")),
        (gif_of(60_000, 60_000), Some("cannot be decoded")),
        (tiff_with(273, u32::MAX), Some("a field claims")),
        (tiff_with(279, 200 << 20), Some("a field claims")),
        (webp_with(0xffff_fff0), Some("a chunk claims")),
        (bmp_of(i32::MAX, i32::MAX), Some("")),
        (bmp_of(30_000, 30_000), Some("input.max_pixels")),
        (b"P5 99999 99999 255\n".to_vec(), Some("input.max_pixels")),
        (b"P1 4294967295 4294967295\n0".to_vec(), Some("")),
        (
            b"P2 300 300 255\n1 2 3 4".to_vec(),
            Some("cannot be decoded"),
        ),
    ];
    let (bytes, expected): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let shard = Shard::new().column(
        "image",
        image_structs(bytes.into_iter().map(Some).collect()),
    );
    let scene = Scene::with(&shard);
    for io in ["run.io = 'mmap'", "run.io = 'read'"] {
        let sets = ["input.on_bad_image = 'zero'", "run.memory = '64MiB'", io];
        let mut args = scene.run_args(&sets);
        args.push("--fresh".to_owned());
        confined(&scene, &args).ok();
        let found = scene.features("a").strings("status");
        for (row, (expected, found)) in expected.iter().zip(found).enumerate() {
            match (expected, &found) {
                (None, None) => {}
                (Some(words), Some(reason)) => assert!(reason.contains(words), "{row}: {reason}"),
                _ => panic!("row {row}: {found:?}, not {expected:?}"),
            }
        }
        let process = &scene.manifest()["run"]["process"];
        let peak = process["peak_anonymous_bytes"].as_u64().unwrap();
        assert!(peak <= 64 << 20, "{io}: {peak}");
    }
}

// ---- Imports

#[test]
fn imports_hold_headers_and_lines_against_the_file() {
    let idx = |dims: [u32; 3]| {
        let mut bytes = vec![0, 0, 8, 3];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend([0; 100]);
        bytes
    };
    let zip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let row = |n: usize| "1,".repeat(n) + "1\n";
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("idx", "are too large", idx([u32::MAX; 3])),
        ("idx", "are too large", idx([1, u32::MAX, 1])),
        ("idx", "cut short", idx([u32::MAX, 8000, 8000])),
        ("idx", "cut short", zip(&idx([u32::MAX, 8000, 8000]))),
        ("idx", "have no pixels", idx([1, 0, 1 << 31])),
        (
            "csv",
            "line 1: this row goes on for more than",
            vec![b'1'; 40 << 20],
        ),
        (
            "csv",
            "line 1: this row goes on for more than",
            zip(&vec![b'1'; 400 << 20]),
        ),
        ("csv", "line 1: this row has more than", vec![b','; 8 << 20]),
        (
            "csv",
            "line 3: this row has more than",
            [
                row(64).as_bytes(),
                row(64).as_bytes(),
                row(7 << 20).as_bytes(),
            ]
            .concat(),
        ),
        (
            "csv",
            "line 2: this row goes on for more than",
            [row(64).as_bytes(), b"\"", &vec![b'1'; 40 << 20][..]].concat(),
        ),
        (
            "csv",
            "line 2, column 2: the pixel \"\\x00\" is not a number",
            [
                row(64).as_bytes(),
                row(64).replacen("1,1,", "1,\0,", 1).as_bytes(),
            ]
            .concat(),
        ),
    ];
    let scene = Scene::new();
    let out = scene.path("imported").display().to_string();
    for (kind, words, bytes) in cases {
        let file = scene.file("in.data", bytes).display().to_string();
        let args = ["import", kind, &file, "--out", &out].map(str::to_owned);
        let ended = confined(&scene, &args).exited(1);
        assert!(ended.stderr.contains("DIR/in.data"), "{words}: {ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        assert!(scene.files("imported").is_empty());
    }
}

// ---- Files that are cut short while they are read

const CUT: &str = "data/c.parquet";

/// Four shards, of which one will be cut.
fn shards() -> Scene {
    let shard = |seed: u32| {
        let pictures: Vec<_> = (0..1500).map(|at| picture(seed + at, 28, 28)).collect();
        Shard::hugging_face(&pictures).row_groups_of(400)
    };
    Scene::new()
        .and("data/a.parquet", &shard(0))
        .and("data/b.parquet", &shard(10_000))
        .and(CUT, &shard(20_000))
        .and("data/d.parquet", &shard(30_000))
}

fn cut(path: &Path, len: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

#[test]
fn a_file_that_is_cut_at_any_moment_of_a_run_ends_it_with_an_error_and_no_false_result() {
    const MOMENTS: u32 = 16;
    let scene = shards();
    let path = scene.path(CUT);
    let whole = fs::read(&path).unwrap();
    let start = Instant::now();
    scene.run(&[]).ok();
    let took = start.elapsed();
    let expected: BTreeMap<String, Vec<u8>> = scene.results("out");
    let mut n_failed = 0;
    for moment in 0..MOMENTS {
        // A run that was refused at once has made none.
        let _ = fs::remove_dir_all(scene.path("out"));
        let child = Command::new(env!("CARGO_BIN_EXE_bovw"))
            .args(scene.run_args(&[]))
            .args(["--progress", "none"])
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(took * moment / MOMENTS);
        // To no whole page, so that some of what is lost reads as zeros without any fault.
        let len = whole.len() as u64 * u64::from(moment % 4) / 4 + 100;
        cut(&path, len);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {}
            Some(1) => {
                n_failed += 1;
                assert!(said.contains("c.parquet"), "moment {moment}: {said}");
                assert!(!said.contains("bad image"), "moment {moment}: {said}");
            }
            other => panic!("moment {moment}: {other:?}: {said}"),
        }
        for (name, bytes) in scene.results("out") {
            assert!(bytes == expected[&name], "moment {moment}: {name}");
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(n_failed > 0, "no moment was during the run");
}

#[test]
fn images_that_were_read_but_not_decoded_when_their_file_was_cut_are_not_believed() {
    let scene = Scene::with(&Shard::hugging_face(&pictures(50, 64, 64)));
    let job = Job::load(&scene.path("job.toml"), &[], &Overrides::default()).unwrap();
    let plan = Plan::new(&job).unwrap();
    let input = &plan.input;
    let mut source = Source::new(
        input,
        [Stretch::whole(input, 0)],
        SourceParams {
            io: job.run.io,
            wanted: input.wanted_image(),
            every: 1,
            batch_bytes: 1 << 20,
            pages_bytes: plan.memory.pages_bytes,
            image_bytes: ImageCost::of_featurized,
            cost: ImageCost {
                sampling: job.sample,
                vector_bytes: 0,
            },
        },
    );
    let batch = source.next_batch().unwrap().unwrap().item;
    cut(&scene.path("data/a.parquet"), 4096);
    let params = DecodeParams {
        every: 1,
        fit: Fit::of(&job),
        on_bad_image: OnBadImage::Drop,
    };
    let error = decode(batch, input, params).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("was cut short while it was being read"),
        "{said}"
    );
}
