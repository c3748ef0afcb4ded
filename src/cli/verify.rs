//! `bovw verify`: checks a finished run, tells every finding as it is made, and sums up what was checked.

use bovw::passes::progress::Progress;
use bovw::passes::verify::{self, Check, Finding, Verified};
use bovw::{Error, Result};
use serde_json::json;

use super::args::{GlobalArgs, VerifyArgs};
use super::output::{bytes, count, path_text, print, print_json, shown, table};
use super::progress;
use super::style::Style;

pub(crate) fn verify(args: &VerifyArgs, global: &GlobalArgs) -> Result<()> {
    let counters = Progress::default();
    let mut gone = None;
    let verified = progress::show(global, &counters, || {
        verify::verify(&args.dir, args.sample, &counters, &mut |finding| {
            gone = gone.take().or(tell(finding, global).err());
        })
    })?;
    // Findings that nobody could be told must not pass for none.
    gone.map_or(Ok(()), Err)?;
    if global.json {
        print_json(&to_json(args, &verified))?;
    } else {
        print(to_text(args, &verified, global))?;
    }
    match verified.n_problems() {
        0 => Ok(()),
        n => Err(Error::Data {
            message: format!("{} is not as its run left it: {}", shown(&args.dir), problems(n)),
            help: Some(
                "remove what is damaged and run the same `bovw run` again: it makes that anew; --fresh starts over"
                    .to_owned(),
            ),
        }),
    }
}

fn tell(finding: &Finding, global: &GlobalArgs) -> Result<()> {
    let kind = if finding.is_problem {
        "problem"
    } else {
        "note"
    };
    let place = &finding.place;
    if global.json {
        return print_json(&json!({
            "event": kind,
            "check": finding.check,
            "file": path_text(&place.file),
            "column": place.column,
            "row_group": place.row_group,
            "row": place.row,
            "message": finding.message,
        }));
    }
    print(format!("{kind}: {place}: {}\n", finding.message))
}

fn to_json(args: &VerifyArgs, verified: &Verified) -> serde_json::Value {
    let problems: serde_json::Map<String, serde_json::Value> = Check::ALL
        .iter()
        .zip(verified.problems)
        .map(|(check, n)| {
            (
                json!(check).as_str().unwrap_or_default().to_owned(),
                json!(n),
            )
        })
        .collect();
    json!({
        "event": "verified",
        "dir": path_text(&args.dir),
        "is_fine": verified.n_problems() == 0,
        "problems": problems,
        "notes": verified.notes,
        "files": verified.files,
        "file_bytes": verified.file_bytes,
        "inputs": verified.inputs,
        "input_bytes": verified.input_bytes,
        "missing_inputs": verified.missing_inputs,
        "footers": verified.footers,
        "vectors": verified.vectors,
        "cluster_rows": verified.cluster_rows,
        "recounted_images": verified.recounted_images,
        "recounted_clusters": verified.recounted_clusters,
    })
}

fn to_text(args: &VerifyArgs, verified: &Verified, global: &GlobalArgs) -> String {
    let checked = |check: Check| match check {
        Check::Files => format!(
            "{} whole, {}",
            count(verified.files),
            bytes(verified.file_bytes)
        ),
        Check::Inputs => {
            let missing = match verified.missing_inputs {
                0 => String::new(),
                n => format!("; {} not there any more", count(n)),
            };
            let (n, size) = (count(verified.inputs), bytes(verified.input_bytes));
            format!("{n} unchanged, {size}{missing}")
        }
        Check::Provenance => format!("{} footers beside the manifest", count(verified.footers)),
        Check::Counts => {
            let (vectors, clusters) = (count(verified.vectors), count(verified.cluster_rows));
            format!("{vectors} vectors and {clusters} cluster rows added up")
        }
        Check::Recount => {
            let (images, clusters) = (verified.recounted_images, verified.recounted_clusters);
            let (images, clusters) = (count(images), count(clusters));
            format!("{images} images and {clusters} clusters by brute force in float64")
        }
    };
    let names = ["files", "inputs", "provenance", "counts", "recount"];
    let rows = Check::ALL.iter().zip(names).zip(verified.problems);
    let mut rows: Vec<(String, String)> = rows
        .map(|((&check, name), n)| {
            let result = if n == 0 {
                "fine".to_owned()
            } else {
                problems(n)
            };
            (name.to_owned(), format!("{}: {result}", checked(check)))
        })
        .collect();
    if verified.notes > 0 {
        rows.push(("notes".to_owned(), count(verified.notes)));
    }
    let style = Style::of(global.color, &std::io::stdout());
    let heading = match verified.n_problems() {
        0 => format!("Fine: {}", shown(&args.dir)),
        _ => format!("Not fine: {}", shown(&args.dir)),
    };
    format!("{}\n{}", style.bold(heading), table(&rows))
}

fn problems(n: u64) -> String {
    match n {
        1 => "1 problem".to_owned(),
        n => format!("{} problems", count(n)),
    }
}
