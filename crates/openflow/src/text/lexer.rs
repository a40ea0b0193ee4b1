//! Cutting `key=value,key(nested),word` into pairs.
//!
//! Owns the one rule of the syntax: pairs end at a comma or blank outside parentheses and brackets. Pieces are
//! slices of the text, so that errors can say where they stand.

/// One pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair<'t> {
    /// All of it.
    pub(crate) text: &'t str,
    /// The word in front.
    pub(crate) key: &'t str,
    /// What stands in the parentheses right after the key.
    pub(crate) inner: Option<&'t str>,
    /// What follows `=` or `:`, or the closing parenthesis.
    pub(crate) value: Option<&'t str>,
}

impl<'t> Pair<'t> {
    /// The argument, be it `key(x)`, `key:x` or `key=x`.
    pub(crate) fn argument(&self) -> Option<&'t str> {
        self.inner.or(self.value)
    }
}

/// The pairs of a text.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'t> {
    rest: &'t str,
}

impl<'t> Pairs<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { rest: text }
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = Pair<'t>;

    fn next(&mut self) -> Option<Pair<'t>> {
        let text = self.rest.trim_start_matches(is_separator);
        if text.is_empty() {
            self.rest = "";
            return None;
        }
        let (pair, rest) = text.split_at(end_of_pair(text));
        self.rest = rest;
        Some(split_pair(pair))
    }
}

fn is_separator(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

/// Where the pair at the front ends: the first separator outside brackets.
fn end_of_pair(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_separator(c) => return at,
            _ => {}
        }
    }
    text.len()
}

fn split_pair(text: &str) -> Pair<'_> {
    let key_end = text.find([':', '=', '(']).unwrap_or(text.len());
    let (key, rest) = text.split_at(key_end);
    let Some(after) = rest.strip_prefix('(') else {
        let value = rest.strip_prefix(['=', ':']);
        return Pair { text, key, inner: None, value };
    };
    let close = closing(after);
    let (inner, tail) = after.split_at(close);
    let tail = tail.strip_prefix(')').unwrap_or(tail);
    let value = if tail.is_empty() { None } else { Some(tail.strip_prefix(['=', ':']).unwrap_or(tail)) };
    Pair { text, key, inner: Some(inner), value }
}

/// Where the parenthesis that was opened before `text` closes.
fn closing(text: &str) -> usize {
    let mut depth = 1_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Pair, Pairs};

    fn check(text: &str, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let pairs: Vec<_> =
            Pairs::new(text).map(|Pair { key, inner, value, .. }| (key, inner, value)).collect();
        assert_eq!(pairs, expected, "{text}");
    }

    #[test]
    fn pairs_end_outside_brackets_only() {
        check("a=1, b:2\tc", &[("a", None, Some("1")), ("b", None, Some("2")), ("c", None, None)]);
        check("ct(commit,exec(a,b)),x", &[("ct", Some("commit,exec(a,b)"), None), ("x", None, None)]);
        check("check_pkt_larger(9)->reg0[0]", &[("check_pkt_larger", Some("9"), Some("->reg0[0]"))]);
        check("packet_type=(1,0x800)", &[("packet_type", None, Some("(1,0x800)"))]);
        check("", &[]);
    }

    #[test]
    fn unbalanced_brackets_end_with_the_text() {
        check("ct(commit", &[("ct", Some("commit"), None)]);
        check("a),b", &[("a)", None, None), ("b", None, None)]);
    }
}
