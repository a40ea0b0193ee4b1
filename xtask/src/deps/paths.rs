//! Reads the paths out of Rust source: what a file names, and on which line.
//!
//! A small lexer, not a parser: comments and literals are skipped, `use` groups are spelled out,
//! everything joined by `::` is a path. It never fails; what it cannot read it passes over.

/// A path that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPath {
    pub(super) segments: Vec<String>,
    /// Counted from 1.
    pub(super) line: usize,
}

/// Every path of two segments or more, and every path in a `use`.
pub(super) fn paths(source: &str) -> Vec<NamedPath> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = match &tokens[at].kind {
            Kind::Word(word) if word == "use" => tree(&tokens, at + 1, &[], &mut found),
            Kind::Word(_) => path(&tokens, at, &mut found),
            Kind::Join if matches!(kind(&tokens, at + 1), Some(Kind::Word(_))) => {
                path(&tokens, at + 1, &mut found)
            }
            _ => at + 1,
        };
    }
    found
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Word(String),
    /// `::`
    Join,
    Other(char),
}

struct Token {
    kind: Kind,
    line: usize,
}

fn kind(tokens: &[Token], at: usize) -> Option<&Kind> {
    tokens.get(at).map(|token| &token.kind)
}

/// Reads `a::b::c` in an expression or type; gives the position after it.
fn path(tokens: &[Token], begin: usize, found: &mut Vec<NamedPath>) -> usize {
    let mut segments = Vec::new();
    let mut at = begin;
    while let Some(Kind::Word(word)) = kind(tokens, at) {
        segments.push(word.clone());
        at += 1;
        if kind(tokens, at) != Some(&Kind::Join) {
            break;
        }
        at += 1;
    }
    if segments.len() > 1 {
        found.push(NamedPath { segments, line: tokens[begin].line });
    }
    at
}

/// Reads one tree of a `use`: a path, and what is below it in braces; gives the position after it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    loop {
        match kind(tokens, at) {
            Some(Kind::Join | Kind::Other('*')) => at += 1,
            Some(Kind::Word(word)) if word == "as" => at += 2,
            Some(Kind::Word(word)) => {
                segments.push(word.clone());
                at += 1;
            }
            Some(Kind::Other('{')) => return group(tokens, at + 1, &segments, found),
            _ => {
                if segments.len() > prefix.len() {
                    found.push(NamedPath { segments, line });
                }
                return at;
            }
        }
    }
}

/// Reads the trees between braces; gives the position after the closing one.
fn group(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    while at < tokens.len() {
        match kind(tokens, at) {
            Some(Kind::Other('}')) => return at + 1,
            Some(Kind::Word(_) | Kind::Join) => at = tree(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_whitespace() {
            first.len_utf8()
        } else if let Some(length) = skipped(rest) {
            length
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token { kind: Kind::Word(rest[..length].to_owned()), line });
            length
        } else if rest.starts_with("::") {
            tokens.push(Token { kind: Kind::Join, line });
            2
        } else {
            tokens.push(Token { kind: Kind::Other(first), line });
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a comment or literal that the text begins with.
fn skipped(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    });
    if let Some(prefix) = prefix {
        let rest = &text[prefix.len()..];
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        return match (prefix.ends_with('r'), hashes) {
            (true, hashes) => Some(prefix.len() + raw_string(rest, hashes)),
            (false, 0) => Some(prefix.len() + string(rest)),
            (false, _) => None,
        };
    }
    character(text)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn raw_string(text: &str, hashes: usize) -> usize {
    let begin = hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    text.get(begin..).and_then(|rest| rest.find(&end)).map_or(text.len(), |at| begin + at + end.len())
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal, told from a lifetime by its closing quote.
fn character(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('\'')?;
    if rest.starts_with('\\') {
        return rest.get(2..)?.find('\'').map(|at| at + 4);
    }
    let width = rest.chars().next()?.len_utf8();
    rest.get(width..)?.starts_with('\'').then_some(width + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[(&str, usize)]) {
        let found: Vec<_> =
            paths(source).into_iter().map(|path| (path.segments.join("::"), path.line)).collect();
        let expected: Vec<_> = expected.iter().map(|(path, line)| ((*path).to_owned(), *line)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn groups_are_spelled_out_with_their_lines() {
        check(
            "use crate::{model::{Mac, OfPort as P},\n  store};\nuse tokio;\npub use a::b::*;",
            &[
                ("crate::model::Mac", 1),
                ("crate::model::OfPort", 1),
                ("crate::store", 2),
                ("tokio", 3),
                ("a::b", 4),
            ],
        );
    }

    #[test]
    fn paths_in_code_are_found() {
        check(
            "fn f(x: &'a crate::plan::Plan) -> u8 { ::std::fs::read(x)?; Vec::<u8>::new(); one }",
            &[("crate::plan::Plan", 1), ("std::fs::read", 1)],
        );
    }

    #[test]
    fn comments_and_literals_are_passed_over() {
        check(
            "// a::b\n/* c::d /* e::f */ */ let s = \"g::h \\\" i::j\"; let r = r#\"k::\"l\"#; let c = ':'; 'x: m::n",
            &[("m::n", 2)],
        );
        check("let q = '\"'; o::p; b\"q::r\"; '\\''; s::t", &[("o::p", 1), ("s::t", 1)]);
    }

    #[test]
    fn unfinished_source_is_read_to_its_end() {
        for source in ["use a::{b", "/* x", "\"abc", "r#\"abc", "use", "a::", "'", "b'"] {
            paths(source);
        }
    }
}
