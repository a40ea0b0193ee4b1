//! Typed reading of one JSON object. Every complaint names the field's path, its value and what was expected.
//!
//! A field whose value is `null` counts as absent, as it does for the Go plugins that configurations are written for.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::error::CniError;

/// One object and where it stands in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The configuration itself.
    pub(super) fn root(map: &'a Map<String, Value>) -> Self {
        Self { path: String::new(), map }
    }

    /// The object at `path`; an error if `value` is no object.
    pub(super) fn of(path: String, value: &'a Value) -> Result<Self, CniError> {
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            other => Err(wrong(&path, other, "an object")),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// `guard.mode` for `mode` of the object at `guard`.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, CniError> {
        self.read(key, "a text", Value::as_str)
    }

    /// A text that is not empty; empty counts as absent.
    pub(super) fn filled(&self, key: &str) -> Result<Option<&'a str>, CniError> {
        Ok(self.text(key)?.filter(|text| !text.is_empty()))
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, CniError> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A whole number within `range`; `what` says what it is.
    pub(super) fn number<N>(
        &self,
        key: &str,
        range: RangeInclusive<N>,
        what: &str,
    ) -> Result<Option<N>, CniError>
    where
        N: TryFrom<u64> + PartialOrd + std::fmt::Display,
    {
        let expected = format!("{what} from {} to {}", range.start(), range.end());
        self.read(key, &expected, |value| {
            value.as_u64().and_then(|number| N::try_from(number).ok()).filter(|number| range.contains(number))
        })
    }

    /// A span of time as text, such as `"100ms"`, within `range`.
    pub(super) fn duration(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, CniError> {
        let expected = format!("a time from {:?} to {:?}, such as \"100ms\"", range.start(), range.end());
        self.read(key, &expected, |value| {
            value.as_str().and_then(parse_duration).filter(|span| range.contains(span))
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, CniError> {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        self.read(key, &format!("one of {}", names.join(", ")), |value| {
            let text = value.as_str()?;
            words.iter().find(|(name, _)| *name == text).map(|(_, meaning)| *meaning)
        })
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, CniError> {
        self.get(key).map(|value| Self::of(self.path_of(key), value)).transpose()
    }

    pub(super) fn list(&self, key: &str) -> Result<Option<&'a [Value]>, CniError> {
        self.read(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// An error about the value of `key`.
    pub(super) fn wrong(&self, key: &str, expected: &str) -> CniError {
        wrong(&self.path_of(key), self.map.get(key).unwrap_or(&Value::Null), expected)
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        meaning: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, CniError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        meaning(value).map(Some).ok_or_else(|| self.wrong(key, expected))
    }
}

/// `vlan is 5000: expected a VLAN id from 0 to 4094`.
pub(super) fn wrong(path: &str, value: &Value, expected: &str) -> CniError {
    CniError::config(format!("{path} is {}: expected {expected}", shortened(&value.to_string())))
}

/// A value as an error shows it: long ones are cut.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain("...".chars()).collect()
}

/// `"100ms"`, `"2s"`, `"1m"`: one whole number and its unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        _ => return None,
    };
    unit.checked_mul(number)
}

/// Characters of a wrong value that an error repeats: a line of a terminal.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(parse_duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        for text in ["", "100", "ms", "-1s", "1.5s", "1 s", "99999999999s", "1d", "１s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn long_values_are_cut_in_errors() {
        let error = wrong("mac", &Value::from("é".repeat(1000)), "a MAC address");
        assert!(error.msg.len() < 300, "{error}");
        assert!(error.msg.ends_with("...: expected a MAC address"));
    }
}
