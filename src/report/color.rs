//! Shades of heat maps: for light and dark paper, each with black or white text that can be read on it (WCAG AA).

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rgb(u8, u8, u8);

/// A shade on light and on dark paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shade {
    light: Rgb,
    dark: Rgb,
}

const LIGHT_PAPER: Rgb = Rgb(0xf3, 0xf5, 0xf8);
const DARK_PAPER: Rgb = Rgb(0x20, 0x26, 0x2e);

/// More: blue. The deepest on light paper, the brightest on dark.
const MORE: Shade = Shade {
    light: Rgb(0x1d, 0x3f, 0x9e),
    dark: Rgb(0x86, 0xb3, 0xff),
};

/// Less than expected: amber.
const LESS: Shade = Shade {
    light: Rgb(0x9a, 0x4a, 0x06),
    dark: Rgb(0xf2, 0xae, 0x5c),
};

impl Shade {
    /// From nothing (0) to all (1).
    pub(super) fn of_share(share: f64) -> Shade {
        MORE.at(share)
    }

    /// Less (-1), as expected (0) or more (1).
    pub(super) fn of_deviation(deviation: f64) -> Shade {
        if deviation < 0.0 { LESS } else { MORE }.at(deviation.abs())
    }

    fn at(self, strength: f64) -> Shade {
        let strength = if strength.is_finite() {
            strength.clamp(0.0, 1.0)
        } else {
            0.0
        };
        Shade {
            light: LIGHT_PAPER.towards(self.light, strength),
            dark: DARK_PAPER.towards(self.dark, strength),
        }
    }

    /// CSS that the page's class `h` makes a background of.
    pub(super) fn style(&self) -> String {
        format!("--l:{};--d:{}", self.light.hex(), self.dark.hex())
    }

    /// Classes: `w` where text is white on light paper, `b` where it is black on dark.
    pub(super) fn class(&self) -> &'static str {
        match (self.light.takes_white(), self.dark.takes_white()) {
            (true, true) => "h w",
            (true, false) => "h w b",
            (false, true) => "h",
            (false, false) => "h b",
        }
    }

    /// The colour on light paper, for PNG.
    pub(super) fn light_hex(&self) -> String {
        self.light.hex()
    }

    /// The colour of text on it, for PNG.
    pub(super) fn light_text(&self) -> &'static str {
        if self.light.takes_white() {
            "#fff"
        } else {
            "#000"
        }
    }
}

impl Rgb {
    fn towards(self, other: Rgb, strength: f64) -> Rgb {
        let mix =
            |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * strength).round() as u8;
        Rgb(
            mix(self.0, other.0),
            mix(self.1, other.1),
            mix(self.2, other.2),
        )
    }

    fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(self) -> f64 {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// Whether white text has more contrast than black.
    fn takes_white(self) -> bool {
        let luminance = self.luminance();
        1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_on_every_shade_has_the_contrast_that_wcag_aa_asks_for() {
        for step in -100..=100 {
            let shade = Shade::of_deviation(f64::from(step) / 100.0);
            for color in [shade.light, shade.dark] {
                let luminance = color.luminance();
                let contrast = match color.takes_white() {
                    true => 1.05 / (luminance + 0.05),
                    false => (luminance + 0.05) / 0.05,
                };
                assert!(contrast >= 4.5, "{step}: {}: {contrast}", color.hex());
            }
        }
    }

    #[test]
    fn what_is_no_number_has_no_shade() {
        assert_eq!(Shade::of_share(f64::NAN), Shade::of_share(0.0));
        assert_eq!(Shade::of_share(2.0), MORE);
    }
}
