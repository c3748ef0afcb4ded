//! Provenance: what files say of themselves in their footers is what the manifest says of the run.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::job::{Io, Job, resolved};
use crate::shard::each::Each;
use crate::shard::manifest::{ClusterEntry, ManifestInput};
use crate::shard::read::Shard;
use crate::shard::{clusters, features, vocabulary};

use super::{Check, Run, cluster_file};

/// The footers of words, vectors and clusters.
pub(super) fn check(run: &mut Run<'_>, job: Option<&Job>) {
    let job = job.map(resolved::identity_json);
    for path in run.vocabularies.clone() {
        let Some(path) = run.whole(&path) else {
            continue;
        };
        let claims = words(&path, job.as_ref());
        compare(run, &path, claims);
    }
    let inputs: Vec<&ManifestInput> = run.manifest.inputs.iter().collect();
    for (input, output) in inputs.into_iter().zip(run.features()) {
        if let Some(path) = run.whole(&output.path) {
            let claims = vectors(run, &path, input, job.as_ref());
            compare(run, &path, claims);
        }
    }
    for entry in &run.manifest.clusters {
        for name in [&entry.file, &entry.centroids] {
            if let Some(path) = cluster_file(run, name) {
                let claims = clustering(&path, entry, job.as_ref());
                compare(run, &path, claims);
            }
        }
    }
}

/// What a footer says of something, and what the manifest does.
struct Claim {
    what: &'static str,
    found: Value,
    expected: Value,
}

fn claim(what: &'static str, found: impl Into<Value>, expected: impl Into<Value>) -> Claim {
    Claim {
        what,
        found: found.into(),
        expected: expected.into(),
    }
}

fn compare(run: &mut Run<'_>, path: &Path, claims: Result<Vec<Claim>>) {
    run.verified.footers += 1;
    match claims {
        Ok(claims) => {
            for claim in claims
                .into_iter()
                .filter(|claim| claim.found != claim.expected)
            {
                let message = match (&claim.found, &claim.expected) {
                    (Value::Object(_), _) | (_, Value::Object(_)) => {
                        format!("its footer names another {}", claim.what)
                    }
                    (found, expected) => {
                        format!(
                            "its footer names another {}: {found}, not {expected}",
                            claim.what
                        )
                    }
                };
                run.problem(Check::Provenance, path, message);
            }
        }
        Err(error) => run.failed(Check::Provenance, path, &error),
    }
}

fn words(path: &Path, job: Option<&Value>) -> Result<Vec<Claim>> {
    let (words, header) = vocabulary::read(path)?;
    let mut claims = vec![
        claim(
            "number of patches",
            header.n_patches,
            words.counts.iter().sum::<u64>(),
        ),
        claim(
            "inertia",
            header.inertia_per_patch,
            words.inertia_per_patch(),
        ),
    ];
    claims.extend(job.map(|job| claim("job", header.job, job.clone())));
    Ok(claims)
}

fn vectors(
    run: &Run<'_>,
    path: &Path,
    input: &ManifestInput,
    job: Option<&Value>,
) -> Result<Vec<Claim>> {
    let found = footer(path, features::KEY)?;
    let words = found["vocabulary"].clone();
    let words = serde_json::from_value::<Each<Value>>(words).unwrap_or_default();
    let of_words = |key: &str| {
        words
            .iter()
            .map(|one| one[key].clone())
            .collect::<Each<Value>>()
    };
    let listed = run.vocabularies.iter().map(|name| run.output(name));
    let hashes = listed
        .clone()
        .map(|output| json!(output.map(|output| &output.file.blake3)));
    let ks = listed.map(|output| json!(output.map(|output| output.rows)));
    let name = Path::new(&input.input.path).file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let size_bytes = input.input.fingerprint.size_bytes;
    let mut claims = vec![
        claim(
            "vocabulary",
            json!(of_words("blake3")),
            json!(hashes.collect::<Each<Value>>()),
        ),
        claim(
            "number of words",
            json!(of_words("k")),
            json!(ks.collect::<Each<Value>>()),
        ),
        claim("input", found["input"]["name"].clone(), name),
        claim(
            "size of the input",
            found["input"]["size_bytes"].clone(),
            size_bytes,
        ),
        claim(
            "number of rows of the input",
            found["input"]["rows"].clone(),
            input.input.rows,
        ),
    ];
    claims.extend(job.map(|job| claim("job", found["job"].clone(), job.clone())));
    Ok(claims)
}

fn clustering(path: &Path, entry: &ClusterEntry, job: Option<&Value>) -> Result<Vec<Claim>> {
    let found = footer(path, clusters::KEY)?;
    let clusters = &found["clusters"];
    let mut claims = vec![
        claim("kind of clusters", clusters["of"].clone(), entry.of.clone()),
        claim("number of clusters", clusters["k"].clone(), entry.k),
        claim(
            "algorithm",
            clusters["algorithm"].clone(),
            entry.algorithm.clone(),
        ),
        claim(
            "number of restarts",
            clusters["n_init"].clone(),
            entry.n_init,
        ),
        claim(
            "number of clustered rows",
            clusters["rows"].clone(),
            entry.rows,
        ),
        claim(
            "number of values",
            clusters["dimensions"].clone(),
            entry.dimensions,
        ),
        claim("inertia", clusters["inertia"].clone(), json!(entry.inertia)),
    ];
    claims.extend(job.map(|job| claim("job", found["job"].clone(), job.clone())));
    Ok(claims)
}

/// The JSON under a key of a file's footer.
fn footer(path: &Path, key: &str) -> Result<Value> {
    let shard = Shard::open(path, Io::Read)?;
    let text = shard.key_value(key).unwrap_or_default();
    serde_json::from_str(text).map_err(|error| {
        Error::file(
            path,
            format!("its key \"{key}\" is missing or cannot be read: {error}"),
        )
    })
}
