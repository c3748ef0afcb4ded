//! The command line: what can be typed, and how it looks. Everything it does is done by the library.

pub(crate) mod args;
pub(crate) mod style;
