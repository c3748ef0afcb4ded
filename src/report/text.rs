//! Numbers as people read them. [`THIN`] sets thousands and units apart.

use crate::kernel::grid::PatchShape;

/// A narrow no-break space.
pub const THIN: char = '\u{202f}';

/// A whole number in groups of thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(2 * digits.len());
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out
}

/// An amount of bytes.
pub fn bytes(n: u64) -> String {
    let text = bytesize::ByteSize(n).display().iec().to_string();
    text.replace(' ', "\u{202f}")
}

/// A time.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.2}\u{202f}s"),
        s if s < 100.0 => format!("{s:.1}\u{202f}s"),
        s if s < 6000.0 => format!("{}:{:02}\u{202f}min", s as u64 / 60, s as u64 % 60),
        s => format!("{}:{:02}\u{202f}h", s as u64 / 3600, s as u64 / 60 % 60),
    }
}

/// A share, from 0 to 1, as per cent with two or three digits that tell.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    let digits = match percent {
        p if p == 0.0 || p >= 99.95 => 0,
        p if p >= 10.0 => 1,
        p if p >= 0.1 => 2,
        _ => 3,
    };
    format!("{percent:.digits$}\u{202f}%")
}

/// A text of at most `max` characters; what is cut is marked.
pub(super) fn short(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A word in the number that it stands beside.
pub(super) fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", count(n), if n == 1 { one } else { many })
}

/// Height and width.
pub(super) fn size(height: u32, width: u32) -> String {
    format!("{height}\u{202f}×\u{202f}{width}")
}

/// The same of a patch, and that its pixels have three values each.
pub(super) fn patch_size(patch: PatchShape) -> String {
    let size = size(patch.height, patch.width);
    match patch.channels {
        1 => size,
        _ => format!("{size} RGB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_digits_that_tell() {
        let texts = [0.0, 0.000_04, 0.0123, 0.4567, 1.0].map(percent);
        assert_eq!(
            texts.map(|text| text.replace('\u{202f}', " ")),
            ["0 %", "0.004 %", "1.23 %", "45.7 %", "100 %"]
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("ñandú", 5), "ñandú");
        assert_eq!(short("ñandú x", 5), "ñand…");
    }
}
