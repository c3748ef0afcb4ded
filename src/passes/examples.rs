//! Reads a few images again, once a run's vectors are written, and keeps them for the report.
//!
//! Which rows they are follows from the seed and the number of rows, so nothing has to be carried through the passes, and
//! a resumed run keeps the same ones. Pages before a wanted row are skipped, not decoded.

use std::path::Path;

use crate::error::Result;
use crate::shard::examples::{self, ImageExample};
use crate::shard::images::ImageRows;
use crate::shard::manifest::ManifestOutput;
use crate::shard::read::{Shard, Wanted};
use crate::shard::vectors::Labels;
use crate::stages::decode::{self, Fit};
use crate::stages::examples::{N_IMAGES, image_rows, middle};

use super::plan::Plan;

/// Keeps some images in a run's directory, whose folder of pictures exists.
pub fn keep_images(plan: &Plan, dir: &Path) -> Result<ManifestOutput> {
    let mut kept = Vec::new();
    for row in image_rows(plan.input.n_rows(), plan.job.run.seed) {
        if kept.len() == N_IMAGES {
            break;
        }
        kept.extend(image(plan, row)?);
    }
    examples::write_images(dir, &kept)
}

/// The image of a row over all shards; `None` for a bad one.
fn image(plan: &Plan, row: u64) -> Result<Option<ImageExample>> {
    let input = &plan.input;
    let at = input.shards.partition_point(|shard| shard.first_row <= row) - 1;
    let info = &input.shards[at];
    let shard =
        Shard::open(&info.path, plan.job.run.io)?.with_max_page_bytes(plan.memory.pages_bytes);
    let row_in_file = row - info.first_row;
    let mut wanted = input.wanted_image();
    let label = input.label.as_ref().map(|(name, _)| name.as_str());
    wanted.extend(label.map(Wanted::column));
    let Some(batch) = shard.read_row(row_in_file, &wanted)? else {
        return Ok(None);
    };
    let rows = ImageRows::new(&batch, &input.image, &shard.path().into())?;
    // Images are rebuilt from words of the first size.
    let preparation = plan.job.preparations[0];
    let image = decode::image(&rows, 0, Fit::of(&plan.job));
    shard.bytes().check_whole(&info.path)?;
    let image = match image {
        Ok(image) => image,
        Err(_) => return Ok(None),
    };
    let label = label.and_then(|name| {
        let names = info.features.class_names(name);
        let names: Option<Vec<String>> =
            names.map(|names| names.into_iter().map(str::to_owned).collect());
        let labels = Labels::new(batch.column_by_name(name)?, names.as_deref())?;
        Some(labels.get(0)?.text)
    });
    let (scaling, middle) = middle(&image, preparation.patch, preparation.normalize);
    let pixels = middle.pixels.as_ref();
    Ok(Some(ImageExample {
        file: info
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        row: row_in_file,
        label,
        whole: [image.height, image.width],
        scaling,
        height: middle.height,
        width: middle.width,
        channels: middle.channels,
        pixels: (0..pixels.len()).map(|at| pixels.get(at) as f32).collect(),
    }))
}
