//! CSV import: what is detected, and what is refused.

use super::*;

fn record(line: &str) -> ByteRecord {
    ByteRecord::from(line.split(',').collect::<Vec<_>>())
}

#[test]
fn pixels_are_whole_numbers_in_any_notation() {
    for (text, pixel) in [
        ("0", 0),
        ("255", 255),
        ("007", 7),
        (" 12 ", 12),
        ("0.0", 0),
        ("1e2", 100),
        ("-0", 0),
    ] {
        assert_eq!(parse_pixel(text.as_bytes()), Ok(pixel), "{text}");
    }
}

#[test]
fn other_pixels_are_refused_with_the_reason() {
    for (text, reason) in [
        ("", "is missing"),
        ("256", "256 is not from 0 to 255"),
        ("-1", "-1 is not from 0 to 255"),
        ("NaN", "NaN is not from 0 to 255"),
        ("inf", "inf is not from 0 to 255"),
        ("0.5", "0.5 is not a whole number"),
        ("12x", "\"12x\" is not a number"),
        ("99999999999999999999", "is not from 0 to 255"),
    ] {
        let problem = parse_pixel(text.as_bytes()).unwrap_err();
        assert!(problem.contains(reason), "{text}: {problem}");
    }
    assert!(
        parse_pixel(&[0xff, 0x00])
            .unwrap_err()
            .contains("\\xff\\x00")
    );
}

#[test]
fn names_or_counting_numbers_make_a_header() {
    let counting = |from: i64| {
        (from..from + 16)
            .map(|i| i.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let lines = [
        "label,p1,p2",
        "1x1,1x2,class",
        "a,b",
        &counting(0),
        &counting(1),
    ];
    for line in lines.map(str::to_owned).into_iter().chain([
        format!("label,{}", counting(0)),
        format!("{},label", counting(1)),
    ]) {
        assert!(looks_like_header(&record(&line)), "{line}");
    }
    for line in [
        "0,0,0,0",
        "1,2,3,4",
        "cat,0,0,9",
        "y,0,0,0,0",
        "NaN,,0,1",
        "cat,5",
        &counting(7),
    ] {
        assert!(!looks_like_header(&record(line)), "{line}");
    }
}

#[test]
fn labels_are_numbers_also_as_floats() {
    assert_eq!(whole_number("-3"), Some(-3));
    assert_eq!(whole_number("7.0"), Some(7));
    assert_eq!(whole_number("7.5"), None);
    assert_eq!(whole_number("inf"), None);
    assert_eq!(whole_number("1e300"), None);
    assert_eq!(whole_number("seven"), None);
}

#[test]
fn more_text_labels_than_classes_stay_text() {
    let mut survey = Survey {
        rows: 0,
        numbers: Distinct(Some(BTreeSet::new())),
        texts: Distinct(Some(BTreeSet::new())),
        all_numbers: true,
    };
    for i in 0..=MAX_CLASSES {
        survey.see(&format!("name {i}"));
    }
    let mut notes = Vec::new();
    assert_eq!(survey.coding(Some(0), &mut notes), Coding::Text);
    assert!(notes[0].contains("kept as text"), "{notes:?}");
}
