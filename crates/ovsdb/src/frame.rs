//! Cuts the byte stream into JSON messages.
//!
//! OVSDB has no framing of its own: messages are JSON objects one after another, several or a part of one in
//! a read. The end of an object is found by counting brackets outside strings, each byte once, and only a
//! whole object is parsed. `serde_json`'s `StreamDeserializer` alone would start over at every read of an
//! unfinished message, which is quadratic for the first contents of a large monitor.

use serde_json::Value;
use thiserror::Error;

/// Bytes received and not yet handed out as messages.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where the first message not handed out begins.
    start: usize,
    /// How far `bytes` has been looked at.
    scanned: usize,
    scan: Scan,
    limit: usize,
}

impl Frames {
    /// Takes messages of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, scanned: 0, scan: Scan::default(), limit }
    }

    /// The buffer to append received bytes to, with room for [`READ_BYTES`].
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.bytes.is_empty() {
            // One large message (a first snapshot) must not hold its memory for ever.
            self.bytes.shrink_to(READ_BYTES);
        }
        self.bytes.reserve(READ_BYTES);
        &mut self.bytes
    }

    /// The next whole message, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, FrameError> {
        while let Some(&byte) = self.bytes.get(self.scanned) {
            match self.scan.step(byte) {
                Step::Blank => {
                    self.scanned += 1;
                    self.start = self.scanned;
                }
                Step::Inside => self.scanned += 1,
                Step::End => {
                    self.scanned += 1;
                    let message = serde_json::from_slice(&self.bytes[self.start..self.scanned]);
                    self.start = self.scanned;
                    return message.map(Some).map_err(|error| FrameError::Json(error.to_string()));
                }
                Step::Stray => return Err(FrameError::Stray(byte)),
            }
            if self.scanned - self.start > self.limit {
                return Err(FrameError::TooLarge { limit: self.limit });
            }
        }
        Ok(None)
    }
}

/// The bytes are not a stream of JSON objects of acceptable size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Something other than an object begins.
    #[error("byte {0:#04x} where a JSON object should begin")]
    Stray(u8),
    /// The object's brackets match, but it is not JSON.
    #[error("a message is not JSON: {0}")]
    Json(String),
    /// A message does not end within the limit.
    #[error("a message is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Room made before each read; ovsdb-server writes at most a message at a time and most are far smaller.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Where in a message the scan is.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    text: Text,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

enum Step {
    /// White space between messages.
    Blank,
    /// A byte of a message.
    Inside,
    /// The last byte of a message.
    End,
    /// A byte that cannot begin a message.
    Stray,
}

impl Scan {
    fn step(&mut self, byte: u8) -> Step {
        match self.text {
            Text::Outside => return self.step_outside(byte),
            Text::Escaped => self.text = Text::Inside,
            Text::Inside if byte == b'\\' => self.text = Text::Escaped,
            Text::Inside if byte == b'"' => self.text = Text::Outside,
            Text::Inside => {}
        }
        Step::Inside
    }

    /// Outside of texts brackets count, of both kinds alike: whether they match is the parser's question.
    fn step_outside(&mut self, byte: u8) -> Step {
        match (self.depth, byte) {
            (0, b' ' | b'\t' | b'\r' | b'\n') => return Step::Blank,
            (0, b'{') => self.depth = 1,
            (0, _) => return Step::Stray,
            (1, b']' | b'}') => {
                self.depth = 0;
                return Step::End;
            }
            (_, b']' | b'}') => self.depth -= 1,
            (_, b'[' | b'{') => self.depth += 1,
            (_, b'"') => self.text = Text::Inside,
            _ => {}
        }
        Step::Inside
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn feed(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<Value>, FrameError> {
        frames.space().extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some(message) = frames.next()? {
            messages.push(message);
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_out_the_same_however_the_bytes_are_cut() {
        let expected = vec![json!({"a": "}{\"\\"}), json!({"b": [{"c": []}]}), json!({})];
        let bytes = format!("{}\n{} {}", expected[0], expected[1], expected[2]).into_bytes();
        for size in 1..=bytes.len() {
            let mut frames = Frames::new(1024);
            let mut messages = Vec::new();
            for chunk in bytes.chunks(size) {
                messages.extend(feed(&mut frames, chunk).unwrap());
            }
            assert_eq!(messages, expected, "chunks of {size}");
        }
    }

    #[test]
    fn bad_streams_are_refused() {
        let check = |bytes: &[u8], error| assert_eq!(feed(&mut Frames::new(8), bytes), Err(error));
        check(b"[]", FrameError::Stray(b'['));
        check(b"{} x", FrameError::Stray(b'x'));
        check(br#"{"a":"aaaaaaaa"}"#, FrameError::TooLarge { limit: 8 });
        for bytes in [b"{a}".as_slice(), b"{[}]", b"{]"] {
            assert!(matches!(feed(&mut Frames::new(8), bytes), Err(FrameError::Json(_))));
        }
    }

    #[test]
    fn a_deeply_nested_message_is_an_error_and_not_a_crash() {
        let bytes = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
        assert!(matches!(feed(&mut Frames::new(1 << 20), &bytes), Err(FrameError::Json(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = feed(&mut Frames::new(64), &bytes);
        }
    }
}
