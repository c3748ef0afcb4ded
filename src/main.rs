//! The `bovw` command: parses the command line, hands over to the library, reports how it ended.

mod cli;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use bovw::{Error, Result};
use clap::Parser;

use cli::args::{self, Cli, Command, ManArgs};
use cli::output::print;
use cli::process;
use cli::style::Style;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match process::guarded(|| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever asked for it has been told what to do next.
        Err(error @ Error::Interrupted) => ExitCode::from(error.exit_code()),
        Err(error) => {
            let style = Style::of(cli.global.color, &io::stderr());
            // Where even stderr is gone, the exit status is all that is left to say.
            let _ = writeln!(io::stderr(), "{}", style.error(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => cli::run::run(args, global),
        Command::Plan(args) => cli::plan::plan(args, global),
        Command::Inspect(args) => cli::inspect::inspect(args, global),
        Command::Import(args) => cli::import::import(args, global),
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
