//! Whether output is coloured, and the few ways in which it is. Decides once a stream; prints nothing.

use std::fmt::Display;
use std::io::IsTerminal;

use clap::builder::styling::{AnsiColor, Style as Ansi};

use super::args::Color;

/// How text is set off on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    uses_color: bool,
}

impl Style {
    /// For `stream`, given what `--color` and the environment say.
    pub(crate) fn of(color: Color, stream: &impl IsTerminal) -> Style {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Style {
            uses_color: uses_color(color, stream.is_terminal(), set("NO_COLOR") || is_dumb),
        }
    }

    /// What matters.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    /// What may be overlooked.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().dimmed(), text)
    }

    /// What is wrong.
    pub(crate) fn red(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// An error as the last thing that a command says.
    pub(crate) fn error(self, error: impl Display) -> String {
        let text = error.to_string();
        let painted: Vec<String> = text.lines().map(|line| self.help_line(line)).collect();
        format!("{} {}", self.red("error:"), painted.join("\n"))
    }

    fn help_line(self, line: &str) -> String {
        match line.strip_prefix("  help: ") {
            Some(help) => format!("  {} {help}", self.bold("help:")),
            None if line.starts_with("  ") => self.dim(line),
            None => line.to_owned(),
        }
    }

    fn paint(self, style: Ansi, text: impl Display) -> String {
        if self.uses_color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }
}

/// `--color` is the nearer wish, so it wins over the environment.
fn uses_color(color: Color, is_terminal: bool, environment_forbids: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_terminal && !environment_forbids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_that_does_not_forbid_it_unless_asked_for() {
        assert!(uses_color(Color::Auto, true, false));
        assert!(!uses_color(Color::Auto, true, true));
        assert!(!uses_color(Color::Auto, false, false));
        assert!(uses_color(Color::Always, false, true));
        assert!(!uses_color(Color::Never, true, false));
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        let plain = Style { uses_color: false };
        assert_eq!(plain.error("a: b\n  help: c"), "error: a: b\n  help: c");
        let colored = Style { uses_color: true };
        assert_eq!(colored.bold("x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
