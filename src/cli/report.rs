//! `bovw report`: draws a finished run again, and says where.

use bovw::passes::report;
use bovw::report::{Drawn, REPORT_FILE};
use bovw::{Error, Result};
use serde_json::{Value, json};

use super::args::{GlobalArgs, ReportArgs};
use super::output::{bytes, path_text, print, print_json, shown, table};
use super::style::Style;

pub(crate) fn report(args: &ReportArgs, global: &GlobalArgs) -> Result<()> {
    let drawn = report::draw(&args.dir)?;
    if global.json {
        let mut event = event(&drawn);
        event["event"] = json!("reported");
        return print_json(&event);
    }
    let style = Style::of(global.color, &std::io::stdout());
    let heading = format!("Drawn: {}", shown(&drawn.report));
    let rows = [
        ("report".to_owned(), bytes(drawn.size_bytes)),
        (
            "pictures".to_owned(),
            format!("{} in pictures/", drawn.pictures.len()),
        ),
    ];
    print(format!("{}\n{}", style.bold(heading), table(&rows)))
}

/// What was drawn, for programs.
pub(crate) fn event(drawn: &Drawn) -> Value {
    json!({
        "report": path_text(&drawn.report),
        "size_bytes": drawn.size_bytes,
        "pictures": drawn.pictures,
    })
}

/// A report that could not be drawn, after a run whose results are whole: told, but no failure of the run.
pub(crate) fn warning(error: &Error, dir: &str) -> String {
    format!(
        "warning: the results are whole, but {REPORT_FILE} could not be drawn: {error}\n  help: `bovw report {dir}` tries again"
    )
}
