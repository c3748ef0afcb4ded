//! Line charts as SVG: for the page, which styles them by class in light and dark, and for PNG, with styles of their own.

use askama::Template;

use super::paint::FAMILY;
use super::text::short;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;

/// Points that a line is drawn with, at most.
const MAX_POINTS: usize = 300;

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// What the legend calls it; empty: it is not in the legend.
    pub(super) name: String,
    /// How it looks: `s0` to `s3`, or `rest` for what stays in the background.
    pub(super) class: &'static str,
    /// x and y, by rising x.
    pub(super) points: Vec<(f64, f64)>,
    /// Whether its last point is marked.
    pub(super) marks_end: bool,
}

/// A stretch of the x axis that has a name.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// Where it starts and ends.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) to: f64,
    /// Its name.
    pub(super) name: String,
}

/// How the y axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0 up.
    FromZero,
    /// From the smallest value up.
    FromSmallest,
    /// By powers of ten.
    Logarithmic,
}

/// A line chart.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// What it shows, in a line.
    pub(super) title: String,
    /// What it shows to whoever cannot see it.
    pub(super) alt: String,
    /// What x is.
    pub(super) x_label: String,
    /// What y is.
    pub(super) y_label: String,
    /// How y counts.
    pub(super) scale: Scale,
    /// What follows a number on the y axis.
    pub(super) y_unit: &'static str,
    /// The lines.
    pub(super) series: Vec<Series>,
    /// Named stretches of x.
    pub(super) bands: Vec<Band>,
}

struct Tick {
    at: f64,
    text: String,
}

struct Line {
    class: &'static str,
    points: String,
    end: Option<(f64, f64)>,
}

struct LegendItem {
    class: &'static str,
    name: String,
    x: f64,
}

struct BandBox {
    x: f64,
    width: f64,
    middle: f64,
    name: String,
    is_odd: bool,
}

#[derive(Template)]
#[template(path = "chart.svg")]
struct ChartSvg<'a> {
    is_alone: bool,
    family: &'a str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    chart: &'a Chart,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: Vec<Line>,
    legend: Vec<LegendItem>,
    bands: Vec<BandBox>,
}

impl Chart {
    /// The chart to be put into the page.
    pub(super) fn inline(&self) -> String {
        self.svg(false)
    }

    /// The chart as a file of its own.
    pub(super) fn alone(&self) -> String {
        self.svg(true)
    }

    fn svg(&self, is_alone: bool) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let (x_low, x_high) = span(points().map(|p| p.0), false);
        let (x_low, x_high) = self
            .bands
            .iter()
            .fold((x_low, x_high), |(low, high), band| {
                (low.min(band.from), high.max(band.to))
            });
        let ys = || points().map(|p| p.1);
        let (y_low, y_high) = match span(ys(), self.scale == Scale::FromZero) {
            // Nothing that can be drawn was given, and 0 has no logarithm.
            (low, _) if self.scale == Scale::Logarithmic && low <= 0.0 => (0.1, 1.0),
            span => span,
        };
        let y_ticks = match self.scale {
            Scale::Logarithmic => log_ticks(y_low, y_high),
            _ => ticks(y_low, y_high, 5),
        };
        let inner = |value: f64| {
            if self.scale == Scale::Logarithmic {
                value.log10()
            } else {
                value
            }
        };
        let ends = |value: Option<&(f64, String)>, limit: f64| value.map_or(limit, |tick| tick.0);
        let y_low = inner(y_low.min(ends(y_ticks.first(), y_low)));
        let y_high = inner(y_high.max(ends(y_ticks.last(), y_high)));
        let x_at = |x: f64| LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| {
            HEIGHT - BOTTOM - (inner(y) - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        };
        let x_ticks = ticks(x_low, x_high, 6).into_iter();
        let svg = ChartSvg {
            is_alone,
            family: FAMILY,
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            right: WIDTH - RIGHT,
            top: TOP,
            bottom: HEIGHT - BOTTOM,
            chart: self,
            x_ticks: x_ticks
                .filter(|(x, _)| (x_low..=x_high).contains(x))
                .map(|(x, text)| Tick { at: x_at(x), text })
                .collect(),
            y_ticks: y_ticks
                .into_iter()
                .map(|(y, text)| Tick {
                    at: y_at(y),
                    text: format!("{text}{}", self.y_unit),
                })
                .collect(),
            lines: self
                .series
                .iter()
                .filter(|series| !series.points.is_empty())
                .map(|series| line(series, x_at, y_at))
                .collect(),
            legend: legend(&self.series),
            bands: bands(&self.bands, x_at),
        };
        svg.render()
            .unwrap_or_else(|error| unreachable!("into memory: {error}"))
    }
}

fn line(series: &Series, x_at: impl Fn(f64) -> f64, y_at: impl Fn(f64) -> f64) -> Line {
    let points = &series.points;
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len() - 1;
    let kept = (0..last).step_by(step).chain([last]);
    let points: Vec<String> = kept
        .map(|i| points[i])
        .map(|(x, y)| format!("{:.1},{:.1}", x_at(x), y_at(y)))
        .collect();
    let (x, y) = series.points[last];
    Line {
        class: series.class,
        points: points.join(" "),
        end: series.marks_end.then(|| (x_at(x), y_at(y))),
    }
}

