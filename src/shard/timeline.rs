//! `pictures/timeline.parquet`: what the stages had done, at moments of a run. A row for each stage of the pass under way.
//!
//! Times differ from run to run, so this file, and what is drawn from it, is no part of the promise of same bytes.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use serde::{Deserialize, Serialize};

use super::manifest::ManifestOutput;
use super::table::{self, Table, text_column};
use crate::error::{Error, Result};

/// The timeline's name in a run's directory.
pub const TIMELINE_FILE: &str = "pictures/timeline.parquet";

const KEY: &str = "bovw.timeline";

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
}

/// A stage at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct StagePoint {
    /// Seconds since the run began.
    pub seconds: f64,
    /// The pass under way: "sampling", "clustering" or "featurizing".
    pub pass: String,
    /// The stage.
    pub stage: String,
    /// Images done by then (restarts, in k-means).
    pub done: u64,
    /// Seconds that its workers had been at work by then, all together.
    pub busy_seconds: f64,
    /// Batches waiting in the channel before it.
    pub waiting: u64,
    /// Batches that fit in; 0 where there is no channel.
    pub capacity: u64,
    /// Anonymous memory of the process; 0 where nobody measured it.
    pub memory_bytes: u64,
}

/// Writes a timeline into a run's directory, whose folder of pictures exists.
pub fn write(dir: &Path, points: &[StagePoint]) -> Result<ManifestOutput> {
    let longs = |of: fn(&StagePoint) -> u64| -> ArrayRef {
        let values = points.iter().map(of);
        Arc::new(Int64Array::from_iter_values(
            values.map(|value| i64::try_from(value).unwrap_or(i64::MAX)),
        ))
    };
    let floats = |of: fn(&StagePoint) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(points.iter().map(of)))
    };
    let texts = |of: fn(&StagePoint) -> &str| -> ArrayRef {
        text_column(points.iter().map(|point| Some(of(point))).collect())
    };
    let columns = vec![
        ("seconds", floats(|point| point.seconds)),
        ("pass", texts(|point| &point.pass)),
        ("stage", texts(|point| &point.stage)),
        ("done", longs(|point| point.done)),
        ("busy_seconds", floats(|point| point.busy_seconds)),
        ("waiting", longs(|point| point.waiting)),
        ("capacity", longs(|point| point.capacity)),
        ("memory_bytes", longs(|point| point.memory_bytes)),
    ];
    let header = Header { format: FORMAT };
    Ok(ManifestOutput {
        path: TIMELINE_FILE.to_owned(),
        rows: points.len() as u64,
        file: table::write(&dir.join(TIMELINE_FILE), columns, KEY, &header)?,
    })
}

/// Reads the timeline of a run's directory.
pub fn read(dir: &Path) -> Result<Vec<StagePoint>> {
    let path = dir.join(TIMELINE_FILE);
    let table = Table::read(&path, KEY)?;
    let format = table.header::<Header>(KEY)?.format;
    if format != FORMAT {
        return Err(Error::file(
            path.as_path(),
            format!("is of format {format}, this version knows {FORMAT}"),
        ));
    }
    let (passes, stages) = (table.texts("pass")?, table.texts("stage")?);
    let floats = |name| table.numbers::<Float64Type>(name);
    let longs = |name| table.numbers::<Int64Type>(name);
    let (seconds, busy) = (floats("seconds")?, floats("busy_seconds")?);
    let (done, memory) = (longs("done")?, longs("memory_bytes")?);
    let (waiting, capacity) = (longs("waiting")?, longs("capacity")?);
    Ok((0..table.n_rows())
        .map(|row| StagePoint {
            seconds: seconds[row],
            pass: passes[row].unwrap_or_default().to_owned(),
            stage: stages[row].unwrap_or_default().to_owned(),
            done: done[row].unsigned_abs(),
            busy_seconds: busy[row],
            waiting: waiting[row].unsigned_abs(),
            capacity: capacity[row].unsigned_abs(),
            memory_bytes: memory[row].unsigned_abs(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_read_as_it_was_written() {
        let points: Vec<StagePoint> = (0..3)
            .map(|i| StagePoint {
                seconds: f64::from(i) * 0.1,
                pass: "sampling".to_owned(),
                stage: "decode".to_owned(),
                done: 1 << 40,
                busy_seconds: 0.5,
                waiting: 1,
                capacity: 6,
                memory_bytes: 7,
            })
            .collect();
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("pictures")).expect("made");
        write(dir.path(), &points).expect("written");
        assert_eq!(read(dir.path()).expect("read"), points);
    }
}
