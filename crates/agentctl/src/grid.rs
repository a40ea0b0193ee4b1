//! Tables without lines: a heading, columns two spaces apart, cells that wrap where the terminal ends.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table};

use crate::screen::harmless;

/// A table in the making.
pub(crate) struct Grid {
    heading: Vec<&'static str>,
    /// Columns whose cells should not be broken, the dearest first.
    whole: &'static [&'static str],
    rows: Vec<Vec<Field>>,
}

/// One cell; its text is harmless, whoever wrote it.
pub(crate) struct Field {
    text: String,
    mood: Mood,
    right: bool,
}

/// What a cell's colour says. Never the only place where it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Plain,
    Good,
    Warning,
    Bad,
}

impl Field {
    pub(crate) fn new(text: impl Into<String>, mood: Mood) -> Self {
        Self { text: harmless(&text.into()).into_owned(), mood, right: false }
    }

    /// A number: set to the right.
    pub(crate) fn number(number: u64) -> Self {
        Self::right(number.to_string())
    }

    /// What is set to the right as numbers are.
    pub(crate) fn right(text: impl Into<String>) -> Self {
        Self { right: true, ..Self::new(text, Mood::Plain) }
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Self::new(text, Mood::Plain)
    }
}

impl Grid {
    pub(crate) fn new(heading: impl IntoIterator<Item = &'static str>) -> Self {
        Self { heading: heading.into_iter().collect(), whole: &[], rows: Vec::new() }
    }

    /// Names the columns whose cells should not be broken, the dearest first: addresses are made to be copied.
    #[must_use]
    pub(crate) fn whole(self, columns: &'static [&'static str]) -> Self {
        Self { whole: columns, ..self }
    }

    pub(crate) fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        self.rows.push(fields.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, at most `width` columns wide, without spaces at the ends of lines.
    pub(crate) fn render(&self, width: Option<u16>, coloured: bool) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if coloured {
            table.enforce_styling()
        } else {
            table.force_no_tty()
        };
        match width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if !self.heading.is_empty() {
            table.set_header(self.heading.iter().map(|word| Cell::new(word).add_attribute(Attribute::Bold)));
        }
        for row in &self.rows {
            table.add_row(row.iter().map(Field::cell));
        }
        let columns = table.column_count();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 < columns { GAP } else { 0 }));
        }
        if let Some(width) = width {
            self.keep_whole(&mut table, width);
        }
        table.trim_fmt()
    }

    /// Fixes the dear columns at their content's width as long as the others keep a little room each.
    fn keep_whole(&self, table: &mut Table, width: u16) {
        let contents = table.column_max_content_widths();
        let mut free: Vec<u16> = contents.iter().map(|content| (*content).min(LEAST_COLUMN)).collect();
        for name in self.whole {
            let Some(index) = self.heading.iter().position(|heading| heading == name) else { continue };
            let (Some(content), Some(least)) = (contents.get(index), free.get_mut(index)) else { continue };
            let before = std::mem::replace(least, *content);
            let needed: u32 = free.iter().map(|column| u32::from(*column) + u32::from(GAP)).sum();
            // The last column has no gap after it.
            if needed > u32::from(width) + u32::from(GAP) {
                if let Some(least) = free.get_mut(index) {
                    *least = before;
                }
            } else if let Some(column) = table.column_mut(index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
}

impl Field {
    fn cell(&self) -> Cell {
        let cell = Cell::new(&self.text);
        let cell = if self.right { cell.set_alignment(CellAlignment::Right) } else { cell };
        match self.mood {
            Mood::Plain => cell,
            Mood::Good => cell.fg(Color::Green),
            Mood::Warning => cell.fg(Color::Yellow),
            Mood::Bad => cell.fg(Color::Red),
        }
    }
}

/// What a column keeps when others are kept whole.
const LEAST_COLUMN: u16 = 6;

/// Spaces between columns.
const GAP: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Grid {
        let mut grid = Grid::new(["NAME", "COUNT", "WHY"]);
        grid.row(["a".into(), Field::number(7), "some words that need more room than there is".into()]);
        grid.row(["bb".into(), Field::number(1234), Field::new("ok", Mood::Good)]);
        grid
    }

    #[test]
    fn a_table_wraps_at_the_width() {
        let text = sample().render(Some(40), false);
        assert!(text.lines().all(|line| line.chars().count() <= 40 && line == line.trim_end()), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn dear_columns_are_kept_whole_where_there_is_room() {
        let grid = || {
            let mut grid = Grid::new(["ID", "WORDS", "MAC"]).whole(&["MAC", "ID"]);
            grid.row(["a-name-of-23-characters".into(), "some words".into(), "02:00:5e:00:53:01".into()]);
            grid
        };
        assert!(grid().render(Some(50), false).contains("a-name-of-23-characters"));
        let narrow = grid().render(Some(44), false);
        assert!(
            narrow.contains("02:00:5e:00:53:01") && !narrow.contains("a-name-of-23-characters"),
            "{narrow}"
        );
    }

    #[test]
    fn without_a_width_every_row_is_one_line() {
        let text = sample().render(None, false);
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn colours_are_only_where_they_are_asked_for() {
        assert!(!sample().render(Some(80), false).contains('\u{1b}'));
        assert!(sample().render(Some(80), true).contains('\u{1b}'));
    }
}
