//! Lines: percentiles, on axes that give each further nine and each doubling the same room, and cost against a number.

use std::fmt::Write as _;

use super::{colour, distinct, escaped, frame, label, line, steps};
use crate::bench::numbers::{Sorted, spoken};
use crate::bench::results::Row;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 370.0;

/// The marks of the axis of percentiles, and how many points a curve has.
const NINES: [(f64, &str); 6] =
    [(0.0, "min"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];
const POINTS: u32 = 120;

/// How values become heights.
#[derive(Clone, Copy)]
enum Scale {
    /// From 0 to the most.
    Even { most: f64 },
    /// Each doubling has the same room: a tail is a hundred times the median.
    Doublings { least: f64, most: f64 },
}

impl Scale {
    fn height(self, value: f64) -> f64 {
        let share = match self {
            Self::Even { most } if most > 0.0 => value / most,
            Self::Doublings { least, most } if most > least => (value / least).ln() / (most / least).ln(),
            _ => 0.0,
        };
        BOTTOM - (BOTTOM - TOP) * share.clamp(0.0, 1.0)
    }

    fn steps(self) -> Vec<f64> {
        match self {
            Self::Even { most } => steps(most),
            Self::Doublings { least, most } => {
                let powers = (-3..9).map(|power| 10_f64.powi(power));
                let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|times| times * power));
                all.filter(|step| (least..=most).contains(step)).collect()
            }
        }
    }
}

/// A line with its name; a point may have a whisker.
struct Line {
    name: String,
    points: Vec<Point>,
}

struct Point {
    x: f64,
    y: f64,
    whisker: Option<[f64; 2]>,
}

/// A curve for each row; `None` without rows.
pub(super) fn percentiles(title: &str, rows: &[&Row]) -> Option<String> {
    let most_samples = rows.iter().map(|row| row.samples.len()).max()?;
    let nines = |share: f64| -(1.0 - share).log10();
    // One sample of `n` says nothing of what is rarer than one in `n`.
    #[expect(clippy::cast_precision_loss, reason = "at most some million samples")]
    let reach = |count: usize| (count as f64).log10();
    let curve = |row: &&Row| {
        let sorted = Sorted::of(row.samples.iter().copied());
        let reach = reach(row.samples.len());
        let point = |n: u32| {
            let x = reach * f64::from(n) / f64::from(POINTS);
            Point { x, y: sorted.at(1.0 - 10_f64.powf(-x)), whisker: None }
        };
        Line { name: name(row), points: (0..=POINTS).map(point).collect() }
    };
    let lines: Vec<Line> = rows.iter().map(curve).collect();
    let marks = NINES.iter().map(|(share, name)| (nines(*share), (*name).to_owned()));
    let end = reach(most_samples);
    let values = || lines.iter().flat_map(|line| &line.points).map(|point| point.y);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let scale = if least > 0.0 { Scale::Doublings { least, most } } else { Scale::Even { most } };
    Some(chart(
        title,
        (&rows[0].unit, ""),
        end,
        &marks.filter(|(x, _)| *x <= end).collect::<Vec<_>>(),
        (&lines, scale),
    ))
}

/// A line for each name, its medians with whiskers from the 5th to the 95th percentile; `None` without rows.
pub(super) fn against(title: &str, rows: &[&Row]) -> Option<String> {
    let place = |row: &&&Row| row.picture.as_ref().and_then(|place| place.at.as_ref()).map(|(at, _)| *at);
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| !row.samples.is_empty()).collect();
    let axis = rows.first()?.picture.as_ref()?.at.as_ref()?.1.clone();
    let point = |row: &&Row| {
        let sorted = Sorted::of(row.samples.iter().copied());
        Some(Point { x: place(&row)?, y: sorted.median(), whisker: Some([sorted.at(0.05), sorted.at(0.95)]) })
    };
    let of_line = |line: String| {
        let points = rows.iter().filter(|row| name(row) == line).filter_map(point).collect();
        Line { name: line, points }
    };
    let lines: Vec<Line> = distinct(rows.iter().map(|row| name(row))).into_iter().map(of_line).collect();
    let mut marks: Vec<f64> = rows.iter().filter_map(|row| place(&row)).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let end = marks.last().copied().unwrap_or(1.0);
    let marks: Vec<_> = marks.into_iter().map(|at| (at, spoken(at))).collect();
    let highest = |point: &Point| point.whisker.map_or(point.y, |[_, high]| high);
    let most = lines.iter().flat_map(|line| &line.points).map(highest).fold(0.0, f64::max);
    Some(chart(title, (&rows[0].unit, &axis), end, &marks, (&lines, Scale::Even { most })))
}

fn name(row: &Row) -> String {
    row.picture.as_ref().map_or_else(|| row.name.clone(), |place| place.line.clone())
}

fn chart(
    title: &str,
    (unit, axis): (&str, &str),
    end: f64,
    marks: &[(f64, String)],
    (lines, scale): (&[Line], Scale),
) -> String {
    let x = |value: f64| if end > 0.0 { LEFT + (RIGHT - LEFT) * value / end } else { LEFT };
    let y = |value: f64| scale.height(value);
    let mut inside = String::new();
    for step in scale.steps() {
        inside += &line([LEFT, y(step)], [RIGHT, y(step)], "#ddd");
        inside += &label(LEFT - 6.0, y(step) + 4.0, "end", &spoken(step));
    }
    for (at, mark) in marks {
        inside += &line([x(*at), TOP], [x(*at), BOTTOM], "#ddd");
        inside += &label(x(*at), BOTTOM + 16.0, "middle", mark);
    }
    inside += &label(LEFT - 6.0, TOP - 10.0, "end", &escaped(unit));
    inside += &label(RIGHT, BOTTOM + 34.0, "end", &escaped(axis));
    for (at, one) in lines.iter().enumerate() {
        let colour = colour(at);
        let points: Vec<String> =
            one.points.iter().map(|point| format!("{:.1},{:.1}", x(point.x), y(point.y))).collect();
        let _ = writeln!(
            inside,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        );
        for point in &one.points {
            let Some([low, high]) = point.whisker else { continue };
            inside += &line([x(point.x), y(low)], [x(point.x), y(high)], colour);
            let _ = writeln!(
                inside,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(point.x),
                y(point.y)
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of lines")]
        let height = TOP + 10.0 + 18.0 * at as f64;
        inside += &line([RIGHT + 14.0, height], [RIGHT + 34.0, height], colour);
        inside += &label(RIGHT + 40.0, height + 4.0, "start", &escaped(&one.name));
    }
    frame(title, WIDTH, HEIGHT, &inside)
}
