//! Heat maps: counts or shares as shaded cells, as SVG with axes, names and numbers. The page has the same as a table.

use askama::Template;

use super::color::Shade;
use super::paint::FAMILY;
use super::text::short;

/// Characters of a row's name that are drawn, at most.
const MAX_NAME: usize = 20;

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// What is written into it; may be empty.
    pub(super) text: String,
    /// Its shade.
    pub(super) shade: Shade,
}

/// A row of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: String,
    /// Its cells, as many as there are columns.
    pub(super) cells: Vec<Cell>,
}

/// A heat map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heat {
    /// What it shows, in a line.
    pub(super) title: String,
    /// What it shows to whoever cannot see it.
    pub(super) alt: String,
    /// What rows are.
    pub(super) row_label: String,
    /// What columns are.
    pub(super) column_label: String,
    /// Names of the columns.
    pub(super) columns: Vec<String>,
    /// The rows.
    pub(super) rows: Vec<Row>,
}

struct CellBox<'a> {
    x: f64,
    y: f64,
    text: &'a str,
    class: &'static str,
    style: String,
    fill: String,
    ink: &'static str,
}

struct Name {
    at: f64,
    text: String,
}

#[derive(Template)]
#[template(path = "heat.svg")]
struct HeatSvg<'a> {
    is_alone: bool,
    family: &'a str,
    heat: &'a Heat,
    width: f64,
    height: f64,
    left: f64,
    column_label_at: f64,
    top: f64,
    cell_width: f64,
    cell_height: f64,
    row_names: Vec<Name>,
    column_names: Vec<Name>,
    cells: Vec<CellBox<'a>>,
}

impl Heat {
    /// The heat map to be put into the page.
    pub(super) fn inline(&self) -> String {
        self.svg(false)
    }

    /// The heat map as a file of its own.
    pub(super) fn alone(&self) -> String {
        self.svg(true)
    }

    fn svg(&self, is_alone: bool) -> String {
        let rows = || self.rows.iter();
        let longest = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let name_chars = longest(&mut rows().map(|row| row.name.as_str())).min(MAX_NAME);
        let text_chars =
            longest(&mut rows().flat_map(|row| row.cells.iter().map(|c| c.text.as_str())));
        let left = 40.0 + 7.5 * name_chars as f64;
        let n_columns = self.columns.len().max(1) as f64;
        let cell_width = if text_chars > 0 {
            (10.0 + 7.5 * text_chars as f64).max(30.0)
        } else {
            (456.0 / n_columns).clamp(8.0, 40.0)
        };
        let cell_height = if text_chars > 0 { 26.0 } else { 20.0 };
        let top = 46.0;
        let middle = |index: usize| left + (index as f64 + 0.5) * cell_width;
        // Names of columns that would touch are thinned out.
        let widest = longest(&mut self.columns.iter().map(String::as_str)).min(MAX_NAME) as f64;
        let every = ((7.5 * widest + 6.0) / cell_width).ceil().max(1.0) as usize;
        let every = [1, 2, 5, 10, 20, 50]
            .into_iter()
            .find(|&n| n >= every)
            .unwrap_or(100);
        let cells = rows().enumerate().flat_map(|(at, row)| {
            row.cells
                .iter()
                .enumerate()
                .map(move |(column, cell)| CellBox {
                    x: left + column as f64 * cell_width,
                    y: top + at as f64 * cell_height,
                    text: &cell.text,
                    class: cell.shade.class(),
                    style: cell.shade.style(),
                    fill: cell.shade.light_hex(),
                    ink: cell.shade.light_text(),
                })
        });
        let svg = HeatSvg {
            is_alone,
            family: FAMILY,
            heat: self,
            width: (left + n_columns * cell_width + 12.0).max(330.0),
            height: top + self.rows.len() as f64 * cell_height + 12.0,
            left,
            column_label_at: left.max(88.0 + 7.5 * self.row_label.chars().count() as f64),
            top,
            cell_width,
            cell_height,
            row_names: rows()
                .enumerate()
                .map(|(at, row)| Name {
                    at: top + (at as f64 + 0.5) * cell_height + 4.5,
                    text: short(&row.name, MAX_NAME),
                })
                .collect(),
            column_names: self
                .columns
                .iter()
                .enumerate()
                .step_by(every)
                .map(|(at, name)| Name {
                    at: middle(at),
                    text: short(name, MAX_NAME),
                })
                .collect(),
            cells: cells.collect(),
        };
        svg.render()
            .unwrap_or_else(|error| unreachable!("into memory: {error}"))
    }
}
