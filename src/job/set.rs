//! `--set key=value`: a piece of job file on the command line.

use super::keys::{self, toml_text};
use super::source::{Source, set_origin};
use crate::error::{Error, Result};

/// The tables that `--set ARGUMENT` stands for, keys and types checked.
pub(super) fn parse(argument: &str) -> Result<toml::Table> {
    let (key, value) = argument
        .split_once('=')
        .ok_or_else(|| refuse(argument, "has no value", argument.trim()))?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() {
        return Err(refuse(argument, "has no key", "KEY"));
    }
    if value.is_empty() {
        return Err(refuse(argument, "has no value", key));
    }
    let text = format!("{} = {}", dotted_key(key), toml_value(value));
    keys::parse(&Source::set(argument, text))
}

/// Lays `over` upon `under`, table by table; lists are replaced as a whole.
pub(super) fn merge(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn refuse(argument: &str, message: &str, key: &str) -> Error {
    Error::JobFile {
        origin: set_origin(argument),
        line: None,
        message: message.to_owned(),
        help: Some(format!("write --set {key}=VALUE")),
    }
}

/// Any word is a key to TOML when it is quoted, so that a strange one is an unknown key and not bad TOML.
fn dotted_key(key: &str) -> String {
    let parts: Vec<String> = key.split('.').map(|part| toml_text(part.trim())).collect();
    parts.join(".")
}

/// The value as typed where it is TOML or means to be; else it is a text that the shell has eaten the quotes of.
fn toml_value(value: &str) -> String {
    let means_to_be_toml = value.starts_with(['[', '{', '"', '\'']);
    if means_to_be_toml || value.parse::<toml::Value>().is_ok() {
        value.to_owned()
    } else {
        toml_text(value)
    }
}
