//! Two runs held against each other: a ratio for each row, how far it can be trusted, and whether anything became worse.
//!
//! A row that has a floor is compared by its ratio to that floor, so that another speed of the machine cancels out.
//! The floor itself is shown and not judged. The bounds come from draws of whole rounds (see [`Figure`]): 99 of 100 lie between them. They cannot know what
//! differs from run to run, so a row is worse only if its better bound is beyond the tolerance too.

use std::fmt::Write as _;

use super::numbers::{Figure, spoken};
use super::results::{Results, Row};

/// Keys of the environment that must agree before absolute figures mean anything.
const SAME: [&str; 4] = ["kernel", "processor", "processors", "datapath"];

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Worse,
    Better,
    /// Nothing that noise could not have done.
    Same,
    /// What others are held against: it tells of the machine.
    Floor,
    /// In one run only, or without samples in one.
    Alone,
    /// Of one round in one of the runs: nobody knows what noise does to it.
    Once,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Worse => "**worse**",
            Self::Better => "better",
            Self::Same => "no difference",
            Self::Floor => "a floor, not judged",
            Self::Alone => "in one run only",
            Self::Once => "measured once, not judged",
        }
    }
}

/// What came out.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Markdown.
    pub text: String,
    /// How many rows became worse.
    pub worse: usize,
}

/// Compares every row of both; `tolerance` is a share (0.1 is a tenth).
pub(super) fn compare(old: &[Results], new: &[Results], tolerance: f64) -> Comparison {
    let mut text = format!(
        "Less is better. 99 of 100 draws lie between the bounds; worse is what is beyond {} % with both.\n\n\
         | what | old | new | new / old | bounds | |\n|---|---|---|---|---|---|\n",
        spoken(tolerance * 100.0)
    );
    let mut worse = 0;
    let mut notes = String::new();
    for new in new {
        let Some(old) = old.iter().find(|old| old.name == new.name) else {
            let _ = writeln!(notes, "- {} was not measured in the old run", new.name);
            continue;
        };
        notes.push_str(&differences(old, new));
        for row in &new.rows {
            let (line, verdict) = line(old, new, row, tolerance);
            text.push_str(&line);
            worse += usize::from(verdict == Verdict::Worse);
        }
        for row in old.rows.iter().filter(|row| new.row(&row.name).is_none()) {
            let _ = writeln!(text, "| {}: {} | | | | | {} |", old.name, row.name, Verdict::Alone.word());
        }
    }
    for old in old.iter().filter(|old| !new.iter().any(|new| new.name == old.name)) {
        let _ = writeln!(notes, "- {} was not measured in the new run", old.name);
    }
    if !notes.is_empty() {
        let _ = write!(text, "\n{notes}");
    }
    Comparison { text, worse }
}

fn line(old: &Results, new: &Results, row: &Row, tolerance: f64) -> (String, Verdict) {
    let name = format!("{}: {}", new.name, row.name);
    let found = old.row(&row.name).filter(|before| before.unit == row.unit);
    let both = found.and_then(|before| {
        let floors = (old.beside(before), new.beside(row));
        // With a floor in one run only there is no ratio to compare.
        let (before_floor, floor) =
            if let (Some(a), Some(b)) = floors { (Some(a), Some(b)) } else { (None, None) };
        let unit = floor.map_or_else(|| row.unit.clone(), |floor| format!("× {}", floor.name));
        Some((Figure::of(before, before_floor, 1)?, Figure::of(row, floor, 2)?, unit))
    });
    let Some((before, after, unit)) = both else {
        return (format!("| {name} | | | | | {} |\n", Verdict::Alone.word()), Verdict::Alone);
    };
    let (ratio, bounds) = after.over(&before);
    let is_floor =
        row.beside.is_none() && new.rows.iter().any(|other| other.beside.as_ref() == Some(&row.name));
    let is_single = |row: &Row| row.samples.len() < 2 * row.round;
    let verdict = if is_floor {
        Verdict::Floor
    } else if is_single(row) || old.row(&row.name).is_some_and(is_single) {
        Verdict::Once
    } else {
        verdict(bounds, tolerance)
    };
    let text = format!(
        "| {name} | {} {unit} | {} {unit} | {ratio:.3} | {:.3} to {:.3} | {} |\n",
        spoken(before.centre()),
        spoken(after.centre()),
        bounds[0],
        bounds[1],
        verdict.word()
    );
    (text, verdict)
}

