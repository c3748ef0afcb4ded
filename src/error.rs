//! The one error type: what went wrong, where in the data, and what the user can do about it.
//!
//! Everything that a user's files, jobs and disks can cause is an [`Error`]; a programmer's mistake is an assertion.

use std::fmt;
use std::path::{Path, PathBuf};

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can end a command. [`Error::exit_code`] says with which status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The job file, or a `--set`, is not a job: bad TOML, an unknown key, a wrong type.
    #[error("{origin}{}: {message}{}", at_line(*line), help_text(help))]
    JobFile {
        /// The job file's path, or the `--set` that was given.
        origin: String,
        /// Line in the file, counted from 1.
        line: Option<usize>,
        /// What is wrong.
        message: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// A key of the job has a value that cannot work, alone or together with others or with the data.
    #[error("{key}: {message}{}", help_text(help))]
    Setting {
        /// The key, as `table.key`.
        key: &'static str,
        /// What is wrong.
        message: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// A command line that cannot work.
    #[error("{message}")]
    Usage {
        /// What is wrong, and what to do.
        message: String,
    },
    /// The data as a whole cannot be used: no rows, no patches.
    #[error("{message}{}", help_text(help))]
    Data {
        /// What is wrong.
        message: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// A file's contents are not what they should be.
    #[error("{place}: {message}{}", help_text(help))]
    File {
        /// Which file, and where in it.
        place: Place,
        /// What is wrong.
        message: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// An image that cannot be used, where `input.on_bad_image = "fail"`.
    #[error(
        "{place}: bad image: {reason}\n  help: input.on_bad_image = \"zero\" keeps such rows with a zero vector, \"drop\" leaves them out"
    )]
    BadImage {
        /// Which row of which file.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// Finished, with more bad images than `input.max_bad` allows.
    #[error("{bad} of {total} images are bad, more than input.max_bad = {allowed} allows; {} lists them", list.display())]
    TooManyBad {
        /// Bad images.
        bad: u64,
        /// All images.
        total: u64,
        /// The limit, as the job has it.
        allowed: String,
        /// The folder where they are listed.
        list: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}{}", path.display(), io_help(action, source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as an infinitive: "read", "create the folder".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The output directory holds something that this job must not touch.
    #[error("{}: {message}{}", dir.display(), help_text(help))]
    OtherJob {
        /// The output directory.
        dir: PathBuf,
        /// What is there.
        message: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// A worker panicked. A mistake in this program, or in a library it uses, met by this input.
    #[error(
        "{stage} stage{}: internal error: {message}\n  help: please report this together with the file",
        near(place)
    )]
    Panicked {
        /// The stage whose worker it was.
        stage: &'static str,
        /// What it was working on.
        place: Option<Place>,
        /// The panic's message.
        message: String,
    },
    /// Stopped on request.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The process exit status: 1 failed, 2 bad usage or job, 3 too many bad images, 4 another job's output, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::JobFile { .. } | Error::Setting { .. } | Error::Usage { .. } => 2,
            Error::TooManyBad { .. } => 3,
            Error::OtherJob { .. } => 4,
            Error::Interrupted => 130,
            Error::Data { .. }
            | Error::File { .. }
            | Error::BadImage { .. }
            | Error::Io { .. }
            | Error::Panicked { .. } => 1,
        }
    }

    /// Where in the data it happened, if it is about the data.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Error::File { place, .. } | Error::BadImage { place, .. } => Some(place),
            Error::Panicked { place, .. } => place.as_ref(),
            _ => None,
        }
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Error {
        Error::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }

    /// An [`Error::File`] about `place`, without help.
    pub fn file(place: impl Into<Place>, message: impl fmt::Display) -> Error {
        Error::File {
            place: place.into(),
            message: message.to_string(),
            help: None,
        }
    }

    /// An [`Error::Setting`] about `key`.
    pub fn setting(
        key: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Error {
        let help: String = help.into();
        Error::Setting {
            key,
            message: message.into(),
            help: (!help.is_empty()).then_some(help),
        }
    }
}

/// A place in the data: a file, and as much more as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Row group in the file, from 0.
    pub row_group: Option<usize>,
    /// Row in the file, from 0.
    pub row: Option<u64>,
    /// Column.
    pub column: Option<String>,
}

impl Place {
    /// A whole file.
    pub fn file(file: &Path) -> Place {
        Place {
            file: file.to_owned(),
            row_group: None,
            row: None,
            column: None,
        }
    }

    /// This file, in a row group.
    pub fn row_group(mut self, row_group: usize) -> Place {
        self.row_group = Some(row_group);
        self
    }

    /// This file, at a row.
    pub fn row(mut self, row: u64) -> Place {
        self.row = Some(row);
        self
    }

    /// This file, in a column.
    pub fn column(mut self, column: impl Into<String>) -> Place {
        self.column = Some(column.into());
        self
    }
}

impl From<&Path> for Place {
    fn from(file: &Path) -> Place {
        Place::file(file)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(column) = &self.column {
            write!(f, ", column \"{column}\"")?;
        }
        if let Some(row_group) = self.row_group {
            write!(f, ", row group {row_group}")?;
        }
        if let Some(row) = self.row {
            write!(f, ", row {row}")?;
        }
        Ok(())
    }
}

/// What a caught panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "panic without a message".to_owned()
    }
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}"))
        .unwrap_or_default()
}

fn help_text(help: &Option<String>) -> String {
    help.as_ref()
        .map(|help| format!("\n  help: {help}"))
        .unwrap_or_default()
}

fn near(place: &Option<Place>) -> String {
    place
        .as_ref()
        .map(|place| format!(", {place}"))
        .unwrap_or_default()
}

fn io_help(action: &str, source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    let reads = ["open", "read", "list", "map"]
        .iter()
        .any(|verb| action.starts_with(verb));
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "\n  help: free some space and run the same command again; finished files are kept"
        }
        ErrorKind::FileTooLarge => {
            "\n  help: raise the limit on file sizes (ulimit -f) and run the same command again; finished files are kept"
        }
        ErrorKind::NotFound if !reads => {
            "\n  help: the folder is gone; was it removed meanwhile? Running the same command again makes it anew"
        }
        ErrorKind::PermissionDenied if reads => "\n  help: make it readable for you",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "\n  help: choose another place for the output, or make this one writable"
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory if !reads => {
            "\n  help: a file is in the way: move it, or choose another folder"
        }
        _ => "",
    }
}
