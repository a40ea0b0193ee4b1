//! Percentiles, and how far a median can be trusted: plain arithmetic on samples, the same for the same samples.

use super::results::Row;

/// How often a median is drawn anew.
const DRAWS: u32 = 2_000;
/// Where every stream of draws begins.
const SEED: u64 = 0x0055_5044_5041_5353;

/// Samples in their order of size.
#[derive(Debug)]
pub(super) struct Sorted(Vec<f64>);

impl Sorted {
    pub(super) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = samples.into_iter().collect();
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    /// The value that `share` of the samples do not exceed; NaN without samples.
    pub(super) fn at(&self, share: f64) -> f64 {
        self.0.get(rank(self.0.len(), share)).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn median(&self) -> f64 {
        self.at(0.5)
    }
}

/// The smallest index that has `share` of `count` at or below it.
fn rank(count: usize, share: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among at most some million samples"
    )]
    let rank = (count as f64 * share).ceil() as usize;
    rank.saturating_sub(1)
}

/// The median of each round. Samples of one round share their luck, so a round counts as one observation.
fn rounds(row: &Row) -> Vec<f64> {
    row.samples.chunks(row.round).map(|round| Sorted::of(round.iter().copied()).median()).collect()
}

/// A figure that was measured: a row's centre, or its ratio to the row that it is held against.
pub(super) struct Figure {
    centre: f64,
    /// The same, drawn anew from the rounds with replacement.
    drawn: Vec<f64>,
}

impl Figure {
    /// `None` without samples. `stream` makes the draws of two figures independent.
    pub(super) fn of(row: &Row, beside: Option<&Row>, stream: u64) -> Option<Self> {
        let (row, beside) = (rounds(row), beside.map(rounds).unwrap_or_default());
        if row.is_empty() {
            return None;
        }
        let mut dice = Dice(SEED ^ stream.wrapping_mul(GOLDEN));
        let figure = |rows: &[f64], others: &[f64]| {
            let centre = Sorted::of(rows.iter().copied()).median();
            let other = Sorted::of(others.iter().copied()).median();
            if others.is_empty() { centre } else { centre / other }
        };
        let drawn = (0..DRAWS).map(|_| {
            let chosen: Vec<usize> = row.iter().map(|_| dice.below(row.len())).collect();
            // Rounds are taken in turn: what slowed one row down slowed the one beside it down too.
            let others = if beside.len() == row.len() {
                chosen.clone()
            } else {
                beside.iter().map(|_| dice.below(beside.len())).collect()
            };
            let pick = |from: &[f64], which: &[usize]| which.iter().map(|at| from[*at]).collect::<Vec<_>>();
            figure(&pick(&row, &chosen), &pick(&beside, &others))
        });
        let drawn = drawn.collect();
        Some(Self { centre: figure(&row, &beside), drawn })
    }

    pub(super) fn centre(&self) -> f64 {
        self.centre
    }

    /// How many times the other one this one is, and the bounds between which 99 of 100 draws lie.
    pub(super) fn over(&self, other: &Self) -> (f64, [f64; 2]) {
        // Nothing before and nothing now, as with packets lost, is no change.
        let ratio = |new: f64, old: f64| if new.total_cmp(&old).is_eq() { 1.0 } else { new / old };
        let drawn = self.drawn.iter().zip(&other.drawn).map(|(new, old)| ratio(*new, *old));
        let drawn = Sorted::of(drawn);
        (ratio(self.centre, other.centre), [drawn.at(0.005), drawn.at(0.995)])
    }
}

/// The step of SplitMix64: 2⁶⁴ over the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea, Flood 2014): enough for draws, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(GOLDEN);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        // The remainder favours small numbers by less than one in 2⁴⁰.
        usize::try_from((z ^ (z >> 31)) % bound).unwrap_or(0)
    }
}

/// Three digits that count: `0.123`, `12.3`, `1234`.
pub(super) fn spoken(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_sample_of_the_nearest_rank() {
        let hundred = Sorted::of((1..=100).rev().map(f64::from));
        assert_eq!([0.5, 0.99, 1.0].map(|share| spoken(hundred.at(share))), ["50.0", "99.0", "100"]);
        assert_eq!(spoken(Sorted::of([7.0]).at(0.999)), "7.00");
        assert!(Sorted::of([]).median().is_nan());
    }

    #[test]
    fn draws_repeat_and_stay_within_their_bound() {
        let draw = || {
            let mut dice = Dice(1);
            (0..100).map(|_| dice.below(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().all(|one| *one < 7));
        assert!((0..7).all(|one| draw().contains(&one)));
    }

    #[test]
    fn figures_are_told_with_three_digits() {
        assert_eq!([0.0, 0.1234, 1.234, 12.34, 1234.5].map(spoken), ["0", "0.123", "1.23", "12.3", "1234"]);
    }
}
