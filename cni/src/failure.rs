//! Errors of the shim's own, and how they are printed: one CNI error object each.
//!
//! Errors of the agent and of IPAM plugins never pass through here; they are printed as they come.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use agent_api::cni::v1::Verb;
use tonic::Status;

/// CNI: invalid or missing environment variables.
pub(crate) const INVALID_ENVIRONMENT: u32 = 4;
/// CNI: an operation on a file or socket failed.
pub(crate) const IO_FAILURE: u32 = 5;
/// CNI: content cannot be decoded.
pub(crate) const UNDECODABLE: u32 = 6;
/// CNI: try again later.
pub(crate) const TRY_AGAIN: u32 = 11;
/// CNI: STATUS says that an ADD would fail.
pub(crate) const NOT_AVAILABLE: u32 = 50;

/// Why the shim cannot give an answer of the agent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u32,
    msg: String,
    details: String,
}

impl Failure {
    /// A failure with one sentence for a person.
    pub(crate) fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The agent did not take or not finish the call.
    pub(crate) fn away(msg: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(TRY_AGAIN, msg).because(chain(cause))
    }

    /// The stream ended with a status: its words and its causes, without the codes that gRPC prints beside them.
    pub(crate) fn refused(msg: impl Into<String>, status: &Status) -> Self {
        let words = match status.message() {
            "" => status.code().description(),
            message => message,
        };
        Self::new(TRY_AGAIN, msg).because(with_causes(words.to_owned(), status.source()))
    }

    /// A system call on our own behalf failed.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::new(IO_FAILURE, format!("the plugin cannot {what}")).because(error.to_string())
    }

    /// Adds the cause.
    #[must_use]
    pub(crate) fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Adds a second thing that went wrong after the first.
    #[must_use]
    pub(crate) fn and(mut self, next: &Failure) -> Self {
        let parts = [self.details.as_str(), next.msg.as_str(), next.details.as_str()];
        self.details = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        self
    }

    /// STATUS has a code of its own for "not now".
    #[must_use]
    pub(crate) fn for_verb(mut self, verb: Verb) -> Self {
        if verb == Verb::Status && self.code == TRY_AGAIN {
            self.code = NOT_AVAILABLE;
        }
        self
    }

    /// The CNI error object. `cni_version` is digits and dots.
    pub(crate) fn to_json(&self, cni_version: &str) -> String {
        let mut json = format!(r#"{{"cniVersion":"{cni_version}","code":{},"msg":"#, self.code);
        push_string(&mut json, &self.msg);
        if !self.details.is_empty() {
            json.push_str(r#","details":"#);
            push_string(&mut json, &self.details);
        }
        json.push('}');
        json
    }
}

/// An error and its causes in one line. Transport errors repeat their cause in their own text at times; a repetition is
/// left out.
fn chain(error: &dyn Error) -> String {
    with_causes(error.to_string(), error.source())
}

fn with_causes(mut text: String, mut next: Option<&(dyn Error + 'static)>) -> String {
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Appends a JSON string (RFC 8259 §7).
fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => json.extend(['\\', char]),
            '\n' => json.push_str("\\n"),
            '\0'..='\x1f' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            _ => json.push(char),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_object_escapes_what_json_forbids() {
        let failure = Failure::new(TRY_AGAIN, "a \"b\"").because("c\\d\n\u{1}");
        assert_eq!(
            failure.to_json("1.0.0"),
            r#"{"cniVersion":"1.0.0","code":11,"msg":"a \"b\"","details":"c\\d\n\u0001"}"#
        );
    }

    #[test]
    fn details_are_left_out_when_there_are_none() {
        assert_eq!(Failure::new(4, "m").to_json("0.3.1"), r#"{"cniVersion":"0.3.1","code":4,"msg":"m"}"#);
    }

    #[test]
    fn a_status_is_told_in_its_own_words() {
        let mut status = Status::unknown("the connection ended");
        status.set_source(std::sync::Arc::new(io::Error::other("broken pipe")));
        let expected = Failure::new(TRY_AGAIN, "away").because("the connection ended: broken pipe");
        assert_eq!(Failure::refused("away", &status), expected);
        let bare = Failure::refused("away", &Status::cancelled(""));
        assert_eq!(bare, Failure::new(TRY_AGAIN, "away").because("The operation was cancelled"));
    }

    #[test]
    fn status_has_its_own_code_for_not_now() {
        let failure = Failure::new(TRY_AGAIN, "away");
        assert_eq!(failure.for_verb(Verb::Status), Failure::new(NOT_AVAILABLE, "away"));
        assert_eq!(Failure::new(TRY_AGAIN, "away").for_verb(Verb::Add), Failure::new(TRY_AGAIN, "away"));
    }
}
