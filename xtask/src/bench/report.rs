//! What a run leaves for people: `tables.md`, a picture in each `*.svg`, and `index.html`, which shows all of it without
//! a network.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::numbers::{Sorted, spoken};
use super::picture::{self, escaped};
use super::results::{self, RAW, Results, Row};

/// The percentiles of the tables.
const SHARES: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];
/// Fewer samples than this have no p99.9.
const RARE_SAMPLES: usize = 1_000;

/// Writes everything that can be told from the raw files of `folder`, and gives the tables.
pub(super) fn write(folder: &Path) -> Result<String> {
    let all = results::read(folder)?;
    let mut markdown = String::new();
    let mut html = String::from(HEAD);
    for one in &all {
        let table = table(one);
        let _ = write!(markdown, "\n## {}\n\n{}\n{}", one.name, as_markdown(&table), surroundings(one));
        let _ = write!(html, "<h2>{}</h2>\n{}", escaped(&one.name), as_html(&table));
        for picture in picture::of(one) {
            put(&folder.join(format!("{}.svg", picture.name)), &picture.svg)?;
            html += &picture.svg;
        }
        let _ = writeln!(
            html,
            "<details><summary>Surroundings</summary><pre>{}</pre></details>",
            escaped(&surroundings(one))
        );
    }
    for (name, text) in texts(folder)? {
        let _ = write!(markdown, "\n## {name}\n\n```text\n{text}```\n");
        let _ = writeln!(html, "<h2>{}</h2>\n<pre>{}</pre>", escaped(&name), escaped(&text));
    }
    html += "</body></html>\n";
    put(&folder.join("tables.md"), &markdown)?;
    put(&folder.join("index.html"), &html)?;
    Ok(markdown)
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Underpass, measured</title>\n<style>\
    body{font-family:sans-serif;margin:2em auto;max-width:70em}table{border-collapse:collapse;margin:1em 0}\
    td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}td:first-child,th:first-child{text-align:left}\
    svg{display:block;margin:1em 0;max-width:100%;height:auto}</style></head><body>\n<h1>Underpass, measured</h1>\n";

/// Results that are text already, by name.
fn texts(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder.join(RAW))? {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.push((name, fs::read_to_string(&path).with_context(|| path.display().to_string())?));
        }
    }
    all.sort();
    Ok(all)
}

/// Headings, then a line for each row.
fn table(results: &Results) -> Vec<Vec<String>> {
    let mut headings = vec!["what".to_owned(), "n".to_owned()];
    headings.extend(SHARES.iter().map(|(_, name)| (*name).to_owned()));
    headings.push("p50 beside".to_owned());
    let line = |row: &Row| {
        let sorted = Sorted::of(row.samples.iter().copied());
        let mut cells = vec![row.name.clone(), row.samples.len().to_string()];
        cells.extend(SHARES.iter().map(|(share, name)| match row.samples.len() {
            0 => String::new(),
            count if *name == "p99.9" && count < RARE_SAMPLES => String::new(),
            _ => format!("{} {}", spoken(sorted.at(*share)), row.unit),
        }));
        cells.push(results.beside(row).map_or_else(String::new, |other| {
            let floor = Sorted::of(other.samples.iter().copied()).median();
            format!("{:.2} × {}", sorted.median() / floor, name_beside(row, other))
        }));
        cells
    };
    std::iter::once(headings).chain(results.rows.iter().map(line)).collect()
}

/// What a row calls the one beside it: in the same picture the name of its line is enough.
fn name_beside<'a>(row: &Row, other: &'a Row) -> &'a str {
    match (&row.picture, &other.picture) {
        (Some(here), Some(there)) if here.title == there.title && here.at == there.at => &there.line,
        _ => &other.name,
    }
}

fn as_markdown(table: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (at, cells) in table.iter().enumerate() {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if at == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
        }
    }
    text
}

fn as_html(table: &[Vec<String>]) -> String {
    let mut text = String::from("<table>\n");
    for (at, cells) in table.iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
        let _ = writeln!(text, "<tr>{}</tr>", cells.collect::<String>());
    }
    text + "</table>\n"
}

/// Where it was measured, one fact a line.
fn surroundings(results: &Results) -> String {
    let fact = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("- {key}: {text}\n"),
        other => format!("- {key}: {other}\n"),
    };
    results.environment.iter().map(fact).collect()
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows and where they were measured, as `bench` writes them.
    const RAW_JSON: &str = r#"{ "environment": { "kernel": "6.18", "steal": 0.5 }, "rows": [
        { "name": "floor", "unit": "µs", "samples": [1.0, 2.0, 3.0] },
        { "name": "ADD", "unit": "µs", "samples": [4.0, 6.0, 5.0], "beside": "floor" } ] }"#;

    #[test]
    fn a_run_folder_becomes_tables_pictures_and_a_page_that_needs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(RAW)).unwrap();
        fs::write(folder.path().join(RAW).join("add-userspace.json"), RAW_JSON).unwrap();
        fs::write(folder.path().join(RAW).join("openflow.txt"), "decode <5 ms\n").unwrap();
        let tables = write(folder.path()).unwrap();
        assert!(
            tables.contains("| ADD | 3 | 5.00 µs | 6.00 µs | 6.00 µs |  | 6.00 µs | 2.50 × floor |"),
            "{tables}"
        );
        assert!(tables.contains("- kernel: 6.18\n- steal: 0.5\n"), "{tables}");
        let page = fs::read_to_string(folder.path().join("index.html")).unwrap();
        assert!(page.contains("<svg ") && page.contains("decode &lt;5 ms"), "{page}");
        assert!(!page.contains("<script") && !page.contains("href") && !page.contains(" src="), "{page}");
        assert!(folder.path().join("add-userspace-us.svg").is_file());
    }

    #[test]
    fn what_is_no_run_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", write(folder.path()).unwrap_err());
        assert!(error.contains("is not the folder of a run"), "{error}");
        fs::create_dir(folder.path().join(RAW)).unwrap();
        fs::write(folder.path().join(RAW).join("add.json"), "{}").unwrap();
        let error = format!("{:#}", write(folder.path()).unwrap_err());
        assert!(error.contains("add.json") && error.contains("rows"), "{error}");
    }
}