fn legend(series: &[Series]) -> Vec<LegendItem> {
    let mut x = LEFT;
    let named = series.iter().filter(|series| !series.name.is_empty());
    named
        .map(|series| {
            let item = LegendItem {
                class: series.class,
                name: short(&series.name, 24),
                x,
            };
            x += 40.0 + 7.4 * item.name.chars().count() as f64;
            item
        })
        .collect()
}

fn bands(bands: &[Band], x_at: impl Fn(f64) -> f64) -> Vec<BandBox> {
    let boxes = bands.iter().enumerate().map(|(index, band)| {
        let (x, end) = (x_at(band.from), x_at(band.to));
        // A name that does not fit is left out.
        let fits = 7.0 * band.name.len() as f64 <= end - x;
        BandBox {
            x,
            width: end - x,
            middle: (x + end) / 2.0,
            name: if fits {
                band.name.clone()
            } else {
                String::new()
            },
            is_odd: index % 2 == 1,
        }
    });
    boxes.collect()
}

/// Smallest and largest, never the same.
fn span(values: impl Iterator<Item = f64>, from_zero: bool) -> (f64, f64) {
    let start = if from_zero { 0.0 } else { f64::INFINITY };
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((start, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        (0.0, 1.0)
    } else if high - low <= f64::EPSILON * high.abs() {
        (low, low + if low == 0.0 { 1.0 } else { low.abs() * 0.1 })
    } else {
        (low, high)
    }
}

/// About `n` round numbers that cover a span, and how they are written.
fn ticks(low: f64, high: f64, n: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / n as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let digits = (0..9)
        .find(|&digits| {
            let scaled = step * 10f64.powi(digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .unwrap_or(9) as usize;
    let first = (low / step + 1e-9).floor() as i64;
    let last = (high / step - 1e-9).ceil() as i64;
    (first..=last)
        .map(|index| index as f64 * step)
        .map(|value| (value, number(value, digits)))
        .collect()
}

/// Powers of ten that cover a span of numbers above 0; where they are few, with 2 and 5 times them.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let factors: &[f64] = match last - first {
        0..=2 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let values: Vec<(f64, i32)> = (first..=last.max(first + 1))
        .flat_map(|power| {
            factors
                .iter()
                .map(move |factor| (factor * 10f64.powi(power), power))
        })
        .collect();
    // From the last one below to the first one above.
    let start = values
        .partition_point(|(value, _)| *value <= low)
        .saturating_sub(1);
    let end = values.partition_point(|(value, _)| *value < high) + 1;
    values[start..end.min(values.len())]
        .iter()
        .map(|&(value, power)| (value, number(value, usize::try_from(-power).unwrap_or(0))))
        .collect()
}

/// A number on an axis: thousands and millions by their letters.
fn number(value: f64, digits: usize) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if value.abs() >= unit {
            let divisor = if letter == "k" { 1e3 } else { unit };
            let text = format!("{:.2}", value / divisor);
            return format!(
                "{}{letter}",
                text.trim_end_matches('0').trim_end_matches('.')
            );
        }
    }
    let value = if value == 0.0 { 0.0 } else { value };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: Vec<(f64, String)>) -> Vec<String> {
        ticks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers_around_the_span() {
        assert_eq!(
            texts(ticks(12.1, 13.9, 5)),
            ["12.0", "12.5", "13.0", "13.5", "14.0"]
        );
        assert_eq!(
            texts(ticks(0.0, 93_000.0, 5)),
            ["0", "20k", "40k", "60k", "80k", "100k"]
        );
        assert_eq!(
            texts(log_ticks(0.03, 45.0)),
            ["0.01", "0.1", "1", "10", "100"]
        );
        assert_eq!(texts(log_ticks(31_000.0, 93_000.0)), ["20k", "50k", "100k"]);
    }

    #[test]
    fn a_logarithmic_chart_of_infinite_points_is_drawn() {
        let chart = Chart {
            title: String::new(),
            alt: String::new(),
            x_label: String::new(),
            y_label: String::new(),
            scale: Scale::Logarithmic,
            y_unit: "",
            series: vec![Series {
                name: String::new(),
                class: "s0",
                points: vec![(1.0, f64::INFINITY), (2.0, f64::INFINITY)],
                marks_end: false,
            }],
            bands: Vec::new(),
        };
        assert!(chart.alone().contains("0.1"));
    }

    #[test]
    fn a_chart_of_one_point_or_of_none_is_drawn() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(1.0, 5.0), (1.0, 5.0)]] {
            let chart = Chart {
                title: "<t>".to_owned(),
                alt: "\"a\"".to_owned(),
                x_label: String::new(),
                y_label: String::new(),
                scale: Scale::FromSmallest,
                y_unit: "",
                series: vec![Series {
                    name: "a & b".to_owned(),
                    class: "s0",
                    points,
                    marks_end: true,
                }],
                bands: Vec::new(),
            };
            let svg = chart.alone();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &#38; b") && !svg.contains("<t>"), "{svg}");
        }
    }
}
