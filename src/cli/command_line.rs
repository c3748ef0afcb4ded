//! Commands as people type them: what to type next, told so that a shell takes it. Runs nothing.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::ValueEnum;

use super::args::{GlobalArgs, JobArgs};

/// A command on the same job, as it can be typed in the same folder: the program as it was called, `words`, the job, and all
/// that was said of it.
pub(crate) fn again(words: &str, job: &JobArgs, global: &GlobalArgs) -> String {
    let program = std::env::args_os().next();
    let program = program.map_or("bovw".to_owned(), |program| {
        quoted_path(Path::new(&program))
    });
    let mut command = format!("{program} {words} {}", quoted_path(&job.job));
    for set in &job.sets {
        command.push_str(&format!(" --set {}", quoted(set)));
    }
    if let Some(memory) = &global.memory {
        command.push_str(&format!(" --memory {}", quoted(memory)));
    }
    if let Some(threads) = global.threads {
        command.push_str(&format!(" --threads {threads}"));
    }
    for (is_given, flag) in [(global.json, "json"), (global.quiet, "quiet")] {
        if is_given {
            command.push_str(&format!(" --{flag}"));
        }
    }
    let choices = [
        ("progress", global.progress.to_possible_value()),
        ("color", global.color.to_possible_value()),
    ];
    for (flag, choice) in choices {
        if let Some(choice) = choice.filter(|choice| choice.get_name() != "auto") {
            command.push_str(&format!(" --{flag} {}", choice.get_name()));
        }
    }
    command
}

/// A path as a shell takes it. One that starts like an option is kept from being one; bytes that are no UTF-8 are escaped.
fn quoted_path(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let Ok(text) = std::str::from_utf8(bytes) else {
        let escaped = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
        return format!("$'{}'", escaped.collect::<String>());
    };
    match text.strip_prefix('-') {
        Some(_) => quoted(&format!("./{text}")),
        None => quoted(text),
    }
}

/// An argument as a shell takes it.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("a/b.toml"), "a/b.toml");
        assert_eq!(quoted("my job.toml"), "'my job.toml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted_path(Path::new("-job.toml")), "./-job.toml");
        let strange = std::ffi::OsStr::from_bytes(b"\xff'.toml");
        assert_eq!(
            quoted_path(Path::new(strange)),
            r"$'\xff\x27\x2e\x74\x6f\x6d\x6c'"
        );
    }
}
