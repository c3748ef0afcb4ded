//! Recount: some images, drawn evenly over all inputs, are read again, and their vectors and clusters found by brute force.
//!
//! Which images follows from the job's seed. Rows are read shard by shard, a bounded number at once, each file in order.

use std::path::PathBuf;

use crate::error::Result;
use crate::job::{Io, Job, OnBadImage};
use crate::kernel::image::{Image, PixelsRef};
use crate::kernel::rng::{Purpose, Stream};
use crate::kernel::vocabulary::Vocabulary;
use crate::shard::centroids::{self, Centroids};
use crate::shard::detect::{self, ImageColumn};
use crate::shard::images::{ImageRows, Reason};
use crate::shard::manifest::{BAD_IMAGES_DIR, ClusterEntry, MANIFEST_FILE, ManifestOutput};
use crate::shard::pixels::Reading;
use crate::shard::read::{RowsReader, Shard};
use crate::shard::vocabulary;
use crate::shard::written::{
    FeaturesRow, cluster_row, for_each_bad, wanted_clusters, wanted_features,
};
use crate::stages::decode::{self, Fit};
use crate::stages::recount::{cluster, wrong_value};

use super::super::progress::Phase;
use super::{Check, RowProblems, Run, cluster_file, stem, total};

/// Drawn rows that are held at once, a few numbers each.
const MAX_AT_ONCE: usize = 1 << 14;

/// Looks at `sample` images again, or at all where there are fewer.
pub(super) fn check(run: &mut Run<'_>, job: &Job, sample: u64) {
    let inputs = run.manifest.inputs.iter();
    let n_images = total(inputs.map(|input| input.input.rows));
    let n_drawn = sample.min(n_images);
    run.progress.enter(Phase::Recounting);
    run.progress.recount.set_total(n_drawn);
    if n_drawn == 0 {
        return;
    }
    let Some(words) = vocabularies(run, job) else {
        return;
    };
    let n_values = words
        .iter()
        .map(|words| job.features.n_values(words.k(), words.d()));
    let n_values = n_values.sum();
    let recount = Recount {
        job,
        n_values,
        words,
        image: image_column(run, job),
        clusterings: clusterings(run),
    };
    let drawn = |at: u64| drawn_row(job.run.seed, n_images, n_drawn, at);
    let (mut at, mut first_row, mut first_written) = (0, 0u64, 0u64);
    for (input, output) in run.features().enumerate() {
        let listed = run.manifest.inputs.get(input);
        let end = first_row.saturating_add(listed.map_or(0, |input| input.input.rows));
        loop {
            let mut rows = Vec::new();
            while at < n_drawn && rows.len() < MAX_AT_ONCE && drawn(at) < end {
                rows.push(drawn(at) - first_row);
                at += 1;
            }
            if rows.is_empty() {
                break;
            }
            if let Err(error) = recount.piece(run, input, output, first_written, &rows) {
                let path = run.path(&output.path);
                run.failed(Check::Recount, &path, &error);
            }
            run.progress.recount.count(0, || ());
            run.progress.recount.set_done(at);
        }
        first_row = end;
        first_written = first_written.saturating_add(output.rows);
    }
}

/// The vocabularies; `None` where one is not whole, or is none that the job's vectors can be of.
fn vocabularies(run: &mut Run<'_>, job: &Job) -> Option<Vec<Vocabulary>> {
    let mut vocabularies = Vec::new();
    for (name, preparation) in run.vocabularies.clone().iter().zip(&job.preparations) {
        let path = run.whole(name)?;
        let words = match vocabulary::read(&path) {
            Ok((words, _)) => words,
            Err(error) => {
                run.failed(Check::Recount, &path, &error);
                return None;
            }
        };
        if job.features.needs_documents() && words.documents.is_none() {
            let what = "it has no document frequencies, and the job weighs by them";
            run.problem(Check::Recount, &*path, what);
            return None;
        }
        if words.preparation.patch != preparation.patch {
            let (found, expected) = (words.preparation.patch, preparation.patch);
            let what = format!("its words are of {found} patches, the job has {expected}");
            run.problem(Check::Recount, &*path, what);
            return None;
        }
        vocabularies.push(words);
    }
    Some(vocabularies)
}

/// Row `at` of `n_drawn` drawn ones, of `n_images`: one of each of so many equal parts, so that they rise and spread.
fn drawn_row(seed: u64, n_images: u64, n_drawn: u64, at: u64) -> u64 {
    let part = |at: u64| (u128::from(at) * u128::from(n_images) / u128::from(n_drawn)) as u64;
    let (start, end) = (part(at), part(at + 1));
    start + Stream::new(seed, Purpose::RecountedImages, at).below(end - start)
}

