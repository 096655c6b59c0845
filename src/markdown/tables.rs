//! Tables: a grid of cells, written when the table ends.
//!
//! `rowspan` repeats a value in the rows below, `colspan` leaves the rest of the span empty (design, section 6).
//! Spans are believed only as far as the table's own size makes them plausible, so that output stays linear.

use std::ops::Range;

/// What spans may add: this many cells for each real one.
const SPANNED_PER_CELL: usize = 16;

/// What spans may add beyond what their own table makes plausible: some cells and some repeated text for all the small
/// tables of a page together.
#[derive(Debug)]
pub(super) struct Allowance {
    cells: usize,
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { cells: 4096, bytes: 64 << 10 }
    }
}

/// HTML's own limit of `colspan`.
const WIDEST_SPAN: usize = 1000;

/// How many columns and rows a cell takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    columns: usize,
    rows: usize,
}

impl Span {
    /// The span that a cell's `colspan` and `rowspan` give it.
    pub(super) fn of(columns: Option<&str>, rows: Option<&str>) -> Self {
        let span = |value: Option<&str>| value.and_then(|value| value.trim().parse::<usize>().ok());
        Self {
            columns: span(columns).unwrap_or(1).clamp(1, WIDEST_SPAN),
            // Zero means the rest of the section in HTML; a value that does not fit is as large as it gets.
            rows: match (span(rows), rows) {
                (Some(0), _) => usize::MAX,
                (Some(rows), _) => rows,
                (None, Some(text)) if text.trim().len() > 10 => usize::MAX,
                (None, _) => 1,
            },
        }
    }
}

#[derive(Debug)]
struct Cell {
    /// Where its text stands in the text of the table.
    text: Range<usize>,
    header: bool,
    span: Span,
}

/// Which part of a table a row stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Head,
    Body,
    Foot,
}

/// A table under way.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The text of all cells.
    text: String,
    cells: Vec<Cell>,
    /// Which cells stand in which row.
    rows: Vec<Range<usize>>,
    /// Rows of `tfoot`: at the bottom, wherever they are written.
    foot: Vec<Range<usize>>,
    in_foot: bool,
    /// Whether the first row that has a cell stands in a `thead`.
    has_head: bool,
    /// Whether any cell takes more than its own place.
    has_spans: bool,
}

impl Table {
    pub(super) fn begin_row(&mut self, section: Section) {
        self.in_foot = section == Section::Foot;
        let row = self.cells.len()..self.cells.len();
        if self.in_foot {
            self.foot.push(row);
            return;
        }
        if self.rows.iter().all(Range::is_empty) {
            self.rows.clear();
            self.has_head = section == Section::Head;
        }
        self.rows.push(row);
    }

    pub(super) fn push_cell(&mut self, text: &str, header: bool, span: Span) {
        let start = self.text.len();
        self.text.push_str(text);
        let at = self.cells.len();
        self.cells.push(Cell { text: start..self.text.len(), header, span });
        self.has_spans |= span.columns > 1 || span.rows > 1;
        let rows = if self.in_foot { &mut self.foot } else { &mut self.rows };
        match rows.last_mut() {
            Some(row) => row.end = at + 1,
            None => rows.push(at..at + 1),
        }
    }

