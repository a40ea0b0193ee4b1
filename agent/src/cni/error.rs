//! CNI error objects (specification §5, "Error") and their codes.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};

use super::Version;

/// A CNI error code. Open: an IPAM plugin may use any number, and it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u32);

impl Code {
    /// The configuration's version is not one of ours.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// A field has a value that we do not carry out.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// The container is unknown or does not exist.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// A `CNI_*` variable is missing or wrong.
    pub const INVALID_ENVIRONMENT: Self = Self(4);
    /// An operation on files, sockets or processes failed.
    pub const IO_FAILURE: Self = Self(5);
    /// Content cannot be decoded.
    pub const UNDECODABLE: Self = Self(6);
    /// The network configuration is wrong.
    pub const INVALID_CONFIG: Self = Self(7);
    /// Try again later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: an ADD would fail.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// STATUS: as 50, and containers that run have limited connectivity.
    pub const LIMITED_CONNECTIVITY: Self = Self(51);
    /// Ours: another station uses the address; details name its MAC.
    pub const ADDRESS_CONFLICT: Self = Self(100);
    /// Ours: the gateway is required and does not answer.
    pub const GATEWAY_SILENT: Self = Self(101);
    /// Ours: OVS refused the port; details are OVS' own words.
    pub const PORT_REFUSED: Self = Self(102);
    /// Ours: the guard could not be installed.
    pub const GUARD_FAILED: Self = Self(103);
    /// Ours: a DEL came while the ADD was under way.
    pub const WITHDRAWN: Self = Self(104);
}

/// One CNI error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    pub code: Code,
    /// One sentence for a person.
    pub msg: String,
    /// The chain of causes; may be empty.
    pub details: String,
}

impl CniError {
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// Adds the causes.
    #[must_use]
    pub fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Adds an error and its causes, joined by `: `.
    #[must_use]
    pub fn caused_by(self, cause: &dyn Error) -> Self {
        let mut details = cause.to_string();
        let mut next = cause.source();
        while let Some(cause) = next {
            details.push_str(": ");
            details.push_str(&cause.to_string());
            next = cause.source();
        }
        self.because(details)
    }

    /// The wrong network configuration: code 7.
    pub fn config(msg: impl Into<String>) -> Self {
        Self::new(Code::INVALID_CONFIG, msg)
    }

    /// The error object as a plugin prints it.
    pub fn to_json(&self, version: Version) -> Vec<u8> {
        let mut object = json!({ "cniVersion": version.as_str(), "code": self.code.0, "msg": self.msg });
        if let (Value::Object(map), false) = (&mut object, self.details.is_empty()) {
            map.insert("details".to_owned(), self.details.clone().into());
        }
        object.to_string().into_bytes()
    }

    /// Reads an error object that another plugin printed; `None` if it is none.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let code = u32::try_from(value.get("code")?.as_u64()?).ok()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self { code: Code(code), msg: text("msg"), details: text("details") })
    }
}

/// `msg`, and the causes after it. They are part of the text, not a source: whoever made this error has joined them.
impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, ": {}", self.details) }
    }
}

impl Error for CniError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_object_round_trips() {
        let error = CniError::new(Code::ADDRESS_CONFLICT, "in use").because("by 02:00:00:00:00:01");
        assert_eq!(CniError::from_json(&error.to_json(Version::V1_0_0)), Some(error));
    }

    #[test]
    fn details_are_left_out_when_there_are_none() {
        let bytes = CniError::new(Code::TRY_AGAIN, "later").to_json(Version::V0_4_0);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, r#"{"cniVersion":"0.4.0","code":11,"msg":"later"}"#);
    }

    #[test]
    fn what_is_no_error_object_is_none() {
        for text in ["", "{}", "[]", r#"{"code":"7"}"#, r#"{"code":-1}"#] {
            assert_eq!(CniError::from_json(text.as_bytes()), None, "{text}");
        }
    }
}
