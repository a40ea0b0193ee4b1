//! How errors are shown to people: one line, causes behind colons. The only place that walks a chain of causes.

use std::error::Error;

/// `what failed: cause: cause of the cause`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
