//! `[patches]`: sizes, and how patches are prepared.

use serde::Deserialize;
use serde_json::Value;

use super::Color;
use super::check::MAX_IMAGE_SIDE;
use super::file::{Number, PatchesTable, Sizes};
use super::value::{choose, in_range, whole};
use crate::error::{Error, Result};
use crate::kernel::grid::PatchShape;
use crate::kernel::normalize::Normalize;
use crate::kernel::vocabulary::Preparation;

/// `patches.epsilon` of a job that does not say: Coates, Ng and Lee's, for pixels up to 255.
const DEFAULT_EPSILON: f64 = 10.0;
/// `patches.whiten_epsilon` of a job that does not say, and the least: float32 holds no smaller share of a variance.
const DEFAULT_WHITEN_EPSILON: f64 = 0.1;
const MIN_WHITEN_EPSILON: f64 = 1e-9;
/// Longest side of a patch: a word of that size is still only 4 MB.
const MAX_PATCH_SIDE: u64 = 1024;
/// Most sizes of patches: each is learned by itself, and seen by every image.
const MAX_SIZES: usize = 8;

/// How patches of each size are prepared, and the stride.
pub(super) fn check_patches(table: &PatchesTable, color: Color) -> Result<(Vec<Preparation>, u32)> {
    let patches = check_sizes(table.size.as_ref(), color.channels())?;
    let (normalize, whiten) = (check_normalize(table)?, check_whiten(table)?);
    let preparations = patches.into_iter().map(|patch| Preparation {
        patch,
        normalize,
        whiten,
    });
    let stride = whole("patches.stride", table.stride, 1, 1, MAX_IMAGE_SIDE)?;
    Ok((preparations.collect(), stride as u32))
}

/// The sizes of patches of a resolved job, whatever its colour.
///
/// # Errors
/// It is no resolved job.
pub fn sizes_of(job: &Value) -> Result<Vec<PatchShape>> {
    let table = PatchesTable::deserialize(&job["patches"]).map_err(|error| Error::Usage {
        message: format!("patches: {error}"),
    })?;
    check_sizes(table.size.as_ref(), 1)
}

fn check_normalize(table: &PatchesTable) -> Result<Normalize> {
    let choices = [
        ("image", Normalize::Image),
        ("none", Normalize::None),
        (
            "patch",
            Normalize::Patch {
                epsilon: DEFAULT_EPSILON,
            },
        ),
    ];
    let name = table.normalize.as_deref().unwrap_or("image");
    match (
        choose("patches.normalize", name, &choices, &[])?,
        table.epsilon,
    ) {
        (Normalize::Patch { .. }, Some(epsilon)) => Ok(Normalize::Patch {
            epsilon: not_negative("patches.epsilon", epsilon)?,
        }),
        (normalize, None) => Ok(normalize),
        (_, Some(_)) => Err(Error::setting(
            "patches.epsilon",
            format!("has no effect, because patches.normalize = \"{name}\" has none"),
            "leave it out, or set patches.normalize to \"patch\"",
        )),
    }
}

fn check_whiten(table: &PatchesTable) -> Result<Option<f64>> {
    const KEY: &str = "patches.whiten_epsilon";
    let choices = [("zca", true), ("none", false)];
    let name = table.whiten.as_deref().unwrap_or("none");
    match (
        choose("patches.whiten", name, &choices, &[])?,
        table.whiten_epsilon,
    ) {
        (true, None) => Ok(Some(DEFAULT_WHITEN_EPSILON)),
        (true, Some(epsilon)) => match not_negative(KEY, epsilon)? {
            epsilon if epsilon >= MIN_WHITEN_EPSILON => Ok(Some(epsilon)),
            epsilon => Err(Error::setting(
                KEY,
                format!(
                    "{epsilon:?} is too little: directions that do not vary would be divided by nothing"
                ),
                format!("give at least {MIN_WHITEN_EPSILON:?}, such as {DEFAULT_WHITEN_EPSILON:?}"),
            )),
        },
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Error::setting(
            KEY,
            "has no effect, because patches are not whitened",
            "leave it out, or set patches.whiten to \"zca\"",
        )),
    }
}

fn not_negative(key: &'static str, value: Number) -> Result<f64> {
    let value = match value {
        Number::Whole(value) => value as f64,
        Number::Real(value) => value,
    };
    match value.is_finite() && value >= 0.0 {
        // Not -0.
        true => Ok(value.abs()),
        false => Err(Error::setting(
            key,
            format!("{value:?} is not possible"),
            "give a number of at least 0",
        )),
    }
}

fn check_sizes(sizes: Option<&Sizes>, channels: u32) -> Result<Vec<PatchShape>> {
    const KEY: &str = "patches.size";
    let sizes = match sizes {
        None => return Err(Error::setting(KEY, "missing", SIZE_HELP)),
        Some(Sizes::One(size)) => std::slice::from_ref(size),
        Some(Sizes::Many(sizes)) => sizes.as_slice(),
    };
    if sizes.len() > MAX_SIZES {
        return Err(Error::setting(
            KEY,
            format!("{} sizes are too many", sizes.len()),
            format!("give at most {MAX_SIZES}"),
        ));
    }
    if sizes.is_empty() {
        return Err(Error::setting(KEY, "is an empty list", SIZE_HELP));
    }
    let mut patches = Vec::with_capacity(sizes.len());
    for size in sizes {
        let patch = check_size(size, channels)?;
        if patches.contains(&patch) {
            return Err(Error::setting(
                KEY,
                format!("{size:?} is named twice"),
                "name each size once; a vector has their words in the order of the list",
            ));
        }
        patches.push(patch);
    }
    Ok(patches)
}

const SIZE_HELP: &str = "give [height, width] in pixels, for example size = [6, 6]";

fn check_size(size: &[i64], channels: u32) -> Result<PatchShape> {
    const KEY: &str = "patches.size";
    let [height, width] = *size else {
        let message = format!("{size:?} is not a height and a width");
        return Err(Error::setting(KEY, message, SIZE_HELP));
    };
    Ok(PatchShape {
        height: in_range(KEY, height, 1, MAX_PATCH_SIDE)? as u32,
        width: in_range(KEY, width, 1, MAX_PATCH_SIDE)? as u32,
        channels,
    })
}

/// Patches of every size must fit into an image that was made smaller.
pub(super) fn check_resize_holds(resize: Option<u32>, preparations: &[Preparation]) -> Result<()> {
    let longest = |patch: PatchShape| patch.height.max(patch.width);
    let patches = preparations.iter().map(|one| one.patch);
    match (resize, patches.max_by_key(|&patch| longest(patch))) {
        (Some(side), Some(patch)) if side < longest(patch) => Err(Error::setting(
            "input.resize",
            format!(
                "images of at most {side} pixels a side are too small for a {}x{} patch",
                patch.height, patch.width
            ),
            format!(
                "give at least {}, or make patches.size smaller",
                longest(patch)
            ),
        )),
        _ => Ok(()),
    }
}
