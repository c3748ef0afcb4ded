//! The `bovw` command: parses the command line, hands over to the library, reports how it ended.

mod cli;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use bovw::{Error, Result};
use clap::Parser;
use serde_json::json;

use cli::args::{self, Cli, Command, ManArgs};
use cli::output::{path_text, print, print_json};
use cli::process;
use cli::style::Style;

fn main() -> ExitCode {
    let cli = Cli::parse();
    process::survive_file_limits();
    let Err(error) = process::guarded(|| run(&cli)) else {
        return ExitCode::SUCCESS;
    };
    if cli.global.json {
        // Where stdout is gone, stderr and the exit status still tell.
        let _ = print_json(&error_event(&error));
    }
    // Whoever interrupted it has been told what to do next.
    if !matches!(error, Error::Interrupted) {
        let style = Style::of(cli.global.color, &io::stderr());
        let _ = writeln!(io::stderr(), "{}", style.error(&error));
    }
    ExitCode::from(error.exit_code())
}

/// An error as the last line of `--json`.
fn error_event(error: &Error) -> serde_json::Value {
    let message = error.to_string();
    let (message, help) = match message.split_once("\n  help: ") {
        Some((message, help)) => (message, Some(help)),
        None => (message.as_str(), None),
    };
    let place = error.place();
    json!({
        "event": "error",
        "exit_code": error.exit_code(),
        "message": message,
        "help": help,
        "file": place.map(|place| path_text(&place.file)),
        "column": place.and_then(|place| place.column.clone()),
        "row_group": place.and_then(|place| place.row_group),
        "row": place.and_then(|place| place.row),
    })
}

fn run(cli: &Cli) -> Result<()> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => cli::run::run(args, global),
        Command::Plan(args) => cli::plan::plan(args, global),
        Command::Task(command) => cli::task::task(command, global),
        Command::Inspect(args) => cli::inspect::inspect(args, global),
        Command::Evaluate(args) => cli::evaluate::evaluate(args, global),
        Command::Report(args) => cli::report::report(args, global),
        Command::Verify(args) => cli::verify::verify(args, global),
        Command::Import(args) => cli::import::import(args, global),
        Command::Stream(args) => cli::stream::stream(args, global),
        Command::Synth(args) => cli::synth::synth(args, global),
        Command::Completions(args) => print(args::completions(args.shell)),
        Command::Man(args) => write_manual(args),
    }
}

fn write_manual(man: &ManArgs) -> Result<()> {
    match &man.out {
        Some(dir) => args::man_pages(dir).map_err(|e| Error::io(dir, "write the manual", e)),
        None => {
            let mut page = Vec::new();
            args::man_page(&mut page).map_err(|e| Error::io(Path::new("stdout"), "write", e))?;
            print(page)
        }
    }
}
