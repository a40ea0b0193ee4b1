//! Pictures of a run as SVG: bars with their spread, curves of percentiles, cost against a number.
//!
//! Text in, text out. A picture is one `<svg>` element without scripts, fonts or links, so that it stands in a page and
//! alone.

mod bars;
mod chart;

use super::results::{Results, Row};

/// Rows with fewer samples have no curve of percentiles.
const CURVE_SAMPLES: usize = 100;

/// A picture and what its file is called.
pub(super) struct Picture {
    /// File name without its ending: letters, digits and dashes.
    pub name: String,
    pub svg: String,
}

/// Every picture of a benchmark: bars for each unit, then what the rows themselves ask for.
pub(super) fn of(results: &Results) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for unit in distinct(results.rows.iter().map(|row| row.unit.clone())) {
        let rows: Vec<&Row> =
            results.rows.iter().filter(|row| row.unit == unit && !row.samples.is_empty()).collect();
        let title = format!("{}, {unit}", results.name);
        if !rows.is_empty() {
            pictures.push(Picture { name: file_name(&title), svg: bars::draw(&title, &rows) });
        }
    }
    let titles = results.rows.iter().filter_map(|row| Some(row.picture.as_ref()?.title.clone()));
    for title in distinct(titles) {
        let is_in = |row: &&Row| row.picture.as_ref().is_some_and(|place| place.title == title);
        let rows: Vec<&Row> = results.rows.iter().filter(is_in).collect();
        let long = format!("{}: {title}", results.name);
        let drawn = if rows.iter().all(|row| row.picture.as_ref().is_some_and(|place| place.at.is_some())) {
            chart::against(&long, &rows)
        } else {
            let rows: Vec<&Row> = rows.into_iter().filter(|row| row.samples.len() >= CURVE_SAMPLES).collect();
            chart::percentiles(&long, &rows)
        };
        pictures.extend(drawn.map(|svg| Picture { name: file_name(&long), svg }));
    }
    pictures
}

/// Each once, in the order of their first appearance.
fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

fn file_name(title: &str) -> String {
    let plain = title.replace('µ', "u").to_lowercase();
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Colours that people with any sight tell apart (Okabe and Ito, 2008).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

/// The element around a picture, with its title.
fn frame(title: &str, width: f64, height: f64, inside: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}{inside}</svg>\n",
        label(10.0, 20.0, "start", &format!("<tspan font-weight=\"bold\">{}</tspan>", escaped(title)))
    )
}

/// Text at a point; `anchor` is `start`, `middle` or `end`. The text may hold elements.
fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn line([x1, y1]: [f64; 2], [x2, y2]: [f64; 2], stroke: &str) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\"/>\n")
}

/// Text as XML and HTML take it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The steps of an axis from 0 to `most`: at most six, each 1, 2 or 5 times a power of ten.
fn steps(most: f64) -> Vec<f64> {
    if !(most.is_finite() && most > 0.0) {
        return vec![0.0];
    }
    let rough = most / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(power * 10.0);
    (0..=5).map(|n| f64::from(n) * step).take_while(|value| *value <= most * 1.000_001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Place;

    fn row(name: &str, at: Option<f64>) -> Row {
        Row {
            name: name.to_owned(),
            unit: "µs".to_owned(),
            samples: (1..=200).map(f64::from).collect(),
            round: 1,
            beside: None,
            picture: Some(Place {
                title: "ADD <by> ports".to_owned(),
                line: name.to_owned(),
                at: at.map(|at| (at, "ports".to_owned())),
            }),
        }
    }

    fn pictures(rows: Vec<Row>) -> Vec<Picture> {
        of(&Results { name: "add-userspace".to_owned(), rows, environment: serde_json::Map::new() })
    }

    #[test]
    fn a_benchmark_has_bars_for_each_unit_and_the_pictures_that_its_rows_ask_for() {
        for (at, shape) in [(None, "p99"), (Some(500.0), "ports")] {
            let all = pictures(vec![row("floor", at), row("ADD", at)]);
            assert_eq!(
                all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
                ["add-userspace-us", "add-userspace-add-by-ports"]
            );
            assert!(all[1].svg.contains(shape), "{}", all[1].svg);
        }
    }

    #[test]
    fn pictures_are_whole_elements_without_stray_signs_or_numbers_that_are_none() {
        let mut empty = row("empty", None);
        empty.samples.clear();
        let mut zero = row("zero", Some(0.0));
        zero.samples = vec![0.0];
        for picture in pictures(vec![row("a & b", None), empty]).iter().chain(&pictures(vec![zero])) {
            let svg = &picture.svg;
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
            assert!(!svg.contains("<by>") && !svg.contains("a & b"), "{svg}");
        }
    }

    #[test]
    fn the_steps_of_an_axis_are_round_numbers() {
        assert_eq!(steps(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(steps(7.0), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(steps(0.0), [0.0]);
    }
}
