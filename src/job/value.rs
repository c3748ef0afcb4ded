//! Judging single values of a job: ranges, and names out of a few. The refusals are worded here, once for all keys.

use super::nearest::{nearest, quoted_choice};
use crate::error::{Error, Result};

/// Largest whole number where nothing else bounds it: what TOML can write.
pub(super) const MAX_WHOLE: u64 = i64::MAX as u64;

/// The member of `known` with that name; the names in `later` are of the contract, and not built yet.
pub(super) fn choose<T: Copy>(
    key: &'static str,
    name: &str,
    known: &[(&str, T)],
    later: &[&str],
) -> Result<T> {
    if let Some((_, value)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(*value);
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    if later.contains(&name) {
        return Err(not_yet(key, &format!("\"{name}\""), &quoted_choice(&names)));
    }
    let choice = quoted_choice(&names);
    let help = match nearest(name, names.iter().chain(later).copied()) {
        Some(near) if later.contains(&near) => {
            format!("did you mean \"{near}\"? This version does not have it yet, it has {choice}")
        }
        Some(near) if names.len() == 1 => format!("did you mean \"{near}\"?"),
        Some(near) => format!("did you mean \"{near}\"? It can be {choice}"),
        None if later.is_empty() => format!("it can be {choice}"),
        None => format!("this version has {choice}"),
    };
    Err(Error::setting(
        key,
        format!("\"{name}\" is not known"),
        help,
    ))
}

/// The refusal of something that the contract has and this version has not.
pub(super) fn not_yet(key: &'static str, typed: &str, works: &str) -> Error {
    Error::setting(
        key,
        format!("{typed} is asked for, and this version of bovw does not have it yet"),
        format!("this version has {works}"),
    )
}

/// `value`, or `default` where there is none, from `min` to `max`.
pub(super) fn whole(
    key: &'static str,
    value: Option<i64>,
    default: u64,
    min: u64,
    max: u64,
) -> Result<u64> {
    value.map_or(Ok(default), |value| in_range(key, value, min, max))
}

/// `value`, from `min` to `max`.
pub(super) fn in_range(key: &'static str, value: i64, min: u64, max: u64) -> Result<u64> {
    match u64::try_from(value) {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => {
            let range = if max == MAX_WHOLE {
                format!("of at least {min}")
            } else {
                format!("from {min} to {max}")
            };
            Err(Error::setting(
                key,
                format!("{value} is not possible"),
                format!("give a whole number {range}"),
            ))
        }
    }
}

/// `text`, refused where it is there and empty.
pub(super) fn not_empty(key: &'static str, text: Option<String>) -> Result<Option<String>> {
    match text {
        Some(text) if text.is_empty() => Err(Error::setting(
            key,
            "is empty",
            "give a name, or leave it out",
        )),
        text => Ok(text),
    }
}
