//! The `bovw` command: parses the command line, hands over to the library, reports how it ended.

mod cli;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use bovw::job::{Job, resolved};
use bovw::{Error, Result};
use clap::Parser;

use cli::args::{self, Cli, Command, ManArgs};
use cli::style::Style;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let style = Style::of(cli.global.color, &io::stderr());
            // Where even stderr is gone, the exit status is all that is left to say.
            let _ = writeln!(io::stderr(), "{}", style.error(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Plan(job) => {
            let job = Job::load(&job.job, &job.sets, &cli.global.overrides())?;
            print(resolved::to_toml(&job)?.as_bytes())
        }
        Command::Completions(completions) => print(&args::completions(completions.shell)),
        Command::Man(man) => write_manual(man),
        Command::Run(_) | Command::Inspect(_) | Command::Import(_) => Err(Error::Usage {
            message: "this build has no such command yet".to_owned(),
        }),
    }
}

fn write_manual(man: &ManArgs) -> Result<()> {
    match &man.out {
        Some(dir) => args::man_pages(dir).map_err(|e| Error::io(dir, "write the manual", e)),
        None => {
            let mut page = Vec::new();
            args::man_page(&mut page).map_err(stdout_error)?;
            print(&page)
        }
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    match io::stdout().write_all(bytes) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(stdout_error),
    }
}

fn stdout_error(error: io::Error) -> Error {
    Error::io(Path::new("stdout"), "write", error)
}
