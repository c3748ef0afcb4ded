//! `[features]`: which encoding, cells and weighting, and which of them go together.

use super::file::{FeaturesTable, Names, Pooling};
use super::value::{MAX_WHOLE, choose, whole};
use crate::error::{Error, Result};
use crate::kernel::encode::{Encoding, Recipe};
use crate::kernel::pool::Cells;
use crate::kernel::weigh::Weighting;

/// `features.nearest` of a job that does not say.
const DEFAULT_NEAREST: u64 = 5;
/// Most rows or columns of a grid of cells: more hold hardly a patch each.
const MAX_CELLS: i64 = 64;
/// Most grids of a pyramid.
const MAX_GRIDS: usize = 8;

/// What a `[features]` table asks for.
///
/// # Errors
/// Names that are not known, and keys that do not go together.
pub fn check_features(table: &FeaturesTable) -> Result<Recipe> {
    let encoding = check_encoding(table)?;
    Ok(Recipe {
        encoding,
        pooling: match &table.pooling {
            None => vec![[1, 1]],
            Some(pooling) => check_pooling(pooling)?,
        },
        weighting: check_weighting(table.weighting.as_ref(), encoding)?,
    })
}

fn check_encoding(table: &FeaturesTable) -> Result<Encoding> {
    let nearest = whole(
        "features.nearest",
        table.nearest,
        DEFAULT_NEAREST,
        1,
        MAX_WHOLE,
    )?;
    let choices = [
        Encoding::Hard,
        Encoding::Triangle,
        Encoding::Soft {
            nearest: usize::try_from(nearest).unwrap_or(usize::MAX),
        },
        Encoding::Vlad,
    ];
    let choices = choices.map(|encoding| (encoding.name(), encoding));
    let name = table.encoding.as_deref().unwrap_or("hard");
    match choose("features.encoding", name, &choices, &[])? {
        encoding @ Encoding::Soft { .. } => Ok(encoding),
        encoding if table.nearest.is_none() => Ok(encoding),
        encoding => Err(Error::setting(
            "features.nearest",
            format!(
                "has no effect, because features.encoding = \"{}\" does not share patches among words",
                encoding.name()
            ),
            "leave it out, or set features.encoding to \"soft\"",
        )),
    }
}

fn check_pooling(pooling: &Pooling) -> Result<Vec<Cells>> {
    const KEY: &str = "features.pooling";
    let (grids, typed) = match pooling {
        Pooling::Grid(grid) => (std::slice::from_ref(grid), format!("{grid:?}")),
        Pooling::Pyramid(grids) => (grids.as_slice(), format!("{grids:?}")),
    };
    let cells = |grid: &Vec<i64>| match grid.as_slice() {
        &[rows, cols] if (1..=MAX_CELLS).contains(&rows) && (1..=MAX_CELLS).contains(&cols) => {
            Some([rows as u32, cols as u32])
        }
        _ => None,
    };
    let checked: Option<Vec<Cells>> = grids.iter().map(cells).collect();
    match checked {
        Some(checked) if (1..=MAX_GRIDS).contains(&checked.len()) => Ok(checked),
        Some(checked) if checked.len() > MAX_GRIDS => Err(Error::setting(
            KEY,
            format!("{} grids are too many", checked.len()),
            format!("give at most {MAX_GRIDS}"),
        )),
        _ => Err(Error::setting(
            KEY,
            format!("{typed} is not a grid of cells, nor a list of grids"),
            format!(
                "give [rows, columns], each from 1 to {MAX_CELLS}, or a list of such grids, for example [[1, 1], [2, 2]]"
            ),
        )),
    }
}

fn check_weighting(weighting: Option<&Names>, encoding: Encoding) -> Result<Vec<Weighting>> {
    const KEY: &str = "features.weighting";
    let names = match weighting {
        None => return Ok(Vec::new()),
        Some(Names::One(name)) => std::slice::from_ref(name),
        Some(Names::Many(names)) => names.as_slice(),
    };
    let mut choices = vec![("count", None)];
    choices.extend(Weighting::ALL.map(|(name, weighting)| (name, Some(weighting))));
    let mut steps = Vec::new();
    for name in names {
        match choose(KEY, name, &choices, &[])? {
            None if names.len() == 1 => {}
            None => {
                return Err(Error::setting(
                    KEY,
                    "\"count\" leaves vectors as they are, and stands beside other steps",
                    "leave it out of the list",
                ));
            }
            Some(step) if steps.contains(&step) => {
                return Err(Error::setting(
                    KEY,
                    format!("\"{name}\" is named twice"),
                    "name each step once; they are taken in the order of the list",
                ));
            }
            Some(step) => {
                check_step(step, encoding)?;
                steps.push(step);
            }
        }
    }
    if names.is_empty() {
        return Err(Error::setting(
            KEY,
            "is an empty list",
            "name the steps, or leave it out for plain sums",
        ));
    }
    Ok(steps)
}

/// Whether a step makes sense for what an encoding adds up.
fn check_step(step: Weighting, encoding: Encoding) -> Result<()> {
    let is_vlad = encoding == Encoding::Vlad;
    let message = match step {
        Weighting::Frequency | Weighting::TfIdf if is_vlad => format!(
            "\"{}\" is for sums of patches, and features.encoding = \"vlad\" gives residuals of both signs",
            step.name()
        ),
        Weighting::Intra if !is_vlad => format!(
            "\"intra\" divides residuals by their length, and features.encoding = \"{}\" has none",
            encoding.name()
        ),
        _ => return Ok(()),
    };
    let help = match is_vlad {
        true => "use \"intra\", \"hellinger\" or \"l2\"",
        false => "leave it out, or set features.encoding to \"vlad\"",
    };
    Err(Error::setting("features.weighting", message, help))
}
