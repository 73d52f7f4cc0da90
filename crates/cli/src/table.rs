//! Aligned columns for people.

use std::fmt;

/// Rows of text under headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

/// One column of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text, aligned left.
    Text(&'static str),
    /// Numbers, aligned right.
    Number(&'static str),
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Text(heading) | Self::Number(heading) => heading,
        }
    }
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row of one cell per column. Control characters are shown escaped: names come from the wire and
    /// must not steer the terminal.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        assert_eq!(row.len(), self.columns.len(), "a row has one cell per column");
        self.rows.push(row);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([self.columns[column].heading().len()]).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let headings: Vec<String> = self.columns.iter().map(|column| column.heading().to_owned()).collect();
        for row in [&headings].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, column), &width) in row.iter().zip(self.columns).zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                line.push_str(&match column {
                    Column::Text(_) => format!("{cell:<width$}"),
                    Column::Number(_) => format!("{cell:>width$}"),
                });
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` with its control characters escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_their_kind() {
        let mut table = Table::new(&[Column::Text("QUEUE"), Column::Number("READY"), Column::Text("NOTE")]);
        table.row(["mails".into(), "7".into(), "".into()]);
        table.row(["reports-of-the-day".into(), "1234567".into(), "slow".into()]);
        let expected = "\
QUEUE                 READY  NOTE
mails                     7
reports-of-the-day  1234567  slow
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::new(&[Column::Text("TASK")]);
        table.row(["a\u{1b}[2J\nb".into()]);
        assert_eq!(table.to_string(), "TASK\na\\u{1b}[2J\\nb\n");
    }
}
