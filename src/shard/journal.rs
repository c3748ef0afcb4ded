//! `.bovw-features.jsonl`: features files that were finished, a line each, so that a killed run makes none of them again.
//!
//! The state is written whole and synced, and therefore only now and then; a line is neither. What it tells of is on disk
//! before it, and a line that is lost with the machine's power only costs the making of its file. A line that is not whole
//! or not of this run is passed over.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::{FeaturesFile, State};
use super::whole;
use crate::error::{Error, Result};

/// The journal's name in a run's directory.
pub const JOURNAL_FILE: &str = ".bovw-features.jsonl";

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    run: RunKey,
}

/// What the vectors of a run are of: features of another job, or of other words, are not this run's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RunKey {
    identity: String,
    vocabulary_blake3: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    run: RunKey,
    shard: usize,
    file: FeaturesFile,
}

impl Journal {
    /// Goes on with the journal in a run's directory; `state` has its vocabularies.
    pub fn open(dir: &Path, state: &State) -> Result<Journal> {
        let path = dir.join(JOURNAL_FILE);
        let file = File::options().create(true).append(true).open(&path);
        let mut file = file.map_err(|source| Error::io(&path, "create", source))?;
        // Whatever a killed run had begun to write ends here.
        file.write_all(b"\n")
            .map_err(|source| Error::io(&path, "write", source))?;
        Ok(Journal {
            path,
            file,
            run: key(state),
        })
    }

    /// Notes a features file that has its name.
    pub fn add(&mut self, shard: usize, file: &FeaturesFile) -> Result<()> {
        let line = Line {
            run: self.run.clone(),
            shard,
            file: file.clone(),
        };
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        let written = self.file.write_all(&line);
        written.map_err(|source| Error::io(&self.path, "write", source))
    }
}

/// Adds to a state what was finished after it was written.
pub fn complete(dir: &Path, state: &mut State) {
    let Ok(file) = File::open(dir.join(JOURNAL_FILE)) else {
        return;
    };
    let run = key(state);
    for line in BufReader::new(file)
        .split(b'\n')
        .map_while(|line| line.ok())
    {
        match serde_json::from_slice::<Line>(&line) {
            Ok(line) if line.run == run && line.shard < state.inputs.len() => {
                state.features.entry(line.shard).or_insert(line.file);
            }
            _ => {}
        }
    }
}

/// Removes the journal of a run that is done, or started over.
pub fn remove(dir: &Path) -> Result<()> {
    whole::remove(&dir.join(JOURNAL_FILE))
}

fn key(state: &State) -> RunKey {
    let hashes = state.vocabulary.iter().map(|file| file.blake3.as_str());
    RunKey {
        identity: state.identity.clone(),
        vocabulary_blake3: hashes.collect::<Vec<&str>>().join("+"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::each::Each;
    use super::super::manifest::{FORMAT, InputState, Tally};
    use super::super::read::Fingerprint;
    use super::super::whole::WholeFile;
    use super::*;

    fn state(blake3: &str) -> State {
        let input = InputState {
            path: String::new(),
            rows: 1,
            fingerprint: Fingerprint {
                size_bytes: 1,
                modified_nanos: 1,
            },
            footer_blake3: String::new(),
        };
        State {
            format: FORMAT,
            identity: "a job".to_owned(),
            job: serde_json::Value::Null,
            inputs: vec![input.clone(), input],
            vocabulary: Each::from_iter([WholeFile {
                size_bytes: 1,
                blake3: blake3.to_owned(),
            }]),
            learning: Each::default(),
            patches: Each::default(),
            features: BTreeMap::new(),
            clusters: Vec::new(),
        }
    }

    fn file(path: &str) -> FeaturesFile {
        FeaturesFile {
            path: path.to_owned(),
            rows: 1,
            file: WholeFile {
                size_bytes: 1,
                blake3: String::new(),
            },
            tally: Tally::default(),
            n_bad: 0,
            bad_list: None,
            bad_images: Vec::new(),
            input_blake3: String::new(),
        }
    }

    fn completed(dir: &Path, mut state: State) -> BTreeMap<usize, FeaturesFile> {
        complete(dir, &mut state);
        state.features
    }

    #[test]
    fn what_was_finished_is_known_after_a_line_that_was_cut_off() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(dir.path(), &state("words")).expect("opened");
        journal.add(0, &file("a")).expect("written");
        journal
            .file
            .write_all(b"{\"identity\":\"a j")
            .expect("written");
        let mut journal = Journal::open(dir.path(), &state("words")).expect("opened");
        journal.add(1, &file("b")).expect("written");
        let expected = BTreeMap::from([(0, file("a")), (1, file("b"))]);
        assert_eq!(completed(dir.path(), state("words")), expected);
        remove(dir.path()).expect("removed");
        assert!(completed(dir.path(), state("words")).is_empty());
    }

    #[test]
    fn features_of_other_words_are_not_taken_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(dir.path(), &state("words")).expect("opened");
        journal.add(0, &file("a")).expect("written");
        assert!(completed(dir.path(), state("other words")).is_empty());
    }
}
