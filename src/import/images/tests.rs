//! Image import: what counts as an image, and where labels come from.

use super::*;

#[test]
fn image_files_are_known_by_their_ends_in_either_case() {
    for name in ["a.png", "a.JPG", "b.c.TiFf", ".x.pgm"] {
        assert!(has_image_extension(Path::new(name)), "{name}");
    }
    for name in ["a.txt", "png", ".png", "a.png.bak", "a"] {
        assert!(!has_image_extension(Path::new(name)), "{name}");
    }
}

#[test]
fn every_accepted_format_is_known_by_its_first_bytes() {
    let starts: [&[u8]; 9] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"BM123456",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"P2\n1 1\n",
        b"P6\n",
    ];
    for start in starts {
        assert_eq!(why_not_an_image(start), None, "{}", start.escape_ascii());
    }
}

#[test]
fn files_that_start_otherwise_are_no_images() {
    assert_eq!(why_not_an_image(b"").unwrap(), "the file is empty");
    let html = why_not_an_image(b"<!DOCTYPE html>").unwrap();
    assert_eq!(html, "not an image: starts with \"<!DOCTYP\"");
    assert!(
        why_not_an_image(b"\0\0\x01\0\x01\0")
            .unwrap()
            .contains("not read")
    );
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_keep_their_bytes_visible() {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"a b/\xff\xc3\xa9.png"));
    assert_eq!(readable(path), "a b/\\xff\u{e9}.png");
}
