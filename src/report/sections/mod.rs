//! The parts of the page, in the notebook's order: each makes its figures from the run's files and paints its pictures.

pub(super) mod clusters;
pub(super) mod data;
pub(super) mod files;
pub(super) mod images;
pub(super) mod learning;
pub(super) mod patches;
pub(super) mod running;
pub(super) mod uses;
pub(super) mod words;

use super::chart::Chart;
use super::heat::Heat;
use super::paint::{Ink, Painter};

/// A chart or heat map in the page, and as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawing {
    /// For the page.
    pub(super) svg: String,
    /// The PNG's path in the run's directory.
    pub(super) file: String,
}

impl Drawing {
    fn of_chart(chart: &Chart, name: &str, painter: &mut Painter) -> Drawing {
        Drawing {
            svg: chart.inline(),
            file: painter.order(name, chart.alone(), Ink::Color),
        }
    }

    fn of_heat(heat: &Heat, name: &str, painter: &mut Painter) -> Drawing {
        Drawing {
            svg: heat.inline(),
            file: painter.order(name, heat.alone(), Ink::Color),
        }
    }
}