/// How images lie in the inputs; `None` where no input is left to say.
fn image_column(run: &mut Run<'_>, job: &Job) -> Option<ImageColumn> {
    let first = *run.unchanged.first()?;
    let path = run.input_path(first);
    let input = &job.input;
    let found = Shard::open(&path, Io::Read)
        .and_then(|shard| detect::image_column(&shard, input.image.as_deref(), input.shape));
    match found {
        Ok(mut image) => {
            image.reading = Reading::of(input);
            let (found, listed) = (image.name(), run.manifest.columns.image.clone());
            let place = run.path(MANIFEST_FILE);
            run.same(Check::Recount, &*place, "its image column", listed, found);
            Some(image)
        }
        Err(error) => {
            run.failed(Check::Recount, &path, &error);
            None
        }
    }
}

/// A clustering whose files are whole.
struct Clustering<'a> {
    entry: &'a ClusterEntry,
    path: PathBuf,
    centroids: Centroids,
}

fn clusterings<'a>(run: &mut Run<'a>) -> Vec<Clustering<'a>> {
    let mut found = Vec::new();
    for entry in &run.manifest.clusters {
        let files = [&entry.file, &entry.centroids].map(|name| cluster_file(run, name));
        let [Some(path), Some(centroids)] = files else {
            continue;
        };
        // What cannot be read was told with the counts.
        if let Ok(centroids) = centroids::read(&centroids) {
            found.push(Clustering {
                entry,
                path,
                centroids,
            });
        }
    }
    found
}

struct Recount<'a> {
    job: &'a Job,
    words: Vec<Vocabulary>,
    n_values: usize,
    image: Option<ImageColumn>,
    clusterings: Vec<Clustering<'a>>,
}

/// A drawn image.
struct Drawn {
    // Its row in the features file; `None` if it was left out as a bad image.
    written: Option<u64>,
    // Why it is listed as a bad image.
    reason: Option<Reason>,
}

impl Recount<'_> {
    /// Looks at some rows of an input again, whose first row in the clusters files is `first_written`.
    fn piece(
        &self,
        run: &mut Run<'_>,
        input: usize,
        output: &ManifestOutput,
        first_written: u64,
        rows: &[u64],
    ) -> Result<()> {
        let Some(path) = run.whole(&output.path) else {
            return Ok(());
        };
        let Some(drawn) = self.drawn(run, input, output, rows)? else {
            return Ok(());
        };
        let written: Vec<u64> = drawn.iter().filter_map(|drawn| drawn.written).collect();
        let mut images = self.images(run, input, rows)?;
        let shard = Shard::open(&path, Io::Read)?;
        let mut vectors = shard.read_rows(&written, &wanted_features(&shard))?;
        let labelled: Vec<u64> = written.iter().map(|row| first_written + row).collect();
        let mut clusters = Vec::new();
        for clustering in &self.clusterings {
            let reader = Shard::open(&clustering.path, Io::Read)?;
            let reader = reader.read_rows(&labelled, &wanted_clusters())?;
            clusters.push((
                clustering,
                reader,
                RowProblems::new(Check::Recount, &clustering.path),
            ));
        }
        let mut wrong = RowProblems::new(Check::Recount, &path);
        for (drawn, &row) in drawn.iter().zip(rows) {
            let image = images.as_mut().map(|images| images.next()).transpose()?;
            run.verified.recounted_images += u64::from(image.is_some());
            let Some(written) = drawn.written else {
                if let Some(Ok(_)) = image {
                    wrong.add(row, || left_out(row));
                }
                continue;
            };
            let batch = vectors.next_row()?;
            let vector = FeaturesRow::only(&batch, &path, self.n_values)?;
            if let Some(what) = self.wrong_vector(vector, drawn, image.as_ref()) {
                wrong.add(written, || format!("{what} (row {row} of the input)"));
            }
            for (clustering, reader, wrong) in &mut clusters {
                let found = cluster_row(&reader.next_row()?, &clustering.path, 0)?;
                let found = found.cluster.zip(found.distance);
                let good = image.as_ref().and_then(|image| image.as_ref().ok());
                let expected = match clustering.entry.of.as_str() {
                    _ if drawn.reason.is_some() => None,
                    "features" => Some(PixelsRef::F32(vector.vector)),
                    _ => match good {
                        Some(image) => Some(image.pixels.as_ref()),
                        None => continue,
                    },
                };
                run.verified.recounted_clusters += 1;
                if let Some(what) = wrong_cluster(found, expected, &clustering.centroids) {
                    wrong.add(first_written + written, || what);
                }
            }
        }
        wrong.tell(run);
        for (_, _, wrong) in clusters {
            wrong.tell(run);
        }
        Ok(())
    }

    /// Where the drawn images were written, and which are listed as bad; `None` where the list is not whole.
    fn drawn(
        &self,
        run: &Run<'_>,
        input: usize,
        output: &ManifestOutput,
        rows: &[u64],
    ) -> Result<Option<Vec<Drawn>>> {
        let is_dropping = self.job.input.on_bad_image == OnBadImage::Drop;
        let counts = run.manifest.inputs[input].counts;
        let has_bad = counts.is_some_and(|counts| counts.bad_images > 0);
        let list = run.whole(&format!("{BAD_IMAGES_DIR}/{}.jsonl", stem(output)));
        if has_bad && list.is_none() {
            return Ok(None);
        }
        let mut drawn: Vec<Drawn> = rows
            .iter()
            .map(|&row| Drawn {
                written: Some(row),
                reason: None,
            })
            .collect();
        let (mut next, mut n_before) = (0, 0);
        if let Some(list) = list {
            for_each_bad(&list, |bad| {
                while next < rows.len() && rows[next] < bad.row {
                    drawn[next].written = Some(rows[next] - n_before);
                    next += 1;
                }
                if rows.get(next) == Some(&bad.row) {
                    drawn[next] = Drawn {
                        written: (!is_dropping).then_some(bad.row),
                        reason: Some(bad.reason),
                    };
                    next += 1;
                }
                n_before += u64::from(is_dropping);
            })?;
        }
        for at in next..rows.len() {
            drawn[at].written = Some(rows[at] - n_before);
        }
        Ok(Some(drawn))
    }

    /// The drawn images of an input that is unchanged.
    fn images<'a>(
        &'a self,
        run: &Run<'_>,
        input: usize,
        rows: &[u64],
    ) -> Result<Option<Images<'a>>> {
        let Some(column) = self
            .image
            .as_ref()
            .filter(|_| run.unchanged.contains(&input))
        else {
            return Ok(None);
        };
        let path = run.input_path(input);
        let reader = Shard::open(&path, Io::Read)?.read_rows(rows, &column.wanted())?;
        Ok(Some(Images {
            reader,
            path,
            column,
            job: self.job,
        }))
    }

    fn wrong_vector(
        &self,
        found: FeaturesRow<'_>,
        drawn: &Drawn,
        image: Option<&Result<Image, Reason>>,
    ) -> Option<String> {
        match (&drawn.reason, image) {
            (Some(_), Some(Ok(_))) => Some("it is listed as a bad image, and is none".to_owned()),
            (Some(reason), _) => match found.status == Some(reason) && found.n_patches == 0 {
                true => None,
                false => Some(format!(
                    "it is listed as a bad image ({reason}), and its row is not one's"
                )),
            },
            (None, Some(Err(reason))) => {
                Some(format!("it has a vector, and is a bad image: {reason}"))
            }
            (None, Some(Ok(image))) => self.wrong_values(found.vector, image),
            (None, None) => None,
        }
    }
}

