//! The command line: what can be typed, and how it looks. Everything it does is done by the library.

pub(crate) mod args;
pub(crate) mod command_line;
pub(crate) mod evaluate;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod stream;
pub(crate) mod style;
pub(crate) mod synth;
pub(crate) mod task;
pub(crate) mod verify;
pub(crate) mod watched;