    /// Forgets the table, but not the room that it took.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
        self.rows.clear();
        self.foot.clear();
        (self.in_foot, self.has_head, self.has_spans) = (false, false, false);
    }

    fn text_of(&self, cell: &Cell) -> &str {
        self.text.get(cell.text.clone()).unwrap_or_default()
    }

    fn cells_of(&self, row: &Range<usize>) -> &[Cell] {
        self.cells.get(row.clone()).unwrap_or_default()
    }

    /// The table as lines of one row each, cells separated by spaces: how a table inside of a cell is shown.
    pub(super) fn flatten(&self) -> Vec<String> {
        let row = |row: &Range<usize>| {
            let cells = self.cells_of(row).iter().map(|cell| self.text_of(cell));
            cells.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        };
        self.rows.iter().chain(&self.foot).map(row).filter(|line| !line.is_empty()).collect()
    }

    /// Appends the table in GitHub's notation; nothing if it has no cell. Answers with the number of cells of spans that
    /// were left out.
    pub(super) fn write(&mut self, lines: &mut String, allowance: &mut Allowance) -> usize {
        self.rows.append(&mut self.foot);
        if self.cells.is_empty() {
            return 0;
        }
        let header = self.has_head
            || self
                .rows
                .first()
                .is_some_and(|row| !row.is_empty() && self.cells_of(row).iter().all(|cell| cell.header));
        if self.has_spans {
            return self.write_grid(lines, header, allowance);
        }
        let width = self.rows.iter().map(Range::len).max().unwrap_or(0);
        lines.reserve(self.text.len() + self.cells.len() * 3 + self.rows.len() * 2 + width * 10);
        let mut rows = self.rows.iter().filter(|row| !row.is_empty()).map(|row| self.cells_of(row));
        let head = if header { rows.next().unwrap_or_default() } else { &[] };
        push_row(lines, head.iter().map(|cell| self.text_of(cell)), width);
        push_underline(lines, width);
        for row in rows {
            // GitHub fills rows that are short.
            push_row(lines, row.iter().map(|cell| self.text_of(cell)), 0);
        }
        0
    }

    /// The same where cells reach into other rows and columns.
    fn write_grid(&self, lines: &mut String, header: bool, allowance: &mut Allowance) -> usize {
        let (cells, bytes) = (self.cells.len(), self.text.len());
        let mut spanned = cells.saturating_mul(SPANNED_PER_CELL).saturating_add(allowance.cells);
        let mut repeated = bytes.saturating_add(allowance.bytes);
        let mut cut = 0;
        // Cells of the rows above that reach into this one: rows left, the cell, and whether this column repeats it.
        let mut above: Vec<Option<Reach<'_>>> = Vec::new();
        let mut grid: Vec<Vec<&str>> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let mut line: Vec<&str> = Vec::with_capacity(row.len());
            let mut cells = self.cells_of(row).iter();
            loop {
                let column = line.len();
                if let Some(reach) =
                    above.get_mut(column).and_then(Option::as_mut).filter(|reach| reach.rows > 0)
                {
                    if spanned == 0 || repeated < reach.text.len() {
                        // Beyond what is plausible the span ends here, or a few rows could stand for millions of cells.
                        reach.rows = 0;
                        cut += 1;
                    } else {
                        reach.rows -= 1;
                        spanned -= 1;
                        repeated -= reach.text.len();
                        line.push(reach.text);
                    }
                    continue;
                }
                let Some(cell) = cells.next() else {
                    // Cells from above may still wait further to the right.
                    let Some(gap) = above
                        .iter()
                        .skip(column)
                        .position(|reach| reach.as_ref().is_some_and(|r| r.rows > 0))
                    else {
                        break;
                    };
                    if gap > spanned {
                        cut += above.drain(column..).flatten().filter(|reach| reach.rows > 0).count();
                        break;
                    }
                    spanned -= gap;
                    line.extend(std::iter::repeat_n("", gap));
                    continue;
                };
                let columns = cell.span.columns.min(spanned.saturating_add(1));
                cut += cell.span.columns - columns;
                spanned -= columns - 1;
                for offset in 0..columns {
                    let text = if offset == 0 { self.text_of(cell) } else { "" };
                    line.push(text);
                    if cell.span.rows > 1 {
                        let at = column + offset;
                        if above.len() <= at {
                            above.resize_with(at + 1, || None);
                        }
                        if let Some(slot) = above.get_mut(at) {
                            *slot = Some(Reach { rows: cell.span.rows - 1, text });
                        }
                    }
                }
            }
            // What reaches no further must not be looked at again, row by row.
            while above.pop_if(|reach| reach.as_ref().is_none_or(|reach| reach.rows == 0)).is_some() {}
            if !line.is_empty() {
                grid.push(line);
            }
        }
        // A table takes from the page's allowance only what it could not pay itself.
        allowance.cells = allowance.cells.min(spanned);
        allowance.bytes = allowance.bytes.min(repeated);
        let width = grid.iter().map(Vec::len).max().unwrap_or(0);
        lines.reserve(bytes + cells * 3 + width * 10);
        let (head, body) = match grid.split_first() {
            Some((first, rest)) if header => (first.as_slice(), rest),
            _ => (&[] as &[&str], grid.as_slice()),
        };
        push_row(lines, head.iter().copied(), width);
        push_underline(lines, width);
        for row in body {
            push_row(lines, row.iter().copied(), 0);
        }
        cut
    }
}

#[derive(Debug)]
struct Reach<'a> {
    rows: usize,
    text: &'a str,
}

/// Appends a row of `width` cells, or of more if there are.
fn push_row<'a>(lines: &mut String, row: impl Iterator<Item = &'a str>, width: usize) {
    lines.push('|');
    let mut columns = 0;
    for text in row {
        columns += 1;
        lines.push(' ');
        if !text.is_empty() {
            lines.push_str(text);
            lines.push(' ');
        }
        lines.push('|');
    }
    for _ in columns..width {
        lines.push_str(" |");
    }
    lines.push('\n');
}

/// Appends the line that makes the row above it the head.
fn push_underline(lines: &mut String, width: usize) {
    lines.push('|');
    for _ in 0..width {
        lines.push_str(" --- |");
    }
    lines.push('\n');
}