fn verdict([low, high]: [f64; 2], tolerance: f64) -> Verdict {
    if low > 1.0 + tolerance {
        Verdict::Worse
    } else if high < 1.0 / (1.0 + tolerance) {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

/// What both runs should have had in common and have not.
fn differences(old: &Results, new: &Results) -> String {
    let mut text = String::new();
    for key in SAME {
        let (before, after) = (old.environment.get(key), new.environment.get(key));
        if before != after {
            let say =
                |value: Option<&serde_json::Value>| value.map_or("not told".to_owned(), ToString::to_string);
            let _ = writeln!(text, "- {}: {key} was {}, is {}", new.name, say(before), say(after));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: f64 = 0.1;

    /// A row whose samples lie evenly within a tenth of `centre`, in an order that repeats.
    fn row(name: &str, centre: f64, beside: Option<&str>) -> Row {
        let samples = (0..40).map(|n| centre * (0.95 + f64::from(n * 17 % 40) / 400.0)).collect();
        Row {
            name: name.to_owned(),
            unit: "µs".to_owned(),
            samples,
            round: 1,
            beside: beside.map(str::to_owned),
            picture: None,
        }
    }

    fn run(rows: Vec<Row>) -> Vec<Results> {
        vec![Results { name: "add-userspace".to_owned(), rows, environment: serde_json::Map::new() }]
    }

    fn check(old: Vec<Row>, new: Vec<Row>) -> Comparison {
        compare(&run(old), &run(new), TENTH)
    }

    #[test]
    fn what_takes_a_third_longer_is_worse() {
        let found = check(vec![row("ADD", 10.0, None)], vec![row("ADD", 13.3, None)]);
        assert_eq!(found.worse, 1, "{}", found.text);
        assert!(found.text.contains("**worse**"), "{}", found.text);
    }

    #[test]
    fn what_takes_a_third_less_is_better_and_no_regression() {
        let found = check(vec![row("ADD", 13.3, None)], vec![row("ADD", 10.0, None)]);
        assert_eq!(found.worse, 0, "{}", found.text);
        assert!(found.text.contains("| better |"), "{}", found.text);
    }

    #[test]
    fn the_same_samples_and_a_change_within_the_tolerance_are_no_difference() {
        for centre in [10.0, 10.3, 9.7] {
            let found = check(vec![row("ADD", 10.0, None)], vec![row("ADD", centre, None)]);
            assert_eq!(found.worse, 0, "{}", found.text);
            assert!(found.text.contains("no difference"), "{}", found.text);
        }
    }

    #[test]
    fn samples_that_scatter_widely_prove_nothing() {
        let wide = |name: &str, times: f64| {
            let samples = (0..8).map(|n| times * f64::from(1 + n * n)).collect();
            Row { samples, ..row(name, 1.0, None) }
        };
        let found = check(vec![wide("ADD", 1.0)], vec![wide("ADD", 1.5)]);
        assert_eq!(found.worse, 0, "{}", found.text);
    }

    #[test]
    fn a_slower_machine_is_no_regression_where_there_is_a_floor() {
        let old = vec![row("floor", 5.0, None), row("ADD", 10.0, Some("floor"))];
        let slower = vec![row("floor", 10.0, None), row("ADD", 20.0, Some("floor"))];
        let found = check(old, slower);
        assert_eq!(found.worse, 0, "{}", found.text);
        assert!(
            found.text.contains("| add-userspace: ADD | 2.00 × floor | 2.00 × floor | 1.000 |"),
            "{}",
            found.text
        );
    }

    #[test]
    fn samples_of_one_round_count_once() {
        // Two rounds of a hundred: one of the new ones was disturbed from beginning to end.
        let of = |first: f64, second: f64| Row {
            samples: [vec![first; 100], vec![second; 100]].concat(),
            round: 100,
            ..row("UDP", 1.0, None)
        };
        let found = check(vec![of(10.0, 10.0)], vec![of(10.0, 30.0)]);
        assert_eq!(found.worse, 0, "{}", found.text);
    }

    #[test]
    fn nothing_lost_before_and_after_is_no_difference_but_something_lost_is_worse() {
        let lost = |count: f64| Row { samples: vec![count; 5], ..row("lost", 1.0, None) };
        assert_eq!(check(vec![lost(0.0)], vec![lost(0.0)]).worse, 0);
        assert_eq!(check(vec![lost(0.0)], vec![lost(3.0)]).worse, 1);
    }

    #[test]
    fn what_was_measured_once_is_not_judged() {
        let once = |took: f64| Row { samples: vec![took], ..row("processor time", 1.0, None) };
        let found = check(vec![once(10.0)], vec![once(30.0)]);
        assert!(found.worse == 0 && found.text.contains("measured once"), "{}", found.text);
    }

    #[test]
    fn rows_and_machines_that_differ_are_told_of() {
        let found = check(vec![row("gone", 1.0, None)], vec![row("new", 1.0, None)]);
        assert_eq!(found.text.matches("in one run only").count(), 2, "{}", found.text);
        let mut other = run(vec![row("ADD", 1.0, None)]);
        other[0].environment.insert("kernel".to_owned(), "6.12".into());
        let found = compare(&run(vec![row("ADD", 1.0, None)]), &other, TENTH);
        assert!(found.text.contains("kernel was not told, is \"6.12\""), "{}", found.text);
    }

    #[test]
    fn the_same_runs_give_the_same_text() {
        let once = || check(vec![row("ADD", 10.0, None)], vec![row("ADD", 11.0, None)]).text;
        assert_eq!(once(), once());
    }
}