impl Recount<'_> {
    fn wrong_values(&self, found: &[f32], image: &Image) -> Option<String> {
        let (job, words) = (self.job, &self.words);
        let (at, expected, n_more) = wrong_value(found, image, words, &job.features, job.stride)?;
        Some(match job.features.is_counts() && words.len() == 1 {
            true => format!(
                "its vector counts word {at} {} times, brute force {expected} times; {n_more} other words differ",
                found[at]
            ),
            false => format!(
                "value {at} of its vector is {}, by the definition {expected}; {n_more} other values differ",
                found[at]
            ),
        })
    }
}

fn left_out(row: u64) -> String {
    format!("row {row} of the input was left out as a bad image, and is none")
}

/// Reads drawn images.
struct Images<'a> {
    reader: RowsReader,
    path: PathBuf,
    column: &'a ImageColumn,
    job: &'a Job,
}

impl Images<'_> {
    fn next(&mut self) -> Result<Result<Image, Reason>> {
        let batch = self.reader.next_row()?;
        let rows = ImageRows::new(&batch, self.column, &self.path.as_path().into())?;
        Ok(decode::image(&rows, 0, Fit::of(self.job)))
    }
}

fn wrong_cluster(
    found: Option<(i32, f32)>,
    expected: Option<PixelsRef<'_>>,
    centroids: &Centroids,
) -> Option<String> {
    let expected = match expected {
        Some(values) if values.len() != centroids.d => {
            return Some(format!(
                "it has {} values, the centroids have {}",
                values.len(),
                centroids.d
            ));
        }
        Some(values) => {
            let (cluster, distance) = cluster(values, &centroids.values);
            Some((cluster as i32, distance))
        }
        None => None,
    };
    let bits =
        |pair: Option<(i32, f32)>| pair.map(|(cluster, distance)| (cluster, distance.to_bits()));
    (bits(found) != bits(expected)).then(|| {
        let shown = |pair: Option<(i32, f32)>| match pair {
            Some((cluster, distance)) => format!("cluster {cluster} at distance {distance}"),
            None => "no cluster".to_owned(),
        };
        format!(
            "it has {}, brute force gives {}",
            shown(found),
            shown(expected)
        )
    })
}
