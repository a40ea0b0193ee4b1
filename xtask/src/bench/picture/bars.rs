//! Bars: the median of each row, with a whisker from its 5th to its 95th percentile.

use std::fmt::Write as _;

use super::{colour, escaped, frame, label, line, steps};
use crate::bench::numbers::{Sorted, spoken};
use crate::bench::results::Row;

const WIDTH: f64 = 960.0;
/// Where the bars begin; the names stand before it.
const LEFT: f64 = 450.0;
/// Where the longest whisker ends; its figure stands behind it.
const RIGHT: f64 = 890.0;
const TOP: f64 = 40.0;
const BAR: f64 = 22.0;

pub(super) fn draw(title: &str, rows: &[&Row]) -> String {
    let spreads: Vec<[f64; 3]> = rows
        .iter()
        .map(|row| {
            let sorted = Sorted::of(row.samples.iter().copied());
            [0.05, 0.5, 0.95].map(|share| sorted.at(share))
        })
        .collect();
    let most = spreads.iter().map(|[_, _, high]| *high).fold(0.0, f64::max);
    let x = |value: f64| if most > 0.0 { LEFT + (RIGHT - LEFT) * value / most } else { LEFT };
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let y = |at: usize| TOP + BAR * at as f64;
    let bottom = y(rows.len()) + 4.0;
    let mut inside = String::new();
    for step in steps(most) {
        inside += &line([x(step), TOP - 4.0], [x(step), bottom], "#ddd");
        inside += &label(x(step), bottom + 16.0, "middle", &spoken(step));
    }
    for (at, (row, [low, middle, high])) in rows.iter().zip(&spreads).enumerate() {
        let (top, centre) = (y(at), y(at) + BAR / 2.0);
        inside += &label(LEFT - 8.0, centre + 4.0, "end", &escaped(&row.name));
        let _ = writeln!(
            inside,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\" opacity=\"0.6\"/>",
            top + 4.0,
            x(*middle) - LEFT,
            BAR - 8.0,
            // One colour: what differs is said by the names.
            colour(0)
        );
        inside += &line([x(*low), centre], [x(*high), centre], "black");
        for end in [low, high] {
            inside += &line([x(*end), centre - 4.0], [x(*end), centre + 4.0], "black");
        }
        inside += &label(x(*high) + 6.0, centre + 4.0, "start", &spoken(*middle));
    }
    inside += &label(RIGHT, bottom + 32.0, "end", "bar: median; whisker: 5th to 95th percentile");
    frame(title, WIDTH, bottom + 44.0, &inside)
}
