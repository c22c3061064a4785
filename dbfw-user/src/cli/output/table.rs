//! Tables of aligned columns.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::words::{DASH, clean, cut, width};

/// Columns of a terminal that nobody made wider.
pub(super) const SCREEN: usize = 80;
/// A column is not made narrower than this.
pub(super) const NARROWEST: usize = 7;
/// Of what is as it should be, needs a look, and is wrong.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const FAIR: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// A description is not made wider than this.
const FOREIGN: usize = 40;
/// A cell is not made wider than this: some of it may be somebody else's text.
const WIDEST: usize = 160;

const GAP: &str = "  ";

/// A column of rows of type `R`: its title, the side its cells lean to, and the cell of a row.
pub(super) struct Column<R> {
    title: &'static str,
    right: bool,
    /// The width in a stream, whose cells are not known in advance.
    width: usize,
    cell: fn(&R, Timestamp) -> Cell,
}

/// A column of words.
pub(super) const fn left<R>(title: &'static str, cell: fn(&R, Timestamp) -> Cell) -> Column<R> {
    Column { title, right: false, width: title.len(), cell }
}

/// A column of numbers.
pub(super) const fn right<R>(title: &'static str, cell: fn(&R, Timestamp) -> Cell) -> Column<R> {
    Column { right: true, ..left(title, cell) }
}

/// A column with a width for a stream.
pub(super) const fn wide<R>(width: usize, column: Column<R>) -> Column<R> {
    Column { width, ..column }
}

impl<R> Column<R> {
    fn header(&self) -> Cell {
        Cell::styled(self.title, Style::new().bold())
    }
}

/// A field of a row.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style.
    pub(super) fn styled(text: &str, style: Style) -> Self {
        Self { text: cut(&clean(text), WIDEST), style }
    }

    /// Text of somebody else's, or its beginning: it must not make the table hard to read.
    pub(super) fn foreign(text: Option<&str>) -> Self {
        cut(&clean(text.unwrap_or(DASH)), FOREIGN).into()
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
    right: [bool; N],
    header: [Cell; N],
    rows: Vec<[Cell; N]>,
    indent: usize,
}

impl<const N: usize> Table<N> {
    /// A table of the rows, as they are at `now`.
    pub(super) fn of<R>(columns: &[Column<R>; N], rows: &[R], now: Timestamp) -> Self {
        let columns = columns.each_ref();
        Self {
            right: columns.map(|column| column.right),
            header: columns.map(Column::header),
            rows: rows.iter().map(|row| columns.map(|column| (column.cell)(row, now))).collect(),
            indent: 0,
        }
    }

    /// The table moved to the right.
    pub(super) fn indented(mut self, by: usize) -> Self {
        self.indent = by;
        self
    }

    /// Cuts the cells of the given columns, in that order and none below its least width, until
    /// the table fits the screen.
    pub(super) fn fit(&mut self, columns: &[(usize, usize)]) {
        self.fit_to(SCREEN, columns);
    }

    /// [`Self::fit`] for a width of its own.
    pub(super) fn fit_to(&mut self, most: usize, columns: &[(usize, usize)]) {
        for &(column, least) in columns {
            let widths = self.widths();
            let total = self.indent + widths.iter().sum::<usize>() + GAP.len() * (N - 1);
            if total <= most {
                return;
            }
            let least = least.max(width(&self.header[column].text));
            let room = widths[column].saturating_sub(total - most).max(least);
            for row in &mut self.rows {
                row[column].text = cut(&row[column].text, room);
            }
        }
    }

    /// The text, header first.
    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        self.lines().map(|row| line(self.right, widths, row, self.indent)).collect()
    }

    fn lines(&self) -> impl Iterator<Item = &[Cell; N]> {
        std::iter::once(&self.header).chain(&self.rows)
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|i| self.lines().map(|row| width(&row[i].text)).fold(0, usize::max))
    }
}

/// The line above the first row of a stream, whose rows are printed before the next one is known.
pub(super) fn stream_header<R, const N: usize>(columns: &[Column<R>; N]) -> String {
    stream_line(columns, &columns.each_ref().map(Column::header))
}

/// The line of a row of a stream.
pub(super) fn stream_row<R, const N: usize>(
    columns: &[Column<R>; N],
    row: &R,
    now: Timestamp,
) -> String {
    stream_line(columns, &columns.each_ref().map(|column| (column.cell)(row, now)))
}

fn stream_line<R, const N: usize>(columns: &[Column<R>; N], row: &[Cell; N]) -> String {
    let columns = columns.each_ref();
    line(columns.map(|column| column.right), columns.map(|column| column.width), row, 0)
}

fn line<const N: usize>(
    right: [bool; N],
    widths: [usize; N],
    row: &[Cell; N],
    indent: usize,
) -> String {
    let mut line = " ".repeat(indent);
    // Spaces wait until something follows them, so that no line ends with one.
    let mut owed = 0;
    for ((right, wide), cell) in right.into_iter().zip(widths).zip(row) {
        let spare = wide.saturating_sub(width(&cell.text));
        owed += if right { spare } else { 0 };
        if !cell.text.is_empty() {
            line.push_str(&" ".repeat(owed));
            owed = 0;
            let style = cell.style;
            line.push_str(&format!("{style}{}{style:#}", cell.text));
        }
        owed += if right { 0 } else { spare };
        owed += GAP.len();
    }
    line.push('\n');
    line
}
