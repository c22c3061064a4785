//! Tables of aligned columns.

use anstyle::{AnsiColor, Style};

use super::words::{clean, cut, width};

/// Columns of a terminal that nobody made wider.
pub(super) const SCREEN: usize = 80;
/// A column is not made narrower than this.
const NARROWEST: usize = 7;
/// Of what is as it should be, needs a look, and is wrong.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const FAIR: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

const GAP: &str = "  ";

/// A column: its title and to which side its cells lean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    right: bool,
}

/// A column of words.
pub(super) const fn left(title: &'static str) -> Column {
    Column { title, right: false }
}

/// A column of numbers.
pub(super) const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

/// A field of a row.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style.
    pub(super) fn styled(text: &str, style: Style) -> Self {
        Self { text: clean(text), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text.as_ref(), Style::new())
    }
}

/// Rows under a header, each column as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[Cell; N]>,
    indent: usize,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new(), indent: 0 }
    }

    /// The table moved to the right.
    pub(super) fn indented(mut self, by: usize) -> Self {
        self.indent = by;
        self
    }

    /// Adds a row.
    pub(super) fn row(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }

    /// Cuts the cells of the given columns, in that order, until the table fits the screen.
    pub(super) fn fit(&mut self, columns: &[usize]) {
        for &column in columns {
            let widths = self.widths();
            let total = self.indent + widths.iter().sum::<usize>() + GAP.len() * (N - 1);
            if total <= SCREEN {
                return;
            }
            let least = NARROWEST.max(self.columns[column].title.len());
            let room = widths[column].saturating_sub(total - SCREEN).max(least);
            for row in &mut self.rows {
                row[column].text = cut(&row[column].text, room);
            }
        }
    }

    /// The text, header first.
    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        let header = self.columns.map(|column| Cell::styled(column.title, Style::new().bold()));
        std::iter::once(&header)
            .chain(&self.rows)
            .map(|row| line(&self.columns, &widths, row, self.indent))
            .collect()
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|i| {
            let cells = self.rows.iter().map(|row| width(&row[i].text));
            cells.fold(self.columns[i].title.len(), usize::max)
        })
    }
}

/// Rows that are printed before the next one is known: the widths are given.
#[derive(Debug)]
pub(super) struct Stream<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
}

impl<const N: usize> Stream<N> {
    /// Columns of at least these widths.
    pub(super) const fn new(columns: [Column; N], widths: [usize; N]) -> Self {
        Self { columns, widths }
    }

    /// The line above the first row.
    pub(super) fn header(&self) -> String {
        let bold = Style::new().bold();
        self.row(&self.columns.map(|column| Cell::styled(column.title, bold)))
    }

    /// The line of a row.
    pub(super) fn row(&self, row: &[Cell; N]) -> String {
        line(&self.columns, &self.widths, row, 0)
    }
}

fn line<const N: usize>(
    columns: &[Column; N],
    widths: &[usize; N],
    row: &[Cell; N],
    indent: usize,
) -> String {
    let mut line = " ".repeat(indent);
    // Spaces wait until something follows them, so that no line ends with one.
    let mut owed = 0;
    for ((column, wide), cell) in columns.iter().zip(widths).zip(row) {
        let spare = wide.saturating_sub(width(&cell.text));
        owed += if column.right { spare } else { 0 };
        if !cell.text.is_empty() {
            line.push_str(&" ".repeat(owed));
            owed = 0;
            let style = cell.style;
            line.push_str(&format!("{style}{}{style:#}", cell.text));
        }
        owed += if column.right { 0 } else { spare };
        owed += GAP.len();
    }
    line.push('\n');
    line
}
