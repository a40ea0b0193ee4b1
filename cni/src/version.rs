//! The versions of CNI that we speak, and the one thing that is read of a configuration: its `cniVersion`.

use std::str;

/// Every version, oldest first.
pub(crate) const SUPPORTED: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The newest version.
pub(crate) const NEWEST: &str = SUPPORTED[SUPPORTED.len() - 1];

/// The answer to VERSION.
pub(crate) fn reply(cni_version: &str) -> String {
    format!(r#"{{"cniVersion":"{cni_version}","supportedVersions":["{}"]}}"#, SUPPORTED.join(r#"",""#))
}

/// The value of the top-level key `cniVersion`, if it looks like a version. A scan, not a parser: what is not JSON gives
/// `None` or something that looks like a version, and the agent, which does parse, has the say.
pub(crate) fn of_config(json: &[u8]) -> Option<&str> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let (text, end) = string(json, at)?;
                let colon = skip_blank(json, end);
                if depth == 1 && text == b"cniVersion" && json.get(colon) == Some(&b':') {
                    let (value, _) = string(json, skip_blank(json, colon + 1))?;
                    return plausible(value);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The raw content of the string whose opening quote is at `open`, and the position after its closing quote.
fn string(json: &[u8], open: usize) -> Option<(&[u8], usize)> {
    if json.get(open) != Some(&b'"') {
        return None;
    }
    let start = open + 1;
    let mut at = start;
    loop {
        match json.get(at)? {
            b'"' => return Some((json.get(start..at)?, at + 1)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn skip_blank(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Digits and dots, and short: safe to print inside JSON.
fn plausible(value: &[u8]) -> Option<&str> {
    let fine = (1..=MAX_VERSION_LENGTH).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    fine.then(|| str::from_utf8(value).ok()).flatten()
}

/// Three numbers of three digits with their dots, and some room.
const MAX_VERSION_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, expected: Option<&str>) {
        assert_eq!(of_config(config.as_bytes()), expected, "{config}");
    }

    #[test]
    fn the_top_level_version_is_found_wherever_it_stands() {
        check(r#"{"cniVersion":"1.0.0","name":"a"}"#, Some("1.0.0"));
        check("{ \"name\" : \"a\",\n\t\"cniVersion\" : \"0.3.1\" }", Some("0.3.1"));
        check(r#"{"prevResult":{"cniVersion":"0.4.0"},"cniVersion":"1.1.0"}"#, Some("1.1.0"));
        check(r#"{"a":[{"cniVersion":"9"}],"name":"\"cniVersion\":\\","cniVersion":"1.1.0"}"#, Some("1.1.0"));
    }

    #[test]
    fn what_is_no_version_is_not_taken() {
        check("", None);
        check("}{", None);
        check(r#"{"cniVersion":1}"#, None);
        check(r#"{"cniVersion":"1.0.0"#, None);
        check(r#"{"cniVersion":"1.0\u0022"}"#, None);
        check(r#"{"cniVersion":""}"#, None);
        check(r#"{"cniVersion":"1.0.0.0.0.0.0.0.0.0.0"}"#, None);
        check(r#"{"name":"cniVersion","x":"1.0.0"}"#, None);
        check(r#"{"args":{"cniVersion":"1.0.0"}}"#, None);
        check("\"\\", None);
    }

    #[test]
    fn no_damage_makes_the_scan_panic() {
        let config = br#"{"a":["x\"",{"cniVersion":"9"}],"cniVersion" : "1.1.0","b":{}}"#;
        assert_eq!(of_config(config), Some("1.1.0"));
        for at in 0..config.len() {
            // Cut there, or one byte replaced by each of those that mean something.
            let (head, tail) = config.split_at(at);
            let _ = of_config(head);
            for byte in br#"{}[]":,\ 0"#.iter().chain(&[0, 0xff]) {
                let damaged = [head, &[*byte], tail.get(1..).unwrap_or_default()].concat();
                let _ = of_config(&damaged);
            }
        }
    }

    #[test]
    fn the_answer_to_version_names_all_four() {
        assert_eq!(
            reply("1.0.0"),
            r#"{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}"#
        );
    }
}
