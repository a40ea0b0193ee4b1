//! How much is measured: a look that it works, what a usual run has, or everything.

/// Chosen by `--quick` and `--full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A few turns, seconds in all: proves that it works and says nothing of speed.
    Quick,
    Usual,
    /// Every combination.
    Full,
}

impl Effort {
    /// One of two by whether figures are wanted.
    pub(crate) fn pick<T>(self, quick: T, usual: T) -> T {
        if self == Self::Quick { quick } else { usual }
    }
}
